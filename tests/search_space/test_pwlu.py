"""PWLU: its formula, its gradients, its two phases."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations import pwlu_function as module_under_test
from search_space.activations.pwlu import PWLU, pwlu
from search_space.activations.pwlu_table import MIN_WIDTH
from tests.search_space.conftest import kept_for_backward

GOLDEN = Path(__file__).parent / "golden" / "activations.npz"
NAMES = ("values", "left_slope", "right_slope", "left", "right")


def golden(name: str, dtype: torch.dtype = torch.float64) -> Tensor:
    with np.load(GOLDEN) as arrays:
        return torch.from_numpy(arrays[f"pwlu/{name}"]).to(dtype)


def pwlu_of(x: Tensor, table: Sequence[Tensor], *, channel_dim: int = 1) -> Tensor:
    """PWLU with the tensors of its table in the order of `NAMES`."""
    values, left_slope, right_slope, left, right = table
    return pwlu(x, values, left_slope, right_slope, left, right, channel_dim)


def reference(x: np.ndarray, y: np.ndarray, slopes: np.ndarray, bounds: list[float]) -> np.ndarray:
    """The definition, one number at a time."""
    (left_slope, right_slope), (left, right) = slopes, bounds
    step = (right - left) / (len(y) - 1)

    def at(value: float) -> float:
        if value < left:
            return float((value - left) * left_slope + y[0])
        if value >= right:
            return float((value - right) * right_slope + y[-1])
        i = min(int((value - left) / step), len(y) - 2)
        return float(y[i] + (value - left - i * step) * (y[i + 1] - y[i]) / step)

    return np.array([at(value) for value in x])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("channels_last", [False, True])
def test_it_agrees_with_the_published_definition(
    dtype: torch.dtype, tolerance: float, channels_last: bool
) -> None:
    leaves = [golden(name, dtype).requires_grad_() for name in ("x", *NAMES)]
    x = leaves[0].movedim(1, -1).contiguous() if channels_last else leaves[0]
    y = pwlu_of(x, leaves[1:], channel_dim=-1 if channels_last else 1)
    y = y.movedim(-1, 1) if channels_last else y
    y.backward(golden("g", dtype))
    found = [y.detach(), *(leaf.grad for leaf in leaves)]
    expected = [golden(name, dtype) for name in ("y", "dx", *(f"d_{n}" for n in NAMES))]
    for one, other in zip(found, expected, strict=True):
        scale = other.abs().max().item()
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * scale)


@settings(max_examples=60, deadline=None)
@given(
    segments=st.integers(2, 20),
    left=st.floats(-100, 100),
    width=st.floats(0.01, 100),
    seed=st.integers(0, 2**16),
)
def test_it_is_the_definition_for_any_table(
    segments: int, left: float, width: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    table = random.normal(size=segments + 1)
    slopes, bounds = random.normal(size=2), [left, left + width]
    x = left + width * random.uniform(-1, 2, size=50)
    tensors = [torch.tensor(v, dtype=torch.float64).unsqueeze(0) for v in (table, *slopes, *bounds)]
    y = pwlu_of(torch.from_numpy(x).view(50, 1), tensors).squeeze(1)
    expected = torch.from_numpy(reference(x, table, slopes, bounds))
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9 * (1 + abs(left)) / width)


def test_pieces_of_the_input_are_computed_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for piece in (1 << 30, 100):
        monkeypatch.setattr(module_under_test, "_PIECE", piece)
        leaves = [golden(name).requires_grad_() for name in ("x", *NAMES)]
        pwlu_of(leaves[0], leaves[1:]).backward(golden("g"))
        results.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(results[0], results[1])


def test_only_the_input_is_kept_for_the_backward_pass() -> None:
    x = torch.randn(8, 4, 10, 10, requires_grad=True)
    m = trained(PWLU(4))
    kept = kept_for_backward(m, x)
    parameters = sum(p.numel() for p in m.parameters())
    assert sum(t.numel() for t in kept) == x.numel() + parameters


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, 1e30, -1e30])
def test_what_lies_far_outside_follows_the_outer_slopes(value: float) -> None:
    m = trained(PWLU(1))
    with torch.no_grad():
        m.left_slope.fill_(-2.0)
        m.right_slope.fill_(3.0)
    x = torch.tensor([[value]], requires_grad=True)
    y = m(x)
    y.backward()
    slope = 3.0 if value > 0 else -2.0
    assert x.grad is not None
    assert (y.item(), x.grad.item()) == (pytest.approx(slope * value), slope)


@pytest.mark.parametrize("gap", [0.0, -1.0, MIN_WIDTH / 2])
def test_bounds_that_cross_give_finite_numbers_and_may_part_again(gap: float) -> None:
    m = trained(PWLU(2))
    with torch.no_grad():
        m.right.copy_(m.left + gap)
    x = torch.randn(50, 2, requires_grad=True)
    y = m(x)
    y.square().sum().backward()
    gradients = [x.grad, *(p.grad for p in m.parameters())]
    assert y.isfinite().all()
    assert all(g is not None and g.isfinite().all() for g in gradients)
    assert m.right.grad is not None
    assert (m.right.grad != 0).all()


def test_an_empty_batch_passes() -> None:
    for m in (PWLU(3), trained(PWLU(3))):
        x = torch.randn(0, 3, 8, 8, requires_grad=True)
        m(x).sum().backward()
        assert m.values.grad is not None
        assert not m.values.grad.any()
        assert m.batches == 0


# The phase of statistics


@pytest.mark.parametrize("initial", ["relu", "silu", "gelu"])
def test_it_is_exactly_its_start_while_it_collects(initial: str) -> None:
    m = PWLU(3, initial=initial)
    x = torch.randn(4, 3, 5, 5)
    assert torch.equal(m(x), getattr(F, initial)(x))


def test_parameters_have_zero_gradients_while_it_collects() -> None:
    m = PWLU(3)
    x = torch.randn(4, 3, 5, requires_grad=True)
    m(x).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, (x > 0).float())
    assert all(p.grad is not None and not p.grad.any() for p in m.parameters())


@pytest.mark.parametrize("share", ["channel", "layer"])
@pytest.mark.parametrize("channel_dim", [1, -1])
def test_realigned_bounds_lie_three_deviations_around_the_mean(
    share: Literal["channel", "layer"], channel_dim: int
) -> None:
    m = PWLU(2, share=share, channel_dim=channel_dim)
    batches = [torch.tensor([1.0, 3.0]) * torch.randn(64, 9, 2) + 5 for _ in range(3)]
    mean, deviation, weight = torch.zeros(()), torch.zeros(()), 0.0
    dims = (0, 1) if share == "channel" else (0, 1, 2)
    for batch in batches:
        m(batch if channel_dim == -1 else batch.transpose(1, 2))
        mean = 0.9 * mean + 0.1 * batch.mean(dims)
        deviation = 0.9 * deviation + 0.1 * batch.std(dims, correction=0)
        weight = 0.9 * weight + 0.1
    m.realign()
    torch.testing.assert_close(m.left.data, ((mean - 3 * deviation) / weight).reshape(-1))
    torch.testing.assert_close(m.right.data, ((mean + 3 * deviation) / weight).reshape(-1))


def test_realignment_puts_every_knot_on_the_start() -> None:
    m = PWLU(2, initial="silu")
    m(torch.randn(64, 2) + 1)
    m.realign()
    place = torch.linspace(0, 1, 17)
    knots = torch.lerp(m.left.data[:, None], m.right.data[:, None], place)
    torch.testing.assert_close(m.values.data, F.silu(knots))
    torch.testing.assert_close(m(knots.T), F.silu(knots.T))


@pytest.mark.parametrize(("mean", "slopes"), [(-10, (0, 0)), (0, (0, 1)), (10, (1, 1))])
def test_outer_slopes_are_those_of_the_start_at_the_bounds(
    mean: float, slopes: tuple[int, int]
) -> None:
    m = PWLU(1)
    m(torch.randn(500, 1) + mean)
    m.realign()
    assert (m.left_slope.item(), m.right_slope.item()) == slopes
    far = torch.tensor([[-40.0], [40.0]])
    if mean:
        torch.testing.assert_close(m(far), far if mean > 0 else 0 * far)


def test_statistics_move_in_training_alone() -> None:
    m = PWLU(3).eval()
    m(torch.randn(4, 3))
    assert m.batches == 0
    m.train()(torch.randn(4, 3, requires_grad=True))
    assert m.batches == 1
    assert not m.mean.requires_grad


def test_realignment_keeps_parameters_and_happens_once() -> None:
    m = PWLU(3)
    before = list(m.parameters())
    m(torch.randn(64, 3))
    m.realign()
    assert all(a is b for a, b in zip(before, m.parameters(), strict=True))
    with torch.no_grad():
        m.values.fill_(7)
    m.realign()
    assert (m.values == 7).all()


def test_without_statistics_the_bounds_stay_as_constructed() -> None:
    m = trained(PWLU(3))
    assert (m.left == -3).all()
    assert (m.right == 3).all()
    x = torch.linspace(-3, 3, 17).view(-1, 1).expand(-1, 3)
    torch.testing.assert_close(m(x), F.relu(x))


@pytest.mark.parametrize("value", [0.0, 5.0, 1e6])
def test_a_channel_that_never_varies_still_gets_bounds(value: float) -> None:
    m = PWLU(1)
    m(torch.full((8, 1), value))
    m.realign()
    assert m.left < m.right
    torch.testing.assert_close(m(torch.tensor([[value]])), torch.tensor([[value]]))


def test_the_phase_is_part_of_the_state() -> None:
    m = PWLU(3)
    m(torch.randn(64, 3))
    fresh = PWLU(3)
    fresh.load_state_dict(m.state_dict())
    assert fresh.collecting
    m.realign()
    fresh.load_state_dict(m.state_dict())
    assert not fresh.collecting
    assert not copy.deepcopy(fresh).collecting
    x = torch.randn(4, 3)
    assert torch.equal(fresh(x), m(x))


def test_the_state_within_a_network_restores_the_phase() -> None:
    network = nn.Sequential(nn.Linear(3, 3), trained(PWLU(3)))
    fresh = nn.Sequential(nn.Linear(3, 3), PWLU(3))
    fresh.load_state_dict(network.state_dict(), assign=True)
    assert not fresh[1].collecting


def test_fixed_bounds_need_no_statistics() -> None:
    m = PWLU(3, bounds=2.0)
    assert not m.collecting
    assert (m.left == -2).all()


@pytest.mark.parametrize("mean", [-2.0, -0.3, 0.0, 0.77, 2.5])
def test_a_knot_snapped_to_zero_makes_the_start_as_relu_exact(mean: float) -> None:
    m = PWLU(1, snap_zero=True)
    x = torch.randn(4000, 1) + mean
    m(x)
    m.realign()
    torch.testing.assert_close(m(x), F.relu(x), atol=2e-6, rtol=1e-5)
    step = (m.right - m.left) / 16
    assert (m.left - (x.mean() - 3 * x.std(correction=0))).abs() <= step / 2 + 1e-4


def trained(m: PWLU) -> PWLU:
    m.realign()
    return m
