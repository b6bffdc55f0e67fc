"""The one way in which a program's own code is called: functions, iterables, hooks, values with methods of their own.

Whatever such code raises is its failure alone. A `CancelledError` or `GeneratorExit` of its own must not pass for a
cancellation of the task that called it, nor for the end of a generator: the pipeline would wait for that task forever.
`KeyboardInterrupt` and `SystemExit` stop a run in order, and are raised at its end.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from contextvars import ContextVar
from typing import Final, NoReturn, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Of an exception's own words: they can be a page, or a table.
_SHOWN_CHARACTERS: Final = 300


class CallbackError(Exception):
    """A program's own code raised something.

    Attributes:
        raised: what it was.
    """

    def __init__(self, raised: BaseException) -> None:
        super().__init__(raised)
        self.raised = raised

    def __str__(self) -> str:
        return described(self.raised)

    def reraise(self) -> NoReturn:
        """Raise what was raised where it is an Exception, which harms nothing, else this."""
        if isinstance(self.raised, Exception):
            raise self.raised from None
        raise self


class Interrupts:
    """Holds a KeyboardInterrupt or SystemExit of a program's own code until a run has stopped in order.

    Attributes:
        raised: the first one.
        on_raised: what stops the run; called with a sentence, in whatever thread.
    """

    def __init__(self) -> None:
        self.raised: BaseException | None = None
        self.on_raised: Callable[[str], object] = lambda _: None

    def hold(self, error: BaseException) -> None:
        """Hold it, and stop the run."""
        if self.raised is None:
            self.raised = error
            self.on_raised(f"the program's own code raised {described(error)}")


_interrupts: ContextVar[Interrupts | None] = ContextVar("kore_campaign_interrupts", default=None)


@contextlib.contextmanager
def holding_interrupts() -> Iterator[Interrupts]:
    """Hold what the body's callbacks raise of KeyboardInterrupt and SystemExit, and raise the first one behind it."""
    held = Interrupts()
    token = _interrupts.set(held)
    try:
        yield held
    finally:
        _interrupts.reset(token)
        if held.raised is not None:
            raise held.raised


def interrupts() -> Interrupts | None:
    """Who holds interrupts here; None outside of a run."""
    return _interrupts.get()


def failed(error: BaseException) -> CallbackError:
    """What is raised in the place of what a callback raised. An interrupt that nobody holds is raised itself."""
    if isinstance(error, CallbackError):
        return error
    if isinstance(error, KeyboardInterrupt | SystemExit):
        held = _interrupts.get()
        if held is None:
            raise error
        held.hold(error)
    return CallbackError(error)


def called(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a plain function of the program; CallbackError for whatever it raises."""
    try:
        return function(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001  nothing awaits here, so that even a cancellation is the function's own
        raised = error
    try:
        raise failed(raised)
    finally:
        del raised  # its traceback holds this frame, and the frame would hold it


async def awaited(work: Callable[[], Awaitable[T]]) -> T:
    """Await what an async function of the program returns; CallbackError for whatever it raises.

    A cancellation of the task that awaits is raised as it is.
    """
    task = asyncio.current_task()
    try:
        return await work()
    except asyncio.CancelledError as error:
        if task is None or task.cancelling():
            raise
        raised: BaseException = error
    except GeneratorExit as error:
        if asyncio.current_task() is not task:
            raise  # nobody runs this task any more: it is being torn down
        raised = error
    except BaseException as error:  # noqa: BLE001  whatever it is, it is the function's own
        raised = error
    try:
        raise failed(raised)
    finally:
        del raised  # its traceback holds this frame, and the frame would hold it


async def contained(work: Callable[[], Awaitable[T]]) -> T:
    """Await what can fail as the program's own code can: an Exception is raised as it is, all else as CallbackError."""
    try:
        return await awaited(work)
    except CallbackError as error:
        error.reraise()


def described(error: BaseException) -> str:
    """What was raised, in one line: its class, and its own words as far as it has some."""
    if isinstance(error, CallbackError):
        error = error.raised
    name = type(error).__name__
    try:
        words = " ".join(str(error).split())
    except BaseException:  # noqa: BLE001  its words are the program's own code too
        return name
    if len(words) > _SHOWN_CHARACTERS:
        words = f"{words[:_SHOWN_CHARACTERS]}…"
    return f"{name}: {words}" if words else name
