"""The only module that knows the order: read -> senders -> recorder, joined by two bounded queues.

Every contact read is settled exactly once, also when the run is stopped or cancelled: what is on its way then is
settled where it stands. `Tally.check` holds that at the end of every run.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import difflib
import logging
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from pathlib import Path
from typing import Final, Generic, Self, TypeVar

from attrs import asdict, define, field

from kore_campaign_async.client import Attempt, CampaignClient
from kore_campaign_async.config import IngestOptions, Progress
from kore_campaign_async.endpoints import add_contacts
from kore_campaign_async.errors import (
    CallError,
    CallOutcome,
    ContactListError,
    RunDirectoryError,
    SourceError,
)
from kore_campaign_async.ingest.batching import Batcher
from kore_campaign_async.ingest.breaker import Breaker
from kore_campaign_async.ingest.files import RunFiles
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser, Sorted
from kore_campaign_async.ingest.records import Batch, Outcome, Settled, Slice, State
from kore_campaign_async.ingest.report import IngestReport, Tally, timestamp
from kore_campaign_async.ingest.screening import NumbersSeen, read_suppressed
from kore_campaign_async.ingest.sending import Sender
from kore_campaign_async.ingest.sources.base import Source
from kore_campaign_async.ingest.sources.opening import Contacts, open_source
from kore_campaign_async.models import ContactList

T = TypeVar("T")

Sink = Callable[[Source, Settled], Awaitable[None]]

logger = logging.getLogger("kore_campaign_async")

_PROGRESS_SECONDS: Final = 0.1
_SNAPSHOT_SECONDS: Final = 2.0
_RUNNING: Final = "no end was recorded: the run is still going, or it was killed"
_CANCELLED: Final = "cancelled"


async def ingest_contacts(
    client: CampaignClient,
    source: Contacts,
    *,
    contact_list: str,
    run_dir: str | Path | None = None,
    options: IngestOptions | None = None,
) -> IngestReport:
    """Push contacts into a contact list, and account for every one.

    Once the first contact is read, this returns a report however the run goes; only cancelling it raises.

    Args:
        client: its budget, retries and timeouts hold.
        source: the path of a CSV or NDJSON file, `-` for standard input, or an iterable or async iterable of
            `Contact`, mappings or numbers as text.
        contact_list: the name of the list.
        run_dir: where the outcome files and the report go; without it there are none.
        options: how it is done.

    Raises:
        SourceError: the source or a do-not-contact file can't be read as it is. Nothing was sent.
        ContactListError: no list of this name, two of them, or options that don't go with it. Nothing was sent.
        RunDirectoryError: the run directory can't be used, or the report can't be written into it.
        CallError: the list could not be looked up or made. Nothing was sent.
        CredentialsError: no token could be made. Nothing was sent.
    """
    return await _ingest(client, source, contact_list, run_dir, options, None)


def iter_outcomes(
    client: CampaignClient,
    source: Contacts,
    *,
    contact_list: str,
    run_dir: str | Path | None = None,
    options: IngestOptions | None = None,
) -> OutcomeStream:
    """Push contacts like `ingest_contacts`, and yield an `Outcome` for every contact as it is settled.

    Nothing happens until it is iterated. `async with` it where the iteration may end early: that stops the run.
    """
    return OutcomeStream(lambda sink: _ingest(client, source, contact_list, run_dir, options, sink))


async def _ingest(
    client: CampaignClient,
    given: Contacts,
    contact_list: str,
    run_dir: str | Path | None,
    options: IngestOptions | None,
    sink: Sink | None,
) -> IngestReport:
    options = options if options is not None else IngestOptions()
    frame_bytes = len(add_contacts.opening(contact_list)) + len(add_contacts.CLOSING)
    suppressed = await asyncio.to_thread(read_suppressed, options.suppress)
    began, started_at = time.monotonic(), dt.datetime.now(dt.UTC)
    source = await open_source(given)
    try:
        table = match(source.header, options.column_map) if source.header is not None else None
        drops_duplicates = await _find_list(client, contact_list, options)
        batcher = Batcher(options.batch, frame_bytes)
        files = None
        if run_dir is not None and not options.dry_run:
            files = RunFiles(Path(run_dir), source.columns, source.cells)
        try:
            return await _Run(
                client=client,
                source=source,
                contact_list=contact_list,
                options=options,
                screen=_Screen(
                    Normaliser(table, options.column_map, batcher.room),
                    suppressed,
                    None if options.keep_duplicates else NumbersSeen(),
                    batcher,
                ),
                repeatable=options.on_uncertain == "resend"
                or (options.on_uncertain == "auto" and drops_duplicates is True),
                files=files,
                sink=sink,
                began=began,
                started_at=started_at,
                run_id=Path(run_dir).name if run_dir is not None else new_run_id(started_at),
            ).execute()
        finally:
            if files is not None:
                files.close()
    finally:
        source.close()


async def _find_list(client: CampaignClient, name: str, options: IngestOptions) -> bool | None:
    """Find the list, or make it; tell whether it drops duplicates, None where nobody knows.

    Raises:
        ContactListError: there is not exactly one, or the options don't go with it.
        CallError: it could not be looked up or made.
    """
    lists = await client.list_contact_lists()
    found = [one for one in lists if one.name == name]
    if len(found) > 1:
        ids = " and ".join(one.id for one in found)
        raise ContactListError(
            f"there are {len(found)} contact lists named {name!r} ({ids}), and addContacts names no id:"
            " rename all but one, with kore-campaign update ID --name NAME"
        )
    if found:
        allow_duplicates = await _allows_duplicates(client, found[0])
    elif options.create is None:
        near = difflib.get_close_matches(name, [one.name for one in lists], n=3)
        hint = f"; the nearest are {', '.join(map(repr, near))}" if near else ""
        raise ContactListError(f"there is no contact list named {name!r}{hint}; --create makes it")
    elif options.dry_run:
        allow_duplicates = options.create.allow_duplicates
    else:
        made = await client.create_contact_list(
            name, options.create.description, allow_duplicates=options.create.allow_duplicates
        )
        allow_duplicates = await _allows_duplicates(client, made)
    drops = None if allow_duplicates is None else not allow_duplicates
    if options.list_drops_duplicates:
        if drops is False:
            raise ContactListError(
                f"the contact list {name!r} keeps duplicates, so it can't be said to drop them:"
                " leave --list-drops-duplicates out"
            )
        drops = True
    if options.keep_duplicates and drops:
        raise ContactListError(
            f"the contact list {name!r} drops duplicates, so it can't keep them: leave --keep-duplicates out"
        )
    return drops


async def _allows_duplicates(client: CampaignClient, one: ContactList) -> bool | None:
    """What the list's own read says where the listing does not; None where that can't be had."""
    if one.allow_duplicates is not None:
        return one.allow_duplicates
    try:
        return (await client.get_contact_list(one.id)).allow_duplicates
    except CallError as error:
        logger.warning(
            "whether the list drops duplicates can't be learnt (%s), so it counts as keeping them",
            error.reason,
        )
        return None


@define
class _Screen:
    """Everything between a slice and its batches; it never waits."""

    normaliser: Normaliser
    suppressed: AbstractSet[int]
    seen: NumbersSeen | None
    batcher: Batcher

    def take(self, part: Slice) -> list[Batch | Settled]:
        """Sort a slice's records into full batches and what is settled without a call."""
        found = self.normaliser.sort(part)
        made: list[Batch | Settled] = []
        if found.rejected:
            rows, codes, records = zip(*found.rejected, strict=True)
            made.append(Settled(State.REJECTED, rows, records, codes))
        if not self.suppressed.isdisjoint(found.keys):
            barred = [index for index, key in enumerate(found.keys) if key in self.suppressed]
            made.append(_left_out(State.SUPPRESSED, found, barred, "suppressed"))
            found = found.without(barred)
        if self.seen is not None:
            first = self.seen.first_rows(found.keys, found.rows)
            if first != found.rows:
                again = [index for index, row in enumerate(found.rows) if first[index] != row]
                reasons = [f"duplicate of row {first[index]}" for index in again]
                made.append(_left_out(State.DUPLICATE, found, again, reasons))
                found = found.without(again)
        return made + self.batcher.feed(found.rows, found.contacts, found.records)


