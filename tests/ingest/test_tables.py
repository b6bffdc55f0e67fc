"""The table path and the row path judge alike: random tables go through both, and everything is compared."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kore_campaign_async import BatchLimits, IngestOptions, resume_ingest
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.columns import ColumnNormaliser, JsonColumn, NumbersOfTables, TableRecords
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.numbering import NumberingPlans
from kore_campaign_async.ingest.records import Slice, TableSlice
from kore_campaign_async.ingest.sources import blocks, csv_tables, ndjson_columns, ndjson_tables, opening, plain_parts
from kore_campaign_async.ingest.sources.blocks import Blocks, LineCutter
from kore_campaign_async.ingest.sources.csv_columns import table_of
from kore_campaign_async.ingest.sources.csv_text import CsvRecords
from tests.ingest.pushing import LIST, Answer, ScriptedApi, client_for, outcome_files, push, refuse, scripted

NUMBERS = [f"+1415555{index:04d}" for index in range(12)]
cells = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "Ana",
            "Müller",
            "a,b",
            'say "hi"',
            "two\nlines",
            "\0",
            "\x1f",
            "\x1f x",
            "\u3000",
            "\x85",
            " b",
            "b ",
        ]
    ),
    st.sampled_from(
        ["x" * 300, "é" * 300, "é" * 301, "x" * 301, "\\", "\u2028", "😀", "\x7f", "\ufeff", "\t", "America/Phoenix"]
    ),
    st.text(max_size=6),
).filter(lambda text: not any("\ud800" <= one <= "\udfff" for one in text))
phones = st.one_of(
    st.sampled_from(NUMBERS),
    st.sampled_from(NUMBERS).map(lambda one: one.removeprefix("+")),
    st.sampled_from(NUMBERS).map(lambda one: f"({one[:2]}) {one[2:5]}\u00a0{one[5:8]}.{one[8:]}/"),
    st.sampled_from(NUMBERS).map(lambda one: f"({one[2:5]}) {one[5:8]}-{one[8:]}"),
    st.sampled_from(["030 1234567", "0049301234567", "4155550123 x1", "4.1E+09", "4155550123.0", "555-0123"]),
    st.integers(10**6, 10**15).map(str),
    st.sampled_from(["", " ", "12", "+0123456789", "no", "+1415555\n0001", "١٤١٥٥٥٥٠٠٠١", "1" * 16, "+" + "9" * 15]),
    cells,
)
zones = st.sampled_from(["", "", " ", "America/Phoenix", "Europe/Berlin", "Mars/Base", "america/phoenix"])
HEADER = ("firstName", "phoneNumber", "timeZone", 'odd "name"')
tables = st.lists(st.tuples(cells, phones, zones, cells), min_size=1, max_size=30)


@pytest.mark.parametrize(
    ("room", "numbering"),
    [
        (1 << 20, None),
        (60, None),
        (1 << 20, NumberingPlans("US", strict=False)),
        (1 << 20, NumberingPlans("DE", strict=True)),
        (1 << 20, NumberingPlans(None, strict=True)),
    ],
)
@settings(deadline=None, max_examples=150)
@given(tables)
@example([("", "+14155550123", "", "")])
@example([("Ana", "+14155550123", "", ""), ("Ana", "+14155550123", "", "x")])
@example([("", "no", "", "")])
def test_columns_are_judged_as_rows_are(
    room: int, numbering: NumberingPlans | None, rows: list[tuple[str, ...]]
) -> None:
    """Rows, keys, contacts, records and reasons are the same."""
    normaliser = Normaliser(match(HEADER, {}), {}, room, numbering)
    expected = normaliser.sort(Slice(7, [list(row) for row in rows], suspect=True))
    frame = pl.DataFrame(rows, schema=dict.fromkeys("abcd", pl.String), orient="row")
    found = ColumnNormaliser(normaliser).sort(TableSlice(7, frame))
    if found is None:
        assert room < 1000
        return
    assert list(found.rows) == expected.rows
    assert found.table["key"].to_list() == expected.keys
    contacts = orjson.loads(b"[" + found.contacts.encoded() + b"]")
    assert contacts == expected.contacts
    assert [list(one) for one in contacts] == [list(one) for one in expected.contacts]
    assert list(found.records) == expected.records
    assert found.rejected == expected.rejected


@settings(deadline=None, max_examples=100)
@given(tables, st.booleans())
def test_every_column_can_be_the_numbers(rows: list[tuple[str, ...]], alone: bool) -> None:
    """The first, the last, or the only one."""
    for names, at in ((("phone",), (1,)), (("phone", "a"), (1, 0)), (("a", "phone"), (0, 1)))[: 1 if alone else 3]:
        picked = [[row[index] for index in at] for row in rows]
        normaliser = Normaliser(match(names, {}), {}, 1 << 20)
        expected = normaliser.sort(Slice(1, picked, suspect=True))
        frame = pl.DataFrame(picked, schema=dict.fromkeys(names, pl.String), orient="row")
        found = ColumnNormaliser(normaliser).sort(TableSlice(1, frame))
        assert found is not None
        assert [orjson.loads(one) for one in found.table["json"]] == expected.contacts
        assert found.rejected == expected.rejected


def test_records_of_a_table_are_made_when_asked_for() -> None:
    part = TableSlice(1, pl.DataFrame({"a": ["1", "2", "3", "4"], "b": list("wxyz")}))
    for at in (range(1, 4), [1, 2, 3]):
        records = TableRecords(part, at)
        assert len(records) == 3
        assert list(records) == [["2", "x"], ["3", "y"], ["4", "z"]]
        assert list(records[1:]) == [["3", "y"], ["4", "z"]]
        assert records[0] == ["2", "x"]
        assert list(records[3:]) == []


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=4)),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_a_part_of_a_column_is_its_objects_with_commas_between(texts: list[str], begin: int, end: int) -> None:
    column = JsonColumn.of(pl.Series(texts, dtype=pl.String))
    assert len(column) == len(texts)
    assert column[begin:end].encoded() == ",".join(texts[begin:end]).encode()
    assert column[begin:][:end].encoded() == ",".join(texts[begin:][:end]).encode()


@settings(deadline=None)
@given(st.lists(st.lists(st.integers(10**6, 10**6 + 40), max_size=25), max_size=12))
def test_the_first_row_of_each_number(slices: list[list[int]]) -> None:
    """Against a plain dictionary, for slices of columns and of lists."""
    by_lists, by_columns, first = NumbersOfTables(), NumbersOfTables(), dict[int, int]()
    row = 1
    for keys in slices:
        rows = list(range(row, row + len(keys)))
        row += len(keys)
        expected = [first.setdefault(key, at) for key, at in zip(keys, rows, strict=True)]
        assert by_lists.first_rows(keys, rows) == expected
        if keys:
            found = by_columns.first_of(pl.Series(keys, dtype=pl.UInt64), pl.Series(rows, dtype=pl.UInt32))
            assert (rows if found is None else found.to_list()) == expected


# CSV


def read_by_rows(data: bytes) -> list[Any]:
    """What the reader for records makes of it, as if it stood in the middle of a file."""
    cutter = LineCutter()
    cutter.feed(b"x\n")
    return CsvRecords().feed(cutter.feed(data) + cutter.flush(), final=True)


lines = st.lists(
    st.one_of(
        st.lists(st.text(st.sampled_from("ab1é"), max_size=3), min_size=3, max_size=3).map(",".join),
        st.lists(
            st.sampled_from(["a", '"a"', '"a,b"', '"say ""hi"""', '""', "", " ", "é"]), min_size=3, max_size=3
        ).map(",".join),
        st.lists(
            st.sampled_from(["a", '"', '"a', 'a"', "", "\r", "\0", "\x01", "\\", "\x85", "\t", ",", " "]), max_size=5
        ).map(",".join),
    ).map(str.encode)
    | st.sampled_from([b"", b"\xff,a,b", b"a,\xc3", b"a,b,c\r", b'"a","b","c"\r', b"#a,b,c"]),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=300)
