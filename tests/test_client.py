"""The client: literal bytes on the wire, and what `send` does around an attempt: budget, token, repeats."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import pickle
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aioresponses import CallbackResult, aioresponses
from attrs import evolve
from fakes import (
    ACCOUNT_ID,
    APP_ID,
    QUEUED,
    QUICK_RETRY,
    RATE_LIMIT_WORDS,
    TOKEN,
    Connection,
    FakeTime,
    Handler,
    RawServer,
    RecordingSleep,
    WireResponse,
    answering,
    client_for,
    enveloped,
    eventually,
    in_turn,
    raw_server,
    reply,
    said,
)

from kore_campaign_async import errors
from kore_campaign_async.auth import JwtCredentials, StaticToken, Token
from kore_campaign_async.client import Attempt, CampaignClient
from kore_campaign_async.config import RateLimit, RetryPolicy, Timeouts
from kore_campaign_async.endpoints import add_contacts, list_contact_lists
from kore_campaign_async.errors import CallError, CallOutcome
from kore_campaign_async.models import Contact
from kore_campaign_async.sandbox import Sandbox

HOST = "https://platform.kore.ai"
ANA = Contact("+14155550123", first_name="Ana", extra={"Plan": "Größe L"})
A_LIST = {"_id": "cl-1", "name": "Renewals", "allowDuplicates": False}

Call = Callable[[CampaignClient], Awaitable[Any]]

ADD: Call = lambda client: client.add_contacts("Renewals", [ANA])  # noqa: E731  a table of calls
ADD_AGAIN: Call = lambda client: client.add_contacts("Renewals", [ANA], repeatable=True)  # noqa: E731
CREATE: Call = lambda client: client.create_contact_list("Renewals", "Due in July", preexisting=())  # noqa: E731
UPDATE: Call = lambda client: client.update_contact_list("cl-1", description="Due in August")  # noqa: E731
LIST: Call = lambda client: client.list_contact_lists()  # noqa: E731
GET: Call = lambda client: client.get_contact_list("cl-1")  # noqa: E731

GOOD: dict[str, tuple[Call, Any]] = {
    "add": (ADD, said("Adding contacts to public list is in progress")),
    "create": (CREATE, enveloped(A_LIST)),
    "update": (UPDATE, enveloped({"contactListId": "cl-1", "body": {}})),
    "list": (LIST, enveloped([A_LIST])),
    "get": (GET, enveloped(A_LIST)),
}


def policy(**changes: Any) -> RetryPolicy:
    values = {
        "attempts": 3,
        "deadline_seconds": 60.0,
        "wait_initial_seconds": 0.001,
        "wait_max_seconds": 0.002,
        "throttled_answers": 3,
    }
    return RetryPolicy(**{**values, **changes})


# The wire


@pytest.mark.parametrize(
    ("call", "method", "url", "body", "answer"),
    [
        pytest.param(
            CREATE,
            "POST",
            f"{HOST}/agentassist/api/v1/public/{APP_ID}/campaign/contactList/createContactList",
            b'{"name":"Renewals","description":"Due in July","source":"passiveApi","allowDuplicates":false}',
            GOOD["create"][1],
            id="create",
        ),
        pytest.param(
            lambda client: client.create_contact_list(
                "Renewals", "-", allow_duplicates=True, source="passiveApiIntegration", preexisting=()
            ),
            "POST",
            f"{HOST}/agentassist/api/v1/public/{APP_ID}/campaign/contactList/createContactList",
            b'{"name":"Renewals","description":"-","source":"passiveApiIntegration","allowDuplicates":true}',
            GOOD["create"][1],
            id="create with all",
        ),
        pytest.param(
            ADD,
            "POST",
            f"{HOST}/api/1.1/public/{APP_ID}/campaign/contactList/addContacts",
            (
                '{"contact_list_name":"Renewals","data":['
                '{"phoneNumber":"+14155550123","firstName":"Ana","Plan":"Größe L"}]}'
            ).encode(),
            GOOD["add"][1],
            id="add",
        ),
        pytest.param(
            lambda client: client.add_contacts(
                "Renewals",
                [
                    Contact(
                        "9122333445566",
                        first_name="A",
                        last_name="B",
                        time_zone="America/Phoenix",
                        unique_id="7",
                        contact_priority="1",
                    ),
                    Contact("9122333445567"),
                ],
            ),
            "POST",
            f"{HOST}/api/1.1/public/{APP_ID}/campaign/contactList/addContacts",
            b'{"contact_list_name":"Renewals","data":['
            b'{"phoneNumber":"9122333445566","firstName":"A","lastName":"B","timeZone":"America/Phoenix",'
            b'"uniqueId":"7","contactPriority":"1"},{"phoneNumber":"9122333445567"}]}',
            GOOD["add"][1],
            id="add with all",
        ),
        pytest.param(
            UPDATE,
            "PUT",
            f"{HOST}/agentassist/api/v1/public/{APP_ID}/campaign/contactList/cl-1",
            b'{"description":"Due in August"}',
            GOOD["update"][1],
            id="update",
        ),
        pytest.param(
            lambda client: client.update_contact_list(
                "cl-1", name="R", description="D", allow_duplicates=False, source="passiveApiIntegration"
            ),
            "PUT",
            f"{HOST}/agentassist/api/v1/public/{APP_ID}/campaign/contactList/cl-1",
            b'{"name":"R","description":"D","source":"passiveApiIntegration","allowDuplicates":false}',
            GOOD["update"][1],
            id="update with all",
        ),
        pytest.param(
            LIST,
            "POST",
            f"{HOST}/campaign/api/v2/public/{APP_ID}/campaign/contactList/getAllListDetails"
            f"?accountId={ACCOUNT_ID}&type=call",
            None,
            GOOD["list"][1],
            id="list",
        ),
        pytest.param(
            GET,
            "GET",
            f"{HOST}/campaign/api/v2/public/{APP_ID}/campaign/contactList/cl-1?accountId={ACCOUNT_ID}",
            None,
            GOOD["get"][1],
            id="get",
        ),
    ],
)
async def test_a_call_is_these_bytes(
    call: Call, method: str, url: str, body: bytes | None, answer: dict[str, Any]
) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []

    def note(at: Any, **kwargs: Any) -> CallbackResult:
        seen.append((str(at), kwargs))
        return CallbackResult(payload=answer, response_class=WireResponse)

    with aioresponses() as mocked:
        mocked.add(url, method, callback=note)
        async with client_for(HOST) as client:
            assert await call(client)
    ((at, kwargs),) = seen
    assert at == url
    sent = kwargs.get("data")
    assert (sent.getvalue() if isinstance(sent, io.BytesIO) else sent) == body
    assert kwargs["allow_redirects"] is False
    wanted = {
        "auth": TOKEN,
        "iid": APP_ID,
        "accountId": ACCOUNT_ID,
        "Content-Type": "application/json",
    }
    assert wanted.items() <= dict(kwargs["headers"]).items()


async def test_the_request_line_and_the_headers_arrive_as_they_are_documented() -> None:
    """Below aiohttp: nothing is quoted again, sorted or left out on the way."""
    async with raw_server(in_turn(answering(200, enveloped([])), answering())) as server:
        async with client_for(server.url, app_id="st:1@x", account_id="a&b=c+d%") as client:
            assert await client.list_contact_lists() == ()
            await client.add_contacts("Renewals", [ANA])
        listing, adding = server.requests
    assert listing.method == "POST"
    assert listing.target == (
        "/campaign/api/v2/public/st%3A1%40x/campaign/contactList/getAllListDetails?accountId=a%26b%3Dc%2Bd%25&type=call"
    )
    assert listing.body == b""
    assert adding.target == "/api/1.1/public/st%3A1%40x/campaign/contactList/addContacts"
    for request in (listing, adding):
        assert request.headers["auth"] == TOKEN
        assert request.headers["iid"] == "st:1@x"
        assert request.headers["accountId"] == "a&b=c+d%"
        assert request.headers["Content-Type"] == "application/json"
        assert "Transfer-Encoding" not in request.headers


async def test_the_calls_return_what_the_replies_say() -> None:
    async with Sandbox(job_seconds=0.01) as sandbox:
        async with CampaignClient.from_env(sandbox.environment) as client:
            made = await client.create_contact_list("Renewals", "Due in July", allow_duplicates=True)
            assert (made.name, made.description, made.allow_duplicates) == ("Renewals", "Due in July", True)
            job = await client.add_contacts("Renewals", [ANA, Contact("+14155550124")])
            assert (job.message, job.contacts) == ("Adding contacts to public list is in progress", 2)
            updated = await client.update_contact_list(made.id, description="Due in August")
            assert updated.contact_list_id == made.id
            assert updated.body["description"] == "Due in August"
            await eventually(lambda: len(sandbox.named("Renewals").contacts) == 2)
            (listed,) = await client.list_contact_lists()
            assert (listed.id, listed.description) == (made.id, "Due in August")
            assert listed.total_record_count == 2
            one = await client.get_contact_list(made.id)
            assert one.allow_duplicates is True
        assert sandbox.named("Renewals").contacts[0] == {
            "phoneNumber": "+14155550123",
            "firstName": "Ana",
            "Plan": "Größe L",
        }


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.add_contacts("Renewals", []),
        lambda client: client.add_contacts("", [ANA]),
        lambda client: client.add_contacts("Renewals", [Contact("")]),
        lambda client: client.create_contact_list("x" * 49, "-"),
        lambda client: client.create_contact_list("Renewals", "x" * 257),
        lambda client: client.create_contact_list("Renewals", ""),
        lambda client: client.update_contact_list("cl-1"),
        lambda client: client.update_contact_list("../cl-1", name="x"),
        lambda client: client.get_contact_list("cl-1\r\nX-Evil: 1"),
    ],
)
async def test_what_the_api_would_not_take_is_refused_before_any_call(call: Call) -> None:
    async with raw_server(answering()) as server, client_for(server.url) as client:
        with pytest.raises(errors.InvalidRequestError):
            await call(client)
        assert server.connections == 0


@pytest.mark.parametrize("settings", [{"app_id": "st-1\r\nauth: x"}, {"app_id": ""}, {"account_id": "a b"}])
def test_ids_that_would_break_a_header_are_refused(settings: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidRequestError):
        client_for(HOST, **settings)


# Repeats


async def close_after_reading(connection: Connection) -> None:
    await connection.read_request()


async def reset_after_reading(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


async def garbage(connection: Connection) -> None:
    await connection.read_request()
    await connection.write(b"HTTP/1.1 banana\r\n\r\n")


async def truncated(connection: Connection) -> None:
    await connection.reply(200, QUEUED, length=9999)


UNCERTAIN: dict[str, Handler] = {
    "closed": close_after_reading,
    "reset": reset_after_reading,
    "garbage": garbage,
    "truncated": truncated,
    "503": answering(503, b"<html>busy</html>"),
    "408": answering(408, b""),
    "302": answering(302, b"", {"Location": "/"}),
    "null": answering(200, b"null"),
}


async def test_refused_twice_then_up_delivers_one_copy() -> None:
    """Not sent is not counted among the attempts that the policy limits, only by its deadline."""
    server = RawServer(answering())
    asked: list[float] = []

    async def until_up(seconds: float) -> None:
        asked.append(seconds)
        if len(asked) == 2:
            await server.listen()

    try:
        async with client_for(server.url, retry=policy(attempts=1), sleep=until_up) as client:
            job = await client.add_contacts("Renewals", [ANA])
    finally:
        await server.close()
    assert job.contacts == 1
    assert len(asked) == 2
    assert len(server.requests) == 1


async def test_not_sent_is_tried_until_the_deadline() -> None:
    fake = FakeTime()
    retry = RetryPolicy(deadline_seconds=60.0, wait_initial_seconds=0.5, wait_max_seconds=20.0)
    async with (
        raw_server(answering(), listening=False) as server,
        client_for(server.url, retry=retry, clock=fake.clock, sleep=fake.sleep) as client,
    ):
        with pytest.raises(errors.ConnectionFailedError) as caught:
            await client.add_contacts("Renewals", [ANA])
    assert caught.value.attempts == len(fake.slept) + 1
    assert 30.0 < sum(fake.slept) <= 60.0
    assert all(0.0 <= wait <= min(0.5 * 2**number, 20.0) for number, wait in enumerate(fake.slept))


@pytest.mark.parametrize("what", UNCERTAIN)
@pytest.mark.parametrize("call", [ADD, CREATE], ids=["add", "create"])
async def test_what_may_have_been_processed_is_not_repeated_blindly(call: Call, what: str) -> None:
    lookup = answering(200, enveloped([]))
    async with (
        raw_server(in_turn(UNCERTAIN[what], lookup)) as server,
        client_for(server.url) as client,
    ):
        with pytest.raises(errors.MaybeProcessedError) as caught:
            await call(client)
        assert [one.target.rpartition("/")[2] for one in server.requests].count("addContacts") <= 1
        assert Counter(one.target for one in server.requests).most_common(1)[0][1] == 1
    assert caught.value.attempts == 1


@pytest.mark.parametrize("what", UNCERTAIN)
@pytest.mark.parametrize("name", ["add", "update", "list", "get"])
async def test_what_is_repeatable_is_repeated(name: str, what: str) -> None:
    call, answer = GOOD[name]
    call = ADD_AGAIN if name == "add" else call
    async with (
        raw_server(in_turn(UNCERTAIN[what], UNCERTAIN[what], answering(200, answer))) as server,
        client_for(server.url) as client,
    ):
        assert await call(client)
        assert len(server.requests) == 3
        assert len({(one.method, one.target, one.body) for one in server.requests}) == 1


@pytest.mark.parametrize("call", [ADD_AGAIN, LIST, GET, UPDATE], ids=["add", "list", "get", "update"])
@pytest.mark.parametrize("attempts", [1, 4])
async def test_the_policys_attempts_are_all_there_are(call: Call, attempts: int) -> None:
    retry = policy(attempts=attempts)
    async with raw_server(answering(503, b"")) as server, client_for(server.url, retry=retry) as client:
        with pytest.raises(errors.ServerError) as caught:
            await call(client)
        assert len(server.requests) == attempts
    assert caught.value.attempts == attempts
    assert caught.value.args[-2:] == (attempts, True)
    assert pickle.loads(pickle.dumps(caught.value)).attempts == attempts  # noqa: S301
    if attempts > 1:
        assert "after 4 attempts" in str(caught.value)


@pytest.mark.parametrize("status", [400, 403, 404, 413, 307])
@pytest.mark.parametrize("call", [ADD_AGAIN, LIST], ids=["add", "list"])
async def test_a_refusal_ends_the_call(call: Call, status: int) -> None:
    async with raw_server(answering(status, b"")) as server, client_for(server.url) as client:
        with pytest.raises(errors.RefusedError) as caught:
            await call(client)
        assert len(server.requests) == 1
    assert caught.value.attempts == 1


async def test_waits_grow_with_full_jitter() -> None:
    sleep = RecordingSleep()
    retry = policy(attempts=7, wait_initial_seconds=0.5, wait_max_seconds=4.0)
    async with (
        raw_server(answering(503, b"")) as server,
        client_for(server.url, retry=retry, sleep=sleep) as client,
    ):
        with pytest.raises(errors.ServerError):
            await client.list_contact_lists()
    assert len(sleep.asked) == 6
    bounds = (0.5, 1.0, 2.0, 4.0, 4.0, 4.0)
    assert all(0.0 <= wait <= bound for wait, bound in zip(sleep.asked, bounds, strict=True))
    assert len(set(sleep.asked)) == 6


@pytest.mark.parametrize(("calls", "repeats"), [(1, 4), (8, 10), (20, 10), (100, 20)])
async def test_an_outage_is_not_hammered(calls: int, repeats: int) -> None:
    """Repeats of calls that reached the server: at most max(10, 20 % of the calls), for a whole client."""
    retry = policy(attempts=5)
    async with raw_server(answering(503, b"")) as server, client_for(server.url, retry=retry) as client:
        for _ in range(calls):
            with pytest.raises(errors.ServerError):
                await client.list_contact_lists()
        assert len(server.requests) == calls + repeats


async def test_waiting_for_a_server_that_is_down_takes_no_repeats() -> None:
    """A call that was not sent reached nobody, and so hammers nobody."""
    server = RawServer(in_turn(answering(503, b""), answering(200, enveloped([]))))
    asked = RecordingSleep()

    async def until_up(seconds: float) -> None:
        await asked(seconds)
        if len(asked.asked) == 30:
            await server.listen()

    try:
        async with client_for(server.url, sleep=until_up) as client:
            assert await client.list_contact_lists() == ()
    finally:
        await server.close()
    assert len(server.requests) == 2


# Tokens


class Minting:
    """Credentials that count: `token-1`, `token-2`, …"""

    def __init__(self, *, renewable: bool = True) -> None:
        self.minted = 0
        self.rejected: list[Token] = []
        self._renewable = renewable
        self._token: Token | None = None

    async def token(self) -> Token:
        if self._token is None:
            self.minted += 1
            self._token = Token(f"token-{self.minted}")
        return self._token

    async def renew(self, rejected: Token) -> bool:
        self.rejected.append(rejected)
        if self._token is rejected:
            self._token = None
        return self._renewable


@pytest.mark.parametrize("name", GOOD)
async def test_a_401_renews_the_token_once_and_repeats(name: str) -> None:
    """Also a call that is not repeatable: a refused one was not processed."""
    call, answer = GOOD[name]
    credentials = Minting()
    async with (
        raw_server(in_turn(answering(401, said("expired")), answering(200, answer))) as server,
        client_for(server.url, credentials=credentials) as client,
    ):
        assert await call(client)
        assert [one.headers["auth"] for one in server.requests] == ["token-1", "token-2"]
    assert [token.reveal() for token in credentials.rejected] == ["token-1"]


async def test_a_second_401_ends_the_call() -> None:
    async with (
        raw_server(answering(401, said("who are you?"))) as server,
        client_for(server.url, credentials=Minting()) as client,
    ):
        with pytest.raises(errors.UnauthorizedError, match=r"who are you.*after 2 attempts"):
            await client.add_contacts("Renewals", [ANA])
        assert len(server.requests) == 2


async def test_a_second_401_ends_the_call_also_after_other_failures() -> None:
    script = in_turn(
        answering(401, b""), answering(503, b""), answering(429, b""), answering(401, b""), answering(401, b"")
    )
    async with raw_server(script) as server, client_for(server.url, credentials=Minting()) as client:
        with pytest.raises(errors.UnauthorizedError):
            await client.list_contact_lists()
        assert len(server.requests) == 4


async def test_a_static_token_that_is_rejected_ends_the_call_at_once() -> None:
    async with raw_server(answering(401, b"")) as server, client_for(server.url) as client:
        with pytest.raises(errors.UnauthorizedError) as caught:
            await client.list_contact_lists()
        assert len(server.requests) == 1
    assert caught.value.attempts == 1


async def test_concurrent_401s_renew_once() -> None:
    """The token that was rejected is forgotten once; its successor is not."""
    accepted: set[str] = set()
    waiting = asyncio.Barrier(5)

    async def serve(connection: Connection) -> None:
        request = await connection.read_request()
        token = request.headers["auth"]
        if len(server.requests) <= 5:
            await waiting.wait()
            await connection.write(reply(401, b""))
        else:
            accepted.add(token)
            await connection.write(reply())

    credentials = JwtCredentials("cs-1", "s" * 32)
    async with raw_server(serve) as server, client_for(server.url, credentials=credentials) as client:
        await asyncio.gather(*(client.add_contacts("Renewals", [ANA]) for _ in range(5)))
        assert len(server.requests) == 10
        rejected = {one.headers["auth"] for one in server.requests[:5]}
    assert len(rejected) == len(accepted) == 1
    assert rejected != accepted


async def test_a_token_that_expires_between_two_calls_is_renewed_unasked() -> None:
    now = [1_900_000_000.0]
    credentials = JwtCredentials("cs-1", "s" * 32, lifetime_seconds=100, clock=lambda: now[0])
    async with raw_server(answering()) as server, client_for(server.url, credentials=credentials) as client:
        for elapsed in (0, 50, 45):
            now[0] += elapsed
            await client.add_contacts("Renewals", [ANA])
        first, second, third = (one.headers["auth"] for one in server.requests)
    assert first == second != third


async def test_an_async_function_is_asked_for_every_attempt() -> None:
    tokens = iter(["first", "second", "third"])

    async def token() -> str:
        return next(tokens)

    script = in_turn(answering(401, b""), answering(503, b""), answering(200, enveloped([])))
    async with raw_server(script) as server, client_for(server.url, credentials=token) as client:
        await client.list_contact_lists()
        assert [one.headers["auth"] for one in server.requests] == ["first", "second", "third"]


async def test_without_a_token_nothing_is_sent() -> None:
    async def token() -> str:
        raise errors.CredentialsError("the vault is sealed")

    async with raw_server(answering()) as server, client_for(server.url, credentials=token) as client:
        with pytest.raises(errors.CredentialsError, match="sealed"):
            await client.add_contacts("Renewals", [ANA])
        assert server.connections == 0


async def test_the_sandbox_takes_an_expired_token_once_renewed() -> None:
    """No contact is lost to a clock that was wrong, or to a token that ran out on the way."""
    moments = iter([1_000.0])  # long ago: the first token is expired when it is made
    async with Sandbox() as sandbox:
        sandbox.make_list("Renewals")
        credentials = JwtCredentials(sandbox.client_id, sandbox.client_secret, clock=lambda: next(moments, time.time()))
        async with CampaignClient.from_env(sandbox.environment, credentials=credentials) as client:
            assert (await client.add_contacts("Renewals", [ANA])).contacts == 1
        assert sandbox.calls["addContacts"] == 2


# Throttling


@pytest.mark.parametrize(
    ("throttled", "rate", "slept"),
    [
        pytest.param(reply(429, b"", {"Retry-After": "7"}), (RateLimit(60, 60.0),), 7.0, id="Retry-After"),
        pytest.param(reply(429, b"", {"Retry-After": "7"}), (), 7.0, id="Retry-After without a rate"),
        pytest.param(reply(429, b""), (RateLimit(60, 60.0), RateLimit(1800, 3600.0)), 60.0, id="the shortest window"),
        pytest.param(reply(429, b"", {"Retry-After": "nan"}), (RateLimit(60, 60.0),), 60.0, id="nan"),
        pytest.param(reply(429, b"", {"Retry-After": "99999"}), (RateLimit(60, 60.0),), 300.0, id="too long"),
        pytest.param(reply(200, said(RATE_LIMIT_WORDS)), (RateLimit(60, 60.0),), 60.0, id="in words"),
    ],
)
async def test_a_throttled_call_waits_and_goes_on(throttled: bytes, rate: tuple[RateLimit, ...], slept: float) -> None:
    """Its waits count as no attempt and against no deadline; it was not processed, so it may be sent again."""

    async def refuse(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(throttled)

    fake = FakeTime()
    settings = {"rate": rate, "retry": policy(attempts=1, deadline_seconds=1.0)}
    async with (
        raw_server(in_turn(refuse, refuse, answering())) as server,
        client_for(server.url, clock=fake.clock, sleep=fake.sleep, **settings) as client,
    ):
        assert (await client.add_contacts("Renewals", [ANA])).contacts == 1
        assert len(server.requests) == 3
    assert [wait for wait in fake.slept if wait] == [slept, slept]


async def test_without_a_rate_a_throttled_call_backs_off() -> None:
    """The first wait is at most a second; it grows from there."""
    sleep = RecordingSleep()
    async with (
        raw_server(in_turn(*[answering(429, b"")] * 6, answering())) as server,
        client_for(server.url, sleep=sleep, retry=RetryPolicy()) as client,
    ):
        await client.add_contacts("Renewals", [ANA])
    assert len(sleep.asked) == 6
    assert sleep.asked[0] <= 1.0
    assert max(sleep.asked) <= 20.0


async def test_a_throttled_answer_closes_the_gate_for_all_calls() -> None:
    """One refusal is told to all: the second call does not have to be refused as well."""
    opened = asyncio.Event()
    fake = FakeTime()

    async def hold(seconds: float) -> None:
        fake.slept.append(seconds)
        await opened.wait()
        fake.now += seconds

    async with (
        raw_server(in_turn(answering(429, b"", {"Retry-After": "7"}), answering())) as server,
        client_for(server.url, clock=fake.clock, sleep=hold) as client,
    ):
        first = asyncio.ensure_future(client.add_contacts("Renewals", [ANA]))
        await eventually(lambda: bool(fake.slept))
        second = asyncio.ensure_future(client.add_contacts("Renewals", [ANA]))
        await asyncio.sleep(0.05)
        assert len(server.requests) == 1
        opened.set()
        await asyncio.gather(first, second)
        assert len(server.requests) == 3
    assert max(fake.slept) == 7.0


async def test_throttled_answers_count_as_no_attempt_of_another_failure() -> None:
    script = in_turn(answering(503, b""), answering(429, b""), answering(429, b""), answering(503, b""))
    async with raw_server(script) as server, client_for(server.url, retry=policy(attempts=2)) as client:
        with pytest.raises(errors.ServerError) as caught:
            await client.list_contact_lists()
        assert len(server.requests) == 4
    assert caught.value.attempts == 4


async def test_a_call_puts_up_with_so_many_throttled_answers_and_no_more() -> None:
    async with raw_server(answering(429, said(RATE_LIMIT_WORDS))) as server, client_for(server.url) as client:
        with pytest.raises(errors.ThrottledError, match="per-minute") as caught:
            await client.add_contacts("Renewals", [ANA])
        assert len(server.requests) == QUICK_RETRY.throttled_answers
    assert caught.value.outcome is CallOutcome.REFUSED


async def test_every_attempt_pays_the_budget() -> None:
    """A repeat is a call like any other to the account's limit."""
    fake = FakeTime()
    async with (
        raw_server(in_turn(answering(503, b""), answering(401, b""), answering(200, enveloped([])))) as server,
        client_for(
            server.url, rate=(RateLimit(1, 10.0),), credentials=Minting(), clock=fake.clock, sleep=fake.sleep
        ) as client,
    ):
        await client.list_contact_lists()
    assert len([wait for wait in fake.slept if wait > 5]) == 2
    assert fake.now - 1000.0 >= 20.0


