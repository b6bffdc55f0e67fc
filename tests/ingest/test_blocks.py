"""Bytes are read off the event loop, and cut into lines."""

from __future__ import annotations

import asyncio
import io
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from kore_campaign_async.errors import SourceError
from kore_campaign_async.ingest.sources import blocks
from kore_campaign_async.ingest.sources.blocks import Blocks, LineCutter, are_clean
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.packed import Raw

BOM = b"\xef\xbb\xbf"


def cut(*parts: bytes) -> list[str]:
    cutter = LineCutter()
    return [line for part in parts for line in cutter.feed(part)] + cutter.flush()


def in_parts(data: bytes, sizes: list[int]) -> list[bytes]:
    parts, start, index = list[bytes](), 0, 0
    while start < len(data):
        parts.append(data[start : start + sizes[index % len(sizes)]])
        start += len(parts[-1])
        index += 1
    return parts


def lines_of(text: str) -> list[str]:
    """The oracle: a line ends with CRLF, LF or CR, and with nothing else; Ctrl-Z at the end is no text."""
    return re.findall(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+", text.rstrip("\x1a"))


# Lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a\nb\n", ["a\n", "b\n"]),
        (b"a\r\nb\r\n", ["a\r\n", "b\r\n"]),
        (b"a\rb\r", ["a\r", "b\r"]),
        (b"a\nb\r\nc\rd", ["a\n", "b\r\n", "c\r", "d"]),
        (b"\n\r\n\r\r\n", ["\n", "\r\n", "\r", "\r\n"]),
        (BOM + b"a\n" + BOM + b"b\n", ["a\n", "\ufeffb\n"]),
        ("é\u2028x\x85y\x0bz\x1c\n€😀\n".encode(), ["é\u2028x\x85y\x0bz\x1c\n", "€😀\n"]),
        (b"a\0b\n", ["a\0b\n"]),
        (b"a\n\x1a", ["a\n"]),
        (b"a\r\n\x1a\x1a\x1a", ["a\r\n"]),
        (b"a\r\x1a", ["a\r"]),
        (b"a\nb\x1a", ["a\n", "b"]),
        (b"\x1aa\n\x1a\nb\n", ["\x1aa\n", "\x1a\n", "b\n"]),
        (b"\x1a", []),
        (b"caf\xe9\nok\n", ["caf\udce9\n", "ok\n"]),
    ],
)
def test_lines_literally(data: bytes, lines: list[str]) -> None:
    """In one block, and byte by byte."""
    assert cut(data) == lines
    assert cut(*in_parts(data, [1])) == lines


def test_a_crlf_across_blocks_is_one_end() -> None:
    assert cut(b"a\r", b"\nb\r", b"c\r", b"\n") == ["a\r\n", "b\r", "c\r\n"]


def test_a_line_is_given_as_soon_as_its_end_is_known() -> None:
    cutter = LineCutter()
    assert cutter.feed(b"a\nb") == ["a\n"]
    assert cutter.feed(b"\r") == []
    assert cutter.feed(b"c\r") == ["b\r"]
    assert cutter.feed(b"\n") == ["c\r\n"]
    assert cutter.flush() == []


text = st.text(st.sampled_from('aé€😀,"\r\n\u2028\x0b\x85\x1e') | st.characters(codec="utf-8"), max_size=60)
sizes = st.lists(st.integers(1, 9), min_size=1, max_size=8)


@given(text, sizes, st.booleans())
def test_the_size_of_blocks_makes_no_difference(text: str, sizes: list[int], marked: bool) -> None:
    data = text.encode()
    assume(not data.startswith(BOM))
    assert cut(*in_parts(BOM * marked + data, sizes)) == lines_of(text)


@given(st.binary(max_size=60), sizes)
@example(b"\xc3\n\xa9\n\xf0\x9f\x98", [1])
def test_bytes_that_are_not_utf_8_come_back_as_they_were(data: bytes, sizes: list[int]) -> None:
    assume(not BOM.startswith(data[:3]))  # a byte order mark is no text, and half a one is none either
    lines = cut(*in_parts(data, sizes))
    assert "".join(lines).encode("utf-8", "surrogateescape") == data.rstrip(b"\x1a")
    assert lines == lines_of("".join(lines))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@given(
    lengths=st.lists(st.integers(0, 60), max_size=12),
    sizes=st.lists(st.integers(1, 9), min_size=1, max_size=8),
    ended=st.booleans(),
)
@example(lengths=[20, 5, 21, 5, 19, 5, 22, 5], sizes=[1], ended=True)
def test_a_line_too_long_is_cut_and_the_next_is_unharmed(
    end: str, lengths: list[int], sizes: list[int], ended: bool
) -> None:
    lines = [f"{chr(97 + index) * length}{end}" for index, length in enumerate(lengths)]
    data = "".join(lines)
    if not ended:
        data = data.removesuffix(end)
        lines = lines_of(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "LINE_CHARACTERS", 20)
        found = cut(*in_parts(data.encode(), sizes))
    assert len(found) == len(lines)
    for given_line, line in zip(lines, found, strict=True):
        shortened = len(given_line) > 20 and line == given_line[:20].rstrip("\r\n") + "\n"
        assert line == given_line or shortened


