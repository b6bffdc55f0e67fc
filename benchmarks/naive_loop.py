"""The peer: what a script does that has to push a CSV file today. `csv.DictReader`, `json` and aiohttp.

It keeps no account, no duplicates, no budget; eight calls at once, as many contacts in each as ours.
"""

from __future__ import annotations

import asyncio
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp


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
    headers = {"auth": "token", "iid": "st-1", "accountId": "1", "Content-Type": "application/json"}
    slots = asyncio.Semaphore(8)

    async def send(session: aiohttp.ClientSession, batch: list[dict[str, str]]) -> None:
        try:
            body: dict[str, Any] = {"contact_list_name": "Bench", "data": batch}
            async with session.post(url, data=json.dumps(body).encode(), headers=headers) as reply:
                assert "in progress" in (await reply.json())["message"]
        finally:
            slots.release()

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for batch in _batches(path, size):
            await slots.acquire()
            group.create_task(send(session, batch))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
