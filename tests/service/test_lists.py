"""Lists that are filtered and sorted, trials as a table, searches that are being written."""

import csv
from io import StringIO
from typing import Any

import pytest

from tests.support.player import SEARCH, Player
from tests.support.serving import Served


@pytest.fixture(scope="module")
def served(shared: Served) -> Served:
    return shared


@pytest.fixture(scope="module")
def player(served: Served) -> Player:
    return Player(served)


@pytest.fixture(scope="module")
def search(player: Player) -> str:
    """A search whose trials 0 to 4 end with 0.5, 0.9, 0.7, 0.7 and a failure."""
    found = player.submit(name="=with a formula")
    player.inspect()
    for value in (0.5, 0.9, 0.7, 0.7):
        player.train(player.work(), value)
    player.end(player.work(), "failed", failure="diverged", message="-1 is not a number")
    return str(found["id"])


def numbers(served: Served, search: str, **params: Any) -> list[int]:
    """Return the numbers of all pages of two, in order."""
    url, found = f"/searches/{search}/trials", []
    query: dict[str, Any] = {"limit": 2, **params}
    while True:
        page = served.http.get(url, params=query).raise_for_status().json()
        found += [trial["number"] for trial in page["items"]]
        if page["next"] is None:
            return found
        query["cursor"] = page["next"]


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"order": "-number"}, [4, 3, 2, 1, 0]),
        ({"state": "failed"}, [4]),
        ({"state": ["failed", "completed"]}, [0, 1, 2, 3, 4]),
        ({"kind": "baseline"}, [0]),
        ({"kind": "proposed", "state": "completed"}, [1, 2, 3]),
    ],
)
def test_trials_come_as_they_are_asked_for(
    served: Served, search: str, params: dict[str, Any], expected: list[int]
) -> None:
    assert numbers(served, search, **params) == expected


def test_trials_by_value_leave_out_those_without_one(served: Served, search: str) -> None:
    highest = numbers(served, search, order="-value")
    assert (highest[0], set(highest[1:3]), highest[3:]) == (1, {2, 3}, [0])
    lowest = numbers(served, search, order="value")
    assert (lowest[0], set(lowest[1:3]), lowest[3:]) == (0, {2, 3}, [1])


@pytest.mark.parametrize("params", [{"order": "length"}, {"state": "asleep"}, {"kind": "odd"}])
def test_an_order_or_a_filter_that_is_unknown_is_refused(
    served: Served, search: str, params: dict[str, str]
) -> None:
    answer = served.http.get(f"/searches/{search}/trials", params=params)
    assert answer.status_code == 422
    assert next(iter(params)) in answer.json()["errors"][0]["field"]


def test_searches_are_found_by_name_and_state(served: Served, player: Player) -> None:
    for name in ("night 100%", "night 1000", "Day"):
        player.submit(name=name)

    def names(**params: Any) -> list[str]:
        found, query = [], {"limit": 1, **params}
        while True:
            page = served.http.get("/searches", params=query).json()
            found += [one["name"] for one in page["items"]]
            if page["next"] is None:
                return found
            query["cursor"] = page["next"]

    assert names(named="NIGHT", order="oldest") == ["night 100%", "night 1000"]
    assert names(named="100%") == ["night 100%"]
    assert names(named="night", order="name") == ["night 100%", "night 1000"]
    assert names(named="night", state="completed") == []
    assert names(state="preparing")[0] == "Day"


def test_the_table_has_a_row_for_every_trial(served: Served, search: str) -> None:
    answer = served.http.get(f"/searches/{search}/trials.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert [row["number"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert (rows[0]["label"], rows[0]["block0.act"]) == ("original", "relu")
    assert rows[1]["value"] == "0.9"
    assert rows[4]["failure"] == "diverged"
    assert rows[4]["reason"].startswith("'-1"), "a spreadsheet would take it for a formula"
    assert served.http.get("/searches/none/trials.csv").status_code == 404


def test_a_finding_has_its_gain(served: Served, search: str) -> None:
    finding = served.http.get(f"/searches/{search}").json()["finding"]
    assert finding["status"] == "not_confirmed"
    assert finding["gain"] == pytest.approx(0.4)
    assert (finding["low"], finding["high"]) == (None, None)


def test_a_draft_is_completed_and_comes_back_the_same(served: Served) -> None:
    text = "task: {name: image-classification, dataset: digits, network: small-cnn}\n"
    draft = served.http.post("/searches/draft", json={"text": text}).raise_for_status().json()
    assert draft["document"]["budget"]["trials"] == 40
    again = served.http.post("/searches/draft", json={"text": draft["text"]}).json()
    assert again == draft
    assert served.http.post("/searches/preview", json=draft["document"]).status_code == 200


@pytest.mark.parametrize(
    ("text", "field", "message"),
    [
        ("task: [", "text", "YAML"),
        ("just words", "text", "object"),
        ("a: &a [1]\nb: *a", "text", "alias"),
        ("task: {name: t}\nbudget: {trials: 0}", "budget.trials", "greater"),
        ("task: {name: t}\nshoes: 2", "shoes", "not permitted"),
    ],
)
def test_a_draft_that_cannot_be_read_says_where(
    served: Served, text: str, field: str, message: str
) -> None:
    answer = served.http.post("/searches/draft", json={"text": text})
    assert answer.status_code == 422
    fault = answer.json()["errors"][0]
    assert fault["field"] == field
    assert message in fault["message"]


def test_the_schema_describes_what_may_be_submitted(served: Served) -> None:
    schema = served.http.get("/searches/schema").json()
    assert set(SEARCH) <= set(schema["properties"])
    assert schema["properties"]["budget"]["default"]["trials"] == 40
