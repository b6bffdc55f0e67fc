"""What inputs cost that are small where they lie and large where they are read: memory, and stalls of the event loop.

Each line is an input with its bytes, the peak of resident memory of the process that pushes it and of the one that
reads a workbook for it, the longest time that the event loop stood still meanwhile and the 99th percentile, and what
became of it. Each is pushed by a process of its own, which may map 2.5 GiB. `hostile_sizes.py push CASE FILE DIR` is
that process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FENCE_BYTES = 5 << 29
MOST_MB = 300.0
MOST_STALL_MS = 100.0

_BEAT_SECONDS = 0.002
_ENVIRONMENT = {"KORE_APP_ID": "st-1", "KORE_ACCOUNT_ID": "1", "KORE_AUTH_TOKEN": "token"}
_FIRST = 2_000_000_000


def phone(row: int) -> str:
    """A number that no other row has."""
    return f"+1{_FIRST + row}"


# Tables


def _frame(rows: int, columns: Mapping[str, Any]) -> Any:
    import polars as pl  # noqa: PLC0415  the process that only starts the others needs none

    numbers = pl.select(("+1" + (pl.int_range(rows) + _FIRST).cast(pl.String)).alias("phoneNumber"))
    return numbers.with_columns(pl.lit(value).alias(name) for name, value in columns.items())


def _equal_strings(folder: Path, scale: float) -> Path:
    path = folder / "equal.parquet"
    _frame(int(33_000 * scale), {f"c{index}": "x" * 300 for index in range(40)}).write_parquet(path)
    return path


def _long_strings(folder: Path, scale: float) -> Path:
    path = folder / "long.parquet"
    _frame(int(200 * scale), {"a": "x" * 1_000_000}).write_parquet(path)
    return path


def _one_huge_cell(folder: Path, scale: float) -> Path:
    import polars as pl  # noqa: PLC0415  as above

    path = folder / "cell.parquet"
    rows = int(100_000 * scale)
    huge = pl.when(pl.int_range(rows) == rows // 2).then(pl.lit("x" * 16_000_000)).otherwise(pl.lit("Ana"))
    _frame(rows, {}).with_columns(huge.alias("a")).write_parquet(path)
    return path


def _one_group(folder: Path, scale: float) -> Path:
    path = folder / "group.parquet"
    rows = int(400_000 * scale)
    _frame(rows, {f"c{index}": "" for index in range(40)}).write_parquet(path, row_group_size=rows)
    return path


def _one_batch(folder: Path, scale: float) -> Path:
    path = folder / "batch.arrow"
    rows = int(400_000 * scale)
    frame = _frame(rows, {f"c{index}": "" for index in range(40)})
    frame.write_ipc(path, compression="zstd", record_batch_size=rows)
    return path


def _floats(folder: Path, scale: float) -> Path:
    path = folder / "floats.parquet"
    rows = int(200_000 * scale)
    import polars as pl  # noqa: PLC0415  as above

    _frame(rows, {}).with_columns(pl.lit(1.0).alias(f"c{index}") for index in range(40)).write_parquet(
        path, row_group_size=rows
    )
    return path


def _long_names(folder: Path, scale: float) -> Path:
    path = folder / "names.parquet"
    _frame(int(30_000 * scale), {"n" * 20_000: ""}).write_parquet(path)
    return path


def _wide_text_names(folder: Path, scale: float) -> Path:
    path = folder / "names.csv"
    rows = "".join(f"{phone(row)},x\n" for row in range(int(300_000 * scale)))
    path.write_text(f"phoneNumber,{'n' * 20_000}\n{rows}")
    return path


# Lines


def _wide_lines(folder: Path, scale: float) -> Path:
    path = folder / "wide.ndjson"
    with path.open("w") as file:
        for row in range(int(20_000 * scale)):
            values = {f"column {index}": f"value {index}" for index in range(148)}
            file.write(json.dumps({"phoneNumber": phone(row), **values}) + "\n")
    return path


def _with_line(folder: Path, scale: float, line: str, times: int = 3) -> Path:
    """So many such lines among others."""
    path = folder / "lines.ndjson"
    with path.open("w") as file:
        for part in range(times):
            first = part * 100_000
            file.writelines(
                json.dumps({"phoneNumber": phone(first + row)}) + "\n" for row in range(int(50_000 * scale))
            )
            file.write(line + "\n")
    return path


def _deep(levels: int) -> Callable[[Path, float], Path]:
    line = f'{{"phoneNumber":"{phone(0)}","f":1.5,"x":' + '{"a":' * levels + "1" + "}" * levels + "}"
    return lambda folder, scale: _with_line(folder, scale, line)


def _many_parts(folder: Path, scale: float) -> Path:
    return _with_line(folder, scale, f'{{"phoneNumber":"{phone(0)}","x":[{",".join(["{}"] * 5_000_000)}]}}')


def _many_keys(folder: Path, scale: float) -> Path:
    keys = ",".join(f'"k{index}":1' for index in range(1_000_000))
    return _with_line(folder, scale, f'{{"phoneNumber":"{phone(0)}",{keys}}}')


def _ever_new_keys(folder: Path, scale: float) -> Path:
    path = folder / "keys.ndjson"
    with path.open("w") as file:
        for row in range(int(300 * scale)):
            keys = {f"key {row} {index}": None for index in range(9_000)}
            file.write(json.dumps({"phoneNumber": phone(row), **keys}) + "\n")
    return path


# Workbooks


_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"><Default Extension="rels"'
    ' ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml"'
    ' ContentType="application/xml"/><Override PartName="/xl/workbook.xml"'
    ' ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def workbook(path: Path, sheet: str | Iterator[str], shared: str | Iterator[str] = "", members: int = 0) -> Path:
    """A workbook of one sheet, of this XML, with these shared strings and so many members more."""
    shared = shared or f'<sst xmlns="{_MAIN}"/>'
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", _TYPES)
        relation = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{_PACKAGE}">{relation}</Relationships>')
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_OFFICE}"><sheets><sheet name="A" sheetId="1" r:id="rId1"/></sheets>'
            "</workbook>",
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" Type="{_OFFICE}/worksheet"'
            f' Target="worksheets/sheet1.xml"/><Relationship Id="rId2" Type="{_OFFICE}/sharedStrings"'
            ' Target="sharedStrings.xml"/></Relationships>',
        )
        for name, text in (("worksheets/sheet1.xml", sheet), ("sharedStrings.xml", shared)):
            with archive.open(f"xl/{name}", "w", force_zip64=True) as member:
                for part in (text,) if isinstance(text, str) else text:
                    member.write(part.encode())
        for index in range(members):
            archive.writestr(f"xl/media/{index}", b"")
    return path


def inline(text: object) -> str:
    """A cell of text."""
    return f'<c t="inlineStr"><is><t>{text}</t></is></c>'


def sheet_of(*rows: str) -> str:
    """A sheet of these rows behind a header and a contact."""
    names = "".join(map(inline, ("phoneNumber", "firstName", "uniqueId")))
    first = f"<row>{names}</row><row>{inline(phone(1))}</row>"
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{first}{"".join(rows)}</sheetData></worksheet>'


#: A cell at the far end of a sheet, as others may spell it.
FAR_CELLS = {
    "plain": '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>',
    "other attributes first": '<row r="1048576"><c s="0" r="XFD1048576"><v>1</v></c></row>',
    "single quotes": "<row r='1048576'><c r='XFD1048576'><v>1</v></c></row>",
    "lower case": '<row r="1048576"><c r="xfd1048576"><v>1</v></c></row>',
    "no row number": '<row><c r="XFD1048576"><v>1</v></c></row>',
    "line ends": '<row\n r="1048576"><c\n\tr = "XFD1048576"><v>1</v></c></row>',
    "inline": '<row r="1048576"><c r="XFD1048576" t="inlineStr"><is><t>1</t></is></c></row>',
    "entities": '<row r="1048576"><c r="XFD&#49;048576"><v>1</v></c></row>',
    "row alone": f'<row r="1048576">{inline(phone(2))}</row>',
    "prefixed": f'<x:row xmlns:x="{_MAIN}" r="1048576"><x:c r="XFD1048576"><x:v>1</x:v></x:c></x:row>',
}


def _far(spelt: str) -> Callable[[Path, float], Path]:
    return lambda folder, _scale: workbook(folder / "far.xlsx", sheet_of(FAR_CELLS[spelt]))


def _amplified(folder: Path, scale: float) -> Path:
    """One shared string in thousands of cells."""
    shared = f'<sst xmlns="{_MAIN}"><si><t>{"x" * 1_000_000}</t></si></sst>'
    rows = (f'<row>{inline(phone(row))}<c t="s"><v>0</v></c></row>' for row in range(2, int(3_000 * scale)))
    return workbook(folder / "shared.xlsx", sheet_of(*rows), shared)


def _bomb(folder: Path, scale: float) -> Path:
    """A sheet that is a thousandth of its size in the archive."""
    row = f"<row>{inline(phone(2))}{inline('x' * 300)}</row>"
    whole = sheet_of("\0")
    before, after = whole.split("\0")

    def parts() -> Iterator[str]:
        yield before
        for _ in range(int(4_000 * scale)):
            yield row * 1000
        yield after

    return workbook(folder / "bomb.xlsx", parts())


def _one_cell_bomb(folder: Path, scale: float) -> Path:
    before, after = sheet_of("\0").split("\0")

    def parts() -> Iterator[str]:
        yield f"{before}<row>{inline(phone(2))}<c t='inlineStr'><is><t>"
        for _ in range(int(1_000 * scale)):
            yield "x" * 1_000_000
        yield f"</t></is></c></row>{after}"

    return workbook(folder / "cell.xlsx", parts())


def _shared_bomb(folder: Path, scale: float) -> Path:
    def parts() -> Iterator[str]:
        yield f'<sst xmlns="{_MAIN}">'
        for _ in range(int(1_000 * scale)):
            yield "<si><t>x</t></si>" * 20_000
        yield "</sst>"

    return workbook(folder / "strings.xlsx", sheet_of(), parts())


def _many_members(folder: Path, scale: float) -> Path:
    return workbook(folder / "members.xlsx", sheet_of(), members=int(60_000 * scale))


def _large_workbook(folder: Path, scale: float) -> Path:
    """Nothing is odd about it."""
    rows = (f"<row>{inline(phone(row))}{inline('Ana')}{inline(row)}</row>" for row in range(2, int(200_000 * scale)))
    return workbook(folder / "large.xlsx", sheet_of(*rows))


# What a program gives


def _nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value}
    return value


def _deep_values(scale: float) -> Iterator[dict[str, Any]]:
    deep = _nested(100_000)
    for row in range(int(1_000 * scale)):
        yield {"phoneNumber": phone(row), "x": deep}


def _long_values(scale: float) -> Iterator[dict[str, str]]:
    for row in range(int(2_000 * scale)):
        yield {"phoneNumber": phone(row), "note": f"{row}" + "x" * 1_000_000}


def _wide_values(scale: float) -> Iterator[dict[str, str]]:
    for row in range(int(10_000 * scale)):
        yield {"phoneNumber": phone(row), **{f"column {index}": f"{row} {index}" for index in range(140)}}


#: Contacts that the process makes itself.
PROGRAMS: dict[str, Callable[[float], Iterator[Any]]] = {
    "mappings of 100,000 levels": _deep_values,
    "mappings of 1 MB each": _long_values,
    "mappings of 141 columns": _wide_values,
}

#: Files, and how they are made.
FILES: dict[str, Callable[[Path, float], Path]] = {
    "Parquet, 41 columns of equal strings": _equal_strings,
    "Parquet, equal strings of 1 MB": _long_strings,
    "Parquet, one cell of 16 MB": _one_huge_cell,
    "Parquet, one row group of empty cells": _one_group,
    "Arrow, one packed batch of empty cells": _one_batch,
    "Parquet, 40 columns of floats": _floats,
    "Parquet, a column's name of 20 kB": _long_names,
    "CSV, a column's name of 20 kB": _wide_text_names,
    "NDJSON of 149 columns": _wide_lines,
    "NDJSON of 1,000 levels": _deep(1_000),
    "NDJSON of 100,000 levels": _deep(100_000),
    "NDJSON, 5,000,000 objects on a line": _many_parts,
    "NDJSON, 1,000,000 keys on a line": _many_keys,
    "NDJSON, ever new keys": _ever_new_keys,
    **{f"workbook, XFD1048576, {spelt}": _far(spelt) for spelt in FAR_CELLS},
    "workbook, a shared string in many cells": _amplified,
    "workbook, packed a thousand times": _bomb,
    "workbook, a cell of 1 GB": _one_cell_bomb,
    "workbook, 20,000,000 shared strings": _shared_bomb,
    "workbook, 60,000 members": _many_members,
    "workbook of 200,000 rows": _large_workbook,
}


@dataclass(frozen=True)
class Cost:
    """What an input cost.

    Attributes:
        size: its bytes; 0 of what the process makes itself.
        peak_mb: resident memory at most, of the process and of one that it started.
        said: what became of it.
    """

    size: int
    peak_mb: float
    reader_mb: float
    longest_ms: float
    p99_ms: float
    seconds: float
    said: str


def cost(case: str, url: str, folder: Path, scale: float = 1.0) -> Cost:
    """Push an input in a process of its own."""
    path = FILES[case](folder, scale) if case in FILES else None
    command = [sys.executable, __file__, "push", case, "-" if path is None else str(path), str(folder / "run")]
    process = subprocess.run(
        [*command, str(scale)],
        env=os.environ | _ENVIRONMENT | {"KORE_HOST": url},
        capture_output=True,
        text=True,
        check=False,
    )
    size = 0 if path is None else path.stat().st_size
    if process.returncode:
        last = (process.stderr.strip().splitlines() or [""])[-1]
        return Cost(size, 0, 0, 0, 0, 0, f"ended with {process.returncode}: {last[:200]}")
    return Cost(size, **json.loads(process.stdout.splitlines()[-1]))


def _peak_mb() -> float:
    status = Path("/proc/self/status")
    if not status.exists():  # its highest mark is that of this program alone, where there is one
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


async def _beat(late: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(_BEAT_SECONDS)
        late.append(time.perf_counter() - began - _BEAT_SECONDS)


async def _push(case: str, path: str, run_dir: str, scale: float) -> None:
    from kore_campaign_async import (  # noqa: PLC0415  the process that only starts the others needs none
        CampaignClient,
        IngestOptions,
        KoreCampaignError,
        ingest_contacts,
    )

    late: list[float] = []
    client = CampaignClient.from_env(rate=())
    heart = asyncio.create_task(_beat(late))
    await asyncio.sleep(0.1)
    late.clear()
    began = time.perf_counter()
    source: Any = PROGRAMS[case](scale) if path == "-" else path
    try:
        options = IngestOptions(max_rejected=100)
        report = await ingest_contacts(client, source, contact_list="Bench", run_dir=run_dir, options=options)
        said = f"{report.counts.accepted:,} accepted of {report.counts.read:,}"
    except KoreCampaignError as error:
        said = str(error)
    seconds = time.perf_counter() - began
    await asyncio.sleep(0.01)
    heart.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await heart
    await client.close()
    late.sort()
    found = {
        "peak_mb": _peak_mb(),
        "reader_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "longest_ms": late[-1] * 1e3,
        "p99_ms": late[int(len(late) * 0.99)] * 1e3,
        "seconds": seconds,
        "said": said,
    }
    print(json.dumps(found))


def main() -> None:
    """Run the benchmark."""
    if sys.argv[1:2] == ["push"]:
        resource.setrlimit(resource.RLIMIT_AS, (FENCE_BYTES, FENCE_BYTES))
        asyncio.run(_push(sys.argv[2], sys.argv[3], sys.argv[4], float(sys.argv[5])))
        return
    from harness import local_server  # noqa: PLC0415  it needs what the tests don't

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--scale", type=float, default=1.0, help="how many times the rows (default: 1)")
    arguments = parser.parse_args()
    print(f"{'':44} {'bytes':>12} {'MB':>6} {'reader':>6} {'longest':>8} {'p99 ms':>7} {'s':>6}")
    over = False
    with local_server() as server:
        for case in (*FILES, *PROGRAMS):
            if arguments.only not in case:
                continue
            with tempfile.TemporaryDirectory() as folder:
                one = cost(case, server.url, Path(folder), arguments.scale)
            over |= max(one.peak_mb, one.reader_mb) > MOST_MB or one.longest_ms > MOST_STALL_MS or one.peak_mb == 0
            numbers = f"{one.peak_mb:>6.0f} {one.reader_mb:>6.0f} {one.longest_ms:>8.1f} {one.p99_ms:>7.1f}"
            print(f"{case:44} {one.size:>12,} {numbers} {one.seconds:>6.2f}  {one.said[:150]}", flush=True)
    sys.exit(over)


if __name__ == "__main__":
    main()
