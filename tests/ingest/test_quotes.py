"""No line of a CSV file is glued to another one, and none is lost, whatever is wrong with its quotes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kore_campaign_async import SourceError
from kore_campaign_async.ingest.numbering import NumberingPlans
from kore_campaign_async.ingest.phone_text import clean_number
from kore_campaign_async.ingest.records import Broken
from kore_campaign_async.ingest.sources.csv_text import CsvRecords
from kore_campaign_async.ingest.sources.phone_like import could_be_number, looks_like_number
from kore_campaign_async.ingest.sources.sheet_rows import SheetRows
from tests.ingest.pushing import LIST, csv_of, outcome_files, push, sandboxed, stored
from tests.ingest.test_csv_text import lines_of, reasons
from tests.ingest.test_phone_text import WRITINGS


def read(header: str, text: str, *, number: int | None, at_once: int = 500, delimiter: str = ",") -> list[Any]:
    """The records behind a header, which says what a row of the file looks like."""
    records = CsvRecords(delimiter, SheetRows(), lambda _: number)
    lines, found = lines_of(f"{header}\n{text}"), list[Any]()
    for start in range(0, len(lines), at_once):
        found += records.feed(lines[start : start + at_once])
    return (found + records.feed([], final=True))[1:]


def torn(*lines: str, reason: str = "unclosed_quote") -> list[Broken]:
    return [Broken(reason, line) for line in lines]


async def test_a_stray_quote_costs_its_lines_and_no_contact_vanishes(tmp_path: Path) -> None:
    """Five lines are read: four stand under a quote, and the fifth is sent."""
    path = csv_of(
        tmp_path / "c.csv",
        "phone,name,city",
        '+14155550101,"Ana,Rome',
        "+14155550102,Bob,Oslo",
        "+14155550103,Cy,Bonn",
        '+14155550104,Di","Lima"',
        "+14155550105,Ed,Kyiv",
    )
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, path, run_dir=tmp_path / "run")
        assert await stored(sandbox) == [{"phoneNumber": "+14155550105", "name": "Ed", "city": "Kyiv"}]
    assert (report.counts.read, report.counts.rejected, report.exit_status) == (5, 4, 1)
    rejected = outcome_files(tmp_path / "run")["rejected.csv"]
    assert [(row, reason) for row, reason, _ in rejected] == [(row, "unclosed_quote") for row in range(1, 5)]
    assert [cells for _, _, cells in rejected][1] == ["+14155550102,Bob,Oslo"]


async def test_what_mysql_escapes_is_rejected_and_no_other_number_is_called(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path / "c.csv",
        "name,phone,other",
        r'"Ana \"the\" B, +14155550109",+14155550101,x',
        r'"Bo \"",+14155550102,"x"',
        "Cy,+14155550103,x",
    )
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, path, run_dir=tmp_path / "run")
        assert [one["phoneNumber"] for one in await stored(sandbox)] == ["+14155550103"]
    assert (report.counts.read, report.counts.rejected) == (3, 2)


@pytest.mark.parametrize("at_once", [1, 2, 500])
@pytest.mark.parametrize(
    ("header", "number", "lines"),
    [
        ("phone,name,city", 0, ['1,"Ana,Rome', "2,Bob,Oslo", 'x,Di","Lima"']),
        ("phone,name,city", 0, ['1,"Ana,Rome', '+14155550102,Bob","Oslo"']),
        ("phone,name", 0, ['1,"Ana', "+1 (415) 555-0102", '"']),
        ("phone,name", 0, ['1,"Ana', '2,Bob"']),
        ("phone,address", 0, ['1,"12 Main St', '12, Rome"']),
        ("name,city,phone", 2, ['"Ana,Rome,+14155550101', 'Bob","Oslo",+14155550102']),
        ("name,phone,city", 1, ['"Ana,+14155550101,Rome', 'Bob","+14155550102",Oslo']),
        ("name,x,y", None, ['Ana,"a', 'b,4155550102",y']),
        ("phone", 0, ['"+14155550101', '+14155550102"']),
        ("phone", 0, ['"Ana', 'Rome"']),
        # Lines whose cells stand elsewhere than the header's.
        ("name,phone,city", 1, ['"Ana,Rome', '+14155550102,Bob","Oslo"']),
        ("name,city,phone", 2, ['"Ana,+14155550101', 'Bob",Oslo,+14155550102']),
        ("phone,a,b", 0, ['1,"x', ',y,z","w"']),
        ("phone,a,b", 0, ['1,"x', 'k7,y,z","w"']),
        ("phone,name", 0, ['1,"Ana', 'Bob"x']),
        ("phone,name", 0, ['1,"Ana"x,"', '2,Bob"']),
        ("phone,name", 0, ['1,"Ana', 'Rome",x,y']),
    ],
)
def test_a_cell_that_could_be_rows_of_the_file_costs_all_its_lines(
    header: str, number: int | None, lines: list[str], at_once: int
) -> None:
    text = "".join(f"{line}\n" for line in lines)
    behind = header.replace("phone", "+14155550199")
    assert read(header, f"{text}{behind}\n", number=number, at_once=at_once) == [*torn(*lines), behind.split(",")]


@pytest.mark.parametrize("at_once", [1, 2, 500])
@pytest.mark.parametrize(
    ("header", "number", "lines", "record"),
    [
        (
            "phone,address",
            0,
            ['1,"12 Main St', "Springfield, IL 62701", 'USA"'],
            ["1", "12 Main St\nSpringfield, IL 62701\nUSA"],
        ),
        ("phone,address", 0, ['1,"12 Main St', '62701-1234"'], ["1", "12 Main St\n62701-1234"]),
        (
            "address,phone",
            1,
            ['"12 Main St', "Springfield, IL 62701", 'USA",1'],
            ["12 Main St\nSpringfield, IL 62701\nUSA", "1"],
        ),
        (
            "phone,name,address",
            0,
            ['1,Ana,"12 Main St, Apt 4', "Springfield, IL", 'USA"'],
            ["1", "Ana", "12 Main St, Apt 4\nSpringfield, IL\nUSA"],
        ),
        (
            "address,name,phone",
            2,
            ['"12 Main St', "Rome, IT", 'Italy" ,Ana, 1'],
            ["12 Main St\nRome, IT\nItaly", "Ana", " 1"],
        ),
        (
            "phone,note",
            0,
            ['1,"called', "2026-07-01", 'again on 2026-07-05"'],
            ["1", "called\n2026-07-01\nagain on 2026-07-05"],
        ),
        ("phone,name,note", 0, ['1,Ana,"Hi', "thanks, yes, ok", 'bye"'], ["1", "Ana", "Hi\nthanks, yes, ok\nbye"]),
        ("note,name,phone", 2, ['"Hi', "no, 12, ok", 'bye",Ana,1'], ["Hi\nno, 12, ok\nbye", "Ana", "1"]),
        ("phone,note,x", 0, ['1,"a', "", '""b""', '"'], ["1", 'a\n\n"b"\n']),
        ("phone,a,b", 0, ['1,"a', 'b","c', 'd"'], ["1", "a\nb", "c\nd"]),
    ],
)
def test_an_address_over_several_lines_goes_in(
    header: str, number: int, lines: list[str], record: list[str], at_once: int
) -> None:
    text = "".join(f"{line}\n" for line in lines)
    assert read(header, f"{text}2,x\n", number=number, at_once=at_once) == [record, ["2", "x"]]


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ("1", ["1"]),
        ("1,Ana", ["1", "Ana"]),
        ('1,"Ana"', ["1", "Ana"]),
        ("1,5' tall", ["1", "5' tall"]),
        ('1,5" tall,x', ["1", '5" tall', "x"]),
        ('1,Ana"', Broken("bad_row", '1,Ana"')),
        ('1,5" tall', Broken("bad_row", '1,5" tall')),
        ('1,a"b"', Broken("bad_row", '1,a"b"')),
        ('1,"a"b,x', Broken("bad_row", '1,"a"b,x')),
        ("1,a,b,", ["1", "a", "b"]),
        ('1,a,b,, ,""', ["1", "a", "b"]),
        ("1,a,b,c", ["1", "a", "b", "c"]),
        ("1,a,b,,c", ["1", "a", "b", "", "c"]),
    ],
)
def test_short_rows_are_padded_and_long_ones_cut_only_where_that_is_sure(line: str, record: object) -> None:
    for at_once in (1, 500):
        assert read("phone,name,city", f"9,8,7\n{line}\n6,5,4\n", number=0, at_once=at_once) == [
            ["9", "8", "7"],
            record,
            ["6", "5", "4"],
        ]


parts = st.lists(
    st.sampled_from(["x", '"', '""', ",", " ", "+14155550101", "\\", "é", '","', "12, Rome", "\t", "\0"]), max_size=5
).map("".join)


@settings(max_examples=400)
@given(
    st.lists(st.tuples(parts, parts, st.sampled_from(["\n", "\r\n", "\n\n", "\r"])), max_size=12),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_every_line_is_a_part_of_a_record_or_rejected(
    lines: list[tuple[str, str, str]], width: int, at_once: int, other: int
) -> None:
    """Each line's own mark is there once, in a record or as a rejected line, whatever lines come at once."""
    marks = [f"k{index}z" for index in range(len(lines))]
    text = "".join(f"{before}{mark}{after}{end}" for mark, (before, after, end) in zip(marks, lines, strict=True))
    header = ",".join("abc"[:width])
    found = read(header, text, number=0, at_once=at_once)
    assert found == read(header, text, number=0, at_once=other)
    told = [[one.text] if isinstance(one, Broken) else one for one in found]
    assert re.findall("k[0-9]+z", "\n".join(cell for cells in told for cell in cells)) == marks
    for one, cells in zip(found, told, strict=True):
        kept = [mark for cell in cells for mark in re.findall("k[0-9]+z", cell)]
        assert len(kept) == 1 or (isinstance(one, list) and len(one) <= width and len(kept) > 1), "glued"
        if len(kept) > 1:
            assert width > 1
            swallowed = [line.split(",") for cell in cells for line in lines_of(cell)[1:]]
            rows = [line for line in swallowed if len(line) == 3 == width]
            assert all(re.search("[^\\W0-9_]", line[0]) and not re.search("[0-9]", line[0]) for line in rows)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_rules_hold_for_every_delimiter_and_line_end(delimiter: str, end: str) -> None:
    lines = [
        '+14155550101,"Ana,Rome',
        '+14155550102,Bob","Oslo"',
        '+14155550103, "Rome, IT",',
        "+14155550104,x,,",
        '1,"a"b,c',
    ]
    text = "".join(line.replace(",", delimiter) + end for line in lines)
    found = read(delimiter.join("abc"), text, number=0, delimiter=delimiter)
    assert reasons(found) == [(0, "unclosed_quote"), (1, "unclosed_quote"), (4, "bad_row")]
    assert found[2:4] == [["+14155550103", f"Rome{delimiter} IT", ""], ["+14155550104", "x", ""]]


