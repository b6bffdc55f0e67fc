"""Clients made of another client, and the replies as they came."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from fakes import QUICK_RETRY, TOKEN, Connection, answering, client_for, enveloped, in_turn, raw_server, reply, said

from kore_campaign_async import (
    CampaignClient,
    Contact,
    InvalidRequestError,
    JwtCredentials,
    RateLimit,
    ReplyTimeoutError,
    RetryPolicy,
    ServerError,
    Timeouts,
    UnexpectedReplyError,
    raw_responses,
)
from kore_campaign_async.config import ReplyLimits
from kore_campaign_async.errors import UnreadableReplyError
from kore_campaign_async.sandbox import Sandbox

ANA = Contact("+14155550123", first_name="Ana")
LISTS = answering(200, enveloped([]))


async def hang(connection: Connection) -> None:
    await connection.read_request()
    await connection.hang()


# with_options


async def test_the_new_client_has_its_own_settings_and_the_first_keeps_its_own() -> None:
    async with raw_server(answering(503, said("no"))) as server, client_for(server.url) as client:
        once = client.with_options(retry=RetryPolicy(attempts=1))
        with pytest.raises(ServerError) as caught:
            await once.list_contact_lists()
        assert (caught.value.attempts, len(server.requests)) == (1, 1)
        with pytest.raises(ServerError) as caught:
            await client.list_contact_lists()
        assert (caught.value.attempts, len(server.requests)) == (3, 4)


async def test_timeouts_and_reply_limits() -> None:
    settings: dict[str, Any] = {"retry": RetryPolicy(attempts=1)}
    async with raw_server(in_turn(LISTS, hang)) as server, client_for(server.url, **settings) as client:
        small = client.with_options(reply_limits=ReplyLimits(listing_bytes=4))
        with pytest.raises(UnreadableReplyError, match="larger than its bound"):
            await small.list_contact_lists()
        impatient = client.with_options(timeouts=Timeouts(total_seconds=0.05))
        with pytest.raises(ReplyTimeoutError, match=r"within 0\.05 s"):
            await impatient.list_contact_lists()
        assert (impatient.timeouts.total_seconds, client.timeouts.total_seconds) == (0.05, 5.0)


async def test_the_longest_retry_after_that_is_believed_is_its_own() -> None:
    answers = in_turn(answering(429, said("slow down"), {"Retry-After": "200"}), LISTS)
    async with raw_server(answers) as server, client_for(server.url) as client:
        await client.with_options(
            retry=RetryPolicy(retry_after_max_seconds=0.01, wait_initial_seconds=0.001)
        ).list_contact_lists()


async def test_they_share_connections_token_and_budget() -> None:
    async with Sandbox(rate=None) as sandbox:
        minted = JwtCredentials(sandbox.client_id, sandbox.client_secret)
        async with CampaignClient.from_env(
            sandbox.environment, credentials=minted, rate=[RateLimit(2, 0.2)], retry=QUICK_RETRY
        ) as client:
            other = client.with_options(timeouts=Timeouts(total_seconds=9.0))
            assert (other.rate, other.account) == (client.rate, client.account)
            began = time.monotonic()
            await client.list_contact_lists()
            token = await minted.token()
            await other.list_contact_lists()
            assert await minted.token() is token
            assert time.monotonic() - began < 0.2
            await other.list_contact_lists()
            assert time.monotonic() - began >= 0.2
            assert other._transport._open() is client._transport._open()


async def test_repeats_are_limited_for_all_of_them_together() -> None:
    """Nobody gets more repeats by making more clients."""
    async with raw_server(answering(503, said("no"))) as server, client_for(server.url) as client:
        for _ in range(12):
            with pytest.raises(ServerError):
                await client.with_options().list_contact_lists()
    assert len(server.requests) == 12 + 10


async def test_closing_the_new_client_leaves_the_first_one_open() -> None:
    async with raw_server(LISTS) as server, client_for(server.url) as client:
        async with client.with_options() as other:
            await other.list_contact_lists()
        with pytest.raises(InvalidRequestError, match="the client is closed"):
            await other.list_contact_lists()
        with pytest.raises(InvalidRequestError, match="the client is closed"):
            await other.with_options().list_contact_lists()
        await client.list_contact_lists()
        await client.with_options().list_contact_lists()


async def test_closing_the_first_client_closes_what_was_made_of_it() -> None:
    async with raw_server(LISTS) as server:
        client = client_for(server.url)
        other = client.with_options().with_options()
        await other.list_contact_lists()
        await client.close()
        with pytest.raises(InvalidRequestError, match="the client is closed"):
            await other.list_contact_lists()
        await other.close()


async def test_hooks_are_kept_unless_others_are_given() -> None:
    seen: list[Any] = []
    others: list[Any] = []
    async with raw_server(LISTS) as server, client_for(server.url, hooks=[seen.append]) as client:
        await client.with_options().list_contact_lists()
        assert len(seen) == 2
        await client.with_options(hooks=[others.append]).list_contact_lists()
        await client.with_options(hooks=[]).list_contact_lists()
    assert (len(seen), len(others)) == (2, 2)


@pytest.mark.parametrize("setting", ["rate", "credentials", "app_id"])
async def test_what_is_shared_can_not_be_given_anew(setting: str) -> None:
    async with client_for("http://127.0.0.1:9") as client:
        with pytest.raises(TypeError, match=setting):
            client.with_options(**{setting: None})


def test_a_client_serves_one_loop_and_says_so() -> None:
    async def serve() -> None:
        async with raw_server(LISTS) as server:
            client = client_for(server.url)
            await client.list_contact_lists()
            with pytest.raises(InvalidRequestError, match="used in another event loop before; make one for each loop"):
                await asyncio.to_thread(asyncio.run, client.list_contact_lists())
            await client.close()

    asyncio.run(serve())


# raw_responses


async def test_a_typed_call_and_its_reply_as_it_came() -> None:
    body = b'{"status":"success",  "message":"","data":[]}'
    answers = answering(200, body, {"X-Request-Id": "r-1"})
    async with raw_server(answers) as server, client_for(server.url) as client:
        with raw_responses() as replies:
            assert await client.list_contact_lists() == ()
        await client.list_contact_lists()
    (one,) = replies
    assert (one.status, one.headers["x-request-id"], one.body) == (200, "r-1", body)
    assert (one.method, one.path.rpartition("/")[2]) == ("POST", "getAllListDetails")


async def test_replies_that_were_tried_again_or_raised_are_there_too() -> None:
    answers = in_turn(answering(503, said("later")), answering(200, said("nothing of the kind"), {"X-Request-Id": "2"}))
    async with raw_server(answers) as server, client_for(server.url) as client:
        with raw_responses() as replies, pytest.raises(UnexpectedReplyError):
            await client.with_options(retry=RetryPolicy(attempts=2, wait_initial_seconds=0.001)).add_contacts(
                "Renewals", [ANA], repeatable=True
            )
    assert [(one.status, one.body) for one in replies] == [
        (503, b'{"message":"later"}'),
        (200, b'{"message":"nothing of the kind"}'),
    ]


async def test_replies_of_other_tasks_are_not_among_them() -> None:
    """Nor those of a task that the block started, once it is over."""
    began, over = asyncio.Event(), asyncio.Event()

    async def later() -> None:
        await client.list_contact_lists()
        began.set()
        await over.wait()
        await client.list_contact_lists()

    async def elsewhere() -> None:
        await client.get_contact_list("cl-1")

    one_list = answering(200, enveloped({"_id": "cl-1", "name": "Renewals"}))
    async with raw_server(in_turn(LISTS, one_list, LISTS)) as server, client_for(server.url) as client:
        with raw_responses() as replies:
            task = asyncio.create_task(later())
            await began.wait()
        await elsewhere()
        over.set()
        await task
        assert [one.body for one in replies] == [b'{"status":"success","message":"","data":[]}']
    assert len(server.requests) == 3


async def test_blocks_in_blocks_keep_their_own() -> None:
    async with raw_server(LISTS) as server, client_for(server.url) as client:
        with raw_responses() as outer:
            await client.list_contact_lists()
            with raw_responses() as inner:
                await client.list_contact_lists()
            await client.list_contact_lists()
    assert (len(outer), len(inner)) == (3, 1)


async def test_no_more_replies_are_kept_than_asked_for() -> None:
    async with raw_server(LISTS) as server, client_for(server.url) as client:
        with raw_responses(most=2) as replies:
            for _ in range(3):
                await client.list_contact_lists()
    assert len(replies) == 2


async def test_a_token_that_the_server_quotes_is_masked_and_a_repr_shows_nothing() -> None:
    async with (
        raw_server(answering(400, said(f"the token {TOKEN} is odd"))) as server,
        client_for(server.url) as client,
    ):
        with raw_responses() as replies, pytest.raises(Exception, match="odd"):
            await client.list_contact_lists()
    assert replies[0].body == b'{"message":"the token *** is odd"}'
    assert "odd" not in repr(replies[0])


async def test_what_never_came_whole_is_not_there() -> None:
    async def cut_off(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(reply(200, b"{}", length=99))

    async with raw_server(cut_off) as server, client_for(server.url) as client:
        with raw_responses() as replies, pytest.raises(UnreadableReplyError):
            await client.add_contacts("Renewals", [ANA])
    assert not replies
