"""What a reply means: every status with every kind of body, over real sockets, each cell with its right value.

A contact that counts as accepted and is not lost without a word; one that counts as refused and was taken is called
twice. So there are few ways to be accepted, an error envelope is a refusal whatever its status, and all else is open.
"""

from __future__ import annotations

import pickle
from typing import Any, Final

import pytest
from attrs import frozen
from fakes import (
    RATE_LIMIT_WORDS,
    Connection,
    RawServer,
    answering,
    client_for,
    enveloped,
    in_turn,
    raw_server,
    reply,
    said,
)

from kore_campaign_async import Contact, RetryPolicy, errors
from kore_campaign_async.auth import JwtCredentials
from kore_campaign_async.errors import CallError

ONCE: Final = RetryPolicy(attempts=1, throttled_answers=1)
ANA: Final = Contact("+14155550123")
BUSY: Final = "Another upload to this list is in progress. Try again later."
QUEUED: Final = "Adding contacts to public list is in progress"
OLDER: Final = "Contacts queued for addition."
PAGE: Final = b"<!DOCTYPE html><html><body>in progress</body></html>"

# What the statuses mean that don't say so by their envelope.
SUCCESSES: Final = (200, 201, 202, 203, 299)
OPEN: Final = (300, 301, 302, 303, 408, 500, 501, 502, 503, 504, 529, 599)
REFUSING: Final = (307, 308, 400, 401, 402, 403, 404, 405, 409, 412, 413, 415, 422, 425, 451, 499)
THROTTLING: Final = (429,)


@frozen
class Means:
    """What a body means with a status of each of the four families."""

    success: str
    open: str
    refusing: str = "refused"
    throttling: str = "throttled"


ACCEPTED: Final = Means("accepted", "maybe")
UNCLEAR: Final = Means("maybe", "maybe")
NO: Final = Means("refused", "refused")
WAIT: Final = Means("throttled", "throttled", "throttled")

BODIES: dict[str, tuple[Any, Means]] = {
    # The documented replies, as they are and as they may be spelt.
    "queued": (said(QUEUED), ACCEPTED),
    "queued, the older words": ({"status": "success", "message": OLDER}, ACCEPTED),
    "the older words alone": (said(OLDER), ACCEPTED),
    "queued, success": ({"status": "success", "message": QUEUED}, ACCEPTED),
    "queued, SUCCESS": ({"status": "SUCCESS", "message": QUEUED}, ACCEPTED),
    "queued, case and stop": (said(f" {QUEUED.upper()}. "), ACCEPTED),
    "queued, errors null": ({"message": QUEUED, "errors": None}, ACCEPTED),
    "queued, errors empty": ({"message": QUEUED, "errors": []}, ACCEPTED),
    "queued, errors an empty object": ({"message": QUEUED, "errors": {}}, ACCEPTED),
    "queued, new fields": ({"message": QUEUED, "data": {"id": 7}, "error": None, "code": 200}, ACCEPTED),
    # Error envelopes, whatever their words.
    "status Error, busy": ({"status": "Error", "message": BUSY}, NO),
    "status Error, queued": ({"status": "Error", "message": QUEUED}, NO),
    "status failed, queued": ({"status": "failed", "message": QUEUED}, NO),
    "status failed, the older words": ({"status": "failed", "message": OLDER}, NO),
    "status empty": ({"status": "", "message": QUEUED}, NO),
    "status alone": ({"status": "error"}, NO),
    "errors": ({"errors": [{"msg": "Invalid StreamId", "code": 400}]}, NO),
    "errors, queued": ({"message": QUEUED, "errors": [{"message": "3 contacts are bad"}]}, NO),
    "errors, success, queued": ({"status": "success", "message": QUEUED, "errors": ["bad"]}, NO),
    "errors, an object": ({"message": QUEUED, "errors": {"data[3]": "bad"}}, NO),
    "errors, a text": ({"message": QUEUED, "errors": "bad"}, NO),
    "errors, busy": ({"message": BUSY, "errors": [{"msg": BUSY}]}, NO),
    # Neither nor.
    "busy": (said(BUSY), UNCLEAR),
    "in progress": (said("in progress"), UNCLEAR),
    "error words": (said("Something went wrong"), UNCLEAR),
    "error, queued": ({"message": QUEUED, "error": {"message": "the list is full"}}, UNCLEAR),
    "errors true": ({"message": QUEUED, "errors": True}, UNCLEAR),
    "errors false": ({"message": QUEUED, "errors": False}, UNCLEAR),
    "Errors, queued": ({"message": QUEUED, "Errors": ["bad"]}, UNCLEAR),
    "STATUS failed, queued": ({"message": QUEUED, "STATUS": "failed"}, UNCLEAR),
    "two statuses": ({"message": QUEUED, "status": "success", "Status": "success"}, UNCLEAR),
    "success false": ({"message": QUEUED, "success": False}, UNCLEAR),
    "success true": ({"message": QUEUED, "success": True}, ACCEPTED),
    "status 200": ({"status": 200, "message": QUEUED}, UNCLEAR),
    "status 500": ({"status": 500, "message": "Internal server error"}, UNCLEAR),
    "status null": ({"status": None, "message": QUEUED}, UNCLEAR),
    "status true": ({"status": True, "message": QUEUED}, UNCLEAR),
    "success alone": ({"status": "success"}, UNCLEAR),
    "success, other words": ({"status": "success", "message": "Done"}, UNCLEAR),
    "queued, and a limit": (said(f"{QUEUED}. {RATE_LIMIT_WORDS}"), UNCLEAR),
    "the older words, and a limit": (said(f"{OLDER} {RATE_LIMIT_WORDS}"), UNCLEAR),
    "queued inside": ({"data": said(QUEUED)}, UNCLEAR),
    "HTML": (PAGE, UNCLEAR),
    "nothing": (b"", UNCLEAR),
    "null": (b"null", UNCLEAR),
    "an array": (b"[]", UNCLEAR),
    "an array of it": ([said(QUEUED)], UNCLEAR),
    "a text": (b'"Contacts queued for addition."', UNCLEAR),
    "no JSON": (b'{"message":"Contacts queued for addition."', UNCLEAR),
    # A limit that was hit is one also in an error envelope.
    "a limit": (said(RATE_LIMIT_WORDS), WAIT),
    "a limit, Error": ({"status": "Error", "message": RATE_LIMIT_WORDS}, WAIT),
    "a limit, errors": ({"errors": [{"msg": RATE_LIMIT_WORDS, "code": 4029}]}, WAIT),
    # But not where its words say that something is on its way.
    "busy and a limit, Error": ({"status": "Error", "message": f"{BUSY} {RATE_LIMIT_WORDS}"}, NO),
}


