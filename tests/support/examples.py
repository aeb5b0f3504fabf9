"""Plays every call of the API once, with the bodies that the reference shows.

Run as a module it writes the reference's examples anew: what was asked, and what a service
answered, cut short where it is long.
"""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import httpx2

from service.api.examples import EXAMPLES
from service.api.openapi import EXAMPLES_FILE
from tests.support.player import TASK, plan
from tests.support.serving import Served

ADMIN = "act_a1b2c3d4e5f60718_an-example-that-no-service-takes"
WORKER = "gpu-node-3-9f8e7d6c"
BOOT = "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
FORM = {"batch": 128, "device": "NVIDIA A100", "dtype": "float32"}
RATIO = {"value": 1.08, "low": 1.05, "high": 1.1}
SHAPES: dict[str, Any] = {
    "version": 1,
    "sites": [
        {
            "site": f"block{i}.act",
            "activation": "silu",
            "original": "relu",
            "x": [-2.0, 0.0, 2.0],
            "channels": [0],
            "curves": [[-0.24, 0.0, 1.76]],
            "low": -1.5,
            "high": 2.5,
        }
        for i in range(2)
    ],
}
SEARCH = EXAMPLES["usual"]["value"]
BODIES: dict[str, Any] = {
    "PUT /v1/workers/{id}": {
        "boot_id": BOOT,
        "slots": 2,
        "devices": ["NVIDIA A100", "NVIDIA A100"],
        "versions": {"python": "3.12.4", "torch": "2.13.0", "activation-search": "0.2.0"},
        "tasks": [TASK],
        "activations": ["relu", "silu", "pwlu"],
    },
    "POST /v1/workers/{id}/heartbeat": {"boot_id": BOOT, "leases": [], "waiting": []},
    "POST /v1/leases": {
        "worker": WORKER,
        "boot_id": BOOT,
        "slot": 0,
        "request": 17,
        "protocol_min": 1,
        "protocol_max": 1,
        "wait_seconds": 20,
    },
    "POST /v1/searches": SEARCH,
    "POST /v1/searches/preview": SEARCH,
    "POST /v1/searches/draft": {
        "text": "task: {name: image-classification, dataset: digits, network: small-cnn}\n"
    },
    "PATCH /v1/searches/{id}": {"budget": {"trials": 80}, "parallel": 4},
    "POST /v1/searches/{id}/fork": {"budget": {"trials": 20}, "sampler": {"seed": 1}},
    "POST /v1/searches/{id}/trials": {
        "candidate": {"sites": {"block0.act": "silu", "block1.act": "relu"}}
    },
    "POST /v1/leases/{lease}/reports": {
        "reports": [{"step": 1, "metrics": {"validation_accuracy": 0.91}, "step_seconds": 0.012}]
    },
    "POST /v1/leases/{lease}/measurements": {
        "form": FORM,
        "parameters": 21_274,
        "flops": 1_934_080,
        "ratios": {"parameter_ratio": RATIO, "latency_ratio": RATIO},
        "latency_seconds": 0.0021,
    },
    "POST /v1/leases/{lease}/outcome": {"outcome": "completed"},
    "POST /v1/tokens": {"name": "cluster", "scopes": ["work"], "expires_in_seconds": 604_800},
    "POST /v1/session": {"token": ADMIN},
}
_MOST_ITEMS, _MOST_CHARACTERS = 2, 400


class Tour:
    """One call after another; keeps what was answered.

    Args:
        bodies: What to send, by method and path of the reference.
    """

    def __init__(self, http: httpx2.Client, bodies: dict[str, Any]) -> None:
        self._http = http
        self._bodies = bodies
        self.answers: dict[str, Any] = {}
        self.called: set[str] = set()

    def call(self, name: str, *ids: str, body: Any = None, **options: Any) -> httpx2.Response:
        """Make a call, its path filled with ids; it must succeed."""
        method, template = name.split(" ")
        given = iter(ids)
        path = re.sub(r"\{\w+\}", lambda _: next(given), template)
        if isinstance(body, bytes):
            options |= {"content": body, "headers": {"content-type": "application/octet-stream"}}
        elif body is not None or name in self._bodies:
            options["json"] = self._bodies[name] if body is None else body
        answer = self._http.request(method, path, **options)
        assert answer.is_success, (name, answer.status_code, answer.text)
        self.called.add(name)
        if answer.content and answer.headers["content-type"] == "application/json":
            self.answers[name] = answer.json()
        return answer

    def work(self, request: int) -> dict[str, Any]:
        ask = self._bodies["POST /v1/leases"] | {"request": request}
        return dict(self.call("POST /v1/leases", body=ask).json())


