"""Replies to addContacts that are HTTP of an odd kind: interim answers, trailers, lengths, encodings, charsets.

A contact counts as accepted only where the reply, read as its head says, is one of the documented ones. Where a head
and its body contradict each other nothing is proven but what the status of a refusal proves.
"""

from __future__ import annotations

import asyncio
import gzip
import zlib
from importlib.util import find_spec
from typing import Final

import pytest
from fakes import QUEUED, RATE_LIMIT_WORDS, Connection, client_for, raw_server
from test_replies import ANA, ONCE, ended, meaning

from kore_campaign_async.config import Timeouts

CUT: Final = QUEUED[:-1]
JSON: Final = "Content-Type: application/json"
NO: Final = b'{"status":"failed","message":"the list is full"}'
WAIT: Final = b'{"message":"%s"}' % RATE_LIMIT_WORDS.encode()


def raw(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """A reply with just these headers, and the connection's end behind it."""
    return "\r\n".join((f"HTTP/1.1 {status}", *lines)).encode("latin-1") + b"\r\n\r\n" + body


def sized(body: bytes, *lines: str, status: str = "200 OK") -> bytes:
    """One with a Content-Length beside them."""
    return raw(body, f"Content-Length: {len(body)}", *lines, status=status)


def chunked(body: bytes, *lines: str, end: bytes = b"0\r\n\r\n", status: str = "200 OK", extension: str = "") -> bytes:
    """One in two chunks, and what is said behind them."""
    half = len(body) // 2
    chunks = b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension.encode(), one) for one in (body[:half], body[half:]))
    return raw(chunks + end, "Transfer-Encoding: chunked", *lines, status=status)


def interim(*statuses: int) -> bytes:
    """Interim answers, each with a header of its own."""
    return b"".join(b"HTTP/1.1 %d Wait\r\nLink: </a.css>; rel=preload\r\n\r\n" % status for status in statuses)


def deflated(body: bytes, window: int) -> bytes:
    packer = zlib.compressobj(9, wbits=window)
    return packer.compress(body) + packer.flush()


def zstd(body: bytes) -> bytes:
    """A frame of one raw block, which needs no library to be written."""
    return b"\x28\xb5\x2f\xfd\x20" + bytes([len(body)]) + (1 | len(body) << 3).to_bytes(3, "little") + body


ACCEPTED: Final = "accepted"
MAYBE: Final = "maybe"
REFUSED: Final = "refused"
#: aiohttp unpacks these where Python can.
ZSTD: Final = ACCEPTED if find_spec("compression") or find_spec("backports.zstd") else MAYBE
BROTLI: Final = ACCEPTED if find_spec("brotli") or find_spec("brotlicffi") else MAYBE
#: The words are there, and HTTP leaves it to who reads whether the rest spoils them.
EITHER: Final = "accepted or maybe"

INTERIM: Final[dict[str, tuple[bytes, str]]] = {
    "100": (interim(100) + sized(QUEUED), ACCEPTED),
    "102": (interim(102) + sized(QUEUED), ACCEPTED),
    "103": (interim(103) + sized(QUEUED), ACCEPTED),
    "100, 102, 103": (interim(100, 102, 103) + sized(QUEUED), ACCEPTED),
    "many": (interim(*[100, 102, 103] * 200) + sized(QUEUED), ACCEPTED),
    "one that nobody knows": (interim(199) + sized(QUEUED), ACCEPTED),
    "before a failure": (interim(100, 103) + sized(QUEUED, status="503 No"), MAYBE),
    "before a refusal": (interim(100, 103) + sized(b"{}", status="400 No"), REFUSED),
    "before a limit": (interim(102) + sized(WAIT, status="429 Wait"), "throttled"),
    "before an error envelope": (interim(102) + sized(NO), REFUSED),
    "and nothing more": (interim(100, 102, 103), MAYBE),
    "and half a head": (interim(102) + b"HTTP/1.1 200 OK\r\nContent-Le", MAYBE),
    "101, and a reply": (interim(101) + sized(QUEUED), MAYBE),
    "101, and a switch": (raw(sized(QUEUED), "Upgrade: h2c", "Connection: Upgrade", status="101 Switch"), MAYBE),
    "101, and its words": (raw(QUEUED, "Upgrade: x", "Connection: Upgrade", status="101 Switch"), MAYBE),
    "100 with the words": (raw(QUEUED, f"Content-Length: {len(QUEUED)}", status="100 Continue"), MAYBE),
    "no content, and the words": (sized(QUEUED, status="204 No"), MAYBE),
    "reset content, and the words": (sized(QUEUED, status="205 Reset"), EITHER),
    "not modified, and the words": (sized(QUEUED, status="304 No"), MAYBE),
}

