"""The careful loop over httpx instead of aiohttp."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import orjson
from common import HEADERS, IN_FLIGHT, arguments, batches, told


async def _main(url: str, path: Path, size: int) -> None:
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def send(body: bytes) -> None:
        try:
            reply = await session.post(url, content=body)
            assert "in progress" in reply.json()["message"]
        finally:
            slots.release()

    async with httpx.AsyncClient(headers=HEADERS) as session, asyncio.TaskGroup() as group:
        for batch in batches(path, size):
            await slots.acquire()
            group.create_task(send(orjson.dumps({"contact_list_name": "Bench", "data": batch})))


if __name__ == "__main__":
    with told():
        asyncio.run(_main(*arguments()))
