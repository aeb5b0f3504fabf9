"""Figures and exports, over HTTP: what they say of a search, and that they stay small."""

from pathlib import Path
from typing import Any

import httpx2
import optuna
import optuna_dashboard
import psutil
import pytest
from optuna.storages import RDBStorage

from service.insight.plots import PLOTS
from tests.support.crowd import crowd
from tests.support.player import Player
from tests.support.serving import Served

CHOICES = ["relu", "silu", {"name": "pwlu", "segments": [4, 8]}]
FIRST, SECOND = "block0.act", "block1.act"


@pytest.fixture(scope="module")
def served(shared: Served) -> Served:
    return shared


@pytest.fixture(scope="module")
def player(served: Served) -> Player:
    return Player(served)


@pytest.fixture(scope="module")
def small(player: Player) -> str:
    """Return a search of a few trials, run to its end; one is stopped, one diverges."""
    search = player.submit(
        name="small",
        choices=CHOICES,
        baselines={"original_seeds": 2, "uniform": True},
        budget={"trials": 6},
        sampler={"name": "random", "seed": 1},
        pruner={"name": "median"},
        sites={"per": "layer"},
        hyperparameters={"learning_rate_factor": {"low": 0.5, "high": 2.0}},
    )
    player.inspect()
    while (assignment := player.lease(wait=0.3)) is not None:
        number = assignment["number"]
        if number == 6:
            player.report(assignment, 1, 0.1)
            player.end(assignment, "failed", failure="diverged", message="not a number")
        else:
            player.train(assignment, *([0.1] * 4 if number == 9 else [0.5, 0.6, 0.7, 0.8]))
    return str(search["id"])


@pytest.fixture(scope="module")
def large(player: Player, served: Served) -> str:
    """Return a search of thousands of trials, in which `silu` at the first site matters."""
    search = player.submit(
        choices=CHOICES,
        baselines={"original_seeds": 0, "uniform": False},
        budget={"trials": 3000},
        sites={"per": "layer"},
        hyperparameters={"learning_rate_factor": [0.5, 1.0]},
    )
    player.inspect()
    crowd(served.context.database, search["id"], 2000)
    served.http.post(f"/searches/{search['id']}/pause").raise_for_status()
    return str(search["id"])


def figure(served: Served, search: str, name: str) -> dict[str, Any]:
    return dict(served.http.get(f"/searches/{search}/plots/{name}").raise_for_status().json())


def trace(figure: dict[str, Any], name: str) -> dict[str, Any]:
    return next(trace for trace in figure["data"] if trace["name"] == name)


def test_every_plot_is_listed_with_what_it_shows(served: Served, small: str) -> None:
    listed = served.http.get(f"/searches/{small}/plots").json()
    assert {plot["name"] for plot in listed} == set(PLOTS)
    for plot in listed:
        assert len(plot["description"]) > 20
        assert served.http.get(plot["url"].removeprefix("/v1")).json()["data"] is not None


@pytest.mark.parametrize("name", sorted(PLOTS))
def test_a_figure_has_at_most_a_thousand_points(served: Served, large: str, name: str) -> None:
    drawn = figure(served, large, name)
    points = sum(len(trace.get("x", [])) for trace in drawn["data"])
    points += sum(len(trace["dimensions"][0]["values"]) for trace in _parallel(drawn))
    assert 0 < points <= 1000 or name == "timeline"


@pytest.mark.parametrize("name", sorted(PLOTS))
def test_a_search_that_has_nothing_yet_has_empty_figures(
    served: Served, player: Player, name: str
) -> None:
    search = player.submit(
        task={"name": "image-classification", "dataset": "fashion-mnist", "network": "resnet20"}
    )
    try:
        assert "layout" in figure(served, search["id"], name)
    finally:
        served.http.post(f"/searches/{search['id']}/cancel").raise_for_status()


def test_what_matters_is_told_from_chance_and_the_rest_is_not(served: Served, large: str) -> None:
    drawn = figure(served, large, "importance")
    assert trace(drawn, "told from chance")["y"] == [FIRST]
    assert set(trace(drawn, "could be chance")["y"]) == {SECOND, "learning_rate_factor"}
    shares = [x for one in drawn["data"][:2] for x in one["x"]]
    assert sum(shares) == pytest.approx(1)
    assert drawn["layout"]["meta"]["sites"] == {FIRST: [FIRST], SECOND: [SECOND]}
    assert drawn["layout"]["meta"]["trials"] <= 1000 < drawn["layout"]["meta"]["of"]


def test_too_few_trials_have_no_importance(served: Served, small: str) -> None:
    drawn = figure(served, small, "importance")
    assert all(one["x"] == [] for one in drawn["data"])
    assert drawn["layout"]["meta"]["least"] == 20


def test_the_heat_map_counts_and_gives_intervals(served: Served, large: str) -> None:
    drawn = figure(served, large, "heat")["data"][0]
    assert drawn["y"] == [FIRST, SECOND]
    assert drawn["x"] == ["pwlu", "relu", "silu"]
    best, others = drawn["z"][0][2], drawn["z"][0][:2]
    assert best - max(others) == pytest.approx(0.05, abs=0.005)
    counts = [cell[0] for cell in drawn["customdata"][0]]
    done = served.http.get(f"/searches/{large}").json()["counts"]["completed"]
    assert sum(counts) == done
    _, low, high = drawn["customdata"][0][2]
    assert low < best < high
    assert high - low < 0.01


