"""No expression that sees a cell, a header, a file name or a reply takes more than time in proportion to it.

All of the package's are found here by themselves, so that a new one can't be forgotten. What only sees texts that were
cut before is tried with texts as long as that, and whoever cuts them with a megabyte.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Callable
from typing import Any, Final

import pytest

import kore_campaign_async
from kore_campaign_async import BatchLimits, transport, wire
from kore_campaign_async.ingest import phone_text
from kore_campaign_async.ingest.batching import Batcher, as_objects
from kore_campaign_async.ingest.phone_text import clean_number, one_number
from kore_campaign_async.ingest.sources import phone_like
from kore_campaign_async.ingest.sources.csv_text import heading
from kore_campaign_async.ingest.sources.phone_like import could_be_number, looks_like_number
from kore_campaign_async.redaction import masked, without_tokens

SIZE: Final = 16_000
MEGABYTE: Final = 1 << 20
#: Expressions that see no longer text than this.
CUT: Final = {"phone_text._GROUPED": phone_text._LONGEST_TEXT, "phone_like._WRITTEN": phone_like._LONGEST_TEXT}
REPEATED: Final = (
    *("a", "\\", " ", "\t", "\n", '"', "1", "+", "(", "-", ",", ";", "=", ".", "/", "%", "_", "[", "<", "é", "\r\n"),
    *('" ', "1 ", "(0", "1-", "a ", '""', 'a"', ',"', "0.", "12:", "1,", "</f> ", "eyJ-", "e+", "19-", "f1", "\\u00"),
)
TAILS: Final = ("", "!", '"', "1")
# Below that, what a busy machine does meanwhile is longer than what is measured.
_SHORT_SECONDS: Final = 0.1


def expressions() -> dict[str, tuple[re.Pattern[Any], tuple[str, ...]]]:
    """Every expression of the package by its place, and the ways in which it is asked."""
    found: dict[str, tuple[re.Pattern[Any], tuple[str, ...]]] = {}
    for module in pkgutil.walk_packages(kore_campaign_async.__path__, "kore_campaign_async."):
        if module.name.endswith(("workbook_reader", "__main__")):
            continue  # runs where it is imported
        for name, value in vars(importlib.import_module(module.name)).items():
            place = f"{module.name.rpartition('.')[2]}.{name}"
            if isinstance(value, re.Pattern):
                found[place] = value, ("search", "fullmatch")
            elif isinstance(owner := getattr(value, "__self__", None), re.Pattern):
                found[place] = owner, (value.__name__,)
    found["transport._spelt"] = transport._spelt("eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl"), ("search",)
    return found


EXPRESSIONS: Final = expressions()


def seconds(work: Callable[[], object]) -> float:
    """The shortest of some tries."""
    shortest = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        work()
        shortest = min(shortest, time.perf_counter() - begin)
        if shortest < _SHORT_SECONDS:
            break
    return shortest


def asked(expression: re.Pattern[Any], way: str, text: str) -> Callable[[], object]:
    given = text.encode() if isinstance(expression.pattern, bytes) else text
    if way == "sub":
        return lambda: expression.sub(given[:0], given)
    return lambda: list(expression.finditer(given)) if way == "finditer" else getattr(expression, way)(given)


def text_of(one: str, size: int, tail: str) -> str:
    return (one * (size // len(one) + 1))[:size] + tail


def test_all_of_them_are_found() -> None:
    assert len(EXPRESSIONS) > 50
    assert CUT.keys() <= EXPRESSIONS.keys()


@pytest.mark.parametrize("place", EXPRESSIONS)
def test_four_times_the_text_takes_about_four_times_as_long(place: str) -> None:
    expression, ways = EXPRESSIONS[place]
    for one in REPEATED:
        for tail in TAILS:
            for way in ways:
                size = CUT.get(place, SIZE)
                took = seconds(asked(expression, way, text_of(one, size, tail)))
                if took < _SHORT_SECONDS:
                    continue
                quarter = seconds(asked(expression, way, text_of(one, size // 4, tail)))
                assert took < 10 * quarter, (place, one, tail, way)


@pytest.mark.parametrize("one", REPEATED)
@pytest.mark.parametrize(
    "function",
    [
        looks_like_number,
        could_be_number,
        clean_number,
        one_number,
        without_tokens,
        masked,
        lambda text: heading(text, final=True),
        lambda text: transport._without(TOKEN, text.encode()),
    ],
)
def test_a_megabyte_takes_no_more_than_in_proportion(function: Callable[[str], object], one: str) -> None:
    text = text_of(one, MEGABYTE // 4, "!")
    took = seconds(lambda: function(text))
    if took >= _SHORT_SECONDS:
        assert took < 10 * seconds(lambda: function(text[: len(text) // 4]))


class _Token:
    """As one that a server quotes back."""

    def reveal(self) -> str:
        return "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLW9mLWEtdG9rZW4"


TOKEN: Final[Any] = _Token()


def test_a_contact_is_encoded_a_few_times_at_most() -> None:
    """Also where few of them fill a call: the rest is not encoded again for each."""
    encoded = 0

    def encode(contacts: Any) -> bytes:
        nonlocal encoded
        encoded += len(contacts)
        return as_objects(contacts)

    contacts = [{wire.PHONE_NUMBER: f"+1415555{index:04}", "Plan": "x" * 50_000} for index in range(500)]
    batcher = Batcher(BatchLimits(max_contacts=1000, max_bytes=1 << 20), 100)
    batches = batcher.feed(range(1, 501), contacts, contacts, encode=encode)
    batches += batcher.flush()
    assert sum(len(batch.rows) for batch in batches) == 500
    assert {len(batch.rows) for batch in batches[:-1]} == {20}
    assert encoded <= 4 * 500
