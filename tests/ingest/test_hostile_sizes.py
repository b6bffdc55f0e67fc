"""Inputs that are small where they lie and large where they are read, or nested until a stack ends."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kore_campaign_async import Contact
from kore_campaign_async.ingest.records import TableSlice
from kore_campaign_async.ingest.sources import opening, table_parts
from kore_campaign_async.ingest.sources.ndjson_columns import table_of
from kore_campaign_async.ingest.sources.ndjson_file import record_of
from kore_campaign_async.ingest.sources.nesting import MOST_LEVELS, MOST_PARTS, is_too_nested
from kore_campaign_async.ingest.sources.opening import open_source
from tests.ingest.pushing import csv_of, number, outcome_files, push, scripted


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
