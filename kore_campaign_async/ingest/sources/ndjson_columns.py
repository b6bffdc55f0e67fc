"""Whole lines of NDJSON become columns, where that can't read them otherwise than the reader for records does. Pure.

A JSON reader for tables would guess types, reorder keys and take the last of two equal ones. So a line is taken only
if it is, character by character, an object of the same keys as the first line's, whose values are plain text, whole
numbers, booleans or null. Every other line is left to the rules for records. Needs the extra `tables`.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Final

import polars as pl

from kore_campaign_async import wire
from kore_campaign_async.ingest.records import Record, TableSlice
from kore_campaign_async.ingest.sources.ndjson_file import record_of

# No more digits than 64 bits hold; how others are read depends on the line.
_VALUE: Final = r'("[^"\\\x00-\x1f]*"|null|true|false|0|-?[1-9][0-9]{0,17})'
_PLAIN_KEY: Final = re.compile(r'[^"\\\x00-\x1f]*').fullmatch
# Wider lines are read faster as records, and in less memory: at 149 keys twenty times as fast, at 32 as fast.
_MOST_KEYS: Final = 32
_LONGEST_FIRST: Final = 1 << 13
# Stands in every column of a line that is left to the rules for records: it is no number, and no other value either.
_ODD: Final = "\0"
_LINE: Final = "line"


def table_of(data: bytes, first: int) -> TableSlice | None:
    """Read lines, the last of which has its end; None if most of them are not plain, or one is blank.

    Args:
        data: the lines.
        first: the row number of the first one.
    """
    keys = _keys(data[: data.find(b"\n")])
    if keys is None or b"\0" in data or data.count(b"\r") != data.count(b"\r\n"):
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    lines = pl.DataFrame({_LINE: [text[:-1]]}).select(pl.col(_LINE).str.split("\n").explode(empty_as_null=False))
    found = lines.select(_LINE, pl.col(_LINE).str.extract_groups(_pattern(keys)).alias("values")).unnest("values")
    odd = found.filter(pl.nth(1).is_null())[_LINE]
    if 2 * len(odd) > len(found) or any(not line or line.isspace() for line in odd):
        return None
    columns = (_as_text(pl.nth(1 + index)).alias(str(index)) for index in range(len(keys)))
    return TableSlice(first, found.select(*columns, _LINE), keys=keys, record_of=_record_of)


def _keys(line: bytes) -> tuple[str, ...] | None:
    """The keys of an object, if they are ones that a pattern can be made of."""
    if len(line) > _LONGEST_FIRST:
        return None
    try:
        record = wire.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict) or not 0 < len(record) <= _MOST_KEYS or not all(map(_PLAIN_KEY, record)):
        return None
    return tuple(record)


@functools.lru_cache(maxsize=8)
def _pattern(keys: tuple[str, ...]) -> str:
    """An object of these keys, with the blanks that usual writers put into it, and a group for each value."""
    return r"^\{ ?" + ", ?".join(rf'"{re.escape(key)}": ?{_VALUE}' for key in keys) + r" ?\}\r?$"


def _as_text(value: pl.Expr) -> pl.Expr:
    """Text and digits as they are, null as an empty value."""
    text = pl.when(value == "null").then(pl.lit("")).otherwise(value.str.strip_chars('"'))
    return text.fill_null(pl.lit(_ODD))


def _record_of(row: Sequence[str]) -> Record:
    return record_of(row[-1])
