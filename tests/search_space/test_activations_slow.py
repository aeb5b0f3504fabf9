"""The contracts that take seconds: compiled by inductor, exported to ONNX, trained on two ranks."""

import multiprocessing
import warnings
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from search_space.activations.learned import PhasedActivation
from search_space.build import build
from search_space.catalog.lookup import CATALOG
from search_space.conformance.cases import CHANNELS, Case, cases, inputs
from search_space.conformance.rules import compiles
from search_space.spec import ActivationSpec

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETTLED = [
    case
    for entry in CATALOG.values()
    for case in cases(entry)
    if case.usual and case.realigned == entry.phases
]
FIVE = ("relu", "pwlu", "acon_c", "meta_acon", "frelu")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("case", [c for c in SETTLED if c.entry.name in FIVE], ids=str)
def test_inductor_computes_the_same(case: Case) -> None:
    compiles(case, backend="inductor")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", SETTLED, ids=str)
def test_onnx_computes_the_same(case: Case, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    module = case.make().eval()
    batch = torch.export.Dim("batch", min=2, max=1 << 16)
    path = tmp_path / "activation.onnx"
    torch.onnx.export(
        module,
        (inputs(case.shape(4, CHANNELS, 40)),),
        path,
        dynamo=True,
        dynamic_shapes=({0: batch},),
        verbose=False,
    )
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = inputs(case.shape(9, CHANNELS, 40))
    (found,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), module(x).detach(), rtol=1e-4, atol=1e-4)


def _train(rank: int, world: int, store: str, folder: str) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{store}", rank=rank, world_size=world
    )
    try:
        torch.save({name: _trained(name, rank) for name in CATALOG}, f"{folder}/{rank}.pt")
    finally:
        distributed.destroy_process_group()


def _trained(name: str, rank: int) -> dict[str, torch.Tensor]:
    """Return the state after two steps in either phase, each rank with data of its own."""
    torch.manual_seed(0)
    activation = build(ActivationSpec(name), channels=4)
    network = nn.parallel.DistributedDataParallel(
        nn.Sequential(nn.Conv2d(3, 4, 3), activation, nn.Flatten(), nn.Linear(4 * 16, 2)),
        broadcast_buffers=False,
    )
    # As DDP demands, every parameter gets a gradient in either phase.
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    torch.manual_seed(rank)
    for step in range(4):
        if step == 2 and isinstance(activation, PhasedActivation):
            activation.realign()
        optimizer.zero_grad()
        network(torch.randn(8, 3, 6, 6) + rank).square().mean().backward()
        optimizer.step()
    return {key: value.clone() for key, value in activation.state_dict().items()}


def test_two_ranks_agree_on_every_parameter(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (2, str(tmp_path / "store"), str(tmp_path))
    ranks = [context.Process(target=_train, args=(rank, *arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(500)
        assert process.exitcode == 0
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for name, entry in CATALOG.items():
        learned = dict(build(ActivationSpec(name), channels=4).named_parameters())
        for key in learned:
            torch.testing.assert_close(one[name][key], other[name][key], msg=f"{name}: {key}")
        if entry.phases:
            # Realigned to the statistics of both: their own differ.
            assert one[name]["phase"] == other[name]["phase"] == 1
            assert not torch.equal(one[name]["mean"], other[name]["mean"])
