"""Inputs that are small where they lie and large where they are read, or nested until a stack ends."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from kore_campaign_async import Contact, SourceError
from kore_campaign_async.ingest.records import TableSlice
from kore_campaign_async.ingest.sources import opening, table_parts
from kore_campaign_async.ingest.sources.first_rows import FirstRows
from kore_campaign_async.ingest.sources.ndjson_columns import table_of
from kore_campaign_async.ingest.sources.ndjson_file import record_of
from kore_campaign_async.ingest.sources.nesting import MOST_LEVELS, MOST_PARTS, is_too_nested
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.ingest.sources.xlsx_file import XlsxFile
from tests.ingest.pushing import csv_of, number, outcome_files, push, scripted


def benchmark() -> ModuleType:
    """The benchmark itself: what it measures is what is held here."""
    folder = Path(__file__).parents[2] / "benchmarks"
    spec = importlib.util.spec_from_file_location("hostile_sizes", folder / "hostile_sizes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["hostile_sizes"] = module  # its classes look themselves up there
    spec.loader.exec_module(module)
    return module


sizes = benchmark()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server that accepts everything, in a process of its own."""
    server = Path(__file__).parents[2] / "benchmarks" / "server.py"
    command = [sys.executable, str(server)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603  our own server
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


# Large workbooks and lines take a while to be made; `make bench` pushes them too.
_CASES = {
    "Parquet, 41 columns of equal strings": (0.1, "3,300 accepted of 3,300"),
    "Parquet, one row group of empty cells": (0.1, "40,000 accepted of 40,000"),
    "Arrow, one packed batch of empty cells": (0.1, "40,000 accepted of 40,000"),
    "NDJSON of 149 columns": (0.05, "1,000 accepted of 1,000"),
    "NDJSON of 100,000 levels": (0.02, "3,000 accepted of 3,003"),
    "workbook, XFD1048576, lower case": (1.0, "needs more than 160 MB"),
    "workbook, a shared string in many cells": (1.0, "needs more than 160 MB"),
    "workbook, 20,000,000 shared strings": (0.2, "needs more than"),
}


@pytest.mark.skipif(sys.platform != "linux", reason="what a process may map is limited on Linux")
@pytest.mark.parametrize("case", _CASES)
def test_what_is_small_where_it_lies_takes_little_where_it_is_read(case: str, url: str, tmp_path: Path) -> None:
    """In a process that may map 2.5 GiB; the benchmark holds the stalls, which other tests make longer."""
    scale, said = _CASES[case]
    found = sizes.cost(case, url, tmp_path, scale)
    assert said in found.said
    assert max(found.peak_mb, found.reader_mb) < sizes.MOST_MB


# Workbooks


@pytest.mark.parametrize("spelt", sorted(set(sizes.FAR_CELLS) - {"row alone", "entities"}))
async def test_a_cell_far_off_in_any_spelling_is_one_sentence(spelt: str, tmp_path: Path) -> None:
    path = sizes.workbook(tmp_path / "a.xlsx", sizes.sheet_of(sizes.FAR_CELLS[spelt]))
    said = f"{path} needs more than 160 MB of memory to be read: .* set KORE_WORKBOOK_MB to more megabytes"
    async with scripted() as (api, client):
        with pytest.raises(SourceError, match=said):
            await push(client, path)
        with pytest.raises(SourceError, match=said):
            await push(client, [number(1)], suppress=(path,))
    assert api.calls == []


async def test_how_much_memory_a_workbook_may_take_can_be_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = f'<sst xmlns="{sizes._MAIN}"><si><t>{"x" * 100_000}</t></si></sst>'
    rows = [f"<row>{sizes.inline(number(row))}<c t='s'><v>0</v></c></row>" for row in range(2000)]
    path = sizes.workbook(tmp_path / "a.xlsx", sizes.sheet_of(*rows), shared)
    with pytest.raises(SourceError, match=r"needs more than 160 MB"):
        await open_source(path)
    monkeypatch.setenv("KORE_WORKBOOK_MB", "1000")
    source = await open_source(path)
    try:
        parts = [part async for part in source.slices()]
    finally:
        source.close()
    assert sum(map(len, parts)) == 2001
    assert {len(record[1]) for part in parts for record in part.records[1:]} <= {0, 1 << 16}  # type: ignore[union-attr,index]
    for wrong in ("0", "-1", "1.5", "many", "²"):
        monkeypatch.setenv("KORE_WORKBOOK_MB", wrong)
        with pytest.raises(SourceError, match="must be a whole number of megabytes"):
            await open_source(path)


async def test_the_process_that_reads_a_workbook_ends_with_its_source(tmp_path: Path) -> None:
    rows = (f"<row>{sizes.inline(number(row))}</row>" for row in range(30_000))
    path = sizes.workbook(tmp_path / "a.xlsx", sizes.sheet_of(*rows))
    source = await open_source(path)
    assert isinstance(source, XlsxFile)
    process = source._book._process
    assert process is not None
    assert process.poll() is None
    assert os.getpgid(process.pid) != os.getpgrp()  # Ctrl-C is for the run, which stops in order
    async with aclosing(source.slices()) as slices:
        await anext(slices)
    source.close()
    assert process.returncode is not None
    source.close()


async def test_a_python_that_does_not_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as in a program that is one file."""
    path = sizes.workbook(tmp_path / "a.xlsx", sizes.sheet_of())
    monkeypatch.setattr(sys, "executable", shutil.which("true"))
    with pytest.raises(SourceError, match="does not run the reader of workbooks"):
        await open_source(path)


# Lines, and what a program gives


def nested(levels: int, kind: str) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if kind == "object" else [value] if kind == "list" else (value,)
    return value


def line_of(levels: int, *, more: str) -> str:
    """A line whose value is so deep; a fraction makes the stdlib read it too."""
    return f'{{"phoneNumber":"{number(1)}"{more},"x":' + '{"a":' * levels + "1" + "}" * levels + "}"


@pytest.mark.parametrize("levels", [100, 300, 990, 1000, 1020, 10_000])
@pytest.mark.parametrize("more", ["", ',"f":1.5', ',"f":1e3'])
@pytest.mark.parametrize("by_tables", [False, True])
async def test_a_deep_line_costs_its_row(
    levels: int, more: str, by_tables: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", 0 if by_tables else 1 << 30)
    deep = line_of(levels, more=more)
    others = [json.dumps({"phoneNumber": number(index)}) for index in range(2, 40)]
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join([*others[:20], deep, *others[20:]]) + "\n")
    async with scripted() as (_, client):
        report = await push(client, path, run_dir=tmp_path / "run")
    assert (report.counts.read, report.counts.accepted, report.state) == (39, 38, "finished")
    ((row, reason, cells),) = outcome_files(tmp_path / "run")["rejected.csv"]
    assert (row, reason, cells[-1]) == (21, "bad_row", deep)

    if levels > 1020:
        return  # a cell of a CSV file is shorter
    async with scripted() as (api, client):  # the file of rejected rows can be pushed again
        again = await push(client, tmp_path / "run" / "rejected.csv", run_dir=tmp_path / "again")
    assert (again.counts.read, again.counts.rejected, api.calls) == (1, 1, [])
    ((_, reason, cells),) = outcome_files(tmp_path / "again")["rejected.csv"]
    assert (reason, cells[-1]) == ("bad_row", deep)


@pytest.mark.parametrize("levels", [100, 255, 400, 1000, 100_000])
@pytest.mark.parametrize("kind", ["object", "list", "tuple"])
@pytest.mark.parametrize("as_contact", [False, True])
async def test_a_deep_mapping_of_a_program_costs_its_row(
    levels: int, kind: str, as_contact: bool, tmp_path: Path
) -> None:
    deep = nested(levels, kind)
    first = Contact(number(1), extra={"x": deep}) if as_contact else {"phoneNumber": number(1), "x": deep}
    async with scripted() as (_, client):
        report = await push(client, [first, nested(levels, kind), number(2)], run_dir=tmp_path / "run")
    assert (report.counts.accepted, report.counts.rejected) == (1, 2)
    shown, _ = outcome_files(tmp_path / "run")["rejected.csv"]
    assert shown[:2] == (1, "bad_row")
    assert json.loads(shown[2][-1]) == {"phoneNumber": number(1), "x": ["…"]}  # nobody takes that for the value


def test_what_stands_in_itself_or_everywhere_twice_is_too_nested() -> None:
    itself: dict[str, Any] = {}
    itself["x"] = itself
    twice: Any = [1]
    for _ in range(90):
        twice = [twice, twice]
    assert is_too_nested(itself)
    assert is_too_nested(twice)
    assert is_too_nested([[]] * MOST_PARTS + [1])
    assert not is_too_nested(nested(MOST_LEVELS - 1, "list"))


def test_a_line_of_countless_values_is_not_read() -> None:
    """A million empty lists on a line would be 60 bytes each."""
    for values in ("[]", "{}", "1.5", '"ab"', "null"):
        line = f'{{"phoneNumber":"{number(1)}","x":[{",".join([values] * MOST_PARTS)}]}}'
        assert getattr(record_of(line), "reason", None) == "bad_row"
    keys = ",".join(f'"k{index}":1' for index in range(MOST_PARTS + 1))
    assert getattr(record_of(f"{{{keys}}}"), "reason", None) == "bad_row"


@pytest.mark.parametrize(
    ("keys", "key", "by_table"), [(20, "k", True), (60, "k", False), (149, "k", False), (5, "k" * 3000, False)]
)
def test_wide_lines_go_by_records(keys: int, key: str, by_table: bool) -> None:
    """One expression for a line of many values takes longer and more memory than reading the line."""
    record = {"phoneNumber": number(1), **{f"{key}{index}": "x" for index in range(keys - 1)}}
    assert (table_of(json.dumps(record).encode() + b"\n", 1) is not None) is by_table


@pytest.mark.parametrize("kind", ["frame", "parquet", "arrow"])
async def test_slices_of_a_table_are_bounded_by_what_they_become(kind: str, tmp_path: Path) -> None:
    """Equal texts are kept once in the table, and once for each row behind it."""
    rows = 2_000
    frame = pl.DataFrame({"phoneNumber": [number(index) for index in range(rows)]}).with_columns(
        *(pl.lit("x" * 300).alias(f"a{index}") for index in range(40)),
        pl.lit("y" * 3000).cast(pl.Categorical).alias("b"),
        pl.when(pl.int_range(rows) == 1000).then(pl.lit("z" * 9_000_000)).otherwise(pl.lit("")).alias("c"),
    )
    path = tmp_path / f"a.{kind}"
    if kind != "frame":
        (frame.write_parquet if kind == "parquet" else frame.write_ipc)(path)
    source = await open_source(frame if kind == "frame" else path)
    found: list[str] = []
    async with aclosing(source.slices()) as slices:
        async for part in slices:
            assert isinstance(part, TableSlice)
            assert part.first == len(found) + 1
            assert part.frame.estimated_size() < 6 << 20 or len(part) == 1
            found += part.frame.to_series(0).to_list()
            assert part.frame.to_series(42).str.len_chars().max() in {0, 1 << 16}  # longer ones are cut
    assert found == frame["phoneNumber"].to_list()


@pytest.mark.parametrize("by_columns", [False, True])
def test_a_file_is_read_to_its_end_in_any_parts(by_columns: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_parts, "_MANY_CELLS", 0)
    monkeypatch.setattr(table_parts, "_FIRST_ROWS", 3)
    monkeypatch.setattr(table_parts, "_MOST_ROWS", 50)
    frame = pl.DataFrame({"a": [str(index) for index in range(1000)], "": range(1000), "^.*$": [None] * 1000})
    for said in (0, 10, 1000, 5000):  # whatever its length is said to be
        parts = list(table_parts.frames_of_file(frame.lazy(), said, by_columns=by_columns))
        assert pl.concat(parts).equals(frame)
        assert max(map(len, parts)) <= 50


async def test_slices_of_a_program_are_bounded_too() -> None:
    async def long() -> AsyncIterator[dict[str, str]]:
        for index in range(20):
            yield {"phoneNumber": number(index), "x": "x" * 600_000}

    wide = ({"phoneNumber": number(index), **{f"k{key}": None for key in range(999)}} for index in range(40))
    for items, most in ((long(), 2), (wide, 10)):
        source = await open_source(items)
        lengths = [len(part) async for part in source.slices()]
        assert max(lengths) == most
        assert sum(lengths) in {20, 40}


async def test_of_long_rows_fewer_are_held_before_the_first_call() -> None:
    first = FirstRows(await open_source({"phoneNumber": number(row), "x": "x" * 1_000_000} for row in range(50)))
    assert sum(map(len, await first.read(1000))) in range(16, 19)
    assert sum([len(part) async for part in first.slices()]) == 50


async def test_long_names_over_many_short_rows_are_read_as_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a table, all rows of a range would be spelt with the name at once."""
    monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", 0)
    path = csv_of(tmp_path / "a.csv", f"phoneNumber,{'n' * 20_000}", *(f"{number(index)},x" for index in range(9000)))
    source = await open_source(path)
    try:
        assert source.yields_tables
        assert not any([isinstance(part, TableSlice) async for part in source.slices()])
    finally:
        source.close()
