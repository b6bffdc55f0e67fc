"""Why contacts were not accepted, kept by a run, and counted from the outcome files of older ones."""

from __future__ import annotations

import csv
import tempfile
import tracemalloc
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ingest.pushing import csv_of, number, push, refuse, scripted
from ingest.test_files import REPORT

from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest.files import RunFiles
from kore_campaign_async.ingest.reasons import OTHER, Example, Reason, read_reasons
from kore_campaign_async.ingest.records import Record, Settled, State


def file_of(path: Path, *rows: tuple[object, ...], columns: tuple[str, ...] = ("phone", "name")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("row", "reason", *columns), *rows])
    return path


def counted(folder: Path) -> list[tuple[str, str, int]]:
    return [(reason.state.value, reason.text, reason.count) for reason in read_reasons(folder, {})]


async def test_the_reasons_of_a_push_add_up_to_its_counts(tmp_path: Path) -> None:
    source = csv_of(
        tmp_path / "c.csv",
        "phone,name,time zone",
        *[f"{number(at)},Ana," for at in range(10)],
        f"{number(3)},Ana,",
        ",Bo,",
        "call the office,Bo,",
        "12345,Bo,",
        f"{number(20)},Bo,Mars/Olympus",
        f"{number(21)},{'x' * 400},",
        f"{number(22)},a,b,c,d",
    )
    async with scripted([refuse(400, 'say <b>"no"</b>')]) as (_, client):
        report = await push(
            client, source, run_dir=tmp_path / "run", suppress=[csv_of(tmp_path / "dnc.csv", number(9))]
        )
    assert read_reasons(tmp_path / "run", {}) == (
        Reason(State.REJECTED, "invalid_phone", 2, [Example("13", "call the office"), Example("14", "12345")]),
        Reason(State.REJECTED, "missing_phone", 1, [Example("12", None)]),
        Reason(State.REJECTED, "bad_time_zone", 1, [Example("15", number(20), "time zone", "Mars/Olympus", 12)]),
        Reason(State.REJECTED, "value_too_long", 1, [Example("16", number(21), "name", "x" * 200, 400)]),
        Reason(State.REJECTED, "bad_row", 1, [Example("17", None)]),
        Reason(State.DUPLICATE, "duplicate", 1, [Example("11", number(3), "row", "4")]),
        Reason(State.SUPPRESSED, "suppressed", 1, [Example("10", number(9))]),
        Reason(
            State.REFUSED,
            '400: the server refused the call (say <b>"no"</b>)',
            9,
            [Example(str(at + 1), number(at)) for at in range(3)],
        ),
    )
    assert sum(reason.count for reason in read_reasons(tmp_path / "run", {})) == report.counts.read


def test_no_example_is_in_a_repr(tmp_path: Path) -> None:
    file_of(tmp_path / "rejected.csv", (1, "bad_time_zone", number(1), "x", "Mars"), columns=("phone", "n", "timeZone"))
    shown = repr(read_reasons(tmp_path, {}))
    assert number(1) not in shown
    assert "Mars" not in shown


def test_the_column_of_the_numbers_is_the_one_that_was_mapped(tmp_path: Path) -> None:
    file_of(tmp_path / "rejected.csv", (1, "invalid_phone", "a", "b"), columns=("Nummer", "name"))
    assert read_reasons(tmp_path, {})[0].examples[0].number is None
    assert read_reasons(tmp_path, {"Nummer": "phoneNumber", "gone": "x"})[0].examples[0].number == "a"


def test_answers_that_differ_in_ids_and_numbers_are_one_reason(tmp_path: Path) -> None:
    file_of(
        tmp_path / "refused.csv",
        (1, "400: no (data[0].phoneNumber is bad)", "", ""),
        (2, "400: no (data[17].phoneNumber is bad)", "", ""),
        (3, "422: no (data[17].phoneNumber is bad)", "", ""),
        (4, "500: no (request 3f2504e0-4f89-11d3-9a0c-0305e82c3301)", "", ""),
        (5, "500: no (request 9a2504e0-4f89-11d3-9a0c-0305e82c3302)", "", ""),
    )
    assert counted(tmp_path) == [
        ("refused", "400: no (data[0].phoneNumber is bad)", 2),
        ("refused", "500: no (request 3f2504e0-4f89-11d3-9a0c-0305e82c3301)", 2),
        ("refused", "422: no (data[17].phoneNumber is bad)", 1),
    ]


def test_any_number_of_different_words_takes_bounded_memory(tmp_path: Path) -> None:
    words = (
        f"{'abcdefghij'[at % 10]}{'klmnopqrst'[at // 10 % 10]} said no {chr(97 + at % 26)}{at}" for at in range(9000)
    )
    file_of(tmp_path / "uncertain.csv", *((at, said + "x" * 3000, "", "") for at, said in enumerate(words)))
    tracemalloc.start()
    try:
        reasons = read_reasons(tmp_path, {})
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(reasons) == 201
    assert sum(reason.count for reason in reasons) == 9000
    assert reasons[0].text == OTHER
    assert max(len(reason.text) for reason in reasons) == 2000
    assert most < 15_000_000  # the file has 27 MB


def test_a_torn_last_row_is_not_counted(tmp_path: Path) -> None:
    path = file_of(tmp_path / "rejected.csv", (1, "invalid_phone", "x", ""), (2, "missing_phone", "", ""))
    path.write_bytes(path.read_bytes() + b"3,invali")
    assert counted(tmp_path) == [("rejected", "invalid_phone", 1), ("rejected", "missing_phone", 1)]
    path.write_bytes(path.read_bytes() + b'd_phone,"+1 415\n')
    assert counted(tmp_path)[:1] == [("rejected", "invalid_phone", 1 + 1)]


