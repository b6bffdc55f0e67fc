"""Every fault of the sandbox: what a bare socket sees of it, what the client makes of it, and what was stored."""

from __future__ import annotations

import asyncio
import gzip
import logging
import shlex
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jwt
import orjson
import pytest
from attrs import define, frozen
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign
from fakes import QUEUED, RATE_LIMIT_WORDS, FakeTime, answering, eventually, raw_server

from kore_campaign_async import CampaignClient, Contact
from kore_campaign_async.config import RetryPolicy, Timeouts
from kore_campaign_async.errors import (
    CallError,
    CallOutcome,
    ConnectionLostError,
    ForbiddenError,
    NotFoundError,
    PayloadTooLargeError,
    RedirectedError,
    RedirectRefusedError,
    RefusedError,
    ReplyTimeoutError,
    ScopeError,
    ServerError,
    ThrottledError,
    UnauthorizedError,
    UnexpectedReplyError,
    UnreadableReplyError,
    UnsuccessfulError,
)
from kore_campaign_async.sandbox import Sandbox
from kore_campaign_async.sandbox.faults import KINDS, Fault

NUMBER = "+14155550123"
BIG = 20 << 20
SERVER_ERROR = b'{"message":"Internal server error"}'


# What a socket sees


@define
class Seen:
    """All that came over a connection, and how it ended: "closed", "reset" or, while it is still open, "open"."""

    data: bytes = b""
    end: str = "open"
    chunks: int = 0

    @property
    def head(self) -> list[str]:
        return self.data.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")

    @property
    def status(self) -> int:
        return int(self.head[0].split(" ")[1])

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    def header(self, name: str) -> str:
        (value,) = self.headers(name)
        return value

    def headers(self, name: str) -> list[str]:
        pairs = [line.partition(": ") for line in self.head[1:]]
        return [value for found, _, value in pairs if found.lower() == name]