async def test_the_budget_is_kept_against_a_strict_sandbox() -> None:
    """The whole budget is used, and no call is refused."""
    async with Sandbox(rate=(8, 0.2)) as sandbox:
        sandbox.make_list("Renewals")
        async with CampaignClient.from_env(sandbox.environment, rate=(RateLimit(8, 0.2),)) as client:
            await asyncio.gather(*(client.add_contacts("Renewals", [ANA]) for _ in range(24)))
        assert sandbox.throttled == 0
        assert sandbox.calls["addContacts"] == 24


# Around an attempt


def add_request(*, repeatable: bool = False) -> Any:
    return add_contacts.build(APP_ID, "Renewals", [ANA], repeatable=repeatable)


async def test_before_attempt_comes_after_the_budget_and_before_the_first_byte() -> None:
    """The journal writes its intent there: what waits has none, what is sent has one."""
    events: list[str] = []
    fake = FakeTime()

    async def serve(connection: Connection) -> None:
        events.append("connected")
        await connection.reply(*((503, b"") if connection.number == 1 else (200, QUEUED)))

    async def budget(seconds: float) -> None:
        if seconds > 5:
            events.append("budget")
        await fake.sleep(seconds)

    async def token() -> str:
        events.append("token")
        return "t"

    async def before(number: int) -> None:
        events.append(f"before {number}")
        await asyncio.sleep(0.02)
        events.append("intent is durable")

    async with (
        raw_server(serve) as server,
        client_for(server.url, rate=(RateLimit(1, 10.0),), clock=fake.clock, sleep=budget, credentials=token) as client,
    ):
        await client.send(add_request(repeatable=True), before_attempt=before)
    one = ["token", "before 1", "intent is durable", "connected"]
    assert events == [*one, "budget", "token", "before 2", "intent is durable", "connected"]


