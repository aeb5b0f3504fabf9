"""The reference of the API: FastAPI's, with the errors as they are really answered."""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.errors import ServiceError
from service.problems import MEDIA_TYPE, PLAIN_PROBLEMS, type_of

DESCRIPTION = """
Errors are problem documents (RFC 9457); their `type` is one of those listed at the schema
`Problem`, and stays what it is from version to version. `errors` names every field at fault with
what was given. Lists are pages `{items, next}`: give `next` as `cursor` for the following one.
Every answer carries `X-Request-ID`, which a client may choose. Writes need the content type
`application/json`, also with an empty body.
"""

EVERYWHERE = {
    "4XX": "The request is at fault; the problem says where.",
    "5XX": "The service cannot answer now; 503 says when to ask again (`Retry-After`).",
}


def problem_types() -> dict[str, str]:
    """Return the types of all problems, each with what it means."""
    described = {type_of(kind.__name__): _first_line(kind) for kind in _leaves(ServiceError)}
    return dict(sorted((described | PLAIN_PROBLEMS).items()))


def make_openapi(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of an app."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=DESCRIPTION.strip(),
        routes=app.routes,
    )
    problem = document["components"]["schemas"]["Problem"]
    types = problem_types()
    problem["properties"]["type"] |= {
        "enum": list(types),
        "description": "\n".join(f"- `{type}`: {meaning}" for type, meaning in types.items()),
    }
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for operation in operations(document):
        for status, description in EVERYWHERE.items():
            operation["responses"][status] = {"description": description, "content": content}
    return document


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every operation of a document."""
    for path in document["paths"].values():
        yield from path.values()


def _leaves(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """Yield the errors that are raised: those that nothing derives from."""
    derived = kind.__subclasses__()
    for one in derived:
        yield from _leaves(one)
    if not derived:
        yield kind


def _first_line(kind: type[ServiceError]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]
