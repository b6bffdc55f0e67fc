"""Whole runs against the sandbox: what arrives, what is left out and why, and what is refused before a call."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from kore_campaign_async import (
    BatchLimits,
    CallError,
    Contact,
    ContactListError,
    IngestOptions,
    NewList,
    Outcome,
    Progress,
    RunDirectoryError,
    SourceError,
    State,
    ingest_contacts,
    iter_outcomes,
)
from kore_campaign_async.ingest.files import read_report
from tests.ingest.pushing import (
    LIST,
    check_report,
    check_run_dir,
    check_tasks,
    csv_of,
    number,
    numbers,
    outcome_files,
    push,
    sandboxed,
    scripted,
    stored,
)

# Sources


async def test_csv_file_arrives_once_with_its_exact_values(tmp_path: Path) -> None:
    """Names in any script, quoted commas and unstripped cells arrive as they stand in the file."""
    source = csv_of(
        tmp_path / "contacts.csv",
        "Phone Number,first_name,LastName,city,note",
        '+14155550101,Zoë,"O\'Neil, Jr.","Lisboa, Portugal", both sides ',
        '+14155550102,王芳,Дмитрий,"say ""yes""",',
        "14155550103,محمد,हिन्दी,   ,\t",
        '(415) 555-0104,Ωμέγα,🙂,"two\nlines",007',
    )
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, source, run_dir=tmp_path / "run")
        found = await stored(sandbox)
    # Separators are stripped, so this one does not begin with a country code; it is still of the right shape.
    assert found == [
        {
            "phoneNumber": "+14155550101",
            "firstName": "Zoë",
            "lastName": "O'Neil, Jr.",
            "city": "Lisboa, Portugal",
            "note": " both sides ",
        },
        {"phoneNumber": "+14155550102", "firstName": "王芳", "lastName": "Дмитрий", "city": 'say "yes"'},
        {"phoneNumber": "14155550103", "firstName": "محمد", "lastName": "हिन्दी"},
        {
            "phoneNumber": "4155550104",
            "firstName": "Ωμέγα",
            "lastName": "🙂",
            "city": "two\nlines",
            "note": "007",
        },
    ]
    assert report.counts.accepted == report.counts.read == 4
    assert report.exit_status == 0
    assert report.source == str(source)
    assert report.contact_list == LIST
    assert report.run_id == "run"


NDJSON = """{"phoneNumber":"+14155550101","firstName":"Ana","age":41,"vip":true,"left":false,"note":null}
{"phone":"+14155550102","lastName":"Díaz","big":9007199254740993,"blank":"  "}

{"phoneNumber":14155550103}
{"phoneNumber":"+14155550104","score":1.5}
{"phoneNumber":"+14155550105","tags":["a"]}
{"firstName":"Nobody"}
[1,2]
{"phoneNumber":"+14155550106"
"""
NDJSON_STORED = [
    {"phoneNumber": "+14155550101", "firstName": "Ana", "age": "41", "vip": "true", "left": "false"},
    {"phoneNumber": "+14155550102", "lastName": "Díaz", "big": "9007199254740993"},
    {"phoneNumber": "14155550103"},
]


async def test_ndjson_file(tmp_path: Path) -> None:
    """Integers and booleans travel as text, null is absent; what can't travel is rejected with its JSON."""
    source = tmp_path / "contacts.ndjson"
    source.write_text(NDJSON, encoding="utf-8")
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, source, run_dir=tmp_path / "run")
        assert await stored(sandbox) == NDJSON_STORED
    assert (report.counts.read, report.counts.accepted, report.counts.rejected) == (8, 3, 5)
    assert report.exit_status == 1
    assert (tmp_path / "run" / "rejected.csv").read_bytes().decode() == (
        "row,reason,phoneNumber,firstName,lastName,timeZone,uniqueId,contactPriority,record\r\n"
        '4,bad_value,+14155550104,,,,,,"{""phoneNumber"":""+14155550104"",""score"":1.5}"\r\n'
        '5,bad_value,+14155550105,,,,,,"{""phoneNumber"":""+14155550105"",""tags"":[""a""]}"\r\n'
        '6,missing_phone,,Nobody,,,,,"{""firstName"":""Nobody""}"\r\n'
        '7,bad_row,,,,,,,"[1,2]"\r\n'
        '8,bad_row,,,,,,,"{""phoneNumber"":""+14155550106"""\r\n'
    )


