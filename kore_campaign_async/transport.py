"""The only file that knows aiohttp: sends a request, bounds the reply, and maps every failure to errors.py.

What proves that a call was not sent is that the trace event of the first body chunk never fired; what proves
that it was refused is the status of a real response. Whatever else an exception says is not believed.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import datetime as dt
import email.utils
import html
import io
import ipaddress
import os
import re
import ssl
import time
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any, Final, Self
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass

import aiohttp
from attrs import evolve
from yarl import URL

from kore_campaign_async import wire
from kore_campaign_async.auth import Token
from kore_campaign_async.config import Network, ReplyLimits, Timeouts
from kore_campaign_async.deadline import deadline
from kore_campaign_async.endpoints import envelope
from kore_campaign_async.errors import (
    CallError,
    CertificateError,
    ConnectionFailedError,
    ConnectionLostError,
    ForbiddenError,
    InvalidRequestError,
    NotFoundError,
    PayloadTooLargeError,
    ProxyError,
    RedirectedError,
    RedirectRefusedError,
    RefusedError,
    ReplyTimeoutError,
    ScopeError,
    ServerError,
    ThrottledError,
    UnauthorizedError,
    UnexpectedReplyError,
    UnreadableReplyError,
    UnsuccessfulError,
)
from kore_campaign_async.message import LARGE_REPLY_BYTES, Request, Response, Sending

#: From how much on a clock counts as off: an answer may take a while, and tokens are valid for longer.
CLOCK_OFF_SECONDS: Final = 10.0
_CHUNK_BYTES: Final = 1 << 16
_MASK: Final = b"***"
_TOKEN_CHARACTERS: Final = 12
_SPELT_BYTES: Final = 1 << 14
_CAN_HOLD_A_TOKEN: Final = re.compile(rb"[\w\\%&#;+/=-]{16}")
# aiohttp warns when it is handed more than this as bytes, since writing them stops the loop; it cuts a file itself.
_LARGE_BODY_BYTES: Final = 1 << 20

# The vendor's words for a limit that was hit (api/facts.md), whatever the status; apostrophes vary.
_RATE_LIMIT = re.compile(
    r"exceeded the (per-minute|hourly) rate limit|rate limit for this api has been reached",
    re.ASCII | re.IGNORECASE,
)

# With these words beside them a job may be on its way.
_QUEUED_PERHAPS = re.compile(r"in progress|queued for addition", re.ASCII | re.IGNORECASE)
_NO_SCOPE: Final = "the app lacks the scope Campaign Management, or was not published since it got it"
# OAuth has words of its own, such as insufficient_scope.
_SCOPE = re.compile(r"(?<![^\W_])scopes?(?![^\W_])", re.ASCII | re.IGNORECASE)

_REFUSALS: Final[Mapping[int, tuple[type[CallError], str]]] = {
    301: (RedirectedError, "the server redirects, which is never followed"),
    302: (RedirectedError, "the server redirects, which is never followed"),
    303: (RedirectedError, "the server redirects, which is never followed"),
    307: (RedirectRefusedError, "the server redirects, which is never followed"),
    308: (RedirectRefusedError, "the server redirects, which is never followed"),
    401: (UnauthorizedError, "the token was not accepted"),
    403: (ForbiddenError, "the token is not allowed to do this"),
    404: (NotFoundError, "not found"),
    408: (ServerError, "the server timed out"),
    413: (PayloadTooLargeError, "the body is too large for the server"),
}


def base_url(host: str) -> str:
    """Return `https://host` of a bare host name or a URL, without a slash at its end.

    Raises:
        InvalidRequestError: it is no host, or plain http to anything but this machine.
    """
    text = host.strip() if isinstance(host, str) else ""
    why = ""
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        name, port = parts.hostname or "", parts.port
    except ValueError:
        parts, name, port = urlsplit(""), "", None
    if not name or re.search(r"[\s\\%]", text) or any(not c.isprintable() for c in text):
        why = "it names no host"
    elif parts.scheme not in {"http", "https"}:
        why = "it must start with https://"
    elif parts.username is not None or parts.password is not None:
        why = "it must hold no user name or password"
    elif parts.path not in {"", "/"} or parts.query or parts.fragment:
        why = "it must end after the host name and port"
    elif parts.scheme == "http" and not _is_loopback(name):
        why = "plain http would show the token on the way; use https"
    if why:
        text = f"…@{text.rpartition('@')[2]}" if "@" in text else text
        del host, parts  # they can hold a password, and tracebacks can show a frame's locals
        raise InvalidRequestError(f"the host {text!r} can't be used: {why} (an example: https://platform.kore.ai)")
    shown = f"[{name}]" if ":" in name else name
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None else "")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


class Proxy:
    """A proxy, whose user name and password nothing shows.

    Attributes:
        url: without them.
        shown: the URL with a mask where they are.
    """

    __slots__ = ("_headers", "shown", "url")

    def __init__(self, url: str) -> None:
        self.shown = "***"
        why = ""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            name, port = parts.hostname or "", parts.port
        except ValueError:
            parts, name, port = urlsplit(""), "", None
        if not name or re.search(r"[\s\\]", url):
            why = "it names no host"
        elif parts.scheme != "http":
            why = "it must start with http://"
        user, password = parts.username, parts.password
        del url, parts  # they can hold a password, and tracebacks can show a frame's locals
        if why:
            del user, password
            raise InvalidRequestError(
                f"the proxy in HTTPS_PROXY can't be used: {why} (an example: http://proxy.example:3128)"
            )
        where = (f"[{name}]" if ":" in name else name) + (f":{port}" if port is not None else "")
        self.url = URL(f"http://{where}")
        self.shown = f"http://{'***@' if user is not None else ''}{where}"
        self._headers: dict[str, str] = {}
        if user is not None:
            coded = base64.b64encode(f"{unquote(user)}:{unquote(password or '')}".encode()).decode()
            self._headers["Proxy-Authorization"] = f"Basic {coded}"

    def __repr__(self) -> str:
        return f"Proxy({self.shown})"

    def headers(self) -> dict[str, str]:
        """What the proxy is sent, anew for every call, since aiohttp adds to it."""
        return dict(self._headers)


def proxy_of(base: str, network: Network) -> Proxy | None:
    """The proxy that calls to this host take; None if they go there directly.

    Raises:
        InvalidRequestError: the variable names none that can be used.
    """
    # aiohttp's own way would also send what a .netrc says to the API, and a token in plain text to a proxy.
    parts = urlsplit(base)
    if not network.trust_env or parts.scheme != "https" or _is_loopback(parts.hostname or ""):
        return None
    proxies = getproxies_environment()
    try:
        if not proxies.get("https") or proxy_bypass(parts.netloc):
            return None
        return Proxy(proxies["https"])
    finally:
        del proxies


def ssl_context_of(network: Network) -> ssl.SSLContext | None:
    """The context for a trust of the caller's own; None for the usual one.

    Raises:
        InvalidRequestError: a file can't be read, or holds something else.
    """
    if network.ca_bundle is None and network.client_cert is None:
        return None
    context = _context_trusting(network)
    if network.client_cert is not None:
        pair = f"the client certificate {network.client_cert}"
        if network.client_key is not None:
            pair += f" with the key {network.client_key}"
        try:
            # Without a password of ours OpenSSL would ask for one at the terminal.
            context.load_cert_chain(network.client_cert, network.client_key, password=lambda: b"")
        except ssl.SSLError:
            raise InvalidRequestError(
                f"{pair} can't be used: PEM with a certificate and its own key is needed, the key not encrypted"
            ) from None
        except OSError as error:
            raise InvalidRequestError(f"{pair} can't be read: {error.strerror}") from None
    return context


def _context_trusting(network: Network) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=network.ca_bundle)
    except ssl.SSLError:
        raise InvalidRequestError(f"the CA bundle {network.ca_bundle} holds no certificates in PEM") from None
    except OSError as error:
        raise InvalidRequestError(f"the CA bundle {network.ca_bundle} can't be read: {error.strerror}") from None


def sane_retry_after(text: str | None, *, date: str | None, now: float, longest: float) -> float | None:
    """Seconds that a Retry-After asks for, cut to `longest`; None where it is absent or not sane.

    A date is measured against the reply's own Date where it has one, so that a clock that is off does no harm.
    """
    if text is None:
        return None
    text = text.strip()
    if re.fullmatch(r"[0-9]{1,10}", text):
        seconds = float(text)
    else:
        until = _epoch(text)
        if until is None:
            return None
        since = _epoch(date) if date is not None else None
        seconds = until - (now if since is None else since)
    return min(seconds, longest) if seconds > 0 else None


def _epoch(text: str) -> float | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).timestamp()
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def error_of(response: Response, *, now: float, retry_after_max_seconds: float) -> CallError | None:
    """The error that a response is, or None for a 2xx without the words of a rate limit, which its endpoint judges."""
    success = 200 <= response.status < 300  # noqa: PLR2004  a 2xx
    # Without an escape a body's words are its bytes, and most need not be read twice.
    if success and b"\\" not in response.body and b"rate limit" not in response.body.lower():
        return None
    value = envelope.json_in(response.body)
    throttled = response.status == 429 or _is_throttling(value)  # noqa: PLR2004  Too Many Requests, as everybody knows it
    if success and not throttled:
        return None
    kind: type[CallError]
    if throttled:
        kind, reason = ThrottledError, "the account's rate limit is used up"
    else:
        kind, reason = _of_status(response.status)
        why = envelope.error_in(value)
        # An error envelope says no, also where its status alone would leave it open.
        if why is not None and not issubclass(kind, RefusedError):
            kind, reason = UnsuccessfulError, why
        elif kind is UnauthorizedError and _speaks_of_the_scope(response):
            kind, reason = ScopeError, _NO_SCOPE
    return kind(
        reason,
        response.method,
        response.path,
        response.status,
        envelope.words_of(response),
        sane_retry_after(
            response.headers.get("retry-after"),
            date=response.headers.get("date"),
            now=now,
            longest=retry_after_max_seconds,
        ),
    )


def _is_throttling(value: Any) -> bool:
    """Whether a body's JSON is the answer of a rate limit. Of a job that may be queued nothing is sent again for it."""
    said = envelope.words_in(value) if isinstance(value, dict) else ""
    return _RATE_LIMIT.search(said) is not None and _QUEUED_PERHAPS.search(said) is None


