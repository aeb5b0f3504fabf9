"""Files of trials: kept by content, checked, bounded, collected."""

from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest

from tests.support.player import Player
from tests.support.serving import Served

BINARY = {"content-type": "application/octet-stream"}


@pytest.fixture
def lease(player: Player) -> dict[str, str]:
    player.submit()
    player.inspect()
    return player.work()


def put(served: Served, lease: str, name: str, content: bytes) -> httpx2.Response:
    return served.http.put(f"/leases/{lease}/artifacts/{name}", content=content, headers=BINARY)


def files(served: Served) -> list[Path]:
    folder = served.core.settings.home / "artifacts"
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_file_comes_back_as_it_was(served: Served, lease: dict[str, str]) -> None:
    content = bytes(range(256)) * 1000
    stored = put(served, lease["lease"], "weights.safetensors", content).json()
    trial = lease["trial"]
    assert served.http.get(f"/trials/{trial}/artifacts/{stored['name']}").content == content
    listed = served.http.get(f"/trials/{trial}/artifacts").json()
    assert [(row["sha256"], row["size"]) for row in listed] == [(stored["sha256"], len(content))]


def test_a_newer_file_replaces_the_older_and_nothing_is_left_behind(
    served: Served, lease: dict[str, str]
) -> None:
    for content in (b"one", b"two", b"two"):
        put(served, lease["lease"], "checkpoint.safetensors", content)
    assert [path.read_bytes() for path in files(served)] == [b"two"]


def test_a_file_that_two_names_share_outlives_one_of_them(
    served: Served, lease: dict[str, str]
) -> None:
    put(served, lease["lease"], "a", b"same")
    put(served, lease["lease"], "b", b"same")
    put(served, lease["lease"], "a", b"other")
    assert served.http.get(f"/trials/{lease['trial']}/artifacts/b").content == b"same"


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "a%00b", "UPPER", "%2e%2e", "a" * 101])
def test_a_name_that_could_be_a_path_is_refused(
    served: Served, lease: dict[str, str], name: str
) -> None:
    assert put(served, lease["lease"], name, b"x").status_code in (404, 422)
    assert files(served) == []


def test_a_file_over_the_limit_is_refused_and_leaves_nothing(serve: Callable[..., Served]) -> None:
    served = serve(max_artifact_bytes=1000)
    player = Player(served)
    player.submit()
    player.inspect()
    response = put(served, player.work()["lease"], "weights", b"x" * 1001)
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"
    assert files(served) == []


def test_a_superseded_attempt_stores_nothing(
    served: Served, player: Player, lease: dict[str, str]
) -> None:
    player.end(lease, "failed", failure="preempted")
    assert put(served, lease["lease"], "weights", b"late").status_code == 409
    assert files(served) == []
