"""The budget that processes share, on a real Redis that is killed, frozen and emptied under them.

What arrives is counted by the tests themselves, or by the sandbox. Without redis-server on the path the tests that
need one skip; where KORE_REQUIRE_REDIS is set they fail instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from attrs import define, field
from cli.shell import KORE_CAMPAIGN, Said, environment, kore_campaign
from fakes import FakeTime, client_for, shown_by
from ingest.pushing import LIST, check_tasks, csv_of, number, numbers, push, stored
from redis import Redis
from redis.exceptions import ConnectionError as NoRedisError

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    InvalidRequestError,
    RateLimit,
    SharedRateError,
    budget_redis,
    resume_ingest,
)
from kore_campaign_async.budget import Budget, Clock, Sleep
from kore_campaign_async.budget_redis import RedisBudget
from kore_campaign_async.sandbox.server import Sandbox

SECRET = "secretpw"
# A slot is held a little longer than the window, and a busy machine wakes its sleepers late.
LATE_SECONDS = 0.2
USED = 0.85


# Redis


class RedisServer:
    """A redis-server on a port of its own, which keeps nothing unless it is told to."""

    def __init__(self, program: str, folder: Path, password: str = "") -> None:
        self.port = free_port()
        self._password = password
        self.url = f"redis://{f':{password}@' if password else ''}127.0.0.1:{self.port}"
        self._command = (
            *(program, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)),
            *("--requirepass", password),
        )
        self.start()

    def start(self) -> None:
        """Run it, and wait until it answers."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)  # noqa: S603  our own words
        deadline = time.monotonic() + 10
        while True:
            try:
                self.ask("PING")
            except NoRedisError:
                assert self._process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.005)
            else:
                return

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: str) -> Any:
        """Let it do one command."""
        with self._admin() as admin:
            return admin.execute_command(*words)

    def slots(self, account: str, limit: RateLimit) -> dict[str, float]:
        """The slots of a window that are not free, each with the seconds until it is."""
        with self._admin() as admin:
            seconds, microseconds = admin.time()
            now = seconds * 1_000_000 + microseconds
            found = admin.zrange(f"kore-campaign:{{{account}}}:{limit.seconds:g}", 0, -1, withscores=True)
        return {name: (free_at - now) / 1e6 for name, free_at in found if free_at > now}

    def _admin(self) -> Redis:
        return Redis(port=self.port, password=self._password or None, decode_responses=True)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# A Redis that was started a moment ago lets nobody call for a window of up to a minute: those of the tests are a lot
# shorter, or longer than that.


@pytest.fixture(scope="module")
def program() -> str:
    """Where redis-server is."""
    found = shutil.which("redis-server")
    if found is None:
        (pytest.fail if os.environ.get("KORE_REQUIRE_REDIS") else pytest.skip)("needs redis-server")
    return found


@contextlib.contextmanager
def running(program: str, folder: Path, password: str = "") -> Iterator[RedisServer]:
    server = RedisServer(program, folder, password)
    try:
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For tests that leave it running, each with an account of its own."""
    with running(program, tmp_path_factory.mktemp("redis")) as shared:
        yield shared


@pytest.fixture
def own_server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For a test that does something to it."""
    with running(program, tmp_path_factory.mktemp("redis")) as own:
        yield own


