"""What we take from inside Optuna still does what its public API shows.

A test here that fails with a new version of Optuna names the function of `optuna_private` that
must change with it.
"""

import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, QMCSampler, RandomSampler, TPESampler
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from service.study import optuna_private as private

SPACE: dict[str, Any] = {
    "x": FloatDistribution(0.0, 1.0),
    "act": CategoricalDistribution(("relu", "silu", "gelu")),
}
SEEDED: list[Any] = [
    lambda seed: TPESampler(seed=seed, n_startup_trials=3, multivariate=True),
    lambda seed: NSGAIISampler(seed=seed, population_size=4),
    lambda seed: RandomSampler(seed=seed),
    # Until so many trials have ended, TPE draws with a sampler inside it.
    lambda seed: TPESampler(seed=seed, n_startup_trials=50),
]


def study_of(sampler: BaseSampler | None = None, trials: int = 0, **more: Any) -> optuna.Study:
    """Return a study in memory with ended trials that `ask` proposed."""
    study = optuna.create_study(sampler=sampler or RandomSampler(seed=0), **more)
    for number in range(trials):
        study.tell(study.ask(SPACE), float(number % 7))
    return study


@pytest.mark.parametrize("make", SEEDED)
def test_seed_generators_makes_a_used_sampler_as_a_new_one(make: Any) -> None:
    """Public: two samplers of one seed propose the same."""

    def continued(sampler: BaseSampler, used: bool) -> dict[str, Any]:
        study = study_of()
        study.add_trials(study_of(trials=12).trials)
        study.sampler = sampler
        if used:
            study.ask(SPACE)
            study.tell(study.trials[-1].number, state=TrialState.FAIL)
        else:
            study.add_trial(create_trial(state=TrialState.FAIL))
        private.seed_generators(sampler, 5)
        return dict(study.ask(SPACE).params)

    assert continued(make(1), used=True) == continued(make(2), used=False)


def test_no_other_sampler_that_we_offer_is_seeded() -> None:
    with pytest.raises(AssertionError):
        private.seed_generators(QMCSampler(seed=0), 1)


def test_non_domination_ranks_has_the_public_front_first() -> None:
    """Public: `best_trials` is the front of rank 0."""
    losses = np.random.default_rng(0).integers(0, 6, (40, 2)).astype(float)
    study = optuna.create_study(directions=["minimize", "minimize"])
    study.add_trials([create_trial(values=list(row)) for row in losses])
    ranks = private.non_domination_ranks(losses, best=None)
    front = {number for number, rank in enumerate(ranks) if rank == 0}
    assert front == {trial.number for trial in study.best_trials}
    rest = [number for number in range(40) if number not in front]
    again = private.non_domination_ranks(losses[rest], best=None)
    assert [ranks[number] - 1 for number in rest] == again
    few = private.non_domination_ranks(losses, best=1)
    assert [rank == 0 for rank in few] == [rank == 0 for rank in ranks]


def test_all_trials_has_the_trials_of_every_hyperband_bracket() -> None:
    """Public: `get_trials` of the study that a sampler gets from Hyperband has one bracket."""
    seen: list[tuple[int, int]] = []

    class Spy(RandomSampler):
        def infer_relative_search_space(
            self,
            study: Any,
            trial: Any,  # noqa: ARG002
        ) -> dict[str, Any]:
            seen.append((len(private.all_trials(study)), len(study.get_trials(deepcopy=False))))
            return {}

    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=27)
    study = study_of(Spy(seed=0), pruner=pruner)
    for _ in range(12):
        trial = study.ask(SPACE)
        trial.report(0.5, 1)
        trial.should_prune()  # The pruner makes its brackets when it is first asked.
        study.tell(trial, 0.5)
    assert [whole for whole, _ in seen] == list(range(1, 13))
    assert any(bracket < whole for whole, bracket in seen)
    done = (TrialState.COMPLETE,)
    assert private.all_trials(study, done) == study.get_trials(states=done)
    assert private.all_trials(study)[0] is private.all_trials(study)[0], "no copies"


@pytest.mark.parametrize("make", [SEEDED[0], SEEDED[2]])
def test_a_study_view_shows_a_sampler_only_the_visible_trials(make: Any) -> None:
    """Public: a study that never had the other trials."""
    long = study_of(trials=20)
    long.add_trial(create_trial(state=TrialState.RUNNING))
    visible = [*long.trials[3:15], long.trials[-1]]
    view = private.StudyView(long, visible)
    short = study_of()
    short.add_trials(visible)
    running = (TrialState.RUNNING,)
    assert view.get_trials(deepcopy=False) == visible
    assert view.get_trials(deepcopy=False, states=running) == visible[-1:]

    def proposed(study: optuna.Study) -> dict[str, Any]:
        sampler: BaseSampler = make(1)
        asking = study.get_trials(deepcopy=False)[-1]
        sampler.before_trial(study, asking)
        space = sampler.infer_relative_search_space(study, asking)
        found = dict(sampler.sample_relative(study, asking, space))
        for name in sorted(SPACE.keys() - found.keys()):
            found[name] = sampler.sample_independent(study, asking, name, SPACE[name])
        return found

    assert proposed(view) == proposed(short)
    assert isinstance(make(1), RandomSampler) or proposed(view) != proposed(long)


