"""A Gaussian process over candidates, with its shares, noise and blocks by marginal likelihood."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from service.study.additive.features import Floats
from service.study.additive.kernel import Kernel
from service.study.additive.space import Codes

Ints = NDArray[np.int64]

FITTED_ON = 160
"""Hyperparameters are chosen on at most so many observations, evenly taken."""

DRAWN, REFINED, KEPT = 96, 48, 24
"""Settings drawn from the prior, drawn around the best of these, and kept."""

JITTER = 1e-8


@dataclass(frozen=True)
class Data:
    """What was observed, on a scale where the spread of the better half is about 1.

    Attributes:
        codes: The candidate of each observation.
        values: Larger is better.
        blocks: Observations of one seed block have one number; -1: a block of its own.
        inflation: How much the noise of a value exceeds that of one trained to its end, as a
            share of it.
    """

    codes: Codes
    values: Floats
    blocks: Ints
    inflation: Floats

    def __len__(self) -> int:
        return len(self.values)

    @cached_property
    def same_block(self) -> Floats:
        """1 for two observations of one block, `(n, n)`."""
        return common_block(self.blocks, self.blocks)

    def take(self, rows: Ints) -> "Data":
        return Data(self.codes[rows], self.values[rows], self.blocks[rows], self.inflation[rows])


@dataclass(frozen=True)
class Setting:
    """One setting of the hyperparameters: variances in units of the process' scale.

    Attributes:
        weights: Of the kernel's parts; with `noise` they sum to 1.
        block: Variance of what all trainings of a block have in common.
    """

    weights: tuple[float, ...]
    noise: float
    block: float

    @cached_property
    def shares(self) -> Floats:
        return np.array(self.weights)


@dataclass(frozen=True)
class Fit:
    """Settings with their posterior probabilities, the likeliest first."""

    settings: tuple[Setting, ...]
    probabilities: tuple[float, ...]

    def draw(self, rng: np.random.Generator) -> Setting:
        """Return one of the settings, as often as it is likely."""
        place = int(np.searchsorted(np.cumsum(self.probabilities), rng.random()))
        return self.settings[min(place, len(self.settings) - 1)]


class Posterior:
    """The process given the data, under one setting and an unknown constant mean."""

    def __init__(self, kernel: Kernel, data: Data, setting: Setting) -> None:
        self.kernel, self.data, self.setting = kernel, data, setting
        # Candidates are trained again in other blocks: covariances are computed once for each.
        self.distinct, place = np.unique(data.codes, axis=0, return_inverse=True)
        self.place = place.reshape(-1)
        self.side = kernel.side(self.distinct, setting.shares)
        covariance = self.side.covariance(self.distinct)[np.ix_(self.place, self.place)]
        covariance += setting.block * data.same_block
        covariance[np.diag_indices(len(data))] += setting.noise * (1 + data.inflation) + JITTER
        self._factor = cholesky(covariance)
        self._ones = solve(self._factor, np.ones(len(data)))
        self._precision = float(self._ones.sum())
        self.weights = self.solve(data.values)
        self.mean = float(self._ones @ data.values) / self._precision
        # As in the likelihood: settings rest on fewer data than there may be by now.
        self.scale = (float(data.values @ self.weights) + 1.0) / (len(data) + 1)

    def solve(self, values: Floats) -> Floats:
        """Return the inverse covariance times values less their estimated mean."""
        solved = solve(self._factor, values)
        total = np.multiply.outer(self._ones, solved.sum(axis=0)) / self._precision
        return np.asarray(solved - total)

    def pooled(self, values: Floats) -> Floats:
        """Return the sum of what the observations of each distinct candidate have."""
        return np.asarray(np.bincount(self.place, values, len(self.distinct)), dtype=np.float64)

    def means(self, codes: Codes) -> Floats:
        """Return the expectation of each candidate, with that of the constant mean."""
        return np.asarray(self.mean + self.side.covariance(codes) @ self.pooled(self.weights))

    @property
    def fitted(self) -> Floats:
        """The expectation of the candidate of each observation."""
        data, setting = self.data, self.setting
        own = setting.noise * (1 + data.inflation) + JITTER
        # What is not the candidate's: its noise, and what its block has in common.
        return np.asarray(
            data.values - own * self.weights - setting.block * (data.same_block @ self.weights)
        )

    def covariance(self, codes: Codes) -> Floats:
        """Return the covariance of candidates, with what is unknown of the constant mean."""
        cross = self.side.covariance(codes)[:, self.place].T
        inner = cross.T @ solve(self._factor, cross)
        unexplained = 1 - cross.T @ self._ones
        total = self.kernel.covariance(codes, codes, self.setting.shares) - inner
        total += np.multiply.outer(unexplained, unexplained) / self._precision
        return np.asarray(self.scale * total)

    @cached_property
    def left_out(self) -> tuple[Floats, Floats]:
        """Mean and variance of each observation predicted from all others."""
        inverse = lapack.dpotri(self._factor, lower=1)[0]
        diagonal = np.diag(inverse) - self._ones**2 / self._precision
        # An observation that alone determines the mean cannot be predicted from the others.
        diagonal = np.maximum(diagonal, 1e-12)
        return self.data.values - self.weights / diagonal, self.scale / diagonal


def fit(kernel: Kernel, data: Data) -> Fit:
    """Choose settings by marginal likelihood: drawn from the prior, then around the best.

    The draws are the same at every call: equal data give equal settings.
    """
    data = evenly(data)
    parts = kernel.components(data.codes)
    rng = np.random.default_rng(7)
    drawn = [_from_prior(kernel, data, rng) for _ in range(DRAWN)]
    scores = [_likelihood(one, parts, data) for one in drawn]
    best = np.argsort(-np.array(scores), kind="stable")[:6]
    drawn += [_near(drawn[best[i % len(best)]], rng) for i in range(REFINED)]
    scores += [_likelihood(one, parts, data) for one in drawn[DRAWN:]]
    order = np.argsort(-np.array(scores), kind="stable")[:KEPT]
    weights = np.exp(np.array(scores)[order] - scores[order[0]])
    return Fit(tuple(drawn[i] for i in order), tuple(weights / weights.sum()))


def evenly(data: Data) -> Data:
    """Return at most `FITTED_ON` observations, evenly taken."""
    if len(data) <= FITTED_ON:
        return data
    return data.take(np.linspace(0, len(data) - 1, FITTED_ON).round().astype(np.int64))


def common_block(some: Ints, others: Ints) -> Floats:
    """Return 1 where two observations are of one block, `(n, m)`."""
    same = (some[:, None] == others[None]) & (some >= 0)[:, None]
    return np.asarray(same, dtype=np.float64)


def cholesky(matrix: Floats) -> Floats:
    """Return the lower factor. Raises `LinAlgError` for a matrix that is not positive."""
    factor, info = lapack.dpotrf(matrix, lower=1, clean=1)
    if info:
        raise np.linalg.LinAlgError(f"not positive definite at row {info}")
    return np.asarray(factor)


def solve(factor: Floats, values: Floats) -> Floats:
    """Return the inverse of a factored matrix times values."""
    columns = values.reshape(len(values), -1)
    return np.asarray(lapack.dpotrs(factor, columns, lower=1)[0]).reshape(values.shape)


def log_densities(
    values: Floats,
    means: Sequence[Floats],
    variances: Sequence[Floats],
    probabilities: Sequence[float],
) -> Floats:
    """Return the log density of each value under a mixture of Gaussians."""
    spread = np.array(variances)
    each = -0.5 * ((values - np.array(means)) ** 2 / spread + np.log(2 * np.pi * spread))
    each += np.log(np.maximum(np.array(probabilities), 1e-300))[:, None]
    top = each.max(axis=0)
    return np.asarray(top + np.log(np.exp(each - top).sum(axis=0)))


def _likelihood(setting: Setting, parts: Floats, data: Data) -> float:
    """Return the log marginal likelihood, with the constant mean and the scale integrated out.

    The mean has a flat prior, the scale an inverse gamma of two degrees of freedom.
    """
    count = len(data)
    covariance = (setting.shares @ parts.reshape(len(parts), -1)).reshape(count, count)
    if setting.block:
        covariance += setting.block * data.same_block
    covariance[np.diag_indices(count)] += setting.noise * (1 + data.inflation) + JITTER
    factor = cholesky(covariance)
    right = np.column_stack([data.values, np.ones(count)])
    white = lapack.dtrtrs(factor, right, lower=1)[0]
    precision = float(white[:, 1] @ white[:, 1])
    mean = float(white[:, 0] @ white[:, 1]) / precision
    residual = white[:, 0] - mean * white[:, 1]
    scale = (float(residual @ residual) + 1.0) / (count + 1)
    half_determinant = float(np.log(np.diag(factor)).sum())
    return float(-0.5 * ((count + 1) * np.log(scale) + np.log(precision)) - half_determinant)


def _from_prior(kernel: Kernel, data: Data, rng: np.random.Generator) -> Setting:
    """Draw shares from purely additive to purely individual, noise from little to most."""
    orders = rng.dirichlet([1.2, 0.5, 0.5, 0.25])
    of_family = rng.dirichlet(np.ones(len(kernel.families)))
    mains = [
        orders[0] * part * within
        for part, family in zip(of_family, kernel.families, strict=True)
        for within in rng.dirichlet(np.full(len(family.couplings), 0.8))
    ]
    noise = float(1 / (1 + np.exp(-rng.normal(-1.2, 1.3))))
    block = noise * float(np.exp(rng.normal(0.0, 1.5))) if _has_pairs(data) else 0.0
    weights = (1 - noise) * np.array([*mains, *orders[1:]])
    return Setting(tuple(weights), noise, block)


def _near(setting: Setting, rng: np.random.Generator) -> Setting:
    """Draw a setting around another: every variance by a factor."""
    factors = np.exp(rng.normal(0.0, 0.5, len(setting.weights) + 2))
    weights, noise = setting.shares * factors[:-2], setting.noise * factors[-2]
    total = float(weights.sum() + noise)
    return Setting(
        tuple(weights / total), float(noise / total), float(setting.block * factors[-1] / total)
    )


def _has_pairs(data: Data) -> bool:
    """Whether blocks say anything: some hold several observations, and there is more than one."""
    known = data.blocks[data.blocks >= 0]
    count = len(np.unique(known))
    return 0 < count < len(known) and (count > 1 or len(known) < len(data))
