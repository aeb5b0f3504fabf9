"""What a search asks for, read once for each search and kept.

Every report of a worker needs the document or the space, and to read them takes milliseconds.
"""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from search_space.contract import read_plan
from search_space.search import SearchSpec
from search_space.space.space import Space, make_space
from service.store.models import Search

KEPT = 256
"""Searches at work at the same time are fewer."""

COLD = "cold"
"""Under it a fork has pinned why it begins without what its parent has found."""


@dataclass(frozen=True, slots=True)
class _Source:
    """What is read of a search. Its id stands for it: neither part changes once it is there."""

    id: str
    document: dict[str, Any] = field(compare=False)
    plan: dict[str, Any] | None = field(compare=False, default=None)


def document_of(search: Search) -> SearchSpec:
    return _document(_Source(search.id, search.document))


def in_force(search: Search) -> dict[str, Any]:
    """Return the document of a search with what was changed since it was submitted.

    The name is the submitted one: a generated name would be generated anew.
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


@lru_cache(KEPT)
def _document(source: _Source) -> SearchSpec:
    # By way of JSON: documents are strict, and a list is no tuple outside of it.
    return SearchSpec.model_validate_json(json.dumps(source.document))


@lru_cache(KEPT)
def _space(source: _Source) -> Space:
    document = _document(_Source(source.id, source.document))
    return make_space(document, read_plan(source.plan))
