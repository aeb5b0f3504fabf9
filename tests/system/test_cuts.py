"""The connection between a worker and the service is cut, in every place, and joined again."""

from collections.abc import Iterator

import pytest

from tests.support.relay import Relay
from tests.system.digits import EPOCHS, SEARCH, Curves, attempts_by_step, curves
from tests.system.machine import LEASE_SECONDS, Machine, rest, until

pytestmark = pytest.mark.slow

WORDS = (
    b"PUT /v1/workers/",
    b"POST /v1/leases ",
    b"/heartbeat ",
    b"/measurements ",
    b"/reports ",
    b"/artifacts/checkpoint.safetensors ",
    b"/artifacts/weights.safetensors ",
    b"/outcome ",
)


@pytest.fixture
def relay(machine: Machine) -> Iterator[Relay]:
    """A way to a service that runs."""
    machine.serve()
    relay = Relay(machine.port)
    yield relay
    # A worker that is cut off would not be told to go.
    relay.heal()
    relay.close()


def through(relay: Relay) -> tuple[str, str]:
    return "--url", f"http://127.0.0.1:{relay.port}"


def test_every_word_may_be_broken_off_and_so_may_its_answer(
    machine: Machine, twin: Curves, relay: Relay
) -> None:
    for word in WORDS:
        relay.break_off(word)
    machine.worker(*through(relay))
    search = machine.client.submit(SEARCH)
    machine.wait(search.id)

    assert not relay.unbroken
    assert curves(machine, search.id) == twin
    assert {trial["attempt"] for trial in machine.trials(search.id)} == {1}


def test_a_worker_that_was_cut_off_for_leases_goes_on_where_nobody_took_over(
    machine: Machine, relay: Relay
) -> None:
    # With a second slot the worker might follow itself. One slot has all threads, whose sums
    # differ from those of the twin in their last bits.
    worker = machine.worker(*through(relay), slots=1)
    search = machine.client.submit(SEARCH)
    machine.until_reported(search.id, 5)
    relay.cut()
    rest(2 * LEASE_SECONDS)
    relay.heal()
    machine.wait(search.id)

    assert curves(machine, search.id)
    assert {trial["attempt"] for trial in machine.trials(search.id)} == {1}
    assert worker.poll() is None, "the worker lives on"


def test_what_a_worker_says_that_was_cut_off_and_followed_is_refused(
    machine: Machine, twin: Curves, relay: Relay
) -> None:
    worker = machine.worker(*through(relay))
    search = machine.client.submit(SEARCH)
    trial = machine.until_reported(search.id, 5)
    relay.cut()
    machine.worker()
    until(lambda: machine.read(f"/trials/{trial['id']}")["attempt"] == 2)
    assert not machine.refused()
    relay.heal()
    # Whatever comes first: a report, which is refused, a heartbeat, which ends it, or the next
    # attempt, given to a slot of the same worker that had asked before the cut.
    ends = [f"{trial['id']}: {how}" for how in ("cancelled", "attempt 1 was followed")]
    until(lambda: machine.refused() or any(end in machine.log("worker-1") for end in ends))
    machine.wait(search.id)

    assert curves(machine, search.id) == twin
    attempts = attempts_by_step(machine, trial["id"])
    assert (attempts[5], attempts[EPOCHS]) == (1, 2)
    assert worker.poll() is None, "the worker lives on"
