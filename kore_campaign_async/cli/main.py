"""`kore-campaign`: the group of all commands."""

from __future__ import annotations

import os
import sys
from typing import Final

import click

from kore_campaign_async.cli import output
from kore_campaign_async.cli.commands import (
    amend,
    configured,
    create,
    demo,
    doctor,
    lists,
    push,
    report,
    resume,
    sandbox,
    update,
)

_COMPLETE: Final = "_KORE_CAMPAIGN_COMPLETE"


@click.group(
    commands=[amend, create, demo, doctor, lists, push, report, resume, sandbox, update],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="kore-campaign-async", prog_name="kore-campaign")
@configured
def kore_campaign() -> None:
    """Put contacts into Kore.ai campaign contact lists, and know what became of each one.

    The account is told by KORE_HOST, KORE_APP_ID, KORE_ACCOUNT_ID, and either KORE_CLIENT_ID with
    KORE_CLIENT_SECRET or KORE_AUTH_TOKEN, or by a file of settings; `kore-campaign doctor` checks them. `kore-campaign
    demo` needs none of them.
    """


def main() -> None:
    """Run the shell."""
    # Names in other scripts than the terminal's encoding knows must not end in a traceback.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    # What completes a word is read by the shell, and is bytes of our own words.
    if _COMPLETE not in os.environ:
        output.guard()
    kore_campaign(prog_name="kore-campaign", complete_var=_COMPLETE)
