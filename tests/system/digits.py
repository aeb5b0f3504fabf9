"""A small search of real trainings, and what must have come of it whatever was done meanwhile."""

from typing import Any

from tests.system.machine import Machine

EPOCHS = 20
SEARCH: dict[str, Any] = {
    "task": {
        "name": "image-classification",
        "dataset": "digits",
        "network": "small-cnn",
        "epochs": EPOCHS,
        "train_samples": 800,
        "batch_size": 64,
        "deterministic": True,
    },
    "choices": ["relu", "silu", {"name": "pwlu", "segments": [4, 8]}],
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 3},
    "pruner": {"name": "none"},
    "parallel": 1,
    "confirm": None,
}

Curves = dict[int, list[dict[str, float]]]
"""The metrics of every epoch, by the number of the trial."""


def curves(machine: Machine, search_id: str) -> Curves:
    """Return what was reported: every trial ended once, with every epoch; the budget is exact."""
    trained = [t for t in machine.trials(search_id) if t["repeat_of"] is None]
    assert len(trained) == 1 + SEARCH["budget"]["trials"]
    found: Curves = {}
    for trial in trained:
        assert trial["state"] == "completed", trial
        reports = machine.read(f"/trials/{trial['id']}/reports")
        assert [report["step"] for report in reports] == list(range(1, EPOCHS + 1))
        assert trial["value"] == reports[-1]["value"]
        run = machine.read(f"/trials/{trial['id']}/artifacts/run.json")
        assert run["environment"]["deterministic"]
        found[trial["number"]] = [report["metrics"] for report in reports]
    return found


def attempts_by_step(machine: Machine, trial_id: str) -> dict[int, int]:
    reports = machine.read(f"/trials/{trial_id}/reports")
    return {report["step"]: report["attempt"] for report in reports}
