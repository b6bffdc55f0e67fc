"""How a run begins, new or resumed: its source, its list, its directory; and how a program is told of it.

What decides a contact's state is in the journal before the first call, and is compared when the run is resumed:
the source's bytes, how its columns were matched, the do-not-contact numbers, and this program's own rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import difflib
import logging
import secrets
import sys
import time
from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from attrs import asdict, define, evolve

from kore_campaign_async import wire
from kore_campaign_async.budget import planned_seconds
from kore_campaign_async.callbacks import CallbackError, called, holding_interrupts
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import DoNotContact, IngestOptions, OnUncertain, Plan, Progress, path_of
from kore_campaign_async.endpoints import add_contacts
from kore_campaign_async.errors import (
    CallError,
    ContactListError,
    InvalidRequestError,
    KoreCampaignError,
    RunDirectoryError,
    named,
)
from kore_campaign_async.ingest import journal as journals
from kore_campaign_async.ingest.batching import Batcher
from kore_campaign_async.ingest.directory import RunLock, amend_command, identity_of, refuse_unless_new
from kore_campaign_async.ingest.directory_checks import DIRECTORY, refuse_copy, refuse_torn
from kore_campaign_async.ingest.escaping import AS_ESCAPES
from kore_campaign_async.ingest.family import Origin, origin_of_run
from kore_campaign_async.ingest.files import RunFiles, journaled_report, read_report, refuse_another_run, restore_report
from kore_campaign_async.ingest.journal import Journal
from kore_campaign_async.ingest.matching import Shape, match, matched
from kore_campaign_async.ingest.normalise import Normaliser, Numbering
from kore_campaign_async.ingest.outcome_stream import OutcomeStream
from kore_campaign_async.ingest.preflight import ROWS, FirstLook
from kore_campaign_async.ingest.records import Slice, State, TableSlice
from kore_campaign_async.ingest.recovery import brought_forward, last_row_in_files
from kore_campaign_async.ingest.report import IngestReport, Tally
from kore_campaign_async.ingest.run import Run, Sink, ended
from kore_campaign_async.ingest.run_settings import (
    digest,
    digest_of_numbers,
    inputs_of_run,
    numbering_of,
    options_of_run,
    refuse_another_account,
    refuse_changes,
    refuse_other_do_not_contact,
    rules_digest,
    size_of,
    source_digest,
    stored_options,
    with_implied,
)
from kore_campaign_async.ingest.screen import Question, Screen
from kore_campaign_async.ingest.screening import Barred, BarredLists, NumbersSeen
from kore_campaign_async.ingest.sending import Ledger, NoLedger
from kore_campaign_async.ingest.sources.base import MANY_COLUMNS, Dialect, Source
from kore_campaign_async.ingest.sources.encodings import UTF_8, WINDOWS, spoken
from kore_campaign_async.ingest.sources.first_rows import FirstRows
from kore_campaign_async.ingest.sources.held_file import close_all, hold_all
from kore_campaign_async.ingest.sources.opening import Contacts, Input, engine, inputs_of, open_source
from kore_campaign_async.ingest.sources.scanning import Scan, Scans
from kore_campaign_async.ingest.suppressing import Reading, function_of, read_suppressed
from kore_campaign_async.models import ContactList

T = TypeVar("T")

logger = logging.getLogger("kore_campaign_async")

# The calls that look for a list and ask whether it drops duplicates.
_LOOKUPS: Final = 2

# How many percent of the first rows may be rejected where nobody said it: of files and tables, of a program's own.
_MOST_REJECTED: Final = 50.0
_MOST_REJECTED_OF_OWN: Final = 100.0

_SHOWN_FILES: Final = 3
_SHOWN_LISTS: Final = 10
_DELIMITERS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}


async def ingest_contacts(
    client: CampaignClient,
    source: Contacts,
    *,
    contact_list: str,
    run_dir: str | Path | None = None,
    options: IngestOptions | None = None,
) -> IngestReport:
    """Push contacts into a contact list, and account for every one.

    Once the first contact is read, this returns a report however the run goes; only cancelling it raises. What your own
    code raises (an iterable, `progress`, `do_not_contact`, hooks) is told by the report or logged; KeyboardInterrupt
    and SystemExit stop the run in order, and are raised then.

    Args:
        client: its budget, retries and timeouts hold.
        source: the path of a CSV, NDJSON, Parquet, Arrow or XLSX file; `-` for standard input; `Files`, for several
            of them or to say how they are read; a table (a polars frame, or anything with `__arrow_c_stream__`, by
            the extra `tables`); or an iterable or async iterable of `Contact`, mappings or numbers as text.
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
    return await push_contacts(client, source, contact_list, run_dir, options or IngestOptions())


