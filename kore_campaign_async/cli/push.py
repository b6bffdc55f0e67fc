"""`push`: contacts from a source into a contact list."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from glob import glob, has_magic
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from attrs import evolve

from kore_campaign_async.cli import asking, saying
from kore_campaign_async.cli.output import say, say_json
from kore_campaign_async.cli.sanitize import SENTENCE, legible
from kore_campaign_async.cli.starting import SIGNALS
from kore_campaign_async.config import (
    BatchLimits,
    Files,
    IngestOptions,
    NewList,
    OnUncertain,
    Progress,
    RateLimit,
    Timeouts,
)
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.directory import JOURNAL
from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.start import new_run_id, push_contacts

Watch = Callable[[Progress], None]

_GC_THRESHOLD: Final = 100_000


@asking.command
async def push_command(
    *,
    sources: tuple[str, ...],
    contact_list: str,
    create: bool,
    description: str | None,
    allow_duplicates: bool,
    run_dir: Path | None,
    max_contacts: int,
    max_bytes: int,
    concurrency: int,
    rate: tuple[RateLimit, ...] | None,
    shared_rate: str | None,
    timeout: float,  # noqa: ASYNC109  of an attempt, not of this function
    on_uncertain: OnUncertain,
    grace: float | None,
    list_drops_duplicates: bool,
    keep_duplicates: bool,
    isolate: bool,
    region: str | None,
    strict: bool,
    require_plus: bool,
    max_rejected: float,
    suppress: tuple[Path, ...],
    suppress_column: tuple[str, ...],
    suppress_sheet: tuple[str, ...],
    allow_empty_suppress: bool,
    column_map: dict[str, str],
    encoding: str | None,
    delimiter: str | None,
    sheet: str | None,
    no_header: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Push the contacts of every SOURCE into a contact list, and account for every one."""
    if create and description is None:
        raise click.UsageError("--create needs a --description for the list")
    if not create and (description is not None or allow_duplicates):
        raise click.UsageError("--description and --allow-duplicates go with --create")
    settings: dict[str, Any] = {"rate": rate} if rate is not None else {}
    if shared_rate is not None:
        settings["shared_rate"] = shared_rate
    options = IngestOptions(
        batch=BatchLimits(max_contacts=max_contacts, max_bytes=max_bytes),
        concurrency=concurrency,
        on_uncertain=on_uncertain,
        grace_seconds=10.0 if grace is None else grace,
        list_drops_duplicates=list_drops_duplicates,
        keep_duplicates=keep_duplicates,
        isolate=isolate,
        region=region,
        strict=strict,
        require_plus=require_plus,
        max_rejected=max_rejected,
        suppress=suppress,
        suppress_columns=suppress_column,
        suppress_sheets=suppress_sheet,
        allow_empty_suppress=allow_empty_suppress,
        column_map=column_map,
        create=NewList(description=description, allow_duplicates=allow_duplicates) if description is not None else None,
        dry_run=dry_run,
    )
    directory = run_dir if run_dir is not None else default_run_dir()
    files = Files(_named(sources), encoding=encoding, delimiter=delimiter, sheet=sheet, no_header=no_header)
    if sources == ("-",) and not dry_run:
        say("note: standard input can't be read again, so a run that stops can't be resumed", err=True)
    with prepared():
        found = asking.settings()
        async with asking.client(found, timeouts=timeouts(timeout), **settings) as client:

            def push(progress: Watch) -> Awaitable[IngestReport]:
                watched = evolve(options, progress=progress)
                return push_contacts(client, files, contact_list, directory, watched, shell=asking.remembered(found))

            report = await watch(push, None if dry_run else directory)
    show(report, None if dry_run else directory, as_json=as_json)
    return report.exit_status


