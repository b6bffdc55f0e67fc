"""What a run intends and what came of it, in SQLite: so that a killed run can be resumed and nothing is sent twice.

An intent (row range, count, attempt) is durable before its call's first byte, its outcome after it. No phone number
and no token is ever here. One connection writes, on one thread; what several senders write at once shares a commit.
`journal.sqlite` appears only complete: without it a directory holds no run.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import orjson
from attrs import frozen

from kore_campaign_async.errors import CallOutcome, RunDirectoryError
from kore_campaign_async.ingest.directory import JOURNAL, PART, CallCount, create, is_at_work, sync
from kore_campaign_async.ingest.integrity import (
    DIGEST,
    attempt_checksum,
    damaged,
    digest_setting,
    digested,
    refuse_damaged,
    refuse_damaged_log,
    wrong_setting,
)
from kore_campaign_async.ingest.records import SENT_BEFORE, State
from kore_campaign_async.ingest.resume_ranges import Known, overlaid, with_rows
from kore_campaign_async.redaction import masked

T = TypeVar("T")

_Change = tuple[str, tuple[Any, ...]]

FORMAT: Final = 5

_SCHEMA: Final = """
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
    reason TEXT,
    sent_at REAL,
    seconds REAL,
    waited_seconds REAL,
    checksum INTEGER
);
"""

# A session is one process's work on the run: the push, then each resume. Times are seconds since the epoch.
_SESSIONS: Final = """
CREATE TABLE IF NOT EXISTS session (
    first_attempt INTEGER PRIMARY KEY,
    began_at REAL NOT NULL,
    settings TEXT NOT NULL
)
"""

_INTENDED: Final = (
    "INSERT INTO attempt (id, batch, first_row, last_row, contacts, attempt, sent_at, checksum)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ENDED: Final = "UPDATE attempt SET outcome = ?, throttled = ?, seconds = ?, waited_seconds = ? WHERE id = ?"
_SETTLED: Final = "UPDATE attempt SET state = ?, reason = ? WHERE id = ?"
_ENDED_AND_SETTLED: Final = (
    "UPDATE attempt SET state = ?, reason = ?, outcome = ?, throttled = ?, seconds = ?, waited_seconds = ? WHERE id = ?"
)

# Only where a caller's own function bars contacts: it may answer otherwise when the run is resumed.
_BARRED_TABLE: Final = "CREATE TABLE IF NOT EXISTS barred (row INTEGER PRIMARY KEY)"
_BARRED: Final = "INSERT OR IGNORE INTO barred SELECT value FROM json_each(?)"
_HAS_BARRED: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'barred'"
# What was noted of rows behind the last intent need not be all that was barred there: they are asked about anew.
_LAST_INTENDED: Final = "(SELECT coalesce(max(last_row), 0) FROM attempt)"
# What it was is kept aside: as long as nobody can be asked, it holds.
_BARRED_BEFORE_TABLE: Final = "CREATE TABLE IF NOT EXISTS barred_before (row INTEGER PRIMARY KEY)"
_HAS_BARRED_BEFORE: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'barred_before'"

# Only of a run that amends another one: rows whose number that one, or one that amends it too, has sent.
_SENT_BEFORE_TABLE: Final = "CREATE TABLE IF NOT EXISTS sent_before (row INTEGER PRIMARY KEY, run TEXT NOT NULL)"
_SENT_BEFORE: Final = "INSERT OR IGNORE INTO sent_before SELECT value, ? FROM json_each(?)"
_HAS_SENT_BEFORE: Final = "SELECT count(*) FROM sqlite_master WHERE name = 'sent_before'"

#: The setting that names the runs that amend this one, by their directories.
AMENDED_BY: Final = "amended_by"

#: The setting that is the report as it was last written: `report.json` can be made anew of it.
REPORTED: Final = "report"
#: What SQLite names the journal's log. The newest commits stand there alone.
LOG: Final = f"{JOURNAL}-wal"
_CHECKPOINT: Final = "PRAGMA wal_checkpoint(PASSIVE)"
_REPORTED: Final = "INSERT OR REPLACE INTO setting VALUES (?, ?)"


class Journal:
    """The journal of one run, open for writing.

    Every method but `close` is for the event loop that made it.
    """

    def __init__(self, path: Path, session: Mapping[str, Any]) -> None:
        self._path = path
        self._work: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._ended: list[tuple[str, bool, float | None, float | None, int]] = []
        self._barred: list[int] = []
        self._sent_before: list[tuple[str, str]] = []
        self._broken: RunDirectoryError | None = None
        self._connection = _connect(path)
        # A statement alone is its own transaction, which spares the two around it: each of the three lets go of the
        # interpreter's lock, and the event loop would have to hand it back.
        self._connection.isolation_level = None
        self._next: int = 1 + self._connection.execute("SELECT coalesce(max(id), 0) FROM attempt").fetchone()[0]
        # A session without a call leaves its place to the next one.
        self._connection.execute(
            "INSERT OR REPLACE INTO session VALUES (?, ?, ?)",
            (self._next, time.time(), orjson.dumps(dict(session)).decode()),
        )
        self._count = CallCount(path.parent)
        self._count.note(self._next - 1)
        self._thread = threading.Thread(target=self._write, name="kore-campaign-journal", daemon=True)
        self._thread.start()

    @classmethod
    def create(cls, directory: Path, settings: Mapping[str, Any], session: Mapping[str, Any] | None = None) -> Self:
        """Make the journal of a new run; RunDirectoryError if it can't be written.

        Args:
            directory: of the run.
            settings: of the run; no secret may be among them.
            session: what this process does otherwise than another that works on the run, such as its rate.
        """
        path, part = directory / JOURNAL, directory / f"{JOURNAL}{PART}"
        try:
            # The log of a part that was killed would be taken for one of this part.
            for side in ("", "-journal", "-wal", "-shm"):
                part.with_name(part.name + side).unlink(missing_ok=True)
            os.close(create(part))
            with contextlib.closing(sqlite3.connect(part)) as connection, connection:
                connection.executescript(_SCHEMA + _SESSIONS)
                spelt = {name: _spelt(value) for name, value in settings.items()}
                spelt[DIGEST] = digest_setting(spelt, FORMAT)
                connection.executemany("INSERT INTO setting VALUES (?, ?)", spelt.items())
                connection.execute(f"PRAGMA user_version = {FORMAT}")
            sync(part)
            with contextlib.closing(CallCount(directory)) as count:
                count.note(0)
            part.rename(path)
            sync(directory)
            return cls(path, session or {})
        except (OSError, sqlite3.Error) as error:
            raise _unwritable(path, error) from None

    @classmethod
    def open(cls, directory: Path, session: Mapping[str, Any] | None = None) -> Self:
        """Open the journal of a run that is resumed; RunDirectoryError tells what is wrong."""
        try:
            made = cls(directory / JOURNAL, session or {})
            made._forget_barred()
        except (OSError, sqlite3.Error) as error:
            raise _unwritable(directory / JOURNAL, error) from None
        return made

    async def intend(self, batch: int, rows: Sequence[int], attempt: int) -> int:
        """Note that a call goes out now, and wait until that is durable; return the attempt's id."""
        number = self._next
        self._next += 1
        about = number, batch, rows[0], rows[-1], len(rows), attempt
        try:
            await self._durably(_INTENDED, (*about, time.time(), attempt_checksum(*about)))
        except asyncio.CancelledError:
            # The call does not go out, and the intent may be durable all the same.
            self.ended(number, CallOutcome.NOT_SENT, throttled=False)
            raise
        return number

    def ended(
        self,
        number: int,
        outcome: CallOutcome,
        *,
        throttled: bool,
        seconds: float | None = None,
        waited_seconds: float | None = None,
    ) -> None:
        """Note how an attempt ended. It goes into the next commit, together with what follows from it."""
        self._ended.append((outcome.name, throttled, seconds, waited_seconds, number))

    async def settle(self, number: int, state: State, reason: str) -> None:
        """Note the state in which an attempt left its contacts, and wait until that is durable."""
        settled = state.value, masked(reason)
        if self._ended and self._ended[-1][-1] == number:
            await self._durably(_ENDED_AND_SETTLED, (*settled, *self._ended.pop()))
        else:
            await self._durably(_SETTLED, (*settled, number))

    def note_barred(self, rows: Sequence[int]) -> None:
        """Note rows that the caller's own function barred. It goes into the next commit: before any later call."""
        self._barred += rows

    def keep_report(self, report: Mapping[str, Any]) -> None:
        """Note how the run stands; no number may be in it. It goes into the next commit, and nobody waits for it."""
        changes = [*self._take_ended(), (_REPORTED, (REPORTED, _spelt(report)))]
        self._work.put(_Entry(changes, None, is_snapshot=True))

    def discard(self) -> None:
        """Close it, and take it away: the run did not begin, and nothing was sent."""
        self.close()
        for side in ("", "-wal", "-shm"):
            self._path.with_name(self._path.name + side).unlink(missing_ok=True)

    def note_sent_before(self, run_id: str, rows: Sequence[int]) -> None:
        """Note rows whose number another run has sent. It goes into the next commit: before any later call."""
        self._sent_before.append((run_id, orjson.dumps(list(rows)).decode()))

    async def _durably(self, statement: str, values: tuple[Any, ...]) -> None:
        if self._broken is not None:
            raise self._broken
        done: asyncio.Future[None] = self._loop.create_future()
        self._work.put(_Entry([*self._take_ended(), (statement, values)], done))
        await done

    def _forget_barred(self) -> None:
        """Put aside what was barred behind the last intent, before anything else is written: it can be all of a run."""
        if self._connection.execute(_HAS_BARRED).fetchone()[0]:
            behind = f"SELECT row FROM barred WHERE row > {_LAST_INTENDED}"  # noqa: S608  our own words
            changes: list[_Change] = [
                (_BARRED_BEFORE_TABLE, ()),
                (f"INSERT OR IGNORE INTO barred_before {behind}", ()),
                (f"DELETE FROM barred WHERE row > {_LAST_INTENDED}", ()),  # noqa: S608  our own words
            ]
            self._work.put(_Entry(changes, None))
        if self._connection.execute(_HAS_SENT_BEFORE).fetchone()[0]:
            self._work.put(_Entry([(f"DELETE FROM sent_before WHERE row > {_LAST_INTENDED}", ())], None))  # noqa: S608  our own words

    def _take_ended(self) -> list[_Change]:
        """What ended or was barred, and is not written yet."""
        ended, self._ended = self._ended, []
        changes: list[_Change] = [(_ENDED, values) for values in ended]
        if self._barred:
            changes += [(_BARRED_TABLE, ()), (_BARRED, (orjson.dumps(self._barred).decode(),))]
            self._barred = []
        if self._sent_before:
            changes += [(_SENT_BEFORE_TABLE, ()), *((_SENT_BEFORE, values) for values in self._sent_before)]
            self._sent_before = []
        return changes

    def _write(self) -> None:
        """Write what comes, all that is there in one commit. Runs in the journal's thread."""
        last = False
        while not last:
            entries = [self._work.get()]
            while not self._work.empty():
                entries.append(self._work.get())
            last = None in entries
            error = self._commit([entry for entry in entries if entry is not None])
            waiting = [entry.done for entry in entries if entry is not None and entry.done is not None]
            if waiting:
                with contextlib.suppress(RuntimeError):  # the loop has ended, and with it who waited
                    self._loop.call_soon_threadsafe(self._tell, waiting, error)
            if any(entry is not None and entry.is_snapshot for entry in entries):
                self._checkpoint()
        self._connection.close()
        self._count.close()

    def _commit(self, entries: list[_Entry]) -> RunDirectoryError | None:
        if self._broken is not None:
            return self._broken
        changes = [change for entry in entries for change in entry.changes]
        try:
            with self._connection:
                if len(changes) > 1:
                    self._connection.execute("BEGIN IMMEDIATE")
                for statement, values in changes:
                    self._connection.execute(statement, values)
            # Once they are durable, and before any of these calls goes out.
            if intended := [values[0] for statement, values in changes if statement is _INTENDED]:
                self._count.note(max(intended))
        except (OSError, sqlite3.Error) as error:
            self._broken = _unwritable(self._path, error)
        return self._broken

    def _checkpoint(self) -> None:
        """Put what stands in the log into the journal itself, which a snapshot can then be compared with."""
        with contextlib.suppress(sqlite3.Error):  # the log still holds it
            self._connection.execute(_CHECKPOINT)

    @staticmethod
    def _tell(waiting: list[asyncio.Future[None]], error: RunDirectoryError | None) -> None:
        for done in waiting:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

    def close(self) -> None:
        """Write what is left, and close; it blocks for a commit. Closing it again does nothing."""
        if not self._thread.is_alive():
            return
        self._work.put(_Entry(self._take_ended(), None))
        self._work.put(None)
        self._thread.join()


