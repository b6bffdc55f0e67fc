"""What the API's objects become: lenient where that is harmless, and nothing is lost on the way."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from attrs import fields
from cattrs.errors import BaseValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from kore_campaign_async import wire
from kore_campaign_async.models import Campaign, Contact, ContactFile, ContactList, ContactListUpdate

# From api/get-all-contact-lists-v2.md, the third list of the sample; campaigns shortened to three, with keys in
# both orders as they stand there.
UPLOADED = rb"""{
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
            "id": "cd-62485d8-5d0b-4479-a433-37d3a4dxxxxx",
            "name": "Product Feedback Voice Campaign-3.4"
        },
        {
            "id": "cd-071591b-95ce-43a0-83dd-73b465dxxxxx",
            "name": "Agentless | Dec 5 | Latest Execution"
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
}"""

# From api/create-contact-list.md, the sample response's data.
CREATED = rb"""{
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
}"""

# The wire's spelling of every optional field, with a value of the documented type.
OPTIONAL: dict[str, tuple[str, Any, Any]] = {
    "description": ("description", "d", "d"),
    "status": ("status", "Ready", "Ready"),
    "source": ("source", "passiveApi", "passiveApi"),
    "list_type": ("listType", "call", "call"),
    "total_record_count": ("totalRecordCount", 7, 7),
    "is_active": ("isActive", True, True),
    "is_list_in_use": ("isListInUse", True, True),
    "allow_duplicates": ("allowDuplicates", False, False),
    "campaign_in_use": ("campaignInUse", ["cd-1"], (Campaign("cd-1"),)),
    "files": ("files", [{"fileId": "f", "fileName": "n"}], (ContactFile("f", "n"),)),
    "columns": ("columns", [" a"], (" a",)),
    "mapping": ("mapping", {"firstName": ""}, {"firstName": ""}),
    "api_configurations": ("apiConfigurations", {"x": [1]}, {"x": [1]}),
    "created_at": ("createdAt", "2025-06-27T07:37:17.489Z", dt.datetime(2025, 6, 27, 7, 37, 17, 489000, dt.UTC)),
    "updated_at": ("updatedAt", "2025-06-27T07:37:17Z", dt.datetime(2025, 6, 27, 7, 37, 17, 0, dt.UTC)),
    "created_by": ("createdBy", "u-1", "u-1"),
    "updated_by": ("updatedBy", "u-2", "u-2"),
    "is_global_dnc": ("isGlobalDNC", True, True),
    "is_default": ("isDefault", True, True),
}
# What a field that is not there, or not usable, reads as.
ABSENT = {
    "campaign_in_use": (),
    "files": (),
    "columns": (),
    "mapping": {},
    "api_configurations": {},
}
WRONG: dict[str, tuple[Any, ...]] = {
    "text": (5, True, [], {}, ["a"]),
    "bool": ("false", "true", 0, 1, [], {}),
    "int": ("1", True, 1.5, [], {}),
    "time": (1733391282, "yesterday", "", True, [], {}),
    "array": ("a", 5, True, {}, {"0": "a"}),
    "object": ("a", 5, True, [], ["a"]),
}
KINDS = {
    "total_record_count": "int",
    "is_active": "bool",
    "is_list_in_use": "bool",
    "allow_duplicates": "bool",
    "is_global_dnc": "bool",
    "is_default": "bool",
    "campaign_in_use": "array",
    "files": "array",
    "columns": "array",
    "mapping": "object",
    "api_configurations": "object",
    "created_at": "time",
    "updated_at": "time",
}


def read(value: Any) -> ContactList:
    return wire.converter.structure(value, ContactList)


def read_with(**more: Any) -> ContactList:
    return read({"_id": "cl-1", "name": "n", **more})


def test_the_uploaded_list_of_the_documents() -> None:
    made = read(wire.loads(UPLOADED))
    assert made == ContactList(
        id="cl-a87db5d-bd29-4327-ab8c-a7ac000xxxxx",
        name="CL Only 2020 Dec 4",
        description="CL Only 2020 Dec 4",
        status="Validated",
        source="localDrive",
        list_type="call",
        total_record_count=1,
        is_active=None,
        is_list_in_use=False,
        allow_duplicates=None,
        campaign_in_use=(
            Campaign("cd-0c172a6b-2a01-5247-8e96-4e28effxxxxx", "Event Reminder SMS Campaign7"),
            Campaign("cd-62485d8-5d0b-4479-a433-37d3a4dxxxxx", "Product Feedback Voice Campaign-3.4"),
            Campaign("cd-071591b-95ce-43a0-83dd-73b465dxxxxx", "Agentless | Dec 5 | Latest Execution"),
        ),
        files=(ContactFile("693153a4f33d29f872fxxxxx", "contact list 2020 (with Priority).csv"),),
        columns=("firstName", "lastName", "phoneNumber", "timezone", "uniqueId", " Priority"),
        mapping={
            "firstName": "firstName",
            "lastName": "lastName",
            "phoneNumber": "phoneNumber",
            "timeZone": "timezone",
            "uniqueId": "",
            "contactPriority": "",
        },
        updated_at=dt.datetime(2025, 12, 5, 9, 34, 12, 449000, dt.UTC),
        raw=orjson.loads(UPLOADED),
    )


def test_the_created_list_of_the_documents() -> None:
    made = read(wire.loads(CREATED))
    assert made == ContactList(
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
        raw=orjson.loads(CREATED),
    )


def test_campaigns_as_ids() -> None:
    """The documents' table says an array of ids; the sample shows objects. Both are read, also mixed."""
    made = read_with(campaignInUse=["cd-1", {"name": "B", "id": "cd-2"}, {"id": "cd-3"}])
    assert made.campaign_in_use == (Campaign("cd-1"), Campaign("cd-2", "B"), Campaign("cd-3"))


