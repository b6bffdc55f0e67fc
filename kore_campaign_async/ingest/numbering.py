"""What a text means as a phone number, by the numbering plans of the world. Needs the extra `phone`.

A text is mended only where nothing is lost. A number that has its `+`, and keeps all of its digits, needs a length
that its country has. Every other one must be able to exist, too: else nobody knows whether it was read rightly.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from re import Pattern
from typing import Any, Final

import phonenumbers
from attrs import frozen
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, ValidationResult

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.normalise import BLANKS, clean_number
from kore_campaign_async.ingest.records import (
    AMBIGUOUS_PHONE,
    HAS_EXTENSION,
    INVALID_PHONE,
    LOST_DIGITS,
    MISSING_PHONE,
    NO_AREA_CODE,
    UNASSIGNED_PHONE,
)

_NO_DIGITS = re.compile("[^0-9]+").sub
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
# What spreadsheets and programs make of a number: text that was kept from becoming one, a float, thousands, a rounded
# float.
_FORMULA = re.compile(r'="([^"]*)"').fullmatch
_FLOAT = re.compile(r"(\+?[0-9]+)\.0+").fullmatch
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){2,}(?:\.0+)?").fullmatch
_SCIENTIFIC = re.compile(r"(\+?[0-9])(?:[.,]([0-9]+))?[eE]\+?0*([0-9]{1,2})").fullmatch
# Line ends are no separators but a torn record, and nobody knows what a byte that is not Unicode was.
_TORN = re.compile("[\0-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]").search
_SPACES: Final = dict.fromkeys(map(ord, BLANKS), " ")
_APOSTROPHES: Final = "'\u2019"
_SCHEME: Final = "tel:"
_PLUSES: Final = ("+", "\uff0b")
_EXIT_PREFIX: Final = "00"

# Whole slices are read twice where something about them is odd.
_TEXTS_KEPT: Final = 4096


@frozen
class _Plan:
    """What a country's numbers look like behind its code.

    Attributes:
        lengths: how many digits they can have.
        prefix: what may stand before them within the country, and is dropped.
    """

    lengths: frozenset[int]
    prefix: Pattern[str] | None


class NumberingPlans:
    """Reads numbers as people of one region write them, or checks that numbers can exist.

    Attributes:
        name: of these rules.

    Args:
        region: two letters of ISO 3166, such as `US`; None leaves the rules for the shape of E.164 as they are.
        strict: whether every number must be able to exist.

    Raises:
        SourceError: there is no such region.
    """

    def __init__(self, region: str | None, *, strict: bool) -> None:
        if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
            hint = "; the United Kingdom is GB" if region == "UK" else ""
            raise SourceError(
                f"there are no phone numbers of the region {region!r}: a region is two letters of ISO 3166, such as US"
                f" or DE{hint}"
            )
        # Another version of the library can judge a number otherwise.
        self.name = f"{region or '-'} {'strict' if strict else 'lax'} {phonenumbers.__version__}"
        self._region = region
        self._strict = strict
        self._code = "" if region is None else str(phonenumbers.country_code_for_region(region))
        # Each country's plan is a module, so only those that are met are imported.
        self._plans: dict[str, _Plan | None] = dict.fromkeys(map(str, phonenumbers.COUNTRY_CODE_TO_REGION_CODE))
        self._judged = functools.lru_cache(_TEXTS_KEPT)(self._judge if region is not None else self._check)

    def clean(self, text: str) -> str | None:
        """The number that a text means; None if it means none that can be called."""
        if not self._strict and self._is_plain(text):
            return text
        return self._judged(text)[0]

    def why_not(self, text: str) -> str:
        """The reason code of a text that means none."""
        return self._judged(text)[1]

    def barred(self, text: str) -> tuple[str, ...]:
        """Every number that a line of a do-not-contact file can mean: one too many harms less than one too few."""
        if self._region is None:
            number = clean_number(text)
            return () if number is None else (number,)
        text, _ = _mended(text)
        found: dict[str, bool] = {}
        for parsed in self._readings(text):
            number = _written(parsed)
            if _length(parsed) == ValidationResult.IS_POSSIBLE and _INTERNATIONAL(number):
                found[number] = self._can_exist(parsed)
        if any(found.values()):
            return tuple(number for number, can_exist in found.items() if can_exist)
        # Another country's number without its `+` reads as one of the region that can't exist.
        as_it_is = f"+{_digits(text)}"
        return (*found, as_it_is) if found and as_it_is not in found and self._is_plain(as_it_is) else tuple(found)

    def _is_plain(self, text: str) -> bool:
        """Whether the library would only hand a number back: it has its `+`, no prefix, and a length that is there."""
        if not _INTERNATIONAL(text):
            return False
        for end in (2, 3, 4):
            code = text[1:end]
            if code in self._plans:
                plan = self._plans[code] or self._plan(code)
                national = text[end:]
                if len(national) not in plan.lengths:
                    return False
                prefix = None if plan.prefix is None else plan.prefix.match(national)
                return not (prefix and prefix[0])
        return False

    def _plan(self, code: str) -> _Plan:
        region = phonenumbers.region_code_for_country_code(int(code))
        metadata: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
        prefix = metadata.national_prefix_for_parsing
        plan = _Plan(frozenset(metadata.general_desc.possible_length), re.compile(prefix) if prefix else None)
        self._plans[code] = plan
        return plan

    def _check(self, text: str) -> tuple[str | None, str]:
        """By the shape of E.164, and whether the number can exist as it stands there."""
        number = clean_number(text)
        if number is None:
            return None, INVALID_PHONE
        full = number if number.startswith("+") else f"+{number}"
        parsed = _parsed(full, None)
        if parsed is None or _written(parsed) != full or not self._can_exist(parsed):
            return None, UNASSIGNED_PHONE
        return number, ""

    def _judge(self, text: str) -> tuple[str | None, str]:
        """A text as the region's people mean it: the number, or None and why."""
        text, reason = _mended(text)
        if reason:
            return None, reason
        as_it_is = f"+{_digits(text)}" if text.startswith(_PLUSES) else ""
        has_words = any(map(str.isalpha, text))
        found: set[str] = set()
        for parsed in self._readings(text):
            number, length = _written(parsed), _length(parsed)
            if length == ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
                reason = reason or NO_AREA_CODE
            if length != ValidationResult.IS_POSSIBLE or not _INTERNATIONAL(number):
                continue
            if parsed.extension is not None:
                return None, HAS_EXTENSION
            # A word can mean that it is no number to call, and its letters would become digits.
            if has_words:
                return None, INVALID_PHONE
            if (number == as_it_is and not self._strict) or self._can_exist(parsed):
                found.add(number)
            reason = UNASSIGNED_PHONE
        if len(found) == 1:
            return found.pop(), ""
        return None, AMBIGUOUS_PHONE if found else reason or INVALID_PHONE

    def _can_exist(self, parsed: PhoneNumber) -> bool:
        # Most are of the region itself, which is quickly found out; else the library looks for theirs.
        if self._region is not None and phonenumbers.is_valid_number_for_region(parsed, self._region):
            return True
        return phonenumbers.is_valid_number(parsed)

    def _readings(self, text: str) -> Iterator[PhoneNumber]:
        """What a text can mean, the likeliest first."""
        parsed = _parsed(text, self._region)
        if parsed is not None:
            yield parsed
        if text.startswith(_PLUSES):
            return
        digits = _digits(text)
        # A country's own code without its `+`; and the world's usual prefix, where the region has another one.
        if digits.startswith(self._code):
            international = f"+{digits}"
        elif digits.startswith(_EXIT_PREFIX):
            international = f"+{digits.removeprefix(_EXIT_PREFIX)}"
        else:
            return
        parsed = _parsed(international, None)
        if parsed is not None:
            yield parsed


