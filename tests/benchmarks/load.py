"""Load over real HTTP: 256 attempts that report, 50 clients that follow. Prints rates.

    python -m tests.benchmarks.load [WORKERS] [FOLLOWERS] [SECONDS]

The targets are 200 reports a second and a 95th percentile of 50 ms.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread
from urllib.parse import urlsplit

import httpx2
import numpy as np

from tests.support.player import Player
from tests.support.postgres import running_postgres
from tests.system.machine import Machine

PAUSE_SECONDS = 1.2
"""Between two reports of an attempt: 256 of them ask for 213 a second at most."""


class Service:
    def __init__(self, url: str) -> None:
        limits = httpx2.Limits(max_connections=None)
        headers = {"content-type": "application/json"}
        self.http = httpx2.Client(base_url=f"{url}/v1", headers=headers, timeout=120, limits=limits)


def measure(url: str, *, workers: int, followers: int, seconds: float) -> None:
    service = Service(url)
    player = Player(service)
    search = player.submit(
        parallel=workers,
        budget={"trials": workers},
        sampler={"name": "random"},
        hyperparameters={"learning_rate_factor": {"low": 0.1, "high": 10.0, "log": True}},
    )
    player.inspect()
    attempts = [player.work(wait=30) for _ in range(workers)]
    stop = Event()
    heard: list[int] = []
    path = f"/v1/searches/{search['id']}/events"
    for _ in range(followers):
        Thread(target=follow, args=(connect(url), path, stop, heard), daemon=True).start()
    time.sleep(2)
    began = time.monotonic()

    def run(attempt: dict[str, object]) -> list[float]:
        send = reporter(connect(url), attempt)
        took: list[float] = []
        time.sleep(PAUSE_SECONDS * random.random())  # Attempts do not report in step.
        while time.monotonic() < began + seconds:
            start = time.monotonic()
            send(len(took) + 1)
            took.append(time.monotonic() - start)
            time.sleep(max(0.0, PAUSE_SECONDS - took[-1]))
        return took

    with ThreadPoolExecutor(workers) as pool:
        took = np.concatenate(list(pool.map(run, attempts)))
    rate = len(took) / (time.monotonic() - began)
    stop.set()
    p50, p95 = np.quantile(took, [0.5, 0.95]) * 1000
    print(f"  {rate:6.0f} reports/s ({rate / 200:.2f} of the target of 200)")  # noqa: T201
    print(f"  p50 {p50:.0f} ms, p95 {p95:.0f} ms ({p95 / 50:.1f} of the target of 50 ms)")  # noqa: T201
    print(f"  {sum(heard) / 1e6:.1f} MB of events reached {followers} followers")  # noqa: T201
    service.http.close()


def connect(url: str) -> HTTPConnection:
    """Open a connection of the standard library's, which takes little from the one it measures."""
    return HTTPConnection(urlsplit(url).netloc, timeout=60)


def reporter(connection: HTTPConnection, attempt: dict[str, object]) -> Callable[[int], None]:
    """Return what sends the report of a step."""
    path = f"/v1/leases/{attempt['lease']}/reports"
    token = {"authorization": f"Bearer {attempt['token']}", "content-type": "application/json"}

    def send(step: int) -> None:
        report = {"step": step, "metrics": {"validation_accuracy": 0.5}, "step_seconds": 0.01}
        connection.request("POST", path, json.dumps({"reports": [report]}), token)
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status == 200, body

    return send


def follow(connection: HTTPConnection, path: str, stop: Event, heard: list[int]) -> None:
    connection.request("GET", path)
    answer = connection.getresponse()
    while not stop.is_set():
        try:
            heard.append(len(answer.read1(2**16)))
        except HTTPException:
            return  # The service ends first.


def main() -> None:
    given = [float(one) for one in sys.argv[1:]]
    workers, followers, seconds = (given + [256, 50, 20][len(given) :])[:3]
    with TemporaryDirectory() as folder, running_postgres() as postgres:
        for name, url in (("SQLite", None), ("PostgreSQL", postgres.migrated())):
            print(f"{name}, {workers:.0f} attempts, {followers:.0f} followers, {seconds:.0f} s")  # noqa: T201
            machine = Machine(Path(folder) / name, url, {"ACTSEARCH_LEASE_SECONDS": "120"})
            try:
                machine.serve()
                measure(
                    machine.client.url,
                    workers=int(workers),
                    followers=int(followers),
                    seconds=seconds,
                )
            finally:
                machine.close()


if __name__ == "__main__":
    main()
