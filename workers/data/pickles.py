"""CIFAR as its authors published it for Python: pickles, read without running code in them."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workers.data.images import Split
from workers.errors import BadData

_SHAPE = (3, 32, 32)


def read(path: Path, label: str) -> Split:
    """Return the images and labels in one of the files.

    Args:
        label: Key of the labels: `labels`, or `fine_labels` in CIFAR-100.

    Raises:
        BadData: If the file refers to code that such a file does not need, or lacks a field.
    """
    try:
        content = _Unpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, AttributeError, IndexError, TypeError) as error:
        raise BadData(path, f"is not a pickle of CIFAR: {error}") from error
    if not isinstance(content, dict):
        raise BadData(path, f"holds a {type(content).__name__}, not a dict")
    fields = {_text(key): value for key, value in content.items()}
    images, labels = fields.get("data"), fields.get(label)
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or not _fits(images):
        raise BadData(path, "needs `data`: bytes of shape (N, 3072)")
    if not isinstance(labels, list) or len(labels) != len(images):
        raise BadData(path, f"needs `{label}`: a list of {len(images)} labels")
    return Split(images.reshape(-1, *_SHAPE), np.array(labels, dtype=np.int64))


def _fits(images: NDArray[Any]) -> bool:
    return images.ndim == 2 and images.shape[1] == np.prod(_SHAPE)


def _text(key: Any) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


class _Unpickler(pickle.Unpickler):
    """Builds only arrays and plain values: a pickle can have any function called."""

    def find_class(self, module: str, name: str) -> Any:
        match module, name:
            case "numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct":
                return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
            case "numpy", "ndarray":
                return np.ndarray
            case "numpy", "dtype":
                return np.dtype
            case "_codecs", "encode":
                return _encode
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def _encode(text: str, encoding: str) -> bytes:
    """Return bytes that Python 3 pickled as text, for Python 2 to read."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it names the encoding {encoding}")
    return text.encode("latin1")
