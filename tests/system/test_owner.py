"""Several services on one PostgreSQL: one decides, the others stand by and take over."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import make_url

from tests.support.player import Player
from tests.support.postgres import Postgres
from tests.support.relay import Relay
from tests.system.machine import Machine, until

pytestmark = [pytest.mark.slow, pytest.mark.postgres]

ENVIRONMENT = {"ACTSEARCH_OWNER_SECONDS": "2", "ACTSEARCH_LEASE_SECONDS": "4"}


class Seat:
    """One of the services, as a player of a worker sees it."""

    def __init__(self, folder: Path, url: str) -> None:
        self.machine = Machine(folder, url, ENVIRONMENT)
        self.http = httpx2.Client()

    def serve(self, *, ready: bool) -> int:
        process = self.machine.serve(ready=ready)
        self.http.close()
        self.http = httpx2.Client(
            base_url=f"{self.machine.client.url}/v1",
            timeout=60,
            headers={"content-type": "application/json"},
        )
        return process.pid

    def close(self) -> None:
        self.http.close()
        self.machine.close()


@pytest.fixture
def seat(tmp_path: Path, postgres: Postgres) -> Iterator[Callable[..., Seat]]:
    url = postgres.migrated()
    seats: list[Seat] = []

    def take(*, through: int | None = None) -> Seat:
        """Make a service, on the database or on the relay at a port."""
        given = make_url(url)
        if through is not None:
            given = given.set(host="127.0.0.1", port=through, query={})
        text = given.render_as_string(hide_password=False)
        seats.append(Seat(tmp_path / f"seat-{len(seats)}", text))
        return seats[-1]

    yield take
    for one in seats:
        one.close()


def finish(seat: Seat, player: Player, search_id: str) -> None:
    """Work a search to its end, and check that the budget was kept."""
    player.http = seat.http
    player.http.put(f"/workers/{player.id}", json=player.manifest).raise_for_status()
    while player.search(search_id)["state"] != "completed":
        assignment = player.lease()
        if assignment is not None:
            player.train(assignment, 0.5, 0.6)
    trials = player.trials(search_id)
    proposed = [t for t in trials if t["kind"] == "proposed" and t["repeat_of"] is None]
    assert len(proposed) == 4
    assert [t["number"] for t in trials] == list(range(len(trials)))


def test_who_stands_by_refuses_and_takes_over_from_who_is_killed(
    seat: Callable[..., Seat],
) -> None:
    first, second = seat(), seat()
    pid = first.serve(ready=True)
    second.serve(ready=False)
    player = Player(first)
    search = player.submit()
    player.inspect()
    running = player.work()

    for method, path in (("GET", "/searches"), ("POST", f"/searches/{search['id']}/pause")):
        refused = second.http.request(method, path)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["type"].endswith("standing-by")
    assert not second.machine.is_ready()
    assert httpx2.get(f"{second.machine.client.url}/healthz").status_code == 200

    os.kill(pid, signal.SIGKILL)
    until(second.machine.is_ready)
    player.http = second.http
    player.train(running, 0.4, 0.5)
    finish(second, player, search["id"])


def test_an_owner_that_was_stopped_past_its_time_decides_nothing_more(
    seat: Callable[..., Seat],
) -> None:
    first, second = seat(), seat()
    pid = first.serve(ready=True)
    second.serve(ready=False)
    player = Player(first)
    search = player.submit()
    player.inspect()
    running = player.work()

    os.kill(pid, signal.SIGSTOP)
    late: list[httpx2.Response] = []
    words = threading.Thread(target=lambda: late.append(player.report(running, 1, 0.9)))
    words.start()
    until(second.machine.is_ready)
    other = Player(second)
    os.kill(pid, signal.SIGCONT)
    words.join()
    assert late[0].status_code == 503
    assert first.http.get("/searches").status_code == 503
    assert not first.machine.is_ready()
    assert second.http.get(f"/trials/{running['trial']}/reports").json() == []
    finish(second, other, search["id"])
    assert not first.machine.is_ready()


def test_an_owner_that_is_cut_off_from_the_database_makes_way(
    seat: Callable[..., Seat], postgres: Postgres
) -> None:
    relay = Relay(postgres.socket)
    first, second = seat(through=relay.port), seat()
    first.serve(ready=True)
    second.serve(ready=False)
    player = Player(first)
    search = player.submit()
    player.inspect()

    relay.cut()
    until(second.machine.is_ready)
    assert first.http.get("/searches").status_code == 503
    other = Player(second)
    relay.heal()
    finish(second, other, search["id"])
    assert first.http.get("/searches").status_code == 503
    relay.close()
