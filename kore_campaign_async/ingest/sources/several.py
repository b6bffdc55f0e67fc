"""Several files as one source: their rows are numbered on, in the order of the files."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.matching import usual_field
from kore_campaign_async.ingest.records import Broken, Cells, Record, Slice, TableSlice
from kore_campaign_async.ingest.sources.base import MANY_COLUMNS, Dialect, Source, cells_by_name, cells_of
from kore_campaign_async.ingest.sources.blocks import in_thread
from kore_campaign_async.ingest.sources.rows import RowSource
from kore_campaign_async.ingest.sources.sheet_rows import SheetRows
from kore_campaign_async.redaction import masked

_SHOWN_FILES: Final = 3
_SHOWN_COLUMNS: Final = 10


class SeveralFiles:
    """Yields the records of files, each with the columns of the first one, whatever their order.

    Each is opened twice: all of them before anything is sent, to see that they belong together, and each in its turn.

    Args:
        openers: for each file, how to open it, with what was found out about it before.
    """

    def __init__(self, openers: Sequence[Callable[[Dialect | None], Awaitable[Source]]]) -> None:
        self.name = ""
        self.path: Path | None = None
        self.header: tuple[str, ...] | None = None
        self.columns: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self.dialects: tuple[Dialect, ...] = ()
        self.yields_tables = False
        self.total: int | None = None
        self.implied_map: Mapping[str, str] = {}
        # How many rows stand before each file, and how a spreadsheet counts its own.
        self._sheets: list[tuple[int, SheetRows | None]] = []
        self._openers = openers
        self._first_name = ""
        self._cells: Callable[[Record], Sequence[str]] = cells_of
        self._now: Source | None = None
        self._done = 0

    async def open(self) -> None:
        """Look at all files. SourceError tells what is wrong, and which file it is."""
        totals: list[int | None] = []
        names: list[str] = []
        notices: list[str] = []
        dialects: list[Dialect] = []
        for number, opener in enumerate(self._openers):
            source = await opener(None)
            try:
                if source.path is None:
                    raise SourceError(f"{source.name} can't be read twice, so it is pushed by itself, not among files")
                if not number:
                    self.header, self.columns, self.path = source.header, source.columns, source.path
                    self.implied_map, self._first_name = source.implied_map, source.name
                    self._cells = source.cells
                await self._order_of(source)
                names.append(source.name)
                notices += source.notices
                dialects += source.dialects
                self.yields_tables |= source.yields_tables
                totals.append(source.total)
            finally:
                source.close()
        self.notices, self.dialects = tuple(notices), tuple(dialects)
        known = [total for total in totals if total is not None]
        self.total = sum(known) if len(known) == len(totals) else None
        more = len(names) - _SHOWN_FILES
        self.name = ", ".join(names[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")

    async def _order_of(self, source: Source) -> list[int] | None:
        """The same as `_order`, off the event loop for files of many columns."""
        if len(source.columns) <= MANY_COLUMNS:
            return self._order(source)
        return await in_thread(lambda: self._order(source))

    def _order(self, source: Source) -> list[int] | None:
        """Where the first file's columns stand in this one; None if they stand in the same places."""
        if (source.header is None) != (self.header is None):
            kinds = "a table", "a file of objects"
            raise SourceError(
                f"{source.name} is {kinds[source.header is None]}, and {self._first_name} is"
                f" {kinds[self.header is None]}: push them one by one"
            )
        if source.columns == self.columns:
            return None
        order = places_of(self.columns, source.columns)
        taken = set(order)
        missing = [column for column, place in zip(self.columns, order, strict=True) if place is None]
        more = [column for place, column in enumerate(source.columns) if place not in taken]
        if missing or more:
            parts = [f"it has no {_listed(missing)}"] * bool(missing)
            parts += [f"{self._first_name} has no {_listed(more)}"] * bool(more)
            raise SourceError(
                f"the columns of {source.name} are not those of {self._first_name}: {', and '.join(parts)};"
                " rename them, or push the files one by one"
            )
        found = [place for place in order if place is not None]
        return None if found == sorted(found) else found

    async def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records, file by file."""
        before = 0
        for number, opener in enumerate(self._openers):
            self._done = number
            self._now = source = await opener(self.dialects[number])
            try:
                order = await self._order_of(source)  # it may have changed since
                last = 0
                self._sheets.append((before, source.sheet if isinstance(source, RowSource) else None))
                async with aclosing(source.slices()) as slices:
                    async for part in slices:
                        last = part.first + len(part) - 1
                        yield _moved(part, before, order, len(self.columns))
                before += last
            finally:
                source.close()
        self._done, self._now = len(self._openers), None

    def rest(self) -> Sequence[Record]:
        """Nothing: files' records are taken slice by slice."""
        return ()

    def fraction(self) -> float | None:
        """How much is read, each file counted alike."""
        now = self._now.fraction() if self._now is not None else 0.0
        return (self._done + (now or 0.0)) / len(self._openers)

    def cells(self, record: Record) -> Sequence[str]:
        """A record's cells, in the order of the first file's columns."""
        return self._cells(record)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """A record's cells by column; those behind the last column, by their number."""
        return cells_by_name(record, self.columns)

    def spreadsheet_row(self, row: int) -> int | None:
        """A record's row as a spreadsheet counts it that shows the record's file; None where it is not kept."""
        at = bisect_left(self._sheets, row, key=lambda one: one[0]) - 1
        if at < 0:
            return None
        before, sheet = self._sheets[at]
        return None if sheet is None else sheet.row_of(row - before)

    def close(self) -> None:
        """Close the file that is open."""
        if self._now is not None:
            self._now.close()


def places_of(columns: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """Where each of these columns stands among others: under its own name, else as the only one for its field."""
    # The places of each name, the first one last.
    by_name: dict[str, list[int]] = {}
    for place in reversed(range(len(others))):
        by_name.setdefault(others[place], []).append(place)
    order = [places.pop() if (places := by_name.get(column)) else None for column in columns]
    by_field: dict[str, list[int]] = {}
    for name, places in by_name.items():
        by_field.setdefault(usual_field(name), []).extend(places)
    left = [index for index, place in enumerate(order) if place is None]
    wanted = Counter(usual_field(columns[index]) for index in left)
    for index in left:
        field = usual_field(columns[index])
        same = by_field.get(field, ())
        if len(same) == wanted[field] == 1:
            order[index] = same[0]
    return order


def _listed(columns: Sequence[str]) -> str:
    more = len(columns) - _SHOWN_COLUMNS
    return ", ".join(repr(masked(one)[:40]) for one in columns[:_SHOWN_COLUMNS]) + (
        f" and {more} more" if more > 0 else ""
    )


def _moved(part: Slice | TableSlice, before: int, order: list[int] | None, width: int) -> Slice | TableSlice:
    """A slice behind so many rows, its cells in another order."""
    first = part.first + before
    if isinstance(part, TableSlice):
        return evolve(part, first=first, frame=part.frame if order is None else part.frame[:, order])
    records = part.records
    if order is None:
        return Slice(first, records, part.suspect)
    if isinstance(records, Cells):
        flat = [""] * len(records.flat)
        for place, index in enumerate(order):
            flat[place::width] = records.flat[index::width]
        return Slice(first, Cells(flat, width), part.suspect)
    return Slice(first, [_in_order(record, order) for record in records], part.suspect)


def _in_order(record: Record, order: list[int]) -> Record:
    if isinstance(record, Broken) or not isinstance(record, list):
        return record
    cells = record + [""] * (len(order) - len(record))
    return [*(cells[index] for index in order), *cells[len(order) :]]
