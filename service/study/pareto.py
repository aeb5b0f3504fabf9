"""Several objectives: which points no other beats in all of them."""

from collections.abc import Sequence

import numpy as np

from service.study.optuna_private import non_domination_ranks


def pareto_ranks(
    points: Sequence[Sequence[float]], maximize: Sequence[bool], *, best: int | None = None
) -> list[int]:
    """Return the Pareto front of each point: 0 is dominated by none, 1 only by those of 0, etc.

    Args:
        points: One value for each objective.
        maximize: Whether each objective is maximized.
        best: How many of the best points need exact ranks; all others rank after them. None
            means all.
    """
    signs = np.where(np.array(maximize), -1.0, 1.0)
    losses = np.array(points, dtype=float).reshape(-1, len(signs)) * signs
    return non_domination_ranks(losses, best=best)
