"""The covariance of two candidates: a sum of parts from purely additive to purely individual."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from service.study.additive.features import Family, Floats, families_of
from service.study.additive.space import Codes, Space

REACH = 3.0
"""Two candidates that differ everywhere correlate by exp(-REACH) in the local part."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """The parts of the covariance, each of mean variance 1 over the space.

    A candidate is a set of columns, one for each axis: the level that it has there. Main effects
    are a Gaussian over columns, so each of their parts is a matrix `(columns, columns)`.
    """

    space: Space

    @cached_property
    def families(self) -> tuple[Family, ...]:
        return families_of(self.space)

    @cached_property
    def offsets(self) -> Codes:
        """The first column of each axis, and the number of all columns."""
        return np.concatenate([[0], np.cumsum(self.space.sizes)]).astype(np.int64)

    def columns(self, codes: Codes) -> Codes:
        """Return the columns `(n, axes)` of candidates."""
        return codes + self.offsets[:-1]

    @cached_property
    def main(self) -> dict[str, Floats]:
        """The covariances of main effects, by `family/component`."""
        parts = {}
        for family in self.families:
            name = self.space.axes[family.axes[0]].name
            for component, coupling in family.couplings.items():
                parts[f"{name}/{component}"] = self._spread(family, coupling / len(family.axes))
        return parts

    @property
    def parts(self) -> tuple[str, ...]:
        """The names of all parts, in the order of their weights."""
        return (*self.main, "pairs", "local", "individual")

    @cached_property
    def axis_covariance(self) -> Floats:
        """Centred covariances of levels `(columns, columns)`, without any between axes."""
        total = np.zeros((self.offsets[-1], self.offsets[-1]))
        for family in self.families:
            total += self._spread(family, np.eye(len(family.axes)))
        return total

    @cached_property
    def axis_root(self) -> Floats:
        """A triangular root of `axis_covariance`."""
        covariance = self.axis_covariance + 1e-9 * np.eye(self.offsets[-1])
        return np.asarray(np.linalg.cholesky(covariance), dtype=np.float64)

    @cached_property
    def log_local(self) -> Floats:
        """Logarithms of the local part's factor for each axis, 0 between axes."""
        keep = self.ignored
        total = np.zeros((self.offsets[-1], self.offsets[-1]))
        for family in self.families:
            factor = np.log(keep + (1 - keep) * family.levels.correlation)
            for axis, members in zip(family.axes, family.members, strict=True):
                own = slice(self.offsets[axis], self.offsets[axis + 1])
                total[own, own] = factor[np.ix_(members, members)]
        return total

    @property
    def ignored(self) -> float:
        """How far candidates that differ at one axis still correlate in the local part."""
        return float(np.exp(-REACH / max(len(self.space.axes), 1)))

    @property
    def pair_count(self) -> float:
        """Number of pairs of axes, at least 1."""
        count = len(self.space.axes)
        return max(count * (count - 1) / 2, 1.0)

    def main_covariance(self, weights: Floats) -> Floats:
        """Return the covariance of main effects under weights of all parts."""
        total = np.zeros((self.offsets[-1], self.offsets[-1]))
        for weight, part in zip(weights, self.main.values(), strict=False):
            total += weight * part
        return total

    def components(self, codes: Codes) -> Floats:
        """Return all parts between candidates, `(parts, n, n)`."""
        hot = self.hot(codes)
        mains = [hot @ part @ hot.T for part in self.main.values()]
        return np.array([*mains, *_rest(hot, self.side(codes, np.zeros(len(self.parts))))])

    def covariance(self, some: Codes, others: Codes, weights: Floats) -> Floats:
        """Return the weighted sum of the parts between candidates, `(n, m)`."""
        return self.side(others, weights).covariance(some)

    def side(self, codes: Codes, weights: Floats) -> "Side":
        """Return candidates, made ready for their covariances with others."""
        hot = self.hot(codes)
        linear = self.axis_covariance
        return Side(
            self,
            weights,
            hot @ self.main_covariance(weights),
            hot @ linear,
            hot @ linear**2,
            hot @ self.log_local,
            hot,
        )

    def hot(self, codes: Codes) -> Floats:
        """Return candidates as rows of zeros with a one in each of their columns."""
        rows = np.zeros((len(codes), self.offsets[-1]))
        np.put_along_axis(rows, self.columns(codes), 1.0, axis=1)
        return rows

    def variance(self, codes: Codes, weights: Floats) -> Floats:
        """Return the variance of each candidate."""
        x = self.columns(codes)
        main = self.main_covariance(weights)
        total = main[x[:, :, None], x[:, None]].sum(axis=(1, 2))
        own = self.axis_covariance[x, x]
        pairs = (own.sum(axis=1) ** 2 - (own**2).sum(axis=1)) / 2 / self.pair_count
        return np.asarray(total + weights[-3] * pairs + weights[-2] + weights[-1])

    def _spread(self, family: Family, coupling: Floats) -> Floats:
        """Lay the levels' covariance out over the columns of a family's axes."""
        total = np.zeros((self.offsets[-1], self.offsets[-1]))
        centred = family.levels.centred
        for s, (axis, members) in enumerate(zip(family.axes, family.members, strict=True)):
            rows = slice(self.offsets[axis], self.offsets[axis + 1])
            for t, (other, its) in enumerate(zip(family.axes, family.members, strict=True)):
                if coupling[s, t]:
                    block = coupling[s, t] * centred[np.ix_(members, its)]
                    total[rows, self.offsets[other] : self.offsets[other + 1]] = block
        return total


@dataclass(frozen=True, eq=False)
class Side:
    """Candidates of which many covariances with others are asked for.

    Attributes:
        main, linear, square, log_local, hot: `(candidates, columns)`: what a column of another
            candidate adds to each part.
    """

    kernel: Kernel
    weights: Floats
    main: Floats
    linear: Floats
    square: Floats
    log_local: Floats
    hot: Floats

    def covariance(self, codes: Codes) -> Floats:
        """Return the weighted sum of the parts between others and these, `(n, candidates)`."""
        hot = self.kernel.hot(codes)
        total = hot @ self.main.T
        # In place: for a thousand candidates the passes over memory take most of the time.
        for weight, part in zip(self.weights[-3:], _rest(hot, self), strict=True):
            part *= weight
            total += part
        return total


def _rest(hot: Floats, side: Side) -> tuple[Floats, Floats, Floats]:
    """Return the parts for pairs of axes, for neighbours, and for each candidate by itself."""
    pairs = hot @ side.linear.T
    pairs *= pairs
    pairs -= hot @ side.square.T
    pairs /= 2 * side.kernel.pair_count
    local = hot @ side.log_local.T
    np.exp(local, out=local)
    # Where all ones are at the same places; sums of ones are exact.
    same = hot @ side.hot.T
    np.equal(same, len(side.kernel.space.axes), out=same)
    return pairs, local, same
