"""A CSV file, or CSV on standard input: UTF-8, commas, a header, any line ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from typing import Any

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.matching import usual_field
from kore_campaign_async.ingest.records import BAD_ROW, Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.sources.base import MAPPING_COLUMNS, OUTCOME_COLUMNS, SLICE_RECORDS, mapping_cells
from kore_campaign_async.ingest.sources.blocks import Blocks, LineCutter, are_clean
from kore_campaign_async.ingest.sources.csv_text import CsvRecords


class CsvFile:
    """Yields a CSV file's records as lists of cells, in the order of its columns.

    A file that a run wrote (its first two columns are exactly `row,reason`) is read without these two, so
    that it can be mended and pushed again.

    Args:
        blocks: the bytes.
        first: the block that was read when they were opened.
    """

    def __init__(self, blocks: Blocks, first: bytes) -> None:
        self.name = blocks.name
        self.path = blocks.path
        self.header: tuple[str, ...] | None = None
        self.columns: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self.yields_tables = False
        self.total: int | None = None
        self._blocks = blocks
        self._block = first
        self._cutter = LineCutter()
        self._records = CsvRecords()
        self._stream = self._parsed()
        self._ahead: list[list[str] | Broken] = []
        self._ahead_suspect = False
        self._drop = 0
        self._row = 1
        self._lines_left = False
        self._mappings = False

    async def open(self) -> None:
        """Read the header, and the first record behind it. SourceError tells what is wrong."""
        async for records, suspect in self._stream:
            self._ahead += records
            self._ahead_suspect |= suspect
            if len(self._ahead) > 1:
                break
        if not self._ahead:
            raise SourceError(f"{self.name} is empty: it needs a header and contacts")
        header = self._ahead.pop(0)
        if isinstance(header, Broken):
            raise SourceError(f"the header of {self.name} can't be read: it has a quote that never closes")
        if any("\0" in name or not _is_unicode(name) for name in header):
            raise SourceError(f"{self.name} is no CSV file in UTF-8: its first line holds other bytes")
        if not self._ahead:
            raise SourceError(f"{self.name} has a header and no contacts")
        if tuple(header[:2]) == OUTCOME_COLUMNS:
            self._drop = 2
            header = header[2:]
            self.notices = (f"{self.name} was written by a run: its columns row and reason are left out",)
        self.columns = tuple(header)
        # Of a source of mappings: each record stands in the last column, as JSON.
        self._mappings = self._drop > 0 and self.columns == MAPPING_COLUMNS
        self.header = None if self._mappings else self.columns

    async def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        ahead, self._ahead = self._ahead, []
        for part in _parts(ahead):
            yield self._slice(part, suspect=self._ahead_suspect)
        async for records, suspect in self._stream:
            for part in _parts(records):
                yield self._slice(part, suspect=suspect)

    def _slice(self, part: list[list[str] | Broken], *, suspect: bool) -> Slice:
        """A slice of the source's own records, without what a run added to them."""
        row = self._row
        self._row += len(part)
        if not self._drop:
            return Slice(row, part, suspect)
        own = [record if isinstance(record, Broken) else record[self._drop :] for record in part]
        # JSON can spell what its line does not show.
        return (
            Slice(row, [_unpacked(record) for record in own], suspect=True)
            if self._mappings
            else Slice(row, own, suspect)
        )

    async def _parsed(self) -> AsyncGenerator[tuple[list[list[str] | Broken], bool], None]:
        while True:
            final = not self._block
            lines = self._cutter.flush() if final else self._cutter.feed(self._block)
            for start in range(0, max(1, len(lines)), SLICE_RECORDS):
                part = lines[start : start + SLICE_RECORDS]
                self._lines_left = start + SLICE_RECORDS < len(lines)
                records = self._records.feed(part, final=final and not self._lines_left)
                # A record of several lines can hold more than each of them.
                yield records, not (self._records.plain and are_clean(part))
                await asyncio.sleep(0)
            if final:
                return
            self._block = await self._next_block()

    async def _next_block(self) -> bytes:
        return await self._blocks.read()

    def rest(self) -> Sequence[Record]:
        """Nothing: a file's records are taken slice by slice."""
        return ()

    def fraction(self) -> float | None:
        """How much of the file is read."""
        return self._blocks.fraction()

    def cells(self, record: Record) -> Sequence[str]:
        """A record's cells as they stood in the file."""
        if isinstance(record, Broken):
            return [record.text]
        return record if isinstance(record, list) else mapping_cells(record)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """A record's cells by column; those behind the last column, by their number."""
        if isinstance(record, Mapping):
            return record
        cells = self.cells(record)
        names = [*self.columns, *(str(index + 1) for index in range(len(self.columns), len(cells)))]
        return dict(zip(names, cells, strict=False))

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), SLICE_RECORDS):
        yield items[start : start + SLICE_RECORDS]


def _unpacked(cells: list[str] | Broken) -> Record:
    """A mapping that a run wrote: its known fields as the cells say, all else as its JSON does."""
    if isinstance(cells, Broken):
        return cells
    padded = cells + [""] * (len(MAPPING_COLUMNS) - len(cells))
    try:
        record = wire.loads(padded[-1]) if padded[-1] else {}
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return Broken(BAD_ROW, padded[-1])
    known = {name: cell for name, cell in zip(wire.CONTACT_FIELDS, padded, strict=False) if cell}
    if not known:
        return record
    return {name: value for name, value in record.items() if usual_field(name) not in wire.CONTACT_FIELDS} | known


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