@frozen
class _Entry:
    changes: list[_Change]
    done: asyncio.Future[None] | None
    is_snapshot: bool = False


def read_settings(directory: Path) -> dict[str, Any]:
    """The settings of the run in a directory.

    Raises:
        RunDirectoryError: there is none, its format is newer, or it is damaged as far as that is seen without reading
            all of it, as `verify` does.
    """
    path = directory / JOURNAL
    if not path.exists():
        raise RunDirectoryError(f"{directory} holds no run that could be resumed: {JOURNAL} is missing")
    # Before SQLite opens it, and takes the log away. That of a run that goes on is being written.
    if not is_at_work(directory):
        refuse_damaged_log(path)
    rows: list[tuple[str, str]] = reading(
        path, lambda connection: connection.execute("SELECT name, value FROM setting").fetchall()
    )
    try:
        settings = {name: json.loads(value) for name, value in rows}
    except (TypeError, ValueError, RecursionError):
        raise damaged(path, "its settings are torn") from None
    if (wrong := wrong_setting(settings)) is not None:
        raise damaged(path, f"its setting {wrong} is missing, or none that a run can have")
    return settings


def verify(directory: Path) -> None:
    """Raise RunDirectoryError if the journal of a run is damaged. It reads all of it."""
    path = directory / JOURNAL
    reading(path, partial(refuse_damaged, path))


