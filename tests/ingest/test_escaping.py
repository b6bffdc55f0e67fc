"""Outcome files are text whatever the source was, and what was none is none again when such a file is pushed."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ingest.pushing import LIST, csv_of, number, push, rows_in, sandboxed, stored

from kore_campaign_async import Files
from kore_campaign_async.ingest.escaping import escaped, is_text, restored
from kore_campaign_async.ingest.sources import opening


@given(st.text(st.characters(exclude_categories=[])))
def test_an_escape_is_text_and_comes_back(text: str) -> None:
    """Bytes that are no UTF-8, and surrogates of any kind; texts that hold an escape already are not told apart."""
    written = escaped(text)
    assert written.encode().decode() == written
    assert is_text(text) == (written == text)
    if restored(text) == text:
        assert restored(written) == text


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("Zoë", "Zoë"),
        (b"caf\xe9".decode("utf-8", "surrogateescape"), r"caf\xe9"),
        (b"\x80\xff".decode("utf-8", "surrogateescape"), r"\x80\xff"),
        ("\ud800\udbff\udc00\udfff", r"\ud800\udbff\udc00\udfff"),
        ("\0", "\0"),
        (r"C:\new\x41", r"C:\new\x41"),
    ],
)
def test_how_it_is_written(text: str, written: str) -> None:
    assert escaped(text) == written


def test_what_is_no_escape_of_ours_stays() -> None:
    for text in (r"C:\new", r"\x41", r"\u00e9", r"\xE9", r"\x7f", r"\ud7ff", r"\ue000", "\\"):
        assert restored(text) == text


BYTES = b"phone,name\n" + f"{number(1)},Ana\n{number(2)},Caf".encode() + b"\xe9\n" + b"nobody,\xff\n"


@pytest.mark.parametrize("bytes_from", [1 << 30, 0])
async def test_what_was_no_text_is_rejected_again_until_it_is_mended(
    bytes_from: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the number was wrong too and is mended, and whichever reader reads the file."""
    monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", bytes_from)
    (tmp_path / "c.csv").write_bytes(BYTES)
    async with sandboxed(LIST) as (sandbox, client):
        # Not all of it can be Windows-1252's: it says UTF-8.
        source = Files([tmp_path / "c.csv"], encoding="utf-8")
        report = await push(client, source, run_dir=tmp_path / "1")
        assert any(r"as escapes such as \xe9 (the byte E9)" in one for one in report.notices)
        rejected = tmp_path / "1" / "rejected.csv"
        assert rejected.read_bytes().splitlines()[1:] == [
            f"2,bad_value,{number(2)},".encode() + rb"Caf\xe9",
            rb"3,invalid_phone,nobody,\xff",
        ]
        rejected.write_text(rejected.read_text().replace("nobody", number(3)))
        again = await push(client, rejected, run_dir=tmp_path / "2")
        assert rows_in(tmp_path / "2", "rejected.csv") == {1: "bad_value", 2: "bad_value"}
        assert again.counts.accepted == 0
        mended = tmp_path / "2" / "rejected.csv"
        assert mended.read_bytes().splitlines()[1] == f"1,bad_value,{number(2)},".encode() + rb"Caf\xe9"
        mended.write_text(mended.read_text().replace(r"\xe9", "é").replace(r"\xff", "Bo"))
        report = await push(client, mended, run_dir=tmp_path / "3")
        assert [contact["name"] for contact in await stored(sandbox)] == ["Ana", "Café", "Bo"]
    assert not any("as escapes" in one for one in report.notices)


async def test_a_workbook_of_such_rows_is_rejected_too(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["row", "reason", "phone", "name"], ["2", "bad_value", number(2), r"Caf\xe9"]):
        book.active.append(row)
    book.save(tmp_path / "rejected.xlsx")
    async with sandboxed(LIST) as (_, client):
        report = await push(client, tmp_path / "rejected.xlsx", run_dir=tmp_path / "run")
    assert (report.counts.rejected, rows_in(tmp_path / "run", "rejected.csv")) == (1, {1: "bad_value"})


@pytest.mark.parametrize(
    ("reason", "accepted"),
    [
        ("bad_value", 0),
        ("invalid_phone", 0),
        ("suppressed", 0),
        ("duplicate of row 7", 0),
        ("400: the server said no", 1),
    ],
)
async def test_letters_that_the_api_was_asked_about_are_letters(reason: str, accepted: int, tmp_path: Path) -> None:
    """What was sent was text, with these very letters; and so it is in a file that no run wrote."""
    source = csv_of(tmp_path / "c.csv", "row,reason,phone,name", rf"1,{reason},{number(1)},C:\xe9")
    own = csv_of(tmp_path / "own.csv", "phone,name", rf"{number(2)},C:\xe9")
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, source, run_dir=tmp_path / "run")
        assert report.counts.accepted == accepted
        await push(client, own)
        assert {contact["name"] for contact in await stored(sandbox)} == {r"C:\xe9"}


@pytest.mark.parametrize("field", ["firstName", "plan"])
async def test_a_mapping_whose_text_is_none_is_rejected_again_until_it_is_mended(field: str, tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [
        {"phoneNumber": number(1), field: "Zo\ud800", "note": "\U0001f600"},
        {"phoneNumber": number(2)},
    ]
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, records, run_dir=tmp_path / "1")
        assert (report.counts.accepted, report.counts.rejected) == (1, 1)
        rejected = tmp_path / "1" / "rejected.csv"
        again = await push(client, rejected, run_dir=tmp_path / "2")
        assert again.counts.accepted == 0
        assert rows_in(tmp_path / "2", "rejected.csv") == {1: "bad_value"}
        rejected.write_text(rejected.read_text().replace(r"\ud800", "ë"))
        await push(client, rejected, run_dir=tmp_path / "3")
        assert [contact.get(field) for contact in await stored(sandbox)] == ["Zoë", None]
        assert (await stored(sandbox))[0]["note"] == "\U0001f600"


@given(st.lists(st.lists(st.text(st.characters(exclude_categories=[])), min_size=1, max_size=3), max_size=4))
def test_csv_reads_back_what_was_escaped(rows: list[list[str]]) -> None:
    """NUL and all line ends included."""
    written = [[escaped(cell) for cell in row] for row in rows]
    text = io.StringIO(newline="")
    csv.writer(text).writerows(written)
    assert list(csv.reader(io.StringIO(text.getvalue(), newline=""))) == [row or [""] for row in written]
