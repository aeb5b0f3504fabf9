"""Counts of the trials of one search, each with one statement."""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from service.schemas.states import UNFINISHED, TrialState
from service.store.models import Trial
from service.store.trials import count


def running(session: Session, search_id: str) -> int:
    return count(session, search_id, Trial.state == TrialState.RUNNING)


def waiting(session: Session, search_id: str) -> int:
    """Count the trials that wait for a slot. Repeats wait for the trial that they repeat."""
    return count(session, search_id, Trial.state == TrialState.WAITING, Trial.repeat_of.is_(None))


def unfinished(session: Session, search_id: str) -> int:
    """Count the trials that have not ended, without repeats: these end with what they repeat."""
    return count(session, search_id, Trial.state.in_(UNFINISHED), Trial.repeat_of.is_(None))


def proposed(session: Session, search_id: str) -> int:
    """Count the trials that the budget counts."""
    return count(session, search_id, Trial.kind == TrialKind.PROPOSED, Trial.repeat_of.is_(None))


def replicates(session: Session, search_id: str) -> int:
    """Count the trials that train one of the best candidates on another seed."""
    return count(session, search_id, Trial.replicate_of.is_not(None))


def trainings(session: Session, search_id: str, key: str) -> int:
    """Count the trials that train a candidate, ended or not, without confirmations."""
    return count(
        session,
        search_id,
        Trial.key == key,
        Trial.repeat_of.is_(None),
        Trial.kind != TrialKind.CONFIRMATION,
    )


def distinct_keys(session: Session, search_id: str) -> int:
    """Count the different candidates in the study."""
    return (
        session.scalar(
            select(func.count(Trial.key.distinct())).where(
                Trial.search_id == search_id, Trial.optuna_number.is_not(None)
            )
        )
        or 0
    )
