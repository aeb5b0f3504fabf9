"""The page in a real browser, against a real service and a worker by script."""

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import ServiceProcess, Watched
from tests.support.player import TASK, Player, plan

pytestmark = pytest.mark.browser

NETWORK_IS_DOWN = r"net::ERR_"
MARKUP = '<img src="/nowhere" onerror="throw 1"><b>bold</b>'


def test_an_empty_service_tells_how_to_submit(service: ServiceProcess, page: Page) -> None:
    page.goto(service.url)
    expect(page.get_by_role("heading", name="No search yet")).to_be_visible()
    expect(page.get_by_text("actsearch submit search.yaml")).to_be_visible()
    expect(page.get_by_text(f"curl {service.url}/v1/searches")).to_be_visible()
    expect(page.get_by_text(f"actsearch worker --url {service.url}")).to_be_visible()


def test_a_search_appears_and_grows_without_a_reload(service: ServiceProcess, page: Page) -> None:
    page.goto(service.url)
    expect(page.get_by_role("heading", name="No search yet")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    player = Player(service)
    service.submit(name="overnight")
    page.get_by_role("link", name="overnight").click()
    expect(page.locator("span.state", has_text="preparing")).to_be_visible()
    page.get_by_role("link", name="Trials", exact=True).click()

    player.inspect(SMALL_CNN)
    expect(trial(page, 0)).to_contain_text("waiting")
    assignment = player.work()
    expect(trial(page, 0)).to_contain_text("running")
    player.report(assignment, 1, 0.75)
    expect(trial(page, 0)).to_contain_text("1 / 2")
    expect(trial(page, 0)).to_contain_text("0.7500")
    player.report(assignment, 2, 0.8, step_seconds=0.004)
    player.end(assignment)
    expect(trial(page, 0)).to_contain_text("completed")
    expect(trial(page, 0)).to_contain_text("4.0 ms")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "1")
    assert page.evaluate("window.sameDocument")


def test_the_best_stands_beside_what_luck_would_show(service: ServiceProcess, page: Page) -> None:
    search = service.submit(name="night")
    player = Player(service)
    player.inspect(SMALL_CNN)
    train_baselines(player)
    player.train(player.work(), 0.8, 0.9)
    page.goto(f"{service.url}/#/search/{search}")
    expect(page.get_by_text("Best so far 0.9000 (unconfirmed; one equal network")).to_contain_text(
        "would show 0.8100 by luck)"
    )
    result = page.get_by_role("region", name="Result so far")
    expect(result).to_contain_text("± 1.00 points over 3 seeds")
    expect(result).to_contain_text("+9.00 points on the original")
    expect(result).to_contain_text("Not confirmed yet: single trainings on validation data")

    player.train(player.work(), 0.8, 0.7)
    expect(page.get_by_text("the best of 2 equal networks would show").first).to_be_visible()
    ranking = page.get_by_role("region", name="Ranking").get_by_role("row")
    expect(ranking.nth(0)).to_contain_text("Estimate")
    # Between the value and the gain stands what the model expects.
    expect(ranking.nth(1)).to_contain_text(re.compile(r"0\.90000\.8\d{3}\+9\.00"))
    expect(page.get_by_role("row", name="original, mean of 3 seeds")).to_contain_text("0.8100")


def test_a_verdict_is_told_in_the_words_of_the_service(service: ServiceProcess, page: Page) -> None:
    search = service.submit(
        choices=["relu", "silu"],
        baselines={"original_seeds": 3, "uniform": False},
        budget={"trials": 2},
        pruner={"name": "asha", "run_on": 1.0},
        confirm={"shortlist": 1, "seeds": 4},
    )
    player = Player(service)
    player.inspect(SMALL_CNN)
    tested = {"winner": [0.9, 0.91, 0.92], "original network": [0.8, 0.81, 0.82, 0.83]}
    while player.search(search)["state"] != "completed":
        assignment = player.work()
        trial = service.http.get(f"/trials/{assignment['trial']}").json()
        player.report(assignment, 1, 0.8 + assignment["number"] / 100)
        if trial["kind"] != "confirmation":
            player.end(assignment)
        elif left := tested[trial["label"]]:
            player.end(assignment, test={"test_accuracy": left.pop()})
        else:
            player.end(assignment, "failed", failure="diverged", message="the loss is NaN")
    best = service.http.get(f"/searches/{search}/best").json()
    assert (best["status"], best["looks"]) == ("confirmed", 1)
    assert "on test data, 3 seeds, 2 epochs" in best["claim"]
    page.goto(f"{service.url}/#/search/{search}")
    result = page.get_by_role("region", name="Result so far")
    expect(result.locator(".headline")).to_contain_text(best["claim"])
    expect(result).not_to_contain_text("4 fresh seeds")
    trust = page.get_by_role("region", name="How far to trust it")
    expect(trust.get_by_role("listitem")).to_have_text(best["notes"])
    expect(trust).to_contain_text("Test data was looked at once for a verdict.")


