"""A worker played by a test: it says over HTTP whatever the test wants it to say."""

from collections.abc import Sequence
from itertools import count
from typing import Any, Protocol

import httpx2

TASK: dict[str, Any] = {
    "name": "image-classification",
    "settings": {
        "type": "object",
        "properties": {
            "dataset": {"type": "string", "enum": ["digits", "fashion-mnist"]},
            "network": {"type": "string", "enum": ["small-cnn", "resnet20"]},
            "epochs": {"type": "integer", "minimum": 1, "default": 4},
        },
        "required": ["dataset", "network"],
        "additionalProperties": False,
    },
    "metrics": {"validation_accuracy": "maximize", "validation_loss": "minimize"},
}
SEARCH: dict[str, Any] = {
    "task": {"name": "image-classification", "dataset": "digits", "network": "small-cnn"},
    "choices": ["relu", "silu", "acon_c"],
    "baselines": {"original_seeds": 1, "uniform": False},
    "budget": {"trials": 4},
    # The default trains in seed blocks, of which most rules know nothing (`test_seed_blocks`).
    "sampler": {"name": "tpe"},
    "pruner": {"name": "none"},
    "parallel": 4,
    "confirm": None,
}


def plan(sites: int = 2, original: str = "relu") -> dict[str, Any]:
    """A site plan as an inspection would find it."""
    return {
        "sites": [
            {
                "id": f"block{i}.act",
                "rank": 4,
                "channels": 16,
                "channel_dim": 1,
                "original": original,
                "stage": str(i),
                "block": f"block{i}",
            }
            for i in range(sites)
        ],
        "unreachable": [],
    }


class HasHttp(Protocol):
    """A service that is running; `http` calls its `/v1`."""

    http: httpx2.Client


class Player:
    """Registers as a worker and runs trials by script."""

    _boots = count()

    def __init__(
        self, served: HasHttp, task: dict[str, Any] = TASK, devices: Sequence[str] = ("cpu",)
    ) -> None:
        self.http: httpx2.Client = served.http
        self.boot = f"boot{next(self._boots)}"
        self.id = f"player-{self.boot}"
        self._requests = count()
        self.manifest: dict[str, Any] = {
            "boot_id": self.boot,
            "slots": 4,
            "devices": list(devices),
            "versions": {"python": "3"},
            "tasks": [task],
            "activations": ["relu"],
        }
        self.http.put(f"/workers/{self.id}", json=self.manifest).raise_for_status()

    def submit(self, **changes: Any) -> dict[str, Any]:
        """Submit a small search."""
        response = self.http.post("/searches", json=SEARCH | changes)
        assert response.status_code == 201, response.text
        return dict(response.json())

    def lease(self, *, wait: float = 5, request: int | None = None) -> dict[str, Any] | None:
        """Ask for work as the next request of slot 0, or as the same one again."""
        response = self.http.post(
            "/leases",
            json={
                "worker": self.id,
                "boot_id": self.boot,
                "slot": 0,
                "request": next(self._requests) if request is None else request,
                "wait_seconds": wait,
            },
        )
        assert response.status_code in (200, 204), response.text
        return dict(response.json()) if response.status_code == 200 else None

    def work(self, *, wait: float = 5) -> dict[str, Any]:
        """Ask for work that must be there."""
        assignment = self.lease(wait=wait)
        assert assignment is not None, "there was no work"
        return assignment

    def report(
        self, assignment: dict[str, Any], step: int, value: float, *, step_seconds: float = 0.01
    ) -> httpx2.Response:
        metrics = {assignment["metric"]: value}
        report = {"step": step, "metrics": metrics, "step_seconds": step_seconds}
        url = f"/leases/{assignment['lease']}/reports"
        return self.http.post(url, json={"reports": [report]})

    def end(
        self, assignment: dict[str, Any], outcome: str = "completed", **more: Any
    ) -> httpx2.Response:
        url = f"/leases/{assignment['lease']}/outcome"
        return self.http.post(url, json={"outcome": outcome} | more)

    def beat(self, *assignments: dict[str, Any], waiting: Sequence[str] = ()) -> dict[str, str]:
        leases = [assignment["lease"] for assignment in assignments]
        url = f"/workers/{self.id}/heartbeat"
        body = {"boot_id": self.boot, "leases": leases, "waiting": list(waiting)}
        response = self.http.post(url, json=body)
        return dict(response.raise_for_status().json()["leases"])

    def inspect(self, found: dict[str, Any] | None = None) -> None:
        """Answer the inspection that waits."""
        assignment = self.work()
        assert assignment["kind"] == "inspection"
        assert self.end(assignment, plan=found or plan()).status_code == 204

    def train(self, assignment: dict[str, Any], *values: float) -> str:
        """Report one value after another, obey the verdicts, and return the last of them."""
        verdict = "continue"
        for step, value in enumerate(values, 1):
            verdict = self.report(assignment, step, value).raise_for_status().json()["verdict"]
            if verdict != "continue":
                break
        outcome = {"continue": "completed", "stop": "stopped", "release": "released"}[verdict]
        assert self.end(assignment, outcome).status_code == 204
        return verdict

    def search(self, search_id: str) -> dict[str, Any]:
        return dict(self.http.get(f"/searches/{search_id}").raise_for_status().json())

    def trials(self, search_id: str) -> list[dict[str, Any]]:
        url = f"/searches/{search_id}/trials"
        response = self.http.get(url, params={"limit": 500})
        return list(response.raise_for_status().json()["items"])
