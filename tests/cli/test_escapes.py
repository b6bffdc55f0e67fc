"""Nothing that somebody else wrote steers the terminal: replies, files, arguments, the environment."""

from __future__ import annotations

import ast
import asyncio
import functools
import json
import os
import pty
import re
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen
from cli.shell import KORE_CAMPAIGN, environment
from fakes import Connection, raw_server, reply

import kore_campaign_async.cli

#: Titles, colours, a link, a wiped line, other directions of writing, and what rich would take for its own.
HOSTILE: Final = (
    "\x1b]0;owned\x07\x1b[31mred\x1b[2J\x9b32m\x90x\x9c\x7f\b\r\u202eleft\u202d\u2066in\u2069\u2028\u2029\x85\x0b\x0c"
    "\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\[bold]b[/bold][link=http://evil.example]l[/link]:skull:\u200f\U000e0041"
)
NAME: Final = f"Zoe {HOSTILE}"
#: As far as a file's name, an argument and a variable can hold it.
ARGUMENT: Final = HOSTILE.replace("/", "_")

_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*m")
#: What rich writes of its own on a terminal while it draws a bar.
_CURSOR: Final = re.compile(r"\x1b\[\?25[lh]|\x1b\[[0-9]*A|\x1b\[2K|\r")


def steering(text: str) -> list[str]:
    """What is left in a text that a terminal would obey, or that turns its writing around."""
    return sorted({one for one in text if not one.isprintable() and one != "\n" and unicodedata.category(one) != "Zs"})


@frozen
class Shown:
    status: int
    out: str
    err: str


async def on_pipes(arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> Shown:
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, *arguments),
        env=environment(env),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return Shown(process.returncode, out.decode(), err.decode())


async def on_a_terminal(arguments: Sequence[str], env: Mapping[str, str], cwd: Path) -> Shown:
    """Run a command where both of its streams are one terminal of 80 columns."""
    ours, theirs = pty.openpty()
    colourful = {**environment(env), "TERM": "xterm-256color"}
    del colourful["NO_COLOR"]
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, *arguments),
        env=colourful,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    reading = asyncio.to_thread(_all_of, ours)
    written, status = await asyncio.gather(reading, process.wait())
    return Shown(status, written.decode().replace("\r\n", "\n"), "")


def _all_of(terminal: int) -> bytes:
    parts = []
    while True:
        try:
            part = os.read(terminal, 1 << 16)
        except OSError:  # how Linux tells that nobody writes any more
            part = b""
        if not part:
            os.close(terminal)
            return b"".join(parts)
        parts.append(part)


# A server whose every word steers


def envelope(data: Any) -> dict[str, Any]:
    return {"status": "success", "message": HOSTILE, "data": data}


ABOUT: Final = {
    "_id": HOSTILE,
    "name": NAME,
    "description": HOSTILE,
    "status": HOSTILE,
    "source": HOSTILE,
    "totalRecordCount": 7,
    "apiConfigurations": {},
}
RENEWALS: Final = {**ABOUT, "_id": "cl-1", "name": "Renewals"}
ERROR: Final = {"status": HOSTILE, "message": HOSTILE, "errors": [{"msg": HOSTILE, "code": HOSTILE}], "error": HOSTILE}
HEADERS: Final = {"Retry-After": "\x9b31m\x90", "X-Other": "\x9b31m", "Server": "\x9b\x85"}


async def answer(status: int, body: Callable[[str], Any], connection: Connection) -> None:
    request = await connection.read_request()
    whole = reply(status, body(request.target), HEADERS)
    await connection.write(whole.replace(b"\r\n", b"\x1b]0;owned\x07\x9b31m\r\n", 1))  # behind the reason phrase


def lists(target: str) -> Any:
    if "getAllListDetails" in target:
        return envelope([ABOUT, RENEWALS])
    return ERROR if "addContacts" in target else envelope({**ABOUT, "allowDuplicates": False, "contactListId": HOSTILE})


def broken(_target: str) -> Any:
    return ERROR


