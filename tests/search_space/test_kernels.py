"""Fused kernels: parity with the plain functions, and what an operator of torch must keep."""

import copy
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from search_space import kernels
from search_space.activations.acon import (
    acon_a,
    acon_a_parameters,
    acon_b,
    acon_b_parameters,
    acon_c,
)
from search_space.activations.pwlu import PWLU, pwlu
from search_space.build import build
from search_space.errors import BadParameter
from search_space.kernels import acon as fused_acon
from search_space.kernels import layout
from search_space.kernels import pwlu as fused_pwlu
from search_space.spec import ActivationSpec
from tests.search_space.conftest import kept_for_backward

pytestmark = pytest.mark.skipif(not kernels.available("cpu"), reason="Numba is missing")

# One for each dtype, relative to the largest number of the tensor, and never relaxed. Half
# precisions are rounded once, from float32.
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.bfloat16: 2**-8,
    torch.float16: 2**-11,
}


class Case(NamedTuple):
    """An input, by the shape of its memory and how that is looked at."""

    shape: tuple[int, ...]
    channel_dim: int = 1
    look: Callable[[Tensor], Tensor] = lambda x: x

    def input(self, dtype: torch.dtype) -> Tensor:
        return self.look((2 * torch.randn(self.shape)).to(dtype))


TWINS = ["pwlu", "acon_a", "acon_b", "acon_c", "swish", "meta_acon"]

CASES = {
    "images": Case((5, 3, 7, 11)),
    "large images": Case((3, 20, 40, 31)),
    "one position": Case((4, 3, 1, 1)),
    "sequences": Case((2, 3, 1301)),
    "rows": Case((37, 5)),
    "wide rows": Case((3, 67)),
    "tokens": Case((3, 9, 37), -1),
    "many tokens": Case((40, 70, 21), -1),
    "channels last": Case((5, 3, 7, 11), 1, lambda x: x.to(memory_format=torch.channels_last)),
    "many channels last": Case(
        (5, 35, 17, 11), 1, lambda x: x.to(memory_format=torch.channels_last)
    ),
    "transposed tokens": Case((3, 9, 37), 1, lambda x: x.transpose(1, 2)),
    "every second": Case((5, 3, 7, 22), 1, lambda x: x[..., ::2]),
    "from the middle": Case((5, 4, 9, 9), 1, lambda x: x[:, 1:, 1:-1]),
    "no batch": Case((0, 3, 7, 11)),
    "no batch of rows": Case((0, 3)),
}


@pytest.fixture(autouse=True)
def empty_is_nan() -> Iterator[None]:
    """What a kernel forgets to write is NaN."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def outcome(function: Callable[..., Tensor], leaves: list[Tensor], grad: Tensor) -> list[Tensor]:
    """Return the output and the gradient of every leaf."""
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    y = function(*leaves)
    return [y.detach(), *torch.autograd.grad(y, leaves, grad)]


def assert_alike(
    found: list[Tensor], expected: list[Tensor], dtype: torch.dtype, *, least: float = 0.0
) -> None:
    """Compare to the tolerance of `dtype`, relative to each tensor's largest number or `least`."""
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        scale = max(other.abs().max().item() if other.numel() else 0.0, least)
        tolerance = TOLERANCE[dtype]
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * scale)


