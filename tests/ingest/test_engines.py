"""A file is the same whether it is read by tables or record by record, whatever is torn in it and wherever.

`make test` compares 200 CSV files, `make chaos` 5,000 (KORE_FUZZED_FILES says how many); and a tenth as many of
objects, in other encodings, and packed.
"""

from __future__ import annotations

import asyncio
import codecs
import contextlib
import gzip
import json
import os
import random
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen

from kore_campaign_async import BatchLimits, SourceError
from kore_campaign_async.ingest.batching import Batcher
from kore_campaign_async.ingest.columns import NumbersOfTables
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.records import Batch, TableSlice
from kore_campaign_async.ingest.screen import Screen
from kore_campaign_async.ingest.screening import BarredList, BarredLists, NumbersSeen
from kore_campaign_async.ingest.sources import blocks, csv_file, opening, plain_parts, rows
from kore_campaign_async.ingest.sources.blocks import Blocks
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.ingest.table_screen import TableScreen
from tests.ingest.pushing import number

FILES: Final = int(os.environ.get("KORE_FUZZED_FILES", "200"))
OTHERS: Final = FILES // 10
A_TEST: Final = 10
HEADERS: Final = {
    1: ("phone",),
    2: ("phone", "address"),
    5: ("name", "phone", "timeZone", "", "note"),
}
ZONES: Final = ("", "America/Phoenix", " america/phoenix ", "Mars/Base", "UTC")


# Files


@frozen
class Writer:
    """Writes lines that are hard to read, in one dialect."""

    rng: random.Random
    width: int
    delimiter: str
    end: str

    def phone(self) -> str:
        kind = self.rng.random()
        if kind < 0.08:
            return self.rng.choice(["nobody", "", "12", " "])
        one = number(self.rng.randrange(60 if kind < 0.2 else 100_000))
        return one if kind < 0.8 else one[1:]

    def cells(self) -> list[str]:
        some = self.rng.choice(
            ("Ana", "Zoë", "", " ", "a\\b", "\x7f", "x" * self.rng.randrange(40), "\u3000", "tall 5'")
        )
        cells = {
            1: [self.phone()],
            2: [self.phone(), some],
            5: [
                some,
                self.phone(),
                self.rng.choice(ZONES),
                self.rng.choice(("", "7")),
                self.rng.choice(("", "n", " n")),
            ],
        }[self.width]
        return [cell.replace(self.delimiter, "") for cell in cells]

    def plain(self) -> str:
        return self.delimiter.join(self.cells())

    def quoted(self) -> str:
        return self.delimiter.join(f'"{cell}"' if self.rng.random() < 0.6 else cell for cell in self.cells())

    def several_lines(self) -> str:
        cells = self.cells()
        at = self.rng.randrange(self.width)
        lines = self.rng.choice(
            (["12 Main St", "Rome"], ["", ""], ["a", "Rome, IT", "b"], ["x", self.plain()], ['""a""', "b"])
        )
        cells[at] = f'"{self.end.join(lines)}"'
        return self.delimiter.join(cells)

    def odd(self) -> str:
        cells, rng = self.cells(), self.rng
        at = rng.randrange(self.width)
        cells[at] = rng.choice(
            (
                '"torn',
                'torn"',
                '"a"b',
                '"a" ',
                ' "a"',
                '  "a, b"',
                '"a \\"the\\" b"',
                '5" pipe',
                '""',
                '"a\rb"',
                "a\rb",
                "\0",
                "\x01",
                "\x1a",
                "\x85",
                "y" * 301,
                "\udcff",
                f'"{cells[at]}{self.delimiter}"',
            )
        )
        if rng.random() < 0.3:
            cells = cells[: rng.randrange(1, self.width + 1)]
        return self.delimiter.join(cells)

    def ragged(self) -> str:
        cells = self.cells()
        more = self.rng.choice(([""], ["", " "], ["filled"], ["", "", "x"], [""] * 9))
        return self.delimiter.join(cells + more if self.rng.random() < 0.6 else cells[: self.rng.randrange(self.width)])

    def empty(self) -> str:
        return self.rng.choice(
            ("", self.delimiter * (self.width - 1), " ", '""', self.delimiter * (self.width + 1), '" "')
        )

    def text(self, rows: int) -> bytes:
        rng = self.rng
        kinds = [self.quoted, self.several_lines, self.odd, self.ragged, self.empty]
        share = rng.choice((0.005, 0.05, 0.3))
        usual = self.quoted if rng.random() < 0.25 else self.plain
        lines = [self.delimiter.join(HEADERS[self.width])]
        if self.width > 1 and rng.random() < 0.1:
            lines.insert(0, self.empty())
        lines += [rng.choice(kinds)() if rng.random() < share else usual() for _ in range(rows)]
        mixed = rng.random() < 0.15
        ends = [rng.choice(("\n", "\r\n", "\r")) if mixed else self.end for _ in lines]
        text = "".join(line + end for line, end in zip(lines, ends, strict=True))
        text = text.removesuffix(self.end) if rng.random() < 0.3 else text
        text += "\x1a" * rng.choice((0, 0, 0, 1, 3))
        return codecs.BOM_UTF8 * (rng.random() < 0.2) + text.encode("utf-8", "surrogateescape")