def meaning(error: CallError | None) -> str:
    """What a call came to, in a word."""
    if error is None:
        return "accepted"
    if isinstance(error, errors.ThrottledError):
        return "throttled"
    return {errors.CallOutcome.REFUSED: "refused", errors.CallOutcome.MAYBE_PROCESSED: "maybe"}[error.outcome]


async def ended(call: Any) -> CallError | None:
    try:
        await call
    except CallError as error:
        return error
    return None


def answers(statuses: tuple[int, ...], body: Any) -> Any:
    return in_turn(*(answering(status, body) for status in statuses))


@pytest.mark.parametrize("family", ["success", "open", "refusing", "throttling"])
@pytest.mark.parametrize("body", BODIES)
async def test_a_reply_to_add_contacts_means_what_its_status_and_its_body_say(body: str, family: str) -> None:
    content, means = BODIES[body]
    statuses = {"success": SUCCESSES, "open": OPEN, "refusing": REFUSING, "throttling": THROTTLING}[family]
    expected = dict.fromkeys(statuses, getattr(means, family))
    found = {}
    async with (
        raw_server(answers(statuses, content)) as server,
        client_for(server.url, retry=ONCE) as client,
    ):
        for status in statuses:
            error = await ended(client.add_contacts("Renewals", [ANA]))
            found[status] = meaning(error)
            if error is not None:
                assert error.status == status
                assert error.words or content == b""
        assert len(server.requests) == len(statuses)
    assert found == expected


async def test_an_interim_answer_says_nothing() -> None:
    async def hint(connection: Connection) -> None:
        await connection.read_request()
        await connection.write(b"HTTP/1.1 102 Processing\r\n\r\n" + reply(503, {"status": "Error"}))

    async with raw_server(hint) as server, client_for(server.url, retry=ONCE) as client:
        error = await ended(client.add_contacts("Renewals", [ANA]))
    assert isinstance(error, errors.UnsuccessfulError)


@pytest.mark.parametrize("status", [200, 302, 408, 500, 503])
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"status": "Error", "message": "no"}, "the reply's status is 'Error', not success"),
        ({"errors": [{"msg": "no"}]}, "the reply names errors"),
    ],
)
async def test_an_error_envelope_is_refused_by_every_endpoint(status: int, body: Any, reason: str) -> None:
    """And is never sent again: it was a no."""
    async with raw_server(answering(status, body)) as server, client_for(server.url) as client:
        calls = (
            client.add_contacts("Renewals", [ANA], repeatable=True),
            client.create_contact_list("Renewals", "-", preexisting=()),
            client.update_contact_list("cl-1", name="Renewals"),
            client.list_contact_lists(),
            client.get_contact_list("cl-1"),
        )
        for call in calls:
            error = await ended(call)
            assert isinstance(error, errors.UnsuccessfulError)
            assert (error.status, error.reason, error.words, error.attempts) == (status, reason, "no", 1)
            assert not error.maybe_processed
        # A create that was refused looks for no list.
        assert len(server.requests) == len(calls)


