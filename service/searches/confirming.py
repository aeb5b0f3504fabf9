"""What a confirmation trains next: the shortlist, then the winner beside its rivals."""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from search_space.contract import TrialKind, read_candidate
from search_space.search import Confirm
from search_space.space.space import Space
from search_space.spec import Candidate
from service.results import ranking
from service.results.confirmation import (
    ORIGINAL,
    SHORTLIST,
    SPREAD,
    TUNED,
    UNIFORM,
    WINNER,
    is_another_length,
    tuned,
)
from service.runtime.entry import enter_trial
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.states import TrialState
from service.store import trials
from service.store.models import Search, Trial


def enter_next_stage(unit: UnitOfWork, space: Space, confirm: Confirm) -> bool:
    """Line up the next stage; return whether there was one. Called when nothing is left to do."""
    session, search = unit.session, unit.search
    done = trials.confirmations(session, search)
    best = ranking.ranked(session, search, limit=confirm.shortlist)
    if not best or any(trial.label == WINNER for trial in done):
        return False
    first = {} if done else _first_stage(session, search, best, confirm)
    if first:
        for trial, label in first.items():
            _enter(unit, space, label, read_candidate(trial.candidate))
        return True
    shortlist = [trial for trial in done if trial.label == SHORTLIST]
    winner = _winner(shortlist, ranking.maximizes(search)) or best[0].trial
    for label, candidate in _rivals(session, search, space, winner).items():
        for _ in range(confirm.seeds):
            _enter(unit, space, label, candidate)
    return True


def _first_stage(
    session: Session, search: Search, best: Sequence[ranking.Ranked], confirm: Confirm
) -> dict[Trial, str]:
    """Return what is trained once before the winner is chosen, with its label."""
    chosen = {one.trial: SHORTLIST for one in best} if len(best) > 1 else {}
    if not is_another_length(search, confirm.epochs):
        return chosen
    spread = ranking.spread(session, search, confirm.spread)
    return {one.trial: SPREAD for one in spread} | chosen


def _rivals(
    session: Session, search: Search, space: Space, winner: Trial
) -> Mapping[str, Candidate]:
    """Return what is trained on every seed, each network once."""
    chosen = read_candidate(winner.candidate)
    wanted = {WINNER: chosen, ORIGINAL: space.original, TUNED: tuned(space, chosen)}
    uniform = ranking.best_uniform(session, search)
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


def _enter(unit: UnitOfWork, space: Space, label: str, candidate: Candidate) -> None:
    enter_trial(unit, space, TrialKind.CONFIRMATION, candidate, label=label)
