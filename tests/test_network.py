"""Authorities, client certificates and proxies of the caller's own, over real sockets and with real certificates."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from attrs import define, evolve, field
from cryptography.hazmat.primitives import serialization
from fakes import (
    QUICK_RETRY,
    TOKEN,
    Connection,
    RawRequest,
    answering,
    client_for,
    enveloped,
    raw_server,
    reply,
    shown_by,
)

from kore_campaign_async import CampaignClient, Contact, Network, errors

HOST = "kore.invalid"  # which no DNS knows
HASTY = evolve(QUICK_RETRY, deadline_seconds=0.001)
LISTS = answering(200, enveloped([]))
PASSWORD = "p@ss:word of/the proxy"
QUOTED = "p%40ss%3Aword%20of%2Fthe%20proxy"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return path


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def serving(authority: trustme.CA, *names: str, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """The context of a server; with `clients` it wants a certificate of theirs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


# The CA bundle


async def test_a_ca_bundle_is_trusted(authority: trustme.CA, bundle: Path) -> None:
    async with (
        raw_server(LISTS, tls=serving(authority, "127.0.0.1")) as server,
        client_for(server.url, network=Network(ca_bundle=bundle)) as client,
    ):
        assert await client.list_contact_lists() == ()


async def test_without_it_the_certificate_is_not_trusted(authority: trustme.CA) -> None:
    async with (
        raw_server(LISTS, tls=serving(authority, "127.0.0.1")) as server,
        client_for(server.url, network=Network()) as client,
    ):
        with pytest.raises(errors.CertificateError):
            await client.list_contact_lists()
        assert server.requests == []


async def test_a_bundle_is_trusted_instead_of_the_system(bundle: Path) -> None:
    """And trust goes no further than to the names on a certificate of it."""
    other = trustme.CA()
    async with client_for(f"https://{HOST}", network=Network(ca_bundle=bundle)) as client:
        context = client._transport._ssl_context
    assert context is not None
    assert len(context.get_ca_certs()) == 1
    assert context.check_hostname
    for wrong in (serving(other, "127.0.0.1"), serving(other, "elsewhere.example")):
        async with (
            raw_server(LISTS, tls=wrong) as server,
            client_for(server.url, network=Network(ca_bundle=bundle)) as client,
        ):
            with pytest.raises(errors.CertificateError):
                await client.list_contact_lists()


# The client certificate


@pytest.mark.parametrize("apart", [True, False])
async def test_a_client_certificate_is_shown(apart: bool, authority: trustme.CA, bundle: Path, tmp_path: Path) -> None:
    """With its key in the same file and in another."""
    clients = trustme.CA()
    mine = clients.issue_cert("ours@example.org")
    pair, certificate, key = tmp_path / "pair.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    mine.private_key_and_cert_chain_pem.write_to_path(pair)
    mine.cert_chain_pems[0].write_to_path(certificate)
    mine.private_key_pem.write_to_path(key)
    shown = {"client_cert": certificate, "client_key": key} if apart else {"client_cert": pair}
    async with raw_server(LISTS, tls=serving(authority, "127.0.0.1", clients=clients)) as server:
        async with client_for(server.url, network=Network(ca_bundle=bundle, **shown)) as client:
            assert await client.list_contact_lists() == ()
        async with client_for(server.url, network=Network(ca_bundle=bundle)) as client:
            with pytest.raises(errors.CallError):
                await client.list_contact_lists()
        assert len(server.requests) == 1


def wrong_files(folder: Path) -> dict[str, tuple[Network, str]]:
    one, other = (trustme.CA().issue_cert("ours@example.org") for _ in range(2))
    certificate, key, foreign, locked = (folder / name for name in ("cert.pem", "key.pem", "foreign.pem", "locked.pem"))
    one.cert_chain_pems[0].write_to_path(certificate)
    one.private_key_pem.write_to_path(key)
    other.private_key_pem.write_to_path(foreign)
    private = serialization.load_pem_private_key(one.private_key_pem.bytes(), None)
    locked.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    nowhere = folder / "nowhere.pem"
    needed = "can't be used: PEM with a certificate and its own key is needed, the key not encrypted"
    missing = "can't be read: No such file or directory"
    return {
        "no bundle": (Network(ca_bundle=nowhere), f"the CA bundle {nowhere} {missing}"),
        "a bundle of nothing": (Network(ca_bundle=key), f"the CA bundle {key} holds no certificates in PEM"),
        "no certificate": (Network(client_cert=nowhere), f"the client certificate {nowhere} {missing}"),
        "a certificate without a key": (Network(client_cert=certificate), f"{certificate} {needed}"),
        "another's key": (Network(client_cert=certificate, client_key=foreign), f"with the key {foreign} {needed}"),
        "a locked key": (Network(client_cert=certificate, client_key=locked), f"with the key {locked} {needed}"),
    }


