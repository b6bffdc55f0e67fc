"""`doctor`: whether settings, token, network, clock and permissions are fine, found out with one call that reads."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator
from typing import Final

import orjson
from attrs import asdict, define, field, frozen

from kore_campaign_async import errors
from kore_campaign_async.auth import Credentials, StaticToken, Token
from kore_campaign_async.cli import asking
from kore_campaign_async.cli.advice import next_step
from kore_campaign_async.cli.output import say, say_json
from kore_campaign_async.cli.sanitize import NAMES, SENTENCE, legible
from kore_campaign_async.client import CampaignClient
from kore_campaign_async.config import RetryPolicy, Timeouts
from kore_campaign_async.errors import CallError, KoreCampaignError
from kore_campaign_async.redaction import shown_url
from kore_campaign_async.settings import KEYS, Settings

FINE: Final = "ok"
NOTED: Final = "note"
BAD: Final = "wrong"
SKIPPED: Final = "not checked"

# One attempt tells enough: who waits for an answer does not want to wait for a minute of tries.
_ONCE: Final = RetryPolicy(attempts=1, deadline_seconds=0.001, throttled_answers=1)
_OFF_SECONDS: Final = 5.0
#: What is shown as it is; paths and words, and no secret.
_HIDDEN: Final = {"client_secret", "auth_token"}


@frozen
class Check:
    """What one check found.

    Attributes:
        state: `ok`, `note`, `wrong` or `not checked`.
        said: what was found.
        next_step: what to do about it; empty if nothing is to be done.
    """

    name: str
    state: str
    said: str
    next_step: str = ""


@define
class _Examination:
    checks: list[Check] = field(factory=list)
    status: int = 0

    def found(self, name: str, state: str, said: str, next_step: str = "") -> None:
        self.checks.append(Check(name, state, said, next_step))

    def wrong(self, name: str, said: str, next_step: str, status: int) -> None:
        self.found(name, BAD, said, next_step)
        self.status = max(self.status, status)


@asking.command
async def doctor_command(*, as_json: bool) -> int:
    """Check settings, token, network, clock and permissions, and say what is fine."""
    examination = _Examination()
    found = await _examined(examination)
    shown = [] if found is None else list(_shown(found))
    if as_json:
        value = {
            "ok": examination.status == 0,
            "settings": [{"name": name, "value": text, "from": origin} for name, text, origin in shown],
            "checks": [asdict(check) for check in examination.checks],
        }
        with asking.printing(failed=asking.FAILED):
            say_json(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
        return examination.status
    with asking.printing(failed=asking.FAILED):
        _print(shown, examination.checks)
    return examination.status


def _print(shown: list[tuple[str, str, str]], checks: list[Check]) -> None:
    for name, text, origin in shown:
        say(f"{name:<18}  {legible(text, NAMES)}  ({legible(origin, NAMES)})")
    if shown:
        say()
    for check in checks:
        said = f"{check.said}; {check.next_step}" if check.next_step else check.said
        say(f"{check.state:<11}  {check.name}: {legible(said, SENTENCE)}")


async def _examined(examination: _Examination) -> Settings | None:
    try:
        found = asking.settings()
    except KoreCampaignError as error:
        examination.wrong("settings", str(error), "", asking.WRONG)
        return None
    for setting in (lambda: found.arguments({"credentials": None}), found.credentials):
        try:
            setting()
        except KoreCampaignError as error:
            examination.wrong("settings", str(error), "", asking.WRONG)
    if examination.status:
        return found
    try:
        credentials = found.credentials()
        # The token is made here and tried once: a client of the credentials would make another one after a 401.
        token = await credentials.token()
        client = CampaignClient(
            **found.arguments(
                {
                    "credentials": StaticToken(token.reveal()),
                    "retry": _ONCE,
                    "timeouts": Timeouts(total_seconds=30.0, connect_seconds=10.0),
                }
            )
        )
    except KoreCampaignError as error:
        examination.wrong("settings", str(error), "", asking.WRONG)
        return found
    async with client:
        examination.found("settings", FINE, "complete")
        for warning in found.warnings:
            said, _, advice = warning.rpartition("; ")
            examination.found("settings", NOTED, said, advice)
        _check_token(examination, credentials, token)
        _check_way(examination, client)
        await _call(examination, client)
    return found


def _shown(found: Settings) -> Iterator[tuple[str, str, str]]:
    """Each setting, its value if it is no secret, and where it was found."""
    for key in KEYS:
        if key not in found.found:
            continue
        setting = found.found[key]
        value = setting.value
        if key in _HIDDEN:
            text = "***"
        elif key == "shared_rate":
            text = shown_url(value.reveal())
        elif key == "rate":
            text = " ".join(value)
        else:
            text = str(value).lower() if isinstance(value, bool) else str(value)
        yield key, text, setting.origin + (", not used" if key in found.unused() else "")
    if "rate" not in found.found:
        yield "rate", "60/60", "default"


def _check_token(examination: _Examination, credentials: Credentials, token: Token) -> None:
    if not isinstance(credentials, StaticToken):
        examination.found("token", FINE, f"minted, valid until {_moment(token.expires_at)}")
    elif token.claims is None:
        examination.found("token", NOTED, "it is no JSON Web Token, so it does not tell when it expires")
    elif token.expires_at is None:
        examination.found("token", FINE, "a JSON Web Token that does not say when it expires")
    elif (left := token.expires_at - time.time()) > 0:
        examination.found("token", FINE, f"valid until {_moment(token.expires_at)}, for {_span(left)}")
    else:
        examination.wrong(
            "token",
            f"it expired at {_moment(token.expires_at)}, {_span(-left)} ago",
            "set a new one in KORE_AUTH_TOKEN, or let tokens be minted with KORE_CLIENT_ID and KORE_CLIENT_SECRET",
            asking.FAILED,
        )


def _check_way(examination: _Examination, client: CampaignClient) -> None:
    if client.proxy is not None:
        examination.found("proxy", FINE, f"calls go through {client.proxy} (HTTPS_PROXY)")
    elif any(os.environ.get(name) for name in ("https_proxy", "HTTPS_PROXY")):
        examination.found("proxy", NOTED, "HTTPS_PROXY is set and not used", "KORE_TRUST_ENV=1 uses it")


async def _call(examination: _Examination, client: CampaignClient) -> None:
    host = client.account[0]
    began = time.monotonic()
    try:
        lists = await client.list_contact_lists()
    except errors.NotSentError as error:
        examination.wrong("network", f"{host} can't be reached: {error.reason}", next_step(error), asking.FAILED)
        examination.found("clock", SKIPPED, "no answer came")
        examination.found("permissions", SKIPPED, "no answer came")
        return
    except CallError as error:
        _answered(examination, client, error, time.monotonic() - began)
        return
    except KoreCampaignError as error:
        # The budget that is shared with other processes.
        examination.wrong("rate", str(error), "check KORE_SHARED_RATE", asking.FAILED)
        return
    examination.found("network", FINE, f"{host} answered in {time.monotonic() - began:.2f} s")
    _check_clock(examination, client)
    contact_lists = f"{len(lists)} contact list{'' if len(lists) == 1 else 's'}"
    examination.found("permissions", FINE, f"the token reads the application's lists: {contact_lists}")


def _answered(examination: _Examination, client: CampaignClient, error: CallError, seconds: float) -> None:
    host, step = client.account[0], next_step(error)
    if error.status is None:
        examination.wrong("network", f"{host}: {error.reason}", step, asking.FAILED)
        examination.found("clock", SKIPPED, "no answer came")
        examination.found("permissions", SKIPPED, "no answer came")
        return
    of_the_api = not error.words.startswith("<") and not isinstance(error, errors.UnreadableReplyError)
    # An error envelope comes from the API, also with a status of 500 and more.
    failed = error.status >= 500 and not isinstance(error, errors.UnsuccessfulError)  # noqa: PLR2004  a 5xx
    if of_the_api and not failed and not _is_redirect(error):
        examination.found("network", FINE, f"{host} answered in {seconds:.2f} s")
    else:
        examination.wrong("network", f"{host} answered, and not as the API does: {error.happened}", step, asking.FAILED)
        _check_clock(examination, client)
        examination.found("permissions", SKIPPED, "the API did not answer")
        return
    _check_clock(examination, client)
    if isinstance(error, errors.ThrottledError):
        examination.found("rate", NOTED, error.happened, step)
        examination.found("permissions", SKIPPED, "the account's limit is used up")
        examination.status = max(examination.status, asking.FAILED)
        return
    examination.wrong("permissions", error.happened, step, asking.FAILED)


def _is_redirect(error: CallError) -> bool:
    return isinstance(error, errors.RedirectedError | errors.RedirectRefusedError)


def _check_clock(examination: _Examination, client: CampaignClient) -> None:
    ahead = client.clock_ahead_seconds
    if ahead is None:
        examination.found("clock", SKIPPED, "the answer has no Date")
    elif abs(ahead) < _OFF_SECONDS:
        examination.found("clock", FINE, f"within {_OFF_SECONDS:g} s of the server's")
    else:
        way = "ahead of" if ahead > 0 else "behind"
        advice = "set this machine's clock (NTP): tokens are minted and judged by the time"
        examination.found("clock", NOTED, f"{_span(abs(ahead))} {way} the server's", advice)


def _moment(epoch: float | None) -> str:
    return "no moment" if epoch is None else f"{dt.datetime.fromtimestamp(epoch, dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _span(seconds: float) -> str:
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    told = [f"{count} {unit}" for count, unit in parts if count][:2]
    return " ".join(told) or "0 s"
