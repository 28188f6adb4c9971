"""What the house test of the documentation leaves out: other pages, the navigation, twin READMEs, the form of cards."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BESIDE = [ROOT / name for name in ("README.zh.md", "CONTRIBUTING.md", "CHANGELOG.md")]
CARDS = sorted(path for room in ("methods", "metrics") for path in (ROOT / "docs" / room).glob("*.md"))
BLOCK = re.compile(r"^```python\n(# runs\n.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", BESIDE, ids=lambda page: page.name)
def test_pages_beside_the_readme_keep_their_word(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.findall(text):
        exec(compile(block, page.name, "exec", dont_inherit=True), {"__name__": "example"})
    targets = [link for link in LINK.findall(text) if "://" not in link]
    assert not [link for link in targets if not (page.parent / link).exists()]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: f"{card.parent.name}/{card.name}")
def test_a_card_begins_with_its_name_and_shows_an_example(card: Path) -> None:
    if card.name == "index.md":
        text = card.read_text(encoding="utf-8")
        assert not [other.name for other in card.parent.glob("*.md") if other != card and f"({other.name})" not in text]
        return
    text = card.read_text(encoding="utf-8")
    assert f"(`{card.stem}`" in text.partition("\n")[0]
    assert all("assert" in block for block in BLOCK.findall(text))
    assert BLOCK.search(text)


def test_navigation_names_every_page() -> None:
    listed = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    pages = set(re.findall(r"[\w/]+\.md", str(listed)))
    assert not [page for page in pages if not (ROOT / "docs" / page).exists()]
    here = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").glob("*.md")}
    here |= {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs" / "notes").glob("*.md")}
    assert here <= pages, f"not in mkdocs.yml: {sorted(here - pages)}"


def test_the_page_of_messages_names_every_caution() -> None:
    catalogue = tomllib.loads((ROOT / "src/pellucid/records/catalogue/cautions.toml").read_text(encoding="utf-8"))
    page = (ROOT / "docs" / "messages.md").read_text(encoding="utf-8")
    table = page.partition("## The cautions")[2].partition("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(catalogue)


def test_both_readmes_say_the_same() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))

    def skeleton(text: str) -> list[str]:
        links = [link for link in LINK.findall(text) if not link.startswith("README")]
        return [*links, *re.findall(r"^pellucid .*|^make \w+", text, re.MULTILINE)]

    assert skeleton(english) == skeleton(chinese)
    assert english.count("\n## ") == chinese.count("\n## ")
    assert len(BLOCK.findall(english)) == len(BLOCK.findall(chinese)) > 0
