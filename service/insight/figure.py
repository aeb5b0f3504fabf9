"""Plotly figures as plain data: the page, a notebook or Plotly itself draws them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

MAX_POINTS = 1000
"""Of one figure, however many trials a search has."""

Figure = dict[str, Any]
Item = TypeVar("Item")


def figure(traces: Sequence[Figure], *, x: str, y: str, **layout: Any) -> Figure:
    """Return a figure with titles at its axes; `layout` adds to Plotly's layout."""
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


def downsample(items: Sequence[Item], limit: int = MAX_POINTS) -> Sequence[Item]:
    """Return at most `limit` items, evenly spread, always with the last."""
    step = -(-len(items) // limit)
    # From the end, so that the most recent item is among them.
    return items if step <= 1 else items[::-1][::step][::-1]


def meta(**facts: Any) -> Mapping[str, Any]:
    """Return a part of a layout with facts about a figure, which Plotly ignores."""
    return {"meta": facts}
