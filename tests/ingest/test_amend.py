"""Mended rows of a run, pushed by its own rules: what the server got, by what it stored."""

from __future__ import annotations

import asyncio
import csv
import os
import shutil
import signal
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    Files,
    IngestReport,
    RunDirectoryError,
    SourceError,
    amend_ingest,
    resume_ingest,
)
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import (
    CLOSE,
    HANG,
    LIST,
    Answer,
    ScriptedApi,
    csv_of,
    number,
    numbers,
    outcome_files,
    push,
    refuse,
    rows_in,
    scripted,
)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


def mend(path: Path, mended: dict[str, str], *, delimiter: str = ",", encoding: str = "utf-8") -> None:
    """Replace cells of an outcome file, and save it as another program may do."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [[mended.get(cell, cell) for cell in row] for row in csv.reader(file)]
    with path.open("w", newline="", encoding=encoding) as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)


async def begun(client: CampaignClient, run: Path, *lines: str, **options: Any) -> IngestReport:
    """A run of a file."""
    source = csv_of(run.with_name("c.csv"), *lines)
    return await push(client, source, run_dir=run, **options)


def reasons(run: Path) -> dict[int, str]:
    return {row: reason for row, reason, _ in outcome_files(run)["left_out.csv"]}


def sent(api: ScriptedApi) -> Counter[str]:
    return Counter({f"+{one}": times for one, times in api.received.items()})


async def test_the_mended_rows_go_into_the_list_and_nobody_else(run: Path) -> None:
    async with scripted() as (api, client):
        await begun(client, run, "phone,name", f"{number(1)},Ana", "x1,Bob", "x2,Cy")
        mend(run / "rejected.csv", {"x1": number(2)})
        report = await amend_ingest(client, run)
    assert sent(api) == {number(1): 1, number(2): 1}
    assert (report.counts.read, report.counts.accepted, report.counts.rejected) == (2, 1, 1)
    assert report.contact_list == LIST
    amended = run.with_name("run-amend-1")
    assert rows_in(amended, "rejected.csv").keys() == {2}
    assert all(one.stat().st_mode & 0o777 == 0o600 for one in amended.iterdir())


@pytest.mark.parametrize("keeps", [True, False])
async def test_a_number_that_the_run_has_sent_is_left_out(run: Path, *, keeps: bool) -> None:
    """However it is written, and whichever list it is."""
    async with scripted(allow_duplicates=keeps) as (api, client):
        await begun(client, run, "phone", number(1), "x1", number(2), "x2", "x3")
        mend(run / "rejected.csv", {"x1": f"+1 ({number(1)[2:5]}) {number(1)[5:]}", "x2": number(3), "x3": number(3)})
        report = await amend_ingest(client, run)
    assert sent(api) == dict.fromkeys(numbers(3), 1)
    assert (report.counts.accepted, report.counts.duplicate) == (1, 2)
    assert reasons(run.with_name("run-amend-1")) == {1: "sent_before: run", 3: "duplicate of row 2"}


async def test_also_where_the_run_kept_duplicates(run: Path) -> None:
    """To amend twice must not send twice."""
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), "x1", keep_duplicates=True)
        mend(run / "rejected.csv", {"x1": number(2)})
        for _ in range(3):
            await amend_ingest(client, run)
    assert sent(api) == {number(1): 1, number(2): 1}


async def test_a_number_of_the_do_not_contact_file_is_barred_as_the_file_is_now(run: Path) -> None:
    barred = csv_of(run.with_name("dnc.csv"), number(8))
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), "x1", "x2", "x3", suppress=(barred,))
        mend(run / "rejected.csv", {"x1": number(8), "x2": number(9), "x3": number(7)})
        csv_of(barred, number(8), number(9))
        more = csv_of(run.with_name("more.csv"), number(7))
        report = await amend_ingest(client, run, suppress=(more,))
    assert sent(api) == {number(1): 1}
    assert report.counts.suppressed == 3


async def test_a_function_must_be_given_again_and_whom_it_barred_stays_barred(run: Path) -> None:
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), number(5), "x1", "x2", do_not_contact=lambda one: one == number(5))
        mend(run / "rejected.csv", {"x1": number(5), "x2": number(6)})
        with pytest.raises(RunDirectoryError, match=r"was given a function as do_not_contact.* give it again"):
            await amend_ingest(client, run)
        report = await amend_ingest(client, run, do_not_contact=lambda one: one == number(6))
    assert sent(api) == {number(1): 1}
    assert report.counts.suppressed == 2


async def test_a_german_file_whose_zeros_a_spreadsheet_ate(run: Path) -> None:
    """Without the run's region its numbers would go to Greece."""
    async with scripted() as (api, client):
        await begun(
            client,
            run,
            "Telefon;Name",
            "030 1234567;Ana",
            "x1;Zo\u00eb",
            "x2;Bo",
            region="DE",
            column_map={"Telefon": "phoneNumber"},
        )
        mend(run / "rejected.csv", {"x1": "301234568", "x2": "15123456789"}, delimiter=";", encoding="cp1252")
        report = await amend_ingest(client, run)
    assert sent(api) == {"+49301234567": 1, "+49301234568": 1, "+4915123456789": 1}
    assert report.counts.accepted == 2
    assert api.calls[-1].contacts[0]["Name"] == "Zo\u00eb"


