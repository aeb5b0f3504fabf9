"""Image classification, on known data sets and folders of images."""

from workers.data.registry import DATASETS
from workers.networks.registry import CLASSIFIERS
from workers.tasks.base import FunctionTask
from workers.tasks.classification import Classification

_CLASSIFICATION = Classification(
    name="image-classification",
    description="Classify small images; choices are made on a tenth of the training data.",
    datasets=DATASETS,
    networks=CLASSIFIERS,
    epochs=8,
    images=True,
)
prepare = _CLASSIFICATION.prepare
run = _CLASSIFICATION.run

TASK = FunctionTask(_CLASSIFICATION.offer, "workers.tasks.image_classification:run")
