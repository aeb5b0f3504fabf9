"""The built-in loop."""

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load
from torch import Tensor, nn

from search_space.contract import CHECKPOINT, WEIGHTS, FailureClass, OutcomeKind, Verdict
from search_space.sites import find_sites
from search_space.spec import ActivationSpec, Candidate, Training
from tests.workers.conftest import Serve
from tests.workers.stub import Stub
from tests.workers.test_data import write_folder, write_masks
from workers.errors import Diverged
from workers.networks.registry import NETWORKS
from workers.tasks import image_classification, implicit_image, segmentation
from workers.tasks.base import Place
from workers.training.batches import Batches
from workers.training.evaluation import evaluate
from workers.training.loop import train
from workers.training.recipe import Augmentation, Recipe
from workers.trial import StandaloneTrial, trial

RECIPE = Recipe(learning_rate=0.1, weight_decay=5e-4)


class Watched(StandaloneTrial):
    """A handle that keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[dict[str, float]] = []
        self.remarks: list[str] = []

    def warn(self, remark: str) -> None:
        self.remarks.append(remark)

    def report(
        self,
        epoch: int,  # noqa: ARG002
        *,
        step_seconds: float | None = None,  # noqa: ARG002
        **metrics: float,
    ) -> None:
        self.reports.append(metrics)


def test_digits_are_learned(tmp_path: Path) -> None:
    torch.manual_seed(0)
    handle = Watched()
    settings = {"dataset": "digits", "network": "small-cnn", "epochs": 4, "batch_size": 32}
    image_classification.run(handle, settings, Place(tmp_path, tmp_path, threads=1))
    assert len(handle.reports) == 4
    assert handle.reports[-1]["validation_accuracy"] > 0.95
    assert handle.reports[-1]["train_loss"] < handle.reports[0]["train_loss"]
    assert handle.reports[-1]["validation_loss"] < 0.2


@pytest.mark.parametrize(
    ("task", "settings", "metric", "least"),
    [
        (implicit_image, {"image_size": 32, "epochs": 8, "batch_size": 64}, "validation_psnr", 13),
        (
            segmentation,
            {"dataset": "folder:cells", "image_size": 16, "epochs": 20, "batch_size": 4},
            "validation_mean_iou",
            0.6,
        ),
        (
            image_classification,
            {
                "dataset": "folder:pets",
                "network": "small-cnn",
                "image_size": 16,
                "epochs": 3,
                "batch_size": 8,
            },
            "validation_accuracy",
            0.9,
        ),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_task_is_learned(
    tmp_path: Path, task: Any, settings: dict[str, Any], metric: str, least: float
) -> None:
    write_masks(tmp_path / "cells")
    write_folder(tmp_path / "pets", "train")
    torch.manual_seed(0)
    handle = Watched()
    task.run(handle, settings, Place(tmp_path, tmp_path, threads=1))
    assert set(task.TASK.offer.metrics) <= set(handle.reports[-1])
    assert handle.reports[-1][metric] > least


def batches(count: int) -> Batches:
    images = torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8)
    one = torch.ones(1, 1, 1)
    return Batches(images, torch.randint(0, 10, (count,)), 128 * one, 64 * one)


def run(model: nn.Module, data: Batches, **settings: Any) -> Watched:
    handle = Watched()
    settings = {"epochs": 2, "batch_size": 8} | settings
    train(handle, model, data, batches(10), RECIPE, **settings)
    return handle


class Broken(nn.Module):
    """A network whose outputs are not numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(math.nan))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :10] * self.weight


def test_a_loss_that_is_not_a_number_ends_the_training() -> None:
    model = nn.Sequential(Broken(), nn.Tanh())
    place = r"train_loss is nan after epoch 1 \(first in the output of 1, at step 1\)"
    with pytest.raises(Diverged, match=place):
        run(model, batches(16))


