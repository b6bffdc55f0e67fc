"""CSV text becomes records as the stdlib reads them, and a torn one costs only its own line."""

from __future__ import annotations

import csv
import io
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kore_campaign_async.ingest.records import Broken
from kore_campaign_async.ingest.sources import csv_text
from kore_campaign_async.ingest.sources.csv_quotes import CELL_CHARACTERS, OpenRecord
from kore_campaign_async.ingest.sources.csv_text import DELIMITERS, CsvRecords, clean_cells, plain_cells

MEGABYTES_10 = 10 << 20


def lines_of(text: str) -> list[str]:
    return list(io.StringIO(text, newline=""))


def read(text: str, *, at_once: int = 500, delimiter: str = ",") -> list[list[str] | Broken]:
    """Read a whole text, so many lines at once."""
    return read_lines(lines_of(text), (at_once for _ in iter(int, 1)), delimiter)


def read_lines(lines: list[str], sizes: Iterable[int], delimiter: str = ",") -> list[list[str] | Broken]:
    records, found, start = CsvRecords(delimiter), list[list[str] | Broken](), 0
    steps = iter(sizes)
    while start < len(lines):
        size = next(steps)
        found += records.feed(lines[start : start + size])
        start += size
    return found + records.feed([], final=True)


def reasons(records: list[list[str] | Broken]) -> list[tuple[int, str]]:
    """Where the torn ones are, the first is 0, and why."""
    return [(index, record.reason) for index, record in enumerate(records) if isinstance(record, Broken)]


def whole(records: list[list[str] | Broken]) -> list[list[str]]:
    return [record for record in records if not isinstance(record, Broken)]


def is_empty(row: list[str]) -> bool:
    """Whether a row on a line of its own has no cell that holds anything."""
    return not any(map(str.strip, row)) and not any("\n" in cell or "\r" in cell for cell in row)


cells = st.text(st.sampled_from("ab é€😀,\"\n\r\0;|\t\u2028'\\") | st.characters(codec="utf-8"), max_size=8)
tables = st.lists(st.lists(cells, max_size=5), max_size=25)
dialects = st.fixed_dictionaries(
    {
        "lineterminator": st.sampled_from(["\n", "\r\n", "\r"]),
        "delimiter": st.sampled_from(DELIMITERS),
        "quoting": st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    }
)


@given(tables, dialects, st.lists(st.integers(1, 6), min_size=1, max_size=8), st.booleans())
def test_it_reads_what_the_stdlib_reads(
    table: list[list[str]], dialect: dict[str, Any], sizes: list[int], end_kept: bool
) -> None:
    """Whatever lines come at once. Blank lines and rows of empty cells are no records."""
    file = io.StringIO(newline="")
    # Where lines end with one of the two, the writer leaves the other unquoted in a cell.
    quoted = [[cell.replace("\r", "") if dialect["lineterminator"] == "\n" else cell for cell in row] for row in table]
    quoted = [[cell.replace("\n", "") if dialect["lineterminator"] == "\r" else cell for cell in row] for row in quoted]
    csv.writer(file, **dialect).writerows(quoted)
    text = file.getvalue()
    if not end_kept:
        text = text.removesuffix(dialect["lineterminator"])
    delimiter = dialect["delimiter"]
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter) if row]
    assert rows == [row for row in quoted if row]
    expected = [row for row in rows if not is_empty(row)]

    assert read_lines(lines_of(text), (size for _ in iter(int, 1) for size in sizes), delimiter) == expected
    assert read(text, delimiter=delimiter) == expected


