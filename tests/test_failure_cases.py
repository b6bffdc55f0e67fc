"""The 25 cases that a demanding reviewer runs, over real sockets: what the server got, and what every contact ended in.

A list that keeps duplicates ("keeps") calls a doubled contact twice, one that drops them ("drops") does not: where a
case tells them apart, each of its tests runs on both. Contacts go in batches of two, one call at a time, unless a test
says otherwise.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import signal
import socket
import sqlite3
import sys
import time
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import orjson
import pytest
from aiohttp import web
from attrs import evolve, frozen
from cli.shell import KORE_CAMPAIGN, Said, environment, kore_campaign
from fakes import Connection, FakeTime, answering, enveloped, eventually, in_turn, raw_server, reply
from ingest.pushing import (
    ACCEPT,
    HANG,
    LIST,
    QUICK,
    RATE_LIMIT,
    Answer,
    Call,
    ScriptedApi,
    account_of,
    check_report,
    check_run_dir,
    client_for,
    csv_of,
    number,
    numbers,
    outcome_files,
    push,
    refuse,
    rows_in,
    scripted,
)

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    Contact,
    ContactListError,
    IngestOptions,
    IngestReport,
    InvalidRequestError,
    JwtCredentials,
    RateLimit,
    RetryPolicy,
    RunDirectoryError,
    Timeouts,
    UnauthorizedError,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async.sandbox import Fault, Sandbox

TWO: Final = BatchLimits(max_contacts=2)
LARGE: Final = 20 << 20
PORTAL: Final = "<!DOCTYPE html><html><body><h1>Welcome to the hotel's network</h1></body></html>"

on_both_kinds_of_list = pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
stored_or_not = pytest.mark.parametrize("stored", ["", "-stored"], ids=["not stored", "stored"])


# A server that fails, a push into it, and what both say then


@asynccontextmanager
async def failing(
    *faults: Fault, keeps: bool, max_body_bytes: int = 16 << 20, **settings: Any
) -> AsyncIterator[tuple[Sandbox, CampaignClient]]:
    """A sandbox with the list Renewals, and a client of it that waits a millisecond where it waits."""
    async with (
        Sandbox(rate=None, job_seconds=3600.0, faults=faults, max_body_bytes=max_body_bytes) as sandbox,
        CampaignClient.from_env(sandbox.environment, **{"rate": (), "retry": QUICK, **settings}) as client,
    ):
        sandbox.make_list(LIST, allow_duplicates=keeps)
        yield sandbox, client


async def stored_times(sandbox: Sandbox, count: int) -> list[int]:
    """How often each contact of a source is stored, once all jobs are done."""
    await sandbox.settle()
    return [sandbox.stored_times(one) for one in numbers(count)]


def source_of(folder: Path, count: int = 6) -> Path:
    """A file of so many contacts."""
    return csv_of(folder / "c.csv", "phone", *numbers(count))


def states(report: IngestReport | Mapping[str, Any]) -> dict[str, int]:
    """The states that hold contacts."""
    told = report if isinstance(report, Mapping) else report.to_dict()
    return {name: count for name, count in told["counts"].items() if name != "read" and count}


async def pushed_into_doubt(fault: Fault, folder: Path, *, keeps: bool, **settings: Any) -> set[str]:
    """Push three batches, of which the second (and of its repeats the next) meets a fault that proves nothing.

    A list that keeps duplicates gets one request of it, and its contacts are uncertain; for one that drops them it is
    repeated, and all are accepted. Whatever the server did, no contact is stored twice. The reasons are returned.
    """
    there = int(fault.stores)
    async with failing(evolve(fault, every=2), keeps=keeps, **settings) as (sandbox, client):
        report = await push(client, source_of(folder), run_dir=folder / "run", batch=TWO, concurrency=1)
        times = await stored_times(sandbox, 6)
        requests = sandbox.calls["addContacts"]
    uncertain = rows_in(folder / "run", "uncertain.csv")
    if keeps:
        assert states(report) == {"accepted": 4, "uncertain": 2}
        assert (report.state, report.exit_status) == ("finished", 3)
        assert (requests, report.calls.sent, report.calls.retried) == (3, 3, 0)
        assert times == [1, 1, there, there, 1, 1]
        assert uncertain.keys() == {3, 4}
    else:
        assert states(report) == {"accepted": 6}
        assert (report.state, report.exit_status) == ("finished", 0)
        assert (requests, report.calls.sent, report.calls.retried) == (5, 5, 2)
        assert times == [1] * 6
    assert rows_in(folder / "run", "refused.csv") == {}
    return set(uncertain.values())


def report_in(run_dir: Path) -> IngestReport:
    """The report of a run directory, whose other files are too large to be read for nothing."""
    report = IngestReport.from_dict(orjson.loads((run_dir / "report.json").read_bytes()))
    check_report(report)
    return report


def kept_by(run_dir: Path) -> dict[str, Any]:
    """What a run's directory tells: the bytes of its files, and all rows of its journal."""
    told: dict[str, Any] = {
        path.name: path.read_bytes() for path in run_dir.iterdir() if not path.name.startswith("journal.sqlite")
    }
    with closing(sqlite3.connect(f"{(run_dir / 'journal.sqlite').as_uri()}?mode=ro", uri=True)) as connection:
        told["setting"] = connection.execute("SELECT * FROM setting").fetchall()
        told["attempt"] = connection.execute("SELECT * FROM attempt").fetchall()
    return told


# Processes


@frozen
class Process:
    """A `kore-campaign` that was started."""

    running: asyncio.subprocess.Process

    async def end(self) -> Said:
        """Wait for its end."""
        out, err = await self.running.communicate()
        assert self.running.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Said(self.running.returncode, out.decode(), err.decode())


