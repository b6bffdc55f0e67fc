"""Numbers that must not be called, as they are given: in files, in a program's own collections.

A line that is passed over is a person who is called. So every phone column of every sheet is read, every number that
a cell could mean is barred, and whatever can't be read stops the push, all such rows named at once.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeVar

from attrs import define, field, frozen

from kore_campaign_async.callbacks import CallbackError, called
from kore_campaign_async.config import DoNotContact
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.barring import NO_NUMBER, Meanings, barred_numbers
from kore_campaign_async.ingest.masking import masked
from kore_campaign_async.ingest.matching import can_be_number_name
from kore_campaign_async.ingest.normalise import Numbering, number_text_of
from kore_campaign_async.ingest.phone_text import TypedText, is_e164, meanings_by_shape, read_typed
from kore_campaign_async.ingest.records import Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.screening import BarredList, BarredLists
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS, Dialect, Source
from kore_campaign_async.ingest.sources.encodings import UTF_8
from kore_campaign_async.ingest.sources.objects import plain
from kore_campaign_async.ingest.sources.opening import Input, open_source
from kore_campaign_async.ingest.sources.scanning import scan
from kore_campaign_async.ingest.sources.sheets import sheets_of

T = TypeVar("T")

_SHOWN_CHARACTERS: Final = 40
_NAMED_ROWS: Final = 10
# Beside a number, fewer are an extension or a remark.
_FEWEST_DIGITS: Final = 4
# What tells that a column holds numbers, whatever its name is.
_SAMPLED_ROWS: Final = 1000
_DEEPEST: Final = 8
_ITEMS: Final = "do_not_contact"


@frozen(kw_only=True)
class Reading:
    """How do-not-contact files are read.

    Attributes:
        columns: the only ones that are read; without them every phone column is.
        sheets: of workbooks, the only ones that are read; without them all that hold something.
        allow_empty: whether a file may hold no number.
        has_region: whether a region is given, by which national numbers are read.
    """

    columns: Sequence[str] = ()
    sheets: Sequence[str] = ()
    allow_empty: bool = False
    has_region: bool = False


def function_of(given: DoNotContact | None) -> Callable[[str], Any] | None:
    """The function that tells whether a number is barred, if what was given is one, or can only tell."""
    if given is None or isinstance(given, Iterable):
        return None
    return given if callable(given) else given.__contains__


async def read_suppressed(
    paths: Iterable[Path],
    numbering: Numbering | None = None,
    numbers: Iterable[Any] = (),
    reading: Reading | None = None,
) -> BarredLists:
    """Read do-not-contact files and collections.

    Args:
        paths: files of any kind that contacts come in; a CSV file may be numbers alone, without a header.
        numbering: the rules for numbers; None is the shape of E.164.
        numbers: texts or integers.
        reading: what of the files is read.

    Raises:
        SourceError: a file can't be read, or rows can't; all of them are named.
    """
    meanings = meanings_by_shape if numbering is None else numbering.meanings
    reading = reading or Reading()
    lists: list[BarredList] = []
    for path in paths:
        lists += await _read_file(path, meanings, reading)
    found = _Found(_ITEMS, meanings, "item")
    try:
        items = enumerate(map(plain, called(iter, numbers)), 1)
        while part := called(list, islice(items, SLICE_RECORDS)):
            await asyncio.to_thread(found.take_items, part)
    except CallbackError as error:
        raise SourceError(f"{_ITEMS} can't be read: {error}") from error.raised
    found.raise_if_unread(has_region=reading.has_region)
    if found.numbers:
        lists.append(await asyncio.to_thread(BarredList, _ITEMS, None, found.numbers))
    return await asyncio.to_thread(BarredLists, lists)


async def _read_file(path: Path, meanings: Meanings, reading: Reading) -> list[BarredList]:
    sheets = await _naming(path, sheets_of(path))
    if sheets is not None and reading.sheets:
        missing = [one for one in reading.sheets if one not in sheets]
        if len(missing) == len(reading.sheets):
            raise SourceError(
                f"the do-not-contact file {path} has no sheet {missing[0]!r}; its sheets are"
                f" {', '.join(map(repr, sheets))}: name one with --suppress-sheet"
            )
        sheets = [one for one in sheets if one in reading.sheets]
    lists = [
        BarredList(str(path), sheet, numbers)
        for sheet in (sheets if sheets is not None else (None,))
        for numbers in (await _naming(path, _read_sheet(path, sheet, meanings, reading)),)
    ]
    if not any(one.numbers for one in lists) and not reading.allow_empty:
        raise SourceError(
            f"the do-not-contact file {path} holds no numbers, so it would bar nobody: check that it is the right file,"
            " or give --allow-empty-suppress"
        )
    return lists


async def _read_sheet(path: Path, sheet: str | None, meanings: Meanings, reading: Reading) -> array[int]:
    where = f"the do-not-contact file {path}" + (f", sheet {sheet!r}," if sheet is not None else "")
    found = _Found(where, meanings, "row")
    one = Input(path, Dialect(sheet=sheet))
    source = await open_source((one,), (partial(_encoding_of, path),), is_headless=found.is_headless)
    try:
        if getattr(source, "has_unsaved_formulas", False):
            raise SourceError(
                f"{where} holds formulas whose values were never saved, which may be people: open it in a spreadsheet"
                " program and save it"
            )
        first: list[Slice | TableSlice] = []
        async with aclosing(source.slices()) as slices:
            async for part in slices:
                first.append(part)
                if sum(map(len, first)) < _SAMPLED_ROWS:
                    continue
                await asyncio.to_thread(found.begin_with, source, first, reading.columns)
                first = []
                break
            else:
                await asyncio.to_thread(found.begin_with, source, first, reading.columns)
            async for part in slices:
                await asyncio.to_thread(found.take, part)
    finally:
        source.close()
    found.raise_if_unread(has_region=reading.has_region)
    return found.numbers


async def _naming(path: Path, work: Awaitable[T]) -> T:
    """Await something, and say in its error that the file is a do-not-contact file."""
    try:
        return await work
    except SourceError as error:
        said = str(error)
        if said.startswith(str(path)):
            said = f"the do-not-contact file {said}"
        elif not said.startswith("the do-not-contact file"):
            said = f"the do-not-contact file {path}: {said.replace(f' of {path}', '')}"
        raise SourceError(said) from None


async def _encoding_of(path: Path) -> str:
    known = await scan(path)
    return UTF_8 if known is None else known.encoding


@define
class _Found:
    """Collects the numbers of a file, a sheet, or a program's collection.

    Attributes:
        numbers: found so far, some perhaps several times.
    """

    _where: str
    _meanings: Meanings
    _unit: str
    numbers: array[int] = field(factory=lambda: array("Q"), init=False)
    # The columns that are read: named as phone columns, or full of numbers; None of a file of mappings.
    _named: Sequence[int] | None = field(default=None, init=False)
    _others: Sequence[int] = field(default=(), init=False)
    _columns: Sequence[str] = field(default=(), init=False)
    _headless: bool = field(default=False, init=False)
    _width: int | None = field(default=None, init=False)
    _place: Callable[[int], int | None] = field(default=lambda row: row, init=False)
    _unread: list[str] = field(factory=list, init=False)
    _unread_rows: int = field(default=0, init=False)
    _last_unread: int = field(default=0, init=False)

    def is_headless(self, cells: Sequence[str]) -> bool:
        """Whether the first record is a number or numbers already, and no header."""
        # "Phone: +14155550101" is the first person, and no header.
        has_number = any(barred_numbers(cell, self._meanings)[0] for cell in cells)
        is_alone = len(cells) == 1 and any(map(str.isdecimal, cells[0])) and not can_be_number_name(cells[0])
        self._headless = has_number or is_alone
        return self._headless

    def begin_with(self, source: Source, first: Sequence[Slice | TableSlice], only: Sequence[str]) -> None:
        """Choose the columns by the header and the first rows, and take these."""
        self._columns = only
        self._place = source.spreadsheet_row
        if source.header is not None:
            self._choose(source.header, first, only)
        for part in first:
            self.take(part)

    def _choose(self, header: Sequence[str], first: Sequence[Slice | TableSlice], only: Sequence[str]) -> None:
        if only:
            self._named = [index for index, name in enumerate(header) if name.strip() in only]
            if not self._named:
                raise SourceError(
                    f"{self._where} has no column {' or '.join(map(repr, only))}; its columns are"
                    f" {', '.join(map(repr, header))}: name one with --suppress-column"
                )
            return
        records = [record for part in first for record in _records(part) if isinstance(record, list)]
        self._width = len(header)
        width = max((len(header), *map(len, records))) if self._headless else len(header)
        self._named = [] if self._headless else [index for index, name in enumerate(header) if can_be_number_name(name)]
        if width == 1:
            self._named = [0]
        named = set(self._named)
        self._others = [
            index
            for index in range(width)
            if index not in named and self._holds_numbers([one[index] for one in records if index < len(one)])
        ]
        if not self._named and not self._others and any(map(len, first)):
            raise SourceError(
                f"{self._where} has no number column; its columns are {', '.join(map(repr, map(masked, header)))}: name"
                " the one with the numbers with --suppress-column, or phoneNumber in its first line"
            )

    def _holds_numbers(self, cells: Iterable[str]) -> bool:
        """Whether at least half of the cells that hold something are numbers."""
        filled = [cell for cell in cells if cell.strip()]
        return bool(filled) and 2 * sum(map(self._is_number, filled)) >= len(filled)

    def _is_number(self, cell: str) -> bool:
        """Whether a cell is a number and little else: a note with a number in it makes no phone column."""
        digits = sum(map(str.isdecimal, cell))
        return 2 * digits >= len(cell) and bool(barred_numbers(cell, self._meanings)[0])

    def take(self, part: Slice | TableSlice) -> None:
        """Take rows of the file."""
        for row, record in enumerate(_records(part), part.first):
            if isinstance(record, Broken):
                self._note(row, f"can't be read ({record.reason})", "")
            elif isinstance(record, Mapping):
                self._take_mapping(row, record)
            else:
                self._take_cells(row, record)

    def take_items(self, items: Collection[tuple[int, Any]]) -> None:
        """Take items of a collection."""
        for number, item in items:
            text = number_text_of(item)
            if not self._add(number, text or ""):
                self._note(number, NO_NUMBER, text or "")

    def _take_mapping(self, row: int, record: Mapping[Any, Any]) -> None:
        named: list[str] = []
        others: list[str] = []
        for path, value in _values(record):
            text = number_text_of(value) or ""
            keys = [key for key in path if isinstance(key, str)]
            if any(key in self._columns if self._columns else can_be_number_name(key) for key in keys):
                named.append(text)
            elif not self._columns and self._is_number(text):
                others.append(text)
        self._take_row(row, named, [*named, *others], is_empty=not record)

    def _take_cells(self, row: int, record: list[str]) -> None:
        assert self._named is not None  # noqa: S101  who yields lists has a header
        named = [record[index] for index in self._named if index < len(record)]
        others = [record[index] for index in self._others if index < len(record) and self._is_number(record[index])]
        if self._width is not None and not self._headless:
            others += filter(self._is_number, record[self._width :])
        for cell in record:
            if ("\n" in cell or "\r" in cell) and masked(cell) != cell and cell not in named:
                self._note(row, "has a phone number in a cell of several lines, where an open quote hides people", cell)
                return
        self._take_row(row, named, [*named, *others], is_empty=not any(map(str.strip, record)))

    def _take_row(self, row: int, named: Sequence[str], cells: Sequence[str], *, is_empty: bool) -> None:
        """Bar the numbers of a row. Whoever is on a row without one can't be left out."""
        texts = [cell for cell in cells if cell.strip()]
        # "n/a" beside a number bars nobody else; what holds digits and can't be read may.
        added = [self._add(row, text, is_alone=len(texts) == 1) for text in texts]
        if not any(added) and not is_empty:
            self._note(row, NO_NUMBER, next(iter(texts or named), ""))

    def _add(self, row: int, text: str, *, is_alone: bool = True) -> bool:
        if type(text) is TypedText:
            text = read_typed(text)[0] or text
        text = text.strip()
        if text.startswith("+") and is_e164(text):
            numbers, trouble = self._meanings(text), ""
        else:
            numbers, trouble = barred_numbers(text, self._meanings)
        self.numbers.extend(map(int, numbers))
        if not numbers and (is_alone or sum(map(str.isdecimal, text)) >= _FEWEST_DIGITS):
            self._note(row, trouble or NO_NUMBER, text)
        return bool(numbers)

    def _note(self, row: int, trouble: str, text: str) -> None:
        if self._last_unread == row:
            return
        self._last_unread = row
        self._unread_rows += 1
        if len(self._unread) < _NAMED_ROWS:
            shown = f": {masked(text)[:_SHOWN_CHARACTERS]!r}" if text.strip() else ""
            self._unread.append(f"{self._unit} {self._place(row) or row} {trouble}{shown}")

    def raise_if_unread(self, *, has_region: bool) -> None:
        """Raise SourceError that names all rows that can't be read."""
        if not self._unread:
            return
        more = self._unread_rows - len(self._unread)
        rest = f"; and {more:,} more" if more else ""
        # Who gave a region has written national numbers already, and these are the ones that it doesn't make clear.
        or_region = "" if has_region else ", or give --region for national ones"
        raise SourceError(
            f"{self._where} can't be read in {self._unread_rows:,} {self._unit}{'s' * (self._unread_rows > 1)}:"
            f" {'; '.join(self._unread)}{rest}. Write each number with its + and country code{or_region}."
            " Titles, totals and notes can go; don't remove people who must not be called"
        )


def _records(part: Slice | TableSlice) -> Iterator[Record]:
    return iter(part.records) if isinstance(part, Slice) else map(part.record_of, part.frame.iter_rows())


def _values(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """All that stands in an object, with the keys that lead there."""
    if isinstance(value, Mapping) and len(path) < _DEEPEST:
        for key, one in value.items():
            yield from _values(one, (*path, key))
    elif isinstance(value, list) and len(path) < _DEEPEST:
        for one in value:
            yield from _values(one, (*path, None))
    else:
        yield path, value
