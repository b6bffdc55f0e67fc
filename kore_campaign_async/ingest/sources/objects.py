"""Contacts from the caller's own program: any iterable or async iterable."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable, Mapping, Sequence, Sized
from contextlib import aclosing
from typing import Any, Final

from kore_campaign_async import wire
from kore_campaign_async.callbacks import CallbackError, awaited, called
from kore_campaign_async.ingest.records import BAD_ROW, Broken, Record, Slice
from kore_campaign_async.ingest.sources.base import SLICE_RECORDS, MappingSource, as_json, shown
from kore_campaign_async.ingest.sources.nesting import is_too_nested, without_nested
from kore_campaign_async.models import Contact

_END: Final = object()
# What a slice takes of values and characters, or one record: wide or long ones would hold up the event loop.
_SLICE_VALUES: Final = 10_000
_SLICE_CHARACTERS: Final = 1 << 20
_UNCHANGING: Final = frozenset({str, int, float, bool, bytes, type(None)})


class Objects(MappingSource):
    """Yields what an iterable holds: `Contact`, mappings, or numbers as text; anything else is a `bad_row`.

    Each is read when it is yielded: what its owner does with it later, such as to fill it anew, changes nothing.
    A plain iterable is advanced in the event loop's own thread, so one that blocks should be an async one.
    """

    def __init__(self, items: Iterable[Any] | AsyncIterable[Any]) -> None:
        super().__init__(type(items).__name__)
        self._items = items
        self._total = _length(items)
        self._read = 0
        self._part: list[Record] = []
        self._values = self._characters = 0

    async def open(self) -> None:
        """Nothing is read yet: an iterable may be empty."""

    async def slices(self) -> AsyncGenerator[Slice, None]:
        """Yield the records; the event loop gets its turn between two slices."""
        fill = self._filled_async(self._items) if isinstance(self._items, AsyncIterable) else self._filled(self._items)
        async with aclosing(fill):
            try:
                async for _ in fill:
                    yield self._slice()
            except CallbackError as error:
                # What came before the failure was taken from the caller, so it is accounted for.
                if self._part:
                    yield self._slice()
                error.reraise()

    async def _filled(self, items: Iterable[Any]) -> AsyncGenerator[None, None]:
        iterator = map(_record, called(iter, items))
        while True:
            called(self._fill, iterator)
            if not self._part:
                return
            yield
            await asyncio.sleep(0)

    def _fill(self, records: Iterable[Record]) -> None:
        for record in records:
            self._part.append(record)
            if self._is_full(record):
                return

    async def _filled_async(self, items: AsyncIterable[Any]) -> AsyncGenerator[None, None]:
        iterator = called(aiter, items)
        while (item := await awaited(lambda: _next_of(iterator))) is not _END:
            record = _record(item)
            self._part.append(record)
            if self._is_full(record):
                yield
                await asyncio.sleep(0)
        if self._part:
            yield

    def _is_full(self, record: Record) -> bool:
        """Whether the part is a slice, now that this record is in it."""
        if isinstance(record, dict):
            self._values += len(record)
            try:
                self._characters += sum(map(len, record.values()))
            except TypeError:  # not all of them are texts
                self._characters += sum(len(value) for value in record.values() if isinstance(value, str | bytes))
        elif isinstance(record, Broken):
            self._characters += len(record.text)
        return (
            len(self._part) >= SLICE_RECORDS or self._values >= _SLICE_VALUES or self._characters >= _SLICE_CHARACTERS
        )

    def _slice(self) -> Slice:
        first = self._read + 1
        return Slice(first, self.rest(), suspect=True)

    def rest(self) -> Sequence[Record]:
        """What was taken from the iterable since the last slice."""
        part, self._part = self._part, []
        self._values = self._characters = 0
        self._read += len(part)
        return part

    def fraction(self) -> float | None:
        """How much is read of an iterable with a length."""
        return min(1.0, self._read / self._total) if self._total else None

    def close(self) -> None:
        """The iterable is the caller's."""


async def _next_of(iterator: AsyncIterator[Any]) -> Any:
    """The next item; `_END` behind the last. What is raised to say that it is the last ends no coroutine as it is."""
    try:
        return await anext(iterator)
    except StopAsyncIteration:
        return _END


def _length(items: Any) -> int:
    """How many items there are; 0 where nobody can know."""
    try:
        return called(len, items) if isinstance(items, Sized) else 0
    except CallbackError:
        return 0


def _record(item: Any) -> Record:
    try:
        return called(_mapped, item)
    except CallbackError:  # a caller's own object may fail at anything; its row is what that costs
        return Broken(BAD_ROW, _shown(item))


def _shown(item: Any) -> str:
    try:
        has_repr = not called(is_too_nested, item)
    except CallbackError:  # it fails at being looked at
        has_repr = True
    return shown(item) if has_repr else f"<{type(item).__name__}>"


def _mapped(item: Any) -> Record:
    if isinstance(item, str):
        return {wire.PHONE_NUMBER: plain(item)}
    if isinstance(item, Contact):
        if not any(name in wire.CONTACT_FIELDS for name in item.extra):
            unstructured: dict[str, Any] = wire.converter.unstructure(item)
            return _kept(unstructured)
    elif isinstance(item, Mapping):
        return _kept(dict(item))
    return Broken(BAD_ROW, _shown(item))


def _kept(record: dict[Any, Any]) -> Record:
    """A record that shares nothing with its owner that could change."""
    if (kinds := set(map(type, record))) != {str}:
        if not all(kind in _UNCHANGING or issubclass(kind, str) for kind in kinds):
            return Broken(BAD_ROW, as_json(record))
        record = {plain(key): value for key, value in record.items()}
    if _UNCHANGING.issuperset(map(type, record.values())):
        return record
    if is_too_nested(record):
        return Broken(BAD_ROW, as_json(without_nested(record)))
    return {key: plain(value) for key, value in record.items()}


def plain(value: Any) -> Any:
    """A value that has no methods of its own where it can be sent, and is a copy where it can't."""
    kind = type(value)
    if kind in _UNCHANGING:
        return value
    if issubclass(kind, str):
        return str.__str__(value)
    if issubclass(kind, int):
        return int.__pos__(value)
    if issubclass(kind, float):
        return float.__pos__(value)
    try:
        return called(copy.deepcopy, value)
    except CallbackError:
        return [shown(value)]  # no text: such a value is not sent, and an outcome file shows it
