"""Data sets in the idx format of MNIST, in the folders that torchvision makes."""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workers.data.images import Images, Split, with_validation
from workers.errors import BadData, DataMissing

_UNSIGNED_BYTES = 8
_PARTS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def files(name: str, folder: Path) -> list[Path]:
    """Return the four files, plain or compressed. Raises `DataMissing`."""
    found = []
    for part in _PARTS:
        candidates = [folder / "raw" / part, folder / "raw" / f"{part}.gz"]
        existing = [path for path in candidates if path.is_file()]
        if not existing:
            raise DataMissing(name, candidates)
        found.append(existing[0])
    return found


def load(paths: list[Path]) -> Images:
    train_images, train_labels, test_images, test_labels = (read(path) for path in paths)
    return with_validation(_split(train_images, train_labels), _split(test_images, test_labels))


def read(path: Path) -> NDArray[np.uint8]:
    """Return the array in an idx file: magic (0, 0, type, rank), big-endian sizes, bytes."""
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise BadData(path, f"cannot be unpacked: {error}") from error
    if len(data) < 4 or data[:3] != bytes([0, 0, _UNSIGNED_BYTES]):
        raise BadData(path, "is not an idx file of unsigned bytes")
    start = 4 + 4 * data[3]
    shape = np.frombuffer(data[4:start], dtype=">u4").astype(np.int64)
    if len(data) - start != shape.prod():
        raise BadData(path, f"has {len(data) - start} bytes of data, its header says {shape}")
    return np.frombuffer(data, dtype=np.uint8, offset=start).reshape(shape)


def _split(images: NDArray[np.uint8], labels: NDArray[np.uint8]) -> Split:
    return Split(images[:, None], labels.astype(np.int64))
