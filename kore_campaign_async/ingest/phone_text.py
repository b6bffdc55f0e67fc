"""Whether a text is one phone number, and which digits it has: one run of digits, in groups as people group them. Pure.

The digits of one number are never mixed with anything else that a cell can hold: a second number, a fraction, a date,
an extension. Which country a number belongs to is not known here.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

from attrs import frozen

from kore_campaign_async.ingest.records import (
    AMBIGUOUS_PHONE,
    DATE_OR_AMOUNT,
    HAS_EXTENSION,
    INVALID_PHONE,
    LOST_DIGITS,
    MISSING_PHONE,
    SEVERAL_NUMBERS,
)

# ASCII, since other digits would pass otherwise; fullmatch, since `$` would let a line end through.
is_e164 = re.compile(r"\+?[1-9]\d{6,14}", re.ASCII).fullmatch

# Blanks are those that stay on a line: a line end in a number is a torn record, not a separator.
BLANKS: Final = "\t \u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
TO_BLANKS: Final = dict.fromkeys(map(ord, BLANKS), " ")

# No writing of one number is longer; a cell can hold a megabyte.
_LONGEST_TEXT: Final = 64
_LONGEST_CELL: Final = 1000
_FEWEST_DIGITS: Final = 7

# Between two groups stands at most one sign, with blanks and parentheses around it.
_BETWEEN: Final = r"(?:[ ()]+(?:[-./][ ()]*)?|[-./][ ()]*)"
_GROUPED: Final = re.compile(rf"[ (]*(\+?)[ (]*([0-9]+(?:{_BETWEEN}[0-9]+)*)[ )]*\.? *").fullmatch
_PARTS: Final = re.compile(r"([ ()\-./]+)")
_ALLOWED: Final = re.compile(r"[-+0-9 ()./,]*").fullmatch

_DIAL_TONE: Final = re.compile(r"[0-9]~[0-9]").match
_FRACTION: Final = re.compile(r" *(\+?[0-9]{7,15})[.,]([0-9]+) *").fullmatch
_YEAR: Final = r"(?:19|20)[0-9]{2}"
_MONTH: Final = r"(?:0?[1-9]|1[0-2])"
_DAY: Final = r"(?:0?[1-9]|[12][0-9]|3[01])"
_DATE: Final = re.compile(
    rf"{_YEAR}([-./ ]){_MONTH}\1{_DAY}|{_DAY}([-./ ]){_MONTH}\2{_YEAR}|{_MONTH}([-./ ]){_DAY}\3{_YEAR}"
).fullmatch
# So short that it is a number only in countries with very few of them.
_SHORT_DATE: Final = re.compile(rf"(?:{_DAY}([-./]){_MONTH}\1|{_MONTH}([-./]){_DAY}\2)[0-9]{{2}}").fullmatch
_DIGITS: Final = re.compile("[0-9]+").findall
_ZERO_IN_PARENTHESES: Final = re.compile(r"\( *0 *\)")

# Countries whose national numbers begin with a zero that is dialled from abroad too: ITU-T E.164, national plans.
KEEP_THEIR_ZERO: Final = frozenset({"39", "225", "229", "241", "242", "378", "379"})
_LONGEST_COUNTRY_CODE: Final = 3
EXIT_PREFIX: Final = "00"
_EXIT_PREFIXES: Final = frozenset({"00", "010", "011", "0011"})
# Mexico's and Argentina's mobile numbers are dialled from abroad with a digit in front, or were until a few years ago.
_MOBILE_PREFIXES: Final = {"52": ("1", 10), "54": ("9", 10)}
_ONE_DIGIT_CODES: Final = frozenset("17")
_TWO_DIGIT_CODES: Final = frozenset(
    {
        *map(str, (20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57)),
        *map(str, (58, 60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98)),
    }
)
# The numbers of country code 1 all have ten digits after it.
_NORTH_AMERICAN_DIGITS: Final = 11
_NORTH_AMERICAN: Final = re.compile(r"1[2-9][0-9]{2}[2-9][0-9]{6}").fullmatch
_DIGITS_WITH_A_CODE: Final = 11
_LONGEST_AREA_CODE: Final = 6
_LONGEST_FRACTION: Final = 3
_DOTS_OF_AN_ADDRESS: Final = 3
_LARGEST_OF_AN_ADDRESS: Final = 255
_FEWEST_SLASHES_OF_GROUPS: Final = 3
_DIGITS_OF_A_WHOLE_NUMBER: Final = 10

# What spreadsheets and programs make of a number: text that was kept from becoming one, thousands, a rounded float.
_FORMULA = re.compile(r'="([^"]*)"').fullmatch
_THOUSANDS = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){2,}(?:\.0+)?").fullmatch
_SCIENTIFIC = re.compile(r"(\+?[0-9])(?:[.,]([0-9]+))?[eE]\+?0*([0-9]{1,2})").fullmatch
# Line ends are no separators but a torn record, and nobody knows what a byte that is not Unicode was.
_TORN = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_APOSTROPHES: Final = "'\u2019"
_SCHEME: Final = "tel:"

# Signs of other scripts and of typesetting, as their ASCII twins: dashes, the long vowel mark that Japanese keyboards
# give for a dash, full-width forms, brackets.
_TWINS: Final = {
    **TO_BLANKS,
    **dict.fromkeys(
        map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2500\u2501\u30fb\u30fc\uff0d\uff70\ufe63\ufe58"), "-"
    ),
    **dict.fromkeys(map(ord, "\uff08\uff3b["), "("),
    **dict.fromkeys(map(ord, "\uff09\uff3d]"), ")"),
    **dict.fromkeys(map(ord, "\uff0f\u2044\u2215"), "/"),
    **dict.fromkeys(map(ord, "\uff0e\u00b7\u2024"), "."),
    **dict.fromkeys(map(ord, "\uff0c\u3001"), ","),
    **dict.fromkeys(map(ord, "\uff0b\ufe62"), "+"),
}
# Marks without a width that programs and keyboards leave in a text: soft hyphens, joiners, directions, variations.
_INVISIBLE: Final = dict.fromkeys(
    (
        0x00AD,
        0x034F,
        0x061C,
        0xFEFF,
        *range(0x200B, 0x2010),
        *range(0x202A, 0x202F),
        *range(0x2060, 0x2070),
        *range(0xFE00, 0xFE10),
    )
)


class TypedText(str):
    """The text of a value that its source holds as another type than text or a whole number: a date, a fraction."""

    __slots__ = ()


@frozen
class OneNumber:
    """What a text says of one number.

    Attributes:
        text: `+`, if it is there, and the digits.
        first: the first group of digits.
        before_tail: what stands before the last group, where that looks like an extension; or "".
        zero: the zero behind what can be a country code: `(0)` in parentheses, `0` at the beginning of a group, or "".
        is_short_date: whether it can be a date with a year of two digits.
    """

    text: str
    first: str
    before_tail: str = ""
    zero: str = ""
    is_short_date: bool = False


def clean_number(text: str) -> str | None:
    """The number that a text is, without separators; None if it is not one number of the shape of E.164."""
    if is_e164(text):
        return text
    return read_number(text)[0]


def read_number(text: str) -> tuple[str | None, str]:
    """The number that a text is by the shape of E.164 alone, or None and the reason code.

    Nothing tells of a country here but its code behind a `+`. So a `(0)` is dropped only there.
    """
    if is_e164(text):
        return text, ""
    found = INVALID_PHONE if is_too_long(text) else one_number(text.translate(TO_BLANKS))
    if isinstance(found, str) or found.is_short_date:
        return None, found if isinstance(found, str) else DATE_OR_AMOUNT
    number = found.text
    if found.zero:
        if found.zero == "0" or not number.startswith("+") or found.first in KEEP_THEIR_ZERO:
            return None, AMBIGUOUS_PHONE
        number = f"+{found.first}{number[len(found.first) + 2 :]}"
    if number.startswith("+1") or found.first == "1":
        digits = len(number.removeprefix("+"))
        if digits != _NORTH_AMERICAN_DIGITS:
            return None, HAS_EXTENSION if digits > _NORTH_AMERICAN_DIGITS else INVALID_PHONE
    if found.before_tail:
        return None, HAS_EXTENSION
    return (number, "") if is_e164(number) else (None, INVALID_PHONE)


def read_typed(text: str) -> tuple[str, str]:
    """The digits of a value that is no text, or "" and the reason code: only a whole number can be one to call."""
    whole, _, fraction = text.partition(".")
    if whole.isascii() and whole.isdecimal() and not fraction.strip("0"):
        return whole, ""
    return "", DATE_OR_AMOUNT


def unwrapped(text: str) -> tuple[str, str]:
    """What is left of a text that a spreadsheet or a link had in its hands, or a reason code why nothing is."""
    text = _without_wrapping(text)
    if not text:
        return text, MISSING_PHONE
    if _TORN(text):
        return "", INVALID_PHONE
    return _unrounded(text)


def _without_wrapping(text: str) -> str:
    """A text without what marks it as one, or as a link."""
    text = text.translate(TO_BLANKS).strip(" ")
    if formula := _FORMULA(text):
        text = formula[1]
    text = text.lstrip(_APOSTROPHES).strip(" ")
    return text[len(_SCHEME) :] if text[: len(_SCHEME)].lower() == _SCHEME else text


def _unrounded(text: str) -> tuple[str, str]:
    """The digits of what was written as a number to count with, or a reason code if they are not all there."""
    if _THOUSANDS(text):
        return text.partition(".")[0].replace(",", ""), ""
    if rounded := _SCIENTIFIC(text):
        digits, exponent = rounded[2] or "", int(rounded[3])
        if len(digits) != exponent:
            return "", LOST_DIGITS if len(digits) < exponent else INVALID_PHONE
        return rounded[1] + digits, ""
    return text, ""


def meanings_by_shape(digits: str, *, must_exist: bool = False) -> Sequence[str]:
    """The number that the digits of a do-not-contact number mean where no region is given; none if it can be national.

    Without a `+` nothing but the length tells a number with its country's code from one of a country's own. Which
    numbers exist is not known here.
    """
    del must_exist
    if digits.startswith(EXIT_PREFIX):
        digits = f"+{digits.removeprefix(EXIT_PREFIX)}"
    if digits.startswith("+"):
        return same_line(digits) if is_e164(digits) else ()
    if len(digits) < _DIGITS_WITH_A_CODE or not is_e164(digits):
        return ()
    # Beyond North America a number that begins with 1 is a national one: no other country's code does.
    return same_line(digits) if not digits.startswith("1") or _NORTH_AMERICAN(digits) else ()


def same_line(number: str) -> tuple[str, ...]:
    """A number, and how else the same line is dialled: without the zero behind its code, by older mobile prefixes."""
    found = [number]
    plus, digits = ("+", number[1:]) if number.startswith("+") else ("", number)
    code = _country_code(digits)
    rest = digits[len(code) :]
    if rest.startswith("0") and code not in KEEP_THEIR_ZERO:
        found.append(f"{plus}{code}{rest[1:]}")
    prefix, length = _MOBILE_PREFIXES.get(code, ("", 0))
    if prefix and len(rest) == length:
        found.append(f"{plus}{code}{prefix}{rest}")
    elif prefix and len(rest) == length + 1 and rest.startswith(prefix):
        found.append(f"{plus}{code}{rest[1:]}")
    return tuple(found)


def _country_code(digits: str) -> str:
    """The country code that digits begin with: no code is the beginning of another one."""
    if digits[0] in _ONE_DIGIT_CODES:
        return digits[0]
    return digits[:2] if digits[:2] in _TWO_DIGIT_CODES else digits[:3]


def canonical(text: str) -> str:
    """A text with ASCII's digits and signs instead of their twins, and without marks that have no width."""
    if text.isascii():
        text = text.replace("[", "(").replace("]", ")").replace("\t", " ")
    else:
        text = text.translate(_TWINS).translate(_INVISIBLE)
        text = "".join(str(unicodedata.decimal(one, one)) for one in text)
    # Where 8~10 reaches another country, people wait for a second dial tone at the sign between.
    return text[0] + text[2:] if _DIAL_TONE(text) else text


