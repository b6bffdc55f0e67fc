"""Tables: frames of polars, whatever speaks Arrow's C stream, Parquet and Arrow files. Needs the extra `tables`.

Types are never guessed from values, and every one of them becomes text by one rule (`_as_text`), or its column is
refused by name before anything is sent.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import polars as pl

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.phone_text import TypedText
from kore_campaign_async.ingest.records import Record, TableSlice
from kore_campaign_async.ingest.sources.base import Dialect, one_ahead, written_by_a_run
from kore_campaign_async.ingest.sources.blocks import in_thread
from kore_campaign_async.ingest.sources.csv_quotes import CELL_CHARACTERS
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.phone_like import holds_number
from kore_campaign_async.ingest.sources.table_parts import SLICE_ROWS, frames_of, frames_of_file, slices_of
from kore_campaign_async.redaction import masked

# Up to here a float of so many bits holds every whole number, and no other one is rounded to it.
_EXACT: Final = {"Float64": float(1 << 53), "Float32": float(1 << 24), "Float16": float(1 << 11)}
_SECONDS: Final = "%H:%M:%S%.f"


class Tables:
    """Yields slices of a table.

    Args:
        given: the table, all of it or not computed yet.
        name: how reports name it.
        held: the file that it is read from.
        by_columns: whether a file that is large is read column by column.
    """

    yields_tables = True
    dialects: tuple[Dialect, ...] = (Dialect(),)
    implied_map: Mapping[str, str] = MappingProxyType({})

    def __init__(
        self,
        given: pl.DataFrame | pl.LazyFrame,
        name: str,
        held: HeldFile | None = None,
        *,
        by_columns: bool = False,
    ) -> None:
        self.name = name
        self.path: Path | None = None if held is None else held.path
        self._held = held
        self.header: tuple[str, ...] | None = None
        self.columns: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self._given = given
        self._by_columns = by_columns
        self._schema = pl.Schema()
        self.total = len(given) if isinstance(given, pl.DataFrame) else None
        self._read = 0
        self._drop = 0
        self._typed: frozenset[int] = frozenset()

    async def open(self) -> None:
        """Read the columns' names and types. SourceError tells what is wrong."""
        self._schema = await self._reading(self._given.lazy().collect_schema)
        names = self._schema.names()
        self._drop, self.notices = written_by_a_run(self.name, names)
        self.header = self.columns = tuple(names[self._drop :])
        self._typed = frozenset(
            index for index, name in enumerate(self.columns) if not _is_text_or_whole(self._schema[name])
        )
        if await self._reading(lambda: holds_number(self.columns)):
            raise SourceError(
                f"a column of {self.name} is called by a phone number: its first row was taken for a header when it was"
                " made; make it anew, with names for its columns"
            )
        for name in self.columns:
            if not _can_be_text(self._schema[name]):
                raise SourceError(
                    f"the column {name!r} of {self.name} has the type {self._schema[name]}, which is no text: cast it,"
                    " or leave it out"
                )
        if self.path is not None:
            self.total = await self._reading(lambda: self._given.lazy().select(pl.len()).collect().item())
        floats = [index for index, kind in enumerate(self._schema.dtypes()) if index >= self._drop and kind.is_float()]
        if floats and (self.path is not None or isinstance(self._given, pl.DataFrame)):
            await self._reading(lambda: self._check_all(floats))

    def slices(self) -> AsyncGenerator[TableSlice, None]:
        """Yield the table in parts."""
        return one_ahead(self._slices())

    async def _slices(self) -> AsyncGenerator[TableSlice, None]:
        parts = self._parts()
        while (frame := await self._reading(lambda: self._part_of(parts))) is not None:
            first = self._read + 1
            self._read += len(frame)
            yield TableSlice(first, frame, record_of=self._record_of if self._typed else list, typed=self._typed)

    def _part_of(self, parts: Iterator[pl.DataFrame]) -> pl.DataFrame | None:
        frame = next(parts, None)
        if self._held is not None:
            self._held.raise_if_touched()
            if frame is None:
                self._held.read_again()
        return frame

    def _record_of(self, row: Sequence[str]) -> Record:
        return [TypedText(cell) if index in self._typed else cell for index, cell in enumerate(row)]

    def _parts(self) -> Iterator[pl.DataFrame]:
        for frame in self._frames():
            for part in slices_of(frame):
                self._check(part)
                # By position: a name can be empty, or look like a pattern.
                yield part.select(
                    _as_text(pl.nth(self._drop + index), self._schema[name]).str.head(CELL_CHARACTERS).alias(str(index))
                    for index, name in enumerate(self.columns)
                )

    def _frames(self, columns: Sequence[int] | None = None) -> Iterator[pl.DataFrame]:
        """All of it, or the columns at these indices, in parts."""
        given = self._given if columns is None else self._given.select(map(pl.nth, columns))
        if isinstance(given, pl.DataFrame):
            return frames_of(given)
        if self._held is not None:
            return frames_of_file(given, self.total or 0, by_columns=self._by_columns)
        return iter(given.collect_batches(chunk_size=SLICE_ROWS, maintain_order=True))

    def _check_all(self, columns: Sequence[int]) -> None:
        for frame in self._frames(columns):
            self._check(frame)

    def _check(self, frame: pl.DataFrame) -> None:
        """Refuse a column of floats that are not all whole numbers."""
        for column in frame.get_columns():
            if column.dtype.is_float():
                values = column.cast(pl.Float64).fill_nan(None).drop_nulls()
                most = _EXACT.get(str(column.dtype), 0.0)
                if not ((values == values.floor()) & (values.abs() < most)).all():
                    raise SourceError(
                        f"the column {column.name!r} of {self.name} holds floats that are no whole numbers, or too"
                        f" large ones to be exact as {column.dtype}: cast it to text where it still has all digits"
                    )

    async def _reading(self, work: Any) -> Any:
        try:
            return await in_thread(work)
        except pl.exceptions.PolarsError as error:
            words = str(error)
            if self._held is not None:
                words = words.replace(str(self._held.path_for_libraries), self.name)
            raise SourceError(f"{self.name} can't be read: {_shown(words)}") from None

    def rest(self) -> Sequence[Record]:
        """Nothing: rows are taken slice by slice."""
        return ()

    def fraction(self) -> float | None:
        """How much is read of a table whose length is known."""
        return min(1.0, self._read / self.total) if self.total else None

    def cells(self, record: Record) -> Sequence[str]:
        """A row's cells as text."""
        assert isinstance(record, list)  # noqa: S101  a table has no other rows
        return record

    def fields(self, record: Record) -> Mapping[str, Any]:
        """A row's cells by column."""
        return dict(zip(self.columns, self.cells(record), strict=True))

    def spreadsheet_row(self, row: int) -> int | None:  # noqa: ARG002  what other sources need
        """None: a table stands in no spreadsheet."""
        return None

    def close(self) -> None:
        """The table is the caller's, and a file is open only while a part of it is read."""


