"""Runs that amend each other, and the numbers that they have sent: read from source and journal, never stored.

A run that is amended is the parent; all of a family go back to one run. Whoever one of them called, or may have called,
is left out by the next.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from kore_campaign_async.errors import RunDirectoryError
from kore_campaign_async.ingest import journal as journals
from kore_campaign_async.ingest.directory import JOURNAL, RunLock, command, is_at_work
from kore_campaign_async.ingest.directory_checks import refuse_torn
from kore_campaign_async.ingest.files import read_report, refuse_another_run
from kore_campaign_async.ingest.matching import match
from kore_campaign_async.ingest.normalise import Normaliser
from kore_campaign_async.ingest.phone_text import same_line
from kore_campaign_async.ingest.records import Slice, State, TableSlice
from kore_campaign_async.ingest.resume_ranges import Known, range_of
from kore_campaign_async.ingest.run_settings import (
    inputs_of_run,
    numbering_of,
    options_of_run,
    refuse_changes,
    rules_digest,
    source_digest,
    with_implied,
)
from kore_campaign_async.ingest.screening import Barred, NumbersSeen
from kore_campaign_async.ingest.sources.opening import open_source
from kore_campaign_async.ingest.sources.scanning import Scans


@frozen
class Member:
    """One run of a family."""

    directory: Path
    settings: Mapping[str, Any] = field(repr=False)

    @property
    def run_id(self) -> str:
        """Its name."""
        name: str = self.settings["run_id"]
        return name


@define
class Origin:
    """The run that another one amends, and what all of its family have done.

    Attributes:
        parent: the run whose rows are mended.
        with_uncertain: whether the parent's uncertain contacts are to be sent again, since somebody said so.
        sent_before: by the name of each run, the numbers that it sent or may have sent.
        barred: numbers that a function barred in one of them.
        column_map: which of the parent's columns was which field.
        columns: the parent's columns.
    """

    parent: Member
    with_uncertain: bool
    sent_before: Mapping[str, AbstractSet[int]] = field(repr=False)
    barred: Sequence[int] = field(repr=False)
    column_map: Mapping[str, str]
    columns: Sequence[str]
    _locks: Sequence[RunLock] = field(default=(), repr=False)

    def to_setting(self, directory: Path) -> dict[str, Any]:
        """What the journal of the run in a directory keeps of it."""
        return {**_place(directory, self.parent.directory, self.parent.run_id), "with_uncertain": self.with_uncertain}

    def note(self, directory: Path) -> None:
        """Note in the parent's journal that the run in a directory amends it, and let other processes at it again."""
        run_id = journals.read_settings(directory)["run_id"]
        journals.add_amended_by(self.parent.directory, _place(self.parent.directory, directory, run_id))
        self.release()

    def release(self) -> None:
        """Let other processes at the family again."""
        for lock in self._locks:
            lock.release()
        self._locks = ()


def _place(base: Path, directory: Path, run_id: str) -> dict[str, str]:
    """Where a run is found again, also where it is moved together with the one that names it."""
    whole = directory.absolute()
    return {"run_dir": str(whole), "relative": os.path.relpath(whole, base.absolute()), "run_id": run_id}


async def origin_of(directory: Path, *, with_uncertain: bool, apart_from: str | None = None) -> Origin:
    """Look at the family of the run in a directory, and keep other processes from it until `Origin.note`.

    Args:
        directory: of the run that is amended.
        with_uncertain: as in `Origin`.
        apart_from: the name of the run that amends it, where that is resumed.

    Raises:
        RunDirectoryError: one of them is missing, still going, or stopped before its end, or it can't be told any more
            whom it called.
    """
    locks: list[RunLock] = []
    try:
        parent = await asyncio.to_thread(_member, directory)
        root = await asyncio.to_thread(_root, parent)
        ours = {root.run_id: root, parent.run_id: parent}
        locks.extend(RunLock(one.directory) for one in ours.values())
        members = await asyncio.to_thread(lambda: list(_all(root)))
        sent_before: dict[str, AbstractSet[int]] = {}
        of_parent = await _sent_by(parent) if with_uncertain else None
        lifted: AbstractSet[int] = Barred(() if of_parent is None else of_parent.uncertain)
        barred = array("Q")
        column_map: Mapping[str, str] = {}
        columns: Sequence[str] = ()
        for member in members:
            if member.run_id == apart_from:
                continue
            await asyncio.to_thread(_refuse_unless_finished, member, is_ours=member.run_id in ours)
            if member.run_id != parent.run_id:
                sent = await _sent_by(member)
            else:
                # It is a whole source that is read: once, also where its uncertain contacts were asked for before.
                sent = of_parent if of_parent is not None else await _sent_by(parent)
                column_map, columns = sent.column_map, sent.columns
            sent_before[member.run_id] = await asyncio.to_thread(_lines_of, sent, lifted)
            barred.extend(sent.barred)
    except BaseException:
        for lock in locks:
            lock.release()
        raise
    return Origin(parent, with_uncertain, sent_before, barred, column_map, columns, locks)


async def origin_of_run(directory: Path, settings: Mapping[str, Any]) -> Origin | None:
    """The origin of a run that is resumed; None of one that amends no other."""
    origin = settings.get("origin")
    if origin is None:
        return None
    parent = await asyncio.to_thread(_found, directory, origin, "amends")
    found = await origin_of(parent.directory, with_uncertain=origin["with_uncertain"], apart_from=settings["run_id"])
    # It may have been killed before it was noted.
    await asyncio.to_thread(found.note, directory)
    return found


