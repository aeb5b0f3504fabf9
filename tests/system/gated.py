"""A training script of a user that waits in the middle until a test has done its harm."""

import sys
from typing import Any

from tests.system.machine import Machine, until

EPOCHS = 8
GATE = 4
"""The script waits after so many epochs."""

_SCRIPT = f"""
import time
from pathlib import Path
import torch
from torch import nn
import actsearch

gate = Path(__file__).with_name("gate")
x = torch.linspace(-1, 1, 64).reshape(16, 4)
with actsearch.trial() as t:
    model = t.apply(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)), x)
    optimizer = torch.optim.SGD(t.parameter_groups(model, lr=0.1))
    for epoch in t.epochs({EPOCHS}, model, optimizer, steps_per_epoch=1):
        while epoch == {GATE} and not gate.exists():
            gate.with_name("arrived").touch()
            time.sleep(0.02)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        t.report(epoch, validation_accuracy=1 / (1 + loss.item()))
"""
_TASKS = f"""
[tasks.gated]
command = ["{sys.executable}", "train.py"]
epochs = {EPOCHS}
"""
SEARCH: dict[str, Any] = {
    "task": {"name": "gated"},
    "choices": ["relu", "silu", {"name": "pwlu", "segments": [4, 8]}],
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 1},
    "pruner": {"name": "none"},
    "parallel": 1,
    "confirm": None,
}


class Gated:
    """A search whose trials wait at the gate."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._gate = machine.folder / "gate"
        (machine.folder / "train.py").write_text(_SCRIPT)
        (machine.folder / "tasks.toml").write_text(_TASKS)

    def submit(self, **fields: Any) -> str:
        return self._machine.client.submit(SEARCH | fields).id

    def at_gate(self, search_id: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until so many trials have come to the gate, and return them."""

        def arrived() -> list[dict[str, Any]] | None:
            trials = self._machine.trials(search_id)
            waiting = [t for t in trials if t["state"] == "running" and t["step"] == GATE]
            return waiting if len(waiting) == count else None

        return list(until(arrived))

    def has_arrived(self) -> bool:
        """Whether a trial waits that has stored its checkpoint too."""
        return self._gate.with_name("arrived").exists()

    def open(self) -> None:
        self._gate.touch()

    def check(self, search_id: str) -> None:
        """Every trial has ended once, with every epoch reported."""
        self._machine.wait(search_id)
        trials = self._machine.trials(search_id)
        trained = [trial for trial in trials if trial["repeat_of"] is None]
        assert len(trained) == 1 + SEARCH["budget"]["trials"]
        for trial in trained:
            assert trial["state"] == "completed", trial
            reports = self._machine.read(f"/trials/{trial['id']}/reports")
            assert [report["step"] for report in reports] == list(range(1, EPOCHS + 1))
            assert trial["value"] == reports[-1]["value"]

    def attempts(self, trial_id: str) -> tuple[int, int]:
        """Return the attempts that reported the epochs before the gate and after it."""
        reports = self._machine.read(f"/trials/{trial_id}/reports")
        before, after = ({r["attempt"] for r in part} for part in (reports[:GATE], reports[GATE:]))
        assert (len(before), len(after)) == (1, 1), reports
        return before.pop(), after.pop()
