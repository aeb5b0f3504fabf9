"""Plotly figures as plain data, so that a page, a notebook or Plotly itself can draw them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

MAX_POINTS = 1000
"""A figure has at most so many points, whatever the search has."""

Figure = dict[str, Any]
Point = TypeVar("Point")


def figure(traces: Sequence[Figure], *, x: str, y: str, **layout: Any) -> Figure:
    """Return a figure with titles at its axes; `layout` has what else there is to lay out."""
    axes = {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}
    for name in axes:
        axes[name] |= layout.pop(name, {})
    return {"data": list(traces), "layout": {"hovermode": "closest", **axes, **layout}}


def scatter(name: str, points: Sequence[tuple[Any, Any]], mode: str, **more: Any) -> Figure:
    """Return a trace of points `(x, y)`."""
    return {
        "type": "scatter",
        "mode": mode,
        "name": name,
        "x": [x for x, _ in points],
        "y": [y for _, y in points],
        **more,
    }


def sampled(points: Sequence[Point], most: int = MAX_POINTS) -> Sequence[Point]:
    """Return at most `most` points, evenly spread, the last among them."""
    step = -(-len(points) // most)
    return points if step <= 1 else points[::-1][::step][::-1]


def readable(metric: str) -> str:
    return metric.replace("_", " ")


def note(**facts: Any) -> Mapping[str, Any]:
    """Return what a figure says about itself beside its traces, where Plotly ignores it."""
    return {"meta": facts}
