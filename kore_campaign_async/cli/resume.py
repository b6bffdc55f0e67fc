"""`resume`: go on with a run that was stopped or killed."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path
from typing import Any

from kore_campaign_async.cli import asking
from kore_campaign_async.cli.push import Watch, prepared, show, timeouts, watch
from kore_campaign_async.config import OnUncertain, RateLimit, parse_rates
from kore_campaign_async.ingest.directory import command as shell_command
from kore_campaign_async.ingest.journal import read_settings
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.start import resume_ingest
from kore_campaign_async.redaction import HIDDEN
from kore_campaign_async.settings import Settings


def settings_of_run(
    run_dir: Path, *, rate: tuple[RateLimit, ...] | None, shared_rate: str | None, timeout: float | None
) -> tuple[Settings, dict[str, Any]]:
    """The settings of whoever began a run, and what a client of it is made with; what is given anew holds."""
    journaled = read_settings(run_dir)
    asking.remember(journaled.get("shell"))
    found = asking.settings()
    stored: dict[str, Any] = journaled["client"]
    limits = rate if rate is not None else parse_rates(tuple(stored["rate"]))
    settings: dict[str, Any] = {"timeouts": timeouts(timeout or stored["timeout"]), "rate": limits}
    if shared_rate is not None:
        settings["shared_rate"] = shared_rate
    elif (shared := stored.get("shared_rate")) is not None and found.origin("shared_rate") is None:
        if HIDDEN in shared:
            asking.fail(
                f"the run shared its rate at {shared}, and no password is kept: give the whole URL with"
                " --shared-rate or in KORE_SHARED_RATE",
                asking.WRONG,
            )
        settings["shared_rate"] = shared
    return found, settings


@asking.command
async def resume_command(
    *,
    run_dir: Path,
    max_contacts: int | None,
    concurrency: int | None,
    rate: tuple[RateLimit, ...] | None,
    shared_rate: str | None,
    timeout: float | None,  # noqa: ASYNC109  of an attempt, not of this function
    on_uncertain: OnUncertain | None,
    grace: float | None,
    moved: bool,
    as_json: bool,
) -> int:
    """Go on with the run in RUN_DIR, and account for all of its contacts."""
    found, settings = settings_of_run(run_dir, rate=rate, shared_rate=shared_rate, timeout=timeout)
    with prepared():
        async with asking.client(found, **settings) as client:

            def resume(progress: Watch) -> Awaitable[IngestReport]:
                return resume_ingest(
                    client,
                    run_dir,
                    max_contacts=max_contacts,
                    concurrency=concurrency,
                    on_uncertain=on_uncertain,
                    grace_seconds=grace,
                    moved=moved,
                    progress=progress,
                )

            report = await watch(resume, run_dir, again=f"{shell_command('resume', run_dir)} goes on with it")
    show(report, run_dir, as_json=as_json)
    return report.exit_status
