"""CSV text becomes records, and no line is glued to another one or lost. Pure.

The stdlib's reader does the reading wherever each line is a record of its own, and quotes stand around whole cells.
Everything else is read line by line, by these rules:

- Text behind a closing quote costs the record all its lines: `bad_row` if it is one, else `unclosed_quote`.
- A cell that goes over several lines and holds what could be a row of this file costs the record all its lines, too.
- A record of fewer cells than the header that has a quote inside of a cell is one of these, never padded.
- A quoted cell that is longer than 64 KiB, or never closes, costs its first line; reading goes on at the next line.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Callable, Sequence
from itertools import chain
from operator import itemgetter
from typing import Final

from attrs import frozen

from kore_campaign_async import wire
from kore_campaign_async.ingest.records import BAD_ROW, UNCLOSED_QUOTE, VALUE_TOO_LONG, Broken, Cells
from kore_campaign_async.ingest.sources.csv_quotes import CELL_CHARACTERS, OpenRecord, Quotes, RowShape, lines_in
from kore_campaign_async.ingest.sources.phone_like import looks_like_number
from kore_campaign_async.ingest.sources.sheet_rows import SheetRows

#: Quotes that open and close over lines without end make a record that never ends: here it is torn.
OPEN_RECORD_CHARACTERS: Final = 1 << 18
# A longer cell without quotes is not even looked at.
_UNQUOTED_CHARACTERS: Final = 1 << 17

# Behind the last line, to see whether a quote is open there. No decoded file holds this character.
_END: Final = "\udfff"

_FIRST_CELL: Final = itemgetter(0)

#: What parts the cells of a line, the most usual one first.
DELIMITERS: Final = (",", ";", "\t", "|")
COMMA: Final = DELIMITERS[0]
# Excel's own way to say it, on a line before the header.
_SAID: Final = re.compile(r'"?sep=([^"\w\s]|\t)"?(?:\r\n|\r|\n)', re.IGNORECASE)
# A quoted cell, whole or still open; a quote opens a cell only where a cell begins, blanks aside.
_QUOTED_CELL: Final = re.compile(r'(^|[,;\t|\n\r]) *"([^"]*(?:""[^"]*)*)(?:"|$)')
_LINE: Final = re.compile(r"([^\r\n]+)([\r\n])?")
# A line of nothing else has no names.
_EMPTY: Final = "".join(DELIMITERS) + ' "\t\x0b\x0c\xa0'
_HEADER_CHARACTERS: Final = 1 << 16


@frozen
class Heading:
    """What a text's beginning tells of its cells.

    Attributes:
        delimiter: what parts them.
        skipped: how many characters stand before the header, since they only say so.
    """

    delimiter: str
    skipped: int = 0


def heading(text: str, *, final: bool) -> Heading | None:
    """Find out by its header what parts the cells of a text; None as long as more of it is needed.

    It is what stands there most often outside of quotes, of comma, semicolon, tab and bar, in this order where two
    stand equally often; a comma where none does, and in files that a run wrote. A line `sep=;` says it for all.

    Args:
        text: the beginning, without a byte order mark.
        final: whether there is no more of it.
    """
    final = final or len(text) >= _HEADER_CHARACTERS
    if (said := _SAID.match(text)) is not None:
        return Heading(said[1], said.end())
    # Rows of empty cells may stand before it.
    shown = _QUOTED_CELL.sub(_without_quotes, text[:_HEADER_CHARACTERS].lstrip("\r\n"))
    line = next((line for line in _LINE.finditer(shown) if line[1].strip(_EMPTY)), None)
    if not final and (line is None or line[2] is None):
        return None
    header = "" if line is None else line[1]
    if header == "row,reason" or header.startswith("row,reason,"):
        return Heading(COMMA)
    return Heading(max(DELIMITERS, key=header.count))


def _without_quotes(cell: re.Match[str]) -> str:
    """What stands for a quoted cell where only the delimiters outside of them count."""
    return cell[1] + ("x" if cell[2].strip() else "")


class CsvRecords:
    """Turns lines into records; a record that the lines leave open is kept for the next call.

    What comes out is the same whatever lines come at once. Every line that is not blank is a part of a record that is
    whole, or is a torn record of its own.

    Args:
        delimiter: what parts their cells.
        sheet: counts the rows.
        number_column: tells by the first record which column is the number's, if one is; without it nothing is known
            of how a row of the file looks.
        has_header: whether the first record is the header.

    Attributes:
        plain: whether each record of the last call stood on a line of its own.
    """

    def __init__(
        self,
        delimiter: str = COMMA,
        sheet: SheetRows | None = None,
        number_column: Callable[[Sequence[str]], int | None] | None = None,
        *,
        has_header: bool = True,
    ) -> None:
        self.plain = True
        self._delimiter = delimiter
        self._sheet = SheetRows() if sheet is None else sheet
        self._number_column = number_column
        self._has_header = has_header
        self._shape: RowShape | None = None
        self._quotes = Quotes(delimiter)
        self._record: OpenRecord | None = None

    @property
    def is_open(self) -> bool:
        """Whether a record is kept for the next call."""
        return self._record is not None

    def feed(self, lines: list[str], *, final: bool = False) -> list[list[str] | Broken]:
        """Take the lines that follow those of the last call; return the records that are whole.

        Args:
            lines: with their ends. Blank ones, and those of empty cells, are no records.
            final: whether the source ends with them.
        """
        if self._shape is None and self._number_column is not None:
            return self._first(lines, final=final)
        rows = None if self.is_open else self._at_once(lines)
        self.plain = rows is not None
        if rows is not None:
            return self._counted(rows)
        found: list[list[str] | Broken] = []
        at = 0
        is_quick = self._can_be_quick(lines)
        while at < len(lines):
            if is_quick and self._record is None:
                at = self._quickly(lines, at, found)
            if at < len(lines):
                self._take(lines[at], found)
                at += 1
        if final:
            self._end(found)
        return found

    def _first(self, lines: list[str], *, final: bool) -> list[list[str] | Broken]:
        """Read up to the first record, which tells what the others look like, and then the rest."""
        found: list[list[str] | Broken] = []
        for at, line in enumerate(lines, 1):
            self._take(line, found)
            if self._shape is not None:
                found += self.feed(lines[at:], final=final)
                break
        if final:
            self._end(found)
        self.plain = False
        return found

    def _at_once(self, lines: list[str]) -> list[list[str]] | None:
        """A record for each line, by the stdlib's reader; None if a quote, or a long cell, needs a closer look."""
        if not self._can_be_quick(lines):
            return None
        rows = self._strictly(lines)
        width = None if self._shape is None else self._shape.width
        if rows is None or width is None or set(map(len, rows)) == {width}:
            return rows
        if any(len(row) < width and '"' in line for row, line in zip(rows, lines, strict=True)):
            return None
        return list(map(self._fitted, rows))

    def _can_be_quick(self, lines: list[str]) -> bool:
        """Whether the stdlib's reader takes a quote for what it is: it does not behind blanks, nor in a long cell."""
        if max(map(len, lines), default=0) > CELL_CHARACTERS:
            return False
        text = "".join(lines)
        # Looking for two characters takes long, and most texts have no tab.
        if '"' not in text or not (' "' in text or ("\t" in text and '\t"' in text)):
            return True
        return not any(map(self._quotes.opens_behind_blanks, lines))

    def _strictly(self, lines: list[str]) -> list[list[str]] | None:
        """A record for each line; None if a cell goes over a line's end, or text stands behind a closing quote."""
        try:
            rows = list(csv.reader(chain(lines, (_END,)), delimiter=self._delimiter, strict=True))
        except csv.Error:
            return None
        return rows[:-1] if len(rows) == len(lines) + 1 else None

    def _counted(self, rows: list[list[str]]) -> list[list[str] | Broken]:
        """The rows but the empty ones."""
        if all(rows) and all(map(str.strip, map(_FIRST_CELL, rows))):
            self._sheet.add(len(rows))
            return [*rows]
        found: list[list[str] | Broken] = []
        for row in rows:
            if _is_empty(row):
                self._sheet.skip()
            else:
                self._sheet.add()
                found.append(row)
        return found

    def _quickly(self, lines: list[str], at: int, found: list[list[str] | Broken]) -> int:
        """Read on from a line with the stdlib's reader; return where a line is that needs a closer look."""
        reader = csv.reader(lines[at:], delimiter=self._delimiter, strict=True)
        start = at
        # Text behind a quote, a quote that is open behind the last line, and a cell that is too long raise it.
        with contextlib.suppress(csv.Error):
            for row in reader:
                end = start + reader.line_num
                if not self._is_sure(row, lines, at, end):
                    break
                if end - at == 1 and _is_empty(row):
                    self._sheet.skip()
                else:
                    self._sheet.add()
                    found.append(self._fitted(row))
                at = end
        return at

    def _is_sure(self, row: list[str], lines: list[str], at: int, end: int) -> bool:
        """Whether a row that the stdlib's reader made of these lines is what `_judged` would make of them."""
        width = len(row) if self._shape is None else self._shape.width
        if len(row) < width and '"' in lines[at]:
            return False
        if end - at == 1:
            return True
        return not (
            self._holds_a_row(row)
            or max(map(len, row)) > CELL_CHARACTERS
            or sum(map(len, lines[at:end])) > OPEN_RECORD_CHARACTERS
        )

    def _take(self, line: str, found: list[list[str] | Broken]) -> None:
        """Take a line, and look at it closely."""
        record = self._record or OpenRecord(self._quotes)
        is_whole = record.add(line)
        self._record = None
        if record.is_long or (not is_whole and record.size > OPEN_RECORD_CHARACTERS):
            found += self._torn(record)
        elif is_whole:
            found += self._judged(record)
        else:
            self._record = record

    def _end(self, found: list[list[str] | Broken]) -> None:
        """End with the last line."""
        if self._record is not None:
            record, self._record = self._record, None
            found += self._torn(record)

    def _torn(self, record: OpenRecord) -> list[list[str] | Broken]:
        """Of a quote that never closes, its line; the others are read each by itself, and never again."""
        first, *others = record.lines
        found: list[list[str] | Broken] = [*self._broken(UNCLOSED_QUOTE, (first,))]
        for line in others:
            alone = OpenRecord(self._quotes)
            is_whole = alone.add(line)
            found += self._judged(alone) if is_whole and not alone.is_long else self._broken(UNCLOSED_QUOTE, (line,))
        return found

    def _judged(self, record: OpenRecord) -> Sequence[list[str] | Broken]:
        """A record, if its quotes can be trusted; else its lines, all of them torn."""
        cells = self._fitted(record.cells)
        several = len(record.lines) > 1
        width = None if self._shape is None else self._shape.width
        if (
            record.has_text_behind
            or (several and self._holds_a_row(cells))
            or (record.has_loose_quotes and width is not None and len(cells) < width)
        ):
            return self._broken(UNCLOSED_QUOTE if several else BAD_ROW, record.lines)
        if not several and _is_empty(cells):
            self._sheet.skip()
            return ()
        if max(map(len, cells)) > _UNQUOTED_CHARACTERS:
            return self._broken(UNCLOSED_QUOTE if several else VALUE_TOO_LONG, record.lines)
        if self._shape is None and self._number_column is not None:
            self._shape = RowShape(len(cells), self._number_column(cells), self._delimiter)
        self._sheet.add()
        return (cells,)

    def _holds_a_row(self, cells: list[str]) -> bool:
        """Whether cells of a record of several lines could hold rows of this file behind a stray quote."""
        if self._shape is not None:
            return len(self._fitted(cells)) > self._shape.width or self._shape.is_in(cells)
        if self._number_column is None:
            return False
        if self._has_header:
            # Nothing is known of the rows, and what stands in a header is no number.
            behind = (line for cell in cells for line in lines_in(cell)[1:])
            return any(looks_like_number(part) for line in behind for part in line.split(self._delimiter))
        return RowShape(len(cells), self._number_column(cells), self._delimiter).is_in(cells)

    def _broken(self, reason: str, lines: Sequence[str]) -> list[list[str] | Broken]:
        """Each line as a torn record; in a spreadsheet they are one row."""
        found: list[list[str] | Broken] = []
        for line in lines:
            if not line.replace(self._delimiter, "").strip():
                continue
            if found:
                self._sheet.add_to_last()
            else:
                self._sheet.add()
            found.append(Broken(reason, line.rstrip("\r\n")))
        return found

    def _fitted(self, cells: list[str]) -> list[str]:
        """Cells without empty ones behind the last column."""
        if self._shape is not None and len(cells) > self._shape.width and _is_empty(cells[self._shape.width :]):
            return cells[: self._shape.width]
        return cells


