"""Tables and texts that the commands print: rankings, searches, activations, shapes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from search_space.catalog.lookup import CATALOG
from search_space.contract import is_fraction
from search_space.search import metric_in
from service.schemas.labels import difference_text, value_text
from service.schemas.offers import ActivationAnswer, ParameterAnswer
from service.schemas.results import BestAnswer, RankedAnswer
from service.schemas.searches import SearchAnswer
from service.schemas.trials import ShapesAnswer


def ranking_table(best: BestAnswer, sites: Sequence[str]) -> Table:
    """Return the ranking; activations are written in the order of `sites`.

    Columns of the estimates stand there only if the search's sampler has a model.
    """
    has_estimates = any(line.estimate is not None for line in best.ranking)
    estimates = ("estimate", "beats uniform") if has_estimates else ()
    table = _table("", "trial", best.metric, *estimates, "gain", "step time", "activations")
    for column in table.columns[2:-1]:
        column.justify = "right"
    if best.original.mean is not None:
        cells = [_mean_text(best), *("" for _ in estimates), "", "1.00x", "as the network came"]
        table.add_row("", "original", *cells, style="bold")
    for line in best.ranking:
        table.add_row(
            str(line.rank),
            f"{line.number}" if line.label is None else f"{line.number}  {line.label}",
            value_text(best.metric, line.value),
            *(_estimate_cells(best.metric, line) if has_estimates else ()),
            "" if line.gain is None else difference_text(best.metric, line.gain),
            "" if line.step_ratio is None else f"{line.step_ratio:.2f}x",
            activations_text(line.candidate, sites),
        )
    return table


def _estimate_cells(metric: str, line: RankedAnswer) -> tuple[str, str]:
    """Write what the model expects of a candidate, and how probably it beats uniform networks."""
    estimate = "" if line.estimate is None else value_text(metric, line.estimate)
    beats = "" if line.beats_uniform is None else f"{100 * line.beats_uniform:.0f} %"
    return estimate, beats


def claim_text(best: BestAnswer) -> str:
    """Write the claim, the luck line and the notes on the results."""
    lines = [f"{best.claim[:1].upper()}{best.claim[1:]}."]
    if best.status != "confirmed" and best.luck is not None:
        lines.append(
            f"Luck line: {value_text(best.metric, best.luck)} is what the best of as many networks "
            "no better than the original would show."
        )
    return "\n".join([*lines, *best.notes])


def shapes_table(found: ShapesAnswer) -> Table:
    """Return the sites of a trial, each with the classic function nearest to the learned one."""
    table = _table("site", "activation", "before", "nearest", "R\u00b2")
    for shape in found.sites:
        near = "" if shape.nearest_r2 is None else f"{shape.nearest_r2:.3f}"
        table.add_row(shape.site, shape.activation, shape.original, shape.nearest or "", near)
    when = "at its end" if found.epoch is None else f"after epoch {found.epoch}"
    table.caption = f"trial {found.number if found.label is None else found.label} {when}"
    return table


def activations_text(candidate: Mapping[str, Any], sites: Sequence[str]) -> str:
    """Write a candidate in short: its activations in the order of the sites, then its factors."""
    specs = candidate.get("sites", {})
    order = [site for site in sites if site in specs] or list(specs)
    runs = [
        (name, len(list(group))) for name, group in groupby(_spec_text(specs[s]) for s in order)
    ]
    if len(runs) == 1:
        parts = [f"{runs[0][0]} everywhere"]
    else:
        parts = [", ".join(name if n == 1 else f"{name} x{n}" for name, n in runs)]
    training = candidate.get("training", {})
    for key, name in (
        ("learning_rate_factor", "rate"),
        ("activation_learning_rate_factor", "activation rate"),
    ):
        if training.get(key, 1.0) != 1.0:
            parts.append(f"{name} x{training[key]:g}")
    return "; ".join(parts)


def searches_table(searches: Iterable[SearchAnswer]) -> Table:
    """Return a table with one search per row."""
    table = _table("id", "name", "state", "trials", "best", "age")
    for search in searches:
        progress = search.progress
        table.add_row(
            search.id,
            Text(search.name),
            search.state.value,
            f"{progress.finished}/{progress.total}",
            _best_text(search),
            _age_text(search.created_at),
        )
    return table


def search_table(search: SearchAnswer, page: str) -> Table:
    """Return a table that describes one search."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    progress, task = search.progress, search.document["task"]
    counts = ", ".join(f"{n} {state}" for state, n in sorted(search.counts.items()) if n)
    rows = {
        "id": search.id,
        "name": search.name,
        "state": search.state.value,
        "reason": search.reason or "",
        "task": ", ".join(f"{key} {value}" for key, value in task.items() if value is not None),
        "choices": ", ".join(_choice_name(choice) for choice in search.document["choices"]),
        "sites": "not known yet" if search.plan is None else _sites_text(search.plan),
        "trials": f"{progress.finished}/{progress.total}" + (f" ({counts})" if counts else ""),
        "best so far": _best_text(search),
        "page": page,
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, Text(value))
    return table


