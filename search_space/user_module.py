"""Imports a user's own file by its path."""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType


class UnusableFile(Exception):
    """A file cannot be used as asked; the text says what is wrong with it."""


def import_file(path: Path) -> ModuleType:
    """Return the module in a file; an error that its code raises is passed on.

    As with `python FILE.py`, it can import modules in its own folder. It is registered by its
    name, so that targets such as `name:attribute` work.

    Raises:
        UnusableFile: If there is no such file, or it is not a Python file.
    """
    if not path.is_file():
        raise UnusableFile(f"there is no file {path}")
    spec = spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise UnusableFile(f"{path} is not a Python file")
    module = module_from_spec(spec)
    sys.path.insert(0, str(path.resolve().parent))
    # Before it runs: dataclasses and pickle look their module up there.
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
