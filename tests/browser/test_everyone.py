"""The page without a mouse, without motion, without colours, and without its service."""

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from search_space.contract import SHAPE_HISTORY, SHAPES
from tests.browser.conftest import ServiceProcess, Watched
from tests.support.player import Player, plan

pytestmark = pytest.mark.browser

NETWORK_IS_DOWN = r"net::ERR_"
MOVING = """(isReduced) => [...document.styleSheets].flatMap((sheet) => [...sheet.cssRules])
  .flatMap((rule) => isReduced
    ? (/reduced-motion/.test(rule.conditionText) ? [...rule.cssRules] : [])
    : (rule.cssRules?.length ? [] : [rule]))
  .filter((rule) => /(transition|animation)[^:]*: /.test(rule.cssText))
  .map((rule) => [rule.selectorText, /: none/.test(rule.cssText)])"""
LOOKS = """() => [...document.querySelectorAll(".js-plotly-plot")].map((plot) => plot.data
  .map((trace) => trace.type === "bar" ? `bar ${trace.marker.pattern.shape}`
    : trace.mode === "markers" ? trace.marker.symbol
    : `line ${trace.line.dash ?? "solid"} ${trace.line.width}`))"""


def put(player: Player, assignment: dict[str, Any], name: str, content: Any) -> None:
    player.http.put(
        f"/leases/{assignment['lease']}/artifacts/{name}",
        content=json.dumps(content).encode(),
        headers={"content-type": "application/octet-stream"},
    ).raise_for_status()


def curves(epoch: int) -> dict[str, Any]:
    return {
        "site": "block0.act",
        "left": -1.0,
        "right": 1.0,
        "curves": [[0.0, 0.0, float(epoch)]],
        "histogram": [0.5, 0.5],
    }


def shape(site: str) -> dict[str, Any]:
    return {
        "site": site,
        "activation": "acon_c",
        "original": "relu",
        "x": [-1.0, 0.0, 1.0],
        "channels": [0],
        "curves": [[0.0, 0.0, 9.0]],
        "low": -0.5,
        "high": 0.5,
    }


@pytest.fixture
def search(service: ServiceProcess) -> str:
    """Return a search whose best has learned curves, of three epochs and of the end."""
    search = service.submit(name="night", baselines={"original_seeds": 3, "uniform": False})
    player = Player(service)
    player.inspect(plan(1))
    for value in (0.8, 0.81, 0.82):
        player.train(player.work(), 0.7, value)
    best = player.work()
    put(player, best, SHAPES, {"sites": [shape("block0.act")]})
    epochs = [{"epoch": epoch, "sites": [curves(epoch)]} for epoch in (1, 2, 3)]
    put(player, best, SHAPE_HISTORY, {"epochs": epochs})
    player.train(best, 0.8, 0.9)
    player.work()
    return search


def test_a_search_is_steered_and_read_by_keys_alone(
    service: ServiceProcess, search: str, page: Page
) -> None:
    page.goto(f"{service.url}/#/search/{search}")
    page.get_by_role("link", name="Shapes", exact=True).focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Learned functions, by depth")).to_be_visible()
    slider = page.get_by_role("slider", name="Epoch")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "3")
    page.keyboard.press("ArrowLeft")
    expect(slider).to_have_attribute("aria-valuetext", "2")
    expect(slider).to_be_focused()
    assert "epoch=2" in page.url
    page.go_back()
    expect(page.locator("#history-plot .main-svg").first).to_be_attached()

    more = page.locator("summary", has_text="More")
    more.focus()
    page.keyboard.press("Enter")
    kill = page.get_by_role("button", name="Kill…")
    expect(kill).to_be_visible()
    page.keyboard.press("Escape")
    expect(kill).to_be_hidden()
    more.focus()
    page.keyboard.press("Enter")
    kill.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Kill this search?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert service.http.get(f"/searches/{search}").json()["state"] == "running"


def test_what_moves_stands_still_for_who_wants_no_motion(
    service: ServiceProcess, page: Page
) -> None:
    page.goto(service.url)
    moving = page.evaluate(MOVING, False)
    still = page.evaluate(MOVING, True)
    assert moving
    assert {selector for selector, _ in moving} == {
        selector for selector, is_none in still if is_none
    }


def test_no_series_of_a_figure_is_told_by_its_colour_alone(
    service: ServiceProcess, search: str, page: Page
) -> None:
    for tab, figures in (("overview", 3), ("pareto", 1), ("timeline", 1)):
        page.goto(f"{service.url}/#/search/{search}/{tab}")
        expect(page.locator(".js-plotly-plot .legendtext").first).to_be_visible()
        expect(page.locator(".js-plotly-plot")).to_have_count(figures)
        for looks in page.evaluate(LOOKS):
            distinct = set(looks)
            assert len(distinct) > 1 or len(looks) == 1, (tab, looks)


@pytest.mark.parametrize("view", ["", "trial/TRIAL", "workers"])
def test_a_page_without_its_service_says_so_and_goes_on(
    service: ServiceProcess, search: str, watched: Watched, view: str
) -> None:
    watched.expected = NETWORK_IS_DOWN
    page = watched.page
    running = service.http.get(f"/searches/{search}/trials?state=running").json()["items"][0]["id"]
    page.goto(f"{service.url}/#/{view.replace('TRIAL', running)}")
    live = page.get_by_role("status").filter(has_text="Live")
    expect(live).to_be_visible()
    title = page.get_by_role("heading", level=1).text_content()
    page.evaluate("window.sameDocument = true")
    service.kill()
    expect(page.get_by_role("status").filter(has_text="Reconnecting…")).to_be_visible()
    expect(page.get_by_role("heading", level=1)).to_have_text(str(title))
    service.start()
    expect(live).to_be_visible()
    assert page.evaluate("window.sameDocument")
