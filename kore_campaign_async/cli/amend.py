"""`amend`: push the mended rows of a run, by the run's own rules."""

from __future__ import annotations

from collections.abc import Awaitable
from pathlib import Path

from kore_campaign_async.cli import asking
from kore_campaign_async.cli.push import Watch, prepared, show, watch
from kore_campaign_async.cli.resume import settings_of_run
from kore_campaign_async.config import RateLimit
from kore_campaign_async.ingest.amend import amend, new_directory
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.run_settings import options_of_run


@asking.command
async def amend_command(
    *,
    run_dir: Path,
    files: tuple[Path, ...],
    new_run_dir: Path | None,
    suppress: tuple[Path, ...],
    max_contacts: int | None,
    concurrency: int | None,
    rate: tuple[RateLimit, ...] | None,
    shared_rate: str | None,
    timeout: float | None,  # noqa: ASYNC109  of an attempt, not of this function
    grace: float | None,
    moved: bool,
    as_json: bool,
) -> int:
    """Push the mended rows of the run in RUN_DIR."""
    found, settings = settings_of_run(run_dir, rate=rate, shared_rate=shared_rate, timeout=timeout)
    directory = new_run_dir if new_run_dir is not None else new_directory(run_dir)
    with prepared():
        async with asking.client(found, **settings) as client:

            def push(progress: Watch) -> Awaitable[IngestReport]:
                return amend(
                    client,
                    run_dir,
                    files or None,
                    new_run_dir=directory,
                    options=lambda stored: options_of_run(stored, max_contacts, concurrency, None, grace, progress),
                    suppress=suppress,
                    moved=moved,
                    shell=asking.remembered(found),
                )

            report = await watch(push, directory, again="give it again")
    show(report, directory, as_json=as_json)
    return report.exit_status
