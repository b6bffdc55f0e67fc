from __future__ import annotations

import asyncio
import json
import shlex
import signal
from pathlib import Path

from cli.shell import KORE_CAMPAIGN, environment, kore_campaign

from kore_campaign_async.sandbox import Sandbox


async def test_the_demo_shows_every_contact_of_the_sample_accounted_for(tmp_path: Path) -> None:
    said = await kore_campaign("demo", cwd=tmp_path)
    assert said.status == 0, said
    (run,) = (tmp_path / "kore-runs").iterdir()
    counts = json.loads((run / "report.json").read_bytes())["counts"]
    assert counts["read"] == 3200 == counts["accepted"] + counts["rejected"] + counts["duplicate"]
    assert min(counts["accepted"], counts["rejected"], counts["duplicate"]) > 0
    assert f"{counts['accepted']:,}  accepted" in said.out
    assert f"run directory: kore-runs/{run.name}" in said.out
    assert max(map(len, said.out.splitlines())) <= 120


async def test_the_sandbox_prints_what_leads_the_other_commands_to_it(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(KORE_CAMPAIGN, "sandbox", "--port", "0", "--rate", "none"),
        env=environment({}),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    variables: dict[str, str] = {}
    while len(variables) < 5:
        line = shlex.split((await process.stdout.readline()).decode())
        assert line[0] == "export"
        name, _, value = line[1].partition("=")
        variables[name] = value
    assert await process.stdout.readline() == b"unset KORE_CONFIG KORE_PROFILE\n"
    said = await kore_campaign("create", "Renewals", "--description", "Due in July", env=variables, cwd=tmp_path)
    assert said.status == 0
    assert said.out.startswith("created 'Renewals': cl-")
    said = await kore_campaign("lists", env=variables, cwd=tmp_path)
    assert "Renewals" in said.out
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def test_lists_as_json_are_the_apis_own_objects(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.named("Renewals").about["somethingNew"] = [1, {"a": None}]
    said = await kore_campaign("lists", "--json", env=sandbox.environment, cwd=tmp_path)
    assert said.status == 0
    (one,) = json.loads(said.out)
    assert one["somethingNew"] == [1, {"a": None}]
    assert one["_id"].startswith("cl-")
    assert "allowDuplicates" not in one


async def test_lists_of_an_account_without_any(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.lists.clear()
    said = await kore_campaign("lists", env=sandbox.environment, cwd=tmp_path)
    assert (said.status, said.out) == (0, "no contact lists\n")


async def test_create_and_update(sandbox: Sandbox, tmp_path: Path) -> None:
    said = await kore_campaign(
        *("create", "Sommer ☀", "--description", "d", "--allow-duplicates", "--json"),
        env=sandbox.environment,
        cwd=tmp_path,
    )
    made = json.loads(said.out)
    assert made["allowDuplicates"] is True
    said = await kore_campaign(
        *("update", made["_id"], "--name", "Winter", "--no-allow-duplicates"), env=sandbox.environment, cwd=tmp_path
    )
    assert said.status == 0
    assert sandbox.lists[made["_id"]].about["name"] == "Winter"
    assert sandbox.lists[made["_id"]].about["description"] == "d"
    assert sandbox.lists[made["_id"]].allows_duplicates is False


async def test_a_call_that_fails_is_status_1_and_a_wrong_value_2(sandbox: Sandbox, tmp_path: Path) -> None:
    said = await kore_campaign("update", "cl-0", "--name", "x", env=sandbox.environment, cwd=tmp_path)
    assert said.status == 1
    assert "404: not found (Contact list not found)" in said.err
    said = await kore_campaign("update", "cl-0", env=sandbox.environment, cwd=tmp_path)
    assert said.status == 2
    assert "nothing to update" in said.err
    said = await kore_campaign("update", "cl/0", "--name", "x", env=sandbox.environment, cwd=tmp_path)
    assert said.status == 2
    said = await kore_campaign("create", "x" * 49, "--description", "d", env=sandbox.environment, cwd=tmp_path)
    assert said.status == 2
    assert "49 characters" in said.err


async def test_report_of_a_run_and_of_no_run(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("phone\n+14155550101\nx\n")
    push = ("push", "c.csv", "--list", "Renewals", "--run-dir", "run")
    await kore_campaign(*push, env=sandbox.environment, cwd=tmp_path)
    said = await kore_campaign("report", "run", "--json", cwd=tmp_path)
    assert said.status == 0
    assert json.loads(said.out) == json.loads((tmp_path / "run" / "report.json").read_bytes())
    said = await kore_campaign("report", "run", cwd=tmp_path)
    assert "1  rejected" in said.out
    assert "rejected.csv" in said.out
    said = await kore_campaign("report", "nowhere", cwd=tmp_path)
    assert said.status == 2
    assert "nowhere/report.json can't be read: No such file or directory" in said.err
    shown = await kore_campaign("report", "run", cwd=tmp_path)
    (tmp_path / "run" / "report.json").write_text("[]")  # it is made anew from the journal
    assert await kore_campaign("report", "run", cwd=tmp_path) == shown
    said = await kore_campaign(*push, env=sandbox.environment, cwd=tmp_path)
    assert said.status == 2
    assert "run holds a run already" in said.err
