"""`report` in a terminal, and where no page can be written."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import re
import shutil
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import termios
from pathlib import Path

import orjson
import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign
from ingest.pushing import LIST, Answer, csv_of, number, numbers, push, refuse, scripted

from kore_campaign_async import BatchLimits, IngestOptions
from kore_campaign_async.cli import telling
from kore_campaign_async.cli.telling import lasting
from kore_campaign_async.ingest import records
from kore_campaign_async.ingest.journal import JOURNAL

WORDS = 'no: "<b>\x1b[31m\u202eevil'


@pytest.fixture
async def run(tmp_path: Path) -> Path:
    """A run with something of every state but uncertain and unsent."""
    source = csv_of(
        tmp_path / "contacts.csv",
        "phone,firstName,timeZone",
        *[f"{number(at)},Ana," for at in range(40)],
        f"{number(3)},Ana,",
        "call the office,Bo,",
        f"{number(50)},Bo,Mars/Olympus",
    )
    options = IngestOptions(batch=BatchLimits(max_contacts=10), suppress=[csv_of(tmp_path / "dnc.csv", number(7))])
    async with scripted([refuse(422, WORDS)]) as (_, client):
        await push(client, source, run_dir=tmp_path / "run", options=options)
    return tmp_path / "run"


def in_a_terminal(*arguments: str, columns: int, cwd: Path, **variables: str) -> str:
    """What a person sees who runs a command in a terminal so wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    env = {name: value for name, value in environment({}).items() if name not in {"NO_COLOR", "COLUMNS"}}
    process = subprocess.Popen(  # noqa: S603  our own words
        [KORE_CAMPAIGN, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=cwd,
        env=env | {"TERM": "xterm"} | variables,
    )
    os.close(theirs)
    said = b""
    try:
        while part := os.read(ours, 65536):
            said += part
    except OSError:
        pass  # its end
    assert process.wait() == 0
    os.close(ours)
    return said.decode().replace("\r\n", "\n")


COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.mark.parametrize("columns", [80, 160])
@pytest.mark.parametrize("variables", [{}, {"NO_COLOR": "1"}])
def test_in_a_terminal(run: Path, columns: int, variables: dict[str, str]) -> None:
    said = in_a_terminal("report", "run", columns=columns, cwd=run.parent, **variables)
    coloured = any(re.search(r"[34]\d", code) for code in COLOUR.findall(said))
    assert coloured == (not variables)
    plain = COLOUR.sub("", said)
    assert "\x1b" not in plain, "the server's words steer no terminal"
    # A command and a path are not broken into lines, so that they can be copied.
    prose = [line for line in plain.splitlines()[1:] if "kore-campaign" not in line]
    assert max(map(len, prose)) <= columns
    lines = [line.rstrip() for line in plain.splitlines()]
    assert "contacts.csv → contact list Renewals  finished" in lines[0]
    assert " ".join(lines[1:3]).startswith(
        "29 of 43 contacts are queued; 12 need a look and 2 were left out on purpose."
    )
    assert "10  refused     the API said no                        refused.csv" in lines
    assert "  kore-campaign amend run run/refused.csv" in lines
    for heading in ("Reasons", "Calls", "What to do next"):
        assert heading in lines


async def test_without_a_terminal(run: Path) -> None:
    said = await kore_campaign("report", "run", cwd=run.parent)
    assert said.status == 0
    assert not COLOUR.search(said.out)
    assert said.out.splitlines()[1:] == [
        "29 of 43 contacts are queued; 12 need a look and 2 were left out on purpose.",
        "",
        "29  accepted    queued by the API",
        " 2  rejected    not a valid contact                    rejected.csv",
        " 1  duplicate   its number came earlier in the source  left_out.csv",
        " 1  suppressed  on a do-not-contact file               left_out.csv",
        "10  refused     the API said no                        refused.csv",
        " 0  uncertain   may have been processed, nobody knows",
        " 0  unsent      not sent",
        "43  read",
        "",
        "reasons",
        " 1  rejected: invalid_phone (not the shape of a phone number)",
        "      row 42 · call the office",
        " 1  rejected: bad_time_zone (no name of the tz database)",
        "      row 43 · +••••••••050 · timeZone: Mars/Olympus",
        " 1  duplicate: duplicate (its number came earlier in the source)",
        "      row 41 (as row 4) · +••••••••003",
        " 1  suppressed: suppressed (on a do-not-contact file)",
        "      row 8 · +••••••••007",
        '10  refused: 422: the server refused the call (no: "<b>\\x1b[31m\\u202eevil)',
        "      row 1 · +••••••••000; row 2 · +••••••••001; row 3 · +••••••••002",
        "",
        "calls",
        "  calls                4 sent, 0 retried, 0 throttled",
        *[line for line in said.out.splitlines() if re.match(r"  (time|answers took) ", line)],
        "  waits for the limit  no call waited",
        "",
        "next",
        (
            "  The API said no to 10 contacts in refused.csv. Fix there what its words name. This sends them again, by"
            " the rules of the run, and nobody a second time:"
        ),
        "    kore-campaign amend run run/refused.csv",
        (
            "  2 contacts in rejected.csv are not valid, and were not sent. Fix these rows in the file (see its column"
            " reason). This sends what is valid then, by the rules of the run, and nobody a second time:"
        ),
        "    kore-campaign amend run",
        (
            "  Queued is not added: the API makes records of the queued contacts a little later, and does not tell"
            " when. How many the list holds is shown by kore-campaign lists."
        ),
        f"do-not-contact {run.parent / 'dnc.csv'}: 1 numbers, 1 of them in the source",
        "run directory: run",
    ]


async def test_numbers_are_shown_whole_only_on_request(run: Path) -> None:
    for arguments in ((), ("--show-numbers",)):
        said = await kore_campaign("report", "run", *arguments, cwd=run.parent)
        assert (number(50) in said.out) == bool(arguments)
        assert ("•" in said.out) != bool(arguments)
        page = await kore_campaign("report", "run", "--html", "page.html", *arguments, cwd=run.parent)
        assert page.status == 0
        shown = (run.parent / "page.html").read_text(encoding="utf-8")
        assert (number(50) in shown) == bool(arguments)
        assert (number(50)[1:] in shown) == bool(arguments)


async def test_json_stays_as_it_is_beside_a_page(run: Path) -> None:
    said = await kore_campaign("report", "run", "--json", "--html", "page.html", cwd=run.parent)
    assert orjson.loads(said.out) == orjson.loads((run / "report.json").read_bytes())
    assert said.err == "the page is in page.html\n"


async def test_a_run_that_goes_on_one_that_was_killed_and_one_that_is_resumed(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(300))
    answered = asyncio.Event()
    script = [Answer(), Answer(), *[Answer(after=answered)] * 50]
    async with scripted(script) as (api, _):
        env = {
            "KORE_HOST": api.url,
            "KORE_APP_ID": "st-0603182c",
            "KORE_ACCOUNT_ID": "67777ce9",
            "KORE_AUTH_TOKEN": "a-token-that-nobody-checks",
            "KORE_RATE": "none",
        }
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, "push", str(source), "--list", LIST, "--run-dir", "run"),
            *("--max-contacts", "10", "--concurrency", "3"),
            env=environment(env),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(20):
            while len(api.calls) < 5:
                await asyncio.sleep(0.01)
        said = await kore_campaign("report", "run", "--html", "going.html", cwd=tmp_path)
        assert said.status == 0
        said = await kore_campaign("report", "run", cwd=tmp_path)
        assert "The run is still going: " in said.out
        assert "Nothing is to be done before its end. Look again when you like." in said.out
        process.send_signal(signal.SIGKILL)
        await process.wait()
        said = await kore_campaign("report", "run", cwd=tmp_path)
        assert said.status == 0
        assert "The run was killed before its end. As far as its journal and files tell, " in said.out
        assert "30 contacts were in calls under way when it ended" in said.out
        assert "    kore-campaign resume run\n" in said.out
        assert "kore-campaign push" not in said.out, "its files are written anew by the resume"
        page = await kore_campaign("report", "run", "--html", "killed.html", cwd=tmp_path)
        assert page.status == 0
        assert "kore-campaign resume run" in (tmp_path / "killed.html").read_text(encoding="utf-8")
        answered.set()
        said = await kore_campaign("resume", "run", env=env, cwd=tmp_path)
        assert said.status == 3, said
        said = await kore_campaign("report", "run", "--html", "resumed.html", cwd=tmp_path)
        shown = (tmp_path / "resumed.html").read_text(encoding="utf-8")
    assert "The run was resumed once; dotted upright lines show where." in shown
    assert "30 contacts in uncertain.csv may be in the list or not" in shown
    assert "kore-campaign amend run run/uncertain.csv" in shown


