"""A cache of decoded data sets on disk, so that a trial starts in milliseconds."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from workers.data.images import Images, Split
from workers.errors import NoDiskSpace

# To be raised when splitting or decoding changes, so that no older array is used.
_VERSION = 1


def identity(paths: Iterable[Path]) -> str:
    """Return a text that differs after a change of one of the files."""
    stats = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    return repr(stats)


def cached(folder: Path, name: str, source: str, load: Callable[[], Images]) -> Images:
    """Return what `load` returns, from the cache if `source` was loaded before."""
    digest = hashlib.sha256(f"{_VERSION}/{source}".encode()).hexdigest()[:16]
    entry = folder / f"{name}-{digest}"
    if not entry.is_dir():
        _store(entry, load())
    return Images(*(_read(entry, split) for split in ("train", "validation", "test")))


def _read(entry: Path, split: str) -> Split:
    # Memory-mapped, so that trials on one machine share one copy. Copy-on-write, because torch
    # needs writable memory.
    images = np.load(entry / f"{split}-images.npy", mmap_mode="c", allow_pickle=False)
    return Split(images, np.load(entry / f"{split}-labels.npy", allow_pickle=False))


def _store(entry: Path, images: Images) -> None:
    """Write the arrays into a temporary folder, and rename it: no reader sees a part of them."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=entry.parent, prefix=".new-") as work:
            made = Path(work) / "entry"
            made.mkdir()
            for name in ("train", "validation", "test"):
                split: Split = getattr(images, name)
                np.save(made / f"{name}-images.npy", split.images, allow_pickle=False)
                np.save(made / f"{name}-labels.npy", split.labels, allow_pickle=False)
            _move(made, entry)
    except OSError as error:
        raise NoDiskSpace(entry, str(error)) from error


def _move(made: Path, entry: Path) -> None:
    try:
        os.rename(made, entry)
    except OSError:
        # Another trial has stored it meanwhile, with the same arrays.
        if not entry.is_dir():
            raise
