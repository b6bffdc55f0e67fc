"""A program's own code may raise whatever it likes, whenever it likes: the run ends, and its account adds up."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field

from kore_campaign_async import (
    BatchLimits,
    CampaignClient,
    Contact,
    CredentialsError,
    IngestOptions,
    IngestReport,
    InvalidRequestError,
    KoreCampaignError,
    SourceError,
    StaticToken,
    ingest_contacts,
    iter_outcomes,
    resume_ingest,
    run_ingest,
)
from kore_campaign_async.auth import Token
from kore_campaign_async.hooks import Hook
from tests.ingest.pushing import (
    LIST,
    check_report,
    check_run_dir,
    check_tasks,
    csv_of,
    number,
    numbers,
    scripted,
)

COUNT = 12


class SpeechlessError(Exception):
    """Has no words: asking for them fails."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Odd(BaseException):
    """What no library catches."""


INTERRUPTS = (KeyboardInterrupt, SystemExit)
RAISED: dict[str, Callable[[], BaseException]] = {
    "Exception": lambda: LookupError("a word\nand another"),
    "CancelledError": asyncio.CancelledError,
    "GeneratorExit": GeneratorExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "RecursionError": RecursionError,
    "MemoryError": MemoryError,
    "BaseExceptionGroup": lambda: BaseExceptionGroup("several", [Odd(), ValueError()]),
    "BaseException": Odd,
    "speechless": SpeechlessError,
    "a SourceError": lambda: SourceError("of their own"),
    "a page of words": lambda: LookupError("words " * 10_000),
}
raised = pytest.mark.parametrize("error", RAISED.values(), ids=RAISED)

# Of a grid every so many cells are tested, 1 for all. No axis is a multiple of it, so that each value has its turn.
STEP = int(os.environ.get("KORE_FOREIGN_STEP", "11"))


def grid(**axes: Mapping[str, Any] | Sequence[Any]) -> pytest.MarkDecorator:
    """Cells of the product of the axes, each a sequence or values by their names."""
    named = [axis if isinstance(axis, Mapping) else {str(value): value for value in axis} for axis in axes.values()]
    cells = list(itertools.product(*(axis.items() for axis in named)))[::STEP]
    return pytest.mark.parametrize(
        tuple(axes),
        [pytest.param(*(value for _, value in cell), id="-".join(name for name, _ in cell)) for cell in cells],
    )


