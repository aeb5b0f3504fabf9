"""Pictures of every page, light, dark and narrow: `python -m tests.browser.screenshots FOLDER`.

A real service, a real worker that trains on digits, and beside its search one of thousands of
trials put into the store.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

from service.store.database import Database
from service.store.location import store_url
from tests.browser.conftest import CHROMIUM, QUIET, ServiceProcess
from tests.support.crowd import crowd

NIGHT: dict[str, Any] = {
    "name": "digits, overnight",
    "task": {"name": "image-classification", "dataset": "digits", "network": "small-cnn"},
    "choices": [
        "relu",
        "silu",
        "acon_c",
        {"name": "pwlu", "segments": [4, 8]},
        {"name": "meta_acon", "reduction": [4]},
    ],
    "sites": {"per": "layer"},
    "baselines": {"original_seeds": 3, "uniform": True},
    "sampler": {"name": "random", "seed": 3},
    "pruner": {"name": "asha"},
    "budget": {"trials": 110},
    "parallel": 2,
    "confirm": {"shortlist": 3, "seeds": 8},
}
EPOCHS = 4
ALL_DRAWN = """() => [...document.querySelectorAll(".plot:not(.none) > div")]
  .every((one) => one.querySelector(".main-svg .legend"))"""
WIDE: ViewportSize = {"width": 1280, "height": 800}
TABLET: ViewportSize = {"width": 820, "height": 1100}
SHOWN = {"overview": 1570, "shapes": None, "sites": None}
"""What the README shows, and how far down."""
LARGE = 10_000
WAITS_SECONDS = 900


@contextmanager
def worker(url: str, home: Path) -> Iterator[None]:
    command = [
        sys.executable,
        "-m",
        "workers",
        "--url",
        url,
        "--slots",
        "2",
        "--name",
        "lab",
        "--home",
        str(home),
    ]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()  # Nothing that it still does is wanted.
        process.wait()


def fill(service: ServiceProcess, home: Path, *, large: int = LARGE) -> dict[str, str]:
    """Run a search, put a large one beside it, leave a third running; return their ids."""
    night = NIGHT | {"task": {**NIGHT["task"], "epochs": EPOCHS}}
    small = service.submit(**night)
    wait_for(service, small, "completed")
    big = service.submit(**night | {"name": f"{large:,} trials", "budget": {"trials": 2 * large}})
    wait_for(service, big, "running")
    service.http.post(f"/searches/{big}/pause").raise_for_status()
    database = Database(store_url(None, home))
    crowd(database, big, large)
    database.close()
    running = service.submit(**night | {"name": "digits, by stage", "sites": {"per": "stage"}})
    wait_for(service, running, "running")
    return {"small": small, "large": big, "running": running}


def wait_for(service: ServiceProcess, search: str, state: str) -> None:
    deadline = time.monotonic() + WAITS_SECONDS
    while (answer := service.http.get(f"/searches/{search}").json())["state"] != state:
        assert answer["state"] != "failed", answer["reason"]
        assert time.monotonic() < deadline, f"search {search} is {answer['state']}, not {state}"
        time.sleep(0.2)


def pages(service: ServiceProcess, ids: dict[str, str]) -> dict[str, str]:
    """Return the address of every page by the name of its picture."""
    small = ids["small"]
    best = service.http.get(f"/searches/{small}/best").json()["ranking"]
    trial, other = best[0]["trial"], best[-1]["trial"]
    return {
        "searches": "",
        "overview": f"search/{small}",
        "sites": f"search/{small}/sites",
        "shapes": f"search/{small}/shapes?slopes=1&with={other}",
        "trials": f"search/{small}/trials?compare={trial},{other}",
        "pareto": f"search/{small}/pareto",
        "timeline": f"search/{small}/timeline",
        "log": f"search/{small}/log",
        "large": f"search/{ids['large']}",
        "large-sites": f"search/{ids['large']}/sites",
        "running": f"search/{ids['running']}",
        "trial": f"trial/{trial}",
        "workers": "workers",
        "activations": "activations",
        "acon": "activations/acon_c?beta=4&p2=0.25",
        "new": "new",
    }


def shoot(browser: Browser, url: str, found: dict[str, str], folder: Path, only: list[str]) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(
            color_scheme=scheme,
            viewport=WIDE,
            device_scale_factor=1,
        )
        page = context.new_page()
        for name, address in found.items():
            if not only or name in only:
                visit(page, f"{url}/#/{address}")
                page.screenshot(path=folder / f"{name}-{scheme}.png", full_page=True)
                if scheme == "light":
                    narrow(page, folder / f"{name}-tablet.png")
        context.close()


def narrow(page: Page, path: Path) -> None:
    """Take the same page as wide as a tablet."""
    page.set_viewport_size(TABLET)
    page.wait_for_timeout(500)  # Plots follow a moment after the window.
    page.screenshot(path=path, full_page=True)
    page.set_viewport_size(WIDE)


def show(folder: Path, docs: Path) -> None:
    """Put the pictures that the README shows beside it."""
    from PIL import Image

    for name, height in SHOWN.items():
        with Image.open(folder / f"{name}-light.png") as picture:
            whole = picture.convert("RGB")
            cut = whole.crop((0, 0, whole.width, min(height or whole.height, whole.height)))
            cut.save(docs / f"page-{name}.webp", quality=84, method=6)


def visit(page: Page, url: str) -> None:
    """Open a page and wait until nothing more is loading."""
    page.goto("about:blank")
    page.goto(url)
    page.locator("h1").wait_for()
    for waiting in ("Loading\u2026", "Working it out\u2026", "Checking\u2026"):
        expect(page.get_by_text(waiting)).to_have_count(0, timeout=30_000)
    page.wait_for_load_state("networkidle" if "#/search/" not in url else "load")
    page.wait_for_function(ALL_DRAWN)
    page.wait_for_timeout(300)  # Until what was drawn has come to rest.


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--docs", type=Path, help="renew what the README shows, in this folder")
    parser.add_argument("--only", nargs="*", default=[], help="names of pages")
    parser.add_argument("--large", type=int, default=LARGE, help="trials of the large search")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        home = Path(temporary)
        service = ServiceProcess(home)
        try:
            with worker(service.url, home / "worker"):
                ids = fill(service, home, large=given.large)
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
                found = pages(service, ids)
                shoot(browser, service.url, found, given.folder, given.only)
                browser.close()
                if given.docs is not None:
                    show(given.folder, given.docs)
        finally:
            service.http.close()
            service.kill()


if __name__ == "__main__":
    main()
