"""What is told of a run that was killed, however long ago it wrote its report."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign
from ingest.pushing import LIST, check_report, csv_of, number

from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.ingest.journal import read_known
from kore_campaign_async.ingest.records import State
from kore_campaign_async.sandbox import Sandbox

PUSH = ("push", "c.csv", "--list", LIST, "--run-dir", "run", "--rate", "none")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(rate=None, job_seconds=0.0) as served:
        served.make_list(LIST, allow_duplicates=True)
        yield served


def accepted(run: Path) -> int:
    return sum(one.last_row - one.first_row + 1 for one in read_known(run) if one.state is State.ACCEPTED)


async def until_called(run: Path, more_than: int) -> None:
    while not (run / "journal.sqlite").exists() or accepted(run) <= more_than:
        await asyncio.sleep(0.01)


async def test_a_run_that_was_killed_at_once_is_told_by_its_journal(sandbox: Sandbox, tmp_path: Path) -> None:
    csv_of(tmp_path / "c.csv", "phone", *map(number, range(20_000)))
    run = tmp_path / "run"

    async def begun(*arguments: str, more_than: int, sign: signal.Signals) -> None:
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, *arguments), env=environment(sandbox.environment), cwd=tmp_path, stdout=-3, stderr=-3
        )
        async with asyncio.timeout(60):
            await until_called(run, more_than)
        process.send_signal(sign)
        await process.wait()

    small = ("--max-contacts", "20", "--concurrency", "2")
    await begun(*PUSH, *small, more_than=100, sign=signal.SIGKILL)
    kept = orjson.loads((run / "report.json").read_bytes())
    journaled = accepted(run)
    killed = read_report(run)
    check_report(killed)
    assert killed.unended
    assert killed.counts.accepted == journaled > 100
    assert kept["counts"]["accepted"] <= journaled
    said = await kore_campaign("report", "run", cwd=tmp_path)
    assert f"{journaled:,}  accepted" in said.out

    await begun("resume", "run", *small, more_than=journaled, sign=signal.SIGTERM)
    stopped = read_report(run)
    check_report(stopped)
    assert stopped.stopped_because == "cancelled"
    assert stopped.counts.accepted == accepted(run) > journaled