@pytest.mark.parametrize("report", [None, b"", b"[]", b'{"counts": {"read": "many"}, "calls": {}}'])
async def test_a_report_that_is_missing_or_torn_is_made_anew(run: Path, report: bytes | None) -> None:
    """From the journal: nothing is missing, and it is `finished` since the run wrote so."""
    before = await kore_campaign("report", "run", cwd=run.parent)
    (run / "report.json").unlink()
    if report is not None:
        (run / "report.json").write_bytes(report)
    assert await kore_campaign("report", "run", cwd=run.parent) == before
    page = await kore_campaign("report", "run", "--html", "page.html", cwd=run.parent)
    assert page.status == 0


async def test_of_a_journal_without_a_report_it_is_counted(run: Path) -> None:
    """That of an older version, or of a run that was killed at its beginning. Nobody guesses that it is finished."""
    counts = orjson.loads((run / "report.json").read_bytes())["counts"]
    (run / "report.json").write_bytes(b"")
    with contextlib.closing(sqlite3.connect(run / JOURNAL)) as connection, connection:
        assert connection.execute("DELETE FROM setting WHERE name = 'report'").rowcount == 1
    said = await kore_campaign("report", "run", "--json", cwd=run.parent)
    assert said.status == 0
    found = orjson.loads(said.out)
    assert (found["state"], found["counts"]) == ("stopped", counts)
    said = await kore_campaign("report", "run", cwd=run.parent)
    assert "report.json is missing or is no report, so this is counted from the journal" in said.out
    assert "    kore-campaign resume run\n" in said.out


