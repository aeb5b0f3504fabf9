"""Background threads: when they run, what a failure does to them, and how they end."""

import logging
from collections.abc import Iterator
from threading import Event, Semaphore

import pytest

from service.runtime import background
from service.runtime.background import BackgroundThread

SOON = 0.01
LONG = 600.0
PATIENCE = 60.0


@pytest.fixture
def thread() -> Iterator[BackgroundThread]:
    thread = BackgroundThread("a test")
    yield thread
    thread.stop(wait=True)


def test_a_failure_is_logged_and_does_not_end_the_thread(
    thread: BackgroundThread, caplog: pytest.LogCaptureFixture
) -> None:
    runs = Semaphore(0)

    def fail() -> None:
        runs.release()
        raise RuntimeError("it broke")

    thread.start(fail, interval=SOON)
    for _ in range(3):
        assert runs.acquire(timeout=PATIENCE)
    thread.stop(wait=True)
    assert "it broke" in caplog.text
    assert {(record.name, record.levelno) for record in caplog.records} == {
        ("service.runtime.background", logging.ERROR)
    }


def test_a_failure_without_an_interval_is_retried(
    thread: BackgroundThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "RETRY_SECONDS", SOON)
    failed, done = Event(), Event()

    def fail_once() -> None:
        if failed.is_set():
            done.set()
        else:
            failed.set()
            raise RuntimeError("it broke")

    thread.wake()
    thread.start(fail_once)
    assert done.wait(PATIENCE)


def test_it_runs_when_woken_and_not_before(thread: BackgroundThread) -> None:
    ran = Event()
    thread.start(ran.set)
    assert not ran.wait(0.1)
    thread.wake()
    assert ran.wait(PATIENCE)


def test_a_wake_up_during_a_run_leads_to_another(thread: BackgroundThread) -> None:
    runs, woken = Semaphore(0), Event()

    def run() -> None:
        runs.release()
        woken.wait(PATIENCE)

    thread.wake()
    thread.start(run)
    assert runs.acquire(timeout=PATIENCE)
    thread.wake()
    woken.set()
    assert runs.acquire(timeout=PATIENCE)


def test_stopping_interrupts_the_pauses_of_a_run_and_starts_no_other() -> None:
    thread, started, pauses = BackgroundThread("a test"), Event(), []

    def run() -> None:
        started.set()
        pauses.append(thread.stops_within(LONG))

    thread.wake()
    thread.start(run)
    assert started.wait(PATIENCE)
    thread.wake()
    thread.stop(wait=True)
    assert pauses == [True]


def test_a_thread_that_was_not_started_can_be_stopped() -> None:
    BackgroundThread("a test").stop(wait=True)
