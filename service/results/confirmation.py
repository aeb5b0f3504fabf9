"""The results of a confirmation: the winner and its rivals, trained again on fresh seeds.

First the shortlist is trained once more, which chooses one winner by validation data; where the
length differs from the search's, some candidates from the best to the worst are too. Then the
winner, the best uniform network, and the original with its own and with the winner's
hyperparameters are trained on as many seeds as were fixed at submission. None of these trainings is
stopped early. `searches/confirming.py` decides what is trained next.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sqlalchemy.orm import Session

from search_space.contract import read_candidate, test_metric
from search_space.search import metric_in
from search_space.search_sections import Confirm
from search_space.space.space import Space
from search_space.spec import Candidate
from service.results.objectives import maximizes, means
from service.results.verdict import Comparison, Sample, judge
from service.schemas.states import FINISHED, TrialState
from service.store import trials
from service.store.documents import document_of, space_of
from service.store.models import Search, Trial

SHORTLIST = "shortlist"
SPREAD = "spread"
WINNER = "winner"
ORIGINAL = "original network"
TUNED = "tuned original"
UNIFORM = "best uniform network"

FEWEST_TO_RANK = 3
"""Two candidates always have a tau of 1 or -1, which says nothing."""

FIRST_STAGE = (SHORTLIST, SPREAD)
_CUT_OFF = (TrialState.CANCELLED, TrialState.STOPPED)


@dataclass(frozen=True)
class Confirmation:
    """The confirmation of one search by its rows. Load it once for each request.

    Attributes:
        every: Its trainings by number, including those that confirmed another winner before the
            search was extended.
    """

    search: Search
    every: Sequence[Trial]

    @cached_property
    def trials(self) -> Sequence[Trial]:
        """The trainings that confirm the current winner."""
        return [t for t in self.every if (t.number or 0) >= self.search.confirm_from]

    @property
    def is_planned(self) -> bool:
        """Whether the trainings of the winner and its rivals have been added."""
        return any(trial.label == WINNER for trial in self.trials)

    @property
    def was_cut_off(self) -> bool:
        """Whether some trainings of the winner or its rivals were cancelled or stopped."""
        return any(trial.state in _CUT_OFF for trial in self.trials)

    @cached_property
    def samples(self) -> Mapping[str, Sample]:
        """The test results of each confirmed network; empty until all trainings have ended.

        Also empty if some were cut off: a test with fewer seeds than were fixed at submission
        would not be valid.
        """
        done = [trial for trial in self.trials if trial.label not in FIRST_STAGE]
        if self.was_cut_off or any(trial.state not in FINISHED for trial in done):
            return {}
        metric = test_metric(metric_in(self.search.document))
        found: dict[str, list[tuple[float, int | None]]] = {}
        for trial in done:
            if trial.state == TrialState.COMPLETED and trial.test:
                result = trial.test[metric], trial.seed_block
                found.setdefault(trial.label or "", []).append(result)
        return {label: _sample(label, results) for label, results in found.items()}

    @property
    def seeds(self) -> int:
        """Number of seeds on which the winner was trained to its end."""
        return len(self.samples[WINNER].values) if WINNER in self.samples else 0

    @property
    def failed_seeds(self) -> int:
        """Number of seeds on which the training of the winner failed."""
        return sum(t.label == WINNER and t.state == TrialState.FAILED for t in self.trials)

    @cached_property
    def looks(self) -> int:
        """How often test data was used for a verdict; one that was cut off counts as well."""
        seen: list[bool] = []
        label = None
        for trial in self.every:
            # Each confirmation begins with the seeds of its winner.
            if trial.label == WINNER != label:
                seen.append(False)
            if trial.label not in FIRST_STAGE and trial.test:
                seen[-1] = True
            label = trial.label
        return sum(seen)

    @cached_property
    def comparisons(self) -> Sequence[Comparison]:
        """The winner's comparisons, that with the original first; empty before there are any."""
        # A t-test needs a variance, and so at least two seeds.
        found = {label: one for label, one in self.samples.items() if len(one.values) > 1}
        if WINNER not in found:
            return []
        originals = [found[label] for label in (ORIGINAL, TUNED) if label in found]
        if self._winner_is_an_original:
            # It has the original's activations: it is its own rival, so no gain can be claimed.
            originals.append(replace(found[WINNER], label=TUNED))
        if not originals:
            return []
        return judge(
            found[WINNER],
            originals,
            found.get(UNIFORM),
            maximize=maximizes(self.search),
            looks=self.looks,
        )

    @property
    def winner_trial(self) -> Trial | None:
        """The trial whose weights a confirmed winner has: the first seed that completed."""
        completed = (t for t in self._winner_trials if t.state == TrialState.COMPLETED)
        return next(completed, None)

    def may_become_winner_trial(self, trial: Trial) -> bool:
        """Whether `trial` becomes the `winner_trial` if it completes and all before it fail."""
        for one in self._winner_trials:
            if one.id == trial.id or one.state == TrialState.COMPLETED:
                return one.id == trial.id
        return False

    @property
    def _winner_trials(self) -> Sequence[Trial]:
        return [trial for trial in self.trials if trial.label == WINNER]

    @property
    def _winner_is_an_original(self) -> bool:
        winner = read_candidate(self._winner_trials[0].candidate)
        space = space_of(self.search)
        return space.key(winner) in {space.key(space.original), space.key(tuned(space, winner))}


