"""What travels through the pipeline. Plain lists of rows, since a value per contact would cost more than the rest."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Final, overload

from attrs import field, frozen

from kore_campaign_async import wire

if TYPE_CHECKING:
    import polars as pl  # of the extra tables: nothing here needs it to run


class State(enum.StrEnum):
    """The one state that a contact ends in."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    DUPLICATE = "duplicate"
    SUPPRESSED = "suppressed"
    REFUSED = "refused"
    UNCERTAIN = "uncertain"
    UNSENT = "unsent"


MISSING_PHONE: Final = "missing_phone"
INVALID_PHONE: Final = "invalid_phone"
HAS_EXTENSION: Final = "has_extension"
LOST_DIGITS: Final = "lost_digits"
NO_AREA_CODE: Final = "no_area_code"
AMBIGUOUS_PHONE: Final = "ambiguous_phone"
UNASSIGNED_PHONE: Final = "unassigned_phone"
SEVERAL_NUMBERS: Final = "several_numbers"
DATE_OR_AMOUNT: Final = "date_or_amount"
MISSING_PLUS: Final = "missing_plus"
#: Why a duplicate is one whose number another run has sent; its name stands behind this.
SENT_BEFORE: Final = "sent_before"
VALUE_TOO_LONG: Final = "value_too_long"
TOO_MANY_COLUMNS: Final = "too_many_columns"
BAD_TIME_ZONE: Final = "bad_time_zone"
BAD_VALUE: Final = "bad_value"
BAD_ROW: Final = "bad_row"
UNCLOSED_QUOTE: Final = "unclosed_quote"
TOO_LARGE: Final = "too_large"


@frozen
class Broken:
    """A record that could not be read as one, with the reason code and the source's own text."""

    reason: str
    text: str = field(repr=False)


class Cells(Sequence[list[str]]):
    """Records of equally many cells, which become lists only for whoever looks at one.

    Args:
        flat: the cells of all records, one record behind the other.
        width: how many cells a record has.
    """

    __slots__ = ("flat", "width")

    def __init__(self, flat: list[str], width: int) -> None:
        self.flat = flat
        self.width = width

    def __len__(self) -> int:
        return len(self.flat) // self.width

    def __iter__(self) -> Iterator[list[str]]:
        return (self.flat[at : at + self.width] for at in range(0, len(self.flat), self.width))

    @overload
    def __getitem__(self, index: int) -> list[str]: ...
    @overload
    def __getitem__(self, index: slice) -> Cells: ...
    def __getitem__(self, index: int | slice) -> list[str] | Cells:
        places = range(len(self))[index]
        if isinstance(places, int):
            return self.flat[places * self.width : (places + 1) * self.width]
        if places.step == 1:
            return Cells(self.flat[places.start * self.width : places.stop * self.width], self.width)
        return self.picked(places)

    def picked(self, indices: Iterable[int]) -> Cells:
        """The records at these indices."""
        flat, width = self.flat, self.width
        return Cells([cell for index in indices for cell in flat[index * width : (index + 1) * width]], width)


#: A table's cells, a mapping, or what could not be read as either.
Record = list[str] | Mapping[Any, Any] | Broken


def picked(items: Sequence[Any], indices: Sequence[int]) -> Sequence[Any]:
    """The items at these indices."""
    return items.picked(indices) if isinstance(items, Cells) else [items[index] for index in indices]


class Joined(Sequence[Record]):
    """Records of several parts as one sequence; none is made before it is asked for."""

    def __init__(self, parts: Sequence[Sequence[Record]]) -> None:
        self._parts = parts

    def __len__(self) -> int:
        return sum(map(len, self._parts))

    def __iter__(self) -> Iterator[Record]:
        return chain.from_iterable(self._parts)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Record]: ...
    def __getitem__(self, index: int | slice) -> Record | Sequence[Record]:
        places = range(len(self))[index]
        if isinstance(places, int):
            return next(islice(self, places, None))
        begin, found = 0, []
        for part in self._parts:
            found.append(part[max(0, places.start - begin) : max(0, places.stop - begin)])
            begin += len(part)
        return Joined([part for part in found if len(part)])


