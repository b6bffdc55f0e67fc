"""What every source offers to the pipeline, and what sources of mappings share."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeVar

import orjson
from attrs import frozen

from kore_campaign_async import wire
from kore_campaign_async.callbacks import CallbackError, called, contained
from kore_campaign_async.ingest.matching import usual_field
from kore_campaign_async.ingest.records import Broken, Record, Slice, TableSlice

T = TypeVar("T")

#: How many records a slice has at most: so few that the event loop gets its turn every few milliseconds.
SLICE_RECORDS: Final = 500

#: From how many columns on a header is worked on off the event loop.
MANY_COLUMNS: Final = 1000

#: What outcome files show of records that are mappings: the known fields, then all of it as JSON.
MAPPING_COLUMNS: Final = (*wire.CONTACT_FIELDS, "record")

#: What a file that a run wrote has in front of the source's own columns.
OUTCOME_COLUMNS: Final = ("row", "reason")


@frozen
class Dialect:
    """How a file is read; None is what is found out.

    Attributes:
        encoding: of its text, as Python names it.
        delimiter: what parts the cells of a line.
        sheet: of a workbook.
        no_header: whether the first row is a contact, and the columns are called `1`, `2`, ….
    """

    encoding: str | None = None
    delimiter: str | None = None
    sheet: str | None = None
    no_header: bool = False


class Source(Protocol):
    """A source of contacts, read once from its beginning.

    Attributes:
        name: how reports name it.
        path: of a file, which can be read again; None for anything else.
        header: the names of its columns, after `open`; None where records are mappings.
        columns: what outcome files show of a record, after `open`.
        notices: what a person should know of how it is read, after `open`.
        dialects: how each of its files is read, after `open`, as far as that is found out by then.
        yields_tables: whether a slice can be one of a table, after `open`.
        total: how many records it has, after `open`, where it knows before they are read.
        implied_map: column to field, after `open`, where no name but a cell tells it: of a file without a header.
    """

    name: str
    path: Path | None
    header: tuple[str, ...] | None
    columns: tuple[str, ...]
    notices: tuple[str, ...]
    dialects: tuple[Dialect, ...]
    yields_tables: bool
    total: int | None
    implied_map: Mapping[str, str]

    async def open(self) -> None:
        """Read as far as the header. SourceError tells what is wrong."""
        ...

    def slices(self) -> AsyncGenerator[Slice | TableSlice, None]:
        """Yield the records, and let the event loop have its turn between slices."""
        ...

    def rest(self) -> Sequence[Record]:
        """Records that were taken but not yielded, once `slices` was closed before its end."""
        ...

    def fraction(self) -> float | None:
        """How much is read, 0.0 to 1.0; None where nobody can know."""
        ...

    def cells(self, record: Record) -> Sequence[str]:
        """A record as the cells of `columns`."""
        ...

    def fields(self, record: Record) -> Mapping[str, Any]:
        """A record by the source's own names."""
        ...

    def spreadsheet_row(self, row: int) -> int | None:
        """A record's row as a spreadsheet counts it; None where there is none, or it is not known."""
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...


