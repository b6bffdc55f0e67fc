"""What is tried again, how often and after which wait: scripted failures, a recording sleep, no socket."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from kore_campaign_async import errors
from kore_campaign_async.config import RetryPolicy
from kore_campaign_async.errors import (
    CallError,
    CallOutcome,
    CertificateError,
    ConnectionFailedError,
    ConnectionLostError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    RedirectRefusedError,
    ServerError,
    ThrottledError,
    UnauthorizedError,
    UnsuccessfulError,
)
from kore_campaign_async.retrying import CallRetrying, RepeatLimit


class HighestRng(random.Random):
    """Draws the bound itself, and records between which numbers it was asked to draw."""

    def __init__(self) -> None:
        super().__init__(0)
        self.asked: list[tuple[float, float]] = []

    def uniform(self, a: float, b: float) -> float:
        self.asked.append((a, b))
        return b


class LowestRng(random.Random):
    """Draws 0: every wait is none."""

    def uniform(self, a: float, b: float) -> float:
        return a


@define
class Story:
    """One call: the failures of its attempts in their order (the last one goes on for ever), then what happened.

    An attempt takes `attempt_seconds`; `None` among the failures is an answer.
    """

    failures: Sequence[BaseException | None]
    policy: RetryPolicy = field(factory=RetryPolicy)
    repeatable: bool = True
    repeats: RepeatLimit = field(factory=RepeatLimit)
    rng: random.Random = field(factory=LowestRng)
    attempt_seconds: float = 0.0
    renewable: bool = True
    gate: bool = False
    waits: list[float] = field(factory=list)
    attempts: int = 0

    async def run(self) -> str:
        call = CallRetrying(self.policy, repeatable=self.repeatable, repeats=self.repeats, rng=self.rng)

        async def attempt() -> str:
            failure = self.failures[min(self.attempts, len(self.failures) - 1)]
            self.attempts += 1
            assert self.attempts < 1_000, "it is tried for ever"
            call.attempted(self.attempt_seconds, getattr(failure, "outcome", CallOutcome.ACCEPTED))
            if isinstance(failure, UnauthorizedError):
                call.renewed = self.renewable
            elif isinstance(failure, ThrottledError):
                call.gated = self.gate
            if failure is not None:
                raise failure
            return "answer"

        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        try:
            return await call.retrying(sleep)(attempt)
        finally:
            assert call.attempts == self.attempts

    async def fails(self) -> BaseException:
        with pytest.raises(BaseException) as caught:  # noqa: PT011  which one is the caller's question
            await self.run()
        return caught.value


def made(kind: type[CallError], retry_after: float | None = None) -> CallError:
    return kind("scripted", "POST", "/p", None, "", retry_after)


MAYBE = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.MaybeProcessedError)
]
FINAL = [
    CertificateError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    RedirectRefusedError,
    UnsuccessfulError,
    errors.RefusedError,
]


async def test_an_answer_is_not_tried_again() -> None:
    story = Story([None])
    assert await story.run() == "answer"
    assert (story.attempts, story.waits) == (1, [])


@pytest.mark.parametrize("kind", FINAL)
@pytest.mark.parametrize("repeatable", [True, False])
async def test_a_no_is_final(kind: type[CallError], repeatable: bool) -> None:
    """A wrong certificate too, though no byte was sent: it stays wrong."""
    error = made(kind)
    story = Story([error], repeatable=repeatable)
    assert await story.fails() is error
    assert (story.attempts, story.waits) == (1, [])


@pytest.mark.parametrize("kind", MAYBE)
async def test_maybe_processed_is_never_repeated_on_a_call_that_is_not_repeatable(kind: type[CallError]) -> None:
    """Nobody is called twice."""
    error = made(kind)
    story = Story([error, None], repeatable=False)
    assert await story.fails() is error
    assert (story.attempts, story.waits) == (1, [])


@pytest.mark.parametrize("kind", MAYBE)
async def test_maybe_processed_is_repeated_on_a_repeatable_call(kind: type[CallError]) -> None:
    story = Story([made(kind), made(kind), None])
    assert await story.run() == "answer"
    assert story.attempts == 3


@pytest.mark.parametrize("attempts", [1, 2, 5, 9])
async def test_maybe_processed_is_tried_the_policys_attempts(attempts: int) -> None:
    """The last failure comes out, as it is, and nothing is waited for after it."""
    failures = [made(ServerError) for _ in range(10)]
    story = Story(failures, RetryPolicy(attempts=attempts))
    assert await story.fails() is failures[attempts - 1]
    assert story.attempts == attempts
    assert len(story.waits) == attempts - 1


@pytest.mark.parametrize("repeatable", [True, False])
async def test_not_sent_is_tried_beyond_the_attempts(repeatable: bool) -> None:
    """Nothing arrived, so the number of attempts is no limit, and it does not matter what is repeatable."""
    story = Story([*[made(ConnectionFailedError)] * 50, None], RetryPolicy(attempts=2), repeatable=repeatable)
    assert await story.run() == "answer"
    assert story.attempts == 51


async def test_attempts_that_were_not_sent_are_not_counted_among_those_that_may_have_been() -> None:
    story = Story([*[made(ConnectionFailedError)] * 8, made(ServerError)], RetryPolicy(attempts=3))
    assert isinstance(await story.fails(), ServerError)
    assert story.attempts == 8 + 3


async def test_not_sent_ends_with_the_deadline_attempts_counted() -> None:
    """Attempts of 7 seconds and no waits: the ninth begins within 60 seconds, and a tenth would not."""
    story = Story([made(ConnectionFailedError)], RetryPolicy(deadline_seconds=60), attempt_seconds=7.0)
    assert isinstance(await story.fails(), ConnectionFailedError)
    assert story.attempts == 9


async def test_not_sent_ends_with_the_deadline_waits_counted() -> None:
    """The waits alone: 0.5, 1, 2, 4, 8, 16, and the next 20 would go beyond 45 seconds."""
    story = Story([made(ConnectionFailedError)], RetryPolicy(deadline_seconds=45), rng=HighestRng())
    assert isinstance(await story.fails(), ConnectionFailedError)
    assert story.waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0]


@settings(deadline=None)
@given(st.floats(0.1, 30), st.floats(1, 300), st.integers(0, 2**32))
def test_no_attempt_begins_after_the_deadline(attempt_seconds: float, deadline: float, seed: int) -> None:
    policy = RetryPolicy(deadline_seconds=deadline, attempts=10_000, wait_initial_seconds=1.0)
    for failure in (made(ConnectionFailedError), made(ServerError)):
        repeats = RepeatLimit()
        repeats.calls = 100_000
        rng = random.Random(seed)
        story = Story([failure], policy, rng=rng, attempt_seconds=attempt_seconds, repeats=repeats)
        assert asyncio.run(story.fails()) is failure
        began = (story.attempts - 1) * attempt_seconds + sum(story.waits)
        assert began <= deadline * (1 + 1e-9)


async def test_throttled_is_tried_again_whatever_is_repeatable() -> None:
    """The server said no: nothing was processed."""
    story = Story([made(ThrottledError), made(ThrottledError), None], repeatable=False)
    assert await story.run() == "answer"
    assert story.attempts == 3


async def test_throttled_counts_as_no_attempt() -> None:
    failures = [*[made(ThrottledError)] * 6, *[made(ServerError)] * 9]
    story = Story(failures, RetryPolicy(attempts=3))
    assert isinstance(await story.fails(), ServerError)
    assert story.attempts == 6 + 3


@pytest.mark.parametrize("answers", [1, 3, 10])
async def test_throttled_answers_are_limited(answers: int) -> None:
    """A call that is throttled so often is over: the run stops, and a resume completes it."""
    story = Story([made(ThrottledError)], RetryPolicy(throttled_answers=answers), gate=True)
    assert isinstance(await story.fails(), ThrottledError)
    assert story.attempts == answers


async def test_throttled_waits_are_outside_the_deadline() -> None:
    failures = [*[made(ThrottledError, 50.0)] * 5, *[made(ConnectionFailedError)] * 3, None]
    story = Story(failures, RetryPolicy(deadline_seconds=60))
    assert await story.run() == "answer"
    assert story.waits == [50.0] * 5 + [0.0] * 3


async def test_where_the_gate_waits_the_call_does_not() -> None:
    """The budget's gate holds all calls, this one too: a wait of its own would be a second one."""
    rng = HighestRng()
    story = Story([made(ThrottledError, 7.0), made(ThrottledError), None], gate=True, rng=rng)
    assert await story.run() == "answer"
    assert story.waits == [0.0, 0.0]
    assert rng.asked == []


