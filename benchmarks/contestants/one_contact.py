"""What one `add_contacts` of one contact costs over a bare POST by aiohttp with the same settings, in one process."""

from __future__ import annotations

import asyncio
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import orjson
from common import HEADERS

from kore_campaign_async import CampaignClient, Contact

_WARM_UP = 50


async def _main(url: str, calls: int) -> None:
    contacts = [Contact("+12000000000")]
    body = orjson.dumps({"contact_list_name": "Bench", "data": [{"phoneNumber": "+12000000000"}]})
    headers = HEADERS | {"Accept": "application/json", "User-Agent": "kore-campaign-async"}
    connector = aiohttp.TCPConnector(force_close=True, limit=100)
    async with CampaignClient.from_env(rate=()) as client, aiohttp.ClientSession(connector=connector) as session:

        async def ours() -> None:
            await client.add_contacts("Bench", contacts)

        async def bare() -> None:
            async with session.post(url, data=body, headers=headers) as reply:
                assert b"in progress" in await reply.read()

        both: dict[str, Callable[[], Awaitable[None]]] = {"ours": ours, "bare": bare}
        wall: dict[str, list[float]] = {"ours": [], "bare": []}
        cpu: dict[str, list[float]] = {"ours": [], "bare": []}
        for number in range(calls + _WARM_UP):
            for name in ("ours", "bare") if number % 2 else ("bare", "ours"):
                began, used = time.perf_counter(), time.process_time()
                await both[name]()
                wall[name].append(time.perf_counter() - began)
                cpu[name].append(time.process_time() - used)
    found = {f"{name}_us": statistics.median(all_of[_WARM_UP:]) * 1e6 for name, all_of in wall.items()}
    found |= {f"{name}_cpu_us": statistics.median(all_of[_WARM_UP:]) * 1e6 for name, all_of in cpu.items()}
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
