"""What each failure means (`failures.md`), caused over real sockets: one test for every row of the table."""

from __future__ import annotations

import asyncio
import base64
import email.utils
import gzip
import logging
import pickle
import socket
import sys
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import fakes
import orjson
import pytest
from attrs import evolve
from fakes import (
    QUEUED,
    RATE_LIMIT_WORDS,
    TOKEN,
    Connection,
    Handler,
    answering,
    client_for,
    enveloped,
    eventually,
    in_turn,
    make_certificate,
    raw_server,
    reply,
    said,
    transport_for,
)

from kore_campaign_async import errors
from kore_campaign_async.auth import StaticToken, Token
from kore_campaign_async.config import ReplyLimits, Timeouts
from kore_campaign_async.endpoints import add_contacts, list_contact_lists, update_contact_list
from kore_campaign_async.errors import CallError, CallOutcome
from kore_campaign_async.models import Contact
from kore_campaign_async.transport import base_url, sane_retry_after

NOT_SENT = CallOutcome.NOT_SENT
MAYBE = CallOutcome.MAYBE_PROCESSED
REFUSED = CallOutcome.REFUSED

ADD = add_contacts.build("st-1", "Renewals", [Contact("+14155550123")])
LIST = list_contact_lists.build("st-1", "acc")
UPDATE = update_contact_list.build("st-1", "cl-1", description="Due in August")
BIG = evolve(ADD, body=b"9" * (20 << 20))


async def failure_at(url: str, request: Any = ADD, **settings: Any) -> CallError:
    """The error that one attempt ends in, its reply deciphered as well."""
    async with transport_for(url, **settings) as transport:
        return await failure_of(transport, request)


async def failure_of(transport: Any, request: Any = ADD) -> CallError:
    with pytest.raises(CallError) as caught:
        request.parse(await transport.send(request, Token(TOKEN)))
    return caught.value


def check(error: CallError, kind: type[CallError], outcome: CallOutcome, *, status: int | None = None) -> None:
    assert type(error) is kind, error
    assert error.outcome is outcome
    assert error.status == status
    assert TOKEN not in str(error)


# Not sent: no byte of the body was written


async def test_a_name_that_dns_does_not_know_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_args: Any, **_kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = await failure_at("https://nothing.invalid")
    check(error, errors.ConnectionFailedError, NOT_SENT)
    assert error.retryable


async def test_a_refused_connection_is_not_sent() -> None:
    async with raw_server(answering(), listening=False) as server:
        check(await failure_at(server.url), errors.ConnectionFailedError, NOT_SENT)


@pytest.mark.parametrize(("host", "expired"), [("127.0.0.1", False), ("other.example", False)])
async def test_an_untrusted_certificate_is_not_sent_and_permanent(tmp_path: Path, host: str, expired: bool) -> None:
    """Nobody vouches for a self-signed certificate, whoever it names."""
    tls = make_certificate(tmp_path, host=host, expired=expired).server_context()
    async with raw_server(answering(), tls=tls) as server:
        error = await failure_at(server.url)
        assert server.requests == []
    check(error, errors.CertificateError, NOT_SENT)
    assert not error.retryable


@pytest.mark.parametrize(("host", "expired"), [("127.0.0.1", True), ("other.example", False)])
async def test_a_trusted_certificate_that_is_wrong_is_not_sent_and_permanent(
    tmp_path: Path, host: str, expired: bool
) -> None:
    """A caller's own trust settings don't switch off the checks of the name and the dates."""
    certificate = make_certificate(tmp_path, host=host, expired=expired)
    async with raw_server(answering(), tls=certificate.server_context()) as server:
        error = await failure_at(server.url, ssl_context=certificate.client_context())
        assert server.requests == []
    check(error, errors.CertificateError, NOT_SENT)


