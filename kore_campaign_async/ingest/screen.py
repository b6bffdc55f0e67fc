"""Everything between a slice and its batches. It never waits, and calls nobody."""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from attrs import define, field

from kore_campaign_async.callbacks import CallbackError, called
from kore_campaign_async.ingest.batching import Batcher, as_objects
from kore_campaign_async.ingest.normalise import Normaliser, Sorted
from kore_campaign_async.ingest.records import SENT_BEFORE, Batch, Record, Settled, Slice, State, TableSlice
from kore_campaign_async.ingest.resume_ranges import Known, range_from, range_of
from kore_campaign_async.ingest.screening import BarredLists
from kore_campaign_async.redaction import without_words

logger = logging.getLogger("kore_campaign_async.runs")


class Seen(Protocol):
    """Remembers the row at which each number came first."""

    def first_rows(self, keys: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
        """Note numbers' rows; return the row at which each came first: `rows` itself if all are new."""
        ...


@define
class Question:
    """The caller's own function that tells of a number whether it must not be called; asked once for each.

    Attributes:
        function: gets the number as E.164.
        barred: rows that it barred, until they are taken from here.
        failed: what went wrong with it. It is not asked again then, and nobody is called unasked.
        is_over: whether it is not asked any more, since the run ends; set from outside, also while it is asked.
        before: rows that it barred before the run was resumed, behind all that was sent. It is asked about them anew,
            and where it can't be, they stay barred.
    """

    function: Callable[[str], Any]
    barred: list[int] = field(factory=list, init=False)
    failed: str | None = field(default=None, init=False)
    is_over: bool = field(default=False, init=False)
    before: AbstractSet[int] = frozenset()

    def of(self, keys: Iterable[int], rows: Sequence[int]) -> list[bool] | None:
        """Whether each number is barred; None if nobody can tell."""
        answers: list[bool] = []
        try:
            for key in keys:
                if self.is_over:
                    return None
                answers.append(called(self._answer, key))
        except CallbackError as error:
            row = rows[len(answers)]
            logger.warning("do_not_contact failed at row %d: %s", row, without_words(error.raised))
            self.failed = f"do_not_contact failed at row {row}: {error}"
            self.is_over = True
            return None
        return answers

    def _answer(self, key: int) -> bool:
        answer = self.function(f"+{key}")
        if isinstance(answer, Awaitable):
            if isinstance(answer, Coroutine):
                answer.close()  # it would warn that nobody awaited it
            raise TypeError("it returned an awaitable; do_not_contact takes plain functions")
        return bool(answer)


@define
class Screen:
    """Everything between a slice and its batches; it never waits.

    Attributes:
        seen: the numbers so far; None where duplicates are sent.
        known: what an earlier part of this run did with ranges of rows.
        resend: whether what may have been processed then is sent again.
        question: to the caller's own function, if there is one.
        sent_before: numbers that a run which this one amends has sent, with its name.
        left_before: rows that were left out for that, by the run that sent them, until they are taken from here.
        doubtful: how many contacts are to be sent again of those that may have been processed.
    """

    normaliser: Normaliser
    suppressed: BarredLists
    seen: Seen | None
    batcher: Batcher
    known: Sequence[Known] = ()
    resend: bool = False
    question: Question | None = None
    sent_before: Mapping[str, AbstractSet[int]] = field(factory=dict)
    left_before: dict[str, list[int]] = field(factory=dict, init=False)
    doubtful: int = field(default=0, init=False)

    @property
    def takes_long(self) -> bool:
        """Whether even a small slice takes longer than the event loop should stand still."""
        return self.normaliser.numbering is not None or self.question is not None

    def take(self, part: Slice | TableSlice) -> list[Batch | Settled]:
        """Sort a slice's records into full batches and what is settled without a call."""
        assert isinstance(part, Slice)  # noqa: S101  who takes tables is made for them
        found = self.normaliser.sort(part)
        made: list[Batch | Settled] = []
        if found.rejected:
            made.append(rejected(found.rejected))
        if not self.suppressed.isdisjoint(found.keys):
            barred = [index for index, key in enumerate(found.keys) if key in self.suppressed]
            self.suppressed.meet([found.keys[index] for index in barred])
            made.append(_left_out(State.SUPPRESSED, found, barred, "suppressed"))
            found = found.without(barred)
        if self.seen is not None:
            first = self.seen.first_rows(found.keys, found.rows)
            again: list[int] = []
            if first is not found.rows:
                again = [index for index, row in enumerate(found.rows) if first[index] != row]
            if again:
                reasons = [f"duplicate of row {first[index]}" for index in again]
                made.append(_left_out(State.DUPLICATE, found, again, reasons))
                found = found.without(again)
        return made + self.feed(found.keys, found.rows, found.contacts, found.records, found.encode or as_objects)

    def feed(
        self,
        keys: Any,
        rows: Sequence[int],
        contacts: Any,
        records: Sequence[Record],
        encode: Callable[[Any], bytes] = as_objects,
    ) -> list[Batch | Settled]:
        """Batch what is to be sent, and settle what an earlier part of this run has settled."""
        if not self.known or not rows or rows[0] > self.known[-1].last_row:
            return self._send(keys, rows, contacts, records, encode)
        made: list[Batch | Settled] = []
        begin = 0
        while begin < len(rows):
            known, end = self._range_at(rows, begin)
            part = keys[begin:end], rows[begin:end], contacts[begin:end], records[begin:end]
            in_doubt = known is not None and known.in_doubt
            if known is None or (in_doubt and self.resend):
                made += self._send(*part, encode, known if in_doubt else None)
            else:
                # A batch is a range of rows: it must not reach over rows that are settled.
                made += self.batcher.flush()
                state = known.state if known.state is not None else State.UNCERTAIN
                made.append(Settled(state, part[1], part[3], known.reason))
            begin = end
        return made

    def _send(
        self,
        keys: Any,
        rows: Sequence[int],
        contacts: Any,
        records: Sequence[Record],
        encode: Callable[[Any], bytes],
        doubt: Known | None = None,
    ) -> list[Batch | Settled]:
        """Batch what is to be sent, but for what a run that this one amends has sent.

        There is a doubt where an earlier call of this run may have processed these contacts: they were not left out.
        """
        sent: dict[int, str] = {}
        for run_id, numbers in self.sent_before.items() if doubt is None else ():
            if not numbers.isdisjoint(keys):
                sent |= {index: run_id for index, key in enumerate(keys) if key in numbers}
        if not sent:
            return self._ask(keys, rows, contacts, records, encode, doubt)
        made: list[Batch | Settled] = []
        begin = 0
        left_out = sorted(sent)
        for index in (*left_out, len(rows)):
            if begin < index:
                part = slice(begin, index)
                made += self._ask(keys[part], rows[part], contacts[part], records[part], encode)
            begin = index + 1
        for index in left_out:
            self.left_before.setdefault(sent[index], []).append(rows[index])
        made.append(
            Settled(
                State.DUPLICATE,
                [rows[index] for index in left_out],
                [records[index] for index in left_out],
                [f"{SENT_BEFORE}: {sent[index]}" for index in left_out],
            )
        )
        return made

    def _ask(
        self,
        keys: Any,
        rows: Sequence[int],
        contacts: Any,
        records: Sequence[Record],
        encode: Callable[[Any], bytes],
        doubt: Known | None = None,
    ) -> list[Batch | Settled]:
        """Batch what is to be sent, but for what the caller's own function bars."""
        in_doubt = doubt is not None
        if in_doubt:
            self.doubtful += len(rows)
        answers = None if self.question is None else self.question.of(keys, rows)
        if self.question is None or (answers is not None and not any(answers)):
            return [*self.batcher.feed(rows, contacts, records, in_doubt=in_doubt, encode=encode)]
        state = State.UNSENT if answers is None else State.SUPPRESSED
        reason = "" if answers is None else "suppressed"
        if doubt is not None:
            state, reason = State.UNCERTAIN, doubt.reason
        if answers is None and in_doubt:
            return [Settled(state, rows, records, reason)]
        if answers is None:
            return self._unasked(rows, records)
        made: list[Batch | Settled] = []
        barred = [index for index, answer in enumerate(answers) if answer]
        begin = 0
        for index in (*barred, len(rows)):
            if begin < index:
                part = slice(begin, index)
                made += self.batcher.feed(rows[part], contacts[part], records[part], in_doubt=in_doubt, encode=encode)
            if in_doubt:
                # What becomes of a batch must not be taken for what became of the doubtful contacts between its rows.
                made += self.batcher.flush()
            begin = index + 1
        left_out = [rows[index] for index in barred]
        if state is State.SUPPRESSED:
            self.question.barred += left_out
        made.append(Settled(state, left_out, [records[index] for index in barred], reason))
        return made

    def _unasked(self, rows: Sequence[int], records: Sequence[Record]) -> list[Batch | Settled]:
        """Settle what is not sent since nobody can be asked; whom the function barred before stays barred."""
        assert self.question is not None  # noqa: S101  it is what can't be asked
        before = self.question.before
        barred = [index for index, row in enumerate(rows) if row in before] if before else []
        if not barred:
            return [Settled(State.UNSENT, rows, records)]
        left_out = [rows[index] for index in barred]
        self.question.barred += left_out
        made: list[Batch | Settled] = [
            Settled(State.SUPPRESSED, left_out, [records[index] for index in barred], "suppressed")
        ]
        others = [index for index, row in enumerate(rows) if row not in before]
        if others:
            made.append(Settled(State.UNSENT, [rows[index] for index in others], [records[index] for index in others]))
        return made

    def was_in_doubt(self, row: int) -> bool:
        """Whether a row was sent again since an earlier call may have processed it."""
        if not self.resend:
            return False
        known = range_of(self.known, row)
        return known is not None and known.in_doubt

    def _range_at(self, rows: Sequence[int], begin: int) -> tuple[Known | None, int]:
        """What is known of the row at this index, and the index behind the last row of which the same is known."""
        row = rows[begin]
        known = range_from(self.known, row)
        if known is None:
            return None, len(rows)
        if row < known.first_row:
            return None, bisect_left(rows, known.first_row, begin)
        return known, bisect_left(rows, known.last_row + 1, begin)


def rejected(found: Sequence[tuple[int, str, Record]]) -> Settled:
    """What a normaliser rejected."""
    rows, codes, records = zip(*found, strict=True)
    return Settled(State.REJECTED, rows, records, codes)


def _left_out(state: State, found: Sorted, indices: Sequence[int], reasons: Sequence[str] | str) -> Settled:
    return Settled(
        state, [found.rows[index] for index in indices], [found.records[index] for index in indices], reasons
    )