@pytest.mark.parametrize("kind", ["csv", "ndjson"])
async def test_standard_input_through_a_pipe(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`-` reads what comes through a pipe, CSV or NDJSON, to its end, however slowly it is written."""
    text = NDJSON if kind == "ndjson" else "phone,firstName\n+14155550101,Ana\n+14155550102,\n"
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb", buffering=0) as pipe:
            for byte in range(0, len(text.encode()), 7):
                pipe.write(text.encode()[byte : byte + 7])

    with io.TextIOWrapper(io.BufferedReader(io.FileIO(reading))) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        writer = threading.Thread(target=write)
        writer.start()
        async with sandboxed(LIST) as (sandbox, client):
            report = await push(client, "-", run_dir=tmp_path / "run")
            found = await stored(sandbox)
        writer.join()
        assert not stdin.closed
    assert report.source == "standard input"
    if kind == "ndjson":
        assert found == NDJSON_STORED
    else:
        assert found == [
            {"phoneNumber": "+14155550101", "firstName": "Ana"},
            {"phoneNumber": "+14155550102"},
        ]


ITEMS: list[Any] = [
    Contact("+14155550101", first_name="Ana", time_zone="America/Phoenix", extra={"city": "Lisboa"}),
    {"phone": "+14155550102", "Unique ID": "u-2", "n": 7},
    "+14155550103",
]
ITEMS_STORED = [
    {
        "phoneNumber": "+14155550101",
        "firstName": "Ana",
        "timeZone": "America/Phoenix",
        "city": "Lisboa",
    },
    {"phoneNumber": "+14155550102", "uniqueId": "u-2", "n": "7"},
    {"phoneNumber": "+14155550103"},
]


async def _async_items() -> AsyncIterator[Any]:
    for item in ITEMS:
        await asyncio.sleep(0)
        yield item


@pytest.mark.parametrize("make", [lambda: ITEMS, lambda: tuple(ITEMS), lambda: (item for item in ITEMS), _async_items])
async def test_iterables(make: Any, tmp_path: Path) -> None:
    """A list, a tuple, a generator and an async generator of contacts, mappings and numbers all serve."""
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, make(), run_dir=tmp_path / "run")
        assert await stored(sandbox) == ITEMS_STORED
    assert report.counts.accepted == report.counts.read == 3


async def test_what_is_no_contact_is_a_bad_row_beside_good_ones(tmp_path: Path) -> None:
    """An item of another kind costs itself alone."""
    items = [number(1), 17, None, b"+14155550009", Contact(number(2), extra={"phoneNumber": "x"}), number(3)]
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, items, run_dir=tmp_path / "run")
        assert [one["phoneNumber"] for one in await stored(sandbox)] == [number(1), number(3)]
    assert (report.counts.accepted, report.counts.rejected) == (2, 4)
    reasons = [(row, reason) for row, reason, _ in outcome_files(tmp_path / "run")["rejected.csv"]]
    assert reasons == [(2, "bad_row"), (3, "bad_row"), (4, "bad_row"), (5, "bad_row")]


class Unspeakable:
    def __repr__(self) -> str:
        raise ZeroDivisionError


class Unreadable(dict[str, str]):
    def keys(self) -> Any:
        raise ZeroDivisionError

    __iter__ = keys


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(Contact(number(9), extra=None), id="a contact whose extra is None"),  # type: ignore[arg-type]
        pytest.param({"phoneNumber": number(9), "n": 10**5000}, id="an integer of 5,001 digits"),
        pytest.param({"phoneNumber": number(9), "n": "\ud800"}, id="half a character"),
        pytest.param({"phoneNumber": number(9), "firstName": "\ud800"}, id="half a character in a known field"),
        pytest.param({"phoneNumber": number(9), "\udfff": "n"}, id="half a character as a name"),
        pytest.param({"phoneNumber": number(9), 7: "n"}, id="a name that is no text"),
        pytest.param({"phoneNumber": number(9), "n": Unspeakable()}, id="an object without a repr"),
        pytest.param(Unspeakable(), id="nothing but an object without a repr"),
        pytest.param(Unreadable(), id="a mapping that can't be read"),
    ],
)
async def test_an_odd_value_costs_its_own_row_alone(odd: Any, tmp_path: Path) -> None:
    """What Python itself fails on, in one contact, is that contact's trouble: a rejected row."""
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, [number(1), odd, number(2)], run_dir=tmp_path / "run")
        assert [one["phoneNumber"] for one in await stored(sandbox)] == [number(1), number(2)]
    assert report.state == "finished"
    assert (report.counts.read, report.counts.accepted, report.counts.rejected) == (3, 2, 1)