def _named(sources: tuple[str, ...]) -> list[Path]:
    """The files that are named, those of a pattern in the order of their names."""
    paths: list[Path] = []
    for source in sources:
        path = Path(source)
        # A file can be called like a pattern; a shell hands over a pattern that it found nothing for.
        if path.exists() or not has_magic(source):
            paths.append(path)
            continue
        found = sorted(glob(source, recursive=True))  # noqa: PTH207  as a shell does: Path.glob takes no whole path
        if not found:
            raise SourceError(f"no file matches {source!r}; look at what is there with ls")
        paths += map(Path, found)
    return paths


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Set this process up for a run, and say of a call that failed before it began that nothing was sent."""
    # This process does nothing else, and what it makes by the million has no cycles: looking for some in it took a
    # tenth of its time. What is loaded by now stays anyway.
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    # The shell says in its own words how a run goes and ends.
    logging.getLogger("kore_campaign_async.runs").setLevel(logging.ERROR)
    with asking.told(failed=asking.WRONG, behind="; nothing was sent"):
        yield


def timeouts(seconds: float) -> Timeouts:
    """The timeouts of a client whose attempts may take this long."""
    return Timeouts(total_seconds=seconds, connect_seconds=min(10.0, seconds))


def default_run_dir() -> Path:
    """A directory for a run that has no other."""
    return Path("kore-runs") / new_run_id(dt.datetime.now(dt.UTC))


async def watch(
    start: Callable[[Watch], Awaitable[IngestReport]],
    directory: Path | None,
    *,
    resumable: bool = True,
    again: str = "",
) -> IngestReport:
    """Run with progress on standard error, and stop in order when a signal comes.

    The first SIGINT or SIGTERM lets calls in flight end, a second one cuts them off; the run settles and reports
    what was on its way.

    Args:
        start: begins the run, with a callback for its progress.
        directory: of the run, from which its report is read when it was stopped.
        resumable: whether a run of its account can be resumed at all.
        again: what goes on with contacts that wait since before this command; "" where there are none.
    """
    begun = asyncio.Event()

    def watched(now: Progress) -> None:
        begun.set()
        shown(now)

    try:
        with saying.way_of(sys.stderr).progress() as shown:
            run = asyncio.ensure_future(start(watched))
            with _cancelled_by_signals(run, begun), contextlib.suppress(asyncio.CancelledError):
                return _settled(await run)
        if directory is not None and begun.is_set():
            return _settled(read_report(directory))
    except Exception as error:
        if not begun.is_set():
            raise
        # Something may have been sent, so that this is not the status of what never began.
        on = f"; {saying.go_on(directory)}" if directory is not None and resumable else ""
        asking.tell(error, failed=asking.STOPPED, wrong=asking.STOPPED, behind=on)
    return _stopped_at_its_beginning(directory, again)


def _stopped_at_its_beginning(directory: Path | None, again: str) -> NoReturn:
    """Say of a run that was stopped before it began how to go on, and exit."""
    if directory is not None and (directory / JOURNAL).exists():
        again = saying.go_on(directory)
    if again:
        asking.fail(f"stopped before anything was sent by this command; {again}", asking.STOPPED)
    asking.fail("stopped before anything was sent", asking.WRONG)


@contextlib.contextmanager
def _cancelled_by_signals(task: asyncio.Future[IngestReport], begun: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    before = [signal.getsignal(one) for one in SIGNALS]
    for one in SIGNALS:
        loop.add_signal_handler(one, task.cancel)
    try:
        yield
    finally:
        # One that comes between two handlers waits for the second.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for one, handler in zip(SIGNALS, before, strict=True):
            loop.remove_signal_handler(one)
            signal.signal(one, handler)
        if begun.is_set():
            _leave_with(asking.STOPPED)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


def _settled(report: IngestReport) -> IngestReport:
    """Let a signal that comes behind the run's end only cut off what is printed of it."""
    _leave_with(report.exit_status)
    return report


def _leave_with(status: int) -> None:
    for one in SIGNALS:
        signal.signal(one, lambda _signal, _frame: os._exit(status))


def show(report: IngestReport, directory: Path | None, *, as_json: bool, resumable: bool = True) -> None:
    """Print a run's report on standard output, and what a person should know of its source on standard error."""
    with asking.printing():
        _show(report, directory, as_json=as_json, resumable=resumable)


def _show(report: IngestReport, directory: Path | None, *, as_json: bool, resumable: bool) -> None:
    for notice in report.notices:
        say(f"note: {legible(notice, SENTENCE)}", err=True)
    if as_json:
        say_json(report.to_json())
        return
    saying.way_of(sys.stdout).show_report(report, directory, resumable=resumable)
