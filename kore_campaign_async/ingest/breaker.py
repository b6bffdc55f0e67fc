"""Stops a run that only makes things worse: batches that end the same bad way, one after another. Pure.

Batches that were in flight together can get no answer by one and the same event, such as a network that is gone for a
moment. That is one failure.
"""

from __future__ import annotations

from typing import Final

BATCHES: Final = 5
_MOMENT_SECONDS: Final = 0.25


class Breaker:
    """Counts batches that ended the same bad way since the first of them was sent.

    A batch that was sent later and accepted shows that the way is open again.
    """

    def __init__(self) -> None:
        self._sent = 0
        self._last_accepted = 0
        self._ways: dict[str, list[int]] = {}
        # Of the last failure that counted: when it came, and how many batches were sent by then.
        self._moments: dict[str, tuple[float, int]] = {}

    def sending(self) -> int:
        """Note that a batch goes out; return its place in the order of sending."""
        self._sent += 1
        return self._sent

    def accepted(self, place: int) -> None:
        """Note that the batch sent at this place was accepted."""
        self._last_accepted = max(self._last_accepted, place)

    def failed(self, place: int, way: str, lost_at: float | None = None) -> bool:
        """Note that the batch sent at this place ended badly in this way; tell whether that is enough.

        Args:
            place: in the order of sending.
            way: what batches that fail alike have in common.
            lost_at: of one that got no answer, when that was known, in seconds of a clock that never goes back.
        """
        if lost_at is not None:
            moment, sent = self._moments.get(way, (float("-inf"), 0))
            if place <= sent and lost_at - moment < _MOMENT_SECONDS:
                return len(self._ways.get(way, ())) >= BATCHES
            self._moments[way] = lost_at, self._sent
        places = [*self._ways.get(way, ()), place]
        self._ways[way] = [one for one in places if one > self._last_accepted]
        return len(self._ways[way]) >= BATCHES
