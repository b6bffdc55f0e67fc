"""A CSV file, or CSV on standard input: UTF-8, commas, a header, any line ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.matching import usual_field
from kore_campaign_async.ingest.records import BAD_ROW, Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.sources.base import MAPPING_COLUMNS, SLICE_RECORDS, mapping_cells, written_by_a_run
from kore_campaign_async.ingest.sources.blocks import Blocks, LineCutter, are_clean
from kore_campaign_async.ingest.sources.csv_text import CsvRecords, clean_cells, plain_cells


class CsvFile:
    """Yields a CSV file's records as lists of cells, in the order of its columns.

    A file that a run wrote (its first two columns are exactly `row,reason`) is read without these two, so
    that it can be mended and pushed again.

    Args:
        blocks: the bytes.
        first: the block that was read when they were opened.
    """

    #: Tells of a file's first record that it is no header, where a file may have none; it may be empty, then.
    is_headless: Callable[[Sequence[str]], bool] | None = None

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
        # About as many as the lines of a slice have.
        self._slice_characters = 1 << 15

    async def open(self) -> None:
        """Read the header, and the first record behind it. SourceError tells what is wrong."""
        async for records, suspect in self._stream:
            self._ahead += records
            self._ahead_suspect |= suspect
            if len(self._ahead) > 1:
                break
        if not self._ahead and self.is_headless is None:
            raise SourceError(f"{self.name} is empty: it needs a header and contacts")
        header = self._ahead.pop(0) if self._ahead else [wire.PHONE_NUMBER]
        if isinstance(header, Broken):
            raise SourceError(f"the header of {self.name} can't be read: it has a quote that never closes")
        if any("\0" in name or not _is_unicode(name) for name in header):
            raise SourceError(f"{self.name} is no CSV file in UTF-8: its first line holds other bytes")
        if self.is_headless is not None and self.is_headless(header):
            self._ahead.insert(0, header)
            header = [wire.PHONE_NUMBER]
        elif not self._ahead and self.is_headless is None:
            raise SourceError(f"{self.name} has a header and no contacts")
        self._drop, self.notices = written_by_a_run(self.name, header)
        self.columns = tuple(header[self._drop :])
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

    def _slice(self, part: Sequence[list[str] | Broken], *, suspect: bool) -> Slice:
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

    async def _parsed(self) -> AsyncGenerator[tuple[Sequence[list[str] | Broken], bool], None]:
        while self._block:
            for part in self._whole_lines(self._cutter.whole(self._block)):
                yield part
                await asyncio.sleep(0)
            self._block = await self._next_block()
        for part in self._with_care(self._cutter.flush(), final=True):
            yield part
            await asyncio.sleep(0)

    async def _next_block(self) -> bytes:
        return await self._blocks.read()

    def _whole_lines(self, text: str) -> Iterator[tuple[Sequence[list[str] | Broken], bool]]:
        """Records of a text of whole lines, and whether they are suspect; at once where that is possible."""
        if not self._cutter.is_plain:
            yield from self._with_care(self._cutter.cut(text))
            return
        start = 0
        while start < len(text):
            end = self._end_of_slice(text, start)
            part = text[start:end]
            start = end
            width = self._width
            cells = None if width is None or self._records.is_open else plain_cells(part, width)
            self._lines_left = start < len(text)
            if cells is not None:
                yield cells, False
            else:
                yield from self._with_care(self._cutter.cut(part), more=self._lines_left)

    def _end_of_slice(self, text: str, start: int) -> int:
        """Where a slice ends that begins here: behind the last line of those that are not too many."""
        while True:
            end = text.rfind("\n", start, start + self._slice_characters) + 1
            end = end or text.find("\n", start) + 1 or len(text)
            rows = max(1, text.count("\n", start, end))
            # A little less than what would just do, so that most slices are found at once.
            self._slice_characters = max(1, (end - start) * SLICE_RECORDS // rows * 31 // 32)
            if rows <= SLICE_RECORDS:
                return end

    @property
    def _width(self) -> int | None:
        """How many cells a usual record has; None where records must be lists, for `open` or for what a run wrote."""
        return None if self.header is None or self._drop else len(self.header)

    def _with_care(
        self, lines: list[str], *, final: bool = False, more: bool = False
    ) -> Iterator[tuple[Sequence[list[str] | Broken], bool]]:
        for start in range(0, max(1, len(lines)), SLICE_RECORDS):
            part = lines[start : start + SLICE_RECORDS]
            is_last = start + SLICE_RECORDS >= len(lines)
            self._lines_left = more or not is_last
            records = self._records.feed(part, final=final and is_last)
            # A record of several lines can hold more than each of them.
            suspect = not (self._records.plain and are_clean(part))
            cells = None if suspect or self._width is None else clean_cells(records, self._width)
            yield records if cells is None else cells, suspect

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


def _parts(items: Sequence[list[str] | Broken]) -> Iterator[Sequence[list[str] | Broken]]:
    if 0 < len(items) <= SLICE_RECORDS:
        yield items
        return
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
