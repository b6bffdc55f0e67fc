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

from kore_campaign_async.cli import saying, telling
from kore_campaign_async.cli.legible import legible
from kore_campaign_async.cli.look import Look, Stands
from kore_campaign_async.cli.telling import WORDS
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
_PROSE_COLUMNS: Final = 100
_STANDS: Final = {Stands.FINISHED: "green", Stands.RUNNING: "cyan", Stands.STOPPED: "red", Stands.KILLED: "red"}


def show_report(report: IngestReport, directory: Path | None, *, resumable: bool = True) -> None:
    """Print a report as a table, with where to find what was not accepted."""
    console = Console(soft_wrap=True, highlight=False)
    console.print(Text.assemble((report.source, "bold"), " → contact list ", (report.contact_list, "bold")))
    console.print(_states(report, directory))
    for line in saying.done(report):
        console.print(line)
    for line in saying.what_now(report, directory, resumable=resumable):
        console.print(Text(line, "red" if line.startswith(("stopped: ", "the source was not")) else ""))


def _states(report: IngestReport, directory: Path | None) -> Table:
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
    return table


def show_look(look: Look) -> None:
    """Print what there is to know of a run: its states, reasons with examples, calls, and what to do next."""
    console, report = Console(highlight=False), look.report
    style = _STANDS[look.stands]
    # Names are somebody else's: in a Text they are no markup.
    title = Text.assemble(
        (legible(report.source, WORDS), "bold"), " → contact list ", (legible(report.contact_list, WORDS), "bold")
    )
    console.print(title.append(f"  {look.stands.value}", f"bold {style}"), soft_wrap=True)
    width = min(console.width, _PROSE_COLUMNS)
    console.print(Text(telling.headline(look)), width=width)
    console.print()
    console.print(_states(report, look.directory))
    told = list(telling.told_reasons(look))
    if told:
        console.print(Text("\nReasons", "bold"))
        console.print(_reasons(told, len(f"{report.counts.read:,}")))
    console.print(Text("\nCalls", "bold"))
    calls = Table.grid(padding=(0, 2))
    for name, value in telling.facts(look):
        calls.add_row(Text(name, "dim"), Text(value))
    console.print(calls)
    console.print(Text("\nWhat to do next", "bold"))
    for step in telling.steps(look):
        point = Table.grid(padding=(0, 1))
        point.add_row("•", Text(step.text))
        console.print(point, width=width)
        if step.command:
            # A command that is broken into lines could not be copied.
            console.print(Text(f"  {step.command}", "cyan"), soft_wrap=True)
    for note in (*report.notices, *look.lacks):
        console.print(Text(f"note: {legible(note, WORDS)}", "yellow"))
    console.print(Text(f"run directory: {look.directory}", "dim"), soft_wrap=True)


def _reasons(told: Sequence[telling.Told], width: int) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(justify="right", min_width=width, no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(ratio=1, overflow="fold")
    for one in told:
        style = _COLOURS.get(one.state, "")
        said = Text.assemble((one.reason, style), f"  {one.meaning}" if one.meaning else "")
        if one.examples:
            said.append(f"\n{one.examples}", "dim")
        table.add_row(Text(one.count, style), Text(one.state, style), said)
    return table


def show_lists(lists: Sequence[ContactList]) -> None:
    """Print contact lists as a table."""
    console = Console(highlight=False)
    if not lists:
        console.print("no contact lists")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("name", "id", "contacts", "status", "source"):
        table.add_column(name, justify="right" if name == "contacts" else "left", overflow="fold")
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
        # Names of columns and files are not to be drawn, whatever brackets they hold.
        announce = saying.announcing(lambda line: console.print(line, markup=False))

        def update(now: Progress) -> None:
            announce(now)
            done = saying.part_done(now)
            bar.update(task, total=None if done is None else 1.0, completed=done or 0.0, description=saying.said(now))

        yield update
