"""What a look at a run comes to in plain words: what happened, and what to do next. For a terminal and for a page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from kore_campaign_async.cli.look import Look, Stands, left, reasons_of
from kore_campaign_async.cli.sanitize import legible
from kore_campaign_async.ingest.reasons import Reason
from kore_campaign_async.ingest.records import State
from kore_campaign_async.ingest.resuming import By
from kore_campaign_async.ingest.timeline import Spread

#: How many characters of the server's words are shown.
WORDS: Final = 300
_SHOWN_REASONS: Final = 8

# The reason codes in words; the server's reasons are words already.
_MEANINGS: Final = {
    "missing_phone": "no number",
    "invalid_phone": "not the shape of a phone number",
    "has_extension": "a number with an extension, which a campaign can't dial",
    "lost_digits": "a number that a spreadsheet rounded",
    "no_area_code": "a number without its area code",
    "ambiguous_phone": "it can be two numbers; write it with its + and country code",
    "unassigned_phone": "a number that can't exist in its country",
    "several_numbers": "more than one number in the cell",
    "date_or_amount": "a date, a time or an amount, not a phone number",
    "missing_plus": "a number without its + and country code",
    "value_too_long": "a value of over 300 characters",
    "too_many_columns": "over 150 columns",
    "bad_time_zone": "no name of the tz database",
    "bad_value": "a value that can't be sent as text",
    "bad_row": "more cells than columns, or no JSON object",
    "unclosed_quote": "a quote that is never closed",
    "too_large": "larger than a call may be",
    "duplicate": "its number came earlier in the source",
    "sent_before": "the run that this one amends has sent it",
    "suppressed": "on a do-not-contact file",
}


@frozen
class Step:
    """Something to do next, and the command that does it, or ""."""

    text: str
    command: str = ""


def _contacts(count: int) -> str:
    return f"{count:,} contact" if count == 1 else f"{count:,} contacts"


def headline(look: Look) -> str:
    """What happened, in a sentence or two."""
    counts, because = look.report.counts, look.report.stopped_because
    if look.stands is Stands.RUNNING:
        return f"The run is still going: {counts.accepted:,} of {_contacts(counts.read)} read so far are queued."
    if look.stands is Stands.KILLED:
        return (
            f"The run was killed before its end. As far as its journal and files tell, {counts.accepted:,} of"
            f" {_contacts(counts.read)} read so far were queued."
        )
    if look.stands is Stands.STOPPED:
        unsent = f", and {counts.unsent:,} wait to be sent" if counts.unsent else ""
        return (
            f"The run stopped before its end: {legible(look.words(because or ''), WORDS)}."
            f" {counts.accepted:,} of {_contacts(counts.read)} read so far are queued{unsent}."
        )
    if not counts.read:
        return "The source held no contacts."
    left_out = counts.duplicate + counts.suppressed
    to_mend = left(look.report)
    if counts.accepted == counts.read:
        return f"All {_contacts(counts.read)} are queued." if counts.read > 1 else "The contact is queued."
    rest = [f"{to_mend:,} need a look" if to_mend > 1 else f"{to_mend:,} needs a look"] * bool(to_mend)
    rest += [f"{left_out:,} {'were' if left_out > 1 else 'was'} left out on purpose"] * bool(left_out)
    return f"{counts.accepted:,} of {_contacts(counts.read)} are queued; {' and '.join(rest)}."


def steps(look: Look) -> Iterator[Step]:
    """What to do next, the most pressing first."""
    counts = look.report.counts
    if look.stands is Stands.RUNNING:
        yield Step("Nothing is to be done before its end. Look again when you like.")
        return
    if look.stands in {Stands.KILLED, Stands.STOPPED}:
        yield _go_on(look)
        if look.resuming.by is not By.NOBODY:
            return
    if counts.uncertain:
        yield Step(
            f"{_contacts(counts.uncertain)} in uncertain.csv may be in the list or not: the calls went out, and no"
            " usable answer came. If the list keeps duplicates, take those out of the file who are in the list already:"
            f" whoever is in it twice is called twice. {_then(look, 'sends the rest')}",
            look.amend("uncertain.csv"),
        )
    if counts.refused:
        yield Step(
            f"The API said no to {_contacts(counts.refused)} in refused.csv. Fix there what its words name."
            f" {_then(look, 'sends them again')}",
            look.amend("refused.csv"),
        )
    if counts.rejected:
        yield Step(
            f"{_contacts(counts.rejected)} in rejected.csv {'is' if counts.rejected == 1 else 'are'} not valid, and"
            f" {'was' if counts.rejected == 1 else 'were'} not sent. Fix these rows in the file (see its column"
            f" reason). {_then(look, 'sends what is valid then')}",
            look.amend(),
        )
    if look.stands is Stands.FINISHED and not left(look.report) and counts.read:
        yield Step("Nothing is left to do.")
    if counts.accepted:
        yield Step(
            "Queued is not added: the API makes records of the queued contacts a little later, and does not tell when."
            " How many the list holds is shown by kore-campaign lists."
        )


def _then(look: Look, what: str) -> str:
    """How an outcome file is pushed again."""
    way = look.resuming
    if way.by is By.SHELL:
        return f"This {what}, by the rules of the run, and nobody a second time:"
    if way.by is By.PYTHON:
        return f"In Python, amend_ingest(client, {str(look.directory)!r}, …, do_not_contact=…) {what}."
    return f"It can't be told any more whom the run called, since {legible(way.why, WORDS)}."


def _go_on(look: Look) -> Step:
    timeline = look.timeline
    flight = ""
    if timeline is not None and timeline.in_flight:
        flight = (
            f" {_contacts(timeline.in_flight_contacts)} were in calls under way when it ended: they are sent again only"
            " if the list drops duplicates, and are uncertain else."
        )
    way = look.resuming
    if way.by is By.NOBODY:
        return Step(f"It can't be resumed: {legible(way.why, WORDS)}. Push what is left anew.{flight}")
    back = f"First put {legible(', '.join(way.missing), WORDS)} back in its place. " if way.missing else ""
    said = (
        f"{back}Go on with it; what is settled is not sent again. Its files are written anew then, so mend nothing in"
        " them before."
    )
    if way.by is By.PYTHON:
        return Step(f"{said} It goes on in Python alone, since {legible(way.why, WORDS)}: {way.how}.{flight}")
    return Step(f"{said}{flight}", way.how)


@frozen
class Told:
    """A reason as it is shown.

    Attributes:
        state: of its contacts.
        count: how many there are.
        reason: the code, or the server's words.
        meaning: what a code means; "" for words.
        examples: the first contacts that have it, in a line.
    """

    state: str
    count: str
    reason: str
    meaning: str
    examples: str


def told_reasons(look: Look, most: int = _SHOWN_REASONS) -> Iterator[Told]:
    """The reasons of each state, the most frequent first; of many only the first."""
    for state in State:
        reasons = reasons_of(look, state)
        for reason in reasons[:most]:
            yield _told(look, reason)
        if len(reasons) > most:
            rest = reasons[most:]
            yield Told(state.value, f"{sum(one.count for one in rest):,}", f"{len(rest):,} more reasons", "", "")


def _told(look: Look, reason: Reason) -> Told:
    meaning = _MEANINGS.get(reason.text, "")
    return Told(
        reason.state.value,
        f"{reason.count:,}",
        reason.text if meaning else legible(look.words(reason.text), WORDS),
        meaning,
        look.examples(reason),
    )


def facts(look: Look) -> Iterator[tuple[str, str]]:
    """How the calls went: what is told, and its value."""
    report, timeline = look.report, look.timeline
    calls = report.calls
    yield "calls", f"{calls.sent:,} sent, {calls.retried:,} retried, {calls.throttled:,} throttled"
    yield "time", f"{lasting(report.seconds)}, {report.contacts_per_second:,.0f} contacts accepted a second"
    if timeline is not None and timeline.latency is not None:
        yield "answers took", spread(timeline.latency)
    if report.budget.used is not None:
        yield "limit", f"{report.budget.used:.0%} of it used"
    if timeline is not None and timeline.waits is not None:
        if timeline.waited:
            yield (
                "waits for the limit",
                f"{timeline.waited:,} of {timeline.timed:,} calls waited, {lasting(timeline.waits.longest)} at most",
            )
        else:
            yield "waits for the limit", "no call waited"
    if timeline is not None and timeline.untimed:
        yield "without times", f"{timeline.untimed:,} calls, which an older version made"


def spread(took: Spread) -> str:
    """How long something took, in a line."""
    return f"half within {lasting(took.median)}, 95 % within {lasting(took.p95)}, {lasting(took.longest)} at most"


def lasting(seconds: float) -> str:
    """A time as people say it: 12 ms, 1.5 s, 17 min 5 s, 2 d 3 h."""
    if seconds < 1:
        return f"{seconds * 1000:,.0f} ms" if seconds else "0 s"
    if seconds < 59.95:  # noqa: PLR2004  what is not rounded to a minute
        return f"{seconds:.1f} s".replace(".0 s", " s")
    units = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
    rest = round(seconds)
    for place, (size, name) in enumerate(units):
        if rest >= size:
            count, rest = divmod(rest, size)
            if place + 1 == len(units):
                return f"{count} {name}"
            smaller, name_of_smaller = units[place + 1]
            more = rest // smaller
            return f"{count} {name} {more} {name_of_smaller}" if more else f"{count} {name}"
    return "0 s"
