"""Decoded data sets as plain arrays on disk, so that a trial starts in milliseconds."""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from workers.data.images import Images, Split
from workers.errors import NoDiskSpace

# Raised when splitting or decoding changes, which makes every cached array stale.
_VERSION = 1


def identity(paths: Iterable[Path]) -> str:
    """Return a text that changes when one of the files does."""
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
    # Mapped, so that trials side by side share one copy in memory. Copy-on-write, because
    # torch wants writable memory.
    images = np.load(entry / f"{split}-images.npy", mmap_mode="c", allow_pickle=False)
    return Split(images, np.load(entry / f"{split}-labels.npy", allow_pickle=False))


def _store(entry: Path, images: Images) -> None:
    """Write the arrays beside their place and move them there at once."""
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
        # Another trial was faster; its arrays are the same.
        if not entry.is_dir():
            raise