def test_set_values_changes_what_the_study_answers() -> None:
    study = study_of(trials=3)
    private.set_values(study, 0, [-1.0])
    assert (study.best_trial.number, study.best_value) == (0, -1.0)
    assert study.trials[0].values == [-1.0]


def test_set_params_makes_a_trial_as_one_that_was_asked() -> None:
    """Public: the trial that `ask` made, with parameters and distributions."""
    asked = study_of(trials=3)
    study = study_of()
    for number, trial in enumerate(asked.trials):
        study.add_trial(create_trial(value=trial.value))
        private.set_params(study, number, trial.params, trial.distributions)
    for one, other in zip(study.trials, asked.trials, strict=True):
        assert (one.params, one.distributions) == (other.params, other.distributions)
        assert one.values == other.values
    shared = study.get_trials(deepcopy=False)[0].distributions["act"]
    assert shared is study.get_trials(deepcopy=False)[0].distributions["act"]


def test_a_constraint_is_kept_under_its_prefix() -> None:
    study = study_of()
    trial = study.ask()
    trial.set_constraint("latency", 0.5)
    assert study.trials[0].system_attrs == {f"{private.CONSTRAINT_PREFIX}latency": 0.5}
    attributes = {f"{private.CONSTRAINT_PREFIX}latency": 0.5}
    again = create_trial(state=TrialState.RUNNING, system_attrs=attributes)
    assert again.constraints == {"latency": 0.5} == study.trials[0].constraints


def test_nsga2_keeps_generations_and_parents_under_these_names() -> None:
    storage = optuna.storages.InMemoryStorage()
    study = study_of(
        NSGAIISampler(seed=0, population_size=4), trials=13, storage=storage, study_name="one"
    )
    generations = [trial.system_attrs[private.GENERATION] for trial in study.trials]
    assert generations == sorted(generations)
    assert {0, 1, 2} <= set(generations)
    attributes = storage.get_study_system_attrs(storage.get_study_id_from_name("one"))
    parents = [key for key in attributes if key.startswith(private.PARENTS_PREFIX)]
    assert parents
    assert {int(key.removeprefix(private.PARENTS_PREFIX)) for key in parents} <= set(generations)


def test_a_trial_made_for_a_stored_one_works_as_the_asked_one() -> None:
    """`LiveStudy` makes `optuna.Trial` itself, which Optuna does not recommend."""
    storage = optuna.storages.InMemoryStorage()
    study = study_of(storage=storage, study_name="one")
    asked = study.ask(SPACE)
    study_id = storage.get_study_id_from_name("one")
    id = storage.get_trial_id_from_study_id_trial_number(study_id, 0)
    made = optuna.Trial(study, id)
    assert (made.number, made.params) == (asked.number, asked.params)
    made.report(0.5, 1)
    made.set_constraint("latency", 1.0)
    study.tell(0, 0.25)
    [ended] = study.trials
    assert (ended.value, ended.intermediate_values) == (0.25, {1: 0.5})
    assert ended.constraints == {"latency": 1.0}


@pytest.mark.parametrize("directions", [["minimize"], ["minimize", "maximize"]])
def test_insert_trials_writes_what_add_trial_writes(
    directions: list[Literal["minimize", "maximize"]], tmp_path: Path
) -> None:
    """Public: `add_trial` of the same trials, read back with `trials`."""
    moment = datetime.datetime(2026, 3, 29, 1, 30, tzinfo=datetime.UTC)
    trials = [
        FrozenTrial(
            number=number,
            trial_id=number + 1,
            state=state,
            value=None,
            values=values,
            datetime_start=moment,
            datetime_complete=None if state is TrialState.RUNNING else moment,
            params={"x": 0.25, "act": "gelu"} if number else {},
            distributions=SPACE if number else {},
            user_attrs={"network": {"sites": ["a"]}, "label": None},
            system_attrs={f"{private.CONSTRAINT_PREFIX}latency": 0.5},
            intermediate_values={1: 0.5, 2: 0.75},
        )
        for number, (state, values) in enumerate(
            [
                (TrialState.RUNNING, None),
                (TrialState.COMPLETE, [0.5, 2.0][: len(directions)]),
                (TrialState.PRUNED, None),
                (TrialState.FAIL, None),
            ]
        )
    ]

    def stored(name: str) -> tuple[optuna.Study, str]:
        url = f"sqlite:///{tmp_path}/{name}.db"
        storage = RDBStorage(url)
        study = optuna.create_study(study_name="s", storage=storage, directions=directions)
        storage.remove_session()
        storage.engine.dispose()
        return study, url

    public, _ = stored("public")
    public.add_trials(trials)
    _, url = stored("inserted")
    private.insert_trials(url, "s", trials)
    loaded = optuna.load_study(study_name="s", storage=url)
    assert loaded.trials == public.trials
    # It goes on where the inserted trials end.
    assert loaded.ask(SPACE).number == len(trials)
