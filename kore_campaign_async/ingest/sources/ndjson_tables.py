"""An NDJSON file of which large parts are read as tables, and what is not plain in it record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from attrs import evolve

from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources.base import one_ahead
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
        return one_ahead(self._slices())

    async def _slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        async with aclosing(self._of_lines()) as slices:
            async for part in slices:
                yield part
                if not self._lines_left:
                    async for table in self._plain.read(table_of):
                        yield evolve(table, first=self._row)
                        self._row += len(table)

    async def _next_block(self) -> bytes:
        return await self._plain.next_block()