async def start(*arguments: str, env: Mapping[str, str], folder: Path, program: str | None = None) -> Process:
    """Start `kore-campaign`, or a program around its `main`."""
    command = (KORE_CAMPAIGN,) if program is None else (sys.executable, "-c", program)
    return Process(
        await asyncio.create_subprocess_exec(
            *command,
            *arguments,
            env=environment(env),
            cwd=folder,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
    )


def push_of(*more: str) -> tuple[str, ...]:
    """The arguments of a push of `c.csv` with the run directory `run`."""
    one_by_one = ("--max-contacts", "2", "--concurrency", "1", "--rate", "none")
    return ("push", "c.csv", "--list", LIST, "--run-dir", "run", *one_by_one, "--json", *more)


# 1 and 2: nothing was sent


@on_both_kinds_of_list
async def test_case_01_refused_twice_then_up(keeps: bool, tmp_path: Path) -> None:
    """Two refused connections in front of a call cost two repeats: one copy of every contact arrives."""
    waits = 0

    async def come_back_at_the_second(_seconds: float) -> None:
        nonlocal waits
        waits += 1
        if waits == 2:
            port = int(api.url.rpartition(":")[2])
            api._server = await asyncio.start_server(api._accepted, "127.0.0.1", port, limit=1 << 16)

    async def contacts() -> AsyncIterator[str]:
        api.stop_listening()  # the list has been looked up
        for one in numbers(4):
            yield one

    async with scripted(allow_duplicates=keeps, sleep=come_back_at_the_second) as (api, client):
        report = await push(client, contacts(), run_dir=tmp_path / "run", batch=TWO, concurrency=1)
        assert [call.numbers for call in api.calls] == [
            ("14155550001", "14155550002"),
            ("14155550003", "14155550004"),
        ]
    assert states(report) == {"accepted": 4}
    assert (report.state, report.exit_status) == ("finished", 0)
    assert (report.calls.sent, report.calls.retried, waits) == (2, 2, 2)


class OnlyConnection:
    """Takes the only connection of a client for a call that never ends, and gives it back when it is told to."""

    def __init__(self, client: CampaignClient) -> None:
        self._client = client
        self._wanted = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self._task = asyncio.create_task(self._call())
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.give_back()
        self._server.close()

    async def _call(self) -> None:
        await self._wanted.wait()
        url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        async with self._client._transport._open().get(url, timeout=aiohttp.ClientTimeout(total=None)):
            pass

    async def take(self) -> None:
        self._wanted.set()
        self._connection, _ = await asyncio.get_running_loop().sock_accept(self._server)

    async def give_back(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._connection.close()


@pytest.mark.parametrize(("keeps", "freed"), [(True, True), (False, True), (True, False)])
async def test_case_02_a_pool_of_one_and_total_over(freed: bool, keeps: bool, tmp_path: Path) -> None:
    """A call whose whole time went by in the queue for a connection was not sent: it is tried again on any list.

    If no connection comes before the deadline, its contacts are unsent and the run stops.
    """
    waits = 0

    async def free_it(_seconds: float) -> None:
        nonlocal waits
        waits += 1
        await only.give_back()

    async def contacts() -> AsyncIterator[str]:
        await only.take()  # the list has been looked up
        for one in numbers(2):
            yield one

    async with (
        scripted(
            allow_duplicates=keeps,
            max_connections=1,
            timeouts=Timeouts(total_seconds=0.25),
            retry=evolve(QUICK, deadline_seconds=30.0 if freed else 0.2),
            sleep=free_it,
        ) as (api, client),
        OnlyConnection(client) as only,
    ):
        report = await push(client, contacts(), run_dir=tmp_path / "run", batch=TWO, concurrency=1)
        assert api.received == (dict.fromkeys(("14155550001", "14155550002"), 1) if freed else {})
    if freed:
        assert (states(report), report.exit_status) == ({"accepted": 2}, 0)
        assert (report.calls.sent, report.calls.retried, waits) == (1, 1, 1)
    else:
        assert (states(report), report.exit_status) == ({"unsent": 2}, 4)
        assert (report.calls.sent, report.calls.retried, waits) == (0, 0, 0)
        assert "no connection within 0.25 s" in (report.stopped_because or "")


# 3 to 8: it went out, and no usable answer came


@on_both_kinds_of_list
@stored_or_not
async def test_case_03_the_server_reads_and_closes(stored: str, keeps: bool, tmp_path: Path) -> None:
    """A connection that is closed behind the request proves nothing: uncertain after one request, or repeated."""
    reasons = await pushed_into_doubt(Fault(f"close{stored}"), tmp_path, keeps=keeps)
    assert reasons == ({"the server closed the connection"} if keeps else set())


@on_both_kinds_of_list
@stored_or_not
async def test_case_04_the_server_reads_and_resets(stored: str, keeps: bool, tmp_path: Path) -> None:
    """A reset behind the request is the same as a close."""
    reasons = await pushed_into_doubt(Fault(f"reset{stored}"), tmp_path, keeps=keeps)
    assert reasons == ({"the connection failed: Connection reset by peer"} if keeps else set())


@on_both_kinds_of_list
@stored_or_not
async def test_case_05_a_garbage_status_is_no_refusal(stored: str, keeps: bool, tmp_path: Path) -> None:
    """A status line that is none says nothing, though aiohttp calls it a 400: uncertain, not refused."""
    reasons = await pushed_into_doubt(Fault(f"garbage{stored}"), tmp_path, keeps=keeps)
    assert reasons == ({"the reply is not HTTP as it should be"} if keeps else set())


@on_both_kinds_of_list
@stored_or_not
async def test_case_06_a_20_kb_header_is_no_refusal(stored: str, keeps: bool, tmp_path: Path) -> None:
    """A header beyond what aiohttp reads is as little a refusal."""
    reasons = await pushed_into_doubt(Fault(f"big-header{stored}"), tmp_path, keeps=keeps)
    assert reasons == ({"the reply is not HTTP as it should be"} if keeps else set())


@on_both_kinds_of_list
@stored_or_not
@pytest.mark.parametrize("kind", ["truncate", "bad-gzip"])
async def test_case_07_a_truncated_200(kind: str, stored: str, keeps: bool, tmp_path: Path) -> None:
    """A 200 whose body is cut off or can't be unpacked is no success; its status is told to a person."""
    reasons = await pushed_into_doubt(Fault(f"{kind}{stored}"), tmp_path, keeps=keeps)
    said = "the reply was cut off or can't be unpacked; the answer began with status 200"
    assert reasons == ({said} if keeps else set())


@on_both_kinds_of_list
@stored_or_not
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("empty", "200: the reply is not a JSON object"),
        ("null", "200: the reply is not a JSON object (null)"),
        ("array", "200: the reply is not a JSON object ([])"),
        ("html", f"200: the reply is a page of HTML ({PORTAL})"),
        ("other-words", "200: the reply does not say that the contacts were queued (Done)"),
    ],
)
async def test_case_08_a_200_that_says_nothing(
    kind: str, reason: str, stored: str, keeps: bool, tmp_path: Path
) -> None:
    """A 200 that does not say "in progress" is no success, and what it says instead is kept."""
    reasons = await pushed_into_doubt(Fault(f"{kind}{stored}"), tmp_path, keeps=keeps)
    assert reasons == ({reason} if keeps else set())


# 9 to 11: redirects, and replies without an end


