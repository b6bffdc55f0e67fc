"""A record becomes a contact's fields on the wire, or the reason code why it is none. Pure.

Values travel as they are; an empty or all-blank one is an absent field. Only the number is touched: what groups its
digits is stripped (`phone_text.py`), and what is left must have the shape of E.164.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, Protocol, TypeGuard

import tzdata
from attrs import define, field

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.matching import Shape, is_number_name, match
from kore_campaign_async.ingest.phone_text import (
    TypedText,
    clean_number,
    is_e164,
    meanings_by_shape,
    read_number,
    read_typed,
)
from kore_campaign_async.ingest.records import (
    BAD_ROW,
    BAD_TIME_ZONE,
    BAD_VALUE,
    MISSING_PHONE,
    MISSING_PLUS,
    TOO_LARGE,
    TOO_MANY_COLUMNS,
    VALUE_TOO_LONG,
    Broken,
    Cells,
    Record,
    Slice,
    picked,
)

_SMALLEST_KEY: Final = 10**6
_LARGEST_KEY: Final = 10**15 - 1

# Stands for an absent field where contacts are cells; no cell of them holds it.
_ABSENT: Final = "\0"

#: Named anew whenever this file, or what it calls, judges a contact otherwise than before.
RULES: Final = "2"

_SHAPES_KEPT: Final = 1000
_KEYS_KEPT: Final = 100_000

# Up to here a float holds every whole number, and no other one is rounded to it.
_EXACT: Final = float(1 << 53)


class Numbering(Protocol):
    """Rules for numbers that go further than the shape of E.164. They take their time: not for the event loop.

    Attributes:
        name: of these rules; other ones, which judge a number otherwise, have another name.
    """

    name: str

    def clean(self, text: str) -> str | None:
        """The number that a text means; None if it means none that can be called."""
        ...

    def why_not(self, text: str) -> str:
        """The reason code of a text that means none."""
        ...

    def meanings(self, digits: str, *, must_exist: bool = False) -> Sequence[str]:
        """Every number that the digits of a do-not-contact number can mean, behind their `+` if they have one.

        Args:
            digits: as they stand there.
            must_exist: whether a number that can't exist is none.
        """
        ...


class WithPlus:
    """Takes only numbers that are written with their `+`.

    Args:
        numbering: the rules for what has one; None is the shape of E.164.
    """

    def __init__(self, numbering: Numbering | None) -> None:
        self._numbering = numbering
        self.name = "plus" if numbering is None else f"{numbering.name} plus"

    def clean(self, text: str) -> str | None:
        """The number that a text means; None if it means none that can be called."""
        number = clean_number(text) if self._numbering is None else self._numbering.clean(text)
        return number if number is not None and number.startswith("+") else None

    def why_not(self, text: str) -> str:
        """The reason code of a text that means none."""
        number, reason = read_number(text)
        if number is not None and not number.startswith("+"):
            return MISSING_PLUS
        return reason if self._numbering is None else self._numbering.why_not(text)

    def meanings(self, digits: str, *, must_exist: bool = False) -> Sequence[str]:
        """What the rules without the `+` say: a do-not-contact file must not bar fewer."""
        if self._numbering is None:
            return meanings_by_shape(digits, must_exist=must_exist)
        return self._numbering.meanings(digits, must_exist=must_exist)


def _keys(numbers: Sequence[str]) -> list[int] | None:
    """The numbers as integers if all have the shape of E.164, read as one array of JSON. None says nothing."""
    text = ",".join(numbers)
    if "+" in text:
        text = ("," + text).replace(",+", ",")[1:]
    # JSON would take each of these; of all else that no number has it takes nothing.
    if any(sign in text for sign in '+-.eE \t\r\n[]{}tfn"'):
        return None
    try:
        keys: list[int] = wire.loads(f"[{text}]")
    except ValueError:
        return None
    # Where a cell holds a comma there are more of them.
    if len(keys) != len(numbers) or not keys or min(keys) < _SMALLEST_KEY or max(keys) > _LARGEST_KEY:
        return None
    return keys


@functools.cache
def time_zones() -> frozenset[str]:
    """The names of the tz database, as the package tzdata lists them: the same on every machine."""
    return frozenset((Path(tzdata.__file__).parent / "zones").read_text(encoding="ascii").split())


def time_zone_of(text: str) -> str | None:
    """The time zone that a text names, blanks around it and letter case aside; None if there is none."""
    return _zones_by_name().get(text.strip().casefold())


@functools.cache
def _zones_by_name() -> dict[str, str]:
    return {zone.casefold(): zone for zone in time_zones()}


def _spelt_zones(zones: Sequence[str], bad: set[int]) -> list[str]:
    """Time zones as the database spells them; the indices of those that it has not are added to the bad ones."""
    known = time_zones()
    odd = {zone: time_zone_of(zone) for zone in set(zones) - known if zone and not zone.isspace()}
    bad.update(index for index, zone in enumerate(zones) if zone in odd and odd[zone] is None)
    return [odd.get(zone) or zone for zone in zones]


def normalise(  # noqa: PLR0911  one return a reason; taken apart they would say no more
    shape: Shape, values: Sequence[str], *, suspect: bool, room: int, numbering: Numbering | None = None
) -> tuple[int, dict[str, str]] | str:
    """A number's key and the contact's fields, or a reason code.

    Args:
        shape: of the values; there are as many of them as it has names.
        values: texts, in the shape's order.
        suspect: whether a value can hold NUL, or text that is not Unicode, or be too long.
        room: the most bytes that a contact may have as JSON.
        numbering: the rules for numbers; None is the shape of E.164.
    """
    number = _number(values[shape.number], numbering)
    if number is None:
        return _why_not(values[shape.number], numbering)
    contact = {name: value for name, value in zip(shape.names, values, strict=True) if value and not value.isspace()}
    contact[wire.PHONE_NUMBER] = number
    if shape.nameless:
        contact.pop("", None)
    if len(contact) > wire.COLUMNS_A_CONTACT:
        return TOO_MANY_COLUMNS
    if suspect and max(map(len, contact.values())) > wire.CHARACTERS_A_VALUE:
        return VALUE_TOO_LONG
    if shape.time_zone is not None:
        zone = contact.get(wire.TIME_ZONE)
        if zone is not None and zone not in time_zones():
            known = time_zone_of(zone)
            if known is None:
                return BAD_TIME_ZONE
            contact[wire.TIME_ZONE] = known
    if suspect and not _is_clean("".join(contact.values())):
        return BAD_VALUE
    if shape.most_bytes > room and len(wire.dumps(contact)) > room:
        return TOO_LARGE
    return int(number), contact


def _number(given: str, numbering: Numbering | None) -> str | None:
    if type(given) is TypedText:
        given, _ = read_typed(given)
    return clean_number(given) if numbering is None else numbering.clean(given)


def _why_not(given: str, numbering: Numbering | None) -> str:
    """The reason code of what is no number."""
    if not given or given.isspace():
        return MISSING_PHONE
    if type(given) is TypedText:
        given, reason = read_typed(given)
        if reason:
            return reason
    return read_number(given)[1] if numbering is None else numbering.why_not(given)


def _is_clean(text: str) -> bool:
    """Whether a text is free of NUL and of what is not Unicode, such as bytes of a file that were not UTF-8."""
    if "\0" in text:
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_of(value: Any) -> str | None:
    """The text that a mapping's value travels as: "" for null; None if it can't travel."""
    # By its type alone: a value of the program's own class may fail at anything that it is asked.
    kind = type(value)
    if issubclass(kind, str):
        return value if kind is not TypedText else None
    if value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    try:
        return str(int(value)) if issubclass(kind, int) else None
    except ValueError:  # more digits than Python writes
        return None


def number_text_of(value: Any) -> str | None:
    """The same for the value that is the number: floats are taken too where they are whole and hold all digits."""
    if issubclass(type(value), float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else None
    return text_of(value) if type(value) is not TypedText else read_typed(value)[0] or None


class Template:
    """Writes contacts of one shape as JSON.

    Args:
        shape: of the cells; no column is without a name.
    """

    def __init__(self, shape: Shape) -> None:
        names = [wire.dumps(name).decode() for name in shape.names]
        # What stands before each cell. Behind the last one of a contact stands what is before the next one's first.
        self._before = [f'"}},{{{names[0]}:"', *(f'","{name[1:]}:"' for name in names[1:])]
        self._absent = [
            f'{name}:"{_ABSENT}",' if index < shape.number else f',{name}:"{_ABSENT}"'
            for index, name in enumerate(names)
        ]

    def encode(self, contacts: Cells) -> bytes:
        """JSON objects with commas between them, byte for byte those of the same contacts as mappings.

        The cells hold nothing that JSON escapes; an absent field is the mark that `_ABSENT` names.
        """
        pieces = [""] * (2 * len(contacts.flat))
        pieces[::2] = self._before * len(contacts)
        pieces[1::2] = contacts.flat
        pieces[0] = pieces[0][len('"},') :]
        pieces.append('"}')
        text = "".join(pieces)
        if _ABSENT in text:
            for absent in self._absent:
                text = text.replace(absent, "")
        return text.encode()


@define
class Sorted:
    """A slice's contacts, in parallel lists, and its rejected records with their rows and reason codes.

    Attributes:
        keys: the numbers, as integers: `+` makes no difference.
        contacts: the fields on the wire; mappings, or what `encode` takes.
        records: the source's own.
        encode: makes JSON of contacts that are no mappings.
    """

    rows: Sequence[int]
    keys: Sequence[int]
    contacts: Sequence[Any]
    records: Sequence[Record]
    rejected: Sequence[tuple[int, str, Record]]
    encode: Callable[[Any], bytes] | None = None

    def without(self, indices: Collection[int]) -> Sorted:
        """The contacts but those at these indices."""
        left_out = set(indices)
        kept = [index for index in range(len(self.rows)) if index not in left_out]
        return self._picked(kept)

    def in_order(self) -> Sorted:
        """The contacts in the order of their rows."""
        return self._picked(sorted(range(len(self.rows)), key=self.rows.__getitem__))

    def _picked(self, indices: list[int]) -> Sorted:
        rows, keys, contacts, records = (
            picked(items, indices) for items in (self.rows, self.keys, self.contacts, self.records)
        )
        return Sorted(rows, keys, contacts, records, self.rejected, self.encode)


@define
class Singly:
    """What was sorted one by one."""

    rows: list[int] = field(factory=list)
    keys: list[int] = field(factory=list)
    contacts: list[dict[str, str]] = field(factory=list)
    records: list[Record] = field(factory=list)
    rejected: list[tuple[int, str, Record]] = field(factory=list)

    def sorted(self) -> Sorted:
        """The same in the form of all slices."""
        return Sorted(self.rows, self.keys, self.contacts, self.records, self.rejected)


@define
class Normaliser:
    """Normalises the slices of one source.

    Attributes:
        table: the shape of the records that are lists of cells; None for a source without a header.
        column_map: source column to field, for the records that are mappings.
        room: the most bytes that a contact may have as JSON.
        numbering: the rules for numbers; None is the shape of E.164.
    """

    table: Shape | None
    column_map: Mapping[str, str]
    room: int
    numbering: Numbering | None = None
    _shapes: dict[tuple[Any, ...], Shape | str] = field(factory=dict, init=False, repr=False)
    _keys_kept: int = field(default=0, init=False, repr=False)
    _template: Template | None = field(default=None, init=False, repr=False)

    def sort(self, part: Slice) -> Sorted:
        """Sort a slice's records into contacts and rejected ones."""
        shape = self.table
        records = part.records
        if shape is not None and not part.suspect and self._is_plain(shape, records):
            if isinstance(records, Cells):
                return self._sort_cells(shape, part.first, records)
            return self._sort_table(shape, part.first, records)  # type: ignore[arg-type]  # plain: all are lists
        result = Singly()
        for row, record in enumerate(records, part.first):
            self.sort_one(row, record, result, suspect=part.suspect)
        return result.sorted()

    def takes_columns(self, shape: Shape | None) -> TypeGuard[Shape]:
        """Whether records of a shape can be judged column by column: none can make a contact too large."""
        return (
            shape is not None
            and not shape.nameless
            and shape.most_bytes <= self.room
            and len(shape.names) <= wire.COLUMNS_A_CONTACT
        )

    def _is_plain(self, shape: Shape, records: Sequence[Record]) -> bool:
        """Whether all records are lists of cells, one for each name, which can't make a contact too large."""
        if not self.takes_columns(shape):
            return False
        if isinstance(records, Cells):
            return records.width == len(shape.names)
        return (
            set(map(type, records)) == {list} and set(map(len, records)) == {len(shape.names)}  # type: ignore[arg-type]  # all are lists
        )

    def _sort_cells(self, shape: Shape, first: int, records: Cells) -> Sorted:
        """The same as `_sort_table` for cells that hold nothing JSON escapes: no contact becomes a mapping."""
        width = records.width
        cells = records.flat
        numbers = cells[shape.number :: width]
        keys: Sequence[int | None] | None = _keys(numbers) if self.numbering is None else None
        changed: dict[int, list[str]] = {}
        if keys is None:
            clean = clean_number if self.numbering is None else self.numbering.clean
            cleaned = [clean(number) for number in numbers]
            keys = [None if number is None else int(number) for number in cleaned]
            changed[shape.number] = [number or "" for number in cleaned]
        bad = {index for index, key in enumerate(keys) if key is None} if changed else set()
        for column in range(width):
            values = numbers if column == shape.number else cells[column::width]
            if column == shape.time_zone:
                if time_zones().issuperset(values):
                    continue
                values = changed[column] = _spelt_zones(values, bad)
            # An empty or blank text has nothing left when it is stripped.
            if column != shape.number and not all(map(str.strip, values)):
                changed[column] = [_ABSENT if not value or value.isspace() else value for value in values]
        contacts = records
        if changed:
            contacts = Cells(cells.copy(), width)
            for column, values in changed.items():
                contacts.flat[column::width] = values
        rejected: list[tuple[int, str, Record]] = []
        for index in sorted(bad):
            reason = self._of_cells(records[index], suspect=False)
            assert isinstance(reason, str)  # noqa: S101  these are the rules by which it is bad
            rejected.append((first + index, reason, records[index]))
        if self._template is None:
            self._template = Template(shape)
        rows = range(first, first + len(records))
        result = Sorted(rows, keys, contacts, records, rejected, self._template.encode)  # type: ignore[arg-type]  # those without a key are left out
        return result.without(bad) if bad else result

    def _sort_table(self, shape: Shape, first: int, records: Sequence[list[str]]) -> Sorted:
        """Check whole columns at once; only what fails there is looked at one by one."""
        columns = list(zip(*records, strict=True))
        numbers = columns[shape.number]
        if self.numbering is None:
            odd = {index for index, match in enumerate(map(is_e164, numbers)) if match is None}
        else:
            clean = self.numbering.clean
            odd = {index for index, number in enumerate(numbers) if clean(number) != number}
        if shape.time_zone is not None and not time_zones().issuperset(columns[shape.time_zone]):
            known = time_zones()
            odd.update(index for index, zone in enumerate(columns[shape.time_zone]) if zone and zone not in known)
        rows = list(range(first, first + len(records)))
        plain = records
        if odd:
            kept = [index for index in range(len(records)) if index not in odd]
            rows = [first + index for index in kept]
            plain = [records[index] for index in kept]
            numbers = tuple(numbers[index] for index in kept)
        names = shape.names
        if any("" in column or any(map(str.isspace, column)) for column in columns):
            contacts = [
                {name: cell for name, cell in zip(names, cells, strict=True) if cell and not cell.isspace()}
                for cells in plain
            ]
        else:
            contacts = [dict(zip(names, cells)) for cells in plain]  # noqa: B905  _is_plain saw to it
        result = Singly(rows, list(map(int, numbers)), contacts, list(plain))
        for index in sorted(odd):
            self.sort_one(first + index, records[index], result, suspect=False)
        return result.sorted().in_order() if odd else result.sorted()

    def sort_one(self, row: int, record: Record, result: Singly, *, suspect: bool) -> None:
        """Sort one record into contacts or rejected ones."""
        if isinstance(record, list):
            sorted_out = self._of_cells(record, suspect=suspect)
        elif isinstance(record, Broken):
            sorted_out = record.reason
        else:
            sorted_out = self._of_mapping(record, suspect=suspect)
        if isinstance(sorted_out, str):
            result.rejected.append((row, sorted_out, record))
        else:
            result.rows.append(row)
            result.keys.append(sorted_out[0])
            result.contacts.append(sorted_out[1])
            result.records.append(record)

    def _of_cells(self, cells: list[str], *, suspect: bool) -> tuple[int, dict[str, str]] | str:
        shape = self.table
        if shape is None:
            return BAD_ROW
        missing = len(shape.names) - len(cells)
        if missing < 0 and any(map(str.strip, cells[missing:])):
            return BAD_ROW
        return normalise(
            shape, cells[: len(shape.names)] + [""] * missing, suspect=suspect, room=self.room, numbering=self.numbering
        )

    def _of_mapping(self, record: Mapping[Any, Any], *, suspect: bool) -> tuple[int, dict[str, str]] | str:
        shape = self.shape_of(tuple(record))
        if isinstance(shape, str):
            return shape
        texts = list(map(text_of, record.values()))
        if texts[shape.number] is None:
            texts[shape.number] = number_text_of(next(islice(record.values(), shape.number, None)))
        values = [text for text in texts if text is not None]
        if len(values) < len(record):
            return BAD_VALUE
        return normalise(shape, values, suspect=suspect, room=self.room, numbering=self.numbering)

    def shape_of(self, keys: tuple[Any, ...]) -> Shape | str:
        """The shape of mappings with these keys, or the reason code why they are no contacts."""
        shape = self._shapes.get(keys)
        if shape is None:
            shape = self._made_of(keys)
            # Records of ever new keys must not fill the memory.
            if len(self._shapes) < _SHAPES_KEPT and self._keys_kept < _KEYS_KEPT:
                self._shapes[keys] = shape
                self._keys_kept += len(keys)
        return shape

    def _made_of(self, keys: tuple[Any, ...]) -> Shape | str:
        if not all(isinstance(key, str) and _is_clean(key) for key in keys):
            return BAD_ROW
        try:
            return match(keys, self.column_map, whole=False)
        except SourceError:
            return BAD_ROW if any(map(is_number_name, keys)) else MISSING_PHONE