async def test_where_before_attempt_fails_nothing_is_sent() -> None:
    async def disk_full(_number: int) -> None:
        raise OSError(28, "No space left on device")

    rate = (RateLimit(1, 0.01),)
    async with raw_server(answering()) as server, client_for(server.url, rate=rate) as client:
        for _ in range(3):  # and the budget's slot is given back
            with pytest.raises(OSError, match="No space"):
                await client.send(add_request(), before_attempt=disk_full)
        assert server.connections == 0


async def test_after_attempt_is_told_of_every_attempt() -> None:
    server = RawServer(
        in_turn(
            answering(429, b""),
            answering(401, b""),
            close_after_reading,
            answering(503, b""),
            answering(200, QUEUED),
        )
    )
    told: list[Attempt] = []

    async def until_up(_seconds: float) -> None:
        if server.connections == 0:
            await server.listen()

    try:
        async with client_for(server.url, sleep=until_up, credentials=Minting()) as client:
            await client.send(add_request(repeatable=True), after_attempt=told.append)
    finally:
        await server.close()
    assert [(one.number, one.outcome, one.status, one.throttled) for one in told] == [
        (1, CallOutcome.NOT_SENT, None, False),
        (2, CallOutcome.REFUSED, 429, True),
        (3, CallOutcome.REFUSED, 401, False),
        (4, CallOutcome.MAYBE_PROCESSED, None, False),
        (5, CallOutcome.MAYBE_PROCESSED, 503, False),
        (6, CallOutcome.ACCEPTED, None, False),
    ]
    assert all(0.0 <= one.seconds < 5.0 for one in told)