async def test_without_a_gate_throttled_backs_off_and_the_first_wait_is_at_most_a_second() -> None:
    rng = HighestRng()
    story = Story([*[made(ThrottledError)] * 3, None], rng=rng)
    assert await story.run() == "answer"
    assert story.waits[0] <= 1.0
    assert story.waits == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("kind", [ThrottledError, ServerError, ConnectionLostError])
async def test_retry_after_is_honoured(kind: type[CallError]) -> None:
    story = Story([made(kind, 7.5), None], rng=HighestRng())
    assert await story.run() == "answer"
    assert story.waits == [7.5]


async def test_retry_after_of_0_is_an_answer_too() -> None:
    story = Story([made(ServerError, 0.0), None], rng=HighestRng())
    assert await story.run() == "answer"
    assert story.waits == [0.0]


async def test_retry_after_beyond_the_deadline_ends_the_call() -> None:
    """It is not waited for in vain."""
    story = Story([made(ServerError, 120.0)], RetryPolicy(deadline_seconds=60))
    assert isinstance(await story.fails(), ServerError)
    assert (story.attempts, story.waits) == (1, [])


@pytest.mark.parametrize("repeatable", [True, False])
async def test_401_is_tried_once_more_with_a_new_token_and_at_once(repeatable: bool) -> None:
    rng = HighestRng()
    story = Story([made(UnauthorizedError), None], repeatable=repeatable, rng=rng)
    assert await story.run() == "answer"
    assert (story.attempts, story.waits, rng.asked) == (2, [0.0], [])


