"""Thompson sampling: draw a function from the posterior and find the candidate where it is best."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from service.study.additive.features import Floats, Hashes, mix
from service.study.additive.kernel import Kernel
from service.study.additive.model import Ints, Posterior, Setting, cholesky
from service.study.additive.space import Codes

LISTED = 2048
"""Spaces of at most so many candidates are enumerated."""

HASHES = 32
"""Random partitions that make up a draw of the local part."""

UNTEMPERED = 3
"""Spaces of at most so many axes are searched with whole draws."""

STARTS = 16
SWEEPS = 10
CLIMBS = 4

_NORMALS = np.random.default_rng(11).standard_normal(4096)
"""What a hash of 12 bits stands for in a draw."""


@dataclass(frozen=True)
class Draw:
    """A function over candidates, drawn from the prior under one setting.

    Attributes:
        spreads: Standard deviations of the local and the individual part.
        main: The effect of each column.
        pairs: The effect of two columns together, symmetrical.
        local: `(HASHES, columns)` random numbers, equal for levels of one class.
        individual: The same for each column.
    """

    kernel: Kernel
    spreads: Floats
    main: Floats
    pairs: Floats
    local: Hashes
    individual: Hashes

    def values(self, codes: Codes) -> Floats:
        """Return the function at candidates."""
        columns, hot = self.kernel.columns(codes), self.kernel.hot(codes)
        total = hot @ self.main + ((hot @ self.pairs) * hot).sum(axis=1) / 2
        total += self.spreads[1] * _normals(self.individual[columns].sum(axis=1))
        keys = np.zeros((len(codes), HASHES), dtype=np.uint64)
        for axis in range(columns.shape[1]):
            keys += self.local.T[columns[:, axis]]
        return np.asarray(total + self.spreads[0] / np.sqrt(HASHES) * _normals(keys).sum(axis=1))


class Sample:
    """A function drawn from the posterior: a draw from the prior, corrected by the data.

    In spaces of many axes the draw is tempered: it differs from the expectation by a part of
    what it would. The errors of many effects add up in a candidate, so that untempered the best
    one is mostly a candidate of which little is known.
    """

    def __init__(self, posterior: Posterior, rng: np.random.Generator) -> None:
        self._posterior, kernel, data = posterior, posterior.kernel, posterior.data
        setting = posterior.setting
        temper = min(1.0, float(np.sqrt(UNTEMPERED / len(kernel.space.axes))))
        spread = temper * float(np.sqrt(posterior.scale))
        self._draw = draw_prior(kernel, setting, spread, rng)
        noise = rng.standard_normal(len(data)) * np.sqrt(setting.noise * (1 + data.inflation))
        blocks = rng.standard_normal(len(data))[_first_of_block(data.blocks)]
        errors = spread * (noise + np.sqrt(setting.block) * blocks)
        drawn = self._draw.values(posterior.distinct)[posterior.place]
        self._weights = posterior.pooled(posterior.solve(data.values - drawn - errors))

    def values(self, codes: Codes) -> Floats:
        """Return the function at candidates, up to a constant."""
        cross = self._posterior.side.covariance(codes)
        return np.asarray(self._draw.values(codes) + cross @ self._weights)

    @cached_property
    def main(self) -> Floats:
        """The main effect of each column."""
        return np.asarray(self._draw.main + self._weights @ self._posterior.side.main)

    @cached_property
    def pairs(self) -> Floats:
        """The effect of two columns together."""
        kernel, rows = self._posterior.kernel, self._posterior.side.linear
        share = self._posterior.setting.weights[-3] / kernel.pair_count
        update = share * (rows.T * self._weights) @ rows
        return np.asarray(self._draw.pairs + _between_axes(kernel, update))


def draw_prior(kernel: Kernel, setting: Setting, spread: float, rng: np.random.Generator) -> Draw:
    """Draw a function from the prior, times `spread`."""
    size = int(kernel.offsets[-1])
    main = kernel.main_covariance(setting.shares)
    root = cholesky(main + 1e-9 * np.eye(size))
    upper = _between_axes(kernel, np.triu(rng.standard_normal((size, size)), 1))
    for first, end in pairwise(kernel.offsets):
        own = kernel.axis_root[first:end, first:end]
        upper[first:end] = own @ upper[first:end]
        upper[:, first:end] = upper[:, first:end] @ own.T
    pairs = spread * np.sqrt(setting.weights[-3] / kernel.pair_count) * (upper + upper.T)
    return Draw(
        kernel,
        spread * np.sqrt(setting.shares[-2:]),
        spread * root @ rng.standard_normal(size),
        pairs,
        _local_keys(kernel, rng),
        rng.integers(0, 2**64, size, dtype=np.uint64),
    )


def best_candidate(sample: Sample, known: Codes, taken: Codes, rng: np.random.Generator) -> Codes:
    """Return the candidate where a drawn function is largest.

    Args:
        known: Candidates from which a space that cannot be listed is searched.
        taken: Candidates that are not wanted, unless there is no other.
    """
    space = sample._posterior.kernel.space
    if space.size <= LISTED:
        pool = without(space.enumerate(), taken)
        pool = pool if len(pool) else space.enumerate()
        return np.asarray(pool[_first_best(sample.values(pool))])
    starts = rng.integers(0, space.sizes, (STARTS, len(space.sizes)))
    half = known[: STARTS // 2]
    starts[: len(half)] = half
    peaks = np.unique(np.concatenate([_ascend(sample, starts), known[:4]]), axis=0)
    return _climb(sample, peaks, taken)


def without(pool: Codes, taken: Codes) -> Codes:
    """Return those of a pool that are not taken."""
    if not len(taken):
        return pool
    out = set(map(tuple, taken.tolist()))
    free = np.array([tuple(code) not in out for code in pool.tolist()], dtype=bool)
    return np.asarray(pool[free])


def neighbours(code: Codes, sizes: tuple[int, ...]) -> Codes:
    """Return the candidates that differ from one at one axis, the candidate itself first."""
    rows = [code]
    for axis, size in enumerate(sizes):
        for level in range(size):
            if level != code[axis]:
                other = code.copy()
                other[axis] = level
                rows.append(other)
    return np.array(rows)


def _ascend(sample: Sample, starts: Codes) -> Codes:
    """Ascend coordinate by coordinate on main effects and pairs, from all starts at once."""
    kernel = sample._posterior.kernel
    codes, pairs = starts.copy(), sample.pairs
    fields = sample.main + pairs[kernel.columns(codes)].sum(axis=1)
    for _ in range(SWEEPS):
        before = codes.copy()
        for axis, first in enumerate(kernel.offsets[:-1]):
            level = fields[:, first : kernel.offsets[axis + 1]].argmax(axis=1)
            fields += pairs[first + level] - pairs[first + codes[:, axis]]
            codes[:, axis] = level
        if np.array_equal(before, codes):
            break
    return codes


def _climb(sample: Sample, peaks: Codes, taken: Codes) -> Codes:
    """Climb the whole function from the best peak, neighbour by neighbour; never stop on a
    candidate that is taken while a neighbour is free.
    """
    sizes = sample._posterior.kernel.space.sizes
    best = peaks[_first_best(sample.values(peaks))]
    for _ in range(CLIMBS):
        around = neighbours(best, sizes)
        values = sample.values(around)
        place = _first_best(values)
        if place == 0:
            break
        best = around[place]
    around = neighbours(best, sizes)
    free = without(around, taken)
    pool = free if len(free) else around
    return np.asarray(pool[_first_best(sample.values(pool))])


def _first_best(values: Floats) -> int:
    """Return the first of the largest, equal ones being those that rounding tells apart."""
    top = float(values.max())
    margin = 1e-9 * (1.0 + float(np.abs(values).max()))
    return int(np.argmax(values >= top - margin))


def _first_of_block(blocks: Ints) -> Ints:
    """Return for each observation the first of its block, or itself."""
    first: dict[int, int] = {}
    return np.array(
        [i if block < 0 else first.setdefault(int(block), i) for i, block in enumerate(blocks)],
        dtype=np.int64,
    )


def _between_axes(kernel: Kernel, matrix: Floats) -> Floats:
    """Drop what a matrix over columns has between columns of one axis."""
    kept = matrix.copy()
    for first, end in pairwise(kernel.offsets):
        kept[first:end, first:end] = 0.0
    return kept


def _local_keys(kernel: Kernel, rng: np.random.Generator) -> Hashes:
    keys = np.zeros((HASHES, kernel.offsets[-1]), dtype=np.uint64)
    for family in kernel.families:
        for axis, members in zip(family.axes, family.members, strict=True):
            counted = rng.random((HASHES, 1)) >= kernel.ignored
            own = family.levels.hashes(HASHES, rng)[:, members]
            keys[:, kernel.offsets[axis] : kernel.offsets[axis + 1]] = np.where(counted, own, 0)
    return keys


def _normals(keys: Hashes) -> Floats:
    """Return a standard normal number for each hash."""
    return np.asarray(_NORMALS[(mix(keys) >> np.uint64(52)).astype(np.int64)])
