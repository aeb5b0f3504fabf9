"""How people read numbers and trials: the same on a terminal, in a report and in a table."""

from search_space.contract import is_fraction


def value_text(metric: str, value: float) -> str:
    """Write a value of the metric: fractions in percent."""
    return f"{100 * value:.2f} %" if is_fraction(metric) else f"{value:.4g}"


def difference_text(metric: str, value: float) -> str:
    """Write a difference of two values of the metric: of fractions in points."""
    return f"{100 * value:+.2f} points" if is_fraction(metric) else f"{value:+.4g}"


def trial_name(number: int, label: str | None) -> str:
    """Write a trial's label, where it has one, and its number."""
    return f"trial {number}" if label is None else f"{label}, trial {number}"


def duration_text(seconds: float) -> str:
    """Write a duration as `M:SS`, from one hour on as `H:MM:SS`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
