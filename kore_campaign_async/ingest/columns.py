"""The rules of `normalise.py` for a slice of a table, column by column; only what fails there is looked at row by row.

A row is taken here only if nothing about it can be judged otherwise by the rules for rows; every other row is handed
to those. Needs the extra `tables`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Final, Self, overload

import polars as pl
from attrs import define, frozen

from kore_campaign_async import wire
from kore_campaign_async.ingest.matching import Shape
from kore_campaign_async.ingest.normalise import Normaliser, Singly, time_zones
from kore_campaign_async.ingest.phone_text import clean_number, read_typed
from kore_campaign_async.ingest.records import Record, Slice, TableSlice

_NUMBER: Final = r"^\+?[1-9][0-9]{6,14}$"
# A cell of nothing but blanks begins with one. Python knows more of them than Unicode's property White_Space.
_ODD: Final = r"\x00|^[\s\x1c-\x1f]"
_ESCAPED: Final = r'["\\\x00-\x1f]'
_RUN_FACTOR: Final = 2


class TableRecords(Sequence[Record]):
    """Rows of a table as records, made only when they are asked for.

    Args:
        part: the table.
        at: the rows' indices in it.
    """

    def __init__(self, part: TableSlice, at: Sequence[int]) -> None:
        self._part = part
        self._at = at

    def __len__(self) -> int:
        return len(self._at)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> TableRecords: ...

    def __getitem__(self, index: int | slice) -> Record | TableRecords:
        if isinstance(index, slice):
            return TableRecords(self._part, self._at[index])
        return self._part.record_of(self._part.frame.row(self._at[index]))

    def __iter__(self) -> Iterator[Record]:
        if isinstance(self._at, range):
            frame = self._part.frame.slice(self._at.start, len(self._at))
        else:
            frame = self._part.frame[list(self._at)]
        return map(self._part.record_of, frame.iter_rows())


class JsonColumn:
    """Contacts as one text of JSON objects with commas between them, and where each of them ends."""

    def __init__(self, text: bytes, ends: pl.Series, at: range) -> None:
        self._text = text
        self._ends = ends
        self._at = at

    @staticmethod
    def of(column: pl.Series) -> JsonColumn:
        """Join a column of objects, all at once: each call takes its time, however short the text is."""
        if not len(column):
            return JsonColumn(b"", pl.Series([], dtype=pl.UInt64), range(0))
        frame, json = pl.DataFrame({"json": column}), pl.col("json")
        text = frame.select(json.str.join(",").cast(pl.Binary)).item()
        ends = frame.select((json.str.len_bytes().cast(pl.UInt64) + 1).cum_sum()).to_series()
        return JsonColumn(text, ends, range(len(column)))

    def __len__(self) -> int:
        return len(self._at)

    def __getitem__(self, part: slice) -> JsonColumn:
        return JsonColumn(self._text, self._ends, self._at[part])

    def encoded(self) -> bytes:
        """The text of these contacts."""
        if not self._at:
            return b""
        begin = self._ends[self._at.start - 1] if self._at.start else 0
        return self._text[begin : self._ends[self._at.stop - 1] - 1]


@frozen(eq=False)
class SortedTable:
    """A slice's contacts in the order of their rows, and its rejected records with their rows and reason codes.

    Attributes:
        table: columns `key` (the number as an integer) and `json` (the contact).
        at: the contacts' indices in the slice.
        rejected: row, code and record.
    """

    part: TableSlice
    table: pl.DataFrame
    at: Sequence[int]
    rejected: list[tuple[int, str, Record]]

    @property
    def rows(self) -> Sequence[int]:
        """The contacts' row numbers."""
        first = self.part.first
        if isinstance(self.at, range):
            return range(first + self.at.start, first + self.at.stop)
        return [first + one for one in self.at]

    @property
    def row_column(self) -> pl.Series:
        """The same as a column."""
        rows = self.rows
        if isinstance(rows, range):
            return pl.int_range(rows.start, rows.stop, dtype=pl.UInt32, eager=True)
        return pl.Series(rows, dtype=pl.UInt32)

    @property
    def records(self) -> TableRecords:
        """The source's own."""
        return TableRecords(self.part, self.at)

    @property
    def contacts(self) -> JsonColumn:
        """As JSON."""
        return JsonColumn.of(self.table["json"])

    def numbers_without_plus(self) -> list[str]:
        """The numbers that are sent without a `+`, as they are sent."""
        opening = f'"{wire.PHONE_NUMBER}":"'
        number = pl.col("json").str.extract(f"{opening}([0-9]+)", 1)
        return self.table.select(number.drop_nulls()).to_series().to_list()

    def kept(self, mask: pl.Series) -> Self:
        """Only the contacts for which the mask is true, without the rejected records."""
        at = [self.at[index] for index in mask.arg_true()]
        return type(self)(self.part, self.table.filter(mask), at, [])


