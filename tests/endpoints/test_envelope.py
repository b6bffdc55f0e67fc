"""What the endpoints share: ids and texts are checked, replies are opened, the server's words are made safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kore_campaign_async.endpoints import (
    add_contacts,
    create_contact_list,
    envelope,
    get_contact_list,
    list_contact_lists,
    update_contact_list,
)
from kore_campaign_async.errors import (
    CallOutcome,
    InvalidRequestError,
    UnreadableReplyError,
    UnsuccessfulError,
)
from kore_campaign_async.message import Request, Response
from kore_campaign_async.models import Contact

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIiwiYXBwSWQiOiJjcy0xIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"

# An app can enforce JWE (`api/facts.md`): five parts, the second empty where the key is agreed upon.
JWE = "eyJhbGciOiJSU0EtT0FFUCJ9.a2V5LXRoYXQtaXMtd3JhcHBlZA.aW5pdGlhbGlzaW5n.Y2lwaGVydGV4dA.dGFnLW9mLWl0"
JWE_DIRECT = "eyJhbGciOiJkaXIifQ..aW5pdGlhbGlzaW5n.Y2lwaGVydGV4dA.dGFnLW9mLWl0"

# Every place where an id goes into an address.
PLACES: dict[str, Callable[[str], Request[Any]]] = {
    "create: application": lambda value: create_contact_list.build(value, "n", "d"),
    "add: application": lambda value: add_contacts.build(value, "n", [Contact("1234567")]),
    "update: application": lambda value: update_contact_list.build(value, "cl-1", name="n"),
    "update: list": lambda value: update_contact_list.build("st-1", value, name="n"),
    "listing: application": lambda value: list_contact_lists.build(value, "acc"),
    "listing: account": lambda value: list_contact_lists.build("st-1", value),
    "get: application": lambda value: get_contact_list.build(value, "acc", "cl-1"),
    "get: account": lambda value: get_contact_list.build("st-1", value, "cl-1"),
    "get: list": lambda value: get_contact_list.build("st-1", "acc", value),
}
BAD_IDS = [
    "",
    " ",
    "a b",
    " a",
    "a\n",
    "a\r\nauth: x",
    "a\tb",
    "a\x00b",
    "a/b",
    "a?b",
    "a#b",
    "a\\b",
    "..",
    ".",
    "../x",
    "ä",
    "a\u2028b",
    "٣",
    None,
    5,
]


def reply(body: bytes, status: int = 200) -> Response:
    return Response(status, {}, body, "PUT", "/p")


def words_of(message: str) -> str:
    return envelope.words_of(reply(orjson.dumps({"message": message})))


@pytest.mark.parametrize("value", BAD_IDS)
@pytest.mark.parametrize("place", PLACES)
def test_an_id_that_would_address_something_else_is_refused(place: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError):
        PLACES[place](value)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        ("a%b", "a%25b"),
        ("%2e%2e", "%252e%252e"),
        ("%2F", "%252F"),
        ("a&b=c", "a%26b%3Dc"),
        ("a;b,c:d@e+f", "a%3Bb%2Cc%3Ad%40e%2Bf"),
        ("a..b", "a..b"),
        ("st-0603182c_7.~", "st-0603182c_7.~"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_an_id_is_quoted(place: str, value: str, quoted: str) -> None:
    request = PLACES[place](value)
    address = [*request.path.split("/"), *(text for _, text in request.query)]
    assert address.count(quoted) == 1


@settings(deadline=None)
@given(st.text("ab./?#\\%& \r\n\x00:é", max_size=6))
def test_no_id_changes_the_address_around_it(value: str) -> None:
    """Whatever is given: the path keeps its parts, or the id is refused."""
    usual = get_contact_list.build("st-1", "acc", "cl-1").path.split("/")
    try:
        request = get_contact_list.build("st-1", "acc", value)
    except InvalidRequestError:
        return
    parts = request.path.split("/")
    assert parts[:-1] == usual[:-1]
    assert parts[-1] not in {"", ".", ".."}
    assert request.path.isascii()
    assert not set(request.path) & set("?#\\ \r\n\x00")


def test_the_refusal_names_the_id_and_its_value() -> None:
    with pytest.raises(InvalidRequestError, match="the contact list id 'a/b' can't be right"):
        get_contact_list.build("st-1", "acc", "a/b")
    with pytest.raises(InvalidRequestError, match="the account id is missing"):
        get_contact_list.build("st-1", "", "cl-1")


def test_a_text_that_is_too_long_is_not_repeated_in_full() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        envelope.checked_text("x" * 10_000, "list name", 48)
    assert len(str(caught.value)) < 150


def test_a_text_without_a_limit() -> None:
    assert envelope.checked_text("x" * 10_000, "source") == "x" * 10_000


UNREADABLE = [
    b"",
    b" ",
    b"null",
    b"[]",
    b"[{}]",
    b"true",
    b"5",
    b'"success"',
    b"{",
    b'{"status":"success","data":[]',
    b'{"status":"success","data":[]}}',
    b"{'status':'success'}",
    b'{"status":"success","data":NaN}',
    b"\xff\xfe",
    b'{"status":"success","message":"\xff","data":[]}',
    b'{"status":"success","message":"\\ud800","data":[]}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"status":"success","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b"<!DOCTYPE html><html>login</html>",
    b"{}",
    b'{"status":null}',
    b'{"status":true,"data":[]}',
    b'{"status":200,"data":[]}',
    b'{"data":[]}',
]


@pytest.mark.parametrize(
    "parse",
    [
        create_contact_list.parse,
        update_contact_list.parse,
        list_contact_lists.parse,
        get_contact_list.parse,
    ],
)
@pytest.mark.parametrize("body", UNREADABLE)
def test_without_an_envelope_a_reply_is_unreadable(parse: Callable[[Response], Any], body: bytes) -> None:
    """It may have been processed: only an envelope says."""
    with pytest.raises(UnreadableReplyError) as caught:
        parse(reply(body))
    error = caught.value
    assert error.outcome is CallOutcome.MAYBE_PROCESSED
    assert (error.method, error.path, error.status) == ("PUT", "/p", 200)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert len(str(error)) < 600


@pytest.mark.parametrize("status", ["failed", "error", "", "success ", "succes\u017f"])
def test_another_status_than_success_is_a_no(status: str) -> None:
    body = orjson.dumps({"status": status, "message": "not allowed", "data": []})
    with pytest.raises(UnsuccessfulError) as caught:
        envelope.open_envelope(reply(body))
    error = caught.value
    assert error.outcome is CallOutcome.REFUSED
    assert error.words == "not allowed"
    assert error.reason == f"the reply's status is {status!r}, not success"


@pytest.mark.parametrize("status", ["success", "Success", "SUCCESS"])
def test_ascii_case_makes_no_difference_to_success(status: str) -> None:
    value = {"status": status, "data": []}
    assert envelope.open_envelope(reply(orjson.dumps(value))) == value


def test_the_whole_envelope_comes_back() -> None:
    assert envelope.open_envelope(reply(b'{"status":"success","new":1}')) == {"status": "success", "new": 1}


def test_words_come_from_the_json() -> None:
    assert words_of("try later") == "try later"
    body = b'{"errors":[{"msg":"one"},{"message":"two","code":7},"three"],"error":{"description":"four"}}'
    assert envelope.words_of(reply(body)) == "four; one; 7: two; three"


@pytest.mark.parametrize("body", [b"plain words", b'["plain words"]', b'{"code":7}'])
def test_words_of_another_shape_are_the_body(body: bytes) -> None:
    assert envelope.words_of(reply(body)) == body.decode()


def test_words_are_shortened() -> None:
    assert words_of("x" * 300) == "x" * 300
    assert words_of("x" * 301) == "x" * 300 + "…"
    assert envelope.words_of(reply(b"y" * 1_000_000)) == "y" * 300 + "…"


def test_control_characters_are_escaped() -> None:
    """They would write other lines into a log, or paint a terminal."""
    assert words_of("a\r\nINFO b\tc\x1b[31md\x00\u202ee\u2028f") == (r"a\r\nINFO b\tc\x1b[31md\x00\u202ee\u2028f")
    assert envelope.words_of(reply(b"a\nb\xff")) == "a\\nb\ufffd"


@settings(deadline=None)
@given(st.text(st.characters(max_codepoint=0x2FFF, exclude_categories=["Cs"]), max_size=400))
def test_words_are_one_printable_line_of_a_bounded_length(message: str) -> None:
    words = words_of(message + "x")
    assert words.isprintable()
    assert len(words) <= 301


@pytest.mark.parametrize(
    "text",
    [
        f"invalid token {JWT}",
        f"invalid token {JWE}",
        f"invalid token {JWE_DIRECT}",
        f"auth:{JWT}, sent twice: '{JWT}'",
        f"Bearer {JWT}.more",
        "x" * 290 + JWT,
        "x" * 299 + " " + JWT,
    ],
)
def test_tokens_in_the_servers_words_are_masked(text: str) -> None:
    """Also where the shortening cuts one."""
    for words in (
        words_of(text),
        envelope.words_of(reply(text.encode())),
        envelope.words_of(reply(orjson.dumps([text]))),
    ):
        for part in f"{JWT}.{JWE}.{JWE_DIRECT}".split("."):
            assert not part or part[:8] not in words


def test_masked_words_say_the_rest() -> None:
    assert words_of(f"the token {JWT} is used up") == "the token *** is used up"


def test_tokens_in_an_unreadable_or_refused_reply_are_masked() -> None:
    with pytest.raises(UnreadableReplyError) as unreadable:
        envelope.open_envelope(reply(b"<p>" + JWT.encode()))
    with pytest.raises(UnsuccessfulError) as refused:
        envelope.open_envelope(reply(orjson.dumps({"status": "failed", "message": JWT})))
    for error in (unreadable.value, refused.value):
        assert "eyJ" not in str(error) + repr(error) + repr(error.args)
