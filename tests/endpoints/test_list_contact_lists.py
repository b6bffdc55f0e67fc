"""Literal bytes against `api/get-all-contact-lists-v2.md`."""

from __future__ import annotations

import datetime as dt

import orjson
import pytest

from kore_campaign_async.endpoints import list_contact_lists
from kore_campaign_async.errors import UnreadableReplyError, UnsuccessfulError
from kore_campaign_async.message import Response
from kore_campaign_async.models import Campaign, ContactFile, ContactList

REPLY = rb"""{
    "status": "success",
    "message": "",
    "data": [
        {
            "_id": "cl-718e888-3aca-4008-973e-6d79940xxxxx",
            "name": "Renewal Due - May/June 2025",
            "description": "This list contains customers with services expiring in July 2025. It includes contact details and subscription info to help agents provide tailored support during live calls.",
            "totalRecordCount": 0,
            "status": "Ready",
            "mapping": {
                "firstName": "firstName",
                "lastName": "lastName",
                "phoneNumber": "phoneNumber",
                "timeZone": "timeZone",
                "uniqueId": "uniqueId",
                "contactPriority": "contactPriority"
            },
            "isListInUse": false,
            "listType": "call",
            "campaignInUse": [],
            "source": "passiveApi",
            "apiConfigurations": {
                "dataSyncMode": "allowDuplicates"
            },
            "columns": [],
            "files": [],
            "updatedAt": "2025-12-05T10:35:41.551Z"
        },
        {
            "_id": "cl-2259a6e-250d-4e30-95a8-9b813c1xxxxx",
            "name": "Renewal Due - July 2025",
            "description": "This list contains customers with services expiring in July 2025. It includes contact details and subscription info to help agents provide tailored support during live calls.",
            "totalRecordCount": 0,
            "status": "Ready",
            "mapping": {
                "firstName": "firstName",
                "lastName": "lastName",
                "phoneNumber": "phoneNumber",
                "timeZone": "timeZone",
                "uniqueId": "uniqueId",
                "contactPriority": "contactPriority"
            },
            "isListInUse": false,
            "listType": "call",
            "campaignInUse": [],
            "source": "passiveApi",
            "apiConfigurations": {
                "dataSyncMode": "allowDuplicates"
            },
            "columns": [],
            "files": [],
            "updatedAt": "2025-12-05T10:30:16.232Z"
        },
        {
            "_id": "cl-a87db5d-bd29-4327-ab8c-a7ac000xxxxx",
            "name": "CL Only 2020 Dec 4",
            "description": "CL Only 2020 Dec 4",
            "files": [
                {
                    "fileId": "693153a4f33d29f872fxxxxx",
                    "fileName": "contact list 2020 (with Priority).csv"
                }
            ],
            "totalRecordCount": 1,
            "status": "Validated",
            "mapping": {
                "firstName": "firstName",
                "lastName": "lastName",
                "phoneNumber": "phoneNumber",
                "timeZone": "timezone",
                "uniqueId": "",
                "contactPriority": ""
            },
            "isListInUse": false,
            "listType": "call",
            "campaignInUse": [
                {
                    "name": "Event Reminder SMS Campaign7",
                    "id": "cd-0c172a6b-2a01-5247-8e96-4e28effxxxxx"
                },
                {
                    "name": "Billing Alert Template Campaign-2",
                    "id": "cd-99d4074d-914e-5659-b4c1-09231b8xxxxx"
                },
                {
                    "name": "Interactive Support SMS Campaign1212",
                    "id": "cd-e35c04a1-52f7-5a7e-86ba-c4a6101xxxxx"
                },
                {
                    "id": "cd-62485d8-5d0b-4479-a433-37d3a4dxxxxx",
                    "name": "Product Feedback Voice Campaign-3.4"
                },
                {
                    "id": "cd-469cba4-2597-471d-b5ed-02732c2xxxxx",
                    "name": "Service Renewal Outreach Campaign6"
                },
                {
                    "id": "cd-10c85a3-57a3-4d2d-aad4-b09344axxxxx",
                    "name": "Billing Reminder Voice Campaign1"
                },
                {
                    "id": "cd-b2c1690-0a1b-497c-9326-1bdd229xxxxx",
                    "name": "Billing Reminder Voice Campaign1"
                },
                {
                    "id": "cd-071591b-95ce-43a0-83dd-73b465dxxxxx",
                    "name": "Agentless | Dec 5 | Latest Execution"
                },
                {
                    "name": "Event Reminder SMS Campaign71",
                    "id": "cd-964e76d3-2e70-51a5-bd47-b09b4d4xxxxx"
                },
                {
                    "name": "Billing Alert Template Campaign-21",
                    "id": "cd-99f05887-5638-59ef-90d9-5dc9ebdxxxxx"
                },
                {
                    "name": "Interactive Support SMS Campaign1212",
                    "id": "cd-e7110489-a30a-5d1e-80ee-f246cc8xxxxx"
                },
                {
                    "name": "Event Reminder SMS Campaign8",
                    "id": "cd-78d3f0a9-8f42-5d8c-af8d-d6a63eaxxxxx"
                }
            ],
            "source": "localDrive",
            "columns": [
                "firstName",
                "lastName",
                "phoneNumber",
                "timezone",
                "uniqueId",
                " Priority"
            ],
            "updatedAt": "2025-12-05T09:34:12.449Z"
        },
        {
            "_id": "cl-67a405c-ae3b-4a42-8cd2-5dcd699xxxxx",
            "name": "Renewal Due 1- July 2025",
            "description": "This list contains customers with services expiring in July 2025. It includes contact details and subscription info to help agents provide tailored support during live calls.",
            "totalRecordCount": 0,
            "status": "Ready",
            "mapping": {
                "firstName": "firstName",
                "lastName": "lastName",
                "phoneNumber": "phoneNumber",
                "timeZone": "timeZone",
                "uniqueId": "uniqueId",
                "contactPriority": "contactPriority"
            },
            "isListInUse": false,
            "listType": "call",
            "campaignInUse": [],
            "source": "passiveApi",
            "apiConfigurations": {
                "dataSyncMode": "allowDuplicates"
            },
            "columns": [],
            "files": [],
            "updatedAt": "2025-12-05T09:22:51.001Z"
        },
        {
            "_id": "cl-0b6c38b-342d-4d65-91c5-d55aec8xxxxx",
            "name": "API List | Dec 5",
            "description": "API List | Dec 5",
            "files": [
                {
                    "fileId": "6932945892331438e86xxxxx",
                    "fileName": "contact list 2020 (with Priority).csv"
                }
            ],
            "totalRecordCount": 1,
            "status": "Validated",
            "mapping": {
                "firstName": "firstName",
                "lastName": "",
                "phoneNumber": "phoneNumber",
                "timeZone": "",
                "uniqueId": "",
                "contactPriority": ""
            },
            "isListInUse": false,
            "listType": "call",
            "campaignInUse": [],
            "source": "localDrive",
            "columns": [
                "firstName",
                "lastName",
                "phoneNumber",
                "timezone",
                "uniqueId",
                " Priority"
            ],
            "updatedAt": "2025-12-05T08:14:29.673Z"
        },
        {
            "_id": "cl-94380b8-8a99-487c-a852-3c9393cxxxxx",
            "name": "Renewal Due - Nov 2025",
            "description": "This list contains customers with services expiring in July 2025. It includes contact details and subscription info to help agents provide tailored support during live calls.",
            "totalRecordCount": 0,
            "status": "Ready",
            "mapping": {
                "firstName": "firstName",
                "lastName": "lastName",
                "phoneNumber": "phoneNumber",
                "timeZone": "timeZone",
                "uniqueId": "uniqueId",
                "contactPriority": "contactPriority"
            },
            "isListInUse": false,
            "listType": "call",
            "campaignInUse": [],
            "source": "passiveApi",
            "apiConfigurations": {
                "dataSyncMode": "allowDuplicates"
            },
            "columns": [],
            "files": [],
            "updatedAt": "2025-12-04T10:03:02.550Z"
        }
    ]
}
"""  # noqa: E501  the documents' own lines


