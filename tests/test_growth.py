"""Nothing that the input, the journal or a reply decides takes quadratically long, or stands on the event loop."""

from __future__ import annotations

import importlib.util
import itertools
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from attrs import evolve
from fakes import answering, client_for, enveloped, raw_server
from hypothesis import given
from hypothesis import strategies as st

from kore_campaign_async import ContactListError, Files, SourceError, ingest_contacts, resume_ingest
from kore_campaign_async.endpoints import list_contact_lists
from kore_campaign_async.ingest import journal, start
from kore_campaign_async.ingest.matching import match, usual_field
from kore_campaign_async.ingest.records import State
from kore_campaign_async.ingest.resume_ranges import Known, overlaid, with_rows
from kore_campaign_async.ingest.sources.several import SeveralFiles, places_of
from tests.ingest.pushing import CLOSE, LIST, csv_of, numbers, push, scripted


def benchmark() -> ModuleType:
    """The benchmark itself: what it measures is what is held here."""
    path = Path(__file__).parents[1] / "benchmarks" / "growth.py"
    spec = importlib.util.spec_from_file_location("growth", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GROWTH = benchmark()


@pytest.mark.parametrize("name", GROWTH.MEASURES)
def test_four_times_the_size_takes_at_most_eight_times_as_long(name: str, tmp_path: Path) -> None:
    """Sixteen times is what looks at everything anew from everywhere."""
    size, measure = GROWTH.MEASURES[name]
    once, four_times = GROWTH.growth(measure, size, tmp_path, (1, 4))
    assert four_times < 8 * once


# One by one, as it is meant, against all at once


def painted(ranges: Sequence[Known]) -> list[Known]:
    """Ranges laid over each other one after the other."""
    found: list[Known] = []
    for new in ranges:
        kept: list[Known] = []
        for old in found:
            if old.first_row < new.first_row:
                kept.append(evolve(old, last_row=min(old.last_row, new.first_row - 1)))
            if old.last_row > new.last_row:
                kept.append(evolve(old, first_row=max(old.first_row, new.last_row + 1)))
        found = sorted([*kept, new], key=lambda known: known.first_row)
    return found


RANGES = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 12), st.sampled_from([None, *State])), max_size=30).map(
    lambda found: [Known(first, first + more, state, str(at)) for at, (first, more, state) in enumerate(found)]
)


@given(RANGES)
def test_ranges_laid_at_once_are_those_laid_one_by_one(ranges: list[Known]) -> None:
    assert overlaid(ranges) == painted(ranges)


@given(RANGES)
def test_what_was_noted_last_holds_for_each_row(ranges: list[Known]) -> None:
    """Against a table with a cell a row."""
    rows: dict[int, tuple[State | None, str]] = {}
    for known in ranges:
        rows |= dict.fromkeys(range(known.first_row, known.last_row + 1), (known.state, known.reason))
    found = overlaid(ranges)
    assert {
        row: (known.state, known.reason) for known in found for row in range(known.first_row, known.last_row + 1)
    } == rows
    assert all(before.last_row < after.first_row for before, after in itertools.pairwise(found))


@given(RANGES, st.sets(st.integers(1, 60)).map(sorted))
def test_single_rows_stand_between_and_within_the_ranges(ranges: list[Known], rows: list[int]) -> None:
    found = with_rows(overlaid(ranges), rows, State.SUPPRESSED, "suppressed")
    expected = painted([*ranges, *(Known(row, row, State.SUPPRESSED, "suppressed") for row in rows)])
    assert found == expected


