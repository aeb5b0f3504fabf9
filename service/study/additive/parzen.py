"""How well the density ratio that TPE follows predicts, and how well the model does."""

from math import ceil

import numpy as np
from scipy.special import ndtr

from service.study.additive.features import Floats
from service.study.additive.kernel import Kernel
from service.study.additive.model import Data, Fit, Posterior

BETTER = 0.25
"""The share of the trials that is to be told from the rest."""

LIKELIEST = 8
"""Settings that the model is judged with."""

SUREST = 0.995
"""No prediction counts as surer than that."""


def better_part(values: Floats) -> Floats:
    """Return 1 for the better part of the values, 0 for the rest."""
    count = max(1, ceil(BETTER * len(values)))
    marks = np.zeros(len(values))
    marks[np.argsort(-values, kind="stable")[:count]] = 1.0
    return marks


def density_ratio_scores(kernel: Kernel, data: Data) -> Floats:
    """Return the log-likelihood of each trial's part, predicted by Parzen estimators of others.

    As TPE does: one density of the better part and one of the rest, each a mixture of a product
    of kernels around each trial and of the uniform distribution.
    """
    better = better_part(data.values)
    density = _products(kernel, data)
    np.fill_diagonal(density, 0.0)
    uniform = 1.0 / np.prod(np.array(kernel.space.sizes, dtype=float))
    sums = np.array([density @ (1 - better), density @ better]) + uniform
    counts = np.array([(1 - better).sum() - (1 - better), better.sum() - better])
    joint = counts * sums / (counts + 1)
    return _log_likelihood(joint[1] / np.maximum(joint.sum(axis=0), 1e-300), better)


def model_scores(kernel: Kernel, data: Data, fit: Fit) -> Floats:
    """Return the log-likelihood of each trial's part, predicted by the model from the others."""
    better = better_part(data.values)
    border = float(data.values[better == 1].min())
    chances = np.zeros(len(data))
    likeliest = fit.probabilities[:LIKELIEST]
    for setting, probability in zip(fit.settings, likeliest, strict=False):
        means, variances = Posterior(kernel, data, setting).left_out
        chances += probability * ndtr((means - border) / np.sqrt(variances))
    return _log_likelihood(chances / sum(likeliest), better)


def share_of(some: Floats, others: Floats) -> float:
    """Return how sure it is that the first of two predictors is the better one."""
    differences = some - others
    spread = float(differences.std(ddof=1)) if len(differences) > 1 else 0.0
    if spread == 0.0:
        return 0.5
    return float(ndtr(differences.mean() / spread * np.sqrt(len(differences))))


def _products(kernel: Kernel, data: Data) -> Floats:
    """Return the density of a product kernel around each trial, `(at, around)`."""
    total = np.ones((len(data), len(data)))
    for family in kernel.families:
        for axis, members in zip(family.axes, family.members, strict=True):
            alike = family.levels.correlation[np.ix_(members, members)] + 1.0 / len(data)
            alike /= alike.sum(axis=0)
            levels = data.codes[:, axis]
            total *= alike[np.ix_(levels, levels)]
    return total


def _log_likelihood(chances: Floats, happened: Floats) -> Floats:
    sure = np.clip(chances, 1 - SUREST, SUREST)
    return np.asarray(np.where(happened == 1, np.log(sure), np.log1p(-sure)))
