"""The live study follows from the rows: discarded and rebuilt, it proposes the same."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import optuna
import pytest

from search_space.search import SearchSpec
from search_space.space.space import make_space
from search_space.spec import Site, SitePlan
from service.store import searches
from service.study.live import LiveStudy, TrialResult
from service.study.samplers import first_rung, pinned_arguments
from service.trials.study_sync import stored_trials
from tests.support.player import SEARCH, Player
from tests.support.serving import Served

SPACE: dict[str, Any] = {
    "choices": [
        "relu",
        "silu",
        {"name": "pwlu", "segments": [4, 8, 16], "share": ["channel", "layer"]},
        {"name": "meta_acon", "reduction": [2, 4]},
    ],
    "hyperparameters": {
        "learning_rate_factor": {"low": 0.3, "high": 3, "log": True},
        "activation_learning_rate_factor": [0.1, 1.0],
    },
    "baselines": {"original_seeds": 2, "uniform": True},
    "budget": {"trials": 20},
    "sites": {"per": "layer"},
}


def quality(assignment: dict[str, Any], step: int) -> float:
    """A value that depends on the candidate, the seed and the epoch alone."""
    text = json.dumps([assignment["candidate"], assignment["seed"], step], sort_keys=True)
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32


def play(player: Player, search_id: str, disturb: Callable[[int], None]) -> list[Any]:
    """Run a search with two trials at a time, step by step in a fixed order."""
    running: list[tuple[dict[str, Any], int]] = []
    turn = 0
    while True:
        progress = player.search(search_id)["progress"]
        while len(running) < 2 and progress["finished"] + len(running) < progress["total"]:
            running.append((player.work(wait=30), 1))
        if not running:
            break
        assignment, step = running.pop(0)
        turn += 1
        disturb(turn)
        if assignment["kind"] == "proposed" and quality(assignment, 0) < 0.3:
            player.end(assignment, "failed", failure="diverged", message="the loss is NaN")
            disturb(turn)
            continue
        verdict = player.report(assignment, step, quality(assignment, step)).json()["verdict"]
        if verdict == "stop" or step == 4:
            player.end(assignment, "stopped" if verdict == "stop" else "completed")
        else:
            running.append((assignment, step + 1))
        disturb(turn)
    assert player.search(search_id)["state"] == "completed"
    return [
        tuple(trial[key] for key in ("candidate", "state", "value", "step", "seed", "stopped_at"))
        for trial in player.trials(search_id)
    ]


@pytest.mark.parametrize(
    ("sampler", "pruner"),
    [
        ("tpe", "asha"),
        ("nsga2", "none"),
        ("auto", "asha"),
        *(
            pytest.param(sampler, pruner, marks=pytest.mark.slow)
            for sampler, pruner in (
                *(("tpe", pruner) for pruner in ("hyperband", "median", "none")),
                ("random", "asha"),
                ("qmc", "hyperband"),
                ("nsga2", "asha"),
                ("additive", "none"),
            )
        ),
    ],
)
def test_a_rebuilt_study_proposes_as_its_unbroken_twin(
    serve: Callable[..., Served], sampler: str, pruner: str
) -> None:
    def run(disturb: Callable[[Served, str], Callable[[int], None]]) -> list[Any]:
        served = serve()
        player = Player(served)
        names = {
            "sampler": {"name": sampler, "seed": 3},
            "pruner": {"name": pruner, "run_on": 0.3},
            "replicates": {"share": 0.2},
        }
        search = player.submit(**SPACE | names)
        player.inspect()
        return play(player, search["id"], disturb(served, search["id"]))

    def leave_alone(_served: Served, _search_id: str) -> Callable[[int], None]:
        return lambda _turn: None

    def drop_often(served: Served, search_id: str) -> Callable[[int], None]:
        def disturb(turn: int) -> None:
            if turn % 3 == 0:
                served.context.studies.discard(search_id)
            if turn == 20:
                served.restart()

        return disturb

    unbroken = run(leave_alone)
    assert run(drop_often) == unbroken
    assert "failed" in {state for _, state, *_ in unbroken}
    if pruner in ("asha", "hyperband"):
        assert "stopped" in {state for _, state, *_ in unbroken}


def test_another_seed_makes_another_search(serve: Callable[..., Served]) -> None:
    def proposals(seed: int) -> list[Any]:
        player = Player(serve())
        search = player.submit(**SPACE | {"sampler": {"name": "tpe", "seed": seed}})
        player.inspect()
        return play(player, search["id"], lambda _turn: None)

    assert proposals(0) != proposals(1)


PLAN = SitePlan(tuple(Site(f"b{i}", 4, 16, 1, "relu", str(i), f"b{i}") for i in range(2)))


def make_study(**changes: Any) -> LiveStudy:
    search = SearchSpec.model_validate({"task": {"name": "t"}, **SPACE, **changes})
    pinned = pinned_arguments(search, has_phases=False, epochs=4)
    return LiveStudy(search, make_space(search, PLAN), pinned, {}, [])


def test_the_sampler_learns_to_avoid_what_cannot_be_trained() -> None:
    """What cannot be trained is told as pruned and infeasible; TPE then avoids it."""
    study = make_study(choices=["relu", "silu", "gelu", "acon_c"], hyperparameters={})
    wasted = []
    for number in range(60):
        params = study.ask()
        bad = "silu" in params.values()
        wasted.append(bad)
        if bad:
            told = TrialResult(optuna.trial.TrialState.PRUNED, (), {"infeasible": 1.0})
        else:
            told = TrialResult(optuna.trial.TrialState.COMPLETE, (0.5,), {"infeasible": 0.0})
        study.tell(number, told)
    assert sum(wasted[30:]) < sum(wasted[:30])


@pytest.mark.parametrize(
    ("epochs", "has_phases", "expected"),
    [(8, True, 2), (10, True, 3), (5, True, 2), (1, True, 1), (8, False, 1), (None, True, 1)],
)
def test_the_first_rung_lies_after_the_longest_phase(
    epochs: int | None, has_phases: bool, expected: int
) -> None:
    rung = first_rung(has_phases=has_phases, epochs=epochs)
    assert rung == expected
    if has_phases and epochs is not None:
        assert rung > 0.2 * epochs or epochs == 1


def test_every_argument_of_sampler_and_pruner_is_stored(player: Player) -> None:
    pinned = player.submit(pruner={"name": "asha"})["pinned"]
    assert pinned["sampler"]["multivariate"] is True
    assert pinned["sampler"]["constant_liar"] is True
    assert pinned["pruner"]["reduction_factor"] == 3
    assert pinned["epochs"] == 4


@pytest.mark.parametrize(("epochs", "last_verdict"), [(9, "stop"), (3, "continue")])
def test_a_trial_that_has_done_its_last_epoch_is_never_stopped(
    player: Player, epochs: int, last_verdict: str
) -> None:
    """ASHA's rungs are at 1, 3 and 9 epochs here; a rung at the last epoch stops nothing."""
    task = SEARCH["task"] | {"epochs": epochs}
    none = {"original_seeds": 0, "uniform": False}
    player.submit(task=task, pruner={"name": "asha"}, baselines=none)
    player.inspect()
    good, worse = player.work(), player.work()
    for step in (1, 2, 3):
        player.report(good, step, 0.5)
    assert player.report(worse, 1, 0.6).json() == {"verdict": "continue"}
    assert player.report(worse, 2, 0.4).json() == {"verdict": "continue"}
    assert player.report(worse, 3, 0.4).json() == {"verdict": last_verdict}


def test_a_rebuild_remembers_what_cannot_be_trained(served: Served) -> None:
    player = Player(served)
    none = {"original_seeds": 0, "uniform": False}
    search = player.submit(baselines=none, budget={"trials": 2})
    player.inspect()
    player.end(player.work(), "failed", failure="diverged", message="the loss is NaN")
    player.train(player.work(), 0.5)
    with served.context.database.read() as session:
        bad, good = stored_trials(session, searches.get(session, search["id"]))
    assert (bad.attrs["constraints:infeasible"], good.attrs["constraints:infeasible"]) == (1, 0)
    assert bad.told == TrialResult(optuna.trial.TrialState.PRUNED, (), {"infeasible": 1.0})
