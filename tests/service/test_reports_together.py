"""Reports of a search that arrive together: one transaction, and an answer for each request."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError

from service.runtime.report_batches import PendingReport, ReportBatches
from service.store import attempts as stored_attempts
from service.study.live import LiveStudy
from tests.service.test_leases import until
from tests.support.player import Player
from tests.support.serving import Served

Sent = list[tuple[dict[str, Any], dict[str, float]]]


@pytest.fixture
def served(serve: Callable[..., Served]) -> Served:
    return serve(lease_seconds=60)


def running(player: Player, trials: int, **changes: Any) -> list[dict[str, Any]]:
    """Return the assignments of a search's first trials."""
    player.submit(budget={"trials": trials}, parallel=trials, **changes)
    player.inspect()
    return [player.work() for _ in range(trials)]


def send(player: Player, assignment: dict[str, Any], metrics: dict[str, float]) -> httpx2.Response:
    url = f"/leases/{assignment['lease']}/reports"
    return player.http.post(url, json={"reports": [{"step": 1, "metrics": metrics}]})


def at_once(served: Served, player: Player, sent: Sent) -> list[httpx2.Response]:
    """Send reports while the study is locked, so that they wait; return the answers."""
    search = sent[0][0]["search"]
    with ThreadPoolExecutor(len(sent)) as pool:
        answers: list[Future[httpx2.Response]] = []
        with served.context.studies.lock(search):
            for number, (assignment, metrics) in enumerate(sent):
                answers.append(pool.submit(send, player, assignment, metrics))
                # The first waits for the lock; all others wait for the first.
                until(partial(is_batch_of, served.context.report_batches, number))
        return [answer.result() for answer in answers]


def is_batch_of(report_batches: ReportBatches, count: int) -> bool:
    return report_batches.is_storing and report_batches.size == count


