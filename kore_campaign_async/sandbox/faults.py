"""How the sandbox misbehaves: the failures that a server can cause, each by a name.

What HTTP libraries would not send is written to the connection itself, and aiohttp is then told that the call
was answered. Where a kind spoils an answer, what it spoils is the truth: "in progress" if the contacts were
stored, else a 500, so that a client that reads it all the same is not lied to.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import math
import re
import socket
import struct
import zlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Final, Self

import orjson
from aiohttp import web
from attrs import evolve, field, frozen

QUEUED_WORDS: Final = "Adding contacts to public list is in progress"
BUSY_WORDS: Final = "Another upload to this list is in progress. Try again later."
RATE_LIMIT_WORDS: Final = "You've exceeded the per-minute rate limit. Please wait for sometime before retrying."

_STORED: Final = "-stored"
_LOOK_SECONDS: Final = 0.02
_UNSOLICITED_AFTER_SECONDS: Final = 0.05
_LARGE_HEADER: Final = 20_000
_BOMB_MEGABYTES: Final = 100
_PAGE: Final = b"<!DOCTYPE html><html><body><h1>%s</h1></body></html>"


def _known(_fault: object, _attribute: object, kind: str) -> None:
    if kind not in _BEHAVIOURS:
        raise ValueError(f"there is no fault {kind!r}; {_ALL_KINDS}")


def _counting(_fault: object, _attribute: object, every: int) -> None:
    if every < 1:
        raise ValueError(f"a fault comes every 1st, 2nd, … call; every {every} is not possible")


@frozen
class Fault:
    """A rule: every so many calls of addContacts fail in this way.

    Attributes:
        kind: one of `KINDS`. With `-stored` at its end the contacts are stored before the fault is shown,
            without it they are not; `unsolicited` stores them in any case.
        every: 1 is each call.
        location: where the redirects lead to.
        retry_after: what `429-after` asks for.
        pause_seconds: between two bytes of a dripping reply.
    """

    kind: str = field(validator=_known)
    every: int = field(default=1, validator=_counting)
    location: str = field(default="http://127.0.0.1:9/elsewhere", kw_only=True)
    retry_after: str = field(default="1", kw_only=True)
    pause_seconds: float = field(default=1.0, kw_only=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `KIND@EVERY`, such as `close@10`; a ValueError tells what is wrong."""
        kind, at, every = text.strip().partition("@")
        if not at:
            raise ValueError(f"a fault is written KIND@EVERY, such as close@10; this is {text!r}; {_ALL_KINDS}")
        rule = cls(kind)
        if re.fullmatch(r"[0-9]{1,9}", every) is None:
            raise ValueError(f"{every!r} in {text!r} is not a whole number; {kind}@10 is every tenth call")
        return evolve(rule, every=int(every))

    def __str__(self) -> str:
        return f"{self.kind}@{self.every}"

    @property
    def stores(self) -> bool:
        """Whether the contacts are stored."""
        return self.kind.endswith(_STORED) or _BEHAVIOURS[self.kind].stores

    @property
    def reads_body(self) -> bool:
        """Whether the request's body is read before the fault is shown."""
        return _BEHAVIOURS[self.kind].reads_body

    async def show(self, request: web.Request) -> web.StreamResponse:
        """Misbehave, and return what aiohttp shall do about the call."""
        return await _BEHAVIOURS[self.kind].show(self, request)


Show = Callable[[Fault, web.Request], Awaitable[web.StreamResponse]]


class _AlreadyAnswered(web.StreamResponse):
    """Keeps aiohttp from answering what was answered, or is not to be; it then closes the connection."""

    async def prepare(self, request: web.BaseRequest) -> None:  # noqa: ARG002  aiohttp's signature
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        pass


# Connections


async def _close(_fault: Fault, _request: web.Request) -> web.StreamResponse:
    return _AlreadyAnswered()


