"""The handle in a training loop, against a service over HTTP."""

import contextlib
import errno
import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn
from torch.nn import functional as F
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from search_space.activations.learned import phased_modules
from search_space.apply import apply
from search_space.contract import (
    CHECKPOINT,
    RUN,
    SHAPE_HISTORY,
    SHAPES,
    WEIGHTS,
    Assignment,
    FailureClass,
    OutcomeKind,
    TrialKind,
    Verdict,
)
from tests.workers.conftest import EXAMPLE, Serve, candidate, fingerprint, network
from tests.workers.stub import Stub
from workers.attempt.outbox import outcome_file_of
from workers.errors import DataMissing, Diverged, MisusedHandle, NetworkChanged
from workers.handle.protocol import Trial
from workers.trial import trial

STEPS = 12
Schedule = Callable[[Optimizer], Any]


def sgd(groups: Any) -> Optimizer:
    return SGD(groups, momentum=0.9, nesterov=True)


def amsgrad(groups: Any) -> Optimizer:
    return AdamW(groups, amsgrad=True)


def decaying(optimizer: Optimizer) -> Any:
    return LambdaLR(optimizer, lambda step: 0.9**step)


def nothing(epoch: int) -> None:
    del epoch


def train(
    t: Trial,
    *,
    epochs: int = 4,
    make: Callable[[Any], Optimizer] = sgd,
    schedule: Schedule = decaying,
    steps_per_epoch: int | None = STEPS,
    each_epoch: Callable[[int], None] = nothing,
) -> nn.Module:
    """A user's loop: dropout and data are random, the rate follows a schedule."""
    model = t.apply(network(), EXAMPLE)
    optimizer = make(t.parameter_groups(model, lr=0.05, weight_decay=1e-3))
    scheduler = schedule(optimizer)
    for epoch in t.epochs(epochs, model, optimizer, scheduler, steps_per_epoch=steps_per_epoch):
        each_epoch(epoch)
        for _ in range(STEPS):
            x = torch.randn(16, 4) + float(np.random.rand()) + random.random()
            loss = F.cross_entropy(F.dropout(model(x), 0.1), (x[:, 0] > 0.5).long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step(0.5) if isinstance(scheduler, ReduceLROnPlateau) else scheduler.step()
        t.report(epoch, validation_accuracy=0.5 + epoch / 100)
    return model


def assignment(stub: Stub, name: str = "pwlu", **fields: Any) -> Assignment:
    fields = {"fingerprint": fingerprint(), **fields}
    training = fields.pop("training", {})
    return stub.assignment({"name": "mine"}, candidate(name, **training), **fields)


def test_outside_a_worker_the_network_is_the_original(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTSEARCH_LEASE_FILE", raising=False)
    model = network()
    with trial() as t:
        assert t.apply(model, EXAMPLE) is model
        optimizer = sgd(t.parameter_groups(model, lr=0.1))
        assert list(t.epochs(3, model, optimizer)) == [0, 1, 2]
        t.report(0, validation_accuracy=0.5)
        t.report_test(test_accuracy=0.5)
    assert isinstance(model.get_submodule("1"), nn.ReLU)


def test_a_config_applied_by_hand_goes_through_its_phases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ACTSEARCH_LEASE_FILE", raising=False)
    with trial() as t:
        model = apply(network(), candidate(), EXAMPLE)
        (phased,) = phased_modules(model)
        optimizer = sgd(t.parameter_groups(model, lr=0.1))
        for _ in t.epochs(5, model, optimizer):
            model(torch.randn(8, 4)).sum().backward()
            optimizer.step()
    assert not phased.collecting


def test_a_last_word_that_cannot_be_written_down_is_said_all_the_same(
    stub: Stub, serve: Serve
) -> None:
    given = assignment(stub)
    path = serve(given)
    # In the way, as a full disk is.
    path.with_suffix(".telling").mkdir()
    with trial() as t:
        train(t)
    assert stub.outcomes[given.lease].outcome is OutcomeKind.COMPLETED
    assert not path.exists()
    assert not outcome_file_of(path).exists()


def test_an_inspection_tells_the_sites_and_exits_with_0(stub: Stub, serve: Serve) -> None:
    inspection = stub.assignment({"name": "mine"})
    path = serve(inspection)
    with pytest.raises(SystemExit) as exit_, trial() as t:
        train(t)
    assert exit_.value.code == 0
    outcome = stub.outcomes[inspection.lease]
    assert outcome.outcome is OutcomeKind.COMPLETED
    assert outcome.plan is not None
    assert [site.id for site in outcome.plan.sites] == ["1"]
    assert not path.exists()


def test_a_trial_that_runs_through_leaves_weights_and_shapes(stub: Stub, serve: Serve) -> None:
    given = assignment(stub)
    path = serve(given)
    with trial() as t:
        model = train(t)
    assert stub.outcomes[given.lease].outcome is OutcomeKind.COMPLETED
    assert [report.step for report in stub.reports] == [1, 2, 3, 4]
    assert all(report.step_seconds for report in stub.reports)
    weights = load(stub.artifacts[WEIGHTS])
    assert {k: v.tolist() for k, v in weights.items()} == {
        k: v.tolist() for k, v in model.state_dict().items()
    }
    assert [site["site"] for site in json.loads(stub.artifacts[SHAPES])["sites"]] == ["1"]
    assert not path.exists()


@pytest.mark.parametrize(
    ("kind", "told"), [(TrialKind.PROPOSED, {}), (TrialKind.CONFIRMATION, {"test_accuracy": 0.25})]
)
def test_test_metrics_are_told_in_a_confirmation_alone(
    stub: Stub, serve: Serve, kind: TrialKind, told: dict[str, float]
) -> None:
    given = assignment(stub, kind=kind)
    serve(given)
    with trial() as t:
        assert t.is_confirmation == (kind is TrialKind.CONFIRMATION)
        train(t)
        t.report_test(test_accuracy=0.25)
    assert stub.outcomes[given.lease].test == told


@pytest.mark.parametrize(
    ("make", "schedule", "released_after", "steps_per_epoch"),
    [
        (sgd, decaying, 1, STEPS),
        (sgd, decaying, 3, STEPS),
        (sgd, decaying, 1, None),
        (sgd, decaying, 2, None),
        (AdamW, lambda o: OneCycleLR(o, max_lr=0.1, total_steps=12), 2, STEPS),
        (amsgrad, lambda o: ReduceLROnPlateau(o, patience=0), 2, STEPS),
    ],
)
def test_a_resumed_training_is_bit_for_bit_the_uninterrupted_one(
    stub: Stub,
    serve: Serve,
    make: Callable[[Any], Optimizer],
    schedule: Schedule,
    released_after: int,
    steps_per_epoch: int | None,
) -> None:
    # Ten epochs: the activation switches at the end of the second.
    arguments: Any = {
        "epochs": 10,
        "make": make,
        "schedule": schedule,
        "steps_per_epoch": steps_per_epoch,
    }
    serve(assignment(stub))
    with trial() as t:
        train(t, **arguments)
    straight = stub.artifacts.pop(WEIGHTS)

    stub.verdicts = {released_after: Verdict.RELEASE}
    first = assignment(stub)
    serve(first)
    with pytest.raises(SystemExit), trial() as t:
        train(t, **arguments)
    assert stub.outcomes[first.lease].outcome is OutcomeKind.RELEASED
    stub.verdicts = {}
    serve(assignment(stub, checkpoint=stub.checkpoint(CHECKPOINT), attempt=2))
    with trial() as t:
        train(t, **arguments)
    assert stub.artifacts[WEIGHTS] == straight
    assert [r.step for r in stub.reports] == [*range(1, 11), *range(1, 11)]
    history = json.loads(stub.artifacts[SHAPE_HISTORY])["epochs"]
    assert [one["epoch"] for one in history] == [*range(1, 11)]


def test_a_checkpoint_that_is_not_what_its_digest_says_is_refused(stub: Stub, serve: Serve) -> None:
    stub.artifacts[CHECKPOINT] = b"damaged"
    promised = {"name": CHECKPOINT, "sha256": "0" * 64}
    given = assignment(stub, checkpoint=promised)
    serve(given)
    with pytest.raises(Exception, match="sha256"), trial() as t:
        train(t)
    assert stub.outcomes[given.lease].failure is FailureClass.ENVIRONMENT


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [(Verdict.STOP, OutcomeKind.STOPPED), (Verdict.RELEASE, OutcomeKind.RELEASED)],
)
def test_a_verdict_ends_the_process_and_nothing_runs_after_it(
    stub: Stub, serve: Serve, verdict: Verdict, outcome: OutcomeKind
) -> None:
    stub.verdicts = {2: verdict}
    given = assignment(stub)
    serve(given)
    after = []

    def script() -> None:
        with trial() as t:
            train(t)
        after.append("ran")

    with pytest.raises(SystemExit) as exit_:
        script()
    assert exit_.value.code == 0
    assert not after
    assert stub.outcomes[given.lease].outcome is outcome
    assert len(stub.reports) == 2


@pytest.mark.parametrize("verdict", [Verdict.CONTINUE, Verdict.STOP])
def test_remarks_are_told_with_the_outcome(stub: Stub, serve: Serve, verdict: Verdict) -> None:
    stub.verdicts = {2: verdict}
    given = assignment(stub)
    serve(given)
    with contextlib.suppress(SystemExit), trial() as t:
        train(t, epochs=2, each_epoch=lambda epoch: t.warn(f"seen in epoch {epoch}"))
    assert stub.outcomes[given.lease].message == "seen in epoch 0\nseen in epoch 1"


def test_cancel_ends_the_process_without_another_word(stub: Stub, serve: Serve) -> None:
    stub.verdicts = {1: Verdict.CANCEL}
    path = serve(assignment(stub))
    with pytest.raises(SystemExit), trial() as t:
        train(t)
    assert not stub.outcomes
    assert set(stub.artifacts) == {RUN}
    assert not path.exists()


def test_a_superseded_attempt_falls_silent(stub: Stub, serve: Serve) -> None:
    given = assignment(stub)
    serve(given)
    with pytest.raises(SystemExit), trial() as t:
        train(t, each_epoch=lambda epoch: stub.ended.add(given.lease) if epoch == 1 else None)
    assert stub.refused == ["reports"]
    assert len(stub.reports) == 1


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), FailureClass.OUT_OF_MEMORY),
        (RuntimeError("[enforce fail] can't allocate memory"), FailureClass.OUT_OF_MEMORY),
        (MemoryError(), FailureClass.OUT_OF_MEMORY),
        (DataMissing("mnist", []), FailureClass.ENVIRONMENT),
        (ImportError("no module named x"), FailureClass.ENVIRONMENT),
        (OSError(errno.ENOSPC, "No space left on device"), FailureClass.ENVIRONMENT),
        (RuntimeError("CUDA driver error: unknown error"), FailureClass.ENVIRONMENT),
        (FileNotFoundError(errno.ENOENT, "config.yaml"), FailureClass.USER_ERROR),
        (ZeroDivisionError("float division by zero"), FailureClass.USER_ERROR),
        (SystemExit(3), FailureClass.USER_ERROR),
    ],
)
def test_what_goes_wrong_has_a_class_and_a_message(
    stub: Stub, serve: Serve, error: BaseException, failure: FailureClass
) -> None:
    def fail(_: int) -> None:
        raise error

    given = assignment(stub)
    serve(given)
    with pytest.raises(type(error)), trial() as t:
        train(t, each_epoch=fail)
    outcome = stub.outcomes[given.lease]
    assert (outcome.outcome, outcome.failure) == (OutcomeKind.FAILED, failure)
    first = outcome.message.splitlines()[0]
    assert type(error).__name__ in first
    assert str(error) in first
    assert "in fail" in outcome.message


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_not_finite_has_diverged(stub: Stub, serve: Serve, value: float) -> None:
    given = assignment(stub)
    serve(given)
    with pytest.raises(Diverged, match=r"validation_loss is .* after epoch 1"), trial() as t:
        train(t, each_epoch=lambda epoch: t.report(epoch, validation_loss=value))
    assert stub.outcomes[given.lease].failure is FailureClass.DIVERGED
    assert not stub.reports


