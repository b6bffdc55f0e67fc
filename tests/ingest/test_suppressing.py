"""Numbers that must not be called, in files, collections and functions."""

from __future__ import annotations

import array
import asyncio
import functools
import gzip
import threading
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kore_campaign_async import (
    BatchLimits,
    IngestOptions,
    RunDirectoryError,
    SourceError,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async.ingest.journal import read_known
from kore_campaign_async.ingest.numbering import NumberingPlans
from kore_campaign_async.ingest.records import State
from kore_campaign_async.ingest.sources import opening
from kore_campaign_async.ingest.suppressing import Reading, read_suppressed
from tests.ingest.pushing import (
    HANG,
    LIST,
    Answer,
    Call,
    check_run_dir,
    csv_of,
    number,
    numbers,
    outcome_files,
    push,
    refuse,
    rows_in,
    scripted,
)

US = NumberingPlans("US", strict=False)


async def read(*paths: Path, **given: Any) -> set[int]:
    return set(await read_suppressed(paths, **given))


async def refusal(path: Path, **given: Any) -> str:
    with pytest.raises(SourceError) as caught:
        await read_suppressed((path,), **given)
    message = str(caught.value)
    assert message.startswith(f"the do-not-contact file {path}")
    assert message.count(str(path)) == 1
    assert "\n" not in message
    return message


@pytest.fixture
def dnc(tmp_path: Path) -> Path:
    return tmp_path / "dnc.csv"


# Files


async def test_a_number_a_line(dnc: Path) -> None:
    """`+` and separators make no difference; blank lines are none."""
    dnc.write_bytes(b"+14155550123\n\n  \n4930 123-4567\r\n(+33) 1.23.45.67.89")
    assert await read(dnc) == {14155550123, 49301234567, 33123456789}


@pytest.mark.parametrize("text", ["+14155550123", "+14155550123\n", "phone\n+14155550123", "\n\n+14155550123\n\n"])
async def test_a_single_number(dnc: Path, text: str) -> None:
    dnc.write_text(text)
    assert await read(dnc) == {14155550123}


async def test_a_csv_file_with_a_number_column(dnc: Path) -> None:
    dnc.write_text('Name,Phone Number,note\n"A, B",+14155550123,"two\nlines"\n,49301234567,\n\n,,\n', encoding="utf-8")
    assert await read(dnc) == {14155550123, 49301234567}


async def test_another_column_may_hold_other_bytes(dnc: Path) -> None:
    dnc.write_bytes(b"phone,name\n+14155550123,Zo\xeb\n")
    assert await read(dnc) == {14155550123}


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8"])
async def test_files_as_other_programs_write_them(dnc: Path, encoding: str) -> None:
    dnc.write_bytes(gzip.compress("Prénom;Phone\nZoë;+14155550123\n".encode(encoding)))
    assert await read(dnc) == {14155550123}


@pytest.mark.parametrize("head", [b"", b"phone\n", b"\r\nMobile\r\n", b"Phone,Name\n"])
async def test_a_byte_order_mark_is_passed_over(dnc: Path, head: bytes) -> None:
    dnc.write_bytes(b"\xef\xbb\xbf" + head + b"+14155550123\n")
    assert await read(dnc) == {14155550123}


async def test_several_files_are_one_set(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("+14155550123\n+14155550124\n")
    two.write_text("phone\n14155550124\n14155550125\n")
    assert await read(one, two) == {14155550123, 14155550124, 14155550125}
    assert await read() == set()


@pytest.mark.parametrize("text", ["", "\n", "phone\n", "name,phone\n"])
async def test_an_empty_file_must_be_meant(dnc: Path, text: str) -> None:
    """It bars nobody, so it may be the wrong file."""
    dnc.write_text(text)
    assert "holds no numbers" in await refusal(dnc)
    assert await read(dnc, reading=Reading(allow_empty=True)) == set()


async def test_ndjson(tmp_path: Path) -> None:
    dnc = tmp_path / "dnc.ndjson"
    dnc.write_text('{"phone": "+1 415 555 0123", "since": 2020}\n\n{"Mobile": 14155550124}\n')
    assert await read(dnc) == {14155550123, 14155550124}


@pytest.mark.parametrize("text", ['{"phone": null}', '{"name": "Ana"}', "[1]", '{"phone": 1.5e9}', '"+14155550124"'])
async def test_a_line_of_ndjson_without_a_number_is_named(tmp_path: Path, text: str) -> None:
    dnc = tmp_path / "dnc.ndjson"
    dnc.write_text('{"phone": "+14155550123"}\n' + text + "\n")
    assert "row 2" in await refusal(dnc)


async def test_a_line_of_ndjson_with_two_numbers_bars_both(tmp_path: Path) -> None:
    dnc = tmp_path / "dnc.ndjson"
    dnc.write_text('{"phone": "+14155550123", "mobile": "+14155550124"}\n')
    assert await read(dnc) == {14155550123, 14155550124}


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
async def test_tables(tmp_path: Path, kind: str) -> None:
    """A row of nothing is none; one without a number is named."""
    dnc = tmp_path / f"dnc.{kind}"
    frame = pl.DataFrame({"name": ["Ana", None, "Bob"], "phone": [14155550123, None, 14155550124]})
    (frame.write_parquet if kind == "parquet" else frame.write_ipc)(dnc)
    assert await read(dnc) == {14155550123, 14155550124}
    frame = frame.with_columns(name=pl.lit("Cy"))
    (frame.write_parquet if kind == "parquet" else frame.write_ipc)(dnc)
    assert "row 2 holds no phone number." in await refusal(dnc)


async def test_a_large_file_is_read_by_tables(dnc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", 0)
    lines = [f"+1{4_150_000_000 + row}" for row in range(150_000)]
    dnc.write_text("\n".join(lines))
    assert await read(dnc) == {int(line) for line in lines}
    lines[140_000] = "nobody"
    dnc.write_text("\n".join(lines))
    assert "row 140001 holds no phone number: 'nobody'" in await refusal(dnc)


async def test_what_a_run_left_out_is_a_do_not_contact_file(tmp_path: Path) -> None:
    """Its columns `row` and `reason` are no numbers."""
    source = csv_of(tmp_path / "c.csv", "phone,name", f"{number(1)},Ana", f"{number(2)},Bob")
    barred = csv_of(tmp_path / "dnc.csv", number(2))
    async with scripted() as (_, client):
        await push(client, source, run_dir=tmp_path / "run", suppress=(barred,))
        await push(client, [{"phone": number(2), "n": "x"}], run_dir=tmp_path / "two", suppress=(barred,))
    for run in ("run", "two"):
        assert await read(tmp_path / run / "left_out.csv") == {int(number(2))}


@pytest.mark.parametrize(
    ("text", "row", "shown"),
    [
        ("+14155550123\n\nnobody\n", 3, "'nobody'"),
        ("phone,name\n+14155550123,Ana\n0123,Bob\n", 3, "'0123'"),
        ("name,phone\nAna\n", 2, ""),
        ("name,phone\nAna,\n", 2, ""),
        ('name,phone\n"Ana\nMay",+14155550123\nBob,x\n', 3, "'x'"),
    ],
)
async def test_a_row_without_a_number_is_named(dnc: Path, text: str, row: int, shown: str) -> None:
    """Somebody who must not be called could hide behind it."""
    dnc.write_text(text)
    said = await refusal(dnc)
    assert f"can't be read in 1 row: row {row} holds no phone number{': ' * bool(shown)}{shown}. Write each" in said


async def test_a_number_that_is_too_long_is_named(dnc: Path) -> None:
    dnc.write_text("+14155550123\n+1415555012345678\n")
    assert "row 2 may be a number without its country code: '+***'" in await refusal(dnc)


async def test_a_heading_of_any_name_over_one_column_is_no_number(dnc: Path) -> None:
    dnc.write_text("Blocked\n+14155550123\n")
    assert await read(dnc) == {14155550123}


async def test_a_long_line_is_shown_shortened(dnc: Path) -> None:
    dnc.write_text("x" * 100_000)
    assert len(await refusal(dnc)) < 300 + len(str(dnc))


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name,city\nAna,Bonn\n", "no number column; its columns are 'name', 'city'"),
        ("id\tcity\n1\tBonn\n", "no number column"),
    ],
)
async def test_a_table_needs_a_number_column(dnc: Path, text: str, word: str) -> None:
    dnc.write_text(text)
    assert word in await refusal(dnc)


@pytest.mark.parametrize(
    "text",
    [
        "phone,mobile\n+14155550123,+14155550124\n",
        "+14155550123,+14155550124\n",
        "phone,Phone 2\n+14155550123,+14155550124\n",
        "Telefon;Handy\n+14155550123;+14155550124\n",
        "name,erreichbar unter,phone\nAna,+14155550124,+14155550123\n",
    ],
)
async def test_every_phone_column_is_read(dnc: Path, text: str) -> None:
    """By its name, or by what stands in it."""
    dnc.write_text(text)
    assert await read(dnc) == {14155550123, 14155550124}


@pytest.mark.parametrize(
    "text",
    [
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob\n',
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob\n+14155550125,"Cy\n',
        '"+14155550123\n+14155550124\n',
        'phone,name\n+14155550123,"Ana\n+14155550124,Bob"\n',
    ],
)
async def test_a_quote_that_never_closes_hides_nobody(dnc: Path, text: str) -> None:
    """It would swallow the numbers behind it."""
    dnc.write_text(text)
    assert "quote" in await refusal(dnc)


async def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    assert "can't be read: No such file" in await refusal(tmp_path / "missing.csv")
    assert "directory" in await refusal(tmp_path)


@pytest.mark.parametrize("data", [b"+1415\xff5550123\n", b"x" * 200_000 + b"\n"])
async def test_a_file_that_is_no_text_is_refused(dnc: Path, data: bytes) -> None:
    dnc.write_bytes(data)
    await refusal(dnc)


async def test_numbers_in_the_shapes_of_the_region(dnc: Path) -> None:
    """And what is no number to call is one not to call: an extension, two meanings, one that is not assigned."""
    dnc.write_text("(415) 555-0123\n'4155550124\n4.155550125E+09\n415 555 0126 x12\n(015) 555-0123\n")
    assert await read(dnc, numbering=US) == {14155550123, 14155550124, 14155550125, 14155550126, 10155550123}
    assert "row 1 is not clear: '4.15555E+09'" in await refusal(csv_of(dnc, "4.15555E+09"), numbering=US)


async def test_numbers_take_eight_bytes_each_and_few_more_while_they_are_read(dnc: Path) -> None:
    count = 200_000
    dnc.write_text("".join(f"+1{4_150_000_000 + 7 * row}\n" for row in range(count)))
    await read_suppressed(())
    tracemalloc.start()
    try:
        found = await read_suppressed((dnc,))
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found) == count
    assert held < 20 * count
    assert most < 80 * count


