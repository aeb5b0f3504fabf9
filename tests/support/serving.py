"""A real service on a real port, in this process: fast to start, and easy to stop and restart."""

import socket
import threading
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2
import uvicorn
from sqlalchemy import URL

from service.api.app import create_app
from service.runtime.context import Context
from service.runtime.lease_queue import LeaseQueue
from service.settings import Settings
from service.store.database import Database
from service.store.location import store_url
from service.store.migrate import migrate


class Served:
    """The service over real HTTP. `url` stays the same over a restart."""

    def __init__(self, home: Path, **settings: object) -> None:
        self._settings = Settings(home=home, **settings)  # type: ignore[arg-type]
        if self._settings.database_url is None:
            _put_store(home)
        self._socket = _listen(0)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.http = httpx2.Client(base_url=f"{self.url}/v1", timeout=60, headers=JSON)
        self._start(self._socket)

    @property
    def context(self) -> Context:
        context: Context = self.app.state.leader.term.context
        return context

    @property
    def lease_queue(self) -> LeaseQueue:
        queue: LeaseQueue = self.app.state.leader.term.lease_queue
        return queue

    @property
    def store(self) -> URL:
        """Where its store is, whether it runs or not."""
        return store_url(self._settings.database_url, self._settings.home)

    def restart(self) -> None:
        """Stop the service and start a new one on the same home and port."""
        self.stop()
        self.start_again()

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()

    def start_again(self) -> None:
        self._start(_listen(self.port))

    def close(self) -> None:
        self.http.close()
        self.stop()

    def _start(self, listening: socket.socket) -> None:
        self.app = create_app(self._settings)
        config = uvicorn.Config(self.app, log_level="warning", timeout_graceful_shutdown=1)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listening],))
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the service did not start"
            threading.Event().wait(0.01)


JSON = {"content-type": "application/json"}


def _put_store(home: Path) -> None:
    """Put a store with all its tables into an empty home: to make them takes half of a start."""
    file = Path(store_url(None, home).database or "")
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_empty_store())


@cache
def _empty_store() -> bytes:
    with TemporaryDirectory() as folder:
        url = store_url(None, Path(folder))
        database = Database(url)
        migrate(database.engine)
        database.close()
        return Path(url.database or "").read_bytes()


def _listen(port: int) -> socket.socket:
    listening = socket.socket()
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", port))
    return listening
