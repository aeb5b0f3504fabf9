"""What waits in the queue, and why."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.player import SEARCH, TASK, Player
from tests.support.serving import Served


def queued(player: Player, search_id: str) -> dict[str, Any]:
    items = player.http.get("/queue").raise_for_status().json()["items"]
    assert [item["place"] for item in items] == list(range(len(items)))
    return next(dict(item) for item in items if item["search"] == search_id)


def test_a_search_waits_for_a_worker_that_offers_its_task(served: Served) -> None:
    search = served.http.post("/searches", json=SEARCH).json()
    player = Player(served, TASK | {"name": "another-task"})
    found = queued(player, search["id"])
    assert (found["reason"], found["waiting"], found["running"]) == ("no_worker", 1, 0)
    assert found["explanation"] == "no living worker offers the task 'image-classification'"
    (inspection,) = found["trials"]
    assert (inspection["kind"], inspection["explanation"]) == ("inspection", "has not been tried")


def test_a_worker_that_was_not_seen_for_long_is_no_worker(player: Player, served: Served) -> None:
    search = player.submit()
    assert queued(player, search["id"])["reason"] == "next"
    with served.context.database.write() as session:
        session.execute(text("UPDATE workers SET seen_at = seen_at - 3600"))
    assert queued(player, search["id"])["reason"] == "no_worker"


def test_what_runs_and_what_is_full_is_named(player: Player) -> None:
    search = player.submit(parallel=2, baselines={"original_seeds": 3, "uniform": False})
    inspection = player.work()
    assert queued(player, search["id"])["reason"] == "inspecting"
    player.end(inspection, plan={"sites": [site()], "unreachable": []})
    assert queued(player, search["id"])["reason"] == "next"

    running = [player.work(), player.work()]
    full = queued(player, search["id"])
    assert (full["reason"], full["waits_for"]) == ("parallel", [player.id])
    assert (full["running"], full["waiting"], full["to_propose"]) == (2, 1, 4)

    player.http.patch(f"/searches/{search['id']}", json={"parallel": 9}).raise_for_status()
    more = [player.work(), player.work()]
    busy = queued(player, search["id"])
    assert (busy["reason"], busy["waits_for"]) == ("busy", [player.id])
    assert busy["explanation"] == "all 4 slots that could take it are busy"

    player.end(running[0], "failed", failure="preempted", message="the machine goes\nsoon")
    again = queued(player, search["id"])
    assert again["reason"] == "next"
    said = f"attempt 1 on {player.id}: preempted: the machine goes"
    assert said in [trial["explanation"] for trial in again["trials"]]
    assert more


def site() -> dict[str, Any]:
    return {
        "id": "act",
        "rank": 4,
        "channels": 8,
        "channel_dim": 1,
        "original": "relu",
        "stage": "0",
        "block": "",
    }


def test_a_benched_worker_is_named_with_its_reason(served: Served) -> None:
    broken, other = Player(served), Player(served)
    search = broken.submit(parallel=1, budget={"trials": 1})
    broken.inspect()
    broken.end(broken.work(), "failed", failure="environment", message="CUDA driver is gone")
    elsewhere = queued(broken, search["id"])
    assert (elsewhere["reason"], elsewhere["waits_for"]) == ("next", [other.id])
    (trial,) = elsewhere["trials"]
    assert trial["explanation"].endswith("CUDA driver is gone; is tried on another worker")

    assert served.http.delete(f"/workers/{other.id}").status_code == 204
    benched = queued(broken, search["id"])
    assert (benched["reason"], benched["waits_for"]) == ("benched", [broken.id])
    assert "failed here: CUDA driver is gone" in benched["explanation"]


def test_a_worker_that_rests_is_named_with_its_reason(player: Player) -> None:
    search = player.submit(parallel=2)
    player.inspect()
    player.work()
    assert queued(player, search["id"])["reason"] == "next"
    resting = player.manifest | {"resting": "its batch job ends soon"}
    player.http.put(f"/workers/{player.id}", json=resting).raise_for_status()
    assert player.lease(wait=0) is None
    found = queued(player, search["id"])
    assert (found["reason"], found["waits_for"]) == ("resting", [player.id])
    assert found["explanation"].endswith("takes no more work: its batch job ends soon")
    other = Player(player)
    again = queued(player, search["id"])
    assert (again["reason"], again["waits_for"]) == ("next", [other.id])


def test_nothing_is_next_where_the_hours_are_spent(player: Player, served: Served) -> None:
    search = player.submit(budget={"trials": 50, "hours": 2})
    player.inspect()
    running = [player.work(), player.work()]
    assert queued(player, search["id"])["reason"] == "next"
    with served.context.database.write() as session:
        session.execute(text("UPDATE searches SET running_since = running_since - 7300"))
    assert player.lease(wait=0) is None
    found = queued(player, search["id"])
    assert (found["reason"], found["waits_for"]) == ("finishing", [player.id])
    assert (found["running"], found["to_propose"]) == (len(running), 0)
    said = "the budget of 2 hours is spent; the last 2 trials run, and nothing more begins"
    assert found["explanation"] == said


def test_trials_that_wait_begin_no_more_where_the_hours_are_spent(
    player: Player, served: Served
) -> None:
    search = player.submit(
        budget={"trials": 9, "hours": 2}, baselines={"original_seeds": 5, "uniform": False}
    )
    player.inspect()
    player.work()
    with served.context.database.write() as session:
        session.execute(text("UPDATE searches SET running_since = running_since - 7300"))
    found = queued(player, search["id"])
    assert (found["reason"], found["to_propose"]) == ("finishing", 0)
    assert found["explanation"].startswith("the budget of 2 hours is spent; ")


def test_a_search_behind_another_is_outranked(player: Player) -> None:
    first, second = player.submit(), player.submit(priority=1)
    later = queued(player, first["id"])
    assert (later["place"], later["reason"], later["waits_for"]) == (1, "outranked", [second["id"]])


@pytest.mark.parametrize(("action", "reason"), [("pause", "paused"), ("cancel", "ending")])
def test_a_paused_or_ending_search_has_a_wait_reason(
    player: Player, action: str, reason: str
) -> None:
    search = player.submit()
    player.inspect()
    player.work()
    player.http.post(f"/searches/{search['id']}/{action}").raise_for_status()
    found = queued(player, search["id"])
    assert (found["reason"], found["waits_for"]) == (reason, [player.id])
    assert (
        "paused by the user" in found["explanation"] or "1 running trials" in found["explanation"]
    )


def test_the_last_trials_wait_for_nothing_and_then_the_queue_is_empty(player: Player) -> None:
    search = player.submit(budget={"trials": 1}, baselines={"original_seeds": 0, "uniform": False})
    player.inspect()
    last = player.work()
    assert queued(player, search["id"])["reason"] == "finishing"
    player.train(last, 0.5)
    assert player.http.get("/queue").json() == {"items": [], "next": None}


def test_the_queue_is_read_in_pages(player: Player) -> None:
    ids = [player.submit()["id"] for _ in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = player.http.get("/queue", params=params).json()
        seen += [item["search"] for item in page["items"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == ids


def test_nobody_reads_the_queue_without_a_token(
    serve: Callable[..., Served], tmp_path: Any
) -> None:
    (tmp_path / "token").write_text("a-token-that-is-long-enough\n")
    served = serve(admin_token_file=tmp_path / "token")
    assert served.http.get("/queue").status_code == 401