def _mended(text: str) -> tuple[str, str]:
    """What is left of a text that a spreadsheet or a link had in its hands, or a reason code why nothing is."""
    text = _unwrapped(text)
    if not text:
        return text, MISSING_PHONE
    if _TORN(text):
        return "", INVALID_PHONE
    return _unrounded(text)


def _unwrapped(text: str) -> str:
    """A text without what marks it as one, or as a link."""
    text = text.translate(_SPACES).strip(" ")
    if formula := _FORMULA(text):
        text = formula[1]
    text = text.lstrip(_APOSTROPHES).strip(" ")
    return text[len(_SCHEME) :] if text[: len(_SCHEME)].lower() == _SCHEME else text


def _unrounded(text: str) -> tuple[str, str]:
    """The digits of what was written as a number to count with, or a reason code if they are not all there."""
    if whole := _FLOAT(text):
        return whole[1], ""
    if _GROUPED(text):
        return text.partition(".")[0].replace(",", ""), ""
    if rounded := _SCIENTIFIC(text):
        digits, exponent = rounded[2] or "", int(rounded[3])
        if len(digits) != exponent:
            return "", LOST_DIGITS if len(digits) < exponent else INVALID_PHONE
        return rounded[1] + digits, ""
    return text, ""


def _digits(text: str) -> str:
    """A text's digits, as ASCII."""
    if text.isascii():
        return _NO_DIGITS("", text)
    return phonenumbers.normalize_digits_only(text)


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None


def _written(parsed: PhoneNumber) -> str:
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


def _length(parsed: PhoneNumber) -> int:
    reason: int = phonenumbers.is_possible_number_with_reason(parsed)
    return reason
