"""Whole lines of CSV become columns, where that can't read them otherwise than the reader for records does. Pure.

polars pads short rows without a word, and one long row or lone quote fails all of its read. So what is not plain is
left to the reader for records: rows of another length, blank lines, quotes that don't enclose a whole cell, cells
that hold a line end, CR alone, NUL, and bytes that are not UTF-8. Needs the extra `tables`.
"""

from __future__ import annotations

import codecs
from typing import Final

import polars as pl

from kore_campaign_async.ingest.sources.csv_text import CELL_CHARACTERS

_NO_CONTROLS: Final = bytes(range(0x20, 0x100))
_CELL: Final = r'(?:[^",]*|"(?:[^"]|"")*")'
_REGULAR: Final = rf"^{_CELL}(?:,{_CELL})*$"
# How blanks begin in UTF-8, those beyond ASCII at large.
_BLANKS: Final = (b" ", b"\xc2", b"\xe1\x9a", b"\xe2\x80", b"\xe2\x81", b"\xe3\x80")


def table_of(data: bytes, columns: int) -> tuple[pl.DataFrame, bool] | None:
    """Read lines, the last of which has its end; None if they are not plain.

    Args:
        data: the lines.
        columns: how many cells each must have.

    Returns:
        Columns of text named `0`, `1`, …, none of them null, and whether no cell begins with a blank or holds what
        JSON spells otherwise.
    """
    lines, returns = data.count(b"\n"), data.count(b"\r")
    controls = len(data.translate(None, _NO_CONTROLS)) - lines - returns
    quoted = b'"' in data
    if not _has_plain_lines(data, returns) or (controls and b"\0" in data) or (quoted and not _is_regular(data, lines)):
        return None
    try:
        frame = pl.read_csv(
            data,
            has_header=False,
            schema={str(index): pl.String for index in range(columns)},
            quote_char='"' if quoted else None,
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        return None
    separators = data.count(b",")
    if quoted:
        separators -= frame.select(pl.all().str.count_matches(",", literal=True).sum()).sum_horizontal()[0]
    # No row was longer, so none is shorter.
    if len(frame) != lines or separators != (columns - 1) * lines:
        return None
    is_clean = not (controls or quoted or b"\\" in data or _has_blanks(data))
    return frame, is_clean


def _has_plain_lines(data: bytes, returns: int) -> bool:
    """Whether CR is only in CRLF, and no line is blank."""
    if returns and (data.count(b"\r\n") != returns or b"\n\r" in data):
        return False
    # polars takes a BOM for the beginning of a file.
    return not data.startswith((b"\n", b"\r", codecs.BOM_UTF8)) and b"\n\n" not in data


def _is_regular(data: bytes, lines: int) -> bool:
    """Whether quotes enclose whole cells only, and no cell holds a line end."""
    if b"\x01" in data:
        return False
    try:
        frame = pl.read_csv(
            data,
            has_header=False,
            separator="\x01",
            quote_char=None,
            schema={"0": pl.String},
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        return False
    text = frame["0"]
    return len(text) == lines and text.str.contains(_REGULAR).all() and text.str.len_bytes().max() <= CELL_CHARACTERS  # type: ignore[operator]  # there is a line


def _has_blanks(data: bytes) -> bool:
    """Whether a cell may begin with a blank."""
    blanks = _BLANKS[:1] if data.isascii() else _BLANKS
    return data.startswith(blanks) or any(before + blank in data for blank in blanks for before in (b",", b"\n"))
