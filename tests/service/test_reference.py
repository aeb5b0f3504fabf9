"""What the API says of itself, and what it says with every answer."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.openapi import operations, problem_types
from tests.support.player import SEARCH, Player
from tests.support.serving import Served

PROBLEM = "urn:activation-search:problem:"


@pytest.fixture
def document(served: Served) -> dict[str, Any]:
    return dict(httpx2.get(f"{served.url}/openapi.json").raise_for_status().json())


def test_every_call_is_described_with_its_problems(document: dict[str, Any]) -> None:
    for operation in operations(document):
        assert operation["description"], operation["operationId"]
        for status in ("4XX", "5XX"):
            assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
    wanted = {
        "/v1/searches": {"get", "post"},
        "/v1/searches/preview": {"post"},
        "/v1/searches/{id}": {"get", "patch", "delete"},
        "/v1/searches/{id}/trials": {"get", "post"},
        "/v1/trials/{id}": {"get"},
        "/v1/queue": {"get"},
    }
    wanted |= {
        f"/v1/searches/{{id}}/{word}": {"post"}
        for word in ("pause", "resume", "cancel", "kill", "fork")
    }
    for path, methods in wanted.items():
        assert methods <= document["paths"][path].keys()


def test_the_examples_are_taken(player: Player, document: dict[str, Any]) -> None:
    body = document["paths"]["/v1/searches"]["post"]["requestBody"]["content"]["application/json"]
    assert body["examples"]
    for example in body["examples"].values():
        assert player.http.post("/searches", json=example["value"]).status_code == 201
    search = player.submit()
    schemas = document["components"]["schemas"]
    (change,) = schemas["Changes"]["examples"]
    assert player.http.patch(f"/searches/{search['id']}", json=change).status_code == 200
    (edits,) = schemas["Edits"]["examples"]
    assert player.http.post(f"/searches/{search['id']}/fork", json=edits).status_code == 201


def test_the_types_of_problems_are_listed_and_stay(document: dict[str, Any]) -> None:
    known = {
        "bad-content-type",
        "bad-host",
        "bad-protocol",
        "bad-request",
        "forbidden",
        "internal-error",
        "invalid",
        "key-reused",
        "lease-lost",
        "method-not-allowed",
        "not-found",
        "not-ready",
        "standing-by",
        "store-away",
        "too-large",
        "too-many-requests",
        "unauthorized",
        "wrong-state",
    }
    listed = document["components"]["schemas"]["Problem"]["properties"]["type"]
    assert {PROBLEM + name for name in known} <= set(listed["enum"]) == set(problem_types())
    assert all(meaning for meaning in problem_types().values())


def test_the_reference_is_read_without_scripts_or_other_hosts(served: Served) -> None:
    page = httpx2.get(f"{served.url}/docs")
    assert page.status_code == 200
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert not re.search(r"(?:src|href)=\"(?:https?:)?//", page.text)
    assert "/v1/searches/{id}/fork" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert httpx2.get(f"{served.url}/static/reference.css").status_code == 200
    assert httpx2.get(f"{served.url}/redoc").status_code == 404


@pytest.mark.parametrize(
    ("given", "is_taken"), [("mine-42", True), ("a b", False), ("x" * 101, False), ("<b>", False)]
)
def test_a_request_has_an_id(served: Served, given: str, is_taken: bool) -> None:
    for path in ("/searches", "/searches/none"):
        answer = served.http.get(path, headers={"X-Request-ID": given})
        id = answer.headers["x-request-id"]
        assert (id == given) is is_taken
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,100}", id)
        if answer.status_code == 404:
            assert answer.json()["request_id"] == id


def test_refused_requests_have_an_id_too(served: Served) -> None:
    for headers in ({"host": "evil.example"}, {"content-type": "text/plain"}):
        answer = served.http.post("/searches", headers=headers)
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_every_answer_tells_browsers_to_be_careful(served: Served) -> None:
    answers = [
        served.http.get("/searches"),
        served.http.get("/nothing"),
        served.http.delete("/searches"),
        httpx2.get(f"{served.url}/healthz"),
        httpx2.get(f"{served.url}/openapi.json"),
        httpx2.get(f"{served.url}/docs"),
        httpx2.get(f"{served.url}/"),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    assert answers[0].headers["cache-control"] == "no-store"
    assert answers[2].json()["type"] == f"{PROBLEM}method-not-allowed"


def test_one_client_is_bounded_and_the_others_are_not(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("a-token-that-is-long-enough\n")
    served = serve(rate_limit=1.5, admin_token_file=tmp_path / "token")
    mine = {"authorization": "Bearer a-token-that-is-long-enough"}
    answers = [served.http.get("/searches", headers=mine) for _ in range(16)]
    assert [answer.status_code for answer in answers] == [200] * 15 + [429]
    refused = answers[-1]
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert refused.json()["type"] == f"{PROBLEM}too-many-requests"
    assert served.http.get("/searches", headers={"authorization": "Bearer x"}).status_code == 401
    assert httpx2.get(f"{served.url}/healthz").status_code == 200


def test_what_breaks_is_a_problem_that_names_the_request(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("service.api.searches.preview", broken)
    answer = served.http.post("/searches/preview", json=SEARCH)
    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"{PROBLEM}internal-error"
    assert answer.json()["request_id"]
    assert "secret" not in json.dumps(answer.json())
