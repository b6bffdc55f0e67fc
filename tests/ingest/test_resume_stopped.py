"""A resume that is stopped at any moment, by whatever: a run's files and counts only ever grow truer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from attrs import define, field
from cli.shell import KORE_CAMPAIGN, environment
from ingest.pushing import (
    ACCEPT,
    CLOSE,
    LIST,
    OUTCOME_FILES,
    Answer,
    Call,
    ScriptedApi,
    check_report,
    check_run_dir,
    client_for,
    csv_of,
    number,
    refuse,
)

from kore_campaign_async import BatchLimits, CampaignClient, IngestOptions, IngestReport, ingest_contacts, resume_ingest
from kore_campaign_async.errors import RunDirectoryError, SourceError
from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.ingest.journal import read_known
from kore_campaign_async.ingest.reasons import entries, read_reasons
from kore_campaign_async.ingest.records import State
from kore_campaign_async.ingest.screen import Screen
from kore_campaign_async.ingest.sources import opening
from kore_campaign_async.ingest.sources.csv_file import CsvFile

SEEDS: Final = int(os.environ.get("KORE_CHAOS_SEEDS", "50"))
PROCESSES: Final = max(6, SEEDS // 8)
ROWS: Final = 4000
BATCH: Final = 40
GROWING: Final = ("read", "accepted", "rejected", "duplicate", "suppressed", "refused")


def write(path: Path, rng: random.Random) -> set[str]:
    """A source with bad rows, duplicates far apart and cells over two lines; return its valid numbers."""
    lines, valid = ["phone,firstName"], []
    for row in range(1, ROWS + 1):
        kind = rng.random()
        if kind < 0.1:
            lines.append(f"nobody,{row}")
        elif kind < 0.12:
            lines.append('nobody,"Bob\n""Jr."""')
        elif kind < 0.2 and valid:
            lines.append(f"{rng.choice(valid)},Again")
        else:
            valid.append(number(row))
            lines.append(f"{number(row)},Ana")
    csv_of(path, *lines)
    return {one.removeprefix("+") for one in valid}


@define
class Seen:
    """What a run directory told at a moment."""

    report: IngestReport
    rows: dict[str, dict[int, str]]

    @classmethod
    def of(cls, run: Path) -> Seen | None:
        if not (run / "journal.sqlite").exists():
            return None
        rows: dict[str, dict[int, str]] = {}
        for name in OUTCOME_FILES:
            with contextlib.suppress(FileNotFoundError):
                found = entries(run / name)
                next(found, None)
                rows[name] = {int(row): reason for row, reason, *_ in found}
        return cls(read_report(run), rows)

    def check_grown(self, after: Seen, run: Path) -> None:
        """Nothing that was told before is less now, unless it is truer."""
        check_report(after.report)
        for name in GROWING:
            assert getattr(after.report.counts, name) >= getattr(self.report.counts, name), name
        before, now = self.report.counts, after.report.counts
        if now.uncertain < before.uncertain:
            assert now.accepted + now.refused + now.unsent > before.accepted + before.refused + before.unsent
        assert after.report.calls.sent >= self.report.calls.sent
        assert after.report.source_exhausted >= self.report.source_exhausted
        held: Counter[int] = Counter()
        for rows in after.rows.values():
            held.update(rows.keys())
        assert max(held.values(), default=1) == 1
        gone = {row for rows in self.rows.values() for row in rows} - held.keys()
        accepted = [one for one in read_known(run) if one.state is State.ACCEPTED]
        for row in gone:
            assert row in self.rows["uncertain.csv"]
            assert any(one.first_row <= row <= one.last_row for one in accepted), f"row {row} is in no file any more"
        for name in ("rejected.csv", "left_out.csv", "refused.csv"):
            if name in self.rows:
                assert self.rows[name].items() <= after.rows[name].items()


@define
class Api:
    """What the list's server answers: mostly well, until it is to answer nothing but well."""

    rng: random.Random
    calm: bool = False
    forbidding: int = field(default=0)

    def __call__(self, _call: Call) -> Answer:
        if self.calm:
            return ACCEPT
        if self.forbidding:
            self.forbidding -= 1
            if not self.forbidding:
                return refuse(403, "no")
        kind = self.rng.random()
        return CLOSE if kind < 0.15 else refuse(400) if kind < 0.2 else ACCEPT


async def turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def stopped(rng: random.Random, api: Api, start: Callable[[], Any]) -> bool:
    """Start something, and stop it somehow at some moment; tell whether it was cut off."""
    way = rng.choice(["cancelled", "cancelled", "cut off", "forbidden", "gone on"])
    if way == "forbidden":
        api.forbidding = rng.randrange(1, 6)
    task = asyncio.ensure_future(start())
    if way in {"cancelled", "cut off"}:
        await turns(rng.choice([rng.randrange(60), rng.randrange(1500)]))
        task.cancel()
        if way == "cut off":
            await turns(rng.randrange(40))
            task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    api.forbidding = 0
    return way == "cut off"


