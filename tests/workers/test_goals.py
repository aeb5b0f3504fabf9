"""Losses and metrics."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from workers.training.batches import Batches
from workers.training.evaluation import evaluate
from workers.training.goals import Goal, classification, reconstruction, segmentation

ZERO, ONE = torch.tensor(0.0), torch.tensor(1.0)


def judged(outputs: torch.Tensor, targets: torch.Tensor, goal: Goal) -> dict[str, float]:
    """Evaluate a network that answers what it is shown."""
    return evaluate(nn.Identity(), Batches(outputs, targets, ZERO, ONE), None, goal)


def test_accuracy_and_loss_are_means_over_all_samples() -> None:
    outputs, targets = torch.randn(300, 5), torch.randint(0, 5, (300,))
    found = judged(outputs, targets, classification(label_smoothing=0.3))
    assert found["accuracy"] == int((outputs.argmax(1) == targets).sum()) / 300
    assert math.isclose(found["loss"], F.cross_entropy(outputs, targets).item(), rel_tol=1e-5)


def test_label_smoothing_is_part_of_the_loss_that_is_trained_on() -> None:
    outputs, targets = torch.randn(8, 5), torch.randint(0, 5, (8,))
    expected = F.cross_entropy(outputs, targets, label_smoothing=0.2)
    assert torch.equal(classification(0.2).loss(outputs, targets), expected)


def test_mean_iou_is_over_the_classes_that_occur() -> None:
    truth = torch.tensor([[[0, 0, 1, 1]], [[0, 0, 0, 1]]])
    answer = torch.tensor([[[0, 1, 1, 1]], [[0, 0, 0, 0]]])
    outputs = F.one_hot(answer, 4).permute(0, 3, 1, 2).float()
    found = judged(outputs, truth, segmentation(4))
    # Class 0: 4 of 6 pixels agreed on; class 1: 2 of 4; classes 2 and 3 occur nowhere.
    assert math.isclose(found["mean_iou"], (4 / 6 + 2 / 4) / 2)
    assert math.isclose(found["pixel_accuracy"], 6 / 8)
    loss = F.cross_entropy(outputs, truth)
    assert math.isclose(found["loss"], loss.item(), rel_tol=1e-6)
    torch.testing.assert_close(segmentation(4).loss(outputs, truth), loss)


def test_psnr_is_in_decibels_of_a_range_of_two() -> None:
    targets = torch.rand(200, 3) * 2 - 1
    found = judged(targets + 0.02, targets, reconstruction())
    assert math.isclose(found["psnr"], 20 * math.log10(2 / 0.02), rel_tol=1e-4)
    assert math.isfinite(judged(targets, targets, reconstruction())["psnr"])


def test_an_evaluation_leaves_the_network_in_the_mode_it_was_in() -> None:
    model = nn.Sequential(nn.Dropout(0.5))
    data = Batches(torch.randn(4, 2), torch.zeros(4, dtype=torch.int64), ZERO, ONE)
    evaluate(model.eval(), data)
    assert not model.training
    evaluate(model.train(), data)
    assert model[0].training
