"""Frames, Arrow streams, Parquet and Arrow files: what becomes of their types, and what is refused by name."""

from __future__ import annotations

import datetime as dt
import decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kore_campaign_async import BatchLimits, iter_outcomes, resume_ingest
from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.columns import as_rows
from kore_campaign_async.ingest.sources import table_parts
from kore_campaign_async.ingest.sources.opening import open_source
from tests.ingest.pushing import FAIL, LIST, numbers, outcome_files, push, refuse, rows_in, scripted

PHONES = ["+14155550001", "14155550002", "+1 (415) 555-0003"]
BERLIN = dt.datetime(2026, 7, 1, 12, 30, tzinfo=dt.UTC)


class Stream:
    """Somebody else's table: all that is known of it is Arrow's C stream."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._frame.__arrow_c_stream__(requested_schema)


async def rows_of(given: Any) -> list[list[str]]:
    source = await open_source(given)
    return [record for part in [part async for part in source.slices()] for record in as_rows(part).records]


@pytest.mark.parametrize(
    ("values", "kind", "texts"),
    [
        (["a", None, "+1"], pl.String, ["a", "", "+1"]),
        ([1, None, -(2**63)], pl.Int64, ["1", "", "-9223372036854775808"]),
        ([0, 2**64 - 1], pl.UInt64, ["0", "18446744073709551615"]),
        ([7], pl.Int8, ["7"]),
        ([1.0, None, float("nan"), -3.0, 2.0**53 - 1], pl.Float64, ["1", "", "", "-3", "9007199254740991"]),
        ([14155550001.0], pl.Float64, ["14155550001"]),
        ([16777215.0], pl.Float32, ["16777215"]),
        ([True, None, False], pl.Boolean, ["true", "", "false"]),
        ([decimal.Decimal("1.50"), None], pl.Decimal(20, 2), ["1.50", ""]),
        ([dt.date(2026, 7, 1), None], pl.Date, ["2026-07-01", ""]),
        ([dt.datetime(2026, 7, 1, 12, 30)], pl.Datetime("us"), ["2026-07-01T12:30:00"]),  # noqa: DTZ001  one without a zone
        ([dt.datetime(2026, 7, 1, 12, 30, 0, 250000)], pl.Datetime("ms"), ["2026-07-01T12:30:00.250"]),  # noqa: DTZ001  the same
        ([BERLIN], pl.Datetime("us", "Europe/Berlin"), ["2026-07-01T14:30:00+02:00"]),
        ([dt.time(1, 2, 3)], pl.Time, ["01:02:03"]),
        (["x", None], pl.Categorical, ["x", ""]),
        (["x", "y"], pl.Enum(["y", "x"]), ["x", "y"]),
        ([None, None], pl.Null, ["", ""]),
    ],
)
async def test_every_type_becomes_text_by_one_rule(values: list[Any], kind: Any, texts: list[str]) -> None:
    frame = pl.DataFrame({"phone": ["+14155550001"] * len(values), "x": pl.Series(values, dtype=kind, strict=False)})
    given: Any
    # An Enum of its own does not come back as one through the stream.
    for given in (frame, frame.lazy(), *([] if isinstance(kind, pl.Enum) else [Stream(frame)])):
        assert [row[1] for row in await rows_of(given)] == texts


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([[1, 2]], "has the type List(Int64), which is no text"),
        ([{"a": 1}], "has the type Struct({'a': Int64}), which is no text"),
        ([b"x"], "has the type Binary, which is no text"),
        ([dt.timedelta(1)], "has the type Duration(time_unit='us'), which is no text"),
        ([1.5], "holds floats that are no whole numbers"),
        ([2.0**53], "holds floats that are no whole numbers, or too large ones to be exact"),
        ([float("inf")], "holds floats that are no whole numbers"),
    ],
)
async def test_a_column_that_is_no_text_is_refused_by_name(values: list[Any], said: str, tmp_path: Path) -> None:
    """Before a call goes out."""
    frame = pl.DataFrame({"phone": ["+14155550001"], "odd one": values})
    frame.write_parquet(tmp_path / "odd.parquet")
    async with scripted() as (api, client):
        for given in (frame, tmp_path / "odd.parquet"):
            with pytest.raises(SourceError, match=r"the column 'odd one' of ") as raised:
                await push(client, given, run_dir=tmp_path / "run")
            assert said in str(raised.value)
    assert api.calls == []
    assert api.others == {}
    assert not (tmp_path / "run").exists()


async def test_floats_of_a_stream_are_refused_where_they_come(tmp_path: Path) -> None:
    """It can be read only once: what came before is accounted for."""
    many = table_parts.SLICE_ROWS
    frame = pl.DataFrame({"phone": numbers(many + 1), "score": [1.0] * many + [1.5]})
    async with scripted() as (api, client):
        report = await push(client, Stream(frame), run_dir=tmp_path / "run")
    assert report.state == "stopped"
    assert report.stopped_because is not None
    assert "the column 'score' of Stream holds floats" in report.stopped_because
    assert report.counts.accepted == report.counts.read == many == len(api.processed)


async def test_a_frame_is_pushed_with_every_promise(tmp_path: Path) -> None:
    """Rows that the rules leave out stand in the files by their number, and numbers keep what they are."""
    frame = pl.DataFrame(
        {
            "Phone": [*PHONES, "no", "4155550001", "+14155550001"],
            "firstName": ["Ana", None, "", "Bo", " ", "Cy"],
            "n": range(6),
        }
    )
    async with scripted([FAIL], allow_duplicates=False) as (api, client):
        report = await push(client, frame, run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=1))
    assert report.source == "DataFrame"
    assert outcome_files(tmp_path / "run")["rejected.csv"] == [(4, "invalid_phone", ["no", "Bo", "3"])]
    assert outcome_files(tmp_path / "run")["left_out.csv"] == [(6, "duplicate of row 1", ["+14155550001", "Cy", "5"])]
    (sent, *_) = api.calls
    assert sent.contacts[0] == {"phoneNumber": "+14155550001", "firstName": "Ana", "n": "0"}
    assert {number for call in api.calls for number in call.numbers} == {
        "14155550001", "14155550002", "14155550003", "4155550001",
    }  # fmt: skip


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
async def test_a_file_of_columns_is_known_by_its_beginning_and_resumed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "contacts.bin"
    frame = pl.DataFrame({"phone": numbers(10), "name": ["Ana"] * 10})
    (frame.write_parquet if kind == "parquet" else frame.write_ipc)(path)
    async with scripted([refuse(503)] * 5, allow_duplicates=True) as (api, client):
        report = await push(client, path, run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=2))
        assert report.counts.uncertain == 10
        api.allow_duplicates = False
        report = await resume_ingest(client, tmp_path / "run")
    assert report.counts.accepted == 10
    assert len(api.processed) == 10


async def test_outcomes_of_a_table_are_told_by_its_columns() -> None:
    frame = pl.DataFrame({"phone": ["+14155550001", "x"], "n": [1, None]})
    async with scripted() as (_, client):
        found = [one async for one in iter_outcomes(client, frame, contact_list=LIST)]
    assert {(one.row, one.state.value): one.record for one in found} == {
        (1, "accepted"): {"phone": "+14155550001", "n": "1"},
        (2, "rejected"): {"phone": "x", "n": ""},
    }


async def test_a_mended_frame_of_a_run_is_pushed_without_what_the_run_added(tmp_path: Path) -> None:
    async with scripted() as (api, client):
        await push(client, pl.DataFrame({"phone": ["415x", *PHONES[:1]]}), run_dir=tmp_path / "one")
        frame = pl.read_csv(tmp_path / "one" / "rejected.csv", infer_schema=False).with_columns(
            phone=pl.lit("+14155559999")
        )
        report = await push(client, frame, run_dir=tmp_path / "two")
    assert "its columns row and reason are left out" in report.notices[0]
    assert api.calls[-1].contacts == ({"phoneNumber": "+14155559999"},)
    assert rows_in(tmp_path / "two", "rejected.csv") == {}


async def test_a_series_is_a_table_of_numbers() -> None:
    assert await rows_of(pl.Series(PHONES)) == [[one] for one in PHONES]


async def test_a_column_without_a_name_is_left_out(tmp_path: Path) -> None:
    frame = pl.DataFrame({"phone": ["+14155550001", "+14155550002"], "": ["", "x"]})
    async with scripted() as (api, client):
        await push(client, frame, run_dir=tmp_path / "run")
    assert rows_in(tmp_path / "run", "rejected.csv") == {}
    assert api.calls[0].contacts == ({"phoneNumber": "+14155550001"}, {"phoneNumber": "+14155550002"})


async def test_an_empty_frame_is_a_run_of_nothing() -> None:
    async with scripted() as (api, client):
        report = await push(client, pl.DataFrame({"phone": pl.Series([], dtype=pl.String)}))
    assert (report.state, report.counts.read, api.calls) == ("finished", 0, [])


async def test_a_torn_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "torn.parquet"
    path.write_bytes(b"PAR1 and nothing that follows")
    with pytest.raises(SourceError, match=r"torn\.parquet can't be read: parquet: "):
        await open_source(path)


async def test_what_speaks_the_stream_badly_is_one_sentence() -> None:
    class Bad:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            raise ImportError("pyarrow is needed for this")

    with pytest.raises(SourceError, match=r"the Bad can't be read as a table: ImportError: pyarrow is needed for this"):
        await open_source(Bad())


@pytest.mark.parametrize("kind", ["frame", "stream", "file"])
async def test_without_the_extra_a_table_says_what_to_install(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = pl.DataFrame({"phone": PHONES})
    frame.write_parquet(tmp_path / "x.parquet")
    monkeypatch.setitem(__import__("sys").modules, "kore_campaign_async.ingest.sources.tables", None)
    monkeypatch.delattr("kore_campaign_async.ingest.sources.tables")
    given = {"frame": frame, "stream": Stream(frame), "file": tmp_path / "x.parquet"}[kind]
    with pytest.raises(SourceError, match=r"needs the extra tables: pip install 'kore-campaign-async\[tables\]'"):
        await open_source(given)
