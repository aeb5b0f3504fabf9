"""What a user's own code imports. Each name is loaded when it is first used.

- In a training script: `trial`, and `LightningEpochs` for Lightning.
- To use what a search has found: `load_config` and `apply`, `parameter_groups` for the optimizer,
  `fold` for inference; `prepare` and `evaluate` to get the network and the data of an image
  classification and to measure it again.
- To choose activations by hand: `find_sites`.
- To talk to a service: `Client`.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_space.apply import apply, parameter_groups
    from search_space.fold import fold
    from search_space.sites import find_sites
    from search_space.spec import ActivationConfig
    from service.client.client import Client
    from workers.handle.lightning import LightningEpochs
    from workers.tasks.image_classification import prepare
    from workers.training.evaluation import evaluate
    from workers.trial import trial

__all__ = [
    "Client",
    "LightningEpochs",
    "apply",
    "evaluate",
    "find_sites",
    "fold",
    "load_config",
    "parameter_groups",
    "prepare",
    "trial",
]

# A script without torch may need the client, and a bare GPU machine has no HTTP library, so
# `import actsearch` must load none of these.
_HOMES = {
    "Client": "service.client.client",
    "LightningEpochs": "workers.handle.lightning",
    "apply": "search_space.apply",
    "evaluate": "workers.training.evaluation",
    "find_sites": "search_space.sites",
    "fold": "search_space.fold",
    "parameter_groups": "search_space.apply",
    "prepare": "workers.tasks.image_classification",
    "trial": "workers.trial",
}


def load_config(path: str | Path) -> "ActivationConfig":
    """Return the activation config in a JSON file.

    Raises:
        pydantic.ValidationError: If the file holds anything else.
    """
    from pydantic import TypeAdapter

    from search_space.spec import ActivationConfig

    return TypeAdapter(ActivationConfig).validate_json(Path(path).read_bytes())


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    # Completion in a notebook shows the names that are not loaded yet, too.
    return sorted({*globals(), *__all__})
