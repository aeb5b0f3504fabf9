"""Every view of the page, on a search that a real worker has trained."""

import csv
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import optuna
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect

from service.store.database import Database
from service.store.location import store_url
from tests.browser.conftest import ServiceProcess, Watched
from tests.browser.screenshots import NIGHT, visit, wait_for, worker
from tests.support.crowd import crowd

pytestmark = pytest.mark.browser

LARGE = 10_000
SERIOUS = ("serious", "critical")
VIEWS = [
    "",
    "search/NIGHT",
    "search/NIGHT/sites",
    "search/NIGHT/shapes?slopes=1",
    "search/NIGHT/trials?compare=BEST,WORST",
    "search/NIGHT/pareto",
    "search/NIGHT/timeline",
    "search/NIGHT/log",
    "trial/BEST",
    "workers",
    "activations",
    "activations/acon_c",
    "new",
]
COLOURFUL = ["search/NIGHT", "search/NIGHT/sites", "search/NIGHT/shapes?slopes=1", "new"]


class Night:
    """A service on which a search has been trained, and a large one put."""

    def __init__(self, service: ServiceProcess, home: Path) -> None:
        self.service = service
        with worker(service.url, home / "worker"):
            changes = {"budget": {"trials": 8}, "confirm": None, "sites": {"per": "layer"}}
            task = {**NIGHT["task"], "epochs": 2}
            self.search = service.submit(**NIGHT | {"task": task} | changes)
            wait_for(service, self.search, "completed")
            self.large = service.submit(
                **NIGHT | {"task": task, "name": "large", "budget": {"trials": 2 * LARGE}}
            )
            wait_for(service, self.large, "running")
            service.http.post(f"/searches/{self.large}/pause").raise_for_status()
        database = Database(store_url(None, home))
        crowd(database, self.large, LARGE)
        database.close()
        self.ranking = service.http.get(f"/searches/{self.search}/best").json()["ranking"]

    def address(self, view: str) -> str:
        """Return the whole address of a view."""
        best, worst = self.ranking[0]["trial"], self.ranking[-1]["trial"]
        known = view.replace("NIGHT", self.search).replace("BEST", best).replace("WORST", worst)
        return f"{self.service.url}/#/{known}"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Night]:  # noqa: ARG001
    home = tmp_path_factory.mktemp("night")
    service = ServiceProcess(home)
    try:
        yield Night(service, home)
    finally:
        service.http.close()
        service.kill()


@pytest.fixture(scope="module")
def open_page(browser: Browser) -> Iterator[Callable[[str], Page]]:
    """Return pages, light and dark, in which axe may run: the page's own policy keeps it out."""
    contexts = {
        scheme: browser.new_context(bypass_csp=True, color_scheme=scheme)
        for scheme in ("light", "dark")
    }
    pages = {scheme: context.new_page() for scheme, context in contexts.items()}
    yield pages.__getitem__
    for context in contexts.values():
        context.close()


@pytest.mark.parametrize(
    ("view", "scheme"), [(view, "light") for view in VIEWS] + [(view, "dark") for view in COLOURFUL]
)
def test_a_view_has_no_serious_finding_of_axe_and_fits_a_tablet(
    night: Night, open_page: Callable[[str], Page], view: str, scheme: str
) -> None:
    page = open_page(scheme)
    page.set_viewport_size({"width": 1280, "height": 900})
    visit(page, night.address(view))
    found = Axe().run(page).response["violations"]
    serious = [one for one in found if one["impact"] in SERIOUS]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in serious] == []
    page.set_viewport_size({"width": 820, "height": 1100})
    # Plots follow a moment after the window.
    for _ in range(100):
        if (width := page.evaluate("document.documentElement.scrollWidth")) <= 820:
            break
        page.wait_for_timeout(50)
    assert width <= 820


def test_the_sites_show_what_matters(night: Night, page: Page) -> None:
    page.goto(f"{night.service.url}/#/search/{night.large}/sites")
    matters = page.get_by_role("region", name="What matters")
    expect(matters.locator("rect.told")).to_have_count(1)
    expect(matters.locator("rect.untold")).to_have_count(2)
    expect(matters).to_contain_text("grey bars could be chance")
    heat = page.get_by_role("region", name="Site by choice").first
    expect(heat.get_by_role("row")).to_have_count(4)
    expect(heat.locator("td.shade-8")).to_contain_text("0.85")
    expect(page.locator("svg.parallel path.run").first).to_be_attached()