async def test_what_cant_be_read_is_said_and_the_rest_shown(run: Path) -> None:
    (run / JOURNAL).write_bytes(b"not a database, but long enough to look like one")
    (run / "reasons.json").unlink()  # as of a run of an older version
    (run / "refused.csv").unlink()
    (run / "refused.csv").mkdir()
    for arguments in ((), ("--html", "page.html")):
        said = await kore_campaign("report", "run", *arguments, cwd=run.parent)
        assert said.status == 0
        shown = said.out if not arguments else (run.parent / "page.html").read_text(encoding="utf-8")
        assert "can&#39;t be read: file is not a database" in shown.replace("can't", "can&#39;t")
        assert "refused.csv can&#39;t be read: Is a directory" in shown.replace("can't", "can&#39;t")
        assert "29 of 43 contacts are queued" in shown


async def test_where_no_page_can_be_written(run: Path) -> None:
    folder = run.parent
    (folder / "kept.csv").write_text("phone\n+14155550101\n")
    os.mkfifo(folder / "pipe")
    (folder / "index.html").write_text("<!doctype html>\n<title>What our club does</title>\n")
    (folder / "nowhere.html").symlink_to("made.html")
    for file, sentence in (
        ("run", "run is a directory: name a file in it, such as run/report.html"),
        ("no/page.html", "no/page.html can't be written: there is no directory no; make it, or name another place"),
        ("kept.csv", "kept.csv is there already and is no page of a run, so it is not written over: name another file"),
        (
            "run/journal.sqlite",
            "run/journal.sqlite is there already and is no page of a run, so it is not written over",
        ),
        ("index.html", "index.html is there already and is no page of a run, so it is not written over"),
        (
            "nowhere.html",
            "nowhere.html is a symbolic link, which is not written over: name the file itself, or another",
        ),
        ("pipe", "pipe is there already and is no page"),
    ):
        said = await kore_campaign("report", "run", "--html", file, cwd=folder)
        assert (said.status, said.out) == (2, "")
        assert said.err.startswith(f"kore-campaign: {sentence}"), said.err
    assert (folder / "kept.csv").read_text() == "phone\n+14155550101\n"
    said = await kore_campaign("report", "nowhere", "--html", "page.html", cwd=folder)
    assert said.status == 2
    assert "nowhere/report.json can't be read" in said.err
    assert not (folder / "page.html").exists()


