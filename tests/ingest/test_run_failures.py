"""Whole runs against an API that fails, over real sockets: what every contact ends in, and what is never sent."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
import queue
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    ForbiddenError,
    IngestOptions,
    IngestReport,
    JwtCredentials,
    NotFoundError,
    Progress,
    RetryPolicy,
    RunDirectoryError,
    ThrottledError,
    Timeouts,
    UnauthorizedError,
    ingest_contacts,
    iter_outcomes,
)
from kore_campaign_async.ingest import files
from tests.ingest.pushing import (
    ACCEPT,
    CLOSE,
    FAIL,
    HANG,
    LIST,
    THROTTLE,
    TOO_LARGE,
    Answer,
    Call,
    ScriptedApi,
    check_report,
    check_run_dir,
    check_tasks,
    client_for,
    csv_of,
    number,
    numbers,
    outcome_files,
    push,
    refuse,
    rows_in,
    scripted,
)

ONE = BatchLimits(max_contacts=1)
TWO = BatchLimits(max_contacts=2)


def digits(*indices: int) -> set[str]:
    """Numbers as the scripted API knows them."""
    return {number(index).removeprefix("+") for index in indices}


def jwt() -> JwtCredentials:
    """Credentials that can mint another token."""
    return JwtCredentials("cs-1", "a-secret-of-the-length-that-is-asked-for")


def state_of(report: IngestReport) -> dict[str, int]:
    """The states that hold contacts."""
    return {name: count for name, count in report.to_dict()["counts"].items() if name != "read" and count}


# Refused


async def test_a_refused_batch_costs_itself_alone(tmp_path: Path) -> None:
    """A 400 settles its contacts as refused with the server's words; the others are accepted."""
    source = csv_of(tmp_path / "c.csv", "phone,name", *(f"{one},N{i}" for i, one in enumerate(numbers(6), 1)))
    async with scripted([ACCEPT, refuse(400, "data[0] is\nnot liked"), ACCEPT]) as (api, client):
        report = await push(client, source, run_dir=tmp_path / "run", batch=TWO, concurrency=1)
    assert (tmp_path / "run" / "refused.csv").read_bytes().decode() == (
        "row,reason,phone,name\r\n"
        f"3,400: the server refused the call (data[0] is\\nnot liked),{number(3)},N3\r\n"
        f"4,400: the server refused the call (data[0] is\\nnot liked),{number(4)},N4\r\n"
    )
    assert state_of(report) == {"accepted": 4, "refused": 2}
    assert (report.state, report.exit_status) == ("finished", 1)
    assert set(api.received.values()) == {1}
    assert (report.calls.sent, report.calls.retried, report.calls.throttled) == (3, 0, 0)


# Uncertain


@pytest.mark.parametrize("allow_duplicates", [True, None])
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (CLOSE, "the server closed the connection"),
        (FAIL, "500: the server failed (Something went wrong)"),
        (
            Answer(200, "Done"),
            "200: the reply does not say that the contacts were queued (Done)",
        ),
    ],
    ids=["close", "500", "another 200"],
)
async def test_what_may_have_been_processed_is_not_sent_again_to_a_list_that_keeps_duplicates(
    answer: Answer, reason: str, allow_duplicates: bool | None, tmp_path: Path
) -> None:
    """One request was received; its contacts are uncertain, with what happened, and the run goes on."""
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(6))
    async with scripted([ACCEPT, answer], allow_duplicates=allow_duplicates) as (api, client):
        report = await push(client, source, run_dir=tmp_path / "run", batch=TWO, concurrency=1)
    assert (tmp_path / "run" / "uncertain.csv").read_bytes().decode() == (
        f"row,reason,phone\r\n3,{reason},{number(3)}\r\n4,{reason},{number(4)}\r\n"
    )
    assert state_of(report) == {"accepted": 4, "uncertain": 2}
    assert (report.state, report.exit_status) == ("finished", 3)
    assert api.received == Counter(digits(1, 2, 3, 4, 5, 6))
    assert (report.calls.sent, report.calls.retried) == (3, 0)


async def test_a_hanging_call_is_uncertain_after_its_timeout(tmp_path: Path) -> None:
    async with scripted([HANG], timeouts=Timeouts(total_seconds=0.2)) as (api, client):
        report = await push(client, numbers(3), run_dir=tmp_path / "run", batch=ONE, concurrency=1)
    assert rows_in(tmp_path / "run", "uncertain.csv") == {1: "no whole answer within 0.2 s"}
    assert state_of(report) == {"accepted": 2, "uncertain": 1}
    assert set(api.received.values()) == {1}


@pytest.mark.parametrize("answer", [CLOSE, FAIL])
async def test_it_is_sent_again_to_a_list_that_drops_duplicates(answer: Answer) -> None:
    """Up to the policy's attempts."""
    async with scripted([answer, answer, ACCEPT], allow_duplicates=False) as (api, client):
        report = await push(client, numbers(4), batch=TWO, concurrency=1)
    assert state_of(report) == {"accepted": 4}
    assert [call.numbers for call in api.calls] == [api.calls[0].numbers] * 3 + [api.calls[3].numbers]
    assert (report.calls.sent, report.calls.retried) == (4, 2)