async def test_a_lost_plus_is_read_by_the_region(run: Path) -> None:
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), "x1", region="US")
        mend(run / "rejected.csv", {"x1": number(2).removeprefix("+")})
        await amend_ingest(client, run)
    assert sent(api) == {number(1): 1, number(2): 1}


async def test_an_amended_run_is_amended_and_all_of_the_family_count(run: Path) -> None:
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), "x1", "x2", "x3")
        mend(run / "rejected.csv", {"x1": number(2)})
        await amend_ingest(client, run, new_run_dir=run.with_name("two"))
        mend(run.with_name("two") / "rejected.csv", {"x2": number(1), "x3": number(3)})
        report = await amend_ingest(client, run.with_name("two"))
        assert (report.counts.accepted, report.counts.duplicate) == (1, 1)
        # The first run again, with what the later ones have sent.
        mend(run / "rejected.csv", {"x2": number(2), "x3": number(3)})
        report = await amend_ingest(client, run)
    assert report.counts.duplicate == 3
    assert sent(api) == dict.fromkeys(numbers(3), 1)


async def test_refused_contacts_are_sent_again_when_they_are_named(run: Path) -> None:
    async with scripted([Answer(), refuse(422)]) as (api, client):
        await begun(client, run, "phone", *numbers(4), batch=BatchLimits(max_contacts=2))
        assert rows_in(run, "refused.csv").keys() == {3, 4}
        with pytest.raises(SourceError, match="no contacts"):
            await amend_ingest(client, run)
        report = await amend_ingest(client, run, [run / "refused.csv"])
    assert report.counts.accepted == 2
    assert api.processed == dict.fromkeys((one[1:] for one in numbers(4)), 1)


async def test_uncertain_contacts_are_sent_again_only_when_they_are_named(run: Path) -> None:
    async with scripted([CLOSE]) as (api, client):
        await begun(client, run, "phone", *numbers(2), "x1", concurrency=1)
        assert rows_in(run, "uncertain.csv").keys() == {1, 2}
        mend(run / "rejected.csv", {"x1": number(1)})
        report = await amend_ingest(client, run)
        assert report.counts.duplicate == 1
        report = await amend_ingest(client, run, [run / "uncertain.csv"])
        assert report.counts.accepted == 2
        report = await amend_ingest(client, run, [run / "uncertain.csv"])
        assert report.counts.duplicate == 2
    assert sent(api) == dict.fromkeys(numbers(2), 2)


