"""What `doctor` finds, line by line, with one call that reads."""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
import trustme
from cli.shell import Said, kore_campaign
from fakes import RATE_LIMIT_WORDS, Connection, answering, enveloped, raw_server, reply, said

from kore_campaign_async.sandbox import Sandbox

NOT_MINTED = {"KORE_CLIENT_ID": "", "KORE_CLIENT_SECRET": ""}
NO_ANSWER = ["not checked  clock: no answer came", "not checked  permissions: no answer came"]


def checks(found: Said) -> list[str]:
    """The lines of checks; those of settings stand above a blank line."""
    return found.out.rpartition("\n\n")[2].splitlines()


def account(url: str, **more: str) -> dict[str, str]:
    return {"KORE_HOST": url, "KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "acc", "KORE_AUTH_TOKEN": "opaque"} | more


def token(expires: float | None) -> str:
    claims: dict[str, Any] = {"sub": "x", "appId": "cs-1"} | ({} if expires is None else {"exp": int(expires)})
    return jwt.encode(claims, "s" * 32, algorithm="HS256")


async def test_all_is_fine_after_one_call(sandbox: Sandbox, tmp_path: Path) -> None:
    found = await kore_campaign("doctor", env=sandbox.environment, cwd=tmp_path)
    assert (found.status, found.err) == (0, "")
    settings, _, _ = found.out.rpartition("\n\n")
    assert f"host                {sandbox.url}  (KORE_HOST)" in settings
    assert "client_secret       ***  (KORE_CLIENT_SECRET)" in settings
    assert "rate                60/60  (default)" in settings
    complete, minted, network, clock, permissions = checks(found)
    assert complete == "ok           settings: complete"
    assert minted.startswith("ok           token: minted, valid until 20")
    assert network.startswith(f"ok           network: {sandbox.url} answered in ")
    assert clock == "ok           clock: within 5 s of the server's"
    assert permissions == "ok           permissions: the token reads the application's lists: 1 contact list"
    assert dict(sandbox.calls) == {"getAllListDetails": 1}
    assert sandbox.client_secret not in found.out


async def test_as_json(sandbox: Sandbox, tmp_path: Path) -> None:
    config = tmp_path / "kore.toml"
    config.write_text('[profiles.a]\nrate = ["30/60", "900/3600"]\nclient_secret_file = "secret"\n')
    (tmp_path / "secret").write_text(f"{sandbox.client_secret}\n")
    (tmp_path / "secret").chmod(0o644)
    doctor = ("doctor", "--json", "--config", "kore.toml", "--profile", "a")
    found = await kore_campaign(*doctor, env=sandbox.environment, cwd=tmp_path)
    assert (found.status, found.err) == (0, "")
    value = json.loads(found.out)
    assert value["ok"] is True
    origins = {one["name"]: (one["value"], one["from"]) for one in value["settings"]}
    assert origins["rate"] == ("30/60 900/3600", "rate in kore.toml [profiles.a]")
    assert origins["client_secret"] == ("***", "KORE_CLIENT_SECRET, not used")
    assert origins["client_secret_file"] == ("secret", "client_secret_file in kore.toml [profiles.a]")
    states = [(one["name"], one["state"]) for one in value["checks"]]
    assert states == [
        ("settings", "ok"),
        ("settings", "note"),
        ("token", "ok"),
        ("network", "ok"),
        ("clock", "ok"),
        ("permissions", "ok"),
    ]
    assert value["checks"][1]["said"].endswith("holds a secret and can be read by everybody on this machine")
    assert value["checks"][1]["next_step"] == "chmod 600 makes it yours alone"
    assert sandbox.client_secret not in found.out


async def test_wrong_settings_are_all_told_and_nothing_is_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    environ = sandbox.environment | {"KORE_HOST": "", "KORE_CLIENT_ID": ""}
    found = await kore_campaign("doctor", env=environ, cwd=tmp_path)
    assert found.status == 2
    host, credentials = checks(found)
    assert host.startswith("wrong        settings: KORE_HOST is not set in the environment; export it")
    assert credentials.startswith("wrong        settings: no credentials in the environment (KORE_CLIENT_SECRET alone")
    found = await kore_campaign("doctor", "--config", "nowhere.toml", env=sandbox.environment, cwd=tmp_path)
    assert found.status == 2
    assert checks(found) == [
        "wrong        settings: the settings file nowhere.toml can't be read: No such file or directory"
    ]
    assert sandbox.calls.total() == 0


async def test_a_wrong_secret_is_told_after_one_call(sandbox: Sandbox, tmp_path: Path) -> None:
    """A client would make another token and try again."""
    environ = sandbox.environment | {"KORE_CLIENT_SECRET": "another secret of at least thirty-two characters"}
    found = await kore_campaign("doctor", env=environ, cwd=tmp_path)
    assert found.status == 1
    assert checks(found)[-1] == (
        "wrong        permissions: 401: the token was not accepted (Invalid token: InvalidSignatureError); check the"
        " credentials"
    )
    assert sandbox.calls.total() == 1


async def test_another_application(sandbox: Sandbox, tmp_path: Path) -> None:
    found = await kore_campaign("doctor", env=sandbox.environment | {"KORE_APP_ID": "st-2"}, cwd=tmp_path)
    assert found.status == 1
    assert "wrong        permissions: 403: the token is not allowed to do this" in found.out
    assert "check KORE_APP_ID and KORE_ACCOUNT_ID" in found.out


@pytest.mark.parametrize(
    ("given", "state", "says"),
    [
        ("opaque", "note", "it is no JSON Web Token, so it does not tell when it expires"),
        (token(None), "ok", "a JSON Web Token that does not say when it expires"),
        (token(time.time() + 90_000), "ok", ", for 1 d "),
        (
            token(time.time() - 7300),
            "wrong",
            " min ago; set a new one in KORE_AUTH_TOKEN, or let tokens be minted",
        ),
        (token(10.0**18), "ok", "a JSON Web Token that does not say when it expires"),
    ],
)
async def test_what_a_token_tells(given: str, state: str, says: str, tmp_path: Path) -> None:
    async with raw_server(answering(200, enveloped([]))) as server:
        found = await kore_campaign("doctor", env=account(server.url, KORE_AUTH_TOKEN=given), cwd=tmp_path)
    assert found.status == (1 if state == "wrong" else 0)
    (line,) = [line for line in checks(found) if " token: " in line]
    assert line.startswith(f"{state:<11}")
    assert says in line
    assert given not in found.out or given == "opaque"


@pytest.mark.parametrize(
    ("seconds", "says"), [(3600, "1 h behind the server's"), (-90, "1 min 30 s ahead of the server's")]
)
async def test_a_clock_that_is_off_is_told(seconds: int, says: str, tmp_path: Path) -> None:
    """By the answer's Date, whether the call succeeded or not."""

    async def answer(connection: Connection) -> None:
        date = email.utils.formatdate(time.time() + seconds, usegmt=True)
        status = 200 if connection.number == 1 else 401
        await connection.read_request()
        await connection.write(reply(status, enveloped([]), {"Date": date}))

    async with raw_server(answer) as server:
        for status in (0, 1):
            found = await kore_campaign("doctor", env=account(server.url), cwd=tmp_path)
            assert found.status == status
            (line,) = [line for line in checks(found) if " clock: " in line]
            minutes = says.replace("1 h", "59 min 59 s").replace("30 s", "29 s")
            assert any(one in line for one in (says, minutes, says.replace("30 s", "31 s"))), line
            assert line.startswith("note ")
            assert line.endswith("; set this machine's clock (NTP): tokens are minted and judged by the time")


ANSWERS = {
    "a page": (
        answering(200, b"<html>", content_type="text/html"),
        "and not as the API does: 200: the reply is a page of",
    ),
    "a page that forbids": (answering(403, b"<html>", content_type="text/html"), "and not as the API does: 403: "),
    "other JSON": (answering(200, {}), "and not as the API does: 200: the reply has no status"),
    "a redirect": (answering(302, b""), "and not as the API does: 302: the server redirects, which is never followed"),
    "a fault": (answering(503, said("down")), "and not as the API does: 503: the server failed (down)"),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_who_answers_and_is_not_the_api(answer: str, tmp_path: Path) -> None:
    handler, says = ANSWERS[answer]
    async with raw_server(handler) as server:
        url = server.url
        found = await kore_campaign("doctor", env=account(server.url), cwd=tmp_path)
        assert server.connections == 1
    assert found.status == 1
    assert f"wrong        network: {url} answered, {says}" in found.out
    assert checks(found)[-1] == "not checked  permissions: the API did not answer"


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (
            401,
            {"errors": [{"msg": "Permission denied. Scope is incorrect!", "code": 4002}]},
            (
                "401: the app lacks the scope Campaign Management, or was not published since it got it (4002:"
                " Permission denied. Scope is incorrect!); give the app the scope Campaign Management and publish it"
                " after that: another token does not help"
            ),
        ),
        (
            401,
            {"errors": [{"msg": "Invalid SDK credentials", "code": 4002}]},
            "401: the token was not accepted (4002: Invalid SDK credentials); check the credentials",
        ),
        (
            503,
            {"status": "Error", "message": "no such app"},
            (
                "503: the reply's status is 'Error', not success (no such app); the server's words say why; mend"
                " what was sent"
            ),
        ),
    ],
    ids=["scope", "credentials", "an envelope"],
)
async def test_what_the_api_says_no_to_in_its_own_way(status: int, body: Any, says: str, tmp_path: Path) -> None:
    """The network is fine then, whatever the status."""
    async with raw_server(answering(status, body)) as server:
        found = await kore_campaign("doctor", env=account(server.url), cwd=tmp_path)
        lists = await kore_campaign("lists", env=account(server.url), cwd=tmp_path)
        assert server.connections == 2
    assert (found.status, lists.status) == (1, 1)
    assert checks(found)[-1] == f"wrong        permissions: {says}"
    assert says in lists.err
    assert lists.err.rstrip().endswith("; kore-campaign doctor tells more") == (status == 401)


