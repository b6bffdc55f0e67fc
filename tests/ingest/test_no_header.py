"""Files without a header: refused as what they are, and read with their columns called 1, 2, …"""

from __future__ import annotations

import gzip
import io
import random
import sys
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest
from cli.shell import kore_campaign

from kore_campaign_async import BatchLimits, Files, IngestOptions, SourceError, resume_ingest
from kore_campaign_async.ingest import journal as journals
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import ACCEPT, LIST, csv_of, numbers, outcome_files, push, refuse, sandboxed, scripted, stored
from tests.ingest.test_engines import by, small_parts
from tests.ingest.test_sources import refusal

ROWS: list[list[Any]] = [["+14155550101", "Ana"], ["nobody", "Bob"], ["+14155550103", "Cy"]]
SENT = [{"phoneNumber": "+14155550101", "2": "Ana"}, {"phoneNumber": "+14155550103", "2": "Cy"}]


def put(path: Path, rows: list[list[Any]]) -> Path:
    """Write rows as the kind of file that its name says."""
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    if path.suffix == ".xlsx":
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        for row in rows:
            sheet.append(row)
        book.save(path)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c.xlsx"])
@pytest.mark.parametrize(
    "first",
    [
        ["+14155550101", "Ana"],
        ["4155550101", "Ana"],
        [4155550101, "Ana"],
        [14155550101.0, "Ana"],
        ["Ana", "(415) 555-0101"],
        ["0151/2724228", "mobile"],
        ["20261015", "Ana"],
    ],
)
async def test_a_header_that_is_a_number_is_refused(name: str, first: list[Any], tmp_path: Path) -> None:
    """The advice is the flag, never to map it, and the number is not told."""
    path = put(tmp_path / name, [first, ["+14155550102", "Bob"]])
    for given in (path, Files([path, put(tmp_path / "d.csv", [["phone", "name"], ["+14155550103", "x"]])])):
        said = await refusal(given)
        assert said.startswith(f"{path}: this file has no header; give --no-header (")
        assert "--map" not in said
        assert "555" not in said
        assert "2724228" not in said
    async with scripted() as (api, client):
        with pytest.raises(SourceError, match="this file has no header; give --no-header"):
            await push(client, path, column_map={str(first[0]): "phoneNumber"}, run_dir=tmp_path / "run")
    assert api.calls == []


async def test_one_line_alone_is_no_header_either(tmp_path: Path) -> None:
    assert "this file has no header" in await refusal(put(tmp_path / "c.csv", [["+14155550101"]]))


@pytest.mark.parametrize(
    "header",
    [["phone", "2026"], ["phone", "20260701"], ["phone", "2025-2026"], ["phone", "2026-07-01"], ["phone", "1"]],
)
async def test_years_and_days_are_names_of_columns(header: list[str], tmp_path: Path) -> None:
    async with scripted() as (api, client):
        await push(client, put(tmp_path / "c.csv", [header, ["+14155550101", "x"]]))
    assert api.calls[0].contacts == ({"phoneNumber": "+14155550101", header[1]: "x"},)


async def test_a_table_whose_columns_are_called_by_numbers_is_refused(tmp_path: Path) -> None:
    frame = pl.DataFrame({"+14155550101": ["+14155550102"], "Ana": ["Bob"]})
    frame.write_parquet(tmp_path / "c.parquet")
    for given in (frame, tmp_path / "c.parquet"):
        said = await refusal(given)
        assert "is called by a phone number: its first row was taken for a header" in said
        assert "--no-header" not in said
        assert "5550101" not in said


@pytest.mark.parametrize("name", ["c.csv", "c.csv.gz", "c.xlsx"])
async def test_a_file_without_a_header_is_pushed_whole(name: str, tmp_path: Path) -> None:
    """The number's column is the one that holds a phone number in the first row."""
    path = put(tmp_path / name, ROWS)
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, Files(path, no_header=True), run_dir=tmp_path / "run")
        assert await stored(sandbox) == SENT
    assert (report.counts.read, report.counts.accepted) == (3, 2)
    assert (tmp_path / "run" / "rejected.csv").read_text() == "row,reason,1,2\n2,invalid_phone,nobody,Bob\n"
    source = await open_source(Files(path, no_header=True))
    assert [part async for part in source.slices()]
    assert [source.spreadsheet_row(row) for row in (0, 1, 2, 3, 4)] == [None, 1, 2, 3, None]
    source.close()


