"""Run directories that were copied, in whole or in part: nobody is called twice by what a copy does not know."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Final

import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign
from ingest.pushing import (
    ACCEPT,
    LIST,
    Answer,
    Call,
    account_of,
    csv_of,
    numbers,
    push,
    refuse,
    scripted,
)

from kore_campaign_async import BatchLimits, resume_ingest
from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import journal
from kore_campaign_async.ingest.directory import noted_calls
from kore_campaign_async.ingest.files import read_report

CONTACTS: Final = 4_000
A_CALL: Final = 20
LOG: Final = ("journal.sqlite-wal", "journal.sqlite-shm")


@pytest.fixture
async def killed(tmp_path: Path) -> Path:
    """The directory of a run that was killed with kill -9 after some hundred contacts, the list one that keeps all."""
    csv_of(tmp_path / "c.csv", "phone", *numbers(CONTACTS))
    far_enough = asyncio.Event()

    def answer(call: Call) -> Answer:
        if call.number == 40:
            far_enough.set()
        return ACCEPT

    async with scripted(answer) as (api, _):
        process = await asyncio.create_subprocess_exec(
            KORE_CAMPAIGN,
            *("push", "c.csv", "--list", LIST, "--run-dir", "run", "--rate", "none", "--max-contacts", str(A_CALL)),
            env=environment(account_of(api)),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.wait_for(far_enough.wait(), 60)
        process.kill()
        await process.wait()
        await api.idle()
        (tmp_path / "called").write_text("\n".join(api.processed))
    return tmp_path / "run"


def copied(run: Path, *, without: Collection[str] = ()) -> Path:
    copy = run.with_name("copy")
    shutil.copytree(run, copy, ignore=shutil.ignore_patterns(*without))
    return copy


async def resumed(run: Path, *, moved: bool = False, calls_nobody: bool = True) -> Counter[str]:
    """Go on with a run; whom that calls."""
    async with scripted(()) as (api, client):
        at_its_host(run, api.url)
        try:
            await resume_ingest(client, run, moved=moved)
        finally:
            assert not (calls_nobody and api.calls)
    return api.processed


def at_its_host(run: Path, url: str) -> None:
    """Let the run belong to the API that is there now."""
    account = journal.read_settings(run)["account"]
    journal.put_setting(run, "account", [url, *account[1:]])


def called(run: Path) -> set[str]:
    return set(run.with_name("called").read_text().split())


async def test_a_copy_is_resumed_only_where_somebody_says_that_it_was_moved(killed: Path) -> None:
    copy = copied(killed)
    with pytest.raises(RunDirectoryError, match=r"is a copy of the directory that the run was made in.*give --moved"):
        await resumed(copy)
    more = await resumed(copy, moved=True, calls_nobody=False)
    assert set(more.values()) == {1}
    assert not called(killed) & more.keys()
    assert read_report(copy).state == "finished"


async def test_what_was_moved_once_is_known_from_then_on(killed: Path) -> None:
    """Its own command goes on with it the next time, and the one that it was is the copy now."""
    copy = copied(killed)
    with pytest.raises(RunDirectoryError, match="give --moved"):
        await resumed(copy)
    journal.put_setting(copy, "directory", {"device": copy.stat().st_dev, "inode": copy.stat().st_ino})
    await resumed(copy, calls_nobody=False)


async def test_a_directory_that_is_renamed_is_the_same(killed: Path) -> None:
    renamed = killed.rename(killed.with_name("july"))
    assert await resumed(renamed, calls_nobody=False)


LOST: Final[dict[str, tuple[str, ...]]] = {
    "its log": LOG,
    "its log and its lock": (*LOG, "lock"),
    "its log and its report": (*LOG, "report.json"),
    "all but its journal": (*LOG, "lock", "*.json", "*.csv"),
}


@pytest.mark.parametrize("lost", LOST)
async def test_a_journal_without_its_log_is_not_gone_on_with(lost: str, killed: Path) -> None:
    """It knows fewer calls than went out: those would go out twice."""
    assert (killed / LOG[0]).stat().st_size
    copy = copied(killed, without=LOST[lost])
    with pytest.raises(RunDirectoryError, match="copy the whole directory again"):
        await resumed(copy, moved=True)
    # Following the sentence works.
    shutil.rmtree(copy)
    more = await resumed(copied(killed), moved=True, calls_nobody=False)
    assert not called(killed) & more.keys()


async def test_an_older_journal_is_not_gone_on_with(killed: Path) -> None:
    """Such as of a backup that was made while the run went on."""
    with sqlite3.connect(killed / "journal.sqlite") as connection:
        connection.execute("DELETE FROM attempt WHERE id > 20")
    connection.close()
    with pytest.raises(RunDirectoryError, match=f"knows 20 calls, and {noted_calls(killed)} went out"):
        await resumed(killed)


async def test_a_report_that_tells_of_more_calls_is_believed(killed: Path) -> None:
    """Where no lock counts them, as in runs of earlier versions."""
    (killed / "lock").write_bytes(b"")
    (killed / "report.json").write_bytes(read_report(killed).to_json())
    with sqlite3.connect(killed / "journal.sqlite") as connection:
        connection.execute("DELETE FROM attempt WHERE id > 5")
    connection.close()
    journal.put_setting(killed, "directory", None)
    with pytest.raises(RunDirectoryError, match="knows 5 calls"):
        await resumed(killed)


async def test_somebody_who_removes_the_lock_of_a_stopped_run_can_go_on(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(100))
    two = BatchLimits(max_contacts=A_CALL)
    async with scripted([ACCEPT, refuse(403)]) as (api, client):
        await push(client, source, run_dir=tmp_path / "run", batch=two, concurrency=1)
        (tmp_path / "run" / "lock").unlink()
        report = await resume_ingest(client, tmp_path / "run")
    assert report.state == "finished"
    assert set(api.processed.values()) == {1}
    assert noted_calls(tmp_path / "run") == len(api.calls)


async def test_the_journal_itself_holds_what_a_snapshot_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is put into it with every snapshot, so that a copy is never far behind."""
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(400))
    monkeypatch.setattr("kore_campaign_async.ingest.run._SNAPSHOT_SECONDS", 0.0)
    behind: list[int] = []

    def answer(call: Call) -> Answer:
        alone = tmp_path / f"alone-{call.number}"
        shutil.copyfile(tmp_path / "run" / "journal.sqlite", alone)
        connection = sqlite3.connect(alone)
        behind.append(call.number - connection.execute("SELECT count(*) FROM attempt").fetchone()[0])
        connection.close()
        return ACCEPT

    async with scripted(answer) as (_, client):
        await push(client, source, run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=A_CALL), concurrency=1)
    assert len(behind) == 20
    assert max(behind) < 10  # without, it is as far behind as there were calls


def test_the_lock_is_not_followed(tmp_path: Path) -> None:
    """A link there could lead to somebody's file."""
    mine = tmp_path / "mine"
    mine.write_text("00000000000000000007\n")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "lock").symlink_to(mine)
    assert noted_calls(tmp_path / "run") is None
    with pytest.raises(RunDirectoryError):
        journal.Journal.create(tmp_path / "run", {})
    assert mine.read_text() == "00000000000000000007\n"


async def test_the_shell_says_so_and_following_it_works(killed: Path) -> None:
    copy = copied(killed)
    async with scripted(()) as (api, _):
        at_its_host(copy, api.url)
        said = await kore_campaign("resume", "copy", env=account_of(api), cwd=killed.parent)
        assert (said.status, said.out) == (2, "")
        assert "give --moved" in said.err
        said = await kore_campaign("resume", "copy", "--moved", env=account_of(api), cwd=killed.parent)
    assert said.status in {0, 3}, said.err
    assert not called(killed) & api.processed.keys()