@pytest.fixture
def locked_server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Asks for a password."""
    with running(program, tmp_path_factory.mktemp("redis"), SECRET) as locked:
        yield locked


@pytest.fixture
def account() -> str:
    return secrets.token_hex(8)


# Budgets, and calls that take from them


def budget_at(
    url: str, account: str, *limits: RateLimit, clock: Clock = time.monotonic, sleep: Sleep = asyncio.sleep
) -> Budget:
    shared = RedisBudget(url, "redis://shown", account, limits, clock=clock, sleep=sleep)
    return Budget(limits, shared=shared, clock=clock, sleep=sleep)


@contextlib.asynccontextmanager
async def budgets_on(
    server: RedisServer, account: str, *limits: RateLimit, count: int = 2, **settings: Any
) -> AsyncIterator[list[Budget]]:
    """Budgets that share one account, as those of several processes; when they are closed no task is left."""
    before = asyncio.all_tasks()
    made = [budget_at(server.url, account, *limits, **settings) for _ in range(count)]
    try:
        yield made
    except BaseException:
        # A test that failed leaves nothing to the next one.
        for task in asyncio.all_tasks() - before:
            task.cancel()
        raise
    finally:
        await asyncio.gather(*(one.close() for one in made))
    await check_tasks(before)


async def call(budget: Budget, seconds: float = 0.0) -> float:
    """Make one call, and return when it went out."""
    async with budget.slot():
        out = time.monotonic()
        await asyncio.sleep(seconds)
    return out


Arrivals = list[tuple[float, int]]


@contextlib.asynccontextmanager
async def calling(budgets: Sequence[Budget], *, senders: int = 4, seconds: float = 0.06) -> AsyncIterator[Arrivals]:
    """Call with all budgets at once; what is yielded fills with the moments of arrival, and who called."""
    rng = random.Random(1)
    arrived: Arrivals = []

    async def send(who: int) -> None:
        while True:
            async with budgets[who].slot():
                await asyncio.sleep(rng.uniform(0, seconds / 2))
                arrived.append((time.monotonic(), who))
                await asyncio.sleep(rng.uniform(0, seconds / 2))

    tasks = [asyncio.create_task(send(who)) for who in range(len(budgets)) for _ in range(senders)]
    try:
        yield arrived
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == []


def most_in_a_window(arrived: Iterable[tuple[float, Any]], seconds: float) -> int:
    """The most arrivals within any sliding window of this length."""
    window: deque[float] = deque()
    most = 0
    for moment, _ in arrived:
        window.append(moment)
        while window[0] <= moment - seconds:
            window.popleft()
        most = max(most, len(window))
    return most


def used(moments: Sequence[float], limit: RateLimit) -> float:
    """Which part of the limit these arrivals use, however they are bunched: by how long each took to come again."""
    rounds = [late - early for early, late in zip(moments, moments[limit.calls :], strict=False)]
    assert len(rounds) >= limit.calls
    return limit.seconds * len(rounds) / sum(rounds)


# The limit is kept together, and used


async def test_several_budgets_keep_one_limit(server: RedisServer, account: str) -> None:
    """No window holds more than the limit, most of it is used, and nobody gets less than half of a fair share."""
    limit = RateLimit(20, 0.5)
    async with budgets_on(server, account, limit, count=3) as budgets, calling(budgets) as arrived:
        await asyncio.sleep(1.4)
    assert most_in_a_window(arrived, limit.seconds) <= limit.calls
    assert used([moment for moment, _ in arrived], limit) >= USED
    share = Counter(who for _, who in arrived)
    assert min(share[who] for who in range(3)) >= len(arrived) / 3 / 2


CALLER = """
import asyncio, sys
from kore_campaign_async import CampaignClient, Contact, RateLimit

async def main(rate, url, number):
    async with CampaignClient.from_env(rate=(RateLimit.parse(rate),), shared_rate=url) as client:
        async def send():
            while True:
                await client.add_contacts("Renewals", [Contact(number)])
        print("ready", flush=True)
        sys.stdin.readline()
        await asyncio.gather(*(send() for _ in range(8)))

asyncio.run(main(*sys.argv[1:]))
"""


@define(kw_only=True, eq=False)
class CountingSandbox(Sandbox):
    """Notes when which number came, and takes its time."""

    arrived: list[tuple[float, str]] = field(factory=list, init=False)

    async def _add(self, request: web.Request) -> web.StreamResponse:
        body = orjson.loads(await request.read())
        self.arrived.append((time.monotonic(), body["data"][0]["phoneNumber"]))
        await asyncio.sleep(random.uniform(0, 0.05))
        return await super()._add(request)


@contextlib.asynccontextmanager
async def processes(
    server: RedisServer, account: str, limit: RateLimit
) -> AsyncIterator[tuple[CountingSandbox, list[asyncio.subprocess.Process]]]:
    """Three processes that call a sandbox as often as they may; they begin at once."""
    async with CountingSandbox(rate=(limit.calls, limit.seconds), account_id=account) as sandbox:
        sandbox.make_list("Renewals", allow_duplicates=True)
        made = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", CALLER, str(limit), server.url, number(who)),
                env=environment(sandbox.environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            for who in range(3)
        ]
        try:
            for process in made:
                assert await process.stdout.readline() == b"ready\n"
            for process in made:
                process.stdin.write(b"\n")
            yield sandbox, made
            assert all(process.returncode in {None, -signal.SIGKILL} for process in made)
        finally:
            for process in made:
                if process.returncode is None:
                    process.kill()
                await process.communicate()


async def test_three_processes_keep_one_limit(server: RedisServer, account: str) -> None:
    """No call is refused, most of the limit is used, and no process gets less than half of its fair share."""
    limit, seconds = RateLimit(50, 2.0), 4.5
    async with processes(server, account, limit) as (sandbox, _):
        await asyncio.sleep(seconds)
        begin = sandbox.arrived[0][0]
        share = Counter(who for moment, who in sandbox.arrived if moment < begin + seconds)
    assert sandbox.throttled == 0
    assert sandbox.worst_window <= limit.calls
    possible = limit.calls * seconds / limit.seconds
    assert share.total() >= USED * possible
    assert min(share[number(who)] for who in range(3)) >= possible / 3 / 2


async def test_kill_9_of_one_of_three_processes(server: RedisServer, account: str) -> None:
    """No call is refused, and after two windows the others use the dead one's share too."""
    limit = RateLimit(24, 0.4)
    async with processes(server, account, limit) as (sandbox, (first, *_)):
        await asyncio.sleep(0.8)
        first.kill()
        killed = time.monotonic()
        await asyncio.sleep(2 * limit.seconds + 1.0)
        late = [(moment, who) for moment, who in sandbox.arrived if moment > killed + 2 * limit.seconds]
    assert sandbox.throttled == 0
    assert sandbox.worst_window <= limit.calls
    assert used([moment for moment, _ in late], limit) >= USED
    assert {who for _, who in late} == {number(1), number(2)}


