"""The account's budget of calls, in this process. Clock and sleep are arguments; nothing here does I/O.

The server counts a call when it arrives, which is somewhen between our send and its answer. So a slot is taken
when a call goes out, and is free again one window after the call is over: no mix of latencies can then put more
than the limit's calls into any window. A throttled answer closes a gate for all calls for a while.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

from kore_campaign_async.config import RateLimit

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

# Behind the answer stand timers and clocks that are not exact; a slot is held this much longer than the window.
_MARGIN_SECONDS: Final = 0.002


class _Window:
    """One limit: how many calls are out, and when the slots of those that are over come free."""

    __slots__ = ("_free_at", "_limit", "_out")

    def __init__(self, limit: RateLimit) -> None:
        self._limit = limit
        self._out = 0
        self._free_at: deque[float] = deque()

    def wait(self, now: float) -> float | None:
        """Seconds until a slot is free: 0.0 is now, None is not before a call is over."""
        while self._free_at and self._free_at[0] <= now:
            self._free_at.popleft()
        if self._out + len(self._free_at) < self._limit.calls:
            return 0.0
        return self._free_at[0] - now if self._free_at else None

    def take(self) -> None:
        self._out += 1

    def give_back(self, now: float) -> None:
        self._out -= 1
        self._free_at.append(now + self._limit.seconds + _MARGIN_SECONDS)


class Budget:
    """Hands out the account's calls: first come, first served, never more than every window allows.

    Args:
        limits: the windows, all of which hold; none is no limit.
        clock: monotonic seconds.
        sleep: an async sleep on that clock.
    """

    def __init__(
        self,
        limits: Sequence[RateLimit],
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._windows = tuple(_Window(limit) for limit in limits)
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._over = asyncio.Event()
        self._gate_opens = float("-inf")
        self.shortest_seconds: float | None = min((limit.seconds for limit in limits), default=None)

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a call's turn; the body of the `with` is the call."""
        # asyncio's lock wakes its waiters in the order they came, and a cancelled one gives its place up.
        async with self._turn:
            await self._until_free()
            for window in self._windows:
                window.take()
        try:
            yield
        finally:
            now = self._clock()
            for window in self._windows:
                window.give_back(now)
            self._over.set()

    async def _until_free(self) -> None:
        while True:
            self._over.clear()
            now = self._clock()
            waits = [window.wait(now) for window in self._windows]
            known = [wait for wait in waits if wait is not None]
            longest = max((self._gate_opens - now, *known))
            if longest > 0:
                await self._sleep(longest)
            elif len(known) < len(waits):
                await self._over.wait()
            else:
                return

    def close_gate(self, seconds: float) -> None:
        """Let no call out for this long from now; calls that are out already go on."""
        self._gate_opens = max(self._gate_opens, self._clock() + seconds)
