"""Whether a run can be gone on with, by whom, and why not: by the settings in its journal. Reads no journal itself."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from kore_campaign_async.ingest.directory import command
from kore_campaign_async.ingest.escaping import escaped


class By(enum.Enum):
    """Who can go on with a run."""

    SHELL = "shell"
    PYTHON = "python"
    NOBODY = "nobody"


@frozen
class Resuming:
    """How a run can be gone on with.

    Attributes:
        by: who can.
        how: the whole command for a shell, or the call in Python; "" where nobody can.
        why: why a shell can't, or why nobody can, as a sentence without its full stop; else "".
        missing: files that it reads and that are not there now.
    """

    by: By
    how: str = ""
    why: str = ""
    missing: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What to do next, to stand behind something else."""
        if self.by is By.NOBODY:
            return f"it can't be resumed: {self.why}"
        first = f"once {', '.join(self.missing)} is back in its place, " if self.missing else ""
        behind = "" if self.by is By.SHELL else f" in Python: {self.why}"
        return f"{first}{self.how} goes on with it{behind}"


def resuming(directory: Path, settings: Mapping[str, Any]) -> Resuming:
    """Tell how the run in a directory can be gone on with.

    Args:
        directory: as it is named by who is told.
        settings: from its journal; empty where that can't be read.
    """
    if not settings:
        return Resuming(By.NOBODY, why="its journal can't be read")
    source: Mapping[str, Any] = settings.get("source") or {}
    paths = _paths(source)
    if not paths:
        return Resuming(By.NOBODY, why=f"its contacts came from {source.get('name')}, which can't be read again")
    missing = tuple(escaped(path) for path in paths if not Path(path).exists())
    given = (settings.get("options") or {}).get("do_not_contact")
    if given is not None:
        how = f"resume_ingest(client, {str(directory)!r}, do_not_contact=…)"
        why = f"no journal keeps what it was given as do_not_contact ({given})"
        return Resuming(By.PYTHON, how, why, missing)
    return Resuming(By.SHELL, command("resume", directory), "", missing)


def _paths(source: Mapping[str, Any]) -> list[str]:
    """The files of a source; those of before format 5 name one at most."""
    files = source.get("files")
    if files is None:
        return [source["path"]] if source.get("path") is not None else []
    return [one["path"] for one in files]