async def test_a_reply_that_can_not_be_deciphered_is_an_attempt_as_well() -> None:
    told: list[Attempt] = []
    async with raw_server(answering(200, said("no"))) as server, client_for(server.url) as client:
        with pytest.raises(errors.UnexpectedReplyError):
            await client.send(add_request(), after_attempt=told.append)
    assert [(one.outcome, one.status) for one in told] == [(CallOutcome.MAYBE_PROCESSED, 200)]


async def test_an_attempts_time_leaves_out_the_wait_for_the_budget() -> None:
    fake = FakeTime()
    told: list[Attempt] = []
    async with (
        raw_server(answering()) as server,
        client_for(server.url, rate=(RateLimit(1, 50.0),), clock=fake.clock, sleep=fake.sleep) as client,
    ):
        for _ in range(2):
            await client.send(add_request(), after_attempt=told.append)
    assert [one.seconds for one in told] == [0.0, 0.0]
    assert fake.now > 1050.0


async def test_attempts_are_logged_without_rows_and_tokens(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        raw_server(in_turn(answering(503, said("row +14155550123")), answering())) as server,
        client_for(server.url) as client,
    ):
        await client.add_contacts("Renewals", [ANA], repeatable=True)
    ours = [one.getMessage() for one in caplog.records if one.name == "kore_campaign_async.calls"]
    assert len(ours) == 3
    assert "attempt 1 maybe processed with status 503" in ours[0]
    assert "attempt 1 ended in ServerError with status 503; the next one goes out in 0.0 s" in ours[1]
    assert "attempt 2 accepted" in ours[2]
    for secret in (TOKEN, "4155550123", "Ana"):
        assert secret not in caplog.text


