"""Which trials of a long study a sampler sees.

The time that TPE takes grows with the number of trials it sees, and old trials of middling value
tell it little. So it sees a view of at most `MAX_VISIBLE` trials; pruners see the whole study.
"""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.study.optuna_private import StudyView, all_trials
from service.study.pareto import pareto_ranks

MAX_VISIBLE = 1000
RULE = "all running, then of the ended the best half, then the most recent"


class Windowed(BaseSampler):
    """A sampler that sees at most `MAX_VISIBLE` trials."""

    def __init__(self, inner: BaseSampler) -> None:
        self.inner = inner

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        # Optuna calls this first, and once for each trial; the other calls use the same view.
        self._window = _window(study, trial)
        return dict(self.inner.infer_relative_search_space(self._window, trial))

    def sample_relative(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        return dict(self.inner.sample_relative(self._window, trial, search_space))

    def sample_independent(
        self,
        study: Study,  # noqa: ARG002
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self.inner.sample_independent(self._window, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self.inner.after_trial(study, trial, state, values)


def visible_study(study: Study) -> Study:
    """Return what a sampler sees of a study while it is asked for nothing."""
    trials = all_trials(study)
    if len(trials) <= MAX_VISIBLE:
        return study
    return StudyView(study, visible_trials(trials, study.directions, MAX_VISIBLE))


def _window(study: Study, asking: FrozenTrial) -> Study:
    """Return what the sampler sees of a study; the trial that is asked for is always in it."""
    trials = all_trials(study)
    if len(trials) <= MAX_VISIBLE:
        return study
    others = [*trials[: asking.number], *trials[asking.number + 1 :]]
    return StudyView(study, [*visible_trials(others, study.directions, MAX_VISIBLE - 1), asking])


def visible_trials(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], limit: int
) -> list[FrozenTrial]:
    """Choose at most `limit` trials that a sampler sees, in the order of their numbers.

    Running trials first, the newest of them if there are more than `limit`. Of the ended trials
    the best get half of the remaining places, the most recent the rest. Failed trials get none.
    """
    running = [trial for trial in trials if trial.state == TrialState.RUNNING][-limit:]
    ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    places = limit - len(running)
    best = _best(ended, directions, places // 2)
    # Trials are compared by identity: `FrozenTrial.__eq__` compares every field.
    chosen = set(map(id, best))
    recent = islice((t for t in reversed(ended) if id(t) not in chosen), places - len(best))
    return sorted([*running, *best, *recent], key=lambda trial: trial.number)


def _best(
    ended: Sequence[FrozenTrial], directions: Sequence[StudyDirection], count: int
) -> list[FrozenTrial]:
    """Return the best completed feasible trials, by Pareto front, then by number."""
    completed = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    maximize = [one == StudyDirection.MAXIMIZE for one in directions]
    ranks = pareto_ranks([trial.values for trial in completed], maximize, best=count)
    order = sorted(range(len(completed)), key=ranks.__getitem__)
    feasible = (completed[index] for index in order if _is_feasible(completed[index]))
    return list(islice(feasible, count))


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())
