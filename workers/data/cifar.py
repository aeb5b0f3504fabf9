"""CIFAR-10 as parquet files of encoded images, the layout of its Hugging Face copies."""

import io
from pathlib import Path

import numpy as np

from workers.data.images import Images, Pixels, Split, with_validation
from workers.errors import BadData, DataMissing

_NAME = "cifar10"


def files(data_root: Path) -> list[Path]:
    """Return every parquet file of the first folder that has both splits."""
    folders = [*sorted(data_root.glob("cifar10*/plain_text")), *sorted(data_root.glob("cifar10*"))]
    for folder in folders:
        train, test = sorted(folder.glob("train*.parquet")), sorted(folder.glob("test*.parquet"))
        if train and test:
            return [*train, *test]
    place = data_root / "cifar10*" / "plain_text"
    raise DataMissing(_NAME, [place / "train-*.parquet", place / "test-*.parquet"])


def load(paths: list[Path]) -> Images:
    train = [path for path in paths if path.name.startswith("train")]
    test = [path for path in paths if path.name.startswith("test")]
    return with_validation(_read(train), _read(test))


def _read(paths: list[Path]) -> Split:
    import pyarrow.parquet

    images: list[Pixels] = []
    labels: list[int] = []
    for path in paths:
        table = pyarrow.parquet.read_table(path)
        column = "img" if "img" in table.column_names else "image"
        if not {column, "label"} <= set(table.column_names):
            raise BadData(path, f"needs columns img and label, has {table.column_names}")
        images += [_decode(row["bytes"]) for row in table.column(column).to_pylist()]
        labels += table.column("label").to_pylist()
    return Split(np.stack(images), np.array(labels, dtype=np.int64))


def _decode(encoded: bytes) -> Pixels:
    """Return one image as `(3, H, W)`."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8).transpose(2, 0, 1)