async def test_a_header_that_swallows_rows_is_refused(tmp_path: Path) -> None:
    """Over several lines it may go by itself, as Excel wraps it."""
    async with sandboxed(LIST) as (sandbox, client):
        for torn_header in ('phone,"name', 'phone,"name"x'):
            path = csv_of(tmp_path / "c.csv", torn_header, "+14155550101,Ana", '+14155550102,Bob"', "+14155550103,Cy")
            with pytest.raises(SourceError, match="it has a quote that never closes, or text behind a closing one"):
                await push(client, path)
        await push(client, csv_of(tmp_path / "c.csv", '"Phone', 'Number","First', 'Name"', "+14155550104,Di"))
        assert await stored(sandbox) == [{"phoneNumber": "+14155550104", "firstName": "Di"}]


async def test_the_map_tells_where_a_number_would_stand(tmp_path: Path) -> None:
    """In a column that no usual name tells."""
    path = csv_of(tmp_path / "c.csv", "note,Kunde", '"see', 'x,4155550102 y",+14155550101', "a,+14155550103")
    many = csv_of(
        tmp_path / "d.csv", "a,Kunde,b", '1,2,"see', "4155550102", 'x"', '1,+14155550103,"see', '9,4155550102"'
    )
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, path, column_map={"Kunde": "phoneNumber"})
        assert report.counts.rejected == 0
        report = await push(client, many, run_dir=tmp_path / "run", column_map={"Kunde": "phoneNumber"})
        assert len(await stored(sandbox)) == 2
    assert [(row, why) for row, why, _ in outcome_files(tmp_path / "run")["rejected.csv"]] == [
        (1, "invalid_phone"),
        (2, "unclosed_quote"),
        (3, "unclosed_quote"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "+14155550101",
        "4155550101",
        " (415) 555-0101 ",
        "'+1 415.555.0101",
        "0151/2724228",
        "14155550101.0",
        "+44 (0)20 7946 0018",
        "555-0101",
        "1.4155550101E+10",
        "tel:+1-415-555-0101",
        "415 555 0101 ext. 12",
        "０９０ー１２３４ー５６７８",
    ],
)
def test_what_looks_like_a_number(text: str) -> None:
    assert looks_like_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "phone",
        "1",
        "2026",
        "62701",
        "62701-1234",
        "2026-07-01",
        "01.07.2026",
        "7/1/2026",
        "2025-2026",
        "2025/2026",
        "Q1 2026",
        "IL 62701",
        "12 Main St",
        "customer 1234567",
        "-",
    ],
)
def test_what_does_not_look_like_one(text: str) -> None:
    assert not looks_like_number(text)