async def test_a_trusted_certificate_serves(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with (
        raw_server(answering(), tls=certificate.server_context()) as server,
        transport_for(server.url, ssl_context=certificate.client_context()) as transport,
    ):
        assert (await transport.send(ADD, Token(TOKEN))).status == 200


async def test_a_wrong_certificate_ends_the_call_after_one_attempt(tmp_path: Path) -> None:
    tls = make_certificate(tmp_path).server_context()
    async with raw_server(answering(), tls=tls) as server, client_for(server.url) as client:
        with pytest.raises(errors.CertificateError) as caught:
            await client.list_contact_lists()
    assert caught.value.attempts == 1


async def close_at_once(connection: Connection) -> None:
    connection.writer.close()


async def reset_at_once(connection: Connection) -> None:
    connection.reset()


async def close_after_hello(connection: Connection) -> None:
    await connection.reader.read(1)


async def speak_plain_http(connection: Connection) -> None:
    await connection.reader.read(1)
    await connection.write(reply(400, b""))


@pytest.mark.parametrize("handler", [close_at_once, reset_at_once, close_after_hello, speak_plain_http])
async def test_tls_that_the_peer_ends_is_not_sent(handler: Handler) -> None:
    async with raw_server(handler) as server:
        url = server.url.replace("http:", "https:")
        error = await failure_at(url)
        check(error, errors.ConnectionFailedError, NOT_SENT)
        assert error.retryable
        check(await failure_at(url, LIST), errors.ConnectionFailedError, NOT_SENT)


@pytest.mark.parametrize("times", [{"connect": 0.1}, {"total": 0.1}])
async def test_a_tls_handshake_without_an_end_is_not_sent(times: dict[str, float]) -> None:
    async with raw_server(Connection.hang) as server:
        error = await failure_at(server.url.replace("http:", "https:"), **times)
    check(error, errors.ConnectionFailedError, NOT_SENT)
    assert "0.1 s" in error.reason


@pytest.fixture
async def deaf_port() -> AsyncIterator[int]:
    """A port whose backlog is full: the kernel drops who knocks."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(4)]
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
    await asyncio.sleep(0.02)
    yield listener.getsockname()[1]
    for one in (*waiting, listener):
        one.close()


@pytest.mark.parametrize("times", [{"connect": 0.1}, {"total": 0.1}])
async def test_no_connection_in_time_is_not_sent(deaf_port: int, times: dict[str, float]) -> None:
    """Whichever of the two times is over first."""
    error = await failure_at(f"http://127.0.0.1:{deaf_port}", **times)
    check(error, errors.ConnectionFailedError, NOT_SENT)
    assert "0.1 s" in error.reason


async def test_total_over_while_waiting_for_the_pool_is_not_sent() -> None:
    async with (
        raw_server(Connection.hang) as server,
        transport_for(server.url, total=0.1, max_connections=1) as transport,
    ):
        holder = asyncio.ensure_future(transport._open().get(server.url, timeout=aiohttp.ClientTimeout(total=None)))
        await eventually(lambda: server.connections == 1)
        check(await failure_of(transport), errors.ConnectionFailedError, NOT_SENT)
        assert server.connections == 1
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)


@pytest.mark.parametrize("handler", [close_at_once, reset_at_once])
async def test_closed_between_connect_and_write_is_not_sent(handler: Handler, monkeypatch: pytest.MonkeyPatch) -> None:
    """From Python 3.12 on aiohttp hands the body over before it looks: there it counts as maybe processed."""
    connect = aiohttp.TCPConnector.connect

    async def slowly(*args: Any, **kwargs: Any) -> Any:
        connected = await connect(*args, **kwargs)
        await asyncio.sleep(0.05)  # the peer's farewell arrives before the body is written
        return connected

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", slowly)
    async with raw_server(handler) as server:
        if sys.version_info < (3, 12):
            check(await failure_at(server.url), errors.ConnectionFailedError, NOT_SENT)
        else:
            check(await failure_at(server.url), errors.ConnectionLostError, MAYBE)


# Maybe processed: the body began to go out, and no real response said no


async def close_after_reading(connection: Connection) -> None:
    await connection.read_request()


async def reset_after_reading(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


async def hang_after_reading(connection: Connection) -> None:
    await connection.read_request()
    await connection.hang()


async def garbage_status_line(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 banana\r\n\r\n")


async def not_http_at_all(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"SSH-2.0-OpenSSH_9.9\r\n")


async def half_a_status_line(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 20")


async def half_a_head(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 400 Bad Request\r\nContent-Le")


async def header_of_20_kb(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(reply(headers={"X-Long": "x" * 20_000}))


async def headers_without_end(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 400 Bad Request\r\n")
    for number in range(100_000):
        await connection.write(b"X-%d: y\r\n" % number)


async def duplicate_content_length(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(reply(headers={"Content-Length ": "1"}).replace(b"Content-Length :", b"Content-Length:"))


async def drip_head(connection: Connection) -> None:
    await connection.read_request()
    for byte in reply():
        await connection.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def drip_body(connection: Connection) -> None:
    await connection.read_request()
    head, _, body = reply().partition(b"\r\n\r\n")
    await connection.write(head + b"\r\n\r\n")
    for byte in body:
        await connection.write(bytes([byte]))
        await asyncio.sleep(0.02)


async def endless_continue(connection: Connection) -> None:
    await connection.read_request()
    while True:
        await connection.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await asyncio.sleep(0.01)


async def truncated(connection: Connection) -> None:
    await connection.reply(200, QUEUED, length=len(QUEUED) + 10)


async def truncated_chunks(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3b\r\n" + QUEUED[:20])


async def bad_chunk_size(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    await asyncio.sleep(0.05)
    await connection.write(b"banana\r\n" + QUEUED)


async def bad_chunk_size_at_once(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbanana\r\n" + QUEUED)


async def bad_gzip(connection: Connection) -> None:
    await connection.reply(200, b"this is no gzip", {"Content-Encoding": "gzip"})


async def truncated_gzip(connection: Connection) -> None:
    await connection.reply(200, gzip.compress(QUEUED)[:-12], {"Content-Encoding": "gzip"})


WITHOUT_RESPONSE: dict[Handler, type[CallError]] = {
    close_after_reading: errors.ConnectionLostError,
    reset_after_reading: errors.ConnectionLostError,
    hang_after_reading: errors.ReplyTimeoutError,
    drip_head: errors.ReplyTimeoutError,
    endless_continue: errors.ReplyTimeoutError,
    garbage_status_line: errors.UnreadableReplyError,
    not_http_at_all: errors.UnreadableReplyError,
    header_of_20_kb: errors.UnreadableReplyError,
    headers_without_end: errors.UnreadableReplyError,
    duplicate_content_length: errors.UnreadableReplyError,
    bad_chunk_size_at_once: errors.UnreadableReplyError,
}
WITH_A_STATUS: dict[Handler, type[CallError]] = {
    drip_body: errors.ReplyTimeoutError,
    truncated: errors.UnreadableReplyError,
    truncated_chunks: errors.UnreadableReplyError,
    bad_gzip: errors.UnreadableReplyError,
}
# aiohttp 3.14 does not notice a chunk that is none, and waits for the end of the attempt's time.
QUICKLY_OVER = {hang_after_reading, drip_head, drip_body, endless_continue, bad_chunk_size}


def total_for(handler: Handler) -> float:
    return 0.5 if handler in QUICKLY_OVER else 5.0


@pytest.mark.parametrize("handler", WITHOUT_RESPONSE, ids=lambda handler: handler.__name__)
async def test_a_body_without_a_response_is_maybe_processed(handler: Handler) -> None:
    """Whatever the exception says: a garbage status line would say 400."""
    async with raw_server(handler) as server:
        error = await failure_at(server.url, total=total_for(handler))
        assert len(server.requests) == 1
    check(error, WITHOUT_RESPONSE[handler], MAYBE)


@pytest.mark.parametrize("handler", [half_a_status_line, half_a_head], ids=lambda handler: handler.__name__)
async def test_a_head_that_is_cut_off_is_maybe_processed(handler: Handler) -> None:
    """A status that came without its whole head is no response, and refuses nothing."""
    async with raw_server(handler) as server:
        error = await failure_at(server.url)
    assert error.outcome is MAYBE
    assert error.status is None


@pytest.mark.parametrize("handler", WITH_A_STATUS, ids=lambda handler: handler.__name__)
async def test_a_success_that_is_cut_off_is_maybe_processed(handler: Handler) -> None:
    """Its status is kept in the words, and proves nothing."""
    async with raw_server(handler) as server:
        error = await failure_at(server.url, total=total_for(handler))
    check(error, WITH_A_STATUS[handler], MAYBE)
    assert "200" in error.reason


@pytest.mark.parametrize("handler", [truncated_gzip, bad_chunk_size], ids=lambda handler: handler.__name__)
async def test_a_success_without_its_proper_end_is_maybe_processed(handler: Handler) -> None:
    """Whichever way it is noticed; what came so far may look whole."""
    async with raw_server(handler) as server:
        error = await failure_at(server.url, total=total_for(handler))
    assert error.outcome is MAYBE
    assert "200" in str(error)


async def test_closed_with_the_body_in_the_socket_is_maybe_processed() -> None:
    """A peer that closes at once: bytes of the body may have reached it."""
    async with raw_server(close_after_hello) as server:
        error = await failure_at(server.url)
    check(error, errors.ConnectionLostError, MAYBE)


async def test_a_peer_that_never_reads_is_maybe_processed() -> None:
    """20 MB don't fit into the sockets' buffers; only the whole attempt's time ends it."""
    async with raw_server(Connection.hang) as server:
        error = await failure_at(server.url, BIG, total=0.3)
    check(error, errors.ReplyTimeoutError, MAYBE)


async def test_a_reset_in_the_middle_of_the_body_is_maybe_processed() -> None:
    async def read_some(connection: Connection) -> None:
        await connection.read_head()
        await connection.reader.readexactly(1 << 20)
        connection.reset()

    async with raw_server(read_some) as server:
        error = await failure_at(server.url, BIG)
    check(error, errors.ConnectionLostError, MAYBE)


async def test_a_body_larger_than_a_mebibyte_goes_out_without_a_warning() -> None:
    """`--max-bytes` may say so, and the program of a caller may turn warnings into errors."""
    async with raw_server(answering()) as server, transport_for(server.url) as transport:
        response = await transport.send(BIG, Token(TOKEN))
        assert response.status == 200
        assert len(server.requests[0].body) == 20 << 20


NO_ANSWER: dict[str, tuple[bytes, str]] = {
    "bad JSON": (b'{"message": "Adding contacts to public list is in progress"', "application/json"),
    "bad UTF-8": (b'{"message":"in progress \xff\xfe"}', "application/json"),
    "deep nesting": (b"[" * 100_000, "application/json"),
    "deep nesting, closed": (b'{"message":' + b"[" * 50_000 + b"]" * 50_000 + b"}", "application/json"),
    "null": (b"null", "application/json"),
    "an array": (b"[]", "application/json"),
    "a string": (b'"in progress"', "application/json"),
    "nothing": (b"", "application/json"),
    "HTML": (b"<html>Sign in to the Wi-Fi: in progress</html>", "text/html"),
    "NaN": (b'{"message": NaN}', "application/json"),
}


@pytest.mark.parametrize("request_", [ADD, LIST, UPDATE], ids=["add", "list", "update"])
@pytest.mark.parametrize("what", NO_ANSWER)
async def test_a_200_that_is_no_json_object_is_maybe_processed(what: str, request_: Any) -> None:
    body, content_type = NO_ANSWER[what]
    async with raw_server(answering(200, body, content_type=content_type)) as server:
        error = await failure_at(server.url, request_)
    check(error, errors.UnreadableReplyError, MAYBE, status=200)


@pytest.mark.parametrize(
    "body",
    [
        {},
        said("Contacts added"),
        said(""),
        {"message": None},
        {"message": ["in progress"]},
        said("Another upload to this list is in progress"),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202, 299])
async def test_a_2xx_that_says_something_else_is_maybe_processed(status: int, body: dict[str, Any]) -> None:
    async with raw_server(answering(status, body)) as server:
        error = await failure_at(server.url)
    check(error, errors.UnexpectedReplyError, MAYBE, status=status)


async def test_the_words_of_an_unexpected_2xx_are_kept() -> None:
    async with raw_server(answering(200, said("Nothing to\nadd"))) as server:
        error = await failure_at(server.url)
    assert error.words == r"Nothing to\nadd"
    assert "Nothing to" in str(error)
    assert "\n" not in str(error)


async def test_204_is_maybe_processed() -> None:
    async def no_content(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with raw_server(no_content) as server:
        check(await failure_at(server.url), errors.UnreadableReplyError, MAYBE, status=204)


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize("message", ["Contacts queued for addition.", "Adding contacts to public list is IN PROGRESS."])
async def test_any_2xx_in_the_documented_words_is_accepted(status: int, message: str) -> None:
    async with raw_server(answering(status, said(message))) as server, transport_for(server.url) as transport:
        job = ADD.parse(await transport.send(ADD, Token(TOKEN)))
    assert (job.message, job.contacts) == (message, 1)


async def test_other_letters_that_fold_to_ascii_are_not_in_progress() -> None:
    """ASCII case aside: a long s is not an s."""
    async with raw_server(answering(200, said("Adding contacts to public list is in progreſs"))) as server:  # noqa: RUF001  that is the point
        check(await failure_at(server.url), errors.UnexpectedReplyError, MAYBE, status=200)


# Responses that say what they are


async def test_an_informational_answer_is_not_the_answer() -> None:
    async def hint(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + reply())

    async with raw_server(hint) as server, transport_for(server.url) as transport:
        assert (await transport.send(ADD, Token(TOKEN))).status == 200


STATUSES: dict[int, tuple[type[CallError], CallOutcome, bool]] = {
    301: (errors.RedirectedError, MAYBE, True),
    302: (errors.RedirectedError, MAYBE, True),
    303: (errors.RedirectedError, MAYBE, True),
    307: (errors.RedirectRefusedError, REFUSED, False),
    308: (errors.RedirectRefusedError, REFUSED, False),
    400: (errors.RefusedError, REFUSED, False),
    401: (errors.UnauthorizedError, REFUSED, False),
    402: (errors.RefusedError, REFUSED, False),
    403: (errors.ForbiddenError, REFUSED, False),
    404: (errors.NotFoundError, REFUSED, False),
    405: (errors.RefusedError, REFUSED, False),
    408: (errors.ServerError, MAYBE, True),
    409: (errors.RefusedError, REFUSED, False),
    412: (errors.RefusedError, REFUSED, False),
    413: (errors.PayloadTooLargeError, REFUSED, False),
    422: (errors.RefusedError, REFUSED, False),
    425: (errors.RefusedError, REFUSED, False),
    429: (errors.ThrottledError, REFUSED, True),
    451: (errors.RefusedError, REFUSED, False),
    499: (errors.RefusedError, REFUSED, False),
    500: (errors.ServerError, MAYBE, True),
    502: (errors.ServerError, MAYBE, True),
    503: (errors.ServerError, MAYBE, True),
    504: (errors.ServerError, MAYBE, True),
    529: (errors.ServerError, MAYBE, True),
    599: (errors.ServerError, MAYBE, True),
}


@pytest.mark.parametrize("request_", [ADD, LIST], ids=["add", "list"])
@pytest.mark.parametrize("status", STATUSES)
async def test_the_status_of_a_response_says_what_it_is(status: int, request_: Any) -> None:
    kind, outcome, retryable = STATUSES[status]
    async with raw_server(answering(status, said("because"))) as server:
        error = await failure_at(server.url, request_)
        assert server.connections == 1
    check(error, kind, outcome, status=status)
    assert error.words == "because"
    assert error.retryable is retryable


@pytest.mark.parametrize("status", [300, 304, 306, 600, 999])
async def test_a_status_that_nobody_asked_for_is_maybe_processed(status: int) -> None:
    async with raw_server(answering(status, b"")) as server:
        assert (await failure_at(server.url)).outcome is MAYBE


@pytest.mark.parametrize("handler", [truncated, bad_gzip, drip_body], ids=lambda handler: handler.__name__)
@pytest.mark.parametrize("status", [307, 400, 401, 403, 404, 413, 429, 301, 408, 500, 503])
async def test_a_refusal_is_proven_by_its_status_even_if_its_body_is_cut_off(status: int, handler: Handler) -> None:
    async def refuse(connection: Connection) -> None:
        write = connection.write
        connection.write = lambda data: write(data.replace(b"HTTP/1.1 200", b"HTTP/1.1 %d" % status))  # type: ignore[method-assign]
        await handler(connection)

    async with raw_server(refuse) as server:
        error = await failure_at(server.url, total=total_for(handler))
    check(error, *STATUSES[status][:2], status=status)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("request_", [ADD, LIST, UPDATE], ids=["add", "list", "update"])
async def test_the_target_of_a_redirect_sees_nothing(status: int, request_: Any) -> None:
    """Followed, the token and the body would go to another origin, or a false 200 come back."""
    async with (
        raw_server(answering()) as target,
        raw_server(answering(status, b"", {"Location": f"{target.url}/elsewhere"})) as server,
    ):
        error = await failure_at(server.url, request_)
        assert len(server.requests) == 1
        assert target.connections == 0
    check(error, *STATUSES[status][:2], status=status)


async def early_413(connection: Connection) -> None:
    await connection.read_head()
    await connection.write(reply(413, said("request entity too large"), {"Connection": "close"}))


async def early_413_then_drained(connection: Connection) -> None:
    await early_413(connection)
    connection.writer.write_eof()
    while await connection.reader.read(1 << 20):
        pass


@pytest.mark.parametrize("handler", [early_413, early_413_then_drained], ids=lambda handler: handler.__name__)
@pytest.mark.parametrize("size", [10, 1_000_000, 20_000_000])
async def test_413_before_the_body_is_read_is_refused(handler: Handler, size: int) -> None:
    """Also where the connection is closed under a body that is still on its way."""
    request = evolve(ADD, body=b"9" * size)
    async with raw_server(handler) as server:
        error = await failure_at(server.url, request)
    check(error, errors.PayloadTooLargeError, REFUSED, status=413)


# Throttled


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("7", 7.0), ("99999", 300.0), ("nan", None), ("-5", None), ("1e9", None)],
)
async def test_429_is_throttled_with_or_without_retry_after(header: str | None, seconds: float | None) -> None:
    headers = {} if header is None else {"Retry-After": header}
    async with raw_server(answering(429, b"<html>slow down</html>", headers)) as server:
        error = await failure_at(server.url)
    check(error, errors.ThrottledError, REFUSED, status=429)
    assert error.retry_after_seconds == seconds


