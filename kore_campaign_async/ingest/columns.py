"""The rules of `normalise.py` for a slice of a table, column by column; only what fails there is looked at row by row.

The one file that computes with polars: it needs the extra `tables`. A row is taken here only if nothing about it can
be judged otherwise by the rules for rows; every other row is handed to those.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, Self, overload

import polars as pl
from attrs import define, frozen

from kore_campaign_async import wire
from kore_campaign_async.ingest.matching import Shape
from kore_campaign_async.ingest.normalise import BLANKS, Normaliser, Singly, time_zones
from kore_campaign_async.ingest.records import Record, Slice, TableSlice

_NUMBER: Final = r"^\+?[1-9][0-9]{6,14}$"
_SEPARATORS: Final = rf"[{BLANKS}\-.()/]"
# A cell of nothing but blanks begins with one. Python knows more of them than Unicode's property White_Space.
_ODD: Final = r"\x00|^[\s\x1c-\x1f]"
_ESCAPED: Final = r'["\\\x00-\x1f]'
_RUN_FACTOR: Final = 2


class TableRecords(Sequence[Record]):
    """Rows of a table as records, made only when they are asked for.

    Args:
        frame: columns of text.
        at: the rows' indices in it.
    """

    def __init__(self, frame: pl.DataFrame, at: Sequence[int]) -> None:
        self._frame = frame
        self._at = at

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> TableRecords: ...

    def __getitem__(self, index: int | slice) -> Record | TableRecords:
        if isinstance(index, slice):
            return TableRecords(self._frame, self._at[index])
        return list(self._frame.row(self._at[index]))

    def __iter__(self) -> Iterator[Record]:
        if isinstance(self._at, range):
            frame = self._frame.slice(self._at.start, len(self._at))
        else:
            frame = self._frame[list(self._at)]
        return map(list, frame.iter_rows())


@frozen(eq=False)
class SortedTable:
    """A slice's contacts in the order of their rows, and its rejected records with their rows and reason codes.

    Attributes:
        table: columns `at` (the index in the slice), `key` (the number as an integer) and `json` (the contact).
        rejected: row, code and record.
    """

    part: TableSlice
    table: pl.DataFrame
    rejected: list[tuple[int, str, Record]]

    @property
    def rows(self) -> Sequence[int]:
        """The contacts' row numbers."""
        first, at = self.part.first, self._at()
        return range(first + at.start, first + at.stop) if isinstance(at, range) else [first + one for one in at]

    @property
    def row_column(self) -> pl.Series:
        """The same as a column."""
        return self.table["at"] + self.part.first

    @property
    def records(self) -> TableRecords:
        """The source's own."""
        return TableRecords(self.part.frame, self._at())

    def _at(self) -> Sequence[int]:
        at = self.table["at"]
        if len(at) and at[-1] - at[0] + 1 == len(at):
            return range(at[0], at[-1] + 1)
        return at.to_list()

    def kept(self, mask: pl.Series) -> Self:
        """Only the contacts for which the mask is true, without the rejected records."""
        return type(self)(self.part, self.table.filter(mask), [])


