"""kill -9, wherever it hurts: nothing is lost, nothing is done twice, training goes on.

Whatever happens, the reports are bit for bit those of a twin that nothing happened to, on another
worker.
"""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest

from tests.system.digits import EPOCHS, SEARCH, Curves, attempts_by_step, curves
from tests.system.machine import (
    LEASE_SECONDS,
    Machine,
    has_ended,
    kill_all,
    rest,
    trial_processes,
    until,
)

pytestmark = pytest.mark.slow


def kill_agent_alone(worker: subprocess.Popen[str]) -> None:
    worker.kill()
    worker.wait()


@pytest.mark.parametrize(
    ("kill", "leases"), [(kill_all, 0), (kill_agent_alone, 0), (kill_all, 1), (kill_all, 3)]
)
def test_a_killed_worker_loses_nothing_and_its_trial_goes_on_from_the_checkpoint(
    machine: Machine, twin: Curves, kill: Callable[[subprocess.Popen[str]], None], leases: int
) -> None:
    """However long nobody is there: until the next worker comes, so many leases pass."""
    machine.serve()
    worker = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    children = psutil.Process(worker.pid).children(recursive=True)
    kill(worker)
    rest(leases * LEASE_SECONDS)
    machine.worker()
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
    attempts = attempts_by_step(machine, trial["id"])
    assert attempts[5] == 1, "the first epochs were not trained again"
    assert attempts[EPOCHS] == 2
    until(lambda: all(has_ended(child) for child in children))


def test_a_killed_trial_process_is_tried_again_by_its_worker(
    machine: Machine, twin: Curves
) -> None:
    machine.serve()
    worker = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    for process in trial_processes(worker):
        process.kill()
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
    assert worker.poll() is None, "the worker lives on"
    attempts = attempts_by_step(machine, trial["id"])
    assert (attempts[5], attempts[EPOCHS]) == (1, 2)


def test_a_killed_service_goes_on_where_it_was(machine: Machine, twin: Curves) -> None:
    service = machine.serve()
    machine.worker()
    search = machine.client.submit(SEARCH)
    for proposed in (False, True):
        machine.until_reported(search.id, 3, proposed=proposed)
        service.kill()
        service.wait()
        service = machine.serve()
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
    assert {trial["attempt"] for trial in machine.trials(search.id)} == {1}


@pytest.mark.parametrize("leases", [1, 3])
def test_a_service_that_was_away_for_leases_takes_nothing_from_a_living_worker(
    machine: Machine, twin: Curves, leases: int
) -> None:
    service = machine.serve()
    machine.worker()
    search = machine.client.submit(SEARCH)
    machine.until_reported(search.id, 3)
    service.kill()
    service.wait()
    rest(leases * LEASE_SECONDS)
    machine.serve()
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
    assert {trial["attempt"] for trial in machine.trials(search.id)} == {1}


def test_a_service_and_a_worker_that_are_killed_together_go_on_from_the_checkpoint(
    machine: Machine, twin: Curves
) -> None:
    service = machine.serve()
    worker = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5, proposed=True)
    service.kill()
    service.wait()
    kill_all(worker)
    machine.serve()
    machine.worker()
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
    attempts = attempts_by_step(machine, trial["id"])
    assert (attempts[5], attempts[EPOCHS]) == (1, 2)


def test_a_worker_stopped_past_its_lease_and_continued_changes_nothing(
    machine: Machine, twin: Curves
) -> None:
    machine.serve()
    sleeper = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    (training,) = trial_processes(sleeper)
    asleep = [psutil.Process(sleeper.pid), *psutil.Process(sleeper.pid).children(recursive=True)]
    for process in asleep:
        os.kill(process.pid, signal.SIGSTOP)
    machine.worker()
    until(lambda: machine.read(f"/trials/{trial['id']}")["attempt"] == 2)
    assert not machine.refused()
    # The trial alone at first: its agent would end it before it has said a stale word.
    os.kill(training.pid, signal.SIGCONT)
    until(machine.refused)
    for process in asleep:
        # The trial may have ended since it was refused.
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGCONT)
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
    attempts = attempts_by_step(machine, trial["id"])
    assert (attempts[5], attempts[EPOCHS]) == (1, 2)


def test_a_worker_that_is_told_to_stop_hands_its_trial_back_at_once(
    machine: Machine, twin: Curves
) -> None:
    machine.serve()
    worker = machine.worker()
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    worker.terminate()
    assert worker.wait(timeout=60) == 0
    assert machine.read(f"/trials/{trial['id']}")["state"] == "waiting"
    machine.worker()
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
