"""`lists`, `create` and `update`: one call each."""

from __future__ import annotations

from typing import Any, Final

import orjson

from kore_campaign_async.cli import asking
from kore_campaign_async.cli.output import say, say_json
from kore_campaign_async.cli.sanitize import NAMES, legible
from kore_campaign_async.config import RetryPolicy
from kore_campaign_async.errors import MaybeProcessedError

# Who waits at a terminal would rather know than wait for a minute, as a run does.
_PATIENCE: Final = RetryPolicy(deadline_seconds=10.0)


def _print_json(value: Any) -> None:
    with asking.printing(failed=asking.FAILED):
        say_json(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


@asking.command
async def lists_command(*, as_json: bool) -> int:
    """Show the contact lists of the application."""
    async with asking.client(retry=_PATIENCE) as client:
        found = await client.list_contact_lists()
    if as_json:
        _print_json([one.raw for one in found])
        return 0
    from kore_campaign_async.cli import drawing  # noqa: PLC0415  rich is imported when it draws

    with asking.printing(failed=asking.FAILED):
        drawing.show_lists(found)
    return 0


@asking.command
async def create_command(*, name: str, description: str, allow_duplicates: bool, as_json: bool) -> int:
    """Create a contact list called NAME (1 to 48 characters)."""
    async with asking.client(retry=_PATIENCE) as client:
        try:
            made = await client.create_contact_list(name, description, allow_duplicates=allow_duplicates)
        except MaybeProcessedError as error:
            advice = "the list may have been made: look with kore-campaign lists before you try again"
            asking.tell(error, advice=advice)
    if as_json:
        _print_json(made.raw)
    else:
        say(f"created {legible(repr(made.name), NAMES)}: {legible(made.id, NAMES)}")
    return 0


@asking.command
async def update_command(
    *,
    contact_list_id: str,
    name: str | None,
    description: str | None,
    allow_duplicates: bool | None,
    source: str | None,
    as_json: bool,
) -> int:
    """Update the contact list with this ID; what is left out stays as it is."""
    async with asking.client(retry=_PATIENCE) as client:
        updated = await client.update_contact_list(
            contact_list_id,
            name=name,
            description=description,
            allow_duplicates=allow_duplicates,
            source=source,
        )
    if as_json:
        _print_json(updated.raw)
    else:
        said = f": {legible(updated.message, NAMES)}" if updated.message else ""
        say(f"updated {legible(updated.contact_list_id, NAMES)}{said}")
    return 0
