"""Drafts of searches: read from text and completed with every default."""

from typing import Any

import yaml
from fastapi import APIRouter
from pydantic import ValidationError

from search_space.search import SearchSpec
from service.api.deps import reads_or_submits
from service.errors import Fault, Invalid, fault_of
from service.schemas.document_text import DocumentError, parse_document, require_object
from service.schemas.searches import Draft, DraftAnswer

router = APIRouter(prefix="/searches", tags=["searches"], dependencies=[reads_or_submits])


@router.get("/schema")
def read_schema() -> dict[str, Any]:
    """Read the JSON Schema of a search, for forms and editors."""
    return SearchSpec.model_json_schema()


@router.post("/draft")
def read_draft(body: Draft) -> DraftAnswer:
    """Read a search written in YAML or JSON; return it whole. Nothing is stored."""
    try:
        document = SearchSpec.model_validate(_read(body.text))
    except ValidationError as error:
        raise Invalid([fault_of(one) for one in error.errors()]) from None
    whole = document.model_dump(mode="json")
    return DraftAnswer(document=whole, text=yaml.safe_dump(whole, sort_keys=False, width=100))


def _read(text: str) -> dict[str, Any]:
    try:
        data = parse_document(text, allow_aliases=False)
        return require_object(data, "an object with the key 'task'")
    except DocumentError as error:
        raise Invalid([Fault("text", error.problem, error.given)]) from None
