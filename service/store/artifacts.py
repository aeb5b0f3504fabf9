"""Content-addressed storage of files, by their sha256, on local disk or any backend of fsspec."""

import hashlib
import os
import re
import time
from collections.abc import AsyncIterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from service.errors import Damaged, Fault, Invalid, TooLarge

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1024**2


def check_name(name: str) -> str:
    """Return the name of an artifact, or raise `Invalid`: it must not be a path."""
    if not _NAME.fullmatch(name):
        expected = "lower-case letters, digits, '.', '_' and '-', at most 100"
        raise Invalid([Fault("name", f"must be {expected}", name)])
    return name


@dataclass(frozen=True, slots=True)
class ReceivedFile:
    """A file that was uploaded completely and is not in the store yet."""

    partial: Path
    sha256: str
    size: int


class ArtifactStore:
    """Stores files under a folder or a URL of fsspec. Equal files are stored once.

    Args:
        url: Of the folder; `s3://bucket/prefix` where s3fs is installed, and so on.
        incoming: Local folder for uploads in progress.

    Attributes:
        lock: Hold it while rows that refer to files change together with the files.
    """

    def __init__(self, url: str, incoming: Path) -> None:
        self._fs, self._root = url_to_fs(url)
        self._incoming = incoming
        self.lock = Lock()
        incoming.mkdir(parents=True, exist_ok=True)
        self._fs.makedirs(self._root, exist_ok=True)

    async def receive(
        self, chunks: AsyncIterable[bytes], *, limit: int, sha256: str | None = None
    ) -> ReceivedFile:
        """Write a stream to a temporary file.

        Raises:
            TooLarge: If it is longer than `limit` bytes.
            Invalid: If its digest is not `sha256`.
        """
        digest, size = hashlib.sha256(), 0
        with NamedTemporaryFile(dir=self._incoming, prefix="partial-", delete=False) as file:
            partial = Path(file.name)
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(limit)
                    digest.update(chunk)
                    file.write(chunk)
                if sha256 not in (None, digest.hexdigest()):
                    message = f"what arrived has the digest {digest.hexdigest()}; send it again"
                    raise Invalid([Fault("sha256", message, sha256)])
                # On disk before a row may refer to it.
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        return ReceivedFile(partial, digest.hexdigest(), size)

    def add(self, received: ReceivedFile) -> None:
        """Move a received file into the store, unless it is there. The caller holds the lock."""
        target = self._path(received.sha256)
        if self._fs.exists(target) and self._fs.size(target) == received.size:
            return
        self._fs.makedirs(target.rpartition("/")[0], exist_ok=True)
        if isinstance(self._fs, LocalFileSystem) and _same_disk(received.partial, self._root):
            received.partial.replace(target)
        else:
            self._fs.put_file(str(received.partial), target)

    def size(self, sha256: str) -> int | None:
        """Return the size of a file in bytes; None if there is no such file."""
        path = self._path(sha256)
        return int(self._fs.size(path)) if self._fs.exists(path) else None

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Yield a file in chunks; raise `Damaged` before the last if the content has changed."""
        # The last chunk is held back until the digest is known, so that a reader that counts
        # bytes notices a damaged file.
        digest, held = hashlib.sha256(), b""
        with self._fs.open(self._path(sha256), "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                if held:
                    yield held
                held = chunk
        if digest.hexdigest() != sha256:
            raise Damaged(sha256)
        yield held

    def read(self, sha256: str) -> bytes:
        return b"".join(self.chunks(sha256))

    def discard(self, sha256: str) -> None:
        """Delete a file that no row refers to. The caller holds the lock."""
        path = self._path(sha256)
        if self._fs.exists(path):
            self._fs.rm_file(path)

    def older_than(self, seconds: float) -> Iterator[str]:
        """Yield the digests of files that were last modified more than `seconds` ago."""
        before = time.time() - seconds
        for path in self._fs.find(self._root):
            digest = path.rpartition("/")[2]
            if _DIGEST.fullmatch(digest) and self._fs.modified(path).timestamp() < before:
                yield digest

    def forget_incoming(self, seconds: float) -> None:
        """Delete uploads that began more than `seconds` ago: their process has ended."""
        before = time.time() - seconds
        for path in self._incoming.glob("partial-*"):
            if path.stat().st_mtime < before:
                path.unlink(missing_ok=True)

    def _path(self, sha256: str) -> str:
        return f"{self._root}/{sha256[:2]}/{sha256}"


def _same_disk(file: Path, folder: str) -> bool:
    return file.stat().st_dev == os.stat(folder).st_dev