TRAILERS: Final[dict[str, tuple[bytes, str]]] = {
    "none": (chunked(QUEUED), ACCEPTED),
    "one": (chunked(QUEUED, "Trailer: X-Sum", end=b"0\r\nX-Sum: 7\r\n\r\n"), ACCEPTED),
    "many": (chunked(QUEUED, end=b"0\r\n" + b"X-Sum: 7\r\n" * 50 + b"\r\n"), ACCEPTED),
    "one that nobody announced": (chunked(QUEUED, end=b"0\r\nX-Sum: 7\r\n\r\n"), ACCEPTED),
    "a length": (chunked(QUEUED, end=b"0\r\nContent-Length: 7\r\n\r\n"), EITHER),
    "a status": (chunked(QUEUED, end=b"0\r\nStatus: 500 No\r\n\r\n"), ACCEPTED),
    "an encoding": (chunked(QUEUED, end=b"0\r\nContent-Encoding: gzip\r\n\r\n"), ACCEPTED),
    "no header": (chunked(QUEUED, end=b"0\r\nbanana\r\n\r\n"), EITHER),
    "no end": (chunked(QUEUED, end=b"0\r\nX-Sum: 7\r\n"), EITHER),
    "no last chunk": (chunked(QUEUED, end=b""), MAYBE),
    "no end of the last chunk": (chunked(QUEUED, end=b"0"), MAYBE),
    "extensions": (chunked(QUEUED, extension=';name="a;b"'), ACCEPTED),
    "more behind the end": (chunked(QUEUED) + QUEUED, EITHER),
    "another reply behind the end": (chunked(QUEUED) + sized(NO, status="400 No"), EITHER),
    "of a cut body": (chunked(CUT, end=b"0\r\nX-Sum: 7\r\n\r\n"), MAYBE),
    "of a failure": (chunked(QUEUED, end=b"0\r\nX-Sum: 7\r\n\r\n", status="500 No"), MAYBE),
    "of a refusal": (chunked(NO, end=b"0\r\nX-Sum: 7\r\n\r\n", status="400 No"), REFUSED),
    "of an error envelope": (chunked(NO, end=b"0\r\nX-Sum: 7\r\n\r\n"), REFUSED),
}


def lengths(*values: str, body: bytes = QUEUED, status: str = "200 OK") -> bytes:
    return raw(body, *(f"Content-Length: {value}" for value in values), status=status)


SIZE: Final = str(len(QUEUED))
LENGTHS: Final[dict[str, tuple[bytes, str]]] = {
    "right": (lengths(SIZE), ACCEPTED),
    "none, to the end": (raw(QUEUED), ACCEPTED),
    "none, of a cut body": (raw(CUT), MAYBE),
    "twice the same": (lengths(SIZE, SIZE), EITHER),
    "two": (lengths(SIZE, "7"), MAYBE),
    "two, the right one last": (lengths("7", SIZE), MAYBE),
    "two in one": (lengths(f"{SIZE}, {SIZE}"), EITHER),
    "two others in one": (lengths(f"{SIZE}, 7"), MAYBE),
    "a plus": (lengths(f"+{SIZE}"), MAYBE),
    "a minus": (lengths(f"-{SIZE}"), MAYBE),
    "hexadecimal": (lengths(hex(len(QUEUED))), MAYBE),
    "a fraction": (lengths(f"{SIZE}.0"), MAYBE),
    "no number": (lengths("banana"), MAYBE),
    "nothing": (lengths(""), MAYBE),
    "more digits than any": (lengths("9" * 40), MAYBE),
    "too long": (lengths(str(len(QUEUED) + 1)), MAYBE),
    "too short": (lengths(str(len(QUEUED) - 1)), MAYBE),
    "none of it": (lengths("0"), MAYBE),
    "more behind": (lengths(SIZE, body=QUEUED + NO), EITHER),
    "two of a refusal": (lengths("2", "7", body=b"{}", status="400 No"), MAYBE),
    "beside chunks": (chunked(QUEUED, f"Content-Length: {SIZE}"), MAYBE),
    "wrong beside chunks": (chunked(QUEUED, "Content-Length: 7"), MAYBE),
    "beside chunks that are none": (raw(QUEUED, "Transfer-Encoding: chunked", f"Content-Length: {SIZE}"), MAYBE),
    "chunked twice": (raw(chunked(QUEUED).partition(b"\r\n\r\n")[2], *["Transfer-Encoding: chunked"] * 2), EITHER),
    "chunked, and identity": (chunked(QUEUED, "Transfer-Encoding: identity"), EITHER),
    "gzip on the way": (sized(gzip.compress(QUEUED), "Transfer-Encoding: gzip"), MAYBE),
    "gzip on the way, and chunks": (
        raw(chunked(gzip.compress(QUEUED)).partition(b"\r\n\r\n")[2], "Transfer-Encoding: gzip, chunked"),
        MAYBE,
    ),
}