async def test_a_limit_that_is_used_up(tmp_path: Path) -> None:
    async with raw_server(answering(429, said(RATE_LIMIT_WORDS))) as server:
        found = await kore_campaign("doctor", env=account(server.url), cwd=tmp_path)
        assert server.connections == 1
    assert found.status == 1
    assert "note         rate: 429: the account's rate limit is used up" in found.out
    assert "; wait a minute, or give the share of the limit that is yours with KORE_RATE" in found.out


async def test_who_cannot_be_reached(tmp_path: Path) -> None:
    """Within seconds, and without a second try."""
    async with raw_server(answering(), listening=False) as nobody:
        url = nobody.url
        found = await kore_campaign("doctor", env=account(url), cwd=tmp_path)
    assert found.status == 1
    assert checks(found)[2:] == [
        (
            f"wrong        network: {url} can't be reached: no connection could be made: Connection refused;"
            " check KORE_HOST and the network; KORE_TRUST_ENV=1 takes the proxy of HTTPS_PROXY"
        ),
        *NO_ANSWER,
    ]
    found = await kore_campaign("doctor", env=account("https://kore.invalid"), cwd=tmp_path)
    assert "https://kore.invalid can't be reached: the host name was not found; check KORE_HOST" in found.out


async def test_an_authority_that_is_not_trusted(tmp_path: Path) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    async with raw_server(answering(200, enveloped([])), tls=context) as server:
        found = await kore_campaign("doctor", env=account(server.url), cwd=tmp_path)
        assert found.status == 1
        assert (
            "can't be reached: the server's certificate is not trusted; check KORE_HOST; where a proxy opens TLS, name"
            " its authority with KORE_CA_BUNDLE"
        ) in found.out
        found = await kore_campaign("doctor", env=account(server.url, KORE_CA_BUNDLE="ca.pem"), cwd=tmp_path)
        assert found.status == 0, found.out


