"""The bundle of a winner that was confirmed, used as a user does who has nothing else of ours."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.system.machine import ACTSEARCH, Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MOONS = Path(__file__).parents[2] / "docs" / "examples" / "task" / "two_moons.py"
# As it comes it is a line, so that what bends is better on every seed.
NETWORK = """
from torch import nn

def make():
    first, second = (nn.LeakyReLU(0.99) for _ in range(2))
    return nn.Sequential(nn.Linear(2, 32), first, nn.Linear(32, 32), second, nn.Linear(32, 2))
"""
SEARCH: dict[str, Any] = {
    "task": {"name": "two-moons", "epochs": 4},
    "sites": {"per": "network"},
    "choices": ["acon_c", "pwlu"],
    "baselines": {"original_seeds": 1, "uniform": True},
    "budget": {"trials": 2},
    "replicates": {"share": 0},
    "confirm": {"shortlist": 1, "seeds": 3},
}
BARE = """
import sys

for name in ("search_space", "service", "workers", "actsearch", "safetensors", "pydantic"):
    sys.modules[name] = None  # To import it is an error from here on.

import torch
from activations_standalone import apply, read_weights
from network import make

torch.set_num_threads(1)
points, labels = torch.load("test.pt")
model = apply(make(), example=points[:4])
model.load_state_dict(read_weights("weights.safetensors"))
with torch.no_grad():
    logits = model.eval()(points)
torch.save(logits, "logits.pt")
print((logits.argmax(dim=1) == labels).float().mean().item())
"""


def test_its_weights_code_and_graph_give_the_test_accuracy_that_was_confirmed(
    machine: Machine,
) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    folder = machine.folder
    (folder / "network.py").write_text(NETWORK)
    task = MOONS.read_text()
    before, _, after = task.partition("network = nn.Sequential(\n")
    after = after.partition("    )\n")[2].replace("two_moons:", "moons:")
    before = before.replace("two_moons:", "moons:")
    (folder / "moons.py").write_text(f"from network import make\n{before}network = make()\n{after}")
    machine.serve()
    machine.worker("--load", str(folder / "moons.py"))
    search = machine.client.submit(SEARCH)
    machine.wait(search.id)

    command = [*ACTSEARCH, "bundle", search.id, "--url", machine.client.url, "--json"]
    saved = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert saved.returncode == 0, saved.stderr
    told = json.loads(saved.stdout)
    assert (told["saved"], told["manifest"]["verdict"]) == (f"{search.id}.zip", "confirmed")
    assert told["manifest"]["left_out"] == {}
    with zipfile.ZipFile(folder / told["saved"]) as archive:
        archive.extractall(folder)
    provenance = json.loads((folder / "activations.json").read_text())["provenance"]
    confirmed = provenance["metrics"]["test_accuracy"]
    assert machine.read(f"/trials/{provenance['trial']}")["test"]["test_accuracy"] == confirmed

    points, labels = next(moons(task, seed=3).ordered(1000))
    torch.save((points, labels), folder / "test.pt")
    run = [sys.executable, "-c", BARE]
    ran = subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) == pytest.approx(confirmed, abs=1e-6)

    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "model.onnx")
    [logits] = session.run(None, {session.get_inputs()[0].name: points.numpy()})
    torch.testing.assert_close(
        torch.from_numpy(logits), torch.load(folder / "logits.pt"), rtol=1e-4, atol=1e-4
    )
    hits = torch.from_numpy(logits).argmax(dim=1) == labels
    assert hits.float().mean().item() == pytest.approx(confirmed, abs=1e-6)


def moons(task: str, *, seed: int) -> Any:
    """Return the data that a task makes of a seed; that of its tests is 3."""
    names: dict[str, Any] = {}
    exec(task, names)
    return names["moons"](1000, seed)
