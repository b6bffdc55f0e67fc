"""Several files in one push: rows are numbered on, columns are matched by name, and a resume reads the same."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import os
import re
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from cli.shell import KORE_CAMPAIGN, environment, kore_campaign
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    Files,
    IngestOptions,
    RunDirectoryError,
    SourceError,
    ingest_contacts,
    iter_outcomes,
    resume_ingest,
)
from kore_campaign_async.ingest.journal import read_settings
from kore_campaign_async.ingest.records import Cells, Slice
from kore_campaign_async.ingest.sources import opening, plain_parts, several
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.sandbox import Sandbox
from tests.ingest.pushing import LIST, csv_of, number, numbers, outcome_files, push, sandboxed, scripted, stored


def made(folder: Path) -> list[Path]:
    """Three files of the same columns, each in a dialect and an order of its own."""
    (folder / "a.csv").write_text(f"Phone,First Name,plan\n{number(1)},Ana,A\nnobody,Bo\n\n{number(2)},Cy,C\n")
    (folder / "b.csv").write_bytes(f"plan;phone;firstName\nÜ;{number(3)};Zoë\n;x;Di\n".encode("cp1252"))
    text = f"First Name\tplan\tPhone\nEd\tE\t{number(4)}\tmore\n\t\t{number(1)}\n"
    (folder / "c.csv.gz").write_bytes(gzip.compress(text.encode("utf-16")))
    return [folder / name for name in ("a.csv", "b.csv", "c.csv.gz")]


async def test_rows_are_numbered_on_and_columns_are_those_of_the_first(tmp_path: Path) -> None:
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, Files(made(tmp_path)), run_dir=tmp_path / "run")
        contacts = await stored(sandbox)
    assert report.source == f"{tmp_path}/a.csv, {tmp_path}/b.csv, {tmp_path}/c.csv.gz"
    assert contacts == [
        {"phoneNumber": number(1), "firstName": "Ana", "plan": "A"},
        {"phoneNumber": number(2), "firstName": "Cy", "plan": "C"},
        {"phoneNumber": number(3), "firstName": "Zoë", "plan": "Ü"},
    ]
    files = outcome_files(tmp_path / "run")
    assert files["rejected.csv"] == [
        (2, "invalid_phone", ["nobody", "Bo"]),
        (5, "invalid_phone", ["x", "Di", ""]),
        (6, "bad_row", [number(4), "Ed", "E", "more"]),
    ]
    assert files["left_out.csv"] == [(7, "duplicate of row 1", [number(1), "", ""])]
    assert (tmp_path / "run" / "rejected.csv").read_bytes().startswith(b"row,reason,Phone,First Name,plan\r\n")


async def test_outcomes_are_told_by_the_first_files_columns(tmp_path: Path) -> None:
    async with scripted() as (_, client):
        found = {one.row: one async for one in iter_outcomes(client, Files(made(tmp_path)), contact_list=LIST)}
    assert found[4].record == {"Phone": number(3), "First Name": "Zoë", "plan": "Ü"}
    assert found[6].record == {"Phone": number(4), "First Name": "Ed", "plan": "E", "4": "more"}


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (
            "phone,city\n+1,x\n",
            "it has no 'First Name', and a.csv has no 'city'; rename them, or push the files one by",
        ),
        ("phone\n+1\n", "it has no 'First Name'; rename"),
        ("phone,firstName,city,zip\n+1,,,\n", "a.csv has no 'city', 'zip'; rename"),
        (
            "phone,first_name,FirstName\n+1,,\n",
            "it has no 'First Name', and a.csv has no 'first_name', 'FirstName'; re",
        ),
    ],
)
async def test_other_columns_are_one_sentence_that_names_file_and_columns(
    second: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("phone,First Name\n+14155550101,Ana\n")
    Path("b.csv").write_text(second)
    async with scripted() as (api, client):
        with pytest.raises(SourceError, match=re.escape(f"the columns of b.csv are not those of a.csv: {said}")):
            await push(client, Files(["a.csv", "b.csv"]))
    assert api.calls == []


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a.csv", "a.csv"], "a.csv is named twice"),
        (["a.csv", "-"], "standard input is pushed by itself"),
        (["a.csv", "b.ndjson"], "b.ndjson is a file of objects, and a.csv is a table: push them one by one"),
        (["b.ndjson", "a.csv"], "a.csv is a table, and b.ndjson is a file of objects"),
        (["a.csv", "missing.csv"], "missing.csv can't be read: No such file"),
        (["a.csv", "empty.csv"], "empty.csv is empty"),
        (["a.csv", "torn.csv.gz"], "torn.csv.gz can't be read: its packed data ends too early"),
        (["a.csv", "pipe"], "pipe can't be read twice, so it is pushed by itself"),
    ],
)
async def test_files_that_do_not_go_together(
    names: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("phone\n+14155550101\n")
    Path("b.ndjson").write_text('{"phone": "+14155550102"}\n')
    Path("empty.csv").touch()
    Path("torn.csv.gz").write_bytes(gzip.compress(b"phone\n" + b"+14155550103\n" * 9)[:-2])
    if "pipe" in names:
        os.mkfifo("pipe")
        keeper = os.open("pipe", os.O_RDWR)
        os.write(keeper, b"phone\n+14155550104\n")
    async with scripted() as (api, client):
        with pytest.raises(SourceError, match=re.escape(said)):
            await push(client, Files(names))
    assert api.calls == []


async def test_columns_of_one_field_are_told_apart_by_their_names(tmp_path: Path) -> None:
    """A file with two numbers a contact, and another with the same two the other way round."""
    a = csv_of(tmp_path / "a.csv", "phone,mobile", f"{number(1)},{number(2)}")
    b = csv_of(tmp_path / "b.csv", "mobile,phone", f"{number(4)},{number(3)}")
    c = csv_of(tmp_path / "c.csv", "Mobile,Phone", f"{number(6)},{number(5)}")
    async with scripted() as (api, client):
        await push(client, Files([a, b]), column_map={"mobile": "phoneNumber"})
        assert api.calls[0].contacts == (
            {"phoneNumber": number(2), "phone": number(1)},
            {"phoneNumber": number(4), "phone": number(3)},
        )
        with pytest.raises(SourceError, match="it has no 'phone', 'mobile', and "):
            await push(client, Files([a, c]), column_map={"mobile": "phoneNumber"})


async def test_a_list_of_texts_is_contacts_and_no_files(tmp_path: Path) -> None:
    """Only `Files` are files."""
    path = csv_of(tmp_path / "a.csv", "phone", number(1))
    async with scripted() as (api, client):
        report = await push(client, [str(path), number(2)])
    assert (report.counts.rejected, report.counts.accepted) == (1, 1)
    assert api.calls[0].numbers == (number(2).removeprefix("+"),)


def test_no_files_are_said() -> None:
    with pytest.raises(ValueError, match="no file is named"):
        Files([])


async def test_objects_of_several_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.ndjson").write_text(f'{{"phone": "{number(ord(name))}"}}\n{{}}\n')
    async with sandboxed(LIST) as (sandbox, client):
        await push(client, Files([tmp_path / "a.ndjson", tmp_path / "b.ndjson"]), run_dir=tmp_path / "run")
        assert len(await stored(sandbox)) == 2
    assert [row for row, _, _ in outcome_files(tmp_path / "run")["rejected.csv"]] == [2, 4]


async def test_tables_and_rows_of_several_files_come_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CSV in another order, and a Parquet file between."""
    monkeypatch.setattr(plain_parts, "_TABLE_BYTES", 1 << 12)
    rows = [(one, f"naïve {index}", "x" * (index % 9)) for index, one in enumerate(numbers(9000))]
    (tmp_path / "a.csv").write_text("phone,name,x\n" + "".join(f"{','.join(row)}\n" for row in rows[:3000]))
    pl.DataFrame(rows[3000:6000], schema=["phone", "name", "x"], orient="row").select(
        "x", "phone", "name"
    ).write_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.csv").write_text("name,x,phone\n" + "".join(f"{name},{x},{one}\n" for one, name, x in rows[6000:]))
    files = Files([tmp_path / "a.csv", tmp_path / "b.parquet", tmp_path / "c.csv"])
    expected = [{"phoneNumber": one, "name": name, **({"x": x} if x else {})} for one, name, x in rows]
    for least in (0, 1 << 40):
        monkeypatch.setattr(opening, "_TABLES_FROM_BYTES", least)
        async with sandboxed(LIST) as (sandbox, client):
            report = await push(client, files)
            assert await stored(sandbox) == expected
        assert report.counts.accepted == 9000


