"""What programs leave behind in files is taken for what it is: nobody is refused for it, and nobody is lost."""

from __future__ import annotations

import random
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async import Files, Progress, SourceError
from kore_campaign_async.ingest.sources import sheet_rows
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.ingest.sources.sheet_rows import SheetRows
from kore_campaign_async.ingest.suppressing import read_suppressed
from tests.ingest.pushing import LIST, csv_of, numbers, outcome_files, push, sandboxed, scripted, stored
from tests.ingest.test_engines import by, small_parts

# Each cell of each row is one; the rows after the first are contacts.
SHEET: list[list[str]] = [
    ["", "phone", "Time Zone", "", "name"],
    ["1", "+14155550101", " america/new_york ", "", "Ana"],
    ["", "", "", "", ""],
    ["2", "+14155550102", "UTC", "kept by R", "Bo", "", " "],
    [" ", "", "\t"],
    ["3", "+14155550103"],
    ["4", "+14155550104", "", "", "Cy", "filled"],
    [],
    ["5", "+14155550105", "Mars/Base", "", "Di"],
    ["6", "+14155550106", "EUROPE/BERLIN", "", "Ed"],
    ["", "", ""],
]
SENT = [
    {"phoneNumber": "+14155550101", "timeZone": "America/New_York", "name": "Ana"},
    {"phoneNumber": "+14155550102", "timeZone": "UTC", "name": "Bo"},
    {"phoneNumber": "+14155550103"},
    {"phoneNumber": "+14155550106", "timeZone": "Europe/Berlin", "name": "Ed"},
]
# The file's rows by number, as a spreadsheet counts them.
SHEET_ROWS = {1: 2, 2: 4, 3: 6, 4: 7, 5: 9, 6: 10}


def put(path: Path, rows: list[list[str]], above: int = 0) -> Path:
    """Write rows as the kind of file that its name says, under so many blank ones."""
    rows = [[]] * above + rows
    if path.suffix == ".csv":
        path.write_text("".join(";".join(row) + "\r\n" for row in rows) + "\x1a")
        return path
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for at, row in enumerate(rows, 1):
        for column, cell in enumerate(row, 1):
            if cell:
                sheet.cell(at, column, cell)
    book.save(path)
    return path


@pytest.mark.parametrize("engine", ["records", "tables"])
@pytest.mark.parametrize("name", ["c.csv", "c.xlsx"])
@pytest.mark.parametrize("above", [0, 2])
async def test_nobody_is_refused_for_what_programs_leave_behind(
    name: str, engine: str, above: int, tmp_path: Path
) -> None:
    """A column without a name, empty cells behind the last one, empty rows, blanks and letter case of a time zone, and
    a Ctrl-Z; only a filled cell behind the last column, and a zone that is none, cost their rows."""
    path = put(tmp_path / name, SHEET, above)
    shown: list[Progress] = []
    with small_parts(random.Random(0)), by(engine):
        async with sandboxed(LIST) as (sandbox, client):
            report = await push(client, path, run_dir=tmp_path / "run", progress=shown.append)
            assert await stored(sandbox) == SENT
        source = await open_source(path)
        assert [part async for part in source.slices()]
        rows = {row: source.spreadsheet_row(row) for row in range(9)}
        source.close()
    assert report.counts.read == 6
    rejected = [(row, why) for row, why, _ in outcome_files(tmp_path / "run")["rejected.csv"]]
    assert rejected == [(4, "bad_row"), (5, "bad_time_zone")]
    assert rows == dict.fromkeys(range(9)) | {row: at + above for row, at in SHEET_ROWS.items()}
    assert any(one.endswith("; left out, without a name: column 1, 4") for one in shown[0].reading)


async def test_several_files_count_their_own_rows(tmp_path: Path) -> None:
    paths = [put(tmp_path / "a.csv", SHEET), put(tmp_path / "b.csv", SHEET, 3)]
    source = await open_source(Files(paths))
    assert [part async for part in source.slices()]
    rows = [source.spreadsheet_row(row) for row in range(14)]
    assert rows == [None, 2, 4, 6, 7, 9, 10, 5, 7, 9, 10, 12, 13, None]


