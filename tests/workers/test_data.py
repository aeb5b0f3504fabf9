"""Data sets from the files that people have."""

import gzip
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from workers.data import folder, idx, masks, mnist1d, parquet, pickles, picture, shapes
from workers.data.cache import cached
from workers.data.cifar import Cifar
from workers.data.images import Images, Split, fixed_order, with_validation
from workers.data.registry import DATASETS, SERIES
from workers.data.tensors import on_device
from workers.errors import BadData, DataMissing, NoDiskSpace, TooFewSamples
from workers.training.recipe import Augmentation

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


@pytest.mark.parametrize("content", [b"", b"not packed", gzip.compress(b"half", mtime=0)[:-4]])
def test_a_packed_file_that_is_cut_short_or_none_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(BadData, match=r"idx3-ubyte\.gz: "):
        idx.read(path)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    path = tmp_path / "train-0.parquet"
    path.write_bytes(b"half a file")
    with pytest.raises(BadData, match=r"train-0\.parquet: is no parquet file"):
        parquet.read([path], ["label"])


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
    ((x, _),) = train.ordered(len(train))
    assert (x.shape, x.dtype) == ((sizes[0], 1, 40), torch.float32)
    torch.testing.assert_close(x.std(dim=(0, 2), correction=0), torch.ones(1))
    assert set(validation.targets.tolist()) == set(range(10))


IMAGES_OF_CIFAR = np.random.RandomState(1).randint(0, 256, (60, 3, 32, 32)).astype(np.uint8)


def in_pickles(root: Path, name: str) -> None:
    """Write CIFAR as its authors did, with Python 2's bytes as keys."""
    ten = name == "cifar10"
    folder = root / ("cifar-10-batches-py" if ten else "cifar-100-python")
    folder.mkdir()
    files = [f"data_batch_{i}" for i in range(1, 6)] if ten else ["train"]
    rows = np.array_split(np.arange(50), len(files))
    test = "test_batch" if ten else "test"
    for file, part in zip([*files, test], [*rows, np.arange(50, 60)], strict=True):
        labels = {(b"labels" if ten else b"fine_labels"): [int(i) % 10 for i in part]}
        content = {b"data": IMAGES_OF_CIFAR[part].reshape(len(part), -1), **labels}
        (folder / file).write_bytes(pickle.dumps(content, protocol=2))


def in_binary(root: Path, name: str) -> None:
    ten = name == "cifar10"
    folder = root / ("cifar-10-batches-bin" if ten else "cifar-100-binary")
    folder.mkdir()
    files = [f"data_batch_{i}.bin" for i in range(1, 6)] if ten else ["train.bin"]
    rows = np.array_split(np.arange(50), len(files))
    test = "test_batch.bin" if ten else "test.bin"
    for file, part in zip([*files, test], [*rows, np.arange(50, 60)], strict=True):
        labels = (part % 10).astype(np.uint8)[:, None]
        coarse = [] if ten else [labels * 0 + 99]
        table = np.concatenate([*coarse, labels, IMAGES_OF_CIFAR[part].reshape(len(part), -1)], 1)
        (folder / file).write_bytes(table.tobytes())


