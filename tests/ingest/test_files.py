"""The run directory."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson
import pytest
from attrs import evolve

from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest.files import RunFiles, read_report
from kore_campaign_async.ingest.reasons import read_reasons
from kore_campaign_async.ingest.records import Broken, Record, Settled, State
from kore_campaign_async.ingest.report import Calls, Counts, IngestReport
from kore_campaign_async.ingest.sources.base import MAPPING_COLUMNS, mapping_cells

NAMES = {"rejected.csv", "left_out.csv", "refused.csv", "uncertain.csv"}
COLUMNS = ("phone", "note")
REPORT = IngestReport(
    run_id="run-1",
    state="stopped",
    contact_list="Ünï",
    source="contacts.csv",
    started_at="2025-07-01T00:00:00.000Z",
    finished_at="2025-07-01T00:00:01.000Z",
    counts=Counts(read=1, accepted=1),
    calls=Calls(sent=1),
    seconds=1.0,
    contacts_per_second=1.0,
    source_exhausted=True,
    stopped_because="why",
    notices=("said",),
)


def cells(record: Record) -> Sequence[str]:
    assert isinstance(record, list)
    return record


def refusal(directory: Path) -> str:
    with pytest.raises(RunDirectoryError) as caught:
        RunFiles(directory, COLUMNS, cells)
    message = str(caught.value)
    assert str(directory) in message
    assert "\n" not in message
    return message


def table(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "run-1"


@pytest.fixture
def files(directory: Path) -> Iterator[RunFiles]:
    made = RunFiles(directory, COLUMNS, cells)
    yield made
    made.close()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_look_whatever_the_umask(directory: Path, umask: int) -> None:
    """The files hold phone numbers."""
    before = os.umask(umask)
    try:
        files = RunFiles(directory, COLUMNS, cells)
        files.write_report(REPORT, durable=True)
        files.close()
    finally:
        os.umask(before)
    assert directory.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in directory.iterdir()}
    assert modes == dict.fromkeys([*NAMES, "reasons.json", "report.json"], 0o600)


def test_each_file_begins_with_row_reason_and_the_columns(files: RunFiles) -> None:
    files.close()
    for name in NAMES:
        assert (files.directory / name).read_bytes() == b"row,reason,phone,note\r\n"


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (State.REJECTED, "rejected.csv"),
        (State.DUPLICATE, "left_out.csv"),
        (State.SUPPRESSED, "left_out.csv"),
        (State.REFUSED, "refused.csv"),
        (State.UNCERTAIN, "uncertain.csv"),
    ],
)
def test_each_state_has_its_file(files: RunFiles, state: State, name: str) -> None:
    """One reason for all, or one for each."""
    files.write(Settled(state, [3, 4], [["+1", "a"], ["+2"]], "why"))
    files.write(Settled(state, [9, 10], [["+3", 'b,"c"\nd'], ["+4", "e", "f"]], ["this", "that"]))
    files.close()
    found = {path.name: table(path)[1:] for path in files.directory.iterdir()}
    assert found.pop(name) == [
        ["3", "why", "+1", "a"],
        ["4", "why", "+2"],
        ["9", "this", "+3", 'b,"c"\nd'],
        ["10", "that", "+4", "e", "f"],
    ]
    assert list(found.values()) == [[], [], []]


@pytest.mark.parametrize("state", [State.ACCEPTED, State.UNSENT])
def test_what_has_no_file_is_written_nowhere(files: RunFiles, state: State) -> None:
    files.write(Settled(state, [3], [["+1", "a"]]))
    files.close()
    assert {path.name for path in files.directory.iterdir()} == NAMES
    assert all(len(table(path)) == 1 for path in files.directory.iterdir())


def test_what_is_no_text_is_written_as_an_escape(files: RunFiles) -> None:
    """Whatever the source was, the file is UTF-8: a byte that is none, and a surrogate of a program's own text."""
    given = b"caf\xe9 \xff\xfe \xc3\xa9".decode("utf-8", "surrogateescape")
    files.write(Settled(State.DUPLICATE, [1], [["+1", "é"]], "duplicate of row 1"))
    assert not files.has_escapes
    files.write(Settled(State.REJECTED, [2, 3], [[given], ["\ud800 \udc7f", "\0"]], "bad_value"))
    assert files.has_escapes
    files.write_report(REPORT, durable=False)
    files.close()
    lines = (files.directory / "rejected.csv").read_bytes().splitlines()[1:]
    assert lines == [rb"2,bad_value,caf\xe9 \xff\xfe " + "é".encode(), rb"3,bad_value,\ud800 \udc7f," + b"\0"]
    assert table(files.directory / "rejected.csv")[2] == ["3", "bad_value", r"\ud800 \udc7f", "\0"]
    (reason,) = [one for one in read_reasons(files.directory, {}) if one.state is State.REJECTED]
    assert [one.number for one in reason.examples] == [r"caf\xe9 \xff\xfe é", r"\ud800 \udc7f"]


def test_a_report_is_text_whatever_a_file_is_called(files: RunFiles) -> None:
    report = evolve(REPORT, source=os.fsdecode(b"caf\xe9.csv"), notices=(os.fsdecode(b"caf\xe9.csv: said"),))
    files.write_report(report, durable=False)
    found = read_report(files.directory)
    assert (found.source, found.notices) == (r"caf\xe9.csv", (r"caf\xe9.csv: said",))


