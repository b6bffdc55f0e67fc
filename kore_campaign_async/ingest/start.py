"""How a run begins, new or resumed: its source, its list, its directory; and how a program is told of it.

What decides a contact's state is in the journal before the first call, and is compared when the run is resumed:
the source's bytes, how its columns were matched, the do-not-contact numbers, and this program's own rules.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import difflib
import hashlib
import logging
import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from pathlib import Path
from typing import Any, Final, Self, cast

from attrs import asdict, define, evolve

from kore_campaign_async import wire
from kore_campaign_async.budget import planned_seconds
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import BatchLimits, DoNotContact, IngestOptions, OnUncertain, Plan, Progress
from kore_campaign_async.endpoints import add_contacts
from kore_campaign_async.errors import (
    CallError,
    ContactListError,
    InvalidRequestError,
    RunDirectoryError,
    SourceError,
)
from kore_campaign_async.ingest import journal as journals
from kore_campaign_async.ingest.batching import Batcher
from kore_campaign_async.ingest.files import REPORT, RunFiles, RunLock, read_report
from kore_campaign_async.ingest.journal import Journal
from kore_campaign_async.ingest.matching import Shape, is_number_name, match, matched
from kore_campaign_async.ingest.normalise import RULES, Normaliser, Numbering, time_zones
from kore_campaign_async.ingest.records import Outcome, Settled, State
from kore_campaign_async.ingest.report import IngestReport, Tally
from kore_campaign_async.ingest.run import Run, Sink
from kore_campaign_async.ingest.screen import Question, Screen
from kore_campaign_async.ingest.screening import NumbersSeen
from kore_campaign_async.ingest.sending import Ledger, NoLedger
from kore_campaign_async.ingest.sources.base import Dialect, Source
from kore_campaign_async.ingest.sources.blocks import in_thread
from kore_campaign_async.ingest.sources.encodings import UTF_8, WINDOWS, spoken
from kore_campaign_async.ingest.sources.opening import Contacts, Input, engine, inputs_of, open_source
from kore_campaign_async.ingest.sources.scanning import Scan, Scans
from kore_campaign_async.ingest.suppressing import function_of, read_suppressed
from kore_campaign_async.models import ContactList

logger = logging.getLogger("kore_campaign_async")

# The calls that look for a list and ask whether it drops duplicates.
_LOOKUPS: Final = 2

_DIGESTED: Final = 10_000
_SHOWN_FILES: Final = 3
_DELIMITERS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}

_CHANGED: Final = {
    "source": "the source has changed",
    "columns": "its columns are matched otherwise",
    "suppressed": "the do-not-contact files hold other numbers, or do_not_contact does",
    "rules": "this version of the program, its time zones, or its numbering plans, judge contacts otherwise",
}


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
    return await _push(client, source, contact_list, run_dir, options or IngestOptions(), None)


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
    progress: Callable[[Progress], None] | None = None,
    client: Callable[[], CampaignClient] = CampaignClient.from_env,
) -> IngestReport:
    """Go on with a run like `resume_ingest`, from code without an event loop; Ctrl-C does as in `run_ingest`.

    Args:
        run_dir: of the run.
        max_contacts: as in `resume_ingest`, and so are the five behind it.
        concurrency: how many calls are in flight at most.
        on_uncertain: as in `IngestOptions`.
        grace_seconds: as in `IngestOptions`.
        do_not_contact: as in `resume_ingest`.
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
        async with client() as made:
            return await work(made)

    # It makes of Ctrl-C a cancellation, which stops a run in order, and KeyboardInterrupt when that is done.
    return asyncio.run(run())


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

    Nothing happens until it is iterated. `async with` it where the iteration may end early: that stops the run.
    """
    return OutcomeStream(lambda sink: _push(client, source, contact_list, run_dir, options or IngestOptions(), sink))


async def resume_ingest(
    client: CampaignClient,
    run_dir: str | Path,
    *,
    max_contacts: int | None = None,
    concurrency: int | None = None,
    on_uncertain: OnUncertain | None = None,
    grace_seconds: float | None = None,
    do_not_contact: DoNotContact | None = None,
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
        progress: as in `IngestOptions`.

    Raises:
        RunDirectoryError: there is no run, another process works on it, it belongs to another account, or
            something that decides a contact's state has changed. Nothing was sent.
        SourceError, ContactListError, CallError, CredentialsError: as in `ingest_contacts`. Nothing was sent.
    """
    directory = Path(run_dir)
    journals.read_settings(directory)  # a directory without a run is left as it is
    lock = RunLock(directory)
    try:
        journals.migrate(directory)
        settings = journals.read_settings(directory)
        # A run that was killed at its very beginning has a journal and no report.
        before = read_report(directory) if (directory / REPORT).exists() else None
        if before is not None and before.state == "finished" and not before.counts.uncertain:
            return before
        inputs = tuple(
            # Journals of earlier versions know no files without a header.
            Input(
                Path(one["path"]),
                Dialect(one["encoding"], one["delimiter"], one["sheet"], one.get("no_header", False)),
            )
            for one in settings["source"]["files"]
        )
        if not inputs:
            raise RunDirectoryError(
                f"the contacts came from {settings['source']['name']}, which can't be read again, so the run in"
                f" {directory} can't be resumed"
            )
        if settings["account"] != list(client.account):
            host, app_id, account_id = settings["account"]
            raise RunDirectoryError(
                f"the run in {directory} belongs to another account: {host}, application {app_id}, account {account_id}"
            )
        options = _options(settings["options"], max_contacts, concurrency, on_uncertain, grace_seconds, progress)
        options = evolve(options, do_not_contact=do_not_contact)
        then, now = settings["options"].get("do_not_contact"), _kind(do_not_contact)
        if then != now:
            was_given = f"the run in {directory} was given {then or 'nothing'} as do_not_contact"
            raise RunDirectoryError(
                f"{was_given}, which no journal keeps: give it again, to resume_ingest in Python"
                if now is None
                else f"{was_given}, and now {now}: give the same again"
            )
        return await _Start(client, inputs, settings["contact_list"], options, directory, None).resume(
            settings,
            0.0 if before is None else before.seconds,
            0.0 if before is None else before.budget.waited_seconds,
        )
    finally:
        lock.release()


