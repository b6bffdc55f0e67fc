"""A sandbox in a thread of its own, for tests of code that runs its event loop itself, or has none.

What looks at the sandbox or changes it is done in the sandbox's loop, so that it never meets a call half-way.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from typing import Any, Final, Self, TypeVar

from kore_campaign_async.sandbox.faults import Fault
from kore_campaign_async.sandbox.server import Sandbox, StoredList

T = TypeVar("T")

_PATIENCE_SECONDS: Final = 10.0


class SandboxThread:
    """Serves a `Sandbox` on loopback, until the `with` block ends; usable from any thread, async or not.

    Args:
        settings: those of `Sandbox`.
    """

    def __init__(self, **settings: Any) -> None:
        self._sandbox = Sandbox(**settings)
        self._started: Future[None] = Future()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        # A test that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="kore sandbox", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.result(_PATIENCE_SECONDS)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        if self._loop is not None and self._over is not None:
            self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(_PATIENCE_SECONDS)

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            if self._started.done():
                raise
            self._started.set_exception(error)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with self._sandbox:
            self._started.set_result(None)
            await self._over.wait()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the sandbox's loop, and return what it returns."""
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the sandbox is not running; use it as: with SandboxThread() as sandbox")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE_SECONDS)

    def _do(self, work: Callable[[], T]) -> T:
        async def do() -> T:
            return work()

        return self.run(do())

    @property
    def url(self) -> str:
        """Where the sandbox is served."""
        return self._sandbox.url

    @property
    def environment(self) -> dict[str, str]:
        """The variables that a client of this sandbox reads, its rate among them."""
        rate = self._sandbox.rate
        return {**self._sandbox.environment, "KORE_RATE": "none" if rate is None else f"{rate[0]}/{rate[1]:g}"}

    @property
    def faults(self) -> tuple[Fault, ...]:
        """How it misbehaves; they can be set anew at any time, and count from there."""
        return self._sandbox.faults

    @faults.setter
    def faults(self, faults: Iterable[Fault]) -> None:
        rules = tuple(faults)
        self._do(lambda: setattr(self._sandbox, "faults", rules))

    @property
    def faults_shown(self) -> Counter[str]:
        """How often each kind of fault was shown."""
        return self._do(lambda: Counter(self._sandbox.faults_shown))

    @property
    def calls(self) -> Counter[str]:
        """How many calls arrived, by endpoint, refused ones included."""
        return self._do(lambda: Counter(self._sandbox.calls))

    @property
    def throttled(self) -> int:
        """How many calls the rate limit refused."""
        return self._sandbox.throttled

    @property
    def worst_window(self) -> int:
        """The most calls that arrived within any window of the rate, refused ones included."""
        return self._sandbox.worst_window

    def make_list(self, name: str, description: str = "-", *, allow_duplicates: bool = False) -> str:
        """Make a list without a call, and return its id."""
        made = self._do(lambda: self._sandbox.make_list(name, description, allow_duplicates=allow_duplicates))
        return str(made.about["_id"])

    def settle(self) -> None:
        """Finish all jobs that are queued, now."""
        self.run(self._sandbox.settle())

    def contacts(self, name: str) -> list[dict[str, Any]]:
        """Finish all jobs, and return the contacts of the list of this name, in the order of their jobs.

        Raises:
            LookupError: there is no such list.
        """
        self.settle()
        return self._do(lambda: [dict(contact) for contact in self._named(name).contacts])

    def stored_times(self, number: str) -> int:
        """Finish all jobs, and return how often a number stands on the lists; a plus makes no difference."""
        self.settle()
        return self._do(lambda: self._sandbox.stored_times(number))

    def _named(self, name: str) -> StoredList:
        try:
            return self._sandbox.named(name)
        except StopIteration:
            names = ", ".join(repr(one.about["name"]) for one in self._sandbox.lists.values()) or "none"
        raise LookupError(f"the sandbox has no list named {name!r}; it has: {names}")
