"""The README's Python examples run as they stand, against the sandbox."""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from cli.shell import environment, kore_campaign

from kore_campaign_async.sandbox import Sandbox

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
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


@pytest.mark.parametrize("number", range(len(PYTHON)))
async def test_each_example_runs(number: int, sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "contacts.csv").write_text("phone\n+14155550101\n+14155550102\nnobody\n")
    if "create_contact_list" in PYTHON[number]:
        sandbox.lists.clear()
    await run(PYTHON[number], sandbox, tmp_path)


async def test_the_first_example_says_what_it_did(sandbox: Sandbox, tmp_path: Path) -> None:
    """Fifteen lines, and they do all that the library is for."""
    (tmp_path / "contacts.csv").write_text("phone\n+14155550101\n+14155550102\nnobody\n")
    sandbox.lists.clear()
    assert await run(PYTHON[0], sandbox, tmp_path) == "Adding contacts to public list is in progress\n2 of 3\n"
    assert sandbox.named("Renewals").about["description"] == "Due in August"
    body = PYTHON[0].partition("async def main")[2].strip().splitlines()
    assert len([line for line in body if line.strip()]) <= 15


async def test_every_command_of_the_readme_is_one(tmp_path: Path) -> None:
    assert len(SHELL) >= 6
    for command in {line.split()[1] for line in SHELL}:
        assert (await kore_campaign(command, "--help", cwd=tmp_path)).status == 0


async def test_every_flag_that_the_readme_names_exists(tmp_path: Path) -> None:
    shown = "".join([(await kore_campaign(name, "--help", cwd=tmp_path)).out for name in ("push", "sandbox")])
    for flag in set(re.findall(r"`(--[a-z-]+)", README)):
        assert flag in shown, flag