def _shown(words: str) -> str:
    """The beginning of what another library says, without numbers."""
    return masked(words.partition("\n")[0])[:200]


def _is_text_or_whole(kind: pl.DataType) -> bool:
    return kind.is_integer() or isinstance(kind, pl.String | pl.Categorical | pl.Enum | pl.Null)


def _can_be_text(kind: pl.DataType) -> bool:
    return not kind.is_nested() and not isinstance(kind, pl.Duration | pl.Binary | pl.Object | pl.Unknown)


def _as_text(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """Text as it is, numbers as their digits, `true` and `false`, dates and times as ISO 8601 spells them."""
    if kind.is_float():
        # Whole numbers all; pandas says nan where nothing is.
        column = column.fill_nan(None).cast(pl.Int64)
    elif isinstance(kind, pl.Datetime):
        column = column.dt.to_string(f"%Y-%m-%dT{_SECONDS}{'%:z' if kind.time_zone else ''}")
    elif isinstance(kind, pl.Time):
        column = column.dt.to_string(_SECONDS)
    return column.cast(pl.String).fill_null("")


def table_file(held: HeldFile, kind: str) -> Tables:
    """A Parquet or Arrow file."""
    path = held.path_for_libraries
    if kind == "Parquet":
        return Tables(pl.scan_parquet(path), str(held.path), held)
    return Tables(pl.scan_ipc(path), str(held.path), held, by_columns=True)


def table_of_object(given: Any) -> Tables:
    """Whatever polars is, or speaks Arrow's C stream. SourceError if that is no table."""
    name = type(given).__name__
    if isinstance(given, pl.Series):
        given = given.to_frame(given.name or "phoneNumber")
    if not isinstance(given, pl.DataFrame | pl.LazyFrame):
        try:
            given = pl.scan_arrow_c_stream(given)
        except Exception as error:  # noqa: BLE001  the caller's own object: pandas misses pyarrow in its own way
            why = _shown(f"{type(error).__name__}: {error}")
            raise SourceError(f"the {name} can't be read as a table: {why}") from None
    return Tables(given, name)
