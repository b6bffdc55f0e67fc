"""A run that was stopped, killed or cut off goes on, and at its end every contact is in one state."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    IngestOptions,
    RunDirectoryError,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async.ingest.journal import FORMAT, JOURNAL, Journal
from kore_campaign_async.sandbox import Sandbox


def write(path: Path, numbers: range, bad_every: int = 7) -> Path:
    """Contacts of which every seventh is none, and every fifth comes again a lot later."""
    lines = [
        "nobody,x" if number % bad_every == 0 else f"+1415{number if number % 5 else number // 2:07},Ana {number}"
        for number in numbers
    ]
    path.write_text("phone,firstName\n" + "\n".join(lines) + "\n")
    return path


async def killed_push(sandbox: Sandbox, folder: Path, calls: int, *more: str) -> None:
    """Push, and kill it when the sandbox has got so many calls of addContacts."""
    began = sandbox.calls["addContacts"]
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, *more),
        env=environment(sandbox.environment),
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    while process.returncode is None and sandbox.calls["addContacts"] - began < calls:
        await asyncio.sleep(0.002)
    if process.returncode is None:
        process.kill()
    await process.communicate()


@pytest.mark.parametrize("allow_duplicates", [False, True])
@pytest.mark.parametrize("calls", [1, 5, 13])
async def test_killed_and_resumed_nobody_is_lost_and_nobody_is_called_twice(
    allow_duplicates: bool, calls: int, tmp_path: Path
) -> None:
    write(tmp_path / "c.csv", range(3000))
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        stored = sandbox.make_list("R", allow_duplicates=allow_duplicates)
        push = ("push", "c.csv", "--list", "R", "--run-dir", "run", "--max-contacts", "100", "--rate", "none")
        await killed_push(sandbox, tmp_path, calls, *push)
        await killed_push(sandbox, tmp_path, calls, "resume", "run")
        said = await kore_campaign("resume", "run", "--json", env=sandbox.environment, cwd=tmp_path)
        report = orjson.loads(said.out)
        counts = report["counts"]
        assert counts["read"] == 3000 == sum(counts.values()) - counts["read"]
        assert counts["rejected"] == 429
        assert counts["unsent"] == 0
        sent = counts["accepted"] + counts["uncertain"]
        await asyncio.sleep(0.05)
        if allow_duplicates:
            assert max(stored.records.values()) == 1
            assert counts["uncertain"] <= 2 * 8 * 100
            assert counts["accepted"] <= sum(stored.records.values()) <= sent
            assert said.status == (3 if counts["uncertain"] else 1)
        else:
            assert sum(stored.records.values()) == counts["accepted"] == sent
            assert said.status == 1
        again = await kore_campaign("resume", "run", "--json", env=sandbox.environment, cwd=tmp_path)
        if not counts["uncertain"]:
            assert orjson.loads(again.out) == report
        rows = [
            int(line.split(",")[0])
            for name in ("rejected", "left_out", "refused", "uncertain")
            for line in (tmp_path / "run" / f"{name}.csv").read_text().splitlines()[1:]
        ]
        assert len(rows) == len(set(rows)) == counts["read"] - counts["accepted"]


async def test_a_stopped_run_resumes_with_other_batch_limits(tmp_path: Path) -> None:
    """Ranges of rows decide, not numbers of batches; and a finished run resumes without a call."""
    source = write(tmp_path / "c.csv", range(1000))
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        stored = sandbox.make_list("R", allow_duplicates=True)
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:
            options = IngestOptions(batch=BatchLimits(max_contacts=50), concurrency=2, grace_seconds=5)
            run = asyncio.ensure_future(
                ingest_contacts(client, source, contact_list="R", run_dir=tmp_path / "run", options=options)
            )
            while sandbox.calls["addContacts"] < 4:
                await asyncio.sleep(0)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            before = orjson.loads((tmp_path / "run" / "report.json").read_bytes())
            assert before["state"] == "stopped"
            assert before["counts"]["uncertain"] == 0, "calls in flight had their grace"
            report = await resume_ingest(client, tmp_path / "run", max_contacts=70)
            calls = sandbox.calls.total()
            assert await resume_ingest(client, tmp_path / "run") == report
            assert sandbox.calls.total() == calls
        assert report.state == "finished"
        assert report.counts.read == 1000 == report.counts.settled
        assert report.counts.accepted == sum(stored.records.values()) == len(stored.records)
        assert report.calls.sent == sandbox.calls["addContacts"]


async def test_no_number_and_no_token_is_in_the_journal(tmp_path: Path) -> None:
    source = write(tmp_path / "c.csv", range(1, 300))
    async with Sandbox(rate=None) as sandbox:
        sandbox.make_list("R")
        async with CampaignClient.from_env(sandbox.environment) as client:
            await ingest_contacts(client, source, contact_list="R", run_dir=tmp_path / "run")
        secret = sandbox.client_secret.encode()
    kept = b"".join(path.read_bytes() for path in (tmp_path / "run").glob("journal*"))
    assert b"1415" not in kept
    assert b"Ana" not in kept
    assert secret not in kept
    assert b"eyJ" not in kept


async def changed(tmp_path: Path, what: str) -> str:
    """Stop a run early, change something, and return what a resume says."""
    source = write(tmp_path / "c.csv", range(1000))
    barred = tmp_path / "dnc.txt"
    barred.write_text("+14150000001\n")
    async with Sandbox(rate=None) as sandbox:
        sandbox.make_list("R")
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:
            options = IngestOptions(batch=BatchLimits(max_contacts=50), concurrency=1, suppress=(barred,))
            run = asyncio.ensure_future(
                ingest_contacts(client, source, contact_list="R", run_dir=tmp_path / "run", options=options)
            )
            while sandbox.calls["addContacts"] < 2:
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            calls = sandbox.calls["addContacts"]
            if what == "source":
                source.write_text(source.read_text() + "+14159999999,Zoë\n")
            elif what == "dnc":
                barred.write_text("+14150000002\n")
            elif what == "format":
                with sqlite3.connect(tmp_path / "run" / JOURNAL) as connection:
                    connection.execute(f"PRAGMA user_version = {FORMAT + 1}")
                connection.close()
            elif what == "journal":
                (tmp_path / "run" / JOURNAL).write_bytes(b"not a database, but long enough to look like one")
        account = sandbox.environment | ({"KORE_ACCOUNT_ID": "another"} if what == "account" else {})
        async with CampaignClient.from_env(account, rate=()) as client:
            with pytest.raises(RunDirectoryError) as caught:
                await resume_ingest(client, tmp_path / "run")
        assert sandbox.calls["addContacts"] == calls
    return str(caught.value)


async def test_a_changed_source_is_refused(tmp_path: Path) -> None:
    assert f"the source has changed: {tmp_path / 'c.csv'} (" in await changed(tmp_path, "source")


async def test_changed_do_not_contact_numbers_are_refused(tmp_path: Path) -> None:
    assert "the do-not-contact files hold other numbers" in await changed(tmp_path, "dnc")


async def test_a_journal_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    assert f"has format {FORMAT + 1}, and this version reads {FORMAT}" in await changed(tmp_path, "format")


async def test_a_journal_of_an_older_format_is_migrated(tmp_path: Path) -> None:
    """Format 1 knew neither `isolate` nor how files are read: its run goes on as it began, in the format of today."""
    source = write(tmp_path / "c.csv", range(1000))
    async with Sandbox(rate=None, job_seconds=0) as sandbox:
        stored = sandbox.make_list("R")
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:
            run = asyncio.ensure_future(ingest_contacts(client, source, contact_list="R", run_dir=tmp_path / "run"))
            while sandbox.calls["addContacts"] < 1:
                await asyncio.sleep(0)
            run.cancel()
            await asyncio.gather(run, return_exceptions=True)
            with contextlib.closing(sqlite3.connect(tmp_path / "run" / JOURNAL)) as connection, connection:
                (options,) = connection.execute("SELECT value FROM setting WHERE name = 'options'").fetchone()
                older = {name: value for name, value in orjson.loads(options).items() if name != "isolate"}
                assert len(older) == len(orjson.loads(options)) - 1
                connection.execute("UPDATE setting SET value = ? WHERE name = 'options'", (orjson.dumps(older),))
                (given,) = connection.execute("SELECT value FROM setting WHERE name = 'source'").fetchone()
                older = orjson.loads(given)
                del older["files"]
                connection.execute("UPDATE setting SET value = ? WHERE name = 'source'", (orjson.dumps(older),))
                connection.execute("PRAGMA user_version = 1")
                connection.execute("DELETE FROM setting WHERE name = 'digest'")
            report = await resume_ingest(client, tmp_path / "run")
            with contextlib.closing(sqlite3.connect(tmp_path / "run" / JOURNAL)) as connection:
                assert connection.execute("PRAGMA user_version").fetchone() == (FORMAT,)
        assert report.state == "finished"
        assert report.counts.accepted == sum(stored.records.values())


async def stopped_run(sandbox: Sandbox, client: CampaignClient, source: Path, run: Path, **given: Any) -> None:
    options = IngestOptions(batch=BatchLimits(max_contacts=50), concurrency=1, **given)
    pushing = asyncio.ensure_future(ingest_contacts(client, source, contact_list="R", run_dir=run, options=options))
    while sandbox.calls["addContacts"] < 2:
        await asyncio.sleep(0)
    pushing.cancel()
    await asyncio.gather(pushing, return_exceptions=True)


async def test_a_resume_reads_numbers_by_the_same_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And refuses to go on by the numbering plans of another version of their library."""
    source = tmp_path / "c.csv"
    source.write_text("phone\n" + "".join(f"(415) 555-{row:04}\n(015) 555-{row:04}\n" for row in range(500)))
    async with Sandbox(rate=None, job_seconds=0) as sandbox:
        stored = sandbox.make_list("R")
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:
            await stopped_run(sandbox, client, source, tmp_path / "run", region="US", strict=True)
            with monkeypatch.context() as patch:
                patch.setattr("phonenumbers.__version__", "9.9.99")
                with pytest.raises(RunDirectoryError, match="its numbering plans, judge contacts otherwise"):
                    await resume_ingest(client, tmp_path / "run")
            report = await resume_ingest(client, tmp_path / "run")
        assert (report.counts.accepted, report.counts.rejected) == (500, 500)
        assert stored.records.keys() == {f"1415555{row:04}" for row in range(500)}


