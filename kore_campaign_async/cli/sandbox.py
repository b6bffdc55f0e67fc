"""`sandbox`: a local server of the API, until it is interrupted."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal

import click

from kore_campaign_async.cli import asking
from kore_campaign_async.cli.output import say
from kore_campaign_async.config import RateLimit
from kore_campaign_async.sandbox import Fault, Sandbox


def faults(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> tuple[Fault, ...]:
    """Read the faults that are asked for."""
    try:
        return tuple(map(Fault.parse, texts))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@asking.command
async def sandbox_command(*, port: int, rate: tuple[RateLimit, ...], faults: tuple[Fault, ...]) -> int:
    """Serve the API on this machine, with an account of its own, until interrupted."""
    limit = (rate[0].calls, rate[0].seconds) if rate else None
    stopped = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # where loops take no signals, Ctrl-C still interrupts
            asyncio.get_running_loop().add_signal_handler(name, stopped.set)
    try:
        async with Sandbox(port=port, rate=limit, faults=faults) as sandbox:
            for variable, value in sandbox.environment.items():
                say(f"export {variable}={shlex.quote(value)}")
            # A file of settings would overrule them, and lead to an account that is none of the sandbox's.
            say("unset KORE_CONFIG KORE_PROFILE")
            say("# copy these lines into another terminal; Ctrl-C stops the sandbox", err=True)
            await stopped.wait()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        asking.fail(f"the sandbox can't be served on port {port}: {why}; take another with --port", asking.WRONG)
    return 0