#: What is asked for, what the server says, and what is to be seen of it.
COMMANDS: Final[dict[str, tuple[tuple[str, ...], int, Callable[[str], Any]]]] = {
    "lists": (("lists",), 200, lists),
    "lists refused": (("lists",), 403, broken),
    "create": (("create", "Renewals", "--description", "x"), 200, lists),
    "create refused": (("create", NAME[:48], "--description", HOSTILE[:200]), 400, broken),
    "update": (("update", "cl-1", "--name", "x"), 200, lists),
    "update of no id": (("update", ARGUMENT, "--name", "x"), 200, lists),
    "doctor": (("doctor",), 400, broken),
    "doctor throttled": (("doctor",), 429, broken),
    "push": (("push", f"c{ARGUMENT}.csv", "--list", "Renewals", "--run-dir", f"run{ARGUMENT}"), 200, lists),
    "push to no list": (("push", f"c{ARGUMENT}.csv", "--list", NAME[:47]), 200, lists),
    "push of no file": (("push", f"no{ARGUMENT}*.csv", f"x{ARGUMENT}", "--list", "Renewals"), 200, lists),
    "push mapped": (("push", f"c{ARGUMENT}.csv", "--list", "Renewals", "--map", f"{ARGUMENT}=x{ARGUMENT}"), 200, lists),
    "push barred": (
        ("push", f"c{ARGUMENT}.csv", "--list", "Renewals", "--dry-run", "--suppress", f"d{ARGUMENT}.csv"),
        200,
        lists,
    ),
    "no such command": ((f"x{ARGUMENT}",), 200, lists),
    "no such option": (("lists", f"--x{ARGUMENT}"), 200, lists),
    "no such value": (("push", "c.csv", "--list", "x", "--rate", ARGUMENT), 200, lists),
    "no such fault": (("sandbox", "--fault", ARGUMENT), 200, lists),
    "no such settings": (("lists", "--config", f"{ARGUMENT}.toml"), 200, lists),
    "no such run": (("report", f"x{ARGUMENT}"), 200, lists),
    "no run to resume": (("resume", f"x{ARGUMENT}", "--debug"), 200, lists),
    "no run to amend": (("amend", f"x{ARGUMENT}", f"y{ARGUMENT}"), 200, lists),
}
ON_A_TERMINAL: Final = ("lists", "create", "push", "push barred", "no such command", "doctor")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    head = f'phone,"{HOSTILE}","zone {HOSTILE}"\n'
    rows = "".join(f'1415555{i:04},"{NAME}","{HOSTILE}"\n' for i in range(20)) + f'"12 {HOSTILE}",x,y\n'
    (tmp_path / f"c{ARGUMENT}.csv").write_text(head + rows, newline="")
    (tmp_path / f"d{ARGUMENT}.csv").write_text(f'"{HOSTILE}",phone\nx,+14155550001\n', newline="")
    return tmp_path


