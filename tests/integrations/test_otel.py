"""Spans and metrics as an exporter gets them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attrs import define, field
from fakes import FakeTime, answering, client_for, enveloped, in_turn, raw_server, said
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.semconv.metrics import http_metrics

from kore_campaign_async import (
    BatchLimits,
    CallError,
    Contact,
    IngestOptions,
    RateLimit,
    ingest_contacts,
    resume_ingest,
)
from kore_campaign_async.integrations.otel import OpenTelemetry
from tests.ingest.pushing import (
    CLOSE,
    FAIL,
    HANG,
    LIST,
    THROTTLE,
    TOO_LARGE,
    Answer,
    Call,
    csv_of,
    numbers,
    push,
    refuse,
    scripted,
)

TEN = BatchLimits(max_contacts=10)


@define
class Exported:
    """What a program's exporters would send."""

    spans: InMemorySpanExporter = field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(factory=InMemoryMetricReader)
    hook: OpenTelemetry = field(init=False)
    tracer: trace.Tracer = field(init=False)

    def __attrs_post_init__(self) -> None:
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.tracer = tracers.get_tracer("the service")
        self.hook = OpenTelemetry(tracer_provider=tracers, meter_provider=MeterProvider([self.reader]))

    def named(self, name: str) -> list[ReadableSpan]:
        return [one for one in self.spans.get_finished_spans() if one.name == name]

    def points(self, metric: str) -> Iterator[Any]:
        data = self.reader.get_metrics_data()
        for resource in data.resource_metrics if data is not None else ():
            for scope in resource.scope_metrics:
                for one in scope.metrics:
                    if one.name == metric:
                        yield from one.data.data_points

    def counted(self, metric: str, by: str) -> dict[Any, int]:
        found: dict[Any, int] = {}
        for point in self.points(metric):
            found[point.attributes[by]] = found.get(point.attributes[by], 0) + point.value
        return found

    def text(self) -> str:
        """All of it, as JSON."""
        data = self.reader.get_metrics_data()
        return "\n".join(
            [one.to_json() for one in self.spans.get_finished_spans()] + ([data.to_json()] if data is not None else [])
        )


@pytest.fixture
def exported() -> Exported:
    return Exported()


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


async def test_a_call_is_a_span_in_the_words_of_the_http_conventions(exported: Exported) -> None:
    answers = in_turn(answering(503, said("later")), answering(200, enveloped([])))
    async with raw_server(answers) as server, client_for(server.url, hooks=[exported.hook]) as client:
        with exported.tracer.start_as_current_span("a request of the service") as outer:
            await client.list_contact_lists()
        port = server.port
    (span,) = exported.named("POST getAllListDetails")
    assert span.parent is not None
    assert span.parent.span_id == outer.get_span_context().span_id
    assert (span.kind, span.status.status_code) == (trace.SpanKind.CLIENT, trace.StatusCode.UNSET)
    found = attributes(span)
    assert found.pop("kore.waited_seconds") >= 0
    assert found == {
        http_attributes.HTTP_REQUEST_METHOD: "POST",
        http_attributes.HTTP_RESPONSE_STATUS_CODE: 200,
        http_attributes.HTTP_REQUEST_RESEND_COUNT: 1,
        server_attributes.SERVER_ADDRESS: "127.0.0.1",
        server_attributes.SERVER_PORT: port,
        "kore.endpoint": "getAllListDetails",
        "kore.outcome": "accepted",
        "kore.attempts": 2,
    }
    assert span.end_time is not None
    assert span.start_time is not None
    assert 0 < span.end_time - span.start_time < 5e9


@pytest.mark.parametrize(
    ("answer", "kind", "outcome", "status"),
    [
        (answering(400, said("no")), "400", "refused", 400),
        (answering(200, b"nothing"), "UnreadableReplyError", "maybe_processed", 200),
        (answering(302, b"", {"Location": "/"}), "RedirectedError", "maybe_processed", 302),
    ],
)
async def test_what_a_call_failed_with_is_its_error_type(
    answer: Any, kind: str, outcome: str, status: int, exported: Exported
) -> None:
    async with raw_server(answer) as server, client_for(server.url, hooks=[exported.hook]) as client:
        with pytest.raises(CallError):
            await client.add_contacts(LIST, [Contact("+14155550123")])
    (span,) = exported.named("POST addContacts")
    assert span.status.status_code is trace.StatusCode.ERROR
    assert span.status.description is None
    found = attributes(span)
    assert (found[error_attributes.ERROR_TYPE], found["kore.outcome"]) == (kind, outcome)
    assert found[http_attributes.HTTP_RESPONSE_STATUS_CODE] == status
    assert not span.events


async def test_every_attempt_is_in_the_metrics(exported: Exported) -> None:
    time = FakeTime()
    answers = in_turn(
        answering(429, said("slow"), {"Retry-After": "7"}), answering(503, said("later")), answering(200, enveloped([]))
    )
    settings: dict[str, Any] = {"rate": [RateLimit(9, 9.0)], "clock": time.clock, "sleep": time.sleep}
    async with raw_server(answers) as server, client_for(server.url, hooks=[exported.hook], **settings) as client:
        await client.list_contact_lists()
    points = list(exported.points(http_metrics.HTTP_CLIENT_REQUEST_DURATION))
    assert {
        (one.attributes[http_attributes.HTTP_RESPONSE_STATUS_CODE], one.attributes.get("error.type")): one.count
        for one in points
    } == {(429, "429"): 1, (503, "503"): 1, (200, None): 1}
    assert points[0].explicit_bounds[0] == 0.005
    (waits,) = exported.points("kore.budget.wait")
    assert (waits.count, round(waits.sum, 1), waits.attributes) == (3, 7.0, {"kore.endpoint": "getAllListDetails"})
    assert exported.counted("kore.throttled", "kore.endpoint") == {"getAllListDetails": 1}
    assert exported.counted("kore.calls", "kore.outcome") == {"accepted": 1}