def written_by_a_run(name: str, columns: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """How many of a source's columns a run put in front of its own, and what to say of that."""
    if tuple(columns[: len(OUTCOME_COLUMNS)]) != OUTCOME_COLUMNS:
        return 0, ()
    return len(OUTCOME_COLUMNS), (f"{name} was written by a run: its columns row and reason are left out",)


async def next_or_none(slices: AsyncIterator[T]) -> T | None:
    """The next one, or None behind the last.

    Raises:
        CallbackError: what is no Exception came out of the program's own iterable, such as a cancellation of its own.
    """
    return await contained(lambda: anext(slices, None))


async def one_ahead(slices: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
    """Yield the same, and let the next one be made while the last one is worked on."""
    following = asyncio.ensure_future(next_or_none(slices))
    try:
        while (part := await following) is not None:
            following = asyncio.ensure_future(next_or_none(slices))
            yield part
    finally:
        try:
            await let_go(following)
        finally:
            await slices.aclose()


async def let_go(task: asyncio.Future[Any]) -> None:
    """Cancel what nobody waits for any more, and see its end, however often this is cancelled meanwhile."""
    task.cancel()
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait((task,))
        raise
    finally:
        if not task.cancelled():
            task.exception()  # nobody asks for it any more


class MappingSource:
    """What sources of mappings share: they have no header, and outcome files show the known fields and the JSON."""

    yields_tables = False
    total: int | None = None
    dialects: tuple[Dialect, ...] = (Dialect(),)
    #: Source column to field, as far as it overrules the usual names.
    column_map: Mapping[str, str] = MappingProxyType({})
    implied_map: Mapping[str, str] = MappingProxyType({})

    def __init__(self, name: str, path: Path | None = None) -> None:
        self.name = name
        self.path = path
        self.header: tuple[str, ...] | None = None
        self.columns: tuple[str, ...] = MAPPING_COLUMNS
        self.notices: tuple[str, ...] = ()

    def rest(self) -> Sequence[Record]:
        """Nothing, as long as a record is yielded with the slice it was taken in."""
        return ()

    def spreadsheet_row(self, row: int) -> int | None:  # noqa: ARG002  what other sources need
        """None: objects stand in no spreadsheet."""
        return None

    def cells(self, record: Record) -> Sequence[str]:
        """The known fields, then the record as JSON."""
        return mapping_cells(record, self.column_map)

    def fields(self, record: Record) -> Mapping[str, Any]:
        """The mapping itself; of a record that could not be read, its text."""
        return record if isinstance(record, Mapping) else {"record": mapping_cells(record)[-1]}


def cells_of(record: Record, column_map: Mapping[str, str] = MappingProxyType({})) -> Sequence[str]:
    """A record of a file as the cells of its columns."""
    if isinstance(record, Broken):
        return [record.text]
    return record if isinstance(record, list) else mapping_cells(record, column_map)


def cells_by_name(record: Record, columns: Sequence[str]) -> Mapping[str, Any]:
    """A record's cells by column; those behind the last column, by their number."""
    if isinstance(record, Mapping):
        return record
    cells = cells_of(record)
    names = [*columns, *(str(index + 1) for index in range(len(columns), len(cells)))]
    return dict(zip(names, cells, strict=False))


def field_of(name: str, column_map: Mapping[str, str]) -> str:
    """The field that a key is, by what was said of it or by its usual name; the key itself where it is none."""
    if name in column_map:
        return usual_field(column_map[name])
    field = usual_field(name)
    return name if field in map(usual_field, column_map.values()) and name != field else field


def mapping_cells(record: Record, column_map: Mapping[str, str] = MappingProxyType({})) -> list[str]:
    """A mapping as the cells of `MAPPING_COLUMNS`, its fields found as they are when it is sent."""
    if isinstance(record, Broken):
        return [""] * len(wire.CONTACT_FIELDS) + [record.text]
    assert isinstance(record, Mapping)  # noqa: S101  a source of mappings makes no lists
    known = {field_of(key, column_map): value for key, value in record.items() if isinstance(key, str)}
    return [*(_cell(known.get(field)) for field in wire.CONTACT_FIELDS), as_json(record)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else as_json(value)


def as_json(value: Any) -> str:
    """A value as JSON, or its repr where it has none."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # it has no form in JSON, such as text that is not Unicode
        pass
    try:
        return called(json.dumps, value, default=str)
    except CallbackError:  # the caller's own object, or an integer of more digits than Python writes
        return shown(value)


def shown(value: Any) -> str:
    """A value's repr, or its type where it has none."""
    try:
        return called(repr, value)
    except CallbackError:  # the caller's own object, or an integer of more digits than Python writes
        return f"<{type(value).__name__}>"
