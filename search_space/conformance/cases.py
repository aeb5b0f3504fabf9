"""Cases for the conformance checks: an activation with its defaults and with unusual values."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from search_space.activations.learned import PhasedActivation
from search_space.build import construct
from search_space.catalog.entry import Entry, Parameter
from search_space.spec import ActivationSpec

CHANNELS = 3

_FIRST = ((4, CHANNELS), (4, CHANNELS, 5), (4, CHANNELS, 6, 7), (2, CHANNELS, 2, 3, 4))
_LAST = ((4, 5, CHANNELS), (2, 4, 5, CHANNELS))


@dataclass(frozen=True, slots=True)
class Case:
    """An activation with one set of parameters, to be checked.

    Attributes:
        realigned: Its statistics phase has ended, and it trains.
        usual: It has the entry's defaults; the slower checks run on such cases alone.
    """

    entry: Entry
    spec: ActivationSpec
    realigned: bool
    usual: bool

    def __str__(self) -> str:
        params = ",".join(f"{key}={value}" for key, value in self.spec.params.items())
        start = self.spec.initial if self.entry.initials else ""
        share = self.spec.share if len(self.entry.shares) > 1 else ""
        parts = (self.entry.name, params, share, start, "realigned" if self.realigned else "")
        return "-".join(part for part in parts if part)

    def layouts(self) -> Iterator[tuple[tuple[int, ...], int]]:
        """Yield every input shape that fits, with the channel dimension."""
        dims = ((_FIRST, 1),) if self.entry.channels_first_only else ((_FIRST, 1), (_LAST, -1))
        for shapes, channel_dim in dims:
            for shape in shapes:
                if self.entry.rank in (None, len(shape)):
                    yield shape, channel_dim

    def shape(self, *sizes: int) -> tuple[int, ...]:
        """Return a shape of these sizes, extended by twos to the rank that the entry needs."""
        missing = 0 if self.entry.rank is None else self.entry.rank - len(sizes)
        return (*sizes, *([2] * missing))

    def make(self, channel_dim: int = 1) -> nn.Module:
        """Return a new module, with equal parameters in every call."""
        torch.manual_seed(0)
        make = partial(construct, self.entry, self.spec, channels=CHANNELS)
        module = make(channel_dim=channel_dim)
        if self.realigned:
            assert isinstance(module, PhasedActivation), "it has phases, but is not phased"
            shape = (8, CHANNELS, 9) if channel_dim == 1 else (8, 9, CHANNELS)
            module(inputs(self.shape(*shape)))
            module.realign()
        return module


def cases(entry: Entry) -> Iterator[Case]:
    """Yield an entry's cases: defaults, shares, usual starts, unusual values, in each phase."""
    usual = ActivationSpec(entry.name, initial=entry.default_initial)
    starts = dict.fromkeys([entry.default_initial, entry.paper_initial, *entry.initials[:2]])
    specs = [
        replace(usual, share=share, initial=start)
        for share, start in product(entry.shares or ("channel",), starts)
        if start in entry.initials or not entry.initials
    ]
    for parameter in entry.parameters:
        specs += [replace(usual, params={parameter.name: v}) for v in _unusual(parameter)]
    for spec in specs:
        for realigned in (False, True) if entry.has_phases(spec) else (False,):
            yield Case(entry, spec, realigned, usual=spec == usual)


def _unusual(parameter: Parameter) -> Iterator[Any]:
    if parameter.choices:
        yield from (choice for choice in parameter.choices if choice != parameter.default)
    elif parameter.kind is bool:
        yield not parameter.default
    elif parameter.nullable:
        yield min(max(2.0, parameter.low or 2.0), parameter.high or 2.0)
    elif isinstance(parameter.default, int) and parameter.low is not None:
        yield int(parameter.low) if parameter.default > 1 else parameter.default + 1


def inputs(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """Return inputs of both signs and several magnitudes, equal in every call.

    None is 0, where the derivative of ReLU does not exist.
    """
    generator = torch.Generator().manual_seed(1)
    return (2 * torch.randn(shape, generator=generator, dtype=torch.float64) + 0.01).to(dtype)
