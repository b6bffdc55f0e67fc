"""What must not be shown, out of texts that are kept or shown: phone numbers, tokens, what is secret in a URL. Pure.

Whatever could be a number is one: seven digits or more, grouped as people group them, also glued to words. Left alone
is only what can't be meant as one: ids, dates and moments as ISO 8601 spells them, and counts with their unit.
"""

from __future__ import annotations

import contextlib
import re
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

# What stands between the digits of one number: blanks of all kinds, what has no width, brackets, dots, dashes, slashes.
_BETWEEN: Final = (
    r"[ \t\u00a0\u1680\u2000-\u200f\u202a-\u202f\u205f\u2060\u3000\ufe00-\ufe0f\ufeff"
    r"().\uff08\uff09\uff0e\u00b7\u2022/\uff0f\-\u2010-\u2015\u2212\uff0d\u30fc]"
)
# Seven digits, or ten that a spreadsheet has parted by thousands. No more is looked at before it is known for a number.
_NUMBER: Final = re.compile(rf"\d(?:(?:{_BETWEEN}{{0,4}}+\d){{6}}|\d{{0,2}}(?:,\d{{3}}){{3}})")
_REST: Final = re.compile(rf"(?:\d++|{_BETWEEN}{{1,4}}+(?=\d))*+")

_DAY: Final = r"(?:0[1-9]|[12][0-9]|3[01])"
_MONTH: Final = r"(?:0[1-9]|1[0-2])"
_FRACTION: Final = r"(?:[.,][0-9]{1,9})?"
_MOMENT: Final = re.compile(
    r"(?<!\+)(?:"
    rf"(?:19|20)[0-9]{{2}}-{_MONTH}-{_DAY}"
    rf"(?:[T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9]{_FRACTION})?(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?"
    # As in the name of a run.
    rf"|(?:19|20)[0-9]{{2}}{_MONTH}{_DAY}T[0-2][0-9][0-5][0-9](?:[0-5][0-9])?{_FRACTION}Z?"
    # The seconds of a time that is one by what stands before them.
    r"|(?<=[0-2][0-9]:[0-5][0-9]:)[0-5][0-9][.,][0-9]{1,9}"
    r")(?![0-9]|[-./(][0-9])"
)

_HEX: Final = "[0-9a-f]"
_ID: Final = re.compile(
    r"(?<![0-9a-z])(?:"
    # The last letters of ids are also shown as x.
    rf"{_HEX}{{7,8}}(?:-{_HEX}{{4}}){{3}}-[0-9a-fx]{{12}}"
    # The beginning of one. Its first group has a letter among its digits, which no number has; alone, a prefix as well.
    rf"|(?:(?:st|cs|cl|cc|u|o)-(?=[0-9]{{0,7}}[a-f]){_HEX}{{8}}|(?=[0-9]{{0,7}}[a-f]){_HEX}{{8}}(?=-{_HEX}{{4}}(?![0-9a-z])))"
    rf"(?:(?:-{_HEX}{{4}}){{3}}-{_HEX}{{1,12}}|(?:-{_HEX}{{4}}){{0,3}})"
    # Digits in three places between letters, so that it is no number with words around it.
    r"|(?=[a-f]*[0-9]+[a-f]+[0-9]+[a-f]+[0-9])[0-9a-f]{16,64}x{0,4}"
    r")(?![0-9a-z])",
    re.IGNORECASE | re.ASCII,
)
_GLUED: Final = re.compile(r"[0-9-]{1,40}[A-Za-z]")
# How far an id reaches around a digit of its own.
_ID_CHARACTERS: Final = 80

