"""Reads and writes of workers and their offers."""

from collections.abc import Mapping, Sequence

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from search_space.contract import TaskOffer, WorkerManifest
from service.errors import NotFound
from service.store.database import now
from service.store.models import Search, Worker


def register(session: Session, worker_id: str, manifest: WorkerManifest) -> None:
    """Add a worker, or replace its manifest."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        worker = Worker(id=worker_id, created_at=now())
        session.add(worker)
    worker.boot_id = manifest.boot_id
    worker.manifest = manifest.model_dump(mode="json")
    worker.seen_at = now()


def remove(session: Session, worker_id: str) -> None:
    """Delete a worker that has signed off, or raise `NotFound`."""
    session.delete(get(session, worker_id))


def record_heartbeat(session: Session, worker_id: str, boot_id: str) -> None:
    """Store the time of a heartbeat, or raise `NotFound`: the worker then registers again."""
    known = session.scalars(
        update(Worker)
        .where(Worker.id == worker_id, Worker.boot_id == boot_id)
        .values(seen_at=now())
        .returning(Worker.id)
    ).one_or_none()
    if known is None:
        raise NotFound("worker", worker_id)


def get(session: Session, worker_id: str) -> Worker:
    """Return a worker, or raise `NotFound`."""
    worker = session.get(Worker, worker_id)
    if worker is None:
        raise NotFound("worker", worker_id)
    return worker


def newest(session: Session, *, limit: int = 1000) -> Sequence[Worker]:
    """Return the workers, those seen last first."""
    return session.scalars(
        select(Worker).order_by(Worker.seen_at.desc(), Worker.id).limit(limit)
    ).all()


def alive(session: Session, *, seconds: float) -> Sequence[Worker]:
    """Return the workers whose last heartbeat was at most `seconds` ago."""
    return session.scalars(select(Worker).where(Worker.seen_at > now() - seconds)).all()


def manifest_of(worker: Worker) -> WorkerManifest:
    return WorkerManifest.model_validate(worker.manifest)


def offers(session: Session, task: str | None = None) -> Sequence[TaskOffer]:
    """Return the tasks that workers offer, live or not, those of the latest heartbeat first."""
    found = (offer for worker in newest(session) for offer in manifest_of(worker).tasks)
    return [offer for offer in found if task is None or offer.name == task]


def codes(manifest: WorkerManifest) -> dict[str, str | None]:
    """Return the code version of each task that a worker offers; None if it is unknown."""
    return {offer.name: offer.code for offer in manifest.tasks}


def has_its_code(search: Search, codes: Mapping[str, str | None]) -> bool:
    """Whether a worker has the code that a search began with; unknown code counts as equal.

    Results of different code must not be compared.
    """
    began, has = search.pinned.get("code"), codes[search.document["task"]["name"]]
    return search.plan is None or began is None or has is None or began == has
