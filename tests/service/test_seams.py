"""Where parts of a search meet: hours and extensions, pauses and confirmations, repeats, forks."""

from collections.abc import Callable
from typing import Any

import pytest

from service.store import searches
from service.trials.study_sync import stored_trials
from tests.service.test_changes import pass_time
from tests.service.test_confirmation import names
from tests.support.invariants import broken
from tests.support.player import Player
from tests.support.serving import Served

HOUR = 3600
SMALL: dict[str, Any] = {
    "choices": ["relu", "silu", "gelu"],
    "sites": {"per": "network"},
    "replicates": {"share": 0},
    "parallel": 2,
}
CONFIRMED: dict[str, Any] = SMALL | {
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 2, "hours": 100},
    "confirm": {"shortlist": 1, "seeds": 3},
}


def silu(assignment: dict[str, Any]) -> float:
    """A value by which `silu` is better, and no two trials are equal."""
    better = names(assignment["candidate"]) == {"silu"}
    return float(0.5 + 0.3 * better + 1e-4 * assignment["number"])


def train(player: Player, assignment: dict[str, Any], value: float) -> None:
    player.report(assignment, 1, value)
    confirms = assignment["kind"] == "confirmation"
    player.end(assignment, test={"test_accuracy": value} if confirms else {})


def train_all(player: Player, value: Callable[[dict[str, Any]], float] = silu) -> None:
    while (assignment := player.lease(wait=0.3)) is not None:
        train(player, assignment, value(assignment))


def until_confirming(player: Player, trainings: int) -> dict[str, Any]:
    """Train until so many seeds of the confirmation have been; return the next one."""
    while True:
        assignment = player.work()
        if assignment["kind"] == "confirmation":
            trainings -= 1
            if trainings < 0:
                return assignment
        train(player, assignment, silu(assignment))


def best(player: Player, search_id: str) -> dict[str, Any]:
    return dict(player.http.get(f"/searches/{search_id}/best").raise_for_status().json())


def change(player: Player, search_id: str, **budget: float) -> None:
    player.http.patch(f"/searches/{search_id}", json={"budget": budget}).raise_for_status()


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_a_factor_that_does_not_matter_keeps_no_repeat_waiting(
    player: Player, served: Served, sampler: str
) -> None:
    """No learned activation, no rate of its own: whatever that is, the network is the same."""
    search = player.submit(
        **SMALL
        | {
            "choices": ["relu", "silu", "acon_c"],
            "baselines": {"original_seeds": 1, "uniform": True},
            "budget": {"trials": 5},
            "sampler": {"name": sampler, "seed": 1},
            "hyperparameters": {"activation_learning_rate_factor": [0.5, 2]},
        }
    )
    player.inspect()
    train_all(player)
    assert player.search(search["id"])["state"] == "completed"
    assert player.search(search["id"])["spent"]["trials"] == 2
    assert broken(served.context.database.engine, search["id"]) == {}


def test_a_repeat_of_a_trial_that_runs_on_waits_for_its_end(player: Player, served: Served) -> None:
    search = player.submit(
        **SMALL
        | {
            "choices": ["relu", "silu"],
            "baselines": {"original_seeds": 0, "uniform": False},
            "hyperparameters": {"learning_rate_factor": [0.25, 0.5, 1, 2, 3, 4, 5, 6, 7, 8]},
            "pruner": {"name": "median", "run_on": 1.0},
            "sampler": {"name": "random", "seed": 1},
            "budget": {"trials": 20},
        }
    )
    player.inspect()
    for _ in range(6):
        player.train(player.work(), 0.9, 0.9, 0.9, 0.9)
    runs_on = player.work()
    for step in (1, 2, 3):
        player.report(runs_on, step, 0.1)
    while (assignment := player.lease(wait=0.3)) is not None:
        player.train(assignment, 0.9, 0.9, 0.9, 0.9)
    trials = player.trials(search["id"])
    waiting = [trial for trial in trials if trial["repeat_of"] == runs_on["trial"]]
    assert waiting, "or nothing is shown"
    assert {trial["state"] for trial in waiting} == {"waiting"}
    player.report(runs_on, 4, 0.1)
    player.end(runs_on)
    assert player.search(search["id"])["state"] == "completed"
    assert broken(served.context.database.engine, search["id"]) == {}


def test_what_spent_hours_cancelled_is_trained_when_there_are_more(
    player: Player, served: Served
) -> None:
    search = player.submit(
        **SMALL
        | {
            "baselines": {"original_seeds": 2, "uniform": True},
            "budget": {"trials": 5, "hours": 2},
            "sampler": {"name": "random", "seed": 3},
            "hyperparameters": {"learning_rate_factor": [0.5, 1]},
        }
    )
    player.inspect()
    first = player.work()
    pass_time(served, 3 * HOUR)
    train(player, first, 0.5)
    assert player.lease(wait=0.3) is None
    assert player.search(search["id"])["state"] == "completed"
    assert player.search(search["id"])["counts"]["cancelled"] == 3

    change(player, search["id"], hours=1000)
    train_all(player)
    assert player.search(search["id"])["counts"].keys() == {"completed"}
    assert best(player, search["id"])["original"]["values"][1:], "both of its seeds"
    assert broken(served.context.database.engine, search["id"]) == {}


