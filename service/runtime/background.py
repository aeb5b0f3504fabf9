"""A thread that runs a function at intervals or when woken, until it is stopped."""

import logging
from collections.abc import Callable
from threading import Event, Thread

RETRY_SECONDS = 10.0
"""How soon a failed run is repeated where no interval is given."""

log = logging.getLogger(__name__)


class BackgroundThread:
    """Runs one function again and again. Start it once; stop it before the database closes.

    Args:
        name: Name of the thread, also in the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._woken = Event()
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self, run: Callable[[], None], *, interval: float | None = None) -> None:
        """Start the thread. The first run follows after one interval, or when woken.

        Args:
            run: What to do. An exception is logged and does not end the thread.
            interval: Seconds between two runs; None: run only when woken.
        """
        self._thread = Thread(target=self._loop, args=(run, interval), name=self._name, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Run soon. Callable from any thread, also before the start; does not block."""
        self._woken.set()

    def stop(self, *, wait: bool) -> None:
        """End the thread after the current run.

        Args:
            wait: Return only when the thread has ended.
        """
        self._stopping.set()
        self._woken.set()
        if wait and self._thread is not None:
            self._thread.join()

    def stops_within(self, seconds: float) -> bool:
        """Pause a long run; return at once, and True, when the thread is being stopped."""
        return self._stopping.wait(seconds)

    def _loop(self, run: Callable[[], None], interval: float | None) -> None:
        pause = interval
        while True:
            self._woken.wait(pause)
            # Cleared before the run: a call of `wake` during the run leads to another run.
            self._woken.clear()
            # Read after clearing: `stop` sets this first, so its wake-up cannot be lost.
            if self._stopping.is_set():
                return
            pause = interval
            try:
                run()
            except Exception:
                # The edge of the thread: without it the work would never be done again.
                log.exception("background thread %s failed; it will try again", self._name)
                pause = RETRY_SECONDS if interval is None else interval
