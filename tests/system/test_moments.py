"""The service dies at a commit, or clocks differ: what is said again is answered, and done once."""

import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.invariants import broken
from tests.support.player import SEARCH, Player
from tests.support.postgres import Postgres
from tests.system.digits import SEARCH as DIGITS
from tests.system.machine import Machine, kill_all
from tests.system.mortal import MOMENTS
from tests.system.test_writes import engine_of

pytestmark = pytest.mark.slow

# Nobody's lease runs out while the service is away.
PATIENT = {"ACTSEARCH_LEASE_SECONDS": "60"}
HOUR = 3600


class Caller:
    """Calls a service that dies once, and comes back."""

    def __init__(self, machine: Machine, moment: str) -> None:
        self._machine = machine
        self._moment = moment
        self._service = machine.serve()
        base = f"{machine.client.url}/v1"
        self.http = httpx2.Client(
            base_url=base, timeout=30, headers={"content-type": "application/json"}
        )

    def twice(self, write: str, call: Callable[[], Any]) -> Any:
        """Call a service that dies at this write, and once more when it is back."""
        self._replace(write, self._moment)
        with pytest.raises(httpx2.TransportError):
            call()
        assert self._service.wait(timeout=30) == -signal.SIGKILL
        self._service = self._machine.serve()
        return call()

    def close(self) -> None:
        self.http.close()

    def _replace(self, *mortal: str) -> None:
        self._service.terminate()
        self._service.wait()
        self._service = self._machine.serve(mortal=mortal)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest) -> str | None:
    if request.param == "sqlite":
        return None
    postgres: Postgres = request.getfixturevalue("postgres")
    return postgres.migrated()


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_service_that_dies_at_a_commit_does_what_is_said_again_once(
    url: str | None, moment: str, tmp_path: Path
) -> None:
    with (
        closing(Machine(tmp_path, url, PATIENT)) as machine,
        closing(Caller(machine, moment)) as caller,
    ):
        player = Player(caller)
        body = SEARCH | {
            "baselines": {"original_seeds": 0, "uniform": False},
            "budget": {"trials": 2},
        }
        once = {"idempotency-key": "once"}
        answer = caller.twice(
            "submit", lambda: caller.http.post("/searches", json=body, headers=once)
        )
        search = answer.raise_for_status().json()["id"]
        assert len(caller.http.get("/searches").json()["items"]) == 1

        player.inspect()
        assignment = caller.twice("lease", lambda: player.lease(request=100))
        assert (assignment["kind"], assignment["attempt"]) == ("proposed", 1)
        assert player.search(search)["spent"]["trials"] == 1

        answer = caller.twice("report", lambda: player.report(assignment, 1, 0.5))
        assert answer.raise_for_status().json()["verdict"] == "continue"
        answer = caller.twice("outcome", lambda: player.end(assignment))
        assert answer.status_code == 204
        player.train(player.work(), 0.6)
        assert player.search(search)["state"] == "completed"
        assert [(t["step"], t["value"]) for t in player.trials(search)] == [(1, 0.5), (1, 0.6)]
        engine = engine_of(tmp_path, url)
        assert broken(engine, search) == {}
        engine.dispose()


@pytest.mark.postgres
@pytest.mark.parametrize(("service", "worker"), [(HOUR, -HOUR), (-HOUR, HOUR)])
def test_clocks_may_be_an_hour_off(
    service: int, worker: int, tmp_path: Path, postgres: Postgres
) -> None:
    """Leases of seconds are neither lost nor kept for ever: time is the database's."""
    with closing(Machine(tmp_path, postgres.migrated())) as machine:
        machine.serve(skew=service)
        first = machine.worker(skew=worker)
        search = machine.client.submit(DIGITS)
        machine.until_reported(search.id, 3)
        kill_all(first)
        machine.worker(skew=worker)
        machine.wait(search.id)
        attempts = sorted(trial["attempt"] for trial in machine.trials(search.id))
        assert set(attempts) <= {1, 2}
        assert attempts.count(2) <= 2, "only what the killed worker had was lost"
        assert 2 in attempts, "and that was noticed"