async def test_a_second_401_is_final() -> None:
    failures = [made(UnauthorizedError), made(UnauthorizedError)]
    story = Story(failures)
    assert await story.fails() is failures[1]
    assert story.attempts == 2


async def test_a_second_401_is_final_also_after_something_else() -> None:
    story = Story([made(UnauthorizedError), made(ServerError), made(ThrottledError), made(UnauthorizedError)])
    assert isinstance(await story.fails(), UnauthorizedError)
    assert story.attempts == 4


async def test_401_without_another_token_is_final() -> None:
    story = Story([made(UnauthorizedError), None], renewable=False)
    assert isinstance(await story.fails(), UnauthorizedError)
    assert story.attempts == 1


async def test_401_takes_no_attempt_of_the_policy_and_no_repeat_of_the_client() -> None:
    failures = [made(UnauthorizedError), *[made(ServerError)] * 9]
    story = Story(failures, RetryPolicy(attempts=2))
    assert isinstance(await story.fails(), ServerError)
    assert story.attempts == 1 + 2


async def test_waits_grow_to_their_bound() -> None:
    """Full jitter: uniform from 0 to 0.5, 1, 2, … at most 20 seconds."""
    rng = HighestRng()
    story = Story([made(ConnectionFailedError)], RetryPolicy(deadline_seconds=200), rng=rng)
    await story.fails()
    assert rng.asked[:9] == [(0.0, bound) for bound in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 20.0, 20.0, 20.0)]


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_every_wait_is_between_0_and_its_bound(seed: int, failures: int) -> None:
    """Also after so many doublings that the bound would be no float any more."""
    policy = RetryPolicy(deadline_seconds=1e6)
    story = Story([*[made(ConnectionFailedError)] * failures, None], policy, rng=random.Random(seed))
    assert asyncio.run(story.run()) == "answer"
    assert len(story.waits) == failures
    for number, wait in enumerate(story.waits):
        assert 0.0 <= wait <= min(0.5 * 2.0**number, 20.0)


def test_many_doublings_overflow_nothing() -> None:
    policy = RetryPolicy(deadline_seconds=1e9, wait_initial_seconds=1e-9)
    story = Story([*[made(ConnectionFailedError)] * 990, None], policy)
    assert asyncio.run(story.run()) == "answer"


async def test_waits_are_spread() -> None:
    """Jitter: two calls that failed together do not come back together."""
    waits = []
    for seed in range(50):
        story = Story([*[made(ConnectionFailedError)] * 4, None], rng=random.Random(seed))
        await story.run()
        waits.append(story.waits[-1])
    assert len(set(waits)) == 50
    assert min(waits) < 1.0
    assert max(waits) > 3.0


