"""Workbooks: what becomes of their cells, which sheet is read, and what is no workbook."""

from __future__ import annotations

import datetime as dt
import gzip
import sys
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from cli.shell import kore_campaign

from kore_campaign_async import BatchLimits, Files, SourceError, resume_ingest
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import FAIL, LIST, number, numbers, outcome_files, push, sandboxed, scripted, stored


def book(path: Path, rows: list[list[Any]], **sheets: list[list[Any]]) -> Path:
    """A workbook whose first sheet is `Contacts`."""
    made = openpyxl.Workbook()
    first = made.active
    assert first is not None
    first.title = "Contacts"
    for sheet, cells in ((first, rows), *((made.create_sheet(name), cells) for name, cells in sheets.items())):
        for row in cells:
            sheet.append(row)
    made.save(path)
    return path


async def rows_of(given: Any) -> list[Any]:
    source = await open_source(given)
    try:
        return [record for part in [part async for part in source.slices()] for record in part.records]  # type: ignore[union-attr]
    finally:
        source.close()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (14155550123, "14155550123"),
        (14155550123.0, "14155550123"),
        (4.15555e9, "4155550000"),
        ("+14155550123", "+14155550123"),
        ("007", "007"),
        (0, "0"),
        (-3.0, "-3"),
        (12.5, "12.5"),
        (0.1 + 0.2, "0.3"),
        (1e-7, "0.0000001"),
        (999999999999999.0, "999999999999999"),
        (True, "true"),
        (False, "false"),
        (dt.datetime(2026, 7, 1), "2026-07-01"),  # noqa: DTZ001  a spreadsheet knows no zone
        (dt.datetime(2026, 7, 1, 12, 30), "2026-07-01T12:30:00"),  # noqa: DTZ001  the same
        (dt.date(2026, 7, 1), "2026-07-01"),
        (dt.time(12, 30), "12:30:00"),
        (" two\nlines ", " two\nlines "),
    ],
)
async def test_every_value_becomes_text_by_one_rule(value: Any, text: str, tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [["phone", "x"], ["+14155550101", value]])
    assert await rows_of(path) == [["+14155550101", text]]


@pytest.mark.parametrize("value", [1.2345678901234568e16, -1e300, dt.timedelta(hours=30)])
async def test_what_lost_its_digits_costs_its_row(value: Any, tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [["phone", "x"], [number(1), value], [number(2), 1]])
    async with scripted() as (api, client):
        report = await push(client, path, run_dir=tmp_path / "run")
    assert [call.contacts for call in api.calls] == [({"phoneNumber": number(2), "x": "1"},)]
    assert report.counts.rejected == 1
    ((row, reason, _),) = outcome_files(tmp_path / "run")["rejected.csv"]
    assert (row, reason) == (1, "bad_value")


async def test_a_number_as_the_sheet_itself_spells_it(tmp_path: Path) -> None:
    """Excel writes an exponent where it likes."""
    path = book(tmp_path / "a.xlsx", [["phone"], [14155550123]])
    _edit(path, "xl/worksheets/sheet1.xml", b"<v>14155550123</v>", b"<v>1.4155550123E10</v>")
    assert await rows_of(path) == [["14155550123"]]


async def test_a_number_that_a_sheet_shows_as_hashes_keeps_its_digits(tmp_path: Path) -> None:
    """It is formatted as a date, and far from any."""
    path = book(tmp_path / "a.xlsx", [["phone"], [dt.date(2026, 7, 1)]])
    _edit(path, "xl/worksheets/sheet1.xml", b"<v>46204</v>", b"<v>14155550123</v>")
    assert await rows_of(path) == [["14155550123"]]


async def test_an_error_of_a_formula_is_an_absent_field(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [["phone", "x"], [number(1), "#N/A"], [number(2), "#DIV/0!"]])
    assert await rows_of(path) == [[number(1), ""], [number(2), ""]]


async def test_a_cell_far_off_does_not_fill_the_memory(tmp_path: Path) -> None:
    """What lies between would be kept too."""
    path = book(tmp_path / "a.xlsx", [["phone"], [number(1)], [None]])
    cell = b'<row r="1048576"><c r="XFD1048576" t="n"><v>1</v></c></row></sheetData>'
    _edit(path, "xl/worksheets/sheet1.xml", b"</sheetData>", cell)
    async with scripted() as (_, client):
        with pytest.raises(SourceError) as raised:
            await push(client, path)
    assert str(raised.value) == (
        f"{path} needs more than 160 MB of memory to be read: remove what stands far off the contacts, save it as CSV,"
        " or set KORE_WORKBOOK_MB to more megabytes"
    )
    _edit(path, "xl/worksheets/sheet1.xml", b't="n"><v>1</v></c>', b's="0"/>')  # a format alone is no cell
    assert await rows_of(path) == [[number(1)]]


