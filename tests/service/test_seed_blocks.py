"""Searches whose sampler has a model: paired seeds, estimates, and the ranking by them."""

from collections import Counter
from typing import Any

import pytest

from tests.support.player import Player

SEARCH: dict[str, Any] = {
    "choices": ["relu", "silu", "acon_c"],
    "sites": {"per": "layer"},
    "baselines": {"original_seeds": 3, "uniform": True},
    "budget": {"trials": 12},
    "pruner": {"name": "none"},
    "sampler": {"name": "additive", "seed": 5},
}
GAINS = {"relu": 0.0, "silu": 0.02, "acon_c": 0.05}
OFFSETS = (0.0, 0.3, -0.2)
"""What the seed of a block does to all of its trainings."""


def value_of(assignment: dict[str, Any], block: int) -> float:
    """A value with a main effect at each site and the offset of its block."""
    specs = assignment["candidate"]["sites"].values()
    # ACON-C helps at the first site alone, so the best network is a mixed one.
    first, second = (GAINS[spec["name"]] for spec in specs)
    return 0.5 + first - 0.5 * second + OFFSETS[block]


def run(player: Player, **changes: Any) -> list[dict[str, Any]]:
    """Run a search to its end and return its trials."""
    search = player.submit(**SEARCH | changes)
    player.inspect()
    while (assignment := player.lease(wait=0.5)) is not None:
        trial = player.http.get(f"/trials/{assignment['trial']}").json()
        player.train(assignment, value_of(assignment, trial["seed_block"] or 0))
    assert player.search(search["id"])["state"] == "completed"
    return player.trials(search["id"])


def test_trials_of_a_block_share_their_seed_and_no_others_do(player: Player) -> None:
    trials = run(player)
    seeds = {(trial["seed_block"], trial["seed"]) for trial in trials}
    blocks = {trial["seed_block"] for trial in trials}
    assert blocks == {0, 1, 2}
    assert len({seed for _, seed in seeds}) == len(seeds) == 3
    uniform = [t for t in trials if (t["label"] or "").startswith("uniform")]
    assert {trial["seed_block"] for trial in uniform} == {0}
    assert [t["seed_block"] for t in trials if t["label"] == "original"] == [0, 1, 2]
    proposed = Counter(t["seed_block"] for t in trials if t["kind"] == "proposed")
    assert proposed == {1: 6, 0: 6}


def test_the_ranking_is_by_estimates_that_no_block_favours(player: Player) -> None:
    trials = run(player)
    best = player.http.get(f"/searches/{trials[0]['search_id']}/best").json()["ranking"]
    estimates = [line["estimate"] for line in best]
    assert None not in estimates
    assert estimates == sorted(estimates, reverse=True)
    values = [line["value"] for line in best]
    assert values != sorted(values, reverse=True), "a block shifts values, and not estimates"
    names = [spec["name"] for spec in best[0]["candidate"]["sites"].values()]
    assert names == ["acon_c", "relu"]
    assert best[0]["estimate_low"] < best[0]["estimate"] < best[0]["estimate_high"]
    assert best[0]["beats_uniform"] > 0.5
    by_candidate: dict[str, set[float]] = {}
    for trial in trials:
        if trial["estimate"] is not None:
            by_candidate.setdefault(str(trial["candidate"]), set()).add(trial["estimate"])
    assert all(len(found) == 1 for found in by_candidate.values())


def test_a_candidate_trained_in_another_block_is_a_replicate_and_no_repeat(player: Player) -> None:
    trials = run(player, budget={"trials": 20}, choices=["relu", "acon_c"])
    again = [trial for trial in trials if trial["replicate_of"] is not None]
    assert again, "a space of four candidates is trained in both blocks"
    first = {trial["id"]: trial for trial in trials}
    for trial in again:
        assert trial["seed_block"] != first[trial["replicate_of"]]["seed_block"]
        assert trial["candidate"] == first[trial["replicate_of"]]["candidate"]


def test_other_samplers_have_no_blocks_and_no_estimates(player: Player) -> None:
    trials = run(player, sampler={"name": "tpe"})
    assert {trial["seed_block"] for trial in trials} == {None}
    assert {trial["estimate"] for trial in trials} == {None}
    seeds = [trial["seed"] for trial in trials if trial["repeat_of"] is None]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("sampler", "message"),
    [
        ({"name": "additive", "seed_blocks": 0}, "needs seed blocks"),
        ({"name": "tpe", "seed_blocks": 2}, "has no seed blocks"),
    ],
)
def test_blocks_that_cannot_be_are_refused(
    player: Player, sampler: dict[str, Any], message: str
) -> None:
    answer = player.http.post(
        "/searches", json={"task": {"name": "image-classification"}, "sampler": sampler}
    )
    assert answer.status_code == 422
    assert message in str(answer.json()["errors"])


def test_a_model_has_one_objective(player: Player) -> None:
    objective = [
        {"metric": "validation_accuracy"},
        {"metric": "validation_loss", "direction": "minimize"},
    ]
    document = SEARCH | {"objective": objective}
    document |= {"task": {"name": "image-classification", "dataset": "digits"}}
    answer = player.http.post("/searches", json=document)
    assert answer.status_code == 422
    assert "sampler tpe or nsga2" in str(answer.json()["errors"])
