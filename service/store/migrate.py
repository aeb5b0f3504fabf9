"""Brings the store to the newest schema, or to another one."""

from pathlib import Path

from sqlalchemy import Engine, func, select

from service.errors import CannotStart

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x0AC75EA3


def migrate(engine: Engine, *, to: str = "head", down: bool = False) -> None:
    """Run the migrations between what the store has and `to`, in one transaction.

    Services that start at once follow each other: on SQLite by the lock of the write
    transaction, on PostgreSQL by one of our own.

    Raises:
        CannotStart: If the store was made by a newer version.
    """
    # Alembic is needed here alone, and takes a while to import.
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.execution_options(writes=True).begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
        config.attributes["connection"] = connection
        try:
            (command.downgrade if down else command.upgrade)(config, to)
        except CommandError as error:
            raise CannotStart(
                f"the store is of another version of this program ({error}); install that "
                "version, or name another store"
            ) from None
