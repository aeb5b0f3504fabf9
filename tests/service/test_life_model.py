"""Searches under random sequences of calls, against the invariants that must always hold."""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import text

from tests.support.player import Player, plan
from tests.support.serving import Served

pytestmark = pytest.mark.slow

ENDED = {"completed", "cancelled", "failed"}
LIVE = {"preparing", "queued", "running"}
MOST_ROUNDS = 200
MOST_LOSSES = 2
"""In a row without a report; then a trial is given up."""
FAILURES = ("lost", "preempted", "environment", "out_of_memory", "diverged", "user_error")
ALLOWED: dict[str, Callable[[dict[str, Any]], bool]] = {
    "pause": lambda one: one["state"] in LIVE and one["wanted"] == "run",
    "resume": lambda one: one["state"] == "paused",
    "cancel": lambda one: one["state"] not in ENDED and one["wanted"] not in ("cancel", "kill"),
    "kill": lambda one: one["state"] not in ENDED and one["wanted"] != "kill",
}
AFTERWARDS = {"pause": {"paused"}, "resume": LIVE | ENDED, "cancel": LIVE | ENDED}
AFTERWARDS["kill"] = AFTERWARDS["cancel"]


class Life(RuleBasedStateMachine):
    """Plays users and a worker; knows of every search what its budget may have paid for."""

    def __init__(self, new_store: Callable[[], dict[str, str]]) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.served = Served(self.home, **new_store())
        self.player = Player(self.served)
        self.most: dict[str, int] = {}
        self.open: list[dict[str, Any]] = []
        self.closed: list[dict[str, Any]] = []
        self.losses: Counter[str] = Counter()

    def teardown(self) -> None:
        try:
            self.let_everything_end()
        finally:
            self.served.close()
            shutil.rmtree(self.home)

    def let_everything_end(self) -> None:
        """Finish what is open, then work until every search has ended: none may hang."""
        for assignment in list(self.open):
            self.open.remove(assignment)
            self.finish(assignment, 0.5)
        for _ in range(MOST_ROUNDS):
            states = {id: self.read(id)["state"] for id in self.most}
            if all(state in ENDED for state in states.values()):
                break
            for id, state in states.items():
                if state == "paused":
                    self.player.http.post(f"/searches/{id}/resume").raise_for_status()
            self.train(0.5, 1)
        else:
            raise AssertionError(f"searches that never end: {states}")
        self.every_search_keeps_its_promises()
        self.events_are_numbered_without_a_gap()

    def read(self, id: str) -> dict[str, Any]:
        return self.player.search(id)

    def pick(self, data: st.DataObject) -> str:
        # By its place: ids are random, and an example must replay.
        return list(self.most)[data.draw(st.integers(0, len(self.most) - 1))]

    @precondition(lambda self: len(self.most) < 3)
    @rule(trials=st.integers(1, 3), parallel=st.integers(1, 3), seeds=st.integers(0, 2))
    def submit(self, trials: int, parallel: int, seeds: int) -> None:
        baselines = {"original_seeds": seeds, "uniform": False}
        budget = {"trials": trials, "failures": MOST_LOSSES}
        # Four candidates: repeats, and searches that have tried all, come up by themselves.
        space = {"choices": ["relu", "silu"], "sites": {"per": "layer"}}
        document = {"budget": budget, "parallel": parallel, "baselines": baselines} | space
        search = self.player.submit(**document)
        self.most[search["id"]] = trials

    @rule(count=st.integers(1, 4))
    def lease(self, count: int) -> None:
        for _ in range(count):
            assignment = self.player.lease(wait=0.05)
            if assignment is None:
                return
            assert self.read(assignment["search"])["wanted"] == "run"
            self.open.append(assignment)

    @rule(value=st.floats(0, 1), count=st.integers(1, 4))
    def train(self, value: float, count: int) -> None:
        """Let the worker do what there is, so that searches come to their ends."""
        for _ in range(count):
            assignment = self.player.lease(wait=0.05)
            if assignment is None:
                return
            self.closed.append(assignment)
            if assignment["kind"] == "inspection":
                assert self.player.end(assignment, plan=plan()).status_code == 204
            else:
                self.player.train(assignment, value)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), value=st.floats(0, 1), how=st.sampled_from(["completed", *FAILURES]))
    def end(self, data: st.DataObject, value: float, how: str) -> None:
        assignment = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        self.closed.append(assignment)
        if how == "completed":
            self.finish(assignment, value)
            return
        self.losses[assignment["trial"]] += how == "lost"
        answer = self.player.end(assignment, "failed", failure=how, message=how)
        assert answer.status_code == 204

    def finish(self, assignment: dict[str, Any], value: float) -> None:
        """Report once, obey the verdict, which is known beforehand, and end the attempt."""
        wanted = self.read(assignment["search"])["wanted"]
        if assignment["kind"] == "inspection":
            assert self.player.end(assignment, plan=plan()).status_code == 204
            return
        verdict = self.player.report(assignment, 1, value).json()["verdict"]
        expected = {"run": "continue", "pause": "release", "kill": "cancel"}
        assert verdict == expected.get(wanted, "continue")
        if verdict != "cancel":
            outcome = "released" if verdict == "release" else "completed"
            assert self.player.end(assignment, outcome).status_code == 204
        if verdict == "release":
            trial = self.player.http.get(f"/trials/{assignment['trial']}").json()
            assert trial["state"] == "waiting"

    @precondition(lambda self: self.closed)
    @rule(data=st.data())
    def speak_too_late(self, data: st.DataObject) -> None:
        assignment = self.closed[data.draw(st.integers(0, len(self.closed) - 1))]
        before = self.player.trials(assignment["search"])
        assert self.player.report(assignment, 9, 0.9).status_code == 409
        assert self.player.beat(assignment) == {assignment["lease"]: "cancel"}
        assert self.player.trials(assignment["search"]) == before

    @precondition(lambda self: self.most)
    @rule(data=st.data(), word=st.sampled_from(sorted(ALLOWED)))
    def act(self, data: st.DataObject, word: str) -> None:
        self.say(self.pick(data), word)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), word=st.sampled_from(["report", "beat"]))
    def kill_what_runs(self, data: st.DataObject, word: str) -> None:
        """Whichever word a trial says next, it hears that it was killed."""
        id = self.open[data.draw(st.integers(0, len(self.open) - 1))]["search"]
        self.say(id, "kill")
        for assignment in [one for one in self.open if one["search"] == id]:
            self.open.remove(assignment)
            self.closed.append(assignment)
            if word == "beat":
                assert self.player.beat(assignment) == {assignment["lease"]: "cancel"}
            else:
                assert self.player.report(assignment, 1, 0.5).json() == {"verdict": "cancel"}
        assert self.read(id)["state"] == "cancelled"

    def say(self, id: str, word: str) -> None:
        before = self.read(id)
        answer = self.player.http.post(f"/searches/{id}/{word}")
        if ALLOWED[word](before):
            assert answer.status_code == 200, answer.text
            assert answer.json()["state"] in AFTERWARDS[word]
        else:
            assert answer.status_code == 409, answer.text
            assert self.read(id)["state"] == before["state"]

    @precondition(lambda self: self.most)
    @rule(data=st.data(), trials=st.integers(1, 5), parallel=st.integers(1, 4))
    def change(self, data: st.DataObject, trials: int, parallel: int) -> None:
        id = self.pick(data)
        before = self.read(id)
        body = {"budget": {"trials": trials}, "parallel": parallel}
        answer = self.player.http.patch(f"/searches/{id}", json=body)
        is_over = before["state"] in ("cancelled", "failed") or before["wanted"] in (
            "cancel",
            "kill",
        )
        assert answer.status_code == (409 if is_over else 200), answer.text
        if not is_over:
            self.most[id] = max(self.most[id], trials)

    @precondition(lambda self: self.most)
    @rule(data=st.data(), name=st.sampled_from(["relu", "silu", "gelu"]))
    def add_by_hand(self, data: st.DataObject, name: str) -> None:
        id = self.pick(data)
        body = {"candidate": {"sites": {"block0.act": name}}}
        answer = self.player.http.post(f"/searches/{id}/trials", json=body)
        assert answer.status_code in (201, 409)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """A worker falls silent, and comes back before anyone took its trial."""
        assignment = self.open[data.draw(st.integers(0, len(self.open) - 1))]
        self.expire(assignment)
        self.comes_back(assignment)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def supersede(self, data: st.DataObject) -> None:
        """A worker falls silent, and whoever takes its trial leaves it no word in it."""
        assignment = self.open[data.draw(st.integers(0, len(self.open) - 1))]
        # As if a lease length had passed since the start, before which nothing is taken.
        object.__setattr__(self.served.context, "started_at", 0.0)
        self.expire(assignment)
        taken = self.player.lease(wait=0.05)
        if taken is not None:
            self.open.append(taken)
        if taken is None or taken["trial"] != assignment["trial"]:
            self.comes_back(assignment)
            return
        assert taken["attempt"] == assignment["attempt"] + 1
        self.losses[assignment["trial"]] += 1
        self.open.remove(assignment)
        self.closed.append(assignment)
        before = self.player.trials(assignment["search"])
        assert self.player.report(assignment, 1, 0.9).status_code == 409
        assert self.player.end(assignment, plan=plan()).status_code == 409
        assert self.player.trials(assignment["search"]) == before

    def expire(self, assignment: dict[str, Any]) -> None:
        with self.served.context.database.write() as session:
            statement = "UPDATE attempts SET expires_at = 0 WHERE id = :id"
            session.execute(text(statement), {"id": assignment["lease"]})

    def comes_back(self, assignment: dict[str, Any]) -> None:
        """Renew a lease, which ends the attempt only where its search does not go on, or where
        the trial was lost too often.
        """
        wanted = self.read(assignment["search"])["wanted"]
        answer = self.player.beat(assignment)[assignment["lease"]]
        if answer == "cancel":
            assert wanted != "run" or self.was_given_up(assignment["trial"])
            self.open.remove(assignment)
            self.closed.append(assignment)

    def was_given_up(self, trial: str) -> bool:
        shown = self.player.http.get(f"/trials/{trial}").json()
        is_given_up = (shown["state"], shown["failure"]) == ("failed", "lost")
        assert not is_given_up or self.losses[trial] + 1 >= MOST_LOSSES
        return is_given_up

    @precondition(lambda self: self.most)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        id = self.pick(data)
        assert self.player.http.delete(f"/searches/{id}").status_code == 204
        assert self.player.http.get(f"/searches/{id}").status_code == 404
        del self.most[id]
        self.closed = [one for one in self.closed if one["search"] != id]
        gone = [one for one in self.open if one["search"] == id]
        self.open = [one for one in self.open if one["search"] != id]
        for assignment in gone:
            assert self.player.report(assignment, 1, 0.5).status_code == 409

    @precondition(lambda self: self.most)
    @rule()
    def restart(self) -> None:
        self.served.restart()

    @invariant()
    def what_the_worker_holds_is_what_the_service_has_given(self) -> None:
        # A kill is heard at the next word: until then the attempt is open.
        with self.served.context.database.read() as session:
            rows = session.execute(text("SELECT id FROM attempts WHERE ended_at IS NULL")).scalars()
            assert set(rows) == {assignment["lease"] for assignment in self.open}

    @invariant()
    def every_search_keeps_its_promises(self) -> None:
        for id, most in self.most.items():
            search, trials = self.read(id), self.player.trials(id)
            states = Counter(trial["state"] for trial in trials)
            own = [t for t in trials if t["kind"] == "proposed" and t["repeat_of"] is None]
            assert len(own) <= most
            assert search["spent"]["trials"] == len(own)
            assert [trial["number"] for trial in trials] == list(range(len(trials)))
            running = {trial["id"] for trial in trials if trial["state"] == "running"}
            held = [
                one["trial"]
                for one in self.open
                if one["search"] == id and one["number"] is not None
            ]
            assert sorted(running) == sorted(held)
            if search["state"] in ENDED:
                assert not states["waiting"]
                assert not states["running"]
            if search["state"] == "completed":
                spent = search["reason"].startswith("every candidate")
                assert spent or len(own) >= min(most, search["budget"]["trials"])
            for trial in trials:
                if trial["repeat_of"] is not None:
                    assert trial["attempt"] == 0
            for trial in trials:
                has_value = trial["value"] is not None
                assert has_value or trial["state"] != "completed"
                assert not (has_value and trial["state"] in ("failed", "cancelled"))

    @invariant()
    def events_are_numbered_without_a_gap(self) -> None:
        with self.served.context.database.read() as session:
            for id in self.most:
                statement = "SELECT count(*), max(number) FROM events WHERE search_id = :id"
                count, last = session.execute(text(statement), {"id": id}).one()
                assert count == last == self.read(id)["events"]


def test_whatever_is_said_searches_live_as_they_should(
    new_store: Callable[[], dict[str, str]],
) -> None:
    run_state_machine_as_test(
        # Any callable that makes one will do, though the annotation asks for the class.
        cast(type[Life], lambda: Life(new_store)),
        settings=settings(
            max_examples=8,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