def _edit(path: Path, member: str, old: bytes, new: bytes) -> None:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    assert old in members[member]
    members[member] = members[member].replace(old, new)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


async def test_a_workbook_is_pushed_with_every_promise(tmp_path: Path) -> None:
    """Empty rows are none, empty cells are absent, filled cells beyond the header cost their row, a column without a
    name is left out."""
    path = book(
        tmp_path / "contacts.xlsx",
        [
            [],
            ["Phone Number", "First Name", "timezone", None, "due"],
            [14155550101, "Ana", "Europe/Berlin", None, dt.date(2026, 7, 1)],
            [],
            [None, "Bo"],
            ["+1 (415) 555-0102", None, "Mars"],
            ["+14155550103", " ", None, None, None, "beyond"],
            [14155550101.0],
            ["+14155550104", None, None, "x"],
            [None, " ", None],
            [None] * 5,
            ["+14155550106", "Cy", None, None, None, None, " "],
            ["+14155550105", "Zoë", None, None, 12.5],
        ],
    )
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, path, run_dir=tmp_path / "run")
        contacts = await stored(sandbox)
    assert contacts == [
        {"phoneNumber": "+14155550104"},
        {"phoneNumber": "+14155550105", "firstName": "Zoë", "due": "12.5"},
        {"phoneNumber": "+14155550106", "firstName": "Cy"},
        {"phoneNumber": "14155550101", "firstName": "Ana", "timeZone": "Europe/Berlin", "due": "2026-07-01"},
    ]
    assert report.counts.read == 8
    files = outcome_files(tmp_path / "run")
    assert [(row, reason) for row, reason, _ in files["rejected.csv"]] == [
        (2, "missing_phone"),
        (3, "bad_time_zone"),
        (4, "bad_row"),
    ]
    assert [(row, reason) for row, reason, _ in files["left_out.csv"]] == [(5, "duplicate of row 1")]


async def test_a_workbook_of_many_rows_is_resumed(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [["phone"], *([one] for one in numbers(1200))], Other=[["phone"], [number(1)]])
    async with scripted([FAIL] * 3, allow_duplicates=True) as (api, client):
        report = await push(client, path, run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=100))
        assert report.counts.uncertain == 300
        assert report.counts.accepted == 900
        api.allow_duplicates = False
        report = await resume_ingest(client, tmp_path / "run")
    assert report.counts.accepted == 1200
    assert len(api.processed) == 1200


async def test_the_first_sheet_that_shows_is_read_and_others_are_named(tmp_path: Path) -> None:
    rows = {"Notes": [["nothing"]], "Second": [["phone"], [number(2)]]}
    path = book(tmp_path / "a.xlsx", [["phone"], [number(1)]], Empty=[], **rows)
    async with scripted() as (api, client):
        report = await push(client, path)
        assert report.notices == (
            f"of {path} the sheet 'Contacts' is read; --sheet names another one: 'Notes', 'Second'",
        )
        await push(client, Files(path, sheet="Second"), run_dir=tmp_path / "run")
        with pytest.raises(
            SourceError, match=r"has no sheet 'x'; its sheets are 'Contacts', 'Empty', 'Notes', 'Second'"
        ):
            await push(client, Files(path, sheet="x"))
        hidden = openpyxl.load_workbook(path)
        hidden["Contacts"].sheet_state = "hidden"
        del hidden["Empty"], hidden["Notes"]
        hidden.save(path)
        await push(client, path)
    assert [call.numbers[0] for call in api.calls] == [number(row).removeprefix("+") for row in (1, 2, 2)]


async def test_a_sheet_that_says_a_wrong_size_loses_nothing(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [["phone", "x"], [number(1), "a"], [number(2), "b"]])
    _edit(path, "xl/worksheets/sheet1.xml", b'<dimension ref="A1:B3"', b'<dimension ref="A1:A1"')
    assert await rows_of(path) == [[number(1), "a"], [number(2), "b"]]


async def test_a_file_of_a_run_that_was_mended_in_a_spreadsheet(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [["row", "reason", "phone"], [7, "invalid_phone", number(1)]])
    async with scripted() as (api, client):
        report = await push(client, path)
    assert api.calls[0].contacts == ({"phoneNumber": number(1)},)
    assert "its columns row and reason are left out" in report.notices[0]


