"""What the tests of whole runs share: an API that answers as it is told, and a push whose account is checked.

The scripted API is written from the documents; the package's own spellings are not used in it, so that a test
can't agree with a misspelt client. Contacts are known by their number without its `+`.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import random
import re
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal, Self

import orjson
from attrs import define, field, frozen

from kore_campaign_async import (
    CampaignClient,
    IngestOptions,
    IngestReport,
    RetryPolicy,
    StaticToken,
    Timeouts,
    ingest_contacts,
)
from kore_campaign_async.sandbox.server import Sandbox

APP_ID: Final = "st-0603182c"
ACCOUNT_ID: Final = "67777ce9"
LIST: Final = "Renewals"
LIST_ID: Final = "cl-1"
QUEUED: Final = "Adding contacts to public list is in progress"
RATE_LIMIT: Final = "You've exceeded the per-minute rate limit. Please wait for sometime before retrying."

#: Fails fast where it should fail, and never because a machine is slow.
QUICK: Final = RetryPolicy(
    attempts=3,
    deadline_seconds=30.0,
    wait_initial_seconds=0.001,
    wait_max_seconds=0.002,
    throttled_answers=3,
    retry_after_max_seconds=0.005,
)


# The scripted API


@frozen
class Answer:
    """What the API does with one call of addContacts, once it has read it whole.

    Attributes:
        message: of the body, where none is given.
        processes: whether it takes the contacts, whatever it answers then.
        then: `answer`, byte by byte as a `drip`, or close or reset the connection without one, or hang until the
            client goes.
        after: what it waits for before it does so.
        body: all of the answer's, as bytes or as JSON.
        raw: what is written in place of an answer, as it is.
    """

    status: int = 200
    message: str = QUEUED
    processes: bool = True
    then: Literal["answer", "drip", "close", "reset", "hang"] = "answer"
    headers: tuple[str, ...] = ()
    after: asyncio.Event | None = None
    body: Any = None
    raw: bytes | None = None


ACCEPT: Final = Answer()
CLOSE: Final = Answer(then="close")
HANG: Final = Answer(then="hang")
FAIL: Final = Answer(500, "Something went wrong")
TOO_LARGE: Final = Answer(413, "request entity too large", processes=False)
THROTTLE: Final = Answer(429, RATE_LIMIT, processes=False, headers=("Retry-After: 7",))


def refuse(status: int = 400, message: str = "data[0].phoneNumber must be a valid number") -> Answer:
    """A refusal: the contacts are not taken."""
    return Answer(status, message, processes=False)


@frozen
class Call:
    """One call of addContacts as it was received; the first one's number is 1."""

    number: int
    size: int
    contacts: tuple[Mapping[str, Any], ...]

    @property
    def numbers(self) -> tuple[str, ...]:
        return tuple(contact["phoneNumber"].removeprefix("+") for contact in self.contacts)


