"""Which encoding a text has, and its bytes as UTF-8. Pure.

Everything behind this reads UTF-8. What could not be decoded travels on as bytes that are no UTF-8 either, so that it
spoils only the records that hold it.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

UTF_8: Final = "utf-8"
WINDOWS: Final = "cp1252"

#: The longer marks first: that of UTF-32 begins with that of UTF-16.
MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF8, UTF_8),
)
_LONGEST_MARK: Final = 4
_ORDERED: Final = {"utf-16", "utf-32"}
_NAMES: Final = {UTF_8: "UTF-8", "utf-16": "UTF-16", "utf-32": "UTF-32", WINDOWS: "Windows-1252"}

# A character beyond ASCII in UTF-8. Text in Windows-1252 all but never holds one of these.
_BEYOND_ASCII: Final = re.compile(rb"[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}")
_LONGEST_PART: Final = 3
_NOT_WINDOWS: Final = tuple(bytes((byte,)) for byte in (0x81, 0x8D, 0x8F, 0x90, 0x9D))
_FIRST_BYTE_BEYOND_ASCII: Final = 0x80
# Wrong bytes side by side must not happen to be a character: those that begin one become another one.
_NO_UTF_8: Final = bytes((*[0x80] * 0x80, *range(0x80, 0xC2), *[0xFF] * 0x33, *range(0xF5, 0x100)))
_SURROGATES: Final = 0xDC00


def marked(first: bytes) -> str | None:
    """The encoding that a byte order mark at a text's beginning tells, if there is one."""
    return next((encoding for mark, encoding in MARKS if first.startswith(mark)), None)


def spoken(encoding: str) -> str:
    """An encoding's name as people write it."""
    return _NAMES.get(encoding, encoding)


class Guess:
    """Tells UTF-8 from Windows-1252 by all bytes of a text.

    Text that is not UTF-8 is Windows-1252 if all its bytes are characters there, and none of them together are a
    character of UTF-8 beyond ASCII. Else it is UTF-8 with a few wrong bytes: reading all of it as Windows-1252 would
    garble what is right.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._is_utf_8 = True
        self._is_windows = True

    def feed(self, block: bytes) -> None:
        """Take the bytes that follow."""
        if self._is_utf_8:
            if not self._rest and block.isascii():
                return
            data = self._rest + block
            try:
                text, used = codecs.utf_8_decode(data, "strict", False)
            except UnicodeDecodeError:
                self._is_utf_8, self._rest = False, b""
                block = data
            else:
                self._is_windows &= len(text) == used
                self._rest = data[used:]
                return
        if self._is_windows:
            data = self._rest + block
            self._is_windows = _can_be_windows(data)
            self._rest = data[-_LONGEST_PART:]

    @property
    def has_wrong_bytes(self) -> bool:
        """Whether some of it is no text, after all of it."""
        return self.encoding() == UTF_8 and (not self._is_utf_8 or bool(self._rest))

    def encoding(self) -> str:
        """What it is, after all of it."""
        # Two bytes or three that begin a character, and the text ends: it was cut off.
        is_utf_8 = self._is_utf_8 and len(self._rest) != 1
        return WINDOWS if not is_utf_8 and self._is_windows and _can_be_windows(self._rest) else UTF_8


def _can_be_windows(data: bytes) -> bool:
    return _BEYOND_ASCII.search(data) is None and not any(byte in data for byte in _NOT_WINDOWS)


class Recoder:
    """Makes UTF-8 of text in another encoding.

    Args:
        encoding: of the text, as Python knows it.
    """

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._decoder: codecs.IncrementalDecoder | None = None
        self._first = b""

    def recode(self, block: bytes, *, final: bool = False) -> bytes:
        """Take a block; return what is whole of it. Bytes that are no text become bytes that are no UTF-8."""
        if self._decoder is None:
            self._first += block
            if len(self._first) < _LONGEST_MARK and not final:
                return b""
            block, name = self._first, self._encoding
            # Without the mark that tells their order they stand as Windows writes them.
            if name in _ORDERED and marked(block) != name:
                name += "-le"
            self._decoder = codecs.getincrementaldecoder(name)(_WRONG_BYTES)
        return self._decoder.decode(block, final).encode(UTF_8, _WRONG_BYTES)


def _wrong_bytes(error: UnicodeError) -> tuple[str | bytes, int]:
    """Let bytes that are no text pass as lone surrogates, and these as the bytes that they stand for."""
    if isinstance(error, UnicodeDecodeError):
        lost = error.object[error.start : error.end]
        return "".join(chr(_SURROGATES + byte) for byte in lost.translate(_NO_UTF_8)), error.end
    if isinstance(error, UnicodeEncodeError):
        standing = error.object[error.start : error.end]
        return bytes(max(ord(character) & 0xFF, _FIRST_BYTE_BEYOND_ASCII) for character in standing), error.end
    raise error


_WRONG_BYTES: Final = "kore_campaign_async.wrong_bytes"
codecs.register_error(_WRONG_BYTES, _wrong_bytes)
