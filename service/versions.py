"""Which versions made a result."""

import platform
from importlib.metadata import version


def versions() -> dict[str, str]:
    """Return the versions that decide what the service proposes."""
    return {
        "python": platform.python_version(),
        "activation-search": version("activation-search"),
        "optuna": version("optuna"),
    }