def activations_table(activations: Iterable[ActivationAnswer]) -> Table:
    """Return the catalogue; the column "learned" counts parameters at a site of 64 channels."""
    table = _table("name", "learned", "flops", "parameters (default, range)", "share", "source")
    for entry in activations:
        learned = entry.learned_parameters["64"]
        note = "" if entry.interpretation is None else " (interpretation)"
        table.add_row(
            entry.name,
            str(learned) if entry.learned else "fixed",
            str(entry.flops),
            Text(", ".join(_parameter_text(p) for p in entry.parameters)),
            ", ".join(entry.shares),
            Text(entry.source + (f", {entry.year}" if entry.year else "") + note),
        )
    return table


def _parameter_text(parameter: ParameterAnswer) -> str:
    default = "null" if parameter.default is None else str(parameter.default)
    if parameter.choices:
        others = len(parameter.choices) - 1
        few = " or ".join(c for c in parameter.choices if c != default)
        return f"{parameter.name} ({default}, or {few if others < 5 else f'{others} others'})"
    if parameter.low is None or parameter.high is None:
        return f"{parameter.name} ({default})"
    return f"{parameter.name} ({default}, {parameter.low:g} to {parameter.high:g})"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _mean_text(best: BestAnswer) -> str:
    original = best.original
    assert original.mean is not None
    text = value_text(best.metric, original.mean)
    if original.spread is None:
        return text
    spread = 100 * original.spread if is_fraction(best.metric) else original.spread
    return f"{text} ± {spread:.2g} (n={len(original.values)})"


def _spec_text(spec: Mapping[str, Any]) -> str:
    """Write `pwlu(segments=8, layer)`: the first parameter, and others that are not the default."""
    entry = CATALOG.get(spec["name"])
    usual = {} if entry is None else {p.name: p.default for p in entry.parameters[1:]}
    parts = [
        f"{key}={value}"
        for key, value in spec.get("params", {}).items()
        if key not in usual or value != usual[key]
    ]
    if entry is not None and len(entry.shares) > 1 and spec.get("share") == "layer":
        parts.append("layer")
    return f"{spec['name']}({', '.join(parts)})" if parts else str(spec["name"])


def _best_text(search: SearchAnswer) -> str:
    if search.best is None:
        return ""
    value = value_text(metric_in(search.document), search.best.value)
    return f"{value} (trial {search.best.number})"


def _choice_name(choice: Any) -> str:
    return choice if isinstance(choice, str) else str(choice["name"])


def _sites_text(plan: Mapping[str, Any]) -> str:
    originals = Counter(site["original"] for site in plan["sites"])
    kinds = ", ".join(f"{n} {name}" for name, n in originals.items())
    return f"{len(plan['sites'])} ({kinds})"


def _age_text(then: datetime) -> str:
    seconds = (datetime.now(UTC) - then).total_seconds()
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
