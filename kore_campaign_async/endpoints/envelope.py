"""What the endpoints share: checked values, quoted paths, and the reply's envelope. Pure.

What a reply says beside its HTTP status is judged here and nowhere else: `error_in` tells whether it is an error
envelope, which is a refusal whatever the status, and `is_free_of_errors` whether nothing in it speaks against success.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

from cattrs import transform_error
from cattrs.errors import BaseValidationError

from kore_campaign_async import wire
from kore_campaign_async.errors import CallError, InvalidRequestError, UnreadableReplyError, UnsuccessfulError
from kore_campaign_async.message import Response
from kore_campaign_async.redaction import printable, without_tokens

T = TypeVar("T")
E = TypeVar("E", bound=CallError)

NAME_CHARACTERS: Final = 48
DESCRIPTION_CHARACTERS: Final = 256
_WORDS_CHARACTERS: Final = 300
_DEPTH: Final = 3  # how deep words are looked for in an error's body
_CODE_CHARACTERS: Final = 40

# Under which an error's words stand, in the vendor's samples and elsewhere.
_WORDS: Final = ("message", "msg", "description")

# An id that holds one of these would address something else than it says.
_ID = re.compile(r"[!-~]+", re.ASCII)
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
    value = json_in(body)
    return words_in(value) if isinstance(value, dict) else None


def json_in(body: bytes) -> Any:
    """The JSON that a body is; None also for what is no JSON."""
    try:
        return wire.loads(body)
    except ValueError:
        return None


def words_in(value: dict[str, Any]) -> str:
    """The same of a JSON object that is read already: its texts, each behind the error's code where it has one."""
    found = _coded(value, ("message", "msg"), 0)
    for key in ("error", "errors"):
        found += _texts_in(value.get(key))
    return "; ".join(found + _texts_in(value.get("description")))


def _texts_in(value: Any, depth: int = 0) -> list[str]:
    if isinstance(value, str) and value:
        return [value]
    if isinstance(value, list) and depth < _DEPTH:
        return [text for item in value[:10] for text in _texts_in(item, depth + 1)]
    return _coded(value, _WORDS, depth + 1) if isinstance(value, dict) and depth < _DEPTH else []


def _coded(value: dict[str, Any], keys: Sequence[str], depth: int) -> list[str]:
    """The texts under these keys of an object, the first one behind the object's code: `4002: Permission denied`."""
    found = [text for key in keys for text in _texts_in(value.get(key), depth)]
    code = value.get("code")
    is_one = (isinstance(code, int) and not isinstance(code, bool)) or (isinstance(code, str) and code)
    if found and is_one and not found[0].startswith(f"{code}: "):
        found[0] = f"{str(code)[:_CODE_CHARACTERS]}: {found[0]}"
    return found


def words_of(response: Response) -> str:
    """The server's own words: shortened, control characters escaped, tokens masked."""
    # Room for what escaping and masking take away, so that a megabyte is not worked through for a line.
    most = _WORDS_CHARACTERS * 8
    value = json_in(response.body)
    said = words_in(value) if isinstance(value, dict) else value if isinstance(value, str) else ""
    words = (said or response.body[:most].decode("utf-8", "replace"))[:most].strip()
    words = printable(without_tokens(words))
    return words if len(words) <= _WORDS_CHARACTERS else words[:_WORDS_CHARACTERS] + "…"


def unreadable(response: Response, why: str) -> UnreadableReplyError:
    """The error for a reply of a promising status that does not say what was promised."""
    return error_for(UnreadableReplyError, why, response)


def read_object(response: Response) -> dict[str, Any]:
    """The reply's JSON object, or UnreadableReplyError."""
    value = json_in(response.body)
    if not isinstance(value, dict):
        page = response.body.lstrip()[:1] == b"<"
        raise unreadable(response, f"the reply is {'a page of HTML' if page else 'not a JSON object'}")
    return value


def open_envelope(response: Response) -> dict[str, Any]:
    """The whole envelope of a reply that says success.

    Raises:
        UnsuccessfulError: it is an error envelope.
        UnreadableReplyError: there is no envelope.
    """
    value = read_object(response)
    refuse_errors(response, value)
    if not isinstance(value.get(wire.STATUS), str):
        raise unreadable(response, "the reply has no status")
    return value


def error_in(value: Any) -> str | None:
    """Why a reply's JSON is an error envelope; None if it is none.

    It is one with an `errors` that holds something, or with a text for `status` that is not success. A status of
    another type, such as a gateway's number, says nothing of the call.
    """
    if not isinstance(value, dict):
        return None
    status = value.get(wire.STATUS)
    if isinstance(status, str) and not _is_success(status):
        return f"the reply's status is {status[:40]!r}, not success"
    errors = value.get(wire.ERRORS)
    return "the reply names errors" if isinstance(errors, dict | list | str) and errors else None


def is_free_of_errors(value: dict[str, Any]) -> bool:
    """Whether nothing that a reply has beside its message speaks against success; more than being no error envelope."""
    judged = {wire.STATUS, wire.ERRORS, wire.ERROR, wire.SUCCESS}
    # Keys in another letter case are the same ones; two of them may contradict each other.
    named = [key for key in value if key.lower() in judged]
    if len({key.lower() for key in named}) < len(named):
        return False
    value = {key.lower(): value[key] for key in named}
    status = value.get(wire.STATUS, wire.SUCCESS)
    return (
        isinstance(status, str)
        and _is_success(status)
        and value.get(wire.ERRORS) in (None, [], {})
        # No document has this one; a reply that fills it is not trusted all the same.
        and value.get(wire.ERROR) in (None, False, "", [], {})
        and value.get(wire.SUCCESS, True) is True
    )


def _is_success(status: str) -> bool:
    # ASCII case aside: other letters have lower cases in ASCII.
    return status.isascii() and status.lower() == wire.SUCCESS


def refuse_errors(response: Response, value: dict[str, Any]) -> None:
    """Raise UnsuccessfulError if a reply is an error envelope."""
    why = error_in(value)
    if why is not None:
        raise error_for(UnsuccessfulError, why, response)


def error_for(kind: type[E], why: str, response: Response) -> E:
    """The error that a response is, with its status and its own words."""
    return kind(why, response.method, response.path, response.status, words_of(response))


def structured(response: Response, value: Any, kind: type[T]) -> T:
    """A model from a part of a reply, or UnreadableReplyError with the paths of what is wrong."""
    try:
        return wire.converter.structure(value, kind)
    except (BaseValidationError, TypeError, ValueError, AttributeError) as error:
        why = "; ".join(transform_error(error))
    raise unreadable(response, f"the reply is not as documented: {why[:200]}")
