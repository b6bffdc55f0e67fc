"""Servers that answer, or go, before they have read a call: over real sockets, plain and under TLS.

What counts is failures.md's rules R1 to R4: a response says what its status says; without one a call whose body began
to go out may have been processed, however little of it arrived; and only one whose body did not begin was not sent.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from attrs import define, evolve
from fakes import (
    QUEUED,
    RATE_LIMIT_WORDS,
    Certificate,
    Connection,
    make_certificate,
    raw_server,
    reply,
    said,
    transport_for,
)
from test_transport import ADD

from kore_campaign_async.auth import Token
from kore_campaign_async.errors import CallError, CallOutcome, ThrottledError
from kore_campaign_async.message import Sending

LARGE: Final = 4 << 20
SIZES: Final = (10, LARGE)
ANSWERS: Final[dict[int, Any]] = {
    200: QUEUED,
    401: said("Invalid JWT token"),
    413: said("request entity too large"),
    429: said(RATE_LIMIT_WORDS),
    503: said("Service unavailable"),
    0: None,  # none at all
}
MEANS: Final = {200: "accepted", 401: "refused", 413: "refused", 429: "throttled", 503: "maybe", 0: "maybe"}
When = Literal["at once", "after the head", "amid the body"]
Way = Literal["close", "reset", "half-close and read", "half-close and wait"]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(Path(tmp_path_factory.mktemp("tls")))


@define
class Early:
    """Reads as much as it is told to, answers, and goes.

    Attributes:
        body_bytes: how much of the body it read.
    """

    when: When
    status: int
    way: Way
    size: int
    body_bytes: int = 0

    async def __call__(self, connection: Connection) -> None:
        if self.when != "at once":
            await connection.read_head()
        if self.when == "amid the body":
            self.body_bytes += len(await connection.reader.readexactly(self.size // 2))
        if self.status:
            await connection.write(reply(self.status, ANSWERS[self.status], {"Connection": "close"}))
        if self.way == "reset":
            connection.reset()
        elif self.way.startswith("half-close"):
            # TLS has no half-close of its own: the connection below it does.
            connection.writer.get_extra_info("socket").shutdown(socket.SHUT_WR)
            while self.way == "half-close and read" and (some := await connection.reader.read(1 << 16)):
                self.body_bytes += len(some) * (self.when != "at once")
            if self.way == "half-close and wait":
                await connection.hang()


async def came_to(early: Early, certificate: Certificate | None) -> tuple[str, bool]:
    """What one attempt came to, and whether its body had begun to go out."""
    client_context = None if certificate is None else certificate.client_context()
    server_context = None if certificate is None else certificate.server_context()
    begun = Sending()
    request = evolve(ADD, body=b"9" * early.size)
    async with (
        raw_server(early, tls=server_context) as server,
        transport_for(server.url, total=10.0, ssl_context=client_context) as sending,
        asyncio.timeout(5.0),  # no early end of a connection is waited out
    ):
        try:
            request.parse(await sending.send(request, Token("a-token-of-nobody"), begun))
            found = "accepted"
        except CallError as error:
            found = _meaning(error)
        assert server.connections <= 1, "it was sent again"
    return found, begun.begun


def _meaning(error: CallError) -> str:
    if isinstance(error, ThrottledError):
        return "throttled"
    return {CallOutcome.NOT_SENT: "not sent", CallOutcome.MAYBE_PROCESSED: "maybe", CallOutcome.REFUSED: "refused"}[
        error.outcome
    ]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
@pytest.mark.parametrize("way", ["close", "reset", "half-close and read", "half-close and wait"])
@pytest.mark.parametrize("status", ANSWERS)
async def test_an_answer_before_the_body_was_read(status: int, way: Way, tls: bool, certificate: Certificate) -> None:
    """At once, after the head, and amid the body; small bodies and such as are larger than any buffer."""
    moments: tuple[When, ...] = ("at once", "after the head", "amid the body")
    for when in moments:
        for size in SIZES:
            early = Early(when, status, way, size)
            came, begun = await came_to(early, certificate if tls else None)
            # A half-close lets the answer through; what ends a connection over unread bytes can take it away.
            surely = way.startswith("half-close") and when != "at once"
            assert came in ({MEANS[status]} if surely else {MEANS[status], "maybe", "not sent"}), (when, size)
            if came == "not sent":
                assert not begun, (when, size)
                assert not early.body_bytes, (when, size)
            elif not status:
                assert begun, (when, size)
