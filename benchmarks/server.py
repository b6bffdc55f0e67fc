"""A server that answers as fast as Python can, from memory, where nginx is not installed.

It plays the listing of lists and `addContacts`, reads bodies without looking at them, and prints its port.
`/calls` tells how many uploads it has answered.
"""

from __future__ import annotations

import asyncio
import json

LISTING = {
    "status": "success",
    "message": "",
    "data": [{"_id": "cl-1", "name": "Bench", "allowDuplicates": False}],
}
QUEUED = {"message": "Adding contacts to public list is in progress"}


def _answer(value: object) -> bytes:
    body = json.dumps(value).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _Connection(asyncio.Protocol):
    listing = _answer(LISTING)
    queued = _answer(QUEUED)
    calls = 0

    def __init__(self) -> None:
        self._head = b""
        self._left = 0
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if not self._left:
            self._head += data
            head, end, rest = self._head.partition(b"\r\n\r\n")
            if not end:
                return
            self._head = b""
            self._answer = self._answer_to(head[:200])
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
            self._left = int(lengths[0].split(b":")[1]) if lengths else 0
            data = rest
        self._left -= len(data)
        if self._left <= 0:
            self._left = 0
            self._transport.write(self._answer)

    def _answer_to(self, head: bytes) -> bytes:
        if b"/addContacts " in head:
            _Connection.calls += 1
            return self.queued
        return _answer(self.calls) if head.startswith(b"GET /calls ") else self.listing


async def _serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve())
