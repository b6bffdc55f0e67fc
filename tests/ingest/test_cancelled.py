"""A push that is cancelled at any turn of the event loop while its server misbehaves, and resumed until it finishes.

`make test` runs 25 seeds, `make chaos` as many as of the crash test (KORE_CHAOS_SEEDS says how many). Whatever a turn
falls into: opening the source, a table that is judged in a thread, a write of the journal, a call, its retry.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import define, evolve, field

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    IngestOptions,
    IngestReport,
    JwtCredentials,
    RetryPolicy,
    Timeouts,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.ingest.records import Slice
from kore_campaign_async.ingest.sources import csv_file, opening, plain_parts, rows
from kore_campaign_async.ingest.sources.base import one_ahead
from kore_campaign_async.ingest.sources.first_rows import FirstRows
from kore_campaign_async.ingest.sources.objects import Objects
from tests.ingest.pushing import (
    ACCEPT,
    CLOSE,
    FAIL,
    HANG,
    LIST,
    OUTCOME_FILES,
    RATE_LIMIT,
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
    outcome_files,
)

SEEDS: Final = int(os.environ.get("KORE_CHAOS_SEEDS", "25"))
ROWS: Final = 120
HEAD: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 90\r\n\r\n"

# What says nothing of the contacts, which the server has taken or not.
DOUBTFUL: Final = {
    "hang": HANG,
    "close": CLOSE,
    "reset": Answer(then="reset"),
    "drip": Answer(then="drip"),
    "garbage": Answer(raw=b"?TTP/1.1 two hundred\r\n\r\n"),
    "truncated": Answer(raw=HEAD + b'{"message":"Adding contacts to public'),
    "empty": Answer(body=b""),
    "page": Answer(body=b"<!DOCTYPE html><html><body>Welcome to the hotel's network</body></html>"),
    "redirect": Answer(302, headers=("Location: http://127.0.0.1:9/elsewhere",)),
    "503": FAIL,
}
# What says no.
REFUSING: Final = {
    "413": TOO_LARGE,
    "401": Answer(401, "Invalid JWT token", processes=False),
    "429": Answer(429, RATE_LIMIT, processes=False),
    "429-after": Answer(429, RATE_LIMIT, processes=False, headers=("Retry-After: 1",)),
}
KINDS: Final = (*DOUBTFUL, *REFUSING)


@define
class Misbehaving:
    """Answers as it should, or in one of the ways; and knows what a client must think of each number.

    Attributes:
        ways: those that it has.
        share: of the calls that it misbehaves to.
        open: how often each number was in a call that was accepted, or that may have been.
    """

    rng: random.Random
    ways: tuple[str, ...]
    share: float
    open: Counter[str] = field(factory=Counter)

    def __call__(self, call: Call) -> Answer:
        answer = ACCEPT
        if self.rng.random() < self.share:
            way = self.rng.choice(self.ways)
            answer = REFUSING.get(way) or DOUBTFUL[way]
            if way in DOUBTFUL and self.rng.random() < 0.5:
                answer = evolve(answer, processes=False)
        if answer not in REFUSING.values():
            self.open.update(call.numbers)
        return answer


def write(folder: Path, rng: random.Random, kind: str) -> tuple[Path, set[str]]:
    """A source with bad rows, rows under quotes and duplicates far apart; return it, and its valid numbers."""
    rows_, valid = list[tuple[str, str]](), list[str]()
    for row in range(1, ROWS + 1):
        chance = rng.random()
        if chance < 0.08:
            rows_.append(("nobody", str(row)))
        elif chance < 0.12:
            rows_.append(("nobody", 'Bob\n"Jr."'))
        elif chance < 0.2 and valid:
            rows_.append((rng.choice(valid), "Again"))
        else:
            valid.append(number(row))
            rows_.append((number(row), f"Ana {row}"))
    if kind == "objects":
        lines = [json.dumps({"phone": one, "firstName": name}) for one, name in rows_]
        return csv_of(folder / "c.ndjson", *lines), {one.removeprefix("+") for one in valid}
    quoted = [
        f"{one},{name}" if '"' not in name else f'{one},"{name.replace(chr(34), chr(34) * 2)}"' for one, name in rows_
    ]
    return csv_of(folder / "c.csv", "phone,firstName", *quoted), {one.removeprefix("+") for one in valid}


@contextlib.contextmanager
def read_by(engine: str) -> Iterator[None]:
    """Slices and tables so small that a short source has many."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (csv_file, rows):
            patch.setattr(module, "SLICE_RECORDS", 20)
        if engine == "tables":
            patch.setattr(opening, "_TABLES_FROM_BYTES", 0)
            patch.setattr(plain_parts, "_TABLE_BYTES", 800)
            patch.setattr(plain_parts, "BLOCK_BYTES", 300)
        yield


