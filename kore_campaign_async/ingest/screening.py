"""What is left out on purpose: numbers that came before, and numbers that must not be called."""

from __future__ import annotations

import math
import secrets
import sys
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, Final

from kore_campaign_async.ingest.report import BarredUse

# A dict is the fastest, and takes over 100 bytes a number. One of this size has no room to spare, and was grown
# in a few milliseconds.
_DICT_NUMBERS: Final = (1 << 20) * 2 // 3
# So many places hold 20 numbers each at ten million, which is quickly searched.
_FEWEST_PLACES: Final = 1 << 19
_QUOTIENT_BYTES: Final = 4
_ENTRY_BYTES: Final = 8
_ROWS: Final = 1 << 32


class NumbersSeen:
    """The row at which each number came first.

    The first 700,000 numbers stand in a dict, all others in places: a number's remainder is its place, and there
    its quotient and its row stand as four bytes each. That takes a tenth of what a dict does, and half as long again.
    """

    def __init__(self) -> None:
        self._dict: dict[int, int] = {}
        self._places: list[bytes] = []
        self._late: dict[int, int] = {}
        # Nobody can make a file of numbers that all have one place. Prime: numbers in steps have different places.
        self._divisor = _prime_from(_FEWEST_PLACES + secrets.randbelow(_FEWEST_PLACES // 4))

    def first_rows(self, keys: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
        """Note numbers' rows; return the row at which each came first, which is its own if it is new.

        Args:
            keys: the numbers, of at most 15 digits; any number of them.
            rows: in ascending order; returned itself if all numbers are new.
        """
        known = self._dict
        if not self._places and len(known) + len(keys) > _DICT_NUMBERS:
            self._places = [b""] * self._divisor
        if known.keys().isdisjoint(keys):
            if self._places:
                return self._in_places(keys, rows)
            new = dict(zip(keys, rows, strict=True))
            if len(new) == len(keys):
                known.update(new)
                return rows
        if not self._places:
            return [known.setdefault(key, row) for key, row in zip(keys, rows, strict=True)]
        others = [index for index, key in enumerate(keys) if key not in known]
        first = [known.get(key, 0) for key in keys]
        found = self._in_places([keys[index] for index in others], [rows[index] for index in others])
        for index, row in zip(others, found, strict=True):
            first[index] = row
        return first

    def _in_places(self, keys: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
        """The same for the numbers that are not in the dict."""
        if rows and rows[-1] >= _ROWS:
            return self._late_rows(keys, rows)
        places, divisor = self._places, self._divisor
        entries = array("I", bytes(_ENTRY_BYTES * len(keys)))
        entries[::2] = array("I", [key // divisor for key in keys])
        entries[1::2] = array("I", rows)
        # The byte that differs most comes last: bytes are searched from the back of what is sought.
        if sys.byteorder == "little":
            entries.byteswap()
        data = entries.tobytes()
        first: list[int] | None = None
        at = 0
        for key in keys:
            place = key % divisor
            held = places[place]
            end = at + _ENTRY_BYTES
            if (quotient := data[at : at + _QUOTIENT_BYTES]) in held and (row := _row_of(quotient, held)) is not None:
                first = list(rows) if first is None else first
                first[at // _ENTRY_BYTES] = row
            else:
                places[place] = held + data[at:end]
            at = end
        return rows if first is None else first

    def _late_rows(self, keys: Sequence[int], rows: Sequence[int]) -> list[int]:
        """The same for rows that can be too large for four bytes."""
        first: list[int] = []
        for key, row in zip(keys, rows, strict=True):
            quotient = (key // self._divisor).to_bytes(_QUOTIENT_BYTES, "big")
            early = _row_of(quotient, self._places[key % self._divisor])
            first.append(self._late.setdefault(key, row) if early is None else early)
        return first


def _prime_from(number: int) -> int:
    """The first prime from this number on."""
    while not all(number % divisor for divisor in range(2, math.isqrt(number) + 1)):
        number += 1
    return number


def _row_of(quotient: bytes, held: bytes) -> int | None:
    """The row that stands behind a quotient in a place; None if it only seems to be there."""
    at = held.find(quotient)
    while at >= 0 and at % _ENTRY_BYTES:
        at = held.find(quotient, at + 1)
    return int.from_bytes(held[at + _QUOTIENT_BYTES : at + _ENTRY_BYTES], "big") if at >= 0 else None


class Barred(AbstractSet[int]):
    """Numbers that must not be called, 8 bytes each; while it is made, 60.

    Args:
        numbers: as integers of at most 15 digits, in any order; some may be there several times.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        found = array("Q")
        last = -1
        for number in sorted(numbers):
            if number != last:
                found.append(number)
                last = number
        self._numbers = found

    def __contains__(self, number: object) -> bool:
        if not isinstance(number, int):
            return False
        return self.index(number) is not None

    def __iter__(self) -> Iterator[int]:
        """In ascending order."""
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def index(self, number: int) -> int | None:
        """The number's place in the ascending order; None if it is not there."""
        at = bisect_left(self._numbers, number)
        return at if at < len(self._numbers) and self._numbers[at] == number else None


class BarredList:
    """The numbers of one file or sheet, and which of them were met.

    Args:
        name: of the file, or `do_not_contact`.
        sheet: of a workbook.
        numbers: as `Barred` takes them.
    """

    def __init__(self, name: str, sheet: str | None, numbers: Iterable[int]) -> None:
        self.name = name
        self.sheet = sheet
        self.numbers = Barred(numbers)
        self._met = bytearray(len(self.numbers))

    def meet(self, numbers: Iterable[int]) -> None:
        """Note numbers of the source, also those that are not in here."""
        for number in numbers:
            at = self.numbers.index(number)
            if at is not None:
                self._met[at] = 1

    def use(self) -> BarredUse:
        """What it did so far."""
        return BarredUse(name=self.name, sheet=self.sheet, numbers=len(self.numbers), in_source=self._met.count(1))


class BarredLists(AbstractSet[int]):
    """The numbers of all lists together.

    Args:
        lists: of numbers that must not be called.
    """

    def __init__(self, lists: Sequence[BarredList] = ()) -> None:
        self._lists = lists
        self._all = lists[0].numbers if len(lists) == 1 else Barred(chain.from_iterable(one.numbers for one in lists))

    def __contains__(self, number: object) -> bool:
        return number in self._all

    def __iter__(self) -> Iterator[int]:
        """In ascending order."""
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def isdisjoint(self, other: Iterable[Any]) -> bool:
        """Whether none of the numbers is in here."""
        return not self._all or self._all.isdisjoint(other)

    def meet(self, numbers: Sequence[int]) -> None:
        """Note which numbers were in the source."""
        for one in self._lists:
            one.meet(numbers)

    def uses(self) -> tuple[BarredUse, ...]:
        """What each list did so far."""
        return tuple(one.use() for one in self._lists)