@on_both_kinds_of_list
@pytest.mark.parametrize("kind", ["302", "302-stored", "307"])
async def test_case_09_a_redirect_elsewhere(kind: str, keeps: bool, tmp_path: Path) -> None:
    """Nobody goes where a redirect leads, with a body or without; a 302 proves nothing, a 307 is a refusal."""
    async with raw_server(answering()) as elsewhere:
        fault = Fault(kind, 2, location=f"{elsewhere.url}/x")
        if kind == "307":
            async with failing(fault, keeps=keeps) as (sandbox, client):
                report = await push(client, source_of(tmp_path), run_dir=tmp_path / "run", batch=TWO, concurrency=1)
                assert await stored_times(sandbox, 6) == [1, 1, 0, 0, 1, 1]
                assert sandbox.calls["addContacts"] == report.calls.sent == 3
            said = "307: the server redirects, which is never followed"
            assert rows_in(tmp_path / "run", "refused.csv") == {3: said, 4: said}
            assert (states(report), report.exit_status) == ({"accepted": 4, "refused": 2}, 1)
        else:
            reasons = await pushed_into_doubt(fault, tmp_path, keeps=keeps)
            assert reasons == ({"302: the server redirects, which is never followed"} if keeps else set())
        assert (elsewhere.connections, elsewhere.requests) == (0, [])


@on_both_kinds_of_list
@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("bomb-stored", "the reply is larger than its bound; the answer began with status 200"),
        ("endless-stored", "the reply is larger than its bound; the answer began with status 200"),
        ("drip-stored", "no whole answer within 0.3 s"),
    ],
)
async def test_case_10_replies_that_would_not_end(kind: str, reason: str, keeps: bool, tmp_path: Path) -> None:
    """A reply is read up to a bound of bytes, counted after it is unpacked, and of time."""
    tracemalloc.start()
    try:
        async with asyncio.timeout(15.0):
            fault = Fault(kind, pause_seconds=0.05)
            limits = Timeouts(total_seconds=0.3 if kind == "drip-stored" else 10.0)
            reasons = await pushed_into_doubt(fault, tmp_path, keeps=keeps, timeouts=limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert reasons == ({reason} if keeps else set())
    assert peak < 8 << 20


def large_contacts(count: int, size: int, start: int = 1) -> list[dict[str, str]]:
    """Contacts that are together of about this size as JSON."""
    columns = [f"c{column}" for column in range(140)]
    value = "x" * (size // count // len(columns) - 8)
    return [{"phone": one} | dict.fromkeys(columns, value) for one in numbers(count, start)]


@on_both_kinds_of_list
async def test_case_11_a_peer_that_never_reads(keeps: bool, tmp_path: Path) -> None:
    """A body that is stuck half-way ends with the attempt's time, and counts as sent: a part of it was."""
    contacts = [*numbers(500), *large_contacts(500, LARGE, 501)]
    # Where it is repeated there must be time for all of the 20 MB.
    timeouts = Timeouts(total_seconds=0.3 if keeps else 0.9)
    fault = Fault("stop-reading", 2)
    async with failing(fault, keeps=keeps, max_body_bytes=2 * LARGE, timeouts=timeouts) as (sandbox, client):
        limits = BatchLimits(max_contacts=500, max_bytes=2 * LARGE)
        async with asyncio.timeout(15.0):
            report = await push(client, contacts, batch=limits, concurrency=1)
        times = await stored_times(sandbox, 1000)
        requests = sandbox.calls["addContacts"]
    if keeps:
        assert (states(report), report.exit_status) == ({"accepted": 500, "uncertain": 500}, 3)
        assert times == [1] * 500 + [0] * 500
        assert requests == report.calls.sent == 2
    else:
        assert (states(report), report.exit_status) == ({"accepted": 1000}, 0)
        assert times == [1] * 1000
        assert requests == report.calls.sent == 3


# 12 and 13: waiting, and not hammering


@on_both_kinds_of_list
@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("7", 7.0),
        ("Wed, 21 Oct 2015 07:28:09 GMT", 9.0),
        ("1000000000", 300.0),
        ("1e9", 60.0),
        ("nan", 60.0),
        ("inf", 60.0),
        ("-5", 60.0),
        ("٣".encode().decode("latin-1"), 60.0),
    ],
    ids=["7", "a date", "1000000000", "1e9", "nan", "inf", "-5", "an Arabic digit"],
)
async def test_case_12_retry_after(asked: str, waited: float, keeps: bool) -> None:
    """Seconds and dates are honoured up to 300 s; what is not sane waits for the account's window, of 60 s.

    The throttled call is then made once more, on any list, and no contact is lost.
    """
    time_ = FakeTime()
    headers = ("Date: Wed, 21 Oct 2015 07:28:00 GMT", f"Retry-After: {asked}")
    throttle = Answer(429, RATE_LIMIT, processes=False, headers=headers)
    async with scripted(
        [ACCEPT, throttle],
        allow_duplicates=keeps,
        rate=(RateLimit(60, 60.0),),
        retry=RetryPolicy(),
        clock=time_.clock,
        sleep=time_.sleep,
    ) as (api, client):
        report = await push(client, numbers(4), batch=TWO, concurrency=1)
        assert sum(time_.slept) == waited
        assert [call.numbers for call in api.calls[1:]] == [("14155550003", "14155550004")] * 2
        assert api.processed == Counter(one.removeprefix("+") for one in numbers(4))
    assert (states(report), report.exit_status) == ({"accepted": 4}, 0)
    assert (report.calls.sent, report.calls.retried, report.calls.throttled) == (3, 1, 1)


@on_both_kinds_of_list
@pytest.mark.parametrize("concurrency", [1, 8])
async def test_case_13_an_outage_of_503s(concurrency: int, keeps: bool, tmp_path: Path) -> None:
    """Five batches that fail end the run, with at most ten repeats between them; afterwards a resume goes on.

    What a 503 left in doubt is sent again only where duplicates are dropped.
    """
    policy = evolve(QUICK, attempts=5)
    source = source_of(tmp_path, 60)
    async with failing(Fault("503"), keeps=keeps, retry=policy) as (sandbox, client):
        report = await push(client, source, run_dir=tmp_path / "run", batch=TWO, concurrency=concurrency)
        attempts = sandbox.calls["addContacts"]
        doubtful = report.counts.uncertain
        assert states(report) == {"uncertain": doubtful, "unsent": 60 - doubtful}
        assert (report.state, report.exit_status) == ("stopped", 4)
        assert "5 batches ended the same way" in (report.stopped_because or "")
        assert report.calls.retried == (0 if keeps else 10)
        assert attempts == report.calls.sent == doubtful // 2 + report.calls.retried
        # Calls that were in flight when the fifth batch failed come to their end.
        assert 5 <= doubtful // 2 <= 4 + concurrency

        sandbox.faults = ()
        after = await resume_ingest(client, tmp_path / "run")
        assert check_run_dir(tmp_path / "run") == after
        times = await stored_times(sandbox, 60)
    if keeps:
        assert (states(after), after.exit_status) == ({"accepted": 60 - doubtful, "uncertain": doubtful}, 3)
        assert [*rows_in(tmp_path / "run", "uncertain.csv")] == [row for row, one in enumerate(times, 1) if one == 0]
        assert sum(times) == 60 - doubtful
    else:
        assert (states(after), after.exit_status) == ({"accepted": 60}, 0)
        assert times == [1] * 60


