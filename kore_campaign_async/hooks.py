"""What a program is told of calls, batches and runs: frozen events, and who hears them.

No event holds a contact, a phone number, a body, a token or the server's words.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Literal

from attrs import frozen

from kore_campaign_async.callbacks import CallbackError, called, holding_interrupts, interrupts
from kore_campaign_async.errors import CallOutcome, InvalidRequestError
from kore_campaign_async.redaction import without_words

logger = logging.getLogger("kore_campaign_async")


@frozen(kw_only=True)
class AttemptEnded:
    """One attempt of a call is over, also one that was cancelled.

    Attributes:
        endpoint: by the API's own name, such as `addContacts`.
        method: the HTTP method.
        host: the URL of the environment's host.
        attempt: the first is 1.
        outcome: what is known of it.
        status: the HTTP status of a real response, else None.
        error: the name of the class of what it failed with, such as `ServerError`; None if it was accepted.
        throttled: whether the answer was that of a rate limit.
        seconds: how long it took, its wait for the budget left out.
        waited_seconds: how long it waited for the budget before.
        run_id: of the run whose contacts it carried; None of any other call.
        batch: the number of their batch in that run.
    """

    endpoint: str
    method: str
    host: str
    attempt: int
    outcome: CallOutcome
    status: int | None
    error: str | None
    throttled: bool
    seconds: float
    waited_seconds: float
    run_id: str | None
    batch: int | None


@frozen(kw_only=True)
class CallEnded:
    """A call is over: all of its attempts, also if it was cancelled or never went out.

    Attributes:
        endpoint: as in `AttemptEnded`, and so are `method`, `host`, `run_id` and `batch`.
        attempts: how many were made; 0 if it never came to one.
        outcome: what is known of it; `MAYBE_PROCESSED` also where that holds for an earlier attempt of one that failed.
        status: of the last attempt.
        error: the name of the class of what it ended in; None if it was accepted.
        seconds: from being asked for to its end, all waits included.
        waited_seconds: how long its attempts waited for the budget, all of them together.
    """

    endpoint: str
    method: str
    host: str
    attempts: int
    outcome: CallOutcome
    status: int | None
    error: str | None
    seconds: float
    waited_seconds: float
    run_id: str | None
    batch: int | None


@frozen(kw_only=True)
class RunStarted:
    """A run begins, new or resumed; told before its first batch.

    Attributes:
        run_id: its name.
        resumed: whether it goes on with what an earlier process began.
        dry_run: whether nothing is sent.
        concurrency: how many calls are in flight at most.
    """

    run_id: str
    resumed: bool
    dry_run: bool
    concurrency: int


@frozen(kw_only=True)
class BatchSettled:
    """All contacts of a batch are settled; a dry run has no batches.

    Attributes:
        run_id: of the run that it belongs to.
        batch: its number in the run; the first is 1.
        accepted: how many of its contacts ended so, and so are `refused`, `uncertain` and `unsent`.
        attempts: how many were made, those of its parts included where it was split.
        seconds: from when a sender took it.
        waited_seconds: how long its attempts waited for the budget, all of them together.
    """

    run_id: str
    batch: int
    accepted: int
    refused: int
    uncertain: int
    unsent: int
    attempts: int
    seconds: float
    waited_seconds: float


@frozen(kw_only=True)
class RunEnded:
    """A run is over, however it went.

    Attributes:
        run_id: its name.
        resumed: as in `RunStarted`, and so is `dry_run`.
        state: `finished`, or `stopped` before all was sent.
        read: contacts taken from the source, those of the process before it included where it was resumed; so are the
            counts of their states.
        sent: attempts of `addContacts` with a byte written; `retried`: after a first one; `throttled`: by a rate limit.
        seconds: from opening the source, summed over resumes.
        waited_seconds: how long it waited for the budget.
    """

    run_id: str
    resumed: bool
    dry_run: bool
    state: Literal["finished", "stopped"]
    read: int
    accepted: int
    rejected: int
    duplicate: int
    suppressed: int
    refused: int
    uncertain: int
    unsent: int
    sent: int
    retried: int
    throttled: int
    seconds: float
    waited_seconds: float


#: All that a hook is told; a later version may tell more, so pass over what you don't know.
Event = AttemptEnded | CallEnded | RunStarted | BatchSettled | RunEnded

#: Called from the event loop, so it must not block.
Hook = Callable[[Event], None]


class Hooks:
    """Tells events to hooks. A hook that fails is logged and told the next event all the same: no run stops for it.

    KeyboardInterrupt and SystemExit stop a run in order, and are raised at its end; of a call that belongs to no run
    they are raised once all hooks are told.

    Raises:
        InvalidRequestError: these are no hooks.
    """

    __slots__ = ("_failed", "_hooks")

    def __init__(self, hooks: Sequence[Hook]) -> None:
        if callable(hooks) or not all(map(callable, hooks)):
            raise InvalidRequestError("hooks is a list of functions that take an event, such as hooks=[seen.append]")
        self._hooks = tuple(hooks)
        self._failed: set[int] = set()

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def tell(self, event: Event) -> None:
        """Tell an event to every hook."""
        with holding_interrupts() if interrupts() is None else nullcontext():
            self._tell(event)

    def _tell(self, event: Event) -> None:
        for place, hook in enumerate(self._hooks):
            try:
                called(hook, event)
            except CallbackError as error:
                # Once loudly: what fails for one event mostly fails for all.
                level = logging.DEBUG if place in self._failed else logging.ERROR
                self._failed.add(place)
                logger.log(
                    level,
                    "a hook failed at %s, and the call or run goes on: %s",
                    type(event).__name__,
                    without_words(error.raised),
                )
