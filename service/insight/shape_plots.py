"""Draws learned activation functions as SVG."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MAX_COLUMNS = 4
_PANEL_INCHES = (2.6, 2.3)
_MAX_TITLE = 28
_ONE_CURVE = "#0072B2"
_REFERENCE = "#3C3C3C"
_RANGE = "#E69F00"
_TEXT = "#222222"
# Dark to light as well as blue to green, to be distinct with any kind of colour vision.
_CHANNELS = ("#003F6B", "#0072B2", "#56B4E9", "#00A98F")
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 8.0,
    "svg.fonttype": "none",
    "svg.hashsalt": "activation-search",
    "text.color": _TEXT,
    "axes.edgecolor": "#B0B0B0",
    "axes.labelcolor": _TEXT,
    "axes.linewidth": 0.8,
    "xtick.color": "#6B6B6B",
    "ytick.color": "#6B6B6B",
}

# Formulas again, beside those of `search_space.activations`: these need no torch.
_FUNCTIONS: Mapping[str, Callable[[float], float]] = {
    "relu": lambda x: max(x, 0.0),
    "silu": lambda x: x / (1.0 + math.exp(-x)) if x > -700 else 0.0,
    "gelu": lambda x: 0.5 * x * (1.0 + math.erf(x / math.sqrt(2.0))),
    "gelu_tanh": lambda x: (
        0.5 * x * (1.0 + math.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
    ),
}


def draw_shapes(shapes: bytes) -> bytes:
    """Return an SVG with one panel per site, in the order of depth.

    Args:
        shapes: The artifact `shapes.json` of a trial.
    """
    # It takes a second to load; the service itself must not load it.
    from matplotlib import rc_context

    with rc_context(STYLE):
        buffer = BytesIO()
        shapes_figure(json.loads(shapes)).savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def shapes_figure(shapes: Mapping[str, Any]) -> "Figure":
    """Return the figure of `draw_shapes`; draw and save it in `STYLE`."""
    from matplotlib.figure import Figure

    sites: Sequence[Mapping[str, Any]] = shapes["sites"]
    columns = max(1, min(_MAX_COLUMNS, len(sites)))
    rows = max(1, math.ceil(len(sites) / columns))
    width, height = _PANEL_INCHES
    figure = Figure(figsize=(columns * width, rows * height + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes, site in zip(panels, sites, strict=False):
        _draw_site(axes, site)
    for axes in panels[len(sites) :]:
        axes.set_visible(False)
    figure.legend(handles=_legend(), loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_site(axes: "Axes", site: Mapping[str, Any]) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    x, curves = site["x"], site["curves"]
    if site["low"] is not None and site["high"] is not None:
        axes.axvspan(site["low"], site["high"], color=_RANGE, alpha=0.14, linewidth=0)
    for set_line in (axes.axhline, axes.axvline):
        set_line(0.0, color="#D0D0D0", linewidth=0.7, zorder=1)
    colours = LinearSegmentedColormap.from_list("channels", _CHANNELS)
    for index, curve in enumerate(curves):
        colour = _ONE_CURVE if len(curves) == 1 else colours(index / (len(curves) - 1))
        axes.plot(x, curve, color=colour, linewidth=1.6 if len(curves) == 1 else 1.2, zorder=3)
    reference = _FUNCTIONS.get(site["original"])
    if reference is not None:
        y = [reference(value) for value in x]
        axes.plot(x, y, color=_REFERENCE, linewidth=1.1, linestyle=(0, (4, 2.5)), zorder=4)
    axes.set_xlim(x[0], x[-1])
    axes.set_title(_shortened(site["site"]), fontsize=8.5, fontweight="bold", loc="left", pad=14)
    axes.text(0.0, 1.03, _subtitle(site), transform=axes.transAxes, fontsize=7.5, color="#555555")
    axes.spines[["top", "right"]].set_visible(False)
    axes.locator_params(nbins=5)
    axes.tick_params(length=2.5, labelsize=7)


def _subtitle(site: Mapping[str, Any]) -> str:
    count = len(site["curves"])
    return f"{site['activation']}, {count} channels shown" if count > 1 else str(site["activation"])


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D([], [], color=_ONE_CURVE, linewidth=1.6, label="found"),
        Line2D([], [], color=_REFERENCE, linewidth=1.1, linestyle="--", label="before"),
        Patch(color=_RANGE, alpha=0.3, linewidth=0, label="98 % of its inputs"),
    ]


def _shortened(id: str) -> str:
    return id if len(id) <= _MAX_TITLE else f"…{id[1 - _MAX_TITLE :]}"
