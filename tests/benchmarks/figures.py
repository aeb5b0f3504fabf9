"""The articles' figures, drawn from trainings of our own.

    python -m tests.benchmarks.figures --train     # trains four networks, minutes; writes the data
    python -m tests.benchmarks.figures             # draws docs/figures/*.svg from that data

Needs ACTSEARCH_DATA_ROOT with FashionMNIST to train, and nothing to draw.
"""

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import torch
from safetensors.torch import load
from torch import Tensor, nn
from torch.optim import Optimizer

from search_space.activations.acon import AconC, MetaAcon
from search_space.activations.pwlu import PWLU
from search_space.apply import apply
from search_space.contract import SHAPES, WEIGHTS
from search_space.phases import switch
from search_space.spec import ActivationSpec, Candidate, SitePlan, Training
from tests.benchmarks.evidence.drawing import draw
from tests.benchmarks.evidence.judging import judge, sites_of
from tests.benchmarks.evidence.plan import TASK
from tests.benchmarks.evidence.transferring import TASK as DEEP
from workers.commands.local_attempt import LocalAttempt
from workers.handle import phases
from workers.tasks.image_classification import prepare

FOLDER = Path(__file__).parents[2] / "docs" / "figures"
DATA = FOLDER / "data.json"
SAMPLES = 7
BINS = 40
LIKE = ("site", "line_r2", "nearest", "nearest_r2")


def main() -> None:
    """Train and store the data, where asked to; draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true", help="train anew, not only draw")
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    if options.train:
        with TemporaryDirectory() as home:
            data = made(Path(home))
        DATA.write_text(json.dumps(_rounded(data), separators=(",", ":")) + "\n")
    for name, drawing in draw(json.loads(DATA.read_text())).items():
        (FOLDER / f"{name}.svg").write_text(drawing)


def made(home: Path) -> dict[str, Any]:
    """Return what the figures are drawn from."""
    images = _images(home)
    with mock.patch.object(phases, "switch", _Watched(switch, images)) as watched:
        everywhere = _trained(TASK, "pwlu", home)
        boundary = watched.seen
    deep = _trained(DEEP, "pwlu", home)
    return {
        "task": TASK,
        "deep_task": DEEP,
        "shapes": everywhere.files[SHAPES]["sites"],
        "boundary": boundary,
        "deep": [{key: site[key] for key in LIKE} for site in deep.files[SHAPES]["sites"]],
        "switches": {
            name: _last_switches(_trained(TASK, name, home), images)
            for name in ("acon_c", "meta_acon")
        },
    }


class _Keeping(LocalAttempt):
    """Keeps the files of a training."""

    def upload(self, name: str, data: bytes) -> None:
        super().upload(name, data)
        self.files: dict[str, Any] = getattr(self, "files", {})
        self.files[name] = json.loads(data) if name.endswith(".json") else data


class _Watched:
    """The switch of phases, with what PWLU's bounds and inputs are there."""

    def __init__(self, switch: Any, images: Tensor) -> None:
        self._switch = switch
        self._images = images
        self.seen: list[dict[str, Any]] = []

    def __call__(self, model: nn.Module, optimizer: Optimizer) -> None:
        inputs = _inputs(model, PWLU, self._images)
        before = _bounds(model)
        self._switch(model, optimizer)
        after = _bounds(model)
        self.seen = [
            {"site": site, **_middle(inputs[site], before[site], after[site])} for site in before
        ]


def _middle(inputs: Tensor, before: Tensor, after: Tensor) -> dict[str, Any]:
    """Return bounds and inputs of the channel whose new bounds are as wide as the median."""
    channel = int((after[:, 1] - after[:, 0]).median(dim=0).indices)
    low, high = (float(end) for end in torch.stack((before[channel], after[channel])).aminmax())
    reach = max(abs(low), abs(high)) * 1.2
    counts = torch.histc(inputs[:, channel].flatten(), BINS, -reach, reach)
    return {
        "channel": channel,
        "before": before[channel].tolist(),
        "after": after[channel].tolist(),
        "reach": reach,
        "histogram": (counts / inputs[:, channel].numel()).tolist(),
    }


def _bounds(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: torch.stack((module.left, module.right), 1).detach()
        for name, module in model.named_modules()
        if isinstance(module, PWLU)
    }


@torch.no_grad()
def _inputs(model: nn.Module, kind: type[nn.Module], images: Tensor) -> dict[str, Tensor]:
    """Return what each module of a kind gets when the model evaluates images."""
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, args, name=name: seen.__setitem__(name, args[0].clone())
        )
        for name, module in model.named_modules()
        if isinstance(module, kind)
    ]
    model.eval()
    model(images)
    model.train()
    for hook in hooks:
        hook.remove()
    return seen


def _images(home: Path) -> Tensor:
    root = Path(os.environ["ACTSEARCH_DATA_ROOT"])
    return prepare(TASK, root, cache=home / "cache").validation.examples()


def _trained(task: Mapping[str, Any], name: str, home: Path) -> "_Keeping":
    plan = sites_of(task, home)
    candidate = _everywhere(plan, name)
    attempt = judge(task, candidate, plan.fingerprint, 0, home, _Keeping)
    assert isinstance(attempt, _Keeping)
    return attempt


def _everywhere(plan: SitePlan, name: str) -> Candidate:
    return Candidate({site.id: ActivationSpec(name) for site in plan.sites}, Training())


@torch.no_grad()
def _last_switches(trained: _Keeping, images: Tensor) -> list[list[float]]:
    """Return beta of every channel in the last block for seven images, or for all of them."""
    root = Path(os.environ["ACTSEARCH_DATA_ROOT"])
    network = prepare(TASK, root, cache=trained.directory / "cache").network
    candidate = trained.assignment.candidate
    assert candidate is not None
    apply(network, candidate, images)
    network.load_state_dict(load(trained.files[WEIGHTS]))
    kind = MetaAcon if any(isinstance(m, MetaAcon) for m in network.modules()) else AconC
    *_, (site, last) = [item for item in network.named_modules() if isinstance(item[1], kind)]
    if isinstance(last, AconC):
        return [last.beta.tolist()]
    network.eval()
    inputs = _inputs(network, MetaAcon, images[:SAMPLES])[site]
    switches: list[list[float]] = last.switch(inputs).tolist()
    return switches


def _rounded(data: Any) -> Any:
    """Return data with its numbers to four digits."""
    match data:
        case float():
            return float(f"{data:.4g}")
        case Mapping():
            return {key: _rounded(value) for key, value in data.items()}
        case list() | tuple():
            return [_rounded(value) for value in data]
    return data


if __name__ == "__main__":
    main()