@define
class Failing:
    """Raises at one of its calls, or from it on."""

    error: Callable[[], BaseException]
    at: int
    calls: int = 0
    times: int = 0

    def __call__(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.times += 1
            raise self.error()


Way = Callable[..., Awaitable[IngestReport | None]]


async def whole(client: CampaignClient, source: Any, options: IngestOptions, run_dir: Path | None) -> IngestReport:
    return await ingest_contacts(client, source, contact_list=LIST, run_dir=run_dir, options=options)


async def streamed(client: CampaignClient, source: Any, options: IngestOptions, run_dir: Path | None) -> Any:
    async with iter_outcomes(client, source, contact_list=LIST, run_dir=run_dir, options=options) as stream:
        rows = [one.row async for one in stream]
    assert stream.report is not None
    assert sorted(rows) == list(range(1, stream.report.counts.read + 1))
    return stream.report


WAYS = {"whole": whole, "streamed": streamed}


async def came_to(work: Awaitable[Any]) -> Any:
    """What it returns or raises, as a value: a KeyboardInterrupt that a task raises ends the event loop."""
    try:
        return await work
    except BaseException as error:  # noqa: BLE001  whatever it is, it is looked at
        return error


async def fenced(work: Awaitable[Any]) -> Any:
    before = asyncio.all_tasks()
    result = await asyncio.wait_for(came_to(work), 10)
    await check_tasks(before)
    assert not isinstance(result, asyncio.CancelledError), "nobody cancelled it"
    return result


def is_one_sentence(text: str | None) -> bool:
    return text is not None and "\n" not in text and len(text) < 500


def options_of(**given: Any) -> IngestOptions:
    return IngestOptions(batch=BatchLimits(max_contacts=2), concurrency=2, grace_seconds=0.0, **given)


async def ran(
    way: Way,
    error: Callable[[], BaseException],
    run_dir: Path,
    source: Any,
    hooks: list[Hook] | None = None,
    fail: Failing | None = None,
    **given: Any,
) -> IngestReport:
    """Run, and check what holds of every run; the report is that of the run directory."""
    async with scripted(hooks=hooks or []) as (api, client):
        result = await fenced(way(client, source, options_of(**given), run_dir))
        assert set(api.processed.values()) <= {1}
        if isinstance(error(), INTERRUPTS) and (fail is None or fail.times):
            assert type(result) is type(error())
        else:
            assert isinstance(result, IngestReport)
        report = check_run_dir(run_dir)
        assert report.counts.accepted == len(api.processed)
        calls = len(api.calls)
        await asyncio.sleep(0)
        assert len(api.calls) == calls
    return report


# Callbacks


@grid(error=RAISED, way=WAYS, at=[1, 2])  # before the first call, and at the end
async def test_progress(way: Way, error: Callable[[], BaseException], at: int, tmp_path: Path) -> None:
    show = Failing(error, at)
    report = await ran(way, error, tmp_path / "run", numbers(COUNT), progress=show)
    assert show.times == 1
    if isinstance(error(), INTERRUPTS) and at == 1:
        assert report.state == "stopped"
        assert "KeyboardInterrupt" in (report.stopped_because or "") or "SystemExit" in (report.stopped_because or "")
    else:
        assert report.counts.accepted == COUNT


@grid(error=RAISED, way=WAYS, at=[1, 3, 9])
async def test_hooks(way: Way, error: Callable[[], BaseException], at: int, tmp_path: Path) -> None:
    """Nothing of an answer is lost for a hook: who was accepted is told as accepted."""
    seen: list[Any] = []
    hook = Failing(error, at)
    report = await ran(way, error, tmp_path / "run", numbers(COUNT), hooks=[hook, seen.append])
    assert hook.times == 1
    assert len(seen) == hook.calls
    assert report.counts.uncertain == 0
    if not isinstance(error(), INTERRUPTS):
        assert report.counts.accepted == COUNT


@raised
async def test_a_hook_of_a_call_without_a_run(error: Callable[[], BaseException]) -> None:
    seen: list[Any] = []
    async with scripted(hooks=[Failing(error, 1), seen.append]) as (api, client):
        result = await fenced(client.add_contacts(LIST, [Contact(number(1))]))
        assert len(api.calls) == 1
    assert seen
    assert isinstance(result, INTERRUPTS) == isinstance(error(), INTERRUPTS)


@grid(error=RAISED, way=WAYS, at=[1, 5, COUNT], kind=["function", "container"])
async def test_do_not_contact(way: Way, error: Callable[[], BaseException], at: int, kind: str, tmp_path: Path) -> None:
    """Nobody who could not be asked about is called."""
    asked = Failing(error, at)

    class Container:
        def __contains__(self, _: object) -> bool:
            asked()
            return False

    def function(_: str) -> bool:
        asked()
        return False

    report = await ran(
        way, error, tmp_path / "run", numbers(COUNT), do_not_contact=function if kind == "function" else Container()
    )
    assert report.state == "stopped"
    assert is_one_sentence(report.stopped_because)
    assert f"do_not_contact failed at row {at}: " in (report.stopped_because or "") or isinstance(error(), INTERRUPTS)
    assert report.counts.accepted < at


class Answer:
    """An answer whose truth nobody can tell."""

    def __bool__(self) -> bool:
        raise asyncio.CancelledError


async def test_do_not_contact_whose_answer_fails(tmp_path: Path) -> None:
    report = await ran(whole, Exception, tmp_path / "run", numbers(COUNT), do_not_contact=lambda _: Answer())
    assert report.stopped_because == "do_not_contact failed at row 1: CancelledError"
    assert report.counts.unsent == COUNT


@raised
async def test_do_not_contact_numbers_that_can_not_be_read(error: Callable[[], BaseException]) -> None:
    class Numbers:
        def __iter__(self) -> Iterator[str]:
            yield "+14155550100"
            raise error()

    async with scripted() as (api, client):
        result = await fenced(whole(client, numbers(3), options_of(do_not_contact=Numbers()), None))
        assert not api.calls
    if isinstance(error(), INTERRUPTS):
        assert type(result) is type(error())
    elif not isinstance(error(), StopIteration):
        assert type(result) is SourceError
        assert is_one_sentence(str(result))
        assert str(result).startswith("do_not_contact can't be read: ")


# Tokens


class Theirs:
    """Credentials of a program's own class."""

    def __init__(self, fail: Callable[[], None], where: str) -> None:
        self.fail, self.where = fail, where

    async def token(self) -> Token:
        if self.where == "token":
            self.fail()
        return Token("a-token")

    async def renew(self, rejected: Token) -> bool:
        del rejected
        if self.where == "renew":
            self.fail()
        return False


@grid(error=RAISED, way=WAYS, at=[1, 5], kind=["function", "token", "renew"])
async def test_tokens(way: Way, error: Callable[[], BaseException], kind: str, at: int, tmp_path: Path) -> None:
    """Without a token nothing is sent; what was sent before is told."""
    fail = Failing(error, at)

    async def function() -> str:
        fail()
        return "a-token"

    credentials = function if kind == "function" else Theirs(fail, kind)
    async with scripted(credentials=credentials) as (api, client):
        result = await fenced(way(client, numbers(COUNT), options_of(), tmp_path / "run"))
        assert set(api.processed.values()) <= {1}
    if not fail.times:
        return
    if isinstance(error(), INTERRUPTS):
        assert type(result) is type(error())
    elif at == 1:
        assert isinstance(result, CredentialsError | SourceError)
    else:
        assert isinstance(result, IngestReport)
        assert result.state == "stopped"
        assert is_one_sentence(result.stopped_because)
        assert result.counts.accepted == len(api.processed)
    if at > 1:
        check_run_dir(tmp_path / "run")


async def test_credentials_that_give_no_token() -> None:
    class Wrong(StaticToken):
        async def token(self) -> Token:
            return "a text"  # type: ignore[return-value]  # wrong on purpose

    async with scripted(credentials=Wrong("t")) as (api, client):
        with pytest.raises(CredentialsError, match="the credentials gave a str, not a Token"):
            await client.list_contact_lists()
        assert not api.others


@raised
@pytest.mark.parametrize("run_dir", [None, "run"])
def test_a_factory_of_clients(error: Callable[[], BaseException], run_dir: str | None, tmp_path: Path) -> None:
    def make() -> CampaignClient:
        raise error()

    given = None if run_dir is None else tmp_path / run_dir
    with pytest.raises(BaseException) as caught:  # noqa: PT011  which one depends on what is raised
        run_ingest(numbers(3), contact_list=LIST, run_dir=given, client=make)
    if isinstance(error(), (*INTERRUPTS, KoreCampaignError)):
        assert type(caught.value) is type(error())
    else:
        assert type(caught.value) is InvalidRequestError
        assert is_one_sentence(str(caught.value))
    assert not any(tmp_path.iterdir())


def test_a_factory_that_makes_no_client() -> None:
    with pytest.raises(InvalidRequestError, match="client made a NoneType, not a CampaignClient"):
        run_ingest(numbers(3), contact_list=LIST, client=lambda: None)  # type: ignore[arg-type,return-value]


# Sources


@define
class Items:
    """An iterable that raises somewhere."""

    fail: Failing
    where: str

    def __iter__(self) -> Iterator[str]:
        if self.where == "iter":
            self.fail()
        return self._yielded() if self.where == "generator" else _Iterator(self)

    def _yielded(self) -> Iterator[str]:
        for one in numbers(COUNT):
            self.fail()
            yield one

    def __len__(self) -> int:
        if self.where == "len":
            self.fail()
        return COUNT


class _Iterator:
    def __init__(self, items: Items) -> None:
        self.items, self.given = items, iter(numbers(COUNT))

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.items.where == "next":
            self.items.fail()
        return next(self.given)


@define
class AsyncItems:
    """The same for an async iterable; it may take its time before."""

    fail: Failing
    where: str
    given: Iterator[str] = field(factory=lambda: iter(numbers(COUNT)))

    def __aiter__(self) -> Any:
        if self.where == "aiter":
            self.fail()
        return self._yielded() if self.where == "generator" else self

    async def __anext__(self) -> str:
        if self.where == "slow":
            await asyncio.sleep(0)
        self.fail()
        try:
            return next(self.given)
        except StopIteration:
            raise StopAsyncIteration from None

    async def _yielded(self) -> AsyncIterator[str]:
        for one in numbers(COUNT):
            self.fail()
            yield one


SOURCES = {
    **{f"Items-{where}": partial(Items, where=where) for where in ("iter", "next", "generator", "len")},
    **{f"AsyncItems-{where}": partial(AsyncItems, where=where) for where in ("aiter", "anext", "slow", "generator")},
}


@grid(error=RAISED, way=WAYS, at=[1, 7, COUNT], made=SOURCES)
async def test_sources(
    way: Way, error: Callable[[], BaseException], made: Callable[..., Any], at: int, tmp_path: Path
) -> None:
    """What came before the failure goes out."""
    fail = Failing(error, at)
    report = await ran(way, error, tmp_path / "run", made(fail), fail=fail)
    ends = isinstance(error(), StopIteration | StopAsyncIteration)  # which say, of some, that there are no more
    if fail.times and made.keywords["where"] != "len" and not ends:
        assert report.state == "stopped"
        assert is_one_sentence(report.stopped_because)
        assert report.counts.read < COUNT
    elif not ends:
        assert report.counts.read == COUNT
    if not isinstance(error(), INTERRUPTS):
        assert report.counts.accepted == report.counts.read


@grid(error=RAISED, made=SOURCES)
async def test_sources_whose_first_rows_are_looked_at(
    error: Callable[[], BaseException], made: Callable[..., Any], tmp_path: Path
) -> None:
    fail = Failing(error, 3)
    await ran(whole, error, tmp_path / "run", made(fail), fail=fail, max_rejected=50)


async def test_a_cancelled_run_is_cancelled_whatever_its_source_makes_of_that(tmp_path: Path) -> None:
    began = asyncio.Event()

    async def source() -> AsyncIterator[str]:
        yield number(1)
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            raise ZeroDivisionError

    async with scripted() as (_, client):
        task = asyncio.create_task(whole(client, source(), options_of(), tmp_path / "run"))
        await began.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
    assert check_run_dir(tmp_path / "run").state == "stopped"


# Values


class Hostile:
    """Every method of it fails that this package could call."""

    def __init__(self, error: Callable[[], BaseException]) -> None:
        object.__setattr__(self, "error", error)

    def _fail(self, *_: Any, **__: Any) -> Any:
        error = object.__getattribute__(self, "error")
        raise error()

    __str__ = __repr__ = __eq__ = __hash__ = __len__ = __iter__ = __bool__ = __int__ = __float__ = __index__ = _fail  # type: ignore[assignment]
    __deepcopy__ = __copy__ = __reduce_ex__ = __getitem__ = __contains__ = __lt__ = _fail  # type: ignore[assignment]
    __class__ = property(_fail)  # type: ignore[assignment]


class HostileText(str):  # noqa: SLOT000  it has an attribute
    """A text with methods that fail."""

    error: Callable[[], BaseException]

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise self.error()

    __str__ = __repr__ = __eq__ = __len__ = __iter__ = __format__ = isspace = strip = encode = translate = _fail  # type: ignore[assignment]
    startswith = isascii = replace = lower = casefold = __deepcopy__ = __reduce_ex__ = _fail  # type: ignore[assignment]
    __hash__ = str.__hash__


class HostileWhole(int):
    error: Callable[[], BaseException]

    def _fail(self, *_: Any, **__: Any) -> Any:
        raise self.error()

    __str__ = __repr__ = __int__ = __index__ = __eq__ = __deepcopy__ = __reduce_ex__ = _fail  # type: ignore[assignment]
    __hash__ = int.__hash__


class HostileMapping(Mapping[str, str]):
    def __init__(self, error: Callable[[], BaseException], where: str) -> None:
        self.error, self.where = error, where

    def __getitem__(self, key: str) -> str:
        if self.where == "getitem":
            raise self.error()
        return {"phone": "+14155559999"}[key]

    def __iter__(self) -> Iterator[str]:
        if self.where == "iter":
            raise self.error()
        return iter(("phone",))

    def __len__(self) -> int:
        if self.where == "len":
            raise self.error()
        return 1

    def keys(self) -> Any:
        if self.where == "keys":
            raise self.error()
        return super().keys()

    def items(self) -> Any:
        if self.where == "items":
            raise self.error()
        return super().items()

    def __repr__(self) -> str:
        raise self.error()


class Subclass(Contact):
    """A contact with a property in the place of a field."""

    @property
    def extra(self) -> Any:  # type: ignore[override]
        raise LookupError


def with_error(kind: Any, value: Any, error: Callable[[], BaseException]) -> Any:
    return type(kind.__name__, (kind,), {"error": staticmethod(error)})(value)


VALUES: dict[str, Callable[[Callable[[], BaseException]], Any]] = {
    "an item": Hostile,
    "a value": lambda error: {"phone": "+14155559999", "note": Hostile(error)},
    "a number": lambda error: {"phone": Hostile(error)},
    "in a list": lambda error: {"phone": "+14155559999", "note": [Hostile(error)]},
    "of a Contact": lambda error: Contact(Hostile(error)),  # type: ignore[arg-type]
    "extra of a Contact": lambda error: Contact("+14155559999", extra={"note": Hostile(error)}),  # type: ignore[dict-item]
    "a text": lambda error: with_error(HostileText, "+14155559999", error),
    "a text as value": lambda error: {"phone": "+14155559999", "note": with_error(HostileText, "n", error)},
    "a text as number": lambda error: {"phone": with_error(HostileText, "+14155559999", error)},
    "a text as key": lambda error: {"phone": "+14155559999", with_error(HostileText, "note", error): "n"},
    "a whole number": lambda error: {"phone": with_error(HostileWhole, 14155559999, error)},
    **{
        f"mapping-{where}": partial(HostileMapping, where=where)
        for where in ("getitem", "iter", "len", "keys", "items")
    },
}


@grid(error=RAISED, made=VALUES)
async def test_values(error: Callable[[], BaseException], made: Callable[..., Any], tmp_path: Path) -> None:
    """A value that can't be asked costs its own row at most."""
    source = [*numbers(5), made(error), *numbers(5, 6)]
    async with scripted() as (api, client):
        result = await fenced(streamed(client, source, options_of(max_rejected=100), tmp_path / "run"))
        assert set(api.processed.values()) <= {1}
    report = check_run_dir(tmp_path / "run")
    if isinstance(result, INTERRUPTS):
        return
    assert isinstance(result, IngestReport), result
    assert report.counts.read == 11
    assert report.counts.accepted >= 10
    assert report.counts.accepted + report.counts.rejected == 11


def test_a_mapping_of_columns_is_read_once() -> None:
    given = {"Mobile": "phone"}
    options = IngestOptions(column_map=given)
    given.clear()
    assert options.column_map == {"Mobile": "phone"}
    with pytest.raises(LookupError):
        IngestOptions(column_map=HostileMapping(LookupError, "iter"))


# What a program does to the run's own tasks


async def test_parts_of_the_pipeline_that_are_cancelled_from_within_are_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others would wait for them for ever."""
    from kore_campaign_async.ingest import run  # noqa: PLC0415

    for name in ("_give", "_record", "_read", "_send"):

        async def cancelled(self: Any, *_: Any) -> None:
            raise asyncio.CancelledError

        with monkeypatch.context() as patched:
            patched.setattr(run.Run, name, cancelled)
            async with scripted() as (api, client):
                result = await fenced(whole(client, numbers(COUNT), options_of(), tmp_path / name))
                assert set(api.processed.values()) <= {1}
            assert isinstance(result, Exception)
            check_run_dir(tmp_path / name)


@raised
async def test_a_resume_after_a_failure_calls_everybody_once(
    error: Callable[[], BaseException], tmp_path: Path
) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(COUNT))
    asked = Failing(error, 7)

    def function(_: str) -> bool:
        asked()
        return False

    async with scripted() as (api, client):
        options = options_of(do_not_contact=function)
        await fenced(whole(client, source, options, tmp_path / "run"))
        report = await fenced(resume_ingest(client, tmp_path / "run", do_not_contact=function))
        assert api.processed == Counter({one.removeprefix("+"): 1 for one in numbers(COUNT)})
    assert isinstance(report, IngestReport)
    check_report(report)
    assert report.counts.accepted == COUNT
