"""What code a task runs, in a few letters that differ where the code does."""

import hashlib
import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from workers.tasks.base import CommandTask, Task

_PACKAGES = ("search_space", "workers")
_LETTERS = 16


def code_of(task: Task) -> str:
    """Return a digest of a task's code.

    A user's command in a git tree has the commit, and a digest of what differs from it, files
    that git does not know and does not ignore included; elsewhere, and for a task in Python, it
    is one of the Python files. A built-in task has the one of our own packages.
    """
    if isinstance(task, CommandTask):
        return _of_git(task.directory) or _of_files(task.directory, _sources(task.directory))
    if task.file is not None:
        return _of_files(task.file.parent, [task.file])
    return _own()


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
        and environments.isdisjoint(file.parents)
    ]


@cache
def _own() -> str:
    root = Path(__file__).parents[1]
    return _of_files(root, [file for name in _PACKAGES for file in _sources(root / name)])
