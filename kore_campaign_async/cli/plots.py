"""A run's timeline as plots: SVG that stands in a page, takes its colours and its letters, and holds no word of others.

Its colours are custom properties of the page, so that one plot serves in light and in dark.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any, Final

import matplotlib as mpl
from attrs import frozen
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kore_campaign_async.cli.telling import lasting
from kore_campaign_async.config import RateLimit
from kore_campaign_async.ingest.timeline import Point, Timeline

# So narrow that its letters can be read on a telephone, and two stand side by side on a desk.
_WIDTH: Final = 400
_HEIGHT: Final = 220
_POINTS_AN_INCH: Final = 72
_LETTERS: Final = 11.0
_MARKERS_UNTIL: Final = 30
_SHOWN_RESUMES: Final = 20

# Colours that nothing else has; each becomes the page's custom property of that name.
_INK: Final = "#010101"
_LINE: Final = "#010102"
_GOOD: Final = "#010103"
_BAD: Final = "#010104"
_DOUBT: Final = "#010105"
_CALLS: Final = "#010106"
_LIMIT: Final = "#010107"
_NAMES: Final = {
    _INK: "--quiet",
    _LINE: "--line",
    _GOOD: "--accepted",
    _BAD: "--refused",
    _DOUBT: "--uncertain",
    _CALLS: "--plot",
    _LIMIT: "--limit",
}

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "font.size": _LETTERS,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.linewidth": 1.0,
    "grid.color": _LINE,
    "grid.linewidth": 0.8,
    "xtick.color": _LINE,
    "ytick.color": _LINE,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "ytick.major.size": 0,
    "text.color": _INK,
    "legend.frameon": False,
    "legend.fontsize": _LETTERS,
    "lines.linewidth": 2.0,
    "lines.solid_joinstyle": "round",
}

_TIMES: Final = ((2 * 86400.0, 86400.0, "days"), (2 * 3600.0, 3600.0, "hours"), (120.0, 60.0, "minutes"))


@frozen
class Plot:
    """One plot.

    Attributes:
        title: what it shows.
        said: what is to be seen in it, for those who don't see it.
        svg: ready to stand in a page.
    """

    title: str
    said: str
    svg: str


def plots(timeline: Timeline) -> Iterator[Plot]:
    """The plots of a run that made calls; none of one whose calls have no times."""
    if not timeline.points:
        return
    yield _contacts(timeline)
    yield _calls(timeline)
    if timeline.latency is not None:
        yield _latencies(timeline)
    if timeline.waits is not None:
        yield _waits(timeline)


def _contacts(timeline: Timeline) -> Plot:
    points = timeline.points
    ends = [point.begins_seconds + timeline.point_seconds for point in points]
    accepted, refused, uncertain = (
        list(accumulate(getattr(point, state) for point in points)) for state in ("accepted", "refused", "uncertain")
    )

    def draw(axes: Axes, unit: float) -> None:
        at = [0.0, *(min(end, timeline.seconds) / unit for end in ends)]
        axes.fill_between(at, [0, *accepted], color=_GOOD, alpha=0.15, linewidth=0)
        axes.plot(at, [0, *accepted], color=_GOOD, label="accepted")
        if refused[-1]:
            axes.plot(at, [0, *refused], color=_BAD, label="refused", linestyle="--")
        if uncertain[-1]:
            axes.plot(at, [0, *uncertain], color=_DOUBT, label="uncertain", linestyle=":")
        axes.yaxis.set_major_formatter(FuncFormatter(_count))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))

    others = [f"{ends_[-1]:,} {name}" for name, ends_ in (("refused", refused), ("uncertain", uncertain)) if ends_[-1]]
    said = f"{accepted[-1]:,} contacts were accepted in {lasting(timeline.seconds)} of running time"
    return Plot(
        "Contacts settled by calls",
        f"{said}{''.join(f', {other}' for other in others)}.",
        _drawn("contacts", timeline, draw),
    )


def _calls(timeline: Timeline) -> Plot:
    limit = _shortest(timeline)
    window = 60.0 if limit is None else limit.seconds
    length = lasting(window)
    if timeline.point_seconds <= window / 2:
        title, counts = f"Calls in the last {length}", _in_the_window(timeline, window)
    else:
        title = f"Calls per {length}, on average over {lasting(timeline.point_seconds)}"
        counts = [point.calls * window / timeline.point_seconds for point in timeline.points]

    def draw(axes: Axes, unit: float) -> None:
        at = [point.begins_seconds / unit for point in timeline.points]
        axes.fill_between(at, counts, step="post", color=_CALLS, alpha=0.15, linewidth=0)
        axes.step(at, counts, where="post", color=_CALLS, label="calls")
        label = "the limit"
        for session in timeline.sessions:
            for one in session.rate or ():
                if one.seconds == window:
                    begins, ends = session.offset_seconds, session.offset_seconds + session.seconds
                    axes.plot([begins / unit, ends / unit], [one.calls] * 2, color=_LIMIT, linestyle="--", label=label)
                    label = "_"
        axes.yaxis.set_major_formatter(FuncFormatter(_count))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))

    busiest = next((one for one in timeline.busiest if one.limit == limit), None)
    if busiest is None:
        said = f"{timeline.timed:,} calls, at most {max(counts):,.0f} in {length}; no limit was set."
    else:
        said = f"{timeline.timed:,} calls, at most {busiest.calls:,} in any {length}"
        said = f"{said}; the limit is {busiest.limit.calls:,}."
    return Plot(title, said, _drawn("calls", timeline, draw))


def _shortest(timeline: Timeline) -> RateLimit | None:
    """The limit that the calls are shown against: the one of the shortest window."""
    limits = [limit for session in timeline.sessions for limit in session.rate or ()]
    return min(limits, key=lambda limit: limit.seconds, default=None)


def _in_the_window(timeline: Timeline, window: float) -> list[float]:
    """The calls in the window that ends with each point, as far as a session that came right after another tells."""
    width = max(1, round(window / timeline.point_seconds))
    begins = [0]
    for before, session in zip(timeline.sessions, timeline.sessions[1:], strict=False):
        if session.began_at - before.began_at - before.seconds >= window:
            begins.append(int(session.offset_seconds / timeline.point_seconds))
    calls = [point.calls for point in timeline.points]
    counts: list[float] = []
    for at in range(len(calls)):
        since = max(begin for begin in begins if begin <= at)
        counts.append(sum(calls[max(since, at - width + 1) : at + 1]))
    return counts


def _latencies(timeline: Timeline) -> Plot:
    answered = [point for point in timeline.points if point.median_seconds is not None]

    def draw(axes: Axes, unit: float) -> None:
        at = [_middle(point, timeline) / unit for point in answered]
        marker = "o" if len(answered) <= _MARKERS_UNTIL else ""
        slow = [point.slow_seconds or 0.0 for point in answered]
        axes.plot(at, slow, color=_CALLS, alpha=0.6, label="95 % within", linewidth=1.2, marker=marker, markersize=3)
        median = [point.median_seconds or 0.0 for point in answered]
        axes.plot(at, median, color=_CALLS, label="half within", marker=marker, markersize=4)
        _in_seconds(axes)

    took = timeline.latency
    assert took is not None  # noqa: S101  only then it is drawn
    said = f"Half of the answers came within {lasting(took.median)}, 95 % within {lasting(took.p95)}, the slowest"
    return Plot("How long answers took", f"{said} in {lasting(took.longest)}.", _drawn("latencies", timeline, draw))


def _waits(timeline: Timeline) -> Plot:
    def draw(axes: Axes, unit: float) -> None:
        at = [_middle(point, timeline) / unit for point in timeline.points]
        waits = [point.waited_seconds for point in timeline.points]
        axes.bar(at, waits, width=timeline.point_seconds / unit, color=_LIMIT, label="a call, on average", linewidth=0)
        _in_seconds(axes)

    waits = timeline.waits
    assert waits is not None  # noqa: S101  only then it is drawn
    said = (
        f"{timeline.waited:,} of {timeline.timed:,} calls waited for the limit, {lasting(waits.longest)} at most."
        if timeline.waited
        else "No call waited for the limit."
    )
    return Plot("Waits for the limit", said, _drawn("waits", timeline, draw))


def _middle(point: Point, timeline: Timeline) -> float:
    return min(point.begins_seconds + timeline.point_seconds / 2, timeline.seconds)


def _in_seconds(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _place: lasting(seconds)))
    axes.yaxis.set_major_locator(MaxNLocator(4))


def _count(count: float, _place: object = None) -> str:
    for size, name in ((1_000_000, "M"), (10_000, "k")):
        if abs(count) >= size:
            return f"{count / (1_000_000 if name == 'M' else 1000):g}{name}"
    return f"{count:,.0f}"


def _drawn(name: str, timeline: Timeline, draw: Callable[[Axes, float], None]) -> str:
    unit, unit_name = next(
        ((size, word) for least, size, word in _TIMES if timeline.seconds >= least), (1.0, "seconds")
    )
    # Each plot's ids are its own, though they stand in one page.
    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(_WIDTH / _POINTS_AN_INCH, _HEIGHT / _POINTS_AN_INCH), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.add_subplot()
        draw(axes, unit)
        for session in timeline.sessions[1 : 1 + _SHOWN_RESUMES]:
            axes.axvline(session.offset_seconds / unit, color=_INK, linewidth=1, linestyle=(0, (1, 3)))
        axes.set_xlabel(f"{unit_name} of running time")
        axes.set_xlim(0, max(timeline.seconds / unit, 1e-3))
        axes.set_ylim(bottom=0, top=max(axes.get_ylim()[1], 1e-3) * 1.05)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderpad=0, handlelength=1.6, columnspacing=1.4)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata=dict.fromkeys(("Date", "Creator"), None))
    return _inlined(buffer.getvalue())


def _inlined(svg: str) -> str:
    """An SVG file as a part of a page: without what belongs to a file, in the page's colours and letters."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    # Its size is the page's to say; what it shows is said beside it.
    svg = re.sub(r'<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 aria-hidden="true" focusable="false">', svg, count=1)
    svg = re.sub(r" font-family: [^;\"]*;", "", svg)
    referred = set(re.findall(r"#(\w+)", svg))
    svg = re.sub(r' id="(\w+)"', lambda found: found[0] if found[1] in referred else "", svg)
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, f"var({name})")
    return svg