def test_a_metric_that_is_no_fraction_is_told_without_points(
    service: ServiceProcess, page: Page
) -> None:
    player = Player(service, TASK | {"metrics": {"validation_psnr": "maximize"}})
    search = service.submit(
        name="decibels", objective={"metric": "validation_psnr"}, confirm={"seeds": 4}
    )
    player.inspect(SMALL_CNN)
    for value in (30.0, 30.1, 30.2, 30.5, 30.9, 31.3):
        player.train(player.work(), 20.0, value)
    page.goto(f"{service.url}/#/search/{search}")
    result = page.get_by_role("region", name="Result so far")
    expect(result).to_contain_text("+1.2000 on the original")
    expect(result).to_contain_text("± 0.1000 over 3 seeds")
    expect(page.get_by_role("columnheader", name="Gain", exact=True)).to_be_visible()
    expect(page.get_by_role("main")).not_to_contain_text("points")
    page.goto(service.url)
    expect(page.get_by_role("listitem").filter(has_text="decibels")).to_contain_text("+1.2000")
    page.goto(f"{service.url}/#/new?from={search}")
    preview = page.get_by_role("complementary", name="What it would be")
    expect(preview).to_contain_text("+0.3645: 4 seeds each, found in about 80 % of such cases")


def test_several_objectives_have_a_front_and_no_winner(service: ServiceProcess, page: Page) -> None:
    goals = [
        {"metric": "validation_accuracy"},
        {"metric": "validation_loss", "direction": "minimize"},
    ]
    search = service.submit(objective=goals, baselines={"original_seeds": 1, "uniform": False})
    player = Player(service)
    player.inspect(SMALL_CNN)
    for accuracy, loss in ((0.8, 0.5), (0.9, 0.6), (0.7, 0.4), (0.6, 0.7)):
        assignment = player.work()
        metrics = {"validation_accuracy": accuracy, "validation_loss": loss}
        report = {"step": 1, "metrics": metrics, "step_seconds": 0.01}
        url = f"/leases/{assignment['lease']}/reports"
        service.http.post(url, json={"reports": [report]}).raise_for_status()
        player.end(assignment)
    page.goto(f"{service.url}/#/search/{search}")
    result = page.get_by_role("region", name="Result so far")
    expect(result).to_contain_text("3 networks beaten by no other")
    expect(result).to_contain_text("all of validation accuracy, validation loss")
    expect(result).to_contain_text("Several objectives have a front and no single winner")


def test_the_plot_is_drawn(service: ServiceProcess, page: Page) -> None:
    search = service.submit()
    player = Player(service)
    player.inspect(SMALL_CNN)
    train_baselines(player)
    page.goto(f"{service.url}/#/search/{search}")
    expect(page.locator("#history-plot .legendtext").first).to_be_visible()
    points = page.locator("#history-plot .points path.point")
    expect(points).to_have_count(5)
    player.train(player.work(), 0.8, 0.9)
    expect(points).to_have_count(6)
    points.last.hover(force=True)
    expect(page.locator("#history-plot .hoverlayer")).to_contain_text("0.9000")


def test_a_list_needs_no_plotly(service: ServiceProcess, page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    service.submit(name="night")
    page.goto(service.url)
    expect(page.get_by_role("link", name="night")).to_be_visible()
    assert not any("plotly" in url for url in asked)


def test_pause_resume_and_cancel(service: ServiceProcess, page: Page) -> None:
    search = service.submit()
    player = Player(service)
    player.inspect(SMALL_CNN)
    page.goto(f"{service.url}/#/search/{search}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused by the user.")).to_be_visible()
    assert state(service, search) == "paused"

    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert state(service, search) == "queued"

    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Keep searching").click()
    assert state(service, search) == "queued"
    page.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the search").click()
    expect(page.get_by_text("Cancelled by the user.")).to_be_visible()
    assert state(service, search) == "cancelled"
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)


def test_a_refused_action_says_why(service: ServiceProcess, watched: Watched, page: Page) -> None:
    watched.expected = "409"
    search = service.submit()
    page.route("**/events", lambda route: route.abort())
    watched.expected += f"|{NETWORK_IS_DOWN}"
    page.goto(f"{service.url}/#/search/{search}")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    service.http.post(f"/searches/{search}/pause", json=None, headers=JSON).raise_for_status()
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("alert")).to_contain_text("cannot pause a search that is paused")


def test_it_goes_on_after_the_service_was_killed_and_started_again(
    service: ServiceProcess, watched: Watched, page: Page
) -> None:
    watched.expected = NETWORK_IS_DOWN
    search = service.submit()
    player = Player(service)
    player.inspect(SMALL_CNN)
    page.goto(f"{service.url}/#/search/{search}/trials")
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    page.evaluate("window.sameDocument = true")
    resumed: list[str] = []
    page.on("request", lambda request: resumed.append(request.headers.get("last-event-id", "")))

    service.kill()
    expect(page.get_by_role("status").filter(has_text="Reconnecting…")).to_be_visible()
    expect(trial(page, 0)).to_contain_text("waiting")
    service.start()
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    player.train(player.work(), 0.7, 0.81)
    expect(trial(page, 0)).to_contain_text("0.8100")
    assert page.evaluate("window.sameDocument")
    assert max(int(number or 0) for number in resumed) > 0


