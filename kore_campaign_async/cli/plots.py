"""A run's timeline as plots: SVG that stands in a page, takes its colours and its letters, and holds no word of others.

Its colours are custom properties of the page, so that one plot serves in light and in dark.
"""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate, pairwise
from typing import Any, Final

import matplotlib as mpl
from attrs import frozen
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from kore_campaign_async.cli.telling import lasting
from kore_campaign_async.ingest.timeline import Point, Timeline

# So narrow that its letters can be read on a telephone, and two stand side by side on a desk.
_WIDTH: Final = 340
_HEIGHT: Final = 200
_POINTS_AN_INCH: Final = 72
_LETTERS: Final = 11.0
_FEWEST_CALLS: Final = 3
# Without a limit, calls are counted in a minute.
_WITHOUT_LIMIT_SECONDS: Final = 60.0
_SHOWN_RESUMES: Final = 20
_TICKS: Final = (1, 2, 5, 10)

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
    """The plots of a run; none of one that made hardly a call, or whose calls have no times."""
    if timeline.timed < _FEWEST_CALLS:
        return
    yield _contacts(timeline)
    yield _calls(timeline)
    if timeline.latency is not None:
        yield _latencies(timeline)
    if timeline.waited:
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
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=_TICKS))

    others = [f"{ends_[-1]:,} {name}" for name, ends_ in (("refused", refused), ("uncertain", uncertain)) if ends_[-1]]
    said = f"{accepted[-1]:,} contacts were accepted in {lasting(timeline.seconds)} of running time"
    return Plot(
        "Contacts settled by calls",
        f"{said}{''.join(f', {other}' for other in others)}.",
        _drawn("contacts", timeline, draw),
    )


def _calls(timeline: Timeline) -> Plot:
    limits = [min(session.rate or (), key=lambda limit: limit.seconds, default=None) for session in timeline.sessions]
    windows = [_WITHOUT_LIMIT_SECONDS if limit is None else limit.seconds for limit in limits]
    is_one = len(set(windows)) == 1
    length = _window(windows[0]) if is_one else "window of the limit"
    counts = _in_the_window(timeline, windows)
    title = f"Calls in the last {length}" if is_one else f"Calls in the {length}"
    if timeline.point_seconds > min(windows) / 2:
        title = f"Calls in a {length}, on average over {lasting(timeline.point_seconds)}"

    def draw(axes: Axes, unit: float) -> None:
        at = [point.begins_seconds / unit for point in timeline.points]
        axes.fill_between(at, counts, step="post", color=_CALLS, alpha=0.15, linewidth=0)
        axes.step(at, counts, where="post", color=_CALLS, label="calls")
        label = "the limit"
        for session, limit in zip(timeline.sessions, limits, strict=True):
            if limit is not None:
                ends = [session.offset_seconds / unit, (session.offset_seconds + session.seconds) / unit]
                axes.plot(ends, [limit.calls] * 2, color=_LIMIT, linestyle="--", label=label)
                label = "_"  # each label once
        axes.yaxis.set_major_formatter(FuncFormatter(_count))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=_TICKS))

    said = [
        f"at most {one.calls:,} in any {_window(one.limit.seconds)}, where the limit is {one.limit.calls:,}"
        for one in timeline.busiest
    ]
    most = ", and ".join(said) if said else f"at most {max(counts):,.0f} in a {length}; no limit was set"
    return Plot(title, f"{timeline.timed:,} calls; {most}.", _drawn("calls", timeline, draw))


def _window(seconds: float) -> str:
    return {1.0: "second", 60.0: "minute", 3600.0: "hour", 86400.0: "day"}.get(seconds) or lasting(seconds)


def _in_the_window(timeline: Timeline, windows: list[float]) -> list[float]:
    """The calls in the window that ends with each point; where a point is too long for that, its average."""
    # A resume begins anew, unless it came while the window before it was open.
    begins = [round(session.offset_seconds / timeline.point_seconds) for session in timeline.sessions]
    opens = [0]
    for at, (before, session) in enumerate(pairwise(timeline.sessions), 1):
        gap = session.began_at - before.began_at - before.seconds
        opens.append(begins[at] if gap >= windows[at] else opens[-1])
    calls = [point.calls for point in timeline.points]
    counts: list[float] = []
    for at in range(len(calls)):
        number = bisect_right(begins, at) - 1
        window = windows[number]
        if timeline.point_seconds > window / 2:
            counts.append(calls[at] * window / timeline.point_seconds)
        else:
            counts.append(sum(calls[max(opens[number], at + 1 - round(window / timeline.point_seconds)) : at + 1]))
    return counts


def _latencies(timeline: Timeline) -> Plot:
    answered = [point for point in timeline.points if point.median_seconds is not None]

    def draw(axes: Axes, unit: float) -> None:
        at = [_middle(point, timeline) / unit for point in answered]
        median = [point.median_seconds or 0.0 for point in answered]
        slow = [point.slow_seconds or 0.0 for point in answered]
        axes.vlines(at, median, slow, color=_CALLS, alpha=0.45, linewidth=1.6, label="up to 95 % within")
        axes.plot(at, median, color=_CALLS, label="half within", linestyle="", marker="o", markersize=3)
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
    said = f"{timeline.waited:,} of {timeline.timed:,} calls waited for the limit, {lasting(waits.longest)} at most."
    return Plot("Waits for the limit", said, _drawn("waits", timeline, draw))


def _middle(point: Point, timeline: Timeline) -> float:
    return min(point.begins_seconds + timeline.point_seconds / 2, timeline.seconds)


def _in_seconds(axes: Axes) -> None:
    axes.yaxis.set_major_formatter(FuncFormatter(lambda seconds, _place: lasting(seconds)))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=_TICKS))


def _count(count: float, _place: object = None) -> str:
    for size, name in ((1e6, "M"), (1e3, "k")):
        if abs(count) >= size:
            return f"{count / size:g}{name}"
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
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=_TICKS))
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
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in referred else "", svg)
    for colour, name in _NAMES.items():
        svg = svg.replace(colour, f"var({name})")
    return svg