def in_parquet(root: Path, name: str) -> None:
    import pyarrow
    import pyarrow.parquet

    folder = root / f"{name}-png" / "plain"
    folder.mkdir(parents=True)
    for file, part in (("train-0", np.arange(50)), ("test-0", np.arange(50, 60))):
        encoded = []
        for image in IMAGES_OF_CIFAR[part]:
            buffer = io.BytesIO()
            Image.fromarray(image.transpose(1, 2, 0)).save(buffer, "PNG")
            encoded.append({"bytes": buffer.getvalue(), "path": None})
        label = {"label" if name == "cifar10" else "fine_label": [int(i) % 10 for i in part]}
        table = pyarrow.table({"img": encoded, **label})
        pyarrow.parquet.write_table(table, folder / f"{file}.parquet")


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("write", [in_pickles, in_binary, in_parquet])
def test_cifar_is_the_same_in_every_layout(
    tmp_path: Path, write: Callable[[Path, str], None], name: str
) -> None:
    write(tmp_path, name)
    found = DATASETS[name].load(tmp_path, tmp_path / "cache")
    assert [len(s) for s in (found.train, found.validation, found.test)] == [45, 5, 10]
    order = fixed_order(50)
    np.testing.assert_array_equal(found.train.images, IMAGES_OF_CIFAR[order[5:]])
    np.testing.assert_array_equal(found.train.labels, order[5:] % 10)
    np.testing.assert_array_equal(found.test.images, IMAGES_OF_CIFAR[50:])
    # The one is not taken for the other.
    other = "cifar100" if name == "cifar10" else "cifar10"
    with pytest.raises(DataMissing):
        DATASETS[other].load(tmp_path, tmp_path / "cache")


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps(Evil()), "it names posix.system"),
        (pickle.dumps({b"data": np.array([Evil()], dtype=object)}), "it names posix.system"),
        (b"", "is not a pickle of CIFAR"),
        (pickle.dumps([1]), "holds a list, not a dict"),
        (pickle.dumps({b"data": np.zeros((2, 7), np.uint8)}), r"shape \(N, 3072\)"),
        (
            pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [1]}),
            "`labels`: a list of 2 labels",
        ),
    ],
)
def test_a_pickle_runs_nothing_and_is_refused_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(BadData, match=f"data_batch_1: .*{reason}"):
        pickles.read(tmp_path / "data_batch_1", "labels")
    assert not (tmp_path / "harmed").exists()


def test_a_binary_file_that_was_cut_is_refused(tmp_path: Path) -> None:
    in_binary(tmp_path, "cifar10")
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BadData, match=r"data_batch_3\.bin: has .* no multiple of 3073"):
        DATASETS["cifar10"].load(tmp_path, tmp_path / "cache")


def write_folder(root: Path, *parts: str, count: int = 20) -> None:
    """Write images of two classes; the first pixel of each is its number."""
    for part in parts:
        for label, name in enumerate(("cats", "dogs")):
            (root / part / name).mkdir(parents=True)
            for i in range(count):
                image = np.full((12, 16, 3), 100 * label + i, dtype=np.uint8)
                Image.fromarray(image).save(root / part / name / f"{i:03}.png")


def streamed(root: Path, loaders: int) -> folder.Streamed:
    files = folder.find(root, "pets").train
    how = Augmentation(shift=2, mirror=True)
    return folder.Streamed(files, CPU, size=8, loaders=loaders, augmentation=how)


def test_what_a_folder_lacks_is_taken_from_its_training_images(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", "train")
    found = folder.find(tmp_path, "pets")
    assert found.classes == ["cats", "dogs"]
    assert [len(s) for s in (found.train, found.validation, found.test)] == [32, 4, 4]
    everything = [*found.train.paths, *found.validation.paths, *found.test.paths]
    assert len(set(everything)) == 40
    write_folder(tmp_path / "pets", "validation", "test", count=3)
    found = folder.find(tmp_path, "pets")
    assert [len(s) for s in (found.train, found.validation, found.test)] == [40, 6, 6]


@pytest.mark.parametrize("loaders", [0, 1])
def test_a_folder_is_streamed_in_an_order_that_follows_from_the_seed(
    tmp_path: Path, loaders: int
) -> None:
    write_folder(tmp_path / "pets", "train")
    data = streamed(tmp_path, loaders)
    seen = []
    for _ in range(2):
        torch.manual_seed(3)
        batches = list(data.epoch(0, 10))
        assert [x.shape for x, _ in batches] == [(10, 3, 8, 8)] * 3
        seen.append((torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])))
        left = torch.rand(1)
    assert torch.equal(seen[0][0], seen[1][0])
    assert torch.equal(seen[0][1], seen[1][1])
    # Random numbers are as many as without loaders, or a resumed training would differ.
    torch.manual_seed(3)
    list(streamed(tmp_path, 0).epoch(0, 10))
    assert torch.equal(torch.rand(1), left)
    values = (seen[0][0] * data.deviation + data.mean)[:, 0, 0, 0].round()
    assert torch.equal((values >= 100).long(), seen[0][1])
    assert [len(x) for x, _ in data.ordered(20)] == [20, 12]
    assert torch.equal(torch.cat([x for x, _ in data.ordered(20)]), data.examples())


