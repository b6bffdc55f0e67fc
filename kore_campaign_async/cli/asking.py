"""What the commands share: a client of the settings, and making a sentence and a status of what went wrong."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import sys
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NoReturn, ParamSpec

import click

from kore_campaign_async.cli.advice import DOCTOR, asks_for_doctor, next_step
from kore_campaign_async.cli.output import say
from kore_campaign_async.cli.sanitize import NAMES, SENTENCE, legible
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import RateLimit, parse_rates
from kore_campaign_async.errors import AccountingError, CallError, KoreCampaignError
from kore_campaign_async.redaction import masked, without_tokens
from kore_campaign_async.settings import CONFIG, PROFILE, Settings, read_settings

P = ParamSpec("P")

FAILED = 1
WRONG = 2
STOPPED = 4

#: Where the options that all commands share are kept, before their names.
META: Final = "kore_campaign_async."


def settings() -> Settings:
    """The settings that `--config`, `--profile` and the environment lead to, or those of the run that is resumed."""
    meta = click.get_current_context().meta
    path, profile = meta.get(f"{META}config"), meta.get(f"{META}profile")
    stored: Mapping[str, str | None] = meta.get(f"{META}stored") or {}
    config = stored.get("config")
    given = path or os.environ.get(CONFIG)
    if config is not None and (given is None or Path(given).absolute() == Path(config)):
        path = path or config
        profile = profile or os.environ.get(PROFILE) or stored.get("profile")
    return read_settings(os.environ, path=path, profile=profile)


def remember(stored: Mapping[str, str | None] | None) -> None:
    """Take the settings of the run that is resumed, where nothing else says which."""
    config = (stored or {}).get("config")
    if config is not None and not Path(config).exists():
        say(
            f"note: the settings file {config} that the run was begun with is gone; the environment's are taken",
            err=True,
        )
        return
    click.get_current_context().meta[f"{META}stored"] = stored


def remembered(found: Settings) -> dict[str, str | None]:
    """What the journal of a run keeps of where its settings came from."""
    return {"config": None if found.path is None else str(found.path.absolute()), "profile": found.profile}


def client(found: Settings | None = None, **given: Any) -> CampaignClient:
    """A client of the settings, with what flags say over them; notes about them go to standard error."""
    found = found if found is not None else settings()
    for warning in found.warnings:
        say(f"note: {warning}", err=True)
    return CampaignClient(**found.arguments(given))


def command(body: Callable[P, Coroutine[Any, Any, int]]) -> Callable[P, None]:
    """Make a coroutine function that returns an exit status a function that runs it and exits."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with told():
            status = asyncio.run(body(*args, **kwargs))
        sys.exit(status)

    return run


@contextlib.contextmanager
def told(*, failed: int = FAILED, behind: str = "") -> Iterator[None]:
    """Make a sentence and an exit status of whatever goes wrong, as `tell` does."""
    try:
        yield
    except (click.exceptions.Exit, click.ClickException, BrokenPipeError):
        raise  # click knows what to do
    except Exception as error:  # noqa: BLE001  people get a sentence, and with --debug the rest
        tell(error, failed=failed, behind=behind)
    except KeyboardInterrupt:
        if behind:
            fail(f"interrupted{behind}", failed)
        fail("interrupted; a call that was on its way may have been processed", failed)


def tell(error: Exception, *, failed: int = FAILED, wrong: int = WRONG, behind: str = "", advice: str = "") -> NoReturn:
    """Say what went wrong in a sentence, and exit.

    Args:
        error: whatever was raised.
        failed: the status where a call or this program failed.
        wrong: the status where a setting or a file is wrong.
        behind: what is said behind the sentence of what failed.
        advice: what to do about a call that failed; without it, what helps most often.
    """
    if debugging():
        for line in _without_secrets(error).splitlines():
            say(line, err=True)
    said = legible(str(error), SENTENCE)
    if isinstance(error, CallError):
        more = DOCTOR if asks_for_doctor(error) else ""
        fail(f"{said}; {advice or f'{next_step(error)}{more}'}{behind}", failed)
    if isinstance(error, AccountingError):
        fail(f"{said}; this is a fault of kore-campaign, please report it", STOPPED)
    # Settings that contradict themselves are ValueErrors with a sentence of ours.
    if isinstance(error, KoreCampaignError) or type(error) is ValueError:
        # Of what was wrong beforehand the status says enough.
        fail(f"{said}{behind if wrong != WRONG else ''}", wrong)
    if isinstance(error, OSError) and error.strerror:
        what = "" if error.filename is None else f"{legible(str(error.filename), NAMES)}: "
        fail(f"{what}{error.strerror}{behind}", failed)
    fail(f"an unexpected {type(error).__name__}, a fault of kore-campaign; --debug shows where it is{behind}", failed)


def debugging() -> bool:
    """Whether a traceback is wanted."""
    return bool(click.get_current_context().meta.get(f"{META}debug"))


def _without_secrets(error: BaseException) -> str:
    """An error's traceback, in which numbers, tokens and the secrets of the settings are masked."""
    text = without_tokens("".join(traceback.format_exception(error)))
    with contextlib.suppress(KoreCampaignError):
        for secret in settings().secrets():
            text = text.replace(secret, "***")
    return masked(text)


def fail(sentence: str, status: int) -> NoReturn:
    """Say what is wrong on standard error, and exit."""
    say(f"kore-campaign: {sentence}", err=True)
    sys.exit(status)


@contextlib.contextmanager
def printing(*, failed: int | None = None) -> Iterator[None]:
    """Print an outcome, and say so where that fails.

    Args:
        failed: the exit status then; None where the outcome has one of its own, which nobody who stops reading and
            no full disk changes.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        # What is left in the stream would fail again when Python ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            say(f"kore-campaign: standard output can't be written: {error.strerror}", err=True)
        if failed is not None:
            sys.exit(failed)


def rates(_ctx: click.Context, _param: click.Parameter, texts: str | tuple[str, ...]) -> tuple[RateLimit, ...] | None:
    """Read the rates of an option; None where it was not given."""
    if not texts:
        return None
    try:
        return parse_rates((texts,) if isinstance(texts, str) else texts)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
