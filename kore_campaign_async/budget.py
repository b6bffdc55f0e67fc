"""The account's budget of calls. Clock and sleep are arguments; nothing here does I/O.

The server counts a call when it arrives, which is somewhere between our send and its answer. So a slot is taken
when a call goes out, and is free again one window after the call is over: no mix of latencies can then put more
than the limit's calls into any window. A throttled answer closes a gate for all calls for a while; where it shows
that others use the same account, the share that is left is looked for.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol, Self

from kore_campaign_async.config import RateLimit

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]

# Timers are not exact, and no two clocks run alike: a slot is held this much longer than the window.
_MARGIN_SECONDS: Final = 0.002
_DRIFT: Final = 1e-4

# Where others use the account too: how much of our share is kept at least when a throttled answer shows less, how
# much of a loss is made good again each time, and after how many windows: the first time, then, and once nothing is
# left to be made good. The halves are on purpose: everybody's slots come free a window after they were taken, so the
# moment at which a window was full is full again one window later, and more is better tried between two of them. For
# the same reason a gate stays closed this part of a window longer where the account is known to be shared. Found by
# simulation and beside real rivals (benchmarks/budget.py): trying costs a closed gate, so a whole window.
_DECREASE: Final = 0.75
_RECOVERY: Final = 0.5
_FIRST_WINDOWS: Final = 1.5
_NEXT_WINDOWS: Final = 2
_HOLD_WINDOWS: Final = 10.5
_FOUND_WINDOWS: Final = 5
_LATER: Final = 0.07

# A run keeps this many times the calls in flight that the limit needs on average, and more of them only where what
# is free of the budget would not go out within this part of a window.
_HEADROOM: Final = 2.0
_SPREAD: Final = 0.25


def held_seconds(limit: RateLimit) -> float:
    """How long the slot of a call that is over is still held."""
    return limit.seconds * (1 + _DRIFT) + _MARGIN_SECONDS


class Shared(Protocol):
    """A budget that other processes take from too."""

    async def take(self) -> str:
        """Wait for a slot, and return its name; RateBudgetError if the budget can't be reached."""
        ...

    def give_back(self, slot: str, *, used: bool) -> None:
        """Say that a slot's call is over, or that it was never used."""
        ...

    def close_gate(self, seconds: float) -> None:
        """Let no call of any process out for this long from now."""
        ...

    async def close(self) -> None:
        """Say what is still to be said, and hang up."""
        ...


class _Window:
    """One limit: how many calls are out, and when the slots of those that are over come free."""

    def __init__(self, limit: RateLimit) -> None:
        self.calls = limit.calls
        self._held_seconds = held_seconds(limit)
        self._apart_seconds = limit.seconds / limit.calls if limit.even else 0.0
        self._next = -math.inf
        self._out = 0
        self._free_at: deque[float] = deque()

    def held(self, now: float) -> int:
        """How many slots are taken."""
        while self._free_at and self._free_at[0] <= now:
            self._free_at.popleft()
        return self._out + len(self._free_at)

    def free_at(self, now: float, slots: int = 1) -> float:
        """When so many slots are free at the latest; infinity is not before a call is over."""
        missing = self.held(now) + slots - self.calls
        if missing <= 0:
            return self._next
        return max(self._next, self._free_at[missing - 1]) if missing <= len(self._free_at) else math.inf

    def take(self, now: float) -> None:
        self._out += 1
        self._next = now + self._apart_seconds

    def give_back(self, now: float) -> None:
        self._out -= 1
        self._free_at.append(now + self._held_seconds)


