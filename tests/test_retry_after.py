"""How long a throttled call waits: thirteen ways to say Retry-After beside five ways to say Date, over real sockets.

A date is measured against the clock that wrote it, which is the reply's own Date; where that is missing or none, this
machine's clock has to do. Whatever is said, the wait is a length of time, and never longer than the cap.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

import pytest
from fakes import RATE_LIMIT_WORDS, Connection, FakeTime, client_for, raw_server, transport_for
from test_transport import ADD, failure_of

from kore_campaign_async import Contact, RateLimit, RetryPolicy, errors
from kore_campaign_async.transport import sane_retry_after

NOW: Final = 1_900_000_000  # a Monday in March 2030
CAP: Final = 300.0
HOUR: Final = 3600
DAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


# The three spellings of a date that HTTP knows, in English whatever the machine speaks.


def imf(epoch: float) -> str:
    at = time.gmtime(epoch)
    return (
        f"{DAYS[at.tm_wday][:3]}, {at.tm_mday:02} {MONTHS[at.tm_mon - 1]} {at.tm_year} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )


def rfc_850(epoch: float) -> str:
    at = time.gmtime(epoch)
    return (
        f"{DAYS[at.tm_wday]}, {at.tm_mday:02}-{MONTHS[at.tm_mon - 1]}-{at.tm_year % 100:02} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT"
    )


def asctime(epoch: float) -> str:
    at = time.gmtime(epoch)
    return (
        f"{DAYS[at.tm_wday][:3]} {MONTHS[at.tm_mon - 1]} {at.tm_mday:2} "
        f"{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} {at.tm_year}"
    )


#: By the server's clock: what it asks for, and the seconds that are meant; None where nothing sane is.
ASKED: Final[dict[str, tuple[Callable[[float], str], float | None]]] = {
    "seconds": (lambda _: "7", 7.0),
    "none": (lambda _: "0", None),
    "fewer than none": (lambda _: "-5", None),
    "too many": (lambda _: "99999", CAP),
    "a fraction": (lambda _: "7.5", None),
    "not a number": (lambda _: "nan", None),
    "nonsense": (lambda _: "soon, at 25:61 GMT", None),
    "a date": (lambda now: imf(now + 9), 9.0),
    "a date by RFC 850": (lambda now: rfc_850(now + 9), 9.0),
    "a date by asctime": (lambda now: asctime(now + 9), 9.0),
    "a date of this second": (imf, None),
    "a date that is over": (lambda now: imf(now - 9), None),
    "a date next year": (lambda now: asctime(now + 8760 * HOUR), CAP),
}

#: How far the server's clock is ahead, and what it says of that.
DATES: Final[dict[str, tuple[int, Callable[[float], str | None]]]] = {
    "right": (0, imf),
    "missing": (0, lambda _: None),
    "an hour ahead": (HOUR, imf),
    "five hours behind": (-5 * HOUR, rfc_850),
    "no date": (0, lambda _: "yesterday, or so"),
}


def headers(asked: str, date: str, now: float = NOW) -> dict[str, str]:
    """The two headers of a reply at this moment."""
    ahead, written = DATES[date]
    told = written(now + ahead)
    return {"Retry-After": ASKED[asked][0](now + ahead)} | ({} if told is None else {"Date": told})


def throttled(named: dict[str, str] | list[tuple[str, str]]) -> bytes:
    """A 429 with these headers, which may stand there twice."""
    body = b'{"message":"%s"}' % RATE_LIMIT_WORDS.encode()
    lines = [f"{name}: {value}" for name, value in (named.items() if isinstance(named, dict) else named)]
    head = "\r\n".join(("HTTP/1.1 429 Too Many Requests", f"Content-Length: {len(body)}", *lines))
    return head.encode("latin-1") + b"\r\n\r\n" + body


@pytest.mark.parametrize("date", DATES)
@pytest.mark.parametrize("asked", ASKED)
async def test_the_wait_that_a_reply_asks_for(asked: str, date: str) -> None:
    """A server whose clock is hours off asks for as long as one whose clock is right."""

    async def refuse(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(throttled(headers(asked, date)))

    async with (
        raw_server(refuse) as server,
        transport_for(server.url, wall_clock=lambda: float(NOW)) as transport,
    ):
        error = await failure_of(transport, ADD)
    assert isinstance(error, errors.ThrottledError)
    assert error.retry_after_seconds == ASKED[asked][1]


@pytest.mark.parametrize("rate", [(RateLimit(60, 60.0), RateLimit(1800, 3600.0)), ()], ids=["60/60", "none"])
async def test_a_call_waits_for_what_was_asked_or_as_long_as_it_would_without(rate: tuple[RateLimit, ...]) -> None:
    """All 65 pairs, one call each: the shortest window or the policy's backoff where nothing sane is asked for."""
    pairs = [(asked, date) for asked in ASKED for date in DATES]
    assert len(pairs) == 65
    turn = iter([one for pair in pairs for one in (pair, None)])

    async def answer(connection: Connection) -> None:
        await connection.read_request()
        pair = next(turn)
        body = b'{"message":"Contacts queued for addition."}'
        good = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
        await connection.write(good if pair is None else throttled(headers(*pair, time.time())))

    fake = FakeTime()
    settings = {"rate": rate, "retry": RetryPolicy(), "clock": fake.clock, "sleep": fake.sleep}
    async with raw_server(answer) as server, client_for(server.url, **settings) as client:
        for pair in pairs:
            fake.slept.clear()
            fake.now += HOUR  # the budget is whole again
            await client.add_contacts("Renewals", [Contact("+14155550123")])
            slept, expected = sum(fake.slept), ASKED[pair[0]][1]
            if expected is not None:
                # A date names a whole second, and this machine's clock goes on.
                assert slept == pytest.approx(expected, abs=3.0), pair
            elif rate:
                assert slept == pytest.approx(60.0), pair
            else:
                assert 0.0 <= slept <= 1.0, pair
    assert next(turn, "over") == "over"


