"""Inputs that are small where they lie and large where they are read, or nested until a stack ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kore_campaign_async import Contact
from kore_campaign_async.ingest.sources import opening
from kore_campaign_async.ingest.sources.ndjson_columns import table_of
from kore_campaign_async.ingest.sources.ndjson_file import record_of
from kore_campaign_async.ingest.sources.nesting import MOST_LEVELS, MOST_PARTS, is_too_nested
from tests.ingest.pushing import number, outcome_files, push, scripted


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
