"""Numbered records from files, from standard input and from a caller's own program."""

from __future__ import annotations

import asyncio
import csv
import io
import sys
from collections import UserDict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.batching import as_objects
from kore_campaign_async.ingest.columns import as_rows
from kore_campaign_async.ingest.files import RunFiles
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.records import Broken, Cells, Record, Settled, Slice, State
from kore_campaign_async.ingest.sources import csv_file, rows
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS, Source
from kore_campaign_async.ingest.sources.blocks import Blocks
from kore_campaign_async.ingest.sources.csv_file import CsvFile
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.models import Contact

NUMBER = "+14155550123"
BLOCK = 1 << 18  # what is read of a file at once


@asynccontextmanager
async def opened(given: Any) -> AsyncIterator[Source]:
    source = await open_source(given)
    try:
        yield source
    finally:
        source.close()


async def slices_of(source: Source) -> list[Slice]:
    """Its slices, those of tables as records."""
    async with aclosing(source.slices()) as slices:
        return [part if isinstance(part, Slice) else as_rows(part) async for part in slices]


async def rows_of(source: Source) -> list[tuple[int, Record]]:
    """Each record with its row number."""
    return [(row, record) for part in await slices_of(source) for row, record in enumerate(part.records, part.first)]


async def read(given: Any) -> list[tuple[int, Record]]:
    async with opened(given) as source:
        return await rows_of(source)


async def normalised(given: Any, column_map: dict[str, str] | None = None) -> dict[int, Any]:
    """What becomes of each row: the contact's fields, or the reason why it is none."""
    found: dict[int, Any] = {}
    async with opened(given) as source:
        table = match(source.header, column_map or {}) if source.header is not None else None
        normaliser = Normaliser(table, column_map or {}, 1 << 20)
        for part in await slices_of(source):
            result = normaliser.sort(part)
            contacts: Any = result.contacts
            if result.encode is not None:
                contacts = orjson.loads(b"[" + result.encode(result.contacts) + b"]")
            found |= dict(zip(result.rows, contacts, strict=True))
            found |= {row: reason for row, reason, _ in result.rejected}
    return found


async def refusal(given: Any) -> str:
    message = ""
    try:
        source = await open_source(given)
    except SourceError as error:
        message = str(error)
    else:
        source.close()
    assert message, "it was opened"
    assert "\n" not in message
    return message


def put(path: Path, data: str | bytes) -> None:
    path.write_bytes(data.encode() if isinstance(data, str) else data)


def bytes_of(path: Path) -> bytes:
    return path.read_bytes()


def text_of(path: Path) -> str:
    return bytes_of(path).decode()


def size_of(path: Path) -> int:
    return path.stat().st_size


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "contacts.csv"


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    return tmp_path / "contacts.ndjson"


# CSV


line_parts = st.one_of(
    st.sampled_from(["+14155550123,Ana,UTC,x", "14155550124,,Europe/Berlin, ", "1 415 555 0125,é,,😀", "x,y,z,a"]),
    st.sampled_from(
        ["+14155550126,Ana,Mars,x", "", "14155550127", "1,2,3,4,5", "\r14155550128,a,,", '1,"a\n\nb",UTC,x']
    ),
    st.sampled_from(['14155550129,"a",UTC,x', '14155550130,a"b,UTC,x', '14155550131,"a', "14155550132,\\,UTC,\t"]),
    st.sampled_from(
        ["14155550133,\x01,,\x7f", "14155550134,\0,,", f"14155550135,{'x' * 301},,", "14155550136,\udcff,,"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(',"\\ \u00a0\u3000\udcc3'), max_size=9),
)


@given(
    st.lists(line_parts, max_size=14),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.integers(1, 5),
    st.integers(1, 40),
    st.sampled_from(["phone,firstName,tz,x", "x,tz,phone,x2", "phone"]),
)
def test_all_lines_at_once_and_each_with_care_end_the_same(
    lines: list[str], end: str, at_once: int, characters: int, header: str
) -> None:
    """The same contacts to the byte, the same rows, records and reasons, wherever slices and blocks end."""
    data = end.join([header, *lines]).encode("utf-8", "surrogateescape")

    async def judged() -> list[Any]:
        source = CsvFile(Blocks(None), data[:characters])
        blocks = [data[at : at + characters] for at in range(characters, len(data), characters)]

        async def read() -> bytes:
            return blocks.pop(0) if blocks else b""

        source._blocks.read = read  # type: ignore[method-assign]
        found: list[Any] = []
        try:
            await source.open()
        except SourceError as error:
            return [str(error)]
        normaliser = Normaliser(match(header.split(","), {"tz": "timeZone"}, whole=False), {}, 1 << 20)
        for part in await slices_of(source):
            assert 1 <= len(part.records) <= at_once
            result = normaliser.sort(part)
            contacts = (result.encode or as_objects)(result.contacts) if result.rows else b""
            found += zip(result.rows, result.keys, orjson.loads(b"[" + contacts + b"]"), result.records, strict=True)
            found += result.rejected
        return sorted(found, key=lambda one: one[0])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_file, "SLICE_RECORDS", at_once)
        patch.setattr(rows, "SLICE_RECORDS", at_once)
        quickly = asyncio.run(judged())
        for name in ("plain_cells", "clean_cells"):
            patch.setattr(csv_file, name, lambda *_: None)
        assert asyncio.run(judged()) == quickly


