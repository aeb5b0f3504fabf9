"""Pairs of networks: what the articles report of them, and what was found here."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from service.results.verdict import Comparison, Sample, compare, holm
from tests.benchmarks.evidence.plan import EVERYWHERE
from tests.benchmarks.evidence.rates import Results
from tests.benchmarks.evidence.tables import Choose, best_rate, fixed

FILE = Path(__file__).parents[3] / "docs" / "evidence" / "published.csv"

# Better, worse: by the names of the articles, and by ours.
PAIRS = (
    (("PReLU", "ReLU"), ("PReLU", "ReLU")),
    (("Swish", "ReLU"), ("Swish", "ReLU")),
    (("FReLU", "ReLU"), ("FReLU", "ReLU")),
    (("DY-ReLU", "ReLU"), ("DY-ReLU-B", "ReLU")),
    (("ACON-C", "ReLU"), ("ACON-C", "ReLU")),
    (("ACON-C", "Swish"), ("ACON-C", "Swish")),
    (("Meta-ACON", "ReLU"), ("Meta-ACON", "ReLU")),
    (("Meta-ACON", "ACON-C"), ("Meta-ACON", "ACON-C")),
    (("PWLU", "Swish"), ("PWLU", "Swish")),
    (("PWLU", "ReLU"), ("PWLU", "ReLU")),
    (("PWLU", "FReLU"), ("PWLU", "FReLU")),
)
# What has a cost, and what has the same cost without it.
CONTROLS = (
    ("PWLU", "ReLU, as large as PWLU"),
    ("FReLU", "ReLU, twice as wide"),
    ("Meta-ACON", "ReLU, SE-gated"),
)
_ERROR = "top1_err"
_DELTA = "top1_delta_vs_"


def agreement(results: Results) -> str:
    """Return the table of all pairs; what is not trained yet has no entry."""
    rows = [
        "| better, by the articles | their differences, points | here, at the recipe's rate "
        "| here, at the chosen rates |",
        "|---|---|---|---|",
    ]
    published = list(csv.DictReader(FILE.read_text().splitlines()))
    for theirs, ours in PAIRS:
        gains = list(_gains(published, *theirs))
        cells = [f"{theirs[0]} than {theirs[1]}", _range(gains)]
        cells += [_here(results, ours, choose) for choose in (fixed, best_rate)]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def controls(results: Results) -> str:
    """Return each costly activation against a ReLU network of its cost."""
    rows = [
        "| difference, points | at the recipe's rate | at the chosen rates |",
        "|---|---|---|",
    ]
    columns = [_controlled(results, choose) for choose in (fixed, best_rate)]
    for pair in CONTROLS:
        cells = [" less ".join(pair), *(column.get(pair, "-") for column in columns)]
        rows.append(f"| {' | '.join(cells)} |")
    note = "\nIntervals are each by itself; Holm's correction is over the rows of a column.\n"
    return "\n".join(rows) + "\n" + note


def _controlled(results: Results, choose: Choose) -> dict[tuple[str, str], str]:
    """Return what is said of each pair that is trained."""
    found = {pair: _difference(results, pair, choose) for pair in CONTROLS}
    known = {pair: one for pair, one in found.items() if one is not None}
    corrected = holm([replace(one, against=str(i)) for i, one in enumerate(known.values())])
    return {
        pair: f"{_said(one)}{_told(one) or _corrected(one)}"
        for pair, one in zip(known, corrected, strict=True)
    }


def _corrected(found: Comparison) -> str:
    if found.holds:
        return f", p = {found.p:.3f}"
    return f", p = {found.p:.3f}: not told with Holm's correction"


def _gains(published: Sequence[dict[str, str]], better: str, worse: str) -> Iterator[float]:
    """Yield by how many points one is reported to be better, for each model of each source."""
    for row in published:
        if row["activation"] != better:
            continue
        if row["metric"] == f"{_DELTA}{worse}":
            yield float(row["value"])
        for other in published:
            alike = ("task", "dataset", "model", "metric", "source")
            if other["activation"] == worse and all(row[k] == other[k] for k in alike):
                sign = -1 if row["metric"] == _ERROR else 1
                yield round(sign * (float(row["value"]) - float(other["value"])), 2)


def _range(gains: Sequence[float]) -> str:
    if not gains:
        return "-"
    if len(gains) == 1:
        return f"{gains[0]:+.2f}"
    return f"{min(gains):+.2f} to {max(gains):+.2f} in {len(gains)} comparisons"


def _here(results: Results, pair: tuple[str, str], choose: Choose) -> str:
    found = _difference(results, pair, choose)
    if found is None:
        return "-"
    direction = _told(found)
    if not direction:
        direction = ": the same direction" if found.low > 0 else ": the opposite"
    return f"{_said(found)}{direction}"


def _difference(results: Results, pair: tuple[str, str], choose: Choose) -> Comparison | None:
    """Return the first of a pair less the second; None where one is not trained or diverged."""
    samples = []
    for label in pair:
        _, trainings = choose(results, EVERYWHERE[label])
        values = tuple(one.test for one in trainings if one.test is not None)
        if not values or len(values) < len(trainings):
            return None
        samples.append(Sample(label, values))
    return compare(*samples, maximize=True)


def _said(found: Comparison) -> str:
    return f"{100 * found.difference:+.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"


def _told(found: Comparison) -> str:
    """Return that nothing is told; empty where something is."""
    return "" if found.low > 0 or found.high < 0 else ": not told from 0"
