"""The report: one HTML file that needs nothing else, not even a network connection."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from search_space.spec import ActivationSpec
from service.bundle.data import BundleData
from service.bundle.figures import ReportFigure
from service.bundle.rows import Row, gain_text, ranking_rows
from service.schemas.labels import mean_text, value_text
from service.templating import html_environment

if TYPE_CHECKING:
    from markupsafe import Markup

_TEMPLATES = Path(__file__).parent / "templates"
_RANKED = 20


def report(
    data: BundleData,
    figures: Mapping[str, ReportFigure],
    left_out: Mapping[str, str],
    run: Mapping[str, Any] | None,
) -> str:
    """Return the page.

    Args:
        left_out: Files that the bundle lacks, with the reason of each.
        run: What the training of the weights ran on, as a worker stores it; None if unknown.
    """
    versions: Mapping[str, str] = data.config.provenance["versions"]
    return (
        html_environment(_TEMPLATES)
        .get_template("report.html.j2")
        .render(
            data=data,
            figures=figures,
            left_out=left_out,
            sites=_sites(data),
            test_results=_test_results(data),
            comparisons=_comparisons(data),
            ranking=ranking_rows(data, _RANKED),
            counts=_counts(data),
            environment=None if run is None else _environment(run),
            versions=versions.items(),
            pinned=json.dumps(dict(data.pinned), indent=2),
            document=yaml.safe_dump(dict(data.document), sort_keys=False),
            svg=_inline,
            value_text=value_text,
        )
    )


def _sites(data: BundleData) -> list[Row]:
    specs = data.config.candidate.sites
    return [
        (site.id, site.stage, str(site.channels), site.original, _spec(specs.get(site.id)))
        for site in data.config.plan.sites
    ]


def _test_results(data: BundleData) -> list[Row]:
    return [
        (sample.label, mean_text(data.test_metric, sample.values), str(len(sample.values)))
        for sample in data.samples.values()
    ]


def _comparisons(data: BundleData) -> list[Row]:
    return [
        (
            found.against,
            gain_text(data, found),
            f"{found.p:.3g}",
            "yes" if found.holds else "no",
        )
        for found in data.best.comparisons
    ]


def _counts(data: BundleData) -> list[Row]:
    counts = data.counts
    rows = [(kind, state, str(count)) for (kind, state), count in counts.by_kind.items()]
    rows.append(("proposed", "repeats, not trained", str(counts.repeats)))
    rows += [("attempts", f"failed: {name}", str(n)) for name, n in counts.failures.items()]
    return list(rows)


def _environment(run: Mapping[str, Any]) -> list[Row]:
    environment = dict(run["environment"])
    packages = environment.pop("packages", {})
    found = {**environment, **packages, "resumed after epochs": run.get("resumed_at") or None}
    return [(name, str(value)) for name, value in found.items() if value is not None]


def _inline(figure: ReportFigure) -> "Markup":
    from markupsafe import Markup

    svg = figure.svg.decode()
    # A page must not contain the prolog of an SVG file. Matplotlib has escaped the text in it.
    return Markup(svg[svg.index("<svg") :])


def _spec(spec: ActivationSpec | None) -> str:
    if spec is None:
        return "-"
    params = ", ".join(f"{name}={value}" for name, value in spec.params.items())
    return f"{spec.name}({params})" if params else spec.name
