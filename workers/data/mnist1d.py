"""MNIST-1D: ten digits in one dimension, generated as published.

A digit is a series of twelve points. Each sample stretches, scales and shifts it, surrounds it
with smooth noise, adds white noise and a linear trend. To classify the samples, a network needs
nonlinearity and the position of features; small differences between networks become visible.

Source:
    Greydanus and Kobak, *Scaling Down Deep Learning with MNIST-1D*, 2020, section 2.
    https://arxiv.org/abs/2011.14439
"""

import numpy as np
from numpy.typing import NDArray

from workers.data.images import Images, Split, with_validation

Series = NDArray[np.float64]

PUBLISHED_SEED = 42
LENGTH = 40
_PUBLISHED = (4_000, 1_000)
_LARGE = (4_000, 10_000, 10_000)

# The published heights of the digits' points.
_DIGITS = np.array(
    [
        [5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5],
        [5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5],
        [5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5],
        [5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5],
        [5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5],
        [5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5],
        [5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5],
        [5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5],
        [5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5],
    ]
)
_POINTS = _DIGITS.shape[1]
_HEIGHT = 6.0
_PADDING = (36, 60)
_CANVAS = _POINTS + _PADDING[1]
_SCALE = 0.4
_MOVES = 48
_SMOOTH_NOISE, _SMOOTHING = 0.25, 2.0
_WHITE_NOISE = 0.02
_TILT = 0.75
# Distinguishes a point of the digit that is 0 from the empty canvas.
_INK = 1e-8


def load() -> Images:
    """Return the published 4,000 and 1,000 samples; a tenth of the 4,000 is for validation."""
    train, test = _parts(_PUBLISHED, PUBLISHED_SEED)
    return with_validation(train, test)


def load_large() -> Images:
    """Return 4,000 samples for training and 10,000 each for validation and testing.

    These are not the published samples, but generated in the same way. With 25 times as much
    validation data, differences a fifth of the size can be seen.
    """
    train, validation, test = _parts(_LARGE, PUBLISHED_SEED + 1)
    return Images(train, validation, test)


def generate(samples: int, seed: int) -> tuple[Series, NDArray[np.int64]]:
    """Return series `(samples, 40)` of mean 0 and deviation 1 with their labels, in random order.

    Random numbers are drawn in the order of the published program, from the generator that it
    used, so that its seed gives its samples.

    Args:
        samples: A multiple of 10: there are as many of each digit.
    """
    random = np.random.RandomState(seed)
    templates = _templates()
    labels = np.repeat(np.arange(len(templates)), samples // len(templates))
    series = np.stack([_sample(templates[label], random) for label in labels])
    order = random.permutation(len(labels))
    series = series[order]
    normalised: Series = (series - series.mean()) / series.std()
    return normalised, labels[order]


def _parts(sizes: tuple[int, ...], seed: int) -> list[Split]:
    series, labels = generate(sum(sizes), seed)
    everything = Split(series.astype(np.float32)[:, None], labels)
    ends = np.cumsum(sizes)
    return [
        everything.take(np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True)
    ]


def _templates() -> Series:
    """Return the digits with deviation 1, starting at 0, and then a sixth as high."""
    whitened = _DIGITS / _DIGITS.std(axis=1, keepdims=True)
    templates: Series = (whitened - whitened[:, :1]) / _HEIGHT
    return templates


def _sample(template: Series, random: np.random.RandomState) -> Series:
    """Return one series of 40 values made from a digit's twelve points."""
    low, high = _PADDING
    empty = low + int(random.rand() * (high - low + 1))
    # A longer canvas, squeezed to the same length, is a shorter digit.
    digit = _resampled(np.concatenate([template + _INK, np.zeros(empty)]), _CANVAS)
    digit *= 1 + _SCALE * (random.rand() - 0.5)
    digit = np.roll(digit, random.choice(_MOVES))
    smooth = _smoothed(_SMOOTH_NOISE * random.randn(_CANVAS))
    series: Series = np.where(digit != 0, digit, smooth)
    series = series + _WHITE_NOISE * random.randn(_CANVAS)
    tilt = _TILT * (random.rand() - 0.5)
    return _resampled(series - tilt * np.linspace(-0.5, 0.5, _CANVAS), LENGTH)


def _resampled(series: Series, length: int) -> Series:
    """Return the series interpolated at `length` even positions, with the same ends."""
    places = np.linspace(0, 1, length)
    resampled: Series = np.interp(places, np.linspace(0, 1, len(series)), series)
    return resampled


def _smoothed(noise: Series) -> Series:
    from scipy.ndimage import gaussian_filter1d

    smooth: Series = gaussian_filter1d(noise, _SMOOTHING)
    return smooth
