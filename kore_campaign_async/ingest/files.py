"""The run directory: the four CSV files of contacts that were not accepted, and `report.json`.

Directories are 0700 and files 0600, since they hold phone numbers.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import fcntl
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Final

import orjson

from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest.records import Record, Settled, State
from kore_campaign_async.ingest.report import IngestReport

REPORT: Final = "report.json"
LOCK: Final = "lock"
_FILE_OF: Final = {
    State.REJECTED: "rejected.csv",
    State.DUPLICATE: "left_out.csv",
    State.SUPPRESSED: "left_out.csv",
    State.REFUSED: "refused.csv",
    State.UNCERTAIN: "uncertain.csv",
}


class RunLock:
    """Keeps other processes out of a run directory, which is made if it is missing.

    Raises:
        RunDirectoryError: another process is working in it, or it can't be made or written.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = -1
        #: Whether the directory was used by a run before, so that its outcome files may be written anew.
        self.known = False
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.known = (directory / LOCK).exists()
            self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise RunDirectoryError(f"another process is working in {directory}; wait for its end") from None
        except OSError as error:
            self.release()
            raise _unusable(directory, error) from None

    def release(self) -> None:
        """Let other processes in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class RunFiles:
    """The files of one run.

    Args:
        directory: made if it is missing.
        columns: the source's own columns.
        cells: a record as these columns' cells.
        anew: whether files of a run may be there, and are written anew.

    Raises:
        RunDirectoryError: the files can't be written.
    """

    def __init__(
        self, directory: Path, columns: Sequence[str], cells: Callable[[Record], Sequence[str]], *, anew: bool = False
    ) -> None:
        self.directory = directory
        self._cells = cells
        self._files: dict[str, IO[str]] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in dict.fromkeys(_FILE_OF.values()):
                if anew:
                    (directory / name).unlink(missing_ok=True)
                self._files[name] = _create(directory / name)
            self._writers = {name: csv.writer(file) for name, file in self._files.items()}
            for writer in self._writers.values():
                writer.writerow(["row", "reason", *columns])
        except OSError as error:
            for name, file in self._files.items():
                file.close()
                (directory / name).unlink(missing_ok=True)
            raise _unusable(directory, error) from None

    def write(self, settled: Settled) -> None:
        """Write contacts of a state that has a file. OSError if it can't be written."""
        name = _FILE_OF.get(settled.state)
        if name is not None:
            self._writers[name].writerows(
                [row, reason, *self._cells(record)] for row, reason, record in settled.entries()
            )

    def write_report(self, report: IngestReport, *, durable: bool) -> None:
        """Put the report where its readers find it whole, behind the rows it counts. OSError if it fails.

        Args:
            report: replaces the one before.
            durable: wait until it is on the disk.
        """
        for file in self._files.values():
            if not file.closed:
                file.flush()
        target = self.directory / REPORT
        part = target.with_suffix(".part")
        part.unlink(missing_ok=True)
        with _create(part) as file:
            file.write(orjson.dumps(report.to_dict(), option=orjson.OPT_INDENT_2).decode() + "\n")
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(target)

    def close(self) -> None:
        """Close the files; a report was written behind their last rows, so what can't be written is known."""
        for file in self._files.values():
            with contextlib.suppress(OSError):
                file.close()


def _unusable(directory: Path, error: OSError) -> RunDirectoryError:
    name = Path(error.filename).name if error.filename else str(directory)
    return RunDirectoryError(f"the run directory {directory} can't be used: {name}: {error.strerror}; name another one")


def read_report(directory: Path) -> IngestReport:
    """Read the report of a run directory; RunDirectoryError tells what is wrong."""
    path = directory / REPORT
    try:
        value: Any = orjson.loads(path.read_bytes())
        return IngestReport.from_dict(value)
    except OSError as error:
        raise RunDirectoryError(f"{path} can't be read: {error.strerror}; is this a run directory?") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunDirectoryError(f"{path} is not the report of a run") from None


def _escaped(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode what is not Unicode: a file's bytes as the bytes that they were, other characters as their escape."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


_ESCAPED: Final = "kore_campaign_async.escaped"
codecs.register_error(_ESCAPED, _escaped)


def _create(path: Path) -> IO[str]:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    return os.fdopen(descriptor, "w", encoding="utf-8", errors=_ESCAPED, newline="")