async def test_a_retry_after_that_is_a_date_is_measured_against_the_replys_own() -> None:
    """The server's clock is a day ahead, and that does no harm."""
    now = 1_900_000_000
    headers = {"Retry-After": http_date(now + 9), "Date": http_date(now)}
    async with raw_server(answering(429, b"", headers)) as server:
        error = await failure_at(server.url)
    assert error.retry_after_seconds == 9.0


@pytest.mark.parametrize("status", [200, 202, 400, 403, 404, 500, 503, 302, 307])
@pytest.mark.parametrize(
    "body",
    [
        said(RATE_LIMIT_WORDS),
        said(RATE_LIMIT_WORDS.replace("'", "’")),  # noqa: RUF001  another apostrophe
        said("You've exceeded the hourly rate limit. Please wait for sometime before retrying."),
        said("Rate limit for this API has been reached. Please try again later"),
        {"status": "error", "error": {"message": RATE_LIMIT_WORDS}},
        {"errors": [{"msg": RATE_LIMIT_WORDS, "code": 4002}]},
    ],
    ids=["per-minute", "apostrophe", "hourly", "older", "error", "errors"],
)
async def test_the_words_of_a_rate_limit_throttle_under_any_status(status: int, body: dict[str, Any]) -> None:
    async with raw_server(answering(status, body, {"Retry-After": "3"})) as server:
        error = await failure_at(server.url)
    check(error, errors.ThrottledError, REFUSED, status=status)
    assert error.retry_after_seconds == 3.0