async def test_a_journal_that_knows_no_region_is_resumed(tmp_path: Path) -> None:
    """Of a version that had none."""
    source = write(tmp_path / "c.csv", range(1000))
    async with Sandbox(rate=None, job_seconds=0) as sandbox:
        sandbox.make_list("R")
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:
            await stopped_run(sandbox, client, source, tmp_path / "run")
            with contextlib.closing(sqlite3.connect(tmp_path / "run" / JOURNAL)) as connection, connection:
                (options,) = connection.execute("SELECT value FROM setting WHERE name = 'options'").fetchone()
                new = {"region", "strict", "do_not_contact"}
                older = {name: value for name, value in orjson.loads(options).items() if name not in new}
                assert len(older) == len(orjson.loads(options)) - len(new)
                connection.execute("UPDATE setting SET value = ? WHERE name = 'options'", (orjson.dumps(older),))
                connection.execute("DELETE FROM setting WHERE name = 'digest'")
            report = await resume_ingest(client, tmp_path / "run")
    assert report.state == "finished"


async def test_a_torn_journal_is_refused(tmp_path: Path) -> None:
    assert "can't be read: file is not a database" in await changed(tmp_path, "journal")


async def test_another_account_is_refused(tmp_path: Path) -> None:
    assert "belongs to another account" in await changed(tmp_path, "account")


