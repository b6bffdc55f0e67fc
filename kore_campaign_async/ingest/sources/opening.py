"""Which source a caller means: a path, `-`, a table, or contacts of their own."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, Final, Protocol

from attrs import field, frozen

from kore_campaign_async.config import Files
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.sources.base import Dialect, MappingSource, Source
from kore_campaign_async.ingest.sources.blocks import Blocks, in_thread
from kore_campaign_async.ingest.sources.csv_file import CsvFile
from kore_campaign_async.ingest.sources.encodings import UTF_8
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.ndjson_file import NdjsonFile
from kore_campaign_async.ingest.sources.objects import Objects
from kore_campaign_async.ingest.sources.packed import SUFFIXES
from kore_campaign_async.ingest.sources.rows import RowSource
from kore_campaign_async.ingest.sources.several import SeveralFiles


class ArrowTable(Protocol):
    """A table that speaks Arrow's C stream."""

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The stream's capsule."""
        ...


class LazyTable(Protocol):
    """A table that is not computed yet: a LazyFrame."""

    def collect_batches(self) -> Any:
        """Compute it part by part."""
        ...


Contacts = str | os.PathLike[str] | Files | ArrowTable | LazyTable | Iterable[Any] | AsyncIterable[Any]

_TABLES_FROM_BYTES: Final = 4 << 20
_MAGIC: Final = {
    "Parquet": (b"PAR1", "a Parquet"),
    "Arrow": (b"ARROW1", "an Arrow"),
    "XLSX": (b"PK\3\4", "an XLSX"),
    "OLE": (b"\xd0\xcf\x11\xe0", "an old Excel file (.xls)"),
}
_NDJSON_SUFFIXES: Final = {".ndjson", ".jsonl"}


@frozen
class Input:
    """A file, or standard input, and what is known of how to read it.

    Attributes:
        path: None for standard input.
        held: the file at the path, which holds the same each time it is read; None for standard input.
    """

    path: Path | None
    dialect: Dialect = field(factory=Dialect)
    held: HeldFile | None = field(init=False, eq=False)

    @held.default
    def _held(self) -> HeldFile | None:
        return None if self.path is None else HeldFile(self.path)


Guesses = Sequence[Callable[[], Awaitable[str]]]


def inputs_of(given: Contacts | tuple[Input, ...]) -> tuple[Input, ...] | None:
    """The files that are meant; None if no files are. SourceError if they don't go together."""
    if isinstance(given, str | os.PathLike):
        given = Files(given)
    if isinstance(given, tuple) and given and isinstance(given[0], Input):
        return given
    if not isinstance(given, Files):
        return None
    dialect = Dialect(given.encoding, given.delimiter, given.sheet, given.no_header)
    inputs = tuple(Input(None if str(path) == "-" else path, dialect) for path in given.paths)
    if len(inputs) > 1:
        if any(one.path is None for one in inputs):
            raise SourceError("standard input is pushed by itself, not among files")
        seen: set[Path] = set()
        for one in inputs:
            path = one.path.absolute() if one.path is not None else Path()
            if path in seen:
                raise SourceError(f"{one.path} is named twice; name each file once")
            seen.add(path)
    return inputs


async def open_source(
    given: Contacts | tuple[Input, ...],
    guesses: Guesses = (),
    *,
    is_headless: Callable[[Sequence[str]], bool] | None = None,
    column_map: Mapping[str, str] = MappingProxyType({}),
) -> Source:
    """Open a source, and read it as far as its header.

    Args:
        given: the path of a CSV, NDJSON, Parquet, Arrow or XLSX file, `-` for standard input, several of them as
            `Files`, a table, or any iterable or async iterable of `Contact`, mappings or numbers as text.
        guesses: for each file, how to ask for its encoding, which is UTF-8 without them.
        is_headless: of a CSV file that may have no header, or nothing at all: tells whether its first record is none.
        column_map: source column to field, as far as it overrules the usual names.

    Raises:
        SourceError: it can't be read as it is.
    """
    inputs = inputs_of(given)
    source: Source
    if inputs is not None:
        asking: Guesses = guesses or [_utf_8] * len(inputs)
        if len(inputs) == 1:
            return await _open_file(inputs[0], asking[0], is_headless=is_headless, column_map=column_map)
        source = SeveralFiles(
            [partial(_open_file, one, guess, column_map=column_map) for one, guess in zip(inputs, asking, strict=True)]
        )
    # Frames are iterables too, of their columns.
    elif hasattr(given, "__arrow_c_stream__") or type(given).__module__.partition(".")[0] == "polars":
        source = (await _tables(f"a {type(given).__name__}")).table_of_object(given)
    elif isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Iterable | AsyncIterable):
        path = "; a path in bytes is one by os.fsdecode" if isinstance(given, bytes) else ""
        raise SourceError(
            f"contacts come from a path, an iterable or an async iterable, not from {type(given).__name__}{path}"
        )
    else:
        source = Objects(given)
        source.column_map = column_map
    await source.open()
    return source


def engine(source: Source) -> dict[str, str | None]:
    """What reads a source: by tables or record by record, and the versions that decide how. It takes its time."""
    # Its import takes longer than all that it is asked for.
    from importlib.metadata import version  # noqa: PLC0415

    return {
        "engine": "tables" if source.yields_tables else "records",
        "polars": version("polars") if source.yields_tables else None,
        "version": version("kore-campaign-async"),
    }