def run_ingest(
    source: Contacts,
    *,
    contact_list: str,
    run_dir: str | Path | None = None,
    options: IngestOptions | None = None,
    client: Callable[[], CampaignClient] = CampaignClient.from_env,
) -> IngestReport:
    """Push contacts like `ingest_contacts`, from code without an event loop.

    Ctrl-C stops the run in order: calls in flight end within `grace_seconds`, everything is settled and reported, and
    then KeyboardInterrupt is raised; with a `run_dir`, `run_resume` goes on. A second Ctrl-C cuts the calls off.

    Args:
        source: as in `ingest_contacts`.
        contact_list: the name of the list.
        run_dir: where the outcome files and the report go; without it the run can't be resumed.
        options: how it is done.
        client: makes the client, which is closed at the end; by default from the `KORE_*` variables.

    Raises:
        InvalidRequestError: an event loop is running here, or `client` makes no client. Nothing was sent.
        KoreCampaignError: as in `ingest_contacts`.
    """

    async def push(made: CampaignClient) -> IngestReport:
        return await ingest_contacts(made, source, contact_list=contact_list, run_dir=run_dir, options=options)

    return _in_own_loop("run_ingest", "ingest_contacts", client, push)


def run_resume(
    run_dir: str | Path,
    *,
    max_contacts: int | None = None,
    concurrency: int | None = None,
    on_uncertain: OnUncertain | None = None,
    grace_seconds: float | None = None,
    do_not_contact: DoNotContact | None = None,
    moved: bool = False,
    progress: Callable[[Progress], None] | None = None,
    client: Callable[[], CampaignClient] = CampaignClient.from_env,
) -> IngestReport:
    """Go on with a run like `resume_ingest`, from code without an event loop; Ctrl-C does as in `run_ingest`.

    Args:
        run_dir: of the run.
        max_contacts: as in `resume_ingest`, and so are the six behind it.
        concurrency: how many calls are in flight at most.
        on_uncertain: as in `IngestOptions`.
        grace_seconds: as in `IngestOptions`.
        do_not_contact: as in `resume_ingest`.
        moved: as in `resume_ingest`.
        progress: as in `IngestOptions`.
        client: as in `run_ingest`.

    Raises:
        InvalidRequestError: an event loop is running here, or `client` makes no client. Nothing was sent.
        KoreCampaignError: as in `resume_ingest`.
    """

    async def resume(made: CampaignClient) -> IngestReport:
        return await resume_ingest(
            made,
            run_dir,
            max_contacts=max_contacts,
            concurrency=concurrency,
            on_uncertain=on_uncertain,
            grace_seconds=grace_seconds,
            do_not_contact=do_not_contact,
            moved=moved,
            progress=progress,
        )

    return _in_own_loop("run_resume", "resume_ingest", client, resume)


def _in_own_loop(
    name: str,
    instead: str,
    client: Callable[[], CampaignClient],
    work: Callable[[CampaignClient], Awaitable[IngestReport]],
) -> IngestReport:
    if _loop_is_running():
        raise InvalidRequestError(
            f"{name} makes an event loop of its own, and one is running here already: await {instead} instead"
        )
    if isinstance(client, CampaignClient) or not callable(client):
        raise InvalidRequestError(
            "client is a function that makes a client, such as lambda: CampaignClient(…), since a client belongs to"
            " the event loop that is made here"
        )

    async def run() -> IngestReport:
        async with _made_by(client) as made:
            return await work(made)

    # It makes of Ctrl-C a cancellation, which stops a run in order, and KeyboardInterrupt when that is done.
    return asyncio.run(run())


def _made_by(client: Callable[[], CampaignClient]) -> CampaignClient:
    try:
        made = called(client)
    except CallbackError as error:
        if isinstance(error.raised, KoreCampaignError):
            error.reraise()
        raise InvalidRequestError(f"client failed to make a client: {error}") from error.raised
    if not isinstance(made, CampaignClient):
        raise InvalidRequestError(f"client made a {type(made).__name__}, not a CampaignClient")
    return made