class _Share:
    """How much of the shortest window is ours: all of it, until a throttled answer shows that others use it too.

    What was ours when the window was full is what they leave. That is kept for some windows, then more and more is
    tried, until the whole is ours again or the next throttled answer shows the share anew. One window can mislead, as
    when others send again what was refused to them: what is lost of a share that was good for long, or that the full
    window before had shown, is made good again step by step.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._seconds = limit.seconds
        self._whole = limit.calls
        self._seen_at = -math.inf
        self._left = 0
        self._least = 1.0
        self._be_whole()

    def _be_whole(self) -> None:
        self._calls = float(self._whole)
        self._step = 1.0
        #: Whether a share was good for long, so that others are known to use the account.
        self.is_found = False
        self._good = 0.0  # what the share is made good to next
        self._believed = 0.0  # and what it may be in the end
        self._showed = 0.0  # what was ours in the last full window
        #: When it is more than now; infinity where it is the whole.
        self.raised_at = math.inf

    def calls(self, now: float) -> int:
        """How many calls of a window are ours now."""
        while now >= self.raised_at:
            if self._calls < self._good:
                self._calls = self._good
                more = (self._believed - self._good) * _RECOVERY
                self._good += more if more >= 1 else 0.0
                self.raised_at += (_NEXT_WINDOWS if self._good > self._calls else int(_HOLD_WINDOWS)) * self._seconds
                continue
            if self._step == 1:
                self._good = self._calls
            self._calls += self._step
            self._step *= 2
            self.raised_at += self._seconds
            if self._calls >= self._whole:
                self._be_whole()
        return int(self._calls)

    def throttled(self, now: float, sent_at: float, held: int) -> None:
        """Learn from a throttled answer to a call that went out then, while so many slots are taken."""
        if sent_at > self._seen_at:
            if self.raised_at < math.inf and now - self._seen_at >= _FOUND_WINDOWS * self._seconds:
                self.is_found = True
            self._believed = self._good if self.is_found else self._showed
            self._showed = float(held)
            self._seen_at, self._left, self._least = now, held, max(1.0, self._calls * _DECREASE)
        self._left -= 1  # the answer to a call that was sent before this one came speaks of the same full window
        self._calls = min(self._calls, max(self._least, self._left))
        self._good = self._calls + max(0.0, self._believed - self._calls) * _RECOVERY
        self._step = 1.0
        self.raised_at = now + (_FIRST_WINDOWS if self._good > self._calls else _HOLD_WINDOWS) * self._seconds


class Slot:
    """A call's place in the budget; the body of its `async with` is the call.

    Attributes:
        waited_seconds: how long the call waited for it.
    """

    __slots__ = ("_budget", "_name", "_taken_at", "waited_seconds")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._name: str | None = None
        self._taken_at = 0.0
        self.waited_seconds = 0.0

    async def __aenter__(self) -> Self:
        asked_at = self._budget.clock()
        if self._budget.take_at_once(asked_at):
            self._taken_at = asked_at
            return self
        self._name, self._taken_at = await self._budget.take()
        self.waited_seconds = self._taken_at - asked_at
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        self._budget.give_back(self._name)

    def throttled(self, retry_after_seconds: float | None) -> bool:
        """Learn from a throttled answer to this call, and tell whether a gate makes its next attempt wait.

        It closes for as long as was asked for, else for the shortest window (and a little more of it where others are
        known to use the account too); without a limit there is none.
        """
        return self._budget.throttled(self._taken_at, retry_after_seconds)


class Budget:
    """Hands out the account's calls: first come, first served, never more than every window allows.

    Args:
        limits: the windows, all of which hold; none is no limit.
        shared: the same windows, where other processes take from them too.
        clock: monotonic seconds.
        sleep: an async sleep on that clock.
    """

    def __init__(
        self,
        limits: Sequence[RateLimit],
        *,
        shared: Shared | None = None,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        # The shortest first: its share is the one that is looked for.
        ordered = sorted(limits, key=lambda limit: limit.seconds)
        self._windows = tuple(map(_Window, ordered))
        self._share = _Share(ordered[0]) if ordered else None
        #: Of the shortest window; None without a limit.
        self.shortest_seconds = ordered[0].seconds if ordered else None
        self._shared = shared
        self.clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._lined_up = 0
        self._over = asyncio.Event()
        self._gate_opens = -math.inf

    def slot(self) -> Slot:
        """A place for one call; entering it waits for the call's turn."""
        return Slot(self)

    def take_at_once(self, now: float) -> bool:
        """Take a slot if nobody is before us and nothing has to be waited for; tell whether it was. For `Slot`."""
        if self._shared is not None or self._lined_up or self._next_free(now) > now:
            return False
        for window in self._windows:
            window.take(now)
        return True

    async def take(self) -> tuple[str | None, float]:
        """Wait for a slot; return its name in the shared budget, and when it was taken. For `Slot`."""
        self._lined_up += 1
        try:
            # asyncio's lock wakes its waiters in the order they came, and a cancelled one gives its place up.
            async with self._turn:
                now = await self._until_free()
                name = None
                while self._shared is not None:
                    name = await self._shared.take()
                    now = self.clock()
                    if now >= self._gate_opens:
                        break
                    # The gate closed while others had their turns.
                    self._shared.give_back(name, used=False)
                    await self._until_free()
                for window in self._windows:
                    window.take(now)
                return name, now
        finally:
            self._lined_up -= 1

    def give_back(self, name: str | None) -> None:
        """Note that a call is over. For `Slot`."""
        now = self.clock()
        for window in self._windows:
            window.give_back(now)
        self._over.set()
        if self._shared is not None and name is not None:
            self._shared.give_back(name, used=True)

    async def _until_free(self) -> float:
        while True:
            self._over.clear()
            now = self.clock()
            at = self._next_free(now)
            if at <= now:
                return now
            if at < math.inf:
                await self._sleep(at - now)
            else:
                await self._over.wait()

    def _next_free(self, now: float) -> float:
        """When the next call may go out; infinity is not before a call is over."""
        return max(self._gate_opens, self._free_at(now))

    def _free_at(self, now: float, slots: int = 1) -> float:
        """When every window has so many free slots; infinity is not before a call is over."""
        if self._share is None:
            return -math.inf
        shortest, *others = self._windows
        at = shortest.free_at(now, slots + shortest.calls - self._share.calls(now))
        if at < math.inf:
            at = min(at, self._share.raised_at)
        return max(at, *(window.free_at(now, slots) for window in others)) if others else at

    def worth_at(self, in_flight: int, latency_seconds: float) -> float:
        """When one more call than these in flight helps to use the budget up, if calls last this long.

        Minus infinity is always; infinity is not before a call is over.
        """
        if self.shortest_seconds is None or not in_flight:
            return -math.inf
        calls_a_window = self.shortest_seconds / latency_seconds  # of one sender
        steady = 1 + math.ceil(_HEADROOM * self._windows[0].calls / calls_a_window)
        behind = 0 if in_flight < steady else int(in_flight * _SPREAD * calls_a_window)
        return self._free_at(self.clock(), behind + 1)

    def is_used_up(self) -> bool:
        """Whether nothing is free now."""
        now = self.clock()
        return self._next_free(now) > now

    async def close(self) -> None:
        """Hang up where the budget is shared."""
        if self._shared is not None:
            await self._shared.close()

    def throttled(self, sent_at: float, retry_after_seconds: float | None) -> bool:
        """Learn from a throttled answer. For `Slot`."""
        now = self.clock()
        seconds = retry_after_seconds or self.shortest_seconds
        if self._share is not None and self.shortest_seconds is not None:
            self._share.throttled(now, sent_at, self._windows[0].held(now))
            if self._share.is_found and not retry_after_seconds:
                seconds = self.shortest_seconds * (1 + _LATER)
        if seconds is None:
            return False
        self.close_gate(seconds)
        return True

    def gate_seconds(self) -> float:
        """How long a throttled answer still lets no call out."""
        return max(0.0, self._gate_opens - self.clock())

    def close_gate(self, seconds: float) -> None:
        """Let no call out for this long from now; calls that are out already go on."""
        self._gate_opens = max(self._gate_opens, self.clock() + seconds)
        if self._shared is not None:
            self._shared.close_gate(seconds)


def possible_calls(limits: Sequence[RateLimit], seconds: float) -> int | None:
    """How many calls the limits allow within this time; None without a limit."""
    return min((limit.calls * max(1, math.ceil(seconds / limit.seconds)) for limit in limits), default=None)


def planned_seconds(limits: Sequence[RateLimit], calls: int) -> float:
    """How long so many calls take under the limits at least: until the last of them goes out."""
    if len(limits) == 1 and not limits[0].even:
        return (calls - 1) // limits[0].calls * limits[0].seconds if calls else 0.0
    recent = [deque([-limit.seconds] * limit.calls, maxlen=limit.calls) for limit in limits]
    at = 0.0
    for number in range(calls):
        for limit, times in zip(limits, recent, strict=True):
            at = max(at, times[0] + limit.seconds)
            if limit.even and number:
                at = max(at, times[-1] + limit.seconds / limit.calls)
        for times in recent:
            times.append(at)
    return at
