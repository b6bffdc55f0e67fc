"""Do-not-contact files as people keep them: whom each bars, or why it stops the push."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import openpyxl
import polars as pl
import pytest
from attrs import field, frozen

from kore_campaign_async import SourceError
from kore_campaign_async.ingest.numbering import NumberingPlans
from kore_campaign_async.ingest.suppressing import Reading, read_suppressed
from tests.ingest.pushing import csv_of, push, scripted

ANA: Final = 14155550101
BOB: Final = 14155550102
LON: Final = 442079460018
MOB: Final = 4915127242281


@frozen(kw_only=True)
class F:
    """A file, whom it bars (no more and no fewer), or a part of what is said of it."""

    content: str | bytes | Callable[[Path], None]
    bars: set[int] = field(factory=set)
    said: str = ""
    region: str | None = None
    reading: Reading = field(factory=Reading)
    name: str = "dnc.csv"


def book(**sheets: list[list[Any]]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        made = openpyxl.Workbook()
        made.remove(made.active)
        for title, rows in sheets.items():
            sheet = made.create_sheet(title)
            for row in rows:
                sheet.append(row)
        made.save(path)

    return write


def table(**columns: list[Any]) -> Callable[[Path], None]:
    return lambda path: pl.DataFrame(columns).write_parquet(path)


FILES: Final = {
    # Which columns
    "two phone columns": F(content="phone,phone 2\n+14155550101,+14155550102\n", bars={ANA, BOB}),
    "two phone columns in German": F(content="Telefon;Handy\n+14155550101;\n;+14155550102\n", bars={ANA, BOB}),
    "a phone column of an odd name": F(
        content="name,erreichbar\nAna,+14155550101\nBob,+14155550102\n", bars={ANA, BOB}
    ),
    "one of two by a flag": F(
        content="phone,mobile\n+14155550101,+14155550102\n", bars={BOB}, reading=Reading(columns=("mobile",))
    ),
    "a flag that names no column": F(
        content="phone\n+14155550101\n",
        reading=Reading(columns=("Tel",)),
        said="has no column 'Tel'; its columns are 'phone'",
    ),
    "n/a beside a number": F(content="phone,mobile\n+14155550101,n/a\nnone,+14155550102\n", bars={ANA, BOB}),
    "an unread number beside a number": F(
        content="phone,mobile\n+14155550101,4155550102\n", said="row 2 may be a number without its country code"
    ),
    "no phone column": F(content="name,city\nAna,Rome\n", said="no number column"),
    "numbers without a header": F(content="+14155550101\n+14155550102\n", bars={ANA, BOB}),
    "rows without a header": F(content="Ana,+14155550101\nBob,+14155550102\n", bars={ANA, BOB}),
    "a heading that is none of a phone": F(content="Opt-out\n+14155550101\n", bars={ANA}),
    "surplus empty cells": F(content="phone,name\n+14155550101,Ana,\n+14155550102,Bob,,\n", bars={ANA, BOB}),
    # Sheets
    "every sheet": F(
        content=book(May=[["phone"], ["+14155550101"]], June=[["phone"], ["+14155550102"]]),
        bars={ANA, BOB},
        name="d.xlsx",
    ),
    "an empty sheet beside a full one": F(
        content=book(May=[["phone"], ["+14155550101"]], Notes=[]), bars={ANA}, name="d.xlsx"
    ),
    "one sheet by a flag": F(
        content=book(May=[["phone"], ["+14155550101"]], Notes=[["todo"], ["call Bob"]]),
        bars={ANA},
        reading=Reading(sheets=("May",)),
        name="d.xlsx",
    ),
    "a sheet of notes": F(
        content=book(May=[["phone"], ["+14155550101"]], Notes=[["todo", "by"], ["call Bob", "Ana"]]),
        said="sheet 'Notes', has no number column",
        name="d.xlsx",
    ),
    "numbers as numbers": F(content=book(May=[["phone"], [ANA], [float(BOB)]]), bars={ANA, BOB}, name="d.xlsx"),
    "a parquet file": F(content=table(phone=[ANA], other=["+14155550102"]), bars={ANA, BOB}, name="d.parquet"),
    "a table of nothing": F(
        content=table(phone=pl.Series([], dtype=pl.String)), said="holds no numbers", name="d.parquet"
    ),
    "objects with two numbers": F(
        content='{"phone": "+14155550101", "mobile": 14155550102}\n', bars={ANA, BOB}, name="d.ndjson"
    ),
    "a formula that nobody has computed": F(
        content=book(May=[["phone", "x"], ["+14155550101", "y"], ['="+1"&"4155550102"', "z"]]),
        said="holds formulas whose values were never saved",
        name="d.xlsx",
    ),
    # How numbers are written
    "a float": F(content="phone\n14155550101.0\n", bars={ANA}),
    "a zero in parentheses": F(content="phone\n+44 (0)20 7946 0018\n", bars={LON}),
    "an exit prefix": F(content="phone\n0044 20 7946 0018\n", bars={LON}),
    "digits in words": F(content="phone\n0151/27242281 ab 17 Uhr\n", bars={MOB}, region="DE"),
    "words before digits": F(content="phone\nAna: +1 415 555 0101 (work)\n", bars={ANA}),
    "an extension": F(content="phone\n+1 415 555 0101 x12\n", bars={ANA}),
    "two numbers in a cell": F(content="phone\n+14155550101 / +14155550102\n", bars={ANA, BOB}),
    "two numbers, the second shortened": F(content="phone\n415-555-0101/02\n", bars={ANA, BOB}, region="US"),
    "a formula": F(content='phone\n"=""+14155550101"""\n', bars={ANA}),
    "full-width digits": F(
        content="phone\n\uff0b\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff10\uff11\n", bars={ANA}
    ),
    "national numbers of the region": F(content="phone\n(415) 555-0101\n4155550102\n", bars={ANA, BOB}, region="US"),
    # What can't be read
    "X for any digit": F(content="phone\n+1415555XXXX\n", said="row 2 stands for many numbers"),
    "a star": F(content="phone\n+1415555*\n", said="stands for many numbers"),
    "percent": F(content="phone\n1415555%\n", said="stands for many numbers"),
    "a range": F(content="phone\n+14155550100 - +14155550199\n", said="may be a range of numbers"),
    "a letter for a digit": F(content="phone\n+1415555O101\n", said="is not clear"),
    "letters to be dialled": F(content="phone\n1-800-FLOWERS\n", said="holds no phone number"),
    "a national number": F(content="phone\n4155550101\n", said="may be a number without its country code"),
    "a national number with its zero": F(content="phone\n0151 27242281\n", said="give --region for national"),
    "a rounded number": F(content="phone\n1.41556E+10\n", said="is not clear"),
    "nobody": F(content="phone,name\n+14155550101,Ana\n,Bob\n", said="row 3 holds no phone number"),
    "several unread rows": F(
        content="phone\n" + "".join(f"x{at}\n" for at in range(14)),
        said="in 14 rows: row 2 holds no phone number: 'x0'; row 3",
    ),
    "an unclosed quote": F(content='phone,name\n+14155550101,"Ana\n+14155550102,Bob\n', said="quote"),
    "a number that lost its plus, under a region": F(
        content="phone\n436641234567\n", bars={436641234567, 49436641234567}, region="DE"
    ),
    "two numbers side by side": F(content="phone\n030 901820 030 901821\n", bars={4930901820, 4930901821}, region="DE"),
    "an area code apart": F(content="phone\nVorwahl 0151 Nummer 27242281\n", said="is not clear", region="DE"),
    "a second number that is cut short": F(content="phone\n415-555-0101 or 02\n", said="is not clear", region="US"),
    "a tail": F(content="phone\n+1 415 555 0101-05\n", said="may be a range"),
    "a range in words": F(content="phone\nbetween +14155550101 and +14155550105\n", said="may be a range"),
    "a pattern": F(content="phone\n^1415555010\\d$\n", said="stands for many numbers"),
    "a superscript": F(content="phone\n+1415555010\u00b2\n", said="is not clear"),
    "the first person of a file without a header": F(
        content="tel:+14155550101\nPhone: +14155550102\n", bars={ANA, BOB}
    ),
    "a person whose row begins like a header": F(content="mobile,+14155550101\nmobile,+14155550102\n", bars={ANA, BOB}),
    "cells behind the last column": F(content="phone,name\n+14155550101,Ana,+14155550102\n", bars={ANA, BOB}),
    "objects in objects": F(
        content='{"phone": "+14155550101", "alt": "+14155550102", "contact": {"mobile": "+44 20 7946 0018"}}\n',
        bars={ANA, BOB, LON},
        name="d.ndjson",
    ),
    "Mexico's older way to dial": F(content="phone\n+52 1 55 1234 5678\n", bars={5215512345678, 525512345678}),
    "a zero behind a code": F(content="phone\n+490151 27242281\n", bars={49015127242281, MOB}),
    # Empty ones
    "empty": F(content="", said="give --allow-empty-suppress"),
    "a header alone": F(content="phone,name\n", said="holds no numbers, so it would bar nobody"),
    "empty and meant": F(content="phone,name\n", reading=Reading(allow_empty=True)),
}


