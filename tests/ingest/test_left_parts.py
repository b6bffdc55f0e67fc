"""Files that are named as a killed start's are: taken for its own only if SQLite wrote them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from kore_campaign_async import RunDirectoryError
from kore_campaign_async.ingest.directory import refuse_unless_new

PARTS = [f"journal.sqlite.part{side}" for side in ("", "-journal", "-wal", "-shm")]


@pytest.mark.parametrize("name", PARTS)
def test_somebodys_own_file_is_no_part_of_a_run(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"my only copy")
    with pytest.raises(RunDirectoryError, match="holds what is no run's"):
        refuse_unless_new(tmp_path)
    assert (tmp_path / name).read_bytes() == b"my only copy"


@pytest.mark.parametrize("name", PARTS)
def test_an_empty_one_is_in_nobodys_way(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    refuse_unless_new(tmp_path)


@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_what_sqlite_left_is_in_nobodys_way(tmp_path: Path, mode: str) -> None:
    connection = sqlite3.connect(tmp_path / PARTS[0], isolation_level=None)
    connection.execute(f"PRAGMA journal_mode = {mode}")
    connection.execute("CREATE TABLE one (value)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO one VALUES (1)")
    assert len(list(tmp_path.iterdir())) > 1
    refuse_unless_new(tmp_path)
    connection.close()
