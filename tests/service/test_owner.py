"""One owner: whoever else would decide is refused by the database, whatever it believes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from service.errors import StandingBy
from service.store.database import Database
from service.store.election import LeaderElection
from tests.support.postgres import Postgres

pytestmark = pytest.mark.postgres

LONG, GONE = 600.0, 0.0


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    database = Database(postgres.migrated(), idle_timeout=0.5)
    yield database
    database.close()


def write(database: Database, epoch: int) -> None:
    with database.of_epoch(epoch).write() as session:
        session.execute(text("UPDATE secrets SET value = value"))


def test_there_is_one_owner_until_it_resigns(database: Database) -> None:
    first, second = (LeaderElection(database.engine, name, LONG) for name in "ab")
    assert (first.acquire_or_renew(), second.acquire_or_renew()) == (1, None)
    assert (first.acquire_or_renew(), second.acquire_or_renew()) == (1, None)
    write(database, 1)
    first.release()
    assert second.acquire_or_renew() == 2
    assert first.acquire_or_renew() is None
    for election in (first, second):
        election.disconnect()


def test_an_owner_whose_connection_has_ended_is_followed_at_once(database: Database) -> None:
    first, second = (LeaderElection(database.engine, name, LONG) for name in "ab")
    assert (first.acquire_or_renew(), second.acquire_or_renew()) == (1, None)
    first.disconnect()
    assert second.acquire_or_renew() == 2
    second.disconnect()


def test_an_owner_that_comes_back_before_anyone_followed_remains_it(database: Database) -> None:
    election = LeaderElection(database.engine, "a", GONE)
    assert election.acquire_or_renew() == 1
    election.disconnect()
    assert election.acquire_or_renew() == 1
    election.disconnect()


def test_the_former_owner_writes_nothing_more(database: Database) -> None:
    first, second = (
        LeaderElection(database.engine, "a", GONE),
        LeaderElection(database.engine, "b", LONG),
    )
    assert (first.acquire_or_renew(), second.acquire_or_renew()) == (1, 2)
    with pytest.raises(StandingBy):
        write(database, 1)
    write(database, 2)
    assert first.acquire_or_renew() is None
    for election in (first, second):
        election.disconnect()


def test_nobody_takes_over_in_the_middle_of_a_write(database: Database) -> None:
    first, second = (
        LeaderElection(database.engine, "a", GONE),
        LeaderElection(database.engine, "b", LONG),
    )
    assert first.acquire_or_renew() == 1
    with ThreadPoolExecutor(1) as pool:
        with database.of_epoch(1).write() as session:
            taking = pool.submit(second.acquire_or_renew)
            until_waiting(database)
            assert not taking.done()
            session.execute(text("UPDATE secrets SET value = value"))
        assert taking.result() == 2
    for election in (first, second):
        election.disconnect()


def test_an_owner_may_renew_while_it_writes(database: Database) -> None:
    election = LeaderElection(database.engine, "a", LONG)
    assert election.acquire_or_renew() == 1
    with database.of_epoch(1).write():
        assert election.acquire_or_renew() == 1
    election.disconnect()


def test_a_write_that_was_stopped_half_way_is_undone_and_keeps_nobody_out(
    database: Database,
) -> None:
    first, second = (
        LeaderElection(database.engine, "a", GONE),
        LeaderElection(database.engine, "b", LONG),
    )
    assert first.acquire_or_renew() == 1
    stopped = database.of_epoch(1).write()
    session = stopped.__enter__()
    session.execute(text("INSERT INTO secrets (name, value) VALUES ('half', 'done')"))
    assert second.acquire_or_renew() == 2
    with pytest.raises(SQLAlchemyError):
        session.execute(text("SELECT 1"))
    with pytest.raises(SQLAlchemyError):
        stopped.__exit__(None, None, None)
    with database.read() as reader:
        assert reader.scalar(text("SELECT count(*) FROM secrets WHERE name = 'half'")) == 0
    for election in (first, second):
        election.disconnect()


def until_waiting(database: Database) -> None:
    """Wait until some process of the database waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        with database.read() as session:
            if session.scalar(waiting):
                return
