"""Checks which databases can be the store, and which file systems can hold SQLite."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from service.errors import CannotStart

_MOUNTS = Path("/proc/self/mountinfo")
_NETWORK = frozenset(
    (
        *("9p", "afs", "beegfs", "ceph", "cifs", "coda", "gfs2", "glusterfs", "gpfs", "lustre"),
        *("ncpfs", "nfs", "nfs4", "ocfs2", "orangefs", "smb2", "smb3", "smbfs"),
    )
)
_NETWORK_FUSE = frozenset(("ceph", "curlftpfs", "glusterfs", "rclone", "s3fs", "sshfs"))


def store_url(url: str | None, home: Path) -> URL:
    """Return the URL of the store; by default SQLite under `home`.

    Raises:
        CannotStart: If it is neither PostgreSQL nor SQLite, or is SQLite in memory.
    """
    if url is None:
        return URL.create("sqlite", database=str(home.resolve() / "actsearch.db"))
    try:
        given = make_url(url)
    except ArgumentError:
        # The message must not repeat the URL, which may contain a password.
        raise CannotStart(
            "the database URL cannot be read; it is like postgresql://user:password@host/name"
        ) from None
    kind = given.get_backend_name()
    if kind in ("postgresql", "postgres"):
        return given.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise CannotStart(f"the store is SQLite or PostgreSQL, not {kind}")
    if given.database in (None, "", ":memory:"):
        raise CannotStart("SQLite in memory keeps nothing; name a file, or leave the URL out")
    return given


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """Hold the lock of an SQLite file, so that only one service uses it.

    Raises:
        CannotStart: If another service holds it, or if the file is on a network file system,
            where neither this lock nor SQLite's own is reliable.
    """
    check_file_system(file.parent)
    with file.with_name(f"{file.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"another service is running on {file.resolve()}") from None
        yield


def check_file_system(folder: Path, mounts: Path = _MOUNTS) -> None:
    """Raise `CannotStart` if a folder is on a network file system."""
    kind = _kind_of(folder.resolve(), mounts.read_text()) if mounts.exists() else ""
    name, _, fuse = kind.partition(".")
    if name in _NETWORK or (name == "fuse" and fuse in _NETWORK_FUSE):
        raise CannotStart(
            f"{folder.resolve()} lies on {kind}, a network file system, on which SQLite loses "
            "data; keep the home on a local disk, or use PostgreSQL (--database-url)"
        )


def _kind_of(folder: Path, mounts: str) -> str:
    """Return the type of the file system of a folder, by the table of mounts."""
    # The longest mount point that contains the folder; of equal ones the last covers the others.
    found, kind = "", ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        # Spaces in names are written as octal escapes.
        point = before.split()[4].encode().decode("unicode_escape")
        holds = folder.is_relative_to(point)
        if holds and len(point) >= len(found):
            found, kind = point, after.split()[0]
    return kind
