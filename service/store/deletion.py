"""Deletes searches by plain SQL, in batches."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from search_space.contract import OutcomeKind
from service.schemas.states import Wanted
from service.store.database import now
from service.store.models import Artifact, Attempt, Base, Event, Search, Trial

EVENTS_PER_TRIAL = 20
MESSAGE = "the search was deleted"


def mark(session: Session, search: Search) -> None:
    """Mark a search for deletion and release its attempts; later reports of them are refused."""
    search.wanted = Wanted.DELETE
    own = select(Trial.id).where(Trial.search_id == search.id).scalar_subquery()
    session.execute(
        update(Attempt)
        .where(Attempt.ended_at.is_(None), Attempt.trial_id.in_(own))
        .values(ended_at=now(), outcome=OutcomeKind.RELEASED, message=MESSAGE)
        .execution_options(synchronize_session=False)
    )


def delete_piece(session: Session, search_id: str, *, trials: int) -> tuple[Sequence[str], bool]:
    """Delete at most `trials` trials with all their rows, and at the end the search itself.

    Returns:
        The sha256 of the files that no row refers to any more, and whether anything is left.
    """
    some = select(Trial.id).where(Trial.search_id == search_id).limit(trials)
    ids = session.scalars(some).all()
    events = _some_events(session, search_id, trials * EVENTS_PER_TRIAL)
    if not ids and not events:
        session.execute(delete(Search).where(Search.id == search_id))
        return [], False
    return _delete_trials(session, ids), True


def _delete_trials(session: Session, ids: Sequence[str]) -> Sequence[str]:
    # Repeats and replicates refer to their trial, so they go in the same batch.
    depend_on_them = Trial.repeat_of.in_(ids) | Trial.replicate_of.in_(ids)
    all_ids = [*ids, *session.scalars(select(Trial.id).where(depend_on_them))]
    files = set(session.scalars(select(Artifact.sha256).where(Artifact.trial_id.in_(all_ids))))
    for table in Base.metadata.sorted_tables:
        if "trial_id" in table.columns:
            session.execute(table.delete().where(table.columns["trial_id"].in_(all_ids)))
    session.execute(delete(Trial).where(Trial.id.in_(all_ids)))
    still_named = select(Artifact.sha256).where(Artifact.sha256.in_(files))
    return sorted(files - set(session.scalars(still_named)))


def _some_events(session: Session, search_id: str, limit: int) -> bool:
    """Delete the first events of a search; return whether there were any."""
    first = session.scalar(select(func.min(Event.number)).where(Event.search_id == search_id))
    if first is None:
        return False
    session.execute(delete(Event).where(Event.search_id == search_id, Event.number < first + limit))
    return True
