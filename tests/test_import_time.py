"""What an import and a `--help` cost, beside what they can't do without."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from cli.shell import KORE_CAMPAIGN, environment

from kore_campaign_async.cli.main import kore_campaign

AIOHTTP = (sys.executable, "-c", "import aiohttp")
CLICK = (sys.executable, "-c", "import click")
CLIENT = (sys.executable, "-c", "from kore_campaign_async import CampaignClient")
HELP = (KORE_CAMPAIGN, "--help")

#: What only a command that runs may import.
HEAVY = (
    *("aiohttp", "asyncio", "attr", "cattrs", "jinja2", "jwt", "matplotlib", "orjson", "redis", "rich", "tenacity"),
)
#: What `--help` may import of ours.
SHELL = [
    "kore_campaign_async",
    *(f"kore_campaign_async.cli{part}" for part in ("", ".commands", ".main", ".output", ".sanitize")),
]


def best(*commands: tuple[str, ...]) -> list[float]:
    """Run the commands in turns, and return the fewest seconds each took: others on the machine only add to them.

    Eleven turns, or as many as a busy machine manages in six seconds, but three.
    """
    seconds: list[list[float]] = [[] for _ in commands]
    until = time.monotonic() + 6.0
    for turn in range(11):
        if turn >= 3 and time.monotonic() > until:
            break
        for command, taken in zip(commands, seconds, strict=True):
            began = time.perf_counter()
            subprocess.run(command, check=True, env=environment({}), stdout=subprocess.DEVNULL)  # noqa: S603  our own
            taken.append(time.perf_counter() - began)
    return list(map(min, seconds))


def imported(script: str) -> list[str]:
    """Run a script in a process of its own, and return the modules that are there at its end."""
    script = f"import atexit, sys\natexit.register(lambda: print('\\n', *sorted(sys.modules)))\n{script}"
    done = subprocess.run(  # noqa: S603  our own words
        [sys.executable, "-c", script], check=True, env=environment({}), capture_output=True, text=True
    )
    return done.stdout.splitlines()[-1].split()


def test_the_client_is_imported_in_little_more_than_aiohttp() -> None:
    aiohttp, client = best(AIOHTTP, CLIENT)
    assert client <= 1.15 * aiohttp


def test_help_takes_little_more_than_click() -> None:
    click, shell = best(CLICK, HELP)
    assert shell <= 4 * click


@pytest.mark.parametrize("arguments", ["--version", "--help", *(f"{name} --help" for name in kore_campaign.commands)])
def test_the_shells_words_need_only_click(arguments: str) -> None:
    shell = f"from kore_campaign_async.cli.main import main\nsys.argv[1:] = {arguments.split()}\nmain()"
    modules = imported(shell)
    assert not set(HEAVY) & set(modules)
    assert [name for name in modules if name.startswith("kore_campaign_async")] == SHELL


def test_an_error_is_imported_alone() -> None:
    modules = imported("from kore_campaign_async import CallError")
    assert not set(HEAVY) & set(modules)
    assert [name for name in modules if name.startswith("kore_campaign_async")] == [
        "kore_campaign_async",
        "kore_campaign_async.errors",
    ]


def test_the_client_is_imported_without_the_ingestion() -> None:
    modules = imported("from kore_campaign_async import CampaignClient")
    assert "kore_campaign_async.client" in modules
    assert not {"aiohttp", "jwt", "redis", "rich", "kore_campaign_async.ingest"} & set(modules)