async def test_proxies_are_named_without_their_password(tmp_path: Path) -> None:
    async def refuse(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(reply(407, b"<html>"))
        await connection.reader.read()  # until the client has hung up

    async with raw_server(refuse) as proxy:
        url, masked = (proxy.url.replace("//", f"//{user}@") for user in ("me:hidden-word", "***"))
        environ = account("https://kore.invalid", HTTPS_PROXY=url)
        unused = await kore_campaign("doctor", env=environ, cwd=tmp_path)
        used = await kore_campaign("doctor", env=environ | {"KORE_TRUST_ENV": "1"}, cwd=tmp_path)
    assert "note         proxy: HTTPS_PROXY is set and not used; KORE_TRUST_ENV=1 uses it" in unused.out
    assert f"ok           proxy: calls go through {masked} (HTTPS_PROXY)" in used.out
    assert (
        "can't be reached: the proxy wants a user name and a password, or others (407); check HTTPS_PROXY" in used.out
    )
    assert used.status == 1
    assert "hidden-word" not in unused.out + used.out


async def test_the_call_waits_for_the_budget_like_every_other(sandbox: Sandbox, tmp_path: Path) -> None:
    """A shared budget that can't be asked lets no call out."""
    environ = sandbox.environment | {"KORE_SHARED_RATE": "redis://:hidden-word@127.0.0.1:9"}
    found = await kore_campaign("doctor", env=environ, cwd=tmp_path)
    assert found.status == 1
    assert "wrong        rate: the shared rate at redis://***@127.0.0.1:9 can't be reached" in found.out
    assert sandbox.calls.total() == 0
    assert "hidden-word" not in found.out + found.err
