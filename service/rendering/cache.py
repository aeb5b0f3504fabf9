"""Renders figures on demand, each once, and caches them until a further trial finishes.

Light figures are rendered in a thread of the service. Heavy ones and exports are rendered in a
separate process, which starts when it is first needed; one thread waits for its answers.
"""

import asyncio
import hashlib
import json
import shutil
import time
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service.errors import NotFound
from service.insight.plots import PLOTS
from service.rendering.process import RenderProcess, encode
from service.schemas.states import FINISHED
from service.store import searches, trials
from service.store.database import Database
from service.store.documents import in_force
from service.store.models import Trial

MAX_FIGURES = 256
EXPORT_TTL_SECONDS = 60.0
"""An export is served for so long although further trials have finished: a client that polls for
the export of a fast search would never see it ready otherwise. A changed search ends it at once."""

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class RenderedFigure:
    """A figure as JSON, with an entity tag."""

    body: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class ExportJob:
    """A file to write about a search: the job of the process, the file's suffix, arguments."""

    job: str
    suffix: str
    arguments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """A written file, with the number of finished trials and the digest of the search it shows."""

    path: Path
    finished: int
    digest: str
    made_at: float


class RenderCache:
    """Figures and exports of all searches. Belongs to the event loop: no thread may change it."""

    def __init__(self, database: Database, url: str, folder: Path, artifacts: str) -> None:
        self._database = database
        self._url = url
        self._folder = folder
        self._artifacts = artifacts
        self._figures: OrderedDict[Key, RenderedFigure] = OrderedDict()
        self._figure_tasks: dict[Key, asyncio.Task[RenderedFigure]] = {}
        self._exports: dict[tuple[str, ExportJob], Export] = {}
        self._export_tasks: dict[tuple[str, ExportJob], asyncio.Task[Export]] = {}
        self._process = RenderProcess()
        self._process_thread = ThreadPoolExecutor(1, thread_name_prefix="insight")
        # Exports of an earlier run: nothing else deletes them, and they can be written again.
        shutil.rmtree(folder, ignore_errors=True)

    async def figure(self, search_id: str, name: str) -> RenderedFigure:
        """Return a figure, or raise `NotFound`."""
        if name not in PLOTS:
            raise NotFound("plot", name)
        key = (search_id, name, await asyncio.to_thread(self._finished, search_id))
        if key in self._figures:
            self._figures.move_to_end(key)
            return self._figures[key]
        if key not in self._figure_tasks:
            self._figure_tasks[key] = asyncio.create_task(self._draw(key))
        # Shielded: other requests may wait for the same figure when this one disconnects.
        return await asyncio.shield(self._figure_tasks[key])

    async def optuna(self, search_id: str, *, wait: float) -> Path | None:
        """Return a database for Optuna; None if it is not written after `wait` seconds."""
        return await self._export_file(search_id, ExportJob("export", ".db"), wait=wait)

    async def bundle(self, search_id: str, *, unconfirmed: bool, wait: float) -> Path | None:
        """Return the bundle; None if it is not written after `wait` seconds."""
        which = "unconfirmed" if unconfirmed else "confirmed"
        arguments = ("artifacts", self._artifacts), ("which", which)
        return await self._export_file(
            search_id, ExportJob("bundle", f"-{which}.zip", arguments), wait=wait
        )

    async def _export_file(self, search_id: str, job: ExportJob, *, wait: float) -> Path | None:
        finished = await asyncio.to_thread(self._finished, search_id)
        digest = await asyncio.to_thread(self._digest, search_id)
        key = search_id, job
        ready = self._exports.get(key)
        if (
            ready is not None
            and ready.digest == digest
            and (
                ready.finished == finished or time.monotonic() < ready.made_at + EXPORT_TTL_SECONDS
            )
        ):
            return ready.path
        if key not in self._export_tasks:
            writing = self._export(search_id, job, finished, digest)
            self._export_tasks[key] = asyncio.create_task(writing)
        task = self._export_tasks[key]
        done, _ = await asyncio.wait([task], timeout=wait)
        return task.result().path if done else None

    def close(self) -> None:
        """End the process, also in the middle of a job."""
        self._process.abort()
        self._process_thread.shutdown(cancel_futures=True)
        self._process.stop()

    async def _draw(self, key: Key) -> RenderedFigure:
        search_id, name, _ = key
        try:
            if PLOTS[name].is_heavy:
                body = await self._in_process("draw", search=search_id, name=name)
            else:
                body = await asyncio.to_thread(self._draw_in_thread, search_id, name)
            figure = RenderedFigure(body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
            self._store(key, figure)
            return figure
        finally:
            del self._figure_tasks[key]

    async def _export(self, search_id: str, job: ExportJob, finished: int, digest: str) -> Export:
        key = search_id, job
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{search_id}-{finished}-{digest}{job.suffix}"
            arguments = {"search": search_id, "path": str(path), **dict(job.arguments)}
            await self._in_process(job.job, **arguments)
            before = self._exports.get(key)
            if before is not None and before.path != path:
                before.path.unlink(missing_ok=True)
            self._exports[key] = Export(path, finished, digest, time.monotonic())
            return self._exports[key]
        finally:
            del self._export_tasks[key]

    async def _in_process(self, job: str, **arguments: str) -> bytes:
        call = partial(self._process.call, job, url=self._url, **arguments)
        return await asyncio.get_running_loop().run_in_executor(self._process_thread, call)

    def _store(self, key: Key, figure: RenderedFigure) -> None:
        search_id, name, finished = key
        for old in [one for one in self._figures if one[:2] == (search_id, name)]:
            if old[2] < finished:
                del self._figures[old]
        self._figures[key] = figure
        while len(self._figures) > MAX_FIGURES:
            self._figures.popitem(last=False)

    def _draw_in_thread(self, search_id: str, name: str) -> bytes:
        with self._database.read() as session:
            return encode(PLOTS[name].draw(session, searches.get(session, search_id)))

    def _finished(self, search_id: str) -> int:
        with self._database.read() as session:
            searches.get(session, search_id)
            return trials.count(session, search_id, Trial.state.in_(FINISHED))

    def _digest(self, search_id: str) -> str:
        """Return a digest of the state of a search and of what a user may change in it."""
        with self._database.read() as session:
            search = searches.get(session, search_id)
            changeable = json.dumps([search.name, search.state.value, in_force(search)])
        return hashlib.sha256(changeable.encode()).hexdigest()[:8]