async def test_workbooks_and_csv_files_go_together(tmp_path: Path) -> None:
    book(tmp_path / "a.xlsx", [["phone", "plan"], [14155550101, 1]])
    (tmp_path / "b.csv").write_text("plan;phone\n2;14155550102\n")
    async with scripted() as (api, client):
        await push(client, Files([tmp_path / "a.xlsx", tmp_path / "b.csv"]))
    assert api.calls[0].contacts == (
        {"phoneNumber": "14155550101", "plan": "1"},
        {"phoneNumber": "14155550102", "plan": "2"},
    )


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (
            lambda data: data[: len(data) // 2],
            "can't be read as an XLSX workbook: it is damaged, or another kind of file",
        ),
        (lambda data: data[:4] + b"no archive", "can't be read as an XLSX workbook"),
        (lambda data: data[:40] + bytes(byte ^ 255 for byte in data[40:60]) + data[60:], "can't be read as an XLSX"),
        (lambda _: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "is an old Excel file (.xls), or protected by a"),
    ],
)
async def test_what_is_no_workbook_is_one_sentence(spoil: Any, said: str, tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", [["phone"], [number(1)]])
    path.write_bytes(spoil(path.read_bytes()))
    async with scripted() as (api, client):
        with pytest.raises(SourceError) as raised:
            await push(client, path, run_dir=tmp_path / "run")
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert api.calls == []


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "is empty: it needs a header and contacts"),
        ([["phone"]], "has a header and no contacts"),
        ([["name"], ["Ana"]], "no number column; the columns are 'name'"),
    ],
)
async def test_a_sheet_without_contacts_is_said(rows: list[list[Any]], said: str, tmp_path: Path) -> None:
    async with scripted() as (_, client):
        with pytest.raises(SourceError) as raised:
            await push(client, book(tmp_path / "a.xlsx", rows))
    assert said in str(raised.value)


async def test_another_archive_and_a_workbook_in_a_pipe_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("contacts.csv", "phone\n+14155550101\n")
    with pytest.raises(SourceError, match="it is damaged, or another kind of file"):
        await open_source(path)
    with path.open("rb") as stdin:
        wrapped = type("Stdin", (), {"buffer": stdin})()
        monkeypatch.setattr(sys, "stdin", wrapped)
        with pytest.raises(SourceError, match="standard input holds an XLSX file, which can't be read from a pipe"):
            await open_source("-")


async def test_without_the_extra_a_workbook_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = book(tmp_path / "a.xlsx", [["phone"], [number(1)]])
    await rows_of(path)
    monkeypatch.setitem(sys.modules, "kore_campaign_async.ingest.sources.xlsx_file", None)
    monkeypatch.delattr("kore_campaign_async.ingest.sources.xlsx_file")
    with pytest.raises(SourceError, match=r"needs the extra xlsx: pip install 'kore-campaign-async\[xlsx\]'"):
        await open_source(path)


NO_PLUS = (
    "1 of the 1 valid numbers have no + and are sent as they are, such as ••••••••101: if they lack their country code,"
    " give --region; --require-plus refuses them"
)


async def test_a_workbook_in_the_shell(tmp_path: Path) -> None:
    """Which sheet and which columns are read stands before anything else."""
    book(tmp_path / "a.xlsx", [["Mobile", "Surname", "plan"], [14155550101, "Íñigo", 1], ["x"]])
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        said = await kore_campaign("push", "a.xlsx", "--list", LIST, env=sandbox.environment, cwd=tmp_path)
        assert sandbox.named(LIST).contacts == [{"phoneNumber": "14155550101", "lastName": "Íñigo", "plan": "1"}]
    assert said.status == 1
    assert said.err.splitlines() == [
        "a.xlsx: sheet 'Contacts'",
        "columns: 'Mobile' → phoneNumber, 'Surname' → lastName; as they are: 'plan'",
        NO_PLUS,
        "about 2 contacts in about 1 batches, 3 calls; 0:00 at least, under 60/60",
        f"note: {NO_PLUS}",
    ]


async def test_a_packed_workbook_and_a_packed_table_are_said(tmp_path: Path) -> None:
    path = tmp_path / "a.gz"
    for data, what in ((b"PK\3\4", "an XLSX"), (b"PAR1", "a Parquet"), (b"ARROW1", "an Arrow")):
        path.write_bytes(gzip.compress(data + bytes(99)))
        with pytest.raises(SourceError, match=f"a.gz holds {what} file: unpack it, and push that"):
            await open_source(path)
