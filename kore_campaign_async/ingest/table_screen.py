"""The screen for sources that yield slices of tables, and slices of records between them. Needs the extra `tables`."""

from __future__ import annotations

import polars as pl
from attrs import define, field

from kore_campaign_async.ingest.columns import (
    ColumnNormaliser,
    JsonColumn,
    NumbersOfTables,
    SortedTable,
    are_among,
    as_rows,
)
from kore_campaign_async.ingest.records import Batch, Settled, Slice, State, TableSlice
from kore_campaign_async.ingest.screen import Screen, rejected


@define
class TableScreen(Screen):
    """Takes both kinds of slices; what it makes of them is the same. Its `seen` is one that takes columns too."""

    _columns: ColumnNormaliser = field(init=False)
    _barred: pl.Series = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._columns = ColumnNormaliser(self.normaliser)
        self._barred = pl.Series(sorted(self.suppressed), dtype=pl.UInt64)

    def take(self, part: Slice | TableSlice) -> list[Batch | Settled]:
        """Sort a slice into full batches and what is settled without a call."""
        if isinstance(part, Slice):
            return super().take(part)
        found = self._columns.sort(part)
        if found is None:
            return super().take(as_rows(part))
        made: list[Batch | Settled] = [rejected(found.rejected)] if found.rejected else []
        if len(self._barred):
            barred = found.table.select(are_among(self._barred)).to_series()
            if barred.any():
                left_out = found.kept(barred)
                self.suppressed.meet(left_out.table["key"].to_list())
                made.append(_settled(State.SUPPRESSED, left_out, "suppressed"))
                found = found.kept(~barred)
        if self.seen is not None and len(found.table):
            assert isinstance(self.seen, NumbersOfTables)  # noqa: S101  it was made with one
            rows = found.row_column
            first = self.seen.first_of(found.table["key"], rows)
            if first is not None:
                again = first != rows
                reasons = [f"duplicate of row {row}" for row in first.filter(again)]
                made.append(_settled(State.DUPLICATE, found.kept(again), reasons))
                found = found.kept(~again)
        return made + self.feed(found.table["key"], found.rows, found.contacts, found.records, JsonColumn.encoded)


def _settled(state: State, found: SortedTable, reasons: list[str] | str) -> Settled:
    return Settled(state, found.rows, found.records, reasons)
