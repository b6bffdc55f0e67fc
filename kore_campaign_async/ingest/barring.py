"""Every number that a cell of a do-not-contact file could mean. Pure.

One number too many harms less than one too few: whoever is not barred is called. So digits are found among words,
every reading of them counts, and whatever can't be read for sure is a trouble that the caller must not pass over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from kore_campaign_async.ingest.phone_text import KEEP_THEIR_ZERO, OneNumber, canonical, one_number, unwrapped
from kore_campaign_async.ingest.records import AMBIGUOUS_PHONE, DATE_OR_AMOUNT, LOST_DIGITS, SEVERAL_NUMBERS

Meanings = Callable[[str], Sequence[str]]

#: The troubles, in words that fit behind "row 3".
NO_NUMBER: Final = "holds no phone number"
WILDCARD: Final = "stands for many numbers"
RANGE: Final = "may be a range of numbers"
NATIONAL: Final = "may be a number without its country code"
UNCLEAR: Final = "is not clear"

_FEWEST_DIGITS: Final = 7
_FEWEST_DIGITS_OF_ALL: Final = 4
_LONGEST_TEXT: Final = 4000

_WHOLE_DIGITS: Final = 10

_CHUNK: Final = re.compile(r"\(?\+? ?[0-9][-0-9 ()./]*")
_SPLIT: Final = re.compile(r"/|  +")
_ZERO: Final = re.compile(r"\( *0 *\)")
_ANY_SIGN: Final = r"[ ().\-/]*"
# Signs that stand for digits: 1415555XXXX, 1415555*, 1415555%, +1415555####, +1415555…
_WILD: Final = re.compile(
    rf"[0-9]{_ANY_SIGN}(?:[*?%_~\u2026]|[xX]{{2}}|\#{{2}}|\.\.)|[0-9][xX]\b|(?:[*?%_~]|[xX]{{2}}|\#{{2}})[0-9]"
)
# A letter that was typed for a digit, or is to be dialled as one: 1415555O123, 1-800-FLOWERS2.
_LETTER_FOR_A_DIGIT: Final = re.compile(r"[0-9][-.]?(?!(?i:x|ext|e)[.+-]?[0-9])[^\W\d_]{1,8}[-.]?[0-9]|[0-9][OoIlSB]\b")
_TO: Final = re.compile(
    r"[0-9)] *(?:\b(?:to|bis|through|thru|until|al|hasta|till)\b|\u2026|\.\.+|-{2,}|->|-(?= *\+)) *[(+0-9]",
    re.IGNORECASE,
)
_GROUPS: Final = re.compile(r"[0-9]+")


def barred_numbers(text: str, meanings: Meanings) -> tuple[tuple[str, ...], str]:
    """Every number that a text could mean, or none and the trouble with it.

    Args:
        text: a cell, or a line.
        meanings: the numbers that digits mean, behind their `+` if they have one; none if that is not clear.
    """
    text = canonical(text.strip())
    # A cell can hold a megabyte of notes; nobody writes a number behind the first pages of them.
    trouble = _trouble(text[:_LONGEST_TEXT])
    if trouble:
        return (), trouble
    whole, reason = unwrapped(text)
    if reason == LOST_DIGITS:
        return (), UNCLEAR
    found: dict[str, None] = {}
    for readings in _numbers_in(whole if not reason else text):
        numbers = [number for digits in readings for number in meanings(digits)]
        # So few digits are a number only in a few countries, and elsewhere a time, a street or a year.
        if not numbers and _count(readings[0]) >= _FEWEST_DIGITS:
            return (), NATIONAL
        found.update(dict.fromkeys(numbers))
    return tuple(found), "" if found else NO_NUMBER


def _trouble(text: str) -> str:
    if _WILD.search(text):
        return WILDCARD
    if _TO.search(text):
        return RANGE
    return UNCLEAR if _LETTER_FOR_A_DIGIT.search(text) else ""


def _numbers_in(text: str) -> Iterator[Sequence[str]]:
    """For everything in a text that can be a number, the digits that it can have, with their `+`."""
    for chunk in _CHUNK.findall(text):
        trimmed = chunk.strip(" ./-")
        trimmed = trimmed if "(" in trimmed else trimmed.rstrip(") ")
        if _count(trimmed) >= _FEWEST_DIGITS_OF_ALL:
            yield from _of_chunk(trimmed)


def _of_chunk(chunk: str) -> Iterator[Sequence[str]]:
    one = one_number(chunk)
    if one == SEVERAL_NUMBERS:
        yield from _of_several(chunk)
    elif one == AMBIGUOUS_PHONE:
        yield _digits(chunk), _digits(_ZERO.sub("", chunk))
    elif isinstance(one, OneNumber):
        yield _of_one(chunk, one)
    elif one != DATE_OR_AMOUNT:
        yield (_digits(chunk),)


def _of_one(chunk: str, one: OneNumber) -> Sequence[str]:
    """A number with and without what may not belong to it: the zero behind its country's code, the last group."""
    readings = [one.text]
    if one.zero:
        at = one.text.index("0", len(one.first) + one.text.startswith("+"))
        readings.append(one.text[:at] + one.text[at + 1 :])
        # Nobody dials the zero in parentheses from abroad, but for the few countries that keep it.
        if one.zero == "(0)" and one.text.startswith("+") and one.first not in KEEP_THEIR_ZERO:
            del readings[0]
    groups = _GROUPS.findall(chunk)
    if one.before_tail:
        readings.append(one.before_tail)
    # 3/14155550101: what stands there by itself is a whole number already.
    readings += [group for group in groups if len(group) >= _WHOLE_DIGITS] if len(groups) > 1 else []
    return readings


def _of_several(chunk: str) -> Iterator[Sequence[str]]:
    """Several numbers; where the last is shortened to the digits that differ (555-0101/02), it is made whole."""
    parts = [part for part in _SPLIT.split(chunk) if _count(part)]
    if len(parts) == 1:
        parts = [part for part in chunk.split(" ") if _count(part)]
    last = ""
    for part in parts:
        digits = _digits(part)
        if _count(digits) < _FEWEST_DIGITS and last:
            digits = last[: -len(digits)] + digits
        last = digits
        yield (digits,)


def _digits(text: str) -> str:
    return ("+" if text.strip(" (").startswith("+") else "") + "".join(_GROUPS.findall(text))


def _count(text: str) -> int:
    return sum(map(str.isdecimal, text))
