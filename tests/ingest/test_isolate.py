"""A refused batch is split until the contacts are found that it was refused for, and the others go in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import ceil, log2
from pathlib import Path

import pytest
from cli.shell import kore_campaign
from hypothesis import given, settings
from hypothesis import strategies as st

from kore_campaign_async import ContactListError, IngestOptions, ingest_contacts, resume_ingest
from kore_campaign_async.config import BatchLimits
from kore_campaign_async.ingest.sending import ISOLATION_CALLS
from kore_campaign_async.sandbox import Fault, Sandbox
from tests.ingest.pushing import (
    ACCEPT,
    CLOSE,
    FAIL,
    HANG,
    LIST,
    TOO_LARGE,
    Answer,
    Call,
    check_run_dir,
    csv_of,
    number,
    numbers,
    push,
    refuse,
    rows_in,
    scripted,
)


def disliking(*bad: int, status: int = 400) -> Callable[[Call], Answer]:
    """An API that refuses every call with one of these numbers, all of it."""
    unwanted = {number(index).removeprefix("+") for index in bad}
    return lambda call: ACCEPT if unwanted.isdisjoint(call.numbers) else refuse(status)


@pytest.mark.parametrize("status", [400, 412, 422])
@pytest.mark.parametrize("bad", [1, 500, 501, 1000])
async def test_the_one_contact_is_found_and_the_others_go_in(bad: int, status: int, tmp_path: Path) -> None:
    """With two calls for each time that a thousand can be halved, beside the batch's own."""
    async with scripted(disliking(bad, status=status), allow_duplicates=False) as (api, client):
        report = await push(client, numbers(1000), run_dir=tmp_path / "run", isolate=True)
    assert (report.counts.accepted, report.counts.refused) == (999, 1)
    words = "data[0].phoneNumber must be a valid number"
    assert rows_in(tmp_path / "run", "refused.csv") == {bad: f"{status}: the server refused the call ({words})"}
    assert len(api.calls) <= 1 + 2 * ceil(log2(1000))
    assert set(api.processed.values()) == {1}
    assert (report.calls.sent, report.calls.retried) == (len(api.calls), 0)


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(1, 64), max_size=64))
def test_whoever_is_disliked_is_refused_and_nobody_else(bad: set[int]) -> None:
    """Sixty-four contacts can all be tried within the calls that an isolation may cost, so it is exact."""
    assert ISOLATION_CALLS < 2 * 63  # all of them bad does not fit, and ends in parts that are refused whole

    async def run() -> None:
        async with scripted(disliking(*bad), allow_duplicates=False) as (api, client):
            report = await push(client, numbers(64), isolate=True)
        assert len(api.calls) <= 1 + ISOLATION_CALLS
        assert set(api.processed.values()) <= {1}
        assert report.counts.accepted == len(api.processed)
        assert report.counts.refused == 64 - report.counts.accepted >= len(bad)
        if len(bad) <= 8:
            assert report.counts.refused == len(bad)

    asyncio.run(run())


async def test_it_costs_a_hundred_extra_calls_a_batch_at_most(tmp_path: Path) -> None:
    """What is left then is refused with the parts it was in; nothing is lost, and nothing is unsent."""
    async with scripted(disliking(*range(1, 1001, 2)), allow_duplicates=False) as (api, client):
        report = await push(client, numbers(1000), run_dir=tmp_path / "run", isolate=True)
    assert len(api.calls) == 1 + ISOLATION_CALLS == 101
    assert report.state == "finished"
    assert report.counts.accepted == len(api.processed) > 10
    assert report.counts.refused == 1000 - report.counts.accepted


async def test_a_batch_that_is_refused_whatever_is_left_out_counts_once_for_the_breaker(tmp_path: Path) -> None:
    """Five of them stop the run, as without isolation; the hundreds of parts of one do not."""
    async with scripted(lambda _call: refuse(), allow_duplicates=False) as (api, client):
        report = await push(
            client,
            numbers(80),
            run_dir=tmp_path / "run",
            isolate=True,
            concurrency=1,
            batch=BatchLimits(max_contacts=8),
        )
    assert "5 batches ended the same way" in (report.stopped_because or "")
    assert (report.counts.refused, report.counts.unsent) == (40, 40)
    assert len(api.calls) == 5 * (1 + 2 * 7)


async def test_bad_contacts_in_every_batch_stop_nothing(tmp_path: Path) -> None:
    bad = range(3, 100, 10)
    async with scripted(disliking(*bad), allow_duplicates=False) as (_, client):
        report = await push(
            client, numbers(100), run_dir=tmp_path / "run", isolate=True, batch=BatchLimits(max_contacts=10)
        )
    assert report.state == "finished"
    assert rows_in(tmp_path / "run", "refused.csv").keys() == set(bad)


