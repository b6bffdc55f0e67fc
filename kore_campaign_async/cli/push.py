"""`push`: contacts from a source into a contact list."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gc
import signal
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click
import orjson
from attrs import evolve

from kore_campaign_async.cli import asking
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import BatchLimits, IngestOptions, NewList, OnUncertain, Progress, RateLimit, Timeouts
from kore_campaign_async.errors import CallError, RunDirectoryError
from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.start import ingest_contacts, new_run_id

Watch = Callable[[Progress], None]

_GC_THRESHOLD: Final = 100_000


def _column_map(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    mapped: dict[str, str] = {}
    for text in texts:
        column, equals, field = text.rpartition("=")
        if not equals or not column or not field.strip():
            raise click.BadParameter(f"{text!r} is not written COLUMN=FIELD, such as 'Customer ID=uniqueId'")
        if column in mapped:
            raise click.BadParameter(f"the column {column!r} is mapped twice")
        mapped[column] = field.strip()
    return mapped


GRACE = click.option(
    "--grace",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="For calls in flight when a signal stops the run.  [default: 10]",
)


@click.command("push")
@click.argument("source")
@click.option("--list", "contact_list", required=True, metavar="NAME", help="The contact list's name.")
@click.option("--create", is_flag=True, help="Make the list if there is none of this name.")
@click.option("--description", metavar="TEXT", help="Of the list that --create makes.")
@click.option("--allow-duplicates", is_flag=True, help="The list that --create makes keeps duplicates.")
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Where the outcome files and the report go.  [default: ./kore-runs/<UTC>-<id>]",
)
@click.option("--max-contacts", type=click.IntRange(1), default=1000, show_default=True, help="In one call.")
@click.option("--max-bytes", type=click.IntRange(1), default=1 << 20, show_default=True, help="In one call's body.")
@click.option("--concurrency", type=click.IntRange(1), default=8, show_default=True, help="Calls in flight at most.")
@click.option(
    "--rate",
    "rate",
    multiple=True,
    callback=asking.rates,
    metavar="CALLS/SECONDS[,even]",
    help="The account's limit, repeatable; even spaces the calls; none is no limit.  [default: KORE_RATE, else 60/60]",
)
@asking.SHARED_RATE
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="For one attempt of a call.",
)
@click.option(
    "--on-uncertain",
    type=click.Choice(["auto", "hold", "resend"]),
    default="auto",
    show_default=True,
    help="Whether a call that may have been processed is sent again; auto: if the list drops duplicates.",
)
@GRACE
@click.option("--list-drops-duplicates", is_flag=True, help="The list drops duplicates, though the API doesn't tell.")
@click.option("--keep-duplicates", is_flag=True, help="Send a number again that came earlier in the source.")
@click.option(
    "--isolate", is_flag=True, help="Find the contacts that a batch is refused for, in 100 more calls a batch."
)
@click.option(
    "--suppress",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A do-not-contact file, repeatable: numbers that are left out.",
)
@click.option(
    "--map",
    "column_map",
    multiple=True,
    callback=_column_map,
    metavar="COLUMN=FIELD",
    help="Which field a column is, repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Check everything, send nothing, and tell what a push takes.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON, and nothing else on standard output.")
@asking.command
async def push_command(
    *,
    source: str,
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
    suppress: tuple[Path, ...],
    column_map: dict[str, str],
    dry_run: bool,
    as_json: bool,
) -> int:
    """Push the contacts of SOURCE into a contact list, and account for every one.

    SOURCE is a CSV or NDJSON file, or - for standard input. The exit status is 0 if every contact was
    accepted or left out on purpose, 1 if some were rejected or refused, 3 if some are uncertain, 4 if the run
    was stopped early, and 2 if something was wrong and nothing was sent.
    """
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
        suppress=suppress,
        column_map=column_map,
        create=NewList(description=description, allow_duplicates=allow_duplicates) if description is not None else None,
        dry_run=dry_run,
    )
    directory = run_dir if run_dir is not None else default_run_dir()
    if source == "-" and not dry_run:
        click.echo("note: standard input can't be read again, so a run that stops can't be resumed", err=True)
    with prepared():
        async with CampaignClient.from_env(timeouts=timeouts(timeout), **settings) as client:

            def push(progress: Watch) -> Awaitable[IngestReport]:
                watched = evolve(options, progress=progress)
                return ingest_contacts(client, source, contact_list=contact_list, run_dir=directory, options=watched)

            report = await watch(push, None if dry_run else directory)
    show(report, None if dry_run else directory, as_json=as_json)
    return report.exit_status


@contextlib.contextmanager
def prepared() -> Iterator[None]:
    """Set this process up for a run, and say of a call that failed before it began that nothing was sent."""
    # This process does nothing else, and what it makes by the million has no cycles: looking for some in it took a
    # tenth of its time. What is loaded by now stays anyway.
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)
    try:
        yield
    except CallError as error:
        asking.fail(f"{error}; nothing was sent", asking.WRONG)


def timeouts(seconds: float) -> Timeouts:
    """The timeouts of a client whose attempts may take this long."""
    return Timeouts(total_seconds=seconds, connect_seconds=min(10.0, seconds))


def default_run_dir() -> Path:
    """A directory for a run that has no other."""
    return Path("kore-runs") / new_run_id(dt.datetime.now(dt.UTC))


async def watch(start: Callable[[Watch], Awaitable[IngestReport]], directory: Path | None) -> IngestReport:
    """Run with progress on standard error, and stop in order when a signal comes.

    The first SIGINT or SIGTERM lets calls in flight end, a second one cuts them off; the run settles and reports
    what was on its way.

    Args:
        start: begins the run, with a callback for its progress.
        directory: of the run, from which its report is read when it was stopped.
    """
    from kore_campaign_async.cli import drawing  # noqa: PLC0415  rich is imported when it draws

    with drawing.progress() as shown:
        run = asyncio.ensure_future(start(shown))
        with _cancelled_by_signals(run), contextlib.suppress(asyncio.CancelledError):
            return await run
    try:
        if directory is not None:
            return read_report(directory)
    except RunDirectoryError:
        pass  # it was cancelled before it began
    return asking.fail("stopped before anything was sent", asking.WRONG)


@contextlib.contextmanager
def _cancelled_by_signals(task: asyncio.Future[IngestReport]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:
        loop.add_signal_handler(one, task.cancel)
    try:
        yield
    finally:
        for one in signals:
            loop.remove_signal_handler(one)


def show(report: IngestReport, directory: Path | None, *, as_json: bool) -> None:
    """Print a run's report on standard output, and what a person should know of its source on standard error."""
    for notice in report.notices:
        click.echo(f"note: {notice}", err=True)
    if as_json:
        click.echo(orjson.dumps(report.to_dict(), option=orjson.OPT_INDENT_2).decode())
        return
    from kore_campaign_async.cli import drawing  # noqa: PLC0415  rich is imported when it draws

    drawing.show_report(report, directory)
