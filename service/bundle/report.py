"""The report: one HTML file that needs nothing else, not even a network connection."""

import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import yaml

from search_space.spec import ActivationSpec
from service.bundle.figures import Drawing
from service.bundle.material import Material
from service.bundle.numbers import gain, interval, one, spread

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: 0.25rem 0.75rem; text-align: left; border-bottom: 1px solid #8884; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0; background: #fff; color: #222; padding: 0.5rem; }
figure svg { max-width: 100%; height: auto; }
figcaption { font-size: 0.85rem; }
pre { overflow-x: auto; padding: 0.75rem; background: #8881; font-size: 0.85rem; }
.verdict { font-size: 1.15rem; padding: 0.75rem 1rem; border-left: 4px solid #0072b2; }
"""


def report(
    material: Material,
    drawings: Mapping[str, Drawing],
    left_out: Mapping[str, str],
    run: Mapping[str, Any] | None,
) -> str:
    """Return the page.

    Args:
        left_out: Files that the bundle lacks, with the reason of each.
        run: What the training of the weights ran on, as a worker stores it; None if unknown.
    """
    parts = [
        f"<h1>{escape(material.name)}</h1>",
        f'<p class="verdict">{escape(material.best.claim)}</p>',
        _sites(material),
        _confirmation(material),
        _ranking(material),
        *(_figure(drawing) for drawing in drawings.values()),
        _cost(material),
        _environment(material, run),
        _reproduction(material),
        _missing(left_out),
    ]
    title = escape(material.name)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{title}</title>\n'
        f"<style>{_STYLE}</style>\n</head>\n<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _sites(material: Material) -> str:
    specs = material.config.candidate.sites
    rows = [
        (site.id, site.stage, str(site.channels), site.original, _spec(specs.get(site.id)))
        for site in material.config.plan.sites
    ]
    head = ("site", "stage", "channels", "was", "is now")
    return "<h2>Activations</h2>" + _table(head, rows, numbers={2})


def _confirmation(material: Material) -> str:
    if not material.samples:
        return ""
    metric = material.test_metric
    results = [
        (sample.label, spread(sample, metric), str(len(sample.values)))
        for sample in material.samples.values()
    ]
    compared = [
        (found.against, interval(found, metric), f"{found.p:.3g}", "yes" if found.holds else "no")
        for found in material.best.comparisons
    ]
    return (
        "<h2>Confirmation, on test data</h2>"
        + _table(("network", metric, "seeds"), results, numbers={1, 2})
        + _table(("winner over", "gain [95 %]", "p", "holds"), compared, numbers={1, 2})
    )


def _ranking(material: Material) -> str:
    metric, best = material.metric, material.best
    original = one(best.original.mean, metric), str(len(best.original.values)), "-"
    rows = [("original", *original)]
    rows += [
        (
            row.label or f"trial {row.number}",
            one(row.value, metric),
            str(row.seeds),
            gain(row.gain, metric),
        )
        for row in best.ranking[:20]
    ]
    luck = ""
    if best.luck is not None:
        luck = (
            f"<p>The best of {best.luck_of} networks no better than the original would show "
            f"{one(best.luck, metric)} by luck.</p>"
        )
    head = ("candidate", metric, "seeds", "gain")
    return "<h2>Ranking, on validation data</h2>" + _table(head, rows, numbers={1, 2, 3}) + luck


def _figure(drawing: Drawing) -> str:
    svg = drawing.svg.decode()
    # The prolog of an SVG file has no place inside a page.
    svg = svg[svg.index("<svg") :]
    return f"<figure>{svg}<figcaption>{escape(drawing.caption)}</figcaption></figure>"


def _cost(material: Material) -> str:
    counts = material.counts
    rows = [(kind, state, str(count)) for (kind, state), count in counts.by_kind.items()]
    rows.append(("proposed", "repeats, not trained", str(counts.repeats)))
    rows += [("attempts", f"failed: {name}", str(n)) for name, n in counts.failures.items()]
    hours = (
        f"<p>{material.hours.running:.2f} hours, {material.hours.gpu:.2f} GPU hours; the test "
        f"data was used {counts.test_looks} times.</p>"
    )
    return "<h2>Cost</h2>" + _table(("trials", "state", "count"), rows, numbers={2}) + hours


def _environment(material: Material, run: Mapping[str, Any] | None) -> str:
    versions: Mapping[str, str] = material.config.provenance["versions"]
    pinned = json.dumps(dict(material.pinned), indent=2)
    return (
        "<h2>Environment</h2>"
        + _trained_on(material, run)
        + "<p>The service that searched:</p>"
        + _table(("package", "version"), list(versions.items()))
        + f"<pre>{escape(pinned)}</pre>"
    )


def _trained_on(material: Material, run: Mapping[str, Any] | None) -> str:
    """Say on what the network of the bundle was trained."""
    if material.trial is None:
        return "<p>This is the original network's config; no trial stands behind it.</p>"
    if run is None:
        return "<p>The trial stored nothing of what its training ran on.</p>"
    environment = dict(run["environment"])
    packages = environment.pop("packages", {})
    found = {**environment, **packages, "resumed after epochs": run.get("resumed_at") or None}
    rows = [(name, str(value)) for name, value in found.items() if value is not None]
    return (
        f"<p>The training of trial {escape(material.trial)}:</p>"
        + _table(("what", "was"), rows)
        + f"<p><code>actsearch rerun {escape(material.trial)}</code> trains it again and compares."
        "</p>"
    )


def _reproduction(material: Material) -> str:
    document = yaml.safe_dump(dict(material.document), sort_keys=False)
    return (
        "<h2>To reproduce</h2><p>Submit <code>search.yaml</code>, which is below: "
        "<code>actsearch submit search.yaml</code>. Proposals repeat exactly from equal results; "
        "trainings do on the same processor, versions and number of threads.</p>"
        f"<pre>{escape(document)}</pre>"
    )


def _missing(left_out: Mapping[str, str]) -> str:
    if not left_out:
        return ""
    return "<h2>Left out</h2>" + _table(("file", "because"), list(left_out.items()))


def _table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: frozenset[int] | set[int] = frozenset(),
) -> str:
    def cells(tag: str, row: Sequence[Any]) -> str:
        return "".join(
            f"<{tag}{' class=number' if place in numbers else ''}>{escape(str(cell))}</{tag}>"
            for place, cell in enumerate(row)
        )

    body = "".join(f"<tr>{cells('td', row)}</tr>" for row in rows)
    return f"<table><thead><tr>{cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"


def _spec(spec: ActivationSpec | None) -> str:
    if spec is None:
        return "-"
    params = ", ".join(f"{name}={value}" for name, value in spec.params.items())
    return f"{spec.name}({params})" if params else spec.name
