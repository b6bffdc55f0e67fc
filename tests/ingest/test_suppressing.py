"""Numbers that must not be called, in files, collections and functions."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kore_campaign_async import (
    SourceError,
)
from kore_campaign_async.ingest.numbering import NumberingPlans
from kore_campaign_async.ingest.sources import opening
from kore_campaign_async.ingest.suppressing import read_suppressed
from tests.ingest.pushing import (
    csv_of,
    number,
    push,
    scripted,
)

US = NumberingPlans("US", strict=False)


async def read(*paths: Path, **given: Any) -> set[int]:
    return set(await read_suppressed(paths, **given))


async def refusal(path: Path, **given: Any) -> str:
    with pytest.raises(SourceError) as caught:
        await read_suppressed((path,), **given)
    message = str(caught.value)
    assert message.startswith(f"the do-not-contact file {path}")
    assert message.count(str(path)) == 1
    assert "\n" not in message
    return message


@pytest.fixture
def dnc(tmp_path: Path) -> Path:
    return tmp_path / "dnc.csv"


# Files


async def test_a_number_a_line(dnc: Path) -> None:
    """`+` and separators make no difference; blank lines are none."""
    dnc.write_bytes(b"+14155550123\n\n  \n4930 123-4567\r\n(+33) 1.23.45.67.89")
    assert await read(dnc) == {14155550123, 49301234567, 33123456789}


@pytest.mark.parametrize("text", ["+14155550123", "+14155550123\n", "phone\n+14155550123", "\n\n+14155550123\n\n"])
async def test_a_single_number(dnc: Path, text: str) -> None:
    dnc.write_text(text)
    assert await read(dnc) == {14155550123}


async def test_a_csv_file_with_a_number_column(dnc: Path) -> None:
    dnc.write_text('Name,Phone Number,note\n"A, B",+14155550123,"two\nlines"\n,4930123456,\n\n,,\n', encoding="utf-8")
    assert await read(dnc) == {14155550123, 4930123456}


async def test_another_column_may_hold_other_bytes(dnc: Path) -> None:
    dnc.write_bytes(b"phone,name\n+14155550123,Zo\xeb\n")
    assert await read(dnc) == {14155550123}


@pytest.mark.parametrize("head", [b"", b"phone\n", b"\r\nMobile\r\n", b"Phone,Name\n"])
async def test_a_byte_order_mark_is_passed_over(dnc: Path, head: bytes) -> None:
    dnc.write_bytes(b"\xef\xbb\xbf" + head + b"+14155550123\n")
    assert await read(dnc) == {14155550123}


async def test_several_files_are_one_set(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("+14155550123\n+14155550124\n")
    two.write_text("phone\n14155550124\n14155550125\n")
    assert await read(one, two) == {14155550123, 14155550124, 14155550125}
    assert await read() == set()


@pytest.mark.parametrize("text", ["", "\n", "phone\n", "name,phone\n"])
async def test_an_empty_file_holds_none(dnc: Path, text: str) -> None:
    dnc.write_text(text)
    assert await read(dnc) == set()


async def test_ndjson(tmp_path: Path) -> None:
    dnc = tmp_path / "dnc.ndjson"
    dnc.write_text('{"phone": "+1 415 555 0123", "since": 2020}\n\n{"Mobile": 14155550124}\n')
    assert await read(dnc) == {14155550123, 14155550124}


@pytest.mark.parametrize("text", ['{"phone": null}', '{"name": "Ana"}', "[1]", '{"phone": 1.5e9}', '"+14155550124"'])
async def test_a_line_of_ndjson_without_a_number_is_named(tmp_path: Path, text: str) -> None:
    dnc = tmp_path / "dnc.ndjson"
    dnc.write_text('{"phone": "+14155550123"}\n' + text + "\n")
    assert "row 2" in await refusal(dnc)


async def test_a_line_of_ndjson_with_two_numbers_is_named(tmp_path: Path) -> None:
    dnc = tmp_path / "dnc.ndjson"
    dnc.write_text('{"phone": "+14155550123", "mobile": "+14155550124"}\n')
    assert "two numbers in row 1: 'phone' and 'mobile'" in await refusal(dnc)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
async def test_tables(tmp_path: Path, kind: str) -> None:
    """A row of nothing is none; one without a number is named."""
    dnc = tmp_path / f"dnc.{kind}"
    frame = pl.DataFrame({"name": ["Ana", None, "Bob"], "phone": [14155550123, None, 14155550124]})
    (frame.write_parquet if kind == "parquet" else frame.write_ipc)(dnc)
    assert await read(dnc) == {14155550123, 14155550124}
    frame = frame.with_columns(name=pl.lit("Cy"))
    (frame.write_parquet if kind == "parquet" else frame.write_ipc)(dnc)
    assert "holds no phone number in row 2: ''" in await refusal(dnc)


async def test_a_large_file_is_read_by_tables(dnc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", 0)
    lines = [f"+1{4_150_000_000 + row}" for row in range(150_000)]
    dnc.write_text("\n".join(lines))
    assert await read(dnc) == {int(line) for line in lines}
    lines[140_000] = "nobody"
    dnc.write_text("\n".join(lines))
    assert "row 140001: 'nobody'" in await refusal(dnc)


async def test_what_a_run_left_out_is_a_do_not_contact_file(tmp_path: Path) -> None:
    """Its columns `row` and `reason` are no numbers."""
    source = csv_of(tmp_path / "c.csv", "phone,name", f"{number(1)},Ana", f"{number(2)},Bob")
    barred = csv_of(tmp_path / "dnc.csv", number(2))
    async with scripted() as (_, client):
        await push(client, source, run_dir=tmp_path / "run", suppress=(barred,))
        await push(client, [{"phone": number(2), "n": "x"}], run_dir=tmp_path / "two", suppress=(barred,))
    for run in ("run", "two"):
        assert await read(tmp_path / run / "left_out.csv") == {int(number(2))}


@pytest.mark.parametrize(
    ("text", "row", "shown"),
    [
        ("+14155550123\n\nnobody\n", 2, "'nobody'"),
        ("phone,name\n+14155550123,Ana\n0123,Bob\n", 2, "'0123'"),
        ("name,phone\nAna\n", 1, "''"),
        ("name,phone\nAna,\n", 1, "''"),
        ('name,phone\n"Ana\nMay",+14155550123\nBob,x\n', 2, "'x'"),
        ("Numbers\n+14155550123\n", 1, "'Numbers'"),
        ("+14155550123\n+1415555012345678\n", 2, "'+***'"),
    ],
)
async def test_a_row_without_a_number_is_named(dnc: Path, text: str, row: int, shown: str) -> None:
    """Somebody who must not be called could hide behind it."""
    dnc.write_text(text)
    assert f"holds no phone number in row {row}: {shown}; mend or remove it" in await refusal(dnc)


async def test_a_long_line_is_shown_shortened(dnc: Path) -> None:
    dnc.write_text("x" * 100_000)
    assert len(await refusal(dnc)) < 300 + len(str(dnc))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("phone,mobile\n+14155550123,+14155550124\n", "two number columns"),
        ("name,city\nAna,Bonn\n", "no number column"),
        ("+14155550123,+14155550124\n", "no number column"),
    ],
)
async def test_a_table_needs_one_number_column(dnc: Path, text: str, word: str) -> None:
    dnc.write_text(text)
    assert word in await refusal(dnc)


@pytest.mark.parametrize(
    "text",
    [
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob\n',
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob\n+14155550125,"Cy\n',
        '"+14155550123\n+14155550124\n',
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob"\n',
    ],
)
async def test_a_quote_that_never_closes_hides_nobody(dnc: Path, text: str) -> None:
    """It would swallow the numbers behind it."""
    dnc.write_text(text)
    assert "quote" in await refusal(dnc)


async def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert "can't be read: No such file" in await refusal(tmp_path / "missing.csv")
    assert "directory" in await refusal(tmp_path)


@pytest.mark.parametrize("data", [b"+1415\xff5550123\n", b"x" * 200_000 + b"\n"])
async def test_a_file_that_is_no_text_is_refused(dnc: Path, data: bytes) -> None:
    dnc.write_bytes(data)
    await refusal(dnc)


async def test_numbers_in_the_shapes_of_the_region(dnc: Path) -> None:
    """And what is no number to call is one not to call: an extension, two meanings, one that is not assigned."""
    dnc.write_text("(415) 555-0123\n'4155550124\n4.155550125E+09\n415 555 0126 x12\n(015) 555-0123\n")
    assert await read(dnc, numbering=US) == {14155550123, 14155550124, 14155550125, 14155550126, 10155550123}
    assert "row 1: '4.15555E+09'" in await refusal(csv_of(dnc, "4.15555E+09"), numbering=US)


async def test_numbers_take_eight_bytes_each_and_few_more_while_they_are_read(dnc: Path) -> None:
    count = 200_000
    dnc.write_text("".join(f"+1{4_150_000_000 + 7 * row}\n" for row in range(count)))
    await read_suppressed(())
    tracemalloc.start()
    try:
        found = await read_suppressed((dnc,))
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == count
    assert held < 20 * count
    assert most < 80 * count