def is_too_long(text: str) -> bool:
    """Whether a text is no number whatever it holds: a cell can hold a megabyte that need not be looked through."""
    return len(text) > _LONGEST_CELL and len(text.strip()) > _LONGEST_CELL


def is_plain(text: str) -> bool:
    """Whether nothing but digits and the signs between them stands in a canonical text."""
    return _ALLOWED(text) is not None


def one_number(text: str) -> OneNumber | str:  # noqa: PLR0911  one return a reason; taken apart they would say no more
    """What a canonical text says of one number, or the reason code why it is not one.

    Args:
        text: `canonical`; nothing but blanks, digits and signs is understood.
    """
    text = text.strip(" ")
    if len(text) > _LONGEST_TEXT:
        return INVALID_PHONE
    if _DATE(text):
        return DATE_OR_AMOUNT
    if (fraction := _FRACTION(text)) is not None:
        return DATE_OR_AMOUNT if fraction[2].strip("0") else OneNumber(fraction[1], fraction[1].removeprefix("+"))
    if (found := _GROUPED(text)) is None:
        if _SCIENTIFIC(text):
            return LOST_DIGITS
        several = len(_DIGITS(text)) > 1 and sum(map(str.isdecimal, text)) >= 2 * _FEWEST_DIGITS
        return SEVERAL_NUMBERS if several else INVALID_PHONE
    plus, body = found[1], found[2]
    parts = _PARTS.split(body)
    groups, between = parts[::2], parts[1::2]
    if _is_amount(plus, groups, between):
        return DATE_OR_AMOUNT
    if _is_several(plus, groups, between):
        return SEVERAL_NUMBERS
    zeros = len(_ZERO_IN_PARENTHESES.findall(text))
    zero = _zero_behind_code(plus, groups, in_parentheses=zeros == 1)
    # At the very beginning it is the zero of a national number.
    if zeros and not zero and (zeros > 1 or groups[0] != "0"):
        return AMBIGUOUS_PHONE
    before_tail = plus + "".join(groups[:-1]) if _has_tail(groups, between) else ""
    return OneNumber(plus + "".join(groups), groups[0], before_tail, zero, is_short_date=_SHORT_DATE(text) is not None)


