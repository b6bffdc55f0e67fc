"""What a text means as a phone number, by the numbering plans of the world. Needs the extra `phone`.

A text is mended only where nothing is lost. A number that has its `+`, and keeps all of its digits, needs a length
that its country has. Every other one must be able to exist, too: else nobody knows whether it was read rightly.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from re import Pattern
from typing import Any, Final

import phonenumbers
from attrs import frozen
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType, ValidationResult

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.phone_text import (
    EXIT_PREFIX,
    OneNumber,
    canonical,
    is_plain,
    is_too_long,
    meanings_by_shape,
    one_number,
    read_number,
    same_line,
    unwrapped,
)
from kore_campaign_async.ingest.records import (
    AMBIGUOUS_PHONE,
    DATE_OR_AMOUNT,
    HAS_EXTENSION,
    INVALID_PHONE,
    NO_AREA_CODE,
    UNASSIGNED_PHONE,
)

_NO_DIGITS = re.compile("[^0-9]+").sub
_INTERNATIONAL = re.compile(r"\+[1-9][0-9]{6,14}").fullmatch
_PLUSES: Final = ("+", "\uff0b")

# Until 2019 a 1 stood behind Mexico's code before mobile numbers, and within the country other prefixes did.
_SHORT_DATE_DIGITS: Final = 6
_DIGITS_OF_ANY_COUNTRY: Final = 11
_FEW_LENGTHS: Final = 3
_LARGE_REGIONS: Final = (
    *("US", "DE", "GB", "IN", "FR", "BR", "JP", "MX", "ES", "IT", "NL", "PL", "CA", "AU", "AT", "CH", "BE", "PT", "ID"),
    *("PH", "TR", "ZA", "NG", "AR", "CO", "SE", "NO", "DK", "IE", "SG", "AE", "SA", "EG", "KR", "CN", "RU", "UA", "CL"),
)
_MEXICO: Final = 52
_MEXICAN_DIGITS: Final = 10
_OLD_MEXICAN = re.compile(r"(?:01|044|045)([2-9][0-9]{9})").fullmatch

# The first rows are read before anything is sent, and whole slices twice where something about them is odd.
_TEXTS_KEPT: Final = 16384


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

    def meanings(self, digits: str, *, must_exist: bool = False) -> Sequence[str]:
        """Every number that the digits of a do-not-contact number can mean, behind their `+` if they have one."""
        if self._region is None:
            return meanings_by_shape(digits)
        found: dict[str, bool] = {}
        for parsed in self._readings(digits):
            number = _written(parsed)
            if _length(parsed) == ValidationResult.IS_POSSIBLE and _INTERNATIONAL(number):
                found[number] = self._can_exist(parsed)
        # A spreadsheet may have eaten the `+` of any country's number.
        as_it_is = f"+{_digits(digits)}"
        if as_it_is not in found and self._is_plain(as_it_is):
            other = _parsed(as_it_is, None)
            found[as_it_is] = other is not None and self._can_exist(other)
        for number in list(found):
            found |= dict.fromkeys(filter(self._is_plain, same_line(number)[1:]), found[number])
        if any(found.values()):
            return tuple(number for number, can_exist in found.items() if can_exist)
        return () if must_exist else tuple(found)

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
        number, reason = read_number(text)
        if number is None:
            return None, reason
        full = number if number.startswith("+") else f"+{number}"
        parsed = _parsed(full, None)
        if parsed is None or _written(parsed) != full or not self._can_exist(parsed):
            return None, UNASSIGNED_PHONE
        return number, ""

    def _judge(self, text: str) -> tuple[str | None, str]:
        """A text as the region's people mean it: the number, or None and why."""
        text, reason = unwrapped(text) if not is_too_long(text) else ("", INVALID_PHONE)
        if reason:
            return None, reason
        plain = canonical(text)
        if not is_plain(plain):
            return None, self._why_not_plain(text)
        one = one_number(plain)
        if isinstance(one, str):
            return None, one
        doubt = self._doubt(one)
        return (None, doubt) if doubt else self._by_the_plan(one)

    def _doubt(self, one: OneNumber) -> str:
        """The reason code of what is a number by its shape and must not be called; "" of all else."""
        if one.is_short_date and self._lengths() != {_SHORT_DATE_DIGITS}:
            return DATE_OR_AMOUNT
        if one.zero == "(0)" and not one.text.startswith(("+", EXIT_PREFIX)) and one.first != self._code:
            return AMBIGUOUS_PHONE
        return HAS_EXTENSION if self._has_extension(one) else ""

    def _by_the_plan(self, one: OneNumber) -> tuple[str | None, str]:
        reason = ""
        found: set[str] = set()
        for parsed in self._readings(one.text):
            number, length = _written(parsed), _length(parsed)
            if length == ValidationResult.IS_POSSIBLE_LOCAL_ONLY:
                reason = reason or NO_AREA_CODE
            if length != ValidationResult.IS_POSSIBLE or not _INTERNATIONAL(number):
                continue
            if (number == one.text and not self._strict and not one.before_tail) or self._can_exist(parsed):
                found.add(number)
            reason = UNASSIGNED_PHONE
        if len(found) == 1 and not self._may_be_foreign(one, next(iter(found))):
            return found.pop(), ""
        return None, AMBIGUOUS_PHONE if found else reason or INVALID_PHONE

    def _may_be_foreign(self, one: OneNumber, number: str) -> bool:
        """Whether digits that read as a number of the region are another country's, whose `+` got lost.

        Only where the region's numbers can have many lengths, so that they tell little; its mobile numbers begin like
        no others.
        """
        if not one.text.startswith(one.first) or len(one.text) < _DIGITS_OF_ANY_COUNTRY or one.text != one.first:
            return False
        if one.text.startswith("0") or number == f"+{one.text}" or len(self._lengths()) <= _FEW_LENGTHS:
            return False
        own, other = _parsed(number, None), _parsed(f"+{one.text}", None)
        if own is None or other is None or phonenumbers.number_type(own) != PhoneNumberType.FIXED_LINE:
            return False
        return phonenumbers.is_valid_number(other)

    def _has_extension(self, one: OneNumber) -> bool:
        """Whether the last group is one: what stands before it is a whole number already, or it is a single digit."""
        if not one.before_tail:
            return False
        is_digit = len(one.text) - len(one.before_tail) == 1
        return is_digit or any(map(self._can_exist, self._readings(one.before_tail)))

    def _why_not_plain(self, text: str) -> str:
        """The reason code of a text with words or further signs in it, whose letters must not become digits."""
        has_extension = any(parsed.extension is not None for parsed in self._readings(text))
        return HAS_EXTENSION if has_extension else INVALID_PHONE

    def _lengths(self) -> frozenset[int]:
        """How many digits the region's numbers can have."""
        return (self._plans[self._code] or self._plan(self._code)).lengths

    def _can_exist(self, parsed: PhoneNumber) -> bool:
        # Most are of the region itself, which is quickly found out; else the library looks for theirs.
        if self._region is not None and phonenumbers.is_valid_number_for_region(parsed, self._region):
            return True
        return phonenumbers.is_valid_number(parsed)

    def _readings(self, text: str) -> Iterator[PhoneNumber]:
        """What a text can mean, the likeliest first."""
        if self._region == "MX" and (old := _OLD_MEXICAN(text)):
            text = old[1]
        parsed = _parsed(text, self._region)
        if parsed is not None:
            yield parsed
        if text.startswith(_PLUSES):
            return
        digits = _digits(text)
        # A country's own code without its `+`; and the world's usual prefix, where the region has another one.
        if digits.startswith(self._code):
            international = f"+{digits}"
        elif digits.startswith(EXIT_PREFIX):
            international = f"+{digits.removeprefix(EXIT_PREFIX)}"
        else:
            return
        parsed = _parsed(international, None)
        if parsed is not None:
            yield parsed


