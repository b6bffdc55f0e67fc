"""What the endpoints share: checked values, quoted paths, and the reply's envelope. Pure."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar
from urllib.parse import quote

from cattrs import transform_error
from cattrs.errors import BaseValidationError

from kore_campaign_async import wire
from kore_campaign_async.errors import InvalidRequestError, UnreadableReplyError, UnsuccessfulError
from kore_campaign_async.message import Response

T = TypeVar("T")

NAME_CHARACTERS: Final = 48
DESCRIPTION_CHARACTERS: Final = 256
_WORDS_CHARACTERS: Final = 300
_DEPTH: Final = 3  # how deep words are looked for in an error's body

# An id that holds one of these would address something else than it says.
_ID = re.compile(r"[!-~]+", re.ASCII)
_JWT = re.compile(r"eyJ[\w-]+(?:\.[\w-]*){2,}", re.ASCII)
_NOT_IN_ID = re.compile(r"[/?#\\]")


def checked_id(value: str, what: str) -> str:
    """Return an id as it is, or raise InvalidRequestError."""
    if not isinstance(value, str) or not value:
        raise InvalidRequestError(f"the {what} is missing")
    if _ID.fullmatch(value) is None or _NOT_IN_ID.search(value) or value in {".", ".."}:
        raise InvalidRequestError(
            f"the {what} {value!r} can't be right: an id has no blanks, line ends, '/', '?', '#' or '\\'"
        )
    return value


def quoted_id(value: str, what: str) -> str:
    """Return an id as a part of a path or a query, or raise InvalidRequestError."""
    return quote(checked_id(value, what), safe="")


def checked_text(value: str, what: str, limit: int | None = None) -> str:
    """Return a text of 1 to `limit` characters as it is, or raise InvalidRequestError."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidRequestError(f"the {what} is empty")
    if limit is not None and len(value) > limit:
        raise InvalidRequestError(
            f"the {what} has {len(value)} characters; the API takes at most {limit}: {value[:24]!r}…"
        )
    return value


def checked_flag(value: bool, what: str) -> bool:
    """Return a boolean as it is, or raise InvalidRequestError: the text "false" must not mean true."""
    if not isinstance(value, bool):
        raise InvalidRequestError(f"{what} is {value!r}; it must be True or False")
    return value


def to_body(value: dict[str, Any] | list[Any]) -> bytes:
    """Serialise a body, or raise InvalidRequestError."""
    try:
        return wire.dumps(value)
    except (TypeError, ValueError) as error:
        # orjson's message names a type or an encoding, never a value.
        raise InvalidRequestError(f"the request can't be written as JSON: {error}") from None


def json_words(body: bytes) -> str | None:
    """What a JSON object says to a reader (`message`, `error`, `errors`), or None for any other body."""
    try:
        value = wire.loads(body)
    except ValueError:
        return None
    if not isinstance(value, dict):
        return None
    found: list[str] = []
    for key in ("message", "msg", "error", "errors", "description"):
        _texts_in(value.get(key), found)
    return "; ".join(found)


def _texts_in(value: Any, found: list[str], depth: int = 0) -> None:
    if isinstance(value, str) and value:
        found.append(value)
    elif isinstance(value, list) and depth < _DEPTH:
        for item in value[:10]:
            _texts_in(item, found, depth + 1)
    elif isinstance(value, dict) and depth < _DEPTH:
        for key in ("message", "msg", "description"):
            _texts_in(value.get(key), found, depth + 1)


def words_of(response: Response) -> str:
    """The server's own words: shortened, control characters escaped, tokens masked."""
    # Room for what escaping and masking take away, so that a megabyte is not worked through for a line.
    most = _WORDS_CHARACTERS * 8
    words = (json_words(response.body) or response.body[:most].decode("utf-8", "replace"))[:most].strip()
    words = _JWT.sub("***", words)
    words = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
    return words if len(words) <= _WORDS_CHARACTERS else words[:_WORDS_CHARACTERS] + "…"


def unreadable(response: Response, why: str) -> UnreadableReplyError:
    """The error for a reply of a promising status that does not say what was promised."""
    return UnreadableReplyError(why, response.method, response.path, response.status, words_of(response))


def read_object(response: Response) -> dict[str, Any]:
    """The reply's JSON object, or UnreadableReplyError."""
    try:
        value = wire.loads(response.body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        page = response.body.lstrip()[:1] == b"<"
        raise unreadable(response, f"the reply is {'a page of HTML' if page else 'not a JSON object'}")
    return value


def open_envelope(response: Response) -> dict[str, Any]:
    """The whole envelope of a reply whose status is success.

    Raises:
        UnsuccessfulError: the envelope says something else than success.
        UnreadableReplyError: there is no envelope.
    """
    value = read_object(response)
    status = value.get(wire.STATUS)
    if not isinstance(status, str):
        raise unreadable(response, "the reply has no status")
    if status != wire.SUCCESS:
        raise UnsuccessfulError(
            f"the reply's status is {status[:40]!r}, not success",
            response.method,
            response.path,
            response.status,
            words_of(response),
        )
    return value


def structured(response: Response, value: Any, kind: type[T]) -> T:
    """A model from a part of a reply, or UnreadableReplyError with the paths of what is wrong."""
    try:
        return wire.converter.structure(value, kind)
    except (BaseValidationError, TypeError, ValueError, AttributeError) as error:
        why = "; ".join(transform_error(error))
    raise unreadable(response, f"the reply is not as documented: {why[:200]}")
