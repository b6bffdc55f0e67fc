"""Whole lines of CSV become columns, where that can't read them otherwise than the reader for records does. Pure.

polars pads short rows without a word, and one long row or lone quote fails all of its read. So what is not plain is
left to the reader for records: rows of another length or of empty cells, quotes that don't enclose a whole cell, cells
that hold a line end, CR alone, NUL, and bytes that are not UTF-8. Needs the extra `tables`.
"""

from __future__ import annotations

import codecs
import functools
from typing import Final

import polars as pl

from kore_campaign_async.ingest.sources.csv_quotes import CELL_CHARACTERS
from kore_campaign_async.ingest.sources.csv_text import COMMA

_NO_CONTROLS: Final = bytes(range(0x20, 0x100))
# How blanks beyond ASCII begin in UTF-8.
_BLANKS: Final = (b"\xc2", b"\xe1", b"\xe2", b"\xe3")
# All that Python takes for one.
_BLANK_CHARACTERS: Final = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def table_of(data: bytes, columns: int, delimiter: str = COMMA) -> tuple[pl.DataFrame, bool] | None:
    """Read lines, the last of which has its end; None if they are not plain.

    Args:
        data: the lines.
        columns: how many cells each must have.
        delimiter: what parts them, an ASCII character.

    Returns:
        Columns of text named `0`, `1`, …, none of them null, and whether no cell begins with a blank or holds what
        JSON spells otherwise.
    """
    # One byte is found ten times as fast as two, so two are looked for only where one of them is there.
    returns, quoted = data.count(b"\r") if b"\r" in data else 0, b'"' in data
    if not _can_be_plain(data, returns) or (quoted and not _is_regular(data, delimiter)):
        return None
    frame = _read(data, columns, separator=delimiter, quote_char='"' if quoted else None)
    if frame is None:
        return None
    separators = data.count(delimiter.encode())
    if quoted:
        separators -= frame.select(pl.all().str.count_matches(delimiter, literal=True).sum()).sum_horizontal()[0]
    # No row was longer, so none is shorter, or blank; a blank line of one column is null.
    if separators != (columns - 1) * len(frame) or frame["0"].null_count() or _has_empty_row(frame, data):
        return None
    return frame, not quoted and _is_clean(data, frame, len(frame) + returns + separators * (delimiter < " "))


def _read(data: bytes, columns: int, *, separator: str, quote_char: str | None) -> pl.DataFrame | None:
    """Columns of text named by their indices; None if polars can't read them."""
    names = map(str, range(columns))
    try:
        return pl.read_csv(
            data,
            has_header=False,
            separator=separator,
            quote_char=quote_char,
            schema=dict.fromkeys(names, pl.String),
            empty_string_is_null=False,
        )
    except pl.exceptions.PolarsError:
        return None


def _can_be_plain(data: bytes, returns: int) -> bool:
    """Whether CR is only in CRLF, and nothing stands in it that polars takes for something else."""
    if returns and (data.count(b"\r\n") != returns or b"\n\r" in data):
        return False
    # polars takes a BOM for the beginning of a file.
    return not data.startswith((b"\n", b"\r", codecs.BOM_UTF8)) and b"\0" not in data


def _has_empty_row(frame: pl.DataFrame, data: bytes) -> bool:
    """Whether a row has nothing but empty and blank cells."""
    first = frame["0"]
    # Most files have none in their first column, and what begins there tells so.
    least, most = first.min(), "" if data.isascii() else first.max()
    if isinstance(least, str) and isinstance(most, str) and least >= "!" and most < "\x7f":
        return False
    if not (first.str.strip_chars(_BLANK_CHARACTERS) == "").any():
        return False
    return bool(frame.select(pl.all_horizontal(pl.all().str.strip_chars(_BLANK_CHARACTERS) == "").any()).item())


def _is_clean(data: bytes, frame: pl.DataFrame, controls: int) -> bool:
    """Whether no cell begins with a blank, or holds what JSON spells otherwise."""
    if b"\\" in data or any(lead in data for lead in _BLANKS):
        return False
    if len(data.translate(None, _NO_CONTROLS)) != controls:
        return False
    blank = frame.select(pl.any_horizontal(pl.all().str.starts_with(" ").any()))
    return not blank.item()


@functools.cache
def _regular(delimiter: str) -> str:
    """What lines match in which quotes enclose whole cells only."""
    escaped = f"\\x{ord(delimiter):02x}"
    cell = rf'(?:[^"{escaped}]*|"(?:[^"]|"")*")'
    return rf"^{cell}(?:{escaped}{cell})*$"


def _is_regular(data: bytes, delimiter: str) -> bool:
    """Whether quotes enclose whole cells only, and no cell holds a line end."""
    if b"\x01" in data or delimiter == "\x01":
        return False
    frame = _read(data, 1, separator="\x01", quote_char=None)
    if frame is None:
        return False
    line = pl.col("0").str
    text = frame.select(
        line.contains(_regular(delimiter)).all().alias("regular"), line.len_bytes().max().alias("longest")
    )
    regular, longest = text.row(0)
    return bool(regular) and longest <= CELL_CHARACTERS
