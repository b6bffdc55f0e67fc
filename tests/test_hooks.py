"""What hooks are told of calls, batches and runs, and that a hook can do no harm."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import attrs
import pytest
from fakes import FakeTime, answering, client_for, enveloped, in_turn, raw_server, said

from kore_campaign_async import (
    AttemptEnded,
    BatchLimits,
    BatchSettled,
    CallEnded,
    CallError,
    CallOutcome,
    Contact,
    CredentialsError,
    IngestOptions,
    InvalidRequestError,
    RateLimit,
    RunEnded,
    RunStarted,
    ingest_contacts,
    resume_ingest,
)
from tests.ingest.pushing import (
    CLOSE,
    FAIL,
    HANG,
    LIST,
    TOO_LARGE,
    Answer,
    Call,
    csv_of,
    numbers,
    push,
    refuse,
    scripted,
)

ANA = Contact("+14155550123", first_name="Ana")
OK = answering(200, enveloped([]))
TEN = BatchLimits(max_contacts=10)


def of_kind(seen: list[Any], kind: type[Any]) -> list[Any]:
    return [one for one in seen if type(one) is kind]


# Calls


async def test_a_call_is_told_by_its_attempts_and_its_end() -> None:
    seen: list[Any] = []
    answers = in_turn(answering(503, said("later")), answering(503, said("later")), OK)
    async with raw_server(answers) as server, client_for(server.url, hooks=[seen.append]) as client:
        await client.list_contact_lists()
        url = server.url
    assert [(one.attempt, one.outcome, one.status, one.error) for one in of_kind(seen, AttemptEnded)] == [
        (1, CallOutcome.MAYBE_PROCESSED, 503, "ServerError"),
        (2, CallOutcome.MAYBE_PROCESSED, 503, "ServerError"),
        (3, CallOutcome.ACCEPTED, 200, None),
    ]
    end = seen[-1]
    assert (end.attempts, end.outcome, end.status, end.error) == (3, CallOutcome.ACCEPTED, 200, None)
    assert end.seconds >= sum(one.seconds for one in seen[:-1])
    assert {(one.endpoint, one.method, one.host, one.run_id, one.batch) for one in seen} == {
        ("getAllListDetails", "POST", url, None, None)
    }


async def test_every_endpoint_has_its_name() -> None:
    seen: list[Any] = []
    async with raw_server(answering(400, said("no"))) as server, client_for(server.url, hooks=[seen.append]) as client:
        for call in (
            client.list_contact_lists(),
            client.get_contact_list("cl-1"),
            client.create_contact_list("Renewals", "Due", preexisting=()),
            client.update_contact_list("cl-1", name="R"),
            client.add_contacts("Renewals", [ANA]),
        ):
            with pytest.raises(CallError):
                await call
    assert [one.endpoint for one in of_kind(seen, CallEnded)] == [
        "getAllListDetails",
        "getContactList",
        "createContactList",
        "updateContactList",
        "addContacts",
    ]
    assert {(one.outcome, one.status, one.error) for one in seen} == {(CallOutcome.REFUSED, 400, "RefusedError")}


async def test_waits_for_the_budget_are_told_on_the_clients_clock() -> None:
    seen: list[Any] = []
    time = FakeTime()
    settings: dict[str, Any] = {"rate": [RateLimit(1, 10.0)], "clock": time.clock, "sleep": time.sleep}
    async with raw_server(OK) as server, client_for(server.url, hooks=[seen.append], **settings) as client:
        await client.list_contact_lists()
        await client.list_contact_lists()
    assert [round(one.waited_seconds, 1) for one in seen] == [0.0, 0.0, 10.0, 10.0]
    assert [round(one.seconds, 1) for one in seen] == [0.0, 0.0, 0.0, 10.0]


async def test_a_call_that_never_went_out_is_told_by_its_end_alone() -> None:
    seen: list[Any] = []

    async def no_token() -> str:
        raise LookupError("the vault is sealed")

    async with client_for("http://127.0.0.1:9", hooks=[seen.append], credentials=no_token) as client:
        with pytest.raises(CredentialsError) as caught:
            await client.list_contact_lists()
    assert isinstance(caught.value.__cause__, LookupError)
    (end,) = seen
    assert (end.attempts, end.outcome, end.error) == (0, CallOutcome.NOT_SENT, "CredentialsError")


async def test_a_cancelled_call_is_told() -> None:
    seen: list[Any] = []
    arrived = asyncio.Event()

    async def hang(connection: Any) -> None:
        await connection.read_request()
        arrived.set()
        await connection.hang()

    async with raw_server(hang) as server, client_for(server.url, hooks=[seen.append]) as client:
        task = asyncio.create_task(client.add_contacts(LIST, [ANA]))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert [(type(one), one.outcome, one.error) for one in seen] == [
        (AttemptEnded, CallOutcome.MAYBE_PROCESSED, "CancelledError"),
        (CallEnded, CallOutcome.MAYBE_PROCESSED, "CancelledError"),
    ]


async def test_a_call_that_failed_after_it_may_have_been_processed_is_told_so() -> None:
    seen: list[Any] = []
    answers = in_turn(answering(503, said("later")), answering(400, said("no")))
    async with raw_server(answers) as server, client_for(server.url, hooks=[seen.append]) as client:
        with pytest.raises(CallError):
            await client.list_contact_lists()
    assert (seen[-1].outcome, seen[-1].status, seen[-1].error) == (CallOutcome.MAYBE_PROCESSED, 400, "RefusedError")


async def test_a_throttled_attempt_is_told() -> None:
    seen: list[Any] = []
    answers = in_turn(answering(429, said("slow"), {"Retry-After": "1"}), OK)
    time = FakeTime()
    settings: dict[str, Any] = {"rate": [RateLimit(9, 9.0)], "clock": time.clock, "sleep": time.sleep}
    async with raw_server(answers) as server, client_for(server.url, hooks=[seen.append], **settings) as client:
        await client.list_contact_lists()
    assert [one.throttled for one in of_kind(seen, AttemptEnded)] == [True, False]
    assert seen[1].waited_seconds == pytest.approx(1.0)


# Runs and batches


def check_sums(seen: list[Any]) -> RunEnded:
    """What was told of batches and of the run agrees."""
    (end,) = of_kind(seen, RunEnded)
    batches = of_kind(seen, BatchSettled)
    assert len({one.batch for one in batches}) == len(batches)
    for state in ("accepted", "refused", "uncertain"):
        assert sum(getattr(one, state) for one in batches) == getattr(end, state)
    assert type(seen[-1]) is RunEnded
    return end


async def test_a_run_is_told_from_its_beginning_to_its_end() -> None:
    seen: list[Any] = []
    async with scripted((refuse(), CLOSE), hooks=[seen.append]) as (_, client):
        source = [*numbers(25), numbers(1)[0], "12"]
        report = await push(client, source, batch=TEN, concurrency=1)
    calls = [one for one in seen if getattr(one, "endpoint", None) == "addContacts"]
    assert {one.run_id for one in calls} == {report.run_id}
    assert [one.batch for one in calls if type(one) is CallEnded] == [1, 2, 3]
    (begin,) = of_kind(seen, RunStarted)
    assert begin == RunStarted(run_id=report.run_id, resumed=False, dry_run=False, concurrency=1)
    batches = of_kind(seen, BatchSettled)
    assert [(one.batch, one.accepted, one.refused, one.uncertain, one.attempts) for one in batches] == [
        (1, 0, 10, 0, 1),
        (2, 0, 0, 10, 1),
        (3, 5, 0, 0, 1),
    ]
    end = check_sums(seen)
    assert (end.state, end.read, end.duplicate, end.rejected, end.sent) == ("finished", 27, 1, 1, 3)
    assert {field.name: getattr(end, field.name) for field in attrs.fields(type(report.counts))} == attrs.asdict(
        report.counts
    )


async def test_a_batch_in_parts_is_one_batch() -> None:
    seen: list[Any] = []
    async with scripted((TOO_LARGE,), hooks=[seen.append]) as (_, client):
        await push(client, numbers(10), batch=TEN)
    (batch,) = of_kind(seen, BatchSettled)
    assert (batch.accepted, batch.attempts) == (10, 3)
    check_sums(seen)


async def test_a_run_that_stops_tells_of_every_batch() -> None:
    seen: list[Any] = []
    async with scripted((refuse(403),), hooks=[seen.append]) as (_, client):
        report = await push(client, numbers(60), batch=TEN, concurrency=2)
    end = check_sums(seen)
    assert end.state == "stopped"
    assert sum(one.unsent for one in of_kind(seen, BatchSettled)) == report.counts.unsent > 0


async def test_a_cancelled_run_tells_of_every_batch(tmp_path: Path) -> None:
    """And one that is resumed says so."""
    seen: list[Any] = []
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(60))
    async with scripted((HANG,), hooks=[seen.append]) as (api, client):
        options = IngestOptions(batch=TEN, concurrency=1, grace_seconds=0.0)
        task = asyncio.create_task(
            ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        )
        while not api.calls:
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        end = check_sums(seen)
        assert (end.state, end.uncertain) == ("stopped", 10)
        assert sum(one.unsent for one in of_kind(seen, BatchSettled)) == end.unsent > 0
        seen.clear()
        await resume_ingest(client, tmp_path / "run")
    (begin,), (end,) = of_kind(seen, RunStarted), of_kind(seen, RunEnded)
    assert (begin.resumed, begin.run_id, end.resumed) == (True, "run", True)
    assert (end.read, end.accepted, end.uncertain) == (60, 50, 10)
    assert sum(one.accepted for one in of_kind(seen, BatchSettled)) == 50


async def test_a_dry_run_has_a_beginning_and_an_end() -> None:
    seen: list[Any] = []
    async with scripted(hooks=[seen.append]) as (_, client):
        await push(client, numbers(25), batch=TEN, dry_run=True)
    runs = [one for one in seen if type(one) not in {AttemptEnded, CallEnded}]
    assert [(type(one), one.dry_run) for one in runs] == [(RunStarted, True), (RunEnded, True)]
    assert runs[1].unsent == 25


async def test_a_run_of_nothing_has_them_too() -> None:
    seen: list[Any] = []
    async with scripted(hooks=[seen.append]) as (_, client):
        await push(client, [])
    assert check_sums(seen).read == 0


# No harm


def test_events_are_frozen() -> None:
    for kind in (AttemptEnded, CallEnded, RunStarted, BatchSettled, RunEnded):
        names = [field.name for field in attrs.fields(kind)]
        event = kind(**dict.fromkeys(names))
        for name in names:
            with pytest.raises(attrs.exceptions.FrozenInstanceError):
                setattr(event, name, 1)


@pytest.mark.parametrize("error", [LookupError("no window"), asyncio.CancelledError()])
async def test_a_hook_that_fails_costs_nothing_but_log_lines(
    error: BaseException, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """The first failure is logged with its class and place; every event is still told, to this hook and the others."""
    failed: list[Any] = []
    seen: list[Any] = []

    def fail(event: Any) -> None:
        failed.append(event)
        raise error

    caplog.set_level(logging.INFO)
    async with scripted((FAIL, refuse()), hooks=[fail, seen.append]) as (api, client):
        report = await push(client, numbers(40), run_dir=tmp_path / "run", batch=TEN, concurrency=2)
    assert (report.counts.accepted, report.counts.refused, report.counts.uncertain) == (20, 10, 10)
    assert len(api.calls) == 4
    assert failed == seen
    (logged,) = [one for one in caplog.records if "a hook failed" in one.getMessage()]
    assert (logged.levelname, logged.name) == ("ERROR", "kore_campaign_async")
    said = f"a hook failed at AttemptEnded, and the call or run goes on: {type(error).__name__} in fail (test_hooks.py:"
    assert logged.getMessage().startswith(said)
    assert not logged.exc_info


async def test_what_a_hook_raises_carries_nothing_of_the_call(caplog: pytest.LogCaptureFixture) -> None:
    """Its class is logged: neither its words, nor the call's own error with the server's words."""

    def fail(_event: Any) -> None:
        raise LookupError("no window for Ana")

    async with (
        raw_server(answering(400, said("the number +14155550123 is wrong"))) as server,
        client_for(server.url, hooks=[fail]) as client,
    ):
        with pytest.raises(CallError):
            await client.add_contacts(LIST, [ANA])
    assert "LookupError in fail" in caplog.text
    assert "no window" not in caplog.text
    assert "4155550123" not in caplog.text


@pytest.mark.parametrize("hooks", [print, [1], ["print"]])
async def test_what_is_no_hook_is_refused(hooks: Any) -> None:
    with pytest.raises(InvalidRequestError, match="hooks is a list of functions"):
        client_for("http://127.0.0.1:9", hooks=hooks)


async def test_no_event_shows_a_contact_a_number_or_a_token() -> None:
    """However the calls end, and whatever the server quotes."""
    seen: list[Any] = []

    def quote(call: Call) -> Answer:
        return (Answer(200, f"no: {call.numbers}"), refuse(400, f"bad: {call.numbers}"), FAIL)[call.number % 3]

    async with scripted(quote, hooks=[seen.append]) as (api, client):
        await push(client, [{"phone": one, "firstName": "Anabella"} for one in numbers(90)], batch=TEN)
    assert of_kind(seen, BatchSettled)
    text = repr(seen)
    for hidden in ("4155550", "Anabella", *api.tokens):
        assert hidden not in text


async def test_without_hooks_no_event_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cost a question per call."""
    for name in ("kore_campaign_async.client._Watch", "kore_campaign_async.client.AttemptEnded"):
        monkeypatch.delattr(name)
    for name in ("BatchSettled", "RunStarted", "RunEnded"):
        monkeypatch.delattr(f"kore_campaign_async.ingest.run.{name}")
    async with scripted((FAIL, CLOSE, refuse())) as (_, client):
        report = await push(client, numbers(60), batch=TEN)
    assert report.counts.accepted == 30