@pytest.mark.parametrize("one", FILES.values(), ids=FILES)
async def test_whom_a_file_bars(one: F, tmp_path: Path) -> None:
    assert len(FILES) >= 40
    path = tmp_path / one.name
    if callable(one.content):
        one.content(path)
    else:
        path.write_bytes(one.content if isinstance(one.content, bytes) else one.content.encode())
    numbering = None if one.region is None else NumberingPlans(one.region, strict=False)
    if not one.said:
        assert set(await read_suppressed((path,), numbering, reading=one.reading)) == one.bars
        return
    with pytest.raises(SourceError) as caught:
        await read_suppressed((path,), numbering, reading=one.reading)
    said = str(caught.value)
    assert one.said in said
    assert said.startswith(f"the do-not-contact file {path}")
    assert "remove" not in said.replace("don't remove people", "")


async def test_the_report_says_of_each_file_and_sheet_what_it_did(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *[f"+{one}" for one in (ANA, BOB, ANA, LON, 14155550109)])
    one = csv_of(tmp_path / "one.csv", "phone", f"+{ANA}", "+14155550177")
    two = tmp_path / "two.xlsx"
    book(May=[["phone"], [f"+{ANA}"], [f"+{LON}"]], June=[["phone"], ["+14155550188"]])(two)
    async with scripted() as (api, client):
        report = await push(client, source, suppress=(one, two), run_dir=tmp_path / "run")
    assert set(api.received) == {str(BOB), "14155550109"}
    assert [(use.name, use.sheet, use.numbers, use.in_source) for use in report.do_not_contact] == [
        (str(one), None, 2, 1),
        (str(two), "May", 2, 2),
        (str(two), "June", 1, 0),
    ]


async def test_tables_and_records_count_alike_whom_a_file_barred(tmp_path: Path) -> None:
    barred = csv_of(tmp_path / "dnc.csv", *[f"+1415555{at:04}" for at in range(0, 400, 3)])
    values = [f"+1415555{at:04}" for at in range(300)]
    async with scripted() as (_, client):
        frame = await push(client, pl.DataFrame({"phone": values}), suppress=(barred,))
        rows = await push(client, values, suppress=(barred,))
    assert frame.do_not_contact == rows.do_not_contact
    assert rows.do_not_contact[0].in_source == 100
