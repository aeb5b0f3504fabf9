"""What `find_sites` finds, and that it leaves no trace."""

import random
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.apply import apply
from search_space.sites import find_sites
from search_space.spec import ActivationSpec
from tests.search_space.conftest import MIXED_SITES, Block, Mixed


class Calling(nn.Module):
    """A network whose forward is `body(self, x)`, with a convolution and a linear layer."""

    def __init__(self, body: "Callable[[Calling, Tensor], Tensor]", **modules: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.linear = nn.Linear(8, 4)
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, x)


def ids(model: nn.Module, x: object) -> list[str]:
    return [site.id for site in find_sites(model, x).sites]


def test_every_kind_of_call_is_found_in_order(mixed: nn.Module, images: Tensor) -> None:
    plan = find_sites(mixed, images)
    assert [site.id for site in plan.sites] == MIXED_SITES
    assert [site.channels for site in plan.sites] == [8, 8, 8, 8, 8, 6, 6, 6, 6]
    assert [site.rank for site in plan.sites] == [4] * 6 + [2] * 3
    assert [site.original for site in plan.sites][5:] == ["silu", "relu", "gelu_tanh", "relu"]
    assert plan.unreachable == ()


def test_stages_are_runs_of_equal_size_and_blocks_end_in_a_number(
    mixed: nn.Module, images: Tensor
) -> None:
    plan = find_sites(mixed, images)
    assert [site.stage for site in plan.sites] == [*"000111", "root", "root", "root"]
    assert [s.block for s in plan.sites[:5]] == ["root", *["layers.0"] * 2, *["layers.2"] * 2]


def test_a_squeeze_within_a_stage_does_not_end_it() -> None:
    def body(m: Calling, x: Tensor) -> Tensor:
        x = F.relu(m.conv(x))
        gate = F.silu(x.mean((2, 3), keepdim=True))
        return F.relu(x * gate)

    plan = find_sites(Calling(body), torch.randn(2, 3, 8, 8))
    assert [site.stage for site in plan.sites] == ["0", "root", "0"]


@pytest.mark.parametrize(
    ("call", "site"),
    [
        (F.relu, ":relu@1"),
        (torch.relu, ":relu@1"),
        (torch.relu_, ":relu@1"),
        (F.relu_, ":relu@1"),
        (lambda x: F.relu(x, inplace=True), ":relu@1"),
        (lambda x: F.relu(input=x), ":relu@1"),
        (lambda x: x.relu(), ":relu@1"),
        (lambda x: x.relu_(), ":relu@1"),
        (F.silu, ":silu@1"),
        (lambda x: F.silu(x, inplace=True), ":silu@1"),
        (F.gelu, ":gelu@1"),
        (lambda x: F.gelu(x, approximate="tanh"), ":gelu_tanh@1"),
        (lambda x: nn.ReLU()(x), ":relu@1"),
    ],
)
def test_every_spelling_of_a_function_is_found_and_replaced(
    call: Callable[[Tensor], Tensor], site: str
) -> None:
    model, x = Calling(lambda m, x: call(m.conv(x))), torch.randn(2, 3, 8, 8)
    assert ids(model, x) == [site]
    apply(model, {site: ActivationSpec("acon_c")}, x)
    with torch.no_grad():
        expected = F.silu(model.conv(x))
        torch.testing.assert_close(model(x), expected)


def test_one_module_called_by_several_blocks_is_told_apart_by_its_path() -> None:
    shared = nn.ReLU()
    first, second = Block(3), Block(3)
    first.relu = second.relu = shared
    assert ids(nn.Sequential(first, second), torch.randn(2, 3, 8, 8)) == [
        "0.relu", "0.relu@2", "1.relu", "1.relu@2",
    ]  # fmt: skip


def test_a_block_that_is_called_again_has_its_sites_once() -> None:
    block = Block(3)
    assert ids(nn.Sequential(block, block), torch.randn(2, 3, 8, 8)) == ["0.relu", "0.relu@2"]


def test_a_loop_has_a_site_for_each_turn_on_the_example() -> None:
    def body(_: nn.Module, x: Tensor) -> Tensor:
        while x.norm() > 1:
            x = F.relu(x) / 2
        return x

    model = Calling(body)
    assert ids(model, 3 * torch.ones(1, 4)) == [":relu@1", ":relu@2", ":relu@3"]
    assert ids(model, torch.ones(1, 4)) == [":relu@1"]


def test_what_only_one_mode_calls_is_found_in_its_place() -> None:
    def body(m: Calling, x: Tensor) -> Tensor:
        x = F.relu(m.conv(x))
        x = F.silu(x) if m.training else F.gelu(x)
        y: Tensor = m.get_submodule("last")(x)
        return y

    model = Calling(body, last=nn.ReLU())
    found = ids(model, torch.randn(2, 3, 8, 8))
    assert sorted(found) == sorted([":relu@1", ":silu@1", ":gelu@1", "last"])
    assert found.index(":relu@1") < found.index(":gelu@1") < found.index("last")


def test_stochastic_depth_hides_nothing() -> None:
    def body(m: Calling, x: Tensor) -> Tensor:
        skip = m.training and random.random() < 0.999
        return x if skip else F.relu(m.conv(x))

    assert ids(Calling(body), torch.randn(2, 3, 8, 8)) == [":relu@1"]


