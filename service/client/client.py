"""The Python client: submits searches, follows them and fetches their results."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote
from uuid import uuid4

import httpx2
from pydantic import PrivateAttr

from search_space.contract import read_config
from search_space.spec import ActivationConfig
from service.client.answers import Answer, read_answer, read_list, read_one, read_page
from service.client.documents import read_search, to_json
from service.client.transport import JSON, ClientError, Event, EventListener, Transport
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

# Events may be lost or late, so the search is read this often even without one.
_READ_AT_LEAST_EVERY_SECONDS = 10.0
_LOG_WAIT_SECONDS = 15
_BINARY = {"content-type": "application/octet-stream"}


class Search(SearchAnswer):
    """A search as it was when it was read, with the client that read it."""

    _client: "Client" = PrivateAttr()

    def refresh(self) -> "Search":
        """Return the search as it is now."""
        return self._client.get(self.id)

    def wait(self, *, progress: bool | None = None) -> "Search":
        """Wait until the search ends or pauses, and return it as it is then.

        Args:
            progress: Whether to show progress; None: on a terminal and in a notebook.
        """
        return self._client.wait(self.id, progress=progress)


class Client:
    """Calls one service; close it, or use it in a `with`. Safe to share between threads.

    A transient failure (no connection, a service that restarts) is retried a few times. Every
    method raises `ClientError` when the service cannot be reached or refuses.

    Args:
        url: The service's URL; None: `ACTSEARCH_URL`, or http://127.0.0.1:8000.
        token: The token, if the service requires one; None: `ACTSEARCH_TOKEN`.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._transport = Transport(url, token)

    @property
    def url(self) -> str:
        """The service's URL."""
        return self._transport.url

    def submit(self, document: Mapping[str, Any] | Path | str, key: str | None = None) -> Search:
        """Submit a search.

        Args:
            document: The search as data, as text in YAML or JSON, or as a file.
            key: Idempotency key: the same document with the same key is submitted once.
        """
        headers = {**JSON, "idempotency-key": key or uuid4().hex}
        content = to_json(read_search(document))
        return self._search(self._transport.call("POST", "/searches", headers, content=content))

    def preview(self, document: Mapping[str, Any] | Path | str) -> PreviewAnswer:
        """Return the space, the cost and the smallest gain of a search without submitting it."""
        content = to_json(read_search(document))
        answer = self._transport.call("POST", "/searches/preview", JSON, content=content)
        return read_one(PreviewAnswer, answer)

    def get(self, id: str) -> Search:
        """Return a search."""
        return self._search(self._get("searches", id))

    def list(self) -> Iterator[Search]:
        """Yield every search, newest first."""
        for search in self._items(Search, "searches"):
            search._client = self
            yield search

    def queue(self) -> Iterator[QueuedAnswer]:
        """Yield the searches that have not ended, each with the reason why it waits."""
        return self._items(QueuedAnswer, "queue")

    def trials(self, id: str) -> Iterator[TrialAnswer]:
        """Yield every trial of a search, in the order of their numbers."""
        return self._items(TrialAnswer, "searches", id, "trials")

    def trial(self, trial: str) -> TrialAnswer:
        """Return a trial."""
        return read_one(TrialAnswer, self._get("trials", trial))

    def add_trial(self, id: str, candidate: Mapping[str, Any]) -> TrialAnswer:
        """Add a candidate as a trial: `{"sites": {site: activation}, "training": {...}}`."""
        content = to_json({"candidate": dict(candidate)})
        path = _path("searches", id, "trials")
        answer = self._transport.call("POST", path, JSON, content=content, repeatable=False)
        return read_one(TrialAnswer, answer)

    def reports(self, trial: str) -> Sequence[ReportAnswer]:
        """Return the reports of a trial, its learning curve."""
        return read_list(ReportAnswer, self._get("trials", trial, "reports"))

    def log(
        self,
        trial: str,
        *,
        attempt: int | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> Iterator[str]:
        """Yield the log of a trial as text; the arguments are those of `log_pieces`."""
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
        """Yield the log of a trial piece by piece, each with its offset.

        Args:
            attempt: Counted from 1; None: the last one and, with `follow`, those after it.
            tail: Begin this many lines before the end.
            follow: Wait for more until the trial's last attempt has ended.
        """
        params = {"attempt": attempt, "tail": tail}
        while True:
            page = read_one(LogAnswer, self._get("trials", trial, "logs", params=_given(params)))
            if page.text:
                yield page
            elif not follow or (page.ended and page.attempt in (attempt, page.attempts)):
                return
            # Offsets count within one attempt, so the next attempt begins at 0 again.
            is_next = page.ended and not page.text
            params = {
                "attempt": page.attempt + is_next,
                "offset": 0 if is_next else page.next,
                "wait": _LOG_WAIT_SECONDS if follow else 0,
            }

    def best(self, id: str) -> BestAnswer:
        """Return the ranking, and the claim that the results support."""
        return read_one(BestAnswer, self._get("searches", id, "best"))

    def best_config(self, id: str, *, unconfirmed: bool = False) -> ActivationConfig:
        """Return the best activation config; the original network's while none is confirmed."""
        params = {"unconfirmed": "true"} if unconfirmed else None
        answer = self._get("searches", id, "best", "config", params=params)
        return read_answer(answer, lambda: read_config(answer.json()))

    def bundle(self, id: str, *, unconfirmed: bool = False) -> bytes:
        """Return the zip file of config, weights, code and report; wait until it is built."""
        params = {"unconfirmed": "true"} if unconfirmed else None
        while True:
            answer = self._get("searches", id, "best", "bundle", params=params)
            if answer.status_code == httpx2.codes.OK:
                return answer.content
            time.sleep(float(answer.headers["Retry-After"]))

    def shapes(self, id: str, trial: str | None = None, epoch: int | None = None) -> ShapesAnswer:
        """Return what functions a trial has learned: by default the winner or the best."""
        params = _given({"trial": trial, "epoch": epoch})
        return read_one(ShapesAnswer, self._get("searches", id, "shapes", params=params))

    def artifacts(self, trial: str) -> Sequence[ArtifactAnswer]:
        """Return the names and sizes of a trial's files."""
        return read_list(ArtifactAnswer, self._get("trials", trial, "artifacts"))

    def artifact(self, trial: str, name: str) -> bytes:
        """Return a file of a trial."""
        return self._get("trials", trial, "artifacts", name).content

    def pause(self, id: str) -> Search:
        """Pause a search: start no trial; running trials checkpoint and wait."""
        return self._act(id, "pause")

    def resume(self, id: str) -> Search:
        """Resume a paused search."""
        return self._act(id, "resume")

    def cancel(self, id: str) -> Search:
        """Cancel a search: start no trial; running trials finish."""
        return self._act(id, "cancel")

    def kill(self, id: str) -> Search:
        """Kill a search: start no trial; running trials end at their next report."""
        return self._act(id, "kill")

    def change(self, id: str, **changes: Any) -> Search:
        """Change `budget`, `parallel`, `priority` or `name`; what is left out stays."""
        answer = self._transport.call(
            "PATCH", _path("searches", id), JSON, content=to_json(changes)
        )
        return self._search(answer)

    def fork(
        self, id: str, edits: Mapping[str, Any] | None = None, key: str | None = None
    ) -> Search:
        """Submit a copy of a search, with edits of its document; `key` as in `submit`."""
        headers = {**JSON, "idempotency-key": key or uuid4().hex}
        content = to_json(edits or {})
        path = _path("searches", id, "fork")
        return self._search(self._transport.call("POST", path, headers, content=content))

    def delete(self, id: str) -> None:
        """Delete a search with its trials and files."""
        self._transport.call("DELETE", _path("searches", id), JSON, repeatable=False)

    def create_token(
        self, name: str, scopes: Sequence[str], expires_in_seconds: float | None = None
    ) -> NewTokenAnswer:
        """Make a token. Only this answer holds it; the service stores its hash."""
        body = {"name": name, "scopes": list(scopes), "expires_in_seconds": expires_in_seconds}
        content = to_json(body)
        answer = self._transport.call("POST", "/tokens", JSON, content=content, repeatable=False)
        return read_one(NewTokenAnswer, answer)

    def tokens(self) -> Iterator[TokenAnswer]:
        """Yield the tokens, newest first."""
        return self._items(TokenAnswer, "tokens")

    def revoke_token(self, id: str) -> None:
        """Revoke a token at once."""
        self._transport.call("DELETE", _path("tokens", id), JSON, repeatable=False)

    def session(self) -> SessionAnswer:
        """Return the scopes of the token, and the version of the service."""
        return read_one(SessionAnswer, self._get("session"))

    def activations(self) -> Sequence[ActivationAnswer]:
        """Return the activations that a search may choose from."""
        return read_list(ActivationAnswer, self._get("activations"))

    def tasks(self) -> Sequence[TaskAnswer]:
        """Return the tasks that workers offer."""
        return read_list(TaskAnswer, self._get("tasks"))

    def workers(self) -> Sequence[WorkerAnswer]:
        """Return the workers, the most recently seen first."""
        return read_list(WorkerAnswer, self._get("workers"))

    def events(self, id: str, after: int = 0) -> Iterator[Event]:
        """Yield the events of a search after event `after`: those stored, then new ones, forever.

        After a lost connection it resumes behind the last event that it has received.
        """
        return self._transport.events(_path("searches", id, "events"), after, threading.Event())

    def updates(self, id: str, *, at_most_every: float = 0.5) -> Iterator[Search]:
        """Yield the search now and after each change, until it ends or pauses.

        Args:
            at_most_every: The least number of seconds between two updates.
        """
        path = _path("searches", id, "events")
        search = self.get(id)
        yield search
        if has_stopped(search):
            return
        listener = EventListener(lambda stop: self._transport.events(path, 0, stop))
        try:
            while not has_stopped(search):
                listener.wait(_READ_AT_LEAST_EVERY_SECONDS)
                search = self.get(id)
                yield search
                time.sleep(at_most_every)
        finally:
            listener.close()

    def wait(self, id: str, *, progress: bool | None = None) -> Search:
        """Wait until a search ends or pauses, and return it.

        Args:
            progress: Whether to show progress; None: on a terminal and in a notebook.
        """
        # rich takes long to load, and scripts that show nothing need none of it.
        from service.client.progress import is_interactive, progress_console, watch

        if is_interactive() if progress is None else progress:
            return watch(self.updates(id), progress_console())
        *_, last = self.updates(id)
        return last

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def upload(self, file: Path | str) -> str:
        """Store a file, such as weights to start a search from, and return its sha256."""
        path = Path(file)
        try:
            with path.open("rb") as content:
                sha256 = hashlib.file_digest(content, "sha256").hexdigest()
            answer = self._transport.call("PUT", "/artifacts", _BINARY, content=path)
        except OSError as error:
            raise ClientError(None, f"cannot read {file}: {error}") from None
        stored = read_one(UploadAnswer, answer).sha256
        if stored != sha256:
            raise ClientError(None, f"{file} was changed in transit; upload it again")
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
        return self._transport.call("GET", _path(*parts), params=params)

    def _act(self, id: str, action: str) -> Search:
        path = _path("searches", id, action)
        return self._search(self._transport.call("POST", path, JSON, repeatable=False))

    def _search(self, answer: httpx2.Response) -> Search:
        search = read_one(Search, answer)
        search._client = self
        return search

    def _items(self, model: type[Answer], *parts: str) -> Iterator[Answer]:
        params = {"limit": "200"}
        while True:
            items, cursor = read_page(model, self._get(*parts, params=params))
            yield from items
            if cursor is None:
                return
            params["cursor"] = cursor


def _given(params: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items() if value is not None}


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)
