"""Reports that wait for their search's turn: whoever is next takes in all of them at once."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition

from search_space.contract import Report, Verdict


@dataclass(eq=False, slots=True)
class PendingReport:
    """What one attempt reports, until it is answered with the verdict, or with an error."""

    lease: str
    reports: Sequence[Report]
    answer: "Future[Verdict]" = field(default_factory=Future)


class ReportBatches:
    """The words that wait, by search. Every method is safe from any thread."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._waiting: defaultdict[str, list[PendingReport]] = defaultdict(list)
        self._taken: set[str] = set()

    @property
    def size(self) -> int:
        """How many words lie there."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    @property
    def taken(self) -> bool:
        """Whether somebody takes words in just now."""
        return bool(self._taken)

    @contextmanager
    def put(self, search_id: str, word: PendingReport) -> Iterator[Sequence[PendingReport]]:
        """Put a word on its search's pile, and wait.

        Either somebody else takes the word in, then the context has nothing to do; or it is given
        all words that lie there, this one among them, and must answer each.
        """
        with self._changed:
            self._waiting[search_id].append(word)
            self._changed.wait_for(lambda: word.answer.done() or search_id not in self._taken)
            if word.answer.done():
                words: Sequence[PendingReport] = ()
            else:
                words = self._waiting.pop(search_id)
                self._taken.add(search_id)
        try:
            yield words
        finally:
            if words:
                with self._changed:
                    self._taken.discard(search_id)
                    self._changed.notify_all()
