"""`report`: what became of a run, from its directory."""

from __future__ import annotations

import sys
from pathlib import Path

from kore_campaign_async.cli import asking, saying
from kore_campaign_async.cli.look import look
from kore_campaign_async.cli.output import say, say_json
from kore_campaign_async.ingest.files import read_report


def report_command(*, run_dir: Path, as_json: bool, html: Path | None, show_numbers: bool) -> None:
    """Show the report of the run in RUN_DIR, also of one that is running or was killed."""
    with asking.told():
        if html is not None:
            _write_page(run_dir, html, show_numbers=show_numbers)
        report = read_report(run_dir) if as_json else None
        seen = look(run_dir, show_numbers=show_numbers) if report is None and html is None else None
    with asking.printing(failed=asking.FAILED):
        if html is not None:
            say(f"the page is in {html}", err=as_json)
        if report is not None:
            say_json(report.to_json())
        if seen is not None:
            saying.way_of(sys.stdout).show_look(seen)
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
