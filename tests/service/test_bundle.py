"""The bundle: its files, what is left out, and what it says of the search."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import sqlalchemy as sa
import yaml

from search_space.contract import NO_ONNX, ONNX, RUN, SHAPES, WEIGHTS, read_config
from search_space.search import SearchSpec
from service.bundle.data import collect
from service.bundle.paper import methods
from service.bundle.references import bibtex
from service.bundle.write import write
from service.client.client import Client
from service.store import searches
from tests.service.test_confirmation import CONFIRM, noisy, silu_is_better
from tests.support.player import Player, plan
from tests.support.serving import Served

Value = Callable[[dict[str, Any]], float]

STAMP = b"the weights of a winner"
GRAPH = b"its graph"
ENVIRONMENT = {
    "python": "3.11.9",
    "packages": {"torch": "2.15.0+cu130", "numpy": "2.4.1"},
    "machine": "Linux-6.8-x86_64",
    "processor": "a <fast> processor",
    "gpu": "NVIDIA H200",
    "cuda": None,
    "threads": 3,
    "deterministic": True,
    "code": None,
    "commit": "0123456789abcdef",
}
NAME = "bundle <b>50 %</b> & more"


def placed_plan() -> dict[str, Any]:
    """Return a plan that says where its sites are, as a worker's inspection does."""
    found = plan()
    for site in found["sites"]:
        owner = site["id"].removesuffix(".act")
        site["place"] = {"owner": owner, "target": site["id"], "function": "relu", "number": 1}
    return found


def shapes(assignment: dict[str, Any]) -> bytes:
    sites = [
        {
            "site": id,
            "activation": spec["name"],
            "original": "relu",
            "x": [-1.0, 0.0, 1.0],
            "channels": [0],
            "curves": [[0.0, 0.0, 1.0]],
            "low": -0.5,
            "high": 0.5,
        }
        for id, spec in assignment["candidate"]["sites"].items()
    ]
    return json.dumps({"version": 1, "sites": sites}).encode()


def run(
    player: Player, *, test: Value = silu_is_better, onnx: str | None = None, **changes: Any
) -> str:
    """Run a search to its end, with files of every trial that may be the best.

    Args:
        onnx: Why there is no ONNX; None where there is.
    """
    search = player.submit(**CONFIRM | {"name": NAME} | changes)
    player.inspect(placed_plan())
    run_on(player, search["id"], test=test, onnx=onnx)
    return str(search["id"])


def run_on(
    player: Player, search: str, *, test: Value = silu_is_better, onnx: str | None = None
) -> None:
    """Train every assignment until the search has ended."""
    while (found := player.search(search))["state"] != "completed":
        assignment = player.work()
        confirms = assignment["kind"] == "confirmation"
        player.report(assignment, 1, silu_is_better(assignment))
        if confirms or not found["document"]["confirm"]:
            ran_on = json.dumps({"environment": ENVIRONMENT, "resumed_at": 2}).encode()
            files = {WEIGHTS: STAMP, SHAPES: shapes(assignment), RUN: ran_on}
            if assignment["export"] and onnx is None:
                files[ONNX] = GRAPH
            for name, content in files.items():
                url = f"/leases/{assignment['lease']}/artifacts/{name}"
                headers = {"Content-Type": "application/octet-stream"}
                player.http.put(url, content=content, headers=headers).raise_for_status()
        result: dict[str, Any] = (
            {"test": {"test_accuracy": noisy(test)(assignment)}} if confirms else {}
        )
        remark = f"seen\n{NO_ONNX}{onnx}" if assignment["export"] and onnx else ""
        player.end(assignment, message=remark, **result)


def unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def written(served: Served, search: str, folder: Path, *, unconfirmed: bool) -> dict[str, bytes]:
    """Return the files of the bundle that the background job writes."""
    path = folder / "bundle.zip"
    store = served.context.artifacts
    with served.context.database.read() as session:
        found = searches.get(session, search)
        write(session, found, path, store=store, unconfirmed=unconfirmed)
    return unpacked(path.read_bytes())


