"""Bad input names the field, what was given and what would be right."""

import copy
from typing import Any

import pytest

from tests.support.player import SEARCH, Player
from tests.support.serving import Served

LOSS = {"metric": "validation_loss", "direction": "minimize"}

CASES: list[tuple[dict[str, Any], str, str]] = [
    ({"task": {"name": "image-clasification"}}, "task.name", "did you mean 'image-classification'"),
    ({"task.dataset": "digit"}, "task.dataset", "there are digits, fashion-mnist"),
    ({"task.network": "resnet200"}, "task.network", "did you mean 'resnet20'"),
    ({"task.epochs": 0}, "task.epochs", "0 is less than the minimum of 1"),
    ({"task.epochs": "eight"}, "task.epochs", "is not of type 'integer'"),
    ({"task.epoch": 3}, "task.epoch", "did you mean 'epochs'"),
    (
        {"task": {"name": "image-classification", "dataset": "digits"}},
        "task.network",
        "is required",
    ),
    ({"choices": []}, "choices", "at least 1 item"),
    ({"choices": ["swosh"]}, "choices.0", "no activation named 'swosh'; the catalogue has relu"),
    (
        {"choices": ["relu", {"name": "pwlu", "segmants": 4}]},
        "choices.1",
        "(segments, bounds, snap_zero)",
    ),
    ({"choices": [{"name": "pwlu", "segments": 1}]}, "choices.0", "between 2 and 64, got 1"),
    ({"choices": [{"name": "pwlu", "segments": []}]}, "choices.0", "at least one value"),
    ({"choices": [{"name": "pwlu", "segments": 8.5}]}, "choices.0", "of type int"),
    ({"choices": [{"name": "relu", "share": "layer"}]}, "choices.0", "must be left out"),
    ({"choices": [{"name": "pwlu", "initial": "sine"}]}, "choices.0", "one of relu"),
    ({"choices": ["relu", "relu"]}, "choices", "relu is offered more than once"),
    ({"choices": "relu"}, "choices", "list"),
    ({"budget": {"trials": 0}}, "budget.trials", "greater than or equal to 1"),
    ({"budget": {"trials": 10, "hours": 0}}, "budget.hours", "greater than 0"),
    ({"budget": {"gpu_hours": "three"}}, "budget.gpu_hours", "valid number"),
    ({"budget": {"days": 3}}, "budget.days", "not permitted"),
    ({"parallel": 0}, "parallel", "greater than or equal to 1"),
    ({"objective": {"metric": "accuracy"}}, "objective.metric", "there are validation_accuracy"),
    (
        {"objective": {"metric": "validation_loss", "direction": "maximize"}},
        "objective.direction",
        "validation_loss is to minimize",
    ),
    ({"objective": []}, "objective", "at least 1 item"),
    ({"objective": {"direction": "up"}}, "objective.direction", "'maximize' or 'minimize'"),
    ({"objective": [{}, {"metric": "loss"}]}, "objective.1.metric", "there are validation_acc"),
    (
        {"objective": [{}, {"metric": "validation_loss"}]},
        "objective.1.direction",
        "validation_loss is to minimize",
    ),
    ({"objective": [{}, {}]}, "objective", "each metric is one objective"),
    ({"objective": [{"metric": "latency_ratio"}]}, "objective.0", "latency_ratio is to minimize"),
    (
        {"objective": {"metric": "memory_ratio", "direction": "minimize"}},
        "objective",
        "the first objective is a reported metric, got memory_ratio",
    ),
    (
        {"objective": [{}, LOSS], "confirm": None, "pruner": {"name": "asha"}},
        "pruner",
        "several objectives have pruner none, got asha",
    ),
    ({"objective": [{}, LOSS], "confirm": {"seeds": 4}}, "confirm", "must be null"),
    ({"hyperparameters": {"momentum": [0.9]}}, "hyperparameters", "there are learning_rate_factor"),
    ({"hyperparameters": {"realign_after": [0.3]}}, "hyperparameters", "at most 0.2, got 0.3"),
    ({"hyperparameters": {"learning_rate_factor": []}}, "hyperparameters", "at least one value"),
    ({"hyperparameters": {"learning_rate_factor": [-1]}}, "hyperparameters", "greater than 0"),
    ({"sampler": {"name": "tpee"}}, "sampler.name", "'qmc', 'grid' or 'nsga2'"),
    ({"sampler": {"encoding": "dense"}}, "sampler.encoding", "'conditional' or 'flat'"),
    ({"sampler": {"seed": -1}}, "sampler.seed", "greater than or equal to 0"),
    ({"pruner": {"name": "hyperbend"}}, "pruner.name", "'asha' or 'hyperband'"),
    (
        {
            "sampler": {"name": "grid"},
            "hyperparameters": {"learning_rate_factor": {"low": 0.1, "high": 1}},
        },
        "",
        "grid needs lists of values",
    ),
    ({"confirm": {"seeds": 1}}, "confirm.seeds", "greater than or equal to 2"),
    ({"start": "imagenet"}, "start", "'scratch'"),
    ({"start": {"weights": "a1"}}, "start.weights", "pattern"),
    ({"start": {"weights": "0" * 64}}, "start.weights", "no stored file has this sha256"),
    ({"constraints": {"latency_ratio": 0}}, "constraints.latency_ratio", "greater than 0"),
    ({"constraints": {"latency": 1.1}}, "constraints.latency", "not permitted"),
    ({"sites": {"choices": {"a.*": []}}}, "sites.choices.a.*", "at least 1 item"),
    ({"sites": {"choices": {"a.*": "swosh"}}}, "sites.choices.a.*.0", "no activation named"),
    ({"stall": 0}, "stall", "greater than 0"),
    ({"colour": "blue"}, "colour", "not permitted"),
    ({"sites": {"per": "column"}}, "sites.per", "'network', 'stage', 'block', 'layer' or 'auto'"),
]


