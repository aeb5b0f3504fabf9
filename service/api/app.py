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
from service.api.deps import leader_of, reads
from service.api.openapi import make_openapi
from service.api.storable import storable
from service.dashboard.page import add_page
from service.dashboard.reference import add_reference
from service.errors import CannotStart
from service.housekeeping.deletion import Deleter
from service.housekeeping.garbage import GarbageCollector
from service.http.auth import Authenticator
from service.http.host_guard import HostGuard
from service.http.problems import add_problem_handlers
from service.http.rate_limit import RateLimit
from service.http.request_log import RequestLog
from service.rendering.cache import RenderCache
from service.runtime.context import Context, signing_key
from service.runtime.leader import Leader, Term
from service.runtime.lease_queue import LeaseQueue
from service.runtime.metrics import Metrics
from service.runtime.store_metrics import StoreCollector
from service.scheduling.scheduler import Scheduler
from service.schemas.base import Problem
from service.settings import Settings
from service.store.artifacts import ArtifactStore
from service.store.database import Database
from service.store.location import locked, store_url
from service.store.migrate import migrate
from service.store.searches import clock
from service.versions import versions

MAX_BODY_BYTES = 8 * 1024**2
IDLE_TIMEOUT_PERIODS = 4
"""A transaction may be idle for so many leadership periods: studies are rebuilt within it."""


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
    app.state.access = Authenticator(token, worker_token)
    metrics = Metrics()
    # A function, since the leader is made when the app starts.
    metrics.registry.register(StoreCollector(lambda: app.state.leader, settings.lease_seconds))
    app.state.metrics = metrics
    # The last one added is the outermost: it logs also what the others refuse.
    if settings.rate_limit:
        app.add_middleware(RateLimit, per_second=settings.rate_limit)
    app.add_middleware(HostGuard, hosts=settings.hosts, max_body_bytes=MAX_BODY_BYTES)
    app.add_middleware(RequestLog, metrics=metrics, routes=app.routes)
    add_problem_handlers(app)
    _add_routes(app)
    _add_probes(app, metrics)
    add_page(app)
    add_reference(app)
    return app


def _add_routes(app: FastAPI) -> None:
    api = APIRouter(prefix="/v1", max_body_size=MAX_BODY_BYTES, dependencies=[storable])
    for part in (
        leases,  # First: routes are tried in order, and these get most requests.
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


def _add_probes(app: FastAPI, metrics: Metrics) -> None:
    app.add_api_route("/healthz", _healthz, tags=["probes"])
    app.add_api_route("/readyz", _readyz(app), tags=["probes"])
    app.add_api_route(
        "/metrics",
        _show(metrics),
        tags=["probes"],
        dependencies=[reads],
        response_class=PlainTextResponse,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    settings.home.mkdir(parents=True, exist_ok=True)
    url = store_url(settings.database_url, settings.home)
    with ExitStack() as stack:
        if url.get_backend_name() == "sqlite":
            stack.enter_context(locked(Path(url.database or "")))
        database = Database(url, idle_timeout=settings.owner_seconds * IDLE_TIMEOUT_PERIODS)
        stack.callback(database.close)
        # In a thread: meanwhile requests are answered with 503 and the reason.
        await asyncio.to_thread(migrate, database.engine)
        loop = asyncio.get_running_loop()
        leader = Leader(
            database,
            lambda epoch: _term(app, settings, database.of_epoch(epoch), loop, epoch),
            settings.owner_seconds,
        )
        app.state.leader = leader
        app.state.render_cache = RenderCache(
            database,
            url.render_as_string(hide_password=False),
            settings.home / "exports",
            settings.artifacts,
        )
        leader.start()
        try:
            yield
        finally:
            await leader.close()
            await asyncio.to_thread(app.state.render_cache.close)


def _term(
    app: FastAPI,
    settings: Settings,
    database: Database,
    loop: asyncio.AbstractEventLoop,
    epoch: int | None,
) -> Term:
    """Make the objects of a term and start its threads."""
    with database.write() as session:
        key, started_at = signing_key(session), clock(session)
    lease_queue, deleter, collector = LeaseQueue(), Deleter(), GarbageCollector()
    context = Context(
        settings=settings,
        database=database,
        metrics=app.state.metrics,
        artifacts=ArtifactStore(settings.artifacts, settings.home / "incoming"),
        key=key,
        started_at=started_at,
        notify_scheduler=lease_queue.notify,
        delete=deleter.wake,
    )
    for notifier in (context.notifier, context.log_notifier):
        notifier.bind(loop)
    scheduler = Scheduler(context, lease_queue)
    scheduler.start()
    deleter.start(context)
    collector.start(context)
    return Term(epoch, context, lease_queue, (scheduler, deleter, collector))


def _token_of(file: Path | None, whose: str) -> str | None:
    """Return the token in a file; None if no file is given."""
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
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    return show


def _readyz(app: FastAPI) -> Any:
    def readyz() -> dict[str, str]:
        """Say that this process is the owner and that the store answers."""
        with leader_of(app).term.context.database.read() as session:
            session.execute(text("SELECT 1"))
        return {"status": "ready"}

    return readyz
