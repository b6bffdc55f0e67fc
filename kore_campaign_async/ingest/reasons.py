"""Why contacts were not accepted: each reason's count and its first examples, in one pass over the outcome files.

The files can hold millions of rows and any number of different words: what is kept of them is bounded.
"""

from __future__ import annotations

import contextlib
import csv
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import define, field, frozen

from kore_campaign_async.errors import RunDirectoryError, SourceError
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.records import (
    BAD_ROW,
    BAD_TIME_ZONE,
    MISSING_PHONE,
    TOO_LARGE,
    TOO_MANY_COLUMNS,
    UNCLOSED_QUOTE,
    VALUE_TOO_LONG,
    State,
)

_STATE_OF: Final = {
    "rejected.csv": State.REJECTED,
    "left_out.csv": State.DUPLICATE,
    "refused.csv": State.REFUSED,
    "uncertain.csv": State.UNCERTAIN,
}
_DUPLICATE: Final = "duplicate of row "
#: Stands for the reasons beyond the most that are told apart.
OTHER: Final = "other reasons"

_MOST_REASONS: Final = 200
_MOST_SPELLINGS: Final = 2000
_REASON_CHARACTERS: Final = 2000
_VALUE_CHARACTERS: Final = 200
_EXAMPLES: Final = 3

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


def read_reasons(directory: Path, column_map: Mapping[str, str]) -> tuple[Reason, ...]:
    """Read the reasons of the run in a directory, also while it goes on: by state, the most frequent first.

    Args:
        directory: of the run.
        column_map: as in `IngestOptions`, to find the numbers' column.

    Raises:
        RunDirectoryError: a file is there and can't be read.
    """
    found: list[Reason] = []
    for name, state in _STATE_OF.items():
        try:
            found += _Reading(state, column_map).read(directory / name)
        except FileNotFoundError:
            continue  # the run was killed before it made its files
        except (OSError, csv.Error) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise RunDirectoryError(f"{directory / name} can't be read: {why}") from None
    order = {state: place for place, state in enumerate(State)}
    return tuple(sorted(found, key=lambda reason: (order[reason.state], -reason.count)))


@define
class _Reading:
    state: State
    column_map: Mapping[str, str]
    _by_key: dict[str, Reason] = field(factory=dict, init=False)
    _by_text: dict[str, Reason] = field(factory=dict, init=False)
    _columns: Sequence[str] = field(default=(), init=False)
    _number: int | None = field(default=None, init=False)
    _time_zone: int | None = field(default=None, init=False)

    def read(self, path: Path) -> list[Reason]:
        with path.open(encoding="utf-8", errors="replace", newline="") as file, _any_length():
            whole = _ends_with_newline(path)
            reader = csv.reader(file)
            self._match(next(reader, [])[2:])
            last: list[str] | None = None
            for cells in reader:
                if last is not None:
                    self._count(last)
                last = cells
            # The last row of a run that goes on, or was killed, can be torn.
            if last is not None and whole:
                self._count(last)
        return list(self._by_key.values())

    def _match(self, columns: Sequence[str]) -> None:
        self._columns = columns
        with contextlib.suppress(SourceError):
            shape = match(columns, self.column_map, whole=False)
            self._number, self._time_zone = shape.number, shape.time_zone

    def _count(self, cells: list[str]) -> None:
        if len(cells) < 2:  # noqa: PLR2004  row and reason
            return
        reason = self._by_text.get(cells[1]) or self._reason(cells[1])
        reason.count += 1
        if len(reason.examples) < _EXAMPLES:
            reason.examples.append(self._example(cells))

    def _reason(self, text: str) -> Reason:
        state, key = self.state, text[:_REASON_CHARACTERS]
        if state is State.DUPLICATE:
            is_duplicate = text.startswith(_DUPLICATE)
            state = State.DUPLICATE if is_duplicate else State.SUPPRESSED
            key = "duplicate" if is_duplicate else key
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

    def _example(self, cells: list[str]) -> Example:
        row, reason, *values = cells
        number = None
        if self._number is not None and self._number < len(values) and reason not in _WITHOUT_NUMBER:
            number = values[self._number][:_VALUE_CHARACTERS]
        column, value, characters = "", "", 0
        if reason.startswith(_DUPLICATE):
            column, value = "row", reason.removeprefix(_DUPLICATE)
        elif reason not in _WITHOUT_VALUE:
            at = self._column_of(reason, values)
            if at is not None and at != self._number:
                column, value = self._columns[at][:_VALUE_CHARACTERS], values[at][:_VALUE_CHARACTERS]
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
