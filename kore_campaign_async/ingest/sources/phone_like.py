"""What looks like a phone number where none should stand: in a header, or inside a quoted cell. Pure.

This is evidence, not validation: the rules for numbers judge what is sent.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from kore_campaign_async.ingest.matching import is_number_name
from kore_campaign_async.ingest.phone_text import canonical, clean_number, is_plain, one_number, unwrapped
from kore_campaign_async.ingest.records import DATE_OR_AMOUNT

# As people write them, with extensions, in canonical signs.
_WRITTEN: Final = re.compile(r"\+? *[0-9(][0-9 ()./\-]*(?:(?:x|ext\.?) *[0-9]+)?", re.IGNORECASE)
_SCIENTIFIC: Final = re.compile(r"[0-9]\.[0-9]+e\+?[0-9]+", re.IGNORECASE)
_LEAST_DIGITS: Final = 7
# With an international prefix, a (0), and a fraction that a spreadsheet added.
_MOST_DIGITS: Final = 20
# No writing of one number is longer; a line can hold thousands of times as much.
_LONGEST_TEXT: Final = 64
# With blanks, and marks that have no width, around it.
_LONGEST_CELL: Final = 1024
_ZIP_CODE: Final = r"[0-9]{5}-[0-9]{4}"
_YEARS: Final = r"(?:19|20)[0-9]{2} *[-/] *(?:19|20)[0-9]{2}"
_ZIP_OR_YEARS: Final = re.compile(rf"{_ZIP_CODE}|{_YEARS}").fullmatch
_DATE: Final = re.compile(r"[0-9]{4}([-./])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-./])[0-9]{1,2}\2[0-9]{4}").fullmatch
_BARE_DATE: Final = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def looks_like_number(text: str) -> bool:
    """Whether a text is digits as people write a phone number, and no date, years or ZIP code."""
    text = _bare(text)
    if len(text) > _LONGEST_TEXT or _ZIP_OR_YEARS(text) or _DATE(text):
        return False
    return _is_written(text) or clean_number(text) is not None


def could_be_number(text: str) -> bool:
    """Whether a text could be a row's number behind a stray quote: all that the rules for numbers take, and more.

    Years and ZIP codes can be numbers there; a date is none where the rules refuse it as one.
    """
    text = _bare(text)
    if len(text) > _LONGEST_TEXT:
        return False
    if not is_plain(text):
        return _is_written(text)
    if sum(map(str.isdecimal, text)) < _LEAST_DIGITS:
        return False
    return _DATE(text) is None or one_number(text) != DATE_OR_AMOUNT


def is_zip_or_years(text: str) -> bool:
    """Whether a text is a ZIP code of nine digits, or two years."""
    text = _bare(text)
    return len(text) <= _LONGEST_TEXT and _ZIP_OR_YEARS(text) is not None


def _is_written(text: str) -> bool:
    if _WRITTEN.fullmatch(text) is None and _SCIENTIFIC.fullmatch(text) is None:
        return False
    return _LEAST_DIGITS <= sum(map(str.isdecimal, text)) <= _MOST_DIGITS


def _bare(text: str) -> str:
    """A canonical text without quotes, blanks, and what spreadsheets and links put around a number."""
    if len(text) > _LONGEST_CELL:
        return text
    # A quote can stand on one side only, or around a spreadsheet's formula.
    for _ in range(2):
        text = text.strip()
        # What lost its digits to a spreadsheet was a number all the same.
        text = (unwrapped(text)[0] or text).strip("\"'")
    return canonical(text).strip()


def holds_number(header: Sequence[str]) -> bool:
    """Whether a cell of a header is a phone number, so that it is no header.

    Eight digits can be a day that a column is called by, if another column is called by a name for the number.
    """
    numbers = [cell for cell in header if len(cell) >= _LEAST_DIGITS and looks_like_number(cell)]
    return any(_BARE_DATE.fullmatch(cell.strip()) is None for cell in numbers) or (
        bool(numbers) and not any(map(is_number_name, header))
    )


def only_number(cells: Sequence[str]) -> int | None:
    """The index of the cell that is a phone number, if it is the only one, or the only cell; else None."""
    if len(cells) == 1:
        return 0
    found = [index for index, cell in enumerate(cells) if looks_like_number(cell)]
    return found[0] if len(found) == 1 else None
