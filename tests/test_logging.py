"""What is logged under `kore_campaign_async`: enough to follow a run by, and never a contact or a token."""

from __future__ import annotations

import ast
import asyncio
import contextlib
import gc
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.shell import kore_campaign
from fakes import FakeTime, answering, client_for, enveloped, in_turn, raw_server, said

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    IngestOptions,
    JwtCredentials,
    KoreCampaignError,
    NewList,
    RateLimit,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async import __file__ as kore_campaign_async_init
from kore_campaign_async.sandbox import Fault, Sandbox
from tests.ingest.pushing import (
    CLOSE,
    FAIL,
    HANG,
    LIST,
    TOO_LARGE,
    Answer,
    Call,
    csv_of,
    number,
    numbers,
    push,
    refuse,
    scripted,
)

TEN = BatchLimits(max_contacts=10)
LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}


def logged(caplog: pytest.LogCaptureFixture, *levels: str) -> list[str]:
    """The records of our loggers: level, the logger's last name, and message."""
    return [
        f"{one.levelname} {one.name.removeprefix('kore_campaign_async').removeprefix('.')}: {one.getMessage()}"
        for one in caplog.records
        if one.name.startswith("kore_campaign_async") and one.levelname in levels
    ]


def test_a_library_leaves_logging_to_its_program() -> None:
    """No handler, no level, nothing kept from the loggers above, all names under the package's."""
    script = """
import importlib, logging, pkgutil
root_before = (list(logging.root.handlers), logging.root.level)
known = set(logging.root.manager.loggerDict)
import kore_campaign_async
for module in pkgutil.walk_packages(kore_campaign_async.__path__, "kore_campaign_async."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
assert (list(logging.root.handlers), logging.root.level) == root_before
ours = [name for name in logging.root.manager.loggerDict if name.startswith("kore_campaign_async")]
print(*sorted(ours))
for name in ours:
    logger = logging.getLogger(name)
    assert (logger.handlers, logger.level, logger.propagate, logger.disabled) == ([], logging.NOTSET, True, False)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)  # noqa: S603  ours
    assert done.stdout.split() == ["kore_campaign_async", "kore_campaign_async.calls", "kore_campaign_async.runs"]


def test_no_log_line_takes_a_traceback_or_a_sentence() -> None:
    """What is logged is a text of ours that tells where classes, statuses and counts go."""
    calls = [
        (file.name, call)
        for file in Path(kore_campaign_async_init).parent.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in LEVELS
        if isinstance(call.func.value, ast.Name) and call.func.value.id == "logger"
    ]
    assert len(calls) > 20
    for name, call in calls:
        assert isinstance(call.func, ast.Attribute)
        text, *given = call.args[call.func.attr == "log" :]
        assert isinstance(text, ast.Constant), (name, call.lineno)
        assert call.func.attr != "exception", (name, call.lineno)
        assert not call.keywords, (name, call.lineno)
        said = {one.attr for value in given for one in ast.walk(value) if isinstance(one, ast.Attribute)}
        assert not said & {"words", "reason", "happened", "path", "stop"}, (name, call.lineno)
        assert not any(isinstance(one, ast.Name) and "error" in one.id for one in given), (name, call.lineno)


async def test_a_run_that_goes_well_is_two_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scripted() as (_, client):
        report = await push(client, numbers(25), batch=TEN, concurrency=2)
    counts = "25 read, 25 accepted, 0 rejected, 0 duplicate, 0 suppressed, 0 refused, 0 uncertain, 0 unsent"
    assert logged(caplog, "INFO", "WARNING", "ERROR") == [
        f"INFO runs: run {report.run_id} begins: up to 10 contacts a call, up to 2 calls in flight",
        f"INFO runs: run {report.run_id} finished after {report.seconds:.1f} s; {counts}",
    ]


async def test_splits_retries_and_bad_ends_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """What a person should look at is a warning; what the run settles itself is none."""
    caplog.set_level(logging.INFO)
    script = (TOO_LARGE, CLOSE, refuse(), FAIL)
    async with scripted(script, allow_duplicates=False) as (_, client):
        await push(client, numbers(10), batch=TEN, concurrency=1)
    begin, *lines, end = logged(caplog, "INFO", "WARNING", "ERROR")
    assert lines == [
        "INFO runs: batch 1: 10 contacts are too large for a call, and go in halves",
        "INFO calls: addContacts: attempt 1 ended in ConnectionLostError; the next one goes out in 0.0 s",
        "WARNING runs: batch 1: 5 contacts are uncertain: RefusedError with status 400",
        "INFO calls: addContacts: attempt 1 ended in ServerError with status 500; the next one goes out in 0.0 s",
    ]
    assert (begin[:13], end[:13]) == ("INFO runs: ru", "INFO runs: ru")


async def test_an_isolation_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)

    def bad(call: Call) -> Answer:
        return refuse() if number(7).removeprefix("+") in call.numbers else Answer()

    async with scripted(bad, allow_duplicates=False) as (_, client):
        await push(client, numbers(10), batch=TEN, isolate=True)
    assert logged(caplog, "INFO", "WARNING")[1:-1] == [
        "INFO runs: batch 1: 10 contacts were refused, and go in halves to find those that it was for"
    ]


async def test_a_stop_is_told_when_it_comes_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scripted((refuse(403, "ask +1 415 555 0123"),)) as (_, client):
        report = await push(client, numbers(40), batch=TEN, concurrency=1)
    stop, end = logged(caplog, "INFO", "WARNING")[-2:]
    assert stop == f"INFO runs: run {report.run_id} stops"
    assert end.startswith(f"WARNING runs: run {report.run_id} stopped after ")
    assert "s; 40 read, 0 accepted" in end
    assert report.stopped_because is not None
    assert "(ask +***)" in report.stopped_because


async def test_a_cancelled_run_and_its_resume(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.INFO)
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(20))
    async with scripted((HANG,)) as (api, client):
        options = IngestOptions(batch=TEN, concurrency=1, grace_seconds=0.0)
        task = asyncio.create_task(
            ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        )
        while not api.calls:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait((task,))
        await resume_ingest(client, tmp_path / "run")
    lines = [line for line in logged(caplog, "INFO", "WARNING") if " runs: run run " in line]
    assert [line.split(" runs: run run ")[1].split(" after")[0].split(":")[0] for line in lines] == [
        *("begins", "stops", "stopped", "goes on", "finished"),
    ]
    assert lines[2].startswith("WARNING")


async def test_a_throttled_answer_is_one_warning_for_all_calls_that_were_in_flight(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    time = FakeTime()
    slow = answering(429, said("slow down"), {"Retry-After": "7"})
    settings: dict[str, Any] = {"rate": [RateLimit(9, 9.0)], "clock": time.clock, "sleep": time.sleep}
    async with (
        raw_server(in_turn(slow, slow, answering(200, enveloped([])))) as server,
        client_for(server.url, **settings) as client,
    ):
        await asyncio.gather(client.list_contact_lists(), client.list_contact_lists())
    lines = logged(caplog, "DEBUG", "WARNING")
    throttled = [line for line in lines if "was throttled" in line]
    assert throttled == [
        "WARNING calls: getAllListDetails was throttled: no call goes out for 7.0 s",
        "DEBUG calls: getAllListDetails was throttled: no call goes out for 7.0 s",
    ]
    again = [line for line in logged(caplog, "INFO") if "attempt 1" in line]
    ended = "attempt 1 ended in ThrottledError with status 429"
    assert again == 2 * [f"INFO calls: getAllListDetails: {ended}; the next one goes out when the budget lets it"]
    assert any("after waiting 7.0" in line for line in lines)


async def test_a_token_that_is_not_accepted_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answers = in_turn(answering(401, said("expired")), answering(200, enveloped([])))
    minted = JwtCredentials("cs-1", "a secret of more than thirty-two characters")
    async with raw_server(answers) as server, client_for(server.url, credentials=minted) as client:
        await client.list_contact_lists()
    assert logged(caplog, "INFO")[0] == "INFO calls: getAllListDetails: the token was not accepted (401)"


async def test_nothing_shows_a_contact_or_a_token(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """At DEBUG, with aiohttp's and asyncio's own loggers and the loop's debug mode, whatever goes wrong."""
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0.0
    for name in (None, "aiohttp", "asyncio", "kore_campaign_async"):
        caplog.set_level(logging.DEBUG, logger=name)
    faults = ("503-stored", "429", "close-stored", "reset", "garbage", "400", "truncate", "html-stored", "413")
    secret = "a-secret-of-more-than-thirty-two-characters"
    async with Sandbox(rate=None, client_secret=secret) as sandbox:
        sandbox.faults = [Fault(kind, every=4 + place) for place, kind in enumerate(faults)]
        sandbox.make_list(LIST)
        source = csv_of(tmp_path / "c.csv", "phone,firstName", *(f"{one},Anabella" for one in [*numbers(300), "12"]))
        minted = JwtCredentials(sandbox.client_id, secret)
        async with CampaignClient.from_env(
            sandbox.environment, credentials=minted, rate=(), retry=client_for("http://127.0.0.1:9")._retry
        ) as client:
            options = IngestOptions(batch=BatchLimits(max_contacts=5), isolate=True)
            await ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
            token = (await minted.token()).reveal()
    assert sum(sandbox.faults_shown.values()) > 10
    assert {"asyncio", "kore_campaign_async.calls", "kore_campaign_async.runs"} <= {one.name for one in caplog.records}
    text = caplog.text + "".join(f"{one.getMessage()} {one.args!r} {vars(one)!r}" for one in caplog.records)
    for hidden in (token, token.rpartition(".")[2], secret, "4155550", "Anabella"):
        assert hidden not in text


