"""What a push takes, told by a dry run and before a push; and what a report says of the budget."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from cli.shell import kore_campaign

from kore_campaign_async import IngestReport, Plan, Progress, RateLimit
from kore_campaign_async.config import BatchLimits
from kore_campaign_async.ingest import start
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import LIST, csv_of, numbers, push, sandboxed, scripted

MINUTE = (RateLimit(60, 60.0),)


async def test_a_dry_run_tells_what_the_push_then_takes(tmp_path: Path) -> None:
    """Its batches and bytes are those that arrive."""
    source = csv_of(tmp_path / "c.csv", "phone,firstName", *(f"{one},Zoë" for one in numbers(95)), "nobody,x", "+1,y")
    limits = BatchLimits(max_contacts=10, max_bytes=400)
    async with scripted(allow_duplicates=False) as (api, client):
        planned = await push(client, source, dry_run=True, batch=limits)
        assert api.calls == []
        report = await push(client, source, batch=limits)
    assert planned.plan == Plan(
        contacts=95,
        batches=len(api.calls),
        calls=len(api.calls) + 2,
        bytes=sum(call.size for call in api.calls),
        seconds=None,
        rate=(),
        exact=True,
    )
    assert api.others.total() == 2 * 2, "the two calls that look for the list, in each"
    assert report.counts.accepted == 95
    assert report.plan is None


async def test_a_plan_tells_the_time_under_the_limits() -> None:
    async with sandboxed(LIST) as (sandbox, _):
        client = type(_).from_env(sandbox.environment, rate=(RateLimit(2, 0.5), RateLimit(4, 60.0)))
        async with client:
            report = await push(client, numbers(10), dry_run=True, batch=BatchLimits(max_contacts=1))
    assert report.plan is not None
    assert (report.plan.calls, report.plan.seconds, report.plan.rate) == (12, 120.5, ("2/0.5", "4/60"))
    assert IngestReport.from_dict(report.to_dict()) == report


@pytest.mark.parametrize("end", ["\n", ""])
async def test_a_push_estimates_beforehand(end: str, tmp_path: Path) -> None:
    source = tmp_path / "c.csv"
    source.write_text("phone\n" + "\n".join(numbers(25)) + end)
    shown: list[Progress] = []
    async with sandboxed(LIST) as (_, client):
        options = {"batch": BatchLimits(max_contacts=10), "progress": shown.append}
        await push(client, source, run_dir=tmp_path / "run", **options)
    plans = {one.plan for one in shown}
    assert plans == {Plan(contacts=25, batches=3, calls=5, bytes=None, seconds=None, rate=(), exact=False)}


async def test_what_can_not_be_read_twice_has_no_estimate(tmp_path: Path) -> None:
    shown: list[Progress] = []
    async with sandboxed(LIST) as (_, client):
        await push(client, numbers(25), run_dir=tmp_path / "run", progress=shown.append)
    assert {one.plan for one in shown} == {None}


@pytest.mark.parametrize(
    ("contacts", "words"),
    [(8, ()), (9, ("9 contacts are more than the 8 that a list holds: split them over lists",))],
)
async def test_too_many_contacts_are_told(
    contacts: int, words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(start.wire, "CONTACTS_A_LIST", 8)
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(contacts))
    async with sandboxed(LIST) as (_, client):
        assert (await push(client, source, dry_run=True)).notices == words
        about = tuple(f"about {one}" for one in words)
        assert (await push(client, source, run_dir=tmp_path / "run")).notices == about
        monkeypatch.setattr(start.wire, "CONTACTS_AN_ACCOUNT", 8)
        notices = (await push(client, source, dry_run=True)).notices
        assert notices == (("9 contacts are more than the 8 that an account holds",) if words else ())


async def test_the_report_tells_the_use_of_the_budget(tmp_path: Path) -> None:
    """Eleven calls of the sixty of a minute; of none, none."""
    async with sandboxed(LIST) as (sandbox, free):
        async with type(free).from_env(sandbox.environment, rate=MINUTE) as client:
            report = await push(client, numbers(11), run_dir=tmp_path / "a", batch=BatchLimits(max_contacts=1))
        assert report.budget.used == pytest.approx(11 / 60, abs=0.001)
        assert report.budget.waited_seconds == 0.0
        unlimited = await push(free, numbers(11), run_dir=tmp_path / "b")
        assert unlimited.budget.used is None


async def test_the_report_tells_how_long_calls_waited(tmp_path: Path) -> None:
    async with (
        sandboxed(LIST) as (sandbox, free),
        type(free).from_env(sandbox.environment, rate=(RateLimit(5, 0.3),)) as client,
    ):
        report = await push(client, numbers(13), run_dir=tmp_path / "a", batch=BatchLimits(max_contacts=1))
    assert report.budget.used is not None
    assert report.budget.used > 0.5
    assert 0.3 < report.budget.waited_seconds < 8 * report.seconds


async def test_the_shell_shows_the_plan_and_the_budget(tmp_path: Path) -> None:
    csv_of(tmp_path / "c.csv", "phone", *numbers(130))
    async with Sandbox(rate=None, job_seconds=0) as sandbox:
        sandbox.make_list("R")
        args = ("push", "c.csv", "--list", "R", "--rate", "100/1", "--max-contacts", "1")
        dry = await kore_campaign(*args, "--dry-run", env=sandbox.environment, cwd=tmp_path)
        assert "a push takes 130 contacts in 130 batches, 132 calls, 0.0 MB; 0:01 at least, under 100/1" in dry.out
        said = await kore_campaign(*args, env=sandbox.environment, cwd=tmp_path)
        planned = "about 130 contacts in about 130 batches, 132 calls; 0:01 at least, under 100/1"
        assert said.err.startswith(f"columns: 'phone' → phoneNumber\n{planned}\n")
        assert re.search(r"[0-9]+% of the account's limit used; a call waited [0-9.]+ s for it", said.out)
        assert (said.status, sandbox.calls["addContacts"]) == (0, 130)
