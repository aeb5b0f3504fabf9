"""Builds the service. Importing this module has no effect; `create_app` does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import optuna
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy import text

from service.access import Access
from service.api import (
    artifacts,
    catalogue,
    drafts,
    events,
    insight,
    leases,
    queue,
    searches,
    tokens,
    trials,
    workers,
)
from service.api.deps import office_of, reads
from service.api.storable import storable
from service.artifacts import ArtifactStore
from service.collection import Collector
from service.core import Core, signing_key
from service.dashboard.page import add_page
from service.dashboard.reference import add_reference
from service.deletion import Deleter
from service.errors import CannotStart
from service.guard import Guard
from service.insight.studio import Studio
from service.metrics import Metrics, StoreCollector
from service.office import Office, Term
from service.openapi import make_openapi
from service.problems import add_problem_handlers
from service.rates import RateLimit
from service.scheduler import Scheduler, WaitingRoom
from service.schemas.base import Problem
from service.settings import Settings
from service.store.database import Database
from service.store.migrate import migrate
from service.store.place import locked, store_url
from service.store.searches import clock
from service.telemetry import Telemetry
from service.versions import versions

MAX_BODY_BYTES = 8 * 1024**2
THINKING_TIMES = 4
"""A transaction may be silent for so many times what an owner may: studies are rebuilt in it."""


def create_app(settings: Settings) -> FastAPI:
    """Wire settings, store, scheduler and routes together.

    Raises:
        CannotStart: If it would listen off loopback without a token.
    """
    token = _token_of(settings.admin_token_file, "admin")
    worker_token = _token_of(settings.worker_token_file, "worker")
    if token is None and settings.exposure is not None:
        raise CannotStart(
            f"refusing to {settings.exposure} without a token: put one into a file and name it "
            "by ACTSEARCH_ADMIN_TOKEN_FILE, or answer on 127.0.0.1 and for its names alone"
        )
    app = FastAPI(
        title="Activation search",
        summary="Finds the best activation function for every layer of a network.",
        version=versions()["activation-search"],
        lifespan=_lifespan,
        responses={"4XX": {"model": Problem}},
        docs_url=None,
        redoc_url=None,
    )
    app.openapi = cache(partial(make_openapi, app))  # type: ignore[method-assign]
    app.state.settings = settings
    app.state.access = Access(token, worker_token)
    metrics = Metrics()
    metrics.registry.register(StoreCollector(lambda: app.state.office, settings.lease_seconds))
    app.state.metrics = metrics
    if settings.rate_limit:
        app.add_middleware(RateLimit, per_second=settings.rate_limit)
    app.add_middleware(Guard, hosts=settings.hosts, max_body_bytes=MAX_BODY_BYTES)
    app.add_middleware(Telemetry, metrics=metrics, routes=app.routes)
    add_problem_handlers(app)
    api = APIRouter(prefix="/v1", max_body_size=MAX_BODY_BYTES, dependencies=[storable])
    for part in (
        leases,  # Asked most by far, and routes are tried in order.
        workers,
        drafts,
        searches,
        queue,
        insight,
        trials,
        artifacts,
        events,
        catalogue,
        tokens,
    ):
        api.include_router(part.router)
    app.include_router(api)
    app.add_api_route("/healthz", _healthz, tags=["probes"])
    app.add_api_route("/readyz", _readyz(app), tags=["probes"])
    app.add_api_route(
        "/metrics",
        _show(metrics),
        tags=["probes"],
        dependencies=[reads],
        response_class=PlainTextResponse,
    )
    add_page(app)
    add_reference(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    url = store_url(settings.database_url, settings.home)
    with ExitStack() as stack:
        if url.get_backend_name() == "sqlite":
            stack.enter_context(locked(Path(url.database or "")))
        database = Database(url, silence=settings.owner_seconds * THINKING_TIMES)
        stack.callback(database.close)
        # On a thread: whoever asks meanwhile is told why it is not ready.
        await asyncio.to_thread(migrate, database.engine)
        loop = asyncio.get_running_loop()
        office = Office(
            database,
            lambda epoch: _term(app, settings, database.of_epoch(epoch), loop, epoch),
            settings.owner_seconds,
        )
        app.state.office = office
        app.state.studio = Studio(
            database,
            url.render_as_string(hide_password=False),
            settings.home / "exports",
            settings.artifacts,
        )
        office.open()
        try:
            yield
        finally:
            await office.close()
            await asyncio.to_thread(app.state.studio.close)


def _term(
    app: FastAPI,
    settings: Settings,
    database: Database,
    loop: asyncio.AbstractEventLoop,
    epoch: int | None,
) -> Term:
    """Make the parts that decide, and let them begin."""
    with database.write() as session:
        key, started_at = signing_key(session), clock(session)
    room, deleter, collector = WaitingRoom(), Deleter(), Collector()
    core = Core(
        settings=settings,
        database=database,
        metrics=app.state.metrics,
        artifacts=ArtifactStore(settings.artifacts, settings.home / "incoming"),
        key=key,
        started_at=started_at,
        work=room.wake,
        delete=deleter.wake,
    )
    for news in (core.news, core.log_news):
        news.bind(loop)
    scheduler = Scheduler(core, room)
    scheduler.start()
    deleter.start(core)
    collector.start(core)
    return Term(epoch, core, room, (scheduler, deleter, collector))


def _token_of(file: Path | None, whose: str) -> str | None:
    """Return the token that a file holds; None where none is named."""
    if file is None:
        return None
    try:
        token = file.read_text().strip()
    except OSError as error:
        raise CannotStart(f"cannot read the {whose} token: {error}") from None
    if not token:
        raise CannotStart(f"the {whose} token file {file} is empty")
    return token


async def _healthz() -> dict[str, str]:
    """Say that the process answers."""
    return {"status": "ok"}


def _show(metrics: Metrics) -> Callable[[], PlainTextResponse]:
    def show() -> PlainTextResponse:
        """What Prometheus reads."""
        return PlainTextResponse(metrics.show(), media_type=CONTENT_TYPE_LATEST)

    return show


def _readyz(app: FastAPI) -> Any:
    def readyz() -> dict[str, str]:
        """Say that this process is the owner and that the store answers."""
        with office_of(app).term.core.database.read() as session:
            session.execute(text("SELECT 1"))
        return {"status": "ready"}

    return readyz
