"""Real processes of the product on this machine, as a user would start them."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil

from service.client.client import Client

BIN = Path(sys.executable).parent
ACTSEARCH = [str(BIN / "actsearch")]
LEASE_SECONDS = 3


class Machine:
    """Starts services and workers; whatever still runs at the end is killed."""

    def __init__(
        self,
        folder: Path,
        database_url: str | None = None,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._environment = {"ACTSEARCH_LEASE_SECONDS": str(LEASE_SECONDS), **(environment or {})}
        if database_url is not None:
            self._environment["ACTSEARCH_DATABASE_URL"] = database_url
        self._processes: list[subprocess.Popen[str]] = []
        self._port = port
        self.client = Client(f"http://127.0.0.1:{port or 1}")

    def serve(
        self, *, ready: bool = True, mortal: Sequence[str] = (), skew: float = 0
    ) -> subprocess.Popen[str]:
        """Start the service; again on the same home and port after the first time.

        Args:
            ready: Wait until it says so; one that stands by does not.
            mortal: At what write and moment it dies, as `mortal` has it.
            skew: So many seconds its clock is ahead.
        """
        options = ["--home", str(self.folder / "service"), "--port", str(self._port), "--json"]
        actsearch = _script("mortal", *mortal) if mortal else _actsearch(skew)
        process = self._start("service", [*actsearch, "serve", *options])
        if self._port == 0:
            address = until(lambda: re.search(r"127\.0\.0\.1:(\d+)", self.log("service")))
            self._port = int(address.group(1))
            self.client.close()
            self.client = Client(f"http://127.0.0.1:{self._port}")
        if ready:
            until(self.is_ready)
        return process

    def worker(self, *options: str, slots: int = 2, skew: float = 0) -> subprocess.Popen[str]:
        """Start a worker; two slots, because two threads of one trial wait for each other."""
        name = f"worker-{len(self._processes)}"
        home = ["--home", str(self.folder / name), "--slots", str(slots)]
        command = [*_actsearch(skew), "worker", "--url", self.client.url, *home, *options]
        return self._start(name, command)

    def simulate(self, table: Path, *options: str, workers: int) -> subprocess.Popen[str]:
        """Start simulated workers that answer from a table."""
        command = [*ACTSEARCH, "simulate", "--url", self.client.url, "--table", str(table)]
        return self._start("simulated", [*command, "--workers", str(workers), *options])

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text()

    def read(self, path: str) -> Any:
        """Read what the API answers, as a program of any language would."""
        response = get_text(f"{self.client.url}/v1{path}")
        return json.loads(response)

    @property
    def port(self) -> int:
        """That of the service."""
        return self._port

    def refused(self) -> int:
        """Count the words of attempts that the service has refused as stale, since it started."""
        lines = get_text(f"{self.client.url}/metrics").splitlines()
        stale = [x for x in lines if "requests_total" in x and "/leases/" in x and '"409"' in x]
        return sum(round(float(line.rpartition(" ")[2])) for line in stale)

    def trials(self, search_id: str) -> list[dict[str, Any]]:
        return list(self.read(f"/searches/{search_id}/trials?limit=500")["items"])

    def wait(self, search_id: str, state: str = "completed", seconds: float = 240) -> None:
        """Wait until a search is in a state."""

        def arrived() -> bool:
            found = self.read(f"/searches/{search_id}")
            if found["state"] in ("failed", "paused", "cancelled", "completed"):
                assert found["state"] == state, found["reason"]
            return bool(found["state"] == state)

        until(arrived, seconds)

    def until_reported(self, search_id: str, steps: int, *, proposed: bool = False) -> Any:
        """Wait until a running trial has reported so many epochs; return it."""

        def found() -> Any:
            return next(
                (
                    trial
                    for trial in self.trials(search_id)
                    if trial["state"] == "running"
                    and (trial["step"] or 0) >= steps
                    and (trial["kind"] == "proposed" or not proposed)
                ),
                None,
            )

        return until(found)

    def close(self) -> None:
        self.client.close()
        for process in self._processes:
            for child in _children(process.pid):
                child.kill()
            process.kill()
            process.wait()

    def _start(self, name: str, command: list[str]) -> subprocess.Popen[str]:
        with (self.folder / f"{name}.log").open("a") as log:
            process = subprocess.Popen(
                command,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                text=True,
                cwd=self.folder,
                env={
                    **os.environ,
                    **self._environment,
                    "OMP_NUM_THREADS": "1",
                    "ACTSEARCH_CHECKPOINT_SECONDS": "0",
                    # As in an activated environment: a task's command may say "python".
                    "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                },
            )
        self._processes.append(process)
        return process

    def is_ready(self) -> bool:
        try:
            get_text(f"{self.client.url}/readyz")
        except OSError:
            return False
        return True


def _actsearch(skew: float) -> list[str]:
    return _script("skewed", str(skew)) if skew else ACTSEARCH


def _script(name: str, *arguments: str) -> list[str]:
    return [sys.executable, str(Path(__file__).with_name(f"{name}.py")), *arguments]


def get_text(url: str) -> str:
    with urlopen(url, timeout=60) as response:
        return str(response.read().decode())


def trial_processes(worker: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return the processes of a worker that train: the children of its forkserver."""
    grandchildren = [
        grandchild
        for child in psutil.Process(worker.pid).children()
        for grandchild in child.children()
    ]
    return [process for process in grandchildren if process.status() != psutil.STATUS_ZOMBIE]


def has_ended(process: psutil.Process) -> bool:
    """Whether a process trains and serves no more, though nobody may have reaped it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill_all(process: subprocess.Popen[Any]) -> None:
    """Kill a process with everything that it started, as a machine that loses power does."""
    for child in _children(process.pid):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    process.kill()
    process.wait()


def until(happened: Callable[[], Any], seconds: float = 60) -> Any:
    """Wait for what must happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := happened():
            return found
        time.sleep(0.05)
    raise AssertionError(f"it did not happen within {seconds} s")


def rest(seconds: float) -> None:
    """Let time pass, in which nothing must happen."""
    time.sleep(seconds)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
