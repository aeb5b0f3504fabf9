"""Every function of one number in the catalogue is seen in a network, with its parameters."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.apply import apply
from search_space.errors import NoSuchSite
from search_space.search import SearchSpec
from search_space.sites import find_sites
from search_space.space.space import make_space
from search_space.spec import ActivationSpec, Site, SitePlan


class Calling(nn.Module):
    """A network that calls a function after its only layer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(self.conv(x))
        return y


def images() -> Tensor:
    return torch.randn(2, 3, 8, 8)


MODULES: list[tuple[nn.Module, str, dict[str, Any]]] = [
    (nn.LeakyReLU(), "leaky_relu", {}),
    (nn.LeakyReLU(0.2, inplace=True), "leaky_relu", {"negative_slope": 0.2}),
    (nn.ELU(alpha=2), "elu", {"alpha": 2.0}),
    (nn.SELU(), "selu", {}),
    (nn.CELU(0.5), "celu", {"alpha": 0.5}),
    (nn.Softplus(beta=2), "softplus", {"beta": 2.0}),
    (nn.ReLU6(), "relu6", {}),
    (nn.Hardswish(), "hardswish", {}),
    (nn.Mish(), "mish", {}),
]


@pytest.mark.parametrize(("module", "name", "params"), MODULES)
def test_a_module_is_an_original_with_its_parameters(
    module: nn.Module, name: str, params: dict[str, Any]
) -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), module)
    (site,) = find_sites(model, images()).sites
    assert (site.id, site.original_spec) == ("1", ActivationSpec(name, params))


FUNCTIONS: list[tuple[Callable[[Tensor], Tensor], str, dict[str, Any]]] = [
    (F.leaky_relu, "leaky_relu", {}),
    (lambda x: F.leaky_relu(x, 0.3), "leaky_relu", {"negative_slope": 0.3}),
    (lambda x: F.leaky_relu(x, inplace=True), "leaky_relu", {}),
    (lambda x: F.leaky_relu_(x, 0.3), "leaky_relu", {"negative_slope": 0.3}),
    (lambda x: F.elu(x, alpha=2), "elu", {"alpha": 2.0}),
    (lambda x: F.elu_(x), "elu", {}),
    (F.selu, "selu", {}),
    (torch.selu, "selu", {}),
    (lambda x: torch.selu_(x), "selu", {}),
    (lambda x: F.celu(x, 0.5), "celu", {"alpha": 0.5}),
    (lambda x: torch.celu(x, 0.5), "celu", {"alpha": 0.5}),
    (F.softplus, "softplus", {}),
    (lambda x: F.softplus(x, beta=2), "softplus", {"beta": 2.0}),
    (F.relu6, "relu6", {}),
    (lambda x: F.hardswish(x, inplace=True), "hardswish", {}),
    (F.hardswish, "hardswish", {}),
    (lambda x: torch.celu_(x, 0.5), "celu", {"alpha": 0.5}),
    (F.mish, "mish", {}),
]


@pytest.mark.parametrize(("function", "name", "params"), FUNCTIONS)
def test_a_function_is_an_original_with_its_parameters(
    function: Callable[[Tensor], Tensor], name: str, params: dict[str, Any]
) -> None:
    model, x = Calling(function), images()
    (site,) = find_sites(model, x).sites
    assert (site.id, site.original_spec) == (f":{name}@1", ActivationSpec(name, params))
    before = model(x)
    apply(model, {site.id: site.original_spec}, x)
    assert not hasattr(model, "actsearch_sites")
    torch.testing.assert_close(model(x), before)
    apply(model, {site.id: ActivationSpec("acon_c")}, x)
    with torch.no_grad():
        torch.testing.assert_close(model(x), F.silu(model.conv(x)))


# Torch warns of itself: its compiler instantiates the function that it traces, and looks at
# the gradients of what it goes on with after a call outside of the graph.
traced = pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning",
    "ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning",
)


@traced
@pytest.mark.parametrize(("function", "name", "params"), FUNCTIONS)
def test_what_replaces_a_function_is_compiled(
    function: Callable[[Tensor], Tensor], name: str, params: dict[str, Any]
) -> None:
    del params
    model, x = Calling(function), images()
    apply(model, {f":{name}@1": ActivationSpec("acon_c")}, x)
    compiled = torch.compile(model, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))


