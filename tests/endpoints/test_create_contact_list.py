"""Literal bytes against `api/create-contact-list.md`, with the corrections that `api/facts.md` decides."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest

from kore_campaign_async.endpoints import create_contact_list
from kore_campaign_async.errors import (
    CallOutcome,
    InvalidRequestError,
    UnreadableReplyError,
    UnsuccessfulError,
)
from kore_campaign_async.message import Response
from kore_campaign_async.models import ContactList

APP_ID = "st-0603182c-7ffb-53c3-b307-47ca14b9xxxx"
NAME = "Renewal Due - July 2025"
DESCRIPTION = (
    "This list contains customers with services expiring in July 2025. It includes contact details and "
    "subscription info to help agents provide tailored support during live calls."
)

REPLY = rb"""{
    "status": "success",
    "message": "Contact list Contact list of Passive June 27 created successfully",
    "data": {
        "isActive": true,
        "name": "Contact list of Passive June 27",
        "description": "contact list Description",
        "totalRecordCount": 0,
        "status": "Ready",
        "createdBy": "u-4baef569-f6c2-5486-a119-96857249xxxx",
        "updatedBy": "u-4baef569-f6c2-5486-a119-96857249xxxx",
        "mapping": {
            "firstName": "firstName",
            "lastName": "lastName",
            "phoneNumber": "phoneNumber",
            "timeZone": "timeZone",
            "uniqueId": "uniqueId"
        },
        "isListInUse": false,
        "listType": "call",
        "campaignInUse": [],
        "source": "passiveApi",
        "apiConfigurations": {
            "dataSyncMode": "allowDuplicates"
        },
        "files": [],
        "createdAt": "2025-06-27T07:37:17.489Z",
        "updatedAt": "2025-06-27T07:37:17.489Z",
        "_id": "cl-4db9a03-07a3-4009-973a-b8940e81xxxx",
        "allowDuplicates": true
    }
}
"""


def reply(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body, "POST", "/create")


def test_sample_request_with_name_for_name1() -> None:
    """The sample's `name1` is a typing error; its `source` is sent because the caller names it."""
    request = create_contact_list.build(
        APP_ID, NAME, DESCRIPTION, allow_duplicates=True, source="passiveApiIntegration"
    )
    assert request.method == "POST"
    assert request.path == (
        "/agentassist/api/v1/public/st-0603182c-7ffb-53c3-b307-47ca14b9xxxx/campaign/contactList/createContactList"
    )
    assert request.query == ()
    assert request.body == (
        b'{"name":"Renewal Due - July 2025","description":"This list contains customers with services expiring'
        b" in July 2025. It includes contact details and subscription info to help agents provide tailored"
        b' support during live calls.","source":"passiveApiIntegration","allowDuplicates":true}'
    )


def test_defaults_are_passive_api_and_no_duplicates() -> None:
    assert create_contact_list.build("st-1", "n", "d").body == (
        b'{"name":"n","description":"d","source":"passiveApi","allowDuplicates":false}'
    )


def test_creating_is_not_repeatable() -> None:
    """A second call could make a second list."""
    request = create_contact_list.build("st-1", "n", "d")
    assert request.repeatable is False
    assert request.listing is False


def test_text_goes_out_as_utf_8_and_unchanged() -> None:
    body = create_contact_list.build("st-1", " Zoë\n", "„Größe“").body
    assert body == ('{"name":" Zoë\\n","description":"„Größe“","source":"passiveApi","allowDuplicates":false}'.encode())


@pytest.mark.parametrize(("name", "description"), [("n", "d"), ("n" * 48, "d" * 256), ("é" * 48, "😀" * 256)])
def test_lengths_within_the_limits(name: str, description: str) -> None:
    """Limits count characters, not bytes."""
    body = orjson.loads(create_contact_list.build("st-1", name, description).body or b"")
    assert (body["name"], body["description"]) == (name, description)


@pytest.mark.parametrize(
    ("name", "description", "words"),
    [
        ("", "d", "the list name is empty"),
        ("  ", "d", "the list name is empty"),
        ("n" * 49, "d", "the list name has 49 characters; the API takes at most 48"),
        ("n", "", "the description is empty"),
        ("n", "\n", "the description is empty"),
        ("n", "d" * 257, "the description has 257 characters; the API takes at most 256"),
        (None, "d", "the list name is empty"),
        ("n", 5, "the description is empty"),
    ],
)
def test_lengths_outside_the_limits(name: Any, description: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        create_contact_list.build("st-1", name, description)


def test_an_empty_source_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match="the source is empty"):
        create_contact_list.build("st-1", "n", "d", source="")


@pytest.mark.parametrize("value", ["false", "true", 1, "no"])
def test_allow_duplicates_must_be_a_boolean(value: Any) -> None:
    """The documents: "Must be a boolean value". The text "false" must not make a list that calls people twice."""
    with pytest.raises(InvalidRequestError):
        create_contact_list.build("st-1", "n", "d", allow_duplicates=value)


def test_half_a_character_is_refused() -> None:
    """A lone surrogate has no UTF-8."""
    with pytest.raises(InvalidRequestError, match="can't be written as JSON"):
        create_contact_list.build("st-1", "\ud83d", "d")


def test_sample_reply() -> None:
    assert create_contact_list.build("st-1", "n", "d").parse(reply(REPLY)) == ContactList(
        id="cl-4db9a03-07a3-4009-973a-b8940e81xxxx",
        name="Contact list of Passive June 27",
        description="contact list Description",
        status="Ready",
        source="passiveApi",
        list_type="call",
        total_record_count=0,
        is_active=True,
        is_list_in_use=False,
        allow_duplicates=True,
        campaign_in_use=(),
        files=(),
        columns=(),
        mapping={
            "firstName": "firstName",
            "lastName": "lastName",
            "phoneNumber": "phoneNumber",
            "timeZone": "timeZone",
            "uniqueId": "uniqueId",
        },
        api_configurations={"dataSyncMode": "allowDuplicates"},
        created_at=dt.datetime(2025, 6, 27, 7, 37, 17, 489000, dt.UTC),
        updated_at=dt.datetime(2025, 6, 27, 7, 37, 17, 489000, dt.UTC),
        created_by="u-4baef569-f6c2-5486-a119-96857249xxxx",
        updated_by="u-4baef569-f6c2-5486-a119-96857249xxxx",
        raw=orjson.loads(REPLY)["data"],
    )


def test_an_envelope_that_says_no() -> None:
    with pytest.raises(UnsuccessfulError) as caught:
        create_contact_list.parse(reply(b'{"status":"failed","message":"Contact list exists"}'))
    error = caught.value
    assert error.outcome is CallOutcome.REFUSED
    assert (error.status, error.words, error.method, error.path) == (
        200,
        "Contact list exists",
        "POST",
        "/create",
    )


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"success"}',
        b'{"status":"success","data":null}',
        b'{"status":"success","data":[]}',
        b'{"status":"success","data":{}}',
        b'{"status":"success","data":{"_id":5,"name":"n"}}',
        b'{"status":"success","data":{"_id":"cl-1"}}',
    ],
)
def test_a_success_without_the_list_is_unreadable(body: bytes) -> None:
    """The list may have been made: the answer proves neither."""
    with pytest.raises(UnreadableReplyError, match="the reply is not as documented") as caught:
        create_contact_list.parse(reply(body, 201))
    assert caught.value.outcome is CallOutcome.MAYBE_PROCESSED
    assert caught.value.status == 201
