"""A CSV file of which large parts are read as tables, and what is not plain in it record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources.base import one_ahead
from kore_campaign_async.ingest.sources.csv_columns import table_of
from kore_campaign_async.ingest.sources.csv_file import CsvFile
from kore_campaign_async.ingest.sources.plain_parts import PlainParts

# Each contact repeats the columns' names as JSON, so that many short rows under long names would fill the memory.
_MOST_NAME_BYTES: Final = 32 << 20


class CsvTables(CsvFile):
    """Yields slices of tables wherever the file is plain for megabytes. Needs the extra `tables`."""

    async def open(self) -> None:
        """Read the header. SourceError tells what is wrong."""
        await super().open()
        self._name_bytes = sum(len(column.encode()) for column in self.columns)
        # Records of a run's file of mappings are not columns, and what parts a table's cells is a byte.
        self.yields_tables = not self._mappings and self._delimiter.isascii()

    def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        return one_ahead(super().slices())

    def _ranges(self) -> AsyncGenerator[bytes | TableSlice, None]:
        return PlainParts(self._blocks, self._block, self._can_begin, self._table_of).parts()

    def _can_begin(self) -> bool:
        # Before the header is known there are no tables.
        return self.yields_tables and self._cutter.is_between and not self._records.is_open

    def _table_of(self, data: bytes) -> TableSlice | None:
        if self._drop and b"\\" in data:
            return None  # what a run wrote may hold escapes, which only the reader for records knows
        if self._name_bytes * data.count(b"\n") > _MOST_NAME_BYTES:
            return None
        found = table_of(data, self._drop + len(self.columns), self._delimiter)
        return None if found is None else TableSlice(0, found[0][:, self._drop :], found[1])