@pytest.mark.parametrize(
    "named",
    [
        [("Retry-After", "7"), ("Retry-After", "9999")],
        [("Retry-After", "-1"), ("Retry-After", "7")],
        [("Retry-After", imf(NOW + 9)), ("Date", imf(NOW)), ("Date", imf(NOW - 99 * HOUR))],
        [("Retry-After", "9" * 4000)],
        [("Retry-After", "9" * 10), ("Date", "9" * 4000)],
        [("Retry-After", "Mon, 99 Zzz 0000 99:99:99 +9999"), ("Date", imf(NOW))],
        [("Retry-After", imf(NOW + 9)), ("Date", "Mon, 18 Mar 9999 00:00:00 -2359")],
        [("Retry-After", "Sat, 01 Jan 0001 00:00:00 +2359"), ("Date", "Fri, 31 Dec 9999 23:59:59 -2359")],
        [("Retry-After", "\xb2"), ("Date", "\xff" * 40)],
        [("Retry-After", "," * 4000), ("Date", "(" * 4000)],
        [("Retry-After", "(" * 4000), ("Date", '"' * 4000)],
    ],
)
async def test_whatever_is_said_the_wait_is_a_length_of_time(named: list[tuple[str, str]]) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(throttled(named))

    async with (
        raw_server(refuse) as server,
        transport_for(server.url, wall_clock=lambda: float(NOW)) as transport,
        asyncio.timeout(5.0),
    ):
        error = await failure_of(transport, ADD)
        assert transport.clock_ahead_seconds is None or abs(transport.clock_ahead_seconds) < 1e12
    assert isinstance(error, errors.ThrottledError)
    assert error.retry_after_seconds is None or 0.0 < error.retry_after_seconds <= CAP


@pytest.mark.parametrize("zone", ["+0000", "-0000", "UTC", "UT", "Z", "EST", "+0530", "GMT+1", ""])
@pytest.mark.parametrize("longest", [0.5, CAP])
def test_the_cap_holds_for_dates_of_any_zone(zone: str, longest: float) -> None:
    text = imf(NOW + 2).replace("GMT", zone)
    for now in (0.0, NOW - 1e6, float(NOW), NOW + 1e6):
        for date in (None, imf(NOW), imf(NOW - HOUR), text, ""):
            seconds = sane_retry_after(text, date=date, now=now, longest=longest)
            assert seconds is None or 0.0 < seconds <= longest


def test_the_spellings_are_those_of_the_standard() -> None:
    """By its own example."""
    assert imf(784111777) == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert rfc_850(784111777) == "Sunday, 06-Nov-94 08:49:37 GMT"
    assert asctime(784111777) == "Sun Nov  6 08:49:37 1994"
