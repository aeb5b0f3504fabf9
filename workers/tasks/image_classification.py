"""Image classification, on known data sets and folders of images."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workers.data.registry import DATASETS
from workers.networks.registry import CLASSIFIERS
from workers.tasks.base import FunctionTask
from workers.tasks.classification import Classification, Prepared

_CLASSIFICATION = Classification(
    name="image-classification",
    description="Classify small images; choices are made on a tenth of the training data.",
    datasets=DATASETS,
    networks=CLASSIFIERS,
    epochs=8,
    images=True,
)
run = _CLASSIFICATION.run

TASK = FunctionTask(_CLASSIFICATION.offer, "workers.tasks.image_classification:run")


def prepare(
    task: Mapping[str, Any],
    data_root: str | Path,
    *,
    cache: Path | None = None,
    with_test: bool = False,
    loaders: int = 0,
) -> Prepared:
    """Return the untrained network, the data and the recipe of an image classification.

    Network and data are on the GPU that this process may use, else on the CPU.

    Args:
        task: The settings of the task: `dataset`, `network` and others, as in the `task` of a
            search or of the config that it found.
        data_root: Folder of the data sets. Data sets that are generated need none.
        cache: Folder for decoded data; None: `~/.cache/actsearch`.
        with_test: Whether to load the test data. Use them for a final result only, and for no
            choice.
        loaders: Number of processes that decode the images of a folder during the training.

    Raises:
        DataMissing: If the data set is not there; the message names the paths.
        UnknownNetwork: If a library has no network of that name.
    """
    return _CLASSIFICATION.prepare(
        task, data_root, cache=cache, with_test=with_test, loaders=loaders
    )
