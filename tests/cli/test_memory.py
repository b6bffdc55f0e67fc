from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

import pytest
from cli.shell import environment

from kore_campaign_async.sandbox import Sandbox

# A child's ru_maxrss begins with its parent's size, so the push tells its own peak, from where Linux keeps it.
PUSH = """
import sys
if sys.argv.pop(1) == "False":
    sys.modules["polars"] = None
from kore_campaign_async.cli.main import main
try:
    main()
finally:
    print(open("/proc/self/status").read(), file=sys.stderr)
"""


async def peak_kilobytes(folder: Path, sandbox: Sandbox, rows: int, *, by_tables: bool) -> int:
    source = folder / f"{rows}.csv"
    with source.open("w") as file:
        file.write("phoneNumber,firstName,plan\n")
        file.writelines(f'+1415{row % 1000:07},Ana {row},"Family, {row} lines"\n' for row in range(rows))
    process = await asyncio.create_subprocess_exec(
        *(
            sys.executable,
            "-c",
            PUSH,
            str(by_tables),
            "push",
            str(source),
            "--list",
            "Kept",
            "--keep-duplicates",
            "--rate",
            "none",
        ),
        env=environment(sandbox.environment),
        cwd=folder,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    assert process.returncode == 0, err
    found = re.search(r"VmHWM:\s+(\d+) kB", err.decode())
    assert found is not None
    return int(found[1])


@pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc")
@pytest.mark.parametrize("by_tables", [False, True])
async def test_memory_does_not_grow_with_the_source(tmp_path: Path, *, by_tables: bool) -> None:
    """Without numbers to remember, three times the rows take no more memory, record by record or by tables."""
    async with Sandbox(rate=None, job_seconds=3600.0) as sandbox:
        sandbox.make_list("Kept", allow_duplicates=True)
        small = await peak_kilobytes(tmp_path, sandbox, 150_000, by_tables=by_tables)
        large = await peak_kilobytes(tmp_path, sandbox, 450_000, by_tables=by_tables)
    assert large - small < (24 if by_tables else 8) * 1024, (small, large)
