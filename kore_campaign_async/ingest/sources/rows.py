"""What sources of rows of cells share: a header, columns, and what a run put in front of them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from attrs import evolve

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.escaping import restored
from kore_campaign_async.ingest.matching import is_number_name
from kore_campaign_async.ingest.records import BAD_ROW, Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.sources.base import (
    MANY_COLUMNS,
    MAPPING_COLUMNS,
    OUTCOME_COLUMNS,
    SLICE_RECORDS,
    Dialect,
    cells_by_name,
    cells_of,
    field_of,
    written_by_a_run,
)
from kore_campaign_async.ingest.sources.blocks import in_thread
from kore_campaign_async.ingest.sources.nesting import has_too_many_parts, is_line_too_nested
from kore_campaign_async.ingest.sources.phone_like import holds_number, only_number
from kore_campaign_async.ingest.sources.sheet_rows import SheetRows

#: Records that follow each other, and whether they are suspect.
Rows = tuple[Sequence[list[str] | Broken], bool]

# The reason of a contact that was not sent: a code, never the words of a server.
_OWN_REASON: Final = re.compile(r"[a-z_]+|duplicate of row [0-9]+", re.ASCII).fullmatch


class RowSource:
    """Yields rows of cells, in the order of the source's columns.

    A source that a run wrote (its first two columns are exactly `row,reason`) is read without these two, so
    that it can be mended and pushed again.

    Every record comes through `slices`, which is the only place that numbers one, in the order in which they were read.
    """

    #: Tells of a file's first record that it is no header, where a file may have none; it may be empty, then.
    is_headless: Callable[[Sequence[str]], bool] | None = None
    #: Whether the first record is one like all others. A file that a run wrote has a header all the same.
    no_header = False
    #: Source column to field, which overrules the usual names.
    column_map: Mapping[str, str] = MappingProxyType({})

    def __init__(self, name: str, path: Path | None) -> None:
        self.name = name
        self.path = path
        self.header: tuple[str, ...] | None = None
        self.columns: tuple[str, ...] = ()
        self.notices: tuple[str, ...] = ()
        self.dialects: tuple[Dialect, ...] = ()
        self.yields_tables = False
        self.total: int | None = None
        self.implied_map: Mapping[str, str] = {}
        self.sheet = SheetRows()
        self._stream = self._parsed()
        self._ahead: list[list[str] | Broken] = []
        self._ahead_suspect = False
        self._drop = 0
        self._row = 1
        self._mappings = False

    def _no_text(self) -> str:
        """What is wrong with a header that holds what no text holds."""
        return "can't be read: its first row holds what is no text"

    def _parsed(self) -> AsyncGenerator[Rows | TableSlice, None]:
        """Yield rows, the header first, and tables of them, whose rows are not numbered yet."""
        raise NotImplementedError

    async def open(self) -> None:
        """Read the header, and the first record behind it. SourceError tells what is wrong."""
        async for found in self._stream:
            assert not isinstance(found, TableSlice)  # noqa: S101  there are none before the columns are known
            self._ahead += found[0]
            self._ahead_suspect |= found[1]
            if len(self._ahead) > 1 and (not self.no_header or self._first() is not None):
                break
        if max(map(_width, self._ahead), default=0) <= MANY_COLUMNS:
            self._take_header()
        else:
            await in_thread(self._take_header)

    def _take_header(self) -> None:
        """Learn the columns from what stands ahead; it takes the longer the more of them there are."""
        header = self._header()
        self._drop, self.notices = written_by_a_run(self.name, header)
        self.columns = tuple(header[self._drop :])
        # Of a source of mappings: each record stands in the last column, as JSON.
        self._mappings = self._drop > 0 and self.columns == MAPPING_COLUMNS
        self.header = None if self._mappings else self.columns
        if self.columns == _numbered(len(self.columns)):
            first = self._first()
            at = None if first is None else only_number(first[self._drop :])
            self.implied_map = {} if at is None else {str(at + 1): wire.PHONE_NUMBER}

    def _header(self) -> list[str]:
        """The names of all columns, those of a run included; what stands ahead are the records behind them."""
        if not self._ahead and self.is_headless is None:
            raise SourceError(f"{self.name} is empty: it needs {'' if self.no_header else 'a header and '}contacts")
        first = self._first()
        if self.no_header and first is None:
            raise SourceError(f"{self.name} has no row that can be read: mend its quotes")
        if self.no_header and first is not None and not written_by_a_run(self.name, first)[0]:
            self._refuse_what_is_no_text(first)
            self.sheet.headers = 0
            return list(_numbered(len(first)))
        header = self._ahead.pop(0) if self._ahead else [wire.PHONE_NUMBER]
        if isinstance(header, Broken):
            raise SourceError(
                f"the header of {self.name} can't be read: it has a quote that never closes, or text behind a"
                " closing one"
            )
        self._refuse_what_is_no_text(header)
        if self.is_headless is not None:
            if self.is_headless(_without_empty_end(header)):
                self._ahead.insert(0, header)
                self.sheet.headers = 0
                return [wire.PHONE_NUMBER]
        elif holds_number(header):
            raise SourceError(
                f"{self.name}: this file has no header; give --no-header (its first row holds a phone number; its"
                " columns are then called 1, 2, …)"
                if header[: len(OUTCOME_COLUMNS)] != list(OUTCOME_COLUMNS)
                else f"{self.name}: the run that wrote this file took a contact for the header; push the file that the"
                " run read anew, with --no-header"
            )
        elif not self._ahead:
            raise SourceError(f"{self.name} has a header and no contacts")
        return header

    def _first(self) -> list[str] | None:
        """The first record that stands ahead and is whole."""
        return next((record for record in self._ahead if isinstance(record, list)), None)

    def _refuse_what_is_no_text(self, cells: Sequence[str]) -> None:
        if not _is_clean("".join(cells)):
            raise SourceError(f"{self.name} {self._no_text()}")

    def _number_column(self, first: Sequence[str]) -> int | None:
        """Which column is the number's, as far as the first record tells."""
        drop, _ = written_by_a_run(self.name, first)
        names = _numbered(len(first)) if self.no_header and not drop else tuple(first)
        mapped = [name for name, field in self.column_map.items() if is_number_name(field)]
        at = [index for index, name in enumerate(names) if (name in mapped if mapped else is_number_name(name))]
        if not at and self.no_header:
            return only_number(first)
        return at[0] if len(at) == 1 else None

    async def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        ahead, self._ahead = self._ahead, []
        for part in _parts(ahead):
            yield self._slice(part, suspect=self._ahead_suspect)
        async for found in self._stream:
            if isinstance(found, TableSlice):
                row, self._row = self._row, self._row + len(found)
                yield evolve(found, first=row)
                continue
            records, suspect = found
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
            return Slice(row, [_unpacked(record, self.column_map) for record in own], suspect=True)
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

    def spreadsheet_row(self, row: int) -> int | None:
        """A record's row as a spreadsheet counts it, the header and blank rows included; None where it is not kept."""
        return self.sheet.row_of(row)


