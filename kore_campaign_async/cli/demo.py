"""`demo`: the sandbox, a list in it, the packaged sample, and the report. Needs no account and no network."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Final

from kore_campaign_async.cli import asking
from kore_campaign_async.cli.output import say
from kore_campaign_async.cli.push import Watch, default_run_dir, show, watch
from kore_campaign_async.cli.sanitize import NAMES, legible
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import IngestOptions
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.start import ingest_contacts
from kore_campaign_async.sandbox import Sandbox

_SAMPLE: Final = Path(__file__).with_name("sample_contacts.csv")
_LIST: Final = "Renewals"


@asking.command
async def demo_command() -> int:
    """Push a sample of contacts into a sandbox on this machine, and show what became of each."""
    directory = default_run_dir()
    async with Sandbox() as sandbox:
        say(f"sandbox: {sandbox.url}, with the vendor's limit of 60 calls a minute")
        async with CampaignClient.from_env(sandbox.environment) as client:
            made = await client.create_contact_list(_LIST, "Due in July")
            say(f"created: contact list {legible(repr(made.name), NAMES)}, {legible(made.id, NAMES)}")

            def push(progress: Watch) -> Awaitable[IngestReport]:
                options = IngestOptions(progress=progress)
                return ingest_contacts(client, _SAMPLE, contact_list=_LIST, run_dir=directory, options=options)

            # Its sandbox ends with it, so nothing can be gone on with.
            report = await watch(push, directory, resumable=False)
            show(report, directory, as_json=False, resumable=False)
            # Queued is not added: jobs become records later.
            await asyncio.sleep(sandbox.job_seconds)
            stored = (await client.get_contact_list(made.id)).total_record_count
    say(f"the list holds {stored:,} records now: queued contacts become records a little later")
    return 0 if report.state == "finished" and stored == report.counts.accepted else 1
