"""A CSV file of which large parts are read as tables, and what is not plain in it record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources.blocks import Blocks
from kore_campaign_async.ingest.sources.csv_columns import table_of
from kore_campaign_async.ingest.sources.csv_file import CsvFile
from kore_campaign_async.ingest.sources.plain_parts import PlainParts


class CsvTables(CsvFile):
    """Yields slices of tables wherever the file is plain for megabytes. Needs the extra `tables`."""

    def __init__(self, blocks: Blocks, first: bytes, delimiter: str | None = None) -> None:
        super().__init__(blocks, first, delimiter)
        self._plain = PlainParts(blocks, self._cutter)

    async def open(self) -> None:
        """Read the header. SourceError tells what is wrong."""
        await super().open()
        # Records of a run's file of mappings are not columns, and what parts a table's cells is a byte.
        self.yields_tables = not self._mappings and self._delimiter.isascii()

    def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        return self._plain.woven(super().slices(), is_between=self._is_between, table_of=self._table_of)

    def _is_between(self) -> bool:
        return self.yields_tables and not self._lines_left and not self._records.is_open

    def _table_of(self, data: bytes) -> TableSlice | None:
        if self._drop and b"\\" in data:
            return None  # what a run wrote may hold escapes, which only the reader for records knows
        found = table_of(data, self._drop + len(self.columns), self._delimiter)
        if found is None:
            return None
        frame, is_clean = found
        table = TableSlice(self._row, frame[:, self._drop :], is_clean)
        self._row += len(table)
        return table

    async def _next_block(self) -> bytes:
        return await self._plain.next_block()
