"""A service in a process of its own, a worker by script, and Debian's Chromium."""

import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.leftovers import tag
from tests.support.serving import JSON

CHROMIUM = shutil.which("chromium")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SERVE = """
import sys, uvicorn
from service.api.app import create_app
from service.settings import Settings
app = create_app(Settings())
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", timeout_graceful_shutdown=1)
"""
SEARCH: dict[str, Any] = {
    "task": {
        "name": "image-classification",
        "dataset": "digits",
        "network": "small-cnn",
        "epochs": 2,
    },
    "choices": ["relu", "silu", {"name": "pwlu", "segments": [4, 8]}],
    "baselines": {"original_seeds": 3, "uniform": True},
    "budget": {"trials": 6},
    "pruner": {"name": "none"},
    "confirm": None,
}
STARTS_WITHIN_SECONDS = 120


class ServiceProcess:
    """The service on a port that stays the same when it is started again."""

    def __init__(self, home: Path, *, token: str | None = None) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.token = token
        self._environment = {"ACTSEARCH_HOME": str(home), "PATH": "/usr/bin:/bin"} | tag()
        if token is not None:
            (home / "token").write_text(token)
            self._environment["ACTSEARCH_ADMIN_TOKEN_FILE"] = str(home / "token")
        headers = dict(JSON)
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        self.http = httpx2.Client(base_url=f"{self.url}/v1", headers=headers, timeout=30)
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", SERVE, str(self.port)]
        self._process = subprocess.Popen(command, env=self._environment)
        deadline = time.monotonic() + STARTS_WITHIN_SECONDS
        while not self._answers():
            assert self._process.poll() is None, "the service did not start"
            assert time.monotonic() < deadline, "the service did not answer in time"
            time.sleep(0.05)

    def kill(self) -> None:
        """End the process at once, as a power cut would."""
        self._process.kill()
        self._process.wait()

    def submit(self, **changes: Any) -> str:
        """Submit a small search and return its id."""
        answer = self.http.post("/searches", json=SEARCH | changes)
        assert answer.status_code == httpx2.codes.CREATED, answer.text
        return str(answer.json()["id"])

    def _answers(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz").is_success
        except httpx2.TransportError:
            return False


class Watched:
    """A page of which everything is noted that should not happen.

    `expected` is what the console may say of requests that the test makes fail.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.expected = r"(?!)"
        self.errors: list[str] = []
        self.hosts: set[str | None] = set()
        page.on("console", lambda said: self._note(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._note(str(error)))
        page.on("request", lambda request: self._visited(request.url))

    def check(self) -> None:
        assert [one for one in self.errors if not re.search(self.expected, one)] == []
        assert self.hosts == {"127.0.0.1"}

    def _note(self, text: str) -> None:
        self.errors.append(text)

    def _visited(self, url: str) -> None:
        if url.startswith("http"):
            self.hosts.add(urlsplit(url).hostname)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(locale="en-GB", timezone_id="Asia/Tokyo") as context:
        context.set_default_timeout(15_000)
        yield context


@pytest.fixture
def watched(context: BrowserContext) -> Iterator[Watched]:
    watched = Watched(context.new_page())
    yield watched
    watched.check()


@pytest.fixture
def page(watched: Watched) -> Page:
    return watched.page


@pytest.fixture
def start(tmp_path: Path, browser: Browser) -> Iterator[Callable[..., ServiceProcess]]:  # noqa: ARG001
    """Start a service; the browser comes first, so that without one nothing is started."""
    started: list[ServiceProcess] = []

    def start(**settings: Any) -> ServiceProcess:
        started.append(ServiceProcess(tmp_path, **settings))
        return started[-1]

    yield start
    for service in started:
        service.http.close()
        service.kill()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[ServiceProcess]:  # noqa: ARG001
    """One service for the tests of a file."""
    service = ServiceProcess(tmp_path_factory.mktemp("home"))
    yield service
    service.http.close()
    service.kill()


@pytest.fixture
def service(shared: ServiceProcess) -> Iterator[ServiceProcess]:
    """The shared service, in which no earlier test has left work or a worker."""
    yield shared
    for search in shared.http.get("/searches", params={"limit": 500}).json()["items"]:
        shared.http.delete(f"/searches/{search['id']}").raise_for_status()
    for worker in shared.http.get("/workers").json():
        shared.http.delete(f"/workers/{worker['id']}").raise_for_status()
