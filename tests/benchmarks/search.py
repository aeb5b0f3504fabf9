"""How well searches search: on the table of real trainings, against the simple and the plain.

    python -m tests.benchmarks.search [--repetitions 20] [--trials 100] [--csv FILE]

A search sees one of the measured seeds. What it has found is scored by the mean of the others: the
regret is how much better, in points of validation accuracy, the best of all candidates is by that
mean. `until top 2 %` counts trials until one of those was trained to its end, `epochs` is the
share of all epochs that was trained. Proposals come from the service's live study, with its rule
of repeats. Uniform networks and the original are told beforehand, as baselines are, cost no trial,
and may be the best found. `plain optuna` is a study with Optuna's defaults, and nothing told.
"""

import argparse
import csv
import statistics
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.trial import TrialState

from search_space.search import SearchSpec
from search_space.space.space import Space, make_space
from service.study.live import LiveStudy, TrialResult
from service.study.samplers import pinned_arguments
from service.trials.proposals import MAX_REPEATS_IN_A_ROW
from workers.simulation.table import BUILTIN, Table, load

SAMPLERS = ("tpe", "random", "qmc", "nsga2", "grid")
ENCODINGS = ("conditional", "flat")
PRUNERS = ("none", "median", "asha", "hyperband")
TOP = 0.02
POINTS = 100

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Way:
    """One way to search."""

    sampler: str
    encoding: str
    pruner: str


@dataclass(frozen=True)
class Seen:
    """A table as one search sees it, and the truth that it is scored by."""

    table: Table
    space: Space
    seed: int

    @property
    def curves(self) -> Floats:
        return self.table.accuracy[:, self.seed]

    @property
    def truth(self) -> Floats:
        others = [seed for seed in range(self.table.seeds) if seed != self.seed]
        truth: Floats = self.table.accuracy[:, others, -1].mean(axis=1)
        return truth

    def row(self, params: dict[str, Any]) -> int:
        return self.table.row(self.space.candidate(params))


@dataclass(frozen=True)
class Course:
    """What a search trained: each trial's candidate, and after how many epochs it ended.

    Attributes:
        baselines: Candidates that it knew beforehand.
    """

    rows: Sequence[int]
    steps: Sequence[int]
    baselines: Sequence[int] = ()


@dataclass(frozen=True)
class Line:
    """A line of the table: medians over the repetitions, means of regret with their error."""

    way: str
    until_top: str
    regret_50: float
    regret_50_error: float
    regret_100: float
    regret_100_error: float
    epochs: float


def search(seen: Seen, way: Way, seed: int, trials: int) -> Course:
    """Run one search of `trials` trials, one after another, as the service proposes them."""
    document = _document(seen.table, way, seed)
    space = make_space(document, seen.table.plan)
    pinned = pinned_arguments(document, has_phases=True, epochs=seen.table.epochs)
    live = LiveStudy(document, space, pinned, {}, [])
    told: dict[int, TrialResult] = {}
    for candidate in {space.key(c): c for c in (space.original, *space.uniforms.values())}.values():
        params = space.params_of(candidate)
        assert params is not None
        live.add(params)
        _train(seen, live, seen.table.row(candidate), told, prune=False)
    baselines = list(told)
    grid = space.enumerate()
    steps: dict[int, int] = {}
    dice = np.random.default_rng(seed)
    repeats = 0
    while len(steps) < trials and len(told) < len(seen.table.candidates):
        params = _ask(live, way, grid, repeats, dice, space, seen, told)
        row = seen.table.row(space.candidate(params))
        if row in told:
            repeats += 1
            live.tell(len(live) - 1, told[row])
        else:
            repeats = 0
            steps[row] = _train(seen, live, row, told, prune=True)
    return Course(list(steps), list(steps.values()), baselines)


def _ask(
    live: LiveStudy,
    way: Way,
    grid: Iterator[tuple[dict[str, Any], Any]],
    repeats: int,
    dice: np.random.Generator,
    space: Space,
    seen: Seen,
    told: dict[int, TrialResult],
) -> dict[str, Any]:
    """Ask the study; after too many repeats take an unseen candidate, as the service does."""
    if way.sampler == "grid":
        params = next(grid)[0]
    elif repeats < MAX_REPEATS_IN_A_ROW:
        return live.ask()
    else:
        unseen = [
            params
            for params, candidate in space.enumerate()
            if seen.table.row(candidate) not in told
        ]
        params = unseen[int(dice.integers(len(unseen)))]
    live.add(params)
    return params


def _train(
    seen: Seen, live: LiveStudy, row: int, told: dict[int, TrialResult], *, prune: bool
) -> int:
    """Report a candidate's curve to the study until its end or a stop; return the last step."""
    number, curve = len(live) - 1, seen.curves[row]
    for step, value in enumerate(curve, 1):
        is_last = step == len(curve)
        if live.report(number, step, float(value), may_stop=not is_last) and prune:
            told[row] = TrialResult(TrialState.PRUNED)
            break
    else:
        told[row] = TrialResult(TrialState.COMPLETE, (float(curve[-1]),))
    live.tell(number, told[row])
    return step


