"""Seed blocks: trainings that share their seed, so that their differences are paired.

Initial weights and order of data follow from the seed. What they do to a training is common to all
candidates of a block, and drops out of the differences within it.
"""

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_space.contract import TrialKind
from search_space.space.space import Space
from service.store import trial_counts
from service.store.models import Search, Trial


def block_count(search: Search) -> int:
    """Return the number of seed blocks of a search; 0: each training has a seed of its own."""
    return int(search.pinned["sampler"].get("seed_blocks", 0))


def next_block(session: Session, search: Search, space: Space) -> int | None:
    """Return the seed block of the next proposal, or None if the search has no blocks.

    The uniform networks are the first block. As many trainings as there are uniform networks
    share a block, then the next block follows, in turn. A block in which every candidate has been
    trained is left out.
    """
    blocks = block_count(search)
    if not blocks:
        return None
    size = max(len(space.uniforms), 1)
    turn = (size + trial_counts.proposed(session, search.id)) // size % blocks
    trained = _trained(session, search)
    in_turn = [(turn + step) % blocks for step in range(blocks)]
    return next((one for one in in_turn if trained.get(one, 0) < space.size), turn)


def is_exhausted(session: Session, search: Search, space: Space) -> bool:
    """Whether every candidate has been trained, or is being trained, in every block."""
    trained = _trained(session, search)
    return all(trained.get(one, 0) >= space.size for one in range(block_count(search)))


def _trained(session: Session, search: Search) -> dict[int | None, int]:
    """Return how many candidates of the space were trained in each block, unfinished included."""
    rows = session.execute(
        select(Trial.seed_block, func.count(Trial.key.distinct()))
        .where(Trial.search_id == search.id, Trial.optuna_number.is_not(None))
        .group_by(Trial.seed_block)
    )
    return {block: count for block, count in rows}


def free_block(session: Session, search: Search, key: str) -> int | None:
    """Return the first block in which a candidate was not trained, or None without blocks."""
    if not block_count(search):
        return None
    known = set(
        session.scalars(
            select(Trial.seed_block).where(
                Trial.search_id == search.id,
                Trial.key == key,
                Trial.repeat_of.is_(None),
                Trial.kind != TrialKind.CONFIRMATION,
            )
        )
    )
    # Beyond the blocks of the search where all have been used: replicates may want more seeds.
    return next(block for block in range(len(known) + 1) if block not in known)


def trained_in_block(session: Session, search: Search, key: str, block: int) -> Trial | None:
    """Return the trial that trained a candidate in a block, or None."""
    return session.scalars(
        select(Trial)
        .where(
            Trial.search_id == search.id,
            Trial.key == key,
            Trial.seed_block == block,
            Trial.repeat_of.is_(None),
            Trial.kind != TrialKind.CONFIRMATION,
        )
        .order_by(Trial.number)
        .limit(1)
    ).first()
