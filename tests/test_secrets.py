"""A sweep: every exception and every way to stop a run is provoked, and no secret, token or number is shown by it.

A leak is named by what is shown, how it is spelt, and where. Locals of this file's own frames are left out, and no
others: a test has to hold the secret that it looks for.
"""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import functools
import gc
import gzip
import html
import inspect
import json
import logging
import os
import pickle
import re
import sqlite3
import traceback
import uuid
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import quote

import jwt
import orjson
import pytest
from attrs import define, evolve, field
from cli.shell import Said, kore_campaign
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fakes import (
    QUICK_RETRY,
    RATE_LIMIT_WORDS,
    Connection,
    Handler,
    RawRequest,
    RawServer,
    chain,
    client_for,
    enveloped,
    eventually,
    make_certificate,
    raw_server,
    reply,
    said,
)

import kore_campaign_async
from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    Contact,
    IngestOptions,
    JwtCredentials,
    Network,
    Progress,
    StaticToken,
    Timeouts,
    errors,
    ingest_contacts,
    iter_outcomes,
    resume_ingest,
)
from kore_campaign_async.auth import Token
from kore_campaign_async.errors import CallError, CredentialsError, KoreCampaignError
from kore_campaign_async.ingest.directory import RunLock
from kore_campaign_async.ingest.files import RunFiles
from kore_campaign_async.ingest.report import Tally
from kore_campaign_async.sandbox import Fault, Sandbox
from kore_campaign_async.sandbox.faults import KINDS as FAULTS

PASSWORD: Final = "a-password-of+the=host"
SECRET: Final = 'a-client/secret+with"quotes"=and&<marks>-that-nobody-may-see=='
SIGNED: Final = jwt.encode({"sub": "nobody", "appId": "cs-1", "jti": "made elsewhere"}, SECRET, algorithm="HS256")
OPAQUE: Final = 'an/opaque+token&of<"somebody">%who+is/not=named=='
#: What nothing may show, beside the tokens that are minted in a test.
KEPT: Final = {"the secret": SECRET, "the token": SIGNED, "the opaque token": OPAQUE, "the password": PASSWORD}

LIST: Final = "Renewals"
BRIEF: Final = evolve(QUICK_RETRY, deadline_seconds=0.01, retry_after_max_seconds=0.001)
IDS: Final = {"app_id": "st-0603182c", "account_id": "67777ce9"}
ANA: Final = Contact("+14155550123", first_name="Ana")


# What is looked for


Shown = Iterable[tuple[str, str | bytes]]

PIECE: Final = 12
_JWT_HEADER: Final = "eyJhbGciOi"


def pieces(secret: str) -> Iterator[str]:
    """Pieces of a secret, so that a part of it is found too. A JWT's header and a PEM's frame are no secrets."""
    for line in re.sub(r"-----[A-Z ]+-----", "", secret).splitlines():
        for part in line.split("."):
            if part and not part.startswith(_JWT_HEADER):
                yield from (part[at : at + PIECE] for at in range(0, len(part) - PIECE, PIECE))
                yield part[-PIECE:]


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


def in_php(text: str) -> str:
    return in_json(text).replace("/", "\\/")


def in_json_numbers(text: str) -> str:
    return "".join(f"\\u{ord(letter):04x}" for letter in text)


def in_html_numbers(text: str) -> str:
    return "".join(f"&#{ord(letter)};" for letter in text)


