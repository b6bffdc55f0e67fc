"""A CSV file of which large parts are read as tables, and what is not plain in it record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import Final

from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources.base import one_ahead
from kore_campaign_async.ingest.sources.blocks import BLOCK_BYTES, Blocks, in_thread
from kore_campaign_async.ingest.sources.csv_columns import table_of
from kore_campaign_async.ingest.sources.csv_file import CsvFile

_TABLE_BYTES: Final = 3 << 19


class CsvTables(CsvFile):
    """Yields slices of tables wherever the file is plain for megabytes. Needs the extra `tables`."""

    def __init__(self, blocks: Blocks, first: bytes) -> None:
        super().__init__(blocks, first)
        self._unread = b""
        # How much of it goes to the reader of records at a time.
        self._block_bytes = BLOCK_BYTES
        # How much of it is tried in small parts, since something in it is not plain.
        self._small_bytes = 0

    async def open(self) -> None:
        """Read the header. SourceError tells what is wrong."""
        await super().open()
        # Records of a run's file of mappings are not columns.
        self.yields_tables = not self._mappings

    def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        return one_ahead(self._slices())

    async def _slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        async with aclosing(super().slices()) as slices:
            async for part in slices:
                yield part
                if self.yields_tables and not self._lines_left and not self._records.is_open:
                    async for table in self._tables():
                        yield table

    async def _tables(self) -> AsyncGenerator[TableSlice, None]:
        """Yield what follows as far as it is plain. What is not is left to the reader of records."""
        rest = self._cutter.take_rest()
        if rest is None:
            return
        self._unread = rest + self._unread
        self._block_bytes = BLOCK_BYTES
        columns = self._drop + len(self.columns)
        while True:
            most = BLOCK_BYTES if self._small_bytes > 0 else _TABLE_BYTES
            if len(self._unread) < most:
                self._unread += await self._blocks.read(most - len(self._unread))
            end = self._unread.rfind(b"\n", 0, most) + 1
            if not end:
                return
            found = await in_thread(partial(table_of, self._unread[:end], columns))
            if found is None and self._small_bytes <= 0:
                self._small_bytes = end
                continue
            self._small_bytes -= end
            if found is None:
                self._block_bytes = end
                return
            self._unread = self._unread[end:]
            frame, is_clean = found
            table = TableSlice(self._row, frame[:, self._drop :], is_clean)
            self._row += len(table)
            yield table

    async def _next_block(self) -> bytes:
        if not self._unread:
            return await super()._next_block()
        block, self._unread = self._unread[: self._block_bytes], self._unread[self._block_bytes :]
        return block
