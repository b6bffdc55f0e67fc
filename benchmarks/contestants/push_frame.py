"""Ours in process: `ingest_contacts` of a polars frame that is in memory already. Reading the file is not counted."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import polars as pl
from common import told

from kore_campaign_async import BatchLimits, CampaignClient, IngestOptions, SourceError, ingest_contacts


async def _main(frame: Any, size: int, run_dir: str) -> None:
    options = IngestOptions(batch=BatchLimits(max_contacts=size))
    async with CampaignClient.from_env(rate=()) as client:
        report = await ingest_contacts(client, frame, contact_list="Bench", run_dir=run_dir, options=options)
    if report.counts.read != frame.height:
        raise SourceError("this version of ingest_contacts takes no frames")
    assert report.exit_status == 0, report


if __name__ == "__main__":
    rows = pl.read_csv(sys.argv[1], infer_schema=False)
    try:
        with told():
            asyncio.run(_main(rows, int(sys.argv[2]), sys.argv[3]))
    except SourceError as error:
        print(json.dumps({"skipped": str(error)}))
