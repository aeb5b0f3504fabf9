"""What candidates cost: asked for, taken in, and who is infeasible."""

from typing import Any

import pytest

from tests.support.player import Player
from tests.support.serving import Served

FORM = {"batch": 16, "dtype": "float32", "device": "cpu, a processor", "threads": 1}


def ratio(value: float, low: float | None = None, high: float | None = None) -> dict[str, float]:
    return {"value": value, "low": low or value, "high": high or value}


def told(**ratios: dict[str, float]) -> dict[str, Any]:
    return {"form": FORM, "parameters": 10, "flops": 1000, "ratios": ratios}


def say(player: Player, assignment: dict[str, Any], body: dict[str, Any]) -> Any:
    return player.http.post(f"/leases/{assignment['lease']}/measurements", json=body)


def test_measurements_are_stored_with_the_trial(player: Player) -> None:
    player.submit()
    player.inspect()
    assignment = player.work()
    answer = say(player, assignment, told(parameter_ratio=ratio(1.5)))
    assert answer.json() == {"verdict": "continue", "reason": None}
    trial = player.http.get(f"/trials/{assignment['trial']}").json()
    assert trial["measurements"]["ratios"]["parameter_ratio"]["value"] == 1.5
    assert trial["measurements"]["form"]["device"] == FORM["device"]


def test_the_first_measurements_of_a_trial_stand(player: Player) -> None:
    player.submit()
    player.inspect()
    assignment = player.work()
    say(player, assignment, told(parameter_ratio=ratio(1.5)))
    assert say(player, assignment, told(parameter_ratio=ratio(9.0))).status_code == 200
    trial = player.http.get(f"/trials/{assignment['trial']}").json()
    assert trial["measurements"]["ratios"]["parameter_ratio"]["value"] == 1.5


def test_what_was_measured_of_a_candidate_goes_with_its_later_trials(player: Player) -> None:
    player.submit(baselines={"original_seeds": 2, "uniform": False})
    player.inspect()
    first = player.work()
    assert first["measured"] == []
    say(player, first, told(parameter_ratio=ratio(1.0)))
    second = player.work()
    assert second["measured"] == [
        told(parameter_ratio=ratio(1.0))
        | {
            "form": FORM | {"compiled": False, "folded": False, "fused": False},
            "latency_seconds": None,
            "memory_bytes": None,
            "loss_before_swap": None,
            "loss_after_swap": None,
        }
    ]


@pytest.mark.parametrize(
    ("measure", "wanted"),
    [
        ({}, (False, False, None)),
        ({"latency": True, "batch": 8}, (True, False, 8)),
        ({"memory": True}, (False, True, None)),
    ],
)
def test_latency_and_memory_are_measured_where_a_search_asks(
    player: Player, measure: dict[str, Any], wanted: tuple[bool, bool, int | None]
) -> None:
    player.submit(measure=measure)
    player.inspect()
    measuring = player.work()["measuring"]
    assert (measuring["latency"], measuring["memory"], measuring["batch"]) == wanted


def test_an_inspection_measures_nothing(player: Player) -> None:
    player.submit()
    assert player.work()["measuring"] is None


def test_measurements_of_a_lost_lease_change_nothing(player: Player) -> None:
    player.submit()
    player.inspect()
    assignment = player.work()
    player.end(assignment, "failed", failure="user_error", message="broken")
    assert say(player, assignment, told()).status_code == 409
    trial = player.http.get(f"/trials/{assignment['trial']}").json()
    assert trial["measurements"] is None


@pytest.mark.parametrize(
    "body",
    [
        {},
        told() | {"parameters": -1},
        told(latency_ratio={"value": 1.0}),
        told() | {"form": {"batch": 0, "device": "x"}},
    ],
)
def test_measurements_that_say_nothing_are_refused(player: Player, body: dict[str, Any]) -> None:
    player.submit()
    player.inspect()
    assert say(player, player.work(), body).status_code == 422


def test_only_the_attempt_itself_may_tell_its_measurements(serve: Any, tmp_path: Any) -> None:
    token = tmp_path / "token"
    token.write_text("secret")
    served: Served = serve(admin_token_file=token)
    answer = served.http.post("/leases/l1/measurements", json=told())
    assert answer.status_code == 401


LIMITED = {
    "baselines": {"original_seeds": 1, "uniform": False},
    "constraints": {"latency_ratio": 1.2},
}


@pytest.mark.parametrize(
    ("latency", "verdict", "state"),
    [
        (ratio(1.3, 1.25, 1.4), "infeasible", "failed"),
        (ratio(1.3, 1.15, 1.4), "continue", "running"),
        (ratio(1.0, 0.9, 1.1), "continue", "running"),
    ],
)
def test_a_trial_is_infeasible_when_all_of_the_interval_lies_over_the_limit(
    player: Player, latency: dict[str, float], verdict: str, state: str
) -> None:
    player.submit(**LIMITED)
    player.inspect()
    original = player.work()
    assert original["measuring"]["latency"]
    # The original is trained whatever it costs: all others are compared with it.
    assert say(player, original, told(latency_ratio=latency)).json()["verdict"] == "continue"
    player.train(original, 0.5)
    assignment = player.work()
    assert say(player, assignment, told(latency_ratio=latency)).json()["verdict"] == verdict
    trial = player.http.get(f"/trials/{assignment['trial']}").json()
    assert trial["state"] == state
    if verdict == "infeasible":
        assert trial["failure"] == "infeasible"
        assert trial["reason"] == "latency_ratio is 1.3 (1.25 to 1.4), over the limit of 1.2"
        assert say(player, assignment, told(latency_ratio=latency)).status_code == 409


def test_a_ratio_that_is_limited_must_be_told(player: Player) -> None:
    player.submit(**LIMITED)
    player.inspect()
    answer = say(player, player.work(), told(parameter_ratio=ratio(1.0)))
    assert answer.status_code == 422
    assert "latency_ratio is limited and missing" in answer.json()["detail"]
