"""The only module that knows the order: read -> senders -> recorder, joined by two bounded queues.

Every contact read is settled exactly once, also when the run is stopped or cancelled: what is on its way then is
settled where it stands. `Tally.check` holds that at the end of every run.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, Generic, TypeVar

from attrs import asdict, define, evolve, field

from kore_campaign_async.budget import possible_calls
from kore_campaign_async.callbacks import CallbackError, called, contained, described, interrupts
from kore_campaign_async.client import Attempt, CampaignClient
from kore_campaign_async.config import IngestOptions, Plan, Progress
from kore_campaign_async.errors import CallOutcome, RunDirectoryError, SourceError
from kore_campaign_async.hooks import BatchSettled, RunEnded, RunStarted
from kore_campaign_async.ingest.breaker import Breaker
from kore_campaign_async.ingest.escaping import AS_ESCAPES
from kore_campaign_async.ingest.files import RunFiles
from kore_campaign_async.ingest.records import Batch, Settled, Slice, State, TableSlice
from kore_campaign_async.ingest.report import RUNNING, BudgetUse, IngestReport, Tally, timestamp
from kore_campaign_async.ingest.screen import Screen
from kore_campaign_async.ingest.sending import Ledger, Sender
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS, Source, next_or_none
from kore_campaign_async.pace import Pace
from kore_campaign_async.redaction import masked, without_words

T = TypeVar("T")

Sink = Callable[[Source, Settled], Awaitable[None]]

logger = logging.getLogger("kore_campaign_async.runs")

_PROGRESS_SECONDS: Final = 0.25
_SNAPSHOT_SECONDS: Final = 2.0
# An outcome of so few cells is written sooner than a thread is asked to.
_FEW_CELLS: Final = 2_000
_CANCELLED: Final = "cancelled"
_ESCAPES: Final = f"what is no text is {AS_ESCAPES}: mend these rows before they are pushed again"

# Stands behind what a resume went through again of what was settled before.
_GONE_THROUGH: Final = Settled(State.UNSENT, (), ())
_SENT: Final = {State.ACCEPTED, State.REFUSED, State.UNCERTAIN, State.UNSENT}


class _Belt(Generic[T]):
    """A bounded queue from which nothing is lost when a `put` is cancelled."""

    def __init__(self, size: int) -> None:
        self._queue: asyncio.Queue[T] = asyncio.Queue(size)
        self._waiting: list[T] = []

    async def put(self, item: T) -> None:
        self._waiting.append(item)
        await self._queue.put(item)
        self._waiting.remove(item)

    async def get(self) -> T:
        return await self._queue.get()

    def drain(self) -> list[T]:
        """Everything that was put and not got."""
        left = [self._queue.get_nowait() for _ in range(self._queue.qsize())]
        waiting, self._waiting = self._waiting, []
        return left + waiting


@define(kw_only=True, eq=False)
class Run:
    """One run, from its first slice to its report."""

    client: CampaignClient
    source: Source
    contact_list: str
    options: IngestOptions
    screen: Screen
    repeatable: bool
    files: RunFiles | None
    sink: Sink | None
    began: float
    started_at: dt.datetime
    run_id: str
    ledger: Ledger
    tally: Tally
    notices: tuple[str, ...]
    plan: Plan | None
    reading: tuple[str, ...] = ()
    #: Tells what somebody should know of the first slice, before anything of it is sent.
    first_look: Callable[[Slice | TableSlice], tuple[str, ...]] | None = None
    #: Of a run that is resumed: how it stood, and the row up to which it is gone through again before what it writes
    #: takes the place of what is there. Told to stop meanwhile, it reads on and sends nothing more.
    before: IngestReport | None = field(default=None, init=False)
    until: int = field(default=0, init=False)
    _brought_forward: Callable[[IngestReport], IngestReport] | None = field(default=None, init=False)
    _behind: bool = field(default=False, init=False)
    _gone_through: bool = field(default=False, init=False)
    _marked: bool = field(default=False, init=False)
    _doubts_settled: int = field(default=0, init=False)
    _exhausted: bool = field(default=False, init=False)
    # A source that fails ends the reading; what was read goes out all the same.
    _stopping: bool = field(default=False, init=False)
    _stopped_because: str | None = field(default=None, init=False)
    _unwritten: str | None = field(default=None, init=False)
    _winding_down: bool = field(default=False, init=False)
    _reader: asyncio.Task[None] = field(init=False)
    _giver: asyncio.Task[None] = field(init=False)
    _sending: dict[Sender, asyncio.Task[None]] = field(factory=dict, init=False)
    _waiting: asyncio.Task[Slice | TableSlice | None] | None = field(default=None, init=False)
    _handing_out: asyncio.Task[None] | None = field(default=None, init=False)
    _senders: list[Sender] = field(init=False)
    _pace: Pace = field(init=False)
    _batches: _Belt[Batch | None] = field(init=False)
    _outcomes: _Belt[Settled | None] = field(init=False)
    # What the reader and each sender have ready and not yet handed over.
    _read_out: deque[Batch | Settled] = field(factory=deque, init=False)
    _has_read: asyncio.Event = field(factory=asyncio.Event, init=False)
    _has_given: asyncio.Event = field(factory=asyncio.Event, init=False)
    _all_read: bool = field(default=False, init=False)
    _sent_out: list[deque[Batch | Settled]] = field(init=False)
    _progress: Callable[[Progress], None] | None = field(init=False)
    _shown_at: float = field(default=0.0, init=False)
    _saved_at: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._progress = self.options.progress
        self._batches = _Belt(self.options.concurrency)
        self._outcomes = _Belt(self.options.concurrency)
        breaker = Breaker()
        self._senders = [
            Sender(
                client=self.client,
                contact_list=self.contact_list,
                repeatable=self.repeatable,
                isolate=self.options.isolate,
                breaker=breaker,
                ledger=self.ledger,
                on_attempt=self._count,
                on_too_large=lambda batch: self.screen.batcher.learn(len(batch.rows), len(batch.encoded)),
                run_id=self.run_id,
            )
            for _ in range(self.options.concurrency)
        ]
        self._pace = self.client.pace(self.options.concurrency)
        self._sent_out = [deque() for _ in self._senders]

    def goes_on_from(
        self, before: IngestReport, until: int, brought_forward: Callable[[IngestReport], IngestReport]
    ) -> None:
        """Tell it that it is resumed: how it stood, how far its files may tell, and what brings that forward."""
        self.before, self.until, self._behind = before, until, True
        self._brought_forward = brought_forward

    async def execute(self) -> IngestReport:
        """Run to the end, and settle everything also where the end comes early.

        Cancelling it stops the run in order: no call goes out any more, those in flight may still take
        `grace_seconds`, and what is on its way is settled. Cancelling it again cuts the calls off.
        """
        if (held := interrupts()) is not None:
            loop = asyncio.get_running_loop()
            held.on_raised = lambda why: loop.call_soon_threadsafe(self._stop, why)
        self._say_begun()
        cancelled = False
        try:
            await self._save(final=False)
        except asyncio.CancelledError:
            cancelled = True
            self._stop(_CANCELLED)
        self._show()  # what a person should see before anything is sent
        self._shown_at = time.monotonic()
        pipeline = asyncio.create_task(self._pipeline())
        try:
            await asyncio.wait((pipeline,))
        except asyncio.CancelledError:
            await self._wind_down(pipeline)
            self._settle_the_rest()
            await self._save(final=True)
            raise
        if pipeline.cancelled() or pipeline.exception() is not None:
            # A fault of this package or of a caller's own class: no failure of a call comes this way.
            self._stop("an error of this program")
            self._settle_the_rest()
            await self._save(final=True)
        pipeline.result()
        report = await self._save(final=True)
        if cancelled:
            raise asyncio.CancelledError
        return report

    @property
    def resumed(self) -> bool:
        """Whether it was begun before."""
        return self.before is not None

    @property
    def _reads_on(self) -> bool:
        """Whether it reads on though it stops, since what is there tells of more than it has gone through."""
        return self._behind and self._unwritten is None and self.tally.read < self.until

    async def _pipeline(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                # A part that ended in a cancellation of its own would be no failure to the group, which waits on.
                self._reader = group.create_task(contained(self._read))
                self._giver = group.create_task(contained(self._give))
                group.create_task(contained(self._record))
                async with asyncio.TaskGroup() as senders:
                    for sender, sent_out in zip(self._senders, self._sent_out, strict=True):
                        self._sending[sender] = senders.create_task(contained(partial(self._send, sender, sent_out)))
                await asyncio.wait((self._reader,))  # it may read on alone
                await self._outcomes.put(None)
        except BaseExceptionGroup as group_error:
            error: BaseException = group_error
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None

    async def _wind_down(self, pipeline: asyncio.Task[None]) -> None:
        """Let calls in flight end, each with what it comes to, and everything else stop now."""
        self._stop(_CANCELLED)
        self._winding_down = True
        reads_on = self._reads_on
        if not reads_on:
            self._reader.cancel()
        self._giver.cancel()
        self._has_given.set()
        if self._handing_out is not None:
            self._handing_out.cancel()  # who takes outcomes may do so no more
        for sender, task in self._sending.items():
            sender.closing = True
            if not sender.is_calling:
                task.cancel()
        with contextlib.suppress(asyncio.CancelledError):  # asked a second time: the grace is over
            if reads_on:
                await asyncio.wait(self._sending.values(), timeout=self.options.grace_seconds)
                for task in self._sending.values():
                    task.cancel()
                await asyncio.wait((pipeline,))
            else:
                await asyncio.wait((pipeline,), timeout=self.options.grace_seconds)
        pipeline.cancel()
        # What is on its way is settled only when the tasks are gone.
        await ended(pipeline)

    async def _read(self) -> None:
        try:
            async with aclosing(self.source.slices()) as slices:
                while (part := await self._next(slices)) is not None:
                    self._look_at(part)
                    for piece in self._pieces(part):
                        if isinstance(piece, TableSlice) or self.screen.takes_long:
                            await self._take_aside(piece)
                        else:
                            self._take(piece)
                        self._has_read.set()
                        await self._handed_over()
                    if self.screen.question is not None and self.screen.question.failed is not None:
                        if not self._reads_on:
                            raise SourceError(self.screen.question.failed)  # noqa: TRY301  it ends the reading as a source can
                        self._stop(self.screen.question.failed)
                    self._mark()
        except SourceError as error:
            self._say_failed(error)
            self._stopped_because = self._stopped_because or str(error)
        except Exception as error:  # noqa: BLE001  a caller's iterable may raise whatever it likes
            self._say_failed(error)
            why = f"the source failed behind row {self.tally.read}: {described(error)}"
            self._stopped_because = self._stopped_because or why
        self._take_the_rest()
        self._mark()
        if self._winding_down:
            await self._hand_over(self._read_out)
        self._all_read = True
        self._has_read.set()

    def _look_at(self, part: Slice | TableSlice) -> None:
        look, self.first_look = self.first_look, None
        for warning in look(part) if look is not None else ():
            self.notices = (*self.notices, warning)
            logger.warning("run %s: its report has a notice on the first rows", self.run_id)

    async def _handed_over(self) -> None:
        """Wait until little is left of what was read: the next slice is read meanwhile, and no more than that."""
        while len(self._read_out) > self.options.concurrency and not self._winding_down:
            self._has_given.clear()
            await self._has_given.wait()
        if self._winding_down:
            await self._hand_over(self._read_out)  # nobody else does

    def _mark(self) -> None:
        """Say behind what was read, once, that all of what was settled before has been."""
        if self._behind and not self._marked and (self._exhausted or self.tally.read >= self.until):
            self._marked = True
            self._read_out.append(_GONE_THROUGH)

    def _pieces(self, part: Slice | TableSlice) -> Iterator[Slice | TableSlice]:
        """A large slice in small ones where the caller's own function is asked, since that can take its time."""
        if self.screen.question is None or isinstance(part, Slice):
            yield part
            return
        for begin in range(0, len(part), SLICE_RECORDS):
            if (self._stopping or self.screen.question.is_over) and not self._reads_on:
                return
            yield evolve(part, first=part.first + begin, frame=part.frame[begin : begin + SLICE_RECORDS])

    async def _give(self) -> None:
        """Hand over what was read."""
        while self._read_out or not self._all_read:
            self._has_read.clear()
            await self._hand_over(self._read_out)
            if not self._all_read:
                await self._has_read.wait()
        for _ in self._senders:
            await self._batches.put(None)

    async def _next(self, slices: AsyncIterator[Slice | TableSlice]) -> Slice | TableSlice | None:
        """The next slice; None at the end, or when the run stops, also while a slow source is waited for."""
        if self._stopping and not self._reads_on:
            return None
        self._waiting = waiting = asyncio.create_task(next_or_none(slices))
        try:
            await asyncio.wait((waiting,))
        except asyncio.CancelledError:
            waiting.cancel()
            await asyncio.wait((waiting,))
            if not waiting.cancelled() and waiting.exception() is None and (late := waiting.result()) is not None:
                self._take(late)
            raise
        finally:
            self._waiting = None
        if waiting.cancelled():
            return None
        self._exhausted = waiting.exception() is None and waiting.result() is None
        return waiting.result()

    def _take(self, part: Slice | TableSlice) -> None:
        self.tally.read += len(part)
        if self.screen.question is not None:
            self.screen.question.is_over = True  # it may block, and what comes so late is not sent any more
        self._receive(self.screen.take(part))

    def _receive(self, taken: list[Batch | Settled]) -> None:
        question = self.screen.question
        if question is not None and question.barred:
            # Before the batches of the rows around them can go out.
            self.ledger.note_barred(question.barred)
            question.barred = []
        for run_id, rows in self.screen.left_before.items():
            self.ledger.note_sent_before(run_id, rows)
        self.screen.left_before.clear()
        self._read_out.extend(taken)

    async def _take_aside(self, part: Slice | TableSlice) -> None:
        """Take a slice in a thread: one of a table is large, and computing with columns frees the event loop."""
        taken = asyncio.ensure_future(asyncio.to_thread(self.screen.take, part))
        self.tally.read += len(part)
        try:
            await asyncio.wait((taken,))
        except asyncio.CancelledError:
            await ended(taken)  # half a slice can't be settled
            raise
        finally:
            self._receive(taken.result())

    def _take_the_rest(self) -> None:
        """Take what the source gave and did not yield, and the batch that is not full."""
        rest = self.source.rest()
        if rest:
            self._take(Slice(self.tally.read + 1, rest, suspect=True))
        self._read_out.extend(self.screen.batcher.flush())

    async def _hand_over(self, items: deque[Batch | Settled]) -> None:
        while items:
            item = items.popleft()
            if not isinstance(item, Batch):
                await self._outcomes.put(item)
            elif self._winding_down:
                await self._outcomes.put(self._left(item))
            else:
                await self._batches.put(item)
            self._has_given.set()

    async def _send(self, sender: Sender, sent_out: deque[Batch | Settled]) -> None:
        while not self._winding_down:
            async with self._pace as waited_seconds:
                batch = await self._batches.get()
                if batch is None:
                    return
                if self.options.dry_run:
                    self.tally.plan(batch, self.screen.batcher.frame_bytes)
                    sent_out.append(_unsent(batch))
                elif self._stopping:
                    sent_out.append(self._left(batch))
                else:
                    settled = await sender.send(batch, waited_seconds)
                    sent_out.extend(settled)
                    self._say_settled(batch.number, settled, sender)
                    if sender.stop is not None:
                        self._stop(sender.stop)
            await self._hand_over(sent_out)

    def _count(self, attempt: Attempt) -> None:
        self.tally.sent += attempt.outcome is not CallOutcome.NOT_SENT
        self.tally.retried += attempt.number > 1
        self.tally.throttled += attempt.throttled
        self.tally.waited_seconds += attempt.waited_seconds
        self._pace.observe(attempt.seconds)

    async def _record(self) -> None:
        while (settled := await self._outcomes.get()) is not None:
            if settled is _GONE_THROUGH:
                self._gone_through = True
            else:
                await self._recorded(settled)
            if self._behind:
                self._count_doubts(settled)
                if self._is_through(final=False):
                    await self._save(final=False)
            if self.sink is not None and not self._winding_down:
                await self._hand_out(self.sink, settled)
            now = time.monotonic()
            if now >= self._shown_at + _PROGRESS_SECONDS:
                self._shown_at = now
                self._show()
            if now >= self._saved_at + _SNAPSHOT_SECONDS:
                await self._save(final=False)

    async def _hand_out(self, sink: Sink, settled: Settled) -> None:
        """Wait until the outcomes are taken; nobody waits for that once the run winds down."""
        self._handing_out = handing = asyncio.ensure_future(sink(self.source, settled))
        try:
            await asyncio.wait((handing,))
        finally:
            self._handing_out = None
            handing.cancel()
        if not (handing.cancelled() and self._winding_down):
            handing.result()

    def _count_doubts(self, settled: Settled) -> None:
        if settled.state in _SENT and settled.rows and self.screen.was_in_doubt(settled.rows[0]):
            self._doubts_settled += len(settled.rows)

    def _is_through(self, *, final: bool) -> bool:
        """Whether what is written holds at least what was there before.

        Before the end, what may have been processed is waited for: sent again, it is in no file until it is settled.
        """
        if not self._behind or self._unwritten is not None:
            return False
        if final:
            return self._exhausted or self.tally.read >= self.until
        return self._gone_through and self._doubts_settled == self.screen.doubtful

    async def _recorded(self, settled: Settled) -> None:
        """Fold what is settled; in a thread where that is much to write, since it would hold up the event loop."""
        cells = len(settled.rows) * len(self.source.columns)
        is_short = self.source.header is not None and cells <= _FEW_CELLS  # a mapping can hold megabytes
        if self.files is None or is_short or not self.files.keeps(settled.state):
            self._fold(settled)
            return
        self.tally.fold(settled)
        error, cancelled = await _to_its_end(partial(self.files.write, settled))
        if error is not None:
            self._cant_write(error)
        if cancelled:
            raise asyncio.CancelledError

    def _fold(self, settled: Settled) -> None:
        self.tally.fold(settled)
        if self.files is not None:
            try:
                self.files.write(settled)
            except OSError as error:
                self._cant_write(error)

    def _stop(self, because: str) -> None:
        """Stop reading and sending; the first reason holds."""
        self._stopped_because = self._stopped_because or because
        if not self._stopping:
            self._stopping = True
            logger.info("run %s stops%s", self.run_id, ": cancelled" if because == _CANCELLED else "")
            if self.screen.question is not None:
                self.screen.question.is_over = True
            if self._waiting is not None and not self._reads_on:
                self._waiting.cancel()

    def _settle_the_rest(self) -> None:
        """Settle where it stands what was on its way when the tasks were cancelled."""
        left: list[Batch | Settled | None] = [*self._outcomes.drain(), *self._batches.drain()]
        for sender, sent_out in zip(self._senders, self._sent_out, strict=True):
            number = sender.batch_number
            abandoned = sender.abandon()
            if number is not None:
                self._say_settled(number, abandoned, sender)
            left += [*sent_out, *abandoned]
        self._take_the_rest()
        for item in (*left, *self._read_out):
            if item is not None:
                self._fold(self._left(item) if isinstance(item, Batch) else item)

    def _left(self, batch: Batch) -> Settled:
        """Settle a batch that is not sent."""
        settled = _unsent(batch)
        if not self.options.dry_run:
            self._say_settled(batch.number, (settled,), None)
        return settled

    def _show(self, *, final: bool = False) -> None:
        if self._progress is None:
            return
        seconds, fraction = time.monotonic() - self.began, self.source.fraction()
        now = Progress(
            read=self.tally.read,
            settled=self.tally.settled,
            accepted=self.tally.states[State.ACCEPTED],
            calls=self.tally.sent,
            fraction=fraction,
            seconds=seconds,
            seconds_left=self._seconds_left(seconds, fraction),
            plan=self.plan,
            rejected=self.tally.states[State.REJECTED],
            duplicate=self.tally.states[State.DUPLICATE],
            suppressed=self.tally.states[State.SUPPRESSED],
            refused=self.tally.states[State.REFUSED],
            uncertain=self.tally.states[State.UNCERTAIN],
            unsent=self.tally.states[State.UNSENT],
            final=final,
            reading=self.reading,
        )
        try:
            called(self._progress, now)
        except CallbackError as error:
            # A failing progress callback must not abort the run.
            self._progress = None
            words = without_words(error.raised)
            logger.error("the progress callback failed, and is not called again: %s", words)  # noqa: TRY400  a traceback holds words

    def _seconds_left(self, seconds: float, fraction: float | None) -> float | None:
        """By how far it has come so far, and by the plan, since the first calls of a window don't wait."""
        done = fraction * self.tally.settled / self.tally.read if fraction and self.tally.read else 0.0
        if not done:
            return None
        planned = self.plan.seconds if self.plan is not None else None
        return max(seconds * (1 - done) / done, 0.0 if planned is None or done >= 1 else planned - seconds)

    async def _save(self, *, final: bool) -> IngestReport:
        """Make the report, and write it if there is a run directory; being cancelled meanwhile is raised at its end."""
        cancelled = self._is_through(final=final) and await self._put_in_place()
        if final and self._behind:
            cancelled |= await self._bring_forward()
        report = self._report(final=final) if not self._behind else self._told_anew()
        if final:
            self._say_ended(report)
            self.tally.check()
            self._show(final=True)
        self._saved_at = time.monotonic()
        if self.files is not None and (final or not self._behind):
            error, late = await _to_its_end(partial(self.files.write_report, report, durable=final))
            cancelled |= late
            if error is None:
                self.ledger.keep_report(report.masked().to_dict())
            else:
                why = f"the report in {self.files.directory} can't be written: {error.strerror}"
                if final:
                    counts = ", ".join(f"{state} {count}" for state, count in asdict(report.counts).items())
                    raise RunDirectoryError(f"{why}; the counts are {counts}") from None
                self._stop(why)
        if cancelled:
            raise asyncio.CancelledError
        return report

    async def _put_in_place(self) -> bool:
        """Let the files of a run that is resumed take the place of those before; tell whether this was cancelled."""
        assert self.files is not None  # noqa: S101  only runs with files are resumed
        error, cancelled = await _to_its_end(self.files.put_in_place)
        if error is None:
            self._behind = False
        else:
            self._cant_write(error)
        return cancelled

    async def _bring_forward(self) -> bool:
        """Add to how the run stood what this process did; tell whether this was cancelled."""

        def bring() -> None:
            if self.before is not None and self._brought_forward is not None:
                self.before = self._brought_forward(self.before)

        return (await _to_its_end(bring))[1]

    def _cant_write(self, error: OSError) -> None:
        assert self.files is not None  # noqa: S101  who writes
        self._unwritten = f"the outcome files in {self.files.directory} can't be written: {error.strerror}"
        logger.warning("run %s: the outcome files can't be written: %s", self.run_id, without_words(error))
        self._stop(self._unwritten)

    def _say_failed(self, error: Exception) -> None:
        logger.warning(
            "run %s: the source failed behind row %d: %s", self.run_id, self.tally.read, without_words(error)
        )

    def _say_begun(self) -> None:
        logger.info(
            "run %s %s: up to %d contacts a call, up to %d calls in flight%s",
            self.run_id,
            "goes on" if self.resumed else "begins",
            self.options.batch.max_contacts,
            self.options.concurrency,
            "; nothing is sent" if self.options.dry_run else "",
        )
        if self.client.hooks:
            self.client.hooks.tell(
                RunStarted(
                    run_id=self.run_id,
                    resumed=self.resumed,
                    dry_run=self.options.dry_run,
                    concurrency=self.options.concurrency,
                )
            )

    def _say_settled(self, number: int, settled: Sequence[Settled], sender: Sender | None) -> None:
        """Tell of a batch; the sender is None where none took it."""
        if not self.client.hooks:
            return
        counts = dict.fromkeys(State, 0)
        for one in settled:
            counts[one.state] += len(one.rows)
        self.client.hooks.tell(
            BatchSettled(
                run_id=self.run_id,
                batch=number,
                accepted=counts[State.ACCEPTED],
                refused=counts[State.REFUSED],
                uncertain=counts[State.UNCERTAIN],
                unsent=counts[State.UNSENT],
                attempts=0 if sender is None else sender.attempts,
                seconds=0.0 if sender is None else time.monotonic() - sender.began,
                waited_seconds=0.0 if sender is None else sender.waited_seconds,
            )
        )

    def _say_ended(self, report: IngestReport) -> None:
        logger.log(
            logging.INFO if report.stopped_because is None else logging.WARNING,
            "run %s %s after %.1f s; %s",
            self.run_id,
            report.state,
            report.seconds,
            ", ".join(f"{count} {state}" for state, count in asdict(report.counts).items()),
        )
        if self.client.hooks:
            self.client.hooks.tell(
                RunEnded(
                    run_id=self.run_id,
                    resumed=self.resumed,
                    dry_run=self.options.dry_run,
                    state=report.state,
                    **asdict(report.counts),
                    **asdict(report.calls),
                    seconds=report.seconds,
                    waited_seconds=report.budget.waited_seconds,
                )
            )

    def _report(self, *, final: bool) -> IngestReport:
        seconds = time.monotonic() - self.began
        in_flight = 0 if final else sum(sender.in_flight for sender in self._senders)
        counts = self.tally.counts(in_flight=in_flight)
        because = self._stopped_because if final else RUNNING
        sends_again = self.screen.doubtful and counts.uncertain
        if final and self._exhausted and not counts.unsent and not sends_again:
            because = self._unwritten  # whatever else stopped it, there was nothing left to stop
        return IngestReport(
            run_id=self.run_id,
            state="finished" if because is None else "stopped",
            contact_list=self.contact_list,
            source=self.source.name,
            started_at=timestamp(self.started_at),
            finished_at=timestamp(dt.datetime.now(dt.UTC)),
            counts=counts,
            calls=self.tally.calls(),
            seconds=round(seconds, 3),
            contacts_per_second=round(counts.accepted / seconds, 1) if seconds > 0 else 0.0,
            source_exhausted=self._exhausted,
            stopped_because=None if because is None else masked(because),
            notices=self._notices(),
            budget=self._budget_use(seconds),
            do_not_contact=self.screen.suppressed.uses(),
        )

    def _notices(self) -> tuple[str, ...]:
        if self.files is None or not self.files.has_escapes or any(AS_ESCAPES in one for one in self.notices):
            return self.notices
        return (*self.notices, _ESCAPES)

    def _told_anew(self) -> IngestReport:
        """The report that is there, of a resume that ended before it came as far: what it did itself is less."""
        assert self.before is not None  # noqa: S101  only what is resumed is behind
        seconds = time.monotonic() - self.began
        return evolve(
            self.before,
            state="stopped",
            finished_at=timestamp(dt.datetime.now(dt.UTC)),
            calls=self.tally.calls(),
            seconds=round(seconds, 3),
            contacts_per_second=round(self.before.counts.accepted / seconds, 1) if seconds > 0 else 0.0,
            stopped_because=masked(self._stopped_because or _CANCELLED),
            budget=self._budget_use(seconds),
        )

    def _budget_use(self, seconds: float) -> BudgetUse:
        waited = self.tally.waited_seconds + self._pace.waited_seconds
        possible = possible_calls(self.client.rate, seconds)
        used = None if possible is None else round(min(1.0, self.tally.sent / possible), 3)
        return BudgetUse(used=used, waited_seconds=round(waited, 3))


async def ended(task: asyncio.Future[Any]) -> None:
    """Wait until it has, however often this is cancelled meanwhile."""
    while not task.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((task,))


async def _to_its_end(work: Callable[[], None]) -> tuple[OSError | None, bool]:
    """Do what waits for a disk, in a thread; tell why it failed, and whether this was cancelled meanwhile."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait((task,))
        except asyncio.CancelledError:
            cancelled = True
    try:
        task.result()
    except OSError as error:
        return error, cancelled
    return None, cancelled


def _unsent(batch: Batch) -> Settled:
    return Settled(batch.unsent_state, batch.rows, batch.records, batch.unsent_reason)