# The slot rule


@pytest.mark.parametrize(("seconds", "lease"), [(0.4, 0.4), (100.0, 15.0)])
async def test_a_slot_is_taken_under_a_lease_and_held_for_a_window_after_the_answer(
    server: RedisServer, account: str, seconds: float, lease: float
) -> None:
    """The lease is a quarter of a minute, and never more than the window."""
    limit = RateLimit(3, seconds)
    async with budgets_on(server, account, limit, count=1) as (budget,):
        async with budget.slot():
            (left,) = server.slots(account, limit).values()
            assert left == pytest.approx(lease + seconds, rel=0.001, abs=LATE_SECONDS)
        await eventually_slots(server, account, limit, below=seconds + LATE_SECONDS / 2)
        (left,) = server.slots(account, limit).values()
        assert left == pytest.approx(seconds, rel=0.001, abs=LATE_SECONDS)


async def eventually_slots(server: RedisServer, account: str, limit: RateLimit, *, below: float) -> None:
    """Wait until Redis has heard that the calls are over: it is told while the caller goes on."""
    async with asyncio.timeout(5.0):
        while any(left > below for left in server.slots(account, limit).values()):
            await asyncio.sleep(0.005)


async def test_a_call_longer_than_lease_and_window_keeps_its_slot(server: RedisServer, account: str) -> None:
    limit = RateLimit(1, 0.2)
    async with budgets_on(server, account, limit) as (one, other):
        async with one.slot():
            waiting = asyncio.create_task(call(other))
            await asyncio.sleep(4 * limit.seconds)
            assert not waiting.done()
        over = time.monotonic()
        assert limit.seconds <= await waiting - over <= limit.seconds + LATE_SECONDS


