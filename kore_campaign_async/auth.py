"""Tokens: minted, renewed and never shown. No I/O of its own; the clock is an argument.

A credential is anything with `token()` and `renew(rejected)`. The token's text leaves its `Token` only in the
transport, at the moment the header is written.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import inspect
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final, NoReturn, Protocol, TypeVar, runtime_checkable

from kore_campaign_async import wire
from kore_campaign_async.callbacks import CallbackError, awaited
from kore_campaign_async.errors import CredentialsError

T = TypeVar("T")

ALGORITHMS: Final = ("HS256", "HS384", "HS512", "RS256", "RS512")
_MASK: Final = "***"
_LEAST_LIFETIME_SECONDS: Final = 10
_YEAR_9999: Final = 253_370_764_800  # later dates can't be written


class _Guarded:
    """Something that must not travel: its repr is masked, and it does not pickle."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({_MASK})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} can't be pickled: it holds a secret")


class Secret(_Guarded):
    """A text that only `reveal` shows."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text."""
        return self._text


class Token(Secret):
    """A token for the `auth` header; only `reveal` shows it."""

    __slots__ = ()

    @property
    def claims(self) -> dict[str, Any] | None:
        """What a JSON Web Token claims, unverified; None of what is none."""
        try:
            _, payload, _ = self.reveal().split(".")
            claims = wire.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except ValueError:
            return None
        return claims if isinstance(claims, dict) else None

    @property
    def expires_at(self) -> float | None:
        """When it expires, in epoch seconds; None where it does not tell."""
        expires = (self.claims or {}).get("exp")
        if isinstance(expires, bool) or not isinstance(expires, int | float) or not 0 < expires < _YEAR_9999:
            return None
        return float(expires)

    def __init__(self, text: str) -> None:
        # A line end would end the header; a blank or a non-ASCII character is a copying error.
        sound = isinstance(text, str) and text and text.isascii() and text.isprintable() and " " not in text
        super().__init__(text)
        del text
        if not sound:
            raise CredentialsError("the token is empty or holds characters that no token has")


@runtime_checkable
class Credentials(Protocol):
    """Where tokens come from."""

    async def token(self) -> Token:
        """Return a token that is valid now; CredentialsError if there is none."""
        ...

    async def renew(self, rejected: Token) -> bool:
        """Forget a token that the server rejected; tell whether another one can be had."""
        ...


class JwtCredentials(_Guarded):
    """Mints the API's JSON Web Tokens from an app's client id and client secret.

    Args:
        client_id: the app's client id, which goes into the claim `appId`.
        client_secret: the app's client secret; for RS256 and RS512 the private key in PEM.
        subject: the user identity that goes into the claim `sub`; any will do.
        algorithm: what the app is set to: HS256, HS384, HS512, RS256 or RS512.
        lifetime_seconds: how long a token is valid; it is renewed when a tenth of that is left.
        jti_per_call: make a token with a fresh `jti` for every attempt, for apps that take each only once.
        clock: epoch seconds.

    Raises:
        CredentialsError: a blank id or secret, an unknown algorithm, or an absent extra.
    """

    __slots__ = (
        "_algorithm",
        "_client_id",
        "_clock",
        "_jti_per_call",
        "_key",
        "_lifetime",
        "_renew_at",
        "_subject",
        "_token",
    )

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        subject: str = "kore-campaign-async",
        algorithm: str = "HS256",
        lifetime_seconds: float = 3600.0,
        jti_per_call: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Out of this frame before anything is raised: tracebacks can show a frame's locals.
        secret = Secret(client_secret)
        del client_secret
        for what, value in (("client id", client_id), ("subject", subject)):
            if not isinstance(value, str) or not value.strip():
                raise CredentialsError(f"the {what} is blank")
        if algorithm not in ALGORITHMS:
            raise CredentialsError(f"the algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}")
        if not _LEAST_LIFETIME_SECONDS <= lifetime_seconds < float("inf"):
            raise CredentialsError(
                f"a lifetime of {lifetime_seconds} seconds can not be; {_LEAST_LIFETIME_SECONDS} is the least"
            )
        self._client_id = client_id
        self._subject = subject
        self._algorithm = algorithm
        self._lifetime = lifetime_seconds
        self._jti_per_call = jti_per_call
        self._clock = clock
        self._key = _Key(secret, algorithm)
        self._token: Token | None = None
        self._renew_at = 0.0

    async def token(self) -> Token:
        """Return the current token, or a new one where it is used up."""
        now = self._clock()
        if self._token is None or self._jti_per_call or now >= self._renew_at:
            self._token = self._mint(now)
            self._renew_at = now + 0.9 * self._lifetime
        return self._token

    async def renew(self, rejected: Token) -> bool:
        """Forget the rejected token, unless another call has replaced it already."""
        if self._token is rejected:
            self._token = None
        return True

    def _mint(self, now: float) -> Token:
        issued = int(now)
        return self._key.sign(
            {
                "sub": self._subject,
                wire.TOKEN_APP_ID: self._client_id,
                "iat": issued,
                "exp": issued + int(self._lifetime),
                "jti": str(uuid.uuid4()),
            }
        )