@pytest.mark.parametrize("run_dir", [True, False])
async def test_an_empty_iterable_is_a_finished_run(run_dir: bool, tmp_path: Path) -> None:
    """Nothing to do is done."""
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, [], run_dir=tmp_path / "run" if run_dir else None)
        assert sandbox.calls["addContacts"] == 0
    assert report.counts.read == 0
    assert (report.state, report.source_exhausted, report.exit_status) == ("finished", True, 0)


@pytest.mark.parametrize("source", ["missing.csv", 17, b"+14155550101"])
async def test_a_source_that_can_not_be_read_makes_no_call(source: Any, tmp_path: Path) -> None:
    async with sandboxed(LIST) as (sandbox, client):
        given = tmp_path / source if isinstance(source, str) else source
        with pytest.raises(SourceError):
            await push(client, given, run_dir=tmp_path / "run")
        assert not sandbox.calls
    assert not (tmp_path / "run").exists()


# States


async def test_every_outcome_file_literally(tmp_path: Path) -> None:
    """Each row stands once, in its state's file, with its reason and its own cells as they were."""
    source = csv_of(
        tmp_path / "contacts.csv",
        "phone,name,timeZone",
        "+14155550101,Ana,",
        "not a number,Bob,",
        ",Cyd,",
        "+14155550102,Dee,Mars/Olympus",
        "14155550101,Ann,",
        "+14155550199, Eve ,",
        f"+14155550103,{'x' * 301},",
        "+14155550104,Fay,,surplus",
        '+14155550105,"Gus, Jr.",',
        '+14155550106,"open',
    )
    suppress = tmp_path / "dnc.txt"
    suppress.write_text("14155550199\n")
    async with sandboxed(LIST) as (sandbox, client):
        # The second call meets a full list.
        sandbox.named(LIST).about["totalRecordCount"] = 999_999
        sandbox.job_seconds = 3600.0
        report = await push(
            client,
            source,
            run_dir=tmp_path / "run",
            suppress=(suppress,),
            batch=BatchLimits(max_contacts=1),
            concurrency=1,
        )
        assert (sandbox.named(LIST).queued, sandbox.calls["addContacts"]) == (1, 2)
    run = tmp_path / "run"
    assert (run / "rejected.csv").read_bytes().decode() == (
        "row,reason,phone,name,timeZone\r\n"
        "2,invalid_phone,not a number,Bob,\r\n"
        "3,missing_phone,,Cyd,\r\n"
        "4,bad_time_zone,+14155550102,Dee,Mars/Olympus\r\n"
        f"7,value_too_long,+14155550103,{'x' * 301},\r\n"
        "8,bad_row,+14155550104,Fay,,surplus\r\n"
        '10,unclosed_quote,"+14155550106,""open"\r\n'
    )
    # In which order states of one slice are written is nobody's business.
    assert sorted((run / "left_out.csv").read_bytes().decode().split("\r\n")) == [
        "",
        "5,duplicate of row 1,14155550101,Ann,",
        "6,suppressed,+14155550199, Eve ,",
        "row,reason,phone,name,timeZone",
    ]
    assert (run / "refused.csv").read_bytes().decode() == (
        "row,reason,phone,name,timeZone\r\n"
        "9,400: the server refused the call (400: the contact list can't hold more than 1000000 contacts),"
        '+14155550105,"Gus, Jr.",\r\n'
    )
    assert (run / "uncertain.csv").read_bytes().decode() == "row,reason,phone,name,timeZone\r\n"
    counts = report.counts
    assert (counts.read, counts.accepted, counts.rejected, counts.refused) == (10, 1, 6, 1)
    assert (counts.duplicate, counts.suppressed, counts.uncertain, counts.unsent) == (1, 1, 0, 0)
    assert (report.state, report.exit_status) == ("finished", 1)


async def test_run_directory_is_private(tmp_path: Path) -> None:
    """It holds phone numbers: nobody else may look into it."""
    run = tmp_path / "deep" / "run"
    async with sandboxed(LIST) as (_, client):
        await push(client, numbers(2), run_dir=run)
    assert run.stat().st_mode & 0o777 == 0o700
    assert {one.stat().st_mode & 0o777 for one in run.iterdir()} == {0o600}


async def test_duplicates_are_left_out_naming_the_earlier_row(tmp_path: Path) -> None:
    """The first one is sent; `+` and separators make no difference."""
    given = ["+14155550101", "+14155550102", "14155550101", "+1 (415) 555-0101", "1.415.555.0102"]
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        report = await push(client, given, run_dir=tmp_path / "run")
        assert [one["phoneNumber"] for one in await stored(sandbox)] == ["+14155550101", "+14155550102"]
    assert report.counts.duplicate == 3
    assert report.exit_status == 0
    entries = outcome_files(tmp_path / "run")["left_out.csv"]
    assert [(row, reason, cells[0]) for row, reason, cells in entries] == [
        (3, "duplicate of row 1", "14155550101"),
        (4, "duplicate of row 1", "+1 (415) 555-0101"),
        (5, "duplicate of row 2", "1.415.555.0102"),
    ]