HOLDER = """
import asyncio, sys, time
from kore_campaign_async.budget import Budget
from kore_campaign_async.budget_redis import RedisBudget
from kore_campaign_async.config import RateLimit

async def main(rate, url, account):
    limits = (RateLimit.parse(rate),)
    shared = RedisBudget(url, url, account, limits, clock=time.monotonic, sleep=asyncio.sleep)
    async with Budget(limits, shared=shared).slot():
        print("out", flush=True)
        await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_slot_of_a_process_that_died_is_free_after_its_lease_and_a_window(
    server: RedisServer, account: str
) -> None:
    limit = RateLimit(1, 0.3)
    holder = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, str(limit), server.url, account), stdout=asyncio.subprocess.PIPE
    )
    assert await holder.stdout.readline() == b"out\n"
    async with budgets_on(server, account, limit, count=1) as (budget,):
        waiting = asyncio.create_task(call(budget))
        await asyncio.sleep(3 * limit.seconds)
        assert not waiting.done()
        holder.kill()
        killed = time.monotonic()
        assert limit.seconds <= await waiting - killed <= 2 * limit.seconds + LATE_SECONDS
    await holder.communicate()


async def test_a_cancelled_waiter_leaves_no_slot_behind(server: RedisServer, account: str) -> None:
    limit = RateLimit(1, 0.3)
    async with budgets_on(server, account, limit) as (one, other):
        async with one.slot():
            (mine,) = server.slots(account, limit)
            waiting = [asyncio.create_task(call(other)) for _ in range(3)]
            await asyncio.sleep(0.05)
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
            assert list(server.slots(account, limit)) == [mine]
        over = time.monotonic()
        # Who comes later waits for nobody else.
        assert await call(other) - over <= limit.seconds + LATE_SECONDS


@pytest.mark.parametrize("limit", [RateLimit(10_000, 0.3), RateLimit(3, 0.05)], ids=str)
async def test_cancelled_at_any_turn_of_the_loop_no_slot_is_left_to_its_lease(
    server: RedisServer, account: str, limit: RateLimit
) -> None:
    """Redis may have granted what nobody waits for any more: it is given back, and no task is left of it."""
    rng = random.Random(5)
    ends: Counter[str] = Counter()

    async def one_call(budget: Budget) -> None:
        end = "cancelled before"
        try:
            async with budget.slot():
                end = "cancelled in flight"
                await asyncio.sleep(0.0005)
                end = "over"
        finally:
            ends[end] += 1

    async with budgets_on(server, account, limit) as budgets:
        for _ in range(250):
            tasks = [asyncio.create_task(one_call(rng.choice(budgets))) for _ in range(3)]
            for _ in range(rng.randrange(70)):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    left = server.slots(account, limit)
    assert all(seconds <= limit.seconds + 0.01 for seconds in left.values())
    await asyncio.sleep(limit.seconds + 0.01)
    assert server.slots(account, limit) == {}
    assert ends["cancelled before"] > 10
    assert ends["cancelled in flight"] > 10 or limit.calls == 3


async def test_several_windows_hold_at_once_and_no_slot_of_one_is_taken_where_another_refuses(
    server: RedisServer, account: str
) -> None:
    short, long = RateLimit(3, 0.3), RateLimit(5, 0.9)
    seen: list[tuple[int, int]] = []
    async with budgets_on(server, account, short, long) as budgets:
        calls = [asyncio.create_task(call(budgets[index % 2])) for index in range(7)]
        while not all(task.done() for task in calls):
            in_short, in_long = server.slots(account, short), server.slots(account, long)
            assert in_short.keys() <= in_long.keys()
            seen.append((len(in_short), len(in_long)))
            await asyncio.sleep(0.01)
    out = sorted(task.result() for task in calls)
    assert [moment - out[0] for moment in out] == pytest.approx([0, 0, 0, 0.3, 0.3, 0.9, 0.9], abs=LATE_SECONDS)
    # While the short window refuses the long one holds three, while the long one refuses the short one is empty.
    assert {(3, 3), (2, 5), (0, 5)} <= set(seen)
    assert all(in_short <= 3 and in_long <= 5 for in_short, in_long in seen)
    assert seen.count((3, 3)) > 5
    assert seen.count((0, 5)) > 5


async def test_even_spacing_holds_for_all_together(server: RedisServer, account: str) -> None:
    limit = RateLimit(10, 0.4, even=True)
    async with budgets_on(server, account, limit, count=3) as budgets:
        out = sorted(await asyncio.gather(*(call(budgets[index % 3]) for index in range(20))))
    apart = limit.seconds / limit.calls
    gaps = sorted(late - early for early, late in itertools.pairwise(out))
    assert gaps[2] >= 0.5 * apart  # a late one makes the gap behind it smaller
    assert 19 * apart - 0.01 <= out[-1] - out[0] <= 19 * apart / USED + LATE_SECONDS


async def test_an_uncontended_call_costs_two_round_trips(server: RedisServer, account: str) -> None:
    """One for its slot, and one when it is over."""
    async with budgets_on(server, account, RateLimit(1000, 100.0), count=1) as (budget,):
        await call(budget)
        await asyncio.sleep(0.05)
        server.ask("CONFIG", "RESETSTAT")
        for _ in range(50):
            await call(budget)
    assert server.ask("INFO", "commandstats")["cmdstat_evalsha"]["calls"] == 100
    # Making connections takes some too; a third round trip a call would make it 150 at least.
    assert server.ask("INFO", "stats")["total_reads_processed"] < 150


# The gate


async def test_a_gate_holds_the_others_and_a_shorter_one_does_not_open_it(server: RedisServer, account: str) -> None:
    limit = RateLimit(100, 0.3)
    async with budgets_on(server, account, limit, count=3) as (one, other, new):
        async with one.slot():
            one.close_gate(0.6)
        closed = time.monotonic()
        await asyncio.sleep(0.05)
        other.close_gate(0.01)
        await asyncio.sleep(0.05)
        out = await asyncio.gather(call(one), call(other), call(new))
        assert all(0.59 <= moment - closed <= 0.6 + LATE_SECONDS for moment in out)


async def test_a_gate_that_is_longer_than_what_else_is_kept_holds_who_comes_late(
    server: RedisServer, account: str
) -> None:
    """A Retry-After of minutes stays known, also after the calls that were out when it came are over."""
    limit = RateLimit(100, 0.1)
    async with budgets_on(server, account, limit) as (one, other):
        async with one.slot():
            one.close_gate(0.6)
            closed = time.monotonic()
        await asyncio.sleep(0.4)
        assert await call(other) - closed >= 0.59


# What is said of a Redis that can't be used


def sentence(text: str) -> str:
    """A command's standard error, which must be one line and hold no password."""
    (line,) = text.splitlines()
    assert SECRET not in line
    return line.removeprefix("kore-campaign: ")


async def push_with(sandbox: Sandbox, folder: Path, *more: str) -> Said:
    csv_of(folder / "contacts.csv", "phone", number(1))
    return await kore_campaign(
        *("push", "contacts.csv", "--list", "Renewals", *more), env=sandbox.environment, cwd=folder
    )


