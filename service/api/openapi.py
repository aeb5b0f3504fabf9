"""The OpenAPI document: FastAPI's, with the problem documents that calls really answer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.errors import (
    BadContentType,
    BadHost,
    BadProtocol,
    DiskFull,
    Fault,
    Forbidden,
    Invalid,
    KeyReused,
    LeaseLost,
    NotFound,
    NotReady,
    ServiceError,
    StandingBy,
    Starting,
    StoreAway,
    TooLarge,
    TooManyRequests,
    Unauthorized,
    WrongState,
)
from service.http.host_guard import WRITES
from service.http.problems import MEDIA_TYPE, PLAIN_PROBLEMS, problem_document, type_of
from service.schemas.scopes import Scope

WIRE_NAMES = {"SearchSpec": "Search"}
"""Names of schemas that differ from the class, as `Search` is the row in the code."""

EXAMPLES_FILE = Path(__file__).with_name("examples.json")
"""A request and response of each call; `tests/support/examples.py` writes the file."""

DESCRIPTION = """
Errors are problem documents (RFC 9457); their `type` is one of those listed at the schema
`Problem`, and stays what it is from version to version. `errors` names every field at fault with
what was given.

Lists of searches, trials, queue and tokens are pages `{items, next}`: give `next` as `cursor` for
the following one. Lists of workers, tasks, activations, plots, reports and artifacts are arrays: of
workers the 1,000 that were seen last, the others whole.

Every answer carries `X-Request-ID`, which a client may choose. Writes need the content type
`application/json`, also with an empty body.
"""


def problem_types() -> dict[str, str]:
    """Return the types of all problems with their meanings."""
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
    document = _with_wire_names(document)
    problem = document["components"]["schemas"]["Problem"]
    types = problem_types()
    problem["properties"]["type"] |= {
        "enum": list(types),
        "description": "\n".join(f"- `{type}`: {meaning}" for type, meaning in types.items()),
    }
    examples = json.loads(EXAMPLES_FILE.read_text())
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            operation["summary"] = operation["description"].splitlines()[0]
            example = examples.get(f"{method.upper()} {path}", {}) | _TEXTS.get(path, {})
            _add_examples(operation, example)
            _add_problems(operation, method.upper(), path)
    return document


def _with_wire_names(document: dict[str, Any]) -> dict[str, Any]:
    """Rename schemas: generated clients use these names."""
    text = json.dumps(document)
    for name, wire_name in WIRE_NAMES.items():
        text = text.replace(f'"{name}": {{', f'"{wire_name}": {{')
        text = text.replace(f'schemas/{name}"', f'schemas/{wire_name}"')
    return dict(json.loads(text))


def _add_examples(operation: dict[str, Any], example: dict[str, Any]) -> None:
    for status, response in operation["responses"].items():
        for content in response.get("content", {}).values():
            if status.startswith("2") and "response" in example:
                content["example"] = example["response"]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        if "request" in example and "examples" not in content:
            content["example"] = example["request"]


def _add_problems(operation: dict[str, Any], method: str, path: str) -> None:
    """Add every error status of a call, with examples."""
    responses = operation["responses"]
    del responses["4XX"]  # Only there so that FastAPI adds no errors of its own.
    schema = {"$ref": "#/components/schemas/Problem"}
    for error in _errors(operation, method, path):
        status, kind = str(int(error.status)), type(error)
        response = responses.setdefault(status, {"description": "", "content": {}})
        response["description"] = f"{response['description']} {_first_line(kind)}".strip()
        content = response["content"].setdefault(MEDIA_TYPE, {"schema": schema, "examples": {}})
        content["examples"][kind.__name__] = {"value": problem_document(error, path)}
    plain = {"500": "InternalError"} | ({"400": "BadRequest"} if "requestBody" in operation else {})
    for status, name in plain.items():
        meaning = PLAIN_PROBLEMS[type_of(name)]
        responses[status] = {"description": meaning, "content": {MEDIA_TYPE: {"schema": schema}}}


def _errors(operation: dict[str, Any], method: str, path: str) -> Iterator[ServiceError]:
    """Yield an error of each class that a call can raise."""
    yield BadHost("elsewhere.example")
    if path.startswith("/v1/"):
        yield TooManyRequests(3)
    if path.startswith("/v1/") or path in ("/readyz", "/metrics"):
        yield from (Starting(), StandingBy(), StoreAway())
    if operation.get("security") or path == "/v1/session":
        yield Unauthorized()
    if operation.get("security"):
        yield Forbidden(Scope.READ if method == "GET" else Scope.SUBMIT, ["work"])
    if method in WRITES:
        yield TooLarge(8 * 1024**2)
        yield BadContentType("text/plain", "application/json")
        yield DiskFull()
    if "requestBody" in operation or operation.get("parameters"):
        yield Invalid([Fault("budget.trials", "Input should be greater than or equal to 1", 0)])
    if path.startswith("/v1/leases/"):
        yield LeaseLost("l0123456789abcdef")
    if path.startswith("/v1/searches/{id}") and method in ("POST", "PATCH"):
        yield WrongState("pause", "completed", ["running", "queued"])
    if path.startswith(_MAY_BE_TOO_EARLY):
        yield NotReady("config", "the network has not been inspected")
    if path in _ONCE:
        yield KeyReused("my-key")
    if path in ("/v1/leases", "/v1/workers/{id}"):
        yield BadProtocol(3, 4, 1)
    if path == "/v1/leases" or ("{id}" in path and method != "PUT"):
        yield NotFound("search", "s0123456789abcdef")


_MAY_BE_TOO_EARLY = (
    "/v1/searches/{id}/best/",
    "/v1/searches/{id}/trials",
    "/v1/searches/{id}/shapes",
    "/v1/trials/{id}/shapes",
)
_ONCE = ("/v1/searches", "/v1/searches/{id}/fork")
_TEXTS: dict[str, dict[str, Any]] = {
    "/v1/searches/{id}/events": {
        "response": 'id: 1\nevent: search\ndata: {"state": "running"}\n\n'
    },
    "/v1/searches/{id}/trials.csv": {
        "response": "number,kind,state,value\n1,proposed,completed,0.91\n"
    },
    "/metrics": {"response": 'actsearch_searches{state="running"} 2.0\n'},
}
"""Examples of answers that are not JSON."""


def _leaves(kind: type[ServiceError]) -> Iterator[type[ServiceError]]:
    """Yield the classes without subclasses, which are those that are raised."""
    derived = kind.__subclasses__()
    for one in derived:
        yield from _leaves(one)
    if not derived:
        yield kind


def _first_line(kind: type[ServiceError]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0]
