"""A search is trained by one version of its task's code."""

from typing import Any

from tests.support.player import TASK, Player
from tests.support.serving import Served


def queued(player: Player, search: dict[str, Any]) -> dict[str, Any]:
    items = player.http.get("/queue").raise_for_status().json()["items"]
    return next(item for item in items if item["search"] == search["id"])


def test_a_worker_with_other_code_is_given_no_trials(served: Served) -> None:
    first = Player(served, TASK | {"code": "git 1"})
    search = first.submit()
    first.inspect()
    assert first.search(search["id"])["pinned"]["code"] == "git 1"
    other = Player(served, TASK | {"code": "git 2"})
    assert other.lease(wait=0.3) is None
    assert Player(served, TASK | {"code": "git 1"}).work()["kind"] == "baseline"
    assert Player(served).work()["kind"] == "proposed"


def test_the_queue_says_that_the_code_is_another(served: Served) -> None:
    first = Player(served, TASK | {"code": "git 1"})
    search = first.submit()
    first.inspect()
    first.http.delete(f"/workers/{first.id}").raise_for_status()
    other = Player(served, TASK | {"code": "git 2"})
    found = queued(other, search)
    assert found["reason"] == "other_code"
    assert "'git 1'" in found["explanation"]
    assert "'git 2'" in found["explanation"]
    assert found["waits_for"] == [other.id]


def test_an_inspection_may_be_done_by_any_code(served: Served) -> None:
    player = Player(served, TASK | {"code": "git 1"})
    search = player.submit()
    assignment = player.work()
    player.end(assignment, "failed", failure="preempted")
    other = Player(served, TASK | {"code": "git 2"})
    other.inspect()
    assert other.search(search["id"])["pinned"]["code"] == "git 2"
    assert player.lease(wait=0) is None


def test_a_worker_with_other_code_cannot_take_over_where_an_environment_fails(
    served: Served,
) -> None:
    first = Player(served, TASK | {"code": "git 1"})
    search = first.submit()
    first.inspect()
    Player(served, TASK | {"code": "git 2"})
    first.end(first.work(), "failed", failure="environment", message="the disk is gone")
    paused = first.search(search["id"])
    assert paused["state"] == "paused"
    assert paused["reason"] == "the disk is gone; fix it, then resume the search"
