"""How a network is trained, as plain data: a worker tells it without loading torch."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Recipe:
    """Optimizer, rate, decay and schedule of a network on a task.

    Attributes:
        learning_rate: The highest of the training.
        optimizer: `sgd` is with Nesterov momentum.
        momentum: Of SGD; AdamW has its usual 0.9 and 0.999.
        schedule: `cosine` falls from the rate to zero along a cosine; `one_cycle` falls along a
            line. Both first rise along a line during `warm_up`.
        warm_up: Share of all steps.
        label_smoothing: Share of the target that is spread over all classes.
        clip: Largest norm of the gradient of all parameters; None: any.
        average: Decay per step of the running average of the weights that is evaluated and
            stored in place of the last ones; None: the last ones.
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
    """What is done to training images that leaves their classes what they are.

    Attributes:
        shift: Every image is moved by up to so many pixels each way; what moves in is reflected.
        mirror: Half of the images are mirrored in one epoch, and the other half in the next.
        cutout: Side in pixels of a square at a random place that is set to the mean colour.
    """

    shift: int = 0
    mirror: bool = False
    cutout: int = 0
