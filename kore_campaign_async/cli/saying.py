"""What a run says: in words, without colours and bars, as it goes into a file or another program."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Final, TextIO

from kore_campaign_async.cli.output import say
from kore_campaign_async.cli.sanitize import NAMES, SENTENCE, legible
from kore_campaign_async.config import Plan, Progress
from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest.journal import read_settings
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.resuming import resuming

if TYPE_CHECKING:
    from kore_campaign_async.cli.look import Look

_LINE_SECONDS: Final = 10.0

# What each state means, and the file that holds its contacts.
_MEANINGS: Final = {
    "accepted": ("queued by the API", None),
    "rejected": ("not a valid contact", "rejected.csv"),
    "duplicate": ("its number came earlier in the source", "left_out.csv"),
    "suppressed": ("on a do-not-contact file", "left_out.csv"),
    "refused": ("the API said no", "refused.csv"),
    "uncertain": ("may have been processed, nobody knows", "uncertain.csv"),
    "unsent": ("not sent", None),
}


def way_of(stream: TextIO) -> ModuleType:
    """The module that shows things best there: this one, or in a terminal the one with colours."""
    if not stream.isatty():
        return sys.modules[__name__]
    from kore_campaign_async.cli import drawing  # noqa: PLC0415  rich is imported when it draws

    return drawing


def show_report(report: IngestReport, directory: Path | None, *, resumable: bool = True) -> None:
    """Print a report, with where to find what was not accepted."""
    rows = [*table_of(report, directory), (f"{report.counts.read:,}", "read", "", "")]
    say(f"{legible(report.source, NAMES)} → contact list {legible(report.contact_list, NAMES)}")
    for line in _columns(rows):
        say(line)
    for line in (*done(report), *what_now(report, directory, resumable=resumable)):
        say(line)


def show_look(look: Look) -> None:
    """Print what there is to know of a run: its states, reasons with examples, calls, and what to do next."""
    from kore_campaign_async.cli import telling  # noqa: PLC0415  a push needs it not, and its start is measured

    counts, report = table_of(look.report, look.directory), look.report
    rows = [*counts, (f"{report.counts.read:,}", "read", "", "")]
    say(f"{legible(report.source, NAMES)} → contact list {legible(report.contact_list, NAMES)}")
    say(telling.headline(look))
    say()
    for line in _columns(rows):
        say(line)
    if told := list(telling.told_reasons(look)):
        say()
        say("reasons")
    for one in told:
        meaning = f" ({one.meaning})" if one.meaning else ""
        say(f"{one.count.rjust(len(rows[-1][0]))}  {one.state}: {one.reason}{meaning}")
        if one.examples:
            say(f"{' ' * len(rows[-1][0])}    {one.examples}")
    say()
    say("calls")
    for line in _columns([("", name, value, "") for name, value in telling.facts(look)]):
        say(line)
    say()
    say("next")
    for step in telling.steps(look):
        say(f"  {step.text}")
        if step.command:
            say(f"    {step.command}")
    for line in barred(report):
        say(line)
    for note in (*report.notices, *look.lacks):
        say(f"note: {legible(note, SENTENCE)}")
    say(f"run directory: {look.directory}")


def _columns(rows: Sequence[tuple[str, str, str, str]]) -> Iterator[str]:
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for count, *cells in rows:
        texts = (cell.ljust(width) for cell, width in zip(cells, widths[1:], strict=True))
        yield "  ".join((count.rjust(widths[0]), *texts)).rstrip()


def table_of(report: IngestReport, directory: Path | None) -> list[tuple[str, str, str, str]]:
    """A row for each state: count, state, meaning, and the file that holds its contacts."""
    rows = []
    for state, (meaning, file) in _MEANINGS.items():
        count = getattr(report.counts, state)
        rows.append((f"{count:,}", state, meaning, file if count and file and directory is not None else ""))
    return rows


def done(report: IngestReport) -> Iterator[str]:
    """What a run did."""
    calls = report.calls
    yield (
        f"{calls.sent:,} calls sent, {calls.retried:,} retried, {calls.throttled:,} throttled;"
        f" {report.seconds:,.1f} s, {report.contacts_per_second:,.0f} accepted/s"
    )
    if report.plan is not None:
        yield f"a push takes {planned(report.plan)}"
    elif report.budget.used is not None:
        waited = report.budget.waited_seconds / max(1, calls.sent)
        yield f"{report.budget.used:.0%} of the account's limit used; a call waited {waited:,.1f} s for it"
    yield from barred(report)


def barred(report: IngestReport) -> Iterator[str]:
    """How many numbers each do-not-contact file or sheet bars, and how many of them were met."""
    for one in report.do_not_contact:
        sheet = f", sheet {legible(repr(one.sheet), NAMES)}" if one.sheet is not None else ""
        name = f"{legible(one.name, NAMES)}{sheet}"
        yield f"do-not-contact {name}: {one.numbers:,} numbers, {one.in_source:,} of them in the source"


def what_now(report: IngestReport, directory: Path | None, *, resumable: bool) -> Iterator[str]:
    """Why it stopped, if it did, and what to do next."""
    if report.stopped_because is not None:
        yield f"stopped: {legible(report.stopped_because, SENTENCE)}"
        if not report.source_exhausted:
            yield "the source was not read to its end"
        if directory is not None and resumable:
            yield go_on(directory)
    if directory is not None:
        yield f"run directory: {directory}"


def go_on(directory: Path) -> str:
    """How the run in a directory is gone on with, or why it can't be."""
    try:
        settings = read_settings(directory)
    except RunDirectoryError:
        settings = {}
    return resuming(directory, settings).sentence


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Say how a run goes on standard error, in a line now and then."""
    said_at = 0.0
    announce = announcing(_to_stderr)

    def update(now: Progress) -> None:
        nonlocal said_at
        announce(now)
        if now.seconds >= said_at + _LINE_SECONDS:
            said_at = now.seconds
            _to_stderr(said(now))

    yield update


def _to_stderr(line: str) -> None:
    say(legible(line, SENTENCE), err=True)


def announcing(tell: Callable[[str], None]) -> Callable[[Progress], None]:
    """Say once how the source is read, and what the push was estimated to take."""
    was_said = False

    def announce(now: Progress) -> None:
        nonlocal was_said
        if was_said:
            return
        was_said = True
        for line in now.reading:
            tell(line)
        if now.plan is not None:
            tell(planned(now.plan))

    return announce


def planned(plan: Plan) -> str:
    """What a push takes, in a line."""
    about = "" if plan.exact else "about "
    size = "" if plan.bytes is None else f", {plan.bytes / 1e6:,.1f} MB"
    under = f"; {_duration(plan.seconds)} at least, under {' and '.join(plan.rate)}" if plan.seconds is not None else ""
    return f"{about}{plan.contacts:,} contacts in {about}{plan.batches:,} batches, {plan.calls:,} calls{size}{under}"


def part_done(now: Progress) -> float | None:
    """How much is settled, as far as the part of the source that is read tells; None where it does not."""
    return now.fraction * now.settled / now.read if now.fraction is not None and now.read else None


def said(now: Progress) -> str:
    """How far a run has come, in a line."""
    per_second = now.settled / now.seconds if now.seconds > 0 else 0.0
    left = f", {_duration(now.seconds_left)} left" if now.seconds_left is not None and now.seconds > 1 else ""
    return f"{now.settled:,} contacts, {now.calls:,} calls, {per_second:,.0f}/s{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
