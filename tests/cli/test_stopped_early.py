"""A command that is stopped at its very beginning: what it says is true, also before it has made anything."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest
from cli.shell import KORE_CAMPAIGN, Said, environment, kore_campaign
from ingest.pushing import LIST, csv_of, number

from kore_campaign_async.cli.starting import stopping
from kore_campaign_async.sandbox import Sandbox

MOMENTS = (0.02, 0.05, 0.08, 0.11, 0.14, 0.18, 0.22, 0.26, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
PUSH = ("push", "c.csv", "--list", LIST, "--run-dir", "run", "--rate", "none", "--max-contacts", "5")


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(rate=None, job_seconds=0.0) as served:
        served.make_list(LIST, allow_duplicates=True)
        yield served


def heeds_signals(process: int) -> bool:
    """Whether it catches SIGTERM: before that, no line of ours has run."""
    try:
        status = Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True  # it has ended
    for line in status.splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return True


async def stopped(moment: float, sign: signal.Signals, *arguments: str, sandbox: Sandbox, cwd: Path) -> Said:
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, *arguments),
        env=environment(sandbox.environment),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    await asyncio.sleep(moment)
    while process.returncode is None and not heeds_signals(process.pid):
        await asyncio.sleep(0.001)
    if process.returncode is None:
        process.send_signal(sign)
    out, err = await process.communicate()
    assert process.returncode is not None
    return Said(process.returncode, out.decode(), err.decode())


def written(tmp_path: Path) -> None:
    csv_of(tmp_path / "c.csv", "phone", "nobody", *map(number, range(600)))


@pytest.mark.parametrize(("sign", "moments"), [(signal.SIGINT, MOMENTS[::2]), (signal.SIGTERM, MOMENTS[1::2])])
async def test_a_resume_that_is_stopped_has_the_status_of_what_it_left(
    sandbox: Sandbox, tmp_path: Path, sign: signal.Signals, moments: tuple[float, ...]
) -> None:
    """1 is the status of a finished run with rejections, and no other."""
    written(tmp_path)
    for patience in (0.9, 2.0, 4.0, 8.0):
        if not (tmp_path / "run" / "journal.sqlite").exists():
            await stopped(patience, signal.SIGKILL, *PUSH, "--concurrency", "1", sandbox=sandbox, cwd=tmp_path)
    for moment in moments:
        said = await stopped(moment, sign, "resume", "run", "--concurrency", "1", sandbox=sandbox, cwd=tmp_path)
        assert "Traceback" not in said.err
        assert "Aborted" not in said.err
        report = orjson.loads((await kore_campaign("report", "run", "--json", cwd=tmp_path)).out)
        assert said.status in ({4, 1, 3} if report["state"] == "finished" else {4}), said
        if "before anything" in said.err:
            assert said.err == (
                "kore-campaign: stopped before anything was sent by this command; kore-campaign resume run goes on"
                " with it\n"
            )
    said = await kore_campaign("resume", "run", env=sandbox.environment, cwd=tmp_path)
    assert said.status in {1, 3}
    assert set(sandbox.named(LIST).records.values()) == {1}


async def test_a_push_that_is_stopped_before_it_began_sent_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    written(tmp_path)
    for place, moment in enumerate(MOMENTS):
        run, sign = f"run-{place}", (signal.SIGINT, signal.SIGTERM)[place % 2]
        sent = sandbox.named(LIST).records.total()
        said = await stopped(moment, sign, *PUSH[:4], "--run-dir", run, sandbox=sandbox, cwd=tmp_path)
        assert "Traceback" not in said.err
        assert said.status in {1, 2, 4}, said
        if said.status == 2:
            assert said.err == "kore-campaign: stopped before anything was sent\n"
            assert not (tmp_path / run / "journal.sqlite").exists()
            assert sandbox.named(LIST).records.total() == sent


@pytest.mark.parametrize(
    ("words", "stop"),
    [
        ("push c.csv --list L", (2, "stopped before anything was sent")),
        (
            "--profile push resume run --debug",
            (4, "stopped before anything was sent by this command; kore-campaign resume run goes on with it"),
        ),
        ("resume --debug run", (4, "stopped before anything was sent by this command; give it again")),
        ("--debug amend run", (4, "stopped before anything was sent by this command; give it again")),
        ("lists", None),
        ("--help", None),
        ("", None),
    ],
)
def test_what_a_stop_at_the_beginning_says(words: str, stop: tuple[int, str] | None) -> None:
    assert stopping(words.split()) == stop