# Collections


class Only:
    """Can only tell whether it holds a number."""

    def __contains__(self, one: object) -> bool:
        return one in {number(2), number(3)}


@pytest.mark.parametrize(
    "given",
    [
        {number(2), number(3)},
        [number(2).removeprefix("+"), f"({number(3)[:5]}) {number(3)[5:]}", number(2)],
        (int(number(2)), int(number(3))),
        frozenset({number(2), number(3)}),
        dict.fromkeys((number(2), number(3))),
        array.array("Q", [int(number(2)), int(number(3))]),
        pl.Series([number(2), number(3)]),
        Only(),
        lambda one: one in {number(2), number(3)},
        {number(2), number(3)}.__contains__,
    ],
    ids=lambda given: type(given).__name__,
)
async def test_numbers_of_a_program_are_never_sent(tmp_path: Path, given: Any) -> None:
    async with scripted() as (api, client):
        report = await push(
            client, [*numbers(5), f"+1 {number(2)[2:]}"], run_dir=tmp_path / "run", do_not_contact=given
        )
    assert set(api.received) == {one.removeprefix("+") for one in (number(1), number(4), number(5))}
    assert report.counts.suppressed + report.counts.duplicate == 3
    assert rows_in(tmp_path / "run", "left_out.csv").keys() == {2, 3, 6}


