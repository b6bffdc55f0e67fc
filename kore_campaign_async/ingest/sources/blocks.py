"""Bytes from a file or from standard input, read off the event loop, and cut into lines."""

from __future__ import annotations

import asyncio
import codecs
import io
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError

T = TypeVar("T")

_BLOCK_BYTES: Final = 1 << 18
#: A longer line is cut off here; what it loses is no cell that the API would take.
LINE_CHARACTERS: Final = 16 << 20

_OTHER_ENCODINGS: Final = (
    (codecs.BOM_UTF32_LE, "UTF-32"),
    (codecs.BOM_UTF32_BE, "UTF-32"),
    (codecs.BOM_UTF16_LE, "UTF-16"),
    (codecs.BOM_UTF16_BE, "UTF-16"),
)


class Blocks:
    """Reads a file, or standard input for `-`, in blocks.

    Args:
        path: the file.
    """

    def __init__(self, path: Path | None) -> None:
        self.name = "standard input" if path is None else str(path)
        self._path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._read = 0

    async def open(self) -> bytes:
        """Open it and return its first block; SourceError tells what is wrong."""
        try:
            self._file = await _in_thread(self._opened)
            first = await self.read()
        except OSError as error:
            raise SourceError(f"{self.name} can't be read: {error.strerror}") from None
        for mark, encoding in _OTHER_ENCODINGS:
            if first.startswith(mark):
                raise SourceError(f"{self.name} is written in {encoding}; save it as UTF-8")
        return first

    def _opened(self) -> BinaryIO:
        if self._path is None:
            if sys.stdin is None:
                raise SourceError("there is no standard input")
            return sys.stdin.buffer
        file = self._path.open("rb", buffering=0)
        self._size = os.fstat(file.fileno()).st_size
        return file

    async def read(self) -> bytes:
        """Return the next block, empty at the end; SourceError if reading fails."""
        file = self._file
        if file is None:
            return b""
        # A pipe hands over what is there; waiting for a whole block would hold back a slow one.
        read = getattr(file, "read1", file.read)
        try:
            block = bytes(await _in_thread(lambda: read(_BLOCK_BYTES)))
        except OSError as error:
            raise SourceError(f"{self.name} can't be read any further: {error.strerror}") from None
        self._read += len(block)
        return block

    def fraction(self) -> float | None:
        """How much is read; None for a source without a size."""
        return min(1.0, self._read / self._size) if self._size else None

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._file is not None and self._path is not None:
            self._file.close()


class LineCutter:
    """Cuts bytes into lines of text, line ends kept: LF, CRLF, or CR alone. Pure.

    Bytes that are not UTF-8 become lone surrogates, so that they spoil only the records that hold them.
    """

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._rest = ""
        self._skipping = False

    def feed(self, block: bytes) -> list[str]:
        """Take a block; return the lines that are whole."""
        text = self._rest + self._decode(block)
        # A CR at the very end can be half of a CRLF.
        end = text.rfind("\n") + 1 or text.rfind("\r", 0, -1) + 1
        self._rest = text[end:]
        lines = self._cut(text[:end])
        if len(self._rest) > LINE_CHARACTERS:
            if not self._skipping:
                lines.append(self._rest[:LINE_CHARACTERS] + "\n")
            self._rest, self._skipping = "", True
        return lines

    def flush(self) -> list[str]:
        """Return what is left at the end."""
        text, self._rest = self._rest + self._decode(b"", final=True), ""
        return self._cut(text)

    def _cut(self, text: str) -> list[str]:
        # newline="" keeps the ends as they are and knows all three; str.splitlines knows too many.
        lines = list(io.StringIO(text, newline=""))
        if self._skipping and lines:
            self._skipping = False
            del lines[0]
        return lines


def are_clean(lines: Sequence[str]) -> bool:
    """Whether no value on these lines can hold NUL, or what is not Unicode, or be longer than the API takes."""
    text = "".join(lines)
    if "\0" in text or (lines and max(map(len, lines)) > wire.CHARACTERS_A_VALUE):
        return False
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _in_thread(work: Callable[[], T]) -> T:
    """Run something that blocks in a thread of its own.

    Not in the loop's executor: a read of standard input that never ends would keep the process from ending.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def finish(result: T | None, error: BaseException | None) -> None:
        if done.done():  # nobody waits any more
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]  # None only beside an error

    def body() -> None:
        result: T | None = None
        failure: BaseException | None = None
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  it belongs to who waits
            failure = error
        try:
            loop.call_soon_threadsafe(finish, result, failure)
        except RuntimeError:
            return  # the loop has ended meanwhile, and with it who waited

    threading.Thread(target=body, name="kore-campaign-read", daemon=True).start()
    return await done
