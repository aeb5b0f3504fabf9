"""Notifications from any thread to coroutines on the event loop."""

import asyncio
from contextlib import suppress


class Notifier:
    """Wakes coroutines, such as those of followers of events, after a commit."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self.is_closed = False

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def close(self) -> None:
        """Send the last notification: those who wait see `is_closed` and end."""
        self.is_closed = True
        self.notify()

    def notify(self) -> None:
        """Wake everyone who waits; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def subscribe(self) -> asyncio.Event:
        """Return the event that the next notification sets.

        Subscribe before you read the store, or a commit between the two is missed.
        """
        return self._changed

    async def wait(self, notified: asyncio.Event, seconds: float) -> None:
        """Wait for a notification, at most `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(notified.wait(), seconds)

    def _wake(self) -> None:
        # A new event, not `clear`: those who wait hold the old one, which stays set for them.
        self._changed.set()
        self._changed = asyncio.Event()
