"""What a candidate costs against the original, counted and measured."""

import fcntl
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from search_space.apply import apply
from search_space.contract import FailureClass, Measurements, Measuring, Ratio
from search_space.sites import probe
from search_space.spec import ActivationSpec
from tests.workers.conftest import EXAMPLE, Serve, candidate, fingerprint, network
from tests.workers.stub import Stub
from workers.errors import NotMeasurable
from workers.measurement.costs import measure, original_costs
from workers.measurement.device_lock import exclusive
from workers.measurement.fold_batch_norm import fold
from workers.measurement.live_memory import peak_bytes
from workers.trial import trial

CPU = torch.device("cpu")
EVERYTHING = Measuring(latency=True, memory=True)


class Slow(nn.Module):
    """A network whose activation is all of its work."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 64)
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(self.linear(x))
        return y


def measured(
    model: nn.Module,
    batch: Any,
    name: str,
    measuring: Measuring = EVERYTHING,
    known: list[Measurements] | None = None,
) -> Measurements:
    found = probe(model, batch)
    original = original_costs(model, batch, found.calls, measuring)
    specs = {site.id: ActivationSpec(name) for site in found.plan.sites}
    apply(model, specs, batch)
    return measure(original, model, specs, measuring, known=known or [])


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fewest rounds: what is tested here does not hang on precision."""
    monkeypatch.setattr("workers.measurement.latency._SECONDS", 0.0)
    monkeypatch.setattr("workers.measurement.latency._LEAST_SECONDS", 1e-6)


def test_parameters_and_flops_are_those_counted_by_hand() -> None:
    found = measured(network(), torch.zeros(5, 4), "silu", Measuring())
    # Two products of 4 x 8 and 8 x 2, and eight times the 11 operations of SiLU.
    assert found.flops == 2 * (4 * 8 + 8 * 2) + 8 * 11
    assert found.parameters == 4 * 8 + 8 + 8 * 2 + 2
    assert found.ratios["flop_ratio"].value == pytest.approx((96 + 88) / (96 + 8))
    assert found.form.batch == 5
    assert set(found.ratios) == {"parameter_ratio", "flop_ratio"}


def test_learned_parameters_count() -> None:
    found = measured(network(), EXAMPLE, "acon_c", Measuring())
    assert found.ratios["parameter_ratio"].value == pytest.approx((58 + 3 * 8) / 58)


def test_attention_counts_in_a_transformer() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    found = measured(layer, torch.zeros(1, 5, 8), "relu", Measuring())
    projections = 2 * 5 * (8 * 24 + 8 * 8 + 2 * 8 * 16)
    attention = 2 * (2 * 5 * 5 * 8)
    assert found.flops == projections + attention + 5 * 16


@pytest.mark.parametrize("original", ["relu", "silu"])
def test_the_original_weighs_as_much_as_itself(original: str) -> None:
    model = (
        Slow() if original == "relu" else apply(Slow(), {"act": ActivationSpec("silu")}, EXAMPLE)
    )
    found = measured(model, EXAMPLE, original)
    for name in ("parameter_ratio", "flop_ratio", "memory_ratio"):
        assert found.ratios[name] == Ratio(value=1, low=1, high=1)


def test_a_slower_activation_is_slower_and_keeps_more() -> None:
    found = measured(Slow(), torch.zeros(256, 4), "pwlu")
    latency = found.ratios["latency_ratio"]
    assert 1 < latency.low <= latency.value <= latency.high
    assert found.ratios["memory_ratio"].value > 1
    assert found.latency_seconds is not None
    assert found.latency_seconds > 0


def test_measuring_changes_neither_the_network_nor_what_is_drawn() -> None:
    model = nn.Sequential(
        nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 2)
    )
    batch = torch.randn(16, 4)
    found = probe(model, batch)
    original = original_costs(model, batch, found.calls, EVERYTHING)
    specs = {"2": ActivationSpec("pwlu")}
    apply(model, specs, batch)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    measure(original, model, specs, EVERYTHING)
    assert torch.equal(torch.random.get_rng_state(), state)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_known_in_the_same_form_is_not_measured_again() -> None:
    first = measured(network(), EXAMPLE, "silu")
    told = first.model_copy(update={"latency_seconds": 123.0})
    assert measured(network(), EXAMPLE, "silu", known=[told]) == told
    other = told.model_copy(update={"form": told.form.model_copy(update={"device": "another"})})
    assert measured(network(), EXAMPLE, "silu", known=[other]).latency_seconds != 123.0
    counted = measured(network(), EXAMPLE, "silu", Measuring())
    assert "latency_ratio" in measured(network(), EXAMPLE, "silu", known=[counted]).ratios