_COUNT: Final = re.compile(
    r"(?<![\w+.,/-])"
    r"([1-9][0-9]{6,11}|[1-9][0-9]{0,2}(?:[ .\u00a0\u202f][0-9]{3}){2,3}|[1-9][0-9]{0,2}(?:,[0-9]{3}){3})"
    r"(?:[ \u00a0](?:(bytes|kB|KB|KiB|MB|MiB|characters)|(contacts|rows|records|entries|lines|numbers))\b)?"
    rf"(?!{_BETWEEN}{{0,4}}[0-9]|\w|,[0-9])"
)
_ROUND: Final = re.compile(r"[1-9][0-9]{0,2}0{4,}")
_LIMIT: Final = re.compile(
    r"(?:more than|at most|at least|up to|over|exceed(?:s|ed|ing)?|limit|max|maximum)(?: is| of)?[\"': =]*$",
    re.IGNORECASE,
)
_LIMIT_CHARACTERS: Final = 24

# Also what begins like one is taken as a whole, so that no place of it is looked at twice.
_TOKEN: Final = re.compile(r"eyJ[\w-]++((?:\.[\w-]*+){2,})?", re.ASCII)

#: Stands in a shared rate's URL where something of it is not shown.
HIDDEN: Final = "***@"


def masked(text: str, mask: Callable[[str], str] = lambda _number: "***") -> str:
    """A text in which what could be a phone number is masked."""
    parts: list[str] = []
    done = at = 0
    while (found := _NUMBER.search(text, at)) is not None:
        begin = found.start()
        at = _end_of_another_kind(text, begin, at)
        if at > begin:
            continue
        rest = _REST.match(text, found.end())
        at = found.end() if rest is None else rest.end()
        parts += (text[done:begin], mask(text[begin:at]))
        done = at
    return "".join((*parts, text[done:]))


def _end_of_another_kind(text: str, begin: int, done: int) -> int:
    """Where something ends that holds the digit at `begin` and is no number; `begin` itself if there is no such thing.

    It is looked for behind `done`, and no further around the digit than it can reach.
    """
    moment = _MOMENT.match(text, begin)
    if moment is not None:
        return moment.end()
    is_glued = begin > 0 and (text[begin - 1].isalpha() or text[begin - 1] == "-")
    # Most numbers are glued to nothing, and are not looked at for long.
    if is_glued or text[begin + 8 : begin + 9] == "-" or _GLUED.match(text, begin) is not None:
        for found in _ID.finditer(text, max(done, begin - _ID_CHARACTERS), begin + _ID_CHARACTERS):
            if found.start() <= begin < found.end():
                return found.end()
    count = _COUNT.match(text, begin)
    if count is not None and _is_count(text, count):
        return count.end()
    return begin


def _is_count(text: str, found: re.Match[str]) -> bool:
    """Whether a whole number is an amount of something: of bytes, or a round one that is counted or a limit."""
    number, size, things = found.groups()
    if size is not None:
        return True
    if _ROUND.fullmatch(re.sub("[^0-9]", "", number)) is None:
        return False
    before = text[max(0, found.start() - _LIMIT_CHARACTERS) : found.start()]
    return things is not None or _LIMIT.search(before) is not None


def printable(text: str) -> str:
    """A text in one line that steers no terminal: what can't be printed is shown as its escape."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def without_words(error: BaseException) -> str:
    """Of what kind an exception is and where it was raised; its own words may hold a contact, or a server's words."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {frames[-1].name} ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    return type(error).__name__ + where


def without_tokens(text: str) -> str:
    """A text in which every JSON Web Token is masked."""
    return _TOKEN.sub(lambda found: found[0] if found[1] is None else "***", text)


def shown_url(url: str) -> str:
    """A URL without what may be secret: user, password and query; of one that is none, nothing."""
    shown = HIDDEN
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        where = parts.hostname or ""
        where += f":{parts.port}" if parts.port is not None else ""
        if parts.scheme == "unix" or re.fullmatch(r"/[0-9]+", parts.path):
            where += parts.path
        shown = f"{parts.scheme}://{HIDDEN if '@' in parts.netloc or parts.query else ''}{where}"
    del url
    return shown