def _left_out(state: State, found: Sorted, indices: Sequence[int], reasons: Sequence[str] | str) -> Settled:
    return Settled(
        state, [found.rows[index] for index in indices], [found.records[index] for index in indices], reasons
    )


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
class _Run:
    """One run, from its first slice to its report."""

    client: CampaignClient
    source: Source
    contact_list: str
    options: IngestOptions
    screen: _Screen
    repeatable: bool
    files: RunFiles | None
    sink: Sink | None
    began: float
    started_at: dt.datetime
    run_id: str
    _tally: Tally = field(factory=Tally, init=False)
    _exhausted: bool = field(default=False, init=False)
    # A source that fails ends the reading; what was read goes out all the same.
    _stopping: bool = field(default=False, init=False)
    _stopped_because: str | None = field(default=None, init=False)
    _unwritten: str | None = field(default=None, init=False)
    _waiting: asyncio.Task[Slice | None] | None = field(default=None, init=False)
    _senders: list[Sender] = field(init=False)
    _batches: _Belt[Batch | None] = field(init=False)
    _outcomes: _Belt[Settled | None] = field(init=False)
    # What the reader and each sender have ready and not yet handed over.
    _read_out: deque[Batch | Settled] = field(factory=deque, init=False)
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
                breaker=breaker,
                on_attempt=self._count,
            )
            for _ in range(self.options.concurrency)
        ]
        self._sent_out = [deque() for _ in self._senders]

    async def execute(self) -> IngestReport:
        """Run to the end, and settle everything also where the end comes early."""
        self._save(final=False)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read())
                group.create_task(self._record())
                async with asyncio.TaskGroup() as senders:
                    for sender, sent_out in zip(self._senders, self._sent_out, strict=True):
                        senders.create_task(self._send(sender, sent_out))
                await self._outcomes.put(None)
        except BaseException as error:
            # A cancellation, or a fault of this package: no failure of a call comes this way.
            self._stop(_CANCELLED if isinstance(error, asyncio.CancelledError) else "an error of this program")
            self._settle_the_rest()
            self._save(final=True)
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            raise error from None
        return self._save(final=True)

    async def _read(self) -> None:
        try:
            async with aclosing(self.source.slices()) as slices:
                while (part := await self._next(slices)) is not None:
                    self._take(part)
                    await self._hand_over(self._read_out)
        except SourceError as error:
            self._stopped_because = self._stopped_because or str(error)
        except Exception as error:  # noqa: BLE001  a caller's iterable may raise whatever it likes
            failed = f"the source failed behind row {self._tally.read}: {type(error).__name__}: {error}"
            self._stopped_because = self._stopped_because or failed
        self._take_the_rest()
        await self._hand_over(self._read_out)
        for _ in self._senders:
            await self._batches.put(None)

    async def _next(self, slices: AsyncIterator[Slice]) -> Slice | None:
        """The next slice; None at the end, or when the run stops, also while a slow source is waited for."""
        if self._stopping:
            return None
        self._waiting = waiting = asyncio.create_task(_next_or_none(slices))
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
            if self._stopped_because is None:
                raise SourceError("the source was cancelled from within")
            return None
        self._exhausted = waiting.exception() is None and waiting.result() is None
        return waiting.result()

    def _take(self, part: Slice) -> None:
        self._tally.read += len(part.records)
        self._read_out.extend(self.screen.take(part))

    def _take_the_rest(self) -> None:
        """Take what the source gave and did not yield, and the batch that is not full."""
        rest = self.source.rest()
        if rest:
            self._take(Slice(self._tally.read + 1, rest, suspect=True))
        self._read_out.extend(self.screen.batcher.flush())

    async def _hand_over(self, items: deque[Batch | Settled]) -> None:
        while items:
            item = items.popleft()
            if isinstance(item, Batch):
                await self._batches.put(item)
            else:
                await self._outcomes.put(item)

    async def _send(self, sender: Sender, sent_out: deque[Batch | Settled]) -> None:
        while (batch := await self._batches.get()) is not None:
            if self.options.dry_run or self._stopping:
                sent_out.append(_unsent(batch))
            else:
                sent_out.extend(await sender.send(batch))
                if sender.stop is not None:
                    self._stop(sender.stop)
            await self._hand_over(sent_out)

    def _count(self, attempt: Attempt) -> None:
        self._tally.sent += attempt.outcome is not CallOutcome.NOT_SENT
        self._tally.retried += attempt.number > 1
        self._tally.throttled += attempt.throttled

    async def _record(self) -> None:
        while (settled := await self._outcomes.get()) is not None:
            self._fold(settled)
            if self.sink is not None:
                await self.sink(self.source, settled)
            now = time.monotonic()
            if now >= self._shown_at + _PROGRESS_SECONDS:
                self._shown_at = now
                self._show()
            if now >= self._saved_at + _SNAPSHOT_SECONDS:
                self._save(final=False)

    def _fold(self, settled: Settled) -> None:
        self._tally.fold(settled)
        if self.files is not None:
            try:
                self.files.write(settled)
            except OSError as error:
                self._unwritten = f"the outcome files in {self.files.directory} can't be written: {error.strerror}"
                self._stop(self._unwritten)

    def _stop(self, because: str) -> None:
        """Stop reading and sending; the first reason holds."""
        self._stopped_because = self._stopped_because or because
        if not self._stopping:
            self._stopping = True
            if self._waiting is not None:
                self._waiting.cancel()

    def _settle_the_rest(self) -> None:
        """Settle where it stands what was on its way when the tasks were cancelled."""
        left: list[Batch | Settled | None] = [*self._outcomes.drain(), *self._batches.drain()]
        for sender, sent_out in zip(self._senders, self._sent_out, strict=True):
            left += [*sent_out, *sender.abandon()]
        self._take_the_rest()
        for item in (*left, *self._read_out):
            if item is not None:
                self._fold(_unsent(item) if isinstance(item, Batch) else item)

    def _show(self) -> None:
        if self._progress is None:
            return
        now = Progress(
            read=self._tally.read,
            settled=self._tally.settled,
            accepted=self._tally.states[State.ACCEPTED],
            calls=self._tally.sent,
            fraction=self.source.fraction(),
            seconds=time.monotonic() - self.began,
        )
        try:
            self._progress(now)
        except Exception:
            # Who can't show progress must not cost the run its account.
            self._progress = None
            logger.exception("the progress callback failed, and is not called again")

    def _save(self, *, final: bool) -> IngestReport:
        """Make the report, and write it if there is a run directory."""
        if final:
            self._tally.check()
            self._show()
        report = self._report(final=final)
        self._saved_at = time.monotonic()
        if self.files is not None:
            try:
                self.files.write_report(report, durable=final)
            except OSError as error:
                why = f"the report in {self.files.directory} can't be written: {error.strerror}"
                if final:
                    counts = ", ".join(f"{state} {count}" for state, count in asdict(report.counts).items())
                    raise RunDirectoryError(f"{why}; the counts are {counts}") from None
                self._stop(why)
        return report

    def _report(self, *, final: bool) -> IngestReport:
        seconds = time.monotonic() - self.began
        in_flight = 0 if final else sum(sender.in_flight for sender in self._senders)
        counts = self._tally.counts(in_flight=in_flight)
        because = self._stopped_because if final else _RUNNING
        if final and self._exhausted and not counts.unsent:
            because = self._unwritten  # whatever else stopped it, there was nothing left to stop
        return IngestReport(
            run_id=self.run_id,
            state="finished" if because is None else "stopped",
            contact_list=self.contact_list,
            source=self.source.name,
            started_at=timestamp(self.started_at),
            finished_at=timestamp(dt.datetime.now(dt.UTC)),
            counts=counts,
            calls=self._tally.calls(),
            seconds=round(seconds, 3),
            contacts_per_second=round(counts.accepted / seconds, 1) if seconds > 0 else 0.0,
            source_exhausted=self._exhausted,
            stopped_because=because,
            notices=self.source.notices,
        )


