"""A unit of work on one search: its study locked, its row locked, a transaction open."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.space.space import Space
from search_space.spec import Candidate, to_data
from service.runtime.context import Context, new_id
from service.schemas.states import ENDED_STATES, TrialState
from service.store import events, searches, trials
from service.store.database import now
from service.store.models import Search, Trial
from service.study.attributes import block_attributes
from service.study.live import LockedStudy
from service.study.seeds import seed_of


@dataclass(frozen=True, slots=True)
class UnitOfWork:
    """What a function that decides something works with. All of it is committed, or nothing."""

    context: Context
    locked_study: LockedStudy
    session: Session
    search: Search

    def add_trial(
        self,
        space: Space,
        kind: TrialKind,
        candidate: Candidate,
        *,
        seed_block: int | None = None,
        seeds: str = "block",
        **columns: Any,
    ) -> Trial:
        """Add a waiting trial, with the next number of its search.

        Args:
            seed_block: All trials of a block have one seed; None: a seed of its own.
            seeds: The row of seeds that the block is of.
        """
        number = trials.next_number(self.session, self.search.id)
        purpose, place = ("trial", number) if seed_block is None else (seeds, seed_block)
        trial = Trial(
            id=new_id("t"),
            search_id=self.search.id,
            number=number,
            kind=kind,
            attempt=0,
            candidate=to_data(space.canonical(candidate)),
            key=space.key(candidate),
            seed=seed_of(self.search.document["sampler"]["seed"], purpose, place),
            seed_block=seed_block,
            created_at=now(),
            **{
                "state": TrialState.WAITING,
                "optuna_attrs": block_attributes(seed_block),
                **columns,
            },
        )
        self.session.add(trial)
        self.session.flush()
        return trial

    def publish_trial(self, trial: Trial) -> None:
        """Add an event that shows a trial as it is now. Inspections are in no list and no event."""
        if trial.kind == TrialKind.INSPECTION:
            return
        data = {
            "id": trial.id,
            "number": trial.number,
            "kind": trial.kind.value,
            "label": trial.label,
            "state": trial.state.value,
            "attempt": trial.attempt,
            "value": trial.value,
            "reason": trial.reason,
        }
        events.add(self.session, self.search, "trial", data)

    def publish_search(self) -> None:
        """Add an event that shows the search's state."""
        search = self.search
        data = {
            "state": search.state.value,
            "wanted": search.wanted.value,
            "reason": search.reason,
        }
        events.add(self.session, search, "search", data)


@contextmanager
def unit_of_work(
    context: Context, search_id: str, *, makes_work: bool = True
) -> Iterator[UnitOfWork]:
    """Open a unit of work, or raise `NotFound`.

    Args:
        makes_work: Whether waiting slots may find work afterwards that was not there before.
    """
    # The study's lock comes first, always: a transaction that waited for it would hold the row's
    # lock meanwhile, and the holder of the study may wait for that row.
    with context.studies.lock(search_id) as locked_study:
        with context.database.write() as session:
            search = searches.lock(session, search_id)
            before = search.events
            yield UnitOfWork(context, locked_study, session, search)
        # After the commit: if it is rolled back, the search still needs its live study.
        if search.state in ENDED_STATES:
            context.studies.discard(search_id)
        if search.events > before:
            context.publish(makes_work=makes_work)
