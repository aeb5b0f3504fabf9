"""What a candidate costs against the original, measured before its first epoch.

Parameters and FLOPs are counted. Latency and the memory of a training step are measured on
copies of both networks, since running them in training changes statistics and phases.
"""

import copy
import math
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.flop_counter import FlopCounterMode

from search_space.activations.learned import phased_modules
from search_space.catalog.lookup import get_entry
from search_space.contract import Form, Measurements, Measuring, Ratio
from search_space.sites import Call, arguments, restored
from search_space.spec import ActivationSpec
from workers.errors import NotMeasurable
from workers.measurement.device_lock import exclusive
from workers.measurement.folding import fold
from workers.measurement.live_memory import peak_bytes

_WARM_UP = 3
# Below six, no order statistics enclose the median with a certainty of 95 %.
_LEAST_ROUNDS = 9
_MOST_ROUNDS = 51
_SECONDS = 1.0
# Of one timing: well above what the clock and a call of the device cost.
_LEAST_SECONDS = 2e-3
_CERTAINTY = 0.95


@dataclass(frozen=True, slots=True)
class Original:
    """The network as it came, with what will be compared.

    Attributes:
        network: A copy, where latency or memory shall be measured.
        flops: Of all but activations, on the whole example batch.
    """

    network: nn.Module | None
    example_batch: Any
    calls: Mapping[str, Call]
    parameters: int
    flops: int


def look_at(
    model: nn.Module, example_batch: Any, calls: Mapping[str, Call], measuring: Measuring
) -> Original:
    """Return what has to be known of the original before activations are put into it.

    Raises:
        NotMeasurable: If a copy is needed and the network cannot be copied.
    """
    return Original(
        network=_copy(model) if measuring.latency or measuring.memory else None,
        example_batch=example_batch,
        calls=calls,
        parameters=_parameters(model),
        flops=_flops(model, example_batch),
    )


def measure(
    original: Original,
    model: nn.Module,
    specs: Mapping[str, ActivationSpec],
    measuring: Measuring,
    *,
    fused: bool = False,
    known: Sequence[Measurements] = (),
) -> Measurements:
    """Return what `model` costs, which is the original with the activations `specs` put in.

    Args:
        known: Earlier measurements of the same candidate; one in the same form is returned.

    Raises:
        NotMeasurable: If the network cannot be measured in the form that was asked for.
    """
    device = _device(model)
    samples = _samples(original.example_batch)
    form = Form(
        batch=measuring.batch or samples,
        dtype=measuring.dtype,
        compiled=measuring.compiled,
        folded=measuring.folded,
        fused=fused,
        device=device_name(device),
        threads=torch.get_num_threads() if device.type == "cpu" else 0,
    )
    for earlier in known:
        if earlier.form == form and not _lacks(earlier, measuring):
            return earlier
    counted = _count(original, model, specs, form, samples)
    if original.network is None:
        return counted
    with restored(model):
        return _compare(original, original.network, _settled(model, original), counted, measuring)


def _lacks(earlier: Measurements, measuring: Measuring) -> bool:
    latency = measuring.latency and "latency_ratio" not in earlier.ratios
    return latency or (measuring.memory and "memory_ratio" not in earlier.ratios)


def _count(
    original: Original,
    model: nn.Module,
    specs: Mapping[str, ActivationSpec],
    form: Form,
    samples: int,
) -> Measurements:
    originals = {id: call.site.original_spec for id, call in original.calls.items()}
    before = original.flops + _of_activations(originals, original.calls)
    after = original.flops + _of_activations({**originals, **specs}, original.calls)
    parameters = _parameters(model)
    exact = {
        "parameter_ratio": _exact(parameters, original.parameters),
        "flop_ratio": _exact(after, before),
    }
    return Measurements(
        form=form,
        parameters=parameters,
        flops=after // samples,
        ratios={name: ratio for name, ratio in exact.items() if ratio is not None},
    )


def _compare(
    original: Original,
    before: nn.Module,
    after: nn.Module,
    counted: Measurements,
    measuring: Measuring,
) -> Measurements:
    """Add latency and memory to what was counted; both networks are copies, to be used up."""
    form, ratios, found = counted.form, dict(counted.ratios), dict[str, Any]()
    batch = _of_size(original.example_batch, form.batch)
    if measuring.latency:
        ratios["latency_ratio"], found["latency_seconds"] = _latency(before, after, batch, form)
    if measuring.memory:
        bytes_before, bytes_after = (_training_bytes(n, batch, form) for n in (before, after))
        ratio = _exact(bytes_after, bytes_before)
        assert ratio is not None, "a training step takes some memory"
        ratios["memory_ratio"], found["memory_bytes"] = ratio, bytes_after
    return counted.model_copy(update={"ratios": ratios, **found})