async def test_an_absent_redis_is_one_sentence_at_once() -> None:
    port = free_port()
    time_passed = FakeTime()
    client = client_for(
        "http://127.0.0.1:1",
        rate=(RateLimit(5, 1.0),),
        shared_rate=f"redis://:{SECRET}@127.0.0.1:{port}/3",
        clock=time_passed.clock,
        sleep=time_passed.sleep,
    )
    async with client:
        with pytest.raises(SharedRateError) as caught:
            await client.list_contact_lists()
    assert str(caught.value).startswith(f"the shared rate at redis://***@127.0.0.1:{port}/3 can't be reached: ")
    assert "\n" not in str(caught.value)
    assert SECRET not in shown_by(caught.value, test_file=__file__)
    assert time_passed.slept == []


async def test_the_shell_says_that_redis_is_absent(sandbox: Sandbox, tmp_path: Path) -> None:
    port = free_port()
    said = await push_with(sandbox, tmp_path, "--shared-rate", f"redis://:{SECRET}@127.0.0.1:{port}")
    assert said.status == 2
    assert sentence(said.err).startswith(f"the shared rate at redis://***@127.0.0.1:{port} can't be reached")
    assert not sandbox.calls
    assert [path.name for path in tmp_path.iterdir()] == ["contacts.csv"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"http://:{SECRET}@127.0.0.1:6379", "http://***@127.0.0.1:6379"),
        (f"redis://:{SECRET}@127.0.0.1:port", None),
        (f"redis://127.0.0.1?password={SECRET}&db=a", "redis://***@127.0.0.1"),
        (f":{SECRET}@127.0.0.1:6379", None),
        (f"redis://:{SECRET}/{SECRET}@127.0.0.1:6379", None),
        (f"redis://:{SECRET}#{SECRET}@127.0.0.1:6379", None),
        (f"redis://:{SECRET}?{SECRET}@127.0.0.1:6379", None),
        (f"redis://:{SECRET}@[::1", None),
        (f"redis://127.0.0.1:port?password={SECRET}@{SECRET}", None),
    ],
)
def test_what_is_no_url_of_a_redis_is_told_without_its_secrets(url: str, shown: str | None) -> None:
    """Also where the password holds what ends a URL's parts, and should have been escaped."""
    with pytest.raises(InvalidRequestError) as caught:
        client_for("http://127.0.0.1:1", rate=(RateLimit(5, 1.0),), shared_rate=url)
    assert "is no URL of a Redis" in str(caught.value)
    assert shown is None or f" {shown} " in str(caught.value)
    assert SECRET not in shown_by(caught.value, test_file=__file__)


async def test_the_shell_says_what_is_no_url_and_that_no_rate_can_not_be_shared(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    said = await push_with(sandbox, tmp_path, "--shared-rate", f"http://:{SECRET}@127.0.0.1:6379")
    assert said.status == 2
    assert sentence(said.err) == (
        "the shared rate http://***@127.0.0.1:6379 is no URL of a Redis, such as redis://host:6379"
    )
    said = await push_with(sandbox, tmp_path, "--rate", "none", "--shared-rate", f"redis://:{SECRET}@127.0.0.1:6379")
    assert said.status == 2
    assert "no rate can't be shared" in sentence(said.err)
    assert not sandbox.calls


async def test_without_the_package_the_extra_is_named(sandbox: Sandbox, tmp_path: Path) -> None:
    csv_of(tmp_path / "contacts.csv", "phone", number(1))
    shell = "import sys; sys.modules['redis'] = None; from kore_campaign_async.cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", shell, "push", "contacts.csv", "--list", "Renewals"),
        *("--shared-rate", f"redis://:{SECRET}@127.0.0.1:6379"),
        env=environment(sandbox.environment),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert "pip install 'kore-campaign-async[redis]'" in sentence(said.decode())
    assert not sandbox.calls


