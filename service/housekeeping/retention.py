"""Retention of the files of ended trials: no checkpoint, and the weights of the best trials only.

Curves, learned shapes and the document of a rerun are small and are kept of every trial.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from service.results import confirmation, ranking
from service.runtime.context import Context
from service.store import retention, searches, trials
from service.store.models import Search

log = logging.getLogger(__name__)


def apply_retention(context: Context, *, seconds: float) -> None:
    """Delete the checkpoints of ended trials, and the weights of all but the best trials.

    Args:
        seconds: Younger weights are kept in any case.
    """
    _delete_in_batches(context, "checkpoints", retention.drop_spent_checkpoints)
    count = context.settings.keep_weights
    if not count:
        return  # Zero means: keep the weights of every trial.
    with context.database.read() as session:
        over_limit = retention.with_more_weights(session, count)
    for search_id in over_limit:

        def drop(session: Session, search_id: str = search_id) -> Sequence[str]:
            # The search may have been deleted since it was listed.
            if not searches.exists(session, search_id):
                return []
            kept = _trials_to_keep(session, searches.get(session, search_id), count)
            return retention.drop_weights(session, search_id, kept=kept, seconds=seconds)

        _delete_in_batches(context, f"weights of {search_id}", drop)


def _trials_to_keep(session: Session, search: Search, count: int) -> set[str]:
    """Return the trials whose weights are kept: the best, a Pareto front, a confirmed winner."""
    kept = {one.trial.id for one in ranking.ranked(session, search, limit=count)}
    kept |= {trial.id for trial, _ in ranking.front(session, search)}
    winner = confirmation.load(session, search).winner_trial
    return kept if winner is None else kept | {winner.id}


def _delete_in_batches(
    context: Context, kind: str, drop: Callable[[Session], Sequence[str]]
) -> None:
    """Delete rows and their files, a batch in each transaction, until `drop` finds no more."""
    count = 0
    while True:
        with context.artifacts.lock:
            with context.database.write() as session:
                dropped = drop(session)
                unused = [sha256 for sha256 in dropped if not trials.is_named(session, sha256)]
            for sha256 in unused:
                context.artifacts.discard(sha256)
        if not dropped:
            break
        count += len(unused)
    if count:
        log.info("deleted %d files beyond their retention: %s", count, kind)
