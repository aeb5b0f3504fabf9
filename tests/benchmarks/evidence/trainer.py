"""One training, as a worker does it, without a service."""

import contextlib
from pathlib import Path

import torch

from search_space.contract import Assignment, FailureClass, TrialKind
from search_space.sites import find_sites
from search_space.spec import Candidate, Training
from tests.benchmarks.evidence.plan import TASK, Run
from tests.benchmarks.evidence.result import Result
from workers import training
from workers.alone import Alone
from workers.errors import Diverged
from workers.inside import Inside
from workers.networks.small_cnn import SmallCNN
from workers.seeds import derive
from workers.tasks.image_classification import prepare


class Trainer:
    """Trains in one process on one thread, and keeps the data."""

    def __init__(self, data_root: Path, cache: Path) -> None:
        torch.set_num_threads(1)
        self._directory = cache
        self._prepared = prepare(TASK, data_root, cache=cache, with_test=True)

    def train(self, run: Run) -> Result:
        """Return what comes of a run; the same on every machine of this kind."""
        data = self._prepared
        images = data.train.examples()
        classes = data.network.head.out_features
        seed = derive(run.seed, "evidence")
        plan = find_sites(SmallCNN(images.shape[1], classes, run.widths), images)
        candidate = Candidate(
            {site.id: run.spec for site in plan.sites}, Training(learning_rate_factor=run.rate)
        )
        assignment = Assignment(
            lease="evidence",
            token="",
            search="evidence",
            trial="evidence",
            number=None,
            kind=TrialKind.CONFIRMATION,
            attempt=1,
            lease_seconds=60,
            task=TASK,
            metric="validation_accuracy",
            candidate=candidate,
            fingerprint=plan.fingerprint,
            seed=seed,
        )
        alone = Alone(assignment, self._directory)
        with contextlib.suppress(Diverged), Inside(alone) as trial:
            network = SmallCNN(images.shape[1], classes, run.widths)
            training.train(
                trial,
                network,
                data.train,
                data.validation,
                data.recipe,
                epochs=TASK["epochs"],
                batch_size=TASK["batch_size"],
                test=data.test,
            )
        outcome = alone.outcome
        assert outcome is not None
        assert outcome.failure in (None, FailureClass.DIVERGED), outcome.message
        return Result(
            validation=[report.metrics["validation_accuracy"] for report in alone.reports],
            test=outcome.test.get("test_accuracy"),
            parameters=sum(p.numel() for p in network.parameters()),
            step_seconds=min((report.step_seconds for report in alone.reports), default=None),
        )
