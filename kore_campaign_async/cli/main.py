"""`kore-campaign`: the group of all commands."""

from __future__ import annotations

import sys

import click

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
    kore_campaign()
