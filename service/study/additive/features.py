"""How alike the levels of an axis are, and where the axes of a family stand."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from service.study.additive.levels import APART, Cell
from service.study.additive.space import Space

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Hashes = NDArray[np.uint64]

LENGTH = 1.0
"""Correlation length along ordered levels, as a share of the way from first to last."""

SAME_BASE = 0.5
"""Correlation of versions of one activation whose parameters are as different as can be."""

DEPTH = 0.35
"""Correlation length along the depth of the network."""


@dataclass(frozen=True)
class Levels:
    """The levels of one family, with positions in a space of its parameters.

    Attributes:
        base: What each level is a version of, as a number.
        positions: `(levels, parameters)`; far apart where parameters have nothing in common.
        floor: Correlation that versions of one base have at least.
    """

    base: Ints
    positions: Floats
    floor: float

    @cached_property
    def correlation(self) -> Floats:
        """Correlations `(levels, levels)`, 1 for a level with itself."""
        distance = np.abs(self.positions[:, None] - self.positions[None]).sum(axis=2)
        same = self.base[:, None] == self.base[None]
        return np.asarray(same * (self.floor + (1 - self.floor) * np.exp(-distance / LENGTH)))

    @cached_property
    def centred(self) -> Floats:
        """The covariance of effects that sum to nothing, of mean variance 1."""
        count = len(self.base)
        centre = np.eye(count) - 1 / count
        covariance = centre @ self.correlation @ centre
        mean = float(np.trace(covariance)) / count
        return covariance / mean if mean > 1e-9 else np.zeros_like(covariance)

    def hashes(self, count: int, rng: np.random.Generator) -> Hashes:
        """Return random numbers `(count, levels)`: in a row two levels have the same number as
        often as they correlate.
        """
        salt = rng.integers(0, 2**64, (count, 1 + self.positions.shape[1]), dtype=np.uint64)
        keys = mix(self.base.astype(np.uint64)[None] + salt[:, :1])
        # Bins of random width and offset: two points share one with probability exp(-distance)
        # where the width has a Gamma(2) distribution.
        width = rng.gamma(2.0, LENGTH, (count, 1, self.positions.shape[1]))
        places = self.positions[None] + APART + rng.random(width.shape) * width
        bins = mix(np.floor(places / width).astype(np.uint64) + salt[:, None, 1:]).sum(axis=2)
        return np.asarray(keys + np.where(rng.random((count, 1)) < self.floor, 0, bins))


@dataclass(frozen=True)
class Family:
    """Axes of one kind.

    Attributes:
        axes: Their numbers in the space.
        levels: The levels that any of them has.
        members: For each axis, which of these its own levels are.
        depths: From 0 to 1, or None for a single axis.
        stages: Equal numbers for axes of one stage.
    """

    axes: tuple[int, ...]
    levels: Levels
    members: tuple[Ints, ...]
    depths: Floats
    stages: Ints

    @cached_property
    def couplings(self) -> dict[str, Floats]:
        """How the effects of a level at two axes are tied, `(axes, axes)`, by component."""
        count = len(self.axes)
        if count == 1:
            return {"own": np.ones((1, 1))}
        ties = {"shared": np.ones((count, count))}
        if count > 2:
            ties["depth"] = np.exp(-np.abs(self.depths[:, None] - self.depths[None]) / DEPTH)
        stages = len(set(self.stages.tolist()))
        if 1 < stages < count:
            ties["stage"] = (self.stages[:, None] == self.stages[None]).astype(float)
        return ties | {"site": np.eye(count)}


def mix(keys: Hashes) -> Hashes:
    """Return the keys with all bits stirred, so that sums of them are random."""
    keys = (keys ^ (keys >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ (keys >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return keys ^ (keys >> np.uint64(31))


def families_of(space: Space) -> tuple[Family, ...]:
    """Return the families of a space."""
    return tuple(_family(space, axes) for axes in space.families)


def _family(space: Space, axes: tuple[int, ...]) -> Family:
    signatures = [
        [_signature(space, axis, level) for level in range(space.sizes[axis])] for axis in axes
    ]
    union = list(dict.fromkeys(one for some in signatures for one in some))
    number = {signature: i for i, signature in enumerate(union)}
    members = tuple(np.array([number[one] for one in some]) for some in signatures)
    sites = [space.sites.get(space.axes[axis].name) for axis in axes]
    even = np.linspace(0, 1, len(axes)) if len(axes) > 1 else np.zeros(1)
    depths = np.array([e if s is None else s.depth for e, s in zip(even, sites, strict=True)])
    stages = [i if s is None or s.stage is None else s.stage for i, s in enumerate(sites)]
    order = {stage: i for i, stage in enumerate(dict.fromkeys(stages))}
    return Family(
        axes, _levels(union), members, depths, np.array([order[stage] for stage in stages])
    )


_Part = tuple[str, Cell]


def _signature(space: Space, axis: int, level: int) -> tuple[_Part, ...]:
    """Return the parameters of a level with their cells, named within the axis."""
    name = space.axes[axis].name
    return tuple(
        (part.removeprefix(name), _bare(space.cells[part][cell]))
        for part, cell in space.axes[axis].levels[level]
    )


def _bare(cell: Cell) -> Cell:
    return Cell(cell.label, cell.base, cell.position)


def _levels(signatures: list[tuple[_Part, ...]]) -> Levels:
    """Place levels in a space: a dimension for each parameter, one for versions in the name."""
    bases = list(dict.fromkeys(own.base for (_, own), *_ in signatures))
    names = list(dict.fromkeys(name for some in signatures for name, _ in some[1:]))
    words: dict[str, list[str]] = {
        name: list(dict.fromkeys(c.base for some in signatures for n, c in some if n == name))
        for name in names
    }
    positions = np.full((len(signatures), 1 + len(names)), -APART)
    for row, ((_, own), *rest) in enumerate(signatures):
        positions[row, 0] = own.position
        for name, cell in rest:
            place = APART * words[name].index(cell.base) + cell.position
            positions[row, 1 + names.index(name)] = place
    base = np.array([bases.index(own.base) for (_, own), *_ in signatures])
    return Levels(base, positions, 0.0 if len(bases) == 1 else SAME_BASE)
