"""Files of trials on local disk, by the sha256 of what is in them."""

import hashlib
import os
import re
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Lock

from service.errors import Fault, Invalid, TooLarge

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")


def check_name(name: str) -> str:
    """Return the name of an artifact, or raise `Invalid`: it must not be a path."""
    if not _NAME.fullmatch(name):
        expected = "lower-case letters, digits, '.', '_' and '-', at most 100"
        raise Invalid([Fault("name", f"must be {expected}", name)])
    return name


@dataclass(frozen=True, slots=True)
class Received:
    """A file that has arrived whole and is not kept yet."""

    partial: Path
    sha256: str
    size: int


class ArtifactStore:
    """Keeps files under a folder. The same content is kept once.

    Attributes:
        lock: Held while rows that name files change together with the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.lock = Lock()
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, sha256: str) -> Path:
        return self._folder / sha256[:2] / sha256

    async def receive(self, chunks: AsyncIterable[bytes], *, limit: int) -> Received:
        """Take in a stream, or raise `TooLarge`."""
        digest, size = hashlib.sha256(), 0
        with NamedTemporaryFile(dir=self._folder, prefix="partial-", delete=False) as file:
            partial = Path(file.name)
            try:
                async for chunk in chunks:
                    size += len(chunk)
                    if size > limit:
                        raise TooLarge(limit)
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                partial.unlink(missing_ok=True)
                raise
        return Received(partial, digest.hexdigest(), size)

    def keep(self, received: Received) -> None:
        """Put a received file in its place. The caller holds the lock."""
        target = self.path(received.sha256)
        target.parent.mkdir(exist_ok=True)
        received.partial.replace(target)

    def discard(self, sha256: str) -> None:
        """Delete a file that no row names any more. The caller holds the lock."""
        self.path(sha256).unlink(missing_ok=True)