# An uncertain create


def creating(create: Handler, *listings: Handler) -> Handler:
    """Serve creates in one way, and each listing in one of its own; the last one serves all behind it."""
    left = list(listings)

    async def serve(connection: Connection) -> None:
        head = await connection.reader.readuntil(b"\r\n")
        connection.reader._buffer[:0] = head  # type: ignore[attr-defined]  put back: the handler reads it all
        if b"createContactList" in head:
            await create(connection)
        else:
            await (left.pop(0) if len(left) > 1 else left[0])(connection)

    return serve


def creates_in(server: RawServer) -> int:
    return sum("createContactList" in one.target for one in server.requests)


@pytest.mark.parametrize("what", UNCERTAIN)
async def test_an_uncertain_create_takes_the_one_new_list_of_its_name(what: str) -> None:
    """Not one that was there before, though it has that name too."""
    lists = [{"_id": "cl-0", "name": "Renewals"}, {"_id": "cl-2", "name": "renewals"}]
    script = creating(
        UNCERTAIN[what], answering(200, enveloped(lists)), answering(200, enveloped([*lists[:1], A_LIST, *lists[1:]]))
    )
    async with raw_server(script) as server, client_for(server.url) as client:
        made = await client.create_contact_list("Renewals", "Due in July")
        assert creates_in(server) == 1
    assert made.id == "cl-1"


