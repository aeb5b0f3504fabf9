"""Thousands of bad inputs over every call: each is refused in the one form, or taken whole."""

import copy
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import pytest
from sqlalchemy import text

from service.api.openapi import EXAMPLES_FILE
from service.http.auth import SESSION_COOKIE
from tests.support.player import Player
from tests.support.serving import Served

pytestmark = pytest.mark.slow

ADMIN = "a-secret-that-no-log-shows"
NEVER_STORED = ["\0", "a\0b", "half \ud800 a pair", float("nan"), float("inf"), -(2**63), 10**30]


def nested(depth: int) -> Any:
    value: Any = 0
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


HOSTILE: list[Any] = [
    *NEVER_STORED,
    *(0, -1, 0.5, 1e308, 5e-324, 2**31, 2**62, True, None),
    *("", " ", "x" * 100_000, "9" * 400, "💥\u202e\ufffe", "1e999", "null"),
    *("<script>alert(1)</script>", "'; DROP TABLE trials; --", "%s%n{0}", "${jndi:ldap://a}"),
    *("../../etc/passwd", "/etc/passwd", "C:\\con", "file:///etc/passwd", "a/../b"),
    *([], {}, [None] * 1000, {"": ""}, {"\0": 1}, {"__proto__": {}}, nested(40), nested(200)),
]
ASKED: dict[str, Any] = {
    name: example["request"]
    for name, example in json.loads(EXAMPLES_FILE.read_text()).items()
    if "request" in example
}
TEXTS = [b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5000, b"\xff\xfe", b"\0", b'"\\ud800"']
HEADERS = (
    *("authorization", "cookie", "host", "origin", "content-type", "accept", "accept-encoding"),
    *("idempotency-key", "last-event-id", "if-none-match", "traceparent", "x-request-id"),
    *("x-forwarded-for", "x-forwarded-proto", "range", "content-encoding", "expect"),
)
VALUES = [
    b"",
    b"\xe9",
    b"\xff\xfe",
    b"Bearer \xe9",
    b"Bearer",
    b"Bearer attempt-",
    b"-1",
    b"a=b; \xe9",
]
VALUES += [
    b"9" * 400,
    b"x" * 5000,
    b"%00",
    b"<b>",
    b"a;" * 500,
    b'"',
    b",",
    b"application/json;\xe9",
]
VALUES += [
    f"{SESSION_COOKIE}={value}".encode("latin-1")
    for value in (
        "admin.1.\xe9",
        "admin.\xe9.x",
        "\xe9",
        "admin",
        "admin..",
        "admin.1e9." + "0" * 64,
        '"admin\\000.1.x"',
    )
]
QUERIES = ["\0", "\ud800", "nan", "-1", "1e999", "9" * 400, "x" * 5000, "<b>", "../..", "", "💥"]


@pytest.fixture
def guarded(serve: Callable[..., Served], tmp_path: Path) -> Served:
    (tmp_path / "token").write_text(ADMIN)
    served = serve(admin_token_file=tmp_path / "token", lease_seconds=3600, rate_limit=0)
    served.http.headers["authorization"] = f"Bearer {ADMIN}"
    return served


@pytest.fixture
def at_work(guarded: Served) -> dict[str, str]:
    """Ids of a search with a finished trial and of one that runs."""
    player = Player(guarded)
    search = player.submit()
    player.inspect()
    done = player.work()
    player.train(done, 0.5)
    running = player.work()
    return {"search": search["id"], "trial": done["trial"], "lease": running["lease"]}


def path_of(template: str, ids: dict[str, str]) -> str:
    """Fill a path of the reference with ids that exist."""
    kind = "trial" if template.startswith("/v1/trials/") else "search"
    kind = "worker" if template.startswith("/v1/workers/") else kind
    known = {"worker": "somebody"} | ids
    filled = template.removeprefix("/v1").replace("{id}", known[kind])
    return filled.replace("{lease}", ids["lease"]).replace("{name}", "weights.safetensors")


def spoiled(body: Any) -> Iterator[Any]:
    """Yield a body again and again, each time with something else wrong in one place."""
    yield from HOSTILE
    for path in places(body):
        for value in HOSTILE:
            changed = copy.deepcopy(body)
            parent = changed
            for key in path[:-1]:
                parent = parent[key]
            parent[path[-1]] = value
            yield changed
        if isinstance(path[-1], str):
            renamed = copy.deepcopy(body)
            parent = renamed
            for key in path[:-1]:
                parent = parent[key]
            parent[f"{path[-1]}\0"] = parent.pop(path[-1])
            yield renamed