async def test_an_outage_in_the_middle_of_an_isolation_stops_the_run(tmp_path: Path) -> None:
    """Parts that end otherwise than refused count like batches: nobody is hammered."""
    before = iter([refuse()])
    async with scripted(lambda _call: next(before, CLOSE), allow_duplicates=True) as (api, client):
        report = await push(
            client,
            numbers(100),
            run_dir=tmp_path / "run",
            isolate=True,
            on_uncertain="resend",
            concurrency=1,
            batch=BatchLimits(max_contacts=10),
        )
    assert "5 batches ended the same way" in (report.stopped_because or "")
    assert (report.counts.uncertain, report.counts.unsent) == (40, 60), "two parts and three batches"
    assert len(api.calls) <= 1 + 5 * 3


@pytest.mark.parametrize("status", [403, 404, 409, 500])
async def test_only_400_412_and_422_are_isolated(status: int) -> None:
    answer = refuse(status) if status < 500 else FAIL
    async with scripted(lambda _call: answer, allow_duplicates=False) as (api, client):
        await push(client, numbers(8), isolate=True, concurrency=1)
    assert {len(call.contacts) for call in api.calls} == {8}


async def test_without_being_asked_a_refused_batch_is_refused() -> None:
    async with scripted(disliking(3), allow_duplicates=False) as (api, client):
        report = await push(client, numbers(8))
    assert (report.counts.refused, len(api.calls)) == (8, 1)


async def test_an_isolation_with_parts_that_are_too_large(tmp_path: Path) -> None:
    def script(call: Call) -> Answer:
        return TOO_LARGE if len(call.contacts) > 5 else disliking(7)(call)

    async with scripted(script, allow_duplicates=False) as (api, client):
        report = await push(client, numbers(20), run_dir=tmp_path / "run", isolate=True, concurrency=1)
    assert rows_in(tmp_path / "run", "refused.csv").keys() == {7}
    assert report.counts.accepted == 19 == len(api.processed)


async def test_what_may_have_been_processed_is_isolated_and_never_refused(tmp_path: Path) -> None:
    """A 503 and then a 400: nobody knows what the first call did with the one who is disliked."""
    first = iter([FAIL])
    async with scripted(lambda call: next(first, disliking(3)(call)), allow_duplicates=False) as (_, client):
        report = await push(client, numbers(8), run_dir=tmp_path / "run", isolate=True, concurrency=1)
    assert (report.counts.accepted, report.counts.uncertain) == (7, 1)
    assert [*rows_in(tmp_path / "run", "uncertain.csv")] == [3]


@pytest.mark.parametrize(("keeps", "words"), [(True, "keeps duplicates"), (None, "may keep duplicates")])
async def test_a_list_that_keeps_duplicates_needs_resend_as_well(keeps: bool | None, words: str) -> None:
    async with scripted(disliking(3), allow_duplicates=keeps) as (api, client):
        with pytest.raises(ContactListError, match=f"{words}.*leave --isolate out.*--on-uncertain resend"):
            await push(client, numbers(8), isolate=True)
        assert not api.calls
        report = await push(client, numbers(8), isolate=True, on_uncertain="resend")
        assert (report.counts.refused, report.counts.accepted) == (1, 7)


async def test_the_shell_isolates(tmp_path: Path) -> None:
    csv_of(tmp_path / "c.csv", "phone", *numbers(8))
    async with Sandbox(rate=None, faults=[Fault("400", every=4)], job_seconds=0) as sandbox:
        sandbox.make_list("R")
        kept = sandbox.make_list("D", allow_duplicates=True)
        # Calls 4 and 8 are refused: a batch, and one of its parts.
        push_all = ("push", "c.csv", "--rate", "none", "--max-contacts", "2", "--concurrency", "1", "--isolate")
        said = await kore_campaign(*push_all, "--list", "R", "--json", env=sandbox.environment, cwd=tmp_path)
        assert said.status == 0, said.err
        assert sandbox.calls["addContacts"] == 6
        refused = await kore_campaign(*push_all, "--list", "D", env=sandbox.environment, cwd=tmp_path)
    assert refused.status == 2
    assert "leave --isolate out" in refused.err
    assert not kept.records


async def test_a_run_that_was_cut_off_inside_an_isolation_goes_on(tmp_path: Path) -> None:
    """Each part had its intent: what was accepted is not sent again, and what was not settled is isolated anew."""
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(64))
    stuck = [True]

    def script(call: Call) -> Answer:
        if stuck[0] and len(call.contacts) == 4:
            run.cancel()
            return HANG
        return disliking(9, 50)(call)

    async with scripted(script, allow_duplicates=False) as (api, client):
        options = IngestOptions(isolate=True, concurrency=1, grace_seconds=0)
        run = asyncio.ensure_future(
            ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        )
        with pytest.raises(asyncio.CancelledError):
            await run
        await api.idle()
        stopped = check_run_dir(tmp_path / "run")
        stuck[0] = False
        accepted = {one for one, times in api.processed.items() if times}
        report = await resume_ingest(client, tmp_path / "run")
        assert check_run_dir(tmp_path / "run") == report
    assert stopped.counts.uncertain == 4
    assert (report.counts.accepted, report.counts.uncertain) == (62, 1)
    assert rows_in(tmp_path / "run", "refused.csv").keys() == {50}, (
        "9 was in the call that hung, and may have been taken by it"
    )
    twice = {one for one, times in api.processed.items() if times > 1}
    assert len(twice & accepted) <= 4, "only what was in flight is sent again"
