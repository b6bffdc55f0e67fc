"""What no person did wrong, and what is said of it: interruptions, pipes that close, full disks, faults of our own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign
from fakes import Connection, raw_server

from kore_campaign_async.sandbox import Sandbox

GOOD = "phone,firstName\n" + "".join(f"+1415555{i:04},Ana\n" for i in range(50))
PUSH = ("push", "c.csv", "--list", "Renewals", "--run-dir", "run", "--rate", "none", "--max-contacts", "5")
ALL = ("--max-rejected", "100")

#: Runs the shell with something in it replaced.
BROKEN = """
import sys
from kore_campaign_async.cli.main import main
{}
sys.argv[0] = "kore-campaign"
main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "c.csv").write_text(GOOD)
    return tmp_path


async def broken(replacing: str, *arguments: str, sandbox: Sandbox, cwd: Path) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BROKEN.format(replacing), *arguments),
        env=environment(sandbox.environment),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


# Interruptions and pipes


async def test_an_interrupted_call_is_told_without_a_traceback(tmp_path: Path) -> None:
    arrived = asyncio.Event()

    async def hang(connection: Connection) -> None:
        await connection.read_request()
        arrived.set()
        await connection.hang()

    async with raw_server(hang) as server:
        account = {"KORE_HOST": server.url, "KORE_APP_ID": "st", "KORE_ACCOUNT_ID": "a", "KORE_AUTH_TOKEN": "token"}
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, "create", "Renewals", "--description", "x"),
            env=environment(account),
            cwd=tmp_path,
            stderr=asyncio.subprocess.PIPE,
        )
        await arrived.wait()
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode() == "kore-campaign: interrupted; a call that was on its way may have been processed\n"


@pytest.mark.parametrize("arguments", [PUSH, (*PUSH, "--json"), ("lists",), ("lists", "--json"), ("doctor",)])
@pytest.mark.parametrize("way", ["closed", "full"])
async def test_an_output_that_nobody_takes(
    way: str, arguments: tuple[str, ...], sandbox: Sandbox, folder: Path
) -> None:
    """A push keeps its own status: the run was made, and its report stands in its directory."""
    if way == "full":
        if not Path("/dev/full").exists():
            pytest.skip("needs /dev/full")
        output = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, output = os.pipe()
        os.close(reading)
    try:
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, *arguments),
            env=environment(sandbox.environment),
            cwd=folder,
            stdout=output,
            stderr=asyncio.subprocess.PIPE,
        )
    finally:
        os.close(output)
    _, told = await process.communicate()
    err = told.decode()
    assert process.returncode == (0 if arguments[0] == "push" else 1), err
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    full = "kore-campaign: standard output can't be written: No space left on device"
    assert (full in err) == (way == "full")
    if arguments[0] == "push":
        assert json.loads((folder / "run" / "report.json").read_bytes())["counts"]["accepted"] == 50


# Disks


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)  # noqa: S603  our own words
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs the right to mount")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)  # noqa: S603, S607  our own words


async def test_a_disk_that_is_full_beforehand(sandbox: Sandbox, folder: Path, tiny_disk: Path) -> None:
    """Nothing goes out where the run could not be accounted for."""
    with (tiny_disk / "other").open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(1 << 12))
    said = await kore_campaign(
        *PUSH, "--max-rejected=100", "--run-dir", str(tiny_disk / "run"), env=sandbox.environment, cwd=folder
    )
    assert said.status == 2, said
    assert "No space left on device" in said.err or "database or disk is full" in said.err
    assert sandbox.calls["addContacts"] == 0


async def test_a_disk_that_becomes_full(sandbox: Sandbox, folder: Path, tiny_disk: Path) -> None:
    """The run stops, what went out is accounted for, and the status is that of a run that can go on."""
    (folder / "c.csv").write_text("phone\n" + "".join(f"nobody {i}, or no number at all\n" for i in range(9000)))
    with (folder / "c.csv").open("a") as file:
        file.writelines(f"+1415{i:07}\n" for i in range(9000))
    said = await kore_campaign(
        *PUSH, "--max-rejected=100", "--run-dir", str(tiny_disk / "run"), env=sandbox.environment, cwd=folder
    )
    assert said.status == 4, said
    assert "No space left on device" in said.out + said.err or "disk is full" in said.out + said.err
    assert f"kore-campaign resume {tiny_disk}/run goes on with it" in said.out + said.err