async def test_both_readers_take_it_alike(tmp_path: Path) -> None:
    rows = [[one, f"Ana {index}"] for index, one in enumerate(numbers(400))]
    path = put(tmp_path / "c.csv", rows)
    for engine in ("records", "tables"):
        with small_parts(random.Random(1)), by(engine):
            async with sandboxed(LIST) as (sandbox, client):
                await push(client, Files(path, no_header=True))
                assert await stored(sandbox) == [{"phoneNumber": one, "2": name} for one, name in rows]


@pytest.mark.parametrize(
    ("rows", "column_map", "sent"),
    [
        ([["+14155550101"], ["+14155550102"]], {}, [{"phoneNumber": "+14155550101"}, {"phoneNumber": "+14155550102"}]),
        ([["x"], ["+14155550102"]], {}, [{"phoneNumber": "+14155550102"}]),
        ([["7", "+14155550101"]], {}, [{"1": "7", "phoneNumber": "+14155550101"}]),
        (
            [["+14155550101", "+14155550102"]],
            {"2": "phoneNumber"},
            [{"1": "+14155550101", "phoneNumber": "+14155550102"}],
        ),
        ([["+14155550101", "Ana"]], {"2": "firstName"}, [{"phoneNumber": "+14155550101", "firstName": "Ana"}]),
        ([["x", "+14155550101"]], {"1": "mobile"}, []),
    ],
)
async def test_the_number_is_found_or_mapped(
    rows: list[list[str]], column_map: dict[str, str], sent: list[dict[str, str]], tmp_path: Path
) -> None:
    path = put(tmp_path / "c.csv", rows)
    async with sandboxed(LIST) as (sandbox, client):
        await push(client, Files(path, no_header=True), column_map=column_map)
        assert await stored(sandbox) == sent


@pytest.mark.parametrize("first", [["+14155550101", "+14155550102"], ["Ana", "Bob"]])
async def test_where_nobody_can_know_the_number_the_advice_holds(first: list[str], tmp_path: Path) -> None:
    path = put(tmp_path / "c.csv", [first, ["+14155550103", "+14155550104"]])
    async with scripted() as (_, client):
        with pytest.raises(SourceError) as raised:
            await push(client, Files(path, no_header=True))
        assert str(raised.value) == (
            "no number column; the columns are '1', '2'; say which it is with --map COLUMN=phoneNumber"
        )
        report = await push(client, Files(path, no_header=True), column_map={"1": "phoneNumber"})
        assert report.counts.accepted


async def test_a_first_row_that_is_torn_or_empty_is_no_row_to_count_columns_by(tmp_path: Path) -> None:
    path = csv_of(
        tmp_path / "c.csv", ",", '"Ana"x,+14155550101', '"+14155550101,Ana', '+14155550102,Bob"', "+14155550103,Cy"
    )
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, Files(path, no_header=True), run_dir=tmp_path / "run")
        assert await stored(sandbox) == [{"phoneNumber": "+14155550103", "2": "Cy"}]
    assert report.counts.read == 4
    rejected = [(row, why) for row, why, _ in outcome_files(tmp_path / "run")["rejected.csv"]]
    assert rejected == [(1, "bad_row"), (2, "unclosed_quote"), (3, "unclosed_quote")]


