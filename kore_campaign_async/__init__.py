"""An async client of Kore.ai campaign contact lists, and a bulk ingestion that accounts for every contact."""

import importlib
import typing

# A name is imported when it is first asked for, so that nobody waits for what they do not use. Type checkers see it
# here, and nothing else: they must not take every name for one of ours.
if typing.TYPE_CHECKING:
    from kore_campaign_async.auth import Credentials, JwtCredentials, StaticToken
    from kore_campaign_async.client import Attempt, CampaignClient
    from kore_campaign_async.config import (
        BatchLimits,
        IngestOptions,
        NewList,
        Plan,
        Progress,
        RateLimit,
        ReplyLimits,
        RetryPolicy,
        Timeouts,
    )
    from kore_campaign_async.errors import (
        AccountingError,
        CallError,
        CallOutcome,
        CertificateError,
        ConnectionFailedError,
        ConnectionLostError,
        ContactListError,
        CredentialsError,
        ForbiddenError,
        InvalidRequestError,
        KoreCampaignError,
        MaybeProcessedError,
        NotFoundError,
        NotSentError,
        PayloadTooLargeError,
        RedirectedError,
        RedirectRefusedError,
        RefusedError,
        ReplyTimeoutError,
        RunDirectoryError,
        ServerError,
        SharedRateError,
        SourceError,
        ThrottledError,
        UnauthorizedError,
        UnexpectedReplyError,
        UnreadableReplyError,
        UnsuccessfulError,
    )
    from kore_campaign_async.ingest.records import Outcome, State
    from kore_campaign_async.ingest.report import BudgetUse, Calls, Counts, IngestReport
    from kore_campaign_async.ingest.start import OutcomeStream, ingest_contacts, iter_outcomes, resume_ingest
    from kore_campaign_async.models import (
        Campaign,
        Contact,
        ContactFile,
        ContactList,
        ContactListUpdate,
        QueuedJob,
    )
else:

    def __getattr__(name: str) -> object:
        """Import a public name from its module."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        """Name what is there, imported or not."""
        return sorted({*globals(), *__all__})


__all__ = [
    "AccountingError",
    "Attempt",
    "BatchLimits",
    "BudgetUse",
    "CallError",
    "CallOutcome",
    "Calls",
    "Campaign",
    "CampaignClient",
    "CertificateError",
    "ConnectionFailedError",
    "ConnectionLostError",
    "Contact",
    "ContactFile",
    "ContactList",
    "ContactListError",
    "ContactListUpdate",
    "Counts",
    "Credentials",
    "CredentialsError",
    "ForbiddenError",
    "IngestOptions",
    "IngestReport",
    "InvalidRequestError",
    "JwtCredentials",
    "KoreCampaignError",
    "MaybeProcessedError",
    "NewList",
    "NotFoundError",
    "NotSentError",
    "Outcome",
    "OutcomeStream",
    "PayloadTooLargeError",
    "Plan",
    "Progress",
    "QueuedJob",
    "RateLimit",
    "RedirectRefusedError",
    "RedirectedError",
    "RefusedError",
    "ReplyLimits",
    "ReplyTimeoutError",
    "RetryPolicy",
    "RunDirectoryError",
    "ServerError",
    "SharedRateError",
    "SourceError",
    "State",
    "StaticToken",
    "ThrottledError",
    "Timeouts",
    "UnauthorizedError",
    "UnexpectedReplyError",
    "UnreadableReplyError",
    "UnsuccessfulError",
    "ingest_contacts",
    "iter_outcomes",
    "resume_ingest",
]

_HOMES = {
    "AccountingError": "errors",
    "Attempt": "client",
    "BatchLimits": "config",
    "BudgetUse": "ingest.report",
    "CallError": "errors",
    "CallOutcome": "errors",
    "Calls": "ingest.report",
    "Campaign": "models",
    "CampaignClient": "client",
    "CertificateError": "errors",
    "ConnectionFailedError": "errors",
    "ConnectionLostError": "errors",
    "Contact": "models",
    "ContactFile": "models",
    "ContactList": "models",
    "ContactListError": "errors",
    "ContactListUpdate": "models",
    "Counts": "ingest.report",
    "Credentials": "auth",
    "CredentialsError": "errors",
    "ForbiddenError": "errors",
    "IngestOptions": "config",
    "IngestReport": "ingest.report",
    "InvalidRequestError": "errors",
    "JwtCredentials": "auth",
    "KoreCampaignError": "errors",
    "MaybeProcessedError": "errors",
    "NewList": "config",
    "NotFoundError": "errors",
    "NotSentError": "errors",
    "Outcome": "ingest.records",
    "OutcomeStream": "ingest.start",
    "PayloadTooLargeError": "errors",
    "Plan": "config",
    "Progress": "config",
    "QueuedJob": "models",
    "RateLimit": "config",
    "RedirectRefusedError": "errors",
    "RedirectedError": "errors",
    "RefusedError": "errors",
    "ReplyLimits": "config",
    "ReplyTimeoutError": "errors",
    "RetryPolicy": "config",
    "RunDirectoryError": "errors",
    "ServerError": "errors",
    "SharedRateError": "errors",
    "SourceError": "errors",
    "State": "ingest.records",
    "StaticToken": "auth",
    "ThrottledError": "errors",
    "Timeouts": "config",
    "UnauthorizedError": "errors",
    "UnexpectedReplyError": "errors",
    "UnreadableReplyError": "errors",
    "UnsuccessfulError": "errors",
    "ingest_contacts": "ingest.start",
    "iter_outcomes": "ingest.start",
    "resume_ingest": "ingest.start",
}
