"""What goes wrong in a training is said, with the layer."""

import math

import pytest
import torch
from torch import Tensor, nn

from search_space.activations.pwlu import PWLU
from search_space.apply import apply
from search_space.spec import ActivationSpec
from workers.training.diagnostics import ActivationDiagnostics, activations
from workers.training.precision import Precision
from workers.training.rounding import rounding_remark

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
PLAIN = Precision(torch.device("cpu"))


def network(*specs: str) -> nn.Module:
    """Return a network with the named activation at each of its sites."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for _ in specs:
        layers += [nn.Linear(4, 4), nn.ReLU()]
    model = nn.Sequential(*layers)
    sites = {str(2 * i + 1): ActivationSpec(name) for i, name in enumerate(specs)}
    return apply(model, sites, X)


def remarks(model: nn.Module, loss: float = 1.0) -> list[str]:
    return ActivationDiagnostics(model).check(X, PLAIN, loss)


def test_a_sound_network_is_not_remarked_upon() -> None:
    assert remarks(network("relu", "silu", "pwlu", "acon_c")) == []


def test_dead_units_are_told_with_their_layer() -> None:
    model = network("relu", "relu")
    with torch.no_grad():
        model.get_parameter("2.bias")[:3] = -1000
    found = remarks(model)
    assert found == ["3: 75% of the units are dead: constant over the example batch"]


def test_numbers_that_are_not_finite_are_told_with_their_layer() -> None:
    model = network("relu", "silu")
    with torch.no_grad():
        model.get_parameter("2.weight")[0] = math.inf
    assert "3: gives numbers that are not finite" in remarks(model)


def test_inputs_outside_of_a_pwlu_s_bounds_are_told_once_it_has_bounds() -> None:
    model = network("relu", "pwlu")
    pwlu = model.get_submodule("3")
    assert isinstance(pwlu, PWLU)
    assert remarks(model) == []
    model.train()
    for _ in range(3):
        model(X)
    pwlu.realign()
    assert remarks(model) == []
    with torch.no_grad():
        pwlu.left.fill_(50)
        pwlu.right.fill_(51)
        pwlu.left_slope.fill_(1)
    assert remarks(model) == ["3: 100% of the inputs lie outside of the PWLU's bounds"]


def test_an_exploded_beta_is_told_once() -> None:
    model = network("acon_c")
    with torch.no_grad():
        model.get_parameter("1.beta")[2] = -500
    watch = ActivationDiagnostics(model)
    text = "1: beta has grown to 500: the activation has become a switch"
    assert watch.check(X, PLAIN, 1.0) == [text]
    assert watch.check(X, PLAIN, 1.0) == []


def test_a_loss_that_blows_up_is_told_with_the_layer_that_grew() -> None:
    model = network("relu", "silu")
    watch = ActivationDiagnostics(model)
    assert watch.check(X, PLAIN, 0.5) == []
    assert watch.check(X, PLAIN, 0.9) == []
    with torch.no_grad():
        model.get_parameter("2.weight").mul_(100)
        model.get_parameter("2.bias").mul_(100)
    (remark,) = watch.check(X, PLAIN, 5.0)
    assert remark.startswith("3: the training loss rose from 0.5 to 5; its output grew most, ")


class Bomb(nn.Module):
    """Gives a number that is not finite when it is called for the n-th time."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def forward(self, x: Tensor) -> Tensor:
        self.left -= 1
        return x * (math.nan if self.left == 0 else 1.0)


@pytest.mark.parametrize("step", [1, 3])
def test_the_layer_and_step_that_first_broke_are_found_though_all_broke_later(step: int) -> None:
    model = nn.Sequential(
        nn.Linear(4, 4), nn.ReLU(), Bomb(step), nn.Linear(4, 4), nn.SiLU(), nn.Linear(4, 2)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    watch = ActivationDiagnostics(model)
    with watch.epoch():
        for _ in range(5):
            model(X).square().mean().backward()
            optimizer.step()
            watch.after_step()
    assert model.get_parameter("0.weight").isnan().all()
    assert watch.origin() == f"first in the output of 4, at step {step}"


def test_an_epoch_without_a_fault_has_no_origin_and_leaves_no_hook() -> None:
    model = network("relu")
    watch = ActivationDiagnostics(model)
    with watch.epoch():
        model(X)
        watch.after_step()
    assert watch.origin() == "the outputs of all activations were finite"
    assert not any(module._forward_hooks for module in model.modules())


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.inner(torch.relu(x)))


def test_activations_go_by_the_ids_of_their_sites() -> None:
    model = nn.Sequential(Functional(), nn.Tanh())
    sites = {"0:relu@2": ActivationSpec("pwlu")}
    found = [name for name, _ in activations(apply(model, sites, X))]
    assert sorted(found) == ["0:relu@2", "1"]


class Shifted(nn.Module):
    """Adds what half precision cannot hold, and takes it away again."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(nn.functional.linear(x, torch.eye(4), torch.full((4,), 1e4)) - 1e4)


def test_half_precision_that_changes_a_network_is_told_with_the_layer() -> None:
    half = torch.autocast("cpu", dtype=torch.bfloat16)
    assert rounding_remark(network("relu", "silu", "pwlu"), X, half) is None
    model = nn.Sequential(nn.Linear(4, 4), nn.SiLU(), Shifted(), nn.SiLU(), nn.Linear(4, 2))
    found = rounding_remark(model, X, half)
    assert found is not None
    assert found.startswith("half precision changes the network's outputs by ")
    assert found.endswith("first at 3")
