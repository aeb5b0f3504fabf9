"""The handle of a training loop that serves a trial."""

import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
    Measurements,
    Measuring,
    Outcome,
    OutcomeKind,
    Report,
    TrialKind,
    Verdict,
)
from search_space.sites import probe
from search_space.spec import Candidate, SitePlan
from workers.attempt.attempt import AttemptEnded
from workers.attempt.exit_outcomes import SERVICE_AWAY
from workers.errors import (
    Diverged,
    MisusedHandle,
    NetworkChanged,
    NotExportable,
    ServiceAway,
)
from workers.handle import checkpoint
from workers.handle.attempt_protocol import AttemptProtocol
from workers.handle.checks import check_stateful, finite_loss, finite_metrics, is_finite
from workers.handle.distributed import keep_statistics_apart
from workers.handle.failures import LONGEST_MESSAGE, failed_with
from workers.handle.phases import PhaseScheduler
from workers.handle.preemption import Preempted, Preemption
from workers.handle.progress import TrainingProgress
from workers.handle.protocol import Model, Stateful
from workers.handle.provenance import record
from workers.handle.seeds import seed_everything
from workers.handle.unwrapping import network_of
from workers.measurement.costs import measure, original_costs
from workers.measurement.learned_shapes import ShapeHistory, learned_shapes
from workers.measurement.onnx_export import export

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Applied:
    """The network with the candidate's activations."""

    model: nn.Module
    plan: SitePlan
    example_batch: Any


