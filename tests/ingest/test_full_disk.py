"""A disk that is full at some moment of a push: before the journal, amid the calls, or for the last report alone.

The limit is one of each file's size, which needs no rights, and a small file system where one can be mounted. One
process makes all pushes of a test, each with numbers of its own. `make chaos` takes more sizes (KORE_CHAOS_SEEDS).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest
from attrs import frozen
from cli.shell import environment

from kore_campaign_async import resume_ingest
from tests.ingest.pushing import (
    ACCOUNT_ID,
    APP_ID,
    LIST,
    ScriptedApi,
    check_run_dir,
    client_for,
    csv_of,
    numbers,
    push,
    rows_in,
)

ROWS: Final = 60
CONCURRENCY: Final = 4
MORE: Final = int(os.environ.get("KORE_CHAOS_SEEDS", "0")) // 20
#: The limit falls where the last report of a run is written, when all else is done.
LAST: Final = -1
FILE_BYTES: Final = (0, 12_000, 24_000, 40_000, 120_000, LAST)
DISK_KILOBYTES: Final = (4, 24, 64, 96, 128, 176)

#: Pushes, each under a limit of its own, as a shell would start them, and marks where each ends, with which status.
ALL: Final = """
import json, os, sys
from pathlib import Path
from resource import RLIMIT_FSIZE, getrlimit, setrlimit
from kore_campaign_async.cli.main import main
from kore_campaign_async.ingest.files import RunFiles

out, err, write = sys.stdout, sys.stderr, RunFiles.write_report
most = getrlimit(RLIMIT_FSIZE)[1]

def written(self, report, *, durable):
    if durable and limit == -1:
        setrlimit(RLIMIT_FSIZE, (0, most))
    write(self, report, durable=durable)

RunFiles.write_report = written
for limit, words in json.loads(Path("pushes.json").read_bytes()):
    if limit is not None and limit >= 0:
        setrlimit(RLIMIT_FSIZE, (limit, most))
    sys.argv, sys.stdout, sys.stderr, status = ["kore-campaign", *words], out, err, None
    try:
        main()
    except SystemExit as end:
        status = end.code
    setrlimit(RLIMIT_FSIZE, (most, most))
    out.flush()
    err.flush()
    os.write(1, f"<<<{status}>>>".encode())