@pytest.mark.parametrize(
    ("body", "x", "expected"),
    [
        (lambda m, x: F.relu(m.conv(x)), (2, 3, 8, 8), (4, 1)),
        (lambda m, x: F.relu(m.linear(x)), (2, 5, 8), (4, -1)),
        (lambda m, x: F.relu(m.linear(x)), (2, 5, 6, 8), (4, -1)),
        (lambda m, x: F.relu(m.linear(x)), (2, 8), (4, 1)),
        (lambda m, x: F.relu(m.linear(x)), (8,), (4, -1)),
        (lambda m, x: F.relu(m.conv(x).permute(0, 2, 3, 1)), (2, 3, 8, 6), (4, -1)),
        (lambda m, x: F.relu(m.linear(x).transpose(1, 2) + 1), (2, 5, 8), (4, 1)),
        (lambda m, x: F.relu(m.conv(x).flatten(2)), (2, 3, 8, 6), (4, 1)),
        (lambda m, x: F.relu(m.conv(x).flatten(2).mT.contiguous()), (2, 3, 8, 6), (4, -1)),
        (lambda _, x: F.relu(F.layer_norm(x, (8,)) * 2), (2, 5, 8), (8, -1)),
        (lambda m, x: F.relu(torch.cat([m.linear(x), m.linear(x)], -1)), (2, 5, 8), (8, -1)),
        (lambda _, x: F.relu(x), (2, 3, 8, 6), (3, 1)),
    ],
)
def test_channels_are_where_the_producing_layer_puts_them(
    body: Callable[[nn.Module, Tensor], Tensor], x: tuple[int, ...], expected: tuple[int, int]
) -> None:
    (site,) = find_sites(Calling(body), torch.randn(x)).sites
    assert (site.channels, site.channel_dim) == expected


def test_a_transformer_layer_is_seen_through_its_short_cut() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    plan = find_sites(nn.TransformerEncoder(layer, 2), torch.randn(1, 5, 8))
    assert [(s.id, s.channels, s.channel_dim) for s in plan.sites] == [
        ("layers.0:relu@1", 16, -1),
        ("layers.1:relu@1", 16, -1),
    ]


def test_arguments_may_be_positional_or_named() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return F.relu(a) + F.silu(b)

    a, b = torch.randn(2, 3), torch.randn(2, 3)
    assert ids(Two(), (a, b)) == ids(Two(), {"b": b, "a": a}) == [":relu@1", ":silu@1"]


def test_a_call_that_meets_different_widths_is_unreachable() -> None:
    class Act(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x)

    act = Act()
    model = nn.Sequential(nn.Linear(2, 3), act, nn.Linear(3, 4), act)
    plan = find_sites(model, torch.randn(2, 2))
    assert (plan.sites, plan.unreachable) == ((), ("1:relu@1",))


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_listed_as_unreachable() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    silent = torch.jit.script(nn.Conv2d(3, 3, 1))
    plan = find_sites(nn.Sequential(scripted, nn.ReLU(), silent), torch.randn(2, 3, 8, 8))
    assert [site.id for site in plan.sites] == ["1"]
    assert plan.unreachable == ("0",)


def numpy_state() -> NDArray[np.uint32]:
    """Return a copy of the state of NumPy's global generator."""
    state: NDArray[np.uint32] = np.random.get_state(legacy=False)["state"]["key"].copy()
    return state


def test_the_network_is_as_it_was(mixed: Mixed, images: Tensor) -> None:
    mixed.train()
    mixed.layers[0].eval()
    drawn: list[float] = []
    mixed.register_forward_pre_hook(lambda *_: drawn.extend([random.random(), np.random.rand()]))
    before = {key: value.clone() for key, value in mixed.state_dict().items()}
    modes = [module.training for module in mixed.modules()]
    states = torch.get_rng_state(), random.getstate(), numpy_state()
    find_sites(mixed, images)
    assert all(torch.equal(value, before[key]) for key, value in mixed.state_dict().items())
    assert [module.training for module in mixed.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert len(drawn) == 4
    assert random.getstate() == states[1]
    assert np.array_equal(numpy_state(), states[2])
    assert all(p.grad is None for p in mixed.parameters())
    assert [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in mixed.modules()][:2] == [
        1,
        0,
    ]


def test_an_example_that_is_overwritten_is_a_copy() -> None:
    x = torch.randn(2, 3)
    before = x.clone()
    find_sites(nn.Sequential(nn.ReLU(inplace=True), nn.Linear(3, 3)), x)
    assert torch.equal(x, before)


def test_the_network_is_as_it_was_also_when_it_fails(mixed: nn.Module) -> None:
    mixed.eval()
    with pytest.raises(RuntimeError, match=re.escape("expected input")):
        find_sites(mixed, torch.randn(2, 5, 12, 12))
    assert not mixed.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in mixed.modules())


def test_a_compiled_network_is_looked_into(mixed: nn.Module, images: Tensor) -> None:
    compiled = torch.compile(mixed, backend="eager")
    assert isinstance(compiled, nn.Module)
    assert ids(compiled, images)[1] == "_orig_mod.layers.0.relu"


def test_the_sites_of_an_applied_network_are_the_same_and_name_what_is_there(
    mixed: nn.Module, images: Tensor
) -> None:
    names = ["acon_c", "pwlu", "meta_acon", "silu", "relu", "gelu", "pwlu", "acon_c", "relu"]
    specs = {id: ActivationSpec(name) for id, name in zip(MIXED_SITES, names, strict=True)}
    plan = find_sites(apply(mixed, specs, images), images)
    assert [site.id for site in plan.sites] == MIXED_SITES
    assert [site.original for site in plan.sites] == names
