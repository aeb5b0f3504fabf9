"""Cells of one parameter: what the model tells apart of its distribution."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

GRID = 16
"""So many cells stand for a range of numbers."""

APART = 1e3
"""Distance between the positions of cells that have nothing in common."""

_NUMBERED = re.compile(r"^(.*?)[-_ ]?(\d+(?:\.\d+)?)$")


@dataclass(frozen=True)
class Cell:
    """A value of a parameter, or a part of its range.

    Attributes:
        label: What it is called; cells of several parameters with one label are the same.
        base: What it is a version of: `pwlu` of `pwlu-8`.
        position: Where it lies among the versions of its base, at most 1 from first to last.
        low, high: The part of the range, on the scale of `_forward`.
        value: The value, where the cell holds one.
    """

    label: str
    base: str
    position: float
    low: float = 0.0
    high: float = 0.0
    value: Any = None


def cells_of(distribution: BaseDistribution, grid: int = GRID) -> tuple[Cell, ...]:
    """Return the cells of a distribution. Raises `ValueError` for one that is not Optuna's."""
    match distribution:
        case CategoricalDistribution():
            return _choices(distribution.choices)
        case IntDistribution() | FloatDistribution():
            return _numbers(distribution, grid)
    raise ValueError(f"the distribution is Optuna's own, got {type(distribution).__name__}")


def cell_index(distribution: BaseDistribution, cells: Sequence[Cell], value: Any) -> int | None:
    """Return which cell a value lies in, None where it lies in none."""
    if isinstance(distribution, CategoricalDistribution):
        try:
            return int(distribution.to_internal_repr(value))
        except ValueError:
            return None
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if not distribution.low <= float(value) <= distribution.high:
        return None
    place = _forward(distribution, float(value))
    return min(
        range(len(cells)), key=lambda i: max(cells[i].low - place, place - cells[i].high, 0.0)
    )


def draw(distribution: BaseDistribution, cell: Cell, rng: np.random.Generator) -> Any:
    """Return the value of a cell, or any of those in it."""
    if cell.value is not None or isinstance(distribution, CategoricalDistribution):
        return cell.value
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    place = rng.uniform(cell.low, cell.high)
    value = float(np.exp(place)) if distribution.log else float(place)
    if distribution.step is not None:
        value = distribution.low + round((value - distribution.low) / distribution.step) * (
            distribution.step
        )
    value = min(max(value, distribution.low), distribution.high)
    return round(value) if isinstance(distribution, IntDistribution) else value


def _choices(choices: Sequence[Any]) -> tuple[Cell, ...]:
    if len(choices) > 2 and all(_is_number(choice) for choice in choices):
        places = _places([float(choice) for choice in choices])
        return tuple(
            Cell(repr(choice), "", place, value=choice)
            for choice, place in zip(choices, places, strict=True)
        )
    numbered = [_NUMBERED.match(c) if isinstance(c, str) else None for c in choices]
    bases = [match[1] if match else None for match in numbered]
    cells = []
    for choice, match in zip(choices, numbered, strict=True):
        label = choice if isinstance(choice, str) else repr(choice)
        if match and bases.count(match[1]) > 1:
            versions = sorted({float(m[2]) for m in numbered if m and m[1] == match[1]})
            place = _places(versions)[versions.index(float(match[2]))]
            cells.append(Cell(label, match[1], place, value=choice))
        else:
            cells.append(Cell(label, label, 0.0, value=choice))
    return tuple(cells)


def _numbers(distribution: IntDistribution | FloatDistribution, grid: int) -> tuple[Cell, ...]:
    low, high = distribution.low, distribution.high
    step = distribution.step
    count = grid + 1 if step is None else round((high - low) / step) + 1
    if count <= grid and step is not None:
        values = [low + i * step for i in range(count)]
        places = [_forward(distribution, float(value)) for value in values]
        length = max(places[-1] - places[0], 1e-12)
        return tuple(
            Cell(repr(v), "", (p - places[0]) / length, p, p, value=v)
            for v, p in zip(values, places, strict=True)
        )
    edges = np.linspace(_forward(distribution, low), _forward(distribution, high), grid + 1)
    return tuple(
        Cell(f"cell {i}", "", (i + 0.5) / grid, float(edges[i]), float(edges[i + 1]))
        for i in range(grid)
    )


def _forward(distribution: IntDistribution | FloatDistribution, value: float) -> float:
    return float(np.log(value)) if distribution.log else float(value)


def _places(values: Sequence[float]) -> list[float]:
    """Return positions from 0 to 1: of the logarithms where the values span a factor of four."""
    array = np.asarray(values, dtype=float)
    if array.min() > 0 and array.max() >= 4 * array.min():
        array = np.log(array)
    length = float(np.ptp(array))
    return list((array - array.min()) / length) if length > 0 else [0.0] * len(values)


def _is_number(value: Any) -> bool:
    finite = isinstance(value, int | float) and not isinstance(value, bool)
    return finite and bool(np.isfinite(value))
