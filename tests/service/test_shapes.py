"""Learned activation functions over HTTP: of the best, of any trial, after an epoch."""

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from search_space.contract import SHAPE_HISTORY, SHAPES
from tests.support.player import Player

END = {
    "site": "block0.act",
    "activation": "pwlu",
    "original": "relu",
    "x": [-1.0, 0.0, 1.0],
    "channels": [0, 5, 10, 15],
    "curves": [[0.0, 0.0, float(channel)] for channel in range(4)],
    "low": -0.5,
    "high": 0.5,
    "density": [0.5, 0.5],
    "knots": [[-1.0, 0.0, 1.0]] * 4,
    "nearest": "relu",
    "nearest_r2": 0.9,
    "line_r2": 0.5,
}
FIXED = {**END, "site": "block1.act", "activation": "relu", "channels": [0], "curves": [[0.0] * 3]}
THEN = {
    "site": "block0.act",
    "left": -2.0,
    "right": 2.0,
    "curves": [[0.0, 0.0, 0.25], [0.0, 0.0, 0.75]],
    "histogram": [0.25, 0.75],
    "knots": [[-2.0, 0.0, 2.0]] * 2,
}
HISTORY = {"version": 1, "epochs": [{"epoch": 2, "sites": [THEN]}]}
Train = Callable[..., str]


@pytest.fixture
def search(player: Player) -> str:
    """Return a search whose proposals wait, after its only baseline."""
    search = str(player.submit(budget={"trials": 4})["id"])
    player.inspect()
    player.train(player.work(), 0.5)
    return search


@pytest.fixture
def train(player: Player) -> Train:
    """Train the waiting trial to a value, store its files, and return its id."""

    def train(value: float, **files: Any) -> str:
        trial = player.work()
        for name, content in files.items():
            put(player, trial, {"end": SHAPES, "history": SHAPE_HISTORY}[name], content)
        player.train(trial, value)
        return str(trial["trial"])

    return train


def put(player: Player, trial: dict[str, Any], name: str, content: Any) -> None:
    player.http.put(
        f"/leases/{trial['lease']}/artifacts/{name}",
        content=json.dumps(content).encode(),
        headers={"content-type": "application/octet-stream"},
    ).raise_for_status()


def ask(player: Player, search: str, **params: Any) -> httpx2.Response:
    return player.http.get(f"/searches/{search}/shapes", params=params)


def test_the_best_is_shown_unless_another_is_named(
    player: Player, search: str, train: Train
) -> None:
    best = train(0.8, end={"sites": [END, FIXED]}, history=HISTORY)
    other = train(0.6, end={"sites": [FIXED]})
    answer = ask(player, search).raise_for_status().json()
    assert (answer["trial"], answer["value"], answer["epoch"]) == (best, 0.8, None)
    assert answer["epochs"] == [2]
    assert [site["site"] for site in answer["sites"]] == ["block0.act", "block1.act"]
    assert answer["sites"][0] == {**END, "switches": None}

    answer = ask(player, search, trial=other).raise_for_status().json()
    assert (answer["trial"], answer["epochs"]) == (other, [])
    assert [site["site"] for site in answer["sites"]] == ["block1.act"]


def test_an_epoch_has_the_curves_of_then_and_of_the_end_where_nothing_learns(
    player: Player, search: str, train: Train
) -> None:
    train(0.8, end={"sites": [END, FIXED]}, history=HISTORY)
    answer = ask(player, search, epoch=2).raise_for_status().json()
    then, fixed = answer["sites"]
    assert answer["epoch"] == 2
    assert then["x"] == [-2.0, 0.0, 2.0]
    assert then["curves"] == THEN["curves"]
    assert then["channels"] == [0, 10]
    assert (then["density"], then["knots"]) == (THEN["histogram"], THEN["knots"])
    assert (then["nearest"], then["nearest_r2"]) == (None, None)
    assert fixed["curves"] == FIXED["curves"]


def test_what_is_not_there_is_said(player: Player, search: str, train: Train) -> None:
    nothing = train(0.7)
    train(0.8, end={"sites": [END]}, history=HISTORY)
    running = player.work()["trial"]
    another = str(player.submit(name="another")["id"])

    answer = ask(player, search, trial=nothing)
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        f"there is no learned curve of trial '{nothing}'",
    )
    answer = ask(player, search, trial=running)
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        f"there is no learned curve yet: trial {running} has not ended",
    )
    assert ask(player, search, trial="t0").status_code == 404
    answer = ask(player, another, trial=nothing)
    assert answer.status_code == 404
    assert f"no trial of search '{another}'" in answer.json()["detail"]
    assert ask(player, another).status_code == 409

    answer = ask(player, search, epoch=3)
    assert answer.status_code == 422
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["given"]) == ("epoch", 3)
    assert fault["message"] == "must be one of those that are kept: 2"
    assert ask(player, search, epoch=0).status_code == 422


@pytest.mark.parametrize(
    ("end", "history"),
    [
        ([END], HISTORY),
        ({"sites": [{"site": "block0.act"}]}, HISTORY),
        ({"sites": [{**FIXED, "x": [float("nan")]}]}, HISTORY),
        ({"sites": 3}, HISTORY),
        ({"sites": [END]}, {"epochs": [{"sites": []}]}),
        ({"sites": [END]}, {"epochs": [{"epoch": 2, "sites": [{**THEN, "curves": [[1.0]]}]}]}),
    ],
    ids=["a list", "a bare site", "no number", "no list", "no epoch", "one point"],
)
def test_a_file_that_is_none_of_ours_is_called_damaged(
    player: Player, search: str, train: Train, end: Any, history: Any
) -> None:
    train(0.8, end=end, history=history)
    answer = ask(player, search, epoch=2)
    assert answer.status_code == 500
    assert "is damaged" in answer.json()["detail"]
