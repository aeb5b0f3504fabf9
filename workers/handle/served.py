"""The handle in a training loop that serves a trial."""

import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch
from torch import nn
from torch.optim import Optimizer

from search_space.apply import apply, parameter_groups
from search_space.contract import (
    NO_ONNX,
    ONNX,
    RUN,
    SHAPE_HISTORY,
    SHAPES,
    WEIGHTS,
    Assignment,
    Measurements,
    Measuring,
    Outcome,
    OutcomeKind,
    Report,
    TrialKind,
    Verdict,
)
from search_space.sites import probe, restored
from search_space.spec import Candidate, SitePlan
from workers.attempt.attempt import Ended
from workers.attempt.exit_outcomes import SERVICE_AWAY
from workers.errors import (
    Diverged,
    MisusedHandle,
    NetworkChanged,
    NotExportable,
    ServiceAway,
)
from workers.handle import checkpoint
from workers.handle.distributed import keep_statistics_apart
from workers.handle.failures import LONGEST_MESSAGE, failed_with
from workers.handle.phases import Course
from workers.handle.preemption import Preempted, Preemption
from workers.handle.progress import Underway
from workers.handle.protocol import Model, Stateful
from workers.handle.provenance import record
from workers.handle.seeds import seed_everything
from workers.handle.unwrapping import network_of
from workers.measurement.costs import look_at, measure
from workers.measurement.learned_shapes import ShapeHistory, learned_shapes
from workers.measurement.onnx_export import export

logger = logging.getLogger(__name__)


class Speaker(Protocol):
    """Who says what a trial has to say; `Attempt` says it to the service."""

    @property
    def assignment(self) -> Assignment: ...

    @property
    def directory(self) -> Path: ...

    @property
    def code(self) -> str | None: ...

    def report(self, report: Report) -> Verdict: ...

    @property
    def leads(self) -> bool: ...

    @property
    def seed_parts(self) -> tuple[str, ...]: ...

    def pass_on(self, step: int, verdict: Verdict) -> Verdict: ...

    def tell_measurements(self, measured: Callable[[], Measurements]) -> None: ...

    def keep(self, checkpoint: bytes) -> None: ...

    def hand_in(self) -> None: ...

    def upload(self, name: str, data: bytes) -> None: ...

    def checkpoint(self) -> bytes | None: ...

    def start(self) -> bytes | None: ...

    def end(self, outcome: Outcome | None) -> None: ...

    def close(self) -> None: ...