class _Key(_Guarded):
    """A signing key, checked when it is made, so that a wrong one is found before the first call."""

    __slots__ = ("_algorithm", "_prepared")

    def __init__(self, secret: Secret, algorithm: str) -> None:
        import jwt  # noqa: PLC0415  only who mints tokens pays for the import

        if not isinstance(secret.reveal(), str) or not secret.reveal().strip():
            raise CredentialsError("the client secret is blank")
        rsa = algorithm.startswith("RS")
        if rsa and not jwt.algorithms.has_crypto:
            raise CredentialsError(f"{algorithm} needs the extra rsa: pip install 'kore-campaign-async[rsa]'")
        self._algorithm = algorithm
        self._prepared: Any = None
        # PyJWT's and cryptography's errors can carry the key: ours is raised outside of the handler, so that
        # they don't hang on it as its context.
        with contextlib.suppress(Exception):
            self._prepared = jwt.get_algorithm_by_name(algorithm).prepare_key(secret.reveal())
        if self._prepared is None or (rsa and not _is_rsa_private(self._prepared)):
            takes = "a private key in PEM" if rsa else "a text that is not a key in PEM"
            raise CredentialsError(f"the client secret is no key for {algorithm}, which takes {takes}")

    def sign(self, claims: dict[str, str | int]) -> Token:
        """Return the signed token of these claims."""
        import jwt  # noqa: PLC0415

        token: Token | None = None
        # Also a warning of PyJWT's that is an error here: its frames hold the key.
        with contextlib.suppress(Exception):
            token = Token(jwt.encode(claims, self._prepared, algorithm=self._algorithm))
        if token is None:
            raise CredentialsError(f"no token could be signed with {self._algorithm}")
        return token


def _is_rsa_private(key: object) -> bool:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey  # noqa: PLC0415  of the extra rsa

    return isinstance(key, RSAPrivateKey)


class StaticToken(_Guarded):
    """A token that was made elsewhere. It can't be renewed: a 401 ends the call."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        try:
            self._token = Token(token)
        finally:
            del token  # tracebacks can show a frame's locals

    async def token(self) -> Token:
        """Return the token."""
        return self._token

    async def renew(self, rejected: Token) -> bool:
        """Tell that there is no other."""
        del rejected
        return False


class _CallableCredentials(_Guarded):
    """Asks a caller's async function before every attempt; caching is the function's own affair."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[[], Awaitable[str]]) -> None:
        self._function = function

    async def token(self) -> Token:
        """Ask the function; whatever it fails at is the cause of a CredentialsError."""
        return Token(await _asked("the function for tokens", self._function))

    async def renew(self, rejected: Token) -> bool:
        """Tell that the function can be asked again."""
        del rejected
        return True


class _ForeignCredentials(_Guarded):
    """Credentials of another class than ours, whose methods may raise whatever they like."""

    __slots__ = ("_given",)

    def __init__(self, given: Credentials) -> None:
        self._given = given

    async def token(self) -> Token:
        """Ask for the token; whatever that fails at is the cause of a CredentialsError."""
        token = await _asked("the credentials", self._given.token)
        if not isinstance(token, Token):
            raise CredentialsError(f"the credentials gave a {type(token).__name__}, not a Token")
        return token

    async def renew(self, rejected: Token) -> bool:
        """Ask whether there is another one."""
        return await _asked("the credentials", functools.partial(self._renewed, rejected))

    async def _renewed(self, rejected: Token) -> bool:
        return bool(await self._given.renew(rejected))


async def _asked(who: str, work: Callable[[], Awaitable[T]]) -> T:
    """Await what a program's own code makes of credentials; CredentialsError for whatever it raises.

    Its words are left out: they can hold the secret.
    """
    try:
        return await awaited(work)
    except CallbackError as error:
        raised = error.raised
    try:
        if isinstance(raised, CredentialsError):
            raise raised
        if isinstance(raised, asyncio.CancelledError):
            raise CredentialsError(f"{who} was cancelled from within")
        raise CredentialsError(f"{who} failed: {type(raised).__name__}") from raised
    finally:
        del raised  # its words can be the secret, and tracebacks can show a frame's locals


def guarded(credentials: Credentials) -> Credentials:
    """The same; those of another class than ours then fail with nothing but a CredentialsError."""
    ours = type(credentials) in {JwtCredentials, StaticToken, _CallableCredentials}
    return credentials if ours else _ForeignCredentials(credentials)


def as_credentials(given: Credentials | Callable[[], Awaitable[str]]) -> Credentials:
    """Take credentials, or an async function that returns a token's text; CredentialsError for others."""
    if isinstance(given, Credentials):
        return given
    if inspect.iscoroutinefunction(given) or inspect.iscoroutinefunction(type(given).__call__):
        return _CallableCredentials(given)
    kind = type(given).__name__
    del given  # it may be a token's bare text, and tracebacks can show a frame's locals
    raise CredentialsError(f"credentials are JwtCredentials, StaticToken or an async function, not {kind}")
