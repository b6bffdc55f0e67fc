"""The client: one short method per endpoint over `send`, which pays the budget and retries."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import random
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

from attrs import frozen

from kore_campaign_async import wire
from kore_campaign_async.auth import Credentials, JwtCredentials, StaticToken, Token, as_credentials
from kore_campaign_async.budget import Budget, Clock, Shared, Sleep, Slot
from kore_campaign_async.config import (
    DEFAULT_RATE,
    RateLimit,
    ReplyLimits,
    RetryPolicy,
    Timeouts,
    parse_rates,
)
from kore_campaign_async.endpoints import (
    add_contacts,
    create_contact_list,
    envelope,
    get_contact_list,
    list_contact_lists,
    update_contact_list,
)
from kore_campaign_async.errors import (
    CallError,
    CallOutcome,
    ConnectionFailedError,
    CredentialsError,
    InvalidRequestError,
    MaybeProcessedError,
    ThrottledError,
    UnauthorizedError,
)
from kore_campaign_async.message import Request, Sending
from kore_campaign_async.models import Contact, ContactList, ContactListUpdate, QueuedJob
from kore_campaign_async.pace import Pace
from kore_campaign_async.retrying import CallRetrying, RepeatLimit

T = TypeVar("T")

logger = logging.getLogger("kore_campaign_async")

#: Stands in a shared rate's URL where something of it is not shown.
HIDDEN: Final = "***@"


@frozen(kw_only=True)
class Attempt:
    """One attempt of a call that is over.

    Attributes:
        number: the first is 1.
        outcome: what is known of it.
        status: of a real response, where there was one and the attempt failed.
        throttled: whether the answer was that of a rate limit.
        seconds: how long it took, its wait for the budget left out.
        waited_seconds: how long it waited for the budget.
    """

    number: int
    outcome: CallOutcome
    status: int | None
    throttled: bool
    seconds: float
    waited_seconds: float


BeforeAttempt = Callable[[int], Awaitable[None]]
AfterAttempt = Callable[[Attempt], None]


class CampaignClient:
    """Talks to the campaign contact lists of one account.

    Use it as `async with CampaignClient(…) as client:`, or call `close` at the end.

    Args:
        host: a bare host name or a URL, such as `https://platform.kore.ai`.
        app_id: the application id (`iid`).
        account_id: the account id.
        credentials: `JwtCredentials`, `StaticToken`, or an async function that returns a token.
        rate: the account's limits, all of which hold; an empty tuple is no limit.
        shared_rate: the URL of a Redis in which all processes that use the account keep its limits together
            (extra `redis`), such as `redis://host:6379`; without it they are this client's own.
        retry: when a call is tried again.
        timeouts: of one attempt.
        reply_limits: how much of a reply is read.
        max_connections: how many connections are open at once.
        ssl_context: for trust settings of your own; certificates are verified without it too.
        clock: monotonic seconds.
        sleep: an async sleep on that clock.
        rng: for the jitter of waits.

    Raises:
        InvalidRequestError: a host or an id that can't be used.
        CredentialsError: something else than credentials.
    """

    def __init__(
        self,
        host: str,
        *,
        app_id: str,
        account_id: str,
        credentials: Credentials | Callable[[], Awaitable[str]],
        rate: Sequence[RateLimit] = DEFAULT_RATE,
        shared_rate: str | None = None,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        reply_limits: ReplyLimits | None = None,
        max_connections: int = 100,
        ssl_context: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        # aiohttp is most of what this package costs to import: only who makes a client pays for it.
        from kore_campaign_async.transport import Transport, base_url  # noqa: PLC0415

        # URLs can hold a password, credentials can be a token's bare text, and tracebacks can show a frame's locals:
        # all of them are out of this frame before anything is raised.
        try:
            self._app_id = envelope.checked_id(app_id, "application id")
            self._account_id = envelope.checked_id(account_id, "account id")
            self._credentials = as_credentials(credentials)
            base = base_url(host)
            #: The account's limits, as they were given.
            self.rate = tuple(rate)
            #: Where processes share them, without a password; None where they don't.
            self.shared_rate = None if shared_rate is None else shown_url(shared_rate)
            shared = None if shared_rate is None else _shared(shared_rate, self._account_id, self.rate, clock, sleep)
        finally:
            del host, credentials, shared_rate
        self._retry = retry if retry is not None else RetryPolicy()
        self._clock = clock
        self._sleep = sleep
        self._rng = rng if rng is not None else random.Random()  # noqa: S311  jitter is no secret
        self._repeats = RepeatLimit()
        self._budget = Budget(rate, shared=shared, clock=clock, sleep=sleep)
        #: The timeouts of one attempt.
        self.timeouts = timeouts if timeouts is not None else Timeouts()
        #: Whose lists these are: the host's URL, the application id and the account id.
        self.account = (base, self._app_id, self._account_id)
        self._transport = Transport(
            base,
            {
                wire.HEADER_APP_ID: self._app_id,
                wire.HEADER_ACCOUNT_ID: self._account_id,
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": "kore-campaign-async",
            },
            timeouts=self.timeouts,
            limits=reply_limits if reply_limits is not None else ReplyLimits(),
            retry_after_max_seconds=self._retry.retry_after_max_seconds,
            max_connections=max_connections,
            ssl_context=ssl_context,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **settings: Any) -> Self:
        """Make a client from the `KORE_*` variables; keyword arguments overrule them.

        Raises:
            InvalidRequestError: a variable is missing or wrong; the message names it.
            CredentialsError: the credentials' variables are missing.
        """
        # The environment holds the secret, and tracebacks can show a frame's locals: both go when this frame ends.
        try:
            missing = [name for name in ("KORE_HOST", "KORE_APP_ID", "KORE_ACCOUNT_ID") if not environ.get(name)]
            if missing:
                are = "is" if len(missing) == 1 else "are"
                raise InvalidRequestError(f"{' and '.join(missing)} {are} not set in the environment")
            if "credentials" not in settings:
                settings["credentials"] = _credentials_from(environ)
            if "rate" not in settings and environ.get("KORE_RATE", "").strip():
                settings["rate"] = _rate_from(environ["KORE_RATE"])
            if "shared_rate" not in settings and environ.get("KORE_SHARED_RATE", "").strip():
                settings["shared_rate"] = environ["KORE_SHARED_RATE"].strip()
            return cls(
                environ["KORE_HOST"],
                app_id=environ["KORE_APP_ID"],
                account_id=environ["KORE_ACCOUNT_ID"],
                **settings,
            )
        finally:
            del environ, settings

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A closed client can't be used again."""
        await self._transport.close()
        await self._budget.close()

    def pace(self, most: int) -> Pace:
        """Return what keeps as many calls in flight as the budget and the latency need, and at most so many."""
        return Pace(self._budget, most, self._sleep)

    async def create_contact_list(
        self,
        name: str,
        description: str,
        *,
        allow_duplicates: bool = False,
        source: str = wire.SOURCE_PASSIVE_API,
    ) -> ContactList:
        """Create a contact list.

        The call is never repeated blindly: where it may have been processed, the list is looked up by its
        name, and exactly one match is taken for it.

        Args:
            name: 1 to 48 characters.
            description: 1 to 256 characters.
            allow_duplicates: whether the list keeps a number that it already has.
            source: the vendor's word for where the contacts come from.

        Raises:
            InvalidRequestError: before any call.
            CallError: the list was not created, or nobody knows.
        """
        request = create_contact_list.build(
            self._app_id, name, description, allow_duplicates=allow_duplicates, source=source
        )
        try:
            return await self.send(request)
        except MaybeProcessedError as error:
            uncertain = error
        try:
            found = [one for one in await self.list_contact_lists() if one.name == name]
        except CallError:
            found = []
        if len(found) == 1:
            return found[0]
        raise uncertain

    async def add_contacts(
        self, contact_list_name: str, contacts: Sequence[Contact], *, repeatable: bool = False
    ) -> QueuedJob:
        """Queue contacts for a list, in one call. Queued is not added.

        Args:
            contact_list_name: an existing list's name.
            contacts: at least one.
            repeatable: say so only if the list drops duplicates: the call is then sent again where it may
                have been processed.

        Raises:
            InvalidRequestError: before any call.
            CallError: its `outcome` tells whether the contacts may have been queued.
        """
        return await self.send(add_contacts.build(self._app_id, contact_list_name, contacts, repeatable=repeatable))

    async def update_contact_list(
        self,
        contact_list_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        allow_duplicates: bool | None = None,
        source: str | None = None,
    ) -> ContactListUpdate:
        """Update a contact list; what is left out stays as it is.

        Raises:
            InvalidRequestError: nothing to update, or a value that can't be right; before any call.
            CallError: the list was not updated, or nobody knows.
        """
        return await self.send(
            update_contact_list.build(
                self._app_id,
                contact_list_id,
                name=name,
                description=description,
                allow_duplicates=allow_duplicates,
                source=source,
            )
        )

    async def list_contact_lists(self) -> tuple[ContactList, ...]:
        """Get all contact lists of the application; CallError if they can't be read."""
        return await self.send(list_contact_lists.build(self._app_id, self._account_id))

    async def get_contact_list(self, contact_list_id: str) -> ContactList:
        """Get one contact list; the read that tells whether it drops duplicates. CallError if it can't be read."""
        return await self.send(get_contact_list.build(self._app_id, self._account_id, contact_list_id))

    def add_encoded_contacts(
        self, contact_list_name: str, encoded: bytes, *, contacts: int, repeatable: bool
    ) -> Request[QueuedJob]:
        """Build the `addContacts` request of contacts that are JSON objects already, for `send`."""
        return add_contacts.build_encoded(
            self._app_id, contact_list_name, encoded, contacts=contacts, repeatable=repeatable
        )

    async def send(
        self,
        request: Request[T],
        *,
        before_attempt: BeforeAttempt | None = None,
        after_attempt: AfterAttempt | None = None,
    ) -> T:
        """Send a request under the budget and the retry policy, and return what its reply says.

        Args:
            request: from one of `endpoints/`.
            before_attempt: awaited with the attempt's number when its slot of the budget is taken and its
                token is there, immediately before the first byte goes out.
            after_attempt: called with every attempt that ended, also with one that was cancelled.

        Raises:
            CallError: the last attempt's failure.
            CredentialsError: no token could be made.
        """
        call = CallRetrying(
            self._retry,
            repeatable=request.repeatable,
            repeats=self._repeats,
            rng=self._rng,
            go_on=lambda: not self._transport.closed,
        )
        self._repeats.calls += 1

        def ended(slot: Slot, started: float, outcome: CallOutcome, error: CallError | None = None) -> None:
            seconds = self._clock() - started
            call.attempted(seconds, outcome)
            told = Attempt(
                number=call.attempts,
                outcome=outcome,
                status=None if error is None else error.status,
                throttled=isinstance(error, ThrottledError),
                seconds=seconds,
                waited_seconds=slot.waited_seconds,
            )
            _log(request, told)
            if after_attempt is not None:
                after_attempt(told)

        async def attempt() -> T:
            async with self._budget.slot() as slot:
                token = await self._credentials.token()
                if call.attempts and self._transport.closed:
                    raise ConnectionFailedError("the client was closed", request.method, request.path)
                if before_attempt is not None:
                    await before_attempt(call.attempts + 1)
                result = await self._once(request, token, functools.partial(ended, slot))
                if isinstance(result, UnauthorizedError):
                    call.renewed = await self._credentials.renew(token)
                elif isinstance(result, ThrottledError):
                    call.gated = slot.throttled(result.retry_after_seconds)
            if isinstance(result, CallError):
                try:
                    raise result
                finally:
                    del result  # its traceback holds this frame, and the frame would hold it
            return result

        try:
            return await call.retrying(self._sleep)(attempt)
        except CallError as error:
            # Without its traceback the error keeps neither the body nor the frames below alive.
            raise error.after(call.attempts, maybe_processed=call.maybe_processed).with_traceback(None) from None

    async def _once(self, request: Request[T], token: Token, ended: Callable[..., None]) -> T | CallError:
        """Make one attempt, tell `ended` of it however it ends, and return what it came to."""
        started = self._clock()
        sending = Sending()
        try:
            result = request.parse(await self._transport.send(request, token, sending))
        except CallError as error:
            ended(started, error.outcome, error)
            return error.with_traceback(None)
        except BaseException:
            # Cancelled. A request without a body does not tell whether it went out.
            begun = sending.begun or request.body is None
            ended(started, CallOutcome.MAYBE_PROCESSED if begun else CallOutcome.NOT_SENT)
            raise
        ended(started, CallOutcome.ACCEPTED)
        return result


