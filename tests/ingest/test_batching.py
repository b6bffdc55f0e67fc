"""Batches by count and by the exact bytes of the call's body."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kore_campaign_async.config import BatchLimits
from kore_campaign_async.endpoints import add_contacts
from kore_campaign_async.ingest.batching import Batcher
from kore_campaign_async.ingest.records import Batch, Cells, Record

names = st.sampled_from(["a", "Renewals", 'Ünï "quoted"', "x" * 48])


def body_bytes(name: str, encoded: bytes) -> int:
    """The exact body, as it is sent."""
    return len(add_contacts.build_encoded("st-1", name, encoded, contacts=1).body or b"")


def batcher(name: str, limits: BatchLimits) -> Batcher:
    return Batcher(limits, len(add_contacts.opening(name)) + len(add_contacts.CLOSING))


def contact(number: int, text: str = "") -> dict[str, str]:
    return {"phoneNumber": str(10**9 + number), "x": text}


def joined(contacts: list[dict[str, str]]) -> bytes:
    return b",".join(map(orjson.dumps, contacts))


def contacts_of(batches: list[Batch]) -> list[dict[str, str]]:
    return [one for batch in batches for one in orjson.loads(b"[" + batch.encoded + b"]")]


def batched(maker: Batcher, contacts: list[dict[str, str]], at_once: int = 500) -> list[Batch]:
    """Feed contacts, so many at once; row numbers from 1, and a record for each that holds it."""
    made: list[Batch] = []
    for start in range(0, len(contacts), at_once):
        part = contacts[start : start + at_once]
        rows = list(range(start + 1, start + len(part) + 1))
        made += maker.feed(rows, part, [[str(row)] for row in rows])
    return made + maker.flush()


@given(
    name=names,
    texts=st.lists(st.text(st.sampled_from('ay"\n\x01é😀'), max_size=20), max_size=60),
    max_contacts=st.integers(1, 12),
    room=st.integers(0, 400),
    at_once=st.integers(1, 30),
)
@example(name="a", texts=[""] * 9, max_contacts=3, room=0, at_once=9)
@example(name="a", texts=["a"] * 50, max_contacts=1000, room=60, at_once=50)
def test_batches_are_maximal_and_never_beyond_a_limit(
    name: str, texts: list[str], max_contacts: int, room: int, at_once: int
) -> None:
    """Order kept, nothing lost, nothing doubled; the bytes are those of the body as it is sent."""
    every = [contact(index, text) for index, text in enumerate(texts)]
    limits = BatchLimits(max_contacts=max_contacts, max_bytes=body_bytes(name, joined([contact(0)])) + room)
    maker = batcher(name, limits)
    contacts = [one for one in every if body_bytes(name, orjson.dumps(one)) <= limits.max_bytes]
    assert contacts == [one for one in every if len(orjson.dumps(one)) <= maker.room]

    batches = batched(maker, contacts, at_once)

    assert contacts_of(batches) == contacts
    assert [row for batch in batches for row in batch.rows] == list(range(1, len(contacts) + 1))
    assert [record for batch in batches for record in batch.records] == [[str(row + 1)] for row in range(len(contacts))]
    assert [batch.number for batch in batches] == list(range(1, len(batches) + 1))
    for batch in batches:
        mine = contacts_of([batch])
        assert batch.encoded == joined(mine)
        assert 1 <= len(batch.rows) == len(batch.records) == len(mine) <= max_contacts
        assert body_bytes(name, batch.encoded) <= limits.max_bytes
    for batch, after in pairwise(batches):
        with_next = [*contacts_of([batch]), contacts_of([after])[0]]
        assert len(batch.rows) == max_contacts or body_bytes(name, joined(with_next)) > limits.max_bytes


def test_ten_thousand_and_one_in_ten_thousand_and_one_out() -> None:
    contacts = [contact(index, "y" * (index % 7)) for index in range(10_001)]
    for limits in (BatchLimits(), BatchLimits(max_bytes=5000)):
        batches = batched(batcher("Renewals", limits), contacts)
        assert contacts_of(batches) == contacts
        assert [row for batch in batches for row in batch.rows] == list(range(1, 10_002))
    assert [len(batch.rows) for batch in batched(batcher("Renewals", BatchLimits()), contacts)] == [1000] * 10 + [1]


@pytest.mark.parametrize("at_once", [1, 3, 10])
def test_a_body_of_exactly_the_limit_is_one_batch(at_once: int) -> None:
    contacts = [contact(index, "yyy") for index in range(10)]
    exact = body_bytes("Renewals", joined(contacts))
    assert len(batched(batcher("Renewals", BatchLimits(max_bytes=exact)), contacts, at_once)) == 1
    assert len(batched(batcher("Renewals", BatchLimits(max_bytes=exact - 1)), contacts, at_once)) == 2


def test_flush_returns_what_is_left_once() -> None:
    maker = batcher("a", BatchLimits())
    assert maker.flush() == []
    assert maker.feed([4], [contact(1)], [["a"]]) == []
    last = maker.flush()
    assert [list(batch.rows) for batch in last] == [[4]]
    assert maker.flush() == []
    assert maker.feed([], [], []) == []
    assert maker.flush() == []


def test_a_batch_is_its_own_once_it_is_returned() -> None:
    maker = batcher("a", BatchLimits(max_contacts=2))
    first = maker.feed([1, 2, 3], [contact(1), contact(2), contact(3)], [["a"], ["b"], ["c"]])
    maker.feed([4, 5], [contact(4), contact(5)], [["d"], ["e"]])
    assert [(list(batch.rows), list(batch.records)) for batch in first] == [([1, 2], [["a"], ["b"]])]


def test_records_that_are_cells_stay_cells() -> None:
    """A batch of several slices' records; among lists, or of another width, each is a list."""
    tables: list[list[Sequence[Record]]] = [
        [Cells(["a", "b"], 2), Cells(["c", "d", "e", "f"], 2)],
        [Cells(["a", "b"], 2), [["c", "d"], ["e", "f"]]],
        [Cells(["a", "b"], 2), Cells(["c", "d"], 1)],
    ]
    found: list[Sequence[Record]] = []
    for parts in tables:
        maker = batcher("a", BatchLimits())
        for records in parts:
            assert maker.feed(range(len(records)), [contact(row) for row in range(len(records))], records) == []
        (batch,) = maker.flush()
        found.append(batch.records)
    assert isinstance(found[0], Cells)
    assert [list(records) for records in found] == [
        [["a", "b"], ["c", "d"], ["e", "f"]],
        [["a", "b"], ["c", "d"], ["e", "f"]],
        [["a", "b"], ["c"], ["d"]],
    ]


