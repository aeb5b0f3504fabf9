"""A search that begins with what an earlier one has found."""

from collections.abc import Callable
from typing import Any

import pytest

from search_space.contract import TrialKind
from service.store import searches
from service.trials.study_sync import stored_trials
from tests.support.player import SEARCH, TASK, Player, plan
from tests.support.serving import Served

FIRST: dict[str, Any] = {"budget": {"trials": 5}, "baselines": {"original_seeds": 1}}


def run(player: Player, trained: list[str] | None = None) -> None:
    """Train whatever comes; ACON-C in front diverges, the best is SiLU behind anything else."""
    while (assignment := player.lease(wait=0.3)) is not None:
        front, back = (spec["name"] for spec in assignment["candidate"]["sites"].values())
        if trained is not None:
            trained.append(f"{front}-{back}")
        if front == "acon_c":
            player.end(assignment, "failed", failure="diverged", message="NaN")
        else:
            player.train(assignment, 0.9 if back == "silu" else 0.5)


def earlier_of(player: Player, search_id: str) -> list[dict[str, Any]]:
    return [t for t in player.trials(search_id) if t["kind"] == TrialKind.EARLIER]


def choices(trial: dict[str, Any]) -> set[str]:
    return {spec["name"] for spec in trial["candidate"]["sites"].values()}


@pytest.fixture
def first(player: Player) -> dict[str, Any]:
    search = player.submit(**FIRST)
    player.inspect()
    run(player)
    return search


def test_earlier_trials_are_ranked_and_told_to_the_study_and_cost_no_budget(
    served: Served, player: Player, first: dict[str, Any]
) -> None:
    warm = player.submit(warm_start={"search": first["id"]}, budget={"trials": 3})
    player.inspect()
    taken = earlier_of(player, warm["id"])
    found = [t for t in player.trials(first["id"]) if not t["repeat_of"] and t["label"] is None]
    assert {(t["state"], t["value"], t["failure"]) for t in taken} == {
        (t["state"], t["value"], t["failure"]) for t in found
    }
    assert all(t["label"].endswith(f"of {first['id']}") for t in taken)
    with served.context.database.read() as session:
        remembered = stored_trials(session, searches.get(session, warm["id"]))
    assert len(remembered) == len(taken)
    assert all(memory.told is not None for memory in remembered)

    trained: list[str] = []
    run(player, trained)
    ended = player.search(warm["id"])
    assert ended["state"] == "completed"
    known = {"-".join(s["name"] for s in t["candidate"]["sites"].values()) for t in taken}
    assert not known & set(trained), "what is known is not trained again"
    assert len(trained) == 1 + min(3, 9 - len(taken) - 1)
    assert ended["progress"]["finished"] == ended["progress"]["total"]
    assert ended["best"]["value"] == 0.9
    best = player.http.get(f"/searches/{warm['id']}/best").json()
    assert {t["id"] for t in taken if t["value"]} <= {line["trial"] for line in best["ranking"]}


def test_the_luck_line_of_the_history_ends_where_the_ranking_has_it(
    player: Player, first: dict[str, Any]
) -> None:
    three = {"original_seeds": 3, "uniform": False}
    warm = player.submit(warm_start={"search": first["id"]}, budget={"trials": 2}, baselines=three)
    player.inspect()
    while (assignment := player.lease(wait=0.3)) is not None:
        player.train(assignment, 0.5 + assignment["number"] / 100)
    best = player.http.get(f"/searches/{warm['id']}/best").json()
    completed = [t for t in earlier_of(player, warm["id"]) if t["state"] == "completed"]
    proposed = [t for t in player.trials(warm["id"]) if t["kind"] == TrialKind.PROPOSED]
    own = [t for t in proposed if not t["repeat_of"] and not t["replicate_of"]]
    assert best["luck_of"] == len(completed) + len(own) > len(own) > 0
    figure = player.http.get(f"/searches/{warm['id']}/plots/history").json()
    luck = next(trace for trace in figure["data"] if "by luck" in trace["name"])
    assert len(luck["y"]) == best["luck_of"]
    assert luck["y"][-1] == pytest.approx(best["luck"])


def test_a_restart_remembers_what_was_taken_over(
    serve: Callable[..., Served],
) -> None:
    def proposals(disturb: bool) -> list[Any]:
        served = serve()
        player = Player(served)
        search = player.submit(**FIRST)
        player.inspect()
        run(player)
        warm = player.submit(
            warm_start={"search": search["id"]},
            choices=["relu", "silu", "gelu", {"name": "pwlu", "segments": [4, 8]}],
            budget={"trials": 12},
        )
        player.inspect()
        for number in range(12):
            if disturb and number % 4 == 2:
                served.context.studies.discard(warm["id"])
            assignment = player.work()
            player.train(assignment, 0.1 * len(choices(assignment)))
        return [t["candidate"] for t in player.trials(warm["id"])]

    assert proposals(False) == proposals(True)