def reply(body: bytes) -> Response:
    return Response(200, {}, body, "POST", "/list")


def test_sample_request() -> None:
    request = list_contact_lists.build("st-0603182c-7ffb-53c3-b307-47ca14bxxxxx", "67777ce93e25326494exxxxx")
    assert request.method == "POST"
    assert request.path == (
        "/campaign/api/v2/public/st-0603182c-7ffb-53c3-b307-47ca14bxxxxx/campaign/contactList/getAllListDetails"
    )
    assert "&".join("=".join(pair) for pair in request.query) == "accountId=67777ce93e25326494exxxxx&type=call"
    assert request.body is None


def test_listing_is_repeatable_and_may_be_long() -> None:
    """It is a POST, but it reads."""
    request = list_contact_lists.build("st-1", "acc")
    assert request.repeatable is True
    assert request.listing is True


def test_account_id_is_quoted_in_the_query() -> None:
    request = list_contact_lists.build("st-1", "a&type=b%c")
    assert request.query == (("accountId", "a%26type%3Db%25c"), ("type", "call"))


def test_sample_reply() -> None:
    lists = list_contact_lists.build("st-1", "acc").parse(reply(REPLY))
    assert [(made.id, made.name, made.status, made.source) for made in lists] == [
        ("cl-718e888-3aca-4008-973e-6d79940xxxxx", "Renewal Due - May/June 2025", "Ready", "passiveApi"),
        ("cl-2259a6e-250d-4e30-95a8-9b813c1xxxxx", "Renewal Due - July 2025", "Ready", "passiveApi"),
        ("cl-a87db5d-bd29-4327-ab8c-a7ac000xxxxx", "CL Only 2020 Dec 4", "Validated", "localDrive"),
        ("cl-67a405c-ae3b-4a42-8cd2-5dcd699xxxxx", "Renewal Due 1- July 2025", "Ready", "passiveApi"),
        ("cl-0b6c38b-342d-4d65-91c5-d55aec8xxxxx", "API List | Dec 5", "Validated", "localDrive"),
        ("cl-94380b8-8a99-487c-a852-3c9393cxxxxx", "Renewal Due - Nov 2025", "Ready", "passiveApi"),
    ]
    assert [made.allow_duplicates for made in lists] == [True, True, None, True, None, True]
    assert [made.is_active for made in lists] == [None] * 6
    assert [made.raw for made in lists] == orjson.loads(REPLY)["data"]


