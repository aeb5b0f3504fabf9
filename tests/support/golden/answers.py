"""What a service answers about a stored database, and how it goes on with it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
from sqlalchemy import MetaData, Table, create_engine, select

from tests.support.golden.openapi import REQUEST_ID
from tests.support.golden.rows import USER, Stored, load, sqlite_url
from tests.support.golden.trainer import FILE, Trainer
from tests.support.player import plan
from tests.support.serving import JSON, Served

ADMIN = "the-token-of-the-administrator"
OF_A_FAILED_SEARCH = ("", "/best", "/trials")
OF_A_SEARCH = ("", "/best", "/best/config", "/best/config?unconfirmed=true", "/trials")
GO_ON = ("middle", "several", "warm", "fork", "paused", "preparing")
"""Searches that a worker can finish; of each only the one of its task."""


@contextmanager
def serving(stored: Stored, home: Path, url: str | None = None) -> Iterator[Served]:
    """Start a service on a stored database; None: in SQLite. It asks for tokens."""
    home.mkdir()
    load(stored, home, url or sqlite_url(home))
    token = home / "token"
    token.write_text(ADMIN)
    served = Served(home, admin_token_file=token, **({} if url is None else {"database_url": url}))
    served.http.headers["authorization"] = f"Bearer {ADMIN}"
    try:
        yield served
    finally:
        served.close()


def reads(served: Served, stored: Stored) -> dict[str, Any]:
    """Read what is stored, with the token that a user had of the old version."""
    tables = stored["tables"]
    paths = [
        f"/searches/{one['id']}{what}"
        for one in tables["searches"]
        for what in (OF_A_SEARCH if one["state"] != "failed" else OF_A_FAILED_SEARCH)
    ]
    for one in tables["artifacts"]:
        paths += [f"/trials/{one['trial_id']}/artifacts{of}" for of in ("", f"/{one['name']}")]
    for one in tables["log_pieces"]:
        paths += [f"/trials/{one['trial_id']}/{what}" for what in ("logs?tail=100", "reports")]
    headers = {**JSON, **REQUEST_ID, "authorization": f"Bearer {USER}"}
    with httpx2.Client(base_url=f"{served.url}/v1", timeout=60, headers=headers) as http:
        return {path: _answer(http.get(path)) for path in paths}


def _answer(answer: httpx2.Response) -> dict[str, Any]:
    assert answer.status_code < 500, answer.text
    if "json" not in answer.headers["content-type"]:
        return {"status": answer.status_code, "text": answer.text}
    body = answer.json()
    _leave_out_what_varies(body)
    return {"status": answer.status_code, "body": body}


def _leave_out_what_varies(body: Any) -> None:
    """Drop the running time, which goes on, and the versions that answered."""
    if isinstance(body, dict):
        body.get("spent", {}).pop("hours", None)
        body.get("provenance", {}).pop("versions", None)


def going_on(served: Served, stored: Stored) -> dict[str, Any]:
    """Finish what can be finished; return what was handed out on the way, and the ends."""
    found: dict[str, Any] = {"repeated": [_finish(served, one) for one in _open_leases(stored)]}
    searches = {one["name"]: one for one in stored["tables"]["searches"]}
    for name in GO_ON:
        found[name] = _go_on(served, searches[name])
    return found


def _open_leases(stored: Stored) -> list[dict[str, Any]]:
    return [one for one in stored["tables"]["attempts"] if "ended_at" not in one]


def _finish(served: Served, attempt: dict[str, Any]) -> dict[str, Any]:
    """Ask again for the work of an open lease, and end it with the token that belongs to it."""
    ask = {key: attempt[key] for key in ("boot_id", "slot", "request")}
    ask |= {"worker": attempt["worker_id"], "wait_seconds": 1}
    assignment = dict(served.http.post("/leases", json=ask).raise_for_status().json())
    trainer = Trainer(served, assignment["task"]["name"])
    headers = {**FILE, "authorization": f"Bearer {assignment['token']}"}
    with httpx2.Client(base_url=f"{served.url}/v1", timeout=60, headers=headers) as http:
        http.headers |= JSON
        trainer.http = http
        ended = trainer.run(assignment, first=2)
    return {"assignment": assignment, "ended": ended}


def _go_on(served: Served, search: dict[str, Any]) -> dict[str, Any]:
    """Train every trial that the search hands out until it has completed."""
    trainer = Trainer(served, search["document"]["task"]["name"])
    if search["state"] == "paused":
        trainer.http.post(f"/searches/{search['id']}/resume").raise_for_status()
    if search["state"] == "preparing":
        trainer.inspect(plan(3))
    handed_out = []
    while trainer.search(search["id"])["state"] != "completed":
        assignment = trainer.work(wait=30)
        handed_out.append(_described(served, assignment))
        handed_out[-1]["ended"] = trainer.run(assignment)
    ended = trainer.search(search["id"])
    best = trainer.http.get(f"/searches/{search['id']}/best").raise_for_status().json()
    trials = [
        {key: one[key] for key in ("number", "kind", "label", "state", "value", "stopped_at")}
        for one in trainer.trials(search["id"])
    ]
    return {
        "handed_out": handed_out,
        "trials": trials,
        "reason": ended["reason"],
        "events": ended["events"],
        "best": {"status": best["status"], "claim": best["claim"], "looks": best["looks"]},
        "ranking": [[line["number"], line["value"], line["seeds"]] for line in best["ranking"]],
        "front": [line["number"] for line in best["pareto"]],
    }


def _described(served: Served, assignment: dict[str, Any]) -> dict[str, Any]:
    """Return what a trial is, with the parameters that the sampler proposed for it."""
    kept = {key: assignment[key] for key in ("number", "kind", "attempt", "seed", "checkpoint")}
    return kept | {"params": _params(served, assignment["trial"])}


def _params(served: Served, trial: str) -> Any:
    engine = create_engine(served.store)
    trials = Table("trials", MetaData(), autoload_with=engine)
    with engine.connect() as connection:
        params = connection.scalar(select(trials.c.params).where(trials.c.id == trial))
    engine.dispose()
    return params