def device_name(device: torch.device) -> str:
    """Return what a device is, equal on equal machines."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {_processor()}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except FileNotFoundError:  # Only Linux has it.
        names = []
    return names[0] if names else platform.machine()


def _device(model: nn.Module) -> torch.device:
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _exact(candidate: int, original: int) -> Ratio | None:
    """Return a ratio of counted quantities; None against nothing."""
    if not original:
        return None
    value = candidate / original
    return Ratio(value=value, low=value, high=value)


def _of_activations(specs: Mapping[str, ActivationSpec], calls: Mapping[str, Call]) -> int:
    return sum(call.elements * get_entry(specs[id].name).flops for id, call in calls.items())


def _flops(model: nn.Module, example_batch: Any) -> int:
    """Return the FLOPs of one forward pass that is not activations."""
    counter = FlopCounterMode(display=False)
    args, kwargs = arguments(example_batch)
    # Transformers have a fused path in evaluation without gradients, and attention has fused
    # kernels, whose work the counter does not see.
    with restored(model), counter, torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):
        model.eval()
        model(*args, **kwargs)
    return int(counter.get_total_flops())


def _copy(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except (RuntimeError, TypeError) as error:
        reason = f"latency and memory are measured on copies of the network, and {error}"
        raise NotMeasurable(reason) from error


def _settled(model: nn.Module, original: Original) -> nn.Module:
    """Return a copy that computes what the network will once its phases are over."""
    settled = _copy(model)
    if any(phased.collecting for phased in phased_modules(settled)):
        args, kwargs = arguments(original.example_batch)
        settled.train()
        settled(*args, **kwargs)
        for phased in phased_modules(settled):
            if phased.collecting:
                phased.realign(alone=True)
    return settled


def _samples(batch: Any) -> int:
    """Return the size of the batch: that of the first dimension of its first tensor."""
    first = next((t for t in tree_leaves(batch) if isinstance(t, Tensor) and t.dim()), None)
    return 1 if first is None else max(1, first.shape[0])


def _of_size(batch: Any, size: int) -> Any:
    """Return the batch cut or repeated to `size` samples."""
    samples = _samples(batch)
    if size == samples:
        return batch

    def cut(x: Tensor) -> Tensor:
        if not x.dim() or x.shape[0] != samples:
            return x
        return x[torch.arange(size, device=x.device) % samples]

    return tree_map_only(Tensor, cut, batch)


def _precision(device: torch.device, form: Form) -> AbstractContextManager[Any]:
    if form.dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=getattr(torch, form.dtype))


def _latency(before: nn.Module, after: nn.Module, batch: Any, form: Form) -> tuple[Ratio, float]:
    """Return the ratio of the forward passes, and the candidate's median in seconds.

    Both take turns, so that whatever slows the machine for a while slows both; the interval is
    the distribution-free one of a median.
    """
    device = _device(after)
    with ExitStack() as stack:
        calls = []
        for network in (before, after):
            network.eval()
            if form.folded:
                fold(network, batch)
            compiled = torch.compile(network) if form.compiled else network
            calls.append(_caller(compiled, batch))
        stack.enter_context(torch.inference_mode())
        stack.enter_context(_precision(device, form))
        stack.enter_context(exclusive(device))
        pairs = list(_pairs(calls[0], calls[1], device))
    ratios = sorted(own / other for other, own in pairs)
    low, high = _interval(len(ratios))
    ratio = Ratio(value=median(ratios), low=ratios[low], high=ratios[high])
    return ratio, median(own for _, own in pairs)


def _caller(network: Callable[..., Any], batch: Any) -> Callable[[], object]:
    args, kwargs = arguments(batch)
    return lambda: network(*args, **kwargs)


def _pairs(
    one: Callable[[], object], other: Callable[[], object], device: torch.device
) -> Iterator[tuple[float, float]]:
    """Yield seconds of a call of each, in changing order."""
    for _ in range(_WARM_UP):
        slowest = max(_seconds(one, device, 1), _seconds(other, device, 1))
    repeats = math.ceil(_LEAST_SECONDS / max(slowest, 1e-6))
    end = time.perf_counter() + _SECONDS
    for round in range(_MOST_ROUNDS):
        if round >= _LEAST_ROUNDS and time.perf_counter() > end:
            return
        if round % 2:
            second = _seconds(other, device, repeats)
            yield _seconds(one, device, repeats), second
        else:
            yield _seconds(one, device, repeats), _seconds(other, device, repeats)


def _seconds(call: Callable[[], object], device: torch.device, repeats: int) -> float:
    _synchronize(device)
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    _synchronize(device)
    return (time.perf_counter() - began) / repeats


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _interval(n: int) -> tuple[int, int]:
    """Return the indices of the sorted values between which the median is, at 95 %."""
    left, low = 0.0, 0
    for k in range(n // 2):
        left += math.comb(n, k) / 2**n
        if 2 * left > 1 - _CERTAINTY:
            break
        low = k
    return low, n - 1 - low


def _training_bytes(network: nn.Module, batch: Any, form: Form) -> int:
    """Return the peak of memory of a step: weights, gradients, and what the passes keep."""
    device = _device(network)
    network.train()
    network.zero_grad(set_to_none=True)
    args, kwargs = arguments(batch)

    def step() -> None:
        with _precision(device, form):
            outputs = network(*args, **kwargs)
        # Whatever the task's own loss is, it needs little beside the network.
        losses = [
            y.float().square().mean()
            for y in tree_leaves(outputs)
            if isinstance(y, Tensor) and y.requires_grad
        ]
        if not losses:
            raise NotMeasurable("the network's outputs depend on no parameter that learns")
        torch.autograd.backward(losses)

    weights = sum(t.nbytes for t in (*network.parameters(), *network.buffers()))
    try:
        return weights + peak_bytes(step, device)
    finally:
        network.zero_grad(set_to_none=True)