def test_a_mapping_with_an_integer_too_long_for_text_can_be_written(directory: Path) -> None:
    """Python refuses to write more than 4,300 digits, in a message and in a file alike."""
    records: list[Record] = [{"phone": "+1", "uniqueId": 10**5000}, {"phone": 10**5000}, {"phone": "+3"}]
    with closing(RunFiles(directory, MAPPING_COLUMNS, mapping_cells)) as files:
        files.write(Settled(State.REJECTED, [1, 2, 3], records, "bad_value"))
    assert [row[:2] for row in table(directory / "rejected.csv")[1:]] == [[str(row), "bad_value"] for row in (1, 2, 3)]


@pytest.mark.parametrize("value", ["\ud800", "\ud83d \ude00"])
def test_a_mapping_with_text_that_is_not_unicode_can_be_written(directory: Path, value: str) -> None:
    """A caller's own strings can hold any surrogate; the row is kept, and so are those after it."""
    records: list[Record] = [{"phone": "+1", "firstName": value, "plan": value}, {"phone": "+2"}]
    with closing(RunFiles(directory, MAPPING_COLUMNS, mapping_cells)) as files:
        files.write(Settled(State.REJECTED, [1, 2], records, "bad_value"))
        files.write_report(REPORT, durable=False)
    with (directory / "rejected.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.reader(file))
    assert [row[:3] for row in rows[1:]] == [["1", "bad_value", "+1"], ["2", "bad_value", "+2"]]


def test_what_could_not_be_read_is_kept_as_its_text(directory: Path) -> None:
    files = RunFiles(directory, MAPPING_COLUMNS, mapping_cells)
    files.write(Settled(State.REJECTED, [1], [Broken("bad_row", '{"phone')], "bad_row"))
    files.close()
    assert table(directory / "rejected.csv")[1] == ["1", "bad_row", "", "", "", "", "", "", '{"phone']


def test_a_directory_that_is_there_and_empty_is_used(directory: Path) -> None:
    directory.mkdir(parents=True)
    RunFiles(directory, COLUMNS, cells).close()
    assert {path.name for path in directory.iterdir()} == NAMES


def test_files_of_a_run_are_not_written_over(files: RunFiles) -> None:
    files.write(Settled(State.REJECTED, [1], [["+1", "a"]], "why"))
    files.write_report(REPORT, durable=True)
    files.close()
    before = {path.name: path.read_bytes() for path in files.directory.iterdir()}
    assert "rejected.csv: File exists" in refusal(files.directory)
    assert {path.name: path.read_bytes() for path in files.directory.iterdir()} == before


@pytest.mark.parametrize("name", sorted(NAMES))
def test_a_directory_that_holds_such_a_file_is_refused(directory: Path, name: str) -> None:
    """The file is left as it is, and nothing is left beside it."""
    directory.mkdir(parents=True)
    (directory / name).write_text("theirs")
    assert name in refusal(directory)
    assert [path.name for path in directory.iterdir()] == [name]
    assert (directory / name).read_text() == "theirs"


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("theirs")
    refusal(path)
    refusal(path / "below")
    assert path.read_text() == "theirs"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_may_not_be_written_is_refused(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o500)
    assert "Permission denied" in refusal(directory)
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("failing", sorted(NAMES))
def test_nothing_is_left_behind_a_failed_opening(
    directory: Path, failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the same command can be given again."""
    real_open = os.open

    def full(path: Any, *args: Any, **kwargs: Any) -> int:
        if Path(path).name == failing:
            raise OSError(28, "No space left on device", str(path))
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", full)
    assert "No space left on device" in refusal(directory)
    assert not directory.exists() or list(directory.iterdir()) == []
    monkeypatch.undo()
    RunFiles(directory, COLUMNS, cells).close()


def test_the_report_is_replaced_whole(files: RunFiles) -> None:
    """With the rows that it counts before it, and nothing beside it."""
    files.write(Settled(State.REJECTED, [1], [["+1", "a"]], "why"))
    for durable in (False, True):
        files.write_report(REPORT, durable=durable)
        assert {path.name for path in files.directory.iterdir()} == {*NAMES, "reasons.json", "report.json"}
        assert orjson.loads((files.directory / "report.json").read_bytes()) == REPORT.to_dict()
        assert len(table(files.directory / "rejected.csv")) == 2
    assert "Ünï" in (files.directory / "report.json").read_text(encoding="utf-8")


def test_a_report_half_written_by_a_killed_run_is_in_nobodys_way(files: RunFiles) -> None:
    (files.directory / "report.json.part").write_text("{")
    files.write_report(REPORT, durable=False)
    assert read_report(files.directory) == REPORT
    assert not (files.directory / "report.json.part").exists()


def test_a_report_can_be_written_after_closing(files: RunFiles) -> None:
    files.close()
    files.close()
    files.write_report(REPORT, durable=True)
    assert read_report(files.directory) == REPORT


def test_read_report_of_what_is_no_run_directory(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(RunDirectoryError, match=r"is this a run directory") as caught:
            read_report(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"[]", b"null", b"7", b'"x"', b"{}", b'{"counts":{},"calls":{}}', b'{"counts":[],"calls":7}', b"\xff"],
)
def test_read_report_of_what_is_no_report(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "report.json").write_bytes(data)
    with pytest.raises(RunDirectoryError, match=r"report\.json is not the report of a run"):
        read_report(tmp_path)


def test_read_report_of_a_directory_in_its_place(tmp_path: Path) -> None:
    (tmp_path / "report.json").mkdir()
    with pytest.raises(RunDirectoryError, match="directory"):
        read_report(tmp_path)
