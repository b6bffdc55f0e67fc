"""Update a contact list by its id (`api/update-contact-list.newer.md`).

Only what the caller gave is sent; what is left out stays as it is. `source` stands only on the older page, so
it is sent only when it is named. The older page's sample shows the create URL: the endpoint row holds.
"""

from __future__ import annotations

from kore_campaign_async import wire
from kore_campaign_async.endpoints import envelope
from kore_campaign_async.errors import InvalidRequestError
from kore_campaign_async.message import Request, Response
from kore_campaign_async.models import ContactListUpdate


def build(
    app_id: str,
    contact_list_id: str,
    *,
    name: str | None = None,
    description: str | None = None,
    allow_duplicates: bool | None = None,
    source: str | None = None,
) -> Request[ContactListUpdate]:
    """Build the call. Repeatable: updating twice is updating once.

    Raises:
        InvalidRequestError: nothing to update, an id that can't be one, a text of a wrong length.
    """
    body: dict[str, str | bool] = {}
    if name is not None:
        body[wire.NAME] = envelope.checked_text(name, "list name", envelope.NAME_CHARACTERS)
    if description is not None:
        body[wire.DESCRIPTION] = envelope.checked_text(description, "description", envelope.DESCRIPTION_CHARACTERS)
    if source is not None:
        body[wire.SOURCE] = envelope.checked_text(source, "source")
    if allow_duplicates is not None:
        body[wire.ALLOW_DUPLICATES] = envelope.checked_flag(allow_duplicates, "allow_duplicates")
    if not body:
        raise InvalidRequestError(
            "nothing to update: give at least one of name, description, allow_duplicates and source"
        )
    app = envelope.quoted_id(app_id, "application id")
    list_id = envelope.quoted_id(contact_list_id, "contact list id")
    return Request(
        endpoint="updateContactList",
        method="PUT",
        path=f"/agentassist/api/v1/public/{app}/campaign/contactList/{list_id}",
        body=envelope.to_body(body),
        parse=parse,
        repeatable=True,
    )


def parse(response: Response) -> ContactListUpdate:
    """Read the reply: the list's id and what was updated."""
    return envelope.structured(response, envelope.open_envelope(response), ContactListUpdate)
