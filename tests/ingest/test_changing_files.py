"""Files that somebody writes to while they are pushed: nothing is sent but what was read through before the first call.

`make test` takes 30 seeds of the runs at random, `make chaos` more (KORE_CHAOS_SEEDS says how many).
"""

from __future__ import annotations

import asyncio
import gzip
import os
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import openpyxl
import polars as pl
import pytest
from attrs import frozen
from ingest.pushing import ACCEPT, LIST, Answer, Call, account_of, csv_of, number, push, scripted

from kore_campaign_async import BatchLimits, Files, IngestReport, resume_ingest
from kore_campaign_async.errors import RunDirectoryError, SourceError
from kore_campaign_async.ingest.sources import opening, scanning
from kore_campaign_async.ingest.sources.held_file import HeldFile, close_all, hold_all

SEEDS: Final = int(os.environ.get("KORE_CHAOS_SEEDS", "30"))
PART: Final = 1 << 18
ROWS: Final = 4_000
A_CALL: Final = 50
CHANGED: Final = "was changed while it was read"


def rows_of(first: int) -> list[tuple[str, str]]:
    """Contacts that fill several parts of a file, each number in one content only."""
    return [(f"+1{first + index:010}", f"{index:0200}") for index in range(ROWS)]


def as_csv(rows: list[tuple[str, str]]) -> bytes:
    return ("phone,name\n" + "".join(f"{phone},{name}\n" for phone, name in rows)).encode()


def as_ndjson(rows: list[tuple[str, str]]) -> bytes:
    return "".join(f'{{"phone": "{phone}", "name": "{name}"}}\n' for phone, name in rows).encode()


def as_parquet(rows: list[tuple[str, str]]) -> bytes:
    frame = pl.DataFrame({"phone": [phone for phone, _ in rows], "name": [name for _, name in rows]})
    return written(lambda path: frame.write_parquet(path, row_group_size=500))


