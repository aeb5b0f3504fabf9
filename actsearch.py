"""The public face for a user's own code. Nothing is loaded before it is used.

`trial` in a training script, `LightningEpochs` in one of Lightning, `apply` and `load_config` to
use what a search found, `find_sites` and `parameter_groups` to go by hand, `Client` to talk to a
service.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search_space.apply import apply, parameter_groups
    from search_space.sites import find_sites
    from search_space.spec import ActivationConfig
    from service.client.client import Client
    from workers.handle.lightning import LightningEpochs
    from workers.trial import trial

__all__ = [
    "Client",
    "LightningEpochs",
    "apply",
    "find_sites",
    "load_config",
    "parameter_groups",
    "trial",
]

_HOMES = {
    "Client": "service.client.client",
    "LightningEpochs": "workers.handle.lightning",
    "apply": "search_space.apply",
    "find_sites": "search_space.sites",
    "parameter_groups": "search_space.apply",
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