async def test_a_run_whose_uncertain_contacts_another_has_sent_does_not_send_them_again(run: Path) -> None:
    async with scripted([CLOSE]) as (api, client):
        await begun(client, run, "phone", *numbers(2))
        await amend_ingest(client, run, [run / "uncertain.csv"])
        with pytest.raises(RunDirectoryError, match=r"was amended.*kore-campaign amend .*uncertain.csv"):
            await resume_ingest(client, run, on_uncertain="resend")
        report = await resume_ingest(client, run)
    assert report.counts.uncertain == 2
    assert sent(api) == dict.fromkeys(numbers(2), 2)


async def test_mended_objects_of_an_ndjson_file(run: Path) -> None:
    source = run.with_name("c.ndjson")
    source.write_text(f'{{"phone": "{number(1)}", "n": 1}}\n{{"phone": "x1", "n": 2}}\n')
    async with scripted() as (api, client):
        await push(client, source, run_dir=run)
        mend(run / "rejected.csv", {"x1": number(2)})
        await amend_ingest(client, run)
    assert api.calls[-1].contacts == ({"n": "2", "phoneNumber": number(2)},)


async def test_mended_objects_whose_number_was_mapped(run: Path) -> None:
    source = run.with_name("c.ndjson")
    source.write_text(f'{{"nr": "{number(1)}", "n": 1}}\n{{"nr": "x1", "n": 2}}\n')
    async with scripted() as (api, client):
        await push(client, source, run_dir=run, column_map={"nr": "phoneNumber"})
        mend(run / "rejected.csv", {"x1": number(2)})
        report = await amend_ingest(client, run)
    assert report.counts.accepted == 1
    assert sent(api) == dict.fromkeys(numbers(2), 1)


async def test_a_file_without_a_header_is_amended_by_its_columns_numbers(run: Path) -> None:
    source = csv_of(run.with_name("c.csv"), f"{number(1)},Ana", "x1,Bob")
    async with scripted() as (api, client):
        await push(client, Files(source, no_header=True), run_dir=run)
        mend(run / "rejected.csv", {"x1": number(2)})
        await amend_ingest(client, run)
    assert sent(api) == dict.fromkeys(numbers(2), 1)


@pytest.mark.parametrize("header", ["reason,phone", "phone,row,reason", "Row,Reason,phone", "x,row,reason,phone"])
async def test_the_columns_of_a_run_are_no_fields_wherever_they_are_moved(run: Path, header: str) -> None:
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), "x1")
        cells = ",".join(number(2) if name == "phone" else "2" for name in header.split(","))
        csv_of(run / "rejected.csv", header, cells)
        await amend_ingest(client, run)
    assert set(api.calls[-1].contacts[0]) <= {"phoneNumber", "x"}
    assert sent(api) == dict.fromkeys(numbers(2), 1)


async def test_uncertain_contacts_are_amended_by_themselves_until_they_are_not(run: Path) -> None:
    """A number in another file that may have been sent is not lifted with them."""
    async with scripted([CLOSE, CLOSE]) as (api, client):
        await begun(client, run, "phone", *numbers(2), "x1", concurrency=1)
        mend(run / "rejected.csv", {"x1": number(2)})
        with pytest.raises(SourceError, match="name it alone"):
            await amend_ingest(client, run, [run / "uncertain.csv", run / "rejected.csv"])
        report = await amend_ingest(client, run, [run / "uncertain.csv"])
        assert report.counts.uncertain == 2
        again = run.with_name("run-amend-1")
        report = await amend_ingest(client, again, [again / "uncertain.csv"])
        assert report.counts.accepted == 2
        report = await amend_ingest(client, run)
        assert report.counts.duplicate == 1
    assert sent(api) == dict.fromkeys(numbers(2), 3)


async def test_a_copy_of_a_run_knows_whom_its_family_has_called(run: Path) -> None:
    """Made before the first amend, and put back after it."""
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), "x1")
        mend(run / "rejected.csv", {"x1": number(2)})
        shutil.copytree(run, run.with_name("copy"))
        await amend_ingest(client, run)
        with pytest.raises(RunDirectoryError, match="give --moved"):
            await amend_ingest(client, run.with_name("copy"))
        report = await amend_ingest(client, run.with_name("copy"), moved=True)
    assert report.counts.duplicate == 1
    assert sent(api) == dict.fromkeys(numbers(2), 1)


