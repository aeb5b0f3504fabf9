"""What becomes of a search: prepared, run, paused, resumed, cancelled, ended."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.player import SEARCH, TASK, Player, plan
from tests.support.serving import Served


def run_all(player: Player, value: Callable[[dict[str, Any]], float] = lambda _: 0.5) -> int:
    """Train whatever comes until nothing waits; return how many trainings that were."""
    trained = 0
    while (assignment := player.lease(wait=0.3)) is not None:
        player.train(assignment, value(assignment))
        trained += 1
    return trained


def test_a_search_runs_from_inspection_to_its_end(player: Player) -> None:
    search = player.submit()
    assert search["state"] == "preparing"
    player.inspect()
    assert player.search(search["id"])["state"] == "queued"
    first = player.work()
    assert player.search(search["id"])["state"] == "running"
    assert (first["kind"], first["number"]) == ("baseline", 0)
    player.train(first, 0.4, 0.5)
    assert run_all(player) == 4

    ended = player.search(search["id"])
    assert (ended["state"], ended["reason"]) == ("completed", "all 4 trials have ended")
    assert ended["progress"]["finished"] == ended["progress"]["total"] == 5


def test_the_message_of_a_completed_outcome_is_the_reason_of_its_trial(player: Player) -> None:
    search = player.submit()
    player.inspect()
    assignment = player.work()
    player.report(assignment, 1, 0.5)
    remark = "act: 60% of the units are dead"
    assert player.end(assignment, message=remark).status_code == 204
    (trial,) = (t for t in player.trials(search["id"]) if t["id"] == assignment["trial"])
    assert (trial["state"], trial["reason"]) == ("completed", remark)


def test_the_budget_is_exact_with_many_slots(served: Served) -> None:
    player = Player(served)
    search = player.submit(budget={"trials": 7}, choices=["relu", "silu", "gelu", "acon_c"])
    player.inspect()

    def slot(_: int) -> int:
        return run_all(Player(served))

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(slot, range(6))) == 8
    trials = player.trials(search["id"])
    assert sum(t["kind"] == "proposed" and t["repeat_of"] is None for t in trials) == 7
    assert player.search(search["id"])["state"] == "completed"


@pytest.mark.parametrize("seeds", [0, 5])
def test_no_more_run_at_once_than_parallel_allows(player: Player, seeds: int) -> None:
    player.submit(parallel=2, baselines={"original_seeds": seeds, "uniform": False})
    player.inspect()
    assert player.lease() is not None
    assert player.lease() is not None
    assert player.lease(wait=0.2) is None


def test_uniform_networks_run_before_proposals_and_the_original_once(player: Player) -> None:
    search = player.submit(baselines={"original_seeds": 2, "uniform": True})
    player.inspect()
    run_all(player)
    labels = [trial["label"] for trial in player.trials(search["id"])]
    assert labels[:4] == ["original", "original", "uniform silu", "uniform acon_c"]
    assert set(labels[4:]) == {None}


def test_a_search_of_an_exhausted_space_completes_with_that_reason(player: Player) -> None:
    search = player.submit(choices=["relu", "silu"], budget={"trials": 50})
    player.inspect()
    run_all(player)
    ended = player.search(search["id"])
    assert ended["state"] == "completed"
    assert "every candidate of the space has been tried" in ended["reason"]
    assert ended["reason"].endswith("3 of them as trials")
    keys = [
        json.dumps(trial["candidate"], sort_keys=True)
        for trial in player.trials(search["id"])
        if trial["repeat_of"] is None
    ]
    assert len(keys) == len(set(keys)) == 4


def test_a_repeat_gets_the_earlier_value_and_costs_no_budget(player: Player) -> None:
    search = player.submit(choices=["relu", "silu"], budget={"trials": 3})
    player.inspect()
    run_all(player, lambda a: 0.5 + 0.01 * a["number"])
    trials = player.trials(search["id"])
    by_id = {trial["id"]: trial for trial in trials}
    repeats = [trial for trial in trials if trial["repeat_of"]]
    assert repeats, "a space of four candidates was expected to give repeats"
    for repeat in repeats:
        earlier = by_id[repeat["repeat_of"]]
        assert (repeat["state"], repeat["value"]) == (earlier["state"], earlier["value"])
        assert repeat["reason"] == f"the same network as trial {earlier['number']}"


def test_pause_releases_what_runs_and_resume_goes_on_from_the_checkpoint(player: Player) -> None:
    search = player.submit()
    player.inspect()
    assignment = player.work()
    url = f"/leases/{assignment['lease']}/artifacts/checkpoint.safetensors"
    binary = {"content-type": "application/octet-stream"}
    player.http.put(url, content=b"epoch 1", headers=binary).raise_for_status()

    assert player.http.post(f"/searches/{search['id']}/pause").json()["state"] == "paused"
    assert player.train(assignment, 0.4) == "release"
    assert player.lease(wait=0.2) is None
    assert player.search(search["id"])["counts"] == {"waiting": 1}

    assert player.http.post(f"/searches/{search['id']}/resume").json()["state"] == "running"
    again = player.work()
    assert (again["trial"], again["attempt"]) == (assignment["trial"], 2)
    file = player.http.get(f"/trials/{again['trial']}/artifacts/{again['checkpoint']['name']}")
    assert file.content == b"epoch 1"


def test_cancel_lets_running_trials_finish_and_starts_nothing(player: Player) -> None:
    search = player.submit()
    player.inspect()
    assignment = player.work()
    cancelled = player.http.post(f"/searches/{search['id']}/cancel").json()
    assert (cancelled["state"], cancelled["wanted"]) == ("running", "cancel")
    assert player.lease(wait=0.2) is None
    assert player.train(assignment, 0.4, 0.5) == "continue"
    assert player.search(search["id"])["state"] == "cancelled"
    assert player.trials(search["id"])[0]["value"] == 0.5


def test_cancel_before_the_inspection_ends_the_search_at_once(player: Player) -> None:
    search = player.submit()
    cancelled = player.http.post(f"/searches/{search['id']}/cancel").json()
    assert cancelled["state"] == "cancelled"


@pytest.mark.parametrize(("action", "state"), [("resume", "preparing"), ("pause", "cancelled")])
def test_an_action_in_the_wrong_state_is_409(player: Player, action: str, state: str) -> None:
    search = player.submit()
    if state == "cancelled":
        player.http.post(f"/searches/{search['id']}/cancel")
    response = player.http.post(f"/searches/{search['id']}/{action}")
    assert response.status_code == 409
    assert f"cannot {action} a search that is {state}" in response.json()["detail"]


def test_a_pattern_that_matches_no_site_fails_the_search_with_the_nearest(player: Player) -> None:
    search = player.submit(sites={"include": "blok1.act"})
    player.inspect()
    failed = player.search(search["id"])
    assert failed["state"] == "failed"
    assert "sites.include: 'blok1.act' matches no site" in failed["reason"]
    assert "'block1.act'" in failed["reason"]

    known = player.http.post("/searches", json=SEARCH | {"sites": {"include": "blok1.act"}})
    assert known.status_code == 422
    assert known.json()["errors"][0]["field"] == "sites.include"


def test_an_unfit_choice_fails_the_search_by_name(player: Player) -> None:
    search = player.submit(choices=["relu", "meta_acon"])
    tokens = plan()
    for site in tokens["sites"]:
        site |= {"rank": 3, "channel_dim": -1}
    player.inspect(tokens)
    reason = player.search(search["id"])["reason"]
    assert "meta_acon does not fit the site 'block0.act'" in reason


def test_auto_searches_layers_only_with_ten_trials_a_site(player: Player) -> None:
    found = plan(4)
    for site in found["sites"]:
        site["stage"] = "0" if site["id"] < "block2" else "1"

    def differing(trials: int) -> set[str]:
        search = player.submit(budget={"trials": trials}, baselines={"original_seeds": 0})
        player.inspect(found)
        run_all(player)
        names = set()
        for trial in player.trials(search["id"]):
            sites = trial["candidate"]["sites"]
            if sites["block0.act"] != sites["block1.act"]:
                names.add(trial["id"])
        return names

    assert not differing(6)
    assert differing(40)


def test_the_same_idempotency_key_makes_one_search(player: Player) -> None:
    headers = {"Idempotency-Key": "monday"}

    def submit(_: int) -> str:
        return str(player.http.post("/searches", json=SEARCH, headers=headers).json()["id"])

    with ThreadPoolExecutor(10) as pool:
        assert len(set(pool.map(submit, range(50)))) == 1
    other = player.http.post("/searches", json=SEARCH | {"parallel": 1}, headers=headers)
    assert other.status_code == 409
    assert len(player.http.get("/searches").json()["items"]) == 1


def test_a_search_waits_for_a_worker_that_offers_its_task(served: Served) -> None:
    early = served.http.post("/searches", json=SEARCH)
    assert (early.status_code, early.json()["state"]) == (201, "preparing")
    Player(served, TASK | {"name": "other-task"})
    late = served.http.post("/searches", json=SEARCH)
    assert late.status_code == 422
    assert late.json()["errors"][0]["field"] == "task.name"
    Player(served).inspect()


def test_searches_are_listed_newest_first_in_pages(player: Player) -> None:
    ids = [player.submit()["id"] for _ in range(5)]
    seen: list[str] = []
    params: dict[str, Any] = {"limit": 2}
    while True:
        page = player.http.get("/searches", params=params).json()
        seen += [search["id"] for search in page["items"]]
        if page["next"] is None:
            break
        params["cursor"] = page["next"]
    assert seen == ids[::-1]


def test_what_no_worker_could_check_at_submission_fails_when_the_first_one_comes(
    served: Served,
) -> None:
    task = SEARCH["task"] | {"network": "resnet200"}
    early = served.http.post("/searches", json=SEARCH | {"task": task}).json()
    player = Player(served)
    assert player.lease(wait=0.3) is None
    failed = player.search(early["id"])
    assert failed["state"] == "failed"
    assert "task.network: 'resnet200' is unknown" in failed["reason"]


def test_the_pruner_learns_the_number_of_epochs_from_the_first_worker(served: Served) -> None:
    changes = {"choices": ["relu", "pwlu"], "pruner": {"name": "asha"}}
    early = served.http.post("/searches", json=SEARCH | changes).json()
    assert (early["pinned"]["epochs"], early["pinned"]["pruner"]["min_resource"]) == (None, 1)
    player = Player(served, TASK | {"settings": LONG})
    player.inspect()
    pinned = player.search(early["id"])["pinned"]
    assert (pinned["epochs"], pinned["pruner"]["min_resource"]) == (10, 3)


LONG = {
    "type": "object",
    "properties": {"dataset": {}, "network": {}, "epochs": {"type": "integer", "default": 10}},
}


def test_a_grid_is_searched_in_order_and_without_a_repeat(player: Player) -> None:
    search = player.submit(
        sampler={"name": "grid"},
        choices=["silu", {"name": "pwlu", "segments": [4, 8]}],
        budget={"trials": 50},
        sites={"per": "layer"},
    )
    player.inspect()
    run_all(player)
    trials = player.trials(search["id"])
    assert [trial["repeat_of"] for trial in trials] == [None] * len(trials)
    tried = [
        tuple((spec["name"], spec["params"].get("segments")) for spec in sites.values())
        for trial in trials[1:]
        for sites in [trial["candidate"]["sites"]]
    ]
    options = [("silu", None), ("pwlu", 4), ("pwlu", 8)]
    assert tried == [(one, other) for one in options for other in options]
    assert "every candidate of the space" in player.search(search["id"])["reason"]


def test_a_cancelled_repeat_stays_cancelled_when_the_trial_it_repeats_ends(
    served: Served, player: Player
) -> None:
    space = {"choices": ["relu", "silu"], "sites": {"per": "layer"}}
    search = player.submit(**space, budget={"trials": 9}, parallel=9)
    player.inspect()
    running = [player.work()]
    while (assignment := player.lease(wait=2)) is not None:
        running.append(assignment)
    waiting = [one for one in player.trials(search["id"]) if one["repeat_of"] is not None]
    assert waiting
    player.http.post(f"/searches/{search['id']}/cancel").raise_for_status()
    # The study is built anew from the rows, which say that they were cancelled.
    served.restart()
    for assignment in running:
        player.train(assignment, 0.5)
    assert player.search(search["id"])["state"] == "cancelled"
    states = {one["id"]: one["state"] for one in player.trials(search["id"])}
    assert {states[one["id"]] for one in waiting} == {"cancelled"}, states
