"""Migrations: up and down with data, by several services at once; and where a store may lie."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from service.api.app import create_app
from service.errors import CannotStart
from service.settings import Settings
from service.store.database import Database
from service.store.location import check_file_system, store_url
from service.store.migrate import MIGRATIONS, migrate
from tests.support.player import Player
from tests.support.postgres import Postgres
from tests.support.serving import Served

FIRST = "0001"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without tables."""
    if request.param == "sqlite":
        return store_url(None, tmp_path).render_as_string()
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.empty()


def revisions() -> list[str]:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    script = ScriptDirectory.from_config(config)
    assert len(script.get_heads()) == 1
    return [one.revision for one in script.walk_revisions()]


def tables(database: Database) -> dict[str, list[dict[str, Any]]]:
    """Return all that is stored, in the order of the keys."""
    schema = inspect(database.engine)

    def keys(name: str) -> list[str]:
        return schema.get_pk_constraint(name)["constrained_columns"]

    with database.engine.connect() as connection:
        return {
            name: sorted(
                (dict(row._mapping) for row in connection.execute(text(f'SELECT * FROM "{name}"'))),
                key=lambda row: [
                    row[key] for key in schema.get_pk_constraint(name)["constrained_columns"]
                ],
            )
            for name in schema.get_table_names()
        }


def test_what_is_stored_survives_every_step_down_and_up_again(
    serve: Callable[..., Served],
) -> None:
    served = serve()
    player = Player(served)
    search = player.submit()
    player.inspect()
    for value in (0.5, 0.6, 0.7):
        player.train(player.work(), value)
    running = player.work()
    served.stop()

    database = Database(served.store)
    before = tables(database)
    for revision in revisions()[1:]:
        migrate(database.engine, to=revision, down=True)
    lowest = tables(database)
    for name in ("searches", "trials", "attempts", "reports", "events", "workers"):
        assert len(lowest[name]) == len(before[name]) > 0, name
        for row, old in zip(lowest[name], before[name], strict=True):
            assert row.items() <= old.items()
    migrate(database.engine)
    assert set(tables(database)) == set(before)
    database.close()

    served.start_again()
    player.train(running, 0.8)
    player.train(player.work(), 0.9)
    assert player.search(search["id"])["state"] == "completed"


def test_the_last_step_down_leaves_nothing(empty: str) -> None:
    database = Database(empty)
    migrate(database.engine)
    migrate(database.engine, to="base", down=True)
    assert set(tables(database)) == {"alembic_version"}
    database.close()


def test_services_that_start_at_once_migrate_once(empty: str) -> None:
    databases = [Database(empty) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda database: migrate(database.engine), databases))
    assert len(tables(databases[0])["owner"]) == 1
    for database in databases:
        database.close()


def test_a_store_of_a_newer_version_is_refused_by_name(empty: str) -> None:
    database = Database(empty)
    migrate(database.engine)
    with database.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(CannotStart, match="of another version of this program"):
        migrate(database.engine)
    database.close()


MOUNTS = """\
22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 22 0:40 / {mount} rw,relatime shared:2 - {kind} server:/export rw
"""


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs", "lustre"])
def test_sqlite_on_a_network_file_system_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mount = str(tmp_path / "the share").replace(" ", "\\040")
    mounts.write_text(MOUNTS.format(mount=mount, kind=kind))
    check_file_system(tmp_path, mounts)
    with pytest.raises(CannotStart, match=f"lies on {kind}, a network file system"):
        check_file_system(tmp_path / "the share" / "home", mounts)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://user:secret@host/name", "SQLite or PostgreSQL, not mysql"),
        ("sqlite://", "SQLite in memory keeps nothing"),
        ("user:secret@host", "cannot be read"),
    ],
)
def test_a_store_that_cannot_be_is_refused_without_its_password(
    tmp_path: Path, url: str, message: str
) -> None:
    with pytest.raises(CannotStart, match=message) as refused:
        store_url(url, tmp_path)
    assert "secret" not in str(refused.value)


def test_an_unreadable_admin_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot read the admin token"):
        create_app(Settings(home=tmp_path, admin_token_file=tmp_path / "none"))
