"""Taking in a search: what can be known to be wrong with it now is refused now."""

import hashlib
from collections.abc import Sequence

from sqlalchemy.orm import Session

from search_space.contract import TaskOffer, TrialKind
from search_space.search import Search as Document
from search_space.spec import canonical_json
from service.core import Core, new_id
from service.errors import KeyReused
from service.offers import check_against_offers, pin
from service.store import events, searches, workers
from service.store.database import now
from service.store.models import Search, SearchState, Submission, Trial, TrialState
from service.studies import seed_of


def submit(core: Core, document: Document, *, key: str | None) -> str:
    """Store a search and return its id.

    With an Idempotency-Key, the same body again returns the same search.

    Raises:
        Invalid: If anything in it cannot be.
        KeyReused: If the key came before with another body.
    """
    body = hashlib.sha256(canonical_json(document.model_dump(mode="json")).encode()).hexdigest()
    with core.database.write() as session:
        earlier = None if key is None else searches.submission(session, key)
        if earlier is not None and key is not None:
            if earlier.body_sha256 != body:
                raise KeyReused(key)
            return earlier.search_id
        offers = workers.offers(session)
        check_against_offers(session, document, offers)
        search = _store(session, document, offers)
        if key is not None:
            session.add(
                Submission(key=key, body_sha256=body, search_id=search.id, created_at=now())
            )
    core.publish(makes_work=True)
    return search.id


def _store(session: Session, document: Document, offers: Sequence[TaskOffer]) -> Search:
    search_id = new_id("s")
    search = Search(
        id=search_id,
        name=document.name or _name_of(document, search_id),
        state=SearchState.PREPARING,
        document=document.model_dump(mode="json"),
        pinned=pin(document, offers),
        priority=document.priority,
        parallel=document.parallel,
        budget=document.budget.trials,
        events=0,
        tells=0,
        created_at=now(),
    )
    session.add(search)
    session.flush()
    session.add(
        Trial(
            id=new_id("t"),
            search_id=search_id,
            kind=TrialKind.INSPECTION,
            state=TrialState.WAITING,
            seed=seed_of(document.sampler.seed, "inspection", 0),
            created_at=now(),
        )
    )
    events.add(session, search, "search", {"state": search.state.value, "reason": None})
    return search


def _name_of(document: Document, search_id: str) -> str:
    settings = document.task.settings
    parts = [settings.get("dataset"), settings.get("network")]
    named = "-".join(str(part) for part in parts if part) or document.task.name
    return f"{named}-{search_id[1:5]}"