@pytest.mark.parametrize("item", [None, 5, [], {}, {"name": "no id"}, {"id": None}, {"id": ""}, {"id": 5}])
def test_a_campaign_without_a_usable_id_spoils_no_list(item: Any) -> None:
    """Only the list's own id and name must be there."""
    made = read_with(campaignInUse=["cd-1", item])
    assert made.campaign_in_use == (Campaign("cd-1"),)
    assert made.raw["campaignInUse"] == ["cd-1", item]


@pytest.mark.parametrize("item", [{}, {"fileId": 5, "fileName": None}])
def test_a_file_without_usable_fields_spoils_no_list(item: Any) -> None:
    assert read_with(files=[item, "x"]).files == (ContactFile(),)


def test_every_optional_field_is_covered_here() -> None:
    names = {attribute.name for attribute in fields(ContactList)}
    assert set(OPTIONAL) == names - {"id", "name", "raw"}


@pytest.mark.parametrize("name", OPTIONAL)
def test_a_field_is_read_under_the_wires_spelling(name: str) -> None:
    spelling, given_value, expected = OPTIONAL[name]
    made = read_with(**{spelling: given_value})
    assert getattr(made, name) == expected
    assert type(getattr(made, name)) is type(expected)


@pytest.mark.parametrize("name", OPTIONAL)
def test_absent_and_null_are_not_false(name: str) -> None:
    spelling = OPTIONAL[name][0]
    expected = ABSENT.get(name)
    assert getattr(read_with(), name) == expected
    nulled = read_with(**{spelling: None})
    assert getattr(nulled, name) == expected
    assert nulled.raw[spelling] is None


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in OPTIONAL for value in WRONG[KINDS.get(name, "text")]],
)
def test_a_field_of_another_type_is_none_and_stays_in_raw(name: str, value: Any) -> None:
    """Most of all: the text "false" is not True."""
    spelling = OPTIONAL[name][0]
    made = read_with(**{spelling: value})
    assert getattr(made, name) == ABSENT.get(name)
    assert made.raw[spelling] == value


@pytest.mark.parametrize("missing", ["_id", "name"])
@pytest.mark.parametrize("value", [None, "", 5, [], {}])
def test_id_and_name_must_be_there(missing: str, value: Any) -> None:
    whole = {"_id": "cl-1", "name": "n"}
    with pytest.raises(BaseValidationError):
        read({**whole, missing: value})
    with pytest.raises(BaseValidationError):
        read({key: text for key, text in whole.items() if key != missing})


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"allowDuplicates": True}, True),
        ({"allowDuplicates": False}, False),
        ({"allowDuplicates": False, "apiConfigurations": {"dataSyncMode": "allowDuplicates"}}, False),
        ({"apiConfigurations": {"dataSyncMode": "allowDuplicates"}}, True),
        ({"allowDuplicates": None, "apiConfigurations": {"dataSyncMode": "allowDuplicates"}}, True),
        ({"allowDuplicates": "false"}, None),
        ({"apiConfigurations": {"dataSyncMode": "somethingElse"}}, None),
        ({"apiConfigurations": {"dataSyncMode": None}}, None),
        ({"apiConfigurations": {"dataSyncMode": ["allowDuplicates"]}}, None),
        ({"apiConfigurations": "allowDuplicates"}, None),
        ({"apiConfigurations": {}}, None),
        ({}, None),
    ],
)
def test_whether_a_list_keeps_duplicates(more: dict[str, Any], expected: bool | None) -> None:
    """`allowDuplicates` where it came; else true for the one mode that a page names; else unknown."""
    assert read_with(**more).allow_duplicates is expected