def test_what_a_long_line_keeps_in_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "LINE_CHARACTERS", 1000)
    cutter = LineCutter()
    lines = [line for _ in range(1000) for line in cutter.feed(b"x" * 100)]
    assert lines == ["x" * 1000 + "\n"]
    assert len(cutter._rest) <= 1000
    assert cutter.feed(b"y\nz\n") == ["z\n"]


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        ("x" * 300, True),
        ("x" * 301, False),
        ("é€😀", True),
        ("a\0b", False),
        ("caf\udce9", False),
        ("\udfff", False),
    ],
)
def test_lines_are_clean_or_suspect(line: str, clean: bool) -> None:
    """Suspect: NUL, what is not Unicode, and what can hold a value longer than the API takes."""
    assert are_clean([line]) == clean
    assert are_clean(["a\n", line, "b\n"]) == clean
    assert are_clean([])


# Blocks


async def read_all(source: Blocks) -> bytes:
    data = block = await source.open()
    while block:
        block = await source.read()
        data += block
    return data


async def refusal(path: Path | None) -> str:
    source = Blocks(None if path is None else HeldFile(path))
    with pytest.raises(SourceError) as caught:
        await source.open()
    source.close()
    message = str(caught.value)
    assert "\n" not in message
    return message


async def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(os.urandom(700_001).replace(b"\xfe\xff", b"  ").replace(b"\xff\xfe", b"  "))
    source = Blocks(HeldFile(path))
    try:
        assert await read_all(source) == path.read_bytes()
        assert await source.read() == b""
    finally:
        source.close()
    assert source.name == str(path)


async def test_the_fraction_grows_to_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 600_000)
    source = Blocks(HeldFile(path))
    assert source.fraction() is None
    try:
        block = await source.open()
        seen = [source.fraction()]
        while block:
            block = await source.read()
            seen.append(source.fraction())
    finally:
        source.close()
    assert seen == sorted(seen, key=lambda one: one or 0.0)
    assert 0.0 < (seen[0] or 0.0) < 1.0
    assert seen[-1] == 1.0


async def test_an_empty_file_is_an_empty_block(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.touch()
    source = Blocks(HeldFile(path))
    assert await source.open() == b""
    assert source.fraction() is None
    source.close()
    source.close()


async def test_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    missing = await refusal(tmp_path / "none.csv")
    assert str(tmp_path / "none.csv") in missing
    assert "No such file" in missing
    assert "directory" in await refusal(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.touch(mode=0o000)
    assert "Permission denied" in await refusal(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-32-be"])
async def test_a_byte_order_mark_tells_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(
        "\ufeff".encode(encoding) * encoding.endswith("be") + ("phone,naïve 😀\n" * 40_000).encode(encoding)
    )
    source = Blocks(HeldFile(path))
    assert await read_all(source) == "phone,naïve 😀\n".encode() * 40_000
    assert source.encoding == encoding.removesuffix("-be")
    source.close()


async def test_standard_input_is_read_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a slow writer has written is there at once; its end is the end, and the stream stays open."""
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        source = Blocks(None)
        os.write(writing, b"phone\n")
        assert await source.open() == b"phone\n"
        assert source.name == "standard input"
        assert source.fraction() is None
        waiting = asyncio.ensure_future(source.read())
        await asyncio.sleep(0)
        assert not waiting.done()  # and the event loop went on meanwhile
        os.write(writing, b"+14155550123\n")
        assert await waiting == b"+14155550123\n"
        os.close(writing)
        assert await source.read() == b""
        source.close()
        assert not stdin.closed


async def test_no_standard_input_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input" in await refusal(None)


async def test_a_file_that_fails_midway_is_said(tmp_path: Path) -> None:
    class Failing(io.BytesIO):
        def read1(self, _size: int | None = -1, /) -> bytes:
            raise OSError(5, "Input/output error")

    path = tmp_path / "a.csv"
    path.write_bytes(b"x")
    source = Blocks(HeldFile(path))
    await source.open()
    source.close()
    source._unpacked = Raw(Failing()).read
    with pytest.raises(SourceError, match="Input/output error"):
        await source.read()


async def test_a_read_that_nobody_waits_for_any_more_does_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        source = Blocks(None)
        os.write(writing, b"a")
        await source.open()
        waiting = asyncio.ensure_future(source.read())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        os.close(writing)  # which ends the thread
        assert await source.read() == b""
