"""What tells the code of a task from other code."""

import subprocess
from pathlib import Path

import pytest

from search_space.contract import TaskOffer
from workers.agent.task_code import code_of
from workers.tasks import image_classification
from workers.tasks.base import CommandTask, FunctionTask

OFFER = TaskOffer(name="mine", settings={}, metrics={"loss": "minimize"})


def code(folder: Path) -> str:
    return code_of(CommandTask(OFFER, ("python", "train.py"), folder))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Code that no version control knows."""
    (tmp_path / "train.py").write_text("print(1)")
    (tmp_path / "results.csv").write_text("1")
    return tmp_path


@pytest.fixture
def tree(folder: Path) -> Path:
    """The same in a git tree, all of it committed."""
    identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for arguments in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "first"]):
        subprocess.run(["git", "-C", str(folder), *arguments], check=True)
    return folder


def test_files_count_by_what_is_in_them(folder: Path) -> None:
    before = code(folder)
    assert before.startswith("files ")
    (folder / "results.csv").write_text("2")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "other.py").write_text("")
    assert code(folder) == before
    (folder / "train.py").write_text("print(2)")
    assert code(folder) != before


def test_a_git_tree_counts_by_its_commit_and_what_differs_from_it(tree: Path) -> None:
    committed = code(tree)
    assert committed.startswith("git ")
    assert "+" not in committed
    (tree / "train.py").write_text("print(2)")
    changed = code(tree)
    assert changed.startswith(f"{committed} + ")
    (tree / "train.py").write_text("print(3)")
    assert code(tree) not in (committed, changed)
    (tree / "train.py").write_text("print(1)")
    assert code(tree) == committed
    (tree / "helper.py").write_text("")
    assert code(tree).startswith(f"{committed} + ")


def test_a_task_of_a_file_counts_by_that_file_and_what_it_can_import(folder: Path) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "__init__.py").write_text("")
    (folder / "notes").mkdir()
    task = FunctionTask(OFFER, "train:run", folder / "train.py")
    seen = [code_of(task)]
    for changed in ("train.py", "beside.py", "package/__init__.py", "package/inner.py"):
        (folder / changed).write_text("print(2)")
        seen.append(code_of(task))
    assert len(set(seen)) == 5
    (folder / "results.csv").write_text("2")
    (folder / "notes" / "other.py").write_text("")
    (folder / ".#train.py").symlink_to("an editor's lock")
    assert code_of(task) == seen[-1]
    (folder / "train.py").unlink()
    assert code_of(task) not in seen


@pytest.mark.parametrize("file", ["brought.py", "brought/__init__.py", "brought/tasks.py"])
def test_a_task_of_a_package_counts_by_that_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    (folder / file).parent.mkdir(exist_ok=True)
    if (folder / "brought").is_dir():
        (folder / "brought" / "__init__.py").touch()
    (folder / file).write_text("print(1)")
    monkeypatch.syspath_prepend(folder)
    target = "brought:run" if file == "brought.py" else "brought.tasks:run"
    task = FunctionTask(OFFER, target)
    before = code_of(task)
    assert before != code_of(image_classification.TASK)
    (folder / "train.py").write_text("print(2)")
    assert code_of(task) == before
    (folder / file).write_text("print(2)")
    assert code_of(task) != before


def test_a_built_in_task_counts_by_our_own_code() -> None:
    task = image_classification.TASK
    assert code_of(task) == code_of(task)
    assert code_of(task).startswith("files ")