def test_the_shapes_of_two_trials_are_overlaid(night: Night, page: Page) -> None:
    page.goto(night.address("search/NIGHT/shapes"))
    panels = page.locator(".gallery > li")
    expect(panels).to_have_count(3)
    expect(panels.first).to_contain_text("nearest:")
    expect(panels.first.locator("svg.main rect.bar").first).to_be_attached()
    expect(panels.first.locator("path.line.other")).to_have_count(0)
    page.locator("[data-change=overlay]").select_option(index=2)
    expect(panels.first.locator("path.line.other").first).to_be_attached()
    page.get_by_label("Derivatives").check()
    expect(panels.first.locator("> svg")).to_have_count(2)
    assert "with=" in page.url
    page.reload()
    expect(panels.first.locator("path.line.other").first).to_be_attached()
    expect(page.get_by_label("Derivatives")).to_be_checked()


def test_pwlu_shows_its_knots_and_meta_acon_its_switches(night: Night, page: Page) -> None:
    by_label = {row["label"]: row["trial"] for row in night.ranking}
    page.goto(night.address(f"search/NIGHT/shapes?trial={by_label['uniform pwlu']}"))
    panel = page.locator(".gallery > li").first
    expect(panel).to_contain_text("segments; bounds")
    expect(panel.locator("svg.main path.mark").first).to_be_attached()
    page.get_by_role("slider").fill("0")
    expect(page.locator(".epochs output")).to_have_text("1")
    expect(panel).to_contain_text("segments; bounds")
    page.locator("[data-change=shown]").select_option(by_label["uniform meta_acon"])
    expect(panel).to_contain_text("beta by sample")
    betas = panel.get_by_role("img", name="beta by sample").locator("path.line").first
    last = betas.get_attribute("d")
    page.get_by_role("slider").fill("0")
    expect(page.locator(".epochs output")).to_have_text("1")
    expect(betas).not_to_have_attribute("d", str(last))


def test_trials_that_are_in_no_ranking_have_shapes_too(night: Night, page: Page) -> None:
    """An original is in no ranking: its address alone names it."""
    trials = night.service.http.get(f"/searches/{night.search}/trials").json()["items"]
    first, second = [one["id"] for one in trials if one["label"] == "original"][:2]
    page.goto(night.address(f"search/NIGHT/shapes?trial={first}&with={second}"))
    expect(page.locator(".gallery > li")).to_have_count(3)
    expect(page.locator("[data-change=shown]")).to_have_value(first)
    expect(page.locator("[data-change=overlay]")).to_have_value(second)
    expect(page.locator(".gallery svg.main path.line.other").first).to_be_attached()


def test_a_slider_moves_through_the_epochs(night: Night, page: Page) -> None:
    by_label = {row["label"]: row["trial"] for row in night.ranking}
    page.goto(night.address(f"search/NIGHT/shapes?trial={by_label['uniform acon_c']}"))
    curve = page.locator(".gallery > li svg.main path.line.found").first
    before = curve.get_attribute("d")
    page.get_by_role("slider").fill("0")
    expect(page.locator(".epochs output")).to_have_text("1")
    expect(curve).not_to_have_attribute("d", str(before))
    assert "epoch=1" in page.url


def test_trials_are_filtered_sorted_and_compared(night: Night, page: Page) -> None:
    page.goto(night.address("search/NIGHT/trials"))
    rows = page.locator("table.trials tbody tr")
    expect(rows.first).to_contain_text("original")
    page.get_by_label("Order").select_option("-value")
    expect(rows.first).to_contain_text(f"{night.ranking[0]['value']:.4f}")
    page.get_by_label("Kind").select_option("baseline")
    expect(rows).to_have_count(7)
    page.get_by_label("State").select_option("failed")
    expect(page.get_by_text("No trial is like that.")).to_be_visible()
    page.get_by_label("State").select_option("")
    rows.nth(0).get_by_role("checkbox").check()
    rows.nth(1).get_by_role("checkbox").check()
    side = page.get_by_role("region", name="Side by side").first
    expect(side.locator("svg[role=img] path.line.found")).to_be_attached()
    page.reload()
    expect(side).to_be_visible()
    expect(rows).to_have_count(7)
    side.get_by_role("link", name="Overlay their learned functions").click()
    expect(page.locator(".gallery > li").first).to_be_visible()