def as_xlsx(rows: list[tuple[str, str]]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("contacts")
    sheet.append(("phone", "name"))
    for row in rows:
        sheet.append(row)
    return written(book.save)


def written(write: Callable[[Path], object]) -> bytes:
    path = Path(os.environ["KORE_TEST_FOLDER"]) / "made"
    write(path)
    return path.read_bytes()


FORMATS: Final = {
    "c.csv": as_csv,
    "c.csv.gz": lambda rows: gzip.compress(as_csv(rows), 1),
    "c.ndjson": as_ndjson,
    "c.parquet": as_parquet,
    "c.xlsx": as_xlsx,
}


def rewrite(path: Path, then: bytes, new: bytes) -> None:
    """In place, as an export does that opens its file for writing."""
    with path.open("r+b") as file:
        file.write(new)
        file.truncate()
    del then


def replace(path: Path, _then: bytes, new: bytes) -> None:
    """By another file under the same name."""
    other = path.with_name("other")
    other.write_bytes(new)
    other.replace(path)


def truncate(path: Path, then: bytes, _new: bytes) -> None:
    os.truncate(path, len(then) * 2 // 3)


def append(path: Path, _then: bytes, new: bytes) -> None:
    with path.open("ab") as file:
        file.write(new[-1_000:])


def rewrite_quietly(path: Path, then: bytes, new: bytes) -> None:
    """In place, as much as there was, its time put back."""
    moment = path.stat()
    rewrite(path, then, (new + then)[: len(then)])
    os.utime(path, ns=(moment.st_atime_ns, moment.st_mtime_ns))


def touch(path: Path, _then: bytes, _new: bytes) -> None:
    os.utime(path)


CHANGES: Final = (rewrite, replace, truncate, append, rewrite_quietly, touch)


@frozen
class Plan:
    """What happens in a run at random: which file changes how, at which call, and at which the run is killed."""

    name: str
    change: Callable[[Path, bytes, bytes], None]
    at: int
    killed_at: int

    @classmethod
    def of(cls, seed: int) -> Plan:
        rng = random.Random(seed)
        calls = 2 * ROWS // A_CALL
        return cls(
            list(FORMATS)[seed % len(FORMATS)], rng.choice(CHANGES), rng.randrange(calls), rng.randrange(2 * calls)
        )


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.setenv("KORE_TEST_FOLDER", str(made))


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_contacts_of_one_content_are_sent_exactly_once_or_the_file_is_named(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files, the second of which somebody changes; the run may be cut off, and is resumed with it put back."""
    plan = Plan.of(seed)
    if seed % 2:
        monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", 1 << 10)
    paths = [tmp_path / plan.name, tmp_path / f"second-{plan.name}"]
    first, then, new = (FORMATS[plan.name](rows_of(begin)) for begin in (4150000000, 4160000000, 4170000000))
    paths[0].write_bytes(first)
    paths[1].write_bytes(then)
    wanted = Counter(phone.removeprefix("+") for begin in (4150000000, 4160000000) for phone, _ in rows_of(begin))
    pushing: asyncio.Future[IngestReport] | None = None

    def answer(call: Call) -> Answer:
        if call.number == plan.at + 1:
            plan.change(paths[1], then, new)
        if call.number == plan.killed_at + 1 and pushing is not None:
            pushing.cancel()
        return ACCEPT

    async with scripted(answer) as (api, client):
        pushing = asyncio.ensure_future(
            push(
                client,
                Files(paths),
                run_dir=tmp_path / "run",
                batch=BatchLimits(max_contacts=A_CALL),
                concurrency=2,
            )
        )
        report = await ended_or_named(pushing, paths[1])
        pushing = None  # what comes of a resume is not cut off
        while report is None:
            calls = len(api.calls)
            if paths[1].read_bytes() != then:
                with pytest.raises((RunDirectoryError, SourceError), match=str(paths[1])):
                    await resume_ingest(client, tmp_path / "run")
                assert len(api.calls) == calls
                paths[1].write_bytes(then)
            report = await ended_or_named(resume_ingest(client, tmp_path / "run"), paths[1])
    assert report.exit_status == (3 if report.counts.uncertain else 0)
    assert report.counts.accepted + report.counts.uncertain == 2 * ROWS
    assert api.processed.keys() <= wanted.keys()
    assert set(api.processed.values()) == {1}
    assert len(wanted - api.processed) <= report.counts.uncertain <= 2 * A_CALL


async def ended_or_named(running: Awaitable[IngestReport], path: Path) -> IngestReport | None:
    """The report of a run that finished; None of one that was cut off, or that says which file was changed."""
    try:
        report = await running
    except asyncio.CancelledError:
        return None
    if report.state == "finished":
        return report
    assert report.exit_status == 4
    assert f"{path} {CHANGED}" in str(report.stopped_because)
    return None


async def test_two_names_of_one_file_are_one_too_many(tmp_path: Path) -> None:
    """A folder's newest export often has a second name, which a pattern matches as well."""
    path = csv_of(tmp_path / "2026-07.csv", "phone", number(1))
    other = tmp_path / "latest.csv"
    async with scripted(()) as (api, client):
        for link in (other.symlink_to, other.hardlink_to):
            link(path)
            with pytest.raises(SourceError, match="are one and the same file: name it once"):
                await push(client, Files([path, other]))
            other.unlink()
        other.write_bytes(path.read_bytes())  # a copy is another file
        report = await push(client, Files([path, other]))
    assert (report.counts.accepted, report.counts.duplicate) == (1, 1)
    assert len(api.calls) == 1


async def test_a_do_not_contact_file_that_is_being_written_stops_the_push(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of it would bar half of those who must not be called."""
    source = csv_of(tmp_path / "c.csv", "phone", number(1))
    barred = tmp_path / "dnc.csv"
    barred.write_text("phone\n" + "".join(f"{number(index)}\n" for index in range(2, 50)))
    opened = HeldFile.open

    def written_to(self: HeldFile) -> object:
        reading = opened(self)
        if self.path == barred:
            with barred.open("a") as file:
                file.write(f"{number(1)}\n")
        return reading

    monkeypatch.setattr(HeldFile, "open", written_to)
    async with scripted(()) as (api, client):
        with pytest.raises(SourceError, match=f"the do-not-contact file {barred} {CHANGED}"):
            await push(client, source, suppress=(barred,))
        assert not api.calls


def test_a_part_is_compared_before_any_of_it_is_handed_on(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * (3 * PART))
    file = HeldFile(path)
    with file.open() as reading:
        assert len(reading.read(-1)) == 3 * PART
    path.write_bytes(b"a" * PART + b"b" + b"a" * (2 * PART - 1))
    with file.open() as reading:
        assert reading.read(2 * PART) == b"a" * PART
        with pytest.raises(SourceError, match=CHANGED):
            reading.read(1)


@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART])
@pytest.mark.parametrize("grown", [-1, 1, PART])
def test_another_end_is_another_file(size: int, grown: int, tmp_path: Path) -> None:
    if size + grown < 0:
        return
    path = tmp_path / "f"
    path.write_bytes(b"a" * size)
    file = HeldFile(path)
    with file.open() as reading:
        assert reading.read(-1) == b"a" * size
    path.write_bytes(b"a" * (size + grown))
    with file.open() as reading, pytest.raises(SourceError, match=CHANGED):
        reading.read(-1)


def test_what_is_held_stays_whatever_takes_its_name(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"old")
    file = HeldFile(path)
    hold_all([file])
    replace(path, b"", b"new")
    with file.open() as reading:
        assert reading.read(-1) == b"old"
    file.raise_if_touched()
    file.read_again()
    close_all([file])
    with pytest.raises(SourceError, match=CHANGED):
        file.read_again()


def test_more_files_than_a_process_may_have_open(tmp_path: Path) -> None:
    """Those beyond are opened in their turn, and known again all the same."""
    files = []
    for index in range(300):
        path = tmp_path / str(index)
        path.write_bytes(b"old")
        files.append(HeldFile(path))
    hold_all(files)
    for file in files:
        with file.open() as reading:
            reading.read(-1)
    replace(files[-1].path, b"", b"new")
    with files[-1].open() as reading, pytest.raises(SourceError, match=CHANGED):
        reading.read(-1)
    close_all(files)


async def test_a_killed_push_whose_second_file_was_another_one_meanwhile(tmp_path: Path) -> None:
    """Killed with kill -9 in the other content, and resumed once the first is back: nobody is missing, nobody twice."""
    from cli.shell import KORE_CAMPAIGN, environment  # noqa: PLC0415  only this test has a shell

    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    contents = [as_csv(rows_of(begin)) for begin in (4150000000, 4160000000)]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    wanted = Counter(phone.removeprefix("+") for begin in (4150000000, 4160000000) for phone, _ in rows_of(begin))
    far_enough = asyncio.Event()

    def answer(call: Call) -> Answer:
        if call.number == 20:
            replace(paths[1], b"", as_csv(rows_of(4170000000)))
        if call.number == ROWS // A_CALL + 10:
            far_enough.set()
        return ACCEPT

    async with scripted(answer) as (api, client):
        process = await asyncio.create_subprocess_exec(
            KORE_CAMPAIGN,
            *("push", "a.csv", "b.csv", "--list", LIST, "--run-dir", "run", "--rate", "none"),
            *("--max-contacts", str(A_CALL), "--concurrency", "1"),
            env=environment(account_of(api)),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await asyncio.wait_for(far_enough.wait(), 60)
        process.kill()
        await process.wait()
        paths[1].write_bytes(contents[1])
        report = await resume_ingest(client, tmp_path / "run")
    assert api.processed.keys() <= wanted.keys()
    assert set(api.processed.values()) == {1}
    assert report.counts.accepted + report.counts.uncertain == 2 * ROWS
    assert len(wanted - api.processed) <= report.counts.uncertain <= A_CALL


async def test_a_file_that_grows_is_not_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export that is still being written has a last line that may be half a number."""
    path = tmp_path / "c.csv"
    path.write_bytes(as_csv(rows_of(4150000000))[:-3])
    scanned = scanning._scan

    def grown(file: HeldFile, encoding: str | None) -> object:
        found = scanned(file, encoding)
        append(path, b"", as_csv(rows_of(4160000000)))
        return found

    monkeypatch.setattr(scanning, "_scan", grown)
    async with scripted(()) as (api, client):
        with pytest.raises(SourceError, match=f"{path} {CHANGED}"):
            await push(client, path, run_dir=tmp_path / "run")
        assert not api.calls