def _parts(items: Sequence[list[str] | Broken]) -> Iterator[Sequence[list[str] | Broken]]:
    if 0 < len(items) <= SLICE_RECORDS:
        yield items
        return
    for start in range(0, len(items), SLICE_RECORDS):
        yield items[start : start + SLICE_RECORDS]


def _width(record: list[str] | Broken) -> int:
    return len(record) if isinstance(record, list) else 0


def _holds_escapes(cells: list[str] | Broken) -> bool:
    """Whether a row that a run wrote can hold its escapes: what the API was asked about was text."""
    if isinstance(cells, Broken) or len(cells) < 2:  # noqa: PLR2004  row and reason
        return False
    return _OWN_REASON(cells[1].strip()) is not None and any("\\" in cell for cell in cells)


def _numbered(columns: int) -> tuple[str, ...]:
    """What columns are called that have no names."""
    return tuple(str(index + 1) for index in range(columns))


def _without_empty_end(cells: Sequence[str]) -> Sequence[str]:
    while cells and not cells[-1].strip():
        cells = cells[:-1]
    return cells


def _unpacked(cells: list[str] | Broken, column_map: Mapping[str, str]) -> Record:
    """A mapping that a run wrote: its known fields as the cells say, all else as its JSON does."""
    if isinstance(cells, Broken):
        return cells
    padded = cells + [""] * (len(MAPPING_COLUMNS) - len(cells))
    if has_too_many_parts(padded[-1]):
        return Broken(BAD_ROW, padded[-1])
    try:
        record = wire.loads(padded[-1]) if padded[-1] else {}
    except (ValueError, TypeError):
        record = _spelt_otherwise(padded[-1])
    if not isinstance(record, dict) or is_line_too_nested(padded[-1], record):
        return Broken(BAD_ROW, padded[-1])
    known = {name: cell for name, cell in zip(wire.CONTACT_FIELDS, padded, strict=False) if cell}
    if not known:
        return record
    return {
        name: value for name, value in record.items() if field_of(name, column_map) not in wire.CONTACT_FIELDS
    } | known


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