def text_of(rng: random.Random, rows: int) -> bytes:
    width = rng.choice(tuple(HEADERS))
    return Writer(rng, width, rng.choice(",;\t|"), rng.choice(("\n", "\n", "\r\n", "\r\n", "\r"))).text(rows)


@frozen
class ObjectWriter:
    """Writes lines of JSON that are hard to read, in one style."""

    rng: random.Random
    end: str
    keys: tuple[str, ...]
    spaced: bool
    escaped: bool

    def record(self) -> dict[str, Any]:
        row = Writer(self.rng, 5, "\0", self.end).cells()
        values = (row[1], row[0], row[2], self.rng.choice((row[4], "", 7, True, None)))
        return dict(zip(self.keys, values, strict=False))

    def written(self, record: Any) -> str:
        separators = (", ", ": ") if self.spaced else (",", ":")
        return json.dumps(record, separators=separators, ensure_ascii=self.escaped)

    def plain(self) -> str:
        return self.written(self.record())

    def reordered(self) -> str:
        pairs = list(self.record().items())
        self.rng.shuffle(pairs)
        return self.written(dict(pairs[: self.rng.randrange(len(pairs) + 1)]))

    def odd(self) -> str:
        rng, record = self.rng, self.record()
        line = self.written(record)
        at = rng.randrange(len(line) + 1)
        more: Any = rng.choice((14155550001, -0.5, 1e300, 10**30, [], ["a"], {"b": {}}, "\ud800", "\x00", "y" * 301))
        return rng.choice(
            (
                self.written(record | {rng.choice(self.keys): more}),
                self.written(record | {rng.choice(("other", "", "Phone", "PHONE ")): more}),
                line.replace("{", f'{{"phone":"{number(rng.randrange(99))}",', 1),  # a key that is there twice
                line[:at],
                line[at:],
                line[:at] + rng.choice(("\0", "\udcff", "\ufeff", "\r", "\x85", "\u2028", " ", '"')) + line[at:],
                f"{line}{line}",
                f"{line},",
                f"  {line}\t",
                f"[{line}]",
            )
        )

    def no_object(self) -> str:
        return self.rng.choice(("", " ", "\t", "null", "[]", "{}", "7", '"a"', "NaN", "{", "}", "\x1a", "\0", "# a"))

    def text(self, rows: int) -> bytes:
        rng = self.rng
        kinds = [self.reordered, self.odd, self.no_object]
        share = rng.choice((0.005, 0.05, 0.3))
        lines = [rng.choice(kinds)() if rng.random() < share else self.plain() for _ in range(rows)]
        # Half a character can only be written as its escape.
        text = "".join(line + self.end for line in lines).replace("\ud800", "\\ud800")
        return (text.removesuffix(self.end) if rng.random() < 0.3 else text).encode("utf-8", "surrogateescape")


def objects_of(rng: random.Random, rows: int) -> bytes:
    keys = rng.choice((("phone",), ("firstName", "phone"), ("phone", "lastName", "timeZone", "note")))
    return ObjectWriter(rng, rng.choice(("\n", "\n", "\r\n")), keys, rng.random() < 0.5, rng.random() < 0.5).text(rows)


