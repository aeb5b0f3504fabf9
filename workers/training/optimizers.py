"""The optimizer and the learning rate schedule of a recipe."""

import math
from collections.abc import Callable

from torch import nn
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

from workers.handle.protocol import Trial
from workers.training.recipe import Recipe


def make_optimizer(trial: Trial, model: nn.Module, recipe: Recipe) -> Optimizer:
    """Return the recipe's optimizer, with the trial's factors of the learning rate.

    On a GPU it is fused: one kernel for all parameters.
    """
    groups = trial.parameter_groups(
        model, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    fused = all(p.is_cuda for group in groups for p in group["params"])
    if recipe.optimizer == "adamw":
        return AdamW(groups, lr=recipe.learning_rate, fused=fused)
    return SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True, fused=fused
    )


def make_schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LambdaLR:
    """Return the schedule of a training of `steps` steps, to be called once per step."""
    return LambdaLR(optimizer, factor_of(recipe, steps))


def factor_of(recipe: Recipe, steps: int) -> Callable[[int], float]:
    """Return a function from a step to its factor of the highest rate, above 0 at the first."""
    rising = round(recipe.warm_up * steps)
    falling = steps - rising

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / (rising + 1)
        done = min((step - rising) / falling, 1.0)
        return 0.5 * (1 + math.cos(math.pi * done)) if recipe.schedule == "cosine" else 1 - done

    return factor