@pytest.mark.parametrize(
    "body",
    [
        rb'{"message":"the \u0072ate limit for this API has been reached"}',
        rb'{"message":"RATE LIMIT FOR THIS API HAS BEEN REACHED"}',
        rb'{"error":{"message":"You have exceeded the hourly rate\u0020limit."}}',
    ],
    ids=["letter", "capitals", "blank"],
)
async def test_the_words_of_a_rate_limit_throttle_however_a_2xx_spells_them(body: bytes) -> None:
    async with raw_server(answering(200, body)) as server:
        error = await failure_at(server.url)
    check(error, errors.ThrottledError, REFUSED, status=200)


@pytest.mark.parametrize("queued", ["Adding contacts to public list is in progress.", "Contacts queued for addition."])
async def test_a_job_that_may_be_queued_is_not_throttled_by_the_words_behind(queued: str) -> None:
    """Taken for throttled, it would be sent twice; no document has such a reply, so it is not accepted either."""
    async with raw_server(answering(200, said(f"{queued} {RATE_LIMIT_WORDS}"))) as server:
        check(await failure_at(server.url), errors.UnexpectedReplyError, MAYBE, status=200)


@pytest.mark.parametrize(("status", "outcome"), [(403, REFUSED), (500, MAYBE)])
async def test_an_error_that_speaks_of_both_keeps_the_meaning_of_its_status(status: int, outcome: CallOutcome) -> None:
    words = f"Adding contacts to public list is in progress. {RATE_LIMIT_WORDS}"
    async with raw_server(answering(status, said(words))) as server:
        error = await failure_at(server.url)
    check(error, STATUSES[status][0], outcome, status=status)


