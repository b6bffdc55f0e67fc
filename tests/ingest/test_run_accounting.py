"""The account of a run, whatever comes in and whatever the API answers: random sources, limits and answers."""

from __future__ import annotations

import asyncio
import csv
import io
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kore_campaign_async import BatchLimits, IngestOptions, IngestReport, Outcome, State, iter_outcomes
from tests.ingest.pushing import (
    ACCEPT,
    CLOSE,
    FAIL,
    LIST,
    THROTTLE,
    TOO_LARGE,
    Answer,
    ScriptedApi,
    check_report,
    check_run_dir,
    check_tasks,
    client_for,
    outcome_files,
    refuse,
)


def examples(count: int) -> settings:
    """That many random runs, however long one takes."""
    return settings(
        max_examples=count,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


# Every row carries a tag that no other row has, so that a duplicate can be told from the contact that it doubles.
KNOWN = [f"+1415555{index:04d}" for index in range(40)]
BARRED = KNOWN[::9]
BAD = ["", " ", "12", "+0123456789", "not a number", "+1415555\n0001", "١٤١٥٥٥٥٠٠٠١"]
numbers = st.one_of(
    st.sampled_from(KNOWN),
    st.sampled_from(KNOWN).map(lambda one: one.removeprefix("+")),
    st.sampled_from(KNOWN).map(lambda one: f"({one[:2]}) {one[2:5]}-{one[5:8]}.{one[8:]}"),
    st.integers(10**7, 10**12).map(str),
    st.sampled_from(BAD),
)
notes = st.one_of(
    st.just(""),
    st.text(max_size=12),
    st.sampled_from(['a "quoted" word', "a, b", "two\nlines", "\0", "x" * 120, "é" * 290, "x" * 301, " "]),
)

# What may stand in a CSV file that nobody wrote with a CSV writer; no letter of a tag is in it.
junk = st.lists(
    st.sampled_from([b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xc3", b" ", b"9", "é".encode()]),
    max_size=8,
).map(b"".join)


@frozen
class Source:
    """A file's bytes, or mappings."""

    content: bytes | list[dict[str, Any]]


@st.composite
def sources(draw: st.DrawFn) -> Source:
    """Valid, invalid, doubled, barred and oversized rows."""
    rows = draw(st.lists(st.tuples(numbers, notes), max_size=40))
    kind = draw(st.sampled_from(["csv", "torn csv", "mappings"]))
    if kind == "mappings":
        values = st.one_of(st.integers(), st.booleans(), st.none(), st.floats(), st.just([1]))
        return Source(
            [
                {"phone": one, "tag": f"t{row}", "note": note, **({"n": draw(values)} if row % 4 == 0 else {})}
                for row, (one, note) in enumerate(rows, 1)
            ]
        )
    # A header alone is no source.
    rows = rows or [(KNOWN[0], "")]
    text = io.StringIO(newline="")
    quoting = draw(st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    writer = csv.writer(text, quoting=quoting, lineterminator=draw(st.sampled_from(["\n", "\r\n"])))
    if kind == "csv":
        writer.writerow(["phone", "tag", "note"])
        writer.writerows([one, f"t{row}", note] for row, (one, note) in enumerate(rows, 1))
        return Source(text.getvalue().encode("utf-8", "replace"))
    lines = [
        b"%s,t%d,%s\n" % (one.strip().replace("\n", "").encode(), row, draw(junk))
        for row, (one, _) in enumerate(rows, 1)
    ]
    return Source(b"phone,tag,note\n" + b"".join(lines))


answers = st.lists(
    st.sampled_from([ACCEPT, ACCEPT, ACCEPT, refuse(400), TOO_LARGE, THROTTLE, FAIL, CLOSE]), max_size=25
)
limits = st.builds(
    BatchLimits,
    max_contacts=st.one_of(st.integers(1, 8), st.just(1000)),
    max_bytes=st.one_of(st.integers(60, 1200), st.just(1 << 20)),
)


@frozen
class Told:
    """What one run told, and what the API saw of it."""

    report: IngestReport
    outcomes: list[Outcome]
    files: dict[str, list[tuple[int, str, list[str]]]]
    api: ScriptedApi

    def tags(self, *states: State) -> set[str]:
        return {str(one.record.get("tag")) for one in self.outcomes if one.state in states}

    def sent_tags(self) -> set[str]:
        return {contact["tag"] for call in self.api.calls for contact in call.contacts if "tag" in contact}

    def processed_tags(self) -> set[str]:
        """The contacts that the API took, whatever it answered."""
        return {
            contact["tag"]
            for call, answer in zip(self.api.calls, self.api.given, strict=True)
            if answer.processes
            for contact in call.contacts
            if "tag" in contact
        }


async def run(source: Source, script: list[Answer], allow_duplicates: bool | None, options: IngestOptions) -> Told:
    """Push in a run directory of its own, and read all that it left."""
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made)
        barred = directory / "dnc.txt"
        barred.write_text("\n".join(BARRED))
        content: Any = source.content
        if isinstance(content, bytes):
            (directory / "c.csv").write_bytes(content)
            content = directory / "c.csv"
        options = IngestOptions(
            batch=options.batch,
            concurrency=options.concurrency,
            on_uncertain=options.on_uncertain,
            keep_duplicates=options.keep_duplicates and allow_duplicates is not False,
            suppress=(barred,),
            max_rejected=100,
        )
        async with ScriptedApi(script, allow_duplicates=allow_duplicates) as api, client_for(api.url) as client:
            before = asyncio.all_tasks()
            stream = iter_outcomes(client, content, contact_list=LIST, run_dir=directory / "run", options=options)
            outcomes = [one async for one in stream]
            await check_tasks(before)
        report = stream.report
        assert report is not None
        assert check_run_dir(directory / "run") == report
        return Told(report, outcomes, outcome_files(directory / "run"), api)


def check_outcomes(told: Told) -> None:
    """The stream, the counts and the files tell one story, in which each row stands once."""
    report = told.report
    check_report(report)
    assert report.counts.read == report.counts.settled
    assert sorted(one.row for one in told.outcomes) == list(range(1, report.counts.read + 1))
    states = Counter(one.state for one in told.outcomes)
    assert {state: states[state] for state in State} == {state: getattr(report.counts, state) for state in State}
    in_files = {row: reason for entries in told.files.values() for row, reason, _ in entries}
    assert in_files == {one.row: one.reason for one in told.outcomes if one.state not in {State.ACCEPTED, State.UNSENT}}
    assert report.calls.sent == len(told.api.calls)
    assert report.calls.throttled == told.api.given.count(THROTTLE)


def check_truth(told: Told) -> None:
    """What the run tells is what the API saw."""
    # All that the API took is accepted or uncertain.
    assert told.processed_tags() <= told.tags(State.ACCEPTED, State.UNCERTAIN)
    # All that is called accepted was taken.
    assert told.tags(State.ACCEPTED) <= told.processed_tags()
    # What was left out or rejected never came near the API, and what is refused or uncertain did.
    assert not told.sent_tags() & told.tags(State.REJECTED, State.DUPLICATE, State.SUPPRESSED)
    assert told.tags(State.REFUSED, State.UNCERTAIN) <= told.sent_tags()
    # No number of a do-not-contact file is in any call.
    assert not told.api.received.keys() & {one.removeprefix("+") for one in BARRED}


@examples(150)
@given(
    source=sources(),
    script=answers,
    allow_duplicates=st.sampled_from([True, False, None]),
    options=st.builds(
        IngestOptions,
        batch=limits,
        concurrency=st.integers(1, 8),
        on_uncertain=st.sampled_from(["auto", "hold", "resend"]),
        keep_duplicates=st.booleans(),
    ),
)
async def test_every_row_ends_once_in_the_state_that_is_true(
    source: Source, script: list[Answer], allow_duplicates: bool | None, options: IngestOptions
) -> None:
    """`read` is the sum of the states, each row stands once, and no state is a lie."""
    told = await run(source, script, allow_duplicates, options)
    check_outcomes(told)
    check_truth(told)


@examples(90)
@given(
    source=sources(),
    script=answers,
    allow_duplicates=st.sampled_from([True, None]),
    options=st.builds(IngestOptions, batch=limits, concurrency=st.integers(1, 8), keep_duplicates=st.just(False)),
)
async def test_nobody_is_called_twice(
    source: Source, script: list[Answer], allow_duplicates: bool | None, options: IngestOptions
) -> None:
    """On a list that keeps duplicates no number is taken twice, whatever the API answers."""
    told = await run(source, script, allow_duplicates, options)
    check_outcomes(told)
    check_truth(told)
    assert set(told.api.processed.values()) <= {1}


@examples(120)
@given(
    junk=st.lists(
        st.one_of(
            st.binary(max_size=6),
            st.sampled_from([b'"', b",", b"\n", b"\r\n", b"+14155550001", b"14155550002", b",x,", b'"\n"']),
        ),
        max_size=40,
    ).map(b"".join),
    script=answers,
    options=st.builds(IngestOptions, batch=limits, concurrency=st.integers(1, 8)),
)
async def test_any_bytes_behind_a_header_are_accounted_for(
    junk: bytes, script: list[Answer], options: IngestOptions
) -> None:
    """Whatever a file holds, the rows that are read add up, and the files agree with the stream."""
    told = await run(Source(b"phone,tag,note\n+14155550000,t1,\n" + junk), script, True, options)
    check_outcomes(told)
    assert set(told.api.processed.values()) <= {1}


@examples(120)
@given(
    count=st.integers(0, 60),
    too_large=st.integers(1, 61),
    batch=limits,
    concurrency=st.integers(1, 8),
)
async def test_a_server_that_takes_less_than_the_batches_hold(
    count: int, too_large: int, batch: BatchLimits, concurrency: int
) -> None:
    """413 splits until the parts fit: all that fits alone is accepted once, all else is refused."""
    items = [
        {"phone": f"+1415{5550000 + index}", "note": "x" * (250 if index == too_large else 20)}
        for index in range(1, count + 1)
    ]
    options = IngestOptions(
        batch=BatchLimits(max_contacts=batch.max_contacts), concurrency=concurrency, max_rejected=100
    )
    async with ScriptedApi(max_body_bytes=200) as api, client_for(api.url) as client:
        stream = iter_outcomes(client, items, contact_list=LIST, options=options)
        by_row = {one.row: one.state async for one in stream}
    assert stream.report is not None
    check_report(stream.report)
    assert by_row == {row: State.REFUSED if row == too_large else State.ACCEPTED for row in range(1, count + 1)}
    assert len(api.processed) == sum(api.processed.values()) == count - (too_large <= count)