@given(lines)
@example([b"a,b,c,d", b"a,b"])
@example([b'"a,b",c', b"a,b,c"])
@example([b'a,b,"c', b'd",e,f'])
@example([b'a,b,c"', b"a,b,c"])
def test_a_table_of_lines_is_what_the_reader_of_records_makes_of_them(parts: list[bytes]) -> None:
    """Or it is none; what is called clean needs no closer look."""
    data = b"".join(part + b"\n" for part in parts)
    found = table_of(data, 3)
    if found is None:
        return
    frame, is_clean = found
    assert list(map(list, frame.iter_rows())) == read_by_rows(data)
    if is_clean:
        every = [cell for row in frame.iter_rows() for cell in row]
        assert not any(cell[:1].isspace() or "\0" in cell for cell in every)
        assert all(orjson.dumps(cell) == b'"%b"' % cell.encode() for cell in every)


@pytest.mark.parametrize(
    ("data", "rows", "is_clean"),
    [
        (b"a,b,c\nd,e,\n", [("a", "b", "c"), ("d", "e", "")], True),
        (b"a,b,c\r\nd,,\r\n", [("a", "b", "c"), ("d", "", "")], True),
        (b'"a","b, ""x""","c"\nd,e,f\n', [("a", 'b, "x"', "c"), ("d", "e", "f")], False),
        (b'"a","b",""\r\nd,e,f\n', [("a", "b", ""), ("d", "e", "f")], False),
        ("é,ü,ß\n".encode(), [("é", "ü", "ß")], True),
        (b"a, b,c\n", [("a", " b", "c")], False),
        ("a,\u3000,c\n".encode(), [("a", "\u3000", "c")], False),
        (b"a,b\\n,c\n", [("a", "b\\n", "c")], False),
        (b"a,b\tc,d\n", [("a", "b\tc", "d")], False),
    ],
)
def test_plain_lines_become_columns(data: bytes, rows: list[tuple[str, ...]], is_clean: bool) -> None:
    found = table_of(data, 3)
    assert found is not None
    assert found[0].rows() == rows
    assert found[1] is is_clean