@pytest.mark.parametrize(("status", "outcome"), [(200, MAYBE), (403, REFUSED), (500, MAYBE)])
async def test_html_is_not_searched_for_the_words_of_a_rate_limit(status: int, outcome: CallOutcome) -> None:
    page = f"<html><body>{RATE_LIMIT_WORDS}</body></html>".encode()
    async with raw_server(answering(status, page, content_type="text/html")) as server:
        error = await failure_at(server.url)
    assert error.outcome is outcome
    assert not isinstance(error, errors.ThrottledError)


async def test_a_list_that_is_named_like_a_rate_limit_throttles_nobody() -> None:
    """Only what the reply itself says counts, not the data in it."""
    body = enveloped([{"_id": "cl-1", "name": "Rate limit for this API has been reached"}])
    async with raw_server(answering(200, body)) as server, transport_for(server.url) as transport:
        lists = LIST.parse(await transport.send(LIST, Token(TOKEN)))
    assert [one.id for one in lists] == ["cl-1"]


# Replies without a bound


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """About 100 kB that unpack to 100 MB."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(1 << 20)) for _ in range(100)) + packer.flush()
    assert len(packed) < 200_000
    return packed


@pytest.mark.parametrize("request_", [ADD, UPDATE], ids=["add", "update"])
async def test_a_gzip_bomb_is_not_unpacked(bomb: bytes, request_: Any) -> None:
    async with raw_server(answering(200, bomb, {"Content-Encoding": "gzip"})) as server:
        tracemalloc.start()
        try:
            error = await failure_at(server.url, request_)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    check(error, errors.UnreadableReplyError, MAYBE)
    assert "larger than its bound" in error.reason
    assert peak < 20 << 20


async def test_a_gzip_bomb_under_a_refusal_is_a_refusal(bomb: bytes) -> None:
    async with raw_server(answering(404, bomb, {"Content-Encoding": "gzip"})) as server:
        check(await failure_at(server.url), errors.NotFoundError, REFUSED, status=404)


@asynccontextmanager
async def endless_server(head: bytes, chunk: bytes) -> AsyncIterator[tuple[str, list[int]]]:
    written = [0]

    async def write_on(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(head)
        while True:
            await connection.write(chunk)
            written[0] += len(chunk)

    async with raw_server(write_on) as server:
        yield server.url, written


ENDLESS = {
    "no length": (b"HTTP/1.1 200 OK\r\n\r\n", b" " * 65536),
    "chunked": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"10000\r\n" + b" " * 65536 + b"\r\n",
    ),
    "a large length": (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", b" " * 65536),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_an_endless_body_is_cut_off_at_its_bound(kind: str) -> None:
    async with endless_server(*ENDLESS[kind]) as (url, written):
        error = await failure_at(url, limits=ReplyLimits(call_bytes=100_000))
        assert written[0] < 32 << 20  # what the sockets' buffers hold
    check(error, errors.UnreadableReplyError, MAYBE)
    assert "200" in error.reason


async def test_a_reply_of_exactly_its_bound_is_read() -> None:
    async with (
        raw_server(answering()) as server,
        transport_for(server.url, limits=ReplyLimits(call_bytes=len(QUEUED))) as transport,
    ):
        assert (await transport.send(ADD, Token(TOKEN))).body == QUEUED


async def test_a_listing_has_a_bound_of_its_own() -> None:
    body = enveloped([{"_id": f"cl-{number}", "name": "x" * 40} for number in range(1000)])
    limits = ReplyLimits(call_bytes=1000, listing_bytes=1 << 20)
    async with (
        raw_server(answering(200, body)) as server,
        transport_for(server.url, limits=limits) as transport,
    ):
        assert len(LIST.parse(await transport.send(LIST, Token(TOKEN)))) == 1000
        check(await failure_of(transport, ADD), errors.UnreadableReplyError, MAYBE)


async def test_a_gzipped_reply_is_unpacked() -> None:
    async with (
        raw_server(answering(200, gzip.compress(QUEUED), {"Content-Encoding": "gzip"})) as server,
        transport_for(server.url) as transport,
    ):
        assert (await transport.send(ADD, Token(TOKEN))).body == QUEUED


# Connections


async def test_a_reply_that_nobody_asked_for_does_no_harm() -> None:
    """It would be the answer to the next call, if connections were used again."""

    async def answer_twice(connection: Connection) -> None:
        request = await connection.read_request()
        own = reply(
            200, said(f"Adding contacts to {request.headers['X-Number']} is in progress"), {"Connection": "keep-alive"}
        )
        await connection.write(own)
        await connection.write(
            reply(200, said("Adding contacts to nobody asked is in progress"), {"Connection": "keep-alive"})
        )
        await connection.hang()

    async with raw_server(answer_twice) as server, transport_for(server.url) as transport:
        for number in range(3):
            transport._headers["X-Number"] = str(number)
            response = await transport.send(ADD, Token(TOKEN))
            assert ADD.parse(response).message == f"Adding contacts to {number} is in progress"
        assert server.connections == 3


@pytest.mark.parametrize("request_", [ADD, LIST, UPDATE], ids=["add", "list", "update"])
async def test_nothing_is_sent_twice_by_the_library_below(request_: Any) -> None:
    """aiohttp repeats a PUT or a GET by itself on a connection that was used before."""
    async with (
        raw_server(in_turn(answering(), close_after_reading)) as server,
        transport_for(server.url) as transport,
    ):
        await transport.send(ADD, Token(TOKEN))
        check(await failure_of(transport, request_), errors.ConnectionLostError, MAYBE)
        assert len(server.requests) == 2


async def test_cookies_are_not_kept() -> None:
    async with (
        raw_server(answering(200, QUEUED, {"Set-Cookie": "route=a; Path=/"})) as server,
        transport_for(server.url) as transport,
    ):
        for _ in range(2):
            await transport.send(ADD, Token(TOKEN))
        assert all("Cookie" not in request.headers for request in server.requests)


async def test_proxies_of_the_environment_get_neither_token_nor_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants a proxy says so; a variable that was left over takes no call elsewhere."""
    async with raw_server(answering()) as proxy, raw_server(answering()) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        async with transport_for(server.url) as transport:
            await transport.send(ADD, Token(TOKEN))
        assert (proxy.connections, server.connections) == (0, 1)