# A body that is plain whatever its head names is those words all the same: nobody packs them by chance.
ENCODINGS: Final[dict[str, tuple[str, bytes, str]]] = {
    "identity": ("identity", QUEUED, ACCEPTED),
    "gzip": ("gzip", gzip.compress(QUEUED), ACCEPTED),
    "GZIP": ("GZIP", gzip.compress(QUEUED), ACCEPTED),
    "x-gzip": ("x-gzip", gzip.compress(QUEUED), EITHER),
    "deflate": ("deflate", deflated(QUEUED, 15), ACCEPTED),
    "deflate without its head": ("deflate", deflated(QUEUED, -15), ACCEPTED),
    "zstd": ("zstd", zstd(QUEUED), ZSTD),
    "brotli": ("br", b"\x0b\x1d\x80" + QUEUED + b"\x03", BROTLI),
    "gzip that is none": ("gzip", QUEUED, MAYBE),
    "deflate that is none": ("deflate", QUEUED, MAYBE),
    "zstd that is none": ("zstd", QUEUED, MAYBE),
    "brotli that is none": ("br", QUEUED, MAYBE),
    "gzip called deflate": ("deflate", gzip.compress(QUEUED), MAYBE),
    "deflate called gzip": ("gzip", deflated(QUEUED, 15), MAYBE),
    "gzip called nothing": ("", gzip.compress(QUEUED), MAYBE),
    "gzip called identity": ("identity", gzip.compress(QUEUED), MAYBE),
    "gzip cut off": ("gzip", gzip.compress(QUEUED)[:-20], MAYBE),
    "gzip without its last bytes": ("gzip", gzip.compress(QUEUED)[:-9], EITHER),
    "gzip without its sum": ("gzip", gzip.compress(QUEUED)[:-8], EITHER),
    "gzip with a wrong sum": ("gzip", gzip.compress(QUEUED)[:-8] + bytes(8), MAYBE),
    "gzip, and more behind": ("gzip", gzip.compress(QUEUED) + b"more", EITHER),
    "gzip in two members": ("gzip", gzip.compress(QUEUED[:9]) + gzip.compress(QUEUED[9:]), EITHER),
    "gzip, and an error in a second member": ("gzip", gzip.compress(QUEUED) + gzip.compress(NO), MAYBE),
    "gzip of a cut body": ("gzip", gzip.compress(CUT), MAYBE),
    "gzip of an error envelope": ("gzip", gzip.compress(NO), REFUSED),
    "gzip of nothing": ("gzip", gzip.compress(b""), MAYBE),
    "gzip, and nothing": ("gzip", b"", MAYBE),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(QUEUED)), EITHER),
    "gzip twice, said once": ("gzip", gzip.compress(gzip.compress(QUEUED)), MAYBE),
    "gzip once, said twice": ("gzip, gzip", gzip.compress(QUEUED), MAYBE),
    "plain, said to be packed twice": ("gzip, gzip", QUEUED, EITHER),
    "plain, in an encoding that nobody knows": ("rot13", QUEUED, EITHER),
    "other bytes in an encoding that nobody knows": ("rot13", b"\x93" + QUEUED, MAYBE),
}

