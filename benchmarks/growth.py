"""How the time of what the input, the journal or a reply decides grows: at 1, 2 and 4 times the size.

Each line is a piece of work with its time at a size, and how many times as long it takes at twice and four times that
size, all of them in turns in one run. What is linear takes 2 and 4 times as long; what looks at everything anew from
everywhere takes 4 and 16 times.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import random
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson

from kore_campaign_async.endpoints import envelope, list_contact_lists
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.journal import JOURNAL, Journal, read_known
from kore_campaign_async.ingest.matching import match, matched
from kore_campaign_async.ingest.reasons import read_reasons
from kore_campaign_async.ingest.records import State
from kore_campaign_async.ingest.resume_ranges import Known, overlaid
from kore_campaign_async.ingest.sources.several import places_of
from kore_campaign_async.ingest.timeline import read_timeline
from kore_campaign_async.message import Response
from kore_campaign_async.redaction import masked

Work = Callable[[], object]
#: Makes the work of a size, in a folder of its own.
Measure = Callable[[int, Path], Work]


def _columns(count: int) -> tuple[str, ...]:
    return ("phone", *(f"column {number}" for number in range(count - 1)))


def _matching(size: int, _folder: Path) -> Work:
    columns = _columns(size)
    return lambda: matched(columns, match(columns, {}))


def _mapping(size: int, _folder: Path) -> Work:
    columns = _columns(size)
    column_map = {column: f"field {number}" for number, column in enumerate(columns[1:])}
    return lambda: match(columns, column_map)


def _twice(size: int, _folder: Path) -> Work:
    columns = (*_columns(size // 2), *_columns(size // 2))

    def refused() -> None:
        with contextlib.suppress(SourceError):
            match(columns, {})

    return refused


def _several(size: int, _folder: Path) -> Work:
    columns = _columns(size)
    others = [column.upper() if number % 2 else column for number, column in enumerate(reversed(columns))]
    return lambda: places_of(columns, others)


def _interleaved(calls: int) -> Iterator[tuple[int, int]]:
    """The first and last rows of calls as eight senders make them, every third one tried twice, in halves."""
    rng = random.Random(7)
    rows = [(10 * call + 1, 10 * call + 10) for call in range(calls // 2)]
    for begin in range(0, len(rows), 8):
        part = rows[begin : begin + 8]
        yield from part
        for first, last in rng.sample(part, len(part)):
            yield from ((first, last - 5), (last - 4, last))[: rng.randint(0, 2)]


def _scattered(calls: int) -> Iterator[tuple[int, int]]:
    """The same of rows that are resumed again and again, from the back to the front."""
    rng = random.Random(7)
    for call in reversed(range(calls)):
        yield 10 * call + 1, 10 * call + rng.choice((5, 10, 500))


def _laying(ranges: Callable[[int], Iterator[tuple[int, int]]]) -> Measure:
    def made(size: int, _folder: Path) -> Work:
        known = [Known(first, last, State.ACCEPTED, "") for first, last in ranges(size)]
        return lambda: overlaid(known)

    return made


def _journal(size: int, folder: Path) -> Path:
    """A journal of so many calls, of which each hundredth begins a session with a rate of its own."""
    folder.mkdir()

    async def begin() -> None:
        Journal.create(folder, {}, {"rate": ["60/60"]}).close()

    asyncio.run(begin())
    connection = sqlite3.connect(folder / JOURNAL)
    with connection:
        connection.executemany(
            "INSERT INTO attempt (batch, first_row, last_row, contacts, attempt, outcome, state, reason, sent_at,"
            " seconds) VALUES (?, ?, ?, ?, 1, 'ACCEPTED', ?, ?, ?, 0.1)",
            (
                (call, first, last, last - first + 1, *_end(call), 1_700_000_000.0 + call)
                for call, (first, last) in enumerate(_interleaved(size))
            ),
        )
        connection.executemany(
            "INSERT OR REPLACE INTO session VALUES (?, ?, ?)",
            (
                (call + 1, 1_700_000_000.0 + call, orjson.dumps({"rate": [f"{60 + call}/60"]}).decode())
                for call in range(0, size // 2, 100)
            ),
        )
    connection.close()
    return folder


def _end(call: int) -> tuple[str, str]:
    return ("accepted", "") if call % 2 else ("refused", f"400: the server refused call {call}")


def _reading(size: int, folder: Path) -> Work:
    run = _journal(size, folder)
    return lambda: read_known(run)


def _timing(size: int, folder: Path) -> Work:
    run = _journal(size, folder)
    return lambda: read_timeline(run)


def _reasons(size: int, folder: Path) -> Work:
    folder.mkdir()
    rows = (f"{row},400: the server refused contact {row % 5000} of {row},+14155550101\n" for row in range(size))
    (folder / "refused.csv").write_text("row,reason,phone\n" + "".join(rows))
    return lambda: read_reasons(folder, {})


def _listing(size: int, _folder: Path) -> Work:
    data = [{"_id": f"cl-{number}", "name": "Renewals", "campaignInUse": []} for number in range(size)]
    response = Response(200, {}, orjson.dumps({"status": "success", "data": data}))
    return lambda: list_contact_lists.parse(response)


def _words(size: int, _folder: Path) -> Work:
    errors = [f"data[{number}] is bad" for number in range(size)]
    response = Response(400, {}, orjson.dumps({"errors": errors, "message": "x\n" * size}))
    return lambda: envelope.words_of(response)


def _masking(size: int, _folder: Path) -> Work:
    text = "number +1 (415) 555-0101 of st-0603182c-7ffb at 2026-07-01T12:00:00Z, more than 1000000 contacts; "
    text = text * (size // len(text))
    return lambda: masked(text)


#: What is measured: a name, the smallest size, and how the work of a size is made.
MEASURES: dict[str, tuple[int, Measure]] = {
    "matching a header, columns": (5_000, _matching),
    "a map of all columns, columns": (5_000, _mapping),
    "columns that stand twice, columns": (10_000, _twice),
    "columns in another order, columns": (5_000, _several),
    "laying interleaved calls, calls": (10_000, _laying(_interleaved)),
    "laying scattered calls, calls": (10_000, _laying(_scattered)),
    "reading a journal for a resume, calls": (10_000, _reading),
    "a journal's timeline, calls": (10_000, _timing),
    "reasons of refused contacts, rows": (20_000, _reasons),
    "a listing of one name, lists": (2_000, _listing),
    "words of a long error, errors": (20_000, _words),
    "masking a text, characters": (200_000, _masking),
}


def seconds(work: Work, times: int = 5) -> float:
    """The processor time that a piece of work takes, at best of so many times."""
    best = float("inf")
    gc.collect()
    gc.disable()
    try:
        for _ in range(times):
            began = time.process_time()
            work()
            best = min(best, time.process_time() - began)
    finally:
        gc.enable()
    return best


def growth(measure: Measure, size: int, folder: Path, factors: tuple[int, ...] = (1, 2, 4)) -> list[float]:
    """The seconds that a measure takes at these multiples of a size."""
    return [seconds(measure(size * factor, folder / str(factor))) for factor in factors]


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=int, default=4, help="how many times the smallest sizes (default: 4)")
    arguments = parser.parse_args()
    print(f"{'':38} {'size':>9} {'ms':>8} {'x 2':>6} {'x 4':>6}")
    for name, (size, measure) in MEASURES.items():
        with tempfile.TemporaryDirectory() as folder:
            once, twice, four_times = growth(measure, size * arguments.scale, Path(folder))
        ratios = f"{twice / once:>6.1f} {four_times / once:>6.1f}"
        print(f"{name:38} {size * arguments.scale:>9,} {once * 1000:>8.1f} {ratios}", flush=True)


if __name__ == "__main__":
    main()
