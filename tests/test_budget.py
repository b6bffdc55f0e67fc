"""The account's budget, on a simulated clock: what arrives at the server is counted, not what is sent."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated import SimulatedTime

from kore_campaign_async.budget import Budget, planned_seconds, possible_calls
from kore_campaign_async.config import RateLimit

# A slot is held a little longer than the window: timers and clocks are not exact.
SLACK_SECONDS = 0.05


def budget_of(time: SimulatedTime, *limits: RateLimit) -> Budget:
    return Budget(limits, clock=time, sleep=time.sleep)


def most_in_a_window(arrivals: Sequence[float], seconds: float) -> int:
    """The most arrivals within any half-open window of this length: each window starts at an arrival."""
    return max((sum(1 for other in arrivals if start <= other < start + seconds) for start in arrivals), default=0)


async def arrivals_of(budget: Budget, time: SimulatedTime, calls: Sequence[tuple[float, float, float]]) -> list[float]:
    """Run calls of (start, seconds before the server counts it, seconds after that), and tell when each arrived."""
    begin = time()
    arrived: list[float] = []

    async def call(start: float, before: float, after: float) -> None:
        await time.sleep(start)
        async with budget.slot():
            await time.sleep(before)
            arrived.append(time() - begin)
            await time.sleep(after)

    await asyncio.gather(*(call(*one) for one in calls))
    return arrived


latency = st.floats(0, 30, allow_nan=False) | st.sampled_from([0.0, 0.001, 1.0, 10.0])
calls_of = st.lists(st.tuples(latency, latency, latency), min_size=1, max_size=30)
limit_of = st.builds(RateLimit, st.integers(1, 6), st.sampled_from([0.5, 1.0, 7.0, 10.0, 60.0]))


@settings(deadline=None)
@given(calls_of, limit_of)
def test_no_window_holds_more_arrivals_than_the_limit(
    calls: list[tuple[float, float, float]], limit: RateLimit
) -> None:
    """Whenever between the taking and the giving back of its slot the server counts a call."""

    async def story() -> list[float]:
        time = SimulatedTime()
        return await arrivals_of(budget_of(time, limit), time, calls)

    arrived = asyncio.run(story())
    assert len(arrived) == len(calls)
    assert most_in_a_window(arrived, limit.seconds) <= limit.calls


@settings(deadline=None)
@given(calls_of, st.lists(limit_of, min_size=2, max_size=3))
def test_several_windows_hold_at_once(calls: list[tuple[float, float, float]], limits: list[RateLimit]) -> None:
    async def story() -> list[float]:
        time = SimulatedTime()
        return await arrivals_of(budget_of(time, *limits), time, calls)

    arrived = asyncio.run(story())
    assert len(arrived) == len(calls)
    for limit in limits:
        assert most_in_a_window(arrived, limit.seconds) <= limit.calls


async def test_the_limit_is_used_up() -> None:
    """Three calls a window, of no duration: three at once, three a window later, and so on."""
    time = SimulatedTime()
    arrived = await arrivals_of(budget_of(time, RateLimit(3, 10.0)), time, [(0.0, 0.0, 0.0)] * 9)
    assert arrived == pytest.approx([0, 0, 0, 10, 10, 10, 20, 20, 20], abs=SLACK_SECONDS)


async def test_a_burst_and_a_long_window() -> None:
    """Two a second, four in ten: the short window spaces the calls, the long one stops them."""
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(2, 1.0), RateLimit(4, 10.0))
    arrived = await arrivals_of(budget, time, [(0.0, 0.0, 0.0)] * 6)
    assert arrived == pytest.approx([0, 0, 1, 1, 10, 10], abs=SLACK_SECONDS)


@pytest.mark.parametrize("seconds", [0.0, 0.3, 25.0])
async def test_a_slot_is_free_one_window_after_the_call_is_over(seconds: float) -> None:
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(1, 10.0))
    async with budget.slot():
        await time.sleep(seconds)
    over = time()
    async with budget.slot():
        assert over + 10.0 <= time() <= over + 10.0 + SLACK_SECONDS


async def test_a_call_that_fails_gives_its_slot_back_too() -> None:
    """It may have arrived, so it counts; but it must not be lost."""
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(1, 10.0))
    begin = time()
    for _ in range(3):
        with pytest.raises(OSError, match="broken"):
            async with budget.slot():
                raise OSError("broken")
    assert time() - begin == pytest.approx(20.0, abs=SLACK_SECONDS)


async def test_a_call_that_is_cancelled_gives_its_slot_back_too() -> None:
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(1, 10.0))

    async def call() -> None:
        async with budget.slot():
            await asyncio.Event().wait()

    task = asyncio.create_task(call())
    await time.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    over = time()
    async with budget.slot():
        assert time() - over == pytest.approx(10.0, abs=SLACK_SECONDS)


async def test_while_all_calls_are_out_nobody_goes() -> None:
    """No time frees a slot whose call is not over."""
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(2, 1.0))
    hold = asyncio.Event()
    went: list[int] = []

    async def call(number: int) -> None:
        async with budget.slot():
            went.append(number)
            await hold.wait()

    tasks = [asyncio.create_task(call(number)) for number in range(3)]
    await time.sleep(0)
    await time.sleep(100.0)
    assert went == [0, 1]
    hold.set()
    await asyncio.gather(*tasks)
    assert went == [0, 1, 2]


async def test_first_come_first_served() -> None:
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(1, 1.0))
    went: list[int] = []

    async def call(number: int) -> None:
        async with budget.slot():
            went.append(number)

    tasks = []
    for number in range(8):
        tasks.append(asyncio.create_task(call(number)))
        await time.sleep(0.3)
    await asyncio.gather(*tasks)
    assert went == list(range(8))


async def test_who_comes_when_a_slot_has_just_come_free_stands_behind_who_waited_for_it() -> None:
    now, awake = 0.0, asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal now
        await awake.wait()
        now += seconds

    budget = Budget([RateLimit(1, 1.0)], clock=lambda: now, sleep=sleep)
    order: list[str] = []

    async def call(name: str) -> None:
        async with budget.slot():
            order.append(name)

    await call("before")
    waited = asyncio.create_task(call("waited"))
    await asyncio.sleep(0)
    now = 5.0
    came = asyncio.create_task(call("came"))
    await asyncio.sleep(0)
    assert order == ["before"]
    awake.set()
    await asyncio.gather(waited, came)
    assert order == ["before", "waited", "came"]


@pytest.mark.parametrize("cancelled", [1, 2, 3])
async def test_a_cancelled_waiter_gives_its_place_up(cancelled: int) -> None:
    """Whether it is the first in the line or further behind: the others keep their order and wait no longer."""
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(1, 10.0))
    begin = time()
    went: dict[int, float] = {}

    async def call(number: int) -> None:
        async with budget.slot():
            went[number] = time() - begin

    tasks = []
    for number in range(4):
        tasks.append(asyncio.create_task(call(number)))
        await time.sleep(0)
    await time.sleep(2.0)
    tasks[cancelled].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(results[cancelled], asyncio.CancelledError)
    assert list(went) == [number for number in range(4) if number != cancelled]
    assert list(went.values()) == pytest.approx([0, 10, 20], abs=SLACK_SECONDS)


async def test_a_waiter_that_is_cancelled_while_all_calls_are_out() -> None:
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(1, 1.0))
    hold = asyncio.Event()
    went: list[int] = []

    async def call(number: int) -> None:
        async with budget.slot():
            went.append(number)
            await hold.wait()

    tasks = [asyncio.create_task(call(number)) for number in range(3)]
    await time.sleep(0)
    tasks[1].cancel()
    await time.sleep(0)
    hold.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert went == [0, 2]


async def test_no_limit_never_waits() -> None:
    time = SimulatedTime()
    begin = time()
    arrived = await arrivals_of(budget_of(time), time, [(0.0, 0.0, 0.0)] * 500)
    assert arrived == [0.0] * 500
    assert time() == begin


async def test_calls_below_the_limit_never_wait() -> None:
    time = SimulatedTime()
    arrived = await arrivals_of(
        budget_of(time, RateLimit(60, 60.0)), time, [(number * 1.01, 0.0, 0.0) for number in range(200)]
    )
    assert arrived == pytest.approx([number * 1.01 for number in range(200)])


@pytest.mark.parametrize("limits", [(), (RateLimit(60, 60.0),)])
async def test_a_closed_gate_holds_everybody(limits: tuple[RateLimit, ...]) -> None:
    """Also where there is no limit; calls that are out go on."""
    time = SimulatedTime()
    budget = budget_of(time, *limits)
    begin = time()
    went: list[float] = []
    ended: list[float] = []

    async def call() -> None:
        async with budget.slot():
            went.append(time() - begin)
            await time.sleep(1.0)
            ended.append(time() - begin)

    out = asyncio.create_task(call())
    await time.sleep(0)
    budget.close_gate(7.0)
    await asyncio.gather(out, *(call() for _ in range(5)))
    assert went == pytest.approx([0.0, *[7.0] * 5])
    assert ended == pytest.approx([1.0, *[8.0] * 5])


async def test_a_gate_that_closes_while_somebody_waits() -> None:
    """Who waits for a slot finds the gate closed when the slot comes free."""
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(1, 2.0))
    async with budget.slot():
        pass
    begin = time()

    async def call() -> float:
        async with budget.slot():
            return time() - begin

    waiting = asyncio.create_task(call())
    await time.sleep(1.0)
    budget.close_gate(30.0)
    assert await waiting == pytest.approx(31.0, abs=SLACK_SECONDS)


async def test_a_gate_never_opens_earlier_than_it_was_told() -> None:
    time = SimulatedTime()
    budget = budget_of(time)
    begin = time()
    budget.close_gate(30.0)
    budget.close_gate(5.0)
    async with budget.slot():
        assert time() - begin == pytest.approx(30.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 50), st.floats(0, 50)), min_size=1, max_size=5))
def test_nobody_goes_while_a_gate_is_closed(gates: list[tuple[float, float]]) -> None:
    """For any mix of gates: (when it is closed, for how long)."""

    async def story() -> tuple[list[float], float]:
        time = SimulatedTime(0.0)
        budget = budget_of(time, RateLimit(2, 5.0))
        went: list[float] = []

        async def close(at: float, seconds: float) -> None:
            await time.sleep(at)
            budget.close_gate(seconds)

        async def call(start: float) -> None:
            await time.sleep(start)
            async with budget.slot():
                went.append(time())

        await asyncio.gather(*(close(*gate) for gate in gates), *(call(number * 3.0) for number in range(15)))
        return went, time()

    went, _ = asyncio.run(story())
    assert len(went) == 15
    for moment, (at, seconds) in itertools.product(went, gates):
        assert not at < moment < at + seconds * (1 - 1e-9), (moment, at, seconds)


def test_the_shortest_window_is_told() -> None:
    """A throttled answer that does not say how long waits for it."""
    assert Budget((RateLimit(1800, 3600.0), RateLimit(60, 60.0))).shortest_seconds == 60.0
    assert Budget(()).shortest_seconds is None


async def test_even_spacing_keeps_calls_apart() -> None:
    time = SimulatedTime()
    arrived = await arrivals_of(budget_of(time, RateLimit(4, 10.0, even=True)), time, [(0.0, 0.0, 0.0)] * 6)
    assert arrived == pytest.approx([0, 2.5, 5, 7.5, 10, 12.5], abs=SLACK_SECONDS)


async def test_even_spacing_beside_a_window_that_allows_a_burst() -> None:
    time = SimulatedTime()
    budget = budget_of(time, RateLimit(2, 1.0, even=True), RateLimit(3, 10.0))
    arrived = await arrivals_of(budget, time, [(0.0, 0.0, 0.0)] * 5)
    assert arrived == pytest.approx([0, 0.5, 1, 10, 10.5], abs=SLACK_SECONDS)


@settings(deadline=None)
@given(st.lists(limit_of | st.just(RateLimit(3, 6.0, even=True)), min_size=1, max_size=3), st.integers(1, 40))
def test_a_plan_is_what_calls_of_no_duration_take(limits: list[RateLimit], calls: int) -> None:
    async def story() -> list[float]:
        time = SimulatedTime()
        return await arrivals_of(budget_of(time, *limits), time, [(0.0, 0.0, 0.0)] * calls)

    assert max(asyncio.run(story())) == pytest.approx(planned_seconds(limits, calls), rel=0.001, abs=0.01 * calls)


@pytest.mark.parametrize(
    ("limits", "calls", "seconds"),
    [
        ((RateLimit(60, 60.0),), 0, 0.0),
        ((RateLimit(60, 60.0),), 60, 0.0),
        ((RateLimit(60, 60.0),), 61, 60.0),
        ((RateLimit(60, 60.0),), 1002, 960.0),
        ((RateLimit(60, 60.0, even=True),), 61, 60.0),
        ((RateLimit(60, 60.0), RateLimit(1800, 3600.0)), 1801, 3600.0),
        ((RateLimit(60, 60.0), RateLimit(1800, 3600.0)), 3600, 3600.0 + 29 * 60),
    ],
)
def test_a_plan_in_numbers(limits: tuple[RateLimit, ...], calls: int, seconds: float) -> None:
    assert planned_seconds(limits, calls) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("limits", "seconds", "calls"),
    [
        ((), 10.0, None),
        ((RateLimit(60, 60.0),), 0.0, 60),
        ((RateLimit(60, 60.0),), 60.0, 60),
        ((RateLimit(60, 60.0),), 61.0, 120),
        ((RateLimit(60, 60.0), RateLimit(1800, 3600.0)), 3600.0, 1800),
    ],
)
def test_what_the_limits_allow_in_a_time(limits: tuple[RateLimit, ...], seconds: float, calls: int | None) -> None:
    assert possible_calls(limits, seconds) == calls


async def throttled_at_once(budget: Budget, retry_after_seconds: float | None = None) -> None:
    async with budget.slot() as slot:
        slot.throttled(retry_after_seconds)


async def test_more_is_tried_half_a_window_away_from_the_moment_at_which_the_window_was_full() -> None:
    """Everybody's slots come free one window after they were taken: what was full then is full again by then."""
    time = SimulatedTime(0.0)
    budget = budget_of(time, RateLimit(8, 10.0))
    await arrivals_of(budget, time, [(0.0, 0.0, 0.0)] * 7)
    await throttled_at_once(budget)
    arrived = await arrivals_of(budget, time, [(0.0, 0.0, 0.0)] * 71)
    away = [moment for moment in arrived if not math.isclose(moment % 10.0, 0.0, abs_tol=0.1)]
    assert away == pytest.approx([105.0], abs=0.1)


@pytest.mark.parametrize(("retry_after_seconds", "waits_seconds"), [(None, 10.7), (4.0, 4.0)])
async def test_a_gate_opens_a_little_later_where_others_are_known(
    retry_after_seconds: float | None, waits_seconds: float
) -> None:
    """Only after a share that was good for long: until then a throttled answer closes it for the window."""
    time = SimulatedTime(0.0)
    budget = budget_of(time, RateLimit(8, 10.0))
    for _ in range(2):
        await throttled_at_once(budget)
        assert await arrivals_of(budget, time, [(0.0, 0.0, 0.0)]) == pytest.approx([10.0])
    await time.sleep(60.0)
    await throttled_at_once(budget, retry_after_seconds)
    assert await arrivals_of(budget, time, [(0.0, 0.0, 0.0)]) == pytest.approx([waits_seconds])
