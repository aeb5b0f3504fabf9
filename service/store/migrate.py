"""Migrates the store to the newest schema, or to another revision."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select

from service.errors import CannotStart

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x0AC75EA3


def migrate(engine: Engine, *, to: str = "head", down: bool = False) -> None:
    """Run the migrations from the store's revision to `to`, in one transaction.

    If several services start at once, each waits for the one before it: on SQLite for the lock of
    the write transaction, on PostgreSQL for an advisory lock.

    Raises:
        CannotStart: If the store was made by a newer version.
    """
    # Imported here, since Alembic takes long to load and only this needs it.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with _exclusive_transaction(engine) as connection:
        config.attributes["connection"] = connection
        try:
            (command.downgrade if down else command.upgrade)(config, to)
        except CommandError as error:
            raise CannotStart(
                f"the store is of another version of this program ({error}); install that "
                "version, or name another store"
            ) from None


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a store; None if it has no tables yet."""
    from alembic.runtime.migration import MigrationContext

    return MigrationContext.configure(connection).get_current_revision()


def newest() -> tuple[str, Collection[str]]:
    """Return the newest revision that this program knows, and all of them."""
    from alembic.script import ScriptDirectory

    revisions = [one.revision for one in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    return revisions[0], revisions


@contextmanager
def _exclusive_transaction(engine: Engine) -> Iterator[Connection]:
    """Open a transaction that excludes other migrations."""
    with engine.execution_options(writes=True).connect() as connection:
        if connection.dialect.name == "postgresql":
            with connection.begin():
                connection.execute(select(func.pg_advisory_xact_lock(LOCK)))
                yield connection
            return
        # A migration replaces an SQLite table by a new one; dropping the old one would delete the
        # rows that refer to it. The pragma has no effect within a transaction.
        driver = connection.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.begin():
                yield connection
                broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
                assert not broken, broken
        finally:
            driver.execute("PRAGMA foreign_keys = ON")