class Inside:
    """Serves the trial of one attempt; documented in `workers.handle.protocol`."""

    def __init__(self, attempt: Speaker) -> None:
        self._attempt = attempt
        self._assignment = attempt.assignment
        self._applied: tuple[nn.Module, SitePlan, Any] | None = None
        self._training: Underway | None = None
        self._test: dict[str, float] = {}
        self._remarks: list[str] = []
        self._preemption = Preemption()

    def __enter__(self) -> Self:
        self._preemption.watch()
        seed_everything(self._assignment.seed, "start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Say the last word. No exception is swallowed: a failed script's exit code is not 0."""
        # From here on a signal would only interrupt the last word.
        self._preemption.ignore()
        try:
            self._attempt.end(self._outcome(error))
        except ServiceAway:
            logger.exception("trial %s: giving up", self._assignment.trial)
            raise SystemExit(SERVICE_AWAY) from None
        finally:
            self._attempt.close()

    def _outcome(self, error: BaseException | None) -> Outcome | None:
        match error:
            case Preempted():
                return self._preempted(error)
            case Ended():
                return error.outcome
            case ServiceAway():
                raise error
            case None | SystemExit(code=None | 0):
                return self._completed()
        return failed_with(error)

    def apply(
        self,
        model: Model,
        example_batch: Any,
        *,
        fused: bool = False,
        loss: Callable[[nn.Module], float] | None = None,
    ) -> Model:
        if self._assignment.start is not None:
            given = self._attempt.start()
            assert given is not None
            checkpoint.load_weights(given, network_of(model))
        found = probe(model, example_batch)
        plan = found.plan
        if self._assignment.kind is TrialKind.INSPECTION:
            raise Ended(Outcome(outcome=OutcomeKind.COMPLETED, plan=plan))
        if plan.fingerprint != self._assignment.fingerprint:
            ids = [site.id for site in plan.sites]
            raise NetworkChanged(self._assignment.fingerprint, plan.fingerprint, ids)
        measuring = self._assignment.measuring or Measuring()
        leads = self._attempt.leads
        original = look_at(model, example_batch, found.calls, measuring) if leads else None
        swap: dict[str, float] = {}
        watched = loss if leads and self._assignment.start is not None else None
        if watched is not None:
            swap["loss_before_swap"] = _loss(watched, model)
        # Finding the sites ran the network, so what it drew must not matter from here on.
        seed_everything(self._assignment.seed, "apply")
        # Numbers that are not finite are the training's to tell.
        apply(model, self._candidate, example_batch, fused=fused, check=False, found=found)
        keep_statistics_apart(model)
        if watched is not None:
            swap["loss_after_swap"] = _loss(watched, model)
        self._applied = model, plan, example_batch
        specs, known = self._candidate.sites, self._assignment.measured

        def measured() -> Measurements:
            assert original is not None
            found = measure(original, model, specs, measuring, fused=fused, known=known)
            return found.model_copy(update=swap)

        self._attempt.tell_measurements(measured)
        return model

    def parameter_groups(
        self, model: nn.Module, *, lr: float, weight_decay: float = 0.0
    ) -> list[dict[str, Any]]:
        training = self._candidate.training
        return parameter_groups(
            model,
            lr=lr * training.learning_rate_factor,
            weight_decay=weight_decay,
            factor=training.activation_learning_rate_factor,
        )

    def epochs(
        self,
        n: int,
        model: nn.Module,
        optimizer: Optimizer,
        *others: Stateful,
        steps_per_epoch: int | None = None,
        evaluated: nn.Module | None = None,
    ) -> Iterator[int]:
        if self._applied is None:
            raise MisusedHandle("the script called epochs before apply")
        _check_stateful(others)
        n = self._planned_epochs(n)
        share = self._candidate.training.realign_after
        course = Course(
            model, optimizer, others, share=share, epochs=n, micro_batches=self.micro_batches
        )
        course.steps_per_epoch = steps_per_epoch
        shapes = ShapeHistory(self._applied[1], self._candidate)
        self._training = training = Underway(model, optimizer, others, course, n, evaluated, shapes)
        saved = self._attempt.checkpoint()
        if saved is not None:
            training.restore(saved)
        if self._attempt.leads:
            code, done = self._attempt.code, training.finished
            self._attempt.upload(RUN, record(self._assignment, code=code, resumed_at=done))
        for epoch in range(training.finished, n):
            seed_everything(self._assignment.seed, epoch, *self._attempt.seed_parts)
            course.begin_epoch()
            yield epoch
            course.end_epoch()
            if training.finished <= epoch:
                # This process has not reported; another one of the trial may have.
                training.finished = epoch + 1
                self._obey(self._attempt.pass_on(epoch + 1, Verdict.CONTINUE), training)
        course.close()

    def report(self, epoch: int, *, step_seconds: float | None = None, **metrics: float) -> None:
        training = self._training
        if training is None:
            raise MisusedHandle("the script called report before epochs")
        training.end_epoch(epoch)
        plain = _finite(epoch, metrics)
        seconds = training.course.step_seconds if step_seconds is None else step_seconds
        self._watch_shapes(training)
        verdict = self._attempt.report(Report(step=epoch + 1, metrics=plain, step_seconds=seconds))
        self._obey(verdict, training)

    def warn(self, remark: str) -> None:
        logger.warning("%s", remark)
        self._remarks.append(remark)

    @property
    def directory(self) -> Path:
        folder = self._attempt.directory
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def micro_batches(self) -> int:
        return self._assignment.micro_batches

    @property
    def is_confirmation(self) -> bool:
        return self._assignment.kind is TrialKind.CONFIRMATION

    def report_test(self, **metrics: float) -> None:
        if self.is_confirmation:
            epoch = 0 if self._training is None else self._training.finished - 1
            self._test = _finite(epoch, metrics)

    @property
    def _candidate(self) -> Candidate:
        candidate = self._assignment.candidate
        if candidate is None:
            raise MisusedHandle("the script must call apply before anything else of the trial")
        return candidate

    def _planned_epochs(self, n: int) -> int:
        planned = self._assignment.task.get("epochs")
        if not isinstance(planned, int):
            return n
        if planned != n:
            logger.warning("training %d epochs, as the search says, not %d", planned, n)
        return planned

    def _obey(self, verdict: Verdict, training: Underway) -> None:
        match verdict:
            case Verdict.STOP:
                raise Ended(Outcome(outcome=OutcomeKind.STOPPED, message=self._warnings()))
            case Verdict.CANCEL:
                raise Ended(None)
            case Verdict.RELEASE:
                self._store(training)
                if self._attempt.leads:
                    self._attempt.hand_in()
                raise Ended(Outcome(outcome=OutcomeKind.RELEASED))
            case Verdict.CONTINUE if training.finished < training.epochs:
                self._store(training)

    def _store(self, training: Underway) -> None:
        if self._attempt.leads:
            self._attempt.keep(training.save())

    def _completed(self) -> Outcome | None:
        """Upload what the script made, which ran through."""
        if not self._attempt.leads:
            return None
        if self._applied is None or self._training is None or not self._training.finished:
            reason = "the script ended without a report; it calls apply, epochs and report"
            return failed_with(MisusedHandle(reason))
        model, plan, example_batch = self._applied
        result, model = self._training.result, self._shown(self._training, model)
        if not all(bool(p.isfinite().all()) for p in result.parameters()):
            return failed_with(Diverged(self._training.finished, "a weight", math.nan))
        shapes = learned_shapes(model, plan, self._candidate, example_batch)
        try:
            self._attempt.upload(WEIGHTS, checkpoint.weights(result))
            self._attempt.upload(SHAPES, shapes)
            if self._training.shapes.epochs:
                self._attempt.upload(SHAPE_HISTORY, self._training.shapes.document())
            if self._assignment.export:
                self._export(result, example_batch)
        except Ended as superseded:
            return superseded.outcome
        message = self._warnings()
        return Outcome(outcome=OutcomeKind.COMPLETED, message=message, test=self._test)

    def _export(self, result: nn.Module, example_batch: Any) -> None:
        """Upload the network as ONNX; where that fails, the trial has still completed."""
        try:
            self._attempt.upload(ONNX, export(result, example_batch))
        except NotExportable as error:
            self.warn(f"{NO_ONNX}{error}")

    def _watch_shapes(self, training: Underway) -> None:
        """Keep what the learned curves are after this epoch; a divergence has none."""
        if not self._attempt.leads or self._applied is None:
            return
        model, _, example_batch = self._applied
        shown = self._shown(training, model)
        if all(bool(p.isfinite().all()) for p in shown.parameters()):
            training.shapes.take(training.finished, shown, example_batch)

    def _shown(self, training: Underway, model: nn.Module) -> nn.Module:
        """Return the network whose curves are the result's, where that is a copy of `model`."""
        same = training.result.state_dict().keys() == model.state_dict().keys()
        return training.result if same else model

    def _preempted(self, error: Preempted) -> Outcome | None:
        """Hand in how far the training has come."""
        try:
            if self._attempt.leads:
                self._attempt.hand_in()
        except Ended as superseded:
            return superseded.outcome
        return error.outcome

    def _warnings(self) -> str:
        """Return the remarks as one text, bounded."""
        return "\n".join(self._remarks)[:LONGEST_MESSAGE]


def _loss(loss: Callable[[nn.Module], float], model: nn.Module) -> float:
    """Return the loss of the network as it is. Raises `Diverged` if it is not finite."""
    with restored(model), torch.no_grad():
        found = float(loss(model))
    if not math.isfinite(found):
        raise Diverged(0, "the validation loss at the swap", found)
    return found


def _check_stateful(others: tuple[Stateful, ...]) -> None:
    for other in others:
        missing = [name for name in ("state_dict", "load_state_dict") if not hasattr(other, name)]
        if missing:
            kind = type(other).__name__
            raise MisusedHandle(
                f"epochs was given a {kind}, which has no {' and no '.join(missing)}: "
                "a checkpoint cannot hold it"
            )


def _finite(epoch: int, metrics: dict[str, float]) -> dict[str, float]:
    """Return the metrics as plain numbers. Raises `Diverged` if one is not finite."""
    plain = {name: float(value) for name, value in metrics.items()}
    for name, value in plain.items():
        if not math.isfinite(value):
            raise Diverged(epoch + 1, name, value)
    return plain
