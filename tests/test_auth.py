"""Tokens: their claims, their renewal, and that neither they nor the secrets are ever shown."""

from __future__ import annotations

import asyncio
import copy
import functools
import io
import logging
import pickle
import traceback
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

import kore_campaign_async
from kore_campaign_async import auth
from kore_campaign_async.auth import (
    ALGORITHMS,
    Credentials,
    JwtCredentials,
    StaticToken,
    Token,
    as_credentials,
)
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.errors import CredentialsError

# Long enough for every HMAC, so that PyJWT does not warn.
SECRET = "a-client-secret-that-nobody-may-see-0123456789-abcdefghijklmnopqrstuvwxyz"
CLIENT_ID = "cs-5250bdc9-6bfe-5ece-92c9-ab54aa2dxxxx"
TOKEN_TEXT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJub2JvZHkifQ.c2lnbmF0dXJlLXRoYXQtc3RheXMtaGlkZGVu"
NOW = 1_750_000_000.75
PACKAGE = str(Path(kore_campaign_async.__file__).parent)


class Clock:
    """Epoch seconds that a test sets."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def pem_of(key: Any) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def public_pem_of(key: Any) -> str:
    return (
        key.public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def decoded(token: Token, key: Any = SECRET, algorithm: str = "HS256") -> dict[str, Any]:
    return jwt.decode(token.reveal(), key, algorithms=[algorithm], options={"verify_exp": False, "verify_iat": False})


async def test_claims_are_exactly_the_documented_ones() -> None:
    """`appId` spelt so, `iat` and `exp` in whole epoch seconds, a `jti` for apps that enforce one."""
    token = await JwtCredentials(CLIENT_ID, SECRET, clock=Clock()).token()
    claims = decoded(token)
    jti = claims.pop("jti")
    assert claims == {
        "sub": "kore-campaign-async",
        "appId": CLIENT_ID,
        "iat": 1_750_000_000,
        "exp": 1_750_003_600,
    }
    assert type(claims["iat"]) is int
    assert type(claims["exp"]) is int
    assert str(uuid.UUID(jti)) == jti
    assert jwt.get_unverified_header(token.reveal()) == {"alg": "HS256", "typ": "JWT"}


async def test_subject_and_lifetime_are_the_callers() -> None:
    credentials = JwtCredentials(CLIENT_ID, SECRET, subject="ana@example.com", lifetime_seconds=90.5, clock=Clock())
    claims = decoded(await credentials.token())
    assert claims["sub"] == "ana@example.com"
    assert claims["exp"] - claims["iat"] == 90


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
async def test_secrets_sign(algorithm: str) -> None:
    token = await JwtCredentials(CLIENT_ID, SECRET, algorithm=algorithm, clock=Clock()).token()
    assert decoded(token, algorithm=algorithm)["appId"] == CLIENT_ID
    with pytest.raises(jwt.InvalidSignatureError):
        decoded(token, key=SECRET[::-1], algorithm=algorithm)


@pytest.mark.parametrize("algorithm", ["RS256", "RS512"])
async def test_private_keys_sign(algorithm: str, rsa_key: rsa.RSAPrivateKey) -> None:
    token = await JwtCredentials(CLIENT_ID, pem_of(rsa_key), algorithm=algorithm, clock=Clock()).token()
    assert decoded(token, rsa_key.public_key(), algorithm)["appId"] == CLIENT_ID
    assert jwt.get_unverified_header(token.reveal())["alg"] == algorithm


def test_every_algorithm_of_the_documents_is_there() -> None:
    assert {"HS256", "HS512", "RS256", "RS512"} <= set(ALGORITHMS)


async def test_a_token_is_kept_until_a_tenth_of_its_lifetime_is_left() -> None:
    clock = Clock()
    credentials = JwtCredentials(CLIENT_ID, SECRET, lifetime_seconds=1000, clock=clock)
    first = await credentials.token()
    clock.now = NOW + 899.9
    assert await credentials.token() is first
    clock.now = NOW + 900.1
    second = await credentials.token()
    assert second is not first
    assert decoded(second)["iat"] == int(clock.now)
    assert decoded(second)["jti"] != decoded(first)["jti"]


@settings(deadline=None)
@given(st.floats(10, 100_000), st.lists(st.floats(0, 5_000), max_size=20))
def test_no_token_that_is_handed_out_is_used_up(lifetime: float, steps: list[float]) -> None:
    """Whatever the lifetime and whenever it is asked: about a tenth of it, whole seconds aside, is left."""

    async def story() -> None:
        clock = Clock()
        credentials = JwtCredentials(CLIENT_ID, SECRET, lifetime_seconds=lifetime, clock=clock)
        for step in [0.0, *steps]:
            clock.now += step
            claims = decoded(await credentials.token())
            assert claims["iat"] <= clock.now
            assert claims["exp"] - clock.now >= 0.1 * lifetime - 2.001
            assert claims["exp"] - claims["iat"] <= lifetime

    asyncio.run(story())


async def test_a_fresh_jti_per_call_where_the_app_takes_each_once() -> None:
    credentials = JwtCredentials(CLIENT_ID, SECRET, jti_per_call=True, clock=Clock())
    jtis = [decoded(await credentials.token())["jti"] for _ in range(20)]
    assert len(set(jtis)) == 20


async def test_one_jti_per_token_otherwise() -> None:
    credentials = JwtCredentials(CLIENT_ID, SECRET, clock=Clock())
    assert len({(await credentials.token()).reveal() for _ in range(5)}) == 1


async def test_a_rejected_token_is_replaced() -> None:
    credentials = JwtCredentials(CLIENT_ID, SECRET, clock=Clock())
    rejected = await credentials.token()
    assert await credentials.renew(rejected) is True
    assert (await credentials.token()).reveal() != rejected.reveal()


async def test_an_outdated_token_does_not_drop_the_newer_one() -> None:
    """Ten calls get a 401 for one token: one new token is made, not ten."""
    credentials = JwtCredentials(CLIENT_ID, SECRET, clock=Clock())
    old = await credentials.token()
    assert await credentials.renew(old) is True
    new = await credentials.token()
    for _ in range(9):
        assert await credentials.renew(old) is True
        assert await credentials.token() is new


async def test_a_static_token_is_handed_out_as_it_is_and_never_renewed() -> None:
    credentials = StaticToken(TOKEN_TEXT)
    token = await credentials.token()
    assert token.reveal() == TOKEN_TEXT
    assert await credentials.renew(token) is False
    assert (await credentials.token()).reveal() == TOKEN_TEXT


async def fixed_token() -> str:
    return TOKEN_TEXT


class Vault:
    """An object with an async `__call__`."""

    def __init__(self, *texts: Any) -> None:
        self._texts = iter(texts)

    async def __call__(self) -> Any:
        return next(self._texts)


async def test_an_async_function_is_asked_before_every_attempt() -> None:
    asked = 0

    async def fetch() -> str:
        nonlocal asked
        asked += 1
        return f"token-{asked}"

    credentials = as_credentials(fetch)
    assert [(await credentials.token()).reveal() for _ in range(3)] == ["token-1", "token-2", "token-3"]
    assert await credentials.renew(Token("token-3")) is True


@pytest.mark.parametrize("given_function", [fixed_token, Vault(TOKEN_TEXT), functools.partial(fixed_token)])
async def test_whatever_is_async_and_callable_will_do(given_function: Callable[[], Awaitable[str]]) -> None:
    assert (await as_credentials(given_function).token()).reveal() == TOKEN_TEXT


async def test_what_the_function_raises_is_the_cause_of_ours() -> None:
    """A run knows what to do with our error; the caller finds their own behind it."""

    async def fetch() -> str:
        raise ConnectionError("the vault is closed")

    with pytest.raises(CredentialsError, match="the function for tokens failed: ConnectionError") as caught:
        await as_credentials(fetch).token()
    assert isinstance(caught.value.__cause__, ConnectionError)


def test_credentials_pass_as_they_are() -> None:
    class Own:
        async def token(self) -> Token:
            return Token("t")

        async def renew(self, rejected: Token) -> bool:
            return False

    for credentials in (StaticToken(TOKEN_TEXT), JwtCredentials(CLIENT_ID, SECRET), Own()):
        assert isinstance(credentials, Credentials)
        assert as_credentials(credentials) is credentials


@pytest.mark.parametrize("value", [None, 5, TOKEN_TEXT, lambda: TOKEN_TEXT, {"token": TOKEN_TEXT}])
def test_anything_else_is_no_credentials(value: Any) -> None:
    with pytest.raises(CredentialsError, match="credentials are JwtCredentials, StaticToken or an async function"):
        as_credentials(value)


@pytest.mark.parametrize(
    "text", ["", " ", "a b", TOKEN_TEXT + "\n", "a\r\nx: y", "a\tb", "tökèn", "a\x00", None, b"a", 5]
)
def test_what_no_header_can_hold_is_no_token(text: Any) -> None:
    with pytest.raises(CredentialsError, match="the token is empty or holds characters that no token has"):
        Token(text)
    with pytest.raises(CredentialsError):
        StaticToken(text)


@pytest.mark.parametrize("value", ["", " ", "\t\n", None, 5])
def test_blank_ids_and_secrets(value: Any) -> None:
    """PyJWT takes a blank secret, and the server would say only 401."""
    with pytest.raises(CredentialsError, match="the client id is blank"):
        JwtCredentials(value, SECRET)
    with pytest.raises(CredentialsError, match="the client secret is blank"):
        JwtCredentials(CLIENT_ID, value)
    with pytest.raises(CredentialsError, match="the subject is blank"):
        JwtCredentials(CLIENT_ID, SECRET, subject=value)


@pytest.mark.parametrize("algorithm", ["none", "hs256", "ES256", "RS384", "", None])
def test_unknown_algorithms(algorithm: Any) -> None:
    """Most of all `none`, which signs nothing."""
    with pytest.raises(CredentialsError, match="is none of HS256, HS384, HS512, RS256, RS512"):
        JwtCredentials(CLIENT_ID, SECRET, algorithm=algorithm)


@pytest.mark.parametrize("lifetime", [0, -1, 9.9, float("nan"), float("inf")])
def test_lifetimes_that_make_no_token(lifetime: float) -> None:
    """Found when the credentials are made, not at the first call."""
    with pytest.raises(CredentialsError):
        JwtCredentials(CLIENT_ID, SECRET, lifetime_seconds=lifetime)


@pytest.mark.parametrize("kind", ["text", "public", "elliptic", "edwards", "damaged"])
@pytest.mark.parametrize("algorithm", ["RS256", "RS512"])
def test_a_wrong_key_for_rsa_is_found_before_any_call(kind: str, algorithm: str, rsa_key: rsa.RSAPrivateKey) -> None:
    key = wrong_keys(rsa_key)[kind]
    with pytest.raises(CredentialsError, match=f"no key for {algorithm}, which takes a private key in PEM"):
        JwtCredentials(CLIENT_ID, key, algorithm=algorithm)


def wrong_keys(rsa_key: rsa.RSAPrivateKey) -> dict[str, str]:
    return {
        "text": SECRET,
        "public": public_pem_of(rsa_key),
        "elliptic": pem_of(ec.generate_private_key(ec.SECP256R1())),
        "edwards": pem_of(ed25519.Ed25519PrivateKey.generate()),
        "damaged": pem_of(rsa_key).replace("A", "B"),
    }


def test_a_key_in_pem_is_no_hmac_secret(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(CredentialsError, match="which takes a text that is not a key in PEM"):
        JwtCredentials(CLIENT_ID, pem_of(rsa_key))


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch, rsa_key: rsa.RSAPrivateKey) -> None:
    monkeypatch.setattr(jwt.algorithms, "has_crypto", False)
    with pytest.raises(CredentialsError) as caught:
        JwtCredentials(CLIENT_ID, pem_of(rsa_key), algorithm="RS256")
    assert "kore-campaign-async[rsa]" in str(caught.value)
    JwtCredentials(CLIENT_ID, SECRET)


@pytest.fixture
def hidden(rsa_key: rsa.RSAPrivateKey) -> list[object]:
    return [
        Token(TOKEN_TEXT),
        StaticToken(TOKEN_TEXT),
        JwtCredentials(CLIENT_ID, SECRET),
        JwtCredentials(CLIENT_ID, pem_of(rsa_key), algorithm="RS256"),
        as_credentials(Vault(TOKEN_TEXT)),
        auth.Secret(SECRET),
        auth._Key(auth.Secret(SECRET), "HS256"),
    ]


async def test_what_holds_a_secret_masks_itself(hidden: list[object]) -> None:
    """In repr, str and format, in a container, in a log line, and after a token was made."""
    await hidden[2].token()  # type: ignore[attr-defined]
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    for value in hidden:
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, "%s %r", (value, value), None))
        texts = [repr(value), str(value), f"{value}", repr([value]), stream.getvalue()]
        for text in texts:
            assert "***" in text
            assert_no_secret(text)
        assert repr(value) == f"{type(value).__name__}(***)"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_holds_a_secret_does_not_travel(hidden: list[object], protocol: int) -> None:
    for value in hidden:
        with pytest.raises(TypeError, match="can't be pickled: it holds a secret"):
            pickle.dumps(value, protocol)
        with pytest.raises(TypeError, match="can't be pickled: it holds a secret"):
            copy.deepcopy(value)


def assert_no_secret(text: str, *more: str) -> None:
    """Neither the secret nor the token, nor a telling part of one, nor anything in `more`."""
    for secret in (SECRET, TOKEN_TEXT, TOKEN_TEXT.split(".")[2], *more):
        assert secret not in text, f"{secret[:12]}… is shown"


def shown(error: BaseException) -> str:
    """All that a tracker of errors could show of it: texts, args, chain, and locals of the package's frames."""
    texts: list[str] = []
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    reports: list[traceback.TracebackException | None] = [report]
    while reports:
        one = reports.pop()
        if one is None:
            continue
        texts.extend(one.format_exception_only())
        texts.extend(f"{frame.name}: {frame.locals}" for frame in one.stack if frame.filename.startswith(PACKAGE))
        reports += [one.__cause__, one.__context__]
    chain: list[BaseException | None] = [error]
    while chain:
        link = chain.pop()
        if link is not None:
            texts += [str(link), repr(link), repr(link.args), repr(getattr(link, "__notes__", ""))]
            chain += [link.__cause__, link.__context__]
    return "\n".join(texts)


