"""A search's trials as a table for spreadsheets."""

import csv
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from service.store import trials
from service.store.cursor import Cursor
from service.store.database import Database
from service.store.models import Search, Trial

_BATCH = 500
_COLUMNS = (
    "number",
    "id",
    "kind",
    "label",
    "state",
    "value",
    "step",
    "step_seconds",
    "attempt",
    "seed",
    "failure",
    "reason",
    "repeat_of",
)
_TIMES = ("created_at", "started_at", "ended_at")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def trials_as_csv(database: Database, search: Search) -> Iterator[str]:
    """Yield the table in batches; no transaction stays open between two of them."""
    sites = [site["id"] for site in (search.plan or {}).get("sites", ())]
    yield _line([*_COLUMNS, *_TIMES, *sites])
    after: Cursor | None = None
    while True:
        with database.read() as session:
            found = trials.page(session, search.id, after=after, limit=_BATCH)
            yield "".join(_line(_row(trial, sites)) for trial in found)
        if len(found) < _BATCH:
            return
        after = trials.cursor_of(found[-1], "number")


def _row(trial: Trial, sites: Sequence[str]) -> list[Any]:
    chosen = (trial.candidate or {}).get("sites", {})
    times = (getattr(trial, name) for name in _TIMES)
    return [
        *(_plain(getattr(trial, name)) for name in _COLUMNS),
        *("" if time is None else datetime.fromtimestamp(time, UTC).isoformat() for time in times),
        *(_activation(chosen[site]) if site in chosen else "" for site in sites),
    ]


def _activation(spec: dict[str, Any]) -> str:
    params = [f"{name}={value}" for name, value in spec["params"].items()]
    return " ".join([spec["name"], *params])


def _plain(value: Any) -> Any:
    """Return a value that a spreadsheet does not run as a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _line(cells: Sequence[Any]) -> str:
    text = StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()