async def test_a_page_is_written_whole_for_its_owner_alone_and_over_another(run: Path) -> None:
    for _ in range(2):
        old = os.umask(0)
        try:
            said = await kore_campaign("report", "run", "--html", "page.html", cwd=run.parent)
        finally:
            os.umask(old)
        assert (said.status, said.out) == (0, "the page is in page.html\n")
        assert stat.S_IMODE((run.parent / "page.html").stat().st_mode) == 0o600
    assert not list(run.parent.glob(".report-*"))


async def test_a_full_disk_leaves_the_page_before(run: Path) -> None:
    page = run.parent / "page.html"
    await kore_campaign("report", "run", "--html", "page.html", cwd=run.parent)
    before = page.read_bytes()
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (33000, 33000));"
        "from kore_campaign_async.cli.main import main; sys.argv = ['', 'report', 'run', '--html', 'page.html']; main()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", script), cwd=run.parent, env=environment({}), stderr=asyncio.subprocess.PIPE
    )
    _, err = await process.communicate()
    assert (process.returncode, err) == (2, b"kore-campaign: page.html can't be written: File too large\n")
    assert page.read_bytes() == before
    assert not list(run.parent.glob(".report-*"))


async def test_without_the_extra_it_says_which(run: Path) -> None:
    script = (
        "import sys; sys.modules['jinja2'] = None;"
        "from kore_campaign_async.cli.main import main; sys.argv = ['', 'report', 'run', *sys.argv[1:]]; main()"
    )
    for arguments, status, sentence in (
        (
            ("--html", "p.html"),
            2,
            b"kore-campaign: a page needs the extra report: pip install 'kore-campaign-async[report]'\n",
        ),
        ((), 0, b""),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, *arguments),
            cwd=run.parent,
            env=environment({}),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, err = await process.communicate()
        assert (process.returncode, err) == (status, sentence)


async def test_a_run_directory_that_was_moved(run: Path) -> None:
    shutil.move(run, run.parent / "an other")
    said = await kore_campaign("report", "an other", cwd=run.parent)
    assert "kore-campaign amend 'an other' 'an other/refused.csv'" in said.out


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.0004, "0 ms"),
        (0.0123, "12 ms"),
        (1, "1 s"),
        (1.25, "1.2 s"),
        (59.96, "1 min"),
        (65, "1 min 5 s"),
        (3600, "1 h"),
        (3660, "1 h 1 min"),
        (90000, "1 d 1 h"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, said: str) -> None:
    assert lasting(seconds) == said


def test_every_reason_code_has_its_words() -> None:
    """The codes that a rejected contact can have are the constants of `records`."""
    codes = {value for name, value in vars(records).items() if name.isupper() and isinstance(value, str)}
    assert "invalid_phone" in codes
    assert codes <= telling._MEANINGS.keys()