def test_a_confirmed_winner_comes_with_all_that_makes_it_usable(
    player: Player, served: Served, tmp_path: Path
) -> None:
    search = run(player)
    with Client(served.url) as client:
        files = unpacked(client.bundle(search))
    best = player.http.get(f"/searches/{search}/best").json()
    with served.context.database.write() as session:
        # With statistics a database plans anew, and what nobody sorted comes in another order.
        session.execute(sa.text("ANALYZE"))
    assert files == written(served, search, tmp_path, unconfirmed=True), "equal results"

    manifest = json.loads(files.pop("manifest.json"))
    drawn = [f"paper/{name}" for name in ("history", "confirmation", "shapes")]
    assert set(files) == {
        "activations.json",
        "weights.safetensors",
        "model.onnx",
        "activations_standalone.py",
        "report.html",
        "search.yaml",
        "paper/methods.tex",
        "paper/table.tex",
        "paper/references.bib",
        *(f"{name}.{kind}" for name in drawn for kind in ("pdf", "csv")),
    }
    assert (manifest["verdict"], manifest["trial"]) == ("confirmed", best["trial"])
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        for name, content in files.items()
    }
    assert manifest["left_out"] == {}
    config = read_config(json.loads(files["activations.json"]))
    assert {spec.name for spec in config.candidate.sites.values()} == {"silu"}
    assert (files["weights.safetensors"], files["model.onnx"]) == (STAMP, GRAPH)
    compile(files["activations_standalone.py"], "activations_standalone.py", "exec")
    assert b"class SiLU" in files["activations_standalone.py"]
    SearchSpec.model_validate(yaml.safe_load(files["search.yaml"]))
    assert all(files[f"{name}.pdf"].startswith(b"%PDF-") for name in drawn)

    trials = player.trials(search)
    check_paper(files, best, trials)
    check_report(files["report.html"].decode(), best)
    lines = files["paper/confirmation.csv"].decode().splitlines()
    ours = sorted(float(line.split(",")[2]) for line in lines if line.startswith("winner,"))
    winners = [trial["test"] for trial in trials if trial["label"] == "winner"]
    assert ours == sorted(test["test_accuracy"] for test in winners)


def check_paper(
    files: dict[str, bytes], best: dict[str, Any], trials: list[dict[str, Any]]
) -> None:
    """Check that the methods have every count, and the table every network."""
    text = files["paper/methods.tex"].decode()
    kinds = [trial["kind"] for trial in trials if trial["repeat_of"] is None]
    tested = sum(trial["test"] is not None for trial in trials)
    assert f"{kinds.count('proposed')} candidates were trained" in text
    assert f"{kinds.count('baseline')} baselines" in text
    assert "The 2 best candidates were trained once more" in text
    assert f"({kinds.count('confirmation') - 2} trainings)" in text
    assert f"which was used {tested} times, in these trainings alone" in text
    assert "each on 4 fresh seeds, a number that was fixed beforehand" in text
    assert best["claim"].replace("%", r"\%") in text
    assert r"\cite{actsearch:silu}" in text
    assert files["paper/references.bib"].decode() == bibtex(["silu"])
    table = files["paper/table.tex"].decode()
    rows = re.findall(r"^(winner|original network) & .* & 4 & ", table, re.MULTILINE)
    assert rows == ["winner", "original network"]


def check_report(page: str, best: dict[str, Any]) -> None:
    """Check that it states the claim, loads no other file, and escapes users' text."""
    assert best["claim"] in page
    assert "<h1>bundle &lt;b&gt;50 %&lt;/b&gt; &amp; more</h1>" in page
    assert "<b>" not in page
    assert "<script" not in page
    assert not re.search(r'(src|href)="(?!#)', page)
    drawings = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(drawings) == 3
    for svg in drawings:
        ElementTree.fromstring(svg)


def cells(page: str) -> dict[str, str]:
    """Return the second cell of every row with two, by the first."""
    return dict(re.findall(r"<tr><td>([^<]*)</td><td>([^<]*)</td></tr>", page))


