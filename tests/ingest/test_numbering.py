"""Numbers as people write them, by the numbering plans of the world."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import orjson
import phonenumbers
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType

from kore_campaign_async import IngestOptions, SourceError
from kore_campaign_async.ingest.barring import barred_numbers
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.numbering import NumberingPlans
from kore_campaign_async.ingest.phone_text import clean_number
from kore_campaign_async.ingest.records import Cells, Record, Slice
from kore_campaign_async.ingest.run_settings import numbering_of
from tests.ingest.pushing import push, scripted

US: Final = NumberingPlans("US", strict=False)
NUMBER: Final = "+14155550123"
REASONS: Final = {
    *("missing_phone", "invalid_phone", "has_extension", "lost_digits"),
    *("no_area_code", "ambiguous_phone", "unassigned_phone", "several_numbers", "date_or_amount"),
}


def read(text: str, region: str = "US", *, strict: bool = False) -> str:
    """The number that a text means, or the reason why it means none."""
    plans = NumberingPlans(region, strict=strict)
    return plans.clean(text) or plans.why_not(text)


@pytest.mark.parametrize(
    "text",
    [
        "+14155550123",
        "(415) 555-0123",
        "415-555-0123",
        "415.555.0123",
        "415 555 0123",
        "4155550123",
        "1 415 555 0123",
        "1-415-555-0123",
        "14155550123",
        "+1 (415) 555-0123",
        "(+1) 415 555 0123",
        "\u00a0+1\u202f415 555\u20110123 ",
        "\u202a+1 415 555 0123\u202c",  # as copied from a list of contacts
        "tel:+1-415-555-0123",
        "0014155550123",
        "00 1 415 555 0123",
        "011 1 415 555 0123",
        "'4155550123",
        "'+14155550123",
        '="4155550123"',
        "4155550123.0",
        "14155550123.00",
        "4.155550123E+09",
        "4.155550123e9",
        "4,155550123E+09",
        "1.4155550123E+010",
        "4,155,550,123",
        "4,155,550,123.00",
        "\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff12\uff13",
        "\u0664\u0661\u0665\u0665\u0665\u0665\u0660\u0661\u0662\u0663",
        "\u096a\u0967\u096b\u096b\u096b\u096b\u0966\u0967\u0968\u0969",
    ],
)
def test_what_is_mended_where_nothing_is_lost(text: str) -> None:
    assert read(text) == NUMBER
    assert read(text, strict=True) == NUMBER


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("030 1234567", "DE", "+49301234567"),
        ("15123456789", "DE", "+4915123456789"),  # a spreadsheet ate the zero
        ("+49 (0)30 1234567", "US", "+49301234567"),
        ("+4402079460958", "US", "+442079460958"),
        ("0049 30 1234567", "DE", "+49301234567"),
        ("0049 30 1234567", "US", "+49301234567"),
        ("011 49 30 1234567", "US", "+49301234567"),
        ("0011 49 30 1234567", "AU", "+49301234567"),
        ("447911123456", "GB", "+447911123456"),
        ("8 (912) 345-67-89", "RU", "+79123456789"),
        ("06 12345678", "IT", "+390612345678"),  # there the zero stays
        ("+1 415 555 0123", "DE", NUMBER),
        ("+1 015 555 0123", "US", "+10155550123"),  # with its +, it needs only a length that is there
    ],
)
def test_each_region_by_its_own_customs(text: str, region: str, number: str) -> None:
    assert read(text, region) == number


@pytest.mark.parametrize(
    ("text", "region", "reason"),
    [
        ("", "US", "missing_phone"),
        (" \u00a0", "US", "missing_phone"),
        ("'", "US", "missing_phone"),
        ('=""', "US", "missing_phone"),
        ("4155550123x12", "US", "has_extension"),
        ("415-555-0123 ext. 12", "US", "has_extension"),
        ("+1 415 555 0123 доб. 12", "US", "has_extension"),
        ("(415) 555-0123 #12", "US", "has_extension"),
        ("tel:+1-415-555-0123;ext=12", "US", "has_extension"),
        ("4.15555E+09", "US", "lost_digits"),
        ("4,15555E+09", "US", "lost_digits"),
        ("4E+9", "US", "lost_digits"),
        ("4.1555E+02", "US", "invalid_phone"),
        ("555-0123", "US", "no_area_code"),
        ("415-555-012", "US", "invalid_phone"),
        ("415-555-01234", "US", "invalid_phone"),
        ("+1415555", "US", "invalid_phone"),
        ("do not call 415-555-0123", "US", "invalid_phone"),
        ("415-555-0123 Ana", "US", "invalid_phone"),
        ("1-800-FLOWERS", "US", "invalid_phone"),
        ("415-555-0123, 415-555-0124", "US", "several_numbers"),
        ("415-555-0123 / 415-555-0124", "US", "several_numbers"),
        ("#31#4155550123", "US", "invalid_phone"),
        ("415\n5550123", "US", "invalid_phone"),
        ("4155550123\n", "US", "invalid_phone"),
        ("415\x005550123", "US", "invalid_phone"),
        ("\udcff4155550123", "US", "invalid_phone"),
        ("1" * 300, "US", "invalid_phone"),
        ("+999 415 555 0123", "US", "invalid_phone"),
        ("(015) 555-0123", "US", "unassigned_phone"),
        ("612345678", "IT", "unassigned_phone"),  # a spreadsheet ate a zero that is part of the number
        ("14155550123", "DE", "unassigned_phone"),
        ("4915123456789", "DE", "ambiguous_phone"),  # 04915 is an area code, and +49 is Germany
    ],
)
def test_what_is_rejected_since_something_is_lost(text: str, region: str, reason: str) -> None:
    assert read(text, region) == reason


def told() -> Iterator[tuple[str, str, str]]:
    """What the README's table says: a text, its region, and what it becomes."""
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    table = readme.partition("| in the file |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        texts, result = line.removeprefix("| ").split(" | ")[:2]
        region = re.search(r"--region ([A-Z]{2})", texts)
        for text in re.findall(r"`([^`]+)`", texts.partition(" with ")[0]):
            yield text, region[1] if region else "US", result.strip("` |")


def test_the_manual_tells_the_truth() -> None:
    rows = list(told())
    assert len(rows) >= 15
    for text, region, result in rows:
        assert read(text, region) == result


#: What can't be mended, and why: every other example number of every region can, however it is written.
NOT_DIALLED_ABROAD: Final = {
    "+13101234": "no_area_code",  # Canada: seven digits without an area code, within the country alone
    "+989601": "invalid_phone",  # Iran: six digits, fewer than the shape of E.164 has
}

#: Read as an extension: what stands before the last two digits is a whole number of that kind already.
WITH_A_TAIL: Final = {"tel:+61-16-312-34"}  # Australia: a pager


def examples() -> Iterator[tuple[str, PhoneNumber, str]]:
    """Every region's example number of every type, with how it is written as E.164."""
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for kind in PhoneNumberType.values():
            number = phonenumbers.example_number_for_type(region, kind)
            if number is not None:
                yield region, number, phonenumbers.format_number(number, PhoneNumberFormat.E164)


def written(region: str, number: PhoneNumber, e164: str) -> list[str]:
    """The ways in which people write a number."""
    national = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    return [
        e164,
        phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL),
        phonenumbers.format_number(number, PhoneNumberFormat.RFC3966),
        national,
        f" '{national} ",
        "".join(one for one in national if one.isdigit()),
        f"00{e164[1:]}",
        f"{phonenumbers.PhoneMetadata.metadata_for_region(region).preferred_international_prefix or '00'}{e164[1:]}",
    ]


