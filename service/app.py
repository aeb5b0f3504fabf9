"""Builds the service. Importing this module has no effect; `create_app` does."""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import optuna
from fastapi import APIRouter, FastAPI
from sqlalchemy import text

from service.access import Access
from service.api import (
    catalogue,
    events,
    insight,
    leases,
    searches,
    tokens,
    trials,
    workers,
)
from service.artifacts import ArtifactStore
from service.core import Core, signing_key
from service.dashboard.page import add_page
from service.deletion import Deleter
from service.guard import Guard
from service.insight.studio import Studio
from service.problems import add_problem_handlers
from service.scheduler import Scheduler, WaitingRoom
from service.schemas import Problem
from service.settings import Settings
from service.store.database import Database, sqlite_url
from service.store.migrate import migrate
from service.store.searches import clock

MAX_BODY_BYTES = 8 * 1024**2


class CannotStart(Exception):
    """The settings or the surroundings do not let the service start."""


def create_app(settings: Settings) -> FastAPI:
    """Wire settings, store, scheduler and routes together.

    Raises:
        CannotStart: If it would listen off loopback without a token.
    """
    token = _admin_token(settings)
    if token is None and settings.exposure is not None:
        raise CannotStart(
            f"refusing to {settings.exposure} without a token: put one into a file and name it "
            "by ACTSEARCH_ADMIN_TOKEN_FILE, or answer on 127.0.0.1 and for its names alone"
        )
    app = FastAPI(
        title="Activation search",
        summary="Finds the best activation function for every layer of a network.",
        lifespan=_lifespan,
        responses={"4XX": {"model": Problem}},
    )
    app.state.settings = settings
    app.state.access = Access(token)
    app.state.stopping = False
    app.add_middleware(Guard, hosts=settings.hosts, max_body_bytes=MAX_BODY_BYTES)
    add_problem_handlers(app)
    api = APIRouter(prefix="/v1", max_body_size=MAX_BODY_BYTES)
    for part in (searches, insight, trials, events, workers, leases, catalogue, tokens):
        api.include_router(part.router)
    app.include_router(api)
    app.add_api_route("/healthz", _healthz, tags=["probes"])
    app.add_api_route("/readyz", _readyz(app), tags=["probes"])
    add_page(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    with _only_one(settings.home / "service.lock"):
        url = settings.database_url or sqlite_url(settings.home)
        database = Database(url)
        migrate(database.engine)
        with database.write() as session:
            key, started_at = signing_key(session), clock(session)
        waiting_room, deleter = WaitingRoom(), Deleter()
        core = Core(
            settings=settings,
            database=database,
            artifacts=ArtifactStore(settings.home / "artifacts"),
            key=key,
            started_at=started_at,
            work=waiting_room.wake,
            delete=deleter.wake,
        )
        scheduler = Scheduler(core, waiting_room)
        studio = Studio(database, url, settings.home / "exports")
        for news in (core.news, core.log_news):
            news.bind(asyncio.get_running_loop())
        app.state.core, app.state.waiting_room, app.state.studio = core, waiting_room, studio
        scheduler.start()
        deleter.start(core)
        try:
            yield
        finally:
            app.state.stopping = True
            core.news.publish()
            core.log_news.publish()
            await asyncio.to_thread(studio.close)
            await asyncio.to_thread(scheduler.stop)
            await asyncio.to_thread(deleter.stop)
            database.close()


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a file lock, so that never two services decide over one store."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"another service is running on {path.parent.resolve()}") from None
        yield


def _admin_token(settings: Settings) -> str | None:
    if settings.admin_token_file is None:
        return None
    try:
        token = settings.admin_token_file.read_text().strip()
    except OSError as error:
        raise CannotStart(f"cannot read the admin token: {error}") from None
    if not token:
        raise CannotStart(f"the admin token file {settings.admin_token_file} is empty")
    return token


async def _healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


def _readyz(app: FastAPI) -> Any:
    def readyz() -> dict[str, str]:
        """Say that the store answers."""
        with app.state.core.database.read() as session:
            session.execute(text("SELECT 1"))
        return {"status": "ready"}

    return readyz
