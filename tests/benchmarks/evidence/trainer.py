"""One training, as a worker does it, without a service."""

import contextlib
from pathlib import Path

import torch
from torch import Tensor, nn

from search_space.contract import Assignment, FailureClass, TrialKind
from search_space.sites import find_sites
from search_space.spec import Candidate, Training
from tests.benchmarks.evidence.plan import TASKS, Run
from tests.benchmarks.evidence.result import Result
from workers.commands.local_attempt import LocalAttempt
from workers.errors import Diverged
from workers.handle.seeds import derive
from workers.handle.served import ServedTrial
from workers.networks.registry import CLASSIFIERS
from workers.networks.small_cnn import SmallCNN
from workers.tasks.classification import Prepared
from workers.tasks.image_classification import prepare
from workers.training import loop


class Trainer:
    """Trains in one process on one thread, and keeps the data."""

    def __init__(self, data_root: Path, cache: Path) -> None:
        torch.set_num_threads(1)
        self._data_root = data_root
        self._directory = cache
        self._prepared: dict[str, Prepared] = {}

    def train(self, run: Run) -> Result:
        """Return what comes of a run; the same on every machine of this kind."""
        task = TASKS[run.network]
        data = self._data(run.network)
        images = data.train.examples()
        seed = derive(run.seed, "evidence")
        plan = find_sites(_network(run, data, images), images)
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
            task=task,
            metric="validation_accuracy",
            candidate=candidate,
            fingerprint=plan.fingerprint,
            seed=seed,
        )
        attempt = LocalAttempt(assignment, self._directory)
        with contextlib.suppress(Diverged), ServedTrial(attempt) as trial:
            network = _network(run, data, images)
            loop.train(
                trial,
                network,
                data.train,
                data.validation,
                data.recipe,
                epochs=task["epochs"],
                batch_size=task["batch_size"],
                test=data.test,
            )
        outcome = attempt.outcome
        assert outcome is not None
        assert outcome.failure in (None, FailureClass.DIVERGED), outcome.message
        return Result(
            validation=[report.metrics["validation_accuracy"] for report in attempt.reports],
            test=outcome.test.get("test_accuracy"),
            parameters=sum(p.numel() for p in network.parameters()),
            step_seconds=min(
                (one.step_seconds for one in attempt.reports if one.step_seconds is not None),
                default=None,
            ),
        )

    def _data(self, network: str) -> Prepared:
        if network not in self._prepared:
            self._prepared[network] = prepare(
                TASKS[network], self._data_root, cache=self._directory, with_test=True
            )
        return self._prepared[network]


def _network(run: Run, data: Prepared, images: Tensor) -> nn.Module:
    head = data.network.get_submodule("head")
    assert isinstance(head, nn.Linear)
    classes = head.out_features
    if run.network == "small-cnn":
        return SmallCNN(images.shape[1], classes, run.widths).to(images.device)
    network = CLASSIFIERS[run.network].build(images.shape[1], classes, images.shape[-1])
    return network.to(images.device)
