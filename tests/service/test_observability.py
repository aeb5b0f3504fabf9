"""What operators see: metrics, probes, ids in answers and in the log."""

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.player import Player
from tests.support.serving import Served


def read(served: Served) -> dict[tuple[str, ...], float]:
    """Return every sample, by its name and the values of its labels."""
    answer = httpx2.get(f"{served.url}/metrics", headers=dict(served.http.headers))
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_the_log_of_an_error_holds_no_variables() -> None:
    program = """
import logging
from service.cli.log_setup import write_log

def fail(password):
    raise RuntimeError("it broke")

write_log("text", "info")
try:
    fail("hunter" + "2" * 3)
except RuntimeError:
    logging.getLogger("here").exception("no luck")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "no luck" in done.stderr
    assert "RuntimeError: it broke" in done.stderr
    assert "hunter222" not in done.stderr


def test_metrics_count_what_happens(served: Served, player: Player) -> None:
    player.submit()
    player.inspect()
    player.train(player.work(), 0.5, 0.6)
    running = player.work()
    player.report(running, 1, 0.4)
    shown = read(served)
    assert shown["actsearch_owner",] == 1
    assert shown["actsearch_searches", "running"] == 1
    assert shown["actsearch_trials", "running"] == 1
    assert shown["actsearch_trials", "completed"] == 2
    assert shown["actsearch_leases",] == 1
    assert 0 <= shown["actsearch_lease_silent_seconds",] <= shown["actsearch_lease_oldest_seconds",]
    assert shown["actsearch_reports_total",] == 3
    assert shown["actsearch_ask_seconds_count",] == 3
    assert shown["actsearch_queue_wait_seconds_count",] == 3
    assert shown["actsearch_workers",] == 1
    assert shown["actsearch_slot_hours",] > 0
    assert shown["actsearch_gpu_hours",] == 0


def test_requests_are_counted_by_the_template_of_their_route(served: Served) -> None:
    for number in range(3):
        served.http.get(f"/searches/s{number}")
        httpx2.get(f"{served.url}/nothing/{number}")
    shown = {
        name: value for name, value in read(served).items() if "http_requests_total" in name[0]
    }
    routes = {(method, route, status): value for (_, method, route, status), value in shown.items()}
    assert routes["GET", "/v1/searches/{id}", "404"] == 3
    assert routes["GET", "unknown", "404"] == 3


def test_refused_hosts_are_counted(served: Served) -> None:
    httpx2.get(f"{served.url}/v1/searches", headers={"host": "evil.example"})
    assert read(served)["actsearch_http_requests_total", "GET", "unknown", "421"] == 1


@pytest.mark.parametrize("given", ["trace-1.2_3", "two words", "x" * 65, ""])
def test_every_response_has_a_request_id_and_keeps_a_well_formed_one(
    served: Served, given: str
) -> None:
    for path in ("/v1/searches", "/v1/none", "/healthz", "/"):
        answer = httpx2.get(f"{served.url}{path}", headers={"x-request-id": given})
        shown = answer.headers["x-request-id"]
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", shown)
        assert (shown == given) == (given == "trace-1.2_3")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "cache-control" in answer.headers


def test_a_service_that_is_ready_says_so(served: Served) -> None:
    for probe, state in (("healthz", "ok"), ("readyz", "ready")):
        assert httpx2.get(f"{served.url}/{probe}").json() == {"status": state}


def test_metrics_need_a_token_where_everything_does(
    serve: Callable[..., Served], tmp_path: Any
) -> None:
    (tmp_path / "token").write_text("open-sesame")
    served = serve(admin_token_file=tmp_path / "token")
    assert httpx2.get(f"{served.url}/metrics").status_code == 401
    headers = {"authorization": "Bearer open-sesame"}
    assert httpx2.get(f"{served.url}/metrics", headers=headers).status_code == 200
