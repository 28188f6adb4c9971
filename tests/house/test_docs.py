"""The documentation keeps up: a card for every member, a docstring for every public thing, examples that run."""

import re
from pathlib import Path

import pytest
from tree import ROOT

from pellucid.catalog import everything
from pellucid.records.settings import described

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(?P<code># runs\b.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(match["code"], page, text[: match.start("code")].count("\n"), id=f"{page.name}-{place}")
    for page in PAGES
    for text in [page.read_text(encoding="utf-8")]
    for place, match in enumerate(BLOCK.finditer(text))
]


@pytest.mark.parametrize("room", ["methods", "metrics"])
def test_every_member_has_a_card_and_every_card_a_member(room: str) -> None:
    cards = {path.stem for path in (DOCS / room).glob("*.md")} - {"index"}
    own = {name for name, kind in everything(room).items() if kind.__module__.startswith("pellucid.")}
    assert not own - cards, f"no card in docs/{room}: {', '.join(sorted(own - cards))}"
    assert not cards - own, f"cards of nothing in docs/{room}: {', '.join(sorted(cards - own))}"


@pytest.mark.parametrize("name", sorted(everything("methods")))
def test_a_card_names_the_paper_and_the_settings(name: str) -> None:
    card = (DOCS / "methods" / f"{name}.md").read_text(encoding="utf-8")
    kind = everything("methods")[name]
    for setting in described(kind):
        assert setting.name in card, f"docs/methods/{name}.md does not mention {setting.name}"
    for paper in re.findall(r"arXiv (\d{4}\.\d{4,5})", kind.source):
        assert paper in card, f"docs/methods/{name}.md does not name arXiv {paper}"


@pytest.mark.parametrize(("code", "page", "line"), EXAMPLES)
def test_examples_run(code: str, page: Path, line: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile("\n" * line + code, str(page), "exec"), {"__name__": "example"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text(encoding="utf-8"))
    broken = [target for target in targets if not (page.parent / target).exists()]
    assert not broken, f"{page.name} links to {', '.join(broken)}"
