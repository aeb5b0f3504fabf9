"""The demo, whole: what a user sees first."""

import inspect
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from actsearch import apply, load_config
from service.client.client import Client
from workers.data import digits
from workers.data.tensors import on_device
from workers.networks.small_cnn import SmallCNN
from workers.training.evaluation import evaluate
from workers.training.precision import Precision

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
        [sys.executable, "-m", "service.cli.demo"],
        cwd=folder,
        # What a user has set for another service must not reach the demo's.
        env=environment | {"ACTSEARCH_PORT": "none", "ACTSEARCH_URL": "http://127.0.0.1:1"},
        capture_output=True,
        text=True,
        timeout=560,
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


@pytest.fixture(scope="module")
def reopened(demo: Seen) -> Iterator[Client]:
    """A service on what the demo has left."""
    up = [sys.executable, "-m", "service.cli", "serve", "--json", "--port", "0"]
    with subprocess.Popen(
        [*up, "--home", str(demo.folder / "home"), "--exit-with-stdin"],
        cwd=demo.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as service:
        assert service.stdout is not None
        assert service.stdin is not None
        with Client(json.loads(service.stdout.readline())["url"]) as client:
            yield client
        service.stdin.close()


def test_eighteen_networks_were_trained(reopened: Client) -> None:
    (search,) = reopened.list()
    trials = [trial for trial in reopened.trials(search.id) if trial.repeat_of is None]
    labels = Counter((trial.label or "proposed").split()[0] for trial in trials)
    assert labels == {"original": 3, "uniform": 4, "proposed": 11}


BARE = """
import sys

for name in ("search_space", "service", "workers", "actsearch", "safetensors", "pydantic"):
    sys.modules[name] = None  # To import it is an error from here on.

import torch
from activations_standalone import apply, read_weights
from small_cnn import SmallCNN

torch.set_num_threads(1)
images, labels = torch.load("validation.pt")
model = apply(SmallCNN(channels=1, classes=10))
model.load_state_dict(read_weights("weights.safetensors"))
with torch.no_grad():
    hits = model.eval()(images).argmax(dim=1) == labels
print(hits.float().mean().item())
"""


def test_with_a_bundle_and_nothing_of_ours_the_accuracy_is_reproduced(
    reopened: Client, tmp_path: Path
) -> None:
    (search,) = reopened.list()
    with zipfile.ZipFile(io.BytesIO(reopened.bundle(search.id, unconfirmed=True))) as bundle:
        bundle.extractall(tmp_path)
    shutil.copy(inspect.getfile(SmallCNN), tmp_path)
    _, validation = on_device(digits.load(), torch.device("cpu"), train_samples=None)
    batches = list(validation.ordered(1000))
    torch.save(
        tuple(torch.cat(part) for part in zip(*batches, strict=True)), tmp_path / "validation.pt"
    )

    run = [sys.executable, "-c", BARE]
    ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    reported = json.loads((tmp_path / "activations.json").read_text())["provenance"]["metrics"]
    assert float(ran.stdout) == pytest.approx(reported["validation_accuracy"], abs=1e-6)
