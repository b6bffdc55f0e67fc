"""A batch in, its outcomes out. Retries and splits stay inside; an API error never leaves.

A sender may know the client, batches and outcomes. It knows nothing of sources, files and queues.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import define, evolve, field

from kore_campaign_async.client import Attempt, CampaignClient
from kore_campaign_async.errors import (
    CallError,
    CallOutcome,
    ConnectionLostError,
    CredentialsError,
    ForbiddenError,
    KoreCampaignError,
    NotFoundError,
    NotSentError,
    PayloadTooLargeError,
    RefusedError,
    ReplyTimeoutError,
    RunDirectoryError,
    SharedRateError,
    ThrottledError,
    UnauthorizedError,
    named,
)
from kore_campaign_async.ingest.breaker import BATCHES, Breaker
from kore_campaign_async.ingest.records import Batch, Settled, State

logger = logging.getLogger("kore_campaign_async.runs")


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
    SharedRateError,
    ThrottledError,
    UnauthorizedError,
)

#: How many calls a batch may cost beyond its own where the contacts that it was refused for are looked for.
ISOLATION_CALLS: Final = 100
_ISOLATED_STATUSES: Final = {400, 412, 422}


class Ledger(Protocol):
    """Where a sender notes what it intends and what came of it; RunDirectoryError if that can't be noted."""

    async def intend(self, batch: int, rows: Sequence[int], attempt: int) -> int:
        """Note that a call goes out now; return the attempt's id."""
        ...

    def ended(
        self, number: int, outcome: CallOutcome, *, throttled: bool, seconds: float, waited_seconds: float
    ) -> None:
        """Note how an attempt ended, how long it took, and how long it waited for the budget before."""
        ...

    async def settle(self, number: int, state: State, reason: str) -> None:
        """Note the state in which an attempt left its contacts."""
        ...

    def note_barred(self, rows: Sequence[int]) -> None:
        """Note rows that the caller's own function barred, before any call that goes out from now on."""
        ...

    def note_sent_before(self, run_id: str, rows: Sequence[int]) -> None:
        """Note rows whose number another run has sent, before any call that goes out from now on."""
        ...

    def keep_report(self, report: Mapping[str, Any]) -> None:
        """Note how the run stands; no number may be in it."""
        ...


class NoLedger:
    """Of a run without a directory: nothing is noted, and nothing can be resumed."""

    async def intend(self, batch: int, rows: Sequence[int], attempt: int) -> int:
        """Note nothing."""
        del batch, rows
        return attempt

    def ended(
        self, number: int, outcome: CallOutcome, *, throttled: bool, seconds: float, waited_seconds: float
    ) -> None:
        """Note nothing."""

    async def settle(self, number: int, state: State, reason: str) -> None:
        """Note nothing."""

    def note_barred(self, rows: Sequence[int]) -> None:
        """Note nothing."""

    def note_sent_before(self, run_id: str, rows: Sequence[int]) -> None:
        """Note nothing."""

    def keep_report(self, report: Mapping[str, Any]) -> None:
        """Note nothing."""


