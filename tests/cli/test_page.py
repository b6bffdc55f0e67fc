"""A run as a page, in a real browser: at desktop and phone width, in light and in dark."""

from __future__ import annotations

import contextlib
import csv
import html
import re
import sqlite3
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import orjson
import pytest
from attrs import evolve
from cli.browser import Tab, browser, chromium
from cli.shell import kore_campaign
from ingest.pushing import FAIL, LIST, THROTTLE, csv_of, number, push, refuse, scripted

from kore_campaign_async import BatchLimits, IngestOptions, RateLimit
from kore_campaign_async.cli.look import Look, look
from kore_campaign_async.cli.page import draw_page
from kore_campaign_async.cli.plots import plots
from kore_campaign_async.ingest.journal import JOURNAL
from kore_campaign_async.ingest.report import Counts
from kore_campaign_async.ingest.timeline import read_timeline

EVIL = (
    "</svg></title></style><script>document.title='evil'</script><img src=x onerror=\"document.title='evil'\">'`{{7*7}}"
)
TURNED = "\u202emoc.live\u2066\u200f"
TURNED_SHOWN = "\\u202emoc.live\\u2066\\u200f"
SECRET = "secretpw"

# The smallest contrast of a text with what is behind it, by the formula of WCAG 2, and the text.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgba = colour => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  let least = [99, ''];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.textContent.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.getClientRects().length) continue;
    const style = getComputedStyle(element);
    const front = rgba(element instanceof SVGElement ? style.fill : style.color);
    let behind = element, back = [0, 0, 0, 0];
    while (behind && !(back = rgba(getComputedStyle(behind).backgroundColor))[3]) behind = behind.parentElement;
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least[0]) least = [ratio, text];
  }
  return least;
})()"""
LETTERS = "Math.min(...[...document.querySelectorAll('svg text')].map(one => one.getBoundingClientRect().height))"
OVERFLOW = (
    "[document.documentElement.scrollWidth - innerWidth,"
    " ...[...document.querySelectorAll('main *')].filter(one => one.getClientRects().length && !one.closest('.wide')"
    " && one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 200))]"
)


@pytest.fixture
async def run(tmp_path: Path) -> Path:
    """A run of hostile names, rows and server's words, resumed once, with every plot."""
    folder = tmp_path / "run"
    source = csv_of(
        tmp_path / f"a{TURNED}<b>'\"&.csv",
        f'phone,"{EVIL.replace(chr(34), chr(34) * 2)}",timeZone',
        *[f"{number(at)},Ana," for at in range(60)],
        f'"{EVIL.replace(chr(34), chr(34) * 2)}",Bo,',
        f'{number(70)},Bo,"{EVIL.replace(chr(34), chr(34) * 2)}{TURNED}"',
        f"{number(71)},{'<i>' * 200},",
        f"{number(3)},Bo,",
    )
    script = [refuse(400, EVIL + TURNED), FAIL, THROTTLE, refuse(422, "x" * 100_000), refuse(409, '"a" & b')]
    options = IngestOptions(batch=BatchLimits(max_contacts=5), concurrency=2)
    async with scripted(script, rate=[RateLimit(6, 0.2), RateLimit(100, 10)]) as (_, client):
        await push(client, source, run_dir=folder, options=options)
    with contextlib.closing(sqlite3.connect(folder / JOURNAL)) as connection, connection:
        # As if the second half were a resume, under another limit.
        connection.execute(
            "INSERT INTO session SELECT 8, sent_at, ? FROM attempt WHERE id = 8", ('{"rate": ["30/1,even"]}',)
        )
        (text,) = connection.execute("SELECT value FROM setting WHERE name = 'client'").fetchone()
        # A shared rate's password is not kept; one that was all the same is not shown.
        client_settings = orjson.loads(text) | {"shared_rate": f"redis://me:{SECRET}@host:6379/0?password={SECRET}"}
        client_settings |= {"client_secret": SECRET, "proxy": f"http://me:{SECRET}@proxy"}
        connection.execute("UPDATE setting SET value = ? WHERE name = 'client'", (orjson.dumps(client_settings),))
    return folder


def with_name(path: Path, name: str) -> None:
    report = orjson.loads((path / "report.json").read_bytes())
    (path / "report.json").write_bytes(orjson.dumps(report | {"contact_list": name, "notices": [EVIL + TURNED]}))


