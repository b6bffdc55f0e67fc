"""`report`: what became of a run, from its directory."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import orjson

from kore_campaign_async.cli import asking, saying
from kore_campaign_async.cli.look import look
from kore_campaign_async.errors import KoreCampaignError
from kore_campaign_async.ingest.files import read_report


def report_command(*, run_dir: Path, as_json: bool, html: Path | None, show_numbers: bool) -> None:
    """Show the report of the run in RUN_DIR, also of one that is running or was killed."""
    try:
        if html is not None:
            _write_page(run_dir, html, show_numbers=show_numbers)
            click.echo(f"the page is in {html}", err=as_json)
        if as_json:
            click.echo(orjson.dumps(read_report(run_dir).to_dict(), option=orjson.OPT_INDENT_2).decode())
        elif html is None:
            saying.way_of(sys.stdout).show_look(look(run_dir, show_numbers=show_numbers))
    except KoreCampaignError as error:
        asking.fail(str(error), asking.WRONG)
    sys.exit(0)


def _write_page(run_dir: Path, html: Path, *, show_numbers: bool) -> None:
    try:
        # Only who wants a page needs what draws it.
        from kore_campaign_async.cli import page  # noqa: PLC0415
    except ImportError:
        asking.fail("a page needs the extra report: pip install 'kore-campaign-async[report]'", asking.WRONG)
    if (why := page.refusal(html)) is not None:
        asking.fail(why, asking.WRONG)
    try:
        page.write_page(look(run_dir, show_numbers=show_numbers), html)
    except OSError as error:
        asking.fail(f"{html} can't be written: {error.strerror}", asking.WRONG)