def _spelt(value: Any) -> str:
    """A value as JSON in ASCII: paths can hold bytes that are no text, which orjson refuses."""
    return json.dumps(value, separators=(",", ":"))


def migrate(directory: Path) -> None:
    """Bring the journal of a directory that is locked to this version's format; RunDirectoryError if that fails."""
    path = directory / JOURNAL
    try:
        with contextlib.closing(_connect(path)) as connection, connection:
            connection.execute("BEGIN IMMEDIATE")
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            for step in _MIGRATIONS[version - 1 :]:
                step(connection)
            # Not of a format: whoever knows none passes over it.
            if not any(name == "checksum" for _, name, *_ in connection.execute("PRAGMA table_info(attempt)")):
                connection.execute("ALTER TABLE attempt ADD COLUMN checksum INTEGER")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
    except (OSError, sqlite3.Error) as error:
        raise _unwritable(path, error) from None


def _amended(connection: sqlite3.Connection, setting: str, new: Mapping[str, Any]) -> None:
    ((value,),) = connection.execute("SELECT value FROM setting WHERE name = ?", (setting,))
    amended = _spelt(json.loads(value) | new)
    connection.execute("UPDATE setting SET value = ? WHERE name = ?", (amended, setting))


def _know_isolate(connection: sqlite3.Connection) -> None:
    """From 1 to 2."""
    _amended(connection, "options", {"isolate": False})