def test_an_image_that_is_none_is_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "pets", "train")
    path = folder.find(tmp_path, "pets").train.paths[0]
    path.write_bytes(b"not an image")
    with pytest.raises(BadData, match=rf"{path.name}: is not an image that can be read"):
        streamed(tmp_path, 0)


@pytest.mark.parametrize(
    ("parts", "reason"),
    [((), r"pets/train/CLASS/\*\.png"), (("train",), "needs a folder per class")],
)
def test_a_folder_that_cannot_be_is_refused(
    tmp_path: Path, parts: tuple[str, ...], reason: str
) -> None:
    for part in parts:
        (tmp_path / "pets" / part / "only").mkdir(parents=True)
    with pytest.raises((DataMissing, BadData), match=reason):
        folder.find(tmp_path, "pets")


def write_masks(root: Path, count: int = 20) -> None:
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for i in range(count):
        mask = np.zeros((20, 20), dtype=np.uint8)
        mask[:, i:] = 2
        Image.fromarray(mask).save(root / "masks" / f"{i}.png")
        Image.fromarray(np.stack([mask * 100] * 3, axis=-1)).save(root / "images" / f"{i}.png")


def test_images_are_read_with_the_masks_of_their_names(tmp_path: Path) -> None:
    write_masks(tmp_path / "cells")
    found = masks.load(masks.files(tmp_path, "cells"), 16)
    assert [len(s) for s in (found.train, found.validation, found.test)] == [16, 2, 2]
    assert found.train.images.shape == (16, 3, 16, 16)
    assert set(np.unique(found.train.labels)) == {0, 2}
    agrees = (found.train.images[:, 0] > 100) == (found.train.labels == 2)
    assert agrees.mean() > 0.95


def test_a_mask_that_is_missing_or_colourful_is_named(tmp_path: Path) -> None:
    write_masks(tmp_path / "cells")
    mask = tmp_path / "cells" / "masks" / "7.png"
    Image.new("RGB", (20, 20)).save(mask)
    with pytest.raises(BadData, match=r"7\.png: needs one number for each pixel, has mode RGB"):
        masks.load(masks.files(tmp_path, "cells"), 16)
    mask.unlink()
    with pytest.raises(BadData, match=r"7\.png: is missing"):
        masks.files(tmp_path, "cells")
    with pytest.raises(DataMissing, match="folder:none was not found"):
        masks.files(tmp_path, "none")


def test_generated_shapes_have_all_classes_and_are_always_the_same() -> None:
    pictures = [shapes._picture(np.random.RandomState(seed)) for seed in (0, 0, *range(1, 9))]
    np.testing.assert_array_equal(pictures[0][0], pictures[1][0])
    counted = np.bincount(np.stack([classes for _, classes in pictures]).ravel())
    assert len(counted) == shapes.CLASSES
    assert counted.min() > 500


def test_a_picture_is_split_by_its_pixels() -> None:
    colours = picture.load(Path("nowhere"), "zone-plate", 20)
    parts = picture.on_device(colours, CPU)
    assert [len(part) for part in parts] == [320, 40, 40]
    places = torch.cat([part.inputs for part in parts])
    assert len({tuple(p) for p in places.tolist()}) == 400
    assert places.min() == -1
    assert places.max() == 1
    assert torch.cat([part.targets for part in parts]).abs().max() <= 1


def test_a_picture_is_looked_for_under_the_data_root(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("L", (9, 7), 255).save(tmp_path / "images" / "white.png")
    assert torch.equal(picture.load(tmp_path, "white", 4), torch.ones(4, 4, 3))
    with pytest.raises(DataMissing, match=r"images/black\.png"):
        picture.load(tmp_path, "black", 4)
