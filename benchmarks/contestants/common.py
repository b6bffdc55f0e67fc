"""What the contestants share: the careful reading of a file, the headers, and how they tell their time."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

HEADERS = {"auth": "token", "iid": "st-1", "accountId": "1", "Content-Type": "application/json"}
IN_FLIGHT = 8

_is_number = re.compile(r"\+?[1-9]\d{6,14}", re.ASCII).fullmatch


def arguments() -> tuple[str, Path, int]:
    """Return where to post, what to read, and how many contacts go into a call."""
    return sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])


def contacts(path: Path) -> Iterator[dict[str, str]]:
    """Yield the contacts of a CSV file: valid numbers, each once, without empty cells."""
    seen: set[str] = set()
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file)
        header = next(rows)
        number, width = header.index("phoneNumber"), len(header)
        for row in rows:
            if len(row) != width:
                continue
            phone = row[number]
            if phone in seen or not _is_number(phone):
                continue
            seen.add(phone)
            yield {name: cell for name, cell in zip(header, row, strict=True) if cell}


def batches(contacts: Iterable[dict[str, str]], size: int) -> Iterator[list[dict[str, str]]]:
    """Yield contacts by so many."""
    batch: list[dict[str, str]] = []
    for contact in contacts:
        batch.append(contact)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Print what the work took without the start of the process."""
    began, used = time.perf_counter(), time.process_time()
    yield
    print(json.dumps({"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}))