@define
class ColumnNormaliser:
    """Normalises the slices of one table.

    Attributes:
        rows: judges the rows that can't be judged here.
    """

    rows: Normaliser

    def sort(self, part: TableSlice) -> SortedTable | None:
        """Sort a slice's rows into contacts and rejected ones; None if its shape is none to judge columns by."""
        shape = self.rows.table if part.keys is None else self.rows.shape_of(part.keys)
        if isinstance(shape, str) or not self.rows.takes_columns(shape):
            return None
        frame = self._with_numbers(part, shape.number)
        number = pl.nth(shape.number)
        # Few calls of many expressions: for each call this thread has to wait for its turn with Python.
        traits = _Traits.of(frame, shape, is_clean=part.is_clean)
        if traits.all_good:
            return SortedTable(part, frame.select(*_contact(number, shape, traits)), range(len(part)), [])
        good = frame.select(_good(number, shape, is_clean=part.is_clean)).to_series()
        table = frame.select(*_contact(number, shape, traits))
        return self._with_odd(part, table, good)

    def _with_numbers(self, part: TableSlice, column: int) -> pl.DataFrame:
        """The slice with numbers by the one rule for them; what means no number becomes empty, and so is not good."""
        texts = part.frame.to_series(column)
        numbering = self.rows.numbering
        clean = clean_number if numbering is None else numbering.clean
        if column in part.typed:
            numbers = [clean(read_typed(text)[0]) or "" for text in texts.to_list()]
        elif numbering is None and texts.str.contains(_NUMBER).all():
            return part.frame
        else:
            numbers = [clean(text) or "" for text in texts.to_list()]
        return part.frame.with_columns(pl.Series(texts.name, numbers, dtype=pl.String))

    def _with_odd(self, part: TableSlice, table: pl.DataFrame, good: pl.Series) -> SortedTable:
        """Let the rules for rows judge what is left, and put its contacts where they belong."""
        odd = (~good).arg_true()
        found = Singly()
        for at, cells in zip(odd.to_list(), part.frame[odd].iter_rows(), strict=True):
            self.rows.sort_one(part.first + at, part.record_of(cells), found, suspect=True)
        table = table.with_row_index("at").filter(good)
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
        return SortedTable(part, table, table["at"].to_list(), found.rejected)


@frozen
class _Traits:
    """What is true of a slice's columns, by their indices.

    Attributes:
        all_good: whether every row is good as it is.
        empty: columns with an empty value.
        escaped: columns with a value that JSON spells otherwise.
    """

    all_good: bool
    empty: frozenset[int]
    escaped: frozenset[int]

    @classmethod
    def of(cls, frame: pl.DataFrame, shape: Shape, *, is_clean: bool) -> Self:
        """Look at a slice."""
        if not len(frame):
            return cls(all_good=True, empty=frozenset(), escaped=frozenset())
        others = _others(shape)
        asked = [_good(pl.nth(shape.number), shape, is_clean=is_clean).all().alias("good")]
        asked += [pl.nth(index).str.len_bytes().min().alias(f"least {index}") for index in others]
        if not is_clean:
            asked += [pl.nth(index).str.contains(_ESCAPED).any().alias(f"escaped {index}") for index in others]
        good, *said = frame.select(asked).row(0)
        least, escaped = said[: len(others)], said[len(others) :]
        return cls(
            all_good=good,
            empty=frozenset(index for index, size in zip(others, least, strict=True) if size == 0),
            escaped=frozenset(index for index, is_it in zip(others, escaped, strict=False) if is_it),
        )


def _others(shape: Shape) -> list[int]:
    return [index for index in range(len(shape.names)) if index != shape.number]


def _good(number: pl.Expr, shape: Shape, *, is_clean: bool) -> pl.Expr:
    """Whether the rules for rows could only take a row as it is."""
    good = number.str.contains(_NUMBER)
    if shape.time_zone is not None:
        zone = pl.nth(shape.time_zone)
        good &= (zone == "") | zone.is_in(_zones())
    for index in _others(shape):
        # No value has more characters than bytes.
        good &= pl.nth(index).str.len_bytes() <= wire.CHARACTERS_A_VALUE
        if not is_clean:
            good &= ~pl.nth(index).str.contains(_ODD)
    return good