CHARSETS: Final[dict[str, tuple[str, bytes, str]]] = {
    "UTF-8": ("application/json; charset=utf-8", QUEUED, ACCEPTED),
    "ASCII": ("application/json; charset=us-ascii", QUEUED, ACCEPTED),
    "latin-1": ("application/json; charset=iso-8859-1", QUEUED, ACCEPTED),
    "latin-1, and its bytes": (
        "application/json; charset=iso-8859-1",
        '{"message":"Adding contacts to Übersicht is in progress"}'.encode("latin-1"),
        MAYBE,
    ),
    "UTF-16": ("application/json; charset=utf-16", QUEUED.decode().encode("utf-16"), EITHER),
    "UTF-16, said by nobody": ("application/json", QUEUED.decode().encode("utf-16-le"), EITHER),
    "UTF-16 that is none": ("application/json; charset=utf-16", QUEUED, ACCEPTED),
    "UTF-32": ("application/json; charset=utf-32", QUEUED.decode().encode("utf-32"), EITHER),
    "a byte order mark": ("application/json", b"\xef\xbb\xbf" + QUEUED, EITHER),
    "one that nobody knows": ("application/json; charset=klingon", QUEUED, ACCEPTED),
    "one that is no text": ("application/json; charset=hex", QUEUED, ACCEPTED),
    "one that unpacks": ("application/json; charset=zlib_codec", QUEUED, ACCEPTED),
    "one with a NUL": ("application/json; charset=utf\t8", QUEUED, ACCEPTED),
    "two": ("application/json; charset=utf-8; charset=utf-16", QUEUED, ACCEPTED),
    "an open quote": ('application/json; charset="utf-8', QUEUED, ACCEPTED),
    "text": ("text/plain; charset=ebcdic-cp-us", QUEUED, ACCEPTED),
    "EBCDIC": ("application/json; charset=cp500", QUEUED.decode().encode("cp500"), MAYBE),
    "a page": ("text/html", b"<p>" + QUEUED, MAYBE),
    "no type": ("", QUEUED, ACCEPTED),
    "a type that is none": ("///;;;=", QUEUED, ACCEPTED),
    "other bytes": ("application/json; charset=klingon", b"\xff\xfe\x00" + QUEUED, MAYBE),
}


async def came_to(*answers: bytes) -> list[str]:
    """What a call comes to, for each of these answers."""
    turn = iter(answers)

    async def answer(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(next(turn))

    quick = Timeouts(total_seconds=2.0, connect_seconds=2.0)
    async with (
        raw_server(answer) as server,
        client_for(server.url, retry=ONCE, timeouts=quick) as client,
        asyncio.timeout(30.0),
    ):
        found = [meaning(await ended(client.add_contacts("Renewals", [ANA]))) for _ in answers]
        assert len(server.requests) == len(answers), "a call was sent again"
    return found


def fits(found: str, expected: str) -> bool:
    return found in expected.split(" or ")


@pytest.mark.parametrize("what", INTERIM)
async def test_an_interim_answer_is_none(what: str) -> None:
    answer, expected = INTERIM[what]
    (found,) = await came_to(answer)
    assert fits(found, expected), found


@pytest.mark.parametrize("what", TRAILERS)
async def test_what_stands_behind_the_chunks_changes_nothing(what: str) -> None:
    answer, expected = TRAILERS[what]
    (found,) = await came_to(answer)
    assert fits(found, expected), found


@pytest.mark.parametrize("what", LENGTHS)
async def test_a_length_that_is_in_doubt_proves_nothing(what: str) -> None:
    answer, expected = LENGTHS[what]
    (found,) = await came_to(answer)
    assert fits(found, expected), found


@pytest.mark.parametrize("what", ENCODINGS)
async def test_a_body_is_unpacked_as_its_head_says_or_proves_nothing(what: str) -> None:
    """Whole and in chunks; under a refusal it is one, or in doubt where aiohttp makes no response of it."""
    encoding, body, expected = ENCODINGS[what]
    head = f"Content-Encoding: {encoding}"
    found = await came_to(
        sized(body, JSON, head),
        chunked(body, JSON, head),
        sized(body, JSON, head, status="400 No"),
        sized(body, JSON, head, status="503 No"),
    )
    assert fits(found[0], expected), found
    assert found[1] == found[0]
    assert fits(found[2], "refused or maybe" if encoding == "br" else REFUSED)
    assert found[3] == ("refused" if expected == REFUSED else "maybe")


@pytest.mark.parametrize("what", CHARSETS)
async def test_a_charset_changes_nothing(what: str) -> None:
    """JSON is UTF-8, whatever its type says; and no name of a charset breaks a call."""
    content_type, body, expected = CHARSETS[what]
    head = f"Content-Type: {content_type}"
    found = await came_to(sized(body, head), sized(body, head, status="422 No"), sized(body, head, status="500 No"))
    assert fits(found[0], expected), found
    assert found[1:] == ["refused", "maybe"]
