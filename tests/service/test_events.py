"""What followers of a search see."""

import json
import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import islice
from typing import Any

import httpx2
import pytest

from service.runtime import event_feed
from service.runtime.event_feed import POLL_SECONDS
from tests.support.player import Player, plan
from tests.support.serving import Served


def follow(served: Served, search_id: str, after: int = 0) -> Generator[dict[str, Any], None, None]:
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


def test_the_events_of_a_search_are_sent_from_the_first_to_the_last(
    player: Player, served: Served
) -> None:
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
    assert seen.wait(POLL_SECONDS / 2)
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
        assert following.acquire(timeout=60)
    for step in range(1, 11):
        assert player.report(assignment, step, 0.5).elapsed.total_seconds() < 3
    stop.set()
    player.report(assignment, 11, 0.5)
    for thread in threads:
        thread.join()


def test_a_follower_behind_what_is_kept_in_memory_misses_nothing(
    player: Player, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_feed, "BUFFER_SIZE", 5)
    monkeypatch.setattr(event_feed, "BATCH", 4)
    search = player.submit()
    player.inspect()
    assignment = player.work()
    with closing(follow(served, search["id"])) as early:
        seen = [next(early)]
        player.train(assignment, *(step / 100 for step in range(20)))
        while seen[-1]["data"].get("step") != 20:
            seen.append(next(early))
        late = list(islice(follow(served, search["id"]), len(seen)))
    assert [int(event["id"]) for event in seen] == list(range(1, len(seen) + 1))
    assert late == seen


@pytest.mark.slow
def test_every_follower_gets_each_report_of_many_attempts_once_and_in_order(
    served: Served,
) -> None:
    attempts, steps = 16, 20
    player = Player(served)
    search = player.submit(
        baselines={"original_seeds": 0, "uniform": False},
        budget={"trials": attempts},
        parallel=attempts,
    )
    player.inspect(plan(sites=4))
    assignments = [player.work() for _ in range(attempts)]
    values = {
        one["trial"]: [(n + s / 100) / 20 for s in range(steps)]
        for n, one in enumerate(assignments)
    }
    with ThreadPoolExecutor(attempts + 4) as pool:
        following = [
            pool.submit(until_completed, served, search["id"], reconnect_after)
            for reconnect_after in (None, None, 25, 1)
        ]
        for one in assignments:
            pool.submit(player.train, one, *values[one["trial"]])
        told, *others = [follower.result(60) for follower in following]
    assert [int(event["id"]) for event in told] == list(range(1, len(told) + 1))
    assert others == [told] * 3
    said = sorted(
        (trial, step, value) for trial in values for step, value in enumerate(values[trial], 1)
    )
    data = [event["data"] for event in told if event["event"] == "report"]
    assert sorted((one["trial"], one["step"], one["value"]) for one in data) == said
    stored = [
        (trial, one["step"], one["value"])
        for trial in values
        for one in player.http.get(f"/trials/{trial}/reports").json()
    ]
    assert sorted(stored) == said


def until_completed(
    served: Served, search_id: str, reconnect_after: int | None
) -> list[dict[str, Any]]:
    """Follow a search to its end; connect anew after so many events, if told to."""
    seen: list[dict[str, Any]] = []
    while True:
        after = int(seen[-1]["id"]) if seen else 0
        with closing(follow(served, search_id, after)) as events:
            for event in islice(events, reconnect_after):
                seen.append(event)
                if event["event"] == "search" and event["data"]["state"] == "completed":
                    return seen