async def test_case_13_half_of_the_calls_fail(tmp_path: Path) -> None:
    """Where there are good answers too, repeats stay within a fifth of the calls: 20 of 102, and no more.

    What could not be repeated is uncertain, and a resume sends it again.
    """
    source = source_of(tmp_path, 200)
    async with failing(Fault("503", 2), keeps=False, retry=evolve(QUICK, attempts=5)) as (sandbox, client):
        report = await push(client, source, run_dir=tmp_path / "run", batch=TWO, concurrency=1)
        assert states(report) == {"accepted": 120, "uncertain": 80}
        assert report.calls.retried == 20
        assert sandbox.calls["addContacts"] == report.calls.sent == 120
        sandbox.faults = ()
        after = await resume_ingest(client, tmp_path / "run")
        assert check_run_dir(tmp_path / "run") == after
        assert states(after) == {"accepted": 200}
        assert await stored_times(sandbox, 200) == [1] * 200


# 14: too large


@on_both_kinds_of_list
async def test_case_14_too_large(keeps: bool, tmp_path: Path) -> None:
    """A 413 splits the batch until the parts fit; a contact that gets one on its own is refused, once and for all.

    One that is larger than `max_bytes` by itself is rejected and never sent. The others go in, each once.
    """
    contacts = [{"phone": one} for one in numbers(8)]
    contacts[2] |= {"note": "x" * 290}
    contacts[5] |= {f"note{column}": "x" * 300 for column in range(3)}
    async with scripted(allow_duplicates=keeps, max_body_bytes=300) as (api, client):
        limits = BatchLimits(max_bytes=900)
        report = await push(client, contacts, run_dir=tmp_path / "run", batch=limits, concurrency=1)
        assert [[int(one[-1]) for one in call.numbers] for call in api.calls] == [
            [1, 2, 3, 4, 5, 7, 8],
            [1, 2, 3],
            [1],
            [2, 3],
            [2],
            [3],
            [4, 5, 7, 8],
        ]
        assert api.processed == Counter(number(index).removeprefix("+") for index in (1, 2, 4, 5, 7, 8))
    assert rows_in(tmp_path / "run", "refused.csv") == {
        3: "413: the body is too large for the server (request entity too large)"
    }
    assert rows_in(tmp_path / "run", "rejected.csv") == {6: "too_large"}
    assert (states(report), report.exit_status) == ({"accepted": 6, "refused": 1, "rejected": 1}, 1)
    assert (report.calls.sent, report.calls.retried) == (7, 0)


# 15 and 16: stopped from outside


@on_both_kinds_of_list
async def test_case_15_cancelled_in_the_middle_of_20_mb(keeps: bool, tmp_path: Path) -> None:
    """A call that is cancelled while its body goes out ends at once, and its contacts are uncertain."""
    contacts = large_contacts(500, LARGE)
    source = csv_of(tmp_path / "c.csv", ",".join(contacts[0]), *(",".join(contact.values()) for contact in contacts))
    limits = BatchLimits(max_bytes=2 * LARGE)
    await cancelled_and_resumed(Fault("stop-reading"), source, tmp_path / "run", limits, keeps=keeps)


@on_both_kinds_of_list
async def test_case_15_cancelled_when_all_is_there(keeps: bool, tmp_path: Path) -> None:
    """The same where the server has read and stored everything: to give up waiting does not unsend."""
    source = source_of(tmp_path, 500)
    await cancelled_and_resumed(Fault("hang-stored"), source, tmp_path / "run", BatchLimits(), keeps=keeps)


async def cancelled_and_resumed(fault: Fault, source: Path, run_dir: Path, limits: BatchLimits, *, keeps: bool) -> None:
    """Cancel a push of 500 contacts in its only call; a resume sends them again only where duplicates are dropped."""
    there = int(fault.stores)
    options = IngestOptions(batch=limits, grace_seconds=0.0)
    async with failing(fault, keeps=keeps, max_body_bytes=2 * LARGE) as (sandbox, client):
        run = asyncio.create_task(ingest_contacts(client, source, contact_list=LIST, run_dir=run_dir, options=options))
        await eventually(lambda: sandbox.faults_shown[fault.kind] == 1, within=15.0)
        run.cancel()
        async with asyncio.timeout(10.0):
            await asyncio.gather(run, return_exceptions=True)
        assert run.cancelled()
        before = report_in(run_dir)
        assert (states(before), before.calls.sent) == ({"uncertain": 500}, 1)
        assert await stored_times(sandbox, 500) == [there] * 500

        sandbox.faults = ()
        after = await resume_ingest(client, run_dir)
        assert report_in(run_dir) == after
        assert await stored_times(sandbox, 500) == [there if keeps else 1] * 500
        assert sandbox.calls["addContacts"] == after.calls.sent == (1 if keeps else 2)
    assert states(after) == ({"uncertain": 500} if keeps else {"accepted": 500})
    assert after.exit_status == (3 if keeps else 0)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
async def test_case_16_a_signal_drains(stop: signal.Signals, tmp_path: Path) -> None:
    """After a SIGINT or a SIGTERM no call goes out, the one in flight comes to its end, and the report is whole.

    A resume sends the rest, and every contact was received once.
    """
    source_of(tmp_path)
    answers = asyncio.Event()
    async with ScriptedApi([ACCEPT, Answer(after=answers)]) as api:
        process = await start(*push_of(), env=account_of(api), folder=tmp_path)
        await eventually(lambda: len(api.calls) == 2, within=15.0)
        process.running.send_signal(stop)
        await asyncio.sleep(0.1)
        answers.set()
        said = await process.end()
        report = orjson.loads(said.out)
        assert (said.status, states(report)) == (4, {"accepted": 4, "unsent": 2})
        assert (report["state"], report["stopped_because"]) == ("stopped", "cancelled")
        assert check_run_dir(tmp_path / "run").to_dict() == report
        assert len(api.calls) == report["calls"]["sent"] == 2

        async with client_for(api.url) as client:
            after = await resume_ingest(client, tmp_path / "run")
        assert (states(after), after.exit_status) == ({"accepted": 6}, 0)
        assert api.received == Counter(one.removeprefix("+") for one in numbers(6))


