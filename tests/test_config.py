"""Settings are checked when they are made, and a wrong one says in a sentence what it must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs.exceptions import FrozenInstanceError
from hypothesis import given, settings
from hypothesis import strategies as st

from kore_campaign_async.config import (
    DEFAULT_RATE,
    BatchLimits,
    IngestOptions,
    RateLimit,
    ReplyLimits,
    RetryPolicy,
    Timeouts,
    parse_rates,
)

NOT_POSITIVE = (0, 0.0, -1, -0.5, float("nan"), float("inf"), float("-inf"), True, "30", None)
NOT_WHOLE = (0, -1, 1.0, 2.5, True, "5", None, float("nan"))


@pytest.mark.parametrize(
    ("text", "calls", "seconds"),
    [
        ("60/60", 60, 60.0),
        ("1/1", 1, 1.0),
        ("  1800/3600\n", 1800, 3600.0),
        ("5/0.25", 5, 0.25),
        ("999999999/999999999.5", 999999999, 999999999.5),
        ("007/60", 7, 60.0),
    ],
)
def test_a_rate_is_calls_over_seconds(text: str, calls: int, seconds: float) -> None:
    assert RateLimit.parse(text) == RateLimit(calls, seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "60",
        "60/",
        "/60",
        "60/60/60",
        "60 / 60",
        "-60/60",
        "60/-60",
        "1e3/60",
        "60/1e3",
        "60/inf",
        "60/nan",
        "6_0/60",
        "٦٠/٦٠",
        "1.5/60",
        "60/.5",
        "60/1.",
        "60per60",
        "none",
        "1234567890/60",
    ],
)
def test_anything_else_is_no_rate_and_is_quoted_in_the_sentence(text: str) -> None:
    with pytest.raises(
        ValueError, match="a rate is written CALLS/SECONDS, such as 60/60 or 60/60,even, or none"
    ) as caught:
        RateLimit.parse(text)
    assert repr(text) in str(caught.value)


def test_a_rate_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^RateLimit: calls is 0; it must be a whole number, 1 or more$"):
        RateLimit.parse("0/60")
    with pytest.raises(ValueError, match=r"^RateLimit: seconds is 0\.0; it must be a number above 0$"):
        RateLimit.parse("60/0")


@settings(deadline=None)
@given(st.integers(1, 999_999_999), st.integers(1, 999_999_999_000_000))
def test_a_rate_reads_back_what_it_writes(calls: int, microseconds: int) -> None:
    """`parse` takes every text that `str` makes of a rate that was parsed, and it is the same rate."""
    limit = RateLimit.parse(f"{calls}/{microseconds / 1e6:.6f}")
    assert RateLimit.parse(str(limit)) == limit


def test_a_rate_is_written_as_on_the_command_line() -> None:
    assert str(RateLimit(60, 60.0)) == "60/60"
    assert str(RateLimit(5, 0.25)) == "5/0.25"


def test_several_windows() -> None:
    assert parse_rates(("60/60", "1800/3600")) == (RateLimit(60, 60.0), RateLimit(1800, 3600.0))
    assert parse_rates(("60/60",)) == DEFAULT_RATE


def test_none_is_no_limit_and_stands_alone() -> None:
    assert parse_rates(("none",)) == ()
    for texts in (("none", "60/60"), ("60/60", "none"), ("none", "none")):
        with pytest.raises(ValueError, match="the rate none stands alone"):
            parse_rates(texts)


def test_one_wrong_rate_among_good_ones_is_named() -> None:
    with pytest.raises(ValueError, match="this is '60:60'"):
        parse_rates(("60/60", "60:60"))


@pytest.mark.parametrize("value", NOT_POSITIVE)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Timeouts, "total_seconds"),
        (Timeouts, "connect_seconds"),
        (RetryPolicy, "deadline_seconds"),
        (RetryPolicy, "wait_initial_seconds"),
        (RetryPolicy, "wait_max_seconds"),
        (RetryPolicy, "retry_after_max_seconds"),
    ],
)
def test_seconds_are_numbers_above_0(kind: type[Any], name: str, value: object) -> None:
    with pytest.raises(ValueError, match="it must be a number above 0") as caught:
        kind(**{name: value})
    assert str(caught.value) == f"{kind.__name__}: {name} is {value!r}; it must be a number above 0"


@pytest.mark.parametrize("value", NOT_WHOLE)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (RetryPolicy, "attempts"),
        (RetryPolicy, "throttled_answers"),
        (ReplyLimits, "call_bytes"),
        (ReplyLimits, "listing_bytes"),
        (BatchLimits, "max_contacts"),
        (BatchLimits, "max_bytes"),
        (IngestOptions, "concurrency"),
    ],
)
def test_counts_are_whole_numbers_from_1(kind: type[Any], name: str, value: object) -> None:
    with pytest.raises(ValueError, match="it must be a whole number, 1 or more") as caught:
        kind(**{name: value})
    assert str(caught.value) == f"{kind.__name__}: {name} is {value!r}; it must be a whole number, 1 or more"


@pytest.mark.parametrize("value", ["", "AUTO", "yes", None, True])
def test_on_uncertain_is_one_of_three_words(value: Any) -> None:
    with pytest.raises(ValueError, match="it must be one of auto, hold, resend") as caught:
        IngestOptions(on_uncertain=value)
    assert str(caught.value).startswith(f"IngestOptions: on_uncertain is {value!r};")


def test_the_defaults_are_the_designs() -> None:
    assert (RateLimit(60, 60.0),) == DEFAULT_RATE
    assert Timeouts().total_seconds == 30.0
    policy = RetryPolicy()
    assert (policy.attempts, policy.deadline_seconds) == (5, 60.0)
    assert (policy.wait_initial_seconds, policy.wait_max_seconds) == (0.5, 20.0)
    assert BatchLimits() == BatchLimits(max_contacts=1000, max_bytes=1048576)
    options = IngestOptions()
    assert (options.concurrency, options.on_uncertain) == (8, "auto")
    assert (options.keep_duplicates, options.list_drops_duplicates, options.dry_run) == (False, False, False)


def test_suppress_takes_texts_and_paths() -> None:
    assert IngestOptions(suppress=["a.txt", Path("b.txt")]).suppress == (Path("a.txt"), Path("b.txt"))  # type: ignore[arg-type]


@pytest.mark.parametrize(("value", "region"), [("US", "US"), (" de ", "DE"), (None, None)])
def test_a_region_is_two_letters(value: Any, region: str | None) -> None:
    assert IngestOptions(region=value).region == region


@pytest.mark.parametrize("value", ["USA", "", "1", 1, "Ü1"])
def test_what_is_no_region_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="it must be two letters of ISO 3166, such as US"):
        IngestOptions(region=value)


def test_numbers_that_must_not_be_called_are_in_no_repr() -> None:
    assert "1415" not in repr(IngestOptions(do_not_contact={"+14155550123"}))


@pytest.mark.parametrize(
    "value", [Timeouts(), RetryPolicy(), ReplyLimits(), BatchLimits(), IngestOptions(), RateLimit(1, 1.0)]
)
def test_settings_are_frozen(value: Any) -> None:
    with pytest.raises(FrozenInstanceError):
        value.anything = 1