async def test_usual_lines_are_read_at_once(table: Path) -> None:
    """All but the slice that was read with the header, and those that hold what JSON escapes."""
    rows = [f"{NUMBER},Müller {row},{'x' * (row % 90)}" for row in range(9000)]
    rows[2000] = f'{NUMBER},"Müller, 2000",x'
    rows[4000] = rf"{NUMBER},Müller \ 4000,x"
    put(table, "\n".join(["phone,name,note", *rows]) + "\n")
    async with opened(table) as source:
        slices = await slices_of(source)
    assert [record for part in slices for record in part.records] == list(csv.reader(rows))
    assert max(len(part.records) for part in slices) <= SLICE_RECORDS
    lists = [part for part in slices if not isinstance(part.records, Cells)]
    assert len(lists) == 2
    assert any(part.first <= 4001 < part.first + len(part.records) for part in lists)
    assert len(slices) < 2 * len(rows) / SLICE_RECORDS


async def test_csv_rows_are_numbered_from_1_without_the_header(table: Path) -> None:
    """Blank lines are no rows; a record of two lines is one."""
    put(table, b'\n\nphone,note\n\n+1,"a\nb"\r\n\r\n+2,\n\n\n+3\n+4,x,y')
    async with opened(table) as source:
        assert source.name == str(table)
        assert source.header == source.columns == ("phone", "note")
        assert source.notices == ()
        assert await rows_of(source) == [(1, ["+1", "a\nb"]), (2, ["+2", ""]), (3, ["+3"]), (4, ["+4", "x", "y"])]
        assert source.rest() == ()
        assert source.fraction() == 1.0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_a_long_csv_file_has_every_row_once(table: Path, end: str) -> None:
    """Over many blocks and slices."""
    rows = [[f"+1415{index:07}", f"naïve {index}", "x" * (index % 50)] for index in range(25_000)]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator=end).writerows([["phone", "name", "x"], *rows])
    put(table, file.getvalue().encode("utf-8-sig"))
    assert size_of(table) > 3 * BLOCK
    async with opened(str(table)) as source:
        parts = await slices_of(source)
    assert max(len(part.records) for part in parts) <= SLICE_RECORDS
    assert [record for part in parts for record in part.records] == rows
    firsts = [part.first for part in parts if part.records]
    sizes = [len(part.records) for part in parts if part.records]
    assert firsts == [1 + sum(sizes[:index]) for index in range(len(sizes))]


async def test_other_tasks_have_their_turn_while_a_file_is_read(table: Path) -> None:
    put(table, "phone\n" + f"{NUMBER}\n" * 20_000)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.ensure_future(other())
    await read(table)
    task.cancel()
    assert turns >= 20_000 // SLICE_RECORDS


