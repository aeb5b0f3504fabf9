"""Implicit images: a network from the coordinates of a pixel to its colour, for one picture."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from search_space.contract import TaskOffer
from workers.networks.registry import COORDINATE_NETWORKS
from workers.tasks.base import FunctionTask, Place
from workers.tasks.settings import COMPILED, DETERMINISTIC, count, schema, with_defaults

if TYPE_CHECKING:
    from workers.handle.protocol import Trial

_SETTINGS = schema(
    {
        "image": {
            "description": "images/NAME.png under the data root, or zone-plate, which is generated",
            "type": "string",
            "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]*$",
            "default": "zone-plate",
        },
        "network": {"enum": sorted(COORDINATE_NETWORKS), "default": "siren"},
        "image_size": count(128, most=4096, description="side in pixels that it is scaled to"),
        "epochs": count(60, most=100_000),
        "batch_size": count(1024, most=2**24, description="pixels in a step"),
        "compiled": COMPILED,
        "deterministic": DETERMINISTIC,
    }
)

OFFER = TaskOffer(
    name="implicit-image",
    description="Fit a picture by its coordinates; judged by pixels that were not shown.",
    settings=_SETTINGS,
    metrics={
        # In decibels.
        "validation_psnr": "maximize",
        "validation_loss": "minimize",
        "train_loss": "minimize",
    },
    recipes={name: asdict(network.recipe) for name, network in COORDINATE_NETWORKS.items()},
)

TASK = FunctionTask(OFFER, "workers.tasks.implicit_image:run")


def run(trial: "Trial", settings: dict[str, Any], place: Place) -> None:
    """Train one trial, or inspect its network."""
    from workers.data.picture import load, on_device
    from workers.data.tensors import pick_device
    from workers.handle.seeds import make_deterministic
    from workers.training.goals import reconstruction
    from workers.training.loop import train

    settings = with_defaults(_SETTINGS, settings)
    if settings["deterministic"]:
        make_deterministic()
    device = pick_device()
    colours = load(place.data_root, settings["image"], settings["image_size"])
    data, validation, test = on_device(colours, device)
    network = COORDINATE_NETWORKS[settings["network"]]
    train(
        trial,
        network.build(2, 3, settings["image_size"]).to(device),
        data,
        validation,
        network.recipe,
        epochs=settings["epochs"],
        batch_size=settings["batch_size"],
        goal=reconstruction(),
        test=test if trial.is_confirmation else None,
        compiled=settings["compiled"],
    )