async def test_a_row_that_was_not_sent_makes_no_later_one_a_duplicate(tmp_path: Path) -> None:
    """A person is not left out because an earlier row with the number was rejected."""
    given = [
        {"phoneNumber": "+14155550101", "timeZone": "Mars/Olympus"},
        {"phoneNumber": "+14155550101", "note": "x" * 300},
        {"phoneNumber": "+14155550101", "note": "short"},
        {"phoneNumber": "+14155550101"},
    ]
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, given, run_dir=tmp_path / "run", batch=BatchLimits(max_bytes=200))
        assert await stored(sandbox) == [{"phoneNumber": "+14155550101", "note": "short"}]
    files = outcome_files(tmp_path / "run")
    assert [(row, reason) for row, reason, _ in files["rejected.csv"]] == [
        (1, "bad_time_zone"),
        (2, "too_large"),
    ]
    assert [(row, reason) for row, reason, _ in files["left_out.csv"]] == [(4, "duplicate of row 3")]
    assert report.counts.accepted == 1


async def test_keep_duplicates_sends_them(tmp_path: Path) -> None:
    """On a list that keeps duplicates every one of them arrives."""
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        report = await push(client, [number(1), number(2), number(1)], run_dir=tmp_path / "run", keep_duplicates=True)
        assert [one["phoneNumber"] for one in await stored(sandbox)] == [number(1), number(1), number(2)]
    assert report.counts.accepted == 3
    assert report.counts.duplicate == 0


async def test_suppressed_numbers_are_never_sent(tmp_path: Path) -> None:
    """Several do-not-contact files hold at once, with and without `+`, header or not; none is a duplicate."""
    plain, table = tmp_path / "dnc.txt", tmp_path / "dnc.csv"
    plain.write_text(f"{number(2)}\n{number(3).removeprefix('+')}\n")
    table.write_text(f'name,Phone Number\n"Ana, B.",{number(4)}\n')
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(
            client,
            [*numbers(5), number(2).removeprefix("+")],
            run_dir=tmp_path / "run",
            suppress=(plain, table),
        )
        assert [one["phoneNumber"] for one in await stored(sandbox)] == [number(1), number(5)]
    assert (report.counts.suppressed, report.counts.duplicate) == (4, 0)
    assert {(row, reason) for row, reason, _ in outcome_files(tmp_path / "run")["left_out.csv"]} == {
        (row, "suppressed") for row in (2, 3, 4, 6)
    }


async def test_a_do_not_contact_file_with_a_bad_line_makes_no_call(tmp_path: Path) -> None:
    """A person who must not be called could hide behind it."""
    bad = tmp_path / "dnc.txt"
    bad.write_text(f"{number(2)}\n12\n")
    async with sandboxed(LIST) as (sandbox, client):
        with pytest.raises(SourceError, match="row 2"):
            await push(client, numbers(3), suppress=(bad,))
        assert not sandbox.calls


async def test_column_map(tmp_path: Path) -> None:
    """The map overrules the usual names; a column whose meaning it took travels under its own name."""
    source = csv_of(tmp_path / "c.csv", "phone,Second Phone,Customer ID", "n/a,+14155550101,007")
    async with sandboxed(LIST) as (sandbox, client):
        await push(
            client,
            source,
            run_dir=tmp_path / "run",
            column_map={"Second Phone": "phoneNumber", "Customer ID": "uniqueId"},
        )
        assert await stored(sandbox) == [{"phoneNumber": "+14155550101", "phone": "n/a", "uniqueId": "007"}]


@pytest.mark.parametrize("room", [0, 1])
async def test_a_contact_is_too_large_by_one_byte(room: int, tmp_path: Path) -> None:
    """What just fits into `max_bytes`, counted in bytes of UTF-8, is sent; one byte less is `too_large`."""
    contact = {"phoneNumber": number(1), "name": "Zoë 王芳"}
    frame = {"contact_list_name": LIST, "data": [contact]}
    size = len(json.dumps(frame, ensure_ascii=False, separators=(",", ":")).encode())
    async with scripted() as (api, client):
        report = await push(
            client,
            [number(2), contact, number(3)],
            run_dir=tmp_path / "run",
            batch=BatchLimits(max_bytes=size - room),
        )
    assert report.counts.rejected == room
    assert report.counts.accepted == 3 - room
    assert max(call.size for call in api.calls) <= size - room
    assert [(row, reason) for row, reason, _ in outcome_files(tmp_path / "run")["rejected.csv"]] == [(2, "too_large")][
        :room
    ]


