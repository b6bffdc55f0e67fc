"""An NDJSON file, or NDJSON on standard input: a JSON object a line."""

from __future__ import annotations

import asyncio
import codecs
import json
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing
from functools import partial
from typing import Any, Final

from attrs import evolve

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.phone_text import TypedText
from kore_campaign_async.ingest.records import BAD_ROW, Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS, MappingSource
from kore_campaign_async.ingest.sources.blocks import Blocks, LineCutter, are_clean, in_thread
from kore_campaign_async.ingest.sources.csv_quotes import CELL_CHARACTERS
from kore_campaign_async.ingest.sources.nesting import has_too_many_parts, is_line_too_nested

_LONG_CHARACTERS: Final = 1 << 20


class NdjsonFile(MappingSource):
    """Yields an NDJSON file's objects. Blank lines are none; a line that is no object is a `bad_row`."""

    def __init__(self, blocks: Blocks, first: bytes) -> None:
        super().__init__(blocks.name, blocks.path)
        self._blocks = blocks
        self._block = first
        self._cutter = LineCutter()
        self._row = 1  # the next record's

    async def open(self) -> None:
        """Check that there is something to read."""
        # A pipe can hand over blanks first.
        while self._block and not self._block.removeprefix(codecs.BOM_UTF8).strip():
            self._cutter.feed(self._block)
            self._block = await self._blocks.read()
        if not self._block:
            raise SourceError(f"{self.name} is empty: it needs a JSON object a line")

    async def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        async with aclosing(self._ranges()) as ranges:
            async for data in ranges:
                if isinstance(data, TableSlice):
                    yield evolve(data, first=self._next_row(len(data)))
                    continue
                for part in await self._cut(partial(self._cutter.feed, data)):
                    yield part
                    await asyncio.sleep(0)
        for part in await self._cut(self._cutter.flush):
            yield part
            await asyncio.sleep(0)

    async def _cut(self, lines: Callable[[], list[str]]) -> Iterable[Slice]:
        """The slices of the next lines, made in a thread where one of them is of megabytes."""
        if self._cutter.held <= _LONG_CHARACTERS:
            return self._of_lines(lines())
        return await in_thread(lambda: list(self._of_lines(lines())))

    async def _ranges(self) -> AsyncGenerator[bytes | TableSlice, None]:
        """Yield what the file holds, as bytes, or as tables whose rows are not numbered yet."""
        while self._block:
            yield self._block
            self._block = await self._blocks.read()

    def _of_lines(self, lines: list[str]) -> Iterator[Slice]:
        lines = [line for line in lines if not line.isspace()]
        for start in range(0, len(lines), SLICE_RECORDS):
            part = lines[start : start + SLICE_RECORDS]
            records = [record_of(line) for line in part]
            suspect = not are_clean(part) or any("\\u0000" in line for line in part)
            yield Slice(self._next_row(len(records)), records, suspect)

    def _next_row(self, rows: int) -> int:
        """The number of the next row, of so many that are taken now."""
        first, self._row = self._row, self._row + rows
        return first

    def fraction(self) -> float | None:
        """How much of the file is read."""
        return self._blocks.fraction()

    def close(self) -> None:
        """Close the file."""
        self._blocks.close()


def record_of(line: str) -> Record:
    """Read a line as an object, or as what it is instead."""
    try:
        value = None if has_too_many_parts(line) else wire.loads(line)
    except (ValueError, TypeError):  # TypeError: bytes that were not UTF-8
        value = None
    if is_line_too_nested(line, value):
        value = None
    if isinstance(value, dict) and any(isinstance(one, float) for one in value.values()):
        value = _exactly(line)
    return value if isinstance(value, dict) else Broken(BAD_ROW, line[:CELL_CHARACTERS].rstrip("\r\n"))


def _exactly(line: str) -> Any:
    """Read with the stdlib, which keeps integers beyond 64 bits; orjson makes floats of them."""
    try:
        return json.loads(line, parse_float=_float)
    except (ValueError, RecursionError):  # more digits than Python reads, or a caller that stands deep itself
        return None


def _float(text: str) -> float | TypedText:
    """A fraction; one with an exponent as it is written, since that may have lost digits of a number."""
    return TypedText(text) if "e" in text or "E" in text else float(text)
