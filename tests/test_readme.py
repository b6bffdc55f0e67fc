"""The README's Python examples run as they stand, against the sandbox."""

from __future__ import annotations

import asyncio
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import unused_port
from cli.shell import KORE_CAMPAIGN, Said, environment, kore_campaign

from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.sandbox import Fault, Sandbox
from tests.ingest.pushing import check_run_dir, numbers

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
(FIRST,) = (example for example in PYTHON if "create_contact_list" in example)
(SERVICE,) = (example for example in PYTHON if "web.run_app(" in example)
(TESTS,) = (example for example in PYTHON if "def test_" in example)
SCRIPTS = [number for number, example in enumerate(PYTHON) if example not in {SERVICE, TESTS}]
SHELL = re.findall(r"^\$ (kore-campaign .*?)(?: +#.*)?$", README, re.MULTILINE)


async def run(example: str, sandbox: Sandbox, folder: Path) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", example),
        env=environment(sandbox.environment),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode()


@pytest.mark.parametrize("number", SCRIPTS)
async def test_each_example_runs(number: int, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "contacts.csv").write_text("phone\n+14155550101\n+14155550102\nnobody\n")
    if PYTHON[number] == FIRST:
        sandbox.lists.clear()
    await run(PYTHON[number], sandbox, tmp_path)


async def test_the_first_example_says_what_it_did(sandbox: Sandbox, tmp_path: Path) -> None:
    """Fifteen lines, and they do all that the library is for."""
    (tmp_path / "contacts.csv").write_text("phone\n+14155550101\n+14155550102\nnobody\n")
    sandbox.lists.clear()
    assert await run(FIRST, sandbox, tmp_path) == "Adding contacts to public list is in progress\n2 of 3\n"
    assert sandbox.named("Renewals").about["description"] == "Due in August"
    body = FIRST.partition("async def main")[2].strip().splitlines()
    assert len([line for line in body if line.strip()]) <= 15


async def test_every_command_of_the_readme_is_one(tmp_path: Path) -> None:
    assert len(SHELL) >= 6
    for command in {line.split()[1] for line in SHELL}:
        assert (await kore_campaign(command, "--help", cwd=tmp_path)).status == 0


async def test_every_flag_that_the_readme_names_exists(tmp_path: Path) -> None:
    shown = "".join(
        [(await kore_campaign(name, "--help", cwd=tmp_path)).out for name in ("push", "report", "resume", "sandbox")]
    )
    for flag in set(re.findall(r"`(--[a-z-]+)", README)):
        assert flag in shown, flag


def test_every_link_to_a_section_leads_to_one() -> None:
    sections = {
        re.sub(r"[^\w -]", "", name).strip().lower().replace(" ", "-")
        for name in re.findall(r"^##+ (.*)$", README, re.MULTILINE)
    }
    links = re.findall(r"\]\(#([^)]*)\)", README)
    assert len(links) > 15
    assert set(links) <= sections


# The story of an export

EXPORT = "Vorname;Phone Number;Kundennr\nZoë;(415) 555-0101;1\nJosé;415-555-0102;2\nAl;555-0103;3\n" + "".join(
    f"Ann;(415) 555-{row};{row}\n" for row in range(1000, 4000)
)


async def test_from_an_export_to_a_finished_list(sandbox: Sandbox, tmp_path: Path) -> None:
    """The README's commands, one after the other: the power fails during the push, and a row is mended after it."""
    (block,) = re.findall(r"^## From an export.*?^```console\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    story = [shlex.split(line, comments=True)[2:] for line in block.splitlines()]
    commands = ["doctor", "create", "push", "push", "resume", "report", "amend", "report"]
    assert [arguments[0] for arguments in story] == commands
    (tmp_path / "export.csv").write_bytes(EXPORT.encode("cp1252"))
    sandbox.lists.clear()
    env = {**sandbox.environment, "KORE_RATE": "none"}

    async def said(arguments: list[str]) -> Said:
        return await kore_campaign(*arguments, env=env, cwd=tmp_path)

    doctor, create, dry_run, push, resume, report, again, page = story
    assert (await said(doctor)).status == 0
    assert (await said(create)).status == 0
    tried = await said(dry_run)
    assert (tried.status, "1  rejected" in tried.out) == (1, True), tried
    assert not (tmp_path / "july").exists()
    sandbox.faults = [Fault("hang", every=2)]
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, *push, "--max-contacts", "100"),
        env=environment(env),
        cwd=tmp_path,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(20.0):
        while sandbox.calls["addContacts"] < 3:
            await asyncio.sleep(0.01)
    process.kill()
    _, err = await process.communicate()
    assert "export.csv: Windows-1252, cells parted by semicolons" in err.decode()
    sandbox.faults = []
    assert (await said(resume)).status == 1, "one row is no number"
    shown = await said(report)
    assert "no_area_code" in shown.out
    mended = tmp_path / "july" / "rejected.csv"
    mended.write_text(mended.read_text(encoding="utf-8").replace("555-0103", "415-555-0103"), encoding="utf-8")
    assert (await said(again)).status == 0
    assert (await said(page)).status == 0
    assert "Renewals" in (tmp_path / "july.html").read_text(encoding="utf-8")
    await sandbox.settle()
    stored = sandbox.named("Renewals").records
    assert len(stored) == 3003
    assert set(stored.values()) == {1}


