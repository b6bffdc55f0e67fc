"""Bytes from a file or from standard input, read off the event loop, and cut into lines."""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import io
import os
import stat
import sys
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import BinaryIO, Final, TypeVar

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.escaping import is_text
from kore_campaign_async.ingest.sources.encodings import UTF_8, Recoder, marked
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.packed import Raw, is_packed, unpacked

T = TypeVar("T")

BLOCK_BYTES: Final = 1 << 18
_BLANK_BYTES: Final = 1 << 20
_END_OF_FILE: Final = "\x1a"
#: A longer line is cut off here; what it loses is no cell that the API would take.
LINE_CHARACTERS: Final = 16 << 20


class Blocks:
    """Reads a file, or standard input, in blocks: unpacked, and in UTF-8.

    Args:
        held: the file; None for standard input.
        encoding: of its text. Without one it is what a byte order mark says, else the guess.
        guess: tells the encoding by all of the file's bytes. It is asked where the first byte is read that is not
            ASCII; without it the text is UTF-8.

    Attributes:
        path: the file; None for what can't be read again.
        encoding: of its text; None as long as nothing was read that tells.
        is_packed: whether what is read is unpacked first.
    """

    def __init__(
        self, held: HeldFile | None, encoding: str | None = None, guess: Callable[[], Awaitable[str]] | None = None
    ) -> None:
        self.name = "standard input" if held is None else str(held.path)
        self.path = None if held is None else held.path
        self._held = held
        self.encoding = encoding
        self.is_packed = False
        self._guess = guess
        self._file: BinaryIO | None = None
        self._raw: Raw | None = None
        self._unpacked: Callable[[int], bytes] = lambda _: b""
        self._recoder: Recoder | None = None
        self._is_first = True
        self._size = 0

    async def open(self) -> bytes:
        """Open it and return its first bytes, with some behind leading blanks; SourceError tells what is wrong."""
        try:
            self._file = await in_thread(self._opened, unwanted=self._let_go)
            await in_thread(self._begin)
            first = block = await self.read()
            # A pipe can hand over blank lines first, which don't tell what follows.
            while block and not first.removeprefix(codecs.BOM_UTF8).strip() and len(first) < _BLANK_BYTES:
                block = await self.read()
                first += block
        except OSError as error:
            raise SourceError(f"{self.name} can't be read: {error.strerror}") from None
        return first

    def _opened(self) -> BinaryIO:
        if self._held is None:
            if sys.stdin is None:
                raise SourceError("there is no standard input")
            return sys.stdin.buffer
        file = self._held.open()
        about = os.fstat(file.fileno())
        self._size = about.st_size
        if not stat.S_ISREG(about.st_mode):
            self.path = None  # a pipe with a name
        return file

    def _begin(self) -> None:
        assert self._file is not None  # noqa: S101  it was opened
        self._raw = Raw(self._file)
        self.is_packed = is_packed(self._raw.beginning())
        self._unpacked = unpacked(self._raw, self.name, at_once=self.path is None)
        self._set_encoding(self.encoding)

    def _set_encoding(self, encoding: str | None) -> None:
        self.encoding = encoding
        self._recoder = None if encoding in {None, UTF_8} else Recoder(encoding)

    async def read(self, most: int = BLOCK_BYTES) -> bytes:
        """Return the next block of about so many bytes, empty at the end; SourceError if reading fails."""
        if self._file is None:
            return b""
        try:
            block = await in_thread(lambda: self._next(most))
        except OSError as error:
            raise SourceError(f"{self.name} can't be read any further: {error.strerror}") from None
        # All that was read before is ASCII, which is the same in both.
        if self.encoding is None and not block.isascii():
            self._set_encoding(UTF_8 if self._guess is None else await self._guess())
            if self._recoder is not None:
                block = self._recoder.recode(block)
        return block

    def _next(self, most: int) -> bytes:
        while True:
            block = self._unpacked(most)
            if self._is_first and self.encoding is None:
                self._set_encoding(marked(block))
            self._is_first = False
            if self._recoder is None:
                return block
            text = self._recoder.recode(block, final=not block)
            # A block can hold a part of a character and no more.
            if text or not block:
                return text

    def _let_go(self, file: BinaryIO) -> None:
        if file is not getattr(sys.stdin, "buffer", None):
            file.close()

    @property
    def size(self) -> int:
        """Of a file, in bytes; 0 for what has none."""
        return self._size

    def fraction(self) -> float | None:
        """How much is read; None for a source without a size."""
        return min(1.0, self._raw.count / self._size) if self._size and self._raw is not None else None

    def close(self) -> None:
        """Close the file; standard input stays open."""
        if self._file is not None:
            self._let_go(self._file)


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

    @property
    def held(self) -> int:
        """How many characters of a line it holds whose end has not come yet."""
        return len(self._rest)

    @property
    def is_between(self) -> bool:
        """Whether it stands between two lines, so that nothing it was given is left to be cut."""
        pending, _ = self._decoder.getstate()
        return not (self._rest or pending or self._skipping)

    def flush(self) -> list[str]:
        """Return what is left at the end, without the Ctrl-Z by which old programs mark it."""
        text, self._rest = self._rest + self._decoder.decode(b"", final=True), ""
        return self._cut(text.rstrip(_END_OF_FILE))

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
    return is_text(text)


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