def test_what_is_wrong_with_a_training_is_remarked_upon() -> None:
    model = NETWORKS["mlp"].build(1, 10, 8)
    with torch.no_grad():
        model.get_parameter("layers.1.bias").fill_(-1e6)
    assert run(model, batches(16)).remarks == [
        "layers.2: 100% of the units are dead: constant over the example batch",
        "layers.4: 100% of the units are dead: constant over the example batch",
    ]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_part_of_a_recipe_takes_part(optimizer: Any) -> None:
    torch.manual_seed(0)
    model = NETWORKS["small-cnn"].build(1, 10, 8)
    recipe = Recipe(
        learning_rate=0.01,
        weight_decay=1e-4,
        optimizer=optimizer,
        schedule="one_cycle",
        warm_up=0.2,
        label_smoothing=0.1,
        clip=1.0,
        average=0.9,
    )
    handle = Watched()
    data = batches(64)
    train(handle, model, data, data, recipe, epochs=8, batch_size=16)
    losses = [report["train_loss"] for report in handle.reports]
    assert losses[-1] < losses[0]
    # The weights that stay are those that were judged last.
    assert evaluate(model, data)["loss"] == pytest.approx(handle.reports[-1]["validation_loss"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:While compiling, we found certain side effects:UserWarning")
def test_a_compiled_training_is_the_same_training() -> None:
    losses = []
    for compiled in (False, True):
        torch.manual_seed(0)
        handle = Watched()
        model = NETWORKS["mlp"].build(1, 10, 8)
        data = batches(64)
        train(handle, model, data, data, RECIPE, epochs=2, batch_size=16, compiled=compiled)
        losses.append(handle.reports[-1]["train_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.gpu
def test_within_an_epoch_nobody_waits_for_the_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    device = torch.device("cuda")
    images = torch.randint(0, 256, (64, 3, 32, 32), dtype=torch.uint8, device=device)
    how = Augmentation(shift=4, mirror=True, cutout=8)
    one = torch.ones(3, 1, 1, device=device)
    labels = torch.randint(0, 10, (64,), device=device)

    class Strict(Batches):
        def epoch(self, epoch: int, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
            # The first steps prepare what lasts: libraries, workspaces, the optimizer's state.
            torch.cuda.set_sync_debug_mode("error" if epoch else "default")
            yield from super().epoch(epoch, batch_size)
            torch.cuda.set_sync_debug_mode("default")

    data = Strict(images, labels, 128 * one, 64 * one, how)
    handle = Watched()
    recipe = Recipe(learning_rate=0.1, clip=1.0, average=0.99)
    model = NETWORKS["resnet20"].build(3, 10, 32).to(device)
    train(handle, model, data, data, recipe, epochs=3, batch_size=16)
    assert len(handle.reports) == 3


@pytest.mark.parametrize(("images", "batch_size"), [(16, 8), (19, 8), (5, 8)])
def test_any_number_of_images_can_be_trained_on(images: int, batch_size: int) -> None:
    model = NETWORKS["small-cnn"].build(1, 10, 8)
    handle = run(model, batches(images), batch_size=batch_size)
    assert len(handle.reports) == 2


class Tight(nn.Module):
    """A network on a device that has no room for more samples at once in training."""

    def __init__(self, model: nn.Module, room: int) -> None:
        super().__init__()
        self.model = model
        self._room = room

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) > self._room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        y: Tensor = self.model(x)
        return y


class FewExamples(Batches):
    def examples(self) -> Tensor:
        return super().examples()[:8]


def test_a_batch_that_did_not_fit_is_trained_on_in_parts_to_the_same_result(
    stub: Stub, serve: Serve
) -> None:
    recipe = Recipe(learning_rate=0.05, average=0.9, clip=1.0, warm_up=0.1)
    data = FewExamples(**vars(batches(75)))

    def work(room: int, **more: Any) -> Any:
        plan = find_sites(Tight(NETWORKS["mlp"].build(1, 10, 8), room), data.examples())
        sites = {
            s.id: ActivationSpec(n) for s, n in zip(plan.sites, ("pwlu", "acon_c"), strict=True)
        }
        given = stub.assignment(
            {"name": "t"}, Candidate(sites, Training()), fingerprint=plan.fingerprint, **more
        )
        serve(given)
        stub.reports.clear()
        with contextlib.suppress(SystemExit, torch.OutOfMemoryError), trial() as handle:
            model = Tight(NETWORKS["mlp"].build(1, 10, 8), room)
            train(handle, model, data, data, recipe, epochs=6, batch_size=15)
        return stub.outcomes[given.lease]

    assert work(room=15).outcome is OutcomeKind.COMPLETED
    whole, curve = load(stub.artifacts.pop(WEIGHTS)), list(stub.reports)
    assert work(room=8).failure is FailureClass.OUT_OF_MEMORY
    again = work(room=8, attempt=2, micro_batches=2)
    assert again.outcome is OutcomeKind.COMPLETED
    assert again.message == "each batch was computed in 2 parts, since memory had run out"
    for name, tensor in load(stub.artifacts[WEIGHTS]).items():
        torch.testing.assert_close(tensor, whole[name], rtol=1e-3, atol=1e-5)
    assert [r.metrics["train_loss"] for r in stub.reports] == pytest.approx(
        [r.metrics["train_loss"] for r in curve], rel=1e-4
    )


def test_our_training_resumes_bit_for_bit(stub: Stub, serve: Serve) -> None:
    recipe = Recipe(learning_rate=0.05, average=0.9, clip=1.0, warm_up=0.1)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    labels, one = torch.randint(0, 10, (64,)), torch.ones(3, 1, 1)
    how = Augmentation(shift=2, mirror=True, cutout=3)
    data = Batches(images, labels, 128 * one, 64 * one, how)

    def work(**more: Any) -> Any:
        plan = find_sites(NETWORKS["small-cnn"].build(3, 10, 8), data.examples())
        names = ("pwlu", "acon_c", "silu")
        sites = {s.id: ActivationSpec(n) for s, n in zip(plan.sites, names, strict=True)}
        given = stub.assignment(
            {"name": "t"}, Candidate(sites, Training()), fingerprint=plan.fingerprint, **more
        )
        serve(given)
        with contextlib.suppress(SystemExit), trial() as handle:
            model = NETWORKS["small-cnn"].build(3, 10, 8)
            train(handle, model, data, data, recipe, epochs=6, batch_size=16)
        return stub.outcomes[given.lease].outcome

    assert work() is OutcomeKind.COMPLETED
    straight = stub.artifacts.pop(WEIGHTS)
    stub.verdicts = {3: Verdict.RELEASE}
    assert work() is OutcomeKind.RELEASED
    stub.verdicts = {}
    assert work(checkpoint=stub.checkpoint(CHECKPOINT), attempt=2) is OutcomeKind.COMPLETED
    assert stub.artifacts[WEIGHTS] == straight
