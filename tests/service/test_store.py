"""The store: schema, clock, transactions, and what the database itself refuses."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import PrimaryKeyConstraint, UniqueConstraint, select, text
from sqlalchemy.exc import IntegrityError

from service.store.database import Database, now
from service.store.location import store_url
from service.store.migrate import migrate
from service.store.models import Base
from service.store.searches import clock


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(store_url(None, tmp_path))
    migrate(database.engine)
    yield database
    database.close()


def test_the_migrations_lead_to_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, Base.metadata) == []


def test_every_reference_to_a_trial_has_an_index() -> None:
    """Without one, deleting a trial reads the whole table that refers to it."""
    for table in Base.metadata.tables.values():
        firsts = {next(iter(index.columns)).name for index in table.indexes}
        for unique in table.constraints:
            if isinstance(unique, UniqueConstraint | PrimaryKeyConstraint):
                firsts |= {column.name for column in list(unique.columns)[:1]}
        refers = {
            c.name for c in table.columns if c.references(Base.metadata.tables["trials"].c.id)
        }
        assert refers <= firsts, table.name


def test_migrating_twice_changes_nothing(database: Database) -> None:
    migrate(database.engine)


def test_the_clock_is_the_databases_and_agrees_with_ours(database: Database) -> None:
    with database.read() as session:
        first = clock(session)
        time.sleep(0.02)
        assert 0.01 < clock(session) - first < 1
        assert abs(first - time.time()) < 1


def test_the_clock_moves_within_a_transaction(database: Database) -> None:
    with database.write() as session:
        first = session.scalars(select(now())).one()
        time.sleep(0.02)
        assert session.scalars(select(now())).one() > first


def test_concurrent_read_then_write_transactions_all_succeed(database: Database) -> None:
    """A deferred transaction that reads and then writes fails whenever two of them meet."""
    with database.write() as session:
        session.execute(text("INSERT INTO secrets (name, value) VALUES ('count', '0')"))

    def increment(_: int) -> None:
        with database.write() as session:
            value = session.scalar(text("SELECT value FROM secrets WHERE name = 'count'"))
            time.sleep(0.001)
            session.execute(
                text("UPDATE secrets SET value = :v WHERE name = 'count'"), {"v": int(value) + 1}
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(increment, range(100)))
    with database.read() as session:
        assert session.scalar(text("SELECT value FROM secrets WHERE name = 'count'")) == "100"


def test_an_error_in_a_transaction_leaves_nothing(database: Database) -> None:
    def fail_late() -> None:
        with database.write() as session:
            session.execute(text("INSERT INTO secrets (name, value) VALUES ('a', 'b')"))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_late()
    with database.read() as session:
        assert session.scalar(text("SELECT count(*) FROM secrets")) == 0


@pytest.mark.parametrize(
    "values",
    [
        "('t', 's', 'inspection', 3, 'waiting', NULL)",
        "('t', 's', 'proposed', NULL, 'waiting', NULL)",
        "('t', 'none', 'proposed', 1, 'waiting', NULL)",
        "('t', 's', 'proposed', 1, 'running', 't')",
    ],
)
def test_the_database_refuses_rows_that_cannot_be(database: Database, values: str) -> None:
    with database.write() as session:
        session.execute(
            text(
                "INSERT INTO searches (id, name, state, wanted, document, pinned, priority, "
                "parallel, budget, failures_in_a_row, events, tells, created_at) "
                "VALUES ('s', 's', 'running', 'run', '{}', '{}', 0, 1, 1, 0, 0, 0, 0)"
            )
        )
    with pytest.raises(IntegrityError), database.write() as session:
        session.execute(
            text(
                "INSERT INTO trials (attempt, seed, optuna_attrs, created_at, "
                "id, search_id, kind, number, state, repeat_of) "
                f"VALUES (0, 0, '{{}}', 0, {values[1:]}"
            )
        )