def _is_empty(cells: Sequence[str]) -> bool:
    return not any(map(str.strip, cells))


def plain_cells(text: str, width: int, delimiter: str = COMMA) -> Cells | None:
    """The records of whole lines; None if the text needs a closer look.

    They are what `CsvRecords` would make of the lines, each a record of so many cells. No cell holds anything that
    JSON writes otherwise than UTF-8 does, is not Unicode, or is longer than the API takes.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if '"' in text or "\r" in text or "\\" in text or not text.endswith("\n"):
        return None
    # A cell for each line's end shows whether all lines have equally many.
    cells = text.replace("\n", f"{delimiter}\n{delimiter}").split(delimiter)
    lines = len(cells) // (width + 1)
    if len(cells) != lines * (width + 1) + 1 or cells[width :: width + 1] != ["\n"] * lines:
        return None
    del cells[width :: width + 1], cells[-1]
    # Rows of empty cells are no records; a blank line is one of them if there is one column. Most files have no such
    # cell in their first column, and no control character is left below.
    first = cells[::width]
    together = "".join(first)
    if not (all(first) and together.isascii() and " " not in together) and any(map(_is_empty, Cells(cells, width))):
        return None
    if not _are_short(text) and max(map(len, cells)) > wire.CHARACTERS_A_VALUE:
        return None
    if _escapes(text) != lines * (1 + (width - 1) * _escapes(delimiter)):
        return None
    return Cells(cells, width)


def clean_cells(records: Sequence[list[str] | Broken], width: int) -> Cells | None:
    """Records that were read with care, on the same terms as those of `plain_cells`.

    Args:
        records: of lines that are clean.
        width: how many cells each must have.
    """
    lists = [record for record in records if isinstance(record, list)]
    if len(lists) < len(records) or set(map(len, lists)) != {width}:
        return None
    cells = [*chain.from_iterable(lists)]
    return Cells(cells, width) if _escapes("".join(cells)) == 0 else None


def _escapes(text: str) -> int:
    """How many bytes a text has more as JSON than in UTF-8; less than none if it is not Unicode.

    Much faster than to search for each character that JSON escapes.
    """
    try:
        return len(wire.dumps(text)) - len(text.encode()) - len('""')
    except (TypeError, UnicodeEncodeError):
        return -1


def _are_short(text: str) -> bool:
    """Whether no line is longer than a value may be."""
    start, end = 0, len(text)
    while start < end:
        after = text.rfind("\n", start, start + wire.CHARACTERS_A_VALUE + 1) + 1
        if not after:
            return False
        start = after
    return True
