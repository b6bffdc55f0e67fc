"""Add contacts to a contact list (`api/add-contacts.md`).

The only reply that counts is the one that says the job is queued ("in progress"). There is no idempotency
key, so whether the call is repeatable is for the caller to say.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from kore_campaign_async import wire
from kore_campaign_async.endpoints import envelope
from kore_campaign_async.errors import InvalidRequestError, UnexpectedReplyError
from kore_campaign_async.message import Request, Response
from kore_campaign_async.models import Contact, QueuedJob

_QUEUED = re.compile("in progress", re.ASCII | re.IGNORECASE)


def build(
    app_id: str, contact_list_name: str, contacts: Sequence[Contact], *, repeatable: bool = False
) -> Request[QueuedJob]:
    """Build the call from contacts.

    Raises:
        InvalidRequestError: no contacts, a contact without a number, or one whose further columns take the
            name of a known field.
    """
    if not contacts:
        raise InvalidRequestError("there are no contacts to add")
    for index, contact in enumerate(contacts):
        if not contact.phone_number:
            raise InvalidRequestError(f"contacts[{index}] has no phone number")
        for name in contact.extra:
            if name in wire.CONTACT_FIELDS:
                raise InvalidRequestError(
                    f"contacts[{index}].extra holds {name!r}, which is a field of its own: set the attribute"
                )
    encoded = envelope.to_body([wire.converter.unstructure(contact) for contact in contacts])[1:-1]
    return build_encoded(app_id, contact_list_name, encoded, contacts=len(contacts), repeatable=repeatable)


def opening(contact_list_name: str) -> bytes:
    """What stands before the first contact of a body."""
    return _opening(envelope.checked_text(contact_list_name, "list name"))


# A run makes thousands of calls for one list of one application.
@functools.lru_cache(maxsize=64)
def _opening(name: str) -> bytes:
    return envelope.to_body({wire.CONTACT_LIST_NAME: name, wire.DATA: []})[: -len(CLOSING)]


CLOSING = b"]}"


def build_encoded(
    app_id: str, contact_list_name: str, encoded: bytes, *, contacts: int, repeatable: bool = False
) -> Request[QueuedJob]:
    """Build the call from contacts that are JSON objects already, with commas between them."""
    return Request(
        endpoint="addContacts",
        method="POST",
        path=_path(app_id),
        body=b"".join((opening(contact_list_name), encoded, CLOSING)),
        parse=functools.partial(parse, contacts=contacts),
        repeatable=repeatable,
    )


@functools.lru_cache(maxsize=64)
def _path(app_id: str) -> str:
    app = envelope.quoted_id(app_id, "application id")
    return f"/api/1.1/public/{app}/campaign/contactList/addContacts"


def says_queued(words: str | None) -> bool:
    """Whether a reply's message says that the job is queued."""
    return words is not None and _QUEUED.search(words) is not None


def parse(response: Response, *, contacts: int) -> QueuedJob:
    """Read the reply: a queued job.

    Raises:
        UnreadableReplyError: the reply is not a JSON object.
        UnexpectedReplyError: its message does not say that the job is queued.
    """
    value = envelope.read_object(response)
    message = value.get(wire.MESSAGE)
    if not isinstance(message, str) or not says_queued(message):
        raise UnexpectedReplyError(
            "the reply does not say that the contacts were queued",
            response.method,
            response.path,
            response.status,
            envelope.words_of(response),
        )
    return QueuedJob(message=message, contacts=contacts, raw=value)
