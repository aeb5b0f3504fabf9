"""Segmentation: a class for every pixel, of generated shapes or of your own folder."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search_space.contract import TaskOffer
from workers.data.images import Images
from workers.networks.registry import SEGMENTERS
from workers.tasks.base import FunctionTask, Place
from workers.tasks.settings import (
    COMPILED,
    DETERMINISTIC,
    FOLDER,
    FOLDER_PREFIX,
    TRAIN_SAMPLES,
    count,
    name_or,
    schema,
    with_defaults,
)

if TYPE_CHECKING:
    from workers.handle.protocol import Trial

_SETTINGS = schema(
    {
        "dataset": {**name_or(FOLDER, ["shapes"]), "default": "shapes"},
        "network": {"enum": sorted(SEGMENTERS), "default": "unet"},
        "epochs": count(8, most=1000),
        "batch_size": count(16, most=65536),
        "train_samples": TRAIN_SAMPLES,
        "image_size": {
            **count(64, most=1024, description="side in pixels, of images in folders"),
            "multipleOf": 16,
        },
        "compiled": COMPILED,
        "deterministic": DETERMINISTIC,
    }
)

OFFER = TaskOffer(
    name="segmentation",
    description="Tell the class of every pixel; mean intersection over union of the classes.",
    settings=_SETTINGS,
    metrics={
        "validation_mean_iou": "maximize",
        "validation_pixel_accuracy": "maximize",
        "validation_loss": "minimize",
        "train_loss": "minimize",
    },
    recipes={name: asdict(network.recipe) for name, network in SEGMENTERS.items()},
)

TASK = FunctionTask(OFFER, "workers.tasks.segmentation:run")


def run(trial: "Trial", settings: dict[str, Any], place: Place) -> None:
    """Train one trial, or inspect its network."""
    from workers.data.tensors import beside, on_device, pick_device
    from workers.handle.seeds import make_deterministic
    from workers.training.goals import segmentation
    from workers.training.loop import train

    settings = with_defaults(_SETTINGS, settings)
    if settings["deterministic"]:
        make_deterministic()
    images, device = _load(settings, place), pick_device()
    data, validation = on_device(images, device, train_samples=settings["train_samples"])
    # A rare class may be missing from one of the splits.
    parts = images.train, images.validation, images.test
    classes = 1 + max(int(part.labels.max()) for part in parts)
    network = SEGMENTERS[settings["network"]]
    train(
        trial,
        network.build(3, classes, settings["image_size"]).to(device),
        data,
        validation,
        network.recipe,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        goal=segmentation(classes),
        test=beside(images.test, data) if trial.is_confirmation else None,
        compiled=settings["compiled"],
    )


def _load(settings: dict[str, Any], place: Place) -> Images:
    from workers.data import masks, shapes
    from workers.data.cache import cached, identity

    cache: Path = place.home / "cache"
    if settings["dataset"] == "shapes":
        return cached(cache, "shapes", "2", shapes.load)
    name, size = settings["dataset"].removeprefix(FOLDER_PREFIX), settings["image_size"]
    pairs = masks.files(place.data_root, name)
    source = f"{identity([path for pair in pairs for path in pair])} {size}"
    return cached(cache, f"masks-{name}", source, lambda: masks.load(pairs, size))
