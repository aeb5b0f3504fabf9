"""What the articles report, beside what was found here."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from service.verdict import Sample, compare
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
    samples = []
    for label in pair:
        _, trainings = choose(results, EVERYWHERE[label])
        values = tuple(one.test for one in trainings if one.test is not None)
        if not values or len(values) < len(trainings):
            return "-"
        samples.append(Sample(label, values))
    found = compare(*samples, maximize=True)
    said = f"{100 * found.difference:+.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]"
    if found.low > 0:
        return f"{said}: the same direction"
    return f"{said}: the opposite" if found.high < 0 else f"{said}: not told from 0"
