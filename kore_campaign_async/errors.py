"""Every exception of the package, and what each one says about the call it ended.

::

    KoreCampaignError
    ├── InvalidRequestError        a value the API would not take; raised before any call (also a ValueError)
    ├── CredentialsError           no token could be made; raised before any call
    ├── SourceError                the contacts can't be read as they are given
    ├── ContactListError           the contact list can't be pushed to as asked: missing, ambiguous, wrong kind
    ├── RunDirectoryError          the run directory can't be used
    ├── SharedRateError            the budget that is shared with other processes can't be reached
    ├── AccountingError            the states don't add up: a fault of this package
    └── CallError                  a call was tried and failed
        ├── NotSentError           NOT_SENT: no byte of the body was written
        │   ├── ConnectionFailedError      DNS, refused, closed or timed out before the body
        │   ├── ProxyError                 a proxy that was asked for lets the call not through; permanent
        │   └── CertificateError           TLS certificate wrong or untrusted; permanent
        ├── MaybeProcessedError    MAYBE_PROCESSED: the server may have acted on it
        │   ├── ConnectionLostError        closed, reset or cut off after the body went out
        │   ├── ReplyTimeoutError          no whole answer in time
        │   ├── UnreadableReplyError       an answer that can't be understood, or is too large
        │   ├── UnexpectedReplyError       a 2xx that does not say what success says
        │   ├── RedirectedError            301, 302, 303: never followed
        │   └── ServerError                408 and 5xx
        └── RefusedError           REFUSED: a real response said no
            ├── ThrottledError             429, or the words of a rate limit
            ├── UnauthorizedError          401
            │   └── ScopeError                 401 that speaks of the scope: another token does not help
            ├── ForbiddenError             403
            ├── NotFoundError              404
            ├── PayloadTooLargeError       413
            ├── RedirectRefusedError       307, 308: never followed
            └── UnsuccessfulError          an error envelope, whatever its HTTP status

All of them survive pickling, and none of them holds a token, a secret or a request body. Only what a caller's own token
function raised stands, as it is, behind a CredentialsError as its cause.
"""

from __future__ import annotations

import enum
from typing import ClassVar, Self


class CallOutcome(enum.Enum):
    """What is known of a call once it is over."""

    NOT_SENT = "not sent"
    MAYBE_PROCESSED = "maybe processed"
    REFUSED = "refused"
    ACCEPTED = "accepted"


class KoreCampaignError(Exception):
    """The base of everything this package raises on purpose."""


class InvalidRequestError(KoreCampaignError, ValueError):
    """A value that the API would not take, found before any call."""


class CredentialsError(KoreCampaignError):
    """No token could be made from the credentials."""


class SourceError(KoreCampaignError):
    """The contacts can't be read as they are given."""


class ContactListError(KoreCampaignError):
    """The contact list can't be pushed to as asked."""


class RunDirectoryError(KoreCampaignError):
    """The run directory can't be used."""


class SharedRateError(KoreCampaignError):
    """The budget that is shared with other processes can't be reached."""


class AccountingError(KoreCampaignError):
    """The states of a run don't add up to the contacts read: a fault of this package."""


