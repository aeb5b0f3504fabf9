"""Files of trials: kept by content, checked, bounded, collected."""

import hashlib
import time
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from fsspec import filesystem

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
    folder = served.context.settings.home / "artifacts"
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


def test_an_upload_is_checked_against_its_digest(served: Served, lease: dict[str, str]) -> None:
    right, wrong = hashlib.sha256(b"whole").hexdigest(), "0" * 64
    assert put(served, lease["lease"], f"w?sha256={wrong}", b"whole").status_code == 422
    assert files(served) == []
    assert put(served, lease["lease"], f"w?sha256={right}", b"whole").status_code == 200


def test_the_download_of_a_damaged_file_breaks_off(served: Served, lease: dict[str, str]) -> None:
    put(served, lease["lease"], "weights", b"x" * 3_000_000)
    (file,) = files(served)
    file.write_bytes(b"y" * 3_000_000)
    with pytest.raises(httpx2.RemoteProtocolError):
        served.http.get(f"/trials/{lease['trial']}/artifacts/weights")


def test_files_without_a_row_are_deleted_and_named_files_kept(
    serve: Callable[..., Served],
) -> None:
    served = serve(artifact_grace_seconds=0.3)
    player = Player(served)
    player.submit()
    player.inspect()
    put(served, player.work()["lease"], "kept", b"named")
    folder = served.context.settings.home
    orphan = folder / "artifacts" / "ab" / ("ab" * 32)
    orphan.parent.mkdir()
    broken_off, foreign = folder / "incoming" / "partial-1", folder / "artifacts" / "notes.txt"
    for path in (orphan, broken_off, foreign):
        path.write_bytes(b"left behind")
    until(lambda: not orphan.exists() and not broken_off.exists())
    assert sorted(path.read_bytes() for path in files(served)) == [b"left behind", b"named"]


def test_the_best_ended_trials_keep_their_weights_and_none_a_checkpoint(
    serve: Callable[..., Served],
) -> None:
    served = serve(keep_weights=2, artifact_grace_seconds=0.3)
    player = Player(served)
    search = player.submit()
    player.inspect()
    for value in (0.5, 0.9, 0.1, 0.8):
        assignment = player.work()
        for name in ("checkpoint.safetensors", "weights.safetensors", "shapes.json"):
            put(served, assignment["lease"], name, f"{name} {value}".encode()).raise_for_status()
        player.train(assignment, value)
    running = player.work()
    put(served, running["lease"], "checkpoint.safetensors", b"running")
    shapes = {f"shapes.json {value}".encode() for value in (0.5, 0.9, 0.1, 0.8)}
    kept = {b"weights.safetensors 0.9", b"weights.safetensors 0.8", b"running"} | shapes
    until(lambda: {path.read_bytes() for path in files(served)} == kept)

    worst = min(player.trials(search["id"]), key=lambda trial: trial["value"] or 1)["id"]
    for name, why in (
        ("weights.safetensors", "they are kept of the 2 best trials of a search"),
        ("checkpoint.safetensors", "those of ended trials are deleted"),
    ):
        missing = served.http.get(f"/trials/{worst}/artifacts/{name}")
        assert missing.status_code == 404
        assert missing.json()["detail"] == f"there is no artifact of trial {worst} '{name}'; {why}"


def test_files_may_be_in_any_fsspec_file_system(serve: Callable[..., Served]) -> None:
    served = serve(artifacts_url="memory://lab/files", artifact_grace_seconds=0.3)
    player = Player(served)
    player.submit()
    player.inspect()
    lease = player.work()
    memory = filesystem("memory")
    content = bytes(range(256)) * 10_000
    for content_of_name in (b"older", content):
        put(served, lease["lease"], "weights", content_of_name).raise_for_status()
    orphan = f"/lab/files/ab/{'ab' * 32}"
    memory.pipe_file(orphan, b"left behind")
    assert served.http.get(f"/trials/{lease['trial']}/artifacts/weights").content == content
    until(lambda: not memory.exists(orphan))
    (path,) = memory.find("/lab/files")
    assert path.endswith(hashlib.sha256(content).hexdigest())
    assert not (served.context.settings.home / "artifacts").exists()
    memory.rm("/lab", recursive=True)


def until(happened: Callable[[], bool], seconds: float = 60) -> None:
    """Wait for what must happen."""
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


def test_a_superseded_attempt_stores_nothing(
    served: Served, player: Player, lease: dict[str, str]
) -> None:
    player.end(lease, "failed", failure="preempted")
    assert put(served, lease["lease"], "weights", b"late").status_code == 409
    assert files(served) == []
