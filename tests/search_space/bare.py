"""Trains the network of `network.py` with the standalone file beside it, and writes its losses.

Run in a separate folder, in a Python process that cannot import our packages.
"""

import json
import sys

for name in ("search_space", "service", "workers", "actsearch", "pydantic", "safetensors"):
    # To import it is an error from here on.
    sys.modules[name] = None  # type: ignore[assignment]

import torch  # noqa: E402
from activations_standalone import Phases, apply, parameter_groups, read_weights  # noqa: E402
from loop import train  # noqa: E402
from network import make  # noqa: E402

torch.set_num_threads(1)
torch.manual_seed(0)
model = make()
torch.manual_seed(1)
apply(model)
losses = train(model, Phases, parameter_groups)
again = apply(make(), start="frozen", weights="weights.safetensors")
trained = apply(make())
trained.load_state_dict(read_weights("weights.safetensors"))
x = torch.linspace(-1, 1, 3 * 16 * 16).view(1, 3, 16, 16)
result = {
    "losses": losses,
    "output": trained.eval()(x).tolist(),
    "frozen": sum(not p.requires_grad for p in again.parameters()),
}
sys.stdout.write(json.dumps(result))
