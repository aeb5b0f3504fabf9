"""The far side of the client: a service in a thread that hands out what a test queues."""

import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from search_space.contract import (
    Assignment,
    Checkpoint,
    Measurements,
    Outcome,
    Report,
    Reports,
    TrialKind,
    Verdict,
    WorkerManifest,
)
from search_space.spec import Candidate

LEASE_SECONDS = 0.6
_NOTHING = (204, b"")


class Stub:
    """Records the requests, and gives the answers that a test has set up."""

    def __init__(self) -> None:
        self.url = ""
        self.token: str | None = None
        self.queue: deque[Assignment] = deque()
        self.verdicts: dict[int, Verdict] = {}
        self.manifests: list[WorkerManifest] = []
        self.requests: list[tuple[int, int]] = []
        self.beats: list[list[str]] = []
        self.reports: list[Report] = []
        self.logs: dict[str, bytes] = {}
        self.measurements: list[Measurements] = []
        self.infeasible: str | None = None
        self.artifacts: dict[str, bytes] = {}
        self.start = b""
        self.outcomes: dict[str, Outcome] = {}
        self.refused: list[str] = []
        self.left: list[str] = []
        self.cancelled: set[str] = set()
        self.ended: set[str] = set()
        self.forgotten = False
        self.failures = 0
        self.changed = threading.Condition()
        self._leases = 0

    def assignment(
        self, task: dict[str, Any], candidate: Candidate | None = None, **fields: Any
    ) -> Assignment:
        """Return an assignment: an inspection unless there is a candidate."""
        self._leases += 1
        kind = TrialKind.INSPECTION if candidate is None else TrialKind.PROPOSED
        usual = {
            "lease": f"lease-{self._leases}",
            "token": "attempt-token",
            "search": "search-1",
            "trial": "trial-1",
            "number": None if candidate is None else 0,
            "kind": kind,
            "attempt": 1,
            "lease_seconds": LEASE_SECONDS,
            "task": task,
            "metric": "validation_accuracy",
            "candidate": candidate,
            "fingerprint": None,
            "seed": 7,
        }
        return Assignment.model_validate(usual | fields)

    def give(self, assignment: Assignment) -> str:
        """Queue an assignment and return its lease."""
        with self.changed:
            self.queue.append(assignment)
            self.changed.notify_all()
        return assignment.lease

    def checkpoint(self, name: str) -> Checkpoint:
        """Return the handle of an uploaded artifact."""
        return Checkpoint(name=name, sha256=hashlib.sha256(self.artifacts[name]).hexdigest())

    def outcome(self, lease: str, timeout: float = 60) -> Outcome:
        """Wait for the outcome of a lease."""
        self.wait(lambda: lease in self.outcomes, timeout)
        return self.outcomes[lease]

    def wait(self, condition: Any, timeout: float = 60) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, timeout), "it did not happen in time"

    def answer(self, method: str, parts: list[str], body: bytes) -> tuple[int, bytes]:
        with self.changed:
            try:
                return self._answer(method, parts, body)
            finally:
                self.changed.notify_all()

    def _answer(self, method: str, parts: list[str], body: bytes) -> tuple[int, bytes]:
        if self.failures:
            self.failures -= 1
            return 503, b'{"detail": "starting"}'
        match method, parts:
            case "PUT", ["workers", _]:
                self.forgotten = False
                self.manifests.append(WorkerManifest.model_validate_json(body))
                return 200, json.dumps({"lease_seconds": LEASE_SECONDS}).encode()
            case "DELETE", ["workers", name]:
                self.left.append(name)
                return _NOTHING
            case "POST", ["workers", _, "heartbeat"]:
                return self._heartbeat(json.loads(body)["leases"])
            case "POST", ["leases"]:
                return self._lease(json.loads(body))
            case "GET", ["trials", _, "start"]:
                return 200, self.start
            case "GET", ["trials", _, "artifacts", name]:
                return 200, self.artifacts[name]
            case _, ["leases", lease, *rest]:
                return self._attempt(lease, rest, body)
        return 404, b'{"detail": "no such route"}'

    def _heartbeat(self, leases: list[str]) -> tuple[int, bytes]:
        if self.forgotten:
            return 404, b'{"detail": "no such worker"}'
        self.beats.append(leases)
        verdicts = {x: "cancel" if x in self.cancelled else "continue" for x in leases}
        return 200, json.dumps({"leases": verdicts}).encode()

    def _lease(self, request: dict[str, Any]) -> tuple[int, bytes]:
        self.requests.append((request["slot"], request["request"]))
        self.changed.wait_for(lambda: self.queue, timeout=min(0.3, request["wait_seconds"]))
        if request["worker"] in self.left:
            return 404, b'{"detail": "no such worker"}'
        if not self.queue:
            return _NOTHING
        return 200, self.queue.popleft().model_dump_json().encode()

    def _log(self, lease: str, query: str, body: bytes) -> tuple[int, bytes]:
        there = self.logs.get(lease, b"")
        offset = int(query.removeprefix("offset="))
        if offset <= len(there):
            there += body[len(there) - offset :]
            self.logs[lease] = there
        return 200, json.dumps({"next": len(there)}).encode()

    def _attempt(self, lease: str, rest: list[str], body: bytes) -> tuple[int, bytes]:
        if rest[0].startswith("logs?"):
            return self._log(lease, rest[0].removeprefix("logs?"), body)
        if lease in self.ended or lease in self.outcomes:
            self.refused.append("/".join(rest))
            return 409, b'{"detail": "the attempt has ended"}'
        match rest:
            case ["reports"]:
                self.reports += Reports.model_validate_json(body).reports
                verdict = self.verdicts.get(self.reports[-1].step, Verdict.CONTINUE)
                return 200, json.dumps({"verdict": verdict}).encode()
            case ["measurements"]:
                self.measurements.append(Measurements.model_validate_json(body))
                word = "infeasible" if self.infeasible else "continue"
                return 200, json.dumps({"verdict": word, "reason": self.infeasible}).encode()
            case ["artifacts", name]:
                self.artifacts[name] = body
                digest = hashlib.sha256(body).hexdigest()
                stored = {"name": name, "sha256": digest, "size": len(body)}
                return 200, json.dumps(stored).encode()
            case ["outcome"]:
                self.outcomes[lease] = Outcome.model_validate_json(body)
                return _NOTHING
        return 404, b'{"detail": "no such route"}'


@contextmanager
def serving(stub: Stub, port: int = 0) -> Iterator[Stub]:
    """Serve `stub` on a port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            parts = self.path.split("/")[2:]
            status, content = self._checked(parts, body)
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _checked(self, parts: list[str], body: bytes) -> tuple[int, bytes]:
            if stub.token and not self.headers.get("authorization"):
                return 401, b'{"detail": "a token is needed"}'
            if self.command != "GET" and not self.headers.get("content-type"):
                return 415, b'{"detail": "a content type is needed"}'
            return stub.answer(self.command, parts, body)

        do_GET = do_PUT = do_POST = do_DELETE = answer

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    stub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
