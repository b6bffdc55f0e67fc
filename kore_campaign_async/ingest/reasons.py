"""Why contacts were not accepted: each reason's count and its first examples, folded while a run goes on.

A run can have millions of rows and any number of different words: what is kept of them is bounded. Runs of versions
that did not keep them are counted from their outcome files.
"""

from __future__ import annotations

import contextlib
import csv
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
from attrs import asdict, define, field, frozen

from kore_campaign_async.errors import RunDirectoryError, SourceError
from kore_campaign_async.ingest.directory import REASONS
from kore_campaign_async.ingest.escaping import escaped
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.records import (
    BAD_ROW,
    BAD_TIME_ZONE,
    MISSING_PHONE,
    SENT_BEFORE,
    TOO_LARGE,
    TOO_MANY_COLUMNS,
    UNCLOSED_QUOTE,
    VALUE_TOO_LONG,
    Record,
    Settled,
    State,
)

_STATE_OF: Final = {
    "rejected.csv": State.REJECTED,
    "left_out.csv": State.DUPLICATE,
    "refused.csv": State.REFUSED,
    "uncertain.csv": State.UNCERTAIN,
}
_KEPT: Final = (State.REJECTED, State.DUPLICATE, State.SUPPRESSED, State.REFUSED, State.UNCERTAIN)
_DUPLICATE: Final = "duplicate of row "
# How the reasons of duplicates begin, and what each is counted as.
_KINDS: Final = ((_DUPLICATE, "duplicate"), (SENT_BEFORE, SENT_BEFORE))
#: Stands for the reasons beyond the most that are told apart.
OTHER: Final = "other reasons"

_MOST_REASONS: Final = 200
_MOST_SPELLINGS: Final = 2000
_REASON_CHARACTERS: Final = 2000
_VALUE_CHARACTERS: Final = 200
_EXAMPLES: Final = 3
_MOST_KEPT: Final = len(_KEPT) * (_MOST_REASONS + 1)
# The row and the reason.
_FEWEST_CELLS: Final = 2

# What differs between two answers that say the same: a contact's place in the call, an id, a number.
_VARIES: Final = re.compile(r"\[[0-9]+\]|\b[0-9a-f]{8}[0-9a-f-]{8,}\b|[0-9]{5,}")

# Where there is none or the cells are no columns, and where no single value is to be pointed at.
_WITHOUT_NUMBER: Final = {BAD_ROW, MISSING_PHONE, UNCLOSED_QUOTE}
_WITHOUT_VALUE: Final = {TOO_LARGE, TOO_MANY_COLUMNS, *_WITHOUT_NUMBER}


@frozen
class Example:
    """One contact that has a reason.

    Attributes:
        row: its row number.
        number: what its number's column holds, shortened, not masked; None where that is not known.
        column: the name of the column that the reason is about; "" where it is the number's, or not known.
        value: what that column holds, shortened.
        characters: how many it holds.
    """

    row: str
    number: str | None = field(repr=False)
    column: str = ""
    value: str = field(default="", repr=False)
    characters: int = 0


@define
class Reason:
    """A reason, how many contacts have it, and the first of them.

    Attributes:
        text: as the file has it, shortened; of answers that differ only in ids and numbers, the first one's.
    """

    state: State
    text: str = field(repr=False)
    count: int = 0
    examples: list[Example] = field(factory=list)


