"""A workbook that another process reads, so that what is in it can end only that one. Blocking; for threads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final

import orjson
import python_calamine  # noqa: F401  the other process needs it: who has it not is told so before

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.escaping import is_text
from kore_campaign_async.ingest.sources.held_file import DESCRIPTORS

#: Sets how much memory reading a workbook may take, in megabytes.
MEMORY_VARIABLE: Final = "KORE_WORKBOOK_MB"

# 900,000 contacts in 29 MB took 345 MB, and the smallest workbook takes next to nothing.
_LEAST_BYTES: Final = 160 << 20
_TIMES: Final = 12
_MOST_BYTES: Final = 1 << 30
_READER: Final = Path(__file__).with_name("workbook_reader.py")
_OURS: Final = "KORE_"


class Workbook:
    """What a process of its own says of a workbook, part by part.

    Args:
        path: the workbook.
        name: how errors name it.
        sheet: its name; without one the first sheet that is not hidden is read.
        only_names: whether only the names of the sheets are wanted.
    """

    def __init__(self, path: Path, name: str, *, sheet: str | None = None, only_names: bool = False) -> None:
        self._path = path
        self._name = name
        self._told = {"path": str(path), "sheet": sheet, "only_names": only_names, "modules": sys.path}
        self._process: subprocess.Popen[bytes] | None = None
        self._memory_bytes = 0
        self._is_closed = False
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process. SourceError if it can't be started."""
        try:
            self._memory_bytes = _memory_bytes(self._path)
            with self._lock:
                if self._is_closed:
                    return
                self._process = self._started()
        except OSError as error:
            raise SourceError(f"{self._name} can't be read: {error.strerror or type(error).__name__}") from None
        if not self._line() and not self._is_closed:
            raise SourceError(f"{self._name} can't be read: {sys.executable!r} does not run the reader of workbooks")

    def _started(self) -> subprocess.Popen[bytes]:
        # A path of an open file means another one in another process, unless that has the file open as well.
        held = (int(self._path.name),) if self._path.parent == DESCRIPTORS else ()
        return subprocess.Popen(  # noqa: S603  Python itself, and a file of this package
            [sys.executable, "-I", str(_READER), json.dumps(self._told | {"memory_bytes": self._memory_bytes})],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: value for name, value in os.environ.items() if not name.startswith(_OURS)},
            pass_fds=held,
            start_new_session=True,  # Ctrl-C is for the run, which stops in order
        )

    def _line(self) -> bytes:
        """The next line; none where the process has ended."""
        process = self._process
        line = b"" if process is None or process.stdout is None else process.stdout.readline()
        return line if line.endswith(b"\n") else b""

    def next(self) -> dict[str, Any] | None:
        """The next part; None behind the last one. SourceError tells what is wrong with the workbook."""
        line = b"" if self._is_closed else self._line()
        if not line:
            if self._is_closed:
                return None
            raise SourceError(
                f"{self._name} needs more than {self._memory_bytes >> 20} MB of memory to be read: remove what stands"
                f" far off the contacts, save it as CSV, or set {MEMORY_VARIABLE} to more megabytes"
            )
        part: dict[str, Any] = orjson.loads(line)
        if "damaged" in part:
            raise SourceError(
                f"{self._name} can't be read as an XLSX workbook: it is damaged, or another kind of file; open it in a"
                " spreadsheet program, and save it as .xlsx or CSV"
            )
        if "error" in part:
            raise SourceError(f"{self._name} can't be read: {part['error']}")
        return None if "end" in part else part

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._is_closed, process, self._process = True, self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _memory_bytes(path: Path) -> int:
    given = os.environ.get(MEMORY_VARIABLE, "")
    if not given:
        return min(_MOST_BYTES, _LEAST_BYTES + _TIMES * path.stat().st_size)
    if not (given.isascii() and given.isdigit() and int(given)):
        shown = given if is_text(given) else "…"
        raise SourceError(f"{MEMORY_VARIABLE} is {shown[:20]!r}; it must be a whole number of megabytes")
    return int(given) << 20