def spellings(piece: str) -> dict[str, str]:
    """The ways in which a piece can stand in a text."""
    spelt = {
        "as it is": piece,
        "as in a URL": quote(piece, safe=""),
        "as in HTML": html.escape(piece),
        "as in JSON": in_json(piece),
        "as in JSON with escaped slashes": in_php(piece),
        "as in JSON in JSON": in_json(in_json(piece)),
        "as in JSON by numbers": in_json_numbers(piece),
        "as in HTML by numbers": in_html_numbers(piece),
        "as in a repr": repr(piece)[1:-1],
        "in hex": piece.encode().hex(),
    }
    # Its place among the other bytes decides what base64 makes of it; the characters at its ends are not its own.
    for before, foreign in enumerate((0, 2, 3)):
        coded = base64.b64encode(b"\0" * before + piece.encode()).decode()
        coded = coded[foreign : (before + len(piece)) * 8 // 6]
        spelt[f"in base64, {before} behind"] = coded
        spelt[f"in base64 for URLs, {before} behind"] = coded.translate({ord("+"): "-", ord("/"): "_"})
    return spelt


@functools.cache
def needles(secret: str) -> dict[str, str]:
    """Every spelling of every piece of a secret, with the first name that fits it."""
    found: dict[str, str] = {}
    for piece in pieces(secret):
        for how, text in spellings(piece).items():
            found.setdefault(text, how)
    return found


def leaks(secrets: Mapping[str, str], *places: Shown) -> list[str]:
    """What is shown of these secrets, how it is spelt, and where; nothing, if all is well."""
    texts: dict[str, str] = {}
    for where, text in (entry for place in places for entry in place):
        texts.setdefault(text if isinstance(text, str) else text.decode("latin-1"), where)
    return sorted(
        {
            f"{what} {how}: {where}"
            for what, secret in secrets.items()
            for needle, how in needles(secret).items()
            for text, where in texts.items()
            if needle in text
        }
    )


def named(tokens: Iterable[str]) -> dict[str, str]:
    """What must stay hidden where these tokens were minted."""
    return KEPT | {f"minted token {number}": token for number, token in enumerate(tokens, 1)}


# Where it is looked for


def shown_by(error: BaseException) -> Iterator[tuple[str, str | bytes]]:
    """All that an exception and what hangs on it can bring into a log or a crash report."""
    for one in linked(error):
        name = type(one).__name__
        yield f"the text of {name}", str(one)
        yield f"the repr of {name}", repr(one)
        yield f"the args of {name}", repr(one.args)
        for attribute in set(dir(one)) - {"__cause__", "__context__"}:  # slots, notes and properties too
            value = getattr(one, attribute, None)
            if not callable(value):
                yield f"{name}.{attribute}", f"{value} {value!r}"
        if isinstance(one, KoreCampaignError):
            yield f"the pickle of {name}", pickle.dumps(one)
            yield f"the pickle of {name}", pickle.dumps(one, 0)
        report = traceback.TracebackException.from_exception(one, capture_locals=True)
        yield f"the traceback of {name}", "".join(report.format_exception_only())
        for frame in report.stack:
            if frame.filename != __file__:
                for local, text in (frame.locals or {}).items():
                    yield f"local {local} of {frame.name} in {Path(frame.filename).name}", text


class CallersOwnError(Exception):
    """What a caller's function raised: it is theirs, and the sweep stops before it."""


def linked(error: BaseException) -> Iterator[BaseException]:
    """An exception with its causes and contexts, and those that it groups or holds."""
    waiting, seen = [error], set()
    while waiting:
        for one in chain(waiting.pop()):
            if id(one) not in seen and not isinstance(one, CallersOwnError):
                seen.add(id(one))
                yield one
                held = (*one.args, *vars(one).values(), *getattr(one, "exceptions", ()))
                waiting += [more for more in held if isinstance(more, BaseException)]


@define
class Watch:
    """What was logged, warned of, and told to the event loop's handler of exceptions."""

    caplog: pytest.LogCaptureFixture
    warned: list[warnings.WarningMessage]
    told: list[dict[str, Any]] = field(factory=list)

    def shown(self) -> Iterator[tuple[str, str | bytes]]:
        yield "the log", self.caplog.text
        for record in self.caplog.records:
            yield f"the logger {record.name}", f"{record.getMessage()} {record.args!r} {vars(record)!r}"
            if record.exc_info and record.exc_info[1] is not None:
                yield from shown_by(record.exc_info[1])
        for warning in self.warned:
            yield "a warning", f"{warning.message} {warning.message!r} {warning.source!r}"
        for context in self.told:
            yield "what the loop was told", repr(context)
            if "exception" in context:
                yield from shown_by(context["exception"])


@contextmanager
def watching(caplog: pytest.LogCaptureFixture, *, debug: bool = False) -> Iterator[Watch]:
    """Watch the logs, the warnings and the running loop; in its debug mode it logs every callback."""
    for name in (None, "kore_campaign_async", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    loop = asyncio.get_running_loop()
    loop.set_debug(debug)
    if debug:
        loop.slow_callback_duration = 0.0
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        watch = Watch(caplog, warned)
        loop.set_exception_handler(lambda _loop, context: watch.told.append(context))
        try:
            yield watch
        finally:
            gc.collect(1)
            loop.set_debug(False)


def files_in(directory: Path) -> dict[str, bytes]:
    """Every file of a directory as it is now."""
    return {path.name: path.read_bytes() for path in directory.glob("*") if path.is_file()}


# That the sweep finds what is there


class Slotted(Exception):  # noqa: N818  an error of nobody
    __slots__ = ("held",)


class Packed(errors.SourceError):
    """Shows what it holds in its pickle alone."""

    def __init__(self, reveal: Callable[[], str]) -> None:
        super().__init__("-")
        self.reveal = reveal

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (self.reveal(),)


def with_attribute(error: BaseException, name: str, value: Any) -> BaseException:
    setattr(error, name, value)
    return error


def with_note(secret: str) -> BaseException:
    error = LookupError("-")
    error.add_note(f"it was {secret}")
    return error


def raised_beside(held: Any, parameter: str = "held") -> BaseException:
    """An exception from a frame of another file, which has something as a local."""
    made: dict[str, Any] = {}
    code = f"def other({parameter}):\n    raise LookupError('nothing to see here')\n"
    exec(compile(code, "/somewhere/other.py", "exec"), made)  # noqa: S102  the only way to such a frame
    with pytest.raises(LookupError) as caught:
        made["other"](held)
    return caught.value


PLANTS: dict[str, Callable[[str], BaseException]] = {
    "the words": lambda secret: errors.RefusedError("-", "GET", "/", 400, secret),
    "the args": lambda secret: LookupError({"a": [secret]}),
    "a note": with_note,
    "an attribute": lambda secret: with_attribute(LookupError("-"), "a", [secret]),
    "a slot": lambda secret: with_attribute(Slotted("-"), "held", secret),
    "a file name": lambda secret: OSError(2, "-", secret),
    "the pickle": lambda secret: Packed(lambda: secret),
    "a cause": lambda secret: with_attribute(LookupError("-"), "__cause__", ValueError(secret)),
    "a context": lambda secret: with_attribute(LookupError("-"), "__context__", with_note(secret)),
    "a cause's local": lambda secret: with_attribute(LookupError("-"), "__cause__", raised_beside(secret)),
    "a held exception": lambda secret: LookupError(OSError(2, "-", secret)),
    "a grouped exception": lambda secret: ExceptionGroup("-", [LookupError(secret)]),
    "a local": raised_beside,
    "a local in a tuple": lambda secret: raised_beside(secret, "*held"),
    "bytes in a local": lambda secret: raised_beside(secret.encode()),
    "a bytearray in a local": lambda secret: raised_beside(bytearray(secret.encode())),
    "a dict in a local": lambda secret: raised_beside({"auth": [secret]}),
    "a part in a local": lambda secret: raised_beside(f"…{secret[-30:]}"),
}


@pytest.mark.parametrize("place", PLANTS)
def test_the_sweep_finds_what_an_exception_shows(place: str) -> None:
    for what, secret in KEPT.items():
        assert leaks({what: secret}, shown_by(PLANTS[place](secret)))
    assert not leaks(KEPT, shown_by(PLANTS[place]("nothing at all that is secret")))


SPELT: dict[str, Callable[[str], str | bytes]] = {
    "in a URL": lambda secret: quote(secret, safe=""),
    "in HTML": html.escape,
    "in JSON": json.dumps,
    "in JSON by numbers": in_json_numbers,
    "in HTML by numbers": in_html_numbers,
    "in PHP's JSON": in_php,
    "in a repr": repr,
    "in bytes": lambda secret: b"\0\xff" + secret.encode() + b"\0",
    "in hex": lambda secret: secret.encode().hex(),
    **{
        f"in base64 behind {name}": lambda secret, name=name: base64.b64encode(f"{name}:{secret}".encode())
        for name in ("a", "ab", "abc")
    },
    "in base64 for URLs": lambda secret: base64.urlsafe_b64encode(secret.encode()).rstrip(b"="),
    "cut off": lambda secret: secret[: len(secret) // 2 + 12],
    "the end alone": lambda secret: secret[-20:],
}


@pytest.mark.parametrize("how", SPELT)
def test_the_sweep_finds_every_spelling(how: str) -> None:
    for what, secret in KEPT.items():
        assert leaks({what: secret}, [("here", SPELT[how](secret))])


def test_the_sweep_finds_a_part_of_a_token_and_of_a_key() -> None:
    _, payload, signature = SIGNED.split(".")
    for part in (payload, signature):
        assert leaks({"token": SIGNED}, [("here", f"the part {part} is wrong")])
    key = pem()
    for line in key.splitlines()[1:-1]:
        assert leaks({"key": key}, [("here", line)])
    assert not leaks({"token": SIGNED, "key": key}, [("here", f"{SIGNED.split('.')[0]} {key.splitlines()[0]}")])


async def test_the_sweep_finds_what_is_logged_warned_of_and_told(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("kore_campaign_async")
    plants: list[Callable[[], Any]] = [
        lambda: logger.debug("the token is %s", SIGNED),
        lambda: logger.debug("the headers are %.5s", {"auth": SIGNED}),
        lambda: logger.debug("-", extra={"held": SIGNED}),
        lambda: logger.debug("-", exc_info=raised_beside(SIGNED)),
        lambda: logging.getLogger("aiohttp.client").debug("to %s", SIGNED),
        lambda: warnings.warn(SIGNED, stacklevel=1),
        lambda: asyncio.get_running_loop().call_exception_handler({"message": "-", "held": SIGNED}),
        lambda: asyncio.get_running_loop().call_exception_handler({"message": "-", "exception": LookupError(SIGNED)}),
        lambda: asyncio.get_running_loop().call_soon(str, SIGNED),
    ]
    for plant in plants:
        caplog.clear()
        with watching(caplog, debug=True) as watch:
            assert not leaks(KEPT, watch.shown())
            plant()
            await asyncio.sleep(0)
        assert leaks(KEPT, watch.shown())


# What provokes an exception


class Minting(JwtCredentials):
    """Real credentials, and a note of every token they mint."""

    def __init__(self, tokens: list[str], secret: str = SECRET, client_id: str = "cs-1", **settings: Any) -> None:
        super().__init__(client_id, secret, **settings)
        self.tokens = tokens

    async def token(self) -> Token:
        token = await super().token()
        self.tokens.append(token.reveal())
        return token


def asking(tokens: list[str]) -> Callable[[], Awaitable[str]]:
    """An async function that signs a token whenever it is asked, and notes it."""

    async def fetch() -> str:
        tokens.append(jwt.encode({"appId": "cs-1", "jti": str(uuid.uuid4())}, SECRET, algorithm="HS256"))
        return tokens[-1]

    return fetch


CREDENTIALS: dict[str, Callable[[list[str]], Any]] = {
    "minted": Minting,
    "a static JWT": lambda _: StaticToken(SIGNED),
    "an opaque token": lambda _: StaticToken(OPAQUE),
    "a function": asking,
}


@define
class Scene:
    """Where something is provoked.

    Attributes:
        tokens: those that were minted.
        more: further secrets, by name.
    """

    path: Path
    kind: str = "minted"
    tokens: list[str] = field(factory=list)
    more: dict[str, str] = field(factory=dict)

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def hidden(self) -> dict[str, str]:
        return named(dict.fromkeys(self.tokens)) | self.more

    def client(self, url: str, **settings: Any) -> CampaignClient:
        usual = {"credentials": CREDENTIALS[self.kind](self.tokens), "retry": BRIEF, **IDS}
        return client_for(url, **usual | settings)


Provoke = Callable[[Scene], Awaitable[object]]
Quote = Callable[[str], bytes]


def quoting(answer: Quote) -> Handler:
    """A handler that answers with what it makes of the request's token."""

    async def serve(connection: Connection) -> None:
        await connection.write(answer((await connection.read_request()).headers["auth"]))

    return serve


CALLS: dict[str, Callable[[CampaignClient], Awaitable[object]]] = {
    "add": lambda client: client.add_contacts(LIST, [ANA]),
    "create": lambda client: client.create_contact_list(LIST, "Due in July"),
    "update": lambda client: client.update_contact_list("cl-1", description="Due in July"),
    "list": lambda client: client.list_contact_lists(),
    "get": lambda client: client.get_contact_list("cl-1"),
}


def call(answer: Quote | Handler, name: str = "add", **settings: Any) -> Provoke:
    """Make one call of a server that answers so."""
    handler: Any = answer if inspect.iscoroutinefunction(answer) else quoting(answer)  # type: ignore[arg-type]

    async def provoke(scene: Scene) -> None:
        async with raw_server(handler) as server, scene.client(server.url, **settings) as client:
            await CALLS[name](client)

    return provoke


def headers_of(token: str) -> dict[str, str]:
    return {
        "X-Echo": token,
        re.sub(r"[^A-Za-z0-9-]", "", token): "as a name",
        "Location": f"https://elsewhere.example/{quote(token)}?auth={quote(token, safe='')}",
        "Set-Cookie": f"{token}=1; Path={token}",
        "WWW-Authenticate": f'Bearer realm="{token}"',
        "Retry-After": token,
        "Date": token,
    }


#: What says no by itself; any other status becomes an error envelope by `errors`.
REFUSING: Final = {400, 401, 403, 404, 413, 422, 429}


def everywhere(code: int, **more: str) -> Quote:
    """A reply that quotes the token in its first line, in its headers, and wherever JSON can hold it."""

    def answer(token: str) -> bytes:
        body = {
            "message": f"the token {token} is wrong",
            "error": {"message": token, "description": [token]},
            **({"errors": [{"msg": f"auth: {token}", "code": token}, token]} if code in REFUSING else {}),
            token: token,
            **{name: value.replace("{}", token) for name, value in more.items()},
        }
        whole = reply(code, body, headers_of(token))
        return whole.replace(b"Whatever", f"Whatever {token}".encode(), 1)

    return answer


def page(status: int) -> Quote:
    def answer(token: str) -> bytes:
        shown = f"<html><title>{token}</title><p>auth: {token}</p></html>"
        return reply(status, shown.encode(), headers_of(token), content_type="text/html")

    return answer


def refusing(body: str, *, content_type: str = "text/plain", make: Callable[[str], str] = str) -> Quote:
    """A 400 whose body quotes the token in some spelling."""
    return lambda token: reply(400, body.replace("{}", make(token)).encode(), content_type=content_type)


def in_chunks(token: str) -> bytes:
    """The token is cut in two by the transfer's chunks."""
    body = orjson.dumps(said(f"the token {token} is wrong"))
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    middle = len(body) // 2
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:middle], body[middle:], b""))


def packed(token: str) -> bytes:
    return reply(400, gzip.compress(orjson.dumps(said(token))), {"Content-Encoding": "gzip"})


def part_of(number: int) -> Callable[[str], str]:
    """One part of a JWT; of any other token all of it."""
    return lambda token: token.split(".")[number] if token.count(".") == 2 else token


#: The same refusal, with the token in ever other places and spellings.
QUOTES: dict[str, Quote] = {
    "in JSON": refusing('{"message":"the token {} is wrong"}', make=in_json),
    "in JSON by numbers": refusing('{"message":"the token {} is wrong"}', make=in_json_numbers),
    "in PHP's JSON": refusing('{"message":"the token {} is wrong"}', make=in_php),
    "in JSON in JSON": refusing(
        "{}", make=lambda token: json.dumps({"message": json.dumps({"auth": token}).replace("/", "\\/")})
    ),
    "in torn JSON": refusing('{"message":"the token {} is wrong', make=in_php),
    "in torn JSON by numbers": refusing('{"message":"{}', make=lambda token: in_json_numbers(part_of(2)(token))),
    "in text": refusing("auth: {}\r\niid: st-1"),
    "at the end of the words": refusing("{}", make=lambda token: "x" * 290 + token),
    "at the end of what is looked at": refusing("{}", make=lambda token: token * 60 + "x" * 2390 + token),
    "behind 64 kB": refusing('{"message":"{}"}', make=lambda token: " " * 65_510 + in_json(token)),
    "in a URL": refusing("see https://elsewhere.example/?auth={}", make=lambda token: quote(token, safe="")),
    "in HTML": refusing("<p>auth: {}</p>", content_type="text/html", make=html.escape),
    "in HTML by numbers": refusing("<p>{}</p>", make=lambda token: in_html_numbers(part_of(2)(token))),
    "in base64": refusing("auth: {}", make=lambda token: base64.b64encode(token.encode()).decode()),
    "in a repr": refusing("{'auth': {}}", make=repr),
    "its second part": refusing("the payload {} is wrong", make=part_of(1)),
    "its signature": refusing("the signature {} is wrong", make=part_of(2)),
    "in chunks": in_chunks,
    "packed": packed,
}


async def hang_up(_connection: Connection) -> None:
    """Nothing is read and nothing is said."""


async def hang(connection: Connection) -> None:
    await connection.read_request()
    await connection.hang()


async def reset(connection: Connection) -> None:
    await connection.read_request()
    connection.reset()


async def dripping(connection: Connection) -> None:
    token = (await connection.read_request()).headers["auth"]
    await connection.write(everywhere(200)(token)[:-20])
    await connection.hang()


async def refused(scene: Scene) -> None:
    async with raw_server(hang, listening=False) as server, scene.client(server.url) as client:
        await CALLS["add"](client)


async def no_tls(scene: Scene) -> None:
    async with raw_server(hang_up) as server, scene.client(server.url.replace("http:", "https:")) as client:
        await CALLS["add"](client)


async def untrusted(scene: Scene) -> None:
    certificate = make_certificate(scene.path)
    async with raw_server(hang, tls=certificate.server_context()) as server, scene.client(server.url) as client:
        await CALLS["add"](client)


async def no_way_through(scene: Scene) -> None:
    """The proxy's own password is the secret here, beside the token that it never sees."""

    async def refuse(connection: Connection) -> None:
        given = (await connection.read_head()).headers["Proxy-Authorization"]
        await connection.write(reply(407, given.encode(), {"Proxy-Authenticate": given}))
        await connection.reader.read()  # until the client has hung up

    with pytest.MonkeyPatch.context() as patch:
        async with raw_server(refuse) as proxy:
            patch.setenv("https_proxy", proxy.url.replace("//", f"//me:{quote(PASSWORD)}@"))
            async with scene.client("platform.example", network=Network(trust_env=True)) as client:
                await CALLS["add"](client)


IMPATIENT: Final = {"timeouts": Timeouts(total_seconds=0.1, connect_seconds=0.1)}

#: Calls that fail, made with every kind of credentials.
FAILING_CALLS: dict[str, tuple[type[KoreCampaignError], Provoke]] = {
    "no connection": (errors.ConnectionFailedError, refused),
    "no TLS": (errors.ConnectionFailedError, no_tls),
    "an untrusted certificate": (errors.CertificateError, untrusted),
    "no proxy": (errors.ProxyError, no_way_through),
    "closed": (errors.ConnectionLostError, call(lambda _: b"")),
    "reset": (errors.ConnectionLostError, call(reset)),
    "no reply": (errors.ReplyTimeoutError, call(hang, **IMPATIENT)),
    "half a reply": (errors.ReplyTimeoutError, call(dripping, **IMPATIENT)),
    "garbage": (errors.UnreadableReplyError, call(lambda token: f"HTTP/1.1 {token}\r\n{token}\r\n\r\n".encode())),
    "a bad header": (
        errors.UnreadableReplyError,
        call(lambda token: f"HTTP/1.1 200 OK\r\n{token}\0 {token}: {token}\r\n\r\n".encode()),
    ),
    "a cut success": (errors.UnreadableReplyError, call(lambda token: everywhere(200)(token)[:-20])),
    "no gzip": (
        errors.UnreadableReplyError,
        call(lambda token: reply(200, token.encode(), {"Content-Encoding": "gzip"})),
    ),
    "too large": (errors.UnreadableReplyError, call(lambda token: reply(200, (token * 40_000).encode()))),
    "no JSON": (errors.UnreadableReplyError, call(page(200))),
    "no envelope": (errors.UnreadableReplyError, call(everywhere(200), "list")),
    "no list": (errors.UnreadableReplyError, call(everywhere(200, status="success", data="{}"), "get")),
    "other words": (errors.UnexpectedReplyError, call(everywhere(200))),
    "no success": (errors.UnsuccessfulError, call(everywhere(200, status="not {}"), "update")),
    "an error envelope": (errors.UnsuccessfulError, call(everywhere(503, status="not {}"))),
    "300": (errors.UnexpectedReplyError, call(everywhere(300))),
    "301": (errors.RedirectedError, call(everywhere(301))),
    "302": (errors.RedirectedError, call(page(302))),
    "307": (errors.RedirectRefusedError, call(everywhere(307))),
    "308": (errors.RedirectRefusedError, call(everywhere(308), "get")),
    "408": (errors.ServerError, call(everywhere(408))),
    "500": (errors.ServerError, call(everywhere(500))),
    "500 of a read": (errors.ServerError, call(everywhere(500), "list")),
    "500 of a create": (errors.ServerError, call(everywhere(500), "create")),
    "502": (errors.ServerError, call(page(502))),
    "401": (errors.UnauthorizedError, call(everywhere(401))),
    "401 of the scope": (errors.ScopeError, call(everywhere(401, msg="the scope of {} is wrong"))),
    "401 of a page": (errors.UnauthorizedError, call(page(401), "list")),
    "403": (errors.ForbiddenError, call(everywhere(403))),
    "a cut 403": (errors.ForbiddenError, call(lambda token: everywhere(403)(token)[:-20])),
    "404": (errors.NotFoundError, call(everywhere(404), "get")),
    "413": (errors.PayloadTooLargeError, call(everywhere(413))),
    "429": (errors.ThrottledError, call(everywhere(429))),
    "a rate limit's words": (errors.ThrottledError, call(everywhere(200, message=f"{RATE_LIMIT_WORDS} {{}}"))),
    "422": (errors.RefusedError, call(everywhere(422))),
    **{f"400, {how}": (errors.RefusedError, call(answer)) for how, answer in QUOTES.items()},
}


# Keys, clients and runs that fail without a call


@functools.cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def pem(*, elliptic: bool = False) -> str:
    """A private key as a text."""
    key = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa_key()
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def signing_with(make: Callable[[], str | bytes], algorithm: str = "RS256") -> Provoke:
    """Make credentials of what is no key for them."""

    async def provoke(scene: Scene) -> None:
        key = make()
        scene.more["the key"] = key if isinstance(key, str) else key.decode()
        JwtCredentials("cs-1", key, algorithm=algorithm)  # type: ignore[arg-type]

    return provoke


async def failing() -> str:
    raise CallersOwnError(f"the vault knows no {SECRET}", {"auth": SIGNED})


async def cancelled_within() -> str:
    held = SECRET
    raise asyncio.CancelledError(held)


def returning(value: Any) -> Callable[[], Awaitable[Any]]:
    async def fetch() -> Any:
        return value

    return fetch


async def fetching(*_secrets: str) -> str:
    return SIGNED


def with_credentials(credentials: Any) -> Provoke:
    """Make a call with these credentials, whose token nobody sees."""
    return call(everywhere(400), credentials=credentials)


def client_of(host: str = "platform.example", **settings: Any) -> Provoke:
    """Make a client that can't be one."""

    async def provoke(_scene: Scene) -> None:
        CampaignClient(host, **{"credentials": StaticToken(SIGNED), **IDS, **settings})

    return provoke


def proxied_by(url: str) -> Provoke:
    """Make a client whose proxy can't be one."""

    async def provoke(_scene: Scene) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("https_proxy", url)
            CampaignClient("platform.example", credentials=StaticToken(SIGNED), network=Network(trust_env=True), **IDS)

    return provoke


def client_from(**variables: str) -> Provoke:
    """Make a client from an environment that can't be right."""
    usual = {"KORE_HOST": "platform.example", "KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "acc"}

    async def provoke(_scene: Scene) -> None:
        CampaignClient.from_env(usual | variables)

    return provoke


async def absent_redis(_scene: Scene) -> None:
    shared_rate = f"redis://me:{quote(PASSWORD)}@127.0.0.1:9/0"
    async with CampaignClient(
        "platform.example", credentials=StaticToken(SIGNED), shared_rate=shared_rate, **IDS
    ) as client:
        del shared_rate
        await client.list_contact_lists()


async def closed_client(scene: Scene) -> None:
    client = scene.client("https://platform.example")
    await client.close()
    await CALLS["add"](client)


def adding(*contacts: Contact) -> Provoke:
    async def provoke(scene: Scene) -> None:
        async with scene.client("https://platform.example") as client:
            await client.add_contacts(LIST, contacts)

    return provoke


# Runs


NUMBERS: Final = tuple(f"+1415555{index:04}" for index in range(101, 108))
TABLE: Final = "".join(f"{line}\n" for line in ("phone,name", *(f"{number},Ana" for number in NUMBERS)))

Answer = Callable[[str, RawRequest], bytes]


def campaign(answer: Answer, *names: str) -> Handler:
    """The API with lists of these names, whose addContacts answers so; an empty answer never comes."""

    async def serve(connection: Connection) -> None:
        request = await connection.read_request()
        token = request.headers["auth"]
        if request.target.endswith("/addContacts"):
            reply_to_call = answer(token, request)
            if not reply_to_call:
                await connection.hang()
            await connection.write(reply_to_call)
            return
        lists = [
            {"_id": f"cl-{index}-{token}", "name": name, "description": token, "allowDuplicates": True}
            for index, name in enumerate(names or (LIST,))
        ]
        data: Any = lists[0]
        if request.target.partition("?")[0].endswith("/getAllListDetails"):
            data = lists
        elif request.method == "PUT":
            data = {"contactListId": f"cl-{token}", "body": {"name": token}}
        await connection.write(reply(200, enveloped(data, f"for {token}"), headers_of(token)))

    return serve


def accepting(token: str, _request: RawRequest) -> bytes:
    return reply(200, said(f"Adding contacts to {token} is in progress"), headers_of(token))


def answering(quote_it: Quote) -> Answer:
    return lambda token, _request: quote_it(token)


def pushed(scene: Scene, client: CampaignClient, table: str = TABLE, **options: Any) -> Awaitable[Any]:
    """Push a table in batches of one."""
    source = scene.path / "contacts.csv"
    source.write_text(table)
    return ingest_contacts(
        client,
        source,
        contact_list=LIST,
        run_dir=scene.run,
        options=IngestOptions(
            **{"batch": BatchLimits(max_contacts=1), "concurrency": 2, "grace_seconds": 0.0, **options}
        ),
    )


def push_of(table: str = TABLE, *names: str, suppress: str | None = None) -> Provoke:
    """Push something that can't be pushed, to an API that would take it."""

    async def provoke(scene: Scene) -> None:
        barred = scene.path / "barred.txt"
        if suppress is not None:
            barred.write_text(suppress)
        options = {} if suppress is None else {"suppress": (barred,)}
        async with raw_server(campaign(accepting, *names)) as server, scene.client(server.url) as client:
            await pushed(scene, client, table, **options)

    return provoke


async def used_directory(scene: Scene) -> None:
    async with raw_server(campaign(accepting)) as server, scene.client(server.url) as client:
        await pushed(scene, client)
        await pushed(scene, client)


async def no_run(scene: Scene) -> None:
    async with scene.client("https://platform.example") as client:
        await resume_ingest(client, scene.path)


async def locked(scene: Scene) -> None:
    lock = RunLock(scene.run)
    try:
        await push_of()(scene)
    finally:
        lock.release()


def resumed(*, of: str = IDS["app_id"], change: Callable[[Scene], object] = lambda _: None) -> Provoke:
    """Resume a stopped run that was changed meanwhile, or with another account."""

    async def provoke(scene: Scene) -> None:
        async with raw_server(campaign(answering(everywhere(403)))) as server:
            async with scene.client(server.url) as client:
                await pushed(scene, client)
            change(scene)
            async with scene.client(server.url, app_id=of) as client:
                await resume_ingest(client, scene.run)

    return provoke


def torn(scene: Scene) -> None:
    with contextlib.closing(sqlite3.connect(scene.run / "journal.sqlite")) as connection, connection:
        connection.execute("UPDATE setting SET value = '{'")


def no_space(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise OSError(28, os.strerror(28))


def broken(target: type, name: str, replacement: Callable[..., Any]) -> Provoke:
    """Push while a part of the package does not do what it should."""

    async def provoke(scene: Scene) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(target, name, replacement)
            await push_of()(scene)

    return provoke


#: Clients, credentials and calls that can't be made.
MISUSES: dict[str, tuple[type[KoreCampaignError], Provoke]] = {
    "a host with a password": (errors.InvalidRequestError, client_of(f"https://me:{quote(PASSWORD)}@platform.example")),
    "a host with a plain password": (errors.InvalidRequestError, client_of(f"https://{PASSWORD}@platform.example/x")),
    "a variable with a password": (
        errors.InvalidRequestError,
        client_from(KORE_HOST=f"https://me:{PASSWORD}@platform.example", KORE_AUTH_TOKEN=SIGNED),
    ),
    "a bare token and no application id": (errors.InvalidRequestError, client_of(credentials=OPAQUE, app_id="")),
    "a bare token and a bad account id": (errors.InvalidRequestError, client_of(credentials=SIGNED, account_id="a b")),
    "a function with the secret and a bad application id": (
        errors.InvalidRequestError,
        client_of(credentials=functools.partial(fetching, SECRET), app_id="a/b"),
    ),
    "a function with the secret and a bad host": (
        errors.InvalidRequestError,
        client_of("http://platform.example", credentials=functools.partial(fetching, SECRET)),
    ),
    "a missing variable": (errors.InvalidRequestError, client_from(KORE_HOST="", KORE_CLIENT_SECRET=SECRET)),
    "a bad rate": (errors.InvalidRequestError, client_from(KORE_RATE="many", KORE_AUTH_TOKEN=OPAQUE)),
    "a shared rate that is no URL": (errors.InvalidRequestError, client_of(shared_rate=f"http://:{PASSWORD}@redis")),
    "a shared rate and a bad host": (
        errors.InvalidRequestError,
        client_of("http://platform.example", shared_rate=f"redis://:{quote(PASSWORD)}@redis"),
    ),
    "a shared rate of no rate": (
        errors.InvalidRequestError,
        client_of(shared_rate=f"redis://:{quote(PASSWORD)}@redis", rate=()),
    ),
    "a shared rate that is absent": (errors.SharedRateError, absent_redis),
    "a closed client": (errors.InvalidRequestError, closed_client),
    "no contacts": (errors.InvalidRequestError, adding()),
    "a contact that is not Unicode": (errors.InvalidRequestError, adding(ANA, evolve(ANA, first_name="\ud800"))),
    "a token for credentials": (errors.CredentialsError, client_of(credentials=SIGNED)),
    "a token with a line end": (errors.CredentialsError, client_from(KORE_AUTH_TOKEN=OPAQUE + "\n")),
    "a proxy with a password that names no host": (errors.InvalidRequestError, proxied_by(f"http://me:{PASSWORD}@")),
    "a proxy with a password over TLS": (
        errors.InvalidRequestError,
        proxied_by(f"https://me:{PASSWORD}@proxy.example"),
    ),
    "a secret without an id": (errors.CredentialsError, client_from(KORE_CLIENT_SECRET=SECRET)),
    "a blank id": (errors.CredentialsError, client_from(KORE_CLIENT_ID=" ", KORE_CLIENT_SECRET=SECRET)),
    "no algorithm": (errors.CredentialsError, signing_with(lambda: SECRET, "none")),
    "a text for a key": (errors.CredentialsError, signing_with(lambda: SECRET)),
    "an elliptic key": (errors.CredentialsError, signing_with(lambda: pem(elliptic=True))),
    "a damaged key": (errors.CredentialsError, signing_with(lambda: pem().replace("M", "-", 3))),
    "a cut key": (errors.CredentialsError, signing_with(lambda: pem()[:800])),
    "a key for a secret": (errors.CredentialsError, signing_with(pem, "HS256")),
    "a secret of bytes": (errors.CredentialsError, signing_with(SECRET.encode, "HS256")),
    "a function that fails": (errors.CredentialsError, with_credentials(failing)),
    "a function that is cancelled from within": (errors.CredentialsError, with_credentials(cancelled_within)),
    "a function that returns two lines": (errors.CredentialsError, with_credentials(returning(f"{OPAQUE}\n{SECRET}"))),
    "a function that returns bytes": (errors.CredentialsError, with_credentials(returning(SIGNED.encode()))),
    "a function that returns a mapping": (errors.CredentialsError, with_credentials(returning({"token": SIGNED}))),
}

#: Whatever else stops a run with an exception.
FAILING_RUNS: dict[str, tuple[type[KoreCampaignError], Provoke]] = {
    "an empty source": (errors.SourceError, push_of("")),
    "a source without a header": (errors.SourceError, push_of(TABLE.partition("\n")[2])),
    "a do-not-contact file that is none": (errors.SourceError, push_of(suppress=f"{NUMBERS[0]}XX or so\n")),
    "no list": (errors.ContactListError, push_of(TABLE, "Renewal", "Removals")),
    "two lists": (errors.ContactListError, push_of(TABLE, LIST, LIST)),
    "a used directory": (errors.RunDirectoryError, used_directory),
    "no run": (errors.RunDirectoryError, no_run),
    "a locked directory": (errors.RunDirectoryError, locked),
    "another account": (errors.RunDirectoryError, resumed(of="st-another")),
    "another source": (
        errors.RunDirectoryError,
        resumed(change=lambda scene: (scene.path / "contacts.csv").write_text(f"{TABLE}+14155550999,Bo\n")),
    ),
    "a torn journal": (errors.RunDirectoryError, resumed(change=torn)),
    "a full disk": (errors.RunDirectoryError, broken(RunFiles, "write_report", no_space)),
    "a lost contact": (errors.AccountingError, broken(Tally, "fold", lambda *_: None)),
}


# Every exception


ALL: Final = {kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, BaseException)}
#: What is raised only as one of its subclasses.
BASES: Final = {errors.KoreCampaignError, errors.CallError, errors.NotSentError, errors.MaybeProcessedError}


def test_every_concrete_exception_is_provoked() -> None:
    """A new class needs a provocation, or a subclass and a place among the bases."""
    provoked = {kind for kind, _ in (*FAILING_CALLS.values(), *MISUSES.values(), *FAILING_RUNS.values())}
    assert provoked == ALL - BASES
    assert all(base.__subclasses__() for base in BASES)


def test_bases_are_raised_by_nobody() -> None:
    names = {base.__name__ for base in BASES}
    for path in Path(kore_campaign_async.__file__).parent.rglob("*.py"):
        made = {
            getattr(node.func, "id", getattr(node.func, "attr", ""))
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call)
        }
        assert not names & made, path


async def check(scene: Scene, kind: type[KoreCampaignError], provoke: Provoke, watch: Watch) -> None:
    """Provoke an exception, and look for secrets in it and in what was said meanwhile."""
    with pytest.raises(kind) as caught:
        await provoke(scene)
    error = caught.value
    assert type(error) is kind
    gc.collect(1)
    assert leaks(scene.hidden, shown_by(error), watch.shown(), files_in(scene.run).items()) == []
    back = pickle.loads(pickle.dumps(error))  # noqa: S301  our own bytes
    assert (type(back), back.args, str(back), vars(back)) == (kind, error.args, str(error), vars(error))


@pytest.mark.parametrize("credentials", CREDENTIALS)
@pytest.mark.parametrize("way", FAILING_CALLS)
async def test_no_call_that_fails_shows_a_secret(
    way: str, credentials: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(caplog) as watch:
        await check(Scene(tmp_path, credentials), *FAILING_CALLS[way], watch)


@pytest.mark.parametrize("way", MISUSES | FAILING_RUNS)
async def test_no_other_failure_shows_a_secret(way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with watching(caplog) as watch:
        await check(Scene(tmp_path), *(MISUSES | FAILING_RUNS)[way], watch)


@pytest.mark.parametrize("way", ["no connection", "closed", "no reply", "garbage", "301", "401", "403", "500"])
async def test_asyncio_in_debug_mode_shows_no_secret(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with watching(caplog, debug=True) as watch:
        await check(Scene(tmp_path), *FAILING_CALLS[way], watch)
    assert any(record.name == "asyncio" for record in caplog.records)


async def cut_off_by_a_timeout(server: RawServer, client: CampaignClient) -> None:
    """The time is over soon after the request has arrived."""

    async def hurry(limit: asyncio.Timeout) -> None:
        await eventually(lambda: len(server.requests) > 0)
        limit.reschedule(asyncio.get_running_loop().time() + 0.02)

    async with asyncio.timeout(30.0) as limit, asyncio.TaskGroup() as group:
        group.create_task(hurry(limit))
        await CALLS["add"](client)


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("handler", [hang, dripping])
async def test_a_call_that_is_cut_off_from_outside_shows_no_secret(
    handler: Handler, debug: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """By a caller's own timeout, or by cancelling: aiohttp's frames hold the headers."""
    scene = Scene(tmp_path)
    async with raw_server(handler) as server, scene.client(server.url) as client:
        with watching(caplog, debug=debug) as watch:
            with pytest.raises(TimeoutError) as timed_out:
                await cut_off_by_a_timeout(server, client)
            task = asyncio.ensure_future(CALLS["list"](client))
            await eventually(lambda: len(server.requests) > 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as cancelled:
                await task
        found = leaks(scene.hidden, shown_by(timed_out.value), shown_by(cancelled.value), watch.shown())
    assert len(server.requests) > 1
    assert found == []


async def test_a_client_that_is_closed_under_a_call_shows_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path)
    async with raw_server(hang) as server, scene.client(server.url) as client:
        with watching(caplog) as watch:
            task = asyncio.ensure_future(CALLS["list"](client))
            await eventually(lambda: len(server.requests) > 0)
            await client.close()
            with pytest.raises(CallError) as caught:
                await task
        assert leaks(scene.hidden, shown_by(caught.value), watch.shown()) == []


async def test_a_client_that_is_never_closed_shows_no_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path)
    async with raw_server(quoting(everywhere(403))) as server:
        with watching(caplog, debug=True) as watch:
            with pytest.raises(errors.ForbiddenError):
                await CALLS["add"](scene.client(server.url))
            gc.collect()
        assert any("Unclosed" in str(warning.message) for warning in watch.warned)
        assert leaks(scene.hidden, watch.shown()) == []


async def test_a_short_secret_is_not_shown_where_warnings_are_errors() -> None:
    """PyJWT warns of a secret that is too short for the algorithm."""
    short = "a-secret-too-short"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises((CredentialsError, UserWarning)) as caught:
            await JwtCredentials("cs-1", short).token()
    assert leaks({"the secret": short}, shown_by(caught.value)) == []


async def test_what_a_caller_raises_is_the_cause_and_nowhere_else() -> None:
    """Where a function for tokens names the secret in its own error, that error is the only one that shows it."""
    async with client_for("https://platform.example", credentials=failing) as client:
        with pytest.raises(CredentialsError) as caught:
            await CALLS["add"](client)
    assert isinstance(caught.value.__cause__, CallersOwnError)
    assert SECRET in str(caught.value.__cause__)
    assert leaks(KEPT, shown_by(caught.value)) == []


_SLOW: Final = {"bomb", "drip", "hang", "stop-reading"}


@pytest.mark.parametrize("algorithm", ["HS256", "RS256"])
async def test_no_fault_of_the_sandbox_brings_a_secret_to_light(
    algorithm: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Tokens that are really checked, and every quick fault of a real server."""
    scene = Scene(tmp_path)
    public = rsa_key().public_key()
    public_pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    settings = {"algorithm": algorithm, "verify_key": public_pem.decode() if algorithm == "RS256" else None}
    found: list[str] = []
    async with Sandbox(rate=None, job_seconds=0.0, **settings) as sandbox:
        sandbox.make_list(LIST)
        key = pem() if algorithm == "RS256" else sandbox.client_secret
        scene.more["the key"] = key
        credentials = Minting(scene.tokens, key, sandbox.client_id, algorithm=algorithm)
        ids = {"app_id": sandbox.app_id, "account_id": sandbox.account_id}
        with watching(caplog) as watch:
            async with scene.client(sandbox.url, credentials=credentials, **ids) as client:
                await CALLS["list"](client)
                for kind in sorted(set(FAULTS) - _SLOW - {"unsolicited"}):
                    if kind.endswith("-stored"):
                        continue
                    sandbox.faults = (Fault(kind),)
                    with pytest.raises(CallError) as caught:
                        await CALLS["add"](client)
                    found += leaks(scene.hidden, shown_by(caught.value))
        found += leaks(scene.hidden, watch.shown())
    assert len(set(scene.tokens)) > 1, "a 401 has another one minted"
    assert found == []


# Whole runs


def dropping(scene: Scene) -> Answer:
    """Break the journal under the run, and take the contacts."""

    def answer(token: str, request: RawRequest) -> bytes:
        with contextlib.closing(sqlite3.connect(scene.run / "journal.sqlite")) as connection, connection:
            connection.execute("DROP TABLE IF EXISTS attempt")
        return accepting(token, request)

    return answer


def always(quote_it: Quote) -> Callable[[Scene], Answer]:
    return lambda _scene: answering(quote_it)


#: What stops a run, and how its report tells it.
STOPS: dict[str, tuple[Callable[[Scene], Answer], str]] = {
    "400": (
        always(everywhere(400)),
        r"5 batches ended the same way.*: 400: the server refused the call \(the token \*",
    ),
    "400 with a page": (always(page(400)), r"5 batches ended the same way.*: 400: the server refused the call \(<html"),
    "401": (always(everywhere(401)), r"401: the token was not accepted \(the token \*"),
    "403": (always(everywhere(403)), r"403: the token is not allowed to do this \(the token \*"),
    "404": (always(everywhere(404)), r"404: not found \(the token \*"),
    "429": (always(everywhere(429)), r"429: the account's rate limit is used up \(the token \*"),
    "500": (always(everywhere(500)), r"5 batches ended the same way.*: 500: the server failed \(the token \*"),
    "502": (always(page(502)), r"5 batches ended the same way.*: 502: the server failed \(<html"),
    "302": (always(everywhere(302)), r"5 batches ended the same way.*: 302: the server redirects"),
    "other words": (always(everywhere(200)), r"5 batches ended the same way.*: 200: the reply does not say"),
    "garbage": (always(lambda token: f"{token} {token}\r\n\r\n".encode()), r"5 batches .* the reply is not HTTP"),
    "a broken journal": (dropping, r"the journal .* can't be written: no such table"),
}


#: A token that the package mints, and one of a shape that it can't know.
RUN_CREDENTIALS: Final = ("minted", "an opaque token")


@define
class Shots:
    """Every file of a run directory, as it was at each call and at the end."""

    directory: Path
    files: list[tuple[str, bytes]] = field(factory=list)

    def take(self) -> None:
        self.files += files_in(self.directory).items()

    def before(self, answer: Answer) -> Answer:
        def taken(token: str, request: RawRequest) -> bytes:
            self.take()
            return answer(token, request)

        return taken


@pytest.mark.parametrize(
    ("way", "credentials"),
    [(way, kind) for way in STOPS for kind in (CREDENTIALS if way in {"401", "403", "500"} else RUN_CREDENTIALS)],
)
async def test_no_run_that_is_stopped_shows_a_secret(
    way: str, credentials: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Not in any byte of its directory, while it goes on and at its end, nor in its report, its progress and logs."""
    scene = Scene(tmp_path, credentials)
    shots = Shots(scene.run)
    answer, stopped_because = STOPS[way]
    shown: list[Progress] = []
    with watching(caplog) as watch:
        async with (
            raw_server(campaign(shots.before(answer(scene)))) as server,
            scene.client(server.url) as client,
        ):
            report = await pushed(scene, client, progress=shown.append)
    shots.take()
    assert report.state == "stopped"
    assert re.search(stopped_because, report.stopped_because, re.DOTALL)
    assert {"journal.sqlite", "journal.sqlite-wal", "report.json", "refused.csv"} <= {name for name, _ in shots.files}
    told = [("the report", f"{report!r} {report.to_dict()}"), ("the progress", repr(shown))]
    assert leaks(scene.hidden, told, shots.files, watch.shown()) == []


@pytest.mark.parametrize(("credentials", "debug"), [("minted", True), *((kind, False) for kind in CREDENTIALS)])
async def test_no_run_that_is_cancelled_shows_a_secret(
    credentials: str, debug: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor does what resumes it afterwards."""
    scene = Scene(tmp_path, credentials)
    shots = Shots(scene.run)
    called, over = asyncio.Event(), asyncio.Event()

    def never_at_first(token: str, request: RawRequest) -> bytes:
        called.set()
        return accepting(token, request) if over.is_set() else b""

    with watching(caplog, debug=debug) as watch:
        async with raw_server(campaign(shots.before(never_at_first))) as server, scene.client(server.url) as client:
            run = asyncio.ensure_future(pushed(scene, client))
            await called.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError) as caught:
                await run
            over.set()
            report = await resume_ingest(client, scene.run)
    shots.take()
    assert report.counts.uncertain > 0
    assert report.counts.accepted > 0
    found = leaks(scene.hidden, shown_by(caught.value), shots.files, [("the report", repr(report))], watch.shown())
    assert found == []


async def test_a_run_whose_function_for_tokens_fails_shows_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scene = Scene(tmp_path)
    asked: list[None] = []

    async def fetch() -> str:
        asked.append(None)
        return SIGNED if len(asked) < 5 else await failing()

    with watching(caplog) as watch:
        async with (
            raw_server(campaign(accepting)) as server,
            scene.client(server.url, credentials=fetch) as client,
        ):
            report = await pushed(scene, client)
    assert report.stopped_because == "the function for tokens failed: CallersOwnError"
    assert report.counts.accepted > 0
    assert leaks(KEPT, [("the report", repr(report))], files_in(scene.run).items(), watch.shown()) == []


async def test_no_outcome_shows_a_secret(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene(tmp_path)
    table = [{"phone": number} for number in NUMBERS]
    outcomes = []
    with watching(caplog, debug=True) as watch:
        async with (
            raw_server(campaign(answering(everywhere(400)))) as server,
            scene.client(server.url) as client,
            iter_outcomes(client, table, contact_list=LIST) as stream,
        ):
            outcomes = [outcome async for outcome in stream]
    assert [outcome.reason[:4] for outcome in outcomes] == ["400:"] * len(NUMBERS)
    assert leaks(scene.hidden, [("the outcomes", repr(outcomes))], watch.shown()) == []


async def test_a_progress_callback_that_fails_brings_no_secret_into_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged by its class and place."""
    scene = Scene(tmp_path)

    def fail(_progress: Progress) -> None:
        raise LookupError("no window")

    with watching(caplog) as watch:
        async with raw_server(campaign(accepting)) as server, scene.client(server.url) as client:
            await pushed(scene, client, progress=fail)
    assert "the progress callback failed, and is not called again: LookupError in fail" in caplog.text
    assert leaks(scene.hidden, watch.shown()) == []


# Phone numbers


#: Whatever stands between the digits.
_A_NUMBER: Final = re.compile("|".join(r"[^0-9A-Za-z]{0,3}".join(number.removeprefix("+1")) for number in NUMBERS))


def numbers_in(*places: Shown) -> list[str]:
    """Where a number is shown, and how; nothing, if all is well."""
    return sorted(
        {
            f"{match[0]} in {where}"
            for place in places
            for where, text in place
            for match in _A_NUMBER.finditer(text if isinstance(text, str) else text.decode("latin-1"))
        }
    )


def spoken_of(error: BaseException) -> Shown:
    """What an exception says itself: a frame that reads contacts has to hold them."""
    return [entry for entry in shown_by(error) if not entry[0].startswith("local ")]


NUMBERS_SPELT: dict[str, Callable[[str], str]] = {
    "with its plus": str,
    "without its plus": lambda number: number.removeprefix("+"),
    "in a URL": quote,
    "with blanks": lambda number: f"{number[:2]} {number[2:5]} {number[5:8]} {number[8:]}",
    "with dashes": lambda number: f"{number[2:5]}-{number[5:8]}-{number[8:]}",
    "with parentheses": lambda number: f"({number[2:5]}) {number[5:8]}-{number[8:]}",
    "with dots": lambda number: f"{number[2:5]}.{number[5:8]}.{number[8:]}",
}


@pytest.mark.parametrize("how", NUMBERS_SPELT)
def test_the_sweep_finds_every_number(how: str) -> None:
    for number in NUMBERS:
        assert numbers_in([("here", f"the number {NUMBERS_SPELT[how](number)} is wrong")])
    assert not numbers_in([("here", "+1 415 555 and 0101, or 14155550200")])


@pytest.mark.parametrize("status", [400, 403])
@pytest.mark.parametrize("how", NUMBERS_SPELT)
async def test_a_number_that_the_server_quotes_is_in_no_log_journal_or_report(
    how: str, status: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is in the outcome files and their reasons alone, which hold the contacts themselves."""
    scene = Scene(tmp_path)
    shots = Shots(scene.run)

    def quote_it(_token: str, request: RawRequest) -> bytes:
        spelt = NUMBERS_SPELT[how](request.json["data"][0]["phoneNumber"])
        return reply(status, said(f"the number {spelt} is wrong"), {"X-Echo": spelt})

    with watching(caplog) as watch:
        async with raw_server(campaign(shots.before(quote_it))) as server, scene.client(server.url) as client:
            report = await pushed(scene, client)
    shots.take()
    assert report.state == "stopped"
    kept = [(name, content) for name, content in shots.files if not name.endswith((".csv", "reasons.json"))]
    assert {"journal.sqlite", "journal.sqlite-wal", "report.json"} <= {name for name, _ in kept}
    assert numbers_in(kept, [("the report", f"{report!r} {report.to_dict()}")], watch.shown()) == []


@pytest.mark.parametrize("way", FAILING_RUNS)
async def test_no_exception_of_a_run_says_a_number(way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    kind, provoke = FAILING_RUNS[way]
    with watching(caplog) as watch, pytest.raises(kind) as caught:
        await provoke(Scene(tmp_path))
    assert numbers_in(spoken_of(caught.value), watch.shown()) == []


async def test_a_source_that_fails_brings_no_number_into_log_or_report(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def contacts() -> AsyncIterator[str]:
        yield NUMBERS[0]
        raise LookupError(f"nobody has the number {NUMBERS[1]}")

    scene = Scene(tmp_path)
    with watching(caplog) as watch:
        async with raw_server(campaign(accepting)) as server, scene.client(server.url) as client:
            report = await ingest_contacts(client, contacts(), contact_list=LIST, run_dir=scene.run)
    assert report.stopped_because == "the source failed behind row 1: LookupError: nobody has the number +***"
    kept = [(name, content) for name, content in files_in(scene.run).items() if not name.endswith(".csv")]
    assert numbers_in(kept, [("the report", repr(report))], watch.shown()) == []


# The shell


def shell_environment(url: str, credentials: str) -> dict[str, str]:
    variables = {"KORE_HOST": url, "KORE_APP_ID": IDS["app_id"], "KORE_ACCOUNT_ID": IDS["account_id"]}
    if credentials == "minted":
        return variables | {"KORE_CLIENT_ID": "cs-1", "KORE_CLIENT_SECRET": SECRET}
    return variables | {"KORE_AUTH_TOKEN": OPAQUE}


def outputs(*said_by: Said) -> Shown:
    return [entry for one in said_by for entry in (("standard output", one.out), ("standard error", one.err))]


@pytest.mark.parametrize(
    ("status", "credentials", "exit_status"), [(401, "minted", 4), (403, "opaque", 4), (500, "minted", 3)]
)
async def test_a_push_from_the_shell_says_no_secret(
    status: int, credentials: str, exit_status: int, tmp_path: Path
) -> None:
    """On neither of its outputs, nor in the files it leaves, with and without --json, nor when it is resumed."""
    (tmp_path / "contacts.csv").write_text(TABLE)
    tokens: list[str] = []

    def answer(token: str, _request: RawRequest) -> bytes:
        tokens.append(token)
        return everywhere(status)(token)

    push = ("push", "contacts.csv", "--list", LIST, "--max-contacts", "1", "--rate", "none", "--run-dir")
    async with raw_server(campaign(answer)) as server:
        shell = functools.partial(kore_campaign, env=shell_environment(server.url, credentials), cwd=tmp_path)
        table, as_json = await asyncio.gather(shell(*push, "run-1"), shell(*push, "run-2", "--json"))
        again, shown = await asyncio.gather(shell("resume", "run-1"), shell("report", "run-2"))
    assert [one.status for one in (table, as_json, again, shown)] == [exit_status, exit_status, exit_status, 0]
    assert tokens
    files = [entry for name in ("run-1", "run-2") for entry in files_in(tmp_path / name).items()]
    heard = outputs(table, as_json, again, shown)
    assert leaks(named(tokens), heard, files) == []
    assert numbers_in(heard) == []


async def test_one_call_from_the_shell_says_no_secret(tmp_path: Path) -> None:
    """Where the answer is yes and quotes the token, and where it is no."""
    tokens: list[str] = []

    def answer(token: str) -> bytes:
        tokens.append(token)
        return everywhere(400)(token)

    async with raw_server(campaign(accepting)) as server, raw_server(quoting(answer)) as other:
        yes = shell_environment(server.url, "opaque") | {"PYTHONASYNCIODEBUG": "1"}
        no = shell_environment(other.url, "minted")
        heard = await asyncio.gather(
            kore_campaign("lists", env=yes, cwd=tmp_path),
            kore_campaign("lists", "--json", env=yes, cwd=tmp_path),
            kore_campaign("create", LIST, "--description", "-", "--json", env=yes, cwd=tmp_path),
            kore_campaign("update", "cl-1", "--name", "-", "--json", env=yes, cwd=tmp_path),
            kore_campaign("lists", env=no, cwd=tmp_path),
        )
    assert [one.status for one in heard] == [0, 0, 0, 0, 1]
    assert leaks(named(tokens), outputs(*heard)) == []


async def test_a_wrong_environment_is_told_without_its_secrets(tmp_path: Path) -> None:
    usual = shell_environment("https://platform.example", "minted")
    wrong = (
        {"KORE_HOST": f"https://me:{PASSWORD}@platform.example"},
        {"KORE_CLIENT_ID": "", "KORE_AUTH_TOKEN": f"{OPAQUE}\n"},
        {"KORE_CLIENT_ID": ""},
    )
    heard = await asyncio.gather(*(kore_campaign("lists", env=usual | one, cwd=tmp_path) for one in wrong))
    assert [one.status for one in heard] == [2, 2, 2]
    assert leaks(KEPT, outputs(*heard)) == []
