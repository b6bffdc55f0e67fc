"""Which source a caller means: a path, `-`, a table, or contacts of their own."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterable, Callable, Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from attrs import frozen

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.sources.base import Source
from kore_campaign_async.ingest.sources.blocks import Blocks, in_thread
from kore_campaign_async.ingest.sources.csv_file import CsvFile
from kore_campaign_async.ingest.sources.ndjson_file import NdjsonFile
from kore_campaign_async.ingest.sources.objects import Objects


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


Contacts = str | Path | ArrowTable | LazyTable | Iterable[Any] | AsyncIterable[Any]

_TABLES_FROM_BYTES: Final = 4 << 20
_MAGIC: Final = {"Parquet": (b"PAR1", "a Parquet"), "Arrow": (b"ARROW1", "an Arrow")}
_NDJSON_SUFFIXES: Final = {".ndjson", ".jsonl"}


async def open_source(given: Contacts, *, is_headless: Callable[[Sequence[str]], bool] | None = None) -> Source:
    """Open a source, and read it as far as its header.

    Args:
        given: the path of a CSV, NDJSON, Parquet or Arrow file, `-` for standard input, a table, or any iterable
            or async iterable of `Contact`, mappings or numbers as text.
        is_headless: of a CSV file that may have no header, or nothing at all: tells whether its first record is none.

    Raises:
        SourceError: it can't be read as it is.
    """
    source: Source
    if isinstance(given, str | Path):
        path = None if str(given) == "-" else Path(given)
        blocks = Blocks(path)
        try:
            first = await blocks.open()
            kind = _kind(path, first)
            if path is not None and kind in _MAGIC:
                blocks.close()
                source = (await _tables(f"{blocks.name} is {_MAGIC[kind][1]} file, which")).table_file(path, kind)
            else:
                source = await _lines(kind, blocks, first)
                if isinstance(source, CsvFile):
                    source.is_headless = is_headless
            await source.open()
        except BaseException:
            blocks.close()
            raise
        return source
    # Frames are iterables too, of their columns.
    if hasattr(given, "__arrow_c_stream__") or type(given).__module__.partition(".")[0] == "polars":
        source = (await _tables(f"a {type(given).__name__}")).table_of_object(given)
        await source.open()
        return source
    if isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Iterable | AsyncIterable):
        raise SourceError(
            f"contacts come from a path, an iterable or an async iterable, not from {type(given).__name__}"
        )
    source = Objects(given)
    await source.open()
    return source


async def _lines(kind: str, blocks: Blocks, first: bytes) -> CsvFile | NdjsonFile:
    """A CSV or NDJSON file, large ones by tables if they can be."""
    # Below that, importing polars takes longer than it saves. Standard input has no size.
    if blocks.size < _TABLES_FROM_BYTES or find_spec("polars") is None:
        return NdjsonFile(blocks, first) if kind == "NDJSON" else CsvFile(blocks, first)
    modules = await in_thread(_table_modules)
    made: CsvFile | NdjsonFile
    made = modules.ndjson.NdjsonTables(blocks, first) if kind == "NDJSON" else modules.csv.CsvTables(blocks, first)
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


def _kind(path: Path | None, first: bytes) -> str:
    """What is in a file, by its beginning, and by its name where that does not tell."""
    for kind, (mark, _) in _MAGIC.items():
        if first.startswith(mark):
            return kind
    # No header begins with a brace.
    is_json = first.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
    return "NDJSON" if is_json or (path is not None and path.suffix.lower() in _NDJSON_SUFFIXES) else "CSV"
