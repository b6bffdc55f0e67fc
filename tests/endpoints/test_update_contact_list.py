"""Literal bytes against both pages of the update, with the corrections that `api/facts.md` decides."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from kore_campaign_async.endpoints import update_contact_list
from kore_campaign_async.errors import InvalidRequestError, UnreadableReplyError, UnsuccessfulError
from kore_campaign_async.message import Response
from kore_campaign_async.models import ContactListUpdate

APP_ID = "st-0603182c-7ffb-53c3-b307-47ca14b9xxxx"
LIST_ID = "cl-c2ce382-2516-457e-8eb4-9847deecxxxx"
DESCRIPTION = (
    "This list contains customers with services expiring in July 2025. It includes contact details and "
    "subscription info to help agents provide tailored support during live calls."
)

REPLY = rb"""{
    "status": "success",
    "message": "Contact list Renewal Due - August 2025 updated successfully",
    "data": {
        "contactListId": "cl-c2ce382-2516-457e-8eb4-9847deecxxxx",
        "body": {
            "name": "Renewal Due - August 2025",
            "orgId": "o-f8b351e7-f83a-51bd-bd42-d5d40861xxxx",
            "iId": "st-0603182c-7ffb-53c3-b307-47ca14b9xxxx",
            "listType": "call",
            "accountId": "67777ce93e25326494e9xxxx",
            "updatedBy": "u-eb5bbee1-6af9-5b9a-b471-03a3fe48xxxx"
        }
    }
}
"""


def reply(body: bytes) -> Response:
    return Response(200, {}, body, "PUT", "/update")


def test_sample_request_at_the_endpoint_rows_url() -> None:
    """The sample shows the create URL and `name1`: the endpoint row and the table hold."""
    request = update_contact_list.build(
        APP_ID,
        LIST_ID,
        name="Renewal Due - July 2025",
        description=DESCRIPTION,
        allow_duplicates=True,
        source="passiveApiIntegration",
    )
    assert request.method == "PUT"
    assert request.path == (
        "/agentassist/api/v1/public/st-0603182c-7ffb-53c3-b307-47ca14b9xxxx"
        "/campaign/contactList/cl-c2ce382-2516-457e-8eb4-9847deecxxxx"
    )
    assert request.query == ()
    assert request.body == (
        b'{"name":"Renewal Due - July 2025","description":"This list contains customers with services expiring'
        b" in July 2025. It includes contact details and subscription info to help agents provide tailored"
        b' support during live calls.","source":"passiveApiIntegration","allowDuplicates":true}'
    )


@pytest.mark.parametrize(
    ("given", "body"),
    [
        ({"name": "n"}, b'{"name":"n"}'),
        ({"description": "d"}, b'{"description":"d"}'),
        ({"allow_duplicates": True}, b'{"allowDuplicates":true}'),
        ({"allow_duplicates": False}, b'{"allowDuplicates":false}'),
        ({"source": "passiveApi"}, b'{"source":"passiveApi"}'),
        ({"name": "n", "allow_duplicates": False}, b'{"name":"n","allowDuplicates":false}'),
    ],
)
def test_only_what_was_given_is_sent(given: dict[str, Any], body: bytes) -> None:
    """What is omitted stays unchanged at the API; `source` goes only where it is named."""
    assert update_contact_list.build("st-1", "cl-1", **given).body == body


def test_updating_is_repeatable() -> None:
    assert update_contact_list.build("st-1", "cl-1", name="n").repeatable is True


def test_nothing_to_update_is_the_callers_error() -> None:
    with pytest.raises(InvalidRequestError, match="nothing to update"):
        update_contact_list.build("st-1", "cl-1")


@pytest.mark.parametrize(("name", "description"), [("n", "d"), ("n" * 48, "d" * 256)])
def test_lengths_within_the_limits(name: str, description: str) -> None:
    request = update_contact_list.build("st-1", "cl-1", name=name, description=description)
    assert orjson.loads(request.body or b"") == {"name": name, "description": description}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"name": ""}, "the list name is empty"),
        ({"name": "n" * 49}, "at most 48"),
        ({"description": ""}, "the description is empty"),
        ({"description": "d" * 257}, "at most 256"),
        ({"source": ""}, "the source is empty"),
    ],
)
def test_lengths_outside_the_limits(given: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        update_contact_list.build("st-1", "cl-1", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["false", "true", 0, 1])
def test_allow_duplicates_must_be_a_boolean(value: Any) -> None:
    with pytest.raises(InvalidRequestError):
        update_contact_list.build("st-1", "cl-1", allow_duplicates=value)


def test_sample_reply() -> None:
    whole = orjson.loads(REPLY)
    made = update_contact_list.build("st-1", "cl-1", name="n").parse(reply(REPLY))
    assert made == ContactListUpdate(
        contact_list_id="cl-c2ce382-2516-457e-8eb4-9847deecxxxx",
        message="Contact list Renewal Due - August 2025 updated successfully",
        name="Renewal Due - August 2025",
        list_type="call",
        updated_by="u-eb5bbee1-6af9-5b9a-b471-03a3fe48xxxx",
        body=whole["data"]["body"],
        raw=whole,
    )
    assert made.body["orgId"] == "o-f8b351e7-f83a-51bd-bd42-d5d40861xxxx"


def test_an_envelope_that_says_no() -> None:
    with pytest.raises(UnsuccessfulError, match=r"\(No such list\)"):
        update_contact_list.parse(reply(b'{"status":"error","message":"No such list"}'))


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"success"}',
        b'{"status":"success","data":null}',
        b'{"status":"success","data":[]}',
        b'{"status":"success","data":{}}',
        b'{"status":"success","data":{"contactListId":""}}',
        b'{"status":"success","data":{"contactListId":5,"body":{}}}',
    ],
)
def test_a_success_without_the_lists_id_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableReplyError):
        update_contact_list.parse(reply(body))
