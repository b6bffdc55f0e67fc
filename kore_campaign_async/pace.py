"""How many calls a run keeps in flight: as many as the budget and the latency need, and no more.

Where the budget has nothing free, or what is free goes out in time as it is, another call in flight would only wait.
"""

from __future__ import annotations

import asyncio
import math
from types import TracebackType
from typing import Any, Final

from kore_campaign_async.budget import Budget, Sleep

# Until the first answer a call is taken to last this long.
_GUESS_SECONDS: Final = 1.0
# How much an answer counts against those before it.
_WEIGHT: Final = 0.05


class Pace:
    """Lets senders go on one by one; the body of an `async with` is the sending of a batch.

    Args:
        budget: that the calls will take from.
        most: how many may be in flight at once.
        sleep: an async sleep on the budget's clock.
    """

    def __init__(self, budget: Budget, most: int, sleep: Sleep) -> None:
        self._budget = budget
        self._most = most
        self._sleep = sleep
        #: How long senders waited, one after the other, because the budget had nothing free.
        self.waited_seconds = 0.0
        self._in_flight = 0
        self._latency_seconds: float | None = None
        self._line = asyncio.Lock()
        self._changed = asyncio.Event()

    def observe(self, seconds: float) -> None:
        """Note how long a call took."""
        before = self._latency_seconds
        self._latency_seconds = seconds if before is None else before + _WEIGHT * (seconds - before)
        self._changed.set()

    async def __aenter__(self) -> float:
        """Wait for the turn; return how much of `waited_seconds` this was."""
        waited = 0.0
        async with self._line:
            while (wait := self._wait()) > 0:
                began, used_up = self._budget.clock(), self._budget.is_used_up()
                self._changed.clear()
                await self._wait_for_change(wait)
                if used_up:
                    seconds = self._budget.clock() - began
                    waited += seconds
                    self.waited_seconds += seconds
            self._in_flight += 1
        return waited

    async def __aexit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._in_flight -= 1
        self._changed.set()

    def _wait(self) -> float:
        if self._in_flight >= self._most:
            return math.inf
        latency = self._latency_seconds if self._latency_seconds is not None else _GUESS_SECONDS
        return self._budget.worth_at(self._in_flight, max(latency, 1e-6)) - self._budget.clock()

    async def _wait_for_change(self, seconds: float) -> None:
        waiting: set[asyncio.Future[Any]] = {asyncio.ensure_future(self._changed.wait())}
        if seconds < math.inf:
            waiting.add(asyncio.ensure_future(self._sleep(seconds)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for one in waiting:
                one.cancel()