def _loop_is_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def iter_outcomes(
    client: CampaignClient,
    source: Contacts,
    *,
    contact_list: str,
    run_dir: str | Path | None = None,
    options: IngestOptions | None = None,
) -> OutcomeStream:
    """Push contacts like `ingest_contacts`, and yield an `Outcome` for every contact as it is settled.

    Nothing happens until it is iterated. Write `async with iter_outcomes(…) as outcomes:` where the iteration may end
    early: that stops the run, and waits until it is settled.
    """
    return OutcomeStream(
        lambda sink: push_contacts(client, source, contact_list, run_dir, options or IngestOptions(), sink=sink)
    )


async def resume_ingest(
    client: CampaignClient,
    run_dir: str | Path,
    *,
    max_contacts: int | None = None,
    concurrency: int | None = None,
    on_uncertain: OnUncertain | None = None,
    grace_seconds: float | None = None,
    do_not_contact: DoNotContact | None = None,
    moved: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Go on with a run that was stopped or killed, and account for all of its contacts.

    Every setting comes from the run's journal; those named here can be given anew. What is settled is not sent
    again. What may have been processed is sent again only if the list, which is asked anew, drops duplicates, or
    `on_uncertain` says so; else it stays uncertain.

    Args:
        client: of the same account.
        run_dir: of the run.
        max_contacts: in one call.
        concurrency: how many calls are in flight at most.
        on_uncertain: as in `IngestOptions`.
        grace_seconds: as in `IngestOptions`.
        do_not_contact: what the run was given as such, which no journal keeps. A function may answer otherwise now:
            whom it bars is not sent, and what became of the contacts so far stays as it is.
        moved: whether the directory was copied or moved to another disk, and nobody goes on with the one it was.
        progress: as in `IngestOptions`.

    Raises:
        RunDirectoryError: there is no run, another process works on it, it belongs to another account, or
            something that decides a contact's state has changed. Nothing was sent.
        SourceError, ContactListError, CallError, CredentialsError: as in `ingest_contacts`. Nothing was sent.
    """
    directory = path_of(run_dir)
    await _aside(partial(journals.read_settings, directory))  # a directory without a run is left as it is
    lock = RunLock(directory)
    try:
        await _aside(partial(journals.verify, directory))
        await _aside(partial(journals.migrate, directory))
        settings = await _aside(partial(journals.read_settings, directory))
        await asyncio.to_thread(refuse_another_run, directory, settings)
        before = await asyncio.to_thread(partial(read_report, directory, is_ours=True))
        await _aside(partial(refuse_torn, directory, settings, before))
        journaled = journaled_report(settings)
        # That a run is finished is taken from nobody else but its journal, where that tells.
        finished = before.state == "finished" and (journaled is None or journaled.state == "finished")
        if finished and not before.counts.uncertain:
            await asyncio.to_thread(restore_report, directory, before)
            return before
        refuse_copy(directory, settings, moved=moved)
        inputs = inputs_of_run(directory, settings)
        refuse_another_account(client, directory, settings)
        options = options_of_run(settings, max_contacts, concurrency, on_uncertain, grace_seconds, progress)
        options = evolve(options, do_not_contact=do_not_contact)
        refuse_other_do_not_contact(directory, settings, do_not_contact)
        start = Start(client, inputs, settings["contact_list"], options, directory, None)
        start.origin = await origin_of_run(directory, settings)
        with holding_interrupts():
            if moved:
                await _aside(partial(journals.put_setting, directory, DIRECTORY, identity_of(directory)))
            return await start.resume(settings, before)
    finally:
        lock.release()


async def push_contacts(
    client: CampaignClient,
    given: Contacts,
    contact_list: str,
    run_dir: str | Path | None,
    options: IngestOptions,
    *,
    sink: Sink | None = None,
    shell: Mapping[str, str | None] | None = None,
) -> IngestReport:
    """Push contacts as `ingest_contacts` does; not part of the public API.

    Args:
        client: as there, and so are the four behind it.
        given: the source.
        contact_list: the list's name.
        run_dir: of the run.
        options: how it is done.
        sink: is handed what is settled, and waited for.
        shell: who began it in a shell: its file of settings (`config`, the whole path) and its `profile`.
    """
    directory = path_of(run_dir) if run_dir is not None and not options.dry_run else None
    with holding_interrupts():
        return await Start(client, given, contact_list, options, directory, sink, shell).push()


@define
class Start:
    """What a run is begun with."""

    client: CampaignClient
    given: Contacts | tuple[Input, ...]
    contact_list: str
    options: IngestOptions
    directory: Path | None
    sink: Sink | None
    shell: Mapping[str, str | None] | None = None
    # Of a run that amends another one, and the files that were put into its directory before it began.
    origin: Origin | None = None
    own: Collection[str] = ()
    # What the first rows show that a person should know before the first call.
    warnings: tuple[str, ...] = ()

    async def push(self) -> IngestReport:
        """Begin a new run."""
        frame_bytes = _frame_bytes(self.contact_list)
        numbering = await numbering_of(self.options)
        suppressed = await self._suppressed(numbering)
        began, started_at = time.monotonic(), dt.datetime.now(dt.UTC)
        async with contextlib.AsyncExitStack() as closing:
            await self._hold(closing)
            scans = self._scans(closing)
            guesses = scans.guesses() if scans is not None else ()
            source = await open_source(self.given, guesses, column_map=self.options.column_map)
            closing.callback(source.close)
            table = await self._matched(source)
            # Before the list is made, and once more when nobody else can put a run there.
            if self.directory is not None:
                refuse_unless_new(self.directory, self.own)
            source = await self._looked_at(source, table, numbering, frame_bytes, closing)
            drops_duplicates = await _find_list(self.client, self.contact_list, self.options)
            run_id = self.directory.name if self.directory is not None else new_run_id(started_at)
            screen = await asyncio.to_thread(self._screen, source, table, suppressed, numbering, frame_bytes)
            files, ledger, plan = None, cast("Ledger", NoLedger()), None
            # A file that is torn somewhere is refused before anything is sent.
            known = None if scans is None else await scans.all()
            await self._refuse_touched()
            if self.directory is not None:
                closing.callback(RunLock(self.directory, new=True, own=self.own).release)
                plan = await self._estimate(source, known)
                # A digest of millions of numbers takes its time.
                decides = await asyncio.to_thread(self._decides, known, table, suppressed, numbering)
                settings = {
                    "run_id": run_id,
                    DIRECTORY: identity_of(self.directory),
                    "contact_list": self.contact_list,
                    "started_at": started_at.isoformat(),
                    "account": list(self.client.account),
                    "client": {
                        "rate": list(map(str, self.client.rate)) or ["none"],
                        "shared_rate": self.client.shared_rate,
                        "timeout": self.client.timeouts.total_seconds,
                    },
                    "source": {
                        "name": source.name,
                        "path": str(source.path.absolute()) if known and len(known) == 1 and source.path else None,
                        "size": None if known is None else size_of(known),
                        # What began the run; whatever resumes it must come to the same.
                        **await asyncio.to_thread(engine, source),
                        "files": [] if known is None else self._files(source, known),
                    },
                    "options": stored_options(self.options),
                    "decides": decides,
                    "shell": None if self.shell is None else dict(self.shell),
                    "origin": None if self.origin is None else self.origin.to_setting(self.directory),
                }
                # First: what a start leaves that is killed before its journal is there is in nobody's way.
                ledger = journal = Journal.create(self.directory, settings, self._session())
                closing.callback(journal.close)
                try:
                    files = await self._files_of(source, resumed=False)
                except RunDirectoryError:
                    journal.discard()
                    raise
                closing.callback(files.close)
                if self.origin is not None:
                    await asyncio.to_thread(self.origin.note, self.directory)
            tally = Tally()
            run = await self._run(
                source, screen, drops_duplicates, files, ledger, tally, began, started_at, run_id, plan, table, known
            )
            report = await run.execute()
        if self.options.dry_run:
            planned = await self._plan(tally.states[State.UNSENT], tally.batches, tally.bytes)
            report = evolve(report, plan=planned, notices=(*report.notices, *_too_many(planned)))
        return report

    async def _looked_at(
        self,
        source: Source,
        table: Shape | None,
        numbering: Numbering | None,
        frame_bytes: int,
        closing: contextlib.AsyncExitStack,
    ) -> Source:
        """The source, its first rows read and looked at; SourceError if too many of them are rejected.

        What a program's own iterable gives can't be put back: it is only read before the run where it was asked for.
        """
        is_own = inputs_of(self.given) is None and not source.yields_tables
        most = self.options.max_rejected
        if most is None:
            most = _MOST_REJECTED_OF_OWN if is_own else _MOST_REJECTED
        if is_own and (most >= _MOST_REJECTED_OF_OWN or isinstance(self.given, AsyncIterable)):
            return source
        first = FirstRows(source)
        closing.push_async_callback(first.aclose)
        parts = await first.read(ROWS)
        normaliser = Normaliser(table, self.options.column_map, self.options.batch.max_bytes - frame_bytes, numbering)
        look = FirstLook()
        await asyncio.to_thread(look.take, parts, normaliser)
        if not self.options.dry_run:
            await asyncio.to_thread(look.refuse, source.name, most, self.options.region)
        self.warnings = look.warnings(normaliser)
        return first

    def _session(self) -> dict[str, Any]:
        """What a resume can do otherwise than the push before it."""
        return {
            "rate": list(map(str, self.client.rate)) or ["none"],
            "concurrency": self.options.concurrency,
            "max_contacts": self.options.batch.max_contacts,
        }

    async def _hold(self, closing: contextlib.AsyncExitStack) -> None:
        """Open the files that are pushed, each once: what takes their names later is not read."""
        inputs = inputs_of(self.given)
        if inputs is not None:
            self.given = inputs
            held = [one.held for one in inputs if one.held is not None]
            closing.callback(close_all, held)
            await _aside(partial(hold_all, held))

    async def _refuse_touched(self) -> None:
        """Raise SourceError if somebody writes to a file that was read through: its last line may be half a number."""
        for one in inputs_of(self.given) or ():
            if one.held is not None:
                await _aside(one.held.raise_if_touched)

    def _scans(self, closing: contextlib.AsyncExitStack) -> Scans | None:
        """Begin to read files through in a thread, while the source is opened and the list is looked up."""
        inputs = inputs_of(self.given)
        if inputs is None or inputs[0].path is None:
            return None
        scans = Scans([(one.held, one.dialect.encoding) for one in inputs if one.held is not None])
        closing.callback(scans.cancel)
        return scans

    def _files(self, source: Source, known: Sequence[Scan]) -> list[dict[str, Any]]:
        """The files and how they are read; by their whole path, since a run is resumed from anywhere."""
        return [
            {"path": str(one.path.absolute()), **asdict(dialect), "size": scan.size, "sha256": scan.sha256}
            for one, dialect, scan in zip(inputs_of(self.given) or (), _found_out(source, known), known, strict=True)
            if one.path is not None
        ]

    async def _estimate(self, source: Source, known: Sequence[Scan] | None) -> Plan | None:
        """What a push of files takes, by their rows, or by their lines and sizes; None of what is no file."""
        if known is None:
            return None
        limits = self.options.batch
        headers = 0 if source.header is None else sum(not one.no_header for one in source.dialects)
        contacts = source.total if source.total is not None else max(0, sum(one.lines for one in known) - headers)
        batches = -(-contacts // limits.max_contacts)
        if source.total is None:
            batches = max(batches, size_of(known) // limits.max_bytes)
        return await self._plan(contacts, batches, None)

    async def _plan(self, contacts: int, batches: int, size: int | None) -> Plan:
        calls = batches + _LOOKUPS
        rate = self.client.rate
        return Plan(
            contacts=contacts,
            batches=batches,
            calls=calls,
            bytes=size,
            # With several windows it takes a while to find out.
            seconds=await asyncio.to_thread(planned_seconds, rate, calls) if rate else None,
            rate=tuple(map(str, rate)),
            exact=size is not None,
        )

    async def _files_of(self, source: Source, *, resumed: bool) -> RunFiles:
        assert self.directory is not None  # noqa: S101  only runs with one have files
        column_map = self.options.column_map
        made = partial(RunFiles, self.directory, source.columns, source.cells, column_map=column_map, resumed=resumed)
        return await _for_columns(len(source.columns), made, RunFiles.close)

    async def resume(self, settings: Mapping[str, Any], before: IngestReport) -> IngestReport:
        """Go on with a run whose directory is locked, and which stood as this report says."""
        assert self.directory is not None  # noqa: S101  only runs with one are resumed
        frame_bytes = _frame_bytes(self.contact_list)
        numbering = await numbering_of(self.options)
        suppressed = await self._suppressed(numbering)
        began = time.monotonic() - before.seconds
        async with contextlib.AsyncExitStack() as closing:
            await self._hold(closing)
            scans = self._scans(closing)
            assert scans is not None  # noqa: S101  only files are resumed
            known = await scans.all()
            # Before it is opened as it was read then, which may fail now.
            refuse_changes(self.directory, settings, known, {"source": source_digest(known)})
            source = await open_source(self.given, scans.guesses(), column_map=self.options.column_map)
            closing.callback(source.close)
            source.name = settings["source"]["name"]
            table = await self._matched(source)
            now = await asyncio.to_thread(self._decides, known, table, suppressed, numbering)
            refuse_changes(self.directory, settings, known, now)
            drops_duplicates = await _find_list(self.client, self.contact_list, self.options)
            screen = await asyncio.to_thread(self._screen, source, table, suppressed, numbering, frame_bytes)
            # A journal has as many rows as calls were tried.
            screen.known = await _aside(partial(journals.read_known, self.directory))
            await self._refuse_touched()
            screen.resend = self._repeatable(drops_duplicates)
            if screen.resend and drops_duplicates is not True:
                self._refuse_to_send_what_was_amended(settings)
            tally = _tally(await _aside(partial(journals.read_calls, self.directory)), before.budget.waited_seconds)
            until = sys.maxsize
            if not before.source_exhausted:
                in_files = await asyncio.to_thread(last_row_in_files, self.directory)
                until = max(before.counts.read, journals.read_last_row(self.directory), in_files)
            files = await self._files_of(source, resumed=True)
            closing.callback(files.close)
            journal = Journal.open(self.directory, self._session())
            closing.callback(journal.close)
            if screen.question is not None:
                screen.question.before = Barred(await asyncio.to_thread(journals.read_barred_before, self.directory))
            started_at, run_id = dt.datetime.fromisoformat(settings["started_at"]), settings["run_id"]
            run = await self._run(
                source, screen, drops_duplicates, files, journal, tally, began, started_at, run_id, None, table, known
            )
            run.goes_on_from(before, until, partial(brought_forward, self.directory, settings))
            return await run.execute()

    def _refuse_to_send_what_was_amended(self, settings: Mapping[str, Any]) -> None:
        """Raise RunDirectoryError if another run may have sent what is uncertain in this one."""
        if settings.get(journals.AMENDED_BY):
            raise RunDirectoryError(
                f"the run in {self.directory} was amended, so sending its uncertain contacts again could call people"
                f" twice; instead: {amend_command(cast('Path', self.directory), 'uncertain.csv')}"
            )

    async def _suppressed(self, numbering: Numbering | None) -> BarredLists:
        given = self.options.do_not_contact
        numbers = given if isinstance(given, Iterable) else ()
        if self.origin is not None:
            numbers = [*numbers, *self.origin.barred]
        reading = Reading(
            columns=self.options.suppress_columns,
            sheets=self.options.suppress_sheets,
            allow_empty=self.options.allow_empty_suppress,
            has_region=self.options.region is not None,
        )
        return await read_suppressed(self.options.suppress, numbering, numbers, reading)

    def _decides(
        self,
        known: Sequence[Scan] | None,
        table: Shape | None,
        suppressed: BarredLists,
        numbering: Numbering | None,
    ) -> dict[str, str | None]:
        """Digests of what decides a contact's state; the numbers themselves are in none of them."""
        barred = digest_of_numbers(suppressed)
        # Nobody can tell what a function answers, but a version of this program that knows of none must not go on.
        asks = function_of(self.options.do_not_contact) is not None
        return {
            "source": source_digest(known),
            "columns": digest(repr(None if table is None else asdict(table))),
            "suppressed": f"{barred} and a function" if asks else barred,
            "rules": rules_digest(numbering),
        }

    async def _matched(self, source: Source) -> Shape | None:
        header = source.header
        if header is None:
            return None
        column_map = with_implied(self.options.column_map, source)
        if self.origin is not None:
            column_map = {**column_map, **_added_by_a_run(header, self.origin.columns)}
        return await _for_columns(len(header), partial(match, header, column_map))

    def _screen(
        self,
        source: Source,
        table: Shape | None,
        suppressed: BarredLists,
        numbering: Numbering | None,
        frame_bytes: int,
    ) -> Screen:
        batcher = Batcher(self.options.batch, frame_bytes)
        normaliser = Normaliser(table, self.options.column_map, batcher.room, numbering)
        remember = not self.options.keep_duplicates
        function = function_of(self.options.do_not_contact)
        question = None if function is None else Question(function)
        sent_before = {} if self.origin is None else self.origin.sent_before
        if source.yields_tables:
            # Who pushes no tables needs no polars.
            from kore_campaign_async.ingest.columns import NumbersOfTables  # noqa: PLC0415
            from kore_campaign_async.ingest.table_screen import TableScreen  # noqa: PLC0415

            numbers = NumbersOfTables() if remember else None
            return TableScreen(normaliser, suppressed, numbers, batcher, question=question, sent_before=sent_before)
        seen = NumbersSeen() if remember else None
        return Screen(normaliser, suppressed, seen, batcher, question=question, sent_before=sent_before)

    def _repeatable(self, drops_duplicates: bool | None) -> bool:
        on_uncertain = self.options.on_uncertain
        return on_uncertain == "resend" or (on_uncertain == "auto" and drops_duplicates is True)

    async def _run(
        self,
        source: Source,
        screen: Screen,
        drops_duplicates: bool | None,
        files: RunFiles | None,
        ledger: Ledger,
        tally: Tally,
        began: float,
        started_at: dt.datetime,
        run_id: str,
        plan: Plan | None,
        table: Shape | None,
        known: Sequence[Scan] | None,
    ) -> Run:
        dialects = _found_out(source, known)
        reading = await _for_columns(len(source.columns), partial(self._reading, source, dialects, table))
        reading = (*reading, *self.warnings)
        notices = (*source.notices, *self.warnings, *self._warnings(dialects, known))
        notices = notices if plan is None else (*notices, *_too_many(plan))
        if files is not None and source.path is None:
            notices = (*notices, f"{source.name} can't be read again, so a run that stops can't be resumed")
        if notices:
            # They name columns and files, which may be a contact's.
            logger.info("run %s: its report has notices on how its source is read: %d", run_id, len(notices))
        return Run(
            client=self.client,
            source=source,
            contact_list=self.contact_list,
            options=self.options,
            screen=screen,
            repeatable=self._repeatable(drops_duplicates),
            files=files,
            sink=self.sink,
            began=began,
            started_at=started_at,
            run_id=run_id,
            ledger=ledger,
            tally=tally,
            notices=notices,
            plan=plan,
            reading=reading,
            first_look=None if isinstance(source, FirstRows) else partial(_warnings_of, screen.normaliser),
        )

    def _reading(self, source: Source, dialects: Sequence[Dialect], table: Shape | None) -> tuple[str, ...]:
        """How the source is read, and which of its columns is which field, in a line each."""
        lines: dict[str, list[str]] = {}
        for one, dialect in zip(inputs_of(self.given) or (), dialects, strict=False):
            lines.setdefault(_spoken(dialect), []).append("standard input" if one.path is None else str(one.path))
        said = [f"{_some(names)}: {how}" for how, names in lines.items() if how]
        if table is not None and source.header is not None:
            said.append(f"columns: {matched(source.header, table)}")
        return tuple(said)

    def _warnings(self, dialects: Sequence[Dialect], known: Sequence[Scan] | None) -> tuple[str, ...]:
        """What a person should look at who knows the files."""
        if known is None:
            return ()
        files = [str(one.path) for one in inputs_of(self.given) or ()]
        windows = [name for name, dialect in zip(files, dialects, strict=True) if dialect.encoding == WINDOWS]
        wrong = [name for name, one in zip(files, known, strict=True) if one.has_wrong_bytes]
        said = []
        if windows:
            said.append(f"{_some(windows)}: read as Windows-1252; --encoding names another encoding")
        if wrong:
            said.append(
                f"{_some(wrong)}: not all of it is UTF-8; the rows with wrong bytes are rejected as bad_value and"
                f" {AS_ESCAPES}, or --encoding names another encoding"
            )
        return tuple(said)


def _added_by_a_run(header: Sequence[str], own: Sequence[str]) -> Mapping[str, str]:
    """Columns that a run put before the source's own, wherever a person moved them: they are no fields."""
    added = ("row", "reason")
    return {name: "" for name in header if name.strip().casefold() in added and name not in own}


def _warnings_of(normaliser: Normaliser, part: Slice | TableSlice) -> tuple[str, ...]:
    """What the first slice of a program's own contacts shows that somebody should know."""
    look = FirstLook()
    if normaliser.numbering is None:
        look.take((part,), normaliser)
    return look.warnings(normaliser)


async def _aside(work: Callable[[], T], unwanted: Callable[[T], None] = lambda _: None) -> T:
    """Do something in a thread, to its end also where this is cancelled: what it opens is closed before the lock goes.

    Args:
        work: touches nothing that others touch meanwhile.
        unwanted: gets what came of it where this was cancelled.
    """
    done = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await ended(done)
        if done.exception() is None:
            unwanted(done.result())
        raise


async def _for_columns(columns: int, work: Callable[[], T], unwanted: Callable[[T], None] = lambda _: None) -> T:
    """Do something that takes the longer the more columns there are: off the event loop where they are many."""
    return work() if columns <= MANY_COLUMNS else await _aside(work, unwanted)


def _some(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_FILES
    return ", ".join(names[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")


def _spoken(dialect: Dialect) -> str:
    """What a person should know of how a file is read; nothing of UTF-8 with commas."""
    said = []
    if dialect.encoding not in {None, UTF_8}:
        said.append(spoken(str(dialect.encoding)))
    if dialect.delimiter not in {None, ","}:
        said.append(f"cells parted by {_DELIMITERS.get(str(dialect.delimiter), repr(dialect.delimiter))}")
    if dialect.sheet is not None:
        said.append(f"sheet {dialect.sheet!r}")
    return ", ".join(said)


def _tally(calls: Mapping[str, int], waited_seconds: float) -> Tally:
    return Tally(
        sent=calls["sent"], retried=calls["retried"], throttled=calls["throttled"], waited_seconds=waited_seconds
    )


def _too_many(plan: Plan) -> tuple[str, ...]:
    """What a person should know who pushes more contacts than the vendor lets a list or an account hold."""
    about = "" if plan.exact else "about "
    if plan.contacts > wire.CONTACTS_AN_ACCOUNT:
        return (
            f"{about}{plan.contacts:,} contacts are more than the {wire.CONTACTS_AN_ACCOUNT:,} that an account holds",
        )
    if plan.contacts > wire.CONTACTS_A_LIST:
        most = wire.CONTACTS_A_LIST
        return (
            f"{about}{plan.contacts:,} contacts are more than the {most:,} that a list holds: split them over lists",
        )
    return ()


def _frame_bytes(contact_list: str) -> int:
    return len(add_contacts.opening(contact_list)) + len(add_contacts.CLOSING)


def _found_out(source: Source, known: Sequence[Scan] | None) -> tuple[Dialect, ...]:
    """How each file is read, with what only all of it told."""
    if known is None:
        return source.dialects
    return tuple(
        dialect if dialect.encoding is not None else evolve(dialect, encoding=one.encoding)
        for dialect, one in zip(source.dialects, known, strict=True)
    )


def new_run_id(moment: dt.datetime) -> str:
    """A run's name: the moment in UTC, and something that no other run of that second has."""
    return f"{moment.astimezone(dt.UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


async def _find_list(client: CampaignClient, name: str, options: IngestOptions) -> bool | None:
    """Find the list, or make it; tell whether it drops duplicates, None where nobody knows.

    Raises:
        ContactListError: there is not exactly one, or the options don't go with it.
        CallError: it could not be looked up or made.
    """
    lists = await client.list_contact_lists()
    found = [one for one in lists if one.name == name]
    if len(found) > 1:
        more = len(found) - _SHOWN_LISTS
        ids = " and ".join([one.id for one in found[:_SHOWN_LISTS]] + [f"{more} more"] * (more > 0))
        raise ContactListError(
            f"there are {len(found)} contact lists named {name!r} ({ids}), and addContacts names no id:"
            " rename all but one, with kore-campaign update ID --name NAME"
        )
    if found:
        allow_duplicates = await _allows_duplicates(client, found[0])
    elif options.create is None:
        # It compares letter by letter, and there can be thousands.
        near = await asyncio.to_thread(difflib.get_close_matches, name, [one.name for one in lists], n=3)
        hint = f"; the nearest are {', '.join(map(repr, near))}" if near else ""
        raise ContactListError(f"there is no contact list named {name!r}{hint}; --create makes it")
    elif options.dry_run:
        allow_duplicates = options.create.allow_duplicates
    else:
        made = await client.create_contact_list(
            name,
            options.create.description,
            allow_duplicates=options.create.allow_duplicates,
            preexisting=lists,
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
    if options.isolate and drops is not True and options.on_uncertain != "resend":
        raise ContactListError(
            f"the contact list {name!r} {'keeps' if drops is False else 'may keep'} duplicates, and nobody knows"
            " whether a refused call adds nothing: leave --isolate out, or risk doubled contacts with"
            " --on-uncertain resend"
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
            named(error),
        )
        return None
