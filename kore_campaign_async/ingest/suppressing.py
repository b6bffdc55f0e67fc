"""Numbers that must not be called, as they are given: in files, in a program's own collections.

A line that is passed over is a person who is called, so whatever holds no number is an error.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from kore_campaign_async.config import DoNotContact
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.barring import Meanings, barred_numbers
from kore_campaign_async.ingest.masking import masked
from kore_campaign_async.ingest.matching import is_number_name
from kore_campaign_async.ingest.normalise import Numbering, text_of
from kore_campaign_async.ingest.phone_text import meanings_by_shape
from kore_campaign_async.ingest.records import Broken, Record, Slice, TableSlice
from kore_campaign_async.ingest.screening import Barred
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS
from kore_campaign_async.ingest.sources.encodings import UTF_8
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.ingest.sources.scanning import scan

_SHOWN_CHARACTERS: Final = 40
_MANY: Final = 2


def function_of(given: DoNotContact | None) -> Callable[[str], Any] | None:
    """The function that tells whether a number is barred, if what was given is one, or can only tell."""
    if given is None or isinstance(given, Iterable):
        return None
    return given if callable(given) else given.__contains__


async def read_suppressed(
    paths: Iterable[Path], numbering: Numbering | None = None, numbers: Iterable[Any] = ()
) -> AbstractSet[int]:
    """Read do-not-contact files and collections.

    Args:
        paths: files of any kind that contacts come in; a CSV file may be one number a line, without a header.
        numbering: the rules for numbers; None is the shape of E.164.
        numbers: texts or integers.

    Returns:
        The numbers as integers, in ascending order.

    Raises:
        SourceError: a file can't be read, or a row holds no number.
    """
    found = _Found(meanings_by_shape if numbering is None else numbering.meanings)
    for path in paths:
        await _read_file(path, found)
    items = iter(enumerate(numbers, 1))
    while part := list(islice(items, SLICE_RECORDS)):
        await asyncio.to_thread(found.take_items, part)
    return await asyncio.to_thread(Barred, found.numbers) if found.numbers else frozenset()


async def _read_file(path: Path, found: _Found) -> None:
    try:
        source = await open_source(path, (partial(_encoding_of, path),), is_headless=_is_no_header)
        try:
            found.begin(path, source.header)
            async with aclosing(source.slices()) as slices:
                async for part in slices:
                    await asyncio.to_thread(found.take, part)
        finally:
            source.close()
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


def _is_no_header(cells: Sequence[str]) -> bool:
    return len(cells) == 1 and not is_number_name(cells[0])


@define
class _Found:
    """Collects numbers.

    Attributes:
        numbers: found so far, some perhaps several times.
    """

    _meanings: Meanings
    numbers: array[int] = field(factory=lambda: array("Q"), init=False)
    _name: str = field(default="", init=False)
    # The index of the number's column; None of a file of mappings.
    _column: int | None = field(default=None, init=False)

    def begin(self, path: Path, header: Sequence[str] | None) -> None:
        """Go on with another file."""
        self._name, self._column = f"the do-not-contact file {path}", None
        if header is None:
            return
        named = [index for index, name in enumerate(header) if is_number_name(name)]
        if len(named) != 1:
            raise SourceError(
                f"{self._name} has {'two number columns' if named else 'no number column'} in its first line; name one"
                " of its columns phoneNumber, or put one number on a line"
            )
        self._column = named[0]

    def take(self, part: Slice | TableSlice) -> None:
        """Take rows of the file."""
        records: Iterable[Record]
        records = part.records if isinstance(part, Slice) else map(part.record_of, part.frame.iter_rows())
        for row, record in enumerate(records, part.first):
            text, others = self._taken_apart(record, row)
            # A blank line is no record, but who is on a line without a number can't be left out.
            if text.strip() or any(other.strip() for other in others):
                self._add(text, f"{self._name} holds no phone number in row {row}")

    def take_items(self, items: Collection[tuple[int, Any]]) -> None:
        """Take items of a collection."""
        for number, item in items:
            text = text_of(item)
            self._add("" if text is None else text, f"do_not_contact holds no phone number in its item {number}")

    def _taken_apart(self, record: Record, row: int) -> tuple[str, Iterator[str]]:
        """A record's number as it is written, and whatever else it holds."""
        if isinstance(record, Broken):
            raise SourceError(
                f"{self._name} can't be read in row {row} ({record.reason}): mend its quotes, or what else is broken"
                " there"
            )
        if isinstance(record, Mapping):
            named = [key for key in record if isinstance(key, str) and is_number_name(key)]
            if len(named) >= _MANY:
                raise SourceError(f"{self._name} has two numbers in row {row}: {' and '.join(map(repr, named))}")
            text = text_of(record[named[0]]) if named else ""
            return text or "", iter(("a record",))
        assert self._column is not None  # noqa: S101  who yields lists has a header
        text = record[self._column] if self._column < len(record) else ""
        for cell in record:
            if cell is not text and ("\n" in cell or "\r" in cell) and masked(cell) != cell:
                raise SourceError(
                    f"{self._name} has a phone number in row {row}, in a cell that goes over several lines: a quote"
                    " that never closes could hide people there; mend its quotes"
                )
        return text, iter(record)

    def _add(self, text: str, complaint: str) -> None:
        numbers, _ = barred_numbers(text, self._meanings)
        if not numbers:
            shown = masked(text)[:_SHOWN_CHARACTERS]
            raise SourceError(f"{complaint}: {shown!r}; mend or remove it")
        self.numbers.extend(map(int, numbers))
