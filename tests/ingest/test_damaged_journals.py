"""A journal with a flipped bit, a torn log or settings of another kind: it is gone on with rightly, or not at all.

`KORE_FLIPS` says how many bits are flipped, each in a killed run of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sqlite3
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pytest
from attrs import define

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    IngestOptions,
    KoreCampaignError,
    RunDirectoryError,
    amend_ingest,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async.cli.look import look
from kore_campaign_async.ingest import journal
from kore_campaign_async.ingest.directory import JOURNAL
from kore_campaign_async.ingest.files import read_report
from kore_campaign_async.ingest.integrity import DIGEST, refuse_damaged_log
from tests.ingest.pushing import ACCEPT, LIST, ScriptedApi, check_report, check_run_dir, csv_of, numbers, scripted

FLIPS: Final = int(os.environ.get("KORE_FLIPS", "30"))
COUNT, KILLED_AT = 24, 7
LOG: Final = f"{JOURNAL}-wal"
NESTED: Final = "UPDATE setting SET value = printf('%.100000c', '[') WHERE name = 'options'"


@define
class Killed:
    """A run as it stood when it was killed, amid a call; it can be put back as often as one likes."""

    api: ScriptedApi
    client: CampaignClient
    run_dir: Path
    files: Mapping[str, bytes]
    called: Counter[str]

    def put_back(self) -> None:
        for one in self.run_dir.iterdir():
            if one.name not in self.files:
                one.unlink()
        for name, data in self.files.items():
            (self.run_dir / name).write_bytes(data)

    async def resumed(self) -> str | None:
        """Go on with it, and check that nobody is called twice or forgotten; the sentence where it is refused."""
        before = len(self.api.calls)
        said, report = None, None
        try:
            report = await asyncio.wait_for(resume_ingest(self.client, self.run_dir), 20)
        except KoreCampaignError as error:
            said = str(error)
        calls = self.api.calls[before:]
        called = self.called + Counter(one for call in calls for one in call.numbers)
        assert set(called.values()) <= {1}, "somebody is called twice"
        if report is None:
            assert not calls
            assert said is not None
            assert "\n" not in said
        else:
            check_report(report)
            assert report.state == "finished"
            assert called.keys() == {one.removeprefix("+") for one in numbers(COUNT)}, "somebody is forgotten"
            assert report.counts.accepted + report.counts.uncertain == COUNT
        return said

    def looked_at(self) -> None:
        """Nothing but a sentence comes of a look."""
        for way in (look_at, read_report):
            with contextlib.suppress(RunDirectoryError):
                way(self.run_dir)


def look_at(run_dir: Path) -> None:
    look(run_dir, show_numbers=False).resuming  # noqa: B018  it reads the settings


@pytest.fixture
async def killed(tmp_path: Path) -> AsyncIterator[Killed]:
    files: dict[str, bytes] = {}
    called: Counter[str] = Counter()

    def snapshot(call: Any) -> Any:
        if call.number <= KILLED_AT:
            called.update(call.numbers)
        if call.number == KILLED_AT:
            files.update({one.name: one.read_bytes() for one in (tmp_path / "run").iterdir()})
        return ACCEPT

    source = csv_of(tmp_path / "c.csv", "phone", *numbers(COUNT))
    options = IngestOptions(batch=BatchLimits(max_contacts=2), concurrency=1)
    async with scripted(snapshot) as (api, client):
        await ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        yield Killed(api, client, tmp_path / "run", files, called)


async def test_a_killed_run_is_resumed(killed: Killed) -> None:
    """The others here say nothing if this one fails."""
    assert len(killed.files[LOG]) > 4096
    killed.put_back()
    assert await killed.resumed() is None
    assert check_run_dir(killed.run_dir).counts.uncertain == 2


async def test_flipped_bits(killed: Killed) -> None:
    """In the journal and in its log; a flip that makes no difference is gone on with."""
    rng = random.Random(11)
    refused = 0
    for flip in range(FLIPS):
        killed.put_back()
        path = killed.run_dir / (LOG if flip % 3 else JOURNAL)
        data = bytearray(path.read_bytes())
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        data[at] ^= 1 << bit
        path.write_bytes(data)
        try:
            refused += await killed.resumed() is not None
        except BaseException as error:
            error.add_note(f"bit {bit} of byte {at} of {path.name}, flip {flip}")
            raise
        killed.put_back()
        path.write_bytes(data)
        killed.looked_at()
    assert refused > FLIPS / 3


async def test_truncated_journals(killed: Killed) -> None:
    data = killed.files[JOURNAL]
    rng = random.Random(5)
    for length in (0, 1, 16, 100, 512, len(data) // 2, len(data) - 1, *(rng.randrange(len(data)) for _ in "123")):
        killed.put_back()
        (killed.run_dir / JOURNAL).write_bytes(data[:length])
        await killed.resumed()
        killed.looked_at()


@pytest.mark.parametrize("name", [JOURNAL, LOG])
async def test_blanked_pages(name: str, killed: Killed) -> None:
    """Pages of the journal that stand anew in its log make no difference."""
    data = killed.files[name]
    refused = 0
    for page in range(0, len(data) - 4096, 4096):
        killed.put_back()
        (killed.run_dir / name).write_bytes(data[:page] + bytes(4096) + data[page + 4096 :])
        refused += await killed.resumed() is not None
        killed.looked_at()
    assert refused


def settings_in(run_dir: Path) -> dict[str, Any]:
    with contextlib.closing(sqlite3.connect(run_dir / JOURNAL)) as connection:
        return {
            name: orjson.loads(value)
            for name, value in connection.execute("SELECT name, value FROM setting")
            if name not in {DIGEST, "report"}
        }


def put(run_dir: Path, name: str, value: Any, *, keep_digest: bool) -> None:
    with contextlib.closing(sqlite3.connect(run_dir / JOURNAL)) as connection, connection:
        if value is ...:
            connection.execute("DELETE FROM setting WHERE name = ?", (name,))
        else:
            connection.execute("UPDATE setting SET value = ? WHERE name = ?", (orjson.dumps(value).decode(), name))
        if not keep_digest:
            connection.execute("DELETE FROM setting WHERE name = ?", (DIGEST,))


WRONG: Final[tuple[Any, ...]] = (..., None, [], {}, "", -1, True, 1 << 62, "x" * 5000, [[[None]]])


def changed(value: Any) -> list[Any]:
    """A value with each of its keys removed, and with each of them of another kind."""
    found: list[Any] = list(WRONG)
    if isinstance(value, dict):
        for key in value:
            for wrong in WRONG:
                other = {name: one for name, one in value.items() if name != key}
                found.append(other if wrong is ... else {**other, key: wrong})
    return found


@pytest.mark.parametrize("keep_digest", [True, False])
async def test_settings_of_another_kind(keep_digest: bool, killed: Killed) -> None:
    """A journal with a digest is refused for any of them; one of an older version has none, and each is looked at."""
    killed.put_back()
    settings = settings_in(killed.run_dir)
    cases = [(name, wrong) for name, value in settings.items() for wrong in changed(value) if wrong != value]
    rng = random.Random(3)
    for name, wrong in rng.sample(cases, min(len(cases), FLIPS)):
        killed.put_back()
        put(killed.run_dir, name, wrong, keep_digest=keep_digest)
        try:
            said = await killed.resumed()
            assert said is not None or not keep_digest
            killed.looked_at()
            with contextlib.suppress(KoreCampaignError):
                await amend_ingest(killed.client, killed.run_dir, [killed.run_dir / "rejected.csv"])
        except BaseException as error:
            error.add_note(f"{name} = {str(wrong)[:300]}")
            raise


async def test_a_journal_of_another_run(killed: Killed, tmp_path: Path) -> None:
    """Also where that one had the same name, and the same source."""
    other = tmp_path / "other" / "run"
    await ingest_contacts(killed.client, tmp_path / "c.csv", contact_list=LIST, run_dir=other)
    killed.put_back()
    (killed.run_dir / LOG).unlink()
    (killed.run_dir / JOURNAL).write_bytes((other / JOURNAL).read_bytes())
    before = len(killed.api.calls)
    with pytest.raises(RunDirectoryError):
        await resume_ingest(killed.client, killed.run_dir)
    assert len(killed.api.calls) == before


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("UPDATE attempt SET first_row = first_row + 1 WHERE id = 3", "attempt 3 is not as it was written"),
        ("UPDATE attempt SET last_row = last_row + 2 WHERE id = 3", "attempt 3 is not as it was written"),
        ("UPDATE attempt SET contacts = 1 WHERE id = 2", "attempt 2 is not as it was written"),
        ("UPDATE attempt SET state = 'acceptee' WHERE id = 2", "attempt 2 is not as it was written"),
        ("UPDATE attempt SET outcome = x'00' WHERE id = 2", "attempt 2 is not as it was written"),
        ("DELETE FROM attempt WHERE id = 2", "attempt 2 is not as it was written"),
        ("UPDATE attempt SET first_row = 'x', checksum = NULL WHERE id = 1", "attempt 1 is not as it was written"),
        ("UPDATE setting SET value = '\"Other\"' WHERE name = 'contact_list'", "its settings are not those"),
        ("DELETE FROM setting WHERE name = 'decides'", "its setting decides is missing"),
        ("PRAGMA user_version = 0", "it has format 0"),
        ("PRAGMA user_version = 3", "its settings are not those"),
        ("UPDATE setting SET value = '[' WHERE name = 'options'", "its settings are torn"),
        (NESTED, "its settings are torn"),
        ("UPDATE setting SET value = '7 8' WHERE name = 'digest'", "its settings are"),
    ],
)
async def test_what_a_person_is_told(statement: str, says: str, killed: Killed) -> None:
    killed.put_back()
    with contextlib.closing(sqlite3.connect(killed.run_dir / JOURNAL)) as connection, connection:
        connection.execute(statement)
    said = await killed.resumed()
    assert said is not None
    assert said.startswith(f"{killed.run_dir / JOURNAL} can't be read: {says}")
    assert said.endswith("put the run directory back from a copy, or push those anew who are not in the list")
    killed.looked_at()


async def test_a_log_that_was_begun_anew_is_whole(tmp_path: Path) -> None:
    """SQLite overwrites it from its beginning: what stands behind the end of the new one is no damage."""
    path = tmp_path / "j.sqlite"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        for _ in range(3):
            with connection:
                connection.executemany("INSERT INTO t VALUES (?)", [("x" * 3000,)] * 40)
            connection.execute("PRAGMA wal_checkpoint(RESTART)")
        with connection:
            connection.execute("INSERT INTO t VALUES (1)")
        refuse_damaged_log(path)
        data = bytearray(path.with_name("j.sqlite-wal").read_bytes())
    assert int.from_bytes(data[12:16], "big") > 0
    data[10] ^= 1
    path.with_name("j.sqlite-wal").write_bytes(data)
    with pytest.raises(RunDirectoryError, match="a part of it is not as it was written"):
        refuse_damaged_log(path)


async def test_an_older_journal_gets_its_checksums_from_then_on(killed: Killed) -> None:
    killed.put_back()
    with contextlib.closing(sqlite3.connect(killed.run_dir / JOURNAL)) as connection, connection:
        connection.execute("ALTER TABLE attempt DROP COLUMN checksum")
    assert await killed.resumed() is None
    with contextlib.closing(sqlite3.connect(killed.run_dir / JOURNAL)) as connection:
        checksums = [one for (one,) in connection.execute("SELECT checksum FROM attempt ORDER BY id")]
    assert checksums[:KILLED_AT] == [None] * KILLED_AT
    assert None not in checksums[KILLED_AT:]
    journal.verify(killed.run_dir)
