"""Importing a user's own file by its path."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


class UnusableFile(Exception):
    """A file cannot be used for what it was named for; the text says what would be right."""


def import_file(path: Path) -> ModuleType:
    """Return the module in a file; whatever its code raises is raised.

    As with `python FILE.py` it finds what stands beside it, and it is known by its name, so that
    `name:attribute` finds it.

    Raises:
        UnusableFile: If there is no such file, or it is no Python file.
    """
    if not path.is_file():
        raise UnusableFile(f"there is no file {path}")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UnusableFile(f"{path} is no Python file")
    module = module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
