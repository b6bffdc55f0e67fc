"""Create a contact list (`api/create-contact-list.md`).

The sample's body says `name1` and `passiveApiIntegration` where the table says `name` and `passiveApi`: the
table holds.
"""

from __future__ import annotations

from kore_campaign_async import wire
from kore_campaign_async.endpoints import envelope
from kore_campaign_async.message import Request, Response
from kore_campaign_async.models import ContactList


def build(
    app_id: str,
    name: str,
    description: str,
    *,
    allow_duplicates: bool = False,
    source: str = wire.SOURCE_PASSIVE_API,
) -> Request[ContactList]:
    """Build the call. Not repeatable: a second one could make a second list.

    Raises:
        InvalidRequestError: a name of other than 1 to 48 characters, a description of other than 1 to 256.
    """
    body = {
        wire.NAME: envelope.checked_text(name, "list name", envelope.NAME_CHARACTERS),
        wire.DESCRIPTION: envelope.checked_text(description, "description", envelope.DESCRIPTION_CHARACTERS),
        wire.SOURCE: envelope.checked_text(source, "source"),
        wire.ALLOW_DUPLICATES: envelope.checked_flag(allow_duplicates, "allow_duplicates"),
    }
    app = envelope.quoted_id(app_id, "application id")
    return Request(
        endpoint="createContactList",
        method="POST",
        path=f"/agentassist/api/v1/public/{app}/campaign/contactList/createContactList",
        body=envelope.to_body(body),
        parse=parse,
    )


def parse(response: Response) -> ContactList:
    """Read the reply: the list in full."""
    return envelope.structured(response, envelope.open_envelope(response).get(wire.DATA), ContactList)
