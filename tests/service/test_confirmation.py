"""Confirmation: what is trained anew, what is claimed of it, and what is not."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from search_space.contract import read_config
from tests.support.invariants import broken
from tests.support.player import TASK, Player
from tests.support.serving import Served

CONFIRM: dict[str, Any] = {
    "baselines": {"original_seeds": 3, "uniform": True},
    "budget": {"trials": 3},
    "confirm": {"shortlist": 2, "seeds": 4},
    "hyperparameters": {"learning_rate_factor": [0.5, 1]},
}
NOISE = (0.0, 0.01, -0.01, 0.005)
GAIN = 0.028
"""So large that over four seeds p lies between 2.5 and 5 %."""


def names(candidate: dict[str, Any]) -> set[str]:
    return {spec["name"] for spec in candidate["sites"].values()}


def run(
    player: Player,
    search_id: str,
    value: Callable[[dict[str, Any]], float],
    test: Callable[[dict[str, Any]], float],
) -> list[dict[str, Any]]:
    """Run a search to its end and return the assignments of its confirmation."""
    confirmations = []
    while player.search(search_id)["state"] != "completed":
        assignment = player.work()
        player.report(assignment, 1, value(assignment))
        if assignment["kind"] == "confirmation":
            confirmations.append(assignment)
            assert "test_accuracy" not in str(assignment)
            metric = assignment["metric"].removeprefix("validation_")
            player.end(assignment, test={f"test_{metric}": test(assignment)})
        else:
            player.end(assignment)
    return confirmations


def silu_is_better(assignment: dict[str, Any]) -> float:
    return 0.8 if names(assignment["candidate"]) == {"silu"} else 0.5


def noisy(level: Callable[[dict[str, Any]], float]) -> Callable[[dict[str, Any]], float]:
    """Add noise that differs from seed to seed, and from network to network."""

    def value(assignment: dict[str, Any]) -> float:
        number = assignment["number"]
        return level(assignment) + NOISE[(number + number // 4) % 4]

    return value


def test_the_winner_and_its_rivals_are_trained_again_on_fresh_seeds(player: Player) -> None:
    search = player.submit(**CONFIRM)
    player.inspect()
    assert player.search(search["id"])["progress"]["total"] == 5 + 3 + 2 + 4 * 4
    confirmations = run(player, search["id"], silu_is_better, noisy(silu_is_better))
    trials = [t for t in player.trials(search["id"]) if t["kind"] == "confirmation"]
    counts: dict[str, int] = {}
    for trial in trials:
        counts[trial["label"]] = counts.get(trial["label"], 0) + 1
    assert counts["shortlist"] == 2
    assert counts["winner"] == counts["original network"] == 4
    final = [t for t in trials if t["label"] != "shortlist"]
    by_label: dict[str, list[tuple[int, int]]] = {}
    for trial in final:
        by_label.setdefault(trial["label"], []).append((trial["seed_block"], trial["seed"]))
    assert len(by_label) >= 2
    (shared,) = {tuple(found) for found in by_label.values()}
    assert [block for block, _ in shared] == [0, 1, 2, 3]
    assert len({seed for _, seed in shared}) == 4
    shortlist = {t["seed"] for t in trials if t["label"] == "shortlist"}
    assert len(shortlist) == 1
    assert not shortlist & {seed for _, seed in shared}
    seeds = {t["seed"] for t in player.trials(search["id"]) if t["kind"] != "confirmation"}
    assert not seeds & {assignment["seed"] for assignment in confirmations}
    figure = player.http.get(f"/searches/{search['id']}/plots/history").json()
    drawn = {number for trace in figure["data"] for number in trace["x"]}
    assert not drawn & {trial["number"] for trial in trials}, "the history is the search's own"
    ended = player.search(search["id"])
    assert ended["progress"]["finished"] == ended["progress"]["total"]


@pytest.mark.parametrize("fails", [False, True])
def test_the_network_is_asked_for_of_the_seed_that_stands_for_the_winner(
    player: Player, fails: bool
) -> None:
    search = player.submit(**CONFIRM)
    player.inspect()
    asked = []
    while player.search(search["id"])["state"] != "completed":
        assignment = player.work()
        player.report(assignment, 1, silu_is_better(assignment))
        if assignment["export"]:
            asked.append(assignment["trial"])
            if fails and len(asked) == 1:
                player.end(assignment, "failed", failure="diverged", message="the loss is NaN")
                continue
        confirms = assignment["kind"] == "confirmation"
        test = {"test_accuracy": noisy(silu_is_better)(assignment)} if confirms else {}
        player.end(assignment, test=test)
    winners = [t["id"] for t in player.trials(search["id"]) if t["label"] == "winner"]
    assert asked == winners[: 1 + fails]
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert (best["status"], best["trial"]) == ("confirmed", asked[-1])


def test_seeds_that_run_beside_the_first_are_asked_too_as_it_may_fail(player: Player) -> None:
    search = player.submit(**CONFIRM, parallel=2)
    player.inspect()
    winners: list[dict[str, Any]] = []
    while len(winners) < 2:
        assignment = player.work()
        labels = {trial["id"]: trial["label"] for trial in player.trials(search["id"])}
        if labels[assignment["trial"]] == "winner":
            winners.append(assignment)
            continue
        player.report(assignment, 1, silu_is_better(assignment))
        confirms = assignment["kind"] == "confirmation"
        test = {"test_accuracy": noisy(silu_is_better)(assignment)} if confirms else {}
        player.end(assignment, test=test)
    first, second = winners
    assert first["export"]
    assert second["export"]
    player.report(second, 1, 0.8)
    player.end(second, test={"test_accuracy": 0.8})
    player.end(first, "failed", failure="diverged", message="the loss is NaN")
    assert not any(
        one["export"] for one in run(player, search["id"], silu_is_better, noisy(silu_is_better))
    )
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert (best["status"], best["trial"]) == ("confirmed", second["trial"])


def test_a_real_gain_is_confirmed_with_its_interval(player: Player) -> None:
    search = player.submit(**CONFIRM)
    player.inspect()
    run(player, search["id"], silu_is_better, noisy(silu_is_better))
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["status"] == "confirmed"
    over_original = best["comparisons"][0]
    assert over_original["difference"] == pytest.approx(0.3, abs=0.02)
    assert over_original["low"] < 0.3 < over_original["high"]
    assert "points [" in best["claim"]
    assert "on test data, 4 seeds, 4 epochs" in best["claim"]

    config = read_config(player.http.get(f"/searches/{search['id']}/best/config").json())
    assert {spec.name for spec in config.candidate.sites.values()} == {"silu"}
    assert config.provenance["verdict"] == "confirmed"
    assert config.provenance["trial"] == best["trial"]
    assert config.provenance["metrics"]["test_accuracy"] > 0.7


@pytest.mark.parametrize(
    ("metric", "is_fraction"),
    [("validation_mean_iou", True), ("validation_psnr", False), ("my_score", False)],
)
def test_only_fractions_are_shown_in_points(served: Served, metric: str, is_fraction: bool) -> None:
    player = Player(served, TASK | {"metrics": {metric: "maximize"}})
    search = player.submit(**CONFIRM, objective={"metric": metric})
    player.inspect()
    run(player, search["id"], silu_is_better, noisy(silu_is_better))
    best = player.http.get(f"/searches/{search['id']}/best").json()
    finding = player.search(search["id"])["finding"]
    assert best["is_fraction"] == finding["is_fraction"] == is_fraction
    assert ("points [" in best["claim"]) == is_fraction
    assert float(best["claim"].split()[0]) == pytest.approx(30 if is_fraction else 0.3, rel=0.1)


def test_luck_is_not_confirmed_and_the_config_stays_the_originals(player: Player) -> None:
    search = player.submit(**CONFIRM)
    player.inspect()
    run(player, search["id"], silu_is_better, noisy(lambda _: 0.5))
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["status"] == "noise"
    assert best["claim"].startswith("not statistically significant: ")
    config = read_config(player.http.get(f"/searches/{search['id']}/best/config").json())
    assert {spec.name for spec in config.candidate.sites.values()} == {"relu"}


def test_the_winner_is_chosen_by_its_second_training_not_by_its_luck(player: Player) -> None:
    def value(assignment: dict[str, Any]) -> float:
        is_silu = names(assignment["candidate"]) == {"silu"}
        if assignment["kind"] == "confirmation":
            return 0.4 if is_silu else 0.7
        return 0.9 if is_silu else 0.5

    search = player.submit(**CONFIRM)
    player.inspect()
    run(player, search["id"], value, noisy(lambda _: 0.5))
    winner = next(t for t in player.trials(search["id"]) if t["label"] == "winner")
    assert names(winner["candidate"]) != {"silu"}


def test_the_original_is_also_tried_with_the_winners_hyperparameters(player: Player) -> None:
    def fast(assignment: dict[str, Any]) -> float:
        training = assignment["candidate"]["training"]
        return 0.9 if training["learning_rate_factor"] == 0.5 else 0.5

    search = player.submit(**CONFIRM | {"budget": {"trials": 8}})
    player.inspect()
    run(player, search["id"], fast, noisy(fast))
    trials = player.trials(search["id"])
    tuned = next(t for t in trials if t["label"] == "tuned original")
    assert names(tuned["candidate"]) == {"relu"}
    assert tuned["candidate"]["training"]["learning_rate_factor"] == 0.5
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["status"] == "noise", "the gain was the learning rate's"
    assert best["comparisons"][0]["against"] == "tuned original"


def test_a_confirmation_may_be_longer_than_the_search(player: Player) -> None:
    search = player.submit(**CONFIRM | {"confirm": {"shortlist": 1, "seeds": 2, "epochs": 30}})
    player.inspect()
    confirmations = run(player, search["id"], silu_is_better, noisy(silu_is_better))
    assert {assignment["task"]["epochs"] for assignment in confirmations} == {30}
    assert "30 epochs" in player.http.get(f"/searches/{search['id']}/best").json()["claim"]


def test_a_confirmation_is_never_stopped_early(player: Player) -> None:
    search = player.submit(**CONFIRM | {"pruner": {"name": "asha"}})
    player.inspect()
    while True:
        assignment = player.work()
        if assignment["kind"] == "confirmation":
            break
        player.train(assignment, *[0.9] * 4)
    verdicts = {player.report(assignment, step, 0.01).json()["verdict"] for step in (1, 2, 3)}
    assert verdicts == {"continue"}
    assert player.search(search["id"])["reason"].endswith("; confirming")


def test_the_error_of_a_confirmation_without_a_test_metric_names_the_call(player: Player) -> None:
    search = player.submit(**CONFIRM | {"budget": {"trials": 1, "failures": 1}})
    player.inspect()
    while True:
        assignment = player.work()
        player.report(assignment, 1, 0.5)
        player.end(assignment)
        if assignment["kind"] == "confirmation":
            break
    paused = player.search(search["id"])
    assert paused["state"] == "paused"
    assert "call t.report_test(test_accuracy=...)" in paused["reason"]


def test_what_too_few_seeds_survived_is_not_confirmed(player: Player) -> None:
    search = player.submit(**CONFIRM | {"budget": {"trials": 1}})
    player.inspect()
    while player.search(search["id"])["state"] != "completed":
        assignment = player.work()
        player.report(assignment, 1, 0.5)
        if assignment["kind"] == "confirmation":
            player.end(assignment, "failed", failure="diverged", message="the loss is NaN")
        else:
            player.end(assignment)
    assert player.http.get(f"/searches/{search['id']}/best").json()["status"] == "not_confirmed"


def test_a_winner_that_is_the_original_gains_nothing_over_it(player: Player) -> None:
    def fast(assignment: dict[str, Any]) -> float:
        is_relu = names(assignment["candidate"]) == {"relu"}
        rate = assignment["candidate"]["training"]["learning_rate_factor"]
        return 0.9 if is_relu and rate == 0.5 else 0.5

    per_network = {"sites": {"per": "network"}, "choices": ["relu", "silu"]}
    search = player.submit(**CONFIRM | per_network | {"budget": {"trials": 4}})
    player.inspect()
    run(player, search["id"], fast, noisy(fast))
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["status"] == "noise"
    over = best["comparisons"][0]
    assert (over["against"], over["difference"]) == ("tuned original", 0)
    config = read_config(player.http.get(f"/searches/{search['id']}/best/config").json())
    assert config.candidate.training.learning_rate_factor == 1, "the network as it came"


@pytest.mark.parametrize("by", ["a kill", "spent hours"])
def test_what_is_left_of_a_confirmation_confirms_nothing(
    player: Player, served: Served, by: str
) -> None:
    """The seeds of the winner come first, and rivals that were never trained cannot win."""
    search = player.submit(**CONFIRM | {"budget": {"trials": 3, "hours": 100}})
    player.inspect()
    ended = 0
    while player.search(search["id"])["state"] not in ("completed", "cancelled"):
        assignment = player.work()
        player.report(assignment, 1, silu_is_better(assignment))
        ended += labels(player, search["id"])[assignment["trial"]] in ("winner", "original network")
        if ended == 6 and by == "a kill":
            player.http.post(f"/searches/{search['id']}/kill").raise_for_status()
            break
        if ended == 6:
            pass_time(served, 200 * 3600)
        confirms = assignment["kind"] == "confirmation"
        test = {"test_accuracy": noisy(silu_is_better)(assignment)} if confirms else {}
        player.end(assignment, test=test)
    trained = [t["label"] for t in player.trials(search["id"]) if t["test"]]
    assert trained.count("winner") == 4, "enough for a claim"
    assert "original network" in trained
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert (best["status"], best["comparisons"]) == ("not_confirmed", [])
    assert "were cut off" in best["claim"]
    assert best["looks"] == 1


def labels(player: Player, search_id: str) -> dict[str, Any]:
    return {trial["id"]: trial["label"] for trial in player.trials(search_id)}


def pass_time(served: Served, seconds: float) -> None:
    """Let the search have run for so much longer."""
    with served.context.database.write() as session:
        session.execute(sa.text(f"UPDATE searches SET running_since = running_since - {seconds}"))


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_what_only_a_confirmation_has_trained_is_a_candidate_like_others(
    player: Player, served: Served, sampler: str
) -> None:
    """An extended search comes upon the tuned original, which no proposal was before."""

    def value(assignment: dict[str, Any]) -> float:
        rate = assignment["candidate"]["training"]["learning_rate_factor"]
        return 0.6 if rate == 0.5 and "silu" in names(assignment["candidate"]) else 0.5

    changes = {
        "choices": ["silu", "relu", "gelu"] if sampler == "grid" else ["relu", "silu", "gelu"],
        "budget": {"trials": 2},
        "sampler": {"name": sampler, "seed": 1},
        "replicates": {"share": 0},
    }
    search = player.submit(**CONFIRM | changes)
    player.inspect()
    run(player, search["id"], value, noisy(value))
    tuned = next(t for t in player.trials(search["id"]) if t["label"] == "tuned original")
    body = {"budget": {"trials": 60}}
    player.http.patch(f"/searches/{search['id']}", json=body).raise_for_status()
    run(player, search["id"], value, noisy(value))

    ended = player.search(search["id"])
    assert "every candidate of the space has been tried" in ended["reason"]
    assert broken(served.context.database.engine, search["id"]) == {}
    trials = player.trials(search["id"])
    same = [t for t in trials if t["candidate"] == tuned["candidate"] and t["repeat_of"] is None]
    assert [t["kind"] for t in same].count("proposed") == 1


LONGER = {
    "confirm": {"shortlist": 2, "seeds": 2, "epochs": 30, "spread": 4},
    "choices": ["relu", "silu", "gelu", "tanh", "elu"],
    "hyperparameters": {},
    "budget": {"trials": 8},
}


def run_both_lengths(player: Player, sign: int, **changes: Any) -> tuple[str, list[dict[str, Any]]]:
    """Run a search whose longer trainings rank as the shorter do, or the other way round."""
    search = player.submit(**CONFIRM | LONGER | changes)
    player.inspect()

    def value(assignment: dict[str, Any]) -> float:
        fixed = sorted(names(assignment["candidate"]))
        height = sum(ord(letter) for letter in "".join(fixed)) % 97 / 200
        return 0.5 + (sign if assignment["task"].get("epochs") == 30 else 1) * height

    confirmations = run(player, search["id"], value, noisy(lambda _: 0.5))
    return search["id"], confirmations


@pytest.mark.parametrize("sign", [1, -1])
def test_two_lengths_are_compared_by_candidates_from_the_best_to_the_worst(
    player: Player, sign: int
) -> None:
    search_id, _ = run_both_lengths(player, sign)
    first = [t for t in player.trials(search_id) if t["label"] in ("shortlist", "spread")]
    assert [t["label"] for t in first].count("shortlist") == 2
    best = player.http.get(f"/searches/{search_id}/best").json()
    values = {json.dumps(line["candidate"], sort_keys=True) for line in best["ranking"]}
    assert {json.dumps(t["candidate"], sort_keys=True) for t in first} <= values
    order = [json.dumps(line["candidate"], sort_keys=True) for line in best["ranking"]]
    places = sorted(order.index(json.dumps(t["candidate"], sort_keys=True)) for t in first)
    assert (places[0], places[-1]) == (0, len(order) - 1)
    found = best["agreement"]
    assert (found["candidates"], found["epochs"], found["confirm_epochs"]) == (len(first), 4, 30)
    # Candidates of one set of activations are equal at both lengths, which costs some of tau.
    assert sign * found["tau"] > 0.6
    ranked, looked = best["notes"]
    assert ranked.startswith(f"Trainings of 4 and of 30 epochs rank {len(first)} candidates with")
    assert f"tau of {found['tau']:.2f} (1: in the same order, -1: in the opposite one)" in ranked
    assert looked == "Test data was looked at once for a verdict."


def test_a_spread_candidate_is_not_the_winner(player: Player) -> None:
    search_id, _ = run_both_lengths(player, -1)
    trials = player.trials(search_id)
    shortlist = [t["candidate"] for t in trials if t["label"] == "shortlist"]
    winner = next(t["candidate"] for t in trials if t["label"] == "winner")
    assert winner in shortlist


def test_one_length_needs_no_comparison(player: Player) -> None:
    confirm = {"shortlist": 2, "seeds": 2, "epochs": 4, "spread": 4}
    search_id, _ = run_both_lengths(player, 1, confirm=confirm)
    assert not [t for t in player.trials(search_id) if t["label"] == "spread"]
    assert player.http.get(f"/searches/{search_id}/best").json()["agreement"] is None


def test_the_comparison_of_lengths_is_reserved_beforehand(player: Player) -> None:
    search = player.submit(**CONFIRM | LONGER)
    assert search["progress"]["total"] == 3 + 5 + 8 + 2 + 4 + 4 * 2


def test_an_extended_search_is_judged_the_harder_the_more_often_it_looks(player: Player) -> None:
    """What the first look would tell from noise at 5 %, the second does not at 2.5 %."""
    search = player.submit(**CONFIRM | {"baselines": {"original_seeds": 3, "uniform": False}})
    player.inspect()

    trained = Counter[bool]()

    def test(assignment: dict[str, Any]) -> float:
        # The same differences at each look, seed by seed.
        is_silu = "silu" in names(assignment["candidate"])
        trained[is_silu] += 1
        return 0.5 + GAIN * is_silu + NOISE[(trained[is_silu] + is_silu) % 4]

    def extend(trials: int) -> dict[str, Any]:
        body = {"budget": {"trials": trials}}
        player.http.patch(f"/searches/{search['id']}", json=body).raise_for_status()
        run(player, search["id"], silu_is_better, test)
        return dict(player.http.get(f"/searches/{search['id']}/best").json())

    run(player, search["id"], silu_is_better, test)
    first = player.http.get(f"/searches/{search['id']}/best").json()
    second = extend(4)
    assert (first["looks"], second["looks"]) == (1, 2)
    assert second["notes"] == ["Test data was looked at 2 times for a verdict."]
    p_values = [best["comparisons"][0]["p"] for best in (first, second)]
    assert p_values == pytest.approx([p_values[0]] * 2)
    assert 0.025 < p_values[0] <= 0.05
    assert (first["status"], second["status"]) == ("confirmed", "noise")
    assert "look" not in first["claim"]
    said = "this is look 2 at the test data, so the level is 2.5 % instead of 5 %"
    assert second["claim"].endswith(said)
    assert "look 3 at the test data, so the level is 1.25 %" in extend(5)["claim"]
