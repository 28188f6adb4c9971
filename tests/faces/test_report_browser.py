"""The report in a browser, with an enemy's names in it: nothing runs, nothing is fetched, everything can be read."""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))

pytest.importorskip("altair")
pytest.importorskip("playwright", reason="playwright is not installed")

import records_factory as make
from nasty_names import Nasty, nasty_names
from playwright.sync_api import sync_playwright

from pellucid.reports import html

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
pytestmark = pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}")


def expected(name: str) -> str:
    """What the report documents: control characters and lone surrogates become U+FFFD, 60 characters are shown."""
    shown = "".join(
        "\ufffd"
        if "\ud800" <= c <= "\udfff" or (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 or c in "\ufffe\uffff"
        else c
        for c in name.replace("\r\n", "\n")
    )
    return shown if len(shown) <= 60 else shown[:59] + "…"


class Visit:
    """A page that was opened, scrolled from top to bottom with everything unfolded, and watched meanwhile."""

    def __init__(self, browser_type, folder: Path, page_text: str, width: int):
        path = folder / "report.html"
        path.write_text(page_text, encoding="utf-8")
        self.requests, self.problems, self.dialogs = [], [], []
        options = {"executable_path": str(CHROMIUM), "args": FLAGS, "viewport": {"width": width, "height": 900}}
        self.context = browser_type.launch_persistent_context(str(folder / "profile"), **options)
        self.page = page = self.context.new_page()
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("dialog", lambda dialog: (self.dialogs.append(dialog.message), dialog.dismiss()))
        page.on(
            "console",
            lambda message: self.problems.append(message.text) if message.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.add_init_script(
            "addEventListener('securitypolicyviolation', e => console.error('policy ' + e.violatedDirective))"
        )
        page.goto(path.as_uri())
        page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
        height = page.evaluate("document.documentElement.scrollHeight")
        for top in range(0, height, 1200):
            page.evaluate(f"scrollTo({{top: {top}, behavior: 'instant'}})")
            page.wait_for_timeout(25)
        page.wait_for_function(
            "document.querySelectorAll('figure').length === document.querySelectorAll('.drawn').length", timeout=180_000
        )


@cache
def nasty_page() -> tuple[str, Nasty, tuple[str, ...]]:
    """The page, what every string was swapped for, and the columns' names before that."""
    nasty, names = Nasty(), tuple(f"column {i}" for i in range(len(nasty_names()) - 30))
    studies = [make.study(rename=nasty, names=names, name="a study"), make.study("text", "b", nasty)]
    return html.render(studies, cases=2), nasty, names


@pytest.fixture(scope="module", params=[1280, 400])
def visit(request, tmp_path_factory):
    text, nasty, names = nasty_page()
    with sync_playwright() as engine:
        visited = Visit(engine.chromium, tmp_path_factory.mktemp("browser"), text, request.param)
        visited.width, visited.nasty, visited.names = request.param, nasty, names
        yield visited
        visited.context.close()


def test_nothing_runs_and_nothing_is_fetched(visit):
    assert visit.dialogs == []
    assert visit.page.evaluate("window.__pwned") is None
    assert [url for url in visit.requests if not url.startswith("data:image/")] == visit.requests[:1]
    assert visit.requests[0].startswith("file:")


def test_the_console_stays_silent(visit):
    assert visit.problems == []


def test_names_are_shown_as_they_are(visit):
    assert len(visit.nasty.given) >= 200
    found = visit.page.evaluate("[...document.querySelectorAll('#study-1-data tbody th')].map(e => e.textContent)")
    assert found[: len(visit.names)] == [expected(visit.nasty.given[name]) for name in visit.names]
    text = visit.page.evaluate("document.body.textContent")
    for name in ("a study", "site", "out of memory", "the weighted fit is singular", "benign", "MLP 64-64"):
        assert expected(visit.nasty.given[name]) in text


def test_no_page_is_wider_than_its_window(visit):
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= visit.width


def test_every_figure_is_alive(visit):
    empty = "[...document.querySelectorAll('.live')].filter(e => !e.querySelector('svg'))"
    assert visit.page.evaluate(empty + ".length") == 0


def test_tooltips_show_text_only(visit):
    bar = visit.page.locator("#study-1-cases .live path[aria-roledescription=bar]").first
    bar.scroll_into_view_if_needed()
    bar.hover(force=True)
    visit.page.wait_for_timeout(200)
    shown = visit.page.evaluate("[document.getElementById('tip').hidden, document.getElementById('tip').innerHTML]")
    assert shown[0] is False
    assert set(re.findall(r"<(\w+)", shown[1])) <= {"div", "b"}
