"""Runs the real `kore-campaign` in a process of its own, beside a sandbox in the test's event loop."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from attrs import frozen

KORE_CAMPAIGN = str(Path(sys.executable).with_name("kore-campaign"))


@frozen
class Said:
    status: int
    out: str
    err: str


def environment(given: Mapping[str, str]) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("KORE_")}
    return clean | {"COLUMNS": "80", "NO_COLOR": "1", **given}


async def kore_campaign(
    *arguments: str, env: Mapping[str, str] | None = None, cwd: Path, given: bytes | None = None
) -> Said:
    process = await asyncio.create_subprocess_exec(
        KORE_CAMPAIGN,
        *arguments,
        env=environment(env or {}),
        cwd=cwd,
        stdin=asyncio.subprocess.PIPE if given is not None else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(given)
    assert process.returncode is not None
    said = Said(process.returncode, out.decode(), err.decode())
    assert "Traceback" not in said.err, said.err
    return said