@define
class ColumnNormaliser:
    """Normalises the slices of one table.

    Attributes:
        rows: judges the rows that can't be judged here.
    """

    rows: Normaliser

    @property
    def is_usable(self) -> bool:
        """Whether the table's shape is one that columns can be judged by."""
        shape = self.rows.table
        return (
            shape is not None
            and not shape.nameless
            and shape.most_bytes <= self.rows.room
            and len(shape.names) <= wire.COLUMNS_A_CONTACT
        )

    def sort(self, part: TableSlice) -> SortedTable:
        """Sort a slice's rows into contacts and rejected ones."""
        shape = self.rows.table
        assert shape is not None  # noqa: S101  is_usable saw to it
        # By position: a table's own names can be anything.
        frame = part.frame.rename(dict(zip(part.frame.columns, map(str, range(part.frame.width)), strict=True)))
        given = pl.col(str(shape.number))
        numbers = frame.select(number=given, good=given.str.contains(_NUMBER))
        if not numbers["good"].all():
            cleaned = pl.when("good").then("number").otherwise(pl.col("number").str.replace_all(_SEPARATORS, ""))
            numbers = numbers.select(number=cleaned).with_columns(good=pl.col("number").str.contains(_NUMBER))
        frame = frame.with_columns(numbers["number"].alias(str(shape.number)))
        good = self._good(frame, shape, numbers["good"], is_clean=part.is_clean)
        table = frame.select(
            pl.int_range(pl.len(), dtype=pl.UInt32).alias("at"),
            pl.col(str(shape.number)).str.strip_prefix("+").cast(pl.UInt64, strict=False).alias("key"),
            self._json(frame, shape, is_clean=part.is_clean).alias("json"),
        )
        if good.all():
            return SortedTable(part, table, [])
        return self._with_odd(part, table, good)

    def _good(self, frame: pl.DataFrame, shape: Shape, numbers: pl.Series, *, is_clean: bool) -> pl.Series:
        """Which rows the rules for rows could only take as they are."""
        good = numbers
        others = [name for name in frame.columns if name != str(shape.number)]
        if shape.time_zone is not None:
            zones = frame[str(shape.time_zone)]
            good &= (zones == "") | zones.is_in(_zones())
        if not others:
            return good
        longest = frame.select(pl.col(others).str.len_bytes().max())
        for name in others:
            if (longest[name][0] or 0) > wire.CHARACTERS_A_VALUE:
                good &= frame[name].str.len_bytes() <= wire.CHARACTERS_A_VALUE
        if not is_clean:
            odd = frame.select(pl.any_horizontal(pl.col(others).str.contains(_ODD)))
            good &= ~odd.to_series()
        return good

    def _json(self, frame: pl.DataFrame, shape: Shape, *, is_clean: bool) -> pl.Expr:
        """The contact as JSON: what stands around the values is text, and an empty value's field is absent."""
        escaped, empty = self._special(frame, shape, is_clean=is_clean)
        pieces: list[pl.Expr] = []
        text = "{"
        for index, name in enumerate(shape.names):
            column = str(index)
            # The number is always there, so it needs no comma of its own.
            before, after = ("", ",") if index < shape.number else (",", "")
            if index == shape.number:
                before = after = ""
            value = pl.col(column)
            opening, closing = f'{before}{_text(name)}:"', f'"{after}'
            if column in escaped:
                value = (
                    pl.struct(value.alias("v")).struct.json_encode().str.strip_prefix('{"v":"').str.strip_suffix('"}')
                )
            if column in empty:
                pieces.append(pl.lit(text))
                text = ""
                piece = pl.concat_str(pl.lit(opening), value, pl.lit(closing))
                pieces.append(pl.when(pl.col(column) == "").then(pl.lit("")).otherwise(piece))
            else:
                pieces += [pl.lit(text + opening), value]
                text = closing
        pieces.append(pl.lit(text + "}"))
        return pl.concat_str(pieces)

    def _special(self, frame: pl.DataFrame, shape: Shape, *, is_clean: bool) -> tuple[set[str], set[str]]:
        """The columns with a value that JSON spells otherwise, and those with an empty one."""
        others = [name for name in frame.columns if name != str(shape.number)]
        if not others:
            return set(), set()
        shortest = frame.select(pl.col(others).str.len_bytes().min())
        empty = {name for name in others if shortest[name][0] == 0}
        if is_clean:
            return set(), empty
        escaped = frame.select(pl.col(others).str.contains(_ESCAPED).any())
        return {name for name in others if escaped[name][0]}, empty

    def _with_odd(self, part: TableSlice, table: pl.DataFrame, good: pl.Series) -> SortedTable:
        """Let the rules for rows judge what is left, and put its contacts where they belong."""
        odd = (~good).arg_true()
        found = Singly()
        for at, cells in zip(odd.to_list(), part.frame[odd].iter_rows(), strict=True):
            self.rows.sort_one(part.first + at, list(cells), found, suspect=True)
        table = table.filter(good)
        if found.rows:
            more = pl.DataFrame(
                {
                    "at": [row - part.first for row in found.rows],
                    "key": found.keys,
                    "json": [wire.dumps(contact).decode() for contact in found.contacts],
                },
                schema=table.schema,
            )
            table = pl.concat([table, more]).sort("at")
        return SortedTable(part, table, found.rejected)


@functools.cache
def _zones() -> pl.Series:
    return pl.Series(sorted(time_zones())).implode()


def _text(name: str) -> str:
    return wire.dumps(name).decode()


def as_rows(part: TableSlice) -> Slice:
    """A slice of a table for the rules for rows."""
    return Slice(part.first, list(map(list, part.frame.iter_rows())), suspect=True)


def joined(contacts: Any) -> bytes:
    """A column of JSON objects with commas between them."""
    result: bytes = contacts.str.join(",").cast(pl.Binary).item()
    return result


class NumbersOfTables:
    """The row at which each number came first, in sorted columns: 12 bytes a number.

    A few runs, each at least twice as long as the next, so that a number is looked for in a few of them only.
    """

    def __init__(self) -> None:
        self._runs: list[pl.DataFrame] = []

    def first_rows(self, keys: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
        """Note numbers' rows; return the row at which each came first: `rows` itself if all are new."""
        if not keys:
            return rows
        first = self.first_of(pl.Series(keys, dtype=pl.UInt64), pl.Series(rows, dtype=pl.UInt32))
        return rows if first is None else first.to_list()

    def first_of(self, keys: pl.Series, rows: pl.Series) -> pl.Series | None:
        """The same for columns; None if all numbers are new."""
        table = pl.DataFrame({"key": keys, "row": rows}).sort("key", maintain_order=True)
        key = table["key"]
        again = (key == key.shift(1)).fill_null(value=False)
        first = table["row"]
        if again.any():
            first = table.select(pl.when(~again).then("row").forward_fill()).to_series()
        known = again
        for run in self._runs:
            if run["key"][0] > key[-1] or run["key"][-1] < key[0]:
                continue
            at = run["key"].search_sorted(key).clip(upper_bound=len(run) - 1)
            hit = run["key"].gather(at) == key
            if hit.any():
                first = pl.select(pl.when(hit).then(run["row"].gather(at)).otherwise(first)).to_series()
                known |= hit
        if not known.any():
            self._add(table)
            return None
        self._add(table.filter(~known))
        # Back to the order in which they came.
        return pl.DataFrame({"row": table["row"], "first": first}).sort("row")["first"]

    def _add(self, run: pl.DataFrame) -> None:
        if not len(run):
            return
        self._runs.append(run)
        while len(self._runs) > 1 and len(self._runs[-2]) < _RUN_FACTOR * len(self._runs[-1]):
            later = self._runs.pop()
            self._runs.append(self._runs.pop().merge_sorted(later, key="key").rechunk())


def suppressed_column(numbers: AbstractSet[int]) -> pl.Series:
    """Do-not-contact numbers as a column."""
    return pl.Series(sorted(numbers), dtype=pl.UInt64)
