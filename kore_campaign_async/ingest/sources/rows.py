"""What sources of rows of cells share: a header, columns, and what a run put in front of them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.escaping import restored
from kore_campaign_async.ingest.matching import usual_field
from kore_campaign_async.ingest.records import BAD_ROW, Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.sources.base import (
    MAPPING_COLUMNS,
    SLICE_RECORDS,
    Dialect,
    cells_by_name,
    cells_of,
    written_by_a_run,
)

# The reason of a contact that was not sent: a code, never the words of a server.
_OWN_REASON: Final = re.compile(r"[a-z_]+|duplicate of row [0-9]+", re.ASCII).fullmatch


class RowSource:
    """Yields rows of cells, in the order of the source's columns.

    A source that a run wrote (its first two columns are exactly `row,reason`) is read without these two, so
    that it can be mended and pushed again.
    """

    #: Tells of a file's first record that it is no header, where a file may have none; it may be empty, then.
    is_headless: Callable[[Sequence[str]], bool] | None = None

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.path = path
        self.header: tuple[str, ...] | None = None
        self.columns: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self.dialects: tuple[Dialect, ...] = ()
        self.yields_tables = False
        self.total: int | None = None
        self._stream = self._parsed()
        self._ahead: list[list[str] | Broken] = []
        self._ahead_suspect = False
        self._drop = 0
        self._row = 1
        self._mappings = False

    def _no_text(self) -> str:
        """What is wrong with a header that holds what no text holds."""
        return "can't be read: its first row holds what is no text"

    def _parsed(self) -> AsyncGenerator[tuple[Sequence[list[str] | Broken], bool], None]:
        """Yield rows, the header first, and whether they are suspect."""
        raise NotImplementedError

    async def open(self) -> None:
        """Read the header, and the first record behind it. SourceError tells what is wrong."""
        async for records, suspect in self._stream:
            self._ahead += records
            self._ahead_suspect |= suspect
            if len(self._ahead) > 1:
                break
        if not self._ahead and self.is_headless is None:
            raise SourceError(f"{self.name} is empty: it needs a header and contacts")
        header = self._ahead.pop(0) if self._ahead else [wire.PHONE_NUMBER]
        if isinstance(header, Broken):
            raise SourceError(f"the header of {self.name} can't be read: it has a quote that never closes")
        if not _is_clean("".join(header)):
            raise SourceError(f"{self.name} {self._no_text()}")
        if self.is_headless is not None and self.is_headless(header):
            self._ahead.insert(0, header)
            header = [wire.PHONE_NUMBER]
        elif not self._ahead and self.is_headless is None:
            raise SourceError(f"{self.name} has a header and no contacts")
        self._drop, self.notices = written_by_a_run(self.name, header)
        self.columns = tuple(header[self._drop :])
        # Of a source of mappings: each record stands in the last column, as JSON.
        self._mappings = self._drop > 0 and self.columns == MAPPING_COLUMNS
        self.header = None if self._mappings else self.columns

    async def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        ahead, self._ahead = self._ahead, []
        for part in _parts(ahead):
            yield self._slice(part, suspect=self._ahead_suspect)
        async for records, suspect in self._stream:
            for part in _parts(records):
                yield self._slice(part, suspect=suspect)

    def _slice(self, part: Sequence[list[str] | Broken], *, suspect: bool) -> Slice:
        """A slice of the source's own records, without what a run added to them."""
        row = self._row
        self._row += len(part)
        if not self._drop:
            return Slice(row, part, suspect)
        own = [record if isinstance(record, Broken) else self._own(record) for record in part]
        if self._mappings:
            # JSON can spell what its line does not show.
            return Slice(row, [_unpacked(record) for record in own], suspect=True)
        return Slice(row, own, suspect or any(map(_holds_escapes, part)))

    def _own(self, cells: list[str]) -> list[str]:
        """A row's own cells; what was no text there, and is not mended, is none again."""
        own = cells[self._drop :]
        if not _holds_escapes(cells):
            return own
        # JSON has escapes of its own, which tell as much.
        last = len(MAPPING_COLUMNS) - 1 if self._mappings else len(own)
        return [*map(restored, own[:last]), *own[last:]]

    def rest(self) -> Sequence[Record]:
        """Nothing: a file's records are taken slice by slice."""
        return ()

    def cells(self, record: Record) -> Sequence[str]:
        """A record's cells as they stood there."""
        return cells_of(record)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """A record's cells by column; those behind the last column, by their number."""
        return cells_by_name(record, self.columns)


def _parts(items: Sequence[list[str] | Broken]) -> Iterator[Sequence[list[str] | Broken]]:
    if 0 < len(items) <= SLICE_RECORDS:
        yield items
        return
    for start in range(0, len(items), SLICE_RECORDS):
        yield items[start : start + SLICE_RECORDS]


def _holds_escapes(cells: list[str] | Broken) -> bool:
    """Whether a row that a run wrote can hold its escapes: what the API was asked about was text."""
    if isinstance(cells, Broken) or len(cells) < 2:  # noqa: PLR2004  row and reason
        return False
    return _OWN_REASON(cells[1].strip()) is not None and any("\\" in cell for cell in cells)


def _unpacked(cells: list[str] | Broken) -> Record:
    """A mapping that a run wrote: its known fields as the cells say, all else as its JSON does."""
    if isinstance(cells, Broken):
        return cells
    padded = cells + [""] * (len(MAPPING_COLUMNS) - len(cells))
    try:
        record = wire.loads(padded[-1]) if padded[-1] else {}
    except (ValueError, TypeError):
        record = _spelt_otherwise(padded[-1])
    if not isinstance(record, dict):
        return Broken(BAD_ROW, padded[-1])
    known = {name: cell for name, cell in zip(wire.CONTACT_FIELDS, padded, strict=False) if cell}
    if not known:
        return record
    return {name: value for name, value in record.items() if usual_field(name) not in wire.CONTACT_FIELDS} | known


def _spelt_otherwise(text: str) -> Any:
    """An object whose values are no text, which only the stdlib reads; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_clean(text: str) -> bool:
    """Whether a text is Unicode without NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
