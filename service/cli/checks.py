"""The service's part of `actsearch doctor`: where it keeps things, its database, itself."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import URL, create_engine
from sqlalchemy.exc import SQLAlchemyError

from search_space.contract import PROTOCOL
from search_space.doctor import Health
from search_space.doctor import HealthCheck as Finding
from service.client.client import Client, ClientError
from service.errors import CannotStart
from service.schemas.tokens import SessionAnswer
from service.store.database import Database
from service.store.location import check_file_system, store_url
from service.store.migrate import newest, revision_of
from service.versions import versions

_GIB = 2**30
_LEAST_BYTES, _FEW_BYTES = _GIB, 10 * _GIB
"""Below the first a worker starts no trial; below the second it soon will not."""

_UNAUTHORIZED = 401


def check_home(home: Path) -> Iterator[Finding]:
    """Look whether all that is kept can be written, and for how long."""
    folder = _existing(home.resolve())
    there = str(home.resolve()) + ("" if folder == home.resolve() else ", which is made at start")
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"here")
    except OSError as error:
        mend = f"let this user ({os.geteuid()}) write there, or name another folder by --home"
        yield Finding("home", Health.FAIL, f"cannot write to {folder}: {error.strerror}", mend)
    else:
        yield Finding("home", Health.OK, there)
    free = shutil.disk_usage(folder).free
    text = f"{free / _GIB:.1f} GiB free on the disk of {folder}"
    mend = "delete searches, or keep the home on a larger disk (--home)"
    if free < _LEAST_BYTES:
        yield Finding("disk", Health.FAIL, f"{text}; no trial starts on it", mend)
    elif free < _FEW_BYTES:
        yield Finding("disk", Health.WARN, text, mend)
    else:
        yield Finding("disk", Health.OK, text)


def check_database(given: str | None, home: Path) -> Finding:
    """Look whether the store can be read, and has this program's tables."""
    try:
        url = store_url(given, home)
        if url.get_backend_name() == "sqlite":
            check_file_system(_existing(Path(url.database or "").parent.resolve()))
    except CannotStart as error:
        mend = "name one by --database-url, or leave it out"
        return Finding("database", Health.FAIL, str(error), mend)
    # Without the password.
    where = url.render_as_string()
    if url.get_backend_name() == "sqlite" and not Path(url.database or "").exists():
        return Finding("database", Health.OK, f"{where}, which is made at start")
    return _tables(url, where)


def check_service(url: str | None, token: str | None) -> Iterator[Finding]:
    """Look whether the service answers, is of this version, and what the token allows."""
    is_named = bool(url or os.environ.get("ACTSEARCH_URL"))
    try:
        with Client(url, token) as client:
            where, session = client.url, client.session()
    except ClientError as error:
        yield _refused(error, is_named=is_named)
        return
    yield _version(where, session)
    yield _scopes(session)


def _tables(url: URL, where: str) -> Finding:
    try:
        if url.get_backend_name() == "sqlite":
            # Opened as a file that nobody writes: looking changes nothing.
            engine = create_engine(f"sqlite:///file:{url.database}?mode=ro&uri=true")
        else:
            engine = Database(url).engine
        with engine.connect() as connection:
            revision = revision_of(connection)
        engine.dispose()
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        mend = "is the server running, and are host, name and password right?"
        return Finding("database", Health.FAIL, f"{where} cannot be used: {reason}", mend)
    head, known = newest()
    if revision is None:
        return Finding("database", Health.OK, f"{where}, empty; its tables are made at start")
    if revision == head:
        return Finding("database", Health.OK, f"{where}, migrated ({revision})")
    if revision in known:
        mend = "back it up, then start the service, which migrates it"
        return Finding("database", Health.WARN, f"{where} is at {revision}, behind {head}", mend)
    mend = "install the version of this program that wrote it, or name another database"
    return Finding("database", Health.FAIL, f"{where} is of a newer version ({revision})", mend)


def _refused(error: ClientError, *, is_named: bool) -> Finding:
    if error.status == _UNAUTHORIZED:
        mend = "give one by --token or ACTSEARCH_TOKEN; an admin makes them: actsearch token create"
        return Finding("token", Health.FAIL, error.detail, mend)
    if error.status is not None:
        mend = "its log says more; /readyz says when it can be asked"
        return Finding("service", Health.FAIL, f"answers {error.status}: {error.detail}", mend)
    if is_named:
        mend = "is it running, and is the URL right as seen from this machine?"
        return Finding("service", Health.FAIL, error.detail, mend)
    mend = "start one with `actsearch up`, or name one by --url"
    return Finding("service", Health.WARN, "none runs on this machine's port 8000", mend)


def _version(where: str, session: SessionAnswer) -> Finding:
    ours = versions()["activation-search"]
    text = f"{where} is of version {session.version}"
    mend = f"install the same version on both sides; here it is {ours}"
    if session.protocol != PROTOCOL:
        text += f" and speaks protocol {session.protocol}, this side {PROTOCOL}"
        return Finding("service", Health.FAIL, text, mend)
    if session.version != ours:
        return Finding("service", Health.WARN, text, mend)
    return Finding("service", Health.OK, text)


def _scopes(session: SessionAnswer) -> Finding:
    if session.open:
        return Finding("token", Health.OK, "none is asked for")
    scopes = ", ".join(session.scopes)
    until = "" if session.expires_at is None else f", until {session.expires_at:%Y-%m-%d %H:%M} UTC"
    return Finding("token", Health.OK, f"allows {scopes}{until}")


def _existing(folder: Path) -> Path:
    """Return the folder, or what there is of the way to it."""
    return next(one for one in (folder, *folder.parents) if one.exists())
