"""What a run writes into its directory: CSV files of the contacts that were not accepted, their reasons, the report.

Directories are 0700 and files 0600, since they hold phone numbers. A run that is resumed writes beside the files that
are there, and puts its own in their place once they hold as much.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import orjson

from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import journal
from kore_campaign_async.ingest.directory import (
    JOURNAL,
    PART,
    REASONS,
    REPORT,
    create,
    is_at_work,
    replace,
    sync,
    unusable,
)
from kore_campaign_async.ingest.escaping import ESCAPED, escaped, is_text
from kore_campaign_async.ingest.integrity import damaged
from kore_campaign_async.ingest.reasons import Reasons
from kore_campaign_async.ingest.records import Record, Settled, State
from kore_campaign_async.ingest.recovery import brought_forward, derived_report
from kore_campaign_async.ingest.report import IngestReport, timestamp

# A contact goes from one file to another only by a resume, out of the last one. Put in place in this order, it is in
# both rather than in neither where the process is killed in between.
_FILE_OF: Final = {
    State.REJECTED: "rejected.csv",
    State.DUPLICATE: "left_out.csv",
    State.SUPPRESSED: "left_out.csv",
    State.REFUSED: "refused.csv",
    State.UNCERTAIN: "uncertain.csv",
}
_NAMES: Final = tuple(dict.fromkeys(_FILE_OF.values()))
# What a process that was killed can have left. An older version named one of them otherwise.
_PARTS: Final = (*(f"{name}{PART}" for name in (*_NAMES, REASONS, REPORT)), "report.part")


class RunFiles:
    """The files of one run.

    Args:
        directory: made if it is missing.
        columns: the source's own columns.
        cells: a record as these columns' cells.
        column_map: as in `IngestOptions`, to find the numbers' column.
        resumed: whether files of the run may be there. They stay as they are until `put_in_place`, and if that is
            never called.

    Attributes:
        has_escapes: whether something was written that was no text, and is not written as it was.

    Raises:
        RunDirectoryError: the files can't be written.
    """

    def __init__(
        self,
        directory: Path,
        columns: Sequence[str],
        cells: Callable[[Record], Sequence[str]],
        *,
        column_map: Mapping[str, str] | None = None,
        resumed: bool = False,
    ) -> None:
        self.directory = directory
        self.has_escapes = False
        self._cells = cells
        self._reasons = Reasons(columns, cells, column_map or {})
        self._reasons_written = b""
        self._beside = resumed
        self._files: dict[str, IO[str]] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if resumed:
                _clear(directory)
            for name in _NAMES:
                self._files[name] = _create(self._path(name))
            self._lines: list[str] = []
            self._writer = csv.writer(_Lines(self._lines))
            for name in self._files:
                self._writer.writerow(["row", "reason", *columns])
                self._write_lines(name)
        except OSError as error:
            for name, file in self._files.items():
                with contextlib.suppress(OSError):  # what can't be flushed is not there
                    file.close()
                self._path(name).unlink(missing_ok=True)
            raise unusable(directory, error) from None

    def _path(self, name: str) -> Path:
        return self.directory / (name + PART if self._beside else name)

    def keeps(self, state: State) -> bool:
        """Whether contacts of a state have a file."""
        return state in _FILE_OF

    def write(self, settled: Settled) -> None:
        """Write contacts of a state that has a file. OSError if it can't be written."""
        name = _FILE_OF.get(settled.state)
        if name is not None:
            self._reasons.fold(settled)
            self._writer.writerows([row, reason, *self._cells(record)] for row, reason, record in settled.entries())
            self._write_lines(name)

    def _write_lines(self, name: str) -> None:
        text = "".join(self._lines)
        self._lines.clear()
        self.has_escapes = self.has_escapes or not is_text(text)
        self._files[name].write(text)

    def put_in_place(self) -> None:
        """Put the files of a run that is resumed in the place of those before; they go on there. OSError if it fails.

        It blocks until they are on the disk.
        """
        self._flush(durable=True)
        for name in _NAMES:
            (self.directory / f"{name}{PART}").replace(self.directory / name)
        self._beside = False
        sync(self.directory)

    def write_report(self, report: IngestReport, *, durable: bool) -> None:
        """Put the report where its readers find it whole, behind the rows and reasons it counts. OSError if it fails.

        It blocks until the report is on the disk.

        Args:
            report: replaces the one before.
            durable: wait until the rows are on the disk too.
        """
        if not self._beside:
            self._flush(durable=durable)
            reasons = self._reasons.to_json()
            if reasons != self._reasons_written:
                replace(self.directory / REASONS, reasons)
                self._reasons_written = reasons
        replace(self.directory / REPORT, report.to_json())

    def _flush(self, *, durable: bool) -> None:
        for file in self._files.values():
            if not file.closed:
                file.flush()
                if durable:
                    os.fsync(file.fileno())

    def close(self) -> None:
        """Close the files, and remove those that were not put in place.

        A report was written behind their last rows, so what can't be written is known.
        """
        for name, file in self._files.items():
            with contextlib.suppress(OSError):
                file.close()
            if self._beside:
                with contextlib.suppress(OSError):
                    self._path(name).unlink(missing_ok=True)


