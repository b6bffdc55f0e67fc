"""Get all contact lists, v2 (`api/get-all-contact-lists-v2.md`): a POST without a body."""

from __future__ import annotations

from kore_campaign_async import wire
from kore_campaign_async.endpoints import envelope
from kore_campaign_async.message import Request, Response
from kore_campaign_async.models import ContactList


def build(app_id: str, account_id: str) -> Request[tuple[ContactList, ...]]:
    """Build the call. Repeatable: it reads."""
    app = envelope.quoted_id(app_id, "application id")
    return Request(
        endpoint="getAllListDetails",
        method="POST",
        path=f"/campaign/api/v2/public/{app}/campaign/contactList/getAllListDetails",
        query=(
            (wire.QUERY_ACCOUNT_ID, envelope.quoted_id(account_id, "account id")),
            (wire.QUERY_TYPE, wire.TYPE_CALL),
        ),
        parse=parse,
        repeatable=True,
        listing=True,
    )


def parse(response: Response) -> tuple[ContactList, ...]:
    """Read the reply: all lists, in the API's order."""
    data = envelope.open_envelope(response).get(wire.DATA)
    if not isinstance(data, list):
        raise envelope.unreadable(response, "the reply holds no array of lists")
    return tuple(envelope.structured(response, item, ContactList) for item in data)
