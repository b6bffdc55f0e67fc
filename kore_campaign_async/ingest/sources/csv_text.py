"""CSV text becomes records, and a torn record costs only its own line. Pure.

The stdlib's reader does the reading. What it does not do is stop: a quote that never closes swallows the rest
of the file. So it reads known lines, and a quoted cell that is longer than 64 KiB, or still open at the end of
the file, costs its first physical line (`unclosed_quote`); reading goes on at the next line.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from itertools import accumulate, chain, islice
from typing import Final

from attrs import frozen

from kore_campaign_async import wire
from kore_campaign_async.ingest.records import UNCLOSED_QUOTE, VALUE_TOO_LONG, Broken, Cells

CELL_CHARACTERS: Final = 1 << 16
#: Quotes that open and close over lines without end make a record that never ends: here it is torn.
OPEN_RECORD_CHARACTERS: Final = 1 << 18

# Behind the last line, to see whether a quote is open there. No decoded file holds this character.
_END: Final = "\udfff"

#: What parts the cells of a line, the most usual one first.
DELIMITERS: Final = (",", ";", "\t", "|")
COMMA: Final = DELIMITERS[0]
# Excel's own way to say it, on a line before the header.
_SAID: Final = re.compile(r'"?sep=([^"\w\s]|\t)"?(?:\r\n|\r|\n)', re.IGNORECASE)
# A quoted cell, whole or still open; a quote opens a cell only where a cell begins.
_QUOTED_CELL: Final = re.compile(r'(?:(?<=[,;\t|\n\r])|^)"[^"]*(?:""[^"]*)*(?:"|$)')
_HEADER_LINE: Final = re.compile(r"\s*?([^\r\n]*\S[^\r\n]*)([\r\n])?")
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
    line = _HEADER_LINE.match(_QUOTED_CELL.sub('"', text[:_HEADER_CHARACTERS].lstrip("\r\n")))
    if not final and (line is None or line[2] is None):
        return None
    header = "" if line is None else line[1]
    if header == "row,reason" or header.startswith("row,reason,"):
        return Heading(COMMA)
    return Heading(max(DELIMITERS, key=header.count))


class CsvRecords:
    """Turns lines into records; a record that the lines leave open is kept for the next call.

    Args:
        delimiter: what parts their cells.

    Attributes:
        plain: whether each record of the last call stood on a line of its own.
    """

    def __init__(self, delimiter: str = COMMA) -> None:
        self.plain = True
        self._delimiter = delimiter
        # A quote opens a cell only where a cell begins.
        self._quoted = re.compile(rf'(?:^|[{re.escape(delimiter)}\n\r])"([^"]*(?:""[^"]*)*)')
        self._kept: list[str] = []

    @property
    def is_open(self) -> bool:
        """Whether a record is kept for the next call."""
        return bool(self._kept)

    def feed(self, lines: list[str], *, final: bool = False) -> list[list[str] | Broken]:
        """Take the lines that follow those of the last call; return the records that are whole.

        Args:
            lines: with their ends. Blank ones are no records.
            final: whether the source ends with them.
        """
        lines, self._kept = self._kept + lines, []
        rows = _one_a_line(lines, self._delimiter)
        self.plain = rows is not None
        return [row for row in rows if row] if rows is not None else self._carefully(lines, final=final)

    def _carefully(self, lines: list[str], *, final: bool) -> list[list[str] | Broken]:
        """Read record by record, and go on behind the first line of one that is torn."""
        records: list[list[str] | Broken] = []
        start = torn_until = 0
        while start < len(lines):
            if start < torn_until:
                # What was part of a torn record is read line by line, so that no line is read ever again.
                rows = _one_a_line(lines[start : start + 1], self._delimiter)
                records += [row for row in rows if row] if rows is not None else [_torn(UNCLOSED_QUOTE, lines[start])]
                start += 1
                continue
            reader = csv.reader(chain(islice(lines, start, None), (_END,)), delimiter=self._delimiter)
            offset = start
            reason: str | None = None
            while start < len(lines) and reason is None:
                try:
                    row = next(reader)
                except csv.Error:  # a cell beyond the reader's own limit, which is above ours
                    row, reason = [], VALUE_TOO_LONG
                end = offset + reader.line_num
                is_open = end > len(lines) and reason is None
                if (reason or is_open or max(map(len, row), default=0) > CELL_CHARACTERS) and (
                    at := self._line_of_long_quote(lines, start, end)
                ) is not None:
                    reason, torn_until = UNCLOSED_QUOTE, at
                elif is_open:
                    if not final and sum(map(len, lines[start:])) <= OPEN_RECORD_CHARACTERS:
                        self._kept = lines[start:]
                        return records
                    reason, torn_until = UNCLOSED_QUOTE, len(lines)
                if reason is None:
                    records += [row] if row else []
                    start = end
            if reason is not None:
                records.append(_torn(reason, lines[start]))
                start += 1
        return records

    def _line_of_long_quote(self, lines: list[str], start: int, end: int) -> int | None:
        """The line between these two on which a quoted cell begins that is longer than 64 KiB."""
        for match in self._quoted.finditer("".join(lines[start:end])):
            if len(match[1]) > CELL_CHARACTERS:
                ends = accumulate(map(len, lines[start:end]))
                return start + next(index for index, after in enumerate(ends) if match.start(1) <= after)
        return None


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
    # A blank line is no record, and only here it has the right width.
    if width == 1 and "" in cells:
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


def _one_a_line(lines: list[str], delimiter: str) -> list[list[str]] | None:
    """A record for each line; None if a cell goes over a line's end, or is too long."""
    if max(map(len, lines), default=0) > CELL_CHARACTERS:
        return None
    try:
        rows = list(csv.reader(chain(lines, (_END,)), delimiter=delimiter))
    except csv.Error:
        return None
    return rows[:-1] if len(rows) == len(lines) + 1 else None


def _torn(reason: str, line: str) -> Broken:
    return Broken(reason, line.rstrip("\r\n"))
