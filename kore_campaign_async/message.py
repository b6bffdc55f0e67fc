"""A request and a response as plain values: what an endpoint builds and deciphers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

from attrs import define, field, frozen

T = TypeVar("T")

#: A longer reply is worked through off the event loop: a listing can have tens of megabytes.
LARGE_REPLY_BYTES: Final = 1 << 18


@frozen
class Response:
    """A real response, whole and within its bounds.

    Attributes:
        headers: names in lower case.
        method: of the request that it answers.
        path: of the request that it answers.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    method: str = ""
    path: str = ""


@frozen(kw_only=True)
class Request(Generic[T]):
    """One call of the API.

    Attributes:
        endpoint: its name, for logs and hooks.
        path: quoted already; it goes to the server as it is.
        query: in the order they are sent, values quoted already.
        body: the literal bytes, or None for a request without one.
        parse: deciphers a 2xx response, or raises a `CallError`.
        repeatable: whether a call that may have been processed can be sent again without harm.
        listing: whether the reply may be as long as a listing of lists.
    """

    method: str
    path: str
    parse: Callable[[Response], T] = field(repr=False)
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    repeatable: bool = False
    listing: bool = False
    endpoint: str = ""


@define
class Sending:
    """How far one attempt of a request has come.

    Attributes:
        begun: whether something of the body was written.
        response: what came back whole, whatever it says.
    """

    begun: bool = False
    response: Response | None = None
