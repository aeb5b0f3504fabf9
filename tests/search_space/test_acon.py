"""The ACON family: formulas, identities, agreement with the published modules."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from search_space.activations.acon import AconC, MetaAcon, acon_a, acon_b, acon_c
from tests.search_space.conftest import kept_for_backward

GOLDEN = Path(__file__).parent / "golden" / "activations.npz"


def published(name: str) -> dict[str, Tensor]:
    with np.load(GOLDEN) as arrays:
        parts = {key: arrays[key] for key in arrays if key.startswith(f"{name}/")}
    return {key.partition("/")[2]: torch.from_numpy(value) for key, value in parts.items()}


def numbers(*values: float) -> list[Tensor]:
    return [torch.tensor([value], dtype=torch.float64) for value in values]


@pytest.fixture
def x() -> Tensor:
    return torch.linspace(-8, 8, 101, dtype=torch.float64).view(-1, 1)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize(
    ("name", "module"),
    # The published width is max(r, C // r) = 8; ours reaches it with another reduction.
    [("acon_c", AconC(24)), ("meta_acon", MetaAcon(24, reduction=3))],
)
def test_it_agrees_with_the_published_module(
    name: str, module: nn.Module, dtype: torch.dtype, tolerance: float
) -> None:
    vectors = {key: value.to(dtype) for key, value in published(name).items()}
    module.to(dtype).zero_grad()
    with torch.no_grad():
        for parameter, tensor in module.named_parameters():
            tensor.copy_(vectors[f"p.{parameter}"].view(tensor.shape))
    leaf = vectors["x"].requires_grad_()
    y = module(leaf)
    y.backward(vectors["g"])
    found = {"y": y, "dx": leaf.grad}
    found |= {f"d.{parameter}": tensor.grad for parameter, tensor in module.named_parameters()}
    for key, value in found.items():
        expected = vectors[key].view(value.shape)
        # A bias before a batch norm has no gradient but what rounding leaves of it.
        scale = max(expected.abs().max().item(), 1.0)
        torch.testing.assert_close(value, expected, rtol=tolerance, atol=tolerance * scale)


def acon_c_of(x: Tensor, p1: float, p2: float, beta: float) -> Tensor:
    """ACON-C with numbers for parameters."""
    one, other, switch = numbers(p1, p2, beta)
    return acon_c(x, one, other, switch)


def test_acon_c_with_slopes_one_and_zero_is_silu(x: Tensor) -> None:
    torch.testing.assert_close(acon_c_of(x, 1, 0, 1), F.silu(x))


def test_acon_c_without_a_switch_is_the_mean_of_its_lines(x: Tensor) -> None:
    torch.testing.assert_close(acon_c_of(x, 1.5, -0.7, 0), (1.5 - 0.7) / 2 * x)


def test_a_sharp_switch_is_the_larger_line_and_a_negative_one_the_smaller(x: Tensor) -> None:
    lines = 2 * x, 0.5 * x
    torch.testing.assert_close(acon_c_of(x, 2, 0.5, 1e4), torch.maximum(*lines))
    torch.testing.assert_close(acon_c_of(x, 2, 0.5, -1e4), torch.minimum(*lines))


def test_the_two_lines_are_alike(x: Tensor) -> None:
    one, other = acon_c_of(x, 2, -0.5, 0.7), acon_c_of(x, -0.5, 2, 0.7)
    torch.testing.assert_close(one, other)


def test_acon_a_is_swish(x: Tensor) -> None:
    (beta,) = numbers(1.7)
    torch.testing.assert_close(acon_a(x, beta), x * torch.sigmoid(1.7 * x))


def test_acon_b_is_a_smooth_prelu(x: Tensor) -> None:
    p, beta = numbers(0.25, 3.0)
    expected = 0.75 * x * torch.sigmoid(3 * 0.75 * x) + 0.25 * x
    torch.testing.assert_close(acon_b(x, p, beta), expected)


@pytest.mark.parametrize("widths", [(3, 3, 3), (1, 3, 1), (3, 1, 1), (1, 1, 3), (1, 1, 1)])
def test_parameters_of_channels_and_layers_mix(widths: tuple[int, int, int]) -> None:
    parameters = [torch.randn(w, dtype=torch.float64, requires_grad=True) for w in widths]
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(acon_c, (x, *parameters))


def test_a_switch_of_each_sample_has_its_gradient() -> None:
    parameters = [
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in (3, 3, (4, 3))
    ]
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(acon_c, (x, *parameters))


def test_the_papers_start_draws_slopes_for_every_channel() -> None:
    torch.manual_seed(0)
    module = AconC(1000, initial="paper")
    for slope in (module.p1, module.p2):
        assert abs(slope.mean()) < 0.15
        assert abs(slope.std() - 1) < 0.1
    assert (module.beta == 1).all()


def test_the_switch_of_meta_acon_differs_between_samples() -> None:
    torch.manual_seed(0)
    beta = MetaAcon(24).switch(torch.randn(6, 24, 7, 5))
    assert beta.shape == (6, 24)
    assert ((beta > 0) & (beta < 1)).all()
    assert beta.std(0).min() > 0


def test_a_lone_last_sample_does_not_stop_meta_acon_training() -> None:
    module = MetaAcon(24)
    x = torch.randn(1, 24, 7, 5)
    before = module.bn1.running_mean.clone()
    y = module(x)
    y.sum().backward()
    assert torch.equal(module.bn1.running_mean, before)
    torch.testing.assert_close(y, module.eval()(x))


def test_acon_keeps_only_its_input_for_the_backward_pass() -> None:
    x = torch.randn(8, 4, 10, 10, requires_grad=True)
    kept = kept_for_backward(AconC(4), x)
    assert sum(t.numel() for t in kept) == x.numel() + 3 * 4