def _options(
    stored: Mapping[str, Any],
    max_contacts: int | None,
    concurrency: int | None,
    on_uncertain: OnUncertain | None,
    grace_seconds: float | None,
    progress: Callable[[Progress], None] | None,
) -> IngestOptions:
    limits = BatchLimits(max_contacts=max_contacts or stored["max_contacts"], max_bytes=stored["max_bytes"])
    return IngestOptions(
        batch=limits,
        concurrency=concurrency or stored["concurrency"],
        on_uncertain=on_uncertain or stored["on_uncertain"],
        list_drops_duplicates=stored["list_drops_duplicates"],
        keep_duplicates=stored["keep_duplicates"],
        isolate=stored["isolate"],
        grace_seconds=stored["grace_seconds"] if grace_seconds is None else grace_seconds,
        # Journals of earlier versions don't have these two.
        region=stored.get("region"),
        strict=stored.get("strict", False),
        suppress=tuple(map(Path, stored["suppress"])),
        column_map=stored["column_map"],
        progress=progress,
    )


def _stored(options: IngestOptions) -> dict[str, Any]:
    """What `_options` reads; files by their whole path, since a run is resumed from anywhere."""
    return {
        "max_contacts": options.batch.max_contacts,
        "max_bytes": options.batch.max_bytes,
        "concurrency": options.concurrency,
        "on_uncertain": options.on_uncertain,
        "list_drops_duplicates": options.list_drops_duplicates,
        "keep_duplicates": options.keep_duplicates,
        "isolate": options.isolate,
        "grace_seconds": options.grace_seconds,
        "region": options.region,
        "strict": options.strict,
        "suppress": [str(path.absolute()) for path in options.suppress],
        "do_not_contact": _kind(options.do_not_contact),
        "column_map": dict(options.column_map),
    }


def _kind(given: DoNotContact | None) -> str | None:
    if given is None:
        return None
    return "numbers" if function_of(given) is None else "a function"


