"""What must hold of a search, whatever was killed meanwhile: asked of SQL."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, text

# Each finds what must not be at any moment. A proposed trial is reserved by its row.
_AT_NO_MOMENT = {
    "more trials than the budget": """
        SELECT s.id FROM searches s JOIN trials t ON t.search_id = s.id
        WHERE s.id = :search AND t.kind = 'proposed' AND t.repeat_of IS NULL
        GROUP BY s.id, s.budget HAVING count(*) > s.budget""",
    "more trials at once than allowed": """
        SELECT s.id FROM searches s JOIN trials t ON t.search_id = s.id
        WHERE s.id = :search AND t.state = 'running'
        GROUP BY s.id, s.parallel HAVING count(*) > s.parallel""",
    "two live attempts of one trial": """
        SELECT t.id FROM trials t JOIN attempts a ON a.trial_id = t.id
        WHERE t.search_id = :search AND a.ended_at IS NULL GROUP BY t.id HAVING count(*) > 1""",
    "a live attempt of a trial that does not run": """
        SELECT t.id FROM trials t JOIN attempts a ON a.trial_id = t.id
        WHERE t.search_id = :search AND a.ended_at IS NULL AND t.state <> 'running'""",
    "a running trial without a live attempt": """
        SELECT t.id FROM trials t WHERE t.search_id = :search AND t.state = 'running'
        AND NOT EXISTS (
            SELECT a.id FROM attempts a WHERE a.trial_id = t.id AND a.ended_at IS NULL)""",
}
# Each finds what must not be once the search has completed.
_AT_THE_END = {
    "a trial without an end": """
        SELECT id FROM trials WHERE search_id = :search
        AND (state IN ('waiting', 'running') OR ended_at IS NULL)""",
    "an attempt without an end": """
        SELECT a.id FROM attempts a JOIN trials t ON t.id = a.trial_id
        WHERE t.search_id = :search AND a.outcome IS NULL""",
    "a candidate trained twice": """
        SELECT key FROM trials WHERE search_id = :search AND kind IN ('proposed', 'baseline')
        AND repeat_of IS NULL AND replicate_of IS NULL AND label IS DISTINCT FROM 'original'
        GROUP BY key HAVING count(*) > 1""",
    "a repeat that was trained": """
        SELECT t.id FROM trials t JOIN attempts a ON a.trial_id = t.id
        WHERE t.search_id = :search AND t.repeat_of IS NOT NULL""",
    "a trial that ended twice or never": """
        SELECT t.id FROM trials t LEFT JOIN attempts a
        ON a.trial_id = t.id AND a.outcome IN ('completed', 'stopped')
        WHERE t.search_id = :search AND t.repeat_of IS NULL AND t.kind <> 'earlier'
        AND t.state IN ('completed', 'stopped')
        GROUP BY t.id HAVING count(a.id) <> 1""",
    "attempts that are not counted": """
        SELECT t.id FROM trials t LEFT JOIN attempts a ON a.trial_id = t.id
        WHERE t.search_id = :search GROUP BY t.id, t.attempt
        HAVING count(a.id) <> t.attempt OR coalesce(max(a.number), 0) <> t.attempt""",
    "a last attempt that lacks an epoch": """
        SELECT t.id FROM trials t LEFT JOIN reports r
        ON r.trial_id = t.id AND r.attempt = t.attempt
        WHERE t.search_id = :search AND t.state IN ('completed', 'stopped')
        AND t.repeat_of IS NULL AND t.kind NOT IN ('inspection', 'earlier')
        GROUP BY t.id, t.step HAVING count(r.step) <> t.step OR max(r.step) <> t.step""",
    "a gap among the trials": """
        SELECT max(number) FROM trials WHERE search_id = :search AND number IS NOT NULL
        HAVING max(number) <> count(*) - 1""",
    "a gap in the study": """
        SELECT max(optuna_number) FROM trials
        WHERE search_id = :search AND optuna_number IS NOT NULL
        HAVING max(optuna_number) <> count(*) - 1""",
}
_SPENT = """
    SELECT count(*) FROM trials WHERE search_id = :search AND kind = 'proposed'
    AND repeat_of IS NULL"""


def broken(engine: Engine, search_id: str) -> dict[str, list[Any]]:
    """Return what does not hold of a completed search: nothing, as it should be."""
    return _found(engine, search_id, {**_AT_NO_MOMENT, **_AT_THE_END})


class Watch:
    """What a watcher of a running search has seen.

    Attributes:
        looks: How often it looked.
        broken: What did not hold at some moment, by its name.
    """

    def __init__(self) -> None:
        self.looks = 0
        self.broken: dict[str, list[Any]] = {}


@contextmanager
def watched(engine: Engine, search_id: str, *, pause: float = 0.1) -> Iterator[Watch]:
    """Look again and again, in a thread, at what must hold of a search at every moment."""
    watch, over = Watch(), threading.Event()

    def look() -> None:
        while not over.wait(pause):
            watch.broken |= _found(engine, search_id, _AT_NO_MOMENT)
            watch.looks += 1

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield watch
    finally:
        over.set()
        thread.join()


def spent(engine: Engine, search_id: str) -> int:
    """Return how much of its budget of trials a search has used."""
    with engine.connect() as connection:
        return int(connection.scalar(text(_SPENT), {"search": search_id}) or 0)


def _found(engine: Engine, search_id: str, queries: Mapping[str, str]) -> dict[str, list[Any]]:
    with engine.connect() as connection:
        found = {
            name: list(connection.scalars(text(query), {"search": search_id}))
            for name, query in queries.items()
        }
    return {name: rows for name, rows in found.items() if rows}
