"""What shows that a journal is damaged: it must not be gone on with then, since nobody knows whom the run called.

Knows SQLite's files and what is in a journal's settings and attempts; opens none itself.

SQLite finds most of it, on request. Its log is another matter: what stands behind the first frame that is not whole is
passed over without a word, as is right after a power failure, and with it would go calls that went out. So the log is
looked through first. Settings have a digest, and attempts a checksum of what they are about.
"""

from __future__ import annotations

import codecs
import datetime as dt
import hashlib
import math
import sqlite3
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kore_campaign_async.config import IngestOptions
from kore_campaign_async.errors import CallOutcome, RunDirectoryError
from kore_campaign_async.ingest.records import State

#: The setting by which the others are known again that a run is begun with: their names, and a digest of all of them.
DIGEST: Final = "digest"

# The log's format: sqlite.org/fileformat.html, "The Write-Ahead Log".
_WAL_MAGIC: Final = 0x377F0682
_WAL_HEADER: Final = struct.Struct(">8I")
_FRAME_HEADER: Final = struct.Struct(">6I")
_WORD: Final = 0xFFFFFFFF
# A run of that many calls at once would be none; what is larger was not told to any run.
_MOST_AT_ONCE: Final = 100_000


def damaged(path: Path, what: str) -> RunDirectoryError:
    """What is told of a damaged journal."""
    return RunDirectoryError(
        f"{path} can't be read: {what}. It is damaged, so nobody can tell whom the run called: put the run directory"
        " back from a copy, or push those anew who are not in the list"
    )


def refuse_damaged_log(path: Path) -> None:
    """Raise RunDirectoryError if a journal's log holds a frame that SQLite would pass over and that may be a call's.

    Args:
        path: of the journal, which nobody has open: SQLite takes the log away when it is opened and closed.
    """
    log = path.with_name(f"{path.name}-wal")
    try:
        data = log.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunDirectoryError(f"{log} can't be read: {error.strerror}") from None
    if data and not _is_whole(data):
        raise damaged(log, "a part of it is not as it was written")


def _is_whole(data: bytes) -> bool:
    if len(data) < _WAL_HEADER.size:
        return True  # it was just begun
    magic, _, size, restarts, *salts, first, second = _WAL_HEADER.unpack_from(data)
    if magic & ~1 != _WAL_MAGIC or not 512 <= size <= 65536:  # noqa: PLR2004  pages of SQLite
        return False
    words = struct.Struct(f"{'>' if magic & 1 else '<'}{(8 + size) // 4}I")
    header = struct.Struct(f"{words.format[0]}6I")
    seed = _checksum(header.unpack_from(data), (0, 0))
    if seed != (first, second):
        return False
    is_valid = True
    # A process that is killed can leave the last frame half written; how many calls went out stands elsewhere too.
    torn_at_the_end = False
    for at in range(_WAL_HEADER.size, len(data) - _FRAME_HEADER.size - size + 1, _FRAME_HEADER.size + size):
        _, _, *own, first, second = _FRAME_HEADER.unpack_from(data, at)
        if is_valid and own == salts:
            page = data[at : at + 8] + data[at + _FRAME_HEADER.size : at + _FRAME_HEADER.size + size]
            seed = _checksum(words.unpack(page), seed)
            is_valid = seed == (first, second)
        else:
            is_valid = False
        # What stands behind the end of a log that was begun anew has other salts, both of them.
        if not is_valid and (not restarts or own[0] == salts[0] or own[1] == salts[1]):
            if torn_at_the_end:
                return False
            torn_at_the_end = True
    return True


def _checksum(words: Sequence[int], seed: tuple[int, int]) -> tuple[int, int]:
    first, second = seed
    for index in range(0, len(words), 2):
        first = (first + words[index] + second) & _WORD
        second = (second + words[index + 1] + first) & _WORD
    return first, second


def attempt_checksum(number: int, batch: int, first_row: int, last_row: int, contacts: int, attempt: int) -> int:
    """Of what an attempt is about; what came of it is told by words that a flipped bit makes none of."""
    return zlib.crc32(f"{number},{batch},{first_row},{last_row},{contacts},{attempt}".encode())


def settings_digest(settings: Mapping[str, str], version: int) -> str:
    """Of settings as they are spelt in the journal of a format's version."""
    found = hashlib.sha256(str(version).encode())
    for name in sorted(settings):
        found.update(f"\0{name}\0{settings[name]}".encode())
    return found.hexdigest()


def refuse_damaged(path: Path, connection: sqlite3.Connection) -> None:
    """Raise RunDirectoryError if a journal is not as it was written, as far as anything in it tells.

    It reads all of the journal, so that it takes its time.
    """
    ((said,), *_) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if said != "ok":
        raise damaged(path, str(said).splitlines()[-1])
    ((version,),) = connection.execute("PRAGMA user_version").fetchall()
    if version < 1:
        raise damaged(path, f"it has format {version}")
    spelt = dict(connection.execute("SELECT name, value FROM setting").fetchall())
    if (kept := spelt.pop(DIGEST, None)) is not None:
        names, sha256 = _digest_of(path, kept)
        found = {name: value for name, value in spelt.items() if name in names}
        if settings_digest(found, version) != sha256:
            raise damaged(path, "its settings are not those that the run was begun with")
    _refuse_damaged_attempts(path, connection)


