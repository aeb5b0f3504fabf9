"""The rules that every activation must follow, as checks of a case.

A check raises `AssertionError`, or the error that the activation raised. The tests run them on
the catalogue, `actsearch check` on your own file. The first line of a check's docstring is its
meaning in the printed table.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from math import isfinite, isnan
from typing import Any

import torch
from torch import Tensor, nn

from search_space.activations.learned import (
    LearnedActivation,
    PhasedActivation,
    learned_parameters,
    phased_modules,
)
from search_space.build import construct
from search_space.catalog.entry import Entry
from search_space.conformance.cases import CHANNELS, Case, cases, inputs

Check = Callable[[Case], None]

_same = torch.testing.assert_close


def gradients(case: Case) -> None:
    """Gradients match finite differences in float64, of the input and of what is learned."""
    for shape, channel_dim in case.layouts():
        module = case.make(channel_dim).double()
        # In training mode, because a norm over the batch is part of the gradient there.
        module.train(not isinstance(module, PhasedActivation))
        collecting = isinstance(module, PhasedActivation) and module.collecting
        trained = {} if collecting else dict(module.named_parameters())

        def call(
            x: Tensor, *values: Tensor, module: nn.Module = module, names: Any = trained
        ) -> Any:
            replaced = dict(zip(names, values, strict=True))
            return torch.func.functional_call(module, replaced, (x,))

        x = inputs(shape, torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(call, (x, *trained.values()), fast_mode=True)


def shape_and_dtype(case: Case) -> None:
    """Shape and dtype are kept, in the output and in the gradient."""
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for shape, channel_dim in case.layouts():
            x = inputs(shape, dtype).requires_grad_()
            y = case.make(channel_dim)(x)
            y.sum().backward()
            assert x.grad is not None
            assert (y.shape, y.dtype, x.grad.dtype) == (shape, dtype, dtype)


def autocast(case: Case) -> None:
    """Autocast neither widens half precision nor narrows float32."""
    shape = (4, CHANNELS, 5, 5)
    for inner in (torch.bfloat16, torch.float16):
        with torch.autocast("cpu", inner):
            assert case.make()(inputs(shape, inner)).dtype == inner
            assert case.make()(inputs(shape)).dtype == torch.float32


def half_precision(case: Case) -> None:
    """Half precision is as exact as its rounding."""
    module, x = case.make().eval(), inputs(case.shape(4, CHANNELS, 50), torch.bfloat16)
    _same(module(x), module(x.float()).bfloat16(), rtol=0.01, atol=0.01)


def strides(case: Case) -> None:
    """Strides do not change output or gradients, channels-last memory among them."""
    module, x = case.make().eval(), inputs((4, CHANNELS, 8, 8))
    results = []
    for strided in (
        x,
        x.contiguous(memory_format=torch.channels_last),
        x.transpose(0, 3).contiguous().transpose(0, 3),
        torch.stack([x, x], dim=-1)[..., 0],
    ):
        module.zero_grad()
        leaf = strided.detach().requires_grad_()
        y = module(leaf)
        y.backward(inputs(x.shape) - 1)
        results.append([y.detach(), leaf.grad, *(p.grad for p in module.parameters())])
    for result in results[1:]:
        # The parameters' gradients are summed in another order.
        _same(result, results[0], rtol=1e-4, atol=1e-4)


def channels_last(case: Case) -> None:
    """Channels in the last dimension give the same, where they may be there."""
    if case.entry.channels_first_only:
        return
    first, last = case.make().eval(), case.make(-1).eval()
    last.load_state_dict(first.state_dict())
    x = inputs((4, CHANNELS, 8))
    _same(last(x.transpose(1, 2)).transpose(1, 2), first(x))


def extremes(case: Case) -> None:
    """Large, tiny and zero inputs give finite outputs and gradients."""
    for magnitude in (0.0, 1e-30, 1.0, 30.0, 100.0, 1e3, 1e4):
        module = case.make()
        x = torch.tensor([-magnitude, magnitude]).repeat(2, CHANNELS, 1)
        x = x.view(case.shape(2, CHANNELS, 2)[:3] + (1,) * (case.entry.rank == 4)).requires_grad_()
        y = module(x)
        y.sum().backward()
        found = {"output": y, "input's gradient": x.grad}
        found |= {f"gradient of {name}": p.grad for name, p in module.named_parameters()}
        for name, value in found.items():
            assert value is not None, f"no {name}"
            assert value.isfinite().all(), f"{name} is not finite at {magnitude:g}"


def limits(case: Case) -> None:
    """Far out it tends to what its entry says, and infinity gives that or NaN."""
    if not case.entry.pointwise:
        return
    module = case.make().eval()
    for sign, limit in zip((-1, 1), case.entry.limits, strict=True):
        if isnan(limit):
            continue
        far, infinite = (module(torch.full((2, CHANNELS), sign * v)) for v in (1e4, torch.inf))
        if isfinite(limit):
            _same(far, torch.full_like(far, limit), rtol=1e-3, atol=1e-3)
        else:
            assert (far.sign() == (1 if limit > 0 else -1)).all()
        tends = infinite.isnan() | torch.isclose(infinite, torch.full_like(infinite, limit))
        assert tends.all(), f"{infinite.flatten()[0]:g} at {sign * torch.inf:g}, not {limit:g}"


def nan_stays(case: Case) -> None:
    """NaN gives NaN, and changes no other sample."""
    module, x = case.make().eval(), inputs(case.shape(2, CHANNELS, 40))
    clean = module(x)
    x[0, 1, 3] = torch.nan
    y = module(x)
    assert y[0, 1, 3].isnan().all()
    _same(y[1], clean[1])


def position(case: Case) -> None:
    """An output depends on its own position alone, where the entry says so."""
    module, x = case.make().eval(), inputs(case.shape(2, CHANNELS, 6))
    before = module(x)[:, :, :5]
    x[:, :, 5:] = 7.0
    if case.entry.pointwise:
        _same(module(x)[:, :, :5], before)
    elif case.usual:
        assert not torch.equal(module(x)[:, :, :5], before), "it is pointwise"


def small_batches(case: Case) -> None:
    """A batch of one sample and of none pass, in training too."""
    for samples in (0, 1):
        for positions in (1, 4):
            module = case.make()
            x = inputs(case.shape(samples, CHANNELS, positions)).requires_grad_()
            y = module(x)
            y.sum().backward()
            assert y.shape == x.shape
            assert y.isfinite().all()
            assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())


def input_left_alone(case: Case) -> None:
    """The input is not written to."""
    module, x = case.make(), inputs(case.shape(4, CHANNELS, 6))
    before = x.clone()
    module(x)
    assert torch.equal(x, before)


def state(case: Case) -> None:
    """A copy and a twin with the loaded state compute the same; the phase comes along."""
    module = case.make()
    module(inputs(case.shape(8, CHANNELS, 4)))
    module.eval()
    twin = construct(case.entry, case.spec, channels=CHANNELS).eval()
    twin.load_state_dict(module.state_dict())
    x = inputs(case.shape(4, CHANNELS, 6))
    for other in (twin, copy.deepcopy(module)):
        assert torch.equal(other(x), module(x))
        if isinstance(module, PhasedActivation):
            assert isinstance(other, PhasedActivation)
            collects = case.entry.has_phases(case.spec) and not case.realigned
            assert other.collecting == module.collecting == collects


def bookkeeping(case: Case) -> None:
    """Its parameters are found, and are as many and of such shapes as the entry says."""
    module, entry = case.make(), case.entry
    own = list(module.parameters())
    assert bool(own) == isinstance(module, LearnedActivation) == entry.learned
    assert isinstance(module, PhasedActivation) == entry.phases
    count = sum(p.numel() for p in own)
    said = entry.parameter_count(case.spec, CHANNELS)
    assert count == said, f"it has {count} parameters, the entry says {said}"
    around = nn.Sequential(nn.Linear(2, 2), module)
    assert {id(p) for p in learned_parameters(around)} == {id(p) for p in own}
    assert list(phased_modules(around)) == ([module] if entry.phases else [])
    width = 1 if case.spec.share == "layer" else CHANNELS
    for name, parameter in module.named_parameters(recurse=False):
        # A table of each channel has two dimensions. Published shapes such as (1, C, 1, 1) get
        # weight decay from recipes that choose parameters by their number of dimensions.
        assert parameter.shape[0] == width, f"{name} is not of channels or a layer"
        assert parameter.dim() <= 2, f"{name} has {parameter.dim()} dimensions"


def kept_for_backward(case: Case) -> None:
    """No more is kept for backward than the entry says."""
    if case.entry.phases and not case.realigned:
        return
    module, x = case.make(), inputs((4, CHANNELS, 16, 16)).requires_grad_()
    kept: dict[int, Tensor] = {}

    def note(t: Tensor) -> Tensor:
        # Kept alive, so that no other tensor gets its storage.
        kept[t.untyped_storage().data_ptr()] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        module(x)
    large = [t.untyped_storage().nbytes() for t in kept.values() if t.numel() >= x.numel() / 4]
    each = round(sum(large) / x.numel())
    assert each <= case.entry.kept, f"{each} bytes an element, the entry says {case.entry.kept}"


def other_channels_refused(case: Case) -> None:
    """Another number of channels is an error, not a broadcast."""
    module = case.make().eval()
    if not case.entry.learned or (case.entry.phases and not case.realigned):
        return
    for shape in (case.shape(4, 5), case.shape(4, 5, 3)):
        try:
            module(inputs(shape))
        except (ValueError, RuntimeError):
            continue
        raise AssertionError(f"an input of shape {shape} passed for {CHANNELS} channels")


def compiles(case: Case, backend: str = "eager") -> None:
    """It compiles without a break, in training and in evaluation, with all gradients."""
    for training in (True, False):
        torch.compiler.reset()
        module = case.make().train(training)
        twin = copy.deepcopy(module)
        compiled = torch.compile(twin, fullgraph=True, backend=backend)
        for _ in range(2):
            x, y = (inputs(case.shape(4, CHANNELS, 6)).requires_grad_() for _ in range(2))
            one, other = module(x), compiled(y)
            one.square().sum().backward()
            other.square().sum().backward()
            _same(other, one)
            _same(y.grad, x.grad)
        # The gradient of a bias before a norm is rounding alone, so its error is not relative.
        grads = [p.grad for p in module.parameters() if p.grad is not None]
        scale = max((grad.abs().max().item() for grad in grads), default=0.0)
        for mine, theirs in zip(module.parameters(), twin.parameters(), strict=True):
            _same(theirs.grad, mine.grad, rtol=1e-4, atol=1e-4 * (1 + scale))
        for kept, compiled_kept in zip(module.buffers(), twin.buffers(), strict=True):
            _same(compiled_kept, kept)


def exports(case: Case) -> None:
    """`torch.export` takes it, for any batch size."""
    module = case.make().eval()
    batch = {0: torch.export.Dim("batch", min=2, max=1 << 16)}
    example = inputs(case.shape(4, CHANNELS, 40))
    exported = torch.export.export(module, (example,), dynamic_shapes=(batch,)).module()
    x = inputs(case.shape(9, CHANNELS, 40))
    _same(exported(x), module(x))


CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        *(gradients, shape_and_dtype, autocast, half_precision, strides, channels_last, extremes),
        *(nan_stays, position, small_batches, input_left_alone, state, bookkeeping),
    )
}
"""The checks of every case, by name."""

USUAL_CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (limits, kept_for_backward, other_channels_refused, compiles, exports)
}
"""Further checks of the cases with the entry's defaults, which are slower."""


def suite(entry: Entry) -> Iterator[tuple[str, Check, Case]]:
    """Yield every check of an entry with its name and with every case that it applies to."""
    for case in cases(entry):
        for name, check in {**CHECKS, **(USUAL_CHECKS if case.usual else {})}.items():
            yield name, check, case