@pytest.mark.parametrize(
    "listing",
    [
        pytest.param(answering(200, enveloped([])), id="none"),
        pytest.param(answering(200, enveloped([{**A_LIST, "_id": "cl-0"}])), id="an older one"),
        pytest.param(answering(200, enveloped([A_LIST, {**A_LIST, "_id": "cl-2"}])), id="two"),
        pytest.param(answering(200, enveloped([{**A_LIST, "allowDuplicates": True}])), id="one that keeps duplicates"),
        pytest.param(answering(200, enveloped([{"_id": "cl-1", "name": "Renewals"}])), id="one that does not tell"),
        pytest.param(answering(500, b""), id="the look-up fails"),
        pytest.param(answering(403, b""), id="the look-up is refused"),
    ],
)
async def test_an_uncertain_create_stays_uncertain_without_exactly_one_match(listing: Handler) -> None:
    before = answering(200, enveloped([{**A_LIST, "_id": "cl-0"}]))
    script = creating(answering(503, said("create me not")), before, listing)
    async with raw_server(script) as server, client_for(server.url) as client:
        with pytest.raises(errors.ServerError, match="create me not") as caught:
            await client.create_contact_list("Renewals", "Due in July")
        assert creates_in(server) == 1
    assert caught.value.path.endswith("/createContactList")
    assert caught.value.outcome is CallOutcome.MAYBE_PROCESSED


async def test_two_new_lists_of_one_name_are_both_named() -> None:
    """Somebody else makes one at the same moment: nobody knows which is whose."""
    lists = answering(200, enveloped([A_LIST, {**A_LIST, "_id": "cl-2"}]))
    script = creating(answering(503, b""), answering(200, enveloped([])), lists)
    async with raw_server(script) as server, client_for(server.url) as client:
        with pytest.raises(errors.ServerError, match="several lists of this name are new: cl-1, cl-2"):
            await client.create_contact_list("Renewals", "Due in July")


async def test_a_list_whose_own_read_tells_that_it_is_as_asked_is_taken() -> None:
    """The listing tells nothing of duplicates most often."""
    unsaid = {"_id": "cl-1", "name": "Renewals"}
    script = creating(
        answering(503, b""),
        answering(200, enveloped([])),
        answering(200, enveloped([unsaid])),
        answering(200, enveloped(A_LIST)),
    )
    async with raw_server(script) as server, client_for(server.url) as client:
        made = await client.create_contact_list("Renewals", "Due in July")
    assert (made.id, made.allow_duplicates) == ("cl-1", False)


@pytest.mark.parametrize("status", [403, 500])
async def test_nothing_is_created_where_the_lists_can_not_be_looked_up(status: int) -> None:
    script = creating(answering(200, enveloped(A_LIST)), answering(status, b""))
    async with raw_server(script) as server, client_for(server.url) as client:
        with pytest.raises(errors.CallError) as caught:
            await client.create_contact_list("Renewals", "Due in July")
        assert creates_in(server) == 0
    assert caught.value.path.endswith("/getAllListDetails")


@pytest.mark.parametrize("status", [400, 403, 413])
async def test_a_refused_create_is_not_looked_up(status: int) -> None:
    async with raw_server(answering(status, b"")) as server, client_for(server.url) as client:
        with pytest.raises(errors.RefusedError):
            await client.create_contact_list("Renewals", "Due in July", preexisting=())
        assert len(server.requests) == 1


async def test_a_create_that_was_not_sent_is_sent_again() -> None:
    server = RawServer(answering(200, enveloped(A_LIST)))

    async def until_up(_seconds: float) -> None:
        if server.connections == 0:
            await server.listen()

    try:
        async with client_for(server.url, sleep=until_up) as client:
            assert (await client.create_contact_list("Renewals", "-", preexisting=())).id == "cl-1"
    finally:
        await server.close()
    assert creates_in(server) == 1


