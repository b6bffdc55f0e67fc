"""What a text's encoding is found to be, and that what is read of it is the same text in UTF-8."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from kore_campaign_async import Files
from kore_campaign_async.ingest.sources import encodings
from kore_campaign_async.ingest.sources.encodings import UTF_8, WINDOWS, Guess, Recoder, marked
from kore_campaign_async.ingest.sources.held_file import HeldFile
from kore_campaign_async.ingest.sources.scanning import scan


def guessed(data: bytes, *sizes: int) -> str:
    guess = Guess()
    at = 0
    for size in sizes or (len(data),):
        guess.feed(data[at : at + size])
        at += size
    guess.feed(data[at:])
    return guess.encoding()


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (b"", UTF_8),
        (b"phone,name\n+1,Ana\n", UTF_8),
        ("Zoë\n".encode(), UTF_8),
        ("Zoë".encode("cp1252"), WINDOWS),  # its last byte begins a character of UTF-8
        ("Zoë;50 €\n".encode("cp1252"), WINDOWS),
        ("Müller “x” — y\n".encode("cp1252"), WINDOWS),
        ("Zoë\n".encode() + b"\xff\n", UTF_8),  # a few wrong bytes in UTF-8
        (b"\xff\n" + "Zoë\n".encode(), UTF_8),
        (b"\x81\n", UTF_8),  # no character in either
        (b"caf\xe9 \x8d\n", UTF_8),
        ("😀".encode()[:3], UTF_8),  # cut off: its bytes are not those of a name in Windows-1252
    ],
)
def test_utf_8_and_windows_1252_are_told_from_each_other(data: bytes, encoding: str) -> None:
    assert guessed(data) == encoding
    assert guessed(data, *[1] * len(data)) == encoding


@given(st.text(st.characters(codec="cp1252"), max_size=40), st.lists(st.integers(0, 5), max_size=9))
def test_whatever_blocks_it_comes_in(text: str, sizes: list[int]) -> None:
    for data in (text.encode(), text.encode("cp1252")):
        assert guessed(data, *sizes) == guessed(data)
    assert guessed(text.encode(), *sizes) == UTF_8


@given(st.binary(max_size=40), st.lists(st.integers(0, 5), max_size=9))
def test_so_it_is_with_any_bytes(data: bytes, sizes: list[int]) -> None:
    """What is taken for Windows-1252 can be read as that, all of it."""
    found = guessed(data)
    assert guessed(data, *sizes) == found
    if found == WINDOWS:
        data.decode(WINDOWS)
    else:
        guess = Guess()
        guess.feed(data)
        assert guess.has_wrong_bytes == (data.decode(errors="ignore").encode() != data)


@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8"]),
    st.lists(st.integers(1, 5), min_size=1, max_size=9),
)
def test_text_becomes_utf_8_wherever_its_blocks_end(text: str, encoding: str, sizes: list[int]) -> None:
    assume(not text.startswith("\ufeff"))
    data, recoder, at, found = text.encode(encoding), Recoder(encoding), 0, b""
    while at < len(data):
        size = sizes[at % len(sizes)]
        found += recoder.recode(data[at : at + size])
        at += size
    assert found + recoder.recode(b"", final=True) == text.encode()


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-32", "shift_jis", "utf-8", "ascii"])
@given(data=st.binary(max_size=30))
def test_wrong_bytes_become_bytes_that_are_no_utf_8(encoding: str, data: bytes) -> None:
    """They spoil what they stand in, and neither raise nor vanish."""
    recoder = Recoder(encoding)
    found = recoder.recode(data) + recoder.recode(b"", final=True)
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        with pytest.raises(UnicodeDecodeError):
            found.decode()
    else:
        assert found.decode() == text


@pytest.mark.parametrize(("mark", "encoding"), encodings.MARKS)
def test_marks(mark: bytes, encoding: str) -> None:
    assert marked(mark + b"x\0\0\0") == encoding
    assert marked(b"x" + mark) is None
    assert codecs.lookup(encoding).name == encoding


@pytest.mark.parametrize(
    ("given_name", "name"),
    [("windows-1252", "cp1252"), ("UTF8", "utf-8"), ("utf-8-sig", "utf-8"), ("latin-1", "iso8859-1"), (None, None)],
)
def test_an_encoding_is_known_by_its_names(given_name: str | None, name: str | None) -> None:
    assert Files("x", encoding=given_name).encoding == name


@pytest.mark.parametrize("name", ["", "windows", "hex", "base64", "zip", "rot13", "idna", "undefined", "utf\0", "ü"])
def test_what_is_no_encoding_is_said(name: str) -> None:
    with pytest.raises(ValueError, match=r"the encoding '.*' is not known; name one such as utf-8"):
        Files("x", encoding=name)


@pytest.mark.parametrize(
    ("data", "lines"),
    [(b"", 0), (b"a", 1), (b"a\nb", 2), (b"a\nb\n", 2), (b"a\r\nb\r\n", 2), (b"a\rb\rc", 3), (b"a\rb\r", 2)],
)
async def test_a_scan_counts_lines_of_any_ends(data: bytes, lines: int, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    found = await scan(HeldFile(path))
    assert found is not None
    assert (found.lines, found.size, found.encoding) == (lines, len(data), UTF_8)
