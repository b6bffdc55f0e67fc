"""What must not be shown, out of texts that are kept or shown: phone numbers, tokens, what is secret in a URL. Pure.

Whatever could be a number is one: seven digits or more of any script, grouped as people group them or escaped as
programs escape them, also glued to words. Every writing that is read as a number elsewhere is one here. Left alone is
only what can't be meant as one: ids, dates and moments as programs spell them, rows, and counts with their unit.
"""

from __future__ import annotations

import bisect
import contextlib
import html
import itertools
import re
import sys
import traceback
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from attrs import frozen

# What stands between the digits of one number, in any script: blanks and line ends, brackets, dots, dashes, slashes,
# marks without a width, and what people and programs type for them. The signs of values, markup and code are left out.
_SIGN: Final = "[^\\w\"'`,;:=<>#@&%!?*^${}\\\\\u2018\u2019\u2026\u2192]"
_BLANK: Final = "[ \t\u00a0]"
# No cell is read as a number where more stands between two of its digits.
_BETWEEN: Final = (
    f"(?:{_SIGN}{{0,57}}+(?:[_\u30fc\uff70]{_SIGN}{{0,57}}+){{0,9}}+"
    f"|{_BLANK}{{0,3}}+[,;:'\u2019]{{1,2}}+|{_BLANK}{{1,3}}+[;:]{{1,2}}+{_BLANK}{{1,3}}+)"
)
# Seven digits, or fewer that the cut of a text left of a number. No more is looked at before it is known for a number.
_SEVEN: Final = rf"(?:{_BETWEEN}\d){{6}}|(?:{_BETWEEN}\d){{4,5}}(?=[^\w\s]?\u2026)"
_REST: Final = re.compile(rf"(?:{_BETWEEN}\d++)*+")
_EXTENSION: Final = re.compile(
    rf"(?:[ ,;]{{0,3}}(?:(?:;ext|extension|extn?|xtn?|x|w|p)[.:=]?|\#) ?|e\+?)\d{{1,8}}+(?!\w|{_BETWEEN}\d)",
    re.IGNORECASE,
)
# Digits one by one, in pairs, or as North America groups them, each written like an item of a list.
_NEXT: Final = r"[\"'\])]{0,2}[,:;]\s{0,3}[\"'\[(]{0,2}"
_LISTED: Final = (
    rf"(?<!\d\d)(?:(?:{_NEXT}\d(?!\d)){{6,}}+|\d(?:{_NEXT}\d\d(?!\d)){{4,}}+"
    rf"|(?:\d{{0,2}}{_NEXT}\d{{3}}|\d\d){_NEXT}\d{{3}}{_NEXT}\d{{4}}(?!\d))"
)
# It begins with a digit, whatever it is: so most places of a text are passed over quickly.
_NUMBER: Final = re.compile(rf"\d(?:{_SEVEN}|(?P<listed>{_LISTED}))")
_ITEMS: Final = re.compile(
    r"\b(?:rows?|lines?|records?|contacts?|entries|index(?:es)?|items?|batch(?:es)?)[\"': (\[]{0,4}$", re.IGNORECASE
)
_ITEMS_CHARACTERS: Final = 16

_DAY: Final = r"(?:0[1-9]|[12][0-9]|3[01])"
_MONTH: Final = r"(?:0[1-9]|1[0-2])"
_YEAR: Final = r"(?:19|20)[0-9]{2}"
_FRACTION: Final = r"(?:[.,][0-9]{1,9})?"
_SECONDS: Final = rf"[0-2][0-9]:[0-5][0-9]:[0-5][0-9]{_FRACTION}"
_BYTE: Final = r"(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_MOMENT: Final = re.compile(
    r"(?<!\+)(?:"
    rf"{_YEAR}(?:-{_MONTH}-|_{_MONTH}_){_DAY}"
    rf"(?:[T ][0-2][0-9]:[0-5][0-9](?::[0-5][0-9]{_FRACTION})?(?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?)?"
    # As in the name of a run.
    rf"|{_YEAR}{_MONTH}{_DAY}T[0-2][0-9][0-5][0-9](?:[0-5][0-9])?{_FRACTION}Z?"
    # As HTTP, C and servers' logs write it, behind the name of a month.
    rf"|(?<=[A-Za-z]{{3}}[ /-]){_YEAR}[ :]{_SECONDS}"
    rf"|(?:(?<=[A-Za-z]{{3}} )|(?<=[A-Za-z]{{3}}  ))[0-9]{{1,2}} {_SECONDS}(?: {_YEAR})?"
    rf"|{_SECONDS}"
    # Where a program listens.
    rf"|(?:(?<=//)|(?<=@)|(?=127\.)){_BYTE}(?:\.{_BYTE}){{3}}(?::[0-9]{{1,5}})?(?:/[0-9]{{1,2}})?"
    r")(?![0-9]|[-./(:][0-9])"
)

