"""What an earlier part of a run did with ranges of rows: laid over each other, so that the latest word on a row holds.

Pure. A journal has as many ranges as calls were tried, in the order in which they went out, which is not that of their
rows: all of them are laid at once, in the time that sorting them takes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from heapq import heappop, heappush
from itertools import pairwise

from attrs import evolve, frozen

from kore_campaign_async.ingest.records import State


@frozen
class Known:
    """What the journal knows of a range of rows.

    Attributes:
        state: of its contacts; None where a call may have been processed and nothing was settled.
        reason: why, numbers masked.
    """

    first_row: int
    last_row: int
    state: State | None
    reason: str

    @property
    def in_doubt(self) -> bool:
        """Whether its contacts may have been processed, and nobody knows."""
        return self.state is None or self.state is State.UNCERTAIN


def range_from(ranges: Sequence[Known], row: int) -> Known | None:
    """The range that holds a row, else the next one behind it; of ranges in order that don't overlap."""
    index = bisect_left(ranges, row, key=lambda known: known.last_row)
    return ranges[index] if index < len(ranges) else None


def range_of(ranges: Sequence[Known], row: int) -> Known | None:
    """The range that holds a row, if there is one."""
    known = range_from(ranges, row)
    return known if known is not None and known.first_row <= row else None


def overlaid(ranges: Sequence[Known]) -> list[Known]:
    """What is left of ranges of which each covers those before it: ranges in the order of rows that don't overlap."""
    edges = sorted({edge for known in ranges for edge in (known.first_row, known.last_row + 1)})
    beginning = sorted(range(len(ranges)), key=lambda index: ranges[index].first_row, reverse=True)
    # Those that reach over the rows between two edges, and some that ended before; the latest one on top.
    covering: list[int] = []
    found: list[tuple[int, int, int]] = []
    for begin, behind in pairwise(edges):
        while beginning and ranges[beginning[-1]].first_row == begin:
            heappush(covering, -beginning.pop())
        while covering and ranges[-covering[0]].last_row < begin:
            heappop(covering)
        if not covering:
            continue
        top = -covering[0]
        if found and found[-1][0] == top and found[-1][2] == begin:
            found[-1] = (top, found[-1][1], behind)
        else:
            found.append((top, begin, behind))
    return [_cut(ranges[index], begin, behind - 1) for index, begin, behind in found]


def with_rows(ranges: Sequence[Known], rows: Sequence[int], state: State, reason: str) -> list[Known]:
    """Ranges with single rows of one state between and within them; both are in order."""
    found: list[Known] = []
    at = 0
    for known in ranges:
        first = known.first_row
        while at < len(rows) and rows[at] <= known.last_row:
            if first < rows[at]:
                found.append(_cut(known, first, rows[at] - 1))
            found.append(Known(rows[at], rows[at], state, reason))
            first = max(first, rows[at] + 1)
            at += 1
        if first <= known.last_row:
            found.append(_cut(known, first, known.last_row))
    return found + [Known(row, row, state, reason) for row in rows[at:]]


def _cut(known: Known, first: int, last: int) -> Known:
    return (
        known if (first, last) == (known.first_row, known.last_row) else evolve(known, first_row=first, last_row=last)
    )
