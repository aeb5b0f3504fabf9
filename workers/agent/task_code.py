"""A digest of the code of a task: equal digests mean equal code."""

import hashlib
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from workers.tasks.base import CommandTask, Task

_PACKAGES = ("search_space", "workers")
_LETTERS = 16


def code_of(task: Task) -> str:
    """Return a digest of a task's code.

    For a command in a git tree: the commit, and a digest of the differences from it, with the
    Python files that git neither tracks nor ignores. For a command elsewhere: a digest of the
    Python files in its folder. For a task of a file: of the Python files that it can import from
    its folder. For a task of a package: of the package. For a built-in task: of our own packages.
    """
    if isinstance(task, CommandTask):
        return _of_git(task.directory) or _of_files(task.directory, _sources(task.directory))
    if task.file is not None:
        return _of_files(task.file.parent, _beside(task.file))
    package = task.target.partition(":")[0].partition(".")[0]
    return _own() if package in _PACKAGES else _of_package(package)


def _of_git(directory: Path) -> str | None:
    """Return the commit of a folder's git tree and a digest of the differences from it.

    None if the folder is in no git tree.
    """
    top = _git(directory, "rev-parse", "--show-toplevel")
    commit = _git(directory, "rev-parse", "HEAD")
    if top is None or commit is None:
        return None
    root = Path(top.decode().strip())
    changed = _git(root, "diff", "HEAD", "--binary", "--no-ext-diff") or b""
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py") or b""
    new = [root / name.decode() for name in listed.split(b"\0") if name]
    clean = f"git {commit.decode()[:_LETTERS]}"
    if not changed and not new:
        return clean
    digest = hashlib.sha256(changed + _of_files(root, new).encode()).hexdigest()
    return f"{clean} + {digest[:_LETTERS]}"


def _git(directory: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, check=False
        )
    except FileNotFoundError:  # There is no git on this machine.
        return None
    return done.stdout if done.returncode == 0 else None


def _of_files(root: Path, files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(root)} {content}\n".encode())
    return f"files {digest.hexdigest()[:_LETTERS]}"


def _sources(folder: Path) -> list[Path]:
    """Return the Python files of a folder, without those of hidden folders and environments."""
    environments = {marker.parent for marker in folder.rglob("pyvenv.cfg")}
    return [
        file
        for file in folder.rglob("*.py")
        if not any(part.startswith(".") for part in file.relative_to(folder).parts)
        and file.is_file()
        and environments.isdisjoint(file.parents)
    ]


def _beside(file: Path) -> list[Path]:
    """Return the modules in a file's folder, itself too, and the files of the packages there."""
    # Hidden files are locks of editors, which may be links to files that do not exist.
    modules = [m for m in file.parent.glob("[!.]*.py") if m.is_file()]
    packages = (marker.parent for marker in file.parent.glob("*/__init__.py"))
    return [*modules, *(source for package in packages for source in _sources(package))]


def _of_package(name: str) -> str:
    """Return a digest of an installed package, or of a module that is not in one."""
    spec = find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        return " and ".join(_of_files(folder, _sources(folder)) for folder in folders)
    file = None if spec is None else spec.origin
    return _of_files(Path("/"), []) if file is None else _of_files(Path(file).parent, [Path(file)])


@cache
def _own() -> str:
    root = Path(__file__).parents[2]
    return _of_files(root, [file for name in _PACKAGES for file in _sources(root / name)])
