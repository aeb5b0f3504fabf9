"""Data sets from the files that people have."""

import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from workers.data import idx, mnist1d
from workers.data.cache import cached
from workers.data.cifar import Cifar
from workers.data.images import Images, Split, fixed_order, with_validation
from workers.data.registry import DATASETS, SERIES
from workers.data.tensors import on_device
from workers.errors import BadData, DataMissing, NoDiskSpace, TooFewSamples

CPU = torch.device("cpu")


def write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes()
    data = header + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


def write_mnist(folder: Path, suffix: str) -> np.ndarray:
    images = np.random.RandomState(1).randint(0, 256, (40, 5, 5)).astype(np.uint8)
    labels = np.arange(40, dtype=np.uint8) % 10
    for part, count in (("train", 40), ("t10k", 6)):
        write_idx(folder / f"{part}-images-idx3-ubyte{suffix}", images[:count])
        write_idx(folder / f"{part}-labels-idx1-ubyte{suffix}", labels[:count])
    return images


def write_cifar(folder: Path) -> np.ndarray:
    import pyarrow
    import pyarrow.parquet

    images = np.random.RandomState(1).randint(0, 256, (20, 4, 4, 3)).astype(np.uint8)
    folder.mkdir(parents=True)
    for part, rows in (
        ("train-00000-of-00002", images[:12]),
        ("train-00001-of-00002", images[12:]),
        ("test-0", images[:5]),
    ):
        encoded = []
        for row in rows:
            buffer = io.BytesIO()
            Image.fromarray(row).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        table = pyarrow.table({"img": encoded, "label": list(range(len(rows)))})
        pyarrow.parquet.write_table(table, folder / f"{part}.parquet")
    return images


