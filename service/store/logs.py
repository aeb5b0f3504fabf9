"""Reads and writes of the output of attempts. No function commits."""

from sqlalchemy import ColumnElement, delete, func, select
from sqlalchemy.orm import Session

from service.store.models import LogPiece


def end(session: Session, trial_id: str, attempt: int) -> int:
    """Return how many bytes an attempt has printed."""
    return _bound(session, trial_id, attempt, func.max(LogPiece.end)) or 0


def add(session: Session, trial_id: str, attempt: int, *, offset: int, data: bytes) -> None:
    session.add(
        LogPiece(
            trial_id=trial_id, attempt=attempt, offset=offset, end=offset + len(data), data=data
        )
    )
    session.flush()


def drop(session: Session, trial_id: str, attempt: int, *, before: int) -> None:
    """Delete the pieces that end at or before byte `before`."""
    session.execute(
        delete(LogPiece).where(
            LogPiece.trial_id == trial_id, LogPiece.attempt == attempt, LogPiece.end <= before
        )
    )


def slice_of(
    session: Session, trial_id: str, attempt: int, *, offset: int, size: int
) -> tuple[int, bytes]:
    """Return the stored output from `offset` on, at most `size` bytes, and where it begins.

    It begins later than `offset` if what was there has been deleted.
    """
    kept = _bound(session, trial_id, attempt, func.min(LogPiece.offset))
    first = max(offset, kept or 0)
    pieces = session.execute(
        select(LogPiece.offset, LogPiece.data)
        .where(
            LogPiece.trial_id == trial_id,
            LogPiece.attempt == attempt,
            LogPiece.end > first,
            LogPiece.offset < first + size,
        )
        .order_by(LogPiece.offset)
    )
    data = b"".join(piece[max(0, first - start) :] for start, piece in pieces)
    return first, data[:size]


def _bound(session: Session, trial_id: str, attempt: int, what: ColumnElement[int]) -> int | None:
    return session.scalar(
        select(what).where(LogPiece.trial_id == trial_id, LogPiece.attempt == attempt)
    )
