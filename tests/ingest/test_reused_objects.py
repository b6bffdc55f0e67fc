"""A program may use its objects again: each item is read when it is yielded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kore_campaign_async import Contact, IngestOptions
from tests.ingest.pushing import LIST, number, outcome_files, push, sandboxed, scripted, stored


def reused(kind: str, count: int) -> Iterator[Any]:
    """One object, filled anew for every contact."""
    one: dict[str, Any] = {}
    tags: list[int] = []
    for index in range(count):
        tags[:] = [index]
        one.update({"name": f"Ana {index}"} if kind == "extra" else {"phone": number(index), "name": f"Ana {index}"})
        if kind == "dict":
            yield one
        elif kind == "list inside":
            one["tags"] = tags
            yield one
        elif kind == "list":
            yield tags
        else:
            yield Contact(number(index), extra=one if kind == "extra" else {"tags": tags})


async def in_turn(items: Iterator[Any]) -> AsyncIterator[Any]:
    for item in items:
        yield item


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("count", [3, 1000])
@pytest.mark.parametrize("kind", ["dict", "list inside", "list", "contact", "extra"])
async def test_items_are_read_when_they_are_yielded(kind: str, count: int, is_async: bool, tmp_path: Path) -> None:
    items = reused(kind, count)
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, in_turn(items) if is_async else items, run_dir=tmp_path / "run")
        contacts = await stored(sandbox)
    rejected = [cells[-1] for _, _, cells in outcome_files(tmp_path / "run")["rejected.csv"]]
    assert report.counts.duplicate == 0
    if kind in {"dict", "extra"}:
        assert contacts == [{"phoneNumber": number(index), "name": f"Ana {index}"} for index in range(count)]
    elif kind == "list":
        assert rejected == [f"[{index}]" for index in range(count)]
    else:
        assert len(rejected) == count
        assert all(f'"tags":[{index}]' in text for index, text in enumerate(rejected))


async def test_what_can_not_be_copied_costs_its_own_row(tmp_path: Path) -> None:
    class Stubborn:
        def __deepcopy__(self, _memo: object) -> object:
            raise RuntimeError("no")

    items = [{"phone": number(1), "x": Stubborn()}, {"phone": number(2)}]
    async with scripted() as (api, client):
        report = await push(client, items, options=IngestOptions(grace_seconds=0.0))
    assert (report.counts.rejected, report.counts.accepted) == (1, 1)
    assert api.calls[0].contacts == ({"phoneNumber": number(2)},)
