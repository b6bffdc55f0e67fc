"""The careful loop over httpx instead of aiohttp."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import orjson
from common import HEADERS, arguments, batches, contacts, told
from in_flight import post_all


async def _main(url: str, path: Path, size: int) -> None:
    async with httpx.AsyncClient(headers=HEADERS) as session:

        async def post(body: bytes) -> str:
            return str((await session.post(url, content=body)).json()["message"])

        made = batches(contacts(path), size)
        await post_all((orjson.dumps({"contact_list_name": "Bench", "data": batch}) for batch in made), post)


if __name__ == "__main__":
    with told():
        asyncio.run(_main(*arguments()))
