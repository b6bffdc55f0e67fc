"""A file of lines in ranges, each of them a table if it is plain enough, else bytes for the reader of records.

There is one reader of a file, which takes these in their order and numbers what it makes of them. So no table can come
before records that stand in front of it, whatever is plain.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from functools import partial
from typing import Final, Generic, TypeVar

from kore_campaign_async.ingest.sources.blocks import BLOCK_BYTES, Blocks, in_thread

T = TypeVar("T")

_TABLE_BYTES: Final = 5 << 18


class PlainParts(Generic[T]):
    """Cuts a file into ranges of whole lines, and tries to make tables of them.

    Args:
        blocks: the file.
        first: what was read of it before.
        can_begin: whether the reader stands between two records, so that a table can begin there.
        table_of: makes a table of whole lines; None if they are not plain. Called in a thread.
    """

    def __init__(
        self, blocks: Blocks, first: bytes, can_begin: Callable[[], bool], table_of: Callable[[bytes], T | None]
    ) -> None:
        self._blocks = blocks
        self._unread = first
        self._can_begin = can_begin
        self._table_of = table_of
        # How much of what is unread is tried in small parts, since something in it is not plain.
        self._small_bytes = 0

    async def parts(self) -> AsyncGenerator[bytes | T, None]:
        """Yield all of the file in its order, each part once what was yielded before is read as records."""
        while True:
            can_begin = self._can_begin()
            most = _TABLE_BYTES if can_begin and self._small_bytes <= 0 else BLOCK_BYTES
            data = await self._ahead(most, at_least=most if can_begin else 1)
            if not data:
                return
            table: T | None = None
            if can_begin and data.endswith(b"\n"):
                table = await in_thread(partial(self._table_of, data))
                if table is None and self._small_bytes <= 0 and len(data) > BLOCK_BYTES:
                    self._small_bytes = len(data)
                    continue
            self._small_bytes -= len(data)
            self._unread = self._unread[len(data) :]
            yield data if table is None else table

    async def _ahead(self, most: int, *, at_least: int) -> bytes:
        """The next bytes, at most so many: whole lines, where one ends in them."""
        # A record that is open ends in a few lines most often, and behind them a table can begin.
        if len(self._unread) < most and (len(self._unread) < at_least or b"\n" not in self._unread):
            self._unread += await self._blocks.read(most - len(self._unread))
        return self._unread[: self._unread.rfind(b"\n", 0, most) + 1 or most]
