"""The report as a text: complete, deterministic, and closed to whatever the names contain."""

from __future__ import annotations

import base64
import hashlib
import re
import time
from html.parser import HTMLParser

import pytest
import records_factory as make
from nasty_names import Nasty

pytest.importorskip("altair")
pytest.importorskip("jinja2")

from pellucid.records.errors import InputError
from pellucid.records.messages import Caution
from pellucid.records.study import Study
from pellucid.reports import export, html, tables
from pellucid.reports.chapter import control_names, leading
from pellucid.reports.sections import chosen_cases

OURS = """html head meta title style body a div header p h1 h2 h3 h4 bdi nav details summary ul li main section article
dl dt dd small span figure img figcaption script table thead tbody tr th td pre code footer b"""


class Outline(HTMLParser):
    """Tags with their attributes, and the texts of scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.inside, self.scripts, self.styles = "", [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self.inside = tag + ("-data" if dict(attrs).get("type") == "application/json" else "")

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside == "script":
            self.scripts.append(data)
        if self.inside == "style":
            self.styles.append(data)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """A page about a table and one about sentences whose names are all nasty."""
    names = tuple(f"column {i}" for i in range(12))
    still = '<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>'
    nasty = [make.study(rename=Nasty(), names=names), make.study("text", "z", Nasty())]
    with pytest.MonkeyPatch.context() as patch:  # the pictures themselves are drawn in other tests
        patch.setattr(export, "svg", lambda spec, width=None: still)
        return {"plain": html.render([make.study()], cases=1), "nasty": html.render(nasty, language="zh", cases=1)}


def test_three_studies_take_seconds_and_megabytes_within_bounds():
    studies = [make.study(), make.study("image", "Digits"), make.study("text", "Reviews")]
    start = time.process_time()
    page = html.render(studies)
    assert time.process_time() - start < 15
    assert len(page.encode()) < 6 * 2**20


def test_the_same_study_gives_the_same_page():
    first, second = (html.render(make.study("text", "z"), cases=1) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("kind", ["plain", "nasty"])
def test_the_policy_names_exactly_what_the_page_runs(pages, kind):
    outline = Outline(pages[kind])
    policy = next(a["content"] for tag, a in outline.tags if a.get("http-equiv") == "Content-Security-Policy")
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))

    def digest(text: str) -> str:
        return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"

    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert sorted(rules["script-src"].split()) == sorted(map(digest, outline.scripts))
    assert rules["style-src"] == digest(outline.styles[0]) and len(outline.styles) == 1


@pytest.mark.parametrize("kind", ["plain", "nasty"])
def test_no_markup_but_our_own(pages, kind):
    ours = set(OURS.split())
    outline = Outline(pages[kind])
    assert {tag for tag, _ in outline.tags} <= ours
    assert not [name for _, attrs in outline.tags for name in attrs if name.startswith("on") or name == "style"]
    for tag, attrs in outline.tags:
        assert attrs.get("href", "#").startswith("#") or tag == "meta"
        assert attrs.get("src", "data:image/").startswith("data:image/")
    targets = {attrs["id"] for _, attrs in outline.tags if "id" in attrs}
    assert {attrs["href"][1:] for _, attrs in outline.tags if "href" in attrs} <= targets
    ids = [attrs["id"] for _, attrs in outline.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert all(attrs.get("alt") for tag, attrs in outline.tags if tag == "img")


def test_data_in_scripts_hold_no_markup(pages):
    for block in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', pages["nasty"], re.S):
        assert not set("<>&\u2028\u2029") & set(block) and block.isascii()


def test_the_order_of_the_page(pages):
    page = pages["plain"]
    codes = (
        "performance",
        "cases",
        "importance",
        "methods",
        "agreement",
        "truth",
        "data",
        "failed",
        "provenance",
        "command",
    )
    places = [page.index('id="summary"'), page.index('id="warnings"')]
    places += [page.index(f'id="study-1-{code}"') for code in codes]
    places += [page.index('id="all-warnings"'), page.index('id="glossary"')]
    assert places == sorted(places)


def test_at_most_five_warnings_come_first_and_the_rest_are_linked(pages):
    first = pages["plain"].split('id="warnings"')[1].split("</section>")[0]
    rest = pages["plain"].split('id="all-warnings"')[1].split("</section>")[0]
    study = make.study()
    assert first.count('<li class="warning') == 5 and 'href="#all-warnings"' in first
    assert rest.count('<li class="warning') == len(study.ranked_warnings) == 8
    assert first.index("Serious") < first.index("Caution")
    tile = pages["plain"].split("<bdi>Warnings</bdi></dt><dd>")[1].split("</dd>")[0]
    counts = [sum(c.severity == severity for c in study.ranked_warnings) for severity in ("red", "yellow", "note")]
    assert tile == "<bdi>8</bdi><small>{} serious, {} cautions, {} notes</small>".format(*counts)


def test_shared_warnings_are_said_once_with_their_studies():
    cautions = (Caution.of("methods_disagree", "yellow", value=0.4),)
    page = html.render([Study("One", warnings=cautions), Study("Two", warnings=cautions)])
    first = page.split('id="warnings"')[1].split("</section>")[0]
    assert first.count("The methods disagree") == 1 and "One · Two" in first


def test_languages(pages):
    assert '<html lang="en">' in pages["plain"] and '<html lang="zh-Hans">' in pages["nasty"]
    for language in ("fr", ""):
        with pytest.raises(InputError):
            html.render([make.study("text")], language=language)
    with pytest.raises(InputError):
        html.render([])


def test_a_bare_study_is_a_page_too():
    page = html.render([Study("bare")])
    assert "No warnings were raised." in page and "bare" in page


def test_the_leading_method_is_never_a_control():
    study = make.study()
    assert control_names(study) == {"random", "input_magnitude"}
    assert leading(study) == "shapley" and leading(Study("bare")) == ""


def test_wrong_answers_are_among_the_cases():
    study = make.study()
    assert (
        chosen_cases(study, 1) == [2] and chosen_cases(study, 2) == [0, 2] and chosen_cases(study, 99) == list(range(8))
    )


def test_notebook_fragments_have_no_scripts():
    nasty = Nasty()
    for fragment in (make.table(rename=nasty)._repr_html_(), make.study("text", "<script>", nasty)._repr_html_()):
        assert "<script" not in fragment and "<img src=x" not in fragment
        fragment.encode()


def test_plots_and_texts_reach_the_records():
    assert make.image().plot(1).to_dict()["hconcat"]
    assert make.table().plot(1, k=3).to_dict()["layer"]
    assert "机器" in make.table().text(0, language="zh", audience="person")


def test_tables_hold_what_the_study_holds():
    study = make.study()
    assert list(tables.predictions(study)["row"]) == list(range(100, 108))
    long = tables.contributions(study)
    assert len(long) == 6 * 8 * 16 and list(long.columns) == ["method", "row", "output", "player", "value", "stderr"]
    assert len(tables.scores(study)) == 30
    found = tables.findings(study)
    assert found.query("metric == 'accuracy'")["value"].item() == 0.957 and len(found) == 9
    assert list(tables.failed(study)["status"]) == ["failed", "timed out"]
    for make_table in (tables.predictions, tables.contributions, tables.scores, tables.findings, tables.failed):
        assert len(make_table(Study("bare"))) == 0