def request_bytes(sandbox: Sandbox, body: bytes, *, connection: str) -> bytes:
    now = int(time.time())
    claims = {"sub": "a user", "appId": sandbox.client_id, "iat": now, "exp": now + 60}
    lines = (
        f"POST /api/1.1/public/{sandbox.app_id}/campaign/contactList/addContacts HTTP/1.1",
        "Host: sandbox",
        f"auth: {jwt.encode(claims, sandbox.client_secret, algorithm='HS256')}",
        f"iid: {sandbox.app_id}",
        f"accountId: {sandbox.account_id}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Connection: {connection}",
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def see(
    sandbox: Sandbox,
    *,
    enough: Callable[[Seen], bool] = lambda _seen: False,
    quiet: float = 5.0,
    connection: str = "close",
) -> Seen:
    """Send one call and read until the connection ends, enough was seen, or it was quiet for so many seconds."""
    body = orjson.dumps({"contact_list_name": "Renewals", "data": [{"phoneNumber": NUMBER}]})
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
    seen = Seen()
    try:
        writer.write(request_bytes(sandbox, body, connection=connection))
        while not enough(seen):
            chunk = await asyncio.wait_for(reader.read(1 << 16), quiet)
            if not chunk:
                seen.end = "closed"
                break
            seen.data += chunk
            seen.chunks += 1
    except ConnectionResetError:
        seen.end = "reset"
    except TimeoutError:
        pass
    finally:
        writer.transport.abort()
    return seen


@asynccontextmanager
async def misbehaving(*faults: Fault, keeps: bool = True) -> AsyncIterator[Sandbox]:
    async with Sandbox(rate=None, job_seconds=3600.0, faults=faults) as sandbox:
        sandbox.make_list("Renewals", allow_duplicates=keeps)
        yield sandbox


async def stored(sandbox: Sandbox) -> int:
    await sandbox.settle()
    return sandbox.stored_times(NUMBER)


def truth(kind: str) -> tuple[int, bytes]:
    """What is behind an answer that is spoilt on its way."""
    return (200, QUEUED) if kind.endswith("-stored") else (500, SERVER_ERROR)


def before_and_after(*kinds: str) -> list[str]:
    return [name for kind in kinds for name in (kind, f"{kind}-stored")]


def stores(kind: str) -> bool:
    return kind.endswith("-stored") or kind == "unsolicited"


async def seen_of(kind: str, **how: Any) -> Seen:
    """What a socket sees of a kind; on the way it is checked whether the contacts were stored."""
    async with misbehaving(Fault(kind, pause_seconds=0.005)) as sandbox:
        seen = await see(sandbox, **how)
        assert await stored(sandbox) == stores(kind)
        assert sandbox.faults_shown == {kind: 1}
        return seen


@pytest.mark.parametrize("kind", before_and_after("close"))
async def test_close_ends_the_connection_without_a_byte(kind: str) -> None:
    assert await seen_of(kind) == Seen(b"", "closed")


@pytest.mark.parametrize("kind", before_and_after("reset"))
async def test_reset_is_a_reset(kind: str) -> None:
    assert await seen_of(kind) == Seen(b"", "reset")


async def test_close_early_ends_the_connection_while_the_body_is_on_its_way() -> None:
    async with misbehaving(Fault("close-early")) as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
        head = request_bytes(sandbox, b"x" * BIG, connection="close")[:-BIG]
        writer.write(head)
        assert await reader.read() == b""
        writer.close()
        assert await stored(sandbox) == 0
        assert sandbox.faults_shown == {"close-early": 1}


async def test_413_early_comes_while_the_body_is_on_its_way() -> None:
    async with misbehaving(Fault("413-early")) as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
        writer.write(request_bytes(sandbox, b"x" * BIG, connection="close")[:-BIG])
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
        writer.transport.abort()
        assert await stored(sandbox) == 0


async def test_stop_reading_takes_no_more_of_the_body() -> None:
    async with misbehaving(Fault("stop-reading")) as sandbox:
        _, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
        writer.write(request_bytes(sandbox, b"x" * BIG, connection="close"))
        await eventually(lambda: sandbox.faults_shown["stop-reading"] == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(writer.drain(), 0.3)
        writer.transport.abort()
        assert await stored(sandbox) == 0


@pytest.mark.parametrize("kind", before_and_after("hang"))
async def test_hang_says_nothing_and_stays(kind: str) -> None:
    assert await seen_of(kind, quiet=0.1) == Seen(b"", "open")


@pytest.mark.parametrize("kind", before_and_after("drip"))
async def test_drip_sends_the_truth_byte_by_byte(kind: str) -> None:
    seen = await seen_of(kind)
    assert (seen.status, seen.body) == truth(kind)
    assert seen.chunks > 20
    assert seen.end == "closed"


@pytest.mark.parametrize("kind", before_and_after("garbage"))
async def test_garbage_has_no_status_line(kind: str) -> None:
    status, body = truth(kind)
    seen = await seen_of(kind)
    assert seen.head[0].startswith(f"?TTP/1.1 two hundred and {status}")
    assert (seen.body, seen.end) == (body, "closed")


@pytest.mark.parametrize("kind", before_and_after("big-header"))
async def test_big_header_has_20_kilobytes(kind: str) -> None:
    seen = await seen_of(kind)
    assert (seen.status, seen.body) == truth(kind)
    assert len(seen.header("x-large")) == 20_000


@pytest.mark.parametrize("kind", before_and_after("two-lengths"))
async def test_two_lengths_contradict_each_other(kind: str) -> None:
    seen = await seen_of(kind)
    assert (seen.status, seen.body) == truth(kind)
    assert seen.headers("content-length") == [str(len(seen.body)), "7"]


@pytest.mark.parametrize("kind", before_and_after("truncate"))
async def test_truncate_cuts_the_body_off(kind: str) -> None:
    seen = await seen_of(kind)
    assert seen.status == 200
    assert 0 < len(seen.body) < int(seen.header("content-length"))
    assert seen.end == "closed"


@pytest.mark.parametrize("kind", before_and_after("bad-gzip"))
async def test_bad_gzip_can_not_be_unpacked(kind: str) -> None:
    seen = await seen_of(kind)
    assert (seen.status, seen.header("content-encoding")) == (200, "gzip")
    with pytest.raises(OSError, match="compression method"):
        gzip.decompress(seen.body)


@pytest.mark.parametrize("kind", before_and_after("bomb"))
async def test_bomb_is_100_kilobytes_that_become_100_megabytes(kind: str) -> None:
    seen = await seen_of(kind)
    assert (seen.status, seen.header("content-encoding")) == (200, "gzip")
    assert len(seen.body) == int(seen.header("content-length")) < 110_000
    assert len(gzip.decompress(seen.body)) == 100 << 20


@pytest.mark.parametrize("kind", before_and_after("endless"))
async def test_endless_goes_on_and_on(kind: str) -> None:
    seen = await seen_of(kind, enough=lambda seen: len(seen.data) > 8 << 20)
    assert (seen.status, seen.end) == (200, "open")
    assert not seen.headers("content-length")


def is_no_json(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return True
    return False


BODIES: dict[str, Callable[[bytes], bool]] = {
    "empty": lambda body: body == b"",
    "null": lambda body: body == b"null",
    "array": lambda body: body == b"[]",
    "html": lambda body: body.startswith(b"<!DOCTYPE html>"),
    "bad-json": lambda body: is_no_json(body) and body.startswith(QUEUED[:-1]),
    "bad-utf8": lambda body: is_no_json(body) and b"\xff" in body,
    "deep": lambda body: body == b"[" * 100_000,
    "other-words": lambda body: body == b'{"message":"Done"}',
}


@pytest.mark.parametrize("kind", before_and_after(*BODIES))
async def test_a_200_can_have_a_body_that_says_nothing(kind: str) -> None:
    seen = await seen_of(kind)
    assert seen.status == 200
    assert BODIES[kind.removesuffix("-stored")](seen.body)
    assert seen.header("content-type").startswith("text/html" if kind.startswith("html") else "application/json")
    assert int(seen.header("content-length")) == len(seen.body)


DOUBTFUL_STATUSES = ("301", "302", "303", "408", "500", "502", "503", "504")
REFUSING_STATUSES = (
    *("307", "308", "400", "401", "401-scope", "403", "404", "405", "412", "413", "422", "429", "429-after"),
)


SAID_AS_ERRORS = {
    "400": "Bad request",
    "401": "Invalid JWT token",
    "401-scope": "Permission denied. Scope is incorrect!",
}


@pytest.mark.parametrize(("kind", "status"), [("error-200", 200), ("error-503", 503)])
async def test_an_error_envelope_can_come_with_any_status(kind: str, status: int) -> None:
    seen = await seen_of(kind)
    words = "Another upload to this list is in progress. Try again later."
    assert (seen.status, orjson.loads(seen.body)) == (status, {"status": "Error", "message": words})


@pytest.mark.parametrize("kind", [*before_and_after(*DOUBTFUL_STATUSES), *REFUSING_STATUSES])
async def test_a_status_is_said_properly(kind: str) -> None:
    seen = await seen_of(kind)
    assert seen.status == int(kind[:3])
    if kind.startswith("3"):
        assert seen.header("location") == "http://127.0.0.1:9/elsewhere"
    elif kind[:3] in {"502", "504"}:
        assert seen.body.startswith(b"<!DOCTYPE html>")
    elif kind in {"405", "412"}:
        assert isinstance(orjson.loads(seen.body), str)
    elif kind[:3] in {"400", "401"}:
        ((error,),) = orjson.loads(seen.body).values()
        assert error == {"msg": SAID_AS_ERRORS[kind], "code": 400 if kind == "400" else 4002}
    else:
        assert orjson.loads(seen.body)["message"]
    assert seen.headers("retry-after") == (["1"] if kind == "429-after" else [])


@pytest.mark.parametrize(
    ("kind", "status"), [("429", 429), ("429-after", 429), ("throttle-200", 200), ("throttle-500", 500)]
)
async def test_a_throttled_answer_has_the_vendors_words(kind: str, status: int) -> None:
    seen = await seen_of(kind)
    assert (seen.status, orjson.loads(seen.body)) == (status, {"message": RATE_LIMIT_WORDS})


async def test_unsolicited_is_a_second_reply_after_the_true_one() -> None:
    seen = await seen_of("unsolicited", quiet=0.3, connection="keep-alive")
    assert (seen.status, seen.end) == (200, "open")
    first, second, *more = seen.data.split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert first == second
    assert first.endswith(b"\r\n\r\n" + QUEUED)
    assert more == []


async def test_an_unsolicited_reply_is_taken_for_an_answer_by_who_pools_connections() -> None:
    """The danger it is there to show: a second call is told that it is queued, and only one was."""
    async with misbehaving(Fault("unsolicited")) as sandbox:
        port = int(sandbox.url.rpartition(":")[2])
        body = orjson.dumps({"contact_list_name": "Renewals", "data": [{"phoneNumber": NUMBER}]})
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answers = []
        for _ in range(2):
            writer.write(request_bytes(sandbox, body, connection="keep-alive"))
            await reader.readuntil(b"\r\n\r\n")
            answers.append(await reader.readexactly(len(QUEUED)))
        writer.transport.abort()
        assert answers == [QUEUED, QUEUED]
        assert await stored(sandbox) == 1


# What the client makes of it


@frozen
class Becomes:
    kind: type[CallError]
    status: int | None = None


LOST = Becomes(ConnectionLostError)
LATE = Becomes(ReplyTimeoutError)
UNREADABLE = Becomes(UnreadableReplyError)
DOUBTFUL: dict[str, Becomes] = {
    "close": LOST,
    "reset": LOST,
    "hang": LATE,
    "drip": LATE,
    "garbage": UNREADABLE,
    "big-header": UNREADABLE,
    "two-lengths": UNREADABLE,
    "truncate": UNREADABLE,
    "bad-gzip": UNREADABLE,
    "bomb": UNREADABLE,
    "endless": UNREADABLE,
    **dict.fromkeys(
        ("empty", "null", "array", "html", "bad-json", "bad-utf8", "deep"), Becomes(UnreadableReplyError, 200)
    ),
    "other-words": Becomes(UnexpectedReplyError, 200),
    **{status: Becomes(RedirectedError, int(status)) for status in ("301", "302", "303")},
    **{status: Becomes(ServerError, int(status)) for status in ("408", "500", "502", "503", "504")},
}
BECOMES: dict[str, Becomes] = {
    **DOUBTFUL,
    **{f"{kind}-stored": becomes for kind, becomes in DOUBTFUL.items()},
    "close-early": LOST,
    "stop-reading": LATE,
    "307": Becomes(RedirectRefusedError, 307),
    "308": Becomes(RedirectRefusedError, 308),
    "400": Becomes(RefusedError, 400),
    "401": Becomes(UnauthorizedError, 401),
    "401-scope": Becomes(ScopeError, 401),
    "403": Becomes(ForbiddenError, 403),
    "404": Becomes(NotFoundError, 404),
    "405": Becomes(RefusedError, 405),
    "412": Becomes(RefusedError, 412),
    "error-200": Becomes(UnsuccessfulError, 200),
    "error-503": Becomes(UnsuccessfulError, 503),
    "413": Becomes(PayloadTooLargeError, 413),
    "413-early": Becomes(PayloadTooLargeError, 413),
    "422": Becomes(RefusedError, 422),
    "429": Becomes(ThrottledError, 429),
    "429-after": Becomes(ThrottledError, 429),
    "throttle-200": Becomes(ThrottledError, 200),
    "throttle-500": Becomes(ThrottledError, 500),
}
ONCE = RetryPolicy(attempts=1, throttled_answers=1)


def client_of(sandbox: Sandbox, *, total: float = 5.0, **settings: Any) -> CampaignClient:
    given = {"rate": (), "retry": ONCE, "timeouts": Timeouts(total_seconds=total), **settings}
    return CampaignClient.from_env(sandbox.environment, **given)


def test_every_kind_stands_in_these_tests() -> None:
    assert {*BECOMES, "unsolicited"} == set(KINDS)


@pytest.mark.parametrize("kind", BECOMES)
async def test_the_client_takes_it_for_what_it_is(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """As failures.md says; the sandbox itself has nothing to complain about."""
    becomes = BECOMES[kind]
    async with (
        misbehaving(Fault(kind)) as sandbox,
        client_of(sandbox, total=0.3 if becomes is LATE else 5.0) as client,
    ):
        contact = b"9" * BIG if kind == "stop-reading" else orjson.dumps({"phoneNumber": NUMBER})
        request = client.add_encoded_contacts("Renewals", contact, contacts=1, repeatable=False)
        with pytest.raises(CallError) as caught:
            await client.send(request)
        assert await stored(sandbox) == stores(kind)
    error = caught.value
    assert (type(error), error.status) == (becomes.kind, becomes.status), error
    assert error.outcome is (
        CallOutcome.REFUSED if issubclass(becomes.kind, RefusedError) else CallOutcome.MAYBE_PROCESSED
    )
    # A 401 is tried once more with a new token.
    assert sandbox.calls["addContacts"] == sandbox.faults_shown[kind] == (2 if kind == "401" else 1)
    warned = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert [one for one in warned if one.name != "kore_campaign_async.calls"] == []


async def test_the_client_hangs_up_before_an_unsolicited_reply() -> None:
    async with misbehaving(Fault("unsolicited")) as sandbox, client_of(sandbox) as client:
        for _ in range(3):
            await client.add_contacts("Renewals", [Contact(NUMBER)])
        assert await stored(sandbox) == 3


@pytest.mark.parametrize("size", [1, BIG])
async def test_413_before_the_body_is_read_is_a_413_for_a_large_body_too(size: int) -> None:
    async with misbehaving(Fault("413-early")) as sandbox, client_of(sandbox) as client:
        with pytest.raises(PayloadTooLargeError):
            await client.send(client.add_encoded_contacts("Renewals", b"9" * size, contacts=1, repeatable=False))


@pytest.mark.parametrize(
    ("asked", "waited"), [("7", 7.0), ("nan", 60.0), ("-5", 60.0), ("٣".encode().decode("latin-1"), 60.0)]
)
async def test_429_after_asks_for_what_it_is_told_to(asked: str, waited: float) -> None:
    """What is not sane waits for the account's window, of 60 s."""
    time_ = FakeTime()
    async with (
        misbehaving(Fault("429-after", 2, retry_after=asked)) as sandbox,
        CampaignClient.from_env(sandbox.environment, clock=time_.clock, sleep=time_.sleep) as client,
    ):
        for _ in range(2):
            await client.add_contacts("Renewals", [Contact(NUMBER)])
        assert sum(time_.slept) == pytest.approx(waited, abs=0.01)
        assert sandbox.faults_shown == {"429-after": 1}
        assert await stored(sandbox) == 2


@pytest.mark.parametrize("kind", ["302", "302-stored", "307"])
async def test_a_redirect_leads_where_it_is_told_to_and_nobody_goes_there(kind: str) -> None:
    async with (
        raw_server(answering()) as elsewhere,
        misbehaving(Fault(kind, location=f"{elsewhere.url}/x")) as sandbox,
        client_of(sandbox) as client,
    ):
        assert (await see(sandbox)).header("location") == f"{elsewhere.url}/x"
        with pytest.raises(CallError):
            await client.add_contacts("Renewals", [Contact(NUMBER)])
        assert elsewhere.connections == 0


@pytest.mark.parametrize(("keeps", "times"), [(True, 2), (False, 1)])
async def test_it_says_how_many_times_a_number_was_stored(keeps: bool, times: int) -> None:
    """What a blind repeat does: a list that keeps duplicates has the number twice."""
    async with misbehaving(Fault("close-stored", 2), keeps=keeps) as sandbox, client_of(sandbox, retry=None) as client:
        await client.add_contacts("Renewals", [Contact("+14155550124")])
        await client.add_contacts("Renewals", [Contact(NUMBER)], repeatable=True)
        assert await stored(sandbox) == times
        assert sandbox.stored_times(NUMBER.removeprefix("+")) == times
        assert sandbox.stored_times("+14155550124") == 1
        assert sandbox.stored_times("+14155550125") == 0


# The rules


async def shown_by(sandbox: Sandbox, calls: int) -> list[int | None]:
    """The status of each call; None where there was none."""
    shown = []
    for _ in range(calls):
        seen = await see(sandbox)
        shown.append(seen.status if seen.data else None)
    return shown


async def test_a_rule_hits_every_nth_call() -> None:
    async with misbehaving(Fault("503", 3)) as sandbox:
        assert await shown_by(sandbox, 7) == [200, 200, 503, 200, 200, 503, 200]
        assert sandbox.faults_shown == {"503": 2}
        assert await stored(sandbox) == 5


async def test_of_two_rules_that_are_due_the_first_is_shown_and_the_other_waits() -> None:
    async with misbehaving(Fault("close", 2), Fault("503", 3)) as sandbox:
        assert await shown_by(sandbox, 9) == [200, None, 503, None, 200, None, 503, None, 503]
        assert sandbox.faults_shown == {"close": 4, "503": 3}


async def test_the_rules_can_be_changed_at_any_time_and_count_anew() -> None:
    async with misbehaving(Fault("503", 2)) as sandbox:
        assert await shown_by(sandbox, 3) == [200, 503, 200]
        sandbox.faults = (Fault("503", 2),)
        assert await shown_by(sandbox, 2) == [200, 503]
        sandbox.faults = [Fault("502"), Fault("500")]
        assert await shown_by(sandbox, 2) == [502, 502]
        sandbox.faults = ()
        assert await shown_by(sandbox, 2) == [200, 200]
        assert sandbox.faults_shown == {"503": 2, "502": 2}


async def test_only_calls_that_add_contacts_fail() -> None:
    async with misbehaving(Fault("503")) as sandbox, client_of(sandbox) as client:
        made = await client.create_contact_list("New", "-")
        await client.update_contact_list(made.id, description="x")
        await client.list_contact_lists()
        await client.get_contact_list(made.id)
        assert not sandbox.faults_shown


async def test_what_the_token_check_or_the_rate_limit_refuses_is_not_counted() -> None:
    async with misbehaving(Fault("503", 2)) as sandbox:
        sandbox.rate = (0, 60.0)
        assert await shown_by(sandbox, 3) == [429] * 3
        sandbox.rate = None
        assert await shown_by(sandbox, 2) == [200, 503]


@pytest.mark.parametrize("change", [{"contact_list_name": "Nobody's"}, {"data": [{"phoneNumber": "someone"}]}])
async def test_what_can_not_be_stored_is_refused_instead(change: dict[str, Any]) -> None:
    async with misbehaving(Fault("close-stored")) as sandbox, aiohttp.ClientSession() as session:
        now = int(time.time())
        token = {"sub": "a user", "appId": sandbox.client_id, "iat": now, "exp": now + 60}
        async with session.post(
            f"{sandbox.url}/api/1.1/public/{sandbox.app_id}/campaign/contactList/addContacts",
            json={"contact_list_name": "Renewals", "data": [{"phoneNumber": NUMBER}], **change},
            headers={
                "auth": jwt.encode(token, sandbox.client_secret, algorithm="HS256"),
                "iid": sandbox.app_id,
                "accountId": sandbox.account_id,
            },
        ) as reply:
            assert reply.status in {400, 404}
        assert not sandbox.faults_shown


async def test_settle_finishes_the_jobs_in_their_order() -> None:
    async with misbehaving() as sandbox, client_of(sandbox) as client:
        for number in range(5):
            await client.add_contacts("Renewals", [Contact(f"+1415555010{number}")])
        made = sandbox.named("Renewals")
        assert (made.queued, made.contacts) == (5, [])
        await sandbox.settle()
        assert made.queued == 0
        assert [one["phoneNumber"][-1] for one in made.contacts] == list("01234")
        await sandbox.settle()
        assert len(made.contacts) == 5


@pytest.mark.parametrize("kind", ["hang", "drip", "endless", "stop-reading", "unsolicited", "413-early"])
async def test_what_lasts_ends_with_the_sandbox(kind: str) -> None:
    """It waits neither for its client's patience to end nor for aiohttp's, and leaves no task behind."""
    before = asyncio.all_tasks()
    async with asyncio.timeout(None) as leaving, misbehaving(Fault(kind, pause_seconds=3600.0)) as sandbox:
        _, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
        body = orjson.dumps({"contact_list_name": "Renewals", "data": [{"phoneNumber": NUMBER}]})
        data = request_bytes(sandbox, body, connection="keep-alive")
        writer.write(data[:-1] if kind == "413-early" else data)
        await eventually(lambda: sandbox.faults_shown[kind] == 1)
        await asyncio.sleep(0.1)
        assert sandbox._runner is not None
        sandbox._runner._shutdown_timeout = 3600.0
        leaving.reschedule(asyncio.get_running_loop().time() + 10.0)
    writer.transport.abort()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


# KIND@EVERY


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_written(kind: str) -> None:
    fault = Fault.parse(f" {kind}@7 ")
    assert fault == Fault(kind, 7)
    assert str(fault) == f"{kind}@7"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("close", "a fault is written KIND@EVERY, such as close@10; this is 'close'; the kinds are 301"),
        ("", "a fault is written KIND@EVERY, such as close@10; this is ''; the kinds are 301"),
        ("cloze@3", r"there is no fault 'cloze'; the kinds are 301\[-stored\], .*, 429-after, .*, unsolicited$"),
        ("429-stored@3", "there is no fault '429-stored'; the kinds are"),
        ("unsolicited-stored@3", "there is no fault 'unsolicited-stored'; the kinds are"),
        ("cloze@x", "there is no fault 'cloze'"),
        ("close@x", "'x' in 'close@x' is not a whole number; close@10 is every tenth call"),
        ("close@", "'' in 'close@' is not a whole number"),
        ("close@-1", "'-1' in 'close@-1' is not a whole number"),
        ("close@٣", "is not a whole number"),
        ("close@1.5", "is not a whole number"),
        ("close@0", "a fault comes every 1st, 2nd, … call; every 0 is not possible"),
    ],
)
def test_what_is_no_rule_is_said_so(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fault.parse(text)


async def test_the_shell_takes_rules(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, "sandbox", "--port", "0", "--rate", "none", "--fault", "503@2", "--fault", "garbage-stored@3"),
        env=environment({}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    variables: dict[str, str] = {}
    while len(variables) < 5:
        name, _, value = shlex.split((await process.stdout.readline()).decode())[1].partition("=")
        variables[name] = value
    ended: list[type[CallError] | None] = []
    async with CampaignClient.from_env(variables, rate=(), retry=ONCE) as client:
        await client.create_contact_list("Renewals", "-")
        for _ in range(4):
            try:
                await client.add_contacts("Renewals", [Contact(NUMBER)])
            except CallError as error:
                ended.append(type(error))
            else:
                ended.append(None)
    assert ended == [None, ServerError, UnreadableReplyError, ServerError]
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert process.returncode == 0
    assert b"Traceback" not in err


@pytest.mark.parametrize("text", ["cloze@3", "close", "close@0"])
async def test_the_shell_refuses_what_is_no_rule(text: str, tmp_path: Path) -> None:
    said = await kore_campaign("sandbox", "--port", "0", "--fault", "close@2", "--fault", text, cwd=tmp_path)
    assert (said.status, said.out) == (2, "")
    assert "Invalid value for '--fault'" in said.err
    if text != "close@0":
        assert "the kinds are 301[-stored], 302[-stored]" in said.err