def joined_rows(parts: Sequence[Sequence[int]]) -> Sequence[int]:
    """Row numbers of several parts as one sequence."""
    first, last = parts[0], parts[-1]
    if last[-1] - first[0] + 1 == sum(map(len, parts)):  # they ascend
        return range(first[0], last[-1] + 1)
    return [*chain.from_iterable(parts)]


def joined(parts: Sequence[Sequence[Record]]) -> Sequence[Record]:
    """Records of several parts as one sequence."""
    if len(parts) == 1:
        return parts[0]
    tables = [part for part in parts if isinstance(part, Cells)]
    if len(tables) < len(parts) or len({table.width for table in tables}) > 1:
        return Joined(parts)
    return Cells([*chain.from_iterable(table.flat for table in tables)], tables[0].width)


@frozen
class Slice:
    """Records that follow each other in a source; the first one's row number is `first`.

    Attributes:
        suspect: whether a value can hold NUL, or bytes that were not UTF-8, or be longer than the API takes.
    """

    first: int
    records: Sequence[Record]
    suspect: bool = False

    def __len__(self) -> int:
        return len(self.records)


@frozen(eq=False)
class TableSlice:
    """The same as columns of text.

    Attributes:
        frame: the source's columns, in their order; an absent cell is empty, never null.
        is_clean: whether no cell begins with a blank, or holds what JSON spells otherwise.
        keys: of records that are mappings; there is a column for each of them, and more may follow.
        record_of: makes a row of the frame the source's own record.
        typed: the indices of columns whose values are neither text nor whole numbers in their source.
    """

    first: int
    frame: pl.DataFrame = field(repr=False)
    is_clean: bool = False
    keys: tuple[str, ...] | None = None
    record_of: Callable[[Sequence[str]], Record] = list
    typed: frozenset[int] = frozenset()

    def __len__(self) -> int:
        return len(self.frame)


@frozen(eq=False)
class Batch:
    """Contacts for one call, in the source's order.

    Attributes:
        encoded: the contacts as JSON objects with commas between them.
        in_doubt: whether an earlier call may have been processed: then only an acceptance tells what became of them.
    """

    number: int
    rows: Sequence[int]
    encoded: bytes = field(repr=False)
    records: Sequence[Record] = field(repr=False)
    in_doubt: bool = False

    @property
    def unsent_state(self) -> State:
        """The state of its contacts if it is not sent."""
        return State.UNCERTAIN if self.in_doubt else State.UNSENT

    @property
    def unsent_reason(self) -> str:
        """Why."""
        return "an earlier call may have been processed, and it was not sent again" if self.in_doubt else ""

    def halves(self) -> tuple[Batch, Batch]:
        """Split in two; only for batches of two contacts or more."""
        contacts = wire.loads(b"[" + self.encoded + b"]")
        middle = len(contacts) // 2
        first, second = (
            Batch(self.number, self.rows[part], wire.dumps(contacts[part])[1:-1], self.records[part], self.in_doubt)
            for part in (slice(middle), slice(middle, None))
        )
        return first, second


@frozen
class Outcome:
    """What became of one contact.

    Attributes:
        row: the record's number in the source; the first is 1, a header is not counted.
        state: the state that it ended in.
        reason: why; empty for an accepted one.
        record: the source's own columns.
    """

    row: int
    state: State
    reason: str
    record: Mapping[str, Any] = field(repr=False)


@frozen(eq=False)
class Settled:
    """Contacts that ended in one state: row numbers, their records, and a reason each or one for all."""

    state: State
    rows: Sequence[int]
    records: Sequence[Record] = field(repr=False)
    reasons: Sequence[str] | str = ""

    def entries(self) -> Iterator[tuple[int, str, Record]]:
        """Each contact's row number, reason and record."""
        reasons = [self.reasons] * len(self.rows) if isinstance(self.reasons, str) else self.reasons
        return zip(self.rows, reasons, self.records, strict=True)