async def test_a_wrong_password_is_one_sentence_that_holds_none(
    locked_server: RedisServer, sandbox: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the right one nor the wrong one stands in what can be seen of the client or its error."""
    caplog.set_level(logging.DEBUG)
    url = f"redis://:{SECRET}-not@127.0.0.1:{locked_server.port}"
    client = CampaignClient.from_env(sandbox.environment, rate=(RateLimit(5, 1.0),), shared_rate=url)
    async with client:
        with pytest.raises(SharedRateError, match="invalid username-password pair") as caught:
            await client.list_contact_lists()
    assert "\n" not in str(caught.value)
    assert SECRET not in shown_by(caught.value, test_file=__file__)
    assert SECRET not in repr(client) + repr(vars(client)) + repr(client._budget) + repr(vars(client._budget))
    assert SECRET not in caplog.text
    said = await push_with(sandbox, tmp_path, "--shared-rate", url)
    assert said.status == 2
    assert "invalid username-password pair" in sentence(said.err)
    assert not sandbox.calls


async def test_the_right_password_stands_nowhere_either(
    locked_server: RedisServer, account: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in the logs nor in a file of the run."""
    caplog.set_level(logging.DEBUG)
    run_dir = tmp_path / "run"
    async with (
        Sandbox(rate=None, account_id=account) as sandbox,
        CampaignClient.from_env(
            sandbox.environment, rate=(RateLimit(50, 0.2),), shared_rate=locked_server.url
        ) as client,
    ):
        sandbox.make_list(LIST)
        report = await push(client, csv_of(tmp_path / "c.csv", "phone", *numbers(5)), run_dir=run_dir)
        assert SECRET not in repr(client) + repr(vars(client)) + repr(client._budget) + repr(vars(client._budget))
    assert report.counts.accepted == 5
    assert locked_server.ask("EXISTS", f"kore-campaign:{{{account}}}:state") == 1
    assert SECRET not in caplog.text + repr(report)
    written = b"".join(path.read_bytes() for path in run_dir.iterdir())
    assert f"redis://***@127.0.0.1:{locked_server.port}".encode() in written
    assert SECRET.encode() not in written


# A Redis that forgets, restarts, stands still or goes away

LIMIT = RateLimit(8, 0.3)
LATENCY_SECONDS = 0.06


def check_pause(arrived: Arrivals, begin: float, end: float) -> None:
    """Between these moments nothing came but what was on its way, and afterwards all goes on."""
    late = [moment for moment, _ in arrived if moment > begin + LATENCY_SECONDS + 0.1]
    assert min(late) >= end
    assert {who for moment, who in arrived if moment > end} == {who for _, who in arrived}
    assert used(late, LIMIT) >= 0.8 * USED


async def test_forgotten_scripts_cost_nothing(own_server: RedisServer, account: str) -> None:
    async with budgets_on(own_server, account, LIMIT, count=3) as budgets, calling(budgets) as arrived:
        for _ in range(20):
            await asyncio.sleep(0.06)
            own_server.ask("SCRIPT", "FLUSH")
    assert most_in_a_window(arrived, LIMIT.seconds) <= LIMIT.calls
    assert used([moment for moment, _ in arrived], LIMIT) >= USED


async def test_a_restart_costs_a_pause_and_no_overrun(own_server: RedisServer, account: str) -> None:
    """Redis comes back and knows nothing: nobody calls for a window, then all go on."""
    async with budgets_on(own_server, account, LIMIT, count=3) as budgets, calling(budgets) as arrived:
        await asyncio.sleep(0.5)
        killed = time.monotonic()
        own_server.kill()
        await asyncio.sleep(0.2)
        back = time.monotonic()
        own_server.start()
        await asyncio.sleep(1.2)
    assert most_in_a_window(arrived, LIMIT.seconds) <= LIMIT.calls
    check_pause(arrived, killed, back + LIMIT.seconds)


async def test_a_restart_from_an_old_dump_costs_a_pause_and_no_overrun(own_server: RedisServer, account: str) -> None:
    """Redis comes back and knows of the calls before the last ones: also who is new notices that."""
    async with budgets_on(own_server, account, LIMIT, count=3) as budgets:
        await call(budgets[0])
        await call(budgets[1])
        own_server.ask("SAVE")
        begin = time.monotonic()
        async with calling(budgets[:2]) as arrived:
            await asyncio.sleep(0.2)
            own_server.kill()
            back = time.monotonic()
            own_server.start()
            assert own_server.ask("EXISTS", f"kore-campaign:{{{account}}}:state") == 1
            assert await call(budgets[2]) >= back + LIMIT.seconds
            await asyncio.sleep(0.9)
    arrived.append((begin, 2))
    assert most_in_a_window(sorted(arrived), LIMIT.seconds) <= LIMIT.calls
    assert sum(moment < back for moment, _ in arrived) >= LIMIT.calls - 1
    check_pause([one for one in arrived if one[1] != 2], back, back + LIMIT.seconds)


async def grown_up(server: RedisServer) -> None:
    """Wait until Redis has run for longer than the short windows; it tells that in whole seconds."""
    while server.ask("INFO", "server")["uptime_in_seconds"] < 2:
        await asyncio.sleep(0.05)


async def test_what_is_flushed_costs_a_pause_and_no_overrun(server: RedisServer, account: str) -> None:
    await grown_up(server)
    async with budgets_on(server, account, LIMIT, count=3) as budgets, calling(budgets) as arrived:
        await asyncio.sleep(0.5)
        server.ask("FLUSHALL")
        flushed = time.monotonic()
        await asyncio.sleep(1.2)
    assert most_in_a_window(arrived, LIMIT.seconds) <= LIMIT.calls
    check_pause(arrived, flushed, flushed + LIMIT.seconds - 0.01)


@pytest.mark.parametrize("new_first", [False, True])
async def test_who_knew_what_was_flushed_pauses_though_somebody_new_may_have_asked_before(
    server: RedisServer, account: str, new_first: bool
) -> None:
    await grown_up(server)
    async with budgets_on(server, account, LIMIT, count=3) as (one, other, new):
        await asyncio.gather(call(other), *(call(one) for _ in range(LIMIT.calls - 1)))
        server.ask("FLUSHALL")
        flushed = time.monotonic()
        if new_first:
            await call(new)
        assert await call(other) - flushed >= LIMIT.seconds


@pytest.mark.parametrize("lost", ["state", "0.6", "1.2", "state 0.6", "0.6 1.2", "state 1.2"])
@pytest.mark.parametrize("new_first", [False, True])
async def test_keys_that_are_evicted_cost_a_pause_and_no_overrun(
    server: RedisServer, account: str, lost: str, new_first: bool
) -> None:
    """A Redis that is full drops any key it likes, and a window without its slots is not free."""
    await grown_up(server)
    limits = RateLimit(6, 0.6), RateLimit(9, 1.2)
    async with budgets_on(server, account, *limits, count=3) as (one, other, new):
        before = await asyncio.gather(*(call(budget) for budget in (one, other) for _ in range(3)))
        server.ask("DEL", *(f"kore-campaign:{{{account}}}:{name}" for name in lost.split()))
        who = (new, one) if new_first else (one, new)
        after = await asyncio.gather(*(call(budget) for budget in who for _ in range(5)))
    moments = [(moment, None) for moment in sorted(before + after)]
    for limit in limits:
        assert most_in_a_window(moments, limit.seconds) <= limit.calls


async def test_the_first_to_ask_a_restarted_redis_may_have_known_nothing(own_server: RedisServer, account: str) -> None:
    """Others called before the restart: no overrun, though they ask later than who is new.

    Redis tells its age in whole seconds: here one is full soon after its start, and it has not run for a window.
    """
    async with budgets_on(own_server, account, LIMIT) as (one, new):
        await call(one)
        await asyncio.sleep(LIMIT.seconds + 0.1)
        await asyncio.sleep((0.85 - time.time()) % 1)
        before = await asyncio.gather(*(call(one) for _ in range(LIMIT.calls)))
        own_server.kill()
        own_server.start()
        await asyncio.sleep(-time.time() % 1 + 0.01)
        after = await asyncio.gather(*(call(new) for _ in range(LIMIT.calls)))
    assert most_in_a_window([(moment, None) for moment in sorted(before + after)], LIMIT.seconds) <= LIMIT.calls


async def test_a_stalled_redis_costs_a_pause_and_no_overrun(
    own_server: RedisServer, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it answers again before its clients give up, or after."""
    monkeypatch.setattr(budget_redis, "_TIMEOUT_SECONDS", 0.3)
    async with budgets_on(own_server, account, LIMIT, count=3) as budgets, calling(budgets) as arrived:
        for seconds in (0.2, 0.6):
            await asyncio.sleep(0.3)
            own_server.freeze()
            frozen = time.monotonic()
            await asyncio.sleep(seconds)
            assert all(moment < frozen + LATENCY_SECONDS + 0.1 for moment, _ in arrived)
            own_server.thaw()
            thawed = time.monotonic()
        await asyncio.sleep(1.1)
    assert most_in_a_window(arrived, LIMIT.seconds) <= LIMIT.calls
    assert {who for moment, who in arrived if moment > thawed} == {0, 1, 2}
    assert used([moment for moment, _ in arrived if moment > thawed], LIMIT) >= 0.8 * USED


async def test_a_stall_that_outlasts_the_leases_frees_no_slot_of_a_call_that_is_out(
    own_server: RedisServer, account: str
) -> None:
    """Nobody could renew them. Who is out has to connect anew besides, so that somebody else is the first to ask."""
    limit = RateLimit(5, 0.3)
    over = asyncio.Event()

    async def long_call(budget: Budget) -> None:
        async with budget.slot():
            await over.wait()

    async with budgets_on(own_server, account, limit) as (one, other):
        out = [asyncio.create_task(long_call(one)) for _ in range(limit.calls - 1)]
        async with asyncio.timeout(5.0):
            while len(own_server.slots(account, limit)) < len(out):
                await asyncio.sleep(0.005)
        connections = [each["id"] for each in own_server.ask("CLIENT LIST")]
        await call(other)
        await asyncio.sleep(limit.seconds + 0.1)
        for each in connections:
            own_server.ask("CLIENT", "KILL", "ID", each)
        own_server.freeze()
        waiting = [asyncio.create_task(call(other)) for _ in range(limit.calls)]
        await asyncio.sleep(2.2 * limit.seconds)
        own_server.thaw()
        await asyncio.sleep(1.5 * limit.seconds)
        assert sum(task.done() for task in waiting) <= 1
        over.set()
        await asyncio.gather(*out, *waiting)


async def test_who_comes_to_an_empty_redis_does_not_wait(server: RedisServer, account: str) -> None:
    """Redis has run for a while, and knows nothing of this account."""
    await grown_up(server)
    begin = time.monotonic()
    async with budgets_on(server, account, RateLimit(2, 0.5)) as (one, other):
        assert max(await asyncio.gather(call(one), call(other))) - begin <= LATE_SECONDS


async def test_redis_gone_for_good_is_told_after_a_minute(own_server: RedisServer, account: str) -> None:
    """All who wait are told then, not each a minute after the one before."""
    time_passed = FakeTime()
    clocks = {"clock": time_passed.clock, "sleep": time_passed.sleep}
    async with budgets_on(own_server, account, RateLimit(10, 0.1), count=1, **clocks) as (budget,):
        await call(budget)
        await asyncio.sleep(0.05)
        own_server.kill()
        begin, slept = time_passed.now, len(time_passed.slept)
        ended = await asyncio.gather(*(call(budget) for _ in range(5)), return_exceptions=True)
        assert all(isinstance(error, SharedRateError) for error in ended)
        assert max(time_passed.slept[slept:]) <= 2.0
        assert 60 < time_passed.now - begin < 70


async def test_a_run_whose_redis_is_gone_for_good_stops_and_is_resumed(
    own_server: RedisServer, account: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its batches are unsent, and say why; when Redis is back a resume sends each of them once."""
    monkeypatch.setattr(budget_redis, "_PATIENCE_SECONDS", 0.2)
    source, run_dir = csv_of(tmp_path / "c.csv", "phone", *numbers(100)), tmp_path / "run"
    settings = {"rate": (RateLimit(10_000, 0.5),), "shared_rate": own_server.url}
    async with Sandbox(rate=None, job_seconds=0.0, account_id=account) as sandbox:
        sandbox.make_list(LIST, allow_duplicates=True)
        async with CampaignClient.from_env(sandbox.environment, **settings) as client:
            pushing = asyncio.create_task(
                push(client, source, run_dir=run_dir, batch=BatchLimits(max_contacts=1), concurrency=4)
            )
            while sandbox.calls["addContacts"] < 20:
                await asyncio.sleep(0.002)
            own_server.kill()
            report = await pushing
        assert report.exit_status == 4
        assert report.stopped_because is not None
        assert f"the shared rate at {own_server.url} can't be reached" in report.stopped_because
        assert report.counts.accepted == sandbox.calls["addContacts"] == report.counts.read - report.counts.unsent
        assert report.counts.unsent > 0
        own_server.start()
        async with CampaignClient.from_env(sandbox.environment, **settings) as client:
            report = await resume_ingest(client, run_dir)
        assert (report.exit_status, report.counts.accepted) == (0, 100)
        assert [contact["phoneNumber"] for contact in await stored(sandbox)] == numbers(100)


# The shell's resume


async def stopped_push(sandbox: Sandbox, folder: Path, url: str) -> None:
    """Push two thousand contacts, and stop that when the budget has let two calls through."""
    csv_of(folder / "contacts.csv", "phone", *numbers(2000))
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, "push", "contacts.csv", "--list", "Renewals", "--rate", "4/3600", "--run-dir", "run"),
        *("--shared-rate", url, "--max-contacts", "100"),
        env=environment(sandbox.environment),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    while sandbox.calls["addContacts"] < 2:
        assert process.returncode is None
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    out, err = await process.communicate()
    assert process.returncode == 4, err.decode()
    assert SECRET not in out.decode() + err.decode()


async def test_resume_asks_for_a_url_that_had_a_password(
    locked_server: RedisServer, account: str, tmp_path: Path
) -> None:
    resume = ("resume", "run", "--rate", "1000/100")
    async with Sandbox(rate=None, account_id=account) as sandbox:
        sandbox.make_list("Renewals")
        await stopped_push(sandbox, tmp_path, locked_server.url)
        said = await kore_campaign(*resume, env=sandbox.environment, cwd=tmp_path)
        assert said.status == 2
        assert sentence(said.err) == (
            f"the run shared its rate at redis://***@127.0.0.1:{locked_server.port}, and no password is kept: give the"
            " whole URL with --shared-rate or in KORE_SHARED_RATE"
        )
        env = {**sandbox.environment, "KORE_SHARED_RATE": locked_server.url}
        said = await kore_campaign(*resume, env=env, cwd=tmp_path)
        assert said.status == 0, said.err
        assert SECRET not in said.out + said.err
    assert locked_server.ask("EXISTS", f"kore-campaign:{{{account}}}:100") == 1
    assert all(SECRET.encode() not in path.read_bytes() for path in (tmp_path / "run").iterdir())


async def test_resume_takes_a_url_without_a_password_from_the_journal(
    server: RedisServer, account: str, tmp_path: Path
) -> None:
    async with Sandbox(rate=None, account_id=account) as sandbox:
        sandbox.make_list("Renewals")
        await stopped_push(sandbox, tmp_path, server.url)
        said = await kore_campaign("resume", "run", "--rate", "1000/100", env=sandbox.environment, cwd=tmp_path)
        assert said.status == 0, said.err
    assert server.ask("ZCARD", f"kore-campaign:{{{account}}}:100") == sandbox.calls.total() - 4