def _digest_of(path: Path, kept: str) -> tuple[Sequence[str], str]:
    names, _, sha256 = kept.strip('"').rpartition(" ")
    if not names:
        raise damaged(path, "its digest is none")
    return names.split(" "), sha256


def digested(kept: str) -> Sequence[str]:
    """The names of the settings that a digest is of."""
    return kept.strip('"').split(" ")[:-1]


def digest_setting(settings: Mapping[str, str], version: int) -> str:
    """The value of the setting `digest`, as JSON."""
    return f'"{" ".join(sorted(settings))} {settings_digest(settings, version)}"'


_CHECKED: Final = (
    "SELECT id, batch, first_row, last_row, contacts, attempt, outcome, state, checksum FROM attempt ORDER BY id"
)


def _refuse_damaged_attempts(path: Path, connection: sqlite3.Connection) -> None:
    # Attempts of older versions have none.
    has_checksum = any(name == "checksum" for _, name, *_ in connection.execute("PRAGMA table_info(attempt)"))
    query = _CHECKED if has_checksum else _CHECKED.replace("checksum", "NULL")
    outcomes, states = {None, *CallOutcome.__members__}, {None, *(state.value for state in State)}
    for expected, (*about, outcome, state, checksum) in enumerate(connection.execute(query), 1):
        number, batch, first_row, last_row, contacts, attempt = about
        if (
            number != expected
            or not all(type(value) is int and value >= 1 for value in (batch, first_row, contacts, attempt))
            or type(last_row) is not int
            or last_row - first_row + 1 < contacts
            or outcome not in outcomes
            or state not in states
            or (checksum is not None and checksum != attempt_checksum(*about))
        ):
            raise damaged(path, f"attempt {expected} is not as it was written")


# Settings


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _whole(value: Any) -> bool:
    return type(value) is int and value >= 1


def _seconds(value: Any) -> bool:
    return type(value) in {int, float} and 0 <= value < math.inf


def _made_by(convert: Callable[[Any], object]) -> Callable[[Any], bool]:
    """Tells of a value whether something takes it."""

    def is_taken(value: Any) -> bool:
        try:
            convert(value)
        except (ArithmeticError, LookupError, TypeError, ValueError):
            return False
        return isinstance(value, str)

    return is_taken


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _texts_by_text(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_text, value.values()))


_PLACE: Final = {"run_dir": _text, "relative": _text, "run_id": _text}

# An object by its keys, a list by its items, a value by what tells whether it is one. Versions since the first have
# added the keys with a question mark.
_SHAPE: Final[Mapping[str, Any]] = {
    "run_id": _text,
    "contact_list": _text,
    "started_at": _made_by(lambda value: dt.datetime.fromisoformat(value).astimezone(dt.UTC)),
    "account": lambda value: isinstance(value, list) and len(value) == 3 and all(map(_text, value)),  # noqa: PLR2004  host, app, account
    "client": {
        "rate": [_text],
        "timeout": lambda value: _seconds(value) and value > 0,
        "shared_rate?": _or_none(_text),
    },
    "source": {
        "name": _text,
        "path": _or_none(_text),
        "size": _or_none(_count),
        "files?": [
            {
                "path": _text,
                "encoding": _or_none(_made_by(codecs.lookup)),
                "delimiter": _or_none(lambda value: _text(value) and len(value) == 1),
                "sheet": _or_none(_text),
                "no_header?": _flag,
            }
        ],
    },
    "options": {
        "max_contacts": _whole,
        "max_bytes": _whole,
        "concurrency": lambda value: _whole(value) and value <= _MOST_AT_ONCE,
        "on_uncertain": lambda value: value in ("auto", "hold", "resend"),
        "list_drops_duplicates": _flag,
        "keep_duplicates": _flag,
        "isolate?": _flag,
        "grace_seconds": _seconds,
        "region?": _or_none(_made_by(lambda value: IngestOptions(region=value))),
        "strict?": _flag,
        "require_plus?": _flag,
        "suppress_columns?": [_text],
        "suppress_sheets?": [_text],
        "allow_empty_suppress?": _flag,
        "suppress": [_text],
        "do_not_contact?": _or_none(_text),
        "column_map": _texts_by_text,
    },
    "decides": {"source": _or_none(_text), "columns": _text, "suppressed": _text, "rules": _text},
    "shell?": lambda value: value is None or (isinstance(value, dict) and all(map(_or_none(_text), value.values()))),
    "origin?": {**_PLACE, "with_uncertain": _flag},
    "amended_by?": [_PLACE],
}


def wrong_setting(settings: Mapping[str, Any]) -> str | None:
    """Where the settings of a journal are none that a run was ever given, such as `source.files`; None if nowhere."""
    return _wrong(settings, _SHAPE, "")


def _wrong(value: Any, shape: Any, where: str) -> str | None:
    if callable(shape):
        return None if shape(value) else where
    if not isinstance(value, list if isinstance(shape, list) else Mapping):
        return where
    if isinstance(shape, list):
        return next((found for one in value if (found := _wrong(one, shape[0], where)) is not None), None)
    for named, inner in shape.items():
        name = named.removesuffix("?")
        place = f"{where}.{name}" if where else name
        if name not in value:
            if name == named:
                return place
        elif (value[name] is not None or name != "origin") and (found := _wrong(value[name], inner, place)) is not None:
            return found
    return None