async def test_files_and_collections_go_together(tmp_path: Path) -> None:
    barred = csv_of(tmp_path / "dnc.txt", number(1))
    async with scripted() as (api, client):
        await push(client, numbers(4), suppress=(barred,), do_not_contact={"(415) 555-0002"}, region="US")
    assert len(api.received) == 2 + (number(2) != "+14155550002")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["+14155550123", "nobody"], "item 2 holds no phone number: 'nobody'"),
        ([None], "do_not_contact can't be read in 1 item: item 1 holds no phone number[.] Write"),
        ([1.5], "item 1 holds no"),
        ([b"+14155550123"], "item 1 holds no"),
        ([{"phone": "+14155550123"}], "item 1 holds no"),
    ],
)
async def test_an_item_that_is_no_number_makes_no_call(given: list[Any], said: str) -> None:
    async with scripted() as (api, client):
        with pytest.raises(SourceError, match=said):
            await push(client, numbers(3), do_not_contact=given)
    assert not api.others


async def nobody(_number: str) -> bool:
    return False


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("+14155550123", "a single text or path"),
        (Path("dnc.csv"), "name a file in suppress"),
        (iter(["+14155550123"]), "can be read only once"),
        ((one for one in "1"), "is a generator"),
        (nobody, "async function"),
        (7, "do_not_contact is a int: give a collection of numbers, or a function"),
    ],
)
def test_what_is_no_collection_is_refused(given: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        IngestOptions(do_not_contact=given)


# Functions


async def test_a_function_gets_each_number_once_as_e164_in_another_thread() -> None:
    asked: list[str] = []
    threads: set[int] = set()

    def tell(one: str) -> bool:
        asked.append(one)
        threads.add(threading.get_ident())
        return one == number(3)

    given = [
        number(1),
        number(2).removeprefix("+"),
        "no",
        number(1),
        f"+1 ({number(3)[2:5]}) {number(3)[5:]}",
        number(3),
    ]
    async with scripted() as (api, client):
        report = await push(client, given, do_not_contact=tell)
    assert asked == numbers(3)
    assert threading.get_ident() not in threads
    assert (report.counts.accepted, report.counts.suppressed, report.counts.duplicate) == (2, 1, 2)
    assert len(api.received) == 2


async def test_a_function_that_blocks_does_not_block_the_event_loop() -> None:
    release, turns = threading.Event(), 0

    def tell(_one: str) -> bool:
        release.wait(10.0)
        return False

    async def turn() -> None:
        nonlocal turns
        while turns < 50:
            turns += 1
            await asyncio.sleep(0)
        release.set()

    async with scripted() as (_, client):
        report, _ = await asyncio.gather(push_alone(client, numbers(3), tell), turn())
    assert report.counts.accepted == 3


async def push_alone(client: Any, source: Any, tell: Callable[[str], Any]) -> Any:
    return await ingest_contacts(client, source, contact_list="Renewals", options=IngestOptions(do_not_contact=tell))


@pytest.mark.parametrize("of_tables", [False, True])
async def test_a_function_that_fails_stops_the_run_and_nobody_is_called_unasked(
    tmp_path: Path, *, of_tables: bool
) -> None:
    asked = 0

    def tell(one: str) -> bool:
        nonlocal asked
        asked += 1
        if asked > 1200:
            raise LookupError(f"no database for {one}")
        return asked % 10 == 0

    source: Any = numbers(3000) if not of_tables else pl.DataFrame({"phone": numbers(3000)})
    async with scripted() as (api, client):
        report = await push(
            client, source, run_dir=tmp_path / "run", do_not_contact=tell, batch=BatchLimits(max_contacts=100)
        )
    assert report.state == "stopped"
    assert report.stopped_because == "do_not_contact failed at row 1201: LookupError: no database for +***"
    assert asked == 1201
    # The slice in which it failed is not sent.
    assert (report.counts.read, report.counts.suppressed, report.counts.unsent) == (1500, 100, 500)
    assert len(api.received) == report.counts.accepted == 900


def call(function: Callable[[str], Any], one: str) -> Any:
    return function(one)


async def test_a_function_that_returns_an_awaitable_is_a_failure() -> None:
    async with scripted() as (api, client):
        report = await push(client, numbers(3), do_not_contact=functools.partial(call, nobody))
    assert "plain functions" in (report.stopped_because or "")
    assert (report.counts.unsent, len(api.received)) == (3, 0)


@pytest.mark.parametrize("of_tables", [False, True])
async def test_cancelling_ends_the_asking(*, of_tables: bool) -> None:
    """A slow function is not asked for the rest of a large slice."""
    asked = 0
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    def tell(_one: str) -> bool:
        nonlocal asked
        asked += 1
        loop.call_soon_threadsafe(started.set)
        threading.Event().wait(0.005)
        return False

    source: Any = numbers(20_000) if not of_tables else pl.DataFrame({"phone": numbers(20_000)})
    async with scripted() as (api, client):
        run = asyncio.ensure_future(push_alone(client, source, tell))
        await started.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert asked < 400
        assert not api.received


# Resuming


#: A thousand numbers, of which every seventh came before.
ROWS = [number(row if row % 7 else row // 2) for row in range(1, 1001)]


class Turn:
    """Lets so many calls pass, and refuses all behind them until it is told otherwise."""

    def __init__(self, calls: int) -> None:
        self.left = calls

    def __call__(self, _call: Call) -> Answer:
        self.left -= 1
        return Answer() if self.left >= 0 else refuse(403)


async def stopped(client: Any, tmp_path: Path, given: Any, *, of_tables: bool = False) -> None:
    """Push to an API that refuses contacts from some call on."""
    source = csv_of(tmp_path / "c.csv", "phone,name", *(f"{one},Ana {row}" for row, one in enumerate(ROWS, 1)))
    options = IngestOptions(batch=BatchLimits(max_contacts=20), concurrency=1, grace_seconds=0.0, do_not_contact=given)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "_TABLES_FROM_BYTES", 0 if of_tables else 1 << 30)
        report = await push(client, source, run_dir=tmp_path / "run", options=options)
    assert report.state == "stopped"


@pytest.mark.parametrize("of_tables", [False, True])
@pytest.mark.parametrize("calls", [0, 1, 7, 25])
async def test_a_function_may_answer_otherwise_when_the_run_is_resumed(
    tmp_path: Path, calls: int, *, of_tables: bool
) -> None:
    """Who was sent stays accepted, who was left out between them stays left out, and who is barred now is not sent."""
    turn = Turn(calls)
    answers: dict[str, bool] = {}

    def barring(rest: int) -> Callable[[str], bool]:
        def tell(one: str) -> bool:
            answers[one.removeprefix("+")] = int(one) % 3 == rest
            return answers[one.removeprefix("+")]

        return tell

    async with scripted(turn) as (api, client):
        await stopped(client, tmp_path, barring(0), of_tables=of_tables)
        for more, rest in ((5, 1), (3, 2), (1000, 0)):
            before = set(api.processed)
            turn.left = more
            report = await resume_ingest(client, tmp_path / "run", do_not_contact=barring(rest))
            check_run_dir(tmp_path / "run")
            assert not any(answers[one] for one in set(api.processed) - before)
    assert report.state == "finished"
    assert set(api.processed.values()) == {1}, "nobody twice"
    assert report.counts.accepted == len(api.processed)
    left = outcome_files(tmp_path / "run")["left_out.csv"]
    assert report.counts.accepted + len(left) == 1000
    suppressed = {cells[0].removeprefix("+") for _, reason, cells in left if reason == "suppressed"}
    assert suppressed.isdisjoint(api.processed)
    assert suppressed | set(api.processed) == {one.removeprefix("+") for one in ROWS}


async def test_whom_it_bars_now_stays_in_doubt_where_a_call_may_have_been_processed(tmp_path: Path) -> None:
    """Also when the contacts around are sent again and accepted, and the run is resumed once more."""
    turn = Turn(0)
    hangs = asyncio.Event()

    def script(call: Call) -> Answer:
        if not hangs.is_set():
            hangs.set()
            return HANG
        return turn(call)

    source = csv_of(tmp_path / "c.csv", "phone", *numbers(60))
    options = IngestOptions(
        batch=BatchLimits(max_contacts=20), concurrency=1, grace_seconds=0.0, do_not_contact=lambda _: False
    )
    async with scripted(script, allow_duplicates=False) as (api, client):
        run = asyncio.ensure_future(
            ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        )
        await hangs.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        assert api.received.total() == 20
        barred = {number(5), number(30)}
        for calls, accepted in ((2, 19), (1000, 58)):
            turn.left = calls
            await resume_ingest(client, tmp_path / "run", do_not_contact=barred.__contains__)
            report = check_run_dir(tmp_path / "run")
            assert (report.counts.accepted, report.counts.uncertain) == (accepted, 1)
    assert rows_in(tmp_path / "run", "uncertain.csv").keys() == {5}
    assert rows_in(tmp_path / "run", "left_out.csv") == {30: "suppressed"}


async def test_whom_the_function_barred_stands_in_the_journal_by_row_alone(tmp_path: Path) -> None:
    async with scripted(Turn(3)) as (_, client):
        await stopped(client, tmp_path, lambda one: int(one) % 2 == 0)
    known = read_known(tmp_path / "run")
    assert {one.state for one in known} == {State.ACCEPTED, State.SUPPRESSED}
    covered = [row for one in known for row in range(one.first_row, one.last_row + 1)]
    assert len(covered) == len(set(covered))
    assert covered == sorted(covered)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "run").glob("journal*"))
    assert b"1415555" not in kept


