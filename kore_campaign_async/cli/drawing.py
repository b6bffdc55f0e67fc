"""What people see: tables, and a run's progress as a bar or as plain lines."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.table import Table
from rich.text import Text

from kore_campaign_async.config import Plan, Progress
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.models import ContactList

_LINE_SECONDS: Final = 10.0

_MEANINGS: Final = {
    "accepted": ("queued by the API", None),
    "rejected": ("not a valid contact", "rejected.csv"),
    "duplicate": ("its number came earlier in the source", "left_out.csv"),
    "suppressed": ("on a do-not-contact file", "left_out.csv"),
    "refused": ("the API said no", "refused.csv"),
    "uncertain": ("may have been processed, nobody knows", "uncertain.csv"),
    "unsent": ("not sent", None),
}
_COLOURS: Final = {
    "accepted": "green",
    "rejected": "yellow",
    "refused": "red",
    "uncertain": "magenta",
    "unsent": "red",
}


def show_report(report: IngestReport, directory: Path | None) -> None:
    """Print a report as a table, with where to find what was not accepted."""
    console = Console(soft_wrap=True, highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right")
    table.add_column()
    table.add_column()
    table.add_column()
    for state, (meaning, file) in _MEANINGS.items():
        count = getattr(report.counts, state)
        style = _COLOURS.get(state, "") if count else "dim"
        table.add_row(
            Text(f"{count:,}", style),
            Text(state, style),
            Text(meaning, "dim" if not count else ""),
            Text(file if count and file and directory is not None else ""),
        )
    table.add_section()
    table.add_row(Text(f"{report.counts.read:,}", "bold"), Text("read", "bold"), "", "")
    console.print(Text.assemble((report.source, "bold"), " → contact list ", (report.contact_list, "bold")))
    console.print(table)
    calls = report.calls
    console.print(
        f"{calls.sent:,} calls sent, {calls.retried:,} retried, {calls.throttled:,} throttled;"
        f" {report.seconds:,.1f} s, {report.contacts_per_second:,.0f} accepted/s"
    )
    if report.plan is not None:
        console.print(f"a push takes {planned(report.plan)}")
    elif report.budget.used is not None:
        waited = report.budget.waited_seconds / max(1, calls.sent)
        console.print(f"{report.budget.used:.0%} of the account's limit used; a call waited {waited:,.1f} s for it")
    if report.stopped_because is not None:
        console.print(Text(f"stopped: {report.stopped_because}", "red"))
        if not report.source_exhausted:
            console.print(Text("the source was not read to its end", "red"))
        if directory is not None:
            console.print(Text(f"kore-campaign resume {directory} goes on with it"))
    if directory is not None:
        console.print(Text(f"run directory: {directory}"))


def show_lists(lists: Sequence[ContactList]) -> None:
    """Print contact lists as a table."""
    console = Console(highlight=False)
    if not lists:
        console.print("no contact lists")
        return
    table = Table(box=None, pad_edge=False)
    for name, justify, fold in (
        ("name", "left", "fold"),
        ("id", "left", "fold"),
        ("contacts", "right", "fold"),
        ("status", "left", "fold"),
        ("source", "left", "fold"),
    ):
        table.add_column(name, justify=justify, overflow=fold)  # type: ignore[arg-type]  # literals all
    for one in lists:
        contacts = "" if one.total_record_count is None else f"{one.total_record_count:,}"
        table.add_row(*map(Text, (one.name, one.id, contacts, one.status or "", one.source or "")))
    console.print(table)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Show a run's progress on standard error: a bar in a terminal, else a line now and then."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield _Lines(console)
        return
    with Bar(
        SpinnerColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        expand=True,
    ) as bar:
        task = bar.add_task("looking up the list", total=None)
        announce = _announcing(console)

        def update(now: Progress) -> None:
            announce(now)
            done = _done(now)
            bar.update(task, total=None if done is None else 1.0, completed=done or 0.0, description=_said(now))

        yield update


class _Lines:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._said_at = 0.0
        self._announce = _announcing(console)

    def __call__(self, now: Progress) -> None:
        self._announce(now)
        if now.seconds >= self._said_at + _LINE_SECONDS:
            self._said_at = now.seconds
            self._console.print(_said(now))


def _announcing(console: Console) -> Callable[[Progress], None]:
    """Say once what the push was estimated to take."""
    said = False

    def announce(now: Progress) -> None:
        nonlocal said
        if now.plan is not None and not said:
            said = True
            console.print(planned(now.plan))

    return announce


def planned(plan: Plan) -> str:
    """What a push takes, in a line."""
    about = "" if plan.exact else "about "
    size = "" if plan.bytes is None else f", {plan.bytes / 1e6:,.1f} MB"
    under = f"; {_duration(plan.seconds)} at least, under {' and '.join(plan.rate)}" if plan.seconds is not None else ""
    return f"{about}{plan.contacts:,} contacts in {about}{plan.batches:,} batches, {plan.calls:,} calls{size}{under}"


def _done(now: Progress) -> float | None:
    """How much is settled, as far as the part of the source that is read tells; None where it does not."""
    return now.fraction * now.settled / now.read if now.fraction is not None and now.read else None


def _said(now: Progress) -> str:
    per_second = now.settled / now.seconds if now.seconds > 0 else 0.0
    left = f", {_duration(now.seconds_left)} left" if now.seconds_left is not None and now.seconds > 1 else ""
    return f"{now.settled:,} contacts, {now.calls:,} calls, {per_second:,.0f}/s{left}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
