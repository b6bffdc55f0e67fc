"""A run from code without an event loop, and what Ctrl-C does to it; and the progress that callers are told."""

from __future__ import annotations

import asyncio
import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import orjson
import pytest
from cli.shell import environment

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    ContactListError,
    IngestOptions,
    InvalidRequestError,
    Progress,
    ingest_contacts,
    run_ingest,
    run_resume,
)
from kore_campaign_async.config import Plan
from kore_campaign_async.ingest import run as runs
from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.sandbox import Fault, SandboxThread
from tests.ingest.pushing import HANG, LIST, check_report, check_run_dir, csv_of, numbers, push, scripted

TEN = BatchLimits(max_contacts=10)


@pytest.fixture
def served() -> Any:
    with SandboxThread(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        yield sandbox


def client_of(sandbox: SandboxThread) -> Callable[[], CampaignClient]:
    return lambda: CampaignClient.from_env(sandbox.environment)


def test_it_makes_loop_and_client_and_takes_the_same_arguments(served: SandboxThread, tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(25), "12")
    report = run_ingest(
        source,
        contact_list=LIST,
        run_dir=tmp_path / "run",
        options=IngestOptions(batch=TEN),
        client=client_of(served),
    )
    check_report(report)
    assert check_run_dir(tmp_path / "run") == report
    assert (report.counts.accepted, report.counts.rejected) == (25, 1)
    assert len(served.contacts(LIST)) == 25


def test_the_client_comes_from_the_environment(served: SandboxThread, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)
    assert run_ingest(numbers(3), contact_list=LIST).counts.accepted == 3


def test_in_a_thread_too(served: SandboxThread) -> None:
    """Where there is no Ctrl-C, and no main thread's loop."""
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(run_ingest(numbers(3), contact_list=LIST, client=client_of(served)))
    )
    thread.start()
    thread.join()
    assert found[0].counts.accepted == 3


async def test_inside_of_a_running_loop_it_refuses() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        run_ingest(numbers(1), contact_list=LIST)
    assert str(caught.value) == (
        "run_ingest makes an event loop of its own, and one is running here already: await ingest_contacts instead"
    )
    with pytest.raises(InvalidRequestError, match=r"^run_resume makes an event loop .*: await resume_ingest instead$"):
        run_resume("run")


def test_a_client_that_is_made_already_is_refused() -> None:
    made = CampaignClient.from_env(
        {"KORE_HOST": "http://127.0.0.1:9", "KORE_APP_ID": "a", "KORE_ACCOUNT_ID": "b", "KORE_AUTH_TOKEN": "c" * 40}
    )
    with pytest.raises(InvalidRequestError, match="client is a function that makes a client, such as lambda: "):
        run_ingest(numbers(1), contact_list=LIST, client=made)  # type: ignore[arg-type]


def test_errors_come_as_they_are(served: SandboxThread) -> None:
    with pytest.raises(ContactListError, match="'Renewal'; the nearest are 'Renewals'"):
        run_ingest(numbers(1), contact_list="Renewal", client=client_of(served))


INTERRUPTED = """
import sys
from kore_campaign_async import BatchLimits, IngestOptions, run_ingest

options = IngestOptions(batch=BatchLimits(max_contacts=10), concurrency=2, grace_seconds=float(sys.argv[1]))
try:
    run_ingest("c.csv", contact_list="Renewals", run_dir="run", options=options)
except KeyboardInterrupt:
    print("interrupted")
"""


def interrupted(served: SandboxThread, folder: Path, grace: float, *, times: int = 1) -> str:
    """Run in a process of its own, and press Ctrl-C when a call is in flight."""
    csv_of(folder / "c.csv", "phone", *numbers(400))
    process = subprocess.Popen(  # noqa: S603  our own words
        [sys.executable, "-W", "error", "-c", INTERRUPTED, str(grace)],
        cwd=folder,
        env=environment(served.environment),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + 30.0
    while served.calls["addContacts"] < 2:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.005)
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    out, err = process.communicate(timeout=30.0)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    return out