async def _next_or_none(slices: AsyncIterator[Slice]) -> Slice | None:
    return await anext(slices, None)


def _unsent(batch: Batch) -> Settled:
    return Settled(State.UNSENT, batch.rows, batch.records)


def new_run_id(moment: dt.datetime) -> str:
    """A run's name: the moment in UTC, and something that no other run of that second has."""
    return f"{moment.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


class OutcomeStream:
    """An async iterator over a run's outcomes.

    Attributes:
        report: the run's report, once the iteration has come to its end; None before.
    """

    def __init__(self, start: Callable[[Sink], Awaitable[IngestReport]]) -> None:
        self._outcomes = self._iterate(start)
        self.report: IngestReport | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        return await anext(self._outcomes)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the run if it still goes on: what is in flight ends as uncertain, the rest unsent."""
        await self._outcomes.aclose()

    async def _iterate(self, start: Callable[[Sink], Awaitable[IngestReport]]) -> AsyncGenerator[Outcome, None]:
        groups: asyncio.Queue[tuple[Source, Settled]] = asyncio.Queue(1)
        run = asyncio.ensure_future(start(lambda source, settled: groups.put((source, settled))))
        try:
            while True:
                group = asyncio.ensure_future(groups.get())
                await asyncio.wait((group, run), return_when=asyncio.FIRST_COMPLETED)
                if not group.done():
                    group.cancel()
                    break
                source, settled = group.result()
                for row, reason, record in settled.entries():
                    yield Outcome(row, settled.state, reason, source.fields(record))
            self.report = await run
        finally:
            group.cancel()
            run.cancel()
            await asyncio.gather(run, group, return_exceptions=True)