async def test_repeatable_calls_end_uncertain_when_the_attempts_are_used_up(tmp_path: Path) -> None:
    async with scripted([FAIL] * 3, allow_duplicates=False) as (api, client):
        report = await push(client, numbers(4), run_dir=tmp_path / "run", batch=TWO, concurrency=1)
    assert rows_in(tmp_path / "run", "uncertain.csv").keys() == {1, 2}
    assert state_of(report) == {"accepted": 2, "uncertain": 2}
    assert (len(api.calls), report.calls.sent, report.calls.retried) == (4, 4, 2)


@pytest.mark.parametrize(
    ("allow_duplicates", "options", "received"),
    [
        (False, {"on_uncertain": "hold"}, 1),
        (True, {"on_uncertain": "resend"}, 2),
        (None, {"on_uncertain": "resend"}, 2),
        (None, {"list_drops_duplicates": True}, 2),
        (None, {"list_drops_duplicates": True, "on_uncertain": "hold"}, 1),
    ],
)
async def test_on_uncertain_decides(allow_duplicates: bool | None, options: dict[str, Any], received: int) -> None:
    """`hold` never sends again, `resend` always, and the caller can state that the list drops duplicates."""
    async with scripted([CLOSE], allow_duplicates=allow_duplicates) as (api, client):
        report = await push(client, numbers(2), batch=TWO, **options)
    assert api.received == Counter(dict.fromkeys(digits(1, 2), received))
    assert state_of(report) == ({"accepted": 2} if received == 2 else {"uncertain": 2})


ENDS = {
    "refused": (refuse(400), refuse(400), refuse(400)),
    "forbidden": (refuse(403),),
    "not found": (refuse(404),),
    "unauthorized": (refuse(401), refuse(401)),
    "throttled": (THROTTLE, THROTTLE, THROTTLE),
    "too large": (TOO_LARGE, refuse(400), refuse(400)),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS.keys())
async def test_what_may_have_been_processed_once_stays_in_doubt(end: tuple[Answer, ...], tmp_path: Path) -> None:
    """A later attempt that is refused does not undo an earlier one that the server may have acted on."""
    async with scripted([FAIL, *end], allow_duplicates=False, credentials=jwt()) as (api, client):
        report = await push(client, numbers(2), run_dir=tmp_path / "run", batch=TWO, concurrency=1)
    assert api.processed == Counter(digits(1, 2))
    assert state_of(report) == {"uncertain": 2}


async def test_what_may_have_been_processed_stays_in_doubt_when_the_server_goes_away(tmp_path: Path) -> None:
    """The first attempt was processed without an answer; no connection came afterwards."""

    def script(_call: Call) -> Answer:
        api.stop_listening()
        return CLOSE

    policy = RetryPolicy(deadline_seconds=0.1, wait_initial_seconds=0.01, wait_max_seconds=0.02)
    async with scripted(script, allow_duplicates=False, retry=policy) as (api, client):
        report = await push(client, numbers(2), run_dir=tmp_path / "run", batch=TWO)
    assert api.processed == Counter(digits(1, 2))
    assert state_of(report) == {"uncertain": 2}


# Too large


async def test_413_splits_until_the_parts_fit(tmp_path: Path) -> None:
    """All are accepted, in the order of the source, and none is sent twice in a call that was taken."""
    async with scripted(max_body_bytes=300) as (api, client):
        report = await push(client, numbers(40), run_dir=tmp_path / "run", concurrency=1)
    assert state_of(report) == {"accepted": 40}
    assert report.state == "finished"
    assert api.processed == Counter(digits(*range(1, 41)))
    taken = [call for call in api.calls if call.size <= 300]
    assert ["+" + one for call in taken for one in call.numbers] == numbers(40)
    assert report.calls.sent == len(api.calls)
    assert report.calls.retried == 0


async def test_a_single_contact_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """There is no endless split, and its neighbours are accepted."""
    given = [{"phone": one, "note": "x" * (250 if one == number(3) else 1)} for one in numbers(8)]
    async with scripted(max_body_bytes=250) as (api, client):
        report = await push(client, given, run_dir=tmp_path / "run", concurrency=1)
    assert rows_in(tmp_path / "run", "refused.csv") == {
        3: "413: the body is too large for the server (request entity too large)"
    }
    assert state_of(report) == {"accepted": 7, "refused": 1}
    assert len(api.calls) <= 15  # a tree of halves over eight contacts
    assert api.received[number(3).removeprefix("+")] == 4