def _log(request: Request[Any], attempt: Attempt) -> None:
    """Log an attempt without a row, a body, a token or the server's words."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    logger.debug(
        "%s %s: attempt %d %s%s in %.3f s",
        request.method,
        request.path,
        attempt.number,
        attempt.outcome.value,
        "" if attempt.status is None else f" with status {attempt.status}",
        attempt.seconds,
    )


def shown_url(url: str) -> str:
    """A URL without what may be secret: user, password and query; of one that is none, nothing."""
    shown = HIDDEN
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        where = parts.hostname or ""
        where += f":{parts.port}" if parts.port is not None else ""
        if parts.scheme == "unix" or re.fullmatch(r"/[0-9]+", parts.path):
            where += parts.path
        shown = f"{parts.scheme}://{HIDDEN if '@' in parts.netloc or parts.query else ''}{where}"
    del url
    return shown


def _shared(url: str, account_id: str, limits: Sequence[RateLimit], clock: Clock, sleep: Sleep) -> Shared:
    try:
        if not limits:
            raise InvalidRequestError(
                "no rate can't be shared: give the account's limits, or leave the shared rate out"
            )
        try:
            # Who shares nothing needs no Redis client.
            from kore_campaign_async.budget_redis import RedisBudget  # noqa: PLC0415
        except ImportError:
            raise InvalidRequestError(
                "a shared rate needs the extra redis: pip install 'kore-campaign-async[redis]'"
            ) from None
        return RedisBudget(url, shown_url(url), account_id, limits, clock=clock, sleep=sleep)
    finally:
        del url


def _rate_from(text: str) -> tuple[RateLimit, ...]:
    try:
        return parse_rates(tuple(text.split()))
    except ValueError as error:
        raise InvalidRequestError(f"KORE_RATE: {error}") from None


def _credentials_from(environ: Mapping[str, str]) -> Credentials:
    try:
        if environ.get("KORE_CLIENT_ID") and environ.get("KORE_CLIENT_SECRET"):
            return JwtCredentials(environ["KORE_CLIENT_ID"], environ["KORE_CLIENT_SECRET"])
        if environ.get("KORE_AUTH_TOKEN"):
            return StaticToken(environ["KORE_AUTH_TOKEN"])
        raise CredentialsError(
            "no credentials in the environment: set KORE_CLIENT_ID with KORE_CLIENT_SECRET, or KORE_AUTH_TOKEN"
        )
    finally:
        del environ
