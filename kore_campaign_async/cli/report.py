"""`report`: what became of a run, from its directory."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import orjson

from kore_campaign_async.cli import asking, saying
from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest.files import read_report


def report_command(*, run_dir: Path, as_json: bool) -> None:
    """Show the report of the run in RUN_DIR, also of one that is running or was killed."""
    try:
        report = read_report(run_dir)
    except RunDirectoryError as error:
        asking.fail(str(error), asking.WRONG)
    if as_json:
        click.echo(orjson.dumps(report.to_dict(), option=orjson.OPT_INDENT_2).decode())
    else:
        saying.way_of(sys.stdout).show_report(report, run_dir)
    sys.exit(0)
