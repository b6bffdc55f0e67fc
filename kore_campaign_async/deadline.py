"""How long an attempt may take, also where the process is stopped meanwhile. Knows the event loop, and no network.

A process that was stopped for longer than that, such as by a laptop's lid, wakes up with answers in its sockets and
with its timers over. A timer that is late tells that nobody could read, so there is time to do so before it counts.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from typing import Final

# A loop that is only busy is not as late as that.
_LATE_SECONDS: Final = 0.1
# Enough to read what is there; more than that is no answer of then.
_READING_SECONDS: Final = 1.0
# Whoever blocks the loop again and again does not get rid of the timeout.
_MOST_GRANTED: Final = 3
# One turn reads what has come, the next one takes it to whom it is for.
_TURNS: Final = 3


@contextlib.asynccontextmanager
async def deadline(seconds: float) -> AsyncGenerator[None, None]:
    """Raise TimeoutError where the body is not done in time, and the event loop had its turn to read.

    Args:
        seconds: from now on.
    """
    async with asyncio.timeout(None) as timeout:
        patience = _Patience(timeout, seconds)
        try:
            yield
        finally:
            patience.end()


class _Patience:
    """Ends a timeout when its time has come, and the loop has looked at its sockets since."""

    def __init__(self, timeout: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._timeout = timeout
        self._due = self._loop.time() + seconds
        self._granted = self._turns = 0
        self._handle: asyncio.Handle = self._loop.call_at(self._due, self._is_due)

    def _is_due(self) -> None:
        now = self._loop.time()
        if now - self._due > _LATE_SECONDS and self._granted < _MOST_GRANTED:
            self._granted += 1
            self._due = now + _READING_SECONDS
            self._handle = self._loop.call_at(self._due, self._is_due)
        elif self._turns < _TURNS:
            self._turns += 1
            self._handle = self._loop.call_soon(self._is_due)
        else:
            self._timeout.reschedule(now)

    def end(self) -> None:
        """What it waited for is over."""
        self._handle.cancel()