def taken(calls: int) -> int:
    """How many repeats a client of so many calls gets."""
    limit = RepeatLimit()
    limit.calls = calls
    number = 0
    while limit.take():
        number += 1
        assert number < 1_000_000
    return number


@pytest.mark.parametrize(("calls", "repeats"), [(0, 10), (1, 10), (49, 10), (50, 10), (55, 11), (100, 20), (1000, 200)])
def test_repeats_are_10_or_a_fifth_of_the_calls(calls: int, repeats: int) -> None:
    assert taken(calls) == repeats


@settings(deadline=None)
@given(st.integers(0, 50_000))
def test_repeats_are_never_more_than_a_fifth_beyond_the_first_10(calls: int) -> None:
    assert taken(calls) == max(10, calls // 5)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=20))
def test_repeats_keep_their_limit_while_calls_come(events: list[tuple[int, int]]) -> None:
    """However calls and failures follow each other: at no moment are the repeats too many."""
    limit = RepeatLimit()
    repeats = 0
    for calls, failures in events:
        limit.calls += calls
        repeats += sum(limit.take() for _ in range(failures))
        assert repeats <= max(10, limit.calls // 5)


async def test_an_outage_is_not_hammered() -> None:
    """100 calls into an outage: at most 20 repeats among them, not 400."""
    repeats = RepeatLimit()
    attempts = 0
    for _ in range(100):
        repeats.calls += 1
        story = Story([made(ServerError)], repeats=repeats)
        assert isinstance(await story.fails(), ServerError)
        attempts += story.attempts
    assert attempts == 100 + 20


@pytest.mark.parametrize("kind", [ThrottledError, ConnectionFailedError, UnauthorizedError])
async def test_what_reached_nobody_takes_no_repeat(kind: type[CallError]) -> None:
    repeats = RepeatLimit()
    for _ in range(40):
        assert await Story([made(kind), None], repeats=repeats).run() == "answer"
    assert taken_from(repeats) == 10


async def test_the_last_attempt_takes_no_repeat() -> None:
    repeats = RepeatLimit()
    await Story([made(ServerError)], RetryPolicy(attempts=3), repeats=repeats).fails()
    assert taken_from(repeats) == 10 - 2


def taken_from(limit: RepeatLimit) -> int:
    return sum(1 for _ in range(1_000) if limit.take())


@pytest.mark.parametrize("before", [[], [ServerError], [ThrottledError], [ConnectionFailedError]])
async def test_cancellation_is_never_retried_or_swallowed(before: list[type[CallError]]) -> None:
    cancelled = asyncio.CancelledError("stop")
    story = Story([*map(made, before), cancelled, None])
    assert isinstance(await story.fails(), asyncio.CancelledError)
    assert story.attempts == len(before) + 1


@pytest.mark.parametrize("where", ["attempt", "wait"])
async def test_a_cancelled_task_ends_cancelled(where: str) -> None:
    """Not only a raised CancelledError: a real cancellation, in an attempt and between two."""
    reached = asyncio.Event()
    attempts = 0
    call = CallRetrying(RetryPolicy(), repeatable=True, repeats=RepeatLimit(), rng=LowestRng())

    async def hang() -> None:
        reached.set()
        await asyncio.Event().wait()

    async def attempt() -> None:
        nonlocal attempts
        attempts += 1
        if where == "attempt":
            await hang()
        raise made(ConnectionFailedError)

    async def sleep(seconds: float) -> None:
        await hang()

    task: asyncio.Task[Any] = asyncio.create_task(call.retrying(sleep)(attempt))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert attempts == 1


@pytest.mark.parametrize("error", [ValueError("a fault"), KeyboardInterrupt(), errors.CredentialsError("none")])
async def test_what_is_no_failed_call_is_not_retried(error: BaseException) -> None:
    story = Story([error, None])
    assert await story.fails() is error
    assert (story.attempts, story.waits) == (1, [])


def test_rules_ask_the_class_of_an_error_nobody_knew() -> None:
    """A new failure needs a class, and no line in the retry code."""

    class PassingError(CallError):
        outcome = CallOutcome.NOT_SENT
        retryable = True

    class StayingError(CallError):
        outcome = CallOutcome.NOT_SENT
        retryable = False

    assert asyncio.run(Story([made(PassingError), None], repeatable=False).run()) == "answer"
    assert isinstance(asyncio.run(Story([made(StayingError), None]).fails()), StayingError)
