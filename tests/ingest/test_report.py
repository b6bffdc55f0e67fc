"""The account of a run."""

from __future__ import annotations

import datetime as dt
from typing import Any

import orjson
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async.errors import AccountingError
from kore_campaign_async.ingest.records import Settled, State
from kore_campaign_async.ingest.report import Calls, Counts, IngestReport, Tally, timestamp

STATES = ("accepted", "rejected", "duplicate", "suppressed", "refused", "uncertain", "unsent")

REPORT = IngestReport(
    run_id="run-1",
    state="finished",
    contact_list="Renewals",
    source="contacts.csv",
    started_at="2025-07-01T00:00:00.000Z",
    finished_at="2025-07-01T00:00:01.000Z",
    counts=Counts(read=10, accepted=4, rejected=3, duplicate=2, suppressed=1),
    calls=Calls(sent=2, retried=1),
    seconds=1.0,
    contacts_per_second=4.0,
    source_exhausted=True,
)


def settled(state: State, count: int) -> Settled:
    return Settled(state, list(range(count)), [[]] * count)


def exit_status(state: str = "finished", **counts: int) -> int:
    return evolve(REPORT, state=state, counts=Counts(**counts)).exit_status


def test_the_states_are_those_of_the_design() -> None:
    assert tuple(State) == STATES


def test_fold_adds_up() -> None:
    tally = Tally(read=12)
    for state, count in ((State.ACCEPTED, 3), (State.REJECTED, 2), (State.ACCEPTED, 4), (State.UNSENT, 0)):
        tally.fold(settled(state, count))
    assert tally.settled == 9
    assert tally.counts() == Counts(read=12, accepted=7, rejected=2, unsent=3)


def test_what_is_in_flight_counts_as_uncertain_and_the_rest_as_unsent() -> None:
    tally = Tally(read=100)
    tally.fold(settled(State.ACCEPTED, 40))
    tally.fold(settled(State.UNCERTAIN, 5))
    assert tally.counts(in_flight=10) == Counts(read=100, accepted=40, uncertain=15, unsent=45)


@given(st.lists(st.tuples(st.sampled_from(State), st.integers(0, 50)), max_size=20), st.integers(0, 30), st.data())
def test_the_counts_always_add_up(folds: list[tuple[State, int]], more: int, data: st.DataObject) -> None:
    tally = Tally(read=sum(count for _, count in folds) + more)
    for state, count in folds:
        tally.fold(settled(state, count))
    in_flight = data.draw(st.integers(0, more))
    counts = tally.counts(in_flight=in_flight)
    assert counts.settled == counts.read == tally.read
    if more:
        with pytest.raises(AccountingError):
            tally.check()
    else:
        tally.check()


def test_check_says_which_numbers_differ() -> None:
    tally = Tally(read=3)
    tally.fold(settled(State.ACCEPTED, 2))
    with pytest.raises(AccountingError, match=r"3 .* 2 "):
        tally.check()
    tally.fold(settled(State.UNCERTAIN, 2))
    with pytest.raises(AccountingError, match=r"3 .* 4 "):
        tally.check()


def test_calls() -> None:
    assert Tally(sent=3, retried=2, throttled=1).calls() == Calls(sent=3, retried=2, throttled=1)


def test_exit_status_0() -> None:
    assert exit_status() == 0
    assert exit_status(read=9, accepted=3, duplicate=3, suppressed=3) == 0
    assert exit_status(read=3, unsent=3) == 0  # a dry run


@pytest.mark.parametrize("state", ["rejected", "refused"])
def test_exit_status_1(state: str) -> None:
    assert exit_status(read=2, accepted=1, **{state: 1}) == 1


def test_exit_status_3_stands_before_1() -> None:
    assert exit_status(read=3, rejected=1, refused=1, uncertain=1) == 3


def test_exit_status_4_stands_before_3_and_1() -> None:
    assert exit_status("stopped", read=3, rejected=1, refused=1, uncertain=1) == 4
    assert exit_status("stopped") == 4


def test_the_report_has_the_fields_of_the_design() -> None:
    """In their order, with what was added behind them."""
    value = REPORT.to_dict()
    assert list(value) == [
        "run_id",
        "state",
        "contact_list",
        "source",
        "started_at",
        "finished_at",
        "counts",
        "calls",
        "seconds",
        "contacts_per_second",
        "source_exhausted",
        "stopped_because",
        "notices",
        "budget",
        "plan",
        "do_not_contact",
    ]
    assert value["budget"] == {"used": None, "waited_seconds": 0.0}
    assert value["plan"] is None
    assert list(value["counts"]) == ["read", *STATES]
    assert list(value["calls"]) == ["sent", "retried", "throttled"]
    assert value["stopped_because"] is None


counts = st.integers(0, 10**7)


@given(
    st.builds(Counts, **dict.fromkeys(("read", *STATES), counts)),
    st.builds(Calls, sent=counts, retried=counts, throttled=counts),
    st.none() | st.text(),
    st.lists(st.text(), max_size=2).map(tuple),
)
def test_a_report_comes_back_from_its_json(
    numbers: Counts, calls: Calls, because: str | None, notices: tuple[str, ...]
) -> None:
    report = evolve(REPORT, counts=numbers, calls=calls, stopped_because=because, notices=notices)
    assert IngestReport.from_dict(orjson.loads(orjson.dumps(report.to_dict()))) == report


def test_fields_of_a_newer_version_are_passed_over() -> None:
    assert IngestReport.from_dict({**REPORT.to_dict(), "weather": "fair"}) == REPORT


@pytest.mark.parametrize("part", ["counts", "calls"])
def test_so_are_newer_fields_of_its_parts(part: str) -> None:
    value = REPORT.to_dict()
    value[part]["weather"] = 0
    assert IngestReport.from_dict(value) == REPORT


def test_a_report_of_before_notices_is_read() -> None:
    value = REPORT.to_dict()
    del value["notices"]
    assert IngestReport.from_dict(value) == REPORT


@pytest.mark.parametrize("value", [{}, {"counts": {}, "calls": {}}, {"counts": 5, "calls": 5}, {"run_id": "x"}])
def test_what_is_no_report_raises(value: dict[str, Any]) -> None:
    with pytest.raises((KeyError, TypeError)):
        IngestReport.from_dict(value)


def test_times_are_in_utc_with_a_z() -> None:
    east = dt.timezone(dt.timedelta(hours=2))
    assert timestamp(dt.datetime(2025, 7, 1, 1, 2, 3, 456789, tzinfo=east)) == "2025-06-30T23:02:03.456Z"
    assert timestamp(dt.datetime(2025, 7, 1, tzinfo=dt.UTC)) == "2025-07-01T00:00:00.000Z"
