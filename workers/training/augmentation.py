"""Random changes of training images that do not change their classes.

Random numbers are drawn on the images' device too, so that the host does not wait for it.
"""

import torch
from torch import Tensor

from workers.training.recipe import Augmentation


def moved(images: Tensor, how: Augmentation, numbers: Tensor) -> Tensor:
    """Return images as bytes `(N, C, H, W)`, each shifted at random and possibly mirrored.

    By indexing: nothing is padded or converted, and the memory format stays.

    Args:
        numbers: `(N,)`; images with odd ones are mirrored. Pass the number of an image plus that
            of the epoch, and each image alternates between both. With a random choice in each
            epoch, half of the images would be as in the epoch before.
    """
    if not (how.shift or how.mirror):
        return images
    n, _, height, width = images.shape
    device = images.device
    shifts = torch.randint(-how.shift, how.shift + 1, (2, n, 1), device=device)
    rows = _reflected(shifts[0] + torch.arange(height, device=device), height)
    columns = _reflected(shifts[1] + torch.arange(width, device=device), width)
    if how.mirror:
        columns = torch.where(numbers[:, None] % 2 == 1, columns.flip(1), columns)
    sample = torch.arange(n, device=device)[:, None, None]
    channels_last = images.permute(0, 2, 3, 1)
    return channels_last[sample, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def cut_out(x: Tensor, side: int) -> Tensor:
    """Return normalised images `(N, C, H, W)`, each with a square of zeros, the mean colour.

    Its centre is a random pixel, so a part of it may lie outside of the image.
    """
    if side == 0:
        return x
    n, _, height, width = x.shape
    rows, columns = (_far(n, size, side, x.device) for size in (height, width))
    return x * (rows[:, None, :, None] | columns[:, None, None, :])


def _reflected(index: Tensor, size: int) -> Tensor:
    """Return indices outside of [0, size) reflected at the first and the last pixel."""
    index = index.abs()
    return torch.where(index < size, index, 2 * (size - 1) - index).clamp_(0, size - 1)


def _far(n: int, size: int, side: int, device: torch.device) -> Tensor:
    """Return `(n, size)`: which places lie outside of `side` places around a random one."""
    first = torch.randint(size, (n, 1), device=device) - side // 2
    places = torch.arange(size, device=device)
    return (places < first) | (places >= first + side)
