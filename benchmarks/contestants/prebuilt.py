"""The ceiling: bodies that were encoded beforehand, one a line, and nothing but aiohttp.

With `keep` connections are kept alive; with `close` each call has its own, as ours have. `write FILE` makes the bodies.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import aiohttp
import orjson
from common import HEADERS, arguments, batches, contacts, told
from in_flight import post_all


async def _main(url: str, path: Path, *, close: bool) -> None:
    # A file of bytes blocks for no longer than the loops beside it do.
    with path.open("rb") as bodies:
        connector = aiohttp.TCPConnector(force_close=close)
        async with aiohttp.ClientSession(connector=connector, headers=HEADERS) as session:

            async def post(body: bytes) -> str:
                async with session.post(url, data=body) as reply:
                    return (await reply.read()).decode()

            await post_all(bodies, post)


def _write(path: Path, size: int, to: Path) -> None:
    with to.open("wb") as bodies:
        for batch in batches(contacts(path), size):
            bodies.write(orjson.dumps({"contact_list_name": "Bench", "data": batch}) + b"\n")


if __name__ == "__main__":
    what, source, contacts_a_call = arguments()
    if what == "write":
        _write(source, contacts_a_call, Path(sys.argv[4]))
    else:
        with told():
            asyncio.run(_main(what, source, close=sys.argv[4] == "close"))
