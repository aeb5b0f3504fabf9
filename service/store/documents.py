"""Parsed documents and spaces of searches, cached by the search's id.

Every report needs the document or the space, and parsing takes milliseconds.
"""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from search_space.contract import read_plan
from search_space.errors import SearchSpaceError
from search_space.search import SearchSpec
from search_space.space.space import Space, make_space
from service.store.models import Search

CACHE_SIZE = 256
"""More than the number of searches that run at the same time."""

NO_WARM_START = "cold"
"""Key in `pinned` of the reason why a fork begins without its parent's candidates."""


PAIRED = "paired"
"""Pinned by searches whose confirmations share their seeds; those of version 0.1 do not."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The cache key of a search. Only the id is compared: neither part changes once it is set."""

    id: str
    document: dict[str, Any] = field(compare=False)
    plan: dict[str, Any] | None = field(compare=False, default=None)


def document_of(search: Search) -> SearchSpec:
    return _document(_Source(search.id, search.document))


def in_force(search: Search) -> dict[str, Any]:
    """Return the document of a search with the changes since its submission.

    The name is that of the submission, which may be None: a fork then generates its own.
    """
    budget = {
        "trials": search.budget,
        "hours": search.budget_hours,
        "gpu_hours": search.budget_gpu_hours,
        "failures": search.budget_failures,
    }
    changed = {"budget": budget, "parallel": search.parallel, "priority": search.priority}
    return {**search.document, **changed}


def space_of(search: Search) -> Space:
    """Return the space of a search that has been planned."""
    assert search.plan is not None
    return _space(_Source(search.id, search.document, search.plan))


def find_space(search: Search) -> Space | None:
    """Return the space of a search; None if it is not planned or does not fit its network."""
    try:
        return None if search.plan is None else space_of(search)
    except SearchSpaceError:
        # A search fails after its inspection if, for example, a pattern matches no site.
        return None


@lru_cache(CACHE_SIZE)
def _document(source: _Source) -> SearchSpec:
    # Through JSON: validation is strict, and accepts a list for a tuple only there.
    return SearchSpec.model_validate_json(json.dumps(source.document))


@lru_cache(CACHE_SIZE)
def _space(source: _Source) -> Space:
    document = _document(_Source(source.id, source.document))
    return make_space(document, read_plan(source.plan))
