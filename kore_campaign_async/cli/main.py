"""`kore-campaign`: the commands, each in a module of its own that is imported when it is asked for."""

from __future__ import annotations

import importlib
import sys
from typing import Final

import click

_COMMANDS: Final = {
    "create": "lists",
    "demo": "demo",
    "lists": "lists",
    "push": "push",
    "report": "report",
    "resume": "resume",
    "sandbox": "sandbox",
    "update": "lists",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(
            importlib.import_module(f"kore_campaign_async.cli.{module}"), f"{cmd_name}_command"
        )
        return command


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="kore-campaign-async", prog_name="kore-campaign")
def kore_campaign() -> None:
    """Put contacts into Kore.ai campaign contact lists, and know what became of each one.

    The account is told by KORE_HOST, KORE_APP_ID, KORE_ACCOUNT_ID, and either KORE_CLIENT_ID with
    KORE_CLIENT_SECRET or KORE_AUTH_TOKEN. `kore-campaign demo` needs none of them.
    """


def main() -> None:
    """Run the shell."""
    # Names in other scripts than the terminal's encoding knows must not end in a traceback.
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    kore_campaign()