def test_an_edited_space_takes_over_what_lies_in_it(player: Player, first: dict[str, Any]) -> None:
    warm = player.submit(warm_start={"search": first["id"]}, choices=["relu", "silu", "gelu"])
    player.inspect()
    taken = earlier_of(player, warm["id"])
    assert taken
    assert all(choices(trial) <= {"relu", "silu", "gelu"} for trial in taken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"warm_start": {"search": "s0"}}, "there is no such search"),
        ({"task": {**SEARCH["task"], "epochs": 9}}, "its task was another"),
        (
            {"objective": {"metric": "validation_loss", "direction": "minimize"}},
            "its objective was another",
        ),
    ],
)
def test_what_cannot_be_compared_is_refused(
    player: Player, first: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    body = SEARCH | {"warm_start": {"search": first["id"]}} | changes
    for path in ("/searches", "/searches/preview"):
        response = player.http.post(path, json=body)
        assert response.status_code == 422
        (fault,) = response.json()["errors"]
        assert fault["field"] == "warm_start.search"
        assert message in fault["message"]


def test_another_network_under_the_same_name_fails_the_search(
    player: Player, first: dict[str, Any]
) -> None:
    warm = player.submit(warm_start={"search": first["id"]})
    player.inspect(plan(3))
    failed = player.search(warm["id"])
    assert failed["state"] == "failed"
    assert "had other sites" in failed["reason"]


def test_a_default_length_that_has_changed_fails_the_search(served: Served) -> None:
    player = Player(served)
    first = player.submit(**FIRST)
    player.inspect()
    run(player)
    settings = TASK["settings"]
    longer = settings["properties"] | {"epochs": {"type": "integer", "default": 9}}
    served.http.delete(f"/workers/{player.id}")
    other = Player(served, TASK | {"settings": settings | {"properties": longer}})
    warm = other.submit(warm_start={"search": first["id"]})
    other.inspect()
    assert "trained for 4 epochs" in other.search(warm["id"])["reason"]


def fork(player: Player, search_id: str, **edits: Any) -> dict[str, Any]:
    response = player.http.post(f"/searches/{search_id}/fork", json=edits)
    assert response.status_code == 201, response.text
    return dict(response.json())


def test_a_fork_begins_with_what_lies_in_its_edited_space(
    player: Player, first: dict[str, Any]
) -> None:
    forked = fork(player, first["id"], choices=["relu", "silu", "gelu"], budget={"trials": 3})
    assert forked["document"]["warm_start"] == {"search": first["id"]}
    player.inspect()
    found = [t for t in player.trials(first["id"]) if not t["repeat_of"] and t["label"] is None]
    kept = [t["candidate"] for t in found if choices(t) <= {"relu", "silu"}]
    assert 0 < len(kept) < len(found), "the edit drops a choice that was tried"
    taken = earlier_of(player, forked["id"])
    assert sorted(map(str, (t["candidate"] for t in taken))) == sorted(map(str, kept))
    begun = player.search(forked["id"])["warm_start"]
    assert begun == {"search": first["id"], "taken": len(taken), "reason": None}
    trained: list[str] = []
    run(player, trained)
    assert not {"-".join(s["name"] for s in c["sites"].values()) for c in kept} & set(trained)
    assert player.search(forked["id"])["state"] == "completed"
    # A fork of the fork has all of it, in its own place.
    grandchild = fork(player, forked["id"])
    player.inspect()
    again = {str(t["candidate"]) for t in earlier_of(player, grandchild["id"])}
    assert again > {str(candidate) for candidate in kept}


def test_a_fork_with_warm_start_null_begins_without_earlier_trials(
    player: Player, first: dict[str, Any]
) -> None:
    forked = fork(player, first["id"], warm_start=None)
    assert (forked["document"]["warm_start"], forked["warm_start"]) == (None, None)
    player.inspect()
    assert not earlier_of(player, forked["id"])


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ({"task": {"epochs": 9}}, "its task was another"),
        (
            {"objective": {"metric": "validation_loss", "direction": "minimize"}},
            "its objective was another",
        ),
    ],
)
def test_a_fork_that_cannot_be_compared_names_the_reason(
    player: Player, first: dict[str, Any], edits: dict[str, Any], reason: str
) -> None:
    forked = fork(player, first["id"], **edits)
    assert forked["document"]["warm_start"] is None
    player.inspect()
    begun = player.search(forked["id"])["warm_start"]
    assert (begun["search"], begun["taken"]) == (first["id"], 0)
    assert begun["reason"].startswith(reason)
    asked = {"warm_start": {"search": first["id"]}} | edits
    response = player.http.post(f"/searches/{first['id']}/fork", json=asked)
    assert response.status_code == 422, "who asks for it is told that it cannot be"


def test_a_fork_whose_network_has_changed_begins_without_earlier_trials(
    player: Player, first: dict[str, Any]
) -> None:
    forked = fork(player, first["id"])
    player.inspect(plan(3))
    begun = player.search(forked["id"])
    assert begun["state"] == "queued"
    assert not earlier_of(player, forked["id"])
    assert begun["warm_start"] == {
        "search": first["id"],
        "taken": 0,
        "reason": f"the network of search {first['id']} had other sites",
    }


def test_a_fork_by_its_key_is_the_same_whatever_its_parent_has_found_meanwhile(
    player: Player,
) -> None:
    parent = player.submit(**FIRST)
    url, key = f"/searches/{parent['id']}/fork", {"idempotency-key": "once"}
    forked = player.http.post(url, json={"parallel": 2}, headers=key).json()
    assert forked["warm_start"]["reason"] == "it has found nothing yet"
    player.inspect()
    player.train(player.work(), 0.5)
    player.train(player.work(), 0.5)
    assert player.http.post(url, json={"parallel": 2}, headers=key).json()["id"] == forked["id"]
    assert player.http.post(url, json={"parallel": 3}, headers=key).status_code == 409


def test_values_of_other_code_are_not_compared(served: Served) -> None:
    """A worker that comes back with other code of the task trains another search."""
    player = Player(served, TASK | {"code": "one"})
    first = player.submit(**FIRST)
    player.inspect()
    run(player)
    served.http.delete(f"/workers/{player.id}")
    other = Player(served, TASK | {"code": "two"})
    asked = other.submit(warm_start={"search": first["id"]})
    forked = fork(other, first["id"])
    other.inspect()
    other.inspect()
    failed = other.search(asked["id"])
    assert failed["state"] == "failed"
    assert "was trained by other code: one, now two" in failed["reason"]
    assert "other code" in other.search(forked["id"])["warm_start"]["reason"]
