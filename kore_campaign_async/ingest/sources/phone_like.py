"""What looks like a phone number where none should stand: in a header, or inside a quoted cell. Pure.

This is evidence, not validation: the rules for numbers judge what is sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from kore_campaign_async.ingest.matching import is_number_name

_DASHES: Final = r"\-\u2010-\u2015\u2212\u30fc\uff0d"
_WRITTEN: Final = re.compile(
    rf"(?:tel:)?[+\uff0b]?\s*[\d(][\d\s()./{_DASHES}]*(?:\s*(?:x|ext\.?)\s*\d+)?|\d\.\d+e\+?\d+", re.IGNORECASE
)
_LEAST_DIGITS: Final = 7
# With an international prefix, a (0), and a fraction that a spreadsheet added.
_MOST_DIGITS: Final = 20
_ZIP_CODE: Final = r"\d{5}-\d{4}"
_YEARS: Final = r"(?:19|20)\d\d\s*[-/]\s*(?:19|20)\d\d"
_SEPARATED_DATE: Final = r"\d{4}([-./])\d{1,2}\1\d{1,2}|\d{1,2}([-./])\d{1,2}\2\d{4}"
_NO_NUMBER: Final = re.compile(rf"{_ZIP_CODE}|{_YEARS}|{_SEPARATED_DATE}")
_BARE_DATE: Final = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def looks_like_number(text: str) -> bool:
    """Whether a text is digits as people write a phone number, and no date, years or ZIP code."""
    text = text.strip().strip("\"'").strip()
    if _WRITTEN.fullmatch(text) is None or _NO_NUMBER.fullmatch(text) is not None:
        return False
    return _LEAST_DIGITS <= sum(map(str.isdigit, text)) <= _MOST_DIGITS


def holds_number(header: Sequence[str]) -> bool:
    """Whether a cell of a header is a phone number, so that it is no header.

    Eight digits can be a day that a column is called by, if another column is called by a name for the number.
    """
    numbers = [cell for cell in header if looks_like_number(cell)]
    return any(_BARE_DATE.fullmatch(cell.strip()) is None for cell in numbers) or (
        bool(numbers) and not any(map(is_number_name, header))
    )


def only_number(cells: Sequence[str]) -> int | None:
    """The index of the cell that is a phone number, if it is the only one, or the only cell; else None."""
    if len(cells) == 1:
        return 0
    found = [index for index, cell in enumerate(cells) if looks_like_number(cell)]
    return found[0] if len(found) == 1 else None
