"""Confirmation: the winner, and what it is compared with, trained anew on fresh seeds.

First the shortlist once more, which chooses one winner by validation data, and, where the length
is another than the search's, some candidates from the best to the worst. Then the winner, the best
uniform network, and the original both with its own and with the winner's hyperparameters, each on
as many seeds as were fixed at submission. None of these trainings is ever stopped early.
"""

import math
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from search_space.contract import read_candidate, test_metric
from search_space.search import Confirm, metric_in
from search_space.space.space import Space
from search_space.spec import Candidate
from service.results import ranking
from service.results.objectives import means
from service.results.verdict import Comparison, Sample, judge
from service.schemas.states import FINISHED, TrialState
from service.store import trials
from service.store.documents import space_of
from service.store.models import Search, Trial

SHORTLIST = "shortlist"
SPREAD = "spread"
WINNER = "winner"
ORIGINAL = "original network"
TUNED = "tuned original"
UNIFORM = "best uniform network"

FEWEST_TO_RANK = 3
_FIRST_STAGE = (SHORTLIST, SPREAD)


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike two lengths of training rank candidates.

    Attributes:
        tau: Kendall's, 1 where the orders are the same and -1 where they are opposite; None
            where all values of one length are equal.
    """

    tau: float | None
    candidates: int
    epochs: int | None
    confirm_epochs: int


def most_trials(confirm: Confirm, *, uniform: bool) -> int:
    """Return how many trainings a confirmation takes at most."""
    groups = 4 if uniform else 3
    shortlist = confirm.shortlist if confirm.shortlist > 1 else 0
    spread = confirm.spread if confirm.epochs is not None else 0
    return shortlist + spread + groups * confirm.seeds


def agreement(session: Session, search: Search) -> Agreement | None:
    """Return how alike two lengths of training rank, or None where that is not known."""
    confirm = search.document.get("confirm")
    if confirm is None or not is_another_length(search, confirm["epochs"]):
        return None
    pairs = []
    for trial in trials.confirmations(session, search):
        if trial.label in _FIRST_STAGE and trial.state == TrialState.COMPLETED and trial.key:
            found = trials.results_by_key(session, search.id, trial.key)
            pairs.append((means(found[trial.key])[0], trial.value))
    if len(pairs) < FEWEST_TO_RANK:
        return None
    # scipy takes a while to import and is needed here alone.
    from scipy.stats import kendalltau

    tau = float(kendalltau(*zip(*pairs, strict=True)).statistic)
    epochs = search.pinned["epochs"]
    return Agreement(None if math.isnan(tau) else tau, len(pairs), epochs, confirm["epochs"])


def samples(session: Session, search: Search) -> dict[str, Sample]:
    """Return the test results of each confirmed network; empty until all of them have ended.

    And empty for good once some were cut off: the number of seeds was fixed beforehand.
    """
    done = [t for t in trials.confirmations(session, search) if t.label not in _FIRST_STAGE]
    if was_cut_off(session, search) or any(trial.state not in FINISHED for trial in done):
        return {}
    metric = test_metric(metric_in(search.document))
    values: dict[str, list[float]] = {}
    for trial in done:
        if trial.state == TrialState.COMPLETED and trial.test:
            values.setdefault(trial.label or "", []).append(trial.test[metric])
    return {label: Sample(label, tuple(found)) for label, found in values.items()}


def was_cut_off(session: Session, search: Search) -> bool:
    """Whether some of what should confirm the winner was cancelled, or stopped half-way."""
    cut_off = (TrialState.CANCELLED, TrialState.STOPPED)
    return any(trial.state in cut_off for trial in trials.confirmations(session, search))


def comparisons(session: Session, search: Search) -> list[Comparison]:
    """Return the winner's comparisons, that with the original first; empty where none stands."""
    found = {
        label: sample
        for label, sample in samples(session, search).items()
        if len(sample.values) > 1
    }
    if WINNER not in found:
        return []
    originals = [found[label] for label in (ORIGINAL, TUNED) if label in found]
    if _winner_is_an_original(session, search):
        # No activation of it is new, and nothing is gained over what it is.
        originals.append(replace(found[WINNER], label=TUNED))
    if not originals:
        return []
    return judge(
        found[WINNER],
        originals,
        found.get(UNIFORM),
        maximize=ranking.maximizes(search),
        looks=looks(session, search),
    )


def looks(session: Session, search: Search) -> int:
    """Return how often test data was looked at for a verdict; a look that was left half-way is one.

    Each time the seeds of the winner come first.
    """
    seen: list[bool] = []
    label = None
    for trial in trials.confirmations(session, search, since=0):
        if trial.label == WINNER != label:
            seen.append(False)
        if trial.label not in _FIRST_STAGE and trial.test:
            seen[-1] = True
        label = trial.label
    return sum(seen)


def seeds(session: Session, search: Search) -> int:
    """Return on how many seeds the winner was trained to its end."""
    found = samples(session, search).get(WINNER)
    return 0 if found is None else len(found.values)


def failed_seeds(session: Session, search: Search) -> int:
    """Return on how many seeds the winner was not trained to its end."""
    done = trials.confirmations(session, search)
    return sum(trial.label == WINNER and trial.state == TrialState.FAILED for trial in done)


def confirmed_trial(session: Session, search: Search) -> Trial | None:
    """Return the trial whose weights stand for a confirmed winner: its first seed's."""
    done = trials.confirmations(session, search)
    completed = (t for t in done if t.label == WINNER and t.state == TrialState.COMPLETED)
    return next(completed, None)


def may_stand_for_the_winner(session: Session, search: Search, trial: Trial) -> bool:
    """Whether `trial` becomes the `confirmed_trial` if it completes and all before it fail."""
    for one in trials.confirmations(session, search):
        if one.label == WINNER and (one.id == trial.id or one.state == TrialState.COMPLETED):
            return one.id == trial.id
    return False


def is_another_length(search: Search, epochs: int | None) -> bool:
    """Whether confirmations train for another number of epochs than the search's trials."""
    return epochs is not None and epochs != search.pinned["epochs"]


def tuned(space: Space, winner: Candidate) -> Candidate:
    """Return the original with the winner's hyperparameters, as far as it has them."""
    rate = winner.training.learning_rate_factor
    training = replace(space.original.training, learning_rate_factor=rate)
    return replace(space.original, training=training)


def _winner_is_an_original(session: Session, search: Search) -> bool:
    done = trials.confirmations(session, search)
    winner = next(read_candidate(trial.candidate) for trial in done if trial.label == WINNER)
    space = space_of(search)
    return space.key(winner) in {space.key(space.original), space.key(tuned(space, winner))}