@pytest.mark.parametrize(
    "data",
    [
        b"a,b,c\nd,e\n",  # polars pads it
        b"a,b,c\nd,e,f,g\n",
        b"d,e\na,b,c,d\n",  # as many cells in all
        b"a,b,c\n\nd,e,f\n",  # polars makes a row of it
        b"\na,b,c\n",
        b"a,b,c\r\n\r\nd,e,f\r\n",
        b"a,b,c\rd,e,f\n",  # Python reads two records
        b'a,"b\nc",d\n',
        b'a,b",c\n',
        b'a,"b"x,c\n',
        b'a, "b",c\n',
        b'a,"b,c\n',
        b"\xef\xbb\xbfa,b,c\n",  # polars takes it for the file's mark
        b"a,\0,c\n",
        b"a,\xff,c\n",
        b'a,"\x01",c\n',
        b'"%b",b,c\n' % (b"x" * 70_000),
    ],
)
def test_what_is_not_plain_is_left_to_the_reader_of_records(data: bytes) -> None:
    assert table_of(data, 3) is None


@contextlib.contextmanager
def small_parts() -> Iterator[None]:
    """Read tables of some lines from files of any size, and other blocks of one or two."""
    read = Blocks.read

    async def read_little(self: Blocks, most: int = blocks.BLOCK_BYTES) -> bytes:
        return await read(self, 64 if most == blocks.BLOCK_BYTES else most)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Blocks, "read", read_little)
        patch.setattr(opening, "_TABLES_FROM_BYTES", 0)
        patch.setattr(plain_parts, "_TABLE_BYTES", 400)
        patch.setattr(plain_parts, "BLOCK_BYTES", 90)
        yield


