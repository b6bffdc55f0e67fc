"""Which source a caller means: a path, `-`, or contacts of their own."""

from __future__ import annotations

import codecs
from collections.abc import AsyncIterable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.sources.base import Source
from kore_campaign_async.ingest.sources.blocks import Blocks
from kore_campaign_async.ingest.sources.csv_file import CsvFile
from kore_campaign_async.ingest.sources.ndjson_file import NdjsonFile
from kore_campaign_async.ingest.sources.objects import Objects

Contacts = str | Path | Iterable[Any] | AsyncIterable[Any]

_TABLES_FROM_BYTES: Final = 4 << 20
_NDJSON_SUFFIXES: Final = {".ndjson", ".jsonl"}


async def open_source(given: Contacts) -> Source:
    """Open a source, and read it as far as its header.

    Args:
        given: the path of a CSV or NDJSON file, `-` for standard input, or any iterable or async iterable of
            `Contact`, mappings or numbers as text.

    Raises:
        SourceError: it can't be read as it is.
    """
    source: Source
    if isinstance(given, str | Path):
        path = None if str(given) == "-" else Path(given)
        blocks = Blocks(path)
        try:
            first = await blocks.open()
            source = NdjsonFile(blocks, first) if _is_ndjson(path, first) else _csv(blocks, first)
            await source.open()
        except BaseException:
            blocks.close()
            raise
        return source
    if isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Iterable | AsyncIterable):
        raise SourceError(
            f"contacts come from a path, an iterable or an async iterable, not from {type(given).__name__}"
        )
    source = Objects(given)
    await source.open()
    return source


def _csv(blocks: Blocks, first: bytes) -> CsvFile:
    """A CSV file, large ones by tables if they can be."""
    # Below that, importing polars takes longer than it saves. Standard input has no size.
    if blocks.size < _TABLES_FROM_BYTES or find_spec("polars") is None:
        return CsvFile(blocks, first)
    # Who pushes no tables needs no polars.
    from kore_campaign_async.ingest.sources.csv_tables import CsvTables  # noqa: PLC0415

    return CsvTables(blocks, first)


def _is_ndjson(path: Path | None, first: bytes) -> bool:
    if path is not None and path.suffix.lower() in _NDJSON_SUFFIXES:
        return True
    # No header begins with a brace.
    return first.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
