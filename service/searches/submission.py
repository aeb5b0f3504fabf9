"""Submission and fork of a search. What is known to be wrong is refused here."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from search_space.contract import START, TaskOffer, TrialKind
from search_space.search import SearchSpec
from search_space.search_sections import Weights
from search_space.spec import canonical_json
from service.errors import Fault, Invalid, KeyReused, fault_of
from service.runtime.context import Context, new_id
from service.schemas.states import SearchState, TrialState
from service.searches.offers import check_against_offers, pin
from service.searches.warm_start import check_warm_start, no_warm_start_reason
from service.store import events, searches, trials, workers
from service.store.database import now
from service.store.documents import NO_WARM_START, PAIRED, in_force
from service.store.models import Search, Submission, Trial
from service.study.seeds import seed_of

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
    """Which search is forked, and how.

    Attributes:
        no_warm_start: Why it begins without its parent's candidates, if the edits do not say so.
    """

    parent: str
    edits: Mapping[str, Any]
    no_warm_start: str | None


def submit(
    context: Context, document: SearchSpec, *, key: str | None, fork: Fork | None = None
) -> str:
    """Store a search and return its id.

    The same body again with the same Idempotency-Key returns the same search.

    Args:
        fork: If the document was made from that of an earlier search.

    Raises:
        Invalid: If the document contradicts itself or what workers offer.
        KeyReused: If the key was used with another body.
    """
    # The document of a fork changes while its parent runs, so the edits are compared instead.
    body = document.model_dump(mode="json") if fork is None else {fork.parent: dict(fork.edits)}
    digest = hashlib.sha256(canonical_json(body).encode()).hexdigest()
    idempotency = None if key is None else (key, digest)
    try:
        return _submit_once(context, document, idempotency, fork)
    except IntegrityError:
        if key is None:
            raise
        # Another request with this key was committed since we looked for it: now it is found.
        return _submit_once(context, document, idempotency, fork)


def _submit_once(
    context: Context, document: SearchSpec, idempotency: tuple[str, str] | None, fork: Fork | None
) -> str:
    """Store a search, unless its key (with the digest of its body) was used before."""
    with _locked_weights(context, document) as start, context.database.write() as session:
        earlier = None if idempotency is None else _earlier_submission(session, *idempotency)
        if earlier is not None:
            return earlier
        offers = workers.offers(session)
        check_against_offers(session, document, offers)
        check_warm_start(session, document)
        search, inspection = _add_search(session, document, offers, fork)
        if start is not None:
            sha256, size = start
            trials.put_artifact(session, inspection, START, sha256=sha256, size=size)
        if idempotency is not None:
            key, digest = idempotency
            session.add(
                Submission(key=key, body_sha256=digest, search_id=search.id, created_at=now())
            )
    context.publish(makes_work=True)
    return search.id


def _earlier_submission(session: Session, key: str, digest: str) -> str | None:
    """Return the search that was submitted with a key, or raise `KeyReused`."""
    earlier = searches.submission(session, key)
    if earlier is None:
        return None
    if earlier.body_sha256 != digest:
        raise KeyReused(key)
    return earlier.search_id


def fork(context: Context, search_id: str, edits: Mapping[str, Any], *, key: str | None) -> str:
    """Submit the document of an earlier search with edits, and return the new search's id.

    It begins with the candidates of the earlier one, unless the edits say otherwise or the values
    cannot be compared.

    Raises:
        NotFound: If there is no such search.
        Invalid: If the edited document is invalid.
    """
    reason = None
    with context.database.read() as session:
        whole = {**in_force(searches.get(session, search_id)), WARM_START: {"search": search_id}}
        document = _read(edit(whole, edits))
        if WARM_START not in edits:
            reason = no_warm_start_reason(session, document)
    if reason is not None:
        document = document.model_copy(update={WARM_START: None})
    return submit(context, document, key=key, fork=Fork(search_id, edits, reason))


def _read(document: Mapping[str, Any]) -> SearchSpec:
    try:
        return SearchSpec.model_validate(document)
    except ValidationError as error:
        raise Invalid([fault_of(one) for one in error.errors()]) from None


def edit(document: Mapping[str, Any], edits: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document with edits; the objects in `_MERGED` are merged key by key."""
    edited = dict(document)
    for name, value in edits.items():
        before = document.get(name)
        if name in _MERGED and isinstance(before, Mapping) and isinstance(value, Mapping):
            # Another task has other settings.
            is_other = name == "task" and value.get("name", before["name"]) != before["name"]
            value = value if is_other else {**before, **value}
        edited[name] = value
    return edited


def _add_search(
    session: Session, document: SearchSpec, offers: Sequence[TaskOffer], fork: Fork | None
) -> tuple[Search, Trial]:
    """Add a search and its inspection."""
    search_id = new_id("s")
    reason = None if fork is None else fork.no_warm_start
    pinned = pin(document, offers) | {PAIRED: True}
    search = Search(
        id=search_id,
        name=document.name or _name_of(document, search_id),
        state=SearchState.PREPARING,
        document=document.model_dump(mode="json"),
        pinned=pinned if reason is None else pinned | {NO_WARM_START: reason},
        priority=document.priority,
        parallel=document.parallel,
        budget=document.budget.trials,
        budget_hours=document.budget.hours,
        budget_gpu_hours=document.budget.gpu_hours,
        budget_failures=document.budget.failures,
        forked_from=None if fork is None else fork.parent,
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
def _locked_weights(context: Context, document: SearchSpec) -> Iterator[tuple[str, int] | None]:
    """Yield the sha256 and size of the weights that a search tunes, protected from deletion.

    Raises:
        Invalid: If no such file is stored.
    """
    if not isinstance(document.start, Weights):
        yield None
        return
    sha256 = document.start.weights
    # Garbage collection takes this lock too. When it is released, the search refers to the file.
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
