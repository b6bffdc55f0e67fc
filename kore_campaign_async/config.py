"""Settings: small frozen values, checked when they are made (a wrong one is a ValueError)."""

from __future__ import annotations

import codecs
import contextlib
import math
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from decimal import Decimal
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, Literal, Self

from attrs import Attribute, field, frozen
from attrs.converters import optional
from attrs.validators import optional as optional_validator

#: Numbers as texts or integers; what can only tell whether it holds one; or a function that tells that.
DoNotContact = Iterable[str | int] | Container[str] | Callable[[str], bool]

OnUncertain = Literal["auto", "hold", "resend"]


def _positive(instance: object, attribute: Attribute[Any], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise ValueError(f"{type(instance).__name__}: {attribute.name} is {value!r}; it must be a number above 0")


def _not_negative(instance: object, attribute: Attribute[Any], value: float) -> None:
    if value != 0:
        _positive(instance, attribute, value)


def _whole(instance: object, attribute: Attribute[Any], value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(
            f"{type(instance).__name__}: {attribute.name} is {value!r}; it must be a whole number, 1 or more"
        )


@frozen(kw_only=True)
class Timeouts:
    """How long one attempt may take, in seconds; waiting for the budget is not counted.

    Attributes:
        total_seconds: from connecting to the last byte of the reply.
        connect_seconds: for the connection alone.
    """

    total_seconds: float = field(default=30.0, validator=_positive)
    connect_seconds: float = field(default=10.0, validator=_positive)


@frozen(kw_only=True)
class ReplyLimits:
    """How many bytes of a reply are read, counted after decompression."""

    call_bytes: int = field(default=1 << 20, validator=_whole)
    listing_bytes: int = field(default=64 << 20, validator=_whole)


#: A path in any of its spellings; bytes are those of the file system.
AnyPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def path_of(given: AnyPath) -> Path:
    """A path as it was given. A ValueError tells why it can be none."""
    if not isinstance(given, str | bytes | os.PathLike):
        raise ValueError(f"a path is a text or a Path, not a {type(given).__name__}")  # noqa: TRY004  as every wrong setting
    path = os.fsdecode(given)
    try:
        is_none = b"\0" in os.fsencode(path)
    except UnicodeEncodeError:
        is_none = True
    if is_none:
        raise ValueError(f"no file can be called {path!r}")
    return Path(path)


def _path(given: AnyPath | None) -> Path | None:
    return None if given is None else path_of(given)


@frozen(kw_only=True)
class Network:
    """What stands between this machine and the server.

    Attributes:
        trust_env: send calls through the proxy that `HTTPS_PROXY` names, unless `NO_PROXY` names the host. No other
            variable is believed, and no `.netrc`; calls to this machine never take a proxy.
        ca_bundle: a PEM file with the authorities that are trusted, instead of the system's.
        client_cert: a PEM file with the certificate that this machine shows, and those that vouch for it.
        client_key: a PEM file with its private key, where that is not in `client_cert`.
    """

    trust_env: bool = False
    ca_bundle: Path | None = field(default=None, converter=_path)
    client_cert: Path | None = field(default=None, converter=_path)
    client_key: Path | None = field(default=None, converter=_path)

    def __attrs_post_init__(self) -> None:
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("Network: client_key is the key of a client_cert, which is missing")


@frozen(kw_only=True)
class RetryPolicy:
    """When a call is tried again, and after which wait.

    Waits grow exponentially with full jitter: uniform between 0 and a bound that starts at
    `wait_initial_seconds` and doubles up to `wait_max_seconds`.

    Attributes:
        attempts: how often a call that may have been processed is tried, if it is repeatable.
        deadline_seconds: how long a call is tried altogether, its own waits included. Waiting for the
            budget or for the end of a throttling is not counted.
        throttled_answers: how many throttled answers one call puts up with.
        retry_after_max_seconds: the longest Retry-After that is honoured; a longer one is cut to it.
    """

    attempts: int = field(default=5, validator=_whole)
    deadline_seconds: float = field(default=60.0, validator=_positive)
    wait_initial_seconds: float = field(default=0.5, validator=_positive)
    wait_max_seconds: float = field(default=20.0, validator=_positive)
    throttled_answers: int = field(default=10, validator=_whole)
    retry_after_max_seconds: float = field(default=300.0, validator=_positive)


@frozen
class RateLimit:
    """At most `calls` calls within any window of `seconds` seconds.

    Attributes:
        even: whether calls go out `seconds / calls` apart at least; else a burst is allowed.
    """

    calls: int = field(validator=_whole)
    seconds: float = field(validator=_positive)
    even: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `CALLS/SECONDS`, such as `60/60`, or `60/60,even`; a ValueError tells what is wrong."""
        match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9}(?:\.[0-9]{1,6})?)(,even)?", text.strip())
        if match is None:
            raise ValueError(f"a rate is written CALLS/SECONDS, such as 60/60 or 60/60,even, or none; this is {text!r}")
        return cls(int(match[1]), float(match[2]), even=match[3] is not None)

    def __str__(self) -> str:
        seconds = format(Decimal(repr(float(self.seconds))), "f").removesuffix(".0")
        return f"{self.calls}/{seconds}{',even' if self.even else ''}"


DEFAULT_RATE = (RateLimit(60, 60.0),)


def parse_rates(texts: tuple[str, ...]) -> tuple[RateLimit, ...]:
    """Read several windows; `none`, alone, is no limit at all."""
    if "none" in texts:
        if len(texts) > 1:
            raise ValueError("the rate none stands alone; leave the other rates out, or leave none out")
        return ()
    return tuple(RateLimit.parse(text) for text in texts)


@frozen(kw_only=True)
class BatchLimits:
    """How much one `addContacts` call carries: contacts, and bytes of its body."""

    max_contacts: int = field(default=1000, validator=_whole)
    max_bytes: int = field(default=1 << 20, validator=_whole)


@frozen(kw_only=True)
class NewList:
    """The list to make where a push finds none of its name."""

    description: str
    allow_duplicates: bool = False


def _own_dict(given: Mapping[str, str]) -> dict[str, str]:
    return dict(given)


def _texts(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


@frozen(kw_only=True)
class Plan:
    """What a push takes.

    Attributes:
        contacts: that are sent.
        batches: that they make.
        calls: one for each batch, and those that look for the list.
        bytes: of all batches' bodies; None of an estimate.
        seconds: until the last call goes out, under the limits alone; None without a limit.
        rate: the limits, as they are written.
        exact: whether the contacts were read; else they are estimated from the source's lines.
    """

    contacts: int
    batches: int
    calls: int
    bytes: int | None
    seconds: float | None
    rate: tuple[str, ...] = field(converter=_texts)
    exact: bool


@frozen(kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        read: contacts taken from the source.
        settled: contacts that are in their final state.
        accepted: contacts in batches that the API queued.
        calls: attempts of `addContacts` that were sent.
        fraction: how much of the source is read, 0.0 to 1.0, or None where nobody can know.
        seconds: since the source was opened.
        seconds_left: as far as can be told; None where it can't.
        plan: what the push was estimated to take before it began; None where nobody can know.
        rejected: contacts in this state, and so are the five behind it.
        final: whether this is the last one: the run is over, and these are its counts.
        reading: how the source is read, and which of its columns is which field, in a line each.
    """

    read: int
    settled: int
    accepted: int
    calls: int
    fraction: float | None
    seconds: float
    seconds_left: float | None = None
    plan: Plan | None = None
    rejected: int = 0
    duplicate: int = 0
    suppressed: int = 0
    refused: int = 0
    uncertain: int = 0
    unsent: int = 0
    final: bool = False
    reading: tuple[str, ...] = ()


def _paths(given: AnyPath | Iterable[AnyPath]) -> tuple[Path, ...]:
    return (path_of(given),) if isinstance(given, str | bytes | os.PathLike) else tuple(map(path_of, given))


def _names(given: str | Iterable[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _percent(instance: object, attribute: Attribute[Any], value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:  # noqa: PLR2004
        raise ValueError(f"{type(instance).__name__}: {attribute.name} is {value!r}; it must be 0 to 100 percent")


def _upper(given: str | None) -> str | None:
    return given.strip().upper() if isinstance(given, str) else given


def _region(instance: object, attribute: Attribute[Any], value: str | None) -> None:
    if value is not None and not (isinstance(value, str) and re.fullmatch(r"[A-Z]{2}", value)):
        raise ValueError(
            f"{type(instance).__name__}: {attribute.name} is {value!r}; it must be two letters of ISO 3166, such as US"
        )


def _do_not_contact(_instance: object, _attribute: Attribute[Any], value: Any) -> None:
    if isinstance(value, str | bytes | Path):
        raise ValueError(  # noqa: TRY004  as every wrong setting
            "do_not_contact is a single text or path: give a collection of numbers, or name a file in suppress"
        )
    if isinstance(value, Iterator):
        raise ValueError(  # noqa: TRY004  as every wrong setting
            f"do_not_contact is a {type(value).__name__}, which can be read only once: give a list or a set"
        )
    if iscoroutinefunction(value):
        raise ValueError("do_not_contact is an async function: give a plain one, which is called in a thread")
    if value is not None and not callable(value) and not isinstance(value, Iterable | Container):
        raise ValueError(
            f"do_not_contact is a {type(value).__name__}: give a collection of numbers, or a function that tells of a"
            " number whether it must not be called"
        )


def _some_paths(given: AnyPath | Iterable[AnyPath]) -> tuple[Path, ...]:
    paths = _paths(given)
    if not paths:
        raise ValueError("Files: no file is named; name one or more")
    return paths


_DELIMITER_NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}


def _delimiter(given: str) -> str:
    one = _DELIMITER_NAMES.get(given.strip().lower(), given)
    if len(one) != 1 or one in '"+\\\0\r\n ' or one.isalnum() or not one.isascii():
        raise ValueError(
            f"the delimiter {given!r} is none: it is a single character such as ; or |, or the word tab, and no letter,"
            " digit, blank, quote or +"
        )
    return one


# Text that only Python, or the names of hosts, are written in.
_NO_ENCODINGS = {"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}


def _encoding(given: str) -> str:
    with contextlib.suppress(LookupError, ValueError):
        name = codecs.lookup(given).name
        # What Python calls codecs also makes bytes of bytes.
        b"text".decode(name, "replace")
        codecs.getincrementaldecoder(name)
        if name not in _NO_ENCODINGS:
            return "utf-8" if name == "utf-8-sig" else name
    raise ValueError(f"the encoding {given!r} is not known; name one such as utf-8, utf-16, windows-1252, iso-8859-2")


@frozen
class Files:
    """Files to be pushed as one source: their rows are numbered on, in this order.

    Later files need the columns of the first, in any order. What is not said is found out for each file.

    Attributes:
        paths: one or more.
        encoding: of their text, such as `windows-1252`; by itself a byte order mark tells, else UTF-8 if they are
            that, else Windows-1252.
        delimiter: what parts the cells of CSV files: one character; by itself comma, semicolon, tab or bar,
            whichever stands in the header most often.
        sheet: of workbooks; by itself the first that is not hidden.
        no_header: whether CSV files and workbooks have no header: then their columns are called `1`, `2`, …, as many
            as the first row has. The number's is the one whose cell in the first row is a phone number, or the only
            column; else the column map names it.
    """

    paths: tuple[Path, ...] = field(converter=_some_paths)
    encoding: str | None = field(default=None, converter=optional(_encoding), kw_only=True)
    delimiter: str | None = field(default=None, converter=optional(_delimiter), kw_only=True)
    sheet: str | None = field(default=None, kw_only=True)
    no_header: bool = field(default=False, kw_only=True)


def _one_of(instance: object, attribute: Attribute[Any], value: str) -> None:
    words = ("auto", "hold", "resend")
    if value not in words:
        raise ValueError(
            f"{type(instance).__name__}: {attribute.name} is {value!r}; it must be one of {', '.join(words)}"
        )


@frozen(kw_only=True)
class IngestOptions:
    """How a push is done.

    Attributes:
        batch: how much one call carries.
        concurrency: how many calls are in flight at most.
        on_uncertain: whether a call that may have been processed is sent again: `resend` yes, `hold` no,
            `auto` only if the list is known to drop duplicates.
        list_drops_duplicates: the caller states that the list drops duplicates, where the API does not tell.
        keep_duplicates: send a number again that came earlier in this source.
        isolate: split a batch that was refused with 400, 412 or 422 until the contacts are found that it was
            refused for, within a hundred extra calls a batch; the others go in. Nobody knows whether a refusal adds
            nothing, so a list that keeps duplicates also needs `on_uncertain="resend"`.
        region: two letters of ISO 3166, such as `US`: numbers are read as people there write them, and become E.164.
            None takes what has the shape of E.164, and nothing else. Needs the extra `phone`.
        strict: reject a number that can't exist in its country's numbering plan. Needs the extra `phone`.
        require_plus: reject a number that is written without its `+`. It does not go with a region.
        max_rejected: how many percent of the first 10,000 rows may be rejected; beyond that nothing is sent. By itself
            50 for files and tables, and 100 for iterables, whose program learns of every contact.
        suppress: do-not-contact files, whose numbers are left out: those of every phone column and every sheet.
        suppress_columns: of these files, the only columns that are read.
        suppress_sheets: of these files' workbooks, the only sheets that are read.
        allow_empty_suppress: whether a do-not-contact file may hold no number.
        do_not_contact: further numbers that are left out: a collection of texts or integers; or a function that gets
            a number as E.164 and tells whether it must not be called. The function is asked once for each number, in
            a thread, so it may block; if it fails, the run stops, and nobody is called unasked.
        column_map: source column to field on the wire, such as `{"Customer ID": "uniqueId"}`.
        grace_seconds: how long calls in flight may still take when the run is stopped from outside.
        create: make the list if there is none of its name.
        dry_run: check everything and send nothing.
        progress: called with a `Progress` at most four times a second, and once more when the run is over, however it
            ends; from the event loop, so it must not block. One that raises is logged, and not called again.
    """

    batch: BatchLimits = field(factory=BatchLimits)
    concurrency: int = field(default=8, validator=_whole)
    on_uncertain: OnUncertain = field(default="auto", validator=_one_of)
    list_drops_duplicates: bool = False
    keep_duplicates: bool = False
    isolate: bool = False
    region: str | None = field(default=None, converter=_upper, validator=_region)
    strict: bool = False
    require_plus: bool = False
    max_rejected: float | None = field(default=None, validator=optional_validator(_percent))
    suppress: tuple[Path, ...] = field(default=(), converter=_paths)
    suppress_columns: tuple[str, ...] = field(default=(), converter=_names)
    suppress_sheets: tuple[str, ...] = field(default=(), converter=_names)
    allow_empty_suppress: bool = False
    do_not_contact: DoNotContact | None = field(default=None, repr=False, validator=_do_not_contact)
    column_map: Mapping[str, str] = field(factory=dict, converter=_own_dict)
    grace_seconds: float = field(default=10.0, validator=_not_negative)
    create: NewList | None = None
    dry_run: bool = False
    progress: Callable[[Progress], None] | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.require_plus and self.region is not None:
            raise ValueError(
                "require_plus refuses what region is there to read: numbers without a +. Leave one of them out"
            )
