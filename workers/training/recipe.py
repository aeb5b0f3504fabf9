"""How a network is trained, as plain data, which a worker offers without loading torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Recipe:
    """Optimizer, learning rate, weight decay and schedule of a network on a task.

    Attributes:
        learning_rate: The highest one of the training.
        optimizer: `sgd` has Nesterov momentum.
        momentum: Of SGD; AdamW has the betas 0.9 and 0.999.
        schedule: `cosine` falls from the rate to zero along a cosine; `one_cycle` falls along a
            line. Both first rise along a line during `warm_up`.
        warm_up: Fraction of all steps.
        label_smoothing: Fraction of the target that is spread over all classes.
        clip: Largest norm of the gradient of all parameters; None: no limit.
        average: Decay per step of the weight average that is evaluated and stored instead of the
            last weights; None: the last weights are.
    """

    learning_rate: float
    weight_decay: float = 0.0
    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9
    schedule: Literal["cosine", "one_cycle"] = "cosine"
    warm_up: float = 0.0
    label_smoothing: float = 0.0
    clip: float | None = None
    average: float | None = None


@dataclass(frozen=True, slots=True)
class Augmentation:
    """Random changes of training images that do not change their classes.

    Attributes:
        shift: Every image is shifted by up to so many pixels in each direction; the missing
            pixels are reflected ones.
        mirror: Half of the images are mirrored in one epoch, and the other half in the next.
        cutout: Side in pixels of a square at a random place that is set to the mean colour.
    """

    shift: int = 0
    mirror: bool = False
    cutout: int = 0