def test_a_large_search_loads_no_more_than_a_page(night: Night, page: Page) -> None:
    sizes: list[int] = []
    page.on("requestfinished", lambda done: sizes.append(done.sizes()["responseBodySize"]))
    page.goto(f"{night.service.url}/#/search/{night.large}/trials")
    rows = page.locator("table.trials tbody tr")
    expect(rows).to_have_count(100)
    assert sum(sizes) < 500_000
    page.get_by_role("button", name="Show more trials").click()
    expect(rows).to_have_count(200)
    page.get_by_label("Order").select_option("-number")
    expect(rows.first.get_by_role("link")).to_have_text(str(LARGE + 6))


def test_the_figures_are_drawn(night: Night, page: Page) -> None:
    page.goto(night.address("search/NIGHT"))
    for name in ("history", "intermediate", "rungs"):
        expect(page.locator(f"#{name}-plot .legendtext").first).to_be_visible()
    page.get_by_role("link", name="Timeline").click()
    expect(page.locator("#timeline-plot .bars path").first).to_be_attached()
    page.get_by_role("link", name="Pareto").click()
    expect(page.locator("#pareto-plot .points path").first).to_be_attached()


def test_figures_and_trials_are_downloaded(night: Night, page: Page, tmp_path: Path) -> None:
    page.goto(night.address("search/NIGHT"))
    expect(page.locator("#history-plot .legendtext").first).to_be_visible()
    svg = download(page, lambda: page.get_by_label("Download History as SVG").click())
    assert svg.suggested_filename == "history.svg"
    assert svg.path().read_text().startswith("<svg")
    table = download(page, lambda: page.get_by_label("Download History as CSV").click())
    rows = list(csv.reader(StringIO(table.path().read_text())))
    assert rows[0] == ["series", "x", "y", "text"]
    assert ["original", "0"] in [row[:2] for row in rows]

    page.get_by_role("link", name="Sites", exact=True).click()
    heat = download(page, lambda: page.get_by_label("Download Site by choice as SVG").click())
    drawn = ElementTree.parse(heat.path())
    texts = [text.text for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert {"relu", "pwlu", "blocks.0.2"} <= set(texts)
    shades = {rect.get("fill") for rect in drawn.iter("{http://www.w3.org/2000/svg}rect")}
    assert len(shades) > 2

    page.get_by_text("More", exact=True).click()
    every = download(page, lambda: page.get_by_role("link", name="Trials as CSV").click())
    trials = list(csv.DictReader(StringIO(every.path().read_text())))
    assert [row["number"] for row in trials] == [str(n) for n in range(len(trials))]
    assert trials[0]["label"] == "original"

    page.get_by_text("More", exact=True).click()
    found = download(page, lambda: page.get_by_role("button", name="Trials for Optuna").click())
    found.save_as(tmp_path / "study.db")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert study.best_value == night.ranking[0]["value"] or len(study.trials) > 0


def test_a_trial_shows_its_curve_and_its_files(night: Night, page: Page) -> None:
    page.goto(night.address("search/NIGHT/trials?order=-value"))
    page.locator("table.trials tbody tr").first.get_by_role("link").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Trial")
    expect(page.get_by_role("img", name="validation_accuracy after each epoch")).to_be_visible()
    expect(page.get_by_role("region", name="Facts")).to_contain_text("seed")
    environment = page.get_by_role("region", name="Environment")
    expect(environment).to_contain_text("threads")
    expect(environment).to_contain_text(re.compile(r"code of the task\s*files [0-9a-f]{16}"))
    expect(environment).to_contain_text(re.compile(r"python 3\.\d+\.\d+, .*torch \d"))
    expect(page.locator(".gallery > li")).to_have_count(3)
    weights = download(page, lambda: page.get_by_role("button", name="weights.safetensors").click())
    assert weights.path().stat().st_size > 10_000
    candidate = download(
        page, lambda: page.get_by_role("button", name="Download candidate").click()
    )
    assert "candidate" in json.loads(candidate.path().read_text())


def test_the_log_tells_what_happened(night: Night, page: Page) -> None:
    page.goto(night.address("search/NIGHT/log"))
    log = page.get_by_role("region", name="Log").get_by_role("listitem")
    expect(log.first).to_contain_text("search is completed")
    expect(log.filter(has_text="trial 3 completed").first).to_be_visible()
    assert "GMT+9" in (log.first.locator("time").get_attribute("title") or "")


def test_parameters_of_an_activation_are_dragged(night: Night, page: Page) -> None:
    page.goto(f"{night.service.url}/#/activations")
    page.get_by_role("link", name="acon_c", exact=True).click()
    curve = page.locator("svg.main path.line.found")
    before = curve.get_attribute("d")
    page.get_by_label("beta").fill("10")
    expect(page.locator("svg.main path.line.before")).to_be_attached()
    moved = curve.get_attribute("d")
    assert moved != before
    page.reload()
    expect(curve).to_have_attribute("d", str(moved))
    page.get_by_role("button", name="Reset").click()
    expect(curve).to_have_attribute("d", str(before))


def test_the_curves_are_those_of_the_catalogue(night: Night, page: Page) -> None:
    page.goto(night.service.url)
    drawn: dict[str, list[float]] = page.evaluate(
        """async () => {
          const { FUNCTIONS, values } = await import("/static/functions.js");
          const xs = Array.from({ length: 501 }, (_, i) => (i - 250) / 50);
          return Object.fromEntries(Object.keys(FUNCTIONS).map((name) => [name, values(name, xs)]));
        }"""
    )
    script = f"""
import json
from search_space.conformance.curve import curve
print(json.dumps({{name: curve(name)[1].tolist() for name in {sorted(drawn)!r}}}))
"""
    # In a process of its own, since torch would stay in this one.
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    expected: dict[str, Any] = json.loads(done.stdout)
    assert len(drawn) > 25
    for name in set(drawn) - {"pwlu", "pwlu_free", "meta_acon", "acon_b"}:
        assert drawn[name] == pytest.approx(expected[name], abs=2e-4), name


def test_workers_and_what_waits_are_told(night: Night, page: Page) -> None:
    page.goto(f"{night.service.url}/#/workers")
    expect(page.get_by_role("heading", name="What waits, and why")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("large")


def test_searches_are_filtered_and_the_address_keeps_it(night: Night, page: Page) -> None:
    page.goto(night.service.url)
    page.get_by_label("State").select_option("completed")
    expect(page.get_by_role("link", name="large")).to_have_count(0)
    expect(page.get_by_role("link", name="digits, overnight")).to_be_visible()
    page.get_by_label("State").select_option("")
    page.get_by_role("searchbox").fill("LARG")
    expect(page.get_by_role("link", name="digits, overnight")).to_have_count(0)
    page.reload()
    expect(page.get_by_role("link", name="large")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("LARG")


def test_a_search_is_written_in_a_form_and_checked(night: Night, watched: Watched) -> None:
    watched.expected = "422"
    page = watched.page
    trials = page.locator("[id='field-budget.trials']")
    page.goto(f"{night.service.url}/#/new")
    preview = page.get_by_role("complementary", name="What it would be")
    page.locator("[id='field-task.dataset']").fill("digits")
    page.locator("[id='field-task.network']").select_option("small-cnn")
    expect(preview).to_contain_text("40 candidates")
    trials.fill("0")
    expect(preview).to_contain_text("budget.trials")
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    trials.fill("7")
    expect(preview).to_contain_text("7 candidates")
    page.locator("[id='field-name']").fill("from the form")
    page.locator("[data-choice=tanh]").check()
    page.get_by_role("button", name="As text").click()
    text = page.get_by_role("textbox", name="YAML or JSON")
    expect(text).to_contain_text("name: from the form")
    text.fill(text.input_value().replace("trials: 7", "trials: 9"))
    expect(preview).to_contain_text("9 candidates")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="from the form")).to_be_visible()
    made = night.service.http.get(f"/searches/{page.url.rpartition('/')[2]}").json()
    assert made["budget"]["trials"] == 9
    assert "tanh" in [choice["name"] for choice in made["document"]["choices"]]


def test_a_search_is_forked_extended_killed_and_deleted(night: Night, page: Page) -> None:
    page.goto(night.address("search/NIGHT"))
    menu(page, "Fork…")
    expect(page.get_by_role("heading", name="Fork a search")).to_be_visible()
    expect(page.get_by_label("trials", exact=True)).to_have_value("8")
    page.get_by_label("name", exact=True).first.fill("forked")
    page.get_by_role("button", name="Submit the fork").click()
    expect(page.get_by_role("heading", name="forked")).to_be_visible()
    search = page.url.rpartition("/")[2]
    assert night.service.http.get(f"/searches/{search}").json()["forked_from"] == night.search

    menu(page, "Extend…")
    page.get_by_label("Trials altogether").fill("11")
    with page.expect_response(lambda answer: answer.request.method == "PATCH"):
        page.get_by_role("dialog").get_by_role("button", name="Extend").click()
    answer = night.service.http.get(f"/searches/{search}").json()
    assert answer["budget"]["trials"] == 11

    menu(page, "Kill…")
    page.get_by_role("dialog").get_by_role("button", name="Kill the search").click()
    expect(page.get_by_text("cancelled").first).to_be_visible()
    menu(page, "Delete…")
    page.get_by_role("dialog").get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("heading", name="forked")).to_be_visible()
    menu(page, "Delete…")
    page.get_by_role("dialog").get_by_role("button", name="Delete for ever").click()
    expect(page.get_by_role("heading", name="Searches")).to_be_visible()
    expect(page.get_by_role("link", name="forked")).to_have_count(0)