def encoded(rng: random.Random, text: bytes) -> bytes:
    """A text in an encoding that its first bytes tell, whose code units can be torn."""
    mark, encoding = rng.choice(
        (
            (codecs.BOM_UTF8, "utf-8"),
            (codecs.BOM_UTF16_LE, "utf-16-le"),
            (codecs.BOM_UTF16_BE, "utf-16-be"),
            (codecs.BOM_UTF32_LE, "utf-32-le"),
        )
    )
    body = text.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape").encode(encoding, "surrogatepass")
    kind = rng.random()
    if kind < 0.1:
        body = body[:-1]
    elif kind < 0.2:
        at = rng.randrange(len(body))
        body = body[:at] + rng.choice((b"\xd8", b"\0", b"\xff\xdc")) + body[at:]
    return mark + body


def packed(rng: random.Random, text: bytes) -> bytes:
    """A text packed once, in one piece or two, and now and then torn."""
    at = rng.randrange(len(text))
    pieces = (text,) if rng.random() < 0.6 else (text[:at], text[at:])
    data = b"".join(map(gzip.compress, pieces))
    kind = rng.random()
    if kind < 0.1:
        return data[: rng.randrange(20, len(data))]
    return data + rng.choice((b"\0" * 9, b"more")) if kind < 0.2 else data


def other_file(rng: random.Random, rows: int) -> tuple[str, bytes]:
    """A file of another kind than plain CSV: the end of its name, and its bytes."""
    suffix, text = (".ndjson", objects_of(rng, rows)) if rng.random() < 0.6 else (".csv", text_of(rng, rows))
    if suffix == ".csv" or rng.random() < 0.4:
        text = encoded(rng, text)
    elif rng.random() < 0.3:
        text = codecs.BOM_UTF8 + text
    return (f"{suffix}.gz", packed(rng, text)) if rng.random() < 0.3 else (suffix, text)


# Both engines


@contextlib.contextmanager
def small_parts(rng: random.Random) -> Iterator[None]:
    """Blocks, tables and slices so small that a file of some kilobytes has many."""
    read, block, table, records = Blocks.read, rng.randrange(40, 300), rng.randrange(300, 1200), rng.randrange(2, 9)

    async def read_little(self: Blocks, most: int = blocks.BLOCK_BYTES) -> bytes:
        return await read(self, block if most == blocks.BLOCK_BYTES else most)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Blocks, "read", read_little)
        patch.setattr(plain_parts, "_TABLE_BYTES", table)
        patch.setattr(plain_parts, "BLOCK_BYTES", block)
        for module in (csv_file, rows):
            patch.setattr(module, "SLICE_RECORDS", records)
        yield


@contextlib.contextmanager
def by(engine: str, *, whatever_size: bool = True) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        if engine == "records":
            patch.setattr(opening, "find_spec", lambda _name: None)
        elif whatever_size:
            patch.setattr(opening, "_TABLES_FROM_BYTES", 0)
        yield


async def told(path: Path, most: int) -> dict[str, Any]:
    """All that a push of a file comes to: bodies, states, reasons, rows, records, and how much came in tables."""
    try:
        source = await open_source(path)
    except SourceError as error:
        return {"error": str(error), "in tables": 0}
    bodies: list[bytes] = []
    accepted: list[int] = []
    records: dict[int, list[str]] = {}
    settled: dict[int, tuple[str, str]] = {}
    in_tables = 0
    try:
        batcher = Batcher(BatchLimits(max_contacts=most), 40)
        shape = None if source.header is None else match(source.header, {})
        normaliser = Normaliser(shape, {}, batcher.room)
        barred = BarredLists([BarredList("dnc", None, {int(number(7))})])
        screen = (
            TableScreen(normaliser, barred, NumbersOfTables(), batcher)
            if source.yields_tables
            else Screen(normaliser, barred, NumbersSeen(), batcher)
        )
        read = 0

        def take(items: list[Any]) -> None:
            for item in items:
                if isinstance(item, Batch):
                    bodies.append(item.encoded)
                    accepted.extend(item.rows)
                    entries = [(row, "", record) for row, record in zip(item.rows, item.records, strict=True)]
                else:
                    entries = list(item.entries())
                    settled.update({row: (item.state, reason) for row, reason, _ in entries})
                for row, _, record in entries:
                    assert row not in records, "a row is there twice"
                    records[row] = list(source.cells(record))

        async with aclosing(source.slices()) as slices:
            async for part in slices:
                assert part.first == read + 1, "rows come in another order"
                read += len(part)
                in_tables += len(part) * isinstance(part, TableSlice)
                take(screen.take(part))
        take(list(batcher.flush()))
    except SourceError as error:
        return {"error": str(error), "in tables": in_tables}
    finally:
        source.close()
    assert sorted(records) == list(range(1, read + 1)), "a row is lost"
    return {
        "bodies": bodies,
        "accepted": accepted,
        "settled": settled,
        "records": records,
        "sheet": [source.spreadsheet_row(row) for row in range(1, read + 1)],
        "in tables": in_tables,
    }


