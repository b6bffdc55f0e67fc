"""Hours of a run under the account's limits, in simulated time, against a server that counts arrivals as they come.

The server's windows slide; it refuses what is over the limit, and says the most arrivals that any window held.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import deque
from collections.abc import Callable, Sequence

import pytest
from attrs import define, field
from simulated import SimulatedTime

from kore_campaign_async.budget import Budget
from kore_campaign_async.config import RateLimit
from kore_campaign_async.pace import Pace

HOURS = 3 * 3600.0
MINUTE = RateLimit(60, 60.0)
HOUR = RateLimit(1800, 3600.0)
Latency = Callable[[], float]


@define
class Server:
    """Counts the arrivals of everybody who uses the account."""

    time: SimulatedTime
    limits: Sequence[RateLimit]
    says_retry_after: bool = False
    arrived: dict[str, list[float]] = field(factory=dict)
    refused: dict[str, list[float]] = field(factory=dict)
    worst: dict[RateLimit, int] = field(factory=dict)
    _windows: list[deque[float]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._windows = [deque() for _ in self.limits]
        self.worst = dict.fromkeys(self.limits, 0)

    def arrive(self, who: str) -> float | None:
        """Take a call, or refuse it and return its Retry-After, 0.0 for none."""
        now = self.time()
        waits = [0.0]
        for limit, window in zip(self.limits, self._windows, strict=True):
            while window and window[0] <= now - limit.seconds:
                window.popleft()
            self.worst[limit] = max(self.worst[limit], len(window) + 1)
            if len(window) >= limit.calls:
                waits.append(window[0] + limit.seconds - now)
        if len(waits) > 1:
            self.refused.setdefault(who, []).append(now)
            return max(waits) if self.says_retry_after else 0.0
        for window in self._windows:
            window.append(now)
        self.arrived.setdefault(who, []).append(now)
        return None


async def run_until(
    end: float, server: Server, limits: Sequence[RateLimit], latency: Latency, rng: random.Random, concurrency: int = 8
) -> list[int]:
    """Send as a run does until the time is over; return how many calls were in flight whenever one began."""
    time = server.time
    budget = Budget(limits, clock=time, sleep=time.sleep)
    pace = Pace(budget, concurrency, time.sleep)
    in_flight: list[int] = []
    out = 0

    async def sender() -> None:
        nonlocal out
        while time() < end:
            async with pace:
                refused: float | None = 0.0
                while refused is not None and time() < end:
                    async with budget.slot() as slot:
                        if time() >= end:
                            return
                        out += 1
                        in_flight.append(out)
                        seconds, part = latency(), rng.random()
                        await time.sleep(seconds * part)
                        refused = server.arrive("us")
                        await time.sleep(seconds * (1 - part))
                        out -= 1
                        if refused is not None:
                            slot.throttled(refused or None)
                    pace.observe(seconds)

    await asyncio.gather(*(sender() for _ in range(concurrency)))
    return in_flight


def allowed(limits: Sequence[RateLimit], latency: Latency, end: float) -> int:
    """How many calls the slot rule allows: each goes out as soon as every window has a slot."""
    free = [[0.0] * limit.calls for limit in limits]
    calls = 0
    while (now := max(times[0] for times in free)) < end:
        seconds = latency()
        for limit, times in zip(limits, free, strict=True):
            heapq.heapreplace(times, now + seconds + limit.seconds)
        calls += 1
    return calls


def heavy_tailed(rng: random.Random, least: float, most: float) -> Latency:
    """Most calls are quick, some take hundreds of times as long."""
    return lambda: min(most, least * rng.paretovariate(0.6))


@pytest.mark.parametrize("most_seconds", [0.9, 5.0])
@pytest.mark.parametrize("limits", [(MINUTE,), (MINUTE, HOUR)])
@pytest.mark.parametrize("seed", [1, 2])
async def test_three_hours_use_the_limit_to_the_last_call(
    limits: tuple[RateLimit, ...], most_seconds: float, seed: int
) -> None:
    """No call is refused, no window holds more than the limit, and what the slot rule allows is used."""
    rng = random.Random(seed)
    server = Server(SimulatedTime(0.0), limits)
    in_flight = await run_until(HOURS, server, limits, heavy_tailed(rng, 0.01, most_seconds), rng)
    sent = len(server.arrived["us"])
    assert not server.refused
    for limit in limits:
        assert server.worst[limit] <= limit.calls
    assert sent >= 0.98 * allowed(limits, heavy_tailed(random.Random(seed), 0.01, most_seconds), HOURS)
    if most_seconds < 1:
        assert sent >= 0.98 * min(limit.calls * HOURS / limit.seconds for limit in limits)
    assert max(in_flight) <= 8


@pytest.mark.parametrize(
    ("seconds", "enough"),
    [(0.05, 2), (0.5, 2), (3.0, 7)],
)
async def test_no_more_calls_are_in_flight_than_the_limit_needs(seconds: float, enough: int) -> None:
    """One call a second of these latencies needs so many at once, however many more the run may have."""
    rng = random.Random(1)
    server = Server(SimulatedTime(0.0), (MINUTE,))
    in_flight = await run_until(3600.0, server, (MINUTE,), lambda: seconds, rng, concurrency=40)
    assert max(in_flight) <= 2 * enough
    assert max(in_flight[120:]) <= enough
    assert len(server.arrived["us"]) >= 0.98 * allowed((MINUTE,), lambda: seconds, 3600.0)


async def test_calls_that_are_stuck_are_made_up_for() -> None:
    """Every tenth call takes thirty seconds: others take its place, so that the limit is used all the same."""
    rng = random.Random(1)
    server = Server(SimulatedTime(0.0), (MINUTE,))
    stuck = random.Random(5)
    await run_until(HOURS, server, (MINUTE,), lambda: 30.0 if stuck.random() < 0.1 else 0.2, rng, concurrency=40)
    again = random.Random(5)
    reference = allowed((MINUTE,), lambda: 30.0 if again.random() < 0.1 else 0.2, HOURS)
    assert len(server.arrived["us"]) >= 0.98 * reference


async def rival(
    server: Server, end: float, limit: RateLimit, kind: str, rng: random.Random, *, insists: bool = False
) -> None:
    """Take half of the limit without telling: one call after the other, all at once, or as it comes.

    One that insists sends again what was refused, twenty times a window, until it is taken.
    """

    async def call() -> None:
        while server.arrive("rival") is not None and insists and server.time() < end:
            await server.time.sleep(limit.seconds / 20)

    apart = 2 * limit.seconds / limit.calls
    async with asyncio.TaskGroup() as group:
        while server.time() < end:
            for _ in range(limit.calls // 2 if kind == "bursts" else 1):
                group.create_task(call())
            pauses = {"even": apart, "bursts": limit.seconds, "random": rng.expovariate(1 / apart)}
            await server.time.sleep(pauses[kind])


@pytest.mark.parametrize("insists", [False, True])
@pytest.mark.parametrize("says_retry_after", [False, True])
@pytest.mark.parametrize(("kind", "used"), [("even", 0.8), ("bursts", 0.8), ("random", 0.6)])
@pytest.mark.parametrize(("limit", "seconds"), [(RateLimit(50, 2.0), 0.05), (MINUTE, 0.5)])
async def test_beside_a_rival_the_share_that_is_left_is_found(
    limit: RateLimit, seconds: float, kind: str, used: float, says_retry_after: bool, insists: bool
) -> None:
    """After five windows at most one call in twenty is refused, and most of what the rival leaves is used."""
    rng = random.Random(3)
    server = Server(SimulatedTime(0.0), (limit,), says_retry_after)
    windows = 60
    end = windows * limit.seconds
    await asyncio.gather(
        run_until(end, server, (limit,), lambda: seconds * rng.uniform(0.5, 1.5), rng),
        rival(server, end, limit, kind, rng, insists=insists),
    )
    late = 5 * limit.seconds
    sent, refused, theirs = (
        sum(moment >= late for moment in moments)
        for moments in (server.arrived["us"], server.refused.get("us", []), server.arrived["rival"])
    )
    assert refused <= 0.05 * (sent + refused)
    assert sent >= used * (limit.calls * (windows - 5) - theirs)


async def test_one_odd_window_does_not_cost_a_share_that_was_good_for_long() -> None:
    """Others take two thirds; once they take all there is: what is left is used again soon, not ten windows later."""
    server = Server(SimulatedTime(0.0), (MINUTE,))

    async def others() -> None:
        for second in range(40 * 60):
            await server.time.sleep(1.0)
            for _ in range(60 if second == 12 * 60 else second % 3 and 1):
                server.arrive("others")

    await asyncio.gather(run_until(40 * 60.0, server, (MINUTE,), lambda: 0.3, random.Random(3)), others())
    odd = 12 * 60.0
    before = sum(odd - 300 <= moment < odd for moment in server.arrived["us"])
    after = sum(odd + 180 <= moment < odd + 480 for moment in server.arrived["us"])
    assert after >= 0.85 * before


async def test_when_the_rival_is_gone_all_is_used_again() -> None:
    rng = random.Random(3)
    server = Server(SimulatedTime(0.0), (MINUTE,))
    await asyncio.gather(
        run_until(HOURS, server, (MINUTE,), lambda: 0.3, rng),
        rival(server, HOURS / 3, MINUTE, "even", rng),
    )
    last = sum(moment >= HOURS * 2 / 3 for moment in server.arrived["us"])
    assert last >= 0.98 * 60 * HOURS / 3 / 60


async def test_one_stray_refusal_does_not_cost_the_share() -> None:
    """The first call is refused, as after a run that used the last minute up: most of the limit is used from then."""
    rng = random.Random(3)
    server = Server(SimulatedTime(0.0), (MINUTE,))
    for _ in range(60):
        server.arrive("before")
    await run_until(3600.0, server, (MINUTE,), lambda: 0.3, rng)
    assert len(server.refused["us"]) <= 8
    assert len(server.arrived["us"]) >= 0.85 * 3600