_HEX: Final = "[0-9a-fA-F]"
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
    r"([1-9][0-9]{6,11}|[1-9][0-9]{0,2}(?:[ .\u00a0\u202f][0-9]{3}){2,3}|[1-9][0-9]{0,2}(?:,[0-9]{3}){2,3})"
    r"(?:[ \u00a0](?:(bytes|kB|KB|KiB|MB|MiB|characters)|(contacts|rows|records|entries|lines|numbers|calls|of))\b"
    rf"|(?!{_BETWEEN}[0-9]|\w|,[0-9]))"
)
# With its thousands parted as a count has them, and fewer digits than a number with its area code.
_PARTED: Final = re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){2}")
_ROUND: Final = re.compile(r"[1-9][0-9]{0,2}0{4,}")
_LIMIT: Final = re.compile(
    r"(?:more than|at most|at least|up to|over|exceed(?:s|ed|ing)?|limit|max|maximum)(?: is| of)?[\"': =]*$",
    re.IGNORECASE,
)
_LIMIT_CHARACTERS: Final = 24

# As JSON and programs, URLs and HTML write what they can't or won't write as it is, also when they do so twice; and
# digits in circles or above the line. A row of backslashes is taken as a whole, so that no place is looked at twice.
_SMALL: Final = (
    "\u00b2\u00b3\u00b9\u2070\u2074-\u2079\u2080-\u2089\u2460-\u2468\u2474-\u247c\u2488-\u2490\u24ea\u24f5-\u24fd"
    "\u24ff\u2776-\u277e\u2780-\u2788\u278a-\u2792"
)
_ESCAPED: Final = re.compile(
    rf"[\\%&{_SMALL}](?:"
    rf"(?<=\\)\\*+(?P<code>u{_HEX}{{4}}|u\{{{_HEX}{{1,6}}\}}|x{_HEX}{{2}}|U{_HEX}{{8}}|[tnrfv()./+ -])?"
    rf"|(?<=%)(?:25)*+{_HEX}{{2}}(?:%(?:25)*+{_HEX}{{2}})*+"
    rf"|(?<=&)(?:amp;)*+(?P<name>\#[0-9]{{1,7}}|\#[xX]{_HEX}{{1,6}}|[A-Za-z]{{2,8}});"
    rf"|(?<=[{_SMALL}]))",
    re.ASCII,
)
_PERCENT_AGAIN: Final = re.compile("%(?:25)+")

# Also what begins like one is taken as a whole, so that no place of it is looked at twice.
_TOKEN: Final = re.compile(r"eyJ[\w-]++((?:\.[\w-]*+){2,})?", re.ASCII)

_LAST_DIGITS: Final = 3
_MASK: Final = "•"

#: Stands in a shared rate's URL where something of it is not shown.
HIDDEN: Final = "***@"


def masked(text: str, mask: Callable[[str], str] = lambda _number: "***") -> str:
    """A text in which what could be a phone number is masked, also where its signs are escaped in some way.

    Args:
        text: whatever somebody wrote.
        mask: makes of a number, its escapes read, what stands in its place.
    """
    found = list(_numbers_in(text))
    read = _Read.of(text)
    if read is not None:
        found = _joined(sorted([*found, *(read.place(*one) for one in _numbers_in(read.text))]))
    parts: list[str] = []
    done = 0
    for begin, end in found:
        number = text[begin:end]
        meant = None if read is None else _Read.of(number)
        parts += (text[done:begin], mask(number if meant is None else meant.text))
        done = end
    return "".join((*parts, text[done:]))