async def test_several_files_and_an_outcome_file(tmp_path: Path) -> None:
    """The columns of a file that a run wrote have names all the same."""
    one, two = put(tmp_path / "a.csv", ROWS), put(tmp_path / "b.xlsx", [[14155550104, "Di"]])
    async with sandboxed(LIST) as (sandbox, client):
        await push(client, Files([one, two], no_header=True), run_dir=tmp_path / "run")
        assert await stored(sandbox) == [*SENT, {"phoneNumber": "14155550104", "2": "Di"}]
        again = tmp_path / "run" / "rejected.csv"
        again.write_text(again.read_text().replace("nobody", "+14155550102"))
        for no_header in (False, True):
            source = await open_source(Files(again, no_header=no_header))
            assert source.header == ("1", "2")
            assert source.implied_map == {"1": "phoneNumber"}
            source.close()
        await push(client, again)
        assert {"phoneNumber": "+14155550102", "2": "Bob"} in await stored(sandbox)


async def test_a_resume_reads_it_as_it_was_read(tmp_path: Path) -> None:
    path = put(tmp_path / "c.csv", [[one, "x"] for one in numbers(50)])
    options = IngestOptions(batch=BatchLimits(max_contacts=10), concurrency=1)
    async with scripted([ACCEPT, ACCEPT, refuse(403)], allow_duplicates=True) as (api, client):
        report = await push(client, Files(path, no_header=True), run_dir=tmp_path / "run", options=options)
        assert (report.state, report.counts.accepted) == ("stopped", 20)
        assert journals.read_settings(tmp_path / "run")["source"]["files"][0]["no_header"] is True
        report = await resume_ingest(client, tmp_path / "run")
    assert (report.counts.read, report.counts.accepted) == (50, 50)
    assert set(api.processed.values()) == {1}


async def test_a_journal_of_an_earlier_version_has_files_with_headers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "c.csv", [["phone", "x"], *[[one, "x"] for one in numbers(50)]])
    options = IngestOptions(batch=BatchLimits(max_contacts=10), concurrency=1)
    async with scripted([ACCEPT, refuse(403)], allow_duplicates=True) as (api, client):
        await push(client, path, run_dir=tmp_path / "run", options=options)
        settings = journals.read_settings(tmp_path / "run")
        for name in ("engine", "polars", "version"):
            del settings["source"][name]
        del settings["source"]["files"][0]["no_header"]
        monkeypatch.setattr(journals, "read_settings", lambda _directory: settings)
        report = await resume_ingest(client, tmp_path / "run")
    assert (report.counts.read, report.counts.accepted) == (50, 50)
    assert set(api.processed.values()) == {1}


async def test_standard_input_without_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    for flag, said in ((True, None), (False, "standard input: this file has no header; give --no-header")):
        text = io.BytesIO(b"+14155550101;Zoe\n+14155550102;Bob\n")
        monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": text}))
        async with scripted() as (api, client):
            if said is None:
                await push(client, Files("-", no_header=flag))
                assert [one["2"] for one in api.calls[0].contacts] == ["Zoe", "Bob"]
            else:
                with pytest.raises(SourceError, match=said):
                    await push(client, Files("-", no_header=flag))


async def test_what_has_names_for_its_columns_refuses_the_flag(tmp_path: Path) -> None:
    (tmp_path / "c.ndjson").write_text('{"phone": "+14155550101"}\n')
    pl.DataFrame({"phone": ["+14155550101"]}).write_parquet(tmp_path / "c.parquet")
    for name, what in (("c.ndjson", "objects"), ("c.parquet", "a table")):
        said = await refusal(Files(tmp_path / name, no_header=True))
        assert said == f"{tmp_path / name} is {what}, which has names for all its columns: leave --no-header out"


async def test_in_the_shell_the_advice_is_followed(tmp_path: Path) -> None:
    put(tmp_path / "c.csv", ROWS)
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        push_it = ("push", "c.csv", "--list", LIST, "--run-dir", "run")
        refused = await kore_campaign(*push_it, env=sandbox.environment, cwd=tmp_path)
        assert refused.status == 2
        assert "c.csv: this file has no header; give --no-header (" in refused.err
        said = await kore_campaign(*push_it, "--no-header", env=sandbox.environment, cwd=tmp_path)
        assert sandbox.named(LIST).contacts == SENT
    assert said.status == 1
    assert "columns: '1' → phoneNumber; as they are: '2'" in said.err
    assert "about 3 contacts" in said.err
