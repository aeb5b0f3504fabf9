"""The ranking, the luck line, the config: what is claimed and what is not."""

from statistics import NormalDist, mean, stdev
from typing import Any

import pytest

from search_space.contract import read_config
from tests.support.player import Player


def run(player: Player, values: dict[int, float], **changes: Any) -> str:
    """Run a search in which trial number n ends with values[n], 0.5 where it has none."""
    search = player.submit(**changes)
    player.inspect()
    while (assignment := player.lease(wait=0.3)) is not None:
        player.train(assignment, values.get(assignment["number"], 0.5))
    return str(search["id"])


THREE_SEEDS = {"baselines": {"original_seeds": 3, "uniform": True}, "budget": {"trials": 3}}


def test_the_ranking_has_gains_against_the_originals_mean(player: Player) -> None:
    search_id = run(player, {0: 0.50, 1: 0.52, 2: 0.54, 3: 0.60, 4: 0.55, 5: 0.70}, **THREE_SEEDS)
    best = player.http.get(f"/searches/{search_id}/best").json()
    assert best["status"] == "not_confirmed"
    assert best["original"]["mean"] == pytest.approx(0.52)
    assert best["original"]["spread"] == pytest.approx(0.02)
    top, second = best["ranking"][:2]
    assert (top["number"], top["gain"]) == (5, pytest.approx(0.18))
    assert (second["label"], second["rank"]) == ("uniform silu", 2)
    assert top["step_ratio"] == pytest.approx(1.0)
    assert "original" not in {line["label"] for line in best["ranking"]}


def test_a_metric_to_minimise_is_ranked_the_other_way(player: Player) -> None:
    search = player.submit(
        objective={"metric": "validation_loss", "direction": "minimize"},
        baselines={"original_seeds": 1, "uniform": False},
        budget={"trials": 2},
    )
    player.inspect()
    for value in (0.5, 0.3, 0.9):
        lease = player.work()
        report = {"reports": [{"step": 1, "metrics": {"validation_loss": value}}]}
        player.http.post(f"/leases/{lease['lease']}/reports", json=report).raise_for_status()
        player.end(lease)
    ranking = player.http.get(f"/searches/{search['id']}/best").json()["ranking"]
    assert [line["value"] for line in ranking] == [0.3, 0.9]
    assert ranking[0]["gain"] == pytest.approx(0.2)


def test_the_luck_line_is_what_the_best_of_as_many_equal_networks_would_show(
    player: Player,
) -> None:
    seeds = {0: 0.50, 1: 0.52, 2: 0.54}
    search_id = run(player, seeds, **THREE_SEEDS)
    reach = NormalDist().inv_cdf((3 - 0.375) / (3 + 0.25))
    expected = mean(seeds.values()) + stdev(seeds.values()) * reach
    assert player.search(search_id)["luck"] == pytest.approx(expected)


def test_the_luck_line_is_hidden_below_three_seeds(player: Player) -> None:
    two = {"baselines": {"original_seeds": 2, "uniform": False}, "budget": {"trials": 1}}
    assert player.search(run(player, {}, **two))["luck"] is None


def test_the_config_is_the_originals_until_the_unconfirmed_is_asked_for(player: Player) -> None:
    search_id = run(player, {5: 0.9}, **THREE_SEEDS)
    url = f"/searches/{search_id}/best/config"
    original = read_config(player.http.get(url).json())
    assert {spec.name for spec in original.candidate.sites.values()} == {"relu"}
    assert original.provenance["label"] == "original"

    found = read_config(player.http.get(url, params={"unconfirmed": True}).json())
    trial = player.trials(search_id)[5]
    assert found.provenance["trial"] == trial["id"]
    assert found.provenance["verdict"] == "not_confirmed"
    assert found.provenance["metrics"] == {"validation_accuracy": 0.9}
    assert {k: v.name for k, v in found.candidate.sites.items()} == {
        k: v["name"] for k, v in trial["candidate"]["sites"].items()
    }
    assert found.fingerprint == found.plan.fingerprint


def test_there_is_no_config_before_there_is_a_plan_or_a_candidate(player: Player) -> None:
    search = player.submit()
    url = f"/searches/{search['id']}/best/config"
    assert "has not been inspected" in player.http.get(url).json()["detail"]
    player.inspect()
    assert player.http.get(url).status_code == 200
    response = player.http.get(url, params={"unconfirmed": True})
    assert (response.status_code, "no candidate" in response.json()["detail"]) == (409, True)


def test_a_search_whose_sites_match_nothing_has_no_config_and_says_why(player: Player) -> None:
    search = player.submit(sites={"per": "layer", "include": ["nothing/*"]})
    player.inspect()
    failed = player.search(search["id"])
    assert (failed["state"], "nothing/*" in failed["reason"]) == ("failed", True)
    for parameters in ({}, {"unconfirmed": True}):
        response = player.http.get(f"/searches/{search['id']}/best/config", params=parameters)
        assert response.status_code == 409
        assert response.json()["type"].endswith("not-ready")
        assert f"the search failed: {failed['reason']}" in response.json()["detail"]


def test_a_search_whose_sites_match_nothing_has_empty_figures_and_exports(player: Player) -> None:
    search = player.submit(sites={"per": "layer", "include": ["nothing/*"]})
    player.inspect()
    url = f"/searches/{search['id']}"
    plots = [plot["name"] for plot in player.http.get(f"{url}/plots").json()]
    answers = {name: player.http.get(f"{url}/plots/{name}").status_code for name in plots}
    assert answers == dict.fromkeys(plots, 200)
    assert player.http.get(f"{url}/optuna").status_code in (200, 202)
    assert player.http.get(f"{url}/best/bundle").status_code == 409


def test_the_history_figure_shows_what_was_found(player: Player) -> None:
    search_id = run(player, {5: 0.9}, **THREE_SEEDS)
    figure = player.http.get(f"/searches/{search_id}/plots/history").json()
    traces = {trace["name"]: trace for trace in figure["data"]}
    assert traces["original"]["x"] == [0, 1, 2]
    assert traces["uniform"]["text"] == ["uniform silu", "uniform acon_c"]
    assert traces["best so far"]["y"][-1] == 0.9
    assert player.http.get(f"/searches/{search_id}/plots/nothing").status_code == 404


def test_workers_tasks_and_activations_are_listed(player: Player) -> None:
    player.submit()
    player.inspect()
    assignment = player.work()
    (worker,) = player.http.get("/workers").json()
    assert (worker["id"], worker["alive"], worker["slots"]) == (player.id, True, 4)
    assert worker["running"] == [assignment["trial"]]
    (task,) = player.http.get("/tasks").json()
    assert task["settings"]["properties"]["network"]["enum"] == ["small-cnn", "resnet20"]
    entries = {entry["name"]: entry for entry in player.http.get("/activations").json()}
    assert entries["pwlu"]["parameters"][0]["name"] == "segments"
    assert entries["pwlu"]["phases"]
