"""The careful reading through the bulk helper that many know: elasticsearch's `async_streaming_bulk`.

The helper cuts the contacts into calls, encodes them and reads an answer for each; the client that it is given posts
them to our server. It sends one call at a time, as it does for everybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
from common import HEADERS, arguments, contacts, told
from elastic_transport import OrjsonSerializer
from elasticsearch.helpers import async_streaming_bulk


class _Client:
    """What the helper needs of a client."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        serializers = SimpleNamespace(get_serializer=lambda _type: OrjsonSerializer())
        self.transport = SimpleNamespace(serializers=serializers)
        self._session = session
        self._url = url

    def options(self, **_options: Any) -> _Client:
        """Be the same with any options."""
        return self

    async def bulk(self, *, operations: Sequence[bytes], **_more: Any) -> Any:
        """Post every other line: before each contact stands what to do with it."""
        encoded = operations[1::2]
        body = b'{"contact_list_name":"Bench","data":[' + b",".join(encoded) + b"]}"
        async with self._session.post(self._url, data=body) as reply:
            assert "in progress" in (await reply.json())["message"]
        return SimpleNamespace(body={"errors": False, "items": [{"index": {"status": 200}} for _ in encoded]})


async def _actions(path: Path) -> AsyncIterator[dict[str, Any]]:
    for contact in contacts(path):
        yield {"_op_type": "index", "_source": contact}


async def _main(url: str, path: Path, size: int) -> None:
    async with aiohttp.ClientSession(headers=HEADERS) as session:
        client: Any = _Client(session, url)
        async for done, _ in async_streaming_bulk(client, _actions(path), chunk_size=size):
            assert done


if __name__ == "__main__":
    with told():
        asyncio.run(_main(*arguments()))
