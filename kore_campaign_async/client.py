"""The client: one short method per endpoint over `send`, which pays the budget and retries."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import logging
import os
import random
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Self, TypeVar

from attrs import define, field, frozen

from kore_campaign_async import wire
from kore_campaign_async.auth import Credentials, Token, as_credentials, guarded
from kore_campaign_async.budget import Budget, Clock, Shared, Sleep, Slot
from kore_campaign_async.config import (
    DEFAULT_RATE,
    Network,
    RateLimit,
    ReplyLimits,
    RetryPolicy,
    Timeouts,
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
    InvalidRequestError,
    MaybeProcessedError,
    ThrottledError,
    UnauthorizedError,
)
from kore_campaign_async.hooks import AttemptEnded, CallEnded, Hook, Hooks
from kore_campaign_async.message import LARGE_REPLY_BYTES, Request, Response, Sending
from kore_campaign_async.models import Contact, ContactList, ContactListUpdate, QueuedJob
from kore_campaign_async.pace import Pace
from kore_campaign_async.redaction import masked, printable, shown_url
from kore_campaign_async.retrying import CallRetrying, RepeatLimit

T = TypeVar("T")

logger = logging.getLogger("kore_campaign_async.calls")


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

# Where the replies go that somebody wants to see; a context's own, so that calls of other tasks are not among them.
_replies: ContextVar[_Replies | None] = ContextVar("kore_campaign_async_replies", default=None)


@contextlib.contextmanager
def raw_responses(most: int = 100) -> Iterator[Sequence[Response]]:
    """Keep the server's replies to the calls that are made in the body, in the order they come.

    Each is there as it came, with status, headers and the bytes of the body, also that of an attempt that was tried
    again or of a call that raised; only the token is masked in the body. What never came whole is not there. Tasks
    that the body starts are listened to until it ends.

    Args:
        most: of more replies than this the first are dropped.
    """
    replies = _Replies(deque(maxlen=most), _replies.get())
    before = _replies.set(replies)
    try:
        yield replies.kept
    finally:
        # A task that was started in the body has a context of its own, and may live for long.
        replies.over = True
        _replies.reset(before)


@define
class _Replies:
    kept: deque[Response]
    around: _Replies | None
    over: bool = False

    def keep(self, response: Response) -> None:
        """Keep a reply for this block and those around it."""
        if not self.over:
            self.kept.append(response)
        if self.around is not None:
            self.around.keep(response)


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
        network: the proxy, the trusted authorities, and the certificate of this machine.
        ssl_context: for trust settings of your own; certificates are verified without it too.
        hooks: functions that are told of every attempt, call, batch and run; see `kore_campaign_async.hooks`.
        clock: monotonic seconds.
        sleep: an async sleep on that clock.
        rng: for the jitter of waits.

    Raises:
        InvalidRequestError: a host, an id, a proxy or a certificate that can't be used.
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
        network: Network | None = None,
        ssl_context: ssl.SSLContext | None = None,
        hooks: Sequence[Hook] = (),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        # aiohttp is most of what this package costs to import: only who makes a client pays for it.
        from kore_campaign_async.transport import Transport, base_url, proxy_of, ssl_context_of  # noqa: PLC0415

        # URLs can hold a password, credentials can be a token's bare text, and tracebacks can show a frame's locals:
        # all of them are out of this frame before anything is raised.
        try:
            self._app_id = envelope.checked_id(app_id, "application id")
            self._account_id = envelope.checked_id(account_id, "account id")
            self._credentials = guarded(as_credentials(credentials))
            base = base_url(host)
            through = network if network is not None else Network()
            trusting = ssl_context_of(through)
            if trusting is not None and ssl_context is not None:
                raise InvalidRequestError(
                    "an ssl_context holds the authorities and certificates already: give it or those of a network"
                )
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
        #: Who is told of calls and runs.
        self.hooks = Hooks(hooks)
        self._reply_limits = reply_limits if reply_limits is not None else ReplyLimits()
        # Whether the budget and the connections are another client's.
        self._is_derived = False
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
            limits=self._reply_limits,
            retry_after_max_seconds=self._retry.retry_after_max_seconds,
            max_connections=max_connections,
            ssl_context=ssl_context if ssl_context is not None else trusting,
            proxy=proxy_of(base, through),
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ, **settings: Any) -> Self:
        """Make a client from the `KORE_*` variables, and from the file of `KORE_CONFIG`; keyword arguments overrule.

        Raises:
            InvalidRequestError: a setting is missing or wrong; the message says where it stands.
            CredentialsError: the credentials are missing or wrong.
        """
        # The environment holds the secret, and tracebacks can show a frame's locals: both go when this frame ends.
        try:
            return cls._from(environ, None, None, settings)
        finally:
            del environ, settings

    @classmethod
    def from_config(
        cls,
        path: str | Path,
        profile: str | None = None,
        environ: Mapping[str, str] = os.environ,
        **settings: Any,
    ) -> Self:
        """Make a client from a TOML file, whose settings overrule those of the environment.

        Args:
            path: of the file.
            profile: of the file; else `KORE_PROFILE` names it, else the file's `default_profile`.
            environ: for what the file does not say.
            settings: keyword arguments of the client, which overrule both.

        Raises:
            InvalidRequestError: the file can't be read, or a setting is missing or wrong; the message says where.
            CredentialsError: the credentials are missing or wrong.
        """
        try:
            return cls._from(environ, path, profile, settings)
        finally:
            del environ, settings

    @classmethod
    def _from(
        cls, environ: Mapping[str, str], path: str | Path | None, profile: str | None, given: Mapping[str, Any]
    ) -> Self:
        # Who says everything in the program does not pay for its import.
        from kore_campaign_async.settings import read_settings  # noqa: PLC0415

        try:
            found = read_settings(environ, path=path, profile=profile)
            for warning in found.warnings:
                # A path can be called like anybody or anything.
                logger.warning("%s", printable(masked(warning)))
            return cls(**found.arguments(given))
        finally:
            del environ, given

    @property
    def proxy(self) -> str | None:
        """The URL of the proxy that calls take, without its password; None where they take none."""
        return None if self._transport.proxy is None else self._transport.proxy.shown

    @property
    def clock_ahead_seconds(self) -> float | None:
        """How far this machine's clock is ahead of the server's, as the last answer told; None if it did not."""
        return self._transport.clock_ahead_seconds

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exc_info: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections. A closed client can't be used again, nor one that was made of it."""
        await self._transport.close()
        if not self._is_derived:
            await self._budget.close()

    def with_options(
        self,
        *,
        retry: RetryPolicy | None = None,
        timeouts: Timeouts | None = None,
        reply_limits: ReplyLimits | None = None,
        hooks: Sequence[Hook] | None = None,
    ) -> Self:
        """Return a client with other settings that shares this one's connections, token and budget.

        This one stays as it is. Closing the new one leaves this one open; closing this one closes both.

        Args:
            retry: when a call is tried again.
            timeouts: of one attempt.
            reply_limits: how much of a reply is read.
            hooks: instead of this client's; an empty list is none.
        """
        made = copy.copy(self)  # all that is not named here stays the same
        timeouts = timeouts if timeouts is not None else self.timeouts
        retry = retry if retry is not None else self._retry
        limits = reply_limits if reply_limits is not None else self._reply_limits
        vars(made).update(
            timeouts=timeouts,
            hooks=Hooks(hooks) if hooks is not None else self.hooks,
            _retry=retry,
            _reply_limits=limits,
            _transport=self._transport.with_options(
                timeouts=timeouts, limits=limits, retry_after_max_seconds=retry.retry_after_max_seconds
            ),
            _is_derived=True,
        )
        return made

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
        preexisting: Iterable[ContactList] | None = None,
    ) -> ContactList:
        """Create a contact list.

        The call is never repeated blindly. The lists are looked up before it, and once more where it may have been
        processed: the one list of that name that was not there before, and that is as asked, is taken for it.

        Args:
            name: 1 to 48 characters.
            description: 1 to 256 characters.
            allow_duplicates: whether the list keeps a number that it already has.
            source: the vendor's word for where the contacts come from.
            preexisting: the lists that are there, of whoever has just looked them up; it spares that call.

        Raises:
            InvalidRequestError: before any call.
            CallError: the list was not created, or nobody knows. Where the lists can't be looked up, nothing is made.
        """
        request = create_contact_list.build(
            self._app_id, name, description, allow_duplicates=allow_duplicates, source=source
        )
        lists = preexisting if preexisting is not None else await self.list_contact_lists()
        before = {one.id for one in lists if one.name == name}
        try:
            return await self.send(request)
        except MaybeProcessedError as error:
            uncertain = error
        why = ""
        with contextlib.suppress(CallError):
            new = [one for one in await self.list_contact_lists() if one.name == name and one.id not in before]
            if len(new) > 1:
                why = f"; several lists of this name are new: {', '.join(one.id for one in new)}"
            elif new:
                why = f"; the list {new[0].id} is new and has this name, and nobody knows whether it is as asked"
                made = new[0] if new[0].allow_duplicates is not None else await self.get_contact_list(new[0].id)
                if made.allow_duplicates is allow_duplicates:
                    return made
                if made.allow_duplicates is not None:
                    why = f"; the list {made.id} is new and has this name, and is not as asked"
        raise type(uncertain)(uncertain.reason + why, *uncertain.args[1:])

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
        run_id: str | None = None,
        batch: int | None = None,
    ) -> T:
        """Send a request under the budget and the retry policy, and return what its reply says.

        Args:
            request: from one of `endpoints/`.
            before_attempt: awaited with the attempt's number when its slot of the budget is taken and its
                token is there, immediately before the first byte goes out.
            after_attempt: called with every attempt that ended, also with one that was cancelled.
            run_id: of the run whose contacts it carries, which hooks are told.
            batch: the number of their batch.

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
            name=request.endpoint,
        )
        self._repeats.calls += 1
        watch = _Watch(self.hooks, request, self.account[0], run_id, batch, self._clock()) if self.hooks else None

        ended = functools.partial(self._ended, request, call, after_attempt, watch)
        attempt = functools.partial(self._attempt, request, call, before_attempt, ended)
        # A hook must not be told inside of a handler: what it raises would carry the call's error, and its frames.
        failed: BaseException
        try:
            result = await call.retrying(self._sleep)(attempt)
        except CallError as error:
            # Without its traceback the error keeps neither the body nor the frames below alive.
            failed = error.after(call.attempts, maybe_processed=call.maybe_processed).with_traceback(None)
        except BaseException as error:
            if watch is None:
                raise
            failed = error
        else:
            if watch is not None:
                watch.ended(call, None, self._clock())
            return result
        try:
            if watch is not None:
                watch.ended(call, failed, self._clock())
            if isinstance(failed, CallError):
                raise failed from None
            raise failed
        finally:
            del failed  # its traceback holds this frame, and the frame would hold it

    async def _attempt(
        self,
        request: Request[T],
        call: CallRetrying,
        before_attempt: BeforeAttempt | None,
        ended: Callable[..., None],
    ) -> T:
        async with self._budget.slot() as slot:
            token = await self._credentials.token()
            if call.attempts and self._transport.closed:
                raise ConnectionFailedError("the client was closed", request.method, request.path)
            if before_attempt is not None:
                await before_attempt(call.attempts + 1)
            result = await self._once(request, token, functools.partial(ended, slot))
            if isinstance(result, UnauthorizedError) and result.renewable:
                logger.info("%s: the token was not accepted (401)", request.endpoint)
                call.renewed = await self._credentials.renew(token)
            elif isinstance(result, ThrottledError):
                self._throttled(request, result, call, slot)
        if isinstance(result, CallError):
            try:
                raise result
            finally:
                del result  # its traceback holds this frame, and the frame would hold it
        return result

    def _ended(
        self,
        request: Request[Any],
        call: CallRetrying,
        after_attempt: AfterAttempt | None,
        watch: _Watch | None,
        slot: Slot,
        started: float,
        outcome: CallOutcome,
        error: BaseException | None = None,
        response: Response | None = None,
    ) -> None:
        """Note an attempt that is over, and tell who wants to know."""
        seconds = self._clock() - started
        call.attempted(seconds, outcome)
        told = Attempt(
            number=call.attempts,
            outcome=outcome,
            status=error.status if isinstance(error, CallError) else None,
            throttled=isinstance(error, ThrottledError),
            seconds=seconds,
            waited_seconds=slot.waited_seconds,
        )
        _log(request, told)
        if after_attempt is not None:
            after_attempt(told)
        if watch is not None:
            watch.attempted(told, error, response)

    def _throttled(self, request: Request[Any], error: ThrottledError, call: CallRetrying, slot: Slot) -> None:
        was_closed = self._budget.gate_seconds() > 0
        call.gated = slot.throttled(error.retry_after_seconds)
        if call.gated:
            logger.log(
                # The calls that were in flight when the gate closed are mostly throttled as well.
                logging.DEBUG if was_closed else logging.WARNING,
                "%s was throttled: no call goes out for %.1f s",
                request.endpoint,
                self._budget.gate_seconds(),
            )

    async def _once(self, request: Request[T], token: Token, ended: Callable[..., None]) -> T | CallError:
        """Make one attempt, tell `ended` of it however it ends, and return what it came to."""
        started = self._clock()
        sending = Sending()
        failed: BaseException | None = None
        try:
            response = await self._transport.send(request, token, sending)
            if len(response.body) <= LARGE_REPLY_BYTES:
                result = request.parse(response)
            else:
                result = await asyncio.to_thread(request.parse, response)
        except CallError as error:
            failed = error.with_traceback(None)
        except BaseException as error:  # noqa: BLE001  raised again below, outside of the handler
            failed = error
        replies = _replies.get()
        if replies is not None and sending.response is not None:
            replies.keep(sending.response)
        if failed is None:
            ended(started, CallOutcome.ACCEPTED, None, sending.response)
            return result
        try:
            if isinstance(failed, CallError):
                ended(started, failed.outcome, failed)
                return failed
            # Cancelled. A request without a body does not tell whether it went out.
            begun = sending.begun or request.body is None
            ended(started, CallOutcome.MAYBE_PROCESSED if begun else CallOutcome.NOT_SENT, failed)
            raise failed
        finally:
            del failed  # its traceback holds this frame, and the frame would hold it


@define
class _Watch:
    """Tells hooks of one call."""

    hooks: Hooks
    request: Request[Any]
    host: str
    run_id: str | None
    batch: int | None
    began: float
    waited_seconds: float = field(default=0.0, init=False)
    status: int | None = field(default=None, init=False)

    def attempted(self, attempt: Attempt, error: BaseException | None, response: Response | None) -> None:
        """Tell of an attempt."""
        self.waited_seconds += attempt.waited_seconds
        self.status = attempt.status if response is None else response.status
        self.hooks.tell(
            AttemptEnded(
                endpoint=self.request.endpoint,
                method=self.request.method,
                host=self.host,
                attempt=attempt.number,
                outcome=attempt.outcome,
                status=self.status,
                error=_name_of(error),
                throttled=attempt.throttled,
                seconds=attempt.seconds,
                waited_seconds=attempt.waited_seconds,
                run_id=self.run_id,
                batch=self.batch,
            )
        )

    def ended(self, call: CallRetrying, error: BaseException | None, now: float) -> None:
        """Tell of the call's end."""
        if error is None:
            outcome = CallOutcome.ACCEPTED
        elif call.maybe_processed:
            outcome = CallOutcome.MAYBE_PROCESSED
        else:
            outcome = error.outcome if isinstance(error, CallError) else CallOutcome.NOT_SENT
        self.hooks.tell(
            CallEnded(
                endpoint=self.request.endpoint,
                method=self.request.method,
                host=self.host,
                attempts=call.attempts,
                outcome=outcome,
                status=self.status,
                error=_name_of(error),
                seconds=now - self.began,
                waited_seconds=self.waited_seconds,
                run_id=self.run_id,
                batch=self.batch,
            )
        )


def _name_of(error: BaseException | None) -> str | None:
    return None if error is None else type(error).__name__


def _log(request: Request[Any], attempt: Attempt) -> None:
    """Log an attempt without a row, a body, a path, a token or the server's words."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    logger.debug(
        "%s: attempt %d %s%s in %.3f s, after waiting %.3f s for the budget",
        request.endpoint,
        attempt.number,
        attempt.outcome.value,
        "" if attempt.status is None else f" with status {attempt.status}",
        attempt.seconds,
        attempt.waited_seconds,
    )


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