def test_the_original_and_its_entrys_default_are_two_activations() -> None:
    model, x = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LeakyReLU(0.2)), images()
    untouched = model[1]
    apply(model, {"1": ActivationSpec("leaky_relu", {"negative_slope": 0.2})}, x)
    assert model[1] is untouched
    apply(model, {"1": ActivationSpec("leaky_relu")}, x)
    assert model[1].negative_slope == 0.01
    plan = find_sites(nn.Sequential(nn.Conv2d(3, 4, 1), nn.LeakyReLU(0.2)), x)
    assert plan.fingerprint != find_sites(model, x).fingerprint
    space = space_of(plan, choices=["leaky_relu", "relu"])
    assert space.original.sites["1"].params == {"negative_slope": 0.2}
    assert space.params_of(space.original) is None
    wide = space_of(plan, choices=[{"name": "leaky_relu", "negative_slope": [0.01, 0.2]}])
    assert wide.params_of(wide.original) is not None


def test_a_parameter_that_the_catalogue_refuses_makes_no_site() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.LeakyReLU(1e9), nn.ReLU())
    assert [site.id for site in find_sites(model, images()).sites] == ["2"]


GATES = [
    *(torch.sigmoid, Tensor.sigmoid, Tensor.sigmoid_, F.sigmoid),
    *(torch.tanh, Tensor.tanh, Tensor.tanh_, F.tanh, F.hardsigmoid),
]


@pytest.mark.parametrize("function", GATES)
def test_gates_are_listed_apart(function: Callable[[Tensor], Tensor]) -> None:
    plan = find_sites(Calling(function), images())
    assert plan.sites == ()
    assert [gate.original for gate in plan.gates] == [function.__name__.rstrip("_")]


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.act = nn.ReLU()
        self.gate = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.conv(x))
        gate: Tensor = self.gate(x.mean((2, 3), keepdim=True))
        return x * gate


def space_of(plan: SitePlan, **document: Any) -> Any:
    return make_space(SearchSpec.model_validate({"task": {"name": "t"}, **document}), plan)


@pytest.mark.parametrize(
    ("include", "searched"),
    [
        ("*", {"act"}),
        (["*"], {"act"}),
        ("gate", {"gate"}),
        (["*", "gate"], {"act", "gate"}),
        ("*t*", {"act"}),
        ("g*", {"gate"}),
    ],
)
def test_a_gate_is_searched_where_a_pattern_names_it_alone(
    include: Any, searched: set[str]
) -> None:
    plan = find_sites(Gated(), images())
    space = space_of(plan, choices=["silu"], sites={"include": include, "per": "network"})
    assert {site.id for group in space.groups for site in group.sites} == searched
    assert set(space.candidate({}).sites) == {"act"} | searched


@traced
@pytest.mark.parametrize("function", GATES)
def test_what_replaces_a_gate_function_is_compiled(function: Callable[[Tensor], Tensor]) -> None:
    model, x = Calling(function), images()
    apply(model, {f":{function.__name__.rstrip('_')}@1": ActivationSpec("silu")}, x)
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(x), F.silu(model.conv(x)))


def test_a_named_gate_is_replaced() -> None:
    model, x = Gated(), images()
    apply(model, {"gate": ActivationSpec("hardsigmoid")}, x)
    assert isinstance(model.gate, nn.Hardsigmoid)
    assert [gate.original for gate in find_sites(model, x).gates] == ["hardsigmoid"]


def test_a_pattern_for_nothing_names_gates_among_the_nearest() -> None:
    with pytest.raises(NoSuchSite, match="'gate'"):
        space_of(find_sites(Gated(), images()), sites={"include": "gates"})


def test_where_all_are_gates_they_are_the_activations() -> None:
    plan = find_sites(nn.Sequential(nn.Linear(3, 4), nn.Tanh()), torch.randn(2, 3))
    space = space_of(plan, choices=["relu"], sites={"per": "network"})
    assert space.candidate({}).sites == {"1": ActivationSpec("relu")}


def test_a_plan_without_parameters_has_the_fingerprint_it_always_had() -> None:
    plan = SitePlan((Site("a", 4, 8, 1, "relu", "0", "root"),))
    assert plan.fingerprint == ("68302105bee8bc83dc42b95a61259f822f9d5ac54863cb6f6ceb784feb1000f0")