def compared(path: Path, most: int, *, whatever_size: bool = True) -> int:
    """See that both engines come to the same; return how many rows came in tables."""
    with by("records"):
        expected = asyncio.run(told(path, most))
    with by("tables", whatever_size=whatever_size):
        found = asyncio.run(told(path, most))
    assert expected.pop("in tables") == 0
    in_tables: int = found.pop("in tables")
    assert found == expected
    return in_tables


@pytest.mark.parametrize("first", range(0, FILES, A_TEST))
def test_every_file_is_the_same_by_tables_and_record_by_record(first: int, tmp_path: Path) -> None:
    """States, reasons, rows, records, and the bodies byte by byte; and tables are what is compared."""
    in_tables = 0
    for seed in range(first, first + A_TEST):
        rng = random.Random(seed)
        path = tmp_path / f"{seed}.csv"
        path.write_bytes(text_of(rng, rng.choice((60, 200, 400))))
        with small_parts(rng):
            try:
                in_tables += compared(path, rng.choice((1, 7, 100)))
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise
    assert in_tables


@pytest.mark.parametrize("first", range(0, OTHERS, A_TEST))
def test_so_it_is_with_objects_other_encodings_and_packed_files(first: int, tmp_path: Path) -> None:
    in_tables = 0
    for seed in range(first, first + A_TEST):
        rng = random.Random(f"other {seed}")
        suffix, data = other_file(rng, rng.choice((40, 100, 200)))
        path = tmp_path / f"{seed}{suffix}"
        path.write_bytes(data)
        with small_parts(rng):
            try:
                in_tables += compared(path, rng.choice((1, 7, 100)))
            except BaseException as error:
                error.add_note(f"seed {seed}, {path.name}")
                raise
    assert in_tables


@pytest.mark.parametrize("seed", range(max(2, FILES // 250)))
def test_a_file_of_megabytes_is_the_same_as_it_is_read(seed: int, tmp_path: Path) -> None:
    """With the blocks, slices and tables of a real push."""
    rng = random.Random(seed)
    width = (5, 1, 2)[seed % 3]
    writer = Writer(rng, width, ",", rng.choice(("\n", "\r\n")))
    path = tmp_path / "contacts.csv"
    once = writer.text(8000)
    header, _, body = once.partition(writer.end.encode())
    path.write_bytes(
        header + writer.end.encode() + body.rstrip(b"\x1a") * (1 + (9 << 19 if width > 1 else 2 << 20) // len(body))
    )
    assert path.stat().st_size > (4 << 20 if width > 1 else 1 << 20)
    compared(path, 1000, whatever_size=width == 1)


async def test_after_a_torn_quote_rows_stay_in_their_order(tmp_path: Path) -> None:
    """500 records wait while the quote is looked at: no table comes before them."""
    lines = [f"{number(row)},Ana {row:060}" for row in range(80_000)]
    lines[50_000] = f'{number(50_000)},"never closed'
    lines[50_001] = "nobody,Bob"
    path = tmp_path / "contacts.csv"
    path.write_text("\n".join(["phone,name", *lines]) + "\n")
    results = []
    for engine in ("records", "tables"):
        with by(engine, whatever_size=False):
            results.append(await told(path, 1000))
    assert results[1].pop("in tables") > 60_000
    del results[0]["in tables"]
    assert results[0] == results[1]
    assert results[0]["settled"] == {50_001: ("rejected", "unclosed_quote"), 50_002: ("rejected", "invalid_phone")} | {
        8: ("suppressed", "suppressed")
    }


def test_a_blank_line_in_a_file_of_one_column_is_no_row_for_either(tmp_path: Path) -> None:
    lines = [number(row) for row in range(200_000)]
    lines[100_000] += "\n"
    path = tmp_path / "contacts.csv"
    path.write_text("\n".join(["phone", *lines]) + "\n")
    assert compared(path, 1000, whatever_size=True) > 150_000
