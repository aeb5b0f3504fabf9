"""What a user does to a search that runs: change, kill, fork, delete it, add trials by hand."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from tests.support.player import SEARCH, Player, plan
from tests.support.serving import Served

FILE = {"content-type": "application/octet-stream"}
NO_BASELINES = {"original_seeds": 0, "uniform": False}


def run_all(player: Player, value: float = 0.5) -> int:
    trained = 0
    while (assignment := player.lease(wait=0.3)) is not None:
        player.train(assignment, value)
        trained += 1
    return trained


def patch(player: Player, id: str, **changes: Any) -> dict[str, Any]:
    response = player.http.patch(f"/searches/{id}", json=changes)
    assert response.status_code == 200, response.text
    return dict(response.json())


def until(happened: Callable[[], Any], seconds: float = 60) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := happened():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not happen")


def test_what_is_changed_is_in_force_and_the_document_stays(player: Player) -> None:
    search = player.submit()
    changed = patch(
        player, search["id"], name="thin", budget={"trials": 6, "hours": 2}, priority=7, parallel=1
    )
    assert (changed["name"], changed["priority"], changed["parallel"]) == ("thin", 7, 1)
    assert changed["budget"] == {"trials": 6, "hours": 2, "gpu_hours": None, "failures": 5}
    assert changed["document"] == search["document"]
    unlimited = patch(player, search["id"], budget={"hours": None})
    assert unlimited["budget"] == {"trials": 6, "hours": None, "gpu_hours": None, "failures": 5}


def test_a_greater_parallel_gives_work_to_a_slot_that_waits(player: Player) -> None:
    search = player.submit(parallel=1)
    player.inspect()
    player.work()
    assert player.lease(wait=0.2) is None
    patch(player, search["id"], parallel=2)
    assert player.lease() is not None


def test_a_smaller_budget_ends_the_search_when_what_runs_has_ended(player: Player) -> None:
    search = player.submit(baselines=NO_BASELINES)
    player.inspect()
    running = [player.work(), player.work()]
    patch(player, search["id"], budget={"trials": 1})
    assert player.lease(wait=0.2) is None
    for assignment in running:
        player.train(assignment, 0.5)
    ended = player.search(search["id"])
    assert (ended["state"], ended["reason"]) == ("completed", "all 2 trials have ended")


def test_a_completed_search_runs_on_with_a_greater_budget(player: Player) -> None:
    search = player.submit(budget={"trials": 2}, choices=["relu", "silu", "gelu", "acon_c"])
    player.inspect()
    assert run_all(player) == 3
    assert player.search(search["id"])["state"] == "completed"
    assert patch(player, search["id"], name="longer")["state"] == "completed"
    extended = patch(player, search["id"], budget={"trials": 4})
    assert (extended["state"], extended["ended_at"]) == ("running", None)
    assert run_all(player) == 2
    ended = player.search(search["id"])
    assert (ended["state"], ended["reason"]) == ("completed", "all 4 trials have ended")
    assert ended["progress"]["finished"] == ended["progress"]["total"] == 5


def test_an_extended_search_confirms_its_winner_again(player: Player) -> None:
    search = player.submit(
        budget={"trials": 1}, baselines=NO_BASELINES, confirm={"shortlist": 1, "seeds": 2}
    )
    player.inspect()

    def confirm_all(value: float) -> int:
        confirmed = 0
        while (assignment := player.lease(wait=0.3)) is not None:
            player.report(assignment, 1, value)
            confirming = assignment["kind"] == "confirmation"
            player.end(assignment, test={"test_accuracy": value} if confirming else {})
            confirmed += confirming
        return confirmed

    assert confirm_all(0.5) == 4
    patch(player, search["id"], budget={"trials": 2})
    assert player.http.get(f"/searches/{search['id']}/best").json()["status"] == "not_confirmed"
    assert confirm_all(0.6) == 4
    ended = player.search(search["id"])
    assert ended["progress"]["finished"] == ended["progress"]["total"] == 10
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["ranking"][0]["value"] == 0.6
    assert best["status"] != "not_confirmed"


@pytest.mark.parametrize("end", ["cancel", "kill"])
def test_what_has_ended_for_good_keeps_its_budget_and_may_be_renamed(
    player: Player, end: str
) -> None:
    search = player.submit()
    player.http.post(f"/searches/{search['id']}/{end}")
    refused = player.http.patch(f"/searches/{search['id']}", json={"budget": {"trials": 50}})
    assert refused.status_code == 409
    assert "of a search that is cancelled" in refused.json()["detail"]
    assert patch(player, search["id"], name="old")["name"] == "old"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"budget": {"trials": 0}}, "budget.trials"),
        ({"budget": {"trials": None}}, "budget.trials"),
        ({"budget": {"hours": -1}}, "budget.hours"),
        ({"parallel": 0}, "parallel"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"priority": 1e9}, "priority"),
        ({"sampler": {"seed": 1}}, "sampler"),
    ],
)
def test_a_change_that_cannot_be_names_its_field(
    player: Player, changes: dict[str, Any], field: str
) -> None:
    search = player.submit()
    response = player.http.patch(f"/searches/{search['id']}", json=changes)
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == field
    assert player.search(search["id"])["budget"] == search["budget"]


def test_killed_trials_end_at_their_next_report_or_heartbeat(player: Player) -> None:
    search = player.submit()
    player.inspect()
    first, second, third = (player.work() for _ in range(3))
    killed = player.http.post(f"/searches/{search['id']}/kill").json()
    assert (killed["state"], killed["wanted"]) == ("running", "kill")
    assert player.lease(wait=0.2) is None
    assert player.report(first, 1, 0.4).json() == {"verdict": "cancel"}
    assert player.report(first, 2, 0.4).status_code == 409
    assert player.beat(second, third) == {second["lease"]: "cancel", third["lease"]: "cancel"}
    ended = player.search(search["id"])
    assert (ended["state"], ended["reason"]) == ("cancelled", "killed by the user")
    assert {(t["state"], t["value"]) for t in player.trials(search["id"])} == {("cancelled", None)}
    again = player.http.post(f"/searches/{search['id']}/kill")
    assert again.status_code == 409


def test_what_is_being_cancelled_can_still_be_killed(player: Player) -> None:
    search = player.submit()
    player.inspect()
    assignment = player.work()
    player.http.post(f"/searches/{search['id']}/cancel").raise_for_status()
    player.http.post(f"/searches/{search['id']}/kill").raise_for_status()
    assert player.report(assignment, 1, 0.4).json() == {"verdict": "cancel"}
    assert player.search(search["id"])["state"] == "cancelled"


def test_a_fork_is_the_earlier_search_with_edits(player: Player) -> None:
    search = player.submit(name="first", budget={"trials": 9, "failures": 2})
    patch(player, search["id"], budget={"trials": 12}, parallel=3)
    forked = player.http.post(
        f"/searches/{search['id']}/fork",
        json={"budget": {"failures": 4}, "choices": ["relu", "gelu"], "confirm": None},
    )
    assert forked.status_code == 201
    fork = forked.json()
    assert forked.headers["location"] == f"/v1/searches/{fork['id']}"
    assert fork["forked_from"] == search["id"] != fork["id"]
    assert fork["budget"] == {"trials": 12, "hours": None, "gpu_hours": None, "failures": 4}
    assert (fork["parallel"], fork["state"]) == (3, "preparing")
    assert [choice["name"] for choice in fork["document"]["choices"]] == ["relu", "gelu"]
    assert fork["document"]["task"] == search["document"]["task"]
    plain = player.http.post(f"/searches/{search['id']}/fork").json()
    assert plain["document"]["choices"] == search["document"]["choices"]


def test_an_edit_that_makes_no_search_names_its_field(player: Player) -> None:
    search = player.submit()
    for edits, field in [
        ({"budget": {"trials": -1}}, "budget.trials"),
        ({"task": {"network": "resnet200"}}, "task.network"),
        ({"task": {"name": "other"}}, "task.name"),
        ({"colour": "blue"}, "colour"),
        ({"choices": None}, "choices"),
    ]:
        response = player.http.post(f"/searches/{search['id']}/fork", json=edits)
        assert response.status_code == 422, response.text
        assert response.json()["errors"][0]["field"] == field
    assert len(player.http.get("/searches").json()["items"]) == 1


def test_a_deleted_search_is_gone_at_once_and_then_all_that_was_its_own(
    player: Player, served: Served
) -> None:
    def store(assignment: dict[str, Any], content: bytes) -> None:
        url = f"/leases/{assignment['lease']}/artifacts/weights.safetensors"
        player.http.put(url, content=content, headers=FILE).raise_for_status()

    kept = player.submit(budget={"trials": 1})
    player.inspect()
    while (trial := player.lease(wait=0.3)) is not None:
        store(trial, b"kept")
        player.train(trial, 0.5)
    search = player.submit()
    player.inspect()
    first = player.work()
    store(first, b"own")
    player.train(first, 0.5)
    running = player.work()
    store(running, b"own")
    files = [path for path in served.context.settings.home.rglob("*") if path.is_file()]
    assert any(path.read_bytes() == b"own" for path in files)

    deleted = player.http.delete(f"/searches/{search['id']}")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert player.http.get(f"/searches/{search['id']}").status_code == 404
    assert player.http.delete(f"/searches/{search['id']}").status_code == 404
    assert [one["id"] for one in player.http.get("/searches").json()["items"]] == [kept["id"]]
    assert player.report(running, 1, 0.5).status_code == 409
    assert player.beat(running) == {running["lease"]: "cancel"}

    def is_gone() -> bool:
        with served.context.database.read() as session:
            return bool(session.scalar(text("SELECT count(*) FROM searches")) == 1)

    until(is_gone)
    with served.context.database.read() as session:
        for table, column in [
            ("trials", "search_id"),
            ("events", "search_id"),
            ("searches", "id"),
            ("submissions", "search_id"),
        ]:
            statement = f"SELECT count(*) FROM {table} WHERE {column} != :kept"
            assert session.scalar(text(statement), {"kept": kept["id"]}) == 0, table
        for table in ("reports", "attempts", "artifacts"):
            orphans = f"trial_id NOT IN (SELECT id FROM trials WHERE search_id = '{kept['id']}')"
            assert session.scalar(text(f"SELECT count(*) FROM {table} WHERE {orphans}")) == 0
    left = [path for path in served.context.settings.home.rglob("*") if path.is_file()]
    contents = {path.read_bytes() for path in left if "artifacts" in path.parts}
    assert b"own" not in contents
    assert b"kept" in contents
    assert player.search(kept["id"])["counts"]


def test_what_was_marked_is_deleted_after_a_restart(player: Player, served: Served) -> None:
    search = player.submit()
    with served.context.database.write() as session:
        session.execute(text("UPDATE searches SET wanted = 'delete'"))
    served.restart()

    def rows() -> int:
        with served.context.database.read() as session:
            return int(session.scalar(text("SELECT count(*) FROM searches")))

    until(lambda: rows() == 0)
    assert player.http.get(f"/searches/{search['id']}/trials").status_code == 404


def test_a_manual_trial_is_trained_and_told_to_the_study_and_costs_no_budget(
    player: Player,
) -> None:
    search = player.submit(choices=["relu", "silu"], baselines=NO_BASELINES, budget={"trials": 4})
    url = f"/searches/{search['id']}/trials"
    early = player.http.post(url, json={"candidate": {"sites": {"block0.act": "silu"}}})
    assert early.status_code == 409
    assert "has not been inspected" in early.json()["detail"]

    player.inspect()
    added = player.http.post(url, json={"candidate": {"sites": {"block0.act": "silu"}}})
    assert added.status_code == 201
    trial = added.json()
    assert added.headers["location"] == f"/v1/trials/{trial['id']}"
    assert (trial["kind"], trial["state"], trial["number"]) == ("manual", "waiting", 0)
    names = {id: spec["name"] for id, spec in trial["candidate"]["sites"].items()}
    assert names == {"block0.act": "silu", "block1.act": "relu"}

    first = player.work()
    assert (first["trial"], first["kind"]) == (trial["id"], "manual")
    player.train(first, 0.9)
    run_all(player)
    ended = player.search(search["id"])
    assert (ended["state"], ended["best"]["number"]) == ("completed", 0)
    trials = player.trials(search["id"])
    trained = [t for t in trials if t["repeat_of"] is None]
    assert [t["kind"] for t in trained] == ["manual", "proposed", "proposed", "proposed"]
    assert ended["progress"]["total"] == ended["progress"]["finished"] == 4


def test_a_rebuilt_study_has_the_manual_trials(player: Player, served: Served) -> None:
    search = player.submit(choices=["relu", "silu", "gelu"], sampler={"name": "tpe", "seed": 3})
    player.inspect()
    sites = {"block0.act": "gelu", "block1.act": {"name": "silu"}}
    player.http.post(f"/searches/{search['id']}/trials", json={"candidate": {"sites": sites}})
    player.train(player.work(), 0.9)
    served.restart()
    assert run_all(player) == 5
    assert player.search(search["id"])["state"] == "completed"


def test_a_trial_by_hand_may_lie_outside_the_space(player: Player) -> None:
    search = player.submit(choices=["relu", "silu"], baselines=NO_BASELINES, budget={"trials": 1})
    player.inspect()
    candidate = {
        "sites": {"block0.act": {"name": "pwlu", "params": {"segments": 6}}},
        "training": {"learning_rate_factor": 0.3},
    }
    added = player.http.post(f"/searches/{search['id']}/trials", json={"candidate": candidate})
    spec = added.json()["candidate"]["sites"]["block0.act"]
    assert (spec["params"]["segments"], spec["initial"]) == (6, "relu")
    assert run_all(player) == 2


@pytest.mark.parametrize(
    ("candidate", "field", "said"),
    [
        ({"sites": {"blok0.act": "silu"}}, "candidate.sites.blok0.act", "nearest are block0.act"),
        ({"sites": {"block0.act": "swosh"}}, "candidate.sites.block0.act", "no activation named"),
        (
            {"sites": {"block0.act": {"name": "pwlu", "params": {"segments": 1}}}},
            "candidate.sites.block0.act",
            "between 2 and 64, got 1",
        ),
        ({"training": {"learning_rate_factor": 0}}, "candidate.training.learning_rate_factor", ""),
        ({"training": {"realign_after": 0.5}}, "candidate.training.realign_after", "0.2"),
        ({"sites": []}, "candidate.sites", ""),
        ({"places": {}}, "candidate.places", ""),
    ],
)
def test_a_candidate_that_cannot_be_names_the_site(
    player: Player, candidate: dict[str, Any], field: str, said: str
) -> None:
    search = player.submit()
    player.inspect()
    response = player.http.post(f"/searches/{search['id']}/trials", json={"candidate": candidate})
    assert response.status_code == 422
    fault = response.json()["errors"][0]
    assert fault["field"].startswith(field)
    assert said in fault["message"]


def test_a_search_that_has_ended_takes_no_trial(player: Player) -> None:
    search = player.submit()
    player.http.post(f"/searches/{search['id']}/kill")
    response = player.http.post(f"/searches/{search['id']}/trials", json={"candidate": {}})
    assert response.status_code == 409
    assert "cannot add a trial to a search that is cancelled" in response.json()["detail"]


def test_a_preview_of_an_unknown_network_says_what_is_known(player: Player) -> None:
    preview = player.http.post("/searches/preview", json={"task": SEARCH["task"]}).json()
    unknown = ("sites", "groups", "size", "candidates", "duration")
    assert [preview[name] for name in unknown] == [None] * 5
    choices = len(preview["document"]["choices"])
    assert preview["trainings"] == {
        "baselines": 3 + choices,
        "proposed": 40,
        "confirmation": 35,
        "total": 78 + choices,
    }
    assert 1.6 < preview["smallest_gain"]["spreads"] < 2.0
    assert preview["smallest_gain"]["gain"] is None
    assert "a worker has inspected the network" in preview["warnings"][0]
    assert player.http.get("/searches").json()["items"] == []


def test_a_preview_of_a_known_network_has_sites_samples_time_and_warnings(player: Player) -> None:
    earlier = player.submit(baselines={"original_seeds": 3, "uniform": False})
    player.inspect(plan(19))
    for value in (0.5, 0.52, 0.54):
        player.train(player.work(), 0.4, value)
    body = SEARCH | {
        "choices": ["relu", "silu", "gelu", "acon_c", "pwlu"],
        "sites": {"per": "layer"},
        "baselines": {"original_seeds": 3, "uniform": True},
        "budget": {"trials": 40},
        "confirm": {"seeds": 8},
    }
    preview = player.http.post("/searches/preview", json=body).json()
    assert len(preview["sites"]) == len(preview["groups"]) == 19
    assert preview["size"] == 5**19
    assert len(preview["candidates"]) == 5
    assert all(len(one["sites"]) == 19 for one in preview["candidates"])
    # relu everywhere is the original.
    assert preview["trainings"]["baselines"] == 3 + 4
    assert preview["smallest_gain"]["spread"] == pytest.approx(0.02)
    assert preview["smallest_gain"]["gain"] == pytest.approx(
        0.02 * preview["smallest_gain"]["spreads"]
    )
    assert "40 trials over 19 groups of sites with 5 choices" in preview["warnings"][0]
    assert "hardly better than chance" in preview["warnings"][0]
    duration = preview["duration"]
    assert duration["seconds"] == pytest.approx(duration["slot_seconds"] / 4)
    assert "3 trials of 1 earlier searches" in duration["basis"]
    again = player.http.post("/searches/preview", json=body).json()
    assert again["candidates"] == preview["candidates"]
    assert [one["id"] for one in player.http.get("/searches").json()["items"]] == [earlier["id"]]


def test_the_smallest_gain_is_that_of_the_metric_that_is_searched(player: Player) -> None:
    player.submit(baselines={"original_seeds": 3, "uniform": False}, budget={"trials": 1})
    player.inspect()
    for value in (0.5, 0.52, 0.54, 0.6):
        player.train(player.work(), 0.4, value)
    loss = {"metric": "validation_loss", "direction": "minimize"}
    body = SEARCH | {"objective": loss, "confirm": {"seeds": 8}}
    unknown = player.http.post("/searches/preview", json=body).json()["smallest_gain"]
    assert (unknown["spread"], unknown["gain"], unknown["is_fraction"]) == (None, None, False)
    assert unknown["basis"] == "8 seeds each, found in about 80 % of such cases"

    player.submit(baselines={"original_seeds": 3, "uniform": False}, objective=loss)
    player.inspect()
    for value in (1.0, 1.5, 2.0):
        player.train(player.work(), 3.0, value)
    known = player.http.post("/searches/preview", json=body).json()["smallest_gain"]
    assert known["spread"] == pytest.approx(0.5)
    assert "over 3 seeds of earlier searches of this task" in known["basis"]
    rates = {"hyperparameters": {"learning_rate_factor": [0.5, 1]}, "objective": {}}
    tuned = player.http.post("/searches/preview", json=body | rates).json()["smallest_gain"]
    assert (tuned["spread"], tuned["is_fraction"]) == (pytest.approx(0.02), True)
    assert "in about 70 % over a tuned original that is as good" in tuned["basis"]


def test_a_preview_refuses_what_submitting_would(player: Player) -> None:
    for body, field in [
        ({"task": {"name": "other"}}, "task.name"),
        (SEARCH | {"budget": {"trials": 0}}, "budget.trials"),
    ]:
        response = player.http.post("/searches/preview", json=body)
        assert response.status_code == 422
        assert response.json()["errors"][0]["field"] == field


def pass_time(served: Served, seconds: float) -> None:
    """Let what is going on have begun so much earlier."""
    with served.context.database.write() as session:
        for statement in (
            "UPDATE searches SET running_since = running_since - :seconds",
            "UPDATE attempts SET started_at = started_at - :seconds WHERE ended_at IS NULL",
        ):
            session.execute(text(statement), {"seconds": seconds})


def test_hours_end_a_search_with_at_most_one_report_of_each_slot(
    player: Player, served: Served
) -> None:
    search = player.submit(budget={"trials": 50, "hours": 2}, baselines=NO_BASELINES)
    player.inspect()
    running = [player.work(), player.work()]
    assert [player.report(a, 1, 0.4).json()["verdict"] for a in running] == ["continue"] * 2
    pass_time(served, 2.1 * 3600)
    assert player.lease(wait=0.2) is None
    for assignment in running:
        assert player.report(assignment, 2, 0.5).json() == {"verdict": "stop"}
        player.end(assignment, "stopped")
    ended = player.search(search["id"])
    assert (ended["state"], ended["reason"]) == ("completed", "the budget of 2 hours is spent")
    assert ended["spent"]["hours"] == pytest.approx(2.1, abs=0.01)
    stopped = {(t["state"], t["reason"]) for t in player.trials(search["id"])}
    assert stopped == {("stopped", "the budget of 2 hours is spent")}

    assert patch(player, search["id"], budget={"hours": 3})["state"] == "running"
    assert player.lease() is not None


def test_after_the_last_epoch_the_hours_stop_nothing(player: Player, served: Served) -> None:
    player.submit(budget={"trials": 50, "hours": 2}, baselines=NO_BASELINES)
    player.inspect()
    assignment = player.work()
    pass_time(served, 3 * 3600)
    assert player.report(assignment, 4, 0.5).json() == {"verdict": "continue"}


def test_pauses_cost_no_hours(player: Player, served: Served) -> None:
    search = player.submit(budget={"trials": 2, "hours": 2}, baselines=NO_BASELINES)
    player.inspect()
    player.train(player.work(), 0.5)
    pass_time(served, 3600)
    player.http.post(f"/searches/{search['id']}/pause").raise_for_status()
    before = player.search(search["id"])["spent"]["hours"]
    pass_time(served, 3600)
    assert player.search(search["id"])["spent"]["hours"] == before == pytest.approx(1, abs=0.01)
    player.http.post(f"/searches/{search['id']}/resume").raise_for_status()
    pass_time(served, 1800)
    spent = player.search(search["id"])["spent"]["hours"]
    assert spent == pytest.approx(1.5, abs=0.01)


def test_gpu_hours_count_the_share_of_gpus_that_a_slot_has(served: Served) -> None:
    cpu = Player(served, devices=["cpu, 8 cores"])
    gpus = Player(served, devices=["NVIDIA A", "NVIDIA B"])
    search = cpu.submit(budget={"trials": 50, "gpu_hours": 1}, baselines=NO_BASELINES)
    cpu.inspect()
    for_free, dear = cpu.work(), gpus.work()
    pass_time(served, 7200)
    # Two GPUs among four slots are half a GPU for each.
    spent = cpu.search(search["id"])["spent"]
    assert spent["gpu_hours"] == pytest.approx(1, abs=0.01)
    for player, assignment in ((cpu, for_free), (gpus, dear)):
        assert player.report(assignment, 1, 0.5).json() == {"verdict": "stop"}
        player.end(assignment, "stopped")
    assert cpu.search(search["id"])["reason"] == "the budget of 1 GPU hours is spent"


def test_hours_that_are_spent_cancel_what_waits_though_nobody_asks(
    player: Player, served: Served
) -> None:
    search = player.submit(budget={"trials": 9, "hours": 2}, parallel=1)
    player.inspect()
    player.train(player.work(), 0.5)
    candidate = {"sites": {"block0.act": "silu"}}
    player.http.post(f"/searches/{search['id']}/trials", json={"candidate": candidate})
    pass_time(served, 3 * 3600)
    until(lambda: player.search(search["id"])["state"] == "completed")
    waited = player.trials(search["id"])[-1]
    assert (waited["state"], waited["reason"]) == ("cancelled", "the budget of 2 hours is spent")


def test_part_of_the_hours_is_kept_for_the_confirmation(player: Player, served: Served) -> None:
    search = player.submit(
        budget={"trials": 50, "hours": 8},
        baselines={"original_seeds": 1, "uniform": False},
        confirm={"shortlist": 1, "seeds": 2},
        parallel=1,
        choices=["silu", "gelu", "acon_c"],
    )
    player.inspect()
    kinds = []
    while (assignment := player.lease(wait=0.3)) is not None:
        kinds.append(assignment["kind"])
        confirming = assignment["kind"] == "confirmation"
        player.report(assignment, 1, 0.5)
        pass_time(served, 60 if confirming else 3600)
        player.end(assignment, test={"test_accuracy": 0.5} if confirming else {})
    # Six trainings of an hour would take six of the eight hours; half of them are kept.
    assert kinds == ["baseline"] + ["proposed"] * 3 + ["confirmation"] * 4
    assert player.search(search["id"])["state"] == "completed"


def test_equal_searches_share_the_slots_by_their_parallel(player: Player) -> None:
    small, large = player.submit(parallel=2), player.submit(parallel=4)
    inspections = [player.work() for _ in range(2)]
    for assignment in inspections:
        player.end(assignment, plan=plan())
    given = [player.work()["search"] for _ in range(3)]
    assert (given.count(small["id"]), given.count(large["id"])) == (1, 2)


def test_priority_comes_before_shares(player: Player) -> None:
    player.submit(parallel=4)
    player.inspect()
    urgent = player.submit(parallel=2)
    patch(player, urgent["id"], priority=1)
    player.inspect()
    given = [player.work()["search"] for _ in range(3)]
    assert given[:2] == [urgent["id"]] * 2
    assert given[2] != urgent["id"]
