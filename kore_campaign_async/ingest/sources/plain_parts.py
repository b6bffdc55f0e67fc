"""What of a file of lines is plain enough to be read as tables; the rest is left to its reader of records."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Final

from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources.base import one_ahead
from kore_campaign_async.ingest.sources.blocks import BLOCK_BYTES, Blocks, LineCutter, in_thread

TableOf = Callable[[bytes], TableSlice | None]

_TABLE_BYTES: Final = 5 << 18


class PlainParts:
    """Takes turns with a reader of records: each takes from a file what the other leaves.

    Args:
        blocks: the file.
        cutter: the reader's own, which holds what it was given and has not read.
    """

    def __init__(self, blocks: Blocks, cutter: LineCutter) -> None:
        self._blocks = blocks
        self._cutter = cutter
        self._unread = b""
        # How much of it goes to the reader of records at a time.
        self._block_bytes = BLOCK_BYTES
        # How much of it is tried in small parts, since something in it is not plain.
        self._small_bytes = 0

    def woven(
        self, records: AsyncGenerator[Slice | TableSlice, None], *, is_between: Callable[[], bool], table_of: TableOf
    ) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the slices of a reader of records, and tables of what is plain between them.

        Args:
            records: the reader's slices.
            is_between: whether the reader stands between two records, so that a table can begin there.
            table_of: makes a table of whole lines; None if they are not plain. Called in a thread.
        """
        return one_ahead(self._woven(records, is_between, table_of))

    async def _woven(
        self, records: AsyncGenerator[Slice | TableSlice, None], is_between: Callable[[], bool], table_of: TableOf
    ) -> AsyncGenerator[Slice | TableSlice, None]:
        async with aclosing(records):
            async for part in records:
                yield part
                if is_between():
                    async for table in self._tables(table_of):
                        yield table

    async def _tables(self, table_of: TableOf) -> AsyncGenerator[TableSlice, None]:
        """Yield what follows as far as it is plain, and leave the rest to the reader of records."""
        rest = self._cutter.take_rest()
        if rest is None:
            return
        self._unread = rest + self._unread
        self._block_bytes = BLOCK_BYTES
        while True:
            most = BLOCK_BYTES if self._small_bytes > 0 else _TABLE_BYTES
            if len(self._unread) < most:
                self._unread += await self._blocks.read(most - len(self._unread))
            end = self._unread.rfind(b"\n", 0, most) + 1
            if not end:
                return
            table = await in_thread(partial(table_of, self._unread[:end]))
            if table is None and self._small_bytes <= 0:
                self._small_bytes = end
                continue
            self._small_bytes -= end
            if table is None:
                self._block_bytes = end
                return
            self._unread = self._unread[end:]
            yield table

    async def next_block(self) -> bytes:
        """Return what the reader of records takes next; empty at the end of the file."""
        if not self._unread:
            return await self._blocks.read()
        block, self._unread = self._unread[: self._block_bytes], self._unread[self._block_bytes :]
        return block