# From the environment


ENVIRONMENT = {
    "KORE_HOST": "http://127.0.0.1:9",
    "KORE_APP_ID": APP_ID,
    "KORE_ACCOUNT_ID": ACCOUNT_ID,
    "KORE_CLIENT_ID": "cs-1",
    "KORE_CLIENT_SECRET": "s" * 32,
}


@pytest.mark.parametrize("empty", [True, False])
@pytest.mark.parametrize("name", ["KORE_HOST", "KORE_APP_ID", "KORE_ACCOUNT_ID"])
def test_a_missing_variable_is_named(name: str, empty: bool) -> None:
    environ = {**ENVIRONMENT, name: ""} if empty else {k: v for k, v in ENVIRONMENT.items() if k != name}
    with pytest.raises(errors.InvalidRequestError, match=rf"{name} is not set"):
        CampaignClient.from_env(environ)


def test_all_missing_variables_are_named() -> None:
    with pytest.raises(errors.InvalidRequestError) as caught:
        CampaignClient.from_env({})
    assert all(name in str(caught.value) for name in ("KORE_HOST", "KORE_APP_ID", "KORE_ACCOUNT_ID"))


@pytest.mark.parametrize("name", ["KORE_CLIENT_ID", "KORE_CLIENT_SECRET"])
def test_half_of_the_credentials_are_none(name: str) -> None:
    environ = {key: value for key, value in ENVIRONMENT.items() if key != name}
    with pytest.raises(errors.CredentialsError, match="KORE_CLIENT_SECRET, or KORE_AUTH_TOKEN") as caught:
        CampaignClient.from_env(environ)
    assert "s" * 32 not in str(caught.value)


async def test_the_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(answering(200, enveloped([]))) as server:
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("KORE_HOST", server.url)
        for name in ("KORE_CLIENT_ID", "KORE_CLIENT_SECRET"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("KORE_AUTH_TOKEN", TOKEN)
        monkeypatch.setenv("KORE_RATE", "none")
        async with CampaignClient.from_env() as client:
            await client.list_contact_lists()
        (request,) = server.requests
    assert request.headers["auth"] == TOKEN
    assert request.headers["iid"] == APP_ID
    assert request.headers["accountId"] == ACCOUNT_ID


@pytest.mark.parametrize(
    ("text", "shortest"),
    [(None, 60.0), ("", 60.0), ("  ", 60.0), ("120/30", 30.0), ("600/60 18000/3600", 60.0), ("none", None)],
)
def test_kore_rate_is_written_as_the_flag(text: str | None, shortest: float | None) -> None:
    environ = ENVIRONMENT if text is None else {**ENVIRONMENT, "KORE_RATE": text}
    assert CampaignClient.from_env(environ)._budget.shortest_seconds == shortest


@pytest.mark.parametrize("text", ["60", "60/0", "none 60/60", "0/60", "-1/60", "60/nan", "60 / 60"])
def test_a_wrong_kore_rate_is_named(text: str) -> None:
    with pytest.raises(errors.InvalidRequestError, match="KORE_RATE"):
        CampaignClient.from_env({**ENVIRONMENT, "KORE_RATE": text})


def test_arguments_overrule_the_environment() -> None:
    environ = {name: value for name, value in ENVIRONMENT.items() if "CLIENT" not in name}
    client = CampaignClient.from_env(environ, credentials=StaticToken(TOKEN), rate=())
    assert client._budget.shortest_seconds is None


def test_plain_http_in_the_environment_is_refused() -> None:
    with pytest.raises(errors.InvalidRequestError, match="plain http"):
        CampaignClient.from_env({**ENVIRONMENT, "KORE_HOST": "http://platform.kore.ai"})


@pytest.mark.parametrize("credentials", ["a token", None, 7, lambda: "a token"])
def test_what_is_no_credentials_is_refused_and_not_shown(credentials: Any) -> None:
    with pytest.raises(errors.CredentialsError) as caught:
        client_for(HOST, credentials=credentials)
    assert "a token" not in str(caught.value)


# The end


async def test_a_closed_client_says_so() -> None:
    async with raw_server(answering()) as server:
        client = client_for(server.url)
        await client.add_contacts("Renewals", [ANA])
        await client.close()
        await client.close()
        with pytest.raises(errors.InvalidRequestError, match="closed"):
            await client.add_contacts("Renewals", [ANA])
        assert len(server.requests) == 1


async def test_a_client_that_was_never_used_closes() -> None:
    client = client_for(HOST)
    await client.close()
    with pytest.raises(errors.InvalidRequestError, match="closed"):
        await client.list_contact_lists()


async def test_a_client_can_be_made_without_an_event_loop() -> None:
    """A module may hold one."""
    client = await asyncio.to_thread(client_for, HOST)
    await client.close()


async def hang_after_reading(connection: Connection) -> None:
    await connection.read_request()
    await connection.hang()


@pytest.mark.parametrize("repeatable", [False, True])
async def test_closing_under_a_call_in_flight_leaves_it_uncertain(repeatable: bool) -> None:
    """It was sent: whoever asks must not be told that it was not."""
    async with raw_server(hang_after_reading) as server:
        client = client_for(server.url)
        call = asyncio.ensure_future(client.add_contacts("Renewals", [ANA], repeatable=repeatable))
        await eventually(lambda: len(server.requests) == 1)
        await client.close()
        with pytest.raises(CallError) as caught:
            await call
    assert caught.value.outcome is CallOutcome.MAYBE_PROCESSED


@pytest.mark.parametrize("size", [10, 20_000_000])
async def test_cancelling_a_send_leaves_nothing_behind(size: int) -> None:
    """In the middle of 20 MB, or of the wait for the reply: it arrives, no task stays, and the call is in doubt."""
    request = evolve(add_request(repeatable=True), body=b"9" * size)

    async def serve(connection: Connection) -> None:
        await connection.read_head()
        await connection.hang()

    async with raw_server(serve) as server, client_for(server.url) as client:
        before = asyncio.all_tasks()
        told: list[Attempt] = []
        call = asyncio.ensure_future(client.send(request, after_attempt=told.append))
        await eventually(lambda: server.connections == 1)
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: len(asyncio.all_tasks() - before) <= 1)  # the server's own handler
        assert [attempt.outcome for attempt in told] == [CallOutcome.MAYBE_PROCESSED]
        assert server.connections == 1


