"""How many SQL statements the most frequent calls make. More is a regression to be explained."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread
from typing import Any

import pytest
from sqlalchemy import event

from tests.support.player import Player
from tests.support.serving import Served

NOT_COUNTED = ("BEGIN", "COMMIT", "ROLLBACK", "SELECT owner.epoch", "SELECT pg_catalog")
"""Transaction control; PostgreSQL's leader is checked with it, and new connections are set up."""

CONFIRMED = {"confirm": {"seeds": 2, "shortlist": 1}, "budget": {"trials": 2}}


@contextmanager
def statements(served: Served, *, scheduler: bool = False) -> Iterator[list[str]]:
    """Collect the statements of the service, transaction control aside.

    Args:
        scheduler: Whether those of the scheduler count, which looks at all searches now and then.
    """
    engine, found = served.context.database.engine, []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        is_counted = scheduler or current_thread().name != "scheduler"
        if is_counted and not statement.startswith(NOT_COUNTED):
            found.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def confirmed(player: Player) -> dict[str, Any]:
    """A search that has confirmed its winner."""
    search = player.submit(**CONFIRMED)
    player.inspect()
    while (assignment := player.lease(wait=0.5)) is not None:
        value = 0.9 if assignment["kind"] != "baseline" else 0.8
        player.report(assignment, 1, value + 0.001 * assignment["number"])
        test = {"test_accuracy": value} if assignment["kind"] == "confirmation" else {}
        player.end(assignment, test=test)
    return player.search(search["id"])


@pytest.mark.parametrize(
    ("path", "most"),
    [("", 6), ("/best", 6), ("/best/config", 3), ("/best/config?unconfirmed=true", 4)],
)
def test_a_confirmed_search_is_read_with_few_statements(
    served: Served, confirmed: dict[str, Any], path: str, most: int
) -> None:
    with statements(served) as found:
        served.http.get(f"/searches/{confirmed['id']}{path}").raise_for_status()
    assert 0 < len(found) <= most, found


def test_a_list_of_searches_takes_as_many_statements_as_one(
    served: Served, player: Player, confirmed: dict[str, Any]
) -> None:
    del confirmed
    with statements(served) as one:
        assert len(served.http.get("/searches").raise_for_status().json()["items"]) == 1
    for _ in range(49):
        player.submit()
    with statements(served) as fifty:
        listed = served.http.get("/searches").raise_for_status().json()["items"]
    assert len(listed) == 50
    assert len(fifty) == len(one) <= 6, fifty


def test_a_report_and_a_hand_out_take_few_statements(served: Served, player: Player) -> None:
    player.submit()
    player.inspect()
    with statements(served, scheduler=True) as first:
        baseline = player.work()
    player.report(baseline, 1, 0.5).raise_for_status()
    with statements(served) as report:
        player.report(baseline, 2, 0.5).raise_for_status()
    player.end(baseline)
    with statements(served, scheduler=True) as proposal:
        assert player.work()["kind"] == "proposed"
    assert 0 < len(report) <= 9, report
    # The scheduler may look at the searches more than once meanwhile.
    assert 0 < len(first) <= 30, first
    assert 0 < len(proposal) <= 40, proposal