async def _push(
    client: CampaignClient,
    given: Contacts,
    contact_list: str,
    run_dir: str | Path | None,
    options: IngestOptions,
    sink: Sink | None,
) -> IngestReport:
    directory = Path(run_dir) if run_dir is not None and not options.dry_run else None
    return await _Start(client, given, contact_list, options, directory, sink).push()


@define
class _Start:
    """What a run is begun with."""

    client: CampaignClient
    given: Contacts | tuple[Input, ...]
    contact_list: str
    options: IngestOptions
    directory: Path | None
    sink: Sink | None

    async def push(self) -> IngestReport:
        """Begin a new run."""
        frame_bytes = _frame_bytes(self.contact_list)
        numbering = await _numbering(self.options)
        suppressed = await self._suppressed(numbering)
        began, started_at = time.monotonic(), dt.datetime.now(dt.UTC)
        with contextlib.ExitStack() as closing:
            scans = self._scans(closing)
            guesses = scans.guesses() if scans is not None else ()
            source = await open_source(self.given, guesses, column_map=self.options.column_map)
            closing.callback(source.close)
            table = self._matched(source)
            # Before the list is made, and once more when nobody else can put a run there.
            self._refuse_a_run()
            drops_duplicates = await _find_list(self.client, self.contact_list, self.options)
            run_id = self.directory.name if self.directory is not None else new_run_id(started_at)
            screen = await asyncio.to_thread(self._screen, source, table, suppressed, numbering, frame_bytes)
            files, ledger, plan = None, cast("Ledger", NoLedger()), None
            # A file that is torn somewhere is refused before anything is sent.
            known = None if scans is None else await scans.all()
            if self.directory is not None:
                lock = self._locked(self.directory, closing)
                plan = await self._estimate(source, known)
                # A digest of millions of numbers takes its time.
                decides = await asyncio.to_thread(self._decides, known, table, suppressed, numbering)
                settings = {
                    "run_id": run_id,
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
                        "size": None if known is None else _size(known),
                        # What began the run; whatever resumes it must come to the same.
                        **await asyncio.to_thread(engine, source),
                        "files": [] if known is None else self._files(source, known),
                    },
                    "options": _stored(self.options),
                    "decides": decides,
                }
                files = RunFiles(self.directory, source.columns, source.cells, anew=lock.known)
                closing.callback(files.close)
                ledger = journal = Journal.create(self.directory, settings, self._session())
                closing.callback(journal.close)
            tally = Tally()
            run = self._run(
                source, screen, drops_duplicates, files, ledger, tally, began, started_at, run_id, plan, table, known
            )
            report = await run.execute()
        if self.options.dry_run:
            planned = await self._plan(tally.states[State.UNSENT], tally.batches, tally.bytes)
            report = evolve(report, plan=planned, notices=(*report.notices, *_too_many(planned)))
        return report

    def _session(self) -> dict[str, Any]:
        """What a resume can do otherwise than the push before it."""
        return {
            "rate": list(map(str, self.client.rate)) or ["none"],
            "concurrency": self.options.concurrency,
            "max_contacts": self.options.batch.max_contacts,
        }

    def _scans(self, closing: contextlib.ExitStack) -> Scans | None:
        """Begin to read files through in a thread, while the source is opened and the list is looked up."""
        inputs = inputs_of(self.given)
        if inputs is None or inputs[0].path is None:
            return None
        scans = Scans([(one.path, one.dialect.encoding) for one in inputs if one.path is not None])
        closing.callback(scans.cancel)
        return scans

    def _files(self, source: Source, known: Sequence[Scan]) -> list[dict[str, Any]]:
        """The files and how they are read; by their whole path, since a run is resumed from anywhere."""
        return [
            {"path": str(one.path.absolute()), **asdict(dialect)}
            for one, dialect in zip(inputs_of(self.given) or (), _found_out(source, known), strict=True)
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
            batches = max(batches, _size(known) // limits.max_bytes)
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

    def _locked(self, directory: Path, closing: contextlib.ExitStack) -> RunLock:
        lock = RunLock(directory)
        closing.callback(lock.release)
        self._refuse_a_run()
        return lock

    def _refuse_a_run(self) -> None:
        """Raise RunDirectoryError if the directory of this new run holds another one."""
        if self.directory is not None and (self.directory / journals.JOURNAL).exists():
            raise RunDirectoryError(
                f"{self.directory} holds a run already: kore-campaign resume goes on with it, kore-campaign"
                " report shows it; or name another directory"
            )

    async def resume(self, settings: Mapping[str, Any], seconds: float, waited_seconds: float) -> IngestReport:
        """Go on with a run whose directory is locked, and which took and waited so many seconds before."""
        assert self.directory is not None  # noqa: S101  only runs with one are resumed
        frame_bytes = _frame_bytes(self.contact_list)
        numbering = await _numbering(self.options)
        suppressed = await self._suppressed(numbering)
        began = time.monotonic() - seconds
        with contextlib.ExitStack() as closing:
            scans = self._scans(closing)
            assert scans is not None  # noqa: S101  only files are resumed
            known = await scans.all()
            # Before it is opened as it was read then, which may fail now.
            self._refuse_changes(settings, known, {"source": _source_digest(known)})
            source = await open_source(self.given, scans.guesses(), column_map=self.options.column_map)
            closing.callback(source.close)
            source.name = settings["source"]["name"]
            table = self._matched(source)
            now = await asyncio.to_thread(self._decides, known, table, suppressed, numbering)
            self._refuse_changes(settings, known, now)
            drops_duplicates = await _find_list(self.client, self.contact_list, self.options)
            screen = await asyncio.to_thread(self._screen, source, table, suppressed, numbering, frame_bytes)
            screen.known, screen.resend = journals.read_known(self.directory), self._repeatable(drops_duplicates)
            tally = _tally(journals.read_calls(self.directory), waited_seconds)
            files = RunFiles(self.directory, source.columns, source.cells, anew=True)
            closing.callback(files.close)
            journal = Journal.open(self.directory, self._session())
            closing.callback(journal.close)
            started_at, run_id = dt.datetime.fromisoformat(settings["started_at"]), settings["run_id"]
            run = self._run(
                source, screen, drops_duplicates, files, journal, tally, began, started_at, run_id, None, table, known
            )
            run.resumed = True
            return await run.execute()

    async def _suppressed(self, numbering: Numbering | None) -> AbstractSet[int]:
        given = self.options.do_not_contact
        numbers = given if isinstance(given, Iterable) else ()
        return await read_suppressed(self.options.suppress, numbering, numbers)

    def _decides(
        self,
        known: Sequence[Scan] | None,
        table: Shape | None,
        suppressed: AbstractSet[int],
        numbering: Numbering | None,
    ) -> dict[str, str | None]:
        """Digests of what decides a contact's state; the numbers themselves are in none of them."""
        rules = RULES if numbering is None else f"{RULES} {numbering.name}"
        barred = _digest_of_numbers(suppressed)
        # Nobody can tell what a function answers, but a version of this program that knows of none must not go on.
        asks = function_of(self.options.do_not_contact) is not None
        return {
            "source": _source_digest(known),
            "columns": _digest(repr(None if table is None else asdict(table))),
            "suppressed": f"{barred} and a function" if asks else barred,
            "rules": _digest(f"{rules} {sorted(time_zones())}"),
        }

    def _refuse_changes(
        self, settings: Mapping[str, Any], known: Sequence[Scan] | None, now: Mapping[str, str | None]
    ) -> None:
        """Raise RunDirectoryError if something that decides a contact's state is otherwise now."""
        changed = [_CHANGED[name] for name, digest in now.items() if settings["decides"][name] != digest]
        if changed:
            then = settings["source"]["size"]
            size = None if known is None else _size(known)
            sizes = f" ({then} bytes then, {size} now)" if size != then else ""
            raise RunDirectoryError(
                f"the run in {self.directory} can't be resumed: {'; '.join(changed)}{sizes}; push what is left anew"
            )

    def _matched(self, source: Source) -> Shape | None:
        if source.header is None:
            return None
        said = self.options.column_map
        implied = {} if any(map(is_number_name, said.values())) else source.implied_map
        return match(source.header, {**implied, **said})

    def _screen(
        self,
        source: Source,
        table: Shape | None,
        suppressed: AbstractSet[int],
        numbering: Numbering | None,
        frame_bytes: int,
    ) -> Screen:
        batcher = Batcher(self.options.batch, frame_bytes)
        normaliser = Normaliser(table, self.options.column_map, batcher.room, numbering)
        remember = not self.options.keep_duplicates
        function = function_of(self.options.do_not_contact)
        question = None if function is None else Question(function)
        if source.yields_tables:
            # Who pushes no tables needs no polars.
            from kore_campaign_async.ingest.columns import NumbersOfTables  # noqa: PLC0415
            from kore_campaign_async.ingest.table_screen import TableScreen  # noqa: PLC0415

            seen = NumbersOfTables() if remember else None
            return TableScreen(normaliser, suppressed, seen, batcher, question=question)
        return Screen(normaliser, suppressed, NumbersSeen() if remember else None, batcher, question=question)

    def _repeatable(self, drops_duplicates: bool | None) -> bool:
        on_uncertain = self.options.on_uncertain
        return on_uncertain == "resend" or (on_uncertain == "auto" and drops_duplicates is True)

    def _run(
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
        reading = self._reading(source, dialects, table)
        notices = (*source.notices, *self._warnings(dialects, known))
        notices = notices if plan is None else (*notices, *_too_many(plan))
        if files is not None and source.path is None:
            notices = (*notices, f"{source.name} can't be read again, so a run that stops can't be resumed")
        for notice in (*reading, *notices):
            logger.info(notice)
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
                f"{_some(wrong)}: not all of it is UTF-8; the rows with wrong bytes are rejected as bad_value,"
                " or --encoding names another encoding"
            )
        return tuple(said)


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


async def _numbering(options: IngestOptions) -> Numbering | None:
    """The rules for numbers; None where they are the shape of E.164. SourceError tells what is wrong."""
    if options.region is None and not options.strict:
        return None

    def made() -> Numbering:
        # Who asks for none of this needs no library for it, and its import takes too long for the event loop.
        from kore_campaign_async.ingest.numbering import NumberingPlans  # noqa: PLC0415

        return NumberingPlans(options.region, strict=options.strict)

    try:
        return await in_thread(made)
    except ImportError:
        asked = "a region" if options.region is not None else "a strict check of numbers"
        raise SourceError(f"{asked} needs the extra phone: pip install 'kore-campaign-async[phone]'") from None


def _size(known: Sequence[Scan]) -> int:
    return sum(one.size for one in known)


def _found_out(source: Source, known: Sequence[Scan] | None) -> tuple[Dialect, ...]:
    """How each file is read, with what only all of it told."""
    if known is None:
        return source.dialects
    return tuple(
        dialect if dialect.encoding is not None else evolve(dialect, encoding=one.encoding)
        for dialect, one in zip(source.dialects, known, strict=True)
    )


def _source_digest(known: Sequence[Scan] | None) -> str | None:
    if not known:
        return None
    return known[0].sha256 if len(known) == 1 else _digest(" ".join(one.sha256 for one in known))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _digest_of_numbers(numbers: Iterable[int]) -> str:
    """Of numbers in ascending order, with commas between them, a part at a time: millions would be one long text."""
    digest, rest, comma = hashlib.sha256(), iter(numbers), ""
    while part := ",".join(map(str, islice(rest, _DIGESTED))):
        digest.update((comma + part).encode())
        comma = ","
    return digest.hexdigest()


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
            error.reason,
        )
        return None


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
            # Nobody takes outcomes any more: the run must not wait for that.
            rest = asyncio.create_task(_take_all(groups))
            run.cancel()
            group.cancel()
            await asyncio.gather(run, group, return_exceptions=True)
            rest.cancel()


async def _take_all(groups: asyncio.Queue[Any]) -> None:
    while True:
        await groups.get()
