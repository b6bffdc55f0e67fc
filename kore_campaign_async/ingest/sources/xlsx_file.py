"""A sheet of an XLSX workbook. Needs the extra `xlsx`.

A spreadsheet's numbers are floats of 15 digits, and every value becomes text by one rule (`_as_text`). What a sheet
shows is not what it keeps: how a cell is formatted makes no difference, but for dates. The library reads a sheet as a
whole, without Python's lock; a sheet has a million rows at most.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import zipfile
import zlib
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

import python_calamine as calamine

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.phone_text import TypedText
from kore_campaign_async.ingest.records import BAD_VALUE, Broken, TableSlice
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS, Dialect
from kore_campaign_async.ingest.sources.blocks import BLOCK_BYTES, in_thread
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.rows import Rows, RowSource

T = TypeVar("T")

# Up to here a float holds every whole number, and no other one is rounded to it.
_EXACT: Final = float(1 << 53)
_DIGITS: Final = ".15g"
# A cell that holds something. The library keeps a place for all cells between the first and the last, 24 bytes each.
_CELL: Final = re.compile(rb'<c r="([A-Z]{1,3})([0-9]{1,7})"[^<>]*(?<!/)>')
_LONGEST_CELL: Final = 200
# A formula whose value nobody has computed yet: some programs write workbooks without, and it reads as an empty cell.
_UNSAVED: Final = re.compile(rb"</f>\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
_MOST_CELLS: Final = 50_000_000
_LETTERS: Final = 26


class XlsxFile(RowSource):
    """Yields a sheet's rows as lists of cells. Empty rows are none.

    Args:
        held: the workbook.
        sheet: its name; without one the first sheet that is not hidden is read.
    """

    def __init__(self, held: HeldFile, sheet: str | None = None) -> None:
        super().__init__(str(held.path), held.path)
        self._held = held
        self._file = held.path_for_libraries
        self._sheet = sheet
        #: Whether a sheet has formulas without values, after `open`.
        self.has_unsaved_formulas = False
        self._rows: Iterator[list[Any]] = iter(())
        self._width = 0
        self._read = 0

    async def open(self) -> None:
        """Read the header, and the first row behind it. SourceError tells what is wrong."""
        others = await self._reading(self._opened)
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
        self._check()
        book = calamine.load_workbook(self._file)
        sheets = [one for one in book.sheets_metadata if one.typ == calamine.SheetTypeEnum.WorkSheet]
        names = [one.name for one in sheets]
        if self._sheet is None:
            shown = [one.name for one in sheets if one.visible == calamine.SheetVisibleEnum.Visible]
            self._sheet = (shown or [*names, ""])[0]
        if self._sheet not in names:
            raise SourceError(
                f"{self.name} has no sheet {self._sheet!r}; its sheets are {_listed(names)}: name one with --sheet"
            )
        sheet = book.get_sheet_by_name(self._sheet)
        self.total = max(0, sheet.height - (not self.no_header))
        self._rows = iter(sheet.iter_rows())
        others = [name for name in names if name != self._sheet and book.get_sheet_by_name(name).height]
        self._held.raise_if_touched()  # all of it is read now
        return others

    def _check(self) -> None:
        """Read all of the archive, with the sums that go with it: a torn file is found before anything is sent."""
        with zipfile.ZipFile(self._file) as archive:
            for name in archive.namelist():
                rows = columns = 0
                rest = b""
                with archive.open(name) as member:
                    while block := member.read(BLOCK_BYTES):
                        is_sheet = name.startswith("xl/worksheets/")
                        self.has_unsaved_formulas |= is_sheet and _UNSAVED.search(rest + block) is not None
                        if is_sheet and (cells := _CELL.findall(rest + block)):
                            columns = max(columns, *map(_number, {letters for letters, _ in cells}))
                            rows = max(rows, *(int(row) for _, row in cells))
                        rest = block[-_LONGEST_CELL:]
                if rows * columns > _MOST_CELLS:
                    raise SourceError(
                        f"a sheet of {self.name} spans {rows:,} rows and {columns:,} columns: remove what stands far"
                        " off the contacts, or save it as CSV"
                    )

    async def _parsed(self) -> AsyncGenerator[Rows | TableSlice, None]:
        while rows := await self._reading(lambda: list(islice(self._rows, SLICE_RECORDS))):
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

    def _record(self, row: list[Any]) -> list[str] | Broken | None:
        cells = [_as_text(value) for value in row]
        while cells and (len(cells) > self._width or not self._width) and cells[-1] is not None:
            if cells[-1].strip():
                break
            del cells[-1]  # the sheet is as wide as its widest row
        texts = [text for text in cells if text is not None]
        if len(texts) < len(cells):
            return Broken(BAD_VALUE, ",".join(map(str, row)))
        if not any(map(str.strip, texts)):
            return None
        self._width = self._width or len(texts)
        return texts

    async def _reading(self, work: Callable[[], T]) -> T:
        return await in_thread(lambda: _told(self.name, work))

    def fraction(self) -> float | None:
        """How much of the sheet is read."""
        return min(1.0, self._read / self.total) if self.total else None

    def close(self) -> None:
        """The workbook is closed as soon as it is read."""


def filled_sheets(path: Path) -> Sequence[str]:
    """The worksheets that hold something, hidden ones too. It blocks; SourceError if the workbook can't be read."""

    def read() -> Sequence[str]:
        book = calamine.load_workbook(path)
        names = [one.name for one in book.sheets_metadata if one.typ == calamine.SheetTypeEnum.WorkSheet]
        return [name for name in names if book.get_sheet_by_name(name).height]

    return _told(str(path), read)


def _told(name: str, work: Callable[[], T]) -> T:
    """Do something with a workbook; SourceError tells what is wrong with it."""
    try:
        return _without_panic(work)
    except OSError as error:
        raise SourceError(f"{name} can't be read: {error.strerror or type(error).__name__}") from None
    except (calamine.CalamineError, zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
        raise SourceError(
            f"{name} can't be read as an XLSX workbook: it is damaged, or another kind of file; open it in a"
            " spreadsheet program, and save it as .xlsx or CSV"
        ) from None


def _without_panic(work: Callable[[], T]) -> T:
    try:
        return work()
    except BaseException as error:
        # What the library did not think of ends in this, which is no Exception and has no name to be caught by.
        if type(error).__name__ == "PanicException":
            raise calamine.CalamineError(str(error)) from None
        raise


def _number(letters: bytes) -> int:
    """A column's number: that of A is 1, that of AA is 27."""
    number = 0
    for letter in letters:
        number = number * _LETTERS + letter - ord("A") + 1
    return number


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names))


def _as_text(value: Any) -> str | None:  # noqa: PLR0911  one return a type
    """A cell's value as text; None if it has none that is sure.

    Text as it is, whole numbers as their digits, others with the 15 digits that a spreadsheet keeps, `true` and
    `false`, dates and times as ISO 8601 spells them; a day's midnight is that day.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return TypedText("true" if value else "false")
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not abs(value) < _EXACT:
            return None
        return str(int(value)) if value.is_integer() else TypedText(format(Decimal(format(value, _DIGITS)), "f"))
    if isinstance(value, dt.datetime):
        return TypedText((value.date() if value.time() == dt.time() else value).isoformat())
    if isinstance(value, dt.date | dt.time):
        return TypedText(value.isoformat())
    return None
