"""How deep and how wide the values of a record are nested, told without a call for each level. Pure.

No value of a contact is nested, so what is nested costs its row in any case. Up to the limits here it is read, copied
and written as JSON as it is; beyond them Python's own stack ends first, and no encoder has a common answer.
"""

from __future__ import annotations

from typing import Any, Final

#: How many levels, the record's own included, a record has at most.
MOST_LEVELS: Final = 100

#: How many values, of all levels, a record has at most; a contact has 150.
MOST_PARTS: Final = 2_000

_NESTED: Final = (dict, list, tuple, set, frozenset)


def is_too_nested(value: Any) -> bool:
    """Whether a value has more levels or parts than a record can have; a part that stands twice is counted twice."""
    level, parts = [value], 0
    for _ in range(MOST_LEVELS):
        inner: list[Any] = []
        for one in level:
            parts += len(one) if isinstance(one, _NESTED) else 0
            if parts > MOST_PARTS:
                return True
            if isinstance(one, dict):
                inner += [part for part in one.values() if isinstance(part, _NESTED)]
            elif isinstance(one, _NESTED):
                inner += [part for part in one if isinstance(part, _NESTED)]
        if not inner:
            return False
        level = inner
    return True


def is_line_too_nested(line: str, value: Any) -> bool:
    """Whether what was read of a line is too nested; only lines with many brackets are looked at."""
    return line.count("{") + line.count("[") > MOST_LEVELS and is_too_nested(value)


def has_too_many_parts(line: str) -> bool:
    """Whether a line of JSON can hold more values than a record has: reading it could fill the memory."""
    return len(line) > MOST_PARTS and line.count(",") + line.count("{") + line.count("[") > MOST_PARTS


def without_nested(record: dict[Any, Any]) -> dict[Any, Any]:
    """The record with a mark for each nested value, itself nested so that nobody sends it for a text."""
    return {key: ["…"] if isinstance(value, _NESTED) else value for key, value in record.items()}
