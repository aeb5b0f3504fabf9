"""Several objectives and constraints: what is stored, told, shown and refused."""

from typing import Any

import optuna
import pytest

from service.store import searches
from service.trials.study_sync import stored_trials
from tests.support.player import Player
from tests.support.serving import Served

BOTH = [
    {"metric": "validation_accuracy", "direction": "maximize"},
    {"metric": "validation_loss", "direction": "minimize"},
]
WITH_LATENCY = [BOTH[0], {"metric": "latency_ratio", "direction": "minimize"}]
LATENCY: dict[str, float] = {"relu": 1.0, "silu": 1.1, "acon_c": 1.5}
SEVERAL: dict[str, Any] = {
    "baselines": {"original_seeds": 1, "uniform": True},
    "budget": {"trials": 6},
    "objective": BOTH,
}


def submit(player: Player, **changes: Any) -> dict[str, Any]:
    """Submit a search that leaves pruner and confirmation to their defaults."""
    search = player.submit(**SEVERAL | {"pruner": {"name": "none"}, "confirm": None} | changes)
    player.inspect()
    return search


def names(assignment: dict[str, Any]) -> list[str]:
    return [spec["name"] for spec in assignment["candidate"]["sites"].values()]


def measure(player: Player, assignment: dict[str, Any]) -> str:
    ratio = sum(LATENCY[name] for name in names(assignment)) / len(names(assignment))
    body = {
        "form": {"batch": 8, "device": "cpu", "threads": 1},
        "parameters": 10,
        "flops": 10,
        "ratios": {"latency_ratio": {"value": ratio, "low": ratio - 0.01, "high": ratio + 0.01}},
    }
    url = f"/leases/{assignment['lease']}/measurements"
    return str(player.http.post(url, json=body).raise_for_status().json()["verdict"])


def train(player: Player, assignment: dict[str, Any], accuracy: float, loss: float) -> None:
    metrics = {"validation_accuracy": accuracy, "validation_loss": loss}
    url = f"/leases/{assignment['lease']}/reports"
    player.http.post(url, json={"reports": [{"step": 1, "metrics": metrics}]}).raise_for_status()
    assert player.end(assignment).status_code == 204


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "qmc", "grid"])
def test_the_front_has_what_nothing_beats_in_all_objectives(player: Player, sampler: str) -> None:
    search = submit(player, sampler={"name": sampler})
    points = {}
    while (assignment := player.lease(wait=0.3)) is not None:
        number = assignment["number"]
        point = (round(0.5 + 0.1 * (number % 4), 3), round(0.9 - 0.07 * number % 0.5, 3))
        points[assignment["trial"]] = point
        train(player, assignment, *point)
    assert player.search(search["id"])["state"] == "completed"
    trials = [t for t in player.trials(search["id"]) if t["repeat_of"] is None]
    assert {t["id"]: tuple(t["values"]) for t in trials} == points
    assert all(t["value"] == t["values"][0] for t in trials)

    front = player.http.get(f"/searches/{search['id']}/best").json()["pareto"]
    beaten = {
        one
        for one, (accuracy, loss) in points.items()
        for other, (better, lower) in points.items()
        if better >= accuracy and lower <= loss and (better, lower) != (accuracy, loss)
    }
    assert {line["trial"] for line in front} == points.keys() - beaten
    accuracies = [line["values"]["validation_accuracy"] for line in front]
    assert accuracies == sorted(accuracies, reverse=True)


def test_a_front_has_no_winner_and_says_so(player: Player) -> None:
    response = player.http.post(
        "/searches",
        json={"task": player.submit()["document"]["task"], "objective": BOTH, "choices": ["relu"]},
    )
    document = response.raise_for_status().json()["document"]
    assert (document["pruner"]["name"], document["confirm"]) == ("none", None)
    assert document["replicates"]["share"] == 0
    best = player.http.get(f"/searches/{response.json()['id']}/best").json()
    assert (best["status"], best["pareto"]) == ("not_confirmed", [])
    assert "no single winner" in best["claim"]


def test_one_objective_has_no_front(player: Player) -> None:
    search = submit(player, objective=BOTH[0], budget={"trials": 1})
    while (assignment := player.lease(wait=0.3)) is not None:
        train(player, assignment, 0.5, 0.5)
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["pareto"] == []
    assert player.trials(search["id"])[0]["values"] is None


def test_a_report_lacks_none_of_the_objectives(player: Player) -> None:
    submit(player)
    response = player.report(player.work(), 1, 0.5)
    assert response.status_code == 422
    assert "'validation_loss' is missing" in response.json()["errors"][0]["message"]


def test_a_measured_objective_is_no_metric_of_reports(served: Served) -> None:
    player = Player(served)
    search = submit(player, objective=WITH_LATENCY, budget={"trials": 2})
    while (assignment := player.lease(wait=0.3)) is not None:
        assert measure(player, assignment) == "continue"
        player.train(assignment, 0.5)
    for trial in player.trials(search["id"]):
        assert trial["values"][1] == pytest.approx(sum(LATENCY[name] for name in names(trial)) / 2)
    with served.context.database.read() as session:
        told = [m.told for m in stored_trials(session, searches.get(session, search["id"]))]
    assert all(one is not None and len(one.values) == 2 for one in told)


def test_an_objective_that_nobody_measured_fails_the_trial(player: Player) -> None:
    search = submit(player, objective=WITH_LATENCY)
    assignment = player.work()
    player.report(assignment, 1, 0.5)
    player.end(assignment)
    trial = player.trials(search["id"])[0]
    assert (trial["state"], trial["failure"]) == ("failed", "user_error")
    assert trial["reason"] == "latency_ratio is an objective and was not measured"


def test_every_constraint_is_set_in_every_trial(served: Served) -> None:
    player = Player(served)
    limits = {"latency_ratio": 1.2, "parameter_ratio": None}
    search = submit(player, objective=BOTH[0], constraints=limits, budget={"trials": 4})
    ends = []
    while (assignment := player.lease(wait=0.3)) is not None:
        if assignment["number"] == 1:
            player.end(assignment, "failed", failure="diverged", message="NaN")
            ends.append("diverged")
        elif assignment["number"] == 2:
            player.end(assignment, "failed", failure="user_error", message="broken")
            ends.append("user_error")
        elif measure(player, assignment) == "continue":
            train(player, assignment, 0.5, 0.5)
            ends.append("completed")
        else:
            ends.append("infeasible")
    with served.context.database.read() as session:
        remembered = stored_trials(session, searches.get(session, search["id"]))
    assert {"diverged", "completed", "infeasible"} <= set(ends)
    for memory in remembered:
        assert memory.told is not None
        assert set(memory.told.constraints) == {"infeasible", "latency_ratio"}
        stored = {k: v for k, v in memory.attrs.items() if k.startswith("constraints:")}
        assert stored == {f"constraints:{k}": v for k, v in memory.told.constraints.items()}
    slow = [m.told for m in remembered if m.told and m.told.constraints["latency_ratio"] > 0]
    assert slow
    for told in slow:
        assert told.state is optuna.trial.TrialState.PRUNED
        assert told.constraints["infeasible"] == 0
    infeasible = [m.told for m in remembered if m.told and m.told.constraints["infeasible"] > 0]
    assert len(infeasible) == 1


def test_the_constraints_stand_in_the_searchs_own_document(player: Player) -> None:
    limits = {"latency_ratio": 1.2, "parameter_ratio": None, "memory_ratio": None}
    assert player.submit(constraints=limits)["document"]["constraints"] == limits
