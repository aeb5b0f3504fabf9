"""Tokens: what each scope may do, until when, and the cookie of a page that signed in."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import select, text

from search_space.contract import PROTOCOL
from service.cli import main
from service.store.models import Secret, Token
from tests.support.player import SEARCH, Player
from tests.support.serving import Served

ADMIN = "open-sesame"
SCOPES = ("read", "submit", "work", "admin")
ALLOWS = {
    "read": {"read"},
    "submit": {"submit", "read"},
    "work": {"work"},
    "admin": {"read", "submit", "work", "admin"},
}
NO_TOKEN = {("POST", "/v1/session"), ("DELETE", "/v1/session")}
"""Signing in and out asks for no token beside the one that is shown."""

ANY_TOKEN = {("GET", "/v1/session")}


@pytest.fixture
def guarded(serve: Callable[..., Served], tmp_path: Path) -> Served:
    (tmp_path / "token").write_text(f"{ADMIN}\n")
    served = serve(admin_token_file=tmp_path / "token")
    served.http.headers["authorization"] = f"Bearer {ADMIN}"
    return served


@pytest.fixture
def make(guarded: Served) -> Callable[..., dict[str, Any]]:
    """Make tokens over HTTP."""

    def make(*scopes: str, **more: Any) -> dict[str, Any]:
        body = {"name": "a test", "scopes": scopes} | more
        return dict(guarded.http.post("/tokens", json=body).raise_for_status().json())

    return make


@pytest.fixture
def stranger(guarded: Served) -> Iterator[httpx2.Client]:
    """Somebody else, with no token."""
    with httpx2.Client(base_url=guarded.url, headers={"content-type": "application/json"}) as http:
        yield http


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def routes(served: Served) -> list[tuple[str, str]]:
    """Return every method and path of the API."""
    return [
        (method, path)
        for context in iter_route_contexts(served.app.routes)
        if isinstance(route := context.original_route, APIRoute)
        for method in route.methods or ()
        if (path := context.path) is not None and path.startswith("/v1")
    ]


def scope_of(method: str, path: str) -> str:
    """Return the scope that the design asks of a call."""
    part = path.split("/")[2]
    if part == "tokens" or path.startswith("/v1/leases/"):
        return "admin"  # An attempt itself comes with a token of its own.
    if part in ("leases", "workers") and method != "GET":
        return "work"
    return "read" if method == "GET" else "submit"


def status_of(client: httpx2.Client, method: str, path: str, headers: dict[str, str]) -> int:
    """Call a route with ids that exist nowhere and a body that no route takes."""
    url = path.replace("{", "no-").replace("}", "")
    for kind in ("application/json", "application/octet-stream"):
        # As bytes: a header of text must be ASCII.
        encoded = [
            (name.encode(), value.encode())
            for name, value in {**headers, "content-type": kind}.items()
        ]
        answer = client.request(method, url, headers=encoded, content=b"[]")
        if answer.status_code != 415:
            break
    return answer.status_code


def test_every_route_requires_its_scope(
    guarded: Served, make: Callable[..., dict[str, Any]], stranger: httpx2.Client
) -> None:
    tokens = {scope: bearer(make(scope)["token"]) for scope in SCOPES}
    table = routes(guarded)
    assert len(table) > 25
    for method, path in table:
        if (method, path) in NO_TOKEN | ANY_TOKEN:
            continue
        needed = scope_of(method, path)
        for scope, headers in tokens.items():
            status = status_of(stranger, method, path, headers)
            passed = status not in (401, 403)
            assert passed == (needed in ALLOWS[scope]), (method, path, scope, status)


def test_every_route_refuses_invalid_expired_and_revoked_tokens(
    guarded: Served, make: Callable[..., dict[str, Any]], stranger: httpx2.Client
) -> None:
    revoked, expired = make("admin"), make("admin", expires_in_seconds=60)
    guarded.http.delete(f"/tokens/{revoked['id']}").raise_for_status()
    with guarded.context.database.write() as session:
        session.execute(text("UPDATE tokens SET expires_at = 1 WHERE expires_at IS NOT NULL"))
    broken = make("admin")["token"][:-1]
    worthless = [bearer(token) for token in (revoked["token"], expired["token"], broken, "x", "é")]
    basic = {"authorization": f"Basic {ADMIN}"}
    cookies = [{"cookie": f"actsearch_session={value}"} for value in ("", "admin.9999999999.00")]
    for method, path in routes(guarded):
        if (method, path) in NO_TOKEN:
            continue
        for headers in ({}, basic, *worthless, *cookies):
            status = status_of(stranger, method, path, headers)
            assert status == 401, (method, path, headers, status)


def test_a_refusal_says_which_scope_is_needed(
    make: Callable[..., dict[str, Any]], stranger: httpx2.Client
) -> None:
    token = bearer(make("work")["token"])
    answer = stranger.post("/v1/searches", json=SEARCH, headers=token)
    assert answer.status_code == 403
    detail = "this needs a token with the scope 'submit'; yours allows work"
    assert answer.json()["detail"] == detail
    missing = stranger.get("/v1/searches")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")


def test_a_worker_token_runs_trials_and_does_nothing_else(
    guarded: Served, make: Callable[..., dict[str, Any]]
) -> None:
    search = guarded.http.post("/searches", json=SEARCH).raise_for_status().json()
    guarded.http.headers["authorization"] = f"Bearer {make('work')['token']}"
    player = Player(guarded)
    inspection = player.work()
    own = bearer(inspection["token"])
    plan: dict[str, list[str]] = {"sites": [], "unreachable": []}
    outcome = {"outcome": "completed", "plan": plan}
    url = f"/leases/{inspection['lease']}/outcome"
    assert guarded.http.post(url, json=outcome).status_code == 403
    assert guarded.http.post(url, json=outcome, headers=own).status_code == 204
    assert player.beat() == {}
    assert guarded.http.get(f"/searches/{search['id']}").status_code == 403


def test_an_attempt_token_is_valid_for_its_attempt_only(guarded: Served) -> None:
    player = Player(guarded)
    search = player.submit()
    player.inspect()
    mine, other = player.work(), player.work()
    del guarded.http.headers["authorization"]
    token = bearer(mine["token"])
    report = {"reports": [{"step": 1, "metrics": {"validation_accuracy": 0.5}}]}

    def post(lease: str) -> int:
        url = f"/leases/{lease}/reports"
        return guarded.http.post(url, json=report, headers=token).status_code

    assert post(mine["lease"]) == 200
    assert post(other["lease"]) == 401
    assert guarded.http.get(f"/searches/{search['id']}", headers=token).status_code == 401
    own = guarded.http.get(f"/trials/{mine['trial']}/artifacts/none", headers=token)
    others = guarded.http.get(f"/trials/{other['trial']}/artifacts/none", headers=token)
    assert (own.status_code, others.status_code) == (404, 401)


def test_attempt_tokens_keep_their_form_over_upgrades(guarded: Served) -> None:
    """Workers keep the token of a running attempt, and mask this form of it in its output."""
    player = Player(guarded)
    player.submit()
    assignment = player.work()
    with guarded.context.database.read() as session:
        key = session.scalars(select(Secret.value).where(Secret.name == "attempts")).one()
    lease = assignment["lease"]
    signature = hmac.new(bytes.fromhex(key), lease.encode(), hashlib.sha256).hexdigest()
    assert assignment["token"] == f"attempt-{lease}-{signature}"
    assert re.fullmatch(r"attempt-[0-9A-Za-z]+-[0-9a-f]{64}", assignment["token"])


def test_tokens_are_listed_in_pages_and_stored_only_as_hashes(
    guarded: Served, make: Callable[..., dict[str, Any]]
) -> None:
    made = [make("read", name=f"token {i}") for i in range(3)]
    first = guarded.http.get("/tokens", params={"limit": 2}).json()
    rest = guarded.http.get("/tokens", params={"cursor": first["next"]}).json()
    listed = first["items"] + rest["items"]
    assert [row["name"] for row in listed] == ["token 2", "token 1", "token 0"]
    assert rest["next"] is None
    with guarded.context.database.read() as session:
        stored = repr([vars(row) for row in session.scalars(select(Token))])
    for token in made:
        secret = token["token"].split("_", 2)[2]
        assert secret not in stored
        assert secret not in repr(listed)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"scopes": []}, "scopes"),
        ({"scopes": ["root"]}, "scopes.0"),
        ({"name": ""}, "name"),
        ({"expires_in_seconds": 0}, "expires_in_seconds"),
        ({"expires_in_seconds": 1e300}, "expires_in_seconds"),
        ({"expires_at": 5}, "expires_at"),
    ],
)
def test_an_invalid_request_for_a_token_is_refused(
    guarded: Served, change: dict[str, Any], field: str
) -> None:
    answer = guarded.http.post("/tokens", json={"name": "a", "scopes": ["read"]} | change)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == [field]


def test_a_cookie_ends_with_its_token(
    guarded: Served, make: Callable[..., dict[str, Any]], stranger: httpx2.Client
) -> None:
    token = make("submit", expires_in_seconds=600)
    assert stranger.post("/v1/session", json={"token": "wrong"}).status_code == 401
    signed_in = stranger.post("/v1/session", json={"token": token["token"]})
    assert signed_in.json()["scopes"] == ["read", "submit"]
    cookie = signed_in.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie
    assert 590 <= int(cookie.partition("max-age=")[2].partition(";")[0]) <= 600
    assert token["token"] not in cookie

    assert stranger.get("/v1/searches").status_code == 200
    assert stranger.get("/v1/tokens").status_code == 403
    assert stranger.get("/v1/session").json()["scopes"] == ["read", "submit"]
    guarded.http.delete(f"/tokens/{token['id']}").raise_for_status()
    assert stranger.get("/v1/searches").status_code == 401


def test_signing_out_deletes_the_cookie(stranger: httpx2.Client) -> None:
    stranger.post("/v1/session", json={"token": ADMIN}).raise_for_status()
    assert stranger.get("/v1/tokens").status_code == 200
    stranger.delete("/v1/session").raise_for_status()
    assert stranger.get("/v1/tokens").status_code == 401


def test_behind_tls_the_cookie_is_secure(stranger: httpx2.Client) -> None:
    headers = {"x-forwarded-proto": "https"}
    answer = stranger.post("/v1/session", json={"token": ADMIN}, headers=headers)
    assert "secure" in answer.headers["set-cookie"].lower()


def test_a_changed_cookie_is_refused(stranger: httpx2.Client) -> None:
    stranger.post("/v1/session", json={"token": ADMIN}).raise_for_status()
    who, expires, signature = stranger.cookies["actsearch_session"].split(".")
    stranger.cookies.clear()
    for forged in (
        f"{who}.{int(expires) + 1}.{signature}",
        f"worker.{expires}.{signature}",
        f"{who}.{expires}.{signature[:-1]}",
        f"{who}.{expires}.{signature[1:]}",
        f"{who}.{expires}",
        f"{who}..{signature}",
        f"{who}.é.{signature}",
    ):
        headers = {b"cookie": f"actsearch_session={forged}".encode()}
        assert stranger.get("/v1/searches", headers=headers).status_code == 401


def test_a_cookie_expires(stranger: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def status_of_a_new_cookie() -> int:
        signed_in = stranger.post("/v1/session", json={"token": ADMIN})
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        # By hand: a client drops a cookie whose time is over.
        stranger.cookies.clear()
        return stranger.get("/v1/searches", headers={"cookie": cookie}).status_code

    assert status_of_a_new_cookie() == 200
    monkeypatch.setattr("service.http.auth.SESSION_SECONDS", 0)
    assert status_of_a_new_cookie() == 401


def test_a_cookie_ends_when_the_admin_token_is_replaced(
    guarded: Served, stranger: httpx2.Client, tmp_path: Path
) -> None:
    stranger.post("/v1/session", json={"token": ADMIN}).raise_for_status()
    assert stranger.get("/v1/searches").status_code == 200
    guarded.restart()
    assert stranger.get("/v1/searches").status_code == 200
    (tmp_path / "token").write_text("open-barley\n")
    guarded.restart()
    assert stranger.get("/v1/searches").status_code == 401


def test_a_service_on_loopback_without_tokens_says_that_it_is_open(served: Served) -> None:
    session = served.http.get("/session").json()
    assert session.pop("version")
    assert session == {
        "open": True,
        "scopes": ["admin", "read", "submit", "work"],
        "expires_at": None,
        "protocol": PROTOCOL,
    }


def test_the_command_makes_lists_and_revokes_tokens(
    guarded: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACTSEARCH_URL", guarded.url)
    monkeypatch.setenv("ACTSEARCH_TOKEN", ADMIN)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(["token", *arguments])
        return (int(ended.value.code or 0), *capsys.readouterr())

    code, made, _ = run("create", "gpu box", "--scope", "work", "--days", "30")
    assert code == 0
    assert guarded.http.get("/session", headers=bearer(made.strip())).json()["scopes"] == ["work"]
    (listed,) = json.loads(run("list", "--json")[1])
    assert "gpu box" in run("list")[1]
    assert run("revoke", listed["id"])[0] == 0
    assert guarded.http.get("/session", headers=bearer(made.strip())).status_code == 401
    code, _, complaint = run("revoke", listed["id"])
    assert (code, complaint) == (2, f"actsearch: there is no token '{listed['id']}'\n")