class ServedTrial:
    """Serves the trial of one attempt; `workers.handle.protocol.Trial` documents its methods."""

    def __init__(self, attempt: AttemptProtocol) -> None:
        self._attempt = attempt
        self._assignment = attempt.assignment
        self._applied: _Applied | None = None
        self._training: TrainingProgress | None = None
        self._test: dict[str, float] = {}
        self._remarks: list[str] = []
        self._preemption = Preemption()

    def __enter__(self) -> Self:
        self._preemption.install_handlers()
        seed_everything(self._assignment.seed, "start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Send the outcome. No exception is swallowed: a failed script's exit code is not 0."""
        # The attempt ends already; from here on, a signal would only interrupt that.
        self._preemption.ignore()
        try:
            self._attempt.end(self._outcome(error))
        except ServiceAway:
            logger.exception("trial %s: giving up", self._assignment.trial)
            # The agent, which lives longer, sees this code and sends the outcome.
            raise SystemExit(SERVICE_AWAY) from None
        finally:
            self._attempt.close()

    def _outcome(self, error: BaseException | None) -> Outcome | None:
        match error:
            case Preempted():
                return self._preempted(error)
            case AttemptEnded():
                return error.outcome
            case ServiceAway():
                raise error
            # Scripts may end by `sys.exit()`.
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
            weights = self._attempt.load_start_weights()
            assert weights is not None
            checkpoint.load_weights(weights, network_of(model))
        found = probe(model, example_batch)
        self._check_plan(found.plan)
        measuring = self._assignment.measuring or Measuring()
        is_rank_zero = self._attempt.is_rank_zero
        original = (
            original_costs(model, example_batch, found.calls, measuring) if is_rank_zero else None
        )
        # A loss before and after tells how far the activations move trained weights; untrained
        # ones are far from anything.
        swap_loss = loss if is_rank_zero and self._assignment.start is not None else None
        swap: dict[str, float] = {}
        if swap_loss is not None:
            swap["loss_before_swap"] = finite_loss(swap_loss, model)
        # Finding the sites ran the network, which may have drawn random numbers; seeded again,
        # what follows does not depend on them.
        seed_everything(self._assignment.seed, "apply")
        # Not checked for finite outputs: that is a divergence, which the training reports.
        apply(model, self._candidate, example_batch, fused=fused, check=False, found=found)
        # Before the script wraps the network in DDP, which reads these names once.
        keep_statistics_apart(model)
        if swap_loss is not None:
            swap["loss_after_swap"] = finite_loss(swap_loss, model)
        self._applied = _Applied(model, found.plan, example_batch)
        specs, known = self._candidate.sites, self._assignment.measured

        def measured() -> Measurements:
            assert original is not None
            costs = measure(original, model, specs, measuring, fused=fused, known=known)
            return costs.model_copy(update=swap)

        # A function, since other ranks do not measure; they only learn whether to go on.
        self._attempt.report_measurements(measured)
        return model

    def _check_plan(self, plan: SitePlan) -> None:
        """End an inspection with the plan; otherwise, check that it is that of the search."""
        if self._assignment.kind is TrialKind.INSPECTION:
            raise AttemptEnded(Outcome(outcome=OutcomeKind.COMPLETED, plan=plan))
        if plan.fingerprint != self._assignment.fingerprint:
            ids = [site.id for site in plan.sites]
            raise NetworkChanged(self._assignment.fingerprint, plan.fingerprint, ids)

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
        check_stateful(others)
        n = self._planned_epochs(n)
        share = self._candidate.training.realign_after
        phases = PhaseScheduler(
            model, optimizer, others, share=share, epochs=n, micro_batches=self.micro_batches
        )
        phases.steps_per_epoch = steps_per_epoch
        shapes = ShapeHistory(self._applied.plan, self._candidate)
        training = TrainingProgress(model, optimizer, others, phases, n, evaluated, shapes)
        self._training = training
        saved = self._attempt.load_checkpoint()
        if saved is not None:
            training.restore(saved)
        if self._attempt.is_rank_zero:
            code, done = self._attempt.code, training.finished
            self._attempt.upload(RUN, record(self._assignment, code=code, resumed_at=done))
        for epoch in range(training.finished, n):
            # Each epoch from its own seed, so that a resumed training repeats bit for bit without
            # the states of all random generators in the checkpoint.
            seed_everything(self._assignment.seed, epoch, *self._attempt.seed_parts)
            phases.begin_epoch()
            yield epoch
            phases.end_epoch()
            if training.finished <= epoch:
                # The script did not report here; in a usual distributed script only rank 0 does.
                training.finished = epoch + 1
                verdict = self._attempt.broadcast_verdict(epoch + 1, Verdict.CONTINUE)
                self._obey(verdict, training)
        phases.close()

    def report(self, epoch: int, *, step_seconds: float | None = None, **metrics: float) -> None:
        training = self._training
        if training is None:
            raise MisusedHandle("the script called report before epochs")
        training.end_epoch(epoch)
        plain = finite_metrics(epoch, metrics)
        seconds = training.phase_scheduler.step_seconds if step_seconds is None else step_seconds
        if self._attempt.is_rank_zero and self._applied is not None:
            training.record_shapes(self._applied.model, self._applied.example_batch)
        # The report before the checkpoint: a crash between the two repeats a report, which is
        # harmless. The other order would lose one.
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
            self._test = finite_metrics(epoch, metrics)

    @property
    def _candidate(self) -> Candidate:
        candidate = self._assignment.candidate
        # An inspection has none; it ends in `apply`.
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

    def _obey(self, verdict: Verdict, training: TrainingProgress) -> None:
        match verdict:
            case Verdict.STOP:
                raise AttemptEnded(Outcome(outcome=OutcomeKind.STOPPED, message=self._warnings()))
            case Verdict.CANCEL:
                raise AttemptEnded(None)
            case Verdict.RELEASE:
                self._save_checkpoint(training)
                if self._attempt.is_rank_zero:
                    self._attempt.flush()
                raise AttemptEnded(Outcome(outcome=OutcomeKind.RELEASED))
            # After the last epoch there is nothing to resume.
            case Verdict.CONTINUE if training.finished < training.epochs:
                self._save_checkpoint(training)

    def _save_checkpoint(self, training: TrainingProgress) -> None:
        if self._attempt.is_rank_zero:
            self._attempt.save_checkpoint(training.save())

    def _completed(self) -> Outcome | None:
        """Upload the results of a script that ran through, and return its outcome."""
        if not self._attempt.is_rank_zero:
            return None
        if self._applied is None or self._training is None or not self._training.finished:
            reason = "the script ended without a report; it calls apply, epochs and report"
            return failed_with(MisusedHandle(reason))
        # Metrics can be finite while a weight is not: in a layer that evaluation does not use.
        if not is_finite(self._training.result):
            return failed_with(Diverged(self._training.finished, "a weight", math.nan))
        try:
            self._upload_results(self._applied, self._training)
        except AttemptEnded as superseded:
            return superseded.outcome
        message = self._warnings()
        return Outcome(outcome=OutcomeKind.COMPLETED, message=message, test=self._test)

    def _upload_results(self, applied: _Applied, training: TrainingProgress) -> None:
        shown, example_batch = training.shown(applied.model), applied.example_batch
        shapes = learned_shapes(shown, applied.plan, self._candidate, example_batch)
        self._attempt.upload(WEIGHTS, checkpoint.weights(training.result))
        self._attempt.upload(SHAPES, shapes)
        if training.shapes.epochs:
            self._attempt.upload(SHAPE_HISTORY, training.shapes.document())
        if self._assignment.export:
            try:
                self._attempt.upload(ONNX, export(training.result, example_batch))
            except NotExportable as error:
                # The training was successful, and must not be lost.
                self.warn(f"{NO_ONNX}{error}")

    def _preempted(self, error: Preempted) -> Outcome | None:
        """Upload the newest checkpoint, for the next attempt to resume from."""
        try:
            if self._attempt.is_rank_zero:
                self._attempt.flush()
        except AttemptEnded as superseded:
            return superseded.outcome
        return error.outcome

    def _warnings(self) -> str:
        """Return the remarks as one text, bounded."""
        return "\n".join(self._remarks)[:LONGEST_MESSAGE]
