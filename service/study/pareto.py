"""Several objectives: which points no other beats in all of them."""

from collections.abc import Sequence

import numpy as np
from optuna.study._multi_objective import _fast_non_domination_rank


def ranks(
    points: Sequence[Sequence[float]], maximize: Sequence[bool], *, best: int | None = None
) -> list[int]:
    """Return the front that each point lies on: 0 is beaten by none, 1 by those on 0, and so on.

    Args:
        points: One value for each objective.
        maximize: Whether each objective is to be large.
        best: So many points, the best, are ranked exactly; all others come after them.
    """
    signs = np.where(np.array(maximize), -1.0, 1.0)
    losses = np.array(points, dtype=float).reshape(-1, len(signs)) * signs
    return [int(rank) for rank in _fast_non_domination_rank(losses, n_below=best)]
