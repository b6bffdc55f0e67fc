"""What the contestants with an event loop share: bodies go out, so many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

from common import IN_FLIGHT


async def post_all(bodies: Iterable[bytes], post: Callable[[bytes], Awaitable[str]]) -> None:
    """Post bodies; `post` returns what the answer says."""
    slots = asyncio.Semaphore(IN_FLIGHT)

    async def one(body: bytes) -> None:
        try:
            assert "in progress" in await post(body)
        finally:
            slots.release()

    async with asyncio.TaskGroup() as group:
        for body in bodies:
            await slots.acquire()
            group.create_task(one(body))
