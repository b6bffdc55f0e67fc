"""Every number that a cell of a do-not-contact file could mean. Pure.

One number too many harms less than one too few: whoever is not barred is called. So digits are found among words,
every reading of them counts, and whatever can't be read for sure is a trouble that the caller must not pass over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from kore_campaign_async.ingest.phone_text import KEEP_THEIR_ZERO, OneNumber, canonical, one_number, unwrapped
from kore_campaign_async.ingest.records import AMBIGUOUS_PHONE, DATE_OR_AMOUNT, LOST_DIGITS, SEVERAL_NUMBERS


class Meanings(Protocol):
    """Tells the numbers that digits mean."""

    def __call__(self, digits: str, *, must_exist: bool = False) -> Sequence[str]:
        """The numbers, behind their `+` if they have one; none if that is not clear."""
        ...


#: The troubles, in words that fit behind "row 3".
NO_NUMBER: Final = "holds no phone number"
WILDCARD: Final = "stands for many numbers"
RANGE: Final = "may be a range of numbers, or a number with more behind it"
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
# Signs that stand for digits: 1415555XXXX, 1415555*, 1415555%, +1415555####, +1415555…, and patterns of programs.
_WILD: Final = re.compile(
    rf"[0-9]{_ANY_SIGN}(?:[*?%_~\u2026]|[xX]{{2}}|\#{{2}}|\.\.)|[0-9][xX]\b|(?:[*?%_~]|[xX]{{2}}|\#{{2}})[0-9]"
)
_PATTERN: Final = re.compile(r"\\d|[\^$<>\u2264\u2265]|[0-9]\[[0-9]")
# A letter that was typed for a digit, or is to be dialled as one: 1415555O123, 1-800-FLOWERS2.
_LETTER_FOR_A_DIGIT: Final = re.compile(r"[0-9][-.]?(?!(?i:x|ext|e)[.+-]?[0-9])[^\W\d_]{1,8}[-.]?[0-9]|[0-9][OoIlSB]\b")
_TO_WORDS: Final = r"\b(?:to|bis|through|thru|until|al|au|a|\u00e0|hasta|till|jusqu'\u00e0)\b"
_TO: Final = re.compile(
    rf"[0-9)] *(?:{_TO_WORDS}|[\u2026:]|\.\.+|-{{2,}}|->|-(?= *\+)) *[(+0-9]",
    re.IGNORECASE,
)
_BETWEEN: Final = re.compile(r"\b(?:between|zwischen|entre|tra|fra|from|von|desde|de)\b", re.IGNORECASE)
# 415-555-0101 or 02, 06 12 34 56 78, 79: the second number is shortened, and can't be made whole for sure.
_AND: Final = r"\b(?:or|and|und|oder|ou|et|y|o|e|u|of|en|lub|i)\b"
_SHORTENED: Final = re.compile(rf"[0-9)] *(?:[,;&+|\u2022]|{_AND}) *-? *([0-9][-0-9 ()./]*)", re.IGNORECASE)
_GROUPS: Final = re.compile(r"[0-9]+")
# Set apart from the number that it belongs to by a word or a sign.
_AREA_CODE: Final = re.compile(r"0[0-9]{2,5}").fullmatch


def barred_numbers(text: str, meanings: Meanings) -> tuple[tuple[str, ...], str]:  # noqa: PLR0911  one return a trouble
    """Every number that a text could mean, or none and the trouble with it.

    Args:
        text: a cell, or a line.
        meanings: the numbers that digits mean, behind their `+` if they have one; none if that is not clear.
    """
    beginning = text[:_LONGEST_TEXT]
    if _PATTERN.search(beginning):
        return (), WILDCARD
    if any(one.isnumeric() and not one.isdecimal() for one in beginning):
        return (), UNCLEAR
    text = canonical(text.strip())
    whole, reason = unwrapped(text)
    if reason == LOST_DIGITS:
        return (), UNCLEAR
    text = whole if not reason else text
    # A cell can hold a megabyte of notes; nobody writes a number behind the first pages of them.
    pieces = list(_numbers_in(text))
    trouble = _trouble(text[:_LONGEST_TEXT], len(pieces))
    if trouble:
        return (), trouble
    # Where other digits stand beside it, it may be a part of a number, and only one that can exist is sure to be none.
    chunks = _CHUNK.findall(text)
    is_alone = len(chunks) == 1
    if not is_alone and any(_AREA_CODE(chunk.strip(" ()./-")) for chunk in chunks):
        return (), UNCLEAR
    found: dict[str, None] = {}
    for readings in pieces:
        numbers = [number for digits in readings for number in meanings(digits, must_exist=True)]
        if not numbers and is_alone:
            numbers = [number for digits in readings for number in meanings(digits)]
        # So few digits are a number only in a few countries, and elsewhere a time, a street or a year.
        if not numbers and _count(readings[0]) >= _FEWEST_DIGITS:
            return (), NATIONAL if is_alone else UNCLEAR
        found.update(dict.fromkeys(numbers))
    return tuple(found), "" if found else NO_NUMBER


def _trouble(text: str, pieces: int) -> str:
    if _WILD.search(text):
        return WILDCARD
    if _TO.search(text) or (pieces > 1 and _BETWEEN.search(text)) or any(map(_is_tail, _CHUNK.findall(text))):
        return RANGE
    shortened = (_count(found[1]) for found in _SHORTENED.finditer(text))
    return UNCLEAR if _LETTER_FOR_A_DIGIT.search(text) or any(count < _FEWEST_DIGITS for count in shortened) else ""


def _is_tail(chunk: str) -> bool:
    """Whether what stands behind a whole number may be the end of another one."""
    one = one_number(chunk.strip(" ./-"))
    return isinstance(one, OneNumber) and one.before_tail != "" and len(one.text) - len(one.before_tail) > 1


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
    if len(groups) > 1 and groups[1].startswith("0") and not one.text.startswith("+"):
        readings.append("".join(groups[1:]))
    if one.before_tail:
        readings.append(one.before_tail)
    # 3/14155550101: what stands there by itself is a whole number already.
    readings += [group for group in groups if len(group) >= _WHOLE_DIGITS] if len(groups) > 1 else []
    return readings


def _of_several(chunk: str) -> Iterator[Sequence[str]]:
    """Several numbers; where the last is shortened to the digits that differ (555-0101/02), it is made whole."""
    parts: Sequence[str] = [part for part in _SPLIT.split(chunk) if _count(part)]
    if len(parts) == 1:
        parts = _halves(chunk)
    last = ""
    for part in parts:
        digits = _digits(part)
        if _count(digits) < _FEWEST_DIGITS and last:
            digits = last[: -len(digits)] + digits
        last = digits
        yield (digits,)


def _halves(chunk: str) -> Sequence[str]:
    """The two numbers that stand side by side in a chunk; all of it where that is not clear."""
    groups = chunk.split(" ")
    middle = len(groups) // 2
    first, second = groups[:middle], groups[middle:]
    halves = " ".join(first), " ".join(second)
    are_alike = [*map(len, first)] == [*map(len, second)] and min(map(_count, halves)) >= _FEWEST_DIGITS
    return halves if are_alike else (chunk,)


def _digits(text: str) -> str:
    return ("+" if text.strip(" (").startswith("+") else "") + "".join(_GROUPS.findall(text))


def _count(text: str) -> int:
    return sum(map(str.isdecimal, text))
