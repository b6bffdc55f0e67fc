"""Spans and metrics of calls and runs by OpenTelemetry (extra `otel`): a hook, and nothing that a hook is not told.

So neither holds a contact, a phone number, a token or the server's words. What the HTTP conventions name is named so;
everything else begins with `kore.`.
"""

from __future__ import annotations

import functools
import time
from contextvars import ContextVar, Token
from typing import Any, Final
from urllib.parse import urlsplit

from kore_campaign_async.hooks import AttemptEnded, BatchSettled, CallEnded, Event, RunEnded, RunStarted

try:
    from opentelemetry import context, metrics, trace
    from opentelemetry.context import Context
except ImportError:
    raise ImportError(
        "spans and metrics need the extra otel: pip install 'kore-campaign-async[otel]'", name="opentelemetry"
    ) from None

_SCOPE: Final = "kore_campaign_async"
# Those of the HTTP conventions; waits are as long as a window of the account's limit.
_DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30)
_WAIT_BOUNDS: Final = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300)
_AN_ERROR: Final = 400

_OF_BATCHES: Final = ("accepted", "refused", "uncertain", "unsent")
_LEFT_OUT: Final = ("rejected", "duplicate", "suppressed")
_STATES: Final = (*_OF_BATCHES, *_LEFT_OUT)


class OpenTelemetry:
    """A hook that makes a span of every call and every run, and counts and measures both.

    Use it as `CampaignClient(…, hooks=[OpenTelemetry()])`. A call's span stands under the run's, or under the span that
    is current where the call is made. The counters of contacts count what this process settled: what was left out of a
    run before is counted again when the run is resumed, since its rows are read again.

    Args:
        tracer_provider: makes the spans; by default the global one.
        meter_provider: makes the metrics; by default the global one.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
    ) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)
        # The run of this task and of all that it starts: names of runs can be alike.
        self._run: ContextVar[tuple[trace.Span, Token[Context]] | None] = ContextVar("kore_run", default=None)
        self._durations = meter.create_histogram(
            "http.client.request.duration",
            "s",
            "Duration of HTTP client requests.",
            explicit_bucket_boundaries_advisory=_DURATION_BOUNDS,
        )
        self._waits = meter.create_histogram(
            "kore.budget.wait",
            "s",
            "How long attempts of calls waited for the account's limit.",
            explicit_bucket_boundaries_advisory=_WAIT_BOUNDS,
        )
        self._calls = meter.create_counter("kore.calls", "{call}", "Calls by what is known of them.")
        self._throttled = meter.create_counter("kore.throttled", "{attempt}", "Attempts that a rate limit refused.")
        self._contacts = meter.create_counter("kore.contacts", "{contact}", "Contacts by the state they ended in.")
        self._runs = meter.create_counter("kore.runs", "{run}", "Runs by how they ended.")

    def __call__(self, event: Event) -> None:
        """Take an event."""
        match event:
            case AttemptEnded():
                self._attempt_ended(event)
            case CallEnded():
                self._call_ended(event)
            case BatchSettled():
                for state in _OF_BATCHES:
                    self._settled(state, getattr(event, state))
            case RunStarted():
                self._run_started(event)
            case RunEnded():
                self._run_ended(event)

    def _attempt_ended(self, event: AttemptEnded) -> None:
        self._durations.record(event.seconds, _http(event))
        self._waits.record(event.waited_seconds, {"kore.endpoint": event.endpoint})
        if event.throttled:
            self._throttled.add(1, {"kore.endpoint": event.endpoint})

    def _call_ended(self, event: CallEnded) -> None:
        known = {"kore.endpoint": event.endpoint, "kore.outcome": event.outcome.name.lower()}
        self._calls.add(1, known)
        attributes = {
            **_http(event),
            **known,
            "kore.attempts": event.attempts,
            "kore.waited_seconds": event.waited_seconds,
        }
        if event.attempts > 1:
            attributes["http.request.resend_count"] = event.attempts - 1
        if event.run_id is not None:
            attributes["kore.run_id"] = event.run_id
        if event.batch is not None:
            attributes["kore.batch"] = event.batch
        now = time.time_ns()
        span = self._tracer.start_span(
            f"{event.method} {event.endpoint}",
            kind=trace.SpanKind.CLIENT,
            attributes=attributes,
            start_time=now - int(event.seconds * 1e9),
        )
        if event.error is not None:
            span.set_status(trace.StatusCode.ERROR)
        span.end(now)

    def _run_started(self, event: RunStarted) -> None:
        span = self._tracer.start_span(
            "kore.ingest",
            attributes={
                "kore.run_id": event.run_id,
                "kore.resumed": event.resumed,
                "kore.dry_run": event.dry_run,
                "kore.concurrency": event.concurrency,
            },
        )
        # Current until the run ends, also for what other instrumentation sees of its calls.
        self._run.set((span, context.attach(trace.set_span_in_context(span))))

    def _run_ended(self, event: RunEnded) -> None:
        self._runs.add(1, {"kore.state": event.state})
        if not event.dry_run:
            for state in _LEFT_OUT:
                self._settled(state, getattr(event, state))
        run = self._run.get()
        if run is None:
            return
        self._run.set(None)
        span, token = run
        span.set_attributes(
            {
                "kore.state": event.state,
                **{f"kore.contacts.{name}": getattr(event, name) for name in ("read", *_STATES)},
                "kore.calls.sent": event.sent,
                "kore.calls.retried": event.retried,
                "kore.calls.throttled": event.throttled,
                "kore.waited_seconds": event.waited_seconds,
            }
        )
        if event.state == "stopped":
            span.set_status(trace.StatusCode.ERROR)
        context.detach(token)
        span.end()

    def _settled(self, state: str, count: int) -> None:
        if count:
            self._contacts.add(count, {"kore.state": state})


def _http(event: AttemptEnded | CallEnded) -> dict[str, Any]:
    """The attributes of the HTTP conventions that calls and attempts share."""
    address, port = _server(event.host)
    attributes: dict[str, Any] = {
        "http.request.method": event.method,
        "server.address": address,
        "server.port": port,
    }
    if event.status is not None:
        attributes["http.response.status_code"] = event.status
    if event.error is not None:
        is_answer = event.status is not None and event.status >= _AN_ERROR
        attributes["error.type"] = str(event.status) if is_answer else event.error
    return attributes


@functools.lru_cache(maxsize=64)
def _server(host: str) -> tuple[str, int]:
    parts = urlsplit(host)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
