"""A run that was begun with one reader and killed goes on with the other, and comes to the same."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Final

import pytest
from cli.shell import environment

from kore_campaign_async.ingest.journal import read_settings
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import LIST, check_run_dir, number, outcome_files
from tests.ingest.test_chaos import SlowSandbox
from tests.ingest.test_engines import HEADERS, Writer

SEEDS: Final = max(20, int(os.environ.get("KORE_CHAOS_SEEDS", "0")) // 10)
AT_ONCE: Final = 2
ROWS: Final = 1200
# Tables of a few hundred rows from a file of any size; and a machine on which polars is not installed.
_PUSH: Final = """
import sys
if sys.argv.pop(1) == "records":
    sys.modules["polars"] = None
from kore_campaign_async.ingest.sources import opening, plain_parts
opening._TABLES_FROM_BYTES, plain_parts._TABLE_BYTES, plain_parts.BLOCK_BYTES = 0, 9000, 2000
from kore_campaign_async.cli.main import main
sys.exit(main())
"""


def write(path: Path, rng: random.Random) -> set[str]:
    """A file with torn quotes, blank lines and duplicates far apart; the numbers of which one must be called."""
    writer = Writer(rng, 2, ",", "\n")
    lines, sure = [], set()
    for row in range(ROWS):
        kind = rng.random()
        if kind < 0.05:
            lines.append(rng.choice((writer.several_lines, writer.odd, writer.ragged, writer.empty))())
        else:
            one = number(rng.randrange(5000) if kind < 0.2 else 10_000 + row)
            lines.append(f"{one},Ana {row}")
            sure.add(one)
    path.write_bytes("\n".join([",".join(HEADERS[2]), *lines, ""]).encode("utf-8", "surrogateescape"))
    return sure


async def part(folder: Path, engine: str, patience: float, *arguments: str, sandbox: Sandbox) -> int | None:
    """Go on for so long; return the exit status, or None if it was killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PUSH, engine, *arguments),
        env=environment(sandbox.environment),
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    ended = asyncio.create_task(process.communicate())
    done, _ = await asyncio.wait((ended,), timeout=patience)
    if done:
        _, said = ended.result()
        assert process.returncode in {0, 1, 3}, said.decode()
        return process.returncode
    process.kill()
    await ended
    return None


async def survive(seed: int, folder: Path) -> None:
    """Each part is read by the other engine than the one before it."""
    folder.mkdir()
    rng = random.Random(seed)
    engines = ["tables", "records"] if seed % 2 else ["records", "tables"]
    push = ("push", "c.csv", "--list", LIST, "--run-dir", "run", "--rate", "none")
    settings = ("--max-contacts", "20", "--concurrency", "4")
    async with SlowSandbox(rate=None, job_seconds=0.0) as sandbox:
        stored = sandbox.make_list(LIST, allow_duplicates=True)
        sure = write(folder / "c.csv", rng)
        for turn in range(20):
            begun = (folder / "run" / "journal.sqlite").exists()
            patience = 60.0 if turn >= 3 else rng.uniform(0.4, 1.2)
            command = ("resume", "run") if begun else (*push, *settings)
            if await part(folder, engines[turn % 2], patience, *command, sandbox=sandbox) is not None:
                break
        await asyncio.sleep(0.1)
    began_with = read_settings(folder / "run")["source"]
    assert began_with["engine"] in engines
    assert began_with["version"] == version("kore-campaign-async")
    assert began_with["polars"] == (version("polars") if began_with["engine"] == "tables" else None)
    report = check_run_dir(folder / "run")
    assert (report.state, report.counts.unsent, report.counts.refused) == ("finished", 0, 0)
    assert set(stored.records.values()) <= {1}, "somebody is called twice"
    uncertain = {cells[0] for _, _, cells in outcome_files(folder / "run")["uncertain.csv"]}
    here = {f"+{one}" for one in stored.records}
    kept = {cells[0] for _, _, cells in outcome_files(folder / "run")["rejected.csv"]}
    # A line that stands under somebody's stray quote is rejected, and named as it stood.
    lost = {one for one in sure - here - uncertain if not any(one in text for text in kept)}
    assert not lost, "somebody is lost"
    whole = await unbroken(folder)
    assert report.counts.rejected == len(whole["rejected.csv"])
    assert outcome_files(folder / "run")["rejected.csv"] == whole["rejected.csv"]
    assert sorted(outcome_files(folder / "run")["left_out.csv"]) == sorted(whole["left_out.csv"])


async def unbroken(folder: Path) -> dict[str, list[tuple[int, str, list[str]]]]:
    """The outcome files of a push that nobody disturbs, by records."""
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST, allow_duplicates=True)
        push = ("push", "c.csv", "--list", LIST, "--run-dir", "whole", "--rate", "none")
        assert await part(folder, "records", 60.0, *push, sandbox=sandbox) is not None
    return outcome_files(folder / "whole")


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
async def test_killed_and_resumed_with_the_other_reader_nobody_is_called_twice_and_nobody_is_lost(
    first: int, tmp_path: Path
) -> None:
    """On a list that keeps duplicates; rows, reasons and duplicates are those of an undisturbed push."""
    async with asyncio.TaskGroup() as group:
        for seed in range(first, first + AT_ONCE):
            group.create_task(survive(seed, tmp_path / str(seed)))
