"""The plan of the evidence: what is trained, which rate is chosen, what diverged."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.evidence.page import PAGE, PARTS, everything, filled
from tests.benchmarks.evidence.plan import (
    CHOOSING_SEEDS,
    EDITIONS,
    EVERYWHERE,
    RATES,
    SEEDS,
    TASKS,
    Run,
    trained,
)
from tests.benchmarks.evidence.progress import do, read
from tests.benchmarks.evidence.rates import chosen_rate, missing
from tests.benchmarks.evidence.result import Result
from tests.benchmarks.evidence.tables import tables
from tests.benchmarks.evidence.timing import measured
from tests.benchmarks.evidence.trainer import Trainer
from workers.errors import DataMissing

CPU = EDITIONS["cpu"]
RUNS = CPU.beforehand()
RELU, PWLU = EVERYWHERE["ReLU"], EVERYWHERE["PWLU"]


def result(validation: float, test: float | None = 0.5) -> Result:
    return Result([0.1, validation], test, 1000, 0.01)


def on_the_grid(run: Run, validation: Mapping[float, Sequence[float]]) -> dict[Run, Result]:
    """Return results of a network on the seeds that choose, by rate and seed."""
    return {
        one: result(validation[rate][one.seed])
        for rate in RATES
        for one in trained(run, rate, CHOOSING_SEEDS)
    }


def test_a_rate_is_chosen_by_mean_validation_of_the_first_seeds() -> None:
    grid = on_the_grid(RELU, {0.33: (0.8, 0.8), 1.0: (0.9, 0.6), 3.0: (0.79, 0.83)})
    assert chosen_rate(grid, RELU) == 3.0


def test_no_rate_is_chosen_before_all_are_trained() -> None:
    grid = on_the_grid(RELU, dict.fromkeys(RATES, (0.8, 0.8)))
    grid.popitem()
    assert chosen_rate(grid, RELU) is None
    others = trained(RELU, 0.33, set(SEEDS) - set(CHOOSING_SEEDS))
    assert not set(others) & set(missing(grid, CPU))


def test_a_rate_that_diverged_once_is_not_chosen() -> None:
    grid = on_the_grid(RELU, {0.33: (0.5, 0.5), 1.0: (0.6, 0.6), 3.0: (0.9, 0.9)})
    grid[trained(RELU, 3.0)[1]] = result(0.95, test=None)
    assert chosen_rate(grid, RELU) == 1.0


def test_the_chosen_rate_is_trained_on_all_seeds_and_no_other_is() -> None:
    done = {run: result(0.6 if run.rate == 1.0 else 0.5) for run in RUNS}
    done |= on_the_grid(PWLU, {0.33: (0.9, 0.9), 1.0: (0.5, 0.5), 3.0: (0.5, 0.5)})
    assert missing(done, CPU) == [
        run for run in trained(PWLU, 0.33) if run.seed not in CHOOSING_SEEDS
    ]


def test_what_is_trained_at_the_fixed_rate_comes_first() -> None:
    rates = [run.rate for run in RUNS]
    first_other = next(place for place, rate in enumerate(rates) if rate != 1.0)
    assert set(rates[:first_other]) == {1.0}
    assert 1.0 not in rates[first_other:]


def test_a_default_is_trained_under_one_name() -> None:
    names = {(run.name, run.params) for run in RUNS}
    assert ("pwlu", (("segments", 16),)) not in names
    assert ("meta_acon", (("reduction", 16),)) not in names


def test_a_table_says_what_diverged() -> None:
    done = {run: result(0.5, 0.8 + run.seed / 100) for run in RUNS}
    done[trained(PWLU, 1.0)[2]] = result(0.5, test=None)
    first = next(iter(tables(done, CPU).values()))
    assert f"| PWLU | 1x | 1,000 | 1 of {len(SEEDS)} diverged | - |" in first


def test_only_what_is_told_among_all_rows_is_bold() -> None:
    done = {run: result(0.5, 0.8 + run.seed / 1000) for run in RUNS}
    done |= {run: result(0.5, 0.9 + run.seed / 1000) for run in trained(PWLU, 1.0)}
    first = next(iter(tables(done, CPU).values()))
    assert [line.split("|")[1].strip() for line in first.splitlines() if "**" in line] == ["PWLU"]


def test_the_tables_in_the_docs_are_those_of_the_stored_exports() -> None:
    page = PAGE.read_text()
    assert page.count("<!-- table: ") > len(PARTS)
    assert filled(page, everything()) == page


@pytest.mark.slow
def test_the_gpus_edition_trains_its_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = EDITIONS["gpu"].beforehand()
    assert {run.network for run in gpu} == {"resnet20", "shufflenet-v2-0.5x"}
    small = {"dataset": "digits", "epochs": 1, "train_samples": 64, "batch_size": 32}
    monkeypatch.setitem(TASKS, "resnet20", {**TASKS["resnet20"], **small})
    run = next(run for run in gpu if (run.network, run.name) == ("resnet20", "pwlu"))
    found = Trainer(tmp_path, tmp_path).train(run)
    assert len(found.validation) == 1
    assert found.test is not None
    with pytest.raises(DataMissing, match=r"cifar10.*--data-root"):
        Trainer(tmp_path, tmp_path).train(replace(run, network="shufflenet-v2-0.5x"))


def test_a_file_of_progress_is_read_again_though_its_end_is_cut(tmp_path: Path) -> None:
    file = tmp_path / "progress.jsonl"
    made: list[str] = []

    def step(name: str) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
        def make(done: Mapping[str, Any]) -> dict[str, Any]:
            made.append(name)
            return {"before": [*done]}

        return make

    steps = [(name, step(name)) for name in ("a", "b", "c")]
    do(steps, file, until=lambda: len(made) == 2)
    assert read(file) == {"a": {"before": []}, "b": {"before": ["a"]}}
    file.write_text(file.read_text()[:-20])
    do(steps, file, until=lambda: False)
    assert made == ["a", "b", "b", "c"]
    assert list(read(file)) == ["a", "b", "c"]


@pytest.mark.slow
def test_every_network_is_timed_against_relu() -> None:
    found = measured(0)
    assert set(found["ratios"]) < set(EVERYWHERE)
    assert found["ratios"]["ReLU"] == [[1.0] * 3] * 2
    assert found["ratios"]["FReLU"][0][1] > 1
