"""What is kept of trials that have ended: no checkpoint, and the weights of the best.

Curves, learned shapes and the document of a rerun are small, and are kept of every trial.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from service.results import confirmation, ranking
from service.runtime.context import Context
from service.store import retention, searches, trials
from service.store.models import Search

log = logging.getLogger(__name__)


def retire(context: Context, *, seconds: float) -> None:
    """Delete the checkpoints of ended trials, and the weights that are none of the best.

    Args:
        seconds: Weights that are younger are kept, whosever they are.
    """
    _in_pieces(context, "checkpoints", retention.drop_spent_checkpoints)
    count = context.settings.keep_weights
    if not count:
        return
    with context.database.read() as session:
        crowded = retention.with_more_weights(session, count)
    for search_id in crowded:

        def drop(session: Session, search_id: str = search_id) -> Sequence[str]:
            if not searches.exists(session, search_id):
                return []
            kept = _kept(session, searches.get(session, search_id), count)
            return retention.drop_weights(session, search_id, kept=kept, seconds=seconds)

        _in_pieces(context, f"weights of {search_id}", drop)


def _kept(session: Session, search: Search, count: int) -> set[str]:
    """Return the trials that keep their weights: the best, a front, and a confirmed winner's."""
    kept = {one.trial.id for one in ranking.ranked(session, search, limit=count)}
    kept |= {trial.id for trial, _ in ranking.front(session, search)}
    winner = confirmation.load(session, search).winner_trial
    return kept if winner is None else kept | {winner.id}


def _in_pieces(context: Context, what: str, drop: Callable[[Session], Sequence[str]]) -> None:
    """Delete rows and their files until nothing is left to be deleted."""
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
        log.info("deleted %d files: %s that are kept no longer", count, what)