class Reasons:
    """The reasons of a run, as a fold over what is settled.

    Args:
        columns: what outcome files show of a record.
        cells: a record as these columns' cells.
        column_map: as in `IngestOptions`, to find the numbers' column.
    """

    def __init__(
        self, columns: Sequence[str], cells: Callable[[Record], Sequence[str]], column_map: Mapping[str, str]
    ) -> None:
        self._cells = cells
        places = _places(columns, column_map)
        self._counts = {state: _Counts(state, columns, places) for state in _KEPT}

    def fold(self, settled: Settled) -> None:
        """Add contacts that are settled."""
        counts = self._counts.get(settled.state)
        if counts is None or not settled.rows:
            return
        given = settled.reasons
        if isinstance(given, str):
            many: Mapping[str, int] = {given: len(settled.rows)}
        elif settled.state is State.DUPLICATE:
            many = {given[0]: len(settled.rows)}  # each names another row, and all are one reason
        else:
            many = Counter(given)
        wanted = counts.add(many)
        if not wanted:
            return
        for row, text, record in settled.entries():
            if counts.wants(text):
                counts.show(str(row), text, self._cells(record))
                wanted -= 1
                if not wanted:
                    return

    def found(self) -> tuple[Reason, ...]:
        """By state, the most frequent first."""
        return _in_order([reason for counts in self._counts.values() for reason in counts.reasons])

    def to_json(self) -> bytes:
        """What `reasons.json` holds."""
        found = [asdict(reason) for reason in self.found()]
        return orjson.dumps({"reasons": found}, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_reasons(directory: Path, column_map: Mapping[str, str]) -> tuple[Reason, ...]:
    """Read the reasons of the run in a directory, also while it goes on: by state, the most frequent first.

    Args:
        directory: of the run.
        column_map: as in `IngestOptions`, to find the numbers' column in files of an older version.

    Raises:
        RunDirectoryError: a file is there and can't be read.
    """
    try:
        kept = (directory / REASONS).read_bytes()
    except FileNotFoundError:
        return _in_files(directory, column_map)
    except OSError as error:
        raise RunDirectoryError(f"{directory / REASONS} can't be read: {error.strerror}") from None
    try:
        return _in_order([_kept(value) for value in orjson.loads(kept)["reasons"][:_MOST_KEPT]])
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RunDirectoryError(f"{directory / REASONS} does not hold the reasons of a run") from None


def _kept(value: Mapping[str, Any]) -> Reason:
    """A reason as `reasons.json` has it; ValueError, KeyError or TypeError if it is none."""
    examples = [
        Example(
            row=_text(one["row"], _VALUE_CHARACTERS),
            number=None if one["number"] is None else _text(one["number"], _VALUE_CHARACTERS),
            column=_text(one["column"], _VALUE_CHARACTERS),
            value=_text(one["value"], _VALUE_CHARACTERS),
            characters=_count(one["characters"]),
        )
        for one in value["examples"][:_EXAMPLES]
    ]
    return Reason(State(value["state"]), _text(value["text"], _REASON_CHARACTERS), _count(value["count"]), examples)


def _text(value: Any, most: int) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    return value[:most]


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise TypeError(value)
    return value


def _in_order(found: Sequence[Reason]) -> tuple[Reason, ...]:
    order = {state: place for place, state in enumerate(State)}
    return tuple(sorted(found, key=lambda reason: (order[reason.state], -reason.count)))


def _in_files(directory: Path, column_map: Mapping[str, str]) -> tuple[Reason, ...]:
    found: list[Reason] = []
    for name, state in _STATE_OF.items():
        try:
            found += _read(directory / name, state, column_map)
        except FileNotFoundError:
            continue  # the run was killed before it made its files
        except (OSError, csv.Error) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise RunDirectoryError(f"{directory / name} can't be read: {why}") from None
    return _in_order(found)


def _read(path: Path, state: State, column_map: Mapping[str, str]) -> list[Reason]:
    rows = entries(path)
    columns = next(rows, [])[2:]
    counts = _Counts(state, columns, _places(columns, column_map))
    for row, text, *values in rows:
        if counts.add({text: 1}):
            counts.show(row, text, values)
    return counts.reasons


def entries(path: Path) -> Iterator[list[str]]:
    """The rows of an outcome file, its header first; without the last one where it is torn, and what is no row.

    Raises:
        OSError, csv.Error: it can't be read.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as file, _any_length():
        whole = _ends_with_newline(path)
        last: list[str] | None = None
        for cells in csv.reader(file):
            if last is not None and len(last) >= _FEWEST_CELLS:
                yield last
            last = cells
        # The last row of a run that goes on, or was killed, can be torn.
        if last is not None and whole and len(last) >= _FEWEST_CELLS:
            yield last


def _places(columns: Sequence[str], column_map: Mapping[str, str]) -> tuple[int | None, int | None]:
    """Where the number and the time zone stand; None where that is not known. Matched once for all states."""
    try:
        shape = match(columns, column_map, whole=False)
    except SourceError:
        return None, None
    return shape.number, shape.time_zone


class _Counts:
    """The reasons of one outcome file, or of one state."""

    def __init__(self, state: State, columns: Sequence[str], places: tuple[int | None, int | None]) -> None:
        self._state = state
        self._columns = columns
        self._by_key: dict[str, Reason] = {}
        self._by_text: dict[str, Reason] = {}
        self._number, self._time_zone = places

    @property
    def reasons(self) -> list[Reason]:
        return list(self._by_key.values())

    def add(self, many: Mapping[str, int]) -> int:
        """Count contacts by reason; tell how many of them are wanted as examples."""
        wanted = 0
        for text, count in many.items():
            reason = self._of(text)
            reason.count += count
            wanted += min(count, _EXAMPLES - len(reason.examples))
        return wanted

    def wants(self, text: str) -> bool:
        """Whether an example of a reason is still wanted."""
        return len(self._of(text).examples) < _EXAMPLES

    def show(self, row: str, text: str, values: Sequence[str]) -> None:
        """Keep an example."""
        self._of(text).examples.append(self._example(row, text, values))

    def _of(self, text: str) -> Reason:
        return self._by_text.get(text) or self._reason(text)

    def _reason(self, text: str) -> Reason:
        text = escaped(text)
        state, key = self._state, text[:_REASON_CHARACTERS]
        if state is State.DUPLICATE:
            # One file holds both.
            kind = next((kind for begin, kind in _KINDS if text.startswith(begin)), "")
            state = State.DUPLICATE if kind else State.SUPPRESSED
            key = kind or key
        elif state is not State.REJECTED:
            key = _VARIES.sub("#", key)
        reason = self._by_key.get(key)
        if reason is None:
            if len(self._by_key) >= _MOST_REASONS:
                return self._by_key.setdefault(OTHER, Reason(state, OTHER))
            shown = key if state is State.DUPLICATE else text[:_REASON_CHARACTERS]
            reason = self._by_key[key] = Reason(state, shown)
        if state is not State.DUPLICATE and len(self._by_text) < _MOST_SPELLINGS:
            self._by_text[text] = reason
        return reason

    def _example(self, row: str, reason: str, values: Sequence[str]) -> Example:
        number = None
        if self._number is not None and self._number < len(values) and reason not in _WITHOUT_NUMBER:
            number = _shown(values[self._number])
        column, value, characters = "", "", 0
        if reason.startswith(_DUPLICATE):
            column, value = "row", reason.removeprefix(_DUPLICATE)
        elif reason not in _WITHOUT_VALUE:
            at = self._column_of(reason, values)
            if at is not None and at != self._number:
                column, value = _shown(self._columns[at]), _shown(values[at])
                characters = len(values[at])
        return Example(row, number, column, value, characters)

    def _column_of(self, reason: str, values: Sequence[str]) -> int | None:
        """The column that a reason is about, where that can be told."""
        width = min(len(values), len(self._columns))
        if reason == BAD_TIME_ZONE and self._time_zone is not None and self._time_zone < width:
            return self._time_zone
        if reason == VALUE_TOO_LONG and width:
            return max(range(width), key=lambda at: len(values[at]))
        return None


def _shown(cell: str) -> str:
    return escaped(cell[:_VALUE_CHARACTERS])[:_VALUE_CHARACTERS]


def _ends_with_newline(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - 1))
        return file.read() == b"\n"


@contextlib.contextmanager
def _any_length() -> Iterator[None]:
    """Let the reader take cells of any length: the files hold what the source held."""
    before = csv.field_size_limit(min(sys.maxsize, (1 << 31) - 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)
