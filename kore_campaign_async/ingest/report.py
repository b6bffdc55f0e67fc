"""The account of a run: a pure fold over what was settled."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, Final, Literal, Self, TypeVar

import orjson
from attrs import asdict, astuple, define, evolve, field, fields, frozen

from kore_campaign_async.config import Plan
from kore_campaign_async.errors import AccountingError
from kore_campaign_async.ingest.escaping import escaped
from kore_campaign_async.ingest.records import Batch, Settled, State
from kore_campaign_async.redaction import masked

T = TypeVar("T")

#: Why a run is stopped as long as it goes on.
RUNNING: Final = "no end was recorded: the run is still going, or it was killed"


@frozen(kw_only=True)
class Counts:
    """How many contacts were read, and how many are in each state."""

    read: int = 0
    accepted: int = 0
    rejected: int = 0
    duplicate: int = 0
    suppressed: int = 0
    refused: int = 0
    uncertain: int = 0
    unsent: int = 0

    @property
    def settled(self) -> int:
        """The sum of the states."""
        return sum(getattr(self, state) for state in State)


@frozen(kw_only=True)
class Calls:
    """Attempts of `addContacts`: with a byte written, after a first one, and throttled."""

    sent: int = 0
    retried: int = 0
    throttled: int = 0


@frozen(kw_only=True)
class BudgetUse:
    """What a run had of the account's budget.

    Attributes:
        used: its attempts as a share of the calls that the limits allow in its time, 0.0 to 1.0; None without a limit.
        waited_seconds: how long its attempts waited because nothing of it was free, all of them together.
    """

    used: float | None = None
    waited_seconds: float = 0.0


@frozen(kw_only=True)
class BarredUse:
    """What a list of numbers that must not be called did in a run.

    Attributes:
        name: the file, or `do_not_contact`.
        sheet: of a workbook.
        numbers: how many it bars.
        in_source: how many of them were in the source.
    """

    name: str
    sheet: str | None
    numbers: int
    in_source: int


@frozen(kw_only=True)
class IngestReport:
    """What became of a run.

    Attributes:
        state: `finished`, or `stopped` before all was sent.
        seconds: from opening the source to the last outcome, waits included.
        contacts_per_second: accepted / seconds.
        source_exhausted: whether everything was taken from the source.
        stopped_because: one sentence, or None.
        notices: what a person should know of how the source was read.
        budget: what it used of the account's budget.
        do_not_contact: for each file or sheet of numbers that must not be called, what it did.
        plan: of a dry run, what a push would take.
    """

    run_id: str
    state: Literal["finished", "stopped"]
    contact_list: str
    source: str
    started_at: str
    finished_at: str
    counts: Counts
    calls: Calls
    seconds: float
    contacts_per_second: float
    source_exhausted: bool
    stopped_because: str | None = None
    notices: tuple[str, ...] = ()
    budget: BudgetUse = field(factory=BudgetUse)
    plan: Plan | None = None
    do_not_contact: tuple[BarredUse, ...] = ()

    def masked(self) -> Self:
        """The same without what could be a phone number in its sentences."""
        because = None if self.stopped_because is None else masked(self.stopped_because)
        return evolve(self, stopped_because=because, notices=tuple(map(masked, self.notices)))

    def to_json(self) -> bytes:
        """What `report.json` holds: text, whatever a file is called that contacts came from."""
        spelt = asdict(self, value_serializer=lambda _i, _a, value: _text_of(_list_of(value)))
        return orjson.dumps(spelt, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    def to_dict(self) -> dict[str, Any]:
        """The report as `report.json` holds it."""
        return asdict(self, value_serializer=lambda _i, _a, value: _list_of(value))

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_dict` made; fields of a newer version are passed over. KeyError, TypeError if it is none."""
        parts = {
            "counts": _known(Counts, value["counts"]),
            "calls": _known(Calls, value["calls"]),
            "notices": tuple(value.get("notices", ())),
            "budget": _known(BudgetUse, value.get("budget", {})),
            "do_not_contact": tuple(_known(BarredUse, one) for one in value.get("do_not_contact", ())),
            "plan": None if value.get("plan") is None else _known(Plan, value["plan"]),
        }
        return _known(cls, {**value, **parts})

    @property
    def is_possible(self) -> bool:
        """Whether a run can have come to this: what is read from a file need not be what a run wrote."""
        texts = (self.run_id, self.contact_list, self.source, self.started_at, self.finished_at, *self.notices)
        plan, budget = self.plan, self.budget
        counts = [*astuple(self.counts), *astuple(self.calls)]
        seconds = [self.seconds, self.contacts_per_second, budget.waited_seconds]
        if plan is not None:
            counts += [plan.contacts, plan.batches, plan.calls, *(() if plan.bytes is None else (plan.bytes,))]
            seconds += [] if plan.seconds is None else [plan.seconds]
            texts += (*plan.rate,)
        seconds += [] if budget.used is None else [budget.used]
        for use in self.do_not_contact:
            texts += (use.name, use.sheet or "")
            counts += [use.numbers, use.in_source]
        return (
            all(isinstance(text, str) for text in texts)
            and all(type(count) is int and count >= 0 for count in counts)
            and all(type(one) in {int, float} and math.isfinite(one) and one >= 0 for one in seconds)
            and isinstance(self.source_exhausted, bool)
            and (self.stopped_because is None or isinstance(self.stopped_because, str))
            and self.state == ("finished" if self.stopped_because is None else "stopped")
            and self.counts.read == self.counts.settled
        )

    @property
    def unended(self) -> bool:
        """Whether this is how a run stood that still goes on, or was killed."""
        return self.stopped_because == RUNNING

    @property
    def exit_status(self) -> int:
        """What the shell answers: 4 stopped, 3 uncertain, 1 rejected or refused, else 0."""
        if self.state == "stopped":
            return 4
        if self.counts.uncertain:
            return 3
        return 1 if self.counts.rejected or self.counts.refused else 0


