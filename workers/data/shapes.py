"""Generated pictures of shapes with a class for every pixel, for segmentation."""

import numpy as np
from numpy.typing import NDArray

from workers.data.images import Images, Split

CLASSES = 4
"""Background, disc, square and triangle."""
SIZE = 64
_COUNTS = (1_200, 300, 300)
_MOST_SHAPES = 5
_RADII = (6.0, 16.0)
_NOISE = 40.0
# Shapes are brighter than the background. Without that, no local feature would distinguish them,
# and a small network learns little else in a few hundred steps.
_DARK, _BRIGHT = (0.0, 100.0), (120.0, 255.0)


def load() -> Images:
    """Return 1,200 pictures to train on, 300 to validate and 300 to test."""
    # RandomState: numpy guarantees its numbers for ever.
    random = np.random.RandomState(0)
    train, validation, test = (_split(count, random) for count in _COUNTS)
    return Images(train, validation, test)


def _split(count: int, random: np.random.RandomState) -> Split:
    pictures = [_picture(random) for _ in range(count)]
    images = np.stack([image for image, _ in pictures])
    return Split(images, np.stack([classes for _, classes in pictures]))


def _picture(random: np.random.RandomState) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return `(3, 64, 64)` and the classes of its pixels; later shapes hide earlier ones.

    Colours do not depend on the class, and noise hides the edges.
    """
    classes = np.zeros((SIZE, SIZE), dtype=np.int64)
    image = np.empty((3, SIZE, SIZE))
    image[:] = random.uniform(*_DARK, (3, 1, 1))
    for _ in range(random.randint(1, _MOST_SHAPES + 1)):
        kind = random.randint(1, CLASSES)
        inside = _inside(kind, random)
        classes[inside] = kind
        image[:, inside] = random.uniform(*_BRIGHT, (3, 1))
    noisy = image + random.normal(0, _NOISE, image.shape)
    return noisy.clip(0, 255).astype(np.uint8), classes


def _inside(kind: int, random: np.random.RandomState) -> NDArray[np.bool_]:
    """Return which pixels lie inside a turned shape of random size at a random place."""
    radius, angle = random.uniform(*_RADII), random.uniform(0, 2 * np.pi)
    y, x = np.mgrid[:SIZE, :SIZE] - random.uniform(0, SIZE, (2, 1, 1))
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    inside: NDArray[np.bool_]
    match kind:
        case 1:
            inside = along**2 + across**2 < radius**2
        case 2:
            inside = np.maximum(abs(along), abs(across)) < radius * 0.8
        case _:
            # Of equal sides: three half planes, each half a radius from the middle.
            slanted = abs(across) * np.sqrt(3) / 2 + along / 2
            inside = (slanted < radius / 2) & (along > -radius / 2)
    return inside
