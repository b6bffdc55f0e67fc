"""What a person can do wrong, and the sentence and exit status that each mistake gets.

The commands run in this process, beside servers in a thread: the mistakes are many, and a process for each is slow.
"""

from __future__ import annotations

import asyncio
import contextlib
import email.utils
import fcntl
import gc
import logging
import os
import shlex
import sqlite3
import ssl
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final, TypeVar

import jwt
import pytest
import trustme
from attrs import define, evolve, field, frozen
from click.testing import CliRunner, Result
from fakes import QUICK_RETRY, Connection, answering, raw_server, reply, said

from kore_campaign_async.cli.main import kore_campaign
from kore_campaign_async.sandbox import Sandbox

T = TypeVar("T")

GOOD: Final = "phone,firstName\n+14155550101,Ana\n+14155550102,Zoë\n"
PUSH: Final = "push c.csv --list Renewals --run-dir run"
HASTY: Final = evolve(QUICK_RETRY, deadline_seconds=0.001)
PAGE: Final = b"<!doctype html><html><title>Sign in</title></html>"
EXPIRED: Final = jwt.encode({"sub": "x", "appId": "cs-1", "exp": 1_700_000_000}, "s" * 32, algorithm="HS256")
#: Variables of a good account, left out.
NOT_MINTED: Final = {"KORE_CLIENT_ID": "", "KORE_CLIENT_SECRET": ""}
PROXIED: Final = {"KORE_HOST": "https://kore.invalid", "KORE_TRUST_ENV": "1"}


# The world that mistakes are made in


@define
class World:
    """Servers in a thread of their own: the sandbox, and some that are not what they should be."""

    sandbox: Sandbox = field(factory=lambda: Sandbox(rate=None, job_seconds=0.0))
    urls: dict[str, str] = field(factory=dict)
    _loop: asyncio.AbstractEventLoop = field(factory=asyncio.new_event_loop)
    _servers: AsyncExitStack = field(factory=AsyncExitStack)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def start(self) -> None:
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.run(self._start())

    async def _start(self) -> None:
        await self._servers.enter_async_context(self.sandbox)
        for name, handler in SERVERS.items():
            server = await self._servers.enter_async_context(raw_server(handler, listening=name != "nobody"))
            self.urls[name] = server.url
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        server = await self._servers.enter_async_context(raw_server(hanging, tls=context))
        self.urls["untrusted"] = server.url
        self.urls["no_tls"] = self.urls["no_tls"].replace("http:", "https:")

    def stop(self) -> None:
        self.run(self._servers.aclose())
        self._loop.call_soon_threadsafe(self._loop.stop)


async def off_by_an_hour(connection: Connection) -> None:
    await connection.read_request()
    date = email.utils.formatdate(time.time() - 3600, usegmt=True)
    await connection.write(reply(401, said("jwt not active"), {"Date": date}))


async def refusing_proxy(connection: Connection) -> None:
    await connection.read_head()
    await connection.write(reply(407, PAGE))
    await connection.reader.read()  # until the client has hung up


async def blurting(connection: Connection) -> None:
    await connection.write(reply(400, said("this is no TLS")))


async def hanging(connection: Connection) -> None:
    await connection.hang()


SERVERS: Final[dict[str, Callable[[Connection], Coroutine[Any, Any, None]]]] = {
    "nobody": hanging,
    "page": answering(200, PAGE, content_type="text/html"),
    "forbidding_page": answering(403, PAGE, content_type="text/html"),
    "other_json": answering(200, {"hello": "world"}),
    "moved": answering(302, b"", {"Location": "https://elsewhere.invalid"}),
    "failing": answering(503, said("down for maintenance")),
    "no_tls": blurting,
    "late_clock": off_by_an_hour,
    "proxy": refusing_proxy,
}


@pytest.fixture(scope="module")
def servers() -> Iterator[World]:
    made = World()
    made.start()
    yield made
    made.stop()