async def survive(seed: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    keeps, asks, tables = bool(seed % 2), seed % 5 == 0, seed % 3 == 0
    if tables:
        monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", 0)
    valid, run = write(folder / "c.csv", rng), folder / "run"
    given = (lambda one: one.endswith("7")) if asks else None
    api = Api(rng)
    options = IngestOptions(
        batch=BatchLimits(max_contacts=BATCH), concurrency=3, grace_seconds=rng.choice([0.0, 5.0]), do_not_contact=given
    )
    async with ScriptedApi(api, allow_duplicates=keeps) as server, client_for(server.url) as client:
        client_: CampaignClient = client

        async def push() -> Any:
            return await ingest_contacts(client_, folder / "c.csv", contact_list=LIST, run_dir=run, options=options)

        async def resume() -> Any:
            return await resume_ingest(
                client_,
                run,
                do_not_contact=given,
                max_contacts=rng.choice([None, 17, 90]),
                grace_seconds=options.grace_seconds,
            )

        while not (run / "journal.sqlite").exists():
            await stopped(rng, api, push)
            await server.idle()
        before = Seen.of(run)
        assert before is not None
        for _ in range(5):
            await stopped(rng, api, resume)
            await server.idle()
            after = Seen.of(run)
            assert after is not None
            before.check_grown(after, run)
            assert check_run_dir(run) == after.report
            assert_reasons(run, after)
            before = after
        api.calm = True
        report = await resume()
        after = Seen.of(run)
        assert after is not None
        before.check_grown(after, run)
        assert check_run_dir(run) == report == after.report
        assert_reasons(run, after)
    barred = {one for one in valid if asks and one.endswith("7")}
    assert report.state == "finished"
    assert (report.counts.read, report.counts.unsent, report.counts.suppressed) == (ROWS, 0, len(barred))
    assert report.counts.accepted + report.counts.uncertain + report.counts.refused == len(valid - barred)
    assert server.processed.keys() <= valid - barred
    if keeps:
        assert max(server.processed.values()) == 1
    else:
        assert report.counts.uncertain == 0
        assert len(server.processed) >= report.counts.accepted


def assert_reasons(run: Path, seen: Seen) -> None:
    """What is kept of the reasons is what the files hold, though it was never read from them."""
    kept: Counter[str] = Counter()
    for reason in read_reasons(run, {}):
        kept[reason.state] += reason.count
    counts = seen.report.counts
    for state in ("rejected", "duplicate", "suppressed", "refused", "uncertain"):
        assert kept[state] == getattr(counts, state), state


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_stopped_at_any_moment_nothing_shrinks(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled, cut off by a second cancellation, or forbidden: again and again, and at last it comes to its end."""
    await survive(seed, tmp_path, monkeypatch)


@pytest.mark.parametrize("seed", range(PROCESSES))
async def test_a_process_that_is_killed_or_told_to_stop_lets_nothing_shrink(seed: int, tmp_path: Path) -> None:
    rng = random.Random(1000 + seed)
    keeps, run = bool(seed % 2), tmp_path / "run"
    valid = write(tmp_path / "c.csv", rng)
    api = Api(rng)
    async with ScriptedApi(api, allow_duplicates=keeps) as server:
        env = {
            "KORE_HOST": server.url,
            "KORE_APP_ID": "st-0603182c",
            "KORE_ACCOUNT_ID": "67777ce9",
            "KORE_AUTH_TOKEN": "a-token-that-nobody-checks",
            "KORE_RATE": "none",
        }
        before: Seen | None = None
        for attempt in range(6):
            begun = (run / "journal.sqlite").exists()
            push = ("push", "c.csv", "--list", LIST, "--run-dir", "run", "--max-contacts", str(BATCH))
            api.calm = attempt == 5
            process = await asyncio.create_subprocess_exec(
                *(KORE_CAMPAIGN, *(("resume", "run") if begun else push)),
                env=environment(env),
                cwd=tmp_path,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
            )
            ended = asyncio.create_task(process.communicate())
            if not api.calm:
                await moment(rng, run, server, ended)
                for one in rng.choice([(signal.SIGKILL,), (signal.SIGINT,), (signal.SIGTERM,), (signal.SIGTERM,) * 2]):
                    if not ended.done():
                        process.send_signal(one)
                        await asyncio.sleep(0.002)
            _, said = await ended
            assert b"Traceback" not in said, said.decode()
            await server.idle()
            after = Seen.of(run)
            if before is not None:
                assert after is not None
                before.check_grown(after, run)
            before = after
        report = check_run_dir(run)
    assert (report.state, report.counts.read, report.counts.unsent) == ("finished", ROWS, 0)
    assert report.counts.accepted + report.counts.uncertain + report.counts.refused == len(valid)
    if keeps:
        assert max(server.processed.values()) == 1
    else:
        assert report.counts.uncertain == 0


async def moment(rng: random.Random, run: Path, server: ScriptedApi, ended: asyncio.Task[Any]) -> None:
    """Wait for the parts of files that a resume begins with, or for so many calls, or a while longer."""
    way, calls = rng.choice(["begun", "calls"]), len(server.calls) + rng.randrange(1, 30)
    while not ended.done():
        if (way == "begun" and (run / "rejected.csv.part").exists()) or len(server.calls) >= calls:
            break
        await asyncio.sleep(0.001)
    await asyncio.sleep(rng.choice([0.0, rng.uniform(0, 0.05)]))


# What a resume leaves that does not come as far as the run before


@define
class Half:
    """A run that was stopped half-way.

    Attributes:
        sent: how many calls it made.
    """

    run: Path
    server: ScriptedApi
    client: CampaignClient
    sent: int

    async def resume(self, concurrency: int | None = None) -> IngestReport:
        return await resume_ingest(self.client, self.run, concurrency=concurrency)


@pytest.fixture
async def half(tmp_path: Path) -> AsyncIterator[Half]:
    write(tmp_path / "c.csv", random.Random(7))
    async with ScriptedApi() as server, client_for(server.url) as client:
        options = IngestOptions(batch=BatchLimits(max_contacts=BATCH), concurrency=2)
        push = ingest_contacts(client, tmp_path / "c.csv", contact_list=LIST, run_dir=tmp_path / "run", options=options)
        task = asyncio.ensure_future(push)
        while len(server.calls) < 30:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        yield Half(tmp_path / "run", server, client, len(server.calls))


def stop_at_a_slice(monkeypatch: pytest.MonkeyPatch, count: int, happens: Callable[[], None]) -> None:
    """Let something happen when so many slices were screened."""
    take, taken = Screen.take, []

    def taking(self: Screen, part: Any) -> Any:
        taken.append(part)
        if len(taken) == count:
            happens()
        return take(self, part)

    monkeypatch.setattr(Screen, "take", taking)


@pytest.mark.parametrize("way", ["cancelled", "forbidden"])
async def test_told_to_stop_it_goes_through_what_was_there_and_sends_nothing(
    half: Half, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    before = Seen.of(half.run)
    assert before is not None
    # Its own files take the place of what somebody made of them.
    (half.run / "rejected.csv").write_text("row,reason,phone\n1,mended by hand,+1\n")
    task = asyncio.ensure_future(half.resume())
    if way == "cancelled":
        stop_at_a_slice(monkeypatch, 1, task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert len(half.server.calls) == half.sent
    else:
        half.server.script = lambda _call: refuse(403, "no")
        await task
        assert len(half.server.calls) <= half.sent + 2
    report = check_run_dir(half.run)
    after = Seen.of(half.run)
    assert after is not None
    before.check_grown(after, half.run)
    assert report.state == "stopped"
    assert ("cancelled" in str(report.stopped_because)) == (way == "cancelled")
    assert report.counts.read < ROWS
    assert report.counts.accepted == before.report.counts.accepted


async def test_what_is_in_doubt_stays_in_its_file_until_it_is_settled(half: Half) -> None:
    """Sent again, it is in flight for a while: whenever the process is killed, it is in `uncertain.csv`."""
    half.server.allow_duplicates = False
    half.server.script = lambda _call: CLOSE
    await half.resume()
    before = Seen.of(half.run)
    assert before is not None
    assert before.report.counts.uncertain >= BATCH
    answered = asyncio.Event()
    half.server.script = lambda _call: Answer(after=answered)
    asked = len(half.server.calls)
    # So many at once that all of it is on its way, and the reading goes on behind it.
    task = asyncio.ensure_future(half.resume(concurrency=40))
    while len(half.server.calls) < asked + 2:
        await asyncio.sleep(0)
    for _ in range(20):
        await asyncio.sleep(0.005)
        now = Seen.of(half.run)
        assert now is not None
        before.check_grown(now, half.run)
        assert now.rows["uncertain.csv"].items() >= before.rows["uncertain.csv"].items()
    answered.set()
    report = await task
    assert report.state == "finished"
    assert check_run_dir(half.run).counts.uncertain == 0


async def test_cut_off_before_it_came_as_far_it_leaves_the_files_and_tells_why(
    half: Half, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_report(half.run)
    files = {name: (half.run / name).read_bytes() for name in (*OUTCOME_FILES, "reasons.json")}
    task = asyncio.ensure_future(half.resume())
    loop = asyncio.get_running_loop()

    def twice() -> None:
        task.cancel()
        loop.call_soon(loop.call_soon, task.cancel)

    stop_at_a_slice(monkeypatch, 2, twice)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(half.server.calls) == half.sent
    report = check_run_dir(half.run)
    assert {name: (half.run / name).read_bytes() for name in files} == files
    assert (report.counts, report.source_exhausted) == (before.counts, before.source_exhausted)
    assert report.stopped_because == "cancelled"
    assert report.finished_at > before.finished_at


async def test_a_source_that_fails_before_leaves_the_files_and_tells_why(
    half: Half, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_report(half.run)
    files = {name: (half.run / name).read_bytes() for name in (*OUTCOME_FILES, "reasons.json")}

    slices = CsvFile.slices

    async def failing(source: CsvFile) -> AsyncIterator[Any]:
        async for part in slices(source):
            yield part
            raise SourceError("the disk failed")

    monkeypatch.setattr(CsvFile, "slices", failing)
    report = await half.resume()
    assert check_run_dir(half.run) == report
    assert {name: (half.run / name).read_bytes() for name in files} == files
    assert report.counts == before.counts
    assert report.stopped_because == "the disk failed"
    monkeypatch.undo()
    report = await half.resume()
    assert (check_run_dir(half.run), report.state) == (report, "finished")


async def test_meanwhile_the_report_is_the_one_before(half: Half, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the files are those before, beside their parts; afterwards there are none."""
    before, seen = read_report(half.run), []

    def look() -> None:
        seen.append((read_report(half.run), sorted(path.name for path in half.run.glob("*.part"))))

    stop_at_a_slice(monkeypatch, 2, look)
    report = await half.resume()
    assert seen == [(before, sorted(f"{name}.part" for name in OUTCOME_FILES))]
    assert check_run_dir(half.run) == report


async def test_parts_of_a_killed_process_are_cleaned_up(half: Half) -> None:
    for name in (*OUTCOME_FILES, "reasons.json", "report.json"):
        (half.run / f"{name}.part").write_text("torn")
    (half.run / "report.part").write_text("of an older version")
    assert read_report(half.run).stopped_because == "cancelled"
    report = await half.resume()
    assert check_run_dir(half.run) == report


@pytest.mark.parametrize("name", [*OUTCOME_FILES, "reasons.json", "report.json"])
async def test_a_directory_in_the_place_of_a_file_is_told_before_anything_is_sent(half: Half, name: str) -> None:
    before = read_report(half.run)
    (half.run / name).unlink()
    (half.run / name / "theirs").mkdir(parents=True)
    with pytest.raises(RunDirectoryError, match=name.replace(".", r"\.")):
        await half.resume()
    assert len(half.server.calls) == half.sent
    (half.run / name / "theirs").rmdir()
    (half.run / name).rmdir()
    report = await half.resume()
    assert check_run_dir(half.run) == report
    assert report.counts.accepted > before.counts.accepted


@pytest.mark.parametrize("report", [None, b"", b"{", b"[]", b'{"state": "finished"}'])
@pytest.mark.parametrize("journaled", [True, False])
async def test_a_report_that_is_missing_or_torn_stops_no_resume(
    half: Half, report: bytes | None, journaled: bool
) -> None:
    before = Seen.of(half.run)
    assert before is not None
    (half.run / "report.json").unlink()
    if report is not None:
        (half.run / "report.json").write_bytes(report)
    if not journaled:
        with contextlib.closing(sqlite3.connect(half.run / "journal.sqlite")) as connection, connection:
            connection.execute("DELETE FROM setting WHERE name = 'report'")
    found = read_report(half.run)
    assert found.state == "stopped"
    counted = {name: getattr(found.counts, name) for name in GROWING if name != "read"}
    assert counted == {name: getattr(before.report.counts, name) for name in counted}
    assert found.counts.read <= before.report.counts.read
    await half.resume()
    after = Seen.of(half.run)
    assert after is not None
    before.check_grown(after, half.run)
    assert check_run_dir(half.run).state == "finished"


async def test_a_report_that_lies_ends_no_resume(half: Half) -> None:
    """Nobody but the journal says that a run is finished."""
    report = read_report(half.run)
    lie = report.to_dict() | {
        "state": "finished",
        "stopped_because": None,
        "source_exhausted": True,
        "finished_at": "9999-01-01T00:00:00.000Z",
        "counts": {"read": 5, "accepted": 5},
    }
    (half.run / "report.json").write_bytes(orjson.dumps(lie))
    report = await half.resume()
    assert (report.state, report.counts.read) == ("finished", ROWS)
    assert check_run_dir(half.run) == report