def test_the_example_numbers_of_every_region() -> None:
    regions = set()
    for region, number, e164 in examples():
        plans = NumberingPlans(region, strict=False)
        regions.add(region)
        for text in written(region, number, e164):
            if e164 in NOT_DIALLED_ABROAD:
                assert plans.clean(text) is None
                if text in {e164, phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)}:
                    assert plans.why_not(text) == NOT_DIALLED_ABROAD[e164]
            else:
                assert plans.clean(text) == e164 or text in WITH_A_TAIL, (region, text)
    assert len(regions) == len(phonenumbers.SUPPORTED_REGIONS) > 240


def test_the_example_numbers_without_their_plus() -> None:
    """They are read as they are meant, or rejected where they can be two numbers; never as another one."""
    ambiguous = set()
    for region, _, e164 in examples():
        found = read(e164[1:], region)
        assert found == e164 or e164 in NOT_DIALLED_ABROAD or found == "ambiguous_phone", (region, e164, found)
        if found == "ambiguous_phone":
            ambiguous.add(region)
    assert ambiguous == {"BR", "DE", "ID", "NL", "SE", "VN", "XK"}


def test_the_example_numbers_can_exist() -> None:
    strict = NumberingPlans(None, strict=True)
    for _, _, e164 in examples():
        assert strict.clean(e164) == (e164 if clean_number(e164) else None)


