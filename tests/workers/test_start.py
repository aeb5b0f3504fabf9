"""Trials that tune given weights: what is loaded, what is told of the swap, what is refused."""

import hashlib
from typing import Any

import pytest
import torch
from safetensors.torch import save
from torch import Tensor, nn

from search_space.contract import FailureClass, OutcomeKind
from search_space.spec import ActivationSpec, Candidate
from tests.workers.conftest import EXAMPLE, Serve, fingerprint, network
from tests.workers.stub import Stub
from tests.workers.test_trial import assignment
from workers.handle.checkpoint import weights
from workers.trial import trial

X = torch.linspace(-2, 2, 64).view(16, 4)


def given_weights(stub: Stub, data: bytes | None = None) -> tuple[nn.Sequential, str]:
    """Let the service have weights; return the network they are of, and their digest."""
    torch.manual_seed(3)
    trained = network()
    stub.start = weights(trained) if data is None else data
    return trained, hashlib.sha256(stub.start).hexdigest()


def loss(model: nn.Module) -> float:
    return float(model.eval()(X).detach().square().mean())


def one_epoch(given: Any, serve: Serve, **options: Any) -> dict[str, Tensor]:
    """Run a trial of one epoch that trains nothing; return the state right after the swap."""
    serve(given)
    with trial() as t:
        model = t.apply(network(), EXAMPLE, **options)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        optimizer = torch.optim.SGD(t.parameter_groups(model, lr=0.0))
        for epoch in t.epochs(1, model, optimizer, steps_per_epoch=1):
            t.report(epoch, validation_accuracy=0.5)
    return state


@pytest.mark.parametrize(("name", "near"), [("pwlu", 1e-6), ("acon_c", 0.03)])
def test_the_weights_are_loaded_and_a_learned_choice_starts_as_what_it_replaces(
    stub: Stub, serve: Serve, name: str, near: float
) -> None:
    trained, digest = given_weights(stub)
    learned = Candidate({"1": ActivationSpec(name, initial="relu")})
    fields = {"fingerprint": fingerprint(), "start": digest}
    given = stub.assignment({"name": "mine"}, learned, **fields)
    state = one_epoch(given, serve, loss=loss)
    for key, tensor in trained.state_dict().items():
        torch.testing.assert_close(state[key], tensor)
    (measured,) = stub.measurements
    assert measured.loss_before_swap == pytest.approx(loss(trained))
    assert measured.loss_after_swap == pytest.approx(loss(trained), rel=near)


def test_what_the_swap_costs_is_told(stub: Stub, serve: Serve) -> None:
    trained, digest = given_weights(stub)
    one_epoch(assignment(stub, "tanh", start=digest), serve, loss=loss)
    (measured,) = stub.measurements
    trained[1] = nn.Tanh()
    assert measured.loss_after_swap == pytest.approx(loss(trained))
    assert measured.loss_after_swap != pytest.approx(measured.loss_before_swap, rel=0.05)


def test_from_scratch_nothing_is_told_of_a_swap(stub: Stub, serve: Serve) -> None:
    one_epoch(assignment(stub), serve, loss=loss)
    assert stub.measurements[0].loss_before_swap is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"no tensors", "no safetensors file"),
        (save({"0.weight": torch.zeros(8, 3)}), r"missing: 0.bias, 2.weight, 2.bias; of another"),
        (weights(network()), ""),
    ],
    ids=["no tensors", "another network", "a loss that is not finite"],
)
def test_weights_that_cannot_be_tuned_are_refused(
    stub: Stub, serve: Serve, data: bytes, said: str
) -> None:
    _, digest = given_weights(stub, data)
    given = assignment(stub, start=digest)
    with pytest.raises(Exception, match=said or "is nan"):
        one_epoch(given, serve, loss=lambda _: float("nan"))
    outcome = stub.outcomes[given.lease]
    expected = FailureClass.USER_ERROR if said else FailureClass.DIVERGED
    assert (outcome.outcome, outcome.failure) == (OutcomeKind.FAILED, expected)


def test_an_inspection_already_says_that_weights_do_not_fit(stub: Stub, serve: Serve) -> None:
    _, digest = given_weights(stub, save({"other": torch.zeros(1)}))
    inspection = stub.assignment({"name": "mine"}, start=digest)
    serve(inspection)
    with pytest.raises(Exception, match="not of this network: other"), trial() as t:
        t.apply(network(), EXAMPLE)
    assert stub.outcomes[inspection.lease].failure is FailureClass.USER_ERROR


def test_a_damaged_download_is_the_environment_s_fault(stub: Stub, serve: Serve) -> None:
    given_weights(stub)
    given = assignment(stub, start="0" * 64)
    with pytest.raises(Exception, match=r"start\.safetensors"):
        one_epoch(given, serve)
    assert stub.outcomes[given.lease].failure is FailureClass.ENVIRONMENT
