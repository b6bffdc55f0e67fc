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
    """Make a coroutine function that returns an exit status a click callback."""

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


class RatesType(click.ParamType[str]):
    """A rate such as 60/60, or none."""

    name = "CALLS/SECONDS"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check one of them; `rates` reads them all."""
        try:
            parse_rates((value,))
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value)


def rates(texts: tuple[str, ...]) -> tuple[RateLimit, ...]:
    """Read all rates of a command line; a usage error if they exclude each other."""
    try:
        return parse_rates(texts)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
