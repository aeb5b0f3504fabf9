"""Leases: who may speak for a trial, for how long, and what a failure of each class means."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any

import httpx2
import pytest

from search_space.contract import LeaseRequest
from service.runtime.context import Context
from service.scheduling import assignments, scheduler
from service.study.live import LockedStudy
from service.trials.proposals import propose
from tests.support.player import TASK, Player
from tests.support.serving import Served

LEASE_SECONDS = 0.6
NO_BASELINES = {"original_seeds": 0, "uniform": False}


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve(lease_seconds=LEASE_SECONDS)


def until(happened: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for what must happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := happened():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def test_no_trial_is_given_twice(serve: Callable[..., Served]) -> None:
    served = serve(lease_seconds=60)
    player = Player(served)
    player.submit(baselines={"original_seeds": 20}, parallel=50)
    player.inspect()
    players = [Player(served) for _ in range(20)]
    with ThreadPoolExecutor(20) as pool:
        given = [a["trial"] for a in pool.map(lambda p: p.work(), players)]
    assert len(set(given)) == 20


def test_a_repeated_request_gets_the_same_attempt_and_a_restarted_worker_never_does(
    served: Served,
) -> None:
    player = Player(served)
    player.submit()
    player.inspect()
    first = player.lease(request=100)
    assert first is not None
    assert player.lease(request=100) == first
    restarted = Player(served).lease(request=100)
    assert restarted is not None
    assert restarted["lease"] != first["lease"]


def test_a_worker_without_heartbeats_loses_its_trial_and_gets_409(served: Served) -> None:
    silent, other = Player(served), Player(served)
    search = silent.submit(budget={"trials": 1}, parallel=1)
    silent.inspect()
    lost = silent.work()
    silent.report(lost, 1, 0.4)

    taken = other.work()
    assert (taken["trial"], taken["attempt"]) == (lost["trial"], 2)
    before = other.trials(search["id"])
    assert silent.report(lost, 2, 0.9).status_code == 409
    assert silent.end(lost).status_code == 409
    assert silent.beat(lost) == {lost["lease"]: "cancel"}
    assert other.trials(search["id"]) == before

    other.train(taken, 0.4, 0.5)
    assert other.trials(search["id"])[0]["value"] == 0.5


def test_a_renewal_after_expiry_is_accepted_while_nobody_took_the_trial(served: Served) -> None:
    player = Player(served)
    player.submit()
    player.inspect()
    assignment = player.work()
    time.sleep(LEASE_SECONDS * 1.5)
    assert player.beat(assignment) == {assignment["lease"]: "continue"}
    assert player.report(assignment, 1, 0.5).status_code == 200


def test_heartbeats_keep_a_trial(served: Served) -> None:
    player, other = Player(served), Player(served)
    player.submit(budget={"trials": 1}, parallel=1)
    player.inspect()
    assignment = player.work()
    end = time.monotonic() + 3 * LEASE_SECONDS
    while time.monotonic() < end:
        assert player.beat(assignment) == {assignment["lease"]: "continue"}
        assert other.lease(wait=0.1) is None


def test_nothing_is_taken_for_one_lease_length_after_a_restart(
    serve: Callable[..., Served],
) -> None:
    served = serve(lease_seconds=3)
    player, other = Player(served), Player(served)
    player.submit(budget={"trials": 1}, parallel=1)
    player.inspect()
    assignment = player.work()
    served.stop()
    time.sleep(3.5)
    served.restart()
    assert other.lease(wait=0.5) is None
    assert player.beat(assignment) == {assignment["lease"]: "continue"}


def test_an_unknown_worker_is_asked_to_introduce_itself(served: Served) -> None:
    response = served.http.post("/workers/ghost/heartbeat", json={"boot_id": "b", "leases": []})
    assert response.status_code == 404
    lease = {"worker": "ghost", "boot_id": "b", "slot": 0, "request": 0, "wait_seconds": 1}
    assert served.http.post("/leases", json=lease).status_code == 404


def test_a_worker_of_another_protocol_is_refused(served: Served) -> None:
    player = Player(served)
    body = {"worker": player.id, "boot_id": player.boot, "slot": 0, "request": 0}
    response = served.http.post("/leases", json=body | {"protocol_min": 7, "protocol_max": 9})
    assert response.status_code == 426
    assert "speaks protocols 7 to 9" in response.json()["detail"]


def test_a_repeated_report_gets_its_first_verdict_and_changes_nothing(served: Served) -> None:
    player = Player(served)
    search = player.submit()
    player.inspect()
    assignment = player.work()
    player.report(assignment, 1, 0.4)
    player.http.post(f"/searches/{search['id']}/pause")
    assert player.report(assignment, 1, 0.9).json() == {"verdict": "continue"}
    assert player.trials(search["id"])[0]["value"] == 0.4
    assert player.report(assignment, 2, 0.5).json() == {"verdict": "release"}


def test_a_repeated_outcome_is_harmless_and_another_is_409(served: Served) -> None:
    player = Player(served)
    player.submit()
    player.inspect()
    assignment = player.work()
    player.report(assignment, 1, 0.4)
    assert player.end(assignment).status_code == 204
    assert player.end(assignment).status_code == 204
    assert player.end(assignment, "stopped").status_code == 409


@pytest.mark.parametrize("failure", ["lost", "preempted"])
def test_a_lost_or_preempted_trial_is_tried_again(served: Served, failure: str) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 1, "failures": 2})
    player.inspect()
    first = player.work()
    player.report(first, 1, 0.4)
    assert player.end(first, "failed", failure=failure).status_code == 204
    again = player.work()
    assert (again["trial"], again["attempt"]) == (first["trial"], 2)
    assert player.trials(search["id"])[0]["failure"] is None


def test_a_trial_whose_leases_expire_again_and_again_fails_as_lost(served: Served) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 1, "failures": 2}, baselines=NO_BASELINES)
    player.inspect()
    assert [player.work()["attempt"] for _ in range(2)] == [1, 2]
    assert player.lease(wait=3 * LEASE_SECONDS) is None
    (ended,) = player.trials(search["id"])
    assert (ended["state"], ended["failure"]) == ("failed", "lost")
    assert ended["attempt"] == 2, "nobody got a third"


def test_a_trial_that_takes_every_worker_down_ends_as_lost(served: Served) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 1, "failures": 3})
    player.inspect()
    trial = None
    for _ in range(3):
        assignment = player.work()
        assert trial in (None, assignment["trial"])
        trial = assignment["trial"]
        player.end(assignment, "failed", failure="lost", message="killed by SIGKILL")
    ended = player.trials(search["id"])[0]
    assert (ended["state"], ended["failure"]) == ("failed", "lost")
    assert ended["reason"] == "lost 3 times in a row without a single report"


@pytest.mark.parametrize("failure", ["diverged", "infeasible"])
def test_what_cannot_be_trained_is_never_retried_nor_counted_against_the_user(
    served: Served, failure: str
) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 3, "failures": 1})
    player.inspect()
    while (assignment := player.lease(wait=0.3)) is not None:
        player.report(assignment, 1, 0.4)
        player.end(assignment, "failed", failure=failure, message="loss became NaN")
    ended = player.search(search["id"])
    assert (ended["state"], ended["counts"]) == ("completed", {"failed": 4})
    trials = player.trials(search["id"])
    assert {(t["failure"], t["value"], t["attempt"]) for t in trials} == {(failure, None, 1)}


def test_out_of_memory_is_tried_once_more_in_half_batches_and_then_is_infeasible(
    served: Served,
) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 1, "failures": 1}, baselines=NO_BASELINES)
    player.inspect()
    seen = []
    while (assignment := player.lease(wait=0.3)) is not None:
        seen.append((assignment["trial"], assignment["attempt"], assignment["micro_batches"]))
        player.end(assignment, "failed", failure="out_of_memory", message="CUDA out of memory")
    (trial,) = player.trials(search["id"])
    assert seen == [(trial["id"], 1, 1), (trial["id"], 2, 2)]
    assert (trial["state"], trial["failure"]) == ("failed", "out_of_memory")
    assert trial["reason"] == "CUDA out of memory"
    assert player.search(search["id"])["state"] == "completed"


def test_a_trial_that_fits_in_half_batches_completes(served: Served) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 1}, baselines=NO_BASELINES)
    player.inspect()
    player.end(player.work(), "failed", failure="out_of_memory")
    player.train(player.work(), 0.5)
    (trial,) = player.trials(search["id"])
    assert (trial["state"], trial["failure"], trial["value"]) == ("completed", None, 0.5)


def test_faults_of_the_user_in_a_row_pause_the_search_with_the_reason(served: Served) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 9, "failures": 2})
    player.inspect()
    player.end(player.work(), "failed", failure="user_error", message="KeyError: 'x'\n  trace")
    good = player.work()
    player.train(good, 0.4)
    for _ in range(2):
        assert player.search(search["id"])["state"] == "running"
        player.end(player.work(), "failed", failure="user_error", message="KeyError: 'x'\n  trace")
    paused = player.search(search["id"])
    assert paused["state"] == "paused"
    assert paused["reason"] == "2 trials in a row failed, the last with: KeyError: 'x'"


def test_a_missing_data_set_pauses_the_search_when_no_other_worker_could_have_it(
    served: Served,
) -> None:
    player = Player(served)
    search = player.submit()
    assignment = player.work()
    message = "data set digits not found: looked for /data/digits"
    player.end(assignment, "failed", failure="environment", message=message)
    paused = player.search(search["id"])
    assert paused["state"] == "paused"
    assert paused["reason"] == f"{message}; fix it, then resume the search"

    player.http.post(f"/searches/{search['id']}/resume")
    player.inspect()
    assert player.search(search["id"])["state"] == "queued"


def test_a_broken_environment_is_tried_on_another_worker_and_then_is_the_users_fault(
    serve: Callable[..., Served],
) -> None:
    served = serve(lease_seconds=60)
    broken, other = Player(served), Player(served)
    search = broken.submit(budget={"trials": 1})
    broken.inspect()
    first = broken.work()
    broken.end(first, "failed", failure="environment", message="CUDA driver is gone")
    assert broken.search(search["id"])["state"] == "running"
    assert broken.lease(wait=0.2) is None
    second = other.work()
    assert second["trial"] == first["trial"]
    other.end(second, "failed", failure="environment", message="CUDA driver is gone")
    ended = other.trials(search["id"])[0]
    assert (ended["state"], ended["failure"]) == ("failed", "user_error")
    assert "failed on two workers" in ended["reason"]


def test_a_trial_that_says_nothing_is_ended_by_stall(served: Served) -> None:
    player = Player(served)
    search = player.submit(stall=0.5)
    player.inspect()
    assignment = player.work()
    until(lambda: player.beat(assignment)[assignment["lease"]] == "cancel")
    ended = player.trials(search["id"])[0]
    assert (ended["state"], ended["failure"]) == ("failed", "timeout")
    assert "reported nothing for 0.5 s (stall)" in ended["reason"]


def test_the_time_of_a_trial_that_waits_for_a_place_has_not_begun(served: Served) -> None:
    player = Player(served)
    search = player.submit(stall=0.5, timeout=1)
    player.inspect()
    waiting = player.work()
    for _ in range(12):
        assert player.beat(waiting, waiting=[waiting["lease"]])[waiting["lease"]] == "continue"
        time.sleep(0.1)
    until(lambda: player.beat(waiting)[waiting["lease"]] == "cancel")
    assert player.trials(search["id"])[0]["failure"] == "timeout"


def test_an_attempt_is_ended_by_the_timeout_though_it_reports(served: Served) -> None:
    player = Player(served)
    search = player.submit(timeout=1)
    player.inspect()
    assignment = player.work()
    step = iter(range(1, 10_000))
    until(lambda: player.report(assignment, next(step), 0.5).status_code == 409)
    assert "timeout of 1 s" in player.trials(search["id"])[0]["reason"]


def test_a_cancelled_search_ends_though_its_worker_died(served: Served) -> None:
    player = Player(served)
    search = player.submit()
    player.inspect()
    player.work()
    player.http.post(f"/searches/{search['id']}/cancel")
    until(lambda: player.search(search["id"])["state"] == "cancelled")
    assert player.trials(search["id"])[0]["state"] == "cancelled"


def test_a_failed_inspection_fails_the_search(served: Served) -> None:
    player = Player(served)
    search = player.submit()
    player.end(player.work(), "failed", failure="user_error", message="no network named x")
    failed = player.search(search["id"])
    assert failed["state"] == "failed"
    assert failed["reason"] == "the network could not be inspected: no network named x"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"outcome": "failed"}, "failure"),
        ({"outcome": "completed", "failure": "lost"}, "failure"),
        ({"outcome": "finished"}, "outcome"),
    ],
)
def test_an_outcome_that_contradicts_itself_is_422(
    served: Served, body: dict[str, Any], field: str
) -> None:
    player = Player(served)
    player.submit()
    player.inspect()
    assignment = player.work()
    response = served.http.post(f"/leases/{assignment['lease']}/outcome", json=body)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field


def test_a_report_without_the_metric_or_with_nan_is_422(served: Served) -> None:
    player = Player(served)
    player.submit()
    player.inspect()
    lease = player.work()["lease"]

    def send(metrics: str) -> Any:
        body = f'{{"reports": [{{"step": 1, "metrics": {metrics}}}]}}'
        return served.http.post(f"/leases/{lease}/reports", content=body)

    missing = send('{"accuracy": 0.5}')
    assert missing.status_code == 422
    assert "'validation_accuracy' is missing; there are accuracy" in missing.json()["detail"]
    assert send('{"validation_accuracy": NaN}').status_code == 422
    assert send('{"validation_accuracy": 1e999}').status_code == 422
    assert send('{"validation_accuracy": 0.5}').status_code == 200


def test_a_trial_that_completes_without_a_report_is_the_users_fault(served: Served) -> None:
    player = Player(served)
    search = player.submit()
    player.inspect()
    player.end(player.work())
    ended = player.trials(search["id"])[0]
    assert (ended["failure"], ended["reason"]) == ("user_error", "ended without a single report")


def test_a_worker_that_offers_another_task_gets_nothing(served: Served) -> None:
    Player(served).submit()
    assert Player(served, TASK | {"name": "other"}).lease(wait=0.3) is None


def test_a_worker_that_takes_leave_is_not_given_what_it_hands_back(served: Served) -> None:
    leaving, other = Player(served), Player(served)
    leaving.submit(budget={"trials": 1}, parallel=1)
    leaving.inspect()
    mine = leaving.work()
    with ThreadPoolExecutor(1) as pool:
        second_slot = pool.submit(leaving.lease, wait=10)
        until(lambda: served.lease_queue.size)
        assert served.http.delete(f"/workers/{leaving.id}").status_code == 204
        leaving.end(mine, "failed", failure="preempted")
        assert second_slot.result() is None
    again = other.work()
    assert (again["trial"], again["attempt"]) == (mine["trial"], 2)
    assert [worker["id"] for worker in served.http.get("/workers").json()] == [other.id]
    assert served.http.delete("/workers/ghost").status_code == 404


def test_a_slot_that_has_hung_up_is_given_nothing(served: Served) -> None:
    player, other = Player(served), Player(served)
    player.submit(budget={"trials": 1}, parallel=1)
    body = {"worker": player.id, "boot_id": player.boot, "slot": 1, "request": 0}
    player.inspect()
    mine = player.work()
    lease_queue = served.lease_queue
    with pytest.raises(httpx2.ReadTimeout):
        httpx2.post(f"{served.url}/v1/leases", json=body | {"wait_seconds": 20}, timeout=0.5)
    until(lambda: lease_queue.size == 0)
    player.end(mine, "failed", failure="preempted")
    again = other.work()
    assert (again["trial"], again["attempt"]) == (mine["trial"], 2)


def test_a_slot_whose_time_is_over_is_answered_though_others_are_being_served(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were it served after all, a trial would be handed out to nobody, and lost."""
    asked: list[str] = []
    permits = Semaphore(0)

    def slowly(_core: object, request: LeaseRequest, _nothing: object) -> None:
        asked.append(request.worker)
        permits.acquire(timeout=60)

    monkeypatch.setattr(scheduler, "find_work", slowly)
    first, second, third = Player(served), Player(served), Player(served)
    with ThreadPoolExecutor(3) as pool:
        pool.submit(first.lease, wait=8)
        until(lambda: asked == [first.id])
        pool.submit(second.lease, wait=8)
        until(lambda: served.lease_queue.size == 1)
        answer = pool.submit(third.lease, wait=2)
        until(lambda: served.lease_queue.size == 2)
        permits.release()
        until(lambda: second.id in asked)
        assert answer.result(timeout=30) is None
        for _ in range(100):
            permits.release()
    assert third.id not in asked


def test_a_search_that_breaks_keeps_no_other_from_its_work(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    player = Player(served)
    broken = player.submit()
    player.inspect()
    player.train(player.work(), 0.5)

    def breaks(context: Context, locked_study: LockedStudy, search_id: str, *rest: Any) -> Any:
        if search_id == broken["id"]:
            raise StopIteration
        return propose(context, locked_study, search_id, *rest)

    monkeypatch.setattr(assignments, "propose", breaks)
    sound = player.submit()
    player.inspect()
    for _ in range(5):
        player.train(player.work(), 0.5)
    assert player.search(sound["id"])["state"] == "completed"
    assert f"could not assign work of search {broken['id']}" in caplog.text
