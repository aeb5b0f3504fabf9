"""A worker that says over HTTP what a test tells it to say."""

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import httpx2

from search_space.contract import (
    Assignment,
    FailureClass,
    Heartbeat,
    HeartbeatReply,
    LeaseRequest,
    Outcome,
    OutcomeKind,
    Report,
    Reports,
    ReportsReply,
    Stored,
    TaskOffer,
    Verdict,
    WorkerManifest,
    WorkerWelcome,
)
from search_space.spec import Site, SitePlan

IMAGE_CLASSIFICATION = TaskOffer(
    name="image-classification",
    settings={
        "type": "object",
        "properties": {
            "dataset": {"type": "string", "enum": ["digits", "fashion-mnist"]},
            "network": {"type": "string", "enum": ["small-cnn"]},
            "epochs": {"type": "integer", "minimum": 1, "default": 8},
        },
        "required": ["dataset", "network"],
        "additionalProperties": False,
    },
    metrics={"validation_accuracy": "maximize", "validation_loss": "minimize"},
)

SMALL_CNN = SitePlan(
    sites=tuple(
        Site(
            id=f"blocks.{place}.activation",
            rank=4,
            channels=channels,
            channel_dim=1,
            original="relu",
            stage=str(place),
            block=f"blocks.{place}",
        )
        for place, channels in enumerate((16, 32, 64))
    )
)
"""What an inspection of the small network finds."""


class ScriptedWorker:
    """One worker with one boot; every request for a lease is a new one.

    Args:
        url: Of the service, without `/v1`.
        id: The worker's name.
        token: The service's token, where it wants one.
    """

    def __init__(self, url: str, *, id: str = "w1", token: str | None = None) -> None:
        self.id = id
        self.boot_id = f"{id}-{uuid4().hex}"
        self._requests = 0
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._client = httpx2.Client(base_url=f"{url}/v1", headers=headers, timeout=40)

    def register(
        self,
        *tasks: TaskOffer,
        slots: int = 1,
        devices: Sequence[str] = ("cpu",),
        activations: Sequence[str] = (),
    ) -> WorkerWelcome:
        """Introduce itself, with `image-classification` where no task is given."""
        manifest = WorkerManifest(
            boot_id=self.boot_id,
            slots=slots,
            devices=list(devices),
            versions={"python": "3.11"},
            tasks=list(tasks or (IMAGE_CLASSIFICATION,)),
            activations=list(activations),
        )
        answer = self._send("PUT", f"/workers/{self.id}", manifest.model_dump(mode="json"))
        return WorkerWelcome.model_validate(answer)

    def beat(self, *leases: str) -> HeartbeatReply:
        """Give a sign of life that renews `leases`."""
        beat = Heartbeat(boot_id=self.boot_id, leases=list(leases))
        path = f"/workers/{self.id}/heartbeat"
        return HeartbeatReply.model_validate(self._send("POST", path, beat.model_dump()))

    def lease(self, *, slot: int = 0, wait_seconds: float = 5.0) -> Assignment | None:
        """Ask for work; None where there was none in time."""
        self._requests += 1
        request = LeaseRequest(
            worker=self.id,
            boot_id=self.boot_id,
            slot=slot,
            request=self._requests,
            wait_seconds=wait_seconds,
        )
        answer = self._send("POST", "/leases", request.model_dump())
        return None if answer is None else Assignment.model_validate(answer)

    def report(
        self,
        assignment: Assignment,
        step: int,
        value: float,
        *,
        step_seconds: float | None = 0.01,
        **metrics: float,
    ) -> Verdict:
        """Report `value` as the search's metric after `step` epochs."""
        report = Report(
            step=step, metrics={assignment.metric: value, **metrics}, step_seconds=step_seconds
        )
        answer = self._say("POST", assignment, "reports", Reports(reports=[report]))
        return ReportsReply.model_validate(answer).verdict

    def store(self, assignment: Assignment, name: str, content: bytes) -> Stored:
        """Store a file of the trial."""
        answer = self._client.put(
            f"/leases/{assignment.lease}/artifacts/{name}",
            content=content,
            headers=_as(assignment) | {"Content-Type": "application/octet-stream"},
        )
        answer.raise_for_status()
        return Stored.model_validate(answer.json())

    def outcome(
        self,
        assignment: Assignment,
        outcome: OutcomeKind = OutcomeKind.COMPLETED,
        *,
        failure: FailureClass | None = None,
        message: str = "",
        plan: SitePlan | None = None,
    ) -> None:
        """Say how the attempt ended."""
        last = Outcome(outcome=outcome, failure=failure, message=message, plan=plan)
        self._say("POST", assignment, "outcome", last)

    def inspect(self, plan: SitePlan = SMALL_CNN) -> Assignment:
        """Lease the inspection that waits, and complete it with `plan`."""
        assignment = self._lease_now()
        assert assignment.candidate is None, "what waits is no inspection"
        self.outcome(assignment, plan=plan)
        return assignment

    def train(self, *values: float, step_seconds: float | None = 0.01) -> Assignment:
        """Lease a trial, report one value after another, and end as the verdict says."""
        assignment = self._lease_now()
        verdict = Verdict.CONTINUE
        for step, value in enumerate(values, 1):
            verdict = self.report(assignment, step, value, step_seconds=step_seconds)
            if verdict != Verdict.CONTINUE:
                break
        ending = {Verdict.STOP: OutcomeKind.STOPPED, Verdict.RELEASE: OutcomeKind.RELEASED}
        self.outcome(assignment, ending.get(verdict, OutcomeKind.COMPLETED))
        return assignment

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _lease_now(self) -> Assignment:
        assignment = self.lease()
        assert assignment is not None, "there is nothing to do"
        return assignment

    def _say(
        self, method: str, assignment: Assignment, what: str, message: Reports | Outcome
    ) -> Any:
        body = message.model_dump(mode="json")
        return self._send(method, f"/leases/{assignment.lease}/{what}", body, _as(assignment))

    def _send(
        self, method: str, path: str, body: Any, headers: dict[str, str] | None = None
    ) -> Any:
        answer = self._client.request(method, path, json=body, headers=headers)
        if answer.is_error:
            raise AssertionError(f"{method} {path}: {answer.status_code} {answer.text}")
        return None if answer.status_code == httpx2.codes.NO_CONTENT else answer.json()


def _as(assignment: Assignment) -> dict[str, str]:
    return {"Authorization": f"Bearer {assignment.token}"}
