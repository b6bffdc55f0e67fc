"""CSV text becomes records, and a torn record costs only its own line. Pure.

The stdlib's reader does the reading. What it does not do is stop: a quote that never closes swallows the rest
of the file. So it reads known lines, and a quoted cell that is longer than 64 KiB, or still open at the end of
the file, costs its first physical line (`unclosed_quote`); reading goes on at the next line.
"""

from __future__ import annotations

import csv
import re
from itertools import chain, islice
from typing import Final

from kore_campaign_async.ingest.records import UNCLOSED_QUOTE, VALUE_TOO_LONG, Broken

CELL_CHARACTERS: Final = 1 << 16

# Behind the last line, to see whether a quote is open there. No decoded file holds this character.
_END: Final = "\udfff"

# A quote opens a cell only where a cell begins.
_QUOTED = re.compile(r'(?:^|[,\n\r])"([^"]*(?:""[^"]*)*)')


class CsvRecords:
    """Turns lines into records; a record that the lines leave open is kept for the next call.

    Attributes:
        plain: whether each record of the last call stood on a line of its own.
    """

    def __init__(self) -> None:
        self.plain = True
        self._kept: list[str] = []

    def feed(self, lines: list[str], *, final: bool = False) -> list[list[str] | Broken]:
        """Take the lines that follow those of the last call; return the records that are whole.

        Args:
            lines: with their ends. Blank ones are no records.
            final: whether the source ends with them.
        """
        lines, self._kept = self._kept + lines, []
        self.plain = True
        if lines and max(map(len, lines)) <= CELL_CHARACTERS:
            rows = list(csv.reader(chain(lines, (_END,))))
            # A record for each line, and one for the end: no cell goes over a line's end.
            if len(rows) == len(lines) + 1:
                return [row for row in islice(rows, len(lines)) if row]
        self.plain = False
        return self._carefully(lines, final=final)

    def _carefully(self, lines: list[str], *, final: bool) -> list[list[str] | Broken]:
        records: list[list[str] | Broken] = []
        start = 0
        while start < len(lines):
            offset, torn = start, None
            reader = csv.reader(chain(islice(lines, start, None), (_END,)))
            while torn is None:
                try:
                    row = next(reader)
                except csv.Error:  # a cell beyond the reader's own limit, which is above ours
                    row, torn = [], VALUE_TOO_LONG
                if row == [_END]:
                    return records
                end = offset + reader.line_num
                is_open = end > len(lines)
                if (torn or is_open or _longest(row) > CELL_CHARACTERS) and _has_long_quote(lines[start:end]):
                    torn = UNCLOSED_QUOTE
                elif is_open and torn is None:
                    if not final:
                        self._kept = lines[start:]
                        return records
                    torn = UNCLOSED_QUOTE
                if torn is None:
                    records += [row] if row else []
                    start = end
            records.append(Broken(torn, lines[start].rstrip("\r\n")))
            start += 1
        return records


def _longest(cells: list[str]) -> int:
    return max(map(len, cells), default=0)


def _has_long_quote(lines: list[str]) -> bool:
    return _longest(_QUOTED.findall("".join(lines))) > CELL_CHARACTERS