def table(width: int, segments: int, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Parameters of PWLU: values, outer slopes, bounds."""
    left = -1.5 - torch.rand(width)
    return [
        tensor.to(dtype)
        for tensor in (
            torch.randn(width, segments + 1),
            torch.randn(width),
            torch.randn(width),
            left,
            left + 2 + torch.rand(width),
        )
    ]


def parameter_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("share", ["channel", "layer"])
@pytest.mark.parametrize("name", CASES)
def test_pwlu_is_the_plain_one(name: str, share: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    x = case.input(dtype)
    width = x.shape[case.channel_dim] if share == "channel" else 1
    leaves = [x, *table(width, 16, parameter_dtype(dtype))]
    grad = torch.randn(x.shape).to(dtype)
    found, expected = (
        outcome(lambda *a, f=f: f(*a, channel_dim=case.channel_dim), leaves, grad)
        for f in (fused_pwlu.pwlu, pwlu)
    )
    assert_alike(found, expected, dtype)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("segments", [2, 4, 5, 16, 30, 31, 64])
def test_pwlu_of_any_number_of_segments(segments: int, dtype: torch.dtype) -> None:
    leaves = [torch.randn(3, 5, 129, dtype=dtype), *table(5, segments, dtype)]
    grad = torch.randn(3, 5, 129, dtype=dtype)
    found, expected = (outcome(f, leaves, grad) for f in (fused_pwlu.pwlu, pwlu))
    assert_alike(found, expected, dtype)


@pytest.mark.parametrize("layout_of", [(64, 3), (2, 3, 100)])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e38, -1e38, 3e9])
def test_pwlu_of_what_is_no_number_is_the_plain_one(
    value: float, layout_of: tuple[int, ...]
) -> None:
    x = torch.randn(layout_of)
    x.view(-1)[::7] = value
    leaves, grad = [x, *table(3, 16)], torch.randn(layout_of)
    found, expected = (outcome(f, leaves, grad) for f in (fused_pwlu.pwlu, pwlu))
    for one, other in zip(found[:2], expected[:2], strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)
    for one, other in zip(found[2:], expected[2:], strict=True):
        assert torch.equal(one.isfinite(), other.isfinite())


def test_pwlu_off_the_fast_path_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from search_space.kernels import vector

    monkeypatch.setattr(vector, "SUPPORTED", False)
    for shape in ((3, 20, 40, 31), (2, 20, 100), (300, 20)):
        leaves, grad = [torch.randn(shape), *table(20, 16)], torch.randn(shape)
        found, expected = (outcome(f, leaves, grad) for f in (fused_pwlu.pwlu, pwlu))
        assert_alike(found, expected, torch.float32)


@pytest.mark.parametrize("gap", [0.0, -1.0])
def test_bounds_that_cross_are_used_as_the_plain_one_does(gap: float) -> None:
    leaves = [torch.randn(50, 2), *table(2, 8)]
    leaves[-1] = leaves[-2] + gap
    grad = torch.randn(50, 2)
    found, expected = (outcome(f, leaves, grad) for f in (fused_pwlu.pwlu, pwlu))
    assert_alike(found, expected, torch.float32)


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (6, 3)])
def test_pwlu_is_an_operator_of_torch(shape: tuple[int, ...]) -> None:
    leaves = [torch.randn(shape), *table(3, 4)]
    arguments = (*(leaf.requires_grad_() for leaf in leaves), 1)
    torch.library.opcheck(torch.ops.activation_search.pwlu.default, arguments)


SWITCHES = ["channel", "layer", "sample", "mixed", "scalar"]


def slopes(x: Tensor, channel_dim: int, switch: str, dtype: torch.dtype) -> list[Tensor]:
    """Parameters of ACON-C: both slopes, and the switch."""
    channels = x.shape[channel_dim]
    shapes: dict[str, list[tuple[int, ...]]] = {
        "channel": [(channels,)] * 3,
        "layer": [(1,)] * 3,
        "sample": [(channels,), (channels,), (x.shape[0], channels)],
        "mixed": [(1,), (channels,), (x.shape[0], 1)],
        "scalar": [(), (1,), ()],
    }
    return [torch.randn(shape, dtype=dtype) for shape in shapes[switch]]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("name", CASES)
def test_acon_c_is_the_plain_one(name: str, switch: str, dtype: torch.dtype) -> None:
    case = CASES[name]
    x = case.input(dtype)
    leaves = [x, *slopes(x, case.channel_dim, switch, parameter_dtype(dtype))]
    grad = torch.randn(x.shape).to(dtype)
    found, expected = (
        outcome(lambda *a, f=f: f(*a, channel_dim=case.channel_dim), leaves, grad)
        for f in (fused_acon.acon_c, acon_c)
    )
    assert_alike(found, expected, dtype)


@pytest.mark.parametrize("channel_dim", [1, -1])
def test_acon_a_and_b_are_the_plain_ones(channel_dim: int) -> None:
    x, grad = torch.randn(3, 5, 5), torch.randn(3, 5, 5)
    p, beta = torch.randn(5), torch.randn(5)
    for leaves, pair in (
        ([x, beta], (lambda x, b, **d: fused_acon.acon_c(x, *acon_a_parameters(b), **d), acon_a)),
        (
            [x, p, beta],
            (lambda x, p, b, **d: fused_acon.acon_c(x, *acon_b_parameters(p, b), **d), acon_b),
        ),
    ):
        found, expected = (
            outcome(lambda *a, f=f: f(*a, channel_dim=channel_dim), leaves, grad) for f in pair
        )
        assert_alike(found, expected, torch.float32)


@pytest.mark.parametrize("shape", [(64, 3), (2, 3, 100)])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf, 1e30, -1e30, 95.0, -95.0])
def test_acon_c_of_what_is_no_number_is_the_plain_one(value: float, shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    x.view(-1)[::7] = value
    for parameters in (numbers(1, 0, 1), numbers(1.5, -0.3, 2)):
        leaves, grad = [x, *parameters], torch.randn(shape)
        found, expected = (outcome(f, leaves, grad) for f in (fused_acon.acon_c, acon_c))
        for one, other in zip(found[:2], expected[:2], strict=True):
            torch.testing.assert_close(one, other, equal_nan=True)
        for one, other in zip(found[2:], expected[2:], strict=True):
            assert torch.equal(one.isfinite(), other.isfinite())


def numbers(*values: float) -> list[Tensor]:
    return [torch.full((3,), float(value)) for value in values]


def test_the_sigmoid_has_the_error_it_states() -> None:
    from search_space.kernels.cpu_acon import sigmoid32

    u = torch.cat([torch.linspace(-87, 30, 40_001), torch.randn(20_000)])
    found = torch.tensor([sigmoid32(value) for value in u.numpy()], dtype=torch.float64)
    exact = torch.sigmoid(u.double())
    assert ((found - exact).abs() / exact).max() < 3e-7
    ends = torch.tensor([-torch.inf, -200.0, -89.0, 200.0, torch.inf]).numpy()
    assert [float(sigmoid32(value)) for value in ends] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize("switch", SWITCHES)
@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (6, 3)])
def test_acon_c_is_an_operator_of_torch(shape: tuple[int, ...], switch: str) -> None:
    x = torch.randn(shape)
    leaves = [x, *slopes(x, 1, switch, torch.float32)]
    arguments = (*(leaf.requires_grad_() for leaf in leaves), 1)
    torch.library.opcheck(torch.ops.activation_search.acon_c.default, arguments)


def test_gradients_of_meta_acon_pass_its_mean_in_place_of_a_tensor() -> None:
    plain, fused = (twin("meta_acon", 8, fused=f).double() for f in (False, True))
    fused.load_state_dict(plain.state_dict())
    for shape in ((4, 8), (4, 8, 5), (1, 8, 3, 3)):
        x, grad = torch.randn(shape, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
        found, expected = (outcome(module, [x], grad) for module in (fused, plain))
        assert_alike(found, expected, torch.float64)


@pytest.mark.parametrize("name", TWINS)
def test_only_the_input_is_kept_for_the_backward_pass(name: str) -> None:
    x = torch.randn(8, 4, 10, 10, requires_grad=True)
    kept = kept_for_backward(twin(name, 4), x)
    assert sum(t.numel() for t in kept if t.numel() >= x.numel()) == x.numel()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_equal_threads_give_equal_bits(threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        x, grad = torch.randn(4, 7, 90, 90), torch.randn(4, 7, 90, 90)
        for function, parameters in (
            (fused_pwlu.pwlu, table(7, 16)),
            (fused_acon.acon_c, slopes(x, 1, "channel", torch.float32)),
        ):
            one, other = (outcome(function, [x, *parameters], grad) for _ in range(2))
            assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.fixture
def torch_threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_run_on_as_many_threads_as_torch_and_one_for_a_small_input(
    threads: int, torch_threads: Callable[[int], None]
) -> None:
    from search_space.kernels import jit

    torch_threads(threads)
    together = threading.Barrier(threads, timeout=60)
    seen: list[int] = []

    def kernel(chunk: int) -> None:
        together.wait()
        seen.append(chunk)

    jit.run(jit.chunks(1 << 20), kernel)
    assert sorted(seen) == list(range(threads))
    assert jit.chunks(100) == 1


def test_the_error_of_one_part_is_the_callers() -> None:
    from search_space.kernels import jit

    def fail_late(chunk: int) -> None:
        if chunk == 1:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        jit.run(2, fail_late)


FORKED = """
import os
import numpy
import torch
from search_space.build import build
from search_space.kernels import cpu_acon, cpu_pwlu
from search_space.kernels.warm import warm
from search_space.spec import ActivationSpec

warm()
kernels = [k for m in (cpu_acon, cpu_pwlu) for n, k in vars(m).items() if n.startswith("_forward_")]
compiled = {k: len(k.signatures) for k in kernels}
torch.set_num_threads(2)

def train():
    for spec in (ActivationSpec("acon_c"), ActivationSpec("pwlu", {"bounds": 3.0})):
        x = torch.randn(4, 8, 90, 90, requires_grad=True)
        build(spec, channels=8, fused=True)(x).sum().backward()
        assert x.grad.isfinite().all()

for parent_has_trained in (False, True):
    child = os.fork()
    if child == 0:
        torch.set_num_threads(2)
        train()
        assert {k: len(k.signatures) for k in kernels} == compiled, "compiled again"
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, parent_has_trained
    if not parent_has_trained:
        # Only the kernels: torch's own threads would not stand the fork.
        x = torch.from_numpy(numpy.zeros((4, 8, 90, 90), numpy.float32))
        cpu_acon.forward(x, *[torch.ones(1, 8)] * 3, 1)
"""


def test_forked_processes_have_the_warmed_kernels_and_threads_of_their_own() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKED], check=True, timeout=120)


def test_without_a_folder_for_the_cache_kernels_still_compile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import numba

    from search_space.kernels import jit

    njit = numba.njit

    def without_cache(**options: object) -> object:
        if options.get("cache"):
            raise RuntimeError("cannot cache function")
        return njit(**options)

    monkeypatch.setattr(numba, "njit", without_cache)
    assert jit.compiled()(lambda x: x + 1)(1) == 2


# The twins


def twin(name: str, channels: int, *, fused: bool = True, channel_dim: int = 1) -> nn.Module:
    spec = ActivationSpec(name)
    module = build(spec, channels=channels, channel_dim=channel_dim, fused=fused)
    if isinstance(module, PWLU):
        module.realign()
    return module


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_takes_the_state_of_the_plain_module_and_equals_it(name: str) -> None:
    plain, fused = (twin(name, 24, fused=f) for f in (False, True))
    with torch.no_grad():
        for parameter in plain.parameters():
            parameter.add_(0.1 * torch.rand_like(parameter))
    assert list(plain.state_dict()) == list(fused.state_dict())
    fused.load_state_dict(plain.state_dict())
    x, grad = torch.randn(6, 24, 9, 9), torch.randn(6, 24, 9, 9)
    results = []
    for module in (plain, fused):
        leaf = x.clone().requires_grad_()
        y = module(leaf)
        y.backward(grad)
        results.append([y.detach(), leaf.grad, *(p.grad for p in module.parameters())])
    assert isinstance(fused, type(plain))
    # A bias before a batch norm has no gradient but what rounding leaves of it.
    assert_alike(results[0], results[1], torch.float32, least=1.0)


def test_the_twin_of_pwlu_collects_as_the_plain_one_does() -> None:
    plain, fused = (build(ActivationSpec("pwlu"), channels=3, fused=f) for f in (False, True))
    for _ in range(3):
        x = torch.randn(8, 3, 5) + 1
        assert torch.equal(plain(x), fused(x))
    x = x.requires_grad_()
    fused(x).sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in fused.parameters())
    plain(x)
    for module in (plain, fused):
        assert isinstance(module, PWLU)
        module.realign()
    assert not fused.collecting
    for one, other in zip(plain.state_dict().values(), fused.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    torch.testing.assert_close(plain(x), fused(x))


@pytest.mark.parametrize("name", TWINS)
def test_a_twin_can_be_copied_and_compiled(name: str) -> None:
    module = twin(name, 5)
    x = torch.randn(3, 5, 6, 6)
    other = copy.deepcopy(module)
    assert torch.equal(other(x), module(x))
    compiled = torch.compile(module, fullgraph=True, backend="eager")
    runs: tuple[Callable[[Tensor], Tensor], ...] = (compiled, other)
    leaves = [x.clone().requires_grad_() for _ in range(2)]
    for leaf, run in zip(leaves, runs, strict=True):
        run(leaf).square().sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad)


@pytest.mark.parametrize("name", ["pwlu", "acon_c"])
def test_another_number_of_channels_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="3 channels"):
        twin(name, 3)(torch.randn(2, 4, 5))


def test_an_activation_without_a_twin_is_refused() -> None:
    with pytest.raises(BadParameter, match="no fused kernel"):
        build(ActivationSpec("relu"), channels=3, fused=True)


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda _: None)
    assert not kernels.available("cpu")
    with pytest.raises(ModuleNotFoundError, match="needs numba"):
        kernels.load("pwlu", "cpu")
    with pytest.raises(ModuleNotFoundError, match="needs triton"):
        kernels.load("pwlu", "cuda")


def test_nothing_is_compiled_before_a_kernel_is_used() -> None:
    code = (
        "import sys\n"
        "from search_space.build import build\n"
        "from search_space.spec import ActivationSpec\n"
        "build(ActivationSpec('pwlu'), channels=3, fused=True)\n"
        "from search_space import kernels\n"
        "kernels.available('cpu'), kernels.available('cuda')\n"
        "print([n for n in ('numba', 'triton') if n in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


@pytest.mark.parametrize("name", CASES)
def test_an_input_is_copied_only_if_it_is_not_dense(name: str) -> None:
    case = CASES[name]
    x = case.input(torch.float32)
    dense = layout.as_dense(x, case.channel_dim)
    view = layout.MemoryView.of(dense, case.channel_dim)
    assert (dense is x) is (name not in ("every second", "from the middle"))
    assert view.outer * view.channels * view.length == x.numel()
    flat = layout.flat(dense, case.channel_dim)
    assert flat.data_ptr() == dense.data_ptr()