@pytest.mark.parametrize("data", [b"", b"\n\r\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
async def test_an_empty_csv_file_is_said(table: Path, data: bytes) -> None:
    put(table, data)
    message = await refusal(table)
    assert "empty" in message
    assert str(table) in message


@pytest.mark.parametrize("data", [b"phone,name", b"phone,name\n", b"\xef\xbb\xbfphone\r\n\r\n\n"])
async def test_a_header_alone_is_said(table: Path, data: bytes) -> None:
    put(table, data)
    assert "has a header and no contacts" in await refusal(table)


@pytest.mark.parametrize(
    "data",
    [
        b'phone,"name\n+1,a\n',
        b"ph\xf6ne\n+1\n",
        b"\0\0\0\n+1\n",
        "phone\n+1\n".encode("utf-16-le"),
        b"PK\3\4\0\0\n+1\n",
    ],
)
async def test_a_header_that_can_not_be_read_is_said(table: Path, data: bytes) -> None:
    put(table, data)
    assert str(table) in await refusal(table)


async def test_a_quote_that_never_closes_costs_one_row(table: Path) -> None:
    put(table, f'phone,note\n{NUMBER},a\n+14155550124,"b\n+14155550125,c\n+14155550126,d\n')
    assert await normalised(table) == {
        1: {"phoneNumber": NUMBER, "note": "a"},
        2: "unclosed_quote",
        3: {"phoneNumber": "+14155550125", "note": "c"},
        4: {"phoneNumber": "+14155550126", "note": "d"},
    }


@pytest.mark.parametrize("size", [10 << 20, 20 << 20])
@pytest.mark.parametrize("quote", ["", '"'])
async def test_a_huge_cell_costs_one_row(table: Path, size: int, quote: str) -> None:
    put(table, f"phone,note\n{NUMBER},a\n+14155550124,{quote}{'x' * size}{quote}\n+14155550125,c\n")
    assert await normalised(table) == {
        1: {"phoneNumber": NUMBER, "note": "a"},
        2: "unclosed_quote" if quote else "value_too_long",
        3: {"phoneNumber": "+14155550125", "note": "c"},
    }


async def test_a_quoted_cell_of_10_mb_in_lines_costs_its_first_one(table: Path) -> None:
    """What follows is read line by line: it might be contacts."""
    inner = "".join(f"+1416{index:07},{'x' * 250}\n" for index in range(40_000))
    put(table, f'phone,note\n{NUMBER},a\n+14155550124,"b\n{inner}"\n+14155550125,c\n')
    found = await normalised(table)
    assert found[2] == "unclosed_quote"
    assert found[1] == {"phoneNumber": NUMBER, "note": "a"}
    assert found[3] == {"phoneNumber": "+14160000000", "note": "x" * 250}
    assert found[40_002] == {"phoneNumber": "+14160039999", "note": "x" * 250}
    assert len(found) >= 40_003


@pytest.mark.parametrize("bad", [b"a\0b", b"caf\xe9"])
async def test_a_nul_or_bytes_that_are_not_utf_8_cost_one_row(table: Path, bad: bytes) -> None:
    put(table, b"phone,note\n+14155550123,a\n+14155550124,%s\n+14155550125,c\n" % bad)
    found = await normalised(table)
    assert {row: value for row, value in found.items() if isinstance(value, str)} == {2: "bad_value"}
    assert len(found) == 3


@pytest.mark.parametrize("bad", [b"a\0b", b"caf\xe9", b"a\0b\xe9"])
@pytest.mark.parametrize("quote", [b"", b'"'])
@pytest.mark.parametrize("shift", range(-30, 12, 6))
async def test_so_they_do_across_two_blocks(table: Path, bad: bytes, quote: bytes, shift: int) -> None:
    """Wherever the file is parted, no such value is sent."""
    line = b"+14155550123,x\n"
    head = b"phone,note\n" + line * ((BLOCK + shift) // len(line))
    torn = b"+14155550124," + quote + bad + b"y" * (BLOCK + shift - len(head)) + quote + b"\n"
    put(table, head + torn + line * 3)
    found = await normalised(table)
    (bad_row,) = {row for row, value in found.items() if isinstance(value, str)}
    assert found[bad_row] == "bad_value"
    assert bad_row == len(found) - 3


async def test_a_long_value_on_several_lines_is_too_long(table: Path) -> None:
    note = "x" * 200 + "\n" + "y" * 200
    put(table, f'phone,note\n{NUMBER},"{note}"\n+14155550124,b\n')
    assert await normalised(table) == {1: "value_too_long", 2: {"phoneNumber": "+14155550124", "note": "b"}}


async def test_a_record_by_its_columns(table: Path) -> None:
    """Missing cells are missing; surplus ones have their number for a name."""
    put(table, 'phone,note\n1,a\n2\n3,b,c,d\n4,"x\n')
    async with opened(table) as source:
        records = [record for _, record in await rows_of(source)]
        assert [source.fields(record) for record in records] == [
            {"phone": "1", "note": "a"},
            {"phone": "2"},
            {"phone": "3", "note": "b", "3": "c", "4": "d"},
            {"phone": '4,"x'},
        ]
        assert [list(source.cells(record)) for record in records] == [["1", "a"], ["2"], ["3", "b", "c", "d"], ['4,"x']]


async def test_nothing_stays_open_behind_a_refusal(table: Path) -> None:
    """Warnings are errors here: a file that is left open would fail this test."""
    put(table, "phone\n")
    await refusal(table)


# Outcome files


async def test_a_file_that_a_run_wrote_is_read_without_row_and_reason(table: Path) -> None:
    put(table, f"row,reason,phone,plan\n17,invalid_phone,{NUMBER},gold\n18,bad_row,+14155550124\n19\n")
    async with opened(table) as source:
        assert source.header == source.columns == ("phone", "plan")
        assert len(source.notices) == 1
        assert "row and reason" in source.notices[0]
        assert await rows_of(source) == [(1, [NUMBER, "gold"]), (2, ["+14155550124"]), (3, [])]


@pytest.mark.parametrize("header", ["Row,Reason,phone", "reason,row,phone", "row,phone,reason", "row, reason,phone"])
async def test_only_exactly_row_and_reason_are_dropped(table: Path, header: str) -> None:
    put(table, f"{header}\n1,2,3\n")
    async with opened(table) as source:
        assert source.header == tuple(header.split(","))
        assert source.notices == ()
        assert await rows_of(source) == [(1, ["1", "2", "3"])]


def written(directory: Path, source: Source, records: Sequence[Record], state: State = State.REJECTED) -> Path:
    """The outcome file that a run writes of these records."""
    files = RunFiles(directory, source.columns, source.cells)
    files.write(Settled(state, range(1, len(records) + 1), records, "why"))
    files.close()
    return directory / f"{state}.csv"


async def test_an_outcome_file_of_a_table_is_read_as_the_table_was(table: Path, tmp_path: Path) -> None:
    put(table, b'phone,note\n1,"a ""b"",\r\nc"\n2,\n3,caf\xe9\n"",x\n')
    async with opened(table) as source:
        records = [record for _, record in await rows_of(source)]
        path = written(tmp_path / "run", source, records)
    assert bytes_of(path).endswith(b"3,why,3,caf\\xe9\r\n4,why,,x\r\n")
    async with opened(path) as source:
        assert [record for _, record in await rows_of(source)] == records


@pytest.mark.parametrize(
    "record",
    [
        {"phoneNumber": NUMBER, "firstName": "Ana", "plan": "gold", "visits": 3, "vip": True, "none": None},
        {"phone": NUMBER, "first_name": "Ana", "plan": "gold"},
        {"plan": 'a,"b"\nc', "Mobile": 14155550123, "Time Zone": "UTC"},
        {"phone": NUMBER, "lastName": None},
    ],
)
async def test_outcome_files_of_mappings_are_read_back_as_mappings(record: dict[str, Any], tmp_path: Path) -> None:
    """Whatever the fields are called: what is sent then is what would have been sent at first."""
    async with opened([record]) as source:
        path = written(tmp_path / "run", source, [taken for _, taken in await rows_of(source)], State.REFUSED)
    async with opened(path) as source:
        assert source.header is None
        assert len(source.notices) == 1
    assert await normalised(path) == await normalised([record])


async def test_outcome_files_of_mapped_mappings_are_read_back(tmp_path: Path) -> None:
    """With the same map."""
    column_map = {"Kunde": "phoneNumber", "Nr": "uniqueId"}
    records = [{"Kunde": NUMBER, "Nr": 7, "plan": "gold"}]
    async with opened(records) as source:
        path = written(tmp_path / "run", source, records, State.REFUSED)
    assert await normalised(path, column_map) == {1: {"phoneNumber": NUMBER, "uniqueId": "7", "plan": "gold"}}


async def test_a_mended_cell_of_a_mapping_counts(tmp_path: Path) -> None:
    """The known fields are read from their cells, the others from the JSON."""
    records = [{"phone": "0123", "firstName": "Ana", "plan": "gold"}]
    async with opened(records) as source:
        path = written(tmp_path / "run", source, records)
    assert text_of(path).count("0123") == 2
    put(path, text_of(path).replace("1,why,0123,Ana", f"1,why,{NUMBER},"))
    assert await normalised(path) == {1: {"phoneNumber": NUMBER, "plan": "gold"}}


async def test_a_line_that_was_no_object_stays_one_until_it_is_mended(lines: Path, tmp_path: Path) -> None:
    """Its text is kept in the column `record`, and read from there."""
    put(lines, '{"phone": "+14155550123"\n')
    async with opened(lines) as source:
        records = [record for _, record in await rows_of(source)]
        path = written(tmp_path / "run", source, records)
    async with opened(path) as source:
        again = [record for _, record in await rows_of(source)]
        assert again == records
        assert source.cells(again[0])[-1] == '{"phone": "+14155550123"'
    assert await normalised(path) == {1: "bad_row"}
    put(path, text_of(path).replace('""+14155550123""', '""+14155550123""}'))
    assert await normalised(path) == {1: {"phoneNumber": NUMBER}}


async def test_a_nul_in_an_outcome_file_of_mappings_is_still_a_bad_value(tmp_path: Path) -> None:
    records = [{"phone": NUMBER, "plan": "a\0b"}, {"phoneNumber": NUMBER, "plan": "a\0b"}]
    assert await normalised(records) == {1: "bad_value", 2: "bad_value"}
    async with opened(records) as source:
        path = written(tmp_path / "run", source, records)
    assert await normalised(path) == {1: "bad_value", 2: "bad_value"}


# NDJSON


async def test_ndjson_lines_are_rows(lines: Path) -> None:
    """Blank ones are none; one that is no object is a bad row that keeps its text, the others are unharmed."""
    texts = [
        '{"phone":"+1","n":{"a":[1]}}',
        "",
        "  \t",
        "[1]",
        '"text"',
        "null",
        "7",
        '{"phone":"+2"',
        '{"phone":"+3"} x',
        "{'phone':'+4'}",
        '{"phone":NaN}',
        "[" * 5000,
        ' {"phone":"+5\u2028"} ',
    ]
    put(lines, "\r\n".join(texts).encode())
    async with opened(lines) as source:
        assert source.header is None
        assert source.columns == (
            "phoneNumber",
            "firstName",
            "lastName",
            "timeZone",
            "uniqueId",
            "contactPriority",
            "record",
        )
        found = await rows_of(source)
        assert source.fraction() == 1.0
        assert source.rest() == ()
    bad = [Broken("bad_row", text) for text in texts[3:12]]
    assert found == list(enumerate([{"phone": "+1", "n": {"a": [1]}}, *bad, {"phone": "+5\u2028"}], 1))


async def test_an_ndjson_line_that_is_not_utf_8_is_a_bad_row(lines: Path, tmp_path: Path) -> None:
    """It is kept as its text."""
    put(lines, b'{"phone":"+14155550123"}\n{"phone":"+14155550124","name":"caf\xe9"}\n{"phone":"+14155550125"}\n')
    assert await normalised(lines) == {
        1: {"phoneNumber": NUMBER},
        2: "bad_row",
        3: {"phoneNumber": "+14155550125"},
    }
    async with opened(lines) as source:
        path = written(tmp_path / "run", source, [(await rows_of(source))[1][1]])
    assert b"caf\\xe9" in bytes_of(path)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("9223372036854775807", "9223372036854775807"),
        ("18446744073709551615", "18446744073709551615"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("0", "0"),
        ("true", "true"),
        ("false", "false"),
    ],
)
async def test_ndjson_values_travel_as_decimal_text_and_words(lines: Path, value: str, text: str) -> None:
    """Integers to their last digit, also beyond 64 bits."""
    put(lines, f'{{"phone":14155550123,"uniqueId":{value}}}\n')
    assert await normalised(lines) == {1: {"phoneNumber": "14155550123", "uniqueId": text}}


@pytest.mark.parametrize("value", ["1.0", "1e3", "1.5", "[]", "{}", '["a"]', r'"a\u0000b"'])
async def test_ndjson_values_that_can_not_travel(lines: Path, value: str) -> None:
    put(lines, f'{{"phone":"+14155550123","x":{value}}}\n{{"phone":"+14155550124"}}\n')
    assert await normalised(lines) == {1: "bad_value", 2: {"phoneNumber": "+14155550124"}}


async def test_a_long_ndjson_file_has_every_row_once(lines: Path) -> None:
    records = [{"phone": f"+1415{index:07}", "name": "naïve", "x": "x" * (index % 50)} for index in range(12_000)]
    put(lines, b"\xef\xbb\xbf" + b"\n".join(map(orjson.dumps, records)))
    assert size_of(lines) > 2 * BLOCK
    assert await read(lines) == list(enumerate(records, 1))


@pytest.mark.parametrize("data", [b"", b"\n\n", b" \r\n\t\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\n"])
async def test_an_empty_ndjson_file_is_said(lines: Path, data: bytes) -> None:
    put(lines, data)
    message = await refusal(lines)
    assert "empty" in message
    assert str(lines) in message


async def test_an_ndjson_file_may_begin_with_many_blank_lines(lines: Path) -> None:
    put(lines, b"\n" * (BLOCK + 1) + b'{"phone":"+14155550123"}\n')
    assert await normalised(lines) == {1: {"phoneNumber": NUMBER}}


@pytest.mark.parametrize("name", ["a.ndjson", "a.jsonl", "a.NDJSON", "a.txt", "a.csv", "a"])
async def test_ndjson_is_known_by_its_name_or_its_brace(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    put(path, b'\xef\xbb\xbf\n {"phone":"+1"}\n')
    assert await read(path) == [(1, {"phone": "+1"})]


# Standard input


@pytest.mark.parametrize(
    ("parts", "records"),
    [
        ([b"pho", b"ne,no", b"te\n+1", b',"a\n', b'b"\n+2,', b"c"], [["+1", "a\nb"], ["+2", "c"]]),
        ([b'{"phone":', b'"+1"}\n{"phone"', b':"+2"}'], [{"phone": "+1"}, {"phone": "+2"}]),
        ([b"\xef", b"\xbb\xbfphone\n", b"+1\n"], [["+1"]]),
        ([b"\n", b'{"phone":"+1"}\n'], [{"phone": "+1"}]),
    ],
)
async def test_standard_input_in_pieces(
    monkeypatch: pytest.MonkeyPatch, parts: list[bytes], records: list[Record]
) -> None:
    """A slow writer's pieces are one text, and tell the format whole."""
    left = iter(parts)

    class Pieces(io.BytesIO):
        def read1(self, _size: int | None = -1, /) -> bytes:
            return next(left, b"")

    monkeypatch.setattr(sys, "stdin", type("Stdin", (), {"buffer": Pieces()}))
    async with opened("-") as source:
        assert source.name == "standard input"
        assert await rows_of(source) == list(enumerate(records, 1))


# Contacts from a program


ITEMS: list[Any] = [
    Contact(NUMBER, first_name="Ana", time_zone="UTC", extra={"plan": "gold"}),
    {"phone": "+14155550124", "visits": 3},
    UserDict({"phone": "+14155550125"}),
    "+1 415 555-0126",
    7,
    None,
    b"+14155550127",
    ["+14155550128"],
    Contact(NUMBER, extra={"firstName": "Bob"}),
]
FOUND = {
    1: {"phoneNumber": NUMBER, "firstName": "Ana", "timeZone": "UTC", "plan": "gold"},
    2: {"phoneNumber": "+14155550124", "visits": "3"},
    3: {"phoneNumber": "+14155550125"},
    4: {"phoneNumber": "+14155550126"},
    5: "bad_row",
    6: "bad_row",
    7: "bad_row",
    8: "bad_row",
    9: "bad_row",
}


async def in_turn(items: Sequence[Any], then: Exception | None = None) -> AsyncIterator[Any]:
    for item in items:
        await asyncio.sleep(0)
        yield item
    if then is not None:
        raise then


def one_by_one(items: Sequence[Any], then: Exception | None = None) -> Iterator[Any]:
    yield from items
    if then is not None:
        raise then


@pytest.mark.parametrize("kind", [list, tuple, iter, one_by_one, in_turn])
async def test_contacts_mappings_and_numbers_from_an_iterable(kind: Any) -> None:
    """What is none of them is a bad row beside good ones."""
    assert await normalised(kind(ITEMS)) == FOUND


@pytest.mark.parametrize("kind", [list, one_by_one, in_turn])
@pytest.mark.parametrize("size", [0, 1, SLICE_RECORDS, SLICE_RECORDS + 1, 3 * SLICE_RECORDS])
async def test_an_iterable_of_any_length(kind: Any, size: int) -> None:
    items = [f"+1415{index:07}" for index in range(size)]
    async with opened(kind(items)) as source:
        parts = await slices_of(source)
        assert source.rest() == []
    assert all(1 <= len(part.records) <= SLICE_RECORDS for part in parts)
    found = [(row, record) for part in parts for row, record in enumerate(part.records, part.first)]
    assert found == [(row, {"phoneNumber": item}) for row, item in enumerate(items, 1)]


async def test_the_fraction_of_an_iterable_with_a_length() -> None:
    async with opened([NUMBER] * (2 * SLICE_RECORDS)) as source:
        fractions = [source.fraction() async for _ in source.slices()]
    assert fractions == [0.5, 1.0]
    async with opened(iter([NUMBER])) as source:
        assert [source.fraction() async for _ in source.slices()] == [None]
    async with opened([]) as source:
        assert source.fraction() is None


async def test_a_mapping_is_taken_as_it_was() -> None:
    """What the caller does with it later changes nothing."""
    record = {"phone": NUMBER}
    found = await read([record])
    record["phone"] = "x"
    assert found == [(1, {"phone": NUMBER})]


@pytest.mark.parametrize("kind", [one_by_one, in_turn])
@pytest.mark.parametrize("size", [0, 3, SLICE_RECORDS, SLICE_RECORDS + 3])
async def test_an_iterable_that_fails_midway_still_yields_what_came_before(kind: Any, size: int) -> None:
    items = [f"+1415{index:07}" for index in range(size)]
    async with opened(kind(items, KeyError("theirs"))) as source:
        taken: list[Record] = []
        failure: KeyError | None = None
        try:
            async for part in source.slices():
                assert part.first == len(taken) + 1
                taken += part.records
        except KeyError as error:
            failure = error
        assert failure is not None
        assert [*taken, *source.rest()] == [{"phoneNumber": item} for item in items]


async def test_what_was_taken_and_not_yielded_is_told() -> None:
    """A run that stops waiting for a slow source accounts for what it gave."""
    gave = asyncio.Event()

    async def slow() -> AsyncIterator[str]:
        yield "+14155550101"
        yield "+14155550102"
        gave.set()
        await asyncio.Event().wait()

    async with opened(slow()) as source:
        slices = source.slices()
        waiting = asyncio.ensure_future(anext(slices))
        await gave.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await slices.aclose()
        assert source.rest() == [{"phoneNumber": "+14155550101"}, {"phoneNumber": "+14155550102"}]
        assert source.rest() == []


async def test_closing_early_takes_no_more_than_was_yielded() -> None:
    items = iter([f"+1415{index:07}" for index in range(3 * SLICE_RECORDS)])
    async with opened(items) as source, aclosing(source.slices()) as slices:
        part = await anext(slices)
        assert len(part.records) == SLICE_RECORDS
    assert len([*source.rest(), *items]) == 2 * SLICE_RECORDS


async def test_mappings_as_cells_and_fields() -> None:
    records: list[Record] = [
        {"phone": 14155550123, "First Name": "Ana", "plan": None, "uniqueId": True},
        Broken("bad_row", "7"),
        {"phone": NUMBER, 5: object},
    ]
    async with opened([]) as source:
        assert list(source.cells(records[0])) == [
            "14155550123",
            "Ana",
            "",
            "",
            "true",
            "",
            '{"phone":14155550123,"First Name":"Ana","plan":null,"uniqueId":true}',
        ]
        assert list(source.cells(records[1])) == ["", "", "", "", "", "", "7"]
        assert source.cells(records[2])[0] == NUMBER
        assert source.fields(records[0]) == records[0]
        assert source.fields(records[1]) == {"record": "7"}


@pytest.mark.parametrize(
    "given", [b"contacts.csv", bytearray(b"x"), memoryview(b"x"), 7, None, Contact(NUMBER), object()]
)
async def test_what_is_no_source_is_said(given: Any) -> None:
    message = await refusal(given)
    assert type(given).__name__ in message


async def test_a_missing_file_is_said(tmp_path: Path) -> None:
    for missing in (tmp_path / "none.csv", str(tmp_path / "none.ndjson"), NUMBER, tmp_path):
        assert str(missing) in await refusal(missing)