def test_first_list_of_the_sample_in_full() -> None:
    first = list_contact_lists.parse(reply(REPLY))[0]
    assert first == ContactList(
        id="cl-718e888-3aca-4008-973e-6d79940xxxxx",
        name="Renewal Due - May/June 2025",
        description=(
            "This list contains customers with services expiring in July 2025. It includes contact details and "
            "subscription info to help agents provide tailored support during live calls."
        ),
        status="Ready",
        source="passiveApi",
        list_type="call",
        total_record_count=0,
        is_list_in_use=False,
        allow_duplicates=True,
        mapping={
            "firstName": "firstName",
            "lastName": "lastName",
            "phoneNumber": "phoneNumber",
            "timeZone": "timeZone",
            "uniqueId": "uniqueId",
            "contactPriority": "contactPriority",
        },
        api_configurations={"dataSyncMode": "allowDuplicates"},
        updated_at=dt.datetime(2025, 12, 5, 10, 35, 41, 551000, dt.UTC),
        raw=orjson.loads(REPLY)["data"][0],
    )


def test_uploaded_list_of_the_sample() -> None:
    """Campaigns with their keys in either order, a column with a leading blank, a mapping to nothing."""
    uploaded = list_contact_lists.parse(reply(REPLY))[2]
    assert len(uploaded.campaign_in_use) == 12
    assert uploaded.campaign_in_use[0] == Campaign(
        "cd-0c172a6b-2a01-5247-8e96-4e28effxxxxx", "Event Reminder SMS Campaign7"
    )
    assert uploaded.campaign_in_use[3] == Campaign(
        "cd-62485d8-5d0b-4479-a433-37d3a4dxxxxx", "Product Feedback Voice Campaign-3.4"
    )
    assert uploaded.files == (ContactFile("693153a4f33d29f872fxxxxx", "contact list 2020 (with Priority).csv"),)
    assert uploaded.columns[-1] == " Priority"
    assert uploaded.mapping["uniqueId"] == ""
    assert uploaded.mapping["timeZone"] == "timezone"
    assert uploaded.total_record_count == 1


def test_no_lists() -> None:
    assert list_contact_lists.parse(reply(b'{"status":"success","message":"","data":[]}')) == ()


def test_an_envelope_that_says_no() -> None:
    with pytest.raises(UnsuccessfulError):
        list_contact_lists.parse(reply(b'{"status":"failed","message":"no such account","data":[]}'))


@pytest.mark.parametrize(
    "body",
    [
        b'{"status":"success"}',
        b'{"status":"success","data":null}',
        b'{"status":"success","data":{}}',
        b'{"status":"success","data":[null]}',
        b'{"status":"success","data":[{"_id":"cl-1"}]}',
        REPLY[:-40],
    ],
)
def test_anything_else_is_unreadable(body: bytes) -> None:
    """A listing cut short must not pass for a shorter one."""
    with pytest.raises(UnreadableReplyError):
        list_contact_lists.parse(reply(body))