def test_who_may_only_read_is_shown_no_button_that_changes_anything(
    start: Callable[..., ServiceProcess], watched: Watched
) -> None:
    watched.expected = "401"
    page = watched.page
    service = start(token="open sesame")
    search = service.submit()
    made = service.http.post("/tokens", json={"name": "reader", "scopes": ["read"]}).json()
    page.goto(f"{service.url}/#/search/{search}")
    page.get_by_label("Token").fill(made["token"])
    page.keyboard.press("Enter")
    expect(page.get_by_text("Your token allows read; changing")).to_be_visible()
    for name in ("Pause", "Cancel…", "Fork…", "Extend…", "Kill…", "Delete…"):
        expect(page.get_by_role("button", name=name)).to_have_count(0)
    page.get_by_text("More", exact=True).click()
    expect(page.get_by_role("link", name="Trials as CSV")).to_be_visible()
    expect(page.get_by_role("link", name="New search")).to_have_count(0)
    page.goto(f"{service.url}/#/new")
    expect(page.get_by_text("needs one that allows submit")).to_be_visible()
    expect(page.get_by_role("button", name="Submit")).to_have_count(0)


def test_what_is_refused_all_the_same_is_told(
    start: Callable[..., ServiceProcess], watched: Watched
) -> None:
    watched.expected = "401|403"
    page = watched.page
    service = start(token="open sesame")
    search = service.submit()
    made = service.http.post("/tokens", json={"name": "reader", "scopes": ["read"]}).json()
    # As if the token had allowed more when the page was opened.
    page.route("**/v1/session", more_than_allowed)
    page.goto(f"{service.url}/#/search/{search}")
    page.get_by_label("Token").fill(made["token"])
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("a token with the scope 'submit'")
    assert service.http.get(f"/searches/{search}").json()["state"] == "preparing"