@pytest.mark.parametrize("engine", ["records", "tables"])
async def test_a_record_of_several_lines_is_one_row_of_a_spreadsheet(engine: str, tmp_path: Path) -> None:
    """And so are lines that a stray quote glues together there."""
    more = [f"{one},x" for one in numbers(300)]
    path = csv_of(
        tmp_path / "c.csv",
        *("phone,note", '+14155550101,"a', 'b"', "", '+14155550102,"x', '+14155550103,y"', "+14155550104,z", *more),
        *("", "+14155550105,a"),
    )
    with small_parts(random.Random(3)), by(engine):
        source = await open_source(path)
        assert [part async for part in source.slices()]
    assert [source.spreadsheet_row(row) for row in (1, 2, 3, 4, 5, 304, 305, 306)] == [2, 4, 4, 5, 6, 305, 307, None]
    source.close()


@given(st.lists(st.sampled_from(["add", "last", "skip", "many"]), max_size=60), st.integers(0, 1))
def test_rows_of_a_spreadsheet_are_counted(steps: list[str], headers: int) -> None:
    """Against a plain list."""
    rows, plain, next_row = SheetRows(), list[int](), 1
    rows.headers = headers
    for step in steps:
        if step == "add" or (step == "last" and not plain):
            rows.add()
            plain.append(next_row)
            next_row += 1
        elif step == "many":
            rows.add(7)
            plain += range(next_row, next_row + 7)
            next_row += 7
        elif step == "skip":
            rows.skip()
            next_row += 1
        elif plain[-1] == next_row - 1:
            rows.add_to_last()
            plain.append(next_row - 1)
    for row in range(-2, len(plain) + 2):
        index = row - 1 + headers
        assert rows.row_of(row) == (plain[index] if row >= 1 and index < len(plain) else None)


def test_what_is_kept_of_a_spreadsheets_rows_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond that nobody knows, and nothing wrong is told."""
    monkeypatch.setattr(sheet_rows, "_MOST_SHIFTS", 100)
    rows = SheetRows()
    for _ in range(1000):
        rows.add()
        rows.skip()
    assert len(rows._from) == len(rows._shifts) == 100
    assert [rows.row_of(row) for row in (1, 50, 99, 100, 999)] == [3, 101, 199, None, None]


async def test_a_file_of_empty_rows_alone_has_no_contacts(tmp_path: Path) -> None:
    async with scripted() as (_, client):
        for path in (put(tmp_path / "c.csv", [["phone", "x"], ["", ""]]), put(tmp_path / "c.xlsx", [["phone"], [" "]])):
            with pytest.raises(SourceError, match="has a header and no contacts"):
                await push(client, path)


@pytest.mark.parametrize(
    "lines",
    [
        ["+14155550101,", "+14155550102,"],
        ["+14155550101,,", "", ",,", "+14155550102"],
        ["phone,name", "+14155550101,Ana,", "+14155550102,,,", ",,"],
        [",phone", "1,+14155550101", "2,+14155550102"],
        ["phone", "+14155550101", "+14155550102"],
    ],
)
async def test_do_not_contact_files_are_taken_for_what_they_are(lines: list[str], tmp_path: Path) -> None:
    path = tmp_path / "barred.csv"
    path.write_text("".join(f"{line}\n" for line in lines) + "\x1a")
    barred = await read_suppressed([path])
    assert sorted(barred) == [14155550101, 14155550102]


async def test_ctrl_z_ends_objects_too(tmp_path: Path) -> None:
    (tmp_path / "c.ndjson").write_bytes(b'{"phone":"+14155550101"}\r\n\x1a')
    async with scripted() as (api, client):
        report = await push(client, tmp_path / "c.ndjson")
    assert (report.counts.read, report.counts.accepted, len(api.calls)) == (1, 1, 1)