def take(tour: Tour) -> None:
    """Call everything, in an order in which everything can be answered."""
    for probe in ("/healthz", "/readyz", "/metrics"):
        tour.call(f"GET {probe}")
    tour.call("POST /v1/session")
    tour.call("GET /v1/session")
    token = tour.call("POST /v1/tokens").json()["id"]
    tour.call("GET /v1/tokens")
    tour.call("DELETE /v1/tokens/{id}", token)
    tour.call("PUT /v1/workers/{id}", WORKER)
    for list_of in ("workers", "tasks", "activations", "searches/schema"):
        tour.call(f"GET /v1/{list_of}")
    tour.call("PUT /v1/artifacts", body=b"weights")
    tour.call("POST /v1/searches/draft")
    search = tour.call("POST /v1/searches").json()["id"]
    _train(tour, search)
    _read(tour, search)
    _steer(tour, search)


def _train(tour: Tour, search: str) -> None:
    inspection = tour.work(0)["lease"]
    outcome = "POST /v1/leases/{lease}/outcome"
    tour.call(outcome, inspection, body={"outcome": "completed", "plan": plan()})
    tour.call("POST /v1/searches/preview")
    lease = "/v1/leases/{lease}"
    for request in range(1, 9):
        ran = tour.work(request)
        tour.call(f"POST {lease}/measurements", ran["lease"])
        tour.call(f"POST {lease}/reports", ran["lease"])
        if ran["kind"] == "proposed":
            break
        tour.call(outcome, ran["lease"])
    log = {"params": {"offset": 0}, "body": b"epoch 1 of 8: validation accuracy 0.91\n"}
    tour.call(f"POST {lease}/logs", ran["lease"], **log)
    shapes = json.dumps(SHAPES).encode()
    tour.call(f"PUT {lease}/artifacts/{{name}}", ran["lease"], "shapes.json", body=shapes)
    tour.call(f"PUT {lease}/artifacts/{{name}}", ran["lease"], "weights.safetensors", body=b"w")
    beat = {"boot_id": BOOT, "leases": [ran["lease"]], "waiting": []}
    tour.call("POST /v1/workers/{id}/heartbeat", WORKER, body=beat)
    tour.call(outcome, ran["lease"])
    tour.call("GET /v1/searches/{id}/shapes", search, params={"trial": ran["trial"]})
    trial = "/v1/trials/{id}"
    for what in ("", "/reports", "/logs", "/artifacts"):
        tour.call(f"GET {trial}{what}", ran["trial"])
    tour.call(f"GET {trial}/artifacts/{{name}}", ran["trial"], "shapes.json")


def _read(tour: Tour, search: str) -> None:
    tour.call("GET /v1/searches")
    tour.call("GET /v1/queue")
    for what in ("", "/trials", "/trials.csv", "/best", "/best/config", "/plots"):
        tour.call(f"GET /v1/searches/{{id}}{what}", search)


def _steer(tour: Tour, search: str) -> None:
    one = "/v1/searches/{id}"
    tour.call(f"PATCH {one}", search)
    tour.call(f"POST {one}/trials", search)
    tour.call(f"POST {one}/pause", search)
    tour.call(f"POST {one}/resume", search)
    forked = tour.call(f"POST {one}/fork", search).json()["id"]
    tour.call(f"POST {one}/cancel", forked)
    tour.call(f"POST {one}/kill", search)
    tour.call(f"DELETE {one}", forked)
    tour.call("DELETE /v1/workers/{id}", WORKER)
    tour.call("DELETE /v1/session")


def _short(value: Any) -> Any:
    """Return a value with few items in each list and few characters in each text."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_short(one) for one in value[:_MOST_ITEMS]]
    if isinstance(value, str):
        return re.sub(r"\b(act|attempt)[_-]\w{16}.*", r"\1_...", value[:_MOST_CHARACTERS])
    return value


def _examples(answers: dict[str, Any]) -> dict[str, Any]:
    found = {name: {"response": _short(answer)} for name, answer in answers.items()}
    for name, body in BODIES.items():
        found.setdefault(name, {})["request"] = body
    # What is written by others is long: shown is its form.
    found["GET /v1/searches/schema"]["response"] = {"title": "Search", "type": "object"}
    figure = {"data": [{"type": "scatter", "x": [0, 1], "y": [0.9, 0.92]}], "layout": {}}
    found["GET /v1/searches/{id}/plots/{name}"] = {"response": figure}
    return dict(sorted(found.items()))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token"
        token.write_text(ADMIN)
        served = Served(Path(folder) / "home", admin_token_file=token)
        headers = {"authorization": f"Bearer {ADMIN}", "content-type": "application/json"}
        try:
            with httpx2.Client(base_url=served.url, headers=headers, timeout=60) as http:
                tour = Tour(http, BODIES)
                take(tour)
        finally:
            served.close()
    EXAMPLES_FILE.write_text(json.dumps(_examples(tour.answers), indent=1) + "\n")
    sys.stdout.write(f"{len(tour.answers)} answers\n")


if __name__ == "__main__":
    main()
