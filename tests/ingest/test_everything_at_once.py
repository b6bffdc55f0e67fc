"""A push under every fault that the sandbox knows, at once and at random, resumed until it finishes; and outages.

All is real but the waits, which are short: sockets, the journal, a server that goes away and comes back.
KORE_CHAOS_SEEDS says how many seeds: two fifths of those of the crash test.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import socket
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web
from attrs import define, field, frozen
from cli.shell import environment, kore_campaign

from kore_campaign_async import (
    BatchLimits,
    CallError,
    CampaignClient,
    ContactListError,
    IngestOptions,
    IngestReport,
    JwtCredentials,
    RetryPolicy,
    Timeouts,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async.ingest.sources import csv_file
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.sandbox import Fault, Sandbox
from kore_campaign_async.sandbox.faults import KINDS
from tests.ingest.pushing import LIST, check_run_dir, check_tasks, csv_of, number, outcome_files

SEEDS: Final = max(20, int(os.environ.get("KORE_CHAOS_SEEDS", "50")) * 2 // 5)
ROWS: Final = 300
HASTE: Final = Timeouts(total_seconds=0.08)


@pytest.fixture(autouse=True)
def small_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes from one slice to the next goes wrong in a short source too."""
    monkeypatch.setattr(csv_file, "SLICE_RECORDS", 40)


# The server


@define(kw_only=True, eq=False)
class Flaky(Sandbox):
    """A sandbox that can stop listening, cut off connections, and keep calls waiting.

    Attributes:
        handling: how many calls of addContacts are inside.
        held: whether they stay there.
    """

    handling: int = field(default=0, init=False)
    held: bool = field(default=False, init=False)
    _port_kept: socket.socket = field(init=False)

    async def _add(self, request: web.Request) -> web.StreamResponse:
        self.handling += 1
        try:
            await asyncio.sleep(random.uniform(0.0, 0.003))
            while self.held:
                await asyncio.sleep(0.001)
            return await super()._add(request)
        finally:
            self.handling -= 1

    async def stop_listening(self) -> None:
        """Refuse connections from now on; those that are open go on. Nobody else can take the port."""
        assert self._runner is not None
        (site,) = self._runner.sites
        assert site._server is not None
        # A connection that asyncio has accepted and not yet handed on would never be closed: it is given that turn.
        for listening in site._server.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        await asyncio.sleep(0)
        await site.stop()
        self._port_kept = socket.socket()
        self._port_kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._port_kept.bind(("127.0.0.1", int(self.url.rpartition(":")[2])))

    async def listen_again(self) -> None:
        assert self._runner is not None
        await web.SockSite(self._runner, self._port_kept).start()

    async def hold(self, calls: int) -> None:
        """Keep calls waiting inside until there are so many."""
        self.held = True
        async with asyncio.timeout(10.0):
            while self.handling < calls:
                await asyncio.sleep(0.001)

    async def stop_listening_when_all_wait_inside(self, calls: int) -> None:
        """Go when no connection is on its way, so that nobody is left in doubt."""
        await self.hold(calls)
        await self.stop_listening()
        self.held = False

    def cut_off(self) -> None:
        """End all connections that are open."""
        assert self._runner is not None
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def idle(self) -> None:
        """Wait until no call is inside any more, and finish all jobs."""
        await asyncio.sleep(0.02)
        self.cut_off()  # who does not read does not see either that the other side has gone
        async with asyncio.timeout(5.0):
            while self.handling:
                await asyncio.sleep(0.005)
        await self.settle()


