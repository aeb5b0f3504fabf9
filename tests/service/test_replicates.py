"""Leaders on new seeds: a candidate's value is the mean over its trainings."""

from statistics import mean
from typing import Any

import pytest

from service.store import searches
from service.trials.study_sync import stored_trials
from tests.support.player import Player
from tests.support.serving import Served

REPLICATES: dict[str, Any] = {
    "choices": ["relu", "silu", "gelu", "tanh", "elu"],
    "baselines": {"original_seeds": 3, "uniform": False},
    "budget": {"trials": 18},
    "replicates": {"share": 0.2, "leaders": 1, "seeds": 3},
}
LUCKY = 0.9


def run(player: Player, **changes: Any) -> dict[str, Any]:
    """Run a search in which the first GELU in front is lucky once, and middling on new seeds."""
    search = player.submit(**REPLICATES | changes)
    player.inspect()
    tried: list[Any] = []
    while (assignment := player.lease(wait=0.3)) is not None:
        first = assignment["candidate"]["sites"]["block0.act"]["name"]
        is_again = assignment["candidate"] in tried
        tried.append(assignment["candidate"])
        value = 0.5 + 0.001 * assignment["number"]
        player.train(assignment, LUCKY if first == "gelu" and not is_again else value)
    return search


def test_the_ranking_has_the_mean_over_the_seeds(player: Player) -> None:
    search = run(player)
    trials = player.trials(search["id"])
    by_id = {trial["id"]: trial for trial in trials}
    again = [trial for trial in trials if trial["replicate_of"]]
    assert 0 < len(again) <= 0.2 * 18
    assert all(trial["kind"] == "proposed" for trial in again)
    leader = by_id[again[0]["replicate_of"]]
    assert leader["value"] == LUCKY
    values = [leader["value"], *(t["value"] for t in again if t["replicate_of"] == leader["id"])]
    assert len({trial["seed"] for trial in [leader, *again]}) == 1 + len(again)

    best = player.http.get(f"/searches/{search['id']}/best").json()
    line = next(line for line in best["ranking"] if line["trial"] == leader["id"])
    assert line["value"] == pytest.approx(mean(values))
    assert line["seeds"] == len(values) > 1
    ids = [line["trial"] for line in best["ranking"]]
    assert not {trial["id"] for trial in again} & set(ids), "a candidate stands there once"
    assert best["luck_of"] == len({t["id"] for t in trials if t["kind"] == "proposed"}) - len(
        [t for t in trials if t["replicate_of"] or t["repeat_of"]]
    )
    values_in_order = [line["value"] for line in best["ranking"]]
    assert values_in_order == sorted(values_in_order, reverse=True)
    top = player.search(search["id"])["best"]
    assert (top["trial"], top["value"]) == (ids[0], values_in_order[0])


def test_figures_show_the_mean_over_the_seeds(player: Player) -> None:
    search = player.submit(**REPLICATES)
    player.inspect()
    values: dict[str, list[float]] = {}
    while (assignment := player.lease(wait=0.3)) is not None:
        value = LUCKY if assignment["number"] == 3 else 0.5 + 0.001 * assignment["number"]
        values.setdefault(str(assignment["candidate"]), []).append(value)
        player.train(assignment, value)
    assert max(len(found) for found in values.values()) == 3, "the leader was trained again"
    best = max(mean(found) for found in values.values())
    drawn = player.http.get(f"/searches/{search['id']}/plots/history").json()
    line = next(one for one in drawn["data"] if one["name"] == "best so far")["y"]
    assert (max(line), line[-1]) == (LUCKY, pytest.approx(best))
    assert best < LUCKY
    cells = player.http.get(f"/searches/{search['id']}/plots/heat").json()["data"][0]["customdata"]
    networks = len(values) - 1  # The original is drawn apart.
    assert {sum(count for count, *_ in row) for row in cells} == {networks}
    assert player.search(search["id"])["best"]["value"] == pytest.approx(best)


def test_replicates_cost_budget_and_have_no_place_in_the_study(served: Served) -> None:
    player = Player(served)
    search = run(player)
    trials = player.trials(search["id"])
    spent = [t for t in trials if t["kind"] == "proposed" and not t["repeat_of"]]
    assert len(spent) == 18
    ranking = player.http.get(f"/searches/{search['id']}/best").json()["ranking"]
    means = {line["value"] for line in ranking}
    with served.context.database.read() as session:
        remembered = stored_trials(session, searches.get(session, search["id"]))
    in_study = len([t for t in trials if t["kind"] == "proposed"]) - len(
        [t for t in trials if t["replicate_of"]]
    )
    # The original has its place too, since ReLU is offered.
    assert len(remembered) == in_study + 1
    told = {memory.told.values[0] for memory in remembered if memory.told}
    assert all(any(value == pytest.approx(mean) for mean in told) for value in means)


def test_no_leader_is_trained_more_often_than_asked(player: Player) -> None:
    search = run(player, replicates={"share": 0.2, "leaders": 2, "seeds": 2})
    again = [t["replicate_of"] for t in player.trials(search["id"]) if t["replicate_of"]]
    assert again
    assert len(set(again)) == len(again)


def test_without_a_share_nothing_is_trained_twice(player: Player) -> None:
    search = run(player, replicates={"share": 0})
    assert not [t for t in player.trials(search["id"]) if t["replicate_of"]]