def account(url: str) -> dict[str, str]:
    return {"KORE_HOST": url, "KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "6777", "KORE_AUTH_TOKEN": "a-token"}


async def shown(way: str, folder: Path, run: Callable[..., Any]) -> Shown:
    arguments, status, body = COMMANDS[way]
    async with raw_server(functools.partial(answer, status, body)) as server:
        async with asyncio.timeout(60):
            found: Shown = await run(arguments, {**account(server.url), "KORE_RATE": "none"}, folder)
    return found


@pytest.mark.parametrize("way", COMMANDS)
async def test_nothing_that_steers_comes_through_a_pipe(way: str, folder: Path) -> None:
    seen = await shown(way, folder, on_pipes)
    assert steering(seen.out + seen.err) == []
    assert "owned" in seen.out + seen.err or "x1b" in seen.out + seen.err  # it came that far, and is shown
    assert ("Traceback" in seen.err) is ("--debug" in COMMANDS[way][0])


@pytest.mark.parametrize("way", ON_A_TERMINAL)
async def test_on_a_terminal_nothing_but_our_own_colours_does(way: str, folder: Path) -> None:
    seen = await shown(way, folder, on_a_terminal)
    text = _CURSOR.sub("", _COLOUR.sub("", seen.out))
    assert steering(text) == []
    assert "owned" in text
    if way != "doctor":  # which shows what it found, and not the names of lists
        assert "[bold]" in text
        assert ":skull:" in text
    assert not re.search(r"\x1b\[[0-9;]*31m(?:red|\\x1b)", seen.out)


async def test_a_run_directory_that_is_called_so_is_shown_as_its_escapes(folder: Path) -> None:
    run = f"run{ARGUMENT}"
    await shown("push", folder, on_pipes)
    async with raw_server(functools.partial(answer, 400, lists)) as server:
        env = {**account(server.url), "KORE_RATE": "none"}
        for command in ("report", "resume", "amend"):
            piped = await on_pipes((command, run), env, folder)
            assert steering(piped.out + piped.err) == []
            assert "owned" in piped.out + piped.err
        printed = await on_pipes(("report", run, "--json"), env, folder)
        drawn = await on_a_terminal(("report", run), env, folder)
    assert steering(printed.out) == []
    assert json.loads(printed.out) == json.loads((folder / run / "report.json").read_bytes())
    assert steering(_CURSOR.sub("", _COLOUR.sub("", drawn.out))) == []


@pytest.mark.parametrize("arguments", [("lists", "--json"), ("create", "x", "--description", "x", "--json")])
async def test_json_steers_nothing_and_means_the_same(arguments: tuple[str, ...], folder: Path) -> None:
    async with raw_server(functools.partial(answer, 200, lists)) as server:
        seen = await on_pipes(arguments, account(server.url), folder)
    assert steering(seen.out + seen.err) == []
    value = json.loads(seen.out)
    one = value[0] if isinstance(value, list) else value
    assert one["name"] == NAME
    assert one["_id"] == HOSTILE


@pytest.mark.parametrize("variable", ["HOST", "APP_ID", "RATE", "CONFIG", "PROFILE", "CA_BUNDLE"])
async def test_no_variable_of_the_environment_steers(variable: str, folder: Path) -> None:
    env = {**account("http://127.0.0.1:9"), f"KORE_{variable}": HOSTILE}
    seen = await on_pipes(("doctor",) if variable != "APP_ID" else ("doctor", "--json"), env, folder)
    assert steering(seen.out + seen.err) == []
    assert "owned" in seen.out + seen.err


async def test_names_of_five_thousand_characters_are_cut(folder: Path) -> None:
    long = {**ABOUT, "name": "N" * 5000, "_id": "I" * 5000, "status": "S" * 5000}

    def body(target: str) -> Any:
        return envelope([long]) if "getAllListDetails" in target else envelope(long)

    async with raw_server(functools.partial(answer, 200, body)) as server:
        listed = await on_a_terminal(("lists",), account(server.url), folder)
        for arguments in (("create", "x", "--description", "x"), ("push", f"c{ARGUMENT}.csv", "--list", "M" * 5000)):
            seen = await on_pipes(arguments, account(server.url), folder)
            assert 300 < len(seen.out + seen.err) < 4000
    lines = _COLOUR.sub("", listed.out).splitlines()
    assert len(lines) < 100
    assert max(map(len, lines)) <= 80


BROKEN: Final = """
import logging, sys, warnings
from kore_campaign_async.cli import lists, main
def fail(*_args, **_kwargs):
    sys.stderr.write(HOSTILE + "\\n")
    print(HOSTILE)
    warnings.warn(HOSTILE)
    logging.getLogger("somebody").warning(HOSTILE)
    raise KIND(HOSTILE)
lists.lists_command = fail
sys.argv = ["kore-campaign", "lists"]
main.main()
"""


@pytest.mark.parametrize(("kind", "encoding"), [("BaseException", "utf-8"), ("SystemExit", "ascii")])
async def test_neither_do_tracebacks_and_what_libraries_print(kind: str, encoding: str, tmp_path: Path) -> None:
    script = BROKEN.replace("HOSTILE", ascii(HOSTILE)).replace("KIND", kind)
    done = await _python(script, tmp_path, encoding)
    assert steering(done.out + done.err) == []
    assert (done.out + done.err).count("owned") >= 5


async def _python(script: str, cwd: Path, encoding: str) -> Shown:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script),
        env=environment({"PYTHONIOENCODING": encoding}),
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Shown(process.returncode or 0, out.decode(encoding), err.decode(encoding))


def test_there_is_no_other_door() -> None:
    """Whoever prints says so in `output`, or draws in `drawing`."""
    folder = Path(kore_campaign_async.cli.__file__).parent
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = ast.unparse(node.func)
            if name in {"click.echo", "click.secho", "print", "sys.stdout.write", "sys.stderr.write"}:
                assert file.name == "output.py", (file.name, node.lineno)
            if name in {"Console", "rich.print", "_Door"}:
                assert file.name == "drawing.py", (file.name, node.lineno)