def _know_shared_rate(connection: sqlite3.Connection) -> None:
    """From 2 to 3."""
    _amended(connection, "client", {"shared_rate": None})


def _know_times(connection: sqlite3.Connection) -> None:
    """From 3 to 4. What was sent before has no times."""
    known = {name for _, name, *_ in connection.execute("PRAGMA table_info(attempt)")}
    for column in ("sent_at", "seconds", "waited_seconds"):
        if column not in known:
            connection.execute(f"ALTER TABLE attempt ADD COLUMN {column} REAL")
    connection.execute(_SESSIONS)


def _know_files(connection: sqlite3.Connection) -> None:
    """From 4 to 5: a source was one file in UTF-8, with commas."""
    ((value,),) = connection.execute("SELECT value FROM setting WHERE name = 'source'")
    path = json.loads(value)["path"]
    file = {"path": path, "encoding": "utf-8", "delimiter": ",", "sheet": None}
    _amended(connection, "source", {"files": [] if path is None else [file]})


# By the format that each one starts from, 1 first.
_MIGRATIONS: Final = (_know_isolate, _know_shared_rate, _know_times, _know_files)


def read_known(directory: Path, *, is_finished: bool = False) -> list[Known]:
    """What is known of the source's rows: ranges that don't overlap, in order. Rows in none were never sent.

    Args:
        directory: of the run.
        is_finished: whether what was left out behind the last call is known too: else it is asked about anew.
    """
    return reading(directory / JOURNAL, partial(_read_known, is_finished=is_finished))