async def test_a_directory_with_a_run_names_resume_and_one_at_work_is_locked(tmp_path: Path) -> None:
    source = write(tmp_path / "c.csv", range(1000))
    async with Sandbox(rate=None) as sandbox:
        sandbox.make_list("R")
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:
            run = asyncio.ensure_future(ingest_contacts(client, source, contact_list="R", run_dir=tmp_path / "run"))
            while sandbox.calls["addContacts"] < 1:
                await asyncio.sleep(0)
            said = await kore_campaign("resume", "run", env=sandbox.environment, cwd=tmp_path)
            first = await run
            push = ("push", "c.csv", "--list", "R", "--run-dir", "run")
            again = await kore_campaign(*push, env=sandbox.environment, cwd=tmp_path)
    assert first.state == "finished"
    assert said.status in {0, 1, 2}  # locked while the run went on; the finished run's report after it
    assert again.status == 2
    assert "holds a run already: kore-campaign resume run goes on with it" in again.err


async def test_two_processes_never_share_a_directory(tmp_path: Path) -> None:
    source = write(tmp_path / "c.csv", range(2000))
    async with Sandbox(rate=None) as sandbox:
        sandbox.make_list("R")
        push = (str(source), "--list", "R", "--run-dir", "run", "--rate", "3/3600")
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, "push", *push),
            env=environment(sandbox.environment),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        while sandbox.calls["addContacts"] < 1:
            assert process.returncode is None
            await asyncio.sleep(0.01)
        said = await kore_campaign("resume", "run", env=sandbox.environment, cwd=tmp_path)
        shown = await kore_campaign("report", "run", "--json", cwd=tmp_path)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 4
    assert (said.status, said.err) == (
        2,
        "kore-campaign: another process is working in run; wait for its end\n",
    )
    assert orjson.loads(shown.out)["state"] == "stopped"


