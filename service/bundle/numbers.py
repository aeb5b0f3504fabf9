"""How numbers are written in a report and in a paper."""

from statistics import stdev

from search_space.contract import is_fraction
from service.results.verdict import Sample
from service.schemas.results import ComparisonAnswer


def scale(metric: str) -> tuple[float, str]:
    """Return by what a metric is multiplied to be read, and the unit: fractions in percent."""
    return (100.0, "%") if is_fraction(metric) else (1.0, "")


def one(value: float | None, metric: str) -> str:
    """Write a value, or a dash."""
    return "-" if value is None else f"{_digits(value, metric)}{_unit(metric)}"


def spread(sample: Sample, metric: str) -> str:
    """Write mean, standard deviation and number of a sample."""
    more = len(sample.values) > 1
    deviation = f" ± {_digits(stdev(sample.values), metric)}" if more else ""
    return f"{_digits(sample.mean, metric)}{deviation}{_unit(metric)}"


def gain(value: float | None, metric: str) -> str:
    """Write a difference, in points where the metric is in percent."""
    points = " points" if is_fraction(metric) else ""
    return "-" if value is None else f"{_digits(value, metric, sign='+')}{points}"


def interval(found: ComparisonAnswer, metric: str) -> str:
    """Write a difference with its 95 % interval."""
    low, high = _digits(found.low, metric), _digits(found.high, metric)
    return f"{gain(found.difference, metric)} [{low}, {high}]"


def _digits(value: float, metric: str, sign: str = "") -> str:
    # A metric that is no fraction may be of any size.
    return format(100 * value, f"{sign}.2f") if is_fraction(metric) else format(value, f"{sign}.4g")


def _unit(metric: str) -> str:
    _, unit = scale(metric)
    return f" {unit}" if unit else ""