# Batches


async def test_ten_thousand_and_one(tmp_path: Path) -> None:
    """The last contact of 10,001 is not dropped: eleven calls, each contact stored once."""
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        report = await push(client, numbers(10_001), run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=1000))
        found = await stored(sandbox)
        assert sandbox.calls["addContacts"] == 11
    assert [one["phoneNumber"] for one in found] == numbers(10_001)
    assert report.counts.accepted == 10_001
    assert (report.calls.sent, report.calls.retried, report.calls.throttled) == (11, 0, 0)


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_a_contact_a_call(concurrency: int, tmp_path: Path) -> None:
    """`max_contacts=1` is a call for each contact."""
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        report = await push(
            client,
            numbers(25),
            run_dir=tmp_path / "run",
            batch=BatchLimits(max_contacts=1),
            concurrency=concurrency,
        )
        assert [one["phoneNumber"] for one in await stored(sandbox)] == numbers(25)
        assert sandbox.calls["addContacts"] == report.calls.sent == 25


async def test_batches_go_out_in_the_order_of_the_source() -> None:
    """With one sender, and each as full as its limits allow."""
    async with scripted() as (api, client):
        await push(client, numbers(10), batch=BatchLimits(max_contacts=4), concurrency=1)
    assert [len(call.contacts) for call in api.calls] == [4, 4, 2]
    assert ["+" + one for call in api.calls for one in call.numbers] == numbers(10)


async def test_no_more_calls_in_flight_than_the_concurrency() -> None:
    """Three senders have three calls out, and no fourth."""
    out: list[int] = []
    async with sandboxed(LIST) as (_, client):
        inner, now = client.send, 0

        async def send(*args: Any, **kwargs: Any) -> Any:
            nonlocal now
            now += 1
            out.append(now)
            try:
                return await inner(*args, **kwargs)
            finally:
                now -= 1

        client.send = send  # type: ignore[method-assign]
        await push(client, numbers(60), batch=BatchLimits(max_contacts=2), concurrency=3)
    assert max(out) == 3


# The list


async def test_unknown_list_names_the_nearest_and_sends_nothing(tmp_path: Path) -> None:
    async with sandboxed("Renewals 2025", "Renewal", "Something else") as (sandbox, client):
        with pytest.raises(ContactListError) as caught:
            await push(client, numbers(3), contact_list="Renewals", run_dir=tmp_path / "run")
        assert sandbox.calls.keys() == {"getAllListDetails"}
    assert "no contact list named 'Renewals'" in str(caught.value)
    assert "'Renewal'" in str(caught.value)
    assert "'Renewals 2025'" in str(caught.value)
    assert "Something else" not in str(caught.value)
    assert not (tmp_path / "run").exists()


async def test_two_lists_of_a_name_are_refused_naming_both_ids(tmp_path: Path) -> None:
    async with sandboxed(LIST, LIST, "Other") as (sandbox, client):
        with pytest.raises(ContactListError) as caught:
            await push(client, numbers(3), run_dir=tmp_path / "run", create=NewList(description="-"))
        for one in sandbox.lists.values():
            assert (one.about["_id"] in str(caught.value)) == (one.about["name"] == LIST)
        assert sandbox.calls.keys() == {"getAllListDetails"}
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("allow_duplicates", [True, False])
async def test_create_makes_a_missing_list(allow_duplicates: bool, tmp_path: Path) -> None:
    """As it is described, once, and the contacts go into it."""
    async with sandboxed("Other") as (sandbox, client):
        report = await push(
            client,
            numbers(2),
            run_dir=tmp_path / "run",
            create=NewList(description="Due in July", allow_duplicates=allow_duplicates),
        )
        assert [one["phoneNumber"] for one in await stored(sandbox)] == numbers(2)
        about = sandbox.named(LIST).about
        assert sandbox.calls["createContactList"] == 1
    assert (about["description"], about["allowDuplicates"]) == ("Due in July", allow_duplicates)
    assert report.counts.accepted == 2


async def test_create_leaves_a_list_that_is_there_alone() -> None:
    async with sandboxed(LIST) as (sandbox, client):
        await push(client, numbers(2), create=NewList(description="Another"))
        assert sandbox.calls["createContactList"] == 0
        assert sandbox.named(LIST).about["description"] == "-"