@pytest.mark.parametrize("name", ["a function", "numbers"])
async def test_a_resume_needs_what_was_given(tmp_path: Path, name: str) -> None:
    barred = set(numbers(300))
    given: Any = barred if name == "numbers" else barred.__contains__
    other: Any = (lambda _: False) if name == "numbers" else []
    turn = Turn(3)
    async with scripted(turn) as (api, client):
        await stopped(client, tmp_path, given)
        sent = api.received.total()
        with pytest.raises(RunDirectoryError) as caught:
            await resume_ingest(client, tmp_path / "run")
        assert str(caught.value) == (
            f"the run in {tmp_path / 'run'} was given {name} as do_not_contact, which no journal keeps: give it again,"
            " in Python"
        )
        with pytest.raises(RunDirectoryError, match=f"was given {name} as do_not_contact, and now "):
            await resume_ingest(client, tmp_path / "run", do_not_contact=other)
        if name == "numbers":
            with pytest.raises(RunDirectoryError, match="or do_not_contact does"):
                await resume_ingest(client, tmp_path / "run", do_not_contact=[*barred, number(999)])
        assert api.received.total() == sent
        turn.left = 1000
        report = await resume_ingest(client, tmp_path / "run", do_not_contact=given)
    assert report.state == "finished"
    assert {f"+{one}" for one in api.processed} == set(ROWS) - barred


async def test_a_run_without_needs_none(tmp_path: Path) -> None:
    async with scripted(Turn(3)) as (_, client):
        await stopped(client, tmp_path, None)
        with pytest.raises(RunDirectoryError, match="was given nothing as do_not_contact, and now numbers"):
            await resume_ingest(client, tmp_path / "run", do_not_contact={number(1)})
