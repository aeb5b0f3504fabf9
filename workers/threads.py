"""Threads that start, stop and fail together; and signals that stop them."""

import signal
import threading
from collections.abc import Callable, Iterable


class Stopping(Exception):
    """A thread was told to stop while it waited."""


class ThreadGroup:
    """Daemon threads with one stop event. An error in one of them stops all.

    Attributes:
        error: The last error that ended a thread; None if there was none.
    """

    def __init__(self) -> None:
        self.error: Exception | None = None
        self._stop = threading.Event()

    @property
    def is_stopping(self) -> bool:
        return self._stop.is_set()

    def start(
        self, target: Callable[..., None], *arguments: object, name: str | None = None
    ) -> threading.Thread:
        """Call `target` in a new thread."""
        # A daemon: a thread that waits for the service has nothing to finish at the end.
        thread = threading.Thread(
            target=self.run, args=(target, *arguments), name=name, daemon=True
        )
        thread.start()
        return thread

    def run(self, target: Callable[..., None], *arguments: object) -> None:
        """Call `target` in this thread, under the rules of the group."""
        try:
            target(*arguments)
        except Stopping:
            pass
        except Exception as error:
            # Python only prints an error of a thread. Here it must end the whole process: a
            # worker whose slot thread has died would go on with one slot less, unnoticed.
            self.error = error
            self._stop.set()

    def stop(self) -> None:
        """Tell all threads to stop. Callable from any thread."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until the group stops, at most so long; return whether it does."""
        return self._stop.wait(seconds)

    def sleep(self, seconds: float) -> None:
        """Wait, and raise `Stopping` when the group stops meanwhile."""
        if self._stop.wait(seconds):
            raise Stopping

    def raise_error(self) -> None:
        """Raise the error that ended a thread, if there is one."""
        if self.error is not None:
            raise self.error


def on_signals(numbers: Iterable[signal.Signals], call: Callable[[], None]) -> None:
    """Call `call` in a thread of its own whenever one of the signals arrives."""
    for number in numbers:
        # A handler interrupts the main thread, which may hold the lock of the very event that
        # `call` sets; in a thread of its own, `call` can wait for that lock.
        signal.signal(number, lambda *_: threading.Thread(target=call).start())