def test_a_changed_network_is_told_and_not_trained(stub: Stub, serve: Serve) -> None:
    given = assignment(stub, fingerprint="another")
    serve(given)
    with pytest.raises(NetworkChanged, match="submit the changed network"), trial() as t:
        train(t)
    assert stub.outcomes[given.lease].failure is FailureClass.USER_ERROR


def test_a_script_that_reports_nothing_has_failed(stub: Stub, serve: Serve) -> None:
    given = assignment(stub)
    serve(given)
    with trial() as t:
        t.apply(network(), EXAMPLE)
    assert stub.outcomes[given.lease].failure is FailureClass.USER_ERROR


def test_epochs_before_apply_is_refused(stub: Stub, serve: Serve) -> None:
    serve(assignment(stub))
    model = network()
    with pytest.raises(MisusedHandle, match="before apply"), trial() as t:
        next(iter(t.epochs(2, model, sgd(model.parameters()))))


def test_a_service_that_is_away_for_a_while_costs_nothing(stub: Stub, serve: Serve) -> None:
    def away(_: int) -> None:
        stub.failures = 3

    given = assignment(stub)
    serve(given)
    with trial() as t:
        train(t, epochs=2, each_epoch=away)
    assert [report.step for report in stub.reports] == [1, 2]
    assert stub.outcomes[given.lease].outcome is OutcomeKind.COMPLETED