async def test_a_report_that_cannot_be_written_at_the_end(sandbox: Sandbox, folder: Path) -> None:
    """Contacts have gone out, so the status is not the one that says that nothing was sent."""
    replacing = """
from kore_campaign_async.ingest.files import RunFiles
write = RunFiles.write_report
def fail(self, report, *, durable):
    if durable:
        raise OSError(28, "No space left on device")
    write(self, report, durable=durable)
RunFiles.write_report = fail
"""
    status, _, err = await broken(replacing, *PUSH, sandbox=sandbox, cwd=folder)
    assert status == 4, err
    assert "kore-campaign: the report in run can't be written: No space left on device; the counts are" in err
    assert "accepted 50" in err
    assert err.endswith("; kore-campaign resume run goes on with it\n")


# Faults of our own

UNEXPECTED = """
import kore_campaign_async.client as client
async def fail(self):
    number, secret = "+14155550123", {secret!r}
    raise KeyError(f"{{number}} {{secret}} eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl")
client.CampaignClient.list_contact_lists = fail
"""


@pytest.mark.parametrize("arguments", [("lists",), PUSH])
async def test_a_fault_is_a_sentence_and_with_debug_a_traceback(
    arguments: tuple[str, ...], sandbox: Sandbox, folder: Path
) -> None:
    """Before the command and behind it; neither number, secret nor token is in it."""
    replacing = UNEXPECTED.format(secret=sandbox.client_secret)
    status, out, err = await broken(replacing, *arguments, sandbox=sandbox, cwd=folder)
    sentence = "kore-campaign: an unexpected KeyError, a fault of kore-campaign; --debug shows where it is"
    behind = "; nothing was sent" if arguments is PUSH else ""
    assert (status, out, err) == (2 if behind else 1, "", f"{sentence}{behind}\n")
    for debugged in (("--debug", *arguments), (*arguments, "--debug")):
        _, _, err = await broken(replacing, *debugged, sandbox=sandbox, cwd=folder)
        assert "Traceback (most recent call last):" in err
        assert "KeyError" in err
        assert "in list_contact_lists\n" in err or "in fail" in err
        assert err.endswith(f"{sentence}{behind}\n")
        assert not [one for one in ("4155550123", sandbox.client_secret, "eyJhbGci") if one in err]


async def test_debug_shows_the_traceback_of_a_failed_call(sandbox: Sandbox, tmp_path: Path) -> None:
    environ = sandbox.environment | {"KORE_APP_ID": "st-another"}
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, "lists", "--debug"), env=environment(environ), cwd=tmp_path, stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert b"Traceback (most recent call last):" in err
    assert b"ForbiddenError" in err
    said = await kore_campaign("lists", env=environ, cwd=tmp_path)
    assert said.err.startswith("kore-campaign: POST ")


async def test_a_fault_amid_a_run_leaves_a_run_that_can_go_on(sandbox: Sandbox, folder: Path) -> None:
    replacing = """
from kore_campaign_async.ingest.report import Tally
fold, folded = Tally.fold, []
def fail(self, settled, *more):
    folded.append(settled)
    if len(folded) == 3:
        raise KeyError("a fault")
    return fold(self, settled, *more)
Tally.fold = fail
"""
    status, _, err = await broken(replacing, *PUSH, "--concurrency", "1", sandbox=sandbox, cwd=folder)
    assert status == 4, err
    assert "Traceback" not in err
    said: Any = await kore_campaign("resume", "run", env=sandbox.environment, cwd=folder)
    assert said.status in {0, 3}, said
    assert sum(sandbox.named("Renewals").records.values()) == 50


# Completion


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --no-files")]
)
async def test_shells_get_their_completion(shell: str, mark: str, tmp_path: Path) -> None:
    said = await kore_campaign(env={"_KORE_CAMPAIGN_COMPLETE": f"{shell}_source"}, cwd=tmp_path)
    assert said.status == 0
    assert mark in said.out


async def test_commands_and_flags_are_completed(tmp_path: Path) -> None:
    asking = {"_KORE_CAMPAIGN_COMPLETE": "bash_complete", "COMP_CWORD": "1", "COMP_WORDS": "kore-campaign d"}
    said = await kore_campaign(env=asking, cwd=tmp_path)
    assert said.out.split() == ["plain,demo", "plain,doctor"]
    asking |= {"COMP_CWORD": "2", "COMP_WORDS": "kore-campaign push --sup"}
    said = await kore_campaign(env=asking, cwd=tmp_path)
    assert said.out.split() == ["plain,--suppress", "plain,--suppress-column", "plain,--suppress-sheet"]