async def test_a_run_is_a_span_over_its_calls_and_counts_its_contacts(exported: Exported) -> None:
    async with scripted((refuse(), CLOSE), hooks=[exported.hook]) as (_, client):
        with exported.tracer.start_as_current_span("an upload") as outer:
            report = await push(client, [*numbers(25), numbers(1)[0], "12"], batch=TEN, concurrency=1)
            assert trace.get_current_span() is outer
    (run,) = exported.named("kore.ingest")
    calls = exported.named("POST addContacts")
    assert run.parent is not None
    assert run.parent.span_id == outer.get_span_context().span_id
    assert [attributes(one)["kore.batch"] for one in calls] == [1, 2, 3]
    assert run.context is not None
    assert {one.parent.span_id for one in calls if one.parent is not None} == {run.context.span_id}
    assert {attributes(one)["kore.run_id"] for one in [*calls, run]} == {report.run_id}
    found = attributes(run)
    assert (found["kore.state"], found["kore.contacts.read"], found["kore.contacts.accepted"]) == ("finished", 27, 5)
    assert run.status.status_code is trace.StatusCode.UNSET
    states = {"accepted": 5, "refused": 10, "uncertain": 10, "duplicate": 1, "rejected": 1}
    assert exported.counted("kore.contacts", "kore.state") == states
    assert exported.counted("kore.runs", "kore.state") == {"finished": 1}


async def test_runs_beside_each_other_keep_their_calls_apart(exported: Exported, tmp_path: Path) -> None:
    """Also of the same name, in directories of two parents."""

    async def one(parent: str) -> None:
        options = IngestOptions(batch=TEN)
        (tmp_path / parent).mkdir()
        await ingest_contacts(
            client, numbers(30), contact_list=LIST, run_dir=tmp_path / parent / "run", options=options
        )

    async with scripted(hooks=[exported.hook]) as (_, client):
        await asyncio.gather(one("a"), one("b"))
    runs = [one.context.span_id for one in exported.named("kore.ingest") if one.context is not None]
    above = [one.parent.span_id for one in exported.named("POST addContacts") if one.parent is not None]
    assert len(runs) == 2
    assert sorted(above) == sorted(3 * runs)


async def test_a_run_that_is_cancelled_and_resumed(exported: Exported, tmp_path: Path) -> None:
    source = csv_of(tmp_path / "c.csv", "phone", *numbers(40))
    async with scripted((HANG,), hooks=[exported.hook]) as (api, client):
        options = IngestOptions(batch=TEN, concurrency=1, grace_seconds=0.0)
        run = asyncio.create_task(
            ingest_contacts(client, source, contact_list=LIST, run_dir=tmp_path / "run", options=options)
        )
        while not api.calls:
            await asyncio.sleep(0.001)
        run.cancel()
        await asyncio.wait((run,))
        await resume_ingest(client, tmp_path / "run")
    first, second = exported.named("kore.ingest")
    assert [attributes(one)["kore.state"] for one in (first, second)] == ["stopped", "finished"]
    assert [one.status.status_code for one in (first, second)] == [trace.StatusCode.ERROR, trace.StatusCode.UNSET]
    assert attributes(second)["kore.resumed"] is True
    assert exported.counted("kore.contacts", "kore.state")["accepted"] == 30
    cut_off = exported.named("POST addContacts")[0]
    assert attributes(cut_off)[error_attributes.ERROR_TYPE] == "CancelledError"


async def test_nothing_that_is_exported_shows_a_contact_or_a_token(exported: Exported) -> None:
    """However the calls end, whatever the server quotes, and in whatever spelling of JSON."""

    def quote(call: Call) -> Answer:
        words = f"no: {call.numbers} {call.contacts}"
        return (Answer(200, words), refuse(400, words), FAIL, THROTTLE, TOO_LARGE, CLOSE, Answer())[call.number % 7]

    async with scripted(quote, hooks=[exported.hook], allow_duplicates=False) as (api, client):
        table = [{"phone": one, "firstName": "Anabella"} for one in [*numbers(300), "0123456"]]
        await push(client, table, batch=TEN)
    assert len(api.calls) > 20
    text = exported.text()
    assert json.dumps("kore.ingest") in text
    for hidden in ("4155550", "4155551", "0123456", "Anabella", *api.tokens):
        assert hidden not in text


async def test_the_global_providers_are_the_default() -> None:
    """Where a program sets none up, nothing is recorded and nothing fails."""
    async with scripted(hooks=[OpenTelemetry()]) as (_, client):
        assert (await push(client, numbers(5))).counts.accepted == 5


def test_without_the_extra_it_says_what_to_install() -> None:
    script = (
        "import sys\n"
        "sys.modules['opentelemetry'] = None\n"
        "try:\n"
        "    import kore_campaign_async.integrations.otel\n"
        "except ImportError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)  # noqa: S603  ours
    assert done.stdout == "spans and metrics need the extra otel: pip install 'kore-campaign-async[otel]'\n"


def test_the_sdk_is_the_programs_own() -> None:
    """The extra brings the API alone."""
    script = "import sys, kore_campaign_async.integrations.otel\nprint('opentelemetry.sdk' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)  # noqa: S603  ours
    assert done.stdout == "False\n"