def _list_of(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _text_of(value: Any) -> Any:
    if isinstance(value, list):
        return [*map(_text_of, value)]
    return escaped(value) if isinstance(value, str) else value


def _known(cls: type[T], value: Mapping[str, Any]) -> T:
    known = {one.name for one in fields(cls)}  # type: ignore[arg-type]  # attrs classes all
    return cls(**{name: item for name, item in dict(value).items() if name in known})


@define
class Tally:
    """Counts while a run goes on.

    `read` is counted where the source is read, the states where they are settled: two counts that must meet.
    """

    read: int = 0
    states: dict[State, int] = field(factory=lambda: dict.fromkeys(State, 0))
    sent: int = 0
    retried: int = 0
    throttled: int = 0
    waited_seconds: float = 0.0
    batches: int = 0
    bytes: int = 0

    def fold(self, settled: Settled) -> None:
        """Add contacts that are settled."""
        self.states[settled.state] += len(settled.rows)

    def plan(self, batch: Batch, frame_bytes: int) -> None:
        """Add a batch that a dry run does not send."""
        self.batches += 1
        self.bytes += frame_bytes + len(batch.encoded)

    @property
    def settled(self) -> int:
        """How many contacts are settled."""
        return sum(self.states.values())

    def counts(self, *, in_flight: int = 0) -> Counts:
        """The counts as they are now; contacts that are neither settled nor in flight count as unsent."""
        states = {state.value: count for state, count in self.states.items()}
        states["uncertain"] += in_flight
        states["unsent"] += self.read - self.settled - in_flight
        return Counts(read=self.read, **states)

    def check(self) -> None:
        """Raise AccountingError unless every contact read is settled."""
        if self.read != self.settled:
            raise AccountingError(f"{self.read} contacts were read, but {self.settled} are settled: please report this")

    def calls(self) -> Calls:
        """The calls as they are now."""
        return Calls(sent=self.sent, retried=self.retried, throttled=self.throttled)


def timestamp(moment: dt.datetime) -> str:
    """A moment as `report.json` writes it."""
    return moment.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