def test_digits_come_with_the_worker(tmp_path: Path) -> None:
    images = DATASETS["digits"].load(tmp_path, tmp_path / "cache")
    assert [len(s) for s in (images.train, images.validation, images.test)] == [1257, 270, 270]
    assert images.train.images.shape == (1257, 1, 8, 8)
    assert images.train.images.max() == 240


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize(
    ("name", "folder"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST")]
)
def test_idx_files_are_read_plain_and_compressed(
    tmp_path: Path, suffix: str, name: str, folder: str
) -> None:
    written = write_mnist(tmp_path / folder / "raw", suffix)
    images = DATASETS[name].load(tmp_path, tmp_path / "cache")
    assert [len(s) for s in (images.train, images.validation, images.test)] == [36, 4, 6]
    order = fixed_order(40)
    np.testing.assert_array_equal(images.validation.images[:, 0], written[order[:4]])
    np.testing.assert_array_equal(images.train.labels, order[4:] % 10)
    np.testing.assert_array_equal(images.test.images[:, 0], written[:6])


def test_parquet_files_are_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_cifar(tmp_path / "cifar10-png" / "plain_text")
    first = DATASETS["cifar10"].load(tmp_path, tmp_path / "cache")
    np.testing.assert_array_equal(first.test.images, written[:5].transpose(0, 3, 1, 2))
    monkeypatch.setattr(Cifar, "load", lambda *_: pytest.fail("it was decoded again"))
    again = DATASETS["cifar10"].load(tmp_path, tmp_path / "cache")
    np.testing.assert_array_equal(again.train.images, first.train.images)
    np.testing.assert_array_equal(again.train.labels, first.train.labels)


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    folder = tmp_path / "MNIST" / "raw"
    write_mnist(folder, "")
    DATASETS["mnist"].load(tmp_path, tmp_path / "cache")
    changed = folder / "t10k-images-idx3-ubyte"
    write_idx(changed, np.zeros((6, 5, 5), dtype=np.uint8))
    os.utime(changed, (1, 1))
    assert DATASETS["mnist"].load(tmp_path, tmp_path / "cache").test.images.max() == 0


@pytest.mark.parametrize("name", sorted(set(DATASETS) - {"digits"}))
def test_missing_files_are_named_with_the_setting(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataMissing) as error:
        DATASETS[name].load(tmp_path, tmp_path / "cache")
    assert str(tmp_path) in str(error.value)
    assert "--data-root (or ACTSEARCH_DATA_ROOT)" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"not an idx file", bytes([0, 0, 8, 1, 0, 0, 0, 9, 1])])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(content)
    with pytest.raises(BadData, match="train-images-idx3-ubyte"):
        idx.read(path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    split = Split(np.zeros((10, 1, 2, 2), np.uint8), np.zeros(10, np.int64))
    with pytest.raises(NoDiskSpace, match="cannot write"):
        cached(tmp_path / "file", "x", "1", lambda: with_validation(split, split))


def images(count: int = 50) -> Images:
    pixels = np.random.RandomState(0).randint(0, 256, (count, 2, 3, 3)).astype(np.uint8)
    split = Split(pixels, np.arange(count, dtype=np.int64))
    return with_validation(split, split)


def test_no_image_is_both_trained_on_and_chosen_by() -> None:
    made = images()
    assert sorted([*made.train.labels, *made.validation.labels]) == list(range(50))


def test_fewer_samples_are_the_first_of_the_same_order() -> None:
    train, validation = on_device(images(), CPU, train_samples=20)
    everything, _ = on_device(images(), CPU, train_samples=None)
    assert (len(train), len(validation), len(everything)) == (20, 5, 45)
    assert torch.equal(train.targets, everything.targets[:20])


def test_training_images_are_normalised() -> None:
    train, _ = on_device(images(), CPU, train_samples=None)
    ((x, _),) = train.ordered(len(train))
    torch.testing.assert_close(x.mean(dim=(0, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(x.var(dim=(0, 2, 3), correction=0), torch.ones(2))


def test_more_samples_than_there_are_is_refused() -> None:
    with pytest.raises(TooFewSamples, match="train_samples: the training split has 45, not 46"):
        on_device(images(), CPU, train_samples=46)


def test_mnist_1d_is_what_the_published_program_generates() -> None:
    series, labels = mnist1d.generate(5_000, mnist1d.PUBLISHED_SEED)
    # Read off the output of mnist1d 0.0.2, `make_dataset()`.
    np.testing.assert_array_equal(labels[:10], [2, 6, 4, 5, 6, 6, 6, 0, 3, 1])
    expected = [-0.33200567, -0.47191037, -0.77869708, -1.00974083, -0.88235257]
    np.testing.assert_allclose(series[0, :5], expected, rtol=0, atol=1e-7)
    assert np.bincount(labels).tolist() == [500] * 10
    assert series[:4_000].mean() == pytest.approx(-0.00032367, abs=1e-7)
    assert series[:4_000].std() == pytest.approx(0.99764797, abs=1e-7)


def test_mnist_1d_comes_from_its_seed() -> None:
    series, _ = mnist1d.generate(100, 1)
    again, _ = mnist1d.generate(100, 1)
    other, _ = mnist1d.generate(100, 2)
    np.testing.assert_array_equal(series, again)
    assert np.abs(series - other).max() > 0.5


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("mnist-1d", (3_600, 400, 1_000)), ("mnist-1d-large", (4_000, 10_000, 10_000))],
)
def test_series_are_split_and_normalised(tmp_path: Path, name: str, sizes: tuple[int, ...]) -> None:
    data = SERIES[name].load(tmp_path, tmp_path / "cache")
    assert tuple(len(s) for s in (data.train, data.validation, data.test)) == sizes
    train, validation = on_device(data, CPU, train_samples=None)
    x = train.normalised(train.inputs)
    assert (x.shape, x.dtype) == ((sizes[0], 1, 40), torch.float32)
    torch.testing.assert_close(x.std(dim=(0, 2), correction=0), torch.ones(1))
    assert set(validation.targets.tolist()) == set(range(10))
