"""What the commands print where the terminal, the file or the pipe takes no UTF-8: no traceback, and JSON stays JSON.

One process for each way runs all commands, one after the other: most of a command's time is its start. `make test` has
three ways and outputs, `make chaos` all of them (KORE_CHAOS_SEEDS).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import field, frozen
from cli.shell import environment

from kore_campaign_async.sandbox import Sandbox

NAME: Final = "Übersicht 😀 Ж"
PLAIN: Final = "Renewals"
FILE: Final = "Kundé 😀.csv"
CELLS: Final = "phone,naïve,Ж\n+14155550123,Zoë 😀,€\nnöbody €,x,\u202e\n+14155550123,again,\n+1415555012😀,x,y\n"

#: Runs commands from a file as a shell would start them, and marks where each ends, and with which status.
ALL: Final = """
import json, os, sys
from pathlib import Path
from kore_campaign_async.cli.main import main
out, err = sys.stdout, sys.stderr
for words in json.loads(Path("commands.json").read_bytes()):
    sys.argv = ["kore-campaign", *(os.fsdecode(word.encode()) for word in words)]
    sys.stdout, sys.stderr = out, err
    status = 0
    try:
        main()
    except SystemExit as end:
        status = end.code
    for number, stream in ((1, out), (2, err)):
        stream.flush()
        os.write(number, f"<<<{status}>>>".encode())