class _Lines:
    """Takes the lines that a CSV writer makes."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def _clear(directory: Path) -> None:
    """Remove what a process left that was killed. OSError if what stands in the files' places can't be replaced."""
    for name in _PARTS:
        (directory / name).unlink(missing_ok=True)
    for name in (*_NAMES, REASONS, REPORT):
        path = directory / name
        if os.path.lexists(path) and stat.S_ISDIR(path.lstat().st_mode):
            raise IsADirectoryError(21, "a directory stands where the run writes this file: move it away", str(path))


def _create(path: Path) -> IO[str]:
    return os.fdopen(create(path), "w", encoding="utf-8", errors=ESCAPED, newline="")


def read_report(directory: Path, *, is_ours: bool = False) -> IngestReport:
    """Read the report of a run directory; where `report.json` is missing or none, from its journal and its files.

    The report of a run that was killed is as old as its last snapshot, so that its journal and its files tell more.

    Args:
        directory: of the run.
        is_ours: whether this very process holds the run's lock.

    Raises:
        RunDirectoryError: there is no run.
    """
    kept, why = _kept_report(directory)
    try:
        settings = journal.read_settings(directory)
    except RunDirectoryError:
        if kept is None:
            raise RunDirectoryError(why) from None
        return kept
    run_id = escaped(str(settings.get("run_id")))
    found = [one for one in (kept, journaled_report(settings)) if one is not None and one.run_id == run_id]
    if found:
        newest = max(found, key=lambda one: one.finished_at)
        was_killed = newest.unended and (is_ours or not is_at_work(directory))
        return brought_forward(directory, settings, newest) if was_killed else newest
    return derived_report(directory, settings)


def refuse_another_run(directory: Path, settings: Mapping[str, Any]) -> None:
    """Raise RunDirectoryError if `report.json` shows that the journal beside it is another run's."""
    kept, _ = _kept_report(directory)
    if kept is None:
        return
    path = directory / JOURNAL
    began = timestamp(dt.datetime.fromisoformat(settings["started_at"]))
    if (kept.run_id, kept.started_at) != (escaped(settings["run_id"]), began):
        raise damaged(path, f"it is of another run than {REPORT}")


def _kept_report(directory: Path) -> tuple[IngestReport | None, str]:
    path = directory / REPORT
    try:
        report = _possible(orjson.loads(path.read_bytes()))
    except OSError as error:
        return None, f"{path} can't be read: {error.strerror}; is this a run directory?"
    except (ValueError, RecursionError):
        report = None
    return report, f"{path} is not the report of a run"


def journaled_report(settings: Mapping[str, Any]) -> IngestReport | None:
    """The report that the journal of a run keeps; None if it keeps none, as those of older versions."""
    return _possible(settings.get(journal.REPORTED))


def _possible(value: Any) -> IngestReport | None:
    try:
        report = IngestReport.from_dict(value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        return None
    return report if report.is_possible else None


def restore_report(directory: Path, report: IngestReport) -> None:
    """Write the report of a run anew where `report.json` is another one, or none. RunDirectoryError if it fails."""
    if _kept_report(directory)[0] != report:
        try:
            replace(directory / REPORT, report.to_json())
        except OSError as error:
            raise unusable(directory, error) from None