@pytest.mark.parametrize(
    "data", [b"", b"row", b"row,reason,phone\r\n", b"\xff\xfe\x00", b"row,reason,phone\r\n\r\n\r\n"]
)
def test_files_without_a_row(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "rejected.csv").write_bytes(data)
    assert read_reasons(tmp_path, {}) == ()


def test_cells_of_any_length_and_any_bytes(tmp_path: Path) -> None:
    path = file_of(tmp_path / "rejected.csv", (1, "value_too_long", "+1", "y" * 1_000_000))
    path.write_bytes(path.read_bytes() + b"2,invalid_phone,\xff\x00\xfe,\r\n")
    before = csv.field_size_limit()
    too_long, invalid = read_reasons(tmp_path, {})
    assert (too_long.examples[0].characters, len(too_long.examples[0].value)) == (1_000_000, 200)
    assert invalid.examples[0].number == "\ufffd\0\ufffd"
    assert csv.field_size_limit() == before


def test_no_files_and_what_is_none(tmp_path: Path) -> None:
    assert read_reasons(tmp_path, {}) == ()
    (tmp_path / "refused.csv").mkdir()
    with pytest.raises(RunDirectoryError, match=r"refused\.csv can't be read: Is a directory"):
        read_reasons(tmp_path, {})


# Kept by the run


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([State.REJECTED, State.DUPLICATE, State.SUPPRESSED, State.REFUSED, State.UNCERTAIN]),
            st.lists(
                st.sampled_from(["invalid_phone", "bad_time_zone", "missing_phone", "value_too_long"]), min_size=1
            ),
            st.sampled_from(["400: data[3] is bad", "400: data[4] is bad", "500: no"]),
        ),
        max_size=12,
    )
)
def test_what_a_run_keeps_is_what_its_files_hold(parts: list[tuple[State, list[str], str]]) -> None:
    """The fold over what is settled, against one pass over the rows that were written."""
    with tempfile.TemporaryDirectory() as folder:
        columns = ("phone", "note", "timeZone")
        with closing(RunFiles(Path(folder), columns, lambda record: record)) as files:  # type: ignore[arg-type, return-value]
            row = 0
            for state, codes, words in parts:
                rows = range(row + 1, row + 1 + len(codes))
                row += len(codes)
                records: list[Record] = [[f"+1415{at}", "x" * (at % 7), f"Mars/{at}"] for at in rows]
                reasons: list[str] | str = words
                if state is State.REJECTED:
                    reasons = codes
                elif state is State.DUPLICATE:
                    reasons = [f"duplicate of row {at}" for at in rows]
                elif state is State.SUPPRESSED:
                    reasons = "suppressed"
                files.write(Settled(state, rows, records, reasons))
            files.write_report(REPORT, durable=False)
        kept = read_reasons(Path(folder), {})
        (Path(folder) / "reasons.json").unlink()
        in_files = read_reasons(Path(folder), {})
        assert kept == in_files
        assert sum(reason.count for reason in kept) == row


async def test_a_person_who_edits_a_file_changes_no_reason(tmp_path: Path) -> None:
    """Saved by a spreadsheet: semicolons, Windows-1252, rows and columns moved and their cells everywhere."""
    source = csv_of(tmp_path / "c.csv", "phone,name", "nobody,Zoë", "12,Bo", number(1))
    async with scripted() as (_, client):
        await push(client, source, run_dir=tmp_path / "run")
    before = read_reasons(tmp_path / "run", {})
    (tmp_path / "run" / "rejected.csv").write_bytes("Name;Grund;Telefon\r\nZoë;Kunde 7;0151\r\n".encode("cp1252"))
    assert read_reasons(tmp_path / "run", {}) == before
    assert [(reason.text, reason.count) for reason in before] == [("invalid_phone", 2)]
    assert (tmp_path / "run" / "reasons.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"{",
        b"[]",
        b'{"reasons": 7}',
        b'{"reasons": [{"state": "rejected", "text": "x", "count": "many", "examples": []}]}',
        b'{"reasons": [{"state": "rejected", "text": "x", "count": -1, "examples": []}]}',
        b'{"reasons": [{"state": "lost", "text": "x", "count": 1, "examples": []}]}',
        b'{"reasons": [{"state": "rejected", "text": "x", "count": 1, "examples": [{"row": 1}]}]}',
    ],
)
def test_reasons_that_are_torn_are_told(tmp_path: Path, kept: bytes) -> None:
    """And not made up from a file that somebody may have edited."""
    file_of(tmp_path / "rejected.csv", (1, "invalid_phone", "x", ""))
    (tmp_path / "reasons.json").write_bytes(kept)
    with pytest.raises(RunDirectoryError, match=r"reasons\.json does not hold the reasons of a run"):
        read_reasons(tmp_path, {})


def test_reasons_of_any_size_are_bounded(tmp_path: Path) -> None:
    example = {"row": "1" * 9999, "number": "2" * 9999, "column": "c" * 9999, "value": "v" * 9999, "characters": 9999}
    reason = {"state": "rejected", "text": "t" * 9999, "count": 1, "examples": [example] * 9}
    (tmp_path / "reasons.json").write_bytes(orjson.dumps({"reasons": [reason] * 2000}))
    found = read_reasons(tmp_path, {})
    assert len(found) == 1005
    assert (len(found[0].text), len(found[0].examples), len(found[0].examples[0].row)) == (2000, 3, 200)
