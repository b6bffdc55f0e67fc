"""A look at a run as a page: one HTML file that needs no network and runs no script.

What is in it comes from other people's files and a server: the template escapes all of it, `legible` bounds it, and
the page's own policy lets nothing be fetched or run.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kore_campaign_async.cli import saying, telling
from kore_campaign_async.cli.look import Look
from kore_campaign_async.cli.plots import plots
from kore_campaign_async.cli.sanitize import legible
from kore_campaign_async.cli.telling import WORDS, lasting
from kore_campaign_async.config import RateLimit
from kore_campaign_async.redaction import HIDDEN, shown_url

_TEMPLATE: Final = "page.html"
_BEGINS: Final = b"<!doctype html>"
# What a page of ours has in its head; those of before the first mark have the second.
_OURS: Final = (
    b'<meta name="generator" content="kore-campaign-async">',
    b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'",
)
_HEAD_BYTES: Final = 1024

_SECRET: Final = ("secret", "token", "password", "credential")
_SETTINGS: Final = {
    "path": "file",
    "size": "bytes",
    "rate": "limit",
    "shared_rate": "limit shared at",
    "timeout": "seconds for an attempt",
    "max_contacts": "contacts in a call",
    "max_bytes": "bytes in a call",
    "concurrency": "calls in flight at most",
    "grace_seconds": "seconds of grace",
    "suppress": "do-not-contact files",
    "column_map": "columns named as fields",
}
_SHOWN_ITEMS: Final = 20


@frozen
class _State:
    name: str
    count: int
    meaning: str
    file: str


def draw_page(look: Look) -> str:
    """The page of a run."""
    report, timeline = look.report, look.timeline
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        loader=FileSystemLoader(Path(__file__).parent),
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "words": lambda text: legible(look.words(text), WORDS),
        "name": lambda text: legible(text, WORDS),
        "lasting": lambda seconds: "" if seconds is None else lasting(seconds),
        "moment": lambda text: legible(text, WORDS).replace("T", " ").partition(".")[0] + " UTC",
    }
    return environment.get_template(_TEMPLATE).render(
        report=report,
        stands=look.stands.value,
        headline=telling.headline(look),
        steps=list(telling.steps(look)),
        states=list(_states(look)),
        told=list(telling.told_reasons(look)),
        facts=list(telling.facts(look)),
        timeline=timeline,
        # Made of numbers and of this program's own words alone, so nothing in them is to be escaped.
        plots=[(plot, Markup(plot.svg)) for plot in plots(timeline)] if timeline is not None else [],  # noqa: S704
        settings=list(_settings(look)),
        lacks=look.lacks,
        show_numbers=look.show_numbers,
        version=version("kore-campaign-async"),
    )


def _states(look: Look) -> Iterator[_State]:
    for _, name, meaning, file in saying.table_of(look.report, look.directory):
        yield _State(name, getattr(look.report.counts, name), meaning, file)


def _settings(look: Look) -> Iterator[tuple[str, str]]:
    """The run's settings, whatever they are: what can be secret in one is hidden."""
    settings = look.settings
    account = settings.get("account")
    if isinstance(account, Sequence) and not isinstance(account, str):
        for name, value in zip(("host", "application", "account"), account, strict=False):
            yield name, _setting(name, value)
    for group in ("source", "client", "options"):
        for name, value in dict(settings.get(group) or {}).items():
            if not (group == "source" and name == "name"):
                yield _SETTINGS.get(name, name.replace("_", " ")), _setting(name, value)


def _setting(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        value = [f"{one}: {other}" for one, other in value.items()]
    if isinstance(value, list):
        more = [f"and {len(value) - _SHOWN_ITEMS:,} more"] * (len(value) > _SHOWN_ITEMS)
        return ", ".join([*(_setting(name, one) for one in value[:_SHOWN_ITEMS]), *more]) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return f"{value:,.10g}"
    text = "none" if value is None or value == "" else str(value)
    if any(word in name.casefold() for word in _SECRET):
        text = HIDDEN.removesuffix("@")
    elif name == "rate":
        text = _limit(text)
    elif "://" in text and "@" in text:
        # A URL can hold a user and a password, whatever the setting.
        text = shown_url(text)
    return legible(text, WORDS)


def _limit(text: str) -> str:
    with contextlib.suppress(ValueError):
        limit = RateLimit.parse(text)
        return f"{limit.calls:,} calls in {lasting(limit.seconds)}{', evenly' if limit.even else ''}"
    return text


def write_page(look: Look, file: Path) -> None:
    """Write the page of a run, whole or not at all, readable by its owner alone; OSError if that fails."""
    page = draw_page(look).encode("utf-8")
    # Beside its place, so that it can be put there in one step.
    descriptor, name = tempfile.mkstemp(prefix=".report-", suffix=".part", dir=file.parent)
    part = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as writing:
            writing.write(page)
            writing.flush()
            os.fsync(writing.fileno())
        part.replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def refusal(file: Path) -> str | None:
    """Why a page must not be written there, or None."""
    if not file.parent.is_dir():
        return f"{file} can't be written: there is no directory {file.parent}; make it, or name another place"
    if file.is_dir():
        return f"{file} is a directory: name a file in it, such as {file / 'report.html'}"
    if file.is_symlink():
        return f"{file} is a symbolic link, which is not written over: name the file itself, or another one"
    if file.exists() and not _is_page(file):
        return f"{file} is there already and is no page of a run, so it is not written over: name another file"
    return None


def _is_page(file: Path) -> bool:
    """Whether a file is a page of a run, this one's or another's; any other page is somebody else's."""
    if not file.is_file():
        return False
    try:
        with file.open("rb") as reading:
            head = reading.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(_BEGINS) and any(mark in head for mark in _OURS)
