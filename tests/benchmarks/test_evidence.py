"""The plan of the evidence: what is trained, which rate is chosen, what diverged."""

from tests.benchmarks.evidence.plan import CHOOSING_SEEDS, EVERYWHERE, RATES, RUNS, SEEDS, trained
from tests.benchmarks.evidence.rates import chosen_rate, demanded
from tests.benchmarks.evidence.result import Result
from tests.benchmarks.evidence.tables import tables
from tests.benchmarks.reproduction import missing

RELU, PWLU = EVERYWHERE["ReLU"], EVERYWHERE["PWLU"]


def result(validation: float, test: float | None = 0.5) -> Result:
    return Result([0.1, validation], test, 1000, 0.01)


def on_the_grid(run, validation):
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
    assert demanded(grid) == []


def test_a_rate_that_diverged_once_is_not_chosen() -> None:
    grid = on_the_grid(RELU, {0.33: (0.5, 0.5), 1.0: (0.6, 0.6), 3.0: (0.9, 0.9)})
    grid[trained(RELU, 3.0)[1]] = result(0.95, test=None)
    assert chosen_rate(grid, RELU) == 1.0


def test_the_chosen_rate_is_trained_on_all_seeds_and_no_other_is() -> None:
    done = {run: result(0.6 if run.rate == 1.0 else 0.5) for run in RUNS}
    done |= on_the_grid(PWLU, {0.33: (0.9, 0.9), 1.0: (0.5, 0.5), 3.0: (0.5, 0.5)})
    assert missing(done) == [run for run in trained(PWLU, 0.33) if run.seed not in CHOOSING_SEEDS]


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
    first = tables(done).split("##")[1]
    assert f"| PWLU | 1x | 1,000 | 1 of {len(SEEDS)} diverged | - |" in first
