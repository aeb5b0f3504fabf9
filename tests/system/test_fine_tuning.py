"""A search that tunes the weights which another has trained, to its verdict and its bundle."""

import io
import json
import subprocess
import zipfile
from typing import Any

import pytest

from tests.system.machine import ACTSEARCH, Machine

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DIGITS: dict[str, Any] = {
    "task": {"name": "image-classification", "dataset": "digits", "network": "mlp", "epochs": 2},
    "choices": ["relu"],
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 1},
    "confirm": None,
}
TUNED: dict[str, Any] = DIGITS | {
    "choices": ["pwlu", "tanh"],
    "baselines": {"original_seeds": 1, "uniform": True},
    "sites": {"per": "network"},
    "budget": {"trials": 2},
    "replicates": {"share": 0},
    "confirm": {"shortlist": 1, "seeds": 2},
}


def test_weights_are_tuned_and_the_winner_comes_as_onnx(machine: Machine) -> None:
    for name in ("onnx", "onnxruntime", "onnxscript"):
        pytest.importorskip(name)
    machine.serve()
    machine.worker()
    earlier = machine.client.submit(DIGITS)
    machine.wait(earlier.id)
    original = next(t for t in machine.trials(earlier.id) if t["label"] == "original")
    trained = machine.read(f"/trials/{original['id']}/reports")[-1]["metrics"]["validation_loss"]
    stored = {file.name: file.sha256 for file in machine.client.artifacts(original["id"])}

    search = machine.client.submit(TUNED | {"start": {"weights": stored["weights.safetensors"]}})
    machine.wait(search.id)
    jumps = {}
    for trial in machine.trials(search.id):
        measured = trial["measurements"]
        if measured is not None:
            assert measured["loss_before_swap"] == pytest.approx(trained, rel=1e-3)
            names = {spec["name"] for spec in trial["candidate"]["sites"].values()}
            jumps[next(iter(names))] = measured["loss_after_swap"]
    assert jumps["relu"] == pytest.approx(trained, rel=1e-3), "nothing was swapped"
    assert jumps["pwlu"] == pytest.approx(trained, rel=1e-3), "it starts as what it replaces"
    assert jumps["tanh"] != pytest.approx(trained, rel=1e-2)
    assert (
        "by fine-tuning the given weights" in machine.read(f"/searches/{search.id}/best")["claim"]
    )

    winners = [t for t in machine.trials(search.id) if t["label"] == "winner"]
    exported = [
        trial["number"]
        for trial in winners
        if "model.onnx" in {file.name for file in machine.client.artifacts(trial["id"])}
    ]
    # A second one, too, where it began before the first had completed.
    assert winners[0]["number"] in exported, winners[0]["reason"]
    again = [*ACTSEARCH, "rerun", winners[0]["id"], "--url", machine.client.url]
    same = subprocess.run(again, capture_output=True, text=True, cwd=machine.folder, timeout=120)
    assert same.returncode == 0, same.stderr + same.stdout
    files = zipfile.ZipFile(io.BytesIO(machine.client.bundle(search.id, unconfirmed=True)))
    assert json.loads(files.read("manifest.json"))["search"] == search.id