async def _utf_8() -> str:
    return UTF_8


async def _open_file(
    one: Input,
    guess: Callable[[], Awaitable[str]],
    dialect: Dialect | None = None,
    *,
    is_headless: Callable[[Sequence[str]], bool] | None = None,
    column_map: Mapping[str, str],
) -> Source:
    dialect = dialect or one.dialect
    blocks = Blocks(one.held, dialect.encoding, guess)
    source: Source | None = None
    try:
        source = await _of_kind(one, blocks, dialect)
        _tell(source, dialect, is_headless, column_map)
        await source.open()
    except BaseException:
        blocks.close()
        if source is not None:
            source.close()
        raise
    return source


def _tell(
    source: Source,
    dialect: Dialect,
    is_headless: Callable[[Sequence[str]], bool] | None,
    column_map: Mapping[str, str],
) -> None:
    """Tell a source of rows what is known of its header. SourceError if another one is said to have none."""
    if isinstance(source, MappingSource):
        source.column_map = column_map
    if isinstance(source, RowSource):
        source.is_headless = is_headless
        source.no_header, source.column_map = dialect.no_header, column_map
    elif dialect.no_header:
        kind = "objects" if isinstance(source, MappingSource) else "a table"
        raise SourceError(f"{source.name} is {kind}, which has names for all its columns: leave --no-header out")


async def _of_kind(one: Input, blocks: Blocks, dialect: Dialect) -> Source:
    """The source that reads what is in a file."""
    first = await blocks.open()
    kind = _kind(one.path, first)
    if kind in _MAGIC:
        blocks.close()
        return await _by_another(one.held, kind, blocks, dialect)
    if dialect.sheet is not None:
        raise SourceError(f"{blocks.name} has no sheets; leave --sheet out")
    return await _lines(kind, blocks, first, dialect.delimiter)


async def _by_another(held: HeldFile | None, kind: str, blocks: Blocks, dialect: Dialect) -> Source:
    """A file that another library reads, from its path."""
    what = _MAGIC[kind][1]
    if kind == "OLE":
        raise SourceError(
            f"{blocks.name} is {what}, or protected by a password: open it in a spreadsheet program, and save it"
            " as .xlsx or CSV, without a password"
        )
    if held is None or blocks.path is None:
        raise SourceError(f"{blocks.name} holds {what} file, which can't be read from a pipe: name its path")
    if blocks.is_packed:
        raise SourceError(f"{blocks.name} holds {what} file: unpack it, and push that")
    made: Source
    if kind == "XLSX":
        try:
            made = (await in_thread(_xlsx_module)).XlsxFile(held, dialect.sheet)
        except ImportError:
            raise SourceError(
                f"{blocks.name} is {what} file, which needs the extra xlsx: pip install 'kore-campaign-async[xlsx]'"
            ) from None
        return made
    made = (await _tables(f"{blocks.name} is {what} file, which")).table_file(held, kind)
    return made


async def _lines(kind: str, blocks: Blocks, first: bytes, delimiter: str | None) -> CsvFile | NdjsonFile:
    """A CSV or NDJSON file, large ones by tables if they can be."""
    # Below that, importing polars takes longer than it saves. Standard input has no size.
    if blocks.size < _TABLES_FROM_BYTES or find_spec("polars") is None:
        return NdjsonFile(blocks, first) if kind == "NDJSON" else CsvFile(blocks, first, delimiter)
    modules = await in_thread(_table_modules)
    made: CsvFile | NdjsonFile
    if kind == "NDJSON":
        made = modules.ndjson.NdjsonTables(blocks, first)
    else:
        made = modules.csv.CsvTables(blocks, first, delimiter)
    return made


async def _tables(what: str) -> ModuleType:
    """The module for tables; SourceError if the extra is missing."""
    try:
        return (await in_thread(_table_modules)).tables
    except ImportError:
        raise SourceError(f"{what} needs the extra tables: pip install 'kore-campaign-async[tables]'") from None


@frozen
class _TableModules:
    csv: ModuleType
    ndjson: ModuleType
    tables: ModuleType


def _table_modules() -> _TableModules:
    # Who pushes no tables needs no polars, and its import takes too long for the event loop.
    from kore_campaign_async.ingest.sources import csv_tables, ndjson_tables, tables  # noqa: PLC0415

    return _TableModules(csv_tables, ndjson_tables, tables)


def _xlsx_module() -> ModuleType:
    # Who pushes no workbook needs no library for it.
    from kore_campaign_async.ingest.sources import xlsx_file  # noqa: PLC0415

    return xlsx_file


def _kind(path: Path | None, first: bytes) -> str:
    """What is in a file, by its beginning, and by its name where that does not tell."""
    for kind, (mark, _) in _MAGIC.items():
        if first.startswith(mark):
            return kind
    if re.match(rb"\s*\[\s*\{", first.removeprefix(codecs.BOM_UTF8)) is not None:
        raise SourceError(
            f"{'standard input' if path is None else path} is a JSON array; write one object on each line instead, such"
            " as with jq -c '.[]'"
        )
    # No header begins with a brace.
    is_json = first.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
    suffixes = [] if path is None else [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in SUFFIXES:
        suffixes.pop()
    return "NDJSON" if is_json or (suffixes and suffixes[-1] in _NDJSON_SUFFIXES) else "CSV"
