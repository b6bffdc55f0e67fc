"""A sheet of an XLSX workbook. Needs the extra `xlsx`.

A spreadsheet's numbers are floats of 15 digits, and every value becomes text by one rule (in `workbook_reader`). What
a sheet shows is not what it keeps: how a cell is formatted makes no difference, but for dates. A process of its own
reads it, whose memory is limited; a sheet has a million rows at most.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from pathlib import Path

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.phone_text import TypedText
from kore_campaign_async.ingest.records import BAD_VALUE, Broken, TableSlice
from kore_campaign_async.ingest.sources.base import Dialect
from kore_campaign_async.ingest.sources.blocks import in_thread
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.rows import Rows, RowSource
from kore_campaign_async.ingest.sources.workbook import Workbook


class XlsxFile(RowSource):
    """Yields a sheet's rows as lists of cells. Empty rows are none.

    Args:
        held: the workbook.
        sheet: its name; without one the first sheet that is not hidden is read.
    """

    def __init__(self, held: HeldFile, sheet: str | None = None) -> None:
        super().__init__(str(held.path), held.path)
        self._held = held
        self._book = Workbook(held.path_for_libraries, self.name, sheet=sheet)
        self._sheet = sheet
        #: Whether a sheet has formulas without values, after `open`.
        self.has_unsaved_formulas = False
        self._width = 0
        self._read = 0

    async def open(self) -> None:
        """Read the header, and the first row behind it. SourceError tells what is wrong."""
        others = await in_thread(self._opened)
        await super().open()
        self.dialects = (Dialect(sheet=self._sheet, no_header=self.no_header),)
        if self.has_unsaved_formulas:
            self.notices += (f"{self.name} holds formulas whose values were never saved; they are read as empty cells",)
        if others:
            self.notices += (
                f"of {self.name} the sheet {self._sheet!r} is read; --sheet names another one: {_listed(others)}",
            )

    def _opened(self) -> Sequence[str]:
        """Open the sheet; return the names of the others that hold something."""
        self._book.start()
        found = self._book.next() or {}
        if "missing" in found:
            raise SourceError(
                f"{self.name} has no sheet {self._sheet or ''!r}; its sheets are {_listed(found['names'])}: name one"
                " with --sheet"
            )
        self._sheet, self.has_unsaved_formulas = found["sheet"], found["has_unsaved_formulas"]
        self.total = max(0, found["height"] - (not self.no_header))
        self._held.raise_if_touched()  # all of it is read now
        others: list[str] = found["others"]
        return others

    async def _parsed(self) -> AsyncGenerator[Rows | TableSlice, None]:
        while part := await in_thread(self._book.next):
            rows = part["rows"]
            self._read += len(rows)
            yield self._numbered(map(self._record, rows)), True
            await asyncio.sleep(0)

    def _numbered(self, records: Iterable[list[str] | Broken | None]) -> list[list[str] | Broken]:
        """The records but the empty rows, which the sheet counts too."""
        found: list[list[str] | Broken] = []
        for record in records:
            if record is None:
                self.sheet.skip()
            else:
                self.sheet.add()
                found.append(record)
        return found

    def _record(self, row: list[str | list[str]] | dict[str, str] | None) -> list[str] | Broken | None:
        if row is None:
            return None
        if isinstance(row, dict):
            return Broken(BAD_VALUE, row["broken"])
        texts = [cell if isinstance(cell, str) else TypedText(*cell) for cell in row]
        while texts and (len(texts) > self._width or not self._width) and not texts[-1].strip():
            del texts[-1]  # the sheet is as wide as its widest row
        if not any(map(str.strip, texts)):
            return None
        self._width = self._width or len(texts)
        return texts

    def fraction(self) -> float | None:
        """How much of the sheet is read."""
        return min(1.0, self._read / self.total) if self.total else None

    def close(self) -> None:
        """End the process that reads it."""
        self._book.close()


def filled_sheets(path: Path) -> Sequence[str]:
    """The worksheets that hold something, hidden ones too. It blocks; SourceError if the workbook can't be read."""
    book = Workbook(path, str(path), only_names=True)
    try:
        book.start()
        names: list[str] = (book.next() or {})["filled"]
    finally:
        book.close()
    return names


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))
