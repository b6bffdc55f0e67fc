"""The first rows of a source, read before anything is sent and yielded again: a source around another one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from kore_campaign_async.ingest.records import Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.sources.base import Source, let_go, next_or_none

# A slice can hold a row of 150 columns, or one of a few; of wide rows fewer are held.
_MOST_CELLS = 400_000
_MOST_CHARACTERS = 16 << 20
_PATIENCE_SECONDS = 2.0


class FirstRows:
    """Yields what the source yields.

    Args:
        source: opened, none of its slices yielded. Whoever made it closes it.
    """

    def __init__(self, source: Source) -> None:
        self.name = source.name
        self.path = source.path
        self.header = source.header
        self.columns = source.columns
        self.notices = source.notices
        self.dialects = source.dialects
        self.yields_tables = source.yields_tables
        self.total = source.total
        self.implied_map = source.implied_map
        self._source = source
        self._slices = source.slices()
        self._held: deque[Slice | TableSlice] = deque()
        self._failed: Exception | None = None
        self._yielded = 0
        self._is_over = False
        self._coming: asyncio.Future[Slice | TableSlice | None] | None = None

    async def open(self) -> None:
        """The source is open."""

    async def read(self, rows: int) -> Sequence[Slice | TableSlice]:
        """Read about so many rows, fewer where they are wide, and hold them; return them.

        A pipe that has no more of them for a while is not waited for: somebody may be typing, or a service writing.
        """
        held = cells = characters = 0
        patience = _PATIENCE_SECONDS if self.path is None else None
        try:
            while held < rows and cells < _MOST_CELLS and characters < _MOST_CHARACTERS:
                self._coming = coming = self._coming or asyncio.ensure_future(next_or_none(self._slices))
                await asyncio.wait((coming,), timeout=patience if held else None)
                if not coming.done():
                    break
                self._coming = None
                if (part := coming.result()) is None:
                    self._is_over = True
                    break
                self._held.append(part)
                held += len(part)
                cells += len(part) * max(1, len(self.columns))
                characters += _characters(part)
        except Exception as error:  # noqa: BLE001  raised again where the run has come so far
            self._failed = error
        return list(self._held)

    async def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield what is held, then the rest."""
        try:
            while self._held:
                part = self._held.popleft()
                self._yielded += len(part)
                yield part
            if self._failed is not None:
                raise self._failed
            while not self._is_over and (following := await self._following()) is not None:
                self._yielded += len(following)
                yield following
        finally:
            await self.aclose()

    async def _following(self) -> Slice | TableSlice | None:
        if self._coming is None:
            return await next_or_none(self._slices)
        coming, self._coming = self._coming, None
        return await coming

    def rest(self) -> Sequence[Record]:
        """What was taken from a caller's own iterable and not yielded; a file's rows can be read again."""
        rest = self._source.rest()
        if self.path is not None or not self._held or not all(isinstance(part, Slice) for part in self._held):
            return rest
        held = [record for part in self._held if isinstance(part, Slice) for record in part.records]
        self._held.clear()
        return [*held, *rest]

    def fraction(self) -> float | None:
        """How much is yielded, as far as the source knows how much is read."""
        fraction = self._source.fraction()
        held = sum(map(len, self._held))
        return fraction if fraction is None or not held else fraction * self._yielded / (self._yielded + held)

    def cells(self, record: Record) -> Sequence[str]:
        """A record as the cells of `columns`."""
        return self._source.cells(record)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """A record by the source's own names."""
        return self._source.fields(record)

    def spreadsheet_row(self, row: int) -> int | None:
        """A record's row as a spreadsheet counts it."""
        return self._source.spreadsheet_row(row)

    def close(self) -> None:
        """Whoever opened the source closes it."""

    async def aclose(self) -> None:
        """Let go of what is being read, where nobody comes to it any more."""
        coming, self._coming = self._coming, None
        try:
            if coming is not None:
                await let_go(coming)
        finally:
            await self._slices.aclose()


def _characters(part: Slice | TableSlice) -> int:
    """How long the texts of a slice are, about."""
    if isinstance(part, TableSlice):
        return int(part.frame.estimated_size())
    found = 0
    for record in part.records:
        if isinstance(record, Broken):
            found += len(record.text)
        else:
            found += sum(
                len(one) for one in (record if isinstance(record, list) else record.values()) if isinstance(one, str)
            )
    return found