# Why a token is not accepted


ISSUED_AT = 1_750_000_000.0


def token_until(expires: object) -> str:
    """A token whose payload claims this; nobody verifies it here."""
    payload = base64.urlsafe_b64encode(orjson.dumps({"exp": expires})).rstrip(b"=").decode()
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.c2lnbmF0dXJlLXRoYXQtbXVzdC1zdGF5LWhpZGRlbg"


def date_at(seconds: float) -> dict[str, str]:
    return {"Date": email.utils.formatdate(ISSUED_AT + seconds, usegmt=True)}


WHYS: dict[str, tuple[str, dict[str, str], str]] = {
    "nothing is known": (TOKEN, {}, ""),
    "the clock is right": (TOKEN, date_at(0), ""),
    "the answer took its time": (TOKEN, date_at(-9), ""),
    "the clock is ahead": (TOKEN, date_at(-301), "; this machine's clock is 300 s ahead of the server's"),
    "the clock is behind": (TOKEN, date_at(300), "; this machine's clock is 300 s behind the server's"),
    "a Date that is none": (TOKEN, {"Date": "soon"}, ""),
    "expired": (token_until(ISSUED_AT - 1), {}, "; it expired at 2025-06-15T15:06:39Z"),
    "valid": (token_until(ISSUED_AT + 1), {}, ""),
    "expired by the server's clock alone": (
        token_until(ISSUED_AT + 60),
        date_at(120),
        "; it expired at 2025-06-15T15:07:40Z; this machine's clock is 120 s behind the server's",
    ),
    "valid by the server's clock": (
        token_until(ISSUED_AT - 60),
        date_at(-121),
        "; this machine's clock is 120 s ahead of the server's",
    ),
    **{f"expires at {odd}": (token_until(odd), {}, "") for odd in ("soon", None, True, -1, 10**18, [1])},
    "no JSON in it": (f"eyJhbGciOiJIUzI1NiJ9.{'A' * 16}.{'A' * 16}", {}, ""),
}


@pytest.mark.parametrize("why", WHYS)
@pytest.mark.parametrize("cut_off", [True, False])
async def test_a_401_tells_what_token_and_clock_tell(why: str, cut_off: bool) -> None:
    token, headers, says = WHYS[why]
    handler = answering(401, said("no"), headers, length=99 if cut_off else None)
    async with raw_server(handler) as server, transport_for(server.url, wall_clock=lambda: ISSUED_AT) as transport:
        with pytest.raises(errors.UnauthorizedError) as caught:
            await transport.send(ADD, Token(token))
    assert caught.value.reason == f"the token was not accepted{says}"
    assert caught.value.words == ("" if cut_off else "no")
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  our own bytes
    assert str(again) == str(caught.value)


