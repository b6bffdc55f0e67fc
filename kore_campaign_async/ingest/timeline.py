"""How a run went in time, from its journal: SQLite counts, and hands out a few hundred points of any run.

The time is the running time: where a run was resumed, the hours between are left out.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import frozen

from kore_campaign_async.config import RateLimit, parse_rates
from kore_campaign_async.errors import CallOutcome
from kore_campaign_async.ingest.directory import JOURNAL
from kore_campaign_async.ingest.journal import reading

_MOST_POINTS: Final = 200
_FEW_POINTS: Final = 24
_ROWS: Final = 20
_DAY: Final = 86400.0
# What people count in.
_STEPS_SECONDS: Final = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    20,
    30,
    60,
    120,
    300,
    600,
    1200,
    1800,
    3600,
    7200,
    14400,
    43200,
    _DAY,
)
_SHOWN_REASONS: Final = 20
_REASON_CHARACTERS: Final = 2000


@frozen(kw_only=True)
class Session:
    """One process's work on the run.

    Attributes:
        began_at: seconds since the epoch.
        offset_seconds: its beginning, in the run's running time.
        seconds: from its beginning to its last answer.
        rate: the account's limits that it kept; None where that is not known.
    """

    began_at: float
    offset_seconds: float
    seconds: float
    rate: tuple[RateLimit, ...] | None


@frozen(kw_only=True)
class Point:
    """What happened in one stretch of the running time.

    Attributes:
        begins_seconds: of the running time.
        calls: that were sent in it.
        accepted: contacts whose calls were accepted in it; `refused` and `uncertain` alike.
        median_seconds: what the calls sent in it took; None where none was answered.
        slow_seconds: what 95 of 100 of them took at most.
        waited_seconds: how long each of them waited for the budget, on average.
    """

    begins_seconds: float
    calls: int = 0
    accepted: int = 0
    refused: int = 0
    uncertain: int = 0
    median_seconds: float | None = None
    slow_seconds: float | None = None
    waited_seconds: float = 0.0


@frozen(kw_only=True)
class Spread:
    """How long something took: half of them at most `median` seconds, and so on."""

    median: float
    p95: float
    p99: float
    longest: float


@frozen(kw_only=True)
class Busiest:
    """The most calls of the run that any window of a limit held."""

    limit: RateLimit
    calls: int


@frozen(kw_only=True)
class Words:
    """What calls that were refused, or of which nobody knows, ended in."""

    state: str
    reason: str
    calls: int
    contacts: int


@frozen(kw_only=True)
class Timeline:
    """How a run went.

    Attributes:
        point_seconds: how long the stretch of a point is.
        points: one after another, without gaps.
        row_seconds: how long the stretch of a row is.
        rows: the same in longer stretches, so few that they can be read as a table.
        sessions: in order.
        timed: how many calls have times; those that a version before this one made have none.
        untimed: how many have none.
        latency: of the calls with times; None without one.
        waits: for the budget, of all of them; None without one.
        waited: how many of them waited at all.
        busiest: for each limit.
        in_flight: calls that were never settled: they are going on, or were cut off.
        in_flight_contacts: in them.
        throttled: answers that said the rate limit was exceeded.
        not_sent: attempts of which no byte went out.
        words: the most frequent ends of calls that were not accepted.
        more_words: whether there are others.
    """

    point_seconds: float
    points: tuple[Point, ...]
    row_seconds: float
    rows: tuple[Point, ...]
    sessions: tuple[Session, ...]
    timed: int
    untimed: int
    latency: Spread | None
    waits: Spread | None
    waited: int
    busiest: tuple[Busiest, ...]
    in_flight: int
    in_flight_contacts: int
    throttled: int
    not_sent: int
    words: tuple[Words, ...]
    more_words: bool

    @property
    def seconds(self) -> float:
        """The running time."""
        return max((session.offset_seconds + session.seconds for session in self.sessions), default=0.0)


def read_timeline(directory: Path) -> Timeline:
    """Read how the run in a directory went, also while it goes on; RunDirectoryError if its journal can't be read."""
    return reading(directory / JOURNAL, _read)


