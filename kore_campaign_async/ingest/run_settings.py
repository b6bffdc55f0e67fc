"""What a journal keeps of how a run was begun, and what is made of it again: files, options, rules, digests."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import BatchLimits, DoNotContact, IngestOptions, OnUncertain, Progress
from kore_campaign_async.errors import RunDirectoryError, SourceError
from kore_campaign_async.ingest.matching import is_number_name
from kore_campaign_async.ingest.normalise import RULES, Numbering, WithPlus, time_zones
from kore_campaign_async.ingest.sources.base import Dialect, Source
from kore_campaign_async.ingest.sources.blocks import in_thread
from kore_campaign_async.ingest.sources.opening import Input
from kore_campaign_async.ingest.sources.scanning import Scan
from kore_campaign_async.ingest.suppressing import function_of

_DIGESTED: Final = 10_000
_SHOWN_FILES: Final = 3

_CHANGED: Final = {
    "source": "the source has changed",
    "columns": "its columns are matched otherwise",
    "suppressed": "the do-not-contact files hold other numbers, or do_not_contact does",
    "rules": "this version of the program, its time zones, or its numbering plans, judge contacts otherwise",
}


def inputs_of_run(directory: Path, settings: Mapping[str, Any], *, verb: str = "resumed") -> tuple[Input, ...]:
    """The files that the run in a directory reads, and how; RunDirectoryError if its source can't be read again.

    Args:
        directory: of the run.
        settings: from its journal.
        verb: what can't be done with the run then.
    """
    inputs = tuple(
        Input(
            _path_of(directory, settings, one["path"]),
            # Journals of earlier versions know no files without a header.
            Dialect(one["encoding"], one["delimiter"], one["sheet"], one.get("no_header", False)),
        )
        for one in settings["source"].get("files") or ()
    )
    if not inputs:
        raise RunDirectoryError(
            f"the contacts came from {settings['source']['name']}, which can't be read again, so the run in"
            f" {directory} can't be {verb}"
        )
    return inputs


def _path_of(directory: Path, settings: Mapping[str, Any], path: str) -> Path:
    """Where a file is; a run that amends another one has its files with it, wherever it is moved."""
    beside = directory / Path(path).name
    return beside if settings.get("origin") is not None and beside.exists() else Path(path)


def with_implied(column_map: Mapping[str, str], source: Source) -> Mapping[str, str]:
    """Which column is which field, with the number's column of a file without a header where nobody said it."""
    return column_map if any(map(is_number_name, column_map.values())) else {**source.implied_map, **column_map}


def refuse_another_account(client: CampaignClient, directory: Path, settings: Mapping[str, Any]) -> None:
    """Raise RunDirectoryError if the run in a directory belongs to another account than the client."""
    if settings["account"] != list(client.account):
        host, app_id, account_id = settings["account"]
        raise RunDirectoryError(
            f"the run in {directory} belongs to another account: {host}, application {app_id}, account {account_id}"
        )


def refuse_other_do_not_contact(directory: Path, settings: Mapping[str, Any], given: DoNotContact | None) -> None:
    """Raise RunDirectoryError if a run in Python was given a kind of `do_not_contact` that is not given now."""
    then, now = settings["options"].get("do_not_contact"), kind_of(given)
    if then != now:
        was_given = f"the run in {directory} was given {then or 'nothing'} as do_not_contact"
        raise RunDirectoryError(
            f"{was_given}, which no journal keeps: give it again, in Python"
            if now is None
            else f"{was_given}, and now {now}: give the same again"
        )


