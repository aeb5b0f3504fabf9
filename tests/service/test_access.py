"""Who may ask: hosts, content types, a token where others than this machine may call."""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from service.api.app import create_app
from service.errors import CannotStart
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
