"""How numbers are written in a report and in a paper."""

from statistics import stdev

from search_space.contract import is_fraction
from service.schemas.results import ComparisonAnswer
from service.verdict import Sample


def scale(metric: str) -> tuple[float, str]:
    """Return by what a metric is multiplied to be read, and the unit: fractions in percent."""
    return (100.0, "%") if is_fraction(metric) else (1.0, "")


def one(value: float | None, metric: str) -> str:
    """Write a value, or a dash."""
    factor, unit = scale(metric)
    return "-" if value is None else f"{factor * value:.2f}{' ' if unit else ''}{unit}"


def spread(sample: Sample, metric: str) -> str:
    """Write mean, standard deviation and number of a sample."""
    factor, unit = scale(metric)
    deviation = f" ± {factor * stdev(sample.values):.2f}" if len(sample.values) > 1 else ""
    return f"{factor * sample.mean:.2f}{deviation}{' ' if unit else ''}{unit}"


def gain(value: float | None, metric: str) -> str:
    """Write a difference, in points where the metric is in percent."""
    factor, unit = scale(metric)
    return "-" if value is None else f"{factor * value:+.2f}{' points' if unit else ''}"


def interval(found: ComparisonAnswer, metric: str) -> str:
    """Write a difference with its 95 % interval."""
    factor, _ = scale(metric)
    low, high = factor * found.low, factor * found.high
    return f"{gain(found.difference, metric)} [{low:.2f}, {high:.2f}]"
