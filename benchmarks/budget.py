"""How much of an account's limit is used, and how many calls are refused, by whole `kore-campaign push` processes.

The sandbox is the server: its window slides, it takes 50 ms for a call, and it refuses what is over 50 calls in 2 s.
The peer is what asyncio programs take for this: aiolimiter, a leaky bucket, around the same calls.

Run `make bench`, or `python benchmarks/budget.py --seconds 60`. What is shared needs `redis-server` on the path.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiohttp import web
from aiolimiter import AsyncLimiter

from kore_campaign_async import CallError, CampaignClient, Contact, RateLimit, RetryPolicy
from kore_campaign_async.budget import Budget
from kore_campaign_async.budget_redis import RedisBudget
from kore_campaign_async.sandbox import Sandbox

_LIMIT = RateLimit(50, 2.0)
_CONTACTS = 20_000
_SHELL = str(Path(sys.executable).with_name("kore-campaign"))


class Server(Sandbox):
    """Notes who called when: the first digits of the first number tell."""

    arrived: list[tuple[float, str]]
    called: asyncio.Event

    async def _add(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.called.set()
        self.arrived.append((time.monotonic(), body["data"][0]["phoneNumber"][:5]))
        await asyncio.sleep(random.uniform(0.0, 0.05))
        answer = await super()._add(request)
        await asyncio.sleep(random.uniform(0.0, 0.05))
        return answer


@contextlib.asynccontextmanager
async def server() -> AsyncIterator[Server]:
    """Run the sandbox in this process."""
    async with Server(rate=(_LIMIT.calls, _LIMIT.seconds)) as running:
        running.arrived, running.called = [], asyncio.Event()
        running.make_list("Bench", allow_duplicates=True)
        yield running


@contextlib.asynccontextmanager
async def redis(folder: Path) -> AsyncIterator[str]:
    """Run a Redis of our own; yield its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ("redis-server", "--port", str(port), "--save", "", "--dir", str(folder))
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                break
            await asyncio.sleep(0.05)
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.wait()


