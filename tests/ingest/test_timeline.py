"""How a run went in time, as its journal tells."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from ingest.pushing import FAIL, LIST, THROTTLE, client_for, csv_of, numbers, push, refuse, scripted

from kore_campaign_async import BatchLimits, IngestOptions, RateLimit, ingest_contacts, resume_ingest
from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import journal
from kore_campaign_async.ingest.timeline import Spread, Words, read_timeline

BEGAN = 1_700_000_000.0

# A journal as the version before the times made it.
FORMAT_3 = """
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE attempt (
    id INTEGER PRIMARY KEY,
    batch INTEGER NOT NULL,
    first_row INTEGER NOT NULL,
    last_row INTEGER NOT NULL,
    contacts INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    outcome TEXT,
    throttled INTEGER NOT NULL DEFAULT 0,
    state TEXT,
    reason TEXT
);
INSERT INTO setting VALUES ('client', '{}'), ('options', '{}'), ('source', '{"path": "c.csv"}');
PRAGMA user_version = 3;
"""


def written(folder: Path, *calls: dict[str, Any], sessions: tuple[tuple[int, float, list[str]], ...] = ()) -> Path:
    """A journal of these calls, each accepted within a tenth of a second unless it says otherwise."""
    with contextlib.closing(sqlite3.connect(folder / journal.JOURNAL)) as connection, connection:
        connection.executescript(journal._SCHEMA + journal._SESSIONS)
        for first, began_at, rate in sessions or ((1, BEGAN, ["60/60"]),):
            connection.execute(
                "INSERT INTO session VALUES (?, ?, ?)", (first, began_at, orjson.dumps({"rate": rate}).decode())
            )
        for number, call in enumerate(calls, 1):
            values = {
                "id": number,
                **dict.fromkeys(("batch", "first_row", "last_row"), number),
                "contacts": 1,
                "attempt": 1,
                "outcome": "ACCEPTED",
                "state": "accepted",
                "reason": "",
                "sent_at": BEGAN,
                "seconds": 0.1,
                "waited_seconds": 0.0,
                **call,
            }
            marks = ", ".join("?" * len(values))
            connection.execute(
                f"INSERT INTO attempt ({', '.join(values)}) VALUES ({marks})",  # noqa: S608  names of ours
                tuple(values.values()),
            )
        connection.execute(f"PRAGMA user_version = {journal.FORMAT}")
    return folder


async def test_a_push_notes_when_its_calls_went_out_how_long_they_took_and_waited(tmp_path: Path) -> None:
    before = time.time()
    options = IngestOptions(batch=BatchLimits(max_contacts=10), concurrency=2)
    async with scripted([refuse(), THROTTLE], rate=[RateLimit(4, 0.3)]) as (api, client):
        report = await push(client, numbers(100), run_dir=tmp_path / "run", options=options)
    line = read_timeline(tmp_path / "run")
    assert len(api.calls) == line.timed == report.calls.sent == 11
    assert (line.untimed, line.in_flight, line.not_sent, line.throttled) == (0, 0, 0, 1)
    (session,) = line.sessions
    assert before <= session.began_at <= time.time()
    assert session.rate == (RateLimit(4, 0.3),)
    assert 0.5 <= line.seconds <= report.seconds + 1  # eleven calls at four in 0.3 s
    assert sum(point.calls for point in line.points) == 11
    assert sum(point.accepted for point in line.points) == report.counts.accepted == 90
    assert sum(point.refused for point in line.points) == report.counts.refused == 10
    (busiest,) = line.busiest
    assert busiest.limit == RateLimit(4, 0.3)
    assert 1 <= busiest.calls <= 4
    assert line.latency is not None
    assert 0 < line.latency.median <= line.latency.p95 <= line.latency.p99 <= line.latency.longest
    # What the report says of the waits is what the calls say of theirs.
    assert line.waited >= 1
    with contextlib.closing(sqlite3.connect(tmp_path / "run" / journal.JOURNAL)) as connection:
        (waited,) = connection.execute("SELECT sum(waited_seconds) FROM attempt").fetchone()
    assert waited == pytest.approx(report.budget.waited_seconds, abs=0.05)
    (words,) = line.words
    assert (words.state, words.calls, words.contacts) == ("refused", 1, 10)
    assert "must be a valid number" in words.reason


async def test_a_resume_is_a_session_of_its_own_with_its_own_rate(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(60))
    options = IngestOptions(batch=BatchLimits(max_contacts=10), concurrency=1, grace_seconds=0)
    async with scripted([FAIL], rate=[RateLimit(2, 0.5)]) as (api, client):
        run = asyncio.ensure_future(
            ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        )
        async with asyncio.timeout(5):
            while len(api.calls) < 2:
                await asyncio.sleep(0.001)
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        first = len(api.calls)
        async with client_for(api.url, rate=[RateLimit(100, 1)]) as another:
            await resume_ingest(another, tmp_path / "run")
    line = read_timeline(tmp_path / "run")
    assert [session.rate for session in line.sessions] == [(RateLimit(2, 0.5),), (RateLimit(100, 1.0),)]
    assert line.sessions[1].offset_seconds >= line.sessions[0].seconds
    assert line.timed + line.not_sent >= len(api.calls) > first
    assert [one.limit for one in line.busiest] == [RateLimit(2, 0.5), RateLimit(100, 1.0)]


def test_the_time_between_two_sessions_is_left_out(tmp_path: Path) -> None:
    day = 86400.0
    line = read_timeline(
        written(
            tmp_path,
            {"sent_at": BEGAN + 1, "contacts": 5},
            {"sent_at": BEGAN + 9, "contacts": 7},
            {"sent_at": BEGAN + day + 2, "contacts": 11},
            sessions=((1, BEGAN, ["60/60"]), (3, BEGAN + day, ["60/60"])),
        )
    )
    assert [round(session.seconds, 1) for session in line.sessions] == [9.1, 2.1]
    # A session begins with a point.
    assert (line.point_seconds, line.sessions[1].offset_seconds) == (0.5, 9.5)
    assert line.seconds == pytest.approx(11.6)
    settled = {point.begins_seconds: point.accepted for point in line.points if point.accepted}
    assert settled == {1.0: 5, 9.0: 7, 11.5: 11}
    assert [point.calls for point in line.points if point.calls] == [1, 1, 1]


def test_the_busiest_window_is_exact(tmp_path: Path) -> None:
    """Sixty calls at the end of one minute and sixty at the beginning of the next are 120 in a window."""
    calls = [{"sent_at": BEGAN + at} for at in (*[59.0] * 60, *[61.0] * 60, 118.9, 180.0)]
    (busiest,) = read_timeline(written(tmp_path, *calls)).busiest
    assert busiest.calls == 121
    calls = [{"sent_at": BEGAN + 60.0 * at} for at in range(5)]
    (tmp_path / "b").mkdir()
    assert read_timeline(written(tmp_path / "b", *calls)).busiest[0].calls == 1


def test_the_spread_is_of_answers(tmp_path: Path) -> None:
    calls = [{"seconds": at / 100, "waited_seconds": 0.5 if at > 90 else 0.0} for at in range(1, 101)]
    line = read_timeline(written(tmp_path, *calls, {"seconds": None, "outcome": None, "state": None}))
    assert line.latency == Spread(median=0.5, p95=0.95, p99=0.99, longest=1.0)
    assert (line.waits, line.waited) == (Spread(median=0.0, p95=0.5, p99=0.5, longest=0.5), 10)
    assert (line.in_flight, line.in_flight_contacts) == (1, 1)
    assert line.points[0].median_seconds == 0.5
    assert line.points[0].slow_seconds == 0.95


def test_what_was_not_sent_is_no_call_and_what_was_accepted_before_a_kill_is_accepted(tmp_path: Path) -> None:
    line = read_timeline(
        written(
            tmp_path,
            {"outcome": "NOT_SENT", "state": None},
            {"state": None, "contacts": 9},
            {"outcome": "REFUSED", "state": "refused", "reason": "400: no", "contacts": 3},
            {"outcome": "REFUSED", "state": "refused", "reason": "400: no", "contacts": 4},
            {"outcome": "MAYBE_PROCESSED", "state": "uncertain", "reason": "gone", "contacts": 2},
        )
    )
    assert (line.timed, line.not_sent, line.in_flight) == (4, 1, 0)
    assert [sum(getattr(point, state) for point in line.points) for state in ("accepted", "refused", "uncertain")] == [
        9,
        7,
        2,
    ]
    assert line.words == (
        Words(state="refused", reason="400: no", calls=2, contacts=7),
        Words(state="uncertain", reason="gone", calls=1, contacts=2),
    )


@pytest.mark.parametrize("back", [-1000.0, -0.01])
def test_a_clock_that_was_set_back_makes_no_negative_time(tmp_path: Path, back: float) -> None:
    line = read_timeline(written(tmp_path, {"sent_at": BEGAN + back, "seconds": 0.0}))
    assert (line.seconds, line.timed) == (0.0, 1)
    assert [point.calls for point in line.points] == [1]


def test_a_run_without_a_call(tmp_path: Path) -> None:
    line = read_timeline(written(tmp_path))
    assert (line.points, line.rows, line.latency, line.waits, line.timed) == ((), (), None, None, 0)


def test_a_journal_without_times_is_read_for_what_it_holds(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / journal.JOURNAL)) as connection, connection:
        connection.executescript(FORMAT_3)
        connection.execute("INSERT INTO attempt VALUES (1, 1, 1, 9, 9, 1, 'REFUSED', 0, 'refused', '400: no')")
        connection.execute("INSERT INTO attempt VALUES (2, 2, 10, 19, 10, 1, 'ACCEPTED', 0, 'accepted', '')")
    before = (tmp_path / journal.JOURNAL).read_bytes()
    line = read_timeline(tmp_path)
    assert (line.timed, line.untimed, line.points, line.sessions) == (0, 2, (), ())
    assert line.words == (Words(state="refused", reason="400: no", calls=1, contacts=9),)
    assert (tmp_path / journal.JOURNAL).read_bytes() == before, "a report changes nothing"
    journal.migrate(tmp_path)
    again = read_timeline(tmp_path)
    assert (again.timed, again.untimed) == (0, 2)


async def test_a_migrated_journal_goes_on_with_times(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / journal.JOURNAL)) as connection, connection:
        connection.executescript(FORMAT_3)
        connection.execute("INSERT INTO attempt VALUES (1, 1, 1, 9, 9, 1, 'ACCEPTED', 0, 'accepted', '')")
    journal.migrate(tmp_path)
    writing = journal.Journal.open(tmp_path, {"rate": ["60/60"]})
    number = await writing.intend(2, range(10, 20), 1)
    writing.ended(number, journal.CallOutcome.ACCEPTED, throttled=False, seconds=0.25, waited_seconds=1.5)
    await writing.settle(number, journal.State.ACCEPTED, "")
    writing.close()
    line = read_timeline(tmp_path)
    assert (line.timed, line.untimed) == (1, 1)
    assert line.latency == Spread(median=0.25, p95=0.25, p99=0.25, longest=0.25)
    assert line.waits == Spread(median=1.5, p95=1.5, p99=1.5, longest=1.5)


@pytest.mark.parametrize("seconds", [0.0, 0.0004, 0.3, 59.0, 61.0, 3600.0, 86400.0, 9e6, 4e8])
def test_a_run_of_any_length_comes_to_a_few_hundred_points(tmp_path: Path, seconds: float) -> None:
    calls = [{"sent_at": BEGAN + seconds * at / 499, "seconds": 0.0} for at in range(500)]
    line = read_timeline(written(tmp_path, *calls))
    assert 1 <= len(line.points) <= 201
    assert 1 <= len(line.rows) <= 21
    for points in (line.points, line.rows):
        assert sum(point.calls for point in points) == sum(point.accepted for point in points) == 500


def test_many_calls_take_no_memory(tmp_path: Path) -> None:
    calls = [{"sent_at": BEGAN + at, "reason": f"no {at}", "state": "refused"} for at in range(20_000)]
    written(tmp_path, *calls)
    tracemalloc.start()
    try:
        line = read_timeline(tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (len(line.words), line.more_words) == (20, True)
    assert most < 1_000_000


def test_what_is_no_journal(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="can't be read"):
        read_timeline(tmp_path)
    (tmp_path / journal.JOURNAL).write_bytes(b"not a database, but long enough to look like one")
    with pytest.raises(RunDirectoryError, match="can't be read: file is not a database"):
        read_timeline(tmp_path)
