"""Read one contact list, v2 (`api/facts.md`): the only read that tells whether a list drops duplicates."""

from __future__ import annotations

from kore_campaign_async import wire
from kore_campaign_async.endpoints import envelope
from kore_campaign_async.message import Request, Response
from kore_campaign_async.models import ContactList


def build(app_id: str, account_id: str, contact_list_id: str) -> Request[ContactList]:
    """Build the call. Repeatable: it reads.

    Raises:
        InvalidRequestError: an id that can't be one.
    """
    app = envelope.quoted_id(app_id, "application id")
    list_id = envelope.quoted_id(contact_list_id, "contact list id")
    return Request(
        endpoint="getContactList",
        method="GET",
        path=f"/campaign/api/v2/public/{app}/campaign/contactList/{list_id}",
        query=((wire.QUERY_ACCOUNT_ID, envelope.quoted_id(account_id, "account id")),),
        parse=parse,
        repeatable=True,
    )


def parse(response: Response) -> ContactList:
    """Read the reply: the list in full."""
    return envelope.structured(response, envelope.open_envelope(response).get(wire.DATA), ContactList)
