"""Stops a run that only makes things worse: batches that end the same bad way, one after another. Pure."""

from __future__ import annotations

from typing import Final

BATCHES: Final = 5


class Breaker:
    """Counts batches that ended the same bad way since the first of them was sent.

    A batch that was sent later and accepted shows that the way is open again.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._last_accepted = 0
        self._ways: dict[str, list[int]] = {}

    def sending(self) -> int:
        """Note that a batch goes out; return its place in the order of sending."""
        self._sent += 1
        return self._sent

    def accepted(self, place: int) -> None:
        """Note that the batch sent at this place was accepted."""
        self._last_accepted = max(self._last_accepted, place)

    def failed(self, place: int, way: str) -> bool:
        """Note that the batch sent at this place ended badly in this way; tell whether that is enough."""
        places = [*self._ways.get(way, ()), place]
        self._ways[way] = [one for one in places if one > self._last_accepted]
        return len(self._ways[way]) >= BATCHES