def test_the_epochs_of_the_search_win(stub: Stub, serve: Serve) -> None:
    given = assignment(stub).model_copy(update={"task": {"name": "mine", "epochs": 2}})
    serve(given)
    with trial() as t:
        train(t, epochs=4)
    assert [report.step for report in stub.reports] == [1, 2]


def test_everything_random_follows_from_the_trial_s_seed(stub: Stub, serve: Serve) -> None:
    drawn: list[Any] = []
    for seed in (7, 7, 8):
        serve(assignment(stub, seed=seed))
        with trial() as t:
            draws: list[Any] = [torch.rand(()).item()]
            train(
                t,
                epochs=2,
                each_epoch=lambda _: draws.append(  # noqa: B023
                    (torch.rand(()).item(), np.random.rand(), random.random())
                ),
            )
        drawn.append(draws)
    assert drawn[0] == drawn[1]
    assert all(a != b for a, b in zip(drawn[0], drawn[2], strict=True))
    assert drawn[0][1] != drawn[0][2]


def test_learning_rates_have_the_candidate_s_factors(stub: Stub, serve: Serve) -> None:
    factors = {"learning_rate_factor": 3.0, "activation_learning_rate_factor": 0.1}
    serve(assignment(stub, training=factors))
    with trial() as t:
        model = train(t, epochs=1)
        network_group, activation_group = t.parameter_groups(model, lr=0.1, weight_decay=0.01)
    assert network_group["lr"] == pytest.approx(0.3)
    assert activation_group["lr"] == pytest.approx(0.03)
    assert (network_group["weight_decay"], activation_group["weight_decay"]) == (0.01, 0.0)