def changed(changes: dict[str, Any]) -> dict[str, Any]:
    document = copy.deepcopy(SEARCH)
    for path, value in changes.items():
        *parents, last = path.split(".")
        target = document
        for parent in parents:
            target = target[parent]
        target[last] = value
    return document


def test_what_is_wrong_with_a_search_is_named(player: Player) -> None:
    for changes, field, message in CASES:
        response = player.http.post("/searches", json=changed(changes))
        assert response.status_code == 422, (changes, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        faults = {fault["field"]: fault for fault in problem["errors"]}
        found = next((f for name, f in faults.items() if name.startswith(field)), None)
        assert found is not None, (changes, faults)
        assert message in found["message"], (changes, found)
    assert player.http.get("/searches").json()["items"] == []


def test_every_fault_of_a_document_is_named_at_once(player: Player) -> None:
    body = changed({"budget": {"trials": 0}, "parallel": 0, "choices": ["swosh"]})
    faults = player.http.post("/searches", json=body).json()["errors"]
    assert {fault["field"] for fault in faults} == {"budget.trials", "parallel", "choices.0"}


@pytest.mark.parametrize("body", ["", "{", "[]", "null", '"x"', '{"parallel": NaN}', "\xff"])
def test_a_body_that_is_no_search_is_a_problem_document(player: Player, body: str) -> None:
    response = player.http.post("/searches", content=body.encode("latin-1"))
    assert response.status_code in (400, 422)
    assert response.headers["content-type"] == "application/problem+json"
    assert "NaN" not in response.text


@pytest.mark.parametrize(
    "path",
    [
        "/searches/none",
        "/searches/none/trials",
        "/searches/none/best",
        "/searches/none/best/config",
        "/searches/none/events",
        "/searches/none/plots/history",
        "/trials/none",
        "/trials/none/reports",
        "/trials/none/artifacts",
        "/trials/none/artifacts/weights.safetensors",
        "/nothing",
    ],
)
def test_an_unknown_id_is_404(served: Served, path: str) -> None:
    response = served.http.get(path)
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_an_action_on_an_unknown_search_is_404(served: Served, action: str) -> None:
    assert served.http.post(f"/searches/none/{action}").status_code == 404


@pytest.mark.parametrize("cursor", ["x", "bm9uZQ==", "é"])
def test_a_made_up_cursor_is_422(served: Served, cursor: str) -> None:
    response = served.http.get("/searches", params={"cursor": cursor})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "cursor"


def test_a_word_for_an_unknown_lease_is_409(served: Served) -> None:
    body = {"reports": [{"step": 1, "metrics": {"validation_accuracy": 0.5}}]}
    assert served.http.post("/leases/none/reports", json=body).status_code == 409


def test_a_page_and_a_body_are_bounded(served: Served) -> None:
    assert served.http.get("/searches", params={"limit": 501}).status_code == 422
    chunks = (b" " * 1024**2 for _ in range(9))
    for content in (b" " * (9 * 1024**2), chunks):
        huge = served.http.post("/searches", content=content)
        assert huge.status_code == 413
        assert huge.headers["content-type"] == "application/problem+json"
