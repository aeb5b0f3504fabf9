"""Classification of series of numbers: MNIST-1D, which trains in seconds on any machine."""

from workers.data.registry import SERIES
from workers.networks.registry import SERIES_CLASSIFIERS
from workers.tasks.base import FunctionTask
from workers.tasks.classification import Classification

_CLASSIFICATION = Classification(
    name="sequence-classification",
    description="Classify series; choices are made on validation data alone.",
    datasets=SERIES,
    networks=SERIES_CLASSIFIERS,
    epochs=15,
)
prepare = _CLASSIFICATION.prepare
run = _CLASSIFICATION.run

TASK = FunctionTask(_CLASSIFICATION.offer, "workers.tasks.sequence_classification:run")