records = st.one_of(st.lists(st.text("ab", max_size=2), max_size=6), st.just(several.Broken("bad_row", "x")))


@given(st.permutations(range(4)), st.lists(records, max_size=5), st.integers(0, 9))
def test_cells_are_put_in_order_whatever_a_record_holds(
    order: list[int], given_records: list[Any], before: int
) -> None:
    moved = several._moved(Slice(1, given_records), before, order, 4)
    assert isinstance(moved, Slice)
    assert moved.first == before + 1
    for old, new in zip(given_records, moved.records, strict=True):
        if isinstance(old, list):
            padded = old + [""] * (4 - len(old))
            assert new == [*(padded[index] for index in order), *padded[4:]]
        else:
            assert new is old
    flat = Cells([cell for row in range(3) for cell in (f"{row}a", f"{row}b", f"{row}c", f"{row}d")], 4)
    cells = several._moved(Slice(1, flat), before, order, 4)
    assert isinstance(cells, Slice)
    assert list(cells.records) == [[row[index] for index in order] for row in flat]


# Resuming


async def stopped(sandbox: Sandbox, client: CampaignClient, source: Any, run_dir: Path) -> None:
    """Push, and cancel it after a few calls."""
    options = IngestOptions(batch=BatchLimits(max_contacts=50), concurrency=2, grace_seconds=5)
    run = asyncio.ensure_future(ingest_contacts(client, source, contact_list=LIST, run_dir=run_dir, options=options))
    while sandbox.calls["addContacts"] < 4:
        await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run


