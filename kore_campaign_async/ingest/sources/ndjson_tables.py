"""An NDJSON file of which large parts are read as tables, and what is not plain in it record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources.blocks import Blocks
from kore_campaign_async.ingest.sources.ndjson_columns import table_of
from kore_campaign_async.ingest.sources.ndjson_file import NdjsonFile
from kore_campaign_async.ingest.sources.plain_parts import PlainParts


class NdjsonTables(NdjsonFile):
    """Yields slices of tables wherever most lines are plain objects of equal keys. Needs the extra `tables`."""

    yields_tables = True

    def __init__(self, blocks: Blocks, first: bytes) -> None:
        super().__init__(blocks, first)
        self._plain = PlainParts(blocks, self._cutter)

    def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        return self._plain.woven(self._of_lines(), is_between=lambda: not self._lines_left, table_of=self._table_of)

    def _table_of(self, data: bytes) -> TableSlice | None:
        table = table_of(data, self._row)
        self._row += 0 if table is None else len(table)
        return table

    async def _next_block(self) -> bytes:
        return await self._plain.next_block()