# The service


class Service:
    """The README's service in a process of its own."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{unused_port()}"
        self._env = environment({**sandbox.environment, "KORE_RATE": "none", "PORT": self.url.rpartition(":")[2]})
        self._folder = folder
        self.uploads = folder / "uploads"

    @asynccontextmanager
    async def running(self, session: aiohttp.ClientSession) -> AsyncIterator[asyncio.subprocess.Process]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", SERVICE),
            env=self._env,
            cwd=self._folder,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(20.0):
                while True:
                    try:
                        async with session.get(f"{self.url}/uploads/none") as reply:
                            assert reply.status == 404
                            break
                    except aiohttp.ClientConnectionError:
                        assert process.returncode is None, await process.communicate()
                        await asyncio.sleep(0.02)
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            _, err = await process.communicate()
            # Nobody has set up logging there, so a run that stopped is told on standard error.
            told = [line for line in err.decode().splitlines() if not line.startswith("run run stopped after ")]
            assert (process.returncode, told) == (0, [])

    async def upload(self, session: aiohttp.ClientSession, count: int) -> str:
        table = "\n".join(["phone", *numbers(count), ""])
        async with session.post(f"{self.url}/lists/Renewals", data=table) as reply:
            assert reply.status == 202
            return str((await reply.json())["upload"])

    async def state(self, session: aiohttp.ClientSession, upload: str) -> Any:
        async with session.get(f"{self.url}/uploads/{upload}") as reply:
            return await reply.json()


async def test_the_service_ingests_in_the_background_and_stops_in_order(sandbox: Sandbox, tmp_path: Path) -> None:
    """Stopped with a run half-way, it lets the calls in flight end; started again, it completes the run."""
    service = Service(sandbox, tmp_path)
    async with aiohttp.ClientSession() as session:
        async with service.running(session):
            upload = await service.upload(session, 2500)
            async with asyncio.timeout(20.0):
                while not (state := await service.state(session, upload))["done"]:
                    await asyncio.sleep(0.02)
            assert state["failed"] is None
            assert (state["progress"]["accepted"], state["progress"]["final"]) == (2500, True)

            sandbox.faults = [Fault("drip-stored", pause_seconds=0.005)]
            calls = sandbox.calls["addContacts"]
            stopped = await service.upload(session, 20_000)
            async with asyncio.timeout(20.0):
                while sandbox.calls["addContacts"] == calls:
                    await asyncio.sleep(0.005)
            assert not (await service.state(session, stopped))["done"]
        report = check_run_dir(service.uploads / stopped / "run")
        assert (report.state, report.stopped_because) == ("stopped", "cancelled")
        assert report.counts.accepted > 0 < report.counts.unsent
        assert report.counts.uncertain == 0

        sandbox.faults = []
        async with service.running(session):
            async with asyncio.timeout(20.0):
                while not (state := await service.state(session, stopped))["done"]:
                    await asyncio.sleep(0.02)
            assert state["progress"]["accepted"] == 20_000
        assert read_report(service.uploads / stopped / "run").state == "finished"
    assert sandbox.stored_times(numbers(20_000)[-1]) == 1


async def test_the_service_says_what_failed(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.lists.clear()
    service = Service(sandbox, tmp_path)
    async with aiohttp.ClientSession() as session, service.running(session):
        upload = await service.upload(session, 10)
        async with asyncio.timeout(20.0):
            while not (state := await service.state(session, upload))["done"]:
                await asyncio.sleep(0.02)
    assert state["failed"].startswith("there is no contact list named 'Renewals'")


# The tests


async def test_the_tests_of_the_readme_pass(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-W", "error", "--strict-markers", "-p", "no:cacheprovider"),
        *("-o", "asyncio_default_fixture_loop_scope=function", "test_it.py"),
        env=environment({}),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    assert process.returncode == 0, out.decode()
    assert "2 passed" in out.decode()
