"""The service's part of `actsearch doctor`: home folder, disk, database, service, token."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, create_engine
from sqlalchemy.exc import SQLAlchemyError

from search_space.contract import PROTOCOL
from search_space.doctor import Health, HealthCheck
from service.client.client import Client, ClientError
from service.errors import CannotStart
from service.schemas.tokens import SessionAnswer
from service.store.database import Database
from service.store.location import check_file_system, store_url
from service.store.migrate import newest, revision_of
from service.versions import versions

_GIB = 2**30
_LEAST_BYTES, _FEW_BYTES = _GIB, 10 * _GIB
"""Below the first, workers start no trial; below the second, they soon will not."""

_UNAUTHORIZED = 401


def check_home(home: Path) -> Iterator[HealthCheck]:
    """Check that the home folder can be written, and how much space is left."""
    home = home.resolve()
    folder = _existing(home)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"here")
    except OSError as error:
        fix = f"let this user ({os.geteuid()}) write there, or name another folder by --home"
        yield HealthCheck("home", Health.FAIL, f"cannot write to {folder}: {error.strerror}", fix)
    else:
        later = "" if folder == home else ", which is created at start"
        yield HealthCheck("home", Health.OK, f"{home}{later}")
    yield _disk(folder)


def check_database(given: str | None, home: Path) -> HealthCheck:
    """Check that the database can be read, and has the tables of this version."""
    try:
        url = store_url(given, home)
        if url.get_backend_name() == "sqlite":
            check_file_system(_existing(Path(url.database or "").parent.resolve()))
    except CannotStart as error:
        fix = "give another by --database-url, or leave it out"
        return HealthCheck("database", Health.FAIL, str(error), fix)
    where = url.render_as_string()  # Masks the password.
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return HealthCheck("database", Health.OK, f"{where}, which is created at start")
    return _tables(url, where)


def check_service(url: str | None, token: str | None) -> Iterator[HealthCheck]:
    """Check that the service answers and is of this version, and what the token allows."""
    is_named = bool(url or os.environ.get("ACTSEARCH_URL"))
    try:
        with Client(url, token) as client:
            where, session = client.url, client.session()
    except ClientError as error:
        yield _refused(error, is_named=is_named)
        return
    yield _version(where, session)
    yield _scopes(session)


def _disk(folder: Path) -> HealthCheck:
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free on the disk of {folder}"
    fix = "delete searches, or move the home folder to a larger disk (--home)"
    if free < _LEAST_BYTES:
        return HealthCheck("disk", Health.FAIL, f"{text}; workers start no trial", fix)
    if free < _FEW_BYTES:
        return HealthCheck("disk", Health.WARN, text, fix)
    return HealthCheck("disk", Health.OK, text)


def _tables(url: URL, where: str) -> HealthCheck:
    try:
        if url.get_backend_name() == "sqlite":
            # Read-only: a check must not create or change the file.
            engine = create_engine(f"sqlite:///file:{url.database}?mode=ro&uri=true")
        else:
            engine = Database(url).engine
        with engine.connect() as connection:
            revision = revision_of(connection)
        engine.dispose()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        fix = "is the server running, and are host, name and password right?"
        return HealthCheck("database", Health.FAIL, f"{where} cannot be used: {reason}", fix)
    head, known = newest()
    if revision is None:
        text = f"{where}, empty; its tables are created at start"
        return HealthCheck("database", Health.OK, text)
    if revision == head:
        return HealthCheck("database", Health.OK, f"{where}, migrated ({revision})")
    if revision in known:
        fix = "back it up, then start the service, which migrates it"
        return HealthCheck("database", Health.WARN, f"{where} is at {revision}, behind {head}", fix)
    fix = "install the version of this program that wrote it, or give another database"
    return HealthCheck("database", Health.FAIL, f"{where} is of a newer version ({revision})", fix)


def _refused(error: ClientError, *, is_named: bool) -> HealthCheck:
    if error.status == _UNAUTHORIZED:
        fix = "give one by --token or ACTSEARCH_TOKEN; an admin makes one: actsearch token create"
        return HealthCheck("token", Health.FAIL, error.detail, fix)
    if error.status is not None:
        fix = "read its log; /readyz says when it is ready"
        return HealthCheck("service", Health.FAIL, f"answers {error.status}: {error.detail}", fix)
    if is_named:
        fix = "is it running, and is the URL right as seen from this machine?"
        return HealthCheck("service", Health.FAIL, error.detail, fix)
    fix = "start one with `actsearch up`, or give its URL by --url"
    return HealthCheck("service", Health.WARN, "none runs on this machine's port 8000", fix)


def _version(where: str, session: SessionAnswer) -> HealthCheck:
    ours = versions()["activation-search"]
    text = f"{where} is of version {session.version}"
    fix = f"install the same version on both sides; here it is {ours}"
    if session.protocol != PROTOCOL:
        text += f" and speaks protocol {session.protocol}, this side {PROTOCOL}"
        return HealthCheck("service", Health.FAIL, text, fix)
    if session.version != ours:
        return HealthCheck("service", Health.WARN, text, fix)
    return HealthCheck("service", Health.OK, text)


def _scopes(session: SessionAnswer) -> HealthCheck:
    if session.open:
        return HealthCheck("token", Health.OK, "none is required")
    scopes = ", ".join(session.scopes)
    until = "" if session.expires_at is None else f", until {session.expires_at:%Y-%m-%d %H:%M} UTC"
    return HealthCheck("token", Health.OK, f"allows {scopes}{until}")


def _existing(folder: Path) -> Path:
    """Return the folder, or its nearest parent that exists."""
    return next(one for one in (folder, *folder.parents) if one.exists())