def masked_words(text: str) -> str:
    """A text in which what could be a number is masked but for its last three digits."""
    return masked(text, masked_cell)


def masked_cell(text: str) -> str:
    """The cell of a number, all of its digits masked but the last three."""
    digits = sum(map(str.isdigit, text))
    masks = iter(range(digits - _LAST_DIGITS))
    return "".join(_MASK if character.isdigit() and next(masks, None) is not None else character for character in text)


def _numbers_in(text: str) -> Iterator[tuple[int, int]]:
    """Where what could be a number begins and ends."""
    at = 0
    while (found := _NUMBER.search(text, at)) is not None:
        begin = found.start()
        at = _end_of_another_kind(text, begin, at)
        if at > begin:
            continue
        if found["listed"] is not None and _are_items(text, begin, found[0]):
            at = found.end()
            continue
        rest = _REST.match(text, found.end())
        at = found.end() if rest is None else rest.end()
        extension = _EXTENSION.match(text, at)
        at = at if extension is None else extension.end()
        yield begin, at


def _joined(found: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for begin, end in found:
        if joined and begin < joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((begin, end))
    return joined


def _are_items(text: str, begin: int, listed: str) -> bool:
    """Whether these are the numbers of rows or the like: they are called so, and rise."""
    if _ITEMS.search(text[max(0, begin - _ITEMS_CHARACTERS) : begin]) is None:
        return False
    items = list(map(int, re.findall(r"\d+", listed)))
    return all(one < other for one, other in itertools.pairwise(items))


@frozen
class _Read:
    """A text as it is meant: with what its escapes for JSON, URLs and HTML stand for, and plain digits for small ones.

    Attributes:
        escapes: where each began and ended, in the text as it is meant and as it was.
        ends: where each ended, in the text as it is meant.
    """

    text: str
    escapes: Sequence[tuple[int, int, int, int]]
    ends: Sequence[int]

    @classmethod
    def of(cls, text: str) -> _Read | None:
        """The text read; None where nothing in it is escaped."""
        parts: list[str] = []
        escapes: list[tuple[int, int, int, int]] = []
        done = length = 0
        for found in _ESCAPED.finditer(text):
            meant = _meant(found)
            if meant is None:
                continue
            parts += (text[done : found.start()], meant)
            length += found.start() - done
            done = found.end()
            escapes.append((length, length + len(meant), found.start(), done))
            length += len(meant)
        if not escapes:
            return None
        return cls("".join((*parts, text[done:])), escapes, [one[1] for one in escapes])

    def place(self, begin: int, end: int) -> tuple[int, int]:
        """Where a part of it stood in the text as it was; of an escape, all is taken."""
        first = bisect.bisect_right(self.ends, begin)
        last = bisect.bisect_left(self.ends, end)
        return self._before(begin, first, at_end=False), self._before(end, last, at_end=True)

    def _before(self, at: int, index: int, *, at_end: bool) -> int:
        if index < len(self.escapes):
            meant_begin, _, begin, end = self.escapes[index]
            if at_end and meant_begin < at:
                return end
            if not at_end and meant_begin <= at:
                return begin
        _, meant_end, _, end = self.escapes[index - 1] if index else (0, 0, 0, 0)
        return at + end - meant_end


def _meant(found: re.Match[str]) -> str | None:
    """What an escape stands for; None if it is none."""
    text = found[0]
    if text.startswith("\\"):
        return _meant_by_backslash(found["code"] or "")
    if text.startswith("%"):
        return unquote(_PERCENT_AGAIN.sub("%", text), errors="replace")
    if text.startswith("&"):
        named = f"&{found['name']};"
        meant = html.unescape(named)
        return None if meant == named else meant
    return str(unicodedata.digit(text))


def _meant_by_backslash(code: str) -> str | None:
    if not code:
        return None
    if len(code) > 1:
        return chr(int(code[1:].strip("{}"), 16) % (sys.maxunicode + 1))
    return " " if code.isalpha() else code


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
    if size is not None or (things is not None and _PARTED.fullmatch(number) is not None):
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