@define(eq=False)
class ScriptedApi:
    """Plays the listing, the read of one list, create and addContacts on a socket of its own.

    Attributes:
        script: the answers to addContacts in the order of arrival, or a function that decides; after the last
            one every call is accepted.
        allow_duplicates: what the list does; None where neither the listing nor the list's own read tells.
        max_body_bytes: a larger body of addContacts is answered with 413, and takes none of the script.
        calls: of addContacts, in the order of arrival.
        given: the answers to them.
        received: how often each number came in.
        processed: how often each number was taken.
        others: how many other calls came, by their last word: `getAllListDetails`, `createContactList`, `GET`.
    """

    script: Iterable[Answer] | Callable[[Call], Answer] = ()
    allow_duplicates: bool | None = field(default=True, kw_only=True)
    max_body_bytes: int | None = field(default=None, kw_only=True)
    calls: list[Call] = field(factory=list, init=False)
    given: list[Answer] = field(factory=list, init=False)
    received: Counter[str] = field(factory=Counter, init=False)
    processed: Counter[str] = field(factory=Counter, init=False)
    others: Counter[str] = field(factory=Counter, init=False)
    tokens: list[str] = field(factory=list, init=False)
    faults: list[Exception] = field(factory=list, init=False)
    url: str = field(default="", init=False)
    _answers: Iterator[Answer] = field(init=False)
    _server: asyncio.Server = field(init=False)
    _tasks: set[asyncio.Task[None]] = field(factory=set, init=False)

    async def __aenter__(self) -> Self:
        self._answers = iter(()) if callable(self.script) else iter(self.script)
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=1 << 16)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_exc_info: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()
        if self.faults and kind is None:
            raise self.faults[0]

    def stop_listening(self) -> None:
        """Refuse connections from now on."""
        self._server.close()

    async def idle(self) -> None:
        """Wait until nothing is on its way any more: what a cancelled client had sent may still arrive."""
        await asyncio.sleep(0.02)
        async with asyncio.timeout(5.0):
            while self._tasks:
                await asyncio.wait(set(self._tasks))

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name=f"{_SERVING} {self.url}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            line, *lines = head.split("\r\n")[:-2]
            method, target, _ = line.split(" ")
            headers = dict(one.lower().split(": ", 1) for one in lines)
            self.tokens.append(next(one for one in lines if one.lower().startswith("auth: ")).split(": ", 1)[1])
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            answer, value = self._answer(method, target.partition("?")[0], body)
            if answer.after is not None:
                await answer.after.wait()
            if answer.then == "hang":
                await reader.read()
            elif answer.then == "reset":
                linger = struct.pack("ii", 1, 0)
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()
            elif answer.then != "close":
                whole = answer.raw if answer.raw is not None else _reply(answer, value)
                for part in (whole,) if answer.then == "answer" else map(int.to_bytes, whole):
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.01 if answer.then == "drip" else 0)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client hung up, which is its right
        except Exception as error:  # noqa: BLE001  shown to the test at the end
            self.faults.append(error)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _answer(self, method: str, path: str, body: bytes) -> tuple[Answer, Any]:
        if path.endswith("/addContacts"):
            answer = self._add(body)
            return answer, {"message": answer.message} if answer.body is None else answer.body
        about = {"_id": LIST_ID, "name": LIST, "description": "-", "apiConfigurations": {}}
        self.others["GET" if method == "GET" else path.rpartition("/")[2]] += 1
        if path.endswith("/getAllListDetails"):
            if self.allow_duplicates:
                about["apiConfigurations"] = {"dataSyncMode": "allowDuplicates"}
            return ACCEPT, {"status": "success", "message": "", "data": [about]}
        if self.allow_duplicates is not None:
            about["allowDuplicates"] = self.allow_duplicates
        return ACCEPT, {"status": "success", "message": "", "data": about}

    def _add(self, body: bytes) -> Answer:
        value = orjson.loads(body)
        assert value.keys() == {"contact_list_name", "data"}
        assert value["contact_list_name"] == LIST
        call = Call(len(self.calls) + 1, len(body), tuple(value["data"]))
        self.calls.append(call)
        self.received.update(call.numbers)
        if self.max_body_bytes is not None and call.size > self.max_body_bytes:
            answer = TOO_LARGE
        else:
            answer = self.script(call) if callable(self.script) else next(self._answers, ACCEPT)
        self.given.append(answer)
        if answer.processes:
            self.processed.update(call.numbers)
        return answer


def _reply(answer: Answer, value: Any) -> bytes:
    body = value if isinstance(value, bytes) else orjson.dumps(value)
    lines = (
        f"HTTP/1.1 {answer.status} Whatever",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *answer.headers,
    )
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


# Clients


def client_for(url: str, **settings: Any) -> CampaignClient:
    """A client without a rate whose waits are a millisecond."""
    return CampaignClient(
        url,
        **{
            "app_id": APP_ID,
            "account_id": ACCOUNT_ID,
            "credentials": StaticToken("a-token-that-nobody-checks"),
            "rate": (),
            "retry": QUICK,
            "timeouts": Timeouts(total_seconds=20.0, connect_seconds=10.0),
            "rng": random.Random(7),
            **settings,
        },
    )


@asynccontextmanager
async def scripted(
    script: Iterable[Answer] | Callable[[Call], Answer] = (),
    *,
    allow_duplicates: bool | None = True,
    max_body_bytes: int | None = None,
    **settings: Any,
) -> AsyncIterator[tuple[ScriptedApi, CampaignClient]]:
    """A scripted API and a client of it."""
    async with (
        ScriptedApi(script, allow_duplicates=allow_duplicates, max_body_bytes=max_body_bytes) as api,
        client_for(api.url, **settings) as client,
    ):
        yield api, client


@asynccontextmanager
async def sandboxed(
    *names: str, allow_duplicates: bool = False, **settings: Any
) -> AsyncIterator[tuple[Sandbox, CampaignClient]]:
    """A sandbox without a rate, with lists of these names, and a client of it."""
    async with (
        Sandbox(rate=None, job_seconds=0.0) as sandbox,
        CampaignClient.from_env(sandbox.environment, rate=(), retry=QUICK, **settings) as client,
    ):
        for name in names:
            sandbox.make_list(name, allow_duplicates=allow_duplicates)
        yield sandbox, client


async def stored(sandbox: Sandbox, name: str = LIST) -> list[dict[str, Any]]:
    """The contacts of a list, once all its jobs are done, in the order of their numbers."""
    one = sandbox.named(name)
    async with asyncio.timeout(5.0):
        while one.queued:
            await asyncio.sleep(0.001)
    return sorted(one.contacts, key=lambda contact: contact["phoneNumber"])


