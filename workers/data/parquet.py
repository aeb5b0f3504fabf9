"""CIFAR as parquet files of encoded images, the layout of its Hugging Face copies."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from workers.data.images import Pixels, Split
from workers.errors import BadData

_IMAGE = ("img", "image")


def read(paths: Sequence[Path], labels: Sequence[str]) -> Split:
    """Return the images and labels in all of the files.

    Args:
        labels: Possible names of the column of labels; the first one that exists is used.
    """
    import pyarrow.parquet

    images: list[Pixels] = []
    found: list[int] = []
    for path in paths:
        try:
            table = pyarrow.parquet.read_table(path)
        except pyarrow.ArrowException as error:
            raise BadData(path, f"is no parquet file: {error}") from error
        image, label = (_column(path, table.column_names, names) for names in (_IMAGE, labels))
        images += [_decode(row["bytes"]) for row in table.column(image).to_pylist()]
        found += table.column(label).to_pylist()
    return Split(np.stack(images), np.array(found, dtype=np.int64))


def _column(path: Path, there: Sequence[str], names: Sequence[str]) -> str:
    for name in names:
        if name in there:
            return name
    raise BadData(path, f"needs a column {' or '.join(names)}, has {', '.join(there)}")


def _decode(encoded: bytes) -> Pixels:
    """Return one image as `(3, H, W)`."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8).transpose(2, 0, 1)
