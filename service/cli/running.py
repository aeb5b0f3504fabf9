"""Runs the service in this process, and beside it a worker as a child, until told to stop."""

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from asyncio.subprocess import Process
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from sqlalchemy.exc import SQLAlchemyError

from service.api.app import create_app
from service.cli.common import REFUSED, CommandError, complain, print_json, say
from service.cli.log_setup import write_log
from service.errors import CannotStart
from service.settings import Settings

# More than a worker gives its trials to hand in (`--grace`).
_WORKER_SECONDS = 30.0
_FOLLOWER_SECONDS = 3
_SWITCH_SECONDS = 0.0005
"""Threads that come back from the database wait for the event loop no longer than that; Python's
own 5 ms, ten times in a report, would let every other report wait as well."""
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def run(
    settings: Settings, *, worker: Sequence[str] | None, as_json: bool, exit_with_stdin: bool
) -> None:
    """Serve until a signal comes.

    Args:
        worker: Options of a worker to run beside; None: no worker.
        exit_with_stdin: Stop also when standard input ends.
    """
    write_log(settings.log_format, settings.log_level)
    try:
        app = create_app(settings)
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.freeze()  # What is loaded by now stays; collections need not look at it again and again.
        listening = _listen(settings)
        up = _Up(settings, app, listening, worker, as_json=as_json)
        asyncio.run(up.run(exit_with_stdin=exit_with_stdin))
    except CannotStart as error:
        raise CommandError(str(error), REFUSED) from None
    except SQLAlchemyError as error:
        raise CommandError(f"the database cannot be used: {error}") from None
    except OSError as error:
        raise CommandError(f"cannot run on {settings.home}: {error}") from None


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Up:
    """One run of the service, with its worker."""

    def __init__(
        self,
        settings: Settings,
        app: FastAPI,
        listening: socket.socket,
        worker: Sequence[str] | None,
        *,
        as_json: bool,
    ) -> None:
        self._settings = settings
        self._app = app
        self._listening = listening
        self._worker = worker
        self._as_json = as_json
        self._stop = asyncio.Event()
        host = _ANYWHERE.get(settings.host, settings.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self._url = f"http://{host}:{listening.getsockname()[1]}"

    async def run(self, *, exit_with_stdin: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        if exit_with_stdin:
            threading.Thread(target=self._stop_with_stdin, args=(loop,), daemon=True).start()
        # It answers at once: while the database is migrated, that it is not ready, and why.
        server = _Server(self._config())
        serving = asyncio.create_task(server.serve([self._listening]))
        serving.add_done_callback(lambda _: self._stop.set())
        try:
            async with self._app.router.lifespan_context(self._app):
                try:
                    await self._until_told()
                finally:
                    # Followers and slots that wait go now; the server would wait for them in vain.
                    self._app.state.leader.answer_long_polls()
                    server.should_exit = True
                    await serving
        finally:
            server.should_exit = True
            await serving

    async def _until_told(self) -> None:
        self._announce()
        if self._worker is None:
            await self._stop.wait()
        else:
            await self._work(self._worker)

    def _config(self) -> uvicorn.Config:
        return uvicorn.Config(
            self._app,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=_FOLLOWER_SECONDS,
        )

    def _announce(self) -> None:
        if self._as_json:
            print_json({"url": self._url, "home": str(self._settings.home.resolve())})
            return
        say(f"activation search is at {self._url}")
        say("submit a search there, or with `actsearch submit FILE`; Ctrl-C stops")

    async def _work(self, options: Sequence[str]) -> None:
        """Run a worker until we are told to stop; it must not end before."""
        process = await self._start_worker(options)
        ended = asyncio.create_task(process.wait())
        told = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ended, told}, return_when=asyncio.FIRST_COMPLETED)
        if not told.done():
            told.cancel()
            raise CommandError(
                f"the worker ended by itself with exit code {process.returncode}; "
                "what it said is above; nothing is lost, start again when it is mended"
            )
        self._stop.clear()
        await self._end_worker(process, ended)

    async def _start_worker(self, options: Sequence[str]) -> Process:
        environment = {**os.environ, "ACTSEARCH_TOKEN": self._app.state.access.worker_token}
        home = self._settings.home.resolve() / "worker"
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "workers", "--url", self._url, "--home", str(home)),
            *("--exit-with-stdin", *options),
            # The pipe closes with this process, however it ends, and the worker with the pipe.
            stdin=asyncio.subprocess.PIPE,
            env=environment,
            # Ctrl-C is for us; we tell the worker while the service still listens to it.
            process_group=0,
        )

    async def _end_worker(self, process: Process, ended: asyncio.Task[int]) -> None:
        """Let the worker hand its trials back; a second signal or too long a wait ends it."""
        process.terminate()
        again = asyncio.create_task(self._stop.wait())
        await asyncio.wait(
            {ended, again}, timeout=_WORKER_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        again.cancel()
        if not ended.done():
            complain("actsearch: the worker did not end in time and is killed")
            process.kill()
            await ended

    def _stop_with_stdin(self, loop: asyncio.AbstractEventLoop) -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(self._stop.set)


def _listen(settings: Settings) -> socket.socket:
    """Listen before anything starts, so that the port is known and nobody waits in vain."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host.strip("[]"), settings.port)
    try:
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise CommandError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "choose another with --host and --port"
        ) from None
