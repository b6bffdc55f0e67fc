"""The best loop: what a good engineer writes by hand. `csv.reader`, a regex, a set, orjson and aiohttp.

It drops numbers that are none and those it has seen, leaves empty cells out, and keeps eight calls in flight on
kept-alive connections. It keeps no account, no journal, no budget, and repeats nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import orjson
from common import HEADERS, arguments, batches, contacts, told
from in_flight import post_all


async def _main(url: str, path: Path, size: int) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as session:

        async def post(body: bytes) -> str:
            async with session.post(url, data=body) as reply:
                return str(orjson.loads(await reply.read())["message"])

        made = batches(contacts(path), size)
        await post_all((orjson.dumps({"contact_list_name": "Bench", "data": batch}) for batch in made), post)


if __name__ == "__main__":
    with told():
        asyncio.run(_main(*arguments()))
