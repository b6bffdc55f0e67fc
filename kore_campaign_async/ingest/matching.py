"""Which of a source's columns is which field of a contact. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

from attrs import frozen

from kore_campaign_async import wire
from kore_campaign_async.errors import SourceError
from kore_campaign_async.redaction import masked

_NUMBER_NAMES: Final = (
    "phone",
    "phone number",
    "phone no",
    "mobile",
    "mobile no",
    "mobile number",
    "mobile phone",
    "cell",
    "cell phone",
    "cell number",
    "telephone",
    "telephone number",
    "tel",
    "msisdn",
)
# What columns of phone numbers are called in the languages of the vendor's users: whole words, and how words begin.
_NUMBER_WORDS: Final = frozenset(
    {"tel", "cell", "cel", "fon", "gsm", "sms", "mob", "fijo", "portable", "komórka", "cellulare", "whatsapp", "msisdn"}
)
_NUMBER_STEMS: Final = (
    *(
        "phone",
        "telef",
        "télé",
        "teléf",
        "mobil",
        "móvil",
        "movil",
        "celular",
        "handy",
        "rufnummer",
        "fax",
        "homephone",
    ),
    *("telep", "telno", "telnr", "mobiel", "workphone", "cellphone", "smartphone"),
)
_NUMBER_PARTS: Final = ("電話", "携帯", "फ़ोन", "फोन", "मोबाइल", "电话", "手机")
# What a character takes at most as JSON, and what stands around a name and its value.
_ESCAPED_BYTES: Final = 6
_FRAME_BYTES: Final = 6
_SHOWN_COLUMNS: Final = 30
_SHOWN_CHARACTERS: Final = 40


def _loose(name: str) -> str:
    """A name without letter case and separators."""
    return re.sub(r"[\W_]+", "", name.casefold())


_FIELDS: Final[Mapping[str, str]] = {
    **{_loose(field): field for field in wire.CONTACT_FIELDS},
    **{_loose(name): wire.PHONE_NUMBER for name in _NUMBER_NAMES},
    **{_loose(name): wire.FIRST_NAME for name in ("given name", "forename")},
    **{_loose(name): wire.LAST_NAME for name in ("surname", "family name")},
}


@frozen
class Shape:
    """How a record's values become a contact's fields.

    Attributes:
        names: the field of each column, in the columns' order; "" for a column without a name, whose values are
            left out.
        number: the index of the number's column.
        time_zone: the index of the time zone's column, or None.
        nameless: the indices of the columns without a name.
        most_bytes: more than any contact of this shape has as JSON.
    """

    names: tuple[str, ...]
    number: int
    time_zone: int | None
    nameless: tuple[int, ...]
    most_bytes: int


def match(columns: Sequence[str], column_map: Mapping[str, str], *, whole: bool = True) -> Shape:
    """Match columns to fields; further columns keep their names.

    Args:
        columns: the source's names.
        column_map: source column to field, which overrules the usual names.
        whole: whether these are all columns of the source, so that one the map names must be among them.

    Raises:
        SourceError: no number column, or two columns for one field; the message lists the columns.
    """
    if whole and not column_map.keys() <= (known := set(columns)):
        for column in column_map:
            if column not in known:
                raise SourceError(f"no column {column!r} to map; the columns are {_shown(columns)}")
    mapped = {usual_field(field) for field in column_map.values()}
    names: list[str] = []
    for column in columns:
        if column in column_map:
            names.append(usual_field(column_map[column]))
            continue
        field = usual_field(column)
        # A column whose usual meaning the map gave to another one travels under its own name.
        names.append(column if field in mapped and column != field else field)
    names = ["" if not name.strip() else name for name in names]
    # Counted once for all: a header can have any number of columns.
    name = next((name for name, times in Counter(names).items() if name and times > 1), None)
    if name is not None:
        twice = [column for column, field in zip(columns, names, strict=True) if field == name]
        raise SourceError(
            f"two columns for the field {name}: {_shown(twice)}; rename one, or say which with --map COLUMN={name};"
            f" the columns are {_shown(columns)}"
            if len(set(twice)) > 1
            else f"the column {twice[0]!r} stands {len(twice)} times; rename all but one"
        )
    if wire.PHONE_NUMBER not in names:
        raise SourceError(
            f"no number column; the columns are {_shown(columns)}; say which it is with --map COLUMN=phoneNumber"
        )
    return Shape(
        tuple(names),
        names.index(wire.PHONE_NUMBER),
        names.index(wire.TIME_ZONE) if wire.TIME_ZONE in names else None,
        tuple(index for index, name in enumerate(names) if not name),
        sum(_ESCAPED_BYTES * (len(name) + wire.CHARACTERS_A_VALUE) + _FRAME_BYTES for name in names) + _FRAME_BYTES,
    )


def matched(columns: Sequence[str], shape: Shape) -> str:
    """Which column is which field, in a line."""
    fields = (
        f"{_shown((column,))} → {field}"
        for column, field in zip(columns, shape.names, strict=True)
        if field in wire.CONTACT_FIELDS or field != column
        if field
    )
    others = [
        column
        for column, field in zip(columns, shape.names, strict=True)
        if column == field and column not in wire.CONTACT_FIELDS
    ]
    left_out = f"; left out, without a name: column {', '.join(str(at + 1) for at in shape.nameless[:_SHOWN_COLUMNS])}"
    others = [column for column in others if column]
    return (
        ", ".join(islice(fields, _SHOWN_COLUMNS))
        + (f"; as they are: {_shown(others)}" if others else "")
        + (left_out if shape.nameless else "")
    )


def usual_field(name: str) -> str:
    """The known field that a name means, letter case and separators aside; else the name itself."""
    return _FIELDS.get(_loose(name), name)


def is_number_name(name: str) -> bool:
    """Whether a name is one of those for the number."""
    return usual_field(name) == wire.PHONE_NUMBER


def can_be_number_name(name: str) -> bool:
    """Whether a name can be that of a column of phone numbers: fewer than these must not be read of who is barred."""
    if is_number_name(name):
        return True
    words = re.split(r"[\W_0-9]+", name.casefold())
    return any(word in _NUMBER_WORDS or word.startswith(_NUMBER_STEMS) for word in words) or any(
        part in name for part in _NUMBER_PARTS
    )


def _shown(columns: Sequence[str]) -> str:
    cut = [
        column if len(column) <= _SHOWN_CHARACTERS else column[:_SHOWN_CHARACTERS] + "…"
        for column in map(masked, columns[:_SHOWN_COLUMNS])
    ]
    more = len(columns) - len(cut)
    return ", ".join(map(repr, cut)) + (f" and {more} more" if more else "")