def test_a_measured_step_time_can_be_given(stub: Stub, serve: Serve) -> None:
    serve(assignment(stub))
    with trial() as t:
        train(t, epochs=1, each_epoch=lambda epoch: t.report(epoch, step_seconds=1.5, loss=1.0))
    assert stub.reports[0].step_seconds == 1.5


def test_accumulated_gradients_count_as_one_step(stub: Stub, serve: Serve) -> None:
    """Three batches make a step, and the phase lasts a fifth of the ten steps."""
    serve(assignment(stub))
    with trial() as t:
        model = t.apply(network(), EXAMPLE)
        (phased,) = phased_modules(model)
        optimizer = sgd(t.parameter_groups(model, lr=0.05))
        collecting = []
        for epoch in t.epochs(5, model, optimizer, steps_per_epoch=2):
            for _ in range(2):
                for _ in range(3):
                    model(torch.randn(8, 4)).square().mean().backward()
                optimizer.step()
                optimizer.zero_grad()
                collecting.append(phased.collecting)
            t.report(epoch, validation_accuracy=0.5)
    assert collecting == [True] + [False] * 9


def average(model: nn.Module) -> AveragedModel:
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.5), use_buffers=True)


def train_average(t: Trial, stop: Callable[[int], None] = nothing) -> AveragedModel:
    """A user's loop that evaluates, and so leaves, an average of the weights."""
    model = t.apply(network(), EXAMPLE)
    optimizer = sgd(t.parameter_groups(model, lr=0.05))
    ema = average(model)
    for epoch in t.epochs(5, model, optimizer, ema, steps_per_epoch=STEPS, evaluated=ema):
        stop(epoch)
        for _ in range(STEPS):
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            ema.update_parameters(model)
        t.report(epoch, validation_accuracy=0.5)
    return ema


