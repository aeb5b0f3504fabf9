"""A sampler for Optuna that learns what a choice does at each of many similar places."""

from service.study.additive.estimates import Effect, Estimate, Estimates
from service.study.additive.mixed import AutoSampler
from service.study.additive.sampler import AdditiveSampler
from service.study.additive.space import Parent, Site

__all__ = [
    "AdditiveSampler",
    "AutoSampler",
    "Effect",
    "Estimate",
    "Estimates",
    "Parent",
    "Site",
]
