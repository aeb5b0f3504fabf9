"""`check`: a user's file is checked, and each violation is reported."""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from search_space.__main__ import main
from search_space.conformance.check import REFUSED, run

GOOD = '''
import torch
from torch import Tensor, nn

from search_space.activations.learned import LearnedActivation
from search_space.activations.broadcasting import along_channels
from search_space.catalog.entry import Entry


class Tilted(LearnedActivation):
    """ReLU with a learned tilt."""

    def __init__(self, channels: int, *, channel_dim: int = 1, share: str = "channel") -> None:
        super().__init__()
        self.channel_dim = channel_dim
        self.tilt = nn.Parameter(torch.full((channels if share == "channel" else 1,), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        tilt = along_channels(self.tilt.to(x.dtype), x, self.channel_dim)
        return x.relu() + tilt * x
'''

STATED = """

ENTRY = Entry(
    "tilted",
    "tilted_stated:Tilted",
    "max(x, 0) + t x",
    "nobody",
    2026,
    learned=True,
    shares=("channel", "layer"),
    kept=12,
    limits=(float("-inf"), float("inf")),
    size=lambda c, _: c,
)
"""

BAD = """
import torch
from torch import Tensor, nn


class Wide(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float() * 2


class Leaking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(-1, keepdim=True)


class Detached(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.detach()


class Writing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x.mul_(2)
        return x + 0
"""


@pytest.fixture(autouse=True)
def imports_are_undone() -> Iterator[None]:
    paths, modules = list(sys.path), set(sys.modules)
    yield
    sys.path[:] = paths
    for name in set(sys.modules) - modules:
        if name.startswith(("tilted", "wrong", "empty", "mine")):
            del sys.modules[name]


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def failures(path: Path, code: int) -> dict[str, set[str]]:
    out = io.StringIO()
    assert run(path, as_json=True, out=out) == code
    rows: list[dict[str, Any]] = json.loads(out.getvalue())
    failed: dict[str, set[str]] = {row["activation"]: set() for row in rows}
    for row in rows:
        if row["failed"]:
            failed[row["activation"]].add(row["check"])
    return failed


def test_a_sound_class_passes_with_and_without_an_entry(tmp_path: Path) -> None:
    assert failures(written(tmp_path, "tilted", GOOD), 0) == {"tilted": set()}
    assert failures(written(tmp_path, "tilted_stated", GOOD + STATED), 0) == {"tilted": set()}


def test_each_fault_is_found_by_its_check(tmp_path: Path) -> None:
    failed = failures(written(tmp_path, "wrong", BAD), 1)
    assert {"shape_and_dtype", "autocast"} <= failed["wide"]
    assert "position" in failed["leaking"]
    assert "gradients" in failed["detached"]
    assert "input_left_alone" in failed["writing"]


def test_an_entry_that_is_wrong_about_its_class_is_found(tmp_path: Path) -> None:
    text = (GOOD + STATED).replace("tilted_stated", "tilted_wrong").replace("kept=12", "kept=2")
    text = text.replace("size=lambda c, _: c", "size=lambda c, _: 2 * c")
    text = text.replace('float("-inf")', "0.0")
    failed = failures(written(tmp_path, "tilted_wrong", text), 1)["tilted"]
    assert failed == {"bookkeeping", "kept_for_backward", "limits"}


def test_the_table_names_what_failed_and_where(tmp_path: Path) -> None:
    out = io.StringIO()
    assert run(written(tmp_path, "wrong", BAD), out=out) == 1
    text = out.getvalue()
    assert "Shape and dtype are kept" in text
    assert "writing, input_left_alone: writing: AssertionError" in text
    assert "checks passed" in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "neither ENTRY nor ENTRIES nor a module class"),
        ("ENTRIES = [1]", "must be entries, got int"),
        (f"{GOOD}{STATED}".replace("tilted_stated:Tilted", "mine:Other"), "'mine:Class'"),
        (f"{GOOD}{STATED}".replace('"tilted"', '"relu"'), "already has a 'relu'"),
    ],
)
def test_a_file_with_nothing_to_check_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
) -> None:
    assert run(written(tmp_path, "mine", text)) == REFUSED
    assert message in capsys.readouterr().err


def test_the_command_prints_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(written(tmp_path, "tilted", GOOD))]) == 0
    assert "18 of 18 checks passed" in capsys.readouterr().out


def test_a_missing_file_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("nowhere.py") == REFUSED
    assert "there is no file nowhere.py" in capsys.readouterr().err