async def test_case_16_a_second_signal_cuts_off(tmp_path: Path) -> None:
    """It does not wait for the grace: what was in flight is uncertain, and the report is as whole.

    A resume sends it again only where duplicates are dropped.
    """
    async with asyncio.TaskGroup() as group:
        for keeps in (True, False):
            group.create_task(cut_off_and_resumed(tmp_path / str(keeps), keeps=keeps))


async def cut_off_and_resumed(folder: Path, *, keeps: bool) -> None:
    folder.mkdir()
    source_of(folder)
    async with ScriptedApi([ACCEPT, HANG], allow_duplicates=keeps) as api:
        process = await start(*push_of("--grace", "60"), env=account_of(api), folder=folder)
        await eventually(lambda: len(api.calls) == 2, within=15.0)
        process.running.send_signal(signal.SIGINT)
        await asyncio.sleep(0.1)
        process.running.send_signal(signal.SIGINT)
        async with asyncio.timeout(15.0):
            said = await process.end()
        assert (said.status, states(orjson.loads(said.out))) == (4, {"accepted": 2, "uncertain": 2, "unsent": 2})
        assert check_run_dir(folder / "run").to_dict() == orjson.loads(said.out)

        said = await kore_campaign("resume", "run", "--json", env=account_of(api), cwd=folder)
        counts = states(orjson.loads(said.out))
        assert (said.status, counts) == ((3, {"accepted": 4, "uncertain": 2}) if keeps else (0, {"accepted": 6}))
        received = [api.received[one.removeprefix("+")] for one in numbers(6)]
        assert received == ([1, 1, 1, 1, 1, 1] if keeps else [1, 1, 2, 2, 1, 1])


# 17: killed

KILLED: Final = """
import os, signal, sys
from pathlib import Path
from kore_campaign_async.cli.main import main
from kore_campaign_async.ingest.journal import Journal

step = sys.argv.pop(1)
intend, settle, rename = Journal.intend, Journal.settle, Path.rename


def reached(here):
    if here == step:
        os.kill(os.getpid(), signal.SIGKILL)


async def intend_and_die(self, *args):
    number = await intend(self, *args)
    if number == 2:
        reached("intended")
    return number


async def settle_and_die(self, number, *args):
    if number == 2:
        reached("answered")
    await settle(self, number, *args)
    if number == 2:
        reached("settled")


def rename_and_die(self, target):
    reached("written")
    rename(self, target)
    reached("in place")


Journal.intend, Journal.settle, Path.rename = intend_and_die, settle_and_die, rename_and_die
main()
"""


@frozen
class Killed:
    """A push of three batches that was killed while it was busy with the second one, or before it began.

    Attributes:
        calls: how many the server had got by then.
        in_all: how many it had got after the resume, of a list that keeps duplicates and of one that drops them.
        doubtful: whether nobody can know what became of the second batch.
    """

    calls: int
    in_all: tuple[int, int] = (3, 3)
    doubtful: bool = False


STEPS: Final = {
    "intended": Killed(1, (2, 3), doubtful=True),
    "answered": Killed(2, (3, 4), doubtful=True),
    "settled": Killed(2),
    "written": Killed(0),
    "in place": Killed(0),
}


@pytest.mark.parametrize("step", STEPS)
async def test_case_17_killed_at_a_step_of_the_journal(step: str, tmp_path: Path) -> None:
    """SIGKILL before and after each write of the journal: nobody is lost, and an intent is not sent again blindly.

    Where the journal was not in place there is no run yet, and a push into the same directory makes one.
    """
    async with asyncio.TaskGroup() as group:
        for keeps in (True, False):
            group.create_task(killed_and_resumed(step, STEPS[step], tmp_path / str(keeps), keeps=keeps))


async def killed_and_resumed(step: str, killed: Killed, folder: Path, *, keeps: bool) -> None:
    folder.mkdir()
    source_of(folder)
    async with failing(keeps=keeps) as (sandbox, _):
        process = await start(step, *push_of(), env=sandbox.environment, folder=folder, program=KILLED)
        said = await process.end()
        assert (said.status, said.out) == (-signal.SIGKILL, "")
        assert sandbox.calls["addContacts"] == killed.calls

        again = ("resume", "run", "--json")
        if step == "written":
            said = await kore_campaign(*again, env=sandbox.environment, cwd=folder)
            assert (said.status, "holds no run that could be resumed" in said.err) == (2, True)
            again = push_of()
        said = await kore_campaign(*again, env=sandbox.environment, cwd=folder)
        report = check_run_dir(folder / "run")
        assert report.to_dict() == orjson.loads(said.out)
        times = await stored_times(sandbox, 6)
        assert sandbox.calls["addContacts"] == killed.in_all[0 if keeps else 1]
    if killed.doubtful and keeps:
        assert (said.status, states(report)) == (3, {"accepted": 4, "uncertain": 2})
        assert rows_in(folder / "run", "uncertain.csv") == dict.fromkeys(
            (3, 4), "the run ended while the call was in flight"
        )
        there = int(step == "answered")
        assert times == [1, 1, there, there, 1, 1]
    else:
        assert (said.status, states(report)) == (0, {"accepted": 6})
        assert times == [1] * 6


# 18 and 19: the run directory


async def test_case_18_two_processes_and_one_run_directory(tmp_path: Path) -> None:
    """While one process works in a run directory, a push and a resume by others are refused, and send nothing.

    The first goes on as if nothing had been.
    """
    source_of(tmp_path)
    answers = asyncio.Event()
    async with ScriptedApi([ACCEPT, Answer(after=answers)]) as api:
        first = await start(*push_of(), env=account_of(api), folder=tmp_path)
        await eventually(lambda: len(api.calls) == 2, within=15.0)
        pushed, resumed = await asyncio.gather(
            kore_campaign(*push_of(), env=account_of(api), cwd=tmp_path),
            kore_campaign("resume", "run", env=account_of(api), cwd=tmp_path),
        )
        assert len(api.calls) == 2
        answers.set()
        said = await first.end()
    assert (pushed.status, pushed.out) == (2, "")
    assert "run holds a run already: kore-campaign resume run goes on with it" in pushed.err
    assert (resumed.status, resumed.out, resumed.err) == (
        2,
        "",
        "kore-campaign: another process is working in run; wait for its end\n",
    )
    assert (said.status, states(orjson.loads(said.out))) == (0, {"accepted": 6})
    assert check_run_dir(tmp_path / "run").calls.sent == 3
    assert api.received == Counter(one.removeprefix("+") for one in numbers(6))