CODES: Final = [str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE]


@settings(deadline=None, max_examples=1000)
@given(st.sampled_from(CODES), st.from_regex(r"[0-9]{4,12}", fullmatch=True), st.booleans())
def test_a_number_that_skips_the_library_would_not_be_changed_by_it(code: str, rest: str, usual: bool) -> None:
    text = f"+{code}{rest}"
    if usual:
        example = phonenumbers.example_number(phonenumbers.region_code_for_country_code(int(code)))
        if example is not None:
            text = phonenumbers.format_number(example, PhoneNumberFormat.E164)[: -len(rest[:3])] + rest[:3]
    if US._is_plain(text):
        assert US._judge(text) == (text, "")


@pytest.mark.parametrize("text", ["+14155550123", "+442079460958", "+4915123456789", "+5511961234567", "+33123456789"])
def test_a_usual_number_skips_the_library(text: str) -> None:
    assert US._is_plain(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("+14155550123", "+14155550123"),
        ("14155550123", "14155550123"),  # as without strict, its + is not made up
        ("+1 (415) 555-0123", "+14155550123"),
        ("+10155550123", "unassigned_phone"),
        ("+4402079460958", "unassigned_phone"),  # nor is anything mended
        ("(415) 555-0123", "unassigned_phone"),  # without a region, digits are international
        ("4155550123x12", "invalid_phone"),
        ("12", "invalid_phone"),
        ("+9991234567", "unassigned_phone"),
    ],
)
def test_strict_alone_keeps_the_rules_and_checks_that_the_number_can_exist(text: str, expected: str) -> None:
    plans = NumberingPlans(None, strict=True)
    found = plans.clean(text) or plans.why_not(text)
    assert found == expected


def test_strict_holds_for_numbers_with_their_plus_too() -> None:
    assert read("+10155550123", strict=True) == "unassigned_phone"
    assert read("+10155550123") == "+10155550123"


@pytest.mark.parametrize("numbering", [US, NumberingPlans("DE", strict=True), NumberingPlans(None, strict=True)])
def test_all_ways_of_a_row_end_the_same(numbering: NumberingPlans) -> None:
    """Cells, lists of cells, mappings, and one by one."""
    texts = [NUMBER, "(415) 555-0123", "", " ", "x", "030 1234567", "4.1E+09", "4155550123 x1", "14155550123", "1 "]
    table = match(["phone", "name"], {})
    expected: list[tuple[int, str | dict[str, str]]] = []
    for row, text in enumerate(texts, 1):
        one = Normaliser(table, {}, 1 << 20, numbering).sort(Slice(row, [[text, "Ana"]], suspect=True))
        expected += [(row, one.contacts[0]) if one.rows else (row, one.rejected[0][1])]
    rows: list[Record] = [[text, "Ana"] for text in texts]
    cells = Cells([cell for text in texts for cell in (text, "Ana")], 2)
    mappings: list[Record] = [{"phone": text, "name": "Ana"} for text in texts]
    for records in (rows, cells, mappings):
        part = Slice(1, records, suspect=records is mappings)
        found = Normaliser(table, {}, 1 << 20, numbering).sort(part)
        contacts = found.contacts
        if found.encode is not None:
            contacts = orjson.loads(b"[" + found.encode(contacts) + b"]")
        ended = [*zip(found.rows, contacts, strict=True), *((row, reason) for row, reason, _ in found.rejected)]
        assert sorted(ended, key=lambda one: one[0]) == expected
        assert found.keys == [int(contact["phoneNumber"]) for contact in contacts]


