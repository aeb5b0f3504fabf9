"""kill -9, wherever it hurts: nothing is lost, nothing is done twice, training goes on."""

import os
import signal
from typing import Any

import psutil
import pytest

from tests.system.machine import LEASE_SECONDS, Machine, kill_all, trial_processes, until

pytestmark = pytest.mark.slow

EPOCHS = 20
SEARCH: dict[str, Any] = {
    "task": {
        "name": "image-classification",
        "dataset": "digits",
        "network": "small-cnn",
        "epochs": EPOCHS,
        "batch_size": 64,
    },
    "choices": ["relu", "silu", {"name": "pwlu", "segments": [4, 8]}],
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 3},
    "pruner": {"name": "none"},
    "parallel": 1,
    "confirm": None,
}


def check_nothing_lost_or_twice(machine: Machine, search_id: str) -> None:
    """Every trial ended once with every epoch reported, and the budget is exact."""
    trials = machine.trials(search_id)
    trained = [trial for trial in trials if trial["repeat_of"] is None]
    assert len(trained) == 4
    for trial in trained:
        assert trial["state"] == "completed", trial
        reports = machine.read(f"/trials/{trial['id']}/reports")
        assert [report["step"] for report in reports] == list(range(1, EPOCHS + 1))
        assert trial["value"] == reports[-1]["value"]


def attempts_by_step(machine: Machine, trial_id: str) -> dict[int, int]:
    reports = machine.read(f"/trials/{trial_id}/reports")
    return {report["step"]: report["attempt"] for report in reports}


def test_a_killed_worker_loses_nothing_and_its_trial_goes_on_from_the_checkpoint(
    machine: Machine,
) -> None:
    machine.serve()
    worker = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    kill_all(worker)
    machine.worker()
    machine.wait(search.id)

    check_nothing_lost_or_twice(machine, search.id)
    attempts = attempts_by_step(machine, trial["id"])
    assert attempts[5] == 1, "the first epochs were not trained again"
    assert attempts[EPOCHS] == 2


def test_a_killed_trial_process_is_tried_again_by_its_worker(machine: Machine) -> None:
    machine.serve()
    worker = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    for process in trial_processes(worker):
        process.kill()
    machine.wait(search.id)

    check_nothing_lost_or_twice(machine, search.id)
    assert worker.poll() is None, "the worker lives on"
    attempts = attempts_by_step(machine, trial["id"])
    assert (attempts[5], attempts[EPOCHS]) == (1, 2)


def test_a_killed_service_goes_on_where_it_was(machine: Machine) -> None:
    service = machine.serve()
    machine.worker()
    search = machine.client.submit(SEARCH)
    for proposed in (False, True):
        machine.until_reported(search.id, 3, proposed=proposed)
        service.kill()
        service.wait()
        service = machine.serve()
    machine.wait(search.id)

    check_nothing_lost_or_twice(machine, search.id)
    assert {trial["attempt"] for trial in machine.trials(search.id)} == {1}


def test_a_service_that_was_away_for_longer_than_a_lease_takes_nothing_from_a_living_worker(
    machine: Machine,
) -> None:
    service = machine.serve()
    machine.worker()
    search = machine.client.submit(SEARCH)
    machine.until_reported(search.id, 3)
    service.kill()
    service.wait()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2})
    signal.sigtimedwait({signal.SIGUSR2}, 2 * LEASE_SECONDS)
    machine.serve()
    machine.wait(search.id)
    check_nothing_lost_or_twice(machine, search.id)
    assert {trial["attempt"] for trial in machine.trials(search.id)} == {1}


def test_a_worker_stopped_past_its_lease_and_continued_changes_nothing(machine: Machine) -> None:
    machine.serve()
    sleeper = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    asleep = [psutil.Process(sleeper.pid), *psutil.Process(sleeper.pid).children(recursive=True)]
    for process in asleep:
        os.kill(process.pid, signal.SIGSTOP)
    machine.worker()
    until(lambda: machine.read(f"/trials/{trial['id']}")["attempt"] == 2)
    for process in asleep:
        if process.is_running():
            os.kill(process.pid, signal.SIGCONT)
    machine.wait(search.id)
    check_nothing_lost_or_twice(machine, search.id)
    attempts = attempts_by_step(machine, trial["id"])
    assert (attempts[5], attempts[EPOCHS]) == (1, 2)


def test_a_worker_that_is_told_to_stop_hands_its_trial_back_at_once(machine: Machine) -> None:
    machine.serve()
    worker = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    worker.terminate()
    assert worker.wait(timeout=20) == 0
    assert machine.read(f"/trials/{trial['id']}")["state"] == "waiting"
    machine.worker()
    machine.wait(search.id)
    check_nothing_lost_or_twice(machine, search.id)
