"""A look at a run: all that its directory tells of it, for a terminal and for a page."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from kore_campaign_async.cli.sanitize import legible
from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import journal
from kore_campaign_async.ingest.directory import amend_command, is_at_work
from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.ingest.reasons import Example, Reason, read_reasons
from kore_campaign_async.ingest.records import State
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.resuming import By, Resuming, resuming
from kore_campaign_async.ingest.timeline import Timeline, read_timeline
from kore_campaign_async.redaction import masked_cell, masked_words

_NUMBER_CHARACTERS: Final = 32


class Stands(enum.Enum):
    """How a run stands."""

    FINISHED = "finished"
    STOPPED = "stopped"
    RUNNING = "running"
    KILLED = "killed"


@frozen(kw_only=True)
class Look:
    """What a run's directory tells of it.

    Attributes:
        report: as `report.json` has it.
        timeline: from the journal; None where it can't be read.
        settings: from the journal; empty where it can't be read.
        lacks: what can't be shown, and why.
        show_numbers: whether numbers are shown whole.
    """

    directory: Path
    stands: Stands
    report: IngestReport
    reasons: tuple[Reason, ...]
    timeline: Timeline | None
    settings: Mapping[str, Any]
    lacks: tuple[str, ...]
    show_numbers: bool

    @property
    def resuming(self) -> Resuming:
        """How the run can be gone on with."""
        return resuming(self.directory, self.settings)

    def example(self, example: Example) -> str:
        """An example in a few words, its number masked unless it is to be shown."""
        parts = [f"row {legible(example.row, 20)}"]
        if example.column == "row":
            parts[0] += f" (as row {legible(example.value, 20)})"
        if example.number is not None:
            number = example.number if self.show_numbers else masked_cell(example.number)
            parts.append(legible(number, _NUMBER_CHARACTERS) if number.strip() else "no number")
        if example.column and example.column != "row":
            value = legible(self.words(example.value), _NUMBER_CHARACTERS, example.characters)
            parts.append(f"{legible(self.words(example.column), _NUMBER_CHARACTERS)}: {value}")
        return " · ".join(parts)

    def examples(self, reason: Reason) -> str:
        """The first examples of a reason, in a line."""
        told = list(map(self.example, reason.examples))
        if len(told) > 1 and all(re.fullmatch(r"row \S+", one) for one in told):
            return f"rows {', '.join(one.removeprefix('row ') for one in told)}"
        return "; ".join(told)

    def words(self, text: str) -> str:
        """A text of the server's or the source's, numbers in it masked unless they are to be shown."""
        return text if self.show_numbers else masked_words(text)

    def amend(self, file: str | None = None) -> str:
        """The command that pushes an outcome file again, once it is mended; "" where the shell can't."""
        return amend_command(self.directory, file) if self.resuming.by is By.SHELL else ""


def look(directory: Path, *, show_numbers: bool) -> Look:
    """Look at the run in a directory, which may still go on; RunDirectoryError if there is none."""
    going_on = is_at_work(directory)
    lacks: list[str] = []
    settings: Mapping[str, Any] = {}
    timeline = None
    try:
        settings = journal.read_settings(directory)
        timeline = read_timeline(directory)
    except RunDirectoryError as error:
        lacks.append(f"{error}; so nothing is shown of its calls")
    report = read_report(directory)
    reasons: tuple[Reason, ...] = ()
    try:
        reasons = read_reasons(directory, (settings.get("options") or {}).get("column_map") or {})
    except RunDirectoryError as error:
        lacks.append(f"{error}; so its reasons are not shown")
    return Look(
        directory=directory,
        stands=_stands(report, going_on=going_on),
        report=report,
        reasons=reasons,
        timeline=timeline,
        settings=settings,
        lacks=tuple(lacks),
        show_numbers=show_numbers,
    )


def _stands(report: IngestReport, *, going_on: bool) -> Stands:
    if going_on:
        return Stands.RUNNING
    if report.state == "finished":
        return Stands.FINISHED
    return Stands.KILLED if report.unended else Stands.STOPPED


def left(report: IngestReport) -> int:
    """How many contacts need somebody to look at them."""
    return report.counts.rejected + report.counts.refused + report.counts.uncertain


def reasons_of(look_: Look, state: State) -> list[Reason]:
    """The reasons of one state."""
    return [reason for reason in look_.reasons if reason.state is state]
