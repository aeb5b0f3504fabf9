"""`actsearch retrain` as a process: trained, stopped, gone on with, judged."""

import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from actsearch import apply, load_config
from search_space.sites import find_sites
from search_space.spec import ActivationConfig, ActivationSpec, Candidate, Training, to_data
from tests.system.machine import ACTSEARCH

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "task" / "two_moons.py"
TASK = {"name": "two-moons", "epochs": 3}


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2)
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    plan = find_sites(network(), torch.zeros(2, 2))
    specs = {site.id: ActivationSpec("pwlu") for site in plan.sites}
    candidate = Candidate(specs, Training(learning_rate_factor=2.0))
    path = tmp_path / "activations.json"
    found = ActivationConfig(candidate, TASK, plan, plan.fingerprint)
    path.write_text(json.dumps(to_data(found)))
    return path


def command(config: Path, *options: str) -> list[str]:
    return [*ACTSEARCH, "retrain", str(config), "--load", str(EXAMPLE), *options]


def run(config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(config, *options), capture_output=True, text=True, cwd=config.parent, timeout=480
    )


def notes(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "trainings.jsonl").read_text().splitlines()]


def test_a_config_is_trained_beside_the_original_and_judged(config: Path, tmp_path: Path) -> None:
    done = run(config, "--seeds", "2", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert {label: len(values) for label, values in result["test"].items()} == {
        "winner": 2,
        "original network": 2,
        "tuned original": 2,
    }
    assert "on test data, 2 seeds, 3 epochs" in result["claim"]
    assert result["transfer"] is None
    assert "transfer" not in result["claim"]
    assert result == json.loads((tmp_path / "retrained" / "result.json").read_text())

    weights = tmp_path / "retrained" / result["weights"]["winner, seed 1"]
    model = apply(network(), load_config(config), torch.zeros(2, 2))
    model.load_state_dict(load_file(weights))

    first = notes(tmp_path / "retrained")
    more = run(config, "--seeds", "3")
    assert more.returncode == 0, more.stderr
    assert notes(tmp_path / "retrained")[: len(first)] == first
    assert "on test data, 3 seeds, 3 epochs" in more.stdout


def test_a_transfer_is_called_one(tmp_path: Path) -> None:
    deeper = nn.Sequential(*(nn.Sequential(nn.Linear(2, 2), nn.ReLU()) for _ in range(3)))
    plan = find_sites(deeper, torch.zeros(2, 2))
    names = ("silu", "gelu", "acon_c")
    specs = {s.id: ActivationSpec(n) for s, n in zip(plan.sites, names, strict=True)}
    source = {"name": "three-moons", "network": "deep"}
    path = tmp_path / "activations.json"
    found = ActivationConfig(Candidate(specs), source, plan, plan.fingerprint)
    path.write_text(json.dumps(to_data(found)))
    (tmp_path / "task.yaml").write_text("{name: two-moons, epochs: 1}")
    options = ["--task", "task.yaml", "--seeds", "2", "--match"]
    done = run(path, *options, "depth")
    assert done.returncode == 0, done.stderr
    said = (
        "; a transfer, found on three-moons, network deep: 2 of 2 sites took their activation "
        "from there, by depth\n"
    )
    assert said in done.stdout
    result = json.loads((tmp_path / "retrained" / "result.json").read_text())
    assert f"{result['claim']}\n" in done.stdout
    pairs = {"1": "0.1", "3": "2.1"}
    assert result["transfer"] == {"match": "depth", "task": source, "sites": pairs, "of": 2}
    other = run(path, *options, "depth", "--epochs", "2")
    assert other.returncode == 2


def test_what_was_stopped_goes_on_and_comes_to_the_same(config: Path, tmp_path: Path) -> None:
    long = ["--epochs", "30", "--seeds", "1"]
    whole = run(config, *long, "--output", "whole")
    assert whole.returncode == 0, whole.stderr

    process = subprocess.Popen(command(config, *long, "--output", "parts"), cwd=tmp_path)
    checkpoint = tmp_path / "parts" / "winner-0.checkpoint"
    while not checkpoint.is_file():
        assert process.poll() is None
        time.sleep(0.01)
    [trainer] = psutil.Process(process.pid).children()
    trainer.send_signal(signal.SIGKILL)
    assert process.wait(60) != 0
    assert len(notes(tmp_path / "parts")) == 1, "no training had come to its end"

    again = run(config, *long, "--output", "parts")
    assert again.returncode == 0, again.stderr
    resumed, at_once = notes(tmp_path / "parts"), notes(tmp_path / "whole")
    assert resumed[1].pop("resumed_at") > at_once[1].pop("resumed_at") == 0
    assert resumed == at_once
    assert not checkpoint.exists()
    name = "winner-0.safetensors"
    assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "missing.yaml"], "--task missing.yaml: it cannot be read"),
        (["--task", "other.yaml"], "task 'three-moons': it is unknown here; there are"),
        (["--task", "wrong.yaml"], "task.epochs: 0 is less than the minimum of 1"),
        (["--match", "breadth"], "argument --match: invalid choice: 'breadth'"),
    ],
)
def test_what_is_wrong_is_named(
    config: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    (tmp_path / "other.yaml").write_text("task: {name: three-moons}")
    (tmp_path / "wrong.yaml").write_text("{name: two-moons, epochs: 0}")
    refused = run(config, *options)
    assert refused.returncode == 2
    assert said in refused.stderr
