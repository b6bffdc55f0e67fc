"""What people see in a terminal: tables, and a run's progress as a bar."""

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

from kore_campaign_async.cli import saying
from kore_campaign_async.config import Progress
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.models import ContactList

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
    for count, state, meaning, file in saying.table_of(report, directory):
        style = _COLOURS.get(state, "") if count != "0" else "dim"
        table.add_row(Text(count, style), Text(state, style), Text(meaning, "dim" if count == "0" else ""), Text(file))
    table.add_section()
    table.add_row(Text(f"{report.counts.read:,}", "bold"), Text("read", "bold"), "", "")
    console.print(Text.assemble((report.source, "bold"), " → contact list ", (report.contact_list, "bold")))
    console.print(table)
    for line in saying.done(report):
        console.print(line)
    for line in saying.what_now(report, directory):
        console.print(Text(line, "red" if line.startswith(("stopped: ", "the source was not")) else ""))


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
    """Show a run's progress on standard error, as a bar."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with Bar(
        SpinnerColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.description}"),
        console=console,
        transient=True,
        expand=True,
    ) as bar:
        task = bar.add_task("looking up the list", total=None)
        announce = saying.announcing(console.print)

        def update(now: Progress) -> None:
            announce(now)
            done = saying.part_done(now)
            bar.update(task, total=None if done is None else 1.0, completed=done or 0.0, description=saying.said(now))

        yield update
