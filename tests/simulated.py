"""Time that passes only when nobody has anything left to do: tests of waiting never wait, and never race."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from typing import Any


class SimulatedTime:
    """A clock (call it) and an async `sleep` on it.

    Sleepers wake in the order of their times, and among equal times in the order they lay down. Before the next
    one wakes, everything that the running loop has ready is run, so a task that was woken acts at its own time.
    `sleep(0)` therefore lets everybody else run until they wait for something, and no time passes.
    Only sleeps of this object move the clock; a test that awaits anything else of the outside world would hang.
    """

    def __init__(self, start: float = 1_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._number = itertools.count()
        self._watching = False

    def __call__(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Sleep virtually; a cancelled sleeper is forgotten."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        heapq.heappush(self._sleepers, (self._now + max(seconds, 0.0), next(self._number), future))
        if not self._watching:
            self._watching = True
            loop.call_soon(self._wake_one, loop)
        await future

    def _wake_one(self, loop: Any) -> None:
        if not loop._ready:  # nothing else can run at this time: the next time has come
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers:
                moment, _, future = heapq.heappop(self._sleepers)
                self._now = max(self._now, moment)
                future.set_result(None)
        self._watching = bool(self._sleepers)
        if self._watching:
            loop.call_soon(self._wake_one, loop)
