"""An NDJSON file of which large parts are read as tables, and what is not plain in it record by record."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources.base import one_ahead
from kore_campaign_async.ingest.sources.ndjson_columns import table_of
from kore_campaign_async.ingest.sources.ndjson_file import NdjsonFile
from kore_campaign_async.ingest.sources.plain_parts import PlainParts


class NdjsonTables(NdjsonFile):
    """Yields slices of tables wherever most lines are plain objects of equal keys. Needs the extra `tables`."""

    yields_tables = True

    def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        return one_ahead(super().slices())

    def _ranges(self) -> AsyncGenerator[bytes | TableSlice, None]:
        return PlainParts(self._blocks, self._block, lambda: self._cutter.is_between, _table_of).parts()


def _table_of(data: bytes) -> TableSlice | None:
    return table_of(data, 0)
