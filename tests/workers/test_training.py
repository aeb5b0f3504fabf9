"""The built-in loop."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from workers.errors import Diverged
from workers.networks.registry import NETWORKS
from workers.recipe import Recipe
from workers.tasks import image_classification
from workers.tasks.base import Place
from workers.training import Batches, shifted_and_mirrored, train
from workers.trial import Outside

RECIPE = Recipe(learning_rate=0.1, weight_decay=5e-4)


class Watched(Outside):
    """A handle that keeps what it is told."""

    def __init__(self) -> None:
        self.reports: list[dict[str, float]] = []

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
    with pytest.raises(Diverged, match="train_loss is nan after epoch 1"):
        run(Broken(), batches(16))


@pytest.mark.parametrize(("images", "batch_size"), [(16, 8), (19, 8), (5, 8)])
def test_any_number_of_images_can_be_trained_on(images: int, batch_size: int) -> None:
    model = NETWORKS["small-cnn"].build(1, 10, 8)
    handle = run(model, batches(images), batch_size=batch_size, augmented=True)
    assert len(handle.reports) == 2


def test_augmented_images_are_shifted_by_at_most_four_pixels_or_mirrored() -> None:
    torch.manual_seed(0)
    # Every pixel has its own value, column in the units and row in the tens.
    image = (torch.arange(10)[:, None] * 10 + torch.arange(10)).to(torch.uint8)
    made = shifted_and_mirrored(image.repeat(64, 1, 1, 1))
    middle = made[:, 0, 5, 5]
    assert made.shape == (64, 1, 10, 10)
    assert len(middle.unique()) > 20
    steps = made[:, 0, 5, 6] - middle
    assert {-1.0, 1.0} <= set(steps.tolist())
    rows = middle // 10
    assert rows.min() >= 1
    assert rows.max() <= 9