def _of_status(status: int) -> tuple[type[CallError], str]:
    """What a status other than 2xx means by itself."""
    if status in _REFUSALS:
        return _REFUSALS[status]
    if 400 <= status < 500:  # noqa: PLR2004  a 4xx
        return RefusedError, "the server refused the call"
    if status >= 500:  # noqa: PLR2004  a 5xx
        return ServerError, "the server failed"
    return UnexpectedReplyError, "an answer that nobody asked for"


def _speaks_of_the_scope(response: Response) -> bool:
    """Whether the words of a 401 speak of the app's scope; pages of HTML are not searched."""
    words = envelope.words_of(response)
    return not words.startswith("<") and _SCOPE.search(words) is not None


class _TooLargeError(Exception):
    """The reply went over its bound."""


class Transport:
    """Sends requests over one aiohttp session, each on a connection of its own.

    Args:
        base: from `base_url`.
        headers: sent with every request, beside the token.
        timeouts: of one attempt.
        limits: of the reply.
        retry_after_max_seconds: the longest Retry-After that is believed.
        max_connections: how many connections are open at once.
        ssl_context: of a caller with trust settings of their own; certificates are verified without it too.
        proxy: from `proxy_of`.
        wall_clock: epoch seconds, for a Retry-After that is a date.
    """

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        *,
        timeouts: Timeouts,
        limits: ReplyLimits,
        retry_after_max_seconds: float,
        max_connections: int = 100,
        ssl_context: ssl.SSLContext | None = None,
        proxy: Proxy | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._base = base
        self._headers = dict(headers)
        self._timeout = _timeout_of(timeouts)
        self._timeouts = timeouts
        self._limits = limits
        self._retry_after_max_seconds = retry_after_max_seconds
        self._max_connections = max_connections
        self._ssl_context = ssl_context
        self._wall_clock = wall_clock
        self._session: aiohttp.ClientSession | None = None
        self._date: tuple[str, float] | None = None
        self.proxy = proxy
        self._closed = False
        #: In which its connections are, once there are any.
        self.loop: asyncio.AbstractEventLoop | None = None
        # Whose session it is, where it is not this one's own.
        self._origin: Transport | None = None

    @property
    def closed(self) -> bool:
        """Whether it was closed, or the one whose connections it uses."""
        return self._closed or (self._origin is not None and self._origin.closed)

    def with_options(self, *, timeouts: Timeouts, limits: ReplyLimits, retry_after_max_seconds: float) -> Self:
        """Return a transport over the same connections; closing it leaves them open."""
        made = copy.copy(self)  # all that is not named here stays the same
        vars(made).update(
            _origin=self,
            _session=None,
            _timeout=_timeout_of(timeouts),
            _timeouts=timeouts,
            _limits=limits,
            _retry_after_max_seconds=retry_after_max_seconds,
        )
        return made

    @property
    def clock_ahead_seconds(self) -> float | None:
        """How far this machine's clock was ahead of the last answer's Date; None where that does not tell."""
        return None if self._date is None else _ahead(*self._date)

    def _open(self) -> aiohttp.ClientSession:
        if self.closed:
            raise InvalidRequestError("the client is closed; make a new one")
        if self._origin is not None:
            return self._origin._open()  # noqa: SLF001  of this class
        loop = asyncio.get_running_loop()
        if self._session is None:
            self.loop = loop
            trace = aiohttp.TraceConfig()
            trace.on_request_chunk_sent.append(_body_started)
            self._session = aiohttp.ClientSession(
                # A pooled connection can hand one request's late reply to another request.
                connector=aiohttp.TCPConnector(
                    force_close=True,
                    limit=self._max_connections,
                    ssl=self._ssl_context if self._ssl_context is not None else True,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trace_configs=[trace],
            )
            # aiohttp repeats a PUT or a GET by itself, also on a fresh connection: a call that nobody pays for.
            self._session._retry_connection = False  # noqa: SLF001  there is no public setting for it
        elif self.loop is not loop:
            raise InvalidRequestError("the client was used in another event loop before; make one for each loop")
        return self._session

    async def close(self) -> None:
        """Close the session; calls in flight fail as if the server had hung up."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def send(self, request: Request[Any], token: Token, sending: Sending | None = None) -> Response:
        """Send one request once and return its 2xx response.

        Args:
            request: from one of `endpoints/`.
            token: of this attempt.
            sending: told when the body begins to go out, which tells a caller who was cancelled what to think.

        Raises:
            CallError: of the class that says what is known of the call.
        """
        sent = sending if sending is not None else Sending()
        # Raised behind the handler: aiohttp's exceptions carry the request's headers, and so the token.
        try:
            answer = await self._attempt(request, token, sent)
        except asyncio.CancelledError as cancelled:
            # The frames below hold the headers too, and a timeout's traceback would show them.
            raise cancelled.with_traceback(None) from None
        if isinstance(answer, CallError):
            raise answer
        return answer

    async def _attempt(self, request: Request[Any], token: Token, sent: Sending) -> Response | CallError:
        session = self._open()
        headers: dict[str, str] | None = None
        status = 0
        try:
            async with (
                deadline(self._timeouts.total_seconds),
                session.request(
                    request.method,
                    self._url(request),
                    data=_payload(request.body),
                    headers=self._with(token),
                    proxy=None if self.proxy is None else self.proxy.url,
                    proxy_headers=None if self.proxy is None else self.proxy.headers(),
                    allow_redirects=False,
                    timeout=self._timeout,
                    trace_request_ctx=sent,
                ) as reply,
            ):
                status = reply.status
                headers = {name.lower(): value for name, value in reply.headers.items()}
                self._date = (headers["date"], self._wall_clock()) if "date" in headers else None
                limit = self._limits.listing_bytes if request.listing else self._limits.call_bytes
                body = await _bounded(reply, limit)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, _TooLargeError) as error:
            if headers is None:
                return self._failure(error, request, sent, None)
            # The status of a refusal proves it even where its body was cut off; that of a success does not.
            head = Response(status, headers, b"", request.method, request.path)
            return self._error_of(head, token) or self._failure(error, request, sent, head)
        whole = Response(status, headers, body, request.method, request.path)
        if len(body) <= LARGE_REPLY_BYTES:
            response, failed = self._understood(whole, token)
        else:
            response, failed = await asyncio.to_thread(self._understood, whole, token)
        sent.response = response
        return failed or response

    def _understood(self, whole: Response, token: Token) -> tuple[Response, CallError | None]:
        """A reply in which the token is masked, and the error that it is."""
        response = evolve(whole, body=_without(token, whole.body))
        return response, self._error_of(response, token)

    def _error_of(self, response: Response, token: Token) -> CallError | None:
        now = self._wall_clock()
        error = error_of(response, now=now, retry_after_max_seconds=self._retry_after_max_seconds)
        if isinstance(error, UnauthorizedError) and error.renewable:
            why = _why_unauthorized(token, response.headers.get("date"), now)
            return type(error)(error.reason + why, *error.args[1:])
        return error

    def _url(self, request: Request[Any]) -> URL:
        query = "&".join(f"{name}={value}" for name, value in request.query)
        return URL(f"{self._base}{request.path}" + (f"?{query}" if query else ""), encoded=True)

    def _with(self, token: Token) -> dict[str, str]:
        return {**self._headers, wire.HEADER_TOKEN: token.reveal()}

    def _failure(self, error: Exception, request: Request[Any], sent: Sending, head: Response | None) -> CallError:
        kind, reason = _classify(error, self._timeouts)
        if self.proxy is not None and isinstance(error, aiohttp.ClientConnectorDNSError):
            reason = "the proxy's host name was not found"
        if not issubclass(kind, CertificateError | ProxyError):
            # A request without a body fires no chunk event: there the exception's class has to do.
            connecting = issubclass(kind, ConnectionFailedError)
            if not sent.begun and (request.body is not None or connecting):
                if kind is ReplyTimeoutError:
                    reason = f"no connection within {self._timeouts.total_seconds:g} s"
                kind = ConnectionFailedError
            elif connecting:
                kind = ConnectionLostError
        if head is not None:
            # A success without its whole reply proves nothing, but it tells a person something.
            reason = f"{reason}; the answer began with status {head.status}"
        return kind(reason, request.method, request.path)


def _why_unauthorized(token: Token, date: str | None, now: float) -> str:
    """What the token and the clock tell of a 401."""
    ahead = _ahead(date, now) if date is not None else None
    why = ""
    expired = token.expires_at is not None and token.expires_at <= (now if ahead is None else now - ahead)
    if expired and token.expires_at is not None:
        why += f"; it expired at {dt.datetime.fromtimestamp(token.expires_at, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"
    if ahead is not None and abs(ahead) >= CLOCK_OFF_SECONDS:
        why += f"; this machine's clock is {abs(ahead):,.0f} s {'ahead of' if ahead > 0 else 'behind'} the server's"
    return why


def _ahead(date: str, now: float) -> float | None:
    """How far a clock is ahead of a Date, within its second; None if that is none."""
    then = _epoch(date)
    if then is None:
        return None
    # A Date stands for the whole second that it begins.
    return min(0.0, now - then) if now < then else max(0.0, now - then - 1.0)


def _payload(body: bytes | None) -> bytes | io.BytesIO | None:
    return io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY_BYTES else body


def _without(token: Token, body: bytes) -> bytes:
    """A reply in which the token is masked: a server that quotes it back must not bring it into a log."""
    secret = token.reveal()
    # What is shorter is no token, and would be found by chance.
    if len(secret) < _TOKEN_CHARACTERS:
        return body
    body = body.replace(secret.encode(), _MASK)
    # What a person is shown of a reply stands at its beginning, and can spell or code the token in other ways.
    head = body[:_SPELT_BYTES]
    if _CAN_HOLD_A_TOKEN.search(head):
        body = _spelt(secret).sub(_MASK, head) + body[_SPELT_BYTES:]
    if b"\\" not in body:
        return body
    # JSON can spell any character as an escape: written anew, there is one spelling left.
    try:
        plain, spelt = wire.dumps(wire.loads(body)), wire.dumps(secret)[1:-1]
    except (TypeError, ValueError):
        return body.replace(secret.replace("/", "\\/").encode(), _MASK)
    return plain.replace(spelt, _MASK) if spelt in plain else body


def _spelt(secret: str) -> re.Pattern[bytes]:
    """A token's parts: each character as it is or escaped for JSON, a URL or HTML; or all of it in base64."""
    parts = [part for part in secret.split(".") if len(part) >= _TOKEN_CHARACTERS]
    spelt = ["".join(map(_character, part)) for part in parts]
    for behind, foreign in enumerate((0, 2, 3)):
        coded = base64.b64encode(b"\0" * behind + secret.encode()).decode()[foreign : (behind + len(secret)) * 8 // 6]
        spelt += [re.escape(coded), re.escape(coded.translate({ord("+"): "-", ord("/"): "_"}))]
    return re.compile("|".join(spelt).encode(), re.IGNORECASE)


def _character(one: str) -> str:
    code = ord(one)
    # From the first of several backslashes on, since each of them would look through all behind it.
    escape = r"(?<!\\)\\++"
    ways = [re.escape(one), rf"{escape}u00{code:02x}", f"%{code:02x}", f"&#0*+{code};", f"&#x0*+{code:x};"]
    if not one.isalnum():
        ways += [escape + re.escape(one), re.escape(html.escape(one))]
    return f"(?:{'|'.join(ways)})"


def _timeout_of(timeouts: Timeouts) -> aiohttp.ClientTimeout:
    """What aiohttp itself watches: its timer for the whole call would fire before an answer that has come is read."""
    return aiohttp.ClientTimeout(total=None, sock_connect=timeouts.connect_seconds)


async def _body_started(_session: object, context: SimpleNamespace, _params: object) -> None:
    context.trace_request_ctx.begun = True


async def _bounded(reply: aiohttp.ClientResponse, limit: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await reply.content.read(_CHUNK_BYTES):
        size += len(chunk)
        if size > limit:
            reply.close()
            raise _TooLargeError(limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _classify(error: Exception, timeouts: Timeouts) -> tuple[type[CallError], str]:
    """What an exception is if the trace event does not tell otherwise."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # What a proxy answers to CONNECT is a real response.
        if error.status == 407:  # noqa: PLR2004  Proxy Authentication Required
            return ProxyError, "the proxy wants a user name and a password, or others (407)"
        refused = 400 <= error.status < 500  # noqa: PLR2004  a 4xx
        why = f"the proxy answered {error.status} and does not connect"
        return ProxyError if refused else ConnectionFailedError, why
    found = ((kind, reason) for kinds, kind, reason in _CLASSES if isinstance(error, kinds))
    kind, reason = next(found, (ConnectionLostError, "the connection failed"))
    return kind, reason.format(error=_named(error), total=timeouts.total_seconds, connect=timeouts.connect_seconds)


def _named(error: Exception) -> str:
    """An exception's cause without its message, which can carry headers: the system's words, or its class."""
    system = getattr(error, "os_error", error)
    code = getattr(system, "errno", None)
    words = getattr(system, "strerror", None)
    if isinstance(code, int) and isinstance(words, str):
        # asyncio's own words name an address beside it.
        return os.strerror(code) if code > 0 else words
    return type(error).__name__


# The first row that fits holds, so subclasses stand above their bases.
_CLASSES: Final[tuple[tuple[Any, type[CallError], str], ...]] = (
    (
        (aiohttp.ClientConnectorCertificateError, aiohttp.ServerFingerprintMismatch),
        CertificateError,
        "the server's certificate is not trusted",
    ),
    (aiohttp.ClientConnectorDNSError, ConnectionFailedError, "the host name was not found"),
    (aiohttp.ClientConnectorSSLError, ConnectionFailedError, "no TLS connection could be made"),
    (
        aiohttp.ClientProxyConnectionError,
        ConnectionFailedError,
        "no connection to the proxy could be made: {error}",
    ),
    (aiohttp.ClientConnectorError, ConnectionFailedError, "no connection could be made: {error}"),
    (aiohttp.ConnectionTimeoutError, ConnectionFailedError, "no connection within {connect:g} s"),
    (_TooLargeError, UnreadableReplyError, "the reply is larger than its bound"),
    (aiohttp.ClientPayloadError, UnreadableReplyError, "the reply was cut off or can't be unpacked"),
    (
        (aiohttp.ClientResponseError, aiohttp.http.HttpProcessingError),
        UnreadableReplyError,
        "the reply is not HTTP as it should be",
    ),
    (TimeoutError, ReplyTimeoutError, "no whole answer within {total:g} s"),
    (aiohttp.ServerDisconnectedError, ConnectionLostError, "the server closed the connection"),
    (OSError, ConnectionLostError, "the connection failed: {error}"),
)