@contextlib.contextmanager
def no_tables() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "find_spec", lambda _name: None)
        yield


async def pushed(source: Any, folder: Path, options: IngestOptions, answers: list[Answer]) -> dict[str, Any]:
    """Everything that can be told from outside of a push."""
    async with ScriptedApi(answers, allow_duplicates=False) as api, client_for(api.url) as client:
        try:
            report = await push(client, source, run_dir=folder, options=options)
        except SourceError as error:
            return {"error": str(error)}
    return {
        "counts": report.counts,
        "calls": [call.contacts for call in api.calls],
        # Within a file's entries the states of a slice follow each other.
        "files": {name: sorted(entries) for name, entries in outcome_files(folder).items()},
        "notices": report.notices,
    }


written = st.lists(st.tuples(cells, phones, zones, cells), min_size=4, max_size=40).map(
    lambda rows: [",".join(_written(cell) for cell in row).encode() for row in rows]
)
torn = st.lists(
    st.sampled_from(
        [
            b"",
            b"a",
            b",,",
            b"a,+14155550000,,,,,",
            b'a,"+14155550001',
            b'x"y,+14155550002,,',
            b"\xff,+14155550003,,",
            b"\0,+14155550004,,",
        ]
    ),
    max_size=4,
)


asked = st.sampled_from(
    [
        *({}, {}),
        {"region": "US"},
        {"region": "DE", "strict": True},
        {"strict": True},
        {"do_not_contact": {NUMBERS[4]}},
        {"do_not_contact": lambda one: one[-1] in "57", "region": "US"},
    ]
)


def _written(cell: str) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="").writerow([cell, ""])
    return text.getvalue()[:-1]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.data(), written, torn, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.integers(1, 9), asked)
def test_a_file_is_the_same_by_tables_and_by_rows(
    data: st.DataObject,
    rows: list[bytes],
    more: list[bytes],
    end: bytes,
    has_end: bool,
    most: int,
    asked: dict[str, Any],
) -> None:
    """Every state, row, reason and file, and every contact of every call.

    Without a 413: what it teaches holds for the batches that are not made yet, which depends on the slices.
    """
    for one in more:
        rows.insert(data.draw(st.integers(0, len(rows))), one)
    answers = data.draw(st.lists(st.sampled_from([Answer(), Answer(), refuse()]), max_size=6))
    header = ",".join(map(_written, HEADER)).encode()
    text = end.join([header, *rows]) + (end if has_end else b"")
    asyncio.run(is_the_same_either_way("contacts.csv", text, answers, most, asked))