def test_markup_in_a_name_is_shown_as_text(service: ServiceProcess, page: Page) -> None:
    search = service.submit(name=MARKUP)
    page.goto(service.url)
    page.get_by_role("link", name=MARKUP).click()
    expect(page.get_by_role("heading", level=1)).to_have_text(MARKUP)
    assert page.url.endswith(f"#/search/{search}")
    assert page.title() == f"{MARKUP} \u2013 Activation search"
    assert page.locator("main img, main b").count() == 0


def test_the_best_config_is_downloaded_as_unconfirmed(service: ServiceProcess, page: Page) -> None:
    search = service.submit(name="my night")
    player = Player(service)
    player.inspect(SMALL_CNN)
    train_baselines(player)
    page.goto(f"{service.url}/#/search/{search}")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the best config (unconfirmed)").click()
    assert download.value.suggested_filename == "my-night-unconfirmed.json"
    config = json.loads(download.value.path().read_text())
    assert config["provenance"]["verdict"] == "not_confirmed"
    assert config["provenance"]["search"] == search


def test_long_lists_come_in_pages(service: ServiceProcess, page: Page) -> None:
    for number in range(26):
        service.submit(name=f"search {number}")
    page.goto(service.url)
    expect(page.get_by_role("listitem").filter(has_text="search 25")).to_be_visible()
    assert page.get_by_role("link", name="search 0", exact=True).count() == 0
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("link", name="search 0", exact=True)).to_be_visible()


def test_a_long_queue_comes_in_pages_too(service: ServiceProcess, page: Page) -> None:
    for number in range(51):
        service.submit(name=f"search {number}")
    page.goto(f"{service.url}/#/workers")
    expect(page.get_by_role("link", name="search 49", exact=True)).to_be_visible()
    assert page.get_by_role("link", name="search 50", exact=True).count() == 0
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_role("link", name="search 50", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Show more")).to_have_count(0)


def test_limits_measurements_and_repeats_are_fields_of_the_form(
    service: ServiceProcess, page: Page
) -> None:
    Player(service)
    page.goto(f"{service.url}/#/new")
    fields = {"constraints.latency_ratio": "1.2", "measure.batch": "64", "replicates.share": "0.15"}
    for name, value in fields.items():
        page.locator(f"[id='field-{name}']").fill(value)
    page.locator("[id='field-measure.compiled']").check()
    preview = page.get_by_role("complementary", name="What it would be")
    expect(preview).to_contain_text("trainings at most")
    page.get_by_role("button", name="Submit").click()
    expect(page.get_by_role("heading", name="Ranking")).to_be_visible()
    made = service.http.get("/searches").json()["items"][0]["document"]
    assert made["constraints"]["latency_ratio"] == 1.2
    assert (made["measure"]["batch"], made["measure"]["compiled"]) == (64, True)
    assert made["replicates"]["share"] == 0.15


def test_with_a_token_it_signs_in_first(
    start: Callable[..., ServiceProcess], watched: Watched, page: Page
) -> None:
    watched.expected = "401"
    service = start(token="open sesame")
    search = service.submit(name="secret")
    page.goto(f"{service.url}/#/search/{search}")
    page.get_by_label("Token").fill("open barley")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("That token is not valid here.")
    page.get_by_label("Token").fill("open sesame")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="secret")).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="secret")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()


def test_an_unknown_search_says_so(service: ServiceProcess, watched: Watched, page: Page) -> None:
    watched.expected = "404"
    page.goto(f"{service.url}/#/search/nothing")
    expect(page.get_by_text("There is no search 'nothing'.")).to_be_visible()


def test_the_keyboard_is_enough(service: ServiceProcess, page: Page) -> None:
    search = service.submit(name="by keys")
    page.goto(service.url)
    expect(page.get_by_role("link", name="by keys")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    for _ in range(5):  # A new search, and three fields, come before the list.
        page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("by keys")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="by keys")).to_be_visible()
    assert page.url.endswith(f"#/search/{search}")


def test_times_are_in_the_zone_of_the_reader(service: ServiceProcess, page: Page) -> None:
    service.submit(name="night")
    page.goto(service.url)
    time = page.locator("time").first
    expect(time).to_be_visible()
    assert "GMT+9" in (time.get_attribute("title") or "")


JSON = {"Content-Type": "application/json"}
SMALL_CNN = plan(3)


def train_baselines(player: Player) -> None:
    """Train three seeds of the original (0.81 ± 0.01) and two uniform networks."""
    for value in (0.8, 0.81, 0.82, 0.805, 0.815):
        player.train(player.work(), 0.7, value)


def trial(page: Page, number: int) -> Locator:
    rows = page.get_by_role("region", name="Trials").get_by_role("row")
    return rows.filter(has=page.get_by_role("cell", name=str(number), exact=True).first)


def state(service: ServiceProcess, search: str) -> str:
    return str(service.http.get(f"/searches/{search}").json()["state"])
