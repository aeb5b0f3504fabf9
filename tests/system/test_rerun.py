"""A task from a file, searched by real processes; and its trials trained again."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.system.machine import ACTSEARCH, Machine

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "task" / "two_moons.py"
SEARCH: dict[str, Any] = {
    "task": {"name": "two-moons", "epochs": 3},
    "choices": ["relu", "pwlu"],
    "baselines": {"original_seeds": 1, "uniform": True},
    "budget": {"trials": 1},
    "confirm": None,
}


def rerun(machine: Machine, trial: str, file: Path) -> subprocess.CompletedProcess[str]:
    command = [*ACTSEARCH, "rerun", trial, "--url", machine.client.url, "--load", str(file)]
    return subprocess.run(command, capture_output=True, text=True, cwd=machine.folder, timeout=120)


def test_a_trial_of_a_task_from_a_file_is_trained_again_bit_for_bit(
    machine: Machine, tmp_path: Path
) -> None:
    machine.serve()
    machine.worker("--load", str(EXAMPLE), slots=1)
    search = machine.client.submit(SEARCH)
    machine.wait(search.id)
    trials = machine.trials(search.id)
    learned = next(trial for trial in trials if trial["label"] == "uniform pwlu")

    same = rerun(machine, learned["id"], EXAMPLE)
    assert same.returncode == 0, same.stderr
    assert "the same, bit for bit: 3 epochs and the weights" in same.stdout

    changed = tmp_path / "two_moons.py"
    changed.write_text(EXAMPLE.read_text().replace("0.15", "0.16"))
    other = rerun(machine, learned["id"], changed)
    assert other.returncode == 1
    assert "not the same:\n  epoch 1: " in other.stdout
    assert "weights.safetensors: sha256 " in other.stdout

    nobody = rerun(machine, "t-none", EXAMPLE)
    assert nobody.returncode == 2
    assert "t-none" in nobody.stderr