async def test_case_18_two_processes_that_start_at_once(tmp_path: Path) -> None:
    """Of two pushes into one new directory one is done and the other refused: each contact is received once."""
    source_of(tmp_path)
    async with ScriptedApi() as api:
        pushes = (kore_campaign(*push_of(), env=account_of(api), cwd=tmp_path) for _ in range(2))
        done, refused = sorted(await asyncio.gather(*pushes), key=lambda said: said.status)
    assert (done.status, states(orjson.loads(done.out))) == (0, {"accepted": 6})
    assert (refused.status, refused.out) == (2, "")
    words = r"kore-campaign: (another process is working in run; wait|run holds a run already: ).*\n"
    assert re.fullmatch(words, refused.err)
    assert check_run_dir(tmp_path / "run").calls.sent == 3
    assert api.received == Counter(one.removeprefix("+") for one in numbers(6))


FULL_DISK: Final = """
import resource, sys
from kore_campaign_async.cli.main import main

_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv.pop(1)), most))
main()
"""


def intents(run_dir: Path) -> set[tuple[int, int]]:
    """The ranges of rows for which the journal of a run holds an intent."""
    with closing(sqlite3.connect(f"{(run_dir / 'journal.sqlite').as_uri()}?mode=ro", uri=True)) as connection:
        return {*connection.execute("SELECT first_row, last_row FROM attempt")}


async def test_case_19_a_full_disk(tmp_path: Path) -> None:
    """The journal can't grow any more: no call goes out without its intent, and the run stops with a whole report.

    With room on the disk a resume completes it.
    """
    async with asyncio.TaskGroup() as group:
        for keeps in (True, False):
            group.create_task(filled_and_resumed(tmp_path / str(keeps), keeps=keeps))


async def filled_and_resumed(folder: Path, *, keeps: bool) -> None:
    folder.mkdir()
    source_of(folder, 400)
    async with ScriptedApi(allow_duplicates=keeps) as api:
        more = ("--concurrency", "4")
        process = await start("100000", *push_of(*more), env=account_of(api), folder=folder, program=FULL_DISK)
        said = await process.end()
        report = orjson.loads(said.out)
        assert said.status == 4
        assert report["stopped_because"].startswith("the journal run/journal.sqlite can't be written: ")
        assert report["counts"]["unsent"] > 0
        assert check_run_dir(folder / "run").to_dict() == report
        assert 0 < len(api.calls) == report["calls"]["sent"]
        sent = {(int(call.numbers[0]) - 14155550000, int(call.numbers[-1]) - 14155550000) for call in api.calls}
        assert sent <= intents(folder / "run")

        async with client_for(api.url) as client:
            after = await resume_ingest(client, folder / "run")
        assert check_run_dir(folder / "run") == after
    received = {one: api.received[one.removeprefix("+")] for one in numbers(400)}
    doubtful = rows_in(folder / "run", "uncertain.csv")
    if keeps:
        # The last calls may have no outcome in the journal; or an intent that was cut off is there, and no call.
        assert (after.counts.accepted, after.counts.uncertain) == (400 - len(doubtful), len(doubtful))
        assert after.exit_status == (3 if doubtful else 0)
        assert len(doubtful) <= 2 * 4
        assert {one for one, times in received.items() if times != 1} <= {number(row) for row in doubtful}
        assert max(received.values()) == 1
    else:
        assert (states(after), after.exit_status) == ({"accepted": 400}, 0)
        assert min(received.values()) == 1


async def test_case_19_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    """Where no journal can be made there is no run and no call: status 2. The directory serves for a later push."""
    source = source_of(tmp_path)
    async with ScriptedApi() as api:
        process = await start("5000", *push_of(), env=account_of(api), folder=tmp_path, program=FULL_DISK)
        said = await process.end()
        assert (said.status, said.out, api.calls) == (2, "", [])
        assert said.err.startswith("kore-campaign: the journal run/journal.sqlite can't be written: ")
        assert not (tmp_path / "run" / "journal.sqlite").exists()

        async with client_for(api.url) as client:
            report = await push(client, source, run_dir=tmp_path / "run", batch=TWO)
    assert states(report) == {"accepted": 6}


# 20 and 21: secrets, and line ends


SECRETS: Final = {
    "minted": {"KORE_CLIENT_ID": "cs-1", "KORE_CLIENT_SECRET": "a-secret-of-the-length-that-is-asked-for"},
    "given": {"KORE_AUTH_TOKEN": "a-token-that-does-not-look-like-one"},
}


@pytest.mark.parametrize("secrets", SECRETS.values(), ids=SECRETS.keys())
async def test_case_20_a_server_that_quotes_the_token(secrets: dict[str, str], tmp_path: Path) -> None:
    """Neither the token nor the secret is in any file of the run, on standard output or on standard error."""
    source_of(tmp_path)
    statuses = iter((500, 400, 403))

    def quoting(_call: Call) -> Answer:
        return Answer(next(statuses), f'wrong header "auth: {api.tokens[-1]}"', processes=False)

    async with ScriptedApi(quoting) as api:
        env = {name: value for name, value in account_of(api).items() if name != "KORE_AUTH_TOKEN"}
        said = await kore_campaign(*push_of(), env=env | secrets, cwd=tmp_path)
    report = orjson.loads(said.out)
    assert (said.status, states(report)) == (4, {"uncertain": 2, "refused": 2, "unsent": 2})
    quoted = 'wrong header "auth: ***"'
    assert rows_in(tmp_path / "run", "uncertain.csv") == dict.fromkeys((1, 2), f"500: the server failed ({quoted})")
    assert rows_in(tmp_path / "run", "refused.csv") == dict.fromkeys(
        (3, 4), f"400: the server refused the call ({quoted})"
    )
    assert report["stopped_because"].endswith(f"403: the token is not allowed to do this ({quoted})")
    (token,) = set(api.tokens)
    shown = [said.out.encode(), said.err.encode(), *(path.read_bytes() for path in (tmp_path / "run").iterdir())]
    hidden = {token, token.rpartition(".")[2], secrets.get("KORE_CLIENT_SECRET", token)}
    assert [text for text in shown for one in hidden if one.encode() in text] == []


@pytest.mark.parametrize("name", ["KORE_APP_ID", "KORE_ACCOUNT_ID"])
@pytest.mark.parametrize("end", ["\r\n", "\n", "\r"])
async def test_case_21_line_ends_in_ids(name: str, end: str) -> None:
    """An id with a line end would add a header: it is refused before any call."""
    async with ScriptedApi() as api:
        env = account_of(api) | {name: f"x{end}X-Evil: 1"}
        with pytest.raises(InvalidRequestError, match="line ends"):
            CampaignClient.from_env(env)
        assert (api.calls, api.others) == ([], {})


