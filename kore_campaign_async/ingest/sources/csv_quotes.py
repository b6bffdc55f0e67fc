"""One record of CSV, read line by line with all that is odd about its quotes. Pure.

A quote opens a cell where a cell begins, blanks aside. Where it closes, only blanks may follow. A cell that goes over
several lines is one person's address, or many people's rows behind a stray quote: the lines in it tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from kore_campaign_async.ingest.sources.phone_like import could_be_number, is_zip_or_years

CELL_CHARACTERS: Final = 1 << 16

_INSIDE: Final = re.compile(r'[^"]*(?:""[^"]*)*').match
# With two columns a comma within an address is no evidence by itself.
_FEW_COLUMNS: Final = 2


class Quotes:
    """How cells begin and end, for one delimiter."""

    def __init__(self, delimiter: str) -> None:
        blanks = " " if delimiter == "\t" else " \t"
        outside = rf"[^{re.escape(delimiter)}]*"
        self.delimiter = delimiter
        self.opening = re.compile(rf'[{blanks}]*"').match
        self.outside = re.compile(outside).match
        #: Whether a quote stands behind blanks where a cell can begin.
        self.opens_behind_blanks = re.compile(rf'(?:^|{re.escape(delimiter)})[{blanks}]+"').search


class OpenRecord:
    """A record, as far as its lines were taken.

    Attributes:
        lines: with their ends.
        cells: those that are whole.
        size: of all lines.
        is_long: whether a quoted cell is longer than 64 KiB.
        has_text_behind: whether text stands behind a closing quote.
        has_loose_quotes: whether a quote stands within a cell that has none around it.
    """

    def __init__(self, quotes: Quotes) -> None:
        self.lines: list[str] = []
        self.cells: list[str] = []
        self.size = 0
        self.is_long = False
        self.has_text_behind = False
        self.has_loose_quotes = False
        self._quotes = quotes
        self._inside: list[str] | None = None
        self._inside_size = 0

    def add(self, line: str) -> bool:
        """Take the next line; return whether the record ends with it."""
        self.lines.append(line)
        self.size += len(line)
        stop = len(line.rstrip("\r\n"))
        at = 0
        while True:
            opening = None if self._inside is not None else self._quotes.opening(line, at, stop)
            if self._inside is None and opening is None:
                at = self._outside(line, at, stop)
            else:
                end = self._take(line, opening.end() if opening is not None else 0)
                if end == len(line):
                    return False
                at = self._close(line, end + 1, stop)
            if at >= stop:
                return True
            at += 1

    def _take(self, line: str, begin: int) -> int:
        """Take what stands within quotes; return where the closing one is, or the line's length."""
        found = _INSIDE(line, begin)
        assert found is not None  # noqa: S101  it matches nothing, too
        if self._inside is None:
            self._inside, self._inside_size = [], 0
        self._inside.append(found[0])
        self._inside_size += len(found[0])
        self.is_long |= self._inside_size > CELL_CHARACTERS
        return found.end()

    def _close(self, line: str, begin: int, stop: int) -> int:
        """End a quoted cell; return where the delimiter behind it is."""
        assert self._inside is not None  # noqa: S101  it was opened
        self.cells.append("".join(self._inside).replace('""', '"'))
        self._inside = None
        behind = self._quotes.outside(line, begin, stop)
        assert behind is not None  # noqa: S101  it matches nothing, too
        self.has_text_behind |= bool(behind[0].strip())
        return behind.end()

    def _outside(self, line: str, begin: int, stop: int) -> int:
        """Take a cell without quotes around it; return where the delimiter behind it is."""
        found = self._quotes.outside(line, begin, stop)
        assert found is not None  # noqa: S101  it matches nothing, too
        self.cells.append(found[0])
        self.has_loose_quotes |= '"' in found[0]
        return found.end()


@frozen
class RowShape:
    """What a row of a file looks like.

    Attributes:
        width: how many cells it has.
        number: the index of the number's column; None where that is not known: then any may be it.
        delimiter: what parts the cells.
    """

    width: int
    number: int | None
    delimiter: str

    def is_in(self, cells: Sequence[str]) -> bool:
        """Whether one of the cells of a record of several lines holds what could be a row of this file."""
        if self.width == 1:
            return True
        for index, cell in enumerate(cells):
            first, *others = lines_in(cell)
            if others and (any(map(self._could_be_row, others)) or self._has_number_behind(index, first)):
                return True
        return False

    def _could_be_row(self, line: str) -> bool:
        cells = line.split(self.delimiter)
        places = cells if self.number is None else cells[self.number : self.number + 1]
        if len(cells) == 1 and is_zip_or_years(line):
            return False
        if any(map(could_be_number, places if self._fits(len(cells)) else cells)):
            return True
        return len(cells) == self.width and not all(map(self._is_words, places))

    def _fits(self, cells: int) -> bool:
        """Whether the number of so many cells of a line would stand at its own column."""
        return cells in {1, self.width}

    def _is_words(self, place: str) -> bool:
        """Whether what stands in the number's place is a part of a sentence, and none of a row."""
        has_letters = any(map(str.isalpha, place))
        return has_letters and (self.width <= _FEW_COLUMNS or not any(map(str.isdecimal, place)))

    def _has_number_behind(self, index: int, line: str) -> bool:
        """Whether a cell that begins on a line has swallowed the number that stands behind it there."""
        cells = line.split(self.delimiter)
        if self.number is None:
            return any(map(could_be_number, cells[1:]))
        at = self.number - index
        if at <= 0:
            return False
        return any(map(could_be_number, cells[at : at + 1] if self._fits(index + len(cells)) else cells[1:]))


def lines_in(cell: str) -> list[str]:
    """The lines of a cell, without their ends."""
    return cell.replace("\r\n", "\n").replace("\r", "\n").split("\n") if "\r" in cell else cell.split("\n")
