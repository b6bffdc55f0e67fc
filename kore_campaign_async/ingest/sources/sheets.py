"""Which sheets a workbook has, for who reads all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.escaping import is_text
from kore_campaign_async.ingest.sources.blocks import in_thread

_ZIP: Final = b"PK\3\4"
# What is opened by its name, not by what reads it here: workbooks, Parquet, Arrow.
_BY_NAME: Final = (_ZIP, b"PAR1", b"ARROW1")
_MARK_BYTES: Final = 8


async def sheets_of(path: Path) -> Sequence[str] | None:
    """The sheets of a workbook that hold something, hidden ones too; None of a file of another kind.

    Raises:
        SourceError: it can't be read.
    """

    def read() -> Sequence[str] | None:
        with path.open("rb") as file:
            first = file.read(_MARK_BYTES)
        if first.startswith(_BY_NAME) and not is_text(str(path)):
            raise SourceError(
                f"{path} has a name that is not Unicode, by which the library that reads such files can't open it:"
                " rename it"
            )
        if not first.startswith(_ZIP):
            return None
        # Only who reads a workbook needs the library for it.
        from kore_campaign_async.ingest.sources.xlsx_file import filled_sheets  # noqa: PLC0415

        return filled_sheets(path)

    try:
        return await in_thread(read)
    except ImportError:
        return None  # opening it tells which extra is missing
    except OSError as error:
        raise SourceError(f"{path} can't be read: {error.strerror}") from None
