"""A candidate trained by itself, as a worker does it, on seeds that no search has seen."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from search_space.contract import Assignment, TrialKind
from search_space.spec import Candidate, SitePlan
from workers.commands.local_attempt import LocalAttempt, run_locally
from workers.handle.seeds import derive
from workers.tasks.base import FunctionTask, Place
from workers.tasks.registry import load_tasks


def judge(
    task: Mapping[str, Any],
    candidate: Candidate | None,
    fingerprint: str | None,
    seed: int,
    home: Path,
    attempt_type: type[LocalAttempt] = LocalAttempt,
) -> LocalAttempt:
    """Return what a training reports, that on test data included; without a candidate, the sites.

    Trainings of equal seeds start alike, whatever network they are of.
    """
    place = Place(home, Path(os.environ["ACTSEARCH_DATA_ROOT"]), threads=1)
    assignment = Assignment(
        lease="evidence",
        token="",
        search="evidence",
        trial="evidence",
        number=None,
        kind=TrialKind.INSPECTION if candidate is None else TrialKind.CONFIRMATION,
        attempt=1,
        lease_seconds=60,
        task=dict(task),
        metric="validation_accuracy",
        candidate=candidate,
        fingerprint=fingerprint,
        seed=derive(seed, "judged"),
    )
    offered = load_tasks(None)[task["name"]]
    assert isinstance(offered, FunctionTask)
    attempt = attempt_type(assignment, home)
    run_locally(offered, attempt, place)
    return attempt


def tested(
    task: Mapping[str, Any], candidate: Candidate, plan: SitePlan, seed: int, home: Path
) -> float:
    """Return the test accuracy of one training."""
    attempt = judge(task, candidate, plan.fingerprint, seed, home)
    assert attempt.outcome is not None
    return attempt.outcome.test["test_accuracy"]


def sites_of(task: Mapping[str, Any], home: Path) -> SitePlan:
    """Return the sites of a task's network."""
    outcome = judge(task, None, None, 0, home).outcome
    assert outcome is not None
    assert outcome.plan is not None
    return outcome.plan


def original(plan: SitePlan) -> Candidate:
    """Return the network as it came, at the recipe's own rate."""
    return Candidate({site.id: site.original_spec for site in plan.sites})