async def test_parts_of_a_split_end_each_in_their_own_way(tmp_path: Path) -> None:
    answers = [TOO_LARGE, TOO_LARGE, ACCEPT, CLOSE, refuse(400)]
    async with scripted(answers) as (api, client):
        report = await push(client, numbers(8), run_dir=tmp_path / "run", concurrency=1)
    assert rows_in(tmp_path / "run", "uncertain.csv").keys() == {3, 4}
    assert rows_in(tmp_path / "run", "refused.csv").keys() == {5, 6, 7, 8}
    assert state_of(report) == {"accepted": 2, "uncertain": 2, "refused": 4}
    assert len(api.calls) == 5


async def test_a_fatal_answer_inside_a_split_leaves_the_rest_unsent(tmp_path: Path) -> None:
    """What came before it stays as it is, and nothing is sent behind it."""
    async with scripted([TOO_LARGE, ACCEPT, refuse(403)]) as (api, client):
        report = await push(client, numbers(4), run_dir=tmp_path / "run", concurrency=1)
    assert state_of(report) == {"accepted": 2, "unsent": 2}
    assert report.state == "stopped"
    assert len(api.calls) == 3


# What ends a run


def long_source(count: int = 20_000) -> Iterator[str]:
    """Far more than a stopped run should take."""
    return iter(numbers(count))


FATAL: dict[str, tuple[tuple[Answer, ...], type[Exception], str]] = {
    "401 twice": ((refuse(401), refuse(401)), UnauthorizedError, "401"),
    "403": ((refuse(403),), ForbiddenError, "403"),
    "404": ((refuse(404, "Contact list not found"),), NotFoundError, "Contact list not found"),
    "throttled beyond the policy": ((THROTTLE, THROTTLE, THROTTLE), ThrottledError, "429"),
}


@pytest.mark.parametrize(("answers", "_kind", "words"), FATAL.values(), ids=FATAL.keys())
async def test_a_fatal_answer_leaves_its_batch_unsent_and_stops_the_run(
    answers: tuple[Answer, ...], _kind: type[Exception], words: str, tmp_path: Path
) -> None:
    """With what was accepted before; the report says why, that there was more, and no call follows."""
    async with scripted([ACCEPT, *answers], credentials=jwt()) as (api, client):
        report = await push(
            client, long_source(), run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=50), concurrency=1
        )
        calls = len(api.calls)
        await asyncio.sleep(0.02)
        assert len(api.calls) == calls == 1 + len(answers)
    assert report.counts.accepted == 50
    assert state_of(report).keys() == {"accepted", "unsent"}
    assert (report.state, report.exit_status, report.source_exhausted) == ("stopped", 4, False)
    assert words in (report.stopped_because or "")
    assert report.counts.read < 20_000
    assert api.processed == Counter(digits(*range(1, 51)))


@pytest.mark.parametrize(("answers", "_kind", "words"), FATAL.values(), ids=FATAL.keys())
async def test_a_fatal_answer_to_the_only_batch_stops_the_run_too(
    answers: tuple[Answer, ...], _kind: type[Exception], words: str, tmp_path: Path
) -> None:
    """All was taken from the source, but not all was sent."""
    async with scripted(answers, credentials=jwt()) as (_, client):
        report = await push(client, numbers(3), run_dir=tmp_path / "run")
    assert state_of(report) == {"unsent": 3}
    assert (report.state, report.exit_status, report.source_exhausted) == ("stopped", 4, True)
    assert words in (report.stopped_because or "")


async def test_a_401_in_between_is_mended_by_another_token() -> None:
    """The token is renewed once, the call repeated, and no contact lost."""
    async with scripted([ACCEPT, refuse(401), ACCEPT], credentials=jwt()) as (api, client):
        report = await push(client, numbers(6), batch=TWO, concurrency=1)
    assert state_of(report) == {"accepted": 6}
    assert (report.calls.sent, report.calls.retried) == (4, 1)
    assert len(set(api.tokens)) == 2


async def test_a_server_that_refuses_connections_beyond_the_deadline_stops_the_run(tmp_path: Path) -> None:
    """Nothing of the batch was sent, so it is unsent, and the calls that were not sent don't count as sent."""

    def script(call: Call) -> Answer:
        if call.number == 3:
            api.stop_listening()
        return ACCEPT

    policy = RetryPolicy(deadline_seconds=0.1, wait_initial_seconds=0.01, wait_max_seconds=0.02)
    async with scripted(script, retry=policy) as (api, client):
        report = await push(
            client, long_source(), run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=50), concurrency=1
        )
    assert report.counts.accepted == 150
    assert state_of(report).keys() == {"accepted", "unsent"}
    assert (report.state, report.source_exhausted) == ("stopped", False)
    assert "no connection could be made" in (report.stopped_because or "")
    assert report.calls.sent == len(api.calls) == 3
    assert report.calls.retried > 0