ODD_WRITINGS = [
    "(+1) 415 555 0101",
    *(f"{mark}+1415555{mark}0101{mark}" for mark in "\u202a\u202c\u200e\u200b\ufeff\u2060\ufe0d"),
    "415\u00b7555\u00b70101",
    "\uff08415\uff09555-0101",
    "[415] 555-0101",
    "\uff14\uff11\uff15\uff0e\uff15\uff15\uff15\uff0e\uff10\uff11\uff10\uff11",
    "555-0101 / 555-0102",
    "41555-0101",
    "94103-1234",
    "2020-2021",
]


@pytest.mark.parametrize("written", ODD_WRITINGS)
@pytest.mark.parametrize("end", ["Rome", "Rome,x"])
def test_no_writing_of_a_number_vanishes_behind_a_stray_quote(written: str, end: str) -> None:
    """At its own column, or in a line that has a cell too few or too many."""
    last = "Cy,+14155550103"
    lines = [f'"Ana,{written}', 'Bob",+14155550102']
    assert read("name,phone", "\n".join((*lines, last)), number=1) == [*torn(*lines), last.split(",")]
    wide = ['1,"Ana', f'x,{written},{end},y","w"']
    assert read("phone,name,city", "\n".join((*wide, "2,b,c")), number=0) == [*torn(*wide), ["2", "b", "c"]]


