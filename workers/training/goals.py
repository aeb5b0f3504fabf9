"""Goals of trainings: a loss, and the metrics of an evaluation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class Goal:
    """A loss and metrics.

    Attributes:
        loss: From (outputs, targets) to their mean loss.
        sums: From (outputs, targets) of one batch to a vector on their device. An evaluation adds
            these up, and transfers only their sum to the host.
        metrics: From this sum to the metrics, `loss` among them.
    """

    loss: Callable[[Tensor, Tensor], Tensor]
    sums: Callable[[Tensor, Tensor], Tensor]
    metrics: Callable[[Sequence[float]], dict[str, float]]


def classification(label_smoothing: float = 0.0) -> Goal:
    """Return cross entropy, and `accuracy` and `loss`. Outputs `(N, classes)`, targets `(N,)`.

    Args:
        label_smoothing: Only of the training's loss.
    """
    loss = partial(F.cross_entropy, label_smoothing=label_smoothing)
    return Goal(loss, _classified, _classification_metrics)


def segmentation(classes: int) -> Goal:
    """Return cross entropy of pixels, and `mean_iou`, `pixel_accuracy` and `loss`.

    Outputs `(N, classes, H, W)`, targets `(N, H, W)`. Intersection over union is that of all
    images together, its mean over the classes that occur.
    """
    metrics = partial(_segmentation_metrics, classes)
    return Goal(_pixel_loss, partial(_segmented, classes), metrics)


def reconstruction() -> Goal:
    """Return the squared error, and `psnr` in decibels and `loss`. Targets are in [-1, 1]."""
    return Goal(F.mse_loss, _reconstructed, _reconstruction_metrics)


def _classified(outputs: Tensor, targets: Tensor) -> Tensor:
    hits = (outputs.argmax(dim=1) == targets).sum()
    loss = F.cross_entropy(outputs, targets, reduction="sum")
    return torch.stack((hits.float(), loss, torch.full_like(loss, len(targets))))


def _classification_metrics(sums: Sequence[float]) -> dict[str, float]:
    hits, loss, count = sums
    return {"accuracy": hits / count, "loss": loss / count}


def _pixel_loss(outputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
    # As rows of classes: on CUDA, the loss of whole images has no deterministic algorithm.
    rows = outputs.movedim(1, -1).flatten(0, -2)
    return F.cross_entropy(rows, targets.flatten(), reduction=reduction)


def _segmented(classes: int, outputs: Tensor, targets: Tensor) -> Tensor:
    loss = _pixel_loss(outputs, targets, reduction="sum")
    # The confusion matrix: a number for each pair of true and predicted class.
    pairs = (targets * classes + outputs.argmax(dim=1)).flatten()
    zeros = torch.zeros(classes**2, dtype=torch.float64, device=outputs.device)
    table = zeros.scatter_add_(0, pairs, torch.ones_like(pairs, dtype=torch.float64))
    return torch.cat((loss.double()[None], table))


def _segmentation_metrics(classes: int, sums: Sequence[float]) -> dict[str, float]:
    table = torch.tensor(sums[1:], dtype=torch.float64).reshape(classes, classes)
    both = table.diagonal()
    either = table.sum(dim=0) + table.sum(dim=1) - both
    occurs = either > 0
    return {
        "mean_iou": (both[occurs] / either[occurs]).mean().item(),
        "pixel_accuracy": (both.sum() / table.sum()).item(),
        "loss": sums[0] / table.sum().item(),
    }


def _reconstructed(outputs: Tensor, targets: Tensor) -> Tensor:
    error = F.mse_loss(outputs, targets, reduction="sum")
    return torch.stack((error, torch.full_like(error, targets.numel())))


def _reconstruction_metrics(sums: Sequence[float]) -> dict[str, float]:
    error, count = sums
    mean = error / count
    # The range of values is 2 wide, so its square is 4. A perfect image would have infinitely
    # many decibels, which no metric may have.
    return {"psnr": 10 * math.log10(4 / max(mean, _TINY)), "loss": mean}
