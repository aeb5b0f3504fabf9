"""The tables of docs/evidence.md, made from stored exports.

    python -m tests.benchmarks.evidence.page [--trainings FILE] [--searches FILE]
        [--transfer FILE] [--times FILE]

A file of progress that is named is stored under docs/evidence first. Then whatever stands between
the marks of a table is replaced. The words around are written by hand.
"""

import argparse
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from service.results.verdict import Sample, compare
from tests.benchmarks.evidence import progress, searching, transferring
from tests.benchmarks.evidence.plan import EDITIONS, Run
from tests.benchmarks.evidence.published import agreement, controls
from tests.benchmarks.evidence.result import Result
from tests.benchmarks.evidence.tables import detectable, tables

PAGE = Path(__file__).parents[3] / "docs" / "evidence.md"
STORE = PAGE.with_suffix("")
PARTS = ("trainings", "searches", "transfer", "times")
MISSING = "Not measured yet.\n"
_SIZES = ("segments", "reduction")
"""Parameters of an activation that its name is followed by."""


def main() -> None:
    """Store what is given, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for part in PARTS:
        parser.add_argument(f"--{part}", type=Path, help="a file of progress to be stored")
    options = vars(parser.parse_args())
    for part in PARTS:
        if options[part] is not None:
            store(progress.lines(options[part]), stored(part))
    PAGE.write_text(filled(PAGE.read_text(), everything()))


def stored(part: str) -> Path:
    """Return where the export of a part is kept."""
    return STORE / f"{part}.jsonl"


def store(lines: list[dict[str, Any]], file: Path) -> None:
    """Write lines with their numbers to six digits, which tells every accuracy apart."""
    file.write_text("".join(f"{json.dumps(_rounded(line))}\n" for line in lines))


def filled(page: str, made: Mapping[str, str]) -> str:
    """Return a page with its tables replaced.

    Raises:
        KeyError: If the page has a table that nobody makes.
    """
    pattern = re.compile(r"(<!-- table: (.*?) -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda found: found[1] + made[found[2]] + found[3], page)


def everything() -> dict[str, str]:
    """Return every table by its title."""
    results = {
        Run.from_data(line["run"]): Result(**line["result"])
        for line in progress.lines(stored("trainings"))
    }
    parts: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "searches": searches,
        "transfer": transfer,
        "times": times,
    }
    return {
        **tables(results, EDITIONS["cpu"]),
        "the controls": controls(results),
        "the articles": agreement(results),
        **{part: make(progress.read(stored(part))) for part, make in parts.items()},
    }


def searches(done: Mapping[str, Any]) -> str:
    """Return what each search has cost, and what its best is worth on test data."""
    if len(done) < 2:
        return MISSING
    original = Sample("original", tuple(done["original"]["test"]))
    ran = {name: done[name] for name in sorted(done, key=_place) if name != "original"}
    rows = [
        "| search | trainings | epochs | seconds | test accuracy of its best, % "
        "| against the original, points | its best |",
        "|---|---:|---:|---:|---:|---:|---|",
        f"| the original | | | | {_accuracy(original)} | - | |",
    ]
    for name, value in ran.items():
        found = value["search"]
        best = Sample(name, tuple(value["test"]))
        rows.append(
            f"| {name} | {found['trainings']} | {found['epochs']} | {found['seconds']:.0f} "
            f"| {_accuracy(best)} | {_difference(best, original)} | {_named(found['best'])} |"
        )
    spread = detectable([value["test"] for value in done.values()])
    note = (
        f"\nMeans and standard deviations over {len(original.values)} seeds that no search has "
        f"seen. A true difference of {100 * spread:.2f} points is found in four cases of five.\n"
    )
    return "\n".join(rows) + "\n" + note + _by_way(ran, original)


def _place(name: str) -> int:
    """Return where a search stands among all: by its way, then by its repetition."""
    way, _, repetition = name.partition(" ")
    return 0 if not repetition else list(searching.WAYS).index(way) * 100 + int(repetition)


def _by_way(ran: Mapping[str, Any], original: Sample) -> str:
    """Say what each way to search comes to over its repetitions."""
    gains: dict[str, list[float]] = {}
    for name, value in ran.items():
        gain = 100 * (mean(value["test"]) - original.mean)
        gains.setdefault(name.split()[0], []).append(gain)
    said = [
        f"- {way}: {', '.join(f'{gain:+.2f}' for gain in found)}; mean {mean(found):+.2f}"
        for way, found in gains.items()
    ]
    return "\nGain of the best of each repetition, points:\n\n" + "\n".join(said) + "\n"


def transfer(done: Mapping[str, Any]) -> str:
    """Return each network with its own activations, and with those that were carried over."""
    rows = [
        "| network | original, % | transferred, % | difference, points |",
        "|---|---:|---:|---:|",
    ]
    samples = []
    for network in transferring.NETWORKS:
        pair = [_sample(done, network, kind) for kind in ("transferred", "original")]
        if all(len(one.values) == len(transferring.SEEDS) for one in pair):
            ours, original = pair
            samples += [one.values for one in pair]
            rows.append(
                f"| {network} | {_accuracy(original)} | {_accuracy(ours)} "
                f"| {_difference(ours, original)} |"
            )
    if not samples:
        return MISSING
    found = done["search"]["search"]["best"]
    note = (
        f"\nMeans and standard deviations over {len(transferring.SEEDS)} seeds. A true difference "
        f"of {100 * detectable(samples):.2f} points is found in four cases of five. "
        f"What was carried over, by the sites of resnet20: {_named(found)}.\n"
    )
    return "\n".join(rows) + "\n" + note


def _sample(done: Mapping[str, Any], network: str, kind: str) -> Sample:
    names = [f"{network} {kind} {seed}" for seed in transferring.SEEDS]
    return Sample(kind, tuple(done[name]["test"] for name in names if name in done))


def times(done: Mapping[str, Any]) -> str:
    """Return the ratios of times to those of ReLU."""
    if not done:
        return MISSING
    found = done["times"]
    rows = ["| activation | training step | inference |", "|---|---:|---:|"]
    for label, pair in found["ratios"].items():
        cells = [f"{middle:.2f} [{low:.2f}, {high:.2f}]" for low, middle, high in pair]
        rows.append(f"| {label} | {cells[0]} | {cells[1]} |")
    step, inference = found["milliseconds"]
    note = (
        f"\nRatios to ReLU: median and quartiles over {found['rounds']} rounds, in which all take "
        f"turns. ReLU's step of {found['batch']} images took {step:.1f} ms, its inference "
        f"{inference:.1f} ms.\n"
    )
    return "\n".join(rows) + "\n" + note


def _accuracy(sample: Sample) -> str:
    return f"{100 * sample.mean:.2f} ± {100 * stdev(sample.values):.2f}"


def _difference(ours: Sample, theirs: Sample) -> str:
    found = compare(ours, theirs, maximize=True)
    middle, low, high = (100 * one for one in (found.difference, found.low, found.high))
    told = "" if low > 0 or high < 0 else " (not told from 0)"
    return f"{middle:+.2f} [{low:.2f}, {high:.2f}]{told}"


def _named(candidate: Mapping[str, Any]) -> str:
    """Return a candidate in a line; equal neighbours are counted."""
    names: list[list[Any]] = []
    for spec in candidate["sites"].values():
        size = [str(spec["params"][key]) for key in _SIZES if key in spec["params"]]
        name = "-".join([spec["name"], *size])
        if names and names[-1][0] == name:
            names[-1][1] += 1
        else:
            names.append([name, 1])
    sites = ", ".join(name if count == 1 else f"{count} x {name}" for name, count in names)
    return f"{sites}; rate {candidate['training']['learning_rate_factor']:.2g}x"


def _rounded(data: Any) -> Any:
    match data:
        case float():
            return round(data, 6)
        case dict():
            return {key: _rounded(value) for key, value in data.items()}
        case list():
            return [_rounded(value) for value in data]
    return data


if __name__ == "__main__":
    main()
