"""A table in parts that are bounded by rows, cells and bytes. Needs the extra `tables`.

What a table takes where it lies says little: equal texts are kept once in a dictionary, and a page of them is a few
bytes on disk. What counts is what its rows become: a text for each cell, and each contact as JSON with its names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

#: A slice has so many rows, cells and bytes at most, or one row.
SLICE_ROWS: Final = 1 << 15
_SLICE_CELLS: Final = 200_000
_SLICE_BYTES: Final = 4 << 20

# What is read of a file at once. To come to a row, all before it in its group are passed over, so that few large
# readings are quicker than many small ones.
_FIRST_ROWS: Final = 1 << 12
_MOST_ROWS: Final = 1 << 18
_READ_CELLS: Final = 1 << 20
_READ_BYTES: Final = 32 << 20
_GROWTH: Final = 4

# From so many cells on an Arrow file is read column by column: each of its batches is unpacked as a whole.
_MANY_CELLS: Final = 4 << 20


def frames_of(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A table that is in memory, in parts."""
    for begin in range(0, len(frame), _MOST_ROWS):
        yield frame.slice(begin, _MOST_ROWS)


def frames_of_file(given: pl.LazyFrame, rows: int, *, by_columns: bool) -> Iterator[pl.DataFrame]:
    """A file's table in parts, each read by itself: an engine that reads ahead takes a whole row group.

    Args:
        given: the columns that are wanted.
        rows: how many it says that there are.
        by_columns: whether a large table is read column by column.
    """
    names = given.collect_schema().names()
    columns = [given]
    if by_columns and rows * len(names) > _MANY_CELLS:
        columns = [given.select(pl.nth(index)) for index in range(len(names))]
    most = max(1, min(_MOST_ROWS, _READ_CELLS // max(1, len(names))))
    begin, count = 0, min(_FIRST_ROWS, most)
    while True:  # until it has no more, whatever it says of its length
        first, *others = (_read(column, begin, count) for column in columns)
        frame = first.hstack([other.to_series() for other in others])
        if not len(frame):
            return
        yield frame
        begin += len(frame)
        each = max(1, int(_text_bytes(frame).sum()) // len(frame))
        count = max(1, min(most, count * _GROWTH, _READ_BYTES // each))


def _read(given: pl.LazyFrame, begin: int, count: int) -> pl.DataFrame:
    """Some rows, copied: as they are read, they hold on to all that was unpacked with them."""
    return given.slice(begin, count).collect().select(pl.all().gather(pl.int_range(pl.len())))


def slices_of(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """A part of a table in slices that the pipeline takes one by one."""
    names = sum(len(name.encode()) for name in frame.columns)
    most = max(1, min(SLICE_ROWS, _SLICE_CELLS // max(1, frame.width), _SLICE_BYTES // max(1, names)))
    ends = _text_bytes(frame).cum_sum()
    begin = before = 0
    while begin < len(frame):
        end = int(ends.search_sorted(before + _SLICE_BYTES, side="right"))
        end = max(begin + 1, min(end, begin + most))
        yield frame.slice(begin, end - begin)
        begin, before = end, int(ends[end - 1])


def _text_bytes(frame: pl.DataFrame) -> pl.Series:
    """How many bytes of text each row becomes, as far as its columns are texts; all others are short."""
    sizes: list[pl.Expr] = []
    for index, kind in enumerate(frame.dtypes):
        if isinstance(kind, pl.String):
            sizes.append(pl.nth(index).str.len_bytes())
        elif isinstance(kind, pl.Categorical | pl.Enum):
            sizes.append(pl.nth(index).cat.len_bytes())
    if not sizes:
        return pl.zeros(len(frame), dtype=pl.UInt64, eager=True)
    return frame.select(pl.sum_horizontal(size.cast(pl.UInt64) for size in sizes).alias("bytes")).to_series()