def _read_known(connection: sqlite3.Connection, *, is_finished: bool) -> list[Known]:
    ranges: list[Known] = []
    query = "SELECT first_row, last_row, outcome, state, reason FROM attempt ORDER BY id"
    for first_row, last_row, outcome, state, reason in connection.execute(query).fetchall():
        if state is not None:
            ranges.append(Known(first_row, last_row, State(state), reason or ""))
        elif outcome == CallOutcome.ACCEPTED.name:
            ranges.append(Known(first_row, last_row, State.ACCEPTED, ""))
        elif outcome is None or outcome == CallOutcome.MAYBE_PROCESSED.name:
            ranges.append(Known(first_row, last_row, None, "the run ended while the call was in flight"))
    barred = _read_barred(connection, is_finished=is_finished)
    found = with_rows(overlaid(ranges), barred, State.SUPPRESSED, "suppressed")
    for run_id, sent in _read_sent_before(connection).items():
        found = with_rows(found, sent, State.DUPLICATE, f"{SENT_BEFORE}: {run_id}")
    return found


def _read_sent_before(connection: sqlite3.Connection) -> dict[str, list[int]]:
    """By the run that sent their numbers, rows that were left out for that, in order."""
    found: dict[str, list[int]] = {}
    if connection.execute(_HAS_SENT_BEFORE).fetchone()[0]:
        query = f"SELECT run, row FROM sent_before WHERE row <= {_LAST_INTENDED} ORDER BY row"  # noqa: S608  our own words
        for run_id, row in connection.execute(query):
            found.setdefault(run_id, []).append(row)
    return found


def add_amended_by(directory: Path, amending: Mapping[str, str]) -> None:
    """Note durably that a run amends the one in a directory that is locked; RunDirectoryError if that fails.

    Args:
        directory: of the run that is amended.
        amending: where the other run is found again.
    """
    known: list[Mapping[str, str]] = read_settings(directory).get(AMENDED_BY, [])
    others = [one for one in known if one["run_id"] != amending["run_id"]]
    put_setting(directory, AMENDED_BY, [*others, dict(amending)])


def _read_barred(connection: sqlite3.Connection, *, is_finished: bool) -> list[int]:
    if not connection.execute(_HAS_BARRED).fetchone()[0]:
        return []
    last = "9223372036854775807" if is_finished else _LAST_INTENDED
    return [row for (row,) in connection.execute(f"SELECT row FROM barred WHERE row <= {last} ORDER BY row")]  # noqa: S608  our own words


def read_barred_before(directory: Path) -> list[int]:
    """Rows that the caller's own function barred behind the last call, in order; they are asked about anew."""

    def read(connection: sqlite3.Connection) -> list[int]:
        found: set[int] = set()
        # It is put aside when the journal is opened, and that may not be done yet.
        if connection.execute(_HAS_BARRED).fetchone()[0]:
            behind = f"SELECT row FROM barred WHERE row > {_LAST_INTENDED}"  # noqa: S608  our own words
            found.update(row for (row,) in connection.execute(behind))
        if connection.execute(_HAS_BARRED_BEFORE).fetchone()[0]:
            found.update(row for (row,) in connection.execute("SELECT row FROM barred_before"))
        return sorted(found)

    return reading(directory / JOURNAL, read)


def read_last_attempt(directory: Path) -> int:
    """The number of the last call that was meant to go out; 0 if there was none."""
    number: int = reading(
        directory / JOURNAL,
        lambda connection: connection.execute("SELECT coalesce(max(id), 0) FROM attempt").fetchone()[0],
    )
    return number


