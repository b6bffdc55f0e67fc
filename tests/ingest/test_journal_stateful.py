"""The journal, the arithmetic of a resume and the splitting of batches, with a crash at any moment.

The model keeps a cell for every row and a line for every attempt; the package keeps ranges. The senders are played:
what a call comes to is drawn, and noted as `sending.py` notes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest
from attrs import define, evolve, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from kore_campaign_async import BatchLimits, State
from kore_campaign_async.errors import CallOutcome
from kore_campaign_async.ingest.batching import Batcher
from kore_campaign_async.ingest.journal import Journal, _Entry, read_calls, read_known
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.records import Batch, Settled, Slice
from kore_campaign_async.ingest.screen import Screen
from kore_campaign_async.ingest.screening import BarredList, BarredLists, NumbersSeen

T = TypeVar("T")

ROOM: Final = 1 << 20
DOUBT: Final = {None, State.UNCERTAIN}
LEFT_OUT: Final = {"bad": State.REJECTED, "again": State.DUPLICATE, "barred": State.SUPPRESSED}

#: How a call can end: its outcome, and whether it was throttled, or too large.
ENDS: Final = {
    "accepted": (CallOutcome.ACCEPTED, False, False),
    "maybe": (CallOutcome.MAYBE_PROCESSED, False, False),
    "not sent": (CallOutcome.NOT_SENT, False, False),
    "throttled": (CallOutcome.REFUSED, True, False),
    "refused": (CallOutcome.REFUSED, False, False),
    "too large": (CallOutcome.REFUSED, False, True),
}

limits = st.builds(BatchLimits, max_contacts=st.integers(1, 6), max_bytes=st.sampled_from([100, 200, ROOM]))
which = st.integers(0, 9)


def number(row: int) -> str:
    return f"+1415{5550000 + row}"


@define
class Line:
    """An attempt, as far as it is durable."""

    rows: Sequence[int]
    attempt: int
    outcome: CallOutcome | None = None
    throttled: bool = False
    state: State | None = None


@define(eq=False)
class Call:
    """A batch that a sender has in its hands.

    Attributes:
        line: the number of the last attempt.
        outcome: of the last attempt, once it has ended.
        in_doubt: whether an earlier attempt may have been processed.
    """

    batch: Batch
    line: int
    in_doubt: bool
    attempt: int = 1
    outcome: CallOutcome | None = None
    throttled: bool = False
    too_large: bool = False


def rows_known(lines: dict[int, Line]) -> dict[int, State | None]:
    """What is durable of each row: what was noted last, if it tells anything."""
    states: dict[int, State | None] = {}
    for _, line in sorted(lines.items()):
        if line.state is not None or line.outcome in {None, CallOutcome.MAYBE_PROCESSED}:
            states |= dict.fromkeys(line.rows, line.state)
        elif line.outcome is CallOutcome.ACCEPTED:
            states |= dict.fromkeys(line.rows, State.ACCEPTED)
    return states


@define
class Part:
    """A process: all of it is lost in a crash.

    Attributes:
        lines: how many there were when it began.
    """

    screen: Screen
    resend: bool
    lines: int
    next_row: int = 1
    waiting: list[Batch] = field(factory=list)
    calls: list[Call] = field(factory=list)
    settled: dict[int, State] = field(factory=dict)


class Crashes(RuleBasedStateMachine):
    """One run, in as many parts as it takes.

    Attributes:
        keeps: whether the list keeps duplicates.
        lines: the durable attempts, by their number.
        noted: what is noted and becomes durable with the next thing that does.
        taken: rows of calls that the server may have processed, whatever is known of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.closing = contextlib.ExitStack()
        self.closing.callback(self.loop.close)
        self.folder = Path(self.closing.enter_context(tempfile.TemporaryDirectory()))
        self.lines: dict[int, Line] = {}
        self.noted: list[tuple[int, CallOutcome, bool]] = []
        self.taken: set[int] = set()

    def wait(self, what: Callable[[], Awaitable[T]]) -> T:
        async def waited() -> T:
            return await what()

        return self.loop.run_until_complete(waited())

    # The run and its parts

    @initialize(
        kinds=st.lists(st.sampled_from(["valid", "valid", "valid", *LEFT_OUT]), min_size=16, max_size=50),
        keeps=st.booleans(),
        limits=limits,
    )
    def push(self, kinds: list[str], keeps: bool, limits: BatchLimits) -> None:
        self.keeps = keeps
        # What is the first of its number is no duplicate.
        self.kinds = {row: kind if "valid" in kinds[: row - 1] else "valid" for row, kind in enumerate(kinds, 1)}
        self.records = [[self.text_of(row)] for row in self.kinds]
        self.valid = [row for row, kind in self.kinds.items() if kind == "valid"]
        self.barred = {int(number(row)) for row, kind in self.kinds.items() if kind == "barred"}
        self.journal = self.wait(self.opened(Journal.create, {}))
        self.part = self.new_part(limits, resend=False)

    def text_of(self, row: int) -> str:
        if self.kinds[row] == "bad":
            return "nobody"
        if self.kinds[row] == "again":
            valid = [one for one in range(1, row) if self.kinds[one] == "valid"]
            return number(valid[row % len(valid)]).removeprefix("+")
        return number(row)

    def opened(self, way: Callable[..., Journal], *more: Any) -> Callable[[], Awaitable[Journal]]:
        async def opened() -> Journal:
            return way(self.folder, *more)

        return opened

    def new_part(self, limits: BatchLimits, *, resend: bool) -> Part:
        normaliser = Normaliser(match(["phone"], {}), {}, ROOM)
        screen = Screen(
            normaliser, BarredLists([BarredList("dnc", None, self.barred)]), NumbersSeen(), Batcher(limits, 0)
        )
        screen.known, screen.resend = read_known(self.folder), resend
        return Part(screen, resend, len(self.lines))

    @precondition(lambda self: len(self.lines) > self.part.lines or not self.is_something_left())
    @rule(orderly=st.booleans(), limits=limits, resend=st.booleans())
    def crash(self, orderly: bool, limits: BatchLimits, resend: bool) -> None:
        """End, perhaps in order, and begin the next part."""
        self.begin_anew(limits, orderly=orderly, resend=resend)

    def begin_anew(self, limits: BatchLimits, *, orderly: bool, resend: bool) -> None:
        for call in self.part.calls:
            if call.outcome is None:
                self.taken.update(call.batch.rows)
        if orderly:
            self.note_durably()
        else:
            self.noted, self.journal._ended = [], []
        self.journal.close()
        self.check_what_is_known()
        self.journal = self.wait(self.opened(Journal.open))
        self.part = self.new_part(limits, resend=resend and not self.keeps)

    def is_something_left(self) -> bool:
        return self.part.next_row <= len(self.records) or bool(self.part.waiting)

    # Reading

    @precondition(lambda self: self.is_something_left())
    @rule(count=st.integers(1, 8), learnt=st.none() | st.tuples(st.integers(0, 20), st.integers(0, 600)))
    def read(self, count: int, learnt: tuple[int, int] | None) -> None:
        """Read a slice, if there is one, perhaps after something was learnt of the server's limits."""
        part = self.part
        if learnt is not None:
            part.screen.batcher.learn(*learnt)
        if part.next_row > len(self.records):
            return
        records = self.records[part.next_row - 1 : part.next_row - 1 + count]
        self.route(part.screen.take(Slice(part.next_row, records)))
        part.next_row += len(records)
        if part.next_row > len(self.records):
            self.route(part.screen.batcher.flush())

    def route(self, items: Sequence[Batch | Settled]) -> None:
        for item in items:
            if isinstance(item, Batch):
                self.part.waiting.append(item)
            else:
                self.settle_here(item.rows, item.state)
                assert [record for _, _, record in item.entries()] == [self.records[row - 1] for row in item.rows]

    def settle_here(self, rows: Sequence[int], state: State) -> None:
        assert self.part.settled.keys().isdisjoint(rows), "a row in two states"
        if state in {State.REFUSED, State.UNSENT}:
            assert self.taken.isdisjoint(rows), "somebody in doubt is told to be on no list"
        self.part.settled |= dict.fromkeys(rows, state)

    # Sending

    @precondition(lambda self: self.is_something_left())
    @rule(which=which)
    def send(self, which: int) -> None:
        if (batch := self.next_batch(which)) is not None:
            self.check_batch(batch)
            self.part.calls.append(Call(batch, self.intend(batch, 1), batch.in_doubt))

    def next_batch(self, which: int) -> Batch | None:
        while not self.part.waiting and self.part.next_row <= len(self.records):
            self.read(5, None)
        return self.part.waiting.pop(which % len(self.part.waiting)) if self.part.waiting else None

    def check_batch(self, batch: Batch) -> None:
        first, last = batch.rows[0], batch.rows[-1]
        assert list(batch.rows) == [row for row in self.valid if first <= row <= last], "a range over other rows"
        assert list(batch.records) == [self.records[row - 1] for row in batch.rows]
        assert self.part.settled.keys().isdisjoint(batch.rows)
        # What is noted becomes durable together with this batch's own intent.
        lines = {line: evolve(one) for line, one in self.lines.items()}
        for line, outcome, _ in self.noted:
            lines[line].outcome = outcome
        states = rows_known(lines)
        for row in batch.rows:
            assert row not in states or (self.part.resend and states[row] in DOUBT)
            assert batch.in_doubt or row not in states
        if not self.part.resend:
            assert self.taken.isdisjoint(batch.rows), "somebody is called twice"

    def intend(self, batch: Batch, attempt: int) -> int:
        line = self.wait(lambda: self.journal.intend(batch.number, batch.rows, attempt))
        self.note_durably()
        assert line not in self.lines
        self.lines[line] = Line(batch.rows, attempt)
        return line

    @precondition(lambda self: self.is_something_left())
    @rule(which=which)
    def cancel_an_intent(self, which: int) -> None:
        """It is durable all the same, and that nothing was sent is noted."""
        batch = self.next_batch(which)
        if batch is None:
            return

        async def cancelled() -> None:
            intent = asyncio.create_task(self.journal.intend(batch.number, batch.rows, 1))
            await asyncio.sleep(0)
            intent.cancel()
            with pytest.raises(asyncio.CancelledError):
                await intent
            done = asyncio.get_running_loop().create_future()
            self.journal._work.put(_Entry([], done))
            await done

        self.wait(cancelled)
        self.note_durably()
        line = max(self.lines, default=0) + 1
        self.lines[line] = Line(batch.rows, 1)
        self.noted.append((line, CallOutcome.NOT_SENT, False))
        self.settle_here(batch.rows, batch.unsent_state)

    def note_durably(self) -> None:
        for line, outcome, throttled in self.noted:
            self.lines[line].outcome, self.lines[line].throttled = outcome, throttled
        self.noted = []

    def calls(self, *, ended: bool) -> list[Call]:
        return [call for call in self.part.calls if (call.outcome is not None) == ended]

    @precondition(lambda self: self.is_something_left() or self.calls(ended=False))
    @rule(ends=st.lists(st.tuples(which, st.sampled_from(sorted(ENDS)), st.booleans(), st.booleans()), min_size=1))
    def work(self, ends: list[tuple[int, str, bool, bool]]) -> None:
        """Calls end, one after another, and go out where there are none."""
        for which, how, goes_on, gives_up in ends:
            if not self.calls(ended=False):
                self.send(which)
            if calls := self.calls(ended=False):
                self.end(calls[which % len(calls)], how, goes_on=goes_on, gives_up=gives_up)

    def end(self, call: Call, how: str, *, goes_on: bool, gives_up: bool) -> None:
        """A call ends, and its sender goes on, or has not come to it yet."""
        call.outcome, call.throttled, call.too_large = ENDS[how]
        self.journal.ended(call.line, call.outcome, throttled=call.throttled)
        self.noted.append((call.line, call.outcome, call.throttled))
        if call.outcome in {CallOutcome.ACCEPTED, CallOutcome.MAYBE_PROCESSED}:
            self.taken.update(call.batch.rows)
        if goes_on:
            self.go_on_with(call, gives_up=gives_up)

    @precondition(lambda self: self.calls(ended=True))
    @rule(which=which, gives_up=st.booleans())
    def go_on(self, which: int, gives_up: bool) -> None:
        calls = self.calls(ended=True)
        self.go_on_with(calls[which % len(calls)], gives_up=gives_up)

    def go_on_with(self, call: Call, *, gives_up: bool) -> None:
        """The sender repeats, splits, settles or leaves a call, as it does."""
        batch = call.batch
        call.in_doubt |= call.outcome is CallOutcome.MAYBE_PROCESSED
        if call.outcome is CallOutcome.ACCEPTED:
            self.settle(call, State.ACCEPTED)
        elif call.outcome is CallOutcome.REFUSED and not call.throttled:
            if call.too_large and len(batch.rows) > 1:
                self.split(call)
            else:
                self.settle(call, State.UNCERTAIN if call.in_doubt else State.REFUSED)
        elif not gives_up and (self.part.resend or not call.in_doubt):
            call.attempt += 1
            call.outcome = None
            call.line = self.intend(batch, call.attempt)
        elif call.in_doubt:
            self.settle(call, State.UNCERTAIN)
        else:
            self.part.calls.remove(call)
            self.settle_here(batch.rows, State.UNSENT)

    def split(self, call: Call) -> None:
        self.part.calls.remove(call)
        self.part.screen.batcher.learn(len(call.batch.rows), len(call.batch.encoded))
        halves = evolve(call.batch, in_doubt=call.in_doubt).halves()
        assert [*halves[0].rows, *halves[1].rows] == list(call.batch.rows)
        self.part.waiting[:0] = halves

    def settle(self, call: Call, state: State) -> None:
        self.wait(lambda: self.journal.settle(call.line, state, "why"))
        self.note_durably()
        self.lines[call.line].state = state
        self.part.calls.remove(call)
        self.settle_here(call.batch.rows, state)

    # What holds

    def known_rows(self) -> dict[int, State | None]:
        return rows_known(self.lines)

    @invariant()
    def check_what_is_known(self) -> None:
        known = read_known(self.folder)
        assert all(one.first_row <= one.last_row for one in known)
        assert all(before.last_row < after.first_row for before, after in itertools.pairwise(known))
        rows = {row: one.state for one in known for row in self.valid if one.first_row <= row <= one.last_row}
        assert rows == self.known_rows()
        lines = self.lines.values()
        assert read_calls(self.folder) == {
            "sent": sum(line.outcome is not CallOutcome.NOT_SENT for line in lines),
            "retried": sum(line.attempt > 1 for line in lines),
            "throttled": sum(line.throttled for line in lines),
        }

    def teardown(self) -> None:
        """Go on without a further mishap; then each row is in the state that it should be in."""
        with self.closing:
            self.begin_anew(BatchLimits(max_contacts=7), orderly=False, resend=True)
            before = self.known_rows()
            while self.is_something_left():
                self.work([(0, "accepted", True, False)])
            self.journal.close()
            assert self.part.settled == {row: self.state_at_the_end(row, before) for row in self.kinds}
            assert self.known_rows().keys() == set(self.valid)
            self.check_what_is_known()

    def state_at_the_end(self, row: int, before: dict[int, State | None]) -> State:
        if row not in self.valid:
            return LEFT_OUT[self.kinds[row]]
        if row not in before:
            return State.ACCEPTED
        state = before[row]
        if state is State.ACCEPTED or state is State.REFUSED:
            return state
        return State.UNCERTAIN if self.keeps else State.ACCEPTED


def test_whatever_happens_when_each_row_is_known_as_what_it_is_and_sent_again_only_if_it_may_be() -> None:
    run_state_machine_as_test(
        Crashes,
        settings=settings(
            max_examples=80,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
