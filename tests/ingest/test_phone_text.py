"""One number in a cell, or none: which digits are those of one number, and what else a cell can hold."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import openpyxl
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async import IngestOptions, SourceError
from kore_campaign_async.ingest.numbering import NumberingPlans
from kore_campaign_async.ingest.phone_text import clean_number, read_number
from tests.ingest.pushing import push, scripted

REGIONS: Final = (None, "US", "DE", "JP", "GB")
CODES: Final = {"US": "1", "DE": "49", "JP": "81", "GB": "44"}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("14155550101.0", "14155550101"),
        ("4155550103.00", "4155550103"),
        ("+14155550101,0", "+14155550101"),
        ("+44 (0)20 7946 0018", "+442079460018"),
        ("+44(0)2079460018", "+442079460018"),
        ("+44 ( 0 ) 20 7946 0018", "+442079460018"),
        ("+420 (0)601 123 456", "+420601123456"),
        ("(+49) (0)151 2724228", "+491512724228"),
        ("+39 06 12345678", "+390612345678"),
        ("06/12/34/56/78".replace("06", "+33/6"), "+33612345678"),
        ("+1.4155550101", "+14155550101"),
        ("+49 151/2724228", "+491512724228"),
        ("+7 495 123-45-67", "+74951234567"),
        ("+33 1 23 45 67 89", "+33123456789"),
        ("+46 470-123 45", "+4647012345"),
        ("+55 11 91234-5678", "+5511912345678"),
        ("14.155.550.101", "14155550101"),
        ("+1 415.555.0101.", "+14155550101"),
    ],
)
def test_one_number_by_its_shape(text: str, number: str) -> None:
    assert read_number(text) == (number, "")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, "date_or_amount") for text in ("2026-07-01", "01.07.2026", "7/1/2026", "2026/7/1", "07-01-26")),
        *((text, "date_or_amount") for text in ("4155504.5", "12345.67", "14155550101.25", "4155.500", "123456,7")),
        *((text, "date_or_amount") for text in ("415.5550101", "41.8902102", "1.4155550101", "41.8902 12.4922")),
        *((text, "date_or_amount") for text in ("192.168.100.200", "2026 07 01", "12 05 1990")),
        *((text, "date_or_amount") for text in ("41555.5010", "4155550101.5", "+4155550101,75")),
        *((text, "several_numbers") for text in ("555-0101 / 555-0102", "555-0101/02", "5550101-5550102")),
        *((text, "several_numbers") for text in ("555-0101 555-0102", "022-22334455/66", "+1 4155550101 +14155550102")),
        *((text, "has_extension") for text in ("+1 415 555 0104-12", "+49 30 12345-67", "+1 415 555 0104 1234")),
        *((text, "ambiguous_phone") for text in ("44 (0)20 7946 0018", "+39 (0)6 12345678", "+44 020 7946 0018")),
        *((text, "invalid_phone") for text in ("-4155550101", "4155550101-", "+1 415 555 010", "1 23 45 67 89")),
    ],
)
def test_what_is_no_number_has_a_reason(text: str, reason: str) -> None:
    number, why = read_number(text)
    assert number is None
    assert why == reason or (text == "123456,7" and why == "invalid_phone")


@pytest.mark.parametrize(
    ("text", "region", "number"),
    [
        ("\uff10\uff19\uff10\u30fc\uff11\uff12\uff13\uff14\u30fc\uff15\uff16\uff17\uff18", "JP", "+819012345678"),
        ("4155550101,0", "US", "+14155550101"),
        ("+1\ufe0f4155550101", "US", "+14155550101"),
        ("\u2060+1 415 555\u00ad0101\ufe0f", "DE", "+14155550101"),
        ("+52 1 55 1234 5678", "MX", "+525512345678"),
        ("+5215512345678", "US", "+525512345678"),
        ("0052 1 55 1234 5678", "DE", "+525512345678"),
        ("044 55 1234 5678", "MX", "+525512345678"),
        ("0151/27242281", "DE", "+4915127242281"),
        ("[030] 1234567", "DE", "+49301234567"),
        ("+44 020 7946 0018", "US", "+442079460018"),
        ("20.12.34", "NC", "+687201234"),
    ],
)
def test_what_people_of_a_region_write_is_read(text: str, region: str, number: str) -> None:
    assert NumberingPlans(region, strict=False).clean(text) == number


@pytest.mark.parametrize(
    ("text", "region"),
    [
        *((text, "DE") for text in ("2026-07-01", "01.07.26", "7/1/2026", "4155504.5", "030 12345 / 12346")),
        *(
            (text, "DE")
            for text in (
                "030 123456-12",
                "+49 30 1234567-1",
                "022-22334455/66",
                "030 1234567~68",
                "+81 3-1234-5678-12",
                "030 12345; 030 12346",
            )
        ),
        *((text, "IT") for text in ("01.07.26", "07-01-26", "01.07.2026")),
        *((text, "JP") for text in ("+81 3-1234-5678-12", "03-1234-5678\uff5e80")),
        *((text, "US") for text in ("4155550101.5", "+1 415 555 0104-12", "415-555-0101 or 415-555-0102")),
    ],
)
def test_what_is_not_one_number_is_none_in_any_region(text: str, region: str) -> None:
    assert NumberingPlans(region, strict=False).clean(text) is None


# A grid of writings

NATIONAL: Final = ("415 555 0101", "030 1234567", "090-1234-5678", "020 7946 0018", "0151/2724228", "(0201) 123456")
WORLD: Final = (
    "+1 415 555 0101",
    "+49 30 1234567",
    "+81 90-1234-5678",
    "+44 20 7946 0018",
    "14155550101",
    "+39 06 69812345",
)
TAILS: Final = (
    *(
        ".0",
        ".00",
        ",0",
        ".5",
        ".25",
        "-12",
        "-1",
        "/02",
        " / {other}",
        ", {other}",
        "; {other}",
        " or {other}",
        "/{other}",
    ),
    *(
        " {other}",
        "-{other}",
        " x12",
        " ext. 3",
        "#7",
        " (Ana)",
        " 2026-07-01",
        ".",
        "-",
        "*",
        "\u202c",
        "\ufe0f",
        "e3",
        "~9",
    ),
)
HEADS: Final = ("", "00", "(0)", "'", "tel:", "-", "~", "0", "=", "+", "1/", "2: ", "\u2060")
OTHERS: Final = (
    *(
        "2026-07-01",
        "01.07.2026",
        "7/1/2026",
        "1.7.26",
        "12:30",
        "2026-07-01T10:00:00",
        "20260701T1000",
        "1,234,567.89",
    ),
    *("4155504.5", "12345.67", "4155.500", "1.41555E+10", "true", "NaN", "", " ", "+", "n/a", "()"),
    *("+44 (0)20 7946 0018", "+49 (0)30 1234567", "+39 (0)6 69812345", "44 (0)20 7946 0018", "+1 (0)415 555 0101"),
)


def writings() -> Iterator[tuple[str, tuple[str, ...]]]:
    """Texts, and the numbers that stand in each, as digits."""
    other = "415 555 0199"
    for base in (*NATIONAL, *WORLD):
        digits = re.sub("[^0-9]", "", base)
        for tail in TAILS:
            yield base + tail.format(other=other), (digits, "4155550199") if "{" in tail else (digits,)
        for head in HEADS:
            yield head + base, (digits,)
    yield "1.4155550101E+10", ("14155550101",)
    for text in OTHERS:
        yield text, (re.sub(r"[^0-9]", "", re.sub(r"\( *0 *\)", "", text)),) if "(0)" in text else ()


WRITINGS: Final = list(writings())


def allowed(ones: tuple[str, ...], region: str | None) -> set[str]:
    """How the digits of each of these numbers may go out: as they stand there, or as E.164."""
    found = {*ones}
    for one in ones:
        found |= {one.removeprefix("00"), re.sub("^(39)0?6", r"\g<1>06", one)}
        if region is not None:
            found |= {CODES[region] + one, CODES[region] + one.removeprefix("0")}
    return found


async def source_of(form: str, texts: list[str], folder: Path) -> Any:
    rows = [{"phone": text, "tag": str(index)} for index, text in enumerate(texts)]
    match form:
        case "csv":
            path = folder / "c.csv"
            pl.DataFrame(rows).write_csv(path, quote_style="always")
        case "ndjson":
            path = folder / "c.ndjson"
            path.write_bytes(b"\n".join(map(orjson.dumps, rows)))
        case "parquet":
            path = folder / "c.parquet"
            pl.DataFrame(rows).write_parquet(path)
        case "xlsx":
            path = folder / "c.xlsx"
            book = openpyxl.Workbook()
            book.active.append(["phone", "tag"])
            for row in rows:
                book.active.append([row["phone"], row["tag"]])
                book.active.cell(book.active.max_row, 1).data_type = "s"
            book.save(path)
        case "frame":
            return pl.DataFrame(rows)
        case _:
            return rows
    return path


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("form", ["csv", "xlsx", "parquet", "ndjson", "mapping", "frame"])
async def test_no_digits_are_sent_that_are_not_those_of_one_number_in_the_cell(
    form: str, region: str | None, tmp_path: Path
) -> None:
    assert len(WRITINGS) >= 300
    texts = [text for text, _ in WRITINGS]
    async with scripted() as (api, client):
        source = await source_of(form, texts, tmp_path)
        report = await push(client, source, keep_duplicates=True, region=region)
    sent = {int(one["tag"]): one["phoneNumber"] for call in api.calls for one in call.contacts}
    wrong = {
        texts[index]: number
        for index, number in sent.items()
        if number.removeprefix("+") not in allowed(WRITINGS[index][1], region)
    }
    assert wrong == {}
    # A test that rejects everything would show nothing.
    assert len(sent) > 20
    assert report.counts.accepted == len(sent)


# Values that are no text


TYPED: Final = [dt.date(2026, 7, 1), dt.datetime(2026, 7, 1, 10), dt.time(10, 30), 4155504.5, 415.5550101, True]  # noqa: DTZ001


@pytest.mark.parametrize("region", REGIONS)
async def test_typed_cells_of_a_workbook_are_judged_by_their_type(region: str | None, tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.active.append(["phone"])
    for value in (*TYPED, 14155550101, 14155550102.0):
        book.active.append([value])
    book.save(tmp_path / "c.xlsx")
    async with scripted() as (api, client):
        report = await push(client, tmp_path / "c.xlsx", region=region)
    assert report.counts.rejected == len(TYPED) + 2 * (region in {"JP", "GB", "DE"})
    assert set(api.received) <= {"14155550101", "14155550102"}


@pytest.mark.parametrize("as_file", [True, False])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize(
    "values",
    [
        [dt.date(2026, 7, 1)],
        [dt.datetime(2026, 7, 1, 10)],  # noqa: DTZ001
        [dt.time(10, 30)],
        [Decimal("415.5550101"), Decimal("4155504.5000000")],
        [True],
    ],
)
async def test_typed_columns_of_a_table_are_judged_by_their_type(
    values: list[Any], region: str | None, tmp_path: Path, *, as_file: bool
) -> None:
    frame = pl.DataFrame({"phone": values})
    frame.write_parquet(tmp_path / "c.parquet")
    async with scripted() as (api, client):
        report = await push(client, tmp_path / "c.parquet" if as_file else frame, region=region, run_dir=tmp_path / "r")
    assert report.counts.rejected == len(values)
    assert not api.received
    assert "date_or_amount" in (tmp_path / "r" / "rejected.csv").read_text()


async def test_a_decimal_column_of_whole_numbers_is_read() -> None:
    frame = pl.DataFrame({"phone": [Decimal("14155550101.00"), None, Decimal("14155550102.50")]})
    async with scripted() as (api, client):
        report = await push(client, frame)
    assert set(api.received) == {"14155550101"}
    assert (report.counts.accepted, report.counts.rejected) == (1, 2)


@pytest.mark.parametrize("kind", [pl.Float32, pl.Float16])
async def test_floats_that_cannot_hold_a_number_are_refused(kind: Any, tmp_path: Path) -> None:
    """14155550101 as a Float32 is 14155549696."""
    frame = pl.DataFrame({"phone": pl.Series([60000.0, 14155550101.0][kind == pl.Float32 :], dtype=kind)})
    async with scripted() as (api, client):
        with pytest.raises(SourceError, match="floats that are no whole numbers, or too large ones to be exact"):
            await push(client, frame)
    assert not api.received


async def test_numbers_of_mappings_and_ndjson_are_judged_by_their_type(tmp_path: Path) -> None:
    values = ["14155550101.0", "14155550102.5", "1.41556e10", "14155550103", "1.4155550104e10"]
    (tmp_path / "c.ndjson").write_text("".join(f'{{"phone": {value}}}\n' for value in values))
    given = [{"phone": 14155550101.0}, {"phone": 14155550102.5}, {"phone": dt.date(2026, 7, 1)}, {"phone": 14155550103}]
    for source in (given, tmp_path / "c.ndjson"):
        async with scripted() as (api, client):
            await push(client, source)
        assert set(api.received) == {"14155550101", "14155550103"}


# Numbers without a plus


async def test_require_plus_refuses_what_has_none(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("phone\n+14155550101\n4155550102\n14155550103\nx\n")
    async with scripted() as (api, client):
        report = await push(client, path, require_plus=True, run_dir=tmp_path / "run")
    assert set(api.received) == {"14155550101"}
    assert report.counts.rejected == 3
    assert (tmp_path / "run" / "rejected.csv").read_text().count("missing_plus") == 2


def test_require_plus_and_a_region_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="Leave one of them out"):
        IngestOptions(require_plus=True, region="US")


@given(st.text(alphabet="+0123456789 -.()/,", max_size=30))
def test_whatever_is_taken_stands_there_in_its_order(text: str) -> None:
    number = clean_number(text)
    if number is not None:
        digits = iter(re.sub("[^0-9]", "", text))
        assert all(one in digits for one in number.removeprefix("+"))