def more_than_allowed(route: Route) -> None:
    answer = route.fetch()
    if route.request.method == "GET" and answer.ok:
        route.fulfill(response=answer, json={**answer.json(), "scopes": ["read", "submit"]})
    else:
        route.fulfill(response=answer)


def test_a_search_is_started_from_a_file_of_weights(
    night: Night, watched: Watched, tmp_path: Path
) -> None:
    watched.expected = "422"
    page = watched.page
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(b"some weights")
    page.goto(f"{night.service.url}/#/new")
    page.locator("[id='field-task.dataset']").fill("digits")
    page.locator("[id='field-task.network']").select_option("small-cnn")
    preview = page.get_by_role("complementary", name="What it would be")
    page.locator("[data-start]").select_option("weights")
    expect(preview).to_contain_text("start.weights")
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()
    page.locator("[data-weights]").set_input_files(weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    expect(page.get_by_text("mine.safetensors is stored, 12 B")).to_be_visible()
    expect(page.locator("[id='field-start.weights']")).to_have_value(digest)
    expect(preview).to_contain_text("40 candidates")
    page.locator("[data-start]").select_option("scratch")
    expect(page.locator("[id='field-start.weights']")).to_have_count(0)


def menu(page: Page, item: str) -> None:
    page.get_by_text("More", exact=True).click()
    page.get_by_role("button", name=item).click()


def download(page: Page, work: Callable[[], None]) -> Any:
    with page.expect_download() as found:
        work()
    return found.value
