"""A pusher that is killed at random moments, resumed, and killed again, until it finishes.

`make test` runs 50 seeds, `make chaos` a thousand (KORE_CHAOS_SEEDS says how many).
"""

from __future__ import annotations

import asyncio
import csv
import os
import random
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from cli.shell import KORE_CAMPAIGN, environment

from kore_campaign_async.sandbox import Sandbox

SEEDS = int(os.environ.get("KORE_CHAOS_SEEDS", "50"))
AT_ONCE = 2
CONTACTS, CONCURRENCY = 40, 4
FILES = ("rejected.csv", "left_out.csv", "refused.csv", "uncertain.csv")


class SlowSandbox(Sandbox):
    """Takes its time before it stores contacts, and before it answers, so that there is something to interrupt."""

    async def _add(self, request: web.Request) -> web.Response:
        await asyncio.sleep(random.uniform(0, 0.03))
        answer = await super()._add(request)
        await asyncio.sleep(random.uniform(0, 0.03))
        return answer


def write(path: Path, rng: random.Random) -> dict[str, str]:
    """A source with duplicates far apart, bad rows and cells over two lines; return each valid number's first row."""
    lines, first = ["phone,firstName"], {}
    for row in range(1, 1501):
        kind = rng.random()
        if kind < 0.04:
            lines.append("nobody,Bob")
        elif kind < 0.05:
            lines.append('nobody,"Bob\n""Jr."""')
        elif kind < 0.15 and first:
            lines.append(f"{rng.choice(list(first))},Again")
        else:
            number = f"+1415{row:07}"
            first[number] = str(row)
            lines.append(f"{number},Ana {row}")
    path.write_text("\n".join(lines) + "\n")
    return first


async def killed_until_it_finishes(sandbox: Sandbox, folder: Path, rng: random.Random) -> int:
    """Push and resume until a process comes to its end by itself; return how many were killed."""
    push = ("push", "c.csv", "--list", "R", "--run-dir", "run", "--rate", "none")
    settings = ("--max-contacts", str(CONTACTS), "--concurrency", str(CONCURRENCY))
    killed = 0
    while True:
        begun = (folder / "run" / "journal.sqlite").exists()
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, *(("resume", "run") if begun else (*push, *settings))),
            env=environment(sandbox.environment),
            cwd=folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        patience = rng.uniform(0.25, 0.75) if killed < 4 else 60.0
        ended = asyncio.create_task(process.communicate())
        done, _ = await asyncio.wait((ended,), timeout=patience)
        if done:
            _, said = ended.result()
            assert process.returncode in {0, 1, 3}, said.decode()
            return killed
        process.kill()
        await ended
        killed += 1


def rows_in(path: Path) -> list[str]:
    with path.open(newline="") as file:
        return [cells[0] for cells in csv.reader(file)][1:]


async def survive(seed: int, folder: Path) -> None:
    folder.mkdir()
    rng = random.Random(seed)
    keeps = bool(seed % 2)
    async with SlowSandbox(rate=None, job_seconds=0.0) as sandbox:
        stored = sandbox.make_list("R", allow_duplicates=keeps)
        valid = write(folder / "c.csv", rng)
        killed = await killed_until_it_finishes(sandbox, folder, rng)
        await asyncio.sleep(0.1)
    counts = orjson.loads((folder / "run" / "report.json").read_bytes())["counts"]
    assert counts["read"] == 1500 == sum(counts.values()) - counts["read"]
    rows = {name: rows_in(folder / "run" / name) for name in FILES}
    kept = [row for some in rows.values() for row in some]
    assert len(kept) == len(set(kept)) == 1500 - counts["accepted"]
    here = {f"+{number}": times for number, times in stored.records.items()}
    assert set(here.values()) <= {1}, f"seed {seed}: somebody is called twice"
    assert here.keys() <= valid.keys()
    missing = {valid[number] for number in valid.keys() - here.keys()}
    if keeps:
        assert missing <= set(rows["uncertain.csv"])
        assert counts["uncertain"] <= killed * CONCURRENCY * CONTACTS
    else:
        assert not missing
        assert counts["uncertain"] == 0
    assert counts["unsent"] == counts["refused"] == 0


@pytest.mark.parametrize("first", range(0, SEEDS, AT_ONCE))
async def test_whenever_it_is_killed_nobody_is_lost_and_nobody_is_called_twice(first: int, tmp_path: Path) -> None:
    """On a list that drops duplicates all are there; on one that keeps them what is missing is uncertain."""
    async with asyncio.TaskGroup() as group:
        for seed in range(first, first + AT_ONCE):
            group.create_task(survive(seed, tmp_path / str(seed)))
