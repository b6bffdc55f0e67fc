"""A stream of outcomes that is left, however it is left: its run stops in order, and no call goes out any more."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    IngestOptions,
    Outcome,
    OutcomeStream,
    iter_outcomes,
    resume_ingest,
)
from kore_campaign_async.ingest import outcome_stream
from tests.ingest.pushing import (
    ACCEPT,
    HANG,
    LIST,
    Answer,
    ScriptedApi,
    check_run_dir,
    check_tasks,
    client_for,
    csv_of,
    number,
    numbers,
    scripted,
)

COUNT, CONCURRENCY, BATCH = 400, 3, 2

warns = pytest.warns(ResourceWarning, match=r"async with iter_outcomes")


def stream_of(client: CampaignClient, run_dir: Path | None, source: Any = None, **given: Any) -> OutcomeStream:
    options = IngestOptions(
        **{"batch": BatchLimits(max_contacts=BATCH), "concurrency": CONCURRENCY, "grace_seconds": 5.0, **given}
    )
    return iter_outcomes(client, source or numbers(COUNT), contact_list=LIST, run_dir=run_dir, options=options)


async def settled(before: set[asyncio.Task[Any]]) -> None:
    """Wait until no run goes on any more."""
    async with asyncio.timeout(10):
        while outcome_stream._running:
            await asyncio.sleep(0.001)
    await check_tasks(before)


# Ways to leave it: each takes an outcome, and is gone.


async def by_break(stream: list[OutcomeStream]) -> None:
    async for _ in stream.pop():
        break


async def by_return(stream: list[OutcomeStream]) -> Outcome | None:
    async for one in stream.pop():
        return one
    return None


async def by_exception(stream: list[OutcomeStream]) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async for _ in stream.pop():
            raise ZeroDivisionError


async def by_del(stream: list[OutcomeStream]) -> None:
    one = stream.pop()
    await anext(one)
    del one


async def by_a_cycle(stream: list[OutcomeStream]) -> None:
    """Only the garbage collector finds it."""
    held: dict[str, Any] = {"stream": stream.pop()}
    held["self"] = held
    await anext(held["stream"])
    del held
    gc.collect()


async def by_a_collector_in_another_thread(stream: list[OutcomeStream]) -> None:
    await anext(stream[0])
    thread = threading.Thread(target=stream.clear)
    thread.start()
    await asyncio.to_thread(thread.join)


async def by_cancelling_the_body(stream: list[OutcomeStream]) -> None:
    took = asyncio.Event()

    async def body() -> None:
        async for _ in stream.pop():
            took.set()
            await asyncio.sleep(60)

    task = asyncio.create_task(body())
    await took.wait()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


WAYS = [
    by_break,
    by_return,
    by_exception,
    by_del,
    by_a_cycle,
    by_a_collector_in_another_thread,
    by_cancelling_the_body,
]


@pytest.mark.parametrize("leave", WAYS)
@pytest.mark.parametrize("with_run_dir", [False, True])
async def test_a_stream_that_is_left_stops_its_run(
    leave: Callable[[list[OutcomeStream]], Awaitable[Any]], with_run_dir: bool, tmp_path: Path
) -> None:
    """No call goes out beyond those in flight, which are settled; a resume calls all others, and nobody twice."""
    before = asyncio.all_tasks()
    run_dir = tmp_path / "run" if with_run_dir else None
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(COUNT))
    async with scripted() as (api, client):
        with warns:
            await leave([stream_of(client, run_dir, source)])
            calls = len(api.calls)
            gc.collect()
        await settled(before)
        assert len(api.calls) <= calls + CONCURRENCY
        assert len(api.calls) < COUNT / BATCH
        if run_dir is None:
            return
        report = check_run_dir(run_dir)
        assert (report.state, report.stopped_because) == ("stopped", "cancelled")
        assert report.counts.accepted == len(api.processed)
        report = await resume_ingest(client, run_dir)
        assert (report.state, report.counts.accepted) == ("finished", COUNT)
        assert api.processed == Counter({one.removeprefix("+"): 1 for one in numbers(COUNT)})


async def test_calls_in_flight_are_settled_by_their_answers(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    go_on = asyncio.Event()
    async with scripted(lambda call: ACCEPT if call.number == 1 else Answer(after=go_on)) as (api, client):
        stream = [stream_of(client, tmp_path / "run")]
        await anext(stream[0])
        async with asyncio.timeout(5):
            while len(api.calls) < 1 + CONCURRENCY:
                await asyncio.sleep(0.001)
        with warns:
            await by_break(stream)
        await asyncio.sleep(0.01)
        go_on.set()
        await settled(before)
        assert len(api.calls) == 1 + CONCURRENCY
        report = check_run_dir(tmp_path / "run")
        assert report.counts.uncertain == 0
        assert report.counts.accepted == len(api.processed)


async def test_a_stream_that_is_never_iterated_warns_of_nothing() -> None:
    async with scripted() as (api, client):
        stream = stream_of(client, None)
        del stream
        gc.collect()
        await asyncio.sleep(0)
        assert not api.calls


async def test_a_stream_that_came_to_its_end_warns_of_nothing() -> None:
    async with scripted() as (_, client):
        stream = stream_of(client, None, numbers(3))
        assert len([one async for one in stream]) == 3
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        report = stream.report
        assert report is not None
        await stream.aclose()
        del stream
        gc.collect()


async def test_a_stream_in_async_with_is_settled_behind_it(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with scripted() as (api, client):
        async with stream_of(client, tmp_path / "run") as stream:
            async for _ in stream:
                break
        assert check_run_dir(tmp_path / "run").state == "stopped"
        calls = len(api.calls)
        await check_tasks(before)
        assert [one async for one in stream] == []
        assert len(api.calls) == calls


async def test_a_stream_can_be_iterated_on_by_another_task() -> None:
    """Half of it here, half of it there; and by both at once."""
    async with scripted() as (_, client):
        stream = stream_of(client, None, numbers(40))
        rows = [(await anext(stream)).row for _ in range(11)]

        async def rest() -> list[int]:
            return [one.row async for one in stream]

        for more in await asyncio.gather(rest(), rest()):
            rows += more
    assert sorted(rows) == list(range(1, 41))


async def test_a_stream_whose_run_fails_raises_that_once(tmp_path: Path) -> None:
    async with scripted() as (_, client):
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "theirs").touch()
        stream = stream_of(client, tmp_path / "run", numbers(3))
        with pytest.raises(Exception, match="holds what is no run's"):
            await anext(stream)
        assert [one async for one in stream] == []


async def test_the_run_knows_nothing_of_its_stream() -> None:
    """Or it would never be found that nobody iterates it."""
    before = asyncio.all_tasks()
    async with scripted() as (_, client):
        stream = stream_of(client, None)
        await anext(stream)
        known = weakref.ref(stream)
        with warns:
            del stream
        assert known() is None
        await settled(before)


async def test_the_log_names_async_with(caplog: pytest.LogCaptureFixture) -> None:
    before = asyncio.all_tasks()
    async with scripted() as (_, client):
        with warns:
            await by_break([stream_of(client, None)])
        await settled(before)
    assert any("async with iter_outcomes" in one.message for one in caplog.records)


@asynccontextmanager
async def served() -> AsyncIterator[tuple[ScriptedApi, CampaignClient]]:
    async with ScriptedApi() as api:
        yield api, client_for(api.url)  # which a loop that ends closes for nobody


@pytest.mark.parametrize("hold", [False, True])
def test_a_loop_that_ends_with_a_stream_open(
    hold: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    """`asyncio.run` cancels the run, which stops in order, whether somebody holds the stream or nobody does."""
    held: list[OutcomeStream] = []

    async def main() -> None:
        async with scripted() as (_, client):
            stream = stream_of(client, tmp_path / "run")
            await anext(stream)
            if hold:
                held.append(stream)

    asyncio.run(asyncio.wait_for(main(), 20))
    held.clear()
    gc.collect()
    assert not outcome_stream._running
    report = check_run_dir(tmp_path / "run")
    assert report.state == "stopped"
    err = capfd.readouterr().err
    assert "Task was destroyed" not in err
    assert "never retrieved" not in err
    assert [one.category for one in recwarn] == ([] if hold else [ResourceWarning])


async def test_a_client_that_is_closed_behind_a_stream_that_is_left(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with ScriptedApi(lambda call: HANG if call.number > 5 else ACCEPT, allow_duplicates=True) as api:
        with warns:
            async with client_for(api.url) as client:
                await by_break([stream_of(client, tmp_path / "run", grace_seconds=0.1)])
        await settled(before)
        await api.idle()
    report = check_run_dir(tmp_path / "run")
    assert report.state == "stopped"
    assert report.counts.accepted + report.counts.uncertain >= len(api.processed)
    assert set(api.processed.values()) <= {1}


async def test_cancelling_who_waits_for_an_outcome_waits_until_the_run_is_settled(tmp_path: Path) -> None:
    before = asyncio.all_tasks()
    async with scripted(lambda call: HANG if call.number > 2 else ACCEPT) as (_, client):

        async def read() -> None:
            async for _ in stream_of(client, tmp_path / "run", grace_seconds=0.01):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert check_run_dir(tmp_path / "run").state == "stopped"
        await check_tasks(before | {task})


async def test_an_interrupt_of_foreign_code_reaches_who_iterates(tmp_path: Path) -> None:
    def show(_: object) -> None:
        raise KeyboardInterrupt

    async with scripted() as (_, client):
        stream = stream_of(client, tmp_path / "run", [number(1)], progress=show)
        with pytest.raises(KeyboardInterrupt):
            await anext(stream)
        assert check_run_dir(tmp_path / "run").stopped_because == "the program's own code raised KeyboardInterrupt"
