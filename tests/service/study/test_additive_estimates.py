"""What the model says of trained candidates and of what matters."""

from typing import Literal

import numpy as np
import optuna
import pytest

from service.study.additive import AdditiveSampler, Estimates

CHOICES = ("relu", "gelu", "silu", "pwlu")
WORTH = {"relu": 0.0, "gelu": 1.0, "silu": 0.4, "pwlu": -0.5}
NOISE = 0.3

Direction = Literal["minimize", "maximize"]


def searched(
    direction: Direction, *, blocks: int = 2, trials: int = 40
) -> tuple[optuna.Study, Estimates]:
    """Search sites of which the second matters most and the third wants another choice."""
    sampler = AdditiveSampler(seed=0, block=lambda number: number % blocks)
    study = optuna.create_study(direction=direction, sampler=sampler)
    sign = 1.0 if direction == "maximize" else -1.0
    rng = np.random.default_rng(0)
    for number in range(trials):
        trial = study.ask()
        first, second, third = (
            WORTH[trial.suggest_categorical(f"site {n}", CHOICES)] for n in range(3)
        )
        worth = first + 2 * second - third + 5 * (number % blocks)
        study.tell(trial, sign * (worth + NOISE * rng.standard_normal()))
    estimates = Estimates.of(study, sampler)
    assert estimates is not None
    return study, estimates


@pytest.fixture(params=["maximize", "minimize"])
def direction(request: pytest.FixtureRequest) -> Direction:
    return "maximize" if request.param == "maximize" else "minimize"


def test_the_best_candidate_is_recommended(direction: Direction) -> None:
    study, estimates = searched(direction)
    best = estimates.ranking(estimates.best_uniform)[0]

    assert study.trials[best.trials[0]].params == {
        "site 0": "gelu",
        "site 1": "gelu",
        "site 2": "pwlu",
    }
    assert best.beats_rival is not None
    assert best.beats_rival > 0.9
    assert best.low is not None
    assert best.high is not None
    assert best.low < best.mean < best.high


def test_the_first_of_the_ranking_has_the_best_value_in_the_studys_unit(
    direction: Direction,
) -> None:
    ranking = searched(direction)[1].ranking()
    means = [one.mean for one in ranking]

    assert means == sorted(means, reverse=direction == "maximize")


def test_the_rival_does_not_beat_itself() -> None:
    estimates = searched("maximize")[1]
    ranking = estimates.ranking(estimates.best)

    assert ranking[0].beats_rival is None, "the rival is not better than itself"
    assert all(one.beats_rival is not None and one.beats_rival < 0.5 for one in ranking[1:])


def test_the_probability_is_that_of_joint_draws() -> None:
    estimates = searched("maximize", trials=16)[1]
    rival = estimates.ranking()[2].code
    row = estimates.codes.tolist().index(list(rival))
    rng = np.random.default_rng(0)
    better = np.zeros(len(estimates.codes))
    parts = zip(estimates._probabilities, estimates._posteriors, strict=True)
    for probability, posterior in parts:
        means, covariance = posterior.means(estimates.codes), posterior.covariance(estimates.codes)
        draws = rng.multivariate_normal(means, covariance, 4000)
        better += probability * (draws > draws[:, [row]]).mean(axis=0)

    for one in estimates.ranking(rival):
        if one.code != rival:
            place = estimates.codes.tolist().index(list(one.code))
            assert one.beats_rival == pytest.approx(better[place], abs=0.02)


def test_the_best_uniform_candidate_is_the_best_of_them() -> None:
    study, estimates = searched("maximize")
    assert estimates.best_uniform is not None
    (found,) = (one for one in estimates.ranking() if one.code == estimates.best_uniform)

    assert set(study.trials[found.trials[0]].params.values()) == {"gelu"}


def test_a_rival_is_a_trained_candidate() -> None:
    estimates = searched("maximize", trials=8)[1]
    trained = {tuple(code) for code in estimates.codes.tolist()}
    other = next((a, b, 0) for a in range(4) for b in range(4) if (a, b, 0) not in trained)

    with pytest.raises(ValueError, match="the rival is a trained candidate"):
        estimates.ranking(other)


def test_importances_name_what_matters() -> None:
    importances = searched("maximize")[1].importances()

    assert importances[0].name == "site 1"
    assert sum(one.mean for one in importances) == pytest.approx(1)
    assert all(0 <= one.low <= one.high <= 1 for one in importances)


def test_choices_are_compared_with_their_mean() -> None:
    choices = searched("maximize")[1].choices()
    # At all three sites a choice is worth twice its worth.
    mean = 2 * np.mean(list(WORTH.values()))

    assert next(one.name for one in choices) == "gelu"
    assert sum(one.mean for one in choices) == pytest.approx(0, abs=1e-6)
    for one in choices:
        assert one.low < 2 * WORTH[one.name] - mean < one.high


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(12):
        effects = rng.standard_normal((3, 4))
        sampler = AdditiveSampler(seed=int(rng.integers(1000)))
        study = optuna.create_study(direction="maximize", sampler=sampler)
        truths = []
        for _ in range(24):
            trial = study.ask()
            levels = [
                CHOICES.index(trial.suggest_categorical(f"site {n}", CHOICES)) for n in range(3)
            ]
            truths.append(effects[np.arange(3), levels].sum())
            study.tell(trial, truths[-1] + 0.6 * rng.standard_normal())
        estimates = Estimates.of(study, sampler)
        assert estimates is not None
        better = estimates.ranking()[: len(estimates.codes) // 2]
        inside += [one.low < truths[one.trials[0]] < one.high for one in better]

    # Of 90 %: by far most, and not all.
    assert 0.8 < np.mean(inside) < 0.98


def test_how_bad_a_clipped_candidate_is_the_interval_leaves_open() -> None:
    sampler = AdditiveSampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for number in range(12):
        trial = study.ask()
        for n in range(3):
            trial.suggest_categorical(f"site {n}", CHOICES)
        study.tell(trial, -1000.0 if number == 5 else 1.0 + number / 100)
    estimates = Estimates.of(study, sampler)
    assert estimates is not None
    (bad,) = (one for one in estimates.ranking() if one.trials == (5,))

    assert bad.low == -1000
    assert bad.observed == -1000


def test_nothing_is_said_before_two_trials() -> None:
    sampler = AdditiveSampler(seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)

    assert Estimates.of(study, sampler) is None
    trial = study.ask()
    study.tell(trial, trial.suggest_categorical("site", (1, 2, 3)))
    assert Estimates.of(study, sampler) is None