@pytest.mark.parametrize(
    ("text", "region", "numbers"),
    [
        ("(415) 555-0123", "US", {"+14155550123"}),
        ("+14155550123", "US", {"+14155550123"}),
        ("4155550123x12", "US", {"+14155550123"}),  # the extension can't be barred alone
        ("4155550123 Ana", "US", {"+14155550123"}),
        ("not: 415-555-0123", "US", {"+14155550123"}),
        ("(015) 555-0123", "US", {"+10155550123"}),
        ("4.15555E+09", "US", set()),
        ("555-0123", "US", set()),
        ("", "US", set()),
        ("4915123456789", "DE", {"+494915123456789", "+4915123456789"}),
        ("14155550123", "DE", {"+14155550123"}),  # the German one can't exist
        ("4155550123.0", "US", {"+14155550123"}),
    ],
)
def test_a_line_bars_every_number_that_it_can_mean(text: str, region: str, numbers: set[str]) -> None:
    for strict in (False, True):
        found, _ = barred_numbers(text, NumberingPlans(region, strict=strict).meanings)
        assert set(found) == numbers
        assert len(found) == len(numbers)


def test_whatever_is_sent_can_be_barred_by_the_same_text() -> None:
    for region, number, e164 in examples():
        plans = NumberingPlans(region, strict=False)
        for text in written(region, number, e164):
            sent = plans.clean(text)
            barred, trouble = barred_numbers(text, plans.meanings)
            assert sent is None or sent in barred or trouble


@settings(deadline=None, max_examples=500)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["+", "00", "011", "1", "49", "030", "(0)", " ", "-", ".0", "E+09", ",", "x", "'", "=", '"', ";"]
            ),
            st.from_regex(r"[0-9]{1,10}", fullmatch=True),
            st.text(st.characters(), max_size=3),
        ),
        max_size=8,
    ).map("".join),
    st.sampled_from(["US", "DE", "IT", "BR", "JP", "AR", None]),
    st.booleans(),
)
def test_any_text_is_a_number_or_has_a_reason(text: str, region: str | None, strict: bool) -> None:
    """And what is sent is of the shape of E.164, reads as itself, and can be barred by the same text."""
    if region is None and not strict:
        return
    plans = NumberingPlans(region, strict=strict)
    number = plans.clean(text)
    if number is None:
        assert plans.why_not(text) in REASONS
        return
    assert number == clean_number(number)
    assert plans.clean(number) == number
    barred, trouble = barred_numbers(text, plans.meanings)
    # Without a region, a number without its + can be a national one: that must not pass in a do-not-contact file.
    assert number in barred or trouble


@pytest.mark.parametrize("of_tables", [False, True])
async def test_it_keeps_clear_of_the_event_loop(*, of_tables: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library takes its time over each number."""
    threads: set[int] = set()

    def clean(self: NumberingPlans, text: str) -> str | None:
        threads.add(threading.get_ident())
        return self._judged(text)[0]

    monkeypatch.setattr(NumberingPlans, "clean", clean)
    texts = [f"(415) 555-{row:04}" for row in range(1200)]
    async with scripted() as (api, client):
        report = await push(client, pl.DataFrame({"phone": texts}) if of_tables else texts, region="us")
    assert report.counts.accepted == 1200
    assert set(api.received) == {f"1415555{row:04}" for row in range(1200)}
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(("region", "hint"), [("XX", "such as US"), ("UK", "the United Kingdom is GB")])
def test_an_unknown_region_is_refused(region: str, hint: str) -> None:
    with pytest.raises(SourceError, match=f"no phone numbers of the region '{region}'.*{hint}"):
        NumberingPlans(region, strict=False)


@pytest.mark.parametrize(
    ("options", "what"),
    [(IngestOptions(region="US"), "a region"), (IngestOptions(strict=True), "a strict check of numbers")],
)
async def test_without_the_extra_it_is_named(
    options: IngestOptions, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    monkeypatch.delitem(sys.modules, "kore_campaign_async.ingest.numbering")
    with pytest.raises(SourceError) as caught:
        await numbering_of(options)
    assert str(caught.value) == f"{what} needs the extra phone: pip install 'kore-campaign-async[phone]'"


async def test_who_asks_for_nothing_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonenumbers", None)
    assert await numbering_of(IngestOptions()) is None