def test_the_report_says_what_the_training_ran_on(
    player: Player, served: Served, tmp_path: Path
) -> None:
    search = run(player, budget={"trials": 1}, confirm=None)
    page = written(served, search, tmp_path, unconfirmed=True)["report.html"].decode()
    found = cells(page)
    assert found["torch"] == "2.15.0+cu130"
    assert found["processor"] == "a &lt;fast&gt; processor"
    assert (found["gpu"], found["threads"]) == ("NVIDIA H200", "3")
    assert found["commit"] == "0123456789abcdef"
    assert found["resumed after epochs"] == "2"
    assert "cuda" not in found, "what is not known is not listed"
    best = player.http.get(f"/searches/{search}/best").json()["ranking"][0]["trial"]
    assert f"actsearch rerun {best}" in page

    page = written(served, search, tmp_path, unconfirmed=False)["report.html"].decode()
    assert "torch" not in cells(page)
    assert "no trial stands behind" in page
    assert "actsearch rerun" not in page


def test_the_documents_say_what_was_in_force_after_a_change(player: Player, served: Served) -> None:
    search = run(player)

    def changed(**changes: Any) -> tuple[dict[str, Any], str]:
        answer = player.http.patch(f"/searches/{search}", json=changes)
        assert answer.status_code == 200, answer.text
        run_on(player, search)
        with Client(served.url) as client:
            files = unpacked(client.bundle(search))
        return yaml.safe_load(files["search.yaml"]), files["report.html"].decode()

    with Client(served.url) as client:
        first = yaml.safe_load(unpacked(client.bundle(search))["search.yaml"])
    assert first["budget"]["trials"] == 3

    document, page = changed(budget={"trials": 5, "hours": 9}, parallel=1, priority=4)
    in_force = {"trials": 5, "hours": 9.0, "gpu_hours": None, "failures": 5}
    assert (document["budget"], document["parallel"], document["priority"]) == (in_force, 1, 4)
    assert "trials: 5" in page
    document, page = changed(name="renamed")
    assert document["name"] == "renamed", "though no further trial has finished"
    assert "<h1>renamed</h1>" in page
    SearchSpec.model_validate(document)


def test_what_could_not_be_exported_is_left_out_with_the_reason(
    player: Player, served: Served, tmp_path: Path
) -> None:
    search = run(player, onnx="a branch depends on numbers")
    files = written(served, search, tmp_path, unconfirmed=False)
    manifest = json.loads(files["manifest.json"])
    assert manifest["left_out"] == {"model.onnx": "a branch depends on numbers"}
    assert "model.onnx" not in files


def test_until_a_confirmation_it_is_the_original_network_unless_asked(
    player: Player, served: Served, tmp_path: Path
) -> None:
    search = run(player, confirm=None)
    files = written(served, search, tmp_path, unconfirmed=False)
    manifest = json.loads(files["manifest.json"])
    assert manifest["trial"] is None
    assert manifest["left_out"].keys() == {"weights.safetensors", "model.onnx"}
    assert "has not been confirmed" in files["paper/methods.tex"].decode()
    assert "original & " in files["paper/table.tex"].decode()

    files = written(served, search, tmp_path, unconfirmed=True)
    assert json.loads(files["manifest.json"])["verdict"] == "not_confirmed"
    assert files["weights.safetensors"] == STAMP
    assert "not confirmed yet" in files["report.html"].decode()


def test_what_is_noise_is_said_to_be(player: Player, served: Served, tmp_path: Path) -> None:
    search = run(player, test=lambda _: 0.5, budget={"trials": 1})
    files = written(served, search, tmp_path, unconfirmed=False)
    assert json.loads(files["manifest.json"])["verdict"] == "noise"
    for name in ("report.html", "paper/methods.tex"):
        assert "not statistically significant" in files[name].decode()


def told(served: Served, search: str) -> str:
    """Return the methods paragraph of a bundle written now."""
    with served.context.database.read() as session:
        return methods(collect(session, searches.get(session, search), unconfirmed=False))


