"""Which row of a spreadsheet each record of a file is. Pure."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

_MOST_SHIFTS: Final = 10_000


class SheetRows:
    """Counts a file's rows as a spreadsheet does: the header, blank rows and rows that are passed over included.

    Kept is only how far a record's row is from its number, and where that changes, at 10,000 places at most.

    Attributes:
        headers: how many of the records are a header: one, or none.
    """

    def __init__(self) -> None:
        self.headers = 1
        self._records = 0
        self._rows = 0
        # From which record on a row is so many behind it.
        self._from = [0]
        self._shifts = [1]
        self._known: int | None = None

    def add(self, records: int = 1) -> None:
        """Take records that stand in a row each."""
        shift = self._rows + 1 - self._records
        if shift != self._shifts[-1] and self._known is None:
            if len(self._from) < _MOST_SHIFTS:
                self._from.append(self._records)
                self._shifts.append(shift)
            else:
                self._known = self._records
        self._records += records
        self._rows += records

    def add_to_last(self) -> None:
        """Take a record that stands in the same row as the last one."""
        self._rows -= 1
        self.add()

    def skip(self) -> None:
        """Pass over a row that is no record."""
        self._rows += 1

    def row_of(self, row: int) -> int | None:
        """A record's row in a spreadsheet; None where that is not kept.

        Args:
            row: the record's number; the first is 1, a header is not counted.
        """
        index = row - 1 + self.headers
        if row < 1 or index >= self._records or (self._known is not None and index >= self._known):
            return None
        return index + self._shifts[bisect_right(self._from, index) - 1]
