"""A service that is told to end while many wait for what it will say."""

import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx2
import pytest

from tests.support.player import Player
from tests.support.serving import JSON
from tests.system.machine import Machine, get_text, until

pytestmark = pytest.mark.slow

MANY = 20
FEW_SECONDS = 20


class Front:
    """A running service, as players of workers see it."""

    def __init__(self, machine: Machine) -> None:
        self.url = f"{machine.client.url}/v1"
        self.http = httpx2.Client(base_url=self.url, timeout=60, headers=JSON)


def test_followers_and_slots_that_wait_are_sent_away_and_do_not_hold_it_up(
    machine: Machine,
) -> None:
    service = machine.serve()
    front = Front(machine)
    with closing(front.http), ThreadPoolExecutor(2 * MANY) as pool:
        player = Player(front)
        search = player.submit()
        inspection = player.work()
        assert inspection["kind"] == "inspection", "and there is no more work"
        begun = threading.Semaphore(0)
        following = [pool.submit(follow, front, search["id"], begun) for _ in range(MANY)]
        waiting = [pool.submit(Player(front).lease, wait=30) for _ in range(MANY)]
        wanted = f"actsearch_slots_waiting {float(MANY)}"
        until(lambda: wanted in get_text(f"{machine.client.url}/metrics"))
        assert all(begun.acquire(timeout=60) for _ in following)

        service.send_signal(signal.SIGTERM)
        try:
            assert service.wait(FEW_SECONDS) == 0
        finally:
            service.kill()  # Otherwise those who wait would hold the test up as well.
        assert [one.result(FEW_SECONDS) for one in waiting] == [None] * MANY
        for one in following:
            one.result(FEW_SECONDS)


def follow(front: Front, search_id: str, begun: threading.Semaphore) -> None:
    """Read the events of a search until the service ends its answer as it should."""
    with front.http.stream("GET", f"/searches/{search_id}/events") as answer:
        for line in answer.iter_lines():
            if line.startswith("id:"):
                begun.release()