def test_the_methods_count_what_was_trained_and_nothing_else(
    player: Player, served: Served
) -> None:
    search = player.submit(
        choices=["relu", "silu", "gelu", "tanh", "elu"],
        budget={"trials": 18},
        replicates={"share": 0.2, "leaders": 1, "seeds": 3},
    )["id"]
    player.inspect(placed_plan())
    by_hand = {"sites": {"block0.act": "mish"}}
    url = f"/searches/{search}/trials"
    player.http.post(url, json={"candidate": by_hand}).raise_for_status()
    running: list[dict[str, Any]] = []
    infeasible = None
    while (assignment := player.lease(wait=0.3)) is not None:
        if assignment["kind"] == "proposed" and infeasible is None:
            player.end(assignment, "failed", failure="infeasible", message="it is too slow")
            infeasible = assignment["trial"]
        elif assignment["kind"] == "proposed" and not running:
            running.append(assignment)
        else:
            player.train(assignment, 0.5 + 0.001 * assignment["number"])
    trials = [trial for trial in player.trials(search) if trial["repeat_of"] is None]
    again = [trial for trial in trials if trial["replicate_of"]]
    [lease] = running
    assert again
    assert lease["trial"] not in {trial["id"] for trial in again}
    first = 18 - 2 - len(again)
    text = told(served, search)
    assert f"{first} candidates were trained, {first} to the end, 0 stopped early, 0 failed" in text
    assert "1 further candidate could not be trained within the limits" in text
    assert "1 further candidate had not ended when this was written" in text
    assert f"The leaders were trained again on other seeds ({len(again)} trainings)" in text
    assert "1 candidate was added by hand" in text
    assert "cancelled" not in text

    player.http.post(f"/searches/{search}/kill").raise_for_status()
    assert player.report(lease, 1, 0.5).json() == {"verdict": "cancel"}
    text = told(served, search)
    assert f"{first} candidates were trained" in text
    assert "1 further candidate was cancelled" in text
    assert "had not ended" not in text


def test_the_methods_tell_of_test_data_that_was_looked_at(player: Player, served: Served) -> None:
    changes = {"confirm": {"shortlist": 1, "seeds": 2}, "budget": {"trials": 2}}
    search = player.submit(**CONFIRM | changes)["id"]
    player.inspect(placed_plan())

    def tested() -> int:
        return sum(trial["test"] is not None for trial in player.trials(search))

    while tested() == 0:
        assert "the test data was not looked at" in told(served, search)
        assignment = player.work()
        confirms = assignment["kind"] == "confirmation"
        player.report(assignment, 1, silu_is_better(assignment))
        test = {"test_accuracy": noisy(silu_is_better)(assignment)} if confirms else {}
        player.end(assignment, test=test)
    text = told(served, search)
    assert "has not been confirmed. The test data was used once" in text
    run_on(player, search)
    text = told(served, search)
    assert "once more" not in text
    assert "The best candidate by validation data is the winner." in text
    assert "in these trainings alone" in text

    first = tested()
    player.http.patch(f"/searches/{search}", json={"budget": {"trials": 4}}).raise_for_status()
    assert f"The test data was used {first} times" in told(served, search)
    run_on(player, search)
    text = told(served, search)
    assert f"({tested() - first} trainings)" in text
    assert f"used {tested()} times, in these trainings and those of an earlier confirm" in text


def test_without_an_inspection_there_is_nothing_to_bundle(player: Player) -> None:
    search = player.submit()
    answer = player.http.get(f"/searches/{search['id']}/best/bundle")
    assert answer.status_code == 409
    assert "has not been inspected" in answer.json()["detail"]


def test_a_plan_without_places_leaves_the_standalone_file_out(
    player: Player, served: Served, tmp_path: Path
) -> None:
    search = player.submit(budget={"trials": 1})
    player.inspect()
    while (assignment := player.lease(wait=0.3)) is not None:
        player.train(assignment, 0.5)
    files = written(served, search["id"], tmp_path, unconfirmed=False)
    assert "activations_standalone.py" not in files
    reason = json.loads(files["manifest.json"])["left_out"]["activations_standalone.py"]
    assert "does not say where" in reason


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("meta_acon", ("author = {Ma and Zhang and Liu and Sun}", "eprint = {2009.04759}")),
        ("dy_relu_a", ("author = {Chen and others}", "title = {{Dynamic ReLU}}")),
        ("mish", ("author = {Misra}", "howpublished = {BMVC}")),
        ("pwlu_free", ("author = {Zhu and Dong}", "doi = {10.1109/ICPR56361.2022.9956345}")),
    ],
)
def test_papers_are_cited_with_authors_title_and_place(name: str, expected: tuple[str]) -> None:
    assert all(part in bibtex([name]) for part in expected)


def test_each_paper_is_cited_once_and_no_paper_not_at_all() -> None:
    text = bibtex(["acon_c", "meta_acon", "identity", "pwlu"])
    assert re.findall(r"@misc\{(.*),", text) == ["actsearch:acon_c", "actsearch:pwlu"]
