"""A batch in, its outcomes out. Retries and splits stay inside; an API error never leaves.

A sender may know the client, batches and outcomes. It knows nothing of sources, files and queues.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from attrs import define, field

from kore_campaign_async.client import Attempt, CampaignClient
from kore_campaign_async.errors import (
    CallError,
    CallOutcome,
    CredentialsError,
    ForbiddenError,
    KoreCampaignError,
    NotFoundError,
    NotSentError,
    PayloadTooLargeError,
    RunDirectoryError,
    ThrottledError,
    UnauthorizedError,
)
from kore_campaign_async.ingest.breaker import BATCHES, Breaker
from kore_campaign_async.ingest.records import Batch, Settled, State


class _ClosingError(KoreCampaignError):
    """The run takes no new call."""


# After these no batch fares better: the run stops, and the batch stays unsent, so that it can be completed.
_ENDS_THE_RUN: Final = (
    _ClosingError,
    CredentialsError,
    ForbiddenError,
    NotFoundError,
    NotSentError,
    RunDirectoryError,
    ThrottledError,
    UnauthorizedError,
)


class Ledger(Protocol):
    """Where a sender notes what it intends and what came of it; RunDirectoryError if that can't be noted."""

    async def intend(self, batch: int, rows: Sequence[int], attempt: int) -> int:
        """Note that a call goes out now; return the attempt's id."""
        ...

    def ended(self, number: int, outcome: CallOutcome, *, throttled: bool) -> None:
        """Note how an attempt ended."""
        ...

    async def settle(self, number: int, state: State, reason: str) -> None:
        """Note the state in which an attempt left its contacts."""
        ...


class NoLedger:
    """Of a run without a directory: nothing is noted, and nothing can be resumed."""

    async def intend(self, batch: int, rows: Sequence[int], attempt: int) -> int:
        """Note nothing."""
        del batch, rows
        return attempt

    def ended(self, number: int, outcome: CallOutcome, *, throttled: bool) -> None:
        """Note nothing."""

    async def settle(self, number: int, state: State, reason: str) -> None:
        """Note nothing."""


@define(kw_only=True, eq=False)
class Sender:
    """Sends batches to one list, one after another.

    Attributes:
        client: pays the budget and retries.
        contact_list: the list's name.
        repeatable: whether a call that may have been processed can be sent again.
        breaker: shared by all senders of a run.
        ledger: shared by all senders of a run.
        on_attempt: called with every attempt that ended.
        on_too_large: called with every batch that the server found too large.
        stop: why the run should stop, once a batch has shown it.
        closing: set from outside, so that no call goes out any more.
    """

    client: CampaignClient
    contact_list: str
    repeatable: bool
    breaker: Breaker
    ledger: Ledger
    on_attempt: Callable[[Attempt], None]
    on_too_large: Callable[[Batch], None]
    stop: str | None = field(default=None, init=False)
    closing: bool = field(default=False, init=False)
    _batch: Batch | None = field(default=None, init=False)
    _settled: list[Settled] = field(factory=list, init=False)
    _number: int = field(default=0, init=False)  # of the last attempt, in the ledger
    _attempt: int = field(default=0, init=False)  # that has begun and not ended
    _in_flight: int = field(default=0, init=False)
    _maybe_processed: bool = field(default=False, init=False)

    async def send(self, batch: Batch) -> list[Settled]:
        """Send a batch, in parts where the server finds it too large; return its contacts, settled."""
        self._batch, self._settled = batch, []
        await self._send(batch)
        self._batch = None
        return self._settled

    @property
    def in_flight(self) -> int:
        """How many contacts are in a call that may have been processed, and are not settled yet."""
        return self._in_flight

    @property
    def is_calling(self) -> bool:
        """Whether an attempt has begun and not ended."""
        return self._attempt > 0

    def abandon(self) -> list[Settled]:
        """Settle the batch whose sending was cancelled: what was in flight is uncertain, what came after unsent."""
        batch, self._batch = self._batch, None
        if batch is None:
            return []
        if self._attempt and self._in_flight:
            maybe = CallOutcome.MAYBE_PROCESSED
            self.on_attempt(Attempt(number=self._attempt, outcome=maybe, status=None, throttled=False, seconds=0.0))
        # Parts are sent in order, so what is settled is a beginning of the batch.
        begin = sum(len(settled.rows) for settled in self._settled)
        end = begin + self._in_flight
        self._in_flight = 0
        ends = (
            (State.UNCERTAIN, slice(begin, end), "cancelled while the call was in flight"),
            (State.UNSENT, slice(end, None), ""),
        )
        rest = [Settled(state, batch.rows[part], batch.records[part], reason) for state, part, reason in ends]
        return self._settled + [settled for settled in rest if settled.rows]

    async def _send(self, batch: Batch) -> None:
        place = self.breaker.sending()
        error = await self._call(batch)
        if error is None:
            self.breaker.accepted(place)
            await self._settle(batch, State.ACCEPTED, "")
            return
        if isinstance(error, PayloadTooLargeError) and len(batch.rows) > 1 and not self._maybe_processed:
            self.on_too_large(batch)
            for half in batch.halves():
                if self.stop is None:
                    await self._send(half)
                else:
                    self._settled.append(Settled(State.UNSENT, half.rows, half.records))
            return
        state, reason = self._end_of(error)
        await self._settle(batch, state, reason)
        if isinstance(error, _ENDS_THE_RUN):
            self.stop = str(error)
        elif self.breaker.failed(place, f"{state} {type(error).__name__}"):
            self.stop = f"{BATCHES} batches ended the same way, none after them was accepted: {error}"

    def _end_of(self, error: KoreCampaignError) -> tuple[State, str]:
        """The state of a batch whose call failed, and why."""
        happened = error.happened if isinstance(error, CallError) else str(error)
        # Whatever the last attempt came to: an earlier one may have been processed.
        if self._maybe_processed:
            return State.UNCERTAIN, happened
        if isinstance(error, _ENDS_THE_RUN):
            return State.UNSENT, ""
        return State.REFUSED, happened

    async def _settle(self, batch: Batch, state: State, reason: str) -> None:
        self._settled.append(Settled(state, batch.rows, batch.records, reason))
        self._in_flight = 0
        if state is not State.UNSENT:
            try:
                await self.ledger.settle(self._number, state, reason)
            except RunDirectoryError as error:
                self.stop = str(error)

    async def _call(self, batch: Batch) -> KoreCampaignError | None:
        request = self.client.add_encoded_contacts(
            self.contact_list, batch.encoded, contacts=len(batch.rows), repeatable=self.repeatable
        )

        async def before_attempt(number: int) -> None:
            if self.closing:
                raise _ClosingError("the run was stopped before the call went out")
            self._attempt = number
            try:
                self._number = await self.ledger.intend(batch.number, batch.rows, number)
            except RunDirectoryError:
                self._attempt = 0
                raise
            self._in_flight = len(batch.rows)

        def after_attempt(attempt: Attempt) -> None:
            self._attempt = 0
            self._maybe_processed |= attempt.outcome is CallOutcome.MAYBE_PROCESSED
            self._in_flight = len(batch.rows) if self._maybe_processed else 0
            self.ledger.ended(self._number, attempt.outcome, throttled=attempt.throttled)
            self.on_attempt(attempt)

        self._maybe_processed = False
        # A cancelled call does not come back here: `abandon` settles it.
        try:
            await self.client.send(request, before_attempt=before_attempt, after_attempt=after_attempt)
        except (CallError, CredentialsError, RunDirectoryError, _ClosingError) as error:
            return error
        return None
