"""The wire's spellings and the converter between JSON and the models.

JSON names stand only here (and in the sandbox, which must not share them with us). Reading is lenient where
it is harmless, since the replies are documented by samples: a field that is absent, null or of another type
than documented is None on the model, and stays reachable in `raw`. Only an id and a name must be there.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final, get_origin

import orjson
from attrs import evolve
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.orjson import make_converter

from kore_campaign_async.models import Campaign, Contact, ContactFile, ContactList, ContactListUpdate

HEADER_TOKEN: Final = "auth"  # noqa: S105  a header's name
HEADER_APP_ID: Final = "iid"
HEADER_ACCOUNT_ID: Final = "accountId"

PHONE_NUMBER: Final = "phoneNumber"
FIRST_NAME: Final = "firstName"
LAST_NAME: Final = "lastName"
TIME_ZONE: Final = "timeZone"
UNIQUE_ID: Final = "uniqueId"
CONTACT_PRIORITY: Final = "contactPriority"
CONTACT_FIELDS: Final = (PHONE_NUMBER, FIRST_NAME, LAST_NAME, TIME_ZONE, UNIQUE_ID, CONTACT_PRIORITY)

#: What the API takes at most of a contact (api/facts.md, sizes).
CONTACTS_A_LIST: Final = 1_000_000
CONTACTS_AN_ACCOUNT: Final = 5_000_000
COLUMNS_A_CONTACT: Final = 150
CHARACTERS_A_VALUE: Final = 300

CONTACT_LIST_NAME: Final = "contact_list_name"
DATA: Final = "data"
STATUS: Final = "status"
SUCCESS: Final = "success"
ERROR: Final = "error"
ERRORS: Final = "errors"
MESSAGE: Final = "message"

NAME: Final = "name"
DESCRIPTION: Final = "description"
SOURCE: Final = "source"
ALLOW_DUPLICATES: Final = "allowDuplicates"
DATA_SYNC_MODE: Final = "dataSyncMode"
CONTACT_LIST_ID: Final = "contactListId"
LIST_TYPE: Final = "listType"
UPDATED_BY: Final = "updatedBy"
BODY: Final = "body"

QUERY_ACCOUNT_ID: Final = "accountId"
QUERY_TYPE: Final = "type"
TYPE_CALL: Final = "call"

SOURCE_PASSIVE_API: Final = "passiveApi"

TOKEN_APP_ID: Final = "appId"  # noqa: S105  a claim's name

converter = make_converter()


def loads(body: bytes | str) -> Any:
    """Read JSON. A ValueError tells what is wrong, also for bytes that are not UTF-8."""
    return orjson.loads(body)


def dumps(value: Any) -> bytes:
    """Write JSON as the API gets it: compact, UTF-8."""
    return orjson.dumps(value)


def _bool_or_none(value: Any, _type: Any) -> bool | None:
    # bool("false") is True: only a JSON boolean counts.
    return value if isinstance(value, bool) else None


def _int_or_none(value: Any, _type: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _str_or_none(value: Any, _type: Any) -> str | None:
    return value if isinstance(value, str) else None


def _datetime_or_none(value: Any, _type: Any) -> dt.datetime | None:
    try:
        moment = dt.datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).astimezone(dt.UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _mapping(value: Any, _type: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _is_mapping(kind: Any) -> bool:
    return get_origin(kind) is Mapping


def _items(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _texts(value: Any, _type: Any) -> tuple[str, ...]:
    return tuple(item for item in _items(value) if isinstance(item, str))


def _required_text(value: Any, _type: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text that is not empty")
    return value


converter.register_structure_hook(str, _required_text)
converter.register_structure_hook(bool | None, _bool_or_none)
converter.register_structure_hook(int | None, _int_or_none)
converter.register_structure_hook(str | None, _str_or_none)
converter.register_structure_hook(dt.datetime | None, _datetime_or_none)
converter.register_structure_hook_func(_is_mapping, _mapping)
converter.register_structure_hook_func(lambda kind: kind == tuple[str, ...], _texts)

_structure_campaign = make_dict_structure_fn(Campaign, converter)


def _campaigns(value: Any, _type: Any) -> tuple[Campaign, ...]:
    # The documents show an array of ids in a table, and an array of objects in a sample.
    return tuple(
        Campaign(item) if isinstance(item, str) else _structure_campaign(item, Campaign)
        for item in _items(value)
        if isinstance(item, str) or (isinstance(item, dict) and _str_or_none(item.get("id"), str))
    )


_structure_file = make_dict_structure_fn(
    ContactFile, converter, file_id=override(rename="fileId"), file_name=override(rename="fileName")
)


def _files(value: Any, _type: Any) -> tuple[ContactFile, ...]:
    return tuple(_structure_file(item, ContactFile) for item in _items(value) if isinstance(item, dict))


converter.register_structure_hook_func(lambda kind: kind == tuple[Campaign, ...], _campaigns)
converter.register_structure_hook_func(lambda kind: kind == tuple[ContactFile, ...], _files)

_structure_contact_list = make_dict_structure_fn(
    ContactList,
    converter,
    id=override(rename="_id"),
    list_type=override(rename=LIST_TYPE),
    total_record_count=override(rename="totalRecordCount"),
    is_active=override(rename="isActive"),
    is_list_in_use=override(rename="isListInUse"),
    allow_duplicates=override(rename=ALLOW_DUPLICATES),
    campaign_in_use=override(rename="campaignInUse"),
    api_configurations=override(rename="apiConfigurations"),
    created_at=override(rename="createdAt"),
    updated_at=override(rename="updatedAt"),
    created_by=override(rename="createdBy"),
    updated_by=override(rename=UPDATED_BY),
    is_global_dnc=override(rename="isGlobalDNC"),
    is_default=override(rename="isDefault"),
    raw=override(omit=True),
)


def _contact_list(value: Any, _type: Any) -> ContactList:
    if not isinstance(value, dict):
        raise TypeError("a contact list must be a JSON object")
    made = _structure_contact_list(value, ContactList)
    keeps = made.allow_duplicates
    # No page names another mode than this one, so any other leaves the question open.
    if keeps is None and made.api_configurations.get(DATA_SYNC_MODE) == ALLOW_DUPLICATES:
        keeps = True
    return evolve(made, allow_duplicates=keeps, raw=value)


converter.register_structure_hook(ContactList, _contact_list)


def _contact_list_update(value: Any, _type: Any) -> ContactListUpdate:
    data = _mapping(value.get(DATA), None)
    body = _mapping(data.get(BODY), None)
    return ContactListUpdate(
        contact_list_id=_required_text(data.get(CONTACT_LIST_ID), str),
        message=_str_or_none(value.get(MESSAGE), str) or "",
        name=_str_or_none(body.get(NAME), str),
        list_type=_str_or_none(body.get(LIST_TYPE), str),
        updated_by=_str_or_none(body.get(UPDATED_BY), str),
        body=body,
        raw=value,
    )


converter.register_structure_hook(ContactListUpdate, _contact_list_update)

_unstructure_contact_fields = make_dict_unstructure_fn(
    Contact,
    converter,
    _cattrs_omit_if_default=True,
    phone_number=override(rename=PHONE_NUMBER),
    first_name=override(rename=FIRST_NAME),
    last_name=override(rename=LAST_NAME),
    time_zone=override(rename=TIME_ZONE),
    unique_id=override(rename=UNIQUE_ID),
    contact_priority=override(rename=CONTACT_PRIORITY),
    extra=override(omit=True),
)


def _unstructure_contact(contact: Contact) -> dict[str, Any]:
    fields = _unstructure_contact_fields(contact)
    fields.update(contact.extra)
    return fields


converter.register_unstructure_hook(Contact, _unstructure_contact)
