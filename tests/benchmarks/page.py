"""How long a search of 10,000 trials takes to open, and how many bytes: ours, optuna-dashboard's.

Run as `python -m tests.benchmarks.page`. Both are opened in one run in the same Chromium, on the
same trials: ours on the service's store, theirs on the storage that `/optuna` exports. Useful is
what first tells how the search went: in ours the verdict with the best value, in theirs the
first plot with its points; ours is also timed until its first plot has its points. Every opening
is in a browser that has kept nothing; of several the median is printed. Also printed is how long
the calls take that the page waits for, and a figure of importances, drawn anew and from the cache.

optuna-dashboard comes with the extra `dev`; where it is missing its part is skipped, and said so.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import httpx2
from playwright.sync_api import Browser, Page, Request, sync_playwright

from service.store.database import Database
from service.store.location import store_url
from tests.browser.conftest import CHROMIUM, QUIET, ServiceProcess
from tests.support.crowd import crowd
from tests.support.player import Player, plan

SITES = 8
CALLS = {"the search": "", "its ranking": "/best", "a page of 100 trials": "/trials"}
POINTS = ".js-plotly-plot .points path"
WAITS_MS = 600_000
SEARCH = {
    "name": "large",
    "choices": ["relu", "silu", "acon_c", {"name": "pwlu", "segments": [4, 8, 16]}],
    "sites": {"per": "layer"},
    "baselines": {"original_seeds": 0, "uniform": False},
    "pruner": {"name": "asha"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--openings", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        home = Path(temporary)
        service = ServiceProcess(home)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        try:
            search = prepare(service, home, given.trials)
            report(service, browser, home, search, given.openings)
        finally:
            browser.close()
            service.http.close()
            service.kill()


def prepare(service: ServiceProcess, home: Path, count: int) -> str:
    player = Player(service)
    search = str(service.submit(**SEARCH | {"budget": {"trials": 2 * count}}))
    player.inspect(plan(SITES))
    service.http.post(f"/searches/{search}/pause").raise_for_status()
    database = Database(store_url(None, home))
    crowd(database, search, count)
    database.close()
    return search


def report(
    service: ServiceProcess, browser: Browser, home: Path, search: str, openings: int
) -> None:
    best = service.http.get(f"/searches/{search}").json()["best"]["value"]
    url = f"{service.url}/v1/searches/{search}"
    seconds = timed(lambda: httpx2.get(f"{url}/plots/importance", timeout=600).raise_for_status())
    again = timed(lambda: httpx2.get(f"{url}/plots/importance", timeout=600).raise_for_status())
    say(f"importances, drawn {seconds:6.2f} s, from the cache {again * 1000:6.1f} ms")
    for what, path in CALLS.items():
        taken = [timed(partial(read, url + path)) for _ in range(openings)]
        size = len(read(url + path))
        say(f"{what:20} {median(taken) * 1000:6.1f} ms, {size / 1000:.0f} kB")

    started = time.perf_counter()
    while (answer := httpx2.get(f"{url}/optuna", timeout=600)).status_code == 202:
        time.sleep(0.1)
    exported = home / "study.db"
    exported.write_bytes(answer.raise_for_status().content)
    took = time.perf_counter() - started
    say(f"export for Optuna {took:6.2f} s, {exported.stat().st_size / 1e6:.1f} MB")

    address = f"{service.url}/#/search/{search}"
    ours = usually(openings, browser, address, f"text={best:.4f}")
    drawn = usually(openings, browser, address, POINTS)
    say(f"this page            {ours[0]:6.2f} s, {ours[1] / 1e6:6.2f} MB")
    say(f"  with its first plot{drawn[0]:6.2f} s, {drawn[1] / 1e6:6.2f} MB")
    if find_spec("optuna_dashboard") is None:
        say("optuna-dashboard     skipped, it is not installed; the extra dev has it")
        return
    with dashboard(exported) as address:
        # It takes so long that once is enough.
        theirs = opened(browser, f"{address}/dashboard/studies/1", POINTS)
    say(f"optuna-dashboard     {theirs[0]:6.2f} s, {theirs[1] / 1e6:6.2f} MB")
    say(f"ratio                {theirs[0] / ours[0]:6.1f}, {theirs[1] / ours[1]:6.1f}")
    say(f"  of the first plots {theirs[0] / drawn[0]:6.1f}, {theirs[1] / drawn[1]:6.1f}")


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def read(url: str) -> bytes:
    return httpx2.get(url, timeout=600).raise_for_status().content


def usually(openings: int, browser: Browser, url: str, useful: str) -> tuple[float, float]:
    """Return the medians of seconds and bytes of several openings."""
    seconds, sizes = zip(*(opened(browser, url, useful) for _ in range(openings)), strict=True)
    return median(seconds), median(sizes)


def opened(browser: Browser, url: str, useful: str) -> tuple[float, int]:
    """Return the seconds until a fresh browser shows what is `useful`, and the bytes until then."""
    with browser.new_context(bypass_csp=True) as context:
        page: Page = context.new_page()
        finished: list[Request] = []
        page.on("requestfinished", finished.append)
        started = time.perf_counter()
        page.goto(url, wait_until="commit")
        page.locator(useful).first.wait_for(timeout=WAITS_MS)
        seconds = time.perf_counter() - started
        return seconds, sum(one.sizes()["responseBodySize"] for one in finished)


@contextmanager
def dashboard(storage: Path) -> Iterator[str]:
    """Serve a storage by optuna-dashboard."""
    port = 18_080
    script = (
        "import sys; from optuna_dashboard import run_server; "
        f"run_server('sqlite:///{storage}', host='127.0.0.1', port={port})"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        while True:
            assert process.poll() is None, "optuna-dashboard did not start"
            try:
                httpx2.get(f"{address}/dashboard", timeout=5)
                break
            except httpx2.TransportError:
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