def _contact(number: pl.Expr, shape: Shape, traits: _Traits) -> Iterator[pl.Expr]:
    """The number as an integer, and the contact as JSON: what stands around the values is text."""
    yield number.str.strip_prefix("+").cast(pl.UInt64, strict=False).alias("key")
    pieces: list[pl.Expr] = []
    text = "{"
    for index, name in enumerate(shape.names):
        value = number if index == shape.number else pl.nth(index)
        # The number is always there, so it needs no comma of its own.
        opening, closing = f'{_text(name)}:"', '"'
        if index < shape.number:
            closing += ","
        elif index > shape.number:
            opening = "," + opening
        if index in traits.escaped:
            value = pl.struct(value.alias("v")).struct.json_encode().str.strip_prefix('{"v":"').str.strip_suffix('"}')
        if index in traits.empty:
            field = pl.concat_str(pl.lit(opening), value, pl.lit(closing))
            # An empty value is an absent field.
            pieces += [pl.lit(text), pl.when(pl.nth(index) == "").then(pl.lit("")).otherwise(field)]
            text = ""
        else:
            pieces += [pl.lit(text + opening), value]
            text = closing
    pieces.append(pl.lit(text + "}"))
    yield pl.concat_str(pieces).alias("json")


@functools.cache
def _zones() -> pl.Series:
    return pl.Series(sorted(time_zones())).implode()


def _text(name: str) -> str:
    return wire.dumps(name).decode()


def as_rows(part: TableSlice) -> Slice:
    """A slice of a table for the rules for rows."""
    return Slice(part.first, list(map(part.record_of, part.frame.iter_rows())), suspect=True)


def _place(numbers: pl.Series) -> pl.Expr:
    return pl.lit(numbers).search_sorted(pl.col("key")).clip(upper_bound=len(numbers) - 1)


def are_among(numbers: pl.Series) -> pl.Expr:
    """Whether the column `key`'s numbers are among these, at least one, in ascending order."""
    return pl.lit(numbers).gather(_place(numbers)) == pl.col("key")


@frozen(eq=False)
class _Run:
    """Numbers in ascending order, with their rows."""

    table: pl.DataFrame
    least: int
    most: int

    def place(self) -> pl.Expr:
        """Where the column `key`'s numbers stand here, if they do."""
        return _place(self.table["key"])

    def has(self) -> pl.Expr:
        """Whether they do."""
        return are_among(self.table["key"])


class NumbersOfTables:
    """The row at which each number came first, in sorted columns: 12 bytes a number.

    A few runs, each at least twice as long as the next, so that a number is looked for in a few of them only.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []

    def first_rows(self, keys: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
        """Note numbers' rows; return the row at which each came first: `rows` itself if all are new."""
        if not keys:
            return rows
        first = self.first_of(pl.Series(keys, dtype=pl.UInt64), pl.Series(rows, dtype=pl.UInt32))
        return rows if first is None else first.to_list()

    def first_of(self, keys: pl.Series, rows: pl.Series) -> pl.Series | None:
        """The same for columns, at least one long; None if all numbers are new."""
        table = pl.DataFrame({"key": keys, "row": rows}).sort("key", maintain_order=True)
        key = pl.col("key")
        again = (key == key.shift(1)).fill_null(value=False)
        least, most, *hits = table.select(
            key.first().alias("least"), key.last().alias("most"), again.any().alias("again")
        ).row(0)
        runs = [run for run in self._runs if run.least <= most and run.most >= least]
        if runs:
            hits += table.select(run.has().any().alias(str(index)) for index, run in enumerate(runs)).row(0)
        if not any(hits):
            self._add(_Run(table, least, most))
            return None
        first, known = pl.when(~again).then("row").forward_fill(), again
        for run in runs:
            first = pl.when(run.has()).then(pl.lit(run.table["row"]).gather(run.place())).otherwise(first)
            known |= run.has()
        told = table.select("key", "row", first.alias("first"), known.alias("known"))
        new = told.filter(~pl.col("known")).select("key", "row")
        if len(new):
            self._add(_Run(new, new["key"][0], new["key"][-1]))
        # Back to the order in which they came.
        return told.sort("row")["first"]

    def _add(self, run: _Run) -> None:
        self._runs.append(run)
        while len(self._runs) > 1 and len(self._runs[-2].table) < _RUN_FACTOR * len(self._runs[-1].table):
            later, earlier = self._runs.pop(), self._runs.pop()
            table = earlier.table.merge_sorted(later.table, key="key").rechunk()
            self._runs.append(_Run(table, min(earlier.least, later.least), max(earlier.most, later.most)))