@define(kw_only=True, eq=False)
class Sender:
    """Sends batches to one list, one after another.

    Attributes:
        client: pays the budget and retries.
        contact_list: the list's name.
        repeatable: whether a call that may have been processed can be sent again.
        isolate: whether a batch that was refused is split until the contacts are found that it was refused for.
        breaker: shared by all senders of a run.
        ledger: shared by all senders of a run.
        on_attempt: called with every attempt that ended.
        on_too_large: called with every batch that the server found too large.
        run_id: of the run, which hooks are told.
        began: when it took its latest batch, in monotonic seconds.
        attempts: how many its latest batch took, and `waited_seconds` how long they waited for the budget.
        stop: why the run should stop, once a batch has shown it.
        closing: set from outside, so that no call goes out any more.
    """

    client: CampaignClient
    contact_list: str
    repeatable: bool
    isolate: bool
    breaker: Breaker
    ledger: Ledger
    on_attempt: Callable[[Attempt], None]
    on_too_large: Callable[[Batch], None]
    run_id: str | None = None
    began: float = field(default=0.0, init=False)
    attempts: int = field(default=0, init=False)
    waited_seconds: float = field(default=0.0, init=False)
    stop: str | None = field(default=None, init=False)
    closing: bool = field(default=False, init=False)
    _batch: Batch | None = field(default=None, init=False)
    _settled: list[Settled] = field(factory=list, init=False)
    _rows_settled: int = field(default=0, init=False)  # how many contacts are in these
    _number: int = field(default=0, init=False)  # of the call's last attempt, in the ledger; 0 before the first
    _waited_before: float = field(default=0.0, init=False)  # of the batch, until an attempt has it
    _calling: bool = field(default=False, init=False)
    _in_flight: int = field(default=0, init=False)
    _maybe_processed: bool = field(default=False, init=False)
    _doubtful_until: int = field(default=0, init=False)  # where the part of the batch ends that is in doubt
    _calls_left: int = field(default=0, init=False)  # of those that an isolation may cost

    async def send(self, batch: Batch, waited_seconds: float = 0.0) -> list[Settled]:
        """Send a batch, in parts where that helps it; return its contacts, settled.

        Args:
            batch: its contacts.
            waited_seconds: how long it waited for the budget before; it is noted with the first attempt.
        """
        self._waited_before = waited_seconds
        self._batch, self._settled, self._rows_settled, self._doubtful_until = batch, [], 0, 0
        self._calls_left = ISOLATION_CALLS if self.isolate else 0
        self.began, self.attempts, self.waited_seconds = time.monotonic(), 0, 0.0
        await self._send(batch)
        self._batch = None
        return self._settled

    @property
    def in_flight(self) -> int:
        """How many contacts are in a call that may have been processed, and are not settled yet."""
        return self._in_flight

    @property
    def batch_number(self) -> int | None:
        """The number of the batch that is being sent."""
        return None if self._batch is None else self._batch.number

    @property
    def is_calling(self) -> bool:
        """Whether an attempt has begun and not ended."""
        return self._calling

    def abandon(self) -> list[Settled]:
        """Settle the batch whose sending was cancelled: what was in flight is uncertain, what came after unsent."""
        batch, self._batch = self._batch, None
        if batch is None:
            return []
        # Parts are sent in order, so what is settled is a beginning of the batch.
        begin = self._rows_settled
        end = max(begin + self._in_flight, self._doubtful_until)
        self._in_flight = 0
        ends = (
            (State.UNCERTAIN, slice(begin, end), "cancelled while the call was in flight"),
            (batch.unsent_state, slice(end, None), batch.unsent_reason),
        )
        rest = [Settled(state, batch.rows[part], batch.records[part], reason) for state, part, reason in ends]
        return self._settled + [settled for settled in rest if settled.rows]

    async def _send(self, batch: Batch, *, isolating: bool = False) -> None:
        """Send a batch or a part of one; `isolating` for a part of a batch that was refused."""
        place = self.breaker.sending()
        error = await self._call(batch)
        if error is None:
            self.breaker.accepted(place)
            await self._settle(batch, State.ACCEPTED, "")
            return
        state, reason = self._end_of(error)
        way = f"{state} {type(error).__name__}"
        if len(batch.rows) > 1:
            # Where an earlier attempt may have been processed, its contacts are in doubt until they are accepted.
            whole = evolve(batch, in_doubt=self._maybe_processed)
            if isinstance(error, PayloadTooLargeError):
                self.on_too_large(batch)
                logger.info("batch %d: %d contacts are too large for a call, and go in halves", *_size(batch))
                await self._send_halves(whole, isolating=isolating)
                return
            if self._can_isolate(error):
                # Both halves are paid for before the first goes out, so that each contact is in a call that was sent.
                self._calls_left -= 2
                before = len(self._settled)
                logger.log(
                    logging.DEBUG if isolating else logging.INFO,
                    "batch %d: %d contacts were refused, and go in halves to find those that it was for",
                    *_size(batch),
                )
                await self._send_halves(whole, isolating=True)
                if all(settled.state is not State.ACCEPTED for settled in self._settled[before:]):
                    self._count(place, way, error, isolating=isolating)
                return
        await self._settle(batch, state, reason)
        logger.log(
            logging.DEBUG if isolating or isinstance(error, _ClosingError) else logging.WARNING,
            "batch %d: %d contacts are %s: %s",
            *_size(batch),
            state.value,
            named(error),
        )
        if isinstance(error, _ENDS_THE_RUN):
            self.stop = str(error)
        else:
            self._count(place, way, error, isolating=isolating and isinstance(error, RefusedError))

    async def _send_halves(self, batch: Batch, *, isolating: bool) -> None:
        if batch.in_doubt:
            self._doubtful_until = max(self._doubtful_until, self._rows_settled + len(batch.rows))
        for half in batch.halves():
            if self.stop is None:
                await self._send(half, isolating=isolating)
            else:
                self._add(Settled(half.unsent_state, half.rows, half.records, half.unsent_reason))

    def _add(self, settled: Settled) -> None:
        self._settled.append(settled)
        self._rows_settled += len(settled.rows)

    def _can_isolate(self, error: KoreCampaignError) -> bool:
        refused = isinstance(error, RefusedError) and error.status in _ISOLATED_STATUSES
        return refused and self._calls_left >= 2  # noqa: PLR2004  a batch has two halves

    def _count(self, place: int, way: str, error: KoreCampaignError, *, isolating: bool) -> None:
        """Tell the breaker of a batch that ended badly. Refused parts of one don't count: it counts as a whole."""
        got_no_answer = isinstance(error, ConnectionLostError | ReplyTimeoutError)
        lost_at = time.monotonic() if got_no_answer else None
        if not isolating and self.breaker.failed(place, way, lost_at) and self.stop is None:
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
        self._add(Settled(state, batch.rows, batch.records, reason))
        self._in_flight = 0
        if state is not State.UNSENT and self._number:
            try:
                await self.ledger.settle(self._number, state, reason)
            except RunDirectoryError as error:
                logger.warning("batch %d: its end could not be journaled", batch.number)
                self.stop = str(error)

    async def _call(self, batch: Batch) -> KoreCampaignError | None:
        request = self.client.add_encoded_contacts(
            self.contact_list, batch.encoded, contacts=len(batch.rows), repeatable=self.repeatable
        )

        async def before_attempt(number: int) -> None:
            if self.closing:
                raise _ClosingError("the run was stopped before the call went out")
            self._number = await self.ledger.intend(batch.number, batch.rows, number)
            self._in_flight = len(batch.rows)
            self._calling = True

        def after_attempt(attempt: Attempt) -> None:
            self._calling = False
            self._maybe_processed |= attempt.outcome is CallOutcome.MAYBE_PROCESSED
            self._in_flight = len(batch.rows) if self._maybe_processed else 0
            self.attempts += 1
            self.waited_seconds += attempt.waited_seconds
            self.ledger.ended(
                self._number,
                attempt.outcome,
                throttled=attempt.throttled,
                seconds=attempt.seconds,
                waited_seconds=attempt.waited_seconds + self._waited_before,
            )
            self._waited_before = 0.0
            self.on_attempt(attempt)

        self._maybe_processed = batch.in_doubt
        self._number = 0
        # A cancelled call does not come back here: `abandon` settles it.
        try:
            await self.client.send(
                request,
                before_attempt=before_attempt,
                after_attempt=after_attempt,
                run_id=self.run_id,
                batch=batch.number,
            )
        except (CallError, CredentialsError, RunDirectoryError, SharedRateError, _ClosingError) as error:
            return error
        return None


def _size(batch: Batch) -> tuple[int, int]:
    return batch.number, len(batch.rows)