@pytest.mark.parametrize("written", ["4155550101,0", "4,155,550,101"])
def test_no_number_with_a_comma_vanishes_behind_a_stray_quote(written: str) -> None:
    lines = [f'"Ana;{written}', 'Bob";+14155550102']
    text = "\n".join((*lines, "Cy;+14155550103"))
    assert read("name;phone", text, number=1, delimiter=";") == [*torn(*lines), ["Cy", "+14155550103"]]


@pytest.mark.parametrize("region", [None, "US", "DE", "JP", "GB"])
def test_whatever_the_rules_take_is_evidence(region: str | None) -> None:
    clean = clean_number if region is None else NumberingPlans(region, strict=False).clean
    texts = [*ODD_WRITINGS, '="+14155550101"', "+14155550101." + 40 * "0", *(text for text, _ in WRITINGS)]
    taken = [text for text in texts if clean(text) is not None]
    assert len(taken) > 20
    assert [text for text in taken if not could_be_number(text)] == []


@pytest.mark.parametrize(
    "text", ["2026-07-01", "01.07.2026", "7/1/2026", "12:30", "62701", "customer 1234567", "-", ""]
)
def test_what_no_rule_takes_is_no_evidence(text: str) -> None:
    assert not could_be_number(text)


@pytest.mark.parametrize("text", ["\u202a+14155550101\u202c", "[415] 555-0101", "4155550101,0"])
def test_a_header_that_is_such_a_number_is_none(text: str) -> None:
    assert looks_like_number(text)


async def test_each_line_behind_a_stray_quote_is_counted_whatever_its_number_looks_like(tmp_path: Path) -> None:
    path = csv_of(tmp_path / "c.csv", "name,phone", '"Ana,(+1) 415 555 0101', 'Bob",+14155550102', "Cy,+14155550103")
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, path)
        assert [one["phoneNumber"] for one in await stored(sandbox)] == ["+14155550103"]
    assert (report.counts.read, report.counts.rejected, report.exit_status) == (3, 2, 1)