def test_an_average_of_the_weights_switches_phases_and_is_the_result(
    stub: Stub, serve: Serve
) -> None:
    serve(assignment(stub))
    with trial() as t:
        ema = train_average(t)
    (phased,) = phased_modules(ema)
    assert not phased.collecting
    stored, held = load(stub.artifacts[WEIGHTS]), ema.module.state_dict()
    assert {k: v.tolist() for k, v in stored.items()} == {k: v.tolist() for k, v in held.items()}


@pytest.mark.parametrize("released_after", [1, 3])
def test_an_average_of_the_weights_resumes(stub: Stub, serve: Serve, released_after: int) -> None:
    serve(assignment(stub))
    with trial() as t:
        train_average(t)
    straight = stub.artifacts.pop(WEIGHTS)
    stub.verdicts = {released_after: Verdict.RELEASE}
    serve(assignment(stub))
    with pytest.raises(SystemExit), trial() as t:
        train_average(t)
    stub.verdicts = {}
    serve(assignment(stub, checkpoint=stub.checkpoint(CHECKPOINT), attempt=2))
    with trial() as t:
        train_average(t)
    assert stub.artifacts[WEIGHTS] == straight


def test_a_compiled_network_leaves_weights_under_its_own_names(stub: Stub, serve: Serve) -> None:
    serve(assignment(stub))
    with trial() as t:
        model = t.apply(network(), EXAMPLE)
        compiled = torch.compile(model, backend="eager")
        assert isinstance(compiled, nn.Module)
        optimizer = sgd(t.parameter_groups(model, lr=0.05))
        for epoch in t.epochs(1, compiled, optimizer):
            t.report(epoch, validation_accuracy=0.5)
    assert load(stub.artifacts[WEIGHTS]).keys() == model.state_dict().keys()


def test_what_a_checkpoint_cannot_hold_is_refused_by_name(stub: Stub, serve: Serve) -> None:
    class Halfway:
        def state_dict(self) -> dict[str, Any]:
            return {}

    serve(assignment(stub))
    message = "a Halfway, which has no load_state_dict"
    with pytest.raises(MisusedHandle, match=message), trial() as t:
        train(t, schedule=lambda _: Halfway())


@pytest.mark.parametrize(
    ("verdict", "kept"), [(Verdict.RELEASE, True), (Verdict.STOP, False), (Verdict.CANCEL, False)]
)
def test_the_trial_s_directory_lasts_as_long_as_the_trial(
    stub: Stub, serve: Serve, verdict: Verdict, kept: bool
) -> None:
    def script() -> None:
        with trial() as t:
            (t.directory / "cache").write_text("dear to compute")
            folders.append(t.directory)
            train(t)

    folders: list[Path] = []
    stub.verdicts = {2: verdict}
    serve(assignment(stub))
    with pytest.raises(SystemExit):
        script()
    assert (folders[0] / "cache").exists() == kept


def test_outside_a_worker_there_is_a_directory_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTSEARCH_LEASE_FILE", raising=False)
    with trial() as t:
        folder = t.directory
        (folder / "cache").write_text("dear to compute")
        assert t.directory == folder
    assert not folder.exists()


def test_weights_that_are_not_finite_have_diverged(stub: Stub, serve: Serve) -> None:
    given = assignment(stub)
    serve(given)
    with trial() as t:
        model = train(t)
        with torch.no_grad():
            next(model.parameters()).fill_(math.nan)
    assert stub.outcomes[given.lease].failure is FailureClass.DIVERGED
    assert not stub.artifacts.keys() & {WEIGHTS, SHAPES}
