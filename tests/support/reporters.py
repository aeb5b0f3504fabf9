"""Attempts that report as fast as they are answered, whatever happens to the service."""

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any

import httpx2
from sqlalchemy import Engine, select

from service.store.models import Event, Report, Search, Trial
from tests.support.player import Player
from tests.support.serving import JSON

MANY = 10**6


class Reporters:
    """Runs a search whose attempts end when they are told to. What is not answered is said again.

    Attributes:
        search: The id of the search.
        answered: The values of the reports that were answered 200, by trial and step.
        refused: The answers 503.
        broken_off: How many requests were lost on the way.
    """

    def __init__(self, url: str, count: int) -> None:
        self.http = httpx2.Client(base_url=f"{url}/v1", timeout=30, headers=JSON)
        self._player = Player(self)
        self.search = str(
            self._player.submit(
                task={"name": "image-classification", "dataset": "digits"}
                | {"network": "small-cnn", "epochs": MANY},
                baselines={"original_seeds": 0, "uniform": False},
                budget={"trials": count},
                parallel=count,
            )["id"]
        )
        self._player.inspect()
        self._assignments = [self._player.work() for _ in range(count)]
        self.answered: dict[tuple[str, int], float] = {}
        self.refused: list[httpx2.Response] = []
        self.broken_off = 0
        self._running: list[Future[None]] = []
        self._answer = threading.Condition()
        self._over = False

    def wait(self, more: int, seconds: float = 60) -> None:
        """Wait until so many more reports have been answered."""
        with self._answer:
            wanted = len(self.answered) + more
            arrived = self._answer.wait_for(lambda: len(self.answered) >= wanted, seconds)
        broken = [one.exception() for one in self._running if one.done()]
        assert arrived, f"only {len(self.answered)} of {wanted} reports were answered: {broken}"

    def say(self, assignment: dict[str, Any]) -> None:
        """Report one step after another, and complete the trial when it is over."""
        step, values = 0, random.Random(assignment["trial"])
        while not self._over:
            step, value = step + 1, values.random()
            self._insist(partial(self._player.report, assignment, step, value), 200)
            with self._answer:
                self.answered[assignment["trial"], step] = value
                self._answer.notify_all()
        self._insist(partial(self._player.end, assignment), 204)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Report until the block is left; then every trial completes."""
        with ThreadPoolExecutor(len(self._assignments)) as pool, closing(self.http):
            try:
                self._running = [pool.submit(self.say, one) for one in self._assignments]
                yield
            finally:
                self._over = True
            for one in self._running:
                one.result(60)

    def _insist(self, say: Callable[[], httpx2.Response], expected: int) -> None:
        while True:
            try:
                answer = say()
            except httpx2.ConnectError:
                # The service is not there at all.
                threading.Event().wait(0.02)
            except httpx2.TransportError:
                self.broken_off += 1
            else:
                if answer.status_code != 503:
                    assert answer.status_code == expected, answer.text
                    return
                self.refused.append(answer)
                threading.Event().wait(0.02)


def check_stored(engine: Engine, reporters: Reporters) -> None:
    """Check that what was answered is stored once, and nothing else, and was told in order."""
    in_search = Trial.search_id == reporters.search
    reports = select(Report.trial_id, Report.step, Report.value).join(Trial).where(in_search)
    events = select(Event).where(Event.search_id == reporters.search).order_by(Event.number)
    counted = select(Search.events).where(Search.id == reporters.search)
    said = sorted((trial, step, value) for (trial, step), value in reporters.answered.items())
    with engine.connect() as connection:
        assert sorted(tuple(row) for row in connection.execute(reports)) == said
        told = connection.execute(events).all()
        assert [event.number for event in told] == list(range(1, len(told) + 1))
        assert connection.scalar(counted) == len(told)
    data = [event.data for event in told if event.kind == "report"]
    assert sorted((one["trial"], one["step"], one["value"]) for one in data) == said
