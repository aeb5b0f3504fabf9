"""What is kept of trials that have ended: no checkpoint, and the weights of the best.

Curves, learned shapes and the document of a rerun are small, and are kept of every trial.
"""

import logging
from collections.abc import Callable, Sequence

from sqlalchemy.orm import Session

from service import confirmation, results
from service.core import Core
from service.store import retention, searches, trials
from service.store.models import Search

log = logging.getLogger(__name__)


def retire(core: Core, *, seconds: float) -> None:
    """Delete the checkpoints of ended trials, and the weights that are none of the best.

    Args:
        seconds: Weights that are younger are kept, whosever they are.
    """
    _in_pieces(core, "checkpoints", retention.drop_spent_checkpoints)
    count = core.settings.keep_weights
    if not count:
        return
    with core.database.read() as session:
        crowded = retention.with_more_weights(session, count)
    for search_id in crowded:

        def drop(session: Session, search_id: str = search_id) -> Sequence[str]:
            if not searches.exists(session, search_id):
                return []
            kept = _kept(session, searches.get(session, search_id), count)
            return retention.drop_weights(session, search_id, kept=kept, seconds=seconds)

        _in_pieces(core, f"weights of {search_id}", drop)


def _kept(session: Session, search: Search, count: int) -> set[str]:
    """Return the trials that keep their weights: the best, a front, and a confirmed winner's."""
    kept = {one.trial.id for one in results.ranked(session, search, limit=count)}
    kept |= {trial.id for trial, _ in results.front(session, search)}
    winner = confirmation.confirmed_trial(session, search)
    return kept if winner is None else kept | {winner.id}


def _in_pieces(core: Core, what: str, drop: Callable[[Session], Sequence[str]]) -> None:
    """Delete rows and their files until nothing is left to be deleted."""
    count = 0
    while True:
        with core.artifacts.lock:
            with core.database.write() as session:
                dropped = drop(session)
                unused = [sha256 for sha256 in dropped if not trials.is_named(session, sha256)]
            for sha256 in unused:
                core.artifacts.discard(sha256)
        if not dropped:
            break
        count += len(unused)
    if count:
        log.info("deleted %d files: %s that are kept no longer", count, what)
