"""Evaluation of a network on data that it was not trained on."""

import torch
from torch import nn

from workers.training.batches import Data
from workers.training.goals import Goal, classification
from workers.training.precision import Precision

# Larger batches are slower on a CPU: their activations do not fit into its cache.
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
    """Evaluate a network on a split of a data set.

    The network is in evaluation meanwhile, and afterwards in the mode that it had before.

    Args:
        model: On the device of the data.
        data: For example `prepare(...).test`.
        precision: The number format; None: full precision on a CPU, half precision on a GPU.
        goal: Which metrics to compute; None: those of a classification.
        parts: Batches are so many times smaller, to save memory.

    Returns:
        The goal's metrics by name: for a classification `accuracy`, a fraction from 0 to 1, and
        `loss`, the mean cross entropy.
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