def _read(connection: sqlite3.Connection) -> Timeline:
    # One state of the journal for all questions, whatever is written meanwhile; its log is read, nothing is kept out.
    connection.isolation_level = None
    connection.execute("BEGIN")
    columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(attempt)")}
    known = "sent_at" in columns
    sessions, step = _sessions(connection) if known else ([], 1.0)
    _sent(connection, known=known)
    seconds = max((session.offset_seconds + session.seconds for session in sessions), default=0.0)
    timed = _one(connection, "SELECT count(*) FROM sent")
    row_step = _step(seconds, _ROWS)
    not_sent, throttled, all_sent = connection.execute(
        "SELECT coalesce(sum(outcome = ?1), 0), coalesce(sum(throttled), 0),"
        " coalesce(sum(outcome IS NULL OR outcome <> ?1), 0) FROM attempt",
        (CallOutcome.NOT_SENT.name,),
    ).fetchone()
    words = [
        Words(state=state, reason=reason, calls=calls, contacts=contacts)
        for state, reason, calls, contacts in connection.execute(
            "SELECT state, substr(reason, 1, ?), count(*), sum(contacts) FROM attempt"
            " WHERE state IN ('refused', 'uncertain') GROUP BY 1, 2 ORDER BY 4 DESC, 2 LIMIT ?",
            (_REASON_CHARACTERS, _SHOWN_REASONS + 1),
        )
    ]
    in_flight, in_flight_contacts = connection.execute(
        "SELECT count(*), coalesce(sum(contacts), 0) FROM attempt WHERE outcome IS NULL AND state IS NULL"
    ).fetchone()
    return Timeline(
        point_seconds=step,
        points=_points(connection, step, seconds) if timed else (),
        row_seconds=row_step,
        rows=_points(connection, row_step, seconds) if timed else (),
        sessions=tuple(sessions),
        timed=timed,
        untimed=all_sent - timed,
        latency=_spread(connection, "seconds"),
        waits=_spread(connection, "waited"),
        waited=_one(connection, "SELECT count(*) FROM sent WHERE waited > 0.001"),
        busiest=tuple(_busiest(connection, sessions)),
        in_flight=in_flight,
        in_flight_contacts=in_flight_contacts,
        throttled=throttled,
        not_sent=not_sent,
        words=tuple(words[:_SHOWN_REASONS]),
        more_words=len(words) > _SHOWN_REASONS,
    )


def _one(connection: sqlite3.Connection, query: str) -> int:
    return int(connection.execute(query).fetchone()[0])


def _sessions(connection: sqlite3.Connection) -> tuple[list[Session], float]:
    """Those of the journal, one behind the other, and how long the stretch of a point is.

    Where they stand goes into a table of this connection's own. Each begins with a point, so that none holds calls of
    two.
    """
    rows: Sequence[tuple[int, int | None, float, str, float]] = connection.execute(
        "SELECT s.first, s.next, s.began_at, s.settings,"
        # A clock that was set back makes no negative time.
        " max(0.0, coalesce((SELECT max(a.sent_at + coalesce(a.seconds, 0)) FROM attempt a"
        " WHERE a.id >= s.first AND a.id < coalesce(s.next, 1 << 62)), s.began_at) - s.began_at)"
        " FROM (SELECT first_attempt AS first, lead(first_attempt) OVER (ORDER BY first_attempt) AS next,"
        " began_at, settings FROM session) s ORDER BY s.first"
    ).fetchall()
    calls = _one(connection, "SELECT count(*) FROM attempt WHERE sent_at IS NOT NULL")
    step = _step(sum(row[-1] for row in rows), max(_FEW_POINTS, min(_MOST_POINTS, calls)))
    connection.execute(
        "CREATE TEMP TABLE part (number INTEGER, first INTEGER, next INTEGER, began_at REAL, offset REAL)"
    )
    sessions: list[Session] = []
    offset = 0.0
    for number, (first, following, began_at, settings, seconds) in enumerate(rows):
        connection.execute(
            "INSERT INTO part VALUES (?, ?, ?, ?, ?)", (number, first, following or 1 << 62, began_at, offset)
        )
        sessions.append(
            Session(began_at=began_at, offset_seconds=offset, seconds=seconds, rate=_rate(orjson.loads(settings)))
        )
        offset = math.ceil((offset + seconds) / step) * step
    return sessions, step


def _rate(settings: Mapping[str, Any]) -> tuple[RateLimit, ...] | None:
    try:
        return parse_rates(tuple(settings["rate"]))
    except (KeyError, TypeError, ValueError):
        return None