@given(st.integers(1, 4), st.integers(0, 6), st.slices(8), st.integers(-8, 8))
def test_cells_are_a_sequence_of_lists(width: int, length: int, part: slice, index: int) -> None:
    flat = [str(cell) for cell in range(width * length)]
    cells = Cells(flat, width)
    lists = [flat[at : at + width] for at in range(0, len(flat), width)]
    assert list(cells) == lists
    assert len(cells) == length
    assert list(cells[part]) == lists[part]
    assert list(cells.picked(range(length)[part])) == lists[part]
    if -length <= index < length:
        assert cells[index] == lists[index]
    else:
        with pytest.raises(IndexError):
            cells[index]


@given(st.lists(st.text(max_size=5), min_size=2, max_size=30))
def test_halves_are_the_batch(texts: list[str]) -> None:
    """In order, to the byte, none of them empty, under the same number."""
    (whole,) = batched(batcher("a", BatchLimits()), [contact(index, text) for index, text in enumerate(texts)])
    left, right = whole.halves()
    assert left.encoded + b"," + right.encoded == whole.encoded
    assert [*left.rows, *right.rows] == list(whole.rows)
    assert [*left.records, *right.records] == list(whole.records)
    for half in (left, right):
        assert len(half.rows) == len(half.records) == len(contacts_of([half])) >= 1
        assert half.number == whole.number
    assert abs(len(left.rows) - len(right.rows)) <= 1


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 9), st.integers(0, 60), st.integers(0, 200))
def test_what_the_server_taught_holds_from_then_on(sizes: list[int], most: int, contacts: int, size: int) -> None:
    """Batches are at most half of what was too large, but for a contact that is larger alone; none is lost."""
    batcher = Batcher(BatchLimits(max_contacts=most, max_bytes=10_000), 0)
    rows = list(range(len(sizes)))
    made = [{"a": "x" * one} for one in sizes]
    half = len(rows) // 2
    before = batcher.feed(rows[:half], made[:half], [[] for _ in rows[:half]])
    waiting = half - sum(len(batch.rows) for batch in before)
    batcher.learn(contacts, size)
    after = batcher.feed(rows[half:], made[half:], [[] for _ in rows[half:]]) + batcher.flush()
    assert [row for batch in before + after for row in batch.rows] == rows
    for batch in after:
        if batch.rows[0] >= half or len(batch.rows) > waiting:
            assert len(batch.rows) <= max(1, min(most, contacts // 2))
            assert len(batch.rows) == 1 or len(batch.encoded) <= size // 2