async def test_a_create_that_may_have_been_processed_looks_its_list_up() -> None:
    """As it should: a number for `status` is a gateway's habit, and says nothing of the list."""
    listed = enveloped([{"_id": "cl-7", "name": "Renewals", "allowDuplicates": False}])
    script = in_turn(answering(503, {"status": 503, "message": "no"}), answering(200, listed))
    async with raw_server(script) as server, client_for(server.url, retry=ONCE) as client:
        assert (await client.create_contact_list("Renewals", "-", preexisting=())).id == "cl-7"
        assert len(server.requests) == 2


# The bodies of errors


@pytest.mark.parametrize(
    ("status", "body", "happened"),
    [
        (
            401,
            {"errors": [{"msg": "Invalid SDK credentials", "code": 4002}]},
            "401: the token was not accepted (4002: Invalid SDK credentials)",
        ),
        (400, {"errors": [{"msg": "Invalid StreamId", "code": 400}]}, "(400: Invalid StreamId)"),
        (400, {"errors": [{"message": "Invalid StreamId", "code": 400}]}, "(400: Invalid StreamId)"),
        (400, {"errors": [{"msg": "a", "code": 1}, {"msg": "b", "code": "E2"}, {"msg": "c"}]}, "(1: a; E2: b; c)"),
        (400, {"code": 4711, "message": "no"}, "(4711: no)"),
        (400, {"error": {"code": 4711, "message": "no"}}, "(4711: no)"),
        (400, {"errors": [{"msg": "4711: no", "code": 4711}]}, "(4711: no)"),
        (400, {"errors": [{"msg": "no", "code": True}]}, "(no)"),
        (400, {"errors": [{"msg": "no", "code": None}]}, "(no)"),
        (400, {"errors": [{"msg": "no", "code": {"a": 1}}]}, "(no)"),
        (405, b'"Method Not Allowed"', "405: the server refused the call (Method Not Allowed)"),
        (412, b'"Validation errors/ Invalid arguments"', "(Validation errors/ Invalid arguments)"),
        (500, {"status": "Error", "message": "no"}, "500: the reply's status is 'Error', not success (no)"),
    ],
)
async def test_the_documented_bodies_of_errors_are_shown(status: int, body: Any, happened: str) -> None:
    async with raw_server(answering(status, body)) as server, client_for(server.url) as client:
        error = await ended(client.add_contacts("Renewals", [ANA]))
    assert isinstance(error, errors.RefusedError)
    assert error.happened.endswith(happened)


SCOPE: Final = {"errors": [{"msg": "Permission denied. Scope is incorrect!", "code": 4002}]}


def minting() -> JwtCredentials:
    return JwtCredentials("cs-1", "a secret of at least thirty-two characters")


def tokens(server: RawServer) -> set[str]:
    return {request.headers["auth"] for request in server.requests}


@pytest.mark.parametrize(
    "body",
    [
        SCOPE,
        {"errors": [{"message": "Permission denied. Scope is incorrect!", "code": 4002}]},
        said("the app lacks the scopes for this"),
        b'"Scope is incorrect"',
        b"insufficient scope",
        {"error": "insufficient_scope"},
    ],
)
async def test_a_401_of_the_scope_renews_no_token(body: Any) -> None:
    """The token is fine; the app is not, and another token of it would not be either."""
    async with (
        raw_server(in_turn(answering(401, body), answering())) as server,
        client_for(server.url, credentials=minting()) as client,
    ):
        error = await ended(client.add_contacts("Renewals", [ANA]))
        assert len(server.requests) == 1
    assert type(error) is errors.ScopeError
    assert (error.attempts, error.outcome, error.retryable) == (1, errors.CallOutcome.REFUSED, False)
    assert error.reason == "the app lacks the scope Campaign Management, or was not published since it got it"
    assert type(pickle.loads(pickle.dumps(error))) is errors.ScopeError  # noqa: S301  our own bytes


@pytest.mark.parametrize(
    "body",
    [
        {"errors": [{"msg": "Invalid JWT token", "code": 4002}]},
        said("telescope"),
        b'<html><table><th scope="col">401</th></table></html>',
        b"",
    ],
)
async def test_any_other_401_renews_it_once(body: Any) -> None:
    async with (
        raw_server(in_turn(answering(401, body), answering())) as server,
        client_for(server.url, credentials=minting()) as client,
    ):
        assert await ended(client.add_contacts("Renewals", [ANA])) is None
        assert len(server.requests) == len(tokens(server)) == 2


async def test_a_401_of_the_scope_behind_one_of_the_token_ends_the_call() -> None:
    script = in_turn(answering(401, b""), answering(401, SCOPE), answering())
    async with raw_server(script) as server, client_for(server.url, credentials=minting()) as client:
        assert type(await ended(client.add_contacts("Renewals", [ANA]))) is errors.ScopeError
        assert len(server.requests) == 2