def put_setting(directory: Path, name: str, value: Any) -> None:
    """Note durably a setting of the run in a directory that is locked; RunDirectoryError if that fails."""
    path = directory / JOURNAL
    try:
        with contextlib.closing(_connect(path)) as connection, connection:
            connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, _spelt(value)))
            spelt: dict[str, str] = dict(connection.execute("SELECT name, value FROM setting").fetchall())
            if (kept := spelt.pop(DIGEST, None)) is not None and name in digested(kept):
                begun_with = {one: spelt[one] for one in digested(kept)}
                connection.execute(
                    "UPDATE setting SET value = ? WHERE name = ?", (digest_setting(begun_with, FORMAT), DIGEST)
                )
    except (OSError, sqlite3.Error) as error:
        raise _unwritable(path, error) from None


def read_last_row(directory: Path) -> int:
    """The last row that any call of the run held; 0 if none went out."""
    row: int = reading(
        directory / JOURNAL,
        lambda connection: connection.execute(f"SELECT {_LAST_INTENDED}").fetchone()[0],
    )
    return row


def read_calls(directory: Path) -> dict[str, int]:
    """The attempts so far: `sent` with a byte written, `retried` after a first one, `throttled`."""
    sent, retried, throttled = reading(
        directory / JOURNAL,
        lambda connection: connection.execute(
            "SELECT coalesce(sum(outcome IS NULL OR outcome <> ?), 0), coalesce(sum(attempt > 1), 0),"
            " coalesce(sum(throttled), 0) FROM attempt",
            (CallOutcome.NOT_SENT.name,),
        ).fetchone(),
    )
    return {"sent": sent, "retried": retried, "throttled": throttled}


def read_contacts(directory: Path) -> dict[tuple[int, int], int]:
    """How many contacts the calls held that went out for each range of rows, by its first and its last."""
    rows = reading(
        directory / JOURNAL,
        lambda connection: connection.execute(
            "SELECT first_row, last_row, max(contacts) FROM attempt GROUP BY first_row, last_row"
        ).fetchall(),
    )
    return {(first_row, last_row): contacts for first_row, last_row, contacts in rows}


@frozen
class Times:
    """How long a run went on, as far as its calls tell.

    Attributes:
        seconds: of all its sessions.
        ended_at: its last call's end, in seconds since the epoch; None if none is known.
    """

    seconds: float
    ended_at: float | None


def read_times(directory: Path) -> Times:
    """How long the run went on; a version that kept no times leaves none to tell."""

    def read(connection: sqlite3.Connection) -> Times:
        columns = {name for _, name, *_ in connection.execute("PRAGMA table_info(attempt)")}
        if "sent_at" not in columns:
            return Times(0.0, None)
        seconds, ended_at = connection.execute(
            "SELECT coalesce(sum(max(0, ended - began_at)), 0), max(ended) FROM (SELECT began_at,"
            " (SELECT max(sent_at + coalesce(seconds, 0)) FROM attempt WHERE id BETWEEN first_attempt AND last_attempt)"
            " AS ended FROM (SELECT began_at, first_attempt, lead(first_attempt, 1, 1 << 62)"
            " OVER (ORDER BY first_attempt) - 1 AS last_attempt FROM session))"
        ).fetchone()
        return Times(seconds, ended_at)

    return reading(directory / JOURNAL, read)


def reading(path: Path, query: Callable[[sqlite3.Connection], T]) -> T:
    """Return what a query finds in the journal at a path; RunDirectoryError if it can't be read."""
    try:
        # Read-only, SQLite would leave the files of its log behind.
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as connection:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version > FORMAT:
                raise RunDirectoryError(
                    f"{path} has format {version}, and this version reads {FORMAT}: update kore-campaign-async"
                )
            return query(connection)
    except (OSError, sqlite3.Error) as error:
        # Of all kinds of errors this one says that the file is not as SQLite wrote it.
        if type(error) is sqlite3.DatabaseError:
            raise damaged(path, str(error)) from None
        raise RunDirectoryError(f"{path} can't be read: {error}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise damaged(path, "what it tells of the run's calls is not as it was written") from None


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, check_same_thread=False, isolation_level="IMMEDIATE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    return connection


def _unwritable(path: Path, error: Exception) -> RunDirectoryError:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return RunDirectoryError(f"the journal {path} can't be written: {why}; no further call is made")