def _is_amount(plus: str, groups: Sequence[str], between: Sequence[str]) -> bool:
    """Whether dots stand where they part a fraction, coordinates or an address, and not the groups of a number."""
    dots = [index for index, signs in enumerate(between) if "." in signs]
    if not dots:
        return False
    # Behind a single dot at the end, few digits are a fraction.
    ends_in_fraction = len(dots) == 1 and dots[0] == len(between) - 1 and len(groups[-1]) <= _LONGEST_FRACTION
    if plus or ends_in_fraction:
        return ends_in_fraction
    if len(dots) == 1:
        # 0151.2724228 is two groups; 415.5550101 and 41.8902102 may be a fraction.
        return len(between) == 1 and not groups[0].startswith("0")
    if len(dots) == len(between):
        is_address = len(dots) == _DOTS_OF_AN_ADDRESS and max(map(int, groups)) <= _LARGEST_OF_AN_ADDRESS
        return is_address and groups[0] != "1"
    # 41.8902 12.4922 are two fractions.
    return dots[0] == 0 and dots[-1] == len(between) - 1


def _is_several(plus: str, groups: Sequence[str], between: Sequence[str]) -> bool:
    """Whether a second number begins at one of the signs."""
    before, left = -_exit_digits(groups), sum(map(len, groups))
    plus = plus or ("+" if before else "")
    # 06/12/34/56/78
    are_groups = len(between) >= _FEWEST_SLASHES_OF_GROUPS and all(signs.strip(" ") == "/" for signs in between)
    for index, group in enumerate(groups[:-1]):
        before += len(group)
        left -= len(group)
        # With its country's code in front, a second number makes it longer than any number is.
        if before >= _FEWEST_DIGITS and left >= _FEWEST_DIGITS and not plus:
            return True
        if "/" in between[index] and not are_groups:
            # What stands before a slash is an area code, with its country's code or its zero; 555-0101/02 are two.
            most = _LONGEST_AREA_CODE + (2 if plus else 0 if groups[0].startswith("0") else -1)
            if before > most or left <= _LONGEST_FRACTION or (before == 1 and not plus):
                return True
    return False