def test_a_search_that_is_extended_while_it_is_paused_confirms_again(player: Player) -> None:
    search = player.submit(
        **CONFIRMED | {"hyperparameters": {"learning_rate_factor": [0.25, 0.5, 1, 2]}}
    )
    player.inspect()
    paused = until_confirming(player, 1)
    player.http.post(f"/searches/{search['id']}/pause").raise_for_status()
    change(player, search["id"], trials=6)
    assert player.report(paused, 1, 0.5).json()["verdict"] == "release"
    player.end(paused, "released")
    player.http.post(f"/searches/{search['id']}/resume").raise_for_status()

    old = len(player.trials(search["id"]))
    train_all(player, lambda one: 0.99 if one["kind"] == "proposed" else silu(one))
    trials = {trial["number"]: trial for trial in player.trials(search["id"])}
    top = best(player, search["id"])["ranking"][0]
    winners = [trial for trial in trials.values() if trial["label"] == "winner"]
    assert top["number"] >= old
    assert [trial["candidate"] for trial in winners[3:]] == [top["candidate"]] * 3


def test_seeds_that_spent_hours_have_stopped_are_missed(player: Player, served: Served) -> None:
    """And once there are hours again, all of them are trained anew."""
    search = player.submit(**CONFIRMED | {"parallel": 16})
    player.inspect()
    seeds = [until_confirming(player, 0)]
    while (assignment := player.lease(wait=0.3)) is not None:
        seeds.append(assignment)
    labels = {trial["id"]: trial["label"] for trial in player.trials(search["id"])}
    whole = {"winner": 2, "original network": 2}
    for assignment in list(seeds):
        if whole[labels[assignment["trial"]]]:
            whole[labels[assignment["trial"]]] -= 1
            train(player, assignment, silu(assignment))
            seeds.remove(assignment)
    pass_time(served, 200 * HOUR)
    for assignment in seeds:
        assert player.report(assignment, 1, silu(assignment)).json()["verdict"] == "stop"
        player.end(assignment, "stopped")
    found = best(player, search["id"])
    assert (found["status"], found["comparisons"]) == ("not_confirmed", [])
    assert "were cut off" in found["claim"]

    change(player, search["id"], hours=1000)
    train_all(player)
    found = best(player, search["id"])
    assert len(found["comparisons"]) == 1
    assert "3 seeds" in found["claim"]
    assert found["claim"].endswith("the level is 2.5 % instead of 5 %")


def test_the_claim_counts_seeds_of_the_winner_that_failed(player: Player) -> None:
    search = player.submit(**CONFIRMED)
    player.inspect()
    diverged = until_confirming(player, 0)
    player.end(diverged, "failed", failure="diverged", message="the loss is NaN")
    train_all(player)
    claim = best(player, search["id"])["claim"]
    assert "2 seeds" in claim
    assert claim.endswith("on 1 of 3 seeds its training failed, which is left out")


def test_what_was_never_measured_is_not_taken_over_under_a_limit(player: Player) -> None:
    without = CONFIRMED | {"confirm": None, "budget": {"trials": 2}}
    parent = player.submit(**without)
    player.inspect()
    train_all(player)
    edits = {"constraints": {"latency_ratio": 1.1}}
    answer = player.http.post(f"/searches/{parent['id']}/fork", json=edits)
    fork = answer.raise_for_status().json()["id"]
    player.inspect()
    assert "earlier" not in {trial["kind"] for trial in player.trials(fork)}


def test_a_repeat_of_the_original_is_one_of_its_mean_though_its_first_seed_failed(
    player: Player, served: Served
) -> None:
    search = player.submit(
        **SMALL
        | {
            "baselines": {"original_seeds": 2, "uniform": False},
            "budget": {"trials": 2},
            "sampler": {"name": "random", "seed": 0},
        }
    )
    player.inspect()
    first = player.work()
    player.end(first, "failed", failure="diverged", message="the loss is NaN")
    train_all(player)
    trials = player.trials(search["id"])
    repeats = [trial for trial in trials if trial["repeat_of"] == first["trial"]]
    assert repeats, "or nothing is shown"
    mean = best(player, search["id"])["original"]["mean"]
    for repeat in repeats:
        found = repeat["state"], repeat["value"], repeat["failure"]
        assert found == ("completed", mean, None)
    with served.context.database.read() as session:
        remembered = stored_trials(session, searches.get(session, search["id"]))
    told = [memory.told for memory in remembered if memory.params == {"network": "relu"}]
    assert len(told) == 1 + len(repeats)
    assert all(one is not None and one.values == (mean,) for one in told)
    assert all(one is not None and one.constraints["infeasible"] == 0 for one in told)