@contextmanager
def commits_of_reports(served: Served) -> Iterator[list[int]]:
    """Count how many reports each transaction stores."""
    stored, counts = [0], []

    def count(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
        if statement.startswith("INSERT INTO reports"):
            stored[0] += len(parameters) if many else 1

    def note(_connection: Any) -> None:
        if stored[0]:
            counts.append(stored[0])
        stored[0] = 0

    engine = served.context.database.engine
    event.listen(engine, "before_cursor_execute", count)
    event.listen(engine, "commit", note)
    yield counts
    event.remove(engine, "before_cursor_execute", count)
    event.remove(engine, "commit", note)


def test_reports_that_wait_are_stored_in_one_transaction(served: Served, player: Player) -> None:
    attempts = running(player, 6)
    with commits_of_reports(served) as commits:
        sent = [(attempt, {attempt["metric"]: 0.1 * i}) for i, attempt in enumerate(attempts)]
        answers = at_once(served, player, sent)
    assert [answer.json()["verdict"] for answer in answers] == ["continue"] * 6
    assert commits == [1, 5]
    trials = {trial["id"]: trial for trial in player.trials(attempts[0]["search"])}
    for i, attempt in enumerate(attempts):
        assert trials[attempt["trial"]]["value"] == pytest.approx(0.1 * i)
        assert trials[attempt["trial"]]["step"] == 1
    with served.context.database.read() as session:
        numbers = session.execute(text("SELECT number FROM events ORDER BY number")).scalars().all()
        told = session.execute(text("SELECT told FROM reports WHERE told IS NOT NULL")).scalars()
        assert list(numbers) == list(range(1, len(numbers) + 1))
        assert len(set(told)) == len({t["id"] for t in trials.values() if t["kind"] == "proposed"})


def test_each_request_gets_its_own_answer(served: Served, player: Player) -> None:
    attempts = running(player, 5)
    first, fine, twice, ended, blind = attempts
    assert player.end(ended, "failed", failure="preempted").status_code == 204
    value = {first["metric"]: 0.5}
    sent = [(first, value), (fine, value), (twice, value), (ended, value), (twice, value)]
    answers = at_once(served, player, [*sent, (blind, {"validation_loss": 1.0})])
    assert [answer.status_code for answer in answers] == [200, 200, 200, 409, 200, 422]
    assert answers[5].json()["errors"][0]["field"] == "reports.metrics"
    with served.context.database.read() as session:
        rows = session.execute(text("SELECT trial_id FROM reports")).scalars().all()
    assert sorted(rows) == sorted(one["trial"] for one in (first, fine, twice))


def test_a_request_that_raises_an_error_does_not_affect_the_others(
    served: Served, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = running(player, 4, sampler={"name": "random"})
    learned = LiveStudy.report

    def breaks(self: LiveStudy, number: int, step: int, value: float, *, may_stop: bool) -> bool:
        if value == 0.666:
            raise ValueError("a sampler that breaks")
        return learned(self, number, step, value, may_stop=may_stop)

    monkeypatch.setattr(LiveStudy, "report", breaks)
    metric = attempts[0]["metric"]
    values = [0.5, 0.5, 0.666, 0.5]
    sent = [(one, {metric: value}) for one, value in zip(attempts, values, strict=True)]
    answers = at_once(served, player, sent)
    assert [answer.status_code for answer in answers] == [200, 200, 500, 200]
    # Nothing of it was stored, so it can be sent again.
    assert send(player, attempts[2], {metric: 0.6}).status_code == 200
    shown = {trial["id"]: trial["value"] for trial in player.trials(attempts[0]["search"])}
    assert [shown[one["trial"]] for one in attempts] == [0.5, 0.5, 0.6, 0.5]


def test_a_stale_report_does_not_drop_the_live_study(served: Served, player: Player) -> None:
    fresh, stale = running(player, 2)
    value = {fresh["metric"]: 0.5}
    assert send(player, fresh, value).status_code == 200
    assert player.end(stale, "failed", failure="preempted").status_code == 204
    with served.context.studies.lock(fresh["search"]) as locked_study:
        before = locked_study.live
    assert send(player, stale, value).status_code == 409
    assert player.end(stale).status_code == 409
    with served.context.studies.lock(fresh["search"]) as locked_study:
        assert locked_study.live is before is not None


def test_an_error_of_the_database_answers_the_whole_batch(
    served: Served, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempts = running(player, 5)
    calls = []

    def away(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise OperationalError("UPDATE", {}, Exception("the store is away"))

    sent = [(one, {one["metric"]: 0.5}) for one in attempts]
    with monkeypatch.context() as patch:
        patch.setattr(stored_attempts, "record_activity", away)
        answers = at_once(served, player, sent)
    assert [answer.status_code for answer in answers] == [503] * 5
    assert len(calls) == 2, "once for the first, once for all others"
    assert {one.status_code for one in at_once(served, player, sent)} == {200}


def test_each_attempt_of_a_killed_search_ends_once(served: Served, player: Player) -> None:
    attempts = running(player, 3)
    search = attempts[0]["search"]
    with served.context.database.write() as session:
        session.execute(text("UPDATE searches SET wanted = 'kill'"))
    sent = [(one, {one["metric"]: 0.5}) for one in (*attempts, attempts[2])]
    answers = at_once(served, player, sent)
    assert [answer.status_code for answer in answers] == [200, 200, 200, 409]
    assert {answer.json().get("verdict") for answer in answers[:3]} == {"cancel"}
    assert player.search(search)["state"] == "cancelled"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_every_request_is_in_one_batch(searches: list[str]) -> None:
    report_batches, batches = ReportBatches(), []

    def join(search: str) -> PendingReport:
        pending = PendingReport("lease", [])
        with report_batches.join(search, pending) as batch:
            assert not batch or pending in batch
            if batch:
                batches.append((search, batch))
            for one in batch:
                one.answer.set_exception(KeyError(search))  # Raises if it was answered before.
        return pending

    with ThreadPoolExecutor(8) as pool:
        requests = list(zip(searches, pool.map(join, searches), strict=True))
    for search, pending in requests:
        error = pending.answer.exception(timeout=0)
        assert error is not None
        assert error.args == (search,)
    assert sum(len(batch) for _, batch in batches) == len(searches)
    assert report_batches.size == 0
    assert not report_batches.is_storing
