"""The program that reads a workbook, in a process of its own with a limit on its memory.

The library for workbooks keeps a place for every cell between the first and the last, and a copy of a shared text for
each cell that holds it; where memory ends, it ends the process. So it is this process that ends. It is started by its
file, knows nothing of the package, and prints JSON, a line for a part: what the sheet is, then its rows.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import re
import sys
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

# Up to here a float holds every whole number, and no other one is rounded to it.
_EXACT: Final = float(1 << 53)
_DIGITS: Final = ".15g"
# A formula whose value nobody has computed yet: some programs write workbooks without, and it reads as an empty cell.
_UNSAVED: Final = re.compile(rb"</f>\s*(?:<v\s*/>|<v>\s*</v>)?\s*</c>")
_LONGEST_END: Final = 200
_BLOCK_BYTES: Final = 1 << 18
# Nobody waits for more to be unpacked; the largest sheet there can be of contacts is a tenth of it.
_MOST_UNPACKED: Final = 8 << 30
_PART_ROWS: Final = 500
_PART_CHARACTERS: Final = 1 << 17
# No spreadsheet program takes as many in a cell.
_CELL_CHARACTERS: Final = 1 << 16
_ROW_CHARACTERS: Final = 1 << 20


def main() -> None:
    """Do what the argument says, and print it; the last line tells that all is said."""
    told = json.loads(sys.argv[1])
    sys.path[:] = told["modules"]
    try:
        import python_calamine as calamine  # noqa: PLC0415  where it stands, the argument says

        _limit(told["memory_bytes"])
        lines = _read(calamine, told)
        _say({"ready": True})
        for line in lines:
            _say(line)
        _say({"end": True})
    except MemoryError:
        sys.exit(1)  # nothing more can be said
    except OSError as error:
        _say({"error": error.strerror or type(error).__name__})
    except BaseException as error:
        names = {one.__name__ for one in type(error).__mro__}
        known = isinstance(error, zipfile.BadZipFile | zlib.error | EOFError | NotImplementedError | RuntimeError)
        if not known and not names & {"CalamineError", "PanicException"}:
            raise
        _say({"damaged": True})


def _say(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line, separators=(",", ":")) + "\n")
    sys.stdout.flush()


def _limit(memory_bytes: int) -> None:
    """Let the process map so much more than it has mapped, where the system can hold it to that."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415  not on Windows

        mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
        most = mapped + memory_bytes
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            most = min(most, hard)
        resource.setrlimit(resource.RLIMIT_AS, (most, hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _read(calamine: Any, told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    path = told["path"]
    has_unsaved = _checked(path)
    book = calamine.load_workbook(path)
    sheets = [one for one in book.sheets_metadata if one.typ == calamine.SheetTypeEnum.WorkSheet]
    names = [one.name for one in sheets]
    if told["only_names"]:
        yield {"filled": [name for name in names if book.get_sheet_by_name(name).height]}
        return
    sheet = told["sheet"]
    if sheet is None:
        shown = [one.name for one in sheets if one.visible == calamine.SheetVisibleEnum.Visible]
        sheet = (shown or [*names, ""])[0]
    if sheet not in names:
        yield {"missing": True, "names": names}
        return
    others = [name for name in names if name != sheet and book.get_sheet_by_name(name).height]
    rows = book.get_sheet_by_name(sheet)
    yield {"sheet": sheet, "height": rows.height, "others": others, "has_unsaved_formulas": has_unsaved}
    part: list[Any] = []
    characters = 0
    for row in rows.iter_rows():
        cells, size = _cells(row)
        part.append(cells)
        characters += size
        if len(part) >= _PART_ROWS or characters >= _PART_CHARACTERS:
            yield {"rows": part}
            part, characters = [], 0
    if part:
        yield {"rows": part}


def _checked(path: str) -> bool:
    """Read all of the archive, with the sums that go with it: a torn file is found before anything is sent.

    Returns:
        Whether a sheet has formulas without values.
    """
    has_unsaved = False
    with zipfile.ZipFile(path) as archive:
        if sum(one.file_size for one in archive.infolist()) > _MOST_UNPACKED:
            raise MemoryError
        for name in archive.namelist():
            is_sheet = name.startswith("xl/worksheets/")
            rest = b""
            with archive.open(name) as member:
                while block := member.read(_BLOCK_BYTES):
                    if is_sheet and not has_unsaved:
                        has_unsaved = _UNSAVED.search(rest + block) is not None
                        rest = block[-_LONGEST_END:]
    return has_unsaved


def _cells(row: Sequence[Any]) -> tuple[Any, int]:
    """A row as its cells, or nothing where all are empty, and its characters.

    A row in which a cell has no text that is sure, or that is too long, is told as its words.
    """
    if not any(value != "" for value in row):
        return None, len(row)
    cells = [_as_text(value) for value in row]
    size = sum(len(cell) if isinstance(cell, str) else 20 for cell in cells)
    if None in cells or size > _ROW_CHARACTERS:
        words, left = [], _CELL_CHARACTERS
        for value in row:
            words.append(str(value)[: max(0, left)])
            left -= len(words[-1])
        return {"broken": ",".join(words)}, _CELL_CHARACTERS
    return cells, size + len(cells)


def _as_text(value: Any) -> str | list[str] | None:  # noqa: PLR0911  one return a type
    """A cell's value as text, in a list where it is neither text nor a whole number; None if it has none that is sure.

    Text as it is, whole numbers as their digits, others with the 15 digits that a spreadsheet keeps, `true` and
    `false`, dates and times as ISO 8601 spells them; a day's midnight is that day.
    """
    if isinstance(value, str):
        return value[:_CELL_CHARACTERS]
    if isinstance(value, bool):
        return ["true" if value else "false"]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        if not abs(value) < _EXACT:
            return None
        return str(int(value)) if value.is_integer() else [format(Decimal(format(value, _DIGITS)), "f")]
    if isinstance(value, dt.datetime):
        return [(value.date() if value.time() == dt.time() else value).isoformat()]
    if isinstance(value, dt.date | dt.time):
        return [value.isoformat()]
    return None


if __name__ == "__main__":
    main()
