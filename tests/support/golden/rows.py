"""The rows of a store as JSON, which can be loaded into SQLite and PostgreSQL alike."""

import base64
import hashlib
import json
import re
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, LargeBinary, MetaData, Table, Text, create_engine, select
from sqlalchemy import type_coerce as coerce

from service.store.migrate import migrate

Stored = dict[str, Any]
"""`revision` of the schema, `tables` with their rows, `files` by their path under the home."""

USER = "act_00000000000000aa_a-token-that-the-old-version-has-made"
_USER_ID = "00000000000000aa"
_LEFT_OUT = ("alembic_version", "owner")
_ID = re.compile(r"\b[stl][0-9a-f]{16}\b")


def sqlite_url(home: Path) -> str:
    """Return the URL of the store that a service keeps in its home."""
    return f"sqlite:///{home / 'actsearch.db'}"


def dump(home: Path) -> Stored:
    """Read the SQLite store and the artifacts of a home.

    A column that is NULL is left out of its row; JSON's own null is kept.
    """
    engine = create_engine(sqlite_url(home))
    tables = _tables(engine)
    with engine.connect() as connection:
        revision = connection.scalar(select(tables.pop("alembic_version").c.version_num))
        rows = {
            name: [
                {key: value for key, value in row._mapping.items() if value is not None}
                for row in connection.execute(select(*map(_raw, table.c)))
            ]
            for name, table in tables.items()
            if name not in _LEFT_OUT
        }
    engine.dispose()
    for name, table in tables.items():
        for row in rows.get(name, ()):
            for column in table.c:
                if column.name in row:
                    row[column.name] = _encoded(column, row[column.name])
    artifacts = home / "artifacts"
    paths = sorted(path for path in artifacts.rglob("*") if path.is_file())
    files = {str(path.relative_to(home)): path.read_text() for path in paths}
    return {"revision": revision, "tables": _with_fixed_names(rows, tables), "files": files}


def load(stored: Stored, home: Path, url: str) -> None:
    """Make a store as the old version left it: its schema, its rows and its files."""
    engine = create_engine(url)
    migrate(engine, to=stored["revision"])
    tables = _tables(engine)
    with engine.begin() as connection:
        for name, rows in stored["tables"].items():
            for column in tables[name].c:
                if isinstance(column.type, JSON):
                    column.type = JSON(none_as_null=True)
            decoded = [{c.name: _decoded(c, row) for c in tables[name].c} for row in rows]
            connection.execute(tables[name].delete())
            if decoded:
                connection.execute(tables[name].insert(), decoded)
    engine.dispose()
    for name, text in stored["files"].items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text)


def _tables(engine: Any) -> dict[str, Table]:
    """Return the tables that a store has, those first that others refer to."""
    metadata = MetaData()
    metadata.reflect(engine)
    return {table.name: table for table in metadata.sorted_tables}


def _raw(column: Column[Any]) -> Any:
    """Select JSON as the text that it is: its null is not NULL."""
    is_json = isinstance(column.type, JSON)
    return coerce(column, Text).label(column.name) if is_json else column


def _encoded(column: Column[Any], value: Any) -> Any:
    if isinstance(column.type, JSON):
        return json.loads(value)
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _decoded(column: Column[Any], row: dict[str, Any]) -> Any:
    value = row.get(column.name)
    if isinstance(column.type, JSON) and column.name in row and value is None:
        return JSON.NULL
    if isinstance(column.type, LargeBinary) and value is not None:
        return base64.b64decode(value)
    return value


def _with_fixed_names(
    rows: dict[str, list[dict[str, Any]]], tables: dict[str, Table]
) -> dict[str, list[dict[str, Any]]]:
    """Replace what is random: ids by their place in the order of making, and secrets."""
    names = {old: f"{old[0]}{place:016x}" for place, old in enumerate(_ids(rows), 1)}
    text = _ID.sub(lambda found: names[found.group()], json.dumps(rows))
    renamed: dict[str, list[dict[str, Any]]] = json.loads(text)
    for row in renamed["secrets"]:
        row["value"] = "5e" * 32
    for row in renamed["tokens"]:
        row |= {"id": _USER_ID, "sha256": hashlib.sha256(USER.encode()).hexdigest()}
    for name, table in renamed.items():
        keys = [column.name for column in tables[name].primary_key]
        table.sort(key=lambda row, keys=keys: [row[key] for key in keys])  # type: ignore[misc]
    return renamed


def _ids(rows: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return the ids of searches, trials and attempts in the order in which they were made."""
    searches = sorted(rows["searches"], key=lambda row: row["created_at"])
    places = {row["id"]: place for place, row in enumerate(searches)}
    trials = sorted(
        rows["trials"], key=lambda row: (places[row["search_id"]], row.get("number", -1))
    )
    places = {row["id"]: place for place, row in enumerate(trials)}
    attempts = sorted(rows["attempts"], key=lambda row: (places[row["trial_id"]], row["number"]))
    return [row["id"] for row in (*searches, *trials, *attempts)]