def provoked(rsa_key: rsa.RSAPrivateKey) -> dict[str, tuple[Callable[[], Any], tuple[str, ...]]]:
    """Every way to a CredentialsError that has a secret or a token at hand: (what to call, more secrets)."""
    keys = wrong_keys(rsa_key)
    environment = {"KORE_HOST": "platform.kore.ai", "KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "acc"}

    def ask(*texts: Any) -> Callable[[], Any]:
        return lambda: asyncio.run(as_credentials(Vault(*texts)).token())  # type: ignore[arg-type]

    ways: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
        "blank client id": (lambda: JwtCredentials(" ", SECRET), ()),
        "blank subject": (lambda: JwtCredentials(CLIENT_ID, SECRET, subject=""), ()),
        "unknown algorithm": (lambda: JwtCredentials(CLIENT_ID, SECRET, algorithm="none"), ()),
        "short lifetime": (lambda: JwtCredentials(CLIENT_ID, SECRET, lifetime_seconds=1), ()),
        "secret of bytes": (lambda: JwtCredentials(CLIENT_ID, SECRET.encode()), ()),  # type: ignore[arg-type]
        "PEM for HMAC": (lambda: JwtCredentials(CLIENT_ID, pem_of(rsa_key)), (body_of(pem_of(rsa_key)),)),
        "token with a line end": (lambda: StaticToken(TOKEN_TEXT + "\n"), ()),
        "token with a blank": (lambda: Token("Bearer " + TOKEN_TEXT), ()),
        "token of bytes": (lambda: StaticToken(TOKEN_TEXT.encode()), ()),  # type: ignore[arg-type]
        "a bare token for credentials": (lambda: as_credentials(TOKEN_TEXT), ()),  # type: ignore[arg-type]
        "a function with a bad token": (ask(TOKEN_TEXT + " "), ()),
        "a function with bytes": (ask(TOKEN_TEXT.encode()), ()),
        "a client with a bare token": (
            lambda: CampaignClient(
                "platform.kore.ai",
                app_id="st-1",
                account_id="acc",
                credentials=TOKEN_TEXT,  # type: ignore[arg-type]
            ),
            (),
        ),
        "environment with a blank client id": (
            lambda: CampaignClient.from_env({**environment, "KORE_CLIENT_ID": " ", "KORE_CLIENT_SECRET": SECRET}),
            (),
        ),
        "environment with a bad token": (
            lambda: CampaignClient.from_env({**environment, "KORE_AUTH_TOKEN": TOKEN_TEXT + "\n"}),
            (),
        ),
        "environment with a secret alone": (
            lambda: CampaignClient.from_env({**environment, "KORE_CLIENT_SECRET": SECRET}),
            (),
        ),
    }
    for kind, key in keys.items():
        ways[f"{kind} key for RS256"] = (
            functools.partial(JwtCredentials, CLIENT_ID, key, algorithm="RS256"),
            (body_of(key),),
        )
    return ways


