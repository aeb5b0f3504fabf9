"""Access: hosts, content types, the rate limit, and when a token is required."""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from service.api.app import create_app
from service.errors import CannotStart
from service.http.auth import SESSION_COOKIE
from service.settings import Settings
from tests.support.player import Player
from tests.support.serving import Served


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1", 200),
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("localhost.evil.example:8000", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
    ],
)
def test_only_hosts_of_the_list_are_answered(served: Served, host: str, status: int) -> None:
    for path in ("/v1/searches", "/healthz", "/"):
        response = httpx2.get(f"{served.url}{path}", headers={"host": host})
        assert response.status_code == status


def test_a_further_host_can_be_allowed(serve: Callable[..., Served], tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open-sesame")
    served = serve(allowed_hosts=["gpu.example"], admin_token_file=tmp_path / "token")
    headers = {"host": "gpu.example:80", "authorization": "Bearer open-sesame"}
    assert httpx2.get(f"{served.url}/v1/searches", headers=headers).status_code == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_write_needs_json_even_without_a_body(player: Player, content_type: str) -> None:
    search = player.submit()
    headers = {"content-type": content_type}
    for path in ("/searches", f"/searches/{search['id']}/pause"):
        response = player.http.post(path, headers=headers)
        assert response.status_code == 415
    assert player.search(search["id"])["state"] == "preparing"


@pytest.fixture
def long_window(monkeypatch: pytest.MonkeyPatch) -> float:
    """Count over a window so long that a slow machine frees no call; return its rate for 15."""
    monkeypatch.setattr("service.http.rate_limit.WINDOW_SECONDS", 1000)
    return 15 / 1000


def test_one_client_is_bounded_and_the_others_are_not(
    serve: Callable[..., Served], tmp_path: Path, long_window: float
) -> None:
    (tmp_path / "token").write_text("a-token-that-is-long-enough\n")
    served = serve(rate_limit=long_window, admin_token_file=tmp_path / "token")
    mine = {"authorization": "Bearer a-token-that-is-long-enough"}
    answers = [served.http.get("/searches", headers=mine) for _ in range(17)]
    # Before it was accepted the token counted for its address.
    assert [answer.status_code for answer in answers] == [200] * 16 + [429]
    refused = answers[-1]
    assert 1 <= int(refused.headers["retry-after"]) <= 2000
    assert refused.json()["type"] == "urn:activation-search:problem:too-many-requests"
    assert served.http.get("/searches", headers={"authorization": "Bearer x"}).status_code == 401
    assert httpx2.get(f"{served.url}/healthz").status_code == 200


@pytest.mark.parametrize("header", ["authorization", "cookie"])
def test_the_sender_of_invented_tokens_is_one_client(
    header: str, serve: Callable[..., Served], tmp_path: Path, long_window: float
) -> None:
    (tmp_path / "token").write_text("a-token-that-is-long-enough\n")
    served = serve(rate_limit=long_window, admin_token_file=tmp_path / "token")
    known = {"authorization": "Bearer a-token-that-is-long-enough"}
    assert served.http.get("/searches", headers=known).status_code == 200
    form = {"authorization": "Bearer {}", "cookie": f"{SESSION_COOKIE}=admin.{{}}.x"}[header]
    answers = [
        served.http.post("/session", json={"token": "x"}, headers={header: form.format(number)})
        for number in range(16)
    ]
    assert [answer.status_code for answer in answers] == [401] * 14 + [429] * 2
    assert served.http.get("/searches", headers=known).status_code == 200


def test_an_invented_token_is_accepted_by_no_call(
    serve: Callable[..., Served], tmp_path: Path, long_window: float
) -> None:
    """Else each invented token would have a rate of its own after its first call."""
    (tmp_path / "token").write_text("open-sesame")
    served = serve(rate_limit=long_window, admin_token_file=tmp_path / "token")
    calls = [
        ("DELETE", "/session", 204),
        ("POST", "/session", 422),
        ("GET", "/nothing", 404),
        ("GET", "/searches?state=%00", 422),
        ("PUT", "/searches", 405),
    ]

    def status(number: int) -> int:
        method, path, _ = calls[number % len(calls)]
        headers = {"authorization": f"Bearer {number}"}
        return served.http.request(method, path, headers=headers).status_code

    assert [status(number) for number in range(15)] == [status for _, _, status in calls] * 3
    assert {status(number) for number in range(len(calls))} == {429}


def test_a_token_and_its_cookies_are_one_client(
    serve: Callable[..., Served], tmp_path: Path, long_window: float
) -> None:
    (tmp_path / "token").write_text("open-sesame")
    served = serve(rate_limit=long_window, admin_token_file=tmp_path / "token")
    token = {"authorization": "Bearer open-sesame"}
    signed_in = served.http.post("/session", json={"token": "open-sesame"})
    cookie = {"cookie": f"{SESSION_COOKIE}={signed_in.cookies[SESSION_COOKIE]}"}
    served.http.cookies.clear()

    def status(headers: dict[str, str]) -> int:
        return served.http.get("/searches", headers=headers).status_code

    # The first call by each counts for the address, for which signing in counted too.
    assert [status(token), status(cookie)] == [200, 200]
    assert [status(token if i % 2 else cookie) for i in range(15)] == [200] * 15
    assert [status(token), status(cookie)] == [429, 429]


def test_a_service_off_loopback_refuses_to_start_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"refusing to listen on 0\.0\.0\.0 without a token"):
        create_app(Settings(home=tmp_path, host="0.0.0.0"))


def test_answering_for_other_names_needs_a_token_too(tmp_path: Path) -> None:
    """Behind a proxy the service listens on loopback, and the world calls."""
    with pytest.raises(CannotStart, match=r"refusing to answer for gpu\.example without a token"):
        create_app(Settings(home=tmp_path, allowed_hosts=["localhost", "gpu.example"]))


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(CannotStart, match="is empty"):
        create_app(Settings(home=tmp_path, admin_token_file=tmp_path / "token"))


def test_two_services_never_share_an_sqlite_store(served: Served, tmp_path: Path) -> None:
    url = served.context.database.engine.url
    if url.get_backend_name() != "sqlite":
        pytest.skip("on PostgreSQL the second one stands by")
    app = create_app(Settings(home=tmp_path / "other", database_url=str(url)))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pytest.fail("a second service started")

    import asyncio

    with pytest.raises(CannotStart, match="another service is running"):
        asyncio.run(start())