async def _reset(_fault: Fault, request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        linger = struct.pack("ii", 1, 0)
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()
    return _AlreadyAnswered()


async def _close_early(_fault: Fault, request: web.Request) -> web.StreamResponse:
    # Merely returning would have aiohttp read the body for a while before it closes.
    request.protocol.force_close()
    return _AlreadyAnswered()


async def _stop_reading(fault: Fault, request: web.Request) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.pause_reading()
    return await _hang(fault, request)


async def _hang(_fault: Fault, request: web.Request) -> web.StreamResponse:
    await _connected(request, math.inf)
    return _AlreadyAnswered()


async def _drip(fault: Fault, request: web.Request) -> web.StreamResponse:
    for byte in _truth(fault):
        _write(request, bytes((byte,)))
        if not await _connected(request, fault.pause_seconds):
            break
    return _AlreadyAnswered()


async def _unsolicited(fault: Fault, request: web.Request) -> web.StreamResponse:
    _write(request, _truth(fault))
    await _connected(request, _UNSOLICITED_AFTER_SECONDS)
    _write(request, _truth(fault))
    return await _hang(fault, request)


# Replies that are no proper HTTP


async def _garbage(fault: Fault, request: web.Request) -> web.StreamResponse:
    _write(request, _truth(fault).replace(b"HTTP/1.1 ", b"?TTP/1.1 two hundred and ", 1))
    return _AlreadyAnswered()


async def _big_header(fault: Fault, request: web.Request) -> web.StreamResponse:
    _write(request, _truth(fault, f"X-Large: {'x' * _LARGE_HEADER}"))
    return _AlreadyAnswered()


async def _two_lengths(fault: Fault, request: web.Request) -> web.StreamResponse:
    _write(request, _truth(fault, "Content-Length: 7"))
    return _AlreadyAnswered()


async def _truncate(_fault: Fault, request: web.Request) -> web.StreamResponse:
    body = orjson.dumps({"message": QUEUED_WORDS})
    _write(request, _raw(200, body, f"Content-Length: {len(body)}")[: -len(body) // 2])
    return _AlreadyAnswered()


async def _endless(_fault: Fault, request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    try:
        await response.prepare(request)
        while True:
            await response.write(b" " * (1 << 16))
            await asyncio.sleep(0)
    except ConnectionError:
        return _AlreadyAnswered()


# Replies that are proper HTTP


def _answers(status: int, body: bytes, content_type: str = "application/json", **headers: str) -> Show:
    async def show(_fault: Fault, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, content_type=content_type, headers=headers)

    return show


def _says(status: int, words: str) -> Show:
    return _answers(status, orjson.dumps({"message": words}))


def _names_error(status: int, words: str, code: int) -> Show:
    """An error as the paths under `/api/` answer it."""
    return _answers(status, error_body(words, code))


def error_body(words: str, code: int) -> bytes:
    """The body of such an answer."""
    return orjson.dumps({"errors": [{"msg": words, "code": code}]})


def _says_error(status: int, words: str) -> Show:
    return _answers(status, orjson.dumps({"status": "Error", "message": words}))


def _page(status: int, words: str = "") -> Show:
    return _answers(status, _PAGE % (words or HTTPStatus(status).phrase).encode(), "text/html")


def _redirects(status: int) -> Show:
    async def show(fault: Fault, _request: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": fault.location})

    return show


async def _throttles_until(fault: Fault, _request: web.Request) -> web.StreamResponse:
    return web.json_response({"message": RATE_LIMIT_WORDS}, status=429, headers={"Retry-After": fault.retry_after})


async def _bomb(_fault: Fault, _request: web.Request) -> web.StreamResponse:
    # Packing it takes a third of a second, the first time.
    packed = await asyncio.to_thread(_packed_blanks, _BOMB_MEGABYTES)
    return web.Response(body=packed, content_type="application/json", headers={"Content-Encoding": "gzip"})


@functools.cache
def _packed_blanks(megabytes: int) -> bytes:
    gzip = zlib.compressobj(9, wbits=31)
    return b"".join([*(gzip.compress(b" " * (1 << 20)) for _ in range(megabytes)), gzip.flush()])


async def _too_large_early(_fault: Fault, request: web.Request) -> web.StreamResponse:
    body = orjson.dumps({"message": "request entity too large"})
    _write(request, _raw(413, body, f"Content-Length: {len(body)}", "Connection: close"))
    # A connection that is closed over unread bytes is reset, and the answer is lost with it.
    with contextlib.suppress(ConnectionError, web.RequestPayloadError):
        while await request.content.readany():
            pass
    return _AlreadyAnswered()


# What they share


def _truth(fault: Fault, *headers: str) -> bytes:
    """The honest reply to the call, as bytes."""
    said = {"message": QUEUED_WORDS if fault.stores else "Internal server error"}
    body = orjson.dumps(said)
    return _raw(200 if fault.stores else 500, body, f"Content-Length: {len(body)}", *headers)


def _raw(status: int, body: bytes, *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", "Content-Type: application/json", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def _write(request: web.Request, data: bytes) -> None:
    if request.transport is not None:
        request.transport.write(data)


async def _connected(request: web.Request, seconds: float) -> bool:
    """Wait, at most until the connection is gone, and tell whether it is still there."""
    clock = asyncio.get_running_loop().time
    until = clock() + seconds
    while request.transport is not None:
        left = until - clock()
        if left <= 0:
            return True
        await asyncio.sleep(min(left, _LOOK_SECONDS))
    return False


@frozen
class _Behaviour:
    """How a kind is shown, whether the body is read first, and whether the contacts are stored whatever its name."""

    show: Show
    reads_body: bool = True
    stores: bool = False


# What leaves a client in doubt is shown before and, with -stored, after the contacts are stored.
_DOUBTFUL: Final[dict[str, Show]] = {
    "close": _close,
    "reset": _reset,
    "hang": _hang,
    "drip": _drip,
    "garbage": _garbage,
    "big-header": _big_header,
    "two-lengths": _two_lengths,
    "truncate": _truncate,
    "bad-gzip": _answers(200, b"\x1f\x8bthis is not gzip", **{"Content-Encoding": "gzip"}),
    "bomb": _bomb,
    "endless": _endless,
    "empty": _answers(200, b""),
    "null": _answers(200, b"null"),
    "array": _answers(200, b"[]"),
    "html": _page(200, "Welcome to the hotel's network"),
    "bad-json": _answers(200, b'{"message":"Adding contacts to public list is in progress"'),
    "bad-utf8": _answers(200, b'{"message":"Adding contacts to public list is in progress \xff\xfe"}'),
    "deep": _answers(200, b"[" * 100_000),
    "other-words": _says(200, "Done"),
    "301": _redirects(301),
    "302": _redirects(302),
    "303": _redirects(303),
    "408": _says(408, "Request timed out"),
    "500": _says(500, "Internal server error"),
    "502": _page(502),
    "503": _says(503, "Service unavailable"),
    "504": _page(504),
}

# What says no does not store.
_PLAIN: Final[dict[str, Show]] = {
    "307": _redirects(307),
    "308": _redirects(308),
    "400": _names_error(400, "Bad request", 400),
    "401": _names_error(401, "Invalid JWT token", 4002),
    "401-scope": _names_error(401, "Permission denied. Scope is incorrect!", 4002),
    "403": _says(403, "The token is not allowed to do this"),
    "404": _says(404, "Contact list not found"),
    "405": _answers(405, b'"Method Not Allowed"'),
    "412": _answers(412, b'"Validation errors/ Invalid arguments"'),
    "413": _says(413, "request entity too large"),
    "422": _says(422, "Unprocessable entity"),
    "429": _says(429, RATE_LIMIT_WORDS),
    "429-after": _throttles_until,
    "error-200": _says_error(200, BUSY_WORDS),
    "error-503": _says_error(503, BUSY_WORDS),
    "throttle-200": _says(200, RATE_LIMIT_WORDS),
    "throttle-500": _says(500, RATE_LIMIT_WORDS),
}

_BEHAVIOURS: Final[dict[str, _Behaviour]] = {
    **{kind: _Behaviour(show) for kind, show in _DOUBTFUL.items()},
    **{kind + _STORED: _Behaviour(show) for kind, show in _DOUBTFUL.items()},
    **{kind: _Behaviour(show) for kind, show in _PLAIN.items()},
    "413-early": _Behaviour(_too_large_early, reads_body=False),
    "close-early": _Behaviour(_close_early, reads_body=False),
    "stop-reading": _Behaviour(_stop_reading, reads_body=False),
    "unsolicited": _Behaviour(_unsolicited, stores=True),
}

#: The names of all kinds of faults.
KINDS: Final = tuple(sorted(_BEHAVIOURS))

_ALL_KINDS: Final = "the kinds are " + ", ".join(
    f"{kind}[{_STORED}]" if kind in _DOUBTFUL else kind for kind in KINDS if not kind.endswith(_STORED)
)