def best_regions(texts: Sequence[str]) -> Sequence[tuple[str, int]]:
    """The regions by whose customs at least half of the texts are numbers, the best first, and how many are.

    Many regions fit alike where they allow numbers of any length: those with the most people stand first.
    """
    counts = {
        region: sum(plans.clean(text) is not None for text in texts)
        for region in sorted(phonenumbers.SUPPORTED_REGIONS)
        for plans in (NumberingPlans(region, strict=False),)
    }
    good = [(region, count) for region, count in counts.items() if texts and 2 * count >= len(texts)]
    place = {region: at for at, region in enumerate(_LARGE_REGIONS)}
    return sorted(good, key=lambda one: (-one[1], place.get(one[0], len(place)), one[0]))


def _digits(text: str) -> str:
    """A text's digits, as ASCII."""
    if text.isascii():
        return _NO_DIGITS("", text)
    return phonenumbers.normalize_digits_only(text)


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        parsed = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    old = (parsed.national_number or 0) - 10**_MEXICAN_DIGITS
    is_national = not text.startswith(("+", EXIT_PREFIX))
    if (
        not is_national
        and parsed.country_code == _MEXICO
        and 0 < old < 10**_MEXICAN_DIGITS
        and not parsed.italian_leading_zero
    ):
        parsed.national_number = old
    return parsed


def _written(parsed: PhoneNumber) -> str:
    return phonenumbers.format_number(parsed, PhoneNumberFormat.E164)


def _length(parsed: PhoneNumber) -> int:
    reason: int = phonenumbers.is_possible_number_with_reason(parsed)
    return reason
