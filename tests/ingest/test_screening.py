"""Numbers that came before, and numbers that must not be called."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async.ingest import screening
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.records import Slice
from kore_campaign_async.ingest.screening import Barred, NumbersSeen


def test_the_first_row_of_a_number_is_remembered() -> None:
    """Within one call, too."""
    seen = NumbersSeen()
    assert seen.first_rows([14155550123, 14155550124, 14155550123], [3, 4, 5]) == [3, 4, 3]
    assert seen.first_rows([14155550125, 14155550124], [6, 7]) == [6, 4]
    assert seen.first_rows([], []) == []


def test_a_plus_makes_no_difference() -> None:
    """A number's key is the number itself, without its `+`."""
    rows = [["+14155550123"], ["14155550123"], ["+1 415-555-0123"]]
    keys = Normaliser(match(["phone"], {}), {}, 1 << 20).sort(Slice(1, rows)).keys
    assert NumbersSeen().first_rows(keys, [1, 2, 3]) == [1, 1, 1]


def test_it_is_a_dict_in_shards() -> None:
    seen, oracle = NumbersSeen(), dict[int, int]()
    generator = random.Random(5)
    keys = [generator.randrange(10**7, 10**7 + 3000) * 10 ** generator.randrange(6) for _ in range(5000)]
    rows = list(range(1, 5001))
    found = [
        first
        for start in range(0, 5000, 500)
        for first in seen.first_rows(keys[start : start + 500], rows[start : start + 500])
    ]
    assert found == [oracle.setdefault(key, row) for key, row in zip(keys, rows, strict=True)]


keys_of_few = st.one_of(
    st.integers(10**6, 10**6 + 30),
    st.integers(0, 30).map(lambda step: 14_000_000_000 + step * 7),
    st.sampled_from([10**15 - 1, 10**15 - 8, 256, 65_536 * 7 + 1, 2**24 * 7 + 1]),
)


@given(
    calls=st.lists(st.lists(keys_of_few, max_size=12), max_size=12),
    in_dict=st.integers(0, 30),
    places=st.sampled_from([7, 1000, 1 << 19]),
    start=st.sampled_from([1, 250, 2**32 - 20]),
    gap=st.integers(1, 3),
)
def test_the_first_rows_are_those_of_a_dict(
    calls: list[list[int]], in_dict: int, places: int, start: int, gap: int
) -> None:
    """Wherever the dict ends and the places begin, with few places as with many, and beyond four bytes of rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening, "_DICT_NUMBERS", in_dict)
        patch.setattr(screening, "_FEWEST_PLACES", places)
        # Large quotients fit into four bytes only where there are many places.
        patch.setattr(screening, "_prime_from", lambda _: max(places, 7))
        calls = [[key for key in keys if key // max(places, 7) < 2**32] for keys in calls]
        seen, oracle, row = NumbersSeen(), dict[int, int](), start
        for keys in calls:
            rows = list(range(row, row + gap * len(keys), gap))
            row += gap * len(keys)
            known = oracle.keys().isdisjoint(keys) and len(set(keys)) == len(keys)
            found = seen.first_rows(keys, rows)
            assert list(found) == [oracle.setdefault(key, one) for key, one in zip(keys, rows, strict=True)]
            assert (found == rows) == known


def test_a_quotient_that_only_seems_to_be_there_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of one number's row can be those of another number, and so can what stands over two entries."""
    monkeypatch.setattr(screening, "_DICT_NUMBERS", 0)
    monkeypatch.setattr(screening, "_prime_from", lambda _: 10)
    seen = NumbersSeen()
    assert seen.first_rows([10 * 2_000_000], [3_000_000]) == [3_000_000]
    assert seen.first_rows([10 * 3_000_000], [3_000_001]) == [3_000_001]
    across = int.from_bytes(((2_000_000 << 32 | 3_000_000) & 0xFFFFFF00 << 8).to_bytes(8, "big")[3:7], "big")
    assert seen.first_rows([10 * across, 10 * 3_000_000], [3_000_002, 3_000_003]) == [3_000_002, 3_000_001]


def test_numbers_behind_the_dict_take_little(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dict takes over 80 bytes a number."""
    monkeypatch.setattr(screening, "_DICT_NUMBERS", 0)
    monkeypatch.setattr(screening, "_FEWEST_PLACES", 1 << 13)
    seen = NumbersSeen()
    tracemalloc.start()
    try:
        for start in range(0, 150_000, 5000):
            rows = range(start + 1, start + 5001)
            assert seen.first_rows([14_000_000_000 + 7 * row for row in rows], rows) is rows
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 20 * 150_000


@given(st.lists(st.integers(0, 40).map(lambda one: 10**14 + one * 7)), st.lists(st.integers(0, 300)))
def test_barred_numbers_are_a_set(numbers: list[int], others: list[int]) -> None:
    """In ascending order."""
    barred = Barred(numbers)
    assert list(barred) == sorted(set(numbers))
    assert len(barred) == len(set(numbers))
    asked = [10**14 + one for one in others]
    assert [one in barred for one in asked] == [one in set(numbers) for one in asked]
    assert barred.isdisjoint(asked) is set(numbers).isdisjoint(asked)
    assert "+14155550123" not in barred
