"""Metrics that are read from the store at each scrape."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from service.errors import Unavailable
from service.runtime.leader import Leader
from service.schemas.states import SearchState, TrialState
from service.store.database import now
from service.store.models import Attempt, Search, Trial, Worker

_SECONDS_OF_HOUR = 3600


class StoreCollector(Collector):
    """Reads metrics from the store; a process that stands by has only `actsearch_owner`."""

    def __init__(self, leader: Callable[[], Leader], lease_seconds: float) -> None:
        self._leader = leader
        self._lease_seconds = lease_seconds

    def collect(self) -> Iterator[Metric]:
        try:
            term = self._leader().term
        except Unavailable:
            yield _gauge("actsearch_owner", "Whether this process is the leader of the store.", 0)
            return
        yield _gauge("actsearch_owner", "Whether this process is the leader of the store.", 1)
        yield _gauge("actsearch_slots_waiting", "Slots that wait for work.", term.lease_queue.size)
        with term.context.database.read() as session:
            yield _searches(session)
            yield _trials(session)
            yield from _leases(session)
            yield from _hours(session)
            yield from self._workers(session)

    def describe(self) -> Iterator[Metric]:
        """Describe nothing: at registration there is no store to read yet."""
        return iter(())

    def _workers(self, session: Session) -> Iterator[Metric]:
        seconds = 2 * self._lease_seconds
        alive = session.scalar(select(func.count()).where(Worker.seen_at > now() - seconds))
        yield _gauge("actsearch_workers", "Workers with a recent heartbeat.", alive or 0)


def _searches(session: Session) -> Metric:
    counts = session.execute(select(Search.state, func.count()).group_by(Search.state))
    return _by_state("actsearch_searches", "Searches by state.", SearchState, dict(counts.all()))


def _trials(session: Session) -> Metric:
    counts = session.execute(select(Trial.state, func.count()).group_by(Trial.state))
    return _by_state("actsearch_trials", "Trials by state.", TrialState, dict(counts.all()))


def _leases(session: Session) -> Iterator[Metric]:
    is_open = Attempt.ended_at.is_(None)
    count, oldest, longest_quiet = session.execute(
        select(
            func.count(), now() - func.min(Attempt.started_at), now() - func.min(Attempt.spoke_at)
        ).where(is_open)
    ).one()
    expired = session.scalar(select(func.count()).where(is_open, Attempt.expires_at < now()))
    yield _gauge("actsearch_leases", "Attempts that have not ended.", count)
    yield _gauge(
        "actsearch_leases_lapsed", "Of these, those whose lease has expired.", expired or 0
    )
    yield _gauge("actsearch_lease_oldest_seconds", "Age of the oldest open attempt.", oldest or 0)
    yield _gauge(
        "actsearch_lease_silent_seconds",
        "Longest time since an open attempt last reported.",
        longest_quiet or 0,
    )


def _hours(session: Session) -> Iterator[Metric]:
    seconds = func.coalesce(Attempt.ended_at, now()) - Attempt.started_at
    slots, gpus = session.execute(select(func.sum(seconds), func.sum(seconds * Attempt.gpus))).one()
    yield _gauge(
        "actsearch_slot_hours",
        "Hours of slots that attempts took.",
        (slots or 0) / _SECONDS_OF_HOUR,
    )
    yield _gauge(
        "actsearch_gpu_hours", "Hours of GPUs that attempts took.", (gpus or 0) / _SECONDS_OF_HOUR
    )


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(name, help, value=float(value))


def _by_state(
    name: str, help: str, states: type[SearchState] | type[TrialState], counts: dict[str, int]
) -> Metric:
    family = GaugeMetricFamily(name, help, labels=("state",))
    for state in states:
        family.add_metric((state.value,), counts.get(state, 0))
    return family
