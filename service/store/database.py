"""The connection to the store: engine, transactions, the database's clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from sqlalchemy import URL, Connection, Engine, Float, create_engine, event, make_url, select
from sqlalchemy.exc import InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from service.errors import ServiceError, StandingBy
from service.store.models import Owner

BUSY_SECONDS = 30

STORE_FAILS = (OperationalError, InternalError, InterfaceError, PoolTimeout)
"""Errors of the database itself, such as one that is down or full; none of a wrong statement."""


class now(FunctionElement[float]):
    """Seconds since 1970 by the clock of the database, at the time of the statement."""

    type = Float()
    inherit_cache = True


@compiles(now, "sqlite")
def _now_on_sqlite(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    # `unixepoch('subsec')` would need SQLite 3.42.
    return "(strftime('%s', 'now') + (strftime('%f', 'now') - strftime('%S', 'now')))"


@compiles(now, "postgresql")
def _now_on_postgresql(_element: now, _compiler: SQLCompiler, **_: Any) -> str:
    return "CAST(extract(epoch from clock_timestamp()) AS double precision)"


class Database:
    """Opens transactions.

    Args:
        idle_timeout: Seconds after which PostgreSQL ends a transaction that runs no statement: a
            process that was suspended within one must not keep its locks for ever.
    """

    def __init__(self, url: URL | str, *, idle_timeout: float = 60.0) -> None:
        self.engine = _create_engine(make_url(url), idle_timeout)
        self._readers = sessionmaker(self.engine, expire_on_commit=False)
        writing = self.engine.execution_options(writes=True)
        self._writers = sessionmaker(writing, expire_on_commit=False)
        self._epoch: int | None = None

    @property
    def is_shared(self) -> bool:
        """Whether several processes can use it, of which one must be the leader."""
        return self.engine.dialect.name != "sqlite"

    def of_epoch(self, epoch: int | None) -> "Database":
        """Return this store for a leader: it can write while the epoch is the newest."""
        fenced = copy(self)
        fenced._epoch = epoch
        return fenced

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a session that only reads."""
        with self._readers() as session:
            try:
                yield session
            except ServiceError:
                raise
            except BaseException:
                # A result that was read in part would keep SQLite's connection in its snapshot.
                session.invalidate()
                raise

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a session whose changes are committed at the end, or rolled back after an error."""
        with self._writers.begin() as session:
            if self._epoch is not None:
                _check_epoch(session, self._epoch)
            yield session

    def close(self) -> None:
        self.engine.dispose()


def _check_epoch(session: Session, epoch: int) -> None:
    """Raise `StandingBy` unless the epoch is the newest; it stays the newest until the commit."""
    # A shared lock on the key: it blocks a new epoch, and neither other writers nor renewals.
    own_epoch = select(Owner.epoch).where(Owner.epoch == epoch)
    if session.scalar(own_epoch.with_for_update(read=True, key_share=True)) is None:
        raise StandingBy


def _create_engine(url: URL, idle_timeout: float) -> Engine:
    if url.get_backend_name() != "sqlite":
        engine = create_engine(
            url,
            pool_size=20,
            max_overflow=20,
            pool_pre_ping=True,
            hide_parameters=True,  # Errors are logged, and parameters may be secret.
            # A connection that is cut off fails within these times, whatever it waits for.
            connect_args={
                "connect_timeout": 5,
                "keepalives_idle": 10,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15_000,
            },
        )
        event.listen(engine, "connect", _SetIdleTimeout(idle_timeout))
        return engine
    engine = create_engine(
        url, connect_args={"timeout": BUSY_SECONDS}, pool_size=20, hide_parameters=True
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


class _SetIdleTimeout:
    def __init__(self, seconds: float) -> None:
        self._milliseconds = int(seconds * 1000)

    def __call__(self, connection: Any, _record: object) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = {self._milliseconds}")
        connection.commit()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver would begin transactions late and always deferred; `_begin_sqlite` begins them.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the write lock at once. A reader that is upgraded later fails when another
    # transaction has written meanwhile.
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
