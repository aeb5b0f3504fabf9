"""What every activation of the catalogue must do. A new entry is tested by being listed."""

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn

from search_space.activations.learned import (
    LearnedActivation,
    PhasedActivation,
    learned_parameters,
    phased_modules,
)
from search_space.build import build
from search_space.catalog import CATALOG
from search_space.spec import ActivationSpec

CHANNELS = 3
FIRST = [(4, CHANNELS), (4, CHANNELS, 5), (4, CHANNELS, 6, 7), (2, CHANNELS, 2, 3, 4)]
LAST = [(4, 5, CHANNELS), (2, 4, 5, CHANNELS)]


def variants() -> list[tuple[ActivationSpec, bool]]:
    """Every entry with each share and start, and, where it has phases, in either."""
    specs: list[tuple[ActivationSpec, bool]] = []
    for name, entry in CATALOG.items():
        for share, start in itertools.product(
            entry.shares or ("channel",), entry.initials or (None,)
        ):
            spec = ActivationSpec(name, share=share, initial=start)
            specs += [(spec, later) for later in ((False, True) if entry.phases else (False,))]
    return specs


def label(variant: tuple[ActivationSpec, bool]) -> str:
    spec, realigned = variant
    return "-".join(
        str(part) for part in (spec.name, spec.share, spec.initial, realigned and "realigned")
    )


VARIANTS = pytest.mark.parametrize("variant", variants(), ids=label)
DEFAULTS = pytest.mark.parametrize(
    "variant",
    [
        (ActivationSpec(name), later)
        for name, entry in CATALOG.items()
        for later in {False, entry.phases}
    ],
    ids=label,
)


