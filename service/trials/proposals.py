"""Proposes candidates: asks the study, detects repeats, and stores a trial for each.

The caller holds the lock of the search's study. Every ask of the study is stored before the next
one, so that the study can be rebuilt from the rows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.search_sections import Range
from search_space.space.space import Space
from service.results import budget, confirmation
from service.runtime.context import Context
from service.runtime.unit_of_work import UnitOfWork, unit_of_work
from service.schemas.states import Wanted
from service.searches.lifecycle import is_exhausted
from service.store import searches, trial_counts, trials
from service.store.documents import space_of
from service.store.models import Search, Trial
from service.store.seed_blocks import next_block, trained_in_block
from service.study.live import LiveStudy, LockedStudy
from service.study.random_draws import RandomSuggester
from service.study.seeds import seed_of
from service.trials.neighbours import neighbour
from service.trials.replicates import add_replicate, next_replicate
from service.trials.study_sync import study_of, tell_repeat

Result = TypeVar("Result")

MAX_REPEATS_IN_A_ROW = 20
RANDOM_DRAWS = 1000


@dataclass(frozen=True, slots=True)
class Proposal:
    """Parameters that the study has under `number` and that are not stored yet."""

    params: dict[str, Any]
    number: int
    seed_block: int | None


def may_propose(session: Session, search: Search) -> bool:
    """Whether the search may propose another candidate now."""
    return (
        search.wanted == Wanted.RUN
        and search.plan is not None
        and trial_counts.proposed(session, search.id) < search.budget
        and trial_counts.running(session, search.id) < search.parallel
        and not is_exhausted(session, search)
        and budget.overrun(session, search, reserve=confirmation.reserve(search)) is None
    )


def propose(
    context: Context,
    locked_study: LockedStudy,
    search_id: str,
    hand_out: Callable[[UnitOfWork, Trial], Result],
) -> Result | None:
    """Store a new trial and hand it out in the same transaction, or return None.

    Either it is a replicate, or the study is asked for a candidate, outside any transaction. If the
    study repeats a candidate, the repeat is stored and told its value, which costs no budget, and
    the study is asked again.
    """
    # The caller's lock on the study spans the ask and the transaction after it, so that no other
    # proposal gets the same number.
    for repeats in range(MAX_REPEATS_IN_A_ROW + 1):
        with context.database.read() as session:
            search = searches.get(session, search_id)
            # Checked for each repeat again: the search may have been paused meanwhile.
            if not may_propose(session, search):
                return None
            space, live = space_of(search), study_of(context, locked_study, search)
            leader = next_replicate(session, search)
            proposal = None if leader else _ask(session, search, space, live, repeats)
        with unit_of_work(context, search_id) as unit:
            if leader is not None:
                return hand_out(unit, add_replicate(unit, space, live, leader))
            assert proposal is not None
            trial = _add_trial(unit, space, live, proposal)
            if trial.repeat_of is None:
                return hand_out(unit, trial)
            earlier = trials.get(unit.session, trial.repeat_of)
            # If the earlier trial has not ended, its end tells its repeats as well.
            if earlier.told is not None and earlier.ended_at is not None:
                tell_repeat(unit, live, trial, earlier)
    return None


def untried(
    session: Session, search: Search, space: Space, number: int, block: int | None = None
) -> dict[str, Any]:
    """Return parameters of a candidate that has not been tried (in the block), drawn at random.

    If no draw finds one, return the first of the enumeration: the caller has checked that there is
    one. In a space with continuous ranges, which cannot be enumerated, return the last draw.
    """
    # The purpose "unseen" is part of the seed, so it must not change.
    rng = np.random.default_rng(seed_of(search.document["sampler"]["seed"], "unseen", number))
    for _ in range(RANDOM_DRAWS):
        params = space.suggest(RandomSuggester(rng))
        if _is_untried(session, search, space.key(space.candidate(params)), block):
            return params
    if any(isinstance(values, Range) for values in space.hyperparameters.values()):
        return params
    return _next_of_grid(session, search, space, block)


def _next_of_grid(
    session: Session, search: Search, space: Space, block: int | None = None
) -> dict[str, Any]:
    """Return parameters of the first candidate of the enumeration that has not been tried."""
    for params, candidate in space.enumerate():
        if _is_untried(session, search, space.key(candidate), block):
            return params
    raise RuntimeError("every candidate has been tried, but the search has not ended")


def _is_untried(session: Session, search: Search, key: str, block: int | None) -> bool:
    if block is not None:
        return trained_in_block(session, search, key, block) is None
    return trials.first_with_key(session, search.id, key) is None


def _ask(session: Session, search: Search, space: Space, live: LiveStudy, repeats: int) -> Proposal:
    """Ask the study, unless the search begins with neighbours of the best uniform network.

    After too many repeats in a row, draw an untried candidate at random.
    """
    number, block = len(live), next_block(session, search, space)
    is_grid = search.pinned["sampler"]["name"] == "grid"
    params = neighbour(session, search, space, number)
    if params is None and repeats < MAX_REPEATS_IN_A_ROW and not is_grid:
        session.commit()  # The sampler may take seconds: no transaction stays open meanwhile.
        return Proposal(live.ask(block), number, block)
    if params is None and is_grid:
        params = _next_of_grid(session, search, space)
    elif params is None:
        params = untried(session, search, space, number, block)
    live.add(params, block)
    return Proposal(params, number, block)


def _add_trial(unit: UnitOfWork, space: Space, live: LiveStudy, proposal: Proposal) -> Trial:
    """Store a proposal; one whose candidate was tried before becomes a repeat.

    With seed blocks only a training in the same block repeats another; in a new block it is a
    replicate, from which the model learns.
    """
    candidate, block = space.candidate(proposal.params), proposal.seed_block
    key = space.key(candidate)
    unit.search.study_attributes = live.attributes
    earlier = trials.first_with_key(unit.session, unit.search.id, key)
    if block is not None:
        repeated = trained_in_block(unit.session, unit.search, key, block)
    else:
        repeated = earlier
    return unit.add_trial(
        space,
        TrialKind.PROPOSED,
        candidate,
        seed_block=block,
        params=proposal.params,
        optuna_number=proposal.number,
        optuna_attrs=live.attrs(proposal.number),
        repeat_of=None if repeated is None else repeated.id,
        replicate_of=earlier.id if earlier is not None and repeated is None else None,
    )