async def test_a_server_that_is_away_for_a_while_costs_nothing() -> None:
    """Refused connections are tried again on any list: one copy of each contact arrives."""
    async with ScriptedApi() as api:
        port = int(api.url.rpartition(":")[2])
        away = asyncio.Event()

        def script(call: Call) -> Answer:
            if call.number == 1:
                api.stop_listening()
                away.set()
            return ACCEPT

        api.script = script

        async def come_back() -> None:
            await away.wait()
            await asyncio.sleep(0.05)
            api._server = await asyncio.start_server(api._accepted, "127.0.0.1", port, limit=1 << 16)

        async with client_for(api.url) as client, asyncio.TaskGroup() as group:
            back = group.create_task(come_back())
            report = await ingest_contacts(
                client, numbers(4), contact_list=LIST, options=IngestOptions(grace_seconds=0, batch=ONE, concurrency=1)
            )
            await back
    check_report(report)
    assert state_of(report) == {"accepted": 4}
    assert set(api.received.values()) == {1}
    assert report.calls.sent == 4
    assert report.calls.retried > 0


@pytest.mark.parametrize("concurrency", [2, 8])
@pytest.mark.parametrize("words", ["401 twice", "403", "throttled beyond the policy"])
async def test_a_fatal_answer_with_calls_in_flight(words: str, concurrency: int, tmp_path: Path) -> None:
    """The other senders end their calls, and at most theirs follow."""
    answers = FATAL[words][0]
    fatal = False

    def script(call: Call) -> Answer:
        nonlocal fatal
        fatal = fatal or call.number > 20
        return answers[0] if fatal else ACCEPT

    async with scripted(script, credentials=jwt()) as (api, client):
        report = await push(client, long_source(), run_dir=tmp_path / "run", batch=TWO, concurrency=concurrency)
    assert report.counts.accepted == 40
    assert state_of(report).keys() == {"accepted", "unsent"}
    assert len(api.calls) <= 20 + concurrency * len(answers)
    assert sum(api.processed.values()) == 40


# The breaker


@pytest.mark.parametrize("answer", [refuse(400), CLOSE, FAIL])
async def test_five_batches_that_end_the_same_bad_way_stop_the_run(answer: Answer, tmp_path: Path) -> None:
    async with scripted([ACCEPT] + [answer] * 100) as (api, client):
        report = await push(client, long_source(), run_dir=tmp_path / "run", batch=TWO, concurrency=1)
    assert len(api.calls) == 6
    assert report.counts.accepted == 2
    assert report.counts.refused + report.counts.uncertain == 10
    assert (report.state, report.source_exhausted, report.exit_status) == ("stopped", False, 4)
    assert "5 batches ended the same way" in (report.stopped_because or "")


async def test_an_accepted_batch_in_between_keeps_the_run_going(tmp_path: Path) -> None:
    """Four bad ones and a good one, again and again, end where the source ends."""
    async with scripted(([refuse(400)] * 4 + [ACCEPT]) * 5) as (api, client):
        report = await push(client, numbers(50), run_dir=tmp_path / "run", batch=TWO, concurrency=1)
    assert state_of(report) == {"accepted": 10, "refused": 40}
    assert (report.state, len(api.calls)) == ("finished", 25)


async def test_ways_are_counted_apart(tmp_path: Path) -> None:
    """Four refused and four uncertain ones are not five of a kind; the fifth of one is."""
    async with scripted([refuse(400), CLOSE] * 50) as (api, client):
        report = await push(client, long_source(), run_dir=tmp_path / "run", batch=ONE, concurrency=1)
    assert len(api.calls) == 9
    assert (report.counts.refused, report.counts.uncertain) == (5, 4)
    assert report.state == "stopped"


# Throttled


async def test_429_waits_and_completes() -> None:
    """Throttled answers cost nothing but time, and the report counts them."""
    async with scripted([ACCEPT, THROTTLE, THROTTLE, ACCEPT, THROTTLE]) as (api, client):
        report = await push(client, numbers(8), batch=TWO, concurrency=1)
    assert state_of(report) == {"accepted": 8}
    assert api.processed == Counter(digits(*range(1, 9)))
    assert (report.calls.sent, report.calls.retried, report.calls.throttled) == (7, 3, 3)


async def test_the_words_of_a_rate_limit_are_a_429_whatever_the_status() -> None:
    """Also on a list that keeps duplicates, and with a status that would else leave it uncertain."""
    odd = Answer(500, THROTTLE.message, processes=False)
    async with scripted([odd, Answer(200, THROTTLE.message, processes=False)]) as (_, client):
        report = await push(client, numbers(2))
    assert state_of(report) == {"accepted": 2}
    assert (report.calls.sent, report.calls.retried, report.calls.throttled) == (3, 2, 2)


async def test_calls_are_counted_exactly_with_many_senders() -> None:
    """What the report counts is what the server received, whatever it answered."""
    answers = [ACCEPT, CLOSE, THROTTLE, FAIL, refuse(400), ACCEPT] * 6
    random.Random(3).shuffle(answers)
    async with scripted(answers, allow_duplicates=False) as (api, client):
        report = await push(client, numbers(120), batch=BatchLimits(max_contacts=4), concurrency=8)
    assert report.calls.sent == len(api.calls)
    assert report.calls.throttled == api.given.count(THROTTLE)
    assert report.calls.retried == len(api.calls) - len({call.numbers for call in api.calls})


