"""What a push makes of each kind of reply, once each, on a list that keeps duplicates and on one that drops them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, Final

import pytest
from attrs import frozen
from cli.shell import kore_campaign

from kore_campaign_async import BatchLimits, JwtCredentials
from kore_campaign_async.sandbox import Fault, Sandbox
from tests.ingest.pushing import ACCEPT, QUEUED, RATE_LIMIT, Answer, numbers, outcome_files, push, scripted

BUSY: Final = "Another upload to this list is in progress. Try again later."
OLDER: Final = "Contacts queued for addition."
PAGE: Final = b"<html><body>in progress</body></html>"
SCOPE: Final = {"errors": [{"msg": "Permission denied. Scope is incorrect!", "code": 4002}]}


@frozen
class Kind:
    """A reply to one batch.

    Attributes:
        answer: the reply, and whether the contacts were taken all the same.
        keeps: the batch's state on a list that keeps duplicates.
        drops: the same on one that drops them; a call that may have been processed is sent again there.
        reason: what the outcome file says of it.
    """

    answer: Answer
    keeps: str
    drops: str
    reason: str = ""


def says(body: Any, status: int = 200, *, takes: bool = False) -> Answer:
    return Answer(status, processes=takes, body=body)


def refused(body: Any, reason: str, status: int = 200) -> Kind:
    return Kind(says(body, status), "refused", "refused", reason)


def doubtful(body: Any, reason: str, status: int = 200) -> Kind:
    return Kind(says(body, status, takes=True), "uncertain", "accepted", reason)


NOT_QUEUED: Final = "the reply does not say that the contacts were queued"
KINDS: Final = {
    "queued": Kind(says({"message": QUEUED}, takes=True), "accepted", "accepted"),
    "older words": Kind(says({"status": "success", "message": OLDER}, takes=True), "accepted", "accepted"),
    "status Error": refused(
        {"status": "Error", "message": BUSY}, f"200: the reply's status is 'Error', not success ({BUSY})"
    ),
    "status failed": refused(
        {"status": "failed", "message": QUEUED}, f"200: the reply's status is 'failed', not success ({QUEUED})"
    ),
    "errors": refused(
        {"message": BUSY, "errors": [{"msg": "list is locked", "code": 17}]},
        f"200: the reply names errors ({BUSY}; 17: list is locked)",
    ),
    "status Error, 503": refused(
        {"status": "Error", "message": BUSY}, f"503: the reply's status is 'Error', not success ({BUSY})", 503
    ),
    "400": refused(
        {"errors": [{"msg": "Invalid StreamId", "code": 400}]},
        "400: the server refused the call (400: Invalid StreamId)",
        400,
    ),
    "405": refused(b'"Method Not Allowed"', "405: the server refused the call (Method Not Allowed)", 405),
    "412": refused(
        b'"Validation errors/ Invalid arguments"',
        "412: the server refused the call (Validation errors/ Invalid arguments)",
        412,
    ),
    "busy": doubtful({"message": BUSY}, f"200: {NOT_QUEUED} ({BUSY})"),
    "status 200": doubtful({"status": 200, "message": QUEUED}, f"200: {NOT_QUEUED} ({QUEUED})"),
    "status 500": doubtful({"status": 500, "message": "oops"}, "500: the server failed (oops)", 500),
    "page": doubtful(PAGE, f"200: the reply is a page of HTML ({PAGE.decode()})"),
    "nothing": doubtful(b"", "200: the reply is not a JSON object"),
    "null": doubtful(b"null", "200: the reply is not a JSON object (null)"),
    "array": doubtful(b"[]", "200: the reply is not a JSON object ([])"),
    "throttled": Kind(says({"status": "Error", "message": RATE_LIMIT}), "accepted", "accepted"),
}


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
async def test_each_kind_of_reply_once(keeps: bool, tmp_path: Path) -> None:
    """A batch of two contacts for each; none of them is lost, and none goes twice to a list that keeps duplicates."""
    script: list[Answer] = []
    for kind in KINDS.values():
        # An accepted batch between them, so that no five end the same way.
        again = (not keeps and kind.keeps == "uncertain") or kind is KINDS["throttled"]
        script += [kind.answer, *([ACCEPT] if again else []), ACCEPT]
    people = numbers(4 * len(KINDS))
    async with scripted(script, allow_duplicates=keeps) as (api, client):
        report = await push(client, people, run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=2), concurrency=1)
    states = [kind.keeps if keeps else kind.drops for kind in KINDS.values()]
    counts = Counter({state: 2 * times for state, times in Counter(states).items()})
    counts["accepted"] += 2 * len(KINDS)
    assert {name: count for name, count in report.to_dict()["counts"].items() if name in counts} == counts
    assert (report.state, report.counts.read) == ("finished", len(people))
    files = outcome_files(tmp_path / "run")
    for name in ("refused", "uncertain"):
        expected = {
            row: kind.reason
            for place, (kind, state) in enumerate(zip(KINDS.values(), states, strict=True))
            for row in (4 * place + 1, 4 * place + 2)
            if state == name
        }
        assert {row: reason for row, reason, _ in files[f"{name}.csv"]} == expected
    if keeps:
        assert set(api.processed.values()) == {1}
    taken = report.counts.accepted + (report.counts.uncertain if keeps else 0)
    assert len(api.processed) == taken


@pytest.mark.parametrize("keeps", [True, False], ids=["keeps", "drops"])
async def test_a_missing_scope_stops_the_run_and_renews_nothing(keeps: bool, tmp_path: Path) -> None:
    """Its batch is unsent, so that a resume completes the run once the app has the scope."""
    credentials = JwtCredentials("cs-1", "a-secret-of-the-length-that-is-asked-for")
    script = [ACCEPT, says(SCOPE, 401)]
    async with scripted(script, allow_duplicates=keeps, credentials=credentials) as (api, client):
        report = await push(
            client, numbers(6), run_dir=tmp_path / "run", batch=BatchLimits(max_contacts=2), concurrency=1
        )
    assert (report.counts.accepted, report.counts.unsent, report.state) == (2, 4, "stopped")
    assert (len(api.calls), len(set(api.tokens))) == (2, 1)
    assert report.stopped_because is not None
    assert report.stopped_because.endswith(
        "401: the app lacks the scope Campaign Management, or was not published since it got it"
        " (4002: Permission denied. Scope is incorrect!)"
    )


async def test_the_shell_says_what_to_do_about_a_missing_scope(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("phone\n+14155550101\n")
    async with Sandbox(rate=None, faults=[Fault("401-scope")]) as sandbox:
        sandbox.make_list("Renewals")
        said = await kore_campaign(
            *("push", "c.csv", "--list", "Renewals", "--run-dir", "run"), env=sandbox.environment, cwd=tmp_path
        )
        assert sandbox.calls["addContacts"] == 1
    assert said.status == 4
    assert "the app lacks the scope Campaign Management, or was not published since it got it" in said.out
