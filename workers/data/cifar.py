"""CIFAR-10 and CIFAR-100, in each of their published file layouts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workers.data import parquet, pickles
from workers.data.images import Images, Split, with_validation
from workers.errors import BadData, DataMissing

_PIXELS = 3 * 32 * 32


@dataclass(frozen=True, slots=True)
class Cifar:
    """One of the two data sets, with the names of its files.

    Attributes:
        pickled: Names of the training files and of the test file of the Python version.
        binary: Likewise of the binary version.
        label: Key of the labels in the Python version.
        columns: Names that the column of labels has in parquet files.
        label_bytes: Bytes before each image in the binary version; the last is the label.
    """

    name: str
    pickled: tuple[Sequence[str], str]
    binary: tuple[Sequence[str], str]
    label: str
    columns: Sequence[str]
    label_bytes: int

    def files(self, data_root: Path) -> list[Path]:
        """Return the files of the first layout that is complete; the test files are last.

        Raises:
            DataMissing: If no layout is complete.
        """
        looked_for: list[Path] = []
        for names, suffix in ((self.pickled, "py"), (self.binary, "bin")):
            for folder in self._folders(data_root, suffix):
                paths = [folder / name for name in (*names[0], names[1])]
                if all(path.is_file() for path in paths):
                    return paths
                looked_for.append(paths[0])
        for folder in self._parquet_folders(data_root):
            train, test = (sorted(folder.glob(f"{part}*.parquet")) for part in ("train", "test"))
            if train and test:
                return [*train, *test]
        looked_for.append(data_root / f"{self.name}*" / "train-*.parquet")
        raise DataMissing(self.name, looked_for)

    def _parquet_folders(self, data_root: Path) -> list[Path]:
        # `cifar10*` alone would also match the folders of cifar100.
        tops = [*sorted(data_root.glob(f"{self.name}[!0-9]*")), data_root / self.name]
        return [*(inner for top in tops for inner in sorted(top.glob("*/"))), *tops]

    def load(self, paths: Sequence[Path]) -> Images:
        test = [path for path in paths if path.name.startswith("test")]
        train = [path for path in paths if path not in test]
        return with_validation(self._read(train), self._read(test))

    def _folders(self, data_root: Path, suffix: str) -> list[Path]:
        ten, hundred = f"cifar-10-batches-{suffix}", f"cifar-100-{_LONG[suffix]}"
        folder = ten if self.name == "cifar10" else hundred
        return [data_root / folder, data_root / self.name / folder]

    def _read(self, paths: Sequence[Path]) -> Split:
        match paths[0].suffix:
            case ".parquet":
                return parquet.read(paths, self.columns)
            case ".bin":
                return _joined([self._binary(path) for path in paths])
        return _joined([pickles.read(path, self.label) for path in paths])

    def _binary(self, path: Path) -> Split:
        data = np.fromfile(path, dtype=np.uint8)
        if data.size == 0 or data.size % (self.label_bytes + _PIXELS):
            row = self.label_bytes + _PIXELS
            raise BadData(path, f"has {data.size} bytes, which is no multiple of {row}")
        rows = data.reshape(-1, self.label_bytes + _PIXELS)
        labels = rows[:, self.label_bytes - 1].astype(np.int64)
        return Split(rows[:, self.label_bytes :].reshape(-1, 3, 32, 32), labels)


def _joined(splits: Sequence[Split]) -> Split:
    images = np.concatenate([split.images for split in splits])
    return Split(images, np.concatenate([split.labels for split in splits]))


_LONG = {"py": "python", "bin": "binary"}
_FIVE = range(1, 6)

CIFAR10 = Cifar(
    "cifar10",
    pickled=([f"data_batch_{i}" for i in _FIVE], "test_batch"),
    binary=([f"data_batch_{i}.bin" for i in _FIVE], "test_batch.bin"),
    label="labels",
    columns=("label",),
    label_bytes=1,
)
CIFAR100 = Cifar(
    "cifar100",
    pickled=(["train"], "test"),
    binary=(["train.bin"], "test.bin"),
    label="fine_labels",
    columns=("fine_label", "label"),
    label_bytes=2,
)
