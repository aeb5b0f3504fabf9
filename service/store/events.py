"""Reads and writes of the events of a search."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from service.store.database import now
from service.store.models import Event, Search


def add(
    session: Session, search: Search, kind: str, data: dict[str, Any], *, at: float | None = None
) -> None:
    """Append an event. The caller holds the lock of the search's row, so numbers have no gaps.

    Args:
        at: Time by the database's clock. If it is given, many events become one statement.
    """
    search.events += 1
    created_at = now() if at is None else at
    session.add(
        Event(
            search_id=search.id, number=search.events, kind=kind, data=data, created_at=created_at
        )
    )


def since(session: Session, search_id: str, after: int, *, limit: int) -> Sequence[Event]:
    return session.scalars(
        select(Event)
        .where(Event.search_id == search_id, Event.number > after)
        .order_by(Event.number)
        .limit(limit)
    ).all()