def test_ctrl_c_lets_calls_in_flight_end_and_leaves_a_run_that_can_be_resumed(
    served: SandboxThread, tmp_path: Path
) -> None:
    served.faults = [Fault("drip-stored", every=1, pause_seconds=0.01)]
    assert interrupted(served, tmp_path, 10.0) == "interrupted\n"
    report = check_run_dir(tmp_path / "run")
    assert (report.state, report.stopped_because, report.counts.unsent > 0) == ("stopped", "cancelled", True)
    assert report.counts.uncertain == 0
    assert report.counts.accepted == len(served.contacts(LIST)) > 0
    served.faults = []
    shown: list[Progress] = []
    resumed = run_resume(tmp_path / "run", client=client_of(served), progress=shown.append)
    assert check_run_dir(tmp_path / "run") == resumed
    assert resumed.counts.accepted == shown[-1].accepted == 400
    assert len(served.contacts(LIST)) == 400


def test_a_second_ctrl_c_cuts_calls_off_and_accounts_for_them(served: SandboxThread, tmp_path: Path) -> None:
    served.faults = [Fault("hang", every=1)]
    began = time.monotonic()
    assert interrupted(served, tmp_path, 60.0, times=2) == "interrupted\n"
    assert time.monotonic() - began < 30.0
    report = check_run_dir(tmp_path / "run")
    assert (report.state, report.counts.uncertain) == ("stopped", 20)


# Progress


async def test_progress_has_the_counts_of_every_state_and_its_last_one_is_the_report() -> None:
    shown: list[Progress] = []
    async with scripted() as (_, client):
        report = await push(client, [*numbers(25), numbers(1)[0], "12"], batch=TEN, progress=shown.append)
    assert [one.final for one in shown] == [False] * (len(shown) - 1) + [True]
    last = shown[-1]
    for name, count in attrs.asdict(report.counts).items():
        assert getattr(last, name) == count
    assert (last.accepted, last.duplicate, last.rejected, last.settled) == (25, 1, 1, 27)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        last.read = 0  # type: ignore[misc]


async def test_progress_is_told_at_most_four_times_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 300 batches, by a clock that moves a hundredth of a second at every look."""
    ticks = iter(range(1, 1_000_000))
    clock = type("Clock", (), {"monotonic": staticmethod(lambda: next(ticks) / 100)})
    monkeypatch.setattr(runs, "time", clock)
    told: list[float] = []
    async with scripted() as (_, client):
        await push(
            client, numbers(300), batch=BatchLimits(max_contacts=1), progress=lambda _: told.append(clock.monotonic())
        )
    assert len(told) > 3
    assert all(round(later - before, 9) >= 0.25 for before, later in itertools.pairwise(told[:-1]))


@pytest.mark.parametrize("way", ["well", "cancelled", "a source that fails"])
async def test_the_last_progress_comes_however_the_run_ends(way: str, tmp_path: Path) -> None:
    shown: list[Progress] = []

    async def contacts() -> Any:
        for one in numbers(20):
            yield one
        if way == "a source that fails":
            raise LookupError("the rest is gone")

    async with scripted((HANG,) if way == "cancelled" else ()) as (api, client):
        options = IngestOptions(batch=TEN, concurrency=1, grace_seconds=0.0, progress=shown.append)
        run = asyncio.create_task(
            ingest_contacts(client, contacts(), contact_list=LIST, run_dir=tmp_path / "run", options=options)
        )
        while not api.calls:
            await asyncio.sleep(0.001)
        if way == "cancelled":
            run.cancel()
        await asyncio.wait((run,))
    assert [one.final for one in shown][-1:] == [True]
    assert sum(one.final for one in shown) == 1
    counts = read_report(tmp_path / "run").counts
    assert (shown[-1].read, shown[-1].accepted, shown[-1].uncertain) == (counts.read, counts.accepted, counts.uncertain)


def test_a_progress_is_plain_enough_to_be_written_as_json() -> None:
    plan = Plan(contacts=1, batches=1, calls=3, bytes=None, seconds=None, rate=("60/60",), exact=False)
    now = Progress(read=1, settled=1, accepted=1, calls=1, fraction=None, seconds=0.5, plan=plan)
    assert orjson.loads(orjson.dumps(attrs.asdict(now)))["final"] is False
