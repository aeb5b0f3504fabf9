"""Adds the trials of a confirmation: first the shortlist, then the winner and its rivals."""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from search_space.contract import TrialKind, read_candidate
from search_space.search_sections import Confirm
from search_space.space.space import Space
from search_space.spec import Candidate
from service.results import confirmation, ranking
from service.results.objectives import maximizes
from service.runtime.unit_of_work import UnitOfWork
from service.schemas.states import TrialState
from service.store.documents import PAIRED
from service.store.models import Search, Trial


def add_next_stage(unit: UnitOfWork, space: Space, confirm: Confirm) -> bool:
    """Add the trials of the next stage; return whether there was one.

    Call it when no other trial of the search is left.
    """
    session, search = unit.session, unit.search
    done = confirmation.load(session, search)
    best = ranking.ranked(session, search, limit=confirm.shortlist)
    if not best or done.is_planned:
        return False
    first = {} if done.trials else _first_stage(session, search, best, confirm)
    if first:
        for trial, label in first.items():
            _add(unit, space, label, read_candidate(trial.candidate), stage="shortlist", seed=0)
        return True
    # Second stage: the winner of the shortlist and its rivals, on every seed.
    shortlist = [trial for trial in done.trials if trial.label == confirmation.SHORTLIST]
    winner = _winner(shortlist, maximizes(search)) or best[0].trial
    for label, candidate in _rivals(session, search, space, winner).items():
        for seed in range(confirm.seeds):
            _add(unit, space, label, candidate, stage="confirmation", seed=seed)
    return True


def _first_stage(
    session: Session, search: Search, best: Sequence[ranking.Ranked], confirm: Confirm
) -> dict[Trial, str]:
    """Return the trials that are trained once before the winner is chosen, with their labels."""
    chosen = {one.trial: confirmation.SHORTLIST for one in best} if len(best) > 1 else {}
    if not confirmation.is_another_length(search, confirm.epochs):
        return chosen
    spread = ranking.spread(session, search, confirm.spread)
    return {one.trial: confirmation.SPREAD for one in spread} | chosen


def _rivals(
    session: Session, search: Search, space: Space, winner: Trial
) -> Mapping[str, Candidate]:
    """Return the candidates that are trained on every seed, each network once, by label."""
    chosen = read_candidate(winner.candidate)
    wanted = {
        confirmation.WINNER: chosen,
        confirmation.ORIGINAL: space.original,
        confirmation.TUNED: confirmation.tuned(space, chosen),
    }
    uniform = ranking.best_uniform(session, search)
    if uniform is not None:
        wanted[confirmation.UNIFORM] = read_candidate(uniform.trial.candidate)
    # Equal networks are trained once, under the first of their labels.
    labels = {space.key(one): label for label, one in reversed(wanted.items())}
    return {label: one for label, one in wanted.items() if labels[space.key(one)] == label}


def _winner(shortlist: Sequence[Trial], maximize: bool) -> Trial | None:
    """Return the best of the shortlist by its second training: the first was selected for luck."""
    completed = [t for t in shortlist if t.state == TrialState.COMPLETED and t.value is not None]
    choose = max if maximize else min
    return choose(completed, key=lambda trial: trial.value or 0.0, default=None)


def _add(
    unit: UnitOfWork, space: Space, label: str, candidate: Candidate, *, stage: str, seed: int
) -> None:
    """Add a training of a network. Networks share their seeds, and no other training has them."""
    search = unit.search
    unit.add_trial(
        space,
        TrialKind.CONFIRMATION,
        candidate,
        label=label,
        seed_block=seed if search.pinned.get(PAIRED) else None,
        # Fresh seeds for each confirmation of a search that is extended.
        seeds=f"{stage} {search.confirm_from}",
    )
