"""What a sampler sees of a long study."""

from typing import Any

from optuna.distributions import CategoricalDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search_space.search import SearchSpec
from search_space.space.space import make_space
from search_space.spec import Site, SitePlan
from service.study.live import LiveStudy, StoredTrial, TrialResult
from service.study.samplers import pinned_arguments
from service.study.window import MAX_VISIBLE, visible_trials

LETTERS = CategoricalDistribution(("a", "b", "c"))
UP, DOWN = StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE


def trial(number: int, state: TrialState = TrialState.COMPLETE, **more: Any) -> FrozenTrial:
    given = create_trial(
        state=state,
        params={"x": "abc"[number % 3]},
        distributions={"x": LETTERS},
        **more,
    )
    given.number = number
    return given


def numbers(trials: list[FrozenTrial]) -> list[int]:
    return [one.number for one in trials]


def test_the_best_and_the_most_recent_share_the_places() -> None:
    trials = [trial(number, value=float(-number)) for number in range(20)]
    assert numbers(visible_trials(trials, [UP], 6)) == [0, 1, 2, 17, 18, 19]
    assert numbers(visible_trials(trials, [DOWN], 6)) == [14, 15, 16, 17, 18, 19]


def test_what_runs_is_always_seen_and_failures_never() -> None:
    running = [trial(n, TrialState.RUNNING) for n in (3, 7)]
    failed = [trial(n, TrialState.FAIL) for n in (18, 19)]
    ended = [trial(n, value=float(n)) for n in range(18) if n not in (3, 7)]
    everything = sorted([*running, *failed, *ended], key=lambda one: one.number)
    assert numbers(visible_trials(everything, [UP], 6)) == [3, 7, 14, 15, 16, 17]


def test_what_is_infeasible_or_was_stopped_is_recent_and_never_best() -> None:
    broken: dict[str, Any] = {"constraints": {"latency_ratio": 0.1}}
    trials = [
        trial(0, value=9.0, **broken),
        trial(1, value=1.0),
        trial(2, TrialState.PRUNED, value=9.0),
        trial(3, value=0.5),
        trial(4, value=0.1),
    ]
    assert numbers(visible_trials(trials, [UP], 2)) == [1, 4]
    assert numbers(visible_trials(trials, [UP], 4)) == [1, 2, 3, 4]


def test_of_several_objectives_the_first_front_is_best() -> None:
    trials = [trial(n, values=[v, v]) for n, v in enumerate([3.0, 1.0, 2.0, 0.0, 0.0, 0.0])]
    assert numbers(visible_trials(trials, [UP, UP], 4)) == [0, 2, 4, 5]


PLAN = SitePlan((Site("b0", 4, 16, 1, "relu", "0", "b0"),))
PWLU = [{"b0": "pwlu", "b0/pwlu/segments": segments} for segments in (4, 8, 16)]


def make_study(stored_trials: list[StoredTrial]) -> LiveStudy:
    choices = ["relu", {"name": "pwlu", "segments": [4, 8, 16]}]
    search = SearchSpec.model_validate({"task": {"name": "t"}, "choices": choices})
    pinned = pinned_arguments(search, has_phases=False, epochs=4)
    return LiveStudy(search, make_space(search, PLAN), pinned, {}, stored_trials)


def came_to(value: float) -> TrialResult:
    return TrialResult(TrialState.COMPLETE, (value,), {"infeasible": 0.0})


def test_what_has_left_the_window_leaves_no_trace_in_the_sampler() -> None:
    """The oldest trials, which are the worst, lack a parameter that all others have."""
    past = [StoredTrial({"b0": "relu"}, {}, (), came_to(0.0))] * 40
    past += [
        StoredTrial(PWLU[n % 3], {}, (), came_to(1.0 + n % 7)) for n in range(MAX_VISIBLE - 50)
    ]
    old = make_study(past)
    for number in range(60):
        params, told = PWLU[number % 3], came_to(1.0 + number % 7)
        if number % 20 == 0:
            params, told = old.ask(), TrialResult(TrialState.FAIL, (), {"infeasible": 0.0})
        else:
            old.add(params)
        old.tell(len(past), told)
        past.append(StoredTrial(params, old.attrs(len(past)), (), told))
    new = make_study(past)
    assert old.ask() == new.ask()
    assert old.attrs(len(past)) == new.attrs(len(past))
    assert "b0/pwlu/segments" in old.attrs(len(past))["tpe:relative_params:0"]