class Turns(asyncio.SelectorEventLoop):
    """An event loop that cancels a task after some of its turns, once or more often."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self._task: asyncio.Task[Any] | None = None
        self._left: list[int] = []

    def cancel(self, task: asyncio.Task[Any], turns: list[int]) -> None:
        """Cancel a task after so many turns, and again after as many more as are said next."""
        self._task, self._left = task, list(turns)

    def _run_once(self) -> None:
        super()._run_once()  # type: ignore[misc]  # asyncio's own name of a turn
        self.count += 1
        if self._task is not None and self._left:
            self._left[0] -= 1
            if self._left[0] <= 0:
                del self._left[0]
                self._task.cancel()


@define
class Push:
    """A push that is gone on with as often as it is cancelled.

    Attributes:
        behind: whether its files can be older than its counts.
    """

    folder: Path
    source: Path
    rng: random.Random
    keeps: bool
    barred: Any
    api: ScriptedApi
    server: Misbehaving
    behind: bool = False

    @property
    def run_dir(self) -> Path:
        return self.folder / "run"

    def client(self, seconds: float = 0.06) -> CampaignClient:
        quick = RetryPolicy(
            attempts=2,
            deadline_seconds=1.0,
            wait_initial_seconds=0.001,
            wait_max_seconds=0.002,
            throttled_answers=3,
            retry_after_max_seconds=0.003,
        )
        return client_for(
            self.api.url,
            retry=quick,
            timeouts=Timeouts(total_seconds=seconds, connect_seconds=seconds),
            credentials=JwtCredentials("cs-1", "a secret of at least thirty-two characters"),
        )

    async def go_on(self, client: CampaignClient) -> IngestReport:
        rng = self.rng
        limits, concurrency, grace = rng.randint(3, 12), rng.randint(1, 4), rng.choice((0.0, 0.0, 0.02))
        if (self.run_dir / "journal.sqlite").exists():
            return await resume_ingest(
                client,
                self.run_dir,
                max_contacts=limits,
                concurrency=concurrency,
                grace_seconds=grace,
                do_not_contact=self.barred,
            )
        options = IngestOptions(
            batch=BatchLimits(max_contacts=limits),
            concurrency=concurrency,
            grace_seconds=grace,
            do_not_contact=self.barred,
            max_rejected=100,
        )
        return await ingest_contacts(client, self.source, contact_list=LIST, run_dir=self.run_dir, options=options)

    async def cancelled(self) -> None:
        """Go on, and be cancelled at some turn of the loop, once or more often, unless it ends before."""
        rng, before, files = self.rng, asyncio.all_tasks(), self.files()
        async with self.client() as client:
            task = asyncio.ensure_future(self.go_on(client))
            # A run has some hundred turns; the first ones, and those behind a first cancellation, are delicate.
            turns = [rng.randrange(1, rng.choice((40, 100, 300)))]
            turns += [rng.randrange(1, rng.choice((4, 60))) for _ in range(rng.choice((0, 0, 1, 2)))]
            loop = asyncio.get_running_loop()
            assert isinstance(loop, Turns)
            loop.cancel(task, turns)
            await asyncio.wait((task,), timeout=20.0)
            assert task.done(), "it hangs"
            if not task.cancelled():
                task.result()  # what it raises is a failure
        await check_tasks(before | {task})
        await self.api.idle()
        # A resume that was cut off before it came as far as the run before it leaves the files as they were: its calls
        # stand in the journal and the counts alone, until another one comes as far.
        self.behind = bool(files) and self.files() == files and (self.behind or len(turns) > 1)
        if self.behind:
            check_report(read_report(self.run_dir))
            self.check_calls()
        else:
            self.check()

    def files(self) -> dict[str, bytes]:
        """The outcome files as they are; none of a run that has not begun."""
        return {name: (self.run_dir / name).read_bytes() for name in OUTCOME_FILES if (self.run_dir / name).exists()}

    def check_calls(self) -> None:
        """What holds of the calls at any moment."""
        assert not {one for one in self.api.received if self.barred is not None and self.barred(one)}
        if self.keeps:
            assert max(self.server.open.values(), default=0) <= 1, "what may have been processed was sent again"

    def check(self) -> IngestReport | None:
        """What holds at each stop; the report, if there is a run yet."""
        if not (self.run_dir / "journal.sqlite").exists():
            assert not self.api.calls, "a call went out without a run"
            return None
        self.check_calls()
        report = check_run_dir(self.run_dir)
        uncertain, refused = (self.numbers_in(name) for name in ("uncertain.csv", "refused.csv"))
        if self.keeps:
            assert self.api.processed.keys().isdisjoint(refused)
            assert len(self.api.processed.keys() - uncertain) == report.counts.accepted
        else:
            assert report.counts.accepted <= len(self.api.processed)
        return report

    def numbers_in(self, name: str) -> set[str]:
        cells = [cells for _, _, cells in outcome_files(self.run_dir)[name]]
        return {one.removeprefix("+") for (one, *_) in cells}


async def survive(seed: int, folder: Path) -> None:
    rng = random.Random(seed)
    kind, engine = (("cells", "records"), ("cells", "tables"), ("objects", "records"), ("objects", "tables"))[seed % 4]
    keeps, asks = seed % 3 != 2, seed % 5 in {0, 3}
    source, valid = write(folder, rng, kind)
    barred = (lambda one: one.endswith("7")) if asks else None
    server = Misbehaving(
        rng, rng.choice((KINDS, tuple(rng.sample(KINDS, 3)), (KINDS[seed % len(KINDS)],))), rng.choice((0.15, 0.4))
    )
    async with ScriptedApi(server, allow_duplicates=keeps) as api:
        push = Push(folder, source, rng, keeps, barred, api, server)
        with read_by(engine):
            for _ in range(rng.randint(2, 4)):
                await push.cancelled()
            server.share = 0.0
            async with push.client(10.0) as client:
                report = await push.go_on(client)
            assert push.check() == report
    called = {one for one in valid if barred is None or not barred(one)}
    assert (report.state, report.counts.read, report.counts.unsent) == ("finished", ROWS, 0)
    assert report.counts.suppressed == len(valid - called)
    uncertain, refused = push.numbers_in("uncertain.csv"), push.numbers_in("refused.csv")
    assert api.processed.keys() <= called
    assert called <= api.processed.keys() | uncertain | refused, "somebody is lost"
    assert report.counts.accepted == len(called - uncertain - refused)
    assert keeps or not uncertain


@pytest.mark.parametrize("seed", range(SEEDS))
def test_cancelled_at_any_turn_under_any_misbehaviour_nobody_is_lost_or_called_twice(seed: int, tmp_path: Path) -> None:
    with asyncio.Runner(loop_factory=Turns) as runner:
        runner.run(survive(seed, tmp_path))


def test_there_are_a_dozen_kinds_of_misbehaviour() -> None:
    assert len(KINDS) >= 12


# What reads ahead


async def endless(parts: int) -> AsyncGenerator[Any, None]:
    """Yields some parts, and takes its time to end when it is cancelled, as a thread that has to be told."""
    try:
        for _ in range(parts):
            yield Slice(1, [])
        await asyncio.Event().wait()
    finally:
        for _ in range(8):
            await asyncio.sleep(0)


async def read_one_ahead(below: AsyncGenerator[Any, None]) -> None:
    async with aclosing(one_ahead(below)) as ahead:
        await anext(ahead)
        await asyncio.Event().wait()


async def read_the_first_rows(below: AsyncGenerator[Any, None]) -> None:
    source = Objects([])
    source.slices = lambda: below  # type: ignore[method-assign]  # whatever its objects are
    first = FirstRows(source)
    async with aclosing(first):
        await first.read(1)


@pytest.mark.parametrize("read", [read_one_ahead, read_the_first_rows])
async def test_what_reads_ahead_ends_with_its_reader_however_often_that_is_cancelled(
    read: Callable[[AsyncGenerator[Any, None]], Coroutine[Any, Any, None]],
) -> None:
    """A second cancellation that falls into the end of the first leaves no task and no open generator."""
    before, below = asyncio.all_tasks(), endless(1 if read is read_one_ahead else 0)
    task = asyncio.create_task(read(below))
    for _ in range(6):
        await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert below.ag_frame is None, "it is still open"
    await check_tasks(before)
