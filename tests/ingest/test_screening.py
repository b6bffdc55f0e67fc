"""Numbers that came before, and numbers that must not be called."""

from __future__ import annotations

import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest import screening
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.records import Slice
from kore_campaign_async.ingest.screening import NumbersSeen, read_suppressed


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        read_suppressed((path,))
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.fixture
def dnc(tmp_path: Path) -> Path:
    return tmp_path / "dnc.csv"


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


def test_a_number_a_line(dnc: Path) -> None:
    """`+` and separators make no difference; blank lines are none."""
    dnc.write_bytes(b"+14155550123\n\n  \n4930 123-4567\r\n(+33) 1.23.45.67.89")
    assert read_suppressed((dnc,)) == {14155550123, 49301234567, 33123456789}


def test_a_csv_file_with_a_number_column(dnc: Path) -> None:
    dnc.write_text('Name,Phone Number,note\n"A, B",+14155550123,"two\nlines"\n,4930123456,\n\n,,\n', encoding="utf-8")
    assert read_suppressed((dnc,)) == {14155550123, 4930123456}


@pytest.mark.parametrize("head", [b"", b"phone\n", b"\r\nMobile\r\n", b"Phone,Name\n"])
def test_a_byte_order_mark_is_passed_over(dnc: Path, head: bytes) -> None:
    dnc.write_bytes(b"\xef\xbb\xbf" + head + b"+14155550123\n")
    assert read_suppressed((dnc,)) == {14155550123}


def test_several_files_are_one_set(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("+14155550123\n+14155550124\n")
    two.write_text("phone\n14155550124\n14155550125\n")
    assert read_suppressed((one, two)) == {14155550123, 14155550124, 14155550125}
    assert read_suppressed(()) == set()


def test_an_empty_file_holds_none(dnc: Path) -> None:
    dnc.write_bytes(b"\n")
    assert read_suppressed((dnc,)) == set()


@pytest.mark.parametrize(
    ("text", "line", "shown"),
    [
        ("+14155550123\n\nnobody\n", 3, "'nobody'"),
        ("phone,name\n+14155550123,Ana\n0123,Bob\n", 3, "'0123'"),
        ("name,phone\nAna\n", 2, "''"),
        ("name,phone\nAna,\n", 2, "''"),
        ('name,phone\n"Ana\nMay",+14155550123\nBob,x\n', 4, "'x'"),
        ("Numbers\n+14155550123\n", 1, "'Numbers'"),
    ],
)
def test_a_line_without_a_number_is_named(dnc: Path, text: str, line: int, shown: str) -> None:
    """Somebody who must not be called could hide behind it."""
    dnc.write_text(text)
    message = refusal(dnc)
    assert f"line {line}: {shown}" in message


def test_a_long_line_is_shown_shortened(dnc: Path) -> None:
    dnc.write_text("x" * 100_000)
    assert len(refusal(dnc)) < 300 + len(str(dnc))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("phone,mobile\n+14155550123,+14155550124\n", "two number columns"),
        ("name,city\nAna,Bonn\n", "no number column"),
        ("+14155550123,+14155550124\n", "no number column"),
    ],
)
def test_a_table_needs_one_number_column(dnc: Path, text: str, word: str) -> None:
    dnc.write_text(text)
    assert word in refusal(dnc)


@pytest.mark.parametrize(
    "text",
    [
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob\n',
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob\n+14155550125,"Cy\n',
        '"+14155550123\n+14155550124\n',
    ],
)
def test_a_quote_that_never_closes_hides_nobody(dnc: Path, text: str) -> None:
    """It would swallow the numbers behind it."""
    dnc.write_text(text)
    try:
        numbers = read_suppressed((dnc,))
    except SourceError:
        return
    assert numbers >= {14155550123, 14155550124}


def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "missing.csv")
    assert "directory" in refusal(tmp_path)


@pytest.mark.parametrize("data", [b"+1415\xff5550123\n", "+14155550123\n".encode("utf-16"), b"x" * 200_000 + b"\n"])
def test_a_file_that_is_no_text_is_refused(dnc: Path, data: bytes) -> None:
    dnc.write_bytes(data)
    refusal(dnc)
