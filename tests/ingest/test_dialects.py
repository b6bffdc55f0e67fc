"""CSV files as other programs write them: none loses a row, and what is found out of them is said."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import os
import sys
import threading
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kore_campaign_async import Files, IngestReport, Progress, SourceError
from kore_campaign_async.ingest.records import Slice
from kore_campaign_async.ingest.sources import opening, plain_parts
from kore_campaign_async.ingest.sources.base import Source
from kore_campaign_async.ingest.sources.csv_text import DELIMITERS, Heading, heading, plain_cells
from kore_campaign_async.ingest.sources.opening import open_source
from tests.ingest.pushing import LIST, number, numbers, outcome_files, push, sandboxed, scripted, stored

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

# Written as Excel, databases and old programs write them. The header's own words come in every dialect.
HEADER: Final = ["Phone Number", "First Name", "Time zone", "note"]


def cell(row: int) -> str:
    """What is hard to read in a cell, one after another."""
    return (
        "plain",
        'a "quoted" word',
        "two\nlines",
        "a,b;c|d\te",
        "",
        "Zoë €5 — “x”",
        '"',
        " blank ",
        "\\",
        "x" * 300,
        "one\r\ntwo\r",
    )[row % 11]


ROWS: Final = [[number(row), f"Ana {row}", "UTC", cell(row)] for row in range(44)]
CONTACTS: Final = [
    {"phoneNumber": phone, "firstName": name, "timeZone": zone, **({"note": note} if note else {})}
    for phone, name, zone, note in ROWS
]


def written(delimiter: str, end: str, encoding: str, *, quoting: Any = csv.QUOTE_MINIMAL) -> bytes:
    """The table in a dialect, with blank lines between its rows."""
    file = io.StringIO(newline="")
    # The writer leaves CR unquoted where lines end otherwise, which no reader could tell from a line's end.
    hard = csv.QUOTE_ALL if end != "\r\n" else quoting
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=hard).writerows([HEADER, *ROWS])
    text = file.getvalue().replace(f"UTC{delimiter}plain{end}", f"UTC{delimiter}plain{end}{end}{end}")
    return text.encode(encoding)


def packed(data: bytes, how: str) -> bytes:
    if how == ".gz":
        half = len(data) // 2
        return gzip.compress(data[:half]) + gzip.compress(data[half:])  # as `cat a.gz b.gz` makes them
    return bytes(zstd.compress(data)) if how == ".zst" else data


DIALECTS: Final = [
    (delimiter, end, encoding, pack)
    for delimiter, end, encoding, pack in itertools.product(
        DELIMITERS, ["\n", "\r\n", "\r"], ["utf-8", "utf-8-sig", "utf-16", "cp1252"], ["", ".gz", ".zst"]
    )
    if pack == "" or (delimiter, end) in {(",", "\n"), (";", "\r\n"), ("|", "\r")}
]


@pytest.mark.parametrize(("delimiter", "end", "encoding", "pack"), DIALECTS)
async def test_no_dialect_loses_a_row(delimiter: str, end: str, encoding: str, pack: str, tmp_path: Path) -> None:
    """All that was written is stored, to the letter; and what was found out is said before anything is sent."""
    path = tmp_path / f"contacts.csv{pack}"
    path.write_bytes(packed(written(delimiter, end, encoding), pack))
    shown: list[Progress] = []
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        report = await push(client, path, run_dir=tmp_path / "run", progress=shown.append)
        assert await stored(sandbox) == CONTACTS
    assert report.counts.read == report.counts.accepted == len(ROWS)
    assert shown[0].settled == 0
    said = "\n".join(shown[0].reading)
    assert ("UTF-16" in said) == (encoding == "utf-16")
    assert ("Windows-1252" in said) == (encoding == "cp1252")
    assert {",": "parted", ";": "semicolons", "\t": "tabs", "|": "bars"}[delimiter] in said or delimiter == ","
    assert (
        "columns: 'Phone Number' → phoneNumber, 'First Name' → firstName, 'Time zone' → timeZone; as they are: 'note'"
        in said
    )
    assert any("read as Windows-1252; --encoding names another" in one for one in report.notices) == (
        encoding == "cp1252"
    )


@pytest.mark.parametrize("delimiter", DELIMITERS)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le"])
async def test_what_is_torn_costs_its_own_row_in_every_dialect(delimiter: str, encoding: str, tmp_path: Path) -> None:
    """A lone quote, a NUL, too many cells: all others go in, and the file that names them has commas and UTF-8."""
    lines = [
        "phone;note",
        f"{number(0)};é",
        f"{number(1)};a\0b",
        f"{number(2)};more;and more",
        f'{number(3)};5" pipe',
        "",
        f"{number(4)}",
        f'{number(5)};"in""side"',
        f'{number(6)};"open',
        f"{number(7)};behind it",
    ]
    text = "\r\n".join(lines).replace(";", delimiter)
    path = tmp_path / "contacts.csv"
    path.write_bytes(text.encode(encoding))
    given_file = Files(path, encoding="utf-16-le") if encoding == "utf-16-le" else path
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, given_file, run_dir=tmp_path / "run")
        good = [contact["phoneNumber"] for contact in await stored(sandbox)]
    assert good == [number(one) for one in (0, 3, 4, 5, 7)]
    assert report.counts.read == 8
    rejected = outcome_files(tmp_path / "run")["rejected.csv"]
    assert [(row, reason) for row, reason, _ in rejected] == [(2, "bad_value"), (3, "bad_row"), (7, "unclosed_quote")]
    assert (tmp_path / "run" / "rejected.csv").read_bytes().startswith(b"row,reason,phone,note\r\n2,bad_value,")


async def test_a_mended_file_of_a_run_is_pushed_again_whatever_its_columns_are_called(tmp_path: Path) -> None:
    """A run writes commas: semicolons in its header are a column's own."""
    path = tmp_path / "contacts.csv"
    path.write_text("phone,a;b;c;d\nnobody,é\n", encoding="utf-16")
    async with scripted() as (api, client):
        await push(client, Files(path, delimiter=","), run_dir=tmp_path / "one")
        again = tmp_path / "one" / "rejected.csv"
        assert again.read_bytes() == "row,reason,phone,a;b;c;d\r\n1,invalid_phone,nobody,é\r\n".encode()
        again.write_bytes(again.read_bytes().replace(b"nobody", number(1).encode()))
        await push(client, again, run_dir=tmp_path / "two")
    assert api.calls[0].contacts == ({"phoneNumber": number(1), "a;b;c;d": "é"},)


