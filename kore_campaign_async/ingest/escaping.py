r"""What is no text, written so that it can be read: a byte that is not UTF-8 as `\xe9`, a surrogate as `\ud800`."""

from __future__ import annotations

import codecs
import re
from typing import Final

# Bytes that are not UTF-8 are read as these.
_BYTES: Final = range(0xDC80, 0xDD00)
_ESCAPE: Final = re.compile(r"\\(?:x([89a-f][0-9a-f])|u(d[89a-f][0-9a-f]{2}))")

#: Names the way that files are encoded by.
ESCAPED: Final = "kore_campaign_async.escaped"

#: How people are told of it.
AS_ESCAPES: Final = r"written into the outcome files as escapes such as \xe9 (the byte E9)"


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    return "".join(map(_escape_of, found)), error.end


def _escape_of(character: str) -> str:
    code = ord(character)
    return f"\\x{code - _BYTES.start + 0x80:02x}" if code in _BYTES else f"\\u{code:04x}"


codecs.register_error(ESCAPED, _escape)


def is_text(text: str) -> bool:
    """Whether nothing in it needs an escape."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(text: str) -> str:
    """The text, with escapes for what is none."""
    return text if is_text(text) else text.encode("utf-8", ESCAPED).decode()


def restored(text: str) -> str:
    """A text as it was before its escapes were written, as far as they are still there."""
    return _ESCAPE.sub(_restore, text) if "\\" in text else text


def _restore(found: re.Match[str]) -> str:
    byte, surrogate = found.groups()
    return chr(_BYTES.start - 0x80 + int(byte, 16)) if byte else chr(int(surrogate, 16))
