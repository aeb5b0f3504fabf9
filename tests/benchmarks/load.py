"""Load over real HTTP: 256 attempts that report, 50 clients that follow. Prints rates.

    python -m tests.benchmarks.load [WORKERS] [FOLLOWERS] [SECONDS]

The targets are 200 reports a second and a 95th percentile of 50 ms.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import httpx2
import numpy as np

from tests.support.player import Player
from tests.support.postgres import running_postgres
from tests.system.machine import Machine

PAUSE_SECONDS = 1.0
"""Between two reports of an attempt: 256 of them ask for 256 a second at most."""


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
    stop, heard = Event(), []
    for _ in range(followers):
        path = f"{url}/v1/searches/{search['id']}/events"
        Thread(target=follow, args=(path, stop, heard), daemon=True).start()
    began = time.monotonic()

    def run(attempt: dict[str, object]) -> list[float]:
        took = []
        while time.monotonic() < began + seconds:
            start = time.monotonic()
            player.report(attempt, len(took) + 1, 0.5).raise_for_status()
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
    print(f"  {len(heard)} pieces of events reached {followers} followers")  # noqa: T201
    service.http.close()


def follow(path: str, stop: Event, heard: list[int]) -> None:
    with httpx2.stream("GET", path, timeout=60) as answer:
        for piece in answer.iter_bytes():
            heard.append(len(piece))
            if stop.is_set():
                return


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
