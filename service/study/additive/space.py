"""The space of a study as a product of axes: each a parameter with those that depend on it."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution

from service.study.additive.levels import Cell, cell_index, cells_of, draw

Codes = NDArray[np.int64]
"""Candidates `(n, axes)`: the level of each axis."""

Level = tuple[tuple[str, int], ...]
"""The cell of each parameter that is active at it, the axis' own first."""

MOST_LEVELS = 64
GRIDS = (16, 8, 4, 2)
"""Cells of a range: fewer where an axis would have more than `MOST_LEVELS` levels."""


@dataclass(frozen=True)
class Site:
    """Where in the network a parameter stands.

    Attributes:
        depth: From 0 at the input to 1 at the output.
        stage: Sites of one stage are alike; None: no stage is known.
    """

    depth: float
    stage: Hashable = None


@dataclass(frozen=True)
class Parent:
    """A parameter is active where another, categorical one has one of these values."""

    name: str
    choices: frozenset[int]


@dataclass(frozen=True)
class Axis:
    """A parameter that is always active, with all that depend on it."""

    name: str
    levels: tuple[Level, ...]

    @cached_property
    def index(self) -> Mapping[Level, int]:
        return {level: number for number, level in enumerate(self.levels)}


@dataclass(frozen=True)
class Space:
    """A product of axes.

    Attributes:
        families: Axes of one kind: what is learned of a level of one holds for the others.
    """

    distributions: Mapping[str, BaseDistribution]
    parents: Mapping[str, Parent]
    axes: tuple[Axis, ...]
    cells: Mapping[str, tuple[Cell, ...]]
    families: tuple[tuple[int, ...], ...]
    sites: Mapping[str, Site] = field(default_factory=dict)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(len(axis.levels) for axis in self.axes)

    @cached_property
    def size(self) -> int:
        """Number of candidates."""
        size = 1
        for count in self.sizes:
            size *= count
        return size

    def enumerate(self) -> Codes:
        """Return all candidates. Their number is `size`."""
        return np.array(list(product(*map(range, self.sizes))), dtype=np.int64)

    def encode(self, params: Mapping[str, Any]) -> tuple[int, ...] | None:
        """Return the levels of a trial's parameters, None where they lie outside the space."""
        if params.keys().isdisjoint(self.distributions):
            return None
        levels = [self._level(axis, params) for axis in self.axes]
        found = [level for level in levels if level is not None]
        return tuple(found) if len(found) == len(levels) else None

    def decode(self, code: Sequence[int], rng: np.random.Generator) -> dict[str, Any]:
        """Return parameters of a candidate; a number that stands for a range is drawn from it."""
        params = {}
        for axis, level in zip(self.axes, code, strict=True):
            for name, cell in axis.levels[level]:
                params[name] = draw(self.distributions[name], self.cells[name][cell], rng)
        return params

    @cached_property
    def uniforms(self) -> Mapping[str, tuple[int, ...]]:
        """The candidates with one choice at every axis of the largest family, by its label.

        What is not of the family has the first choice, or the middle of its range.
        """
        family = max(self.families, key=len, default=())
        if len(family) < 2:
            return {}
        middle = [self._middle(axis) for axis in self.axes]
        labels = [self.label(axis, level) for axis in family for level in range(self.sizes[axis])]
        return {
            label: tuple(
                self._first(axis, label) if axis in family else middle[axis]
                for axis in range(len(self.axes))
            )
            for label in dict.fromkeys(labels)
        }

    def label(self, axis: int, level: int) -> str:
        """Return the label of the axis' own parameter at a level."""
        name, cell = self.axes[axis].levels[level][0]
        return self.cells[name][cell].label

    def _first(self, axis: int, label: str) -> int:
        levels = range(self.sizes[axis])
        return next((level for level in levels if self.label(axis, level) == label), 0)

    def _middle(self, axis: Axis) -> int:
        is_categorical = isinstance(self.distributions[axis.name], CategoricalDistribution)
        return 0 if is_categorical else len(axis.levels) // 2

    def _level(self, axis: Axis, params: Mapping[str, Any]) -> int | None:
        chosen: dict[str, int] = {}
        for name in self._members[axis.name]:
            parent = self.parents.get(name)
            if parent is not None and chosen.get(parent.name) not in parent.choices:
                continue
            # A trial from before the parameter was searched is taken to have its first value.
            cell = (
                cell_index(self.distributions[name], self.cells[name], params[name])
                if name in params
                else 0
            )
            if cell is None:
                return None
            chosen[name] = cell
        return axis.index.get(tuple(chosen.items()))

    @cached_property
    def _members(self) -> Mapping[str, tuple[str, ...]]:
        return {axis.name: _dependents(axis.name, self.parents) for axis in self.axes}


