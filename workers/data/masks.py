"""The user's own images with a class for every pixel.

DATA_ROOT/NAME/images/*.png, and DATA_ROOT/NAME/masks/*.png with the same names. The values of a
mask are the numbers of the classes.
"""

from pathlib import Path
from typing import Any

import numpy as np

from workers.data.folder import SUFFIXES, decode
from workers.data.images import Images, Split, fixed_order
from workers.errors import BadData, DataMissing

_SHARE = 0.1


def files(data_root: Path, name: str) -> list[tuple[Path, Path]]:
    """Return images with their masks. Raises `DataMissing` or `BadData`."""
    images, masks = data_root / name / "images", data_root / name / "masks"
    found = sorted(p for p in images.glob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise DataMissing(f"folder:{name}", [images / "*.png"])
    pairs = [(path, masks / f"{path.stem}.png") for path in found]
    for _, mask in pairs:
        if not mask.is_file():
            raise BadData(mask, "is missing: every image needs a mask of its name")
    if len(pairs) * _SHARE < 1:
        raise BadData(images, f"has {len(pairs)} images; at least 10 are needed")
    return pairs


def load(pairs: list[tuple[Path, Path]], size: int) -> Images:
    """Return all images, scaled to one size; a fixed tenth each is for validation and testing."""
    images = np.stack([decode(image, size) for image, _ in pairs])
    classes = np.stack([_classes(mask, size) for _, mask in pairs]).astype(np.int64)
    everything, order = Split(images, classes), fixed_order(len(pairs))
    part = round(len(pairs) * _SHARE)
    return Images(
        everything.take(order[2 * part :]),
        everything.take(order[:part]),
        everything.take(order[part : 2 * part]),
    )


def _classes(path: Path, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as mask:
            if mask.mode not in ("L", "P", "1"):
                raise BadData(path, f"needs one number for each pixel, has mode {mask.mode}")
            fitted = ImageOps.fit(mask, (size, size), method=Image.Resampling.NEAREST)
    except (UnidentifiedImageError, OSError) as error:
        raise BadData(path, f"is not an image that can be read: {error}") from error
    return np.array(fitted, dtype=np.uint8)
