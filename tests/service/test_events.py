"""What followers of a search see."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from service.feed import KEEP_LOOKING_SECONDS
from tests.support.player import Player
from tests.support.serving import Served


def follow(served: Served, search_id: str, after: int = 0) -> Iterator[dict[str, Any]]:
    """Yield a search's events as they come."""
    url = f"{served.url}/v1/searches/{search_id}/events"
    headers = {"Last-Event-ID": str(after)} if after else {}
    with httpx2.stream("GET", url, headers=headers, timeout=30) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        event: dict[str, Any] = {}
        for line in response.iter_lines():
            field, _, value = line.partition(": ")
            if field in ("event", "id"):
                event[field] = value
            elif field == "data":
                event["data"] = json.loads(value)
            elif not line and event:
                yield event
                event = {}


def test_a_search_is_told_from_its_first_event_to_its_last(player: Player, served: Served) -> None:
    search = player.submit(budget={"trials": 1})
    player.inspect()
    player.train(player.work(), 0.4, 0.5)
    player.train(player.work(), 0.6)
    seen = []
    for event in follow(served, search["id"]):
        seen.append(event)
        if event["data"].get("state") == "completed" and event["event"] == "search":
            break
    assert [int(event["id"]) for event in seen] == list(range(1, len(seen) + 1))
    states = [event["data"]["state"] for event in seen if event["event"] == "search"]
    assert states == ["preparing", "queued", "running", "completed"]
    reports = [e["data"] for e in seen if e["event"] == "report"]
    assert [(r["number"], r["step"], r["value"]) for r in reports] == [
        (0, 1, 0.4),
        (0, 2, 0.5),
        (1, 1, 0.6),
    ]


def test_a_follower_resumes_after_the_last_event_it_saw(player: Player, served: Served) -> None:
    search = player.submit()
    player.inspect()
    first = next(follow(served, search["id"]))
    resumed = next(follow(served, search["id"], after=int(first["id"])))
    assert int(resumed["id"]) == int(first["id"]) + 1


def test_events_come_while_they_happen(player: Player, served: Served) -> None:
    search = player.submit()
    player.inspect()
    assignment = player.work()
    seen = threading.Event()

    def watch() -> None:
        for event in follow(served, search["id"]):
            if event["event"] == "report":
                seen.set()
                return

    thread = threading.Thread(target=watch)
    thread.start()
    assert not seen.wait(0.3)
    player.report(assignment, 1, 0.5)
    # Long before a follower would look for itself.
    assert seen.wait(KEEP_LOOKING_SECONDS / 2)
    thread.join()


@pytest.mark.parametrize("position", ["x", "-1", "1.5", "9" * 30])
def test_a_made_up_position_is_422(player: Player, position: str) -> None:
    search = player.submit()
    response = player.http.get(
        f"/searches/{search['id']}/events", headers={"Last-Event-ID": position}
    )
    assert response.status_code == 422


def test_fifty_followers_and_waiting_slots_leave_room_for_reports(served: Served) -> None:
    player = Player(served)
    search = player.submit()
    player.inspect()
    assignment = player.work()
    stop = threading.Event()
    following = threading.Semaphore(0)

    def watch() -> None:
        for _ in follow(served, search["id"]):
            following.release()
            if stop.is_set():
                return

    def wait_for_work() -> None:
        Player(served).lease(wait=6)

    threads = [threading.Thread(target=watch) for _ in range(50)]
    threads += [threading.Thread(target=wait_for_work) for _ in range(50)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        assert following.acquire(timeout=20)
    for step in range(1, 11):
        assert player.report(assignment, step, 0.5).elapsed.total_seconds() < 3
    stop.set()
    player.report(assignment, 11, 0.5)
    for thread in threads:
        thread.join()