async def test_case_21_line_ends_in_a_lists_id(tmp_path: Path) -> None:
    """Also in one that the server gave: it would address something else. Nothing is sent."""
    listing = reply(200, enveloped([{"_id": "cl-1 HTTP/1.1\r\nX-Evil: 1", "name": LIST}]))

    async def list_it(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(listing)

    async with raw_server(list_it) as server, client_for(server.url) as client:
        with pytest.raises(InvalidRequestError, match=r"cl-1 HTTP/1\.1\\r\\nX-Evil: 1"):
            await ingest_contacts(client, numbers(2), contact_list=LIST, run_dir=tmp_path / "run")
        assert server.connections == 1
    assert not (tmp_path / "run").exists()


async def test_case_21_line_ends_in_names(tmp_path: Path) -> None:
    """Names of lists, columns and persons travel as they are, in the body alone, and come back in the files.

    What the server says of them stays on one line.
    """
    evil = "Ana\r\nX-Evil: 1"
    source = csv_of(tmp_path / "c.csv", f'phone,firstName,"{evil}"', f'{number(1)},"{evil}","{evil}"')
    body = {"message": f"{evil} is no name"}
    handlers = (
        answering(200, enveloped([{"_id": "cl-1", "name": evil, "allowDuplicates": True}])),
        answering(400, body),
    )
    async with raw_server(in_turn(*handlers)) as server, client_for(server.url) as client:
        report = await push(client, source, contact_list=evil, run_dir=tmp_path / "run")
        sent = server.requests[-1]
    assert sent.json == {
        "contact_list_name": evil,
        "data": [{"phoneNumber": number(1), "firstName": evil, evil: evil}],
    }
    assert [name for one in server.requests for name in one.headers if "evil" in name.lower()] == []
    assert states(report) == {"refused": 1}
    assert outcome_files(tmp_path / "run")["refused.csv"] == [
        (1, "400: the server refused the call (Ana\\r\\nX-Evil: 1 is no name)", [number(1), evil, evil])
    ]


# 22 to 25: what changes under a run


class VanishingList(Sandbox):
    """Loses its lists before the second call that adds contacts."""

    async def _add(self, request: web.Request) -> web.StreamResponse:
        if self.calls["addContacts"] == 2:
            self.lists.clear()
        return await super()._add(request)


@on_both_kinds_of_list
async def test_case_22_a_list_that_is_deleted_in_the_middle(keeps: bool, tmp_path: Path) -> None:
    """The run stops, the batch is unsent, and nothing is sent behind it; made anew, the list gets what is left."""
    source = source_of(tmp_path)
    async with (
        VanishingList(rate=None, job_seconds=3600.0) as sandbox,
        CampaignClient.from_env(sandbox.environment, rate=(), retry=QUICK) as client,
    ):
        deleted = sandbox.make_list(LIST, allow_duplicates=keeps)
        report = await push(client, source, run_dir=tmp_path / "run", batch=TWO, concurrency=1)
        assert (states(report), report.state, report.exit_status) == ({"accepted": 2, "unsent": 4}, "stopped", 4)
        assert "404: not found (Contact list not found)" in (report.stopped_because or "")
        assert sandbox.calls["addContacts"] == 2

        before = kept_by(tmp_path / "run")
        with pytest.raises(ContactListError, match="there is no contact list named 'Renewals'"):
            await resume_ingest(client, tmp_path / "run")
        assert kept_by(tmp_path / "run") == before
        assert sandbox.calls["addContacts"] == 2

        sandbox.make_list(LIST, allow_duplicates=keeps)
        after = await resume_ingest(client, tmp_path / "run")
        assert check_run_dir(tmp_path / "run") == after
        assert (states(after), after.state, after.exit_status) == ({"accepted": 6}, "finished", 0)
        assert await stored_times(sandbox, 6) == [0, 0, 1, 1, 1, 1]
        assert deleted.records == {"14155550001": 1, "14155550002": 1}
        assert sandbox.calls["addContacts"] == after.calls.sent == 4


class ExpiringSandbox(Sandbox):
    """Answers no call that adds contacts before a moment, and tells four callers one by one that their token is bad.

    The first is told when four were refused, the others when a new token is in use.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.answers_at = 0.0
        self.accepted: set[str] = set()
        self.refused: list[str] = []
        self.four_refused = asyncio.Event()
        self._renewed = asyncio.Event()

    def _gatekeeper(self) -> Any:
        check = super()._gatekeeper()

        @web.middleware
        async def watch(request: web.Request, handler: Any) -> web.StreamResponse:
            answer = await check(request, handler)
            token = request.headers["auth"]
            if answer.status != 401:
                self.accepted.add(token)
                if self.refused and token not in self.refused:
                    self._renewed.set()
                return answer
            self.refused.append(token)
            if len(self.refused) == 4:
                self.four_refused.set()
            await (self.four_refused if len(self.refused) == 1 else self._renewed).wait()
            return answer

        return watch

    async def _add(self, request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(max(0.0, self.answers_at - time.time()))
        return await super()._add(request)


async def test_case_23_a_token_that_expires_in_the_middle(tmp_path: Path) -> None:
    """Four calls at once find their token expired: one new one is made for all, and each contact arrives once."""
    source = source_of(tmp_path, 32)
    async with asyncio.timeout(15.0), asyncio.TaskGroup() as group:
        for keeps in (True, False):
            group.create_task(expired_and_renewed(source, tmp_path / str(keeps), keeps=keeps))


async def expired_and_renewed(source: Path, run_dir: Path, *, keeps: bool) -> None:
    async with ExpiringSandbox(rate=None, job_seconds=3600.0) as sandbox:
        sandbox.make_list(LIST, allow_duplicates=keeps)
        expires = math.floor(time.time() + 0.7) + 1
        sandbox.answers_at = expires + 0.01
        # A clock that stands still does not see it coming.
        credentials = JwtCredentials(
            sandbox.client_id,
            sandbox.client_secret,
            lifetime_seconds=3600.0,
            clock=lambda: time.time() if sandbox.four_refused.is_set() else expires - 3600.0,
        )
        async with CampaignClient.from_env(
            sandbox.environment, credentials=credentials, rate=(), retry=QUICK
        ) as client:
            options = IngestOptions(batch=TWO, concurrency=4)
            report = await ingest_contacts(client, source, contact_list=LIST, run_dir=run_dir, options=options)
        assert check_run_dir(run_dir) == report
        assert await stored_times(sandbox, 32) == [1] * 32
        assert len(sandbox.refused) == 4
        assert len(sandbox.accepted) == 2
        assert set(sandbox.refused) < sandbox.accepted  # it had been good before
        assert sandbox.calls["addContacts"] == report.calls.sent == 20
    assert (states(report), report.exit_status) == ({"accepted": 32}, 0)
    assert report.calls.retried == 4


WRONG_CLOCK: Final = """
import sys, time

real, off = time.time, float(sys.argv.pop(1))
time.time = lambda: real() + off
from kore_campaign_async.cli.main import main

main()
"""


async def test_case_24_a_clock_five_minutes_fast(tmp_path: Path) -> None:
    """A token from the future is refused: one clear sentence and status 2, nothing is sent, nothing is left behind."""
    source_of(tmp_path)
    async with failing(keeps=True) as (sandbox, _):
        process = await start("300", *push_of(), env=sandbox.environment, folder=tmp_path, program=WRONG_CLOCK)
        said = await process.end()
        assert (said.status, said.out) == (2, "")
        assert "401: the token was not accepted; this machine's clock is " in said.err
        assert " s ahead of the server's (Invalid token: ImmatureSignatureError)" in said.err
        assert said.err.count("\n") == 1
        assert said.err.endswith("nothing was sent\n")
        assert sandbox.calls == {"getAllListDetails": 2}  # the second with a token made anew
    assert [path.name for path in tmp_path.iterdir()] == ["c.csv"]


async def test_case_24_a_clock_five_minutes_slow(tmp_path: Path) -> None:
    """A token that is five minutes older than it seems is good for the rest of its hour."""
    source_of(tmp_path)
    async with failing(keeps=True) as (sandbox, _):
        process = await start("-300", *push_of(), env=sandbox.environment, folder=tmp_path, program=WRONG_CLOCK)
        said = await process.end()
        assert (said.status, states(orjson.loads(said.out))) == (0, {"accepted": 6})
        assert await stored_times(sandbox, 6) == [1] * 6


async def test_case_24_a_clock_that_is_slower_than_a_token_lives(tmp_path: Path) -> None:
    """A token that has expired when it is made is refused, and so is the next: one error, and nothing is sent."""
    async with Sandbox(rate=None) as sandbox:
        sandbox.make_list(LIST, allow_duplicates=True)
        credentials = JwtCredentials(
            sandbox.client_id, sandbox.client_secret, lifetime_seconds=240.0, clock=lambda: time.time() - 300.0
        )
        async with CampaignClient.from_env(
            sandbox.environment, credentials=credentials, rate=(), retry=QUICK
        ) as client:
            with pytest.raises(UnauthorizedError, match=r"401: .*ExpiredSignatureError.*, after 2 attempts") as caught:
                await ingest_contacts(client, numbers(2), contact_list=LIST, run_dir=tmp_path / "run")
            with pytest.raises(UnauthorizedError):
                await client.add_contacts(LIST, [Contact(number(1))])
        assert caught.value.attempts == 2
        assert sandbox.stored_times(number(1)) == 0
    assert not (tmp_path / "run").exists()


async def test_case_24_a_list_that_is_there_twice(tmp_path: Path) -> None:
    """Nobody knows which of two lists of one name a call means: status 2, both ids are named, nothing is sent."""
    source_of(tmp_path)
    async with failing(keeps=True) as (sandbox, _):
        sandbox.make_list(LIST, allow_duplicates=False)
        first, second = sandbox.lists
        said = await kore_campaign(*push_of(), env=sandbox.environment, cwd=tmp_path)
        assert sandbox.calls == {"getAllListDetails": 1}
    assert (said.status, said.out) == (2, "")
    assert said.err == (
        f"kore-campaign: there are 2 contact lists named 'Renewals' ({first} and {second}), and addContacts names no"
        " id: rename all but one, with kore-campaign update ID --name NAME\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["c.csv"]


CHANGES: Final = {
    "a row more": (lambda text: text + f"{number(7)}\n", " (84 bytes then, 97 now)"),
    "a row less": (lambda text: text.removesuffix(f"{number(6)}\n"), " (84 bytes then, 71 now)"),
    "another number": (lambda text: text.replace(number(1), number(9)), ""),
    "another order": (lambda text: "\n".join(["phone", *reversed(numbers(6))]) + "\n", ""),
}


@on_both_kinds_of_list
@pytest.mark.parametrize("change", CHANGES)
async def test_case_25_a_source_that_changed(change: str, keeps: bool, tmp_path: Path) -> None:
    """Row numbers would mean others: the resume is refused, sends nothing, and leaves the run as it was.

    With the source as it was the run is completed, and each contact was taken once.
    """
    source = source_of(tmp_path)
    then = source.read_text()
    changed, sizes = CHANGES[change]
    async with scripted([ACCEPT, refuse(403)], allow_duplicates=keeps) as (api, client):
        report = await push(client, source, run_dir=tmp_path / "run", batch=TWO, concurrency=1)
        assert states(report) == {"accepted": 2, "unsent": 4}
        moment = source.stat()
        source.write_text(changed(then))
        os.utime(source, ns=(moment.st_atime_ns, moment.st_mtime_ns))
        before = kept_by(tmp_path / "run")
        with pytest.raises(RunDirectoryError) as caught:
            await resume_ingest(client, tmp_path / "run")
        assert str(caught.value) == (
            f"the run in {tmp_path / 'run'} can't be resumed: the source has changed: {source}{sizes}; put"
            " back what it was begun with"
        )
        assert kept_by(tmp_path / "run") == before
        assert len(api.calls) == 2

        source.write_text(then)
        after = await resume_ingest(client, tmp_path / "run")
        assert check_run_dir(tmp_path / "run") == after
        assert (states(after), after.exit_status) == ({"accepted": 6}, 0)
        assert api.processed == Counter(one.removeprefix("+") for one in numbers(6))


async def test_case_25_the_shell_says_so(tmp_path: Path) -> None:
    """Status 2 and one sentence."""
    source = source_of(tmp_path)
    async with scripted([ACCEPT, refuse(403)]) as (api, client):
        await push(client, source, run_dir=tmp_path / "run", batch=TWO, concurrency=1)
        source.write_text(source.read_text() + f"{number(7)}\n")
        said = await kore_campaign("resume", "run", env=account_of(api), cwd=tmp_path)
        assert len(api.calls) == 2
    assert (said.status, said.out) == (2, "")
    assert said.err == (
        f"kore-campaign: the run in run can't be resumed: the source has changed: {source} (84 bytes then, 97 now);"
        " put back what it was begun with\n"
    )
