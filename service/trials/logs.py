"""Output of attempts: appended in chunks, kept up to a size limit, read while it grows."""

import codecs

from sqlalchemy.orm import Session

from service.errors import LeaseLost, NotFound
from service.runtime.context import Context
from service.schemas.states import FINISHED
from service.schemas.trials import LogAnswer
from service.store import attempts, logs, searches
from service.store.models import Attempt, Trial

MAX_PIECE_BYTES = 1024**2
POLL_SECONDS = 1.0
"""A request that waits for output reads the store this often without a notification."""

_LATE_SECONDS = 2.0
"""The last output of an attempt may arrive so long after its outcome."""

_PAGE_BYTES = 256 * 1024
_TAIL_BYTES = 1024**2


def append(context: Context, lease: str, offset: int, data: bytes) -> int:
    """Store output of an attempt from byte `offset` on, and return where the next begins.

    Bytes that are stored already are ignored, as is data that would leave a gap.

    Raises:
        LeaseLost: If there is no such attempt.
    """
    with context.database.write() as session:
        attempt = attempts.locked(session, lease)
        if attempt is None:
            raise LeaseLost(lease)
        end = logs.end(session, attempt.trial_id, attempt.number)
        new = data[end - offset :] if offset <= end else b""
        if not new:
            return end
        logs.add(session, attempt.trial_id, attempt.number, offset=end, data=new)
        end += len(new)
        oldest = end - context.settings.max_log_bytes
        logs.drop(session, attempt.trial_id, attempt.number, before=oldest)
    context.log_notifier.notify()
    return end


def read(
    session: Session, trial: Trial, number: int | None, *, offset: int, tail: int | None
) -> LogAnswer:
    """Return a page of an attempt's output, as text.

    Args:
        number: Of the attempt; None: the last.
        tail: The number of last lines to return, instead of those from `offset`.

    Raises:
        NotFound: If the trial has no such attempt.
    """
    number = max(1, trial.attempt) if number is None else number
    attempt = attempts.numbered(session, trial.id, number)
    if attempt is None and (number > 1 or trial.attempt):
        raise NotFound(f"attempt of trial {trial.id}", str(number))
    end = logs.end(session, trial.id, number)
    if tail is not None:
        offset = _tail_offset(session, trial, number, tail, end)
    first, data = logs.slice_of(session, trial.id, number, offset=offset, size=_PAGE_BYTES)
    text, used = _decode(data)
    return LogAnswer(
        attempt=number,
        attempts=max(1, trial.attempt),
        offset=first,
        next=first + used,
        text=text,
        ended=first + used >= end and _is_complete(session, trial, attempt),
    )


def _is_complete(session: Session, trial: Trial, attempt: Attempt | None) -> bool:
    """Whether neither this attempt nor a later one of the trial will print any more."""
    if attempt is None or attempt.ended_at is None:
        return trial.state in FINISHED and attempt is None
    if attempt.number < trial.attempt:
        return True
    # A worker sends the outcome before the last of the output.
    is_over = searches.clock(session) > attempt.ended_at + _LATE_SECONDS
    return trial.state in FINISHED and is_over


def _tail_offset(session: Session, trial: Trial, number: int, lines: int, end: int) -> int:
    """Return the offset at which the last lines begin."""
    back = max(0, end - _TAIL_BYTES)
    first, data = logs.slice_of(session, trial.id, number, offset=back, size=_TAIL_BYTES)
    position = len(data) - 1 if data.endswith(b"\n") else len(data)
    for _ in range(lines):
        position = data.rfind(b"\n", 0, max(position, 0))
        if position < 0:
            return first
    return first + position + 1


def _decode(data: bytes) -> tuple[str, int]:
    """Return the text of all complete characters, and how many bytes they take."""
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    text = decoder.decode(data)
    return text, len(data) - len(decoder.getstate()[0])
