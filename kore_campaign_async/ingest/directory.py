"""A run directory: what may be one, who works in it, and how its files are put in place. Knows no contact.

A run directory is new, empty, or a run's, which holds a journal. Nothing is ever written into another one.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
from collections.abc import Collection
from pathlib import Path
from typing import Final

from kore_campaign_async.errors import RunDirectoryError

JOURNAL: Final = "journal.sqlite"
REPORT: Final = "report.json"
REASONS: Final = "reasons.json"
LOCK: Final = "lock"
#: What a file is named until it is whole and takes the place of the one before.
PART: Final = ".part"

# What a start leaves that was killed before its journal was there. The lock holds nothing, or that no call went out.
_BEGUN: Final = {LOCK, *(f"{JOURNAL}{PART}{side}" for side in ("", "-journal", "-wal", "-shm"))}
# Of a database, its log and its rollback journal, and the format's version in the log's index, in both byte orders
# (sqlite.org/fileformat.html, sqlite.org/walformat.html).
_MAGIC: Final = (
    b"SQLite format 3\0",
    bytes(8),  # a rollback journal that is not yet synchronised
    *(b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
    b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7",
    *((3007000).to_bytes(4, order) for order in ("big", "little")),
)
_SHOWN_FILES: Final = 3
# Twenty digits and a line end.
_COUNT_BYTES: Final = 21


def command(verb: str, directory: Path) -> str:
    """The whole command that does something with the run in a directory, as it can be copied into a shell."""
    word = str(directory)
    return f"kore-campaign {verb} {shell_word(f'./{word}' if word.startswith('-') else word)}"


def amend_command(directory: Path, file: str | None = None) -> str:
    """The whole command that pushes the mended rows of the run in a directory; of `rejected.csv` without a file."""
    named = "" if file is None else f" {shell_word(str(directory / file))}"
    return command("amend", directory) + named


def shell_word(text: str) -> str:
    """A word for a shell, on one line; what can't be printed is written as bash, zsh and ksh read it."""
    if text.isprintable():
        return shlex.quote(text)
    return "$'" + "".join(map(_shell_character, text)) + "'"


def _shell_character(character: str) -> str:
    if character in "'\\":
        return f"\\{character}"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def refuse_unless_new(directory: Path, own: Collection[str] = ()) -> None:
    """Raise RunDirectoryError unless a new run can have this directory; nothing is written, whatever is there.

    Args:
        directory: may be missing.
        own: names of files that this very run has put there.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(directory) if entry.name not in own and not _is_left(entry))
    except FileNotFoundError:
        return
    except OSError as error:
        raise unusable(directory, error) from None
    if JOURNAL in names:
        raise RunDirectoryError(
            f"{directory} holds a run already: {command('resume', directory)} goes on with it,"
            f" {command('report', directory)} shows it; or name another directory"
        )
    if names:
        more = len(names) - _SHOWN_FILES
        shown = ", ".join(map(repr, names[:_SHOWN_FILES])) + (f" and {more:,} more" if more > 0 else "")
        raise RunDirectoryError(
            f"{directory} holds what is no run's: {shown}. A run directory must be new or empty: name another one, such"
            f" as {_new_below(directory)}"
        )


def _is_left(entry: os.DirEntry[str]) -> bool:
    if entry.name not in _BEGUN or not entry.is_file(follow_symlinks=False):
        return False
    if not entry.stat(follow_symlinks=False).st_size:
        return True
    return noted_calls(Path(entry.path).parent) == 0 if entry.name == LOCK else _begins_as_sqlite(entry)


def _begins_as_sqlite(entry: os.DirEntry[str]) -> bool:
    """Whether a file begins as SQLite's own: a database, its log or its rollback journal. Somebody else's does not."""
    with open(entry.path, "rb") as file:  # noqa: PTH123  an entry of a directory
        return file.read(16).startswith(_MAGIC)


def _new_below(directory: Path) -> Path:
    number = 1
    while os.path.lexists(directory / f"run-{number}"):
        number += 1
    return directory / f"run-{number}"


class RunLock:
    """Keeps other processes out of a run directory.

    Args:
        directory: of the run.
        new: whether a new run is to have it: it is made if it is missing, and must be empty if it is there.
        own: names of files that the new run has put there already.

    Raises:
        RunDirectoryError: another process is working in it, or it can't be had, made or written.
    """

    def __init__(self, directory: Path, *, new: bool = False, own: Collection[str] = ()) -> None:
        self._descriptor = -1
        if new:
            refuse_unless_new(directory, own)
        try:
            if new:
                directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release()
            raise RunDirectoryError(f"another process is working in {directory}; wait for its end") from None
        except OSError as error:
            self.release()
            raise unusable(directory, error) from None
        if new:
            try:
                refuse_unless_new(directory, own)  # nobody else can put a run there any more
            except RunDirectoryError:
                self.release()
                raise

    def release(self) -> None:
        """Let other processes in."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class CallCount:
    """Notes in a run's lock the number of its last call, which its journal must know too. It blocks.

    Args:
        directory: of the run.
    """

    def __init__(self, directory: Path) -> None:
        self._descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)

    def note(self, number: int) -> None:
        """Note it; OSError if it can't be written.

        It need not be on the disk: whoever cuts the power leaves the journal's log where it is.
        """
        os.pwrite(self._descriptor, b"%020d\n" % number, 0)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def noted_calls(directory: Path) -> int | None:
    """The number of a run's last call; None where its lock tells none."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        text = os.read(descriptor, _COUNT_BYTES)
    finally:
        os.close(descriptor)
    return int(text) if len(text) == _COUNT_BYTES and text[:-1].isdigit() else None


def identity_of(directory: Path) -> dict[str, int]:
    """What a directory is known again by, whatever its name: a copy is another one."""
    about = directory.stat()
    return {"device": about.st_dev, "inode": about.st_ino}


def is_at_work(directory: Path) -> bool:
    """Whether a process works on the run in a directory: it holds the lock."""
    try:
        descriptor = os.open(directory / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        # Shared, and let go at once, so that other looks at it don't meet.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def unusable(directory: Path, error: OSError) -> RunDirectoryError:
    """What is told where a file of a run directory can't be made."""
    name = Path(error.filename).name if error.filename else str(directory)
    return RunDirectoryError(f"the run directory {directory} can't be used: {name}: {error.strerror}; name another one")


def create(path: Path) -> int:
    """Make a file that is not there, for its owner alone, and open it for writing. OSError if it can't be made."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def replace(path: Path, data: bytes) -> None:
    """Put a file in the place of another, whole and durably. OSError if that fails; then the other one stays.

    A symbolic link in its place is replaced itself; what it leads to stays as it is.
    """
    part = path.with_name(path.name + PART)
    part.unlink(missing_ok=True)
    try:
        with os.fdopen(create(part), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
