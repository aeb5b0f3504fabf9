"""The additive sampler and the mixed one in plain Optuna studies."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from service.study.additive import AdditiveSampler, AutoSampler, Estimates, Parent
from service.study.additive.mixed import PROPOSER
from service.study.additive.observations import (
    CLIPPED_BELOW,
    Observations,
    observe,
    robust_scale,
)
from service.study.attributes import SEED_BLOCK
from tests.service.study.additive_cases import plain_space

optuna.logging.set_verbosity(optuna.logging.WARNING)

CHOICES = ("relu", "gelu", "silu", "pwlu")
ONE: BaseDistribution = CategoricalDistribution(CHOICES)
SPACE = {f"site {n}": ONE for n in range(4)}
WORTH = {"relu": 0.0, "gelu": 1.0, "silu": 0.4, "pwlu": -0.5}

Sampler = Callable[..., BaseSampler]
BOTH = pytest.mark.parametrize("sampler", [AdditiveSampler, AutoSampler])


def objective(trial: optuna.Trial) -> float:
    """Four sites, of which the last wants another choice; options and a rate that matter."""
    total = 0.0
    for site in range(4):
        choice = trial.suggest_categorical(f"site {site}", CHOICES)
        total += WORTH[choice] if site < 3 else -WORTH[choice]
        if choice == "pwlu":
            segments = trial.suggest_categorical(f"site {site}/pwlu/segments", (4, 8, 16))
            total += math.log2(segments) / 10
    rate = trial.suggest_float("rate", 1e-4, 1e-1, log=True)
    return total - (math.log10(rate) + 2.5) ** 2


@BOTH
def test_it_learns_in_a_plain_study_with_conditional_parameters(sampler: Sampler) -> None:
    found = optuna.create_study(direction="maximize", sampler=sampler(seed=1))
    chance = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=1))
    for study in (found, chance):
        study.optimize(objective, n_trials=50)

    assert found.best_value > 3.6 > chance.best_value
    values = [trial.values[0] for trial in found.trials]
    assert np.median(values[-15:]) > np.median(values[:15]) + 1


@BOTH
def test_it_minimizes_as_it_maximizes(sampler: Sampler) -> None:
    up = optuna.create_study(direction="maximize", sampler=sampler(SPACE, seed=3))
    down = optuna.create_study(direction="minimize", sampler=sampler(SPACE, seed=3))
    for _ in range(25):
        for study, sign in ((up, 1.0), (down, -1.0)):
            trial = study.ask()
            study.tell(trial, sign * _worth(_suggest(trial)))

    assert [t.params for t in up.trials] == [t.params for t in down.trials]


@BOTH
def test_a_rebuilt_study_proposes_what_the_unbroken_one_does(sampler: Sampler) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(SPACE, seed=5))
    asked = []
    for number in range(30):
        asked.append(study.ask())
        _suggest(asked[-1])
        # Three run at a time, and they end out of order.
        if number >= 3:
            ending = asked.pop(number % 3)
            study.tell(ending, _worth(ending.params))
        if number % 7 == 0:
            twin = optuna.create_study(direction="maximize", sampler=sampler(SPACE, seed=5))
            twin.add_trials(study.get_trials())
            assert _suggest(twin.ask()) == _next_of(study)


def _next_of(study: optuna.Study) -> dict[str, Any]:
    """Ask a copy with the same sampler, which remembers all that it did: the study goes on."""
    copy = optuna.create_study(direction=study.direction, sampler=study.sampler)
    copy.add_trials(study.get_trials())
    return _suggest(copy.ask())


@BOTH
def test_seeds_decide(sampler: Sampler) -> None:
    def proposals(seed: int) -> list[dict[str, Any]]:
        study = optuna.create_study(direction="maximize", sampler=sampler(SPACE, seed=seed))
        for _ in range(12):
            trial = study.ask()
            study.tell(trial, _worth(_suggest(trial)))
        return [trial.params for trial in study.trials]

    assert proposals(1) == proposals(1)
    assert proposals(1) != proposals(2)


@BOTH
def test_uniform_candidates_come_first(sampler: Sampler) -> None:
    study = optuna.create_study(direction="maximize", sampler=sampler(SPACE, seed=0))
    for _ in range(5):
        trial = study.ask()
        study.tell(trial, _worth(_suggest(trial)))

    uniform = [set(trial.params.values()) for trial in study.trials]
    assert uniform[:4] == [{choice} for choice in CHOICES]
    assert len(uniform[4]) > 1


def test_trials_that_run_side_by_side_are_different() -> None:
    study = optuna.create_study(direction="maximize", sampler=AdditiveSampler(SPACE, seed=0))
    for _ in range(12):
        trial = study.ask()
        study.tell(trial, _worth(_suggest(trial)))

    running = [tuple(_suggest(study.ask()).values()) for _ in range(8)]
    assert len(set(running)) == 8


def test_a_candidate_may_be_trained_again_in_another_block_only() -> None:
    two = {"one": ONE, "two": ONE}
    sampler = AdditiveSampler(two, seed=0, block=lambda number: number // 16)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    seen = []
    for _ in range(32):
        trial = study.ask()
        seen.append(tuple(trial.suggest_categorical(name, CHOICES) for name in two))
        study.tell(trial, sum(WORTH[choice] for choice in seen[-1]))

    assert len(set(seen[:16])) == len(set(seen[16:])) == 16


def test_a_failed_candidate_is_not_proposed_again() -> None:
    two = {"one": ONE, "two": ONE}
    study = optuna.create_study(direction="maximize", sampler=AdditiveSampler(two, seed=0))
    seen = []
    for number in range(16):
        trial = study.ask()
        seen.append(tuple(trial.suggest_categorical(name, CHOICES) for name in two))
        study.tell(trial, None if number % 2 else 1.0, state=_state(number % 2 == 0))

    assert len(set(seen)) == 16


@settings(deadline=None, max_examples=25)
@given(
    values=st.lists(
        st.one_of(
            st.floats(allow_nan=False),
            st.sampled_from([0.0, 1e300, -1e300, math.inf, -math.inf]),
            st.none(),
        ),
        min_size=1,
        max_size=14,
    )
)
def test_no_value_breaks_it(values: list[float | None]) -> None:
    sampler = AutoSampler(SPACE, seed=0, uniform_first=False)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for value in values:
        trial = study.ask()
        _suggest(trial)
        study.tell(trial, value, state=_state(value is not None))

    assert set(_suggest(study.ask()).values()) <= set(CHOICES)
    estimates = Estimates.of(study, sampler.model)
    if estimates is not None:
        assert all(math.isfinite(one.mean) for one in estimates.ranking(estimates.best))


def test_a_collapsed_training_says_no_more_than_a_bad_one() -> None:
    values = np.array([70.0, 71.0, 70.5, 69.0, 70.2, 10.0, -1e9, math.nan])
    scale = robust_scale(values, StudyDirection.MAXIMIZE)

    assert scale.forward(values)[5:].tolist() == [-CLIPPED_BELOW] * 3
    assert (scale.forward(values)[:5] > -CLIPPED_BELOW).all()
    np.testing.assert_allclose(scale.back(scale.forward(values[:3])), values[:3])


def test_an_outlier_above_stays_the_best_and_bends() -> None:
    values = np.array([*np.linspace(0.9, 1.1, 21), 2.0, 4.0, 1e9])
    scaled = robust_scale(values, StudyDirection.MAXIMIZE).forward(values)

    assert scaled[20] < 4 < scaled[21] < scaled[22] < scaled[23] == 8


def test_a_stopped_trial_counts_with_its_report_and_the_gain_of_others() -> None:
    seen = _observed(
        _trial(TrialState.COMPLETE, 0.9, {1: 0.5, 2: 0.7, 3: 0.9}),
        _trial(TrialState.COMPLETE, 0.8, {1: 0.3, 2: 0.6, 3: 0.8}),
        _trial(TrialState.PRUNED, None, {1: 0.2}),
    )
    values, variances = seen.finals

    assert values == pytest.approx([0.9, 0.8, 0.2 + 0.45])
    assert variances[:2].tolist() == [0, 0]
    assert variances[2] > 0


def test_what_violates_a_constraint_or_reported_nothing_is_the_worst() -> None:
    bad = _trial(TrialState.COMPLETE, 0.99, {})
    bad.system_attrs["constraints:latency"] = 0.1
    seen = _observed(
        _trial(TrialState.COMPLETE, 0.9, {}),
        _trial(TrialState.COMPLETE, 0.8, {}),
        bad,
        _trial(TrialState.PRUNED, None, {}),
    )

    assert seen.data.values[2:].tolist() == [-CLIPPED_BELOW] * 2


def test_the_block_of_a_trial_is_its_attribute_or_follows_from_its_number() -> None:
    named = _trial(TrialState.COMPLETE, 0.9, {})
    named.user_attrs[SEED_BLOCK] = "b"
    seen = _observed(named, _trial(TrialState.COMPLETE, 0.8, {}), block_of=lambda _: "c")

    assert seen.blocks == ("b", "c")
    assert seen.data.blocks.tolist() == [0, 1]


def test_settings_rest_on_the_first_observations_alone() -> None:
    sampler = AdditiveSampler(SPACE, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    lengths = []
    for _ in range(60):
        trial = study.ask()
        study.tell(trial, _worth(_suggest(trial)))
        kernel = sampler.kernel(study, SPACE)
        lengths.append(sampler.fitted_length(sampler.observations(study, kernel.space)))

    assert lengths[:9] == [1, 2, 2, 4, 4, 4, 4, 8, 8]
    assert set(lengths[40:]) == {40, 44, 48, 52, 57}


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(
        directions=["maximize", "minimize"], sampler=AdditiveSampler(SPACE, seed=0)
    )

    with pytest.raises(ValueError, match="one objective, got 2"):
        _suggest(study.ask())


def test_parents_may_be_given() -> None:
    space: dict[str, BaseDistribution] = {"act": ONE, "size": CategoricalDistribution((4, 8))}
    parents = {"size": Parent("act", frozenset({3}))}
    sampler = AdditiveSampler(space, parents=parents, seed=0)
    study = optuna.create_study(sampler=sampler)

    assert sampler.kernel(study, space).space.sizes == (5,)


def test_both_propose_in_turn_until_they_can_be_judged() -> None:
    study = optuna.create_study(direction="maximize", sampler=AutoSampler(SPACE, seed=0))
    for _ in range(16):
        trial = study.ask()
        study.tell(trial, _worth(_suggest(trial)))
    proposers = [trial.system_attrs[PROPOSER] for trial in study.trials]

    assert proposers[:4] == ["model"] * 4
    assert proposers[4:].count("tpe") >= 4


def test_the_share_follows_the_prediction_within_its_limits() -> None:
    sampler = AutoSampler(SPACE, seed=0)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    for _ in range(60):
        trial = study.ask()
        study.tell(trial, _worth(_suggest(trial)))

    # The worth is a sum over sites: what the model is made for.
    assert sampler.share(study) == 0.75
    late = [trial.system_attrs[PROPOSER] for trial in study.trials[30:]]
    assert late.count("model") > late.count("tpe")


def test_the_example_of_the_docs_runs() -> None:
    root = Path(__file__).parents[3]
    ran = subprocess.run(
        [sys.executable, "docs/examples/additive_sampler.py", "12"],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "better than the best uniform network" in ran.stdout
    assert "layer 0" in ran.stdout


def _suggest(trial: optuna.Trial) -> dict[str, Any]:
    return {name: trial.suggest_categorical(name, CHOICES) for name in SPACE}


def _worth(params: dict[str, Any]) -> float:
    return sum(WORTH[choice] * (n + 1) for n, choice in enumerate(params.values()))


def _state(completed: bool) -> TrialState:
    return TrialState.COMPLETE if completed else TrialState.FAIL


def _trial(
    state: TrialState, value: float | None, reports: dict[int, float]
) -> optuna.trial.FrozenTrial:
    params = {f"site {n}": "a" for n in range(3)}
    one = CategoricalDistribution(tuple("abcd"))
    return create_trial(
        state=state,
        value=value,
        params=params,
        distributions=dict.fromkeys(params, one),
        intermediate_values=reports,
    )


def _observed(
    *trials: optuna.trial.FrozenTrial, block_of: Callable[[int], str] | None = None
) -> Observations:
    return observe(trials, StudyDirection.MAXIMIZE, plain_space(), block_of)