"""


@frozen
class Way:
    """How Python is told of a locale.

    Attributes:
        encoding: that its output is in.
        knows_utf_8: whether it reads a command line and names of files as they were written.
    """

    variables: dict[str, str]
    encoding: str
    knows_utf_8: bool = True


AS_IT_IS: Final = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
WAYS: Final = {
    "C": Way({"LC_ALL": "C"}, "utf-8"),
    "C, without Python's help": Way({"LC_ALL": "C", **AS_IT_IS}, "ascii", knows_utf_8=False),
    "POSIX, without Python's help": Way({"LC_ALL": "POSIX", **AS_IT_IS}, "ascii", knows_utf_8=False),
    "POSIX, in UTF-8 mode": Way({"LC_ALL": "POSIX", "PYTHONUTF8": "1"}, "utf-8"),
    "ASCII": Way({"PYTHONIOENCODING": "ascii"}, "ascii"),
    "ASCII, strict": Way({"PYTHONIOENCODING": "ascii:strict"}, "ascii"),
    "latin-1": Way({"PYTHONIOENCODING": "latin-1"}, "latin-1"),
    "Windows-1252": Way({"PYTHONIOENCODING": "cp1252"}, "cp1252"),
    "DOS": Way({"PYTHONIOENCODING": "cp437"}, "cp437"),
    "UTF-16": Way({"PYTHONIOENCODING": "utf-16"}, "utf-16"),
}
OUTPUTS: Final = ("pipe", "file", "terminal")
EVERY: Final = int(os.environ.get("KORE_CHAOS_SEEDS", "0")) > 50
PAIRS: Final = (
    # No terminal is in UTF-16: it would take half of a character for a line end.
    [pair for pair in product(WAYS, OUTPUTS) if pair != ("UTF-16", "terminal")]
    if EVERY
    else [
        ("C, without Python's help", "terminal"),
        ("Windows-1252", "pipe"),
        ("UTF-16", "file"),
    ]
)


@frozen
class Command:
    """What is run, its exit status, and what its standard output or standard error says.

    Attributes:
        names: whether something beyond ASCII among its words is for the API: where the command line is not read as it
            was written, the command is refused.
    """

    words: tuple[str, ...]
    status: int = 0
    says: str = ""
    names: bool = field(default=False, kw_only=True)


def commands(list_id: str) -> list[Command]:
    push = ("--rate", "none", "--max-rejected", "100")
    return [
        Command(("--help",), says="Put contacts into Kore.ai campaign contact lists"),
        Command(("lists",), says="name"),
        Command(("lists", "--json"), says=NAME),
        Command(("doctor",), says="ok"),
        Command(("doctor", "--json"), says="checks"),
        Command(("create", f"{NAME} 2", "--description", "naïve €"), says="created", names=True),
        Command(("create", f"{NAME} 3", "--description", "naïve €", "--json"), says=f"{NAME} 3", names=True),
        Command(("update", list_id, "--description", "naïve €", "--json"), says="naïve €", names=True),
        Command(("push", FILE, "--list", NAME, "--run-dir", "other", *push), 1, NAME, names=True),
        Command(("push", FILE, "--list", PLAIN, "--dry-run", *push), 1, "4 read"),
        Command(("push", FILE, "--list", PLAIN, "--run-dir", "rün 1", *push), 1, "rejected.csv"),
        Command(("push", FILE, "--list", PLAIN, "--run-dir", "rün 2", *push, "--json"), 1, PLAIN),
        Command(("push", FILE, "--list", PLAIN, "--run-dir", "rün 1"), 2, "holds a run already"),
        Command(("push", "nö 😀.csv", "--list", PLAIN), 2, "nö 😀.csv"),
        Command(("push", FILE, "--list", "Ж 😀"), 2, "Ж 😀", names=True),
        Command(("report", "rün 1"), says="rejected"),
        Command(("report", "rün 1", "--show-numbers"), says="nöbody €"),
        Command(("report", "rün 1", "--json"), says="rejected"),
        Command(("report", "nö 😀"), 2, "nö 😀"),
        Command(("resume", "rün 1"), 1, "rejected.csv"),
        Command(("resume", "rün 1", "--json"), 1, PLAIN),
        Command(("amend", "rün 1"), 1, "rejected"),
        Command(("amend", "rün 2", "--json"), 1, PLAIN),
        Command(("pü😀",), 2, "pü😀"),
    ]


async def printed(output: str, folder: Path, env: dict[str, str]) -> tuple[bytes, bytes]:
    """Run the commands in `commands.json`, and return what came out, on standard output and on standard error."""
    program = (sys.executable, "-W", "error", "-c", ALL)
    if output == "pipe":
        process = await asyncio.create_subprocess_exec(
            *program, cwd=folder, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        return await process.communicate()
    if output == "file":
        with (folder / "out").open("wb") as out, (folder / "err").open("wb") as err:
            process = await asyncio.create_subprocess_exec(*program, cwd=folder, env=env, stdout=out, stderr=err)
            await process.wait()
        return (folder / "out").read_bytes(), (folder / "err").read_bytes()
    pairs = os.openpty(), os.openpty()
    process = await asyncio.create_subprocess_exec(
        *program, cwd=folder, env=env | {"TERM": "xterm"}, stdout=pairs[0][1], stderr=pairs[1][1]
    )
    for _, slave in pairs:
        os.close(slave)
    told = await asyncio.gather(*(asyncio.to_thread(_all_of, master) for master, _ in pairs))
    await process.wait()
    return told[0], told[1]


def _all_of(master: int) -> bytes:
    told = b""
    try:
        while block := os.read(master, 1 << 16):
            told += block
    except OSError:
        pass  # how Linux says that nobody writes any more
    finally:
        os.close(master)
    return told


def parts(told: bytes) -> list[tuple[int, bytes]]:
    """What each command printed, and its status."""
    *found, rest = re.split(rb"<<<(\d+)>>>", told)
    assert rest == b"", rest.decode("utf-8", "replace")
    return [(int(status), text) for text, status in zip(found[::2], found[1::2], strict=True)]


def read(data: bytes, encoding: str) -> str:
    """A text as the terminal reads it."""
    if encoding == "utf-16":  # of which only the first one of a process has a mark
        data, encoding = data.removeprefix(b"\xff\xfe"), "utf-16-le"
    text = data.decode(encoding)
    # What rich draws has line ends and blanks at places of its own.
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\r", "", text)


def squeezed(text: str) -> str:
    return "".join(text.split())


@pytest.mark.parametrize(("way", "output"), PAIRS)
async def test_every_command_can_be_printed(way: str, output: str, tmp_path: Path) -> None:
    where = WAYS[way]
    (tmp_path / FILE).write_text(CELLS, encoding="utf-8")
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        list_id = sandbox.make_list(NAME, "naïve €").about["_id"]
        sandbox.make_list(PLAIN, "")
        wanted = commands(list_id)
        (tmp_path / "commands.json").write_text(json.dumps([one.words for one in wanted]))
        clean = {name: value for name, value in environment(sandbox.environment).items() if not name.startswith("LC_")}
        out, err = await printed(output, tmp_path, clean | where.variables)
        told = list(zip(parts(out), parts(err), strict=True))
    assert len(told) == len(wanted), err.decode("utf-8", "replace")
    for one, ((status, data), (_, more)) in zip(wanted, told, strict=True):
        said, complaint = read(data, where.encoding), read(more, where.encoding)
        readable = where.knows_utf_8 or not one.names
        assert status == (one.status if readable else 2), (one.words, said, complaint)
        for text in (said, complaint):
            assert "Traceback" not in text, (one.words, text)
            assert "UnicodeEncodeError" not in text, (one.words, text)
        if not readable:
            continue
        if "--json" in one.words:
            value: Any = json.loads(said)
            assert one.says in json.dumps(value, ensure_ascii=False), one.words
        elif where.encoding in {"utf-8", "utf-16"}:
            assert squeezed(one.says) in squeezed(said + complaint), (one.words, said, complaint)
        elif where.knows_utf_8:
            escaped = one.says.encode(where.encoding, "backslashreplace").decode(where.encoding)
            assert squeezed(escaped) in squeezed(said + complaint), (one.words, said, complaint)
    kept = (tmp_path / "rün 1" / "rejected.csv").read_text(encoding="utf-8")
    assert "nöbody €" in kept, "a file is in UTF-8 whatever the terminal is"
