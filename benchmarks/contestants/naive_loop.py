"""The plain loop: what a script does that has to push a CSV file today. `csv.DictReader`, `json` and aiohttp.

It keeps no account, no duplicates, no budget, and checks nothing; eight calls at once.
"""

from __future__ import annotations

import asyncio
import csv
import json
from pathlib import Path

import aiohttp
from common import HEADERS, arguments, batches, told
from in_flight import post_all


async def _main(url: str, path: Path, size: int) -> None:
    with path.open(encoding="utf-8-sig", newline="") as file:
        async with aiohttp.ClientSession() as session:

            async def post(body: bytes) -> str:
                async with session.post(url, data=body, headers=HEADERS) as reply:
                    return str((await reply.json())["message"])

            made = batches(csv.DictReader(file), size)
            await post_all((json.dumps({"contact_list_name": "Bench", "data": batch}).encode() for batch in made), post)


if __name__ == "__main__":
    with told():
        asyncio.run(_main(*arguments()))