def many(folder: Path) -> list[Path]:
    """A thousand contacts in three files: Windows-1252 with semicolons, a packed one, and UTF-16 in another order."""
    rows = [(one, f"Zoë {index}") for index, one in enumerate(numbers(1000))]
    texts = [
        "phone;name\n" + "".join(f"{one};{name}\n" for one, name in rows[:400]),
        "phone,name\n" + "".join(f"{one},{name}\n" for one, name in rows[400:700]),
        "name\tphone\n" + "".join(f"{name}\t{one}\n" for one, name in rows[700:]),
    ]
    (folder / "a.csv").write_bytes(texts[0].encode("cp1252"))
    (folder / "b.csv.gz").write_bytes(gzip.compress(texts[1].encode()))
    (folder / "c.csv").write_bytes(texts[2].encode("utf-16"))
    return [folder / name for name in ("a.csv", "b.csv.gz", "c.csv")]


async def test_a_stopped_run_of_several_files_is_resumed_as_it_was_read(tmp_path: Path) -> None:
    paths = many(tmp_path)
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        await stopped(sandbox, client, Files(paths), tmp_path / "run")
        settings = read_settings(tmp_path / "run")["source"]
        report = await resume_ingest(client, tmp_path / "run")
        contacts = await stored(sandbox)
    assert settings["files"] == [
        {
            "path": str(path),
            "encoding": encoding,
            "delimiter": delimiter,
            "sheet": None,
            "no_header": False,
            "size": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path, encoding, delimiter in zip(paths, ("cp1252", "utf-8", "utf-16"), ";,\t", strict=True)
    ]
    assert report.state == "finished"
    assert report.counts.accepted == 1000
    assert contacts == [{"phoneNumber": one, "name": f"Zoë {index}"} for index, one in enumerate(numbers(1000))]
    assert any("Windows-1252" in notice for notice in report.notices)


@pytest.mark.parametrize("change", ["more", "swapped"])
async def test_a_run_of_files_that_changed_is_not_resumed(change: str, tmp_path: Path) -> None:
    paths = many(tmp_path)
    async with sandboxed(LIST, allow_duplicates=True) as (sandbox, client):
        await stopped(sandbox, client, Files(paths), tmp_path / "run")
        if change == "more":
            paths[1].write_bytes(paths[1].read_bytes() + gzip.compress(b"+14169999999,x\n"))
        else:
            first, last = paths[0].read_bytes(), paths[2].read_bytes()
            paths[0].write_bytes(last)
            paths[2].write_bytes(first)
        with pytest.raises(RunDirectoryError, match="the source has changed"):
            await resume_ingest(client, tmp_path / "run")


@pytest.mark.parametrize("calls", [1, 7])
async def test_killed_and_resumed_packed_and_several_files_lose_nobody(calls: int, tmp_path: Path) -> None:
    many(tmp_path)
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        process = await asyncio.create_subprocess_exec(
            *(KORE_CAMPAIGN, "push", "a.csv", "b.csv.gz", "c.csv", "--list", LIST, "--run-dir", "run"),
            *("--max-contacts", "50", "--rate", "none"),
            env=environment(sandbox.environment),
            cwd=tmp_path,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        while process.returncode is None and sandbox.calls["addContacts"] < calls:
            await asyncio.sleep(0.002)
        if process.returncode is None:
            process.kill()
        await process.wait()
        said = await kore_campaign("resume", "run", "--json", env=sandbox.environment, cwd=tmp_path)
        contacts = await stored(sandbox)
    assert said.status == 0, said.err
    counts = orjson.loads(said.out)["counts"]
    assert counts["read"] == counts["accepted"] == 1000
    assert [contact["phoneNumber"] for contact in contacts] == numbers(1000)
    assert {contact["name"] for contact in contacts} == {f"Zoë {index}" for index in range(1000)}


# In the shell


async def test_patterns_are_matched_by_name_and_what_matches_nothing_is_said(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for index, name in enumerate(("c", "a", "b", "odd[1]")):
        csv_of(tmp_path / "in" / f"{name}.csv", "phone", number(index))
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        args = ("--list", LIST, "--json")
        said = await kore_campaign("push", "in/[abc].csv", *args, env=sandbox.environment, cwd=tmp_path)
        assert said.status == 0, said.err
        assert orjson.loads(said.out)["source"] == "in/a.csv, in/b.csv, in/c.csv"
        said = await kore_campaign("push", "in/odd[1].csv", *args, env=sandbox.environment, cwd=tmp_path)
        assert said.status == 0, said.err
        said = await kore_campaign("push", "out/*.csv", *args, env=sandbox.environment, cwd=tmp_path)
        assert (said.status, said.err) == (
            2,
            "kore-campaign: no file matches 'out/*.csv'; look at what is there with ls\n",
        )
        assert len(sandbox.named(LIST).contacts) == 4


async def test_what_is_found_out_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    """Without a terminal nothing is asked."""
    made(tmp_path)
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        push_all = ("push", "a.csv", "b.csv", "c.csv.gz", "--list", LIST)
        said = await kore_campaign(*push_all, "--dry-run", env=sandbox.environment, cwd=tmp_path)
        assert sandbox.calls["addContacts"] == 0
        assert said.err.splitlines()[:3] == [
            "b.csv: Windows-1252, cells parted by semicolons",
            "c.csv.gz: UTF-16, cells parted by tabs",
            "columns: 'Phone' → phoneNumber, 'First Name' → firstName; as they are: 'plan'",
        ]
        said = await kore_campaign(*push_all, "--encoding", "cp1252", env=sandbox.environment, cwd=tmp_path)
        assert said.status == 2  # the third is UTF-16
        for flags, sentence in (
            (("--encoding", "windows"), "the encoding 'windows' is not known; name one such as utf-8"),
            (("--delimiter", "ab"), "the delimiter 'ab' is none: it is a single character"),
            (("--sheet", "x"), "a.csv has no sheets; leave --sheet out"),
        ):
            said = await kore_campaign(*push_all, *flags, env=sandbox.environment, cwd=tmp_path)
            assert said.status == 2
            assert sentence in said.err
        assert sandbox.calls["addContacts"] == 0


async def test_a_packed_csv_on_standard_input(tmp_path: Path) -> None:
    async with Sandbox(rate=None, job_seconds=0.0) as sandbox:
        sandbox.make_list(LIST)
        given_bytes = gzip.compress("phone;name\n+14155550101;Zoë\n".encode())
        said = await kore_campaign(
            "push", "-", "--list", LIST, env=sandbox.environment, cwd=tmp_path, given=given_bytes
        )
        assert said.status == 0, said.err
        windows = "phone|name\n+14155550102|Zoë\n".encode("cp1252")
        push_it = ("push", "-", "--list", LIST, "--encoding", "windows-1252")
        said = await kore_campaign(*push_it, env=sandbox.environment, cwd=tmp_path, given=windows)
        assert said.status == 0, said.err
        assert [contact["name"] for contact in sandbox.named(LIST).contacts] == ["Zoë", "Zoë"]


async def test_a_file_that_changes_while_others_are_read_stops_the_run(tmp_path: Path) -> None:
    """It is known by what it held when its columns were looked at."""
    paths = [csv_of(tmp_path / "a.csv", "phone,name", f"{number(1)},x"), tmp_path / "b.csv"]
    csv_of(paths[1], "phone,name", f"{number(2)},x")
    source = await open_source(Files(paths))
    csv_of(paths[1], "phone,city", f"{number(2)},x")
    with pytest.raises(SourceError, match="changed while it was read"):
        _ = [part async for part in source.slices()]
    source.close()
