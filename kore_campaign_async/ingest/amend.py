"""Push the mended rows of a run, by the run's own rules."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve

from kore_campaign_async.callbacks import holding_interrupts
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import DoNotContact, Files, IngestOptions, Progress, path_of
from kore_campaign_async.errors import RunDirectoryError, SourceError
from kore_campaign_async.ingest import journal as journals
from kore_campaign_async.ingest.directory import JOURNAL, LOCK, create
from kore_campaign_async.ingest.directory_checks import refuse_copy
from kore_campaign_async.ingest.family import origin_of
from kore_campaign_async.ingest.report import IngestReport
from kore_campaign_async.ingest.run_settings import (
    options_of_run,
    refuse_another_account,
    refuse_other_do_not_contact,
)
from kore_campaign_async.ingest.start import Start

_REJECTED: Final = "rejected.csv"
_UNCERTAIN: Final = "uncertain.csv"
# How many percent may be rejected: rows that are not mended yet are rejected again, and the others go out.
_ALL: Final = 100.0


async def amend_ingest(
    client: CampaignClient,
    run_dir: str | Path,
    files: Sequence[str | Path] | None = None,
    *,
    new_run_dir: str | Path | None = None,
    max_contacts: int | None = None,
    concurrency: int | None = None,
    grace_seconds: float | None = None,
    suppress: Sequence[str | Path] = (),
    do_not_contact: DoNotContact | None = None,
    moved: bool = False,
    progress: Callable[[Progress], None] | None = None,
) -> IngestReport:
    """Push the mended rows of a finished run into its list, and account for them in a run of their own.

    List, region, strictness, columns, do-not-contact files (read anew) and duplicate rules are those of the run. A
    number that the run, or any other of its family of amended runs, has sent or may have sent is left out as a
    duplicate with the reason `sent_before`. That is found out from sources and journals; no number is stored.

    Args:
        client: of the same account.
        run_dir: of the run.
        files: the mended ones; `rejected.csv` of the run without any. `refused.csv` is named to be sent again, and so
            is `uncertain.csv`, whose contacts may then be called twice on a list that keeps duplicates: take those who
            are in the list out of it before.
        new_run_dir: of the new run, which names its origin and can be resumed and amended itself; by itself
            `<run_dir>-amend-<n>`.
        max_contacts: in one call.
        concurrency: how many calls are in flight at most.
        grace_seconds: as in `IngestOptions`.
        suppress: further do-not-contact files.
        do_not_contact: what the run was given as such, which no journal keeps.
        moved: as in `resume_ingest`.
        progress: as in `IngestOptions`.

    Raises:
        RunDirectoryError: there is no run; it, or one of its family, is not finished, has changed, or is not there any
            more; it belongs to another account. Nothing was sent.
        SourceError, ContactListError, CallError, CredentialsError: as in `ingest_contacts`. Nothing was sent.
    """
    return await amend(
        client,
        path_of(run_dir),
        None if files is None else tuple(map(path_of, files)),
        new_run_dir=None if new_run_dir is None else path_of(new_run_dir),
        options=lambda settings: evolve(
            options_of_run(settings, max_contacts, concurrency, None, grace_seconds, progress),
            do_not_contact=do_not_contact,
        ),
        suppress=tuple(map(Path, suppress)),
        moved=moved,
    )


async def amend(
    client: CampaignClient,
    directory: Path,
    files: Sequence[Path] | None,
    *,
    new_run_dir: Path | None,
    options: Callable[[Mapping[str, object]], IngestOptions],
    suppress: Sequence[Path] = (),
    moved: bool = False,
    shell: Mapping[str, str | None] | None = None,
) -> IngestReport:
    """Do as `amend_ingest` does; not part of the public API.

    Args:
        client: as there, and so are the three behind it.
        directory: of the run.
        files: the mended ones.
        new_run_dir: of the new run.
        options: makes the new run's options of the journal's settings.
        suppress: further do-not-contact files.
        moved: as in `amend_ingest`.
        shell: as in `push_contacts`.
    """
    settings = await asyncio.to_thread(journals.read_settings, directory)
    refuse_copy(directory, settings, moved=moved)
    refuse_another_account(client, directory, settings)
    chosen = options(settings)
    refuse_other_do_not_contact(directory, settings, chosen.do_not_contact)
    chosen = evolve(chosen, suppress=(*chosen.suppress, *suppress), max_rejected=_ALL)
    named = tuple(files) if files is not None else (directory / _REJECTED,)
    await asyncio.to_thread(_refuse_missing, named)
    origin = await origin_of(directory, with_uncertain=await asyncio.to_thread(_is_uncertain, named, directory))
    try:
        new = new_run_dir if new_run_dir is not None else await asyncio.to_thread(new_directory, directory)
        copies = await asyncio.to_thread(partial(_copied, named, new))
        chosen = evolve(chosen, column_map=origin.column_map)
        start = Start(client, Files(copies), settings["contact_list"], chosen, new, None, shell)
        start.origin, start.own = origin, tuple(copy.name for copy in copies)
        try:
            with holding_interrupts():
                return await start.push()
        except SourceError as error:
            raise SourceError(_in_words_of(str(error), dict(zip(map(str, copies), named, strict=True)))) from None
        finally:
            await asyncio.to_thread(_take_back, copies, new)
    finally:
        origin.release()


def _in_words_of(said: str, named: Mapping[str, Path]) -> str:
    """What is wrong with a copy, said of the file that a person knows; its flags are those of a push."""
    for copy, path in named.items():
        said = said.replace(copy, str(path))
    if "--no-header" in said:
        file = ", ".join(map(str, named.values()))
        return f"{file}: its first line is a contact; put the header back that the run wrote there (row,reason,…)"
    return said.replace("or say which with --map", "as the run had them, or say which with --map").partition(
        "; say which it is with --map"
    )[0]


def _refuse_missing(files: Sequence[Path]) -> None:
    for path in files:
        if not path.is_file():
            why = "is a directory" if path.is_dir() else "is not there"
            raise SourceError(f"{path} {why}: name the file with the mended rows")


def _is_uncertain(files: Sequence[Path], directory: Path) -> bool:
    """Whether the run's own file of uncertain contacts is to be sent again, also as another program has saved it.

    Raises:
        SourceError: it is named together with others, whose numbers must not be sent if they are uncertain.
    """
    stem = Path(_UNCERTAIN).stem
    found = [path for path in files if path.stem == stem and path.parent.absolute() == directory.absolute()]
    if found and len(files) > 1:
        raise SourceError(
            f"{found[0]} is amended by itself: name it alone, and the other files in an amend of their own"
        )
    return bool(found)


def new_directory(directory: Path) -> Path:
    """A directory beside the run's that is not there yet."""
    whole = Path(os.path.normpath(directory.absolute()))
    number = 1
    while os.path.lexists(whole.with_name(f"{whole.name}-amend-{number}")):
        number += 1
    found = whole.with_name(f"{whole.name}-amend-{number}")
    return found if directory.is_absolute() else Path(os.path.relpath(found))