def test_the_history_keeps_every_record_of_a_long_search(served: Served, large: str) -> None:
    drawn = figure(served, large, "history")
    best = served.http.get(f"/searches/{large}").json()["best"]
    assert max(trace(drawn, "candidates")["y"]) == best["value"]
    assert trace(drawn, "best so far")["y"][-1] == best["value"]


def test_the_rungs_say_how_many_went_on(served: Served, large: str) -> None:
    drawn = figure(served, large, "rungs")
    counts = served.http.get(f"/searches/{large}").json()["counts"]
    reached = trace(drawn, "reached this epoch")
    assert dict(zip(reached["x"], reached["y"], strict=True)) == {
        1: 2000,
        4: counts["completed"],
    }
    assert trace(drawn, "stopped here")["y"] == [counts["stopped"]]


def test_the_timeline_has_a_bar_for_every_attempt(served: Served, small: str) -> None:
    drawn = figure(served, small, "timeline")
    bars = {one["name"]: len(one["y"]) for one in drawn["data"]}
    assert bars["failed"] == 1
    assert sum(bars.values()) == 1 + sum(
        served.http.get(f"/searches/{small}").json()["counts"].values()
    )


def test_the_pareto_front_is_not_beaten_in_both(served: Served, large: str) -> None:
    drawn = figure(served, large, "pareto")
    front, others = trace(drawn, "not beaten in both"), trace(drawn, "other networks")
    assert front["y"] == sorted(front["y"])
    for x, y in zip(others["x"], others["y"], strict=True):
        assert any(fx <= x and fy >= y for fx, fy in zip(front["x"], front["y"], strict=True))


def test_a_figure_is_sent_again_only_when_it_has_changed(served: Served, large: str) -> None:
    url = f"/searches/{large}/plots/history"
    tag = served.http.get(url).headers["etag"]
    assert served.http.get(url, headers={"if-none-match": tag}).status_code == 304
    assert served.http.get(url, headers={"if-none-match": '"other"'}).status_code == 200


def test_an_unknown_plot_is_refused(served: Served, small: str) -> None:
    answer = served.http.get(f"/searches/{small}/plots/nothing")
    assert answer.status_code == 404
    assert "nothing" in answer.json()["detail"]


def test_optuna_loads_the_export(served: Served, small: str, tmp_path: Path) -> None:
    study = load(served, small, tmp_path)
    told = [
        t
        for t in all_trials(served, small)
        if t["kind"] != "confirmation" and t["label"] != "original"
    ]
    assert study.study_name == "small"
    assert study.direction == optuna.study.StudyDirection.MAXIMIZE
    by_number = {trial.user_attrs["number"]: trial for trial in study.trials}
    assert {t["number"] for t in told} <= set(by_number)
    for one in told:
        trial = by_number[one["number"]]
        states = {"completed": "COMPLETE", "stopped": "PRUNED", "failed": "PRUNED"}
        assert trial.state.name == states[one["state"]]
        assert trial.user_attrs["network"] == one["candidate"]
        assert trial.params.keys() >= {FIRST, SECOND}
        if one["state"] == "completed":
            assert trial.value == one["value"] == 0.8
            assert trial.intermediate_values == {1: 0.5, 2: 0.6, 3: 0.7, 4: 0.8}
    assert by_number[6].constraints == {"infeasible": 1.0}
    assert study.best_value == 0.8


def test_an_exported_study_can_go_on(served: Served, small: str, tmp_path: Path) -> None:
    study = load(served, small, tmp_path)
    trial = study.ask()
    assert trial.suggest_categorical(FIRST, ("relu", "silu", "pwlu")) in ("relu", "silu", "pwlu")


def test_optuna_dashboard_opens_the_export(served: Served, small: str, tmp_path: Path) -> None:
    study = load(served, small, tmp_path)
    storage = RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    seen = httpx2.WSGITransport(optuna_dashboard.wsgi(storage))
    with httpx2.Client(transport=seen, base_url="http://dashboard") as http:
        (listed,) = http.get("/api/studies").raise_for_status().json()["study_summaries"]
        shown = http.get(f"/api/studies/{listed['study_id']}?after=0").raise_for_status().json()
        page = http.get("/dashboard/").raise_for_status()
    assert listed["study_name"] == study.study_name
    assert len(shown["trials"]) == len(study.trials)
    best = max(value for trial in shown["trials"] for value in trial.get("values", ()))
    assert float(best) == study.best_value
    assert "optuna" in page.text.lower()


def test_what_was_killed_while_drawing_is_started_again(served: Served, player: Player) -> None:
    search = player.submit(choices=["relu", "silu"])
    player.inspect()
    assert "layout" in figure(served, search["id"], "heat")
    for child in psutil.Process().children():
        if "service.rendering.process" in " ".join(child.cmdline()):
            child.kill()
            child.wait()
    assert "layout" in figure(served, search["id"], "parallel")
    served.http.post(f"/searches/{search['id']}/cancel").raise_for_status()


def all_trials(served: Served, search: str) -> list[dict[str, Any]]:
    answer = served.http.get(f"/searches/{search}/trials", params={"limit": 500})
    return list(answer.raise_for_status().json()["items"])


def load(served: Served, search: str, folder: Path) -> optuna.Study:
    answer = served.http.get(f"/searches/{search}/optuna")
    while answer.status_code == 202:
        answer = served.http.get(f"/searches/{search}/optuna")
    assert answer.status_code == 200, answer.text
    path = folder / "study.db"
    path.write_bytes(answer.content)
    return optuna.load_study(study_name=None, storage=f"sqlite:///{path}")


def _parallel(figure: dict[str, Any]) -> list[dict[str, Any]]:
    return [trace for trace in figure["data"] if trace["type"] == "parcoords"]
