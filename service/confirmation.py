"""Confirmation: the winner, and what it is compared with, trained anew on fresh seeds.

First the shortlist once more, which chooses one winner by validation data; then the winner, the
best uniform network, and the original both with its own and with the winner's hyperparameters,
each on as many seeds as were fixed at submission. None of these trainings is ever stopped early.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from search_space.contract import TrialKind, read_candidate, test_metric
from search_space.sample import Space
from search_space.search import Confirm, metric_in
from search_space.spec import Candidate
from service import results
from service.entry import enter_trial
from service.store import trials
from service.store.models import FINISHED, Search, Trial, TrialState
from service.turn import Turn
from service.verdict import Comparison, Sample, judge

SHORTLIST = "shortlist"
WINNER = "winner"
ORIGINAL = "original network"
TUNED = "tuned original"
UNIFORM = "best uniform network"


def go_on(turn: Turn, space: Space, confirm: Confirm) -> bool:
    """Line up the next stage; return whether there was one. Called when nothing is left to do."""
    session, search = turn.session, turn.search
    done = trials.confirmations(session, search)
    best = results.ranked(session, search, limit=confirm.shortlist)
    if not best or any(trial.label == WINNER for trial in done):
        return False
    if len(best) > 1 and not done:
        for one in best:
            _enter(turn, space, SHORTLIST, read_candidate(one.trial.candidate))
        return True
    winner = _winner(done, results.maximizes(search)) or best[0].trial
    for label, candidate in _rivals(session, search, space, winner).items():
        for _ in range(confirm.seeds):
            _enter(turn, space, label, candidate)
    return True


def most_trials(confirm: Confirm, *, uniform: bool) -> int:
    """Return how many trainings a confirmation takes at most."""
    groups = 4 if uniform else 3
    return (confirm.shortlist if confirm.shortlist > 1 else 0) + groups * confirm.seeds


def samples(session: Session, search: Search) -> dict[str, Sample]:
    """Return the test results of each confirmed network; empty until all of them have ended."""
    done = [t for t in trials.confirmations(session, search) if t.label != SHORTLIST]
    if any(trial.state not in FINISHED for trial in done):
        return {}
    metric = test_metric(metric_in(search.document))
    values: dict[str, list[float]] = {}
    for trial in done:
        if trial.state == TrialState.COMPLETED and trial.test:
            values.setdefault(trial.label or "", []).append(trial.test[metric])
    return {label: Sample(label, tuple(found)) for label, found in values.items()}


def comparisons(session: Session, search: Search) -> list[Comparison]:
    """Return the winner's comparisons, that with the original first; empty where none stands."""
    found = {
        label: sample
        for label, sample in samples(session, search).items()
        if len(sample.values) > 1
    }
    originals = [found[label] for label in (ORIGINAL, TUNED) if label in found]
    if WINNER not in found or not originals:
        return []
    return judge(found[WINNER], originals, found.get(UNIFORM), maximize=results.maximizes(search))


def seeds(session: Session, search: Search) -> int:
    """Return on how many seeds the winner was trained to its end."""
    found = samples(session, search).get(WINNER)
    return 0 if found is None else len(found.values)


def confirmed_trial(session: Session, search: Search) -> Trial | None:
    """Return the trial whose weights stand for a confirmed winner: its first seed's."""
    done = trials.confirmations(session, search)
    completed = (t for t in done if t.label == WINNER and t.state == TrialState.COMPLETED)
    return next(completed, None)


def _rivals(
    session: Session, search: Search, space: Space, winner: Trial
) -> Mapping[str, Candidate]:
    """Return what is trained on every seed, each network once."""
    chosen = read_candidate(winner.candidate)
    original = space.original
    rate = chosen.training.learning_rate_factor
    tuned = replace(original, training=replace(original.training, learning_rate_factor=rate))
    wanted = {WINNER: chosen, ORIGINAL: original, TUNED: tuned}
    uniform = results.best_uniform(session, search)
    if uniform is not None:
        wanted[UNIFORM] = read_candidate(uniform.trial.candidate)
    return {
        label: candidate
        for place, (label, candidate) in enumerate(wanted.items())
        if space.key(candidate) not in {space.key(c) for c in list(wanted.values())[:place]}
    }


def _winner(shortlist: Sequence[Trial], maximize: bool) -> Trial | None:
    """Return the best of the shortlist by its fresh training: the first one's luck is spent."""
    completed = [t for t in shortlist if t.state == TrialState.COMPLETED and t.value is not None]
    choose = max if maximize else min
    return choose(completed, key=lambda trial: trial.value or 0.0, default=None)


def _enter(turn: Turn, space: Space, label: str, candidate: Candidate) -> None:
    enter_trial(turn, space, TrialKind.CONFIRMATION, candidate, label=label)