def make(variant: tuple[ActivationSpec, bool], channel_dim: int = 1) -> nn.Module:
    torch.manual_seed(0)
    spec, realigned = variant
    module = build(spec, channels=CHANNELS, channel_dim=channel_dim)
    if realigned:
        assert isinstance(module, PhasedActivation)
        module(inputs((8, CHANNELS, 9) if channel_dim == 1 else (8, 9, CHANNELS)))
        module.realign()
    return module


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Both signs and several magnitudes, off 0 where ReLU has its kink."""
    generator = torch.Generator().manual_seed(1)
    return (2 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.01).to(dtype)


def fits(variant: tuple[ActivationSpec, bool], channel_dim: int) -> bool:
    return channel_dim == 1 or not CATALOG[variant[0].name].channels_first_only


@VARIANTS
@pytest.mark.parametrize(("shape", "channel_dim"), [*((s, 1) for s in FIRST[:3]), (LAST[0], -1)])
def test_gradients_match_finite_differences(
    variant: tuple[ActivationSpec, bool], shape: tuple[int, ...], channel_dim: int
) -> None:
    if not fits(variant, channel_dim):
        pytest.skip("does not fit")
    module = make(variant, channel_dim).double()
    # In training Meta-ACON's batch statistics depend on the input as well.
    module.train(not isinstance(module, PhasedActivation))
    trained = not (isinstance(module, PhasedActivation) and module.collecting)
    parameters = list(module.parameters()) if trained else []
    names = [name for name, _ in module.named_parameters()] if trained else []

    def call(x: Tensor, *values: Tensor) -> Tensor:
        replaced = dict(zip(names, values, strict=True))
        result: Tensor = torch.func.functional_call(module, replaced, (x,))
        return result

    x = inputs(shape, torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(call, (x, *parameters), fast_mode=True)


@VARIANTS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_shape_and_dtype_are_kept(variant: tuple[ActivationSpec, bool], dtype: torch.dtype) -> None:
    for shape, channel_dim in [*((s, 1) for s in FIRST), *((s, -1) for s in LAST)]:
        if fits(variant, channel_dim):
            x = inputs(shape, dtype).requires_grad_()
            y = make(variant, channel_dim)(x)
            y.sum().backward()
            assert x.grad is not None
            assert (y.shape, y.dtype, x.grad.dtype) == (shape, dtype, dtype)


@DEFAULTS
def test_autocast_does_not_widen_half_precision(variant: tuple[ActivationSpec, bool]) -> None:
    with torch.autocast("cpu", torch.bfloat16):
        y = make(variant)(inputs((4, CHANNELS, 5, 5), torch.bfloat16))
    assert y.dtype == torch.bfloat16


@DEFAULTS
def test_half_precision_is_as_exact_as_its_rounding(variant: tuple[ActivationSpec, bool]) -> None:
    module = make(variant).eval()
    x = inputs((4, CHANNELS, 50), torch.bfloat16)
    torch.testing.assert_close(module(x), module(x.float()).bfloat16(), rtol=0.01, atol=0.01)


@VARIANTS
def test_strides_do_not_change_the_answer(variant: tuple[ActivationSpec, bool]) -> None:
    module = make(variant).eval()
    x = inputs((4, CHANNELS, 8, 8))
    grad = inputs(x.shape) - 1
    results = []
    layouts = [
        x,
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(0, 3).contiguous().transpose(0, 3),
        torch.stack([x, x], dim=-1)[..., 0],
    ]
    for strided in layouts:
        module.zero_grad()
        leaf = strided.detach().requires_grad_()
        y = module(leaf)
        y.backward(grad)
        results.append([y.detach(), leaf.grad, *(p.grad for p in module.parameters())])
    for result in results[1:]:
        torch.testing.assert_close(result, results[0])


@VARIANTS
def test_channels_may_be_last(variant: tuple[ActivationSpec, bool]) -> None:
    if not fits(variant, -1):
        pytest.skip("does not fit")
    first, last = make(variant).eval(), make(variant, -1).eval()
    last.load_state_dict(first.state_dict())
    x = inputs((4, CHANNELS, 8))
    torch.testing.assert_close(last(x.transpose(1, 2)).transpose(1, 2), first(x))


@VARIANTS
@pytest.mark.parametrize("magnitude", [0.0, 1e-30, 1e4])
def test_extreme_inputs_stay_finite(variant: tuple[ActivationSpec, bool], magnitude: float) -> None:
    module = make(variant)
    x = torch.tensor([-magnitude, magnitude]).repeat(2, CHANNELS, 1).requires_grad_()
    y = module(x)
    y.sum().backward()
    gradients = [x.grad, *(p.grad for p in module.parameters())]
    assert y.isfinite().all()
    assert all(g is not None and g.isfinite().all() for g in gradients)


@VARIANTS
def test_the_input_is_left_alone(variant: tuple[ActivationSpec, bool]) -> None:
    module, x = make(variant), inputs((4, CHANNELS, 6))
    before = x.clone()
    module(x)
    assert torch.equal(x, before)


@DEFAULTS
def test_nan_stays_nan_and_nothing_else_becomes_it(variant: tuple[ActivationSpec, bool]) -> None:
    module, x = make(variant).eval(), inputs((2, CHANNELS, 40))
    clean = module(x)
    x[0, 1, 3] = torch.nan
    y = module(x)
    assert y[0, 1, 3].isnan()
    torch.testing.assert_close(y[1], clean[1])


@VARIANTS
def test_a_copy_and_a_loaded_twin_compute_the_same(variant: tuple[ActivationSpec, bool]) -> None:
    module = make(variant)
    module(inputs((8, CHANNELS, 4)))
    module.eval()
    twin = build(variant[0], channels=CHANNELS).eval()
    twin.load_state_dict(module.state_dict())
    x = inputs((4, CHANNELS, 6))
    assert torch.equal(twin(x), module(x))
    assert torch.equal(copy.deepcopy(module)(x), module(x))


# Torch warns of itself: its compiler instantiates the function that it traces.
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@DEFAULTS
@pytest.mark.parametrize("training", [True, False])
def test_it_compiles_without_a_break(variant: tuple[ActivationSpec, bool], training: bool) -> None:
    torch.compiler.reset()
    module = make(variant).train(training)
    twin = copy.deepcopy(module)
    compiled = torch.compile(twin, fullgraph=True, backend="eager")
    for _ in range(2):
        x, y = (inputs((4, CHANNELS, 6)).requires_grad_() for _ in range(2))
        one, other = module(x), compiled(y)
        one.square().sum().backward()
        other.square().sum().backward()
        torch.testing.assert_close(other, one)
        torch.testing.assert_close(y.grad, x.grad)
    for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(theirs.grad, mine.grad)
    for mine, theirs in zip(module.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(theirs, mine)


@DEFAULTS
def test_it_exports_for_any_batch_size(variant: tuple[ActivationSpec, bool]) -> None:
    module = make(variant).eval()
    batch = {0: torch.export.Dim("batch", min=2, max=1 << 16)}
    example = inputs((4, CHANNELS, 40))
    exported = torch.export.export(module, (example,), dynamic_shapes=(batch,)).module()
    x = inputs((9, CHANNELS, 40))
    torch.testing.assert_close(exported(x), module(x))


@DEFAULTS
def test_only_what_learns_has_parameters(variant: tuple[ActivationSpec, bool]) -> None:
    module, entry = make(variant), CATALOG[variant[0].name]
    own = list(module.parameters())
    assert bool(own) == isinstance(module, LearnedActivation) == entry.learned
    assert isinstance(module, PhasedActivation) == entry.phases
    assert {id(p) for p in learned_parameters(nn.Sequential(nn.Linear(2, 2), module))} == {
        id(p) for p in own
    }
    assert list(phased_modules(nn.Sequential(module))) == ([module] if entry.phases else [])


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.learned])
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 3)])
def test_another_number_of_channels_is_refused(name: str, shape: tuple[int, ...]) -> None:
    module = build(ActivationSpec(name), channels=CHANNELS).eval()
    if isinstance(module, PhasedActivation):
        module.realign()
    with pytest.raises((ValueError, RuntimeError), match=r"channels|shapes cannot be multiplied"):
        module(torch.randn(shape))


@pytest.mark.parametrize("name", [name for name, entry in CATALOG.items() if entry.learned])
def test_learned_parameters_of_a_channel_have_one_dimension(name: str) -> None:
    entry = CATALOG[name]
    for share in entry.shares:
        width = CHANNELS if share == "channel" else 1
        module = build(ActivationSpec(name, share=share), channels=CHANNELS)
        shapes = {n: tuple(p.shape) for n, p in module.named_parameters(recurse=False)}
        assert all(s == (width,) for n, s in shapes.items() if n != "values")
