"""How people read values, differences and trials, on a terminal, in a figure and in a report."""

from collections.abc import Sequence
from statistics import mean, stdev

from search_space.contract import is_fraction

MISSING = "-"


def metric_label(metric: str) -> str:
    """Write `test_accuracy` as `test accuracy`."""
    return metric.replace("_", " ")


def display_scale(metric: str) -> tuple[float, str]:
    """Return the factor and the unit to show a metric in: fractions in percent."""
    return (100.0, "%") if is_fraction(metric) else (1.0, "")


def value_text(metric: str, value: float | None) -> str:
    """Write a value: fractions in percent; a dash for None."""
    return MISSING if value is None else f"{_digits(metric, value)}{_unit(metric)}"


def mean_text(metric: str, values: Sequence[float]) -> str:
    """Write the mean of values, with their standard deviation if there are several."""
    deviation = f" ± {_digits(metric, stdev(values))}" if len(values) > 1 else ""
    return f"{_digits(metric, mean(values))}{deviation}{_unit(metric)}"


def difference_text(metric: str, value: float | None) -> str:
    """Write a difference of two values with its sign: of fractions in points; a dash for None."""
    points = " points" if is_fraction(metric) else ""
    return MISSING if value is None else f"{_digits(metric, value, sign='+')}{points}"


def interval_text(metric: str, difference: float, low: float, high: float) -> str:
    """Write a difference with the ends of its interval."""
    ends = f"[{_digits(metric, low)}, {_digits(metric, high)}]"
    return f"{difference_text(metric, difference)} {ends}"


def trial_name(number: int | None, label: str | None) -> str:
    """Write `trial 3`, or `uniform silu, trial 3` for a trial with a label."""
    return f"trial {number}" if label is None else f"{label}, trial {number}"


def short_trial_name(number: int | None, label: str | None) -> str:
    """Write the label of a trial, or `trial 3` for one without."""
    return label or f"trial {number}"


def duration_text(seconds: float) -> str:
    """Write a duration as `M:SS`, from one hour on as `H:MM:SS`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _digits(metric: str, value: float, sign: str = "") -> str:
    # A metric that is no fraction may be of any size.
    return format(100 * value, f"{sign}.2f") if is_fraction(metric) else format(value, f"{sign}.4g")


def _unit(metric: str) -> str:
    _, unit = display_scale(metric)
    return f" {unit}" if unit else ""