def test_unknown_fields_and_words_are_kept() -> None:
    """What nobody documented will come: it is reachable, and never an error."""
    given_object = {
        "_id": "cl-1",
        "name": "n",
        "status": "Hibernating",
        "source": "carrierPigeon",
        "shiny": {"new": [1, {"deep": None}]},
    }
    made = read(given_object)
    assert (made.status, made.source) == ("Hibernating", "carrierPigeon")
    assert made.raw == given_object
    assert made.raw["shiny"]["new"][1] == {"deep": None}


def test_raw_is_not_shown() -> None:
    """A listing of a thousand lists is readable only without it."""
    assert "shiny" not in repr(read_with(shiny=1))


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-12-05T10:35:41.551Z", dt.datetime(2025, 12, 5, 10, 35, 41, 551000, dt.UTC)),
        ("2025-12-05T12:35:41.551+02:00", dt.datetime(2025, 12, 5, 10, 35, 41, 551000, dt.UTC)),
        ("2025-12-05T10:35:41", dt.datetime(2025, 12, 5, 10, 35, 41, 0, dt.UTC)),
    ],
)
def test_times_are_aware_and_in_utc(text: str, moment: dt.datetime) -> None:
    read_back = read_with(updatedAt=text).updated_at
    assert read_back == moment
    assert read_back.tzinfo is dt.UTC


def test_a_time_outside_the_calendar_is_none() -> None:
    assert read_with(createdAt="0001-01-01T00:00:00+02:00").created_at is None


texts = st.text("aZ0 -_\x00\né😀", max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "name", "fileId", "dataSyncMode"]) | texts, inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([spelling for spelling, _, _ in OPTIONAL.values()]), json_values))
def test_no_value_of_an_optional_field_makes_a_list_unreadable(more: dict[str, Any]) -> None:
    made = read_with(**more)
    assert (made.id, made.name) == ("cl-1", "n")
    assert made.raw == {"_id": "cl-1", "name": "n", **more}


def test_an_update_without_a_body_is_read() -> None:
    value = {"status": "success", "message": None, "data": {"contactListId": "cl-1"}}
    assert wire.converter.structure(value, ContactListUpdate) == ContactListUpdate(
        contact_list_id="cl-1", message="", raw=value
    )


def test_a_contact_writes_only_what_it_has() -> None:
    """The converter would write nulls for absent fields, which the platform would take as values."""
    assert wire.converter.unstructure(Contact("+14155550123")) == {"phoneNumber": "+14155550123"}


def test_a_whole_contact_in_the_wires_spelling() -> None:
    contact = Contact(
        "+14155550123",
        first_name="Ana",
        last_name="Núñez",
        time_zone="America/Phoenix",
        unique_id="7",
        contact_priority="1",
        extra={" Priority": "high", "plan": ""},
    )
    assert (
        wire.dumps(wire.converter.unstructure(contact))
        == (
            '{"phoneNumber":"+14155550123","firstName":"Ana","lastName":"Núñez","timeZone":"America/Phoenix",'
            '"uniqueId":"7","contactPriority":"1"," Priority":"high","plan":""}'
        ).encode()
    )


def test_an_empty_text_is_not_absent() -> None:
    assert wire.converter.unstructure(Contact("+14155550123", first_name="")) == {
        "phoneNumber": "+14155550123",
        "firstName": "",
    }


@given(st.builds(Contact, texts, first_name=st.none() | texts, unique_id=st.none() | texts))
def test_no_contact_writes_a_null(contact: Contact) -> None:
    assert None not in wire.converter.unstructure(contact).values()
