"""What others wrote, as it can be shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async.cli.sanitize import legible
from kore_campaign_async.redaction import masked_cell, masked_words


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Zoë", "Zoë"),
        ("नमस्ते", "नमस्ते"),
        ("می\u200cرم", "می\u200cرم"),  # the joiner is part of the word
        ("👩\u200d💻", "👩\u200d💻"),
        ("a\tb\r\nc\u2028d\u00a0e", "a b c d e"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("abc\u202edcba\u2066x\u200f", "abc\\u202edcba\\u2066x\\u200f"),
        ("\ud800", "\\ud800"),
        ("\0", "\\x00"),
        ("", ""),
    ],
)
def test_what_steers_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert legible(text, 100) == shown


def test_what_is_long_is_cut_and_says_so() -> None:
    assert legible("x" * 100_000, 5) == "xxxxx… (100,000 characters)"
    assert legible("xxxxx", 5) == "xxxxx"
    assert legible("xxxxx", 5, 400) == "xxxxx… (400 characters)"
    assert legible("\x1b" * 5, 5) == "\\x1b\\… (5 characters)"


@given(st.text(), st.integers(1, 50))
def test_it_is_one_line_that_can_be_written(text: str, most: int) -> None:
    shown = legible(text, most)
    assert len(shown) <= most + 30
    assert all(character.isprintable() or character in "\u200c\u200d" for character in shown)
    shown.encode()


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("+1 (415) 555-0123", "+• (•••) •••-•123"),
        ("14155550123", "••••••••123"),
        ("12345", "••345"),
        ("123", "123"),
        ("call the office", "call the office"),
        ("٠١٢٣٤٥٦", "••••٤٥٦"),
        ("", ""),
    ],
)
def test_a_number_is_masked_but_for_its_last_three_digits(text: str, masked: str) -> None:
    assert masked_cell(text) == masked


def test_so_are_numbers_in_words() -> None:
    said = "400: +1 415-555-0123 is bad on 2025-07-01 (data[17])"
    assert masked_words(said) == "400: +• •••-•••-•123 is bad on 2025-07-01 (data[17])"


@given(st.text(alphabet="0123456789+-() .", max_size=40))
def test_no_more_than_three_digits_are_left(text: str) -> None:
    assert sum(map(str.isdigit, masked_cell(text))) <= 3
    assert len(masked_cell(text)) == len(text)
