"""The demo, whole: what a user sees first."""

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from actsearch import apply, load_config
from service.client import Client
from workers.data import digits
from workers.data.tensors import on_device
from workers.evaluation import evaluate
from workers.networks.small_cnn import SmallCNN
from workers.precision import Precision

pytestmark = pytest.mark.slow


@dataclass
class Seen:
    folder: Path
    out: str
    err: str


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """Run the demo on the digits, over what an earlier run and a user left."""
    folder = tmp_path_factory.mktemp("demo")
    output = folder / "demo-output"
    (output / "home").mkdir(parents=True)
    (output / "home" / "old").touch()
    (output / "my-notes").touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ACTSEARCH_")}
    ran = subprocess.run(
        [sys.executable, "-m", "service.demo"],
        cwd=folder,
        # What a user has set for another service must not reach the demo's.
        env=environment | {"ACTSEARCH_PORT": "none", "ACTSEARCH_URL": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
    return Seen(output, ran.stdout, ran.stderr)


def test_it_shows_progress_the_ranking_and_where_things_are(demo: Seen) -> None:
    assert demo.err == ""
    assert "demo-digits: completed · 18/18 trials · best so far" in demo.out
    assert "luck line" in demo.out
    for row in ("original", "uniform silu", "uniform pwlu", "uniform acon_c", "uniform meta_acon"):
        assert row in demo.out
    assert "uniform relu" not in demo.out
    assert "Not confirmed yet" in demo.out
    assert "Saved the best so far, unconfirmed:" in demo.out
    for name in ("activations.json", "weights.safetensors", "shapes.svg"):
        assert f"demo-output/{name}" in demo.out


def test_it_wipes_what_it_made_before_and_nothing_else(demo: Seen) -> None:
    assert (demo.folder / "my-notes").exists()
    assert not (demo.folder / "home" / "old").exists()


def test_nothing_it_started_logs_an_error(demo: Seen) -> None:
    log = (demo.folder / "up.log").read_text()
    assert "Traceback" not in log
    assert "ERROR" not in log


def test_the_picture_shows_every_site(demo: Seen) -> None:
    picture = (demo.folder / "shapes.svg").read_text()
    config = load_config(demo.folder / "activations.json")
    assert picture.startswith("<?xml")
    for site in config.plan.sites:
        assert site.id in picture


def test_the_saved_network_is_as_accurate_as_was_said(demo: Seen) -> None:
    config = load_config(demo.folder / "activations.json")
    data, validation = on_device(digits.load(), torch.device("cpu"), train_samples=None)
    model = SmallCNN(channels=1, classes=10)
    apply(model, config, data.examples())
    model.load_state_dict(load_file(demo.folder / "weights.safetensors"))

    accuracy = evaluate(model, validation, Precision(torch.device("cpu")))["accuracy"]

    assert accuracy == pytest.approx(config.provenance["metrics"]["validation_accuracy"], abs=1e-6)


def test_eighteen_networks_were_trained(demo: Seen, tmp_path: Path) -> None:
    up = [sys.executable, "-m", "service.cli", "serve", "--json", "--port", "0"]
    with subprocess.Popen(
        [*up, "--home", str(demo.folder / "home"), "--exit-with-stdin"],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        assert service.stdin is not None
        with Client(json.loads(service.stdout.readline())["url"]) as client:
            (search,) = client.list()
            trials = [trial for trial in client.trials(search.id) if trial.repeat_of is None]
        service.stdin.close()
    labels = Counter((trial.label or "proposed").split()[0] for trial in trials)
    assert labels == {"original": 3, "uniform": 4, "proposed": 11}
