"""A run as a stream of outcomes. It knows how to start a run and what a sink is handed, nothing else of runs.

The run is a task of its own, which the stream's end holds on to until it is over: a task that nobody holds can be torn
down by the garbage collector amid its calls. A stream that is left before its end is finalised: its run stops in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import warnings
import weakref
from collections.abc import Awaitable, Callable, Iterator
from itertools import chain
from typing import Final, Self

from kore_campaign_async.ingest.records import Outcome, Settled
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.run import Sink
from kore_campaign_async.ingest.sources.base import Source
from kore_campaign_async.redaction import without_words

logger = logging.getLogger("kore_campaign_async")

_LEFT: Final = (
    "an iteration over iter_outcomes was left before its end, so its run is stopped: calls in flight are settled, and"
    " nothing else is sent. Write `async with iter_outcomes(…) as outcomes:`, which waits for that"
)

Groups = asyncio.Queue[tuple[Source, Settled]]

# What a run came to; an exception is returned, since a KeyboardInterrupt that a task raises ends the event loop.
_RunTask = asyncio.Task[IngestReport | BaseException]

# The event loop holds its tasks weakly.
_running: Final[set[_RunTask]] = set()


class OutcomeStream:
    """An async iterator over a run's outcomes.

    Iterate it inside of `async with`: leaving it early then stops the run, and waits until it is settled. Without that
    the run is stopped in order as well, but behind the program's back: a ResourceWarning tells of it.

    Attributes:
        report: the run's report, once the iteration has come to its end; None before.
    """

    def __init__(self, start: Callable[[Sink], Awaitable[IngestReport]]) -> None:
        self.report: IngestReport | None = None
        self._start = start
        self._groups: Groups = asyncio.Queue(1)
        self._rows: Iterator[Outcome] = iter(())
        self._run: _RunTask | None = None
        self._left: weakref.finalize[[asyncio.AbstractEventLoop, _RunTask], OutcomeStream] | None = None
        self._over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        while (outcome := next(self._rows, None)) is None:
            if self._over:
                raise StopAsyncIteration
            run = self._run if self._run is not None else self._begin()
            try:
                group = await self._next_group(run)
            except asyncio.CancelledError:
                await self.aclose()
                raise
            if group is not None:
                self._rows = chain(self._rows, _outcomes(*group))
            elif not self._over:
                self._end(run)
        return outcome

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the run if it still goes on: what is in flight ends as uncertain, the rest unsent."""
        run, self._run, self._over, self._rows = self._run, None, True, iter(())
        if run is None:
            return
        self._let_go()
        run.cancel()
        cancelled = await _until(run)
        if cancelled:
            raise asyncio.CancelledError
        if not run.cancelled() and isinstance(error := run.result(), KeyboardInterrupt | SystemExit):
            raise error

    def _begin(self) -> _RunTask:
        # Neither the run nor its end knows the stream, so that the stream is let go where nobody iterates it any more.
        self._run = run = asyncio.ensure_future(_executed(self._start, self._groups))
        _running.add(run)
        run.add_done_callback(_running.discard)
        self._left = weakref.finalize(self, _stop, asyncio.get_running_loop(), run)
        self._left.atexit = False
        return run

    def _let_go(self) -> None:
        if self._left is not None:
            self._left.detach()

    async def _next_group(self, run: _RunTask) -> tuple[Source, Settled] | None:
        """What is settled next; None once the run is over."""
        getting = asyncio.ensure_future(self._groups.get())
        try:
            await asyncio.wait((getting, run), return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not getting.done():
                getting.cancel()
        return getting.result() if getting.done() else None

    def _end(self, run: _RunTask) -> None:
        """Take the report, or raise what the run ended in."""
        self._run, self._over = None, True
        self._let_go()
        came_to = run.result()
        if isinstance(came_to, BaseException):
            raise came_to
        self.report = came_to


async def _executed(start: Callable[[Sink], Awaitable[IngestReport]], groups: Groups) -> IngestReport | BaseException:
    try:
        return await start(lambda source, settled: groups.put((source, settled)))
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001  raised where it is iterated
        return error


def _outcomes(source: Source, settled: Settled) -> Iterator[Outcome]:
    for row, reason, record in settled.entries():
        yield Outcome(row, settled.state, reason, source.fields(record))


def _stop(loop: asyncio.AbstractEventLoop, run: _RunTask) -> None:
    """Stop the run of a stream that is no more. The garbage collector calls this, in whatever thread and moment."""
    if run.done():
        return
    # Where the loop has ended, it has cancelled its tasks.
    with contextlib.suppress(RuntimeError):
        loop.call_soon_threadsafe(_cancel, run)
    warnings.warn(_LEFT, ResourceWarning, stacklevel=3)


def _cancel(run: _RunTask) -> None:
    # Most programs show no ResourceWarning.
    logger.warning(
        "an iteration over iter_outcomes was left before its end, so its run is stopped; write async with iter_outcomes"
    )
    run.add_done_callback(_tell)
    run.cancel()


def _tell(run: _RunTask) -> None:
    """Say what a run ended in that nobody asks any more."""
    if not run.cancelled() and isinstance(error := run.result(), BaseException):
        logger.error("a run whose outcomes nobody takes any more ended in %s", without_words(error))


async def _until(run: _RunTask) -> bool:
    """Wait until a run that is cancelled has ended; a cancellation meanwhile cuts its calls off, and is told."""
    cancelled = False
    while not run.done():
        try:
            await asyncio.wait((run,))
        except asyncio.CancelledError:
            cancelled = True
            run.cancel()
    return cancelled
