"""One owner: whoever else would decide is refused by the database, whatever it believes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service.errors import StandingBy
from service.store.database import Database
from service.store.election import Claim
from tests.support.postgres import Postgres

pytestmark = pytest.mark.postgres

LONG, GONE = 600.0, 0.0


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    database = Database(postgres.migrated(), silence=0.5)
    yield database
    database.close()


def write(database: Database, epoch: int) -> None:
    with database.of_epoch(epoch).write() as session:
        session.execute(text("UPDATE secrets SET value = value"))


def test_there_is_one_owner_until_it_resigns(database: Database) -> None:
    first, second = (Claim(database.engine, name, LONG) for name in "ab")
    assert (first.hold(), second.hold()) == (1, None)
    assert (first.hold(), second.hold()) == (1, None)
    write(database, 1)
    first.resign()
    assert second.hold() == 2
    assert first.hold() is None
    for claim in (first, second):
        claim.let_go()


def test_an_owner_whose_connection_has_ended_is_followed_at_once(database: Database) -> None:
    first, second = (Claim(database.engine, name, LONG) for name in "ab")
    assert (first.hold(), second.hold()) == (1, None)
    first.let_go()
    assert second.hold() == 2
    second.let_go()


def test_an_owner_that_comes_back_before_anyone_followed_remains_it(database: Database) -> None:
    claim = Claim(database.engine, "a", GONE)
    assert claim.hold() == 1
    claim.let_go()
    assert claim.hold() == 1
    claim.let_go()


def test_the_former_owner_writes_nothing_more(database: Database) -> None:
    first, second = Claim(database.engine, "a", GONE), Claim(database.engine, "b", LONG)
    assert (first.hold(), second.hold()) == (1, 2)
    with pytest.raises(StandingBy):
        write(database, 1)
    write(database, 2)
    assert first.hold() is None
    for claim in (first, second):
        claim.let_go()


def test_nobody_takes_over_in_the_middle_of_a_write(database: Database) -> None:
    first, second = Claim(database.engine, "a", GONE), Claim(database.engine, "b", LONG)
    assert first.hold() == 1
    with ThreadPoolExecutor(1) as pool:
        with database.of_epoch(1).write() as session:
            taking = pool.submit(second.hold)
            until_waiting(database)
            assert not taking.done()
            session.execute(text("UPDATE secrets SET value = value"))
        assert taking.result() == 2
    for claim in (first, second):
        claim.let_go()


def test_an_owner_may_renew_while_it_writes(database: Database) -> None:
    claim = Claim(database.engine, "a", LONG)
    assert claim.hold() == 1
    with database.of_epoch(1).write():
        assert claim.hold() == 1
    claim.let_go()


def test_a_write_that_was_stopped_half_way_is_undone_and_keeps_nobody_out(
    database: Database,
) -> None:
    first, second = Claim(database.engine, "a", GONE), Claim(database.engine, "b", LONG)
    assert first.hold() == 1
    stopped = database.of_epoch(1).write()
    session = stopped.__enter__()
    session.execute(text("INSERT INTO secrets (name, value) VALUES ('half', 'done')"))
    assert second.hold() == 2
    with pytest.raises(SQLAlchemyError):
        session.execute(text("SELECT 1"))
    with pytest.raises(SQLAlchemyError):
        stopped.__exit__(None, None, None)
    with database.read() as reader:
        assert reader.scalar(text("SELECT count(*) FROM secrets WHERE name = 'half'")) == 0
    for claim in (first, second):
        claim.let_go()


def until_waiting(database: Database) -> None:
    """Wait until some process of the database waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        with database.read() as session:
            if session.scalar(waiting):
                return