def _copied(files: Sequence[Path], directory: Path) -> tuple[Path, ...]:
    """Put the files into the new run's directory: its rows must stay what they are when somebody mends more of them.

    Raises:
        RunDirectoryError: the directory is there already, or can't be made.
    """
    copies: list[Path] = []
    try:
        directory.mkdir(mode=0o700, parents=True)
        for number, path in enumerate(files, 1):
            copy = directory / f"amended-{number}{''.join(path.suffixes[-2:])}"
            copies.append(copy)
            with path.open("rb") as reading, os.fdopen(create(copy), "wb") as writing:
                shutil.copyfileobj(reading, writing)
                writing.flush()
                os.fsync(writing.fileno())
    except FileExistsError:
        raise RunDirectoryError(f"{directory} is there already; name a new directory for the amended run") from None
    except OSError as error:
        _take_back(copies, directory)
        raise RunDirectoryError(f"{directory} can't be used: {error.strerror}; name another directory") from None
    return tuple(copies)


def _take_back(copies: Sequence[Path], directory: Path) -> None:
    """Take the copies away where no run has begun that reads them."""
    if (directory / JOURNAL).exists():
        return
    for left in (*copies, directory / LOCK):
        left.unlink(missing_ok=True)
    if not any(directory.iterdir()):
        directory.rmdir()