# Which delimiter


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("phone\n+1\n", ","),
        ("phone,name\n1;2;3;4\n", ","),
        ("phone;name\n", ";"),
        ("phone\tname\n", "\t"),
        ("phone|name\n", "|"),
        ("phone;last, first;plan\n", ";"),
        ('"a,b,c,d";phone\n', ";"),
        ('"a ""x"", y,z";phone\n', ";"),
        ('"a\nb,c,d";phone\n', ";"),
        ('phone;5" a,"b,c,d"\n', ","),
        ("a;b,c\n", ","),
        ("\n\r\n  \nphone;name\n", ";"),
        ("\tphone\tname\n", "\t"),
        ("row,reason,a;b;c;d;e\n", ","),
        ("row,reason\n", ","),
        ("row;reason\n", ";"),
        ("phone;name\r+1;2,3,4\r", ";"),
        ("phone;name", ";"),
        ("", ","),
        ('"never closed;;;\n1,2\n', ","),
    ],
)
def test_the_delimiter_is_what_stands_most_often_in_the_header(text: str, found: str) -> None:
    assert heading(text, final=True) == Heading(found)


@pytest.mark.parametrize("text", ["sep=;\nphone,name\n", "SEP=;\r\nphone,x\r\n", '"sep=;"\nphone\n'])
def test_excels_own_line_says_it(text: str) -> None:
    found = heading(text, final=False)
    assert found is not None
    assert found.delimiter == ";"
    assert text[found.skipped :].startswith("phone")


@given(st.text(st.sampled_from('ab,;\t|"\n\r ='), max_size=30), st.integers(0, 30))
@example('"a\n;b"\n', 4)
def test_more_of_the_text_changes_nothing(text: str, size: int) -> None:
    """As soon as it is found it stays, wherever the first block ended."""
    early = heading(text[:size], final=False)
    assert early is None or early == heading(text, final=True)


@given(
    st.lists(st.lists(st.text(st.characters(exclude_characters='"'), max_size=5), min_size=3, max_size=3), max_size=9),
    st.sampled_from(DELIMITERS),
)
def test_cells_at_once_are_those_one_by_one(table: list[list[str]], delimiter: str) -> None:
    text = "".join(f"{delimiter.join(row)}\n" for row in table)
    cells = plain_cells(text, 3, delimiter)
    if cells is not None:
        assert list(cells) == list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))


def test_plain_lines_of_every_delimiter_are_read_at_once() -> None:
    for delimiter in DELIMITERS:
        assert plain_cells(f"1{delimiter}é{delimiter}\n" * 3, 3, delimiter) is not None
        assert plain_cells(f"1{delimiter}\x01{delimiter}\n" * 3, 3, delimiter) is None