def test_files_that_cannot_be_used_are_named_before_any_call(tmp_path: Path) -> None:
    """An encrypted key too, of which OpenSSL would ask for the password at the terminal."""
    for network, sentence in wrong_files(tmp_path).values():
        with pytest.raises(errors.InvalidRequestError) as caught:
            client_for(f"https://{HOST}", network=network)
        assert sentence in str(caught.value)


def test_a_key_alone_and_two_trusts_are_refused(bundle: Path) -> None:
    with pytest.raises(ValueError, match="client_key is the key of a client_cert, which is missing"):
        Network(client_key="key.pem")
    with pytest.raises(errors.InvalidRequestError, match="an ssl_context holds the authorities"):
        client_for(f"https://{HOST}", network=Network(ca_bundle=bundle), ssl_context=ssl.create_default_context())


# Proxies


@define
class Tunnel:
    """A proxy that connects all its clients to one port of this machine.

    Attributes:
        heads: of the requests that it got.
        passed: all bytes that came from its clients behind those.
    """

    to: int
    heads: list[RawRequest] = field(factory=list)
    passed: bytearray = field(factory=bytearray)

    async def serve(self, connection: Connection) -> None:
        self.heads.append(await connection.read_head())
        reader, writer = await asyncio.open_connection("127.0.0.1", self.to)
        await connection.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        there = asyncio.ensure_future(self._copy(connection.reader, writer, self.passed))
        try:
            await self._copy(reader, connection.writer, bytearray())
        finally:
            there.cancel()
            await asyncio.gather(there, return_exceptions=True)
            writer.close()

    @staticmethod
    async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seen: bytearray) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                seen += data
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def tunnelled(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch, handler: Any = LISTS, user: str = ""
) -> AsyncIterator[tuple[Tunnel, Any, CampaignClient]]:
    """A client of a host that only the proxy of the environment can reach."""
    async with raw_server(handler, tls=serving(authority, HOST)) as server:
        tunnel = Tunnel(server.port)
        async with raw_server(tunnel.serve) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//{user}"))
            network = Network(trust_env=True, ca_bundle=bundle)
            async with client_for(f"https://{HOST}", network=network) as client:
                yield tunnel, server, client