def some_faults(rng: random.Random) -> tuple[Fault, ...]:
    """One, some or all of them, so that about every second call fails."""
    count = rng.choice((1, 3, 10, len(KINDS)))
    return tuple(
        Fault(kind, rng.randint(count // 2 + 1, 4 * count), pause_seconds=rng.choice((0.0, 1.0)))
        for kind in rng.sample(KINDS, count)
    )


async def misbehave(sandbox: Flaky, rng: random.Random, over: asyncio.Event) -> None:
    """Have other faults every moment, and be away now and then."""

    async def pause(longest: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(over.wait(), rng.uniform(0.01, longest))

    while not over.is_set():
        sandbox.faults = some_faults(rng)
        # As if the rules had held for a while: a rare one would not come to its turn else.
        sandbox._waited = [rng.randrange(fault.every) for fault in sandbox.faults]
        await pause(0.2)
        if rng.random() < 0.3:
            await sandbox.stop_listening()
            if rng.random() < 0.5:
                sandbox.cut_off()
            await pause(0.1)
            await sandbox.listen_again()
    sandbox.faults = ()


@asynccontextmanager
async def misbehaving(sandbox: Flaky, rng: random.Random) -> AsyncIterator[None]:
    over = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(misbehave(sandbox, rng, over))
        yield
        over.set()


# The push


@frozen
class Push:
    """A push that goes on and on.

    Attributes:
        keeps: whether the list keeps duplicates.
        folder: of the source and the run directory.
        valid: the numbers that are to be called, and their rows.
        refused: the rows that were refused in any part of the run: they stay so.
    """

    sandbox: Flaky
    keeps: bool
    folder: Path
    valid: dict[str, int]
    refused: set[int] = field(factory=set)

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    @property
    def stored(self) -> Counter[str]:
        return self.sandbox.named(LIST).records

    async def part(self, rng: random.Random) -> IngestReport | None:
        """Push, or go on, until it ends by itself or is cancelled; return the report if there is one yet."""
        policy = RetryPolicy(
            attempts=3,
            deadline_seconds=rng.choice((0.02, 1.0)),
            wait_initial_seconds=0.001,
            wait_max_seconds=0.01,
            throttled_answers=rng.choice((1, 5)),
            retry_after_max_seconds=0.002,
        )
        settings: dict[str, Any] = {
            "concurrency": rng.randint(1, 8),
            "on_uncertain": rng.choice(("auto", "auto", "hold") if self.keeps else ("auto", "auto", "hold", "resend")),
            "grace_seconds": rng.choice((0.0, 0.02, 0.2)),
        }
        # Once is a grace, twice cuts the calls off; the second may come very soon.
        cancels = [rng.choice((0.0, 0.002, rng.uniform(0.0, 0.2))) for _ in range(rng.choice((0, 0, 1, 2, 3)))]
        async with client_of(self.sandbox, retry=policy, timeouts=HASTE, rng=random.Random(rng.random())) as client:
            run = asyncio.ensure_future(self.go_on(client, rng.randint(3, 30), isolate=rng.random() < 0.5, **settings))
            for seconds in cancels:
                await asyncio.wait((run,), timeout=seconds)
                run.cancel()
            # A list that could not be looked up: nothing was sent.
            with contextlib.suppress(asyncio.CancelledError, CallError, ContactListError):
                await run
        await self.sandbox.settle()
        return self.check()

    async def go_on(
        self, client: CampaignClient, max_contacts: int, *, isolate: bool = False, **settings: Any
    ) -> IngestReport:
        if (self.run_dir / "journal.sqlite").exists():
            return await resume_ingest(client, self.run_dir, max_contacts=max_contacts, **settings)
        options = IngestOptions(
            batch=BatchLimits(max_contacts=max_contacts),
            suppress=(self.folder / "barred.txt",),
            isolate=isolate and not self.keeps,
            **settings,
        )
        source = self.folder / "c.csv"
        return await ingest_contacts(client, source, contact_list=LIST, run_dir=self.run_dir, options=options)

    def check(self) -> IngestReport | None:
        """Check what holds whenever a part of the run has ended."""
        assert set(self.stored.values()) <= {1}, "somebody is called twice"
        assert self.stored.keys() <= self.valid.keys(), "somebody is called who was left out"
        if not (self.run_dir / "journal.sqlite").exists():
            return None
        report = check_run_dir(self.run_dir)
        self.refused.update(row for row, _, _ in outcome_files(self.run_dir)["refused.csv"])
        assert report.counts.accepted <= len(self.stored), "somebody was accepted who is not on the list"
        assert report.counts.unsent <= len(self.valid) - len(self.stored), "somebody is unsent who is on the list"
        return report

    def check_the_end(self) -> IngestReport:
        """Check what holds when the server has behaved at last."""
        report = self.check()
        assert report is not None
        assert (report.state, report.counts.read, report.counts.unsent) == ("finished", ROWS, 0)
        rows = {name: {row for row, _, _ in entries} for name, entries in outcome_files(self.run_dir).items()}
        refused, uncertain = rows["refused.csv"], rows["uncertain.csv"]
        missing = {row for one, row in self.valid.items() if one not in self.stored}
        assert refused == self.refused, "somebody who was refused was called again"
        assert refused <= missing, "somebody was refused who is on the list"
        assert missing <= refused | uncertain, "somebody is lost"
        assert self.keeps or not uncertain
        assert rows["left_out.csv"].isdisjoint(self.valid.values())
        assert rows["rejected.csv"].isdisjoint(self.valid.values())
        assert self.sandbox.calls["addContacts"] <= report.calls.sent, "a call came that counts as not sent"
        return report


def write(folder: Path, rng: random.Random, rows: int = ROWS) -> dict[str, int]:
    """A source with duplicates far apart, bad rows and barred numbers; return those to be called, and their rows."""
    lines, barred, valid = ["phone,firstName"], [number(0)], dict[str, int]()
    for row in range(1, rows + 1):
        kind = rng.random()
        if kind < 0.05:
            lines.append('nobody,"Bob\n""Jr."""')
        elif kind < 0.1:
            barred.append(number(row))
            lines.append(f"{number(row)},Barred")
        elif kind < 0.25 and valid:
            lines.append(f"{rng.choice(('', '+'))}{rng.choice(list(valid))},Again")
        else:
            valid[number(row).removeprefix("+")] = row
            lines.append(f"{number(row)},Ana {row}")
    folder.mkdir()
    csv_of(folder / "c.csv", *lines)
    csv_of(folder / "barred.txt", *barred)
    return valid


def client_of(sandbox: Sandbox, **settings: Any) -> CampaignClient:
    return CampaignClient.from_env(sandbox.environment, **{"rate": (), **settings})


def open_files() -> int:
    return len(list(Path("/dev/fd").iterdir()))


@asynccontextmanager
async def leaving_nothing() -> AsyncIterator[None]:
    """No task, no thread and no open file or socket is left; one that was let go of unclosed warns, and so fails."""
    tasks, threads, files = asyncio.all_tasks(), set(threading.enumerate()), open_files()
    yield
    gc.collect()
    await check_tasks(tasks)
    # The loop's executor keeps its threads until the loop ends.
    assert {one for one in set(threading.enumerate()) - threads if not one.name.startswith("asyncio_")} == set()
    # What an abandoned thread reads is closed when it has read it.
    async with asyncio.timeout(2.0):
        while open_files() > files:
            await asyncio.sleep(0.01)


# Everything at once


async def come_to_the_end(push: Push) -> None:
    """Go on under a server that behaves, and check everything; then there is nothing left to do."""
    async with client_of(push.sandbox) as client:
        await push.go_on(client, 20, on_uncertain="auto")
        await push.sandbox.idle()
        report = push.check_the_end()
        calls = push.sandbox.calls["addContacts"]
        again = await push.go_on(client, 7, on_uncertain="auto")
        assert (again.counts, push.sandbox.calls["addContacts"]) == (report.counts, calls)


async def survive(seed: int, folder: Path, *, keeps: bool) -> None:
    rng = random.Random(f"{seed} {keeps}")
    valid = write(folder, rng)
    # One contact always fits.
    async with Flaky(rate=None, job_seconds=0.01, max_body_bytes=rng.choice((300, 1000, 16 << 20))) as sandbox:
        sandbox.make_list(LIST, allow_duplicates=keeps)
        push = Push(sandbox, keeps, folder, valid)
        async with misbehaving(sandbox, random.Random(rng.random())):
            for _ in range(rng.randint(2, 6)):
                report = await push.part(rng)
                if report is not None and report.state == "finished" and (keeps or not report.counts.uncertain):
                    break
        await come_to_the_end(push)


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_whatever_the_server_does_nobody_is_lost_and_nobody_is_called_twice(
    seed: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """On a list that drops duplicates all are there but the refused; on one that keeps them, but the uncertain too."""
    caplog.set_level(logging.CRITICAL, "aiohttp.server")  # of connections that are cut off
    async with leaving_nothing():
        ends = await asyncio.gather(
            *(survive(seed, tmp_path / f"keeps {keeps}", keeps=keeps) for keeps in (False, True)),
            return_exceptions=True,
        )
    for end, keeps in zip(ends, (False, True), strict=True):
        if end is not None:
            end.add_note(f"seed {seed}, on a list that {'keeps' if keeps else 'drops'} duplicates")
            raise end


@pytest.mark.parametrize("keeps", [False, True], ids=["drops", "keeps"])
async def test_every_fault_there_is_one_after_the_other(tmp_path: Path, *, keeps: bool) -> None:
    """No call is answered as it should be, until all faults were shown."""
    rng = random.Random(11)
    valid = write(tmp_path / "x", rng)
    policy = RetryPolicy(attempts=3, wait_initial_seconds=0.001, wait_max_seconds=0.01, retry_after_max_seconds=0.002)
    async with leaving_nothing(), Flaky(rate=None, job_seconds=0.01) as sandbox:
        sandbox.make_list(LIST, allow_duplicates=keeps)
        push = Push(sandbox, keeps, tmp_path / "x", valid)
        sandbox.faults = [Fault(kind, len(KINDS)) for kind in rng.sample(KINDS, len(KINDS))]
        sandbox._waited = list(range(len(KINDS)))
        while sandbox.faults_shown.keys() < set(KINDS):
            calls = sandbox.calls["addContacts"]
            async with client_of(sandbox, retry=policy, timeouts=Timeouts(total_seconds=0.15)) as client:
                await push.go_on(client, 2, concurrency=4)
            await sandbox.settle()
            push.check()
            assert sandbox.calls["addContacts"] > calls, "nobody is left to be called"
        sandbox.faults = ()
        await come_to_the_end(push)


# In doubt


async def test_who_is_in_doubt_stays_so_until_accepted(tmp_path: Path) -> None:
    """Whatever a resume comes to: what was processed without an answer is neither refused nor unsent."""
    policy = RetryPolicy(attempts=1, throttled_answers=1)
    async with leaving_nothing(), outage_ahead(tmp_path / "x", keeps=False) as push:

        async def part(fault: str, **settings: Any) -> set[str]:
            """Go on, and return the states that there are."""
            push.sandbox.faults = [Fault(fault)] if fault else []
            async with client_of(push.sandbox, retry=policy) as client:
                report = await push.go_on(client, 60, **settings)
            await push.sandbox.settle()
            assert report == push.check()
            return {name for name, count in report.to_dict()["counts"].items() if count} - {"read"}

        assert await part("close-stored", concurrency=1) == {"uncertain"}
        assert len(push.stored) == ROWS
        for fault in ("400", "413", "403", "429", "401"):
            assert await part(fault) == {"uncertain"}, fault
            assert await part(fault, on_uncertain="hold") == {"uncertain"}, fault
        assert await part("") == {"accepted"}


async def test_what_does_not_go_out_again_takes_nothing_from_what_did(tmp_path: Path) -> None:
    """The second of two batches in doubt finds no token: the first one is accepted all the same."""
    async with leaving_nothing(), outage_ahead(tmp_path / "x", keeps=False) as push:
        push.sandbox.faults = [Fault("close-stored")]
        async with client_of(push.sandbox, retry=RetryPolicy(attempts=1)) as client:
            assert (await push.go_on(client, 60, concurrency=1)).counts.uncertain == ROWS
        push.sandbox.faults = ()
        minted = JwtCredentials(push.sandbox.client_id, push.sandbox.client_secret)
        tokens = iter(range(3))  # two to look the list up

        async def token() -> str:
            next(tokens)
            return (await minted.token()).reveal()

        async with client_of(push.sandbox, credentials=token) as client:
            stopped = await push.go_on(client, 60)
        assert "the function for tokens failed" in (stopped.stopped_because or "")
        assert (stopped.counts.accepted, stopped.counts.unsent) == (60, 0)
        async with client_of(push.sandbox) as client:
            held = await push.go_on(client, 60, on_uncertain="hold")
        assert (held.counts.accepted, held.counts.uncertain) == (60, ROWS - 60)


# Cancelled


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8])
async def test_however_soon_it_is_cancelled_again_all_is_accounted_for(
    turns: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "aiohttp.server")  # of connections that are cut off
    async with leaving_nothing(), outage_ahead(tmp_path / "x", keeps=True) as push:
        async with client_of(push.sandbox) as client:
            run = asyncio.create_task(push.go_on(client, 10, concurrency=4, grace_seconds=0.0))
            await until_some_came(push.sandbox)
            await push.sandbox.hold(4)
            for _ in range(3):
                run.cancel()
                for _ in range(turns):
                    await asyncio.sleep(0)
            with pytest.raises(asyncio.CancelledError):
                await run
        push.sandbox.held = False
        await push.sandbox.idle()
        report = push.check()
        assert report is not None
        assert (report.state, report.stopped_because) == ("stopped", "cancelled")
        assert 10 <= report.counts.uncertain <= 40, "what was in flight, and no more"
        await come_to_the_end(push)


async def test_cancelled_in_the_moment_in_which_its_source_is_open_it_closes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    tell = loop.call_soon_threadsafe

    def tell_and_cancel(callback: Callable[..., object], *what: Any) -> None:
        tell(lambda: (callback(*what), opening.cancel()))

    async with leaving_nothing():
        monkeypatch.setattr(loop, "call_soon_threadsafe", tell_and_cancel)
        opening = asyncio.create_task(open_source(csv_of(tmp_path / "c.csv", "phone", number(1))))
        with pytest.raises(asyncio.CancelledError):
            await opening
        monkeypatch.undo()


# Outages


class Steady(random.Random):
    """The middle of every wait, so that a test knows how long it takes."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@asynccontextmanager
async def outage_ahead(folder: Path, *, keeps: bool) -> AsyncIterator[Push]:
    """A push of contacts of which all are valid, to a server that is still there."""
    folder.mkdir()
    csv_of(folder / "c.csv", "phone", *(number(row) for row in range(1, ROWS + 1)))
    csv_of(folder / "barred.txt", number(0))
    valid = {number(row).removeprefix("+"): row for row in range(1, ROWS + 1)}
    async with Flaky(rate=None, job_seconds=0.01) as sandbox:
        sandbox.make_list(LIST, allow_duplicates=keeps)
        yield Push(sandbox, keeps, folder, valid)


async def until_some_came(sandbox: Sandbox, calls: int = 10) -> None:
    async with asyncio.timeout(10.0):
        while sandbox.calls["addContacts"] < calls:
            await asyncio.sleep(0.001)


async def live_through_an_outage(folder: Path, seconds: float, *, keeps: bool, **settings: Any) -> None:
    async with outage_ahead(folder, keeps=keeps) as push, client_of(push.sandbox, **settings) as client:
        run = asyncio.create_task(push.go_on(client, 10, concurrency=4))
        await until_some_came(push.sandbox)
        await push.sandbox.stop_listening_when_all_wait_inside(4)
        await asyncio.sleep(seconds)
        assert len(push.stored) < ROWS
        await push.sandbox.listen_again()
        report = await run
        await push.sandbox.settle()
        assert report == push.check_the_end()
    assert report.counts.accepted == len(push.stored) == ROWS
    assert report.exit_status == 0
    assert report.calls.sent == push.sandbox.calls["addContacts"] == ROWS / 10
    assert report.calls.retried >= 4, "all four felt it"


@pytest.mark.parametrize("keeps", [False, True], ids=["drops", "keeps"])
async def test_a_server_that_refuses_connections_for_a_while_costs_nothing(tmp_path: Path, *, keeps: bool) -> None:
    """Everybody is accepted by the one run, on either kind of list. A sixth of the real waits and of the next test."""
    policy = RetryPolicy(deadline_seconds=10.0, wait_initial_seconds=0.5 / 6, wait_max_seconds=20.0 / 6)
    async with leaving_nothing():
        await live_through_an_outage(tmp_path / "x", 0.5, keeps=keeps, retry=policy, rng=Steady())


async def test_three_seconds_without_a_server_cost_nothing_by_default(tmp_path: Path) -> None:
    async with leaving_nothing(), asyncio.TaskGroup() as group:
        for keeps in (False, True):
            folder = tmp_path / f"keeps {keeps}"
            group.create_task(live_through_an_outage(folder, 3.0, keeps=keeps, rng=Steady()))


@pytest.mark.parametrize("keeps", [False, True], ids=["drops", "keeps"])
async def test_a_server_that_is_gone_stops_the_run_and_a_resume_completes_it(tmp_path: Path, *, keeps: bool) -> None:
    """What had no connection was not sent, so nobody is in doubt."""
    policy = RetryPolicy(deadline_seconds=0.2, wait_initial_seconds=0.01, wait_max_seconds=0.05)
    async with leaving_nothing(), outage_ahead(tmp_path / "x", keeps=keeps) as push:
        async with client_of(push.sandbox, retry=policy) as client:
            run = asyncio.create_task(push.go_on(client, 10, concurrency=4))
            await until_some_came(push.sandbox)
            await push.sandbox.stop_listening_when_all_wait_inside(4)
            stopped = await run
            await push.sandbox.settle()
            assert stopped == push.check()
            with pytest.raises(CallError, match="no connection could be made"):
                await push.go_on(client, 10)
        assert (stopped.state, stopped.exit_status) == ("stopped", 4)
        assert "no connection could be made" in (stopped.stopped_because or "")
        assert stopped.counts.accepted == len(push.stored) < ROWS
        assert stopped.counts.unsent == stopped.counts.read - stopped.counts.accepted > 0
        await push.sandbox.listen_again()
        async with client_of(push.sandbox) as client:
            report = await push.go_on(client, 10)
            await push.sandbox.settle()
        assert report == push.check_the_end()
        assert (report.counts.accepted, report.exit_status) == (ROWS, 0)
        assert report.calls.sent == push.sandbox.calls["addContacts"]


# The shell's own policy would try for a minute.
IMPATIENT = """
from kore_campaign_async import RetryPolicy, client
from kore_campaign_async.cli.main import main
client.RetryPolicy = lambda: RetryPolicy(deadline_seconds=0.2, wait_initial_seconds=0.01, wait_max_seconds=0.05)
main()
"""


async def test_a_server_that_is_gone_is_exit_4_and_kore_campaign_resume_completes_the_run(tmp_path: Path) -> None:
    async with outage_ahead(tmp_path / "x", keeps=True) as push:
        arguments = ("push", "c.csv", "--list", LIST, "--run-dir", "run", "--max-contacts", "10", "--rate", "none")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", IMPATIENT, *arguments, "--concurrency", "4"),
            env=environment(push.sandbox.environment),
            cwd=push.folder,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        await until_some_came(push.sandbox)
        await push.sandbox.stop_listening_when_all_wait_inside(4)
        out, err = await process.communicate()
        assert process.returncode == 4, err.decode()
        assert "kore-campaign resume run" in out.decode()
        await push.sandbox.listen_again()
        said = await kore_campaign("resume", "run", env=push.sandbox.environment, cwd=push.folder)
        await push.sandbox.settle()
        assert (said.status, push.check_the_end().counts.accepted) == (0, ROWS)