def test_the_form_that_is_asked_for_is_the_one_measured() -> None:
    sizes = []
    model = network()
    model.register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[0]))
    found = measured(model, EXAMPLE, "silu", Measuring(latency=True, batch=7, dtype="bfloat16"))
    assert (found.form.batch, found.form.dtype) == (7, "bfloat16")
    assert sizes[-1] == 7


def test_a_network_that_cannot_be_copied_says_so() -> None:
    model = network()
    model.register_buffer("held", torch.ones(1, requires_grad=True) * 2)
    with pytest.raises(NotMeasurable, match="copies of the network"):
        measured(model, EXAMPLE, "silu")


def test_peak_memory_counts_what_is_alive_at_once() -> None:
    def run() -> None:
        a = torch.zeros(1000)
        b = a + 1
        del a
        c = b * 2
        del b
        c.view(10, 100).add_(1)

    assert peak_bytes(run, CPU) == 2 * 4000


class ConvNet(nn.Module):
    def __init__(self, *, reads_twice: bool = False) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()
        self.reads_twice = reads_twice

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        z: Tensor = self.act(self.norm(y))
        return z + y if self.reads_twice else z


def convolutional(*, reads_twice: bool = False) -> ConvNet:
    model = ConvNet(reads_twice=reads_twice)
    model.get_buffer("norm.running_mean").add_(1)
    model.get_buffer("norm.running_var").mul_(3)
    return model.eval()


def test_folding_takes_the_normalisation_out_and_nothing_else() -> None:
    model, x = convolutional(), torch.randn(2, 3, 8, 8)
    expected = model(x)
    fold(model, x)
    assert isinstance(model.norm, nn.Identity)
    torch.testing.assert_close(model(x), expected)


def test_a_network_that_reads_a_convolution_twice_is_not_folded() -> None:
    with pytest.raises(NotMeasurable, match="changes what the network computes"):
        fold(convolutional(reads_twice=True), torch.randn(2, 3, 8, 8))


def test_one_process_at_a_time_measures_on_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    with exclusive(CPU):
        (lock,) = tmp_path.glob("*/cpu.lock")
        with lock.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_trial_tells_what_it_costs_before_its_first_epoch(stub: Stub, serve: Serve) -> None:
    serve(stub.assignment({"name": "mine"}, candidate("silu"), fingerprint=fingerprint()))
    with trial() as t:
        t.apply(network(), EXAMPLE)
        assert not stub.reports
        (told,) = stub.measurements
    assert told.ratios["flop_ratio"].value > 1


def test_an_infeasible_trial_ends_before_its_first_epoch(stub: Stub, serve: Serve) -> None:
    stub.infeasible = "too slow"
    measuring = Measuring(latency=True)
    path = serve(
        stub.assignment(
            {"name": "mine"}, candidate("silu"), fingerprint=fingerprint(), measuring=measuring
        )
    )
    reached = []

    def script() -> None:
        with trial() as t:
            t.apply(network(), EXAMPLE)
            reached.append("training")

    with pytest.raises(SystemExit) as exit_:
        script()
    assert exit_.value.code == 0
    assert not reached
    assert not stub.outcomes
    assert not path.exists()
    assert "latency_ratio" in stub.measurements[0].ratios


def test_a_form_that_cannot_be_had_is_the_user_s_to_mend(stub: Stub, serve: Serve) -> None:
    given = stub.assignment(
        {"name": "mine"},
        candidate("silu"),
        fingerprint=fingerprint(),
        measuring=Measuring(memory=True),
    )
    serve(given)
    with pytest.raises(NotMeasurable, match="no parameter that learns"), trial() as t:
        t.apply(network().requires_grad_(requires_grad=False), EXAMPLE)
    assert stub.outcomes[given.lease].failure is FailureClass.USER_ERROR