async def test_a_list_that_can_not_be_looked_up_sends_nothing(tmp_path: Path) -> None:
    """The error of that call is raised as it is."""
    async with sandboxed(LIST) as (sandbox, client):
        sandbox.client_id = "cs-another"
        with pytest.raises(CallError, match="401"):
            await push(client, numbers(2), run_dir=tmp_path / "run")
        assert sandbox.calls["addContacts"] == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("missing", [True, False])
@pytest.mark.parametrize("repeated", [True, False])
async def test_dry_run_only_reads(missing: bool, repeated: bool, tmp_path: Path) -> None:
    """Sendable contacts count as unsent; nothing is made, sent or written."""
    given = [*numbers(3), "12", *([number(1)] if repeated else [])]
    async with sandboxed(*([] if missing else [LIST])) as (sandbox, client):
        report = await push(client, given, run_dir=tmp_path / "run", dry_run=True, create=NewList(description="-"))
        assert sandbox.calls.keys() <= {"getAllListDetails", "getContactList"}
        assert len(sandbox.lists) == (not missing)
    assert not (tmp_path / "run").exists()
    assert (report.counts.unsent, report.counts.rejected) == (3, 1)
    assert report.counts.duplicate == repeated
    assert (report.state, report.source_exhausted, report.exit_status) == ("finished", True, 1)
    assert (report.calls.sent, report.calls.retried) == (0, 0)


async def test_keep_duplicates_is_refused_on_a_list_that_drops_them(tmp_path: Path) -> None:
    async with sandboxed(LIST) as (sandbox, client):
        with pytest.raises(ContactListError, match="drops duplicates"):
            await push(client, numbers(2), run_dir=tmp_path / "run", keep_duplicates=True)
        assert sandbox.calls["addContacts"] == 0
    assert not (tmp_path / "run").exists()


async def test_keep_duplicates_is_refused_where_the_caller_states_that_the_list_drops_them() -> None:
    async with scripted(allow_duplicates=None) as (api, client):
        with pytest.raises(ContactListError, match="drops duplicates"):
            await push(client, numbers(2), keep_duplicates=True, list_drops_duplicates=True)
    assert not api.calls


async def test_list_drops_duplicates_is_refused_on_a_list_that_keeps_them(tmp_path: Path) -> None:
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        with pytest.raises(ContactListError, match="keeps duplicates"):
            await push(client, numbers(2), run_dir=tmp_path / "run", list_drops_duplicates=True)
        assert sandbox.calls["addContacts"] == 0
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("allow_duplicates", [True, False])
async def test_the_lists_own_read_is_asked_once_where_the_listing_does_not_tell(
    allow_duplicates: bool,
) -> None:
    """The listing tells of a list that keeps duplicates, and of no other."""
    async with sandboxed(LIST, "Other", allow_duplicates=allow_duplicates) as (sandbox, client):
        await push(client, numbers(30), batch=BatchLimits(max_contacts=3))
        assert sandbox.calls["getAllListDetails"] == 1
        assert sandbox.calls["getContactList"] == (0 if allow_duplicates else 1)


async def test_a_list_of_which_nobody_tells_is_pushed_to() -> None:
    """It counts as keeping duplicates, so keeping them is not refused."""
    async with scripted(allow_duplicates=None) as (api, client):
        report = await push(client, [number(1), number(1)], keep_duplicates=True)
    assert report.counts.accepted == 2
    assert api.others == Counter(getAllListDetails=1, GET=1)


# The run directory and the report


async def test_a_run_directory_that_holds_a_run_is_refused(tmp_path: Path) -> None:
    """And the run in it stays as it was."""
    run = tmp_path / "run"
    async with sandboxed(LIST) as (sandbox, client):
        await push(client, [number(1), "12"], run_dir=run)
        before = {one.name: one.read_bytes() for one in run.iterdir()}
        with pytest.raises(RunDirectoryError, match="holds a run already"):
            await push(client, numbers(2, start=5), run_dir=run)
        assert sandbox.calls["addContacts"] == 1
    assert {one.name: one.read_bytes() for one in run.iterdir()} == before


async def test_a_run_directory_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine")
    async with sandboxed(LIST) as (sandbox, client):
        with pytest.raises(RunDirectoryError, match="can't be used"):
            await push(client, numbers(2), run_dir=tmp_path / "run")
        assert sandbox.calls["addContacts"] == 0
    assert (tmp_path / "run").read_text() == "mine"


