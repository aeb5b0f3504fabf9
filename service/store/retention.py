"""Deletes rows of files whose retention has ended; garbage collection deletes the files."""

from collections.abc import Collection, Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from search_space.contract import CHECKPOINT, ONNX, WEIGHTS
from service.schemas.states import FINISHED
from service.store.database import now
from service.store.models import Artifact, Trial

_BATCH = 500
_WEIGHTS = (WEIGHTS, ONNX)


def drop_spent_checkpoints(session: Session) -> Sequence[str]:
    """Delete a batch of rows of checkpoints of ended trials; return their digests."""
    spent = session.execute(
        select(Artifact.trial_id, Artifact.sha256)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(Artifact.name == CHECKPOINT, Trial.state.in_(FINISHED))
        .limit(_BATCH)
    ).all()
    return _drop(session, spent, [CHECKPOINT])


def with_more_weights(session: Session, count: int) -> Sequence[str]:
    """Return the searches in which more than `count` ended trials have weights."""
    return session.scalars(
        select(Trial.search_id)
        .join(Artifact, Artifact.trial_id == Trial.id)
        .where(Artifact.name == WEIGHTS, Trial.state.in_(FINISHED))
        .group_by(Trial.search_id)
        .having(func.count() > count)
    ).all()


def drop_weights(
    session: Session, search_id: str, *, kept: Collection[str], seconds: float
) -> Sequence[str]:
    """Delete a batch of rows of weights that are older than `seconds`; return their digests.

    Args:
        kept: Trials whose weights are kept.
    """
    rows = session.execute(
        select(Artifact.trial_id, Artifact.sha256)
        .join(Trial, Trial.id == Artifact.trial_id)
        .where(
            Trial.search_id == search_id,
            Trial.state.in_(FINISHED),
            Trial.id.not_in(kept),
            Artifact.name.in_(_WEIGHTS),
            Artifact.created_at < now() - seconds,
        )
        .limit(_BATCH)
    ).all()
    return _drop(session, rows, _WEIGHTS)


def _drop(session: Session, rows: Sequence[tuple[str, str]], names: Sequence[str]) -> Sequence[str]:
    of = {trial_id for trial_id, _ in rows}
    session.execute(
        delete(Artifact)
        .where(Artifact.trial_id.in_(of), Artifact.name.in_(names))
        .execution_options(synchronize_session=False)
    )
    return [sha256 for _, sha256 in rows]