# Contacts


def account_of(api: ScriptedApi) -> dict[str, str]:
    """The variables of a scripted API's clients."""
    return {
        "KORE_HOST": api.url,
        "KORE_APP_ID": APP_ID,
        "KORE_ACCOUNT_ID": ACCOUNT_ID,
        "KORE_AUTH_TOKEN": "a-token-that-nobody-checks",
    }


def number(index: int) -> str:
    """A number that no other index has."""
    return f"+1415{5550000 + index}"


def numbers(count: int, start: int = 1) -> list[str]:
    """Numbers of `start`, `start + 1` and so on."""
    return [number(index) for index in range(start, start + count)]


def csv_of(path: Path, *lines: str) -> Path:
    """Write a file of these lines."""
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")
    return path


# Pushing, and what must hold of every run


async def push(
    client: CampaignClient,
    source: Any,
    *,
    contact_list: str = LIST,
    run_dir: Path | None = None,
    options: IngestOptions | None = None,
    **given: Any,
) -> IngestReport:
    """Push as `ingest_contacts` does, and check the account of it; further arguments are options."""
    options = options if options is not None else IngestOptions(**{"grace_seconds": 0.0, "max_rejected": 100, **given})
    before = asyncio.all_tasks()
    report = await ingest_contacts(client, source, contact_list=contact_list, run_dir=run_dir, options=options)
    check_report(report)
    if run_dir is not None and not options.dry_run:
        assert check_run_dir(run_dir) == report
    await check_tasks(before)
    return report


def check_report(report: IngestReport) -> None:
    """The states add up to what was read, and the end is told in one way only."""
    assert report.counts.read == report.counts.settled
    assert all(count >= 0 for count in _values(report.counts))
    assert (report.state == "finished") == (report.stopped_because is None)
    assert report.state == "stopped" or report.source_exhausted
    assert IngestReport.from_dict(orjson.loads(orjson.dumps(report.to_dict()))) == report


def check_run_dir(run_dir: Path) -> IngestReport:
    """The files hold each row once and agree with the counts of `report.json`, which is returned."""
    report = IngestReport.from_dict(orjson.loads((run_dir / "report.json").read_bytes()))
    check_report(report)
    files = outcome_files(run_dir)
    rows = [row for entries in files.values() for row, _, _ in entries]
    assert len(rows) == len(set(rows))
    assert all(1 <= row <= report.counts.read for row in rows)
    duplicates = 0
    for row, reason, _ in files["left_out.csv"]:
        match = re.fullmatch(r"duplicate of row ([0-9]+)", reason)
        assert (reason == "suppressed") != (match is not None)
        if match is not None:
            assert 1 <= int(match[1]) < row
            duplicates += 1
    assert report.counts.rejected == len(files["rejected.csv"])
    assert report.counts.duplicate == duplicates
    assert report.counts.suppressed == len(files["left_out.csv"]) - duplicates
    assert report.counts.refused == len(files["refused.csv"])
    assert report.counts.uncertain == len(files["uncertain.csv"])
    assert sorted(one.name for one in run_dir.iterdir()) == sorted(
        (*OUTCOME_FILES, "journal.sqlite", "lock", "reasons.json", "report.json")
    )
    return report


async def check_tasks(before: set[asyncio.Task[Any]]) -> None:
    """No task that was not there before is left; those of the servers beside the run don't count."""
    # A generator that was left half-way is closed by the loop, in its next turns.
    for _ in range(3):
        await asyncio.sleep(0)
    left = [
        task
        for task in asyncio.all_tasks() - before
        if task is not asyncio.current_task()
        and not task.get_name().startswith(_SERVING)
        and not getattr(task.get_coro(), "__qualname__", "").startswith("RequestHandler.")
    ]
    assert left == []


OUTCOME_FILES: Final = ("rejected.csv", "left_out.csv", "refused.csv", "uncertain.csv")
_SERVING: Final = "scripted API"


def outcome_files(run_dir: Path) -> dict[str, list[tuple[int, str, list[str]]]]:
    """Each outcome file's entries: row, reason, and the source's own cells."""
    found: dict[str, list[tuple[int, str, list[str]]]] = {}
    for name in OUTCOME_FILES:
        with (run_dir / name).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *entries = csv.reader(file)
        assert header[:2] == ["row", "reason"]
        found[name] = [(int(row), reason, cells) for row, reason, *cells in entries]
    return found


def rows_in(run_dir: Path, name: str) -> dict[int, str]:
    """The rows of an outcome file, with their reasons."""
    return {row: reason for row, reason, _ in outcome_files(run_dir)[name]}


def _values(counts: Any) -> list[int]:
    return [getattr(counts, name) for name in type(counts).__annotations__]