async def test_how_far_the_clock_is_off_is_known_after_an_answer() -> None:
    handler = in_turn(answering(200, QUEUED, date_at(-61)), answering(200, QUEUED))
    async with raw_server(handler) as server, transport_for(server.url, wall_clock=lambda: ISSUED_AT) as transport:
        assert transport.clock_ahead_seconds is None
        await transport.send(ADD, Token(TOKEN))
        assert transport.clock_ahead_seconds == 60.0
        await transport.send(ADD, Token(TOKEN))
        assert transport.clock_ahead_seconds is None


# The listing: a POST without a body fires no chunk event, and may be repeated whatever happened


ONE_LIST = answering(200, enveloped([{"_id": "cl-1", "name": "Renewals"}]))
LISTING_FAILURES: dict[str, Handler] = {
    "closed at once": close_at_once,
    "reset at once": reset_at_once,
    "half a status line": half_a_status_line,
    "half a head": half_a_head,
    "truncated gzip": truncated_gzip,
    "bad chunk size": bad_chunk_size,
    **{handler.__name__: handler for handler in (*WITHOUT_RESPONSE, *WITH_A_STATUS)},
    **{what: answering(200, body, content_type=kind) for what, (body, kind) in NO_ANSWER.items()},
    **{str(status): answering(status, b"") for status in (301, 302, 303, 408, 429, 500, 502, 503, 504)},
    "throttled in words": answering(200, said(RATE_LIMIT_WORDS)),
}


@pytest.mark.parametrize("failure", LISTING_FAILURES)
async def test_the_listing_is_repeated_after_any_failure_that_can_pass(failure: str) -> None:
    handler = LISTING_FAILURES[failure]
    timeouts = Timeouts(total_seconds=0.4 if handler in QUICKLY_OVER else 5.0)
    async with (
        raw_server(in_turn(handler, ONE_LIST)) as server,
        client_for(server.url, timeouts=timeouts) as client,
    ):
        lists = await client.list_contact_lists()
        assert [one.name for one in lists] == ["Renewals"]
        assert server.connections == 2


# Retry-After


def http_date(epoch: float) -> str:
    return email.utils.formatdate(epoch, usegmt=True)


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("007", 7.0),
        ("300", 300.0),
        ("301", 300.0),
        ("9999999999", 300.0),
        ("0", None),
        ("", None),
        ("7.5", None),
        ("+7", None),
        ("-5", None),
        ("1e9", None),
        ("nan", None),
        ("inf", None),
        ("٣", None),
        ("７", None),  # noqa: RUF001  a digit of another width
        ("7\n7", None),
        ("7, 8", None),
        ("soon", None),
        (http_date(NOW + 9), 9.0),
        (http_date(NOW + 90_000), 300.0),
        (http_date(NOW), None),
        (http_date(NOW - 9), None),
        ("Fri, 99 Nov 2023 22:13:20 GMT", None),
        ("Tue, 14 Nov 99999999999999999999 22:13:20 GMT", None),
    ],
)
def test_only_a_sane_retry_after_is_believed(text: str | None, seconds: float | None) -> None:
    assert sane_retry_after(text, date=None, now=NOW, longest=300.0) == seconds


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        (http_date(NOW + 3600), 9.0),
        (http_date(NOW + 3600 + 9), None),
        ("no date", None),  # then the own clock has to do, which is an hour behind: cut to the cap below
    ],
)
def test_a_date_is_measured_against_the_replys_own_date(date: str, seconds: float | None) -> None:
    text = http_date(NOW + 3600 + 9)
    expected = 300.0 if date == "no date" else seconds
    assert sane_retry_after(text, date=date, now=NOW, longest=300.0) == expected


# base_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("platform.kore.ai", "https://platform.kore.ai"),
        (" platform.kore.ai\n", "https://platform.kore.ai"),
        ("https://platform.kore.ai", "https://platform.kore.ai"),
        ("https://platform.kore.ai/", "https://platform.kore.ai"),
        ("HTTPS://Platform.Kore.AI", "https://platform.kore.ai"),
        ("platform.kore.ai:8443", "https://platform.kore.ai:8443"),
        ("https://platform.kore.ai:8443/", "https://platform.kore.ai:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://127.0.0.1:8080/", "http://127.0.0.1:8080"),
        ("http://127.8.9.1", "http://127.8.9.1"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_a_host_is_a_name_or_a_url(host: str, url: str) -> None:
    assert base_url(host) == url


@pytest.mark.parametrize(
    "host",
    [
        "http://platform.kore.ai",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://[::]",
        "http://[2001:db8::1]",
    ],
)
def test_plain_http_is_for_loopback_alone(host: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match="plain http"):
        base_url(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "   ",
        None,
        7,
        "https://",
        "https:///path",
        ":443",
        "ftp://platform.kore.ai",
        "https://platform.kore.ai/api",
        "https://platform.kore.ai?x=1",
        "https://platform.kore.ai/#x",
        "platform.kore.ai/api",
        "https://platform .kore.ai",
        "https://platform.kore.ai\r\nX-Evil: 1",
        "platform.kore.ai\r\nauth: x",
        "https://platform.kore.ai\x00",
        "https://platform.kore.ai:port",
        "https://platform.kore.ai:99999",
        "https://[::1",
        "https://platform.kore.ai\\@evil.example",
        "https://platform%2ekore.ai",
    ],
)
def test_what_is_no_host_is_refused(host: Any) -> None:
    with pytest.raises(errors.InvalidRequestError, match="the host"):
        base_url(host)


