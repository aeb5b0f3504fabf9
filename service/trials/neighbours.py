"""The first proposals of `per: auto`: the best uniform network, changed in one group of sites.

Dozens of trials over many independent groups are hardly better than chance, while the best uniform
network has most of the attainable gain. So the first half of the proposals are its neighbours, and
the sampler continues from their results.
"""

from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from search_space.contract import read_candidate
from search_space.space.space import Space
from service.results import ranking
from service.store import trial_counts, trials
from service.store.models import Search
from service.study.random_draws import RandomSuggester
from service.study.seeds import seed_of

SHARE = 0.5
_DRAWS = 100


def neighbour(session: Session, search: Search, space: Space, number: int) -> dict[str, Any] | None:
    """Return parameters of a new candidate next to the best uniform network, drawn at random.

    None if the search does not begin so, has spent that part of its budget, or no draw is new.
    """
    if not _begins_near_a_uniform(search, space):
        return None
    if trial_counts.proposed(session, search.id) >= SHARE * search.budget:
        return None
    best = ranking.best_uniform(session, search)
    params = None if best is None else space.params_of(read_candidate(best.trial.candidate))
    if params is None:
        return None
    rng = np.random.default_rng(seed_of(search.document["sampler"]["seed"], "neighbour", number))
    for _ in range(_DRAWS):
        group = space.groups[int(rng.integers(len(space.groups)))]
        changed = {n: v for n, v in params.items() if n.split("/")[0] != group.name}
        group.suggest(RandomSuggester(rng), changed)
        candidate = space.candidate(changed)
        if trials.first_with_key(session, search.id, space.key(candidate)) is None:
            return space.params_of(candidate)
    return None


def _begins_near_a_uniform(search: Search, space: Space) -> bool:
    # Other samplers serve as baselines for comparison, so they are not changed.
    is_tpe = search.pinned["sampler"]["name"] == "tpe"
    return search.document["sites"]["per"] == "auto" and is_tpe and len(space.groups) > 1
