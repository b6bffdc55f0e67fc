"""A file that is read several times and must hold the same each time, whoever writes to it meanwhile. Blocking.

It is known by the digests of its parts. Whoever reads a part first notes its digest, and whoever reads it again
compares before a byte is handed on: so nothing is sent of a file but what was read through before the first call.
Libraries that read a file by themselves hand over no bytes; around them its size and times are compared.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from kore_campaign_async.errors import SourceError

_PART_BYTES: Final = 1 << 18
# Of 64 bytes a part, its place among them, a file of 10 GB takes 3 MB.
_DIGEST_BYTES: Final = 16
# On most systems a process may have 1,024 files open, and its calls need some. Those beyond are opened each time.
_MOST_HELD: Final = 256
#: Where the system has paths of a process's own open files.
DESCRIPTORS: Final = Path("/proc/self/fd")


class HeldFile:
    """A file that is read again.

    Args:
        path: of the file; a pipe can be read only once, and is handed on as it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1
        self._digests: dict[int, bytes] = {}
        self._lock = threading.Lock()
        self._stood: os.stat_result | None = None

    def hold(self) -> None:
        """Keep it open: what takes its name from now on is another file. OSError if it can't be opened."""
        self._descriptor = os.open(self.path, os.O_RDONLY)
        self._note(os.fstat(self._descriptor))

    def close(self) -> None:
        """Let go of it; who reads it still has it."""
        with self._lock:
            descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def open(self) -> BinaryIO:
        """Open it for one reading from its beginning. OSError if it can't be opened."""
        with self._lock:
            descriptor = os.dup(self._descriptor) if self._descriptor >= 0 else -1
        if descriptor < 0:
            descriptor = os.open(self.path, os.O_RDONLY)  # of a pipe, it can wait for its writer
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) and not stat.S_ISDIR(about.st_mode):
            return os.fdopen(descriptor, "rb", buffering=0)
        self._note(about)
        return cast("BinaryIO", _Reading(self, descriptor))

    @property
    def path_for_libraries(self) -> Path:
        """A path that leads to this very file, whatever takes its name, where the system has such paths."""
        held = DESCRIPTORS / str(self._descriptor)
        return held if self._descriptor >= 0 and held.exists() else self.path

    def compare(self, place: int, part: bytes) -> None:
        """Note a part, or raise SourceError where it is another one than before."""
        digest = hashlib.sha256(part).digest()[:_DIGEST_BYTES]
        if self._digests.setdefault(place, digest) != digest:
            raise self._changed()

    def raise_if_touched(self) -> None:
        """Raise SourceError if it may have been written to since it was first opened."""
        then = self._stood
        if then is None:
            return  # a pipe, which is read once
        try:
            now = os.fstat(self._descriptor) if self._descriptor >= 0 else os.stat(self.path)  # noqa: PTH116  beside fstat
        except OSError:
            raise self._changed() from None
        if _written(then) != _written(now):
            raise self._changed()
        # A new name changes this time as well as somebody who puts the others back.
        if then.st_ctime_ns != now.st_ctime_ns:
            self.read_again()
            self._stood = now

    def read_again(self) -> None:
        """Read it through once more. SourceError if it holds something else than before, or can't be read."""
        try:
            with self.open() as reading:
                while reading.read(_PART_BYTES):
                    pass
        except OSError as error:
            raise SourceError(f"{self.path} can't be read any further: {error.strerror}") from None

    def _note(self, about: os.stat_result) -> None:
        self._stood = self._stood or about

    def _changed(self) -> SourceError:
        return SourceError(
            f"{self.path} was changed while it was read: nothing was sent of what it holds otherwise now, and a resume"
            " needs it as it was at first; wait until nobody writes to it"
        )


def _written(about: os.stat_result) -> tuple[int, int, int, int]:
    return about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns


class _Reading(io.RawIOBase):
    """One reading of a file, part by part, each compared before anything of it is handed on."""

    def __init__(self, file: HeldFile, descriptor: int) -> None:
        super().__init__()
        self._file = file
        self._descriptor = descriptor
        self._place = 0
        self._ready = memoryview(b"")
        self._at_end = False
        # Another thread may be reading when it is closed; the number can be another file's then.
        self._lock = threading.Lock()

    def readable(self) -> bool:
        """It is."""
        return True

    def fileno(self) -> int:
        """What the system calls it."""
        return self._descriptor

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # of what it may be given, it gets only these
        """Read at most as much as there is room for; 0 at the end."""
        if not self._ready and not self._at_end:
            part = self._next_part()
            self._file.compare(self._place, part)
            self._place += 1
            self._at_end = len(part) < _PART_BYTES
            self._ready = memoryview(part)
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _next_part(self) -> bytes:
        begin, found = self._place * _PART_BYTES, b""
        with self._lock:
            while len(found) < _PART_BYTES:
                more = os.pread(self._descriptor, _PART_BYTES - len(found), begin + len(found))
                if not more:
                    break
                found += more
        return found

    def close(self) -> None:
        """Close it; closing it again does nothing."""
        if not self.closed:
            super().close()
            with self._lock:
                os.close(self._descriptor)
                self._descriptor = -1


def hold_all(files: Sequence[HeldFile]) -> None:
    """Open files before the first of them is read. SourceError if two are the same file, or one can't be opened."""
    found: dict[tuple[int, int], Path] = {}
    for number, one in enumerate(files):
        try:
            about = one.path.stat()
            if stat.S_ISREG(about.st_mode) and number < _MOST_HELD:
                one.hold()
        except OSError as error:
            raise SourceError(f"{one.path} can't be read: {error.strerror}") from None
        other = found.setdefault((about.st_dev, about.st_ino), one.path)
        if other is not one.path:
            raise SourceError(f"{one.path} and {other} are one and the same file: name it once")


def close_all(files: Iterable[HeldFile]) -> None:
    """Let go of files."""
    for one in files:
        one.close()