class Strict(HTMLParser):
    """Notes the elements of a page, and checks that each is closed where it should be."""

    VOID = ("meta", "link", "br", "img", "hr", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def elements_of(page: str) -> list[tuple[str, dict[str, str | None]]]:
    strict = Strict()
    strict.feed(page)
    strict.close()
    assert strict.open == []
    return strict.elements


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    async with browser() as running:
        yield running


async def test_it_stands_in_a_browser_of_any_width_and_theme(run: Path, tab: Tab) -> None:
    """One browser for all of it: starting it takes longer than the test."""
    with_name(run, EVIL + TURNED)
    said = await kore_campaign("report", "run", "--html", "page.html", cwd=run.parent)
    assert said.status == 0, said
    page = run.parent / "page.html"
    backgrounds = set()
    for width in (1280, 360):
        for dark in (False, True):
            await tab.open(page, width=width, dark=dark)
            shown = f"{width}, {'dark' if dark else 'light'}"
            assert tab.complaints == [], shown
            assert tab.fetched == [page.as_uri()], shown
            assert await tab.value("innerWidth") == width
            assert await tab.value(OVERFLOW) == [0], shown
            # What was hostile is text: it made no element and ran nothing.
            assert await tab.value("document.querySelectorAll('script, img, iframe, i').length") == 0
            assert await tab.value("document.title") == f"{EVIL}{TURNED_SHOWN}: what became of the contacts"
            assert await tab.value("document.querySelector('h1').innerText") == EVIL + TURNED_SHOWN
            assert await tab.value("document.querySelectorAll('figure svg').length") == 4
            least, text = await tab.value(CONTRAST)
            assert least >= 4.5, (shown, text, least)
            assert await tab.value(LETTERS) >= 9, shown
            backgrounds.add(await tab.value("getComputedStyle(document.body).backgroundColor"))
            # Also when its table of numbers is open.
            await tab.value("document.querySelector('details').open = true")
            assert await tab.value("document.documentElement.scrollWidth - innerWidth") == 0, shown
    assert len(backgrounds) == 2


async def test_the_check_in_the_browser_sees_what_it_is_for(tmp_path: Path, tab: Tab) -> None:
    """A page with every fault that the test above looks for."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><body style='background:#fff'><main>"
        "<p style='color:#bbb'>pale</p><div style='width:2000px'>wide</div><img src='gone.png'>"
        "<script>console.error('no'); null.x</script></main>"
    )
    await tab.open(page, width=360, dark=False)
    assert len(tab.complaints) >= 2
    assert (tmp_path / "gone.png").as_uri() in tab.fetched
    overflow, *wide = await tab.value(OVERFLOW)
    assert overflow > 0 or wide
    least, text = await tab.value(CONTRAST)
    assert (text, least < 4.5) == ("pale", True)


def test_a_missing_browser_skips_by_name_and_fails_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("KORE_REQUIRE_CHROMIUM", raising=False)
    with pytest.raises(pytest.skip.Exception, match="chromium is not on the path"):
        chromium()
    monkeypatch.setenv("KORE_REQUIRE_CHROMIUM", "1")
    with pytest.raises(pytest.fail.Exception, match="KORE_REQUIRE_CHROMIUM is set"):
        chromium()


def test_it_holds_no_secret_and_asks_nobody(run: Path) -> None:
    page = draw_page(look(run, show_numbers=False))
    assert SECRET not in page
    assert "redis://***@host:6379/0" in page
    elements = elements_of(page)
    for tag, attributes in elements:
        assert tag not in {"script", "link", "img", "iframe", "object", "base", "form", "a", "foreignobject"}
        assert not {"src", "srcset", "action", "background"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        assert not (attributes.get("xlink:href") or "#").removeprefix("#").startswith(("http", "data", "/"))
    assert "url(http" not in page
    assert "@import" not in page
    policy = next(one["content"] for _, one in elements if one.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_what_is_hostile_is_escaped_and_bounded(run: Path) -> None:
    with_name(run, EVIL + TURNED)
    report = orjson.loads((run / "report.json").read_bytes())
    report |= {"run_id": "r" * 100_000, "source": EVIL * 100, "started_at": EVIL, "finished_at": "\x00\ud7ff"}
    (run / "report.json").write_bytes(orjson.dumps(report))
    with contextlib.closing(sqlite3.connect(run / JOURNAL)) as connection, connection:
        connection.execute(
            "UPDATE attempt SET reason = ? WHERE state = 'refused'", (EVIL + TURNED + "\x1b[31m" * 100_000,)
        )
    page = draw_page(look(run, show_numbers=False))
    assert "<script>" not in page
    assert 'onerror="' not in page
    assert "49" not in re.findall(r"'`(.{2})", page), "a template is no text of others"
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u200e\u200f\x00-\x09\x0b-\x1f\x7f-\x9f]", page)
    assert len(page) < 200_000
    assert max(map(len, re.findall(r"<bdi>(.*?)</bdi>", page))) < 4000
    elements_of(page)


def test_it_can_be_read_without_eyes(run: Path) -> None:
    page = draw_page(look(run, show_numbers=False))
    elements = elements_of(page)
    assert ("html", {"lang": "en"}) in elements
    headings = [int(tag[1]) for tag, _ in elements if re.fullmatch(r"h[1-6]", tag)]
    assert headings[0] == 1
    assert headings.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))
    said = [attributes["aria-label"] for _, attributes in elements if attributes.get("role") == "img"]
    assert len(said) == 4
    assert all(text is not None and re.search(r"[0-9]", text) for text in said)
    headers = [attributes for tag, attributes in elements if tag == "th"]
    assert all(attributes.get("scope") in {"row", "col"} for attributes in headers)
    # Each name that something refers to is there once.
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for _, attributes in elements:
        referred = attributes.get("aria-labelledby") or (attributes.get("xlink:href") or "").removeprefix("#")
        assert not referred or referred in ids
        clipped = re.search(r"url\(#(\w+)\)", attributes.get("clip-path") or "")
        assert clipped is None or clipped[1] in ids


def test_the_plots_are_of_the_pages_own_colours_and_of_no_size(run: Path) -> None:
    page = draw_page(look(run, show_numbers=False))
    style = page[page.index("<style>") : page.index("</style>")]
    for plot in plots(read_timeline(run)):
        # One that stands in them as it is would be wrong in one of the two themes.
        assert not re.search(r"#[0-9a-f]{6}\b|font-family|<metadata|<!--|<style", plot.svg)
        for name in re.findall(r"var\((--\w+)\)", plot.svg):
            assert style.count(f"{name}:") == 2, name
        assert plot.svg.startswith('<svg viewBox="')
        assert len(plot.svg) < 150_000


def test_the_settings_are_those_of_the_run(run: Path) -> None:
    page = re.sub(r"<[^>]+>", " ", draw_page(look(run, show_numbers=False)))
    shown = " ".join(page.split())
    for text in (
        "application st-0603182c",
        "limit 6 calls in 200 ms, 100 calls in 10 s",
        "contacts in a call 5",
        "calls in flight at most 2",
        "on uncertain auto",
        "do-not-contact files none",
        "client secret ***",
        "proxy http://***@proxy",
    ):
        assert text in shown, text


def test_so_few_calls_make_no_picture(run: Path) -> None:
    with contextlib.closing(sqlite3.connect(run / JOURNAL)) as connection, connection:
        connection.execute("DELETE FROM attempt WHERE id > 2")
    page = draw_page(look(run, show_numbers=False))
    assert "<svg" not in page
    assert "half within " in page


def test_a_run_without_a_call_and_one_without_times(run: Path) -> None:
    seen = look(run, show_numbers=False)
    with contextlib.closing(sqlite3.connect(run / JOURNAL)) as connection, connection:
        connection.execute("UPDATE attempt SET sent_at = NULL")
    page = draw_page(look(run, show_numbers=False))
    assert "<svg" not in page
    assert "calls, which an older version made" in page
    elements_of(page)
    nothing = evolve(seen, timeline=None, settings={}, reasons=(), report=evolve(seen.report, counts=Counts()))
    page = draw_page(nothing)
    assert "The source held no contacts." in page
    elements_of(page)


@pytest.mark.parametrize(
    ("counts", "sentence"),
    [
        (Counts(read=1, accepted=1), "The contact is queued."),
        (Counts(read=2000, accepted=2000), "All 2,000 contacts are queued."),
        (Counts(read=3, accepted=1, duplicate=2), "1 of 3 contacts are queued; 2 were left out on purpose."),
        (Counts(read=3, accepted=2, uncertain=1), "2 of 3 contacts are queued; 1 needs a look."),
    ],
)
def test_the_first_sentence_says_what_happened(run: Path, counts: Counts, sentence: str) -> None:
    seen = look(run, show_numbers=False)
    page = draw_page(with_counts(seen, counts))
    assert f'<p class="headline">{sentence}</p>' in page


def test_a_run_in_which_all_went_well_leaves_nothing_to_do(run: Path) -> None:
    page = draw_page(with_counts(look(run, show_numbers=False), Counts(read=9, accepted=9)))
    assert "Nothing is left to do." in page
    assert "kore-campaign push" not in page


def with_counts(seen: Look, counts: Counts) -> Look:
    return evolve(seen, report=evolve(seen.report, counts=counts), reasons=())


async def test_a_source_that_cant_be_read_again(tmp_path: Path) -> None:
    async with scripted([refuse(403, "no")]) as (_, client):
        await push(client, [number(at) for at in range(5)], run_dir=tmp_path / "run", contact_list=LIST)
    page = draw_page(look(tmp_path / "run", show_numbers=False))
    assert "can&#39;t be read again. Push what is left anew." in page
    assert "kore-campaign resume" not in page


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "<script>"])
async def test_a_cell_that_a_spreadsheet_would_calculate_is_text_in_the_page_and_itself_in_the_file(
    begin: str, tmp_path: Path
) -> None:
    """The file is pushed again, so that nothing is put before a cell; the page shows what stands there."""
    cell = f"{begin}HYPERLINK('http://evil.example','{begin}')"
    source = csv_of(tmp_path / "c.csv", f'phone,firstName,"{cell}"', f'{number(1)},"{cell}",x', f'"{begin}1",Bo,y')
    async with scripted([refuse(400, cell)]) as (_, client):
        await push(client, source, run_dir=tmp_path / "run", options=IngestOptions(max_rejected=100))
    with (tmp_path / "run" / "refused.csv").open(newline="", encoding="utf-8") as file:
        header, row = csv.reader(file)
    assert (header[4], row[3]) == (cell, cell)
    page = draw_page(look(tmp_path / "run", show_numbers=True))
    elements = Strict()
    elements.feed(page)
    assert not {"a", "script"} & {name for name, _ in elements.elements}
    assert html.escape(cell, quote=False).replace("'", "&#39;") in page