@pytest.mark.parametrize(
    "host",
    [
        "https://ana:hunter2@platform.kore.ai",
        "https://:hunter2@platform.kore.ai",
        "ana:hunter2@platform.kore.ai",
        "http://ana:hunter2@platform.kore.ai",
        "https://ana:hunter2@platform.kore.ai/api?x=1",
        "ftp://ana:hunter2@platform.kore.ai",
        "https://ana:hunter2@platform.kore.ai:port",
        "https://ana:hunter2 @platform.kore.ai",
        "https://ana:hunter2%40@platform.kore.ai",
        "https://ana:hunter2/x@platform.kore.ai",
    ],
)
def test_a_password_in_the_host_is_refused_and_not_shown(host: str) -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        base_url(host)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


# Secrets

OPAQUE = 'opaque/token+with"quotes"=='


async def echo_garbage(connection: Connection) -> None:
    token = (await connection.read_request()).headers["auth"]
    await connection.write(f"HTTP/1.1 {token} {token}\r\n{token}\r\n\r\n{token}".encode())


async def echo_bad_header(connection: Connection) -> None:
    token = (await connection.read_request()).headers["auth"]
    await connection.write(f"HTTP/1.1 200 OK\r\n{token}\x00 {token}\r\n\r\n".encode())


async def echo_truncated(connection: Connection) -> None:
    token = (await connection.read_request()).headers["auth"]
    await connection.write(reply(200, said(token), length=9999))


async def echo_truncated_refusal(connection: Connection) -> None:
    token = (await connection.read_request()).headers["auth"]
    await connection.write(reply(403, said(token), {"X-Echo": token, "Retry-After": token}, length=9999))


async def echo_bad_gzip(connection: Connection) -> None:
    token = (await connection.read_request()).headers["auth"]
    await connection.write(reply(200, token.encode(), {"Content-Encoding": "gzip"}))


async def echo_close(connection: Connection) -> None:
    await connection.read_request()


async def echo_location(connection: Connection) -> None:
    token = (await connection.read_request()).headers["auth"]
    await connection.write(reply(302, b"", {"Location": f"https://elsewhere.example/?auth={token}"}))


def echoing(status: int, wrap: str = "{}", *, escaped: bool = False) -> Handler:
    async def echo(connection: Connection) -> None:
        token = (await connection.read_request()).headers["auth"]
        if escaped:
            text = "".join(f"\\u{ord(letter):04x}" for letter in token)
        else:
            text = token.replace("\\", "\\\\").replace('"', '\\"').replace("/", "\\/")
        await connection.write(reply(status, wrap.replace("{}", text).encode()))

    return echo


ECHOES: dict[str, Handler] = {
    "400 in JSON": echoing(400, '{"message":"the token {} is wrong"}'),
    "400 in JSON, escaped": echoing(400, '{"message":"the token {} is wrong"}', escaped=True),
    "500 in JSON": echoing(500, '{"errors":[{"msg":"{}"}]}'),
    "500 in JSON, escaped": echoing(500, '{"errors":[{"msg":"{}"}]}', escaped=True),
    "401 in text": echoing(401, "auth: {}\r\niid: x"),
    "429": echoing(429, '{"message":"{}"}'),
    "200, not queued": echoing(200, '{"message":"hello {}"}'),
    "200, no JSON": echoing(200, "{}"),
    "200 of HTML": echoing(200, "<html>{}</html>"),
    "302": echo_location,
    "garbage": echo_garbage,
    "bad header": echo_bad_header,
    "truncated": echo_truncated,
    "truncated refusal": echo_truncated_refusal,
    "bad gzip": echo_bad_gzip,
    "closed": echo_close,
}


@pytest.mark.parametrize("token", [TOKEN, OPAQUE], ids=["jwt", "opaque"])
@pytest.mark.parametrize("how", ECHOES)
@pytest.mark.parametrize("through", ["transport", "client"])
async def test_a_token_that_the_server_quotes_is_shown_nowhere(
    how: str, token: str, through: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in texts, attributes, pickles, causes, logs, or the locals of a crash report."""
    caplog.set_level(logging.DEBUG)
    async with raw_server(ECHOES[how]) as server:
        if through == "client":
            async with client_for(server.url, credentials=StaticToken(token)) as client:
                with pytest.raises(CallError) as caught:
                    await client.send(ADD)
        else:
            async with transport_for(server.url) as transport:
                with pytest.raises(CallError) as caught:
                    ADD.parse(await transport.send(ADD, Token(token)))
    error = caught.value
    shown = fakes.shown_by(error, test_file=__file__)
    shown += caplog.text + repr(pickle.loads(pickle.dumps(error)).args)  # noqa: S301  made a line above
    for part in (token, repr(token)[1:-1], token[4:-4], token.replace("/", "\\/")):
        assert part not in shown
    assert pickle.dumps(error).find(token.encode()) == -1


@pytest.mark.parametrize("failing", [close_after_reading, hang_after_reading, garbage_status_line])
async def test_no_foreign_exception_hangs_on_an_error(failing: Handler) -> None:
    """aiohttp's exceptions carry the request's headers, and so the token."""
    async with raw_server(failing) as server:
        error = await failure_at(server.url, total=0.2)
    assert list(fakes.chain(error)) == [error]


async def test_no_body_is_kept_alive_or_shown_by_an_error() -> None:
    """An error is kept for long, a thousand contacts with it would be too."""
    async with raw_server(answering(403, b"no")) as server, client_for(server.url) as client:
        with pytest.raises(errors.ForbiddenError) as caught:
            await client.send(ADD)
    assert "4155550123" not in fakes.shown_by(caught.value, test_file=__file__)


async def test_a_token_in_a_success_is_masked() -> None:
    async with (
        raw_server(echoing(200, '{"message":"Adding contacts to {} is in progress"}')) as server,
        client_for(server.url) as client,
    ):
        job = await client.send(ADD)
    assert TOKEN not in repr((job, job.raw, job.message))