# Sources that fail


@pytest.mark.parametrize("asynchronous", [True, False])
@pytest.mark.parametrize("count", [0, 3, 500, 1203])
async def test_a_source_that_raises_midway(count: int, asynchronous: bool, tmp_path: Path) -> None:
    """What it gave before is sent and accounted for, and the report says what happened."""

    def items() -> Iterator[str]:
        yield from numbers(count)
        raise LookupError("the cursor is gone")

    async def async_items() -> AsyncIterator[str]:
        for one in items():
            yield one

    async with scripted() as (api, client):
        report = await push(
            client,
            async_items() if asynchronous else items(),
            run_dir=tmp_path / "run",
            batch=BatchLimits(max_contacts=100),
        )
    assert report.counts.read == report.counts.accepted == count
    assert (report.state, report.source_exhausted, report.exit_status) == ("stopped", False, 4)
    assert report.stopped_because is not None
    assert "LookupError: the cursor is gone" in report.stopped_because
    assert f"behind row {count}:" in report.stopped_because
    assert api.processed == Counter(digits(*range(1, count + 1)))


async def test_a_source_that_is_cancelled_from_within_does_not_hang_the_run(tmp_path: Path) -> None:
    """A task of the source's own was cancelled: the run ends, and accounts for what came before."""

    async def items() -> AsyncIterator[str]:
        for one in numbers(600):
            yield one
        inner = asyncio.ensure_future(asyncio.sleep(3600))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner

    async with scripted() as (api, client), asyncio.timeout(5):
        report = await push(client, items(), run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=100))
    assert report.state == "stopped"
    assert report.counts.read == report.counts.accepted == sum(api.processed.values()) == 600


async def test_credentials_that_are_cancelled_from_within_do_not_hang_the_run(tmp_path: Path) -> None:
    """A token that never comes is no reason to lose a batch."""
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        if asked > 3:
            inner = asyncio.ensure_future(asyncio.sleep(3600))
            asyncio.get_running_loop().call_soon(inner.cancel)
            await inner
        return "a-token"

    before = asyncio.all_tasks()
    async with scripted(credentials=token) as (api, client), asyncio.timeout(5):
        # Whether it ends in a report or in an error is open; that it ends, and adds up, is not.
        with contextlib.suppress(Exception):
            await ingest_contacts(
                client,
                numbers(20),
                contact_list=LIST,
                run_dir=tmp_path / "run",
                options=IngestOptions(grace_seconds=0, batch=TWO, concurrency=1),
            )
    await check_tasks(before)
    report = check_run_dir(tmp_path / "run")
    assert report.counts.accepted == sum(api.processed.values())
    assert report.counts.read == 20


async def test_a_fatal_answer_does_not_wait_for_a_slow_source(tmp_path: Path) -> None:
    """A source that never yields again is left where it stands."""
    waiting = asyncio.Event()

    async def items() -> AsyncIterator[str]:
        for one in numbers(510):
            yield one
        waiting.set()
        await asyncio.Event().wait()

    forbidden = Answer(403, "No more", processes=False, after=waiting)
    async with scripted([ACCEPT, forbidden]) as (api, client), asyncio.timeout(5):
        report = await push(
            client, items(), run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=200), concurrency=1
        )
    assert len(api.calls) == 2
    # The ten that were taken and not yet passed on are accounted for as well.
    assert (report.counts.read, report.counts.accepted, report.counts.unsent) == (510, 200, 310)
    assert (report.state, report.source_exhausted) == ("stopped", False)
    assert "No more" in (report.stopped_because or "")


# Cancelled


async def ended(task: asyncio.Task[IngestReport]) -> bool:
    """Wait for a task that was cancelled; tell whether it was in time to be."""
    await asyncio.wait((task,), timeout=5.0)
    assert task.done()
    if not task.cancelled():
        check_report(task.result())
    return task.cancelled()


def check_against(api: ScriptedApi, report: IngestReport, run_dir: Path) -> None:
    """What the API took is accepted or uncertain, and no contact was sent twice."""
    assert all(count == 1 for count in api.received.values())
    uncertain = {cells[0].removeprefix("+") for _, _, cells in outcome_files(run_dir)["uncertain.csv"]}
    # Each accepted one was taken, and each one taken that is not uncertain was accepted.
    assert len(api.processed.keys() - uncertain) == report.counts.accepted


def pushing(client: CampaignClient, source: Any, run_dir: Path, concurrency: int) -> asyncio.Task[IngestReport]:
    return asyncio.create_task(
        ingest_contacts(
            client,
            source,
            contact_list=LIST,
            run_dir=run_dir,
            options=IngestOptions(grace_seconds=0, batch=BatchLimits(max_contacts=7), concurrency=concurrency),
        )
    )


