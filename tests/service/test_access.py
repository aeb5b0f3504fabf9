"""Who may ask: hosts, content types, tokens."""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from service.app import CannotStart, create_app
from service.settings import Settings
from tests.support.player import SEARCH, Player
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


def test_a_further_host_can_be_allowed(serve: Callable[..., Served]) -> None:
    served = serve(allowed_hosts=["gpu.example"])
    response = httpx2.get(f"{served.url}/v1/searches", headers={"host": "gpu.example:80"})
    assert response.status_code == 200


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_write_needs_json_even_without_a_body(player: Player, content_type: str) -> None:
    search = player.submit()
    headers = {"content-type": content_type}
    for path in ("/searches", f"/searches/{search['id']}/pause"):
        response = player.http.post(path, headers=headers)
        assert response.status_code == 415
    assert player.search(search["id"])["state"] == "preparing"


def test_a_service_off_loopback_refuses_to_start_without_a_token(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match=r"refusing to listen on 0\.0\.0\.0 without a token"):
        create_app(Settings(home=tmp_path, host="0.0.0.0"))


def test_an_empty_token_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n")
    with pytest.raises(CannotStart, match="is empty"):
        create_app(Settings(home=tmp_path, admin_token_file=tmp_path / "token"))


def test_two_services_never_share_a_home(served: Served) -> None:
    home = served.core.settings.home
    app = create_app(Settings(home=home))

    async def start() -> None:
        async with app.router.lifespan_context(app):
            pytest.fail("a second service started")

    import asyncio

    with pytest.raises(CannotStart, match="another service is running"):
        asyncio.run(start())


@pytest.fixture
def guarded(serve: Callable[..., Served], tmp_path: Path) -> Served:
    (tmp_path / "token").write_text("open-sesame\n")
    return serve(admin_token_file=tmp_path / "token")


def test_without_the_token_nothing_is_read_or_written(guarded: Served) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic open-sesame"}):
        for path in ("searches", "workers", "tasks", "activations"):
            response = guarded.http.get(f"/{path}", headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
        assert guarded.http.post("/searches", json=SEARCH, headers=headers).status_code == 401
    assert httpx2.get(f"{guarded.url}/healthz").status_code == 200


def test_an_attempts_token_speaks_for_its_attempt_and_nothing_else(guarded: Served) -> None:
    guarded.http.headers["authorization"] = "Bearer open-sesame"
    player = Player(guarded)
    search = player.submit()
    player.inspect()
    mine, other = player.work(), player.work()
    del guarded.http.headers["authorization"]
    token = {"authorization": f"Bearer {mine['token']}"}
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