def _sent(connection: sqlite3.Connection, *, known: bool) -> None:
    """Lay the calls out in the running time, in a table that is on disk and not in memory."""
    connection.execute(
        "CREATE TEMP TABLE sent (part INTEGER, sent_at REAL, at REAL, seconds REAL, waited REAL, contacts INTEGER,"
        " state TEXT)"
    )
    if known:
        connection.execute(
            "INSERT INTO sent SELECT part.number, a.sent_at, max(0.0, a.sent_at - part.began_at) + part.offset,"
            " a.seconds, coalesce(a.waited_seconds, 0.0), a.contacts,"
            " CASE WHEN a.state IS NULL AND a.outcome = 'ACCEPTED' THEN 'accepted' ELSE a.state END"
            # In this order: each part asks for its own range of calls.
            " FROM part CROSS JOIN attempt a ON a.id >= part.first AND a.id < part.next"
            " WHERE a.sent_at IS NOT NULL AND (a.outcome IS NULL OR a.outcome <> 'NOT_SENT')"
        )


def _step(seconds: float, most: int) -> float:
    """How long a point's stretch is, so that there are so many at most."""
    least = seconds / most
    return next((float(step) for step in _STEPS_SECONDS if step >= least), math.ceil(least / _DAY) * _DAY)


def _place(seconds: float, step: float) -> int:
    """Which stretch a time is in. A multiple of the step is in the one that it begins, whatever floats make of it."""
    return int(seconds / step + 1e-9)


def _points(connection: sqlite3.Connection, step: float, seconds: float) -> tuple[Point, ...]:
    last = _place(seconds, step)
    points: list[dict[str, Any]] = [{"begins_seconds": number * step} for number in range(last + 1)]
    for at, calls, waited in connection.execute(
        "SELECT min(CAST(at / ? + 1e-9 AS INTEGER), ?), count(*), avg(waited) FROM sent GROUP BY 1", (step, last)
    ):
        points[at] |= {"calls": calls, "waited_seconds": waited}
    for at, state, contacts in connection.execute(
        "SELECT min(CAST((at + coalesce(seconds, 0)) / ? + 1e-9 AS INTEGER), ?), state, sum(contacts) FROM sent"
        " WHERE state IN ('accepted', 'refused', 'uncertain') GROUP BY 1, 2",
        (step, last),
    ):
        points[at][state] = contacts
    for at, place, half, took in connection.execute(
        "SELECT at, place, (many + 1) / 2, seconds FROM (SELECT at, seconds, count(*) OVER (PARTITION BY at) AS many,"
        " row_number() OVER (PARTITION BY at ORDER BY seconds) AS place FROM"
        " (SELECT min(CAST(at / ? + 1e-9 AS INTEGER), ?) AS at, seconds FROM sent WHERE seconds IS NOT NULL))"
        " WHERE place IN ((many + 1) / 2, (95 * many + 99) / 100)",
        (step, last),
    ):
        if place == half:
            points[at]["median_seconds"] = took
        points[at]["slow_seconds"] = max(took, points[at].get("slow_seconds", 0.0))
    return tuple(Point(**point) for point in points)


def _spread(connection: sqlite3.Connection, column: str) -> Spread | None:
    found = connection.execute(
        f"SELECT {column} FROM (SELECT {column}, count(*) OVER () AS many, row_number() OVER (ORDER BY {column}) AS"  # noqa: S608  a name of ours
        f" place FROM sent WHERE seconds IS NOT NULL) JOIN (SELECT 50 AS share UNION SELECT 95 UNION SELECT 99 UNION"
        " SELECT 100) ON place = (share * many + 99) / 100 ORDER BY share"
    ).fetchall()
    if not found:
        return None
    (median,), (p95,), (p99,), (longest,) = found
    return Spread(median=median, p95=p95, p99=p99, longest=longest)


def _busiest(connection: sqlite3.Connection, sessions: list[Session]) -> Iterable[Busiest]:
    kept: dict[RateLimit, list[int]] = {}
    for number, session in enumerate(sessions):
        for limit in session.rate or ():
            kept.setdefault(limit, []).append(number)
    if len(kept) > 1:
        # Each limit then looks at its own calls and at no others.
        connection.execute("CREATE INDEX sent_of_part ON sent (part, sent_at)")
    for limit, parts in kept.items():
        most = connection.execute(
            "SELECT coalesce(max(many), 0) FROM (SELECT count(*) OVER (ORDER BY sent_at RANGE BETWEEN ? PRECEDING AND"
            " CURRENT ROW) AS many FROM sent WHERE part IN (SELECT value FROM json_each(?)))",
            (limit.seconds * (1 - 1e-6), orjson.dumps(parts).decode()),
        ).fetchone()[0]
        yield Busiest(limit=limit, calls=most)