async def test_a_source_that_cannot_be_read_again_says_so(tmp_path: Path) -> None:
    async with Sandbox(rate=None) as sandbox:
        sandbox.make_list("R", allow_duplicates=True)
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:

            async def numbers():
                for number in range(1000):
                    yield f"+1415{number:07}"
                await asyncio.sleep(3600)

            run = asyncio.ensure_future(ingest_contacts(client, numbers(), contact_list="R", run_dir=tmp_path / "run"))
            while sandbox.calls["addContacts"] < 0 or not (tmp_path / "run" / JOURNAL).exists():
                await asyncio.sleep(0.01)
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            with pytest.raises(RunDirectoryError, match="can't be read again"):
                await resume_ingest(client, tmp_path / "run")


async def test_a_full_disk_sends_nothing_without_its_intent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "c.csv", range(1000))
    real, left = Journal._commit, 4

    def commit(self: Journal, entries: list) -> RunDirectoryError | None:
        nonlocal left
        left -= 1
        if left < 0:
            self._broken = self._broken or RunDirectoryError("the journal can't be written: disk full")
        return real(self, entries)

    monkeypatch.setattr(Journal, "_commit", commit)
    async with Sandbox(rate=None) as sandbox:
        sandbox.make_list("R")
        async with CampaignClient.from_env(sandbox.environment, rate=()) as client:
            options = IngestOptions(batch=BatchLimits(max_contacts=50), concurrency=1)
            report = await ingest_contacts(client, source, contact_list="R", run_dir=tmp_path / "run", options=options)
        assert report.state == "stopped"
        assert "disk full" in (report.stopped_because or "")
        assert sandbox.calls["addContacts"] == 2
        assert report.counts.accepted == 100
        assert report.counts.read == report.counts.settled
