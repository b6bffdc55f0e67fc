"""Files as they are unpacked: plain bytes, gzip, or zstd by the extra `zst`. Blocking; for threads."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO, Final, Protocol

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.sources.encodings import MARKS

_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
#: What a beginning tells something by.
_BEGINNINGS: Final = (_GZIP, _ZSTD, *(mark for mark, _ in MARKS))
_LONGEST: Final = max(map(len, _BEGINNINGS))
_AHEAD_BYTES: Final = 1 << 16

#: Names of packed files end with these.
SUFFIXES: Final = (".gz", ".zst")


class Readable(Protocol):
    """What bytes can be read from."""

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most so many; none at the end."""
        ...


class Raw:
    """The bytes of a file or a pipe, as they stand in it.

    Args:
        file: read from its beginning.
        seen: called with all bytes, in their order.

    Attributes:
        count: how many bytes were read.
    """

    def __init__(self, file: BinaryIO, seen: Callable[[bytes], object] | None = None) -> None:
        # A pipe hands over what is there; waiting for a whole block would hold back a slow one.
        self._read = getattr(file, "read1", file.read)
        self._seen = seen
        self._ahead = b""
        self.count = 0

    def beginning(self) -> bytes:
        """The first bytes, enough of them to tell what they are; they are read again."""
        while len(self._ahead) < _LONGEST and any(one.startswith(self._ahead) for one in _BEGINNINGS):
            more = self._next(_AHEAD_BYTES)
            if not more:
                break
            self._ahead += more
        return self._ahead

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes, at most so many; none at the end."""
        if self._ahead:
            size = len(self._ahead) if size < 0 else size
            block, self._ahead = self._ahead[:size], self._ahead[size:]
            return block
        return self._next(size)

    # gzip asks for both.
    read1 = read

    def _next(self, size: int) -> bytes:
        block = bytes(self._read(size))
        self.count += len(block)
        if self._seen is not None:
            self._seen(block)
        return block


def unpacked(raw: Raw, name: str, *, at_once: bool) -> Callable[[int], bytes]:
    """How to read what a file holds: a function that returns at most so many bytes, none at the end.

    Args:
        raw: the file.
        name: of the file, for SourceError.
        at_once: whether what is there is handed over at once, as pipes do, and not only whole blocks.

    Raises:
        SourceError: it is packed by zstd, and the extra is missing.
    """
    beginning = raw.beginning()
    if not is_packed(beginning):
        return raw.read
    if beginning.startswith(_GZIP):
        archive: Any = gzip.GzipFile(fileobj=raw, mode="rb")  # type: ignore[call-overload]  # it only reads
        errors: tuple[type[Exception], ...] = EOFError, zlib.error, gzip.BadGzipFile
    else:
        zstd = _zstd(name)
        archive, errors = zstd.ZstdFile(raw), (EOFError, zstd.ZstdError)
    read = archive.read1 if at_once else archive.read

    def reading(size: int) -> bytes:
        try:
            block: bytes = read(size)
        except errors as error:
            why = "its packed data ends too early" if isinstance(error, EOFError) else "its packed data is damaged"
            raise SourceError(f"{name} can't be read: {why}; get the whole file anew, and push that") from None
        return block

    return reading


def is_packed(beginning: bytes) -> bool:
    """Whether a file that begins with these bytes is one that is unpacked."""
    return beginning.startswith((_GZIP, _ZSTD))


def _zstd(name: str) -> Any:
    try:
        if sys.version_info >= (3, 14):
            from compression import zstd  # noqa: PLC0415  who reads no such file needs no such library
        else:
            from backports import zstd  # noqa: PLC0415  the same
    except ImportError:
        raise SourceError(
            f"{name} is packed by zstd, which needs the extra zst: pip install 'kore-campaign-async[zst]'"
        ) from None
    return zstd
