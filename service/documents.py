"""What a search asks for, read once for as long as its text is the same.

Every word of a worker needs the document or the space; to read them takes milliseconds.
"""

import json
from functools import lru_cache

from search_space.contract import read_plan
from search_space.sample import Space, make_space
from search_space.search import Search as Document
from service.store.models import Search

KEPT = 256
"""Searches at work at the same time are fewer."""


def document_of(search: Search) -> Document:
    return _document(json.dumps(search.document))


def space_of(search: Search) -> Space:
    """Return the space of a search that has been planned."""
    assert search.plan is not None
    return _space(json.dumps(search.document), json.dumps(search.plan))


@lru_cache(KEPT)
def _document(text: str) -> Document:
    return Document.model_validate_json(text)


@lru_cache(KEPT)
def _space(document: str, plan: str) -> Space:
    return make_space(_document(document), read_plan(json.loads(plan)))
