"""A trained network as ONNX: what is written of it, and what is said where that cannot be."""

import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from search_space.apply import apply
from search_space.contract import NO_ONNX, ONNX, WEIGHTS, Assignment, OutcomeKind, TrialKind
from search_space.spec import ActivationSpec, Candidate
from tests.workers.conftest import EXAMPLE, Serve
from tests.workers.stub import Stub
from tests.workers.test_trial import assignment, train
from workers.errors import NotExportable
from workers.measurement import onnx_export
from workers.measurement.onnx_export import export
from workers.trial import trial


class Branching(nn.Module):
    """Which layer it uses depends on the numbers it is given, which no graph can hold."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(4, 2), nn.Linear(4, 2)])

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers[int(x.sum() > 0)](x)
        return y


def confirming(stub: Stub) -> Assignment:
    return assignment(stub, kind=TrialKind.CONFIRMATION, export=True)


def test_an_export_that_fails_is_remarked_and_fails_no_trial(
    stub: Stub, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> bytes:
        raise NotExportable("the reason")

    monkeypatch.setattr("workers.handle.served.export", fails)
    given = confirming(stub)
    serve(given)
    with trial() as t:
        train(t, epochs=1)
    outcome = stub.outcomes[given.lease]
    assert outcome.outcome is OutcomeKind.COMPLETED
    assert outcome.message == f"{NO_ONNX}the reason"
    assert WEIGHTS in stub.artifacts
    assert ONNX not in stub.artifacts


def test_nothing_is_exported_that_was_not_asked_for(stub: Stub, serve: Serve) -> None:
    given = assignment(stub, kind=TrialKind.CONFIRMATION)
    serve(given)
    with trial() as t:
        train(t, epochs=1)
    assert ONNX not in stub.artifacts
    assert stub.outcomes[given.lease].message == ""


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None if "script" in name else sys)
    with pytest.raises(NotExportable, match="lacks onnxscript; the extra onnx"):
        export(nn.Linear(4, 2), EXAMPLE)


def needs_the_extra() -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)


@pytest.mark.slow
def test_what_no_graph_can_hold_is_said_in_one_line() -> None:
    needs_the_extra()
    with pytest.raises(NotExportable) as refused:
        export(Branching(), EXAMPLE)
    assert refused.value.reason
    assert "\n" not in refused.value.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [ActivationSpec("pwlu"), ActivationSpec("meta_acon", {"norm": "layer"})],
    ids=["folded", "not folded"],
)
def test_a_network_with_kernels_computes_the_same_at_any_batch_size(
    spec: ActivationSpec, tmp_path: Path
) -> None:
    needs_the_extra()
    import onnxruntime

    torch.manual_seed(0)
    example = torch.randn(3, 2, 6, 6)
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 2))
    apply(model, Candidate({"1": spec}), example, fused=True)
    kind = type(model[1])
    (tmp_path / ONNX).write_bytes(export(model, example))
    assert type(model[1]) is kind, "the network itself stays as it is"
    session = onnxruntime.InferenceSession(tmp_path / ONNX)
    x = torch.randn(5, 2, 6, 6)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = model.eval()(x).detach()
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_winner_s_trial_stores_its_network(stub: Stub, serve: Serve, tmp_path: Path) -> None:
    needs_the_extra()
    import onnxruntime

    given = confirming(stub)
    serve(given)
    with trial() as t:
        model = train(t, epochs=2)
    assert stub.outcomes[given.lease].message == ""
    (tmp_path / ONNX).write_bytes(stub.artifacts[ONNX])
    session = onnxruntime.InferenceSession(tmp_path / ONNX)
    x = torch.randn(7, 4)
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    expected = model.eval()(x).detach()
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-5)
