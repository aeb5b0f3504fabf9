"""Runs the service in this process, and a worker as its child, until a signal."""

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
from service.cli.common import REFUSED, CommandError, print_error, print_json, print_line
from service.cli.log_setup import write_log
from service.errors import CannotStart
from service.settings import Settings

# Longer than a worker waits for its trials to checkpoint (`--grace`).
_WORKER_SECONDS = 30.0
_FOLLOWER_SECONDS = 3
# How long a thread that returns from the database waits for the event loop's thread. Python's
# default is 5 ms; a report waits about ten times, and delays every other report as long.
_SWITCH_SECONDS = 0.0005
# Nobody can connect to "every address", so we announce the loopback address in its place.
_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def run(
    settings: Settings, *, worker: Sequence[str] | None, as_json: bool, exit_with_stdin: bool
) -> None:
    """Run the service until SIGINT or SIGTERM.

    Args:
        worker: Options of the worker; None: no worker.
        exit_with_stdin: Stop also when standard input ends.

    Raises:
        CommandError: If the service cannot start or its worker ends.
    """
    write_log(settings.log_format, settings.log_level)
    try:
        app = create_app(settings)
        sys.setswitchinterval(_SWITCH_SECONDS)
        gc.freeze()  # The loaded modules stay, so garbage collections need not scan them.
        listening = _listen(settings)
        service = _ServiceAndWorker(settings, app, listening, worker, as_json=as_json)
        asyncio.run(service.run(exit_with_stdin=exit_with_stdin))
    except CannotStart as error:
        raise CommandError(str(error), REFUSED) from None
    except SQLAlchemyError as error:
        raise CommandError(f"the database cannot be used: {error}") from None
    except OSError as error:
        raise CommandError(f"cannot run on {settings.home}: {error}") from None


class _Server(uvicorn.Server):
    """A server without signal handlers: `_ServiceAndWorker` handles signals, the worker first."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _ServiceAndWorker:
    """The service in this process and, if wanted, one worker as its child."""

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
        host = _ANY_ADDRESS.get(settings.host, settings.host)
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        self._url = f"http://{host}:{listening.getsockname()[1]}"

    async def run(self, *, exit_with_stdin: bool) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        if exit_with_stdin:
            threading.Thread(target=self._stop_with_stdin, args=(loop,), daemon=True).start()
        # Before startup, so that /readyz answers while the database is migrated.
        server = _Server(self._config())
        serving = asyncio.create_task(server.serve([self._listening]))
        serving.add_done_callback(lambda _: self._stop.set())
        try:
            async with self._app.router.lifespan_context(self._app):
                try:
                    await self._run_until_stopped()
                finally:
                    # Long polls and event streams end now; the server waits for open responses.
                    self._app.state.leader.answer_long_polls()
                    server.should_exit = True
                    await serving
        finally:
            server.should_exit = True
            await serving

    async def _run_until_stopped(self) -> None:
        self._announce()
        if self._worker is None:
            await self._stop.wait()
        else:
            await self._run_worker(self._worker)

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
        print_line(f"activation search is at {self._url}")
        print_line("submit a search there, or with `actsearch submit FILE`; Ctrl-C stops")

    async def _run_worker(self, options: Sequence[str]) -> None:
        """Run a worker until a signal; fail if it ends before."""
        process = await self._start_worker(options)
        ended = asyncio.create_task(process.wait())
        stopped = asyncio.create_task(self._stop.wait())
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not stopped.done():
            stopped.cancel()
            raise CommandError(
                f"the worker ended by itself with exit code {process.returncode}; "
                "its error is above; nothing is lost: fix it and start again"
            )
        self._stop.clear()
        await self._end_worker(process, ended)

    async def _start_worker(self, options: Sequence[str]) -> Process:
        environment = {**os.environ, "ACTSEARCH_TOKEN": self._app.state.access.worker_token}
        home = self._settings.home.resolve() / "worker"
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "workers", "--url", self._url, "--home", str(home)),
            *("--exit-with-stdin", *options),
            # The kernel closes the pipe however this process ends, and then the worker stops.
            stdin=asyncio.subprocess.PIPE,
            env=environment,
            # Ctrl-C must not reach the worker: we stop it while the service still answers.
            process_group=0,
        )

    async def _end_worker(self, process: Process, ended: asyncio.Task[int]) -> None:
        """Let the worker return its trials; kill it after a timeout or a second signal."""
        process.terminate()
        second = asyncio.create_task(self._stop.wait())
        await asyncio.wait(
            {ended, second}, timeout=_WORKER_SECONDS, return_when=asyncio.FIRST_COMPLETED
        )
        second.cancel()
        if not ended.done():
            print_error("actsearch: the worker did not end in time and is killed")
            process.kill()
            await ended

    def _stop_with_stdin(self, loop: asyncio.AbstractEventLoop) -> None:
        while os.read(0, 4096):
            pass
        loop.call_soon_threadsafe(self._stop.set)


def _listen(settings: Settings) -> socket.socket:
    """Open the port first: its number may be chosen now, and a port in use fails at once."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    address = (settings.host.strip("[]"), settings.port)
    try:
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise CommandError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror or error}; "
            "choose another by --host and --port"
        ) from None
