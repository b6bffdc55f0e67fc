"""A timeout does not count before the event loop had its turn to read, also where the process was stopped meanwhile."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Final

import pytest
from cli.shell import KORE_CAMPAIGN, environment
from ingest.pushing import LIST, QUEUED, Answer, Call, account_of, csv_of, numbers, rows_in, scripted

from kore_campaign_async.deadline import deadline
from kore_campaign_async.ingest.breaker import BATCHES, Breaker
from kore_campaign_async.ingest.files import read_report

AT_ONCE: Final = 8


async def test_it_ends_what_takes_too_long() -> None:
    with pytest.raises(TimeoutError):
        async with deadline(0.01):
            await asyncio.sleep(60)


async def test_it_leaves_alone_what_is_done_in_time() -> None:
    async with deadline(0.01):
        pass
    await asyncio.sleep(0.05)


async def test_a_cancellation_stays_one() -> None:
    async def waits() -> None:
        async with deadline(60):
            await asyncio.sleep(60)

    task = asyncio.ensure_future(waits())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("size", [100, 1_000_000])
async def test_what_came_while_the_loop_stood_still_is_read(size: int) -> None:
    """Of a large answer a part at a time is read, each in a turn of the loop."""
    written = asyncio.Event()

    async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"a" * size)
        written.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        async with deadline(0.05):
            await written.wait()
            time.sleep(0.3)  # noqa: ASYNC251  a loop that stands still is what this is about
            assert len(await reader.read(-1)) == size
        writer.close()


async def test_who_blocks_the_loop_again_and_again_is_timed_out_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kore_campaign_async.deadline._READING_SECONDS", 0.01)

    async def blocking() -> None:
        while True:
            time.sleep(0.15)  # noqa: ASYNC251  the same
            await asyncio.sleep(0)

    blocked = asyncio.ensure_future(blocking())
    try:
        with pytest.raises(TimeoutError):
            async with deadline(0.01):
                await asyncio.sleep(60)
    finally:
        blocked.cancel()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals")
async def test_a_laptop_that_was_closed_over_its_calls_loses_none(tmp_path: Path) -> None:
    """All calls in flight are answered while the process is stopped for longer than their timeout."""
    csv_of(tmp_path / "c.csv", "phone", *numbers(AT_ONCE * 2))
    stopped, all_there = asyncio.Event(), asyncio.Event()

    def answer(call: Call) -> Answer:
        if call.number == AT_ONCE:
            all_there.set()
        return Answer(message=QUEUED, after=stopped if call.number <= AT_ONCE else None)

    async with scripted(answer, allow_duplicates=True) as (api, _):
        process = await asyncio.create_subprocess_exec(
            KORE_CAMPAIGN,
            *("push", "c.csv", "--list", LIST, "--run-dir", "run", "--rate", "none", "--max-contacts", "2"),
            *("--concurrency", str(AT_ONCE), "--timeout", "2"),
            env=environment(account_of(api)),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.wait_for(all_there.wait(), 60)
        os.kill(process.pid, signal.SIGSTOP)
        stopped.set()
        await asyncio.sleep(3)
        os.kill(process.pid, signal.SIGCONT)
        assert await asyncio.wait_for(process.wait(), 60) == 0
    assert api.processed == Counter(one.removeprefix("+") for one in numbers(AT_ONCE * 2))
    assert read_report(tmp_path / "run").counts.accepted == AT_ONCE * 2
    assert not rows_in(tmp_path / "run", "uncertain.csv")


# Failures of one moment


def test_what_one_event_does_to_calls_in_flight_is_one_failure() -> None:
    breaker = Breaker()
    places = [breaker.sending() for _ in range(AT_ONCE)]
    assert not any(breaker.failed(place, "lost", 100.0 + place / 1000) for place in places)


def test_what_was_sent_behind_it_counts() -> None:
    """A server that hangs up on every call stops a run after as many moments as batches else."""
    breaker = Breaker()
    sent = 0
    for moment in range(BATCHES):
        places = [breaker.sending() for _ in range(AT_ONCE)]
        sent += len(places)
        stops = [breaker.failed(place, "lost", 100.0 + moment / 1000) for place in places]
        assert any(stops) == (moment == BATCHES - 1)
    assert sent == BATCHES * AT_ONCE


def test_slow_failures_of_calls_that_were_in_flight_together_count_each() -> None:
    breaker = Breaker()
    places = [breaker.sending() for _ in range(BATCHES)]
    assert [breaker.failed(place, "lost", 100.0 + place) for place in places] == [False] * (BATCHES - 1) + [True]


def test_one_after_another_five_are_enough() -> None:
    breaker = Breaker()
    assert [breaker.failed(breaker.sending(), "lost", 100.0) for _ in range(BATCHES)] == [False] * (BATCHES - 1) + [
        True
    ]