def options_of_run(
    settings: Mapping[str, Any],
    max_contacts: int | None = None,
    concurrency: int | None = None,
    on_uncertain: OnUncertain | None = None,
    grace_seconds: float | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> IngestOptions:
    """The options of the run with these settings, but for what is given anew."""
    stored: Mapping[str, Any] = settings["options"]
    limits = BatchLimits(max_contacts=max_contacts or stored["max_contacts"], max_bytes=stored["max_bytes"])
    return IngestOptions(
        batch=limits,
        concurrency=concurrency or stored["concurrency"],
        on_uncertain=on_uncertain or stored["on_uncertain"],
        list_drops_duplicates=stored["list_drops_duplicates"],
        keep_duplicates=stored["keep_duplicates"],
        isolate=stored.get("isolate", False),
        grace_seconds=stored["grace_seconds"] if grace_seconds is None else grace_seconds,
        # Journals of earlier versions don't have these.
        region=stored.get("region"),
        strict=stored.get("strict", False),
        require_plus=stored.get("require_plus", False),
        suppress_columns=tuple(stored.get("suppress_columns", ())),
        suppress_sheets=tuple(stored.get("suppress_sheets", ())),
        allow_empty_suppress=stored.get("allow_empty_suppress", False),
        suppress=tuple(map(Path, stored["suppress"])),
        column_map=stored["column_map"],
        progress=progress,
    )


def stored_options(options: IngestOptions) -> dict[str, Any]:
    """What `options_of_run` reads; files by their whole path, since a run is resumed from anywhere."""
    return {
        "max_contacts": options.batch.max_contacts,
        "max_bytes": options.batch.max_bytes,
        "concurrency": options.concurrency,
        "on_uncertain": options.on_uncertain,
        "list_drops_duplicates": options.list_drops_duplicates,
        "keep_duplicates": options.keep_duplicates,
        "isolate": options.isolate,
        "grace_seconds": options.grace_seconds,
        "region": options.region,
        "strict": options.strict,
        "require_plus": options.require_plus,
        "suppress_columns": list(options.suppress_columns),
        "suppress_sheets": list(options.suppress_sheets),
        "allow_empty_suppress": options.allow_empty_suppress,
        "suppress": [str(path.absolute()) for path in options.suppress],
        "do_not_contact": kind_of(options.do_not_contact),
        "column_map": dict(options.column_map),
    }


def kind_of(given: DoNotContact | None) -> str | None:
    """What a program's own do-not-contact numbers are given as."""
    if given is None:
        return None
    return "numbers" if function_of(given) is None else "a function"


async def numbering_of(options: IngestOptions) -> Numbering | None:
    """The rules for numbers; None where they are the shape of E.164. SourceError tells what is wrong."""
    if options.region is None and not options.strict:
        return WithPlus(None) if options.require_plus else None

    def made() -> Numbering:
        # Who asks for none of this needs no library for it, and its import takes too long for the event loop.
        from kore_campaign_async.ingest.numbering import NumberingPlans  # noqa: PLC0415

        plans = NumberingPlans(options.region, strict=options.strict)
        return WithPlus(plans) if options.require_plus else plans

    try:
        return await in_thread(made)
    except ImportError:
        asked = "a region" if options.region is not None else "a strict check of numbers"
        raise SourceError(f"{asked} needs the extra phone: pip install 'kore-campaign-async[phone]'") from None


def rules_digest(numbering: Numbering | None) -> str:
    """What the rules are known again by that judge a contact."""
    rules = RULES if numbering is None else f"{RULES} {numbering.name}"
    return digest(f"{rules} {sorted(time_zones())}")


def refuse_changes(
    directory: Path,
    settings: Mapping[str, Any],
    known: Sequence[Scan] | None,
    now: Mapping[str, str | None],
    *,
    verb: str = "resumed",
) -> None:
    """Raise RunDirectoryError if something that decides a contact's state is otherwise now.

    Args:
        directory: of the run.
        settings: from its journal.
        known: what its files are now.
        now: digests of what decides.
        verb: what can't be done with the run then.
    """
    changed = [_CHANGED[name] for name, digest_ in now.items() if settings["decides"][name] != digest_]
    if changed:
        if changed[0] == _CHANGED["source"] and (names := _changed_files(settings["source"]["files"], known or ())):
            changed[0] = f"the source has changed: {names}"
        then = settings["source"]["size"]
        size = None if known is None else size_of(known)
        sizes = f" ({then} bytes then, {size} now)" if size != then else ""
        raise RunDirectoryError(
            f"the run in {directory} can't be {verb}: {'; '.join(changed)}{sizes}; put back what it was begun with"
        )


def _changed_files(files: Sequence[Mapping[str, Any]], known: Sequence[Scan]) -> str:
    """Which files are others now; of journals of earlier versions, only one that stands alone can be named."""
    if len(files) == 1:
        return str(files[0]["path"])
    both = zip(files, known, strict=False)
    found = [str(one["path"]) for one, now in both if one.get("sha256", now.sha256) != now.sha256]
    more = len(found) - _SHOWN_FILES
    return ", ".join(found[:_SHOWN_FILES]) + (f" and {more} more" if more > 0 else "")


def size_of(known: Sequence[Scan]) -> int:
    """Of all files, in bytes."""
    return sum(one.size for one in known)


def source_digest(known: Sequence[Scan] | None) -> str | None:
    """What the files of a source are known again by; None of what is no file."""
    if not known:
        return None
    return known[0].sha256 if len(known) == 1 else digest(" ".join(one.sha256 for one in known))


def digest(text: str) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_numbers(numbers: Iterable[int]) -> str:
    """Of numbers in ascending order, with commas between them, a part at a time: millions would be one long text."""
    found, rest, comma = hashlib.sha256(), iter(numbers), ""
    while part := ",".join(map(str, islice(rest, _DIGESTED))):
        found.update((comma + part).encode())
        comma = ","
    return found.hexdigest()
