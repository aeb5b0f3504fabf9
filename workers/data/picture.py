"""One picture as pairs of coordinates and colours."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from workers.data.folder import decode
from workers.data.images import fixed_order
from workers.errors import DataMissing
from workers.training.batches import Batches

GENERATED = "zone-plate"
"""A generated picture of rings that become finer towards the border."""
_HELD_OUT = 0.1


def load(data_root: Path, name: str, size: int) -> Tensor:
    """Return colours `(size, size, 3)` in [-1, 1] of DATA_ROOT/images/NAME.png.

    Raises:
        DataMissing: If there is no such file.
    """
    if name == GENERATED:
        return _zone_plate(size)
    path = data_root / "images" / f"{name}.png"
    if not path.is_file():
        raise DataMissing(name, [path])
    return torch.from_numpy(decode(path, size)).permute(1, 2, 0).float() / 127.5 - 1


def on_device(colours: Tensor, device: torch.device) -> tuple[Batches, Batches, Batches]:
    """Return the pixels for training, and a fixed tenth each for validation and testing.

    Inputs are coordinates `(N, 2)` in [-1, 1], and targets are colours `(N, 3)`. Metrics say how
    well a network predicts pixels that it was not trained on.
    """
    along = torch.linspace(-1, 1, colours.shape[0])
    coordinates = torch.stack(torch.meshgrid(along, along, indexing="ij"), dim=-1).reshape(-1, 2)
    order = torch.from_numpy(fixed_order(len(coordinates)))
    held_out = round(len(order) * _HELD_OUT)
    zero, one = torch.zeros(2, device=device), torch.ones(2, device=device)
    parts = (order[2 * held_out :], order[:held_out], order[held_out : 2 * held_out])
    train, validation, test = (
        Batches(coordinates[part].to(device), colours.reshape(-1, 3)[part].to(device), zero, one)
        for part in parts
    )
    return train, validation, test


def _zone_plate(size: int) -> Tensor:
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    rings = np.cos(10 * (x**2 + y**2))
    return torch.from_numpy(np.stack((rings, -rings, rings * x), axis=-1)).float()
