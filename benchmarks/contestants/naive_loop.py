"""The plain loop: what a script does that has to push a CSV file today. `csv.DictReader`, `json` and aiohttp.

It keeps no account, no duplicates, no budget, and checks nothing; eight calls at once.
"""

from __future__ import annotations

import asyncio
import csv
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from common import HEADERS, IN_FLIGHT, arguments, told


def _batches(path: Path, size: int) -> Iterator[list[dict[str, str]]]:
    batch: list[dict[str, str]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            batch.append(row)
            if len(batch) == size:
                yield batch
                batch = []
    if batch:
        yield batch


async def _main(url: str, path: Path, size: int) -> None:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def send(session: aiohttp.ClientSession, batch: list[dict[str, str]]) -> None:
        try:
            body = json.dumps({"contact_list_name": "Bench", "data": batch}).encode()
            async with session.post(url, data=body, headers=HEADERS) as reply:
                assert "in progress" in (await reply.json())["message"]
        finally:
            slots.release()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for batch in _batches(path, size):
            await slots.acquire()
            group.create_task(send(session, batch))


if __name__ == "__main__":
    with told():
        asyncio.run(_main(*arguments()))
