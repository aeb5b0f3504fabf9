"""The command against a real service: what it prints, and how it exits."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.cli import main
from tests.support.player import SEARCH, Player
from tests.support.serving import Served

COMMAND = [sys.executable, "-m", "service.cli"]
SHAPES: dict[str, Any] = {
    "version": 1,
    "sites": [
        {
            "site": f"block{i}.act",
            "activation": "silu",
            "original": "relu",
            "x": [-1.0, 0.0, 1.0],
            "channels": [0],
            "curves": [[-0.3, 0.0, 0.7]],
            "low": -0.5,
            "high": None if i else 0.5,
        }
        for i in range(2)
    ],
}
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(served: Served, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process; returns the exit code and what was printed."""
    monkeypatch.setenv("ACTSEARCH_URL", served.url)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        return (int(ended.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture
def finished(player: Player) -> str:
    """A search whose four candidates beat the original, with files of the best."""
    search = player.submit(name="thin", baselines={"original_seeds": 3, "uniform": False})
    player.inspect()
    for number in range(7):
        trial = player.work()
        if number == 6:
            put(player, trial, "weights.safetensors", b"weights")
            put(player, trial, "shapes.json", json.dumps(SHAPES).encode())
        player.train(trial, 0.6 + number / 100)
    return str(search["id"])


def put(player: Player, trial: dict[str, Any], name: str, content: bytes) -> None:
    url = f"/leases/{trial['lease']}/artifacts/{name}"
    kind = {"content-type": "application/octet-stream"}
    player.http.put(url, content=content, headers=kind).raise_for_status()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the command as a process; it is killed at the end."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=os.environ | environment,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_bundle_is_saved_and_what_it_has_and_lacks_is_said(
    run: Run, finished: str, tmp_path: Path
) -> None:
    path = tmp_path / "all.zip"
    code, out, _ = run("bundle", finished, "--output", str(path), "--unconfirmed")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("weights.safetensors") == b"weights"
        config = json.loads(archive.read("activations.json"))
    assert config["provenance"]["number"] == 6
    assert code == 0
    assert out.startswith(f"Saved {path}: not confirmed yet")
    assert "  weights.safetensors, 7 bytes\n" in out
    assert "  without model.onnx: a worker writes it of a winner that is confirmed\n" in out

    code, out, _ = run("bundle", finished, "--output", str(path), "--json")
    told = json.loads(out)
    assert (code, told["saved"], told["manifest"]["trial"]) == (0, str(path), None)
    code, _, err = run("bundle", finished, "--output", str(tmp_path / "no" / "all.zip"))
    assert code != 0
    assert "cannot save to" in err


def test_a_submitted_search_is_named_with_its_page(
    run: Run, served: Served, tmp_path: Path
) -> None:
    file = tmp_path / "search.yaml"
    file.write_text(yaml.safe_dump(SEARCH))
    code, out, err = run("submit", str(file))
    id = out.splitlines()[0]
    assert (code, err) == (0, "")
    assert f"{served.url}/#/search/{id}" in out
    assert run("show", id, "--json")[0] == 0


def test_each_field_at_fault_has_a_line(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "search.json"
    file.write_text(
        '{"task": {"name": "t"}, "budget": {"trials": 0}, "choices": ["swosh"], "x": 1}'
    )
    code, out, err = run("submit", str(file))
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert lines[0] == "actsearch: the service refused:"
    assert sorted(line.split(":")[0].strip() for line in lines[1:]) == [
        "budget.trials",
        "choices.0",
        "x",
    ]
    assert "no activation named 'swosh'" in err


@pytest.mark.parametrize(
    "command",
    [["show", "s9"], ["watch", "s9"], ["best", "s9"], ["pause", "s9"], ["resume", "s9"]],
    ids=lambda command: command[0],
)
def test_an_unknown_search_is_refused(run: Run, command: list[str]) -> None:
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert "there is no search 's9'" in err


def test_nobody_there_is_a_failure_that_names_the_url(run: Run) -> None:
    code, out, err = run("list", "--url", "http://127.0.0.1:1")
    assert (code, out) == (1, "")
    assert "no service answers at http://127.0.0.1:1 " in err
    assert "actsearch up" in err


@pytest.mark.parametrize("arguments", [["submit"], ["fly"], ["list", "--colour"]])
def test_wrong_use_exits_with_2(run: Run, arguments: list[str]) -> None:
    assert run(*arguments)[0] == 2


def test_a_missing_file_is_named(run: Run) -> None:
    code, _, err = run("submit", "nowhere.yaml")
    assert code == 1
    assert "the search nowhere.yaml cannot be read" in err


@pytest.mark.parametrize(
    ("command", "holds"),
    [
        (["list"], lambda answer, id: answer[0]["id"] == id),
        (["show", "ID"], lambda answer, id: answer["id"] == id),
        (["best", "ID"], lambda answer, _: answer["ranking"][0]["rank"] == 1),
        (["watch", "ID"], lambda answer, _: answer["state"] == "completed"),
        (["activations"], lambda answer, _: "pwlu" in [entry["name"] for entry in answer]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_json_is_printed_whole(
    run: Run, finished: str, command: list[str], holds: Callable[[Any, str], bool]
) -> None:
    code, out, err = run(*[finished if word == "ID" else word for word in command], "--json")
    assert (code, err) == (0, "")
    assert holds(json.loads(out), finished)


def test_the_ranking_starts_with_the_original_and_claims_nothing(run: Run, finished: str) -> None:
    code, out, _ = run("best", finished)
    rows = [line for line in out.splitlines() if " %" in line]
    assert code == 0
    assert "original" in rows[0]
    assert "61.00 % ± 1 (n=3)" in rows[0]
    assert "66.00 %   +5.00 points" in rows[1]
    assert "Not confirmed yet" in out
    assert "Luck line: 62.0" in out


def test_the_ranking_tells_how_often_stopping_early_was_wrong(run: Run, player: Player) -> None:
    search = player.submit(
        baselines={"original_seeds": 0, "uniform": False},
        pruner={"name": "asha", "run_on": 1.0},
        budget={"trials": 2},
    )
    player.inspect()
    good, late = player.work(), player.work()
    player.train(good, 0.5, 0.5, 0.5, 0.5)
    player.train(late, 0.1, 0.2, 0.3, 0.9)
    code, out, _ = run("best", search["id"])
    assert code == 0
    assert "1 came out better than the median of those that were not stopped" in out


def test_the_unconfirmed_best_is_saved_with_its_picture(
    run: Run, finished: str, tmp_path: Path
) -> None:
    code, out, err = run("best", finished, "--unconfirmed", "--output", str(tmp_path / "out"))
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert (code, err) == (0, "")
    assert "unconfirmed" in out
    assert set(files) == {"activations.json", "weights.safetensors", "shapes.svg"}
    assert files["weights.safetensors"] == b"weights"
    assert json.loads(files["activations.json"])["provenance"]["number"] == 6
    assert b"block1.act" in files["shapes.svg"]


def test_until_a_confirmation_the_original_is_saved(
    run: Run, finished: str, tmp_path: Path
) -> None:
    code, out, _ = run("best", finished, "--output", str(tmp_path / "out"))
    (file,) = (tmp_path / "out").iterdir()
    assert code == 0
    assert "the original network's config, since nothing is confirmed" in out
    assert json.loads(file.read_bytes())["provenance"]["label"] == "original"


def test_a_trial_without_files_still_gives_its_config(
    run: Run, player: Player, tmp_path: Path
) -> None:
    id = player.submit(budget={"trials": 1})["id"]
    player.inspect()
    for _ in range(2):
        player.train(player.work(), 0.5)
    code, _, err = run("best", id, "--unconfirmed", "--output", str(tmp_path / "out"))
    assert code == 0
    assert "stored no weights.safetensors" in err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["activations.json"]


def test_watching_a_completed_search_is_a_success(run: Run, finished: str) -> None:
    code, out, _ = run("watch", finished)
    assert code == 0
    assert "thin: completed · 7/7 trials · best so far 66.00 % (trial 6)" in out


def test_watching_ends_with_a_pause_and_its_reason(run: Run, player: Player) -> None:
    id = player.submit()["id"]
    assert run("pause", id)[:2] == (0, f"{id}: paused, paused by the user\n")
    code, out, _ = run("watch", id)
    assert code == 1
    assert out.endswith("paused: paused by the user\n")


def test_a_life_is_steered(run: Run, player: Player) -> None:
    id = player.submit()["id"]
    states = [json.loads(run(word, id, "--json")[1])["state"] for word in ("pause", "resume")]
    assert states == ["paused", "preparing"]
    assert json.loads(run("cancel", id, "--json")[1])["state"] == "cancelled"
    code, _, err = run("cancel", id)
    assert code == 2
    assert "cannot cancel a search that is cancelled" in err


def test_tables_describe_searches_and_activations(run: Run, finished: str) -> None:
    assert finished in run("list")[1]
    assert "2 (2 relu)" in run("show", finished)[1]
    assert "segments (16, 2 to 64)" in run("activations")[1]


@pytest.mark.parametrize("command", ["serve", "up"])
def test_off_loopback_without_a_token_is_refused(
    start: Callable[..., subprocess.Popen[str]], command: str
) -> None:
    process = start(command, "--host", "0.0.0.0", "--port", "0")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, "")
    assert err.startswith("actsearch: refusing to listen on 0.0.0.0 without a token")
    assert "Traceback" not in err


def test_settings_that_mean_nothing_are_refused(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start("serve", ACTSEARCH_PORT="99999")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "port (ACTSEARCH_PORT)" in err


def test_the_service_says_where_it_is_and_ends_when_told(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    first = start("serve", "--port", "0", "--home", "h", "--json")
    assert first.stdout is not None
    said = json.loads(first.stdout.readline())
    listed = start("list", ACTSEARCH_URL=said["url"]).communicate(timeout=60)
    second = start("serve", "--port", "0", "--home", "h")
    refusal = second.communicate(timeout=60)[1]
    first.send_signal(signal.SIGTERM)
    _, err = first.communicate(timeout=60)

    assert said["home"] == str(tmp_path / "h")
    assert listed == ("no search yet; submit one: actsearch submit FILE\n", "")
    assert second.returncode == 2
    assert f"another service is running on {tmp_path / 'h'}" in refusal
    assert (first.returncode, err) == (0, "")


def test_a_port_in_use_is_said(start: Callable[..., subprocess.Popen[str]], served: Served) -> None:
    process = start("serve", "--port", str(served.port))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"cannot listen on 127.0.0.1:{served.port}" in err


def test_sites_of_an_own_network_are_listed(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    (tmp_path / "mine.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "from beside import WIDTH\n"
        "def build():\n"
        "    model = nn.Sequential(nn.Conv2d(1, WIDTH, 3), nn.ReLU())\n"
        "    return model, torch.zeros(2, 1, 8, 8)\n"
    )
    (tmp_path / "beside.py").write_text("WIDTH = 6\n")
    out, err = start("sites", "mine.py:build", "--json").communicate(timeout=120)
    (site,) = json.loads(out)["sites"]
    assert err == ""
    assert (site["id"], site["original"], site["channels"]) == ("1", "relu", 6)


def test_sites_of_a_known_network_are_listed(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    out, err = start("sites", "siren", "--json").communicate(timeout=120)
    assert err == ""
    assert [site["original"] for site in json.loads(out)["sites"]] == ["sine"] * 4


def test_a_network_that_nobody_knows_is_refused(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    process = start("sites", "no-such-net")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "no network 'no-such-net'" in err
    assert "FILE.py:build" in err


def test_a_search_is_changed_from_the_command_line(run: Run, player: Player) -> None:
    id = player.submit()["id"]
    options = ["--trials", "9", "--hours", "2.5", "--parallel", "3", "--name", "thin", "--json"]
    changed = json.loads(run("change", id, *options)[1])
    assert changed["budget"] == {"trials": 9, "hours": 2.5, "gpu_hours": None, "failures": 5}
    assert (changed["parallel"], changed["name"]) == (3, "thin")
    assert json.loads(run("change", id, "--hours", "none", "--json")[1])["budget"]["hours"] is None
    assert "nothing to change" in run("change", id)[2]
    code, _, err = run("change", id, "--hours", "long")
    assert (code, "--hours must be a number or none" in err) == (2, True)
    code, _, err = run("change", id, "--parallel", "0")
    assert (code, "parallel: " in err) == (2, True)


def test_a_fork_takes_edits_from_the_line_and_from_a_file(
    run: Run, player: Player, tmp_path: Path
) -> None:
    id = player.submit()["id"]
    (tmp_path / "edits.yaml").write_text("choices: [relu, gelu]\n")
    edits = ["budget.trials=7", "sampler.seed=3", "--file", str(tmp_path / "edits.yaml")]
    forked = json.loads(run("fork", id, *edits, "--json")[1])
    assert (forked["forked_from"], forked["budget"]["trials"]) == (id, 7)
    assert forked["document"]["sampler"]["seed"] == 3
    assert [choice["name"] for choice in forked["document"]["choices"]] == ["relu", "gelu"]
    code, out, _ = run("fork", id)
    assert (code, out.startswith("s")) == (0, True)
    for wrong in ("budget.trials", "=3", "a..b=1", "x=["):
        assert run("fork", id, wrong)[0] == 2


def test_searches_are_killed_and_deleted(run: Run, player: Player) -> None:
    one, other = player.submit()["id"], player.submit()["id"]
    assert run("kill", one)[1] == f"{one}: cancelled, killed by the user\n"
    assert run("delete", one, other)[1] == f"{one}: deleted\n{other}: deleted\n"
    code, _, err = run("delete", one)
    assert (code, "there is no search" in err) == (2, True)
    assert run("list")[1].startswith("no search yet")


def test_a_downloaded_config_is_added_as_a_trial(
    run: Run, player: Player, finished: str, tmp_path: Path
) -> None:
    run("best", finished, "--unconfirmed", "--output", str(tmp_path))
    again = player.submit()["id"]
    player.inspect()
    code, out, err = run("add", again, str(tmp_path / "activations.json"))
    assert (code, err) == (0, "")
    assert f"trial 1 of {again} waits" in out
    (tmp_path / "list.yaml").write_text("- relu\n")
    assert "must be an object" in run("add", again, str(tmp_path / "list.yaml"))[2]


@pytest.mark.usefixtures("finished")
def test_the_queue_and_a_preview_are_printed(run: Run, player: Player, tmp_path: Path) -> None:
    assert run("queue")[1] == "nothing waits\n"
    id = player.submit(name="[bold]thin[/bold]")["id"]
    listed = run("queue")[1]
    assert id in listed
    assert "[bold]thin[/bold]" in listed
    assert json.loads(run("queue", "--json")[1])[0]["reason"] == "next"

    (tmp_path / "search.yaml").write_text(yaml.safe_dump(SEARCH | {"confirm": {"seeds": 5}}))
    code, out, _ = run("preview", str(tmp_path / "search.yaml"))
    assert code == 0
    assert "2 sites in 2 groups" in out
    assert "18 to confirm" in out
    assert "smallest gain that the confirmation finds" in out


def test_the_help_tells_the_exit_codes_and_the_shell_completes(
    run: Run, start: Callable[..., subprocess.Popen[str]]
) -> None:
    assert "Exit codes: 0 done; 1 failed" in " ".join(run("--help")[1].split())
    environment = {
        "_ACTSEARCH_COMPLETE": "complete_bash",
        "COMP_WORDS": "actsearch pre",
        "COMP_CWORD": "1",
    }
    out, _ = start(**environment).communicate(timeout=60)
    assert "preview" in out.split()


def test_learned_shapes_are_listed_and_drawn(run: Run, finished: str, tmp_path: Path) -> None:
    picture = tmp_path / "shapes.svg"
    code, out, err = run("shapes", finished, "--output", str(picture))
    assert (code, err) == (0, "")
    assert "block1.act" in out
    assert "trial 6 at its end" in out
    assert b"block1.act" in picture.read_bytes()
    code, out, _ = run("shapes", finished, "--json")
    assert json.loads(out)["number"] == 6
    code, _, err = run("shapes", finished, "--epoch", "3")
    assert code == 2
    assert "epoch: must be left out: nothing is kept" in err
