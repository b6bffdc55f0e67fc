"""Five batches that ended the same bad way, with none that was sent after the first of them accepted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async.ingest.breaker import BATCHES, Breaker


def sent(breaker: Breaker, count: int) -> list[int]:
    return [breaker.sending() for _ in range(count)]


def test_places_are_the_order_of_sending() -> None:
    assert sent(Breaker(), 4) == [1, 2, 3, 4]


def test_five_the_same_way_stop() -> None:
    breaker = Breaker()
    assert [breaker.failed(place, "uncertain") for place in sent(breaker, 6)] == [False] * 4 + [True] * 2


def test_an_accepted_batch_that_was_sent_after_the_first_resets() -> None:
    breaker = Breaker()
    for place in sent(breaker, 4):
        assert not breaker.failed(place, "uncertain")
    breaker.accepted(breaker.sending())
    assert [breaker.failed(place, "uncertain") for place in sent(breaker, 5)] == [False] * 4 + [True]


def test_an_accepted_batch_that_was_sent_before_the_first_does_not() -> None:
    """A slow success of before the outage tells nothing of now."""
    breaker = Breaker()
    slow = breaker.sending()
    failing = sent(breaker, 5)
    for place in failing[:4]:
        assert not breaker.failed(place, "uncertain")
    breaker.accepted(slow)
    assert breaker.failed(failing[4], "uncertain")


def test_different_ways_count_apart() -> None:
    breaker = Breaker()
    ways = ["refused", "uncertain"] * 4
    assert not any(breaker.failed(breaker.sending(), way) for way in ways)
    assert not breaker.failed(breaker.sending(), "another")
    assert breaker.failed(breaker.sending(), "uncertain")


def test_an_accepted_batch_between_them_takes_those_before_it() -> None:
    """Completions come out of order: what counts is the order of sending."""
    breaker = Breaker()
    places = sent(breaker, 7)
    for place in (6, 5, 2, 1):
        assert not breaker.failed(place, "uncertain")
    breaker.accepted(places[2])
    assert not breaker.failed(places[6], "uncertain")
    assert not breaker.failed(places[3], "uncertain")
    assert breaker.failed(breaker.sending(), "uncertain")


def test_a_failure_that_was_sent_before_an_accepted_one_counts_no_more() -> None:
    breaker = Breaker()
    places = sent(breaker, 6)
    breaker.accepted(places[5])
    assert not any(breaker.failed(place, "uncertain") for place in places[:5])
    assert [breaker.failed(place, "uncertain") for place in sent(breaker, 5)] == [False] * 4 + [True]


@given(st.permutations(range(1, 25)), st.lists(st.sampled_from(["accepted", "a", "b"]), min_size=24, max_size=24))
def test_it_is_what_the_rule_says_in_any_order(order: list[int], ends: list[str]) -> None:
    """The rule, literally: five of one way, none accepted of those sent after the first of the five."""
    breaker = Breaker()
    sent(breaker, 24)
    done: list[tuple[int, str]] = []
    for place, end in zip(order, ends, strict=True):
        done.append((place, end))
        if end == "accepted":
            breaker.accepted(place)
            continue
        same = sorted((one for one, way in done if way == end), reverse=True)[:BATCHES]
        accepted = [one for one, way in done if way == "accepted"]
        stops = len(same) == BATCHES and not any(one > same[-1] for one in accepted)
        assert breaker.failed(place, end) == stops