async def test_a_number_that_is_dialled_otherwise_is_the_same(run: Path) -> None:
    async with scripted() as (api, client):
        await begun(client, run, "phone", "+525512345678", "x1")
        mend(run / "rejected.csv", {"x1": "+52 1 55 1234 5678"})
        report = await amend_ingest(client, run)
    assert report.counts.duplicate == 1
    assert len(sent(api)) == 1


async def test_what_is_wrong_with_a_file_is_said_of_the_file_that_was_named(run: Path) -> None:
    async with scripted() as (_, client):
        await begun(client, run, "phone", number(1), "x1")
        csv_of(run / "rejected.csv", f"2,invalid_phone,{number(2)}", f"3,invalid_phone,{number(3)}")
        with pytest.raises(SourceError, match=r"run/rejected\.csv: .*put the header back"):
            await amend_ingest(client, run)
    assert not run.with_name("run-amend-1").exists()


# What stops it


async def test_what_cannot_be_amended_says_why_and_sends_nothing(run: Path) -> None:
    async with scripted() as (api, client):
        with pytest.raises(RunDirectoryError, match="holds no run"):
            await amend_ingest(client, run)
        await begun(client, run, "phone", number(1), "x1")
        with pytest.raises(SourceError, match=r"mended\.csv is not there"):
            await amend_ingest(client, run, [run / "mended.csv"])
        with pytest.raises(RunDirectoryError, match="is there already; name a new directory"):
            await amend_ingest(client, run, new_run_dir=run)
        csv_of(run.with_name("c.csv"), "phone", number(2))
        with pytest.raises(RunDirectoryError, match="can't be amended: the source has changed"):
            await amend_ingest(client, run)
        run.with_name("c.csv").unlink()
        with pytest.raises(SourceError, match="can't be read"):
            await amend_ingest(client, run)
        await push(client, [number(3), "x"], run_dir=run.with_name("own"))
        with pytest.raises(RunDirectoryError, match="can't be read again"):
            await amend_ingest(client, run.with_name("own"))
    assert len(api.calls) == 2
    assert not run.with_name("run-amend-1").exists()


async def test_a_stopped_run_is_resumed_first(run: Path) -> None:
    async with scripted([refuse(403)]) as (api, client):
        await begun(client, run, "phone", *numbers(3), "x1")
        with pytest.raises(RunDirectoryError, match=f"is not finished.*kore-campaign resume {run}"):
            await amend_ingest(client, run)
        await resume_ingest(client, run)
        mend(run / "rejected.csv", {"x1": number(4)})
        await amend_ingest(client, run)
    assert api.processed == dict.fromkeys((one[1:] for one in numbers(4)), 1)


async def test_an_amending_run_that_was_stopped_holds_up_the_next(run: Path) -> None:
    async with scripted([Answer(), refuse(403)]) as (api, client):
        await begun(client, run, "phone", number(1), "x1", "x2")
        mend(run / "rejected.csv", {"x1": number(2)})
        await amend_ingest(client, run)
        with pytest.raises(RunDirectoryError, match=r"run-amend-1 is not finished"):
            await amend_ingest(client, run)
        # Its rows are its own by now, whatever becomes of the file that they came from.
        mend(run / "rejected.csv", {number(2): "y", "x2": number(2)})
        await resume_ingest(client, run.with_name("run-amend-1"))
        report = await amend_ingest(client, run)
    assert report.counts.duplicate == 1
    assert api.processed == dict.fromkeys((one[1:] for one in numbers(2)), 1)


