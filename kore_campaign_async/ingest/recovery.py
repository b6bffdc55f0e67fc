"""The report of a run that left none: counted from the calls in its journal and the rows in its outcome files."""

from __future__ import annotations

import csv
import datetime as dt
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import asdict, evolve

from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import journal
from kore_campaign_async.ingest.escaping import escaped
from kore_campaign_async.ingest.reasons import entries
from kore_campaign_async.ingest.records import State
from kore_campaign_async.ingest.report import RUNNING, Calls, Counts, IngestReport, timestamp

_FILES: Final = ("rejected.csv", "left_out.csv", "refused.csv", "uncertain.csv")
_NOTICE: Final = (
    "report.json is missing or is no report, so this is counted from the journal and the outcome files; the last rows"
    " that were read can be missing from it"
)
_SUPPRESSED: Final = "suppressed"
# More digits than any row has: what a person wrote into the file.
_ROW_DIGITS: Final = 12
_GROWING: Final = ("accepted", "rejected", "duplicate", "suppressed", "refused")


def derived_report(directory: Path, settings: Mapping[str, Any]) -> IngestReport:
    """The report of the run in a directory as far as its journal and its files tell; it is never a finished one.

    Raises:
        RunDirectoryError: the journal can't be read.
    """
    counts = _counts(directory)
    calls, times = Calls(**journal.read_calls(directory)), journal.read_times(directory)
    began = dt.datetime.fromisoformat(settings["started_at"])
    ended = began if times.ended_at is None else dt.datetime.fromtimestamp(times.ended_at, dt.UTC)
    return IngestReport(
        run_id=escaped(settings["run_id"]),
        state="stopped",
        contact_list=settings["contact_list"],
        source=settings["source"]["name"],
        started_at=timestamp(began),
        finished_at=timestamp(max(began, ended)),
        counts=counts,
        calls=calls,
        seconds=round(times.seconds, 3),
        contacts_per_second=round(counts.accepted / times.seconds, 1) if times.seconds > 0 else 0.0,
        source_exhausted=False,
        stopped_because=RUNNING,
        notices=(_NOTICE,),
    )


def brought_forward(directory: Path, settings: Mapping[str, Any], kept: IngestReport) -> IngestReport:
    """A report that is older than the journal and the files, with what they tell beyond it.

    What is settled only grows, so the larger count is the truer one; what is uncertain can be settled later.
    """
    try:
        told = derived_report(directory, settings)
    except RunDirectoryError:
        return kept
    states = {name: max(getattr(kept.counts, name), getattr(told.counts, name)) for name in _GROWING}
    states["uncertain"] = told.counts.uncertain
    settled = sum(states.values())
    read = max(kept.counts.read, told.counts.read, settled)
    counts = Counts(read=read, unsent=read - settled, **states)
    calls = Calls(**{name: max(count, getattr(told.calls, name)) for name, count in asdict(kept.calls).items()})
    if (counts, calls) == (kept.counts, kept.calls):
        return kept
    seconds = max(kept.seconds, told.seconds)
    return evolve(
        kept,
        counts=counts,
        calls=calls,
        seconds=seconds,
        contacts_per_second=round(counts.accepted / seconds, 1) if seconds > 0 else 0.0,
        finished_at=max(kept.finished_at, told.finished_at),
    )


def last_row_in_files(directory: Path) -> int:
    """The last row that stands in an outcome file; 0 if there is none."""
    return max((row for name in _FILES for row, _ in _rows(directory / name)), default=0)


def _counts(directory: Path) -> Counts:
    rejected = _sorted(row for row, _ in _rows(directory / "rejected.csv"))
    left_out = list(_rows(directory / "left_out.csv"))
    duplicates = _sorted(row for row, reason in left_out if reason != _SUPPRESSED)
    barred = [row for row, reason in left_out if reason == _SUPPRESSED]
    del left_out
    known = journal.read_known(directory)
    suppressed = _sorted([*barred, *(one.first_row for one in known if one.state is State.SUPPRESSED)])
    unsendable = _sorted([*rejected, *duplicates, *suppressed])
    contacts = journal.read_contacts(directory)
    states = dict.fromkeys(State, 0)
    for one in known:
        if one.state is State.SUPPRESSED:
            continue
        many = contacts.get((one.first_row, one.last_row))
        if many is None:
            # Part of a call, whose range of rows is also that of what was left out between its contacts.
            many = one.last_row - one.first_row + 1 - _within(unsendable, one.first_row, one.last_row)
        states[State.UNCERTAIN if one.state is None else one.state] += many
    states |= {State.REJECTED: len(rejected), State.DUPLICATE: len(duplicates), State.SUPPRESSED: len(suppressed)}
    settled = sum(states.values())
    read = max(settled, journal.read_last_row(directory), unsendable[-1] if unsendable else 0)
    states[State.UNSENT] += read - settled
    return Counts(read=read, **states)


def _within(rows: Sequence[int], first: int, last: int) -> int:
    return bisect_right(rows, last) - bisect_left(rows, first)


def _sorted(rows: Any) -> array[int]:
    """Rows in ascending order, each once: eight bytes a row."""
    found, last = array("Q"), 0
    for row in sorted(array("Q", rows)):
        if row != last:
            found.append(row)
            last = row
    return found


def _rows(path: Path) -> Iterator[tuple[int, str]]:
    """The rows of an outcome file, and their reasons; none if it is missing. RunDirectoryError if it can't be read."""
    try:
        rows = entries(path)
        next(rows, None)
        for cells in rows:
            if cells[0].isascii() and cells[0].isdigit() and len(cells[0]) <= _ROW_DIGITS and (row := int(cells[0])):
                yield row, cells[1]
    except FileNotFoundError:
        return
    except (OSError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise RunDirectoryError(f"{path} can't be read: {why}") from None
