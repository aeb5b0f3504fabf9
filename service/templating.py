"""Jinja2 environments for the templates that lie beside the modules that use them."""

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def environment(folder: Path, **options: Any) -> "Environment":
    """Return an environment for a folder of templates, in which an unknown name is an error."""
    # Jinja2 takes tens of milliseconds to import, and most processes render nothing.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


@lru_cache
def html_environment(folder: Path) -> "Environment":
    """Return an environment that escapes every value for HTML."""
    return environment(folder, autoescape=True)
