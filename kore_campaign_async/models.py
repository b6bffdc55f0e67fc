"""What the API deals in, as frozen values in Python names.

Field names on the wire are none of this file's business: `wire.py` holds them.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

from attrs import field, frozen


@frozen
class Contact:
    """One contact of a list.

    Attributes:
        phone_number: in E.164 shape, with or without the `+`.
        time_zone: a tz database name, such as `America/Phoenix`.
        extra: further columns, by their own names; they travel as they are.
    """

    phone_number: str
    first_name: str | None = field(default=None, kw_only=True)
    last_name: str | None = field(default=None, kw_only=True)
    time_zone: str | None = field(default=None, kw_only=True)
    unique_id: str | None = field(default=None, kw_only=True)
    contact_priority: str | None = field(default=None, kw_only=True)
    extra: Mapping[str, str] = field(factory=dict, kw_only=True)


@frozen
class Campaign:
    """A campaign that uses a contact list; older replies tell only its id."""

    id: str
    name: str | None = None


@frozen
class ContactFile:
    """A file that was uploaded into a contact list."""

    file_id: str | None = None
    file_name: str | None = None


@frozen(kw_only=True)
class ContactList:
    """A contact list, as any of the endpoints tells it.

    `status` and `source` are open sets of words. A field that the reply left out is None: absent is
    not false. Times are aware, in UTC.

    Attributes:
        allow_duplicates: whether the list keeps a number it already has; None where the reply does not
            tell. `CampaignClient.get_contact_list` is the read that does.
        raw: the API's own object, unchanged, with every field that nobody documented.
    """

    id: str
    name: str
    description: str | None = None
    status: str | None = None
    source: str | None = None
    list_type: str | None = None
    total_record_count: int | None = None
    is_active: bool | None = None
    is_list_in_use: bool | None = None
    allow_duplicates: bool | None = None
    campaign_in_use: tuple[Campaign, ...] = ()
    files: tuple[ContactFile, ...] = ()
    columns: tuple[str, ...] = ()
    mapping: Mapping[str, str] = field(factory=dict)
    api_configurations: Mapping[str, Any] = field(factory=dict)
    created_at: dt.datetime | None = None
    updated_at: dt.datetime | None = None
    created_by: str | None = None
    updated_by: str | None = None
    is_global_dnc: bool | None = None
    is_default: bool | None = None
    raw: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class ContactListUpdate:
    """What an update answered.

    Attributes:
        body: the updated metadata, as it came.
        raw: the whole reply, unchanged.
    """

    contact_list_id: str
    message: str
    name: str | None = None
    list_type: str | None = None
    updated_by: str | None = None
    body: Mapping[str, Any] = field(factory=dict)
    raw: Mapping[str, Any] = field(factory=dict, repr=False)


@frozen(kw_only=True)
class QueuedJob:
    """Contacts that the API has queued. Queued is not added: the API tells nothing more of the job.

    Attributes:
        message: the API's own words.
        contacts: how many contacts were in the call.
        raw: the whole reply, unchanged.
    """

    message: str
    contacts: int
    raw: Mapping[str, Any] = field(factory=dict, repr=False)
