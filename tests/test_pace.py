"""How many calls a run keeps in flight, in simulated time."""

from __future__ import annotations

import asyncio

import pytest
from simulated import SimulatedTime

from kore_campaign_async.budget import Budget
from kore_campaign_async.config import RateLimit
from kore_campaign_async.pace import Pace


async def most_in_flight(
    time: SimulatedTime, pace: Pace, budget: Budget, seconds: float, *, calls: int, senders: int = 20
) -> int:
    """Send so many calls of this latency; return the most that were in flight at once."""
    most = out = 0
    left = calls

    async def sender() -> None:
        nonlocal most, out, left
        while left:
            async with pace:
                if not left:
                    return
                left -= 1
                async with budget.slot():
                    out += 1
                    most = max(most, out)
                    await time.sleep(seconds)
                    out -= 1
                pace.observe(seconds)

    await asyncio.gather(*(sender() for _ in range(senders)))
    return most


async def test_without_a_limit_all_senders_go() -> None:
    time = SimulatedTime()
    budget = Budget((), clock=time, sleep=time.sleep)
    pace = Pace(budget, 7, time.sleep)
    assert await most_in_flight(time, pace, budget, 1.0, calls=100) == 7
    assert pace.waited_seconds == 0.0


async def test_the_bound_is_never_passed() -> None:
    time = SimulatedTime()
    budget = Budget((RateLimit(1000, 1.0),), clock=time, sleep=time.sleep)
    assert await most_in_flight(time, Pace(budget, 5, time.sleep), budget, 3.0, calls=200) == 5


@pytest.mark.parametrize(("seconds", "least", "enough"), [(0.01, 1, 4), (1.0, 2, 4), (8.0, 8, 20)])
async def test_a_slow_server_gets_more_calls_at_once_than_a_quick_one(seconds: float, least: int, enough: int) -> None:
    time = SimulatedTime()
    budget = Budget((RateLimit(60, 60.0),), clock=time, sleep=time.sleep)
    assert least <= await most_in_flight(time, Pace(budget, 20, time.sleep), budget, seconds, calls=300) <= enough


async def test_what_was_waited_for_the_budget_is_told() -> None:
    """Four calls that take no time, one a minute: three minutes."""
    time = SimulatedTime()
    budget = Budget((RateLimit(1, 60.0),), clock=time, sleep=time.sleep)
    pace = Pace(budget, 3, time.sleep)
    await most_in_flight(time, pace, budget, 0.0, calls=4)
    assert pace.waited_seconds == pytest.approx(180.0, rel=0.01)


async def test_a_sender_that_is_cancelled_while_it_waits_lets_the_next_one_go() -> None:
    time = SimulatedTime()
    budget = Budget((RateLimit(1, 10.0),), clock=time, sleep=time.sleep)
    pace = Pace(budget, 3, time.sleep)
    went: list[int] = []

    async def sender(number: int) -> None:
        async with pace, budget.slot():
            went.append(number)

    tasks = [asyncio.create_task(sender(number)) for number in range(4)]
    await time.sleep(1.0)
    tasks[1].cancel()
    tasks[2].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert went == [0, 3]
    assert time() == pytest.approx(1010.0, abs=0.1)
    assert len(asyncio.all_tasks()) == 1
