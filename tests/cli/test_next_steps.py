"""Every step that is printed is a whole command that works when it is copied, or none."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any, Final

import pytest
from cli.shell import KORE_CAMPAIGN, Said, environment, kore_campaign
from ingest.pushing import LIST, ScriptedApi, account_of, check_run_dir, csv_of, numbers, refuse, scripted

from kore_campaign_async import BatchLimits, Files, IngestOptions, ingest_contacts, resume_ingest
from kore_campaign_async.ingest.journal import read_settings

RUN: Final = "a run of July's"


async def copied(command: str, *, env: dict[str, str], cwd: Path) -> Said:
    """What a shell does with a line that somebody copied into it."""
    path = f"{Path(KORE_CAMPAIGN).parent}:{os.environ['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *("/bin/bash", "-c", command),
        env=environment(env) | {"PATH": path},
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return Said(process.returncode or 0, out.decode(), err.decode())


def accepting(api: ScriptedApi) -> None:
    """Let it accept from now on."""
    api._answers = iter(())


def two_files(folder: Path) -> tuple[str, str]:
    csv_of(folder / "one.csv", "phone", *numbers(30))
    csv_of(folder / "two.csv", "phone", *numbers(30, start=100))
    return "one.csv", "two.csv"


def commands_in(said: str) -> list[str]:
    return [found.strip() for found in re.findall(r"kore-campaign (?:resume|push|report)[^;,\n]*", said)]


@pytest.mark.parametrize("files", [1, 2])
async def test_a_run_from_files_is_resumed_by_what_is_printed(files: int, tmp_path: Path) -> None:
    """At the end of the push, by `report`, and by a second push into its directory."""
    async with scripted([refuse(403, "no")] * 9) as (api, _):
        push = ("push", *two_files(tmp_path)[:files], "--list", LIST, "--run-dir", RUN, "--max-contacts", "20")
        ended = await kore_campaign(*push, env=account_of(api) | {"KORE_RATE": "none"}, cwd=tmp_path)
        assert ended.status == 4
        told = await kore_campaign("report", RUN, cwd=tmp_path)
        again = await kore_campaign(*push, env=account_of(api) | {"KORE_RATE": "none"}, cwd=tmp_path)
        assert again.status == 2
        resume = "kore-campaign resume 'a run of July'\"'\"'s'"
        assert commands_in(ended.out) == [f"{resume} goes on with it"]
        assert commands_in(told.out) == [resume]
        assert f"holds a run already: {resume} goes on with it, kore-campaign report 'a run" in again.err
        sent = len(api.calls)
        accepting(api)
        done = await copied(resume, env=account_of(api) | {"KORE_RATE": "none"}, cwd=tmp_path)
        assert done.status == 0, done
        assert len(api.calls) > sent
        shown = await copied(
            again.err.partition("goes on with it, ")[2].partition(" shows it")[0], env={}, cwd=tmp_path
        )
        assert f"All {30 * files} contacts are queued." in shown.out
    assert check_run_dir(tmp_path / RUN).counts.accepted == 30 * files


@pytest.mark.parametrize("given", [{"+19995550100"}, lambda _number: False])
async def test_a_run_that_was_given_do_not_contact_is_resumed_in_python_alone(given: Any, tmp_path: Path) -> None:
    """It says so, prints no command, and what it says works."""
    files = Files([tmp_path / name for name in two_files(tmp_path)])
    options = IngestOptions(batch=BatchLimits(max_contacts=20), do_not_contact=given)
    async with scripted([refuse(403, "no")] * 9) as (api, client):
        await ingest_contacts(client, files, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        told = await kore_campaign("report", "run", cwd=tmp_path)
        page = await kore_campaign("report", "run", "--html", "page.html", cwd=tmp_path)
        assert page.status == 0
        assert commands_in(told.out) == []
        call = "resume_ingest(client, 'run', do_not_contact=…)"
        kind = "numbers" if isinstance(given, set) else "a function"
        assert f"no journal keeps what it was given as do_not_contact ({kind}): {call}" in told.out
        assert "resume_ingest(client, &#39;run&#39;, do_not_contact=…)" in (tmp_path / "page.html").read_text()
        accepting(api)
        report = await resume_ingest(client, tmp_path / "run", do_not_contact=given)
    assert report.state == "finished"


async def test_what_cant_be_read_again_is_resumed_by_nobody(tmp_path: Path) -> None:
    async with scripted([refuse(403, "no")] * 9) as (api, _):
        push = ("push", "-", "--list", LIST, "--run-dir", "run")
        ended = await kore_campaign(
            *push, env=account_of(api) | {"KORE_RATE": "none"}, cwd=tmp_path, given=b"phone\n+14155550101\n"
        )
    told = await kore_campaign("report", "run", cwd=tmp_path)
    assert ended.status == 4
    for said in (ended, told):
        assert "can't be resumed: its contacts came from standard input, which can't be read again" in said.out
        assert commands_in(said.out) == []


async def test_a_source_that_is_gone_is_to_be_put_back(tmp_path: Path) -> None:
    async with scripted([refuse(403, "no")] * 9) as (api, _):
        push = ("push", *two_files(tmp_path), "--list", LIST, "--run-dir", "run")
        await kore_campaign(*push, env=account_of(api) | {"KORE_RATE": "none"}, cwd=tmp_path)
    (tmp_path / "two.csv").rename(tmp_path / "moved.csv")
    told = await kore_campaign("report", "run", cwd=tmp_path)
    assert f"First put {tmp_path}/two.csv back in its place. Go on with it;" in told.out


# Where the settings came from


def settings_file(path: Path, api: ScriptedApi, app_id: str = "st-0603182c") -> Path:
    path.write_text(
        f'host = "{api.url}"\naccount_id = "67777ce9"\nrate = "none"\n'
        f'[profiles.july]\napp_id = "{app_id}"\nauth_token = "a-token-that-nobody-checks"\n'
    )
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("way", ["flags", "environment"])
async def test_a_resume_finds_the_settings_that_the_run_was_begun_with(way: str, tmp_path: Path) -> None:
    """The printed command names neither a file nor a profile, and works."""
    two_files(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    async with scripted([refuse(403, "no")] * 9) as (api, _):
        file = settings_file(tmp_path / "elsewhere" / "kore.toml", api)
        push = ("push", "one.csv", "--list", LIST, "--run-dir", "run")
        flags = ("--config", "elsewhere/kore.toml", "--profile", "july") if way == "flags" else ()
        env = {} if flags else {"KORE_CONFIG": "elsewhere/kore.toml", "KORE_PROFILE": "july"}
        ended = await kore_campaign(*push, *flags, env=env, cwd=tmp_path)
        assert ended.status == 4, ended
        assert read_settings(tmp_path / "run")["shell"] == {"config": str(file), "profile": "july"}
        accepting(api)
        done = await copied("kore-campaign resume run", env={}, cwd=tmp_path)
    assert done.status == 0, done


async def test_what_is_said_of_the_settings_overrules_what_the_run_keeps(tmp_path: Path) -> None:
    """Another file by a flag or a variable, without the profile of the first; and another profile of the same."""
    two_files(tmp_path)
    async with scripted([refuse(403, "no")] * 9) as (api, _):
        settings_file(tmp_path / "kore.toml", api)
        push = ("push", "one.csv", "--list", LIST, "--run-dir", "run", "--config", "kore.toml", "--profile", "july")
        assert (await kore_campaign(*push, cwd=tmp_path)).status == 4
        settings_file(tmp_path / "other.toml", api, "st-another")
        for flags, env in ((("--config", "other.toml"), {}), ((), {"KORE_CONFIG": "other.toml"})):
            said = await kore_campaign("resume", "run", *flags, env=env, cwd=tmp_path)
            assert (said.status, "app_id is missing" in said.err) == (2, True), said
        for flags, env in ((("--profile", "august"), {}), ((), {"KORE_PROFILE": "august"})):
            said = await kore_campaign("resume", "run", *flags, env=env, cwd=tmp_path)
            assert (said.status, "august" in said.err) == (2, True), said
        sent = len(api.calls)
        (tmp_path / "kore.toml").unlink()
        accepting(api)
        said = await kore_campaign("resume", "run", env=account_of(api) | {"KORE_RATE": "none"}, cwd=tmp_path)
        assert said.status == 0, said
        assert f"note: the settings file {tmp_path}/kore.toml that the run was begun with is gone" in said.err
        assert len(api.calls) > sent


async def test_a_run_that_python_began_keeps_no_settings_file(tmp_path: Path) -> None:
    two_files(tmp_path)
    async with scripted() as (_, client):
        await ingest_contacts(client, tmp_path / "one.csv", contact_list=LIST, run_dir=tmp_path / "run")
    settings = read_settings(tmp_path / "run")
    assert settings["shell"] is None
    assert settings["source"].keys() >= {"engine", "polars", "version"}
