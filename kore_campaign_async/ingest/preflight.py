"""A look at the first rows before anything is sent: a wrong region or column shows there, and costs nothing yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from attrs import define, evolve, field

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.matching import Shape, is_number_name
from kore_campaign_async.ingest.normalise import Normaliser, Sorted, WithPlus, text_of
from kore_campaign_async.ingest.records import (
    AMBIGUOUS_PHONE,
    HAS_EXTENSION,
    INVALID_PHONE,
    MISSING_PLUS,
    NO_AREA_CODE,
    UNASSIGNED_PHONE,
    Broken,
    Cells,
    Record,
    Slice,
    TableSlice,
)

ROWS: Final = 10_000
_WITHOUT_PLUS_SHARE: Final = 0.01
_EXAMPLES: Final = 3
_LAST_DIGITS: Final = 3
_TRIED_TEXTS: Final = 40
_NAMED_REGIONS: Final = 3

# The reasons that another region, or another column, could do away with.
_OF_NUMBERS: Final = {INVALID_PHONE, AMBIGUOUS_PHONE, NO_AREA_CODE, UNASSIGNED_PHONE, MISSING_PLUS, HAS_EXTENSION}


@define
class FirstLook:
    """What the first rows of a source come to.

    Attributes:
        rows: that were looked at.
        rejected: how many have each reason code.
        without_plus: contacts whose number has no `+`, and the first of them, masked.
        unread: numbers of rejected rows as they are written.
    """

    rows: int = 0
    rejected: Counter[str] = field(factory=Counter)
    without_plus: int = 0
    examples: list[str] = field(factory=list)
    unread: list[str] = field(factory=list, repr=False)

    @property
    def rejected_rows(self) -> int:
        """How many rows are rejected."""
        return self.rejected.total()

    def take(self, parts: Iterable[Slice | TableSlice], normaliser: Normaliser) -> None:
        """Look at slices, as far as the first rows go. It takes its time: not for the event loop."""
        for part in parts:
            left = ROWS - self.rows
            if left <= 0:
                return
            self.rows += min(left, len(part))
            if isinstance(part, Slice):
                first = part if len(part) <= left else Slice(part.first, part.records[:left], part.suspect)
                self._count(normaliser.sort(first), normaliser)
            else:
                self._count_columns(evolve(part, frame=part.frame.head(left)), normaliser)

    def _count_columns(self, part: TableSlice, normaliser: Normaliser) -> None:
        # Where there is a table, its library is imported already.
        from kore_campaign_async.ingest.columns import ColumnNormaliser, as_rows  # noqa: PLC0415

        found = ColumnNormaliser(normaliser).sort(part)
        if found is None:
            self._count(normaliser.sort(as_rows(part)), normaliser)
            return
        self._reject(found.rejected, normaliser)
        self._number(found.numbers_without_plus())

    def _count(self, found: Sorted, normaliser: Normaliser) -> None:
        self._reject(found.rejected, normaliser)
        self._number([number for number in _numbers(found, normaliser.table) if not number.startswith("+")])

    def _reject(self, rejected: Sequence[tuple[int, str, Record]], normaliser: Normaliser) -> None:
        self.rejected.update(reason for _, reason, _ in rejected)
        room = _TRIED_TEXTS - len(self.unread)
        texts = (_number_of(one, normaliser.table) for _, reason, one in rejected if reason in _OF_NUMBERS)
        self.unread += islice(filter(None, texts), room)

    def _number(self, without_plus: Sequence[str]) -> None:
        self.without_plus += len(without_plus)
        for number in without_plus[: _EXAMPLES - len(self.examples)]:
            self.examples.append("•" * (len(number) - _LAST_DIGITS) + number[-_LAST_DIGITS:])

    def warnings(self, normaliser: Normaliser) -> tuple[str, ...]:
        """What a person should know before the first call: numbers that may lack their country's code."""
        valid = self.rows - self.rejected_rows
        reads_regions = normaliser.numbering is not None and not isinstance(normaliser.numbering, WithPlus)
        if reads_regions or self.without_plus <= _WITHOUT_PLUS_SHARE * valid:
            return ()
        of = f"{'' if self.rows < ROWS else 'first '}{valid:,} valid numbers"
        warning = (
            f"{self.without_plus:,} of the {of} have no + and are sent as they are, such as {', '.join(self.examples)}:"
            " if they lack their country code, give --region; --require-plus refuses them"
        )
        return (warning,)

    def refuse(self, name: str, most_percent: float, region: str | None) -> None:
        """Raise SourceError if more than so many percent of the rows are rejected.

        Args:
            name: of the source.
            most_percent: 0 to 100.
            region: by whose customs the numbers were read, if they were.
        """
        if self.rejected_rows * 100 <= most_percent * self.rows:
            return
        ((reason, count),) = self.rejected.most_common(1)
        rows = f"{self.rejected_rows:,} of the {'first ' if self.rows >= ROWS else ''}{self.rows:,} rows"
        advice = _advice(self.unread, region) if reason in _OF_NUMBERS else "Fix these rows."
        raise SourceError(
            f"{name}: {rows} are rejected, most often as {reason} ({count:,}), so nothing was sent. {advice}"
            " --dry-run shows all reasons, and --max-rejected 100 sends the valid rows anyway"
        )


def _numbers(found: Sorted, table: Shape | None) -> Sequence[str]:
    if isinstance(found.contacts, Cells) and table is not None:
        return found.contacts.flat[table.number :: found.contacts.width]
    return [contact[wire.PHONE_NUMBER] for contact in found.contacts]


def _number_of(record: Record, table: Shape | None) -> str | None:
    """What stands at a record's number, if there is anything."""
    if isinstance(record, Broken):
        return None
    if isinstance(record, list):
        return record[table.number] if table is not None and table.number < len(record) else None
    values = (text_of(value) for key, value in record.items() if isinstance(key, str) and is_number_name(key))
    return next(values, None)


def _advice(texts: Sequence[str], region: str | None) -> str:
    """What to do about texts that are no numbers; the regions in which most of them are."""
    try:
        # Only who pushes national numbers needs the library, and only where something is wrong are all regions tried.
        from kore_campaign_async.ingest.numbering import best_regions  # noqa: PLC0415
    except ImportError:
        return (
            "If they are national numbers, give --region, which needs the extra phone: pip install"
            " 'kore-campaign-async[phone]'."
        )
    found = [f"{name} ({count} of {len(texts)} tried)" for name, count in best_regions(texts) if name != region]
    if found:
        more = " or that of another country" if len(found) > _NAMED_REGIONS else ""
        return (
            f"The numbers would be valid with --region {' or '.join(found[:_NAMED_REGIONS])}{more}: give that of the"
            " country that they are from."
        )
    return (
        "Check which column is the number (--map COLUMN=phoneNumber), and of which country the numbers are (--region)."
    )