async def test_report_json_is_the_report(tmp_path: Path) -> None:
    """Byte for byte what `to_dict` says, with the names that others rely on."""
    async with sandboxed(LIST) as (_, client):
        report = await push(client, [number(1), number(1), "12"], run_dir=tmp_path / "run")
    value = orjson.loads((tmp_path / "run" / "report.json").read_bytes())
    assert value == report.to_dict()
    assert read_report(tmp_path / "run") == report
    assert value["counts"] == {
        "read": 3,
        "accepted": 1,
        "rejected": 1,
        "duplicate": 1,
        "suppressed": 0,
        "refused": 0,
        "uncertain": 0,
        "unsent": 0,
    }
    assert value["calls"] == {"sent": 1, "retried": 0, "throttled": 0}
    assert {
        "run_id",
        "state",
        "contact_list",
        "source",
        "started_at",
        "finished_at",
        "seconds",
        "contacts_per_second",
        "source_exhausted",
        "stopped_because",
    } <= value.keys()
    assert value["started_at"].endswith("Z")
    assert value["started_at"] <= value["finished_at"]


async def test_a_mended_outcome_file_can_be_pushed_again(tmp_path: Path) -> None:
    """Its columns `row` and `reason` are dropped, and the report says so."""
    async with sandboxed(LIST) as (sandbox, client):
        source = csv_of(tmp_path / "c.csv", "phone,name", "+14155550101,Ana", "+1 415,Bob")
        await push(client, source, run_dir=tmp_path / "first")
        mended = tmp_path / "first" / "rejected.csv"
        mended.write_text(mended.read_text().replace("+1 415", "+14155550102"))
        report = await push(client, mended, run_dir=tmp_path / "second")
        assert await stored(sandbox) == [
            {"phoneNumber": "+14155550101", "name": "Ana"},
            {"phoneNumber": "+14155550102", "name": "Bob"},
        ]
    assert len(report.notices) == 1


async def test_progress_only_grows_and_is_told_at_the_end(tmp_path: Path) -> None:
    """The last one tells where the run ended."""
    shown: list[Progress] = []
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(3000), "12")
    async with sandboxed(LIST) as (_, client):
        report = await push(client, source, batch=BatchLimits(max_contacts=10), progress=shown.append)
    assert shown
    for name in ("read", "settled", "accepted", "calls", "fraction", "seconds"):
        values = [getattr(one, name) for one in shown]
        assert values == sorted(values)
    assert all(one.accepted <= one.settled <= one.read for one in shown)
    last = shown[-1]
    assert (last.read, last.settled, last.accepted, last.calls) == (3001, 3001, 3000, 300)
    assert last.fraction == 1.0
    assert report.counts.accepted == 3000


async def test_progress_of_an_empty_run() -> None:
    shown: list[Progress] = []
    async with sandboxed(LIST) as (_, client):
        await push(client, [], progress=shown.append)
    assert [(one.read, one.settled, one.fraction) for one in shown] == [(0, 0, None)] * 2  # before it, and at its end


async def test_a_progress_callback_that_fails_does_not_cost_the_account(tmp_path: Path) -> None:
    """Whatever becomes of the error, `report.json` is the account of what was sent."""

    def show(progress: Progress) -> None:
        if progress.accepted:
            raise ZeroDivisionError

    async with sandboxed(LIST) as (sandbox, client):
        with contextlib.suppress(ZeroDivisionError):
            await ingest_contacts(
                client,
                numbers(40),
                contact_list=LIST,
                run_dir=tmp_path / "run",
                options=IngestOptions(batch=BatchLimits(max_contacts=1), concurrency=1, progress=show),
            )
        found = await stored(sandbox)
    report = check_run_dir(tmp_path / "run")
    assert report.counts.read == 40
    assert report.counts.accepted <= len(found) <= report.counts.accepted + report.counts.uncertain
    assert "no end was recorded" not in (report.stopped_because or "")


# The stream of outcomes


@pytest.mark.parametrize("count", [0, 1, 2, 700])
async def test_stream_yields_each_row_once_with_its_record(count: int, tmp_path: Path) -> None:
    """In its final state, with the reason that the files tell; the report comes at the end."""
    given: list[Any] = [{"phone": one, "n": index} for index, one in enumerate(numbers(count), 1)]
    given += [{"phone": number(1), "n": count + 1}, {"phone": "12", "n": count + 2}] if count else []
    async with sandboxed(LIST) as (sandbox, client):
        stream = iter_outcomes(
            client,
            given,
            contact_list=LIST,
            run_dir=tmp_path / "run",
            options=IngestOptions(batch=BatchLimits(max_contacts=3)),
        )
        outcomes: list[Outcome] = []
        async for one in stream:
            assert stream.report is None
            outcomes.append(one)
        found = await stored(sandbox)
    assert sorted(one.row for one in outcomes) == list(range(1, len(given) + 1))
    for one in outcomes:
        assert one.record == given[one.row - 1]
    by_row = {one.row: (one.state, one.reason) for one in outcomes}
    assert [by_row[row] for row in range(1, count + 1)] == [(State.ACCEPTED, "")] * count
    if count:
        assert by_row[count + 1] == (State.DUPLICATE, "duplicate of row 1")
        assert by_row[count + 2] == (State.REJECTED, "invalid_phone")
    assert [one["phoneNumber"] for one in found] == numbers(count)
    report = stream.report
    assert report is not None
    assert report == check_run_dir(tmp_path / "run")
    assert report.counts.read == report.counts.settled == len(given)
    assert Counter(one.state for one in outcomes) == Counter(
        {state: getattr(report.counts, state) for state in State if getattr(report.counts, state)}
    )


