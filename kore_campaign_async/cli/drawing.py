"""What people see in a terminal: tables, and a run's progress as a bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as Bar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from kore_campaign_async.cli import output, saying, telling
from kore_campaign_async.cli.look import Look, Stands
from kore_campaign_async.cli.sanitize import NAMES, SENTENCE, legible, visible
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


class _Door(Console):
    """A console on which no text steers anything, whoever it is from; only its own colours and cursor do."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Render as any console does, and clean what would be written."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            if control or text.isprintable():
                yield segment
            else:
                yield Segment("\n".join(map(visible, text.split("\n"))), style)


def _console(stream: TextIO, *, soft_wrap: bool = False) -> Console:
    # Names are somebody else's: brackets and colons in them are no markup.
    return _Door(file=output.unguarded(stream), soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False)


def _title(report: IngestReport) -> Text:
    return Text.assemble(
        (legible(report.source, NAMES), "bold"), " → contact list ", (legible(report.contact_list, NAMES), "bold")
    )


def show_report(report: IngestReport, directory: Path | None, *, resumable: bool = True) -> None:
    """Print a report as a table, with where to find what was not accepted."""
    console = _console(sys.stdout, soft_wrap=True)
    console.print(_title(report))
    console.print(_states(report, directory))
    for line in saying.done(report):
        console.print(Text(line))
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
    console, report = _console(sys.stdout), look.report
    style = _STANDS[look.stands]
    console.print(_title(report).append(f"  {look.stands.value}", f"bold {style}"), soft_wrap=True)
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
        console.print(Text(f"note: {legible(note, SENTENCE)}", "yellow"))
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
    console = _console(sys.stdout)
    if not lists:
        console.print("no contact lists")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("name", "id", "contacts", "status", "source"):
        table.add_column(name, justify="right" if name == "contacts" else "left", overflow="fold")
    for one in lists:
        contacts = "" if one.total_record_count is None else f"{one.total_record_count:,}"
        cells = (one.name, one.id, contacts, one.status or "", one.source or "")
        table.add_row(*(Text(legible(cell, NAMES)) for cell in cells))
    console.print(table)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Progress], None]]:
    """Show a run's progress on standard error, as a bar."""
    console = _console(sys.stderr, soft_wrap=True)
    with Bar(
        SpinnerColumn(),
        BarColumn(bar_width=None),
        TextColumn("{task.description}", markup=False),
        console=console,
        transient=True,
        expand=True,
    ) as bar:
        task = bar.add_task("looking up the list", total=None)
        # What others print meanwhile is drawn by the bar, which would take a part of it for colours.
        output.guard()
        announce = saying.announcing(lambda line: console.print(Text(legible(line, SENTENCE))))

        def update(now: Progress) -> None:
            announce(now)
            done = saying.part_done(now)
            bar.update(task, total=None if done is None else 1.0, completed=done or 0.0, description=saying.said(now))

        yield update
