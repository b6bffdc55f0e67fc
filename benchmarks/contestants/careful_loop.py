"""The best loop: what a good engineer writes by hand. `csv.reader`, a regex, a set, orjson and aiohttp.

It drops numbers that are none and those it has seen, leaves empty cells out, and keeps eight calls in flight on
kept-alive connections. It keeps no account, no journal, no budget, and repeats nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson
from common import HEADERS, IN_FLIGHT, arguments, batches, told


async def _main(url: str, path: Path, size: int) -> None:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def send(body: bytes) -> None:
        try:
            async with session.post(url, data=body) as reply:
                assert "in progress" in orjson.loads(await reply.read())["message"]
        finally:
            slots.release()

    async with aiohttp.ClientSession(headers=HEADERS) as session, asyncio.TaskGroup() as group:
        for batch in batches(path, size):
            await slots.acquire()
            group.create_task(send(orjson.dumps({"contact_list_name": "Bench", "data": batch})))


if __name__ == "__main__":
    with told():
        asyncio.run(_main(*arguments()))