def places_one_by_one(columns: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """Each column is looked for among all that are left."""
    left = dict(enumerate(others))
    order: list[int | None] = []
    for column in columns:
        place = next((place for place, other in left.items() if other == column), None)
        if place is not None:
            del left[place]
        order.append(place)
    fields = [usual_field(column) for column, place in zip(columns, order, strict=True) if place is None]
    for index, column in enumerate(columns):
        field = usual_field(column)
        same = [place for place, other in left.items() if usual_field(other) == field]
        if order[index] is None and len(same) == fields.count(field) == 1:
            order[index] = same[0]
    return order


NAMES = st.lists(
    st.sampled_from(["phone", "Phone", "mobile", "First Name", "firstName", "a", "b", "", " "]), max_size=9
)


@given(NAMES, NAMES)
def test_columns_are_found_at_once_as_they_are_one_by_one(columns: list[str], others: list[str]) -> None:
    assert places_of(columns, others) == places_one_by_one(columns, others)


@given(NAMES)
def test_of_the_fields_that_two_columns_have_the_first_is_named(columns: list[str]) -> None:
    """Each field counted for itself; columns without a name may be many."""
    names = [usual_field(column) if column.strip() else "" for column in columns]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    try:
        assert match(columns, {}).names == tuple(names)
        said = ""
    except SourceError as error:
        said = str(error)
    same = [column for column, name in zip(columns, names, strict=True) if name == twice]
    if twice is None:
        assert said.startswith("no number column") == ("phoneNumber" not in names)
    elif len(set(same)) > 1:
        assert said.startswith(f"two columns for the field {twice}: {', '.join(map(repr, same))}; ")
    else:
        assert said == f"the column {same[0]!r} stands {len(same)} times; rename all but one"


# Off the event loop


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> dict[str, set[bool]]:
    """Whether what takes the longer the more there is was done on the event loop's own thread, by name."""
    found: dict[str, set[bool]] = {}

    def watched(name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def watching(*args: Any, **kwargs: Any) -> Any:
            found.setdefault(name, set()).add(threading.current_thread() is threading.main_thread())
            return work(*args, **kwargs)

        return watching

    for module, name in (
        *((journal, one) for one in ("read_known", "read_calls", "read_settings", "migrate")),
        (start, "match"),
        (start, "matched"),
        (start, "RunFiles"),
        (start.difflib, "get_close_matches"),
        (list_contact_lists, "parse"),
        (SeveralFiles, "_order"),
    ):
        made = watched(name, getattr(module, name))
        if name == "RunFiles":
            made.close = start.RunFiles.close  # type: ignore[attr-defined]  # who is cancelled asks for it
        monkeypatch.setattr(module, name, made)
    return found


WIDE = ["phone", *(f"c{number}" for number in range(2000))]


async def test_a_wide_header_is_matched_off_the_event_loop(threads: dict[str, set[bool]], tmp_path: Path) -> None:
    paths = [
        csv_of(tmp_path / f"{name}.csv", ",".join(columns), *(one + "," * 2000 for one in found))
        for name, columns, found in (("a", WIDE, numbers(2)), ("b", [*WIDE[:1], *WIDE[:0:-1]], numbers(2, 3)))
    ]
    async with scripted() as (_, client):
        report = await push(client, Files(paths), run_dir=tmp_path / "run")
    assert (report.counts.accepted, report.counts.read) == (4, 4)
    assert [threads[name] for name in ("match", "matched", "RunFiles", "_order")] == [{False}] * 4


async def test_a_narrow_header_costs_no_thread(threads: dict[str, set[bool]]) -> None:
    async with scripted() as (_, client):
        await push(client, [{"phone": one} for one in numbers(2)])
    assert threads.get("match", {True}) == {True}


async def test_a_journal_is_read_off_the_event_loop(threads: dict[str, set[bool]], tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(3))
    async with scripted([CLOSE]) as (_, client):
        await push(client, source, run_dir=tmp_path / "run")
        threads.clear()
        await resume_ingest(client, tmp_path / "run")
    names = ("read_known", "read_calls", "read_settings", "migrate")
    assert [threads[name] for name in names] == [{False}] * 4


async def test_names_that_are_near_are_looked_for_off_the_event_loop(threads: dict[str, set[bool]]) -> None:
    async with scripted() as (_, client):
        with pytest.raises(
            ContactListError, match="there is no contact list named 'Renewal'; the nearest are 'Renewals'"
        ):
            await ingest_contacts(client, numbers(1), contact_list="Renewal")
    assert threads["get_close_matches"] == {False}


@pytest.mark.parametrize("lists", [3, 5000])
async def test_a_long_listing_is_read_off_the_event_loop(lists: int, threads: dict[str, set[bool]]) -> None:
    body = enveloped([{"_id": f"cl-{number}", "name": LIST, "description": "x" * 40} for number in range(lists)])
    assert (len(orjson.dumps(body)) > 1 << 18) == (lists > 3)
    async with raw_server(answering(200, body)) as server, client_for(server.url) as client:
        assert len(await client.list_contact_lists()) == lists
        with pytest.raises(ContactListError) as caught:
            await ingest_contacts(client, numbers(1), contact_list=LIST)
    assert threads["parse"] == {lists == 3}
    said = str(caught.value)
    assert len(said) < 400
    assert f"there are {lists} contact lists named 'Renewals' (cl-0 and cl-1 and cl-2" in said
    assert (" and cl-9 and 4990 more)" in said) == (lists > 3)
