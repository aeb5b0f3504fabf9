"""What a sampler is shown of a study that has become long.

TPE's time grows with what it sees, and what is long past and middling tells it little. So
it sees a second study, of at most `MOST_SEEN` trials; pruners see the whole.
"""

from collections.abc import Container, Sequence
from itertools import islice
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from service.study.pareto import ranks

MOST_SEEN = 1000
RULE = "all running, then of the ended the best half, then the most recent"


class Windowed(BaseSampler):
    """A sampler that is shown at most `MOST_SEEN` trials."""

    def __init__(self, inner: BaseSampler) -> None:
        self.inner = inner

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        # Asked first, and once for each trial: what is seen is settled here.
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


class Window(Study):
    """A study of which only some trials are seen. Made for one ask, and only read."""

    def __init__(self, study: Study, seen: Sequence[FrozenTrial]) -> None:
        super().__init__(study.study_name, study._storage, study.sampler, study.pruner)
        self._seen = seen

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,  # noqa: ARG002
    ) -> list[FrozenTrial]:
        assert not deepcopy, "samplers look, and do not touch"
        return [trial for trial in self._seen if states is None or trial.state in states]


def _window(study: Study, asking: FrozenTrial) -> Study:
    """Return what is seen of a study; the trial that is asked for is always seen."""
    trials = study._get_trials(deepcopy=False)
    if len(trials) <= MOST_SEEN:
        return study
    others = [*trials[: asking.number], *trials[asking.number + 1 :]]
    return Window(study, [*seen(others, study.directions, MOST_SEEN - 1), asking])


def seen(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection], most: int
) -> list[FrozenTrial]:
    """Choose what a sampler sees, in the order of the numbers.

    First what runs, the newest where even that is too much; then of what has ended the best
    for half of the room, and the most recent for the rest. Failures teach a sampler nothing.
    """
    running = [trial for trial in trials if trial.state == TrialState.RUNNING][-most:]
    ended = [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]
    room = most - len(running)
    best = _best(ended, directions, room // 2)
    chosen = set(map(id, best))
    recent = islice((t for t in reversed(ended) if id(t) not in chosen), room - len(best))
    return sorted([*running, *best, *recent], key=lambda trial: trial.number)


def _best(
    ended: Sequence[FrozenTrial], directions: Sequence[StudyDirection], count: int
) -> list[FrozenTrial]:
    """Return the best completed feasible trials: front after front, the earlier trial first."""
    completed = [trial for trial in ended if trial.state == TrialState.COMPLETE]
    maximize = [one == StudyDirection.MAXIMIZE for one in directions]
    front = ranks([trial.values for trial in completed], maximize, best=count)
    order = sorted(range(len(completed)), key=front.__getitem__)
    feasible = (completed[place] for place in order if _is_feasible(completed[place]))
    return list(islice(feasible, count))


def _is_feasible(trial: FrozenTrial) -> bool:
    return all(value <= 0 for value in trial.constraints.values())
