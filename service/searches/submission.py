"""Taking in a search: what can be known to be wrong with it now is refused now."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from search_space.contract import START, TaskOffer, TrialKind
from search_space.search import SearchSpec, Weights
from search_space.spec import canonical_json
from service.errors import Fault, Invalid, KeyReused, fault_of
from service.runtime.context import Context, new_id
from service.schemas.states import SearchState, TrialState
from service.searches.offers import check_against_offers, pin
from service.searches.warm_start import check_warm_start, why_cold
from service.store import events, searches, trials, workers
from service.store.database import now
from service.store.documents import COLD, in_force
from service.store.models import Search, Submission, Trial
from service.study.live import seed_of

WARM_START = "warm_start"
_MERGED = (
    "task",
    "sites",
    "objective",
    "sampler",
    "pruner",
    "baselines",
    "budget",
    "confirm",
)


@dataclass(frozen=True, slots=True)
class Fork:
    """Of what and how a search was forked.

    Attributes:
        cold: Why it begins without what its parent has found, where that was not told.
    """

    of: str
    edits: Mapping[str, Any]
    cold: str | None


def submit(
    context: Context, document: SearchSpec, *, key: str | None, fork: Fork | None = None
) -> str:
    """Store a search and return its id.

    With an Idempotency-Key, the same body again returns the same search.

    Args:
        fork: Where the document was made of an earlier search's.

    Raises:
        Invalid: If anything in it cannot be.
        KeyReused: If the key came before with another body.
    """
    # What a fork begins with changes while its parent runs; the same fork stays the same body.
    said = document.model_dump(mode="json") if fork is None else {fork.of: dict(fork.edits)}
    body = hashlib.sha256(canonical_json(said).encode()).hexdigest()
    known = None if key is None else (key, body)
    try:
        return _submit(context, document, known, fork)
    except IntegrityError:
        if key is None:
            raise
        # Another submission with the key came first, at the same moment: now it is there.
        return _submit(context, document, known, fork)


def _submit(
    context: Context, document: SearchSpec, known: tuple[str, str] | None, fork: Fork | None
) -> str:
    """Store a search, unless `known`, its key and the hash of its body, has come before."""
    with _start(context, document) as start, context.database.write() as session:
        earlier = None if known is None else _submitted(session, *known)
        if earlier is not None:
            return earlier
        offers = workers.offers(session)
        check_against_offers(session, document, offers)
        check_warm_start(session, document)
        search, inspection = _store(session, document, offers, fork)
        if start is not None:
            sha256, size = start
            trials.put_artifact(session, inspection, START, sha256=sha256, size=size)
        if known is not None:
            key, body = known
            session.add(
                Submission(key=key, body_sha256=body, search_id=search.id, created_at=now())
            )
    context.publish(makes_work=True)
    return search.id


def _submitted(session: Session, key: str, body: str) -> str | None:
    """Return the search that was submitted with a key, or raise `KeyReused`."""
    earlier = searches.submission(session, key)
    if earlier is None:
        return None
    if earlier.body_sha256 != body:
        raise KeyReused(key)
    return earlier.search_id


def fork(context: Context, search_id: str, edits: Mapping[str, Any], *, key: str | None) -> str:
    """Submit an earlier search anew with edits, and return the new one's id.

    It begins with what the earlier one has found, unless the edits say otherwise or the values
    cannot be compared.

    Raises:
        NotFound: If there is no such search.
        Invalid: If what comes out is no search, or cannot be.
    """
    cold = None
    with context.database.read() as session:
        whole = {**in_force(searches.get(session, search_id)), WARM_START: {"search": search_id}}
        document = _read(edit(whole, edits))
        if WARM_START not in edits:
            cold = why_cold(session, document)
    if cold is not None:
        document = document.model_copy(update={WARM_START: None})
    return submit(context, document, key=key, fork=Fork(search_id, edits, cold))


def _read(document: Mapping[str, Any]) -> SearchSpec:
    try:
        return SearchSpec.model_validate(document)
    except ValidationError as error:
        raise Invalid([fault_of(one) for one in error.errors()]) from None


def edit(document: Mapping[str, Any], edits: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with other values; the objects of `_MERGED` are merged key by key."""
    edited = dict(document)
    for name, value in edits.items():
        before = document.get(name)
        if name in _MERGED and isinstance(before, Mapping) and isinstance(value, Mapping):
            # The settings of one task mean nothing to another.
            is_other = name == "task" and value.get("name", before["name"]) != before["name"]
            value = value if is_other else {**before, **value}
        edited[name] = value
    return edited


def _store(
    session: Session, document: SearchSpec, offers: Sequence[TaskOffer], fork: Fork | None
) -> tuple[Search, Trial]:
    """Add a search with its inspection."""
    search_id = new_id("s")
    cold = {} if fork is None or fork.cold is None else {COLD: fork.cold}
    search = Search(
        id=search_id,
        name=document.name or _name_of(document, search_id),
        state=SearchState.PREPARING,
        document=document.model_dump(mode="json"),
        pinned=pin(document, offers) | cold,
        priority=document.priority,
        parallel=document.parallel,
        budget=document.budget.trials,
        budget_hours=document.budget.hours,
        budget_gpu_hours=document.budget.gpu_hours,
        budget_failures=document.budget.failures,
        forked_from=None if fork is None else fork.of,
        events=0,
        tells=0,
        created_at=now(),
    )
    session.add(search)
    session.flush()
    inspection = Trial(
        id=new_id("t"),
        search_id=search_id,
        kind=TrialKind.INSPECTION,
        state=TrialState.WAITING,
        seed=seed_of(document.sampler.seed, "inspection", 0),
        created_at=now(),
    )
    session.add(inspection)
    session.flush()
    events.add(session, search, "search", {"state": search.state.value, "reason": None})
    return search, inspection


@contextmanager
def _start(context: Context, document: SearchSpec) -> Iterator[tuple[str, int] | None]:
    """Hold the weights that a search tunes, whoever stored them: their sha256 and size.

    Raises:
        Invalid: If there is no such file.
    """
    if not isinstance(document.start, Weights):
        yield None
        return
    sha256 = document.start.weights
    # Files that nothing names are collected: not this one, until the search names it.
    with context.artifacts.lock:
        size = context.artifacts.size(sha256)
        if size is None:
            message = "no stored file has this sha256; PUT /v1/artifacts stores one"
            raise Invalid([Fault("start.weights", message, sha256)])
        yield sha256, size


def _name_of(document: SearchSpec, search_id: str) -> str:
    settings = document.task.settings
    parts = [settings.get("dataset"), settings.get("network")]
    named = "-".join(str(part) for part in parts if part) or document.task.name
    return f"{named}-{search_id[1:5]}"
