"""The figures of a report and a paper: as SVG, as PDF, and the numbers behind them as CSV."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

from service.bundle.data import BundleData
from service.insight.shape_plots import STYLE, shapes_figure
from service.schemas.labels import display_scale, metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_WIDE = (5.6, 2.8)
_COLOURS = {
    "original": "#3C3C3C",
    "uniform": "#009E73",
    "candidates": "#0072B2",
    "stopped early": "#B0B0B0",
    "best so far": "#0072B2",
    "best of equal networks, by luck": "#D55E00",
}


@dataclass(frozen=True, slots=True)
class ReportFigure:
    """One figure as SVG and PDF, with its numbers."""

    caption: str
    svg: bytes
    pdf: bytes
    rows: Sequence[Sequence[Any]]

    @property
    def csv(self) -> bytes:
        text = StringIO()
        csv.writer(text, lineterminator="\n").writerows(self.rows)
        return text.getvalue().encode()


def draw(data: BundleData, shapes: Mapping[str, Any] | None) -> dict[str, ReportFigure]:
    """Return the figures by name: `history`, `confirmation` and `shapes`, where there is one.

    Args:
        shapes: What `shapes.json` of the trial holds.
    """
    found = {"history": _history(data)}
    if data.samples:
        found["confirmation"] = _confirmation(data)
    if shapes is not None:
        found["shapes"] = _shapes(shapes)
    return found


def _history(data: BundleData) -> ReportFigure:
    factor, _ = display_scale(data.metric)
    traces = [trace for trace in data.history["data"] if trace["x"]]

    def plot(axes: "Axes") -> None:
        for trace in traces:
            is_line = trace["mode"] == "lines"
            is_stepped = trace.get("line", {}).get("shape") == "hv"
            axes.plot(
                trace["x"],
                [factor * y for y in trace["y"]],
                linestyle=("-" if is_stepped else "--") if is_line else "none",
                drawstyle="steps-post" if is_stepped else "default",
                marker=None if is_line else "o",
                markersize=3,
                color=_COLOURS.get(trace["name"]),
                label=trace["name"],
            )
        axes.set(xlabel="trial", ylabel=_label(data.metric))
        axes.legend(fontsize=6.5, frameon=False)

    rows = [("series", "trial", data.metric)]
    rows += [(t["name"], x, y) for t in traces for x, y in zip(t["x"], t["y"], strict=True)]
    caption = "Values of all trials in their order, on validation data."
    return _figure(caption, plot, rows)


def _confirmation(data: BundleData) -> ReportFigure:
    factor, _ = display_scale(data.test_metric)
    samples = list(data.samples.values())

    def plot(axes: "Axes") -> None:
        for place, sample in enumerate(samples):
            values = [factor * value for value in sample.values]
            axes.plot(values, [place] * len(values), "o", color="#0072B2", alpha=0.5, markersize=4)
            axes.plot(factor * sample.mean, place, "|", color="#D55E00", markersize=16)
        axes.set_yticks(range(len(samples)), [sample.label for sample in samples])
        axes.set_ylim(len(samples) - 0.5, -0.5)
        axes.set(xlabel=_label(data.test_metric))

    rows: list[Sequence[Any]] = [("network", "seed", data.test_metric)]
    rows += [(s.label, seed, value) for s in samples for seed, value in enumerate(s.values)]
    caption = "Test results of each seed of the confirmation; the bar is the mean."
    return _figure(caption, plot, rows)


def _shapes(shapes: Mapping[str, Any]) -> ReportFigure:
    rows: list[Sequence[Any]] = [("site", "activation", "curve", "x", "y")]
    rows += [
        (site["site"], site["activation"], number, x, y)
        for site in shapes["sites"]
        for number, curve in enumerate(site["curves"])
        for x, y in zip(site["x"], curve, strict=True)
    ]
    caption = "The functions that the activations have become, by depth."
    return _saved(caption, lambda: shapes_figure(shapes), rows)


def _figure(
    caption: str, plot: Callable[["Axes"], None], rows: Sequence[Sequence[Any]]
) -> ReportFigure:
    def make_figure() -> "Figure":
        from matplotlib.figure import Figure

        figure = Figure(figsize=_WIDE, layout="constrained")
        axes = figure.subplots()
        plot(axes)
        axes.spines[["top", "right"]].set_visible(False)
        return figure

    return _saved(caption, make_figure, rows)


def _saved(
    caption: str, make_figure: Callable[[], "Figure"], rows: Sequence[Sequence[Any]]
) -> ReportFigure:
    with _styled():
        figure = make_figure()
        files = {}
        # Without dates: equal results give equal files.
        for kind, dates in (("svg", {"Date": None}), ("pdf", {"CreationDate": None})):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, metadata=dates)
            files[kind] = buffer.getvalue()
    return ReportFigure(caption, files["svg"], files["pdf"], rows)


@contextmanager
def _styled() -> Iterator[None]:
    from matplotlib import rc_context

    with rc_context(STYLE):
        yield


def _label(metric: str) -> str:
    _, unit = display_scale(metric)
    return f"{metric_label(metric)}, {unit}" if unit else metric_label(metric)
