"""The formulas in other forms: closed identities and definitions in numpy."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.acon import acon_a, acon_b, acon_c
from search_space.activations.composed import BINARY, UNARY, Composed
from search_space.activations.dynamic import DyReLUA, DyReLUB, SEReLU
from search_space.activations.funnel import AconFReLU, FReLU
from search_space.activations.maxout import Maxout
from search_space.activations.pwlu import PWLU, pwlu
from search_space.activations.pwlu_free import FreePWLU
from search_space.activations.rational import Rational, rational
from search_space.activations.scalar_functions import derivative, scalar_function
from search_space.activations.smooth_maximum import SmoothMaximum
from search_space.build import build
from search_space.catalog.lookup import CATALOG
from search_space.errors import BadParameter
from search_space.spec import ActivationSpec

same = torch.testing.assert_close
number = st.floats(-3, 3)
points = st.lists(st.floats(-50, 50), min_size=1, max_size=30)


def tensor(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def grid(reach: float = 8.0) -> Tensor:
    return torch.linspace(-reach, reach, 201, dtype=torch.float64).view(-1, 1)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    return max(x, 0) + math.log1p(math.exp(-abs(x)))


DEFINITIONS: dict[str, Callable[[float], float]] = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0),
    "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "leaky_relu": lambda x: x if x > 0 else 0.01 * x,
    "elu": lambda x: x if x > 0 else math.expm1(x),
    "selu": lambda x: 1.0507009873554805 * (x if x > 0 else 1.6732632423543772 * math.expm1(x)),
    "celu": lambda x: max(x, 0) + min(0, math.expm1(x)),
    "softplus": softplus,
    "relu6": lambda x: min(max(x, 0), 6),
    "hardswish": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "mish": lambda x: x * math.tanh(softplus(x)),
    "sigmoid": sigmoid,
    "tanh": math.tanh,
    "hardsigmoid": lambda x: min(max(x + 3, 0), 6) / 6,
    "swish_fixed": lambda x: x * sigmoid(x),
    "telu": lambda x: x * math.tanh(math.exp(x)),
    "golu": lambda x: x * math.exp(-math.exp(-x)),
    "relu_squared": lambda x: max(x, 0) ** 2,
    "sine": lambda x: math.sin(30 * x),
    "prelu": lambda x: x if x > 0 else 0.25 * x,
    "star_relu": lambda x: 0.8944 * max(x, 0) ** 2 - 0.4472,
    "xielu": lambda x: 0.8 * x**2 + x / 2 if x > 0 else 0.8 * (math.expm1(x) - x) + x / 2,
    "snake": lambda x: x + math.sin(x) ** 2,
    "acon_a": lambda x: x * sigmoid(x),
    "acon_b": lambda x: x * sigmoid(x),
    "acon_c": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "composed": lambda x: x * sigmoid(x),
}


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=25, deadline=None)
@given(points)
def test_it_is_its_definition(name: str, values: list[float]) -> None:
    module = build(ActivationSpec(name), channels=1).double().eval()
    y = module(tensor(*values).view(-1, 1)).view(-1)
    # The constants of some start as float32.
    same(y, tensor(*(DEFINITIONS[name](v) for v in values)), rtol=1e-6, atol=1e-6)


# The ACON family


@settings(max_examples=60, deadline=None)
@given(number, number, st.floats(0.1, 5))
def test_the_slope_of_acon_c_has_its_extremes_where_the_theory_says(
    p1: float, p2: float, beta: float
) -> None:
    p1, p2 = max(p1, p2) + 0.1, min(p1, p2)
    place = 2.3994 / (beta * (p1 - p2))
    x = tensor(place, -place).view(-1, 1)

    def function(t: Tensor) -> Tensor:
        return acon_c(t, tensor(p1), tensor(p2), tensor(beta))

    high, low = derivative(function, x).view(-1).tolist()
    scale = p1 - p2
    assert high == pytest.approx(1.0998 * p1 - 0.0998 * p2, abs=1e-3 * scale)
    assert low == pytest.approx(1.0998 * p2 - 0.0998 * p1, abs=1e-3 * scale)
    everywhere = derivative(function, place * grid(20.0))
    assert everywhere.max() <= high + 1e-6 * scale
    assert everywhere.min() >= low - 1e-6 * scale


@given(number, number, number)
@settings(max_examples=40, deadline=None)
def test_members_of_the_family_are_cases_of_each_other(p: float, q: float, beta: float) -> None:
    x, (p1, p2, switch) = grid(), (tensor(v) for v in (p, q, beta))
    same(acon_c(x, p1, p2, switch), acon_c(x, p2, p1, switch))
    same(acon_b(x, p2, switch), acon_c(x, tensor(1.0), p2, switch))
    same(acon_a(x, switch), acon_b(x, tensor(0.0), switch))
    same(acon_a(x, switch), x * torch.sigmoid(switch * x))
    same(acon_c(x, p1, p2, tensor(0.0)), (p1 + p2) * x / 2)
    same(acon_c(x, p1, p2, tensor(1e6)), torch.maximum(p1 * x, p2 * x), atol=1e-6, rtol=1e-6)
    same(acon_c(x, tensor(1.0), tensor(0.0), tensor(1.0)), F.silu(x))


def test_two_lines_through_zero_have_acon_c_for_a_smooth_maximum() -> None:
    module = SmoothMaximum(1, lines=2).double()
    with torch.no_grad():
        module.slopes.copy_(tensor(1.3, -0.4).view(1, 2))
        module.beta.fill_(1.7)
    same(module(grid()), acon_c(grid(), tensor(1.3), tensor(-0.4), tensor(1.7)))
    with torch.no_grad():
        module.beta.fill_(1e5)
    same(module(grid()), torch.maximum(1.3 * grid(), -0.4 * grid()))


# Piecewise linear functions


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**16))
def test_pwlu_reproduces_any_piecewise_linear_function_on_its_knots(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(size=n + 1)
    left, width = random.normal(), random.uniform(0.1, 10)
    x = left + width * random.uniform(0, 1, size=64)
    knots = np.linspace(left, left + width, n + 1)
    zero, start, end = tensor(0), tensor(left), tensor(left + width)
    table = tensor(*values).view(1, -1), zero, zero, start, end
    found = pwlu(tensor(*x).view(-1, 1), *table).view(-1)
    same(found, torch.from_numpy(np.interp(x, knots, values)), rtol=1e-9, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 12), st.integers(0, 2**16))
def test_a_free_pwlu_reproduces_them_on_knots_anywhere(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    widths = random.uniform(0.1, 1, size=n)
    knots = np.concatenate([[0.0], widths.cumsum()]) + random.normal()
    module = FreePWLU(1, segments=n, bounds=1.0).double()
    values = random.normal(size=n + 1)
    with torch.no_grad():
        module.widths.copy_(tensor(*np.log(widths)).view(1, -1))
        module.values.copy_(tensor(*values).view(1, -1))
        module.left.fill_(knots[0])
        module.right.fill_(knots[-1])
        module.left_slope.fill_(-2)
        module.right_slope.fill_(3)
    x = random.uniform(knots[0] - 1, knots[-1] + 1, size=64)
    below, above = np.minimum(x - knots[0], 0), np.maximum(x - knots[-1], 0)
    expected = np.interp(x, knots, values) - 2 * below + 3 * above
    found = module(tensor(*x).view(-1, 1)).view(-1)
    same(found, torch.from_numpy(expected), rtol=1e-7, atol=1e-7)


def test_a_free_pwlu_is_a_pwlu_until_its_widths_move() -> None:
    one, other = PWLU(3, bounds=2.0), FreePWLU(3, bounds=2.0)
    x = torch.randn(50, 3)
    same(other(x), one(x))


@pytest.mark.parametrize("start", CATALOG["pwlu"].initials)
@pytest.mark.parametrize("kind", [PWLU, FreePWLU])
def test_every_start_is_exact_while_collecting_and_on_the_knots_after(
    kind: type[PWLU], start: str
) -> None:
    module, function = kind(2, initial=start).eval(), scalar_function(start)
    x = torch.randn(200, 2)
    assert torch.equal(module(x), function(x))
    module.realign()
    knots = torch.linspace(-3, 3, 17).view(-1, 1).expand(-1, 2)
    same(module(knots), function(knots), atol=2e-6, rtol=1e-5)
    place = torch.tensor([[-3.0] * 2, [3.0] * 2])
    slopes = torch.stack([module.left_slope.data, module.right_slope.data])
    same(slopes, derivative(function, place))


def test_pwlu_from_relu_with_bounds_around_zero_is_relu() -> None:
    x = torch.randn(100, 3) * 4
    same(PWLU(3, bounds=2.0)(x), F.relu(x))


# Those that look around


def test_funnels_compare_with_what_surrounds_a_pixel() -> None:
    x = torch.randn(4, 3, 6, 6)
    hard, smooth = FReLU(3), AconFReLU(3)
    smooth.load_state_dict(hard.state_dict())
    surroundings = hard.norm(hard.conv(x))
    same(hard(x), torch.maximum(x, surroundings))
    eta = smooth.norm(smooth.conv(x))
    same(smooth(x), (x - eta) * torch.sigmoid(x - eta) + eta)


@pytest.mark.parametrize("kind", [DyReLUA, DyReLUB])
def test_a_dynamic_relu_without_its_network_is_relu(kind: type[DyReLUA | DyReLUB]) -> None:
    module = kind(5)
    nn.init.zeros_(module.fc2.weight)
    nn.init.zeros_(module.fc2.bias)
    x = torch.randn(4, 5, 3, 3)
    same(module(x), F.relu(x))


def test_dynamic_relu_is_the_largest_of_its_lines() -> None:
    module, x = DyReLUB(5), torch.randn(4, 5, 3, 3)
    slopes, offsets = module.lines(x)
    assert slopes.shape == offsets.shape == (4, 5, 2)
    lines = slopes[..., None, None] * x[:, :, None] + offsets[..., None, None]
    same(module(x), lines.amax(2))
    assert DyReLUA(5).lines(x)[0].shape == (4, 1, 2)


def test_a_squeezed_gate_scales_whole_channels() -> None:
    module, x = SEReLU(5), torch.randn(4, 5, 3, 3)
    mean = F.relu(x).mean((2, 3))
    gate = torch.sigmoid(module.fc2(F.relu(module.fc1(mean))))
    same(module(x), F.relu(x) * gate[:, :, None, None])


# The others


@pytest.mark.parametrize("start", ["relu", "leaky_relu", "silu", "gelu", "tanh", "elu"])
def test_a_rational_starts_near_its_function(start: str) -> None:
    x = grid(3.0).float()
    error = (Rational(1, initial=start)(x) - scalar_function(start)(x)).abs().max()
    assert error < 0.1


def test_a_rational_is_the_quotient_of_its_polynomials() -> None:
    a, b = torch.randn(1, 6).double(), torch.randn(1, 4).double()
    x = grid(3.0)
    above = sum(a[0, i] * x**i for i in range(6))
    below = 1 + sum(b[0, k - 1].abs() * x.abs() ** k for k in range(1, 5))
    same(rational(x, a, b), above / below)


def test_maxout_takes_the_largest_of_neighbouring_channels() -> None:
    x = torch.randn(4, 6, 5, 5)
    same(Maxout(3)(x), torch.stack([x[:, :3].amax(1), x[:, 3:].amax(1)], 1))
    rows = torch.randn(4, 7, 6)
    same(Maxout(2, channel_dim=-1)(rows), torch.maximum(rows[..., ::2], rows[..., 1::2]))
    with pytest.raises(ValueError, match=r"4 channels are merged into one.* has 6"):
        Maxout(4)(x)
    with pytest.raises(BadParameter, match="pieces must be at least 1"):
        Maxout(0)


def test_the_search_for_swish_had_these_many_functions() -> None:
    entry = CATALOG["composed"]
    assert (len(UNARY), len(BINARY)) == (25, 10)
    assert entry.parameter("first").choices == entry.parameter("second").choices == tuple(UNARY)
    assert entry.parameter("binary").choices == tuple(BINARY)


@pytest.mark.parametrize("binary", BINARY)
def test_every_composition_is_finite_with_finite_gradients(binary: str) -> None:
    x = torch.tensor([-1e4, -30.0, -1e-3, 0.0, 1e-30, 1.0, 30.0, 1e4]).view(-1, 1)
    for first in UNARY:
        for second in UNARY:
            module = Composed(1, binary=binary, first=first, second=second)
            leaf = x.clone().requires_grad_()
            y = module(leaf)
            y.sum().backward()
            found = [y, leaf.grad, *(p.grad for p in module.parameters())]
            assert all(t is not None and t.isfinite().all() for t in found), (first, second)