def _zero_behind_code(plus: str, groups: Sequence[str], *, in_parentheses: bool) -> str:
    """The zero behind what can be a country code, as `OneNumber.zero` has it.

    Args:
        plus: `+` or "".
        groups: of digits.
        in_parentheses: whether a zero stands in parentheses somewhere.
    """
    code, rest = groups[0], groups[1:]
    if code in _EXIT_PREFIXES and rest:
        code, rest = rest[0], rest[1:]
    code = code.removeprefix(EXIT_PREFIX)
    if not rest or len(code) > _LONGEST_COUNTRY_CODE or code.startswith("0") or not rest[0].startswith("0"):
        return ""
    if in_parentheses:
        return "(0)" if rest[0] == "0" else ""
    return "0" if plus and code not in KEEP_THEIR_ZERO else ""


def _has_tail(groups: Sequence[str], between: Sequence[str]) -> bool:
    """Whether the last group looks like an extension: short behind a long one, or behind a number that is whole."""
    if len(groups) == 1:
        return False
    *before, tail = map(len, groups)
    signs = [one.strip(" ()") for one in between]
    is_signed = signs[-1] != ""
    last = before[-1]
    if tail == 1:
        return True
    if tail == 2:  # noqa: PLR2004  pairs follow pairs, and groups of three where no sign sets them apart
        return last > (2 if is_signed and set(signs[:-1]) != {signs[-1]} else 3)
    if tail == 3:  # noqa: PLR2004  groups of three
        return is_signed and last > 3  # noqa: PLR2004
    return last > 3 and sum(before) - _exit_digits(groups) >= _DIGITS_OF_A_WHOLE_NUMBER  # noqa: PLR2004


def _exit_digits(groups: Sequence[str]) -> int:
    """How many digits stand before the country's code where an exit prefix stands in the place of the `+`."""
    if groups[0] in _EXIT_PREFIXES:
        return len(groups[0])
    return len(EXIT_PREFIX) if groups[0].startswith(EXIT_PREFIX) else 0