"""


@frozen
class Push:
    """A push under a limit.

    Attributes:
        limit: of each file, in bytes; None for what only the disk limits.
        first: the index of its first number.
    """

    folder: Path
    run_dir: Path
    limit: int | None
    first: int

    @property
    def source(self) -> Path:
        return self.folder / f"{self.first}.csv"

    @property
    def rows(self) -> dict[str, int]:
        """Its numbers, as the API knows them, and their rows: every third one stands behind one that is rejected."""
        return {one.removeprefix("+"): row + row // 3 + 1 for row, one in enumerate(numbers(ROWS, self.first))}

    def write(self) -> None:
        lines = ["phone,firstName"]
        for row, one in enumerate(numbers(ROWS, self.first)):
            lines += [f"nobody,{'x' * 60}"] * (row % 3 == 0 and row > 0) + [f"{one},Ana"]
        csv_of(self.source, *lines)

    def words(self) -> list[str]:
        few = ("--max-contacts", "2", "--concurrency", str(CONCURRENCY), "--rate", "none", "--max-rejected", "100")
        return ["push", str(self.source), "--list", LIST, "--run-dir", str(self.run_dir), *few]

    async def check(self, status: int, said: str, api: ScriptedApi) -> None:
        """What the shell said, and what it sent; a journal that was only half made is resumed like another."""
        calls = [call for call in api.calls if call.numbers[0] in self.rows]
        assert "Traceback" not in said
        if status == 1 and "rejected.csv" in said:
            assert sum(len(one.contacts) for one in calls) == ROWS, "there was room for all of it"
            return
        if status == 2:
            assert not calls, "a call went out, and the status says that nothing did"
        else:
            assert status == 4, said
            assert {(self.rows[one.numbers[0]], self.rows[one.numbers[-1]]) for one in calls} <= self.intents()
        assert str(self.run_dir) in said
        assert re.search(r"can't be (written|made)|disk is full|disk I/O error|File too large|No space left", said), (
            said
        )

    def intents(self) -> set[tuple[int, int]]:
        journal = f"{(self.run_dir / 'journal.sqlite').as_uri()}?mode=ro"
        with closing(sqlite3.connect(journal, uri=True)) as connection:
            return {*connection.execute("SELECT first_row, last_row FROM attempt")}

    async def complete(self, api: ScriptedApi, *, keeps: bool) -> None:
        """Go on where there is room again; everybody is called once, or in doubt where nobody can know."""
        async with client_for(api.url) as client:
            if (self.run_dir / "journal.sqlite").exists():
                report = await resume_ingest(client, self.run_dir)
            else:
                report = await push(client, self.source, run_dir=self.run_dir, max_rejected=100)
        assert check_run_dir(self.run_dir) == report
        doubtful = rows_in(self.run_dir, "uncertain.csv")
        assert (report.state, report.counts.unsent, report.counts.refused) == ("finished", 0, 0)
        assert report.counts.accepted == ROWS - len(doubtful)
        assert report.counts.rejected == report.counts.read - ROWS
        for one, row in self.rows.items():
            times = api.received[one]
            assert times == 1 or (row in doubtful if keeps else times == 2)
            assert times <= 1 or not keeps
        # What was in flight when the journal could not be written any more.
        assert len(doubtful) <= (2 * CONCURRENCY if keeps else 0)


async def pushed(pushes: Sequence[Push], folder: Path, api: ScriptedApi) -> None:
    """Make all the pushes, in one process, and check each."""
    for one in pushes:
        one.write()
    (folder / "pushes.json").write_text(json.dumps([(one.limit, one.words()) for one in pushes]))
    account = {
        "KORE_HOST": api.url,
        "KORE_APP_ID": APP_ID,
        "KORE_ACCOUNT_ID": ACCOUNT_ID,
        "KORE_AUTH_TOKEN": "a-token-that-nobody-checks",
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ALL),
        cwd=folder,
        env=environment(account),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    told, _ = await process.communicate()
    *said, rest = re.split(r"<<<(\d+)>>>", told.decode())
    assert (rest, len(said)) == ("", 2 * len(pushes)), told.decode()
    for one, words, status in zip(pushes, said[::2], said[1::2], strict=True):
        await one.check(int(status), words, api)


on_both_kinds_of_list = pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])


@on_both_kinds_of_list
async def test_files_that_can_grow_no_larger(keeps: bool, tmp_path: Path) -> None:
    rng = random.Random(f"files {keeps}")
    sizes = [*FILE_BYTES, *(int(2 ** rng.uniform(10, 19)) for _ in range(MORE))]
    pushes = [Push(tmp_path, tmp_path / f"run-{index}", size, 1000 * index) for index, size in enumerate(sizes)]
    async with ScriptedApi(allow_duplicates=keeps) as api:
        await pushed(pushes, tmp_path, api)
        for one in pushes:
            await one.complete(api, keeps=keeps)


def mount(disk: Path, how: str) -> None:
    """Mount a file system in memory, or change how it is mounted."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", str(disk)], check=True, capture_output=True)  # noqa: S603, S607  our own words


@pytest.fixture
def disks(tmp_path: Path) -> Iterator[list[Path]]:
    """File systems of these sizes."""
    made: list[Path] = []
    rng = random.Random("disks")
    sizes = [*DISK_KILOBYTES, *(rng.randrange(4, 400, 4) for _ in range(MORE))]
    try:
        for index, kilobytes in enumerate(sizes):
            disk = tmp_path / f"disk-{index}"
            disk.mkdir()
            try:
                mount(disk, f"size={kilobytes}k")
            except (OSError, subprocess.CalledProcessError):
                pytest.skip("needs the right to mount")
            made.append(disk)
        yield made
    finally:
        for disk in made:
            subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607  our own words


@on_both_kinds_of_list
async def test_disks_that_become_full(keeps: bool, tmp_path: Path, disks: list[Path]) -> None:
    pushes = [Push(tmp_path, disk / "run", None, 1000 * index) for index, disk in enumerate(disks)]
    async with ScriptedApi(allow_duplicates=keeps) as api:
        await pushed(pushes, tmp_path, api)
        for disk in disks:
            await asyncio.to_thread(mount, disk, "remount,size=16m")
        for one in pushes:
            await one.complete(api, keeps=keeps)
