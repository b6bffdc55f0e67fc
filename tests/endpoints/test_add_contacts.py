"""Literal bytes against `api/add-contacts.md`."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from kore_campaign_async.endpoints import add_contacts
from kore_campaign_async.errors import (
    CallOutcome,
    InvalidRequestError,
    UnexpectedReplyError,
    UnreadableReplyError,
)
from kore_campaign_async.message import Response
from kore_campaign_async.models import Contact, QueuedJob

NAME = "Renewal Due - July 2025"
REPLY = rb"""{
    "message": "Adding contacts to public list is in progress"
}
"""


def reply(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body, "POST", "/add")


def message(words: str) -> Response:
    return reply(orjson.dumps({"message": words}))


def test_sample_request() -> None:
    request = add_contacts.build("st-0603182c-7ffb-53c3-b307-47ca14b9xxxx", NAME, [Contact("9122333445566")])
    assert request.method == "POST"
    assert request.path == ("/api/1.1/public/st-0603182c-7ffb-53c3-b307-47ca14b9xxxx/campaign/contactList/addContacts")
    assert request.query == ()
    assert request.body == (b'{"contact_list_name":"Renewal Due - July 2025","data":[{"phoneNumber":"9122333445566"}]}')


def test_contacts_in_their_order_with_what_they_have() -> None:
    request = add_contacts.build(
        "st-1",
        'A "quoted" ünïcode\r\nname',
        [
            Contact("+14155550123", first_name="Ana", extra={"plan": "gold"}),
            Contact("4915112345678", time_zone="Europe/Berlin", unique_id="7", contact_priority="1"),
            Contact("+911234567890", last_name=""),
        ],
    )
    assert request.body == (
        '{"contact_list_name":"A \\"quoted\\" ünïcode\\r\\nname","data":['
        '{"phoneNumber":"+14155550123","firstName":"Ana","plan":"gold"},'
        '{"phoneNumber":"4915112345678","timeZone":"Europe/Berlin","uniqueId":"7","contactPriority":"1"},'
        '{"phoneNumber":"+911234567890","lastName":""}]}'.encode()
    )


def test_encoded_contacts_make_the_same_bytes() -> None:
    """The bulk path hands over objects that are JSON already; body and count must not differ."""
    built = add_contacts.build("st-1", NAME, [Contact("+14155550123", first_name="Zoë"), Contact("+14155550124")])
    encoded = '{"phoneNumber":"+14155550123","firstName":"Zoë"},{"phoneNumber":"+14155550124"}'.encode()
    request = add_contacts.build_encoded("st-1", NAME, encoded, contacts=2)
    assert (request.method, request.path, request.body) == (built.method, built.path, built.body)
    assert request.parse(reply(REPLY)).contacts == built.parse(reply(REPLY)).contacts == 2


def test_opening_and_closing_are_what_stands_around_the_contacts() -> None:
    """Batches are cut by exact bytes: the frame is part of them."""
    request = add_contacts.build("st-1", NAME, [Contact("1234567")])
    assert request.body == add_contacts.opening(NAME) + b'{"phoneNumber":"1234567"}' + add_contacts.CLOSING


@pytest.mark.parametrize("repeatable", [True, False])
def test_repeatable_is_the_callers_word(repeatable: bool) -> None:
    assert add_contacts.build("st-1", NAME, [Contact("1")], repeatable=repeatable).repeatable is repeatable


def test_not_repeatable_unless_said_so() -> None:
    """There is no idempotency key."""
    assert add_contacts.build("st-1", NAME, [Contact("1")]).repeatable is False
    assert add_contacts.build_encoded("st-1", NAME, b"{}", contacts=1).repeatable is False


def test_no_contacts_is_the_callers_error() -> None:
    with pytest.raises(InvalidRequestError, match="there are no contacts to add"):
        add_contacts.build("st-1", NAME, [])


@pytest.mark.parametrize("number", ["", None])
def test_a_contact_needs_a_number(number: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"contacts\[1\] has no phone number"):
        add_contacts.build("st-1", NAME, [Contact("1234567"), Contact(number)])


@pytest.mark.parametrize("name", ["phoneNumber", "firstName", "lastName", "timeZone", "uniqueId", "contactPriority"])
def test_a_further_column_can_not_take_a_known_fields_name(name: str) -> None:
    """Two values for one field: the second would silently win."""
    with pytest.raises(InvalidRequestError, match=rf"contacts\[0\]\.extra holds '{name}'"):
        add_contacts.build("st-1", NAME, [Contact("1234567", extra={"plan": "gold", name: "x"})])


@pytest.mark.parametrize("name", ["phonenumber", " phoneNumber", "first_name"])
def test_a_column_of_another_spelling_is_a_column(name: str) -> None:
    body = add_contacts.build("st-1", NAME, [Contact("1234567", extra={name: "x"})]).body
    assert orjson.loads(body or b"")["data"] == [{"phoneNumber": "1234567", name: "x"}]


@pytest.mark.parametrize("value", [object(), "\udc80", 2**70])
def test_what_json_can_not_hold_is_the_callers_error(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match="can't be written as JSON"):
        add_contacts.build("st-1", NAME, [Contact("1234567", extra={"plan": value})])


@pytest.mark.parametrize("name", ["", " ", None])
def test_the_list_needs_a_name(name: Any) -> None:
    with pytest.raises(InvalidRequestError, match="the list name is empty"):
        add_contacts.build("st-1", name, [Contact("1234567")])


def test_sample_reply() -> None:
    request = add_contacts.build("st-1", NAME, [Contact("1234567"), Contact("1234568")])
    assert request.parse(reply(REPLY)) == QueuedJob(
        message="Adding contacts to public list is in progress",
        contacts=2,
        raw={"message": "Adding contacts to public list is in progress"},
    )


@pytest.mark.parametrize(
    "words",
    [
        "Adding contacts to public list is in progress",
        "ADDING contacts TO public list IS IN PROGRESS.",
        "\n Adding contacts to x is in progress \t",
        'Adding contacts to A "quoted" \u00fcn\u00efcode\r\nname is in progress',
        "Adding contacts to 'is in progress' is in progress",
        "Contacts queued for addition.",
        "contacts queued for addition",
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202])
def test_the_documented_words_mean_queued(words: str, status: int) -> None:
    job = add_contacts.parse(reply(orjson.dumps({"message": words}), status), contacts=1)
    assert job.message == words


@pytest.mark.parametrize(
    "words",
    [
        "",
        "in progress",
        "Another upload to this list is in progress",
        "Another upload to this list is in progress. Try again later.",
        "Adding contacts is in progress",
        "Adding contacts to is in progress",
        "Adding contacts to   is in progress",
        "Adding contacts to public list is in progress..",
        "Adding contacts to public list is in progress!",
        "Adding contacts to public list is in progress. Try again later.",
        "Not yet: adding contacts to public list is in progress",
        "Adding contacts to public list is in progre\u017fs",
        "Adding contacts to public list \u0131s in progress",
        "Adding contacts to public list is in  progress",
        "Adding contacts to public list is in\u00a0progress",
        "Contacts queued for addition. 3 were dropped.",
        "No contacts queued for addition.",
        "Contacts queued for removal.",
        "success",
        "done",
    ],
)
def test_other_words_do_not_mean_queued(words: str) -> None:
    """ASCII case aside, nothing stands in for the letters. The contacts may have been queued all the same."""
    with pytest.raises(UnexpectedReplyError) as caught:
        add_contacts.parse(message(words), contacts=1)
    assert caught.value.outcome is CallOutcome.MAYBE_PROCESSED
    assert caught.value.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"message":null}',
        b'{"message":["Contacts queued for addition."]}',
        b'{"message":{"text":"Contacts queued for addition."}}',
        b'{"msg":"Contacts queued for addition."}',
        b'{"data":{"message":"Contacts queued for addition."}}',
        b'{"status":"success"}',
    ],
)
def test_the_words_must_be_the_message(body: bytes) -> None:
    with pytest.raises(UnexpectedReplyError):
        add_contacts.parse(reply(body), contacts=1)


def test_the_words_of_an_unexpected_reply_are_kept() -> None:
    with pytest.raises(UnexpectedReplyError) as caught:
        add_contacts.parse(message("Contacts added"), contacts=1)
    assert caught.value.words == "Contacts added"
    assert (caught.value.method, caught.value.path) == ("POST", "/add")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"in progress"',
        b"in progress",
        b"<html>in progress</html>",
        b'{"message":"in progress"',
        b'{"message":"in progress\xff"}',
        b'{"message":"in progress","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
)
def test_what_is_no_json_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableReplyError) as caught:
        add_contacts.parse(reply(body), contacts=1)
    assert caught.value.outcome is CallOutcome.MAYBE_PROCESSED


@pytest.mark.parametrize("words", [None, "", "in progress", "Adding contacts to x is in progre\u017fs"])
def test_says_queued_no(words: str | None) -> None:
    assert add_contacts.says_queued(words) is False


def test_says_queued_yes() -> None:
    assert add_contacts.says_queued("Adding contacts to public list is in progress") is True


@pytest.mark.parametrize(
    "words",
    [
        "Adding contacts to L failed because another upload is in progress",
        "Adding contacts to list not possible while another campaign is in progress.",
        "Adding contacts to L is in progress. Adding contacts failed: list is in progress",
        "Adding contacts to L could not begin since the list is in progress",
        "Adding contacts to public list cannot start until the import is in progress",
    ],
)
def test_a_failure_in_the_words_of_a_queued_job_is_none(words: str) -> None:
    assert add_contacts.says_queued(words) is False
    with pytest.raises(UnexpectedReplyError):
        add_contacts.parse(message(words), contacts=1)


def test_a_list_may_be_called_by_any_words() -> None:
    name = "Retry: not reached before"
    job = add_contacts.parse(
        message(f"Adding contacts to {name} list is in progress"), contacts=1, contact_list_name=name
    )
    assert job.contacts == 1
