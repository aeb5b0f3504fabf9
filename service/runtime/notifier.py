"""Calls from the threads that decide to those who wait on the event loop."""

import asyncio
from contextlib import suppress


class Notifier:
    """Wakes followers of events, on the event loop, when something was committed."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self.is_over = False

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def close(self) -> None:
        """Say that there will be no more; followers go."""
        self.is_over = True
        self.publish()

    def publish(self) -> None:
        """Say that there may be news; any thread may."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def next(self) -> asyncio.Event:
        """Return what the next news will set; ask for it before looking, lest one be missed."""
        return self._changed

    async def wait(self, news: asyncio.Event, seconds: float) -> None:
        """Wait for news, or for `seconds`."""
        with suppress(TimeoutError):
            await asyncio.wait_for(news.wait(), seconds)

    def _wake(self) -> None:
        # Whoever waits holds the old event; who comes later waits for the next news.
        self._changed.set()
        self._changed = asyncio.Event()
