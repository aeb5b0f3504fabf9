"""The training scripts of the documentation: few lines change, alone they run as before, and in
a worker they serve trials that resume exactly."""

import difflib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load

from search_space.contract import (
    CHECKPOINT,
    WEIGHTS,
    Assignment,
    LeaseFile,
    OutcomeKind,
    Verdict,
)
from search_space.spec import ActivationSpec, Candidate, SitePlan, Training
from tests.workers.stub import Stub
from workers.environment import LEASE_FILE

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
NAMES = ("plain", "accelerate", "lightning", "timm_style")
EPOCHS = 5
MOST_CHANGED_LINES = 10


def changed_lines(before: str, after: str) -> list[str]:
    """Return the lines that are new in `after`; how far they are indented does not count."""
    one, other = ([line.strip() for line in text.splitlines()] for text in (before, after))
    return [
        line[2:]
        for line in difflib.ndiff(one, other, charjunk=None)
        if line.startswith("+ ") and line[2:]
    ]


def run(name: str, lease: Path | None = None) -> str:
    """Run a script in a process of its own and return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop(LEASE_FILE, None)
    if lease is not None:
        environment[LEASE_FILE] = str(lease)
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--epochs", str(EPOCHS)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_at_most_ten_lines_of_a_script_change(name: str) -> None:
    before, after = ((EXAMPLES / name / f"{n}.py").read_text() for n in ("before", "after"))
    changed = changed_lines(before, after)
    assert "import actsearch" in changed
    assert len(changed) <= MOST_CHANGED_LINES


class Served:
    """Lets a script serve one assignment after another."""

    def __init__(self, stub: Stub, script: str, folder: Path) -> None:
        self._stub = stub
        self._script = script
        self._folder = folder

    def inspect(self) -> SitePlan:
        plan: SitePlan | None = self.serve(self._stub.assignment({"name": "mine"})).plan
        assert plan is not None
        return plan

    def train(self, plan: SitePlan, **fields: Any) -> dict[str, bytes]:
        """Serve a trial of PWLU everywhere and return what it has stored."""
        sites = {site.id: ActivationSpec("pwlu") for site in plan.sites}
        candidate = Candidate(sites, Training(activation_learning_rate_factor=0.5))
        self.serve(
            self._stub.assignment(
                {"name": "mine"}, candidate, fingerprint=plan.fingerprint, **fields
            )
        )
        return dict(self._stub.artifacts)

    def serve(self, assignment: Assignment) -> Any:
        path = self._folder / f"{assignment.lease}.json"
        path.write_text(LeaseFile(url=self._stub.url, assignment=assignment).model_dump_json())
        run(self._script, path)
        return self._stub.outcomes[assignment.lease]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_script_serves_trials_and_runs_alone_as_before(
    stub: Stub, tmp_path: Path, name: str
) -> None:
    if name in ("accelerate", "lightning"):
        pytest.importorskip(name)
    assert run(f"{name}/after") == run(f"{name}/before")
    served = Served(stub, f"{name}/after", tmp_path)
    plan = served.inspect()
    assert len(plan.sites) == 2
    straight = served.train(plan)[WEIGHTS]
    values = [report.metrics["validation_accuracy"] for report in stub.reports]
    assert len(values) == EPOCHS
    assert any(name.endswith("values") for name in load(straight))

    stub.verdicts = {3: Verdict.RELEASE}
    served.train(plan)
    assert [o.outcome for o in stub.outcomes.values()][-1] is OutcomeKind.RELEASED
    stub.verdicts = {}
    resumed = served.train(plan, checkpoint=stub.checkpoint(CHECKPOINT), attempt=2)
    assert [report.step for report in stub.reports[-2:]] == [4, 5]
    assert stub.reports[-1].metrics["validation_accuracy"] == values[-1]
    assert resumed[WEIGHTS] == straight
