"""Contacts become batches, by count and by the exact bytes of the call's body. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from kore_campaign_async import wire
from kore_campaign_async.config import BatchLimits
from kore_campaign_async.ingest.records import Batch, Record, joined, joined_rows

# Enough to know how large they are.
_FIRST_CONTACTS: Final = 16


def as_objects(contacts: Any) -> bytes:
    """Mappings as JSON objects with commas between them."""
    return wire.dumps(contacts)[1:-1]


class Batcher:
    """Collects contacts until one more would break a limit.

    Contacts are serialised several at a time, which is much faster than one by one; only where a limit of
    bytes comes near, one by one.

    Args:
        limits: of a batch.
        frame_bytes: what a body has around its contacts.
    """

    def __init__(self, limits: BatchLimits, frame_bytes: int) -> None:
        #: The most bytes that a contact may have, to fit into a call of its own.
        self.room = limits.max_bytes - frame_bytes
        self.frame_bytes = frame_bytes
        self._most_bytes = self.room
        self._max_contacts = limits.max_contacts
        self._number = 0
        self._bytes = 0
        self._encoded: list[bytes] = []
        # Of a contact, on average, in what was encoded last; 0 before.
        self._contact_bytes = 0
        self._size = 0
        self._rows: list[Sequence[int]] = []
        self._records: list[Sequence[Record]] = []
        self._in_doubt = False

    def feed(
        self,
        rows: Sequence[int],
        contacts: Any,
        records: Sequence[Record],
        *,
        in_doubt: bool = False,
        encode: Callable[[Any], bytes] = as_objects,
    ) -> list[Batch]:
        """Take contacts, each of which fits; return the batches that are full. Doubtful ones get their own.

        Args:
            rows: their numbers.
            contacts: a sequence of whatever `encode` makes JSON objects of, with commas between them.
            records: the source's own.
            in_doubt: whether an earlier call may have processed them.
            encode: takes any slice of `contacts`.
        """
        # What was learnt since may be less than what is waiting.
        full = self.flush() if self._size >= self._max_contacts or in_doubt is not self._in_doubt else []
        self._in_doubt = in_doubt
        start = 0
        while start < len(rows):
            end = min(len(rows), start + self._max_contacts - self._size, start + self._likely())
            encoded = encode(contacts[start:end])
            self._contact_bytes = len(encoded) // (end - start)
            if not self._fits(encoded):
                encoded, end = self._beginning(contacts, start, encode)
            if end == start and not self._rows:  # what was learnt is less than this contact: it goes alone
                encoded, end = encode(contacts[start : start + 1]), start + 1
            if end > start:
                # A comma stands before every contact but the first.
                self._bytes += len(encoded) + bool(self._encoded)
                self._encoded.append(encoded)
                self._size += end - start
                self._rows.append(rows[start:end])
                self._records.append(records[start:end])
            if end == start or self._size >= self._max_contacts:
                full += self.flush()
            start = end
        return full

    def _likely(self) -> int:
        """How many contacts there may be room for: what does not fit is encoded in vain."""
        if not self._contact_bytes:
            return _FIRST_CONTACTS
        return 1 + max(0, self._most_bytes - self._bytes) // self._contact_bytes

    def _fits(self, encoded: bytes) -> bool:
        return self._bytes + bool(self._encoded) + len(encoded) <= self._most_bytes

    def _beginning(self, contacts: Any, start: int, encode: Callable[[Any], bytes]) -> tuple[bytes, int]:
        """The contacts from `start` on that still fit, and where they end."""
        room = self._most_bytes - self._bytes - bool(self._encoded)
        parts: list[bytes] = []
        for index in range(start, len(contacts)):
            part = encode(contacts[index : index + 1])
            room -= len(part) + bool(parts)
            if room < 0:
                break
            parts.append(part)
        return b",".join(parts), start + len(parts)

    def learn(self, contacts: int, size: int) -> None:
        """Make batches at most half as large as one that the server found too large, in contacts and in bytes."""
        self._max_contacts = max(1, min(self._max_contacts, contacts // 2))
        self._most_bytes = min(self._most_bytes, size // 2)

    def flush(self) -> list[Batch]:
        """Return what is left, as no batch or one."""
        if not self._rows:
            return []
        self._number += 1
        rows, records = joined_rows(self._rows), joined(self._records)
        batch = Batch(self._number, rows, b",".join(self._encoded), records, self._in_doubt)
        self._bytes, self._size, self._encoded, self._rows, self._records = 0, 0, [], [], []
        return [batch]