async def test_a_family_that_moves_together_is_found_and_one_that_is_torn_is_not(run: Path, tmp_path: Path) -> None:
    async with scripted() as (api, client):
        await begun(client, run, "phone", number(1), "x1", "x2")
        mend(run / "rejected.csv", {"x1": number(2)})
        await amend_ingest(client, run)
        moved = tmp_path / "elsewhere"
        moved.mkdir()
        for one in ("run", "run-amend-1"):
            shutil.move(tmp_path / one, moved / one)
        mend(moved / "run" / "rejected.csv", {"x2": number(2)})
        report = await amend_ingest(client, moved / "run")
        assert report.counts.duplicate == 2
        shutil.rmtree(moved / "run-amend-1")
        with pytest.raises(RunDirectoryError, match=r"run-amend-1, is not in .* any more.*put it back"):
            await amend_ingest(client, moved / "run")
    assert sent(api) == dict.fromkeys(numbers(2), 1)


# In the shell


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(rate=None, job_seconds=0.0) as served:
        served.make_list(LIST, allow_duplicates=True)
        yield served


async def test_killed_and_resumed_it_calls_nobody_twice(sandbox: Sandbox, tmp_path: Path) -> None:
    """kill -9 at several moments, and a resume each time."""
    bad = [f"x{at}" for at in range(2000)]
    csv_of(tmp_path / "c.csv", "phone", *numbers(50), *bad)
    said = await kore_campaign(
        *("push", "c.csv", "--list", LIST, "--run-dir", "run", "--rate", "none", "--max-rejected", "100"),
        *("--max-contacts", "25"),
        env=sandbox.environment,
        cwd=tmp_path,
    )
    assert said.status == 1
    # Every tenth is somebody whom the run has called.
    mended = {one: number(at % 50 + 1) if at % 10 == 0 else number(1000 + at) for at, one in enumerate(bad)}
    mend(tmp_path / "run" / "rejected.csv", mended)
    arguments: tuple[str, ...] = ("amend", "run")
    for patience in (0.7, 0.8, 0.9, 60.0):
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, *arguments), env=environment(sandbox.environment), cwd=tmp_path, stdout=-3, stderr=-3
        )
        try:
            async with asyncio.timeout(patience):
                await process.wait()
        except TimeoutError:
            os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        # One that was killed before its run began left a directory without a journal, which is passed over.
        for journal in tmp_path.glob("run-amend-*/journal.sqlite"):
            arguments = ("resume", journal.parent.name)
    assert process.returncode in {0, 3}
    stored = sandbox.named(LIST).records
    assert set(stored.values()) == {1}
    (amended,) = (journal.parent for journal in tmp_path.glob("run-amend-*/journal.sqlite"))
    here = rows_in(amended, "uncertain.csv")
    assert len(stored) >= 50 + 1800 - len(here)
    left_out = rows_in(amended, "left_out.csv")
    assert len(left_out) == 200


async def test_every_printed_step_works_when_it_is_copied(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "it's a folder"
    folder.mkdir()
    csv_of(folder / "c.csv", "phone", number(1), "x1")
    env = sandbox.environment
    await kore_campaign("push", "c.csv", "--list", LIST, "--run-dir", "my run", env=env, cwd=folder)
    mend(folder / "my run" / "rejected.csv", {"x1": number(2)})
    said = await kore_campaign("report", "my run", env=env, cwd=folder)
    commands = [line.strip() for line in said.out.splitlines() if line.startswith("    kore-campaign")]
    assert commands == ["kore-campaign amend 'my run'"]
    process = await asyncio.create_subprocess_shell(
        commands[0].replace("kore-campaign", str(KORE_CAMPAIGN)), env=environment(env), cwd=folder, stdout=-1, stderr=-1
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert b"my run-amend-1" in out
    assert sandbox.named(LIST).records == {number(1)[1:]: 1, number(2)[1:]: 1}


async def test_a_run_that_hangs_is_still_going(run: Path) -> None:
    async with scripted([HANG]) as (_, client):
        task = asyncio.create_task(begun(client, run, "phone", number(1), "x1"))
        while not (run / "journal.sqlite").exists():
            await asyncio.sleep(0.005)
        with pytest.raises(RunDirectoryError, match="another process is working in"):
            await amend_ingest(client, run)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
