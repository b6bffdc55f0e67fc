"""What is left out on purpose: numbers that came before, and numbers that must not be called."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.masking import masked
from kore_campaign_async.ingest.matching import is_number_name
from kore_campaign_async.ingest.normalise import clean_number

if TYPE_CHECKING:
    import _csv  # the reader's type, which the module csv names only from Python 3.13 on

_SHARDS: Final = 256


class NumbersSeen:
    """The row at which each number came first.

    In shards, because one large dict stops the event loop while it grows.
    """

    def __init__(self) -> None:
        self._shards: list[dict[int, int]] = [{} for _ in range(_SHARDS)]

    def first_rows(self, keys: Sequence[int], rows: Sequence[int]) -> list[int]:
        """Note numbers' rows; return the row at which each came first, which is its own if it is new."""
        shards = self._shards
        return [shards[key % _SHARDS].setdefault(key, row) for key, row in zip(keys, rows, strict=True)]


def read_suppressed(paths: tuple[Path, ...]) -> AbstractSet[int]:
    """Read do-not-contact files: a number a line, or a CSV file with a number column.

    Raises:
        SourceError: a file can't be read, or a line holds no number: a person who must not be called could
            hide behind it.
    """
    numbers: set[int] = set()
    for path in paths:
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                # Strict: a quote that never closes would swallow numbers that must not be called.
                _read_suppressed(csv.reader(file, strict=True), path, numbers)
        except (OSError, UnicodeError, csv.Error) as error:
            why = "it is not a text file in UTF-8"
            if isinstance(error, OSError):
                why = error.strerror or type(error).__name__
            elif isinstance(error, csv.Error):
                why = f"{error}; mend its quotes"
            raise SourceError(f"the do-not-contact file {path} can't be read: {why}") from None
    return numbers


def _read_suppressed(rows: _csv.Reader, path: Path, numbers: set[int]) -> None:
    column: int | None = None
    for cells in rows:
        if not any(cell.strip() for cell in cells):
            continue
        if column is None:
            named = [index for index, cell in enumerate(cells) if is_number_name(cell)]
            if len(named) == 1:
                column = named[0]
                continue
            if len(cells) > 1 or named:
                raise SourceError(
                    f"the do-not-contact file {path} has {'two number columns' if named else 'no number column'}"
                    f" in its first line; name one of its columns phoneNumber, or put one number on a line"
                )
            column = 0
        text = cells[column] if column < len(cells) else ""
        number = clean_number(text)
        if number is None:
            raise SourceError(
                f"the do-not-contact file {path} holds no phone number in line {rows.line_num}: {masked(text)[:40]!r};"
                " mend or remove the line"
            )
        numbers.add(int(number))