def body_of(pem: str) -> str:
    """A telling piece of a key's text."""
    lines = pem.splitlines()
    return lines[1][:40] if len(lines) > 1 else pem


WAYS = (
    "blank client id",
    "blank subject",
    "unknown algorithm",
    "short lifetime",
    "secret of bytes",
    "PEM for HMAC",
    "token with a line end",
    "token with a blank",
    "token of bytes",
    "a bare token for credentials",
    "a function with a bad token",
    "a function with bytes",
    "a client with a bare token",
    "environment with a blank client id",
    "environment with a bad token",
    "environment with a secret alone",
    "text key for RS256",
    "public key for RS256",
    "elliptic key for RS256",
    "edwards key for RS256",
    "damaged key for RS256",
)


def test_every_way_is_swept(rsa_key: rsa.RSAPrivateKey) -> None:
    assert set(provoked(rsa_key)) == set(WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_no_error_shows_a_secret(way: str, rsa_key: rsa.RSAPrivateKey) -> None:
    """Not in its text, args, cause or context, nor in the locals of the package's frames in its traceback."""
    provoke, more = provoked(rsa_key)[way]
    with pytest.raises(CredentialsError) as caught:
        provoke()
    assert_no_secret(shown(caught.value), *more)


@pytest.mark.parametrize("way", WAYS)
def test_errors_of_credentials_stand_alone(way: str, rsa_key: rsa.RSAPrivateKey) -> None:
    """PyJWT's and cryptography's errors can carry the key: ours hangs on none of them, and survives a pickle."""
    provoke, _ = provoked(rsa_key)[way]
    with pytest.raises(CredentialsError) as caught:
        provoke()
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  our own bytes


async def test_a_signature_that_fails_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever PyJWT says of it, our error says only which algorithm it was."""

    def broken(payload: object, key: object, **_: object) -> str:
        raise jwt.InvalidKeyError(f"the key {key!r} is bad")

    credentials = JwtCredentials(CLIENT_ID, SECRET, clock=Clock())
    monkeypatch.setattr(jwt, "encode", broken)
    with pytest.raises(CredentialsError, match="no token could be signed with HS256") as caught:
        await credentials.token()
    assert_no_secret(shown(caught.value))
    assert caught.value.__context__ is None
