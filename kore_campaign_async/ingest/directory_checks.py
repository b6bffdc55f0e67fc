"""Whether a run directory is the one that its run was made in, and still holds all of its journal. Sends nothing.

SQLite keeps the newest commits in `journal.sqlite-wal` beside the journal. Who copies the journal without it has one
that is whole, and knows fewer calls than went out. So the number of the last call is noted in `lock` as well, and so is
in the report what had been sent by then.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import journal as journals
from kore_campaign_async.ingest.directory import JOURNAL, LOCK, identity_of, noted_calls
from kore_campaign_async.ingest.report import IngestReport

#: The setting that says which directory a run was made in.
DIRECTORY: Final = "directory"


def refuse_copy(directory: Path, settings: Mapping[str, Any], *, moved: bool) -> None:
    """Raise RunDirectoryError if a run's directory is another one than it was, unless somebody says that it was moved.

    Args:
        directory: of the run.
        settings: from its journal; those of earlier versions don't tell.
        moved: whether somebody says so.
    """
    then = settings.get(DIRECTORY)
    if then is not None and not moved and then != identity_of(directory):
        raise RunDirectoryError(
            f"{directory} is a copy of the directory that the run was made in, or was moved to another disk: people"
            " would be called twice if both were gone on with; if nobody goes on with the other one, give --moved"
            " (in Python moved=True)"
        )


def refuse_torn(directory: Path, settings: Mapping[str, Any], report: IngestReport | None = None) -> None:
    """Raise RunDirectoryError if the journal in a directory does not know all calls that went out.

    Args:
        directory: of the run, locked.
        settings: from its journal.
        report: what the run is known to have done, by what stands beside its journal.
    """
    known, noted = journals.read_last_attempt(directory), noted_calls(directory)
    if noted is None and settings.get(DIRECTORY) is not None and not _has_log(directory):
        # Who removed the lock of a run that ended by itself has lost nothing.
        if report is not None and not report.unended:
            noted = known
        else:
            raise RunDirectoryError(
                f"{directory} was copied without its files {LOCK} and {journals.LOG}, so that nobody knows whether its"
                " journal knows all calls that went out: copy the whole directory again"
            )
    sent = 0 if report is None else report.calls.sent
    if known < (noted or 0) or journals.read_calls(directory)["sent"] < sent:
        raise RunDirectoryError(
            f"{directory / JOURNAL} knows {known:,} calls, and {max(noted or 0, sent):,} went out, so people"
            f" would be called twice: its log {journals.LOG} is missing, or an older journal took its place; copy the"
            " whole directory again"
        )


def _has_log(directory: Path) -> bool:
    return (directory / journals.LOG).exists()