@pytest.mark.parametrize("seed", range(25))
async def test_cancelling_at_any_turn_of_the_loop(seed: int, tmp_path: Path) -> None:
    """CancelledError is raised, the account adds up, and nothing that the API took is called unsent."""
    rng = random.Random(seed)
    turns, concurrency = rng.randrange(400), rng.randint(1, 8)
    run_dir = tmp_path / "run"
    answers = rng.choices([ACCEPT, CLOSE, THROTTLE, refuse(400)], (12, 1, 1, 1), k=60)
    before = asyncio.all_tasks()
    async with scripted(answers) as (api, client):
        source = numbers(1400) if rng.random() < 0.5 else csv_of(tmp_path / "c.csv", "phone", *numbers(1400))
        task = pushing(client, source, run_dir, concurrency)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        cancelled = await ended(task)
        await check_tasks(before | {task})
        await api.idle()
    if not (run_dir / "report.json").exists():  # it had not come as far as its first contact
        assert cancelled
        assert not api.calls
        return
    report = check_run_dir(run_dir)
    if cancelled and (report.counts.unsent or not report.source_exhausted):
        # The first reason holds: refusals in a row may have come before the cancellation.
        assert report.stopped_because is not None
        assert report.stopped_because == "cancelled" or "5 batches ended" in report.stopped_because
    assert sum(api.received.values()) <= 1400 + 7 * report.calls.throttled
    throttled = {one for one, count in api.received.items() if count > 1}
    assert len(throttled) <= 7 * report.calls.throttled
    uncertain = {cells[0].removeprefix("+") for _, _, cells in outcome_files(run_dir)["uncertain.csv"]}
    assert len(api.processed.keys() - uncertain) == report.counts.accepted
    assert set(api.processed.values()) <= {1}


@pytest.mark.parametrize("answer", [ACCEPT, HANG])
@pytest.mark.parametrize(("requests", "concurrency"), [(1, 1), (1, 8), (5, 3), (23, 8)])
async def test_cancelling_after_some_requests(requests: int, concurrency: int, answer: Answer, tmp_path: Path) -> None:
    """What was in flight is uncertain, unless its answer came all the same, and nothing follows."""
    task: asyncio.Task[IngestReport]

    def script(call: Call) -> Answer:
        if call.number == requests:
            task.cancel()
        return answer if call.number >= requests else ACCEPT

    before = asyncio.all_tasks()
    async with scripted(script) as (api, client):
        task = pushing(client, numbers(1400), tmp_path / "run", concurrency)
        assert await ended(task)
        await check_tasks(before | {task})
        await api.idle()
        assert requests <= len(api.calls) <= requests + concurrency
    report = check_run_dir(tmp_path / "run")
    assert (report.state, report.stopped_because) == ("stopped", "cancelled")
    check_against(api, report, tmp_path / "run")
    assert (7 if answer is HANG else 0) <= report.counts.uncertain <= 7 * concurrency
    assert set(rows_in(tmp_path / "run", "uncertain.csv").values()) <= {"cancelled while the call was in flight"}


async def test_calls_that_were_in_flight_when_it_was_cancelled_count_as_sent(tmp_path: Path) -> None:
    """A byte of each was written, as the server knows."""
    task: asyncio.Task[IngestReport]

    def script(call: Call) -> Answer:
        if call.number == 5:
            task.cancel()
        return HANG if call.number > 2 else ACCEPT

    async with scripted(script) as (api, client):
        task = pushing(client, numbers(70), tmp_path / "run", 3)
        assert await ended(task)
        await api.idle()
    report = check_run_dir(tmp_path / "run")
    assert state_of(report) == {"accepted": 14, "uncertain": 21, "unsent": 35}
    assert report.calls.sent == len(api.calls) == 5


async def test_cancelling_while_a_call_waits_to_be_repeated(tmp_path: Path) -> None:
    """Its first attempt may have been processed, so its contacts are not unsent."""
    waiting = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        waiting.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with scripted([ACCEPT, FAIL], allow_duplicates=False, sleep=sleep) as (api, client):
        task = pushing(client, numbers(14), tmp_path / "run", 1)
        await asyncio.wait_for(waiting.wait(), 5)
        task.cancel()
        assert await ended(task)
        await check_tasks(before | {task})
        await api.idle()
    report = check_run_dir(tmp_path / "run")
    assert len(api.calls) == 2
    assert state_of(report) == {"accepted": 7, "uncertain": 7}


