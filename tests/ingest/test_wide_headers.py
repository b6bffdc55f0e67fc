"""A header of any number of columns is matched off the event loop, and once for each purpose."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from kore_campaign_async.ingest import matching
from kore_campaign_async.ingest.sources import phone_like
from kore_campaign_async.ingest.sources.base import MANY_COLUMNS
from tests.ingest.pushing import LIST, push, sandboxed, stored

COLUMNS = 25_000


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> Counter[bool]:
    """How often a function is called, by whether that was in the thread of the loop."""
    loop, work, calls = threading.get_ident(), getattr(module, name), Counter[bool]()

    def count(text: str) -> Any:
        calls[threading.get_ident() == loop] += 1
        return work(text)

    monkeypatch.setattr(module, name, count)
    return calls


@pytest.mark.parametrize("end", ["\n", "\r", ""])
@pytest.mark.parametrize("form", ["csv", "quoted", "frame"])
async def test_a_wide_header_is_not_matched_on_the_event_loop(
    form: str, end: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["phone", *(f"column {number}" for number in range(COLUMNS))]
    source: Any = pl.DataFrame({name: ["+14155550101" if name == "phone" else ""] for name in names})
    if form != "frame":
        header = ",".join(f'"{name}"' if form == "quoted" else name for name in names)
        source = tmp_path / "c.csv"
        source.write_text(f"{header}{end or chr(10)}+14155550101{end}", newline="")
    matches = counted(monkeypatch, matching, "_loose")
    looks = counted(monkeypatch, phone_like, "looks_like_number")
    async with sandboxed(LIST) as (sandbox, client):
        report = await push(client, source, run_dir=tmp_path / "run")
        assert await stored(sandbox) == [{"phoneNumber": "+14155550101"}]
    assert report.counts.accepted == 1
    assert matches[True] <= MANY_COLUMNS
    assert looks[True] <= MANY_COLUMNS
    # For the sources' rows, the fields, and the reasons' examples.
    assert COLUMNS < matches[False] < 3 * COLUMNS + MANY_COLUMNS
    assert looks[False] > COLUMNS / 2
