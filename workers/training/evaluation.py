"""How good a network is on data that it was not trained on."""

import torch
from torch import nn

from workers.training.batches import Data
from workers.training.goals import Goal, classification
from workers.training.precision import Precision

# Faster on a CPU than larger ones, whose activations leave the cache.
_CPU_BATCH, _GPU_BATCH = 128, 1024


@torch.no_grad()
def evaluate(
    model: nn.Module,
    data: Data,
    precision: Precision | None = None,
    goal: Goal | None = None,
    *,
    parts: int = 1,
) -> dict[str, float]:
    """Return the goal's metrics: for a classification, accuracy (a fraction) and mean loss.

    Args:
        parts: Batches are so many times smaller, where memory is short.
    """
    precision = precision or Precision(data.device)
    goal = goal or classification()
    batch_size = (_CPU_BATCH if data.device.type == "cpu" else _GPU_BATCH) // parts or 1
    training = model.training
    model.eval()
    total = torch.zeros((), device=data.device)
    for x, targets in data.ordered(batch_size):
        with precision.autocast():
            outputs = model(x)
        total = total + goal.sums(outputs.float(), targets)
    model.train(training)
    return goal.metrics(total.tolist())
