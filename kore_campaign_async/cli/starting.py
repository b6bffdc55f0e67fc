"""Where the shell begins, before anything takes its time: until a run heeds signals itself, they end it in words."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

# What exits mean, by the command; `resume` and `amend` have contacts that wait since before.
_STATUS = {"push": 2, "amend": 4, "resume": 4}
_WITH_VALUE = ("--config", "--profile")


def main() -> None:
    """Run the shell."""
    stop = stopping(sys.argv[1:])
    if stop is not None:
        status, sentence = stop

        def leave(_signal: int, _frame: FrameType | None) -> None:
            # Nothing is written, locked or on its way yet, so that nothing has to be put in order.
            os.write(2, f"kore-campaign: {sentence}\n".encode(errors="backslashreplace"))
            os._exit(status)

        for one in SIGNALS:
            # What was told to ignore them, as by nohup, goes on with that.
            if signal.getsignal(one) is not signal.SIG_IGN:
                signal.signal(one, leave)
    from kore_campaign_async.cli.main import main as shell  # noqa: PLC0415  the handlers come first

    shell()


def stopping(words: Sequence[str]) -> tuple[int, str] | None:
    """The exit status and the sentence of a command that is stopped at its beginning; None of those that are no run."""
    rest = iter(words)
    for word in rest:
        if word in _WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            return _stopping(word, next(rest, ""))
    return None


def _stopping(name: str, behind: str) -> tuple[int, str] | None:
    status = _STATUS.get(name)
    if status is None:
        return None
    if name == "push":
        return status, "stopped before anything was sent"
    again = "give it again"
    if name == "resume" and behind and not behind.startswith("-") and behind.isprintable():
        import shlex  # noqa: PLC0415  only who is stopped needs it

        again = f"kore-campaign resume {shlex.quote(behind)} goes on with it"
    return status, f"stopped before anything was sent by this command; {again}"
