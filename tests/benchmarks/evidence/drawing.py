"""The figures of the articles as SVG, from data alone."""

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.typing import RcKeyType

Data = Mapping[str, Any]
Floats = NDArray[np.float64]

_STYLE: "dict[RcKeyType, Any]" = {
    "svg.hashsalt": "actsearch",
    "svg.fonttype": "none",
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_COLUMN = 2.3
_X = np.linspace(-4, 4, 161)
_BLUE, _RED, _GREY = "#2563eb", "#dc2626", "#9ca3af"
_SWITCHES = (0.0, 0.5, 1.0, 2.0, 10.0)
_SLOPES = ((1.0, 0.0), (1.0, 0.25), (1.2, -0.25), (0.6, 0.4), (0.5, 1.5))


def draw(data: Data) -> dict[str, str]:
    """Return every figure by name."""
    drawn = {}
    with rc_context(_STYLE):
        for name, figure in FIGURES.items():
            buffer = io.StringIO()
            # Without a date, equal data gives an equal file.
            figure(data).savefig(buffer, format="svg", metadata={"Date": None})
            drawn[name] = buffer.getvalue()
    return drawn


def pwlu_by_depth(data: Data) -> Figure:
    """Draw the functions that PWLU has learned, from the first block to the last."""
    sites = data["shapes"]
    figure, axes = _row(len(sites))
    for place, site in zip(axes, sites, strict=True):
        x = np.array(site["x"])
        _inputs(place, x, site["density"])
        for curve in site["curves"]:
            place.plot(x, curve, color=_BLUE, linewidth=0.9, alpha=0.75)
        place.set_title(f"{site['site']}: line R² {site['line_r2']:.2f}")
        place.set_xlabel("input")
    return figure


def acon_family(data: Data) -> Figure:  # noqa: ARG001
    """Draw ACON-C with its derivative, for several switches and several slopes."""
    figure, axes = _row(4)
    for beta in _SWITCHES:
        y, slope = _acon(1.0, 0.0, beta)
        axes[0].plot(_X, y, label=f"β {beta:g}")
        axes[1].plot(_X, slope, label=f"β {beta:g}")
    for p1, p2 in _SLOPES:
        y, slope = _acon(p1, p2, 1.0)
        axes[2].plot(_X, y, label=f"{p1:g}, {p2:g}")
        axes[3].plot(_X, slope, label=f"{p1:g}, {p2:g}")
    titles = ("p₁ = 1, p₂ = 0", "its derivative", "β = 1; p₁, p₂", "its derivative")
    for place, title in zip(axes, titles, strict=True):
        place.set_title(title)
        place.legend(fontsize=6, frameon=False)
    return figure


def switches(data: Data) -> Figure:
    """Draw the distribution of beta over the channels of the last block, sample by sample."""
    figure, axes = _row(2)
    found = data["switches"]
    low = min(0.0, *(min(row) for rows in found.values() for row in rows))
    high = max(1.0, *(max(row) for rows in found.values() for row in rows))
    edges = np.linspace(low, high, 25).tolist()
    for place, (name, title) in zip(
        axes,
        (("acon_c", "ACON-C: one for all samples"), ("meta_acon", "Meta-ACON: 7 samples")),
        strict=True,
    ):
        for row in found[name]:
            place.hist(row, bins=edges, histtype="step", linewidth=1)
        place.set_title(title)
        place.set_xlabel("β")
        place.set_ylabel("channels")
    return figure


def realignment(data: Data) -> Figure:
    """Draw the inputs of one channel of each block, and the bounds around them."""
    figure, axes = _row(len(data["boundary"]))
    for place, site in zip(axes, data["boundary"], strict=True):
        centres = _centres(site["reach"], len(site["histogram"]))
        width = centres[1] - centres[0]
        place.bar(centres, site["histogram"], width=width, color=_GREY, alpha=0.6)
        for which, colour, style in (("before", _RED, "--"), ("after", _BLUE, "-")):
            for number, bound in enumerate(site[which]):
                label = None if number else which
                place.axvline(bound, color=colour, linestyle=style, linewidth=1.2, label=label)
        place.set_title(f"{site['site']}, channel {site['channel']}")
        place.set_xlabel("input")
        place.legend(fontsize=6, frameon=False)
    return figure


def straightness(data: Data) -> Figure:
    """Draw R² of a straight line at each site, of the small network and of a deeper one."""
    figure, axes = _row(2)
    for place, sites, title in (
        (axes[0], data["shapes"], data["task"]["network"]),
        (axes[1], data["deep"], data["deep_task"]["network"]),
    ):
        place.plot(range(1, len(sites) + 1), [one["line_r2"] for one in sites], "o-", color=_BLUE)
        place.set_title(title)
        place.set_xlabel("site, from the input")
        place.set_ylabel("R² of a straight line")
        place.set_ylim(0, 1.02)
    return figure


FIGURES: Mapping[str, Callable[[Data], Figure]] = {
    "pwlu-by-depth": pwlu_by_depth,
    "acon-family": acon_family,
    "switches": switches,
    "realignment": realignment,
    "straightness": straightness,
}


def _row(count: int) -> tuple[Figure, Sequence[Axes]]:
    figure = Figure(figsize=(_COLUMN * count, 2.2), layout="constrained")
    return figure, figure.subplots(1, count, squeeze=False)[0]


def _inputs(place: Axes, x: Floats, density: Sequence[float] | None) -> None:
    """Draw where a site's inputs are, behind its curves."""
    if density is None:
        return
    behind = place.twinx()
    behind.fill_between((x[1:] + x[:-1]) / 2, density, color=_GREY, alpha=0.3, linewidth=0)
    behind.set_yticks([])
    place.set_zorder(behind.get_zorder() + 1)
    place.patch.set_visible(False)
    behind.spines["right"].set_visible(False)


def _acon(p1: float, p2: float, beta: float) -> tuple[Floats, Floats]:
    """Return ACON-C and its derivative."""
    z = (p1 - p2) * _X
    gate = 1 / (1 + np.exp(-beta * z))
    y = z * gate + p2 * _X
    slope = (p1 - p2) * (gate + beta * z * gate * (1 - gate)) + p2
    return y, slope


def _centres(reach: float, bins: int) -> Floats:
    edges = np.linspace(-reach, reach, bins + 1)
    return (edges[1:] + edges[:-1]) / 2
