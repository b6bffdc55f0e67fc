"""What to do next about an error, in a part of a sentence."""

from __future__ import annotations

from typing import Final

from kore_campaign_async import errors
from kore_campaign_async.errors import CallError

# The first row that fits holds, so subclasses stand above their bases.
_ADVICE: Final[tuple[tuple[type[CallError], str], ...]] = (
    (errors.CertificateError, "check KORE_HOST; where a proxy opens TLS, name its authority with KORE_CA_BUNDLE"),
    (errors.ProxyError, "check HTTPS_PROXY, or leave KORE_TRUST_ENV out to call directly"),
    (errors.ConnectionFailedError, "check KORE_HOST and the network; KORE_TRUST_ENV=1 takes the proxy of HTTPS_PROXY"),
    (errors.ThrottledError, "wait a minute, or give the share of the limit that is yours with KORE_RATE"),
    (
        errors.ScopeError,
        "give the app the scope Campaign Management and publish it after that: another token does not help",
    ),
    (errors.UnauthorizedError, "check the credentials"),
    (errors.ForbiddenError, "check KORE_APP_ID and KORE_ACCOUNT_ID, and what the app may do"),
    (errors.NotFoundError, "check KORE_HOST, KORE_APP_ID and the id; kore-campaign lists shows the lists' ids"),
    (errors.RedirectedError, "check KORE_HOST: it must be the host that answers itself"),
    (errors.RedirectRefusedError, "check KORE_HOST: it must be the host that answers itself"),
    (errors.ReplyTimeoutError, "try again in a while; a push takes a longer --timeout"),
    (errors.ConnectionLostError, "try again in a while"),
    (errors.ServerError, "try again in a while"),
    (errors.UnreadableReplyError, "check KORE_HOST"),
    (errors.RefusedError, "the server's words say why; mend what was sent"),
)
_PAGE: Final = "a page answered where the API should: check KORE_HOST, and what proxy or login stands in the way"


#: Behind the advice of every command but doctor itself, where the account's settings may be at fault.
DOCTOR: Final = "; kore-campaign doctor tells more"


def asks_for_doctor(error: CallError) -> bool:
    """Whether the account's settings may be at fault."""
    return isinstance(error, errors.NotSentError | errors.UnauthorizedError | errors.UnreadableReplyError)


def next_step(error: CallError) -> str:
    """What to do about a call that failed."""
    if error.words.startswith("<"):
        return _PAGE
    return next((advice for kind, advice in _ADVICE if isinstance(error, kind)), "try again in a while")