class CallError(KoreCampaignError):
    """A call was tried and failed.

    Attributes:
        outcome: what is known of the call (on the class).
        retryable: whether the failure is of a kind that can pass (on the class). A call that may have
            been processed is repeated only if its request is repeatable as well.
        reason: what happened, in a few words.
        method: the HTTP method.
        path: the path of the URL, without host and query.
        status: the HTTP status of a real response, else None.
        words: the server's own words, shortened, control characters escaped; may be empty.
        retry_after_seconds: what a sane Retry-After asked for, else None.
        attempts: how often the call was tried.
        maybe_processed: whether this attempt or an earlier one may have been processed.
    """

    outcome: ClassVar[CallOutcome] = CallOutcome.MAYBE_PROCESSED
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        reason: str,
        method: str,
        path: str,
        status: int | None = None,
        words: str = "",
        retry_after_seconds: float | None = None,
        attempts: int = 1,
        maybe_processed: bool | None = None,
    ) -> None:
        super().__init__(reason, method, path, status, words, retry_after_seconds, attempts, maybe_processed)
        self.reason = reason
        self.method = method
        self.path = path
        self.status = status
        self.words = words
        self.retry_after_seconds = retry_after_seconds
        self.attempts = attempts
        self.maybe_processed = (
            self.outcome is CallOutcome.MAYBE_PROCESSED if maybe_processed is None else maybe_processed
        )

    def after(self, attempts: int, *, maybe_processed: bool = False) -> Self:
        """Note what happened to the call before this, also for a pickle, and return self.

        Args:
            attempts: how often it was tried, the last one included.
            maybe_processed: whether an earlier attempt may have been processed.
        """
        self.attempts = attempts
        self.maybe_processed = self.maybe_processed or maybe_processed
        self.args = (*self.args[:-2], attempts, self.maybe_processed)
        return self

    @property
    def happened(self) -> str:
        """What happened, with the status and the server's words, in one line."""
        status = "" if self.status is None else f"{self.status}: "
        words = f" ({self.words})" if self.words else ""
        return f"{status}{self.reason}{words}"

    def __repr__(self) -> str:
        # Without its words: asyncio logs tasks with what they raised.
        return f"{type(self).__name__}(method={self.method!r}, status={self.status!r}, attempts={self.attempts})"

    def __str__(self) -> str:
        tries = f", after {self.attempts} attempts" if self.attempts > 1 else ""
        return f"{self.method} {self.path}: {self.happened}{tries}"


def named(error: Exception) -> str:
    """An error's class, and its status if it has one: all that is logged of it."""
    status = error.status if isinstance(error, CallError) else None
    return type(error).__name__ + ("" if status is None else f" with status {status}")


class NotSentError(CallError):
    """No byte of the body was written."""

    outcome = CallOutcome.NOT_SENT
    retryable = True


class ConnectionFailedError(NotSentError):
    """DNS, a refused or closed connection, or no connection in time."""


class ProxyError(NotSentError):
    """The proxy does not let the call through, such as with 407; trying again does not help."""

    retryable = False


class CertificateError(NotSentError):
    """The server's certificate is wrong or untrusted; trying again does not help."""

    retryable = False


class MaybeProcessedError(CallError):
    """The server may have acted on the call; no usable answer came."""

    outcome = CallOutcome.MAYBE_PROCESSED
    retryable = True


class ConnectionLostError(MaybeProcessedError):
    """The connection was closed or reset after the body went out."""


class ReplyTimeoutError(MaybeProcessedError):
    """No whole answer came in time."""


class UnreadableReplyError(MaybeProcessedError):
    """The answer can't be understood, was cut off, or is too large."""


class UnexpectedReplyError(MaybeProcessedError):
    """A 2xx that does not say what success says."""


class RedirectedError(MaybeProcessedError):
    """301, 302 or 303, which are never followed."""


class ServerError(MaybeProcessedError):
    """408 or 5xx."""


class RefusedError(CallError):
    """A real response said no."""

    outcome = CallOutcome.REFUSED


class ThrottledError(RefusedError):
    """429, or an answer in the words of a rate limit."""

    retryable = True


class UnauthorizedError(RefusedError):
    """401: the token is not accepted.

    Attributes:
        renewable: whether another token can help (on the class).
    """

    renewable: ClassVar[bool] = True


class ScopeError(UnauthorizedError):
    """401 whose words speak of the scope: the app lacks it, or was not published since it got it."""

    renewable = False


class ForbiddenError(RefusedError):
    """403: the token is not allowed to do this."""


class NotFoundError(RefusedError):
    """404: no such list or endpoint."""


class PayloadTooLargeError(RefusedError):
    """413: the body is larger than the server takes."""


class RedirectRefusedError(RefusedError):
    """307 or 308, which are never followed."""


class UnsuccessfulError(RefusedError):
    """An error envelope, whatever its HTTP status: it has `errors`, or a text for `status` that is not "success"."""