def _sample(label: str, results: Sequence[tuple[float, int | None]]) -> Sample:
    seeds = tuple(seed for _, seed in results if seed is not None)
    return Sample(label, tuple(value for value, _ in results), seeds)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well the rankings of candidates by two lengths of training agree.

    Attributes:
        tau: Kendall's tau, 1 for the same order and -1 for the opposite one; None if all values
            of one length are equal.
    """

    tau: float | None
    candidates: int
    epochs: int | None
    confirm_epochs: int


def load(session: Session, search: Search) -> Confirmation:
    """Return the confirmation of a search."""
    return load_each(session, [search])[search.id]


def load_each(session: Session, searches: Sequence[Search]) -> dict[str, Confirmation]:
    """Return the confirmation of each search, by its id, with one statement."""
    found = trials.confirmations_each(session, [search.id for search in searches])
    return {search.id: Confirmation(search, found.get(search.id, [])) for search in searches}


def agreement(session: Session, confirmation: Confirmation) -> Agreement | None:
    """Return how well two lengths of training agree, or None if that is not known."""
    search = confirmation.search
    confirm = search.document.get("confirm")
    if confirm is None or not is_another_length(search, confirm["epochs"]):
        return None
    first = [
        trial
        for trial in confirmation.trials
        if trial.label in FIRST_STAGE and trial.state == TrialState.COMPLETED and trial.key
    ]
    if len(first) < FEWEST_TO_RANK:
        return None
    found = trials.results_by_key(session, search.id)
    pairs = [(means(found[trial.key or ""])[0], trial.value) for trial in first]
    # Imported here, since scipy takes long to load and little needs it.
    from scipy.stats import kendalltau

    tau = float(kendalltau(*zip(*pairs, strict=True)).statistic)
    epochs = search.pinned["epochs"]
    return Agreement(None if math.isnan(tau) else tau, len(pairs), epochs, confirm["epochs"])


def max_trials(confirm: Confirm, *, uniform: bool) -> int:
    """Return how many trainings a confirmation takes at most."""
    groups = 4 if uniform else 3
    shortlist = confirm.shortlist if confirm.shortlist > 1 else 0
    spread = confirm.spread if confirm.epochs is not None else 0
    return shortlist + spread + groups * confirm.seeds


def reserve(search: Search) -> float:
    """Return what a search reserves for its confirmation, in trainings of its trials' length."""
    document, epochs = document_of(search), search.pinned["epochs"]
    confirm = document.confirm
    if confirm is None:
        return 0.0
    longer = (confirm.epochs or epochs or 1) / (epochs or confirm.epochs or 1)
    return max_trials(confirm, uniform=document.baselines.uniform) * longer


def is_another_length(search: Search, epochs: int | None) -> bool:
    """Whether confirmations train for another number of epochs than the search's trials."""
    return epochs is not None and epochs != search.pinned["epochs"]


def tuned(space: Space, winner: Candidate) -> Candidate:
    """Return the original with the winner's hyperparameters that apply to it."""
    rate = winner.training.learning_rate_factor
    training = replace(space.original.training, learning_rate_factor=rate)
    return replace(space.original, training=training)
