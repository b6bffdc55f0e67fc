"""`sandbox`: a local server of the API, until it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import signal
from typing import Any

import click

from kore_campaign_async.cli import asking
from kore_campaign_async.config import RateLimit


def _faults(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> tuple[Any, ...]:
    if not texts:
        return ()
    from kore_campaign_async.sandbox.faults import Fault  # noqa: PLC0415  a server is imported when it serves

    try:
        return tuple(map(Fault.parse, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("sandbox")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0 takes a free one.")
@click.option(
    "--rate",
    default="60/60",
    show_default=True,
    callback=asking.rates,
    metavar="CALLS/SECONDS",
    help="The account's limit; none for no limit.",
)
@click.option(
    "--fault",
    "faults",
    multiple=True,
    callback=_faults,
    metavar="KIND@EVERY",
    help="Fail every so many calls that add contacts, such as close@10; a KIND that is not known lists them all.",
)
@asking.command
async def sandbox_command(*, port: int, rate: tuple[RateLimit, ...], faults: tuple[Any, ...]) -> int:
    """Serve the API on this machine, with an account of its own, until interrupted.

    It prints the environment variables that lead the other commands to it.
    """
    from kore_campaign_async.sandbox import Sandbox  # noqa: PLC0415  a server is imported when it serves

    limit = (rate[0].calls, rate[0].seconds) if rate else None
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # where loops take no signals, Ctrl-C still interrupts
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    try:
        async with Sandbox(port=port, rate=limit, faults=faults) as sandbox:
            for variable, value in sandbox.environment.items():
                click.echo(f"export {variable}={shlex.quote(value)}")
            click.echo("# copy these lines into another terminal; Ctrl-C stops the sandbox", err=True)
            await stopped.wait()
    except OSError as error:
        asking.fail(f"the sandbox can't be served on port {port}: {error.strerror}", asking.WRONG)
    return 0