async def push(running: Server, folder: Path, number: int, *more: str) -> asyncio.subprocess.Process:
    """Start a push of one contact a call."""
    source = folder / f"{number}.csv"
    source.write_text("phone\n" + "".join(f"+1{number:03}{row:07}\n" for row in range(_CONTACTS)))
    flags = ("--list", "Bench", "--max-contacts", "1", "--rate", str(_LIMIT), "--run-dir", str(folder / str(number)))
    return await asyncio.create_subprocess_exec(
        *(_SHELL, "push", str(source), *flags, *more),
        env=os.environ | running.environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def first_call(running: Server) -> float:
    """Wait for it, and return its moment."""
    await running.called.wait()
    return running.arrived[0][0]


async def stop(processes: list[asyncio.subprocess.Process]) -> None:
    """Kill what still runs."""
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.wait()


def share(running: Server, begin: float, end: float, of: float = 1.0) -> float:
    """How much of the limit was used between two moments."""
    calls = sum(begin <= moment < end for moment, _ in running.arrived)
    return calls / (of * _LIMIT.calls * (end - begin) / _LIMIT.seconds)


def say(what: str, used: float, running: Server, more: str = "") -> None:
    """Print a line of the table."""
    print(f"{what:52} {used:>6.1%} used {running.throttled:>4} refused, worst window {running.worst_window}{more}")


async def one_process(folder: Path, seconds: float) -> float:
    """One push, alone."""
    async with server() as running:
        processes = [await push(running, folder, 100)]
        begin = await first_call(running)
        await asyncio.sleep(begin + seconds - time.monotonic())
        await stop(processes)
        used = share(running, begin, begin + seconds)
        say("one push", used, running)
    return used


async def the_peer(seconds: float) -> float:
    """The same calls behind aiolimiter; a refused call waits for two seconds and is sent again."""
    limiter = AsyncLimiter(_LIMIT.calls, _LIMIT.seconds)
    async with server() as running, CampaignClient.from_env(running.environment, rate=(), retry=ONCE) as client:
        begin = time.monotonic()

        async def sender() -> None:
            while time.monotonic() < begin + seconds:
                async with limiter:
                    with contextlib.suppress(CallError):
                        await client.add_contacts("Bench", [Contact("+12000000000")])
                        continue
                await asyncio.sleep(_LIMIT.seconds)

        await asyncio.gather(*(sender() for _ in range(8)))
        accepted = running.named("Bench").records.total() / (_LIMIT.calls * seconds / _LIMIT.seconds)
        say("the same calls behind aiolimiter", accepted, running)
    return accepted


ONCE = RetryPolicy(attempts=1, throttled_answers=1)


async def three_processes(folder: Path, url: str, seconds: float) -> None:
    """Three pushes that share the limit, and then two of them, once the third was killed."""
    async with server() as running:
        processes = [await push(running, folder, number, "--shared-rate", url) for number in (201, 202, 203)]
        begin = await first_call(running)
        await asyncio.sleep(begin + seconds - time.monotonic())
        middle = time.monotonic()
        processes[0].kill()
        fair = _LIMIT.calls * seconds / _LIMIT.seconds / 3
        by = [sum(who == f"+1{number}" for _, who in running.arrived) for number in (201, 202, 203)]
        least = f", the least had {min(by) / fair:.0%} of its fair share"
        say("three pushes on one Redis", share(running, begin, begin + seconds), running, least)
        settled = middle + 2 * _LIMIT.seconds
        await asyncio.sleep(settled + seconds - time.monotonic())
        await stop(processes)
        say("two windows after kill -9 of one of them", share(running, settled, settled + seconds), running)


class Rival:
    """Another program that takes half of the limit without telling, and sends again what was refused.

    It sends its half evenly; as fast as it can, under a limit of its own; or all at once, whenever a window is over,
    and again every tenth of a second.
    """

    def __init__(self, client: CampaignClient, kind: str) -> None:
        self.taken: list[float] = []
        self._client = client
        self._kind = kind

    async def run(self) -> None:
        """Go on until cancelled."""
        half = RateLimit(_LIMIT.calls // 2, _LIMIT.seconds)
        async with asyncio.TaskGroup() as group:
            if self._kind == "as fast as it can":
                budget = Budget([half])
                for _ in range(8):
                    group.create_task(self._under(budget))
                return
            at_once, pause = (1, half.seconds / half.calls) if self._kind == "evenly" else (half.calls, half.seconds)
            while True:
                for _ in range(at_once):
                    group.create_task(self._until_taken())
                await asyncio.sleep(pause)

    async def _call(self) -> bool:
        with contextlib.suppress(CallError):
            await self._client.list_contact_lists()
            self.taken.append(time.monotonic())
            return True
        return False

    async def _until_taken(self) -> None:
        taken = await self._call()
        while not taken:
            await asyncio.sleep(0.1)
            taken = await self._call()

    async def _under(self, budget: Budget) -> None:
        while True:
            async with budget.slot():
                await self._call()


async def beside_a_rival(folder: Path, seconds: float, kind: str) -> None:
    """One push, while a rival takes half of the limit; measured after five windows."""
    async with server() as running, CampaignClient.from_env(running.environment, rate=(), retry=ONCE) as client:
        rival = Rival(client, kind)
        other = asyncio.create_task(rival.run())
        processes = [await push(running, folder, 300 + len(kind))]
        late = await first_call(running) + 5 * _LIMIT.seconds
        await asyncio.sleep(late - time.monotonic())
        before = running.named("Bench").records.total()
        called, arrived = running.calls["addContacts"], len(running.arrived)
        await asyncio.sleep(late + seconds - time.monotonic())
        accepted = running.named("Bench").records.total() - before
        sent = running.calls["addContacts"] - called
        refused = sent - (len(running.arrived) - arrived)
        await stop(processes)
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    limit = _LIMIT.calls * seconds / _LIMIT.seconds
    taken = sum(late <= moment < late + seconds for moment in rival.taken)
    used, part = accepted / (limit - taken), refused / sent
    print(f"beside a rival that takes {taken / limit:.0%}, {kind:24} {used:>6.1%} of the rest used, {part:.1%} refused")


async def cost(url: str | None) -> None:
    """What a slot costs where nobody waits."""
    free: tuple[RateLimit, ...] = (RateLimit(10**7, 2.0), RateLimit(10**8, 3600.0))
    own: dict[str, Any] = {"in process, two windows": Budget(free)}
    if url is not None:
        shared = RedisBudget(url, url, "cost", free, clock=time.monotonic, sleep=asyncio.sleep)
        own["in Redis, two windows"] = Budget(free, shared=shared)
    for what, budget in own.items():
        calls = 20_000 if "process" in what else 2_000
        began = time.perf_counter()
        for _ in range(calls):
            async with budget.slot():
                pass
        print(f"{what:52} {(time.perf_counter() - began) / calls * 1e6:>6.1f} µs a call")
        await budget.close()


async def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="for each line")
    seconds = parser.parse_args().seconds
    print(f"{_LIMIT} calls, {seconds:g} s each")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours, theirs = await asyncio.gather(one_process(folder, seconds), the_peer(seconds))
        print(f"ratio: {ours / theirs:.2f} times the accepted calls of aiolimiter")
        # Longer than the rest: where a share has to be found, ten windows are few.
        kinds = "evenly", "as fast as it can", "all at once, hammering"
        side_by_side = [beside_a_rival(folder, 3 * seconds, kind) for kind in kinds]
        if shutil.which("redis-server") is None:
            print("no redis-server on the path: what is shared is not measured")
            await asyncio.gather(*side_by_side)
            await cost(None)
            return
        async with redis(folder) as url:
            await asyncio.gather(*side_by_side, three_processes(folder, url, seconds))
            await cost(url)


if __name__ == "__main__":
    asyncio.run(main())
