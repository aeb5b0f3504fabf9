"""Group commit: reports that wait for the same search are stored in one transaction."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition

from search_space.contract import Report, Verdict


@dataclass(eq=False, slots=True)
class PendingReport:
    """The reports of one request, until its answer, a verdict or an error, is set."""

    lease: str
    reports: Sequence[Report]
    answer: "Future[Verdict]" = field(default_factory=Future)


class ReportBatches:
    """The reports that wait, by search. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: defaultdict[str, list[PendingReport]] = defaultdict(list)
        self._busy: set[str] = set()
        """The searches of which a thread stores a batch."""

    @property
    def size(self) -> int:
        """How many requests wait."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    @property
    def is_storing(self) -> bool:
        """Whether a batch is being stored."""
        return bool(self._busy)

    @contextmanager
    def join(self, search_id: str, pending: PendingReport) -> Iterator[Sequence[PendingReport]]:
        """Add a request to the batch of its search, and wait.

        Either another thread answers the request as part of its batch: then this one gets an empty
        batch. Or this thread gets the batch, with its own request in it, and must answer each.
        """
        with self._changed:
            self._waiting[search_id].append(pending)
            # While one thread stores a batch, the next batch grows. The first thread that wakes
            # takes all of it.
            self._changed.wait_for(lambda: pending.answer.done() or search_id not in self._busy)
            if pending.answer.done():
                batch: Sequence[PendingReport] = ()
            else:
                batch = self._waiting.pop(search_id)
                self._busy.add(search_id)
        try:
            yield batch
        finally:
            if batch:
                with self._changed:
                    self._busy.discard(search_id)
                    self._changed.notify_all()
