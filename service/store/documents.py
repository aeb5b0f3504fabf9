"""What a search asks for, read once for as long as its text is the same.

Every word of a worker needs the document or the space; to read them takes milliseconds.
"""

import json
from functools import lru_cache
from typing import Any

from search_space.contract import read_plan
from search_space.search import SearchSpec
from search_space.space.space import Space, make_space
from service.store.models import Search

KEPT = 256
"""Searches at work at the same time are fewer."""


def document_of(search: Search) -> SearchSpec:
    return _document(json.dumps(search.document))


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
    return _space(json.dumps(search.document), json.dumps(search.plan))


@lru_cache(KEPT)
def _document(text: str) -> SearchSpec:
    return SearchSpec.model_validate_json(text)


@lru_cache(KEPT)
def _space(document: str, plan: str) -> Space:
    return make_space(_document(document), read_plan(json.loads(plan)))


COLD = "cold"
"""Under it a fork has pinned why it begins without what its parent has found."""
