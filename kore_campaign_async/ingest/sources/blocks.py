"""Bytes from a file or from standard input, read off the event loop, and cut into lines."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import hashlib
import io
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

from attrs import frozen

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError

T = TypeVar("T")

BLOCK_BYTES: Final = 1 << 18
_BLANK_BYTES: Final = 1 << 20
_FINGERPRINT_BYTES: Final = 1 << 20
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
        self.path = path
        self._file: BinaryIO | None = None
        self._size = 0
        self._read = 0

    async def open(self) -> bytes:
        """Open it and return its first bytes, with some behind leading blanks; SourceError tells what is wrong."""
        try:
            self._file = await in_thread(self._opened, unwanted=self._let_go)
            first = block = await self.read()
            # A pipe can hand over blank lines first, which don't tell what follows.
            while block and not first.removeprefix(codecs.BOM_UTF8).strip() and len(first) < _BLANK_BYTES:
                block = await self.read()
                first += block
        except OSError as error:
            raise SourceError(f"{self.name} can't be read: {error.strerror}") from None
        for mark, encoding in _OTHER_ENCODINGS:
            if first.startswith(mark):
                raise SourceError(f"{self.name} is written in {encoding}; save it as UTF-8")
        return first

    def _opened(self) -> BinaryIO:
        if self.path is None:
            if sys.stdin is None:
                raise SourceError("there is no standard input")
            return sys.stdin.buffer
        file = self.path.open("rb", buffering=0)
        self._size = os.fstat(file.fileno()).st_size
        return file

    async def read(self, most: int = BLOCK_BYTES) -> bytes:
        """Return the next block of at most so many bytes, empty at the end; SourceError if reading fails."""
        file = self._file
        if file is None:
            return b""
        # A pipe hands over what is there; waiting for a whole block would hold back a slow one.
        read = getattr(file, "read1", file.read)
        try:
            block = bytes(await in_thread(lambda: read(most)))
        except OSError as error:
            raise SourceError(f"{self.name} can't be read any further: {error.strerror}") from None
        self._read += len(block)
        return block

    def _let_go(self, file: BinaryIO) -> None:
        if self.path is not None:
            file.close()

    @property
    def size(self) -> int:
        """Of a file, in bytes; 0 for what has none."""
        return self._size

    def fraction(self) -> float | None:
        """How much is read; None for a source without a size."""
        return min(1.0, self._read / self._size) if self._size else None

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._file is not None:
            self._let_go(self._file)


@frozen
class Fingerprint:
    """What a file is known again by, and how many lines it has.

    Attributes:
        size: in bytes.
        sha256: in hexadecimal digits.
        lines: by their ends, a last one without an end included.
    """

    size: int
    sha256: str
    lines: int


async def fingerprint(path: Path) -> Fingerprint:
    """Read a file through; SourceError if it can't be read."""

    def read() -> Fingerprint:
        digest, size, ends, last = hashlib.sha256(), 0, 0, b"\n"
        with path.open("rb", buffering=0) as file:
            while block := file.read(_FINGERPRINT_BYTES):
                digest.update(block)
                size += len(block)
                ends += block.count(b"\n")
                last = block[-1:]
        return Fingerprint(size, digest.hexdigest(), ends + (last != b"\n"))

    try:
        return await in_thread(read)
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror}") from None


class LineCutter:
    """Cuts bytes into lines of text, line ends kept: LF, CRLF, or CR alone. Pure.

    Bytes that are not UTF-8 become lone surrogates, so that they spoil only the records that hold them.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        self._rest = ""
        self._skipping = False

    def feed(self, block: bytes) -> list[str]:
        """Take a block; return the lines that are whole."""
        return self.cut(self.whole(block))

    def whole(self, block: bytes) -> str:
        """Take a block; return the text of the lines that are whole, which `cut` must get, all but its beginning."""
        text = self._rest + self._decoder.decode(block)
        # A CR at the very end can be half of a CRLF.
        end = text.rfind("\n") + 1 or text.rfind("\r", 0, -1) + 1
        self._rest = text[end:]
        return text[:end]

    @property
    def is_plain(self) -> bool:
        """Whether the text that `whole` returned is all there is to cut, and nothing of it is left out."""
        return not self._skipping and len(self._rest) <= LINE_CHARACTERS

    def cut(self, text: str) -> list[str]:
        """Cut what `whole` returned, or the end of it."""
        lines = self._cut(text)
        if len(self._rest) > LINE_CHARACTERS:
            if not self._skipping:
                lines.append(self._rest[:LINE_CHARACTERS].rstrip("\r") + "\n")
            self._rest, self._skipping = "\r" if self._rest.endswith("\r") else "", True
        return lines

    def take_rest(self) -> bytes | None:
        """Give up what is not cut yet, as the bytes that it was; None while the rest of a cut-off line is skipped."""
        if self._skipping:
            return None
        pending, _ = self._decoder.getstate()
        rest, self._rest = self._rest.encode("utf-8", "surrogateescape") + pending, ""
        self._decoder.setstate((b"", 0))
        return rest

    def flush(self) -> list[str]:
        """Return what is left at the end."""
        text, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
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


async def in_thread(work: Callable[[], T], *, unwanted: Callable[[T], None] = lambda _: None) -> T:
    """Run something that blocks in a thread of its own.

    Not in the loop's executor: a read of standard input that never ends would keep the process from ending.

    Args:
        work: what blocks.
        unwanted: gets the result if nobody waits for it any more.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if done.done():
            unwanted(result)
        else:
            done.set_result(result)

    def fail(error: BaseException) -> None:
        if not done.done():
            done.set_exception(error)

    def body() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  it belongs to who waits
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who waited
                loop.call_soon_threadsafe(fail, error)
            return
        try:
            # Not as an argument: the loop's debug mode logs those, and this is a part of the source.
            loop.call_soon_threadsafe(lambda: succeed(result))
        except RuntimeError:
            unwanted(result)

    threading.Thread(target=body, name="kore-campaign-read", daemon=True).start()
    try:
        return await done
    except asyncio.CancelledError:
        # It can be cancelled in the very moment in which the result has come.
        if not done.cancelled() and done.exception() is None:
            unwanted(done.result())
        raise