async def test_a_call_goes_through_the_proxy_and_the_proxy_sees_no_token(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tunnelled(authority, bundle, monkeypatch) as (tunnel, server, client):
        assert await client.list_contact_lists() == ()
        await client.list_contact_lists()
        assert client.proxy is not None
        assert client.proxy.startswith("http://127.0.0.1:")
        assert [(one.method, one.target) for one in tunnel.heads] == [("CONNECT", f"{HOST}:443")] * 2
        assert [request.headers["auth"] for request in server.requests] == [TOKEN] * 2
        assert not [head for head in tunnel.heads if TOKEN in repr(head) or "auth" in map(str.lower, head.headers)]
        assert TOKEN.encode() not in tunnel.passed


async def test_the_password_goes_to_the_proxy_and_nowhere_else(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with tunnelled(authority, bundle, monkeypatch, user=f"me:{QUOTED}@") as (tunnel, server, client):
        await client.list_contact_lists()
        coded = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        assert tunnel.heads[0].headers["Proxy-Authorization"] == f"Basic {coded}"
        assert "Proxy-Authorization" not in server.requests[0].headers
        assert client.proxy is not None
        assert client.proxy.startswith("http://***@127.0.0.1:")
        assert not [text for text in (PASSWORD, QUOTED, coded) if text in repr(client._transport.proxy)]


async def test_a_netrc_is_not_believed(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"machine {HOST} login me password secret\nmachine 127.0.0.1 login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with tunnelled(authority, bundle, monkeypatch) as (tunnel, server, client):
        await client.list_contact_lists()
        assert "Proxy-Authorization" not in tunnel.heads[0].headers
        assert "Authorization" not in server.requests[0].headers


async def test_no_redirect_is_followed_through_a_proxy(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = answering(307, b"", {"Location": "https://elsewhere.invalid/"})
    async with tunnelled(authority, bundle, monkeypatch, moved) as (tunnel, _server, client):
        with pytest.raises(errors.RedirectRefusedError):
            await client.list_contact_lists()
        assert [one.target for one in tunnel.heads] == [f"{HOST}:443"]


async def test_the_certificate_behind_a_proxy_is_verified(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that opens TLS is found out, unless its authority is in the bundle."""
    async with tunnelled(trustme.CA(), bundle, monkeypatch) as (_tunnel, server, client):
        with pytest.raises(errors.CertificateError):
            await client.list_contact_lists()
        assert server.requests == []


@pytest.mark.parametrize("network", [Network(), None])
async def test_a_proxy_that_nobody_asked_for_gets_nothing(
    network: Network | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with raw_server(LISTS) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with client_for(f"https://{HOST}", network=network, retry=HASTY) as client:
            with pytest.raises(errors.ConnectionFailedError, match="the host name was not found"):
                await client.list_contact_lists()
            assert client.proxy is None
        assert proxy.connections == 0


@pytest.mark.parametrize("excepted", [HOST, ".invalid", "*", f"a.example, {HOST}"])
async def test_no_proxy_excepts_hosts(excepted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", excepted)
    async with client_for(f"https://{HOST}", network=Network(trust_env=True), retry=HASTY) as client:
        assert client.proxy is None


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "https://127.0.0.1:9", "https://localhost:9"])
async def test_this_machine_is_reached_directly(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain http to a sandbox would show the token to the proxy."""
    for name in ("HTTPS_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with client_for(url, network=Network(trust_env=True)) as client:
        assert client.proxy is None


REFUSALS: dict[str, tuple[bytes, type[errors.CallError], str]] = {
    "407": (reply(407, b"<html>"), errors.ProxyError, "the proxy wants a user name and a password, or others (407)"),
    "403": (reply(403, b"<html>"), errors.ProxyError, "the proxy answered 403 and does not connect"),
    "502": (reply(502, b"<html>"), errors.ConnectionFailedError, "the proxy answered 502 and does not connect"),
}


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize("adding", [True, False])
async def test_a_proxy_that_refuses_is_told_and_nothing_was_sent(
    refusal: str, adding: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, kind, reason = REFUSALS[refusal]

    async def refuse(connection: Connection) -> None:
        await connection.read_head()
        await connection.write(answer)
        await connection.reader.read()  # until the client has hung up

    async with raw_server(refuse) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("//", f"//me:{QUOTED}@"))
        async with client_for(f"https://{HOST}", network=Network(trust_env=True), retry=HASTY) as client:
            with pytest.raises(kind) as caught:
                await _call(client, adding=adding)
        assert caught.value.reason == reason
        assert caught.value.outcome is errors.CallOutcome.NOT_SENT
        assert caught.value.retryable == (kind is errors.ConnectionFailedError)
        # The first wait is random, and can be over before the deadline of what is not permanent.
        assert proxy.connections == 1 or (caught.value.retryable and proxy.connections > 1)
        shown = shown_by(caught.value, test_file=__file__)
        coded = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        assert not [text for text in (PASSWORD, QUOTED, coded, TOKEN) if text in shown]


async def _call(client: CampaignClient, *, adding: bool) -> None:
    if adding:
        await client.add_contacts("Renewals", [Contact("+14155550101")])
    else:
        await client.list_contact_lists()


async def test_a_proxy_that_is_not_there_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    async with raw_server(LISTS, listening=False) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        async with client_for(f"https://{HOST}", network=Network(trust_env=True), retry=HASTY) as client:
            with pytest.raises(errors.ConnectionFailedError, match="no connection to the proxy could be made: "):
                await client.list_contact_lists()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.invalid:3128")
    async with client_for(f"https://{HOST}", network=Network(trust_env=True), retry=HASTY) as client:
        with pytest.raises(errors.ConnectionFailedError, match="the proxy's host name was not found"):
            await client.list_contact_lists()


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (f"https://me:{QUOTED}@proxy.example", "it must start with http://"),
        (f"socks5://me:{QUOTED}@proxy.example", "it must start with http://"),
        (f"http://me:{QUOTED}@", "it names no host"),
        (f"http://me:{QUOTED}@proxy:port", "it names no host"),
    ],
)
def test_a_proxy_that_cannot_be_one_is_refused_without_its_password(
    url: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", url)
    with pytest.raises(errors.InvalidRequestError) as caught:
        client_for(f"https://{HOST}", network=Network(trust_env=True))
    assert f"the proxy in HTTPS_PROXY can't be used: {why}" in str(caught.value)
    assert QUOTED not in shown_by(caught.value, test_file=__file__)


async def test_settings_lead_to_the_network(
    authority: trustme.CA, bundle: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By the environment, and by a file with paths beside it."""
    account = {"KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "acc", "KORE_AUTH_TOKEN": TOKEN, "KORE_RATE": "none"}
    environ = account | {"KORE_HOST": HOST, "KORE_TRUST_ENV": "1", "KORE_CA_BUNDLE": str(bundle)}
    path = tmp_path / "kore.toml"
    path.write_text(f'host = "{HOST}"\ntrust_env = true\nca_bundle = "{bundle.name}"\n')
    async with tunnelled(authority, bundle, monkeypatch) as (tunnel, _server, _client):
        async with CampaignClient.from_env(environ) as client:
            assert await client.list_contact_lists() == ()
        async with CampaignClient.from_config(path, environ=account) as client:
            assert await client.list_contact_lists() == ()
        assert len(tunnel.heads) == 2
