"""Draws figures when they are asked for: each once, kept while no further trial has finished.

Light figures are drawn in a thread of the service; heavy ones, and exports, in a process of
their own, which starts when it is first needed. One thread waits for it, for everybody.
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

MOST_KEPT = 256
EXPORT_KEPT_SECONDS = 60.0
"""An export is handed out for so long though further trials have finished: else a client that
fetches one from a fast search would never see it ready. Not so when the search was changed."""

Key = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class RenderedFigure:
    """A figure as JSON, with a tag that changes when it does."""

    body: bytes
    tag: str


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What is written of a search: the name of the child's work, its file's, its arguments."""

    name: str
    suffix: str
    arguments: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """A file about a search that had so many finished trials, and these `terms`."""

    path: Path
    finished: int
    terms: str
    made_at: float


class RenderCache:
    """Lives on the event loop, whose calls alone may change it."""

    def __init__(self, database: Database, url: str, folder: Path, artifacts: str) -> None:
        self._database = database
        self._url = url
        self._folder = folder
        self._artifacts = artifacts
        self._kept: OrderedDict[Key, RenderedFigure] = OrderedDict()
        self._drawing: dict[Key, asyncio.Task[RenderedFigure]] = {}
        self._exports: dict[tuple[str, ExportJob], Export] = {}
        self._exporting: dict[tuple[str, ExportJob], asyncio.Task[Export]] = {}
        self._process = RenderProcess()
        self._waiter = ThreadPoolExecutor(1, thread_name_prefix="insight")
        # Exports can be made again, and nobody would delete those of an earlier run.
        shutil.rmtree(folder, ignore_errors=True)

    async def figure(self, search_id: str, name: str) -> RenderedFigure:
        """Return a figure, or raise `NotFound`."""
        if name not in PLOTS:
            raise NotFound("plot", name)
        key = (search_id, name, await asyncio.to_thread(self._finished, search_id))
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        if key not in self._drawing:
            self._drawing[key] = asyncio.create_task(self._draw(key))
        # Shielded: others may wait for it when this one hangs up.
        return await asyncio.shield(self._drawing[key])

    async def optuna(self, search_id: str, *, wait: float) -> Path | None:
        """Return a database for Optuna; None while it is still being written after `wait` s."""
        return await self._written(search_id, ExportJob("export", ".db"), wait=wait)

    async def bundle(self, search_id: str, *, unconfirmed: bool, wait: float) -> Path | None:
        """Return the bundle; None while it is still being written after `wait` s."""
        which = "unconfirmed" if unconfirmed else "confirmed"
        arguments = ("artifacts", self._artifacts), ("which", which)
        return await self._written(
            search_id, ExportJob("bundle", f"-{which}.zip", arguments), wait=wait
        )

    async def _written(self, search_id: str, work: ExportJob, *, wait: float) -> Path | None:
        finished = await asyncio.to_thread(self._finished, search_id)
        terms = await asyncio.to_thread(self._terms, search_id)
        key = search_id, work
        ready = self._exports.get(key)
        if (
            ready is not None
            and ready.terms == terms
            and (
                ready.finished == finished or time.monotonic() < ready.made_at + EXPORT_KEPT_SECONDS
            )
        ):
            return ready.path
        if key not in self._exporting:
            making = self._export(search_id, work, finished, terms)
            self._exporting[key] = asyncio.create_task(making)
        task = self._exporting[key]
        done, _ = await asyncio.wait([task], timeout=wait)
        return task.result().path if done else None

    def close(self) -> None:
        """End the process, with whatever it is doing."""
        self._process.interrupt()
        self._waiter.shutdown(cancel_futures=True)
        self._process.forget()

    async def _draw(self, key: Key) -> RenderedFigure:
        search_id, name, _ = key
        try:
            if PLOTS[name].is_heavy:
                body = await self._in_child("draw", search=search_id, name=name)
            else:
                body = await asyncio.to_thread(self._draw_here, search_id, name)
            drawn = RenderedFigure(body, f'"{hashlib.sha256(body).hexdigest()[:16]}"')
            self._keep(key, drawn)
            return drawn
        finally:
            del self._drawing[key]

    async def _export(self, search_id: str, work: ExportJob, finished: int, terms: str) -> Export:
        key = search_id, work
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._folder / f"{search_id}-{finished}-{terms}{work.suffix}"
            arguments = {"search": search_id, "path": str(path), **dict(work.arguments)}
            await self._in_child(work.name, **arguments)
            before = self._exports.get(key)
            if before is not None and before.path != path:
                before.path.unlink(missing_ok=True)
            self._exports[key] = Export(path, finished, terms, time.monotonic())
            return self._exports[key]
        finally:
            del self._exporting[key]

    async def _in_child(self, work: str, **arguments: str) -> bytes:
        call = partial(self._process.call, work, url=self._url, **arguments)
        return await asyncio.get_running_loop().run_in_executor(self._waiter, call)

    def _keep(self, key: Key, drawn: RenderedFigure) -> None:
        search_id, name, finished = key
        for old in [one for one in self._kept if one[:2] == (search_id, name)]:
            if old[2] < finished:
                del self._kept[old]
        self._kept[key] = drawn
        while len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)

    def _draw_here(self, search_id: str, name: str) -> bytes:
        with self._database.read() as session:
            return encode(PLOTS[name].draw(session, searches.get(session, search_id)))

    def _finished(self, search_id: str) -> int:
        with self._database.read() as session:
            searches.get(session, search_id)
            return trials.count(session, search_id, Trial.state.in_(FINISHED))

    def _terms(self, search_id: str) -> str:
        """Return a digest of what a user may change of a search, and of its state."""
        with self._database.read() as session:
            search = searches.get(session, search_id)
            terms = json.dumps([search.name, search.state.value, in_force(search)])
        return hashlib.sha256(terms.encode()).hexdigest()[:8]
