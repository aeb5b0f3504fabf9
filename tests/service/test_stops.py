"""Stopped trials that run on: how often stopping was wrong."""

from typing import Any

import optuna
import pytest
from sqlalchemy import text

from service.results.early_stopping import runs_on
from service.store import searches
from service.store.models import Search, Trial
from service.trials.study_sync import stored_trials
from tests.support.player import Player
from tests.support.serving import Served

STOPPING: dict[str, Any] = {
    "baselines": {"original_seeds": 0, "uniform": False},
    "pruner": {"name": "asha", "run_on": 1.0},
    "budget": {"trials": 3},
}


def test_a_stopped_trial_that_runs_on_is_a_stopped_one_to_the_sampler(served: Served) -> None:
    player = Player(served)
    search = player.submit(**STOPPING)
    player.inspect()
    good, late = player.work(), player.work()
    assert player.train(good, 0.5, 0.5, 0.5, 0.5) == "continue"
    assert player.train(late, 0.1, 0.2, 0.3, 0.9) == "continue"
    trial = player.http.get(f"/trials/{late['trial']}").json()
    assert (trial["state"], trial["value"], trial["stopped_at"]) == ("completed", 0.9, 1)

    with served.context.database.read() as session:
        first, second = stored_trials(session, searches.get(session, search["id"]))
    assert first.told is not None
    assert second.told is not None
    assert first.told.state is optuna.trial.TrialState.COMPLETE
    assert second.told.state is optuna.trial.TrialState.PRUNED
    assert list(second.reports) == [(1, 0.1)]

    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["stops"] == {"stopped": 1, "ran_on": 1, "beat_median": 1, "beat_best": 1}
    assert best["ranking"][0]["trial"] == late["trial"], "what it came to counts all the same"
    assert best["notes"] == [
        "1 trial was stopped early; 1 of them was trained to its end to see whether that was "
        "right: 1 came out better than the median of those that were not stopped, 1 better than "
        "the best of them."
    ]


def test_a_stop_that_was_right_is_counted_too(player: Player) -> None:
    search = player.submit(**STOPPING)
    player.inspect()
    good, bad = player.work(), player.work()
    player.train(good, 0.5, 0.5, 0.5, 0.5)
    player.train(bad, 0.1, 0.1, 0.1, 0.1)
    early_stops = player.http.get(f"/searches/{search['id']}/best").json()["stops"]
    assert early_stops == {"stopped": 1, "ran_on": 1, "beat_median": 0, "beat_best": 0}


def test_without_running_on_a_stop_is_a_stop(player: Player) -> None:
    search = player.submit(**STOPPING | {"pruner": {"name": "asha", "run_on": 0}})
    player.inspect()
    good, bad = player.work(), player.work()
    player.train(good, 0.5, 0.5, 0.5, 0.5)
    assert player.http.get(f"/searches/{search['id']}/best").json()["notes"] == []
    assert player.train(bad, 0.1, 0.1) == "stop"
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["stops"] == {"stopped": 1, "ran_on": 0, "beat_median": 0, "beat_best": 0}
    assert best["notes"] == [
        "1 trial was stopped early; none of them has been trained to its end, so it is not known "
        "how often that was wrong."
    ]


def test_remarks_of_a_worker_do_not_hide_that_the_pruner_stopped_a_trial(player: Player) -> None:
    search = player.submit(**STOPPING | {"pruner": {"name": "asha", "run_on": 0}})
    player.inspect()
    good, bad = player.work(), player.work()
    player.train(good, 0.5, 0.5, 0.5, 0.5)
    assert player.report(bad, 1, 0.1).json() == {"verdict": "stop"}
    remark = "40% of the units are dead"
    player.end(bad, "stopped", message=remark).raise_for_status()
    trial = player.http.get(f"/trials/{bad['trial']}").json()
    assert (trial["state"], trial["reason"], trial["stopped_at"]) == ("stopped", remark, 1)
    early_stops = player.http.get(f"/searches/{search['id']}/best").json()["stops"]
    assert early_stops == {"stopped": 1, "ran_on": 0, "beat_median": 0, "beat_best": 0}


def test_what_the_hours_stop_is_not_counted_for_the_pruner(served: Served) -> None:
    player = Player(served)
    search = player.submit(**STOPPING | {"budget": {"trials": 3, "hours": 2}})
    player.inspect()
    trial = player.work()
    with served.context.database.write() as session:
        session.execute(text("UPDATE searches SET running_since = running_since - 7300"))
    assert player.report(trial, 1, 0.1).json() == {"verdict": "stop"}
    player.end(trial, "stopped", message="a remark").raise_for_status()
    reason = player.http.get(f"/trials/{trial['trial']}").json()["reason"]
    assert reason.splitlines() == ["the budget of 2 hours is spent", "a remark"]
    best = player.http.get(f"/searches/{search['id']}/best").json()
    assert best["stops"]["stopped"] == 0


@pytest.mark.parametrize("share", [0.05, 0.5])
def test_the_share_that_runs_on_follows_from_the_seed(share: float) -> None:
    document = {"sampler": {"seed": 7}, "pruner": {"name": "asha", "run_on": share}}
    search = Search(document=document)
    chosen = [runs_on(search, Trial(number=number)) for number in range(4000)]
    assert sum(chosen) / 4000 == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)
    assert chosen == [runs_on(search, Trial(number=number)) for number in range(4000)]
