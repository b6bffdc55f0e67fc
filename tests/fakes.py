"""What the tests share: a server of scripted bytes, clients that are quick to fail, and time that obeys.

Nothing here knows the API beyond the bytes of its replies; the package's own spellings are not used, so that
a test can't agree with a misspelt client.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ipaddress
import random
import socket
import ssl
import struct
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self
from unittest.mock import Mock

import aiohttp
import orjson
from attrs import define, field, frozen

from kore_campaign_async.auth import StaticToken
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import ReplyLimits, RetryPolicy, Timeouts
from kore_campaign_async.transport import Transport, base_url

APP_ID = "st-0603182c"
ACCOUNT_ID = "67777ce9"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJlLXRoYXQtbXVzdC1zdGF5LWhpZGRlbg"
QUEUED = b'{"message":"Adding contacts to public list is in progress"}'
RATE_LIMIT_WORDS = "You've exceeded the per-minute rate limit. Please wait for sometime before retrying."


@frozen
class RawRequest:
    """A request as it came over the wire; the names of its headers as they were written."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Connection:
    """One accepted connection, in the hands of a test's handler."""

    def __init__(
        self, server: RawServer, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._server = server
        self.number = number  # the first is 1
        self.reader = reader
        self.writer = writer

    async def read_head(self) -> RawRequest:
        """Read the request line and the headers, and leave the body where it is."""
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *rest = head.split("\r\n")[:-2]
        method, target, _ = line.split(" ")
        return RawRequest(method, target, dict(one.split(": ", 1) for one in rest), b"")

    async def read_request(self) -> RawRequest:
        """Read a whole request and note it in `server.requests`."""
        head = await self.read_head()
        length = next((value for name, value in head.headers.items() if name.lower() == "content-length"), "0")
        whole = RawRequest(head.method, head.target, head.headers, await self.reader.readexactly(int(length)))
        self._server.requests.append(whole)
        return whole

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def reply(self, *args: Any, **kwargs: Any) -> None:
        """Read a whole request and answer it as `reply` says."""
        await self.read_request()
        await self.write(reply(*args, **kwargs))

    def reset(self) -> None:
        """End the connection with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Do nothing more, until the server ends."""
        await asyncio.Event().wait()


Handler = Callable[[Connection], Awaitable[None]]


class RawServer:
    """A TCP server that answers what a handler writes; after the handler it closes the connection.

    A server that was only bound refuses connections: `listen` opens it later on the same port.
    """

    def __init__(self, handler: Handler, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.connections = 0
        self.requests: list[RawRequest] = []
        self.faults: list[BaseException] = []

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}"

    async def listen(self) -> Self:
        self._server = await asyncio.start_server(self._accepted, sock=self._socket, ssl=self._tls, limit=1 << 16)
        return self

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.ensure_future(self._serve(Connection(self, self.connections, reader, writer)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: Connection) -> None:
        try:
            await self._handler(connection)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up, which is its right
        except Exception as error:  # noqa: BLE001  shown to the test at the end
            self.faults.append(error)
        finally:
            connection.writer.close()
            with contextlib.suppress(OSError):
                await connection.writer.wait_closed()

    async def close(self) -> None:
        if self._server is None:
            self._socket.close()
            return
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()


@asynccontextmanager
async def raw_server(
    handler: Handler, *, tls: ssl.SSLContext | None = None, listening: bool = True
) -> AsyncIterator[RawServer]:
    """Serve a handler on a free port; a fault of the handler fails the test at the end."""
    server = RawServer(handler, tls)
    try:
        if listening:
            await server.listen()
        yield server
    finally:
        await server.close()
    if server.faults:
        raise server.faults[0]


def in_turn(*handlers: Handler) -> Handler:
    """One handler per connection, in the order of their coming; the last one serves all that follow."""

    async def serve(connection: Connection) -> None:
        await handlers[min(connection.number, len(handlers)) - 1](connection)

    return serve


def answering(*args: Any, **kwargs: Any) -> Handler:
    """A handler that reads a request and answers it as `reply` says."""

    async def serve(connection: Connection) -> None:
        await connection.reply(*args, **kwargs)

    return serve


def reply(
    status: int = 200,
    body: bytes | dict[str, Any] | list[Any] = QUEUED,
    headers: dict[str, str] | Iterable[tuple[str, str]] = (),
    *,
    content_type: str = "application/json",
    length: int | None = None,
) -> bytes:
    """The bytes of an HTTP reply. `length` lies about the body's."""
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Type: {content_type}",
        f"Content-Length: {len(data) if length is None else length}",
        *(f"{name}: {value}" for name, value in dict(headers).items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


def said(message: str) -> dict[str, str]:
    """A body that says something."""
    return {"message": message}


def enveloped(data: Any, message: str = "") -> dict[str, Any]:
    """A body in the API's envelope."""
    return {"status": "success", "message": message, "data": data}


# Clients


QUICK_RETRY = RetryPolicy(
    attempts=3,
    deadline_seconds=5.0,
    wait_initial_seconds=0.001,
    wait_max_seconds=0.002,
    throttled_answers=3,
)


def client_for(url: str, **settings: Any) -> CampaignClient:
    """A client of a test's server: no rate, waits of a millisecond, a static token."""
    return CampaignClient(
        url,
        **{
            "app_id": APP_ID,
            "account_id": ACCOUNT_ID,
            "credentials": StaticToken(TOKEN),
            "rate": (),
            "retry": QUICK_RETRY,
            "timeouts": Timeouts(total_seconds=5.0, connect_seconds=2.0),
            "rng": random.Random(7),
            **settings,
        },
    )


@asynccontextmanager
async def transport_for(
    url: str, *, total: float = 5.0, connect: float = 2.0, limits: ReplyLimits | None = None, **settings: Any
) -> AsyncIterator[Transport]:
    """A transport on its own: what one attempt does, and nothing more."""
    transport = Transport(
        base_url(url),
        {"iid": APP_ID, "accountId": ACCOUNT_ID, "Content-Type": "application/json"},
        timeouts=Timeouts(total_seconds=total, connect_seconds=connect),
        limits=limits if limits is not None else ReplyLimits(),
        retry_after_max_seconds=300.0,
        **settings,
    )
    try:
        yield transport
    finally:
        await transport.close()


class WireResponse(aiohttp.ClientResponse):
    """The response that aioresponses 0.7.9 can make under aiohttp 3.14, which asks for one argument more."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, stream_writer=Mock(output_size=0), **kwargs)


# Time


class FakeTime:
    """A clock that only its own sleep moves, and that notes every sleep."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


@define
class RecordingSleep:
    """A sleep that notes what was asked for and is over at once."""

    asked: list[float] = field(factory=list)

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        await asyncio.sleep(0)


async def eventually(holds: Callable[[], bool], *, within: float = 5.0) -> None:
    """Wait until something holds; a TimeoutError if it does not in time."""
    async with asyncio.timeout(within):
        while not holds():
            await asyncio.sleep(0.002)


# TLS


@frozen
class Certificate:
    """A self-signed certificate in a file, with its key."""

    path: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        return context

    def client_context(self) -> ssl.SSLContext:
        """A context that trusts this certificate and no other."""
        return ssl.create_default_context(cafile=self.path)


def make_certificate(directory: Path, *, host: str = "127.0.0.1", expired: bool = False) -> Certificate:
    """Make a certificate for one address or name."""
    from cryptography import x509  # noqa: PLC0415  only the tests of TLS pay for it
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a test")])
    try:
        subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        subject = x509.DNSName(host)
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=9))
        .not_valid_after(now + dt.timedelta(days=-1 if expired else 1))
        .add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / f"{host}-{'expired' if expired else 'valid'}.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return Certificate(path)


# Secrets


def chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and all that hang on it as cause or context."""
    waiting, seen = [error], set()
    while waiting:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [more for more in (one.__cause__, one.__context__) if more is not None]


def shown_by(error: BaseException, *, test_file: str) -> str:
    """All that an error can bring into a log or a crash report: texts, args, attributes, frames with locals.

    The frames of the test itself are left out: a test holds the secret that it looks for.
    """
    shown: list[str] = []
    for one in chain(error):
        shown += [str(one), repr(one), repr(one.args), repr(vars(one))]
        frames = traceback.TracebackException.from_exception(one, capture_locals=True).stack
        shown += [
            f"{frame.filename}:{frame.lineno} {frame.locals}"
            for frame in frames
            if frame.filename not in {test_file, __file__}
        ]
    return "\n".join(shown)