@pytest.fixture
def world(servers: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A folder with good contacts, a good account, and a list that drops duplicates."""
    for name in [name for name in os.environ if name.startswith("KORE_") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    for name, value in servers.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    # How long it is tried is not what is looked at here.
    monkeypatch.setattr("kore_campaign_async.client.RetryPolicy", lambda: HASTY)
    monkeypatch.setattr("kore_campaign_async.cli.lists._PATIENCE", HASTY)
    (tmp_path / "c.csv").write_text(GOOD)
    servers.sandbox.lists.clear()
    servers.sandbox.make_list("Renewals", "Due in July")
    servers.sandbox.make_list("Keeping", "Keeps them", allow_duplicates=True)
    servers.sandbox.faults = ()
    servers.sandbox.calls.clear()
    thresholds, runs = gc.get_threshold(), logging.getLogger("kore_campaign_async.runs")
    level = runs.level
    yield servers
    runs.setLevel(level)
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def invoke(arguments: str, env: dict[str, str] | None = None, given: str | None = None) -> Result:
    runner = CliRunner(env=dict(env or {}))
    return runner.invoke(kore_campaign, shlex.split(arguments), prog_name="kore-campaign", input=given)


# What is prepared for a mistake


def write(name: str, content: str | bytes = "", mode: int = 0o600) -> Callable[[World], None]:
    def make(_world: World) -> None:
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
        Path(name).chmod(mode)

    return make


def used(_world: World) -> None:
    assert invoke(PUSH).exit_code == 0


def changed(world: World) -> None:
    used(world)
    write("c.csv", GOOD.replace("Ana", "Bea"))(world)
    unreported(world)


def unreported(_world: World) -> None:
    """As after a kill at the very beginning: nothing says that the run is finished."""
    Path("run/report.json").unlink()
    with contextlib.closing(sqlite3.connect("run/journal.sqlite")) as connection, connection:
        connection.execute("DELETE FROM setting WHERE name = 'report'")


def of_another_account(world: World) -> None:
    changed(world)
    write("c.csv", GOOD)(world)


def locked(world: World) -> None:
    Path("run").mkdir()
    held = os.open("run/lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    world.urls["held"] = str(held)


def twice(world: World) -> None:
    world.sandbox.make_list("Renewals", "Due in July, too")


def without(library: str, ours: str) -> Callable[[World], None]:
    """As if a library were not installed, for the modules of ours that need it."""

    def remove(_world: World) -> None:
        for name in [
            name for name in sys.modules if f"{name}.".startswith((f"{library}.", f"kore_campaign_async.{ours}."))
        ]:
            del sys.modules[name]
            parent, _, child = name.rpartition(".")
            # A package remembers its modules too.
            if parent.startswith("kore_campaign_async"):
                vars(sys.modules[parent]).pop(child, None)
        sys.modules[library] = None  # type: ignore[assignment]

    return remove


@frozen
class Mistake:
    """A command, and what is said about it.

    Attributes:
        arguments: of the command; names in braces stand for the servers' URLs, also in `env`.
        says: the sentence, or what of it decides; without what differs from run to run.
        status: the exit status.
        env: what of the account is otherwise.
        before: what is done to the folder or the sandbox before.
        given: standard input.
    """

    arguments: str
    says: str
    status: int = 2
    env: dict[str, str] = field(factory=dict)
    before: Callable[[World], None] | None = None
    given: str | None = None


M = Mistake
MISTAKES: Final[dict[str, Mistake]] = {
    # The account's settings
    "no settings": M(
        "lists",
        "KORE_HOST, KORE_APP_ID and KORE_ACCOUNT_ID are not set in the environment; export them, or name a file of"
        " settings in KORE_CONFIG",
        env={"KORE_HOST": "", "KORE_APP_ID": "", "KORE_ACCOUNT_ID": ""},
    ),
    "no host": M("lists", "KORE_HOST is not set in the environment; export it, or name a file", env={"KORE_HOST": ""}),
    "no credentials": M("lists", "no credentials in the environment: set KORE_CLIENT_ID with", env=NOT_MINTED),
    "an id without its secret": M(
        "lists", "(KORE_CLIENT_ID alone is not enough, KORE_CLIENT_SECRET is missing)", env={"KORE_CLIENT_SECRET": ""}
    ),
    "a secret and a file of it": M(
        "lists",
        "KORE_CLIENT_SECRET and KORE_CLIENT_SECRET_FILE are both set; leave one of them out",
        env={"KORE_CLIENT_SECRET_FILE": "secret"},
    ),
    "a secret's file that is missing": M(
        "lists",
        "KORE_CLIENT_SECRET_FILE: secret can't be read: No such file or directory",
        env={"KORE_CLIENT_SECRET": "", "KORE_CLIENT_SECRET_FILE": "secret"},
    ),
    "an empty secret's file": M(
        "lists",
        "KORE_AUTH_TOKEN_FILE: token is empty",
        env=NOT_MINTED | {"KORE_AUTH_TOKEN_FILE": "token"},
        before=write("token", "\n"),
    ),
    "a token of two words": M(
        "lists",
        "the token is empty or holds characters that no token has (from KORE_AUTH_TOKEN)",
        env=NOT_MINTED | {"KORE_AUTH_TOKEN": "Bearer abc"},
    ),
    "an id with a blank": M("lists", "the application id 'st 1' can't be right", env={"KORE_APP_ID": "st 1"}),
    "plain http": M("lists", "plain http would show the token on the way; use https", env={"KORE_HOST": "http://a.b"}),
    "a host with a path": M(
        "lists",
        "it must end after the host name and port (an example: https://platform.kore.ai)",
        env={"KORE_HOST": "https://platform.kore.ai/api"},
    ),
    "a host with a password": M(
        "lists",
        "the host '…@a.example' can't be used: it must hold no user",
        env={"KORE_HOST": "https://a:b@a.example"},
    ),
    "a rate in words": M(
        "lists", "KORE_RATE: a rate is written CALLS/SECONDS, such as 60/60", env={"KORE_RATE": "sixty"}
    ),
    "a shared rate that is no Redis": M(
        "lists",
        "the shared rate http://cache is no URL of a Redis, such as redis://host:6379",
        env={"KORE_SHARED_RATE": "http://cache"},
    ),
    "a shared rate that nobody serves": M(
        "lists",
        "can't be reached: Error 111 connecting to 127.0.0.1",
        env={"KORE_SHARED_RATE": "redis://127.0.0.1:9"},
    ),
    "a shared rate without its extra": M(
        "lists",
        "a shared rate needs the extra redis: pip install 'kore-campaign-async[redis]'",
        env={"KORE_SHARED_RATE": "redis://127.0.0.1:9"},
        before=without("redis", "budget_redis"),
    ),
    "another word than yes or no": M(
        "lists", "KORE_TRUST_ENV is 'maybe'; it must be 1 or 0", env={"KORE_TRUST_ENV": "maybe"}
    ),
    # The file of settings
    "a file of settings that is missing": M(
        "lists --config kore.toml", "the settings file kore.toml can't be read: No such file or directory"
    ),
    "a misspelt key": M(
        "--config kore.toml lists",
        "kore.toml [profiles.a]: unknown key 'acount_id'; did you mean 'account_id'?",
        before=write("kore.toml", '[profiles.a]\nacount_id = "x"'),
    ),
    "a profile that stands alone": M(
        "lists --config kore.toml",
        "kore.toml: unknown table [production]; a profile is written [profiles.production]",
        before=write("kore.toml", '[production]\nhost = "x"'),
    ),
    "a text without quotes": M(
        "lists --config kore.toml",
        "the settings file kore.toml is not TOML: Invalid value (at line 1, column 8)",
        before=write("kore.toml", "host = platform.kore.ai"),
    ),
    "a misspelt profile": M(
        "lists --config kore.toml --profile stagin",
        "kore.toml has no profile 'stagin'; the nearest is 'staging'",
        before=write("kore.toml", "[profiles.staging]\n[profiles.production]"),
    ),
    "a profile without a file": M(
        "lists --profile staging",
        "the profile 'staging' is one of no file: name the file of settings with KORE_CONFIG (--config)",
    ),
    # The network
    "a host that is not there": M(
        "lists",
        "the host name was not found; check KORE_HOST and the network;",
        status=1,
        env={"KORE_HOST": "https://kore.invalid"},
    ),
    "a port where nobody listens": M(
        "lists", "no connection could be made: Connection refused", status=1, env={"KORE_HOST": "{nobody}"}
    ),
    "https to a server without TLS": M(
        "lists", "no TLS connection could be made", status=1, env={"KORE_HOST": "{no_tls}"}
    ),
    "a certificate that nobody trusts": M(
        "lists",
        "the server's certificate is not trusted; check KORE_HOST; where a proxy opens TLS, name its authority with"
        " KORE_CA_BUNDLE",
        status=1,
        env={"KORE_HOST": "{untrusted}"},
    ),
    "a page instead of the API": M(
        "lists",
        "a page answered where the API should: check KORE_HOST, and what proxy or login stands in the way",
        status=1,
        env={"KORE_HOST": "{page}"},
    ),
    "a page that forbids": M(
        "lists",
        "a page answered where the API should: check KORE_HOST",
        status=1,
        env={"KORE_HOST": "{forbidding_page}"},
    ),
    "another API": M("lists", "the reply has no status", status=1, env={"KORE_HOST": "{other_json}"}),
    "a host that moved": M(
        "lists",
        "302: the server redirects, which is never followed",
        status=1,
        env={"KORE_HOST": "{moved}"},
    ),
    "a server that is down": M(
        "lists", "503: the server failed (down for maintenance)", status=1, env={"KORE_HOST": "{failing}"}
    ),
    "a list that may have been made": M(
        "create Renewals --description x",
        "503: the server failed (down for maintenance); the list may have been made: look with kore-campaign lists"
        " before you try again",
        status=1,
        env={"KORE_HOST": "{failing}"},
    ),
    "a push to a page": M(
        PUSH,
        "stands in the way; kore-campaign doctor tells more; nothing was sent",
        status=2,
        env={"KORE_HOST": "{page}"},
    ),
    "a proxy without its password": M(
        "lists",
        "the proxy wants a user name and a password, or others (407); check HTTPS_PROXY, or leave KORE_TRUST_ENV out",
        status=1,
        env=PROXIED | {"HTTPS_PROXY": "{proxy}"},
    ),
    "a proxy that is not there": M(
        "lists",
        "no connection to the proxy could be made: Connection refused",
        status=1,
        env=PROXIED | {"HTTPS_PROXY": "{nobody}"},
    ),
    "a proxy that speaks TLS": M(
        "lists",
        "the proxy in HTTPS_PROXY can't be used: it must start with http://",
        env=PROXIED | {"HTTPS_PROXY": "https://me:secret@proxy.example"},
    ),
    "a CA bundle that is missing": M(
        "lists", "the CA bundle ca.pem can't be read: No such file or directory", env={"KORE_CA_BUNDLE": "ca.pem"}
    ),
    "a CA bundle of something else": M(
        "lists", "the CA bundle c.csv holds no certificates in PEM", env={"KORE_CA_BUNDLE": "c.csv"}
    ),
    "a key without its certificate": M(
        "lists",
        "KORE_CLIENT_KEY names a key and no certificate is named: set KORE_CLIENT_CERT",
        env={"KORE_CLIENT_KEY": "k"},
    ),
    # Who one is
    "a wrong secret": M(
        "lists",
        "401: the token was not accepted (Invalid token: InvalidSignatureError), after 2 attempts; check the"
        " credentials; kore-campaign doctor tells more",
        status=1,
        env={"KORE_CLIENT_SECRET": "another secret of at least thirty-two characters"},
    ),
    "a push with a wrong secret": M(
        PUSH,
        "kore-campaign doctor tells more; nothing was sent",
        env={"KORE_CLIENT_SECRET": "another secret of at least thirty-two characters"},
    ),
    "another application": M(
        "lists",
        "403: the token is not allowed to do this (The token is not valid for this iid); check KORE_APP_ID and"
        " KORE_ACCOUNT_ID, and what the app may do",
        status=1,
        env={"KORE_APP_ID": "st-another"},
    ),
    "another account": M("lists", "is not valid for this accountId", status=1, env={"KORE_ACCOUNT_ID": "another"}),
    "an expired token": M(
        "lists",
        "401: the token was not accepted; it expired at 2023-11-14T22:13:20Z",
        status=1,
        env=NOT_MINTED | {"KORE_AUTH_TOKEN": EXPIRED},
    ),
    "a clock that is off": M(
        "lists",
        " s ahead of the server's (jwt not active)",
        status=1,
        env={"KORE_HOST": "{late_clock}"},
    ),
    # The command line
    "an unknown command": M("pusj c.csv", "No such command 'pusj'"),
    "a misspelt flag": M("push c.csv --lst Renewals", "No such option '--lst'"),
    "no list named": M("push c.csv", "Missing option '--list'"),
    "no source named": M("push --list Renewals", "Missing argument 'SOURCE"),
    "no contacts in a call": M(f"{PUSH} --max-contacts 0", "Invalid value for '--max-contacts': 0 is not in the range"),
    "a rate that is none": M(f"{PUSH} --rate fast", "a rate is written CALLS/SECONDS, such as 60/60"),
    "two rates that exclude each other": M(f"{PUSH} --rate none --rate 1/1", "the rate none stands alone"),
    "no rate that is shared": M(
        f"{PUSH} --rate none --shared-rate redis://127.0.0.1:9",
        "no rate can't be shared: give the account's limits, or leave the shared rate out",
    ),
    "create without a description": M(f"{PUSH} --create", "--create needs a --description for the list"),
    "a description without create": M(
        f"{PUSH} --description x", "--description and --allow-duplicates go with --create"
    ),
    "a map without a field": M(
        f"{PUSH} --map tel", "'tel' is not written COLUMN=FIELD, such as 'Customer ID=uniqueId'"
    ),
    "a column mapped twice": M(f"{PUSH} --map a=b --map a=c", "the column 'a' is mapped twice"),
    "a timeout of nothing": M(f"{PUSH} --timeout 0", "Invalid value for '--timeout': 0.0 is not in the range x>0"),
    # The list
    "a misspelt list": M(
        "push c.csv --list Renewal", "there is no contact list named 'Renewal'; the nearest are 'Renewals'; --create"
    ),
    "two lists of one name": M(
        PUSH,
        "and addContacts names no id: rename all but one, with kore-campaign update ID --name NAME",
        before=twice,
    ),
    "a name that is too long": M(
        f"push c.csv --create --description x --list {'x' * 49}", "49 characters; the API takes at most 48"
    ),
    "duplicates kept on a list that drops them": M(
        f"{PUSH} --keep-duplicates", "drops duplicates, so it can't keep them: leave --keep-duplicates out"
    ),
    "duplicates dropped by a list that keeps them": M(
        "push c.csv --list Keeping --list-drops-duplicates", "can't be said to drop them: leave --list-drops"
    ),
    "isolate on a list that keeps duplicates": M(
        "push c.csv --list Keeping --isolate",
        "leave --isolate out, or risk doubled contacts with --on-uncertain resend",
    ),
    "an empty name": M("create '' --description x", "the list name is empty"),
    "nothing to update": M("update cl-0", "nothing to update"),
    "an id that is none": M("update cl/0 --name x", "the contact list id 'cl/0' can't be right"),
    "an id that is not there": M(
        "update cl-0 --name x",
        "404: not found (Contact list not found); check KORE_HOST, KORE_APP_ID and the id; kore-campaign lists shows",
        status=1,
    ),
    # The contacts
    "a missing file": M("push no.csv --list Renewals", "no.csv can't be read: No such file or directory"),
    "a directory for a file": M("push . --list Renewals", ". can't be read: Is a directory"),
    "an empty file": M(PUSH, "c.csv is empty: it needs a header and contacts", before=write("c.csv")),
    "nothing on standard input": M(
        "push - --list Renewals --run-dir run", "standard input is empty: it needs a header and contacts", given=""
    ),
    "a header alone": M(PUSH, "c.csv has a header and no contacts", before=write("c.csv", "phone\n")),
    "no number column": M(
        PUSH,
        "no number column; the columns are 'name', 'city'; say which it is with --map COLUMN=phoneNumber",
        before=write("c.csv", "name,city\nAna,Rio\n"),
    ),
    "two number columns": M(
        PUSH,
        "two columns for the field phoneNumber: 'phone', 'mobile'; rename one, or say which with --map",
        before=write("c.csv", "phone,mobile\n1,2\n"),
    ),
    "a column that is not there": M(
        f"{PUSH} --map tel=phoneNumber", "no column 'tel' to map; the columns are 'phone', 'firstName'"
    ),
    "a JSON array": M(
        "push c.json --list Renewals",
        "c.json is a JSON array; write one object on each line instead, such as with jq -c '.[]'",
        before=write("c.json", '[\n  {"phone": "+14155550101"}\n]\n'),
    ),
    "a broken line of JSON": M(
        "push c.ndjson --list Renewals --run-dir run",
        "1  rejected  ",
        status=1,
        before=write("c.ndjson", '{"phone":"+14155550101"}\n{"phone"\n'),
    ),
    "a table without its extra": M(
        "push c.parquet --list Renewals",
        "c.parquet is a Parquet file, which needs the extra tables: pip install 'kore-campaign-async[tables]'",
        before=lambda world: (
            write("c.parquet", b"PAR1" * 9)(world),
            without("polars", "ingest.sources.tables")(world),
        )[0],
    ),
    "a do-not-contact file that is missing": M(
        f"{PUSH} --suppress dnc", "the do-not-contact file dnc can't be read: No such file or directory"
    ),
    "a do-not-contact line without a number": M(
        f"{PUSH} --suppress dnc",
        "the do-not-contact file dnc can't be read in 1 row: row 2 holds no phone number: 'nobody'. Write each number"
        " with its + and country code, or give --region for national ones. Titles, totals and notes can go;"
        " don't remove people who must not be called",
        before=write("dnc", "+14155550101\nnobody\n"),
    ),
    "a do-not-contact line that a region leaves unclear": M(
        f"{PUSH} --region DE --suppress dnc",
        "the do-not-contact file dnc can't be read in 1 row: row 2 is not clear: '*** ab 17 Uhr'. Write each"
        " number with its + and country code. Titles, totals and notes can go; don't remove people who must not be"
        " called",
        before=write("dnc", "+14155550101\n0151/2724228 ab 17 Uhr\n"),
    ),
    # The run directory
    "a run directory that is a file": M(
        "push c.csv --list Renewals --run-dir c.csv", "the run directory c.csv can't be used: c.csv: Not a directory"
    ),
    "a run directory below a file": M(
        "push c.csv --list Renewals --run-dir c.csv/run", "can't be used: run: Not a directory; name another one"
    ),
    "a run directory that was used": M(
        PUSH,
        "run holds a run already: kore-campaign resume run goes on with it, kore-campaign report run shows it; or name",
        before=used,
    ),
    "a run directory in use": M(PUSH, "another process is working in run; wait for its end", before=locked),
    "no run to resume": M("resume nowhere", "nowhere holds no run that could be resumed: journal.sqlite is missing"),
    "a file to resume": M("resume c.csv", "c.csv holds no run that could be resumed: journal.sqlite is missing"),
    "a torn journal": M(
        "resume run",
        "run/journal.sqlite can't be read: file is not a database",
        before=lambda world: (used(world), write("run/journal.sqlite", "torn" * 99)(world))[0],
    ),
    "a source that has changed": M(
        "resume run",
        "the run in run can't be resumed: the source has changed: ",
        before=changed,
    ),
    "a run of another account": M(
        "resume run",
        "belongs to another account: http://127.0.0.1",
        env={"KORE_APP_ID": "st-2"},
        before=of_another_account,
    ),
    "no report": M("report nowhere", "nowhere/report.json can't be read: No such file or directory; is this a run"),
    "a report of something else": M(
        "report .", "report.json is not the report of a run", before=write("report.json", "[]")
    ),
    # The sandbox
    "an unknown fault": M("sandbox --fault fire", "a fault is written KIND@EVERY, such as close@10; this is 'fire'"),
    "a port that is taken": M("sandbox --port {sandbox_port}", "Address already in use; take another with --port"),
    "a port that is none": M("sandbox --port 70000", "70000 is not in the range 0<=x<=65535"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_its_sentence_and_status(mistake: str, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a traceback, one or two sentences, and with status 2 nothing was sent."""
    one = MISTAKES[mistake]
    names = world.urls | {"sandbox_port": world.sandbox.url.rpartition(":")[2]}
    modules = dict(sys.modules)
    try:
        if one.before is not None:
            one.before(world)
        sent = world.sandbox.calls["addContacts"]
        env = {name: value.format(**names) for name, value in one.env.items()}
        done = invoke(one.arguments.format(**names), env, one.given)
    finally:
        sys.modules.update(modules)
        for library in [name for name in ("polars", "redis") if sys.modules.get(name, "") is None]:
            del sys.modules[library]
        if (held := world.urls.pop("held", None)) is not None:
            os.close(int(held))
    assert isinstance(done.exception, SystemExit), done.exception
    assert (done.exit_code, one.says in done.output) == (one.status, True), done.output
    assert "Traceback" not in done.output
    if one.status == 2:
        assert world.sandbox.calls["addContacts"] == sent
        assert done.stdout == ""
    sentences = [line for line in done.stderr.splitlines() if line.startswith(("kore-campaign: ", "Error: "))]
    assert len(sentences) == (0 if "rejected" in one.says else 1), done.stderr
    for secret in (world.sandbox.client_secret, EXPIRED, "another secret", "me:secret"):
        assert secret not in done.output


def test_there_are_at_least_forty() -> None:
    assert len(MISTAKES) >= 40


def test_no_sentence_of_the_table_fits_a_good_run(world: World) -> None:
    """Else a row of the table could not fail."""
    good = invoke(PUSH)
    assert good.exit_code == 0
    assert [name for name, one in MISTAKES.items() if one.says in good.output] == []