ZOE = "firstName 'Zoe Quill' of 415 - 555 - 0177 is nobody's"


def everything_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    asyncio.get_running_loop().set_debug(True)
    asyncio.get_running_loop().slow_callback_duration = 0.0
    for name in (None, "aiohttp", "asyncio", "kore_campaign_async"):
        caplog.set_level(logging.DEBUG, logger=name)


def assert_only_ours(caplog: pytest.LogCaptureFixture, *words: str) -> None:
    """Nothing that somebody else wrote is in a record, its traceback or what it was made of."""
    gc.collect()  # what nobody asked for its exception says so now
    text = caplog.text + "".join(f"{one.getMessage()} {one.args!r} {vars(one)!r}" for one in caplog.records)
    assert "kore_campaign_async" in text
    assert [found for word in words for found in re.findall(f".{{,99}}{re.escape(word)}", text)] == []


@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 413, 429, 500, 503])
@pytest.mark.parametrize("said_as", ["message", "status", "errors"])
async def test_the_servers_words_are_in_no_log(
    said_as: str, status: int, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Names can't be told from words by any rule, so that no words are logged; class and status are."""
    everything_at_debug(caplog)
    body: dict[str, Any] = {"status": "error", said_as: [{"msg": ZOE, "code": ZOE}] if said_as == "errors" else ZOE}
    answer = Answer(status, processes=False, body=body)
    source = csv_of(tmp_path / "c.csv", "phone,firstName", *(f"{one},Zoe Quill" for one in numbers(60)))
    async with scripted(lambda _call: answer) as (_, client):
        report = await ingest_contacts(
            client,
            source,
            contact_list=LIST,
            run_dir=tmp_path / "run",
            options=IngestOptions(batch=TEN, concurrency=1, isolate=status == 400, on_uncertain="resend"),
        )
    assert report.counts.accepted == 0
    assert_only_ours(caplog, "Zoe", "Quill", "415 - 555", "nobody's")


@pytest.mark.parametrize("good", [0, 1])
async def test_the_words_of_other_calls_are_in_no_log(good: int, caplog: pytest.LogCaptureFixture) -> None:
    """Of the listing, and of what comes behind it: the making of a list, and the read of one."""
    everything_at_debug(caplog)
    listed = enveloped([{"_id": "cl-1", "name": "Quill", "description": "-"}])
    bad = answering(200, {"status": ZOE, "message": ZOE, "contactListId": 7})
    for name in ("Quill", "Zoe"):
        answers = in_turn(*[answering(200, listed)] * good, *[bad] * 9)
        async with raw_server(answers) as server, client_for(server.url) as client:
            with contextlib.suppress(KoreCampaignError):
                options = IngestOptions(create=NewList(description="Due in July"))
                await ingest_contacts(client, numbers(1), contact_list=name, options=options)
    assert_only_ours(caplog, "Zoe", "Quill", "415 - 555", "nobody's")


async def test_names_of_columns_and_files_are_in_no_log(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """A cell can be taken for a column's name, and a file be called after whom it is about."""
    everything_at_debug(caplog)
    rows = (f"{one.removeprefix('+')},x,y" for one in numbers(60))
    source = csv_of(tmp_path / "Zoe 415-555-0177.csv", "phone,Zoe Quill,zeitzone Zoe", *rows)
    async with scripted() as (_, client):
        report = await ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run")
    assert any("have no +" in one for one in report.notices)
    assert_only_ours(caplog, "Zoe", "Quill", "415-555", "•")
    (read,) = [line for line in logged(caplog, "INFO", "WARNING") if "notice" in line]
    assert read.startswith("INFO ")


class ZoeError(Exception):
    """Of a caller's own code, which knows contacts."""


@pytest.mark.parametrize("of", ["progress", "hook", "source", "do_not_contact"])
async def test_what_a_callers_own_code_raises_is_told_by_its_class_and_place(
    of: str, caplog: pytest.LogCaptureFixture
) -> None:
    if of != "source":  # asyncio's debug mode logs the tasks that take long, with what the caller's iterable raised
        everything_at_debug(caplog)

    def fail(*_given: object) -> Any:
        raise ZoeError(ZOE) from LookupError(ZOE)

    def failing_source() -> Iterator[str]:
        yield numbers(1)[0]
        fail()

    async with scripted(hooks=[fail] if of == "hook" else []) as (_, client):
        given: Any = failing_source() if of == "source" else numbers(30)
        options = IngestOptions(
            batch=TEN,
            progress=fail if of == "progress" else None,
            do_not_contact=fail if of == "do_not_contact" else None,
        )
        with contextlib.suppress(KoreCampaignError):
            await ingest_contacts(client, given, contact_list=LIST, options=options)
    assert_only_ours(caplog, "Zoe Q", "Quill", "415 - 555", "nobody's")
    (line,) = [line for line in logged(caplog, "WARNING", "ERROR") if "ZoeError" in line]
    assert "ZoeError in fail (test_logging.py:" in line
    assert not any(one.exc_info for one in caplog.records)


async def test_warnings_of_settings_are_masked(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    file = tmp_path / "Zoe\n\x1b]0;x\x07415 555 0177.toml"
    file.write_text('host = "https://kore.example"\nauth_token = "a-token"\napp_id = "st-1"\naccount_id = "6777"\n')
    file.chmod(0o644)
    async with CampaignClient.from_env({"KORE_CONFIG": str(file)}):
        pass
    (line,) = logged(caplog, "WARNING")
    assert line.isprintable()
    assert "0177" not in line


async def test_the_shell_says_it_in_its_own_words(tmp_path: Path) -> None:
    """Who configures no logging sees warnings on standard error; those of a run would only repeat the report."""
    csv_of(tmp_path / "c.csv", "phone", *numbers(5))
    async with scripted((refuse(403),)) as (api, _):
        env = {"KORE_HOST": api.url, "KORE_APP_ID": "st-0603182c", "KORE_ACCOUNT_ID": "67777ce9"}
        done = await kore_campaign(
            *("push", "c.csv", "--list", LIST), env={**env, "KORE_AUTH_TOKEN": "a-token"}, cwd=tmp_path
        )
    assert done.status == 4
    assert "stopped: " in done.out
    assert "stop" not in done.err
    assert "unsent" not in done.err
