"""Replicates: the best candidates trained on further seeds, to see whether they were lucky.

The value of a candidate is the mean over its trainings, for the ranking and for the sampler. A
replicate is not asked of the study, is not part of it, and is never stopped early.
"""

from typing import Any

from sqlalchemy.orm import Session

from search_space.contract import TrialKind, read_candidate
from search_space.search_sections import Replicates
from search_space.space.space import Space
from service.results import ranking
from service.runtime.unit_of_work import UnitOfWork
from service.store import trial_counts
from service.store.models import Search, Trial
from service.store.seed_blocks import free_block
from service.study.live import LiveStudy

FIRST_PROPOSALS = 10
"""No replicates before so many proposals: the ranking would be of too few candidates."""


def next_replicate(session: Session, search: Search) -> Trial | None:
    """Return the trial whose candidate is to be trained on another seed now, or None.

    It is that of the best candidates with the fewest trainings; of several the best.
    """
    wanted = Replicates.model_validate(search.document.get("replicates", {"share": 0}))
    proposed = trial_counts.proposed(session, search.id) if wanted.share else 0
    if proposed < FIRST_PROPOSALS:
        return None
    if trial_counts.replicates(session, search.id) >= int(wanted.share * proposed):
        return None
    leaders = [one.trial for one in ranking.ranked(session, search, limit=wanted.leaders)]
    counts = [trial_counts.trainings(session, search.id, leader.key or "") for leader in leaders]
    fewest = min(counts, default=wanted.seeds)
    return leaders[counts.index(fewest)] if fewest < wanted.seeds else None


def add_replicate(unit: UnitOfWork, space: Space, live: LiveStudy, leader: Trial) -> Trial:
    """Add a training of a trial's candidate on the next seed."""
    candidate = read_candidate(leader.candidate)
    block = free_block(unit.session, unit.search, leader.key or "")
    columns: dict[str, Any] = {}
    if block is not None and (params := space.params_of(candidate)) is not None:
        # A model learns from every training; other samplers get the mean of a candidate's.
        columns = {"params": params, "optuna_number": len(live)}
        live.add(params, block)
    return unit.add_trial(
        space,
        TrialKind.PROPOSED,
        candidate,
        seed_block=block,
        replicate_of=leader.id,
        **columns,
    )
