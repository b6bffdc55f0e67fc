"""Add contacts to a contact list (`api/add-contacts.md`).

The only replies that count are the two documented ones that say the job is queued (`api/facts.md`). There is no
idempotency key, so whether the call is repeatable is for the caller to say.
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

# The words between name a list. Nothing stands before or behind, so that no sentence that ends alike is taken for one.
_QUEUED = re.compile(
    r"(?:adding contacts to (?P<list>(?=\S).*\S) is in progress|contacts queued for addition)\.?",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
# What stands for the list is any words, but none of a failure: "… failed because another upload is in progress".
_FAILURE = re.compile(
    r"\b(?:fail\w*|not|no|can\W?t|cannot|could\w*|unable|error\w*|denied|refused|rejected|because|since|while|when|until"
    r"|another|already|after|before|stopped|aborted|cancell?ed|exceed\w*|limit\w*|invalid|busy|retry|again)\b",
    re.ASCII | re.IGNORECASE,
)


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
        parse=functools.partial(parse, contacts=contacts, contact_list_name=contact_list_name),
        repeatable=repeatable,
    )


@functools.lru_cache(maxsize=64)
def _path(app_id: str) -> str:
    app = envelope.quoted_id(app_id, "application id")
    return f"/api/1.1/public/{app}/campaign/contactList/addContacts"


def says_queued(words: str | None, contact_list_name: str = "") -> bool:
    """Whether a reply's message is one of the two that say that the job is queued.

    ASCII case and a closing full stop aside.

    Args:
        words: the message.
        contact_list_name: whatever words a list is called by, they are none of a failure.
    """
    found = _QUEUED.fullmatch(words.strip()) if words is not None else None
    if found is None:
        return False
    where = found["list"] or ""
    return _FAILURE.search(where.replace(contact_list_name, "") if contact_list_name else where) is None


def parse(response: Response, *, contacts: int, contact_list_name: str = "") -> QueuedJob:
    """Read the reply: a queued job.

    Raises:
        UnsuccessfulError: it is an error envelope, whatever its message says.
        UnreadableReplyError: it is not a JSON object.
        UnexpectedReplyError: it does not say that the job is queued, or something in it speaks against that.
    """
    value = envelope.read_object(response)
    envelope.refuse_errors(response, value)
    message = value.get(wire.MESSAGE)
    if (
        not isinstance(message, str)
        or not says_queued(message, contact_list_name)
        or not envelope.is_free_of_errors(value)
    ):
        raise envelope.error_for(UnexpectedReplyError, "the reply does not say that the contacts were queued", response)
    return QueuedJob(message=str(message), contacts=contacts, raw=value)
