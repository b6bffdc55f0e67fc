"""What the commands share: running a coroutine, and turning what went wrong into a sentence and a status."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn, ParamSpec

import click

from kore_campaign_async.config import RateLimit, parse_rates
from kore_campaign_async.errors import CallError, KoreCampaignError

P = ParamSpec("P")

FAILED = 1
WRONG = 2


def command(body: Callable[P, Coroutine[Any, Any, int]]) -> Callable[P, None]:
    """Make a coroutine function that returns an exit status a function that runs it and exits."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            status = asyncio.run(body(*args, **kwargs))
        except CallError as error:
            fail(str(error), FAILED)
        except (KoreCampaignError, ValueError) as error:
            # Settings that contradict themselves are ValueErrors with a sentence of ours.
            fail(str(error), WRONG)
        sys.exit(status)

    return run


def fail(sentence: str, status: int) -> NoReturn:
    """Say what is wrong on standard error, and exit."""
    click.echo(f"kore-campaign: {sentence}", err=True)
    sys.exit(status)


def rates(_ctx: click.Context, _param: click.Parameter, texts: str | tuple[str, ...]) -> tuple[RateLimit, ...] | None:
    """Read the rates of an option; None where it was not given."""
    if not texts:
        return None
    try:
        return parse_rates((texts,) if isinstance(texts, str) else texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
