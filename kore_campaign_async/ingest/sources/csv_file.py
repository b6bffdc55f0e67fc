"""A CSV file, or CSV on standard input: a header, any line ends, and whatever parts its cells."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Final

from kore_campaign_async.ingest.records import TableSlice
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS, Dialect
from kore_campaign_async.ingest.sources.blocks import Blocks, LineCutter, are_clean, in_thread
from kore_campaign_async.ingest.sources.csv_text import COMMA, CsvRecords, clean_cells, heading, plain_cells
from kore_campaign_async.ingest.sources.encodings import UTF_8, spoken
from kore_campaign_async.ingest.sources.rows import Rows, RowSource

# A header that is shorter takes no longer than a slice does.
_LONG_HEADER: Final = 1 << 14


class CsvFile(RowSource):
    """Yields a CSV file's records as lists of cells, in the order of its columns.

    Args:
        blocks: the bytes.
        first: the block that was read when they were opened.
        delimiter: what parts the cells; without one it is found out by the header.
    """

    def __init__(self, blocks: Blocks, first: bytes, delimiter: str | None = None) -> None:
        super().__init__(blocks.name, blocks.path)
        self._blocks = blocks
        self._block = first
        self._cutter = LineCutter()
        self._said_delimiter = delimiter
        self._delimiter = COMMA
        self._records = CsvRecords()
        # About as many as the lines of a slice have.
        self._slice_characters = 1 << 15

    async def open(self) -> None:
        """Read the header, and the first record behind it. SourceError tells what is wrong."""
        await self._find_delimiter()
        await super().open()
        self.dialects = (Dialect(self._blocks.encoding, self._delimiter, no_header=self.no_header),)

    def _no_text(self) -> str:
        encoding = spoken(self._blocks.encoding or UTF_8)
        return (
            f"is no CSV file in {encoding}: its first line holds other bytes; name its encoding with --encoding, such"
            " as utf-16"
        )

    async def _find_delimiter(self) -> None:
        final = False
        while True:
            text = self._block.removeprefix(codecs.BOM_UTF8)
            found = heading(text.decode("utf-8", "surrogateescape"), final=final)
            if found is not None:
                break
            more = await self._blocks.read()
            final = not more
            self._block += more
        self._delimiter = self._said_delimiter or found.delimiter
        self._records = CsvRecords(self._delimiter, self.sheet, self._number_column, has_header=not self.no_header)
        self._block = text[found.skipped :] if found.skipped else self._block

    async def _parsed(self) -> AsyncGenerator[Rows | TableSlice, None]:
        async with aclosing(self._ranges()) as ranges:
            async for data in ranges:
                if isinstance(data, TableSlice):
                    self.sheet.add(len(data))
                    yield data
                    continue
                text = self._cutter.whole(data)
                parts = self._whole_lines(text)
                while (part := await self._next_of(parts, len(text))) is not None:
                    yield part
                    await asyncio.sleep(0)
        lines = self._cutter.flush()
        parts = self._with_care(lines, final=True)
        while (part := await self._next_of(parts, sum(map(len, lines)))) is not None:
            yield part
            await asyncio.sleep(0)

    async def _next_of(self, parts: Iterator[Rows], size: int) -> Rows | None:
        """The next part; off the event loop where it can be a long header, which is read cell by cell."""
        if self.columns or size <= _LONG_HEADER:
            return next(parts, None)
        return await in_thread(lambda: next(parts, None))

    async def _ranges(self) -> AsyncGenerator[bytes | TableSlice, None]:
        """Yield what the file holds, as bytes, or as tables whose rows are not numbered yet."""
        while self._block:
            yield self._block
            self._block = await self._blocks.read()

    def _whole_lines(self, text: str) -> Iterator[Rows]:
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
            cells = None if width is None or self._records.is_open else plain_cells(part, width, self._delimiter)
            if cells is not None:
                self.sheet.add(len(cells))
                yield cells, False
            else:
                yield from self._with_care(self._cutter.cut(part))

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

    def _with_care(self, lines: list[str], *, final: bool = False) -> Iterator[Rows]:
        for start in range(0, max(1, len(lines)), SLICE_RECORDS):
            part = lines[start : start + SLICE_RECORDS]
            records = self._records.feed(part, final=final and start + SLICE_RECORDS >= len(lines))
            # A record of several lines can hold more than each of them.
            suspect = not (self._records.plain and are_clean(part))
            cells = None if suspect or self._width is None else clean_cells(records, self._width)
            yield records if cells is None else cells, suspect

    def fraction(self) -> float | None:
        """How much of the file is read."""
        return self._blocks.fraction()

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()