@pytest.mark.parametrize(
    ("said", "delimiter"),
    [(";", ";"), ("tab", "\t"), ("\\t", "\t"), ("\t", "\t"), ("Pipe", "|"), ("~", "~"), ("\x1f", "\x1f")],
)
async def test_a_delimiter_that_is_said_is_used(said: str, delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes(f"phone{delimiter}a,b,c,d\n+14155550101{delimiter}x\n".encode())
    async with scripted() as (api, client):
        await push(client, Files(path, delimiter=said))
    assert api.calls[0].contacts == ({"phoneNumber": "+14155550101", "a,b,c,d": "x"},)


@pytest.mark.parametrize("said", ["", ";;", "a", "1", '"', " ", "\n", "é", "\0", "+"])
def test_what_is_no_delimiter_is_said(said: str) -> None:
    with pytest.raises(ValueError, match="is none: it is a single character"):
        Files("x.csv", delimiter=said)


# Large files, by tables


async def both_ways(given_source: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> tuple[IngestReport, bool]:
    """Push by tables and by rows, and see that both come to the same."""
    found: list[tuple[Any, ...]] = []
    kinds: list[bool] = []
    for least in (0, sys.maxsize):
        monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", least)
        run_dir = folder / f"run-{least}"
        async with sandboxed(LIST) as (sandbox, client):
            report = await push(client, given_source, run_dir=run_dir)
            found.append((report.counts, outcome_files(run_dir), await stored(sandbox)))
        source: Source = await open_source(given_source)
        kinds.append(not all([isinstance(part, Slice) async for part in source.slices()]))
        source.close()
    assert found[0] == found[1]
    assert not kinds[1]
    return report, kinds[0]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", DELIMITERS)
async def test_tables_and_rows_come_to_the_same(
    encoding: str, delimiter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_parts, "_TABLE_BYTES", 1 << 12)
    lines = [f"+1415{row:07};naïve {row};{'x' * (row % 30)}" for row in range(9000)]
    lines[5000] = f'{number(1)};"a;b,c|d\te";x'
    lines[6000] = f'{number(2)};"a\nb";x'
    lines[7000] = f"{number(3)};x"
    lines[8000] = f"{number(4)};;;;filled"
    path = tmp_path / "contacts.csv"
    path.write_bytes("\n".join(["phone;name;x", *lines, ""]).replace(";", delimiter).encode(encoding))
    report, by_tables = await both_ways(Files(path, encoding=encoding), monkeypatch, tmp_path)
    assert by_tables
    assert report.counts.read == 9000
    assert report.counts.rejected == 1


# Packed files


@pytest.mark.parametrize("pack", [".gz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "early", "bytes", "behind", "sum"])
async def test_a_torn_archive_is_one_sentence_before_anything_is_sent(pack: str, damage: str, tmp_path: Path) -> None:
    data = "phone\n" + "".join(f"{one}\n" for one in numbers(20_000))
    whole = gzip.compress(data.encode()) if pack == ".gz" else bytearray(_with_sum(data.encode()))
    middle = len(whole) // 2
    torn = {
        "cut": whole[:-3],
        "early": whole[:5],
        "bytes": whole[:middle] + b"\0\xff\0\xff\0\xff" + whole[middle + 6 :],
        "behind": whole + b"and more",
        "sum": whole[:-8] + bytes(byte ^ 1 for byte in whole[-8:]),
    }[damage]
    path = tmp_path / f"contacts.csv{pack}"
    path.write_bytes(torn)
    async with scripted() as (api, client):
        with pytest.raises(SourceError) as raised:
            await push(client, path, run_dir=tmp_path / "run")
    why = "ends too early" if damage in {"cut", "early"} else "is damaged"
    assert str(raised.value) == f"{path} can't be read: its packed data {why}; get the whole file anew, and push that"
    assert api.calls == []
    assert not (tmp_path / "run" / "journal.sqlite").exists()


def _with_sum(data: bytes) -> bytes:
    return bytes(zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: True}))


async def test_an_empty_archive_is_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv.gz"
    path.write_bytes(gzip.compress(b""))
    with pytest.raises(SourceError, match=r"contacts\.csv\.gz is empty: it needs a header and contacts"):
        await open_source(path)


async def test_a_packed_file_is_known_by_its_bytes_and_objects_by_their_name(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(gzip.compress(b"phone\n+14155550101\n"))
    (tmp_path / "b.ndjson.gz").write_bytes(gzip.compress(b"\n" * 9 + b'{"phone": "+14155550102"}\n'))
    async with scripted() as (api, client):
        await push(client, tmp_path / "a.bin")
        await push(client, tmp_path / "b.ndjson.gz")
    assert [call.numbers for call in api.calls] == [("14155550101",), ("14155550102",)]


@pytest.mark.parametrize("pack", [".gz", ".zst"])
async def test_what_is_kept_of_a_packed_file_is_bounded(pack: str, tmp_path: Path) -> None:
    """A hundred megabytes in a file of some kilobytes are read block by block."""
    data = b"phone,x\n" + b"+14155550101,y\n" * (7 << 20)
    path = tmp_path / f"contacts.csv{pack}"
    path.write_bytes(packed(data, pack))
    source = await open_source(path)
    biggest = 0
    seen = 0
    blocks = source._blocks  # type: ignore[attr-defined]
    while block := await blocks.read():
        biggest = max(biggest, len(block))
        seen += len(block)
    source.close()
    assert biggest <= 1 << 18
    assert seen > 100_000_000


async def test_without_the_extra_a_zstd_file_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "contacts.csv.zst"
    path.write_bytes(packed(b"phone\n+14155550101\n", ".zst"))
    monkeypatch.setitem(sys.modules, zstd.__name__, None)
    monkeypatch.delattr(sys.modules[zstd.__name__.rpartition(".")[0]], "zstd")
    with pytest.raises(SourceError, match=r"needs the extra zst: pip install 'kore-campaign-async\[zst\]'"):
        await open_source(path)


# Encodings


async def test_wrong_bytes_in_utf_8_cost_their_rows_and_are_said(tmp_path: Path) -> None:
    """Read as Windows-1252, every other name would be garbled."""
    path = tmp_path / "contacts.csv"
    path.write_bytes(f"phone,name\n{number(1)},Zoë\n".encode() + number(2).encode() + b",Zo\xeb\n")
    async with scripted() as (api, client):
        report = await push(client, path, run_dir=tmp_path / "run")
    assert [call.contacts for call in api.calls] == [({"phoneNumber": number(1), "name": "Zoë"},)]
    assert [(row, reason) for row, reason, _ in outcome_files(tmp_path / "run")["rejected.csv"]] == [(2, "bad_value")]
    (notice,) = report.notices
    assert notice == (
        f"{path}: not all of it is UTF-8; the rows with wrong bytes are rejected as bad_value and written into the"
        r" outcome files as escapes such as \xe9 (the byte E9), or --encoding names another encoding"
    )


async def test_a_header_beyond_ascii_is_read_in_the_encoding_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes("Téléphone;Prénom\n+14155550101;Ana\n".encode("cp1252"))
    async with scripted() as (api, client):
        await push(client, path, column_map={"Téléphone": "phoneNumber", "Prénom": "firstName"})
    assert api.calls[0].contacts == ({"phoneNumber": "+14155550101", "firstName": "Ana"},)


async def test_text_without_its_mark_names_the_flag_that_helps(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes("phone\n+14155550101\n".encode("utf-16-be"))
    with pytest.raises(SourceError) as raised:
        await open_source(path)
    assert str(raised.value) == (
        f"{path} is no CSV file in UTF-8: its first line holds other bytes; name its encoding with --encoding, such as"
        " utf-16"
    )


async def test_an_encoding_that_is_said_is_used(tmp_path: Path) -> None:
    path = tmp_path / "contacts.csv"
    path.write_bytes("phone,name\n+14155550101,Жанна\n".encode("cp1251"))
    async with scripted() as (api, client):
        await push(client, Files(path, encoding="windows-1251"))
    assert api.calls[0].contacts[0]["name"] == "Жанна"


async def test_a_late_byte_decides_for_all_of_a_file(tmp_path: Path) -> None:
    """What is not UTF-8 stands behind megabytes of ASCII."""
    rows = 60_000
    path = tmp_path / "contacts.csv"
    text = "phone,name\n" + "".join(f"{one},Ana\n" for one in numbers(rows)) + "+14169999999,Zoë\n"
    path.write_bytes(text.encode("cp1252"))
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, path)
        contacts = await stored(sandbox)
    assert report.counts.accepted == rows + 1
    assert contacts[-1] == {"phoneNumber": "+14169999999", "name": "Zoë"}


async def test_a_pipe_with_a_name_is_read_once(tmp_path: Path) -> None:
    """As `push <(zcat contacts.csv.gz)` makes them."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writing = threading.Thread(target=lambda: path.write_bytes("phone;name\n+14155550101;Zoë\n".encode()))
    writing.start()
    async with scripted() as (api, client):
        report = await push(client, path, run_dir=tmp_path / "run")
    writing.join()
    assert api.calls[0].contacts == ({"phoneNumber": "+14155550101", "name": "Zoë"},)
    assert "can't be read again" in report.notices[0]