async def test_cancelling_inside_a_split(tmp_path: Path) -> None:
    """The part in flight is uncertain, the parts before it are what they are, those behind it unsent."""
    task: asyncio.Task[IngestReport]

    def script(call: Call) -> Answer:
        if len(call.contacts) > 2:
            return TOO_LARGE
        if number(3).removeprefix("+") in call.numbers:
            task.cancel()
            return HANG
        return ACCEPT

    async with scripted(script) as (api, client):
        task = asyncio.create_task(
            ingest_contacts(
                client,
                numbers(8),
                contact_list=LIST,
                run_dir=tmp_path / "run",
                options=IngestOptions(grace_seconds=0, concurrency=1),
            )
        )
        assert await ended(task)
        await api.idle()
    report = check_run_dir(tmp_path / "run")
    assert rows_in(tmp_path / "run", "uncertain.csv").keys() == {3, 4}
    assert state_of(report) == {"accepted": 2, "uncertain": 2, "unsent": 4}


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_cancelling_accounts_for_all_that_was_taken(asynchronous: bool, tmp_path: Path) -> None:
    """Whenever it comes, `read` is what was taken from the caller's iterable, to the last contact."""
    missing: dict[int, int] = {}
    async with scripted() as (_, client):
        for turns in range(20, 100):
            taken = 0

            def items() -> Iterator[str]:
                nonlocal taken
                for one in numbers(3000):
                    taken += 1
                    yield one

            async def async_items(plain: Callable[[], Iterator[str]] = items) -> AsyncIterator[str]:
                for one in plain():
                    yield one

            run_dir = tmp_path / str(turns)
            task = asyncio.create_task(
                ingest_contacts(
                    client,
                    async_items() if asynchronous else items(),
                    contact_list=LIST,
                    run_dir=run_dir,
                    options=IngestOptions(grace_seconds=0, batch=BatchLimits(max_contacts=250), concurrency=2),
                )
            )
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await ended(task)
            if not (run_dir / "report.json").exists():
                assert taken == 0
                continue
            report = check_run_dir(run_dir)
            if report.counts.read != taken:
                missing[turns] = taken - report.counts.read
    assert missing == {}