def places(body: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(body, dict | list):
        for key in body if isinstance(body, dict) else range(min(len(body), 1)):
            yield (*here, key)
            yield from places(body[key], (*here, key))


def holds_never_stored(value: Any) -> bool:
    if isinstance(value, dict):
        return any(holds_never_stored(one) for pair in value.items() for one in pair)
    if isinstance(value, list):
        return any(map(holds_never_stored, value))
    return any(value is one or (isinstance(one, str) and value == one) for one in NEVER_STORED) or (
        isinstance(value, str) and "\0" in value
    )


def check(answer: httpx2.Response, said: object) -> None:
    assert answer.status_code < 500, (str(said)[:300], answer.text[:500])
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
        problem = answer.json()
        assert problem["type"].startswith("urn:activation-search:problem:")
        assert problem["status"] == answer.status_code
        assert len(answer.content) < 500_000
        if answer.status_code == 422:
            assert all(fault["field"] and fault["message"] for fault in problem["errors"])


@pytest.mark.parametrize("name", ASKED)
def test_no_body_breaks_a_call_or_is_stored_half(
    name: str, guarded: Served, at_work: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    method, template = name.split(" ")
    path, example = path_of(template, at_work), copy.deepcopy(ASKED[name])
    if name == "POST /v1/leases":
        example["wait_seconds"] = 0
    refused = 0
    for body in spoiled(example):
        answer = guarded.http.request(method, path, content=json.dumps(body).encode())
        check(answer, (name, body))
        if holds_never_stored(body):
            assert answer.status_code == 422, (name, body, answer.text)
        refused += answer.status_code == 422
    assert refused > 2 * len(HOSTILE) / 3
    assert ADMIN not in caplog.text
    assert_whole(guarded)


def assert_whole(served: Served) -> None:
    """Every search has its inspection and its first event; every list can be read."""
    for what in ("searches", "queue", "workers", "tasks", "tokens"):
        served.http.get(f"/{what}").raise_for_status()
    with served.context.database.read() as session:
        for table, column in (("trials", "search_id"), ("events", "search_id")):
            without = f"SELECT id FROM searches WHERE id NOT IN (SELECT {column} FROM {table})"
            assert session.execute(text(without)).all() == []


def test_no_query_or_id_breaks_a_read(guarded: Served, at_work: dict[str, str]) -> None:
    document = guarded.http.get(f"{guarded.url}/openapi.json").json()
    asked = 0
    for template, methods in document["paths"].items():
        if "get" not in methods or template.endswith("/events") or "/v1/" not in template:
            continue
        parameters = [p for p in methods["get"].get("parameters", ()) if p["in"] == "query"]
        for parameter in parameters:
            for value in QUERIES:
                query = f"{parameter['name']}={quote(value, errors='surrogatepass')}"
                answer = guarded.http.get(f"{path_of(template, at_work)}?{query}")
                check(answer, (template, query))
                asked += 1
                if "\0" in value:
                    assert answer.status_code == 422
                    assert answer.json()["errors"][0]["field"] == parameter["name"]
        for value in QUERIES:
            if "{" in template and value:
                id = quote(value, safe="", errors="surrogatepass")
                path = template.removeprefix("/v1").replace("{id}", id).replace("{name}", id)
                check(guarded.http.get(path), path)
                asked += 1
    assert asked > 200


@pytest.mark.parametrize("admin", [True, False])
def test_no_header_breaks_a_call(guarded: Served, at_work: dict[str, str], *, admin: bool) -> None:
    if not admin:
        del guarded.http.headers["authorization"]
    search = f"/searches/{at_work['search']}"
    token = json.dumps({"token": "somebody's"}).encode()
    for header in HEADERS:
        for value in VALUES:
            headers = {header.encode(): value}
            with guarded.http.stream("GET", f"{search}/events", headers=headers) as events:
                answers = [events]
            answers.append(guarded.http.get(f"{search}/plots/rungs", headers=headers))
            answers.append(guarded.http.post("/session", content=token, headers=headers))
            assert all(answer.status_code < 500 for answer in answers), (header, value, answers)
    guarded.http.headers["authorization"] = f"Bearer {ADMIN}"
    assert_whole(guarded)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"1" * 5000,
        b"\xff\xfe",
        b"\0",
        b'{"a":1e400}',
        b'"\\ud800"',
    ],
    ids=lambda content: repr(content[:8]),
)
def test_no_text_breaks_a_write(guarded: Served, at_work: dict[str, str], content: bytes) -> None:
    for template in ("/v1/searches", "/v1/tokens", "/v1/leases/{lease}/reports"):
        check(guarded.http.post(path_of(template, at_work), content=content), content[:50])


def test_output_may_be_any_bytes(guarded: Served, at_work: dict[str, str]) -> None:
    kind = {"content-type": "application/octet-stream"}
    url = f"/leases/{at_work['lease']}/logs"
    output = b"\0 \xff\xfe \xed\xa0\x80 \x1b[2J\r\n"
    guarded.http.post(url, params={"offset": 0}, content=output, headers=kind).raise_for_status()
    running = guarded.http.get(f"/searches/{at_work['search']}/trials?state=running").json()
    shown = guarded.http.get(f"/trials/{running['items'][0]['id']}/logs").raise_for_status()
    assert shown.json()["next"] == len(output)