async def test_stream_tells_a_csv_record_by_its_columns(tmp_path: Path) -> None:
    """Also the cells behind the last column, which have no name but their number."""
    source = csv_of(tmp_path / "c.csv", "phone,name", "+14155550101,Ana", "+14155550102,Bob,more", "+14155550103")
    async with sandboxed(LIST) as (_, client):
        stream = iter_outcomes(client, source, contact_list=LIST)
        records = {one.row: one.record async for one in stream}
    assert stream.report is not None
    check_report(stream.report)
    assert records == {
        1: {"phone": "+14155550101", "name": "Ana"},
        2: {"phone": "+14155550102", "name": "Bob", "3": "more"},
        3: {"phone": "+14155550103"},
    }


async def test_stream_of_a_dry_run_yields_unsent() -> None:
    async with sandboxed(LIST) as (_, client):
        stream = iter_outcomes(client, numbers(3), contact_list=LIST, options=IngestOptions(dry_run=True))
        assert [one.state async for one in stream] == [State.UNSENT] * 3
    assert stream.report is not None
    check_report(stream.report)


@pytest.mark.parametrize("after", [1, 2, 37, 500])
async def test_closing_the_stream_early_stops_the_run(after: int, tmp_path: Path) -> None:
    """Nothing is sent after it, and the report in the run directory adds up."""
    given: Iterator[str] = iter(numbers(100_000))
    before = asyncio.all_tasks()
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        rows = set()
        async with iter_outcomes(
            client,
            given,
            contact_list=LIST,
            run_dir=tmp_path / "run",
            options=IngestOptions(batch=BatchLimits(max_contacts=5), concurrency=4),
        ) as stream:
            async for one in stream:
                rows.add(one.row)
                if len(rows) == after:
                    break
        calls = sandbox.calls["addContacts"]
        assert stream.report is None
        await asyncio.sleep(0.02)
        assert sandbox.calls["addContacts"] - calls <= 4
        found = await stored(sandbox)
    await check_tasks(before)
    report = check_run_dir(tmp_path / "run")
    assert (report.state, report.source_exhausted) == ("stopped", False)
    assert after <= report.counts.accepted <= len(found)
    assert len(found) <= report.counts.accepted + report.counts.uncertain
    assert report.counts.uncertain <= 4 * 5
    assert report.counts.read < 100_000
    assert len({one["phoneNumber"] for one in found}) == len(found)


async def test_a_stream_that_is_never_iterated_does_nothing() -> None:
    """Nor does closing it."""
    async with sandboxed(LIST) as (sandbox, client):
        async with iter_outcomes(client, numbers(3), contact_list=LIST):
            await asyncio.sleep(0)
        assert not sandbox.calls


async def test_stream_raises_what_stops_a_run_before_its_first_contact() -> None:
    async with sandboxed("Other") as (sandbox, client):
        stream = iter_outcomes(client, numbers(3), contact_list=LIST)
        with pytest.raises(ContactListError):
            await anext(stream)
        assert sandbox.calls["addContacts"] == 0
        assert stream.report is None


async def test_a_slow_reader_of_outcomes_slows_the_run_down() -> None:
    """Between the source and who looks at the outcomes is room for a few batches, not for the whole input."""
    taken = 0

    def source() -> Iterator[str]:
        nonlocal taken
        for one in numbers(50_000):
            taken += 1
            yield one

    async with (
        sandboxed(LIST) as (sandbox, client),
        iter_outcomes(
            client,
            source(),
            contact_list=LIST,
            options=IngestOptions(batch=BatchLimits(max_contacts=100), concurrency=2),
        ) as stream,
    ):
        await anext(stream)
        await asyncio.sleep(0.2)
        assert taken <= 3000
        assert sandbox.calls["addContacts"] <= 20