async def is_the_same_either_way(
    name: str, text: bytes, answers: list[Answer], most: int, asked: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        source, barred = folder / name, folder / "barred.csv"
        source.write_bytes(text)
        barred.write_text(f"{NUMBERS[3]}\n")
        # One sender: what comes first is then the same.
        limits = BatchLimits(max_contacts=most)
        options = IngestOptions(batch=limits, concurrency=1, suppress=(barred,), **asked)
        with no_tables():
            expected = await pushed(source, folder / "rows", options, answers)
        with small_parts():
            found = await pushed(source, folder / "tables", options, answers)
        assert found == expected


def _object(row: tuple[str, ...], *, keys: tuple[str, ...], spaced: bool, escaped: bool, nulls: bool) -> bytes:
    record = {key: None if nulls and not value else value for key, value in zip(keys, row, strict=True)}
    separators = (", ", ": ") if spaced else (",", ":")
    return json.dumps(record, separators=separators, ensure_ascii=escaped).encode()


KEYS = ("firstName", "phone", "timeZone", "odd (name).* -")
odd_lines = st.lists(
    st.sampled_from(
        [
            b"",
            b"  ",
            b"\x1f",
            b"[]",
            b"null",
            b"{}",
            b'{"phone":"+14155550000"}',
            b'{"phone":14155550001,"firstName":"B","timeZone":null,"odd (name).* -":true}',
            b'{"firstName":-0,"phone":"+14155550004","timeZone":"","odd (name).* -":9999999999999999999999}',
            b'{"firstName":1.5,"phone":"+14155550005","timeZone":"","odd (name).* -":1}',
            b'{"firstName":12,"phone":14155550006,"timeZone":false,"odd (name).* -":-7}',
            b'{"firstName":"a","phone":"+14155550007","timeZone":"","odd (name).* -":"x","phone":"+14155550008"}',
            b'{"phone":"+14155550009","firstName":"other order","timeZone":"","odd (name).* -":""}',
            b'{"firstName":"a","phone":"+14155550002","timeZone":"","odd (name).* -":{"a":[1]}}',
            b'{"firstName":"a","phone":"+14155550002"',
            b'\xff{"phone":"+14155550003"}',
            b'{"phone":"+1415\0"}',
            b'\xef\xbb\xbf{"phone":"+14155550010"}',
            b'{"phone":"+14155550011"}\r{"phone":"+14155550011"}',
        ]
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    st.data(),
    st.lists(st.tuples(cells, phones, zones, cells), min_size=6, max_size=40),
    odd_lines,
    st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    st.sampled_from([b"\n", b"\r\n"]),
    st.integers(1, 9),
    asked,
)
def test_a_file_of_objects_is_the_same_by_tables_and_by_rows(
    data: st.DataObject,
    rows: list[tuple[str, ...]],
    more: list[bytes],
    style: tuple[bool, ...],
    end: bytes,
    most: int,
    asked: dict[str, Any],
) -> None:
    """Every state, row, reason and file, and every contact of every call, whichever way the objects are written."""
    spaced, escaped, nulls, has_end = style
    lines = [_object(row, keys=KEYS, spaced=spaced, escaped=escaped, nulls=nulls) for row in rows]
    for one in more:
        lines.insert(data.draw(st.integers(0, len(lines))), one)
    answers = data.draw(st.lists(st.sampled_from([Answer(), Answer(), refuse()]), max_size=6))
    text = end.join(lines) + (end if has_end else b"")
    asyncio.run(is_the_same_either_way("contacts.ndjson", text, answers, most, asked))


def test_objects_become_columns() -> None:
    """Text, digits, booleans and null; a line that is written otherwise is left to the rules for records."""
    lines = (
        '{"phone":"+14155550101","a.b":"Zoë"}',
        '{ "phone": 14155550102, "a.b": null }\r',
        '{"phone":"+14155550103","a.b":true}',
        '{"phone":"+14155550104","a.b":"say \\"hi\\""}',
        '{"phone":"+14155550105","a.b":""}',
    )
    part = ndjson_columns.table_of("".join(f"{line}\n" for line in lines).encode(), 7)
    assert part is not None
    assert (part.first, part.keys) == (7, ("phone", "a.b"))
    assert part.frame.rows() == [
        ("+14155550101", "Zoë", lines[0]),
        ("14155550102", "", lines[1]),
        ("+14155550103", "true", lines[2]),
        ("\0", "\0", lines[3]),
        ("+14155550105", "", lines[4]),
    ]
    assert part.record_of(part.frame.row(1)) == {"phone": 14155550102, "a.b": None}
    normaliser = Normaliser(None, {}, 1 << 20)
    found = ColumnNormaliser(normaliser).sort(part)
    assert found is not None
    records = [orjson.loads(line) for line in lines]
    expected = normaliser.sort(Slice(7, records, suspect=True))
    assert [orjson.loads(one) for one in found.table["json"]] == expected.contacts
    assert list(found.records) == records


@pytest.mark.parametrize(
    "data",
    [
        b'[1]\n{"phone":"1"}\n',
        b'{"phone":"1"\n',
        b"{}\n",
        b'{"a\\"b":"1"}\n',
        b'{"phone":"1"}\n\n',
        b'{"phone":"1"}\n \r\n',
        b'{"phone":"1"}\r{"phone":"1"}\n',
        b'{"phone":"1"}\n{"phone":"\xff"}\n',
        b'{"phone":"1"}\n{"phone":"\0"}\n',
        b'{"phone":"1"}\n{"number":"2"}\n{"number":"3"}\n',
    ],
)
def test_lines_that_are_not_plain_objects_are_left_to_the_reader_of_records(data: bytes) -> None:
    assert ndjson_columns.table_of(data, 1) is None


async def test_large_files_of_objects_go_by_tables_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that is written otherwise costs only itself."""
    source = tmp_path / "large.ndjson"
    lines = [f'{{"phone":"+1{4_150_000_000 + row}","name":"Ana {row}"}}\n' for row in range(120_000)]
    lines[60_000] = lines[60_000].replace("Ana", "A\\u006ea")
    source.write_text("".join(lines))
    assert await rows_by_tables(ndjson_tables.NdjsonTables, source, 120_000, monkeypatch) > 110_000


async def test_large_plain_files_go_by_tables_by_themselves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a record that is not plain costs only its surroundings."""
    source = tmp_path / "large.csv"
    text = "phone,name\n" + "".join(f"+1{4_150_000_000 + row},Ana {row}\n" for row in range(300_000))
    source.write_text(text.replace("Ana 150000", 'An"a', 1))
    assert await rows_by_tables(csv_tables.CsvTables, source, 300_000, monkeypatch) > 270_000


async def rows_by_tables(kind: Any, source: Path, rows: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of a file's rows came in tables; all of them are stored."""
    kinds: list[tuple[type, int]] = []
    slices = kind.slices

    async def noting(self: Any) -> Any:
        async for part in slices(self):
            kinds.append((type(part), len(part)))
            yield part

    monkeypatch.setattr(kind, "slices", noting)
    async with scripted() as (api, client):
        report = await push(client, source, contact_list=LIST)
    assert report.counts.accepted == rows
    assert len(api.processed) == rows
    return sum(size for one, size in kinds if one is TableSlice)


@pytest.mark.parametrize("tables_first", [False, True])
async def test_a_run_that_stopped_is_resumed_the_other_way(tmp_path: Path, *, tables_first: bool) -> None:
    """Row numbers are the same either way: each contact goes out once, whoever reads the rest."""
    source = tmp_path / "contacts.csv"
    rows = [f"+1{4_150_000_000 + row % 290},Ana {row}" if row % 23 else f"nobody,{row}" for row in range(300)]
    rows[150] = '+14159999999,"a ""quoted"" name'  # and never closed
    source.write_text("\n".join(["phone,name", *rows]) + "\n")
    options = IngestOptions(batch=BatchLimits(max_contacts=7), concurrency=1, grace_seconds=0.0)
    ways = [small_parts, no_tables] if tables_first else [no_tables, small_parts]
    async with scripted([Answer()] * 11 + [refuse(403)]) as (api, client):
        with ways[0]():
            report = await push(client, source, run_dir=tmp_path / "run", options=options)
        assert report.state == "stopped"
        assert report.counts.accepted == 77
        with ways[1]():
            report = await resume_ingest(client, tmp_path / "run")
    assert report.state == "finished"
    assert set(api.processed.values()) == {1}
    assert report.counts.accepted == len(api.processed)
    files = outcome_files(tmp_path / "run")
    assert [row for row, _, _ in files["rejected.csv"]] == [
        row for row in range(1, 301) if (row - 1) % 23 == 0 or row == 151
    ]
    assert all(reason == f"duplicate of row {row - 290}" for row, reason, _ in files["left_out.csv"])
