"""The costs of a candidate relative to the original network, measured before its first epoch.

Parameters and FLOPs are counted. Latency and the memory of a training step are measured on
copies of both networks, since running a network in training changes its statistics and phases.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from search_space.activations.learned import phased_modules
from search_space.catalog.lookup import get_entry
from search_space.contract import Form, Measurements, Measuring, Ratio
from search_space.sites import Call, arguments, restored
from search_space.spec import ActivationSpec
from workers.errors import NotMeasurable
from workers.measurement.form import form_of, resized, samples_in
from workers.measurement.latency import latency_ratio
from workers.measurement.live_memory import training_bytes


@dataclass(frozen=True, slots=True)
class OriginalCosts:
    """The costs of the original network, and what is needed to compare a candidate with it.

    Attributes:
        network: A copy, if latency or memory are to be measured.
        calls: The calls of its activations, by the id of their site.
        flops: Of everything but activations, for the whole example batch.
    """

    network: nn.Module | None
    example_batch: Any
    calls: Mapping[str, Call]
    parameters: int
    flops: int


def original_costs(
    model: nn.Module, example_batch: Any, calls: Mapping[str, Call], measuring: Measuring
) -> OriginalCosts:
    """Return the costs of the original; to be called before a candidate is put into it.

    Raises:
        NotMeasurable: If a copy is needed and the network cannot be copied.
    """
    return OriginalCosts(
        network=_copy(model) if measuring.latency or measuring.memory else None,
        example_batch=example_batch,
        calls=calls,
        parameters=_parameters(model),
        flops=_flops(model, example_batch),
    )


def measure(
    original: OriginalCosts,
    model: nn.Module,
    specs: Mapping[str, ActivationSpec],
    measuring: Measuring,
    *,
    fused: bool = False,
    known: Sequence[Measurements] = (),
) -> Measurements:
    """Return the costs of `model`, which is the original with the activations `specs`.

    Args:
        known: Earlier measurements of the same candidate; one in the same form is returned.

    Raises:
        NotMeasurable: If the network cannot be measured in the form that the search requests.
    """
    form = form_of(measuring, model, original.example_batch, fused=fused)
    for earlier in known:
        if earlier.form == form and not _lacks(earlier, measuring):
            return earlier
    counted = _count(original, model, specs, form)
    if original.network is None:
        return counted
    # Running networks draws random numbers. The training must be the same, whether this attempt
    # has measured or has found the measurements of an earlier one.
    with restored(model):
        return _compare(original, original.network, _settled(model, original), counted, measuring)


def _lacks(earlier: Measurements, measuring: Measuring) -> bool:
    latency = measuring.latency and "latency_ratio" not in earlier.ratios
    return latency or (measuring.memory and "memory_ratio" not in earlier.ratios)


def _count(
    original: OriginalCosts, model: nn.Module, specs: Mapping[str, ActivationSpec], form: Form
) -> Measurements:
    originals = {id: call.site.original_spec for id, call in original.calls.items()}
    # FLOPs of activations come from the catalog: torch counts only matrix products and
    # convolutions.
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
        flops=after // samples_in(original.example_batch),
        ratios={name: ratio for name, ratio in exact.items() if ratio is not None},
    )


def _compare(
    original: OriginalCosts,
    before: nn.Module,
    after: nn.Module,
    counted: Measurements,
    measuring: Measuring,
) -> Measurements:
    """Add latency and memory to what was counted. Changes both networks, which are copies."""
    form, ratios, measured = counted.form, dict(counted.ratios), dict[str, Any]()
    batch = resized(original.example_batch, form.batch)
    if measuring.latency:
        ratios["latency_ratio"], measured["latency_seconds"] = latency_ratio(
            before, after, batch, form
        )
    if measuring.memory:
        bytes_before, bytes_after = (training_bytes(n, batch, form) for n in (before, after))
        ratio = _exact(bytes_after, bytes_before)
        assert ratio is not None, "a training step takes some memory"
        ratios["memory_ratio"], measured["memory_bytes"] = ratio, bytes_after
    return counted.model_copy(update={"ratios": ratios, **measured})


def _parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def _exact(candidate: int, original: int) -> Ratio | None:
    """Return a ratio of counted quantities, whose interval is a point; None relative to 0."""
    if not original:
        return None
    value = candidate / original
    return Ratio(value=value, low=value, high=value)


def _of_activations(specs: Mapping[str, ActivationSpec], calls: Mapping[str, Call]) -> int:
    return sum(call.elements * get_entry(specs[id].name).flops for id, call in calls.items())


def _flops(model: nn.Module, example_batch: Any) -> int:
    """Return the FLOPs of one forward pass without its activations."""
    counter = FlopCounterMode(display=False)
    args, kwargs = arguments(example_batch)
    # With gradients and plain attention: without, transformers and attention use fused kernels,
    # whose operations the counter does not see.
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


def _settled(model: nn.Module, original: OriginalCosts) -> nn.Module:
    """Return a copy that computes what the network will compute after its first phase."""
    settled = _copy(model)
    if any(phased.collecting for phased in phased_modules(settled)):
        # One pass for statistics, then the switch, before which it computes another function.
        args, kwargs = arguments(original.example_batch)
        settled.train()
        settled(*args, **kwargs)
        for phased in phased_modules(settled):
            if phased.collecting:
                # Without the other ranks: only rank 0 measures.
                phased.realign(alone=True)
    return settled
