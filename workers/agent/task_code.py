"""What code a task runs, in a few letters that differ where the code does."""

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

    A user's command in a git tree has the commit, and a digest of what differs from it, Python
    files that git does not know and does not ignore included; elsewhere it is one of the Python
    files. A task of a file has one of the Python files that it can import from its folder, a task
    of a package that of the package, and a built-in one that of our own packages.
    """
    if isinstance(task, CommandTask):
        return _of_git(task.directory) or _of_files(task.directory, _sources(task.directory))
    if task.file is not None:
        return _of_files(task.file.parent, _beside(task.file))
    package = task.target.partition(":")[0].partition(".")[0]
    return _own() if package in _PACKAGES else _of_package(package)


def _of_git(directory: Path) -> str | None:
    """Return commit and difference of the tree that holds a folder; None where there is none."""
    top = _git(directory, "rev-parse", "--show-toplevel")
    commit = _git(directory, "rev-parse", "HEAD")
    if top is None or commit is None:
        return None
    root = Path(top.decode().strip())
    changed = _git(root, "diff", "HEAD", "--binary", "--no-ext-diff") or b""
    listed = _git(root, "ls-files", "--others", "--exclude-standard", "-z", "--", "*.py") or b""
    new = [root / name.decode() for name in listed.split(b"\0") if name]
    said = f"git {commit.decode()[:_LETTERS]}"
    if not changed and not new:
        return said
    digest = hashlib.sha256(changed + _of_files(root, new).encode()).hexdigest()
    return f"{said} + {digest[:_LETTERS]}"


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
    # Hidden ones are locks of editors, which may be links to nowhere.
    modules = [m for m in file.parent.glob("[!.]*.py") if m.is_file()]
    packages = (marker.parent for marker in file.parent.glob("*/__init__.py"))
    return [*modules, *(source for package in packages for source in _sources(package))]


def _of_package(name: str) -> str:
    """Return a digest of an installed package, or of a module that is not in one."""
    spec = find_spec(name)
    if spec is not None and spec.submodule_search_locations is not None:
        folders = [Path(folder) for folder in spec.submodule_search_locations]
        said = [_of_files(folder, _sources(folder)) for folder in folders]
        return " and ".join(said)
    file = None if spec is None else spec.origin
    return _of_files(Path("/"), []) if file is None else _of_files(Path(file).parent, [Path(file)])


@cache
def _own() -> str:
    root = Path(__file__).parents[2]
    return _of_files(root, [file for name in _PACKAGES for file in _sources(root / name)])