def _member(directory: Path) -> Member:
    return Member(directory, journals.read_settings(directory))


def _found(base: Path, place: Mapping[str, str], verb: str) -> Member:
    """The run that another one names. RunDirectoryError if it is not there."""
    for directory in (Path(os.path.normpath(base / place["relative"])), Path(place["run_dir"])):
        if (directory / JOURNAL).exists():
            member = _member(directory)
            if member.run_id == place["run_id"]:
                return member
    whom = "the run that it amends" if verb == "amends" else "a run that amends it"
    raise RunDirectoryError(
        f"{whom}, {place['run_id']}, is not in {place['run_dir']} any more, so nobody can tell whom it called; put it"
        f" back, and amend {base} then"
    )


def _root(member: Member) -> Member:
    while (origin := member.settings.get("origin")) is not None:
        member = _found(member.directory, origin, "amends")
    return member


def _all(root: Member) -> Iterator[Member]:
    """A run, and all that amend it: those that it names, and those beside it that name it, unknown to a copy."""
    yield root
    named = {place["run_id"]: place for place in root.settings.get(journals.AMENDED_BY, ())}
    for member in (_found(root.directory, place, "is amended by") for place in named.values()):
        yield from _all(member)
    for member in _beside(root):
        if member.run_id not in named:
            yield from _all(member)


def _beside(parent: Member) -> Iterator[Member]:
    """Runs in directories beside a run's own that name it as the one that they amend."""
    whole = parent.directory.absolute()
    for directory in sorted(whole.parent.glob("*/")):
        if directory != whole and (directory / JOURNAL).is_file():
            try:
                member = _member(directory)
            except RunDirectoryError:
                continue  # whatever it is, it is no run that could be read
            if (member.settings.get("origin") or {}).get("run_id") == parent.run_id:
                yield member


def _refuse_unless_finished(member: Member, *, is_ours: bool) -> None:
    if not is_ours and is_at_work(member.directory):
        raise RunDirectoryError(f"the run in {member.directory} is still going; wait for its end")
    if read_report(member.directory).state != "finished":
        raise RunDirectoryError(
            f"the run in {member.directory} is not finished, so it may still send what is mended here:"
            f" first run {command('resume', member.directory)}"
        )


def _refuse_torn(member: Member) -> None:
    refuse_torn(member.directory, member.settings, read_report(member.directory))


@define
class _Sent:
    """Numbers of a run's contacts, as integers, by what became of them, and which of its columns was which field."""

    column_map: Mapping[str, str]
    columns: Sequence[str]
    accepted: array[int] = field(factory=lambda: array("Q"))
    uncertain: array[int] = field(factory=lambda: array("Q"))
    barred: array[int] = field(factory=lambda: array("Q"))

    def add(self, keys: Iterable[int], rows: Sequence[int], known: Sequence[Known]) -> None:
        """Add what the journal knows of rows."""
        for key, row in zip(keys, rows, strict=True):
            one = range_of(known, row)
            if one is None:
                continue
            if one.state is State.ACCEPTED:
                self.accepted.append(key)
            elif one.in_doubt:
                self.uncertain.append(key)
            elif one.state is State.SUPPRESSED:
                self.barred.append(key)


async def _sent_by(member: Member) -> _Sent:
    """Read a run's source again, and find what its calls held. RunDirectoryError if that has changed."""
    await asyncio.to_thread(journals.verify, member.directory)
    await asyncio.to_thread(refuse_another_run, member.directory, member.settings)
    await asyncio.to_thread(_refuse_torn, member)
    inputs = inputs_of_run(member.directory, member.settings, verb="amended")
    options = options_of_run(member.settings)
    numbering = await numbering_of(options)
    scans = Scans([(one.held, one.dialect.encoding) for one in inputs if one.held is not None])
    try:
        scanned = await scans.all()
        now = {"source": source_digest(scanned), "rules": rules_digest(numbering)}
        refuse_changes(member.directory, member.settings, scanned, now, verb="amended")
        source = await open_source(inputs, scans.guesses(), column_map=options.column_map)
        try:
            column_map = with_implied(options.column_map, source)
            table = None if source.header is None else match(source.header, column_map)
            # How large a contact may be makes no difference to its number.
            normaliser = Normaliser(table, column_map, options.batch.max_bytes, numbering)
            seen = None if options.keep_duplicates else NumbersSeen()
            known = await asyncio.to_thread(partial(journals.read_known, member.directory, is_finished=True))
            sent = _Sent(column_map, source.columns)

            def take(part: Slice | TableSlice) -> None:
                found = normaliser.sort(part if isinstance(part, Slice) else _as_slice(part))
                first = found.rows if seen is None else seen.first_rows(found.keys, found.rows)
                new = [index for index, row in enumerate(found.rows) if first[index] == row]
                sent.add((found.keys[index] for index in new), [found.rows[index] for index in new], known)

            async with aclosing(source.slices()) as slices:
                async for part in slices:
                    await asyncio.to_thread(take, part)
        finally:
            source.close()
    finally:
        scans.cancel()
    return sent


def _lines_of(sent: _Sent, lifted: AbstractSet[int]) -> Barred:
    """The numbers that a run sent or may have sent, however else they are dialled, but for those that are lifted."""
    keys = chain(sent.accepted, (key for key in sent.uncertain if key not in lifted))
    return Barred(int(number) for key in keys for number in same_line(str(key)))


def _as_slice(part: TableSlice) -> Slice:
    return Slice(part.first, list(map(part.record_of, part.frame.iter_rows())), suspect=True)