def plain(seen: Seen, seed: int, trials: int) -> Course:
    """Search with a study of Optuna's defaults; a repeat is a trial as any other."""
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    rows, steps = [], []
    for _ in range(trials):
        trial = study.ask()
        row = seen.row(seen.space.suggest(trial))
        rows.append(row)
        for step, value in enumerate(seen.curves[row], 1):
            trial.report(float(value), step)
            if trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(value))
        steps.append(step)
    return Course(rows, steps)


def _document(table: Table, way: Way, seed: int) -> SearchSpec:
    return SearchSpec.model_validate(
        {
            "task": {"name": "table"},
            "sites": {"per": "layer"},
            "choices": table.about["choices"],
            "sampler": {"name": way.sampler, "encoding": way.encoding, "seed": seed},
            "pruner": {"name": way.pruner},
        }
    )


def regret(seen: Seen, course: Course, trials: int) -> float:
    """Return the regret of the best of the longest trained, baselines included, in points."""
    done = [
        *zip(course.steps[:trials], course.rows[:trials], strict=True),
        *((seen.table.epochs, row) for row in course.baselines),
    ]
    _, chosen = max(done, key=lambda end: (end[0], seen.curves[end[1], end[0] - 1]))
    return POINTS * float(seen.truth.max() - seen.truth[chosen])


def until_top(seen: Seen, course: Course) -> float:
    """Return after how many trials one of the best 2 % was trained to its end."""
    count = round(TOP * len(seen.truth))
    top = set(np.argsort(seen.truth)[-count:].tolist())
    for number, (row, step) in enumerate(zip(course.rows, course.steps, strict=True), 1):
        if row in top and step == seen.table.epochs:
            return number
    return float("inf")


def measure(options: argparse.Namespace, way: Way | None) -> Line:
    """Repeat one way to search, or None: Optuna's own; each repetition sees the next seed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    table = load(options.table)
    space = _space(table)
    views = [Seen(table, space, n % table.seeds) for n in range(options.repetitions)]
    if way is None:
        courses = [plain(seen, n, options.trials) for n, seen in enumerate(views)]
        return summary("plain optuna (tpe, median)", list(zip(views, courses, strict=True)))
    courses = [search(seen, way, n, options.trials) for n, seen in enumerate(views)]
    name = f"{way.sampler}, {way.encoding}, {way.pruner}"
    return summary(name, list(zip(views, courses, strict=True)))


def summary(name: str, courses: Sequence[tuple[Seen, Course]]) -> Line:
    middle = statistics.median(until_top(seen, course) for seen, course in courses)
    trained = sum(sum(course.steps) for _, course in courses)
    whole = sum(len(course.steps) * seen.table.epochs for seen, course in courses)
    half, full = ([regret(seen, course, n) for seen, course in courses] for n in (50, 100))
    return Line(
        name,
        "never" if middle == float("inf") else f"{middle:g}",
        *_mean_and_error(half),
        *_mean_and_error(full),
        round(trained / whole, 2),
    )


def _space(table: Table) -> Space:
    return make_space(_document(table, Way("tpe", "conditional", "none"), 0), table.plan)


def uniform_regrets(table: Table, space: Space) -> list[float]:
    """Return the regret of the best uniform network, for each seed that may be shown."""
    found = []
    for seed in range(table.seeds):
        seen = Seen(table, space, seed)
        rows = [table.row(c) for c in (space.original, *space.uniforms.values())]
        best = max(rows, key=lambda row: seen.curves[row, -1])
        found.append(POINTS * float(seen.truth.max() - seen.truth[best]))
    return found


def _mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return round(statistics.mean(values), 3), round(error, 3)


def ways() -> Iterator[Way]:
    """Yield every sampler and encoding without and with the pruner that ships, then TPE's rest."""
    for sampler in SAMPLERS:
        for encoding in ENCODINGS if sampler != "grid" else ENCODINGS[:1]:
            yield from (Way(sampler, encoding, pruner) for pruner in ("none", "asha"))
    for encoding in ENCODINGS:
        yield from (Way("tpe", encoding, pruner) for pruner in ("median", "hyperband"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how well searches search.")
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--table", type=Path, default=BUILTIN)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    lines = []
    with ProcessPoolExecutor(options.processes) as pool:
        for line in pool.map(partial(measure, options), [*ways(), None]):
            lines.append(line)
            _show(line)
    table = load(options.table)
    mean, error = _mean_and_error(uniform_regrets(table, _space(table)))
    print(f"best uniform network: regret {mean} ± {error}")  # noqa: T201
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Line)])
            writer.writeheader()
            writer.writerows(asdict(line) for line in lines)


def _show(line: Line) -> None:
    print(  # noqa: T201
        f"{line.way:32} until top 2 % {line.until_top:>6}  regret at 50 {line.regret_50:6.3f} ± "
        f"{line.regret_50_error:.3f}  at 100 {line.regret_100:6.3f} ± {line.regret_100_error:.3f}"
        f"  epochs {line.epochs:.2f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
