"""The v2 read of one list, which stands in `api/facts.md` alone."""

from __future__ import annotations

import pytest

from kore_campaign_async.endpoints import get_contact_list
from kore_campaign_async.errors import UnreadableReplyError, UnsuccessfulError
from kore_campaign_async.message import Response

# The envelope and the list of the documents, with the two fields that this read adds.
REPLY = rb"""{
    "status": "success",
    "message": "",
    "data": {
        "_id": "cl-4db9a03-07a3-4009-973a-b8940e81xxxx",
        "name": "Contact list of Passive June 27",
        "isGlobalDNC": false,
        "isDefault": true,
        "allowDuplicates": false,
        "updatedAt": "2025-06-27T07:37:17.489Z"
    }
}
"""


def reply(body: bytes) -> Response:
    return Response(200, {}, body, "GET", "/get")


def test_request() -> None:
    request = get_contact_list.build(
        "st-0603182c-7ffb-53c3-b307-47ca14b9xxxx",
        "67777ce93e25326494e9xxxx",
        "cl-4db9a03-07a3-4009-973a-b8940e81xxxx",
    )
    assert request.method == "GET"
    assert request.path == (
        "/campaign/api/v2/public/st-0603182c-7ffb-53c3-b307-47ca14b9xxxx"
        "/campaign/contactList/cl-4db9a03-07a3-4009-973a-b8940e81xxxx"
    )
    assert request.query == (("accountId", "67777ce93e25326494e9xxxx"),)
    assert request.body is None
    assert request.repeatable is True


def test_reply_tells_whether_the_list_drops_duplicates() -> None:
    made = get_contact_list.build("st-1", "acc", "cl-1").parse(reply(REPLY))
    assert made.id == "cl-4db9a03-07a3-4009-973a-b8940e81xxxx"
    assert made.allow_duplicates is False
    assert (made.is_global_dnc, made.is_default, made.is_active) == (False, True, None)


def test_an_envelope_that_says_no() -> None:
    with pytest.raises(UnsuccessfulError):
        get_contact_list.parse(reply(b'{"status":"failed"}'))


@pytest.mark.parametrize("data", [b"null", b"[]", b'"cl-1"', b"{}"])
def test_a_success_without_the_list_is_unreadable(data: bytes) -> None:
    with pytest.raises(UnreadableReplyError):
        get_contact_list.parse(reply(b'{"status":"success","data":' + data + b"}"))