async def test_a_call_that_is_cancelled_before_its_body_goes_out_was_not_sent() -> None:
    """Here while a server that speaks no TLS keeps it waiting for its part of the handshake."""
    told: list[Attempt] = []
    async with (
        raw_server(Connection.hang) as server,
        client_for(server.url.replace("http://", "https://")) as client,
    ):
        call = asyncio.ensure_future(client.send(add_request(), after_attempt=told.append))
        await eventually(lambda: server.connections == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert [attempt.outcome for attempt in told] == [CallOutcome.NOT_SENT]


@pytest.mark.parametrize("where", ["budget", "gate", "backoff", "before"])
async def test_cancelling_a_wait_ends_it(where: str) -> None:
    """And the next call finds the budget as if the cancelled one had never been."""
    entered = asyncio.Event()
    release = asyncio.Event()

    async def wait(_seconds: float) -> None:
        entered.set()
        await release.wait()

    async def before(_number: int) -> None:
        if where == "before":
            await wait(0)

    fake = FakeTime()
    first = {"gate": answering(429, b"", {"Retry-After": "7"}), "backoff": answering(503, b"")}
    rate = (RateLimit(1, 10.0),) if where == "budget" else ()
    async with (
        raw_server(in_turn(first.get(where, answering()), answering())) as server,
        client_for(server.url, rate=rate, clock=fake.clock, sleep=wait) as client,
    ):
        if where == "budget":
            await client.send(add_request())
        before_call = len(server.requests)
        call = asyncio.ensure_future(client.send(add_request(repeatable=True), before_attempt=before))
        await asyncio.wait_for(entered.wait(), 2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert len(server.requests) == before_call + (where in first)
        fake.now += 100
        release.set()
        assert (await asyncio.wait_for(client.send(add_request()), 2)).contacts == 1


async def test_a_time_limit_of_the_caller_cancels() -> None:
    """`asyncio.timeout` around a call works as around anything."""
    async with raw_server(hang_after_reading) as server, client_for(server.url) as client:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await client.list_contact_lists()
        assert len(server.requests) == 1


async def test_an_error_that_is_not_ours_is_passed_on_and_gives_the_slot_back() -> None:
    def parse(_response: Any) -> None:
        raise RuntimeError("a fault")

    broken = evolve(list_contact_lists.build(APP_ID, ACCOUNT_ID), parse=parse)
    async with (
        raw_server(answering(200, enveloped([]))) as server,
        client_for(server.url, rate=(RateLimit(1, 0.01),)) as client,
    ):
        with pytest.raises(RuntimeError, match="a fault"):
            await client.send(broken)
        assert await asyncio.wait_for(client.list_contact_lists(), 2) == ()
        assert len(server.requests) == 2


async def test_a_failed_call_leaves_no_body_to_the_garbage_collector() -> None:
    """A million contacts in failing batches: what is handled is gone, also before the collector comes."""

    class Body(bytes):
        """Bytes that can be found again."""

    def alive() -> int:
        return sum(type(one) is Body for one in gc.get_objects())

    async with raw_server(answering(503, b"")) as server, client_for(server.url) as client:
        gc.collect()
        gc.disable()
        try:
            for repeatable in (False, True):
                request = evolve(add_request(), body=Body(b"{}"), repeatable=repeatable)
                assert alive() == 1
                with contextlib.suppress(CallError):
                    await client.send(request)
                del request
                assert alive() == 0
        finally:
            gc.enable()
        assert len(server.requests) == 1 + QUICK_RETRY.attempts


async def test_a_call_that_succeeds_makes_no_work_for_the_garbage_collector() -> None:
    """A push of a million contacts would pay for it a thousand times."""
    async with raw_server(answering()) as server, client_for(server.url) as client:
        gc.collect()
        gc.disable()
        try:
            await client.send(add_request())
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            kinds = {type(one) for one in gc.garbage}
            assert not {kind for kind in kinds if kind.__module__.startswith(("kore_campaign_async", "tenacity"))}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()


async def test_many_calls_share_one_client() -> None:
    """200 at once over 100 connections, each with its own answer."""

    async def serve(connection: Connection) -> None:
        request = await connection.read_request()
        await connection.write(
            reply(200, said(f"Adding contacts to {request.json['contact_list_name']} is in progress"))
        )

    async with raw_server(serve) as server, client_for(server.url) as client:
        jobs = await asyncio.gather(*(client.add_contacts(f"list {n}", [ANA]) for n in range(200)))
        assert server.connections == 200
    assert [job.message for job in jobs] == [f"Adding contacts to list {n} is in progress" for n in range(200)]


async def test_a_hanging_attempt_ends_and_is_repeated_if_that_is_allowed() -> None:
    timeouts = Timeouts(total_seconds=0.3)
    async with (
        raw_server(in_turn(hang_after_reading, answering())) as server,
        client_for(server.url, timeouts=timeouts) as client,
    ):
        assert (await client.add_contacts("Renewals", [ANA], repeatable=True)).contacts == 1
        assert len(server.requests) == 2


@pytest.mark.parametrize("status", [403, 429])
async def test_a_later_refusal_does_not_hide_that_an_attempt_may_have_been_processed(status: int) -> None:
    """The contacts of the first attempt may be on the list, whatever the second one came to."""
    retry = policy(attempts=3, throttled_answers=1)
    answers = in_turn(UNCERTAIN["closed"], answering(status, b""))
    async with raw_server(answers) as server, client_for(server.url, retry=retry) as client:
        with pytest.raises(errors.RefusedError) as caught:
            await ADD_AGAIN(client)
        assert len(server.requests) == 2
    assert caught.value.outcome is errors.CallOutcome.REFUSED
    assert caught.value.maybe_processed
    assert pickle.loads(pickle.dumps(caught.value)).maybe_processed  # noqa: S301
