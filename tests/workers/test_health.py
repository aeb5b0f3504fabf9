"""When a worker leases nothing more: sick, out of time, or told to drain."""

import time

import pytest

from search_space.contract import FailureClass, Outcome, OutcomeKind
from workers.agent.deadline import Deadline, read_time
from workers.agent.health import CircuitBreaker
from workers.attempt.exit_outcomes import failed
from workers.errors import BadSetting

COMPLETED = Outcome(outcome=OutcomeKind.COMPLETED)


def test_different_trials_that_fail_in_a_row_end_the_leasing() -> None:
    breaker = CircuitBreaker(3)
    assert breaker.record("a", failed(FailureClass.LOST, "x")) is None
    assert breaker.record("b", failed(FailureClass.ENVIRONMENT, "x")) is None
    reason = breaker.record("c", failed(FailureClass.LOST, "killed\nby whom?"))
    assert reason is not None
    assert "3 trials in a row failed here, the last with: killed;" in reason


def test_one_trial_that_fails_again_and_again_does_not() -> None:
    breaker = CircuitBreaker(2)
    assert [breaker.record("a", failed(FailureClass.LOST, "x")) for _ in range(9)] == [None] * 9


@pytest.mark.parametrize(
    "outcome", [COMPLETED, failed(FailureClass.DIVERGED, ""), failed(FailureClass.USER_ERROR, "")]
)
def test_what_is_not_the_worker_s_fault_speaks_for_it(outcome: Outcome) -> None:
    breaker = CircuitBreaker(2)
    breaker.record("a", failed(FailureClass.LOST, "x"))
    breaker.record("b", outcome)
    assert breaker.record("c", failed(FailureClass.LOST, "x")) is None


def test_being_preempted_says_nothing() -> None:
    breaker = CircuitBreaker(2)
    breaker.record("a", failed(FailureClass.LOST, "x"))
    breaker.record("b", failed(FailureClass.PREEMPTED, "x"))
    assert breaker.record("c", failed(FailureClass.LOST, "x")) is not None


def test_without_an_end_there_is_always_time() -> None:
    assert Deadline().seconds_to_lease == float("inf")


def test_time_to_lease_leaves_room_for_a_first_checkpoint() -> None:
    deadline = Deadline(time.time() + 1000, grace=100, margin=60)
    assert 800 < deadline.seconds_left <= 900
    assert 740 < deadline.seconds_to_lease <= 840
    deadline.record(400)
    deadline.record(10)
    assert 200 < deadline.seconds_to_lease <= 300
    deadline.record(700)
    assert deadline.seconds_to_lease < 0


@pytest.mark.parametrize("text", ["1893456000", "2030-01-01T00:00+00:00"])
def test_a_time_is_read_as_schedulers_and_people_write_it(text: str) -> None:
    assert read_time(text) == 1893456000


@pytest.mark.parametrize("text", ["soon", "-5", "1e99", ""])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadSetting, match="--until: expected seconds since the epoch"):
        read_time(text)
