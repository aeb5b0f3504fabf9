"""The Python client: submits searches, follows them, fetches what they found."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote
from uuid import uuid4

import httpx2
import yaml
from pydantic import BaseModel, PrivateAttr, ValidationError

from search_space.contract import read_config
from search_space.spec import ActivationConfig
from service.client.transport import JSON, Bell, ClientError, Event, Wire
from service.schemas.offers import ActivationAnswer, TaskAnswer, WorkerAnswer
from service.schemas.results import BestAnswer
from service.schemas.searches import PreviewAnswer, QueuedAnswer, SearchAnswer, has_stopped
from service.schemas.tokens import NewTokenAnswer, SessionAnswer, TokenAnswer
from service.schemas.trials import (
    ArtifactAnswer,
    LogAnswer,
    ReportAnswer,
    ShapesAnswer,
    TrialAnswer,
    UploadAnswer,
)

__all__ = ["Client", "ClientError", "Event", "Search", "has_stopped"]

_LOOK_ANYWAY_SECONDS = 10.0
_LOG_WAIT_SECONDS = 15
_BINARY = {"content-type": "application/octet-stream"}

Answer = TypeVar("Answer", bound=BaseModel)
Result = TypeVar("Result")


class Search(SearchAnswer):
    """A search as it was when it was read; it knows whom to ask for more."""

    _client: "Client" = PrivateAttr()

    def refresh(self) -> "Search":
        """Return the search as it is now."""
        return self._client.get(self.id)

    def wait(self, *, progress: bool | None = None) -> "Search":
        """Wait until the search ends or pauses, and return it as it is then.

        Args:
            progress: Whether to show it meanwhile; None: on a terminal and in a notebook.
        """
        return self._client.wait(self.id, progress=progress)


class Client:
    """Calls one service; close it, or use it in a `with`. Safe to share between threads.

    What may pass (no connection, a service that restarts) is tried again a few times; whatever
    else goes wrong is a `ClientError`.

    Args:
        url: Of the service; None: `ACTSEARCH_URL`, or http://127.0.0.1:8000.
        token: Where the service wants one; None: `ACTSEARCH_TOKEN`.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._wire = Wire(url, token)

    @property
    def url(self) -> str:
        return self._wire.url

    def submit(self, document: Mapping[str, Any] | Path | str, key: str | None = None) -> Search:
        """Submit a search.

        Args:
            document: The search, also as text in YAML or JSON, or the file that holds it.
            key: Makes a repeat harmless: the same document with the same key is one search.
        """
        headers = {**JSON, "idempotency-key": key or uuid4().hex}
        content = _as_json(_read_document(document))
        return self._search(self._wire.call("POST", "/searches", headers, content=content))

    def preview(self, document: Mapping[str, Any] | Path | str) -> PreviewAnswer:
        """Return what a search would be: its space, its cost, what it could find."""
        content = _as_json(_read_document(document))
        answer = self._wire.call("POST", "/searches/preview", JSON, content=content)
        return _one(PreviewAnswer, answer)

    def get(self, id: str) -> Search:
        return self._search(self._get("searches", id))

    def list(self) -> Iterator[Search]:
        """Yield every search, newest first."""
        for search in self._items(Search, "searches"):
            search._client = self
            yield search

    def queue(self) -> Iterator[QueuedAnswer]:
        """Yield the searches that have not ended, and what each waits for."""
        return self._items(QueuedAnswer, "queue")

    def trials(self, id: str) -> Iterator[TrialAnswer]:
        """Yield every trial of a search, in the order of their numbers."""
        return self._items(TrialAnswer, "searches", id, "trials")

    def trial(self, trial: str) -> TrialAnswer:
        return _one(TrialAnswer, self._get("trials", trial))

    def add_trial(self, id: str, candidate: Mapping[str, Any]) -> TrialAnswer:
        """Add a candidate by hand: `{"sites": {site: activation}, "training": {...}}`."""
        content = _as_json({"candidate": dict(candidate)})
        path = _path("searches", id, "trials")
        answer = self._wire.call("POST", path, JSON, content=content, repeatable=False)
        return _one(TrialAnswer, answer)

    def reports(self, trial: str) -> Sequence[ReportAnswer]:
        """Return a trial's curve."""
        return _many(ReportAnswer, self._get("trials", trial, "reports"))

    def log(
        self,
        trial: str,
        *,
        attempt: int | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> Iterator[str]:
        """Yield what a trial has printed, as `log_pieces` does, as text alone."""
        for piece in self.log_pieces(trial, attempt=attempt, tail=tail, follow=follow):
            yield piece.text

    def log_pieces(
        self,
        trial: str,
        *,
        attempt: int | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> Iterator[LogAnswer]:
        """Yield what a trial has printed, piece by piece, each with where it begins.

        Args:
            attempt: None: the last one; followed, those after it too.
            tail: Begin so many lines before the end.
            follow: Go on until the trial's last attempt has ended.
        """
        params = {"attempt": attempt, "tail": tail}
        while True:
            page = _one(LogAnswer, self._get("trials", trial, "logs", params=_given(params)))
            if page.text:
                yield page
            elif not follow or (page.ended and page.attempt in (attempt, page.attempts)):
                return
            # The output of the attempt that follows has a beginning of its own.
            follows = page.ended and not page.text
            params = {
                "attempt": page.attempt + follows,
                "offset": 0 if follows else page.next,
                "wait": _LOG_WAIT_SECONDS if follow else 0,
            }

    def best(self, id: str) -> BestAnswer:
        """Return the ranking, and what may be claimed."""
        return _one(BestAnswer, self._get("searches", id, "best"))

    def best_config(self, id: str, *, unconfirmed: bool = False) -> ActivationConfig:
        """Return the best activation config; the original's while nothing is confirmed."""
        params = {"unconfirmed": "true"} if unconfirmed else None
        answer = self._get("searches", id, "best", "config", params=params)
        return _understood(answer, lambda: read_config(answer.json()))

    def bundle(self, id: str, *, unconfirmed: bool = False) -> bytes:
        """Return a zip file with all that makes the best config usable; waits until it is made."""
        params = {"unconfirmed": "true"} if unconfirmed else None
        while True:
            answer = self._get("searches", id, "best", "bundle", params=params)
            if answer.status_code == httpx2.codes.OK:
                return answer.content
            time.sleep(float(answer.headers["Retry-After"]))

    def shapes(self, id: str, trial: str | None = None, epoch: int | None = None) -> ShapesAnswer:
        """Return what a trial has learned: by default the winner, else the best, at its end."""
        params = _given({"trial": trial, "epoch": epoch})
        return _one(ShapesAnswer, self._get("searches", id, "shapes", params=params))

    def artifacts(self, trial: str) -> Sequence[ArtifactAnswer]:
        """Return the names and sizes of a trial's files."""
        return _many(ArtifactAnswer, self._get("trials", trial, "artifacts"))

    def artifact(self, trial: str, name: str) -> bytes:
        """Return a file of a trial."""
        return self._get("trials", trial, "artifacts", name).content

    def pause(self, id: str) -> Search:
        """Start nothing more; running trials checkpoint and come back."""
        return self._act(id, "pause")

    def resume(self, id: str) -> Search:
        """Go on after a pause."""
        return self._act(id, "resume")

    def cancel(self, id: str) -> Search:
        """Start nothing more; running trials finish."""
        return self._act(id, "cancel")

    def kill(self, id: str) -> Search:
        """Start nothing more; running trials end at their next word."""
        return self._act(id, "kill")

    def change(self, id: str, **changes: Any) -> Search:
        """Change `budget`, `parallel`, `priority` or `name`; what is left out stays as it is."""
        answer = self._wire.call("PATCH", _path("searches", id), JSON, content=_as_json(changes))
        return self._search(answer)

    def fork(
        self, id: str, edits: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Search:
        """Submit a search anew, with edits of its document."""
        headers = {**JSON, "idempotency-key": key or uuid4().hex}
        content = _as_json(edits or {})
        path = _path("searches", id, "fork")
        return self._search(self._wire.call("POST", path, headers, content=content))

    def delete(self, id: str) -> None:
        """Delete a search with all that is its own."""
        self._wire.call("DELETE", _path("searches", id), JSON, repeatable=False)

    def create_token(
        self, name: str, scopes: Sequence[str], expires_in_seconds: float | None = None
    ) -> NewTokenAnswer:
        """Make a token. The answer alone holds it; the service keeps its hash."""
        body = {"name": name, "scopes": list(scopes), "expires_in_seconds": expires_in_seconds}
        content = json.dumps(body).encode()
        answer = self._wire.call("POST", "/tokens", JSON, content=content, repeatable=False)
        return _one(NewTokenAnswer, answer)

    def tokens(self) -> Iterator[TokenAnswer]:
        """Yield the tokens, newest first."""
        return self._items(TokenAnswer, "tokens")

    def revoke_token(self, id: str) -> None:
        """Make a token worthless at once."""
        self._wire.call("DELETE", _path("tokens", id), JSON, repeatable=False)

    def session(self) -> SessionAnswer:
        """Return what the token allows, and the version of the service."""
        return _one(SessionAnswer, self._get("session"))

    def activations(self) -> Sequence[ActivationAnswer]:
        """Return what may be chosen."""
        return _many(ActivationAnswer, self._get("activations"))

    def tasks(self) -> Sequence[TaskAnswer]:
        """Return what workers offer."""
        return _many(TaskAnswer, self._get("tasks"))

    def workers(self) -> Sequence[WorkerAnswer]:
        """Return the workers, those seen last first."""
        return _many(WorkerAnswer, self._get("workers"))

    def events(self, id: str, after: int = 0) -> Iterator[Event]:
        """Yield what happened in a search since event `after`, then what happens, for ever.

        A lost connection is taken up again where it ended.
        """
        return self._wire.events(_path("searches", id, "events"), after, threading.Event())

    def updates(self, id: str, *, at_most_every: float = 0.5) -> Iterator[Search]:
        """Yield the search now and when something has happened, until it ends or pauses."""
        path = _path("searches", id, "events")
        search = self.get(id)
        yield search
        if has_stopped(search):
            return
        bell = Bell(lambda stop: self._wire.events(path, 0, stop))
        try:
            while not has_stopped(search):
                bell.wait(_LOOK_ANYWAY_SECONDS)
                search = self.get(id)
                yield search
                time.sleep(at_most_every)
        finally:
            bell.close()

    def wait(self, id: str, *, progress: bool | None = None) -> Search:
        """Wait until a search ends or pauses, and return it.

        Args:
            progress: Whether to show it meanwhile; None: on a terminal and in a notebook.
        """
        # What draws is loaded here and for no other call.
        from service.client.progress import is_seen, screen, watch

        if is_seen() if progress is None else progress:
            return watch(self, id, screen())
        *_, last = self.updates(id)
        return last

    def close(self) -> None:
        self._wire.close()

    def upload(self, file: Path | str) -> str:
        """Store a file, such as weights to start a search from, and return its sha256."""
        path = Path(file)
        try:
            with path.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            answer = self._wire.call("PUT", "/artifacts", _BINARY, content=path)
        except OSError as error:
            raise ClientError(None, f"cannot read {file}: {error}") from None
        stored = _one(UploadAnswer, answer).sha256
        if stored != sha256:
            raise ClientError(None, f"{file} did not arrive as it is; upload it again")
        return stored

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _get(self, *parts: str, params: Mapping[str, str] | None = None) -> httpx2.Response:
        return self._wire.call("GET", _path(*parts), params=params)

    def _act(self, id: str, action: str) -> Search:
        path = _path("searches", id, action)
        return self._search(self._wire.call("POST", path, JSON, repeatable=False))

    def _search(self, answer: httpx2.Response) -> Search:
        search = _one(Search, answer)
        search._client = self
        return search

    def _items(self, model: type[Answer], *parts: str) -> Iterator[Answer]:
        params = {"limit": "200"}
        while True:
            answer = self._get(*parts, params=params)
            page = _understood(answer, answer.json)
            yield from (model.model_validate(item) for item in page["items"])
            if page["next"] is None:
                return
            params["cursor"] = page["next"]


def _given(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _one(model: type[Answer], answer: httpx2.Response) -> Answer:
    return _understood(answer, lambda: model.model_validate_json(answer.content))


def _many(model: type[Answer], answer: httpx2.Response) -> Sequence[Answer]:
    return _understood(answer, lambda: [model.model_validate(item) for item in answer.json()])


def _understood(answer: httpx2.Response, read: Callable[[], Result]) -> Result:
    try:
        return read()
    except (ValidationError, ValueError) as error:
        text = f"what answers at {answer.url} is no activation search of this version: {error}"
        raise ClientError(None, text) from None


def _read_document(document: Mapping[str, Any] | Path | str) -> Mapping[str, Any]:
    if isinstance(document, Mapping):
        return document
    try:
        data = yaml.safe_load(document if isinstance(document, str) else _text(document))
        if isinstance(data, str) and isinstance(document, str):
            # No search is a bare word, so this names a file.
            data = yaml.safe_load(_text(Path(data)))
    except yaml.YAMLError as error:
        raise ClientError(None, f"the search is neither YAML nor JSON: {error}") from None
    if not isinstance(data, Mapping):
        raise ClientError(None, f"a search is an object with the key 'task', got {data!r}")
    return data


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ClientError(None, f"cannot read the search {file}: {error}") from None


def _as_json(document: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(document).encode()
    except (TypeError, ValueError) as error:
        raise ClientError(None, f"the search holds what JSON cannot carry: {error}") from None
