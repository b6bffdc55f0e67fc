"""A file read through before anything is sent: what it is known again by, its encoding, and whether it is whole."""

from __future__ import annotations

import asyncio
import hashlib
import stat
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from attrs import frozen

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.sources.blocks import BLOCK_BYTES, in_thread
from kore_campaign_async.ingest.sources.encodings import UTF_8, Guess, marked
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.packed import Raw, unpacked

# Parquet, Arrow, and what spreadsheets are kept in.
_NO_TEXT: Final = (b"PAR1", b"ARROW1", b"PK\3\4", b"\xd0\xcf\x11\xe0")


@frozen
class Scan:
    """What a file is known again by, and what all of it tells.

    Attributes:
        size: in bytes, as it stands there.
        sha256: of the same, in hexadecimal digits.
        lines: by their ends, a last one without an end included; none of what is no text.
        encoding: of its text.
        has_wrong_bytes: whether some of it can't be text in that encoding, as far as that was looked for.
    """

    size: int
    sha256: str
    lines: int
    encoding: str
    has_wrong_bytes: bool = False


class Scans:
    """Scans of several files, one behind the other, begun at once.

    Args:
        files: each with the encoding that was said of it.
    """

    def __init__(self, files: Sequence[tuple[HeldFile, str | None]]) -> None:
        loop = asyncio.get_running_loop()
        self._files = files
        self._found: list[asyncio.Future[Scan | None]] = [loop.create_future() for _ in files]
        self._task = asyncio.ensure_future(self._run())

    async def _run(self) -> None:
        for (file, encoding), found in zip(self._files, self._found, strict=True):
            try:
                result = await scan(file, encoding)
            except Exception as error:  # noqa: BLE001  it belongs to who waits
                found.set_exception(error)
                found.exception()  # where the run does not begin, nobody asks for it
            else:
                found.set_result(result)

    async def all(self) -> list[Scan] | None:
        """Wait for all of them; None if a file is no regular one. SourceError if one can't be read to its end."""
        found = [await asyncio.shield(one) for one in self._found]
        known = [one for one in found if one is not None]
        return known if len(known) == len(found) else None

    def guesses(self) -> Sequence[Callable[[], Awaitable[str]]]:
        """For each file, how to ask for its encoding."""
        return [partial(self._encoding, one) for one in self._found]

    async def _encoding(self, found: asyncio.Future[Scan | None]) -> str:
        known = await asyncio.shield(found)
        return UTF_8 if known is None else known.encoding

    def cancel(self) -> None:
        """Let go of what is not scanned yet."""
        self._task.cancel()
        for one in self._found:
            one.cancel()


async def scan(file: HeldFile, encoding: str | None = None) -> Scan | None:
    """Read a file through; None of a pipe, which can be read only once. SourceError if it can't be read.

    Args:
        file: as whoever pushes it reads it too.
        encoding: of its text, if it was said.
    """
    try:
        return await in_thread(lambda: _scan(file, encoding))
    except OSError as error:
        raise SourceError(f"{file.path} can't be read: {error.strerror}") from None


def _scan(file: HeldFile, encoding: str | None) -> Scan | None:
    kind = file.path.stat().st_mode
    if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
        return None
    with file.open() as reading:
        digest = hashlib.sha256()
        raw = Raw(reading, digest.update)
        read = unpacked(raw, str(file.path), at_once=False)
        block = read(BLOCK_BYTES)
        found = encoding or marked(block)
        is_text = not block.startswith(_NO_TEXT)
        guess = Guess() if found is None and is_text else None
        ends, returns, last = 0, 0, b"\n"
        while block:
            ends += block.count(b"\n")
            if not ends:  # files of old Macs have no other ends
                returns += block.count(b"\r")
            if guess is not None:
                guess.feed(block)
            last = block[-1:]
            block = read(BLOCK_BYTES)
        return Scan(
            raw.count,
            digest.hexdigest(),
            (ends or returns) + (last not in b"\r\n") if is_text else 0,
            found or (UTF_8 if guess is None else guess.encoding()),
            guess is not None and guess.has_wrong_bytes,
        )
