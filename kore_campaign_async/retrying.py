"""When a failed call is tried again: a `RetryPolicy` becomes a fresh tenacity `AsyncRetrying` per call.

The rules are those of the design's "What a call ends in"; whether a failure can pass is told by its class
(`error.retryable`), and whether a call that may have been processed can be repeated by its request.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tenacity import AsyncRetrying, RetryCallState

from kore_campaign_async.config import RetryPolicy
from kore_campaign_async.errors import CallError, CallOutcome, ThrottledError, UnauthorizedError, named

T = TypeVar("T")

Sleep = Callable[[float], Awaitable[None]]

logger = logging.getLogger("kore_campaign_async.calls")

_REPEATS_AT_LEAST: Final = 10
_CALLS_A_REPEAT: Final = 5  # 20 %, in whole numbers: 0.2 * 55 is more than 11
_DOUBLINGS: Final = 60  # beyond these the bound would be no float any more


class RepeatLimit:
    """Keeps a client from hammering: repeats of maybe processed calls are at most max(10, 20 % of its calls).

    Throttled answers have waits of their own, and calls that were not sent reached nobody: neither counts.
    """

    def __init__(self) -> None:
        self.calls = 0
        self._repeats = 0

    def take(self) -> bool:
        """Take one repeat, if one is left."""
        if self._repeats >= max(_REPEATS_AT_LEAST, self.calls // _CALLS_A_REPEAT):
            return False
        self._repeats += 1
        return True


class CallRetrying:
    """One call's retries: counts what happened to it and decides whether, and after which wait, it goes on.

    Args:
        policy: how often and how long.
        repeatable: whether the request can be sent again when it may have been processed.
        repeats: the client's limit of repeats.
        rng: for the jitter.
        go_on: asked before every repeat.
        name: of the endpoint, for the log.
    """

    __slots__ = (
        "_backoffs",
        "_go_on",
        "_name",
        "_policy",
        "_repeatable",
        "_repeats",
        "_rng",
        "_spent_seconds",
        "_throttled",
        "_times_maybe_processed",
        "_unauthorized",
        "_wait_seconds",
        "attempts",
        "gated",
        "maybe_processed",
        "renewed",
    )

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        repeatable: bool,
        repeats: RepeatLimit,
        rng: random.Random,
        go_on: Callable[[], bool] = lambda: True,
        name: str = "a call",
    ) -> None:
        self._policy = policy
        self._repeatable = repeatable
        self._repeats = repeats
        self._rng = rng
        self._go_on = go_on
        self._name = name
        self._spent_seconds = 0.0
        self._wait_seconds = 0.0
        self._backoffs = 0
        self._times_maybe_processed = 0
        self._throttled = 0
        self._unauthorized = 0
        self.attempts = 0
        self.maybe_processed = False
        #: Set by the client after a 401: whether another token can be had.
        self.renewed = False
        #: Set by the client after a throttled answer: whether the budget's gate does the waiting.
        self.gated = False

    def attempted(self, seconds: float, outcome: CallOutcome) -> None:
        """Count an attempt, how it ended, and how long it took, its wait for the budget left out."""
        self.attempts += 1
        self.maybe_processed |= outcome is CallOutcome.MAYBE_PROCESSED
        self._spent_seconds += seconds

    def retrying(self, sleep: Sleep) -> Callable[[Callable[[], Awaitable[T]]], Awaitable[T]]:
        """Return what makes this call's attempts; it serves once."""
        return functools.partial(self._retried, sleep)

    async def _retried(self, sleep: Sleep, attempt: Callable[[], Awaitable[T]]) -> T:
        # Most calls need no second attempt, and tenacity's bookkeeping costs more than all else that a call needs of
        # us: it is asked when there is something to decide, and then finds the first attempt as if it had made it.
        try:
            return await attempt()
        except CallError as error:
            failed: CallError | None = error

        async def next_attempt() -> T:
            nonlocal failed
            first, failed = failed, None
            if first is None:
                return await attempt()
            try:
                raise first
            finally:
                del first  # its traceback holds this frame, and the frame would hold it

        engine = AsyncRetrying(
            sleep=sleep,
            retry=self._can_pass,
            wait=self._next_wait,
            stop=self._is_over,
            before_sleep=self._log_repeat,
            reraise=True,
        )
        return await engine(next_attempt)

    # tenacity asks these three in this order after each attempt.

    def _can_pass(self, state: RetryCallState) -> bool:
        error = _error(state)
        if isinstance(error, UnauthorizedError):
            self._unauthorized += 1
            return error.renewable and self.renewed and self._unauthorized == 1 and self._go_on()
        if error is None or not error.retryable or not self._go_on():
            return False
        return error.outcome is not CallOutcome.MAYBE_PROCESSED or self._repeatable

    def _next_wait(self, state: RetryCallState) -> float:
        error = _error(state)
        if isinstance(error, UnauthorizedError) or (isinstance(error, ThrottledError) and self.gated):
            self._wait_seconds = 0.0
        elif error is not None and error.retry_after_seconds is not None:
            self._wait_seconds = error.retry_after_seconds
        else:
            bound = self._policy.wait_initial_seconds * 2.0 ** min(self._backoffs, _DOUBLINGS)
            self._backoffs += 1
            self._wait_seconds = self._rng.uniform(0.0, min(bound, self._policy.wait_max_seconds))
        return self._wait_seconds

    def _is_over(self, state: RetryCallState) -> bool:
        error = _error(state)
        if isinstance(error, UnauthorizedError):
            return False
        if isinstance(error, ThrottledError):
            self._throttled += 1
            return self._throttled >= self._policy.throttled_answers
        self._spent_seconds += self._wait_seconds
        if self._spent_seconds >= self._policy.deadline_seconds:
            return True
        if error is not None and error.outcome is CallOutcome.MAYBE_PROCESSED:
            self._times_maybe_processed += 1
            return self._times_maybe_processed >= self._policy.attempts or not self._repeats.take()
        return False

    def _log_repeat(self, state: RetryCallState) -> None:
        error = _error(state)
        if error is None:
            return
        logger.info(
            "%s: attempt %d ended in %s; the next one goes out %s",
            self._name,
            self.attempts,
            named(error),
            "when the budget lets it" if not self._wait_seconds else f"in {self._wait_seconds:.1f} s",
        )


def _error(state: RetryCallState) -> CallError | None:
    error = state.outcome.exception() if state.outcome is not None else None
    return error if isinstance(error, CallError) else None
