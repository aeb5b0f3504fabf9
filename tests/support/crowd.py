"""A search with thousands of finished trials, put into the store at once.

What decides is not under test here; what reads must meet searches of this size.
"""

import random
from typing import Any

from sqlalchemy import insert, select, text
from sqlalchemy.orm import Session

from search_space.contract import TrialKind, Verdict
from search_space.spec import to_data
from service.schemas.states import TrialState
from service.store.database import Database
from service.store.documents import space_of
from service.store.models import Report, Search, Trial
from service.study.random_draws import RandomSuggester

EPOCHS = 4
STARTED = 1_790_000_000.0


def crowd(database: Database, search_id: str, count: int, seed: int = 0) -> None:
    """Give a planned search `count` proposed trials: most completed, a third stopped early.

    `silu` at the first group of sites is worth 0.05, everything else is noise.
    """
    with database.write() as session:
        search = session.get_one(Search, search_id)
        first = session.scalars(select(Trial.number).where(Trial.search_id == search_id)).all()
        start = max((number for number in first if number is not None), default=-1) + 1
        rows = _trials(search, range(start, start + count), random.Random(seed))
        _insert(session, rows)
        search.started_at = STARTED
    with database.write() as session:
        # What a store knows of its tables that has grown in its own time.
        session.execute(text("ANALYZE"))


def _trials(search: Search, numbers: range, rng: random.Random) -> list[dict[str, Any]]:
    import numpy as np

    space, dice = space_of(search), RandomSuggester(np.random.default_rng(rng.randrange(2**31)))
    rows = []
    for number in numbers:
        params = space.suggest(dice)
        worth = 0.05 * (params.get(space.groups[0].name) == "silu")
        stopped = rng.random() < 1 / 3
        value = min(0.999, max(0.001, rng.gauss(0.8 + worth - 0.05 * stopped, 0.01)))
        rows.append(
            {
                "id": f"t{search.id}{number}",
                "search_id": search.id,
                "number": number,
                "kind": TrialKind.PROPOSED,
                "state": TrialState.STOPPED if stopped else TrialState.COMPLETED,
                "attempt": 1,
                "candidate": to_data(space.candidate(params)),
                "key": f"key-{number}",
                "seed": number,
                "params": params,
                "optuna_number": number,
                "optuna_attrs": {},
                "told": number + 1,
                "value": value,
                "step": 1 if stopped else EPOCHS,
                "step_seconds": rng.uniform(0.004, 0.012),
                "created_at": STARTED + number,
                "started_at": STARTED + number,
                "ended_at": STARTED + number + 1,
            }
        )
    return rows


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    session.execute(insert(Trial), rows)
    session.execute(
        insert(Report),
        [
            {
                "trial_id": row["id"],
                "step": step,
                "attempt": 1,
                "value": row["value"] * (1 - 0.2 / (step + 1))
                if step < row["step"]
                else row["value"],
                "metrics": {},
                "step_seconds": row["step_seconds"],
                "verdict": Verdict.CONTINUE,
                "told": row["number"] * EPOCHS + step,
                "created_at": row["started_at"],
            }
            for row in rows
            for step in range(1, row["step"] + 1)
        ],
    )