async def test_cancelling_before_the_first_contact_leaves_nothing(tmp_path: Path) -> None:
    """While the list is looked up there is no run yet."""
    async with scripted() as (api, client):
        task = pushing(client, numbers(10), tmp_path / "run", 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        assert await ended(task)
        await api.idle()
    assert not api.calls
    assert not (tmp_path / "run").exists()


async def test_cancelling_while_the_file_is_opened_closes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that opens it ends later than the run; the file is not left open."""
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(3))
    opening, go_on, opened = asyncio.Event(), threading.Event(), queue.SimpleQueue[Any]()
    loop, real = asyncio.get_running_loop(), Path.open

    def slow(self: Path, *args: Any, **kwargs: Any) -> Any:
        loop.call_soon_threadsafe(opening.set)
        go_on.wait(5)
        file = real(self, *args, **kwargs)
        opened.put(file)
        return file

    async with scripted() as (api, client):
        monkeypatch.setattr(Path, "open", slow)
        task = pushing(client, source, tmp_path / "run", 1)
        await asyncio.wait_for(opening.wait(), 5)
        task.cancel()
        assert await ended(task)
        go_on.set()
        file = await asyncio.to_thread(opened.get, timeout=5)
        monkeypatch.undo()
        try:
            async with asyncio.timeout(2):
                while not file.closed:
                    await asyncio.sleep(0.001)
        finally:
            file.close()
    assert not api.calls


async def test_a_timeout_around_a_run_is_a_cancellation(tmp_path: Path) -> None:
    """`asyncio.timeout` raises TimeoutError, and the account is whole."""
    async with scripted(lambda call: HANG if call.number == 3 else ACCEPT) as (api, client):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await ingest_contacts(
                    client,
                    numbers(100),
                    contact_list=LIST,
                    run_dir=tmp_path / "run",
                    options=IngestOptions(grace_seconds=0, batch=BatchLimits(max_contacts=7), concurrency=1),
                )
        await api.idle()
    report = check_run_dir(tmp_path / "run")
    check_against(api, report, tmp_path / "run")
    assert (report.counts.accepted, report.counts.uncertain, report.counts.unsent) == (14, 7, 79)


async def test_cancelling_who_reads_the_outcomes_stops_the_run(tmp_path: Path) -> None:
    async def read(client: CampaignClient) -> None:
        async for _ in iter_outcomes(
            client,
            numbers(1400),
            contact_list=LIST,
            run_dir=tmp_path / "run",
            options=IngestOptions(grace_seconds=0, batch=BatchLimits(max_contacts=7), concurrency=3),
        ):
            pass

    before = asyncio.all_tasks()
    async with scripted(lambda call: HANG if call.number > 10 else ACCEPT) as (api, client):
        task = asyncio.create_task(read(client))
        async with asyncio.timeout(5):
            while len(api.calls) < 13:
                await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await check_tasks(before | {task})
        await api.idle()
    report = check_run_dir(tmp_path / "run")
    check_against(api, report, tmp_path / "run")
    assert (report.counts.accepted, report.counts.uncertain) == (70, 21)


# A disk that is full


def no_space(*_args: Any, **_kwargs: Any) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_outcome_files_that_can_not_be_written_stop_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sent is told by the counts, and the report says what is missing."""
    monkeypatch.setattr(files.RunFiles, "write", no_space)
    async with scripted([ACCEPT, refuse(400)]) as (api, client):
        report = await ingest_contacts(
            client,
            long_source(),
            contact_list=LIST,
            run_dir=tmp_path / "run",
            options=IngestOptions(grace_seconds=0, batch=BatchLimits(max_contacts=50), concurrency=1),
        )
    check_report(report)
    assert (report.state, report.source_exhausted) == ("stopped", False)
    assert "can't be written: No space left on device" in (report.stopped_because or "")
    assert len(api.calls) < 20
    assert report.counts.accepted == sum(api.processed.values())


@pytest.mark.parametrize("given", [["12", number(1)], ["12", "13"], [number(1), number(2)]])
async def test_rows_that_could_not_be_written_are_never_silent(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there was nothing left to stop: a report whose files lack rows says so."""
    monkeypatch.setattr(files.RunFiles, "write", no_space)
    async with scripted([refuse(400)]) as (_, client):
        report = await ingest_contacts(client, given, contact_list=LIST, run_dir=tmp_path / "run")
    assert report.counts.read == report.counts.settled == 2
    assert report.counts.rejected + report.counts.refused > 0
    assert "No space left on device" in (report.stopped_because or "")


async def test_a_disk_that_is_full_at_the_end_is_an_error_with_the_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What sits in a buffer and can't be flushed is not passed over."""
    create = files._create

    class Full(io.FileIO):
        def write(self, data: Any) -> int:
            return no_space() if b"12" in bytes(data) else super().write(data)

    def created(path: Path) -> Any:
        create(path).close()
        return io.TextIOWrapper(io.BufferedWriter(Full(path, "w")), encoding="utf-8", newline="")

    monkeypatch.setattr(files, "_create", lambda path: created(path) if path.name == "rejected.csv" else create(path))
    async with scripted() as (_, client):
        with pytest.raises(RunDirectoryError, match="No space left on device; the counts are read 2, accepted 1"):
            await ingest_contacts(client, ["12", number(1)], contact_list=LIST, run_dir=tmp_path / "run")


async def test_a_report_that_can_not_be_written_at_first_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that could not tell what it did does nothing."""
    monkeypatch.setattr(files.RunFiles, "write_report", no_space)
    async with scripted() as (api, client):
        with pytest.raises(RunDirectoryError, match="can't be written"):
            await ingest_contacts(client, numbers(5), contact_list=LIST, run_dir=tmp_path / "run")
    assert not api.calls


# What stays behind


async def test_two_runs_of_one_client_do_not_mix(tmp_path: Path) -> None:
    """Each accounts for its own contacts and calls, also when one of them is stopped."""

    def script(call: Call) -> Answer:
        return refuse(403) if number(5000).removeprefix("+") in call.numbers else ACCEPT

    async with scripted(script) as (api, client):
        first, second = await asyncio.gather(
            ingest_contacts(client, numbers(200), contact_list=LIST, run_dir=tmp_path / "1"),
            ingest_contacts(client, numbers(3, start=5000), contact_list=LIST, run_dir=tmp_path / "2"),
        )
    assert check_run_dir(tmp_path / "1") == first
    assert check_run_dir(tmp_path / "2") == second
    assert state_of(first) == {"accepted": 200}
    assert state_of(second) == {"unsent": 3}
    assert (first.calls.sent, second.calls.sent, len(api.calls)) == (1, 1, 2)


async def test_a_run_without_a_directory_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with scripted([CLOSE]) as (_, client):
        await push(client, [*numbers(3), "12"])
    assert os.listdir(tmp_path) == []  # noqa: PTH208  a Path would be one blocking call more


async def test_a_running_run_can_be_read(tmp_path: Path) -> None:
    """`report.json` is there from the start, adds up at any moment, and does not call a running run finished."""
    seen: list[IngestReport] = []

    def look(_progress: Progress) -> None:
        seen.append(files.read_report(tmp_path / "run"))

    async with scripted() as (_, client):
        report = await push(client, numbers(30), run_dir=tmp_path / "run", batch=ONE, progress=look)
    assert seen
    assert {one.state for one in seen} == {"stopped"}
    assert all(one.counts.read == one.counts.settled for one in seen)
    assert report.state == "finished"


async def test_a_413_teaches_the_run_the_smaller_size(tmp_path: Path) -> None:
    """A thousand contacts at a hundred a call, where the server takes thirty: not every call finds that out anew."""

    def script(call: Call) -> Answer:
        return refuse(413) if len(call.contacts) > 30 else ACCEPT

    async with scripted(script) as (api, client):
        report = await push(
            client, numbers(2000), run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=100), concurrency=1
        )
        too_large = sum(len(call.contacts) > 30 for call in api.calls)
    assert report.counts.accepted == 2000
    assert too_large <= 25, "a run that learns nothing is told 60 times"
