"""Files and directories that are called whatever a file system lets them be called, in every role.

`KORE_FILE_NAMES=all` tests each kind of name by itself, and not only all of them in one.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import orjson
import pytest
from cli.shell import KORE_CAMPAIGN, environment

from kore_campaign_async import CampaignClient, Files, IngestOptions, SourceError, ingest_contacts, resume_ingest
from kore_campaign_async.config import path_of
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import LIST, number

NAMES = {
    "all at once": b'-caf\xe9 \xff a\nb \x1b[31m it\'s "it" [ab]*? $HOME `id` \\x41;& ' + "\u202e".encode(),
    "latin-1": b"caf\xe9",
    "ff": b"\xff",
    "newline": b"a\nb",
    "escape": b"e\x1b[31m",
    "quotes": b'it\'s "it"',
    "dash": b"-dash",
    "pattern": b"[ab]*?",
    "markup": b"[red]x[bold]",
    "turned": "\u202eabc".encode(),
    "dollar": b"$HOME `id` \\x41;&",
}
if os.environ.get("KORE_FILE_NAMES") != "all":
    NAMES = dict([*NAMES.items()][:1])


async def said(sandbox: Sandbox, folder: Path, *arguments: bytes | str) -> tuple[int, bytes, bytes]:
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, *arguments), env=environment(sandbox.environment), cwd=folder, stdin=-3, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert b"Traceback" not in err, err
    assert b"a fault of kore-campaign" not in err, err
    assert process.returncode is not None
    return process.returncode, out, err


def write(folder: Path, name: bytes, text: str) -> bytes:
    with open(os.fsencode(folder) + b"/" + name, "w") as file:  # noqa: PTH123  a name in bytes
        file.write(text)
    return name


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
async def test_every_role(name: bytes, sandbox: Sandbox, tmp_path: Path) -> None:
    """Source, run directory, do-not-contact file, mended file and page; and each printed step, copied into bash."""
    source = write(tmp_path, b"s" + name, f"phone\n{number(1)}\n{number(9)}\n12\n")
    barred = write(tmp_path, b"d" + name, f"phone\n{number(9)}\n")
    run, page = b"r" + name, b"p" + name + b".html"
    status, out, _ = await said(sandbox, tmp_path, "push", source, "--list", LIST, "--dry-run", "--json")
    assert (status, orjson.loads(out)["counts"]["read"]) == (1, 3)
    push = ("push", source, "--list", LIST, "--run-dir", run, "--suppress", barred, "--rate", "none")
    assert (await said(sandbox, tmp_path, *push))[0] == 1
    status, _, err = await said(sandbox, tmp_path, *push)
    assert (status, b"holds a run already" in err) == (2, True)
    status, out, _ = await said(sandbox, tmp_path, "report", run, "--json")
    assert (status, orjson.loads(out)["counts"]["accepted"]) == (0, 1)
    assert (await said(sandbox, tmp_path, "report", run, "--html", page))[0] == 0
    assert os.path.exists(os.fsencode(tmp_path) + b"/" + page)  # noqa: PTH110  a name in bytes
    status, out, _ = await said(sandbox, tmp_path, "report", run)
    (step,) = re.findall(rb"^    (kore-campaign amend .*)$", out, re.MULTILINE)
    rejected = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + run)) / "rejected.csv"
    rejected.write_text(rejected.read_text().replace("3,invalid_phone,12", f"3,invalid_phone,{number(3)}"))
    bash = await asyncio.create_subprocess_exec(
        *("bash", "-c", step.replace(b"kore-campaign", os.fsencode(KORE_CAMPAIGN), 1)),
        env=environment(sandbox.environment),
        cwd=tmp_path,
        stdout=-1,
        stderr=-1,
    )
    _, err = await bash.communicate()
    assert bash.returncode == 0, err
    mended = write(tmp_path, b"m" + name, f"phone\n{number(5)}\n")
    status, _, err = await said(sandbox, tmp_path, "amend", run, mended, "--run-dir", b"x" + name)
    assert status == 0, err
    assert sandbox.named(LIST).records == {number(index)[1:]: 1 for index in (1, 3, 5)}


@pytest.mark.parametrize("name", [b"caf\xe9"])
async def test_what_is_not_there(name: bytes, sandbox: Sandbox, tmp_path: Path) -> None:
    """One line names it, and nothing is sent."""
    source = write(tmp_path, b"c.csv", f"phone\n{number(1)}\n")
    for arguments in (
        ("push", name, "--list", LIST),
        ("push", source, "--list", LIST, "--suppress", name),
        ("resume", name),
        ("report", name),
        ("amend", name),
        ("lists", "--config", name),
    ):
        status, _, err = await said(sandbox, tmp_path, *arguments)
        assert status == 2
        err.decode()
    assert not sandbox.calls["addContacts"]


@pytest.mark.parametrize("given", ["text", "bytes", "path", "pathlike"])
async def test_paths_in_python(given: str, client: CampaignClient, sandbox: Sandbox, tmp_path: Path) -> None:
    """The run's journal finds them again."""

    class Like(os.PathLike[str]):
        def __init__(self, path: Path) -> None:
            self.path = path

        def __fspath__(self) -> str:
            return str(self.path)

    spelt = {"text": str, "bytes": os.fsencode, "path": Path, "pathlike": Like}[given]
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + write(tmp_path, b"caf\xe9.csv", f"phone\n{number(1)}\n")))
    run = Path(os.fsdecode(os.fsencode(tmp_path) + b"/r\xe9"))
    barred = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + write(tmp_path, b"d\xe9", f"{number(9)}\n")))
    await ingest_contacts(
        client,
        Files(spelt(source)),
        contact_list=LIST,
        run_dir=spelt(run),  # type: ignore[arg-type]
        options=IngestOptions(suppress=(spelt(barred),)),
    )
    report = await resume_ingest(client, spelt(run))  # type: ignore[arg-type]
    assert report.counts.accepted == 1
    if given != "bytes":
        assert (await ingest_contacts(client, spelt(source), contact_list=LIST)).counts.read == 1  # type: ignore[arg-type]
    assert orjson.loads((run / "report.json").read_bytes())["source"].endswith("caf\\xe9.csv")


async def test_what_is_no_path(client: CampaignClient) -> None:
    with pytest.raises(SourceError, match=r"os\.fsdecode"):
        await ingest_contacts(client, b"c.csv", contact_list=LIST)  # type: ignore[arg-type]
    for wrong in ("a\0b", "\ud800", b"\0", 5, None):
        with pytest.raises(ValueError, match=r"path|can be called"):
            path_of(wrong)  # type: ignore[arg-type]


async def test_a_workbook_that_no_library_can_open_by_its_name(sandbox: Sandbox, tmp_path: Path) -> None:
    source = write(tmp_path, b"c.csv", f"phone\n{number(1)}\n")
    barred = write(tmp_path, b"caf\xe9.parquet", "PAR1")
    status, _, err = await said(sandbox, tmp_path, "push", source, "--list", LIST, "--suppress", barred)
    assert (status, b"has a name that is not Unicode" in err) == (2, True)
