"""What a worker offers."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from workers.errors import BadTaskFile
from workers.tasks.base import CommandTask, FunctionTask, Place
from workers.tasks.loading import target_of
from workers.tasks.registry import load_tasks
from workers.trial import StandaloneTrial

FULL = """
[tasks.mine]
command = ["python", "train.py"]
directory = "scripts"
epochs = 30
description = "my network"
environment = {SEEN = "yes"}
metrics = {error = "minimize"}
"""


def image_classification() -> dict[str, Any]:
    return load_tasks(None)["image-classification"].offer.settings


@pytest.mark.parametrize("task", list(load_tasks(None).values()), ids=lambda t: t.offer.name)
def test_every_built_in_schema_is_a_schema(task: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(task.offer.settings)
    assert task.offer.settings["additionalProperties"] is False


@pytest.mark.parametrize(
    "settings",
    [
        {"dataset": "digits", "network": "small-cnn"},
        {"dataset": "cifar10", "network": "resnet20", "epochs": 1000, "train_samples": None},
        {"dataset": "mnist", "network": "small-cnn", "batch_size": 1, "train_samples": 10},
        {"dataset": "folder:my.pets-2", "network": "vit-tiny", "image_size": 96},
    ],
)
def test_good_settings_are_valid(settings: dict[str, Any]) -> None:
    jsonschema.validate(settings, image_classification())


@pytest.mark.parametrize(
    "change",
    [
        {"dataset": "imagenet"},
        {"network": None},
        {"epochs": 0},
        {"epochs": 1001},
        {"batch_size": 0},
        {"train_samples": 0},
        {"learning_rate": 0.1},
        {"dataset": "folder:../etc"},
        {"dataset": "folder:a/b"},
        {"dataset": "folder:.."},
        {"network": "nowhere:resnet18"},
    ],
)
def test_bad_settings_are_not(change: dict[str, Any]) -> None:
    settings = {"dataset": "digits", "network": "small-cnn"} | change
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(settings, image_classification())


def write(folder: Path, text: str) -> Path:
    path = folder / "tasks.toml"
    path.write_text(text)
    return path


def test_a_file_adds_the_user_s_own_scripts(tmp_path: Path) -> None:
    task = load_tasks(write(tmp_path, FULL))["mine"]
    assert isinstance(task, CommandTask)
    assert task.command == ("python", "train.py")
    assert task.directory == tmp_path / "scripts"
    assert task.environment == {"SEEN": "yes"}
    assert task.offer.metrics == {"error": "minimize"}
    assert task.offer.settings["properties"]["epochs"]["default"] == 30
    jsonschema.Draft202012Validator.check_schema(task.offer.settings)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[tasks.mine", "at the end of a table declaration"),
        ('[tasks.mine]\ncommand = ["x"]', "tasks.mine.epochs: Field required"),
        (FULL.replace("directory", "folder"), "tasks.mine.folder: Extra inputs"),
        (FULL.replace("minimize", "smaller"), "tasks.mine.metrics.error"),
        (FULL.replace("mine", "image-classification"), "the name of another task"),
    ],
)
def test_a_wrong_file_is_refused_with_its_place(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadTaskFile, match=r"tasks\.toml: ") as error:
        load_tasks(write(tmp_path, text))
    assert reason in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTaskFile, match="No such file"):
        load_tasks(tmp_path / "tasks.toml")


EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "task" / "two_moons.py"
CPU = Place(Path(), Path(), threads=1)


class Watched(StandaloneTrial):
    def __init__(self) -> None:
        self.accuracy = 0.0

    def report(self, *_: int, step_seconds: float | None = None, **metrics: float) -> None:  # noqa: ARG002
        self.accuracy = metrics["validation_accuracy"]


def test_a_task_of_one_s_own_is_a_file_of_few_lines() -> None:
    task = load_tasks(None, [EXAMPLE])["two-moons"]
    assert isinstance(task, FunctionTask)
    assert task.file == EXAMPLE
    jsonschema.Draft202012Validator.check_schema(task.offer.settings)
    assert len([line for line in EXAMPLE.read_text().splitlines() if line.strip()]) <= 36
    torch.manual_seed(0)
    handle = Watched()
    target_of(task)(handle, {"epochs": 5}, CPU)
    assert handle.accuracy > 0.9


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
        ("x = 1", "defines no FunctionTask"),
        ("def run(: pass", "SyntaxError: invalid syntax"),
        (
            "from workers.tasks.base import FunctionTask\n"
            "from search_space.contract import TaskOffer\n"
            "print('hello')\n"
            "TASK = FunctionTask(TaskOffer(name='a', settings={}, metrics={}), 'mine:walk')\n",
            "the target 'mine:walk' is no function of this file; 'mine:run' is run()",
        ),
        (
            "from workers.tasks.base import FunctionTask\n"
            "from search_space.contract import TaskOffer\n"
            "def run(): pass\n"
            "OFFER = TaskOffer(name='segmentation', settings={}, metrics={})\n"
            "TASK = FunctionTask(OFFER, 'mine:run')\n",
            "'segmentation' is the name of another task",
        ),
    ],
)
def test_a_file_that_gives_no_task_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(BadTaskFile, match=r"mine\.py: ") as error:
        load_tasks(None, [file])
    assert reason in str(error.value)


def test_a_file_of_tasks_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadTaskFile, match=r"there is no file .*none\.py"):
        load_tasks(None, [tmp_path / "none.py"])
