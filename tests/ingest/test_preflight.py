"""What the first rows show before anything is sent."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from cli.shell import kore_campaign

from kore_campaign_async import SourceError, ingest_contacts
from kore_campaign_async.config import BatchLimits, IngestOptions, Progress
from kore_campaign_async.ingest.sources import first_rows
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import LIST, check_tasks, csv_of, number, numbers, push, scripted


def source_of(kind: str, folder: Path, values: list[str]) -> Any:
    match kind:
        case "csv":
            return csv_of(folder / "c.csv", "phone", *values)
        case "ndjson":
            path = folder / "c.ndjson"
            path.write_bytes(b"\n".join(orjson.dumps({"phone": one}) for one in values))
            return path
        case "parquet":
            pl.DataFrame({"phone": values}).write_parquet(folder / "c.parquet")
            return folder / "c.parquet"
        case "frame":
            return pl.DataFrame({"phone": values})
        case _:
            return [{"phone": one} for one in values]


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "frame"])
@pytest.mark.parametrize(
    ("bad", "percent", "is_refused"), [(51, None, True), (50, None, False), (21, 20, True), (99, 100, False)]
)
async def test_nothing_is_sent_where_more_rows_are_rejected_than_may_be(
    kind: str, bad: int, percent: float | None, tmp_path: Path, *, is_refused: bool
) -> None:
    """And no list is made, and no run directory."""
    source = source_of(kind, tmp_path, ["nobody"] * bad + numbers(100 - bad))
    options = {} if percent is None else {"max_rejected": percent}
    async with scripted() as (api, client):
        pushing = ingest_contacts(
            client, source, contact_list=LIST, run_dir=tmp_path / "run", options=IngestOptions(**options)
        )
        if not is_refused:
            report = await pushing
            assert report.counts.rejected == bad
            return
        with pytest.raises(
            SourceError, match=rf"{bad} of the 100 rows are rejected, most often as invalid_phone \({bad}\)"
        ):
            await pushing
    assert not api.calls
    assert not api.others
    assert not (tmp_path / "run").exists()


async def test_only_the_first_rows_count(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(10_000), *["nobody"] * 20_000)
    async with scripted() as (api, client):
        report = await push(client, source, max_rejected=1)
    assert report.counts.rejected == 20_000
    assert len(api.received) == 10_000


async def test_a_program_learns_of_every_contact_of_its_own_iterable() -> None:
    """Unless it asks for a limit."""
    async with scripted() as (api, client):
        report = await ingest_contacts(client, ["x", "y", number(1)], contact_list=LIST)
        assert report.counts.rejected == 2
        with pytest.raises(SourceError, match="2 of the 3 rows are rejected"):
            await ingest_contacts(
                client, ["x", "y", number(2)], contact_list=LIST, options=IngestOptions(max_rejected=50)
            )
    assert len(api.received) == 1


async def test_the_region_that_would_help_is_named(tmp_path: Path) -> None:
    texts = [f"030 {1234500 + at}" for at in range(20)]
    source = csv_of(tmp_path / "c.csv", "phone", *texts)
    async with scripted() as (_, client):
        with pytest.raises(SourceError, match=r"would be valid with --region (.* or )?DE \(20 of 20 tried\)"):
            await ingest_contacts(client, source, contact_list=LIST)
        with pytest.raises(SourceError, match=r"DE \(20 of 20 tried\)"):
            await ingest_contacts(client, source, contact_list=LIST, options=IngestOptions(region="US"))
        report = await ingest_contacts(client, source, contact_list=LIST, options=IngestOptions(region="DE"))
    assert report.counts.accepted == 20


async def test_a_pipe_that_pauses_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody types, or a service writes, goes out as it comes."""
    monkeypatch.setattr(first_rows, "_PATIENCE_SECONDS", 0.05)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    async with scripted() as (api, client):
        pushing = asyncio.create_task(
            ingest_contacts(
                client,
                pipe,
                contact_list=LIST,
                options=IngestOptions(batch=BatchLimits(max_contacts=2), max_rejected=50),
            )
        )
        writer = await asyncio.to_thread(pipe.open, "w")
        writer.write("phone\n" + "".join(f"{one}\n" for one in numbers(4)))
        writer.flush()
        async with asyncio.timeout(10.0):
            while len(api.received) < 2:
                await asyncio.sleep(0.01)
        writer.write(f"{number(5)}\n")
        writer.close()
        report = await pushing
    assert report.counts.accepted == 5


async def test_cancelling_while_the_first_rows_are_awaited_leaves_nothing(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    async with scripted() as (api, client):
        before = asyncio.all_tasks()
        pushing = asyncio.create_task(ingest_contacts(client, pipe, contact_list=LIST, run_dir=tmp_path / "run"))
        writer = await asyncio.to_thread(pipe.open, "w")
        writer.write(f"phone\n{number(1)}\n")
        writer.flush()
        await asyncio.sleep(0.1)
        pushing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await pushing
        writer.close()
        await check_tasks(before)
    assert not api.calls
    assert not (tmp_path / "run").exists()


async def test_a_dry_run_tells_all_reasons(tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", "x", "y", number(1))
    async with scripted() as (_, client):
        report = await ingest_contacts(client, source, contact_list=LIST, options=IngestOptions(dry_run=True))
    assert (report.counts.rejected, report.counts.unsent) == (2, 1)


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet", "frame", "list"])
@pytest.mark.parametrize(("without", "is_warned"), [(3, True), (1, False)])
async def test_numbers_without_a_plus_are_warned_about_before_the_first_call(
    kind: str, without: int, tmp_path: Path, *, is_warned: bool
) -> None:
    values = [one.removeprefix("+") for one in numbers(without)] + numbers(150, start=200)
    shown: list[Progress] = []
    async with scripted() as (api, client):
        calls_before = -1

        def progress(now: Progress) -> None:
            nonlocal calls_before
            shown.append(now)
            if calls_before < 0:
                calls_before = len(api.calls)

        report = await push(client, source_of(kind, tmp_path, values), progress=progress)
    warnings = [one for one in report.notices if "have no +" in one]
    assert len(warnings) == is_warned
    if is_warned:
        assert "3 of the 153 valid numbers have no + and are sent as they are, such as ••••••••001, ••••" in warnings[0]
        assert number(1)[1:] not in warnings[0]
        assert kind == "list" or (warnings[0] in shown[0].reading and not calls_before)


async def test_the_shell_says_it_and_exits_with_2(tmp_path: Path) -> None:
    csv_of(tmp_path / "c.csv", "phone", *[f"0151 2724{at:04}" for at in range(30)])
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        said = await kore_campaign("push", "c.csv", "--list", LIST, env=sandbox.environment, cwd=tmp_path)
        assert said.status == 2
        assert "kore-campaign: c.csv: 30 of the 30 rows are rejected, most often as invalid_phone (30)" in said.err
        assert "nothing was sent" in said.err
        assert not (tmp_path / "kore-runs").exists()
        said = await kore_campaign(
            *("push", "c.csv", "--list", LIST, "--max-rejected", "100"), env=sandbox.environment, cwd=tmp_path
        )
        assert said.status == 1
        assert sandbox.named(LIST).contacts == []