def make_space(
    distributions: Mapping[str, BaseDistribution],
    parents: Mapping[str, Parent] | None = None,
    sites: Mapping[str, Site] | None = None,
) -> Space:
    """Return the space of these parameters.

    Args:
        parents: On what conditional parameters depend; None: as their names say.
        sites: Where parameters stand in a network; None: those with the same choices of words
            are taken for sites, in their order.
    """
    open_ones = {name: d for name, d in distributions.items() if not d.single()}
    given = named_parents(open_ones) if parents is None else parents
    kept = {name: p for name, p in given.items() if name in open_ones and p.name in open_ones}
    axes = list[Axis]()
    cells = dict[str, tuple[Cell, ...]]()
    for name in open_ones:
        if name not in kept:
            axis, of_axis, kept = _axis(name, open_ones, kept)
            axes.append(axis)
            cells |= of_axis
    loose = [name for name in open_ones if name not in cells]
    for name in loose:
        cells[name] = cells_of(open_ones[name])
        axes.append(Axis(name, tuple(((name, i),) for i in range(len(cells[name])))))
    families = _families(axes, cells, sites)
    return Space(open_ones, kept, tuple(axes), cells, families, dict(sites or {}))


def named_parents(distributions: Mapping[str, BaseDistribution]) -> dict[str, Parent]:
    """Return the dependencies that names `parent/choice/parameter` state."""
    parents = {}
    for name in distributions:
        for other, distribution in distributions.items():
            if other == name or not name.startswith(f"{other}/"):
                continue
            if isinstance(distribution, CategoricalDistribution):
                word = name.removeprefix(f"{other}/").split("/")[0]
                labels = [str(choice) for choice in distribution.choices]
                if word in labels:
                    parents[name] = Parent(other, frozenset({labels.index(word)}))
    return parents


def _axis(
    name: str, distributions: Mapping[str, BaseDistribution], parents: Mapping[str, Parent]
) -> tuple[Axis, dict[str, tuple[Cell, ...]], dict[str, Parent]]:
    """Return an axis, its cells, and the dependencies that are kept.

    Where even the coarsest grid gives too many levels, the dependent parameters become axes of
    their own, taken for active always.
    """
    members = _dependents(name, parents)
    for grid in GRIDS:
        cells = {member: cells_of(distributions[member], grid) for member in members}
        levels = _levels(members, cells, parents)
        if len(levels) <= MOST_LEVELS or len(members) == 1:
            return Axis(name, levels), cells, dict(parents)
    kept = {child: parent for child, parent in parents.items() if child not in members}
    own = {name: cells_of(distributions[name])}
    return Axis(name, tuple(((name, i),) for i in range(len(own[name])))), own, kept


def _dependents(name: str, parents: Mapping[str, Parent]) -> tuple[str, ...]:
    """Return a parameter and all that depend on it, each after its parent."""
    found = [name]
    for member in found:
        found += [child for child, parent in parents.items() if parent.name == member]
    return tuple(found)


def _levels(
    members: Sequence[str],
    cells: Mapping[str, tuple[Cell, ...]],
    parents: Mapping[str, Parent],
) -> tuple[Level, ...]:
    levels: list[Level] = [((members[0], i),) for i in range(len(cells[members[0]]))]
    for member in members[1:]:
        parent, grown = parents[member], list[Level]()
        for level in levels:
            if dict(level).get(parent.name) in parent.choices:
                grown += [(*level, (member, i)) for i in range(len(cells[member]))]
            else:
                grown.append(level)
            if len(grown) > 4 * MOST_LEVELS:
                break
        levels = grown
    return tuple(levels)


def _families(
    axes: Sequence[Axis],
    cells: Mapping[str, tuple[Cell, ...]],
    sites: Mapping[str, Site] | None,
) -> tuple[tuple[int, ...], ...]:
    """Return which axes are of one kind: those that offer at least half of the same words."""
    families: list[list[int]] = []
    for number, axis in enumerate(axes):
        words = _words(axis, cells)
        is_site = bool(words) if sites is None else axis.name in sites
        family = next(
            (f for f in families if is_site and _alike(words, _words(axes[f[0]], cells))), None
        )
        if family is None:
            families.append([number])
        else:
            family.append(number)
    return tuple(map(tuple, families))


def _words(axis: Axis, cells: Mapping[str, tuple[Cell, ...]]) -> frozenset[str]:
    own = cells[axis.name]
    is_words = all(isinstance(cell.value, str) for cell in own)
    return frozenset(cell.label for cell in own) if is_words else frozenset()


def _alike(some: frozenset[str], others: frozenset[str]) -> bool:
    return 2 * len(some & others) >= max(1, min(len(some), len(others)))