@given(st.text(st.sampled_from('a,"\n'), max_size=60), st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_any_text_gives_the_same_whatever_lines_come_at_once(text: str, sizes: list[int]) -> None:
    """Torn or not, nothing is lost or doubled by where the calls part."""
    assert read_lines(lines_of(text), (size for _ in iter(int, 1) for size in sizes)) == read(text)


@given(st.text(st.sampled_from('a,"\n'), max_size=60))
def test_a_text_without_an_open_quote_at_its_end_is_as_the_stdlib_reads_it(text: str) -> None:
    records = read(text)
    if not reasons(records):
        assert records == [row for row in csv.reader(io.StringIO(text, newline="")) if not is_empty(row)]


@pytest.mark.parametrize(
    ("line", "record"),
    [
        ('1,"Diaz, Ana",x\n', ["1", "Diaz, Ana", "x"]),
        ('1,"two\nlines",x\n', ["1", "two\nlines", "x"]),
        ('1,"two\r\nlines\r\n",x\r\n', ["1", "two\r\nlines\r\n", "x"]),
        ('1,"she said ""hi""",x\n', ["1", 'she said "hi"', "x"]),
        ('1,"""",x\n', ["1", '"', "x"]),
        ('1,"",x\n', ["1", "", "x"]),
        ("1,5'10\" tall,x\n", ["1", "5'10\" tall", "x"]),
        ('1,a"b"c,x\n', ["1", 'a"b"c', "x"]),
        ('1, "a",x\n', ["1", "a", "x"]),
        ('1,  "a, b" ,x\n', ["1", "a, b", "x"]),
        (' "1",a\t, "x"\n', ["1", "a\t", "x"]),
        ('1,\t"a",x\n', ["1", "a", "x"]),
        ('1, a "b",x\n', ["1", ' a "b"', "x"]),
        ('1,"a"b,x\n', Broken("bad_row", '1,"a"b,x')),
        ('1,"Ana \\"the\\" B",x\n', Broken("bad_row", '1,"Ana \\"the\\" B",x')),
    ],
)
def test_records_literally(line: str, record: list[str] | Broken) -> None:
    """Beside others, in one call and line by line."""
    for at_once in (500, 1):
        assert read(f"a,b,c\n{line}d,e,f\n", at_once=at_once) == [["a", "b", "c"], record, ["d", "e", "f"]]


@pytest.mark.parametrize("at_once", [1, 500])
def test_blank_lines_and_rows_of_empty_cells_are_no_records(at_once: int) -> None:
    expected = [["a", "b"], ["c", "d"]]
    assert read("\n\na,b\n\r\n\nc,d\n\n", at_once=at_once) == expected
    assert read(',,\na,b\n""\n \n"",""\n," "\n\u3000,\u00a0\n\t\nc,d\n,', at_once=at_once) == expected
    assert read("") == []


@pytest.mark.parametrize("at_once", [1, 2, 500])
def test_a_quote_open_at_the_end_costs_its_first_line(at_once: int) -> None:
    records = read('1,a\n2,"b\n3,c\n\n4,d\n5,e', at_once=at_once)
    assert records == [["1", "a"], Broken("unclosed_quote", '2,"b'), ["3", "c"], ["4", "d"], ["5", "e"]]


@pytest.mark.parametrize("at_once", [1, 2, 500])
def test_a_quote_open_on_the_last_line_costs_that_line(at_once: int) -> None:
    assert read('1,a\n2,"b', at_once=at_once) == [["1", "a"], Broken("unclosed_quote", '2,"b')]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("at_once", [1, 7, 500])
def test_a_quoted_cell_longer_than_64_kib_costs_its_first_line(at_once: int, end: str) -> None:
    """Closed or not: the lines behind its first one are read as lines."""
    behind = [f"{index},{'x' * 900}{end}" for index in range(3, 103)]
    for closing in ("", f'103,y"{end}'):
        records = read(f'1,a{end}2,"b{end}' + "".join(behind) + closing + f"104,z{end}", at_once=at_once)
        assert reasons(records) == [(1, "unclosed_quote")]
        assert records[1] == Broken("unclosed_quote", '2,"b')
        rows = whole(records)
        assert rows[0] == ["1", "a"]
        assert rows[1:101] == [line.rstrip().split(",") for line in behind]
        assert rows[-1] == ["104", "z"]
        assert len(rows) == 102 + bool(closing)


@pytest.mark.parametrize("at_once", [1, 500])
def test_a_quoted_cell_of_64_kib_is_whole(at_once: int) -> None:
    cell = ("x" * 1023 + "\n") * 64
    assert len(cell) == CELL_CHARACTERS
    assert read(f'1,"{cell}",z\n2,b\n', at_once=at_once) == [["1", cell, "z"], ["2", "b"]]
    assert reasons(read(f'1,"{cell}x",z\n2,b\n', at_once=at_once))[0] == (0, "unclosed_quote")


@pytest.mark.parametrize("at_once", [1, 50, 500])
def test_two_unclosed_ones_in_a_row(at_once: int) -> None:
    """The second line leaves a quote open whether it is read on its own or behind the first."""
    behind = "".join(f"{index},{'x' * 900}\n" for index in range(4, 204))
    records = read('1,a\n2,"d\n3,5"x,"y\n' + behind, at_once=at_once)
    assert records[:3] == [["1", "a"], Broken("unclosed_quote", '2,"d'), Broken("unclosed_quote", '3,5"x,"y')]
    assert len(whole(records)) == len(records) - 2 == 201


@pytest.mark.parametrize("at_once", [1, 50, 500])
def test_two_unclosed_ones_at_the_end(at_once: int) -> None:
    records = read('1,a\n2,"d\n3,5"x,"y\n4,e', at_once=at_once)
    assert reasons(records) == [(1, "unclosed_quote"), (2, "unclosed_quote")]
    assert whole(records) == [["1", "a"], ["4", "e"]]


@pytest.mark.parametrize("line", ['"', '""x', '"""', '",', ',"'])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_last_line_of_quotes_alone_is_not_lost(line: str, end: str) -> None:
    """A row is a row: it is counted, as a record or as a torn one."""
    assert len(read(f"1,a\n{line}{end}")) == 2


@pytest.mark.parametrize("lines_of_it", [1, 10_000])
@pytest.mark.parametrize("closed", [True, False])
def test_a_quoted_cell_of_10_mb_is_an_unclosed_quote(lines_of_it: int, closed: bool) -> None:
    """On one line or on many, the rows around are read."""
    body = "\n".join(["x" * (MEGABYTES_10 // lines_of_it)] * lines_of_it)
    records = read(f'1,a\n2,"{body}{chr(34) if closed else ""}\n3,c\n4,d\n')
    assert records[0] == ["1", "a"]
    assert records[-2:] == [["3", "c"], ["4", "d"]]
    assert reasons(records) == [(1, "unclosed_quote")]
    torn = records[1]
    assert isinstance(torn, Broken)
    assert torn.text == f'2,"{body}{chr(34) if closed else ""}'.split("\n")[0]


@pytest.mark.parametrize("at_once", [1, 500])
def test_an_unquoted_cell_of_10_mb_is_too_long_a_value(at_once: int) -> None:
    long = "x" * MEGABYTES_10
    records = read(f'1,a\n2,{long},"b"\n3,c\n', at_once=at_once)
    assert records == [["1", "a"], Broken("value_too_long", f'2,{long},"b"'), ["3", "c"]]


def test_an_unquoted_cell_between_both_limits_is_read() -> None:
    """It is for the checks behind to refuse it."""
    long = "x" * (CELL_CHARACTERS + 9)
    assert read(f'1,{long},"b"\n2,c\n') == [["1", long, "b"], ["2", "c"]]


def test_another_programs_limit_does_not_matter() -> None:
    """A host that raised the reader's limit gets the same records."""
    text = '1,"' + ("x" * 999 + "\n") * 300 + "2,b\n"
    before = read(text)
    limit = csv.field_size_limit(1 << 30)
    try:
        assert read(text) == before
    finally:
        csv.field_size_limit(limit)
    assert reasons(before) == [(0, "unclosed_quote")]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    """How many characters the reader was given for a text, all readings together; a hundredfold ends the test."""
    given_characters = bound = 0

    def count(line: str) -> str:
        nonlocal given_characters
        given_characters += len(line)
        assert given_characters <= bound, "the text is read over and over"
        return line

    def reader(lines: Iterable[str], **dialect: Any) -> Iterator[list[str]]:
        return csv.reader(map(count, lines), **dialect)

    class Counted(OpenRecord):
        def add(self, line: str) -> bool:
            return super().add(count(line))

    monkeypatch.setattr(csv_text, "OpenRecord", Counted)

    monkeypatch.setattr(csv_text, "csv", types.SimpleNamespace(reader=reader, Error=csv.Error))

    def measure(text: str) -> int:
        nonlocal given_characters, bound
        given_characters, bound = 0, 100 * len(text)
        read(text)
        return given_characters

    return measure


@pytest.mark.parametrize(
    ("lines", "every"),
    [
        pytest.param(["1,x\n"] * 99 + ['1,"x\n'], 120, id="a lone quote every 100 lines"),
        pytest.param([f"1,{'x' * 700}\n"] * 199 + ['1,"x\n'], 30, id="a lone quote every 140 kB"),
        pytest.param(['1,"two\nlines"\n'], 4000, id="all of two lines"),
        pytest.param(['1,"x\n'], 6000, id="a lone quote on every line"),
        pytest.param(['1,5" x,"y\n'], 20_000, id="lone quotes that never pair"),
        pytest.param(['1,"x ""y""\n'] * 3 + ["2,z\n"] * 20_000, 2, id="few that reach over many lines"),
        pytest.param([f'1,"{"x" * 65_000}\n', '"', "\n"], 40, id="long cells that close"),
        pytest.param([f'1,"{"x" * 70_000}\n'], 40, id="long cells that never close"),
    ],
)
def test_the_work_grows_with_the_text_alone(work: Callable[[str], int], lines: list[str], every: int) -> None:
    """Twice the text is about twice the work, also where quotes never close: a crafted file can't stop a run."""
    once, twice = "".join(lines * every), "".join(lines * (2 * every))
    assert work(twice) <= 3 * work(once)


# Many lines at once


def plain(text: str, width: int) -> list[str] | None:
    cells = plain_cells(text, width)
    assert cells is None or cells.width == width
    return None if cells is None else cells.flat


odd_cells = st.one_of(
    st.sampled_from(["", " ", "a b", "é€😀", "\u00a0", "\u3000", "\u2028", "\x85", "x" * 300, "x" * 301]),
    st.text(st.sampled_from('ab,"\\\n\r\0\t\x1f\x7fé😀\ud800\udcff\x0b\x1c') | st.characters(), max_size=3),
)


@given(
    st.lists(st.lists(odd_cells, min_size=1, max_size=3), min_size=1, max_size=8),
    st.integers(1, 3),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
@example([["a", "b", "c"], ["d"]], 2, "\n", True)
@example([["a"], [""], ["b"]], 1, "\n", True)
@example([["a", "b"], ["c", "d"]], 2, "\n", False)
@example([["x" * 299, "y" * 300]], 2, "\n", True)
def test_plain_lines_are_what_the_reader_makes_of_them(
    table: list[list[str]], width: int, end: str, ended: bool
) -> None:
    """And hold nothing that JSON writes otherwise, nor a value too long."""
    text = end.join(map(",".join, table)) + end * ended
    cells = plain(text, width)
    if cells is None:
        return
    records = whole(read(text))
    assert [cells[at : at + width] for at in range(0, len(cells), width)] == records
    assert all(len(record) == width for record in records)
    assert all(orjson.dumps(cell) == b'"' + cell.encode() + b'"' and len(cell) <= 300 for cell in cells)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@given(
    st.lists(
        st.tuples(
            *[st.text(st.characters(codec="utf-8", exclude_characters='",\\', exclude_categories=["C"]))] * 2
        ).filter(lambda row: not is_empty(list(row))),
        min_size=1,
        max_size=6,
    )
)
def test_usual_lines_are_plain(end: str, table: list[tuple[str, str]]) -> None:
    text = "".join(f"{first},{second}{end}" for first, second in table)
    assert plain(text, 2) == [cell for row in table for cell in row]


@pytest.mark.parametrize(
    "text",
    [
        "a,b",
        "a,b\nc,d",
        'a,"b"\n',
        "a,b\rc,d\n",
        "a,b\\\n",
        "a,\t\n",
        "a,\0\n",
        "a,\x1f\n",
        "a,\udcff\n",
        "a\nb,c,d\n",
        "a,b,c\nd\n",
        "a,b\n\nc,d\n",
        "\na,b\n",
        "a\n",
        f"a,{'x' * 301}\n",
        "",
    ],
)
def test_what_needs_a_closer_look_is_not_plain(text: str) -> None:
    assert plain(text, 2) is None
    assert plain(text.replace("\n", "\r\n"), 2) is None


def test_a_blank_line_among_single_cells_is_not_plain() -> None:
    assert plain("a\n\nb\n", 1) is None
    assert plain("a\nb\n", 1) == ["a", "b"]


def test_long_lines_of_short_values_are_plain() -> None:
    assert plain(f"{'x' * 300},{'y' * 300}\na,b\n", 2) == ["x" * 300, "y" * 300, "a", "b"]


def test_records_read_with_care_are_cells_where_json_escapes_nothing() -> None:
    """Commas do no harm, nor do quotes around a cell."""
    records = read('1,"Diaz, Ana"\n2,é😀\n')
    cells = clean_cells(records, 2)
    assert cells is not None
    assert list(cells) == records
    assert clean_cells(records, 3) is None
    assert clean_cells(read("1,a\n2\n"), 2) is None
    assert clean_cells([], 2) is None
    assert clean_cells([["1", "a"], Broken("bad_row", "x")], 2) is None
    for odd in ['"', "\\", "\n", "\t", "\x1f", "\0", "\ud800", "\udcff"]:
        assert clean_cells([["1", "a"], ["2", f"a{odd}b"]], 2) is None
