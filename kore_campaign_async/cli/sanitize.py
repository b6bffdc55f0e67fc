"""Texts of others as they can be shown: names, cells and the server's words may hold whatever they like. Pure."""

from __future__ import annotations

import unicodedata
from typing import Final

#: How many characters of a name are shown, and of a sentence that others' words are in: it can be a whole file.
NAMES: Final = 300
SENTENCE: Final = 2000

# Format characters that only join letters, as Persian and emoji need them.
_JOINERS: Final = {"\u200c", "\u200d"}


def legible(text: str, most: int, characters: int | None = None) -> str:
    """A text in one line of at most so many characters.

    What steers a terminal or turns the direction of writing around is shown as its escape, blanks of all kinds as one
    blank, and what is longer is cut, with its length behind it.

    Args:
        text: or its beginning.
        most: how many characters of it are shown.
        characters: how many the text has, where this is its beginning.
    """
    length = len(text) if characters is None else characters
    # No more of a long text is looked at than can be shown.
    shown = "".join(map(_shown, text[:most]))
    shown = " ".join(shown.split())
    if length > most or len(shown) > most:
        return f"{shown[:most]}… ({length:,} characters)"
    return shown


def visible(text: str) -> str:
    """A text in one line, whole: what steers a terminal or turns the direction of writing around is its escape."""
    return text if text.isprintable() else "".join(map(_shown, text))


def json_on_a_terminal(text: str, encoding: str) -> str:
    """JSON with the same values, in which nothing steers a terminal, and which its encoding can write."""
    return "\n".join(
        line if _can_stand(line, encoding) else _ascii_where_needed(line, encoding) for line in text.split("\n")
    )


def _ascii_where_needed(line: str, encoding: str) -> str:
    # What can't stand there stands within its strings alone.
    return "".join(one if _can_stand(one, encoding) else _json_escape(one) for one in line)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def _can_stand(text: str, encoding: str) -> bool:
    if not text.isprintable():
        return False
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS:
        return character
    if character.isspace() or unicodedata.category(character) == "Zs":
        return " "
    return character.encode("unicode_escape").decode()
