"""Phone numbers out of texts that are kept or shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

# Seven digits or more, also as people write them: +1 (415) 555-0123. A date is none.
_NUMBER = re.compile(r"(?<![0-9])([0-9]{4}-[0-9]{2}-[0-9]{2})(?![0-9])|[0-9](?:[ \u00a0().\-/]{0,2}[0-9]){6,}")


def masked(text: str, mask: Callable[[str], str] = lambda _number: "***") -> str:
    """A text in which what could be a phone number is masked."""
    return _NUMBER.sub(lambda found: found[1] or mask(found[0]), text)
